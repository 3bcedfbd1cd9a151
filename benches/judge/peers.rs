//! The rule that Kayenta's Netflix judge uses on one metric, rebuilt from its description: a two-sided Mann-Whitney confidence
//! interval for the shift (asymptotic, with continuity and tie correction, as R's `wilcox.test` has it) at confidence 0.98; "High" when its
//! lower end is above a quarter of the Hodges-Lehmann estimate.
#![allow(dead_code)]

/// The normal quantile of 1 - 0.02 / 2.
const Z: f64 = 2.326_347_874_040_841;
const TOLERANCE: f64 = 0.25;

/// The standardised rank sum of `x - shift` against `y`, continuity-corrected.
fn statistic(x: &[f64], y: &[f64], shift: f64) -> f64 {
    let mut all: Vec<(f64, bool)> = x.iter().map(|v| (v - shift, true)).chain(y.iter().map(|v| (*v, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (n, m) = (x.len() as f64, y.len() as f64);
    let (mut ranks, mut ties, mut i) = (0.0, 0.0, 0);
    while i < all.len() {
        let mut j = i;
        while j < all.len() && all[j].0 == all[i].0 {
            j += 1;
        }
        let (count, rank) = ((j - i) as f64, (i + j + 1) as f64 / 2.0);
        ranks += rank * all[i..j].iter().filter(|v| v.1).count() as f64;
        ties += count.powi(3) - count;
        i = j;
    }
    let d = ranks - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let correction = if d == 0.0 { 0.0 } else { d.signum() * 0.5 };
    let variance = n * m / 12.0 * (n + m + 1.0 - ties / ((n + m) * (n + m - 1.0)));
    if variance <= 0.0 { 0.0 } else { (d - correction) / variance.sqrt() }
}

/// The estimate: the middle of where the statistic is 0, which is the median of all differences.
fn estimate(x: &[f64], y: &[f64]) -> f64 {
    (root(x, y, 0.0) + root(x, y, -1e-9)) / 2.0
}

/// Where the statistic crosses `z`, by halving: it falls as the shift rises.
fn root(x: &[f64], y: &[f64], z: f64) -> f64 {
    let min = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let max = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut low, mut high) = (min(x) - max(y), max(x) - min(y));
    if statistic(x, y, low) <= z {
        return low;
    }
    if statistic(x, y, high) >= z {
        return high;
    }
    for _ in 0..48 {
        let middle = (low + high) / 2.0;
        if statistic(x, y, middle) > z { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The interval at this normal quantile, and the estimate.
pub fn shift(experiment: &[f64], control: &[f64], z: f64) -> (f64, f64, f64) {
    (root(experiment, control, z), root(experiment, control, -z), estimate(experiment, control))
}

/// True when the rule calls the experiment too high.
pub fn kayenta_is_high(experiment: &[f64], control: &[f64]) -> bool {
    // Not even a shift of 0 is excluded: the lower end is not above 0, so not above a share of the estimate.
    if statistic(experiment, control, 0.0) <= Z {
        return false;
    }
    root(experiment, control, Z) > TOLERANCE * estimate(experiment, control).abs()
}
