//! Tier 2 of the simulation campaign: the engine itself, conductors and a cockpit, through the real client over the in-process API
//! server, on virtual time. One seed decides the release, what is wrong with it, what goes wrong on whose wire, who dies when,
//! what a captain orders and what others do behind everybody's back. Afterwards an oracle reads what was written to the
//! server, and nothing else. Tier 1 (`tests/campaign/`) does the same to the pure core, a thousand times as fast.

mod facts;
mod found;
mod hands;
mod oracle;
mod proof;
mod run;
mod scenario;
mod stage;
mod tap;
mod wire;

use std::collections::BTreeMap;

use self::run::End;
use self::scenario::Scenario;
use self::tap::Write;

/// Seeds one after another, from a number on; what failed, with the command that plays it again.
fn seeds(first: u64, count: u64, told: bool) -> Vec<String> {
    let began = std::time::Instant::now();
    let (mut failed, mut ends) = (Vec::new(), BTreeMap::new());
    let (mut requests, mut faults, mut writes, mut lasted) = (0, 0, 0, 0);
    for seed in first..first + count {
        let scenario = Scenario::of(seed);
        let run = run::run(&scenario);
        let found = oracle::judge(&scenario, &run);
        if told {
            println!("{scenario:#?}");
            run.talk.iter().for_each(|line| println!("{line}"));
        }
        requests += run.requests;
        faults += run.faults;
        writes += run.writes.len();
        lasted += run.lasted;
        let end = match &run.end {
            End::Result(how) => how.clone(),
            End::Person(_) => "waits for a person".to_owned(),
            End::UnderWay => "under way".to_owned(),
        };
        let wrong: Vec<String> = found.iter().map(|v| format!("I{}: {}", v.number, v.says)).collect();
        let needs = match &run.end {
            End::Person(needs) => format!("({}) ", needs.join("; ")),
            _ => String::new(),
        };
        println!(
            "seed {seed}: {end} {needs}of {:?}, {} s, {} requests (most {} a second), {} faults {}",
            scenario.cause,
            run.lasted / 1000,
            run.requests,
            run.most.0,
            run.faults,
            wrong.join("; ")
        );
        *ends.entry(end).or_insert(0_u64) += 1;
        failed.extend(wrong.into_iter().map(|says| {
            format!("seed {seed}: {says}\n    FIRST={seed} COUNT=1 TELL=1 cargo test --release --test it wire_campaign::by_command -- --ignored --nocapture")
        }));
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{count} seeds from {first} in {took:.1} s: {requests} requests ({:.0}/s), {faults} faults injected, {writes} writes, {} s of the cluster's time; ends {ends:?}; {} violations",
        requests as f64 / took,
        lasted / 1000,
        failed.len(),
    );
    failed
}

fn number(key: &str, otherwise: u64) -> u64 {
    std::env::var(key).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Seeds that show most for their time; all the others by command.
#[test]
fn a_part_of_it() {
    let failed = seeds(1, 6, false);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn one_seed_is_one_run() {
    let scenario = Scenario::of(3);
    let [first, second] = [(); 2].map(|()| run::run(&scenario));
    for (one, other) in first.writes.iter().zip(&second.writes) {
        let told = |w: &Write| format!("{:?} {} {} {} {}", w.who, w.sent, w.landed, w.name, w.after);
        assert_eq!(told(one), told(other));
    }
    assert_eq!((first.writes.len(), first.requests), (second.writes.len(), second.requests));
    assert_eq!(first.talk, second.talk);
}

#[test]
#[ignore = "takes minutes, optimised: cargo test --release --test it wire_campaign::by_command -- --ignored --nocapture"]
fn by_command() {
    let failed = seeds(number("FIRST", 1), number("COUNT", 200), std::env::var("TELL").is_ok());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
