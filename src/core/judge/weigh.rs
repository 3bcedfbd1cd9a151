//! How a judge weighs what it holds into a verdict: each part gives its findings, and the harshest tells.

use std::time::Duration;

use super::pods::{self, Health};
use super::reports::Word;
use super::rules::{self, Compared, Finding, thousands};
use super::sample::Arm;
use super::sequential::Before;
use super::verdict::{Cause, Judgement};
use super::window::Held;
use super::{Arms, Backlog, Judge};
use crate::core::slo::GateBy;
use crate::core::snapshot::Verdict;
use crate::core::text::Text;
use crate::text;

impl Judge {
    /// The verdict at this moment. Called every few seconds; rules that count evaluations count each moment once.
    pub fn judge(&mut self, at: Duration) -> Judgement {
        let counts = self.judged.is_none_or(|last| at >= last + self.settings.evaluate / 2);
        let mut findings: Vec<Finding> = Vec::new();
        let mut out = self.blank(at);
        if self.flight.is_some() {
            findings
                .extend(pods::broken(&self.pods, &self.settings).map(|why| Finding::fail(Cause::Infrastructure, why)));
        }
        // Without a version in flight there are reports of checks alone: of a flag that moves.
        self.weigh_reports(&mut findings, &mut out);
        let good = match self.subject.gate {
            GateBy::Health => self.weigh_health(at, &mut findings, &mut out),
            GateBy::Metrics => self.weigh_metrics(at, counts, &mut findings, &mut out),
        };
        let harsh = |v: Verdict| match v {
            Verdict::Fail => 3,
            Verdict::NoData => 2,
            Verdict::Inconclusive => 1,
            Verdict::Pass => 0,
        };
        // The first of the harshest tells why.
        let telling = findings.iter().rev().max_by_key(|f| harsh(f.verdict));
        if let Some(finding) = telling {
            out.verdict = finding.verdict;
            out.cause = finding.cause;
            out.why = finding.why.clone();
            out.needed = finding.needed;
        } else {
            (out.verdict, out.why) = (Verdict::Pass, good);
        }
        out.settling |= findings.iter().all(|f| f.waits);
        out.settling &= out.verdict != Verdict::Fail && out.verdict != Verdict::Pass;
        if counts {
            let traffic = self.flight.as_ref().is_some_and(|f| f.weight > 0.0);
            let blind = out.verdict == Verdict::NoData && !out.settling;
            self.budget.evaluated(at, blind, traffic, out.verdict == Verdict::Pass);
            self.judged = Some(at);
        }
        out.blind_for = self.budget.used();
        out.blind_spent = out.verdict == Verdict::NoData && out.blind_for >= self.settings.no_data;
        out
    }

    fn blank(&self, at: Duration) -> Judgement {
        Judgement {
            service: self.subject.name.clone(),
            at,
            verdict: Verdict::NoData,
            cause: None,
            why: Text::default(),
            requests: 0,
            needed: None,
            estimated: false,
            settling: false,
            in_flight: self.flight.is_some(),
            blind_for: Duration::ZERO,
            blind_spent: false,
            aborted: false,
            fresh_for: self.settings.evaluate * 3,
            numbers: None,
        }
    }

    fn weigh_reports(&self, findings: &mut Vec<Finding>, out: &mut Judgement) {
        for report in self.reports.all() {
            let why = text!("{}: {}", report.name, report.why);
            findings.push(match report.word {
                Word::Pass => continue,
                Word::Running => Finding::running(text!("{} still runs", report.name)),
                Word::Inconclusive => Finding::inconclusive(why),
                Word::NoData => Finding::no_data(why),
                Word::Fail => Finding::fail(report.cause, why),
                Word::Aborted => {
                    out.aborted = true;
                    Finding::no_data(text!("{why}; the controller has taken the canary back"))
                }
            });
        }
    }

