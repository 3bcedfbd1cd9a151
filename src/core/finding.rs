//! A finding about an input file: what is wrong, where, how that place looks, and what would be right. Also the sources
//! that findings point into, and the one rendering of a finding, which screens paint and tests read plain.
//! Reading files and choosing colours happen elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use super::text::Text;

/// Most findings kept of one file; what is beyond is counted, not listed.
pub const FINDINGS_MAX: usize = 100;

/// Longest excerpt of a line, in characters; a longer line is shown around the offending text.
const EXCERPT_CHARS: usize = 100;

/// How much of an excerpt may come before the offending text when the line is cut.
const EXCERPT_BEFORE: usize = 40;

/// Whether a finding stops the work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Nothing is done with this input.
    Error,
    /// Worth knowing; the work goes on.
    Warning,
}

/// A file, by its number in [`Sources`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(u32);

/// A range of bytes in a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Which file.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte; equal to `start` for a point.
    pub end: u32,
}

/// A value and where it was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// One input file, as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Name to print: a path that the reader can open.
    pub name: Text,
    /// The whole text.
    pub text: Box<str>,
}

/// All files that were read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Takes a file in. An offset must fit 32 bits: a longer text is cut at the last character that does.
    pub fn add(&mut self, name: Text, mut text: String) -> FileId {
        let max = u32::MAX as usize;
        if text.len() > max {
            let cut = (0..=max).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
            text.truncate(cut);
        }
        self.0.push(Source { name, text: text.into() });
        FileId(u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX))
    }

    /// The text of a file; empty for a number that is not one.
    pub fn text(&self, file: FileId) -> &str {
        self.0.get(file.0 as usize).map_or("", |s| &s.text)
    }

    /// The name of a file.
    pub fn name(&self, file: FileId) -> Text {
        self.0.get(file.0 as usize).map(|s| s.name.clone()).unwrap_or_default()
    }

    /// What a reader needs to find a place: line, column, and how the line looks.
    pub fn spot(&self, place: Place) -> Spot {
        let text = self.text(place.file);
        let floor = |n: usize| (0..=n.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
        let start = floor(place.start as usize);
        let end = floor(place.end as usize).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |n| n + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |n| start + n);
        let line = text[..start].bytes().filter(|b| *b == b'\n').count() + 1;
        let before = text[line_start..start].chars().count();
        let marked = text[start..end.min(line_end)].trim_end().chars().count();
        let shown = text[line_start..line_end].trim_end();
        let long = shown.chars().nth(EXCERPT_CHARS).is_some();
        let skip = if long { before.saturating_sub(EXCERPT_BEFORE) } else { 0 };
        let mut cut = String::new();
        let mut lead = before - skip;
        if skip > 0 {
            cut.push('…');
            lead += 1;
        }
        let room = if long { EXCERPT_CHARS } else { usize::MAX };
        cut.extend(shown.chars().skip(skip).take(room));
        if long && shown.chars().nth(skip + room).is_some() {
            cut.push('…');
        }
        let excerpt = Text::scrub(&cut);
        let cells = |from: usize, n: usize| -> usize {
            excerpt.chars().skip(from).take(n).map(|c| c.width().unwrap_or(0)).sum()
        };
        let end_of_line = shown.chars().count() - skip.min(shown.chars().count());
        let visible = marked.min(end_of_line.min(room).saturating_sub(before - skip));
        let (caret, width) = (cells(0, lead), cells(lead, visible).max(1));
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Spot {
            file: self.name(place.file),
            line: narrow(line),
            column: narrow(before + 1),
            offset: narrow(start),
            length: narrow(end - start),
            caret: narrow(caret),
            width: narrow(width),
            excerpt,
        }
    }
}

/// A place as a reader sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Spot {
    /// Name of the file.
    pub file: Text,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Byte offset of the offending text.
    pub offset: u32,
    /// Its length in bytes.
    pub length: u32,
    /// The line, scrubbed, cut around the offending text where it is long.
    pub excerpt: Text,
    /// Terminal cells of the excerpt before the offending text.
    pub caret: u32,
    /// Terminal cells of the offending text in the excerpt, at least 1.
    pub width: u32,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A finding about an input file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Whether it stops the work.
    pub severity: Severity,
    /// The file it is about, as its name is printed.
    pub file: Text,
    /// Where; none when it is about the file as a whole (missing, too large).
    pub spot: Option<Spot>,
    /// What is wrong, naming the offending text.
    pub message: Text,
    /// What would be right; empty when the message says it.
    pub fix: Text,
    /// Other places that have to do with it, each with what it is.
    pub also: Vec<(Text, Spot)>,
}

