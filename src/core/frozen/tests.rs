//! Each kind's objects as its controller leaves them, read and patched: what is read is what lies there, what is sent lands
//! once, and every single precondition of it refuses when what it speaks of has moved.

use serde_json::{Value, json};

use super::patch::{Cannot, Desk, Ordered};
use super::raw::{Bench, EPOCH, Raw, TRAIN};
use super::*;
use crate::core::effect::{Change as Sent, Direction, Effect};
use crate::core::object::Object;
use crate::core::train::effect::{Change, Stamp, Tests};
use crate::core::train::event::{JobReading, Pause, Reading, Spec};
use crate::core::train::resolved::{Abandon, Deploy, Flag, Migration, Service, Times, Untimed, Wave};
use crate::core::verb::draft::{HOLD, UNDO};
use crate::core::verb::model::apply;

const RELEASE: &str = "4fe1c0de-77";
const OLD: &str = "r.example/p/app:1.0.0";
const NEW: &str = "r.example/p/app:2.0.0";
const HOLDER: &str = "conductor/a-1";

fn frozen(kind: Kind) -> Frozen {
    let service = Service {
        name: "app".into(),
        version: "2.0.0".into(),
        image: NEW.into(),
        kind,
        wave: 1,
        needs: Vec::new(),
        untimed: Untimed::Gate,
        commit: None,
    };
    let queries = Queries { requests: "r".into(), errors: "e".into(), latency: "l".into() };
    Frozen {
        form: FORM,
        resolved: Resolved {
            release: "r".into(),
            uid: RELEASE.into(),
            id: "QKZD".into(),
            environment: "prod".into(),
            captain: "ana".into(),
            abandon: Abandon::Stay,
            deploy: Deploy::Direct,
            waves: vec![Wave { services: vec![0], expand: false }],
            services: vec![service],
            migrations: vec![Migration { name: "postgres".into(), script: "sql".into() }],
            flags: vec![Flag { key: "new-ledger".into(), goal: Setting::Percent(100), safe: None, services: vec![0] }],
            policies: Vec::new(),
            times: Times::default(),
            broken: None,
        },
        manifest_sha256: "00".into(),
        cluster_uid: "c1".into(),
        pinned_uid: None,
        namespace: "payments".into(),
        protected: false,
        workloads: vec![Workload {
            service: "app".into(),
            kind,
            name: "app".into(),
            container: None,
            config: Some("app-config-2".into()),
            slo: Slo::default(),
            gate: GateBy::Metrics,
            lag: None,
            max_lag: None,
            checks: Vec::new(),
            weights: None,
        }],
        watched: Vec::new(),
        flags: FlagPlace::Objects,
        scripts: vec![Script { job: json!({"spec": {"template": {}}}), down: json!({"spec": {"down": true}}) }],
        prometheus: None,
        queries,
        guard: judge::Settings::default(),
        freeze: Vec::new(),
        incidents: Vec::new(),
        edges: Vec::new(),
        estimate: 0,
    }
}

/// The four ways in which a template and its steps may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Rollout,
    /// With `workloadRef`.
    Referring,
    Deployment,
    Canary,
}

const SHAPES: [Shape; 4] = [Shape::Rollout, Shape::Referring, Shape::Deployment, Shape::Canary];

/// The objects of one service.
#[derive(Clone, Debug)]
struct Rig {
    shape: Shape,
    frozen: Frozen,
    object: Value,
    target: Option<Value>,
    primary: Option<Value>,
    sets: Vec<Value>,
    record: Option<Value>,
}

