//! The automatic guard: one [`Judge`] a service hears what was measured of it and of its new revision and says pass, fail,
//! inconclusive or no data, with the reason in numbers (`train.md` §3). Time comes in with what is heard; nothing here reads a
//! clock, asks a metric store or acts. The last check before an effect leaves is another thing (`core/guard.rs`).
//!
//! How it decides: `rules.rs` says what would matter, `sequential.rs` whether it may be chance, `baseline.rs` what is normal;
//! `weigh.rs` puts it together.

pub mod baseline;
pub mod no_data;
pub mod pods;
pub mod reports;
pub mod rules;
pub mod sample;
pub mod scrape;
pub mod sequential;
pub mod settings;
mod tail;
pub mod verdict;
mod weigh;
pub mod window;

use std::time::Duration;

use self::baseline::{Baseline, Lack};
use self::no_data::Budget;
use self::pods::PodFact;
use self::reports::{Report, Reports};
use self::rules::InARow;
use self::sample::{ARMS, Arm, Counters, Sample, Usable};
use self::scrape::{Detection, Scrapes};
use self::sequential::{Before, Concurrent, Counts};
pub use self::settings::Settings;
use self::window::Window;
use super::gate::freshness::is_stale;
use super::slo::{GateBy, Slo};
use super::text::Text;
use crate::text;

/// What can be told apart of a service in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arms {
    /// The series of both revisions (the queries use `{{revision}}`).
    Told,
    /// Only the whole service's; the new revision's rate is worked out from its weight.
    Estimated,
    /// There is no canary arm (a Deployment): before and after is all there is.
    Whole,
}

/// What is judged, and by what.
#[derive(Clone, PartialEq, Debug)]
pub struct Subject {
    /// The service.
    pub name: Text,
    /// Its objectives.
    pub slo: Slo,
    /// Metrics, or pods and lag.
    pub gate: GateBy,
    /// Greatest lag that is healthy.
    pub max_lag: Option<f64>,
    /// What can be told apart.
    pub arms: Arms,
    /// How many services are judged in this train; they share the chance of a false alarm.
    pub services: u32,
}

/// What a judge hears.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// A measurement.
    Sample(Sample),
    /// The new revision is there. What it is judged by begins anew.
    Deployed,
    /// The share of traffic that goes to the new revision, 0 to 1, as read back.
    Weight(f64),
    /// The workload went on to another step of the same weight: what others found out about the one before is past.
    Step,
    /// Something else that a fault could begin with: an expand step, a flag step, a deploy of a neighbour.
    Moved,
    /// The new revision is finished and baked, or it is gone: the service is only watched from now on.
    Landed,
    /// The pods of the new revision, all of them.
    Pods(Vec<PodFact>),
    /// The lag of a worker; none when it could not be measured.
    Lag(Option<f64>),
    /// What somebody else found.
    Report(Report),
    /// Synthetic checks are no longer made.
    ChecksOver,
}

/// A new revision in flight.
#[derive(Clone, PartialEq, Debug)]
struct Flight {
    weight: f64,
    /// When it got this weight.
    since: Duration,
    /// Since when a worker has been healthy; none while it is not.
    healthy_since: Option<Duration>,
    unhealthy_since: Option<Duration>,
}

/// The lag of a worker that is not in flight.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Backlog {
    /// It was in order at some time: only then does what it is now tell of what the train did.
    was_good: bool,
    /// Since when it is not.
    since: Option<Duration>,
}

/// Judges one service. Its size does not grow with time or traffic.
#[derive(Clone, PartialEq, Debug)]
pub struct Judge {
    subject: Subject,
    settings: Settings,
    flight: Option<Flight>,
    baseline: Option<Baseline>,
    before: Option<Before>,
    concurrent: Concurrent,
    history: Window,
    recent: Window,
    counters: Counters,
    scrapes: Scrapes,
    /// When the last sample came in, and why it cannot be used; empty when it can.
    heard: Option<(Duration, Text)>,
    p99_ms: [Option<f64>; 3],
    latency: InARow,
    ceiling: InARow,
    pods: Vec<PodFact>,
    lag: Option<f64>,
    backlog: Backlog,
    reports: Reports,
    budget: Budget,
    judged: Option<Duration>,
}

/// How many pods of one revision are looked at.
const PODS_MAX: usize = 512;

impl Judge {
    /// A judge of one service. Settings out of range are brought into it ([`Settings::checked`] says which).
    pub fn new(subject: Subject, settings: Settings) -> Self {
        let settings = settings.checked().0;
        Self {
            history: Window::new(settings.baseline),
            recent: Window::new(settings.window_max),
            subject,
            settings,
            flight: None,
            baseline: None,
            before: None,
            concurrent: Concurrent::default(),
            counters: Counters::default(),
            scrapes: Scrapes::default(),
            heard: None,
            p99_ms: [None; 3],
            latency: InARow::default(),
            ceiling: InARow::default(),
            pods: Vec::new(),
            lag: None,
            backlog: Backlog::default(),
            reports: Reports::default(),
            budget: Budget::default(),
            judged: None,
        }
    }

    /// The service.
    pub fn service(&self) -> &Text {
        &self.subject.name
    }

    /// What is normal, as measured so far.
    pub fn baseline(&self) -> Option<Baseline> {
        self.baseline
    }

    /// Measures what is normal over the last minutes; where it was measured before, the lower one counts. Called at the start
    /// of the train and just before the service's own deploy.
    pub fn measure_baseline(&mut self, at: Duration) -> Result<Baseline, Lack> {
        let new = Baseline::measure(&self.history, at, &self.subject.slo, &self.settings)?;
        let lower = self.baseline.map_or(new, |held| held.lower(new));
        self.adopt(lower);
        Ok(lower)
    }

