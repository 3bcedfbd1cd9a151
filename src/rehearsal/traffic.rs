//! Requests of users through the edge services down the dependency graph, as they are routed at this moment: what each
//! revision of each service answers, and how fast. Counts go into the metrics at each scrape. What is broken, and when,
//! comes from the scenario; routing is read from Ingresses, Services and ready pods, never from a Rollout's status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Deserialize;
use serde_json::Value;

use super::controllers::{fields, hash, pod};
use super::kinds;
use super::series::{Series, SeriesId};
use super::store::{Held, Store};

/// Upper bounds of the latency histogram, seconds, but for the infinite one.
const BUCKETS: [(f64, &str); 19] = [
    (0.005, "0.005"),
    (0.01, "0.01"),
    (0.025, "0.025"),
    (0.05, "0.05"),
    (0.075, "0.075"),
    (0.1, "0.1"),
    (0.125, "0.125"),
    (0.15, "0.15"),
    (0.2, "0.2"),
    (0.25, "0.25"),
    (0.3, "0.3"),
    (0.4, "0.4"),
    (0.5, "0.5"),
    (0.6, "0.6"),
    (0.75, "0.75"),
    (1.0, "1"),
    (1.5, "1.5"),
    (2.5, "2.5"),
    (5.0, "5"),
];

/// The spread of latencies: the logarithm's standard deviation.
const SPREAD: f64 = 0.45;

/// p95 over the median, with that spread.
const P95_OVER_MEDIAN: f64 = 2.096;

/// The traffic of an environment, as data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Seconds between scrapes.
    pub scrape_s: i64,
    /// Services in an order in which callers come before those they call.
    pub service: Vec<ServiceModel>,
    /// Consumers of events, measured by their lag.
    #[serde(default)]
    pub worker: Vec<WorkerModel>,
}

/// One service with request metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceModel {
    /// Its name: of the Rollout or Deployment, and the prefix of its Services.
    pub name: String,
    /// Requests a second straight from users.
    #[serde(default)]
    pub users: f64,
    /// Share of requests that fail of themselves.
    pub errors: f64,
    /// Median latency of its own work, milliseconds.
    pub median_ms: f64,
    /// Whom it calls: requests there for each one here, and the share of failures there that fail the request here.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// What its SLO allows.
    pub slo: Slo,
}

/// One dependency of a service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The service called.
    pub to: String,
    /// Requests there for each one here.
    pub each: f64,
    /// Share of failures there that fail the request here.
    pub fails: f64,
}

/// A service level objective.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Most errors, as a share.
    pub errors: f64,
    /// Highest p95, milliseconds.
    pub p95_ms: f64,
}

/// One consumer of events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerModel {
    /// Its name, and its consumer group.
    pub name: String,
    /// Messages a second.
    pub messages: f64,
    /// Messages that are usually waiting.
    pub lag: f64,
}

/// Something wrong with one version of one service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// Whose requests it hurts.
    pub service: String,
    /// The version (image tag) that has it; empty for every version.
    #[serde(default)]
    pub version: String,
    /// Share of requests that fail besides.
    #[serde(default)]
    pub errors: f64,
    /// What latency is multiplied by.
    #[serde(default = "one")]
    pub slower: f64,
    /// Seconds over which it grows to that, from the first request on.
    #[serde(default)]
    pub ramp_s: f64,
    /// Only from this share of the service's traffic on, percent.
    #[serde(default)]
    pub from_weight: f64,
    /// Only while this flag is on; a flag for some users hurts in proportion.
    #[serde(default)]
    pub flag: String,
    /// Only once this Job has completed (a migration that left rows in a state which the version does not bear).
    #[serde(default)]
    pub job: String,
}

fn one() -> f64 {
    1.0
}

/// One revision that serves a service.
#[derive(Clone, PartialEq, Debug)]
pub struct Revision {
    /// Pod hash.
    pub hash: String,
    /// Image tag.
    pub version: String,
    /// Share of the service's traffic, 0 to 1.
    pub share: f64,
    /// False when nothing behind it is ready: what is sent there fails.
    pub up: bool,
}

