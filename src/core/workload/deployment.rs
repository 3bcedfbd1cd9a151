//! What a plain Deployment is doing, by the rules of `kubectl rollout status` (reference section 3), mapped onto the
//! phases of Rollouts. Its pods are its weight: it has no other.

use super::sets::{self, Set};
use super::{
    Pause, Phase, Related, Replicas, Role, Strategy, Workload, before, blank, count, hold_line, template_version,
};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::text::Text;

/// Reads a Deployment.
pub(super) fn observe(id: &ObjectRef, object: &Object, related: &Related<'_>, container: Option<&str>) -> Workload {
    let recreate = object.str("/spec/strategy/type") == Some("Recreate");
    let mut w = blank(id, object, if recreate { Strategy::Recreate } else { Strategy::RollingUpdate });
    let sets = sets::of(ObjectKind::Deployment, object.uid(), related.sets);
    w.replicas = Replicas {
        desired: object.int("/spec/replicas").map_or(1, |_| count(object, "/spec/replicas")),
        current: count(object, "/status/replicas"),
        updated: count(object, "/status/updatedReplicas"),
        ready: count(object, "/status/readyReplicas"),
        available: count(object, "/status/availableReplicas"),
    };
    w.observed = object.int("/status/observedGeneration").is_some_and(|seen| seen >= object.generation());
    w.held = object.flag("/spec/paused");
    w.pause = w.is_held().then(|| Pause { reason: Text::scrub("manual"), since: None, seconds: None });
    w.version = template_version(object.raw("/spec/template"), container);
    let (unfinished, message) = status(object, &w);
    let new = newest(object, &sets);
    let stable = if unfinished.is_none() { new } else { serving_before(&sets, new) };
    w.hash = new.map(|s| Text::scrub(s.hash)).unwrap_or_default();
    w.stable_hash = stable.map(|s| Text::scrub(s.hash)).unwrap_or_default();
    w.stable_version = template_version(stable.and_then(|s| s.object.raw("/spec/template")), container);
    w.sets = sets
        .iter()
        .map(|s| {
            let is = |other: Option<&Set<'_>>| other.is_some_and(|o| o.hash == s.hash);
            let role = match () {
                () if is(stable) => Role::Stable,
                () if is(new) => Role::Canary,
                () => Role::Old,
            };
            s.view(role, container)
        })
        .collect();
    w.phase = match unfinished {
        Some(Phase::Degraded) => Phase::Degraded,
        _ if w.is_held() => Phase::Paused,
        Some(phase) => phase,
        None => Phase::Healthy,
    };
    w.reason = if w.phase == Phase::Paused { Text::scrub("manually paused") } else { message };
    w.actual_weight = weight(&sets, new, unfinished.is_none());
    let stable_hash = w.stable_hash.clone();
    (w.undo, w.undo_to) =
        before::deployment((id, object), object, &sets, related, container, unfinished.is_some(), stable_hash.as_str());
    w.waits_for = match w.phase {
        Phase::Healthy => Text::default(),
        Phase::Paused => hold_line(&w.held_by),
        Phase::Degraded => crate::text!("a person: {}", w.reason),
        Phase::Progressing => match failure(object) {
            Some(why) => why,
            None => w.reason.clone(),
        },
    };
    w
}

/// The phase while it is not finished, and the message; none when `kubectl rollout status` would end.
fn status(object: &Object, w: &Workload) -> (Option<Phase>, Text) {
    let r = w.replicas;
    if !w.observed {
        return (Some(Phase::Progressing), Text::scrub("waiting for deployment spec update to be observed"));
    }
    let late = object
        .items("/status/conditions")
        .iter()
        .find(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded");
    if let Some(condition) = late {
        let message = condition["message"].as_str().unwrap_or_default();
        return (Some(Phase::Degraded), crate::text!("ProgressDeadlineExceeded: {message}"));
    }
    let message = if r.updated < r.desired {
        crate::text!("{} of {} new pods to be created", r.desired - r.updated, r.desired)
    } else if r.current > r.updated {
        crate::text!("{} old pods to end", r.current - r.updated)
    } else if r.available < r.updated {
        crate::text!("{} of {} new pods to become available", r.updated - r.available, r.updated)
    } else {
        return (None, Text::default());
    };
    (Some(Phase::Progressing), message)
}

/// Why pods cannot be made (quota, admission), where the controller says so.
fn failure(object: &Object) -> Option<Text> {
    let conditions = object.items("/status/conditions");
    let failed = conditions.iter().find(|c| c["type"] == "ReplicaFailure" && c["status"] == "True")?;
    Some(crate::text!("pods cannot be made: {}", failed["message"].as_str().unwrap_or_default()))
}

/// The replica set of the template: the one of the Deployment's own revision.
fn newest<'a, 'b>(object: &Object, sets: &'b [Set<'a>]) -> Option<&'b Set<'a>> {
    let revision = object.annotation(sets::revision_annotation(ObjectKind::Deployment))?.parse::<u32>().ok()?;
    sets.iter().find(|s| s.revision == revision)
}

/// What served before the change that is under way: of the other replica sets the one with most available pods, then the
/// newest.
fn serving_before<'a, 'b>(sets: &'b [Set<'a>], new: Option<&Set<'a>>) -> Option<&'b Set<'a>> {
    let others = sets.iter().filter(|s| new.is_some_and(|n| n.hash != s.hash));
    others.max_by_key(|s| (s.available(), s.revision))
}

fn weight(sets: &[Set<'_>], new: Option<&Set<'_>>, finished: bool) -> Option<u32> {
    if finished {
        return Some(100);
    }
    let all: u32 = sets.iter().map(Set::available).sum();
    let new = new?.available();
    Some((new * 100).checked_div(all).unwrap_or(0))
}
