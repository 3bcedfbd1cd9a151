//! The API server of the rehearsal cluster: one `Router` that is both the tower service behind an in-process client and
//! what [`super::serve`] puts on loopback. Here: what happens to every request before and after its own handler
//! (authorization, size limits, headers). What a kind's objects mean to a controller is not known here.

mod access;
mod discovery;
mod fields;
mod lists;
mod openapi;
mod patch;
mod protobuf;
mod read;
mod selector;
mod strategic;
mod table;
pub(super) mod target;
mod validate;
mod view;
mod watch;
mod write;

use std::sync::{Arc, RwLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

pub use access::{Access, Rule};

use super::Shared;
use super::kinds::Verbs;
use super::refusal::Refusal;
use target::{Accept, Place, Query, Target};

/// The largest request body that is read, as etcd's limit makes it.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// What the handlers share.
#[derive(Clone, Debug)]
struct Api {
    store: Shared,
    access: Arc<RwLock<Access>>,
}

/// The whole API server on a store, with every right for everybody.
pub fn router(store: Shared) -> Router {
    guarded(store, Arc::new(RwLock::new(Access::everything())))
}

/// The whole API server on a store, with the rights that `access` gives at the moment of each request.
pub fn guarded(store: Shared, access: Arc<RwLock<Access>>) -> Router {
    Router::new().fallback(handle).with_state(Api { store, access })
}

async fn handle(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let now = api.store.lock().now();
    let mut response = match axum::body::to_bytes(body, BODY_LIMIT).await {
        Ok(body) => answer(&api, &parts, &body).unwrap_or_else(|refusal| refuse(&refusal)),
        Err(_) => refuse(&Refusal::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {BODY_LIMIT}"),
        )),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    // The cluster's clock, so that a client which compares clocks sees the virtual one.
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::try_from(date) {
        headers.insert(header::DATE, date);
    }
    response
}

fn answer(api: &Api, parts: &http::request::Parts, body: &Bytes) -> Result<Response, Refusal> {
    let query = Query::parse(&parts.uri);
    let accept = Accept::parse(&parts.headers);
    let user = parts.headers.get("Impersonate-User").and_then(|u| u.to_str().ok()).unwrap_or("captain");
    let call = match target::parse(parts.uri.path()) {
        Place::Object(target) => {
            Call { api, target, query: &query, accept: &accept, headers: &parts.headers, body, user }
        }
        Place::Discovery(path) => return only_get(&parts.method, || discovery::answer(&path, &accept)),
        Place::OpenApi(path) => return only_get(&parts.method, || openapi::answer(&path)),
        Place::Version => return only_get(&parts.method, || Ok(respond(200, &version()))),
        Place::Health => return only_get(&parts.method, || Ok(plain(200, "ok"))),
        Place::Nowhere => return Ok(plain(404, "404 page not found\n")),
    };
    call.run(&parts.method)
}

fn only_get(method: &Method, then: impl FnOnce() -> Result<Response, Refusal>) -> Result<Response, Refusal> {
    if *method == Method::GET || *method == Method::HEAD { then() } else { Err(method_not_allowed()) }
}

fn method_not_allowed() -> Refusal {
    Refusal::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

/// One request about objects.
struct Call<'a> {
    api: &'a Api,
    target: Target,
    query: &'a Query,
    accept: &'a Accept,
    headers: &'a http::HeaderMap,
    body: &'a Bytes,
    user: &'a str,
}

impl Call<'_> {
    fn run(&self, method: &Method) -> Result<Response, Refusal> {
        let target = &self.target;
        let single = target.name.is_some();
        let verb = match *method {
            Method::GET | Method::HEAD if single => "get",
            Method::GET | Method::HEAD if self.query.flag("watch") => "watch",
            Method::GET | Method::HEAD => "list",
            Method::POST => "create",
            Method::PUT if single => "update",
            Method::PATCH if single => "patch",
            Method::DELETE if single => "delete",
            Method::DELETE => "deletecollection",
            _ => return Err(method_not_allowed()),
        };
        self.authorize(verb)?;
        if target.kind.verbs == Verbs::Review {
            return if verb == "create" { access::review(self) } else { Err(method_not_allowed()) };
        }
        let reads = matches!(verb, "get" | "list" | "watch");
        if target.kind.verbs == Verbs::Read && !reads {
            return Err(method_not_allowed());
        }
        match (verb, target.sub.as_deref()) {
            ("list", None) => read::list(self),
            ("watch", None) => watch::start(self),
            ("get", None | Some("status" | "scale")) => read::get(self),
            ("create", None) if !single => write::create(self),
            ("create", Some("eviction")) if *target.kind == super::kinds::POD => write::evict(self),
            ("update", None | Some("status" | "scale")) => write::put(self),
            ("patch", None | Some("status" | "scale")) => write::patch(self),
            ("delete", None) => write::delete(self),
            ("deletecollection", None) => write::delete_collection(self),
            (_, Some("log" | "exec" | "attach" | "portforward")) if *target.kind == super::kinds::POD => {
                let what = target.sub.as_deref().unwrap_or_default();
                let message = format!("pods/{what} is not there: the pods of a rehearsal cluster run no containers");
                Err(Refusal::new(404, "NotFound", message))
            }
            ("get", Some(_)) => Err(Refusal::not_found(target.kind, target.name())),
            _ => Err(method_not_allowed()),
        }
    }

    fn authorize(&self, verb: &str) -> Result<(), Refusal> {
        let target = &self.target;
        let access = self.api.access.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let resource = target.resource();
        let name = target.name.as_deref().unwrap_or_default();
        let namespace = target.namespace.as_deref();
        let allowed = target.kind.verbs == Verbs::Review
            || access.allows(self.user, verb, target.kind.group, &resource, namespace.unwrap_or_default());
        if allowed {
            return Ok(());
        }
        Err(Refusal::forbidden(self.user, verb, target.kind.group, &resource, namespace, name))
    }
}

/// The version that the server says it is: what real-cluster runs are made against.
fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": "v1.36.3+footplate-rehearsal",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": "rehearsal/virtual",
    })
}

fn respond(code: u16, value: &Value) -> Response {
    raw(code, "application/json", Body::from(value.to_string()))
}

fn raw(code: u16, media: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

fn plain(code: u16, text: &'static str) -> Response {
    raw(code, "text/plain; charset=utf-8", Body::from(text))
}

/// A refusal as a response, with `Retry-After` where the details carry one.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    let mut response = respond(refusal.code, &refusal.status());
    if let Some(seconds) = refusal.details.get("retryAfterSeconds").and_then(Value::as_u64) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
