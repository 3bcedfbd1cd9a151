//! Values as the controller writes them: measurements as strings, durations as Go writes them, integers that may be
//! strings. Everything is hostile; what cannot be understood is absent.

use std::time::Duration;

use serde_json::Value;

/// The longest measurement string that is read, and how many numbers of it.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;
const NUMBERS_MAX: usize = 1000;

/// What a measurement said.
#[derive(Clone, PartialEq, Debug)]
pub enum Measured {
    /// No text at all (a Job has no value).
    Empty,
    /// Numbers; no number is an empty answer. NaN and infinities are kept.
    Numbers(Vec<f64>),
    /// Something else: JSON, a word.
    Other,
}

impl Measured {
    /// Reads the value of a measurement: `0.3`, `[0.01,NaN]`, `[]`, `{"ok":true}`.
    pub fn read(raw: &str) -> Self {
        let text = raw.trim();
        if text.is_empty() {
            return Self::Empty;
        }
        if text.len() > VALUE_BYTES_MAX {
            return Self::Other;
        }
        let Some(list) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) else {
            return number(text).map_or(Self::Other, |n| Self::Numbers(vec![n]));
        };
        if list.trim().is_empty() {
            return Self::Numbers(Vec::new());
        }
        let numbers: Option<Vec<f64>> = list.split(',').take(NUMBERS_MAX).map(number).collect();
        numbers.map_or(Self::Other, Self::Numbers)
    }

    /// The value to draw: the first number, if it is finite.
    pub fn drawn(&self) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => numbers.first().copied().filter(|n| n.is_finite()),
            Self::Empty | Self::Other => None,
        }
    }

    /// True when it says something: a number that is not NaN, or anything that is no number at all.
    pub fn has_data(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::Numbers(numbers) => numbers.iter().any(|n| !n.is_nan()),
            Self::Other => true,
        }
    }
}

/// A number as Prometheus and Go write it, `NaN` and `+Inf` included.
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    let named = matches!(text.trim_start_matches(['+', '-']), "NaN" | "Inf");
    (plain || named).then(|| text.parse().ok()).flatten()
}

/// A duration as Go writes it: `10s`, `1h30m`, `1.5m`, `300ms`. Negative and longer than a year is refused.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    let mut seconds = 0.0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += amount * unit;
        rest = &rest[end..];
    }
    (seconds <= 366.0 * 86_400.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// An integer that the API lets be a string as well.
pub fn integer(raw: Option<&Value>) -> Option<i64> {
    match raw? {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// A count of the status: absent, negative and absurd ones are 0 or the largest.
pub fn count(raw: Option<&Value>) -> u32 {
    integer(raw).map_or(0, |n| u32::try_from(n.max(0)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn measurements_are_read_as_they_are_written() {
        let numbers = |s| match Measured::read(s) {
            Measured::Numbers(n) => n,
            other => panic!("{s}: {other:?}"),
        };
        assert_eq!(numbers("0.3"), [0.3]);
        assert_eq!(numbers("[0.01]"), [0.01]);
        assert_eq!(numbers("[0.01, 1e-7,-2]"), [0.01, 1e-7, -2.0]);
        assert_eq!(numbers("[]"), [] as [f64; 0]);
        assert_eq!(numbers("+Inf"), [f64::INFINITY]);
        assert_eq!(numbers("[-Inf]"), [f64::NEG_INFINITY]);
        assert!(numbers("[NaN]")[0].is_nan());
        assert!(!Measured::read("[NaN]").has_data() && !Measured::read("[]").has_data());
        assert!(Measured::read("[NaN,1]").has_data() && Measured::read("+Inf").has_data());
        assert_eq!(Measured::read(""), Measured::Empty);
        for other in ["true", "{\"a\":1}", "[1,[2]]", "[\"1\"]", "infinity", "nan", "0x10", "1_0", "[1,]", "\u{1b}[2J"]
        {
            assert_eq!(Measured::read(other), Measured::Other, "{other}");
        }
        assert_eq!(Measured::read(&"9".repeat(VALUE_BYTES_MAX + 1)), Measured::Other);
        assert_eq!(Measured::read("[+Inf]").drawn(), None);
    }

    #[test]
    fn durations_are_gos() {
        let table = [
            ("10s", Some(10_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5m", Some(90_000)),
            ("300ms", Some(300)),
            ("0", Some(0)),
            ("", None),
            ("10", None),
            ("-5s", None),
            ("s", None),
            ("1d", None),
            ("99999999h", None),
            ("1s 2s", None),
        ];
        for (text, millis) in table {
            assert_eq!(duration(text).map(|d| d.as_millis()), millis, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*|[0-9.,eEINanf+ \\[\\]-]{0,40}|[0-9.hmsuµn+-]{0,30}") {
            let _ = (Measured::read(&text).drawn(), duration(&text), number(&text));
        }
    }
}
