//! One service before its judge: turns what is seen of it into news, what was answered into samples, and what the judge says into
//! the train's words. Asks nothing itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::ask::{Answers, Counted, Fill, Run, Wish};
use super::{Kept, Seat, View};
use crate::core::frozen::ask::EVERY;
use crate::core::frozen::{Frozen, Queries, Workload};
use crate::core::gate::freshness;
use crate::core::judge::baseline::{Baseline, Lack};
use crate::core::judge::reports::{Report, Word};
use crate::core::judge::sample::{ARMS, Arm, Reading as Count, Sample};
use crate::core::judge::sequential::Counts;
use crate::core::judge::verdict::Judgement;
use crate::core::judge::{Arms, Judge, News, Settings, Subject};
use crate::core::slo::GateBy;
use crate::core::text::Text;
use crate::core::train::event::{Cause, Found, Judged, Reading};
use crate::core::train::resolved::{Kind, ServiceId};
use crate::core::verdict::Verdict;
use crate::text;

/// What is new about a service.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// A new version is there.
    pub deployed: bool,
    /// Somebody else has judged: look what they found.
    pub urgent: bool,
}

/// After how many rounds without an answer about pods the last one says nothing any more.
const PODS_UNSEEN_MAX: u32 = 3;

/// How often the time before our start is asked for in vain, of a store that answers otherwise.
const FILL_TRIES_MAX: u32 = 5;

/// The interval between scrapes that is assumed where the store cannot tell.
const SCRAPE_ASSUMED: Duration = Duration::from_secs(15);

/// How often running a synthetic check must be answered wrongly to fail.
const CHECK_WRONG: u32 = 2;

/// How often running one must go unanswered until nothing is known of it any more.
const CHECK_SILENT: u32 = 3;

/// How a synthetic check went lately.
#[derive(Clone, Copy, Default)]
struct Tried {
    /// The last one that was answered was answered as it should be, and not the wrong way since.
    good: bool,
    wrong: u32,
    silent: u32,
}

/// A new version in flight.
struct Flight {
    hash: Text,
    weight: f64,
    step: u32,
    /// Since when it has stood at this step with this weight.
    since: Duration,
}

pub(super) struct Case {
    frozen: Arc<Frozen>,
    id: Option<ServiceId>,
    workload: Workload,
    settings: Settings,
    arms: Arms,
    services: u32,
    judge: Judge,
    flight: Option<Flight>,
    reading: Option<Arc<Reading>>,
    /// Time between scrapes.
    scrape: Option<Duration>,
    /// The newest scrape that was counted, and the newest that was seen.
    counted: Option<Duration>,
    newest: Option<Duration>,
    /// True once the time before our own start was read.
    filled: bool,
    fill_tries: u32,
    measure: bool,
    lack: Text,
    burning: bool,
    lag: Option<f64>,
    pods_unseen: u32,
    runs: BTreeSet<Text>,
    past_runs: BTreeSet<Text>,
    /// True while a flag that it lists moves.
    flag_moves: bool,
    /// By synthetic check, in their order.
    tried: Vec<Tried>,
    said: Option<Judgement>,
}

impl Case {
    pub fn new(frozen: &Arc<Frozen>, id: Option<ServiceId>, workload: &Workload, services: u32, kept: &Kept) -> Self {
        let settings = frozen.guard.checked().0;
        let arms = arms(&frozen.queries, workload);
        let name = &workload.service;
        let mut case = Self {
            frozen: Arc::clone(frozen),
            id,
            workload: workload.clone(),
            settings,
            arms,
            services,
            judge: judge(workload, settings, arms, services),
            flight: None,
            reading: None,
            scrape: None,
            counted: None,
            newest: None,
            filled: false,
            fill_tries: 0,
            measure: true,
            lack: Text::scrub("what is normal is being measured"),
            burning: false,
            lag: None,
            pods_unseen: 0,
            runs: BTreeSet::new(),
            past_runs: kept.past_runs.get(name).cloned().unwrap_or_default(),
            flag_moves: false,
            tried: vec![Tried::default(); workload.checks.len()],
            said: None,
        };
        if let Some(baseline) = kept.baselines.get(name) {
            case.judge.adopt(*baseline);
            case.measure = false;
        }
        case
    }

