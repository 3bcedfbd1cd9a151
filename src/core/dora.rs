//! Four numbers about how a team delivers, from the trains of one environment: how often it deploys, how long a change takes to
//! get there, how many deploys must be taken back, how fast they are. Values only.
//!
//! Over which trains: those that ended in the span, and put something in front of users. One that never set off deployed
//! nothing; one that runs has no outcome yet; one whose record cannot be read is counted apart and guessed at nowhere.
//!
//! The bands are those of the *Accelerate State of DevOps Report 2024* (DORA), whose clusters are: elite, several deploys a day,
//! lead time under a day, 5 % failed, recovery under an hour; low, fewer than one deploy a month, lead time over a month, 40 %
//! failed, recovery over a week. Between them two clusters overlap (the high one fails in 20 %, the medium one in 10 %; both recover
//! within a day): they are one band here, `good`. What is worse than both of them is `red`.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::past::{Outcome, PastTrain};

/// How far back is looked, in days: long enough for what happens less than once a month.
pub const SPAN_DAYS: u32 = 90;

/// Fewest days of record by which a frequency is called good or bad.
const DAYS_MIN: f64 = 7.0;
/// Fewest deploys by which a rate of failures is called good or bad.
const DEPLOYS_MIN: usize = 5;

const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;
/// A month as the report counts it: a twelfth of a year.
const MONTH: f64 = 365.25 / 12.0;

/// How a number is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Band {
    /// As the best cluster.
    Elite,
    /// As one of the two in the middle.
    Good,
    /// Worse than these.
    Red,
}

impl Band {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Elite => "elite",
            Self::Good => "good",
            Self::Red => "red",
        }
    }

    /// Small is good.
    fn below(value: f64, elite: f64, good: f64) -> Self {
        match value {
            v if v <= elite => Self::Elite,
            v if v <= good => Self::Good,
            _ => Self::Red,
        }
    }
}

/// One number.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Number {
    /// The value; none when nothing is there to take it from.
    pub value: Option<f64>,
    /// From how many trains (frequency, failures, recovery) or changes of a service (lead time) it is.
    pub from: usize,
    /// How many more there are whose times are not known.
    pub unknown: usize,
    /// How it is to be taken; none when it is unknown, or from too little to say.
    pub band: Option<Band>,
}

/// The four numbers.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Dora {
    /// Days that they are about: [`SPAN_DAYS`], or fewer where the record begins later.
    pub days: f64,
    /// Deploys that were completed, a day.
    pub deployment_frequency: Number,
    /// Median of the seconds from commit to healthy, over changed services of completed trains.
    pub lead_time_s: Number,
    /// Share of the deploys that were taken back, or in which a service was found bad.
    pub change_failure_rate: Number,
    /// Median of the seconds from the fail verdict (where there was none: from the order to take it back) until traffic was back.
    pub recovery_time_s: Number,
    /// How many of the deploys failed.
    pub failed: usize,
    /// Trains of the span whose record cannot be read: nothing of them is counted.
    pub unreadable: usize,
}

