//! The analysis runs of a Rollout: starting them, heeding their verdict, ending them, clearing old ones away. Taking
//! measurements is `analysis_run.rs`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::super::kinds;
use super::super::{fields, hash};
use super::phase::over;
use super::spec::{Analysis, RunLink, Status, Step};
use super::{COMPONENT, Context, Desk, REVISION};

const INCONCLUSIVE: &str = "InconclusiveAnalysisRun";

/// The label that says what an analysis is for.
const TYPE: &str = "rollout-type";

/// The runs that the status names, and all others that the Rollout owns.
#[derive(Debug, Default)]
pub(super) struct CurrentRuns {
    step: Option<Value>,
    background: Option<Value>,
    pre: Option<Value>,
    post: Option<Value>,
    others: Vec<Value>,
}

fn verdict(run: &Value) -> &str {
    fields::text(run, "/status/phase")
}

fn succeeded(run: Option<&Value>) -> bool {
    run.is_some_and(|r| verdict(r) == "Successful")
}

fn link(run: Option<&Value>) -> Option<RunLink> {
    run.map(|r| RunLink {
        message: fields::text(r, "/status/message").to_owned(),
        name: fields::name(r).to_owned(),
        status: verdict(r).to_owned(),
    })
}

impl CurrentRuns {
    pub(super) fn read(desk: &Desk<'_>, rollout: &Value, status: &Status) -> Self {
        let mut runs = Self::default();
        let is = |link: &Option<RunLink>, run: &Value| link.as_ref().is_some_and(|l| l.name == fields::name(run));
        for run in desk.owned(&kinds::ANALYSIS_RUN, fields::uid(rollout)) {
            if is(&status.canary.current_step_analysis_run_status, &run) {
                runs.step = Some(run);
            } else if is(&status.canary.current_background_analysis_run_status, &run) {
                runs.background = Some(run);
            } else if is(&status.blue_green.pre_promotion_analysis_run_status, &run) {
                runs.pre = Some(run);
            } else if is(&status.blue_green.post_promotion_analysis_run_status, &run) {
                runs.post = Some(run);
            } else {
                runs.others.push(run);
            }
        }
        runs
    }

    pub(super) fn step_succeeded(&self) -> bool {
        succeeded(self.step.as_ref())
    }

    pub(super) fn pre_promotion_succeeded(&self) -> bool {
        succeeded(self.pre.as_ref())
    }

    pub(super) fn post_promotion_succeeded(&self) -> bool {
        succeeded(self.post.as_ref())
    }

    pub(super) fn take_others_of(&mut self, pod_hash: &str) -> Vec<Value> {
        let (of, rest) = std::mem::take(&mut self.others)
            .into_iter()
            .partition(|r| fields::label(r, hash::ROLLOUT_HASH) == Some(pod_hash));
        self.others = rest;
        of
    }
}

impl Context<'_, '_> {
    pub(super) fn reconcile_runs(&mut self) {
        let cancel = self.status.fully_promoted()
            || self.pause.aborted(&self.status)
            || self.status.promote_full
            || self.fast_rollback()
            || self.status.stable_rs.is_empty();
        if cancel {
            let (step, background) = (self.runs.step.take(), self.runs.background.take());
            for run in
                [step.clone(), background.clone(), self.runs.pre.clone(), self.runs.post.clone()].into_iter().flatten()
            {
                self.terminate(&run);
            }
            self.runs.others.extend(step.into_iter().chain(background));
        } else if let Some(canary) = self.spec.strategy.canary.clone() {
            self.reconcile_step_run();
            self.reconcile_background_run(canary.analysis.as_ref());
        } else {
            self.reconcile_pre_promotion();
            self.heed_blue_green(false);
            self.reconcile_post_promotion();
            self.heed_blue_green(true);
        }
        self.link_runs();
        let current: Vec<String> = [&self.runs.step, &self.runs.background, &self.runs.pre, &self.runs.post]
            .into_iter()
            .flatten()
            .map(|r| fields::name(r).to_owned())
            .collect();
        self.runs.others.retain(|r| !current.iter().any(|c| c == fields::name(r)));
        for run in self.runs.others.clone() {
            self.terminate(&run);
        }
        self.limit_runs();
        self.tell_of_runs();
    }

