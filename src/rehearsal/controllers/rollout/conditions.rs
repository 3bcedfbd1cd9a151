//! `status.conditions`: when they are written, and in which words.

use jiff::Timestamp;

use super::super::fields;
use super::spec::{Condition, Spec, Status, Step};
use super::{Context, Flow, Stop};

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition {
        last_transition_time: Some(now),
        last_update_time: Some(now),
        message: message.to_owned(),
        reason: reason.to_owned(),
        status: status.to_owned(),
        kind: kind.to_owned(),
    }
}

impl Status {
    /// Writes a condition, unless one with the same status and reason is there. True when it was written.
    pub(super) fn put(&mut self, mut new: Condition) -> bool {
        if let Some(old) = self.condition(&new.kind) {
            if old.status == new.status && old.reason == new.reason {
                return false;
            }
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time;
            }
        }
        self.drop_condition(&new.kind.clone());
        self.conditions.push(new);
        true
    }

    pub(super) fn drop_condition(&mut self, kind: &str) {
        self.conditions.retain(|c| c.kind != kind);
    }
}

/// True once nothing is left to do: all updated, available and stable.
fn healthy(spec: &Spec, was: &Status, next: &Status, generation: i64, steps: i64) -> bool {
    let size = spec.size();
    let strategy_done = if let Some(blue_green) = &spec.strategy.blue_green {
        next.blue_green.active_selector == next.current_pod_hash
            && (blue_green.preview_service.is_empty() || next.blue_green.preview_selector == next.current_pod_hash)
    } else {
        let all_steps = steps == 0 || next.current_step_index.is_none_or(|i| i == steps);
        all_steps && !next.stable_rs.is_empty() && next.fully_promoted() && next.replicas == size
    };
    next.updated_replicas == size
        && next.available_replicas == size
        && was.observed_generation == generation.to_string()
        && strategy_done
}

/// True when something moved between the two: pods came, old ones went, a step ended, a service switched.
fn moved(spec: &Spec, was: &Status, next: &Status) -> bool {
    let by_strategy = if spec.strategy.blue_green.is_some() {
        was.blue_green.active_selector != next.blue_green.active_selector
            || was.blue_green.preview_selector != next.blue_green.preview_selector
    } else {
        let stepped = matches!((was.current_step_index, next.current_step_index), (Some(a), Some(b)) if a != b);
        was.stable_rs != next.stable_rs || stepped || was.current_step_hash != next.current_step_hash
    };
    next.updated_replicas != was.updated_replicas
        || next.replicas - next.updated_replicas < was.replicas - was.updated_replicas
        || next.ready_replicas > was.ready_replicas
        || next.available_replicas > was.available_replicas
        || by_strategy
}

impl Context<'_, '_> {
    /// Keeps the Progressing and Paused conditions in line with pauses, so that a paused Rollout is not called stuck.
    pub(super) fn note_pause_conditions(&mut self) -> Flow {
        let now = self.desk.stamp_now();
        let progressing = self.status.condition("Progressing");
        let noted = progressing.is_some_and(|c| c.reason == "RolloutPaused");
        let abort_noted = progressing.is_some_and(|c| c.reason == "RolloutAborted");
        let paused = !self.status.pause_conditions.is_empty() || self.spec.paused;
        let completed = !self.status.stable_rs.is_empty() && self.status.fully_promoted();
        let mut news = Vec::new();
        if paused != noted && !abort_noted && !completed {
            let (reason, message) =
                if paused { ("RolloutPaused", "Rollout is paused") } else { ("RolloutResumed", "Rollout is resumed") };
            news.push(condition("Progressing", "Unknown", reason, message, now));
        }
        if !self.status.abort && abort_noted {
            news.push(condition("Progressing", "Unknown", "RolloutRetry", "Retrying Rollout after abort", now));
        }
        let noted_paused = self.status.condition("Paused").is_some_and(|c| c.status == "True");
        if paused != noted_paused && !abort_noted {
            let status = if paused { "True" } else { "False" };
            news.push(condition("Paused", status, "RolloutPaused", "Rollout is paused", now));
        }
        if news.is_empty() {
            return Ok(());
        }
        let mut next = self.status.clone();
        for new in news {
            next.put(new);
        }
        self.write_conditions(next)
    }

