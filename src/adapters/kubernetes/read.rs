//! Fresh reads: one object, a paged list, discovery, rights, the server's version and clock. Nothing is cached here.

use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::fault::Asked;
use super::wire::{Draft, READ_DEADLINE, Wire, collection, segment};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::text::Text;
use crate::ports::{Access, Fault, FaultKind, Interest};
use crate::text;

/// Objects a page: large lists are read in pieces, so that neither side holds all of it as text at once.
const PAGE: usize = 500;
/// Questions about rights that are under way at once.
const AT_ONCE: usize = 16;

/// The path of one object.
pub(super) fn path(object: &ObjectRef) -> String {
    format!("{}/{}", collection(object.kind, &object.namespace), segment(&object.name))
}

/// One object; none when it is not there. A kind that is not served is a fault.
pub(super) async fn read(wire: &Wire, object: &ObjectRef) -> Result<Option<Object>, Fault> {
    let asked = Asked::object("get", "", object);
    match wire.ask(&asked, &Draft::get(path(object)), READ_DEADLINE).await {
        Ok((_, body)) => serde_json::from_slice(&body)
            .map(|raw| Some(Object::new(raw)))
            .map_err(|why| wire.caller.malformed(&asked, why)),
        Err(fault) if fault.kind == FaultKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct PageMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    more: String,
}

/// All objects of an interest, each through `keep`, and the version of the list. A list that expires between its pages
/// is begun anew in one piece.
pub(super) async fn list<T>(
    wire: &Wire,
    verb: &'static str,
    interest: &Interest,
    keep: impl Fn(Value) -> T,
) -> Result<(Vec<T>, String), Fault> {
    let asked = Asked::collection(verb, interest.kind, &interest.namespace);
    let base = format!("{}?{}", collection(interest.kind, &interest.namespace), selectors(interest));
    let (mut out, mut more, mut paged) = (Vec::new(), String::new(), true);
    loop {
        let mut uri = base.clone();
        if paged {
            uri.push_str(&format!("&limit={PAGE}"));
        }
        if !more.is_empty() {
            uri.push_str(&format!("&continue={}", segment(&more)));
        }
        let body = match wire.ask(&asked, &Draft::get(uri), READ_DEADLINE).await {
            Ok((_, body)) => body,
            Err(fault) if fault.kind == FaultKind::Gone && paged => {
                (paged, more) = (false, String::new());
                out.clear();
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let page: Page<'_> = serde_json::from_slice(&body).map_err(|why| wire.caller.malformed(&asked, why))?;
        for item in page.items.unwrap_or_default() {
            out.push(keep(serde_json::from_str(item.get()).map_err(|why| wire.caller.malformed(&asked, why))?));
        }
        if page.metadata.more.is_empty() {
            return Ok((out, page.metadata.resource_version));
        }
        more = page.metadata.more;
    }
}

/// The selectors of an interest as a query, never empty, so that more can be added.
pub(super) fn selectors(interest: &Interest) -> String {
    let mut out = Vec::new();
    for (key, value) in [("labelSelector", &interest.labels), ("fieldSelector", &interest.fields)] {
        if !value.is_empty() {
            out.push(format!("{key}={}", segment(value)));
        }
    }
    if out.is_empty() { "pretty=false".to_owned() } else { out.join("&") }
}

/// Which of these kinds the server serves: one request a group.
pub(super) async fn serves(wire: &Wire, kinds: &[ObjectKind]) -> Result<Vec<bool>, Fault> {
    let root = |kind: ObjectKind| match kind.api() {
        ("", version, ..) => format!("/api/{version}"),
        (group, version, ..) => format!("/apis/{group}/{version}"),
    };
    let mut roots: Vec<String> = kinds.iter().map(|kind| root(*kind)).collect();
    roots.sort();
    roots.dedup();
    let asking = roots.iter().map(|root| async move {
        let asked = Asked::path("get", root);
        match wire.ask(&asked, &Draft::get(root.clone()), READ_DEADLINE).await {
            Ok((_, body)) => {
                let found: Value = serde_json::from_slice(&body).map_err(|why| wire.caller.malformed(&asked, why))?;
                let names = found.get("resources").and_then(Value::as_array).cloned().unwrap_or_default();
                let names = names.iter().filter_map(|r| r.get("name")?.as_str().map(str::to_owned)).collect();
                Ok((root.clone(), names))
            }
            Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::NoSuchKind) => {
                Ok((root.clone(), Vec::new()))
            }
            Err(fault) => Err(fault),
        }
    });
    let answers: Vec<Result<(String, Vec<String>), Fault>> = futures::future::join_all(asking).await;
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let served = |kind: &ObjectKind| {
        let root = root(*kind);
        answers.iter().any(|(at, names)| *at == root && names.iter().any(|name| name == kind.api().2))
    };
    Ok(kinds.iter().map(served).collect())
}

/// Which of these rights we have.
pub(super) async fn may(wire: &Arc<Wire>, wanted: &[Access]) -> Result<Vec<bool>, Fault> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let draft = |access: &Access| {
        let (group, _, resource, _) = access.kind.api();
        let attributes = json!({
            "namespace": access.namespace.as_str(), "verb": access.verb, "group": group, "resource": resource,
            "subresource": access.subresource,
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let body = review.to_string().into();
        Draft { method: http::Method::POST, uri: path.to_owned(), content_type: Some("application/json"), body }
    };
    let drafts: Vec<Draft> = wanted.iter().map(draft).collect();
    let asking = drafts.into_iter().map(|draft| {
        let wire = Arc::clone(wire);
        async move {
            let asked = Asked::path("create", path);
            let (_, body) = wire.ask(&asked, &draft, READ_DEADLINE).await?;
            let answer: Value = serde_json::from_slice(&body).map_err(|why| wire.caller.malformed(&asked, why))?;
            Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(false))
        }
    });
    let answers: Vec<Result<bool, Fault>> = futures::stream::iter(asking).buffered(AT_ONCE).collect().await;
    answers.into_iter().collect()
}

/// Version of the server, and our clock minus its clock in milliseconds, known to half a second; none when it sends
/// no time.
pub(super) async fn about(wire: &Wire) -> Result<(Text, Option<i64>), Fault> {
    let asked = Asked::path("get", "/version");
    let before = Timestamp::now();
    let (headers, body) = wire.ask(&asked, &Draft::get("/version".to_owned()), READ_DEADLINE).await?;
    let after = Timestamp::now();
    let answer: Value = serde_json::from_slice(&body).map_err(|why| wire.caller.malformed(&asked, why))?;
    let version = answer.get("gitVersion").and_then(Value::as_str).unwrap_or("unknown");
    let date = headers.get(http::header::DATE).and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
    // The header has whole seconds: on average its second is half over.
    let ours = before.as_millisecond().midpoint(after.as_millisecond());
    let skew = date.map(|date| ours - (date.timestamp().as_millisecond() + 500));
    Ok((text!("{version}"), skew))
}
