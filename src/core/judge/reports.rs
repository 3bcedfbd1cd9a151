//! What others found: analysis runs of the controller, synthetic checks, Flagger. Each is one report with a word; how the
//! words weigh against our own measurements is decided by the judge.

use super::verdict::Cause;
use crate::core::gate;
use crate::core::object::Object;
use crate::core::snapshot::Verdict;
use crate::core::text::Text;
use crate::text;

/// How many reports are remembered of one service.
const REPORTS_MAX: usize = 32;

/// What the names of synthetic checks begin with.
const CHECK: &str = "check ";

/// What a report comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// It still runs.
    Running,
    /// Measured and good.
    Pass,
    /// Measured and bad.
    Fail,
    /// Measured, neither: holds until a person decides.
    Inconclusive,
    /// Nothing was measured.
    NoData,
    /// The controller gave up measuring and has taken the canary back by itself: nothing is left to approve.
    Aborted,
}

/// One finding of somebody else.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Who and what (`analysis run billing-api-7c9-4-2`, `check smoke`, `Flagger`). A later report of that name replaces it.
    pub name: Text,
    /// What it comes to.
    pub word: Word,
    /// In one line.
    pub why: Text,
    /// What a failure means.
    pub cause: Cause,
}

impl Report {
    /// What an analysis run says (`train.md` §3): `Successful` counts only with a good measurement of each metric.
    pub fn of_run(run: &Object) -> Self {
        let name = text!("analysis run {}", run.name());
        let metrics = gate::progress(run);
        let ended = gate::verdict(run);
        let word = match ended {
            None => Word::Running,
            Some(Verdict::Pass) => Word::Pass,
            Some(Verdict::Fail) => Word::Fail,
            Some(Verdict::Inconclusive) => Word::Inconclusive,
            Some(Verdict::NoData) if run.str("/status/phase") == Some("Error") => Word::Aborted,
            Some(Verdict::NoData) => Word::NoData,
        };
        let telling = metrics.iter().filter(|p| !p.metric.dry_run && Some(p.verdict) == ended);
        let mut cause = None;
        let mut why = Text::default();
        for progress in telling {
            let note = if progress.note.is_empty() { progress.metric.condition() } else { progress.note.clone() };
            why = if why.is_empty() {
                text!("{}: {note}", progress.metric.name)
            } else {
                text!("{why}; {}: {note}", progress.metric.name)
            };
            // A wrong answer is worse news than a slow one.
            cause = if is_latency(&progress.metric) { cause.or(Some(Cause::Performance)) } else { Some(Cause::Logic) };
        }
        if why.is_empty() {
            why = Text::scrub(run.str("/status/message").filter(|m| !m.is_empty()).unwrap_or("no metric says why"));
        }
        Self { name, word, why, cause: cause.unwrap_or(Cause::Logic) }
    }

    /// What a Flagger Canary says of its own analysis.
    pub fn of_canary(canary: &Object) -> Self {
        let phase = canary.str("/status/phase").unwrap_or_default();
        let failed = canary.int("/status/failedChecks").unwrap_or(0);
        let limit = canary.int("/spec/analysis/threshold").unwrap_or(0);
        let word = match phase {
            "Failed" => Word::Fail,
            "Promoting" | "Finalising" | "Succeeded" => Word::Pass,
            _ => Word::Running,
        };
        let phase = if phase.is_empty() { "no phase yet" } else { phase };
        Self {
            name: Text::scrub("Flagger"),
            word,
            why: text!("{phase}, {failed} of {limit} checks failed"),
            cause: Cause::Logic,
        }
    }

    /// What a synthetic check said: passed or not, or that it could not be made.
    pub fn of_check(name: &Text, passed: Option<bool>, why: Text) -> Self {
        let word = match passed {
            Some(true) => Word::Pass,
            Some(false) => Word::Fail,
            None => Word::NoData,
        };
        Self { name: text!("{CHECK}{name}"), word, why, cause: Cause::Logic }
    }
}

fn is_latency(metric: &gate::Metric) -> bool {
    let query = metric.query.as_deref().unwrap_or_default();
    query.contains("histogram_quantile") || ["latency", "duration"].iter().any(|w| metric.name.contains(w))
}

/// The reports about one service.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Reports(Vec<Report>);

