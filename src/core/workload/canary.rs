//! What a Flagger Canary is doing, mapped onto the phases, steps and weights of Rollouts (reference section 3). Flagger
//! keeps the stable version in a second Deployment, `<name>-primary`; the target runs the version being tried.

use serde_json::Value;

use super::sets;
use super::{
    Pause, Phase, Related, Replicas, Role, Strategy, UndoPath, Workload, before, blank, container_image, count,
    hold_line, template_version,
};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::text::Text;

/// Reads a Canary.
pub(super) fn observe(id: &ObjectRef, object: &Object, related: &Related<'_>, container: Option<&str>) -> Workload {
    let mut w = blank(id, object, Strategy::Flagger);
    let flagger = object.str("/status/phase").unwrap_or_default();
    let weight = count(object, "/status/canaryWeight");
    let primary = related.primary.and_then(|p| p.raw("/spec/template"));
    let target = related.target.and_then(|t| t.raw("/spec/template"));
    w.held = object.flag("/spec/suspend");
    w.promote_full = object.flag("/spec/skipAnalysis");
    w.version = template_version(target, container);
    w.stable_version = template_version(primary, container);
    // Flagger looks at its target once an interval; until then the status is that of the version before.
    let settled = matches!(flagger, "Initialized" | "Succeeded");
    w.observed = !(settled && differ(target, primary, container));
    w.phase = match flagger {
        _ if !w.observed => Phase::Progressing,
        "Failed" => Phase::Degraded,
        "Initialized" | "Succeeded" if !w.held => Phase::Healthy,
        "Waiting" | "WaitingPromotion" => Phase::Paused,
        "Terminating" | "Terminated" => Phase::Progressing,
        _ if w.held => Phase::Paused,
        _ => Phase::Progressing,
    };
    w.reason = reason(object, flagger, &w);
    w.aborted = flagger == "Failed";
    let finished = w.observed && matches!(flagger, "Initialized" | "Succeeded" | "Finalising");
    let now = if finished { 100 } else { weight };
    w.set_weight = Some(now);
    w.actual_weight = Some(now);
    steps(&mut w, object, now, finished);
    w.pause = match flagger {
        "Waiting" | "WaitingPromotion" => Some(Pause {
            reason: Text::scrub(flagger),
            since: object.time("/status/lastTransitionTime"),
            seconds: None,
        }),
        _ if w.held => Some(Pause { reason: Text::scrub("manual"), since: None, seconds: None }),
        _ => None,
    };
    replicas(&mut w, related);
    let sets = related.target.map(|t| sets::of(ObjectKind::Deployment, t.uid(), related.sets)).unwrap_or_default();
    w.hash = sets.first().map(|s| Text::scrub(s.hash)).unwrap_or_default();
    // The primary is a copy under another name, so its hash says nothing; its image tells which revision is stable.
    let stable = primary.and_then(|p| container_image(p, container));
    let stable = sets.iter().find(|s| {
        stable.is_some() && s.object.raw("/spec/template").and_then(|t| container_image(t, container)) == stable
    });
    w.stable_hash = stable.map(|s| Text::scrub(s.hash)).unwrap_or_default();
    w.sets = sets
        .iter()
        .map(|s| {
            let role = match () {
                () if stable.is_some_and(|o| o.hash == s.hash) => Role::Stable,
                () if w.hash == *s.hash => Role::Canary,
                () => Role::Old,
            };
            s.view(role, container)
        })
        .collect();
    // Once the primary has taken the version, only another run brings the old one back: promoted without analysis.
    let promoted = finished || flagger == "Promoting";
    (w.undo, w.undo_to) = match related.target {
        Some(target) => {
            let stable = w.stable_hash.clone();
            let owner = (id, object);
            match before::deployment(owner, target, &sets, related, container, !promoted, stable.as_str()) {
                (UndoPath::Window, to) if promoted => (UndoPath::Slow, to),
                (UndoPath::Window, to) => (UndoPath::ToStable, to),
                other => other,
            }
        }
        None => (UndoPath::NotReady(Text::scrub("its target Deployment was not read")), None),
    };
    w.waits_for = waits_for(&w, object, flagger);
    w
}

