//! Who owns which field: `metadata.managedFields` in its real format, kept on every write that comes through the API,
//! and server-side apply on top of it. What controllers write straight into the store is owned by nobody.

mod set;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::lists::{self, Shape};
use crate::rehearsal::kinds::Kind;
use crate::rehearsal::refusal::Refusal;
use crate::rehearsal::store::stamp;
use set::{Set, element_key};

/// Fields of an object that nobody owns.
const UNOWNED: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
];

/// One entry of `managedFields`.
#[derive(Clone, PartialEq, Debug)]
struct Entry {
    manager: String,
    applies: bool,
    api_version: String,
    sub: String,
    /// Empty where a real server sets none.
    time: String,
    set: Set,
}

impl Entry {
    fn is(&self, manager: &str, applies: bool, api_version: &str, sub: &str) -> bool {
        self.manager == manager && self.applies == applies && self.sub == sub && self.api_version == api_version
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Some(Self {
            manager: text("manager"),
            applies: match value["operation"].as_str()? {
                "Apply" => true,
                "Update" => false,
                _ => return None,
            },
            api_version: text("apiVersion"),
            sub: text("subresource"),
            time: text("time"),
            set: Set::read(&value["fieldsV1"]),
        })
    }

    fn write(&self) -> Value {
        let mut value = json!({
            "manager": self.manager,
            "operation": if self.applies { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.set.write(),
        });
        for (field, text) in [("subresource", &self.sub), ("time", &self.time)] {
            if !text.is_empty() {
                value[field] = json!(text);
            }
        }
        value
    }

    /// As a conflict names it.
    fn shown(&self) -> String {
        let mut shown = format!("{:?}", self.manager);
        if !self.sub.is_empty() {
            shown = format!("{shown} with subresource {:?}", self.sub);
        }
        if !self.applies {
            shown = format!("{shown} using {}", self.api_version);
        }
        shown
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Entry::read).collect()
}

fn store(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|e| !e.set.is_empty());
    entries.sort_by(|a, b| (!a.applies, &a.time, &a.manager, &a.sub).cmp(&(!b.applies, &b.time, &b.manager, &b.sub)));
    if entries.is_empty() {
        strip(object);
    } else {
        object["metadata"]["managedFields"] = entries.iter().map(Entry::write).collect();
    }
}

/// Removes `managedFields`.
pub fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

/// Records that `manager` wrote `new` over `old` by create, update or patch: it owns what changed, nobody else does any
/// more.
pub fn track(kind: &Kind, old: Option<&Value>, new: &mut Value, manager: &str, sub: Option<&str>, now: Timestamp) {
    let mut entries = old.map(entries).unwrap_or_default();
    let (changed, removed) = compare(kind, old, Some(new));
    for entry in &mut entries {
        entry.set.remove_below(&removed);
        entry.set.subtract(&changed);
    }
    let sub = sub.unwrap_or_default();
    let api_version = kind.api_version();
    // Scaling is the one write that a real server does not date.
    let time = if sub == "scale" { String::new() } else { stamp(now) };
    if !changed.is_empty() {
        match entries.iter_mut().find(|e| e.is(manager, false, &api_version, sub)) {
            Some(entry) => {
                entry.set.add(&changed);
                entry.time = time;
            }
            None => entries.push(Entry {
                manager: manager.to_owned(),
                applies: false,
                api_version,
                sub: sub.to_owned(),
                time,
                set: changed,
            }),
        }
    }
    store(new, entries);
}

/// Who applies, and how.
pub struct Applier<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The subresource that is written.
    pub sub: Option<&'a str>,
    /// Whether to take fields over from others.
    pub force: bool,
    /// The time of the entry.
    pub now: Timestamp,
}

