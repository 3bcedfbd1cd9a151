//! Which replica set gets how many pods now, for both strategies: the new one, old ones, and the waits before a set that
//! traffic has left goes to zero.

use jiff::Timestamp;
use serde_json::json;

use super::super::super::kinds;
use super::super::fields;
use super::arithmetic::{Basic, basic, for_weight};
use super::spec::{Scale, Step, Weights};
use super::{Context, SCALE_DOWN_AT, Set};

impl Context<'_, '_> {
    pub(super) fn available_total(&self) -> i64 {
        self.sets.iter().map(Set::available).sum()
    }

    pub(super) fn actual_total(&self) -> i64 {
        self.sets.iter().map(Set::actual).sum()
    }

    pub(super) fn saturated(&self, set: &Set) -> bool {
        let size = self.spec.size();
        set.size() == size && set.desired() == Some(size) && set.available() == size
    }

    /// The weight that the steps ask for now: none while aborted, all when they are done.
    pub(super) fn set_weight(&self) -> i64 {
        if self.status.abort {
            return 0;
        }
        let (step, index) = self.current_step();
        if step.is_none() {
            return self.spec.full();
        }
        self.last_weight_at(index.unwrap_or(0)).unwrap_or(0)
    }

    /// The last setWeight at or before a step.
    pub(super) fn last_weight_at(&self, index: i64) -> Option<i64> {
        let upto = usize::try_from(index + 1).unwrap_or(0).min(self.steps.len());
        self.steps[..upto].iter().rev().find_map(|s| match s {
            Step::SetWeight(w) => Some(*w),
            _ => None,
        })
    }

    /// The canary weight to size for; while aborting with a stable that shrinks and grows, step by step back.
    pub(super) fn sizing_weight(&self) -> i64 {
        let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
        if self.status.abort
            && dynamic
            && let (Some(new), Some(stable)) = (self.new_set(), self.stable_set())
        {
            let size = self.spec.size();
            let canary = (size - stable.available()).max(new.available());
            return self
                .steps
                .iter()
                .rev()
                .find_map(|s| match s {
                    Step::SetWeight(w) if for_weight(size, *w, self.spec.full()) < canary => Some(*w),
                    _ => None,
                })
                .unwrap_or(0);
        }
        self.set_weight()
    }

    /// The scale that a `setCanaryScale` step set apart from the weight, where one holds.
    fn own_scale(&self) -> Option<Scale> {
        if !self.spec.routed() || (self.status.abort && self.spec.abort_delay().is_some()) {
            return None;
        }
        let (step, index) = self.current_step();
        step?;
        let upto = usize::try_from(index? + 1).unwrap_or(0).min(self.steps.len());
        let last = self.steps[..upto].iter().rev().find_map(|s| match s {
            Step::Scale(scale) => Some(*scale),
            _ => None,
        })?;
        (!matches!(last, Scale::MatchTraffic)).then_some(last)
    }

    fn sizes_for_all(&self) -> bool {
        self.status.promote_full || self.status.stable_rs.is_empty() || self.status.fully_promoted()
    }

    /// Sizes (new, stable) of a canary.
    pub(super) fn canary_sizes(&self, weights: Option<&Weights>) -> (i64, i64) {
        if self.spec.routed() { self.routed_sizes(weights) } else { self.basic_sizes() }
    }

    fn basic_sizes(&self) -> (i64, i64) {
        let (surge, unavailable) = self.spec.bounds();
        let weight = if self.sizes_for_all() {
            self.spec.full()
        } else {
            match self.own_scale() {
                Some(Scale::Weight(w)) => w,
                Some(Scale::Replicas(_)) => 0,
                _ => self.sizing_weight(),
            }
        };
        basic(&Basic {
            replicas: self.spec.size(),
            surge,
            unavailable,
            weight,
            full: self.spec.full(),
            new: self.new_set().map(Set::count),
            stable: self.old_stable().map(Set::count),
            others: self.others().into_iter().map(|i| self.sets[i].size()).sum(),
        })
    }

