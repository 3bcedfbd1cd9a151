//! Reading typed values out of YAML nodes: each way of being wrong becomes a finding with its place and what would be
//! right, and reading goes on, so that all findings of a file are told at once. Which keys a file has is not known here.

use std::path::{Component, Path};

use jiff::civil::Date;

use super::yaml::{Key, Kind, Node};
use crate::core::finding::{At, FileId, Findings, Place, Sources};
use crate::core::text::{Text, is_hostile};
use crate::text;

/// Longest name of a Kubernetes object that is a DNS label (RFC 1123).
pub const LABEL_MAX: usize = 63;

/// Reads one file.
pub struct Reader<'s> {
    sources: &'s Sources,
    file: FileId,
    findings: Findings,
}

/// The entries of a mapping whose keys were checked.
pub struct Fields<'n, 'a> {
    entries: &'n [(Key<'a>, Node<'a>)],
    /// Where the mapping stands.
    pub span: (u32, u32),
}

impl<'n, 'a> Fields<'n, 'a> {
    /// The value of a key; none when the key is absent or says nothing.
    pub fn get(&self, key: &str) -> Option<&'n Node<'a>> {
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| v).filter(|v| !v.is_null())
    }
}

impl<'s> Reader<'s> {
    /// A reader of one file.
    pub fn new(sources: &'s Sources, file: FileId) -> Self {
        Self { sources, file, findings: Findings::default() }
    }

    /// What was found.
    pub fn finish(self) -> Findings {
        self.findings
    }