fn template(image: &str, config: &str) -> Value {
    json!({"metadata": {"labels": {"app": "app"}}, "spec": {
        "containers": [{"name": "app", "image": image}, {"name": "side", "image": "s:1"}],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": config}}]}})
}

fn old() -> Value {
    template(OLD, "app-config-1")
}

fn new() -> Value {
    template(NEW, "app-config-2")
}

fn set(shape: Shape, hash: &str, revision: u32, template: &Value, pods: u32) -> Value {
    let by_argo = matches!(shape, Shape::Rollout | Shape::Referring);
    let (label, annotation) = if by_argo {
        ("rollouts-pod-template-hash", "rollout.argoproj.io/revision")
    } else {
        ("pod-template-hash", "deployment.kubernetes.io/revision")
    };
    let owner = if shape == Shape::Canary { "t1" } else { "u1" };
    let mut template = template.clone();
    template["metadata"]["labels"][label] = json!(hash);
    json!({
        "metadata": {
            "name": format!("app-{hash}"), "labels": {label: hash}, "annotations": {annotation: revision.to_string()},
            "creationTimestamp": format!("2025-10-01T12:{revision:02}:00Z"),
            "ownerReferences": [{"uid": owner, "controller": true}]
        },
        "spec": {"replicas": pods, "template": template},
        "status": {"replicas": pods, "readyReplicas": pods, "availableReplicas": pods}
    })
}

/// A Deployment that is through with its template.
fn deployment(name: &str, uid: &str, revision: u32, template: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "payments", "uid": uid, "generation": 4, "resourceVersion": "90",
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()}},
        "spec": {"replicas": 4, "template": template},
        "status": {"observedGeneration": 4, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4,
            "availableReplicas": 4}
    })
}

impl Rig {
    /// At rest on the old version, in nobody's train.
    fn new(shape: Shape) -> Self {
        let kind = match shape {
            Shape::Rollout | Shape::Referring => Kind::Rollout,
            Shape::Deployment => Kind::Deployment,
            Shape::Canary => Kind::Canary,
        };
        let rollout = json!({
            "metadata": {"name": "app", "namespace": "payments", "uid": "u1", "generation": 3, "resourceVersion": "88"},
            "spec": {"replicas": 4, "rollbackWindow": {"revisions": 3},
                "strategy": {"canary": {
                    "trafficRouting": {"nginx": {"stableIngress": "app"}},
                    "steps": [{"setWeight": 25}, {"pause": {"duration": "60s"}}, {"setWeight": 100}]}}},
            "status": {"observedGeneration": "3", "phase": "Healthy", "currentPodHash": "aaa", "stableRS": "aaa",
                "currentStepIndex": 3, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4}
        });
        let (mut target, mut primary) = (None, None);
        let object = match shape {
            Shape::Rollout => {
                let mut object = rollout;
                object["spec"]["template"] = old();
                object
            }
            Shape::Referring => {
                let mut object = rollout;
                object["spec"]["workloadRef"] = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "tpl"});
                object["status"]["workloadObservedGeneration"] = json!("4");
                target = Some(deployment("tpl", "t1", 1, &old()));
                object
            }
            Shape::Deployment => deployment("app", "u1", 1, &old()),
            Shape::Canary => {
                target = Some(deployment("tpl", "t1", 1, &old()));
                primary = Some(deployment("tpl-primary", "p1", 1, &template(OLD, "app-config-1-primary")));
                json!({
                    "metadata": {"name": "app", "namespace": "payments", "uid": "u1", "generation": 3,
                        "resourceVersion": "88"},
                    "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "tpl"},
                        "analysis": {"interval": "10s", "threshold": 2, "stepWeight": 25, "maxWeight": 75}},
                    "status": {"phase": "Initialized", "canaryWeight": 0, "lastAppliedSpec": "77",
                        "lastTransitionTime": "2025-10-01T12:01:30Z"}
                })
            }
        };
        let sets = vec![set(shape, "aaa", 1, &old(), 4)];
        Self { shape, frozen: frozen(kind), object, target, primary, sets, record: None }
    }

    /// In this train, recorded, and moving: at its first pause where it has steps.
    fn moving(shape: Shape) -> Self {
        let mut rig = Self::new(shape);
        let Ok(record) = rig.with(|raw| patch::record(&rig.frozen, 0, raw)) else {
            panic!("{shape:?} cannot be recorded")
        };
        let Sent::Create(map) = &record.effect().change else { panic!("{record:?}") };
        rig.record = Some(map.clone());
        for object in [Some(&mut rig.object), rig.target.as_mut()].into_iter().flatten() {
            object["metadata"]["annotations"][TRAIN] = json!(RELEASE);
            object["metadata"]["annotations"][EPOCH] = json!(format!("7/{HOLDER}"));
        }
        rig.sets = vec![set(shape, "aaa", 1, &old(), 3), set(shape, "bbb", 2, &new(), 1)];
        rig.holder()["spec"]["template"] = new();
        rig.holder()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("2");
        match shape {
            Shape::Rollout | Shape::Referring => {
                let status = &mut rig.object["status"];
                for (field, value) in [
                    ("phase", json!("Paused")),
                    ("currentPodHash", json!("bbb")),
                    ("currentStepIndex", json!(1)),
                    ("controllerPause", json!(true)),
                    ("pauseConditions", json!([{"reason": "CanaryPauseStep", "startTime": "2025-10-01T12:03:00Z"}])),
                    (
                        "canary",
                        json!({"weights": {
                        "canary": {"weight": 25, "podTemplateHash": "bbb"},
                        "stable": {"weight": 75, "podTemplateHash": "aaa"}}}),
                    ),
                ] {
                    status[field] = value;
                }
            }
            Shape::Deployment => rig.object["status"]["updatedReplicas"] = json!(1),
            Shape::Canary => {
                let status = &mut rig.object["status"];
                status["phase"] = json!("Progressing");
                status["canaryWeight"] = json!(25);
                status["lastTransitionTime"] = json!("2025-10-01T12:02:30Z");
            }
        }
        rig
    }

    fn holder(&mut self) -> &mut Value {
        self.target.as_mut().unwrap_or(&mut self.object)
    }

    fn with<T>(&self, f: impl FnOnce(&Raw<'_>) -> T) -> T {
        let object = |v: &Value| Object::new(v.clone());
        let (main, target, primary) =
            (object(&self.object), self.target.as_ref().map(object), self.primary.as_ref().map(object));
        let sets: Vec<Object> = self.sets.iter().map(object).collect();
        let sets: Vec<&Object> = sets.iter().collect();
        let record = self.record.as_ref().map(object);
        f(&Raw {
            cluster: &"sim".into(),
            object: &main,
            target: target.as_ref(),
            primary: primary.as_ref(),
            sets: &sets,
            record: record.as_ref(),
            now: "2025-10-01T12:03:30Z".parse().unwrap(),
        })
    }

    fn read(&self) -> Reading {
        self.with(|raw| reading::reading(&self.frozen, 0, raw)).unwrap()
    }

    fn effects(&self, change: &Change, tests: &Tests, direction: Direction) -> Result<Vec<Effect>, Cannot> {
        self.with(|raw| {
            let bench = Bench::of(&self.frozen, 0, raw).unwrap();
            let desk = Desk { bench: &bench, change, tests, intent: 0x2a };
            Ok(desk.effects(direction)?.into_iter().map(|e| *e).collect())
        })
    }

    /// Applies patches as the server does, each on its object; false as soon as one is refused.
    fn send(&mut self, effects: &[Effect]) -> bool {
        effects.iter().all(|effect| {
            let object = match effect.object.name.as_str() {
                "app" => &mut self.object,
                _ => self.target.as_mut().unwrap(),
            };
            let before = object.clone();
            match &effect.change {
                Sent::Patch(patch) => apply(&before, &patch.0).map(|after| {
                    let status = object["status"].take();
                    *object = after;
                    object["status"] = status;
                }),
                Sent::PatchStatus(patch) => {
                    apply(&before, &patch.0).map(|after| object["status"] = after["status"].clone())
                }
                Sent::Create(_) => panic!("{effect:?}"),
            }
            .is_ok()
        })
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.object["metadata"]["annotations"][key].as_str()
    }
}

