//! A conductor's own papers: the Release, the Lease, records, its journal, Events. They move no traffic, so neither a
//! confirmation nor an epoch stands before them; in exchange a [`Clerical`] cannot name anything else.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::{By, Cleared, WRITE_DEADLINE, demand_preconditions, refuse};
use crate::core::confirm::Refusal;
use crate::core::effect::{Change, Effect};
use crate::core::object::{ObjectKind, ObjectRef};
use crate::core::snapshot::WriteMode;
use crate::core::text::Text;
use crate::core::train::hands::is_safe;

/// How the names of our own ConfigMaps begin.
const OURS: &str = "fp-";

/// How the names of journals begin: the only ConfigMaps that may grow.
const JOURNAL: &str = "fp-journal-";

/// A write of the conductor's own papers.
#[derive(Clone, PartialEq, Debug)]
pub struct Clerical(Effect);

impl Clerical {
    /// A write to a Release (its status, the link of an incident, a safe order more, what other hands did), a Lease, an immutable
    /// ConfigMap of ours, a journal (which grows key by key), or an Event. Anything else is refused.
    pub fn of(effect: Effect) -> Result<Self, Refusal> {
        let object = &effect.object;
        let fits = match (object.kind, &effect.change) {
            (ObjectKind::Release, Change::PatchStatus(patch)) => all(patch, |op| below(op, "/status")),
            (ObjectKind::Release, Change::Patch(patch)) => all(patch, notes),
            (ObjectKind::Lease, Change::Patch(patch)) => {
                all(patch, |op| below(op, "/spec") || below(op, "/metadata/annotations"))
            }
            (ObjectKind::Lease | ObjectKind::Event, Change::Create(body)) => named(object, body),
            (ObjectKind::ConfigMap, Change::Create(body)) => {
                named(object, body) && (body["immutable"] == true || object.name.starts_with(JOURNAL))
            }
            (ObjectKind::ConfigMap, Change::Patch(patch)) => {
                object.name.starts_with(JOURNAL)
                    && all(patch, |op| matches!(op, PatchOperation::Add(_)) && below(op, "/data"))
            }
            _ => false,
        };
        let ours = object.kind != ObjectKind::ConfigMap || object.name.starts_with(OURS);
        if !fits || !ours {
            return refuse(
                crate::text!("a write to {} is none of a conductor's papers", effect.object),
                "this is a defect of footplate: please report it",
            );
        }
        demand_preconditions(&effect)?;
        Ok(Self(effect))
    }
}

/// Lets a paper pass, unless nothing may be written at all or this is another cluster than the one of the train. `cluster_uid` is
/// the uid as recorded and as read.
pub fn clear_clerical(
    clerical: Clerical,
    write: WriteMode,
    cluster_uid: (Option<&Text>, Option<&Text>),
) -> Result<Cleared, Refusal> {
    let Clerical(effect) = clerical;
    if write == WriteMode::ReadOnly {
        return refuse(crate::text!("read-only: {} is not written", effect.object), "open it without --read-only");
    }
    if let (Some(recorded), Some(read)) = cluster_uid
        && recorded != read
    {
        let why = crate::text!("this is another cluster: its uid is {read}, the train was recorded in {recorded}");
        return refuse(why, "check the context");
    }
    Ok(Cleared { effect, deadline: WRITE_DEADLINE, by: By::Conductor })
}

/// Tests aside, true of every operation.
fn all(patch: &Patch, fits: impl Fn(&PatchOperation) -> bool) -> bool {
    patch.0.iter().all(|op| matches!(op, PatchOperation::Test(_)) || fits(op))
}

fn below(op: &PatchOperation, field: &str) -> bool {
    let within = |path: &str| path == field || path.strip_prefix(field).is_some_and(|rest| rest.starts_with('/'));
    // What is moved or copied comes from somewhere else.
    matches!(op, PatchOperation::Add(_) | PatchOperation::Replace(_) | PatchOperation::Remove(_))
        && within(op.path().as_str())
}

/// Notes something in a Release: nothing of its spec is ever changed or taken away. An order is one in the safe direction, as the
/// conductor's own are; a person's others need a confirmation.
fn notes(op: &PatchOperation) -> bool {
    let PatchOperation::Add(add) = op else { return false };
    match add.path.as_str() {
        "/spec/incident" | "/spec/acted/-" => true,
        "/spec/intents/-" => {
            let want = add.value["want"].as_str().and_then(|want| serde_json::from_str(want).ok());
            want.is_some_and(|want| is_safe(&want))
        }
        _ => false,
    }
}