/// What one second did, for the score.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// Requests that an effect could hurt.
    pub exposed: f64,
    /// Services that broke their SLO because of an effect.
    pub broken: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Counted {
    ok: f64,
    failed: f64,
    unavailable: f64,
    buckets: [f64; BUCKETS.len() + 1],
    seconds: f64,
    /// Seen in the second that is being counted, or the one before.
    live: bool,
    written: bool,
    ids: Option<Ids>,
}

#[derive(Clone, Debug)]
struct Ids {
    ok: SeriesId,
    failed: SeriesId,
    unavailable: Option<SeriesId>,
    buckets: Vec<SeriesId>,
    sum: SeriesId,
    count: SeriesId,
}

/// The traffic as it runs.
#[derive(Debug)]
pub struct Traffic {
    model: Model,
    namespace: String,
    effects: Vec<Effect>,
    /// Revisions whose series are not scraped: (service, version), version empty for all.
    hidden: Vec<(String, String)>,
    rng: ChaCha8Rng,
    counted: BTreeMap<(String, String, String), Counted>,
    lags: BTreeMap<String, (SeriesId, f64)>,
    /// When each effect first hurt a request.
    began: BTreeMap<usize, Timestamp>,
    /// Routes and flags as they were at a version of the store.
    seen: Option<(u64, Routes, Around)>,
}

/// What an effect may depend on besides routing.
#[derive(Clone, Debug, Default)]
struct Around {
    /// The share of users each flag is on for.
    flags: BTreeMap<String, f64>,
    /// Jobs that have completed.
    done: BTreeSet<String>,
}

/// The revisions that serve each service.
type Routes = BTreeMap<String, Vec<Revision>>;

/// What a revision makes of one second's requests.
#[derive(Clone, Copy, Debug)]
struct Quality {
    errors: f64,
    slower: f64,
}

