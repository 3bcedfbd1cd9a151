//! Many runs: seeds, the Sieve recipe (each single fault at each position of reference trains), mutants, and making a failing
//! run smaller.

use std::collections::BTreeMap;

use crate::core::mutant::Mutant;
use crate::core::train::journal;
use crate::scenario::{Act, Fault, Mode, Order, Scenario};
use crate::world::{Outcome, Watch, World};

pub fn run(scenario: &Scenario, mutant: Option<Mutant>) -> Outcome {
    World::new(scenario, mutant, Watch::default()).run().0
}

/// Replays the journal of every tenure, and all of them one after the other: each must come to the state that the conductor
/// came to, to the last field. Gives how many tenures and lines there were.
pub fn replay(scenario: &Scenario) -> Result<(usize, usize), String> {
    let journals = World::new(scenario, None, Watch { journal: true, ..Watch::default() }).run().0.journals;
    let same = |lines: &[String], state: &str, which: &str| {
        let again = journal::end(lines).map_err(|why| format!("{which}: {why}"))?;
        let again = format!("{again:?}");
        let at = again.bytes().zip(state.bytes()).position(|(a, b)| a != b);
        let near = |of: &str| of[at.unwrap_or(0).saturating_sub(80)..].chars().take(160).collect::<String>();
        (again == state).then_some(()).ok_or_else(|| format!("{which}: {}\n    not {}", near(&again), near(state)))
    };
    let mut all = Vec::new();
    for (n, (lines, state)) in journals.iter().enumerate() {
        same(lines, state, &format!("seed {}, tenure {n}", scenario.seed))?;
        all.extend_from_slice(lines);
    }
    if let Some((_, last)) = journals.last() {
        same(&all, last, &format!("seed {}, all tenures", scenario.seed))?;
    }
    Ok((journals.len(), all.len()))
}

