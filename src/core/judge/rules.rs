//! The rules of the guard on numbers: errors against what is normal, latency against the SLO, server errors against the
//! ceiling (`train.md` §3, a to c). Each gives at most one finding; which finding counts is decided by the judge.

use super::Settings;
use super::verdict::{Cause, Numbers};
use crate::core::snapshot::Verdict;
use crate::core::text::Text;
use crate::text;

/// Something that stands against a pass.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What it comes to.
    pub verdict: Verdict,
    /// What kind of fault; none unless it is a fail.
    pub cause: Option<Cause>,
    /// In one line, with numbers.
    pub why: Text,
    /// About how many more requests would decide it.
    pub needed: Option<u64>,
    /// True when nothing is wrong: only time is missing.
    pub waits: bool,
}

impl Finding {
    /// A fail.
    pub fn fail(cause: Cause, why: Text) -> Self {
        Self { verdict: Verdict::Fail, cause: Some(cause), why, needed: None, waits: false }
    }

    /// Neither good nor bad.
    pub fn inconclusive(why: Text) -> Self {
        Self { verdict: Verdict::Inconclusive, cause: None, why, needed: None, waits: false }
    }

    /// Not decided yet, by somebody who is still measuring.
    pub fn running(why: Text) -> Self {
        Self { waits: true, ..Self::inconclusive(why) }
    }

    /// Nothing to judge by.
    pub fn no_data(why: Text) -> Self {
        Self { verdict: Verdict::NoData, cause: None, why, needed: None, waits: false }
    }
}

/// A number with its thousands set apart.
pub fn thousands(n: f64) -> String {
    let digits = format!("{:.0}", n.clamp(0.0, 1e15));
    let mut out = String::with_capacity(digits.len() + 4);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// An error rate beside what is normal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Compared {
    /// Whose rate (`the new revision`).
    pub whose: &'static str,
    /// Error rate over the window.
    pub rate: f64,
    /// What is normal.
    pub base: f64,
    /// Requests behind the rate.
    pub requests: f64,
    /// Evidence that it is really above, and how much is needed.
    pub evidence: f64,
    /// See `evidence`.
    pub need: f64,
    /// Worked out from the whole service's rate.
    pub estimated: bool,
}

impl Compared {
    /// The rate from which on it is too much: more than a ratio and a margin above what is normal.
    pub fn limit(&self, settings: &Settings) -> f64 {
        (self.base * settings.ratio).max(self.base + settings.margin)
    }

    /// Rule (a): a fail needs enough requests, a rate that matters and evidence that it is no chance; a rate that
    /// matters without the evidence cannot be called good.
    pub fn find(&self, settings: &Settings) -> Option<Finding> {
        let matters = self.rate > self.base * settings.ratio && self.rate >= self.base + settings.margin;
        if !matters || self.requests < settings.requests_min {
            return None;
        }
        let says = text!(
            "errors {:.2} % of {}{} (base {:.2} %, limit {:.2} %, n {})",
            self.rate * 100.0,
            self.whose,
            if self.estimated { ", estimated" } else { "" },
            self.base * 100.0,
            self.limit(settings) * 100.0,
            thousands(self.requests)
        );
        let odds = thousands(self.evidence.max(1.0));
        if self.evidence >= self.need {
            return Some(Finding::fail(Cause::Logic, text!("{says}; by chance less than 1 in {odds}")));
        }
        let why = text!("{says}; may be chance: 1 in {odds}, a fail needs 1 in {}", thousands(self.need));
        Some(Finding { needed: Some(self.more()), ..Finding::inconclusive(why) })
    }

    /// About how many more requests at this rate bring the evidence that is missing: what each brings on average is the
    /// relative entropy of the two rates.
    fn more(&self) -> u64 {
        let base = self.base.max(1e-6);
        let each = self.rate * (self.rate / base).ln() - (self.rate - base);
        let missing = (self.need / self.evidence.max(1e-9)).ln();
        (missing / each.max(1e-9)).ceil().clamp(1.0, 1e9) as u64
    }

    /// The numbers, for the screen and the record.
    pub fn numbers(&self, settings: &Settings) -> Numbers {
        Numbers {
            rate: self.rate,
            base: self.base,
            limit: self.limit(settings),
            requests: self.requests,
            odds: self.evidence.max(1.0),
            odds_needed: self.need,
        }
    }
}

/// How often in a row a limit was broken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct InARow(u32);

impl InARow {
    /// An evaluation; `counts` is false when it only repeats one that was made just now.
    fn evaluated(&mut self, broken: bool, counts: bool) -> u32 {
        if !broken {
            self.0 = 0;
        } else if counts || self.0 == 0 {
            self.0 += 1;
        }
        self.0
    }
}

