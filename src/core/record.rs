//! Recorded pod templates: immutable ConfigMaps, one a template, under a name that follows from what they hold, so that making
//! one twice is harmless and one that was tampered with is not believed (`train.md` §1, §9). When to make one is a verb's.

use serde_json::{Value, json};

use super::object::{Object, ObjectKind, ObjectRef};
use super::text::Text;

/// Label of a record: the uid of the workload it belongs to.
pub const OF: &str = "footplate.dev/of";

/// Longest name of a workload that is repeated in the name of its record.
const NAME_CHARS_MAX: usize = 200;

/// A record to be made: where, and the ConfigMap.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Where it will lie.
    pub id: ObjectRef,
    /// The ConfigMap.
    pub config_map: Value,
}

/// The record of a workload's template. `hash` is the pod hash that runs it.
pub fn of(workload: &ObjectRef, uid: &str, hash: &str, template: &Value) -> Record {
    let text = template.to_string();
    let name = name(&workload.name, uid, hash, &text);
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
        "metadata": {
            "name": name, "namespace": workload.namespace.as_str(), "labels": {OF: uid},
            "ownerReferences": [{
                "apiVersion": workload.kind.api_version(), "kind": workload.kind.api().3,
                "name": workload.name.as_str(), "uid": uid,
            }],
        },
        "data": {"hash": hash, "template": text},
    });
    let id = ObjectRef { kind: ObjectKind::ConfigMap, name: Text::scrub(&name), ..workload.clone() };
    Record { id, config_map }
}

/// The workload that a ConfigMap about to be made is a record of; none when it is none.
pub fn belongs_to(id: &ObjectRef, config_map: &Value) -> Option<ObjectRef> {
    let owners = config_map["metadata"]["ownerReferences"].as_array()?;
    let [owner] = owners.as_slice() else { return None };
    let uid = owner["uid"].as_str()?;
    let kinds = [ObjectKind::Deployment, ObjectKind::Canary, ObjectKind::Rollout];
    let kind = kinds.into_iter().find(|k| owner["kind"] == k.api().3)?;
    let ours = id.kind == ObjectKind::ConfigMap && config_map["metadata"]["labels"][OF] == uid;
    ours.then(|| ObjectRef { kind, name: Text::scrub(owner["name"].as_str().unwrap_or_default()), ..id.clone() })
}

/// The template that was recorded of this workload for a pod hash. A record whose name does not follow from what it holds is
/// passed over.
pub fn find<'a>(records: impl IntoIterator<Item = &'a Object>, workload: &str, uid: &str, hash: &str) -> Option<Value> {
    records.into_iter().filter(|r| r.label(OF) == Some(uid) && !uid.is_empty()).find_map(|record| {
        let text = record.str("/data/template")?;
        let ours =
            record.str("/data/hash")? == hash && record.str("/metadata/name")? == name(workload, uid, hash, text);
        if ours { serde_json::from_str(text).ok() } else { None }
    })
}

fn name(workload: &str, uid: &str, hash: &str, template: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{uid}/{hash}/{template}").as_bytes());
    let hex: String = digest.as_ref().iter().take(5).map(|b| format!("{b:02x}")).collect();
    let stem: String = workload.chars().take(NAME_CHARS_MAX).collect();
    format!("{}-before-{hex}", stem.trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_found_and_what_was_changed_is_not() {
        let id = ObjectRef {
            cluster: "c".into(),
            kind: ObjectKind::Deployment,
            namespace: "n".into(),
            name: "worker".into(),
        };
        let template = json!({"spec": {"containers": [{"name": "app", "image": "b:1"}]}});
        let record = of(&id, "u1", "abc", &template);
        assert_eq!(record.config_map["metadata"]["name"], record.id.name.as_str());
        assert_eq!(of(&id, "u1", "abc", &template), record, "the same name each time");
        let there = Object::new(record.config_map.clone());
        let find = |object: &Object, uid, hash| find([object], "worker", uid, hash);
        assert_eq!(find(&there, "u1", "abc"), Some(template));
        assert_eq!(find(&there, "u2", "abc"), None);
        assert_eq!(find(&there, "u1", "abd"), None);
        let mut forged = record.config_map;
        forged["data"]["template"] = json!(r#"{"spec": {"containers": [{"name": "app", "image": "evil:1"}]}}"#);
        assert_eq!(find(&Object::new(forged), "u1", "abc"), None);
    }

    #[test]
    fn a_long_name_stays_a_legal_one() {
        let id = ObjectRef {
            cluster: "c".into(),
            kind: ObjectKind::Canary,
            namespace: "n".into(),
            name: "a.".repeat(126).as_str().into(),
        };
        let name = of(&id, "u1", "abc", &json!({})).id.name;
        assert!(name.len() <= 253 && !name.contains(".-") && !name.contains("--"), "{name}");
    }
}