    /// The tree of the file, problems of form told.
    pub fn tree(&mut self) -> Option<Node<'s>> {
        super::yaml::parse(self.sources, self.file, &mut self.findings)
    }

    /// True when the file has so many findings that further ones are only counted.
    fn full(&self) -> bool {
        self.findings.full(&self.sources.name(self.file))
    }

    /// The place of a span in this file.
    pub fn place(&self, span: (u32, u32)) -> Place {
        Place { file: self.file, start: span.0, end: span.1 }
    }

    /// Tells an error.
    pub fn error(&mut self, span: (u32, u32), message: Text, fix: impl Into<Text>) {
        let place = self.place(span);
        self.findings.error(self.sources, place, message, fix);
    }

    /// Tells a warning.
    pub fn warn(&mut self, span: (u32, u32), message: Text, fix: impl Into<Text>) {
        let place = self.place(span);
        self.findings.warn(self.sources, place, message, fix);
    }

    /// Tells an error that has to do with an earlier place.
    pub fn error_also(&mut self, span: (u32, u32), message: Text, fix: impl Into<Text>, also: (Text, (u32, u32))) {
        let (place, other) = (self.place(span), self.place(also.1));
        self.findings.error_also(self.sources, place, message, fix, (also.0, other));
    }

    fn wrong(&mut self, node: &Node<'_>, what: &str, wanted: &str) {
        if node.kind != Kind::Told {
            self.error(node.span, text!("{what} must be {wanted}, not {}", node.sort()), text!("write {wanted}"));
        }
    }

    /// A mapping with fixed keys; unknown ones are told with the nearest known one.
    pub fn fields<'n, 'a>(&mut self, node: &'n Node<'a>, what: &str, known: &[&str]) -> Option<Fields<'n, 'a>> {
        let entries = self.entries(node, what)?;
        for (key, _) in entries.iter().filter(|(k, _)| !known.contains(&&*k.text)) {
            // Looking for the nearest key costs; a file with a hundred findings gets no more advice.
            let near = if self.full() { None } else { nearest(&key.text, known.iter().copied()) };
            let fix = match near {
                Some(near) => text!("did you mean `{near}`?"),
                None => text!("known keys: {}", known.join(", ")),
            };
            self.error(key.span, text!("{what} has no key `{}`", short(&key.text)), fix);
        }
        Some(Fields { entries, span: node.span })
    }

    /// A mapping with free keys, at least its shape.
    pub fn entries<'n, 'a>(&mut self, node: &'n Node<'a>, what: &str) -> Option<&'n [(Key<'a>, Node<'a>)]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            _ => {
                self.wrong(node, what, "a mapping (key: value)");
                None
            }
        }
    }

    /// A list.
    pub fn list<'n, 'a>(&mut self, node: &'n Node<'a>, what: &str) -> &'n [Node<'a>] {
        match &node.kind {
            Kind::Seq(items) => items,
            _ => {
                self.wrong(node, what, "a list ([a, b])");
                &[]
            }
        }
    }

    /// The value of a key that must be there.
    pub fn required<'n, 'a>(
        &mut self,
        fields: &Fields<'n, 'a>,
        what: &str,
        key: &str,
        fix: &str,
    ) -> Option<&'n Node<'a>> {
        let node = fields.get(key);
        if node.is_none() {
            let span = (fields.span.0, fields.span.0);
            self.error(span, text!("{what} lacks `{key}`"), fix);
        }
        node
    }

    /// A scalar as written.
    pub fn scalar<'n>(&mut self, node: &'n Node<'_>, what: &str) -> Option<&'n str> {
        match &node.kind {
            Kind::Scalar { text, .. } if !node.is_null() => Some(text),
            _ => {
                self.wrong(node, what, "text");
                None
            }
        }
    }

    /// One line of free text, at least one character, without hostile characters.
    pub fn line(&mut self, node: &Node<'_>, what: &str) -> Option<Text> {
        let raw = self.scalar(node, what)?;
        if raw.trim().is_empty() {
            self.error(node.span, text!("{what} is empty"), "write it out, or leave the key away");
            return None;
        }
        if let Some(c) = raw.trim_end().chars().find(|c| is_hostile(*c)) {
            self.error(node.span, text!("{what} contains U+{:04X}, which cannot be shown", u32::from(c)), "remove it");
            return None;
        }
        Some(Text::scrub(raw.trim()))
    }

    /// An http or https address without credentials in it.
    pub fn address(&mut self, node: &Node<'_>, what: &str) -> Option<Text> {
        let raw = self.line(node, what)?;
        let rest = raw.strip_prefix("http://").or_else(|| raw.strip_prefix("https://"));
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        let message = if host.contains('@') {
            text!("{what} carries credentials; whoever reads this file reads them")
        } else if host.is_empty() || raw.contains(char::is_whitespace) {
            text!("{what} `{}` is not an HTTP address", short(&raw))
        } else {
            return Some(raw);
        };
        self.error(node.span, message, "write it like http://prometheus.monitoring:9090");
        None
    }

    /// A word from a fixed list.
    pub fn word<T: Copy>(&mut self, node: &Node<'_>, what: &str, words: &[(&str, T)]) -> Option<T> {
        let raw = self.scalar(node, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == raw) {
            return Some(*value);
        }
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let fix = match nearest(raw, list.iter().copied()) {
            Some(near) => text!("did you mean `{near}`?"),
            None => text!("write {}", list.join(" or ")),
        };
        self.error(node.span, text!("{what} cannot be `{}`", Text::scrub(raw)), fix);
        None
    }

    /// `true` or `false`, nothing else: `yes`, `on` and their like are told apart from text here.
    pub fn boolean(&mut self, node: &Node<'_>, what: &str) -> Option<bool> {
        match &node.kind {
            Kind::Scalar { text, plain: true } if text == "true" => Some(true),
            Kind::Scalar { text, plain: true } if text == "false" => Some(false),
            _ => {
                self.wrong(node, what, "true or false");
                None
            }
        }
    }

    /// A finite number in a range.
    pub fn number(&mut self, node: &Node<'_>, what: &str, min: f64, max: f64) -> Option<f64> {
        let number = match &node.kind {
            Kind::Scalar { text, plain: true } => decimal(text),
            _ => None,
        };
        let Some(number) = number else {
            match self.scalar(node, what) {
                Some(raw) if node.sort() == "a number" => {
                    let message = text!("{what} is `{}`, which is not written in plain digits", short(raw));
                    self.error(node.span, message, "write it like 5000 or 0.01");
                }
                Some(_) => self.wrong(node, what, "a number"),
                None => {}
            }
            return None;
        };
        if number < min || number > max {
            let range = if max == f64::MAX { text!("at least {min}") } else { text!("between {min} and {max}") };
            self.error(node.span, text!("{what} is {number}, which is out of range"), text!("write a number {range}"));
            return None;
        }
        Some(number)
    }

    /// A duration in whole or broken milliseconds: `250ms`, `1.5s`, `2m`, `1h`.
    pub fn duration_ms(&mut self, node: &Node<'_>, what: &str) -> Option<f64> {
        let raw = self.scalar(node, what)?;
        let unit = raw.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => 0.0,
        };
        let value = decimal(&raw[..raw.len() - unit.len()]).map(|n| n * factor);
        match value {
            Some(ms) if ms > 0.0 && ms <= 86_400_000.0 => Some(ms),
            _ => {
                let message = text!("{what} `{}` is not a duration up to a day", Text::scrub(raw));
                self.error(node.span, message, "write a number and its unit: 250ms, 1.5s, 2m, 1h");
                None
            }
        }
    }

    /// A DNS label (RFC 1123): the name of a service, a namespace, a workload.
    pub fn label(&mut self, raw: &str, span: (u32, u32), what: &str) -> Option<Text> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let good = raw.len() <= LABEL_MAX
            && raw.chars().all(inner)
            && ends(raw.chars().next())
            && ends(raw.chars().next_back());
        if good {
            return Some(Text::scrub(raw));
        }
        let message = text!("{what} `{}` is not a DNS label", short(raw));
        self.error(span, message, "use lower-case letters, digits and -, at most 63, a letter or digit at both ends");
        None
    }

    /// A name of our own: letters, digits and `._-/`, at most 253, a letter or digit at both ends.
    pub fn name(&mut self, raw: &str, span: (u32, u32), what: &str, max: usize) -> Option<Text> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let good =
            raw.len() <= max && raw.chars().all(inner) && ends(raw.chars().next()) && ends(raw.chars().next_back());
        if good {
            return Some(Text::scrub(raw));
        }
        let message = text!("{what} `{}` is not a name", short(raw));
        self.error(
            span,
            message,
            text!("use letters, digits, . _ and -, at most {max}, a letter or digit at both ends"),
        );
        None
    }

    /// Names in a list, each once, each through `check`.
    pub fn names(
        &mut self,
        node: &Node<'_>,
        what: &str,
        check: impl Fn(&mut Self, &str, (u32, u32)) -> Option<Text>,
    ) -> Vec<At<Text>> {
        let mut out: Vec<At<Text>> = Vec::new();
        for item in self.list(node, what) {
            let Some(raw) = self.scalar(item, &format!("an entry of {what}")) else { continue };
            let Some(value) = check(self, raw, item.span) else { continue };
            let twice = out.iter().find(|old| old.value == value).map(|old| (old.place.start, old.place.end));
            match twice {
                Some(first) => {
                    let also = ("first here".into(), first);
                    self.error_also(item.span, text!("{what} names `{value}` twice"), "keep one of them", also);
                }
                None => out.push(At { value, place: self.place(item.span) }),
            }
        }
        out
    }

    /// A path inside the environment repository: relative, forward slashes, no way out of the root.
    pub fn path(&mut self, raw: &str, span: (u32, u32), what: &str) -> Option<Text> {
        let plain = Path::new(raw).components().all(|c| matches!(c, Component::Normal(_)));
        let odd = raw.is_empty()
            || raw.len() > 1024
            || raw.contains('\\')
            || raw.contains("//")
            || raw.ends_with('/')
            || raw.split('/').any(|part| part == "." || part.starts_with('-'))
            || raw.chars().any(is_hostile);
        if plain && !odd {
            return Some(Text::scrub(raw));
        }
        let message = text!("{what} `{}` is not a path inside this repository", short(raw));
        self.error(span, message, "write it relative to the root of the repository, without .. and with /");
        None
    }

    /// A date (`2025-11-01`).
    pub fn date(&mut self, node: &Node<'_>, what: &str) -> Option<Date> {
        let raw = self.scalar(node, what)?;
        let date = if raw.len() == 10 { raw.parse().ok() } else { None };
        if date.is_none() {
            self.error(node.span, text!("{what} `{}` is not a date", short(raw)), "write it like 2025-11-01");
        }
        date
    }
}

