//! The simulation campaign by command: `cargo run --release --manifest-path tests/campaign/Cargo.toml -- help`.
#![allow(clippy::unwrap_used, clippy::panic)]

/// The rooms of the core that the campaign drives, taken by path, so that it builds without the rest of the program.
#[allow(dead_code, unused, missing_docs)]
#[path = "../../src/core"]
mod core {
    pub mod confirm;
    pub mod effect;
    pub mod elector;
    pub mod mutant;
    pub mod object;
    pub mod text;
    pub mod train;
    pub mod verdict;
    pub mod verified;
}
mod campaign;
mod cluster;
mod oracle;
mod rng;
mod scenario;
mod world;

use core::mutant::Mutant;
use scenario::Scenario;
use world::{Watch, World};

const HELP: &str = "\
campaign seeds FROM COUNT [THREADS [MUTANT]]  runs seeds; a failing one prints its command
campaign seed N [MUTANT]              runs one seed and tells what happens
campaign shrink N [MUTANT]            leaves out what a failing seed does not need, then tells it
campaign reference N                  tells one reference train of the sweep
campaign single TRAIN AT FAULT        tells a reference train with one fault, as the sweep names it
campaign sweep TRAINS [STRIDE]        every single fault at every (STRIDEth) position of so many reference trains
campaign replay FROM COUNT            replays the journals of so many seeds, and of 12 reference trains
campaign mutants [SEEDS]              every defect must be found by the invariant that it names
campaign ci                           what .ci/run asks for: all mutants, 12 trains at every third position, journals, 20,000 seeds";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default: u64| args.get(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let named = |n: usize| args.get(n).and_then(|name| Mutant::ALL.into_iter().find(|m| format!("{m:?}") == *name));
    let mutant = || named(2);
    let good = match args.first().map(String::as_str) {
        Some("seeds") => seeds(number(1, 1), number(2, 1_000), number(3, 2), named(4)),
        Some("seed") => tell(&Scenario::of(number(1, 1)), mutant()),
        Some("reference") => tell(&campaign::reference(number(1, 1)), None),
        Some("single") => single(number(1, 0), number(2, 0), &args[3..].concat()),
        Some("shrink") => shrink(number(1, 1), mutant()),
        Some("sweep") => sweep(number(1, 12), usize::try_from(number(2, 1)).unwrap()),
        Some("replay") => replay(number(1, 1), number(2, 200)),
        Some("mutants") => mutants(number(1, 5_000)),
        Some("ci") => {
            let all = [mutants(6_000), sweep(12, 3), replay(1, 200), seeds(1, 20_000, 2, None)];
            all.into_iter().all(|good| good)
        }
        _ => {
            println!("{HELP}");
            true
        }
    };
    if !good {
        std::process::exit(1);
    }
}

fn tell(scenario: &Scenario, mutant: Option<Mutant>) -> bool {
    let (outcome, _) = World::new(scenario, mutant, Watch { trace: true, ..Watch::default() }).run();
    for line in &outcome.trace {
        println!("{line}");
    }
    for line in &outcome.end {
        println!("{line}");
    }
    println!("{:?}, {} events, {:?}", outcome.ended, outcome.events, outcome.violation);
    outcome.violation.is_none()
}

fn seeds(from: u64, count: u64, threads: u64, mutant: Option<Mutant>) -> bool {
    let begun = std::time::Instant::now();
    let sum = campaign::seeds(from, count, threads, mutant);
    let took = begun.elapsed().as_secs_f64();
    for (seed, what) in sum.violations.iter().take(30) {
        println!("{}", campaign::failed(*seed, mutant, what));
    }
    println!(
        "{} seeds, {} events ({} on average, fewest {}), {} writes landed, {} violations, {took:.1} s, {:.0} events/s on {threads} threads",
        sum.seeds,
        sum.events,
        sum.events / sum.seeds.max(1),
        sum.fewest,
        sum.writes,
        sum.violations.len(),
        sum.events as f64 / took
    );
    for (end, n) in &sum.ends {
        println!("    {n:>7} {end}");
    }
    sum.violations.is_empty()
}