impl Traffic {
    /// Traffic in a namespace, from a seed.
    pub fn new(model: Model, namespace: &str, effects: Vec<Effect>, hidden: Vec<(String, String)>, seed: u64) -> Self {
        Self {
            model,
            namespace: namespace.to_owned(),
            effects,
            hidden,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x7472_6166_6669_6321),
            counted: BTreeMap::new(),
            lags: BTreeMap::new(),
            began: BTreeMap::new(),
            seen: None,
        }
    }

    /// Where requests go and what flags say; read anew when the store has changed.
    fn routed(&mut self, store: &Store) -> (Routes, Around) {
        if let Some((version, routes, around)) = &self.seen
            && *version == store.version()
        {
            return (routes.clone(), around.clone());
        }
        let names = self.model.service.iter().map(|s| &s.name);
        let all: Routes = names.map(|n| (n.clone(), routes(store, &self.namespace, n))).collect();
        let around = Around { flags: flags(store, &self.namespace), done: completed(store, &self.namespace) };
        self.seen = Some((store.version(), all.clone(), around.clone()));
        (all, around)
    }

    /// Seconds between scrapes.
    pub fn scrape_s(&self) -> i64 {
        self.model.scrape_s
    }

    #[allow(clippy::cast_precision_loss, reason = "53 bits are enough for noise")]
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many of independent events happen when so many are expected: Poisson, for many by its normal limit.
    fn drawn(&mut self, expected: f64) -> f64 {
        if expected <= 0.0 {
            return 0.0;
        }
        if expected < 30.0 {
            let floor = (-expected).exp();
            let (mut product, mut count) = (self.uniform(), 0.0);
            while product > floor {
                product *= self.uniform();
                count += 1.0;
            }
            return count;
        }
        // The sum of twelve uniforms has variance one.
        let bell = (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        (expected + bell * expected.sqrt()).round().max(0.0)
    }

    /// One second of traffic.
    pub fn second(&mut self, store: &Store, now: Timestamp) -> Second {
        let (routes, around) = self.routed(store);
        let rates = self.rates(now);
        let (with, without) = self.qualities(&routes, &around, now);
        let mut second = Second::default();
        for (i, effect) in self.effects.iter().enumerate() {
            for revision in routes.get(&effect.service).into_iter().flatten() {
                let exposed = self.strength(i, revision, &around, now).map_or(0.0, |s| s.0);
                let hurt = exposed * revision.share * rates.get(&effect.service).copied().unwrap_or(0.0);
                if hurt > 0.0 {
                    second.exposed += hurt;
                    self.began.entry(i).or_insert(now);
                }
            }
        }
        for service in &self.model.service {
            let mixed = |of: &BTreeMap<(String, String), Quality>| {
                let mut errors = 0.0;
                let mut slower = 0.0_f64;
                for r in routes.get(&service.name).into_iter().flatten() {
                    if let Some(q) = of.get(&(service.name.clone(), r.hash.clone())) {
                        errors += r.share * q.errors;
                        // A tail of a twentieth is enough to move the p95.
                        if r.share >= 0.05 {
                            slower = slower.max(q.slower);
                        }
                    }
                }
                errors > service.slo.errors || slower * service.median_ms * P95_OVER_MEDIAN > service.slo.p95_ms
            };
            if mixed(&with) && !mixed(&without) {
                second.broken.insert(service.name.clone());
            }
        }
        self.count(&routes, &rates, &with);
        second
    }

    /// Requests a second to each service: from users, with the wobble of the day, and from callers.
    fn rates(&mut self, now: Timestamp) -> BTreeMap<String, f64> {
        #[allow(clippy::cast_precision_loss, reason = "seconds of a day")]
        let day = (now.as_second().rem_euclid(86_400)) as f64 / 86_400.0;
        let minute = (now.as_second().rem_euclid(240)) as f64 / 240.0;
        let turn = std::f64::consts::TAU;
        let wobble = 1.0 + 0.12 * (turn * (day - 0.4)).sin() + 0.04 * (turn * minute).sin();
        let services = self.model.service.clone();
        let mut rates: BTreeMap<String, f64> = BTreeMap::new();
        for service in &services {
            let jitter = 1.0 + 0.04 * (self.uniform() - 0.5);
            let rate = rates.get(&service.name).copied().unwrap_or(0.0) + service.users * wobble * jitter;
            rates.insert(service.name.clone(), rate);
            for call in &service.calls {
                *rates.entry(call.to.clone()).or_insert(0.0) += rate * call.each;
            }
        }
        rates
    }

    /// How much of a revision's requests an effect touches (0 to 1), and how far it has grown (0 to 1); none where it
    /// does not apply.
    fn strength(&self, index: usize, revision: &Revision, around: &Around, now: Timestamp) -> Option<(f64, f64)> {
        let effect = &self.effects[index];
        if (!effect.version.is_empty() && effect.version != revision.version)
            || revision.share * 100.0 < effect.from_weight
            || revision.share <= 0.0
            || (!effect.job.is_empty() && !around.done.contains(&effect.job))
        {
            return None;
        }
        let touched = if effect.flag.is_empty() { 1.0 } else { around.flags.get(&effect.flag).copied().unwrap_or(0.0) };
        if touched <= 0.0 {
            return None;
        }
        let grown = match self.began.get(&index) {
            _ if effect.ramp_s <= 0.0 => 1.0,
            None => 0.0,
            #[allow(clippy::cast_precision_loss, reason = "seconds of a rehearsal")]
            Some(began) => (now.duration_since(*began).as_millis() as f64 / 1000.0 / effect.ramp_s).clamp(0.0, 1.0),
        };
        Some((touched, grown))
    }

    /// Errors and slowness of each revision, with the effects and without, dependencies included.
    #[allow(clippy::type_complexity, reason = "the same map twice")]
    fn qualities(
        &self,
        routes: &Routes,
        around: &Around,
        now: Timestamp,
    ) -> (BTreeMap<(String, String), Quality>, BTreeMap<(String, String), Quality>) {
        let mut out = (BTreeMap::new(), BTreeMap::new());
        for hurt in [true, false] {
            let into = if hurt { &mut out.0 } else { &mut out.1 };
            let mut whole: BTreeMap<String, Quality> = BTreeMap::new();
            for service in self.model.service.iter().rev() {
                let mut passing = 1.0;
                let mut dragged = 1.0;
                for call in &service.calls {
                    if let Some(q) = whole.get(&call.to) {
                        passing *= 1.0 - (call.fails * q.errors).min(1.0);
                        dragged += 0.3 * call.each.min(1.0) * (q.slower - 1.0);
                    }
                }
                let mut all = Quality { errors: 0.0, slower: 0.0 };
                for revision in routes.get(&service.name).into_iter().flatten() {
                    let mut own = Quality { errors: service.errors, slower: dragged };
                    for (i, effect) in
                        self.effects.iter().enumerate().filter(|(_, e)| hurt && e.service == service.name)
                    {
                        if let Some((touched, grown)) = self.strength(i, revision, around, now) {
                            own.errors += touched * grown * effect.errors;
                            own.slower *= 1.0 + touched * grown * (effect.slower - 1.0);
                        }
                    }
                    let errors = if revision.up { 1.0 - (1.0 - own.errors.min(1.0)) * passing } else { 1.0 };
                    let quality = Quality { errors, slower: own.slower };
                    all.errors += revision.share * quality.errors;
                    all.slower += revision.share * quality.slower;
                    into.insert((service.name.clone(), revision.hash.clone()), quality);
                }
                if all.slower <= 0.0 {
                    all.slower = 1.0;
                }
                whole.insert(service.name.clone(), all);
            }
        }
        out
    }

    fn count(
        &mut self,
        routes: &Routes,
        rates: &BTreeMap<String, f64>,
        qualities: &BTreeMap<(String, String), Quality>,
    ) {
        for counted in self.counted.values_mut() {
            counted.live = false;
        }
        let services = self.model.service.clone();
        for service in &services {
            let rate = rates.get(&service.name).copied().unwrap_or(0.0);
            for revision in routes.get(&service.name).cloned().unwrap_or_default() {
                let key = (service.name.clone(), revision.hash.clone());
                let Some(quality) = qualities.get(&key).copied() else { continue };
                let requests = self.drawn(rate * revision.share);
                let errors = self.drawn(requests * quality.errors).min(requests);
                let median = service.median_ms / 1000.0 * quality.slower;
                let jitter = 1.0 + 0.03 * (self.uniform() - 0.5);
                let key = (service.name.clone(), revision.version.clone(), revision.hash.clone());
                let counted = self.counted.entry(key).or_default();
                counted.live = true;
                if !revision.up {
                    counted.unavailable += requests;
                    continue;
                }
                counted.ok += requests - errors;
                counted.failed += errors;
                counted.seconds += requests * median * 1.1;
                for (i, (le, _)) in BUCKETS.iter().enumerate() {
                    counted.buckets[i] += (requests * lognormal_below(*le, median * jitter)).round();
                }
                counted.buckets[BUCKETS.len()] += requests;
            }
        }
    }

    /// Writes what was counted into the series.
    pub fn scrape(&mut self, store: &Store, series: &mut Series, now: Timestamp) {
        for ((service, version, hash), counted) in &mut self.counted {
            let hidden = self.hidden.iter().any(|(s, v)| s == service && (v.is_empty() || v == version));
            if hidden || (!counted.live && !counted.written) {
                continue;
            }
            let labels =
                [("service", service.as_str()), ("version", version.as_str()), ("pod_template_hash", hash.as_str())];
            let with = |name: &str, value: &str, series: &mut Series, metric: &str| {
                let mut all = labels.to_vec();
                all.push((name, value));
                series.open(metric, &all)
            };
            let ids = counted
                .ids
                .get_or_insert_with(|| Ids {
                    ok: with("status", "200", series, "http_requests_total"),
                    failed: with("status", "500", series, "http_requests_total"),
                    unavailable: None,
                    buckets: BUCKETS
                        .iter()
                        .map(|(_, le)| *le)
                        .chain(["+Inf"])
                        .map(|le| with("le", le, series, "http_request_duration_seconds_bucket"))
                        .collect(),
                    sum: series.open("http_request_duration_seconds_sum", &labels),
                    count: series.open("http_request_duration_seconds_count", &labels),
                })
                .clone();
            if counted.unavailable > 0.0 && ids.unavailable.is_none() {
                let id = with("status", "503", series, "http_requests_total");
                if let Some(ids) = &mut counted.ids {
                    ids.unavailable = Some(id);
                }
            }
            let Some(ids) = &counted.ids else { continue };
            // A revision that nothing runs any more ends: its series are marked stale once.
            let value = |v: f64| counted.live.then_some(v);
            series.push(ids.ok, now, value(counted.ok));
            series.push(ids.failed, now, value(counted.failed));
            if let Some(id) = ids.unavailable {
                series.push(id, now, value(counted.unavailable));
            }
            for (id, count) in ids.buckets.iter().zip(counted.buckets) {
                series.push(*id, now, value(count));
            }
            series.push(ids.sum, now, value(counted.seconds));
            series.push(ids.count, now, value(counted.ok + counted.failed));
            counted.written = counted.live;
        }
        for worker in self.model.worker.clone() {
            let jitter = self.uniform();
            let ready = ready_pods(store, &self.namespace, &worker.name);
            let (id, lag) = self
                .lags
                .entry(worker.name.clone())
                .or_insert_with(|| (series.open("kafka_consumergroup_lag", &[("group", &worker.name)]), worker.lag));
            #[allow(clippy::cast_precision_loss, reason = "seconds between scrapes")]
            let arrived = worker.messages * self.model.scrape_s as f64;
            let usual = worker.lag * (0.7 + 0.6 * jitter);
            *lag = if ready == 0 { *lag + arrived } else { usual + (*lag - usual).max(0.0) * 0.5 };
            series.push(*id, now, Some(lag.round()));
        }
    }
}

