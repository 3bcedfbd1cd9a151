//! A fleet as an Argo Rollouts controller leaves it: routed canaries, two replica sets each, ten pods each, with the bulk that
//! real templates have. Plain JSON for whoever writes it, straight into the simulated cluster's storage or over the wire to a
//! real API server. Knows no cluster and no program.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

use serde_json::{Value, json};

/// Where it lives.
pub const NAMESPACE: &str = "bench";

/// Pods of the stable revision, and of the one before or after it.
pub const PODS: [(&str, usize); 2] = [("a", 8), ("b", 2)];

/// Name of a rollout.
pub fn name(n: usize) -> String {
    format!("svc-{n:04}")
}

/// Pod hash of one of its revisions.
pub fn hash(n: usize, revision: &str) -> String {
    format!("{revision}{n:04}f7d9")
}

/// What a rollout is doing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Moment {
    /// Everything is on the stable revision.
    Healthy,
    /// Its canary takes so many percent, on the way to 25, 50 and 75 at steps 0, 2 and 4.
    Stepping { step: u32, weight: u32 },
    /// A pause of an hour that began at this time.
    Pausing { since: jiff::Timestamp },
    /// A pause that only a person ends.
    Waiting,
}

/// The status that goes with a moment, as a JSON merge patch of the whole object.
pub fn status(n: usize, moment: Moment) -> Value {
    let canary = hash(n, "b");
    let stable = if moment == Moment::Healthy { canary.clone() } else { hash(n, "a") };
    let weights = |weight: u32| {
        json!({"canary": {"weight": weight, "podTemplateHash": canary, "serviceName": "c"},
            "stable": {"weight": 100 - weight, "podTemplateHash": stable, "serviceName": "s"}})
    };
    let conditions = json!([
        {"type": "Available", "status": "True", "reason": "AvailableReason", "message": "Rollout has minimum availability",
            "lastTransitionTime": "2026-01-07T14:00:00Z", "lastUpdateTime": "2026-01-07T14:00:00Z"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "ReplicaSet has successfully progressed.",
            "lastTransitionTime": "2026-01-07T14:00:00Z", "lastUpdateTime": "2026-01-07T14:00:00Z"}]);
    let common = |phase: &str, message: Value, step: u32, weight: u32| {
        json!({"observedGeneration": "1", "stableRS": stable, "phase": phase, "message": message, "currentStepIndex": step,
            "currentStepHash": "6fdbb97b5d", "replicas": 10, "readyReplicas": 10, "availableReplicas": 10, "HPAReplicas": 10,
            "selector": format!("app={}", name(n)), "blueGreen": {}, "conditions": conditions,
            "pauseConditions": null, "controllerPause": null, "canary": {"weights": weights(weight)}})
    };
    let mut status = match moment {
        Moment::Healthy => common("Healthy", Value::Null, 6, 0),
        Moment::Stepping { step, weight } => {
            common("Progressing", json!("more replicas need to be updated"), step, weight)
        }
        Moment::Pausing { .. } => common("Paused", json!("CanaryPauseStep"), 1, 25),
        Moment::Waiting => common("Paused", json!("CanaryPauseStep"), 3, 50),
    };
    status["currentPodHash"] = json!(canary);
    status["updatedReplicas"] = json!(match moment {
        Moment::Healthy => 8,
        // A number that no other part of a screen shows: what peers are measured by that show no weight.
        Moment::Stepping { weight, .. } => 100_000 + weight,
        _ => 2,
    });
    let since = match moment {
        Moment::Pausing { since } => Some(since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        Moment::Waiting => Some("2026-01-07T14:00:00Z".to_owned()),
        _ => None,
    };
    if let Some(since) = since {
        status["pauseConditions"] = json!([{"reason": "CanaryPauseStep", "startTime": since}]);
        status["controllerPause"] = json!(true);
    }
    json!({ "status": status })
}

/// A rollout, without status.
pub fn rollout(n: usize) -> Value {
    let app = name(n);
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": app, "namespace": NAMESPACE, "annotations": {"rollout.argoproj.io/revision": "2"},
            // The real controller leaves alone what belongs to another one.
            "labels": {"app": app, "argo-rollouts.argoproj.io/controller-instance-id": "bench"}},
        "spec": {"replicas": 10, "revisionHistoryLimit": 3, "selector": {"matchLabels": {"app": app}}, "template": template(n, None, "2.0.0"),
            "strategy": {"canary": {"stableService": "s", "canaryService": "c", "trafficRouting": {"nginx": {"stableIngress": "i"}},
                "steps": [{"setWeight": 25}, {"pause": {"duration": "1h"}}, {"setWeight": 50}, {"pause": {}}, {"setWeight": 75}, {"pause": {"duration": "1h"}}]}}}})
}

