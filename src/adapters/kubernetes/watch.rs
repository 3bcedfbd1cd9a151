//! A watch that survives: list, follow, and on whatever goes wrong say so, wait a little, and resume. Own code instead
//! of the client library's watcher, because that keeps an expired version when the server answers a resumed watch with
//! HTTP 410 and does not tell silence from loss (`reliability-and-security` §3).

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::fault::Asked;
use super::read::{list, selectors};
use super::trim::watched;
use super::wire::{Draft, READ_DEADLINE, Wire, collection};
use crate::core::object::{ObjectRef, Packed};
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind, Interest, Seen};
use crate::text;

/// The server is asked to end a watch after this long, plus up to a fifth, so that not all watches end at once. Below
/// the 240 s after which cloud load balancers drop an idle connection without a word.
const SERVER_SECONDS: u64 = 160;
/// Silence for so much longer than that is loss.
const SILENCE: Duration = Duration::from_secs(10);
/// A watch that lived this long and then broke is resumed at once, without alarm.
const STEADY: Duration = Duration::from_secs(5);
/// Longest line: an object is at most 1.5 MiB in etcd, three times that as JSON.
const LINE_MAX: usize = 8 << 20;
const WAIT_FIRST: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(15);
/// For what a person must repair first.
const WAIT_REPAIR: Duration = Duration::from_secs(10);

enum End {
    /// The receiver is gone.
    Closed,
    /// The server ended it as asked, or the connection broke after it was steady: resume.
    Over,
    /// The version is too old: list anew.
    Expired,
    /// Something went wrong.
    Broken(Fault),
}