    fn routed_sizes(&self, weights: Option<&Weights>) -> (i64, i64) {
        let (size, full) = (self.spec.size(), self.spec.full());
        let Some(canary) = &self.spec.strategy.canary else { return (0, 0) };
        let least = |n: i64| match canary.min_pods_per_replica_set {
            Some(least) if n > 0 => n.max(least.min(size)),
            _ => n,
        };
        let (own, weight) = if self.sizes_for_all() {
            (None, full)
        } else {
            match self.own_scale() {
                Some(Scale::Replicas(n)) => (Some(n), 0),
                Some(Scale::Weight(w)) => (None, w),
                _ => (None, self.sizing_weight()),
            }
        };
        let mut new = own.unwrap_or_else(|| least(for_weight(size, weight, full)));
        if !canary.dynamic_stable_scale {
            return (new, size);
        }
        let mut stable = for_weight(size, full - weight, full);
        if let Some(weights) = weights {
            stable = stable.max(for_weight(size, weights.stable.weight, full));
            if self.status.abort {
                new = new.max(for_weight(size, weights.canary.weight, full));
            }
        }
        (least(new), least(stable))
    }

    /// The size that the new set should have now.
    pub(super) fn new_size(&self, weights: Option<&Weights>) -> i64 {
        let Some(blue_green) = &self.spec.strategy.blue_green else { return self.canary_sizes(weights).0 };
        let size = self.spec.size();
        let Some(preview) = blue_green.preview_replica_count else { return size };
        let Some(new) = self.new_set() else { return size };
        let active = self.by_hash(&self.status.blue_green.active_selector);
        if active.is_none_or(|a| a.name() == new.name()) || self.status.promote_full {
            return size;
        }
        if new.hash() != self.status.current_pod_hash {
            return preview;
        }
        let held = self.spec.paused || !self.status.pause_conditions.is_empty();
        if !held && self.status.blue_green.scale_up_preview_check_point { size } else { preview }
    }

    /// True when an abort leaves the new set up for a while.
    pub(super) fn delays_scale_down_on_abort(&self) -> bool {
        let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
        let basic = self.spec.strategy.canary.is_some() && !self.spec.routed();
        self.pause.aborted(&self.status)
            && self.stable.is_some()
            && !basic
            && self.spec.abort_delay().is_some()
            && (!dynamic || self.spec.abort_delay_set())
    }

    /// Scales the new set. True when its size changed.
    pub(super) fn reconcile_new_set(&mut self) -> bool {
        let Some(index) = self.new else { return false };
        let weights = self.next.canary.weights.clone();
        let mut size = self.new_size(weights.as_ref());
        if self.delays_scale_down_on_abort() {
            let now = self.desk.now();
            if let Some(deadline) = self.sets[index].deadline() {
                if deadline > now {
                    self.again_past(deadline);
                    self.sync_new_annotation(index);
                    return false;
                }
                size = 0;
            } else if let Some(delay) = self.spec.abort_delay() {
                self.sync_new_annotation(index);
                // Only once stable can carry everything may the new set's end be dated.
                if self.stable_set().is_some_and(|s| s.available() >= self.spec.size()) {
                    let deadline = now.saturating_add(delay).unwrap_or(now);
                    self.date_scale_down(index, deadline);
                }
                return false;
            }
        }
        let scaled = self.scale(index, size);
        self.scale_referenced(index, size);
        scaled
    }

    fn sync_new_annotation(&mut self, index: usize) {
        if self.annotation_is_old(index) {
            let size = self.sets[index].size();
            self.scale(index, size);
        }
    }

    /// With `workloadRef.scaleDown: progressively` the referenced Deployment shrinks as the first revision grows.
    fn scale_referenced(&mut self, index: usize, wanted: i64) {
        let progressive = self.spec.workload_ref.as_ref().is_some_and(|w| w.scale_down == "progressively");
        if !progressive || self.sets[index].revision() != 1 {
            return;
        }
        if self.status.phase == "Healthy" {
            self.scale_deployment(0);
        } else if self.status.ready_replicas > 0 || self.sets[index].size() > wanted {
            self.scale_deployment(self.spec.size() - self.status.ready_replicas);
        }
    }

    /// Scales the Deployment that `workloadRef` names.
    pub(super) fn scale_deployment(&mut self, size: i64) {
        let Some(reference) = self.spec.workload_ref.clone().filter(|w| w.kind == "Deployment") else { return };
        let Some(deployment) = self.desk.get(&kinds::DEPLOYMENT, self.namespace(), &reference.name) else { return };
        if fields::int(&deployment, "/spec/replicas") != Some(size) {
            self.desk.update(&kinds::DEPLOYMENT, &deployment, |o| o["spec"]["replicas"] = json!(size));
        }
    }