    pub fn id(&self) -> Option<ServiceId> {
        self.id
    }

    pub fn service(&self) -> &Text {
        &self.workload.service
    }

    pub fn held(&self) -> Option<Baseline> {
        self.judge.baseline()
    }

    pub fn past_runs(&self) -> &BTreeSet<Text> {
        &self.past_runs
    }

    pub fn remembered(&self) -> (Text, BTreeSet<Text>) {
        (self.workload.service.clone(), self.past_runs.clone())
    }

    /// True when it is judged by its requests.
    pub fn has_requests(&self) -> bool {
        self.workload.gate == GateBy::Metrics
    }

    pub fn scrape(&self) -> Option<Duration> {
        self.scrape
    }

    pub fn cause(&self) -> Cause {
        self.said.as_ref().and_then(Judgement::cause).unwrap_or(Cause::Logic)
    }

    pub fn measure_again(&mut self) {
        self.measure = true;
    }

    pub fn moved(&mut self, now: Duration) {
        self.judge.hear(now, News::Moved);
    }

    /// Takes in how it stands.
    pub fn see(&mut self, now: Duration, seat: &Seat) -> Seen {
        let mut seen = Seen::default();
        let before = std::mem::replace(&mut self.reading, seat.reading.clone());
        let (Some(reading), Some(hash)) = (&seat.reading, &seat.flight) else {
            if self.flight.take().is_some() {
                self.judge.hear(now, News::Landed);
                self.past_runs.append(&mut self.runs);
            }
            return seen;
        };
        let was_aborted = before.as_ref().is_some_and(|r| r.aborted);
        seen.urgent = reading.aborted && !was_aborted;
        let again = was_aborted && !reading.aborted;
        if again || self.flight.as_ref().is_none_or(|f| f.hash != *hash) {
            // What was found out about an attempt that is over says nothing about this one.
            self.past_runs.append(&mut self.runs);
            self.judge.hear(now, News::Deployed);
            self.tried.fill(Tried::default());
            self.flight = Some(Flight { hash: hash.clone(), weight: 0.0, step: reading.step, since: now });
            seen.deployed = true;
        }
        let Some(flight) = &mut self.flight else { return seen };
        let weight = weight(self.workload.kind, reading, hash);
        if (flight.weight - weight).abs() > 1e-6 {
            self.judge.hear(now, News::Weight(weight));
            (flight.weight, flight.since) = (weight, now);
        }
        if flight.step != reading.step {
            self.judge.hear(now, News::Step);
            (flight.step, flight.since) = (reading.step, now);
        }
        seen
    }

    /// Takes in whether a flag that it lists moves.
    pub fn flag_moves(&mut self, now: Duration, moves: bool) {
        let was = self.is_checked();
        self.flag_moves = moves;
        if was && !self.is_checked() {
            self.judge.hear(now, News::ChecksOver);
        }
    }

    /// True while synthetic checks are made of it: at its bake, and while a flag of it moves (`train.md` §3).
    fn is_checked(&self) -> bool {
        let bakes = |f: &Flight| self.reading.as_ref().is_some_and(|r| r.stable == f.hash);
        self.flag_moves || self.flight.as_ref().is_some_and(bakes)
    }

    /// What is to be asked about it now.
    pub fn wish(&self) -> Wish {
        let hash = self.flight.as_ref().map(|f| f.hash.clone());
        let kind = self.workload.kind;
        Wish {
            service: self.workload.service.clone(),
            requests: self.has_requests().then(|| self.frozen.queries.clone()),
            revisions: self.revisions(),
            scrape: self.scrape,
            scrape_assumed: SCRAPE_ASSUMED,
            counted: self.counted,
            base: super::BEFORE,
            evaluate: self.settings.evaluate,
            patience: super::patience(self.settings.evaluate),
            window: self.settings.window,
            fill: (!self.filled && self.flight.is_none() && self.fill_tries < FILL_TRIES_MAX)
                .then_some(self.settings.baseline),
            latency: self.workload.slo.p99_ms.is_some(),
            lag: self.workload.lag.clone(),
            namespace: self.frozen.namespace.clone(),
            pods: hash.clone().map(|hash| (pod_label(kind), hash)),
            runs: hash.filter(|_| kind == Kind::Rollout),
            canary: (kind == Kind::Canary && self.flight.is_some()).then(|| self.workload.clone()),
            container: self.workload.container.clone(),
            image: self.id.map(|id| self.frozen.resolved.service(id).image.clone()),
            checks: if self.is_checked() { self.workload.checks.clone() } else { Vec::new() },
        }
    }