/// The share of a log-normal with this median below a bound.
fn lognormal_below(bound: f64, median: f64) -> f64 {
    let z = (bound / median).ln() / SPREAD;
    // Abramowitz and Stegun 7.1.26, good to 1.5e-7.
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let tail = t
        * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))))
        * (-x * x).exp();
    if z >= 0.0 { 1.0 - tail / 2.0 } else { tail / 2.0 }
}

/// Flags of the namespace's FeatureFlag objects and flagd ConfigMaps, as the share of users that get the true value.
pub fn flags(store: &Store, namespace: &str) -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    for object in store.list(&kinds::FEATURE_FLAG, Some(namespace)) {
        let flags = object.pointer("/spec/flagSpec/flags").and_then(Value::as_object);
        out.extend(flags.into_iter().flatten().map(|(key, flag)| (key.clone(), share_of_flag(flag))));
    }
    for object in store.list(&kinds::CONFIG_MAP, Some(namespace)) {
        for text in object.pointer("/data").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::values) {
            let Some(text) = text.as_str().filter(|t| t.contains("defaultVariant")) else { continue };
            let Ok(Value::Object(definition)) = serde_json::from_str::<Value>(text) else { continue };
            let flags = definition.get("flags").and_then(Value::as_object);
            out.extend(flags.into_iter().flatten().map(|(key, flag)| (key.clone(), share_of_flag(flag))));
        }
    }
    out
}

