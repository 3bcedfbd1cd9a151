//! The blue-green strategy: preview and active Services, the pause before the switch, analyses before and after it.

use serde_json::Value;

use super::super::super::kinds;
use super::services::selector_hash;
use super::spec::BlueGreen;
use super::{Context, Flow, canary};

const PAUSE: &str = "BlueGreenPause";

impl Context<'_, '_> {
    fn blue_green(&self) -> BlueGreen {
        self.spec.strategy.blue_green.clone().unwrap_or_default()
    }

    /// (preview, active) Services; none when the active one is gone.
    pub(super) fn blue_green_services(&self) -> Option<(Option<Value>, Value)> {
        let spec = self.blue_green();
        Some((self.service(&spec.preview_service), self.service(&spec.active_service)?))
    }

    pub(super) fn roll_blue_green(&mut self) -> Flow {
        let Some((preview, active)) = self.blue_green_services() else { return Ok(()) };
        if let (Some(preview), Some(new), false) = (&preview, self.new_set(), self.halted()) {
            let pod_hash = new.hash().to_owned();
            self.switch(preview, &pod_hash);
        }
        if self.template_changed() {
            self.sync_blue_green_status();
            return Ok(());
        }
        self.restart_pods()?;
        self.reconcile_blue_green_sets();
        self.reconcile_blue_green_pause(&active);
        self.reconcile_active(&active);
        self.reconcile_runs();
        self.sync_blue_green_status();
        Ok(())
    }

    pub(super) fn reconcile_blue_green_sets(&mut self) {
        self.undate_live_sets();
        if let Some(stable) = self.stable {
            self.scale(stable, self.spec.size());
        }
        self.reconcile_new_set();
        self.reconcile_other_sets();
        self.limit_history();
    }

    fn ready_for_pause(&self) -> bool {
        let size = self.new_size(None);
        self.new_set().is_some_and(|n| n.size() == size && n.available() == size)
    }

    fn fast_tracked(&self, active: &Value) -> bool {
        let serving = selector_hash(active);
        self.fast_rollback()
            || self.status.promote_full
            || serving.is_empty()
            || self.new_set().is_some_and(|n| n.hash() == serving)
    }

    fn reconcile_blue_green_pause(&mut self, active: &Value) {
        if self.status.abort || !self.ready_for_pause() || self.halted() {
            return;
        }
        let spec = self.blue_green();
        let pauses = spec.auto_promotion_enabled == Some(false) || spec.auto_promotion_seconds > 0;
        if self.fast_tracked(active) || self.status.blue_green.scale_up_preview_check_point || !pauses {
            self.pause.end(PAUSE);
            return;
        }
        if !self.pre_promotion_done() {
            return;
        }
        match self.status.pause(PAUSE).cloned() {
            None => {
                if !self.status.controller_pause {
                    self.pause.pause(PAUSE);
                }
            }
            Some(_) if self.blue_green_pause_over() => self.pause.end(PAUSE),
            Some(pause) => {
                let length = jiff::SignedDuration::from_secs(spec.auto_promotion_seconds);
                if let Some(end) = pause.start_time.and_then(|s| s.saturating_add(length).ok())
                    && spec.auto_promotion_seconds > 0
                {
                    self.again_past(end);
                }
            }
        }
    }

    fn pre_promotion_done(&self) -> bool {
        self.blue_green().pre_promotion_analysis.is_none() || self.runs.pre_promotion_succeeded()
    }

    fn blue_green_pause_over(&self) -> bool {
        let spec = self.blue_green();
        if self.pause.adds() {
            return false;
        }
        if self.status.blue_green.scale_up_preview_check_point {
            return true;
        }
        let pause = self.status.pause(PAUSE);
        if spec.auto_promotion_enabled.unwrap_or(true) {
            if spec.auto_promotion_seconds == 0 {
                return true;
            }
            let length = jiff::SignedDuration::from_secs(spec.auto_promotion_seconds);
            return pause
                .and_then(|p| p.start_time)
                .and_then(|s| s.saturating_add(length).ok())
                .is_some_and(|end| self.desk.now() > end);
        }
        self.status.controller_pause && pause.is_none()
    }

    fn reconcile_active(&mut self, active: &Value) {
        if self.halted() {
            return;
        }
        let Some(new) = self.new_set() else { return };
        if !self.ready_for_pause() || !self.saturated(new) {
            return;
        }
        let new_hash = new.hash().to_owned();
        let mut wanted = selector_hash(active).to_owned();
        if self.fast_tracked(active) || (self.blue_green_pause_over() && self.pre_promotion_done()) {
            wanted = new_hash;
        }
        if self.status.abort {
            wanted = self.status.stable_rs.clone();
        }
        self.switch(active, &wanted);
    }

    /// True while the analysis after promotion keeps the old set up.
    pub(super) fn waits_for_post_promotion(&self) -> bool {
        let spec = self.blue_green();
        spec.post_promotion_analysis.is_some()
            && spec.scale_down_delay_seconds.is_none()
            && !self.skips_post_promotion()
            && !self.runs.post_promotion_succeeded()
    }

    fn sync_blue_green_status(&mut self) {
        self.base_status();
        self.next.stable_rs = self.status.stable_rs.clone();
        if self.template_changed() {
            self.reset_status();
        }
        if self.status.promote_full || self.within_rollback_window() {
            self.pause.clear();
            self.pause.remove_abort();
        }
        let spec = self.blue_green();
        let pointed = |name: &str| {
            let service = if name.is_empty() { None } else { self.desk.get(&kinds::SERVICE, self.namespace(), name) };
            service.map(|s| selector_hash(&s).to_owned()).unwrap_or_default()
        };
        let (preview, active) = (pointed(&spec.preview_service), pointed(&spec.active_service));
        self.next.blue_green.preview_selector = preview;
        self.next.blue_green.active_selector = active.clone();
        if let Some(reason) = self.full_promotion_reason() {
            self.promote_stable(&reason);
        } else {
            self.next.blue_green.scale_up_preview_check_point = spec.preview_replica_count.is_some_and(|count| {
                self.status.blue_green.scale_up_preview_check_point
                    || (self.pre_promotion_done()
                        && self.blue_green_pause_over()
                        && self.new_set().is_some_and(|n| n.available() == count))
            });
        }
        match self.by_hash(&active).cloned() {
            Some(set) => {
                self.next.hpa_replicas = set.actual();
                self.next.available_replicas = set.available();
                self.next.ready_replicas = set.ready();
                self.next.selector = canary::selector_text(set.raw.pointer("/spec/selector"));
            }
            None => {
                self.next.hpa_replicas = self.actual_total();
                self.next.available_replicas = self.available_total();
                self.next.selector = canary::selector_text(self.spec.selector.as_ref());
            }
        }
        self.persist();
    }
}
