//! What the controller calls an invalid spec, in its words. Only what a Rollout of the simulated kinds can get wrong.

use serde_json::Value;

use super::super::super::kinds;
use super::super::fields;
use super::Context;
use super::spec::{Analysis, Step};

impl Context<'_, '_> {
    /// The first thing that is wrong with the spec or with what it refers to.
    pub(super) fn first_violation(&self) -> Option<String> {
        self.shape().or_else(|| self.strategy()).or_else(|| self.references())
    }

    fn shape(&self) -> Option<String> {
        let spec = &self.spec;
        if spec.size() < 0 {
            let size = spec.size();
            return Some(format!("spec.replicas: Invalid value: {size}: must be greater than or equal to 0"));
        }
        let Some(selector) = spec.selector.as_ref() else {
            return Some("spec.selector: Required value: Rollout has missing field '.spec.selector'".to_owned());
        };
        let empty = fields::canonical(selector).as_object().is_none_or(serde_json::Map::is_empty);
        if empty {
            return Some("spec.selector: Invalid value: {}: empty selector is invalid for deployment".to_owned());
        }
        let template = self.template();
        if !fields::selects(selector, template.pointer("/metadata/labels")) {
            let labels = template.pointer("/metadata/labels").cloned().unwrap_or(Value::Null);
            return Some(format!(
                "spec.template.metadata.labels: Invalid value: {labels}: `selector` does not match template `labels`"
            ));
        }
        if fields::items(&template, "/spec/containers").is_empty() {
            return Some("spec.template.spec.containers: Required value".to_owned());
        }
        for (i, container) in fields::items(&template, "/spec/containers").iter().enumerate() {
            if fields::text(container, "/image").trim().is_empty() {
                return Some(format!("spec.template.spec.containers[{i}].image: Required value"));
            }
        }
        let deadline = spec.progress_deadline().as_secs();
        if deadline <= spec.min_ready_seconds {
            return Some(format!(
                "spec.progressDeadlineSeconds: Invalid value: {deadline}: must be greater than minReadySeconds"
            ));
        }
        None
    }

    fn strategy(&self) -> Option<String> {
        let at = "spec.strategy";
        match (&self.spec.strategy.canary, &self.spec.strategy.blue_green) {
            (None, None) => Some(format!(
                "{at}.strategy: Required value: Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'"
            )),
            (Some(_), Some(_)) => Some(format!(
                "{at}.strategy: Invalid value: \"blueGreen: true canary: true\": Multiple Strategies can not be listed"
            )),
            (None, Some(b)) if b.active_service == b.preview_service => Some(format!(
                "{at}.activeService: Invalid value: {:?}: This rollout uses the same service for the active and preview services, but two different services are required.",
                b.active_service
            )),
            (None, Some(_)) => None,
            (Some(c), None) => {
                if !c.canary_service.is_empty() && c.canary_service == c.stable_service {
                    return Some(format!(
                        "{at}.stableService: Invalid value: {:?}: This rollout uses the same service for the stable and canary services, but two different services are required.",
                        c.stable_service
                    ));
                }
                if self.spec.routed() {
                    for (field, value) in [("stableService", &c.stable_service), ("canaryService", &c.canary_service)] {
                        if value.is_empty() {
                            return Some(format!(
                                "{at}.{field}: Invalid value: \"\": Canary service and Stable service must to be set when using Traffic Routing"
                            ));
                        }
                    }
                }
                c.steps.iter().enumerate().find_map(|(i, raw)| self.step(i, raw))
            }
        }
    }

