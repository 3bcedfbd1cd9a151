//! A frozen train of one service, for tests that need one. Nothing is done with it here.

use footplate::core::frozen::{FORM, FlagPlace, Frozen, Queries, Workload};
use footplate::core::judge;
use footplate::core::slo::{GateBy, Slo};
use footplate::core::text::Text;
use footplate::core::train::resolved::{Abandon, Deploy, Kind, Resolved, Service, Times, Untimed, Wave};

/// A train of one service `app`, on its way to this image.
pub fn frozen(kind: Kind, uid: &str, namespace: &str, image: &str, config: Option<&str>) -> Frozen {
    let service = Service {
        name: "app".into(),
        version: "2.0.0".into(),
        image: image.into(),
        kind,
        wave: 0,
        needs: Vec::new(),
        untimed: Untimed::Gate,
        commit: None,
    };
    // As fast as the rules allow: nothing here is about how long things take.
    let times = Times { window: 4_000, bake: 2_000, ..Times::default() };
    let resolved = Resolved {
        release: "words".into(),
        uid: uid.into(),
        id: "QKZD".into(),
        environment: "test".into(),
        captain: "ana".into(),
        abandon: Abandon::Stay,
        deploy: Deploy::Direct,
        waves: vec![Wave { services: vec![0], expand: false }],
        services: vec![service],
        migrations: Vec::new(),
        flags: Vec::new(),
        policies: Vec::new(),
        times,
    };
    let workload = Workload {
        service: "app".into(),
        kind,
        name: "app".into(),
        container: Some("app".into()),
        config: config.map(Into::into),
        slo: Slo::default(),
        gate: GateBy::Metrics,
        lag: None,
        max_lag: None,
        checks: Vec::new(),
        weights: None,
    };
    Frozen {
        form: FORM,
        resolved,
        manifest_sha256: Text::default(),
        cluster_uid: "cluster-1".into(),
        pinned_uid: None,
        namespace: namespace.into(),
        protected: false,
        workloads: vec![workload],
        watched: Vec::new(),
        flags: FlagPlace::Objects,
        scripts: Vec::new(),
        prometheus: None,
        queries: Queries { requests: Text::default(), errors: Text::default(), latency: Text::default() },
        guard: judge::Settings::default(),
        freeze: Vec::new(),
        incidents: Vec::new(),
        edges: Vec::new(),
        estimate: 0,
    }
}
