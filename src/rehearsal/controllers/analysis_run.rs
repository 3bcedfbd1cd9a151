//! The AnalysisRun controller, held to Argo Rollouts 1.10.1: when a measurement is due, what it counts as, when a metric
//! and a run are decided. Taking the value is `analysis_run/measure.rs`, judging it `analysis_run/condition.rs`.

pub mod condition;
mod measure;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::kinds;
use super::agenda::Task;
use super::desk::Desk;
use super::fields;

const COMPONENT: &str = "rollouts-controller";

/// Measurements kept of a metric, unless its retention says more.
const KEPT: usize = 10;

/// The wait before a failed measurement is repeated, seconds.
const RETRY_S: i64 = 10;

fn over(phase: &str) -> bool {
    matches!(phase, "Successful" | "Failed" | "Error" | "Inconclusive")
}

/// One metric of the run, arguments filled in.
struct Metric {
    raw: Value,
    name: String,
    dry: bool,
    keep: usize,
    interval: Option<SignedDuration>,
    initial_delay: Option<SignedDuration>,
}

impl Metric {
    fn limit(&self, field: &str) -> Option<i64> {
        match self.raw.get(field)? {
            Value::Number(n) => n.as_i64(),
            Value::String(s) => s.parse().ok(),
            _ => None,
        }
    }

    /// How many measurements there are to be; none means without end.
    fn count(&self) -> Option<i64> {
        match self.limit("count") {
            None | Some(0) => self.interval.is_none().then_some(1),
            Some(n) => Some(n),
        }
    }

    /// Failed, Inconclusive or Error once a limit is passed, and which; the graver wins.
    fn beyond_limits(&self, result: &Value) -> Option<(&'static str, String)> {
        let of = |field: &str| fields::count(result, &format!("/{field}"));
        let mut found = None;
        let failures = self.limit("failureLimit").unwrap_or(0);
        if failures >= 0 && of("failed") > failures {
            found = Some(("Failed", format!("failed ({}) > failureLimit ({failures})", of("failed"))));
        }
        let undecided = self.limit("inconclusiveLimit").unwrap_or(0);
        if of("inconclusive") > undecided {
            let why = format!("inconclusive ({}) > inconclusiveLimit ({undecided})", of("inconclusive"));
            found = Some(("Inconclusive", why));
        }
        let errors = self.limit("consecutiveErrorLimit").unwrap_or(4);
        if of("consecutiveError") > errors {
            let why = format!("consecutiveErrors ({}) > consecutiveErrorLimit ({errors})", of("consecutiveError"));
            found = Some(("Error", why));
        }
        found
    }

    /// The metric's phase after its latest measurement.
    fn assess(&self, result: &Value, terminating: bool) -> &'static str {
        let phase = fields::text(result, "/phase");
        if let Some(known) = ["Successful", "Failed", "Error", "Inconclusive"].iter().find(|p| **p == phase) {
            return known;
        }
        let Some(last) = fields::items(result, "/measurements").last() else {
            return if terminating { "Successful" } else { "Pending" };
        };
        if !over(fields::text(last, "/phase")) {
            return "Running";
        }
        if let Some((phase, _)) = self.beyond_limits(result) {
            return phase;
        }
        let in_a_row = self.limit("consecutiveSuccessLimit").unwrap_or(0);
        if in_a_row > 0 && fields::count(result, "/consecutiveSuccess") >= in_a_row {
            return "Successful";
        }
        if self.count().is_some_and(|count| fields::count(result, "/count") >= count) {
            let failure_counts = self.limit("failureLimit").unwrap_or(0) >= 0;
            return match (failure_counts, in_a_row > 0) {
                (true, true) => "Inconclusive",
                (false, true) => "Failed",
                _ => "Successful",
            };
        }
        if terminating { "Successful" } else { "Running" }
    }
}

