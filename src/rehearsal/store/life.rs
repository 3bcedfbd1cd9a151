//! The life of an object in the store: creation with its names and uids, changes under the rules that a server keeps to
//! itself, deletion with finalizers and with what it owns.

use std::sync::Arc;

use rand_chacha::rand_core::Rng;
use serde_json::{Map, Value, json};

use super::{Held, Propagation, Store, owners, text};
use crate::rehearsal::kinds::{self, Generation, Kind};
use crate::rehearsal::refusal::{Cause, Refusal};

impl Store {
    /// Creates an object from what a client or a controller gave. Name, or `generateName`; uid, creation time,
    /// generation and resourceVersion are set here; `status` is kept as given (the API server drops it where that is
    /// due). `namespace` is empty for a kind without namespaces.
    ///
    /// # Errors
    /// 404 of the namespace, 409 when it exists, 422 without a name.
    pub fn create(&mut self, kind: &'static Kind, namespace: &str, object: Value) -> Result<Arc<Held>, Refusal> {
        if kind.namespaced && self.get(&kinds::NAMESPACE, "", namespace).is_none() {
            return Err(Refusal::not_found(&kinds::NAMESPACE, namespace));
        }
        let name = match (text(&object, "/metadata/name"), text(&object, "/metadata/generateName")) {
            ("", "") => {
                let cause = Cause::required("metadata.name", "name or generateName is required");
                return Err(Refusal::invalid(kind, "", &[cause]));
            }
            ("", prefix) => {
                let mut name = format!("{prefix}{}", self.suffix());
                while self.get(kind, namespace, &name).is_some() {
                    name = format!("{prefix}{}", self.suffix());
                }
                name
            }
            (name, _) => name.to_owned(),
        };
        if self.get(kind, namespace, &name).is_some() {
            return Err(Refusal::already_exists(kind, &name));
        }
        Ok(self.insert(kind, namespace, &name, object))
    }

    pub(super) fn insert(&mut self, kind: &'static Kind, namespace: &str, name: &str, mut object: Value) -> Arc<Held> {
        if !object.is_object() {
            object = json!({});
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        let uid = self.uid();
        let stamp = self.stamp();
        edit_metadata(&mut object, |metadata| {
            for dropped in ["namespace", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
                metadata.remove(dropped);
            }
            metadata.insert("name".to_owned(), json!(name));
            if kind.namespaced {
                metadata.insert("namespace".to_owned(), json!(namespace));
            }
            metadata.insert("uid".to_owned(), json!(uid));
            metadata.insert("creationTimestamp".to_owned(), json!(stamp));
            if kind.generation != Generation::None {
                metadata.insert("generation".to_owned(), json!(1));
            }
        });
        if *kind == kinds::NAMESPACE {
            let labels = object["metadata"]["labels"].take();
            let mut labels = if labels.is_object() { labels } else { json!({}) };
            labels["kubernetes.io/metadata.name"] = json!(name);
            object["metadata"]["labels"] = labels;
            object["spec"] = json!({ "finalizers": ["kubernetes"] });
            object["status"] = json!({ "phase": "Active" });
        }
        self.commit(kind, None, Some(object))
    }

    /// Changes an object. What a server keeps to itself (uid, name, creation time, generation, resourceVersion) is put
    /// back; the generation grows when it should. A change of nothing makes no new version. An object that waits for
    /// its deletion goes when its last finalizer does.
    ///
    /// # Errors
    /// 404.
    pub fn update(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Held>, Refusal> {
        let old = self.get(kind, namespace, name).ok_or_else(|| Refusal::not_found(kind, name))?;
        let mut new = old.value.clone();
        change(&mut new);
        Ok(self.replace(kind, &old, new))
    }

    /// Changes the status of an object and nothing else of it (of a built-in kind, annotations too, as its strategy
    /// allows). For a kind without a status subresource it is [`Store::update`].
    ///
    /// # Errors
    /// 404.
    pub fn update_status(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Held>, Refusal> {
        let old = self.get(kind, namespace, name).ok_or_else(|| Refusal::not_found(kind, name))?;
        let mut new = old.value.clone();
        change(&mut new);
        if kind.status {
            new = status_only(kind, &old, new);
        }
        Ok(self.replace(kind, &old, new))
    }

    /// What [`Store::update`] would store, without storing it.
    pub fn preview(&self, kind: &Kind, old: &Held, mut new: Value) -> Value {
        settle(kind, old, &mut new);
        new
    }

    fn replace(&mut self, kind: &'static Kind, old: &Arc<Held>, mut new: Value) -> Arc<Held> {
        settle(kind, old, &mut new);
        if new == old.value {
            return old.clone();
        }
        let finished =
            new.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null()) && !has_finalizers(&new);
        let held = self.commit(kind, Some(old), Some(new));
        if finished {
            return self.remove(kind, &held, Propagation::Cascade);
        }
        held
    }

    /// Deletes an object and what it owns. One with finalizers is only marked. Answers with its last state.
    ///
    /// # Errors
    /// 404.
    pub fn delete(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        propagation: Propagation,
    ) -> Result<Arc<Held>, Refusal> {
        let old = self.get(kind, namespace, name).ok_or_else(|| Refusal::not_found(kind, name))?;
        if !has_finalizers(&old) {
            return Ok(self.remove(kind, &old, propagation));
        }
        if old.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(old);
        }
        let mut marked = old.value.clone();
        let stamp = self.stamp();
        edit_metadata(&mut marked, |metadata| {
            metadata.insert("deletionTimestamp".to_owned(), json!(stamp));
            metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
            if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
                metadata.insert("generation".to_owned(), json!(generation + 1));
            }
        });
        Ok(self.commit(kind, Some(&old), Some(marked)))
    }