/// The number of an invariant that a violation names (`I7: …`).
pub fn invariant(violation: &str) -> u32 {
    violation[1..].split(':').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// What many seeds came to.
#[derive(Default, Debug)]
pub struct Sum {
    pub seeds: u64,
    pub events: u64,
    pub writes: u64,
    pub fewest: u64,
    pub violations: Vec<(u64, String)>,
    pub ends: BTreeMap<String, u64>,
}

/// Runs seeds from one number on, on so many threads.
pub fn seeds(from: u64, count: u64, threads: u64, mutant: Option<Mutant>) -> Sum {
    let parts: Vec<Sum> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|t| {
                scope.spawn(move || {
                    let mut sum = Sum { fewest: u64::MAX, ..Sum::default() };
                    for seed in (from + t..from + count).step_by(usize::try_from(threads).unwrap()) {
                        let scenario = Scenario::of(seed);
                        let outcome = run(&scenario, mutant);
                        sum.seeds += 1;
                        sum.events += outcome.events;
                        sum.writes += outcome.writes;
                        sum.fewest = sum.fewest.min(outcome.events);
                        let end =
                            outcome.ended.unwrap_or(if outcome.waits { "waits for a person" } else { "under way" });
                        *sum.ends.entry(format!("{:?}: {end}", scenario.mode)).or_insert(0) += 1;
                        sum.violations.extend(outcome.violation.map(|v| (seed, v)));
                    }
                    sum
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    let mut all = Sum { fewest: u64::MAX, ..Sum::default() };
    for part in parts {
        all.seeds += part.seeds;
        all.events += part.events;
        all.writes += part.writes;
        all.fewest = all.fewest.min(part.fewest);
        all.violations.extend(part.violations);
        for (end, n) in part.ends {
            *all.ends.entry(end).or_insert(0) += n;
        }
    }
    all.violations.sort();
    all
}

/// What is said of a failing seed, with the command that makes it smaller and tells it.
pub fn failed(seed: u64, mutant: Option<Mutant>, what: &str) -> String {
    let mutant = mutant.map_or_else(String::new, |m| format!(" {m:?}"));
    format!("{what}\n    cargo run --release --manifest-path tests/campaign/Cargo.toml -- shrink {seed}{mutant}")
}

/// Leaves out of a failing scenario whatever is not needed for the same invariant to be violated.
pub fn shrink(scenario: &Scenario, mutant: Option<Mutant>) -> Option<(Scenario, String)> {
    let first = run(scenario, mutant).violation?;
    let wanted = invariant(&first);
    let fails = |s: &Scenario| run(s, mutant).violation.filter(|v| invariant(v) == wanted);
    let mut best = scenario.clone();
    let mut says = first;
    let mut size = best.script.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut smaller = false;
        while at < best.script.len() {
            let mut tried = best.clone();
            let end = (at + size).min(tried.script.len());
            tried.script.drain(at..end);
            if let Some(v) = fails(&tried) {
                best = tried;
                says = v;
                smaller = true;
            } else {
                at += size;
            }
        }
        if size == 1 && !smaller {
            break;
        }
        if !smaller {
            size = size.div_ceil(2).max(1);
        }
    }
    // Shorter faults, fewer conductors, no flags, no migration: whatever does not matter.
    for n in 0..best.script.len() {
        if let (at, Act::Fault(fault, lasts)) = best.script[n] {
            for shorter in [100, 1_000, 5_000, 10_000] {
                if shorter < lasts {
                    let mut tried = best.clone();
                    tried.script[n] = (at, Act::Fault(fault, shorter));
                    if let Some(v) = fails(&tried) {
                        best = tried;
                        says = v;
                        break;
                    }
                }
            }
        }
    }
    let simpler: [fn(&mut Scenario); 4] =
        [|s| s.conductors = 1, |s| s.flags.clear(), |s| s.migration = false, |s| s.policies.clear()];
    for simplify in simpler {
        let mut tried = best.clone();
        simplify(&mut tried);
        // A fault of a process that is not there any more cannot stay.
        let there = |act: &Act| match act {
            Act::Fault(
                Fault::Stale(p)
                | Fault::Crash(p)
                | Fault::Deaf(p)
                | Fault::Cut(p)
                | Fault::AnswersLost(p)
                | Fault::WritesLost(p)
                | Fault::WritesSlow(p)
                | Fault::Frozen(p, _)
                | Fault::Wall(p)
                | Fault::NoLease(p),
                _,
            ) => *p < tried.conductors,
            _ => true,
        };
        let script: Vec<_> = tried.script.iter().filter(|(_, act)| there(act)).copied().collect();
        tried.script = script;
        if let Some(v) = fails(&tried) {
            best = tried;
            says = v;
        }
    }
    Some((best, says))
}

/// Which invariant must find which defect. More than one number: whichever sees it first.
pub fn killers(mutant: Mutant) -> &'static [u32] {
    match mutant {
        Mutant::WaveBeforeBake | Mutant::BakeNotWaited => &[1],
        Mutant::VerdictNotNeeded | Mutant::NoDataCounts | Mutant::StaleVerdictCounts => &[7],
        Mutant::ProofNotNeeded => &[2],
        Mutant::EpochNotTested => &[3],
        Mutant::HoldNotTested => &[4],
        Mutant::UndoNotTestedByHold => &[3],
        Mutant::EffectBeforeIntent => &[4],
        Mutant::UndoInAnyOrder => &[6],
        Mutant::FlagsNotTakenBack => &[11],
        Mutant::StepNotTested => &[7, 8],
        Mutant::RestoreOverOthers => &[13],
        Mutant::RolledBackTooEarly => &[11],
        Mutant::OutsideNotSeen | Mutant::FightNotAlarmed => &[9],
        Mutant::UndoAsksForLease | Mutant::HoldAsksForLease => &[5],
        Mutant::NeverGivesUp | Mutant::AbandonedForEver => &[10],
        Mutant::ClaimsEarly | Mutant::NeverDemotes | Mutant::WritesWithoutVersion | Mutant::EpochStays => &[3],
        Mutant::OrderWithoutEpoch => &[3],
        Mutant::DownWithoutOrder => &[6],
        Mutant::FailElsewhereIgnored => &[15],
    }
}

/// The first seed that kills a mutant by the invariant that it names, and how many others it tripped before.
pub fn kill(mutant: Mutant, seeds_max: u64) -> (Option<(u64, String)>, BTreeMap<u32, u64>) {
    let mut others = BTreeMap::new();
    for seed in 1..=seeds_max {
        let scenario = Scenario::of(seed);
        if let Some(violation) = run(&scenario, Some(mutant)).violation {
            if killers(mutant).contains(&invariant(&violation)) {
                return (Some((seed, violation)), others);
            }
            *others.entry(invariant(&violation)).or_insert(0) += 1;
        }
    }
    (None, others)
}

/// One difference that a single fault made.
#[derive(Debug)]
pub struct Difference {
    pub train: u64,
    pub at: u64,
    pub fault: Fault,
    pub explained: Option<&'static str>,
    pub what: String,
}

/// What the sweep came to.
#[derive(Default, Debug)]
pub struct Sweep {
    pub positions: u64,
    pub runs: u64,
    pub events: u64,
    pub violations: Vec<(u64, u64, Fault, String)>,
    pub differences: Vec<Difference>,
}

/// The same train with one fault, right before what happened at this time, so that it hits that.
pub fn with(scenario: &Scenario, at: u64, fault: Fault, lasts: u64) -> Scenario {
    let mut with = scenario.clone();
    with.script.push((at.saturating_sub(1), Act::Fault(fault, lasts)));
    with.quiet_from = at + lasts + 2_000;
    with
}

/// Every single fault at every position of a reference train: the end must be that of the clean run.
pub fn sweep(train: u64, stride: usize) -> Sweep {
    let scenario = reference(train);
    let (clean, positions) = World::new(&scenario, None, Watch { positions: true, ..Watch::default() }).run();
    let mut sum = Sweep::default();
    if let Some(v) = &clean.violation {
        sum.violations.push((train, 0, Fault::Down, v.clone()));
        return sum;
    }
    let mut times: Vec<u64> = positions.iter().filter(|(_, what)| *what != "read").map(|(at, _)| *at).collect();
    times.dedup();
    // Before the captain's start there is no train; a start that does not reach the server is refused to the captain.
    times.retain(|at| *at > 1_100);
    for at in times.into_iter().step_by(stride) {
        sum.positions += 1;
        for (fault, lasts) in singles(&scenario) {
            let outcome = run(&with(&scenario, at, fault, lasts), None);
            sum.runs += 1;
            sum.events += outcome.events;
            if let Some(v) = outcome.violation {
                sum.violations.push((train, at, fault, v));
            } else if outcome.end != clean.end {
                let explained = explain(&fault, &clean, &outcome);
                let what = outcome.end.iter().zip(&clean.end).find(|(a, b)| a != b);
                let what = what.map_or_else(String::new, |(a, b)| format!("{a} instead of {b}"));
                sum.differences.push(Difference { train, at, fault, explained, what });
            }
        }
    }
    sum
}

/// A reference train: three in four clean, the others with a bad service, undone by themselves; some started by a captain
/// who undoes it.
pub fn reference(train: u64) -> Scenario {
    let mut scenario = Scenario::clean(1_000 + train);
    scenario.mode = Mode::Liveness;
    scenario.stay = false;
    if train % 4 == 3 {
        let s = scenario.services.len() / 2;
        scenario.services[s].truth =
            if train % 8 == 7 { crate::cluster::Truth::Elsewhere } else { crate::cluster::Truth::Errors };
        scenario.services[s].unchanged = false;
        scenario.services[s].deployment = false;
    }
    if train % 6 == 5 {
        scenario.script.push((40_000, Act::Order(Order::UndoAll)));
    }
    scenario
}

/// Each fault that can hit a train at one point, for as long as it takes to hurt.
pub fn singles(scenario: &Scenario) -> Vec<(Fault, u64)> {
    let mut all = Vec::new();
    for p in 0..scenario.conductors {
        all.extend([
            (Fault::Stale(p), 4_000),
            (Fault::Crash(p), 3_000),
            (Fault::Deaf(p), 4_000),
            (Fault::Cut(p), 4_000),
            (Fault::AnswersLost(p), 500),
            (Fault::WritesLost(p), 500),
            (Fault::WritesSlow(p), 500),
            (Fault::Frozen(p, true), 30_000),
            (Fault::NoLease(p), 15_000),
            (Fault::Wall(p), 10_000),
        ]);
    }
    all.extend([
        (Fault::Conflicts, 1_500),
        (Fault::Down, 4_000),
        (Fault::NoMetrics, 8_000),
        (Fault::LateVerdicts, 10_000),
        (Fault::NoController, 5_000),
        (Fault::LeaseGone, 100),
        (Fault::StatusWiped, 100),
    ]);
    all
}

/// A difference that is right: what the fault took away cannot be had back.
fn explain(fault: &Fault, clean: &Outcome, outcome: &Outcome) -> Option<&'static str> {
    let marks = |o: &Outcome| -> Vec<String> { o.end.iter().map(|l| l.replace("spec 1-1", "spec 1-0")).collect() };
    if marks(clean) == marks(outcome) {
        return Some("the same version under a mark: a deploy that was tried twice");
    }
    match (fault, outcome.ended) {
        (Fault::StatusWiped, Some("completed" | "rolled-back")) => {
            Some("the status that said how far it was is gone; it ended from what is there")
        }
        _ => None,
    }
}
