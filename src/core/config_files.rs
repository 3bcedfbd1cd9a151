//! A service's config files as the immutable ConfigMap that a deploy mounts (`train.md` §1). Its name follows from what it
//! holds, so that making it twice is harmless and a change of a file is a change of the pod template. Where the files come
//! from, and which template names the ConfigMap, is not known here.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::{Map, Value, json};

use super::confirm::Refusal;
use super::object::{Object, ObjectKind, ObjectRef};
use super::record::OF;
use super::text::Text;

/// Most bytes that a ConfigMap holds.
const BYTES_MAX: usize = 1 << 20;
/// Longest name of an object.
const NAME_MAX: usize = 253;

/// The files of one service, by base name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigFiles {
    name: Text,
    files: BTreeMap<String, Vec<u8>>,
}

impl ConfigFiles {
    /// Of paths below `config/` with their content. Refused: two files of one base name, a name that is no key of a
    /// ConfigMap, more than a ConfigMap holds, no file at all.
    pub fn of(service: &str, read: Vec<(Text, Vec<u8>)>) -> Result<Self, Refusal> {
        let refuse = |why: Text, hint: &str| Refusal { why, hint: Text::scrub(hint), already: false };
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut from: BTreeMap<String, Text> = BTreeMap::new();
        for (path, content) in read {
            let key = path.rsplit('/').next().unwrap_or_default().to_owned();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if key.is_empty() || key.len() > NAME_MAX || key.starts_with("..") || key == "." || !key.chars().all(plain)
            {
                let why = crate::text!("config file {path} of {service} cannot be a key of a ConfigMap");
                return Err(refuse(why, "name it with letters, digits, dots, dashes and underscores"));
            }
            if let Some(first) = from.insert(key.clone(), path.clone()) {
                let why = crate::text!("config files {first} and {path} of {service} have the same base name");
                return Err(refuse(why, "they are mounted side by side: rename one"));
            }
            files.insert(key, content);
        }
        let bytes: usize = files.iter().map(|(key, content)| key.len() + content.len()).sum();
        if bytes > BYTES_MAX {
            let why = crate::text!("the config files of {service} have {bytes} bytes, a ConfigMap holds {BYTES_MAX}");
            return Err(refuse(why, "make them smaller, or mount something else"));
        }
        if files.is_empty() {
            return Err(refuse(crate::text!("{service} has no config file"), "pin one, or none"));
        }
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for (key, content) in &files {
            digest.update(format!("{key}\0{}\0", content.len()).as_bytes());
            digest.update(content);
        }
        let hex: String = digest.finish().as_ref().iter().take(5).map(|b| format!("{b:02x}")).collect();
        let name = format!("{service}-config-{hex}");
        if name.len() > NAME_MAX {
            let why = crate::text!("{service} is too long a name for a ConfigMap of its own");
            return Err(refuse(why, "shorten it"));
        }
        Ok(Self { name: Text::scrub(&name), files })
    }

    /// The ConfigMap's name: `<service>-config-<first ten digits of the SHA-256 of its files>`.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// Where it will lie.
    pub fn id(&self, workload: &ObjectRef) -> ObjectRef {
        ObjectRef { kind: ObjectKind::ConfigMap, name: self.name.clone(), ..workload.clone() }
    }

