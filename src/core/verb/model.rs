//! A model of an API server with one Rollout and its controller, for the tests of the verbs: patches are applied as the
//! server does it (tests first, `status` apart, generation), and the controller moves one small step at a time. It knows
//! nothing of the code it tests.

use jiff::{SignedDuration, Timestamp};
use json_patch::PatchOperation;
use serde_json::{Value, json};

use super::Facts;
use crate::core::effect::{Change, Effect};
use crate::core::object::Object;

pub const OLD: &str = "r.example/p/app:1.0.0";
pub const NEW: &str = "r.example/p/app:2.0.0";

#[derive(Clone, Debug)]
pub struct Cluster {
    pub rollout: Value,
    pub sets: Vec<Value>,
    pub now: Timestamp,
    /// Steps whose pause or analysis was ended by an approval.
    pub approved: Vec<i64>,
    /// True when a forward write landed while the object was held or being taken back by hand.
    pub forward_on_hold: bool,
}

/// Why a write did not land.
#[derive(Debug, PartialEq)]
pub struct Unprocessable;

impl Cluster {
    /// A Rollout that is Healthy on OLD.
    pub fn healthy(steps: Value, spec: Value) -> Self {
        let mut rollout = json!({
            "metadata": {"name": "app", "namespace": "n", "uid": "u1", "generation": 1},
            "spec": {"replicas": 4, "strategy": {"canary": {"steps": steps}}, "template": template(OLD)},
            "status": {}
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            rollout["spec"][key.as_str()] = value.clone();
        }
        let now = "2025-10-01T12:00:00Z".parse().unwrap();
        let mut cluster = Self { rollout, sets: Vec::new(), now, approved: Vec::new(), forward_on_hold: false };
        cluster.settle();
        assert_eq!(cluster.rollout["status"]["stableRS"], cluster.rollout["status"]["currentPodHash"]);
        cluster
    }

    pub fn facts(&self) -> Facts {
        Facts {
            object: Some(Object::new(self.rollout.clone())),
            target: None,
            primary: None,
            sets: self.sets.iter().cloned().map(Object::new).collect(),
            records: Vec::new(),
            was_stable: Vec::new(),
            run: None,
            owner: None,
            now: self.now,
        }
    }

    pub fn send(&mut self, effect: &Effect) -> Result<(), Unprocessable> {
        let before = self.rollout.clone();
        let (patch, status) = match &effect.change {
            Change::Patch(patch) => (patch, false),
            Change::PatchStatus(patch) => (patch, true),
            Change::Create(_) => return Err(Unprocessable),
        };
        let after = apply(&before, &patch.0)?;
        if status {
            self.rollout["status"] = after["status"].clone();
            let step = |v: &Value| v["status"]["currentStepIndex"].as_i64();
            if before["status"]["pauseConditions"] != after["status"]["pauseConditions"] {
                self.approved.extend(step(&before));
            }
        } else {
            let status = self.rollout["status"].take();
            self.rollout = after;
            self.rollout["status"] = status;
            if self.rollout["spec"] != before["spec"] {
                self.rollout["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap() + 1);
            }
        }
        let forward = effect.direction == crate::core::effect::Direction::Forward;
        let ends_the_hold = self.rollout["spec"]["paused"] == false && before["spec"]["paused"] == true;
        if forward && before["spec"]["paused"] == true && !ends_the_hold {
            self.forward_on_hold = true;
        }
        Ok(())
    }

    /// What another hand does with a merge patch.
    pub fn merge(&mut self, patch: Value) {
        let spec = self.rollout["spec"].clone();
        json_patch::merge(&mut self.rollout, &patch);
        if self.rollout["spec"] != spec {
            let generation = self.rollout["metadata"]["generation"].as_i64().unwrap();
            self.rollout["metadata"]["generation"] = json!(generation + 1);
        }
    }

    pub fn deploy(&mut self, image: &str) {
        self.merge(json!({"spec": {"template": template(image)}}));
    }

    /// The controller runs until nothing moves. Timed pauses do not end here.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            if !self.reconcile() {
                return;
            }
        }
        panic!("the model does not come to rest: {}", self.rollout);
    }

    pub fn hash_of(&self, image: &str) -> Option<&str> {
        let set = self.sets.iter().find(|s| s["spec"]["template"]["spec"]["containers"][0]["image"] == image)?;
        set["metadata"]["labels"]["rollouts-pod-template-hash"].as_str()
    }

    /// One small step of the controller; false when there is nothing to do.
    pub fn reconcile(&mut self) -> bool {
        self.now += SignedDuration::from_secs(1);
        let before = (self.rollout.clone(), self.sets.clone());
        self.one_step();
        (&self.rollout, &self.sets) != (&before.0, &before.1)
    }

    fn one_step(&mut self) {
        let template = self.rollout["spec"]["template"].clone();
        let found = self.sets.iter().position(|s| unhashed(&s["spec"]["template"]) == unhashed(&template));
        let index = found.unwrap_or_else(|| self.new_set(&template));
        let hash = self.sets[index]["metadata"]["labels"]["rollouts-pod-template-hash"].as_str().unwrap().to_owned();
        let newest = self.sets.iter().map(revision).max().unwrap_or(0);
        if revision(&self.sets[index]) < newest {
            self.sets[index]["metadata"]["annotations"]["rollout.argoproj.io/revision"] =
                json!((newest + 1).to_string());
        }
        let steps = self.rollout["spec"]["strategy"]["canary"]["steps"].as_array().cloned().unwrap_or_default();
        let end = json!(steps.len());
        let generation = self.rollout["metadata"]["generation"].clone();
        let paused = self.rollout["spec"]["paused"] == true;
        let stable = self.rollout["status"]["stableRS"].as_str().unwrap_or_default().to_owned();
        let in_window = self.in_window(&hash, &stable);
        let restart_at = self.rollout["spec"]["restartAt"].clone();
        let status = &mut self.rollout["status"];
        status["observedGeneration"] = json!(generation.to_string());
        if status["currentPodHash"] != hash.as_str() {
            status["currentPodHash"] = json!(hash);
            for gone in ["abort", "abortedAt", "promoteFull", "pauseConditions", "controllerPause"] {
                status.as_object_mut().unwrap().remove(gone);
            }
            status["canary"] = json!({});
            status["currentStepIndex"] = if stable == hash || stable.is_empty() { end } else { json!(0) };
            return;
        }
        if status["restartedAt"] != restart_at {
            status["restartedAt"] = restart_at;
            return;
        }
        let full = status["promoteFull"] == true || in_window;
        if stable.is_empty() || stable == hash || full {
            if full {
                for gone in ["abort", "abortedAt", "pauseConditions", "controllerPause"] {
                    status.as_object_mut().unwrap().remove(gone);
                }
            }
            status["currentStepIndex"] = end;
            if !paused {
                status["stableRS"] = json!(hash);
                status.as_object_mut().unwrap().remove("promoteFull");
                self.scale(&hash, &stable, 4);
            }
            return;
        }
        if status["abort"] == true {
            if status["abortedAt"].is_null() {
                status["abortedAt"] = json!(self.now.to_string());
                status["currentStepIndex"] = json!(0);
                for gone in ["pauseConditions", "controllerPause"] {
                    status.as_object_mut().unwrap().remove(gone);
                }
                return;
            }
            if !paused {
                self.scale(&hash, &stable, 0);
            }
            return;
        }
        status.as_object_mut().unwrap().remove("abortedAt");
        if paused {
            return;
        }
        let step = status["currentStepIndex"].as_i64().unwrap_or(0);
        let waits = !status["pauseConditions"].is_null();
        match steps.get(usize::try_from(step).unwrap()) {
            None => {
                status["stableRS"] = json!(hash);
                self.scale(&hash, &stable, 4);
            }
            Some(now) if now["setWeight"].is_i64() => {
                status["currentStepIndex"] = json!(step + 1);
                self.scale(&hash, &stable, now["setWeight"].as_u64().unwrap() * 4 / 100);
            }
            Some(_) if waits => {}
            Some(_) if status["controllerPause"] == true => {
                status["controllerPause"] = json!(false);
                status["canary"] = json!({});
                status["currentStepIndex"] = json!(step + 1);
            }
            Some(now) => {
                let analysis = now["analysis"].is_object();
                let reason = if analysis { "InconclusiveAnalysisRun" } else { "CanaryPauseStep" };
                if analysis {
                    status["canary"]["currentStepAnalysisRunStatus"] =
                        json!({"name": format!("app-{hash}-{step}"), "status": "Inconclusive"});
                }
                status["pauseConditions"] = json!([{"reason": reason, "startTime": self.now.to_string()}]);
                status["controllerPause"] = json!(true);
            }
        }
    }

    fn in_window(&self, hash: &str, stable: &str) -> bool {
        let created = |h: &str| {
            let set = self.sets.iter().find(|s| s["metadata"]["labels"]["rollouts-pod-template-hash"] == h);
            set.and_then(|s| s["metadata"]["creationTimestamp"].as_str()).map(|t| t.parse::<Timestamp>().unwrap())
        };
        let window = self.rollout["spec"]["rollbackWindow"]["revisions"].as_u64().unwrap_or(0);
        let (Some(from), Some(until)) = (created(hash), created(stable)) else { return false };
        let hashes = self.sets.iter().map(|s| s["metadata"]["labels"]["rollouts-pod-template-hash"].as_str().unwrap());
        let between = hashes.filter_map(created).filter(|at| from < *at && *at < until).count() as u64;
        from < until && between < window
    }

    fn new_set(&mut self, template: &Value) -> usize {
        let revision = self.sets.iter().map(revision).max().unwrap_or(0) + 1;
        let hash = format!("h{revision}{}", self.sets.len());
        let mut template = template.clone();
        template["metadata"]["labels"]["rollouts-pod-template-hash"] = json!(hash);
        self.sets.push(json!({
            "metadata": {
                "name": format!("app-{hash}"), "labels": {"rollouts-pod-template-hash": hash},
                "creationTimestamp": self.now.to_string(),
                "annotations": {"rollout.argoproj.io/revision": revision.to_string()},
                "ownerReferences": [{"uid": "u1", "controller": true}]
            },
            "spec": {"replicas": 0, "template": template}, "status": {"availableReplicas": 0}
        }));
        self.sets.len() - 1
    }

    fn scale(&mut self, hash: &str, stable: &str, pods: u64) {
        for set in &mut self.sets {
            let label = &set["metadata"]["labels"]["rollouts-pod-template-hash"];
            let pods = match () {
                () if label == hash => pods,
                () if label == stable => 4 - pods,
                () => 0,
            };
            set["spec"]["replicas"] = json!(pods);
            set["status"]["availableReplicas"] = json!(pods);
        }
        self.rollout["status"]["availableReplicas"] = json!(4);
    }
}

pub fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "app"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn unhashed(template: &Value) -> Value {
    let mut t = template.clone();
    t["metadata"]["labels"].as_object_mut().unwrap().remove("rollouts-pod-template-hash");
    t
}

fn revision(set: &Value) -> u64 {
    set["metadata"]["annotations"]["rollout.argoproj.io/revision"].as_str().unwrap().parse().unwrap()
}

/// Applies a patch as the API server does: a test of null passes where nothing is, below a missing parent it fails.
pub fn apply(object: &Value, ops: &[PatchOperation]) -> Result<Value, Unprocessable> {
    let mut doc = object.clone();
    for op in ops {
        if let PatchOperation::Test(test) = op {
            let path = test.path.as_str();
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let there = doc.pointer(path).cloned().unwrap_or(Value::Null);
            if doc.pointer(parent).is_none() || there != test.value {
                return Err(Unprocessable);
            }
        } else {
            json_patch::patch(&mut doc, std::slice::from_ref(op)).map_err(|_| Unprocessable)?;
        }
    }
    Ok(doc)
}