/// The parts of a rendered finding that a painter may tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// `error` or `warning`.
    Severity(Severity),
    /// The message.
    Message,
    /// File, line, column.
    Where,
    /// Line numbers and bars.
    Frame,
    /// The excerpt.
    Excerpt,
    /// The carets under the offending text.
    Caret(Severity),
    /// What would be right.
    Fix,
}

impl Finding {
    /// An error at a place.
    pub fn error(sources: &Sources, place: Place, message: Text, fix: Text) -> Self {
        let spot = sources.spot(place);
        Self { severity: Severity::Error, file: spot.file.clone(), spot: Some(spot), message, fix, also: Vec::new() }
    }

    /// A warning at a place.
    pub fn warning(sources: &Sources, place: Place, message: Text, fix: Text) -> Self {
        Self { severity: Severity::Warning, ..Self::error(sources, place, message, fix) }
    }

    /// An error about a file as a whole.
    pub fn file(file: Text, message: Text, fix: Text) -> Self {
        Self { severity: Severity::Error, file, spot: None, message, fix, also: Vec::new() }
    }

    /// Adds another place that has to do with it.
    #[must_use]
    pub fn and(mut self, sources: &Sources, place: Place, what: Text) -> Self {
        self.also.push((what, sources.spot(place)));
        self
    }

    /// Writes the finding in several lines, each part through `paint`. Plain text is `|_, s| s.to_owned()`.
    pub fn render(&self, paint: &dyn Fn(Part, &str) -> String) -> String {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = String::new();
        let frame = |s: &str| paint(Part::Frame, s);
        let head = paint(Part::Severity(self.severity), word);
        let _ = writeln!(out, "{head}: {}", paint(Part::Message, &self.message));
        let spots = self.spot.iter().map(|s| (None, s)).chain(self.also.iter().map(|(what, s)| (Some(what), s)));
        let gutter = spots.clone().map(|(_, s)| s.line.max(1).ilog10() as usize + 1).max().unwrap_or(1);
        let pad = " ".repeat(gutter);
        if self.spot.is_none() {
            let _ = writeln!(out, "{pad}{} {}", frame("-->"), paint(Part::Where, &self.file));
        }
        for (what, spot) in spots {
            let arrow = if what.is_some() { ":::" } else { "-->" };
            let colon = what.map(|w| format!(": {w}")).unwrap_or_default();
            let _ = writeln!(out, "{pad}{} {}{colon}", frame(arrow), paint(Part::Where, &spot.to_string()));
            let number = format!("{:>gutter$} |", spot.line);
            let _ = writeln!(out, "{} {}", frame(&number), paint(Part::Excerpt, &spot.excerpt));
            let carets = "^".repeat(spot.width as usize);
            let lead = " ".repeat(spot.caret as usize);
            let bar = format!("{pad} |");
            let _ = writeln!(out, "{} {lead}{}", frame(&bar), paint(Part::Caret(self.severity), &carets));
        }
        if !self.fix.is_empty() {
            let _ = writeln!(out, "{pad} {} {}", frame("="), paint(Part::Fix, &format!("fix: {}", self.fix)));
        }
        out
    }
}

/// Findings of one run. At most [`FINDINGS_MAX`] are kept of each file; the rest are counted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Findings {
    list: Vec<Finding>,
    kept: BTreeMap<Text, usize>,
    /// Errors and warnings that were counted, not kept.
    more: BTreeMap<Text, (usize, usize)>,
}