    /// The ConfigMap, owned by the workload that mounts it.
    pub fn config_map(&self, workload: &ObjectRef, uid: &str) -> Value {
        let mut map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
            "metadata": {
                "name": self.name.as_str(), "namespace": workload.namespace.as_str(), "labels": {OF: uid},
                "ownerReferences": [{
                    "apiVersion": workload.kind.api_version(), "kind": workload.kind.api().3,
                    "name": workload.name.as_str(), "uid": uid,
                }],
            },
        });
        for (field, content) in self.fields() {
            map[field] = Value::Object(content);
        }
        map
    }

    /// True when this ConfigMap holds these files, and cannot come to hold others.
    pub fn are_in(&self, config_map: &Object) -> bool {
        let holds = |field: &str| config_map.raw(&format!("/{field}")).and_then(Value::as_object).cloned();
        let mut fields = self.fields();
        config_map.flag("/immutable")
            && ["data", "binaryData"]
                .iter()
                .all(|field| holds(field).unwrap_or_default() == fields.remove(field).unwrap_or_default())
    }

    /// What is text goes into `data`, what is not, encoded, into `binaryData`.
    fn fields(&self) -> BTreeMap<&'static str, Map<String, Value>> {
        let mut out: BTreeMap<&'static str, Map<String, Value>> = BTreeMap::new();
        for (key, content) in &self.files {
            let (field, value) = match std::str::from_utf8(content) {
                Ok(text) => ("data", text.to_owned()),
                Err(_) => ("binaryData", base64::engine::general_purpose::STANDARD.encode(content)),
            };
            out.entry(field).or_default().insert(key.clone(), json!(value));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Result<ConfigFiles, Refusal> {
        let read = files.iter().map(|(path, content)| (Text::scrub(path), content.as_bytes().to_vec())).collect();
        ConfigFiles::of("billing-api", read)
    }

    #[test]
    fn the_name_follows_from_the_content() {
        let one = of(&[("billing/limits.yaml", "a: 1\n")]).unwrap();
        assert_eq!(one, of(&[("billing/limits.yaml", "a: 1\n")]).unwrap());
        let (stem, hex) = one.name().rsplit_once('-').unwrap();
        assert_eq!(stem, "billing-api-config");
        assert!(hex.len() == 10 && hex.chars().all(|c| c.is_ascii_hexdigit()), "{hex}");
        for other in [
            vec![("billing/limits.yaml", "a: 2\n")],
            vec![("billing/other.yaml", "a: 1\n")],
            vec![("billing/limits.yaml", "a: 1\n"), ("x", "")],
        ] {
            assert_ne!(of(&other).unwrap().name(), one.name());
        }
    }

    #[test]
    fn what_was_made_is_recognized_and_what_was_changed_is_not() {
        let read = vec![("b/limits.yaml".into(), b"a: 1\n".to_vec()), ("b/key.bin".into(), vec![0xff, 0x00])];
        let files = ConfigFiles::of("billing-api", read).unwrap();
        let workload = ObjectRef {
            cluster: "c".into(),
            kind: ObjectKind::Rollout,
            namespace: "n".into(),
            name: "billing-api".into(),
        };
        let map = files.config_map(&workload, "u1");
        assert_eq!(map["data"], json!({"limits.yaml": "a: 1\n"}));
        assert_eq!(map["binaryData"], json!({"key.bin": "/wA="}));
        assert_eq!(map["metadata"]["name"], files.id(&workload).name.as_str());
        assert!(files.are_in(&Object::new(map.clone())));
        let mut changed = map.clone();
        changed["data"]["limits.yaml"] = json!("a: 2\n");
        assert!(!files.are_in(&Object::new(changed)));
        let mut loose = map;
        loose["immutable"] = json!(false);
        assert!(!files.are_in(&Object::new(loose)), "somebody may change it later");
    }

    #[test]
    fn what_no_config_map_can_hold_is_refused() {
        let large = "x".repeat(BYTES_MAX + 1);
        for (files, why) in [
            (vec![("a/x.yaml", "1"), ("b/x.yaml", "2")], "same base name"),
            (vec![("a/..", "1")], "cannot be a key"),
            (vec![("a/b c", "1")], "cannot be a key"),
            (vec![("a/\u{202e}x", "1")], "cannot be a key"),
            (vec![("a/x", large.as_str())], "a ConfigMap holds"),
            (vec![], "no config file"),
        ] {
            assert!(of(&files).unwrap_err().why.contains(why), "{why}");
        }
        assert!(ConfigFiles::of(&"a".repeat(250), vec![("x".into(), Vec::new())]).is_err());
    }
}
