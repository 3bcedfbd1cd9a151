//! The verbs on a model of the cluster: each alone, two hands at once in every order, pressed twice, and to their end.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{Cluster, NEW, OLD};
use super::{Aim, Next, Order, Procedure, Seen, Verb};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::verified::Verified;
use crate::core::workload::{Related, observe};

mod holders;

fn id() -> ObjectRef {
    ObjectRef { cluster: "c".into(), kind: ObjectKind::Rollout, namespace: "n".into(), name: "app".into() }
}

fn order() -> Order {
    Order { who: "ana".into(), when: "2025-10-01T12:00:00Z".parse().unwrap(), why: "because".into() }
}

fn seen(cluster: &Cluster) -> Seen {
    let facts = cluster.facts();
    let sets: Vec<&Object> = facts.sets.iter().collect();
    let related = Related { sets: &sets, ..Related::default() };
    Seen::of(&observe(&id(), facts.object.as_ref().unwrap(), &related, None, facts.now))
}

fn aim(verb: Verb, seen: Option<Seen>) -> Aim {
    Aim { verb, workload: id(), order: order(), container: Some("app".into()), seen }
}

fn procedure(verb: Verb, seen: Option<Seen>) -> Procedure {
    Procedure::new(aim(verb, seen), Some(Verified::by_hand(&order()).unwrap()))
}

fn start(image: &str) -> Verb {
    Verb::Start { image: image.into(), container: "app".into(), config: None }
}

/// Drives to the end, the controller moving between looks.
fn drive(cluster: &mut Cluster, mut p: Procedure) -> Next {
    for _ in 0..60 {
        match p.next(&cluster.facts()) {
            Next::Send(effect) => {
                let _landed_or_not = cluster.send(&effect);
                cluster.reconcile();
            }
            Next::Wait(_) => {
                cluster.reconcile();
            }
            end => return end,
        }
    }
    panic!("{:?} does not end: {}", p.aim().verb, cluster.rollout);
}

fn act(cluster: &mut Cluster, verb: Verb) -> Next {
    drive(cluster, procedure(verb, None))
}

fn done(cluster: &mut Cluster, verb: Verb) -> String {
    match act(cluster, verb.clone()) {
        Next::Done(said) => said.to_string(),
        other => panic!("{verb:?}: {other:?}"),
    }
}

fn refused(cluster: &mut Cluster, verb: Verb) -> String {
    match act(cluster, verb.clone()) {
        Next::Refused(refusal) => refusal.why.to_string(),
        other => panic!("{verb:?}: {other:?}"),
    }
}

fn steps() -> Value {
    json!([{"setWeight": 25}, {"pause": {}}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}, {"setWeight": 100}])
}

/// At the first pause of NEW.
fn in_flight() -> Cluster {
    in_flight_with(json!({}))
}

fn in_flight_with(spec: Value) -> Cluster {
    let mut c = Cluster::healthy(steps(), spec);
    done(&mut c, start(NEW));
    c.settle();
    assert_eq!(status(&c, "currentStepIndex"), json!(1));
    c
}

fn finished_with(spec: Value) -> Cluster {
    let mut c = in_flight_with(spec);
    done(&mut c, Verb::PromoteFull);
    c
}

fn status(c: &Cluster, field: &str) -> Value {
    c.rollout["status"][field].clone()
}

fn stamp(c: &Cluster, key: &str) -> Value {
    c.rollout["metadata"]["annotations"][key].clone()
}

