//! The verbs on Deployments and Canaries, on a model of an API server with a Deployment controller and Flagger: each moves
//! one small step at a time and knows nothing of the code that is tested.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::model::{NEW, OLD, apply, template};
use super::super::{Aim, Facts, Next, Procedure, Seen, Verb};
use super::{order, start};
use crate::core::config_files::ConfigFiles;
use crate::core::effect::{Change, Direction, Effect};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::verified::Verified;
use crate::core::workload::{Related, observe};

const PODS: u64 = 10;

/// One Deployment; with a Canary it is Flagger's target, and a primary stands beside it.
#[derive(Clone, Debug)]
struct World {
    deployment: Value,
    canary: Option<Value>,
    /// The template of the primary.
    primary: Value,
    sets: Vec<Value>,
    records: Vec<Value>,
    now: Timestamp,
    forward_on_hold: bool,
}

impl World {
    fn new(flagger: bool) -> Self {
        Self::with(flagger, &template(OLD))
    }

    /// One that runs this template.
    fn with(flagger: bool, template: &Value) -> Self {
        let deployment = json!({
            "metadata": {"name": "app", "namespace": "n", "uid": "d1", "generation": 1, "annotations": {"team": "payments"}},
            "spec": {"replicas": PODS, "template": template}, "status": {}
        });
        let canary = flagger.then(|| json!({
            "metadata": {"name": "app", "namespace": "n", "uid": "c1", "generation": 1},
            "spec": {"targetRef": {"kind": "Deployment", "name": "app"}, "analysis": {"stepWeight": 10, "maxWeight": 30}},
            "status": {"phase": "Initialized", "canaryWeight": 0, "lastAppliedSpec": template, "lastPromotedSpec": template}
        }));
        let now = "2025-10-01T12:00:00Z".parse().unwrap();
        let (sets, records) = (Vec::new(), Vec::new());
        let mut world =
            Self { deployment, canary, primary: template.clone(), sets, records, now, forward_on_hold: false };
        world.settle();
        world
    }

    fn id(&self) -> ObjectRef {
        let kind = if self.canary.is_some() { ObjectKind::Canary } else { ObjectKind::Deployment };
        ObjectRef { cluster: "c".into(), kind, namespace: "n".into(), name: "app".into() }
    }

    fn facts(&self) -> Facts {
        let object = |v: &Value| Some(Object::new(v.clone()));
        let primary = json!({"metadata": {"name": "app-primary", "uid": "p1", "generation": 1},
            "spec": {"replicas": PODS, "template": self.primary},
            "status": {"observedGeneration": 1, "replicas": PODS, "updatedReplicas": PODS, "availableReplicas": PODS}});
        Facts {
            object: self.canary.as_ref().map_or_else(|| object(&self.deployment), object),
            target: self.canary.as_ref().and_then(|_| object(&self.deployment)),
            primary: self.canary.as_ref().and_then(|_| object(&primary)),
            sets: self.sets.iter().cloned().map(Object::new).collect(),
            records: self.records.iter().cloned().map(Object::new).collect(),
            was_stable: Vec::new(),
            run: None,
            owner: None,
            now: self.now,
        }
    }

    fn seen(&self) -> Seen {
        let facts = self.facts();
        let sets: Vec<&Object> = facts.sets.iter().collect();
        let records: Vec<&Object> = facts.records.iter().collect();
        let related = Related {
            sets: &sets,
            records: &records,
            target: facts.target.as_ref(),
            primary: facts.primary.as_ref(),
            ..Related::default()
        };
        Seen::of(&observe(&self.id(), facts.object.as_ref().unwrap(), &related, Some("app"), facts.now))
    }

    fn held(&self) -> bool {
        match &self.canary {
            Some(canary) => canary["spec"]["suspend"] == true,
            None => self.deployment["spec"]["paused"] == true,
        }
    }

