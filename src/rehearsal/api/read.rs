//! get and list: whole objects, metadata only, or a Table; pages; lists at a version of the past.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::Response;
use serde_json::{Value, json};

use super::selector::Selector;
use super::target::Form;
use super::{Call, raw, respond, table, view};
use crate::rehearsal::kinds::{self, Kind};
use crate::rehearsal::refusal::{Cause, Refusal};
use crate::rehearsal::store::{Held, Store};

/// Answers a get of an object, or of its status or scale.
pub(super) fn get(call: &Call<'_>) -> Result<Response, Refusal> {
    let target = &call.target;
    let store = call.api.store.lock();
    let held = store
        .get(view::stored(target.kind), target.space(), target.name())
        .ok_or_else(|| Refusal::not_found(target.kind, target.name()))?;
    supported(target.kind, target.name(), target.sub.as_deref())?;
    Ok(shown(call, &store, &held, 200))
}

/// Refuses a subresource that the kind does not have.
pub(super) fn supported(kind: &Kind, name: &str, sub: Option<&str>) -> Result<(), Refusal> {
    match sub {
        Some("status") if !kind.status => {}
        Some("scale") if !kind.scale => {}
        _ => return Ok(()),
    }
    match kind.custom {
        true => Err(Refusal::not_found(kind, name)),
        false => Err(Refusal::new(404, "NotFound", "the server could not find the requested resource")),
    }
}

/// One stored object in the form that the client wants.
pub(super) fn shown(call: &Call<'_>, store: &Store, held: &Arc<Held>, code: u16) -> Response {
    shown_value(call, store, held, Some(held), code)
}

/// One object, stored or not (a dry run), in the form that the client wants.
pub(super) fn shown_value(
    call: &Call<'_>,
    store: &Store,
    object: &Value,
    stored: Option<&Arc<Held>>,
    code: u16,
) -> Response {
    let kind = call.target.kind;
    if call.target.sub.as_deref() == Some("scale") {
        return respond(code, &view::scale(kind, object));
    }
    match (call.accept.form, stored) {
        (Form::Full, Some(held)) if *kind != kinds::EVENTS_EVENT => raw(code, "application/json", held.json().into()),
        (Form::Full, _) => respond(code, &full(kind, object)),
        (Form::Metadata, _) => respond(code, &view::metadata_only(object)),
        (Form::Table, _) => {
            let rows = table::rows(kind, [object].into_iter(), store.now(), call.query.get("includeObject"));
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            respond(code, &table::whole(kind, rows, version, Value::Null))
        }
    }
}

/// A stored object as its kind shows it.
pub(super) fn full(kind: &Kind, object: &Value) -> Value {
    if *kind == kinds::EVENTS_EVENT { view::event_face(object) } else { object.clone() }
}

/// 504 of a read that wants a version which is not there yet.
pub(super) fn too_new(asked: u64, current: u64) -> Refusal {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let mut refusal = Refusal::new(504, "Timeout", message);
    let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
    refusal.details = json!({ "causes": [cause], "retryAfterSeconds": 1 });
    refusal
}