/// Rule (b): latency far above the SLO, several evaluations running.
pub fn latency(p99_ms: f64, slo_ms: f64, row: &mut InARow, counts: bool, settings: &Settings) -> Option<Finding> {
    let limit = slo_ms * settings.p99_ratio;
    let times = row.evaluated(p99_ms > limit, counts);
    in_a_row(text!("p99 {p99_ms:.0} ms (limit {limit:.0} ms)"), times, settings.p99_running, Cause::Performance)
}

/// Rule (c): server errors a second above the ceiling, several evaluations running.
pub fn ceiling(per_second: f64, limit: f64, row: &mut InARow, counts: bool, settings: &Settings) -> Option<Finding> {
    let times = row.evaluated(per_second > limit, counts);
    in_a_row(text!("{per_second:.1} errors/s (ceiling {limit})"), times, settings.ceiling_running, Cause::Logic)
}

fn in_a_row(says: Text, times: u32, wanted: u32, cause: Cause) -> Option<Finding> {
    match times {
        0 => None,
        n if n >= wanted => Some(Finding::fail(cause, text!("{says}, {n} times running"))),
        n => Some(Finding::inconclusive(text!("{says}, {n} of {wanted} times running"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compared(rate: f64, base: f64, requests: f64, evidence: f64) -> Compared {
        Compared { whose: "the new revision", rate, base, requests, evidence, need: 6000.0, estimated: false }
    }

    fn verdict(c: Compared) -> Option<Verdict> {
        c.find(&Settings::default()).map(|f| f.verdict)
    }

    #[test]
    fn a_fail_needs_all_three_parts() {
        assert_eq!(verdict(compared(0.012, 0.002, 5000.0, 7000.0)), Some(Verdict::Fail));
        assert_eq!(verdict(compared(0.012, 0.002, 5000.0, 500.0)), Some(Verdict::Inconclusive), "may be chance");
        assert_eq!(verdict(compared(0.006, 0.002, 5000.0, 7000.0)), None, "less than half a point above");
        assert_eq!(verdict(compared(0.019, 0.010, 5000.0, 7000.0)), None, "less than twice");
        assert_eq!(verdict(compared(0.5, 0.002, 99.0, 7000.0)), None, "too few requests");
        let why = compared(0.012, 0.002, 5214.0, 7000.0).find(&Settings::default()).unwrap().why;
        assert_eq!(
            why,
            "errors 1.20 % of the new revision (base 0.20 %, limit 0.70 %, n 5,214); by chance less than 1 in 7,000"
        );
    }

    #[test]
    fn limits_must_be_broken_several_times_running() {
        let settings = Settings::default();
        let mut row = InARow::default();
        let mut see = |p99, counts| latency(p99, 300.0, &mut row, counts, &settings).map(|f| f.verdict);
        assert_eq!(see(901.0, true), Some(Verdict::Inconclusive));
        assert_eq!(see(900.0, true), None, "at the limit is not above it");
        assert_eq!(see(901.0, true), Some(Verdict::Inconclusive));
        assert_eq!(see(901.0, false), Some(Verdict::Inconclusive), "looked at twice at once");
        assert_eq!(see(901.0, true), Some(Verdict::Inconclusive));
        assert_eq!(see(901.0, true), Some(Verdict::Fail));
        let mut row = InARow::default();
        assert_eq!(ceiling(30.0, 25.0, &mut row, true, &settings).unwrap().verdict, Verdict::Inconclusive);
        let found = ceiling(30.0, 25.0, &mut row, true, &settings).unwrap();
        assert_eq!((found.verdict, found.why.as_str()), (Verdict::Fail, "30.0 errors/s (ceiling 25), 2 times running"));
    }

    proptest! {
        /// A higher rate, more evidence or a lower base never makes a verdict milder.
        #[test]
        fn worse_is_never_judged_milder(
            rate in 0.0f64..0.5, more in 0.0f64..0.5, base in 0.0f64..0.2, n in 0.0f64..1e5, evidence in 0.0f64..20_000.0,
            stronger in 0.0f64..20_000.0,
        ) {
            let harsh = |c: Compared| match verdict(c) { Some(Verdict::Fail) => 2, Some(_) => 1, None => 0 };
            let at = harsh(compared(rate, base, n, evidence));
            prop_assert!(harsh(compared(rate + more, base, n, evidence)) >= at);
            prop_assert!(harsh(compared(rate, base / 2.0, n, evidence)) >= at);
            prop_assert!(harsh(compared(rate, base, n, evidence + stronger)) >= at);
        }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0.0, 999.0, 1000.0, 1_234_567.0].map(thousands).each_ref().map(String::as_str)
        );
        assert_eq!(thousands(f64::INFINITY), "1,000,000,000,000,000");
    }
}
