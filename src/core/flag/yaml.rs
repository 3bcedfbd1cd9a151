//! A flag file in YAML: read as the JSON that flagd makes of it, and changed in single values of its text, so that order,
//! layout and comments stay. Anchors, aliases, tags and further documents are refused, as in every file that is read here.

use serde_json::{Map, Value};

use crate::core::finding::{Findings, Sources};
use crate::core::manifest::yaml::{self, Kind, Node};
use crate::core::text::Text;

/// The definition that a YAML text says.
pub fn read(text: &str) -> Result<Value, Text> {
    with_tree(text, |root| Ok(value(root)))
}

/// The text with these fields of a flag set to these values. None when that cannot be done without changing more.
pub fn set(text: &str, key: &str, fields: &[(&str, &Value)]) -> Option<String> {
    let mut out = text.to_owned();
    for (field, wanted) in fields {
        out = set_one(&out, key, field, &wanted.to_string())?;
    }
    let same = with_tree(text, |before| with_tree(&out, |after| Ok(differ_only_in(before, after, key, fields))));
    (same == Ok(true)).then_some(out)
}

fn with_tree<T>(text: &str, with: impl FnOnce(&Node<'_>) -> Result<T, Text>) -> Result<T, Text> {
    let (mut sources, mut findings) = (Sources::default(), Findings::default());
    let said = |findings: &Findings| {
        let first = findings.sorted().into_iter().next();
        first.map_or_else(|| Text::scrub("it is empty"), |f| f.message)
    };
    let file = yaml::decode(&mut sources, &Text::scrub("flags"), text.as_bytes()).map_err(|f| f.message)?;
    let root = yaml::parse(&sources, file, &mut findings);
    match root {
        Some(root) if !findings.any_error() => with(&root),
        _ => Err(said(&findings)),
    }
}

/// A node as JSON. Plain words that YAML 1.1 took for booleans (on, off, yes, no) are text, as flagd reads them.
fn value(node: &Node<'_>) -> Value {
    match &node.kind {
        Kind::Map(entries) => Value::Object(
            entries.iter().map(|(key, node)| (key.text.to_string(), value(node))).collect::<Map<String, Value>>(),
        ),
        Kind::Seq(items) => items.iter().map(value).collect(),
        Kind::Told => Value::Null,
        Kind::Scalar { .. } if node.is_null() => Value::Null,
        Kind::Scalar { text, plain: false } => Value::from(text.as_ref()),
        Kind::Scalar { text, .. } => match text.as_ref() {
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            // What JSON writes as a number is one; other spellings stay text here, and stay as they are in the file.
            other => {
                serde_json::from_str::<serde_json::Number>(other).map_or_else(|_| Value::from(other), Value::Number)
            }
        },
    }
}

fn entry<'n, 'a>(node: &'n Node<'a>, key: &str) -> Option<&'n (yaml::Key<'a>, Node<'a>)> {
    match &node.kind {
        Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == key),
        _ => None,
    }
}

fn set_one(text: &str, key: &str, field: &str, wanted: &str) -> Option<String> {
    let spliced = with_tree(text, |root| {
        let flag = entry(root, "flags").and_then(|(_, flags)| entry(flags, key)).map(|(_, flag)| flag);
        Ok(flag.and_then(|flag| splice(text, flag, field, wanted)))
    });
    spliced.ok().flatten()
}

