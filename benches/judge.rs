//! The campaign of the automatic guard (`core/judge.rs`): how many clean trains it undoes, how surely and how soon it finds
//! faults of every size, beside a bare "twice the baseline" rule and Kayenta's Mann-Whitney rule on the same requests, and
//! what it costs. Seeded: the same numbers give the same table.
//!
//! `cargo bench --bench judge [-- clean|power|curve|cost] [TRAINS]`
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "judge/field.rs"]
mod field;
#[path = "judge/peers.rs"]
mod peers;

use std::time::{Duration, Instant};

use field::{Dice, Found, Onset, Run, Service, TICK, clean_train, fault};
use footplate::core::judge::{Arms, News};

const MODES: [(Arms, &str); 2] = [(Arms::Told, "told apart"), (Arms::Estimated, "estimated")];
const RATES: [f64; 2] = [25.0, 250.0];
const BASES: [f64; 2] = [0.002, 0.01];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let trains = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(2000u64);
    let wanted = |name: &str| {
        let named: Vec<&String> = arguments.iter().filter(|a| a.parse::<u64>().is_err()).collect();
        named.is_empty() || named.iter().any(|a| *a == name)
    };
    if wanted("clean") {
        clean(trains);
    }
    if wanted("power") {
        power(trains);
    }
    if wanted("curve") {
        curve((trains / 4).max(100));
    }
    if wanted("cost") {
        cost();
    }
}

/// Runs all seeds on two threads; the order of the results is that of the seeds.
fn all<T: Send>(seeds: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let half = seeds / 2;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| (half..seeds).map(&one).collect::<Vec<_>>());
        let mut out: Vec<T> = (0..half).map(&one).collect();
        out.extend(other.join().unwrap());
        out
    })
}

fn percent(hits: usize, of: usize) -> String {
    format!("{:5.2} %", hits as f64 * 100.0 / of.max(1) as f64)
}

fn clean(trains: u64) {
    println!("Clean trains of ten services, {trains} each; undone by any rule looked at every 5 s (limit 1 %)");
    println!(
        "requests/s  errors  arms        undone   stuck  waited/gate  looks/train | bare 2x  Mann-Whitney every 5 s, at steps"
    );
    let mut all_looks = 0u64;
    for (arms, name) in MODES {
        for rps in RATES {
            for base in BASES {
                let started = Instant::now();
                // The Mann-Whitney rule is slow and the same for both kinds of arms.
                let runs: Vec<Run> = all(trains, |seed| clean_train(seed, arms, rps, base, arms == Arms::Told));
                let count = |of: &dyn Fn(&Run) -> bool| runs.iter().filter(|r| of(r)).count();
                let undone = count(&|r| r.undone.is_some());
                let gates: u32 = runs.iter().map(|r| r.gates).sum();
                let waited: Duration = runs.iter().map(|r| r.waited).sum();
                let looks: u64 = runs.iter().map(|r| r.evaluations).sum();
                all_looks += looks;
                let others = if arms == Arms::Told {
                    format!(
                        "{}  {}  {}",
                        percent(count(&|r| r.bare), runs.len()),
                        percent(count(&|r| r.kayenta_peeking), runs.len()),
                        percent(count(&|r| r.kayenta_at_steps), runs.len())
                    )
                } else {
                    String::new()
                };
                println!(
                    "{rps:>10}  {:>4.1} %  {name:<10}  {}  {:>5}  {:>8.1} s  {:>11} | {others}   [{:.0} s]",
                    base * 100.0,
                    percent(undone, runs.len()),
                    count(&|r| r.stuck),
                    waited.as_secs_f64() / f64::from(gates.max(1)),
                    looks / trains,
                    started.elapsed().as_secs_f64()
                );
                let mut whys: Vec<&str> = runs.iter().filter_map(|r| r.undone.as_deref()).collect();
                whys.truncate(3);
                whys.iter().for_each(|why| println!("            undone: {why}"));
            }
        }
    }
    println!("{all_looks} evaluations in all\n");
}

fn found_within(found: &[Found], of: &dyn Fn(&Found) -> Option<f64>, seconds: f64) -> usize {
    found.iter().filter(|f| of(f).is_some_and(|t| t <= seconds)).count()
}

fn power(runs: u64) {
    println!(
        "Power: found before both arms had served 5,000 requests, from the step to 50 % on, {runs} runs (limit 95 %)"
    );
    println!("requests/s  errors          arms        found    median  | bare 2x  Mann-Whitney every 5 s");
    for (base, bad) in [(0.002, 0.012), (0.01, 0.03)] {
        for rps in RATES {
            for (arms, name) in MODES {
                let seconds = 5000.0 / (rps / 2.0);
                let found = all(runs, |seed| fault(seed, arms, rps, base, bad, Onset::WithStep, seconds, Some(5.0)));
                println!(
                    "{rps:>10}  {:.1} -> {:.1} %  {name:<10}  {}  {:>6}  | {}  {}",
                    base * 100.0,
                    bad * 100.0,
                    percent(found_within(&found, &|f| f.ours, seconds), found.len()),
                    quantile(&found, &|f| f.ours, 0.5),
                    percent(found_within(&found, &|f| f.bare, seconds), found.len()),
                    percent(found_within(&found, &|f| f.kayenta, seconds), found.len())
                );
            }
        }
    }
    println!();
}