    fn link_runs(&mut self) {
        if self.spec.strategy.canary.is_some() {
            self.next.canary.current_step_analysis_run_status = link(self.runs.step.as_ref());
            self.next.canary.current_background_analysis_run_status = link(self.runs.background.as_ref());
        } else {
            self.next.blue_green.pre_promotion_analysis_run_status = link(self.runs.pre.as_ref());
            self.next.blue_green.post_promotion_analysis_run_status = link(self.runs.post.as_ref());
        }
    }

    fn terminate(&mut self, run: &Value) {
        if over(verdict(run)) || fields::flag(run, "/spec/terminate") {
            return;
        }
        self.desk.update(&kinds::ANALYSIS_RUN, run, |o| o["spec"]["terminate"] = json!(true));
    }

    /// True when a run must be started: there is none, the last one decided nothing and a person went on, or a retry
    /// follows an abort.
    fn needs_run(&self, current: Option<&Value>) -> bool {
        let Some(current) = current else { return true };
        if self.status.controller_pause
            && self.status.pause("CanaryPauseStep").is_none()
            && self.status.pause("BlueGreenPause").is_none()
        {
            return verdict(current) == "Inconclusive";
        }
        self.status.aborted_at.is_some()
    }

    fn heed(&mut self, run: &Value, what: &str) {
        match verdict(run) {
            "Inconclusive" => self.pause.pause(INCONCLUSIVE),
            "Error" | "Failed" => {
                let mut message = format!("{what} analysis phase error/failed");
                let own = fields::text(run, "/status/message");
                if !own.is_empty() {
                    message = format!("{message}: {own}");
                }
                self.pause.abort(message);
            }
            _ => {}
        }
    }

    fn reconcile_step_run(&mut self) {
        if !self.status.pause_conditions.is_empty() || self.status.abort {
            return;
        }
        let (step, index) = self.current_step();
        let analysis = match step {
            Some(Step::Analysis(analysis)) if !analysis.templates.is_empty() => Some(analysis.clone()),
            _ => None,
        };
        let of_this_step =
            |run: &Value| fields::label(run, "step-index") == Some(index.unwrap_or(-1).to_string().as_str());
        let (Some(analysis), Some(index)) = (analysis, index) else {
            self.end_step_run();
            return;
        };
        if self.runs.step.as_ref().is_some_and(|r| !of_this_step(r)) {
            self.end_step_run();
            return;
        }
        if self.needs_run(self.runs.step.as_ref()) {
            let labels = [(TYPE, "Step".to_owned()), ("step-index", index.to_string())];
            self.runs.step = self.start_run(&analysis, &index.to_string(), &labels);
        } else if let Some(run) = self.runs.step.clone() {
            self.heed(&run, "Step-based");
        }
    }

    fn end_step_run(&mut self) {
        if let Some(run) = self.runs.step.take() {
            self.terminate(&run);
            self.runs.others.push(run);
        }
    }

    fn reconcile_background_run(&mut self, analysis: Option<&Analysis>) {
        let Some(analysis) = analysis.filter(|a| !a.templates.is_empty()) else {
            if let Some(run) = self.runs.background.take() {
                self.terminate(&run);
                self.runs.others.push(run);
            }
            return;
        };
        let before = matches!((analysis.starting_step, self.current_step().1), (Some(from), Some(at)) if at < from);
        if before || self.status.current_pod_hash.is_empty() {
            self.runs.others.extend(self.runs.background.take());
            return;
        }
        if self.status.pause(INCONCLUSIVE).is_some() {
            return;
        }
        if self.needs_run(self.runs.background.as_ref()) {
            self.runs.background = self.start_run(analysis, "", &[(TYPE, "Background".to_owned())]);
        } else if let Some(run) = self.runs.background.clone() {
            self.heed(&run, "Background");
        }
    }

