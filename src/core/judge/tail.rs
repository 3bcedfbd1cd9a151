//! Tails of the binomial distribution, and what evidence a tail is worth. Only numbers; nothing here knows what is counted.

/// Natural logarithm of the gamma function for `x` > 0: Stirling's series after shifting `x` above 8, error below 1e-12.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 8.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    shift + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series
}

/// Natural logarithm of the chance that of `n` requests, each of which fails with chance `p`, at most `k` fail. Parts of
/// requests (a rate times a time gives such) are rounded to the side on which the tail is larger.
pub fn ln_at_most(k: f64, n: f64, p: f64) -> f64 {
    let (k, n) = (k.max(0.0).ceil(), n.max(0.0).floor());
    if p <= 0.0 || k >= n {
        return 0.0;
    }
    if p >= 1.0 {
        return f64::NEG_INFINITY;
    }
    let ln_choose = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
    let ln_first = ln_choose + k * p.ln() + (n - k) * (-p).ln_1p();
    // From the largest count down: each term is the one before times j (1-p) / ((n-j+1) p).
    let odds = (1.0 - p) / p;
    let (mut sum, mut term, mut j) = (1.0, 1.0, k);
    while j > 0.0 {
        term *= j / (n - j + 1.0) * odds;
        sum += term;
        j -= 1.0;
        if term < sum * 1e-15 || !sum.is_finite() {
            break;
        }
    }
    (ln_first + sum.ln()).min(0.0)
}

/// Turns a p-value into an e-value (a number whose mean is at most 1 where the hypothesis is true, so that it may be
/// multiplied with other evidence): the mean over κ of κ p^(κ-1), which is (1 - p + p ln p) / (p ln² p). Takes ln p, gives
/// ln e. Source: Vovk and Wang, "E-values: calibration, combination and applications", Annals of Statistics 49 (2021),
/// proposition 2.1 and equation (1), arXiv 1912.06116.
pub fn ln_evidence(ln_p: f64) -> f64 {
    let p = ln_p.exp();
    if p > 0.999 {
        // The limit at 1; the formula loses its digits there.
        return 0.5f64.ln();
    }
    if ln_p < -1e6 {
        return 1e6;
    }
    (1.0 - p + p * ln_p).ln() - ln_p - 2.0 * ln_p.abs().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same tail summed term by term from nothing.
    fn slow(k: u32, n: u32, p: f64) -> f64 {
        let (mut term, mut sum) = ((1.0 - p).powi(i32::try_from(n).unwrap()), 0.0);
        for j in 0..=k.min(n) {
            sum += term;
            term *= f64::from(n - j) / f64::from(j + 1) * p / (1.0 - p);
        }
        sum.min(1.0)
    }

    proptest! {
        #[test]
        fn the_tail_is_the_sum_of_its_terms(k in 0u32..60, n in 1u32..400, p in 0.001f64..0.6) {
            let (fast, slow) = (ln_at_most(f64::from(k), f64::from(n), p).exp(), slow(k, n, p));
            prop_assert!((fast - slow).abs() < 1e-9 * slow.max(1e-6), "{} {}", fast, slow);
        }

        #[test]
        fn evidence_falls_as_the_p_value_rises(a in 1e-9f64..1.0, b in 1e-9f64..1.0) {
            let (less, more) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(ln_evidence(less.ln()) >= ln_evidence(more.ln()) - 1e-6);
        }
    }

    #[test]
    fn evidence_has_a_mean_of_at_most_one() {
        // Over p-values spread evenly, on a grid that is fine near 0; the part below the grid is 1 / (1 - ln p).
        let mut mean = 1.0 / 50.0;
        for step in 0..500_000 {
            let (from, to) = ((-49.0 + f64::from(step) * 98e-6).exp(), (-49.0 + f64::from(step + 1) * 98e-6).exp());
            mean += (to - from) * ln_evidence(((from + to) / 2.0).ln()).exp();
        }
        assert!((0.95..=1.01).contains(&mean), "{mean}");
        assert_eq!(ln_evidence(0.0), 0.5f64.ln());
        assert!(ln_evidence(f64::NEG_INFINITY).is_finite());
    }

    #[test]
    fn tails_at_the_edges() {
        assert_eq!(ln_at_most(5.0, 5.0, 0.5), 0.0);
        assert_eq!(ln_at_most(0.0, 0.0, 0.5), 0.0);
        assert_eq!(ln_at_most(3.0, 10.0, 0.0), 0.0);
        assert_eq!(ln_at_most(3.0, 10.0, 1.0), f64::NEG_INFINITY);
        assert!((ln_at_most(0.0, 15_000.0, 1e-3) - 15_000.0 * (-1e-3f64).ln_1p()).abs() < 1e-6);
        assert!(ln_at_most(1e6, 1e9, 0.0011).is_finite());
    }
}