fn image(c: &Cluster) -> &str {
    c.rollout["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

fn is_back(c: &Cluster) -> bool {
    image(c) == OLD && status(c, "stableRS") == status(c, "currentPodHash") && c.rollout["spec"]["paused"] != true
}

#[test]
fn a_hold_that_somebody_ended_is_not_put_back() {
    let mut c = in_flight();
    let mut pause = procedure(Verb::Pause, None);
    let Next::Send(effect) = pause.next(&c.facts()) else { panic!("no effect") };
    assert!(c.send(&effect).is_ok());
    // It lies there, the controller has not seen it, and another order ends it before this one has looked again.
    assert!(matches!(pause.next(&c.facts()), Next::Wait(_)));
    done(&mut c, Verb::Resume);
    assert!(matches!(pause.next(&c.facts()), Next::Done(_)));
    assert_ne!(c.rollout["spec"]["paused"], true);
}

#[test]
fn start_records_and_sets_in_one_patch() {
    let mut c = Cluster::healthy(steps(), json!({}));
    let Next::Send(effect) = procedure(start(NEW), None).next(&c.facts()) else { panic!("no effect") };
    assert_eq!(
        serde_json::to_value(match &effect.change {
            crate::core::effect::Change::Patch(patch) => patch,
            other => panic!("{other:?}"),
        })
        .unwrap(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u1"},
            {"op": "test", "path": "/metadata/generation", "value": 1},
            {"op": "test", "path": "/metadata/annotations", "value": null},
            {"op": "test", "path": "/status/currentPodHash", "value": "h10"},
            {"op": "test", "path": "/status/currentStepIndex", "value": 6},
            {"op": "test", "path": "/status/abort", "value": null},
            {"op": "test", "path": "/spec/paused", "value": null},
            {"op": "test", "path": "/spec/template/spec/containers/0/name", "value": "app"},
            {"op": "test", "path": "/spec/template/spec/containers/0/image", "value": OLD},
            {"op": "add", "path": "/metadata/annotations", "value": {
                "footplate.dev/before": "h10",
                "footplate.dev/set": "{\"by\":\"ana\",\"container\":\"app\",\"image\":\"r.example/p/app:2.0.0\",\
                    \"verified\":\"UNVERIFIED, by hand, ana: because\"}",
            }},
            {"op": "add", "path": "/spec/template/spec/containers/0/image", "value": NEW},
        ])
    );
    let said = done(&mut c, start(NEW));
    assert_eq!(said, "app: r.example/p/app:2.0.0 is on its way; before it h10 (its replica set is the record)");
    c.settle();
    assert_eq!(done(&mut c, start(NEW)), said, "a second start is no failure");
}

#[test]
fn start_without_a_verified_value_is_refused() {
    let c = Cluster::healthy(steps(), json!({}));
    let mut p = Procedure::new(aim(start(NEW), None), None);
    assert!(matches!(p.next(&c.facts()), Next::Refused(_)));
}

#[test]
fn start_of_an_earlier_version_makes_it_new() {
    let mut c = finished_with(json!({"rollbackWindow": {"revisions": 3}}));
    done(&mut c, start(OLD));
    c.settle();
    assert_eq!(status(&c, "currentStepIndex"), json!(1), "all steps run");
    assert!(c.rollout["spec"]["template"]["metadata"]["annotations"]["footplate.dev/train"].is_string());
    done(&mut c, Verb::Undo);
    assert_eq!(image(&c), NEW);
}

#[test]
fn promote_ends_one_pause_and_only_a_pause() {
    let mut c = in_flight();
    let at_first = seen(&c);
    done(&mut c, Verb::Promote);
    c.settle();
    assert_eq!(status(&c, "currentStepIndex"), json!(2));
    let stale = drive(&mut c, procedure(Verb::Promote, Some(at_first)));
    assert!(matches!(stale, Next::Refused(_)), "{stale:?}");
    assert_eq!(status(&c, "currentStepIndex"), json!(2));
    done(&mut c, Verb::Promote);
    c.settle();
    done(&mut c, Verb::Promote);
    c.settle();
    assert_eq!(image(&c), NEW);
    assert_eq!(refused(&mut c, Verb::Promote), "app: nothing waits, it is on its stable version");
}

#[test]
fn promote_over_an_inconclusive_analysis_writes_the_step_and_needs_a_reason() {
    let mut c =
        Cluster::healthy(json!([{"setWeight": 25}, {"analysis": {}}, {"setWeight": 50}, {"pause": {}}]), json!({}));
    c.deploy(NEW);
    c.settle();
    let mut bare = aim(Verb::Promote, None);
    bare.order.why = "".into();
    let mut p = Procedure::new(bare, None);
    assert!(matches!(p.next(&c.facts()), Next::Refused(_)));
    done(&mut c, Verb::Promote);
    c.settle();
    assert_eq!(status(&c, "currentStepIndex"), json!(3));
}

#[test]
fn what_is_held_is_resumed_first() {
    let mut c = in_flight();
    done(&mut c, Verb::Pause);
    assert_eq!(stamp(&c, "footplate.dev/hold-by"), "ana: because");
    assert_eq!(done(&mut c, Verb::Pause), "app is held by ana: because");
    assert_eq!(refused(&mut c, Verb::Promote), "app is held by ana: because");
    assert_eq!(refused(&mut c, start("r.example/p/app:3.0.0")), "app is held by ana: because");
    assert_eq!(refused(&mut c, Verb::Restart), "app is held by ana: because");
    done(&mut c, Verb::Resume);
    c.settle();
    assert_eq!((status(&c, "currentStepIndex"), stamp(&c, "footplate.dev/hold")), (json!(1), Value::Null));
    assert_eq!(refused(&mut c, Verb::Resume), "nobody holds app");
}

#[test]
fn full_promotion_answers_the_hold_that_was_there() {
    let mut c = in_flight();
    done(&mut c, Verb::Pause);
    done(&mut c, Verb::PromoteFull);
    assert_eq!(status(&c, "stableRS"), json!(c.hash_of(NEW)));
    assert_eq!(refused(&mut c, Verb::PromoteFull), "app is fully promoted already");
    let mut p =
        Procedure::new(Aim { order: Order { why: "".into(), ..order() }, ..aim(Verb::PromoteFull, None) }, None);
    assert!(matches!(p.next(&in_flight().facts()), Next::Refused(_)), "it needs a reason");
}

#[test]
fn abort_takes_the_traffic_and_the_hold_away() {
    let mut c = in_flight();
    done(&mut c, Verb::Pause);
    let said = done(&mut c, Verb::Abort);
    assert_eq!(said, "app is aborted: no traffic on h21, read back");
    assert_eq!(c.rollout["spec"]["paused"], json!(false));
    assert_eq!(stamp(&c, "footplate.dev/undo"), "hand/h21/h10");
    assert_eq!(done(&mut c, Verb::Abort), said);
    let late = act(&mut c, Verb::Pause);
    assert!(matches!(&late, Next::Refused(r) if r.already), "{late:?}");
    done(&mut c, Verb::Retry);
    c.settle();
    assert_eq!((status(&c, "currentStepIndex"), stamp(&c, "footplate.dev/undo")), (json!(1), Value::Null));
    done(&mut c, Verb::Abort);
    done(&mut c, Verb::Undo);
    assert!(is_back(&c));
}

#[test]
fn abort_is_refused_where_there_is_no_canary() {
    let mut c = Cluster::healthy(steps(), json!({}));
    assert_eq!(refused(&mut c, Verb::Abort), "app is fully promoted: there is no canary to abort");
}

#[test]
fn an_abort_that_argo_would_ignore_is_a_restore() {
    let mut c = in_flight();
    c.merge(json!({"spec": {"paused": true}}));
    c.rollout["status"]["promoteFull"] = json!(true);
    c.reconcile();
    let said = done(&mut c, Verb::Abort);
    assert!(said.contains("restored instead of aborted: after a full promotion"), "{said}");
    assert!(is_back(&c));

    let mut unseen = Cluster::healthy(steps(), json!({}));
    unseen.deploy(NEW);
    let said = done(&mut unseen, Verb::Abort);
    assert!(said.contains("has not seen the deploy"), "{said}");
    assert!(is_back(&unseen));
}

#[test]
fn undo_goes_to_what_was_live_in_one_patch() {
    let mut c = in_flight();
    done(&mut c, Verb::Pause);
    let Next::Send(effect) = procedure(Verb::Undo, None).next(&c.facts()) else { panic!("no effect") };
    c.send(&effect).unwrap();
    // Whoever sent it is gone; a hold now would freeze the way back.
    let late = procedure(Verb::Pause, None).next(&c.facts());
    assert!(matches!(&late, Next::Refused(r) if r.already), "{late:?}");
    c.settle();
    assert!(is_back(&c), "one patch was enough");
    assert!(matches!(act(&mut c, Verb::Undo), Next::Done(_)), "a second undo is no failure");
}

#[test]
fn undo_of_a_finished_version_is_fast_inside_the_window_and_promoted_outside() {
    for spec in [json!({"rollbackWindow": {"revisions": 3}}), json!({})] {
        let mut c = finished_with(spec);
        done(&mut c, Verb::Undo);
        assert!(is_back(&c));
    }
}

#[test]
fn undo_does_not_take_the_second_highest_revision() {
    let mut c = in_flight();
    done(&mut c, Verb::Abort);
    done(&mut c, start("r.example/p/app:3.0.0"));
    c.settle();
    done(&mut c, Verb::PromoteFull);
    done(&mut c, Verb::Undo);
    assert_eq!(image(&c), OLD);
}

#[test]
fn undo_keeps_what_others_changed_since_and_says_so() {
    let mut c = finished_with(json!({}));
    c.merge(json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 60}}}}));
    c.settle();
    done(&mut c, Verb::PromoteFull);
    let said = done(&mut c, Verb::Undo);
    assert!(
        said.ends_with("changes by others since are kept: spec.terminationGracePeriodSeconds: nothing → 60"),
        "{said}"
    );
    assert_eq!(c.rollout["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], json!(60));
    assert!(is_back(&c));
}

#[test]
fn undo_is_refused_where_nothing_was_before() {
    let mut c = Cluster::healthy(steps(), json!({}));
    assert_eq!(refused(&mut c, Verb::Undo), "app: there is nothing to go back to");
    let mut gone = finished_with(json!({}));
    gone.sets.remove(0);
    assert_eq!(refused(&mut gone, Verb::Undo), "app: the replica set of the version before (h10) is gone");
}

#[test]
fn an_undo_that_would_go_elsewhere_than_shown_is_refused() {
    let mut c = in_flight();
    let shown = Seen { undo_to: Some("other".into()), ..seen(&c) };
    assert!(matches!(drive(&mut c, procedure(Verb::Undo, Some(shown))), Next::Refused(_)));
}

/// Two or three hands on one in-flight version.
#[derive(Clone, Debug)]
enum Tick {
    Look(usize),
    Send(usize),
    Controller,
}

fn ticks(hands: usize) -> impl Strategy<Value = Vec<Tick>> {
    let tick = prop_oneof![(0..hands).prop_map(Tick::Look), (0..hands).prop_map(Tick::Send), Just(Tick::Controller),];
    prop::collection::vec(tick, 0..40)
}

/// Runs hands in the given order of looks, sends and controller steps, then lets each finish.
fn interleave(c: &mut Cluster, hands: &mut [Procedure], ticks: &[Tick]) -> Vec<Next> {
    let mut pending: Vec<Option<Next>> = hands.iter_mut().map(|p| Some(p.next(&c.facts()))).collect();
    let send = |c: &mut Cluster, next: &mut Option<Next>| {
        if let Some(Next::Send(effect)) = next {
            let _landed_or_not = c.send(effect);
            *next = None;
        }
    };
    for tick in ticks {
        match tick {
            Tick::Look(n) => {
                if !matches!(pending[*n], Some(Next::Done(_) | Next::Refused(_) | Next::Send(_))) {
                    pending[*n] = Some(hands[*n].next(&c.facts()));
                }
            }
            Tick::Send(n) => send(c, &mut pending[*n]),
            Tick::Controller => {
                c.reconcile();
            }
        }
    }
    for _ in 0..200 {
        for (next, hand) in pending.iter_mut().zip(hands.iter_mut()) {
            send(c, next);
            if !matches!(next, Some(Next::Done(_) | Next::Refused(_))) {
                *next = Some(hand.next(&c.facts()));
            }
        }
        let moved = c.reconcile();
        if !moved && pending.iter().all(|n| matches!(n, Some(Next::Done(_) | Next::Refused(_)))) {
            return pending.into_iter().flatten().collect();
        }
    }
    panic!("the hands do not end: {pending:?} on {}", c.rollout);
}

fn safe_verb() -> impl Strategy<Value = Verb> {
    prop_oneof![Just(Verb::Pause), Just(Verb::Abort), Just(Verb::Undo)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// restore > abort > hold, in whatever order their reads, writes and the controller's steps fall.
    #[test]
    fn safe_effects_commute(
        verbs in prop::collection::vec((safe_verb(), any::<bool>()), 2..4),
        ticks in ticks(3),
        held in any::<bool>(),
        window in any::<bool>(),
    ) {
        let mut c = in_flight_with(if window { json!({"rollbackWindow": {"revisions": 3}}) } else { json!({}) });
        if held {
            done(&mut c, Verb::Pause);
        }
        let shown = seen(&c);
        let mut hands: Vec<Procedure> =
            verbs.iter().map(|(v, saw)| procedure(v.clone(), saw.then(|| shown.clone()))).collect();
        let ticks: Vec<Tick> = ticks
            .into_iter()
            .filter(|t| match t { Tick::Look(n) | Tick::Send(n) => *n < hands.len(), Tick::Controller => true })
            .collect();
        let ends = interleave(&mut c, &mut hands, &ticks);
        let ordered = |verb: &Verb| verbs.iter().any(|(v, _)| v == verb);
        for (end, (verb, _)) in ends.iter().zip(&verbs) {
            prop_assert!(
                matches!(end, Next::Done(_)) || matches!(end, Next::Refused(r) if r.already),
                "{verb:?} ended {end:?}"
            );
        }
        if ordered(&Verb::Undo) {
            prop_assert!(is_back(&c), "{}", c.rollout);
            prop_assert_eq!(stamp(&c, "footplate.dev/hold"), Value::Null);
        } else if ordered(&Verb::Abort) {
            prop_assert_eq!(status(&c, "abort"), json!(true));
            prop_assert!(c.rollout["spec"]["paused"] != true);
            let bad = c.sets.iter().find(|s| s["metadata"]["labels"]["rollouts-pod-template-hash"] == status(&c, "currentPodHash"));
            prop_assert_eq!(&bad.unwrap()["status"]["availableReplicas"], &json!(0));
        } else {
            prop_assert_eq!(&c.rollout["spec"]["paused"], &json!(true));
            prop_assert_eq!(image(&c), NEW);
        }
        prop_assert!(!c.forward_on_hold);
    }

    /// The same where the version is finished: stable is the bad one until the undo is through.
    #[test]
    fn undo_of_a_finished_version_wins(
        verbs in prop::collection::vec(safe_verb(), 1..3),
        ticks in ticks(3),
        window in any::<bool>(),
        saw in any::<bool>(),
    ) {
        let mut c = finished_with(if window { json!({"rollbackWindow": {"revisions": 3}}) } else { json!({}) });
        let shown = seen(&c);
        let verbs: Vec<Verb> = verbs.into_iter().chain([Verb::Undo]).collect();
        let mut hands: Vec<Procedure> =
            verbs.iter().map(|v| procedure(v.clone(), saw.then(|| shown.clone()))).collect();
        let ticks: Vec<Tick> = ticks
            .into_iter()
            .filter(|t| match t { Tick::Look(n) | Tick::Send(n) => *n < hands.len(), Tick::Controller => true })
            .collect();
        let ends = interleave(&mut c, &mut hands, &ticks);
        prop_assert!(is_back(&c), "{}", c.rollout);
        for (end, verb) in ends.iter().zip(&verbs) {
            let refused_abort = *verb == Verb::Abort && matches!(end, Next::Refused(_));
            prop_assert!(
                refused_abort || matches!(end, Next::Done(_)) || matches!(end, Next::Refused(r) if r.already),
                "{verb:?} ended {end:?}"
            );
        }
    }

    /// A second hand that looks for the first time while an undo is under way goes the same way, never back again.
    #[test]
    fn a_late_hand_does_not_undo_the_undo(late in safe_verb(), after in 0usize..8, window in any::<bool>(), finished in any::<bool>()) {
        let spec = if window { json!({"rollbackWindow": {"revisions": 3}}) } else { json!({}) };
        let mut c = if finished { finished_with(spec) } else { in_flight_with(spec) };
        let mut first = procedure(Verb::Undo, None);
        for n in 0..after {
            if let Next::Send(effect) = first.next(&c.facts()) {
                c.send(&effect).unwrap();
            }
            if n % 2 == 1 {
                c.reconcile();
            }
        }
        if c.rollout["metadata"]["annotations"]["footplate.dev/undo"].is_null() {
            return Ok(());
        }
        let settled = is_back(&c) && c.facts().object.is_some_and(|o| {
            o.int("/status/observedGeneration") == Some(o.generation())
        });
        act(&mut c, late.clone());
        drive(&mut c, first);
        c.settle();
        prop_assert!(is_back(&c) || (settled && late == Verb::Pause), "{}", c.rollout);
    }

    /// However often P is pressed on one pause, one step is approved.
    #[test]
    fn presses_on_one_pause_approve_it_once(presses in 1usize..4, ticks in ticks(4), saw in any::<bool>()) {
        let mut c = in_flight();
        let shown = seen(&c);
        let mut hands: Vec<Procedure> =
            (0..presses).map(|_| procedure(Verb::Promote, saw.then(|| shown.clone()))).collect();
        let ticks: Vec<Tick> = ticks
            .into_iter()
            .filter(|t| match t { Tick::Look(n) | Tick::Send(n) => *n < presses, Tick::Controller => true })
            .collect();
        interleave(&mut c, &mut hands, &ticks);
        c.settle();
        prop_assert_eq!(&c.approved, &[1]);
        prop_assert_eq!(status(&c, "currentStepIndex"), json!(2));
    }

    /// Nothing forward lands on a hold or on what is being taken back, whoever races.
    #[test]
    fn forward_verbs_lose_against_safe_ones(
        forward in prop_oneof![Just(Verb::Promote), Just(Verb::PromoteFull), Just(Verb::Restart), Just(start("r.example/p/app:3.0.0"))],
        safe in safe_verb(),
        ticks in ticks(2),
    ) {
        let mut c = in_flight();
        let mut hands = [procedure(forward, None), procedure(safe, None)];
        interleave(&mut c, &mut hands, &ticks);
        prop_assert!(!c.forward_on_hold, "{}", c.rollout);
    }

    /// Whatever was done before by whomever, a verb ends.
    #[test]
    fn every_verb_ends(past in prop::collection::vec(0usize..14, 0..8), last in 0usize..10, window in any::<bool>()) {
        let mut c = Cluster::healthy(
            json!([{"setWeight": 25}, {"pause": {}}, {"analysis": {}}, {"setWeight": 50}, {"pause": {}}]),
            if window { json!({"rollbackWindow": {"revisions": 2}}) } else { json!({}) },
        );
        let verb = |n: usize| match n {
            0 => start(NEW), 1 => start("r.example/p/app:3.0.0"), 2 => Verb::Pause, 3 => Verb::Resume, 4 => Verb::Promote,
            5 => Verb::PromoteFull, 6 => Verb::Abort, 7 => Verb::Retry, 8 => Verb::Undo, _ => start(OLD),
        };
        for n in past {
            match n {
                10 => { c.settle(); }
                11 => c.deploy("r.example/p/app:4.0.0"),
                12 => c.merge(json!({"spec": {"paused": true}})),
                13 => c.rollout["status"]["abort"] = json!(true),
                n => { act(&mut c, verb(n)); }
            }
        }
        act(&mut c, verb(last));
        prop_assert!(!c.forward_on_hold);
    }
}
