//! What was measured of a service at one moment, and whether it can be used: counters that went back, NaN, infinities,
//! empty answers and counts that cannot be are holes, each with its reason. What the numbers mean is decided elsewhere.

use std::time::Duration;

use super::sequential::Counts;
use crate::core::text::Text;
use crate::text;

/// Whose series.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Arm {
    /// The new revision's own.
    New,
    /// The stable revision's own.
    Stable,
    /// The whole service's.
    All,
}

/// All arms, in the order of their numbers.
pub const ARMS: [Arm; 3] = [Arm::New, Arm::Stable, Arm::All];

impl Arm {
    /// How a person calls it.
    pub fn says(self) -> &'static str {
        match self {
            Self::New => "the new revision",
            Self::Stable => "the stable revision",
            Self::All => "the whole service",
        }
    }

    /// Its place in a list of all arms.
    pub fn number(self) -> usize {
        match self {
            Self::New => 0,
            Self::Stable => 1,
            Self::All => 2,
        }
    }
}

/// One answer about one arm.
#[derive(Clone, PartialEq, Debug)]
pub enum Reading {
    /// What came in since the sample before (`increase`, or a rate times its time).
    Since(Counts),
    /// Counters as they stand. The first reading of a counter only begins it.
    Total(Counts),
    /// No usable answer: empty, timed out, refused. Says which.
    Nothing(Text),
}

/// What was measured of a service at one moment. Arms that were not asked about are none: they cannot be told apart.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// When, on a clock that only runs forward.
    pub at: Duration,
    /// The time that the counts cover.
    pub over: Duration,
    /// How old the newest scrape behind them was; none where it is not known.
    pub age: Option<Duration>,
    /// The counts, by [`Arm::number`].
    pub arms: [Option<Reading>; 3],
    /// 99th percentile of latency in milliseconds, by [`Arm::number`]; none where not asked or no answer.
    pub p99_ms: [Option<f64>; 3],
}

impl Sample {
    /// A sample of the whole service alone.
    pub fn whole(at: Duration, over: Duration, counts: Counts) -> Self {
        Self { at, over, age: None, arms: [None, None, Some(Reading::Since(counts))], p99_ms: [None; 3] }
    }
}

/// Counters as they last stood.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Counters([Option<Counts>; 3]);

/// What a reading came to: counts, nothing yet, or a hole with its reason.
#[derive(Clone, PartialEq, Debug)]
pub enum Usable {
    /// Counts of the time that the sample covers.
    Counts(Counts),
    /// A counter was seen for the first time.
    Begun,
    /// No data.
    Hole(Text),
}

/// Errors may be that much above requests before they are called nonsense: two queries are not of one instant.
const SLACK: f64 = 1.05;

impl Counters {
    /// Reads one arm.
    pub fn read(&mut self, arm: Arm, reading: &Reading) -> Usable {
        let held = &mut self.0[arm.number()];
        match reading {
            Reading::Nothing(why) => Usable::Hole(text!("{}: {why}", arm.says())),
            Reading::Since(counts) => check(arm, *counts),
            Reading::Total(total) => {
                if let Usable::Hole(why) = check(arm, *total) {
                    *held = None;
                    return Usable::Hole(why);
                }
                let Some(before) = held.replace(*total) else { return Usable::Begun };
                if total.requests < before.requests || total.errors < before.errors {
                    return Usable::Hole(text!(
                        "{}: a counter went back ({} requests, {} errors; before {} and {})",
                        arm.says(),
                        total.requests,
                        total.errors,
                        before.requests,
                        before.errors
                    ));
                }
                check(arm, Counts { requests: total.requests - before.requests, errors: total.errors - before.errors })
            }
        }
    }

    /// Forgets the new and the stable arm: their series are other ones from now on.
    pub fn forget_arms(&mut self) {
        self.0[Arm::New.number()] = None;
        self.0[Arm::Stable.number()] = None;
    }
}

fn check(arm: Arm, counts: Counts) -> Usable {
    let Counts { requests, errors } = counts;
    let nonsense = |what: &str, n: f64| Usable::Hole(text!("{}: {what} is {n}", arm.says()));
    for (what, n) in [("the request count", requests), ("the error count", errors)] {
        if !n.is_finite() || n < 0.0 {
            return nonsense(what, n);
        }
    }
    if errors > requests * SLACK + 1.0 {
        return Usable::Hole(text!("{}: {errors} errors of {requests} requests cannot be", arm.says()));
    }
    Usable::Counts(Counts { requests, errors: errors.min(requests) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(requests: f64, errors: f64) -> Counts {
        Counts { requests, errors }
    }

    #[test]
    fn counters_give_what_came_in_between() {
        let mut counters = Counters::default();
        let mut read = |r, e| counters.read(Arm::New, &Reading::Total(counts(r, e)));
        assert_eq!(read(100.0, 1.0), Usable::Begun);
        assert_eq!(read(150.0, 2.0), Usable::Counts(counts(50.0, 1.0)));
        let Usable::Hole(why) = read(7.0, 0.0) else { panic!("a reset passed") };
        assert_eq!(why, "the new revision: a counter went back (7 requests, 0 errors; before 150 and 2)");
        assert_eq!(read(9.0, 0.0), Usable::Counts(counts(2.0, 0.0)), "it goes on from the new start");
        assert!(matches!(read(f64::NAN, 0.0), Usable::Hole(_)));
        assert_eq!(read(20.0, 0.0), Usable::Begun, "after a hole nothing is known of the time between");
    }

    #[test]
    fn what_cannot_be_is_a_hole() {
        for (r, e) in [
            (f64::NAN, 0.0),
            (1.0, f64::NAN),
            (f64::INFINITY, 0.0),
            (10.0, f64::INFINITY),
            (-1.0, 0.0),
            (1.0, -0.5),
            (10.0, 20.0),
            (0.0, 5.0),
        ] {
            let got = Counters::default().read(Arm::All, &Reading::Since(counts(r, e)));
            assert!(matches!(got, Usable::Hole(_)), "{r} {e} gave {got:?}");
        }
        let slack = Counters::default().read(Arm::All, &Reading::Since(counts(100.0, 101.0)));
        assert_eq!(slack, Usable::Counts(counts(100.0, 100.0)), "all failed, and the queries were not of one instant");
    }

    proptest! {
        #[test]
        fn usable_counts_are_sane(r in proptest::num::f64::ANY, e in proptest::num::f64::ANY, total in any::<bool>()) {
            let reading = if total { Reading::Total(counts(r, e)) } else { Reading::Since(counts(r, e)) };
            let mut counters = Counters::default();
            counters.read(Arm::New, &Reading::Total(counts(5.0, 1.0)));
            if let Usable::Counts(c) = counters.read(Arm::New, &reading) {
                prop_assert!(c.requests.is_finite() && c.errors >= 0.0 && c.errors <= c.requests);
            }
        }
    }
}
