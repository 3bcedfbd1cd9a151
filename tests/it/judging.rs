//! The bench of judges against the rehearsal's cluster and Prometheus, over the wire, on virtual time: a good version passes, a
//! bad one fails within the minute, a store that is gone holds nobody up, and the same run says the same words.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use footplate::adapters::kubernetes::Kubernetes;
use footplate::adapters::prometheus::Prometheus;
use footplate::core::frozen::{FORM, FlagPlace, Frozen, Queries, Workload};
use footplate::core::judge::Settings;
use footplate::core::manifest::footplate::Metrics as Asked;
use footplate::core::slo::{GateBy, Slo, SyntheticCheck};
use footplate::core::text::Text;
use footplate::core::train::Phase;
use footplate::core::train::event::{Cause, Check, Event, Found, Reading, Spec};
use footplate::core::train::resolved::{Kind, Resolved, Times};
use footplate::core::verdict::Verdict;
use footplate::engine::conduct::judging::{Bench, Kept, Look, Said, Seat, Sight, View, run};
use footplate::ports::{Clock, Cluster, Fault, FaultKind, Fut, Identity, Metrics, Probe, Sample};
use footplate::rehearsal::clock::{RehearsalClock, SharedWorld, at_full_speed, drive, wednesday};
use footplate::rehearsal::faults::Faults;
use footplate::rehearsal::scenario::Scenario;
use footplate::rehearsal::world::World;
use footplate::rehearsal::{kinds, prometheus, serve};
use footplate::text;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Services of the test's train, with their SLOs as in the sample environment.
const SERVICES: [(&str, f64, f64); 3] =
    [("billing-api", 0.02, 500.0), ("accounts-api", 0.01, 400.0), ("ledger-api", 0.01, 350.0)];

fn workload(name: &str, errors: f64, p99: f64) -> Workload {
    Workload {
        service: name.into(),
        kind: Kind::Rollout,
        name: name.into(),
        container: Some("app".into()),
        config: None,
        slo: Slo { error_rate: Some(errors), p95_ms: None, p99_ms: Some(p99), max_5xx_per_second: Some(25.0) },
        gate: GateBy::Metrics,
        lag: None,
        max_lag: None,
        checks: vec![SyntheticCheck { name: "smoke".into(), http: text!("http://{name}/smoke"), status: Some(204) }],
        weights: None,
    }
}

fn frozen() -> Frozen {
    let service = |(name, ..): &(&str, f64, f64)| {
        json!({
            "name": name, "version": "2.8.0", "image": format!("registry.example/payments/{name}:2.8.0"),
            "kind": "Rollout", "wave": 0, "needs": [], "untimed": "Gate", "commit": null,
        })
    };
    let resolved: Resolved = serde_json::from_value(json!({
        "release": "r", "uid": "u", "id": "abcd", "environment": "dev", "captain": "ana", "abandon": "Stay",
        "deploy": "Direct", "waves": [], "services": SERVICES.iter().map(service).collect::<Vec<_>>(), "migrations": [],
        "flags": [], "policies": [], "times": Times::default(),
    }))
    .unwrap();
    let Asked { requests, errors, latency } = Asked::default();
    let worker = Workload {
        kind: Kind::Deployment,
        gate: GateBy::Health,
        lag: Some("sum(kafka_consumergroup_lag{group=\"ledger-consumer\"})".into()),
        max_lag: Some(5000.0),
        checks: Vec::new(),
        ..workload("ledger-consumer", 0.0, 0.0)
    };
    Frozen {
        form: FORM,
        resolved,
        manifest_sha256: Text::default(),
        cluster_uid: Text::default(),
        pinned_uid: None,
        namespace: "payments".into(),
        protected: false,
        workloads: SERVICES.iter().map(|(name, errors, p99)| workload(name, *errors, *p99)).collect(),
        watched: vec![workload("checkout-api", 0.01, 600.0), worker],
        flags: FlagPlace::Objects,
        scripts: Vec::new(),
        prometheus: None,
        queries: Queries { requests, errors, latency },
        // The rehearsal's metrics are a minute and a half old when its train could start.
        guard: Settings { baseline: Duration::from_secs(60), ..Settings::default() },
        freeze: Vec::new(),
        incidents: Vec::new(),
        edges: Vec::new(),
        estimate: 0,
    }
}

