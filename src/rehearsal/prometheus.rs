//! The query API of the simulated Prometheus, as the real one answers it: instant and range queries by GET and form POST,
//! readiness, targets. The language is `promql.rs`, the samples are `series.rs`.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Shared;
use super::controllers::fields::duration_text;
use super::promql::{Answer, Bad, Query, number};
use super::world::Metrics;

/// Where the routes are mounted on the rehearsal's server.
pub const PREFIX: &str = "/prometheus";

/// The longest query that is looked at, bytes.
const QUERY_MAX: usize = 64 * 1024;

#[derive(Clone)]
struct Source {
    store: Shared,
    metrics: Metrics,
}

/// The routes, under [`PREFIX`].
pub fn router(store: Shared, metrics: Metrics) -> Router {
    let source = Source { store, metrics };
    let routes = Router::new()
        .route("/-/ready", get(|| async { "Prometheus Server is Ready.\n" }))
        .route("/-/healthy", get(|| async { "Prometheus Server is Healthy.\n" }))
        .route("/api/v1/query", get(instant).merge(post(instant)))
        .route("/api/v1/query_range", get(range).merge(post(range)))
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/status/buildinfo", get(build))
        .with_state(source);
    Router::new().nest(PREFIX, routes)
}

/// Parameters of the query string and, of a form POST, of the body.
fn parameters(method: &Method, query: Option<String>, body: &Bytes) -> Vec<(String, String)> {
    let mut text = query.unwrap_or_default();
    if method == Method::POST {
        text.push('&');
        text.push_str(&String::from_utf8_lossy(body));
    }
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (byte, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn one<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Seconds since the epoch, with a fraction, or RFC 3339.
fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation, reason = "out of range is refused below")]
        return Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok();
    }
    text.parse().ok()
}

async fn instant(State(source): State<Source>, method: Method, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let parameters = parameters(&method, query, &body);
    let now = source.store.lock().now();
    let at = match one(&parameters, "time") {
        None | Some("") => now,
        Some(text) => match moment(text) {
            Some(at) => at,
            None => {
                return refused(
                    now,
                    &format!("invalid parameter \"time\": cannot parse {text:?} to a valid timestamp"),
                );
            }
        },
    };
    let answer = parsed(&parameters).and_then(|q| q.at(&source.metrics.lock(), at));
    answered(now, answer.map(|a| data(&a, at)))
}

async fn range(State(source): State<Source>, method: Method, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let parameters = parameters(&method, query, &body);
    let now = source.store.lock().now();
    let of = |name: &str| one(&parameters, name).unwrap_or_default();
    let (Some(from), Some(to)) = (moment(of("start")), moment(of("end"))) else {
        return refused(now, "invalid parameter \"start\" or \"end\": cannot parse to a valid timestamp");
    };
    let step = of("step");
    let millis = match step.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation, reason = "what does not fit is not positive or far too long")]
        Ok(seconds) => Some((seconds * 1000.0).round() as i64),
        Err(_) => duration_text(step).and_then(|d| i64::try_from(d.as_millis()).ok()),
    };
    let Some(millis) = millis else {
        return refused(now, &format!("invalid parameter \"step\": cannot parse {step:?} to a valid duration"));
    };
    if to < from {
        return refused(now, "invalid parameter \"end\": end timestamp must not be before start time");
    }
    let answer = parsed(&parameters).and_then(|q| q.range(&source.metrics.lock(), from, to, millis));
    answered(now, answer.map(|a| data(&a, to)))
}

fn parsed(parameters: &[(String, String)]) -> Result<Query, Bad> {
    let text = one(parameters, "query").unwrap_or_default();
    if text.len() > QUERY_MAX {
        return Err(Bad("the query is too long".to_owned()));
    }
    if text.trim().is_empty() {
        return Err(Bad(
            "invalid parameter \"query\": unknown position: parse error: no expression found in input".to_owned()
        ));
    }
    Query::parse(text).map_err(|Bad(why)| Bad(format!("invalid parameter \"query\": {why}")))
}

fn stamp(ms: i64) -> Value {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a date fit a double")]
    let seconds = ms as f64 / 1000.0;
    json!(seconds)
}

