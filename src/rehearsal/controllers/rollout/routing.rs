//! The traffic split of a canary with the nginx router: which weight holds now, and the canary Ingress that carries it.

use serde_json::{Value, json};

use super::super::super::kinds;
use super::super::fields;
use super::Context;
use super::spec::{Destination, Nginx, Weights};

/// How the canary Ingress of a Rollout is called.
pub fn canary_ingress(rollout: &str, ingress: &str) -> String {
    format!("{rollout}-{ingress}-canary")
}

impl Context<'_, '_> {
    /// True when all that the steps ask of pods is there.
    pub(super) fn at_desired_counts(&self, weights: Option<&Weights>) -> bool {
        let (new, stable) = self.canary_sizes(weights);
        let new_ok = self.new_set().is_some_and(|s| s.size() == new && s.available() == new);
        let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
        let stable_ok = (self.spec.routed() && dynamic)
            || self.stable_set().is_some_and(|s| s.size() == stable && s.actual() == stable);
        let others_gone = self.spec.routed() || self.others().into_iter().all(|i| self.sets[i].available() == 0);
        new_ok && stable_ok && others_gone
    }

    /// The hash that still has canary traffic, while a shrunk stable grows back after the template came back to it.
    pub(super) fn rolling_back_dynamically(&self) -> Option<String> {
        let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
        if !self.status.fully_promoted() || !self.spec.routed() || !dynamic {
            return None;
        }
        let before = &self.status.canary.weights.as_ref()?.canary.pod_template_hash;
        let new = self.new_set()?;
        (before != new.hash() && new.available() < self.spec.size()).then(|| before.clone())
    }

    fn weight_on_the_way_back(&self) -> i64 {
        let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
        let (Some(_), Some(stable), true) = (self.new_set(), self.stable_set(), dynamic) else { return 0 };
        let (full, size) = (self.spec.full(), self.spec.size());
        if size == 0 {
            return 0;
        }
        let wanted = self.sizing_weight();
        let carried = full * stable.available() / size;
        let expected = (full - carried).max(0);
        let Some(weights) = &self.status.canary.weights else { return expected.max(wanted) };
        let current = weights.canary.weight;
        if wanted <= 0 {
            expected.min(current)
        } else if carried < full - wanted {
            current
        } else {
            wanted.min(current)
        }
    }

    /// The weight that should hold now.
    fn wanted_weight(&self, canary_hash: &mut String) -> i64 {
        let (full, size) = (self.spec.full(), self.spec.size());
        let (_, index) = self.current_step();
        if let Some(before) = self.rolling_back_dynamically() {
            *canary_hash = before;
            return self.weight_on_the_way_back();
        }
        if self.status.fully_promoted() {
            return 0;
        }
        if self.pause.aborted(&self.status) {
            return self.weight_on_the_way_back();
        }
        let Some(new) = self.new_set().filter(|n| n.available() > 0) else { return 0 };
        if self.status.promote_full {
            let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
            return match &self.status.canary.weights {
                _ if dynamic && size > 0 => full * new.available() / size,
                Some(weights) => weights.canary.weight,
                None => 0,
            };
        }
        let Some(index) = index else { return 0 };
        if !self.at_desired_counts(None) {
            return self.last_weight_at(index - 1).unwrap_or(0);
        }
        if index == self.step_count() { full } else { self.set_weight() }
    }

    /// Brings the split to what it should be, when the stable side can carry its part.
    pub(super) fn reconcile_routing(&mut self) {
        let Some(routing) = self.spec.strategy.canary.as_ref().and_then(|c| c.traffic_routing.clone()) else {
            self.next.canary.weights = None;
            return;
        };
        let hash_of = |set: Option<&super::Set>| set.map(|s| s.hash().to_owned()).unwrap_or_default();
        let stable_hash = hash_of(self.stable_set());
        let mut canary_hash = hash_of(self.new_set());
        let weight = self.wanted_weight(&mut canary_hash);
        let full = self.spec.full();
        let dynamic = self.spec.strategy.canary.as_ref().is_some_and(|c| c.dynamic_stable_scale);
        if !self.status.fully_promoted() && self.pause.aborted(&self.status) && (!dynamic || weight == 0) {
            let service = self.spec.strategy.canary.as_ref().map(|c| c.canary_service.clone()).unwrap_or_default();
            self.ensure_target(&service, self.stable, false);
        }
        let needed = (full - weight) * self.spec.size() / full.max(1);
        if self.stable_set().is_none_or(|s| s.available() < needed) {
            return;
        }
        let Some(nginx) = routing.nginx else { return };
        if let Err(why) = self.write_ingresses(&nginx, weight) {
            self.warn("TrafficRoutingError", &why);
            return;
        }
        let Some(canary) = &self.spec.strategy.canary else { return };
        let weights = Weights {
            canary: Destination { pod_template_hash: canary_hash, service_name: canary.canary_service.clone(), weight },
            stable: Destination {
                pod_template_hash: stable_hash,
                service_name: canary.stable_service.clone(),
                weight: full - weight,
            },
        };
        let before = self.status.canary.weights.as_ref();
        if before != Some(&weights) {
            let details = match before {
                None => format!("to {weight}"),
                Some(b) if b.canary.weight != weight => format!("from {} to {weight}", b.canary.weight),
                Some(_) => String::new(),
            };
            self.event("TrafficWeightUpdated", &format!("Traffic weight updated {details}"));
        }
        self.next.canary.weights = Some(weights);
    }

