//! Other faces of stored objects: metadata only, the Scale subresource, the `events.k8s.io` face of core Events.

use serde_json::{Map, Value, json};

use crate::rehearsal::kinds::{self, Kind};
use crate::rehearsal::store::text;

/// The kind that a kind's objects are stored as.
pub fn stored(kind: &'static Kind) -> &'static Kind {
    if *kind == kinds::EVENTS_EVENT { &kinds::EVENT } else { kind }
}

/// An object with nothing but its metadata.
pub fn metadata_only(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// [`metadata_only`] as it goes over the wire, without copying the metadata.
pub fn metadata_text(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#)
}

/// The two faces of an Event: the core name and the `events.k8s.io` name of each field that differs.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// A core Event as `events.k8s.io` shows it.
pub fn event_face(event: &Value) -> Value {
    renamed(
        event,
        |field| EVENT_FIELDS.iter().find(|(core, _)| *core == field).map(|(_, new)| *new),
        "events.k8s.io/v1",
    )
}

/// An `events.k8s.io` Event as it is stored.
pub fn event_core(event: &Value) -> Value {
    renamed(event, |field| EVENT_FIELDS.iter().find(|(_, new)| *new == field).map(|(core, _)| *core), "v1")
}

fn renamed(event: &Value, name: impl Fn(&str) -> Option<&'static str>, api_version: &str) -> Value {
    let fields: Map<String, Value> = event
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, value)| (name(field).map_or_else(|| field.clone(), str::to_owned), value.clone()))
        .collect();
    let mut face = Value::Object(fields);
    face["apiVersion"] = json!(api_version);
    face
}

/// The Scale of a workload.
pub fn scale(kind: &Kind, object: &Value) -> Value {
    let metadata: Map<String, Value> = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .into_iter()
        .filter_map(|f| Some((f.to_owned(), object["metadata"].get(f)?.clone())))
        .collect();
    let (replicas, selector) = if kind.custom {
        ("/status/HPAReplicas", text(object, "/status/selector").to_owned())
    } else {
        ("/status/replicas", label_selector(&object["spec"]["selector"]))
    };
    let mut status = json!({ "replicas": object.pointer(replicas).and_then(Value::as_i64).unwrap_or(0) });
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    // Zero is left out on the wire.
    let spec = match object["spec"]["replicas"].as_i64().unwrap_or(0) {
        0 => json!({}),
        replicas => json!({ "replicas": replicas }),
    };
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    })
}

/// A LabelSelector in its text form.
pub fn label_selector(selector: &Value) -> String {
    let mut parts: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text(expression, "/key");
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_keeps_everything_through_both_faces() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e" }, "reason": "r", "message": "m",
            "involvedObject": { "name": "p" }, "source": { "component": "c" }, "count": 2, "type": "Normal",
            "firstTimestamp": "a", "lastTimestamp": "b", "reportingComponent": "c",
        });
        let face = event_face(&core);
        assert_eq!((face["note"].as_str(), face["regarding"]["name"].as_str()), (Some("m"), Some("p")));
        assert_eq!(event_core(&face), core);
    }
}
