//! The engine's loop over the rehearsal cluster's wire, in process, on virtual time: what is seen is shown, what goes
//! wrong is told and survived, what is ordered is done once.

use std::sync::Arc;
use std::time::Duration;

use footplate::adapters::journal::FileJournal;
use footplate::adapters::kubernetes::Kubernetes;
use footplate::core::confirm::{Answer, Confirm, Order, Question};
use footplate::core::intent::Want;
use footplate::core::object::{ObjectKind, ObjectRef};
use footplate::core::snapshot::{Link, Mode, Place as Spot, ServiceView, Snapshot, Weight, WriteMode};
use footplate::core::text::Text;
use footplate::core::verb::Seen;
use footplate::core::workload::Phase;
use footplate::engine::act::Outcome;
use footplate::engine::order::{Intent, Ordered, Report, Target};
use footplate::engine::run::{Handle, Place, Systems, start};
use footplate::engine::scope::Scope;
use footplate::ports::{Clock, Conditions, Fut, Identity, Sample};
use footplate::rehearsal::clock::{RehearsalClock, SharedWorld, drive};
use footplate::rehearsal::controllers::pod::Fates;
use footplate::rehearsal::faults::{self, Cut, Fault, Faults, Rule};
use footplate::rehearsal::store::{Propagation, Store};
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, api, kinds};
use serde_json::{Value, json};
use tokio::time::Instant;

const START: &str = "2025-10-02T13:00:00Z";

struct NoConditions;

impl Conditions for NoConditions {
    fn holds<'a>(&'a self, _: &'a str, _: &'a Sample) -> Fut<'a, Result<bool, Text>> {
        Box::pin(async { Err("not asked here".into()) })
    }
}

/// A cluster with controllers, an engine over its wire, and a hand on the faults between.
struct Rig {
    store: Shared,
    faults: Faults,
    handle: Handle,
    clock: RehearsalClock,
    state: tempfile::TempDir,
}

fn rollout(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name, "namespace": "payments"},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": name}},
            "strategy": {"canary": {"steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": format!("registry.example/{name}:{image}")}]},
            },
        },
    })
}

impl Rig {
    async fn new(rollouts: &[&str]) -> Self {
        Self::at_speed(rollouts, 1.0).await
    }

    /// With a cluster whose time runs so many times as fast.
    async fn at_speed(rollouts: &[&str], speed: f64) -> Self {
        let mut store = Store::new(3, START.parse().unwrap());
        store.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "payments"}})).unwrap();
        for name in rollouts {
            store.create(&kinds::ROLLOUT, "payments", rollout(name, "1.0.0")).unwrap();
        }
        let store = Shared::new(store);
        let clock = RehearsalClock::new(START.parse().unwrap(), speed);
        let world = SharedWorld::new(World::bare(store.clone(), Fates::default(), 3));
        tokio::spawn(drive(world, clock));
        let faults = Faults::new(1, START.parse().unwrap());
        let router = faults::around(api::router(store.clone()), store.clone(), faults.clone());
        let identity = Identity {
            context: "sim".into(),
            server: "in process".into(),
            user: "ana".into(),
            namespace: "payments".into(),
        };
        let cluster = Arc::new(Kubernetes::over(kube::Client::new(router, "payments"), identity));
        let scope = Scope {
            place: Spot {
                environment: None,
                context: "sim".into(),
                namespace: "payments".into(),
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
        let mut rig = Self { store, faults, handle: start(place, systems), clock, state };
        let all = rollouts.len();
        rig.until("all are healthy", |s| s.services.len() == all && s.count(Phase::Healthy) == all).await;
        rig
    }

    /// Waits for a snapshot; at most five minutes of virtual time.
    async fn until(&mut self, what: &str, test: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let mut snapshots = self.handle.snapshots.clone();
        let found = tokio::time::timeout(Duration::from_secs(300), snapshots.wait_for(|s| test(s))).await;
        match found {
            Ok(found) => Arc::clone(&found.unwrap()),
            Err(_) => {
                let last = self.handle.snapshots.borrow().clone();
                panic!("never: {what}; link {:?}, services {:#?}, events {:#?}", last.link, last.services, last.events)
            }
        }
    }

    fn deploy(&self, name: &str, version: &str) {
        let image = json!(format!("registry.example/{name}:{version}"));
        let set = |object: &mut Value| object["spec"]["template"]["spec"]["containers"][0]["image"] = image;
        self.store.lock().update(&kinds::ROLLOUT, "payments", name, set).unwrap();
    }

    async fn paused(&mut self, name: &str, step: u32) -> Arc<Snapshot> {
        let at = |s: &Snapshot| {
            service(s, name).workload.as_ref().is_some_and(|w| w.phase == Phase::Paused && w.step == Some(step))
        };
        self.until(&format!("{name} pauses at step {step}"), at).await
    }

    async fn order(&mut self, want: Want, names: &[&str]) -> Vec<Report> {
        let snapshot = self.handle.snapshots.borrow().clone();
        let target = |name: &&str| {
            let service = service(&snapshot, name);
            Target {
                name: service.name.clone(),
                object: Some(service.id.clone()),
                seen: service.workload.as_deref().map(Seen::of),
            }
        };
        let layer: Vec<Target> = names.iter().map(target).collect();
        let targets = layer.iter().filter_map(|t| t.object.clone()).collect();
        let now = self.clock.now();
        let question = Question { level: Confirm::Yes, direction: want.direction(), targets };
        let confirmed = question.answer(&Answer::Yes, now).unwrap();
        let order = Order { who: "ana".into(), when: now, why: "a test".into() };
        let ordered = Ordered { id: 7, want, layers: vec![layer], train: None, confirmed, order };
        self.handle.intents.send(Intent::Order(Box::new(ordered))).await.unwrap();
        let mut reports = Vec::new();
        while reports.last().is_none_or(|r: &Report| !r.last) {
            let report = tokio::time::timeout(Duration::from_secs(300), self.handle.reports.recv()).await;
            reports.push(report.expect("a report").unwrap());
        }
        reports
    }
}

