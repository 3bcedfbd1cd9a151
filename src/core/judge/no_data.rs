//! How long nothing usable was measured while the new revision received traffic, and whether that was too long.

use std::time::Duration;

/// The time without data.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Budget {
    used: Duration,
    last: Option<Duration>,
}

impl Budget {
    /// An evaluation: the time since the one before counts when nothing usable was measured and the new revision received
    /// traffic. Only a pass ends the spell, since that needs a whole window of data: a series that comes and goes does not.
    pub fn evaluated(&mut self, now: Duration, blind: bool, traffic: bool, passed: bool) {
        if passed {
            self.used = Duration::ZERO;
        } else if blind
            && traffic
            && let Some(last) = self.last
        {
            self.used += now.saturating_sub(last);
        }
        self.last = Some(now);
    }

    /// Time without data so far.
    pub fn used(&self) -> Duration {
        self.used
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.used = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_with_traffic_counts_and_only_a_pass_ends_it() {
        let mut budget = Budget::default();
        let mut now = 0;
        let mut run = |budget: &mut Budget, seconds: u64, blind, traffic, passed| {
            for _ in 0..seconds / 5 {
                now += 5;
                budget.evaluated(Duration::from_secs(now), blind, traffic, passed);
            }
            budget.used().as_secs()
        };
        run(&mut budget, 5, false, true, false);
        assert_eq!(run(&mut budget, 100, true, false, false), 0, "no traffic");
        assert_eq!(run(&mut budget, 100, true, true, false), 100);
        assert_eq!(run(&mut budget, 50, false, true, false), 100, "it comes and goes");
        assert_eq!(run(&mut budget, 200, true, true, false), 300);
        assert_eq!(run(&mut budget, 5, false, true, true), 0);
    }
}
