//! A refusal as an API server words it: the `Status` object of a failed request. No HTTP here.

use serde_json::{Value, json};

use super::kinds::Kind;

/// Why a request was refused, in the words and codes of a real API server.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// HTTP status code.
    pub code: u16,
    /// `Status.reason` (`NotFound`, `Conflict`, …); empty when the server gives none.
    pub reason: &'static str,
    /// `Status.message`.
    pub message: String,
    /// `Status.details`; null when there are none.
    pub details: Value,
}

impl Refusal {
    /// Any refusal without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    fn about(kind: &Kind, name: &str, code: u16, reason: &'static str, message: String) -> Self {
        let mut details = json!({ "kind": kind.plural });
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !kind.group.is_empty() {
            details["group"] = json!(kind.group);
        }
        Self { code, reason, message, details }
    }

    /// 404 of an object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::about(kind, name, 404, "NotFound", format!("{} {name:?} not found", kind.resource()))
    }

    /// 409 of a create.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        Self::about(kind, name, 409, "AlreadyExists", format!("{} {name:?} already exists", kind.resource()))
    }

    /// 409 of a write under a precondition that no longer holds.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.resource());
        Self::about(kind, name, 409, "Conflict", message)
    }

    /// 409 because the object changed since the resourceVersion that the writer has.
    pub fn stale(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 422 of an object that is not valid: one cause a field.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let each: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let what = match each.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let title = if kind.group.is_empty() { kind.kind.to_owned() } else { format!("{}.{}", kind.kind, kind.group) };
        let mut refusal = Self::about(kind, name, 422, "Invalid", format!("{title} {name:?} is invalid: {what}"));
        refusal.details["kind"] = json!(kind.kind);
        refusal.details["causes"] =
            causes.iter().map(|c| json!({ "reason": c.reason, "message": c.message, "field": c.field })).collect();
        refusal
    }

    /// 422 of options in the query, of this kind (`PatchOptions`).
    pub fn options(kind: &'static str, causes: &[Cause]) -> Self {
        Self::invalid(&Kind { group: "meta.k8s.io", kind, ..super::kinds::BUILT_IN }, "", causes)
    }

    /// 403 of a request that the role does not allow. `resource` carries the subresource (`rollouts/status`).
    pub fn forbidden(user: &str, verb: &str, group: &str, resource: &str, namespace: Option<&str>, name: &str) -> Self {
        let place = match namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        let plain = resource.split('/').next().unwrap_or(resource);
        let title = if group.is_empty() { plain.to_owned() } else { format!("{plain}.{group}") };
        let subject =
            if name.is_empty() { format!("{title} is forbidden") } else { format!("{title} {name:?} is forbidden") };
        let message =
            format!("{subject}: User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}");
        let mut details = json!({ "kind": plain });
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !group.is_empty() {
            details["group"] = json!(group);
        }
        Self { code: 403, reason: "Forbidden", message, details }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 410 of a watch or a continued list that begins before what is kept.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// The `Status` object as it goes over the wire.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

/// One reason why an object is not valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, …
    pub reason: &'static str,
    /// The words (`Invalid value: -1: must be greater than or equal to 0`).
    pub message: String,
    /// Path of the field (`spec.replicas`).
    pub field: String,
}

impl Cause {
    /// A field that must be there.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", message, field: field.into() }
    }

    /// A field that may not be set like this.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", message: format!("Forbidden: {why}"), field: field.into() }
    }

    /// A field with a value that is none of those there are.
    pub fn unsupported(field: impl Into<String>, shown: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: {shown}: supported values: {supported}");
        Self { reason: "FieldValueNotSupported", message, field: field.into() }
    }

    /// A field with a value that cannot be.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {why}"), field: field.into() }
    }
}
