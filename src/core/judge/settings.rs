//! The numbers that the guard goes by. All can be set; the defaults are those of `train.md` §3.

use std::time::Duration;

use crate::core::text::Text;
use crate::text;

/// The numbers that the guard goes by.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Time between evaluations.
    pub evaluate: Duration,
    /// The window of a pass.
    pub window: Duration,
    /// How far back the window reaches where it holds too few requests.
    pub window_max: Duration,
    /// Requests below which nothing is said.
    pub requests_min: f64,
    /// How many times the baseline's error rate is too much.
    pub ratio: f64,
    /// How far above the baseline's error rate is too much, 0 to 1.
    pub margin: f64,
    /// Chance of a false alarm on errors in a whole train.
    pub alpha: f64,
    /// How many critical metrics share it.
    pub metrics: u32,
    /// How many times the p99 of the SLO is too much.
    pub p99_ratio: f64,
    /// In how many evaluations running.
    pub p99_running: u32,
    /// Requests below which a high p99 may be the chance of a few slow ones: it then holds, but does not count towards a fail. Of 100
    /// requests one slow one makes the p99; of 300 it takes three.
    pub p99_requests: f64,
    /// In how many evaluations running the ceiling of server errors must be broken.
    pub ceiling_running: u32,
    /// Time over which the baseline is measured.
    pub baseline: Duration,
    /// Time without data, under traffic, after which the canary is taken back.
    pub no_data: Duration,
    /// Time in which a pod must be ready.
    pub ready: Duration,
    /// Restarts of a pod that are too many.
    pub restarts: u32,
    /// Time for which a worker must be healthy.
    pub bake: Duration,
    /// The scrape interval above which is warned.
    pub scrape_warn: Duration,
    /// The time in which a fault should be found.
    pub detect: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            evaluate: s(5),
            window: s(60),
            window_max: s(300),
            requests_min: 100.0,
            ratio: 2.0,
            margin: 0.005,
            alpha: 0.01,
            metrics: 3,
            p99_ratio: 3.0,
            p99_running: 3,
            p99_requests: 300.0,
            ceiling_running: 2,
            baseline: s(600),
            no_data: s(300),
            ready: s(60),
            restarts: 2,
            bake: s(60),
            scrape_warn: s(15),
            detect: s(60),
        }
    }
}

impl Settings {
    /// The settings with what is out of range brought into it, and what that was.
    pub fn checked(mut self) -> (Self, Vec<Text>) {
        let mut wrong = Vec::new();
        let second = Duration::from_secs(1);
        let mut time = |name: &str, value: &mut Duration, least: Duration| {
            let fixed = (*value).clamp(least, Duration::from_secs(86_400));
            if fixed != *value {
                wrong.push(text!("{name} is {} s; {} s is used", value.as_secs_f64(), fixed.as_secs_f64()));
                *value = fixed;
            }
        };
        time("evaluate", &mut self.evaluate, second / 10);
        time("window", &mut self.window, self.evaluate);
        time("window_max", &mut self.window_max, self.window);
        time("baseline", &mut self.baseline, self.window);
        time("no_data", &mut self.no_data, self.evaluate);
        time("ready", &mut self.ready, second);
        time("bake", &mut self.bake, second);
        let mut number = |name: &str, value: &mut f64, least: f64, most: f64| {
            let fixed = if value.is_nan() { least } else { value.clamp(least, most) };
            if fixed.to_bits() != value.to_bits() {
                wrong.push(text!("{name} is {value}; {fixed} is used"));
                *value = fixed;
            }
        };
        number("requests_min", &mut self.requests_min, 1.0, 1e9);
        number("p99_requests", &mut self.p99_requests, 1.0, 1e9);
        number("ratio", &mut self.ratio, 1.0, 1e3);
        number("margin", &mut self.margin, 0.0, 1.0);
        number("alpha", &mut self.alpha, 1e-6, 0.5);
        number("p99_ratio", &mut self.p99_ratio, 1.0, 1e3);
        for (name, value) in [
            ("metrics", &mut self.metrics),
            ("p99_running", &mut self.p99_running),
            ("ceiling_running", &mut self.ceiling_running),
            ("restarts", &mut self.restarts),
        ] {
            if *value == 0 {
                wrong.push(text!("{name} is 0; 1 is used"));
                *value = 1;
            }
        }
        (self, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_nonsense_is_not() {
        let (same, wrong) = Settings::default().checked();
        assert_eq!((same, wrong.len()), (Settings::default(), 0));
        let bad = Settings {
            alpha: f64::NAN,
            window: Duration::ZERO,
            p99_running: 0,
            ratio: f64::INFINITY,
            ..Settings::default()
        };
        let (fixed, wrong) = bad.checked();
        assert_eq!((fixed.alpha, fixed.window, fixed.p99_running, fixed.ratio), (1e-6, fixed.evaluate, 1, 1e3));
        assert_eq!(wrong[0], "window is 0 s; 5 s is used");
        assert_eq!(wrong.len(), 4);
    }
}
