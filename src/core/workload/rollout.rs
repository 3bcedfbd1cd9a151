//! What an Argo Rollout is doing. Phase, message, step and weights are computed as the kubectl plugin v1.10 computes them
//! (`GetRolloutPhase`, `CalculateRolloutPhase`, `NewRolloutInfo`), so that the two never disagree on one object.

use jiff::Timestamp;
use serde_json::Value;

use super::sets::{self, Set};
use super::{
    Pause, Phase, Related, Replicas, Role, Strategy, Workload, before, blank, count, duration, hold_line,
    template_version,
};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::text::Text;

/// Reads a Rollout.
pub(super) fn observe(
    id: &ObjectRef,
    object: &Object,
    related: &Related<'_>,
    container: Option<&str>,
    now: Timestamp,
) -> Workload {
    let canary = object.raw("/spec/strategy/canary").is_some();
    let routed = object.raw("/spec/strategy/canary/trafficRouting").is_some();
    let strategy = match (canary, routed) {
        (true, true) => Strategy::CanaryRouted,
        (true, false) => Strategy::CanaryBasic,
        _ => Strategy::BlueGreen,
    };
    let mut w = blank(id, object, strategy);
    let sets = sets::of(ObjectKind::Rollout, object.uid(), related.sets);
    let stable = object.str("/status/stableRS").unwrap_or_default();
    let current = object.str("/status/currentPodHash").unwrap_or_default();
    w.hash = Text::scrub(current);
    w.stable_hash = Text::scrub(stable);
    w.version = template_version(before::live_template(object, related), container);
    let stable_set = sets::find(&sets, stable);
    w.stable_version = template_version(stable_set.and_then(|s| s.object.raw("/spec/template")), container);
    w.replicas = Replicas {
        desired: object.int("/spec/replicas").map_or(1, |_| count(object, "/spec/replicas")),
        current: count(object, "/status/replicas"),
        updated: count(object, "/status/updatedReplicas"),
        ready: count(object, "/status/readyReplicas"),
        available: count(object, "/status/availableReplicas"),
    };
    w.held = object.flag("/spec/paused");
    w.aborted = object.flag("/status/abort");
    w.promote_full = object.flag("/status/promoteFull");
    w.observed = observed(object);
    w.sets = sets.iter().map(|s| s.view(role(object, s.hash), container)).collect();
    w.runs = runs(object);
    if canary {
        steps_and_weights(&mut w, object, &sets, routed);
    }
    (w.phase, w.reason) = phase(object);
    w.pause = pause(object, w.is_held());
    (w.undo, w.undo_to) = before::rollout(object, &sets, related, container, now);
    w.waits_for = waits_for(&w, object, related);
    w
}

/// True when the controller has seen this generation. The field is a string; what is not a number comes from a controller
/// before v0.10 and counts as seen, and so does a number ahead of the generation.
pub(crate) fn observed(object: &Object) -> bool {
    object.int("/status/observedGeneration").is_none_or(|seen| seen >= object.generation())
}

/// The rules that the plugin applies on the client, then the phase which the controller computed, then its rules for
/// controllers that do not.
fn phase(object: &Object) -> (Phase, Text) {
    let say = |phase, why: &str| (phase, Text::scrub(why));
    if !observed(object) {
        return say(Phase::Progressing, "waiting for rollout spec update to be observed");
    }
    if object.flag("/status/controllerPause") && object.items("/status/pauseConditions").is_empty() {
        return say(Phase::Progressing, "waiting for rollout to unpause");
    }
    if object.raw("/spec/workloadRef").is_some()
        && let Some(made) = object.annotation("rollout.argoproj.io/workload-generation")
        && let Some(seen) = object.int("/status/workloadObservedGeneration")
        && made.parse() != Ok(seen)
    {
        let why = "waiting for rollout spec update to be observed for the reference workload";
        return say(Phase::Progressing, why);
    }
    let message = object.text("/status/message").unwrap_or_default();
    match object.str("/status/phase") {
        Some("Healthy") => (Phase::Healthy, message),
        Some("Degraded") => (Phase::Degraded, message),
        Some("Paused") => (Phase::Paused, message),
        Some("Progressing") => (Phase::Progressing, message),
        _ => computed(object),
    }
}

