//! Hostile text, where to put it, and how to tell that it had an effect. The detectors share nothing with the program's own
//! scrubbing: what is foreign is written down here once more, from what terminals act on.

use serde_json::{Map, Value};
use unicode_width::UnicodeWidthChar;

/// In every payload that would be seen if it took effect: it may only ever appear as printed text.
pub const MARK: &str = "Pq7";

/// The payloads (`reliability-and-security` §5.1), by name.
pub fn payloads() -> Vec<(&'static str, String)> {
    let plain: &[(&'static str, &str)] = &[
        ("osc 52 clipboard", "\u{1b}]52;c;UHE3\u{7}"),
        ("osc 0 title", "\u{1b}]0;Pq7\u{7}"),
        ("osc 2 title, ended by ST", "\u{1b}]2;Pq7\u{1b}\\"),
        ("osc 8 link", "\u{1b}]8;;http://pq7.example\u{1b}\\Pq7\u{1b}]8;;\u{1b}\\"),
        ("osc without end", "\u{1b}]0;Pq7"),
        ("dcs through tmux", "\u{1b}Ptmux;\u{1b}\u{1b}]52;c;UHE3\u{7}\u{1b}\\"),
        ("apc", "\u{1b}_Pq7\u{1b}\\"),
        ("pm", "\u{1b}^Pq7\u{1b}\\"),
        ("sos", "\u{1b}XPq7\u{1b}\\"),
        ("clear and home", "\u{1b}[2J\u{1b}[1;1HPq7"),
        ("cursor up", "\u{1b}[9A\u{1b}[2KPq7"),
        ("report 6n", "\u{1b}[6n"),
        ("report 21t", "\u{1b}[21t"),
        ("report c", "\u{1b}[c\u{1b}[>q\u{1b}Z"),
        ("hidden and blinking", "\u{1b}[8;5mPq7\u{1b}[0m"),
        ("leave the alternate screen", "\u{1b}[?1049l\u{1b}[?1003h"),
        ("end the frame", "\u{1b}[?2026l\u{1b}[31mPq7"),
        ("ris", "\u{1b}cPq7"),
        ("character set", "\u{1b}(0\u{e}Pq7\u{f}"),
        ("c1 csi", "\u{9b}2JPq7"),
        ("c1 osc", "\u{9d}0;Pq7\u{9c}"),
        ("c1 dcs apc pm sos", "\u{90}Pq7\u{9c}\u{9f}Pq7\u{9c}\u{9e}Pq7\u{9c}\u{98}Pq7\u{9c}"),
        ("c1 next line and index", "\u{85}\u{84}\u{8d}Pq7"),
        ("bidi override", "\u{202e}7qP\u{202c}\u{202d}\u{202a}\u{202b}"),
        ("bidi isolates", "\u{2066}7qP\u{2067}7qP\u{2068}7qP\u{2069}"),
        ("bidi marks", "\u{200e}\u{200f}\u{61c}Pq7"),
        ("line and paragraph separator", "Pq7\u{2028}Pq7\u{2029}Pq7"),
        ("zero width", "P\u{200b}q\u{200c}7\u{200d}\u{2060}\u{feff}"),
        ("tags", "Pq7\u{e0001}\u{e0050}\u{e0071}\u{e007f}"),
        ("invisible", "\u{ad}\u{34f}\u{115f}\u{1160}\u{17b4}\u{180e}\u{3164}\u{ffa0}\u{1d173}\u{fff9}\u{fffb}Pq7"),
        ("variation selectors", "P\u{fe0f}q\u{fe00}7\u{e0100}"),
        ("not characters", "\u{ffff}\u{fdd0}\u{1fffe}Pq7"),
        ("carriage return", "Pq7\rPq7 Healthy"),
        ("backspace", "Pq7\u{8}\u{8}\u{8}ok "),
        ("delete", "\u{7f}Pq7"),
        ("nul", "\u{0}Pq7\u{0}"),
        ("form feed, vertical tab, bell", "\u{c}\u{b}\u{7}Pq7"),
        ("lines of its own", "\nPq7  Rollout  Healthy\n\n"),
        ("tabs", "\t\t\tPq7"),
        ("a mark at its beginning", "\u{301}\u{336}Pq7"),
        ("syntax of others", "\"'></text><script>Pq7</script>&#27;]]>\"];x->y[label=\"#27;--yes $(id) `id` {}%n"),
    ];
    let mut out: Vec<(&'static str, String)> = plain.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    out.push(("a flood of marks", format!("P{}q{}7", "\u{301}".repeat(60), "\u{489}\u{20dd}".repeat(30))));
    out.push(("long", format!("Pq7{}", "W".repeat(4200))));
    out.push(("long and wide", format!("Pq7{}", "漢".repeat(800))));
    out
}

/// Characters that change more than the cell they are printed in, or that nobody can see.
fn acts(c: char) -> bool {
    let n = u32::from(c);
    n < 0x20
        || (0x7f..0xa0).contains(&n)
        || matches!(n, 0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x3164 | 0xffa0)
        || matches!(n, 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff)
        || matches!(n, 0xfff0..=0xfffb | 0xfdd0..=0xfdef | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
        || n & 0xfffe == 0xfffe
}

/// What is foreign in text that was printed for a person or a program: anything but visible characters and line ends. A line
/// of talk may carry the program's own colours where it was told to.
pub fn foreign_in_text(raw: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text,
        Err(why) => return vec![format!("no UTF-8: {why}")],
    };
    let mut marks = 0;
    let mut before = '\n';
    for (at, c) in text.char_indices() {
        if c != '\n' && acts(c) {
            out.push(format!("U+{:04X} at {at}: {:?}", u32::from(c), around(text, at)));
        }
        marks = if c.width() == Some(0) { marks + 1 } else { 0 };
        if marks > 4 || (marks == 1 && before == '\n') {
            out.push(format!("a flood of marks at {at}: {:?}", around(text, at)));
        }
        before = c;
        if out.len() > 5 {
            break;
        }
    }
    out
}

/// What is foreign in JSON: its bytes, and what its strings are once they are read.
pub fn foreign_in_json(raw: &[u8]) -> Vec<String> {
    let mut out = foreign_in_text(raw);
    match serde_json::from_slice::<Value>(raw) {
        Ok(value) => strings(&value, &mut |text| out.extend(foreign_in_text(text.replace('\n', "\r").as_bytes()))),
        Err(why) => out.push(format!("no JSON: {why}")),
    }
    out
}

/// Every string and every key of a value.
fn strings(value: &Value, each: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, each)),
        Value::Object(map) => map.iter().for_each(|(key, item)| {
            each(key);
            strings(item, each);
        }),
        _ => {}
    }
}

