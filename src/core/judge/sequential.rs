//! Evidence that grows with the requests and may be looked at after each of them: is the new revision's error rate above
//! that of the stable one, is a service's above its baseline. Only counts come in and a number goes out; what rate would
//! matter, and what is done about it, is decided elsewhere.
//!
//! **What is promised.** Both keep a number that begins at 1 and, as long as nothing got worse, is a supermartingale: no
//! way of looking, stopping or going on makes its mean larger than 1. By Ville's inequality (Ville 1939; "Testing by
//! betting", Shafer 2021) the chance that it *ever* reaches N is then at most 1/N. That an anytime-valid lower confidence
//! bound at level α lies above the compared rate, and that this number has reached 1/α, are the same statement (the bound is the
//! largest rate that is not yet rejected: Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe
//! anytime-valid inference", 2023, §2). So the number is shown as "1 in N by chance".
//!
//! **When a fault begins is not known.** The number is a mean over start times, each of which holds a share of the first 1
//! that is fixed before its data are seen: a convex mixture of supermartingales, so one itself. Summing over starts is the
//! Shiryaev–Roberts form of an e-detector (Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change
//! detection", 2023); with shares that add up to 1 it bounds the chance of ever raising a false alarm instead of the time between two.

use std::time::Duration;

use super::tail::{ln_at_most, ln_evidence};

/// Requests and how many of them failed. Parts of a request occur: Prometheus extrapolates.
#[derive(Clone, Copy, PartialEq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Requests.
    pub requests: f64,
    /// Of these, failed.
    pub errors: f64,
}

impl Counts {
    /// Share of failed requests; 0 where there were none.
    pub fn rate(self) -> f64 {
        if self.requests > 0.0 { self.errors / self.requests } else { 0.0 }
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
    }
}

/// More than this is not kept: it would say nothing more, and a fault that is over must be forgotten in time. Lowering a
/// supermartingale leaves it one.
const WEALTH_MAX: f64 = 1e9;

/// The time in which about two thirds of what is left is given to start times that nothing announces.
const SPREAD: Duration = Duration::from_secs(1200);

/// How much of what is left is given to a start that is announced: a deploy, a weight, a flag step.
const ANNOUNCED: f64 = 0.5;

/// The shares of the start times that are still to come.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Onsets {
    left: f64,
    announced: bool,
}

impl Onsets {
    const NEW: Self = Self { left: 1.0, announced: true };

    /// The share of a start just before the sample that covers `over`. Must not depend on that sample.
    fn spend(&mut self, over: Duration) -> f64 {
        let mut share = 1.0 - (-over.as_secs_f64() / SPREAD.as_secs_f64()).exp();
        if self.announced {
            share = share.max(ANNOUNCED);
        }
        self.announced = false;
        let spent = self.left * share;
        self.left -= spent;
        spent
    }
}

/// How many times more errors than the stable revision's are looked for.
const RATIOS: [f64; 5] = [1.5, 2.5, 5.0, 12.0, 40.0];

/// Is the new revision's error rate above that of the stable one, both seen at the same time?
///
/// The count of errors in both together is taken as it comes; asked is only whose they are. If both revisions fail alike, each
/// error is the new one's with the chance of its share of the requests, whatever the rate is and however it moves: this
/// is Lindon and Malek, "Anytime-Valid Inference for Multinomial Count Data" (2022, arXiv 2011.03567, §4 and 5), which "Rapid
/// Regression Detection in Software Deployments through Sequential Testing" (arXiv 2205.14762) uses for canaries. A
/// sample multiplies the wealth on the ratio r by r^x / (1 + (r-1) s)^(x+y): x and y the errors of new and stable, s the
/// share of requests. With r > 1 its mean is at most 1 when the new one fails less often. Errors that are not rare
/// are drawn without replacement, for which the mean is no larger (Hoeffding 1963, theorem 4: the factor is convex in x).
#[derive(Clone, PartialEq, Debug)]
pub struct Concurrent {
    wealth: [f64; RATIOS.len()],
    onsets: Onsets,
}

impl Default for Concurrent {
    fn default() -> Self {
        Self { wealth: [0.0; RATIOS.len()], onsets: Onsets::NEW }
    }
}

impl Concurrent {
    /// Takes what both revisions served in the same time. Where one served nothing there is nothing to compare.
    pub fn take(&mut self, new: Counts, stable: Counts, over: Duration) {
        if new.requests <= 0.0 || stable.requests <= 0.0 {
            return;
        }
        let start = self.onsets.spend(over);
        let share = new.requests / (new.requests + stable.requests);
        let errors = new.errors + stable.errors;
        for (wealth, ratio) in self.wealth.iter_mut().zip(RATIOS) {
            let gain = new.errors * ratio.ln() - errors * ((ratio - 1.0) * share).ln_1p();
            *wealth = ((*wealth + start) * gain.exp()).min(WEALTH_MAX);
        }
    }

    /// Something moved that a fault could begin with.
    pub fn announce(&mut self) {
        self.onsets.announced = true;
    }

    /// The evidence: 1 in this many by chance at most.
    pub fn evidence(&self) -> f64 {
        self.wealth.iter().sum::<f64>() / RATIOS.len() as f64 + self.onsets.left
    }
}