    /// Health as a gate of its own. Lag and pods that are not well for a whole window are a fail: a worker has no other
    /// numbers that could.
    fn weigh_health(&mut self, at: Duration, findings: &mut Vec<Finding>, out: &mut Judgement) -> Text {
        let (bake, window) = (self.settings.bake, self.settings.window);
        let Some(flight) = &mut self.flight else {
            // Another service's new version, or a flag, may be what holds it up.
            let over = self.lag.zip(self.subject.max_lag).filter(|(lag, limit)| lag > limit);
            let Some((lag, limit)) = over else {
                self.backlog = Backlog { was_good: self.backlog.was_good || self.lag.is_some(), since: None };
                return Text::scrub("not in flight");
            };
            let ill = at.saturating_sub(*self.backlog.since.get_or_insert(at));
            if self.backlog.was_good && ill >= window {
                let why = text!("lag {lag:.0} over {limit:.0} for {} s", ill.as_secs());
                findings.push(Finding::fail(Cause::Performance, why));
            }
            return text!("not in flight; lag {lag:.0} (limit {limit:.0})");
        };
        self.backlog = Backlog::default();
        match pods::health(&self.pods, self.lag, self.subject.max_lag) {
            Health::Good => {
                flight.unhealthy_since = None;
                let since = *flight.healthy_since.get_or_insert(at);
                let held = at.saturating_sub(since);
                if held < bake {
                    out.settling = true;
                    findings.push(Finding::inconclusive(text!(
                        "healthy for {} of {} s",
                        held.as_secs(),
                        bake.as_secs()
                    )));
                }
                text!("all pods ({}) healthy for {} s; no metric gate", self.pods.len(), held.as_secs())
            }
            Health::Not(why) => {
                flight.healthy_since = None;
                let since = *flight.unhealthy_since.get_or_insert(at);
                let ill = at.saturating_sub(since);
                // Pods need a while to come up, and a backlog to be worked off.
                out.settling = at.saturating_sub(flight.since) < window;
                let lags = why.starts_with("lag");
                findings.push(if lags && ill >= window {
                    Finding::fail(Cause::Performance, text!("{why} for {} s", ill.as_secs()))
                } else {
                    Finding::inconclusive(why)
                });
                Text::default()
            }
            Health::NoData(why) => {
                flight.healthy_since = None;
                out.settling = at.saturating_sub(flight.since) < window;
                findings.push(Finding::no_data(why));
                Text::default()
            }
        }
    }

    /// The rules on requests. Gives what a pass rests on.
    fn weigh_metrics(&mut self, at: Duration, counts: bool, findings: &mut Vec<Finding>, out: &mut Judgement) -> Text {
        let settings = self.settings;
        let arm = self.judged_arm();
        let weight = self.flight.as_ref().map_or(1.0, |f| f.weight);
        let estimated = self.subject.arms == Arms::Estimated && weight > 0.0 && weight < 1.0 && self.flight.is_some();
        let part = if estimated { weight } else { 1.0 };
        let requests = |held: &Held| held.of(arm).requests * part;
        let held = self.recent.last(at, settings.window, |held| requests(held) >= settings.requests_min);
        let n = requests(&held);
        out.estimated = estimated;
        out.requests = n.round() as u64;
        if let Some(flight) = &self.flight {
            let scrape = self.scrapes.interval().unwrap_or(settings.evaluate);
            out.settling = at.saturating_sub(flight.since) < settings.window + scrape * 2 + settings.evaluate;
            if flight.weight <= 0.0 {
                out.settling = true;
                findings.push(Finding::no_data(Text::scrub("the new revision receives no traffic yet")));
                return Text::default();
            }
        }
        let said = self.weigh_errors(&held, arm, part, findings, out);
        if self.stale(at, findings) {
            // What was counted may still fail, but what is missing now is missing, and one old percentile is not several
            // running. A new series takes a scrape or two to appear.
            let scrape = self.scrapes.interval().unwrap_or(settings.evaluate);
            let begun = self.flight.as_ref().map_or(Duration::MAX, |f| at.saturating_sub(f.since));
            out.settling &= begun <= (scrape + settings.evaluate) * 2;
            return Text::default();
        }
        let fast = self.weigh_speed(&held, arm, n, counts, findings);
        self.weigh_amount(&held, arm, n, findings);
        text!("{said}{fast}; {} s", held.covered.as_secs())
    }

    /// Rule (a) on each comparison that can be made.
    fn weigh_errors(
        &self,
        held: &Held,
        arm: Arm,
        part: f64,
        findings: &mut Vec<Finding>,
        out: &mut Judgement,
    ) -> String {
        let settings = &self.settings;
        let need = self.need();
        let base = self.baseline.map(|b| b.counts.rate());
        let before = self.before.as_ref().map_or(0.0, Before::evidence);
        let (all, stable) = (held.of(Arm::All), held.of(Arm::Stable));
        let now = (arm == Arm::New && stable.requests >= settings.requests_min).then(|| stable.rate());
        let whole = base.map(|base| Compared {
            whose: Arm::All.says(),
            rate: all.rate(),
            base,
            requests: all.requests,
            evidence: before,
            need,
            estimated: false,
        });
        let judged = if arm == Arm::New {
            // Neither what was normal nor what is normal now may explain it.
            let base = base.into_iter().chain(now).reduce(f64::max);
            let new = held.of(Arm::New);
            base.map(|base| Compared {
                whose: Arm::New.says(),
                rate: new.rate(),
                base,
                requests: new.requests,
                evidence: self.concurrent.evidence(),
                need,
                estimated: false,
            })
        } else if part < 1.0 {
            // (all - (1-w) base) / w. Its evidence is that of the whole service: if the new revision is no worse than
            // the baseline, the whole is not either.
            whole.map(|whole| Compared {
                whose: Arm::New.says(),
                rate: ((whole.rate - (1.0 - part) * whole.base) / part).clamp(0.0, 1.0),
                requests: whole.requests * part,
                estimated: true,
                ..whole
            })
        } else {
            whole
        };
        let Some(judged) = judged else {
            findings.push(Finding::no_data(Text::scrub("no baseline was measured")));
            return String::new();
        };
        let found = judged.find(settings);
        findings.extend(found.clone());
        if arm == Arm::New || part < 1.0 {
            findings.extend(whole.and_then(|whole| whole.find(settings)));
        }
        if let Some(limit) = self.subject.slo.error_rate
            && self.flight.is_some()
            && judged.rate > limit
            && found.is_none()
            && judged.requests >= settings.requests_min
        {
            findings.push(Finding::inconclusive(text!(
                "errors {:.2} % break the SLO of {:.2} % (base {:.2} %, n {})",
                judged.rate * 100.0,
                limit * 100.0,
                judged.base * 100.0,
                thousands(judged.requests)
            )));
        }
        out.numbers = Some(judged.numbers(settings));
        format!(
            "errors {:.2} %{} (base {:.2} %, limit {:.2} %, n {})",
            judged.rate * 100.0,
            if judged.estimated { " estimated" } else { "" },
            judged.base * 100.0,
            judged.limit(settings) * 100.0,
            thousands(judged.requests)
        )
    }

