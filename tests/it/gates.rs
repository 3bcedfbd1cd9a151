//! Gates as footplate shows them, over the rehearsal cluster and its Prometheus in process: the same board, queries and
//! conditions as over a real one, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use footplate::adapters::conditions::Conditions;
use footplate::adapters::prometheus::Prometheus;
use footplate::core::object::Object;
use footplate::core::snapshot::{GateView, Limit, Verdict};
use footplate::core::text::Text;
use footplate::engine::gates::ask::answer;
use footplate::engine::gates::{Board, Moment, Watched};
use footplate::ports::{Clock, Fut};
use footplate::rehearsal::clock::wednesday;
use footplate::rehearsal::kinds::{ANALYSIS_RUN, ANALYSIS_TEMPLATE, Kind, ROLLOUT};
use footplate::rehearsal::prometheus;
use footplate::rehearsal::scenario::Scenario;
use footplate::rehearsal::world::World;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const NAMESPACE: &str = "payments";

struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::try_from(self.0.duration_since(wednesday())).unwrap()
    }

    fn sleep(&self, _: Duration) -> Fut<'_, ()> {
        panic!("nothing waits on a clock that stands still")
    }
}

/// A scenario with one service set to a new version, watched second by second.
struct Watching {
    world: World,
    metrics: Prometheus,
    conditions: Conditions,
    board: Board,
    service: &'static str,
    now: Timestamp,
}

impl Watching {
    fn new(scenario: &str, service: &'static str, image: &str) -> Self {
        let world = World::open(Scenario::named(scenario).unwrap(), 1, wednesday()).unwrap();
        let routes = prometheus::router(world.store().clone(), world.metrics().clone());
        let metrics = Prometheus::within(routes, prometheus::PREFIX);
        let set = |rollout: &mut serde_json::Value| {
            rollout["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image)
        };
        world.store().lock().update(&ROLLOUT, NAMESPACE, service, set).unwrap();
        let (conditions, board, now) = (Conditions::default(), Board::new(None), wednesday());
        Self { world, metrics, conditions, board, service, now }
    }

    fn objects(&self, kind: &Kind) -> Vec<Object> {
        self.world
            .store()
            .lock()
            .list(kind, Some(NAMESPACE))
            .map(|held| Object::new(serde_json::from_slice(&held.json()).unwrap()))
            .collect()
    }

    /// One second passes. Shows the error rate, and at which step the rollout is.
    async fn second(&mut self) -> (Arc<GateView>, i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(1)).unwrap();
        self.world.advance(self.now);
        let (rollouts, runs, templates) =
            (self.objects(&ROLLOUT), self.objects(&ANALYSIS_RUN), self.objects(&ANALYSIS_TEMPLATE));
        let rollout = rollouts.iter().find(|r| r.name() == self.service).unwrap();
        let deciding: Vec<Text> =
            rollout.text("/status/canary/currentStepAnalysisRunStatus/name").into_iter().collect();
        let clock = Still(self.now);
        let moment = Moment { wall: clock.now(), monotonic: clock.monotonic() };
        let runs = runs.iter().filter(|run| run.name().starts_with(self.service)).collect();
        let watched = Watched { service: self.service.into(), rollout, runs, deciding: &deciding, selected: true };
        self.board.look(moment, &[watched], &|_, name| templates.iter().find(|t| t.name() == name));
        for wish in self.board.due(moment) {
            let said = answer(&self.metrics, &self.conditions, &clock, wish).await;
            self.board.fold(moment, said);
        }
        let views = self.board.views(moment);
        let view = views.iter().find(|view| view.metric == "http-error-rate").unwrap();
        (Arc::clone(view), rollout.int("/status/currentStepIndex").unwrap_or(0))
    }
}

#[tokio::test]
async fn a_version_that_turns_bad_at_50_percent_is_seen_before_its_second_run_begins() {
    let mut watching = Watching::new("error-spike", "billing-api", "registry.example/payments/billing-api:2.8.0");
    let (mut good, mut bad, mut longest) = (None, None, 0);
    for second in 1..400 {
        let (view, step) = watching.second().await;
        assert_eq!(view.limit, Some(Limit::Below(0.02)));
        longest = longest.max(view.points.len());
        match view.verdict {
            Verdict::Pass if step <= 2 => good = good.or(Some(second)),
            Verdict::Fail => {
                bad = Some((second, step, view.run.clone()));
                break;
            }
            _ => {}
        }
    }
    let (second, step, run) = bad.expect("the failure is seen");
    println!("pass first seen after {good:?} s, fail after {second} s at step {step} ({run}), {longest} points");
    assert!(good.is_some_and(|good| good < second), "it was good at 25 %: {good:?}");
    assert!(step >= 3 && run.is_empty(), "our own queries see it during the pause: step {step}, run {run:?}");
}

#[tokio::test]
async fn a_version_that_is_not_scraped_has_no_data_and_never_passes() {
    let mut watching = Watching::new("no-data", "fraud-scorer", "registry.example/payments/fraud-scorer:1.5.0");
    let mut notes = std::collections::BTreeSet::new();
    // The old version is still shown until the controller has seen the new one.
    watching.second().await;
    for _ in 1..150 {
        let (view, _) = watching.second().await;
        assert!(matches!(view.verdict, Verdict::NoData | Verdict::Inconclusive), "{view:#?}");
        assert!(view.points.iter().all(|p| p.value.is_none()), "{view:#?}");
        notes.insert(view.note.to_string());
    }
    assert!(notes.contains("the answer is empty") || notes.contains("the answer is NaN"), "{notes:?}");
}
