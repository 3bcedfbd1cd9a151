//! Asks the metric store and the cluster about one service. Has no memory; what fails is told as no data with its reason.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::case::scrape_interval;
use crate::core::frozen::ask::{Asked, EVERY, resolve};
use crate::core::frozen::{Queries, Workload};
use crate::core::gate::freshness::Freshness;
use crate::core::judge::pods::PodFact;
use crate::core::judge::reports::Report;
use crate::core::object::{Object, ObjectKind};
use crate::core::slo::SyntheticCheck;
use crate::core::text::Text;
use crate::engine::pods;
use crate::ports::{Clock, Cluster, Interest, Metrics, Probe, Sample};
use crate::text;

/// Where answers come from.
pub(super) struct Sources {
    pub cluster: Arc<dyn Cluster>,
    pub cluster_name: Text,
    pub metrics: Result<Arc<dyn Metrics>, Text>,
    pub clock: Arc<dyn Clock>,
    /// How many questions may be under way.
    pub turns: Semaphore,
    pub probe: Arc<dyn Probe>,
}

/// What is asked about one service.
pub(super) struct Wish {
    pub service: Text,
    /// The queries; none for a service without request metrics.
    pub requests: Option<Queries>,
    /// By arm: the revision to ask about.
    pub revisions: [Option<Text>; 3],
    /// Time between scrapes, where it is known.
    pub scrape: Option<Duration>,
    pub scrape_assumed: Duration,
    /// The newest scrape that was counted.
    pub counted: Option<Duration>,
    /// Added to the clock.
    pub base: Duration,
    pub evaluate: Duration,
    /// What takes longer is no answer.
    pub patience: Duration,
    /// Range of the percentile.
    pub window: Duration,
    /// How much of the time before is to be read.
    pub fill: Option<Duration>,
    pub latency: bool,
    pub lag: Option<Text>,
    pub namespace: Text,
    /// Label and hash of the new version's pods.
    pub pods: Option<(&'static str, Text)>,
    pub runs: Option<Text>,
    pub canary: Option<Workload>,
    pub container: Option<Text>,
    pub image: Option<Text>,
    /// Synthetic checks that are due.
    pub checks: Vec<SyntheticCheck>,
}

/// What was answered.
#[derive(Default)]
pub(super) struct Answers {
    pub scrape: Option<Duration>,
    pub fill: Option<Fill>,
    /// The newest scrape, whether counted or not.
    pub newest: Option<Duration>,
    /// None where there was no new scrape.
    pub counted: Option<Result<Counted, Text>>,
    pub lag: Option<f64>,
    /// None where it could not be listed.
    pub pods: Option<Vec<PodFact>>,
    pub runs: Option<Vec<Run>>,
    pub canary: Option<Object>,
    /// What was answered to the checks, in their order; none where that took too long.
    pub checks: Option<Vec<Result<u16, Text>>>,
}

/// The time before our start.
pub(super) struct Fill {
    pub step: Duration,
    pub points: Vec<Past>,
    pub scraped: Option<Duration>,
}

/// One moment of it, as rates.
pub(super) struct Past {
    pub at: Timestamp,
    pub requests: Option<f64>,
    pub errors: f64,
    pub p99_ms: Option<f64>,
}

/// What came in since the scrape that was counted last.
pub(super) struct Counted {
    pub at: Duration,
    /// The newest scrape behind it.
    pub scraped: Duration,
    /// True when the store told when that was.
    pub known: bool,
    pub over: Duration,
    /// By arm.
    pub rates: [Option<Result<Rates, Text>>; 3],
    pub p99_ms: [Option<f64>; 3],
}

/// Per second.
pub(super) struct Rates {
    pub requests: f64,
    pub errors: f64,
}

/// An analysis run.
pub(super) struct Run {
    pub name: Text,
    pub owner: Text,
    /// `Step`, `Background`, …
    pub kind: Text,
    /// The step it is about; none where it is about none.
    pub step: Option<i64>,
    pub created: Option<Timestamp>,
    pub report: Report,
}

/// Asks. Store and cluster are asked side by side, each with the same patience: one that is gone does not hide what the other says.
pub(super) async fn ask(sources: &Sources, wish: Wish) -> Answers {
    let patience = wish.patience;
    let measured = async {
        tokio::select! {
            biased;
            measured = measure(sources, &wish) => measured,
            () = sources.clock.sleep(patience) => {
                let why = text!("no answer within {:.0} s", patience.as_secs_f64());
                Answers { counted: Some(Err(why)), ..Answers::default() }
            }
        }
    };
    let seen = async {
        tokio::select! {
            biased;
            seen = look(sources, &wish) => seen,
            () = sources.clock.sleep(patience) => (None, None, None),
        }
    };
    let checked = async {
        let each = wish.checks.iter().map(|check| async move {
            let _turn = sources.turns.acquire().await;
            sources.probe.get(&check.http).await.map_err(|fault| text!("{fault}"))
        });
        tokio::select! {
            biased;
            checked = join_all(each) => Some(checked),
            () = sources.clock.sleep(patience) => None,
        }
    };
    let (mut out, seen, checked) = futures::join!(measured, seen, checked);
    (out.pods, out.runs, out.canary) = seen;
    out.checks = checked;
    out
}

/// What the metric store says.
async fn measure(sources: &Sources, wish: &Wish) -> Answers {
    let mut out = Answers::default();
    match (&sources.metrics, &wish.requests) {
        (Ok(metrics), Some(queries)) => {
            let store = Store { metrics: &**metrics, turns: &sources.turns };
            store.requests(sources, wish, queries, &mut out).await;
        }
        (Err(why), Some(_)) => out.counted = Some(Err(why.clone())),
        (_, None) => {}
    }
    if let (Ok(metrics), Some(lag)) = (&sources.metrics, &wish.lag) {
        let store = Store { metrics: &**metrics, turns: &sources.turns };
        let asked = Asked { service: &wish.service, revision: EVERY, window: wish.window };
        if let Ok(query) = resolve(lag, &asked) {
            out.lag = store.value(&query).await.ok().flatten();
        }
    }
    out
}

/// What the cluster says: pods, analysis runs, Flagger's Canary.
async fn look(sources: &Sources, wish: &Wish) -> (Option<Vec<PodFact>>, Option<Vec<Run>>, Option<Object>) {
    let list = |kind, labels: Text| {
        let interest = Interest { kind, namespace: wish.namespace.clone(), labels, fields: Text::default() };
        async move { sources.cluster.list(&interest).await.ok() }
    };
    let (mut pods, mut runs, mut canary) = (None, None, None);
    if let Some((label, hash)) = &wish.pods {
        let now = sources.clock.now();
        let labels = text!("{label}={hash}");
        let found = list(ObjectKind::Pod, labels).await;
        pods = found.map(|pods| pods.iter().filter_map(|pod| fact(pod, now, wish)).collect());
    }
    if let Some(hash) = &wish.runs {
        let labels = text!("rollouts-pod-template-hash={hash}");
        let found = list(ObjectKind::AnalysisRun, labels).await;
        runs = found.map(|runs| runs.iter().map(run).collect());
    }
    if let Some(workload) = &wish.canary {
        let object = workload.object(&sources.cluster_name, &wish.namespace);
        canary = sources.cluster.read(&object).await.ok().flatten();
    }
    (pods, runs, canary)
}

struct Store<'a> {
    metrics: &'a dyn Metrics,
    turns: &'a Semaphore,
}

