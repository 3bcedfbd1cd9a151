//! Screens of a train: under way, held, waiting for a person, going back, conducted by nobody, gone back. What a person at 3 a.m. must
//! find on them is asserted; the rest is a picture.

use std::sync::Arc;

use footplate::cockpit::glyphs::UNICODE;
use footplate::cockpit::message::Command;
use footplate::core::intent::Want as Verb;
use footplate::core::object::{ObjectKind, ObjectRef};
use footplate::core::snapshot::train::{CheckShown, OrderShown, Taken, TrainNeed, TrainService};
use footplate::core::snapshot::{Conductor, Need, Snapshot, TrainPhase, TrainShown, Verdict};
use footplate::core::text::Text;
use footplate::core::train::Phase;
use footplate::core::train::event::{Check, HoldFor, Scope, Want};
use footplate::core::train::resolved::{Kind, Wave};
use footplate::core::train::state::{Ended, Hold, Memory, Stage, State, Undo};
use jiff::SignedDuration;

use super::fixture::{ago, now, rolling, with};
use super::{Stage as Screen, bytes};
use crate::frozen;

/// The train of [`rolling`]: two waves through, two services under way.
fn train(s: &Snapshot) -> TrainShown {
    let mut frozen = frozen::frozen(Kind::Rollout, "4fe1c0de-0000-4000-8000-000000000001", "payments", "", None);
    let service = frozen.resolved.services[0].clone();
    let names: Vec<&Text> = s.services.iter().map(|v| &v.name).collect();
    let at = |name: &Text| u16::try_from(names.iter().position(|n| *n == name).unwrap()).unwrap();
    frozen.resolved.services = s
        .services
        .iter()
        .map(|v| {
            let mut service = service.clone();
            service.name = v.name.clone();
            service.version = v.pinned.clone().unwrap();
            service.wave = u16::try_from(v.wave.unwrap()).unwrap();
            service.needs = v.after.iter().map(at).collect();
            service
        })
        .collect();
    let in_wave = |n: u16| {
        let here = (0u16..).zip(&frozen.resolved.services).filter(|(_, s)| s.wave == n);
        here.map(|(id, _)| id).collect()
    };
    frozen.resolved.waves = (0..6).map(|n| Wave { services: in_wave(n), expand: n == 0 }).collect();
    frozen.resolved.release = s.release.clone().unwrap();
    let plan = Arc::new(frozen.resolved);
    let mut memory = State::new(Arc::clone(&plan)).memory().clone();
    memory.recorded = true;
    memory.phase = Phase::Rolling;
    memory.wave = 2;
    memory.started = Some(ago(412));
    for (m, v) in memory.services.iter_mut().zip(s.services.iter()) {
        m.recorded = Some("1f7d9c".into());
        m.stage = match v.train_phase {
            TrainPhase::Done => Stage::Done,
            TrainPhase::Unchanged => Stage::Unchanged,
            TrainPhase::Stepping | TrainPhase::Held | TrainPhase::Undoing => Stage::Stepping,
            _ => Stage::Waiting,
        };
        if matches!(m.stage, Stage::Done | Stage::Stepping) {
            m.touched = true;
            m.deployed = v.workload.as_ref().map(|w| w.hash.clone());
        }
    }
    let services = s.services.iter().map(|v| TrainService {
        name: v.name.clone(),
        phase: v.train_phase,
        step: v.workload.as_ref().and_then(|w| w.step).unwrap_or_default(),
        steps: 7,
        verdict: v.verdict,
        evidence: Text::default(),
        waits: v.waits_for.clone(),
    });
    let check = |check: Option<Check>, name: &str, found: &str, says: &str| CheckShown {
        check,
        name: name.into(),
        found: found.into(),
        says: says.into(),
        accepted: false,
    };
    let object = ObjectRef {
        cluster: "prod-eu".into(),
        kind: ObjectKind::Release,
        namespace: "payments".into(),
        name: "2025.10.02-rc1-20251002-125739".into(),
    };
    TrainShown {
        object,
        uid: plan.uid.clone(),
        workloads: s.services.iter().map(|v| v.id.clone()).collect(),
        phase: Phase::Rolling,
        wave: 2,
        waves: 6,
        held: false,
        conductor: Conductor::Works("footplate-conductor-7d9".into()),
        waits: "billing-api, fraud-scorer of wave 2".into(),
        needs: Vec::new(),
        services: services.collect(),
        checks: vec![
            check(None, "the cluster", "good", "uid 6c1f is the pinned one"),
            check(
                Some(Check::Drift(3)),
                "drift of billing-api",
                "ask",
                "2.7.4 runs, the last release left 2.7.3: a hotfix? it would be what an undo goes back to",
            ),
            check(None, "way back of edge-gateway", "warn", "slow: its replica set is older than the rollback window"),
            check(None, "freeze windows", "good", "none before 18:00"),
            check(None, "policy perf.baseline_ok", "unknown", "no check is known: waive it in footplate.yaml"),
        ],
        orders: vec![OrderShown {
            id: 7,
            who: "ana".into(),
            when: ago(430),
            says: "start".into(),
            want: Want::Start,
            taken: Taken::Yes,
        }],
        started: Some(ago(412)),
        detected: None,
        decided: None,
        recovered: None,
        cause: None,
        result: None,
        written: Some(ago(1)),
        incident: None,
        estimate: SignedDuration::from_mins(35),
        trouble: Text::default(),
        memory: Some(Arc::new(memory)),
        plan,
    }
}