/// Server-side apply: merges `applied` over `live`, drops what this manager applied before and no longer does, and
/// settles who owns what.
///
/// # Errors
/// 409 with one cause a field, when another manager owns a field that would change and `force` is not set.
pub fn apply(kind: &Kind, live: Option<&Value>, applied: &Value, by: &Applier<'_>) -> Result<Value, Refusal> {
    let api_version = kind.api_version();
    let sub = by.sub.unwrap_or_default();
    let mut entries = live.map(entries).unwrap_or_default();
    if let (Some(live), true) = (live, entries.is_empty()) {
        entries.push(Entry {
            manager: "before-first-apply".to_owned(),
            applies: false,
            api_version: api_version.clone(),
            sub: String::new(),
            time: stamp(by.now),
            set: owned(kind, live),
        });
    }
    let relevant = relevant(kind, applied, by.sub);
    let wanted = owned(kind, &relevant);
    let before = entries.iter().find(|e| e.is(by.manager, true, &api_version, sub)).cloned();
    entries.retain(|e| !e.is(by.manager, true, &api_version, sub));

    let mut merged = live.cloned().unwrap_or_else(|| json!({}));
    merge(kind, &mut Vec::new(), &mut merged, &relevant);
    let (changed, _) = compare(kind, live, Some(&merged));
    let mut conflicts: Vec<(String, String)> = Vec::new();
    for entry in &mut entries {
        let taken = entry.set.common(&changed);
        if by.force {
            entry.set.subtract(&taken);
        } else {
            conflicts.extend(taken.paths().into_iter().map(|path| (entry.shown(), path)));
        }
    }
    if !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    if let Some(before) = &before {
        let mut dropped = before.set.clone();
        dropped.subtract(&wanted);
        for entry in &entries {
            dropped.subtract(&entry.set);
        }
        prune(&mut merged, &dropped);
    }
    // An apply that changes no value is not dated, even where it changes who owns what.
    let (changed, removed) = compare(kind, live, Some(&merged));
    let time = match changed.is_empty() && removed.is_empty() {
        true => before.map(|b| b.time).unwrap_or_default(),
        false => stamp(by.now),
    };
    entries.push(Entry {
        manager: by.manager.to_owned(),
        applies: true,
        api_version: api_version.clone(),
        sub: sub.to_owned(),
        time,
        set: wanted,
    });
    merged["apiVersion"] = json!(api_version);
    merged["kind"] = json!(kind.kind);
    store(&mut merged, entries);
    Ok(merged)
}

fn conflict(conflicts: &[(String, String)]) -> Refusal {
    let message = match conflicts {
        [(manager, path)] => format!("Apply failed with 1 conflict: conflict with {manager}: {path}"),
        many => {
            let mut lines = Vec::new();
            let mut managers: Vec<&String> = many.iter().map(|c| &c.0).collect();
            managers.sort();
            managers.dedup();
            for manager in managers {
                lines.push(format!("conflicts with {manager}:"));
                lines.extend(many.iter().filter(|c| c.0 == *manager).map(|c| format!("- {}", c.1)));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(manager, path)| {
            json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path })
        })
        .collect();
    let mut refusal = Refusal::new(409, "Conflict", message);
    refusal.details = json!({ "causes": causes });
    refusal
}

/// What of an applied object this resource writes.
fn relevant(kind: &Kind, applied: &Value, sub: Option<&str>) -> Value {
    let mut value = applied.clone();
    if let Some(map) = value.as_object_mut() {
        match sub {
            Some("status") => map.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "status")),
            _ if kind.status => drop(map.remove("status")),
            _ => {}
        }
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !UNOWNED.contains(&field.as_str()));
        if metadata.is_empty()
            && let Some(map) = value.as_object_mut()
        {
            map.remove("metadata");
        }
    }
    value
}

/// All fields of an object that somebody can own.
fn owned(kind: &Kind, object: &Value) -> Set {
    let mut set = Set::default();
    for (field, value) in object.as_object().into_iter().flatten() {
        match field.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                for (inner, value) in value.as_object().into_iter().flatten() {
                    if !UNOWNED.contains(&inner.as_str()) {
                        *set.child("f:metadata").child(&format!("f:{inner}")) =
                            collect(kind, &mut vec!["metadata", inner], value, false);
                    }
                }
            }
            _ => *set.child(&format!("f:{field}")) = collect(kind, &mut vec![field], value, false),
        }
    }
    set.tidy();
    set
}

/// The fields of a value; with `whole`, maps and keyed elements themselves too (they are new, or gone).
fn collect<'v>(kind: &Kind, path: &mut Vec<&'v str>, value: &'v Value, whole: bool) -> Set {
    match value {
        Value::Object(map) if !map.is_empty() && !lists::atomic_map(path) => {
            let mut set = Set { member: whole, ..Set::default() };
            for (field, value) in map {
                path.push(field);
                *set.child(&format!("f:{field}")) = collect(kind, path, value, whole);
                path.pop();
            }
            set
        }
        Value::Array(items) if !items.is_empty() => {
            let mut set = Set { member: whole, ..Set::default() };
            match lists::shape(kind, path) {
                Shape::Atomic => return Set::leaf(),
                Shape::Set => items.iter().for_each(|i| *set.child(&format!("v:{i}")) = Set::leaf()),
                Shape::Keyed(keys) => {
                    for item in items {
                        let inner = set.child(&element_key(item, keys));
                        *inner = collect(kind, path, item, whole);
                        inner.member = true;
                    }
                }
            }
            set
        }
        _ => Set::leaf(),
    }
}