    fn send(&mut self, effect: &Effect) {
        let held = self.held();
        match &effect.change {
            Change::Create(body) => {
                let name = &body["metadata"]["name"];
                if !self.records.iter().any(|r| r["metadata"]["name"] == *name) {
                    self.records.push(body.clone());
                }
            }
            Change::Patch(patch) => {
                let holder = match (effect.object.kind, effect.object.name.as_str()) {
                    (ObjectKind::Canary, _) => self.canary.as_mut().unwrap(),
                    (_, "app") => &mut self.deployment,
                    other => panic!("{other:?}"),
                };
                let Ok(mut after) = apply(holder, &patch.0) else { return };
                after["status"] = holder["status"].clone();
                if after["spec"] != holder["spec"] {
                    after["metadata"]["generation"] = json!(holder["metadata"]["generation"].as_i64().unwrap() + 1);
                }
                *holder = after;
                self.forward_on_hold |= effect.direction == Direction::Forward && held && self.held();
            }
            Change::PatchStatus(_) => panic!("{effect:?}"),
        }
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.reconcile() {
                return;
            }
        }
        panic!("the model does not come to rest: {self:?}");
    }

    fn reconcile(&mut self) -> bool {
        self.now += SignedDuration::from_secs(1);
        let before = (self.deployment.clone(), self.canary.clone(), self.sets.clone(), self.primary.clone());
        self.roll();
        self.flagger();
        before != (self.deployment.clone(), self.canary.clone(), self.sets.clone(), self.primary.clone())
    }

    /// The Deployment controller: one pod of the new template for one of an old one.
    fn roll(&mut self) {
        let template = self.deployment["spec"]["template"].clone();
        let found = self.sets.iter().position(|s| s["was"] == template);
        let revision = |s: &Value| {
            s["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap().parse::<u64>().unwrap()
        };
        let newest = self.sets.iter().map(revision).max().unwrap_or(0);
        let paused = self.deployment["spec"]["paused"] == true;
        self.deployment["status"]["observedGeneration"] = self.deployment["metadata"]["generation"].clone();
        let updated =
            |sets: &[Value], at: Option<usize>| at.map_or(json!(0), |n| sets[n]["status"]["availableReplicas"].clone());
        if paused {
            self.deployment["status"]["updatedReplicas"] = updated(&self.sets, found);
            return;
        }
        let at = found.unwrap_or_else(|| {
            let hash = format!("h{}", newest + 1);
            let mut labelled = template.clone();
            labelled["metadata"]["labels"]["pod-template-hash"] = json!(hash);
            self.sets.push(json!({
                "was": template, "metadata": {
                    "name": format!("app-{hash}"), "labels": {"pod-template-hash": hash}, "creationTimestamp": self.now.to_string(),
                    "annotations": {"deployment.kubernetes.io/revision": "0"},
                    "ownerReferences": [{"uid": "d1", "controller": true}]
                },
                "spec": {"replicas": 0, "template": labelled}, "status": {"availableReplicas": 0}
            }));
            self.sets.len() - 1
        });
        if revision(&self.sets[at]) < newest || newest == 0 {
            self.sets[at]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
                json!((newest + 1).to_string());
        }
        self.deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] =
            self.sets[at]["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
        let pods = |s: &Value| s["status"]["availableReplicas"].as_u64().unwrap();
        let set_pods = |s: &mut Value, n: u64| {
            s["status"]["availableReplicas"] = json!(n);
            s["spec"]["replicas"] = json!(n);
        };
        if pods(&self.sets[at]) < PODS {
            let n = pods(&self.sets[at]) + 1;
            set_pods(&mut self.sets[at], n);
        }
        let all: u64 = self.sets.iter().map(pods).sum();
        if all > PODS {
            let old = (0..self.sets.len()).find(|n| *n != at && pods(&self.sets[*n]) > 0).unwrap();
            let n = pods(&self.sets[old]) - 1;
            set_pods(&mut self.sets[old], n);
        }
        let all: u64 = self.sets.iter().map(pods).sum();
        self.deployment["status"]["replicas"] = json!(all);
        self.deployment["status"]["availableReplicas"] = json!(all);
        self.deployment["status"]["updatedReplicas"] = updated(&self.sets, Some(at));
    }

    fn flagger(&mut self) {
        let Some(canary) = &mut self.canary else { return };
        if canary["spec"]["suspend"] == true {
            return;
        }
        let target = self.deployment["spec"]["template"].clone();
        let skip = canary["spec"]["skipAnalysis"] == true;
        let rolled = ["updatedReplicas", "replicas"].iter().all(|n| self.deployment["status"][n] == PODS);
        let status = &mut canary["status"];
        let changed = target != status["lastAppliedSpec"] && target != status["lastPromotedSpec"];
        let weight = status["canaryWeight"].as_u64().unwrap();
        match status["phase"].as_str().unwrap() {
            "Initialized" | "Succeeded" | "Failed" if changed => {
                status["phase"] = json!("Progressing");
                status["lastAppliedSpec"] = target;
            }
            "Progressing" if changed => {
                status["canaryWeight"] = json!(0);
                status["lastAppliedSpec"] = target;
            }
            "Progressing" if !rolled => {}
            "Progressing" if skip || weight >= 30 => {
                self.primary = target.clone();
                status["phase"] = json!(if skip { "Succeeded" } else { "Promoting" });
                status["canaryWeight"] = json!(0);
                status["lastAppliedSpec"] = target.clone();
                status["lastPromotedSpec"] = target;
            }
            "Progressing" => status["canaryWeight"] = json!(weight + 10),
            "Promoting" => status["phase"] = json!("Finalising"),
            "Finalising" => status["phase"] = json!("Succeeded"),
            _ => {}
        }
    }

    fn image(&self) -> &str {
        self.deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
    }

    /// True when nothing runs but this image, and nothing is held or left behind.
    fn runs_only(&self, image: &str) -> bool {
        let others = self.sets.iter().filter(|s| s["status"]["availableReplicas"] != 0);
        self.image() == image
            && !self.held()
            && others.clone().all(|s| s["was"]["spec"]["containers"][0]["image"] == image)
            && self.canary.as_ref().is_none_or(|c| {
                self.primary["spec"]["containers"][0]["image"] == image && c["spec"]["skipAnalysis"] != true
            })
    }
}

