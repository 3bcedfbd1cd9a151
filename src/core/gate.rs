//! Gates: what an analysis asks for (metrics with their arguments filled in), how far a run of it has come, and its verdict
//! by `train.md` §3. Everything is read from raw objects and is hostile. Conditions are not evaluated and queries are not
//! sent here. How the controller counts: argo-rollouts-and-peers §1.4.

pub mod argument;
pub mod condition;
pub mod freshness;
pub mod value;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use self::argument::Arguments;
use self::value::Measured;
use super::object::Object;
use super::snapshot::{Limit, Point, Verdict};
use super::text::Text;

/// How many metrics of one analysis are looked at.
const METRICS_MAX: usize = 64;

/// How deep templates may name templates.
const TEMPLATES_DEPTH_MAX: usize = 8;

/// The controller's limit of errors in a row where the metric sets none.
const ERROR_LIMIT_DEFAULT: u32 = 4;

/// One metric of an analysis, arguments filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Metric {
    /// Its name.
    pub name: Text,
    /// What is asked (`prometheus`, `job`, `web`, …); empty when nothing is.
    pub provider: Text,
    /// The PromQL to send, or why it cannot be asked by ourselves. Raw: never for display.
    pub query: Result<String, Text>,
    /// The success condition; empty when there is none. Raw: never for display.
    pub success: String,
    /// The failure condition; empty when there is none. Raw: never for display.
    pub failure: String,
    /// The threshold, where the conditions have a plain one.
    pub limit: Option<Limit>,
    /// Time between measurements; none means a single one.
    pub interval: Option<Duration>,
    /// How many measurements are wanted; none means without end.
    pub wanted: Option<u32>,
    /// How many may fail; none means any number.
    pub failure_limit: Option<u32>,
    /// How many may be inconclusive.
    pub inconclusive_limit: u32,
    /// How many errors in a row are borne.
    pub error_limit: u32,
    /// True when it is only tried out and decides nothing.
    pub dry_run: bool,
    /// What could not be filled in, in one line; empty when all could.
    pub note: Text,
}

impl Metric {
    fn read(raw: &Value, arguments: &Arguments, dry_run: bool) -> Self {
        let mut note = Text::default();
        let mut resolved = |field: &Value| {
            let resolved = arguments.resolve(field.as_str().unwrap_or_default());
            if let (Some(why), true) = (&resolved.unusable, note.is_empty()) {
                note = why.clone();
            }
            resolved
        };
        let (success, failure) = (resolved(&raw["successCondition"]).text, resolved(&raw["failureCondition"]).text);
        let mut whole = |key: &str| match &raw[key] {
            Value::String(_) => resolved(&raw[key]).text.trim().parse::<i64>().ok(),
            other => value::integer(Some(other)),
        };
        let natural = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        let count = whole("count").filter(|n| *n > 0).map(natural);
        let failure_limit = whole("failureLimit").unwrap_or(0);
        let inconclusive_limit = whole("inconclusiveLimit").unwrap_or(0).max(0);
        let error_limit = whole("consecutiveErrorLimit").map_or(ERROR_LIMIT_DEFAULT, |n| natural(n.max(0)));
        let interval = value::duration(&resolved(&raw["interval"]).text).filter(|d| !d.is_zero());
        let provider = raw["provider"].as_object().and_then(|p| p.keys().next().map(|k| Text::scrub(k)));
        Self {
            name: Text::scrub(raw["name"].as_str().unwrap_or_default()),
            query: query(&raw["provider"], arguments),
            provider: provider.unwrap_or_default(),
            limit: condition::limit(&success, &failure),
            success,
            failure,
            interval,
            wanted: count.or(interval.is_none().then_some(1)),
            failure_limit: u32::try_from(failure_limit).ok(),
            inconclusive_limit: natural(inconclusive_limit),
            error_limit,
            dry_run,
            note,
        }
    }

    /// What it decides by, for the screen: the success condition, else the failure condition.
    pub fn condition(&self) -> Text {
        match (self.success.is_empty(), self.failure.is_empty()) {
            (false, _) => Text::scrub(&self.success),
            (true, false) => crate::text!("fails when {}", self.failure),
            (true, true) => Text::scrub("always passes: it has no condition"),
        }
    }
}