/// What is new or different in `new`, and what of `old` is gone.
fn compare(kind: &Kind, old: Option<&Value>, new: Option<&Value>) -> (Set, Set) {
    let (mut changed, mut removed) = (Set::default(), Set::default());
    let fields = |value: Option<&Value>| -> Map<String, Value> {
        let mut map = value.and_then(Value::as_object).cloned().unwrap_or_default();
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|field, _| !UNOWNED.contains(&field.as_str()));
            if metadata.is_empty() {
                map.remove("metadata");
            }
        }
        map
    };
    let (old, new) = (Value::Object(fields(old)), Value::Object(fields(new)));
    differ(kind, &mut Vec::new(), Some(&old), Some(&new), &mut changed, &mut removed);
    // These are structs, not maps: they are always there. The schemas of custom kinds make maps of the last two.
    for name in ["f:metadata", "f:spec", "f:status"] {
        if let Some(part) = changed.children.get_mut(name).filter(|_| name == "f:metadata" || !kind.custom) {
            part.member = part.member && part.children.is_empty();
        }
    }
    changed.tidy();
    removed.tidy();
    (changed, removed)
}

fn differ<'v>(
    kind: &Kind,
    path: &mut Vec<&'v str>,
    old: Option<&'v Value>,
    new: Option<&'v Value>,
    changed: &mut Set,
    removed: &mut Set,
) {
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => *changed = collect(kind, path, new, true),
        (Some(_), None) => *removed = Set::leaf(),
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) if !lists::atomic_map(path) => {
            let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for field in all {
                path.push(field);
                let name = format!("f:{field}");
                let (into, out) = (changed.child(&name), removed.child(&name));
                differ(kind, path, old.get(field), new.get(field), into, out);
                path.pop();
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => match lists::shape(kind, path) {
            Shape::Atomic => *changed = Set::leaf(),
            Shape::Set => {
                for item in new.iter().filter(|i| !old.contains(i)) {
                    *changed.child(&format!("v:{item}")) = Set::leaf();
                }
                for item in old.iter().filter(|i| !new.contains(i)) {
                    *removed.child(&format!("v:{item}")) = Set::leaf();
                }
            }
            Shape::Keyed(keys) => {
                let named = |items: &'v [Value]| -> std::collections::BTreeMap<String, &'v Value> {
                    items.iter().map(|i| (element_key(i, keys), i)).collect()
                };
                let (old, new) = (named(old), named(new));
                let all: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for key in all {
                    let (into, out) = (changed.child(key), removed.child(key));
                    differ(kind, path, old.get(key).copied(), new.get(key).copied(), into, out);
                    if !old.contains_key(key) {
                        into.member = true;
                    }
                }
            }
        },
        (Some(_), Some(_)) => *changed = Set::leaf(),
    }
}

/// Merges an applied value over a live one, lists by their shape.
fn merge<'v>(kind: &Kind, path: &mut Vec<&'v str>, live: &mut Value, applied: &'v Value) {
    match applied {
        Value::Object(fields) if !lists::atomic_map(path) => {
            if !live.is_object() {
                *live = json!({});
            }
            for (field, value) in fields {
                path.push(field);
                merge(kind, path, &mut live[field.as_str()], value);
                path.pop();
            }
        }
        Value::Array(items) => match (lists::shape(kind, path), live.as_array_mut()) {
            (Shape::Set, Some(there)) => {
                for item in items {
                    if !there.contains(item) {
                        there.push(item.clone());
                    }
                }
            }
            (Shape::Keyed(keys), Some(there)) => {
                for item in items {
                    let key = element_key(item, keys);
                    match there.iter().position(|t| element_key(t, keys) == key) {
                        Some(place) => merge(kind, path, &mut there[place], item),
                        None => there.push(item.clone()),
                    }
                }
            }
            _ => *live = applied.clone(),
        },
        _ => *live = applied.clone(),
    }
}

