//! What the doctor found: checks with their outcome, as a table for people and as JSON for programs, and the exit code
//! that follows. The JSON is a contract (`docs/doctor.md`). What is checked is not known here.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::console::Console;
use crate::cli::failure::{Failure, FailureKind};
use crate::core::snapshot::Place;
use crate::core::text::Text;
use crate::text;

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Well.
    Pass,
    /// Works, but not as it should.
    Warn,
    /// Something that is ordered here would fail, for a reason of this kind.
    Fail(FailureKind),
    /// Could not be found out.
    Unknown,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Debug)]
pub struct Check {
    /// `area.name`, stable.
    pub id: &'static str,
    /// What was looked at, for people.
    pub what: Text,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen.
    pub why: Text,
    /// What to do; empty when nothing is to be done.
    pub next: Text,
    /// How long the answer took, where something was asked.
    pub took: Option<Duration>,
    /// What was seen, for programs.
    pub data: Value,
}

impl Check {
    fn new(id: &'static str, what: &str, outcome: Outcome, why: impl Into<Text>, next: impl Into<Text>) -> Self {
        Self { id, what: what.into(), outcome, why: why.into(), next: next.into(), took: None, data: Value::Null }
    }

    /// It is well.
    pub fn pass(id: &'static str, what: &str, why: impl Into<Text>) -> Self {
        Self::new(id, what, Outcome::Pass, why, Text::default())
    }

    /// It works, but.
    pub fn warn(id: &'static str, what: &str, why: impl Into<Text>, next: impl Into<Text>) -> Self {
        Self::new(id, what, Outcome::Warn, why, next)
    }

    /// Something that is ordered here would fail.
    pub fn fail(id: &'static str, what: &str, kind: FailureKind, why: impl Into<Text>, next: impl Into<Text>) -> Self {
        Self::new(id, what, Outcome::Fail(kind), why, next)
    }

    /// It could not be found out.
    pub fn unknown(id: &'static str, what: &str, why: impl Into<Text>) -> Self {
        Self::new(id, what, Outcome::Unknown, why, Text::default())
    }

    /// With what to do.
    #[must_use]
    pub fn next(mut self, next: impl Into<Text>) -> Self {
        self.next = next.into();
        self
    }

    /// With how long the answer took.
    #[must_use]
    pub fn in_time(mut self, took: Duration) -> Self {
        self.took = Some(took);
        self
    }

    /// With what programs want to know.
    #[must_use]
    pub fn with(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    fn area(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }

    fn ms(&self) -> Option<u64> {
        self.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
    }
}

/// All checks.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
    place: Option<Place>,
    took: Duration,
}

impl Report {
    /// Adds a check.
    pub fn push(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Adds checks.
    pub fn extend(&mut self, checks: Vec<Check>) {
        self.checks.extend(checks);
    }

    /// Notes where it looked.
    pub fn place(&mut self, place: &Place) {
        self.place = Some(place.clone());
    }

    /// Notes how long all of it took.
    pub fn took(&mut self, took: Duration) {
        self.took = took;
    }

    /// The failed checks that decide: what cannot be reached or is not allowed, then bad input, then what a rule refuses.
    fn worst(&self) -> Option<(FailureKind, Vec<&Check>)> {
        [FailureKind::Outside, FailureKind::Input, FailureKind::No].into_iter().find_map(|kind| {
            let failed: Vec<&Check> = self.checks.iter().filter(|c| c.outcome == Outcome::Fail(kind)).collect();
            (!failed.is_empty()).then_some((kind, failed))
        })
    }

    /// What the command answers; nothing when no check failed.
    pub fn failure(&self) -> Option<Failure> {
        let (kind, failed) = self.worst()?;
        let first = failed.first()?;
        let all = self.checks.iter().filter(|c| matches!(c.outcome, Outcome::Fail(_))).count();
        let what = text!("{all} of {} checks failed; first {}: {}", self.checks.len(), first.what, first.why);
        Some(Failure::new(kind, what, first.next.clone()))
    }

    /// As one JSON object.
    pub fn json(&self) -> String {
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|c| {
                json!({
                    "id": c.id, "what": c.what, "outcome": c.outcome.word(), "why": c.why, "next": c.next,
                    "took_ms": c.ms(), "data": c.data,
                })
            })
            .collect();
        let place = self.place.as_ref().map(|p| {
            json!({"environment": p.environment, "context": p.context, "namespace": p.namespace, "server": p.server})
        });
        let code = match self.worst().map(|(kind, _)| kind) {
            None => 0,
            Some(FailureKind::No) => 1,
            Some(FailureKind::Input) => 2,
            Some(_) => 3,
        };
        let count = |word: &str| self.checks.iter().filter(|c| c.outcome.word() == word).count();
        let report = json!({
            "footplate": env!("CARGO_PKG_VERSION"), "exit_code": code, "place": place,
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "counts": {"pass": count("pass"), "warn": count("warn"), "fail": count("fail"), "unknown": count("unknown")},
            "checks": checks,
        });
        format!("{report:#}\n")
    }