/// Into how many ranges the unknown true baseline is cut.
const CELLS: usize = 12;

/// Ratios to the baseline, and steps above it, that are looked for.
const TIMES: [f64; 2] = [1.5, 2.5];
const ABOVE: [f64; 5] = [0.005, 0.015, 0.05, 0.15, 0.5];
const LOOKED_FOR: usize = TIMES.len() + ABOVE.len();

/// A rate that stands for certain failure would leave no room for a success.
const RATE_MAX: f64 = 0.98;

/// How often the baseline is measured; the lower one counts, so each is believed only half as much.
const LOOKS: f64 = 2.0;

/// A range of true baselines.
#[derive(Clone, PartialEq, Debug)]
struct Cell {
    /// Evidence of the measured baseline against this range.
    doubt: f64,
    /// Per rate looked for: what an error and what a success multiply the wealth by, as logarithms.
    error: [f64; LOOKED_FOR],
    success: [f64; LOOKED_FOR],
    wealth: [f64; LOOKED_FOR],
}

/// Is a service's error rate above its baseline? Before and after: whatever else changed in between is blamed too, which is
/// why this alone may only fail a canary, not pass one.
///
/// The baseline was measured, so it is uncertain itself. Each rate p that it may truly have been is held to be true in turn: the
/// measurement speaks against p with the evidence e(p) (the binomial tail of "so few errors or fewer", doubled because the lower of two
/// measurements counts, made an e-value by [`ln_evidence`]), the requests since with the likelihood ratio of higher rates to
/// p. Their product is evidence against "p, and nothing got worse". The least over all p is reported: what is claimed holds
/// whatever the baseline was. The true rates are cut into ranges; the ratio is taken at a range's upper end and e(p) at its
/// lower one, so the cut only costs.
#[derive(Clone, PartialEq, Debug)]
pub struct Before {
    cells: Vec<Cell>,
    /// Evidence of the measurement against everything above the last range.
    beyond: f64,
    onsets: Onsets,
}

impl Before {
    /// Compares with a measured baseline. `need` is the evidence that will be asked for.
    pub fn new(baseline: Counts, need: f64) -> Self {
        let against = |p: f64| {
            let tail = ln_at_most(baseline.errors, baseline.requests, p);
            ln_evidence((tail + LOOKS.ln()).min(0.0)).exp().min(WEALTH_MAX)
        };
        // The first range reaches up to what was measured; without an error, up to half a request.
        let first = baseline.rate().max(0.5 / baseline.requests.max(1.0)).min(RATE_MAX / 2.0);
        let (mut low, mut last) = (first, RATE_MAX * 0.9);
        for _ in 0..60 {
            let middle = (low * last).sqrt();
            if against(middle) < (need * 1.01).min(WEALTH_MAX / 10.0) {
                low = middle;
            } else {
                last = middle;
            }
        }
        let step = (last / first).max(1.0).powf(1.0 / (CELLS - 1) as f64);
        let upper = |cell: i32| (first * step.powi(cell)).min(RATE_MAX * 0.95);
        let cells = (0..CELLS as i32).map(|cell| {
            let (below, rate) = (if cell == 0 { 0.0 } else { upper(cell - 1) }, upper(cell));
            let mut looked = [0.0; LOOKED_FOR];
            let wanted = TIMES.iter().map(|t| first * t).chain(ABOVE.iter().map(|a| first + a));
            for (slot, higher) in looked.iter_mut().zip(wanted) {
                *slot = higher.max(rate * 1.3).min(RATE_MAX);
            }
            Cell {
                doubt: against(below),
                error: looked.map(|higher| (higher / rate).ln()),
                success: looked.map(|higher| ((1.0 - higher) / (1.0 - rate)).ln()),
                wealth: [0.0; LOOKED_FOR],
            }
        });
        Self { cells: cells.collect(), beyond: against(upper(CELLS as i32 - 1)), onsets: Onsets::NEW }
    }

    /// Goes on with another baseline: what was gathered against the old one is dropped, the shares that are left are kept.
    pub fn rebase(&mut self, baseline: Counts, need: f64) {
        let onsets = self.onsets;
        *self = Self { onsets, ..Self::new(baseline, need) };
    }

    /// Takes what the service served.
    pub fn take(&mut self, counts: Counts, over: Duration) {
        if counts.requests <= 0.0 {
            return;
        }
        let start = self.onsets.spend(over);
        let (errors, successes) = (counts.errors, counts.requests - counts.errors);
        for cell in &mut self.cells {
            for ((wealth, error), success) in cell.wealth.iter_mut().zip(cell.error).zip(cell.success) {
                let gain = errors * error + successes * success;
                *wealth = ((*wealth + start) * gain.exp()).min(WEALTH_MAX);
            }
        }
    }

    /// Something moved that a fault could begin with.
    pub fn announce(&mut self) {
        self.onsets.announced = true;
    }

    /// The evidence: 1 in this many by chance at most, whatever the true baseline was.
    pub fn evidence(&self) -> f64 {
        let of = |cell: &Cell| cell.doubt * (cell.wealth.iter().sum::<f64>() / LOOKED_FOR as f64 + self.onsets.left);
        self.cells.iter().map(of).fold(self.beyond, f64::min)
    }
}