/// One of its replica sets, with status.
pub fn set(n: usize, revision: &str, owner: &str) -> Value {
    let (app, hash) = (name(n), hash(n, revision));
    let (number, version) = if revision == "a" { ("1", "1.9.0") } else { ("2", "2.0.0") };
    let pods = PODS.iter().find(|(r, _)| *r == revision).unwrap().1;
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("{app}-{hash}"), "namespace": NAMESPACE, "labels": {"app": app, "rollouts-pod-template-hash": hash},
            "annotations": {"rollout.argoproj.io/revision": number},
            "ownerReferences": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": app, "uid": owner, "controller": true,
                "blockOwnerDeletion": true}]},
        "spec": {"replicas": pods, "selector": {"matchLabels": {"app": app, "rollouts-pod-template-hash": hash}},
            "template": template(n, Some(&hash), version)},
        "status": {"replicas": pods, "fullyLabeledReplicas": pods, "readyReplicas": pods, "availableReplicas": pods, "observedGeneration": 1}})
}

/// One pod of a replica set, with status.
pub fn pod(n: usize, revision: &str, k: usize, owner: &str) -> Value {
    let (app, hash) = (name(n), hash(n, revision));
    let version = if revision == "a" { "1.9.0" } else { "2.0.0" };
    let mut spec = template(n, None, version)["spec"].take();
    spec["nodeName"] = json!(format!("node-{}", k % 3));
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{app}-{hash}-{k:05}"), "namespace": NAMESPACE, "labels": {"app": app, "rollouts-pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-{hash}"), "uid": owner, "controller": true}]},
        "spec": spec,
        "status": {"phase": "Running", "podIP": "10.0.0.1", "startTime": "2026-01-07T14:00:00Z",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-07T14:00:00Z"},
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-07T14:00:00Z"}],
            "containerStatuses": [{"name": "app", "image": format!("registry.example/{app}:{version}"), "imageID": "sha256:1", "ready": true,
                "restartCount": 0, "state": {"running": {"startedAt": "2026-01-07T14:00:00Z"}}}]}})
}

fn template(n: usize, hash: Option<&str>, version: &str) -> Value {
    let app = name(n);
    let mut labels = json!({ "app": app });
    if let Some(hash) = hash {
        labels["rollouts-pod-template-hash"] = json!(hash);
    }
    let variables: Vec<Value> = ["DATABASE_URL", "BROKER_URL", "LOG_LEVEL", "OTEL_ENDPOINT", "FLAGS_SOURCE", "REGION"]
        .iter()
        .map(|key| json!({"name": key, "value": format!("value-of-{}-for-{app}.payments.svc.cluster.local", key.to_lowercase())}))
        .collect();
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8080}, "periodSeconds": 5, "failureThreshold": 3, "timeoutSeconds": 2});
    json!({"metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": format!("registry.example/{app}:{version}"), "env": variables,
            "ports": [{"containerPort": 8080, "name": "http"}], "readinessProbe": probe("/readyz"), "livenessProbe": probe("/livez"),
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}]}],
            "volumes": [{"name": "config", "configMap": {"name": format!("{app}-config"), "optional": true}}]}})
}
