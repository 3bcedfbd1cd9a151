//! What footplate shows of gates, against the real Argo Rollouts and a real Prometheus: before a run begins, while it measures,
//! and after it has ended the rollout. What the controller does by itself is in `gates.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate::adapters::clock::SystemClock;
use footplate::adapters::conditions::Conditions;
use footplate::adapters::prometheus::Prometheus as Adapter;
use footplate::core::object::Object;
use footplate::core::snapshot::{GateView, Limit, Verdict};
use footplate::core::text::Text;
use footplate::engine::gates::ask::answer;
use footplate::engine::gates::{Board, Moment, Watched};
use footplate::ports::{Clock, FaultKind, Metrics};
use tokio::runtime::Runtime;

use crate::controlplane::{ControlPlane, shared};
use crate::prometheus::Prometheus;
use crate::sample;
use crate::traffic::{Behaviour, Traffic};

/// A board over one rollout, asked and answered as the engine does it.
struct Watching<'a> {
    plane: &'a ControlPlane,
    namespace: &'a str,
    runtime: Runtime,
    metrics: Adapter,
    conditions: Conditions,
    clock: SystemClock,
    board: Board,
}

impl<'a> Watching<'a> {
    fn new(plane: &'a ControlPlane, namespace: &'a str, prometheus: &str) -> Self {
        Self {
            plane,
            namespace,
            runtime: Runtime::new().unwrap(),
            metrics: Adapter::at(prometheus).unwrap(),
            conditions: Conditions::default(),
            clock: SystemClock::default(),
            board: Board::new(None),
        }
    }

    fn objects(&self, kind: &str) -> Vec<Object> {
        self.plane.objects(&[kind, "-n", self.namespace]).into_iter().map(Object::new).collect()
    }

    /// One turn: reads the cluster, asks what is due, and shows the error rate of billing-api.
    fn turn(&mut self) -> Arc<GateView> {
        let (rollouts, runs) = (self.objects("rollouts.argoproj.io"), self.objects("analysisruns.argoproj.io"));
        let templates = self.objects("analysistemplates.argoproj.io");
        let rollout = rollouts.iter().find(|r| r.name() == "billing-api").unwrap();
        let deciding: Vec<Text> =
            rollout.text("/status/canary/currentStepAnalysisRunStatus/name").into_iter().collect();
        let now = Moment { wall: self.clock.now(), monotonic: self.clock.monotonic() };
        let runs = runs.iter().filter(|run| run.name().starts_with("billing-api-")).collect();
        let watched = Watched { service: "billing-api".into(), rollout, runs, deciding: &deciding, selected: true };
        self.board.look(now, &[watched], &|_, name| templates.iter().find(|t| t.name() == name));
        for _ in 0..2 {
            for wish in self.board.due(now) {
                let said = self.runtime.block_on(answer(&self.metrics, &self.conditions, &self.clock, wish));
                self.board.fold(now, said);
            }
        }
        let views = self.board.views(now);
        Arc::clone(views.iter().find(|view| view.metric == "http-error-rate").unwrap())
    }

    fn until(&mut self, what: &str, limit: Duration, good: impl Fn(&GateView) -> bool) -> Arc<GateView> {
        let begun = Instant::now();
        loop {
            let view = self.turn();
            if good(&view) {
                return view;
            }
            assert!(begun.elapsed() < limit, "not seen within {limit:?}: {what}\n{view:#?}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

#[test]
fn a_gate_is_seen_before_its_run_while_it_measures_and_after_it_has_failed() {
    let plane = shared();
    let ns = plane.namespace();
    let traffic = Traffic::start(&plane.kubeconfig(), ns.name());
    let prometheus = Prometheus::start(traffic.port());
    traffic.behaves("billing-api", "2.8.0", Behaviour { error_rate: 0.3, ..Behaviour::default() });
    sample::apply(plane, ns.name(), prometheus.address());
    sample::all_healthy(plane, ns.name());
    plane.plugin(&["set", "image", "billing-api", "app=registry.example/payments/billing-api:2.8.0", "-n", ns.name()]);

    // The pause before the analysis lasts a minute; the template's own query tells what its run will find.
    let mut watching = Watching::new(plane, ns.name(), prometheus.address());
    let begun = Instant::now();
    let view = watching.until("the errors before any run", Duration::from_secs(55), |v| v.verdict == Verdict::Fail);
    assert_eq!((view.run.as_str(), view.limit, view.wanted, view.interval_s), ("", Some(Limit::Below(0.02)), 3, 10));
    let last = view.points.last().unwrap().value.unwrap();
    assert!((0.29..0.31).contains(&last), "{view:#?}");
    assert!(view.age_s.is_some_and(|age| age <= 10), "{view:#?}");
    println!("footplate shows fail {:.0} s after the image was set", begun.elapsed().as_secs_f64());

    let view = watching.until("a run that measures", Duration::from_secs(60), |v| !v.run.is_empty() && v.taken >= 1);
    assert_eq!((view.verdict, view.limit), (Verdict::Fail, Some(Limit::Below(0.02))));
    assert!(view.failures_left.is_some_and(|left| left <= 1));
    let before = view.points.len();
    assert!(before >= 3, "what was seen before the run stays: {view:#?}");

    let view = watching.until("the run that failed", Duration::from_secs(60), |v| {
        v.verdict == Verdict::Fail && v.taken == 2 && v.note.contains("at most")
    });
    assert_eq!(view.note.as_str(), "2 failed, at most 1 may");
    // After the abort no run decides any more; the one that failed stays in sight.
    std::thread::sleep(Duration::from_secs(3));
    let after = watching.turn();
    assert_eq!((&after.run, after.verdict), (&view.run, Verdict::Fail));
    assert!(after.points.len() >= before);
    assert!(after.points.windows(2).all(|pair| pair[0].at < pair[1].at));
}

#[test]
fn a_real_prometheus_is_asked_and_its_refusals_understood() {
    let plane = shared();
    let ns = plane.namespace();
    let traffic = Traffic::start(&plane.kubeconfig(), ns.name());
    let prometheus = Prometheus::start(traffic.port());
    let runtime = Runtime::new().unwrap();
    let metrics = Adapter::at(prometheus.address()).unwrap();
    let ask = |promql: &str| runtime.block_on(metrics.query(promql));
    assert_eq!(ask("vector(1) / 0").unwrap().values, [f64::INFINITY]);
    assert!(ask("vector(0) / 0").unwrap().values[0].is_nan());
    let scalar = ask("scalar(vector(2))").unwrap();
    assert!(scalar.scalar && scalar.values == [2.0]);
    assert!(scalar.age.is_some_and(|age| age < Duration::from_secs(2)), "{scalar:?}");
    assert!(ask("no_such_metric").unwrap().values.is_empty());
    let fault = ask("sum(").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unprocessable);
    assert!(fault.why.contains("parse error"), "{fault:?}");
    let elsewhere = Adapter::at(&format!("{}/elsewhere", prometheus.address())).unwrap();
    assert_eq!(runtime.block_on(elsewhere.query("up")).unwrap_err().kind, FaultKind::NotFound);
    let (now, step) = (jiff::Timestamp::now(), Duration::from_secs(10));
    let range = metrics.range("vector(3)", now - Duration::from_secs(60), now, step);
    let points = runtime.block_on(range).unwrap();
    assert_eq!(points.iter().map(|p| p.value).collect::<Vec<_>>(), [Some(3.0); 7]);
}
