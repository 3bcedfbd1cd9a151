//! Snapshots made by hand: the ten services of the sample, in the middle of a train.

use std::sync::Arc;

use footplate::core::object::{ObjectKind, ObjectRef};
use footplate::core::snapshot::*;
use footplate::core::text::Text;
use footplate::core::workload::*;
use jiff::{SignedDuration, Timestamp};

pub const NOW: &str = "2025-10-02T13:04:31Z";

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub fn ago(seconds: i64) -> Timestamp {
    now().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

fn object(kind: ObjectKind, name: &str) -> ObjectRef {
    ObjectRef { cluster: "prod-eu".into(), kind, namespace: "payments".into(), name: name.into() }
}

fn replica_set(name: &str, revision: u32, role: Role, version: &str) -> ReplicaSetView {
    ReplicaSetView {
        name: format!("{name}-{revision}f7d9c").into(),
        hash: format!("{revision}f7d9c").into(),
        revision,
        role,
        image: format!("registry.example/payments/{name}:{version}").into(),
        desired: 4,
        ready: 4,
        available: 4,
        created: Some(ago(3600)),
        scale_down_at: None,
    }
}

/// A healthy workload at one version.
pub fn workload(name: &str, kind: ObjectKind, version: &str) -> Workload {
    Workload {
        id: object(kind, name),
        uid: "u".into(),
        strategy: if kind == ObjectKind::Rollout { Strategy::CanaryRouted } else { Strategy::RollingUpdate },
        phase: Phase::Healthy,
        reason: Text::default(),
        waits_for: Text::default(),
        version: Some(version.into()),
        stable_version: Some(version.into()),
        hash: "1f7d9c".into(),
        stable_hash: "1f7d9c".into(),
        step: None,
        steps: None,
        step_text: Text::default(),
        next_text: Text::default(),
        weights: vec![25, 50, 100],
        set_weight: Some(100),
        actual_weight: Some(100),
        max_weight: 100,
        pause: None,
        held: false,
        held_by: Text::default(),
        aborted: false,
        promote_full: false,
        replicas: Replicas { desired: 4, current: 4, updated: 4, ready: 4, available: 4 },
        sets: vec![replica_set(name, 1, Role::Stable, version)],
        runs: Vec::new(),
        undo: UndoPath::NotNeeded,
        undo_to: None,
        owner: None,
        generation: 3,
        observed: true,
    }
}

/// A service that has not moved.
pub fn service(name: &str, wave: u32, after: &[&str], kind: ObjectKind, old: &str, new: &str) -> ServiceView {
    ServiceView {
        name: name.into(),
        wave: Some(wave),
        after: after.iter().map(|a| (*a).into()).collect(),
        pinned: Some(new.into()),
        id: object(kind, name),
        workload: Some(Arc::new(workload(name, kind, old))),
        unread: false,
        undo_s: None,
        train_phase: TrainPhase::Waiting,
        verdict: None,
        waits_for: format!("wave {}", wave - 1).into(),
        doing: Text::default(),
        also: Vec::new(),
    }
}

fn change(service: &mut ServiceView, by: impl FnOnce(&mut Workload)) {
    let mut w = Workload::clone(service.workload.as_ref().unwrap());
    by(&mut w);
    service.workload = Some(Arc::new(w));
}

fn done(mut service: ServiceView) -> ServiceView {
    service.train_phase = TrainPhase::Done;
    service.waits_for = Text::default();
    let pinned = service.pinned.clone();
    change(&mut service, |w| {
        w.undo_to = Some(UndoTo { hash: "1f7d9c".into(), version: w.version.clone(), known: true });
        w.version.clone_from(&pinned);
        w.stable_version = pinned;
        w.undo = UndoPath::Window;
    });
    service
}

fn flying(mut service: ServiceView, step: u32, asked: u32, actual: u32) -> ServiceView {
    service.train_phase = TrainPhase::Stepping;
    let pinned = service.pinned.clone();
    let name = service.name.clone();
    change(&mut service, |w| {
        w.phase = Phase::Progressing;
        let old = w.version.clone().unwrap();
        w.sets = vec![
            replica_set(&name, 2, Role::Canary, pinned.as_deref().unwrap()),
            replica_set(&name, 1, Role::Stable, &old),
        ];
        w.undo_to = Some(UndoTo { hash: "1f7d9c".into(), version: Some(old), known: true });
        w.version = pinned;
        w.hash = "2f7d9c".into();
        w.step = Some(step);
        w.steps = Some(7);
        w.set_weight = Some(asked);
        w.actual_weight = Some(actual);
        w.undo = UndoPath::ToStable;
    });
    service
}

fn points(values: &[f64]) -> Arc<[Point]> {
    let count = values.len() as i64;
    values
        .iter()
        .zip(0i64..)
        .map(|(v, n)| Point { at: ago((count - n) * 5), value: (*v >= 0.0).then_some(*v) })
        .collect()
}

fn gate(service: &str, metric: &str, limit: f64, values: &[f64], verdict: Verdict) -> Arc<GateView> {
    Arc::new(GateView {
        service: service.into(),
        metric: metric.into(),
        run: format!("{service}-2f7d9c-2-3").into(),
        condition: format!("result[0] < {limit}").into(),
        limit: Some(Limit::Below(limit)),
        points: points(values),
        verdict,
        taken: 5,
        wanted: 10,
        failures_left: Some(2),
        interval_s: 5,
        age_s: Some(2),
        note: Text::default(),
    })
}

fn event(seconds: i64, subject: &str, text: &str, weight: Weight) -> EventView {
    EventView { at: ago(seconds), subject: subject.into(), text: text.into(), weight }
}

const ERRORS: [f64; 32] = [
    0.006, 0.007, 0.006, 0.008, 0.007, 0.009, 0.008, 0.007, 0.006, 0.008, 0.009, 0.011, 0.009, 0.008, 0.007, 0.008,
    0.006, 0.007, 0.006, 0.008, 0.007, 0.009, 0.008, 0.007, 0.006, 0.008, 0.009, 0.011, 0.009, 0.008, 0.007, 0.008,
];

const P95: [f64; 32] = [
    201.0, 204.0, 208.0, 211.0, 207.0, 219.0, 224.0, 220.0, 214.0, 210.0, 208.0, 212.0, 216.0, 213.0, 209.0, 212.0,
    201.0, 204.0, 208.0, 211.0, 207.0, 219.0, -1.0, 220.0, 214.0, 210.0, 208.0, 212.0, 216.0, 213.0, 209.0, 212.0,
];

/// Ten services, two of them under way, all well.
pub fn rolling() -> Snapshot {
    use ObjectKind::{Deployment, Rollout};
    let mut billing =
        flying(service("billing-api", 2, &["accounts-api", "ledger-api"], Rollout, "2.7.4", "2.8.0"), 4, 50, 50);
    change(&mut billing, |w| {
        w.phase = Phase::Paused;
        w.reason = "CanaryPauseStep".into();
        w.step_text = "pause 60s".into();
        w.next_text = "analysis error-rate-and-latency".into();
        w.waits_for = "the pause of step 4/7 to end".into();
        w.pause = Some(Pause { reason: "CanaryPauseStep".into(), since: Some(ago(12)), seconds: Some(60) });
    });
    billing.verdict = Some(Verdict::Pass);
    billing.waits_for = "the pause of step 4/7 to end".into();
    let mut fraud = flying(service("fraud-scorer", 2, &["ledger-api"], Rollout, "1.4.9", "1.5.0"), 1, 25, 14);
    change(&mut fraud, |w| w.step_text = "setWeight 25".into());
    fraud.waits_for = "weight 25 at the router".into();
    let mut consumer = done(service("ledger-consumer", 2, &["ledger-api"], Deployment, "0.14.6", "0.14.7"));
    change(&mut consumer, |w| (w.set_weight, w.actual_weight) = (None, None));
    let mut pricing = service("pricing-api", 1, &[], Rollout, "0.32.0", "0.32.0");
    pricing.train_phase = TrainPhase::Unchanged;
    pricing.waits_for = Text::default();
    let mut notifications = service("notifications-worker", 3, &["billing-api"], Deployment, "4.0.9", "4.1.0");
    change(&mut notifications, |w| (w.set_weight, w.actual_weight) = (None, None));
    let services: Vec<Arc<ServiceView>> = [
        done(service("accounts-api", 1, &[], Rollout, "1.23.3", "1.23.4")),
        done(service("ledger-api", 1, &[], Rollout, "3.9.2", "3.10.0")),
        pricing,
        billing,
        fraud,
        consumer,
        service("checkout-api", 3, &["billing-api", "fraud-scorer", "pricing-api"], Rollout, "6.3.0", "6.3.1"),
        notifications,
        service(
            "edge-gateway",
            4,
            &["checkout-api", "ledger-consumer", "notifications-worker"],
            Rollout,
            "5.1.1",
            "5.1.2",
        ),
        service("storefront-web", 5, &["edge-gateway"], Rollout, "12.8.3", "12.9.0"),
    ]
    .into_iter()
    .map(Arc::new)
    .collect();
    let mut edges: Vec<(Text, Text)> =
        services.iter().flat_map(|s| s.after.iter().map(|a| (a.clone(), s.name.clone()))).collect();
    edges.extend([("accounts-api".into(), "edge-gateway".into()), ("ledger-api".into(), "checkout-api".into())]);
    Snapshot {
        seq: 41,
        at: now(),
        place: Place {
            environment: Some("prod".into()),
            context: "prod-eu".into(),
            namespace: "payments".into(),
            server: "https://10.0.0.1:6443".into(),
            protected: true,
            write: WriteMode::ReadWrite,
        },
        mode: Mode::Live,
        link: Link::Live,
        read_at: Some(ago(1)),
        release: Some("2025.10.02-rc1".into()),
        waves: 6,
        services: services.into(),
        expand: Arc::new([("postgres".into(), "db/2025-10-02_add-ledger-nullable.sql".into())]),
        edges: edges.into(),
        history: None,
        gates: Arc::new([
            gate("billing-api", "error-rate", 0.02, &ERRORS, Verdict::Pass),
            gate("billing-api", "p95-latency-ms", 300.0, &P95, Verdict::Pass),
            gate("fraud-scorer", "error-rate", 0.02, &ERRORS[..9], Verdict::Inconclusive),
        ]),
        flags: Arc::new([FlagView {
            key: "ledger_nullable".into(),
            source: "featureflag payments/payments-flags".into(),
            object: Some(object(ObjectKind::FeatureFlag, "payments-flags")),
            now: Some("off".into()),
            wanted: Some("on".into()),
            enabled: true,
            services: vec!["billing-api".into(), "ledger-api".into(), "ledger-consumer".into()],
            note: Text::default(),
        }]),
        events: Arc::new([
            event(412, "", "release 2025.10.02-rc1 read: 10 services, 5 waves", Weight::Note),
            event(398, "accounts-api", "ana started 1.23.4 by hand", Weight::Act),
            event(251, "accounts-api", "done: 1.23.4 is stable", Weight::Note),
            event(240, "ledger-api", "ana started 3.10.0 by hand", Weight::Act),
            event(131, "ledger-api", "done: 3.10.0 is stable", Weight::Note),
            event(120, "billing-api", "ana started 2.8.0 by hand", Weight::Act),
            event(71, "ledger-consumer", "two restarts while starting", Weight::Warn),
            event(48, "billing-api", "25 to 50 %: gate passed, errors 0.008 < 0.02", Weight::Note),
        ]),
        pods: Arc::new([
            PodView {
                name: "billing-api-2f7d9c-x2x7k".into(),
                set: "billing-api-2f7d9c".into(),
                status: "Running".into(),
                ready: true,
                restarts: 0,
            },
            PodView {
                name: "billing-api-2f7d9c-9qk2m".into(),
                set: "billing-api-2f7d9c".into(),
                status: "CrashLoopBackOff".into(),
                ready: false,
                restarts: 4,
            },
        ]),
        runs: Arc::new([RunView {
            name: "billing-api-2f7d9c-2-3".into(),
            service: "billing-api".into(),
            hash: "2f7d9c".into(),
            phase: "Running".into(),
            message: Text::default(),
            metrics: vec![
                ("error-rate".into(), "Running".into(), "0.008".into(), "5/0/0/0".into()),
                ("p95-latency-ms".into(), "Running".into(), "212".into(), "5/0/0/0".into()),
            ],
        }]),
        needs: Arc::new([]),
        gaps: Arc::new([]),
        train: None,
    }
}

/// The same, and billing-api's gate failed: it needs a person.
pub fn trouble() -> Snapshot {
    let mut s = rolling();
    s.seq += 1;
    let mut services: Vec<Arc<ServiceView>> = s.services.to_vec();
    let mut billing = ServiceView::clone(&services[3]);
    billing.verdict = Some(Verdict::Fail);
    billing.waits_for = "you: the gate fails, errors 0.051 >= 0.02".into();
    change(&mut billing, |w| {
        w.pause = Some(Pause { reason: "InconclusiveAnalysisRun".into(), since: Some(ago(12)), seconds: None })
    });
    services[3] = Arc::new(billing);
    s.services = services.into();
    let mut bad = ERRORS;
    bad[26..].copy_from_slice(&[0.015, 0.024, 0.031, 0.038, 0.046, 0.051]);
    s.gates = Arc::new([
        gate("billing-api", "error-rate", 0.02, &bad, Verdict::Fail),
        gate("billing-api", "p95-latency-ms", 300.0, &P95, Verdict::Pass),
        gate("fraud-scorer", "error-rate", 0.02, &ERRORS[..9], Verdict::NoData),
    ]);
    s.needs = Arc::new([Need {
        what: "billing-api at 50 %: error-rate fails, 0.051 >= 0.02".into(),
        since: ago(12),
        deadline: Some(now().checked_add(SignedDuration::from_secs(288)).unwrap()),
        keys: "X abort  u undo".into(),
        service: "billing-api".into(),
    }]);
    let mut events = s.events.to_vec();
    events.push(event(12, "billing-api", "gate failed: error-rate 0.051 >= 0.02", Weight::Alarm));
    s.events = events.into();
    s
}

/// A snapshot before anything was read.
pub fn connecting() -> Snapshot {
    let mut s = rolling();
    s.link = Link::Connecting;
    s.read_at = None;
    s.seq = 0;
    s.services = Arc::new([]);
    s.gates = Arc::new([]);
    s.events = Arc::new([]);
    s.flags = Arc::new([]);
    s.expand = Arc::new([]);
    s.edges = Arc::new([]);
    s
}

/// With one service changed.
pub fn with(s: &Snapshot, name: &str, by: impl FnOnce(&mut ServiceView, &mut Workload)) -> Snapshot {
    let mut s = s.clone();
    s.seq += 1;
    let mut services = s.services.to_vec();
    let at = services.iter().position(|x| *x.name == *name).unwrap();
    let mut changed = ServiceView::clone(&services[at]);
    let mut w = Workload::clone(changed.workload.as_ref().unwrap());
    by(&mut changed, &mut w);
    changed.workload = Some(Arc::new(w));
    services[at] = Arc::new(changed);
    s.services = services.into();
    s
}
