//! Trains made by hand: a plan of three services, and Releases of it as a conductor leaves them.

use footplate::core::frozen::{FORM, FlagPlace, Frozen, Queries, Workload};
use footplate::core::release::{create, status_of};
use footplate::core::slo::{GateBy, Slo};
use footplate::core::text::Text;
use footplate::core::train::event::Whose;
use footplate::core::train::resolved::{Abandon, Deploy, Kind, Resolved, Service, Times, Untimed, Wave};
use footplate::core::train::state::{Ended, Memory, ServiceMemory, Stage, State, Undo};
use footplate::core::train::{Phase, train_id};
use footplate::core::verdict::Cause;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// How a train came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    Completed,
    RolledBack,
    Rolling,
}

/// Ten in the morning of the given day of the sample's month.
pub fn at(day: usize, seconds: i64) -> Timestamp {
    let begin: Timestamp = "2025-10-02T10:00:00Z".parse().unwrap();
    begin.checked_add(SignedDuration::from_secs(day as i64 * 86_400 + seconds)).unwrap()
}

/// Three services, one after another.
pub fn plan(release: &str, uid: &str) -> Frozen {
    let service = |name: &str, version: &str, wave, needs: &[u16]| Service {
        name: name.into(),
        version: version.into(),
        image: format!("registry.example/payments/{name}:{version}").into(),
        kind: Kind::Rollout,
        wave,
        needs: needs.to_vec(),
        untimed: Untimed::Gate,
        commit: (name == "billing-api").then(|| ("4a2f9c3d5e6f7a8b".into(), "2025-10-01T08:00:00Z".parse().unwrap())),
    };
    let services = vec![
        service("accounts-api", "1.23.4", 0, &[]),
        service("billing-api", "2.8.0", 1, &[0]),
        service("edge-gateway", "5.1.2", 2, &[1]),
    ];
    let workloads = services
        .iter()
        .map(|s| Workload {
            service: s.name.clone(),
            kind: Kind::Rollout,
            name: s.name.clone(),
            container: None,
            config: None,
            slo: Slo::default(),
            gate: GateBy::Metrics,
            lag: None,
            max_lag: None,
            checks: Vec::new(),
            weights: None,
        })
        .collect();
    let wave = |s| Wave { services: vec![s], expand: false };
    let manifest = "5d".repeat(32);
    Frozen {
        form: FORM,
        resolved: Resolved {
            release: release.into(),
            uid: uid.into(),
            id: train_id(&manifest, "c1", "prod", uid),
            environment: "prod".into(),
            captain: "ana".into(),
            abandon: Abandon::Undo,
            deploy: Deploy::Direct,
            waves: vec![wave(0), wave(1), wave(2)],
            services,
            migrations: Vec::new(),
            flags: Vec::new(),
            policies: Vec::new(),
            times: Times::default(),
            #[cfg(feature = "mutants")]
            broken: None,
        },
        manifest_sha256: manifest.into(),
        cluster_uid: "c1".into(),
        pinned_uid: None,
        namespace: "payments".into(),
        protected: true,
        workloads,
        watched: Vec::new(),
        flags: FlagPlace::Objects,
        scripts: Vec::new(),
        prometheus: None,
        queries: Queries { requests: "r".into(), errors: "e".into(), latency: "l".into() },
        guard: footplate::core::judge::Settings::default(),
        freeze: Vec::new(),
        incidents: Vec::new(),
        edges: vec![(0, 1), (1, 2)],
        estimate: 900_000,
    }
}

/// A Release as it lies in the cluster at the end (or in the middle) of a train of that day.
pub fn release(day: usize, ending: Ending) -> Value {
    let frozen = plan(&format!("2025.10.02-rc{}", day + 1), "");
    let effect = create(&frozen, &"dev".into(), &[], at(day, 0));
    let footplate::core::effect::Change::Create(mut object) = effect.change else { panic!("no create") };
    let state = State::resume(Arc::new(frozen.resolved), memory(day, ending));
    let ended = at(day, 900);
    let mut status = serde_json::to_value(status_of(&state, &[], json!({}), ended)).unwrap();
    if ending == Ending::Rolling {
        status.as_object_mut().unwrap().remove("result");
    }
    if ending == Ending::RolledBack {
        object["spec"]["incident"] = json!("https://incidents.example/42");
    }
    object["status"] = status;
    object
}

fn memory(day: usize, ending: Ending) -> Memory {
    let mut memory = State::new(Arc::new(plan("r", "").resolved)).memory().clone();
    memory.started = Some(at(day, 0));
    memory.phase = Phase::Rolling;
    memory.epoch = (1, "c1".into());
    let touch = |s: &mut ServiceMemory, from: i64, to: Option<i64>, stage| {
        (s.touched, s.stage) = (true, stage);
        (s.started, s.healthy) = (Some(at(day, from)), to.map(|to| at(day, to)));
    };
    touch(&mut memory.services[0], 10, Some(300), Stage::Done);
    match ending {
        Ending::Completed => {
            touch(&mut memory.services[1], 310, Some(600), Stage::Done);
            touch(&mut memory.services[2], 610, Some(890), Stage::Done);
            (memory.closing, memory.ended) = (Some(Ended::Completed), Some(Ended::Completed));
        }
        Ending::RolledBack => {
            touch(&mut memory.services[1], 310, None, Stage::Undone);
            memory.services[0].stage = Stage::Undone;
            memory.services[1].detected = Some(at(day, 400));
            memory.services[1].recovered = Some(at(day, 424));
            memory.services[1].cause = Some(Cause::Logic);
            memory.services[1].automatic = true;
            memory.services[1].undone_by = Some(7);
            (memory.detected, memory.decided) = (Some(at(day, 400)), Some(at(day, 401)));
            memory.recovered = Some(at(day, 424));
            memory.cause = Some((Whose::Ours(1), Cause::Logic, Text::scrub("errors 3.1 % > 2x 0.7 %")));
            memory.undo = Some(Undo {
                id: 7,
                services: vec![0, 1],
                alone: false,
                whole: true,
                automatic: true,
                who: "footplate".into(),
                since: at(day, 401),
                paged: 0,
                ms: 0,
            });
            (memory.closing, memory.ended) = (Some(Ended::RolledBack), Some(Ended::RolledBack));
        }
        Ending::Rolling => touch(&mut memory.services[1], 310, None, Stage::Stepping),
    }
    memory
}