    /// Which revision stands for which arm; none for an arm that is not asked about.
    fn revisions(&self) -> [Option<Text>; 3] {
        let mut out = [const { None }; 3];
        let stable = self.reading.as_ref().map(|r| r.stable.clone());
        if let (Arms::Told, Some(flight), Some(stable)) = (self.arms, &self.flight, &stable)
            && flight.hash != *stable
        {
            out[Arm::New.number()] = Some(flight.hash.clone());
            out[Arm::Stable.number()] = Some(stable.clone());
        }
        if self.frozen.queries.tell_whole() {
            out[Arm::All.number()] = Some(Text::scrub(EVERY));
        } else if out[Arm::New.number()].is_none() {
            // A query that names one revision cannot name all: the one that serves is the whole.
            out[Arm::All.number()] = stable;
        }
        out
    }

    /// Takes in what was answered; none: nothing came in time.
    pub fn hear(&mut self, now: Duration, wall: Timestamp, answers: Option<Answers>, waited: Duration) {
        let Some(answers) = answers else {
            let why = text!("no answer within {:.0} s", waited.as_secs_f64());
            self.hear_nothing(now, &why);
            self.hear_pods(now, None);
            if self.is_checked() {
                self.hear_checks(now, None);
            }
            return;
        };
        // The estimate of a young series is too long, never too short: the shortest one counts.
        self.scrape = match (self.scrape, answers.scrape) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match answers.fill {
            Some(fill) => self.fill(now, wall, &fill),
            None if answers.newest.is_some() => self.fill_tries += 1,
            None => {}
        }
        self.newest = answers.newest.or(self.newest);
        match answers.counted {
            Some(Ok(counted)) => self.hear_counts(counted),
            Some(Err(why)) => self.hear_nothing(now, &why),
            None => {}
        }
        if self.workload.lag.is_some() {
            self.lag = answers.lag;
            self.judge.hear(now, News::Lag(answers.lag));
        }
        if self.is_checked() {
            self.hear_checks(now, answers.checks);
        }
        if self.flight.is_none() {
            return;
        }
        self.hear_pods(now, answers.pods);
        self.hear_runs(now, answers.runs.unwrap_or_default());
        if let Some(canary) = &answers.canary {
            self.judge.hear(now, News::Report(Report::of_canary(canary)));
        }
    }

    fn hear_counts(&mut self, counted: Counted) {
        self.counted = Some(counted.scraped);
        let over = counted.over.as_secs_f64();
        let mut sample = Sample {
            at: counted.at,
            over: counted.over,
            age: counted.known.then(|| counted.at.saturating_sub(counted.scraped)),
            arms: [const { None }; 3],
            p99_ms: [None; 3],
        };
        for (arm, rates) in ARMS.into_iter().zip(counted.rates) {
            let n = arm.number();
            sample.arms[n] = rates.map(|rates| match rates {
                Ok(rates) => Count::Since(Counts { requests: rates.requests * over, errors: rates.errors * over }),
                Err(why) => Count::Nothing(why),
            });
            sample.p99_ms[n] = counted.p99_ms[n];
        }
        self.judge.hear(sample.at, News::Sample(sample));
    }

    /// Nothing usable: a hole with its reason.
    fn hear_nothing(&mut self, now: Duration, why: &Text) {
        if !self.has_requests() {
            return;
        }
        let arms = self.revisions().map(|revision| revision.map(|_| Count::Nothing(why.clone())));
        let sample = Sample { at: now, over: Duration::ZERO, age: None, arms, p99_ms: [None; 3] };
        self.judge.hear(now, News::Sample(sample));
    }

