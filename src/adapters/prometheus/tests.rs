//! Tests of the query adapter: the same answers in process and over a socket.

use super::*;
use axum::Router;
use axum::extract::{RawForm, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Clone)]
struct Told {
    answer: (u16, String),
    headers: HeaderMap,
    heard: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
}

impl Told {
    fn router(&self) -> Router {
        async fn say(State(told): State<Told>, RawForm(form): RawForm) -> Response {
            let url = reqwest::Url::parse(&format!("x:/?{}", String::from_utf8_lossy(&form))).unwrap();
            let form = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
            told.heard.lock().unwrap().push(form);
            let status = StatusCode::from_u16(told.answer.0).unwrap();
            (status, told.headers.clone(), told.answer.1.clone()).into_response()
        }
        Router::new()
            .route("/api/v1/query", post(say).get(say))
            .route("/api/v1/query_range", post(say))
            .with_state(self.clone())
    }
}

fn told(status: u16, body: &str) -> Told {
    Told { answer: (status, body.to_owned()), headers: HeaderMap::new(), heard: Arc::default() }
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// The same router, in process below a prefix and over a socket below another one.
async fn both(told: &Told) -> [Prometheus; 2] {
    let within = Prometheus::within(Router::new().nest("/prom", told.router()), "/prom/");
    let address = serve(Router::new().nest("/a/b", told.router())).await;
    [within, Prometheus::at(&format!("{address}/a/b")).unwrap()]
}

fn vector(values: &[&str]) -> String {
    let list: Vec<_> = values.iter().map(|v| serde_json::json!({"metric": {}, "value": [1760000000.123, v]})).collect();
    serde_json::json!({"status": "success", "data": {"resultType": "vector", "result": list}}).to_string()
}

#[tokio::test]
async fn vectors_scalars_and_matrices_are_read() {
    let said = told(200, &vector(&["0.01", "NaN", "+Inf", "-Inf", "1e+06"]));
    for prometheus in both(&said).await {
        let sample = prometheus.query("up == 1 & {a=\"b+c\"}").await.unwrap();
        assert!(!sample.scalar && sample.values[1].is_nan());
        assert_eq!((sample.values[0], sample.values[2], sample.values[3]), (0.01, f64::INFINITY, f64::NEG_INFINITY));
        assert_eq!(sample.values[4], 1e6);
        let heard = said.heard.lock().unwrap().pop().unwrap();
        assert_eq!((heard["query"].as_str(), heard["timeout"].as_str()), ("up == 1 & {a=\"b+c\"}", "10s"));
    }
    let scalar = told(200, r#"{"status":"success","data":{"resultType":"scalar","result":[1760000000,"0.5"]}}"#);
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[
        {"metric":{},"values":[[1760000000,"1"],[1760000010,"NaN"],[1760000020.5,"3"]]},{"metric":{},"values":[[1,"9"]]}]}}"#;
    let matrix = told(200, matrix);
    let (from, to) = (Timestamp::from_second(1_760_000_000).unwrap(), Timestamp::from_second(1_760_000_060).unwrap());
    for (scalars, matrices) in both(&scalar).await.into_iter().zip(both(&matrix).await) {
        let sample = scalars.query("0.5").await.unwrap();
        assert!(sample.scalar && sample.values == [0.5]);
        assert_eq!(matrices.query("x[1m]").await.unwrap().values.len(), 4);
        let points = matrices.range("x", from, to, Duration::from_secs(10)).await.unwrap();
        assert_eq!(points.iter().map(|p| p.value).collect::<Vec<_>>(), [Some(1.0), None, Some(3.0)]);
        assert_eq!(points[2].at.as_millisecond(), 1_760_000_020_500);
        let heard = matrix.heard.lock().unwrap().pop().unwrap();
        assert_eq!((heard["start"].as_str(), heard["end"].as_str()), ("1760000000.000", "1760000060.000"));
        assert_eq!(heard["step"].as_str(), "10.000");
    }
    let empty = told(200, &vector(&[]));
    for prometheus in both(&empty).await {
        assert_eq!(prometheus.query("absent").await.unwrap().values, [] as [f64; 0]);
    }
}