/// The controller's own rules (`CalculateRolloutPhase`), first hit wins.
fn computed(object: &Object) -> (Phase, Text) {
    let say = |phase, why: &str| (phase, Text::scrub(why));
    for condition in object.items("/status/conditions") {
        let message = condition["message"].as_str().unwrap_or_default();
        if condition["type"] == "InvalidSpec" {
            return (Phase::Degraded, crate::text!("InvalidSpec: {message}"));
        }
        if let Some(reason @ ("RolloutAborted" | "ProgressDeadlineExceeded")) = condition["reason"].as_str() {
            return (Phase::Degraded, crate::text!("{reason}: {message}"));
        }
    }
    if object.flag("/spec/paused") {
        return say(Phase::Paused, "manually paused");
    }
    if let Some(first) = object.items("/status/pauseConditions").first() {
        return say(Phase::Paused, first["reason"].as_str().unwrap_or_default());
    }
    if let Some(wanted) = object.raw("/spec/restartAt")
        && object.raw("/status/restartedAt") != Some(wanted)
    {
        return say(Phase::Progressing, "rollout is restarting");
    }
    let updated = count(object, "/status/updatedReplicas");
    let desired = object.int("/spec/replicas").unwrap_or(1);
    if i64::from(updated) < desired {
        return say(Phase::Progressing, "more replicas need to be updated");
    }
    if count(object, "/status/availableReplicas") < updated {
        return say(Phase::Progressing, "updated replicas are still becoming available");
    }
    let stable = object.str("/status/stableRS").unwrap_or_default();
    let current = object.str("/status/currentPodHash").unwrap_or_default();
    let promoted = !stable.is_empty() && stable == current;
    if object.raw("/spec/strategy/blueGreen").is_some() {
        let active = object.str("/status/blueGreen/activeSelector").unwrap_or_default();
        if active.is_empty() || active != current {
            return say(Phase::Progressing, "active service cutover pending");
        }
        if !promoted {
            let analysed = object.raw("/spec/strategy/blueGreen/postPromotionAnalysis").is_none()
                || object
                    .str("/status/blueGreen/postPromotionAnalysisRunStatus/status")
                    .is_some_and(|s| matches!(s, "Successful" | "Failed" | "Error" | "Inconclusive"));
            let why = if analysed {
                "waiting for post-promotion verification to complete"
            } else {
                "waiting for analysis to complete"
            };
            return say(Phase::Progressing, why);
        }
    } else if object.raw("/spec/strategy/canary").is_some() {
        let routed = object.raw("/spec/strategy/canary/trafficRouting").is_some();
        if !routed && count(object, "/status/replicas") > updated {
            return say(Phase::Progressing, "old replicas are pending termination");
        }
        if !promoted {
            return say(Phase::Progressing, "waiting for all steps to complete");
        }
    }
    (Phase::Healthy, Text::default())
}

/// The index of the current step and the step itself; none past the end and without steps. An absent index counts as 0.
pub(crate) fn current_step(object: &Object) -> Option<(usize, &Value)> {
    let steps = object.items("/spec/strategy/canary/steps");
    let index = usize::try_from(object.int("/status/currentStepIndex").unwrap_or_default()).ok()?;
    steps.get(index).map(|step| (index, step))
}