/// The Jobs of a namespace that have completed.
pub fn completed(store: &Store, namespace: &str) -> BTreeSet<String> {
    let done = |c: &Value| fields::text(c, "/type") == "Complete" && fields::text(c, "/status") == "True";
    let jobs = store.list(&kinds::JOB, Some(namespace));
    jobs.filter(|j| fields::items(j, "/status/conditions").iter().any(done)).map(|j| j.name().to_owned()).collect()
}

fn share_of_flag(flag: &Value) -> f64 {
    if fields::text(flag, "/state") == "DISABLED" {
        return 0.0;
    }
    let is_true = |variant: &str| {
        f64::from(u8::from(
            flag.pointer("/variants").and_then(|v| v.get(variant)).and_then(Value::as_bool).unwrap_or(variant == "on"),
        ))
    };
    if let Some(split) = find_fractional(flag.get("targeting").unwrap_or(&Value::Null)) {
        let pairs: Vec<(&str, f64)> = split
            .iter()
            .filter_map(|p| Some((p.get(0)?.as_str()?, p.get(1).map_or(Some(1.0), Value::as_f64)?)))
            .collect();
        let all: f64 = pairs.iter().map(|(_, w)| w).sum();
        if all > 0.0 {
            return pairs.iter().map(|(v, w)| is_true(v) * w).sum::<f64>() / all;
        }
    }
    is_true(fields::text(flag, "/defaultVariant"))
}