fn reading(rollout: &Value) -> Reading {
    let text = |pointer: &str| Text::scrub(rollout.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let number = |pointer: &str| rollout.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let flag = |pointer: &str| rollout.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    let steps = rollout.pointer("/spec/strategy/canary/steps").and_then(Value::as_array).map_or(0, Vec::len);
    Reading {
        uid: text("/metadata/uid"),
        version: text("/metadata/resourceVersion").parse().unwrap(),
        generation: number("/metadata/generation"),
        observed: true,
        spec: Spec::Pinned,
        current: text("/status/currentPodHash"),
        stable: text("/status/stableRS"),
        paused: flag("/spec/paused"),
        hold: None,
        undo: None,
        train: None,
        epoch: None,
        step: u32::try_from(number("/status/currentStepIndex")).unwrap(),
        steps: u32::try_from(steps).unwrap(),
        pause: None,
        weight: u8::try_from(number("/status/canary/weights/canary/weight")).unwrap(),
        aborted: flag("/status/abort"),
        full: false,
        healthy: text("/status/phase") == "Healthy",
        fast: true,
        mark: 0,
        record: None,
    }
}

/// Answers synthetic checks with one status, and remembers who was asked.
struct Smoke {
    answers: AtomicU16,
    asked: Mutex<Vec<String>>,
}

impl Probe for Smoke {
    fn get<'a>(&'a self, address: &'a str) -> Fut<'a, Result<u16, Fault>> {
        self.asked.lock().unwrap().push(address.to_owned());
        Box::pin(std::future::ready(Ok(self.answers.load(Ordering::Relaxed))))
    }
}

/// A rehearsal with a bench on it, and what the bench said so far.
struct Rig {
    probe: Arc<Smoke>,
    world: SharedWorld,
    clock: RehearsalClock,
    looks: mpsc::Sender<Look>,
    said: mpsc::Receiver<Said>,
    words: Vec<(Timestamp, Said)>,
    before: Text,
}

impl Rig {
    fn new(scenario: &str, store: Option<Arc<dyn Metrics>>, kept: Kept) -> Self {
        let scenario = Scenario::named(scenario).unwrap();
        let world = World::open(scenario, 5, wednesday()).unwrap();
        let router = serve::router(&world, Faults::new(5, wednesday()));
        let identity = Identity {
            context: "rehearsal".into(),
            server: "in process".into(),
            user: "ana".into(),
            namespace: "payments".into(),
        };
        let metrics = Prometheus::within(router.clone(), prometheus::PREFIX);
        let cluster = Kubernetes::seeded(kube::Client::new(router, "payments"), identity, 5);
        let world = SharedWorld::new(world);
        let clock = RehearsalClock::new(wednesday(), 1.0);
        tokio::spawn(drive(world.clone(), clock));
        let (looks, inbox) = mpsc::channel(64);
        let (out, said) = mpsc::channel(1024);
        let probe = Arc::new(Smoke { answers: AtomicU16::new(204), asked: Mutex::default() });
        let bench = Bench {
            frozen: Arc::new(frozen()),
            cluster: Arc::new(cluster) as Arc<dyn Cluster>,
            metrics: Ok(store.unwrap_or_else(|| Arc::new(metrics))),
            clock: Arc::new(clock),
            probe: Arc::clone(&probe) as Arc<dyn Probe>,
            kept,
        };
        tokio::spawn(run(bench, inbox, out));
        let mut rig = Self { probe, world, clock, looks, said, words: Vec::new(), before: Text::default() };
        rig.before = rig.read("billing-api").stable;
        rig
    }

    fn read(&self, name: &str) -> Reading {
        let world = self.world.lock();
        let store = world.store().lock();
        reading(&store.get(&kinds::ROLLOUT, "payments", name).unwrap())
    }

    fn change(&self, what: impl FnOnce(&mut Value)) {
        let world = self.world.lock();
        world.store().lock().update(&kinds::ROLLOUT, "payments", "billing-api", what).unwrap();
    }

    /// Half a second goes by; the bench is shown how things stand, as the loop would.
    async fn tick(&mut self, phase: Phase) {
        self.clock.sleep(Duration::from_millis(500)).await;
        let seat = |(name, ..): &(&str, f64, f64)| {
            let r = self.read(name);
            let flying = *name == "billing-api" && r.current != self.before;
            Seat { flight: flying.then(|| r.current.clone()), reading: Some(Arc::new(r)) }
        };
        let services = SERVICES.iter().map(seat).collect();
        self.looks.send(Look::Sight(Sight { phase, services, flags: Vec::new() })).await.unwrap();
        while let Ok(said) = self.said.try_recv() {
            self.words.push((self.clock.now(), said));
        }
    }

    async fn until(&mut self, what: &str, phase: Phase, seconds: u64, test: impl Fn(&Self) -> bool) {
        for _ in 0..seconds * 2 {
            if test(self) {
                return;
            }
            self.tick(phase).await;
        }
        panic!("never: {what}; last words {:#?}", self.words.iter().rev().take(4).collect::<Vec<_>>());
    }

    fn fact(&self, check: &Check) -> Option<&Found> {
        self.words.iter().rev().find_map(|(_, said)| match said {
            Said::Event(Event::Fact(fact)) if fact.check == *check => Some(&fact.found),
            _ => None,
        })
    }

    /// The first verdict on billing-api of which this is true, and when.
    fn judged(&self, test: impl Fn(&footplate::core::train::event::Judged) -> bool) -> Option<Timestamp> {
        self.words.iter().find_map(|(at, said)| match said {
            Said::Event(Event::Judged(j)) if j.service == 0 && test(j) => Some(*at),
            _ => None,
        })
    }

    fn views(&self) -> Arc<[View]> {
        let last = self.words.iter().rev().find_map(|(_, said)| match said {
            Said::Views(views) => Some(Arc::clone(views)),
            _ => None,
        });
        last.unwrap()
    }

    /// Through the pre-flight: everything has a baseline.
    async fn ready(&mut self) {
        let good = |rig: &Self| (0..3).all(|s| matches!(rig.fact(&Check::Burning(s)), Some(Found::Good(_))));
        self.until("a baseline of each", Phase::Preflight, 20, good).await;
    }

    fn deploy(&self) {
        self.change(|o| {
            o["spec"]["template"]["spec"]["containers"][0]["image"] =
                json!("registry.example/payments/billing-api:2.8.0");
        });
    }
}

#[test]
fn a_good_version_passes_at_its_step_and_at_its_bake() {
    at_full_speed(async {
        let mut rig = Rig::new("green", None, Kept::default());
        rig.ready().await;
        let scraped = rig.fact(&Check::Scrape).cloned();
        assert_eq!(scraped, Some(Found::Good("scraped every 5 s: a fault can be judged within 25 s".into())));
        let kept = rig.words.iter().rev().find_map(|(_, said)| match said {
            Said::Keep(kept) => Some(kept.clone()),
            _ => None,
        });
        let kept = kept.expect("what is normal is kept for the next conductor");
        assert_eq!(kept.baselines.len(), 4, "{kept:?}");
        let written = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&written).unwrap(), kept);

        rig.looks.send(Look::Measure(0)).await.unwrap();
        let count = |rig: &Rig| {
            let burning = |said: &Said| {
                matches!(said, Said::Event(Event::Fact(f)) if f.check == Check::Burning(0) && matches!(f.found, Found::Good(_)))
            };
            rig.words.iter().filter(|(_, said)| burning(said)).count()
        };
        let before = count(&rig);
        rig.until("it is measured again", Phase::Rolling, 10, |rig| count(rig) > before).await;

        rig.deploy();
        rig.until("a quarter", Phase::Rolling, 60, |rig| rig.read("billing-api").weight == 25).await;
        rig.change(|o| o["spec"]["paused"] = json!(true));
        let begun = rig.clock.now();
        let step = rig.read("billing-api").step;
        let passes = |rig: &Rig| rig.judged(|j| j.verdict == Verdict::Pass && j.full && j.step == Some(step)).is_some();
        rig.until("a pass", Phase::Rolling, 120, passes).await;
        let took = rig.clock.now().duration_since(begun).as_secs();
        println!("pass of a step after {took} s");
        assert!((60..=80).contains(&took), "a full window, and not much more: {took} s");
        let view = &rig.views()[0];
        assert!(view.in_flight && !view.estimated && view.requests > 100, "{view:?}");
        assert!(view.scrape_age.is_some_and(|age| age <= Duration::from_secs(11)), "{view:?}");
        println!("{}", view.why);

        assert_eq!(*rig.probe.asked.lock().unwrap(), [""; 0], "checks are for the bake");
        rig.change(|o| o["spec"]["paused"] = json!(false));
        rig.until("all of it", Phase::Rolling, 600, |rig| rig.read("billing-api").stable != rig.before).await;
        let steps = rig.read("billing-api").steps;
        let baked = |rig: &Rig| rig.judged(|j| j.verdict == Verdict::Pass && j.full && j.step == Some(steps)).is_some();
        rig.until("a pass of the bake", Phase::Rolling, 120, baked).await;
        assert!(rig.judged(|j| j.verdict != Verdict::Pass).is_none(), "nothing held or failed it");
        assert!(!rig.words.iter().any(|(_, said)| matches!(said, Said::Event(Event::Tripped(_)))));

        let asked = |rig: &Rig| rig.probe.asked.lock().unwrap().len();
        assert!(asked(&rig) > 5 && rig.probe.asked.lock().unwrap().iter().all(|a| a == "http://billing-api/smoke"));
        let answers = |rig: &Rig, status| rig.probe.answers.store(status, Ordering::Relaxed);
        // One wrong answer is none.
        let before = asked(&rig);
        answers(&rig, 503);
        rig.until("one more check", Phase::Rolling, 20, |rig| asked(rig) > before).await;
        answers(&rig, 204);
        rig.until("three more checks", Phase::Rolling, 40, |rig| asked(rig) > before + 3).await;
        assert!(rig.judged(|j| j.verdict != Verdict::Pass).is_none(), "one of them failed it");
        answers(&rig, 503);
        let fails = |rig: &Rig| rig.judged(|j| j.verdict == Verdict::Fail && j.cause == Cause::Logic).is_some();
        rig.until("a fail", Phase::Rolling, 30, fails).await;
        let why = rig.views()[0].why.clone();
        assert!(why.starts_with("check smoke: answered 503, ") && why.ends_with(" times running"), "{why}");
    })
    .unwrap();
}