fn steps_and_weights(w: &mut Workload, object: &Object, sets: &[Set<'_>], routed: bool) {
    let steps = object.items("/spec/strategy/canary/steps");
    let set_weight = |step: &Value| step["setWeight"].as_u64().and_then(|n| u32::try_from(n).ok());
    if routed && object.int("/spec/strategy/canary/trafficRouting/maxTrafficWeight").is_some() {
        w.max_weight = count(object, "/spec/strategy/canary/trafficRouting/maxTrafficWeight");
    }
    w.weights = steps.iter().filter_map(set_weight).collect();
    if !steps.is_empty() {
        w.steps = u32::try_from(steps.len()).ok();
        w.step = object.int("/status/currentStepIndex").and_then(|i| u32::try_from(i).ok());
    }
    let step = current_step(object);
    w.step_text = step.map(|(_, step)| step_text(step)).unwrap_or_default();
    w.next_text = step.and_then(|(at, _)| steps.get(at + 1)).map(step_text).unwrap_or_default();
    let asked = match step {
        _ if w.aborted => 0,
        None => w.max_weight,
        Some((index, _)) => steps[..=index].iter().rev().find_map(set_weight).unwrap_or_default(),
    };
    w.set_weight = Some(asked);
    w.actual_weight = Some(match step {
        None => w.max_weight,
        Some(_) if w.replicas.available == 0 => 0,
        Some(_) if routed => match object.raw("/status/canary/weights") {
            Some(_) => count(object, "/status/canary/weights/canary/weight"),
            None => asked,
        },
        Some(_) => {
            let canary = sets.iter().find(|s| w.hash != w.stable_hash && s.hash == w.hash.as_str());
            let available = canary.map_or(0, Set::available);
            let share = u64::from(available) * u64::from(w.max_weight) / u64::from(w.replicas.available);
            u32::try_from(share).unwrap_or(w.max_weight)
        }
    });
}

/// A canary step in words.
pub(crate) fn step_text(step: &Value) -> Text {
    let named = |word: &str, at: &str| crate::text!("{word} {}", step[at]["name"].as_str().unwrap_or_default());
    let Some(kind) = step.as_object().and_then(|o| o.iter().find(|(_, v)| !v.is_null())) else {
        return Text::scrub("unknown step");
    };
    let (key, value) = kind;
    match key.as_str() {
        "setWeight" => crate::text!("weight {value}"),
        "pause" => match &value["duration"] {
            Value::String(text) => crate::text!("pause {text}"),
            Value::Number(seconds) => crate::text!("pause {seconds}s"),
            _ => Text::scrub("pause without end"),
        },
        "analysis" => {
            let templates = value["templates"].as_array().into_iter().flatten();
            let names: Vec<&str> = templates.filter_map(|t| t["templateName"].as_str()).collect();
            crate::text!("analysis {}", names.join(", "))
        }
        "setCanaryScale" => match (&value["weight"], &value["replicas"]) {
            (Value::Number(weight), _) => crate::text!("canary scale {weight} %"),
            (_, Value::Number(replicas)) => crate::text!("canary scale {replicas} pods"),
            _ => Text::scrub("canary scale as traffic weight"),
        },
        "plugin" => named("plugin", "plugin"),
        "setHeaderRoute" => named("header route", "setHeaderRoute"),
        "setMirrorRoute" => named("mirror route", "setMirrorRoute"),
        other => Text::scrub(other),
    }
}

/// What part a replica set plays, by its hash (`GetReplicaSetInfo`). In blue-green what receives traffic counts first: a
/// version that is active but not yet stable is `Active`.
fn role(object: &Object, hash: &str) -> Role {
    let is = |pointer: &str| object.str(pointer).is_some_and(|h| h == hash);
    if object.raw("/spec/strategy/blueGreen").is_some() {
        return match () {
            () if is("/status/blueGreen/activeSelector") => Role::Active,
            () if is("/status/blueGreen/previewSelector") => Role::Preview,
            () if is("/status/stableRS") => Role::Stable,
            () => Role::Old,
        };
    }
    match () {
        () if is("/status/stableRS") => Role::Stable,
        () if is("/status/currentPodHash") => Role::Canary,
        () => Role::Old,
    }
}

/// The analysis runs that decide now, the step's first.
fn runs(object: &Object) -> Vec<Text> {
    [
        "/status/canary/currentStepAnalysisRunStatus/name",
        "/status/canary/currentBackgroundAnalysisRunStatus/name",
        "/status/blueGreen/prePromotionAnalysisRunStatus/name",
        "/status/blueGreen/postPromotionAnalysisRunStatus/name",
    ]
    .iter()
    .filter_map(|pointer| object.text(pointer))
    .filter(|name| !name.is_empty())
    .collect()
}

fn pause(object: &Object, held: bool) -> Option<Pause> {
    if let Some(first) = object.items("/status/pauseConditions").first() {
        let reason = first["reason"].as_str().unwrap_or_default();
        let seconds = match reason {
            "CanaryPauseStep" => {
                current_step(object).and_then(|(_, step)| duration::seconds(&step["pause"]["duration"]))
            }
            "BlueGreenPause" => auto_promotion(object),
            _ => None,
        };
        let since = first["startTime"].as_str().and_then(|at| at.parse().ok());
        return Some(Pause { reason: Text::scrub(reason), since, seconds });
    }
    held.then(|| Pause { reason: Text::scrub("manual"), since: None, seconds: None })
}

fn auto_promotion(object: &Object) -> Option<u32> {
    let enabled = object.raw("/spec/strategy/blueGreen/autoPromotionEnabled").and_then(Value::as_bool) != Some(false);
    let seconds = count(object, "/spec/strategy/blueGreen/autoPromotionSeconds");
    (enabled && seconds > 0).then_some(seconds)
}

/// One line that names what blocks it. Where a time decides, the line names the pause and the screen counts from
/// [`Pause`]; nothing here ages.
fn waits_for(w: &Workload, object: &Object, related: &Related<'_>) -> Text {
    if !w.observed {
        return Text::scrub("the Rollouts controller to see the change");
    }
    if w.aborted {
        return if w.held {
            Text::scrub("a person: aborted and held; undo clears both")
        } else {
            Text::scrub("a person: aborted; retry or undo")
        };
    }
    if w.phase == Phase::Healthy {
        return Text::default();
    }
    if w.phase == Phase::Degraded {
        return crate::text!("a person: {}", w.reason);
    }
    if w.held {
        return hold_line(&w.held_by);
    }
    let at_step = match (w.step, w.steps) {
        (Some(step), Some(steps)) => crate::text!("step {step}/{steps}"),
        _ => Text::default(),
    };
    if let Some(pause) = &w.pause {
        return match (pause.reason.as_str(), pause.seconds) {
            ("CanaryPauseStep", Some(_)) => crate::text!("the pause of {at_step} to end"),
            ("CanaryPauseStep", None) => crate::text!("a person to approve the pause of {at_step}"),
            ("BlueGreenPause", Some(_)) => Text::scrub("the pause before the switch to end"),
            ("BlueGreenPause", None) => Text::scrub("a person to approve the switch"),
            ("InconclusiveAnalysisRun", _) => match inconclusive(object) {
                Some(run) => crate::text!("a person: analysis run {run} is inconclusive"),
                None => Text::scrub("a person: an analysis run is inconclusive"),
            },
            (reason, _) => crate::text!("a person: {reason}"),
        };
    }
    if let Some(run) = object.text("/status/canary/currentStepAnalysisRunStatus/name") {
        return crate::text!("analysis run {run} ({at_step}, {})", run_state(object, &run, related));
    }
    for stage in ["pre", "post"] {
        let at = format!("/status/blueGreen/{stage}PromotionAnalysisRunStatus");
        if let Some(run) = object.text(&format!("{at}/name"))
            && object.str(&format!("{at}/status")).is_none_or(|s| s != "Successful")
        {
            return crate::text!("{stage}-promotion analysis run {run}");
        }
    }
    let r = w.replicas;
    let new = w.sets.iter().find(|s| s.hash == w.hash);
    match (w.reason.as_str(), new) {
        ("rollout is restarting", _) => Text::scrub("its pods to be restarted"),
        ("old replicas are pending termination", _) => {
            crate::text!("{} old pods to end", r.current.saturating_sub(r.updated))
        }
        (_, Some(new)) if new.available < new.desired => {
            crate::text!("{} of {} new pods to become available", new.desired - new.available, new.desired)
        }
        (_, _) if !w.step_text.is_empty() => crate::text!("{at_step}: {}", w.step_text),
        (reason, _) => Text::scrub(reason),
    }
}

fn inconclusive(object: &Object) -> Option<Text> {
    ["currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus"].iter().find_map(|at| {
        let is = object.str(&format!("/status/canary/{at}/status")) == Some("Inconclusive");
        is.then(|| object.text(&format!("/status/canary/{at}/name"))).flatten()
    })
}

fn run_state(object: &Object, run: &Text, related: &Related<'_>) -> Text {
    let read = related.runs.iter().find(|r| r.name() == *run);
    let phase = read.and_then(|r| r.text("/status/phase"));
    phase.or_else(|| object.text("/status/canary/currentStepAnalysisRunStatus/status")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{UndoPath, UndoTo, observe};
    use super::*;
    use serde_json::json;

    /// Values to set at JSON pointers of the base; a null removes.
    type Changes = Vec<(&'static str, Value)>;

    fn id() -> ObjectRef {
        ObjectRef {
            cluster: "prod".into(),
            kind: ObjectKind::Rollout,
            namespace: "payments".into(),
            name: "billing-api".into(),
        }
    }

    /// A routed canary of eight pods at step 1 of 7, on the way from 2.7.4 (aaa) to 2.8.0 (bbb).
    fn base() -> Value {
        json!({
            "metadata": {"name": "billing-api", "namespace": "payments", "uid": "u1", "generation": 3},
            "spec": {
                "replicas": 8, "rollbackWindow": {"revisions": 3},
                "template": {"spec": {"containers": [{"name": "app", "image": "r:5000/p/billing-api:2.8.0"}]}},
                "strategy": {"canary": {
                    "trafficRouting": {"nginx": {"stableIngress": "billing-api"}},
                    "steps": [{"setWeight": 25}, {"pause": {"duration": "60s"}},
                        {"analysis": {"templates": [{"templateName": "error-rate"}]}},
                        {"setWeight": 50}, {"pause": {}}, {"setWeight": 100}]
                }}
            },
            "status": {
                "observedGeneration": "3", "phase": "Paused", "message": "CanaryPauseStep",
                "currentPodHash": "bbb", "stableRS": "aaa", "currentStepIndex": 1, "controllerPause": true,
                "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2025-10-01T15:00:00Z"}],
                "replicas": 10, "updatedReplicas": 2, "readyReplicas": 10, "availableReplicas": 10,
                "canary": {"weights": {"canary": {"weight": 25, "podTemplateHash": "bbb"}, "stable": {"weight": 75}}}
            }
        })
    }

    fn set(hash: &str, revision: u32, image: &str, created: &str, available: u32) -> Object {
        Object::new(json!({
            "metadata": {
                "name": format!("billing-api-{hash}"), "creationTimestamp": created,
                "labels": {"rollouts-pod-template-hash": hash},
                "annotations": {"rollout.argoproj.io/revision": revision.to_string()},
                "ownerReferences": [{"uid": "u1", "controller": true}]
            },
            "spec": {"replicas": available, "template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
            "status": {"readyReplicas": available, "availableReplicas": available}
        }))
    }

    fn sets() -> Vec<Object> {
        vec![
            set("aaa", 1, "r:5000/p/billing-api:2.7.4", "2025-09-01T10:00:00Z", 8),
            set("bbb", 2, "r:5000/p/billing-api:2.8.0", "2025-10-01T14:59:00Z", 2),
        ]
    }

    /// The base with values set at JSON pointers; a null removes.
    fn with(changes: &[(&str, Value)]) -> Value {
        let mut raw = base();
        for (pointer, value) in changes {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/");
            let map = raw.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            if value.is_null() {
                map.remove(&key)
            } else {
                map.insert(key, value.clone())
            };
        }
        raw
    }

    fn see_with(raw: Value, sets: &[Object]) -> Workload {
        let refs: Vec<&Object> = sets.iter().collect();
        let related = Related { sets: &refs, ..Related::default() };
        observe(&id(), &Object::new(raw), &related, Some("app"), "2025-10-01T15:00:30Z".parse().unwrap())
    }

    fn see(changes: &[(&str, Value)]) -> Workload {
        see_with(with(changes), &sets())
    }

    #[test]
    fn a_routed_canary_at_its_pause() {
        let w = see(&[]);
        assert_eq!(
            (w.strategy, w.phase, w.reason.as_str()),
            (Strategy::CanaryRouted, Phase::Paused, "CanaryPauseStep")
        );
        assert_eq!((w.step, w.steps, w.step_text.as_str()), (Some(1), Some(6), "pause 60s"));
        assert_eq!(w.next_text, "analysis error-rate");
        assert_eq!((w.set_weight, w.actual_weight, w.max_weight), (Some(25), Some(25), 100));
        assert_eq!(w.weights, [25, 50, 100]);
        assert_eq!((w.version.as_deref(), w.stable_version.as_deref()), (Some("2.8.0"), Some("2.7.4")));
        assert_eq!(w.pause.as_ref().and_then(|p| p.seconds), Some(60));
        assert_eq!(w.waits_for, "the pause of step 1/6 to end");
        assert_eq!(
            w.sets.iter().map(|s| (s.role, s.revision)).collect::<Vec<_>>(),
            [(Role::Canary, 2), (Role::Stable, 1)]
        );
        assert_eq!(w.undo, UndoPath::ToStable);
        assert_eq!(w.undo_to, Some(UndoTo { hash: "aaa".into(), version: Some("2.7.4".into()), known: true }));
    }

    #[test]
    fn phases_are_those_of_the_plugin() {
        let paused = || ("/status/pauseConditions", Value::Null);
        let table: Vec<(Changes, Phase, &str)> = vec![
            (
                vec![("/metadata/generation", json!(4))],
                Phase::Progressing,
                "waiting for rollout spec update to be observed",
            ),
            (vec![("/metadata/generation", json!(2))], Phase::Paused, "CanaryPauseStep"),
            (vec![("/status/observedGeneration", json!("58c9"))], Phase::Paused, "CanaryPauseStep"),
            (vec![paused()], Phase::Progressing, "waiting for rollout to unpause"),
            (vec![("/status/phase", Value::Null)], Phase::Paused, "CanaryPauseStep"),
            (vec![("/status/phase", Value::Null), ("/spec/paused", json!(true))], Phase::Paused, "manually paused"),
            (
                vec![
                    ("/status/phase", Value::Null),
                    (
                        "/status/conditions",
                        json!([{"type": "Progressing", "reason": "RolloutAborted", "message": "by hand"}]),
                    ),
                ],
                Phase::Degraded,
                "RolloutAborted: by hand",
            ),
            (
                vec![
                    ("/status/phase", Value::Null),
                    ("/status/conditions", json!([{"type": "InvalidSpec", "reason": "x", "message": "no strategy"}])),
                ],
                Phase::Degraded,
                "InvalidSpec: no strategy",
            ),
            (
                vec![("/status/phase", Value::Null), paused(), ("/status/controllerPause", Value::Null)],
                Phase::Progressing,
                "more replicas need to be updated",
            ),
            (
                vec![
                    ("/status/phase", Value::Null),
                    paused(),
                    ("/status/controllerPause", Value::Null),
                    ("/spec/restartAt", json!("2025-10-01T15:00:00Z")),
                ],
                Phase::Progressing,
                "rollout is restarting",
            ),
            (
                vec![
                    ("/status/phase", Value::Null),
                    paused(),
                    ("/status/controllerPause", Value::Null),
                    ("/status/updatedReplicas", json!(8)),
                    ("/status/availableReplicas", json!(7)),
                ],
                Phase::Progressing,
                "updated replicas are still becoming available",
            ),
            (
                vec![
                    ("/status/phase", Value::Null),
                    paused(),
                    ("/status/controllerPause", Value::Null),
                    ("/status/updatedReplicas", json!(8)),
                ],
                Phase::Progressing,
                "waiting for all steps to complete",
            ),
            (
                vec![
                    ("/status/phase", Value::Null),
                    paused(),
                    ("/status/controllerPause", Value::Null),
                    ("/status/updatedReplicas", json!(8)),
                    ("/spec/strategy/canary/trafficRouting", Value::Null),
                ],
                Phase::Progressing,
                "old replicas are pending termination",
            ),
            (
                vec![
                    ("/status/phase", Value::Null),
                    paused(),
                    ("/status/controllerPause", Value::Null),
                    ("/status/updatedReplicas", json!(8)),
                    ("/status/stableRS", json!("bbb")),
                ],
                Phase::Healthy,
                "",
            ),
        ];
        for (changes, phase, reason) in table {
            let w = see(&changes);
            assert_eq!((w.phase, w.reason.as_str()), (phase, reason), "{changes:?}");
        }
    }

    #[test]
    fn weights_are_those_of_the_plugin() {
        let routing = "/spec/strategy/canary/trafficRouting";
        let table: Vec<(Changes, u32, u32, u32)> = vec![
            (vec![], 25, 25, 100),
            (vec![("/status/currentStepIndex", json!(4))], 50, 25, 100),
            (vec![("/status/currentStepIndex", json!(6))], 100, 100, 100),
            (vec![("/status/currentStepIndex", Value::Null)], 25, 25, 100),
            (vec![("/status/abort", json!(true))], 0, 25, 100),
            (vec![("/status/canary/weights", Value::Null)], 25, 25, 100),
            (vec![("/status/availableReplicas", json!(0))], 25, 0, 100),
            (vec![(routing, Value::Null)], 25, 20, 100),
            (vec![(routing, json!({"maxTrafficWeight": 1000}))], 25, 25, 1000),
            (
                vec![(routing, json!({"maxTrafficWeight": 1000})), ("/status/currentStepIndex", json!(6))],
                1000,
                1000,
                1000,
            ),
        ];
        for (changes, asked, actual, max) in table {
            let w = see(&changes);
            assert_eq!((w.set_weight, w.actual_weight, w.max_weight), (Some(asked), Some(actual), max), "{changes:?}");
        }
        let no_index = see(&[("/status/currentStepIndex", Value::Null)]);
        assert_eq!((no_index.step, no_index.steps), (None, Some(6)));
    }

    fn blue_green(changes: &[(&str, Value)]) -> Workload {
        let mut raw = with(&[
            (
                "/spec/strategy",
                json!({"blueGreen": {"activeService": "a", "previewService": "b", "autoPromotionSeconds": 30}}),
            ),
            ("/status/pauseConditions", json!([{"reason": "BlueGreenPause", "startTime": "2025-10-01T15:00:00Z"}])),
            ("/status/message", json!("BlueGreenPause")),
            ("/status/blueGreen", json!({"activeSelector": "aaa", "previewSelector": "bbb"})),
        ]);
        for (pointer, value) in changes {
            *raw.pointer_mut(pointer).unwrap() = value.clone();
        }
        see_with(raw, &sets())
    }

    #[test]
    fn blue_green_has_neither_steps_nor_weights() {
        let w = blue_green(&[]);
        assert_eq!((w.strategy, w.phase), (Strategy::BlueGreen, Phase::Paused));
        assert_eq!((w.step, w.steps, w.set_weight, w.actual_weight), (None, None, None, None));
        assert_eq!(w.pause.as_ref().and_then(|p| p.seconds), Some(30));
        assert_eq!(w.sets.iter().map(|s| s.role).collect::<Vec<_>>(), [Role::Preview, Role::Active]);
        let manual = blue_green(&[(
            "/spec/strategy/blueGreen",
            json!({"activeService": "a", "autoPromotionEnabled": false, "autoPromotionSeconds": 30}),
        )]);
        assert_eq!(manual.pause.as_ref().and_then(|p| p.seconds), None);
        assert_eq!(manual.waits_for, "a person to approve the switch");
    }

    /// Finished on bbb.
    fn finished(changes: &[(&str, Value)]) -> Value {
        let mut all = vec![
            ("/status/stableRS", json!("bbb")),
            ("/status/phase", json!("Healthy")),
            ("/status/message", Value::Null),
            ("/status/pauseConditions", Value::Null),
            ("/status/controllerPause", Value::Null),
            ("/status/currentStepIndex", json!(6)),
        ];
        all.extend(changes.iter().cloned());
        with(&all)
    }

    #[test]
    fn undo_of_a_finished_rollout_is_predicted() {
        let window = |n: u32| ("/spec/rollbackWindow", json!({"revisions": n}));
        assert_eq!(see_with(finished(&[]), &sets()).undo, UndoPath::Window);
        let none = see_with(finished(&[("/spec/rollbackWindow", Value::Null)]), &sets());
        assert_eq!(none.undo, UndoPath::Slow);
        assert!(none.undo_to.unwrap().known, "revision 1 was live: nothing came before it");

        // aaa live, bbb tried and aborted, ccc finished: the newest earlier revision is only a guess.
        let mut three = sets();
        three.push(set("ccc", 3, "r:5000/p/billing-api:2.8.1", "2025-10-01T16:00:00Z", 8));
        let image = (
            "/spec/template",
            json!({"spec": {"containers": [{"name": "app", "image": "r:5000/p/billing-api:2.8.1"}]}}),
        );
        let on_ccc = [("/status/stableRS", json!("ccc")), ("/status/currentPodHash", json!("ccc")), image];
        let guess = see_with(finished(&on_ccc), &three);
        assert_eq!(guess.undo_to.map(|u| (u.hash.to_string(), u.known)), Some(("bbb".into(), false)));

        // With our stamp it is known, and two revisions back: inside a window of 3, outside one of 1.
        let stamps = json!({"footplate.dev/before": "aaa",
            "footplate.dev/set": r#"{"container":"app","image":"r:5000/p/billing-api:2.8.1"}"#});
        let mut stamped = on_ccc.to_vec();
        stamped.push(("/metadata/annotations", stamps));
        let known = see_with(finished(&stamped), &three);
        assert_eq!(known.undo_to.map(|u| (u.hash.to_string(), u.known)), Some(("aaa".into(), true)));
        assert_eq!(known.undo, UndoPath::Window);
        stamped.push(window(1));
        assert_eq!(see_with(finished(&stamped), &three).undo, UndoPath::Slow);

        // The stamp of an older deploy does not count: somebody has set another image since.
        let stale = json!({"footplate.dev/before": "aaa",
            "footplate.dev/set": r#"{"container":"app","image":"r:5000/p/billing-api:2.8.0"}"#});
        let mut changed = on_ccc.to_vec();
        changed.push(("/metadata/annotations", stale));
        assert_eq!(see_with(finished(&changed), &three).undo_to.map(|u| u.known), Some(false));

        // The recorded replica set is gone.
        assert!(matches!(see_with(finished(&stamped), &three[1..]).undo, UndoPath::NotReady(_)));
    }

    #[test]
    fn what_was_seen_stable_counts_more_than_a_guess() {
        let mut three = sets();
        three.push(set("ccc", 3, "r:5000/p/billing-api:2.8.0", "2025-10-01T16:00:00Z", 8));
        let raw = finished(&[("/status/stableRS", json!("ccc")), ("/status/currentPodHash", json!("ccc"))]);
        let refs: Vec<&Object> = three.iter().collect();
        let was_stable = ["aaa".into(), "ccc".into()];
        let related = Related { sets: &refs, was_stable: &was_stable, ..Related::default() };
        let w = observe(&id(), &Object::new(raw), &related, None, Timestamp::UNIX_EPOCH);
        assert_eq!(w.undo_to.map(|u| (u.hash.to_string(), u.known)), Some(("aaa".into(), true)));
    }

    #[test]
    fn nothing_is_made_of_an_empty_object() {
        for kind in [ObjectKind::Rollout, ObjectKind::Canary, ObjectKind::Deployment] {
            let id = ObjectRef { kind, ..id() };
            let w = observe(&id, &Object::new(json!({})), &Related::default(), None, Timestamp::UNIX_EPOCH);
            assert_eq!(w.version, None);
            let hostile = json!({"metadata": 3, "spec": [], "status": {"pauseConditions": [1], "currentStepIndex": -7,
                "conditions": ["x"], "phase": {}, "canary": {"weights": 3}}});
            observe(&id, &Object::new(hostile), &Related::default(), Some("x"), Timestamp::UNIX_EPOCH);
        }
    }
}