    /// Takes in the time before our own start. What the judge has heard so far is part of it, so it begins anew.
    fn fill(&mut self, now: Duration, wall: Timestamp, fill: &Fill) {
        let held = self.judge.baseline();
        let mut judge = judge(&self.workload, self.settings, self.arms, self.services);
        let step = fill.step.as_secs_f64();
        for point in &fill.points {
            let age = wall.duration_since(point.at).max(SignedDuration::ZERO).unsigned_abs();
            let reading = match point.requests {
                Some(requests) => Count::Since(Counts { requests: requests * step, errors: point.errors * step }),
                None => Count::Nothing(Text::scrub("nothing was measured then")),
            };
            let sample = Sample {
                at: now.saturating_sub(age),
                over: fill.step,
                age: None,
                arms: [None, None, Some(reading)],
                p99_ms: [None, None, point.p99_ms],
            };
            judge.hear(sample.at, News::Sample(sample));
        }
        if let Some(baseline) = held {
            judge.adopt(baseline);
        }
        self.judge = judge;
        self.filled = true;
        self.counted = fill.scraped;
    }

    fn hear_pods(&mut self, now: Duration, pods: Option<Vec<crate::core::judge::pods::PodFact>>) {
        match pods {
            Some(pods) => {
                self.pods_unseen = 0;
                self.judge.hear(now, News::Pods(pods));
            }
            None => {
                self.pods_unseen += 1;
                if self.pods_unseen >= PODS_UNSEEN_MAX {
                    self.judge.hear(now, News::Pods(Vec::new()));
                }
            }
        }
    }

    /// What one look finds is not yet news where the looks before found it in order: an answer may get lost.
    fn hear_checks(&mut self, now: Duration, answers: Option<Vec<Result<u16, Text>>>) {
        let mut answers = answers.unwrap_or_default().into_iter();
        for (check, tried) in self.workload.checks.iter().zip(&mut self.tried) {
            let answer = answers.next().unwrap_or_else(|| Err(Text::scrub("no answer in time")));
            let (passed, why) = match answer {
                Ok(status) if check.holds(status) => {
                    *tried = Tried { good: true, ..Tried::default() };
                    (Some(true), text!("answered {status}"))
                }
                Ok(status) => {
                    tried.wrong += 1;
                    tried.silent = 0;
                    let fails = tried.wrong >= CHECK_WRONG;
                    if !fails && tried.good {
                        continue;
                    }
                    (fails.then_some(false), text!("answered {status}, {} times running", tried.wrong))
                }
                Err(why) => {
                    tried.silent += 1;
                    if tried.silent < CHECK_SILENT && tried.good {
                        continue;
                    }
                    (None, why)
                }
            };
            self.judge.hear(now, News::Report(Report::of_check(&check.name, passed, why)));
        }
    }

    /// Of the runs of this revision count: those of this attempt; of each step the latest; those of a step that was left only
    /// where they are why it went wrong.
    fn hear_runs(&mut self, now: Duration, mut runs: Vec<Run>) {
        let Some(reading) = self.reading.clone() else { return };
        runs.retain(|run| run.owner == reading.uid && !self.past_runs.contains(&run.name));
        runs.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        for (n, run) in runs.iter().enumerate() {
            self.runs.insert(run.name.clone());
            let later = runs[n + 1..].iter().any(|r| (&r.kind, r.step) == (&run.kind, run.step));
            let here = run.step.is_none_or(|step| step == i64::from(reading.step));
            let bad = matches!(run.report.word, Word::Fail | Word::Aborted);
            if !later && (here || bad) {
                self.judge.hear(now, News::Report(run.report.clone()));
            }
        }
    }

    /// Measures what is normal where that is due, and says whether it is in order.
    pub fn baseline(&mut self, now: Duration) -> Found {
        if !self.has_requests() {
            return self.health();
        }
        if self.measure {
            match self.judge.measure_baseline(now) {
                Ok(_) => (self.measure, self.burning) = (false, false),
                Err(lack) => {
                    self.burning = matches!(lack, Lack::Burning(_));
                    self.lack = lack.why().clone();
                }
            }
        }
        match (self.measure, self.judge.baseline()) {
            (true, _) if self.burning => Found::Refuse(self.lack.clone()),
            (false, Some(baseline)) => {
                let n = baseline.counts.requests;
                let rate = baseline.counts.rate() * 100.0;
                Found::Good(text!("errors {rate:.2} % of {n:.0} requests in {} s", baseline.covered.as_secs()))
            }
            _ => Found::Unknown(self.lack.clone()),
        }
    }