/// A bad version, judged alone: what was said, and how long after the first request that it could hurt.
fn spike() -> (Vec<(Timestamp, Said)>, f64) {
    at_full_speed(async {
        let mut rig = Rig::new("error-spike", None, Kept::default());
        rig.ready().await;
        rig.deploy();
        let mut onset = None;
        let fails = |rig: &Rig| rig.judged(|j| j.verdict == Verdict::Fail);
        for _ in 0..600 {
            rig.tick(Phase::Rolling).await;
            let hurting = rig.world.lock().hurting();
            onset = onset.or_else(|| hurting.then(|| rig.clock.now()));
            if fails(&rig).is_some() {
                break;
            }
        }
        let (onset, failed) = (onset.expect("it hurts"), fails(&rig).expect("it fails"));
        let seconds = failed.duration_since(onset).as_millis() as f64 / 1000.0;
        let view = rig.views()[0].clone();
        println!("detected_s {seconds}: {}", view.why);
        let new = rig.read("billing-api").current;
        assert!(failed > onset);
        let told = rig.judged(|j| {
            j.verdict == Verdict::Fail && j.hash.as_ref() == Some(&new) && j.cause == Cause::Logic && !j.error
        });
        assert_eq!(told, Some(failed), "a fail of the new version");
        assert!(view.ratio().is_some_and(|r| r > 2.0), "{view:?}");
        (rig.words, seconds)
    })
    .unwrap()
}