    fn step(&self, index: usize, raw: &Value) -> Option<String> {
        let at = format!("spec.strategy.steps[{index}]");
        let kinds = raw.as_object().map_or(0, |o| o.values().filter(|v| !v.is_null()).count());
        if kinds > 1 {
            return Some(format!(
                "{at}.step: Invalid value: {raw}: Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause"
            ));
        }
        let full = self.spec.full();
        match Step::read(raw) {
            Err(_) if raw.get("pause").is_some() => {
                Some(format!("{at}.pause.duration: Invalid value: -1: Duration needs to be greater than or equal to 0"))
            }
            Err(_) => Some(format!(
                "{at}: Invalid value: {raw}: Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause"
            )),
            Ok(Step::SetWeight(w)) if !(0..=full).contains(&w) => {
                Some(format!("{at}.setWeight: Invalid value: {w}: SetWeight needs to be between 0 and {full}"))
            }
            Ok(Step::Pause(Some(length))) if length.is_negative() => Some(format!(
                "{at}.pause.duration: Invalid value: {}: Duration needs to be greater than or equal to 0",
                length.as_secs()
            )),
            Ok(Step::Scale(_)) if !self.spec.routed() => Some(
                "spec.strategy.trafficRouting: Required value: SetCanaryScale requires TrafficRouting to be set"
                    .to_owned(),
            ),
            Ok(_) => None,
        }
    }

    /// Services, ingresses and analysis templates that must exist.
    fn references(&self) -> Option<String> {
        let missing_service = |field: &str, name: &str| {
            (!name.is_empty() && self.service(name).is_none())
                .then(|| format!("spec.strategy.{field}: Invalid value: {name:?}: service {name:?} not found"))
        };
        if let Some(c) = &self.spec.strategy.canary {
            let services = missing_service("canary.stableService", &c.stable_service)
                .or_else(|| missing_service("canary.canaryService", &c.canary_service));
            if services.is_some() {
                return services;
            }
            let nginx = c.traffic_routing.as_ref().and_then(|r| r.nginx.as_ref());
            let ingresses = nginx.map(|n| {
                if n.stable_ingresses.is_empty() { vec![n.stable_ingress.clone()] } else { n.stable_ingresses.clone() }
            });
            for name in ingresses.into_iter().flatten() {
                let Some(ingress) = self.desk.get(&kinds::INGRESS, self.namespace(), &name) else {
                    return Some(format!(
                        "spec.strategy.canary.trafficRouting.nginx.stableIngress: Invalid value: {name:?}: ingress.networking.k8s.io {name:?} not found"
                    ));
                };
                let routes = fields::items(&ingress, "/spec/rules")
                    .iter()
                    .flat_map(|r| fields::items(r, "/http/paths"))
                    .any(|p| fields::text(p, "/backend/service/name") == c.stable_service);
                if !routes {
                    return Some(format!(
                        "spec.strategy.canary.trafficRouting.nginx.stableIngress: Invalid value: {name:?}: ingress `{name}` has no rules using service {} backend",
                        c.stable_service
                    ));
                }
            }
            for (i, raw) in c.steps.iter().enumerate() {
                if let Ok(Step::Analysis(analysis)) = Step::read(raw)
                    && let Some(why) =
                        self.templates(&format!("spec.strategy.canary.steps[{i}].analysis.templates"), &analysis)
                {
                    return Some(why);
                }
            }
            return c.analysis.as_ref().and_then(|a| self.templates("spec.strategy.canary.analysis.templates", a));
        }
        let b = self.spec.strategy.blue_green.as_ref()?;
        missing_service("blueGreen.activeService", &b.active_service)
            .or_else(|| missing_service("blueGreen.previewService", &b.preview_service))
            .or_else(|| {
                let at = "spec.strategy.blueGreen.prePromotionAnalysis.templates";
                b.pre_promotion_analysis.as_ref().and_then(|a| self.templates(at, a))
            })
            .or_else(|| {
                let at = "spec.strategy.blueGreen.postPromotionAnalysis.templates";
                b.post_promotion_analysis.as_ref().and_then(|a| self.templates(at, a))
            })
    }

    fn templates(&self, at: &str, analysis: &Analysis) -> Option<String> {
        analysis.templates.iter().find_map(|t| {
            let name = fields::text(t, "/templateName");
            let there = self.desk.get(&kinds::ANALYSIS_TEMPLATE, self.namespace(), name).is_some();
            (!there).then(|| format!("{at}: Invalid value: {name:?}: AnalysisTemplate '{name}' not found"))
        })
    }
}
