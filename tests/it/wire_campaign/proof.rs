//! Proof that the oracle can fail: the history of a good run, made bad in one way for each invariant. The core's own defects
//! (`core::mutant`) cannot be switched on behind a wire: what a plan would say of them is not written into a Release.

use serde_json::{Value, json};

use super::facts::{Forward, forward, is_pinned};
use super::oracle::judge;
use super::run::{End, Run, run};
use super::scenario::{Act, Cause, Kind, Scenario, Service};
use super::tap::{Who, Write};

/// Two services, one built on the other, and a step that the conductor lets go.
pub fn release() -> Scenario {
    let service = |name, needs: &[usize], steps: &[(u8, Option<u64>)]| Service {
        name,
        kind: Kind::Routed,
        needs: needs.to_vec(),
        wave: needs.len(),
        steps: steps.to_vec(),
    };
    Scenario {
        services: vec![service("ledger", &[], &[(50, None)]), service("billing", &[0], &[(50, Some(5))])],
        waves: 2,
        flag: true,
        ..Scenario::clean(1)
    }
}

/// Where a write stands in the history.
fn at(run: &Run, what: impl Fn(&Write) -> bool) -> usize {
    run.writes.iter().position(what).expect("the good run has it")
}

fn goes(run: &Run, name: &'static str, kind: Forward) -> usize {
    at(run, |w| w.name == name && forward(w, &run.flags["spec"]) == Some(kind))
}

/// An order that stands in the Release from this write on.
fn ordered(run: &mut Run, from: usize, want: &str) {
    let order = json!({"id": "77", "who": "ana", "want": want});
    let from = from + run.writes[from..].iter().position(|w| w.kind == "releases").unwrap();
    for write in run.writes[from..].iter_mut().filter(|w| w.kind == "releases") {
        write.after["spec"]["intents"].as_array_mut().unwrap().push(order.clone());
    }
}

fn result(run: &mut Run, says: &str) {
    for write in run.writes.iter_mut().filter(|w| w.after.pointer("/status/result").is_some()) {
        write.after["status"]["result"] = json!(says);
    }
}

type Bad = fn(&mut Scenario, &mut Run);

