//! Text that may reach a terminal, a log or JSON. The only way to make a [`Text`] is to scrub, so hostile bytes from a
//! cluster, a file or a plugin cannot pass the door. Nothing here knows where the text came from.

use std::fmt;
use std::ops::Deref;

use serde::{Serialize, Serializer};
use unicode_width::UnicodeWidthChar;

/// Longest text kept, in characters; what is longer is cut and ends in `…`.
pub const TEXT_CHARS_MAX: usize = 4096;

/// Most marks without a width of their own that follow one letter; no script needs more. A flood of them would be painted
/// over the lines above and below.
pub const MARKS_MAX: usize = 4;

/// One line of inert text: no control characters (C0, C1, DEL), no bidi overrides or isolates, no zero-width or line
/// separator characters, no flood of combining marks. Each removed character is shown as U+FFFD, so that a reader sees
/// something was there.
///
/// Source of the rule: CVE-2021-25743 and `reliability-and-security` §5.1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Box<str>);

impl Text {
    /// Scrubs one line. Tabs and line breaks become spaces, everything else that could move a cursor, change
    /// direction or hide becomes U+FFFD.
    pub fn scrub(raw: &str) -> Self {
        if raw.len() <= TEXT_CHARS_MAX && raw.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Self(raw.into());
        }
        let mut out = String::with_capacity(raw.len().min(TEXT_CHARS_MAX * 4));
        // A mark needs a letter before it: at the beginning it would join whatever is printed before this text.
        let mut marks = MARKS_MAX;
        for (n, c) in raw.chars().enumerate() {
            if n >= TEXT_CHARS_MAX {
                out.push('…');
                break;
            }
            let shown = match c {
                '\t' | '\n' => ' ',
                c if is_hostile(c) => '\u{fffd}',
                c => c,
            };
            marks = if shown.width() == Some(0) { marks + 1 } else { 0 };
            match marks {
                0..=MARKS_MAX => out.push(shown),
                // The whole rest of a flood is one mark of removal.
                n if n == MARKS_MAX + 1 => out.push('\u{fffd}'),
                _ => {}
            }
        }
        Self(out.into())
    }

    /// Scrubs a text of several lines, one [`Text`] a line. At most `lines_max` lines are kept.
    pub fn scrub_lines(raw: &str, lines_max: usize) -> Vec<Self> {
        raw.lines().take(lines_max).map(Self::scrub).collect()
    }

    /// The scrubbed text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Joins our own words and scrubbed parts. The result is scrubbed again, so this cannot be used to smuggle.
    pub fn of(args: fmt::Arguments<'_>) -> Self {
        match args.as_str() {
            Some(plain) => Self::scrub(plain),
            None => Self::scrub(&args.to_string()),
        }
    }
}

/// Makes a [`Text`] from a format string, as `format!` makes a `String`.
#[macro_export]
macro_rules! text {
    ($($arg:tt)*) => { $crate::core::text::Text::of(format_args!($($arg)*)) };
}

/// JSON as one line of inert bytes that still means the same: what may not reach a terminal is written as an escape. For
/// what must be kept exactly, such as a patch in the journal, and may be shown by `tail`.
pub fn inert_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if is_hostile(c) || c.width() == Some(0) {
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// True for characters that may not reach a terminal: controls, bidi marks, zero-width and separator characters, tags,
/// fillers that look like nothing, code points that are no characters.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(
            c,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{061c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl From<&str> for Text {
    fn from(raw: &str) -> Self {
        Self::scrub(raw)
    }
}

impl From<String> for Text {
    fn from(raw: String) -> Self {
        Self::scrub(&raw)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::scrub(&String::deserialize(d)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_hostile_survives(raw in "\\PC*|[\\x00-\\u{10ffff}]{0,200}") {
            let text = Text::scrub(&raw);
            prop_assert!(!text.chars().any(is_hostile));
            prop_assert_eq!(Text::scrub(&text), text);
        }
    }

    #[test]
    fn what_was_removed_is_visible() {
        assert_eq!(Text::scrub("a\u{1b}[2Jb").as_str(), "a\u{fffd}[2Jb");
        assert_eq!(Text::scrub("x\u{202e}y").as_str(), "x\u{fffd}y");
        assert_eq!(Text::scrub("\u{9b}31m").as_str(), "\u{fffd}31m");
        assert_eq!(Text::scrub("two\nlines").as_str(), "two lines");
        assert_eq!(Text::scrub(&"é".repeat(5000)).chars().count(), TEXT_CHARS_MAX + 1);
    }

    #[test]
    fn marks_stay_with_their_letter_and_do_not_flood() {
        for kept in ["e\u{301}", "ế", "ק\u{5bc}\u{5b8}\u{591}", "\u{1112}\u{1161}\u{11ab}", "กำ\u{e49}"] {
            assert_eq!(Text::scrub(kept).as_str(), kept);
        }
        assert_eq!(Text::scrub("\u{301}a").as_str(), "\u{fffd}a");
        let flood = format!("a{}b", "\u{336}".repeat(300));
        assert_eq!(Text::scrub(&flood).as_str(), "a\u{336}\u{336}\u{336}\u{336}\u{fffd}b");
    }

    #[test]
    fn json_is_made_inert_without_changing_what_it_says() {
        let said = serde_json::json!({"a\u{9b}2J": "\u{202e}\u{7f}x\u{1b}[2J\u{e0041}\u{301}\né\u{10ffff}"});
        let line = inert_json(&said.to_string());
        assert!(!line.chars().any(is_hostile), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), said);
    }
}