    /// Writes conditions alone; ends the reconciliation when that changed anything.
    pub(super) fn write_conditions(&mut self, mut next: Status) -> Flow {
        next.observed_generation = fields::generation(&self.raw).to_string();
        let (phase, message) = super::phase::phase(&self.spec, &next);
        next.phase = phase.to_owned();
        next.message = message;
        if next == self.status {
            return Ok(());
        }
        self.write_status(&next);
        Err(Stop::Again)
    }

    pub(super) fn mark_invalid(&mut self, why: &str) {
        let now = self.desk.stamp_now();
        let message = format!("The Rollout \"{}\" is invalid: {why}", self.name());
        let mut next = self.status.clone();
        if next.condition("InvalidSpec").is_none_or(|c| c.message != message) {
            next.drop_condition("InvalidSpec");
            next.put(condition("InvalidSpec", "True", "InvalidSpec", &message, now));
            self.warn("InvalidSpec", &message);
        }
        // What is invalid may be a matter of order (the Rollout came before its Service): look again.
        self.again_after(jiff::SignedDuration::from_secs(20));
        let _ = self.write_conditions(next);
    }

    pub(super) fn note_new_set(&mut self, reason: &str, message: &str) {
        let now = self.desk.stamp_now();
        let mut next = self.status.clone();
        if next.put(condition("Progressing", "True", reason, message, now)) {
            self.write_status(&next);
        }
    }

    /// True at steps that may take as long as they like.
    pub(super) fn may_take_long(&self) -> bool {
        let (step, _) = self.current_step();
        matches!(step, Some(Step::Pause(_) | Step::Analysis(_)))
            || self.status.condition("Paused").is_some_and(|c| c.status == "True")
    }

    fn waits_for_scale_down(&self) -> bool {
        self.others().into_iter().any(|i| self.sets[i].waits_for_scale_down())
    }

    /// True when the last sign of progress is older than the deadline.
    fn timed_out(&self, status: &Status) -> bool {
        let Some(progressing) = status.condition("Progressing") else { return false };
        match progressing.reason.as_str() {
            "RolloutAborted" | "RolloutPaused" => false,
            "ProgressDeadlineExceeded" => true,
            _ => progressing
                .last_update_time
                .and_then(|at| at.saturating_add(self.spec.progress_deadline()).ok())
                .is_some_and(|deadline| deadline < self.desk.now()),
        }
    }

    fn stuck_message(&self) -> String {
        match self.new_set() {
            Some(new) => format!("ReplicaSet \"{}\" has timed out progressing.", new.name()),
            None => format!("Rollout \"{}\" has timed out progressing.", self.name()),
        }
    }

    /// Aborts an update that is stuck, where the spec asks for that.
    pub(super) fn abort_when_stuck(&mut self) {
        if !self.spec.progress_deadline_abort || self.pause.aborted(&self.status) {
            return;
        }
        let completed = !self.next.stable_rs.is_empty() && self.next.fully_promoted();
        if completed
            || moved(&self.spec, &self.status, &self.next)
            || self.may_take_long()
            || self.waits_for_scale_down()
            || !self.timed_out(&self.status)
        {
            return;
        }
        let message = self.stuck_message();
        self.pause.abort(message.clone());
        self.warn("RolloutAborted", &message);
    }