/// The `fractional` rule of a targeting expression, wherever it stands.
fn find_fractional(rule: &Value) -> Option<&Vec<Value>> {
    match rule {
        Value::Object(map) => {
            map.get("fractional").and_then(Value::as_array).or_else(|| map.values().find_map(find_fractional))
        }
        Value::Array(list) => list.iter().find_map(find_fractional),
        _ => None,
    }
}

/// The workload of a service: its Rollout, else its Deployment.
fn workload(store: &Store, namespace: &str, service: &str) -> Option<Arc<Held>> {
    let rollout = store.get(&kinds::ROLLOUT, namespace, service);
    rollout.or_else(|| store.get(&kinds::DEPLOYMENT, namespace, service))
}

/// Hash, version and number of ready pods of each revision behind a Service.
type Backends = Vec<(String, String, usize)>;

/// (hash, version, ready pods) of the pods that a Service selects; of all pods of the workload without one.
fn backends(store: &Store, workload: &Value, service: Option<&Value>) -> Backends {
    let selector = service.and_then(|s| s.pointer("/spec/selector"));
    let mut out: Backends = Vec::new();
    for set in store.owned(&kinds::REPLICA_SET, fields::uid(workload)) {
        let hash = fields::label(&set, hash::ROLLOUT_HASH).or_else(|| fields::label(&set, hash::DEPLOYMENT_HASH));
        let ready = store
            .owned(&kinds::POD, fields::uid(&set))
            .iter()
            .filter(|p| pod::is_ready(p) && selector.is_none_or(|s| fields::selects(s, p.pointer("/metadata/labels"))))
            .count();
        if ready > 0 {
            out.push((hash.unwrap_or_default().to_owned(), version_of(&set), ready));
        }
    }
    out
}

fn ready_pods(store: &Store, namespace: &str, service: &str) -> usize {
    workload(store, namespace, service).map_or(0, |w| backends(store, &w, None).iter().map(|(_, _, n)| n).sum())
}

/// The tag of the first container's image in an object's template.
fn version_of(object: &Value) -> String {
    let image = fields::text(object, "/spec/template/spec/containers/0/image");
    let name = image.split('@').next().unwrap_or(image);
    name.rsplit_once(':').map_or("", |(_, tag)| if tag.contains('/') { "" } else { tag }).to_owned()
}

