//! What was live before: which replica set an undo goes back to, how sure that is, and how fast Argo would go there.
//! Evidence only; the undo itself is a verb.

use jiff::Timestamp;
use serde_json::Value;

use super::sets::{self, Set};
use super::{Related, UndoPath, UndoTo, template_version};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::record;
use crate::core::template;
use crate::core::text::Text;

/// The annotation that names the pod hash which was live before our last deploy.
pub const BEFORE: &str = "footplate.dev/before";

/// The annotation that says what our last deploy set, as JSON: `{"container", "image", "config"}`. The `before` stamp counts
/// only while that image is still the template's: after a deploy by somebody else it speaks of an older change.
pub const SET: &str = "footplate.dev/set";

/// Stamp of a restore or an abort: `hand/<from>/<to>` by pod hash, or that of a Release.
pub const UNDO: &str = "footplate.dev/undo";

/// True when the object says that it was taken back to this version.
pub fn taken_back_to(object: &Object, hash: &str) -> bool {
    object.annotation(UNDO).and_then(|stamp| stamp.strip_prefix("hand/")?.rsplit('/').next()) == Some(hash)
}

/// What an undo or abort under way goes away from and back to: of the stamp by hand, where it speaks of this version. It
/// counts only while the workload is not settled.
pub fn going_back<'a>(object: &'a Object, current: &str) -> Option<(&'a str, &'a str)> {
    let (from, to) = object.annotation(UNDO)?.strip_prefix("hand/")?.split_once('/')?;
    (current == from || current == to).then_some((from, to))
}

/// Looks at a Rollout: where an undo would go, and how.
pub fn rollout<'a>(
    object: &Object,
    sets: &[Set<'a>],
    related: &Related<'_>,
    container: Option<&str>,
    now: Timestamp,
) -> (UndoPath, Option<UndoTo>) {
    let current = object.str("/status/currentPodHash").unwrap_or_default();
    let stable = object.str("/status/stableRS").unwrap_or_default();
    if stable.is_empty() {
        return (UndoPath::NotReady(Text::scrub("nothing was live before: this is its first deploy")), None);
    }
    let template = live_template(object, related);
    let unseen = !super::rollout::observed(object) && deploy_unseen(object, sets, template);
    if current != stable || unseen {
        // While a finished version is taken back, stable still is the bad one.
        if let Some((_, back_to)) = going_back(object, current)
            && back_to != stable
            && let Some(set) = sets::find(sets, back_to)
        {
            let path = match () {
                () if current == back_to => UndoPath::NotNeeded,
                () if in_window(object, sets, set, stable) => UndoPath::Window,
                () => UndoPath::Slow,
            };
            return (path, Some(to(set, container, true)));
        }
        return match sets::find(sets, stable) {
            Some(set) => (UndoPath::ToStable, Some(to(set, container, true))),
            None => {
                (UndoPath::NotReady(crate::text!("the replica set of the stable version ({stable}) is gone")), None)
            }
        };
    }
    if taken_back_to(object, current) {
        return (UndoPath::NotNeeded, None);
    }
    let (set, known) = match before(ObjectKind::Rollout, object, template, current, sets, related) {
        Ok(found) => found,
        Err(path) => return (path, None),
    };
    let steps = !object.items("/spec/strategy/canary/steps").is_empty();
    let blue_green = object.raw("/spec/strategy/blueGreen").is_some();
    let kept = blue_green && set.scale_down_at().is_some_and(|at| at > now);
    let fast = kept || (!steps && !blue_green) || in_window(object, sets, set, stable);
    (if fast { UndoPath::Window } else { UndoPath::Slow }, Some(to(set, container, known)))
}

/// Looks at a Deployment, or at the target of a Canary (`owner`): where an undo would go. It has no steps, so it is never
/// slow. `owner` is the workload that bears the undo's stamp and whose records count.
pub fn deployment<'a>(
    owner: (&ObjectRef, &Object),
    object: &Object,
    sets: &[Set<'a>],
    related: &Related<'_>,
    container: Option<&str>,
    in_flight: bool,
    stable: &str,
) -> (UndoPath, Option<UndoTo>) {
    let current = sets.first().map_or("", |s| s.hash);
    if !in_flight && taken_back_to(owner.1, current) {
        return (UndoPath::NotNeeded, None);
    }
    if in_flight
        && let Some((_, back_to)) = going_back(owner.1, current)
        && let Some(set) = sets::find(sets, back_to)
    {
        let path = if current == back_to { UndoPath::NotNeeded } else { UndoPath::Window };
        return (path, Some(to(set, container, true)));
    }
    if in_flight
        && !stable.is_empty()
        && stable != current
        && let Some(set) = sets::find(sets, stable)
    {
        return (UndoPath::Window, Some(to(set, container, true)));
    }
    let template = object.raw("/spec/template");
    if let Some(hash) = object.annotation(BEFORE).filter(|h| *h != current && stamp_counts(object, template))
        && sets::find(sets, hash).is_none()
        && let Some(recorded) = record::find(related.records.iter().copied(), &owner.0.name, owner.1.uid(), hash)
    {
        let version = template_version(Some(&recorded), container);
        return (UndoPath::Window, Some(UndoTo { hash: Text::scrub(hash), version, known: true }));
    }
    match before(ObjectKind::Deployment, object, template, current, sets, related) {
        Ok((set, known)) => (UndoPath::Window, Some(to(set, container, known))),
        Err(path) => (path, None),
    }
}