fn around(text: &str, at: usize) -> String {
    let before: Vec<char> = text[..at].chars().rev().take(30).collect();
    before.into_iter().rev().chain(text[at..].chars().take(30)).collect()
}

/// What is foreign in what a full screen program sent to its terminal: every sequence that the renderer does not make or not
/// in that place, every control outside of one, every character that acts, everything printed outside of a frame.
pub fn foreign_on_screen(raw: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text,
        Err(why) => return vec![format!("no UTF-8: {why}")],
    };
    let (mut rest, mut inside, mut full_screen, mut marks) = (text, false, false, 0);
    // The sequence that ended right here.
    let mut before = "";
    while let Some(c) = rest.chars().next() {
        let at = text.len() - rest.len();
        let mut length = c.len_utf8();
        let mut sequence = "";
        if c == '\u{1b}' {
            match own_sequence(rest) {
                Some((found, end)) => {
                    (sequence, length) = (found, end);
                    let wrong = match found {
                        "\u{1b}[?2026h" => std::mem::replace(&mut inside, true),
                        // A screen that ends, ends a frame too, whether or not one was begun.
                        "\u{1b}[?2026l" => {
                            !std::mem::replace(&mut inside, false) && !rest[end..].starts_with("\u{1b}[0m")
                        }
                        "\u{1b}[?1049h" => std::mem::replace(&mut full_screen, true),
                        "\u{1b}[?1049l" => inside || !std::mem::replace(&mut full_screen, false),
                        "\u{1b}[?25h" | "\u{1b}[?25l" => false,
                        mode if mode.starts_with("\u{1b}[?") => inside,
                        // Everything is only wiped at the beginning of a frame.
                        wipe if wipe.ends_with('J') => inside && before != "\u{1b}[?2026h" && !before.ends_with('m'),
                        _ => false,
                    };
                    if wrong {
                        out.push(format!("{found:?} at {at}: {:?}", around(text, at)));
                    }
                }
                None => out.push(format!("a sequence at {at}: {:?}", around(text, at))),
            }
        } else if acts(c) && (inside || c != '\u{7}') {
            out.push(format!("U+{:04X} at {at}: {:?}", u32::from(c), around(text, at)));
        } else {
            marks = if c.width() == Some(0) { marks + 1 } else { 0 };
            if marks > 4 {
                out.push(format!("a flood of marks at {at}"));
            }
            if full_screen && !inside && c != '\u{7}' {
                out.push(format!("printed outside of a frame at {at}: {:?}", around(text, at)));
            }
        }
        before = sequence;
        rest = &rest[length..];
        if out.len() > 5 {
            break;
        }
    }
    out
}

