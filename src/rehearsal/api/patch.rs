//! The patch formats: which a kind takes, JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) on a value.

use serde::Deserialize;
use serde_json::{Value, json};

use super::strategic;
use crate::rehearsal::kinds::Kind;
use crate::rehearsal::refusal::Refusal;

/// How many operations a JSON Patch may hold.
const OPERATIONS: usize = 10_000;

/// A patch format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`; built-in kinds only.
    Strategic,
    /// `application/apply-patch+yaml`: server-side apply.
    Apply,
}

impl Format {
    /// The format of a media type.
    ///
    /// # Errors
    /// 415 when the kind does not take it.
    pub fn of(kind: &Kind, media: &str) -> Result<Self, Refusal> {
        Ok(match media {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" if !kind.custom => Self::Strategic,
            "application/apply-patch+yaml" => Self::Apply,
            _ => {
                let strategic = if kind.custom { "" } else { "application/strategic-merge-patch+json, " };
                let message = format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, {strategic}application/apply-patch+yaml"
                );
                return Err(Refusal::new(415, "UnsupportedMediaType", message));
            }
        })
    }
}

/// Applies a patch to a value. On an error the value is in no defined state.
///
/// # Errors
/// 400 for what is no patch, 422 for a JSON Patch that does not apply (a failed test among them), 413 for one too long.
pub fn apply(format: Format, kind: &Kind, value: &mut Value, patch: &[u8]) -> Result<(), Refusal> {
    match format {
        Format::Json => apply_json(value, patch),
        Format::Merge => {
            let patch = object(patch)?;
            json_patch::merge(value, &patch);
            Ok(())
        }
        Format::Strategic => {
            let patch = object(patch)?;
            strategic::merge(kind, value, &patch)
        }
        // Settled by the caller, who knows the field managers.
        Format::Apply => Ok(()),
    }
}

fn object(patch: &[u8]) -> Result<Value, Refusal> {
    let value: Value =
        serde_json::from_slice(patch).map_err(|e| Refusal::bad_request(format!("error decoding patch: {e}")))?;
    if value.is_object() { Ok(value) } else { Err(Refusal::bad_request("error decoding patch: not an object")) }
}

/// One operation. What is missing or unknown is found out when it is applied, as on a real server.
#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    op: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    value: Value,
}

fn apply_json(value: &mut Value, patch: &[u8]) -> Result<(), Refusal> {
    let operations: Vec<Operation> =
        serde_json::from_slice(patch).map_err(|e| Refusal::bad_request(format!("error decoding patch: {e}")))?;
    if operations.len() > OPERATIONS {
        let message =
            format!("The allowed maximum operations in a JSON patch is {OPERATIONS}, got {}", operations.len());
        return Err(Refusal::new(413, "RequestEntityTooLarge", message));
    }
    for operation in operations {
        if operate(value, operation).is_none() {
            // A real server keeps which operation failed to itself.
            let message = "the server rejected our request due to an error in our request";
            let mut refusal = Refusal::new(422, "Invalid", message);
            refusal.details = json!({});
            return Err(refusal);
        }
    }
    Ok(())
}

/// Applies one operation as the library of real servers does, which is not RFC 6902 in every corner: `replace` of a key
/// that is not there adds it, null equals absent in a `test` whose parent is there, indices may count from the end.
/// None when it does not apply.
fn operate(root: &mut Value, operation: Operation) -> Option<()> {
    let Operation { op, path, from, value } = operation;
    match op.as_str() {
        "test" if path.is_empty() => (*root == value).then_some(()),
        "test" => {
            let (holder, key) = holder(root, &path)?;
            match get(holder, &key)? {
                Some(there) => (*there == value).then_some(()),
                None => value.is_null().then_some(()),
            }
        }
        "replace" if path.is_empty() => (value.is_object() || value.is_array()).then(|| *root = value),
        "replace" => {
            let (holder, key) = holder(root, &path)?;
            match holder {
                Value::Array(items) => {
                    let index = index(&key, items.len())?;
                    *items.get_mut(index)? = value;
                }
                Value::Object(map) => drop(map.insert(key, value)),
                _ => return None,
            }
            Some(())
        }
        "add" => add(root, &path, value),
        "remove" => remove(root, &path).map(drop),
        "move" => {
            let moved = remove(root, &from)?;
            add(root, &path, moved)
        }
        "copy" => {
            let (holder, key) = holder(root, &from)?;
            let copied = get(holder, &key)?.cloned().unwrap_or_default();
            add(root, &path, copied)
        }
        _ => None,
    }
}

/// What holds the value at a path, and under which key.
fn holder<'v>(root: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    let mut keys: Vec<String> = path.strip_prefix('/')?.split('/').map(unescape).collect();
    let last = keys.pop()?;
    let mut at = root;
    for key in keys {
        at = match at {
            Value::Object(map) => map.get_mut(&key)?,
            Value::Array(items) => {
                let index = index(&key, items.len())?;
                items.get_mut(index)?
            }
            _ => return None,
        };
    }
    (at.is_object() || at.is_array()).then_some((at, last))
}

fn unescape(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}

/// The value under a key: outer none when it cannot be there, inner none when it is not, or is null.
fn get<'v>(holder: &'v Value, key: &str) -> Option<Option<&'v Value>> {
    match holder {
        Value::Array(items) => items.get(index(key, items.len())?).map(Some),
        Value::Object(map) => Some(map.get(key).filter(|v| !v.is_null())),
        _ => None,
    }
}

