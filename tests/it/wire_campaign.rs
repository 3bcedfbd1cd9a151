//! Tier 2 of the simulation campaign: the engine itself, conductors and a cockpit, through the real client over the in-process API
//! server, on virtual time. One seed decides the release, what is wrong with it, what goes wrong on whose wire, who dies when,
//! what a captain orders and what others do behind everybody's back. Afterwards an oracle reads what was written to the
//! server, and nothing else. Tier 1 (`tests/campaign/`) does the same to the pure core, a thousand times as fast.

mod hands;
mod run;
mod scenario;
mod stage;
mod tap;
mod wire;

use self::scenario::Scenario;

#[test]
fn one() {
    let seed = std::env::var("SEED").map_or(1, |s| s.parse().unwrap());
    let scenario =
        if std::env::var("CLEAN").is_ok() { Scenario::clean(seed) } else { Scenario::of(seed) };
    println!("{scenario:#?}");
    let began = std::time::Instant::now();
    let run = run::run(&scenario);
    for line in &run.talk {
        println!("{line}");
    }
    println!("{:?} {} requests {} faults {} writes {} ms, {:?}", run.end, run.requests, run.faults, run.writes.len(), run.lasted, began.elapsed());
}