fn procedure(world: &World, verb: Verb, seen: Option<Seen>) -> Procedure {
    let aim = Aim { verb, workload: world.id(), order: order(), container: Some("app".into()), seen };
    Procedure::new(aim, Some(Verified::by_hand(&order()).unwrap()))
}

fn drive(world: &mut World, mut p: Procedure) -> Next {
    for _ in 0..120 {
        match p.next(&world.facts()) {
            Next::Send(effect) => {
                world.send(&effect);
                world.reconcile();
            }
            Next::Wait(_) => {
                world.reconcile();
            }
            end => return end,
        }
    }
    panic!("{:?} does not end: {world:?}", p.aim().verb);
}

fn act(world: &mut World, verb: Verb) -> Next {
    let p = procedure(world, verb, None);
    drive(world, p)
}

fn done(world: &mut World, verb: Verb) -> String {
    match act(world, verb.clone()) {
        Next::Done(said) => said.to_string(),
        other => panic!("{verb:?}: {other:?} on {world:?}"),
    }
}

fn refused(world: &mut World, verb: Verb) -> String {
    match act(world, verb.clone()) {
        Next::Refused(refusal) => refusal.why.to_string(),
        other => panic!("{verb:?}: {other:?}"),
    }
}

fn in_flight(flagger: bool) -> World {
    let mut w = World::new(flagger);
    done(&mut w, start(NEW));
    for _ in 0..2 {
        w.reconcile();
    }
    w
}

#[test]
fn a_deploy_is_recorded_before_it_is_made() {
    for flagger in [false, true] {
        let mut w = World::new(flagger);
        let mut p = procedure(&w, start(NEW), None);
        let Next::Send(first) = p.next(&w.facts()) else { panic!("no effect") };
        assert!(matches!(first.change, Change::Create(_)), "{first:?}");
        w.send(&first);
        assert!(matches!(drive(&mut w, p), Next::Done(_)));
        assert_eq!(w.records.len(), 1);
        assert_eq!(w.records[0]["immutable"], true);
        assert_eq!(w.deployment["metadata"]["annotations"]["footplate.dev/before"], "h1");
        w.settle();
        // The replica set is pruned; the record is enough.
        w.sets.retain(|s| s["metadata"]["name"] != "app-h1");
        done(&mut w, Verb::Undo);
        w.settle();
        assert!(w.runs_only(OLD), "{w:?}");
    }
}

