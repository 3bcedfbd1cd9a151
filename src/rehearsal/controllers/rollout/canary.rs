//! The canary strategy: the order of one reconciliation, steps, and the sizes of new and stable.

use super::pause::PauseContext;
use super::spec::Step;
use super::{Context, Flow, fields};

impl Context<'_, '_> {
    pub(super) fn roll_canary(&mut self) -> Flow {
        if self.changed() {
            self.sync_canary_status();
            return Ok(());
        }
        self.restart_pods()?;
        self.limit_history();
        self.reconcile_canary_services();
        self.reconcile_routing();
        self.reconcile_runs();
        if !self.pause.adds() && !self.reconcile_canary_sets() {
            self.reconcile_canary_pause();
        }
        self.sync_canary_status();
        Ok(())
    }

    /// Scales stable, new, old, in this order, one of them a round. True when something changed.
    pub(super) fn reconcile_canary_sets(&mut self) -> bool {
        if self.halted() {
            return false;
        }
        self.undate_live_sets();
        self.reconcile_stable_set() || self.reconcile_new_set() || self.reconcile_other_sets()
    }

    fn reconcile_stable_set(&mut self) -> bool {
        let Some(index) = self.stable.filter(|s| Some(*s) != self.new) else { return false };
        // The weights as they were read: stable follows them one round behind.
        let weights = self.status.canary.weights.clone();
        let (_, size) = self.canary_sizes(weights.as_ref());
        self.scale(index, size)
    }

    fn reconcile_canary_pause(&mut self) {
        if self.spec.paused || self.status.promote_full {
            return;
        }
        let (Some(Step::Pause(length)), _) = self.current_step() else { return };
        let length = *length;
        match self.status.pause("CanaryPauseStep") {
            None => {
                if !self.status.controller_pause {
                    self.pause.pause("CanaryPauseStep");
                }
            }
            Some(pause) => {
                let end = pause.start_time.zip(length).and_then(|(start, length)| start.saturating_add(length).ok());
                if let Some(end) = end.filter(|end| *end > self.desk.now()) {
                    self.again_past(end);
                }
            }
        }
    }

    fn step_is_complete(&self) -> bool {
        if self.spec.paused {
            return false;
        }
        match self.current_step().0 {
            None => false,
            Some(Step::Pause(length)) => PauseContext::canary_pause_over(&self.status, *length, self.desk.now()),
            Some(Step::Scale(_) | Step::SetWeight(_)) => self.at_desired_counts(self.next.canary.weights.as_ref()),
            Some(Step::Analysis(_)) => self.runs.step_succeeded(),
            Some(Step::Other(kind)) => matches!(kind.as_str(), "setHeaderRoute" | "setMirrorRoute"),
        }
    }

    fn sync_canary_status(&mut self) {
        self.base_status();
        self.next.available_replicas = self.available_total();
        self.next.hpa_replicas = self.actual_total();
        self.next.selector = selector_text(self.spec.selector.as_ref());
        self.next.stable_rs = self.status.stable_rs.clone();
        self.next.current_step_hash = self.step_hash();
        let count = self.step_count();
        if self.changed() {
            self.reset_status();
            if count > 0
                && let Some(new) = self.new_set()
            {
                let back_to_stable = self.status.stable_rs == new.hash();
                let in_window = self.within_rollback_window() && new.size() > 0;
                if back_to_stable {
                    self.event("SkipSteps", "Rollback to stable ReplicaSets");
                } else if in_window {
                    self.event("SkipSteps", "Rollback to active ReplicaSets within RollbackWindow");
                }
                if back_to_stable || in_window {
                    self.next.current_step_index = Some(count);
                }
            }
            self.persist();
            return;
        }
        let mut index = self.current_step().1;
        if self.status.promote_full || self.within_rollback_window() {
            self.pause.clear();
            self.pause.remove_abort();
            if count > 0 {
                index = Some(count);
            }
        }
        if let Some(reason) = self.full_promotion_reason() {
            self.promote_stable(&reason);
            self.persist();
            return;
        }
        if self.pause.aborted(&self.status) {
            if count > 0 {
                let done = self.next.stable_rs == self.next.current_pod_hash;
                self.next.current_step_index = Some(if done { count } else { 0 });
            }
            self.persist();
            return;
        }
        if self.step_is_complete() {
            let at = index.unwrap_or(0);
            let words = usize::try_from(at)
                .ok()
                .and_then(|i| Some((self.steps.get(i)?, self.spec.steps().get(i)?)))
                .map(|(step, raw)| step.words(raw))
                .unwrap_or_default();
            index = Some(at + 1);
            self.next.canary.current_step_analysis_run_status = None;
            self.event("RolloutStepCompleted", &format!("Rollout step {}/{count} completed ({words})", at + 1));
            self.pause.end("CanaryPauseStep");
        }
        self.next.current_step_index = index;
        self.persist();
    }
}

/// A selector as `status.selector` writes it.
pub(super) fn selector_text(selector: Option<&serde_json::Value>) -> String {
    let Some(selector) = selector else { return String::new() };
    let mut parts: Vec<String> = selector
        .get("matchLabels")
        .and_then(serde_json::Value::as_object)
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    parts.sort();
    for e in fields::items(selector, "/matchExpressions") {
        let (key, values) = (fields::text(e, "/key"), fields::items(e, "/values"));
        let values: Vec<&str> = values.iter().filter_map(serde_json::Value::as_str).collect();
        parts.push(match fields::text(e, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}
