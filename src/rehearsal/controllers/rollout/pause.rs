//! Pauses and aborts as one reconciliation collects them, and what the status says of them afterwards.

use jiff::{SignedDuration, Timestamp};

use super::spec::{PauseCondition, Status};

/// What this reconciliation wants of pauses and aborts.
#[derive(Debug, Default)]
pub(super) struct PauseContext {
    add: Vec<&'static str>,
    drop: Vec<&'static str>,
    clear: bool,
    add_abort: bool,
    remove_abort: bool,
    /// Why it was aborted, where the controller did it.
    pub(super) abort_message: String,
}

impl PauseContext {
    pub(super) fn adds(&self) -> bool {
        !self.add.is_empty()
    }

    pub(super) fn aborted(&self, was: &Status) -> bool {
        !self.remove_abort && (self.add_abort || was.abort)
    }

    pub(super) fn abort(&mut self, message: String) {
        self.add_abort = true;
        self.abort_message = message;
    }

    pub(super) fn remove_abort(&mut self) {
        self.remove_abort = true;
    }

    pub(super) fn pause(&mut self, reason: &'static str) {
        self.add.push(reason);
    }

    pub(super) fn end(&mut self, reason: &'static str) {
        self.drop.push(reason);
    }

    pub(super) fn clear(&mut self) {
        self.clear = true;
    }

    /// Writes abort, pauses and `controllerPause` into the next status.
    pub(super) fn settle(&self, was: &Status, next: &mut Status, now: Timestamp) {
        if self.add_abort || (!self.remove_abort && was.abort) {
            next.abort = true;
            next.aborted_at = was.aborted_at.or(Some(now));
            return;
        }
        next.abort = false;
        next.aborted_at = None;
        if self.clear {
            return;
        }
        let mut pauses: Vec<PauseCondition> =
            was.pause_conditions.iter().filter(|p| !self.drop.contains(&p.reason.as_str())).cloned().collect();
        let mut by_controller = was.controller_pause;
        for reason in &self.add {
            if was.pause(reason).is_none() {
                pauses.push(PauseCondition { reason: (*reason).to_owned(), start_time: Some(now) });
                by_controller = true;
            }
        }
        if !pauses.is_empty() {
            next.controller_pause = by_controller;
            next.pause_conditions = pauses;
        }
    }

    /// True when the pause of a canary step is over: by a person, or by time.
    pub(super) fn canary_pause_over(was: &Status, length: Option<SignedDuration>, now: Timestamp) -> bool {
        match was.pause("CanaryPauseStep") {
            None => was.controller_pause,
            Some(pause) => match (length, pause.start_time) {
                (Some(length), Some(start)) => start.saturating_add(length).is_ok_and(|end| now > end),
                _ => false,
            },
        }
    }
}
