//! The gates of the services in flight: which metrics matter, what the controller measured of them, and when to ask the
//! metric store ourselves. A pure board that is shown the cluster and the time, says what to ask, and takes the answers; the
//! asking is in `gates/ask.rs`. What fails is no data, with a note. Nothing here acts on a workload.

pub mod ask;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::core::gate::freshness::{self, Freshness};
use crate::core::gate::{self, Metric, Progress};
use crate::core::object::Object;
use crate::core::series::{POINTS_MAX, Series, Source};
use crate::core::snapshot::{GateView, Point, Verdict};
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind};
use crate::text;

/// The label of an analysis run (and of a replica set) that holds the pod hash it is about.
const HASH_LABEL: &str = "rollouts-pod-template-hash";

/// Bounds of the time between two queries of one metric.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_secs(300);

/// The interval of a metric that has none: it is measured once, and watched by us.
const INTERVAL_UNSET: Duration = Duration::from_secs(10);

/// How far back a fresh history reaches, in time and in points.
const BACK: Duration = Duration::from_secs(3600);
const BACK_POINTS: u32 = 240;

/// How many queries may be under way, and how many a second may leave.
const UNDER_WAY_MAX: usize = 4;
const A_SECOND: f64 = 10.0;

/// How often the past is asked for in vain.
const FILL_TRIES_MAX: u8 = 3;

/// How long a metric that cannot be asked is left alone at most.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// An answer that has not come by then will not come.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// A moment later: what was waited for has then passed, however it was rounded.
const TICK: Duration = Duration::from_millis(1);

/// How long the history of a service that nobody looks at is kept, and of how many metrics.
const KEPT: Duration = Duration::from_secs(2 * 3600);
const GATES_MAX: usize = 4_096;

/// The time: of the wall, for points; of a clock that only runs forward, for waiting.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moment {
    /// Wall clock.
    pub wall: Timestamp,
    /// Time that only runs forward.
    pub monotonic: Duration,
}

/// One service whose gates matter now: in flight, or selected on the screen.
#[derive(Clone, Debug)]
pub struct Watched<'a> {
    /// The service's name, as on the screen.
    pub service: Text,
    /// Its Rollout.
    pub rollout: &'a Object,
    /// All analysis runs of the Rollout.
    pub runs: Vec<&'a Object>,
    /// Names of the runs that decide now ([`crate::core::workload::Workload::runs`]).
    pub deciding: &'a [Text],
    /// True while it is on the screen by itself: asked first.
    pub selected: bool,
}

/// Which metric of which service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The service.
    pub service: Text,
    /// The metric.
    pub metric: Text,
}

/// What to ask the metric store.
#[derive(Clone, PartialEq, Debug)]
pub struct Wish {
    /// For which metric.
    pub key: Key,
    /// The query. Raw: never for display.
    pub promql: Arc<str>,
    /// What about it.
    pub what: What,
}

/// What about a query is asked.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// Its value now, what the conditions say of it (empty: there is none), and how fresh the series behind it are.
    Now {
        /// The success condition.
        success: String,
        /// The failure condition.
        failure: String,
        /// The queries about freshness, where the query names series.
        freshness: Option<Freshness>,
    },
    /// Its values in the past.
    Past {
        /// From.
        from: Timestamp,
        /// To.
        to: Timestamp,
        /// One value every so often.
        step: Duration,
    },
}

/// What came of a wish.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// For which metric.
    pub key: Key,
    /// The query that was asked; an answer to another one than the current is dropped.
    pub promql: Arc<str>,
    /// When it was asked.
    pub at: Timestamp,
    /// What was said.
    pub said: Said,
}

/// What was said to a wish.
#[derive(Clone, PartialEq, Debug)]
pub enum Said {
    /// The value now.
    Now(Result<Reading, Fault>),
    /// Values of the past.
    Past(Result<Vec<Point>, Fault>),
}