    /// Computes the conditions of the next status; pauses and aborts must be settled.
    pub(super) fn settle_conditions(&mut self) {
        let now = self.desk.stamp_now();
        let generation = fields::generation(&self.raw);
        let paused = !self.next.pause_conditions.is_empty() || self.spec.paused;
        let aborted = self.pause.aborted(&self.status);
        let is_healthy = healthy(&self.spec, &self.status, &self.next, generation, self.step_count());
        let mut became_unhealthy = false;
        if !paused && is_healthy {
            self.next.put(condition("Healthy", "True", "RolloutHealthy", "Rollout is healthy", now));
        } else if self.status.condition("Healthy").is_some() {
            became_unhealthy =
                self.next.put(condition("Healthy", "False", "RolloutHealthy", "Rollout is not healthy", now));
        }
        if aborted {
            let mut message = format!("Rollout aborted update to revision {}", self.revision());
            if !self.pause.abort_message.is_empty() {
                message = format!("{message}: {}", self.pause.abort_message);
            }
            if self.next.put(condition("Progressing", "False", "RolloutAborted", &message, now)) {
                self.warn("RolloutAborted", &message);
            }
        } else if is_healthy {
            let name = self.new_set().map(Set::name_owned).unwrap_or_default();
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            self.next.put(condition("Progressing", "True", "NewReplicaSetAvailable", &message, now));
        } else if moved(&self.spec, &self.status, &self.next) || became_unhealthy {
            let message = match self.new_set() {
                Some(new) => format!("ReplicaSet \"{}\" is progressing.", new.name()),
                None => format!("Rollout \"{}\" is progressing.", self.name()),
            };
            let (reason, message) = if self.next.fully_promoted() && became_unhealthy {
                ("ReplicaSetNotAvailable", "Rollout does not have minimum availability".to_owned())
            } else {
                ("ReplicaSetUpdated", message)
            };
            let mut new = condition("Progressing", "True", reason, &message, now);
            if let Some(old) = self.status.condition("Progressing") {
                if old.status == "True" {
                    new.last_transition_time = old.last_transition_time;
                }
                self.next.drop_condition("Progressing");
            }
            self.next.put(new);
        } else if !self.may_take_long() && !self.waits_for_scale_down() && self.timed_out(&self.next) {
            let message = self.stuck_message();
            self.next.put(condition("Progressing", "False", "ProgressDeadlineExceeded", &message, now));
        }
        let enough = match &self.spec.strategy.blue_green {
            Some(_) => {
                let active = self.next.blue_green.active_selector.clone();
                self.by_hash(&active).is_some_and(|s| self.saturated(s))
            }
            None => self.available_total() >= self.spec.size(),
        };
        let (status, message) = if enough {
            ("True", "Rollout has minimum availability")
        } else {
            ("False", "Rollout does not have minimum availability")
        };
        self.next.put(condition("Available", status, "AvailableReason", message, now));
        let completed = !self.next.stable_rs.is_empty() && self.next.fully_promoted();
        let status = if completed { "True" } else { "False" };
        let news = self.next.put(condition("Completed", status, "RolloutCompleted", "RolloutCompleted", now));
        if news && !completed {
            let message = format!(
                "Rollout not completed, started update to revision {} ({})",
                self.revision(),
                self.next.current_pod_hash
            );
            self.event("RolloutNotCompleted", &message);
        }
    }

    /// Looks again when the progress deadline will have passed.
    pub(super) fn watch_for_stuck(&mut self) {
        let Some(progressing) = self.status.condition("Progressing") else { return };
        let paused = !self.status.pause_conditions.is_empty() || self.spec.paused;
        let generation = fields::generation(&self.raw);
        if healthy(&self.spec, &self.status, &self.next, generation, self.step_count())
            || progressing.reason == "ProgressDeadlineExceeded"
            || paused
            || self.status.abort
            || self.may_take_long()
        {
            return;
        }
        let deadline =
            progressing.last_update_time.and_then(|at| at.saturating_add(self.spec.progress_deadline()).ok());
        if let Some(deadline) = deadline
            && deadline > self.desk.now()
        {
            let a_second_later = deadline.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(deadline);
            self.again_past(a_second_later);
        }
    }
}

use super::Set;

impl Set {
    fn name_owned(&self) -> String {
        self.name().to_owned()
    }
}
