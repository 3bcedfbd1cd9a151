//! The ReplicaSet controller: as many pods as asked for, the unready and the newest going first, and the counts in
//! `status`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::kinds;
use super::agenda::Task;
use super::desk::Desk;
use super::{fields, pod};

const COMPONENT: &str = "replicaset-controller";

/// Reconciles one ReplicaSet.
pub fn reconcile(desk: &mut Desk<'_>, namespace: &str, name: &str) {
    let Some(set) = desk.get(&kinds::REPLICA_SET, namespace, name) else { return };
    if set.pointer("/metadata/deletionTimestamp").is_some() {
        return;
    }
    let mut pods = desk.owned(&kinds::POD, fields::uid(&set));
    let asked = usize::try_from(fields::int(&set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    // Those that would go first stand last: ready before unready, old before new.
    pods.sort_by_key(|p| (!pod::is_ready(p), fields::created(p), fields::name(p).to_owned()));
    while pods.len() > asked {
        let Some(surplus) = pods.pop() else { break };
        desk.event(COMPONENT, &set, "SuccessfulDelete", &format!("Deleted pod: {}", fields::name(&surplus)));
        desk.delete(&kinds::POD, &surplus);
    }
    while pods.len() < asked {
        let Some(made) = create_pod(desk, &set) else { break };
        desk.event(COMPONENT, &set, "SuccessfulCreate", &format!("Created pod: {}", fields::name(&made)));
        pods.push(made);
    }
    write_status(desk, &set, &pods);
}

/// A pod of a template, owned by the object that asks for it.
pub fn create_pod(desk: &mut Desk<'_>, owner: &Value) -> Option<Value> {
    let template = owner.pointer("/spec/template")?;
    let mut metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
    fields::remove(&mut metadata, &["creationTimestamp"]);
    metadata["generateName"] = json!(format!("{}-", fields::name(owner)));
    metadata["namespace"] = json!(fields::namespace(owner));
    metadata["ownerReferences"] = json!([fields::owner_reference(owner)]);
    let pod = json!({ "metadata": metadata, "spec": template.get("spec"), "status": { "phase": "Pending" } });
    desk.create(&kinds::POD, pod)
}

fn write_status(desk: &mut Desk<'_>, set: &Value, pods: &[Value]) {
    let now = desk.now();
    let least = SignedDuration::from_secs(fields::count(set, "/spec/minReadySeconds"));
    let mut next: Option<Timestamp> = None;
    let (mut ready, mut available) = (0, 0);
    for since in pods.iter().filter_map(pod::ready_since) {
        ready += 1;
        match since.saturating_add(least) {
            Ok(at) if at > now => next = Some(next.map_or(at, |n| n.min(at))),
            _ => available += 1,
        }
    }
    let mut status = json!({
        "replicas": pods.len(),
        "fullyLabeledReplicas": pods.len(),
        "readyReplicas": ready,
        "availableReplicas": available,
        "terminatingReplicas": 0,
        "observedGeneration": fields::generation(set),
    });
    if let Some(map) = status.as_object_mut() {
        // Zero counts are left out, but for the total and those that are going.
        map.retain(|key, value| {
            matches!(key.as_str(), "replicas" | "terminatingReplicas") || value.as_i64() != Some(0)
        });
    }
    if set.get("status") != Some(&status) {
        desk.set_status(&kinds::REPLICA_SET, set, status);
    }
    if let Some(at) = next {
        let task = Task::ReplicaSet(fields::namespace(set).to_owned(), fields::name(set).to_owned());
        desk.once_past(at, task);
    }
}