/// A decimal number as people write them: digits, one point, no exponent, no `inf` and `nan`, no `_`.
fn decimal(raw: &str) -> Option<f64> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let good = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && raw.len() <= 20;
    if good { raw.parse().ok() } else { None }
}

/// A text for a message, cut where it is long.
pub fn short(raw: &str) -> Text {
    const CHARS: usize = 80;
    let mut cut: String = raw.chars().take(CHARS).collect();
    if cut.len() < raw.len() {
        cut.push('…');
    }
    Text::scrub(&cut)
}

/// The known word that was probably meant; case and `-`/`_` do not count.
pub fn nearest<'w>(raw: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    const LENGTH_MAX: usize = 80;
    if raw.len() > LENGTH_MAX {
        return None;
    }
    let fold =
        |s: &str| -> String { s.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect() };
    let folded = fold(raw);
    let best = known.map(|word| (strsim::damerau_levenshtein(&folded, &fold(word)), word)).min()?;
    let near = folded.chars().count().max(2) / 3;
    (best.0 <= near).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let known = ["dependsOn", "exposesContracts", "consumesContracts", "workload"];
        assert_eq!(nearest("depends_on", known.into_iter()), Some("dependsOn"));
        assert_eq!(nearest("consumeContract", known.into_iter()), Some("consumesContracts"));
        assert_eq!(nearest("replicas", known.into_iter()), None);
        assert_eq!(nearest("", known.into_iter()), None);
    }

    #[test]
    fn numbers_are_what_people_write() {
        assert_eq!(decimal("0.01"), Some(0.01));
        assert_eq!(decimal("-3"), Some(-3.0));
        for bad in ["", ".5", "5.", "1e3", "inf", "nan", "1_000", "0x10", "1.2.3", "--1", "+1"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }
}
