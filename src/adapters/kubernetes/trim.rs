//! What of an object is kept when it comes in by a watch. A thousand rollouts and ten thousand pods are mostly managed
//! fields, probes and environment that no view reads; verbs read whole objects afresh before they write.

use serde_json::{Map, Value};

use crate::core::object::{Object, ObjectKind};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object without what no view reads.
pub(super) fn watched(kind: ObjectKind, mut raw: Value) -> Object {
    if let Some(metadata) = raw.get_mut("metadata").and_then(Value::as_object_mut) {
        managers(kind, metadata);
        metadata.remove("selfLink");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    match kind {
        ObjectKind::Rollout | ObjectKind::Deployment | ObjectKind::ReplicaSet => {
            if let Some(spec) = raw.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
                template(spec);
            }
        }
        ObjectKind::Pod => pod(&mut raw),
        _ => {}
    }
    Object::new(raw)
}

/// Of managed fields only who wrote stays, and only where a GitOps owner matters.
fn managers(kind: ObjectKind, metadata: &mut Map<String, Value>) {
    let Some(fields) = metadata.remove("managedFields") else { return };
    if !matches!(kind, ObjectKind::Rollout | ObjectKind::Deployment | ObjectKind::Canary | ObjectKind::FeatureFlag) {
        return;
    }
    let mut names: Vec<&str> =
        fields.as_array().into_iter().flatten().filter_map(|field| field.get("manager")?.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let kept = names.into_iter().map(|name| serde_json::json!({ "manager": name })).collect();
    metadata.insert("managedFields".to_owned(), Value::Array(kept));
}

fn template(spec: &mut Map<String, Value>) {
    spec.retain(|key, _| key == "containers" || key == "initContainers");
    for list in spec.values_mut() {
        for container in list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            container.retain(|key, _| key == "name" || key == "image");
        }
    }
}

fn pod(raw: &mut Value) {
    if let Some(spec) = raw.get_mut("spec").and_then(Value::as_object_mut) {
        template(spec);
    }
    if let Some(metadata) = raw.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
    }
    let Some(status) = raw.get_mut("status").and_then(Value::as_object_mut) else { return };
    status.retain(|key, _| {
        matches!(
            key.as_str(),
            "phase" | "reason" | "message" | "conditions" | "containerStatuses" | "initContainerStatuses" | "startTime"
        )
    });
    for key in ["containerStatuses", "initContainerStatuses"] {
        for one in
            status.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
        {
            one.retain(|key, _| {
                matches!(key.as_str(), "name" | "image" | "imageID" | "ready" | "restartCount" | "state" | "lastState")
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bulk_goes_and_what_views_read_stays() {
        let raw = json!({
            "metadata": {"name": "a", "managedFields": [{"manager": "b", "fieldsV1": {}}, {"manager": "a"}, {"manager": "b"}], "annotations": {LAST_APPLIED: "{}", "footplate.dev/hold": "x"}},
            "spec": {"replicas": 3, "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"volumes": [{}], "containers": [{"name": "app", "image": "a:1", "env": [{}], "livenessProbe": {}}]}
            }},
            "status": {"phase": "Healthy"}
        });
        assert_eq!(
            *watched(ObjectKind::Rollout, raw).whole(),
            json!({
                "metadata": {"name": "a", "annotations": {"footplate.dev/hold": "x"}, "managedFields": [{"manager": "a"}, {"manager": "b"}]},
                "spec": {"replicas": 3, "template": {
                    "metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "app", "image": "a:1"}]}
                }},
                "status": {"phase": "Healthy"}
            })
        );
    }

    #[test]
    fn a_pod_keeps_how_it_is() {
        let raw = json!({
            "metadata": {"name": "p", "labels": {"x": "y"}, "annotations": {"big": "one"}},
            "spec": {"nodeName": "n", "tolerations": [{}], "containers": [{"name": "app", "image": "a:1", "env": []}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "app", "ready": true, "restartCount": 2, "containerID": "x", "volumeMounts": []}]}
        });
        assert_eq!(
            *watched(ObjectKind::Pod, raw).whole(),
            json!({
                "metadata": {"name": "p", "labels": {"x": "y"}},
                "spec": {"containers": [{"name": "app", "image": "a:1"}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"name": "app", "ready": true, "restartCount": 2}]}
            })
        );
    }
}