#[test]
fn a_record_that_cannot_be_read_back_stops_the_deploy() {
    let w = World::new(false);
    let mut p = procedure(&w, start(NEW), None);
    for _ in 0..3 {
        assert!(matches!(p.next(&w.facts()), Next::Send(_)));
    }
    assert!(matches!(p.next(&w.facts()), Next::Refused(_)));
}

#[test]
fn a_deployment_has_no_steps_but_can_be_held_and_taken_back() {
    let mut w = in_flight(false);
    assert_eq!(refused(&mut w, Verb::Promote), "app is a Deployment: it has no steps to approve");
    assert_eq!(refused(&mut w, Verb::PromoteFull), "app is a Deployment: it has no steps to skip");
    done(&mut w, Verb::Pause);
    assert!(w.held());
    assert_eq!(refused(&mut w, Verb::Restart), "app is held by ana: because");
    done(&mut w, Verb::Abort);
    w.settle();
    assert!(w.runs_only(OLD), "{w:?}");
    assert_eq!(refused(&mut w, Verb::Abort), "app: no update is under way");
    assert!(matches!(act(&mut w, Verb::Undo), Next::Done(_)), "it is back already");
    assert_eq!(refused(&mut w, Verb::Resume), "nobody holds app");
    assert_eq!(refused(&mut w, Verb::Retry), "app has not failed");
    done(&mut w, Verb::Restart);
    assert!(w.runs_only(OLD));
}

#[test]
fn a_full_promotion_of_a_held_deployment_ends_the_hold_and_waits() {
    let mut w = in_flight(false);
    done(&mut w, Verb::Pause);
    done(&mut w, Verb::PromoteFull);
    assert!(w.runs_only(NEW));
}

#[test]
fn a_canary_is_promoted_by_its_gate_or_not_at_all() {
    let mut w = in_flight(true);
    assert_eq!(
        refused(&mut w, Verb::Promote),
        "app: Flagger moves by its own analysis; no confirm-traffic-increase gate is configured"
    );
    let canary = w.canary.as_mut().unwrap();
    canary["status"]["phase"] = json!("WaitingPromotion");
    canary["spec"]["analysis"]["webhooks"] =
        json!([{"type": "confirm-promotion", "url": "http://flagger-loadtester.test/gate/check"}]);
    let Next::Refused(refusal) = act(&mut w, Verb::Promote) else { panic!("it was not refused") };
    assert_eq!(
        refusal.hint,
        r#"open the gate: POST {"name":"app","namespace":"n"} to http://flagger-loadtester.test/gate/open"#
    );
}

#[test]
fn skip_analysis_is_taken_back_when_it_is_through() {
    let mut w = in_flight(true);
    done(&mut w, Verb::PromoteFull);
    assert!(w.runs_only(NEW), "{w:?}");
    assert_eq!(w.canary.as_ref().unwrap()["spec"]["skipAnalysis"], false);
    done(&mut w, Verb::Undo);
    assert!(w.runs_only(OLD), "{w:?}");
    assert_eq!(w.canary.as_ref().unwrap()["spec"]["skipAnalysis"], false);

    // The one who skipped is gone before it is through; the next start does not go out unseen.
    let mut w = in_flight(true);
    let mut p = procedure(&w, Verb::PromoteFull, None);
    let Next::Send(effect) = p.next(&w.facts()) else { panic!("no effect") };
    w.send(&effect);
    w.settle();
    done(&mut w, start("r.example/p/app:3.0.0"));
    assert_eq!(w.canary.as_ref().unwrap()["spec"]["skipAnalysis"], false);
}

#[test]
fn a_failed_canary_is_tried_again_or_taken_back() {
    let mut w = in_flight(true);
    w.canary.as_mut().unwrap()["status"]["phase"] = json!("Failed");
    assert!(matches!(act(&mut w, Verb::Abort), Next::Done(_)), "Flagger did it already");
    assert_eq!(refused(&mut w, start(NEW)), "r.example/p/app:2.0.0 failed on app");
    done(&mut w, Verb::Retry);
    assert_eq!(w.canary.as_ref().unwrap()["status"]["phase"], "Progressing");
    done(&mut w, Verb::Undo);
    w.settle();
    assert!(w.runs_only(OLD), "{w:?}");
}