/// The PromQL of a provider.
fn query(provider: &Value, arguments: &Arguments) -> Result<String, Text> {
    let prometheus = &provider["prometheus"];
    let Some(query) = prometheus["query"].as_str() else {
        let name = provider.as_object().and_then(|p| p.keys().next()).map_or("no provider", String::as_str);
        return Err(crate::text!("measured by the controller alone ({name})"));
    };
    if prometheus["rangeQuery"].is_object() {
        return Err(Text::scrub("a range query; measured by the controller alone"));
    }
    arguments.resolve(query).usable()
}

/// True when a list of `dryRun` entries names the metric.
fn is_dry(list: &[Value], name: &str) -> bool {
    list.iter().filter_map(|d| d["metricName"].as_str()).any(|pattern| matches!(pattern, "*" | ".*") || pattern == name)
}

/// How far one metric of a run has come.
#[derive(Clone, PartialEq, Debug)]
pub struct Progress {
    /// What is measured.
    pub metric: Metric,
    /// As the controller says; empty before the first measurement.
    pub phase: Text,
    /// Its message.
    pub message: Text,
    /// Measurements taken.
    pub taken: u32,
    /// Of these good, bad, neither, and in error.
    pub counts: [u32; 4],
    /// Failures that are left before the metric fails; none means any number.
    pub failures_left: Option<u32>,
    /// Inconclusive measurements that are left.
    pub inconclusive_left: u32,
    /// Errors in a row that are left.
    pub errors_left: u32,
    /// The measurements that the controller kept, oldest first.
    pub points: Vec<Point>,
    /// Verdict so far: of the metric once it has ended, else of its latest measurement.
    pub verdict: Verdict,
    /// True once the controller has decided about this metric.
    pub ended: bool,
    /// What is missing or wrong, in one line; empty when nothing.
    pub note: Text,
}

/// All metrics of an analysis run, in the order of its spec.
pub fn progress(run: &Object) -> Vec<Progress> {
    let arguments = Arguments::of_run(run);
    let results = run.items("/status/metricResults");
    let dry = run.items("/spec/dryRun");
    let mut seen = BTreeSet::new();
    run.items("/spec/metrics")
        .iter()
        .filter(|m| m["name"].as_str().is_some_and(|name| seen.insert(name)))
        .take(METRICS_MAX)
        .map(|raw| {
            let name = raw["name"].as_str().unwrap_or_default();
            let result = results.iter().find(|r| r["name"].as_str() == Some(name)).unwrap_or(&Value::Null);
            let dry_run = result["dryRun"].as_bool().unwrap_or_else(|| is_dry(dry, name));
            Progress::read(Metric::read(raw, &arguments, dry_run), result)
        })
        .collect()
}

