//! What the definition of Rollouts says of their fields: the types of those that anybody writes by hand, and the names
//! at the levels where a mistyped one would do harm. Deeper levels are taken as they come.

use serde_json::Value;

use super::json_type;
use crate::rehearsal::refusal::Cause;

/// Fields of a Rollout whose type its definition fixes: (JSON pointer, type).
const TYPES: &[(&str, &str)] = &[
    ("/spec", "object"),
    ("/spec/replicas", "integer"),
    ("/spec/paused", "boolean"),
    ("/spec/minReadySeconds", "integer"),
    ("/spec/progressDeadlineSeconds", "integer"),
    ("/spec/progressDeadlineAbort", "boolean"),
    ("/spec/restartAt", "string"),
    ("/spec/revisionHistoryLimit", "integer"),
    ("/spec/rollbackWindow", "object"),
    ("/spec/rollbackWindow/revisions", "integer"),
    ("/spec/selector", "object"),
    ("/spec/strategy", "object"),
    ("/spec/strategy/canary", "object"),
    ("/spec/strategy/canary/steps", "array"),
    ("/spec/strategy/blueGreen", "object"),
    ("/spec/template", "object"),
    ("/spec/template/spec/containers", "array"),
    ("/spec/workloadRef", "object"),
    ("/status", "object"),
    ("/status/abort", "boolean"),
    ("/status/abortedAt", "string"),
    ("/status/promoteFull", "boolean"),
    ("/status/controllerPause", "boolean"),
    ("/status/pauseConditions", "array"),
    ("/status/currentPodHash", "string"),
    ("/status/currentStepIndex", "integer"),
    ("/status/currentStepHash", "string"),
    ("/status/stableRS", "string"),
    ("/status/observedGeneration", "string"),
    ("/status/phase", "string"),
    ("/status/message", "string"),
];

/// The fields that there are at a JSON pointer.
const KNOWN: &[(&str, &[&str])] = &[
    ("", &["apiVersion", "kind", "metadata", "spec", "status"]),
    (
        "/spec",
        &[
            "analysis",
            "minReadySeconds",
            "paused",
            "progressDeadlineAbort",
            "progressDeadlineSeconds",
            "replicas",
            "restartAt",
            "revisionHistoryLimit",
            "rollbackWindow",
            "selector",
            "strategy",
            "template",
            "workloadRef",
        ],
    ),
    ("/spec/strategy", &["blueGreen", "canary"]),
    (
        "/spec/strategy/canary",
        &[
            "abortScaleDownDelaySeconds",
            "analysis",
            "antiAffinity",
            "canaryMetadata",
            "canaryService",
            "dynamicStableScale",
            "maxSurge",
            "maxUnavailable",
            "minPodsPerReplicaSet",
            "pingPong",
            "replicaProgressThreshold",
            "scaleDownDelayRevisionLimit",
            "scaleDownDelaySeconds",
            "stableMetadata",
            "stableService",
            "steps",
            "trafficRouting",
        ],
    ),
    (
        "/spec/strategy/blueGreen",
        &[
            "abortScaleDownDelaySeconds",
            "activeMetadata",
            "activeService",
            "antiAffinity",
            "autoPromotionEnabled",
            "autoPromotionSeconds",
            "maxUnavailable",
            "postPromotionAnalysis",
            "prePromotionAnalysis",
            "previewMetadata",
            "previewReplicaCount",
            "previewService",
            "scaleDownDelayRevisionLimit",
            "scaleDownDelaySeconds",
        ],
    ),
    (
        "/status",
        &[
            "HPAReplicas",
            "abort",
            "abortedAt",
            "alb",
            "albs",
            "availableReplicas",
            "blueGreen",
            "canary",
            "collisionCount",
            "conditions",
            "controllerPause",
            "currentPodHash",
            "currentStepHash",
            "currentStepIndex",
            "message",
            "observedGeneration",
            "pauseConditions",
            "phase",
            "promoteFull",
            "readyReplicas",
            "replicas",
            "restartedAt",
            "selector",
            "stableRS",
            "updatedReplicas",
            "workloadObservedGeneration",
        ],
    ),
];

/// Drops the fields that the definition does not know; answers with their paths.
pub fn prune(object: &mut Value) -> Vec<String> {
    let mut dropped = Vec::new();
    for (pointer, known) in KNOWN {
        let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else { continue };
        map.retain(|field, _| {
            let kept = known.contains(&field.as_str());
            if !kept {
                dropped.push(format!("{pointer}/{field}").trim_start_matches('/').replace('/', "."));
            }
            kept
        });
    }
    dropped
}

/// Adds a cause for each field of another type than the definition says.
pub fn check(new: &Value, causes: &mut Vec<Cause>) {
    let before = causes.len();
    if new.get("spec").is_none() {
        causes.push(Cause::required("spec", ""));
    }
    for (pointer, want) in TYPES {
        let Some(value) = new.pointer(pointer) else { continue };
        let is = json_type(value);
        if is == *want {
            continue;
        }
        let field = pointer.trim_start_matches('/').replace('/', ".");
        causes.push(Cause {
            reason: "FieldValueTypeInvalid",
            message: format!("Invalid value: {is:?}: {field} in body must be of type {want}: {is:?}"),
            field,
        });
    }
    if causes.len() > before {
        causes.push(Cause {
            reason: "FieldValueInvalid",
            message: "Invalid value: null: some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation"
                .to_owned(),
            field: "<nil>".to_owned(),
        });
    }
}