/// Reconciles one AnalysisRun.
pub fn reconcile(desk: &mut Desk<'_>, namespace: &str, name: &str) {
    let Some(run) = desk.get(&kinds::ANALYSIS_RUN, namespace, name) else { return };
    if run.pointer("/metadata/deletionTimestamp").is_some() || over(fields::text(&run, "/status/phase")) {
        return;
    }
    let mut status = run.get("status").filter(|s| s.is_object()).cloned().unwrap_or_else(|| json!({}));
    let metrics = match metrics(&run) {
        Ok(metrics) => metrics,
        Err(why) => {
            status["phase"] = json!("Error");
            status["message"] = json!(why);
            finish(desk, &run, status);
            return;
        }
    };
    if !status["metricResults"].is_array() {
        status["metricResults"] = json!([]);
    }
    measure_due(desk, &run, &metrics, &mut status);
    let before = fields::text(&run, "/status/phase").to_owned();
    let (phase, message) = assess(desk, &run, &metrics, &mut status);
    if phase != before {
        status["phase"] = json!(phase);
        set_text(&mut status, "message", &message);
    }
    for metric in &metrics {
        if let Some(measurements) = result_mut(&mut status, &metric.name).and_then(|r| r["measurements"].as_array_mut())
        {
            let surplus = measurements.len().saturating_sub(metric.keep);
            measurements.drain(..surplus);
        }
    }
    if over(&phase) {
        if status.get("completedAt").is_none() {
            status["completedAt"] = json!(fields::stamp(desk.now()));
        }
        finish(desk, &run, status);
        return;
    }
    let next = next_due(&metrics, &status, desk.now());
    if run.get("status") != Some(&status) {
        desk.update(&kinds::ANALYSIS_RUN, &run, |o| o["status"] = status);
    }
    if let Some(at) = next {
        let at = at.max(desk.now());
        desk.once_past(at, Task::AnalysisRun(namespace.to_owned(), name.to_owned()));
    }
}

fn set_text(object: &mut Value, field: &str, text: &str) {
    if text.is_empty() {
        fields::remove(object, &[field]);
    } else {
        object[field] = json!(text);
    }
}

fn finish(desk: &mut Desk<'_>, run: &Value, status: Value) {
    let phase = fields::text(&status, "/phase").to_owned();
    let warning = matches!(phase.as_str(), "Error" | "Failed");
    let message = format!("Analysis Completed. Result: {phase}");
    desk.store.record_event(run, warning, &format!("AnalysisRun{phase}"), &message, COMPONENT);
    desk.update(&kinds::ANALYSIS_RUN, run, |o| o["status"] = status);
}

/// The run's metrics with their arguments filled in, validated; the text is the run's message.
fn metrics(run: &Value) -> Result<Vec<Metric>, String> {
    let raw = fields::items(run, "/spec/metrics");
    let matched = |list: &str, name: &str| {
        fields::items(run, &format!("/spec/{list}"))
            .iter()
            .find(|r| regex::Regex::new(fields::text(r, "/metricName")).is_ok_and(|p| p.is_match(name)))
            .cloned()
    };
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in raw {
        let args = fields::items(run, "/spec/args");
        let metric =
            measure::with_arguments(metric, args).map_err(|e| format!("Unable to resolve metric arguments: {e}"))?;
        let name = fields::text(&metric, "/name").to_owned();
        let keep = matched("measurementRetention", &name).map_or(0, |r| fields::count(&r, "/limit"));
        metrics.push(Metric {
            dry: matched("dryRun", &name).is_some(),
            keep: if keep > 0 { usize::try_from(keep).unwrap_or(KEPT) } else { KEPT },
            interval: metric.get("interval").and_then(fields::duration),
            initial_delay: metric.get("initialDelay").and_then(fields::duration),
            name,
            raw: metric,
        });
    }
    validate(&metrics).map_err(|why| format!("Analysis spec invalid: {why}"))?;
    Ok(metrics)
}