    pub(super) fn date_scale_down(&mut self, index: usize, deadline: Timestamp) {
        let stamp = fields::stamp(deadline);
        let updated = self.desk.update(&kinds::REPLICA_SET, &self.sets[index].raw, |o| {
            fields::set(o, &["metadata", "annotations", SCALE_DOWN_AT], json!(stamp));
        });
        if let Some(raw) = updated {
            self.sets[index].raw = raw;
        }
        self.again_past(deadline);
    }

    fn undate_scale_down(&mut self, index: usize) {
        if !self.sets[index].waits_for_scale_down() {
            return;
        }
        let updated = self.desk.update(&kinds::REPLICA_SET, &self.sets[index].raw, |o| {
            fields::remove(o, &["metadata", "annotations", SCALE_DOWN_AT]);
        });
        if let Some(raw) = updated {
            self.sets[index].raw = raw;
        }
    }

    /// New and stable sets do not wait for their end: they may have come back to life.
    pub(super) fn undate_live_sets(&mut self) {
        let new = self.new.filter(|_| !self.delays_scale_down_on_abort());
        for index in [new, self.stable].into_iter().flatten() {
            self.undate_scale_down(index);
        }
    }

    /// What an old set keeps while it waits for its end: (sets that wait, its size). Dates the end where none is set.
    fn delayed_size(&mut self, index: usize, mut waiting: i64, keep: i64) -> (i64, i64) {
        let limit = self.spec.scale_down_limit();
        let set = &self.sets[index];
        if !set.waits_for_scale_down() {
            if set.size() > 0 && waiting < limit {
                waiting += 1;
                let keep = set.size();
                let delay = self.spec.scale_down_delay();
                if delay.is_zero() {
                    return (waiting, keep);
                }
                let deadline = self.desk.now().saturating_add(delay).unwrap_or(self.desk.now());
                self.date_scale_down(index, deadline);
                return (waiting, keep);
            }
            return (waiting, 0);
        }
        waiting += 1;
        if waiting > limit {
            return (waiting, 0);
        }
        match set.deadline() {
            Some(deadline) if deadline > self.desk.now() => {
                self.again_past(deadline);
                (waiting, keep)
            }
            _ => (waiting, 0),
        }
    }

    /// Old sets, newest revision first.
    fn old_sets_with_pods(&self) -> Vec<usize> {
        let mut old: Vec<usize> = self.others().into_iter().filter(|i| self.sets[*i].size() > 0).collect();
        old.sort_by_key(|i| std::cmp::Reverse((self.sets[*i].revision(), self.sets[*i].created())));
        old
    }

    /// Scales down sets that are neither new nor stable. True when any size changed.
    pub(super) fn reconcile_other_sets(&mut self) -> bool {
        if self.old_sets_with_pods().is_empty() {
            return false;
        }
        if self.spec.strategy.blue_green.is_some() { self.scale_down_blue_green() } else { self.scale_down_canary() }
    }

    fn scale_down_canary(&mut self) -> bool {
        let mut scaled = false;
        // Pods that never became available go first: they must not block the others.
        for index in self.old_sets_with_pods() {
            let (size, available) = (self.sets[index].size(), self.sets[index].available());
            if available < size {
                scaled |= self.scale(index, available);
            }
        }
        let least = self.spec.size() - self.spec.bounds().1;
        let mut spare = self.available_total() - least;
        if spare <= 0 {
            return false;
        }
        let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
        let mut waiting = 0;
        for index in self.old_sets_with_pods() {
            if self.spec.routed() && self.referenced(index) {
                continue;
            }
            if spare <= 0 {
                break;
            }
            let size = self.sets[index].size();
            let mut wanted = 0;
            if !self.spec.routed() {
                wanted = (size - spare).max(0);
            } else if !dynamic && (self.status.fully_promoted() || self.sets[index].waits_for_scale_down()) {
                (waiting, wanted) = self.delayed_size(index, waiting, size);
            }
            if size != wanted {
                self.scale(index, wanted);
                spare -= size - wanted;
                scaled = true;
            }
        }
        scaled
    }

    fn scale_down_blue_green(&mut self) -> bool {
        if self.status.pause("InconclusiveAnalysisRun").is_some() || self.waits_for_post_promotion() {
            return false;
        }
        let mut scaled = false;
        let mut waiting = 0;
        for index in self.old_sets_with_pods() {
            if self.referenced(index) {
                continue;
            }
            let size = self.sets[index].size();
            let wanted;
            (waiting, wanted) = self.delayed_size(index, waiting, self.spec.size());
            if size != wanted {
                self.scale(index, wanted);
                scaled = true;
            }
        }
        scaled
    }
}