/// The value of a query now, with all that decides about it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reading {
    /// The values.
    pub values: Vec<f64>,
    /// How old the answer itself was, by the store's clock (a cache between).
    pub answer_age: Option<Duration>,
    /// What the success condition says; none when there is none.
    pub success: Option<Result<bool, Text>>,
    /// What the failure condition says; none when there is none.
    pub failure: Option<Result<bool, Text>>,
    /// Seconds since the newest scrape of the series behind it; an inner none when nothing was scraped for minutes, an
    /// outer none when that is not known.
    pub scrape_age: Option<Option<Duration>>,
    /// The scrape interval, where it could be told.
    pub scrape_interval: Option<Duration>,
}

/// The latest answer to our own query, judged.
#[derive(Clone, PartialEq, Debug)]
struct Live {
    at: Duration,
    verdict: Verdict,
    stale: bool,
    age: Option<Duration>,
    note: Text,
}

/// One metric of one service.
#[derive(Debug)]
struct Gate {
    metric: Metric,
    promql: Option<Arc<str>>,
    /// The run that decides, and how far it has come.
    run: Option<(Text, Progress)>,
    /// What is missing to ask for it.
    missing: Text,
    series: Series,
    hash: String,
    shown: bool,
    selected: bool,
    unseen_since: Option<Duration>,
    next: Duration,
    fill_from: Option<Timestamp>,
    fill_tries: u8,
    under_way: Option<Duration>,
    faults: u32,
    live: Option<Live>,
    scrape: Option<Duration>,
    view: Option<Arc<GateView>>,
}

/// What was last seen of a service, so that nothing is read twice.
type Print = Vec<(String, String)>;

/// All gates that matter.
#[derive(Debug)]
pub struct Board {
    /// None: there is a metric store. Else why there is none.
    without_store: Option<Text>,
    gates: BTreeMap<Key, Gate>,
    /// The order on the screen.
    order: Vec<Key>,
    prints: BTreeMap<Text, (Print, Vec<Key>)>,
    quiet_until: Duration,
    tokens: f64,
    counted: Duration,
    views: Arc<[Arc<GateView>]>,
}

impl Board {
    /// A board with a metric store, or the reason why there is none (shown beside each gate).
    pub fn new(without_store: Option<Text>) -> Self {
        Self {
            without_store,
            gates: BTreeMap::new(),
            order: Vec::new(),
            prints: BTreeMap::new(),
            quiet_until: Duration::ZERO,
            tokens: A_SECOND,
            counted: Duration::ZERO,
            views: Arc::new([]),
        }
    }

    /// Takes a look at the services that matter now, in the order of the screen. `template` finds an AnalysisTemplate by
    /// namespace and name. Cheap where nothing changed.
    pub fn look<'o>(
        &mut self,
        now: Moment,
        watched: &[Watched<'o>],
        template: &dyn Fn(&Text, &str) -> Option<&'o Object>,
    ) {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for service in watched {
            if !seen.insert(service.service.clone()) {
                continue;
            }
            let namespace = service.rollout.namespace();
            let template = |name: &str| template(&namespace, name);
            let print = print(service, &template);
            let known =
                self.prints.get(&service.service).filter(|(old, _)| *old == print).map(|(_, keys)| keys.clone());
            let keys = known.unwrap_or_else(|| {
                let keys = self.read(now, service, &template);
                self.prints.insert(service.service.clone(), (print, keys.clone()));
                keys
            });
            for key in &keys {
                if let Some(gate) = self.gates.get_mut(key) {
                    gate.selected = service.selected;
                }
            }
            order.extend(keys);
        }
        self.prints.retain(|service, _| seen.contains(service));
        let shown: BTreeSet<&Key> = order.iter().collect();
        for (key, gate) in &mut self.gates {
            gate.shown = shown.contains(key);
            gate.unseen_since = if gate.shown { None } else { gate.unseen_since.or(Some(now.monotonic)) };
        }
        self.gates.retain(|_, g| g.unseen_since.is_none_or(|since| now.monotonic.saturating_sub(since) < KEPT));
        while self.gates.len() > GATES_MAX.max(order.len()) {
            let oldest = self.gates.iter().filter(|(_, g)| !g.shown).min_by_key(|(_, g)| g.unseen_since);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.gates.remove(&key);
        }
        self.order = order;
    }