fn validate(metrics: &[Metric]) -> Result<(), String> {
    if metrics.is_empty() {
        return Err("no metrics specified".to_owned());
    }
    for (i, metric) in metrics.iter().enumerate() {
        let at = |why: String| Err(format!("metrics[{i}]: {why}"));
        if metrics[..i].iter().any(|m| m.name == metric.name) {
            return at(format!("duplicate name '{}'", metric.name));
        }
        let of = |field: &str| metric.limit(field).unwrap_or(0);
        let (count, failures, in_a_row) = (of("count"), of("failureLimit"), of("consecutiveSuccessLimit"));
        if failures < -1 {
            return at("failureLimit must be >= 0, or -1 to be disabled".to_owned());
        }
        if in_a_row == 0 && failures == -1 {
            return at("failureLimit and consecutiveSuccessLimit cannot both be disabled".to_owned());
        }
        if of("inconclusiveLimit") < 0 {
            return at("inconclusiveLimit must be >= 0".to_owned());
        }
        if count > 0 && failures >= 0 && count < failures + in_a_row {
            return at(format!(
                "count ({count}) must be >= failureLimit + consecutiveSuccessLimit ({failures} + {in_a_row}) if both >= 0"
            ));
        }
        if count > 0 && count < of("inconclusiveLimit") {
            return at("count must be >= inconclusiveLimit".to_owned());
        }
        if count > 1 && metric.raw.get("interval").is_none() {
            return at("interval must be specified when count > 1".to_owned());
        }
        if metric.raw.get("interval").is_some() && metric.interval.is_none() {
            return at(format!(
                "invalid interval string: time: invalid duration {:?}",
                fields::text(&metric.raw, "/interval")
            ));
        }
        let providers = metric.raw.get("provider").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        match providers {
            0 => return at("no provider specified".to_owned()),
            1 => {}
            _ => return at("multiple providers specified".to_owned()),
        }
    }
    Ok(())
}

fn result<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    fields::items(status, "/metricResults").iter().find(|r| fields::text(r, "/name") == name)
}

fn result_mut<'a>(status: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    status["metricResults"].as_array_mut()?.iter_mut().find(|r| fields::text(r, "/name") == name)
}

fn terminating(run: &Value, status: &Value) -> bool {
    fields::flag(run, "/spec/terminate")
        || fields::items(status, "/metricResults")
            .iter()
            .filter(|r| !fields::flag(r, "/dryRun"))
            .any(|r| matches!(fields::text(r, "/phase"), "Failed" | "Error" | "Inconclusive"))
}

/// When the next measurement of a metric is due; none when there is none.
fn due(metric: &Metric, status: &Value, now: Timestamp) -> Option<Timestamp> {
    let result = result(status, &metric.name);
    if result.is_some_and(|r| over(fields::text(r, "/phase"))) {
        return None;
    }
    let last = result.and_then(|r| fields::items(r, "/measurements").last());
    let Some(last) = last else {
        return match metric.initial_delay {
            None => Some(now),
            Some(delay) => fields::time(status, "/startedAt").unwrap_or(now).saturating_add(delay).ok(),
        };
    };
    let taken = result.map_or(0, |r| fields::count(r, "/count"));
    if metric.count().is_some_and(|count| taken >= count) {
        return None;
    }
    let wait = match (fields::text(last, "/phase"), metric.interval) {
        ("Error", _) => SignedDuration::from_secs(RETRY_S),
        (_, Some(interval)) => interval,
        (_, None) => return None,
    };
    fields::time(last, "/finishedAt").and_then(|at| at.saturating_add(wait).ok())
}

fn next_due(metrics: &[Metric], status: &Value, now: Timestamp) -> Option<Timestamp> {
    metrics.iter().filter_map(|m| due(m, status, now)).min()
}

fn measure_due(desk: &mut Desk<'_>, run: &Value, metrics: &[Metric], status: &mut Value) {
    if terminating(run, status) {
        return;
    }
    let now = desk.now();
    for metric in metrics {
        let first = result(status, &metric.name).is_none();
        let delayed = metric.initial_delay.is_some() && first && status.get("startedAt").is_none();
        match due(metric, status, now) {
            Some(at) if !delayed && (at < now || (first && at <= now)) => {}
            _ => continue,
        }
        let (phase, value, message) = measure::take(desk, &metric.raw);
        let stamp = fields::stamp(now);
        let mut measurement = json!({ "phase": phase, "startedAt": stamp, "finishedAt": stamp });
        set_text(&mut measurement, "value", &value);
        set_text(&mut measurement, "message", &message);
        if first {
            let mut made = json!({ "name": metric.name, "phase": "Running", "measurements": [] });
            if metric.dry {
                made["dryRun"] = json!(true);
            }
            made["metadata"] =
                json!({ "ResolvedPrometheusQuery": fields::text(&metric.raw, "/provider/prometheus/query") });
            if fields::text(&made, "/metadata/ResolvedPrometheusQuery").is_empty() {
                fields::remove(&mut made, &["metadata"]);
            }
            if let Some(results) = status["metricResults"].as_array_mut() {
                results.push(made);
            }
        }
        let Some(result) = result_mut(status, &metric.name) else { continue };
        let mut add = |field: &str, by: i64| {
            let n = fields::count(result, &format!("/{field}"));
            result[field] = json!(if by == 0 { 0 } else { n + by });
        };
        match phase {
            "Successful" => {
                add("successful", 1);
                add("count", 1);
                add("consecutiveSuccess", 1);
            }
            "Failed" | "Inconclusive" => {
                add(if phase == "Failed" { "failed" } else { "inconclusive" }, 1);
                add("count", 1);
                add("consecutiveSuccess", 0);
            }
            _ => {
                add("error", 1);
                add("consecutiveError", 1);
                add("consecutiveSuccess", 0);
            }
        }
        if phase != "Error" {
            add("consecutiveError", 0);
        }
        if let Some(map) = result.as_object_mut() {
            map.retain(|_, v| v.as_i64() != Some(0));
        }
        if let Some(measurements) = result["measurements"].as_array_mut() {
            measurements.push(measurement);
        }
    }
}