/// The sequence that a text begins with, if it is one that the renderer makes, and its length.
fn own_sequence(text: &str) -> Option<(&str, usize)> {
    if let Some(copied) = text.strip_prefix("\u{1b}]52;c;") {
        let end = copied.find('\u{7}')?;
        return copies(&copied[..end]).then(|| (&text[..7 + end + 1], 7 + end + 1));
    }
    let body = text.strip_prefix("\u{1b}[")?;
    let digits = body.find(|c: char| !(c.is_ascii_digit() || matches!(c, ';' | '?')))?;
    let (parameters, last) = (&body[..digits], body[digits..].chars().next()?);
    let modes = ["?2026", "?1049", "?25", "?2004", "?1004", "?1000", "?1006"];
    let numbers = !parameters.contains('?');
    let sgr = parameters.split(';').all(|p| !matches!(p, "5" | "6" | "8")) || parameters.contains("8;5;");
    let ours = match last {
        'h' | 'l' => modes.contains(&parameters),
        'H' | 'C' => numbers,
        'J' => matches!(parameters, "" | "1" | "2"),
        'K' => matches!(parameters, "" | "2"),
        'm' => numbers && sgr && !parameters.is_empty(),
        _ => false,
    };
    let length = 2 + digits + 1;
    ours.then(|| (&text[..length], length))
}

/// Whether this is what a person copied with a key: inert text, and no payload of ours.
fn copies(base64: &str) -> bool {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.decode(base64).unwrap_or_default();
    text != MARK.as_bytes() && !text.is_empty() && foreign_in_text(&text).is_empty()
}

/// How much of an object is spoiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// What decides how the rest is read (kinds, times, phases) stays, so that hostile text gets as far as it can.
    Deep,
    /// Every string without exception.
    All,
}

/// Which payload goes where: by the text that stood there, so that what refers to each other still does.
pub struct Spoiler<'a> {
    pub payloads: &'a [(&'static str, String)],
    pub turn: usize,
    pub depth: Depth,
    /// Texts that stay as they are: what the objects are called, where a release names them.
    pub keep: &'a [&'a str],
}

impl Spoiler<'_> {
    fn payload(&self, text: &str) -> &str {
        let sum = text.bytes().fold(7_usize, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        &self.payloads[(sum + self.turn) % self.payloads.len()].1
    }

    /// One string, spoiled.
    pub fn text(&self, text: &str) -> String {
        format!("{text}{}", self.payload(text))
    }

    /// A value with every string of it spoiled, and the keys of maps whose keys people choose; every map gets one more entry
    /// that is a payload through and through.
    pub fn value(&self, value: &Value) -> Value {
        self.at("", value)
    }

    fn at(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::String(text) if self.depth == Depth::Deep && steers(key, text) => value.clone(),
            Value::String(text) if self.keep.contains(&text.as_str()) => value.clone(),
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.at(key, item)).collect(),
            Value::Object(map) => {
                let chosen = matches!(
                    key,
                    "labels"
                        | "annotations"
                        | "matchLabels"
                        | "data"
                        | "flags"
                        | "variants"
                        | "nodeSelector"
                        | "targeting"
                );
                let own = |name: &str| {
                    name.contains("footplate.dev") || name.contains("argoproj.io") || name.contains("hash")
                };
                let mut out: Map<String, Value> = map
                    .iter()
                    .map(|(name, item)| {
                        let spoiled = self.at(name, item);
                        let renamed = chosen && !own(name) && self.depth == Depth::All;
                        (if renamed { self.text(name) } else { name.clone() }, spoiled)
                    })
                    .collect();
                out.insert(self.text(key), Value::String(self.text(key)));
                Value::Object(out)
            }
            other => other.clone(),
        }
    }
}

/// Strings that decide how the rest of an object is read.
fn steers(key: &str, text: &str) -> bool {
    matches!(
        key,
        "kind"
            | "apiVersion"
            | "phase"
            | "status"
            | "type"
            | "resourceVersion"
            | "observedGeneration"
            | "state"
            | "duration"
            | "successCondition"
            | "failureCondition"
            | "interval"
            | "namespace"
            | "template"
    ) || key.ends_with("Time")
        || key.ends_with("At")
        || key.ends_with("Timestamp")
        || text == "CanaryPauseStep"
        || text == "BlueGreenPause"
}