    /// As a table: a line a check, and below it what to do.
    pub fn table(&self, console: &Console) -> String {
        let wide = self.checks.iter().map(|c| c.what.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        let mut area = "";
        for check in &self.checks {
            if check.area() != area {
                area = check.area();
                let _ = writeln!(out, "{}{}", if out.is_empty() { "" } else { "\n" }, paint(console, "1", area));
            }
            let (glyph, ascii, colour) = match check.outcome {
                Outcome::Pass => ('✔', '+', "32"),
                Outcome::Warn => ('▲', '!', "33"),
                Outcome::Fail(_) => ('✖', 'x', "1;31"),
                Outcome::Unknown => ('∅', '?', "33"),
            };
            let glyph = if console.unicode() { glyph } else { ascii };
            let word = paint(console, colour, &format!("{glyph} {:<7}", check.outcome.word()));
            let took = check.ms().map_or(String::new(), |ms| format!("  ({ms} ms)"));
            let _ = writeln!(out, "  {word} {:<wide$}  {}{took}", check.what, check.why);
            if !check.next.is_empty() {
                let _ = writeln!(
                    out,
                    "            {:<wide$}  {}",
                    "",
                    paint(console, "36", &format!("next: {}", check.next))
                );
            }
        }
        let place = self.place.as_ref().map_or(String::new(), |p| format!("{}/{}: ", p.context, p.namespace));
        let count = |word: &str| self.checks.iter().filter(|c| c.outcome.word() == word).count();
        let _ = writeln!(
            out,
            "\n{place}{} pass, {} warn, {} fail, {} unknown, in {:.1} s",
            count("pass"),
            count("warn"),
            count("fail"),
            count("unknown"),
            self.took.as_secs_f64()
        );
        out
    }
}

fn paint(console: &Console, code: &str, text: &str) -> String {
    if console.colour() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        let fail = |kind| Check::fail("a.b", "x", kind, "y", "z");
        let code = |checks: Vec<Check>| {
            let report = Report { checks, ..Report::default() };
            let said: Value = serde_json::from_str(&report.json()).unwrap();
            assert_eq!(said["exit_code"] == 0, report.failure().is_none());
            said["exit_code"].as_u64().unwrap()
        };
        assert_eq!(code(vec![Check::pass("a.b", "x", "y"), Check::unknown("a.c", "x", "y")]), 0);
        assert_eq!(code(vec![fail(FailureKind::No)]), 1);
        assert_eq!(code(vec![fail(FailureKind::No), fail(FailureKind::Input)]), 2);
        assert_eq!(code(vec![fail(FailureKind::Input), fail(FailureKind::Outside), fail(FailureKind::No)]), 3);
    }
}