fn none(rig: &Rig) -> Tests {
    Tests {
        uid: rig.read().uid,
        generation: None,
        train: Stamp::Any,
        epoch: Stamp::Any,
        hold: Stamp::Any,
        undo: Stamp::Any,
        hash: None,
        step: None,
        ours: false,
        aborted: None,
    }
}

fn safe(rig: &Rig) -> Tests {
    Tests { train: Stamp::Is(RELEASE.into()), ..none(rig) }
}

fn forward(rig: &Rig) -> Tests {
    let r = rig.read();
    Tests {
        generation: Some(r.generation),
        train: Stamp::Is(RELEASE.into()),
        epoch: Stamp::Is((7, HOLDER.into())),
        hold: Stamp::Absent,
        undo: Stamp::Absent,
        ..none(rig)
    }
}

#[test]
fn what_rests_reads_as_recorded_and_what_moves_as_pinned() {
    for shape in SHAPES {
        let rest = Rig::new(shape).read();
        assert_eq!((rest.uid.as_str(), rest.generation > 0, rest.observed), ("u1", true, true), "{shape:?}");
        assert_eq!((rest.current.as_str(), rest.stable.as_str()), ("aaa", "aaa"), "{shape:?}");
        assert_eq!((rest.spec, rest.healthy, rest.weight, rest.mark), (Spec::Recorded, true, 0, 0), "{shape:?}");
        assert_eq!((rest.train, rest.epoch, rest.record, rest.pause), (None, None, None, None), "{shape:?}");

        let moving = Rig::moving(shape).read();
        assert_eq!((moving.current.as_str(), moving.stable.as_str()), ("bbb", "aaa"), "{shape:?}");
        assert_eq!((moving.spec, moving.healthy, moving.weight), (Spec::Pinned, false, 25), "{shape:?}");
        assert_eq!(moving.epoch, Some((7, HOLDER.into())), "{shape:?}");
        assert_eq!(moving.record.as_deref(), Some("aaa"), "{shape:?}");
        assert!(moving.fast && !moving.aborted && !moving.paused, "{shape:?}");
        assert_eq!(moving.mark, 1, "{shape:?}: its replica set is there");
        let (step, steps, pause) = match shape {
            Shape::Deployment => (0, 0, None),
            Shape::Canary => (1, 3, None),
            _ => (1, 3, Some(Pause::Timed(60_000))),
        };
        assert_eq!((moving.step, moving.steps, moving.pause), (step, steps, pause), "{shape:?}");
        assert_eq!(moving.version, if shape == Shape::Rollout { 88 } else { 90 });
    }
}

