//! The bench of judges: one judge for each service of the train and for each that is only watched. Every few seconds it asks the
//! metric store and the cluster, lets the judges weigh what came, and tells the train. It acts on nothing. A store that is slow
//! or gone makes no data and holds nobody up. Same answers, same words: what comes in is heard in a fixed order.

mod ask;
mod case;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use self::ask::{Answers, Sources};
use self::case::Case;
use crate::core::frozen::Frozen;
use crate::core::judge::baseline::Baseline;
use crate::core::judge::scrape;
use crate::core::judge::verdict::Numbers;
use crate::core::text::Text;
use crate::core::train::Phase;
use crate::core::train::event::{Check, Event, Fact, Found, Reading, Tripped};
use crate::core::train::resolved::ServiceId;
use crate::core::train::state::{Stage, State};
use crate::core::verdict::Verdict;
use crate::ports::{Clock, Cluster, Fut, Metrics, Probe};

/// How many questions to the metric store may be under way.
const UNDER_WAY_MAX: usize = 8;

/// What does not answer within this time is no data.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long answers are waited for: less than the time between two evaluations.
fn patience(evaluate: Duration) -> Duration {
    evaluate.mul_f64(0.8).min(PATIENCE)
}

/// Two evaluations are at least this far apart, even when something happened.
const APART_MIN: Duration = Duration::from_secs(1);

/// Added to the process's clock, so that what was before its start has a time too.
const BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// What the bench works with.
pub struct Bench {
    /// The plan.
    pub frozen: Arc<Frozen>,
    /// The cluster: pods, analysis runs.
    pub cluster: Arc<dyn Cluster>,
    /// The metric store, or why there is none.
    pub metrics: Result<Arc<dyn Metrics>, Text>,
    /// The time, and waiting.
    pub clock: Arc<dyn Clock>,
    /// Makes synthetic checks.
    pub probe: Arc<dyn Probe>,
    /// What the conductor before kept.
    pub kept: Kept,
}

/// What must outlive this process: goes into the status of the Release.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kept {
    /// What is normal, by service.
    pub baselines: BTreeMap<Text, Baseline>,
    /// Analysis runs of attempts that are over, by service: what they said does not count for the next attempt.
    pub past_runs: BTreeMap<Text, BTreeSet<Text>>,
}

/// What the loop tells the bench.
#[derive(Clone, Debug)]
pub enum Look {
    /// How everything stands now. Sent whenever it changed; the latest counts.
    Sight(Sight),
    /// What is normal for this service is to be measured again: it is about to be deployed.
    Measure(ServiceId),
}

/// How a train stands, as far as it matters to judges.
#[derive(Clone, PartialEq, Debug)]
pub struct Sight {
    /// How far it has come.
    pub phase: Phase,
    /// Services, as in the plan.
    pub services: Vec<Seat>,
    /// Flags, as in the plan: moved at all, and the place on the ramp. A fault may begin with any of it.
    pub flags: Vec<(bool, u8)>,
}

/// How one service stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Seat {
    /// As last read.
    pub reading: Option<Arc<Reading>>,
    /// Pod hash of the new version, while that is in flight: from its deploy to the end of its bake, or until it goes back.
    pub flight: Option<Text>,
}

impl Sight {
    /// The sight of a train.
    pub fn of(state: &State) -> Self {
        let memory = state.memory();
        let seat = |(s, m): (usize, &crate::core::train::state::ServiceMemory)| Seat {
            reading: ServiceId::try_from(s).ok().and_then(|s| state.reading(s).cloned()),
            flight: m
                .deployed
                .clone()
                .filter(|_| matches!(m.stage, Stage::Stepping | Stage::Baking | Stage::Aborting | Stage::Aborted)),
        };
        Self {
            phase: memory.phase,
            services: memory.services.iter().enumerate().map(seat).collect(),
            flags: memory.flags.iter().map(|f| (f.moved, f.ramp)).collect(),
        }
    }
}

/// What the bench says.
#[derive(Clone, PartialEq, Debug)]
pub enum Said {
    /// For the train.
    Event(Event),
    /// What must outlive this process has changed.
    Keep(Kept),
    /// For the screen, after every evaluation: all services, in the order of the plan, then those only watched.
    Views(Arc<[View]>),
}

/// A judge, as the screen shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct View {
    /// The service.
    pub service: Text,
    /// Its number in the plan; none where it is only watched.
    pub id: Option<ServiceId>,
    /// True when a new version is in flight; else only a fail matters.
    pub in_flight: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// True when only time is missing.
    pub settling: bool,
    /// Why, in one line.
    pub why: Text,
    /// Requests in the window.
    pub requests: u64,
    /// About how many more requests are needed; none where they do not help.
    pub needed: Option<u64>,
    /// True when the new version's rate was worked out from that of the whole service.
    pub estimated: bool,
    /// Age of the newest scrape; none where it is not known.
    pub scrape_age: Option<Duration>,
    /// Time between two scrapes; none where it is not known.
    pub scrape: Option<Duration>,
    /// What is normal; none before it was measured.
    pub baseline: Option<Baseline>,
    /// The numbers of the rule on errors.
    pub numbers: Option<Numbers>,
}

