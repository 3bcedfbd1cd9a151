//! An API server and a Prometheus that a hostile hand fills: they answer with what they were given, and refuse with what they
//! were told. They keep the wire's form and nothing else of a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt;
use serde_json::{Value, json};

/// What a server answers.
#[derive(Default)]
pub struct Stage {
    /// Objects by plural.
    pub objects: BTreeMap<String, Vec<Value>>,
    /// Answers in place of the objects: plural (or a part of the path) to status code and body.
    pub instead: Vec<(String, u16, Vec<u8>)>,
    /// What a watch says at its end, a `Status`, by plural.
    pub last_words: BTreeMap<String, Value>,
    /// What a write is answered with; without one the object comes back as it was.
    pub refusal: Option<(u16, Value)>,
    /// Answers of Prometheus, in turn.
    pub metrics: Vec<(u16, Value)>,
    /// How many queries came so far.
    pub asked: usize,
}

/// A server on loopback, for as long as it is held.
pub struct Server {
    pub address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

type Shared = Arc<Mutex<Stage>>;

impl Server {
    pub fn start(stage: Stage) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared: Shared = Arc::new(Mutex::new(stage));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, Router::new().fallback(answer).with_state(shared)).await });
        Self { address, _runtime: runtime }
    }

    /// A kubeconfig of one context, whose names are as given.
    pub fn kubeconfig(&self, context: &str, user: &Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": context,
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": context, "user": user}],
            "contexts": [{"name": context, "context": {"cluster": "c", "user": context, "namespace": "payments"}}],
        })
        .to_string()
    }
}

fn reply(code: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(code).header("content-type", "application/json").body(body.into()).unwrap()
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let method = request.method().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 22).await.unwrap_or_default();
    let mut stage = shared.lock().unwrap();
    if path.starts_with("/prom/") {
        stage.asked += 1;
        let count = stage.metrics.len().max(1);
        let (code, said) = stage.metrics.get(stage.asked % count).cloned().unwrap_or((404, Value::Null));
        return reply(code, said.to_string());
    }
    if let Some((_, code, body)) = stage.instead.iter().find(|(part, ..)| path.contains(part.as_str())) {
        return reply(*code, body.clone());
    }
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    if path == "/version" {
        return reply(200, json!({"gitVersion": "v1.36.0\u{1b}]0;Pq7\u{7}"}).to_string());
    }
    if path.ends_with("selfsubjectaccessreviews") {
        return reply(201, json!({"status": {"allowed": true}}).to_string());
    }
    if method == "PATCH" || method == "POST" {
        return match &stage.refusal {
            Some((code, status)) => reply(*code, status.to_string()),
            None if method == "POST" => reply(201, body),
            None => found(&stage, &segments).map_or_else(|| missing(&path), |object| reply(200, object.to_string())),
        };
    }
    let last = segments.last().copied().unwrap_or_default();
    let listed = stage.objects.get(last).cloned();
    match listed {
        Some(items) if query.contains("watch=true") => watch(&items, stage.last_words.get(last).cloned()),
        Some(items) => reply(200, json!({"metadata": {"resourceVersion": "1"}, "items": items}).to_string()),
        None if segments.len() <= 3 => {
            let names: Vec<Value> = stage.objects.keys().map(|name| json!({"name": name})).collect();
            reply(200, json!({ "resources": names }).to_string())
        }
        None => found(&stage, &segments).map_or_else(|| missing(&path), |object| reply(200, object.to_string())),
    }
}

fn found<'a>(stage: &'a Stage, segments: &[&str]) -> Option<&'a Value> {
    let at = segments.iter().position(|s| stage.objects.contains_key(*s))?;
    let name = percent_encoding::percent_decode_str(segments.get(at + 1)?).decode_utf8_lossy().into_owned();
    stage.objects[segments[at]].iter().find(|object| object["metadata"]["name"] == *name)
}

fn missing(path: &str) -> Response {
    reply(
        404,
        json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": path, "details": {"name": "x"}})
            .to_string(),
    )
}

/// Each of the first objects once more, then nothing, and where there are last words, those after a while.
fn watch(items: &[Value], last_words: Option<Value>) -> Response {
    let line = |kind: &str, object: &Value| {
        Ok::<_, std::io::Error>(Bytes::from(format!("{}\n", json!({"type": kind, "object": object}))))
    };
    let lines: Vec<_> = items.iter().take(20).map(|object| line("MODIFIED", object)).collect();
    let said = last_words.map(|status| line("ERROR", &status));
    let end = async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        match said {
            Some(said) => said,
            None => std::future::pending().await,
        }
    };
    let stream = futures::stream::iter(lines).chain(futures::stream::once(end));
    Response::new(Body::from_stream(stream))
}
