//! Orders on a train that nobody conducts, or whose conductor is silent: carried out from the cockpit's engine over the rehearsal
//! cluster's wire, with its real controllers, on virtual time. And that nothing is done from here while a conductor does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use footplate::adapters::journal::FileJournal;
use footplate::adapters::kubernetes::Kubernetes;
use footplate::core::captain::{self, Ordering};
use footplate::core::confirm::{Answer, Confirm, Order, Question};
use footplate::core::effect::Change;
use footplate::core::elector::Lease;
use footplate::core::frozen::Frozen;
use footplate::core::intent::{Intent as Ordered, Target, Want as Verb};
use footplate::core::lease;
use footplate::core::object::{Object, ObjectKind, ObjectRef};
use footplate::core::order::Reach;
use footplate::core::record;
use footplate::core::release::{self, Release};
use footplate::core::snapshot::train::Taken;
use footplate::core::snapshot::{Conductor, Mode, Place as Spot, Snapshot, WriteMode};
use footplate::core::text::Text;
use footplate::core::train::Phase;
use footplate::core::train::event::{Intent, Want};
use footplate::core::train::resolved::{Kind, Wave};
use footplate::core::train::state::{Hold, Memory, Stage, State};
use footplate::engine::act::Outcome;
use footplate::engine::order::{Intent as ToEngine, Report};
use footplate::engine::run::{Handle, Place, Systems, start};
use footplate::engine::scope::Scope;
use footplate::ports::{Clock, Conditions, Fut, Identity, Sample};
use footplate::rehearsal::clock::{RehearsalClock, SharedWorld, drive};
use footplate::rehearsal::controllers::pod::Fates;
use footplate::rehearsal::faults::{self, Fault, Faults, Rule};
use footplate::rehearsal::store::Store;
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, api, kinds};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::frozen;

const START: &str = "2025-10-02T13:00:00Z";
const NS: &str = "payments";
/// Goes first, and is through.
const FIRST: &str = "ledger-api";
/// Is built on it, and stands at its first pause.
const SECOND: &str = "billing-api";

struct NoConditions;

impl Conditions for NoConditions {
    fn holds<'a>(&'a self, _: &'a str, _: &'a Sample) -> Fut<'a, Result<bool, Text>> {
        Box::pin(async { Err("not asked here".into()) })
    }
}

struct Rig {
    store: Shared,
    faults: Faults,
    handle: Handle,
    clock: RehearsalClock,
    release: String,
    recorded: BTreeMap<&'static str, Value>,
    _state: tempfile::TempDir,
}

fn image(name: &str, version: &str) -> String {
    format!("registry.example/{name}:{version}")
}

fn rollout(name: &str, steps: &Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name, "namespace": NS},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": name}}, "rollbackWindow": {"revisions": 3},
            "strategy": {"canary": {"steps": steps}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image(name, "1.0.0")}]},
            },
        },
    })
}

/// A train of both services.
fn frozen(cluster_uid: &str) -> Frozen {
    let mut frozen = frozen::frozen(Kind::Rollout, "", NS, "", None);
    let (service, workload) = (frozen.resolved.services[0].clone(), frozen.workloads[0].clone());
    frozen.resolved.services.clear();
    frozen.workloads.clear();
    for (n, name) in (0u16..).zip([FIRST, SECOND]) {
        let mut service = service.clone();
        (service.name, service.image, service.wave) = (name.into(), image(name, "2.0.0").into(), n);
        service.needs = (0..n).collect();
        frozen.resolved.services.push(service);
        let mut workload = workload.clone();
        (workload.service, workload.name) = (name.into(), name.into());
        frozen.workloads.push(workload);
    }
    frozen.resolved.waves = (0..2).map(|n| Wave { services: vec![n], expand: false }).collect();
    frozen.cluster_uid = cluster_uid.into();
    frozen
}