/// Which of two phases is worse.
fn gravity(phase: &str) -> usize {
    ["Successful", "Inconclusive", "Error", "Failed"].iter().position(|p| *p == phase).map_or(0, |i| i + 1)
}

/// Decides each metric and the run; records what was decided.
fn assess(desk: &mut Desk<'_>, run: &Value, metrics: &[Metric], status: &mut Value) -> (String, String) {
    let ending = terminating(run, status);
    if status.get("startedAt").is_none() {
        status["startedAt"] = json!(fields::stamp(desk.now()));
    }
    let mut worst = String::new();
    let mut message = if fields::flag(run, "/spec/terminate") { "Run Terminated".to_owned() } else { String::new() };
    let mut all_done = true;
    let mut summaries = [[0_i64; 5], [0_i64; 5]];
    for metric in metrics {
        let summary = &mut summaries[usize::from(metric.dry)];
        summary[0] += 1;
        let Some(result) = result_mut(status, &metric.name) else {
            all_done = false;
            continue;
        };
        let phase = metric.assess(result, ending);
        if fields::text(result, "/phase") != phase {
            let last = fields::items(result, "/measurements").last();
            let own = last.map(|m| fields::text(m, "/message").to_owned()).unwrap_or_default();
            result["phase"] = json!(phase);
            set_text(result, "message", &own);
            if over(phase) {
                let warning = matches!(phase, "Error" | "Failed");
                let words = format!("Metric '{}' Completed. Result: {phase}", metric.name);
                desk.store.record_event(run, warning, &format!("Metric{phase}"), &words, COMPONENT);
            }
        }
        if !over(phase) {
            all_done = false;
            continue;
        }
        let limit = metric.beyond_limits(result);
        summary[match limit.as_ref().map_or("Successful", |(p, _)| *p) {
            "Failed" => 2,
            "Inconclusive" => 3,
            "Error" => 4,
            _ => 1,
        }] += 1;
        let own = fields::text(result, "/message").to_owned();
        if metric.dry {
            if worst.is_empty() {
                worst = "Successful".to_owned();
            }
            if let Some((_, why)) = limit {
                result["message"] = json!(format!("Metric assessed {phase} due to {why}"));
            }
        } else if worst.is_empty() || gravity(phase) > gravity(&worst) {
            worst = phase.to_owned();
            if let Some((_, why)) = limit {
                message = format!("Metric \"{}\" assessed {phase} due to {why}", metric.name);
                if !own.is_empty() {
                    message = format!("{message}: \"Error Message: {own}\"");
                }
            }
        }
    }
    let summary = |n: [i64; 5]| {
        let mut summary =
            json!({ "count": n[0], "successful": n[1], "failed": n[2], "inconclusive": n[3], "error": n[4] });
        if let Some(map) = summary.as_object_mut() {
            map.retain(|_, v| v.as_i64() != Some(0));
        }
        summary
    };
    status["runSummary"] = summary(summaries[0]);
    status["dryRunSummary"] = summary(summaries[1]);
    // A limit passed in this very round ends the others in the next.
    if ending {
        let worst = if worst.is_empty() { "Successful".to_owned() } else { worst };
        return (worst, message.trim().to_owned());
    }
    if !all_done || worst.is_empty() {
        return ("Running".to_owned(), String::new());
    }
    (worst, message.trim().to_owned())
}
