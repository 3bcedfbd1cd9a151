//! A part of the guard's campaign (`benches/judge.rs` is the whole): few enough runs for a debug build, with limits that follow from the
//! binomial distribution. The seeds are fixed, so nothing flakes; the limits would hold for one in 10,000 of other seeds too.

#[path = "../../benches/judge/field.rs"]
mod field;
#[path = "../../benches/judge/peers.rs"]
mod peers;

use footplate::core::judge::Arms;

use self::field::{Onset, clean_train, fault};

/// The chance that of `n` runs at least `k` succeed, each with chance `p`.
fn at_least(k: u64, n: u64, p: f64) -> f64 {
    let choose = |j: u64| (0..j).map(|i| ((n - i) as f64 / (j - i) as f64).ln()).sum::<f64>();
    (k..=n).map(|j| (choose(j) + j as f64 * p.ln() + (n - j) as f64 * (1.0 - p).ln()).exp()).sum()
}

/// Chance that a limit is broken although what it stands for holds.
const FLAKE: f64 = 1e-4;

/// At most so many of `n` where one in a hundred is promised.
fn most_undone(n: u64) -> u64 {
    (0..=n).find(|k| at_least(k + 1, n, 0.01) < FLAKE).unwrap()
}

/// At least so many of `n` where 95 of a hundred are promised.
fn least_found(n: u64) -> u64 {
    n - (0..=n).find(|k| at_least(k + 1, n, 0.05) < FLAKE).unwrap()
}

#[test]
fn clean_trains_are_left_alone() {
    const TRAINS: u64 = 24;
    for arms in [Arms::Told, Arms::Estimated] {
        let runs: Vec<_> = (0..TRAINS).map(|seed| clean_train(seed, arms, 25.0, 0.01, false)).collect();
        let count = |of: &dyn Fn(&field::Run) -> bool| runs.iter().filter(|r| of(r)).count() as u64;
        let undone: Vec<_> = runs.iter().filter_map(|r| r.undone.as_deref()).collect();
        assert!(undone.len() as u64 <= most_undone(TRAINS), "{arms:?}: {undone:?}");
        assert_eq!(count(&|r| r.stuck), 0, "every gate passes in the end");
        // The limit says something: the bare rule breaks it on the same requests.
        let bare = count(&|r| r.bare);
        assert!(bare > most_undone(TRAINS), "the bare rule undid {bare} of {TRAINS}");
    }
}

#[test]
fn faults_are_found() {
    const RUNS: u64 = 40;
    // Told apart or not, before both arms had served 5,000 requests at 250 a second.
    for (base, bad) in [(0.002, 0.012), (0.01, 0.03)] {
        for arms in [Arms::Told, Arms::Estimated] {
            let found = (0..RUNS).map(|seed| fault(seed, arms, 250.0, base, bad, Onset::WithStep, 40.0, Some(5.0)));
            let found = found.filter(|f| f.ours.is_some_and(|t| t <= 40.0)).count() as u64;
            assert!(found >= least_found(RUNS), "{arms:?}, {base} -> {bad}: {found} of {RUNS}");
        }
    }
    // A large fault, within the minute, at a tenth of the traffic, and announced by nothing.
    let quick = (0..RUNS).map(|seed| fault(seed, Arms::Told, 25.0, 0.002, 0.1, Onset::Within, 60.0, None));
    let quick = quick.filter(|f| f.ours.is_some_and(|t| t <= 60.0) && !f.early).count() as u64;
    assert!(quick >= least_found(RUNS), "{quick} of {RUNS}");
}

#[test]
fn the_peers_rule_is_the_one_that_is_described() {
    // The reference case of Kayenta's own suite.
    let (low, high, estimate) = peers::shift(&[10.0, 20.0, 30.0, 40.0], &[1.0, 2.0, 3.0, 4.0], 1.959_963_984_540_054);
    assert!(
        (low - 6.0).abs() < 1e-6 && (high - 39.0).abs() < 1e-6 && (estimate - 22.5).abs() < 1e-6,
        "{low} {high} {estimate}"
    );
}