impl Rig {
    /// Both services on the way of a train that a conductor took this far and then left: its status says so, the objects bear its
    /// stamps, the records lie there.
    async fn new() -> Self {
        let mut store = Store::new(3, START.parse().unwrap());
        store.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": NS}})).unwrap();
        let steps = json!([{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]);
        store.create(&kinds::ROLLOUT, NS, rollout(FIRST, &json!([]))).unwrap();
        store.create(&kinds::ROLLOUT, NS, rollout(SECOND, &steps)).unwrap();
        let uid = store.get(&kinds::NAMESPACE, "", "kube-system").unwrap().uid().to_owned();
        let store = Shared::new(store);
        let clock = RehearsalClock::new(START.parse().unwrap(), 1.0);
        let world = SharedWorld::new(World::bare(store.clone(), Fates::default(), 3));
        tokio::spawn(drive(world, clock));
        let faults = Faults::new(1, START.parse().unwrap());
        let router = faults::around(api::router(store.clone()), store.clone(), faults.clone());
        let identity =
            Identity { context: "sim".into(), server: "in process".into(), user: "ana".into(), namespace: NS.into() };
        let cluster = Arc::new(Kubernetes::over(kube::Client::new(router, NS), identity));
        let scope = Scope {
            place: Spot {
                environment: None,
                context: "sim".into(),
                namespace: NS.into(),
                server: "in process".into(),
                protected: false,
                write: WriteMode::ReadWrite,
            },
            mode: Mode::Live,
            cluster_uid: None,
            release: None,
        };
        let place = Place { cluster, scope: Arc::new(scope), metrics: Err("no metrics here".into()) };
        let again = place.clone();
        let state = tempfile::tempdir().unwrap();
        let systems = Systems {
            clock: Arc::new(clock),
            journal: Arc::new(FileJournal::open(&state.path().join("journal.jsonl")).unwrap()),
            conditions: Arc::new(NoConditions),
            open: Arc::new(move |_| Ok(again.clone())),
            take_over: None,
            depart: None,
        };
        let mut rig = Self {
            store,
            faults,
            handle: start(place, systems),
            clock,
            release: String::new(),
            recorded: BTreeMap::new(),
            _state: state,
        };
        for name in [FIRST, SECOND] {
            rig.phase(name, "Healthy").await;
        }
        rig.under_way(frozen(&uid)).await;
        rig
    }

    fn get(&self, name: &str) -> Value {
        (**self.store.lock().get(&kinds::ROLLOUT, NS, name).unwrap()).clone()
    }

    async fn when(&self, what: &str, test: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !test(self) {
            assert!(begun.elapsed() < Duration::from_secs(120), "never: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn phase(&self, name: &str, phase: &str) {
        let there = |rig: &Self| {
            let object = rig.get(name);
            let seen = object["status"]["observedGeneration"].as_str().unwrap_or_default().parse::<i64>().ok();
            object["status"]["phase"] == phase && seen == object["metadata"]["generation"].as_i64()
        };
        self.when(&format!("{name} is {phase}"), there).await;
    }

    async fn under_way(&mut self, frozen: Frozen) {
        let now = self.clock.now();
        let context: Text = "sim".into();
        let Change::Create(body) = release::create(&frozen, &context, &[], now).change else { panic!("no object") };
        self.release = body["metadata"]["name"].as_str().unwrap().to_owned();
        let held = self.store.lock().create(&kinds::RELEASE, NS, body).unwrap();
        let train = held.uid().to_owned();
        let mut memory = State::new(Arc::new(frozen.resolved.clone())).memory().clone();
        for (at, name) in [FIRST, SECOND].into_iter().enumerate() {
            let object = self.get(name);
            let id = ObjectRef {
                cluster: context.clone(),
                kind: ObjectKind::Rollout,
                namespace: NS.into(),
                name: name.into(),
            };
            let (uid, hash) =
                (object["metadata"]["uid"].as_str().unwrap(), object["status"]["currentPodHash"].as_str());
            let template = &object["spec"]["template"];
            let record = record::of_train(&id, uid, &train, name, hash.unwrap(), template);
            self.store.lock().create(&kinds::CONFIG_MAP, NS, record.config_map).unwrap();
            self.recorded.insert(name, template.clone());
            memory.services[at].recorded = hash.map(Text::scrub);
            memory.services[at].uid = Some(Text::scrub(uid));
            let deploy = |object: &mut Value| {
                object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image(name, "2.0.0"));
                object["metadata"]["annotations"]["footplate.dev/train"] = json!(train);
                object["metadata"]["annotations"]["footplate.dev/epoch"] = json!("1/c0");
            };
            self.store.lock().update(&kinds::ROLLOUT, NS, name, deploy).unwrap();
        }
        self.phase(FIRST, "Healthy").await;
        self.phase(SECOND, "Paused").await;
        for (at, stage) in [Stage::Done, Stage::Stepping].into_iter().enumerate() {
            let object = self.get([FIRST, SECOND][at]);
            let service = &mut memory.services[at];
            service.deployed = object["status"]["currentPodHash"].as_str().map(Text::scrub);
            (service.touched, service.stage) = (true, stage);
        }
        (memory.recorded, memory.phase, memory.wave, memory.epoch) = (true, Phase::Rolling, 1, (1, "c0".into()));
        memory.started = Some(now);
        self.remember(&memory);
        let mut snapshots = self.handle.snapshots.clone();
        let ready = |s: &Arc<Snapshot>| {
            let known = s.train.as_ref().is_some_and(|t| t.memory.is_some() && t.conductor != Conductor::Unknown);
            known && s.services.len() == 2 && s.services.iter().all(|v| v.workload.is_some())
        };
        tokio::time::timeout(Duration::from_secs(60), snapshots.wait_for(ready))
            .await
            .expect("the train is seen")
            .unwrap();
    }

    fn release(&self) -> Release {
        let held = self.store.lock().get(&kinds::RELEASE, NS, &self.release).unwrap();
        Release::read(&Object::new((**held).clone()), &"sim".into(), None).unwrap()
    }

    /// Writes a status, as a conductor does.
    fn remember(&self, memory: &Memory) {
        let plan = Arc::new(self.release().frozen.resolved.clone());
        let state = State::resume(plan, memory.clone());
        let status = release::status_of(&state, &[], Value::Null, self.clock.now());
        let status = serde_json::to_value(status).unwrap();
        let write = |object: &mut Value| object["status"] = status;
        self.store.lock().update_status(&kinds::RELEASE, NS, &self.release, write).unwrap();
    }

    /// Writes the Lease as its holder does.
    fn beat(&self, renewal: u64) {
        let id = lease::id(&"sim".into(), &NS.into());
        let lease = Lease { holder: "c0".into(), transitions: 1, renewal };
        let Change::Create(body) = lease::write(&id, &lease, None, 15, self.clock.now()).change else { panic!("none") };
        let mut store = self.store.lock();
        if store.get(&kinds::LEASE, NS, lease::NAME).is_none() {
            store.create(&kinds::LEASE, NS, body).unwrap();
            return;
        }
        let write = |object: &mut Value| {
            object["spec"] = body["spec"].clone();
            object["metadata"]["annotations"] = body["metadata"]["annotations"].clone();
        };
        store.update(&kinds::LEASE, NS, lease::NAME, write).unwrap();
    }

    fn ordering(&self, verb: &Verb, reach: &Reach) -> Ordering {
        let s = self.handle.snapshots.borrow().clone();
        let train = s.active_train().expect("a train");
        captain::order(train, verb, reach, &s.services, &s.place).expect("it governs").expect("it fits")
    }

    async fn send(&self, id: u64, verb: Verb, reach: Reach, why: &str) {
        let ordering = self.ordering(&verb, &reach);
        let said = match &ordering.level {
            Confirm::None => Answer::Nothing,
            Confirm::Yes => Answer::Yes,
            Confirm::Type(word) => Answer::Typed(word.to_string()),
        };
        let now = self.clock.now();
        let question = Question { level: ordering.level, direction: ordering.direction, targets: ordering.targets };
        let ordered = Ordered {
            id,
            want: verb,
            layers: vec![vec![Target { name: "train".into(), object: None, seen: None }]],
            train: Some(ordering.on),
            confirmed: question.answer(&said, now).unwrap(),
            order: Order { who: "ana".into(), when: now, why: why.into() },
        };
        self.handle.intents.send(ToEngine::Order(Box::new(ordered))).await.unwrap();
    }

    async fn report(&mut self) -> Report {
        tokio::time::timeout(Duration::from_secs(200), self.handle.reports.recv()).await.expect("a report").unwrap()
    }

    fn stamp(&self, name: &str, key: &str) -> Option<String> {
        self.get(name)["metadata"]["annotations"][key].as_str().map(str::to_owned)
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_a_conductor_acts_at_once_and_says_so() {
    let mut rig = Rig::new().await;
    let s = rig.handle.snapshots.borrow().clone();
    assert_eq!(s.train.as_ref().unwrap().conductor, Conductor::Nobody);
    assert!(s.needs.iter().any(|n| n.what.contains("nobody conducts")), "{:?}", s.needs);
    let begun = Instant::now();
    rig.send(1, Verb::Pause, Reach::All, "").await;
    rig.when("it stands still", |rig| rig.get(SECOND)["spec"]["paused"] == true).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "after {:?}", begun.elapsed());
    let report = rig.report().await;
    assert!(matches!(&report.outcome, Outcome::Done(says) if says.contains("from here")), "{report:?}");
    let release = rig.release();
    let [intent] = release.intents.as_slice() else { panic!("{:?}", release.intents) };
    assert!(matches!(intent.want, Want::Hold(None, _)));
    assert_eq!(rig.stamp(SECOND, "footplate.dev/hold").unwrap(), format!("{}/{:x}", release.uid, intent.id).as_str());
    assert_eq!(rig.get(FIRST)["spec"]["paused"], Value::Null, "what is through is not held");
    let [acted] = release.acted.as_slice() else { panic!("{:?}", release.acted) };
    assert_eq!((acted.intent.as_str(), acted.who.as_str()), (format!("{:x}", intent.id).as_str(), "ana"));
    assert!(acted.says.contains(SECOND), "{acted:?}");
    rig.when("the screen says who did it", |rig| {
        let s = rig.handle.snapshots.borrow().clone();
        s.train.as_ref().is_some_and(|t| t.orders.iter().any(|o| matches!(o.taken, Taken::ByHand(_))))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_undo_without_a_conductor_restores_what_was_recorded_in_its_order() {
    let mut rig = Rig::new().await;
    let begun = Instant::now();
    rig.send(1, Verb::Undo, Reach::All, "it burns").await;
    let restored = |rig: &Rig, name: &str| rig.get(name)["spec"]["template"] == rig.recorded[name];
    rig.when("the canary is taken back", |rig| restored(rig, SECOND)).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "after {:?}", begun.elapsed());
    assert!(!restored(&rig, FIRST), "what it is built on stays until it is back");
    let report = rig.report().await;
    assert!(matches!(&report.outcome, Outcome::Done(says) if says.contains("read back")), "{report:?}");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(60), "after {took:?}");
    for name in [FIRST, SECOND] {
        assert!(restored(&rig, name), "{name}");
        let object = rig.get(name);
        assert_eq!(object["status"]["stableRS"], object["status"]["currentPodHash"], "{name} is stable again");
        assert!(rig.stamp(name, "footplate.dev/undo").is_some());
    }
    let acted = rig.release().acted;
    assert!(acted.len() == 1 && acted[0].says.contains(FIRST) && acted[0].says.contains(SECOND), "{acted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_conductor_that_takes_it_in_and_does_it_is_left_to_it() {
    let mut rig = Rig::new().await;
    let (store, name) = (rig.store.clone(), rig.release.clone());
    let mut renewal = 1;
    rig.beat(renewal);
    rig.send(1, Verb::Pause, Reach::All, "").await;
    let begun = Instant::now();
    let mut memory = rig.release().memory().unwrap().unwrap();
    while begun.elapsed() < Duration::from_secs(20) {
        renewal += 1;
        rig.beat(renewal);
        for intent in rig.release().intents {
            if memory.taken.contains(&intent.id) {
                continue;
            }
            memory.taken.push(intent.id);
            memory.holds.push(hold(&intent));
            memory.version += 1;
            rig.remember(&memory);
            let pause = |object: &mut Value| {
                object["spec"]["paused"] = json!(true);
                object["metadata"]["annotations"]["footplate.dev/hold"] = json!("by the conductor");
            };
            store.lock().update(&kinds::ROLLOUT, NS, SECOND, pause).unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let report = rig.report().await;
    assert!(matches!(&report.outcome, Outcome::Done(says) if !says.contains("from here")), "{report:?}");
    assert_eq!(rig.stamp(SECOND, "footplate.dev/hold").unwrap(), "by the conductor");
    assert!(rig.release().acted.is_empty(), "{name}");
    assert_eq!(rig.release().intents.len(), 1);
}

fn hold(intent: &Intent) -> Hold {
    let Want::Hold(service, why) = intent.want else { panic!("{intent:?}") };
    Hold {
        id: intent.id,
        why,
        service,
        who: intent.order.who.clone(),
        reason: intent.order.why.clone(),
        since: intent.order.when,
        ms: 0,
        paged: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn a_conductor_that_lives_and_takes_nothing_in_is_given_three_seconds() {
    let mut rig = Rig::new().await;
    rig.beat(1);
    rig.send(1, Verb::Abort, Reach::One(SECOND.into()), "").await;
    let begun = Instant::now();
    let mut acted_at = None;
    for renewal in 2..40 {
        rig.beat(renewal);
        tokio::time::sleep(Duration::from_millis(250)).await;
        if acted_at.is_none() && rig.stamp(SECOND, "footplate.dev/undo").is_some() {
            acted_at = Some(begun.elapsed());
        }
    }
    let acted_at = acted_at.expect("it acts");
    let wanted = Duration::from_millis(3_000)..Duration::from_millis(4_500);
    assert!(wanted.contains(&acted_at), "after {acted_at:?}");
    let report = rig.report().await;
    assert!(matches!(&report.outcome, Outcome::Done(_)), "{report:?}");
    assert_eq!(rig.get(SECOND)["status"]["abort"], true);
}

#[tokio::test(start_paused = true)]
async fn what_goes_forward_is_written_down_and_never_done_from_here() {
    let mut rig = Rig::new().await;
    let before = (rig.get(FIRST), rig.get(SECOND));
    rig.send(1, Verb::Promote, Reach::One(SECOND.into()), "it is only slow").await;
    let report = rig.report().await;
    assert!(matches!(&report.outcome, Outcome::Unknown(says) if says.contains("nobody conducts")), "{report:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (rig.get(FIRST)["spec"].clone(), rig.get(SECOND)["spec"].clone()),
        (before.0["spec"].clone(), before.1["spec"].clone())
    );
    assert_eq!(rig.get(SECOND)["status"]["currentStepIndex"], before.1["status"]["currentStepIndex"]);
    assert_eq!(rig.release().intents.len(), 1);
    // The same once more is on its way already.
    let s = rig.handle.snapshots.borrow().clone();
    let again =
        captain::order(s.active_train().unwrap(), &Verb::Promote, &Reach::One(SECOND.into()), &s.services, &s.place);
    assert!(again.unwrap().unwrap_err().already);
}

#[tokio::test(start_paused = true)]
async fn a_second_press_makes_no_second_order() {
    let mut rig = Rig::new().await;
    rig.send(1, Verb::Pause, Reach::All, "").await;
    rig.send(2, Verb::Pause, Reach::All, "").await;
    let (one, two) = (rig.report().await, rig.report().await);
    let refused = [&one, &two].into_iter().filter(|r| matches!(&r.outcome, Outcome::Refused(why) if why.already));
    assert_eq!(refused.count(), 1, "{one:?} {two:?}");
    assert_eq!(rig.release().intents.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_cannot_be_written_holds_up_nothing_that_is_safe() {
    let mut rig = Rig::new().await;
    rig.faults.add(Rule {
        verbs: vec!["patch".to_owned()],
        resources: vec!["releases".to_owned()],
        ..Rule::always(Fault::Refuse { code: 403 })
    });
    let begun = Instant::now();
    rig.send(1, Verb::Undo, Reach::All, "").await;
    rig.when("the canary is taken back", |rig| rig.get(SECOND)["spec"]["template"] == rig.recorded[SECOND]).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "after {:?}", begun.elapsed());
    let report = rig.report().await;
    assert!(matches!(&report.outcome, Outcome::Done(_)), "{report:?}");
    assert!(rig.release().intents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_any_status_the_records_are_enough() {
    let mut rig = Rig::new().await;
    rig.store.lock().update_status(&kinds::RELEASE, NS, &rig.release, |o| o["status"] = Value::Null).unwrap();
    rig.when("the status is gone", |rig| {
        rig.handle.snapshots.borrow().train.as_ref().is_some_and(|t| t.memory.is_none())
    })
    .await;
    rig.send(1, Verb::Undo, Reach::All, "").await;
    let report = rig.report().await;
    assert!(matches!(&report.outcome, Outcome::Done(_)), "{report:?}");
    for name in [FIRST, SECOND] {
        assert_eq!(rig.get(name)["spec"]["template"], rig.recorded[name], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn verbs_become_orders_with_their_confirmation() {
    let rig = Rig::new().await;
    let id = rig.handle.snapshots.borrow().train.as_ref().unwrap().id().clone();
    let second = || Reach::One(SECOND.into());
    assert_eq!(rig.ordering(&Verb::Pause, &Reach::All).level, Confirm::None);
    let abort = rig.ordering(&Verb::Abort, &second());
    assert!(abort.level == Confirm::Yes && matches!(abort.on.wants[..], [Want::Abort(1, _)]));
    let undo = rig.ordering(&Verb::Undo, &Reach::Downstream(FIRST.into()));
    assert_eq!(undo.level, Confirm::Type(id.clone()));
    let lines: Vec<&str> = undo.lines.iter().map(|(_, line)| line.as_str()).collect();
    assert!(lines[0].starts_with("at once: billing-api"), "{lines:?}");
    assert!(lines[1].starts_with("after billing-api: ledger-api"), "{lines:?}");
    let only = rig.ordering(&Verb::Undo, &Reach::One(FIRST.into()));
    assert!(only.lines.iter().any(|(warn, line)| *warn && line.contains("billing-api lose")), "{:?}", only.lines);
    let full = rig.ordering(&Verb::PromoteFull, &second());
    assert!(full.level == Confirm::Type(id) && full.reason);
    let promote = rig.ordering(&Verb::Promote, &second());
    assert!(promote.reason && matches!(promote.on.wants[..], [Want::Approve { service: 1, over: true, .. }]));
    let s = rig.handle.snapshots.borrow().clone();
    let other =
        captain::order(s.active_train().unwrap(), &Verb::Abort, &Reach::One("other".into()), &s.services, &s.place);
    assert!(other.is_none(), "what it does not govern is ordered by hand");
    let refused = captain::order(s.active_train().unwrap(), &Verb::Retry, &second(), &s.services, &s.place);
    assert!(refused.unwrap().is_err());
}
