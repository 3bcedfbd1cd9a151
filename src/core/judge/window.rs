//! The counts of the last while, in slots of equal length, so that its size does not grow with time or traffic.

use std::time::Duration;

use super::sample::Arm;
use super::sequential::Counts;

/// How many slots a window keeps.
const SLOTS: usize = 60;

/// What was counted in one stretch of time.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
struct Slot {
    /// Its end.
    end: Duration,
    /// How much time its samples cover; holes cover none.
    covered: Duration,
    /// By [`Arm::number`].
    arms: [Counts; 3],
    /// Sum and number of the percentiles seen.
    p99: (f64, u32),
}

/// What a window holds.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Held {
    /// Time covered by samples.
    pub covered: Duration,
    /// By [`Arm::number`].
    pub arms: [Counts; 3],
    /// Mean of the 99th percentiles, milliseconds.
    pub p99_ms: Option<f64>,
}

impl Held {
    /// The counts of one arm.
    pub fn of(&self, arm: Arm) -> Counts {
        self.arms[arm.number()]
    }
}

/// The counts of the last while.
#[derive(Clone, PartialEq, Debug)]
pub struct Window {
    span: Duration,
    slots: [Slot; SLOTS],
    /// Where the newest slot is, and how many there are.
    newest: usize,
    len: usize,
}

impl Window {
    /// A window that can look back that far.
    pub fn new(span: Duration) -> Self {
        Self { span, slots: [Slot::default(); SLOTS], newest: 0, len: 0 }
    }

    /// Takes the counts of one sample. The percentile is that of the judged arm.
    pub fn put(&mut self, at: Duration, over: Duration, arms: [Counts; 3], p99_ms: Option<f64>) {
        let grain = self.span / SLOTS as u32;
        let fits = self.len > 0 && self.slots[self.newest].covered + over <= grain + grain / 10;
        if !fits {
            self.newest = if self.len == 0 { 0 } else { (self.newest + 1) % SLOTS };
            self.len = (self.len + 1).min(SLOTS);
            self.slots[self.newest] = Slot::default();
        }
        let slot = &mut self.slots[self.newest];
        slot.end = at;
        slot.covered += over;
        for (held, new) in slot.arms.iter_mut().zip(arms) {
            held.add(new);
        }
        if let Some(p99) = p99_ms.filter(|p| p.is_finite() && *p >= 0.0) {
            slot.p99 = (slot.p99.0 + p99, slot.p99.1 + 1);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The newest counts that cover `least` time; further back, as far as the window reaches, until `enough` says so.
    pub fn last(&self, now: Duration, least: Duration, enough: impl Fn(&Held) -> bool) -> Held {
        let mut held = Held::default();
        let mut p99 = (0.0, 0);
        // A slot's bounds are not a window's: a tenth of a slot short of it counts as full.
        let full = least.saturating_sub(self.span / (SLOTS as u32 * 10));
        for back in 0..self.len {
            let slot = &self.slots[(self.newest + SLOTS - back) % SLOTS];
            let reaches = now.saturating_sub(slot.end) < self.span;
            if !reaches || (held.covered >= full && enough(&held)) {
                break;
            }
            held.covered += slot.covered;
            for (sum, arm) in held.arms.iter_mut().zip(slot.arms) {
                sum.add(arm);
            }
            p99 = (p99.0 + slot.p99.0, p99.1 + slot.p99.1);
        }
        held.p99_ms = (p99.1 > 0).then(|| p99.0 / f64::from(p99.1));
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn arms(n: f64) -> [Counts; 3] {
        [Counts { requests: n, errors: 0.0 }; 3]
    }

    #[test]
    fn the_newest_that_covers_enough_counts() {
        let mut window = Window::new(S(300));
        for n in 1..=100u64 {
            window.put(S(n * 5), S(5), arms(n as f64), Some(n as f64));
        }
        let held = window.last(S(500), S(60), |_| true);
        assert_eq!((held.covered, held.of(Arm::New).requests), (S(60), (89..=100).sum::<u64>() as f64));
        assert_eq!(held.p99_ms, Some(94.5));
        let more = window.last(S(500), S(60), |h| h.of(Arm::All).requests >= 2000.0);
        assert_eq!(more.covered, S(115));
        let all = window.last(S(500), S(60), |_| false);
        assert_eq!(all.covered, S(300), "it reaches no further");
        assert_eq!(window.last(S(1000), S(60), |_| true), Held::default(), "what is too old does not count");
        window.clear();
        assert_eq!(window.last(S(500), S(60), |_| true), Held::default());
    }

    #[test]
    fn fast_and_slow_scrapes_fill_it_alike() {
        for over in [1u64, 2, 5, 15, 30] {
            let mut window = Window::new(S(300));
            for n in 1..=600 / over {
                window.put(S(n * over), S(over), arms(over as f64), None);
            }
            let held = window.last(S(600), S(60), |_| true);
            assert_eq!((held.covered, held.of(Arm::All).requests), (S(60), 60.0), "scraped every {over} s");
        }
    }

    #[test]
    fn a_hole_is_not_covered() {
        let mut window = Window::new(S(300));
        for n in 1..=40u64 {
            if !(20..30).contains(&n) {
                window.put(S(n * 5), S(5), arms(1.0), None);
            }
        }
        assert_eq!(window.last(S(200), S(60), |_| true).of(Arm::All).requests, 12.0);
        assert_eq!(window.last(S(200), S(300), |_| true).covered, S(150));
    }
}
