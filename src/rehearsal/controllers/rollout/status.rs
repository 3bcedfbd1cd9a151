//! Computing and writing `status`: the part that all strategies share, what a change resets, and when the new set
//! becomes stable.

use super::super::super::kinds;
use super::super::{fields, hash};
use super::spec::{BlueGreenStatus, Status};
use super::{Context, Set, phase};

impl Context<'_, '_> {
    /// Counts and hash, as both strategies report them.
    pub(super) fn base_status(&mut self) {
        if self.status.condition("InvalidSpec").is_some() {
            self.status.drop_condition("InvalidSpec");
        }
        self.next.current_pod_hash = match self.new_set() {
            Some(new) => new.hash().to_owned(),
            None => hash::of_template(&self.template(), self.status.collision_count),
        };
        self.next.replicas = self.actual_total();
        self.next.updated_replicas = self.new_set().map_or(0, Set::actual);
        self.next.ready_replicas = self.sets.iter().map(Set::ready).sum();
        self.next.collision_count = self.status.collision_count;
        self.next.conditions = self.status.conditions.clone();
        // Against a stable hash not yet carried over, as the controller compares them here.
        self.next.promote_full = self.next.current_pod_hash != self.next.stable_rs && self.status.promote_full;
    }

    /// Begins a new update: pauses, aborts, analyses and steps of the one before are forgotten.
    pub(super) fn reset_status(&mut self) {
        self.pause.clear();
        self.pause.remove_abort();
        self.next.restarted_at = self.spec.restart_at.as_ref().and_then(|r| r.parse().ok());
        self.next.promote_full = false;
        self.next.blue_green = BlueGreenStatus {
            active_selector: std::mem::take(&mut self.next.blue_green.active_selector),
            preview_selector: std::mem::take(&mut self.next.blue_green.preview_selector),
            ..BlueGreenStatus::default()
        };
        self.next.canary.current_step_analysis_run_status = None;
        self.next.canary.current_background_analysis_run_status = None;
        self.next.current_step_index =
            (self.spec.strategy.canary.is_some() && !self.spec.steps().is_empty()).then_some(0);
    }

    /// Why the new set becomes stable now; none while it does not.
    pub(super) fn full_promotion_reason(&self) -> Option<String> {
        if self.stable.is_none() {
            return Some("Initial deploy".to_owned());
        }
        let fast = || {
            let why = if self.within_rollback_window() { "Rollback within window" } else { "Fast rollback" };
            self.fast_rollback().then(|| why.to_owned())
        };
        if self.spec.strategy.canary.is_some() {
            if self.pause.aborted(&self.status) || self.new_set().is_none_or(|n| n.available() < self.spec.size()) {
                return None;
            }
            if self.status.promote_full {
                return Some("Full promotion requested".to_owned());
            }
            if let Some(fast) = fast() {
                return Some(fast);
            }
            let count = self.step_count();
            let done = count == 0 || self.current_step().1 == Some(count);
            return done.then(|| format!("Completed all {count} canary steps"));
        }
        let blue_green = self.spec.strategy.blue_green.as_ref()?;
        if self.next.blue_green.active_selector.is_empty() {
            return Some("Initial deploy".to_owned());
        }
        if self.next.blue_green.active_selector != self.next.current_pod_hash {
            return None;
        }
        if self.status.promote_full {
            return Some("Full promotion requested".to_owned());
        }
        if let Some(fast) = fast() {
            return Some(fast);
        }
        if self.pause.aborted(&self.status)
            || (blue_green.post_promotion_analysis.is_some() && !self.runs.post_promotion_succeeded())
        {
            return None;
        }
        Some("Completed blue-green update".to_owned())
    }

    /// Makes the new set stable.
    pub(super) fn promote_stable(&mut self, reason: &str) {
        self.pause.clear();
        self.pause.remove_abort();
        self.next.promote_full = false;
        self.next.blue_green.scale_up_preview_check_point = false;
        if self.spec.strategy.canary.is_some() {
            let count = self.step_count();
            self.next.current_step_index = (count > 0).then_some(count);
        }
        let revision = self.revision();
        if self.next.stable_rs != self.next.current_pod_hash {
            self.next.stable_rs = self.next.current_pod_hash.clone();
            let message =
                format!("Rollout completed update to revision {revision} ({}): {reason}", self.next.current_pod_hash);
            self.event("RolloutCompleted", &message);
        }
        let on_success = self.spec.workload_ref.as_ref().is_some_and(|w| w.scale_down == "onsuccess");
        if revision == 1 && self.status.phase == "Healthy" && on_success {
            self.scale_deployment(0);
        }
    }

    /// Settles abort, pauses, conditions and phase of the next status, and writes it when anything changed.
    pub(super) fn persist(&mut self) {
        self.next.observed_generation = fields::generation(&self.raw).to_string();
        self.next.workload_observed_generation = match &self.spec.workload_ref {
            Some(_) => fields::annotation(&self.raw, super::WORKLOAD_GENERATION).unwrap_or_default().to_owned(),
            None => String::new(),
        };
        self.abort_when_stuck();
        let now = self.desk.stamp_now();
        self.pause.settle(&self.status, &mut self.next, now);
        self.settle_conditions();
        let (phase, message) = phase::phase(&self.spec, &self.next);
        self.next.phase = phase.to_owned();
        self.next.message = message;
        let next = self.next.clone();
        if next == Status::read(&self.raw) {
            self.watch_for_stuck();
            return;
        }
        self.write_status(&next);
        let was_paused = !self.status.pause_conditions.is_empty();
        match (was_paused, next.pause_conditions.first()) {
            (false, Some(pause)) => {
                let message = format!("Rollout is paused ({})", pause.reason);
                self.event("RolloutPaused", &message);
            }
            (true, None) if next.aborted_at.is_none() => self.event("RolloutResumed", "Rollout is resumed"),
            _ => {}
        }
    }

    pub(super) fn write_status(&mut self, next: &Status) {
        let Ok(value) = serde_json::to_value(next) else { return };
        if let Some(raw) = self.desk.set_status(&kinds::ROLLOUT, &self.raw, value) {
            self.raw = raw;
        }
    }
}