fn differ(target: Option<&Value>, primary: Option<&Value>, container: Option<&str>) -> bool {
    match (target.and_then(|t| container_image(t, container)), primary.and_then(|p| container_image(p, container))) {
        (Some(target), Some(primary)) => target != primary,
        _ => false,
    }
}

fn reason(object: &Object, flagger: &str, w: &Workload) -> Text {
    if !w.observed {
        return Text::scrub("waiting for Flagger to see the change");
    }
    if w.held {
        return Text::scrub("manually paused");
    }
    match flagger {
        "" => Text::scrub("waiting for Flagger"),
        "Initialized" | "Succeeded" => Text::default(),
        "Failed" => {
            let conditions = object.items("/status/conditions");
            let promoted = conditions.iter().find(|c| c["type"] == "Promoted");
            let message = promoted.and_then(|c| c["message"].as_str()).unwrap_or("the analysis failed");
            crate::text!("Failed: {message}")
        }
        other => Text::scrub(other),
    }
}

/// Weights as steps: `stepWeights`, or multiples of `stepWeight` up to `maxWeight`; with `iterations` (no weights) the
/// rounds count. `step` is how many are reached.
fn steps(w: &mut Workload, object: &Object, now: u32, finished: bool) {
    let analysis = if object.raw("/spec/analysis").is_some() { "/spec/analysis" } else { "/spec/canaryAnalysis" };
    let number = |what: &str| count(object, &format!("{analysis}/{what}"));
    let listed = object.items(&format!("{analysis}/stepWeights"));
    let reached;
    if number("iterations") > 0 {
        w.steps = Some(number("iterations"));
        reached = count(object, "/status/iterations");
    } else {
        if listed.is_empty() {
            let max = match number("maxWeight") {
                0 => 100,
                max => max.min(100),
            };
            let step = number("stepWeight");
            if step == 0 {
                return;
            }
            w.weights = (1..=max.div_ceil(step)).map(|n| (n * step).min(max)).collect();
        } else {
            w.weights = listed.iter().filter_map(|n| n.as_u64().and_then(|n| u32::try_from(n).ok())).collect();
        }
        w.steps = u32::try_from(w.weights.len()).ok();
        reached = u32::try_from(w.weights.iter().filter(|at| **at <= now).count()).unwrap_or_default();
    }
    w.step = if finished { w.steps } else { w.steps.map(|n| reached.min(n)) };
    if !finished && let Some(next) = w.weights.get(reached as usize) {
        w.step_text = crate::text!("analysis, then weight {next}");
    }
}

fn replicas(w: &mut Workload, related: &Related<'_>) {
    let (Some(target), primary) = (related.target, related.primary) else { return };
    let of = |pointer: &str| count(target, pointer) + primary.map_or(0, |p| count(p, pointer));
    w.replicas = Replicas {
        desired: primary.map_or_else(|| count(target, "/spec/replicas"), |p| count(p, "/spec/replicas")),
        current: of("/status/replicas"),
        updated: count(target, "/status/updatedReplicas"),
        ready: of("/status/readyReplicas"),
        available: of("/status/availableReplicas"),
    };
}

fn waits_for(w: &Workload, object: &Object, flagger: &str) -> Text {
    if !w.observed {
        return Text::scrub("Flagger to see the change (it looks once an interval)");
    }
    if w.held {
        return hold_line(&w.held_by);
    }
    let failed = count(object, "/status/failedChecks");
    let threshold = count(object, "/spec/analysis/threshold");
    match flagger {
        "Initialized" | "Succeeded" => Text::default(),
        "Failed" => Text::scrub("a person: failed, traffic is on the primary; retry or undo"),
        "Waiting" => Text::scrub("a confirm gate: before the traffic moves"),
        "WaitingPromotion" => Text::scrub("the confirm-promotion gate to be opened"),
        "Progressing" if before::taken_back_to(object, &w.hash) => {
            Text::scrub("Flagger to end its run: both sides are the restored version")
        }
        "Progressing" if failed > 0 => crate::text!("its analysis ({failed} of {threshold} failed checks used)"),
        "Progressing" => Text::scrub("its analysis"),
        "Promoting" => Text::scrub("the primary to take the new version"),
        "Finalising" => Text::scrub("traffic to go back to the primary"),
        _ => w.reason.clone(),
    }
}