/// Where the requests to a service go now.
pub fn routes(store: &Store, namespace: &str, name: &str) -> Vec<Revision> {
    let Some(workload) = workload(store, namespace, name) else { return Vec::new() };
    let service = |name: &str| {
        if name.is_empty() { None } else { store.get(&kinds::SERVICE, namespace, name).map(|o| Value::clone(&o)) }
    };
    let text = |pointer: &str| fields::text(&workload, pointer).to_owned();
    let canary = text("/spec/strategy/canary/canaryService");
    let stable = text("/spec/strategy/canary/stableService");
    let ingress = text("/spec/strategy/canary/trafficRouting/nginx/stableIngress");
    let active = text("/spec/strategy/blueGreen/activeService");
    let mut weighted: Vec<(f64, Backends, String)> = Vec::new();
    if ingress.is_empty() {
        let through = if !active.is_empty() {
            service(&active)
        } else if !stable.is_empty() {
            service(&stable).map(|s| without_hash(&s))
        } else {
            service(&format!("{name}-stable"))
        };
        weighted.push((1.0, backends(store, &workload, through.as_ref()), String::new()));
    } else {
        let canary_ingress = store.get(&kinds::INGRESS, namespace, &format!("{name}-{ingress}-canary"));
        let weight = canary_ingress
            .as_deref()
            .and_then(|i| fields::annotation(i, "nginx.ingress.kubernetes.io/canary-weight"))
            .and_then(|w| w.parse::<f64>().ok())
            .unwrap_or(0.0);
        let total = canary_ingress
            .as_deref()
            .and_then(|i| fields::annotation(i, "nginx.ingress.kubernetes.io/canary-weight-total"))
            .and_then(|w| w.parse::<f64>().ok())
            .unwrap_or(100.0);
        let share = (weight / total).clamp(0.0, 1.0);
        for (share, name) in [(1.0 - share, &stable), (share, &canary)] {
            let through = service(name);
            let pointed = through.as_ref().map(selected_hash).unwrap_or_default();
            weighted.push((share, backends(store, &workload, through.as_ref()), pointed));
        }
    }
    let mut out: Vec<Revision> = Vec::new();
    let mut add = |hash: String, version: String, share: f64, up: bool| match out
        .iter_mut()
        .find(|r| r.hash == hash && r.up == up)
    {
        Some(revision) => revision.share += share,
        None => out.push(Revision { hash, version, share, up }),
    };
    for (share, backends, pointed) in weighted {
        #[allow(clippy::cast_precision_loss, reason = "a count of pods")]
        let all = backends.iter().map(|(_, _, n)| *n).sum::<usize>() as f64;
        if backends.is_empty() && share > 0.0 {
            let version = store
                .owned(&kinds::REPLICA_SET, fields::uid(&workload))
                .iter()
                .find(|s| fields::label(s, hash::ROLLOUT_HASH) == Some(pointed.as_str()))
                .map_or_else(String::new, |s| version_of(s));
            add(pointed, version, share, false);
            continue;
        }
        for (hash, version, n) in backends {
            #[allow(clippy::cast_precision_loss, reason = "a count of pods")]
            add(hash, version, share * n as f64 / all, true);
        }
    }
    out
}

fn selected_hash(service: &Value) -> String {
    service
        .pointer("/spec/selector")
        .and_then(|s| s.get(hash::ROLLOUT_HASH))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A Service without the hash in its selector: with a basic canary users reach all pods through the root Service.
fn without_hash(service: &Value) -> Value {
    let mut bare = service.clone();
    fields::remove(&mut bare, &["spec", "selector", hash::ROLLOUT_HASH]);
    bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_flag_for_some_is_a_share() {
        let flag = |targeting: Value, variant: &str| json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": variant, "targeting": targeting});
        assert!((share_of_flag(&flag(json!({}), "on")) - 1.0).abs() < 1e-9);
        assert!(share_of_flag(&flag(json!({}), "off")).abs() < 1e-9);
        let some = json!({"fractional": [["on", 25], ["off", 75]]});
        assert!((share_of_flag(&flag(some, "off")) - 0.25).abs() < 1e-9);
        let mut disabled = flag(json!({}), "on");
        disabled["state"] = json!("DISABLED");
        assert!(share_of_flag(&disabled).abs() < 1e-9);
    }

    #[test]
    fn counts_have_the_mean_and_spread_of_chance() {
        let model = Model { scrape_s: 5, service: Vec::new(), worker: Vec::new() };
        let mut traffic = Traffic::new(model, "shop", Vec::new(), Vec::new(), 1);
        for expected in [0.1, 2.0, 200.0] {
            let drawn: Vec<f64> = (0..4000).map(|_| traffic.drawn(expected)).collect();
            let mean = drawn.iter().sum::<f64>() / 4000.0;
            let variance = drawn.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 4000.0;
            assert!((mean / expected - 1.0).abs() < 0.1, "{mean} for {expected}");
            assert!((variance / expected - 1.0).abs() < 0.15, "{variance} for {expected}");
        }
    }

    #[test]
    fn the_latency_model_has_its_median_and_p95() {
        assert!((lognormal_below(0.1, 0.1) - 0.5).abs() < 1e-6);
        assert!((lognormal_below(0.1 * P95_OVER_MEDIAN, 0.1) - 0.95).abs() < 1e-3);
    }
}
