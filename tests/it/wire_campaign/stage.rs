//! The cluster that a seed's train runs in: its workloads with their traffic, and the Release as a captain recorded it. What
//! becomes of it is not known here.

use footplate::core::confirm::Order;
use footplate::core::effect::Change;
use footplate::core::frozen::{FlagPlace, Frozen, Queries};
use footplate::core::judge::Settings;
use footplate::core::manifest::footplate::Metrics as Asked;
use footplate::core::release;
use footplate::core::slo::Slo;
use footplate::core::train::event::{Intent, Want};
use footplate::core::train::resolved::{Abandon, Flag, Kind as TrainKind, Setting, Times, Wave};
use footplate::rehearsal::controllers::pod::{Fate, Fates};
use footplate::rehearsal::store::Store;
use footplate::rehearsal::traffic::{Call, Effect, Model, ServiceModel, Slo as Promised, Traffic};
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, kinds};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

use super::scenario::{BEFORE, Cause, FLAG, Kind, PINNED, Scenario, Service};
use crate::frozen;

pub const NS: &str = "payments";
/// The context by which everybody knows the cluster.
pub const CONTEXT: &str = "sim";

/// How long the fleet has been up when the train is recorded.
const WARM_UP: i64 = 100;

/// The wait after 100 %, and the guard's window.
pub const BAKE: Duration = Duration::from_secs(12);
const WINDOW: Duration = Duration::from_secs(15);

/// Errors of the bad version begin above this share of the traffic.
const FROM_WEIGHT: f64 = 40.0;

pub fn image(name: &str, version: &str) -> String {
    format!("registry.example/payments/{name}:{version}")
}

/// The kind that the server knows a service's workload by.
pub fn stored(kind: Kind) -> &'static kinds::Kind {
    if kind == Kind::Deployment { &kinds::DEPLOYMENT } else { &kinds::ROLLOUT }
}

/// A cluster with the versions before, its time at `start`, and its requests flowing.
pub fn open(scenario: &Scenario, start: Timestamp) -> World {
    let begin = start - SignedDuration::from_secs(WARM_UP);
    let mut store = Store::new(scenario.seed, begin);
    store.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": NS}})).unwrap();
    for service in &scenario.services {
        for (kind, object) in objects(service) {
            store.create(kind, NS, object).unwrap();
        }
    }
    if scenario.flag {
        store.create(&kinds::FEATURE_FLAG, NS, flags()).unwrap();
    }
    let mut fates = Fates::default();
    if let Cause::Crash(s) = scenario.cause {
        fates.rules.push((image(scenario.services[s].name, PINNED), Fate::CrashLoop));
    }
    let mut world = World::bare(Shared::new(store), fates, scenario.seed);
    world.advance(begin + SignedDuration::from_secs(20));
    world.let_flow(traffic(scenario));
    world.advance(start);
    world
}

fn objects(service: &Service) -> Vec<(&'static kinds::Kind, Value)> {
    let name = service.name;
    let (stable, canary) = (format!("{name}-stable"), format!("{name}-canary"));
    let entry = |name: &str, target: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NS},
            "spec": {"selector": {"app": target}, "ports": [{"port": 80, "targetPort": 8080}]},
        })
    };
    let template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": image(name, BEFORE)}]},
    });
    let mut all = vec![(&kinds::SERVICE, entry(&stable, name))];
    if service.kind == Kind::Deployment {
        all.push((
            &kinds::DEPLOYMENT,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NS},
                "spec": {"replicas": 4, "selector": {"matchLabels": {"app": name}}, "template": template},
            }),
        ));
        return all;
    }
    let steps: Vec<Value> = service
        .steps
        .iter()
        .flat_map(|(weight, pause)| {
            let pause = pause.map_or(json!({}), |seconds| json!({"duration": format!("{seconds}s")}));
            [json!({"setWeight": weight}), json!({"pause": pause})]
        })
        .collect();
    let mut strategy = json!({"stableService": stable, "canaryService": canary, "steps": steps});
    if service.kind == Kind::Routed {
        all.push((&kinds::SERVICE, entry(&canary, name)));
        all.push((&kinds::INGRESS, json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name, "namespace": NS},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": format!("{name}.example"), "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": stable, "port": {"number": 80}}}},
            ]}}]},
        })));
        strategy["trafficRouting"] = json!({"nginx": {"stableIngress": name}});
    } else {
        strategy.as_object_mut().unwrap().retain(|key, _| key == "steps");
    }
    all.push((
        &kinds::ROLLOUT,
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name, "namespace": NS},
            "spec": {
                "replicas": 4, "revisionHistoryLimit": 5, "rollbackWindow": {"revisions": 3},
                "selector": {"matchLabels": {"app": name}}, "strategy": {"canary": strategy}, "template": template,
            },
        }),
    ));
    all
}

fn flags() -> Value {
    json!({
        "apiVersion": "core.openfeature.dev/v1beta1", "kind": "FeatureFlag",
        "metadata": {"name": "flags", "namespace": NS},
        "spec": {"flagSpec": {"flags": {FLAG: {
            "state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off", "targeting": {},
        }}}},
    })
}