    /// Whether a worker without request metrics is in order before its deploy.
    fn health(&mut self) -> Found {
        match (self.workload.max_lag, self.lag) {
            (None, _) => Found::Warn(Text::scrub("no metric gate: judged by its pods alone")),
            (Some(_), None) => Found::Unknown(Text::scrub("its lag was not measured")),
            (Some(limit), Some(lag)) if lag > limit => {
                Found::Refuse(text!("already burning: lag {lag:.0}, limit {limit}"))
            }
            (Some(limit), Some(lag)) => Found::Good(text!("lag {lag:.0} (limit {limit}); no request metrics")),
        }
    }

    /// Judges it.
    pub fn judge(&mut self, now: Duration) -> View {
        let said = self.judge.judge(now);
        let view = View {
            service: self.workload.service.clone(),
            id: self.id,
            in_flight: said.in_flight(),
            verdict: said.verdict(),
            settling: said.settling(),
            why: said.why().clone(),
            requests: said.requests(),
            needed: said.needed(),
            estimated: said.estimated(),
            scrape_age: self.newest.map(|at| now.saturating_sub(at)),
            scrape: self.scrape,
            baseline: self.judge.baseline(),
            numbers: said.numbers(),
        };
        self.said = Some(said);
        view
    }

    /// The last judgement in the train's words. Where only time is missing it is a pass of a window that is not full: it advances
    /// nothing, and holds nothing.
    pub fn judged(&self, service: ServiceId, view: &View) -> Option<Judged> {
        let said = self.said.as_ref()?;
        let flight = self.flight.as_ref();
        let aborted = said.aborted() && said.verdict() == Verdict::NoData;
        let verdict = if said.settling() && !aborted { Verdict::Pass } else { said.verdict() };
        let stood = flight.map(|f| said.at().saturating_sub(f.since));
        Some(Judged {
            service,
            verdict,
            hash: flight.map(|f| f.hash.clone()),
            step: flight.map(|f| f.step),
            full: said.verdict() == Verdict::Pass && stood.is_some_and(|stood| stood >= self.settings.window),
            error: aborted,
            cause: self.cause(),
            why: view.why.clone(),
        })
    }
}

fn judge(workload: &Workload, settings: Settings, arms: Arms, services: u32) -> Judge {
    let subject = Subject {
        name: workload.service.clone(),
        slo: workload.slo,
        gate: workload.gate,
        max_lag: workload.max_lag,
        arms,
        services,
    };
    Judge::new(subject, settings)
}

/// What can be told apart. A Flagger canary's stable pods have a hash that its Canary does not tell.
fn arms(queries: &Queries, workload: &Workload) -> Arms {
    match workload.kind {
        Kind::Deployment => Arms::Whole,
        Kind::Rollout if queries.tell_revisions() => Arms::Told,
        Kind::Rollout | Kind::Canary => Arms::Estimated,
    }
}

/// Share of traffic that goes to the new version. A Deployment has no weights: from its first pod on some may go there.
fn weight(kind: Kind, reading: &Reading, hash: &Text) -> f64 {
    if reading.stable == *hash {
        return 1.0;
    }
    let read = f64::from(reading.weight.min(100)) / 100.0;
    if kind == Kind::Deployment { read.clamp(0.01, 0.99) } else { read }
}

fn pod_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Rollout => "rollouts-pod-template-hash",
        Kind::Canary | Kind::Deployment => "pod-template-hash",
    }
}

/// The time between scrapes, from how many there were in the last minutes and in the last minute: the first is more exact, but says
/// too much of a series that is younger.
pub(super) fn scrape_interval(minutes: Option<f64>, minute: Option<f64>) -> Option<Duration> {
    let short = minute.filter(|n| *n >= 2.0).and_then(|n| Duration::try_from_secs_f64(60.0 / n).ok());
    let old_enough = minutes.zip(minute).is_none_or(|(many, few)| many >= few * 4.0);
    let long = minutes.filter(|_| old_enough).and_then(freshness::scrape_interval);
    long.or(short)
}