    fn remove(&mut self, kind: &'static Kind, old: &Arc<Held>, propagation: Propagation) -> Arc<Held> {
        if *kind == kinds::NAMESPACE {
            let namespace = old.name().to_owned();
            for inner in kinds::ALL.iter().copied().filter(|k| k.namespaced && k.verbs == kinds::Verbs::All) {
                let names: Vec<String> = self.list(inner, Some(&namespace)).map(|o| o.name().to_owned()).collect();
                for name in names {
                    // What finalizers hold back stays; the namespace itself is not held up by it here.
                    let _ = self.delete(inner, &namespace, &name, propagation);
                }
            }
        }
        let held = self.commit(kind, Some(old), None);
        let dependents = self.owned.get(old.uid()).cloned().unwrap_or_default();
        for (group, plural, namespace, name) in dependents {
            let found = kinds::ALL.iter().copied().find(|k| k.group == group && k.plural == plural);
            let Some((kind, dependent)) = found.and_then(|k| Some((k, self.get(k, &namespace, &name)?))) else {
                continue;
            };
            let others: Vec<Value> = owners(&dependent).filter(|o| o["uid"] != old.uid()).cloned().collect();
            let held_by_another = others.iter().any(|o| o["uid"].as_str().is_some_and(|uid| self.uids.contains(uid)));
            if propagation == Propagation::Orphan || held_by_another {
                let mut freed = dependent.value.clone();
                if others.is_empty() {
                    edit_metadata(&mut freed, |m| drop(m.remove("ownerReferences")));
                } else {
                    freed["metadata"]["ownerReferences"] = Value::Array(others);
                }
                self.commit(kind, Some(&dependent), Some(freed));
            } else {
                // It was there a moment ago, under the same lock.
                let _ = self.delete(kind, &namespace, &name, Propagation::Cascade);
            }
        }
        held
    }

    fn uid(&mut self) -> String {
        let (high, low) = (self.rng.next_u64(), self.rng.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 50),
            low & 0xffff_ffff_ffff,
        )
    }

    fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..5).map(|_| char::from(LETTERS[(self.rng.next_u64() % LETTERS.len() as u64) as usize])).collect()
    }
}

/// Changes `metadata`, which is made an object if it is none.
fn edit_metadata(object: &mut Value, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut metadata = match object["metadata"].take() {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    change(&mut metadata);
    object["metadata"] = Value::Object(metadata);
}

fn has_finalizers(object: &Value) -> bool {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty())
}

/// The old object with the new one's status, as the `status` subresource of its kind stores it.
pub fn status_only(kind: &Kind, old: &Value, mut new: Value) -> Value {
    if kind.custom {
        let mut kept = old.clone();
        match new.get_mut("status").map(Value::take) {
            Some(status) => kept["status"] = status,
            None => drop(kept.as_object_mut().and_then(|o| o.remove("status"))),
        }
        if let Some(fields) = new.pointer_mut("/metadata/managedFields").map(Value::take) {
            kept["metadata"]["managedFields"] = fields;
        }
        return kept;
    }
    if let Some(map) = new.as_object_mut() {
        for (field, value) in old.as_object().into_iter().flatten() {
            if field != "status" && field != "metadata" {
                map.insert(field.clone(), value.clone());
            }
        }
    }
    let labels = old.pointer("/metadata/labels").cloned();
    edit_metadata(&mut new, |metadata| {
        match labels {
            Some(labels) => metadata.insert("labels".to_owned(), labels),
            None => metadata.remove("labels"),
        };
    });
    new
}

/// Puts back what the server keeps to itself, and lets the generation grow when it should.
fn settle(kind: &Kind, old: &Held, new: &mut Value) {
    if !new.is_object() {
        *new = json!({});
    }
    for field in ["apiVersion", "kind"] {
        new[field] = old[field].clone();
    }
    let kept = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generateName",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ];
    edit_metadata(new, |fields| {
        for field in kept {
            match old["metadata"].get(field) {
                Some(value) => fields.insert(field.to_owned(), value.clone()),
                None => fields.remove(field),
            };
        }
        for (field, empty) in [("labels", json!({})), ("annotations", json!({})), ("finalizers", json!([]))] {
            if fields.get(field).is_some_and(|v| v.is_null() || *v == empty) {
                fields.remove(field);
            }
        }
    });
    let grows = match kind.generation {
        Generation::None => false,
        Generation::Spec => new.get("spec") != old.get("spec"),
        Generation::SpecAndAnnotations => {
            new.get("spec") != old.get("spec")
                || new.pointer("/metadata/annotations") != old.pointer("/metadata/annotations")
        }
        Generation::AllButMetadata => {
            let differs = |field: &String| {
                field != "metadata" && !(kind.status && field == "status") && new.get(field) != old.get(field)
            };
            new.as_object().into_iter().chain(old.as_object()).flat_map(Map::keys).any(differs)
        }
    };
    if grows && let Some(generation) = old["metadata"]["generation"].as_i64() {
        new["metadata"]["generation"] = json!(generation + 1);
    }
}