#[test]
fn a_mark_is_one_that_no_replica_set_bears() {
    let mut rig = Rig::moving(Shape::Rollout);
    for n in [1, 3] {
        let mut marked = new();
        marked["metadata"]["annotations"] = json!({TRAIN: format!("{RELEASE}-{n}")});
        rig.sets.push(set(Shape::Rollout, &format!("m{n}"), 3 + n, &marked, 0));
    }
    assert_eq!(rig.read().mark, 2);
    rig.holder()["spec"]["template"] = template("r.example/p/app:3.0.0", "app-config-2");
    assert_eq!(rig.read().spec, Spec::Other);
    rig.holder()["spec"]["template"] = template(NEW, "app-config-1");
    assert_eq!(rig.read().spec, Spec::Other, "the config is another one");
    rig.record = None;
    assert_eq!(rig.read().spec, Spec::Recorded, "before a record there is no other");
}

/// One change, the tests that it is made with, and whether it goes forward.
fn changes(rig: &Rig) -> Vec<(Change, Tests)> {
    let r = rig.read();
    let at_step = |tests: Tests| Tests { hash: Some(r.current.clone()), step: Some((r.step, r.pause)), ..tests };
    let hashed = |tests: Tests| Tests { hash: Some(r.current.clone()), ..tests };
    let by_epoch = Tests { train: Stamp::Is(RELEASE.into()), epoch: Stamp::Is((7, HOLDER.into())), ..none(rig) };
    let mut all = vec![
        (Change::Stamp { epoch: (8, "b".into()) }, by_epoch.clone()),
        (Change::Deploy { mark: 2 }, hashed(forward(rig))),
        (Change::Hold(format!("{RELEASE}/5").as_str().into()), Tests { undo: Stamp::Absent, ..safe(rig) }),
        (Change::Release, forward(rig)),
        (Change::MarkUndo, safe(rig)),
        (Change::Restore, Tests { ours: true, ..safe(rig) }),
        (Change::Restore, Tests { ours: true, generation: Some(r.generation), ..none(rig) }),
        (Change::Abort, hashed(safe(rig))),
        (Change::ClearUndo, forward(rig)),
        (Change::Unstamp, by_epoch),
    ];
    if rig.shape != Shape::Deployment {
        all.push((Change::Full, at_step(forward(rig))));
        all.push((Change::PromoteRecorded, hashed(safe(rig))));
    }
    if matches!(rig.shape, Shape::Rollout | Shape::Referring) {
        all.push((Change::Approve { inconclusive: false }, at_step(forward(rig))));
    }
    all
}