fn quantile(found: &[Found], of: &dyn Fn(&Found) -> Option<f64>, q: f64) -> String {
    let mut times: Vec<f64> = found.iter().map(|f| of(f).unwrap_or(f64::INFINITY)).collect();
    times.sort_by(f64::total_cmp);
    let t = times[((times.len() as f64 * q) as usize).min(times.len() - 1)];
    if t.is_finite() { format!("{t:.0} s") } else { "-".to_owned() }
}

/// The least mean time in which anything could know, at the same chance of a false alarm, the baseline known exactly and the new revision's
/// series seen alone (Wald 1945): ln(1/alpha) over the relative entropy that a second of traffic brings.
fn floor(rps: f64, base: f64, bad: f64) -> f64 {
    let good = if bad < 1.0 { (1.0 - bad) * ((1.0 - bad) / (1.0 - base)).ln() } else { 0.0 };
    let each = bad * (bad / base).ln() + good;
    (3.0 * 10.0 / 0.01f64).ln() / (rps * 0.5 * each)
}

fn curve(runs: u64) {
    println!(
        "Finding a fault at weight 50 %: seconds from its first request to the verdict, {runs} runs a line, horizon 600 s."
    );
    println!(
        "floor: the least mean time of any test with this alpha, every request seen at once. Samples and looks every 5 s."
    );
    for (arms, name) in MODES {
        for onset in [Onset::WithStep, Onset::Within] {
            let says = if onset == Onset::WithStep { "begins with the step" } else { "begins in mid-step" };
            println!("\n{name}, {says}");
            println!(
                "requests/s  errors            floor   median     90 %   <=60 s    <=300 s | bare 2x <=60 s  median | Mann-Whitney <=60 s  median"
            );
            for rps in RATES {
                for base in BASES {
                    for bad in [base + 0.005, base + 0.01, base + 0.02, base + 0.03, base + 0.05, base + 0.1, 0.3, 1.0]
                    {
                        let found = all(runs, |seed| fault(seed, arms, rps, base, bad, onset, 600.0, None));
                        let early = found.iter().filter(|f| f.early).count();
                        println!(
                            "{rps:>10}  {:>4.1} -> {:>5.1} %  {:>5.0} s  {:>6}  {:>7}  {}  {} | {}  {:>6} | {}  {:>6}{}",
                            base * 100.0,
                            bad * 100.0,
                            floor(rps, base, bad),
                            quantile(&found, &|f| f.ours, 0.5),
                            quantile(&found, &|f| f.ours, 0.9),
                            percent(found_within(&found, &|f| f.ours, 60.0), found.len()),
                            percent(found_within(&found, &|f| f.ours, 300.0), found.len()),
                            percent(found_within(&found, &|f| f.bare, 60.0), found.len()),
                            quantile(&found, &|f| f.bare, 0.5),
                            percent(found_within(&found, &|f| f.kayenta, 60.0), found.len()),
                            quantile(&found, &|f| f.kayenta, 0.5),
                            if early > 0 { format!("  ({early} before)") } else { String::new() }
                        );
                    }
                }
            }
        }
    }
    println!();
}

/// What sixty judges cost every five seconds, and whether they grow.
fn cost() {
    let mut dice = Dice::new(1);
    let mut services: Vec<Service> = (0..60).map(|_| Service::new(Arms::Told, 250.0, 0.002, 60)).collect();
    for service in &mut services {
        service.warm_up(&mut dice);
        service.judge.hear(service.at, News::Deployed);
        service.set_weight(0.5);
    }
    let mut rounds = Vec::new();
    let (mut sampling, mut resident) = (Duration::ZERO, [0u64; 2]);
    const ROUNDS: usize = 4000;
    for round in 0..ROUNDS {
        let started = Instant::now();
        services.iter_mut().for_each(|s| s.tick(&mut dice, 5.0));
        sampling += started.elapsed();
        let started = Instant::now();
        let mut n = 0;
        for service in &mut services {
            n += service.judge.judge(service.at).why().len();
        }
        rounds.push(started.elapsed());
        assert!(n > 0);
        if round == ROUNDS / 10 {
            resident[0] = resident_kib();
        }
    }
    resident[1] = resident_kib();
    rounds.sort_unstable();
    println!("Cost: 60 services, {ROUNDS} rounds of {} s", TICK.as_secs());
    println!("one round of 60 verdicts: median {:?}, 99 % {:?}", rounds[ROUNDS / 2], rounds[ROUNDS * 99 / 100]);
    println!("one round of 60 samples, drawing the traffic included: mean {:?}", sampling / ROUNDS as u32);
    println!("memory of the process after a tenth and at the end: {} and {} KiB", resident[0], resident[1]);
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}