/// What is done to the history, and which invariant must find it.
const BAD: [(u32, &str, Bad); 27] = [
    (1, "the second wave before the first is through", |_, run| {
        let (first, second) = (goes(run, "ledger", Forward::Deploy), goes(run, "billing", Forward::Deploy));
        let early = run.writes.remove(second);
        run.writes.insert(first + 1, early);
    }),
    (1, "the second wave before the bake of the first", |_, run| {
        let second = goes(run, "billing", Forward::Deploy);
        run.writes[second].sent -= 18_000;
    }),
    (1, "a flag before all are through", |_, run| {
        let (flag, second) = (goes(run, "flags", Forward::Flag), goes(run, "billing", Forward::Deploy));
        let early = run.writes.remove(flag);
        run.writes.insert(second, early);
    }),
    (3, "a cockpit moves something forward", |_, run| {
        let second = goes(run, "billing", Forward::Deploy);
        run.writes[second].who = Who::Cockpit;
    }),
    (3, "another conductor writes under this one's epoch", |_, run| {
        let second = goes(run, "billing", Forward::Deploy);
        run.writes[second].who = Who::Conductor("conductor-2".to_owned());
    }),
    (3, "an old epoch after a new one", |_, run| {
        let first = goes(run, "ledger", Forward::Deploy);
        run.writes[first].who = Who::Conductor("conductor-2".to_owned());
        run.writes[first].before["metadata"]["annotations"]["footplate.dev/epoch"] = json!("9/conductor-2");
    }),
    (3, "the Lease is taken from who has just renewed it", |_, run| {
        let mut taken = run.writes[at(run, |w| w.kind == "leases" && !w.before.is_null())].clone();
        let after = at(run, |w| w.version == taken.version) + 1;
        taken.after["spec"]["holderIdentity"] = json!("conductor-2");
        taken.after["spec"]["leaseTransitions"] = json!(7);
        taken.landed += 2_000;
        run.writes.insert(after, taken);
    }),
    (3, "the Lease changes hands under one epoch", |_, run| {
        let mut taken = run.writes[at(run, |w| w.kind == "leases" && !w.before.is_null())].clone();
        let after = at(run, |w| w.version == taken.version) + 1;
        taken.after["spec"]["holderIdentity"] = json!("conductor-2");
        taken.landed += 60_000;
        run.writes.insert(after, taken);
    }),
    (4, "a step forward although an undo was ordered", |_, run| {
        let first = goes(run, "ledger", Forward::Deploy);
        ordered(run, first, r#"{"undo":"all"}"#);
    }),
    (4, "a step forward on what bears the mark of an undo", |_, run| {
        let step = goes(run, "ledger", Forward::Approve);
        run.writes[step].before["metadata"]["annotations"]["footplate.dev/undo"] = json!("x/1");
    }),
    (4, "a step forward on what is held", |_, run| {
        let step = goes(run, "ledger", Forward::Approve);
        run.writes[step].before["metadata"]["annotations"]["footplate.dev/hold"] = json!("x/1");
    }),
    (4, "a step forward after the end", |_, run| {
        let second = goes(run, "billing", Forward::Deploy);
        let late = run.writes.remove(second);
        run.writes.push(late);
    }),
    (5, "a step forward although the train is held", |_, run| {
        let first = goes(run, "ledger", Forward::Deploy);
        ordered(run, first, r#"{"hold":[null,"person"]}"#);
    }),
    (6, "completed although an undo was ordered", |_, run| {
        let last = at(run, |w| w.after.pointer("/status/result").is_some());
        ordered(run, last, r#"{"undo":"all"}"#);
    }),
    (6, "an undo that leaves its new version in traffic", |_, run| {
        let first = goes(run, "ledger", Forward::Deploy);
        ordered(run, first, r#"{"undo":"all"}"#);
        run.end = End::Person(vec!["somebody".to_owned()]);
    }),
    (7, "a step let go of what was never measured", |scenario, _| scenario.cause = Cause::NoData(0)),
    (7, "a step let go while the metric store is gone", |scenario, run| {
        let step = goes(run, "ledger", Forward::Approve);
        run.writes[step].sent = 40_000;
        scenario.script.push((10_000, Act::NoMetrics(60_000)));
    }),
    (8, "completed with a service that is not through", |_, run| {
        let deploy = run.writes[goes(run, "billing", Forward::Deploy)].version;
        run.writes.retain(|w| w.name != "billing" || w.version <= deploy || w.who != Who::Cluster);
        run.writes
            .iter_mut()
            .filter(|w| w.name == "billing")
            .for_each(|w| w.after["status"]["phase"] = json!("Paused"));
    }),
    (9, "it stays on a bad version", |scenario, _| scenario.cause = Cause::Slow(1)),
    (10, "it neither ends nor waits for anybody", |_, run| run.end = End::UnderWay),
    (11, "rolled back with everything on its new version", |_, run| result(run, "rolled-back")),
    (11, "given back what was not recorded", |_, run| {
        let mut back = run.writes[goes(run, "ledger", Forward::Approve)].clone();
        back.before = back.after.clone();
        back.after["spec"]["template"]["spec"]["containers"][0]["image"] =
            json!("registry.example/payments/ledger:0.9.0");
        let after = at(run, |w| w.version == back.version) + 1;
        run.writes.insert(after, back);
    }),
    (15, "an undo that nobody carries out", |_, run| {
        let first = goes(run, "ledger", Forward::Deploy);
        ordered(run, first, r#"{"undo":"all"}"#);
    }),
    (15, "a hold that nobody carries out", |_, run| {
        let first = goes(run, "ledger", Forward::Deploy);
        ordered(run, first, r#"{"hold":[null,"person"]}"#);
        // As if nobody had held it for a gate of its own meanwhile.
        run.writes.iter_mut().filter(|w| w.kind == "rollouts").for_each(|w| w.after["spec"]["paused"] = json!(false));
    }),
    (12, "deployed before it was recorded", |_, run| {
        run.writes.retain(|w| w.kind != "configmaps" || !w.name.ends_with("-before-ledger"));
    }),
    (16, "a flood of requests", |_, run| run.most.0 = 10_000),
    (13, "it ends and leaves its marks", |_, run| {
        let gone = |w: &Write| {
            w.before.pointer("/metadata/annotations/footplate.dev~1train").is_some()
                && w.after.pointer("/metadata/annotations/footplate.dev~1train").is_none()
        };
        let from = run.writes[at(run, |w| w.name == "ledger" && gone(w))].version;
        run.writes.retain(|w| w.name != "ledger" || w.version < from);
    }),
];

#[test]
fn every_invariant_finds_what_breaks_it() {
    let good = release();
    let made = run(&good);
    let found = judge(&good, &made);
    assert!(found.is_empty(), "a good run: {found:?}");
    assert_eq!(made.end, End::Result("completed".to_owned()));
    for (number, what, spoil) in BAD {
        let (mut scenario, mut bad) = (good.clone(), made.clone());
        spoil(&mut scenario, &mut bad);
        let found = judge(&scenario, &bad);
        assert!(found.iter().any(|v| v.number == number), "{what}: I{number} finds nothing, {found:?}");
    }
    let mut back = made.clone();
    back.end = End::Result("rolled-back".to_owned());
    assert!(judge(&good, &back).iter().any(|v| v.number == 14), "a good release that is taken back");
    let mut pinned = made.initial.clone();
    pinned.retain(|o: &Value| is_pinned(o));
    assert!(pinned.is_empty(), "nothing is pinned before the train");
}