#[test]
fn a_bad_version_fails_within_the_minute_and_the_same_run_says_the_same() {
    let (words, seconds) = spike();
    assert!(seconds <= 60.0, "{seconds}");
    let (again, _) = spike();
    assert!(words == again, "the same words twice");
}

/// A store that never answers.
struct Silent;

impl Metrics for Silent {
    fn query<'a>(&'a self, _: &'a str) -> Fut<'a, Result<Sample, Fault>> {
        Box::pin(std::future::pending())
    }

    fn range<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
        _: Timestamp,
        _: Duration,
    ) -> Fut<'a, Result<Vec<footplate::core::snapshot::Point>, Fault>> {
        Box::pin(std::future::pending())
    }
}

/// A store that refuses at once.
struct Dead;

impl Metrics for Dead {
    fn query<'a>(&'a self, _: &'a str) -> Fut<'a, Result<Sample, Fault>> {
        let (kind, what, why) = (FaultKind::Unreachable, "query prometheus".into(), "connection refused".into());
        Box::pin(std::future::ready(Err(Fault { kind, what, why, hint: Text::default() })))
    }

    fn range<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
        _: Timestamp,
        _: Duration,
    ) -> Fut<'a, Result<Vec<footplate::core::snapshot::Point>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

#[test]
fn a_store_that_does_not_answer_is_no_data_and_holds_nobody_up() {
    let stores: [(Arc<dyn Metrics>, &str); 2] =
        [(Arc::new(Silent), "no answer within 4 s"), (Arc::new(Dead), "connection refused")];
    for (store, why) in stores {
        at_full_speed(async {
            let mut rig = Rig::new("green", Some(store), Kept::default());
            for _ in 0..60 {
                rig.tick(Phase::Preflight).await;
            }
            let rounds = rig.words.iter().filter(|(_, said)| matches!(said, Said::Views(_))).count();
            assert!((5..=7).contains(&rounds), "{rounds} evaluations in 30 s");
            for s in 0..3 {
                assert!(
                    matches!(rig.fact(&Check::Burning(s)), Some(Found::Unknown(_))),
                    "{:?}",
                    rig.fact(&Check::Burning(s))
                );
            }
            let view = &rig.views()[0];
            assert_eq!(view.verdict, Verdict::NoData);
            assert!(view.why.contains(why) || view.why.contains("baseline"), "{}", view.why);
            rig.deploy();
            rig.until("pods of the new version", Phase::Rolling, 60, |rig| rig.read("billing-api").weight > 0).await;
            let flying = |rig: &Rig| {
                let hash = rig.read("billing-api").current;
                rig.judged(|j| j.hash.as_ref() == Some(&hash)).is_some()
            };
            rig.until("the new version is in flight", Phase::Rolling, 60, flying).await;
            rig.until("it is judged", Phase::Rolling, 120, |rig| {
                rig.judged(|j| j.verdict == Verdict::NoData).is_some()
            })
            .await;
        })
        .unwrap();
    }
}