impl View {
    /// How many times the normal error rate it is; none where nothing is normal or nothing was measured.
    pub fn ratio(&self) -> Option<f64> {
        self.numbers.filter(|n| n.base > 0.0).map(|n| n.rate / n.base)
    }
}

/// Everything that is asked in one evaluation, and what came of it so far.
struct Round {
    begun: Duration,
    until: Duration,
    asked: FuturesUnordered<Fut<'static, (usize, Answers)>>,
    heard: Vec<Option<Answers>>,
}

/// Judges until nobody tells it anything any more, or nobody listens. The inbox must be filled without waiting for what comes
/// out: the bench waits while nobody takes its words.
pub async fn run(bench: Bench, mut inbox: mpsc::Receiver<Look>, out: mpsc::Sender<Said>) {
    let clock = Arc::clone(&bench.clock);
    let now = || clock.monotonic() + BEFORE;
    let evaluate = bench.frozen.guard.checked().0.evaluate;
    let mut court = Court::new(bench);
    let mut round: Option<Round> = None;
    let mut due = now();
    let mut begun = Duration::ZERO;
    loop {
        let wake = round.as_ref().map_or(due, |round| round.until);
        let sleep = clock.sleep(wake.saturating_sub(now()));
        let next = async {
            match &mut round {
                Some(round) => round.asked.next().await,
                None => std::future::pending().await,
            }
        };
        let mut close = false;
        tokio::select! {
            biased;
            look = inbox.recv() => {
                let Some(look) = look else { return };
                if court.look(now(), look) {
                    due = due.min((begun + APART_MIN).max(now()));
                }
            }
            heard = next => match (heard, &mut round) {
                (Some((n, answers)), Some(round)) => {
                    round.heard[n] = Some(answers);
                    close = round.asked.is_empty();
                }
                _ => close = true,
            },
            () = sleep => match &round {
                Some(_) => close = true,
                None => {
                    begun = now();
                    due = begun + evaluate;
                    // Each answer has its own patience; this is for what outlives even that.
                    round = Some(court.ask(begun, begun + patience(evaluate).mul_f64(1.1)));
                }
            },
        }
        if close && let Some(round) = round.take() {
            for said in court.hear(now(), round) {
                if out.send(said).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// All judges.
struct Court {
    frozen: Arc<Frozen>,
    sources: Arc<Sources>,
    clock: Arc<dyn Clock>,
    cases: Vec<Case>,
    sight: Option<Sight>,
    kept: Kept,
    facts: BTreeMap<usize, Found>,
    scrape: Option<Found>,
}

impl Court {
    fn new(bench: Bench) -> Self {
        let Bench { frozen, cluster, metrics, clock, probe, kept } = bench;
        let all = u32::try_from(frozen.workloads.len() + frozen.watched.len()).unwrap_or(u32::MAX);
        let ours = frozen.workloads.iter().enumerate().map(|(n, w)| (ServiceId::try_from(n).ok(), w));
        let cases = ours.chain(frozen.watched.iter().map(|w| (None, w)));
        let cases = cases.map(|(id, workload)| Case::new(&frozen, id, workload, all, &kept)).collect();
        let sources = Arc::new(Sources {
            cluster_name: cluster.identity().context,
            cluster,
            metrics,
            clock: Arc::clone(&clock),
            turns: Semaphore::new(UNDER_WAY_MAX),
            probe,
        });
        Self { frozen, sources, clock, cases, sight: None, kept, facts: BTreeMap::new(), scrape: None }
    }

    /// Takes in how things stand. True when something happened that should be judged at once.
    fn look(&mut self, now: Duration, look: Look) -> bool {
        match look {
            Look::Measure(id) => {
                let case = self.cases.iter_mut().find(|case| case.id() == Some(id));
                if let Some(case) = case {
                    case.measure_again();
                    // The train waits for this word: it is said again even if it is the same.
                    self.facts.remove(&usize::from(id));
                }
                true
            }
            Look::Sight(sight) => {
                let urgent = self.see(now, &sight);
                self.sight = Some(sight);
                urgent
            }
        }
    }

    fn see(&mut self, now: Duration, sight: &Sight) -> bool {
        let mut urgent = false;
        let mut deployed = Vec::new();
        for (case, seat) in self.cases.iter_mut().zip(&sight.services) {
            let seen = case.see(now, seat);
            urgent |= seen.urgent;
            if let (true, Some(id)) = (seen.deployed, case.id()) {
                deployed.push(id);
            }
        }
        let mut moved: BTreeSet<usize> = BTreeSet::new();
        for (from, to) in &self.frozen.edges {
            for (id, other) in [(from, to), (to, from)] {
                if deployed.contains(id) {
                    moved.insert(usize::from(*other));
                }
            }
        }
        let before = self.sight.as_ref();
        let phase_was = before.map(|s| s.phase);
        if sight.phase == Phase::Expanding && phase_was.is_some_and(|p| p != Phase::Expanding) {
            moved.extend(0..self.cases.len());
        }
        for (n, (flag, plan)) in sight.flags.iter().zip(&self.frozen.resolved.flags).enumerate() {
            if before.and_then(|s| s.flags.get(n)).is_some_and(|was| was != flag) {
                moved.extend(plan.services.iter().map(|s| usize::from(*s)));
            }
        }
        for case in &mut self.cases {
            let lists = |services: &[ServiceId]| case.id().is_some_and(|id| services.contains(&id));
            let mut flags = sight.flags.iter().zip(&self.frozen.resolved.flags);
            let moves = sight.phase == Phase::Flags && flags.any(|((moved, _), f)| *moved && lists(&f.services));
            case.flag_moves(now, moves);
        }
        for (n, case) in self.cases.iter_mut().enumerate() {
            if moved.contains(&n) && !case.id().is_some_and(|id| deployed.contains(&id)) {
                case.moved(now);
            }
        }
        urgent
    }

    /// Begins an evaluation.
    fn ask(&self, now: Duration, until: Duration) -> Round {
        let asked = FuturesUnordered::new();
        for (n, case) in self.cases.iter().enumerate() {
            let (sources, wish) = (Arc::clone(&self.sources), case.wish());
            let one: Fut<'static, (usize, Answers)> = Box::pin(async move { (n, ask::ask(&sources, wish).await) });
            asked.push(one);
        }
        Round { begun: now, until, asked, heard: self.cases.iter().map(|_| None).collect() }
    }

    /// Ends an evaluation: what came is heard, in the order of the plan, and everything is judged.
    fn hear(&mut self, now: Duration, round: Round) -> Vec<Said> {
        let mut out = Vec::new();
        let wall = self.clock.now();
        let judging = self.sight.as_ref().is_some_and(|s| s.phase.has_set_off());
        let waited = now.saturating_sub(round.begun);
        let mut views = Vec::with_capacity(self.cases.len());
        for (n, (case, answers)) in self.cases.iter_mut().zip(round.heard).enumerate() {
            case.hear(now, wall, answers, waited);
            let found = case.baseline(now);
            let view = case.judge(now);
            match case.id() {
                Some(id) => {
                    if self.facts.get(&n) != Some(&found) {
                        out.push(Said::Event(Event::Fact(Fact { check: Check::Burning(id), found: found.clone() })));
                        self.facts.insert(n, found);
                    }
                    if let Some(judged) = judging.then(|| case.judged(id, &view)).flatten() {
                        out.push(Said::Event(Event::Judged(judged)));
                    }
                }
                None if judging && view.verdict == Verdict::Fail => {
                    let (service, why) = (view.service.clone(), view.why.clone());
                    out.push(Said::Event(Event::Tripped(Tripped { service, cause: case.cause(), why })));
                }
                None => {}
            }
            views.push(view);
        }
        let kept = Kept {
            baselines: self.cases.iter().filter_map(|c| Some((c.service().clone(), c.held()?))).collect(),
            past_runs: self.cases.iter().filter(|c| !c.past_runs().is_empty()).map(Case::remembered).collect(),
        };
        if kept != self.kept {
            self.kept = kept.clone();
            out.push(Said::Keep(kept));
        }
        if let Some(found) = self.detection().filter(|found| self.scrape.as_ref() != Some(found)) {
            out.push(Said::Event(Event::Fact(Fact { check: Check::Scrape, found: found.clone() })));
            self.scrape = Some(found);
        }
        out.push(Said::Views(views.into()));
        out
    }

    /// How soon a fault can be seen, by the service that is scraped the least often; none before all are known.
    fn detection(&self) -> Option<Found> {
        let settings = self.frozen.guard.checked().0;
        let mut slowest = Duration::ZERO;
        for case in self.cases.iter().filter(|case| case.has_requests()) {
            slowest = slowest.max(case.scrape()?);
        }
        if slowest.is_zero() {
            return None;
        }
        let detection = scrape::detection(slowest, &settings);
        Some(if detection.warning.is_empty() {
            let (every, worst) = (slowest.as_secs_f64(), detection.at_worst.as_secs());
            Found::Good(crate::text!("scraped every {every:.0} s: a fault can be judged within {worst} s"))
        } else {
            Found::Warn(detection.warning)
        })
    }
}