fn service<'a>(snapshot: &'a Snapshot, name: &str) -> &'a ServiceView {
    snapshot.services.iter().find(|s| s.name == *name).unwrap()
}

fn done(report: &Report) -> &str {
    match &report.outcome {
        Outcome::Done(says) => says,
        other => panic!("{}: {other:?}", report.name),
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_seen_is_shown() {
    let mut rig = Rig::new(&["billing-api", "ledger-api"]).await;
    let first = rig.handle.snapshots.borrow().clone();
    assert_eq!(first.link, Link::Live);
    let billing = service(&first, "billing-api").workload.clone().unwrap();
    assert_eq!((billing.version.as_deref(), billing.stable_version.as_deref()), (Some("1.0.0"), Some("1.0.0")));
    rig.deploy("billing-api", "2.0.0");
    let paused = rig.paused("billing-api", 1).await;
    let billing = service(&paused, "billing-api").workload.clone().unwrap();
    assert_eq!((billing.version.as_deref(), billing.stable_version.as_deref()), (Some("2.0.0"), Some("1.0.0")));
    assert_eq!((billing.set_weight, billing.actual_weight), (Some(25), Some(25)));
    assert_eq!(paused.needs.len(), 1, "{:?}", paused.needs);
    assert_eq!(paused.needs[0].what.as_str(), "billing-api waits for approval at step 1/4");
    let other = |s: &Snapshot| Arc::clone(s.services.iter().find(|s| s.name == "ledger-api").unwrap());
    assert!(Arc::ptr_eq(&other(&first), &other(&paused)), "what did not change is shared");

    rig.handle.intents.send(Intent::Watch(vec!["billing-api".into()])).await.unwrap();
    let opened = rig.until("pods of what is open", |s| s.pods.len() == 4).await;
    assert!(opened.pods.iter().all(|p| p.ready && p.status == "Running"), "{:?}", opened.pods);
    rig.handle.intents.send(Intent::Watch(Vec::new())).await.unwrap();
    rig.until("no pods when it is closed", |s| s.pods.is_empty()).await;

    rig.store.lock().delete(&kinds::ROLLOUT, "payments", "ledger-api", Propagation::Cascade).unwrap();
    rig.until("what is gone is gone", |s| s.services.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_stays_live_and_publishes_nothing() {
    let mut rig = Rig::new(&["billing-api"]).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let before = rig.handle.snapshots.borrow_and_update().clone();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let after = rig.handle.snapshots.borrow().clone();
    assert_eq!(after.link, Link::Live);
    assert_eq!(before.seq, after.seq, "ten quiet minutes");
}

/// Puts the bad version back some seconds after it went, as self-heal does.
fn heal(rig: &Rig, after: Duration) {
    let store = rig.store.clone();
    tokio::spawn(async move {
        let image = |store: &Shared| {
            store.lock().get(&kinds::ROLLOUT, "payments", "billing-api").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
        };
        while image(&store) != "registry.example/billing-api:1.0.0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(after).await;
        let bad = |object: &mut Value| {
            object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/billing-api:2.0.0")
        };
        store.lock().update(&kinds::ROLLOUT, "payments", "billing-api", bad).unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_git_reverts_raises_an_alarm() {
    let owned = |rig: &Rig| {
        let track = |object: &mut Value| {
            object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] =
                json!("payments-prod:argoproj.io/Rollout:payments/billing-api");
        };
        rig.store.lock().update(&kinds::ROLLOUT, "payments", "billing-api", track).unwrap();
    };
    // Self-heal as Argo CD does it by default, and one that is slower than anybody looks.
    for (heals, reverted) in [(Some(5), true), (None, false)] {
        let mut rig = Rig::new(&["billing-api"]).await;
        owned(&rig);
        rig.deploy("billing-api", "2.0.0");
        rig.paused("billing-api", 1).await;
        if let Some(after) = heals {
            heal(&rig, Duration::from_secs(after));
        }
        let started = Instant::now();
        let reports = rig.order(Want::Undo, &["billing-api"]).await;
        let took = started.elapsed();
        if reverted {
            let Outcome::Reverted(refusal) = &reports[0].outcome else { panic!("{:?}", reports[0].outcome) };
            assert!(refusal.why.contains("Argo CD app payments-prod"), "{refusal:?}");
            assert!(refusal.hint.contains("git must say the old version"), "{refusal:?}");
            assert!(took < Duration::from_secs(10), "{took:?}");
            let alarm =
                |s: &Snapshot| s.events.iter().any(|e| e.weight == Weight::Alarm && e.text.starts_with("reverted: "));
            rig.until("the alarm", alarm).await;
            let journal = std::fs::read_to_string(rig.state.path().join("journal.jsonl")).unwrap();
            assert!(journal.contains("\"outcome\":\"reverted\""), "{journal}");
        } else {
            done(&reports[0]);
            assert!(took >= Duration::from_secs(8), "nobody looked: {took:?}");
        }
    }
    // Where nobody else writes it, nothing is waited for.
    let mut rig = Rig::new(&["billing-api"]).await;
    rig.deploy("billing-api", "2.0.0");
    rig.paused("billing-api", 1).await;
    let started = Instant::now();
    done(&rig.order(Want::Undo, &["billing-api"]).await[0]);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_is_told_kept_and_survived() {
    for (fault, says) in [
        (Fault::Refuse { code: 401 }, "renew the credentials"),
        (Fault::Refuse { code: 503 }, "HTTP 503"),
        (Fault::Throttle { retry_after: Some(1) }, "HTTP 429"),
        (Fault::Timeout { landed: false, seconds: 3600.0 }, "no answer"),
        (Fault::Garbage, "HTTP 502"),
        (Fault::Reset { landed: false }, "broke"),
    ] {
        let mut rig = Rig::new(&["billing-api"]).await;
        // The open watches are cut, and whatever is asked afterwards meets the fault.
        rig.faults.add(Rule::always(fault));
        rig.faults.cut_watches(Cut::End);
        let started = Instant::now();
        let down = rig.until(&format!("{fault:?} is told"), |s| matches!(s.link, Link::Stale(_) | Link::Down(_))).await;
        assert!(started.elapsed() <= Duration::from_secs(16), "{fault:?}: told after {:?}", started.elapsed());
        let explained = |s: &Snapshot| s.link.trouble().is_some_and(|t| t.to_string().contains(says));
        rig.until(&format!("{fault:?} is explained"), explained).await;
        assert_eq!(down.services.len(), 1, "what was known is kept");
        rig.faults.clear();
        rig.until(&format!("{fault:?} is over"), |s| s.link == Link::Live).await;
        rig.deploy("billing-api", "2.0.0");
        rig.paused("billing-api", 1).await;
    }
}

/// An answer that is late by a second and a half is no old screen, however fast the time of a rehearsal runs; one that is late
/// for whoever looks at it is, at any speed.
#[tokio::test(start_paused = true)]
async fn a_slow_machine_does_not_make_a_fast_rehearsal_stale() {
    for speed in [1.0, 10.0] {
        let mut rig = Rig::at_speed(&["billing-api"], speed).await;
        rig.faults.add(Rule { verbs: vec!["get".to_owned()], ..Rule::always(Fault::Latency { seconds: 1.5 }) });
        let (mut snapshots, until) = (rig.handle.snapshots.clone(), Instant::now() + Duration::from_secs(60));
        while tokio::time::timeout_at(until, snapshots.changed()).await.is_ok() {
            let link = snapshots.borrow_and_update().link.clone();
            assert_eq!(link, Link::Live, "at speed {speed}");
        }
        rig.faults.clear();
        rig.faults.add(Rule::always(Fault::Latency { seconds: 3600.0 }));
        rig.faults.cut_watches(Cut::Silent);
        let started = Instant::now();
        rig.until("silence is told", |s| matches!(s.link, Link::Stale(_) | Link::Down(_))).await;
        let took = started.elapsed();
        assert!((4..=16).contains(&took.as_secs()), "at speed {speed}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_expire_or_fall_silent_bring_everything_in_the_end() {
    for (fault, verb) in [
        (Fault::WatchEnd { messages: 0 }, "watch"),
        (Fault::WatchGone { messages: 1 }, "watch"),
        (Fault::WatchSilent { messages: 0 }, "watch"),
        (Fault::Refuse { code: 410 }, "watch"),
    ] {
        let mut rig = Rig::new(&["billing-api"]).await;
        rig.faults.add(Rule {
            verbs: vec![verb.to_owned()],
            resources: vec!["rollouts".to_owned()],
            times: Some(2),
            ..Rule::always(fault)
        });
        // The rule meets watches that begin from now on: make them begin.
        rig.handle.intents.send(Intent::Reread).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        rig.deploy("billing-api", "2.0.0");
        let started = Instant::now();
        rig.paused("billing-api", 1).await;
        assert!(started.elapsed() < Duration::from_secs(60), "{fault:?}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn open_watches_that_break_are_made_good() {
    for (cut, within) in [(Cut::End, 5), (Cut::Gone, 5), (Cut::Silent, 20)] {
        let mut rig = Rig::new(&["billing-api"]).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        rig.faults.cut_watches(cut);
        let started = Instant::now();
        rig.deploy("billing-api", "2.0.0");
        rig.paused("billing-api", 1).await;
        assert!(started.elapsed() < Duration::from_secs(within), "{cut:?}: {:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn missing_rights_and_kinds_are_gaps_and_no_alarm() {
    let mut rig = Rig::new(&["billing-api"]).await;
    rig.faults
        .add(Rule { resources: vec!["analysistemplates".to_owned()], ..Rule::always(Fault::Refuse { code: 403 }) });
    rig.handle.intents.send(Intent::Reread).await.unwrap();
    let told = rig.until("the gap", |s| !s.gaps.is_empty()).await;
    assert!(
        told.gaps[0].needed
            && told.gaps[0].trouble.what.contains("analysistemplates")
            && told.gaps[0].trouble.hint.contains("ask for this rule"),
        "{:?}",
        told.gaps
    );
    assert_eq!(told.link, Link::Live);
}

#[tokio::test(start_paused = true)]
async fn orders_are_carried_out_once_whatever_the_wire_does() {
    for fault in [
        None,
        Some(Fault::Timeout { landed: true, seconds: 3600.0 }),
        Some(Fault::Timeout { landed: false, seconds: 3600.0 }),
        Some(Fault::Reset { landed: true }),
        Some(Fault::Refuse { code: 409 }),
        Some(Fault::Refuse { code: 503 }),
        Some(Fault::Throttle { retry_after: Some(2) }),
    ] {
        let mut rig = Rig::new(&["billing-api"]).await;
        rig.deploy("billing-api", "2.0.0");
        rig.paused("billing-api", 1).await;
        if let Some(fault) = fault {
            rig.faults.add(Rule { verbs: vec!["patch".to_owned()], times: Some(1), ..Rule::always(fault) });
        }
        let reports = rig.order(Want::Promote, &["billing-api"]).await;
        done(&reports[0]);
        let there = rig.paused("billing-api", 3).await;
        assert!(service(&there, "billing-api").doing.is_empty(), "nothing is being done any more");
        assert_eq!(
            service(&there, "billing-api").workload.as_ref().unwrap().set_weight,
            Some(50),
            "{fault:?}: one step, not two"
        );
        let text: Vec<&str> = there.events.iter().map(|e| e.text.as_str()).collect();
        assert!(text.contains(&"ana orders promote billing-api (a test)"), "{text:?}");

        let reports = rig.order(Want::Undo, &["billing-api"]).await;
        done(&reports[0]);
        let back =
            |s: &Snapshot| service(s, "billing-api").workload.as_ref().is_some_and(|w| w.phase == Phase::Healthy);
        let back = rig.until("it is back", back).await;
        assert_eq!(service(&back, "billing-api").workload.as_ref().unwrap().version.as_deref(), Some("1.0.0"));
        let journal = std::fs::read_to_string(rig.state.path().join("journal.jsonl")).unwrap();
        let kinds: Vec<String> = journal
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap()["what"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds.first().map(String::as_str), Some("intent"), "{journal}");
        assert_eq!(kinds.last().map(String::as_str), Some("outcome"), "{journal}");
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_are_aborted_together_with_few_requests() {
    let names: Vec<String> = (0..50).map(|n| format!("service-{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::new(&names).await;
    names.iter().for_each(|name| rig.deploy(name, "2.0.0"));
    rig.until("fifty pauses", |s| s.count(Phase::Paused) == 50).await;
    let started = Instant::now();
    let reports = rig.order(Want::Abort, &names).await;
    assert_eq!(reports.len(), 50);
    for report in &reports {
        done(report);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let all = |s: &Snapshot| {
        s.services.iter().all(|s| s.workload.as_ref().is_some_and(|w| w.aborted && w.actual_weight == Some(0)))
    };
    rig.until("no traffic on any canary", all).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_ends_even_when_nobody_looks_any_more() {
    let mut rig = Rig::new(&["billing-api"]).await;
    rig.deploy("billing-api", "2.0.0");
    rig.paused("billing-api", 1).await;
    let id = ObjectRef {
        cluster: "sim".into(),
        kind: ObjectKind::Rollout,
        namespace: "payments".into(),
        name: "billing-api".into(),
    };
    let now = rig.clock.now();
    let question = Question { level: Confirm::None, direction: Want::Undo.direction(), targets: vec![id.clone()] };
    let ordered = Ordered {
        id: 1,
        want: Want::Undo,
        layers: vec![vec![Target { name: "billing-api".into(), object: Some(id), seen: None }]],
        train: None,
        confirmed: question.answer(&Answer::Nothing, now).unwrap(),
        order: Order { who: "ana".into(), when: now, why: "".into() },
    };
    // The first write times out without having landed, and the screen goes away meanwhile.
    rig.faults.add(Rule {
        verbs: vec!["patch".to_owned()],
        times: Some(1),
        ..Rule::always(Fault::Timeout { landed: false, seconds: 3600.0 })
    });
    let Handle { snapshots, intents, reports, ended } = rig.handle;
    intents.send(Intent::Order(Box::new(ordered))).await.unwrap();
    drop((snapshots, intents, reports));
    tokio::time::timeout(Duration::from_secs(120), ended).await.expect("it ends by itself").unwrap();
    let held = rig.store.lock().get(&kinds::ROLLOUT, "payments", "billing-api").unwrap();
    assert_eq!(held.str("/spec/template/spec/containers/0/image"), "registry.example/billing-api:1.0.0");
}