impl Store<'_> {
    async fn query(&self, promql: &str) -> Result<Sample, Text> {
        let _turn = self.turns.acquire().await;
        self.metrics.query(promql).await.map_err(|fault| text!("{fault}"))
    }

    /// The first value; none where the answer is empty.
    async fn value(&self, promql: &str) -> Result<Option<f64>, Text> {
        self.query(promql).await.map(|sample| sample.values.first().copied())
    }

    async fn requests(&self, sources: &Sources, wish: &Wish, queries: &Queries, out: &mut Answers) {
        let revision = wish.revisions.iter().rev().flatten().next();
        let Some(revision) = revision else {
            out.counted = Some(Err(Text::scrub("its pod hash is not known yet")));
            return;
        };
        let asked = |window| Asked { service: &wish.service, revision, window };
        let freshness = match resolve(&queries.requests, &asked(wish.evaluate)) {
            Ok(query) => Freshness::of(&query),
            Err(why) => {
                out.counted = Some(Err(why));
                return;
            }
        };
        let mut scrape = wish.scrape;
        let mut known = None;
        if let Some(freshness) = &freshness {
            // The answer is looked for again until the time before has been read: young series look slow.
            if scrape.is_none() || wish.fill.is_some() {
                let minutes = self.value(&freshness.scrapes).await.ok().flatten();
                let minute = self.value(&freshness.scrapes_last_minute).await.ok().flatten();
                out.scrape = scrape_interval(minutes, minute);
                scrape = scrape.into_iter().chain(out.scrape).min();
            }
            match self.value(&freshness.age).await {
                Err(why) => {
                    out.counted = Some(Err(why));
                    return;
                }
                Ok(None) => {
                    let why = "no series of it was scraped in the last minutes; is the label right?";
                    out.counted = Some(Err(Text::scrub(why)));
                    return;
                }
                Ok(Some(age)) => {
                    let age = Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX);
                    known = Some((sources.clock.monotonic() + wish.base).saturating_sub(age));
                }
            }
        }
        let scrape = scrape.unwrap_or(wish.scrape_assumed);
        out.newest = known;
        let scraped = known.unwrap_or_else(|| sources.clock.monotonic() + wish.base);
        if let Some(span) = wish.fill
            && known.is_some()
        {
            out.fill = self.fill(sources, wish, queries, &asked, scrape, span).await;
            if let Some(fill) = &mut out.fill {
                fill.scraped = Some(scraped);
                return;
            }
        }
        let since = wish.counted.map(|counted| scraped.saturating_sub(counted));
        let over = match since {
            // The same scrape again, or one of a few that come one after another within one interval.
            Some(since) if since < scrape.mul_f64(0.9) => return,
            // What was missed is missed: it belongs to a time that nobody watched.
            Some(since) if since <= (scrape * 3).max(wish.evaluate * 2) => since,
            Some(_) | None => scrape,
        };
        out.counted = Some(Ok(self.count(sources, wish, queries, scraped, known.is_some(), over, over + scrape).await));
    }

    /// Counts what came in: each series has a scrape at either end of the range, so that the rate times the time between is
    /// what was counted between, no more and no less.
    #[allow(clippy::too_many_arguments, reason = "one question, told once")]
    async fn count(
        &self,
        sources: &Sources,
        wish: &Wish,
        queries: &Queries,
        scraped: Duration,
        known: bool,
        over: Duration,
        range: Duration,
    ) -> Counted {
        let at = sources.clock.monotonic() + wish.base;
        let arms = join_all(wish.revisions.iter().map(|revision| async move {
            let revision = revision.as_ref()?;
            let asked = |window| Asked { service: &wish.service, revision, window };
            let rate = async |query: &Text| self.value(&resolve(query, &asked(range))?).await;
            let rates = async {
                let (requests, errors) = futures::join!(rate(&queries.requests), rate(&queries.errors));
                let requests = requests?.ok_or_else(|| Text::scrub("the answer is empty; is the label right?"))?;
                // No series of failed requests: none has failed yet.
                Ok(Rates { requests, errors: errors?.unwrap_or(0.0) })
            };
            let p99 = async {
                if !wish.latency {
                    return None;
                }
                let query = resolve(&queries.latency, &asked(wish.window)).ok()?;
                self.value(&query).await.ok().flatten().map(|seconds| seconds * 1000.0)
            };
            Some(futures::join!(rates, p99))
        }))
        .await;
        let mut out = Counted { at, scraped, known, over, rates: [const { None }; 3], p99_ms: [None; 3] };
        for (n, arm) in arms.into_iter().enumerate() {
            if let Some((rates, p99)) = arm {
                (out.rates[n], out.p99_ms[n]) = (Some(rates), p99);
            }
        }
        out
    }

    /// Reads the time before our start; none where that fails.
    async fn fill<'w>(
        &self,
        sources: &Sources,
        wish: &'w Wish,
        queries: &Queries,
        asked: &impl Fn(Duration) -> Asked<'w>,
        scrape: Duration,
        span: Duration,
    ) -> Option<Fill> {
        let to = sources.clock.now();
        let from = to.checked_sub(SignedDuration::try_from(span + scrape).ok()?).ok()?;
        let range = async |query: &Text, window: Duration| {
            let query = resolve(query, &asked(window)).ok()?;
            let _turn = self.turns.acquire().await;
            self.metrics.range(&query, from, to, scrape).await.ok()
        };
        let none = async { Some(Vec::new()) };
        let requests = range(&queries.requests, scrape * 2).await?;
        let errors = range(&queries.errors, scrape * 2).await?;
        let p99 = if wish.latency { range(&queries.latency, wish.window).await? } else { none.await? };
        let value = |points: &[crate::core::snapshot::Point], at| {
            points.iter().find(|p| p.at == at).and_then(|p| p.value).filter(|v| v.is_finite())
        };
        let points = requests.iter().map(|point| Past {
            at: point.at,
            requests: point.value,
            errors: value(&errors, point.at).unwrap_or(0.0),
            p99_ms: value(&p99, point.at).map(|seconds| seconds * 1000.0),
        });
        Some(Fill { step: scrape, points: points.collect(), scraped: None })
    }
}

