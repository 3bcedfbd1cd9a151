//! How often the metric store looks at a service, measured from the samples themselves, and how soon a fault can be seen then.

use std::time::Duration;

use super::Settings;
use crate::core::gate::freshness::is_stale;
use crate::core::text::Text;
use crate::text;

/// Of how many scrapes the distance is remembered.
const KEPT: usize = 9;

/// The moments of the latest scrapes.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Scrapes {
    at: [Duration; KEPT],
    len: usize,
}

/// Two scrape moments closer than this are one: the age that the store tells is rounded.
const SAME: Duration = Duration::from_millis(500);

impl Scrapes {
    /// Takes the moment of the newest scrape behind a sample.
    pub fn put(&mut self, scraped: Duration) {
        if self.len > 0 && scraped <= self.at[self.len - 1] + SAME {
            return;
        }
        if self.len == KEPT {
            self.at.rotate_left(1);
            self.len -= 1;
        }
        self.at[self.len] = scraped;
        self.len += 1;
    }

    /// The distance of scrapes: the median, so that a lost one does not count. None before three were seen.
    pub fn interval(&self) -> Option<Duration> {
        let mut gaps: Vec<Duration> = self.at[..self.len].windows(2).map(|w| w[1] - w[0]).collect();
        gaps.sort_unstable();
        (gaps.len() >= 2).then(|| gaps[gaps.len() / 2])
    }

    /// True when the newest scrape is too old to say anything about now.
    pub fn stale(&self, now: Duration) -> bool {
        self.len > 0 && is_stale(now.saturating_sub(self.at[self.len - 1]), self.interval())
    }

    /// How old the newest scrape is.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        (self.len > 0).then(|| now.saturating_sub(self.at[self.len - 1]))
    }
}

/// How soon a fault can be seen, and whether that is soon enough.
#[derive(Clone, PartialEq, Debug)]
pub struct Detection {
    /// The scrape interval.
    pub scrape: Duration,
    /// The longest time from the first failed request to a verdict of the slowest rule, given enough requests.
    pub at_worst: Duration,
    /// What a person should know; empty when nothing.
    pub warning: Text,
}

/// How soon a fault can be seen at this scrape interval: a fault waits up to one scrape to be seen, a rate needs a second
/// scrape, an evaluation comes up to its interval later, and the rule on latency wants so many in a row. What the statistics
/// need on top depends on the traffic.
pub fn detection(scrape: Duration, settings: &Settings) -> Detection {
    let at_worst = scrape * 2 + settings.evaluate * settings.p99_running.max(settings.ceiling_running).max(1);
    let slow = scrape > settings.scrape_warn;
    let warning = if slow {
        text!(
            "scraped every {} s: up to {} s pass before a fault can be judged, so {} s cannot be held; scrape at least every {} s",
            scrape.as_secs(),
            at_worst.as_secs(),
            settings.detect.as_secs(),
            settings.scrape_warn.as_secs()
        )
    } else {
        Text::default()
    };
    Detection { scrape, at_worst, warning }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_interval_is_measured_and_a_lost_scrape_does_not_count() {
        let mut scrapes = Scrapes::default();
        assert_eq!((scrapes.interval(), scrapes.stale(S(1000))), (None, false));
        for at in [0u64, 5, 5, 10, 15, 30, 35, 40] {
            scrapes.put(S(at));
        }
        assert_eq!(scrapes.interval(), Some(S(5)));
        assert!(!scrapes.stale(S(52)) && scrapes.stale(S(53)), "two intervals and two seconds");
        for n in 0..100 {
            scrapes.put(S(40 + n * 15));
        }
        assert_eq!(scrapes.interval(), Some(S(15)));
    }

    #[test]
    fn slow_scrapes_are_warned_of() {
        let settings = Settings::default();
        let at = |s| detection(S(s), &settings);
        assert_eq!((at(5).at_worst, at(15).at_worst), (S(25), S(45)));
        assert!(at(15).warning.is_empty());
        assert_eq!(
            at(30).warning,
            "scraped every 30 s: up to 75 s pass before a fault can be judged, so 60 s cannot be held; scrape at least every 15 s"
        );
    }
}
