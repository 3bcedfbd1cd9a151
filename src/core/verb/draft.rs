//! How an effect is put together: a JSON Patch that begins with `test` operations, then changes. The stamps that lie on
//! objects are read and written here; which verb writes which is its own business.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, TestOperation};
use serde_json::{Map, Value, json};

use crate::core::confirm::Order;
use crate::core::effect::{Change, Direction, Effect};
use crate::core::object::{Object, ObjectRef};
use crate::core::text::Text;
pub use crate::core::workload::before::UNDO;

/// Stamp of a hold: which one.
pub const HOLD: &str = "footplate.dev/hold";
/// Who holds and why, in words.
pub const HOLD_BY: &str = "footplate.dev/hold-by";

/// Stamp that says we set a Canary's `spec.skipAnalysis`, for which version: it is taken back when that version is through, or
/// the next one would be promoted unseen.
pub const SKIP: &str = "footplate.dev/skip-analysis";

/// The value of a hold's stamp. By hand there is no Release to name; the time of the order tells one hold from another.
pub fn hold_value(order: &Order) -> String {
    format!("hand/{}", order.when.as_millisecond())
}

/// True while the hold of this order lies on the object.
pub fn is_hold_of(object: &Object, order: &Order) -> bool {
    object.annotation(HOLD).is_some_and(|stamp| stamp == hold_value(order))
}

/// Who holds and why, for [`HOLD_BY`].
pub fn hold_by(order: &Order) -> String {
    if order.why.is_empty() { order.who.to_string() } else { format!("{}: {}", order.who, order.why) }
}

/// The value of an undo's stamp: what it goes away from and back to, by pod hash. It counts only while the workload is on
/// one of the two and not settled, so that a later deploy by anybody is not taken for one that is being undone.
pub fn undo_value(from: &str, to: &str) -> String {
    format!("hand/{from}/{to}")
}

/// True when the object bears an undo's stamp that speaks of what is there now (`hash`). A stamp in another form is that of a
/// Release; it counts until the workload is settled.
pub fn undo_counts(object: &Object, hash: &str) -> bool {
    let Some(stamp) = object.annotation(UNDO) else { return false };
    let mut parts = stamp.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("hand"), Some(from), Some(to), None) => hash == from || hash == to,
        _ => true,
    }
}

/// An annotation to write (a value) or to take away (none).
pub type Mark<'a> = (&'a str, Option<String>);

/// A JSON Patch in the making.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    tests: Vec<PatchOperation>,
    changes: Vec<PatchOperation>,
}

impl Draft {
    /// Begins with the tests that every effect by hand carries: the same object, the same generation.
    pub fn on(object: &Object) -> Self {
        Self::default().same(object, &["metadata", "uid"]).same(object, &["metadata", "generation"])
    }

    /// Tests that a field is as it was read; absent, if it was. A field below an absent parent tests the parent: a server
    /// cannot look further.
    pub fn same(self, object: &Object, path: &[&str]) -> Self {
        let mut at = object.whole();
        let mut depth = 0;
        while depth < path.len() {
            let next = match at {
                Value::Array(list) => path[depth].parse().ok().and_then(|n: usize| list.get(n)),
                other => other.get(path[depth]),
            };
            depth += 1;
            at = next.unwrap_or(&Value::Null);
            if at.is_null() {
                break;
            }
        }
        let value = at.clone();
        self.test(&path[..depth], value)
    }

    /// Tests that a field has this value; null: that it is not there.
    pub fn test(mut self, path: &[&str], value: Value) -> Self {
        let op = PatchOperation::Test(TestOperation { path: pointer(path), value });
        if !self.tests.contains(&op) {
            self.tests.push(op);
        }
        self
    }

    /// Sets a field. Its parent must be there.
    pub fn set(mut self, path: &[&str], value: Value) -> Self {
        self.changes.push(PatchOperation::Add(AddOperation { path: pointer(path), value }));
        self
    }

    /// Takes a field away, if it was read as present.
    pub fn clear(mut self, object: &Object, path: &[&str]) -> Self {
        let found = path.iter().try_fold(object.whole(), |at, key| at.get(key));
        if found.is_some() {
            self.changes.push(PatchOperation::Remove(RemoveOperation { path: pointer(path) }));
        }
        self
    }

    /// Takes annotations away, whether they are there or not: a patch that must land may not rest on what others stamped since.
    /// Without a map on the object there is none to take.
    pub fn unmark(mut self, object: &Object, keys: &[&str]) -> Self {
        if object.raw("/metadata/annotations").is_none() {
            return self;
        }
        for key in keys {
            let path = ["metadata", "annotations", key];
            self = self.set(&path, json!(""));
            self.changes.push(PatchOperation::Remove(RemoveOperation { path: pointer(&path) }));
        }
        self
    }