/// What a judge wants to know of a pod; none of one that goes away.
fn fact(pod: &Object, now: Timestamp, wish: &Wish) -> Option<PodFact> {
    if pod.raw("/metadata/deletionTimestamp").is_some() {
        return None;
    }
    let view = pods::pod(pod).view;
    let statuses = pod.items("/status/containerStatuses");
    let killed = |state: &serde_json::Value| state["terminated"]["reason"] == "OOMKilled";
    let containers = pod.items("/spec/containers");
    let runs = |image: &Text| {
        containers
            .iter()
            .filter(|c| wish.container.as_ref().is_none_or(|name| c["name"] == name.as_str()))
            .any(|c| c["image"] == image.as_str())
    };
    let turned = pod.items("/status/conditions").iter().find(|c| c["type"] == "Ready");
    let turned = turned.and_then(|c| c["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok());
    let since = pod.created().into_iter().chain(turned).max();
    let unready = since.map_or(Duration::ZERO, |s| now.duration_since(s).max(SignedDuration::ZERO).unsigned_abs());
    Some(PodFact {
        oom_killed: statuses.iter().any(|c| killed(&c["state"]) || killed(&c["lastState"])),
        restarts: view.restarts,
        unready_for: (!view.ready).then_some(unready),
        image_is_recorded: wish.image.as_ref().is_none_or(runs),
        name: view.name,
        status: view.status,
    })
}

fn run(run: &Object) -> Run {
    let kind = run.label("rollout-type").unwrap_or_default();
    Run {
        name: run.name(),
        owner: Text::scrub(run.controller()),
        kind: Text::scrub(kind),
        step: run.label("step-index").and_then(|n| n.parse().ok()),
        created: run.created(),
        report: Report::of_run(run),
    }
}