impl Progress {
    fn read(metric: Metric, result: &Value) -> Self {
        let count = |key: &str| value::count(result.get(key));
        let phase = Text::scrub(result["phase"].as_str().unwrap_or_default());
        let measurements: Vec<Measurement> = result["measurements"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(Measurement::read)
            .collect();
        let ended = is_terminal(&phase);
        let verdict = match phase.as_str() {
            "Failed" => Verdict::Fail,
            "Inconclusive" => Verdict::Inconclusive,
            "Successful" if measurements.iter().any(|m| m.is_good(&metric)) => Verdict::Pass,
            "Successful" | "Error" => Verdict::NoData,
            _ => match measurements.iter().rfind(|m| is_terminal(&m.phase)) {
                Some(m) if m.is_good(&metric) => Verdict::Pass,
                Some(m) if m.phase.as_str() == "Failed" => Verdict::Fail,
                Some(m) if m.phase.as_str() == "Inconclusive" => Verdict::Inconclusive,
                _ => Verdict::NoData,
            },
        };
        let counts = [count("successful"), count("failed"), count("inconclusive"), count("error")];
        let mut this = Self {
            failures_left: metric.failure_limit.map(|limit| limit.saturating_sub(counts[1])),
            inconclusive_left: metric.inconclusive_limit.saturating_sub(counts[2]),
            errors_left: metric.error_limit.saturating_sub(count("consecutiveError")),
            taken: count("count"),
            counts,
            message: Text::scrub(result["message"].as_str().unwrap_or_default()),
            points: measurements.iter().map(|m| Point { at: m.at, value: m.value.drawn() }).collect(),
            note: Text::default(),
            metric,
            phase,
            verdict,
            ended,
        };
        this.note = this.say(measurements.last());
        this
    }

    fn say(&self, last: Option<&Measurement>) -> Text {
        if !self.metric.note.is_empty() {
            return self.metric.note.clone();
        }
        if self.phase.as_str() == "Successful" && self.verdict == Verdict::NoData {
            return Text::scrub("called successful without one good measurement");
        }
        if !self.message.is_empty() {
            return self.message.clone();
        }
        let ended = self.ended_by();
        if !ended.is_empty() {
            return ended;
        }
        match last {
            None => Text::scrub("not measured yet"),
            Some(m) if !m.message.is_empty() => m.message.clone(),
            Some(m) => match &m.value {
                Measured::Numbers(n) if n.is_empty() => Text::scrub("the answer is empty"),
                Measured::Numbers(n) if n[0].is_nan() => Text::scrub("the answer is NaN"),
                Measured::Numbers(n) if n[0].is_infinite() => crate::text!("the answer is {}", infinity(n[0])),
                _ => Text::default(),
            },
        }
    }
}

impl Progress {
    /// Which limit ended the metric; empty when none did.
    fn ended_by(&self) -> Text {
        let [_, failed, inconclusive, errors] = self.counts;
        match self.phase.as_str() {
            "Failed" => match self.metric.failure_limit {
                Some(limit) => crate::text!("{failed} failed, at most {limit} may"),
                None => Text::scrub("not good often enough in a row"),
            },
            "Inconclusive" => {
                crate::text!("{inconclusive} inconclusive, at most {} may be", self.metric.inconclusive_limit)
            }
            "Error" => crate::text!("errors: {errors}, at most {} in a row", self.metric.error_limit),
            _ => Text::default(),
        }
    }
}

/// How Prometheus writes an infinity.
pub fn infinity(n: f64) -> &'static str {
    if n > 0.0 { "+Inf" } else { "-Inf" }
}

/// One measurement of a run.
struct Measurement {
    at: Timestamp,
    phase: Text,
    value: Measured,
    message: Text,
}

impl Measurement {
    fn read(raw: &Value) -> Option<Self> {
        let time = |key: &str| raw[key].as_str().and_then(|t| t.parse::<Timestamp>().ok());
        Some(Self {
            at: time("finishedAt").or_else(|| time("startedAt"))?,
            phase: Text::scrub(raw["phase"].as_str().unwrap_or_default()),
            value: Measured::read(raw["value"].as_str().unwrap_or_default()),
            message: Text::scrub(raw["message"].as_str().unwrap_or_default()),
        })
    }

    /// Successful, and it really measured something. A provider that gives no numbers (a Job) needs none.
    fn is_good(&self, metric: &Metric) -> bool {
        let empty_is_fine = metric.provider.as_str() != "prometheus" && self.value == Measured::Empty;
        self.phase.as_str() == "Successful" && (self.value.has_data() || empty_is_fine)
    }
}

fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive")
}

/// The verdict of a whole run by `train.md` §3; none while it has not ended. `Successful` counts only with a good
/// measurement of each metric that decides: the controller also calls a run successful that was ended early without any.
pub fn verdict(run: &Object) -> Option<Verdict> {
    match run.str("/status/phase")? {
        "Failed" => Some(Verdict::Fail),
        "Inconclusive" => Some(Verdict::Inconclusive),
        "Error" => Some(Verdict::NoData),
        "Successful" => {
            let all = progress(run);
            let mut deciding = all.iter().filter(|p| !p.metric.dry_run).peekable();
            let measured = deciding.peek().is_some() && deciding.all(|p| p.verdict == Verdict::Pass);
            Some(if measured { Verdict::Pass } else { Verdict::NoData })
        }
        _ => None,
    }
}

/// An analysis that a rollout asks for: which templates, with which arguments.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    /// Where in the rollout (`step 2/7`, `background`, `before the switch`, `after the switch`).
    pub place: Text,
    /// Names of AnalysisTemplates in the rollout's namespace. Raw: for looking up.
    pub templates: Vec<String>,
    /// True when a ClusterAnalysisTemplate is named, too; those are not read.
    pub cluster_scoped: bool,
    arguments: Vec<Value>,
    dry: Vec<Value>,
}

