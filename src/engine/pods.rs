//! Pods, kept small: ten thousand of them fit because only what the tree shows is kept.

use jiff::Timestamp;
use serde_json::Value;

use crate::core::object::Object;
use crate::core::snapshot::PodView;
use crate::core::text::Text;
use crate::text;

/// A pod as the tree shows it, with the labels that say whose it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Pod {
    /// Ready to be shown.
    pub view: PodView,
    /// Pod hash of its revision; empty for pods of something else.
    pub hash: Text,
    /// Seconds from its creation until it was ready, where it is.
    pub start_s: Option<u32>,
}

/// Takes in a pod.
pub fn pod(object: &Object) -> Pod {
    let owners = object.items("/metadata/ownerReferences");
    let set = owners.iter().find(|o| o["kind"] == "ReplicaSet").and_then(|o| o["name"].as_str()).unwrap_or_default();
    let hash = object.label("rollouts-pod-template-hash").or_else(|| object.label("pod-template-hash"));
    let containers = object.items("/status/containerStatuses");
    let restarts = containers.iter().filter_map(|c| c["restartCount"].as_u64()).sum::<u64>();
    let ready = object.items("/status/conditions").iter().find(|c| c["type"] == "Ready" && c["status"] == "True");
    let since = ready.and_then(|c| c["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok());
    let start = since.zip(object.created()).map(|(ready, created)| ready.duration_since(created).as_secs());
    Pod {
        view: PodView {
            name: object.name(),
            set: Text::scrub(set),
            status: status(object),
            ready: ready.is_some(),
            restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
        },
        hash: Text::scrub(hash.unwrap_or_default()),
        // One that went back to not ready and came again says nothing about how long a start takes.
        start_s: start.filter(|_| restarts == 0).and_then(|s| u32::try_from(s).ok()),
    }
}

/// The status column of `kubectl get pods`: what keeps a container from running says more than the phase.
fn status(object: &Object) -> Text {
    let mut out =
        object.text("/status/reason").or_else(|| object.text("/status/phase")).unwrap_or_else(|| "Unknown".into());
    let initial = object.items("/status/initContainerStatuses");
    let failed_init = initial.iter().find_map(|c| {
        let state = &c["state"];
        let ended = state["terminated"]["exitCode"].as_i64();
        if ended == Some(0) || c["ready"] == true || state["running"].is_object() {
            return None;
        }
        let reason = state["terminated"]["reason"].as_str().or_else(|| state["waiting"]["reason"].as_str())?;
        (reason != "PodInitializing").then(|| text!("Init:{reason}"))
    });
    let container = object.items("/status/containerStatuses").iter().rev().find_map(|c| stuck(&c["state"]));
    if let Some(stuck) = failed_init.or(container) {
        out = stuck;
    }
    if object.raw("/metadata/deletionTimestamp").is_some() {
        out = "Terminating".into();
    }
    out
}

fn stuck(state: &Value) -> Option<Text> {
    if let Some(reason) = state["waiting"]["reason"].as_str().filter(|r| !r.is_empty()) {
        return Some(Text::scrub(reason));
    }
    let ended = &state["terminated"];
    if let Some(reason) = ended["reason"].as_str().filter(|r| !r.is_empty()) {
        return Some(Text::scrub(reason));
    }
    match (ended["signal"].as_i64().filter(|s| *s != 0), ended["exitCode"].as_i64()) {
        (Some(signal), _) => Some(text!("Signal:{signal}")),
        (None, Some(code)) => Some(text!("ExitCode:{code}")),
        (None, None) => None,
    }
}

/// True for a state that will not mend itself soon and that a captain should see at once.
pub fn is_bad(view: &PodView) -> bool {
    let bad =
        ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "OOMKilled", "CreateContainerConfigError", "Error"];
    view.restarts >= 2 && !view.ready || bad.iter().any(|b| view.status.trim_start_matches("Init:") == *b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(status: Value, metadata: Value) -> String {
        pod(&Object::new(json!({"metadata": metadata, "status": status}))).view.status.to_string()
    }

    #[test]
    fn the_status_is_the_one_kubectl_prints() {
        let state = |state: Value| json!({"phase": "Running", "containerStatuses": [{"name": "app", "state": state}]});
        assert_eq!(shown(json!({"phase": "Pending"}), json!({})), "Pending");
        assert_eq!(shown(state(json!({"running": {}})), json!({})), "Running");
        assert_eq!(shown(state(json!({"waiting": {"reason": "CrashLoopBackOff"}})), json!({})), "CrashLoopBackOff");
        assert_eq!(
            shown(state(json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}})), json!({})),
            "OOMKilled"
        );
        assert_eq!(shown(state(json!({"terminated": {"signal": 9, "exitCode": 137}})), json!({})), "Signal:9");
        assert_eq!(
            shown(state(json!({"running": {}})), json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})),
            "Terminating"
        );
        assert_eq!(shown(json!({"phase": "Failed", "reason": "Evicted"}), json!({})), "Evicted");
        let init =
            json!({"phase": "Pending", "initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]});
        assert_eq!(shown(init, json!({})), "Init:ErrImagePull");
        assert_eq!(shown(json!({}), json!({})), "Unknown");
    }

    #[test]
    fn whose_it_is_and_how_it_does() {
        let raw = json!({
            "metadata": {"name": "a-1-x", "labels": {"rollouts-pod-template-hash": "h1"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "a-h1"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"restartCount": 1, "state": {"running": {}}}, {"restartCount": 2, "state": {"running": {}}}]}
        });
        let found = pod(&Object::new(raw));
        assert_eq!((found.hash.as_str(), found.view.set.as_str(), found.view.restarts), ("h1", "a-h1", 3));
        assert!(found.view.ready && !is_bad(&found.view));
        let view = PodView { status: "CrashLoopBackOff".into(), ready: false, ..found.view };
        assert!(is_bad(&view));
    }
}