/// The object that is made is the one that is named.
fn named(object: &ObjectRef, body: &Value) -> bool {
    body["metadata"]["name"] == object.name.as_str()
        && body["metadata"]["namespace"] == object.namespace.as_str()
        && body["kind"] == object.kind.api().3
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::effect::Direction;
    use crate::core::train::event::{HoldFor, Scope, Want};

    fn at(kind: ObjectKind, name: &str) -> ObjectRef {
        ObjectRef { cluster: "prod".into(), kind, namespace: "n".into(), name: name.into() }
    }

    fn patch(ops: Value) -> Change {
        let mut all = vec![json!({"op": "test", "path": "/metadata/uid", "value": "u"})];
        all.extend(ops.as_array().unwrap().iter().cloned());
        Change::Patch(serde_json::from_value(json!(all)).unwrap())
    }

    fn status(change: Change) -> Change {
        match change {
            Change::Patch(patch) => Change::PatchStatus(patch),
            other => other,
        }
    }

    fn body(kind: &str, name: &str, immutable: bool) -> Change {
        Change::Create(json!({"kind": kind, "immutable": immutable, "metadata": {"name": name, "namespace": "n"}}))
    }

    #[test]
    fn a_paper_is_one_of_five() {
        use ObjectKind::{ConfigMap, Event, Job, Lease, Release, Rollout};
        let add = |path: &str| json!([{"op": "add", "path": path, "value": {"x": 1}}]);
        let order = |want: &Want| {
            let value = json!({"id": "1", "want": serde_json::to_string(want).unwrap()});
            json!([{"op": "add", "path": "/spec/intents/-", "value": value}])
        };
        let paper = |object: ObjectRef, change| {
            Clerical::of(Effect { object, change, direction: Direction::Forward, says: "x".into() })
        };
        let may = [
            (at(Release, "r"), status(patch(add("/status/memory")))),
            (at(Release, "r"), patch(order(&Want::Undo(Scope::All)))),
            (at(Release, "r"), patch(order(&Want::Hold(None, HoldFor::Person)))),
            (at(Release, "r"), patch(add("/spec/acted/-"))),
            (at(Release, "r"), patch(add("/spec/incident"))),
            (at(Lease, "l"), patch(json!([{"op": "replace", "path": "/spec/renewTime", "value": "x"}]))),
            (at(Lease, "l"), body("Lease", "l", false)),
            (at(Event, "e"), body("Event", "e", false)),
            (at(ConfigMap, "fp-4fe1-before-a"), body("ConfigMap", "fp-4fe1-before-a", true)),
            (at(ConfigMap, "fp-journal-4fe1-001"), body("ConfigMap", "fp-journal-4fe1-001", false)),
            (at(ConfigMap, "fp-journal-4fe1-001"), patch(add("/data/000002"))),
        ];
        for (object, change) in may {
            let made = paper(object.clone(), change.clone());
            let made = made.unwrap_or_else(|why| unreachable!("{object}: {}", why.why));
            assert!(clear_clerical(made.clone(), WriteMode::ReadOnly, (None, None)).is_err());
            assert!(
                clear_clerical(made.clone(), WriteMode::ReadWrite, (Some(&"a".into()), Some(&"b".into()))).is_err()
            );
            let cleared = clear_clerical(made, WriteMode::ReadOnlyByPattern, (Some(&"a".into()), None)).unwrap();
            assert_eq!((&cleared.effect().object, &cleared.effect().change), (&object, &change));
        }
        let may_not = [
            (at(Rollout, "a"), patch(add("/spec/paused"))),
            (at(Rollout, "a"), status(patch(add("/status/abort")))),
            (at(Job, "j"), body("Job", "j", false)),
            (at(Release, "r"), patch(add("/spec/plan"))),
            (at(Release, "r"), patch(order(&Want::Start))),
            (at(Release, "r"), patch(order(&Want::Resume(1)))),
            (at(Release, "r"), patch(add("/spec/intents/-"))),
            (at(Release, "r"), patch(add("/spec/intents"))),
            (at(Release, "r"), patch(json!([{"op": "remove", "path": "/spec/intents/0"}]))),
            (at(Release, "r"), patch(json!([{"op": "replace", "path": "/spec/intents/0", "value": 1}]))),
            (at(Release, "r"), status(patch(json!([{"op": "move", "path": "/status/a", "from": "/spec/plan"}])))),
            (at(Release, "r"), status(patch(add("/statusx")))),
            (at(Release, "r"), body("Release", "r", false)),
            (at(Lease, "l"), patch(add("/metadata/finalizers"))),
            (at(Lease, "l"), body("Lease", "other", false)),
            (at(Lease, "l"), body("Rollout", "l", false)),
            (at(ConfigMap, "settings"), body("ConfigMap", "settings", true)),
            (at(ConfigMap, "fp-4fe1-before-a"), body("ConfigMap", "fp-4fe1-before-a", false)),
            (at(ConfigMap, "fp-4fe1-before-a"), patch(add("/data/template"))),
            (at(ConfigMap, "fp-journal-4fe1-001"), patch(json!([{"op": "remove", "path": "/data/000001"}]))),
            (at(ConfigMap, "fp-journal-4fe1-001"), patch(add("/metadata/labels"))),
            (at(Release, "r"), Change::Patch(serde_json::from_value(add("/spec/acted/-")).unwrap())),
        ];
        for (object, change) in may_not {
            assert!(paper(object.clone(), change.clone()).is_err(), "{object} {change:?}");
        }
    }
}