/// The analyses that matter next for a rollout: the background one and that of the next analysis step; where all steps are
/// done, the last one's. For blue-green those around the switch.
pub fn asked(rollout: &Object) -> Vec<Asked> {
    let mut out = Vec::new();
    let mut add = |place: Text, analysis: Option<&Value>| {
        let Some(analysis) = analysis.filter(|a| a["templates"].is_array()) else { return };
        let list = |key: &str| analysis[key].as_array().cloned().unwrap_or_default();
        let (cluster, own): (Vec<Value>, Vec<Value>) =
            list("templates").into_iter().partition(|t| t["clusterScope"].as_bool() == Some(true));
        out.push(Asked {
            place,
            templates: own.iter().filter_map(|t| t["templateName"].as_str().map(str::to_owned)).collect(),
            cluster_scoped: !cluster.is_empty(),
            arguments: list("args"),
            dry: list("dryRun"),
        });
    };
    let steps = rollout.items("/spec/strategy/canary/steps");
    let current = rollout.int("/status/currentStepIndex").and_then(|i| usize::try_from(i).ok()).unwrap_or(0);
    let has_analysis = |i: &usize| steps[*i]["analysis"].is_object();
    let next = (current.min(steps.len())..steps.len())
        .find(has_analysis)
        .or_else(|| (0..current.min(steps.len())).rfind(has_analysis));
    if let Some(i) = next {
        add(crate::text!("step {i}/{}", steps.len()), steps[i].get("analysis"));
    }
    add(Text::scrub("background"), rollout.raw("/spec/strategy/canary/analysis"));
    add(Text::scrub("before the switch"), rollout.raw("/spec/strategy/blueGreen/prePromotionAnalysis"));
    add(Text::scrub("after the switch"), rollout.raw("/spec/strategy/blueGreen/postPromotionAnalysis"));
    out
}

impl Asked {
    /// The metrics, arguments filled in as for a run that would start now; and what is missing, in words.
    /// `template` looks an AnalysisTemplate up by name.
    pub fn metrics<'o>(
        &self,
        rollout: &Object,
        template: impl Fn(&str) -> Option<&'o Object>,
    ) -> (Vec<Metric>, Option<Text>) {
        let mut missing = self.cluster_scoped.then(|| Text::scrub("its cluster-wide analysis templates are not read"));
        let mut found: Vec<&Object> = Vec::new();
        let mut names = BTreeSet::new();
        let mut wave: Vec<String> = self.templates.clone();
        for _ in 0..TEMPLATES_DEPTH_MAX {
            let mut next = Vec::new();
            for name in wave.iter().filter(|name| names.insert((*name).clone())) {
                let Some(object) = template(name) else {
                    missing.get_or_insert_with(|| crate::text!("there is no analysis template {name}"));
                    continue;
                };
                found.push(object);
                let inner = object.items("/spec/templates").iter();
                next.extend(inner.filter_map(|t| t["templateName"].as_str().map(str::to_owned)));
            }
            wave = next;
        }
        let arguments = Arguments::of_step(&found, &self.arguments, rollout);
        let mut seen = BTreeSet::new();
        let metrics = found
            .iter()
            .flat_map(|object| object.items("/spec/metrics").iter().map(move |raw| (*object, raw)))
            .filter(|(_, raw)| raw["name"].as_str().is_some_and(|name| seen.insert(name)))
            .take(METRICS_MAX)
            .map(|(object, raw)| {
                let name = raw["name"].as_str().unwrap_or_default();
                let dry = is_dry(&self.dry, name) || is_dry(object.items("/spec/dryRun"), name);
                Metric::read(raw, &arguments, dry)
            })
            .collect();
        (metrics, missing)
    }
}

/// What a single answer to a metric's query means, given what its conditions said about it. Conditions that are not there
/// are none; an error of theirs is no data. The rule is the controller's (utils/evaluate), but an answer without data
/// stays no data even where a condition accepts it.
pub fn judge(values: &[f64], success: Option<&Result<bool, Text>>, failure: Option<&Result<bool, Text>>) -> Verdict {
    if values.first().is_none_or(|v| v.is_nan()) {
        return Verdict::NoData;
    }
    match (success, failure) {
        (Some(Err(_)), _) | (_, Some(Err(_))) => Verdict::NoData,
        (_, Some(Ok(true))) => Verdict::Fail,
        (Some(Ok(true)) | None, _) => Verdict::Pass,
        (Some(Ok(false)), None) => Verdict::Fail,
        (Some(Ok(false)), Some(Ok(false))) => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests;