fn data(answer: &Answer, at: Timestamp) -> Value {
    let at = at.as_millisecond();
    match answer {
        Answer::Scalar(v) => json!({ "resultType": "scalar", "result": [stamp(at), number(*v)] }),
        Answer::Text(t) => json!({ "resultType": "string", "result": [stamp(at), t] }),
        Answer::Vector(vector) => {
            let result: Vec<Value> =
                vector.iter().map(|(l, v)| json!({ "metric": l, "value": [stamp(at), number(*v)] })).collect();
            json!({ "resultType": "vector", "result": result })
        }
        Answer::Matrix(matrix) => {
            let result: Vec<Value> = matrix
                .iter()
                .map(|(l, samples)| {
                    let values: Vec<Value> = samples.iter().map(|(t, v)| json!([stamp(*t), number(*v)])).collect();
                    json!({ "metric": l, "values": values })
                })
                .collect();
            json!({ "resultType": "matrix", "result": result })
        }
    }
}

fn answered(now: Timestamp, answer: Result<Value, Bad>) -> Response {
    match answer {
        Ok(data) => dated(now, Json(json!({ "status": "success", "data": data })).into_response()),
        Err(Bad(why)) => refused(now, &why),
    }
}

fn refused(now: Timestamp, why: &str) -> Response {
    let body = json!({ "status": "error", "errorType": "bad_data", "error": why });
    dated(now, (StatusCode::BAD_REQUEST, Json(body)).into_response())
}

/// The answer with the simulated time in its `Date`.
fn dated(now: Timestamp, mut response: Response) -> Response {
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(value) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(header::DATE, value);
    }
    response
}

async fn targets(State(source): State<Source>) -> Response {
    let now = source.store.lock().now();
    let last = source.metrics.lock().newest().unwrap_or(now);
    let body = json!({ "status": "success", "data": {
        "activeTargets": [{
            "discoveredLabels": {},
            "labels": { "job": "payments", "instance": "rehearsal" },
            "scrapePool": "payments",
            "scrapeUrl": "http://rehearsal/metrics",
            "globalUrl": "http://rehearsal/metrics",
            "lastError": "",
            "lastScrape": last.to_string(),
            "lastScrapeDuration": 0.01,
            "health": "up",
            "scrapeInterval": "5s",
            "scrapeTimeout": "5s",
        }],
        "droppedTargets": [],
        "droppedTargetCounts": {},
    }});
    dated(now, Json(body).into_response())
}

async fn build() -> Json<Value> {
    Json(json!({ "status": "success", "data": { "version": "3.0.0", "revision": "rehearsal", "branch": "",
        "buildUser": "", "buildDate": "", "goVersion": "" } }))
}

#[cfg(test)]
mod tests {
    use super::super::clock::wednesday;
    use super::super::scenario::Scenario;
    use super::super::world::World;
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    fn open() -> Router {
        let world = World::open(Scenario::named("green").unwrap(), 1, wednesday()).unwrap();
        router(world.store().clone(), world.metrics().clone())
    }

    async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 22).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn queries_by_get_and_by_form() {
        let router = open();
        let get = Request::get(
            "/prometheus/api/v1/query?query=sum(rate(http_requests_total%7Bservice%3D%22edge-gateway%22%7D%5B1m%5D))",
        )
        .body(Body::empty())
        .unwrap();
        let (status, answer) = ask(&router, get).await;
        assert_eq!((status, answer["status"].as_str()), (StatusCode::OK, Some("success")));
        let value: f64 = answer["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap();
        assert!((240.0..600.0).contains(&value), "{value}");
        let form = Request::post("/prometheus/api/v1/query_range")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("query=up+or+vector(1)&start=2025-10-01T12:59:00Z&end=2025-10-01T13:00:00Z&step=15s"))
            .unwrap();
        let (_, answer) = ask(&router, form).await;
        assert_eq!(answer["data"]["resultType"], "matrix");
        assert_eq!(answer["data"]["result"][0]["values"].as_array().unwrap().len(), 5);
    }

    #[tokio::test]
    async fn what_is_wrong_is_said() {
        let router = open();
        for path in ["query?query=sum(", "query", "query?query=1&time=soon", "query_range?query=1&start=1&end=0&step=1"]
        {
            let request = Request::get(format!("/prometheus/api/v1/{path}")).body(Body::empty()).unwrap();
            let (status, answer) = ask(&router, request).await;
            assert_eq!((status, answer["errorType"].as_str()), (StatusCode::BAD_REQUEST, Some("bad_data")), "{path}");
        }
        let request = Request::get("/prometheus/-/ready").body(Body::empty()).unwrap();
        assert_eq!(ask(&router, request).await.0, StatusCode::OK);
    }
}