    fn heed_blue_green(&mut self, post: bool) {
        let (run, what) = if post {
            (self.runs.post.clone(), "Blue/green post-promotion")
        } else {
            (self.runs.pre.clone(), "Blue/green pre-promotion")
        };
        if let Some(run) = run {
            self.heed(&run, what);
        }
    }

    fn reconcile_pre_promotion(&mut self) {
        let Some(analysis) = self.promotion_analysis(false) else {
            if let Some(run) = self.runs.pre.take() {
                self.terminate(&run);
                self.runs.others.push(run);
            }
            return;
        };
        let skip = {
            let active = &self.status.blue_green.active_selector;
            let preview = self.spec.strategy.blue_green.as_ref().and_then(|b| b.preview_replica_count);
            match self.new_set() {
                None => true,
                Some(new) => {
                    let hash = new.hash();
                    let moot = self.status.stable_rs == hash || active.is_empty() || active == hash || hash.is_empty();
                    let unready = match preview {
                        Some(count) => new.size() != count || new.available() != count,
                        None => !self.saturated(new),
                    };
                    moot || (self.runs.pre.is_none() && unready)
                }
            }
        };
        if skip {
            if let Some(run) = self.runs.pre.clone() {
                self.terminate(&run);
            }
        } else if self.status.pause(INCONCLUSIVE).is_none() && self.needs_run(self.runs.pre.as_ref()) {
            self.runs.pre = self.start_run(&analysis, "pre", &[(TYPE, "PrePromotion".to_owned())]);
        }
    }

    /// True when there is nothing to analyse after promotion, or not yet.
    pub(super) fn skips_post_promotion(&self) -> bool {
        let Some(new) = self.new_set() else { return true };
        let hash = new.hash();
        self.status.stable_rs == hash
            || self.status.blue_green.active_selector != hash
            || hash.is_empty()
            || (self.runs.post.is_none() && !self.saturated(new))
    }

    fn reconcile_post_promotion(&mut self) {
        let Some(analysis) = self.promotion_analysis(true) else {
            if let Some(run) = self.runs.post.take() {
                self.terminate(&run);
                self.runs.others.push(run);
            }
            return;
        };
        if self.skips_post_promotion() {
            if let Some(run) = self.runs.post.clone() {
                self.terminate(&run);
            }
        } else if self.status.pause(INCONCLUSIVE).is_none() && self.needs_run(self.runs.post.as_ref()) {
            self.runs.post = self.start_run(&analysis, "post", &[(TYPE, "PostPromotion".to_owned())]);
        }
    }

    fn promotion_analysis(&self, post: bool) -> Option<Analysis> {
        let spec = self.spec.strategy.blue_green.as_ref()?;
        let analysis = if post { &spec.post_promotion_analysis } else { &spec.pre_promotion_analysis };
        analysis.clone().filter(|a| !a.templates.is_empty())
    }