/// What moves on the objects, and whether the tests speak of it.
fn moves(rig: &Rig, change: &Change, tests: &Tests) -> Vec<(&'static str, Rig)> {
    let mut all = Vec::new();
    let mut push = |what, go: &dyn Fn(&mut Rig)| {
        let mut moved = rig.clone();
        go(&mut moved);
        all.push((what, moved));
    };
    push("uid", &|rig| rig.object["metadata"]["uid"] = json!("u2"));
    if tests.generation.is_some() {
        push("generation", &|rig| rig.object["metadata"]["generation"] = json!(9));
    }
    let stamp = |rig: &mut Rig, key: &str| rig.object["metadata"]["annotations"][key] = json!("8/other");
    if tests.train != Stamp::Any {
        push("train", &|rig| stamp(rig, TRAIN));
    }
    if tests.epoch != Stamp::Any {
        push("epoch", &|rig| stamp(rig, EPOCH));
    }
    if tests.hold != Stamp::Any {
        push("hold", &|rig| stamp(rig, HOLD));
    }
    if tests.undo != Stamp::Any {
        push("undo", &|rig| stamp(rig, UNDO));
    }
    if tests.hash.is_some() {
        push("hash", &|rig| match rig.shape {
            Shape::Rollout | Shape::Referring => rig.object["status"]["currentPodHash"] = json!("ccc"),
            Shape::Deployment => {
                rig.object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("3");
            }
            Shape::Canary => {
                rig.object["status"]["lastAppliedSpec"] = json!("78");
                rig.holder()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("3");
            }
        });
    }
    if tests.step.is_some() {
        push("step", &|rig| {
            rig.object["status"]["currentStepIndex"] = json!(2);
            rig.object["status"]["canaryWeight"] = json!(50);
        });
        push("pause", &|rig| {
            rig.object["status"]["pauseConditions"] =
                json!([{"reason": "CanaryPauseStep", "startTime": "2025-10-01T12:09:00Z"}]);
            rig.object["status"]["phase"] = json!("WaitingPromotion");
        });
    }
    if tests.ours {
        push("image", &|rig| rig.holder()["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:1"));
        push("config", &|rig| {
            rig.holder()["spec"]["template"]["spec"]["volumes"][1]["configMap"]["name"] = json!("other");
        });
        push("containers", &|rig| {
            let containers = &mut rig.holder()["spec"]["template"]["spec"]["containers"];
            containers.as_array_mut().unwrap().reverse();
        });
    }
    // What fences off the late lies on the Deployment with the template as well.
    if rig.target.is_some() && matches!(change, Change::Deploy { .. }) {
        for key in [TRAIN, EPOCH, UNDO] {
            push(key, &|rig| rig.target.as_mut().unwrap()["metadata"]["annotations"][key] = json!("8/other"));
        }
    }
    all
}