fn add(root: &mut Value, path: &str, value: Value) -> Option<()> {
    let (holder, key) = holder(root, path)?;
    match holder {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let index = index(&key, items.len() + 1)?;
            if index > items.len() {
                return None;
            }
            items.insert(index, value);
        }
        Value::Object(map) => drop(map.insert(key, value)),
        _ => return None,
    }
    Some(())
}

fn remove(root: &mut Value, path: &str) -> Option<Value> {
    let (holder, key) = holder(root, path)?;
    match holder {
        Value::Array(items) => {
            let index = index(&key, items.len())?;
            (index < items.len()).then(|| items.remove(index))
        }
        Value::Object(map) => map.remove(&key),
        _ => None,
    }
}

/// An array index; a negative one counts from the end.
fn index(key: &str, length: usize) -> Option<usize> {
    let index: i64 = key.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::kinds;

    fn patched(format: Format, patch: Value) -> Result<Value, Refusal> {
        let mut value = json!({ "metadata": { "uid": "u", "annotations": { "a": "1" } }, "spec": { "paused": true } });
        apply(format, &kinds::ROLLOUT, &mut value, patch.to_string().as_bytes()).map(|()| value)
    }

    #[test]
    fn tests_guard_a_json_patch() {
        let test = |path: &str, value: Value| json!({ "op": "test", "path": path, "value": value });
        let set = json!({ "op": "replace", "path": "/spec/paused", "value": false });
        let ok = patched(Format::Json, json!([test("/metadata/uid", json!("u")), set])).unwrap();
        assert_eq!(ok["spec"]["paused"], false);
        let absent = test("/metadata/annotations/footplate.dev~1undo", Value::Null);
        assert!(patched(Format::Json, json!([absent, set])).is_ok());
        for bad in [
            test("/metadata/uid", json!("v")),
            test("/metadata/annotations/a", Value::Null),
            // Nothing holds the labels, so not even their absence can be tested.
            test("/metadata/labels/x", Value::Null),
            test("/status/currentPodHash", json!("x")),
            json!({ "op": "remove", "path": "/spec/nothing" }),
            json!({ "op": "frob", "path": "/spec/paused" }),
            json!({ "op": "replace", "path": "/nothing/at/all", "value": 1 }),
            json!({ "op": "add", "path": "/status/abort", "value": true }),
        ] {
            let refusal = patched(Format::Json, json!([bad])).unwrap_err();
            assert_eq!((refusal.code, refusal.reason), (422, "Invalid"), "{bad}");
            assert_eq!(refusal.message, "the server rejected our request due to an error in our request");
        }
    }

    #[test]
    fn operations_have_the_corners_of_the_real_library() {
        let on = |operation: Value| {
            let mut value = json!({ "a": [1, 2, 3], "b": { "c": 1 }, "n": null });
            let bytes = json!([operation]).to_string();
            apply(Format::Json, &kinds::ROLLOUT, &mut value, bytes.as_bytes()).ok().map(|()| value)
        };
        assert_eq!(on(json!({ "op": "replace", "path": "/b/new", "value": 1 })).unwrap()["b"]["new"], 1);
        assert_eq!(on(json!({ "op": "replace", "path": "/a/-1", "value": 9 })).unwrap()["a"], json!([1, 2, 9]));
        assert_eq!(on(json!({ "op": "add", "path": "/a/-", "value": 9 })).unwrap()["a"], json!([1, 2, 3, 9]));
        assert_eq!(on(json!({ "op": "add", "path": "/a/1", "value": 9 })).unwrap()["a"], json!([1, 9, 2, 3]));
        assert_eq!(on(json!({ "op": "move", "from": "/b/c", "path": "/d" })).unwrap()["d"], 1);
        assert_eq!(on(json!({ "op": "copy", "from": "/a/0", "path": "/d" })).unwrap()["d"], 1);
        assert_eq!(on(json!({ "op": "remove", "path": "/a/0" })).unwrap()["a"], json!([2, 3]));
        for fine in [
            json!({ "op": "test", "path": "/n", "value": null }),
            json!({ "op": "test", "path": "/absent" }),
            json!({ "op": "test", "path": "/a/2", "value": 3 }),
        ] {
            assert!(on(fine.clone()).is_some(), "{fine}");
        }
        for wrong in [
            json!({ "op": "test", "path": "/a/3", "value": null }),
            json!({ "op": "test", "path": "/absent/deeper", "value": null }),
            json!({ "op": "test", "path": "/b/c" }),
            json!({ "op": "test", "path": "no-slash", "value": null }),
            json!({ "op": "replace", "path": "/a/3", "value": 9 }),
            json!({ "op": "add", "path": "/a/5", "value": 9 }),
            json!({ "op": "add", "path": "/a/-9", "value": 9 }),
            json!({ "op": "remove", "path": "/a/x" }),
            json!({ "op": "replace", "path": "", "value": 1 }),
        ] {
            assert!(on(wrong.clone()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn formats_are_taken_by_kind() {
        let strategic = "application/strategic-merge-patch+json";
        assert_eq!(Format::of(&kinds::DEPLOYMENT, strategic), Ok(Format::Strategic));
        let refusal = Format::of(&kinds::ROLLOUT, strategic).unwrap_err();
        assert_eq!((refusal.code, refusal.reason), (415, "UnsupportedMediaType"));
        assert_eq!(patched(Format::Merge, json!([1])).unwrap_err().code, 400);
        let merged = patched(Format::Merge, json!({ "spec": { "paused": null, "replicas": 2 } })).unwrap();
        assert_eq!(merged["spec"], json!({ "replicas": 2 }));
    }
}