    /// Tests the stamps of hold and undo as they were read.
    pub fn stamps_as_read(self, object: &Object) -> Self {
        self.same(object, &["metadata", "annotations", HOLD]).same(object, &["metadata", "annotations", UNDO])
    }

    /// Writes annotations. Without a map on the object the whole map is added, under the test that there is none.
    pub fn marks(mut self, object: &Object, marks: &[Mark<'_>]) -> Self {
        if object.raw("/metadata/annotations").is_none() {
            let map: Map<String, Value> =
                marks.iter().filter_map(|(key, value)| Some(((*key).to_owned(), json!(value.as_ref()?)))).collect();
            let path = pointer(&["metadata", "annotations"]);
            self = self.same(object, &["metadata", "annotations"]);
            let added = self.changes.iter_mut().find_map(|op| match op {
                PatchOperation::Add(add) if add.path == path => add.value.as_object_mut(),
                _ => None,
            });
            match added {
                Some(added) => added.extend(map),
                None if map.is_empty() => {}
                None => self.changes.push(PatchOperation::Add(AddOperation { path, value: Value::Object(map) })),
            }
            return self;
        }
        for (key, value) in marks {
            let path = ["metadata", "annotations", key];
            self = match value {
                Some(value) => self.set(&path, json!(value)),
                None => self.clear(object, &path),
            };
        }
        self
    }

    /// The effect on the main resource.
    pub fn main(self, object: ObjectRef, direction: Direction, says: Text) -> Box<Effect> {
        Box::new(Effect { object, change: Change::Patch(self.patch()), direction, says })
    }

    /// The effect on the `status` subresource.
    pub fn status(self, object: ObjectRef, direction: Direction, says: Text) -> Box<Effect> {
        Box::new(Effect { object, change: Change::PatchStatus(self.patch()), direction, says })
    }

    fn patch(self) -> json_patch::Patch {
        json_patch::Patch(self.tests.into_iter().chain(self.changes).collect())
    }
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(draft: Draft) -> Value {
        serde_json::to_value(draft.patch()).unwrap()
    }

    #[test]
    fn a_missing_map_is_tested_and_added_whole() {
        let bare = Object::new(json!({"metadata": {"uid": "u", "generation": 2}, "spec": {"paused": true}}));
        let draft = Draft::on(&bare).stamps_as_read(&bare).marks(&bare, &[(HOLD, Some("h".into())), (UNDO, None)]);
        assert_eq!(
            ops(draft),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u"},
                {"op": "test", "path": "/metadata/generation", "value": 2},
                {"op": "test", "path": "/metadata/annotations", "value": null},
                {"op": "add", "path": "/metadata/annotations", "value": {"footplate.dev/hold": "h"}},
            ])
        );
    }

    #[test]
    fn marks_written_twice_are_one_map() {
        let bare = Object::new(json!({"metadata": {}}));
        let draft =
            Draft::default().marks(&bare, &[(HOLD, Some("h".into()))]).marks(&bare, &[(UNDO, Some("u".into()))]);
        assert_eq!(
            ops(draft),
            json!([
                {"op": "test", "path": "/metadata/annotations", "value": null},
                {"op": "add", "path": "/metadata/annotations",
                    "value": {"footplate.dev/hold": "h", "footplate.dev/undo": "u"}},
            ])
        );
    }

    #[test]
    fn a_map_that_is_there_is_changed_key_by_key() {
        let object = Object::new(json!({"metadata": {"annotations": {"a": "b", HOLD: "x"}}, "spec": {}}));
        let draft = Draft::default()
            .stamps_as_read(&object)
            .same(&object, &["spec", "paused"])
            .marks(&object, &[(HOLD, None), (UNDO, Some("u".into())), (HOLD_BY, None)]);
        assert_eq!(
            ops(draft),
            json!([
                {"op": "test", "path": "/metadata/annotations/footplate.dev~1hold", "value": "x"},
                {"op": "test", "path": "/metadata/annotations/footplate.dev~1undo", "value": null},
                {"op": "test", "path": "/spec/paused", "value": null},
                {"op": "remove", "path": "/metadata/annotations/footplate.dev~1hold"},
                {"op": "add", "path": "/metadata/annotations/footplate.dev~1undo", "value": "u"},
            ])
        );
    }

    #[test]
    fn an_undo_speaks_of_two_versions_only() {
        let stamped = |stamp: &str| Object::new(json!({"metadata": {"annotations": {UNDO: stamp}}}));
        let by_hand = stamped(&undo_value("bbb", "aaa"));
        assert!(undo_counts(&by_hand, "bbb") && undo_counts(&by_hand, "aaa") && !undo_counts(&by_hand, "ccc"));
        assert!(undo_counts(&stamped("4fe1/undo-1"), "ccc"));
        assert!(!undo_counts(&Object::new(json!({})), "ccc"));
    }
}