/// The template that a Rollout runs: its own, or that of the Deployment it refers to.
pub fn live_template<'a>(object: &'a Object, related: &Related<'a>) -> Option<&'a Value> {
    match object.raw("/spec/workloadRef") {
        Some(_) => related.target.and_then(|t| t.raw("/spec/template")),
        None => object.raw("/spec/template"),
    }
}

/// True while the template says something that the replica set of `currentPodHash` does not: a deploy that the controller has
/// not picked up yet. A change of the spec outside the template (a hold, a replica count) is none.
pub fn deploy_unseen(object: &Object, sets: &[Set<'_>], template: Option<&Value>) -> bool {
    let current = object.str("/status/currentPodHash").unwrap_or_default();
    match (sets::find(sets, current).and_then(|s| s.object.raw("/spec/template")), template) {
        (Some(seen), Some(live)) => !template::holds(seen, live),
        _ => false,
    }
}

/// The replica set that was live before the current one, and whether that is known or guessed.
fn before<'a, 'b>(
    kind: ObjectKind,
    object: &Object,
    template: Option<&Value>,
    current: &str,
    sets: &'b [Set<'a>],
    related: &Related<'_>,
) -> Result<(&'b Set<'a>, bool), UndoPath> {
    let stamp = object.annotation(BEFORE).filter(|_| stamp_counts(object, template));
    if let Some(hash) = stamp {
        if hash == current {
            return Err(UndoPath::NotNeeded);
        }
        return match sets::find(sets, hash) {
            Some(set) => Ok((set, true)),
            None => Err(UndoPath::NotReady(crate::text!("the replica set of the version before ({hash}) is gone"))),
        };
    }
    let seen = related.was_stable.iter().rev().find(|h| h.as_str() != current && sets::find(sets, h).is_some());
    if let Some(set) = seen.and_then(|h| sets::find(sets, h)) {
        return Ok((set, true));
    }
    let Some(now) = sets::find(sets, current) else {
        return Err(UndoPath::NotReady(Text::scrub("its replica sets were not read")));
    };
    // A restart or a retry makes a new revision of the same: nothing to go back to.
    let runs = template::of_set(now.object);
    let other = |s: &Set<'_>| match (&runs, template::of_set(s.object)) {
        (Some(runs), Some(theirs)) => !template::same(runs, &theirs),
        _ => true,
    };
    let earlier: Vec<&Set<'_>> = sets
        .iter()
        .filter(|s| s.hash != current && s.revision < now.revision && s.created <= now.created && other(s))
        .collect();
    match earlier.first() {
        // The first revision of all was live without fail: nothing was before it to go back to.
        Some(set) => Ok((set, earlier.len() == 1 && set.revision == 1)),
        None if sets.len() <= 1 && now.revision <= 1 => Err(UndoPath::NotNeeded),
        None => Err(UndoPath::NotReady(crate::text!(
            "no earlier revision of this {} is left to go back to",
            kind.api().3.to_lowercase()
        ))),
    }
}

/// True when the `before` stamp speaks of the template that is there now.
pub fn stamp_counts(object: &Object, template: Option<&Value>) -> bool {
    let Some(set) = object.annotation(SET).and_then(|s| serde_json::from_str::<Value>(s).ok()) else { return false };
    let (Some(template), Some(container)) = (template, set["container"].as_str()) else { return false };
    super::container_image(template, Some(container)).is_some_and(|image| set["image"] == image)
}

/// True when Argo would go back to this replica set at once: older than stable, with fewer than
/// `spec.rollbackWindow.revisions` replica sets created between the two (`isRollbackWithinWindow`).
pub fn in_window(object: &Object, sets: &[Set<'_>], target: &Set<'_>, stable: &str) -> bool {
    let window = object.int("/spec/rollbackWindow/revisions").unwrap_or_default();
    let (Some(from), Some(until)) = (target.created, sets::find(sets, stable).and_then(|s| s.created)) else {
        return false;
    };
    let between = sets.iter().filter_map(|s| s.created).filter(|at| from < *at && *at < until).count();
    from < until && i64::try_from(between).is_ok_and(|n| n < window)
}

fn to(set: &Set<'_>, container: Option<&str>, known: bool) -> UndoTo {
    let version = template_version(set.object.raw("/spec/template"), container);
    UndoTo { hash: Text::scrub(set.hash), version, known }
}