/// The numbers of these trains, as seen at `now`.
pub fn dora(trains: &[PastTrain], now: Timestamp, span_days: u32) -> Dora {
    let span = f64::from(span_days.max(1));
    let age = |at: Timestamp| now.duration_since(at).as_secs_f64() / DAY;
    let within = |at: Timestamp| (0.0..=span).contains(&age(at));
    let first = trains.iter().filter_map(PastTrain::began).map(age).fold(0.0, f64::max);
    let days = first.clamp(1.0, span);
    let over = |t: &&PastTrain| matches!(t.outcome, Outcome::Completed | Outcome::RolledBack);
    let deploys: Vec<&PastTrain> =
        trains.iter().filter(over).filter(|t| t.deployed() && t.ended.or(t.began()).is_some_and(within)).collect();
    let completed = || deploys.iter().filter(|t| t.outcome == Outcome::Completed);
    let is_bad = |t: &&&PastTrain| {
        t.outcome == Outcome::RolledBack || t.detected.is_some() || t.services.iter().any(|s| s.detected.is_some())
    };
    let failed = deploys.iter().filter(is_bad).count();
    let lead = completed().flat_map(|t| &t.services).filter(|s| s.deployed).map(|s| {
        let (_, committed) = s.commit.as_ref()?;
        seconds(*committed, s.healthy?)
    });
    let recovery = deploys.iter().filter(is_bad).map(|t| seconds(t.detected.or(t.decided)?, t.recovered?));
    let frequency = {
        let from = completed().count();
        let value = from_count(from) / days;
        let band = match value {
            v if v > 1.0 => Band::Elite,
            v if v >= 1.0 / MONTH => Band::Good,
            _ => Band::Red,
        };
        let known = !trains.is_empty();
        Number { value: known.then_some(value), from, unknown: 0, band: (known && days >= DAYS_MIN).then_some(band) }
    };
    let rate = (!deploys.is_empty()).then(|| from_count(failed) / from_count(deploys.len()));
    Dora {
        days,
        deployment_frequency: frequency,
        lead_time_s: median(lead, |v| Band::below(v, DAY, MONTH * DAY)),
        change_failure_rate: Number {
            value: rate,
            from: deploys.len(),
            unknown: 0,
            band: rate.filter(|_| deploys.len() >= DEPLOYS_MIN).map(|r| Band::below(r, 0.05, 0.20)),
        },
        recovery_time_s: median(recovery, |v| Band::below(v, HOUR, DAY)),
        failed,
        unreadable: trains
            .iter()
            .filter(|t| matches!(t.outcome, Outcome::Unreadable(_)) && t.began().is_none_or(within))
            .count(),
    }
}

/// Seconds between two times; none when they are the wrong way round: then one of them is no time of this.
fn seconds(from: Timestamp, to: Timestamp) -> Option<f64> {
    Some(to.duration_since(from)).filter(|d| *d >= SignedDuration::ZERO).map(|d| d.as_secs_f64())
}

fn from_count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn median(all: impl Iterator<Item = Option<f64>>, band: impl Fn(f64) -> Band) -> Number {
    let (mut known, mut unknown) = (Vec::new(), 0);
    for one in all {
        match one {
            Some(value) => known.push(value),
            None => unknown += 1,
        }
    }
    known.sort_by(f64::total_cmp);
    let (n, half) = (known.len(), known.len() / 2);
    let value = match n {
        0 => None,
        n if n % 2 == 1 => Some(known[half]),
        _ => Some(f64::midpoint(known[half - 1], known[half])),
    };
    Number { value, from: n, unknown, band: value.map(band) }
}

/// `45 s`, `3 min`, `2 h 05 min`, `4 d 3 h`: a length of time as people read it.
pub fn in_words(seconds: f64) -> String {
    let s = SignedDuration::try_from_secs_f64(seconds.max(0.0)).map_or(i64::MAX, |d| d.as_secs());
    match s {
        s if s < 120 => format!("{s} s"),
        s if s < 3_600 => format!("{} min", s / 60),
        s if s < 86_400 => format!("{} h {:02} min", s / 3_600, s / 60 % 60),
        s => format!("{} d {} h", s / 86_400, s / 3_600 % 24),
    }
}

