//! Recorded pod templates: immutable ConfigMaps, so that making one twice is harmless and one that was tampered with is not
//! believed (`train.md` §1, §9). By hand there is one a template, under a name that follows from what it holds; a train has one a
//! service, under a name that follows from the train. When to make one is not decided here.

use serde_json::{Value, json};

use super::object::{Object, ObjectKind, ObjectRef};
use super::text::Text;

/// Label of a record: the uid of the workload it belongs to.
pub const OF: &str = "footplate.dev/of";

/// Label of a train's record: the uid of its Release.
pub const TRAIN: &str = "footplate.dev/train";

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
    made(workload, uid, &name, json!({OF: uid}), json!({"hash": hash, "template": text}))
}

/// The record that a train makes of a service before it moves anything. Its name follows from the train and the service, so
/// that the first one made counts, whoever makes it.
pub fn of_train(workload: &ObjectRef, uid: &str, train: &str, service: &str, hash: &str, template: &Value) -> Record {
    let text = template.to_string();
    let digest = digest(uid, hash, &text, 32);
    let name = name_in_train(train, service);
    let labels = json!({OF: uid, TRAIN: train});
    made(workload, uid, &name, labels, json!({"hash": hash, "template": text, "digest": digest}))
}

/// Name of the record that a train (uid of its Release) makes of a service.
pub fn name_in_train(train: &str, service: &str) -> String {
    let short: String = train.chars().take(8).collect();
    let stem: String = service.chars().take(NAME_CHARS_MAX).collect();
    format!("fp-{short}-before-{}", stem.trim_end_matches(['.', '-']))
}

/// What a train recorded of a service: pod hash and template. None when it is the record of something else, can be changed,
/// or does not hold what it says.
pub fn in_train<'a>(record: &'a Object, uid: &str, train: &str, service: &str) -> Option<(&'a str, Value)> {
    let (hash, text) = (record.str("/data/hash")?, record.str("/data/template")?);
    let ours = !uid.is_empty()
        && record.label(OF) == Some(uid)
        && record.label(TRAIN) == Some(train)
        && record.str("/metadata/name")? == name_in_train(train, service)
        && record.flag("/immutable")
        && record.str("/data/digest")? == digest(uid, hash, text, 32);
    let template: Value = serde_json::from_str(text).ok().filter(|_| ours)?;
    template.is_object().then_some((hash, template))
}

fn made(workload: &ObjectRef, uid: &str, name: &str, labels: Value, data: Value) -> Record {
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
        "metadata": {
            "name": name, "namespace": workload.namespace.as_str(), "labels": labels,
            "ownerReferences": [{
                "apiVersion": workload.kind.api_version(), "kind": workload.kind.api().3,
                "name": workload.name.as_str(), "uid": uid,
            }],
        },
        "data": data,
    });
    let id = ObjectRef { kind: ObjectKind::ConfigMap, name: Text::scrub(name), ..workload.clone() };
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
    let hex = digest(uid, hash, template, 5);
    let stem: String = workload.chars().take(NAME_CHARS_MAX).collect();
    format!("{}-before-{hex}", stem.trim_end_matches(['.', '-']))
}

/// The first bytes of the SHA-256 of what a record holds, in hex.
fn digest(uid: &str, hash: &str, template: &str, bytes: usize) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{uid}/{hash}/{template}").as_bytes());
    digest.as_ref().iter().take(bytes).map(|b| format!("{b:02x}")).collect()
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
    fn a_train_believes_its_own_record_alone() {
        let id =
            ObjectRef { cluster: "c".into(), kind: ObjectKind::Rollout, namespace: "n".into(), name: "billing".into() };
        let template = json!({"spec": {"containers": [{"name": "app", "image": "b:1"}]}});
        let record = of_train(&id, "u1", "4fe1c0de-1", "billing-api", "abc", &template);
        assert_eq!(record.id.name.as_str(), "fp-4fe1c0de-before-billing-api");
        assert_eq!(record.config_map["metadata"]["ownerReferences"][0]["kind"], "Rollout");
        let there = Object::new(record.config_map.clone());
        assert_eq!(in_train(&there, "u1", "4fe1c0de-1", "billing-api"), Some(("abc", template)));
        assert_eq!(in_train(&there, "u2", "4fe1c0de-1", "billing-api"), None, "of another workload");
        assert_eq!(in_train(&there, "u1", "4fe1c0de-2", "billing-api"), None, "of another train");
        assert_eq!(in_train(&there, "u1", "4fe1c0de-1", "other"), None);
        for (at, value) in [
            ("/data/hash", json!("abd")),
            ("/data/template", json!(r#"{"spec": {"containers": []}}"#)),
            ("/immutable", json!(false)),
            ("/metadata/name", json!("fp-4fe1c0de-before-other")),
        ] {
            let mut forged = record.config_map.clone();
            *forged.pointer_mut(at).unwrap() = value;
            assert_eq!(in_train(&Object::new(forged), "u1", "4fe1c0de-1", "billing-api"), None, "{at}");
        }
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