/// Removes fields from a value.
fn prune(value: &mut Value, dropped: &Set) {
    for (name, inner) in &dropped.children {
        if let Some(field) = name.strip_prefix("f:") {
            let Some(map) = value.as_object_mut() else { continue };
            if inner.children.is_empty() && inner.member {
                map.remove(field);
            } else if let Some(child) = map.get_mut(field) {
                prune(child, inner);
                if inner.member && (*child == json!({}) || *child == json!([])) {
                    map.remove(field);
                }
            }
        } else if let Some(items) = value.as_array_mut() {
            let names = |item: &Value| match name.strip_prefix("k:").map(serde_json::from_str::<Map<String, Value>>) {
                Some(Ok(keys)) => {
                    let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
                    element_key(item, &keys) == *name
                }
                _ => format!("v:{item}") == *name,
            };
            if inner.member {
                items.retain(|item| !names(item));
            } else if let Some(item) = items.iter_mut().find(|item| names(item)) {
                prune(item, inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::kinds;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_759_410_000 + second).unwrap()
    }

    fn deployment(image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "d", "labels": { "app": "d" } },
            "spec": { "replicas": 3, "template": { "spec": { "containers": [
                { "name": "app", "image": image, "env": [{ "name": "A", "value": "1" }] },
            ] } } },
        })
    }

    fn applied(live: Option<&Value>, object: &Value, manager: &str, force: bool) -> Result<Value, Refusal> {
        apply(&kinds::DEPLOYMENT, live, object, &Applier { manager, sub: None, force, now: at(0) })
    }

    #[test]
    fn what_is_applied_no_longer_goes_and_what_others_own_stays() {
        let first = applied(None, &deployment("app:1"), "one", false).unwrap();
        let fields = &first["metadata"]["managedFields"][0];
        assert_eq!(
            (fields["manager"].as_str(), fields["operation"].as_str(), fields["fieldsType"].as_str()),
            (Some("one"), Some("Apply"), Some("FieldsV1"))
        );
        assert_eq!(
            fields["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"],
            json!({ "k:{\"name\":\"app\"}": {
                ".": {}, "f:name": {}, "f:image": {},
                "f:env": { "k:{\"name\":\"A\"}": { ".": {}, "f:name": {}, "f:value": {} } },
            } })
        );
        let mut updated = first.clone();
        updated["metadata"]["labels"]["other"] = json!("x");
        track(&kinds::DEPLOYMENT, Some(&first), &mut updated, "two", None, at(1));
        let mut less = deployment("app:1");
        less["metadata"]["labels"] = json!({});
        less["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        let after = applied(Some(&updated), &less, "one", false).unwrap();
        assert_eq!(after["metadata"]["labels"], json!({ "other": "x" }));
        assert_eq!(after["spec"]["template"]["spec"]["containers"][0]["env"], json!([]));
        assert_eq!(after["spec"]["replicas"], 3);
    }

    #[test]
    fn a_field_of_another_is_a_conflict_unless_forced() {
        let first = applied(None, &deployment("app:1"), "one", false).unwrap();
        let refusal = applied(Some(&first), &deployment("app:2"), "two", false).unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (409, "Conflict"));
        assert_eq!(
            refusal.message,
            "Apply failed with 1 conflict: conflict with \"one\": \
             .spec.template.spec.containers[name=\"app\"].image"
        );
        assert_eq!(refusal.details["causes"][0]["reason"], "FieldManagerConflict");
        let forced = applied(Some(&first), &deployment("app:2"), "two", true).unwrap();
        assert_eq!(forced["spec"]["template"]["spec"]["containers"][0]["image"], "app:2");
        // The loser may apply its own again, but now it is the one in conflict.
        assert!(applied(Some(&forced), &deployment("app:1"), "one", false).is_err());
        // The same value is shared, not fought over.
        assert!(applied(Some(&first), &deployment("app:1"), "two", false).is_ok());
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let first = applied(None, &deployment("app:1"), "one", false).unwrap();
        let by = Applier { manager: "one", sub: None, force: false, now: at(60) };
        assert_eq!(apply(&kinds::DEPLOYMENT, Some(&first), &deployment("app:1"), &by).unwrap(), first);
    }

    #[test]
    fn an_update_takes_the_field_over_and_a_removal_takes_it_from_all() {
        let first = applied(None, &deployment("app:1"), "one", false).unwrap();
        let mut updated = first.clone();
        updated["spec"]["replicas"] = json!(5);
        if let Some(labels) = updated["metadata"]["labels"].as_object_mut() {
            labels.remove("app");
        }
        track(&kinds::DEPLOYMENT, Some(&first), &mut updated, "kubectl-patch", None, at(1));
        let entries = entries(&updated);
        assert_eq!(entries.len(), 2);
        assert!(!entries[0].set.paths().contains(&".spec.replicas".to_owned()));
        assert!(!entries[0].set.paths().contains(&".metadata.labels.app".to_owned()));
        assert_eq!(entries[1].set.paths(), [".spec.replicas"]);
        let refusal = applied(Some(&updated), &deployment("app:1"), "one", false).unwrap_err();
        assert!(refusal.message.contains("\"kubectl-patch\" using apps/v1: .spec.replicas"));
    }
}