fn change(train: &mut TrainShown, by: impl FnOnce(&mut Memory)) {
    let mut memory = Memory::clone(train.memory.as_ref().unwrap());
    by(&mut memory);
    train.memory = Some(Arc::new(memory));
}

fn shown(mut s: Snapshot, by: impl FnOnce(&mut TrainShown)) -> Snapshot {
    let mut train = train(&s);
    by(&mut train);
    s.train = Some(Arc::new(train));
    s
}

fn need(what: &str, keys: &str) -> Arc<[Need]> {
    let deadline = now().checked_add(SignedDuration::from_mins(28)).ok();
    Arc::new([Need { what: what.into(), since: ago(95), deadline, keys: keys.into(), service: Text::default() }])
}

fn hold(why: HoldFor, who: &str, reason: &str) -> Hold {
    Hold { id: 9, why, service: None, who: who.into(), reason: reason.into(), since: ago(95), ms: 95_000, paged: 0 }
}

fn on_its_way() -> Snapshot {
    shown(rolling(), |_| {})
}

fn held() -> Snapshot {
    let s = with(&rolling(), "billing-api", |v, w| {
        (w.held, w.held_by) = (true, "ana".into());
        v.train_phase = TrainPhase::Held;
        v.waits_for = "the hold of ana to end".into();
    });
    let mut s = shown(s, |t| {
        t.held = true;
        t.waits = "held by ana: a customer called".into();
        change(t, |m| m.holds.push(hold(HoldFor::Person, "ana", "a customer called")));
    });
    s.needs = need("held by ana (a customer called)", "r goes on  u undoes");
    s
}

fn needs_person() -> Snapshot {
    let mut s = shown(rolling(), |t| {
        t.phase = Phase::NeedsPerson;
        t.waits = "held by conductor: the gate of billing-api has no data".into();
        t.services[3].verdict = Some(Verdict::NoData);
        t.needs.push(TrainNeed {
            who: "ana".into(),
            what: "billing-api has no data (held)".into(),
            service: "billing-api".into(),
            until: now(),
        });
        change(t, |m| m.holds.push(hold(HoldFor::NoData(3), "conductor", "the gate of billing-api has no data")));
    });
    s.needs = need("the gate of billing-api has no data (held)", "P with a reason goes on  u undoes");
    s
}

fn undoing() -> Snapshot {
    let s = with(&rolling(), "billing-api", |v, w| {
        v.train_phase = TrainPhase::Undoing;
        v.verdict = Some(Verdict::Fail);
        v.waits_for = "its traffic to be back on the stable version".into();
        w.actual_weight = Some(12);
    });
    shown(s, |t| {
        t.phase = Phase::Undoing;
        (t.detected, t.decided) = (Some(ago(34)), Some(ago(33)));
        t.cause = Some("billing-api (logic): errors 5.1 %, 7x base".into());
        t.waits = "billing-api, ledger-api to be back".into();
        change(t, |m| {
            m.services[3].stage = Stage::Undoing;
            m.services[1].stage = Stage::Undoing;
            m.undo = Some(Undo {
                id: 1 << 63,
                services: vec![1, 3],
                alone: false,
                whole: true,
                automatic: true,
                who: "conductor".into(),
                since: ago(33),
                paged: 0,
                ms: 33_000,
            });
        });
    })
}

fn nobody() -> Snapshot {
    let mut s = shown(rolling(), |t| t.conductor = Conductor::Nobody);
    s.needs = Arc::new([Need {
        what: "nobody conducts train QKZD".into(),
        since: ago(20),
        deadline: None,
        keys: "T take-over".into(),
        service: Text::default(),
    }]);
    s
}

fn rolled_back() -> Snapshot {
    let mut s = rolling();
    for name in ["billing-api", "fraud-scorer", "accounts-api", "ledger-api", "ledger-consumer"] {
        s = with(&s, name, |v, w| {
            v.train_phase = TrainPhase::Undone;
            (v.verdict, v.waits_for) = (None, Text::default());
            let kind = v.id.kind;
            let old = w.undo_to.as_ref().and_then(|u| u.version.clone()).unwrap();
            *w = super::fixture::workload(name, kind, &old);
        });
    }
    shown(s, |t| {
        t.phase = Phase::RolledBack;
        t.result = Some(Ended::RolledBack);
        t.conductor = Conductor::Nobody;
        (t.detected, t.decided, t.recovered) = (Some(ago(300)), Some(ago(299)), Some(ago(259)));
        t.waits = Text::default();
    })
}