    /// Rules (b) and (c).
    fn weigh_speed(&mut self, held: &Held, arm: Arm, n: f64, counts: bool, findings: &mut Vec<Finding>) -> String {
        let settings = self.settings;
        let mut said = String::new();
        if let Some(slo) = self.subject.slo.p99_ms
            && n >= settings.requests_min
        {
            match self.p99_ms[arm.number()] {
                Some(p99) if p99.is_finite() && p99 >= 0.0 => {
                    let counts = counts && n >= settings.p99_requests;
                    findings.extend(rules::latency(p99, slo, &mut self.latency, counts, &settings));
                    said = format!("; p99 {p99:.0} ms (limit {:.0} ms)", slo * settings.p99_ratio);
                }
                Some(p99) => findings.push(Finding::no_data(text!("the p99 of {} is {p99}", arm.says()))),
                None => findings.push(Finding::no_data(text!("the p99 of {} was not measured", arm.says()))),
            }
        }
        if let Some(limit) = self.subject.slo.max_5xx_per_second
            && held.covered > Duration::ZERO
        {
            let per_second = held.of(Arm::All).errors / held.covered.as_secs_f64();
            findings.extend(rules::ceiling(per_second, limit, &mut self.ceiling, counts, &settings));
        }
        said
    }

    /// Nothing usable was heard lately.
    fn stale(&self, at: Duration, findings: &mut Vec<Finding>) -> bool {
        let why = match &self.heard {
            None => Text::scrub("nothing was measured yet"),
            Some((_, why)) if !why.is_empty() => why.clone(),
            Some(_) if self.scrapes.stale(at) => {
                let age = self.scrapes.age(at).unwrap_or_default();
                text!("the newest scrape is {} s old", age.as_secs())
            }
            Some(_) => return false,
        };
        findings.push(Finding::no_data(why));
        true
    }

    /// A pass needs a full window, enough requests, and something to compare with.
    fn weigh_amount(&self, held: &Held, arm: Arm, n: f64, findings: &mut Vec<Finding>) {
        let settings = &self.settings;
        let (covered, window) = (held.covered.as_secs_f64(), settings.window.as_secs_f64());
        let all = held.of(Arm::All).requests;
        if held.covered > Duration::ZERO && n <= 0.0 {
            findings.push(Finding::no_data(match &self.flight {
                Some(flight) if arm == Arm::New => text!(
                    "no request was counted on the new revision at weight {:.0} %, {} on the whole service; is the label right?",
                    flight.weight * 100.0,
                    thousands(all)
                ),
                _ => Text::scrub("no request was counted; is the label right?"),
            }));
            return;
        }
        if n < settings.requests_min {
            let why = text!("{} requests in {covered:.0} s, {} are needed", thousands(n), settings.requests_min);
            findings.push(Finding { needed: Some((settings.requests_min - n).ceil() as u64), ..Finding::no_data(why) });
            return;
        }
        if arm == Arm::New && held.of(Arm::Stable).requests <= 0.0 {
            findings.push(Finding::no_data(text!(
                "no request was counted on the stable revision, {} on the new one: nothing to compare with",
                thousands(n)
            )));
            return;
        }
        if covered < window * 0.98 {
            let needed = (n / covered.max(1e-9) * (window - covered)).ceil().max(1.0);
            let why = text!("window {covered:.0} of {window:.0} s, n {}", thousands(n));
            findings.push(Finding { needed: Some(needed as u64), ..Finding::inconclusive(why) });
        }
    }
}