impl Reports {
    /// Takes one; a later one of the same name replaces an earlier one.
    pub fn put(&mut self, report: Report) {
        if let Some(held) = self.0.iter_mut().find(|r| r.name == report.name) {
            *held = report;
            return;
        }
        if self.0.len() >= REPORTS_MAX {
            // What is bad is remembered longest.
            let oldest = self.0.iter().position(|r| r.word == Word::Pass).unwrap_or(0);
            self.0.remove(oldest);
        }
        self.0.push(report);
    }

    /// A step was left: what was found out about it is past, but a failure stays.
    pub fn step_left(&mut self) {
        self.0.retain(|r| matches!(r.word, Word::Fail | Word::Aborted));
    }

    /// No synthetic check is made any more: what the last ones said is past.
    pub fn checks_over(&mut self) {
        self.0.retain(|r| !r.name.starts_with(CHECK));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All that are held, oldest first.
    pub fn all(&self) -> &[Report] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(phase: &str, metrics: &[(&str, &str, &str, &str)]) -> Report {
        let spec: Vec<_> = metrics
            .iter()
            .map(|(name, query, ..)| {
                json!({"name": name, "successCondition": "result[0] < 1", "provider": {"prometheus": {"query": query}}})
            })
            .collect();
        let results: Vec<_> = metrics
            .iter()
            .map(|(name, _, phase, value)| {
                json!({"name": name, "phase": phase, "failed": 1, "measurements": [
                    {"phase": phase, "value": value, "finishedAt": "2025-10-02T13:00:00Z"}]})
            })
            .collect();
        Report::of_run(&Object::new(json!({
            "metadata": {"name": "r-1"}, "spec": {"metrics": spec}, "status": {"phase": phase, "metricResults": results}
        })))
    }

    #[test]
    fn a_run_is_read_as_the_specification_says() {
        let good = ("errors", "up", "Successful", "[0.1]");
        let empty = ("latency", "histogram_quantile(0.9, x)", "Successful", "[]");
        let slow = ("latency", "histogram_quantile(0.9, x)", "Failed", "[3]");
        let wrong = ("errors", "up", "Failed", "[3]");
        assert_eq!(run("Running", &[good]).word, Word::Running);
        assert_eq!(run("Successful", &[good]).word, Word::Pass);
        assert_eq!(run("Successful", &[good, empty]).word, Word::NoData, "not each metric was measured");
        assert_eq!(run("Successful", &[]).word, Word::NoData);
        assert_eq!(run("Inconclusive", &[good]).word, Word::Inconclusive);
        assert_eq!(run("Error", &[good]).word, Word::Aborted);
        let fails = |metrics: &[_]| (run("Failed", metrics).word, run("Failed", metrics).cause);
        assert_eq!(fails(&[good, slow]), (Word::Fail, Cause::Performance));
        assert_eq!(fails(&[wrong, slow]), (Word::Fail, Cause::Logic));
        assert_eq!(run("Failed", &[empty, wrong]).why, "errors: 1 failed, at most 0 may");
    }

    #[test]
    fn flagger_and_checks_are_heard() {
        let canary = |phase: &str| {
            let object = json!({"spec": {"analysis": {"threshold": 5}}, "status": {"phase": phase, "failedChecks": 2}});
            Report::of_canary(&Object::new(object))
        };
        assert_eq!(canary("Failed").word, Word::Fail);
        assert_eq!((canary("Progressing").word, canary("").word), (Word::Running, Word::Running));
        assert_eq!(canary("Succeeded").word, Word::Pass);
        assert_eq!(canary("Progressing").why, "Progressing, 2 of 5 checks failed");
        let check = |passed| Report::of_check(&"smoke".into(), passed, "x".into()).word;
        assert_eq!([check(Some(true)), check(Some(false)), check(None)], [Word::Pass, Word::Fail, Word::NoData]);
    }

    #[test]
    fn a_later_report_replaces_and_a_failure_outlives_its_step() {
        let mut reports = Reports::default();
        let put = |reports: &mut Reports, name: &str, passed| {
            reports.put(Report::of_check(&name.into(), passed, Text::default()));
        };
        put(&mut reports, "a", None);
        put(&mut reports, "a", Some(true));
        put(&mut reports, "b", Some(false));
        assert_eq!(reports.all().len(), 2);
        reports.step_left();
        assert_eq!(reports.all().iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["check b"]);
        for n in 0..1000 {
            put(&mut reports, &n.to_string(), Some(true));
        }
        assert_eq!((reports.all().len(), reports.all()[0].word), (REPORTS_MAX, Word::Fail));
    }
}
