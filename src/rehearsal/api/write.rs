//! create, update, patch, delete: identity and preconditions of a write, what a subresource may change, dry runs. The
//! patch formats and the field ownership are in rooms of their own.

use axum::response::Response;
use http::header;
use serde_json::{Value, json};

use super::read::{shown, shown_value, supported};
use super::{Call, fields, patch, protobuf, respond, validate, view};
use crate::rehearsal::kinds::{self, Kind};
use crate::rehearsal::refusal::{Cause, Refusal};
use crate::rehearsal::store::{Held, Propagation, Store, status_only, text};

/// The request's body as an object: JSON, or YAML or protobuf where the header says so.
pub(super) fn body(call: &Call<'_>) -> Result<Value, Refusal> {
    let media = media(call);
    let value = match media.as_str() {
        "application/json" | "" | "*/*" => serde_json::from_slice(call.body).map_err(|e| {
            let kind = call.target.kind;
            format!("{} in version {:?} cannot be handled as a {}: {e}", kind.kind, kind.version, kind.kind)
        }),
        "application/yaml" | "application/apply-patch+yaml" => yaml(call.body),
        "application/vnd.kubernetes.protobuf" => protobuf::decode(call.body),
        _ => {
            let message = format!(
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml, application/vnd.kubernetes.protobuf (got {media:?})"
            );
            return Err(Refusal::new(415, "UnsupportedMediaType", message));
        }
    };
    let value: Value = value.map_err(Refusal::bad_request)?;
    if value.is_object() { Ok(value) } else { Err(Refusal::bad_request("the body of the request is no object")) }
}

fn yaml(body: &[u8]) -> Result<Value, String> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|e| format!("error decoding YAML: {e}"))?;
    let options = serde_yaml::options! { strict_booleans: true };
    serde_yaml::from_str_with_options(text, options).map_err(|e| format!("error decoding YAML: {e}"))
}

/// The media type of the body, without parameters.
fn media(call: &Call<'_>) -> String {
    let header = call.headers.get(header::CONTENT_TYPE).and_then(|c| c.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Who writes, for field ownership: `fieldManager`, else the first word of the user agent.
fn manager(call: &Call<'_>) -> String {
    let named = call.query.get("fieldManager");
    if !named.is_empty() {
        return named.to_owned();
    }
    let agent = call.headers.get(header::USER_AGENT).and_then(|a| a.to_str().ok()).unwrap_or_default();
    let word = agent.split('/').next().unwrap_or_default();
    if word.is_empty() { "unknown".to_owned() } else { word.chars().take(128).collect() }
}

/// Refuses a body that names another kind, name or namespace than the path does.
fn check_identity(call: &Call<'_>, object: &mut Value) -> Result<(), Refusal> {
    let (kind, target) = (call.target.kind, &call.target);
    for (field, want, what) in
        [("apiVersion", kind.api_version(), "API version"), ("kind", kind.kind.to_owned(), "kind")]
    {
        let given = text(object, &format!("/{field}"));
        if given.is_empty() {
            object[field] = json!(want);
        } else if given != want {
            return Err(Refusal::bad_request(match what {
                "kind" => format!(
                    "{given} in version {:?} cannot be handled as a {}: converting ({}.{given}) to ({}.{}): unknown conversion",
                    kind.version,
                    kind.kind,
                    kind.version,
                    if kind.group.is_empty() { "core" } else { kind.group },
                    kind.kind
                ),
                _ => format!("the {what} in the data ({given}) does not match the expected {what} ({want})"),
            }));
        }
    }
    let name = text(object, "/metadata/name");
    if let Some(want) = target.name.as_deref()
        && !name.is_empty()
        && name != want
    {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({want})"
        )));
    }
    let namespace = text(object, "/metadata/namespace");
    if !namespace.is_empty() && namespace != target.space() {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// An object as it is stored, from what a client sent.
fn incoming(kind: &Kind, object: Value) -> Value {
    if *kind == kinds::EVENTS_EVENT { view::event_core(&object) } else { object }
}

/// Answers a create.
pub(super) fn create(call: &Call<'_>) -> Result<Response, Refusal> {
    let target = &call.target;
    if target.kind.namespaced && target.namespace.is_none() {
        return Err(super::method_not_allowed());
    }
    let mut object = body(call)?;
    check_identity(call, &mut object)?;
    let object = incoming(target.kind, object);
    let mut store = call.api.store.lock();
    insert(call, &mut store, object, &Owner::Update(manager(call)))
}

/// Drops unknown fields, or refuses them where the client asks for that.
fn pruned(call: &Call<'_>, kind: &Kind, object: &mut Value) -> Result<(), Refusal> {
    let unknown = validate::prune(kind, object);
    if unknown.is_empty() || call.query.get("fieldValidation") != "Strict" {
        return Ok(());
    }
    let fields: Vec<String> = unknown.iter().map(|f| format!("unknown field {f:?}")).collect();
    Err(Refusal::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
        kind.kind,
        kind.version,
        kind.kind,
        fields.join(", ")
    )))
}

