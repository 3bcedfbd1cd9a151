//! Replaces one value in the text of a JSON document and touches nothing else: layout, order and duplicates stay. The text
//! is known to be valid JSON. What the value means is not known here.

use std::ops::Range;

/// Sets the member at a path of keys; a missing last member is added at the end of its object. None when the path leads
/// nowhere. Of members with the same key the last one counts, as parsers have it.
pub fn set(text: &str, path: &[&str], value: &str) -> Option<String> {
    let (last, parents) = path.split_last()?;
    let mut at = skip(text, 0)..text.len();
    for key in parents {
        at = members(text, at.start)?.into_iter().rfind(|m| m.key == *key)?.value;
    }
    let members = members(text, at.start)?;
    if let Some(found) = members.iter().rfind(|m| m.key == *last) {
        return Some([&text[..found.value.start], value, &text[found.value.end..]].concat());
    }
    let key = serde_json::to_string(last).ok()?;
    Some(match members.last() {
        None => [&text[..at.start + 1], &key, ": ", value, &text[at.start + 1..]].concat(),
        Some(end) => {
            // The new member is laid out as the one before it.
            let before = members.len().checked_sub(2).map_or(at.start + 1, |n| members[n].value.end);
            let gap = text[before..end.start].trim_start_matches([',']);
            let gap = if gap.trim().is_empty() { gap } else { " " };
            let at = end.value.end;
            [&text[..at], ",", gap, &key, ": ", value, &text[at..]].concat()
        }
    })
}

struct Member {
    key: String,
    /// Where its key begins.
    start: usize,
    value: Range<usize>,
}

/// The members of the object that begins at `at`.
fn members(text: &str, at: usize) -> Option<Vec<Member>> {
    let bytes = text.as_bytes();
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    let mut out = Vec::new();
    let mut at = skip(text, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let start = at;
        let end = string_end(bytes, at)?;
        let key = serde_json::from_str(&text[at..end]).ok()?;
        at = skip(text, end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let from = skip(text, at + 1);
        let to = value_end(bytes, from)?;
        out.push(Member { key, start, value: from..to });
        at = skip(text, to);
        match bytes.get(at)? {
            b',' => at = skip(text, at + 1),
            b'}' => return Some(out),
            _ => return None,
        }
    }
    (bytes.get(at) == Some(&b'}')).then_some(out)
}

fn skip(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches([' ', '\t', '\r', '\n']).len()
}

/// The end of the string that begins at `at`, past its closing quote.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The end of the value that begins at `at`. No recursion: depth is counted.
fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    let mut depth = 0usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => {
                let plain = |b: &&u8| !matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                at += bytes[at..].iter().take_while(plain).count();
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}
