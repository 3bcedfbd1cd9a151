//! Which Service points at which replica set.

use serde_json::{Value, json};

use super::super::super::kinds;
use super::super::{fields, hash};
use super::{Context, MANAGED_BY};

/// The pod hash in a Service's selector; empty when it has none.
pub(super) fn selector_hash(service: &Value) -> &str {
    service
        .get("spec")
        .and_then(|s| s.get("selector"))
        .and_then(|s| s.get(hash::ROLLOUT_HASH))
        .map_or("", |h| h.as_str().unwrap_or_default())
}

impl Context<'_, '_> {
    pub(super) fn service(&self, name: &str) -> Option<Value> {
        if name.is_empty() {
            return None;
        }
        self.desk.get(&kinds::SERVICE, self.namespace(), name)
    }

    /// Points a Service at a set's pods.
    pub(super) fn switch(&mut self, service: &Value, to: &str) {
        let from = selector_hash(service).to_owned();
        if from == to && fields::annotation(service, MANAGED_BY).is_some() {
            return;
        }
        let rollout = self.name().to_owned();
        self.desk.update(&kinds::SERVICE, service, |o| {
            fields::set(o, &["spec", "selector", hash::ROLLOUT_HASH], json!(to));
            if fields::annotation(o, MANAGED_BY).is_none() {
                fields::set(o, &["metadata", "annotations", MANAGED_BY], json!(rollout));
            }
        });
        let message = format!("Switched selector for service '{}' from '{from}' to '{to}'", fields::name(service));
        self.event("SwitchService", &message);
    }

    /// Points a Service at a set, once the set can answer.
    pub(super) fn ensure_target(&mut self, service: &str, set: Option<usize>, check: bool) {
        let Some(index) = set else { return };
        let Some(service) = self.service(service) else { return };
        let set = &self.sets[index];
        let wanted = set.hash().to_owned();
        if selector_hash(&service) == wanted {
            return;
        }
        if check {
            let adopted = fields::annotation(&service, MANAGED_BY).is_some();
            let full = set.size() > 0 && set.available() > 0 && set.size() <= set.available();
            if (!adopted && !full) || set.available() == 0 {
                return;
            }
        }
        self.switch(&service, &wanted);
    }

    /// Stable and canary Services of a canary.
    pub(super) fn reconcile_canary_services(&mut self) {
        let Some(canary) = self.spec.strategy.canary.clone() else { return };
        self.ensure_target(&canary.stable_service, self.stable, true);
        if self.pause.aborted(&self.status) {
            // With a router the split puts it back, once no weight is left on it (`routing.rs`).
            if !self.spec.routed() {
                self.ensure_target(&canary.canary_service, self.stable, true);
            }
            return;
        }
        if self.rolling_back_dynamically().is_none() {
            self.ensure_target(&canary.canary_service, self.new, true);
        }
    }

    /// True while something still routes to a set.
    pub(super) fn referenced(&self, index: usize) -> bool {
        let pod_hash = self.sets[index].hash();
        let status = &self.status;
        let mut known = vec![
            &status.stable_rs,
            &status.current_pod_hash,
            &status.blue_green.active_selector,
            &status.blue_green.preview_selector,
        ];
        if let Some(weights) = &status.canary.weights {
            known.extend([&weights.canary.pod_template_hash, &weights.stable.pod_template_hash]);
        }
        if known.into_iter().any(|k| k == pod_hash) {
            return true;
        }
        let services = match (&self.spec.strategy.canary, &self.spec.strategy.blue_green) {
            (Some(c), _) => [&c.canary_service, &c.stable_service],
            (None, Some(b)) => [&b.active_service, &b.preview_service],
            (None, None) => return false,
        };
        services.into_iter().filter_map(|s| self.service(s)).any(|s| selector_hash(&s) == pod_hash)
    }
}