    /// Goes by a baseline that was measured elsewhere, such as that of the conductor before.
    pub fn adopt(&mut self, baseline: Baseline) {
        if self.baseline == Some(baseline) {
            return;
        }
        let need = self.need();
        match &mut self.before {
            Some(before) => before.rebase(baseline.counts, need),
            None => self.before = Some(Before::new(baseline.counts, need)),
        }
        self.baseline = Some(baseline);
    }

    /// The evidence that a fail on errors needs: alpha of the train is shared by its critical metrics and services, and here
    /// by the two comparisons, where there are two.
    fn need(&self) -> f64 {
        let comparisons = if self.subject.arms == Arms::Told { 2.0 } else { 1.0 };
        f64::from(self.settings.metrics * self.subject.services.max(1)) * comparisons / self.settings.alpha
    }

    /// How soon a fault can be seen at the scrape interval that was measured; none before it is known.
    pub fn detection(&self) -> Option<Detection> {
        self.scrapes.interval().map(|scrape| scrape::detection(scrape, &self.settings))
    }

    /// Takes in what happened.
    pub fn hear(&mut self, at: Duration, news: News) {
        match news {
            News::Sample(sample) => self.sample(sample),
            News::Deployed => {
                self.flight = Some(Flight { weight: 0.0, since: at, healthy_since: None, unhealthy_since: None });
                self.concurrent = Concurrent::default();
                self.counters.forget_arms();
                self.pods.clear();
                self.lag = None;
                self.reports.clear();
                self.budget.clear();
                self.step();
            }
            News::Weight(weight) => {
                let weight = if weight.is_finite() { weight.clamp(0.0, 1.0) } else { 0.0 };
                if let Some(flight) = &mut self.flight
                    && (flight.weight - weight).abs() > 1e-6
                {
                    (flight.weight, flight.since) = (weight, at);
                    self.reports.step_left();
                    self.step();
                }
            }
            News::Step => self.reports.step_left(),
            News::Moved => self.announce(),
            News::Landed => {
                self.flight = None;
                self.pods.clear();
                self.reports.clear();
                self.budget.clear();
                self.announce();
            }
            News::Pods(mut pods) => {
                pods.truncate(PODS_MAX);
                self.pods = pods;
            }
            News::Lag(lag) => self.lag = lag,
            News::Report(report) => self.reports.put(report),
            News::ChecksOver => self.reports.checks_over(),
        }
    }

    /// What was counted under another weight says nothing about this one.
    fn step(&mut self) {
        self.recent.clear();
        self.announce();
    }

    fn announce(&mut self) {
        self.concurrent.announce();
        if let Some(before) = &mut self.before {
            before.announce();
        }
    }

    /// True while both revisions serve and can be told apart.
    fn side_by_side(&self) -> bool {
        self.subject.arms == Arms::Told && self.flight.as_ref().is_some_and(|f| f.weight > 0.0 && f.weight < 1.0)
    }

    /// Which series the verdict is about.
    fn judged_arm(&self) -> Arm {
        if self.side_by_side() { Arm::New } else { Arm::All }
    }

    fn sample(&mut self, sample: Sample) {
        // What comes late was counted already, or would be counted under the wrong weight.
        if self.heard.as_ref().is_some_and(|(last, _)| sample.at <= *last) {
            return;
        }
        let mut counts = [None; 3];
        let mut holes = [const { None }; 3];
        for arm in ARMS {
            match sample.arms[arm.number()].as_ref().map(|reading| self.counters.read(arm, reading)) {
                Some(Usable::Counts(c)) => counts[arm.number()] = Some(c),
                Some(Usable::Hole(why)) => holes[arm.number()] = Some(why),
                Some(Usable::Begun) | None => {}
            }
        }
        if let Some(age) = sample.age.filter(|age| is_stale(*age, self.scrapes.interval())) {
            self.p99_ms = [None; 3];
            self.heard = Some((sample.at, text!("the newest scrape is {} s old", age.as_secs())));
            return;
        }
        let [new, stable, all] = counts;
        let sum = |a: Counts, b: Counts| Counts { requests: a.requests + b.requests, errors: a.errors + b.errors };
        let all = all.or_else(|| Some(sum(new?, stable?)));
        let [new_hole, stable_hole, all_hole] = holes;
        let over = sample.over;
        if let Some(all) = all {
            self.history.put(sample.at, over, [Counts::default(), Counts::default(), all], sample.p99_ms[2]);
            if let Some(before) = &mut self.before {
                before.take(all, over);
            }
        }
        self.p99_ms = sample.p99_ms;
        let side_by_side = self.side_by_side();
        let usable = if side_by_side {
            new.zip(stable).map(|(n, s)| [n, s, all.unwrap_or(sum(n, s))])
        } else {
            all.map(|a| [Counts::default(), Counts::default(), a])
        };
        let mut why = Text::default();
        match usable {
            Some(arms) => {
                self.scrapes.put(sample.at.saturating_sub(sample.age.unwrap_or_default()));
                if side_by_side {
                    self.concurrent.take(arms[0], arms[1], over);
                }
                let p99 = self.p99_ms[self.judged_arm().number()];
                self.recent.put(sample.at, over, arms, p99);
            }
            None if side_by_side => {
                why = new_hole.or(stable_hole).unwrap_or_else(|| Text::scrub("no counts of both revisions came"))
            }
            None => why = all_hole.or(new_hole).or(stable_hole).unwrap_or_else(|| Text::scrub("no counts came")),
        }
        self.heard = Some((sample.at, why));
    }
}

#[cfg(test)]
mod tests;