#[test]
fn every_single_precondition_refuses_when_its_subject_has_moved() {
    let mut tried = 0;
    for shape in SHAPES {
        let rig = Rig::moving(shape);
        for (change, tests) in changes(&rig) {
            let effects = rig
                .effects(&change, &tests, Direction::Safe)
                .unwrap_or_else(|why| panic!("{shape:?} {change:?}: {why:?}"));
            assert!(rig.clone().send(&effects), "{shape:?} {change:?} does not land: {effects:?}");
            for (what, mut moved) in moves(&rig, &change, &tests) {
                assert!(!moved.send(&effects), "{shape:?} {change:?} lands although its {what} moved: {effects:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn stamps_lie_on_the_template_holder_first_and_are_read_from_the_workload() {
    for shape in SHAPES {
        let mut rig = Rig::new(shape);
        let stamp = Change::Stamp { epoch: (7, HOLDER.into()) };
        let tests = Tests { train: Stamp::Absent, epoch: Stamp::Absent, ..none(&rig) };
        let effects = rig.effects(&stamp, &tests, Direction::Forward).unwrap();
        assert_eq!(effects.last().unwrap().object.name.as_str(), "app");
        assert_eq!(effects.len(), if rig.target.is_some() { 2 } else { 1 });
        assert!(rig.send(&effects));
        let read = rig.read();
        assert_eq!((read.train.as_deref(), read.epoch), (Some(RELEASE), Some((7, HOLDER.into()))), "{shape:?}");
        assert!(!rig.send(&effects), "{shape:?}: a second time it is refused");
        let Some(target) = &mut rig.target else { continue };
        target["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
        let read = rig.read();
        assert_eq!((read.train, read.epoch), (None, None), "{shape:?}: half of them count as none");
        assert!(rig.send(&rig.effects(&stamp, &tests, Direction::Forward).unwrap()));
        assert_eq!(rig.read().train.as_deref(), Some(RELEASE));
        let lower = Change::Stamp { epoch: (6, "b".into()) };
        let tests = Tests { train: Stamp::Is(RELEASE.into()), epoch: Stamp::Is((7, HOLDER.into())), ..none(&rig) };
        assert!(matches!(rig.effects(&lower, &tests, Direction::Forward), Err(Cannot::Moved(_))), "{shape:?}");
    }
}

#[test]
fn a_restore_wins_over_a_hold_and_keeps_the_late_away() {
    for shape in SHAPES {
        let mut rig = Rig::moving(shape);
        let deploy =
            rig.effects(&Change::Deploy { mark: 0 }, &Tests { generation: None, ..forward(&rig) }, Direction::Forward);
        let hold = Change::Hold(format!("{RELEASE}/5").as_str().into());
        let tests = Tests { undo: Stamp::Absent, ..safe(&rig) };
        let hold = rig.effects(&hold, &tests, Direction::Safe).unwrap();
        let restore = rig.effects(&Change::Restore, &Tests { ours: true, ..safe(&rig) }, Direction::Safe).unwrap();
        let held = hold.clone();
        assert!(rig.send(&held));
        assert!(rig.read().paused);
        assert!(rig.send(&restore), "{shape:?}: made before the hold, it lands after it");
        let read = rig.read();
        assert_eq!((read.spec, read.paused, read.hold), (Spec::Recorded, false, None), "{shape:?}");
        assert_eq!(read.undo.as_deref(), Some("4fe1c0de-77/2a"));
        assert_eq!(*rig.holder().pointer("/spec/template").unwrap(), old(), "{shape:?}: in its own words");
        assert!(!rig.send(&hold), "{shape:?}: no hold lands on what is being undone");
        assert!(!rig.send(&deploy.unwrap()), "{shape:?}: no late deploy lands either");
    }
}

#[test]
fn what_others_changed_since_stays() {
    for shape in SHAPES {
        let mut rig = Rig::moving(shape);
        rig.holder()["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
        let restore = rig.effects(&Change::Restore, &Tests { ours: true, ..safe(&rig) }, Direction::Safe).unwrap();
        assert!(rig.send(&restore));
        let mut expected = old();
        expected["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
        assert_eq!(*rig.holder().pointer("/spec/template").unwrap(), expected, "{shape:?}");
        assert_eq!(rig.read().spec, Spec::Other, "and a person is told");
    }
}

#[test]
fn nothing_goes_back_to_a_record_that_is_not_believed() {
    let mut rig = Rig::moving(Shape::Rollout);
    rig.record.as_mut().unwrap()["data"]["template"] = json!(new().to_string());
    assert_eq!(rig.read().record, None);
    let restore = rig.effects(&Change::Restore, &Tests { ours: true, ..safe(&rig) }, Direction::Safe);
    assert!(matches!(restore, Err(Cannot::Refused(_))));
    assert!(rig.with(|raw| patch::record(&rig.frozen, 0, raw)).is_err(), "nor is what moves recorded");
}

#[test]
fn a_deploy_sets_image_config_and_mark() {
    for shape in SHAPES {
        let mut rig = Rig::moving(shape);
        let mut marked = old();
        marked["metadata"]["annotations"] = json!({TRAIN: "an-older-train-1"});
        rig.holder()["spec"]["template"] = marked;
        for (mark, expected) in [(0, json!({})), (3, json!({TRAIN: format!("{RELEASE}-3")}))] {
            let mut rig = rig.clone();
            let effects = rig.effects(&Change::Deploy { mark }, &forward(&rig), Direction::Forward).unwrap();
            assert!(rig.send(&effects));
            let written = rig.holder().pointer("/spec/template").unwrap().clone();
            assert_eq!(written["metadata"]["annotations"], expected, "{shape:?}");
            assert!(crate::core::template::same(&written, &new()), "{shape:?}: {written}");
        }
    }
}

#[test]
fn an_inconclusive_step_is_gone_over_and_no_other() {
    let mut rig = Rig::moving(Shape::Rollout);
    rig.object["status"]["pauseConditions"][0]["reason"] = json!("InconclusiveAnalysisRun");
    rig.object["status"]["canary"]["currentStepAnalysisRunStatus"] = json!({"name": "run-1", "status": "Inconclusive"});
    let r = rig.read();
    assert_eq!(r.pause, Some(Pause::Inconclusive));
    let tests = Tests { hash: Some(r.current.clone()), step: Some((r.step, r.pause)), ..forward(&rig) };
    let effects = rig.effects(&Change::Approve { inconclusive: true }, &tests, Direction::Forward).unwrap();
    let mut other_run = rig.clone();
    other_run.object["status"]["canary"]["currentStepAnalysisRunStatus"]["name"] = json!("run-2");
    assert!(!other_run.send(&effects));
    assert!(rig.send(&effects));
    assert_eq!(rig.object["status"]["currentStepIndex"], 2);
    assert_eq!(rig.object["status"]["controllerPause"], false);
    assert_eq!(rig.object["status"]["pauseConditions"], Value::Null);
    let seen_timed = Tests { step: Some((1, Some(Pause::Timed(60_000)))), ..tests };
    let other = Rig::moving(Shape::Rollout);
    assert!(other.effects(&Change::Approve { inconclusive: false }, &seen_timed, Direction::Forward).is_ok());
    let inconclusive = rig.effects(&Change::Approve { inconclusive: false }, &seen_timed, Direction::Forward);
    assert!(matches!(inconclusive, Err(Cannot::Moved(_))), "it does not pause for what was seen");
}

#[test]
fn a_canary_is_aborted_while_its_failure_is_about_what_is_there() {
    let mut rig = Rig::moving(Shape::Canary);
    rig.object["status"]["phase"] = json!("Failed");
    rig.object["status"]["canaryWeight"] = json!(0);
    assert!(rig.read().aborted);
    rig.object["status"]["lastTransitionTime"] = json!("2025-10-01T12:01:30Z");
    assert!(!rig.read().aborted, "Flagger has not looked at this one");
    rig.primary.as_mut().unwrap()["spec"]["template"] = template(NEW, "app-config-2-primary");
    rig.target.as_mut().unwrap()["status"]["updatedReplicas"] = json!(4);
    let read = rig.read();
    assert_eq!((read.stable.as_str(), read.healthy, read.aborted), ("bbb", true, false), "promoted");
    assert!(!read.fast, "the way back is another run");
    let full = rig.effects(&Change::Full, &safe(&rig), Direction::Forward).unwrap();
    assert!(rig.send(&full));
    assert_eq!((rig.read().full, rig.annotation("footplate.dev/skip-analysis")), (true, Some("bbb")));
    let unstamp = rig.effects(&Change::Unstamp, &safe(&rig), Direction::Forward).unwrap();
    assert!(rig.send(&unstamp));
    assert!(!rig.read().full, "the next version is analysed");
    assert_eq!((rig.annotation(TRAIN), rig.annotation(EPOCH).is_some()), (None, true), "the epoch stays");
}

#[test]
fn a_deployment_whose_pods_fail_is_still_on_its_version() {
    let mut rig = Rig::new(Shape::Deployment);
    rig.sets.push(set(Shape::Deployment, "zzz", 0, &template("r.example/p/app:0.9.0", "app-config-0"), 0));
    rig.object["status"]["availableReplicas"] = json!(2);
    let read = rig.read();
    assert_eq!((read.current.as_str(), read.stable.as_str(), read.healthy), ("aaa", "aaa", false));
}

#[test]
fn jobs_have_names_of_their_own_and_are_read_by_their_conditions() {
    let frozen = frozen(Kind::Rollout);
    for (down, name) in [(false, "fp-4fe1c0de-expand-postgres"), (true, "fp-4fe1c0de-down-postgres")] {
        let Ordered { effect, forward } = patch::job(&frozen, 0, down, 7, &"sim".into());
        assert_eq!((effect.object.name.as_str(), forward), (name, Some((7, 10_000))));
        let Sent::Create(body) = effect.change else { panic!() };
        assert_eq!((&body["metadata"]["name"], &body["kind"]), (&json!(name), &json!("Job")));
        assert_eq!(body["spec"]["down"].as_bool().unwrap_or_default(), down);
    }
    let job = |conditions: Value| Object::new(json!({"status": {"conditions": conditions}}));
    let is = |what: &str| job(json!([{"type": what, "status": "True"}]));
    let (running, done, failed) = (job(json!([])), is("Complete"), is("Failed"));
    for (up, down, expected) in [
        (None, None, JobReading::Absent),
        (Some(&running), None, JobReading::Running),
        (Some(&done), None, JobReading::Done),
        (Some(&failed), None, JobReading::Failed),
        (Some(&done), Some(&running), JobReading::Running),
        (Some(&done), Some(&done), JobReading::DownDone),
        (Some(&done), Some(&failed), JobReading::Failed),
    ] {
        assert_eq!(reading::job_reading(up, down), expected);
    }
}

#[test]
fn a_flag_is_read_and_moved_under_the_version_that_was_read() {
    use crate::core::train::effect::FlagChange;
    let mut frozen = frozen(Kind::Rollout);
    let definition = |variant: &str, targeting: Value| {
        json!({"flags": {"new-ledger": {"state": "ENABLED", "variants": {"on": true, "off": false},
            "defaultVariant": variant, "targeting": targeting}}})
    };
    let object = |spec: Value| {
        Object::new(
            json!({"metadata": {"name": "flags", "uid": "f1", "resourceVersion": "51"}, "spec": {"flagSpec": spec}}),
        )
    };
    let off = object(definition("off", json!({})));
    assert_eq!(reading::flag_reading(&frozen, 0, &off).map(|r| (r.value, r.version)), Some((Setting::Percent(0), 51)));
    let five = object(definition("off", json!({"fractional": [["on", 5], ["off", 95]]})));
    assert_eq!(reading::flag_reading(&frozen, 0, &five).unwrap().value, Setting::Percent(5));
    let rules = object(definition("off", json!({"if": [true, "on", "off"]})));
    assert_eq!(reading::flag_reading(&frozen, 0, &rules), None, "there is no way back to rules");

    let change =
        |version, back| FlagChange { flag: 0, to: Setting::Percent(5), version, back, epoch: (!back).then_some(7) };
    let moved = patch::flag(&frozen, &change(51, false), &"sim".into(), &off).unwrap();
    assert_eq!((moved.effect().direction, moved.forward), (Direction::Forward, Some((7, 10_000))));
    let Sent::Patch(patch) = &moved.effect().change else { panic!() };
    let after = apply(off.whole(), &patch.0).unwrap();
    assert_eq!(reading::flag_reading(&frozen, 0, &Object::new(after)).unwrap().value, Setting::Percent(5));
    let mut later = off.whole().clone();
    later["metadata"]["resourceVersion"] = json!("52");
    assert!(apply(&later, &patch.0).is_err());
    assert!(matches!(patch::flag(&frozen, &change(50, false), &"sim".into(), &off), Err(Cannot::Moved(_))));
    let back = patch::flag(&frozen, &change(51, true), &"sim".into(), &off).unwrap();
    assert_eq!((back.effect().direction, back.forward), (Direction::Safe, None));

    let tier = |targeting: Value| {
        object(json!({"flags": {"new-ledger": {"state": "ENABLED", "variants": {"basic": 1, "gold": 2},
            "defaultVariant": "basic", "targeting": targeting}}}))
    };
    let basic = tier(json!({}));
    assert_eq!(reading::flag_reading(&frozen, 0, &basic).unwrap().value, Setting::Variant("basic".into()));
    assert_eq!(reading::flag_reading(&frozen, 0, &tier(json!({"if": [true, "gold", "basic"]}))), None);
    let gold = FlagChange { to: Setting::Variant("gold".into()), ..change(51, false) };
    let Sent::Patch(patch) = patch::flag(&frozen, &gold, &"sim".into(), &basic).unwrap().effect().change.clone() else {
        panic!()
    };
    let after = Object::new(apply(basic.whole(), &patch.0).unwrap());
    assert_eq!(reading::flag_reading(&frozen, 0, &after).unwrap().value, Setting::Variant("gold".into()));

    frozen.flags = FlagPlace::ConfigMap("flagd".into(), "flags.json".into());
    let map = Object::new(json!({"metadata": {"name": "flagd", "uid": "m1", "resourceVersion": "9"},
        "data": {"flags.json": definition("on", json!({})).to_string()}}));
    assert_eq!(reading::flag_reading(&frozen, 0, &map).unwrap().value, Setting::Percent(100));
    let text = definition("on", json!({})).to_string();
    assert_eq!(reading::flag_file_reading(&frozen, 0, &text, 3).unwrap().version, 3);
}