/// Answers a list.
pub(super) fn list(call: &Call<'_>) -> Result<Response, Refusal> {
    let (kind, query) = (call.target.kind, call.query);
    let store = call.api.store.lock();
    let selector = Selector::parse(kind, query.get("labelSelector"), query.get("fieldSelector"))?;
    let limit = query.number("limit")?.filter(|l| *l > 0).and_then(|l| usize::try_from(l).ok()).unwrap_or(usize::MAX);
    let asked = query.version().map_err(|why| Refusal::bad_request(format!("invalid resource version: {why}")))?;
    check_match(query.get("resourceVersionMatch"), asked)?;
    if asked.is_some_and(|a| a > store.version()) {
        return Err(too_new(asked.unwrap_or_default(), store.version()));
    }
    let stored = view::stored(kind);
    let namespace = call.target.namespace.as_deref();
    let in_place = |held: &Held| namespace.is_none_or(|n| held.namespace() == n);
    let continued = match query.get("continue") {
        "" => None,
        token => Some(
            token_parts(token)
                .ok_or_else(|| Refusal::bad_request("invalid continue token: continue key is not valid"))?,
        ),
    };
    let exact = asked.filter(|_| query.get("resourceVersionMatch") == "Exact");
    let (version, objects): (u64, Vec<Arc<Held>>) = match (&continued, exact) {
        (None, None) => {
            let all = store.list(stored, namespace);
            (store.version(), all.filter(|o| selector.matches(&of(kind, o))).cloned().collect())
        }
        (continued, exact) => {
            let version = continued.as_ref().map(|c| c.0).or(exact).unwrap_or_default();
            let past = store.list_at(stored, version).map_err(|_| too_old())?;
            let after = continued.as_ref().map(|c| (c.1.as_str(), c.2.as_str()));
            let rest = past.into_iter().filter(|(key, _)| after.is_none_or(|a| (key.0.as_str(), key.1.as_str()) > a));
            let rest = rest.map(|(_, held)| held).filter(|o| in_place(o) && selector.matches(&of(kind, o)));
            (version, rest.collect())
        }
    };
    let page = &objects[..objects.len().min(limit)];
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if objects.len() > page.len()
        && let Some(last) = page.last()
    {
        metadata["continue"] = json!(format!("{version}:{}/{}", last.namespace(), last.name()));
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(objects.len() - page.len());
        }
    }
    let body = match call.accept.form {
        Form::Table => {
            let rows = table::rows(kind, page.iter().map(|o| &***o), store.now(), query.get("includeObject"));
            Bytes::from(table::whole(kind, rows, "", metadata).to_string())
        }
        Form::Metadata => {
            let items = page.iter().map(|o| Bytes::from(view::metadata_text(o)));
            joined("PartialObjectMetadataList", "meta.k8s.io/v1", &metadata, items)
        }
        Form::Full if *kind == kinds::EVENTS_EVENT => {
            let items = page.iter().map(|o| Bytes::from(view::event_face(o).to_string()));
            joined("EventList", "events.k8s.io/v1", &metadata, items)
        }
        Form::Full => {
            if kind.custom && metadata.get("continue").is_none() {
                metadata["continue"] = json!("");
            }
            joined(&format!("{}List", kind.kind), &kind.api_version(), &metadata, page.iter().map(|o| o.json()))
        }
    };
    Ok(raw(200, "application/json", Body::from(body)))
}

fn check_match(wanted: &str, version: Option<u64>) -> Result<(), Refusal> {
    let mut causes = Vec::new();
    let field = "resourceVersionMatch";
    if !wanted.is_empty() && version.is_none() {
        causes.push(Cause::forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
    }
    if !matches!(wanted, "" | "Exact" | "NotOlderThan") {
        causes.push(Cause::unsupported(field, &format!("{wanted:?}"), "\"Exact\", \"NotOlderThan\", \"\""));
    }
    if causes.is_empty() { Ok(()) } else { Err(Refusal::options("ListOptions", &causes)) }
}

/// What a selector looks at: the face that the kind shows.
pub(super) fn of<'a>(kind: &Kind, object: &'a Value) -> std::borrow::Cow<'a, Value> {
    if *kind == kinds::EVENTS_EVENT {
        std::borrow::Cow::Owned(view::event_face(object))
    } else {
        std::borrow::Cow::Borrowed(object)
    }
}

fn joined(kind: &str, api_version: &str, metadata: &Value, items: impl Iterator<Item = Bytes>) -> Bytes {
    let mut body =
        format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#).into_bytes();
    for (index, item) in items.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&item);
    }
    body.extend_from_slice(b"]}");
    Bytes::from(body)
}

fn token_parts(token: &str) -> Option<(u64, String, String)> {
    let (version, key) = token.split_once(':')?;
    let (namespace, name) = key.split_once('/')?;
    Some((version.parse().ok()?, namespace.to_owned(), name.to_owned()))
}

fn too_old() -> Refusal {
    Refusal::new(
        410,
        "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter.",
    )
}
