//! A layer around the API server that makes it as bad as real ones get: throttled, overloaded, slow, silent, cut off,
//! contradicting. What goes wrong when is a schedule of rules, which a scenario owns; chance comes from a seed, so that
//! the same requests meet the same faults. What the server answers when nothing goes wrong is not known here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use futures::{StreamExt, stream};
use http::{HeaderValue, Method, header};
use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::Shared;
use super::api::refuse;
use super::api::target::{self, Place, Query, Target};
use super::refusal::Refusal;

/// How many injected faults are remembered.
const MEMORY: usize = 10_000;

/// What goes wrong with a request.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Fault {
    /// 429, with a `Retry-After` in seconds or without one.
    Throttle {
        /// Seconds to wait.
        retry_after: Option<u32>,
    },
    /// A refusal before anything happened: 401, 403, 409, 410, 500, 503, 504.
    Refuse {
        /// HTTP status code.
        code: u16,
    },
    /// The answer takes this much longer.
    Latency {
        /// Seconds, of the runtime's clock.
        seconds: f64,
    },
    /// No answer until the time is over, then 504. The write landed or it did not.
    Timeout {
        /// Whether the write landed.
        landed: bool,
        /// Seconds, of the runtime's clock.
        seconds: f64,
    },
    /// The connection breaks in the middle of the answer. The write landed or it did not.
    Reset {
        /// Whether the write landed.
        landed: bool,
    },
    /// A proxy in between answers with a page of its own.
    Garbage,
    /// A watch ends after so many messages.
    WatchEnd {
        /// Messages let through.
        messages: usize,
    },
    /// A watch says 410 in its stream after so many messages, and ends.
    WatchGone {
        /// Messages let through.
        messages: usize,
    },
    /// A watch stays open and says nothing any more after so many messages, as on a half-open connection.
    WatchSilent {
        /// Messages let through.
        messages: usize,
    },
}

/// Which requests meet which fault, and when.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// API verbs (`patch`, `watch`); empty for all.
    #[serde(default)]
    pub verbs: Vec<String>,
    /// Resources, a subresource with its parent (`rollouts`, `rollouts/status`); empty for all.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Namespaces; empty for all.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Object names; empty for all.
    #[serde(default)]
    pub names: Vec<String>,
    /// How likely a request that matches meets it, 0 to 1.
    #[serde(default = "certain")]
    pub chance: f64,
    /// How often at most; absent for no limit.
    #[serde(default)]
    pub times: Option<u32>,
    /// Seconds of cluster time after the start from which on.
    #[serde(default)]
    pub from_s: f64,
    /// Seconds of cluster time after the start until which; absent for ever.
    #[serde(default)]
    pub until_s: Option<f64>,
}

fn certain() -> f64 {
    1.0
}

impl Rule {
    /// A fault that meets every request.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            verbs: Vec::new(),
            resources: Vec::new(),
            namespaces: Vec::new(),
            names: Vec::new(),
            chance: 1.0,
            times: None,
            from_s: 0.0,
            until_s: None,
        }
    }

    fn matches(&self, verb: &str, target: &Target, elapsed: f64) -> bool {
        let has = |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|x| x == wanted);
        let watches =
            matches!(self.fault, Fault::WatchEnd { .. } | Fault::WatchGone { .. } | Fault::WatchSilent { .. });
        has(&self.verbs, verb)
            && has(&self.resources, &target.resource())
            && has(&self.namespaces, target.space())
            && has(&self.names, target.name())
            && (!watches || verb == "watch")
            && self.times != Some(0)
            && elapsed >= self.from_s
            && self.until_s.is_none_or(|until| elapsed < until)
    }
}

/// What happens to all watches that are open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// They end.
    End,
    /// They say 410 and end.
    Gone,
    /// They stay open and say nothing any more.
    Silent,
}

/// One fault that was injected.
#[derive(Clone, PartialEq, Debug)]
pub struct Injected {
    /// When, in cluster time.
    pub at: Timestamp,
    /// The request's verb.
    pub verb: &'static str,
    /// The request's path.
    pub path: String,
    /// What went wrong.
    pub fault: Fault,
}