    /// Reads one service anew.
    fn read<'o>(
        &mut self,
        now: Moment,
        service: &Watched<'o>,
        template: &dyn Fn(&str) -> Option<&'o Object>,
    ) -> Vec<Key> {
        let hash = service.rollout.str("/status/currentPodHash").unwrap_or_default();
        let mut ours: Vec<&&Object> = service.runs.iter().filter(|r| r.label(HASH_LABEL) == Some(hash)).collect();
        ours.sort_by_key(|run| (run.time("/metadata/creationTimestamp"), run.name()));
        let decides = |run: &Object| service.deciding.contains(&run.name());
        // Once aborted, no run decides any more; the one that ended it is still what a person must see.
        let last_word = |run: &Object| {
            service.rollout.flag("/status/abort") && gate::verdict(run).is_some_and(|v| v != Verdict::Pass)
        };
        let any_decides = ours.iter().any(|run| decides(run));
        let mut rows: Vec<(Metric, Option<(Text, Progress)>)> = Vec::new();
        let mut measured: Vec<(Text, Vec<Point>)> = Vec::new();
        for run in &ours {
            for progress in gate::progress(run) {
                measured.push((progress.metric.name.clone(), progress.points.clone()));
                if decides(run) || (!any_decides && last_word(run)) {
                    rows.retain(|(metric, _)| metric.name != progress.metric.name);
                    rows.push((progress.metric.clone(), Some((run.name(), progress))));
                }
            }
        }
        let mut missing = Text::default();
        if rows.is_empty() {
            for asked in gate::asked(service.rollout) {
                let (metrics, lacks) = asked.metrics(service.rollout, template);
                if let (Some(lacks), true) = (lacks, missing.is_empty()) {
                    missing = text!("{}: {lacks}", asked.place);
                }
                for metric in metrics {
                    if !rows.iter().any(|(known, _)| known.name == metric.name) {
                        rows.push((metric, None));
                    }
                }
            }
        }
        let mut keys = Vec::with_capacity(rows.len());
        for (metric, run) in rows {
            let key = Key { service: service.service.clone(), metric: metric.name.clone() };
            self.take(now, &key, metric, run, hash, &missing);
            keys.push(key);
        }
        for (metric, points) in measured {
            let key = Key { service: service.service.clone(), metric };
            if let Some(gate) = self.gates.get_mut(&key) {
                gate.series.absorb(Source::Run, points);
                gate.view = None;
            }
        }
        keys
    }

    fn take(
        &mut self,
        now: Moment,
        key: &Key,
        metric: Metric,
        run: Option<(Text, Progress)>,
        hash: &str,
        missing: &Text,
    ) {
        let promql: Option<Arc<str>> = metric.query.as_deref().ok().map(Arc::from);
        let every = every(&metric);
        let fresh = || Gate {
            metric: metric.clone(),
            promql: promql.clone(),
            run: None,
            missing: Text::default(),
            series: Series::new(every),
            hash: hash.to_owned(),
            shown: true,
            selected: false,
            unseen_since: None,
            next: now.monotonic,
            fill_from: Some(back(now.wall, every)),
            fill_tries: 0,
            under_way: None,
            faults: 0,
            live: None,
            scrape: None,
            view: None,
        };
        let gate = self.gates.entry(key.clone()).or_insert_with(fresh);
        if gate.hash != hash {
            // Another revision: its series are others, and what was measured of the one before says nothing about it.
            *gate = fresh();
        } else if gate.promql != promql {
            (gate.next, gate.live, gate.under_way) = (now.monotonic, None, None);
            gate.fill_from = Some(gate.series.last().map_or(back(now.wall, every), |last| last.at));
        } else if !gate.shown {
            gate.fill_from = Some(gate.series.last().map_or(back(now.wall, every), |last| last.at));
            gate.next = now.monotonic;
        }
        gate.metric = metric;
        gate.promql = promql;
        gate.run = run;
        gate.missing = missing.clone();
        gate.view = None;
    }

    /// What is to be asked now. Each wish must be answered ([`Board::fold`]); how many are under way, and how many leave in
    /// a second, is bounded.
    pub fn due(&mut self, now: Moment) -> Vec<Wish> {
        let passed = now.monotonic.saturating_sub(self.counted).as_secs_f64();
        self.counted = self.counted.max(now.monotonic);
        self.tokens = (self.tokens + passed * A_SECOND).min(A_SECOND);
        if self.without_store.is_some() || now.monotonic < self.quiet_until {
            return Vec::new();
        }
        for gate in self.gates.values_mut() {
            if gate.under_way.is_some_and(|since| now.monotonic.saturating_sub(since) > GIVEN_UP) {
                gate.under_way = None;
            }
        }
        let under_way = self.gates.values().filter(|g| g.under_way.is_some()).count();
        let room = UNDER_WAY_MAX.saturating_sub(under_way).min(self.tokens as usize);
        let mut ready: Vec<(&Key, &mut Gate)> = self
            .gates
            .iter_mut()
            .filter(|(_, g)| g.shown && g.under_way.is_none() && g.promql.is_some() && g.next <= now.monotonic)
            .collect();
        ready.sort_by_key(|(_, g)| (!g.selected, g.next));
        let wishes: Vec<Wish> = ready.into_iter().take(room).filter_map(|(key, gate)| gate.wish(key, now)).collect();
        self.tokens -= wishes.len() as f64;
        wishes
    }

    /// When [`Board::due`] has something to say at the earliest; none when it only waits for answers, or for nothing.
    pub fn next(&self) -> Option<Duration> {
        let under_way = self.gates.values().filter_map(|g| g.under_way);
        if self.without_store.is_some() {
            return None;
        }
        if under_way.clone().count() >= UNDER_WAY_MAX {
            // Nothing leaves before an answer comes, or one is given up.
            return under_way.min().map(|since| since + GIVEN_UP + TICK);
        }
        let waits = |g: &&Gate| g.shown && g.promql.is_some();
        let next = self.gates.values().filter(waits).map(|g| match g.under_way {
            Some(since) => since + GIVEN_UP + TICK,
            None => g.next,
        });
        // A wish that is due waits for its turn where too many left in this second.
        let missing = (1.0 - self.tokens).max(0.0) / A_SECOND;
        let turn = self.counted + Duration::try_from_secs_f64(missing).unwrap_or_default();
        let turn = if missing > 0.0 { turn + TICK } else { Duration::ZERO };
        next.min().map(|next| next.max(self.quiet_until).max(turn))
    }

    /// Takes an answer.
    pub fn fold(&mut self, now: Moment, answer: Answer) {
        let Some(gate) = self.gates.get_mut(&answer.key) else { return };
        if gate.promql.as_ref() != Some(&answer.promql) {
            return;
        }
        gate.under_way = None;
        gate.view = None;
        match answer.said {
            Said::Past(Ok(points)) => {
                let from = points.iter().position(|p| p.value.is_some()).unwrap_or(points.len());
                gate.series.absorb(Source::Range, points.into_iter().skip(from));
                (gate.fill_from, gate.fill_tries, gate.next) = (None, 0, now.monotonic);
            }
            Said::Now(Ok(reading)) => gate.hear(now, answer.at, &reading),
            Said::Past(Err(fault)) => {
                // What is now matters more than the past, and tells whether the store is there at all: asked next.
                (gate.fill_tries, gate.faults, gate.next) = (gate.fill_tries + 1, 1, now.monotonic);
                if gate.fill_tries >= FILL_TRIES_MAX {
                    gate.fill_from = None;
                }
                self.be_quiet(now, &fault);
            }
            Said::Now(Err(fault)) => {
                gate.fail(now, answer.at, &fault);
                self.be_quiet(now, &fault);
            }
        }
    }

    /// Asks nothing while the store wants to be left alone.
    fn be_quiet(&mut self, now: Moment, fault: &Fault) {
        if let FaultKind::Throttled(seconds) = fault.kind {
            let wait = Duration::from_secs(u64::from(seconds)).clamp(INTERVAL_MIN, INTERVAL_MAX);
            self.quiet_until = self.quiet_until.max(now.monotonic + wait);
        }
    }

    /// What the screen shows: the metrics of the services that were looked at last, in their order.
    pub fn views(&mut self, now: Moment) -> Arc<[Arc<GateView>]> {
        let mut out = Vec::with_capacity(self.order.len());
        for key in &self.order {
            let Some(gate) = self.gates.get_mut(key) else { continue };
            gate.forget(now);
            let view = match &gate.view {
                Some(view) => Arc::clone(view),
                None => {
                    let view = Arc::new(gate.shown_as(key, self.without_store.as_ref()));
                    gate.view = Some(Arc::clone(&view));
                    view
                }
            };
            out.push(view);
        }
        let same = out.len() == self.views.len() && out.iter().zip(self.views.iter()).all(|(a, b)| Arc::ptr_eq(a, b));
        if !same {
            self.views = out.into();
        }
        Arc::clone(&self.views)
    }
}

