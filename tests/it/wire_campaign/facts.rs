//! Objects and writes in the oracle's own words, read from the JSON that the server holds. Nothing of the core is used here: what
//! would read wrong there would read wrong here too.

use serde_json::Value;

use super::scenario::PINNED;
use super::tap::{Who, Write};

/// What a client's write moves forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forward {
    /// The pinned version is set.
    Deploy,
    /// A hold ends.
    Release,
    /// A step that waits is let go.
    Approve,
    /// The steps that are left are skipped.
    Full,
    /// An aborted one is tried again.
    Again,
    /// A flag moves.
    Flag,
    /// The Job of an expand step.
    Job,
}

pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn image(object: &Value) -> &str {
    text(object, "/spec/template/spec/containers/0/image")
}

pub fn is_pinned(object: &Value) -> bool {
    image(object).rsplit_once(':').is_some_and(|(_, tag)| tag == PINNED)
}

/// An annotation of footplate's.
pub fn stamp<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(format!("footplate.dev/{key}"))?.as_str()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn is(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

pub fn paused(object: &Value) -> bool {
    is(object, "/spec/paused")
}

/// True when a workload runs what its template says, all of it, and its controller says so of this very generation.
pub fn whole(object: &Value) -> bool {
    let generation = number(object, "/metadata/generation");
    if text(object, "/kind") == "Rollout" {
        return text(object, "/status/phase") == "Healthy"
            && text(object, "/status/observedGeneration") == generation.to_string()
            && text(object, "/status/currentPodHash") == text(object, "/status/stableRS");
    }
    let size = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    number(object, "/status/observedGeneration") == generation
        && ["/status/replicas", "/status/updatedReplicas", "/status/availableReplicas"]
            .iter()
            .all(|pointer| number(object, pointer) == size)
}

/// The pod template, without what a null or an empty map may stand for.
pub fn template(object: &Value) -> Value {
    let mut template = object.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty()));
    }
    template
}

/// The pinned template that follows from this one: its image, and the mark that makes a hash new.
pub fn is_pinned_of(template: &Value, before: &Value) -> bool {
    let mut bare = template.clone();
    if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| key != "footplate.dev/train");
        }
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    let mut wanted = before.clone();
    wanted["spec"]["containers"][0]["image"] = bare["spec"]["containers"][0]["image"].clone();
    bare == wanted && text(&bare, "/spec/containers/0/image").ends_with(PINNED)
}

/// Which way a client's write goes, where it goes forward.
pub fn forward(write: &Write, flags_were: &Value) -> Option<Forward> {
    if !matches!(write.who, Who::Conductor(_) | Who::Cockpit) {
        return None;
    }
    let (before, after) = (&write.before, &write.after);
    match write.kind {
        "jobs" if before.is_null() => return Some(Forward::Job),
        "featureflags" => {
            let moved = before["spec"] != after["spec"] && after["spec"] != *flags_were;
            return moved.then_some(Forward::Flag);
        }
        "rollouts" | "deployments" if !before.is_null() && !after.is_null() => {}
        _ => return None,
    }
    let going_back = stamp(after, "undo").is_some();
    if template(before) != template(after) && is_pinned(after) {
        return Some(Forward::Deploy);
    }
    if paused(before) && !paused(after) && !going_back {
        return Some(Forward::Release);
    }
    let waits =
        |o: &Value| o.pointer("/status/pauseConditions").and_then(Value::as_array).is_some_and(|a| !a.is_empty());
    let step = |o: &Value| number(o, "/status/currentStepIndex");
    if waits(before) && !waits(after) || step(after) > step(before) {
        return Some(Forward::Approve);
    }
    if !is(before, "/status/promoteFull") && is(after, "/status/promoteFull") && !going_back {
        return Some(Forward::Full);
    }
    (is(before, "/status/abort") && !is(after, "/status/abort")).then_some(Forward::Again)
}

/// What an order in a Release wants.
#[derive(Clone, PartialEq, Debug)]
pub enum Wanted {
    HoldAll,
    Resume(u64),
    UndoAll,
    UndoSome,
    Approve(usize),
    Full(usize),
    Retry(usize),
    Other,
}

/// The orders in a Release: number, who gave it, what it wants.
pub fn orders(release: &Value) -> Vec<(u64, String, Wanted)> {
    let all = release.pointer("/spec/intents").and_then(Value::as_array).into_iter().flatten();
    all.map(|order| {
        let id = u64::from_str_radix(text(order, "/id"), 16).unwrap();
        let want: Value = serde_json::from_str(text(order, "/want")).unwrap();
        let service = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let wanted = match want.as_object().and_then(|map| map.iter().next()) {
            Some((key, value)) => match key.as_str() {
                "hold" if value[0].is_null() && value[1] == "person" => Wanted::HoldAll,
                "resume" => Wanted::Resume(value.as_u64().unwrap()),
                "undo" if value == "all" => Wanted::UndoAll,
                "undo" => Wanted::UndoSome,
                "approve" => Wanted::Approve(service(&value["service"])),
                "full" => Wanted::Full(service(&value[0])),
                "retry" => Wanted::Retry(service(value)),
                _ => Wanted::Other,
            },
            None => Wanted::Other,
        };
        (id, text(order, "/who").to_owned(), wanted)
    })
    .collect()
}