/// Replaces the value of a field of a mapping, or adds the field after the last one.
fn splice(text: &str, map: &Node<'_>, field: &str, wanted: &str) -> Option<String> {
    let Kind::Map(entries) = &map.kind else { return None };
    if let Some((key, found)) = entries.iter().find(|(k, _)| k.text == field) {
        let after_key = key.span.1 as usize;
        let colon = after_key + text.get(after_key..)?.find(':')? + 1;
        let (start, end) = (found.span.0 as usize, end_of(text, found));
        if start >= end || start < colon {
            // Nothing stands there.
            return Some([text.get(..colon)?, " ", wanted, text.get(colon..)?].concat());
        }
        let between = text.get(colon..start)?;
        // A value that begins on a line of its own moves up beside its key, unless a comment stands between.
        return Some(if between.contains('\n') && !between.contains('#') {
            [text.get(..colon)?, " ", wanted, text.get(end..)?].concat()
        } else {
            [text.get(..start)?, wanted, text.get(end..)?].concat()
        });
    }
    let (first, last) = (entries.first()?, entries.last()?);
    let name = serde_json::to_string(field).ok()?;
    let end = end_of(text, &last.1).max(last.0.span.1 as usize);
    if is_flow(text, map) {
        return Some([text.get(..end)?, ", ", &name, ": ", wanted, text.get(end..)?].concat());
    }
    let at = text.get(end..)?.find('\n').map_or(text.len(), |n| end + n);
    let (at, line) = if text.get(..at)?.ends_with('\r') { (at - 1, "\r\n") } else { (at, "\n") };
    let begin = first.0.span.0 as usize;
    let indent = text.get(..begin)?.rfind('\n').map_or(begin, |n| begin - n - 1);
    Some([text.get(..at)?, line, &" ".repeat(indent), field, ": ", wanted, text.get(at..)?].concat())
}

fn is_flow(text: &str, node: &Node<'_>) -> bool {
    matches!(text.as_bytes().get(node.span.0 as usize), Some(b'{' | b'['))
}

/// Where a node's own text ends: a block has no closing bracket, so that is where its last value ends.
fn end_of(text: &str, node: &Node<'_>) -> usize {
    let own = || {
        let (start, end) = (node.span.0 as usize, node.span.1 as usize);
        start + text.get(start..end).map_or(0, |t| t.trim_end().len())
    };
    match &node.kind {
        Kind::Map(entries) if !is_flow(text, node) => {
            entries.last().map_or_else(own, |(key, value)| end_of(text, value).max(key.span.1 as usize))
        }
        Kind::Seq(items) if !is_flow(text, node) => items.last().map_or_else(own, |item| end_of(text, item)),
        _ => own(),
    }
}

/// True when the two differ in nothing but that the fields of the flag have these values now.
fn differ_only_in(before: &Node<'_>, after: &Node<'_>, key: &str, fields: &[(&str, &Value)]) -> bool {
    let (Kind::Map(a), Kind::Map(b)) = (&before.kind, &after.kind) else { return false };
    let others =
        |entries: &[(yaml::Key<'_>, Node<'_>)]| entries.iter().map(|(k, _)| k.text.to_string()).collect::<Vec<_>>();
    if others(a) != others(b) {
        return false;
    }
    a.iter().zip(b).all(|((name, a), (_, b))| {
        if name.text != "flags" {
            return same(a, b);
        }
        let (Kind::Map(a), Kind::Map(b)) = (&a.kind, &b.kind) else { return false };
        others(a) == others(b)
            && a.iter()
                .zip(b)
                .all(|((name, a), (_, b))| if name.text == key { flag_set(a, b, fields) } else { same(a, b) })
    })
}

fn flag_set(before: &Node<'_>, after: &Node<'_>, fields: &[(&str, &Value)]) -> bool {
    let (Kind::Map(a), Kind::Map(b)) = (&before.kind, &after.kind) else { return false };
    let is_field = |name: &str| fields.iter().any(|(field, _)| *field == name);
    let rest = |entries: &[(yaml::Key<'_>, Node<'_>)]| entries.iter().filter(|(k, _)| !is_field(&k.text)).count();
    rest(a) == rest(b)
        && a.iter()
            .filter(|(k, _)| !is_field(&k.text))
            .all(|(k, node)| entry(after, &k.text).is_some_and(|(_, b)| same(node, b)))
        && fields.iter().all(|(field, wanted)| entry(after, field).is_some_and(|(_, node)| value(node) == **wanted))
        && b.iter().all(|(k, _)| is_field(&k.text) || entry(before, &k.text).is_some())
}

/// True when two nodes say the same in the same words.
fn same(a: &Node<'_>, b: &Node<'_>) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Map(a), Kind::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((ka, a), (kb, b))| ka.text == kb.text && same(a, b))
        }
        (Kind::Seq(a), Kind::Seq(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}