    /// Creates a run; none when its templates are gone or its arguments cannot be resolved.
    fn start_run(&mut self, analysis: &Analysis, infix: &str, labels: &[(&str, String)]) -> Option<Value> {
        let pod_hash = self.new_set()?.hash().to_owned();
        let revision = self.revision().to_string();
        let mut base = format!("{}-{pod_hash}-{revision}", self.name());
        if !infix.is_empty() {
            base = format!("{base}-{infix}");
        }
        let spec = match self.run_spec(analysis) {
            Ok(spec) => spec,
            Err(why) => {
                self.warn("ReconciliationError", &format!("Reconciliation failed with error: {why}"));
                return None;
            }
        };
        let mut all: BTreeMap<String, Value> = labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        all.insert(hash::ROLLOUT_HASH.to_owned(), json!(pod_hash));
        let more = |pointer: &str| analysis.analysis_run_metadata.pointer(pointer).and_then(Value::as_object).cloned();
        all.extend(more("/labels").into_iter().flatten());
        let selector = self.spec.selector.as_ref().and_then(|s| s.get("matchLabels")).and_then(Value::as_object);
        all.extend(selector.into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        let mut annotations = Map::new();
        annotations.insert(REVISION.to_owned(), json!(revision));
        annotations.extend(more("/annotations").into_iter().flatten());
        let run = |name: &str, rollout: &Value| {
            json!({
                "metadata": {
                    "name": name,
                    "namespace": fields::namespace(rollout),
                    "labels": all,
                    "annotations": annotations,
                    "ownerReferences": [fields::owner_reference(rollout)],
                },
                "spec": spec,
            })
        };
        let mut name = base.clone();
        for collision in 1..1000 {
            match self.desk.get(&kinds::ANALYSIS_RUN, self.namespace(), &name) {
                None => return self.desk.create(&kinds::ANALYSIS_RUN, run(&name, &self.raw)),
                Some(there) => {
                    let ours = fields::owner(&there).is_some_and(|o| fields::text(o, "/uid") == fields::uid(&self.raw));
                    let mut live = there.get("spec").cloned().unwrap_or_default();
                    fields::remove(&mut live, &["terminate"]);
                    if ours && !over(verdict(&there)) && fields::canonical(&live) == fields::canonical(&spec) {
                        return Some(there);
                    }
                }
            }
            name = format!("{base}.{collision}");
        }
        None
    }

    /// Metrics of the templates and merged arguments.
    fn run_spec(&self, analysis: &Analysis) -> Result<Value, String> {
        let mut metrics = Vec::new();
        let mut template_args: Vec<Value> = Vec::new();
        let mut dry_run = analysis.dry_run.clone();
        let mut retention = analysis.measurement_retention.clone();
        let mut names: Vec<String> =
            analysis.templates.iter().map(|t| fields::text(t, "/templateName").to_owned()).collect();
        let mut seen = 0;
        while let Some(name) = names.get(seen).cloned() {
            seen += 1;
            let template = self
                .desk
                .get(&kinds::ANALYSIS_TEMPLATE, self.namespace(), &name)
                .ok_or_else(|| format!("analysistemplate.argoproj.io \"{name}\" not found"))?;
            metrics.extend(fields::items(&template, "/spec/metrics").iter().cloned());
            dry_run.extend(fields::items(&template, "/spec/dryRun").iter().cloned());
            retention.extend(fields::items(&template, "/spec/measurementRetention").iter().cloned());
            for inner in fields::items(&template, "/spec/templates") {
                let inner = fields::text(inner, "/templateName").to_owned();
                if !names.contains(&inner) {
                    names.push(inner);
                }
            }
            for arg in fields::items(&template, "/spec/args") {
                if !template_args.iter().any(|a| fields::text(a, "/name") == fields::text(arg, "/name")) {
                    template_args.push(arg.clone());
                }
            }
        }
        let mut unique = std::collections::BTreeSet::new();
        for metric in &metrics {
            let name = fields::text(metric, "/name");
            if !unique.insert(name.to_owned()) {
                return Err(format!("two metrics have the same name '{name}'"));
            }
        }
        for arg in &analysis.args {
            let value = self.argument(arg)?;
            for template in template_args.iter_mut().filter(|a| fields::text(a, "/name") == fields::text(arg, "/name"))
            {
                template["value"] = json!(value);
            }
        }
        if let Some(open) = template_args.iter().find(|a| a.get("value").is_none() && a.get("valueFrom").is_none()) {
            return Err(format!("args.{} was not resolved", fields::text(open, "/name")));
        }
        let mut spec = json!({ "args": template_args, "metrics": metrics });
        for (field, list) in [("dryRun", dry_run), ("measurementRetention", retention)] {
            if !list.is_empty() {
                spec[field] = Value::Array(list);
            }
        }
        Ok(spec)
    }

    fn argument(&self, arg: &Value) -> Result<String, String> {
        let literal = fields::text(arg, "/value").to_owned();
        match fields::text(arg, "/valueFrom/podTemplateHashValue") {
            "Latest" => return Ok(self.new_set().map(|s| s.hash().to_owned()).unwrap_or_default()),
            "Stable" => return Ok(self.stable_set().map(|s| s.hash().to_owned()).unwrap_or_default()),
            _ => {}
        }
        let path = fields::text(arg, "/valueFrom/fieldRef/fieldPath");
        if path.is_empty() {
            return Ok(literal);
        }
        self.field(path)
    }

    /// A field of the Rollout by path: `metadata.labels['x']`, `spec.template.spec.containers[0].image`.
    fn field(&self, path: &str) -> Result<String, String> {
        let mut at = &self.raw;
        for part in path.split(['.', '[', ']']).filter(|p| !p.is_empty()) {
            let part = part.trim_matches(['\'', '"']);
            at = match at {
                Value::Array(list) => {
                    let index: usize = part.parse().map_err(|_| format!("invalid index '{part}'"))?;
                    list.get(index).ok_or_else(|| format!("index {index} out of range"))?
                }
                _ => at.get(part).ok_or_else(|| format!("invalid path {path} in rollout"))?,
            };
        }
        match at {
            Value::String(s) => Ok(s.clone()),
            Value::Number(n) => Ok(n.to_string()),
            Value::Bool(b) => Ok(b.to_string()),
            _ => Err(format!("path {path} in rollout must terminate in a primitive value")),
        }
    }

    /// Deletes finished runs beyond the limits, and runs of replica sets that are gone.
    fn limit_runs(&mut self) {
        let history = self.spec.analysis.unwrap_or_default();
        let mut good = history.successful_run_history_limit.unwrap_or(5);
        let mut bad = history.unsuccessful_run_history_limit.unwrap_or(5);
        let mut runs = self.runs.others.clone();
        runs.sort_by(|a, b| (fields::created(b), fields::name(b)).cmp(&(fields::created(a), fields::name(a))));
        for run in runs {
            let alive = fields::label(&run, hash::ROLLOUT_HASH).is_some_and(|h| self.by_hash(h).is_some());
            let keep = alive
                && match verdict(&run) {
                    "Successful" => {
                        good -= 1;
                        good >= 0
                    }
                    phase if over(phase) => {
                        bad -= 1;
                        bad >= 0
                    }
                    _ => true,
                };
            if !keep {
                self.desk.delete(&kinds::ANALYSIS_RUN, &run);
                self.runs.others.retain(|r| fields::name(r) != fields::name(&run));
            }
        }
    }

    /// Records an event for each current run whose phase is news to the status.
    fn tell_of_runs(&mut self) {
        let told = [
            (
                self.status.blue_green.post_promotion_analysis_run_status.clone(),
                self.runs.post.clone(),
                "PostPromotion",
            ),
            (self.status.blue_green.pre_promotion_analysis_run_status.clone(), self.runs.pre.clone(), "PrePromotion"),
            (self.status.canary.current_step_analysis_run_status.clone(), self.runs.step.clone(), "Step"),
            (
                self.status.canary.current_background_analysis_run_status.clone(),
                self.runs.background.clone(),
                "Background",
            ),
        ];
        for (before, run, kind) in told {
            let Some(run) = run else { continue };
            let phase = verdict(&run).to_owned();
            let name = fields::name(&run);
            let news = match &before {
                None => true,
                Some(before) => before.name == name && before.status != phase,
            };
            if phase.is_empty() || !news {
                continue;
            }
            let previous = before.map_or("NoPreviousStatus".to_owned(), |b| b.status);
            let message = format!("{kind} Analysis Run '{name}' Status New: '{phase}' Previous: '{previous}'");
            let reason = format!("AnalysisRun{phase}");
            let warning = matches!(phase.as_str(), "Failed" | "Error");
            self.desk.store.record_event(&self.raw, warning, &reason, &message, COMPONENT);
        }
    }
}