fn traffic(scenario: &Scenario) -> Traffic {
    let service = |s: &Service| ServiceModel {
        name: s.name.to_owned(),
        users: 120.0,
        errors: 0.001,
        median_ms: 60.0,
        calls: s
            .needs
            .iter()
            .map(|d| Call { to: scenario.services[*d].name.to_owned(), each: 0.2, fails: 0.1 })
            .collect(),
        slo: Promised { errors: 0.02, p95_ms: 400.0 },
    };
    let effect = |s: usize, errors: f64, slower: f64| Effect {
        service: scenario.services[s].name.to_owned(),
        version: PINNED.to_owned(),
        errors,
        slower,
        ramp_s: 0.0,
        from_weight: 0.0,
        flag: String::new(),
        job: String::new(),
    };
    let effects = match scenario.cause {
        Cause::Errors(s) => vec![Effect { from_weight: FROM_WEIGHT, ..effect(s, 0.3, 1.0) }],
        Cause::Slow(s) => vec![effect(s, 0.0, 12.0)],
        Cause::Flag(s) => vec![Effect { flag: FLAG.to_owned(), ..effect(s, 0.3, 1.0) }],
        _ => Vec::new(),
    };
    let hidden = match scenario.cause {
        Cause::NoData(s) => vec![(scenario.services[s].name.to_owned(), PINNED.to_owned())],
        _ => Vec::new(),
    };
    // Callers before those they call.
    let model =
        Model { scrape_s: 5, service: scenario.services.iter().rev().map(service).collect(), worker: Vec::new() };
    Traffic::new(model, NS, effects, hidden, scenario.seed)
}

/// The train of a scenario, as fast as its rules allow to be told.
fn train(scenario: &Scenario, cluster_uid: &str) -> Frozen {
    let mut frozen = frozen::frozen(TrainKind::Rollout, "", NS, "", None);
    let (service, workload) = (frozen.resolved.services[0].clone(), frozen.workloads[0].clone());
    frozen.resolved.services.clear();
    frozen.workloads.clear();
    let id = |n: &usize| u16::try_from(*n).unwrap();
    for one in &scenario.services {
        let kind = if one.kind == Kind::Deployment { TrainKind::Deployment } else { TrainKind::Rollout };
        let mut service = service.clone();
        (service.name, service.image, service.wave) =
            (one.name.into(), image(one.name, PINNED).as_str().into(), id(&one.wave));
        (service.kind, service.needs) = (kind, one.needs.iter().map(id).collect());
        frozen.resolved.services.push(service);
        let mut workload = workload.clone();
        (workload.service, workload.name, workload.kind) = (one.name.into(), one.name.into(), kind);
        workload.slo =
            Slo { error_rate: Some(0.02), p95_ms: Some(400.0), p99_ms: Some(500.0), max_5xx_per_second: Some(25.0) };
        frozen.workloads.push(workload);
    }
    let wave = |n: usize| Wave {
        services: (0..).zip(&scenario.services).filter(|(_, s)| s.wave == n).map(|(at, _)| at).collect(),
        expand: false,
    };
    frozen.resolved.waves = (0..scenario.waves).map(wave).collect();
    if scenario.flag {
        frozen.resolved.flags.push(Flag {
            key: FLAG.into(),
            goal: Setting::Percent(100),
            safe: Some(Setting::Percent(0)),
            services: (0..u16::try_from(scenario.services.len()).unwrap()).collect(),
        });
        frozen.flags = FlagPlace::Objects;
    }
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    frozen.resolved.times = Times {
        window: ms(WINDOW),
        bake: ms(BAKE),
        flag_step: 15_000,
        no_data: 60_000,
        page: 120_000,
        undo_patience: 90_000,
        deploy_patience: 120_000,
        ..Times::default()
    };
    frozen.resolved.abandon = if scenario.abandoned_is_undone { Abandon::Undo } else { Abandon::Stay };
    frozen.guard = Settings {
        window: WINDOW,
        baseline: Duration::from_secs(60),
        no_data: Duration::from_secs(60),
        ready: Duration::from_secs(20),
        bake: BAKE,
        ..Settings::default()
    };
    let Asked { requests, errors, latency } = Asked::default();
    frozen.queries = Queries { requests, errors, latency };
    frozen.prometheus = Some("http://prometheus".into());
    frozen.cluster_uid = cluster_uid.into();
    frozen
}

/// Records the train, its start ordered; gives the name of its Release and its uid.
pub fn record(scenario: &Scenario, store: &mut Store) -> (String, String) {
    let uid = store.get(&kinds::NAMESPACE, "", "kube-system").unwrap().uid().to_owned();
    let order = Order { who: "ana".into(), when: store.now(), why: "a campaign".into() };
    let start = Intent { id: 1, epoch: None, order, want: Want::Start };
    let made = release::create(&train(scenario, &uid), &CONTEXT.into(), &[start], store.now());
    let Change::Create(body) = made.change else { panic!("no object") };
    let held = store.create(&kinds::RELEASE, NS, body).unwrap();
    (held.name().to_owned(), held.uid().to_owned())
}