fn single(train: u64, at: u64, fault: &str) -> bool {
    let scenario = campaign::reference(train);
    let bare = |text: &str| text.replace(' ', "");
    let Some((fault, lasts)) =
        campaign::singles(&scenario).into_iter().find(|(f, _)| bare(&format!("{f:?}")) == bare(fault))
    else {
        println!("train {train} knows {:?}", campaign::singles(&scenario));
        return false;
    };
    tell(&campaign::with(&scenario, at, fault, lasts), None)
}

fn shrink(seed: u64, mutant: Option<Mutant>) -> bool {
    let scenario = Scenario::of(seed);
    let Some((small, _)) = campaign::shrink(&scenario, mutant) else {
        println!("seed {seed} fails in nothing");
        return true;
    };
    tell(&small, mutant);
    println!("{} of {} acts are left:", small.script.len(), scenario.script.len());
    for (at, act) in &small.script {
        println!("    {at:>7} ms {act:?}");
    }
    false
}

fn sweep(trains: u64, stride: usize) -> bool {
    let begun = std::time::Instant::now();
    let sums: Vec<campaign::Sweep> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..2)
            .map(|t| {
                scope.spawn(move || (t..trains).step_by(2).map(|n| campaign::sweep(n, stride)).collect::<Vec<_>>())
            })
            .collect();
        handles.into_iter().flat_map(|h| h.join().unwrap()).collect()
    });
    let took = begun.elapsed().as_secs_f64();
    let (mut positions, mut runs, mut events, mut bad, mut explained) = (0, 0, 0, 0, std::collections::BTreeMap::new());
    for sum in &sums {
        positions += sum.positions;
        runs += sum.runs;
        events += sum.events;
        for (train, at, fault, what) in &sum.violations {
            bad += 1;
            if bad < 30 {
                println!("train {train}, {fault:?} at {at} ms: {what}");
            }
        }
        for d in &sum.differences {
            match d.explained {
                Some(why) => *explained.entry(why).or_insert(0) += 1,
                None => {
                    bad += 1;
                    if bad < 30 {
                        println!("train {}, {:?} at {} ms: {}", d.train, d.fault, d.at, d.what);
                    }
                }
            }
        }
    }
    println!("{trains} trains, {positions} positions, {runs} runs, {events} events, {bad} unexplained, {took:.1} s");
    for (why, n) in explained {
        println!("    {n:>7} differ: {why}");
    }
    bad == 0
}

fn replay(from: u64, count: u64) -> bool {
    let (mut tenures, mut lines, mut bad) = (0, 0, 0);
    for scenario in (from..from + count).map(Scenario::of).chain((0..12).map(campaign::reference)) {
        match campaign::replay(&scenario) {
            Ok((t, l)) => {
                tenures += t;
                lines += l;
            }
            Err(why) => {
                bad += 1;
                println!("{why}");
            }
        }
    }
    println!("{} trains, {tenures} tenures, {lines} lines replayed, {bad} came to another state", count + 12);
    bad == 0
}

fn mutants(seeds: u64) -> bool {
    let begun = std::time::Instant::now();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found: Vec<(Mutant, _)> = std::thread::scope(|scope| {
        let work = || {
            let mut found = Vec::new();
            loop {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(mutant) = Mutant::ALL.get(n) else { return found };
                found.push((*mutant, campaign::kill(*mutant, seeds)));
            }
        };
        let handles: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        handles.into_iter().flat_map(|h| h.join().unwrap()).collect()
    });
    let mut alive = 0;
    for (mutant, (killed, others)) in &found {
        match killed {
            Some((seed, what)) => println!("killed  {mutant:?} by seed {seed}: {what}"),
            None => {
                alive += 1;
                println!("ALIVE   {mutant:?} after {seeds} seeds (other invariants saw {others:?})");
            }
        }
    }
    println!("{} of {} mutants killed, {:.1} s", found.len() - alive, found.len(), begun.elapsed().as_secs_f64());
    alive == 0
}