#[tokio::test]
async fn age_is_by_the_servers_clock() {
    let mut said = told(200, &vector(&["1"]));
    said.headers.insert("date", "Thu, 09 Oct 2025 08:54:20 GMT".parse().unwrap());
    for prometheus in both(&said).await {
        let sample = prometheus.query("x").await.unwrap();
        assert_eq!(sample.age.map(|a| a.as_secs()), Some(59), "{sample:?}");
    }
    said.headers.insert("date", "soon".parse().unwrap());
    let within = Prometheus::within(said.router(), "");
    assert_eq!(within.query("x").await.unwrap().age, None);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let bad = r#"{"status":"error","errorType":"bad_data","error":"parse error: \u001b[2Junexpected <eof>"}"#;
    let table = [
        (400, bad, FaultKind::Unprocessable, "400: parse error: \u{fffd}[2Junexpected <eof>"),
        (422, bad, FaultKind::Unprocessable, "422: parse error"),
        (401, "", FaultKind::Unauthorized, "401 Unauthorized"),
        (403, "no", FaultKind::Forbidden, "403 Forbidden"),
        (404, "404 page not found", FaultKind::NotFound, "404 Not Found"),
        (429, "", FaultKind::Throttled(0), "429"),
        (302, "", FaultKind::Malformed, "302"),
        (500, "<html>", FaultKind::Server, "500"),
        (
            503,
            r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#,
            FaultKind::Timeout,
            "503: query",
        ),
        (200, "<!doctype html>", FaultKind::Malformed, "no answer of a Prometheus"),
        (200, r#"{"status":"error","error":"odd"}"#, FaultKind::Malformed, "odd"),
        (200, r#"{"status":"success"}"#, FaultKind::Malformed, "the answer has no data"),
        (
            200,
            r#"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#,
            FaultKind::Malformed,
            "a string",
        ),
    ];
    for (status, body, kind, why) in table {
        for prometheus in both(&told(status, body)).await {
            let fault = prometheus.query("x").await.unwrap_err();
            assert_eq!(fault.kind, kind, "{fault:?}");
            assert!(fault.why.contains(why), "{fault:?}");
            assert!(!fault.hint.is_empty() && fault.what.starts_with("query prometheus"), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn hostile_answers_are_no_data_or_a_fault() {
    for result in [
        "{}",
        "[1,2]",
        "[{}]",
        r#"[{"value":[1e300,"1"]}]"#,
        r#"[{"value":["1","1"]}]"#,
        r#"[{"value":[1,1]}]"#,
        "null",
    ] {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#);
        let sample = Prometheus::within(told(200, &body).router(), "").query("x").await.unwrap();
        assert!(sample.values.is_empty(), "{result}: {sample:?}");
    }
    let deep = "[".repeat(100_000);
    for prometheus in both(&told(200, &deep)).await {
        assert_eq!(prometheus.query("x").await.unwrap_err().kind, FaultKind::Malformed);
    }
    for prometheus in both(&told(200, &" ".repeat(ANSWER_BYTES_MAX + 1))).await {
        assert!(prometheus.query("x").await.unwrap_err().why.contains("larger than 4 MiB"));
    }
    let within = Prometheus::within(told(200, "").router(), "");
    assert_eq!(within.query(&"x".repeat(QUERY_BYTES_MAX + 1)).await.unwrap_err().kind, FaultKind::Unprocessable);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = told(200, &vector(&["1"]));
    let there = serve(target.router()).await;
    let mut said = told(302, "");
    said.headers.insert("location", format!("{there}/api/v1/query").parse().unwrap());
    let prometheus = Prometheus::at(&serve(said.router()).await).unwrap();
    assert!(prometheus.query("x").await.unwrap_err().hint.contains("redirects"));
    assert!(target.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn where_only_reads_are_let_through_it_asks_with_get() {
    use axum::routing::get;
    let answer = vector(&["7"]);
    let router = Router::new().route("/api/v1/query", get(move || async move { answer }));
    let prometheus = Prometheus::at(&serve(router).await).unwrap();
    assert_eq!(prometheus.query("x").await.unwrap().values, [7.0]);
}

#[tokio::test]
async fn who_is_not_there_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://ana:secret@{}", listener.local_addr().unwrap());
    drop(listener);
    let fault = Prometheus::at(&address).unwrap().query("x").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(!format!("{fault:?}").contains("secret"));
    assert!(fault.why.to_lowercase().contains("refused"), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_late() {
    async fn never() -> &'static str {
        std::future::pending::<()>().await;
        ""
    }
    let within = Prometheus::within(Router::new().route("/api/v1/query", post(never)), "");
    let begun = tokio::time::Instant::now();
    assert_eq!(within.query("x").await.unwrap_err().kind, FaultKind::Timeout);
    assert_eq!(begun.elapsed().as_secs(), DEADLINE.as_secs());
}