fn screens() -> [(&'static str, Snapshot); 6] {
    [
        ("rolling", on_its_way()),
        ("held", held()),
        ("needs-person", needs_person()),
        ("undoing", undoing()),
        ("nobody", nobody()),
        ("rolled-back", rolled_back()),
    ]
}

#[test]
fn a_train_at_every_turn() {
    for (width, height) in [(80, 24), (120, 36)] {
        for (name, snapshot) in screens() {
            let name = format!("train-{name}-{width}x{height}");
            let mut stage = Screen::new(snapshot, (width, height), UNICODE);
            bytes(&mut stage, &name);
            insta::assert_snapshot!(name, stage.picture());
        }
    }
}

#[test]
fn what_matters_is_on_the_smallest_of_usual_screens() {
    for (name, words) in [
        ("rolling", &["QKZD", "ROLLING", "wave 2/5", "conductor"][..]),
        ("held", &["QKZD", "HELD", "a customer called", "NEEDS YOU"]),
        ("needs-person", &["NEEDS A PERSON", "28:00 left", "P with a reason"]),
        ("undoing", &["UNDOING", "undoing: 34 s of 90"]),
        ("nobody", &["NOBODY CONDUCTS", "T take-over"]),
        ("rolled-back", &["ROLLED BACK", "traffic back in 41 s"]),
    ] {
        let snapshot = screens().into_iter().find(|(n, _)| *n == name).unwrap().1;
        let mut stage = Screen::new(snapshot, (80, 24), UNICODE);
        let text = stage.text();
        for word in words {
            assert!(text.contains(word), "{name}: no {word} in\n{text}");
        }
    }
}

#[test]
fn the_checklist_says_what_stands_in_the_way_and_enter_accepts_what_asks() {
    for size in [(80, 24), (120, 36)] {
        let mut stage = Screen::new(on_its_way(), size, UNICODE);
        stage.keys("6");
        let name = format!("train-checklist-{}x{}", size.0, size.1);
        bytes(&mut stage, &name);
        insta::assert_snapshot!(name, stage.picture());
    }
    let mut stage = Screen::new(on_its_way(), (120, 36), UNICODE);
    stage.keys("6 enter");
    assert!(stage.text().contains("a hotfix?"), "{}", stage.text());
    let commands = stage.keys("y");
    let [Command::Order(order)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(order.train.as_ref().unwrap().wants, [Want::Accept(Check::Drift(3))]);
}

#[test]
fn keys_order_of_the_train_and_ask_as_the_ladder_says() {
    let mut stage = Screen::new(on_its_way(), (120, 36), UNICODE);
    let commands = stage.keys("p");
    let [Command::Order(order)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(order.train.as_ref().unwrap().wants, [Want::Hold(None, HoldFor::Person)], "never asks, holds the train");

    let mut stage = Screen::new(on_its_way(), (120, 36), UNICODE);
    assert!(stage.keys("u").is_empty());
    let text = stage.text();
    for line in ["undo the train", "type QKZD to confirm", "at once: billing-api", "at once: fraud-scorer", "after "] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    assert!(stage.keys("enter").is_empty(), "not without the word");
    let mut stage = Screen::new(on_its_way(), (120, 36), UNICODE);
    stage.keys("u");
    stage.later(1);
    stage.types("QKZD");
    let commands = stage.keys("enter");
    let [Command::Order(order)] = commands.as_slice() else { panic!("{commands:?}\n{}", stage.text()) };
    assert_eq!(order.train.as_ref().unwrap().wants, [Want::Undo(Scope::All)]);

    let mut stage = Screen::new(nobody(), (120, 36), UNICODE);
    assert!(stage.keys("T").is_empty());
    let commands = stage.keys("y");
    let [Command::Order(order)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!((&order.want, order.train.as_ref().unwrap().wants.len()), (&Verb::TakeOver, 0));

    let mut stage = Screen::new(held(), (120, 36), UNICODE);
    assert!(stage.keys("r").is_empty());
    assert!(stage.text().contains("ends the hold of ana (a customer called)"), "{}", stage.text());
    let commands = stage.keys("y");
    let [Command::Order(order)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!(order.train.as_ref().unwrap().wants, [Want::Resume(9)]);
}

#[test]
fn an_undo_whose_services_changed_meanwhile_is_shown_again_and_keeps_what_was_typed() {
    let mut stage = Screen::new(on_its_way(), (120, 36), UNICODE);
    stage.keys("u");
    stage.later(1);
    stage.types("QKZD");
    let more =
        shown(rolling(), |t| change(t, |m| (m.services[6].touched, m.services[6].stage) = (true, Stage::Deploying)));
    stage.see(more);
    assert!(stage.keys("enter").is_empty());
    assert!(stage.text().contains("the plan changed"), "{}", stage.text());
    stage.later(1);
    let commands = stage.keys("enter");
    assert!(matches!(commands.as_slice(), [Command::Order(order)] if order.confirmed.arms()), "{commands:?}");
}