#[derive(Debug)]
struct Schedule {
    rng: ChaCha8Rng,
    start: Timestamp,
    rules: Vec<Rule>,
    injected: Vec<Injected>,
}

/// The schedule of a cluster's faults; clones share it.
#[derive(Clone, Debug)]
pub struct Faults {
    schedule: Arc<Mutex<Schedule>>,
    cuts: watch::Sender<Option<(u64, Cut)>>,
}

impl Faults {
    /// No faults yet; `start` is what the rules' seconds count from.
    pub fn new(seed: u64, start: Timestamp) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let schedule = Schedule { rng, start, rules: Vec::new(), injected: Vec::new() };
        Self { schedule: Arc::new(Mutex::new(schedule)), cuts: watch::Sender::new(None) }
    }

    /// Adds a rule. The first rule that matches a request and has its chance counts.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Cuts every watch that is open now.
    pub fn cut_watches(&self, cut: Cut) {
        self.cuts.send_modify(|last| *last = Some((last.map_or(0, |l| l.0) + 1, cut)));
    }

    /// What was injected so far, oldest first.
    pub fn injected(&self) -> Vec<Injected> {
        self.lock().injected.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that a request meets, if any.
    fn meet(&self, verb: &'static str, path: &str, target: &Target, now: Timestamp) -> Option<Fault> {
        let mut guard = self.lock();
        let schedule = &mut *guard;
        let elapsed = now.duration_since(schedule.start).as_secs_f64();
        for rule in schedule.rules.iter_mut().filter(|r| r.matches(verb, target, elapsed)) {
            // 53 bits make an even number in [0, 1).
            let drawn = (schedule.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            if drawn >= rule.chance {
                continue;
            }
            if let Some(times) = &mut rule.times {
                *times -= 1;
            }
            if schedule.injected.len() < MEMORY {
                schedule.injected.push(Injected { at: now, verb, path: path.to_owned(), fault: rule.fault });
            }
            return Some(rule.fault);
        }
        None
    }
}

/// The same server, with faults. Requests that are not about objects (discovery, health) are left alone.
pub fn around(router: Router, store: Shared, faults: Faults) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let (store, faults) = (store.clone(), faults.clone());
        async move { disturbed(&store, &faults, request, next).await }
    }))
}

async fn disturbed(store: &Shared, faults: &Faults, request: Request, next: Next) -> Response {
    let Place::Object(target) = target::parse(request.uri().path()) else { return next.run(request).await };
    let verb = verb(&request, &target);
    let now = store.lock().now();
    let fault = faults.meet(verb, request.uri().path(), &target, now);
    let response = match fault {
        None | Some(Fault::WatchEnd { .. } | Fault::WatchGone { .. } | Fault::WatchSilent { .. }) => {
            next.run(request).await
        }
        Some(Fault::Latency { seconds }) => {
            pause(seconds).await;
            next.run(request).await
        }
        Some(Fault::Throttle { retry_after }) => {
            let message = "the server has received too many requests and has asked us to try again later";
            let mut refusal = Refusal::new(429, "TooManyRequests", message);
            if let Some(seconds) = retry_after {
                refusal.details = json!({ "retryAfterSeconds": seconds });
            }
            refuse(&refusal)
        }
        Some(Fault::Refuse { code }) => refuse(&refusal(code, verb, &target)),
        Some(Fault::Timeout { landed, seconds }) => {
            if landed {
                next.run(request).await;
            }
            pause(seconds).await;
            refuse(&refusal(504, verb, &target))
        }
        Some(Fault::Reset { landed }) => {
            if landed {
                next.run(request).await;
            }
            let broken =
                stream::once(async { Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) });
            Response::new(Body::from_stream(broken))
        }
        Some(Fault::Garbage) => {
            let mut response = Response::new(Body::from("<html><body><h1>502 Bad Gateway</h1></body></html>"));
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response
        }
    };
    if verb != "watch" || !response.status().is_success() {
        return response;
    }
    let (limit, end) = match fault {
        Some(Fault::WatchEnd { messages }) => (messages, Cut::End),
        Some(Fault::WatchGone { messages }) => (messages, Cut::Gone),
        Some(Fault::WatchSilent { messages }) => (messages, Cut::Silent),
        _ => (usize::MAX, Cut::End),
    };
    let mut cuts = faults.cuts.subscribe();
    cuts.mark_unchanged();
    response.map(|body| {
        let watched = Watched { body: body.into_data_stream(), cuts, left: limit, end, over: false };
        Body::from_stream(stream::unfold(watched, Watched::next))
    })
}