impl Dora {
    /// The numbers as people read them: name, value, what it is from.
    pub fn lines(&self) -> [(&'static str, Number, String, String); 4] {
        let (f, l, c, r) =
            (self.deployment_frequency, self.lead_time_s, self.change_failure_rate, self.recovery_time_s);
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        let often = |per_day: f64| match per_day {
            v if v >= 1.0 => format!("{v:.1} a day"),
            v if v * 7.0 >= 1.0 => format!("{:.1} a week", v * 7.0),
            v => format!("{:.1} a month", v * MONTH),
        };
        let more = |n: usize, what: &str| if n == 0 { String::new() } else { format!(", {n} more {what}") };
        [
            (
                "deployment frequency",
                f,
                known(f.value.map(often)),
                format!("{} completed in {:.0} d", f.from, self.days),
            ),
            (
                "lead time for changes",
                l,
                known(l.value.map(in_words)),
                format!("median of {}{}", l.from, more(l.unknown, "without a commit time")),
            ),
            (
                "change failure rate",
                c,
                known(c.value.map(|v| format!("{:.0} %", v * 100.0))),
                format!("{} of {}", self.failed, c.from),
            ),
            (
                "recovery time",
                r,
                known(r.value.map(in_words)),
                format!("median of {}{}", r.from, more(r.unknown, "without its times")),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::past::PastService;
    use crate::core::text::Text;
    use crate::core::verdict::TrainPhase;
    use proptest::prelude::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_second(1_760_000_000 + s).unwrap()
    }

    /// A train of one service: begun at a second, completed or taken back, with a commit of so many seconds before, and a
    /// recovery of so many seconds.
    fn train(begun: i64, bad: bool, commit: Option<i64>, recovery: Option<i64>) -> PastTrain {
        let service = PastService {
            name: "a".into(),
            version: "1.0.0".into(),
            commit: commit.map(|s| ("c0ffee".into(), at(begun - s))),
            phase: if bad { TrainPhase::Undone } else { TrainPhase::Done },
            deployed: true,
            started: Some(at(begun)),
            healthy: (!bad).then(|| at(begun + 600)),
            detected: None,
            recovered: None,
            cause: None,
            automatic: None,
        };
        PastTrain {
            name: Text::scrub(&format!("r-{begun}")),
            id: "QKZD".into(),
            release: "r".into(),
            environment: "prod".into(),
            by: "ana".into(),
            outcome: if bad { Outcome::RolledBack } else { Outcome::Completed },
            created: Some(at(begun)),
            started: Some(at(begun)),
            ended: Some(at(begun + 900)),
            detected: bad.then(|| at(begun + 60)),
            decided: bad.then(|| at(begun + 61)),
            recovered: recovery.filter(|_| bad).map(|s| at(begun + 60 + s)),
            cause: None,
            undone: None,
            incident: None,
            services: vec![service],
        }
    }

    const D: i64 = 86_400;

    #[test]
    fn the_numbers_of_a_month() {
        let mut trains: Vec<_> = (0..10).map(|n| train(n * 3 * D, false, Some(D), None)).collect();
        trains.push(train(28 * D, true, Some(D), Some(75)));
        let d = dora(&trains, at(30 * D), SPAN_DAYS);
        assert!((d.days - 30.0).abs() < 1e-6);
        assert_eq!(d.deployment_frequency.from, 10);
        assert_eq!(d.deployment_frequency.band, Some(Band::Good));
        assert_eq!(d.lead_time_s, Number { value: Some(87_000.0), from: 10, unknown: 0, band: Some(Band::Good) });
        assert_eq!((d.failed, d.change_failure_rate.from, d.change_failure_rate.band), (1, 11, Some(Band::Good)));
        assert_eq!(d.recovery_time_s, Number { value: Some(75.0), from: 1, unknown: 0, band: Some(Band::Elite) });
        let words = d.lines().map(|(_, _, value, from)| format!("{value}: {from}"));
        assert_eq!(
            words,
            ["2.3 a week: 10 completed in 30 d", "1 d 0 h: median of 10", "9 %: 1 of 11", "75 s: median of 1"]
        );
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let none = dora(&[], at(0), SPAN_DAYS);
        assert_eq!([none.deployment_frequency, none.lead_time_s].map(|n| n.value), [None, None]);
        assert_eq!([none.change_failure_rate, none.recovery_time_s].map(|n| n.band), [None, None]);
        let few = dora(&[train(0, false, None, None), train(60, true, None, None)], at(D), SPAN_DAYS);
        assert_eq!(few.deployment_frequency.band, None, "a day says nothing about a month");
        assert_eq!((few.change_failure_rate.value, few.change_failure_rate.band), (Some(0.5), None));
        assert_eq!((few.lead_time_s.value, few.lead_time_s.unknown), (None, 1));
        assert_eq!((few.recovery_time_s.value, few.recovery_time_s.unknown), (None, 1));
        assert_eq!(few.lines()[1].2, "unknown");
        let old = dora(&[train(-200 * D, false, Some(60), None)], at(0), SPAN_DAYS);
        assert_eq!((old.deployment_frequency.value, old.deployment_frequency.band), (Some(0.0), Some(Band::Red)));
        let mut never = train(0, true, None, None);
        never.services[0].deployed = false;
        assert_eq!(dora(&[never], at(D), SPAN_DAYS).change_failure_rate.value, None, "it deployed nothing");
    }

    fn any_train() -> impl Strategy<Value = PastTrain> {
        let times = (proptest::option::of(0..60 * D), proptest::option::of(0..3 * D));
        (0..80 * D, any::<bool>(), times)
            .prop_map(|(begun, bad, (commit, recovery))| train(begun, bad, commit, recovery))
    }

    proptest! {
        #[test]
        fn order_and_the_hour_of_looking_change_nothing(trains in proptest::collection::vec(any_train(), 0..30)) {
            let one = dora(&trains, at(85 * D), SPAN_DAYS);
            let mut turned = trains.clone();
            turned.reverse();
            prop_assert_eq!(one, dora(&turned, at(85 * D), SPAN_DAYS));
            let later: Vec<_> = (0..trains.len()).map(|n| {
                let t = &trains[n];
                let begun = t.started.unwrap().as_second() - 1_760_000_000 + 7 * D;
                let s = &t.services[0];
                let commit = s.commit.as_ref().map(|c| (t.started.unwrap().duration_since(c.1)).as_secs());
                let recovery = t.recovered.map(|r| r.duration_since(t.detected.unwrap()).as_secs());
                train(begun, t.outcome == Outcome::RolledBack, commit, recovery)
            }).collect();
            prop_assert_eq!(one, dora(&later, at(92 * D), SPAN_DAYS));
        }

        #[test]
        fn a_failure_more_never_makes_the_rate_better(trains in proptest::collection::vec(any_train(), 0..30)) {
            let before = dora(&trains, at(85 * D), SPAN_DAYS);
            let mut more = trains.clone();
            more.push(train(80 * D, true, None, None));
            let after = dora(&more, at(85 * D), SPAN_DAYS);
            prop_assert!(after.change_failure_rate.value.unwrap() >= before.change_failure_rate.value.unwrap_or(0.0));
            prop_assert!(after.change_failure_rate.band >= before.change_failure_rate.band);
            prop_assert_eq!(after.lead_time_s, before.lead_time_s, "what failed is no delivery");
            prop_assert_eq!(after.recovery_time_s.value, before.recovery_time_s.value, "unknown is not zero");
            prop_assert_eq!(after.recovery_time_s.unknown, before.recovery_time_s.unknown + 1);
        }

        #[test]
        fn medians_lie_among_what_they_are_of(trains in proptest::collection::vec(any_train(), 1..30)) {
            let d = dora(&trains, at(85 * D), SPAN_DAYS);
            let good = || trains.iter().filter(|t| t.outcome == Outcome::Completed);
            let leads: Vec<f64> = good().filter_map(|t| {
                let s = &t.services[0];
                Some(s.healthy?.duration_since(s.commit.as_ref()?.1).as_secs_f64())
            }).collect();
            prop_assert_eq!(d.lead_time_s.from, leads.len());
            prop_assert_eq!(d.lead_time_s.from + d.lead_time_s.unknown, good().count());
            if let Some(m) = d.lead_time_s.value {
                let least = leads.iter().filter(|v| **v < m).count();
                let most = leads.iter().filter(|v| **v > m).count();
                prop_assert!(2 * least <= leads.len() && 2 * most <= leads.len());
                prop_assert_eq!(d.lead_time_s.band, Some(Band::below(m, DAY, MONTH * DAY)));
            } else {
                prop_assert!(leads.is_empty());
            }
        }
    }
}