/// Who owns the fields of a write, and how.
enum Owner {
    Update(String),
    /// Server-side apply: the fields are already settled in the object.
    Settled,
}

fn insert(call: &Call<'_>, store: &mut Store, mut object: Value, owner: &Owner) -> Result<Response, Refusal> {
    let kind = view::stored(call.target.kind);
    let namespace = call.target.space();
    if kind.status
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    pruned(call, kind, &mut object)?;
    validate::default(kind, &mut object);
    validate::object(kind, None, &object)?;
    if let Owner::Update(manager) = owner {
        fields::strip(&mut object);
        fields::track(kind, None, &mut object, manager, None, store.now());
    }
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        // A real server takes this for a fault of its own.
        return Err(Refusal::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    if call.query.dry_run("CreateOptions")? {
        let name = text(&object, "/metadata/name");
        if store.get(kind, namespace, name).is_some() {
            return Err(Refusal::already_exists(kind, name));
        }
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["creationTimestamp"] = json!(store.stamp());
        return Ok(shown_value(call, store, &object, None, 201));
    }
    let held = store.create(kind, namespace, object)?;
    Ok(shown(call, store, &held, 201))
}

/// Answers an update (PUT).
pub(super) fn put(call: &Call<'_>) -> Result<Response, Refusal> {
    let target = &call.target;
    supported(target.kind, target.name(), target.sub.as_deref())?;
    let mut object = body(call)?;
    let kind = view::stored(target.kind);
    let mut store = call.api.store.lock();
    let current = store.get(kind, target.space(), target.name());
    if target.sub.as_deref() == Some("scale") {
        let current = current.ok_or_else(|| Refusal::not_found(kind, target.name()))?;
        check_version(kind, &current, &object)?;
        let new = rescaled(kind, &current, &object)?;
        return finish(call, &mut store, &current, new, Owner::Update(manager(call)));
    }
    check_identity(call, &mut object)?;
    let mut object = incoming(target.kind, object);
    let Some(current) = current else {
        if *kind == kinds::LEASE || *kind == kinds::EVENT {
            object["metadata"]["name"] = json!(target.name());
            return insert(call, &mut store, object, &Owner::Update(manager(call)));
        }
        return Err(Refusal::not_found(kind, target.name()));
    };
    let uid = text(&object, "/metadata/uid");
    if !uid.is_empty() && uid != current.uid() {
        return Err(uid_conflict(kind, &current, uid));
    }
    if text(&object, "/metadata/resourceVersion").is_empty() && (kind.custom || *kind == kinds::LEASE) {
        let cause = Cause {
            reason: "FieldValueInvalid",
            message: "Invalid value: 0: must be specified for an update".to_owned(),
            field: "metadata.resourceVersion".to_owned(),
        };
        // Named by its resource, unlike every other invalid object.
        return Err(Refusal::invalid(&Kind { kind: kind.plural, ..*kind }, target.name(), &[cause]));
    }
    check_version(kind, &current, &object)?;
    finish(call, &mut store, &current, object, Owner::Update(manager(call)))
}

/// 409 when the writer has seen another version than the current one.
fn check_version(kind: &Kind, current: &Held, object: &Value) -> Result<(), Refusal> {
    let version = text(object, "/metadata/resourceVersion");
    if version.is_empty() || version == "0" || version == current.str("/metadata/resourceVersion") {
        return Ok(());
    }
    Err(Refusal::stale(kind, current.name()))
}

fn uid_conflict(kind: &Kind, current: &Held, uid: &str) -> Refusal {
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
        kind.resource(),
        current.namespace(),
        current.name(),
        current.uid(),
    );
    Refusal::conflict(kind, current.name(), &why)
}

fn rescaled(kind: &Kind, current: &Held, scale: &Value) -> Result<Value, Refusal> {
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(Refusal::invalid(kind, current.name(), &[cause]));
    }
    let mut new = Value::clone(current);
    new["spec"]["replicas"] = json!(replicas);
    Ok(new)
}

