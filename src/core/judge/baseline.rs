//! What is normal for a service before anything is done to it, and whether it is in order at all: measured over some minutes
//! at the start of the train and again before its own deploy; the lower one counts (`train.md` §3).

use std::time::Duration;

use super::Settings;
use super::sample::Arm;
use super::sequential::Counts;
use super::window::Window;
use crate::core::slo::Slo;
use crate::core::text::Text;
use crate::text;

/// What is normal for a service. Goes into the train's record, so that another conductor can go on with it.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Baseline {
    /// Requests and errors seen.
    pub counts: Counts,
    /// Time that they cover.
    pub covered: Duration,
    /// Mean of the 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
}

/// Why there is no baseline to start from.
#[derive(Clone, PartialEq, Debug)]
pub enum Lack {
    /// It breaks its SLO already: START is blocked.
    Burning(Text),
    /// Too little was measured; says what is missing.
    NoData(Text),
}

impl Lack {
    /// Why, for a person.
    pub fn why(&self) -> &Text {
        match self {
            Self::Burning(why) | Self::NoData(why) => why,
        }
    }
}

/// The least part of the baseline's time that must be covered: some scrapes may be lost.
const COVERED_MIN: f64 = 0.9;

impl Baseline {
    /// Measures it over the last minutes. Refused where too little was seen, and where the service breaks its SLO before
    /// anything was done to it.
    pub fn measure(history: &Window, now: Duration, slo: &Slo, settings: &Settings) -> Result<Self, Lack> {
        let held = history.last(now, settings.baseline, |_| true);
        let counts = held.of(Arm::All);
        let (covered, wanted) = (held.covered.as_secs(), settings.baseline.as_secs());
        if held.covered < settings.baseline.mul_f64(COVERED_MIN) {
            return Err(Lack::NoData(text!("no baseline: {covered} of {wanted} s were measured")));
        }
        if counts.requests < settings.requests_min {
            return Err(Lack::NoData(text!(
                "no baseline: {} requests in {wanted} s, {} are needed; is the label right?",
                counts.requests.round(),
                settings.requests_min
            )));
        }
        let this = Self { counts, covered: held.covered, p99_ms: held.p99_ms };
        this.burns(slo).map_or(Ok(this), |why| Err(Lack::Burning(why)))
    }

    /// How it breaks the SLO; none when it does not.
    pub fn burns(&self, slo: &Slo) -> Option<Text> {
        let rate = self.counts.rate();
        if let Some(limit) = slo.error_rate.filter(|limit| rate > *limit) {
            return Some(text!("already burning: errors {:.2} %, SLO {:.2} %", rate * 100.0, limit * 100.0));
        }
        if let (Some(p99), Some(limit)) = (self.p99_ms, slo.p99_ms)
            && p99 > limit
        {
            return Some(text!("already burning: p99 {p99:.0} ms, SLO {limit:.0} ms"));
        }
        let per_second = self.counts.errors / self.covered.as_secs_f64().max(1e-9);
        if let Some(limit) = slo.max_5xx_per_second.filter(|limit| per_second > *limit) {
            return Some(text!("already burning: {per_second:.1} errors/s, ceiling {limit}"));
        }
        None
    }

    /// The lower of two by error rate.
    pub fn lower(self, other: Self) -> Self {
        if other.counts.rate() < self.counts.rate() { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(requests: f64, errors: f64, p99: f64, seconds: u64) -> Window {
        let mut window = Window::new(Settings::default().baseline);
        for n in 1..=seconds / 5 {
            let counts = Counts { requests, errors };
            window.put(
                Duration::from_secs(n * 5),
                Duration::from_secs(5),
                [Counts::default(), Counts::default(), counts],
                Some(p99),
            );
        }
        window
    }

    fn slo() -> Slo {
        Slo { error_rate: Some(0.02), p99_ms: Some(500.0), max_5xx_per_second: Some(25.0), p95_ms: None }
    }

    fn measured(requests: f64, errors: f64, p99: f64, seconds: u64) -> Result<Baseline, String> {
        Baseline::measure(
            &history(requests, errors, p99, seconds),
            Duration::from_secs(seconds),
            &slo(),
            &Settings::default(),
        )
        .map_err(|lack| lack.why().to_string())
    }

    #[test]
    fn a_healthy_service_has_a_baseline() {
        let base = measured(125.0, 0.25, 180.0, 600).unwrap();
        assert_eq!((base.counts.requests, base.counts.errors, base.p99_ms), (15_000.0, 30.0, Some(180.0)));
        let lower = Baseline { counts: Counts { requests: 100.0, errors: 0.0 }, ..base };
        assert_eq!((base.lower(lower), lower.lower(base)), (lower, lower));
    }

    #[test]
    fn what_burns_before_its_deploy_blocks_the_start() {
        assert_eq!(measured(125.0, 5.0, 180.0, 600).unwrap_err(), "already burning: errors 4.00 %, SLO 2.00 %");
        assert_eq!(measured(125.0, 0.0, 640.0, 600).unwrap_err(), "already burning: p99 640 ms, SLO 500 ms");
        assert_eq!(measured(12_500.0, 150.0, 180.0, 600).unwrap_err(), "already burning: 30.0 errors/s, ceiling 25");
    }

    #[test]
    fn too_little_is_no_baseline() {
        assert_eq!(measured(125.0, 0.0, 180.0, 300).unwrap_err(), "no baseline: 300 of 600 s were measured");
        assert!(measured(125.0, 0.0, 180.0, 545).is_ok(), "a lost scrape is borne");
        assert_eq!(
            measured(0.0, 0.0, 180.0, 600).unwrap_err(),
            "no baseline: 0 requests in 600 s, 100 are needed; is the label right?"
        );
    }
}