impl Gate {
    fn wish(&mut self, key: &Key, now: Moment) -> Option<Wish> {
        let promql = Arc::clone(self.promql.as_ref()?);
        let step = every(&self.metric);
        // A wall clock that was set back leaves nothing to fill.
        let what = match self.fill_from.filter(|from| *from < now.wall && self.faults == 0) {
            Some(from) => What::Past { from: from.max(back(now.wall, step)), to: now.wall, step },
            None => What::Now {
                success: self.metric.success.clone(),
                failure: self.metric.failure.clone(),
                freshness: Freshness::of(&promql),
            },
        };
        self.under_way = Some(now.monotonic);
        Some(Wish { key: key.clone(), promql, what })
    }

    /// Takes what the store says now.
    fn hear(&mut self, now: Moment, at: Timestamp, reading: &Reading) {
        self.faults = 0;
        self.next = now.monotonic + every(&self.metric);
        // The estimate of a young series is too long, never too short: the shortest one counts.
        self.scrape = match (self.scrape, reading.scrape_interval) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let age = reading.scrape_age.flatten();
        let stale_scrape = age.is_some_and(|age| freshness::is_stale(age, self.scrape));
        let stale_answer = reading.answer_age.is_some_and(|age| freshness::is_stale(age, self.scrape));
        let nothing_behind = reading.scrape_age == Some(None) && !reading.values.is_empty();
        let stale = stale_scrape || stale_answer || nothing_behind;
        let judged = gate::judge(&reading.values, reading.success.as_ref(), reading.failure.as_ref());
        let broken = [&reading.success, &reading.failure].into_iter().flatten().find_map(|c| c.as_ref().err());
        let note = match (reading.values.first(), broken) {
            (None, _) => Text::scrub("the answer is empty"),
            _ if nothing_behind => {
                Text::scrub("none of its series was scraped in the last minutes: the value is a default")
            }
            _ if stale_scrape => text!("the newest scrape is {} s old", age.unwrap_or_default().as_secs()),
            _ if stale_answer => Text::scrub("the answer is old: something between caches it"),
            (Some(n), _) if n.is_nan() => Text::scrub("the answer is NaN"),
            (_, Some(why)) => why.clone(),
            (Some(n), _) if n.is_infinite() => text!("the answer is {}", gate::infinity(*n)),
            _ => Text::default(),
        };
        let verdict = if stale { Verdict::NoData } else { judged };
        let value = reading.values.first().copied().filter(|_| !stale);
        self.series.absorb(Source::Live, [Point { at, value }]);
        self.live = Some(Live { at: now.monotonic, verdict, stale, age, note });
    }