#[test]
fn a_deployment_keeps_what_others_changed_since() {
    let mut w = World::new(false);
    done(&mut w, start(NEW));
    w.settle();
    w.deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
    w.deployment["metadata"]["generation"] = json!(9);
    w.settle();
    let said = done(&mut w, Verb::Undo);
    assert!(said.contains("changes by others since are kept: spec.containers.0.env"), "{said}");
    assert_eq!(w.deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["name"], "A");
    assert!(w.runs_only(OLD));
}

#[derive(Clone, Debug)]
enum Tick {
    Look(usize),
    Send(usize),
    Controller,
}

fn ticks() -> impl Strategy<Value = Vec<Tick>> {
    let tick = prop_oneof![(0..3usize).prop_map(Tick::Look), (0..3usize).prop_map(Tick::Send), Just(Tick::Controller)];
    prop::collection::vec(tick, 0..30)
}

fn safe_verb() -> impl Strategy<Value = Verb> {
    prop_oneof![Just(Verb::Pause), Just(Verb::Abort), Just(Verb::Undo)]
}

fn interleave(w: &mut World, hands: &mut [Procedure], ticks: &[Tick]) -> Vec<Next> {
    let ended = |next: &Option<Next>| matches!(next, Some(Next::Done(_) | Next::Refused(_)));
    let mut pending: Vec<Option<Next>> = hands.iter_mut().map(|p| Some(p.next(&w.facts()))).collect();
    for tick in ticks {
        match tick {
            Tick::Look(n)
                if *n < hands.len() && !ended(&pending[*n]) && !matches!(pending[*n], Some(Next::Send(_))) =>
            {
                pending[*n] = Some(hands[*n].next(&w.facts()));
            }
            Tick::Send(n) if *n < hands.len() => {
                if let Some(Next::Send(effect)) = pending[*n].take_if(|next| matches!(next, Next::Send(_))) {
                    w.send(&effect);
                }
            }
            Tick::Controller => {
                w.reconcile();
            }
            _ => {}
        }
    }
    for _ in 0..200 {
        for (next, hand) in pending.iter_mut().zip(hands.iter_mut()) {
            if let Some(Next::Send(effect)) = next.take_if(|next| matches!(next, Next::Send(_))) {
                w.send(&effect);
            }
            if !ended(next) {
                *next = Some(hand.next(&w.facts()));
            }
        }
        if !w.reconcile() && pending.iter().all(ended) {
            return pending.into_iter().flatten().collect();
        }
    }
    panic!("the hands do not end: {pending:?} on {w:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// restore > abort > hold, whoever comes first. Abort and undo are one restore here.
    #[test]
    fn safe_effects_commute(
        flagger in any::<bool>(),
        finished in any::<bool>(),
        verbs in prop::collection::vec(safe_verb(), 1..4),
        ticks in ticks(),
        saw in any::<bool>(),
    ) {
        let mut w = in_flight(flagger);
        if finished {
            w.settle();
        }
        let shown = w.seen();
        let mut hands: Vec<Procedure> =
            verbs.iter().map(|v| procedure(&w, v.clone(), saw.then(|| shown.clone()))).collect();
        let ends = interleave(&mut w, &mut hands, &ticks);
        let back = verbs.contains(&Verb::Undo) || (!finished && verbs.contains(&Verb::Abort));
        if back {
            prop_assert!(w.runs_only(OLD), "{ends:?} {w:?}");
        } else if verbs.contains(&Verb::Pause) {
            prop_assert!(w.held() && w.image() == NEW, "{ends:?} {w:?}");
        }
        for (end, verb) in ends.iter().zip(&verbs) {
            let nothing_to_abort = finished && *verb == Verb::Abort && matches!(end, Next::Refused(_));
            prop_assert!(
                nothing_to_abort || matches!(end, Next::Done(_)) || matches!(end, Next::Refused(r) if r.already),
                "{verb:?} ended {end:?}"
            );
        }
    }

    /// Whatever was done before by whomever, a verb ends, and nothing forward lands on a hold.
    #[test]
    fn every_verb_ends(flagger in any::<bool>(), past in prop::collection::vec(0usize..13, 0..8), last in 0usize..10) {
        let mut w = World::new(flagger);
        let verb = |n: usize| match n {
            0 => start(NEW), 1 => start("r.example/p/app:3.0.0"), 2 => Verb::Pause, 3 => Verb::Resume, 4 => Verb::Promote,
            5 => Verb::PromoteFull, 6 => Verb::Abort, 7 => Verb::Retry, 8 => Verb::Undo, _ => start(OLD),
        };
        for n in past {
            match n {
                10 => w.settle(),
                11 => {
                    w.deployment["spec"]["template"] = template("r.example/p/app:4.0.0");
                    w.deployment["metadata"]["generation"] = json!(w.deployment["metadata"]["generation"].as_i64().unwrap() + 1);
                }
                12 => { w.reconcile(); }
                n => { act(&mut w, verb(n)); }
            }
        }
        act(&mut w, verb(last));
        prop_assert!(!w.forward_on_hold);
    }
}

fn mounting(config: &str) -> Value {
    let mut template = template(OLD);
    template["spec"]["volumes"] =
        json!([{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": config}}]);
    template
}

fn mounted(world: &World) -> &str {
    world.deployment["spec"]["template"]["spec"]["volumes"][1]["configMap"]["name"].as_str().unwrap()
}

fn start_with(image: &str, files: &ConfigFiles) -> Verb {
    Verb::Start { image: image.into(), container: "app".into(), config: Some(files.clone()) }
}

fn limits(limit: u32) -> ConfigFiles {
    ConfigFiles::of("app", vec![("app/limits.yaml".into(), format!("limit: {limit}\n").into_bytes())]).unwrap()
}

#[test]
fn config_files_go_with_the_image_and_come_back_with_it() {
    for flagger in [false, true] {
        let files = limits(2);
        let mut w = World::with(flagger, &mounting("app-config-0"));
        done(&mut w, start_with(NEW, &files));
        assert_eq!((w.image(), mounted(&w)), (NEW, files.name().as_str()));
        let map = w.records.iter().find(|r| r["metadata"]["name"] == files.name().as_str()).unwrap();
        assert_eq!((&map["immutable"], &map["data"]), (&json!(true), &json!({"limits.yaml": "limit: 2\n"})));
        let written = w.records.len();
        done(&mut w, start_with(NEW, &files));
        assert_eq!(w.records.len(), written, "a second press makes nothing");
        w.settle();
        done(&mut w, Verb::Undo);
        w.settle();
        assert!(w.runs_only(OLD), "{w:?}");
        assert_eq!(mounted(&w), "app-config-0");
    }
}

#[test]
fn a_change_of_config_alone_is_a_deploy() {
    for flagger in [false, true] {
        let files = limits(3);
        let mut w = World::with(flagger, &mounting("app-config-0"));
        let sets = w.sets.len();
        done(&mut w, start_with(OLD, &files));
        assert_eq!((w.image(), mounted(&w)), (OLD, files.name().as_str()));
        w.settle();
        assert_eq!(w.sets.len(), sets + 1, "another revision");
        done(&mut w, Verb::Undo);
        w.settle();
        assert_eq!(mounted(&w), "app-config-0");
    }
}

#[test]
fn config_files_that_cannot_be_mounted_are_refused() {
    for flagger in [false, true] {
        let files = limits(2);
        let mut w = World::new(flagger);
        let Next::Refused(refusal) = act(&mut w, start_with(NEW, &files)) else { panic!("not refused") };
        assert!(refusal.why.contains("no volume called config"), "{}", refusal.why);
        let lines = format!("volumes: [{{name: config, configMap: {{name: {}}}}}]", files.name());
        assert!(refusal.hint.contains(&lines) && refusal.hint.contains("volumeMounts"), "{}", refusal.hint);
        assert_eq!(w.image(), OLD);
        // A ConfigMap of that name with other content is in the way.
        let mut w = World::with(flagger, &mounting("app-config-0"));
        let mut other = files.config_map(&w.id(), if flagger { "c1" } else { "d1" });
        other["data"]["limits.yaml"] = json!("limit: 9\n");
        w.records.push(other);
        assert!(refused(&mut w, start_with(NEW, &files)).contains("holds something else"));
        assert_eq!((w.image(), mounted(&w)), (OLD, "app-config-0"));
    }
}