/// Answers a patch of any format.
pub(super) fn patch(call: &Call<'_>) -> Result<Response, Refusal> {
    let target = &call.target;
    supported(target.kind, target.name(), target.sub.as_deref())?;
    let kind = view::stored(target.kind);
    let format = patch::Format::of(kind, &media(call))?;
    let mut store = call.api.store.lock();
    let current = store.get(kind, target.space(), target.name());
    if format == patch::Format::Apply {
        return apply(call, &mut store, current.as_deref());
    }
    let current = current.ok_or_else(|| Refusal::not_found(kind, target.name()))?;
    if target.sub.as_deref() == Some("scale") {
        let mut scale = view::scale(kind, &current);
        patch::apply(format, kind, &mut scale, call.body)?;
        check_version(kind, &current, &scale)?;
        let new = rescaled(kind, &current, &scale)?;
        return finish(call, &mut store, &current, new, Owner::Update(manager(call)));
    }
    let mut object =
        if *target.kind == kinds::EVENTS_EVENT { view::event_face(&current) } else { Value::clone(&current) };
    patch::apply(format, kind, &mut object, call.body)?;
    check_identity(call, &mut object)?;
    let object = incoming(target.kind, object);
    check_version(kind, &current, &object)?;
    let uid = text(&object, "/metadata/uid");
    if !uid.is_empty() && uid != current.uid() {
        let cause = Cause::invalid("metadata.uid", &json!(uid), "field is immutable");
        return Err(Refusal::invalid(kind, target.name(), &[cause]));
    }
    let written = finish(call, &mut store, &current, object, Owner::Update(manager(call)));
    written.map_err(|refusal| match refusal.code {
        // What cannot even be decoded is the fault of the patch, which a real server quotes whole.
        400 => Refusal::new(422, "Invalid", format!(" \"\" is invalid: patch: Invalid value: {}", refusal.message)),
        _ => refusal,
    })
}

/// Server-side apply.
fn apply(call: &Call<'_>, store: &mut Store, current: Option<&Held>) -> Result<Response, Refusal> {
    let target = &call.target;
    let kind = view::stored(target.kind);
    let manager = call.query.get("fieldManager");
    if manager.is_empty() {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(Refusal::options("PatchOptions", &[cause]));
    }
    let mut applied = body(call)?;
    for field in ["apiVersion", "kind"] {
        if text(&applied, &format!("/{field}")).is_empty() {
            return Err(Refusal::bad_request("invalid object type: /, Kind="));
        }
    }
    if applied.pointer("/metadata/managedFields").is_some_and(|f| f.as_array().is_none_or(|a| !a.is_empty())) {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    check_identity(call, &mut applied)?;
    if let Some(current) = current {
        check_version(kind, current, &applied)?;
        let uid = text(&applied, "/metadata/uid");
        if !uid.is_empty() && uid != current.uid() {
            return Err(uid_conflict(kind, current, uid));
        }
    }
    let sub = target.sub.as_deref();
    let merged = fields::apply(
        kind,
        current.map(|c| &**c),
        &applied,
        &fields::Applier { manager, sub, force: call.query.flag("force"), now: store.now() },
    )?;
    match current {
        None if sub.is_some() => Err(Refusal::not_found(kind, target.name())),
        None => {
            let mut object = merged;
            object["metadata"]["name"] = json!(target.name());
            insert(call, store, object, &Owner::Settled)
        }
        Some(_) => {
            let current = store.get(kind, target.space(), target.name());
            let current = current.ok_or_else(|| Refusal::not_found(kind, target.name()))?;
            finish(call, store, &current, merged, Owner::Settled)
        }
    }
}

/// Drops what this resource may not change, validates, stores (or only says what it would), answers.
fn finish(
    call: &Call<'_>,
    store: &mut Store,
    current: &std::sync::Arc<Held>,
    mut new: Value,
    owner: Owner,
) -> Result<Response, Refusal> {
    let kind = view::stored(call.target.kind);
    let sub = call.target.sub.as_deref();
    if sub == Some("status") {
        new = status_only(kind, current, new);
    } else if kind.status {
        match (current.get("status"), new.as_object_mut()) {
            (Some(status), Some(map)) => drop(map.insert("status".to_owned(), status.clone())),
            (None, Some(map)) => drop(map.remove("status")),
            (_, None) => {}
        }
    }
    pruned(call, kind, &mut new)?;
    validate::default(kind, &mut new);
    new = store.preview(kind, current, new);
    validate::object(kind, Some(current), &new)?;
    if let Owner::Update(manager) = owner {
        fields::track(kind, Some(current), &mut new, &manager, sub, store.now());
    }
    if call.query.dry_run("PatchOptions")? {
        return Ok(shown_value(call, store, &new, None, 200));
    }
    let held = store.update(kind, current.namespace(), current.name(), |object| *object = new)?;
    Ok(shown(call, store, &held, 200))
}

struct Deletion {
    propagation: Propagation,
    dry_run: bool,
    uid: String,
    version: String,
}

fn deletion(call: &Call<'_>) -> Result<Deletion, Refusal> {
    let options: Value = if call.body.is_empty() { json!({}) } else { body(call)? };
    let policy = match call.query.get("propagationPolicy") {
        "" => text(&options, "/propagationPolicy").to_owned(),
        policy => policy.to_owned(),
    };
    let orphan = policy == "Orphan" || call.query.flag("orphanDependents") || options["orphanDependents"] == true;
    Ok(Deletion {
        propagation: if orphan { Propagation::Orphan } else { Propagation::Cascade },
        dry_run: call.query.dry_run("DeleteOptions")?
            || options["dryRun"].as_array().is_some_and(|d| d.contains(&json!("All"))),
        uid: text(&options, "/preconditions/uid").to_owned(),
        version: text(&options, "/preconditions/resourceVersion").to_owned(),
    })
}

/// Answers a delete of one object.
pub(super) fn delete(call: &Call<'_>) -> Result<Response, Refusal> {
    let (kind, target) = (view::stored(call.target.kind), &call.target);
    let wanted = deletion(call)?;
    let mut store = call.api.store.lock();
    let current =
        store.get(kind, target.space(), target.name()).ok_or_else(|| Refusal::not_found(target.kind, target.name()))?;
    if !wanted.uid.is_empty() && wanted.uid != current.uid() {
        let why = format!(
            "the UID in the precondition ({}) does not match the UID in record ({}). The object might have been deleted \
             and then recreated",
            wanted.uid,
            current.uid()
        );
        return Err(Refusal::conflict(&Kind { plural: kind.kind, ..*kind }, target.name(), &why));
    }
    if !wanted.version.is_empty() && wanted.version != current.str("/metadata/resourceVersion") {
        let why = format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({}). The object \
             might have been modified",
            wanted.version,
            current.str("/metadata/resourceVersion")
        );
        return Err(Refusal::conflict(&Kind { plural: kind.kind, ..*kind }, target.name(), &why));
    }
    if !wanted.dry_run {
        store.delete(kind, target.space(), target.name(), wanted.propagation)?;
        if let Some(held) = store.get(kind, target.space(), target.name()) {
            return Ok(shown(call, &store, &held, 200));
        }
    }
    let mut details = json!({ "name": target.name(), "kind": target.kind.plural, "uid": current.uid() });
    if !target.kind.group.is_empty() {
        details["group"] = json!(target.kind.group);
    }
    Ok(respond(
        200,
        &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details }),
    ))
}