    /// Takes that the store could not say. The hole in the history is filled once it can.
    fn fail(&mut self, now: Moment, at: Timestamp, fault: &Fault) {
        self.series.absorb(Source::Live, [Point { at, value: None }]);
        (self.fill_from, self.fill_tries) = (self.fill_from.or(Some(at)), 0);
        self.faults = self.faults.saturating_add(1);
        let wait = INTERVAL_MIN * 2u32.saturating_pow(self.faults.min(5) - 1);
        self.next = now.monotonic + wait.max(every(&self.metric)).min(BACKOFF_MAX);
        let note = text!("{fault}");
        self.live = Some(Live { at: now.monotonic, verdict: Verdict::NoData, stale: false, age: None, note });
    }

    /// An answer that was not renewed for three intervals says nothing any more.
    fn forget(&mut self, now: Moment) {
        let old = every(&self.metric) * 3 + GIVEN_UP / 4;
        if self.live.as_ref().is_some_and(|live| now.monotonic.saturating_sub(live.at) > old && live.note.is_empty()) {
            let note = Text::scrub("not asked lately: too many gates at once");
            self.live = Some(Live { at: now.monotonic, verdict: Verdict::NoData, stale: false, age: None, note });
            self.view = None;
        }
    }

    fn shown_as(&self, key: &Key, without_store: Option<&Text>) -> GateView {
        let metric = &self.metric;
        let live = self.live.as_ref();
        let own_note = || match (live, &metric.query, without_store) {
            (_, Err(why), _) => why.clone(),
            (_, _, Some(why)) => why.clone(),
            (Some(live), ..) => live.note.clone(),
            (None, ..) => Text::scrub("not measured yet"),
        };
        let first = |notes: [Text; 3]| notes.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
        let (run, taken, failures_left, verdict, note) = match &self.run {
            Some((name, progress)) => {
                let stale = !progress.ended && live.is_some_and(|l| l.stale);
                let verdict = if stale { Verdict::NoData } else { progress.verdict };
                let stale_note = live.filter(|_| stale).map_or_else(Text::default, |l| l.note.clone());
                let note = first([stale_note, progress.note.clone(), Text::default()]);
                (name.clone(), progress.taken, progress.failures_left, verdict, note)
            }
            None => {
                let verdict = live.filter(|_| without_store.is_none()).map_or(Verdict::NoData, |l| l.verdict);
                let note = first([metric.note.clone(), self.missing.clone(), own_note()]);
                (Text::default(), 0, metric.failure_limit, verdict, note)
            }
        };
        let gap = every(metric).saturating_mul(5) / 2;
        GateView {
            service: key.service.clone(),
            metric: key.metric.clone(),
            run,
            condition: metric.condition(),
            limit: metric.limit,
            points: self.series.points(gap).into(),
            verdict,
            taken,
            wanted: metric.wanted.unwrap_or(0),
            failures_left,
            interval_s: metric.interval.map_or(0, |i| u32::try_from(i.as_secs()).unwrap_or(u32::MAX)),
            age_s: live.and_then(|l| l.age).map(|age| u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
            note,
        }
    }
}

/// How often we ask for a metric.
fn every(metric: &Metric) -> Duration {
    metric.interval.unwrap_or(INTERVAL_UNSET).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// Where a fresh history begins.
fn back(now: Timestamp, every: Duration) -> Timestamp {
    let span = BACK.max(every * 30).min(every * BACK_POINTS.min(POINTS_MAX as u32));
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::ZERO);
    now.checked_sub(span).unwrap_or(now)
}

/// What tells whether anything changed about a service.
fn print<'o>(service: &Watched<'o>, template: &dyn Fn(&str) -> Option<&'o Object>) -> Print {
    let mark = |object: &Object| (object.uid().to_owned(), object.version().to_owned());
    let mut out: Print = std::iter::once(service.rollout).chain(service.runs.iter().copied()).map(mark).collect();
    out.extend(service.deciding.iter().map(|name| (String::new(), name.to_string())));
    if !service.deciding.is_empty() {
        return out;
    }
    for asked in gate::asked(service.rollout) {
        out.extend(asked.templates.iter().map(|name| template(name).map_or_else(Default::default, mark)));
    }
    out
}

#[cfg(test)]
mod tests;