impl Findings {
    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        if self.full(&finding.file) {
            return self.skip(&finding.file, finding.severity);
        }
        *self.kept.entry(finding.file.clone()).or_default() += 1;
        self.list.push(finding);
    }

    /// Adds an error at a place; cheap when the file has enough of them.
    pub fn error(&mut self, sources: &Sources, place: Place, message: Text, fix: impl Into<Text>) {
        let file = sources.name(place.file);
        if self.full(&file) {
            return self.skip(&file, Severity::Error);
        }
        self.push(Finding::error(sources, place, message, fix.into()));
    }

    /// Adds an error at a place that has to do with another one; cheap when the file has enough of them.
    pub fn error_also(
        &mut self,
        sources: &Sources,
        place: Place,
        message: Text,
        fix: impl Into<Text>,
        also: (Text, Place),
    ) {
        let file = sources.name(place.file);
        if self.full(&file) {
            return self.skip(&file, Severity::Error);
        }
        self.push(Finding::error(sources, place, message, fix.into()).and(sources, also.1, also.0));
    }

    /// Adds a warning at a place; cheap when the file has enough of them.
    pub fn warn(&mut self, sources: &Sources, place: Place, message: Text, fix: impl Into<Text>) {
        let file = sources.name(place.file);
        if self.full(&file) {
            return self.skip(&file, Severity::Warning);
        }
        self.push(Finding::warning(sources, place, message, fix.into()));
    }

    /// Adds all of another run.
    pub fn append(&mut self, other: Self) {
        for finding in other.list {
            self.push(finding);
        }
        for (file, (errors, warnings)) in other.more {
            let more = self.more.entry(file).or_default();
            more.0 += errors;
            more.1 += warnings;
        }
    }

    /// True when a file has so many findings that further ones are only counted.
    pub fn full(&self, file: &Text) -> bool {
        self.kept.get(file).is_some_and(|n| *n >= FINDINGS_MAX)
    }

    fn skip(&mut self, file: &Text, severity: Severity) {
        let more = self.more.entry(file.clone()).or_default();
        match severity {
            Severity::Error => more.0 += 1,
            Severity::Warning => more.1 += 1,
        }
    }

    /// True when one of them is an error.
    pub fn any_error(&self) -> bool {
        self.count().0 > 0
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many errors and warnings.
    pub fn count(&self) -> (usize, usize) {
        let errors = self.list.iter().filter(|f| f.severity == Severity::Error).count();
        let more = self.more.values().fold((0, 0), |a, m| (a.0 + m.0, a.1 + m.1));
        (errors + more.0, self.list.len() - errors + more.1)
    }

    /// The warnings, in the order they are shown.
    pub fn warnings(&self) -> Vec<Finding> {
        self.sorted().into_iter().filter(|f| f.severity == Severity::Warning).collect()
    }

    /// All of them, by name of the file, then by place; a file with more than
    /// [`FINDINGS_MAX`] ends in a finding that counts the rest.
    pub fn sorted(&self) -> Vec<Finding> {
        let mut by_file: BTreeMap<&Text, Vec<&Finding>> = BTreeMap::new();
        for finding in &self.list {
            by_file.entry(&finding.file).or_default().push(finding);
        }
        let mut out = Vec::new();
        for (file, mut list) in by_file {
            list.sort_by_key(|f| f.spot.as_ref().map_or(0, |s| s.offset));
            out.extend(list.into_iter().cloned());
            if let Some((errors, warnings)) = self.more.get(file) {
                let severity = if *errors > 0 { Severity::Error } else { Severity::Warning };
                let message = crate::text!("{} more findings in this file", errors + warnings);
                out.push(Finding { severity, ..Finding::file(file.clone(), message, Text::default()) });
            }
        }
        out
    }

    /// All of them as plain text.
    pub fn plain(&self) -> String {
        let blocks: Vec<String> = self.sorted().iter().map(|f| f.render(&|_, s| s.to_owned())).collect();
        blocks.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str, start: u32, end: u32) -> (Sources, Place) {
        let mut sources = Sources::default();
        let file = sources.add("a.yaml".into(), text.to_owned());
        (sources, Place { file, start, end })
    }

    #[test]
    fn a_finding_shows_its_place() {
        let (sources, place) = one("release: x\nservices:\n  a: latest\n", 26, 32);
        let finding = Finding::error(&sources, place, "`latest` moves".into(), "pin 1.2.3".into());
        insta::assert_snapshot!(finding.render(&|_, s| s.to_owned()), @"
        error: `latest` moves
         --> a.yaml:3:6
        3 |   a: latest
          |      ^^^^^^
          = fix: pin 1.2.3
        ");
    }

    #[test]
    fn long_lines_are_cut_around_the_place_and_wide_characters_count_twice() {
        let line = format!("{}日本 bad {}", "x".repeat(500), "y".repeat(500));
        let start = 500 + 7;
        let (sources, place) = one(&line, start, start + 3);
        let spot = sources.spot(place);
        assert_eq!(spot.column, 504);
        let lead: String = spot.excerpt.chars().take(1 + 40).collect();
        assert_eq!(spot.caret as usize, unicode_width::UnicodeWidthStr::width(lead.as_str()));
        assert_eq!(spot.excerpt.chars().skip(41).take(3).collect::<String>(), "bad");
        assert!(spot.excerpt.chars().count() <= EXCERPT_CHARS + 2);
    }

    proptest! {
        #[test]
        fn any_place_in_any_text_renders(text in "(?s).{0,80}", start in 0u32..100, end in 0u32..100) {
            let (sources, place) = one(&text, start, end);
            let out = Finding::error(&sources, place, "m".into(), "f".into()).render(&|_, s| s.to_owned());
            prop_assert!(!out.replace('\n', "").chars().any(super::super::text::is_hostile));
        }
    }
}