/// Answers a delete of all objects that match.
pub(super) fn delete_collection(call: &Call<'_>) -> Result<Response, Refusal> {
    let (kind, query) = (view::stored(call.target.kind), call.query);
    if kind.namespaced && call.target.namespace.is_none() {
        return Err(super::method_not_allowed());
    }
    let wanted = deletion(call)?;
    let selector = super::selector::Selector::parse(kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    let mut store = call.api.store.lock();
    let doomed: Vec<std::sync::Arc<Held>> =
        store.list(kind, call.target.namespace.as_deref()).filter(|o| selector.matches(o)).cloned().collect();
    if !wanted.dry_run {
        for object in &doomed {
            // An owner earlier in the list may have taken it along.
            let _ = store.delete(kind, object.namespace(), object.name(), wanted.propagation);
        }
    }
    let items: Vec<&Value> = doomed.iter().map(|o| &***o).collect();
    Ok(respond(
        200,
        &json!({
            "kind": format!("{}List", call.target.kind.kind),
            "apiVersion": call.target.kind.api_version(),
            "metadata": { "resourceVersion": store.version().to_string() },
            "items": items,
        }),
    ))
}

/// Answers an eviction of a pod: without a budget in the way it is a delete.
pub(super) fn evict(call: &Call<'_>) -> Result<Response, Refusal> {
    let target = &call.target;
    let mut store = call.api.store.lock();
    let pod = store
        .get(target.kind, target.space(), target.name())
        .ok_or_else(|| Refusal::not_found(target.kind, target.name()))?;
    let budget = store.list(&kinds::POD_DISRUPTION_BUDGET, target.namespace.as_deref()).find(|budget| {
        let selector = view::label_selector(&budget["spec"]["selector"]);
        let selects = super::selector::Selector::parse(target.kind, &selector, "").is_ok_and(|s| s.matches(&pod));
        selects && budget.pointer("/status/disruptionsAllowed").and_then(Value::as_i64).unwrap_or(0) <= 0
    });
    if budget.is_some() {
        let mut refusal =
            Refusal::new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");
        refusal.details = json!({ "retryAfterSeconds": 10 });
        return Err(refusal);
    }
    if !call.query.dry_run("DeleteOptions")? {
        store.delete(target.kind, target.space(), target.name(), Propagation::Cascade)?;
    }
    Ok(respond(201, &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 })))
}