fn verb(request: &Request, target: &Target) -> &'static str {
    let watches = Query::parse(request.uri()).flag("watch");
    match *request.method() {
        Method::GET if watches => "watch",
        Method::GET if target.name.is_some() => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default()).await;
}

fn refusal(code: u16, verb: &str, target: &Target) -> Refusal {
    let resource = target.resource();
    match code {
        401 => Refusal::new(401, "Unauthorized", "Unauthorized"),
        403 => {
            let namespace = target.namespace.as_deref();
            Refusal::forbidden("captain", verb, target.kind.group, &resource, namespace, target.name())
        }
        409 => Refusal::stale(target.kind, target.name()),
        410 => gone(),
        503 => Refusal::new(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => {
            let message = "Timeout: request did not complete within requested timeout - context deadline exceeded";
            Refusal::new(504, "Timeout", message)
        }
        code => Refusal::new(
            code,
            "InternalError",
            "Internal error occurred: etcdserver: request timed out, possibly due to previous leader failure",
        ),
    }
}

fn gone() -> Refusal {
    Refusal::new(410, "Expired", "The resourceVersion for the provided watch is too old.")
}

/// A watch that may be cut.
struct Watched {
    body: axum::body::BodyDataStream,
    cuts: watch::Receiver<Option<(u64, Cut)>>,
    left: usize,
    end: Cut,
    over: bool,
}

impl Watched {
    async fn next(mut self) -> Option<(Result<Bytes, axum::Error>, Self)> {
        if self.over {
            return None;
        }
        if self.left > 0 {
            tokio::select! {
                biased;
                Ok(()) = self.cuts.changed() => {
                    self.end = self.cuts.borrow_and_update().map_or(self.end, |(_, cut)| cut);
                }
                message = self.body.next() => {
                    self.left -= 1;
                    return message.map(|m| (m, self));
                }
            }
        }
        self.over = true;
        match self.end {
            Cut::End => None,
            Cut::Silent => std::future::pending().await,
            Cut::Gone => {
                let line = format!("{}\n", json!({ "type": "ERROR", "object": gone().status() }));
                Some((Ok(Bytes::from(line)), self))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::store::Store;
    use crate::rehearsal::{api, kinds};
    use http::StatusCode;
    use serde_json::Value;
    use tower::ServiceExt;

    fn server() -> (Router, Shared, Faults) {
        let now: Timestamp = "2025-10-02T13:00:00Z".parse().unwrap();
        let mut store = Store::new(3, now);
        store.create(&kinds::CONFIG_MAP, "default", json!({ "metadata": { "name": "c" } })).unwrap();
        let (store, faults) = (Shared::new(store), Faults::new(3, now));
        (around(api::router(store.clone()), store.clone(), faults.clone()), store, faults)
    }

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    async fn send(router: &Router, method: Method, path: &str, body: &str) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/merge-patch+json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        ServiceExt::<Request>::oneshot(router.clone(), request).await.unwrap()
    }

    async fn text(response: Response) -> Result<String, axum::Error> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.map(|b| String::from_utf8(b.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_got_no_answer_landed_or_did_not() {
        for landed in [true, false] {
            for fault in [Fault::Timeout { landed, seconds: 60.0 }, Fault::Reset { landed }] {
                let (router, store, faults) = server();
                faults.add(Rule { verbs: vec!["patch".to_owned()], times: Some(1), ..Rule::always(fault) });
                let patch = r#"{"data":{"a":"1"}}"#;
                let response = send(&router, Method::PATCH, &format!("{MAPS}/c"), patch).await;
                match fault {
                    Fault::Reset { .. } => assert!(text(response).await.is_err()),
                    _ => assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT),
                }
                let there = store.lock().get(&kinds::CONFIG_MAP, "default", "c").unwrap().get("data").is_some();
                assert_eq!(there, landed, "{fault:?}");
                let again = send(&router, Method::PATCH, &format!("{MAPS}/c"), patch).await;
                assert_eq!(again.status(), StatusCode::OK);
                assert_eq!(faults.injected().len(), 1);
            }
        }
    }

    #[tokio::test]
    async fn refusals_read_as_a_server_words_them_and_meet_only_what_they_name() {
        let (router, store, faults) = server();
        let rule = |code, times| Rule {
            resources: vec!["configmaps".to_owned()],
            names: vec!["c".to_owned()],
            times: Some(times),
            ..Rule::always(Fault::Refuse { code })
        };
        for code in [401, 403, 409, 410, 500, 503] {
            faults.add(rule(code, 1));
            let response = send(&router, Method::GET, &format!("{MAPS}/c"), "").await;
            assert_eq!(response.status().as_u16(), code);
            let status: Value = serde_json::from_str(&text(response).await.unwrap()).unwrap();
            assert_eq!((status["kind"].as_str(), status["code"].as_u64()), (Some("Status"), Some(u64::from(code))));
        }
        faults.add(rule(503, 9));
        assert_eq!(send(&router, Method::GET, MAPS, "").await.status(), StatusCode::OK);
        faults.clear();
        faults.add(Rule {
            from_s: 10.0,
            until_s: Some(20.0),
            ..Rule::always(Fault::Throttle { retry_after: Some(7) })
        });
        let start = store.lock().now();
        for (second, want) in [(9, 200), (10, 429), (19, 429), (20, 200)] {
            store.lock().set_now(start + Duration::from_secs(second));
            let response = send(&router, Method::GET, MAPS, "").await;
            assert_eq!(response.status(), want);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), want == 429);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn watches_end_say_gone_or_fall_silent() {
        let watch = format!("{MAPS}?watch=true");
        for (fault, want) in [
            (Fault::WatchEnd { messages: 1 }, "ADDED"),
            (Fault::WatchGone { messages: 1 }, "ERROR"),
            (Fault::WatchSilent { messages: 0 }, ""),
        ] {
            let (router, _, faults) = server();
            faults.add(Rule::always(fault));
            let mut body = send(&router, Method::GET, &watch, "").await.into_body().into_data_stream();
            let mut last = String::new();
            let ended = tokio::time::timeout(Duration::from_secs(900), async {
                while let Some(Ok(line)) = body.next().await {
                    last = String::from_utf8(line.to_vec()).unwrap();
                }
            });
            assert_eq!(ended.await.is_err(), fault == Fault::WatchSilent { messages: 0 });
            assert!(last.contains(want), "{fault:?}: {last}");
        }
        let (router, _, faults) = server();
        let body = send(&router, Method::GET, &watch, "").await;
        faults.cut_watches(Cut::Gone);
        assert!(text(body).await.unwrap().contains("\"code\":410"));
    }

    #[tokio::test]
    async fn the_same_seed_meets_the_same_faults() {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let (router, _, faults) = server();
            faults.add(Rule { chance: 0.3, ..Rule::always(Fault::Refuse { code: 500 }) });
            let mut codes = Vec::new();
            for _ in 0..200 {
                codes.push(send(&router, Method::GET, MAPS, "").await.status().as_u16());
            }
            runs.push(codes);
        }
        assert_eq!(runs[0], runs[1]);
        let bad = runs[0].iter().filter(|c| **c == 500).count();
        assert!((40..80).contains(&bad), "{bad} of 200 at a chance of 0.3");
    }
}