/// Watches until the receiver is dropped.
pub(super) async fn run(wire: Arc<Wire>, interest: Interest, out: mpsc::Sender<Seen>) {
    let mut watch = Watch { wire, interest, out, version: None, lost: false, heard: false };
    let mut wait = WAIT_FIRST;
    let mut expired = 0_u32;
    loop {
        let end = if watch.version.is_none() { watch.list().await } else { watch.follow().await };
        if std::mem::take(&mut watch.heard) {
            (wait, expired) = (WAIT_FIRST, 0);
        }
        let pause = match end {
            End::Closed => return,
            End::Over => Duration::ZERO,
            End::Expired => {
                watch.version = None;
                expired += 1;
                // Once is normal. A server that answers 410 to the list it has just given must not be hammered.
                if expired > 1 { next(&mut wait, watch.wire.chance()) } else { Duration::ZERO }
            }
            End::Broken(fault) => {
                let pause = match fault.kind {
                    // The wire waits, for all watches together.
                    FaultKind::Throttled(_) => Duration::ZERO,
                    FaultKind::Forbidden | FaultKind::NoSuchKind | FaultKind::Unauthorized => WAIT_REPAIR,
                    _ => next(&mut wait, watch.wire.chance()),
                };
                watch.lost = true;
                if watch.out.send(Seen::Lost(watch.interest.clone(), fault)).await.is_err() {
                    return;
                }
                pause
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = watch.out.closed() => return,
        }
    }
}

/// The next pause: doubled, with up to a half more by chance (0 to 1), so that many clients do not come back at once.
fn next(wait: &mut Duration, chance: f64) -> Duration {
    let now = *wait;
    *wait = (now * 2).min(WAIT_MAX);
    now + now.mul_f64(chance / 2.0)
}

struct Watch {
    wire: Arc<Wire>,
    interest: Interest,
    out: mpsc::Sender<Seen>,
    /// Where to go on; none means list first.
    version: Option<String>,
    /// A loss was reported and not yet taken back.
    lost: bool,
    /// The last watch brought at least one event.
    heard: bool,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Watch {
    async fn list(&mut self) -> End {
        let kind = self.interest.kind;
        let listing = list(&self.wire, "list", &self.interest, |raw| Packed::of(&watched(kind, raw)));
        let listed = tokio::select! {
            biased;
            listed = self.wire.patience.kept(listing) => listed,
            () = self.out.closed() => return End::Closed,
        };
        match listed {
            Ok((objects, version)) => {
                self.version = Some(version);
                if self.out.send(Seen::All(self.interest.clone(), objects)).await.is_err() {
                    return End::Closed;
                }
                self.back().await
            }
            Err(fault) if fault.kind == FaultKind::Gone => End::Expired,
            Err(fault) => End::Broken(fault),
        }
    }

    /// Takes a reported loss back.
    async fn back(&mut self) -> End {
        if std::mem::take(&mut self.lost) && self.out.send(Seen::Back(self.interest.clone())).await.is_err() {
            return End::Closed;
        }
        End::Over
    }

    async fn follow(&mut self) -> End {
        let asked = Asked::collection("watch", self.interest.kind, &self.interest.namespace);
        let seconds = SERVER_SECONDS + (self.wire.chance() * SERVER_SECONDS as f64 / 5.0) as u64;
        let draft = Draft::get(format!(
            "{}?{}&watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={seconds}",
            collection(self.interest.kind, &self.interest.namespace),
            selectors(&self.interest),
            self.version.as_deref().unwrap_or_default(),
        ));
        let opened = tokio::select! {
            biased;
            opened = self.wire.patience.kept(self.wire.open(&asked, &draft, READ_DEADLINE)) => opened,
            () = self.out.closed() => return End::Closed,
        };
        let body = match opened {
            Ok(response) => response.into_body(),
            Err(fault) if fault.kind == FaultKind::Gone => return End::Expired,
            Err(fault) => return End::Broken(fault),
        };
        if let End::Closed = self.back().await {
            return End::Closed;
        }
        let started = Instant::now();
        let steady = |broken: Fault| if started.elapsed() >= STEADY { End::Over } else { End::Broken(broken) };
        let mut body = body.into_data_stream();
        let mut buffer = BytesMut::new();
        let mut scanned = 0;
        loop {
            let quiet = Duration::from_secs(seconds) + SILENCE;
            let chunk = tokio::select! {
                biased;
                chunk = tokio::time::timeout(quiet, body.next()) => chunk,
                () = self.out.closed() => return End::Closed,
            };
            match chunk {
                Ok(Some(Ok(chunk))) => buffer.extend_from_slice(&chunk),
                Ok(Some(Err(why))) => return steady(self.wire.caller.broken(&asked, &why)),
                // A watch that ends at once and without an event, again and again, must not become a busy loop.
                Ok(None) if self.heard || started.elapsed() >= STEADY => return End::Over,
                Ok(None) => {
                    return End::Broken(Fault {
                        kind: FaultKind::Unreachable,
                        what: text!("{asked}"),
                        why: Text::scrub("the server ended the watch as soon as it began"),
                        hint: Text::scrub("it is begun again by itself"),
                    });
                }
                Err(_) => return End::Broken(self.wire.caller.late(&asked, quiet.as_secs())),
            }
            while let Some(at) = buffer[scanned..].iter().position(|b| *b == b'\n') {
                let line = buffer.split_to(scanned + at);
                buffer.advance(1);
                scanned = 0;
                if let Some(end) = self.event(&asked, &line).await {
                    return end;
                }
            }
            scanned = buffer.len();
            if scanned > LINE_MAX {
                return End::Broken(self.wire.caller.malformed(&asked, "a line of a watch has no end"));
            }
        }
    }

    /// Takes one line in; ends the watch when it says so.
    async fn event(&mut self, asked: &Asked, line: &[u8]) -> Option<End> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let parsed = serde_json::from_slice::<Event<'_>>(line);
        let parsed = parsed.and_then(|event| Ok((event.kind, serde_json::from_str::<Value>(event.object.get())?)));
        let (kind, raw) = match parsed {
            Ok(parsed) => parsed,
            Err(why) => {
                // What was missed is unknown: only a list tells.
                self.version = None;
                return Some(End::Broken(self.wire.caller.malformed(asked, why)));
            }
        };
        if kind == "ERROR" {
            let code = raw.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok()).unwrap_or(500);
            let fault = self.wire.caller.status(asked, code, &raw, None);
            return Some(if fault.kind == FaultKind::Gone { End::Expired } else { End::Broken(fault) });
        }
        if let Some(version) = raw.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            self.version = Some(version.to_owned());
        }
        self.heard = true;
        let interest = self.interest.clone();
        let seen = match kind {
            "ADDED" | "MODIFIED" => Seen::Put(interest, Packed::of(&watched(self.interest.kind, raw))),
            "DELETED" => {
                let object = watched(self.interest.kind, raw);
                let gone = ObjectRef {
                    cluster: self.wire.caller.identity.context.clone(),
                    kind: self.interest.kind,
                    namespace: object.namespace(),
                    name: object.name(),
                };
                Seen::Gone(interest, gone)
            }
            _ => return None,
        };
        self.out.send(seen).await.is_err().then_some(End::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::object::ObjectKind;
    use crate::ports::Identity;
    use bytes::Bytes;
    use futures::stream;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// What the server does with the next request.
    enum Reply {
        /// A list of names at a version.
        List(&'static [&'static str], &'static str),
        /// These events, then the body stays open.
        Open(Vec<Value>),
        /// These events, then the body breaks.
        Cut(Vec<Value>),
        /// This status, with `Retry-After: 1`.
        Status(u16),
        /// No answer, ever.
        Never,
    }

    type Log = Arc<Mutex<Vec<String>>>;

    /// A server that plays a script and then never answers again; and the requests it saw.
    fn server(script: Vec<Reply>) -> (Arc<Wire>, Log) {
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let log: Log = Log::default();
        let seen = Arc::clone(&log);
        let service = tower::service_fn(move |request: Request<Body>| {
            let uri = request.uri().to_string();
            let field = |key: &str| {
                uri.split(['?', '&'])
                    .find_map(|p| p.strip_prefix(key)?.strip_prefix('='))
                    .unwrap_or_default()
                    .to_owned()
            };
            let line =
                if uri.contains("watch=true") { format!("watch {}", field("resourceVersion")) } else { "list".into() };
            seen.lock().unwrap().push(line);
            let reply = script.lock().unwrap().pop_front().unwrap_or(Reply::Never);
            async move {
                let lines = |events: Vec<Value>| {
                    events.into_iter().map(|e| Ok(Bytes::from(format!("{e}\n")))).collect::<Vec<_>>()
                };
                let body = match reply {
                    Reply::List(names, version) => {
                        let items: Vec<Value> =
                            names.iter().map(|n| json!({"metadata": {"name": n, "namespace": "payments"}})).collect();
                        let list = json!({"metadata": {"resourceVersion": version}, "items": items}).to_string();
                        axum::body::Body::from(list)
                    }
                    Reply::Open(events) => axum::body::Body::from_stream(
                        stream::iter(lines(events)).chain(stream::pending::<Result<Bytes, std::io::Error>>()),
                    ),
                    Reply::Cut(events) => {
                        let mut lines = lines(events);
                        lines.push(Err(std::io::Error::other("connection reset by peer")));
                        axum::body::Body::from_stream(stream::iter(lines))
                    }
                    Reply::Status(code) => {
                        let status = json!({"kind": "Status", "code": code, "message": "said so"}).to_string();
                        let answer = Response::builder().status(code).header("Retry-After", "1");
                        return Ok(answer.body(axum::body::Body::from(status)).unwrap());
                    }
                    Reply::Never => std::future::pending().await,
                };
                Ok::<_, std::convert::Infallible>(Response::new(body))
            }
        });
        let identity = Identity {
            context: "sim".into(),
            server: "http://sim".into(),
            user: "ana".into(),
            namespace: "payments".into(),
        };
        (Arc::new(Wire::over(kube::Client::new(service, "payments"), identity, 1)), log)
    }

    fn rollouts() -> Interest {
        Interest {
            kind: ObjectKind::Rollout,
            namespace: "payments".into(),
            labels: Text::default(),
            fields: Text::default(),
        }
    }

    fn event(kind: &str, name: &str, version: &str) -> Value {
        json!({"type": kind, "object": {"metadata": {"name": name, "namespace": "payments", "resourceVersion": version}}})
    }

    fn expired() -> Value {
        json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}})
    }

    /// What a watcher tells, in short, until so many things were told.
    async fn told(script: Vec<Reply>, count: usize) -> (Vec<String>, Vec<String>) {
        let (wire, log) = server(script);
        let (out, mut inbox) = mpsc::channel(64);
        let task = tokio::spawn(run(wire, rollouts(), out));
        let mut told = Vec::new();
        while told.len() < count {
            let seen = tokio::time::timeout(Duration::from_secs(600), inbox.recv())
                .await
                .expect("nothing more is told")
                .unwrap();
            told.push(match seen {
                Seen::All(_, objects) => {
                    format!("all {}", objects.iter().map(|o| o.name().to_string()).collect::<Vec<_>>().join(" "))
                }
                Seen::Put(_, object) => format!("put {}", object.name()),
                Seen::Gone(_, id) => format!("gone {id}"),
                Seen::Lost(_, fault) => format!("lost {:?}", fault.kind),
                Seen::Back(_) => "back".to_owned(),
            });
        }
        drop(inbox);
        tokio::time::timeout(Duration::from_secs(5), task).await.expect("it ends with its receiver").unwrap();
        (told, log.lock().unwrap().clone())
    }

    #[tokio::test(start_paused = true)]
    async fn events_follow_the_list() {
        let events = vec![
            event("ADDED", "b", "6"),
            json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}),
            event("MODIFIED", "a", "10"),
            event("DELETED", "b", "11"),
        ];
        let (told, log) = told(vec![Reply::List(&["a"], "5"), Reply::Open(events)], 4).await;
        assert_eq!(told, ["all a", "put b", "put a", "gone rollout payments/b"]);
        assert_eq!(log, ["list", "watch 5"]);
    }

    #[tokio::test(start_paused = true)]
    async fn both_forms_of_410_lead_to_a_new_list() {
        let script = vec![
            Reply::List(&["a"], "5"),
            Reply::Open(vec![event("ADDED", "b", "6"), expired()]),
            Reply::List(&["a", "b"], "20"),
            Reply::Cut(vec![event("MODIFIED", "a", "21")]),
            Reply::Status(410),
            Reply::List(&["b"], "40"),
            Reply::Open(vec![event("MODIFIED", "b", "41")]),
        ];
        let (told, log) = told(script, 8).await;
        assert_eq!(told, ["all a", "put b", "all a b", "put a", "lost Timeout", "all b", "back", "put b"]);
        assert_eq!(log, ["list", "watch 5", "list", "watch 20", "watch 21", "list", "watch 40"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_expires_what_it_just_gave_is_not_hammered() {
        let script = (0..40).map(|n| if n % 2 == 0 { Reply::List(&[], "5") } else { Reply::Status(410) }).collect();
        let started = Instant::now();
        let (told, _) = told(script, 10).await;
        assert!(told.iter().all(|t| t == "all "), "{told:?}");
        assert!(started.elapsed() > Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_resumes_where_it_was_and_says_so() {
        let script = vec![
            Reply::List(&["a"], "5"),
            Reply::Cut(vec![event("MODIFIED", "a", "7")]),
            Reply::Open(vec![event("MODIFIED", "a", "8")]),
        ];
        let (told, log) = told(script, 5).await;
        assert_eq!(told, ["all a", "put a", "lost Timeout", "back", "put a"]);
        assert_eq!(log, ["list", "watch 5", "watch 7"]);
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_told_and_survived() {
        let script = vec![
            Reply::Status(401),
            Reply::Status(403),
            Reply::Status(404),
            Reply::Status(429),
            Reply::Status(503),
            Reply::Never,
            Reply::List(&["a"], "5"),
            Reply::Never,
            Reply::Open(vec![event("MODIFIED", "a", "6")]),
        ];
        let (told, _) = told(script, 11).await;
        assert_eq!(
            told,
            [
                "lost Unauthorized",
                "lost Forbidden",
                "lost NoSuchKind",
                "lost Throttled(1)",
                "lost Server",
                "lost Timeout",
                "all a",
                "back",
                "lost Timeout",
                "back",
                "put a"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_is_given_up_and_resumed() {
        let script = vec![
            Reply::List(&["a"], "5"),
            Reply::Open(vec![event("MODIFIED", "a", "6")]),
            Reply::Open(vec![event("MODIFIED", "a", "7")]),
        ];
        let started = Instant::now();
        let (told, log) = told(script, 5).await;
        assert_eq!(told, ["all a", "put a", "lost Timeout", "back", "put a"]);
        assert_eq!(log.last().unwrap(), "watch 6");
        assert!(started.elapsed() < Duration::from_secs(220), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_cannot_be_read_leads_to_a_new_list() {
        let script =
            vec![Reply::List(&["a"], "5"), Reply::Open(vec![json!({"type": "ADDED"})]), Reply::List(&["a", "b"], "9")];
        let (told, _) = told(script, 3).await;
        assert_eq!(told, ["all a", "lost Malformed", "all a b"]);
    }
}
