//! The patch formats: which a kind takes, JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) on a value.

use json_patch::{PatchOperation, TestOperation};
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

fn apply_json(value: &mut Value, patch: &[u8]) -> Result<(), Refusal> {
    let operations: Vec<PatchOperation> =
        serde_json::from_slice(patch).map_err(|e| Refusal::bad_request(format!("error decoding patch: {e}")))?;
    if operations.len() > OPERATIONS {
        let message =
            format!("The allowed maximum operations in a JSON patch is {OPERATIONS}, got {}", operations.len());
        return Err(Refusal::new(413, "RequestEntityTooLarge", message));
    }
    for operation in operations {
        let applied = match &operation {
            PatchOperation::Test(test) => tested(value, test),
            other => json_patch::patch_unsafe(value, std::slice::from_ref(other)).is_ok(),
        };
        if !applied {
            // A real server keeps which operation failed to itself.
            let message = "the server rejected our request due to an error in our request";
            let mut refusal = Refusal::new(422, "Invalid", message);
            refusal.details = json!({});
            return Err(refusal);
        }
    }
    Ok(())
}

/// A `test` as API servers do it: null equals absent, as long as what would hold the value is there.
fn tested(value: &Value, test: &TestOperation) -> bool {
    match test.path.resolve(value) {
        Ok(found) => *found == test.value,
        Err(_) => {
            let holder = test.path.split_back().and_then(|(parent, _)| parent.resolve(value).ok());
            test.value.is_null() && holder.is_some_and(|h| h.is_object())
        }
    }
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
            json!({ "op": "replace", "path": "/spec/nothing", "value": 1 }),
            json!({ "op": "add", "path": "/status/abort", "value": true }),
        ] {
            let refusal = patched(Format::Json, json!([bad])).unwrap_err();
            assert_eq!((refusal.code, refusal.reason), (422, "Invalid"), "{bad}");
            assert_eq!(refusal.message, "the server rejected our request due to an error in our request");
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