    fn write_ingresses(&mut self, nginx: &Nginx, weight: i64) -> Result<(), String> {
        let names = if nginx.stable_ingresses.is_empty() {
            vec![nginx.stable_ingress.clone()]
        } else {
            nginx.stable_ingresses.clone()
        };
        for name in names {
            self.write_ingress(nginx, &name, weight)?;
        }
        Ok(())
    }

    fn write_ingress(&mut self, nginx: &Nginx, name: &str, weight: i64) -> Result<(), String> {
        let namespace = self.namespace().to_owned();
        let Some(stable) = self.desk.get(&kinds::INGRESS, &namespace, name) else {
            return Err(format!(
                "error retrieving stableIngress `{name}` from cache: ingress.networking.k8s.io \"{name}\" not found"
            ));
        };
        let canary_name = canary_ingress(self.name(), name);
        let wanted = self.canary_ingress_object(nginx, &stable, &canary_name, weight)?;
        match self.desk.get(&kinds::INGRESS, &namespace, &canary_name) {
            None => {
                let message = format!("Creating canary ingress `{canary_name}` with weight `{weight}`");
                self.event("CreatingCanaryIngress", &message);
                self.desk.create(&kinds::INGRESS, wanted);
            }
            Some(there) => {
                if fields::owner(&there).is_none_or(|o| fields::text(o, "/uid") != fields::uid(&self.raw)) {
                    return Err(format!("canary ingress `{canary_name}` controlled by different object"));
                }
                let mut changed = there.clone();
                for (key, value) in wanted["metadata"]["annotations"].as_object().into_iter().flatten() {
                    fields::set(&mut changed, &["metadata", "annotations", key], value.clone());
                }
                changed["spec"] = wanted["spec"].clone();
                if changed != there {
                    let message = format!("Updating Ingress `{canary_name}` to desiredWeight '{weight}'");
                    self.event("PatchingCanaryIngress", &message);
                    self.desk.update(&kinds::INGRESS, &there, |o| *o = changed);
                }
            }
        }
        Ok(())
    }

    fn canary_ingress_object(&self, nginx: &Nginx, stable: &Value, name: &str, weight: i64) -> Result<Value, String> {
        let Some(canary) = &self.spec.strategy.canary else { return Err("no canary".to_owned()) };
        let prefix = nginx.annotation_prefix.as_deref().unwrap_or("nginx.ingress.kubernetes.io");
        let mut rules = Vec::new();
        for rule in fields::items(stable, "/spec/rules") {
            let mut rule = rule.clone();
            let mut ours = false;
            for path in rule.pointer_mut("/http/paths").and_then(Value::as_array_mut).into_iter().flatten() {
                if fields::text(path, "/backend/service/name") == canary.stable_service {
                    ours = true;
                    fields::set(path, &["backend", "service", "name"], json!(canary.canary_service));
                }
            }
            if ours {
                rules.push(rule);
            }
        }
        if rules.is_empty() {
            return Err(format!(
                "ingress `{}` has no rules using service {} backend",
                fields::name(stable),
                canary.stable_service
            ));
        }
        let mut wanted = json!({
            "metadata": {
                "name": name,
                "namespace": self.namespace(),
                "annotations": {},
                "ownerReferences": [fields::owner_reference(&self.raw)],
            },
            "spec": { "rules": rules },
        });
        for field in ["ingressClassName", "tls"] {
            if let Some(value) = stable.get("spec").and_then(|s| s.get(field)) {
                wanted["spec"][field] = value.clone();
            }
        }
        let mut annotate = |key: String, value: String| wanted["metadata"]["annotations"][key] = json!(value);
        if let Some(class) = fields::annotation(stable, "kubernetes.io/ingress.class") {
            annotate("kubernetes.io/ingress.class".to_owned(), class.to_owned());
        }
        for (key, value) in &nginx.additional_ingress_annotations {
            let key = if key.starts_with(prefix) { key.clone() } else { format!("{prefix}/{key}") };
            annotate(key, value.clone());
        }
        annotate(format!("{prefix}/canary"), "true".to_owned());
        annotate(format!("{prefix}/canary-weight"), weight.to_string());
        if self.spec.full() != 100 {
            annotate(format!("{prefix}/canary-weight-total"), self.spec.full().to_string());
        }
        Ok(wanted)
    }
}
