//! A Prometheus, or what speaks its query API: over HTTP, or in process where the rehearsal's is. Where it is comes from
//! the operator alone (footplate.yaml, `--prometheus`), never from an object of the cluster. Answers are hostile: capped,
//! timed, parsed here. What a value means is not decided here (`core/gate.rs`).

mod address;
mod answer;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use jiff::Timestamp;

use self::address::Address;
use crate::core::snapshot::Point;
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind, Fut, Metrics, Sample};
use crate::text;

/// How long one query may take, connection and reading included.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest query that is sent.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;

/// The most steps that a range query may ask for; Prometheus itself refuses more than 11,000.
const STEPS_MAX: u64 = 2_000;

/// A Prometheus.
#[derive(Clone, Debug)]
pub struct Prometheus {
    via: Via,
    /// For messages: where it is, without credentials.
    place: Text,
}

#[derive(Clone, Debug)]
enum Via {
    Http { client: reqwest::Client, address: Arc<Address> },
    Within { router: axum::Router, prefix: Arc<str> },
}

/// What came back, whole.
struct Raw {
    status: StatusCode,
    /// The server's clock, where it says.
    date: Option<Timestamp>,
    retry_after: Option<u32>,
    body: Vec<u8>,
}

impl Prometheus {
    /// The one at an address that the operator gave: `http` or `https`, with or without a path prefix. Refused when it is
    /// no such address, or leads to a metadata service.
    pub fn at(address: &str) -> Result<Self, Fault> {
        let address = Address::parse(address)?;
        // Without a provider the client could not be built; where the program has chosen one already, it stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(super::outward::Resolver))
            .connect_timeout(Duration::from_secs(3))
            .timeout(DEADLINE)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("footplate/", env!("CARGO_PKG_VERSION")));
        if address.is_loopback() {
            client = client.no_proxy();
        }
        let place = address.place();
        let client = client.build().map_err(|why| Fault {
            kind: FaultKind::Unreachable,
            what: text!("open prometheus {place}"),
            why: chain(&why),
            hint: Text::scrub("check the system's certificates and proxy settings"),
        })?;
        Ok(Self { via: Via::Http { client, address: Arc::new(address) }, place })
    }

    /// One that runs in this process: its routes, and the path they are mounted under (empty for the root).
    pub fn within(router: axum::Router, prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/');
        Self { via: Via::Within { router, prefix: prefix.into() }, place: text!("in process, {prefix}/") }
    }

    /// Where it is, for the screen; without credentials.
    pub fn place(&self) -> &Text {
        &self.place
    }

    async fn ask(&self, call: &str, form: &[(&str, String)]) -> Result<(answer::Data, Option<Timestamp>), Fault> {
        let query = form.iter().find(|(key, _)| *key == "query").map_or("", |(_, query)| query);
        if query.len() > QUERY_BYTES_MAX {
            let why = text!("the query is longer than {QUERY_BYTES_MAX} bytes");
            return Err(self.fault(FaultKind::Unprocessable, why, "shorten the query in the analysis template"));
        }
        let body = encoded(form);
        let mut raw = self.in_time(Method::POST, call, &body).await?;
        // What lets only reads through (a read-only proxy) answers so; the same query as a GET is the documented way out.
        if matches!(raw.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) && body.len() < 4096 {
            raw = self.in_time(Method::GET, call, &body).await?;
        }
        if !raw.status.is_success() {
            return Err(self.refused(&raw));
        }
        match answer::read(&raw.body) {
            Ok(data) => Ok((data, raw.date)),
            Err(why) => {
                let page = raw.body.trim_ascii_start().starts_with(b"<");
                let hint = if page {
                    "it answered with a web page: is there a login or another service at this address?"
                } else {
                    "check that the address is a Prometheus, path prefix included"
                };
                Err(self.fault(FaultKind::Malformed, why, hint))
            }
        }
    }

    async fn in_time(&self, method: Method, call: &str, form: &str) -> Result<Raw, Fault> {
        match tokio::time::timeout(DEADLINE, self.send(method, call, form)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.late()),
        }
    }

    async fn send(&self, method: Method, call: &str, form: &str) -> Result<Raw, Fault> {
        match &self.via {
            Via::Http { client, address } => {
                let mut url = address.call(call);
                let request = if method == Method::GET {
                    url.set_query(Some(form));
                    client.get(url)
                } else {
                    let form_type = "application/x-www-form-urlencoded";
                    client.post(url).header(header::CONTENT_TYPE, form_type).body(form.to_owned())
                };
                let response = request.send().await.map_err(|why| self.broken(&why))?;
                let (status, head) = (response.status(), response.headers().clone());
                let body = self.read(response).await?;
                Ok(Raw { status, date: answer::date(&head), retry_after: answer::retry_after(&head), body })
            }
            Via::Within { router, prefix } => {
                let uri = format!("{prefix}/api/v1/{call}");
                let (uri, body) = match method {
                    Method::GET => (format!("{uri}?{form}"), Body::empty()),
                    _ => (uri, Body::from(form.to_owned())),
                };
                let request = Request::builder()
                    .method(method)
                    .uri(uri)
                    .header(header::HOST, "within")
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(body)
                    .map_err(|why| self.fault(FaultKind::Malformed, text!("{why}"), "check the path prefix"))?;
                let response = tower::ServiceExt::<Request<Body>>::oneshot(router.clone(), request)
                    .await
                    .unwrap_or_else(|never| match never {});
                let (head, body) = response.into_parts();
                let body = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|_| self.too_large())?.to_vec();
                let date = answer::date(&head.headers);
                Ok(Raw { status: head.status, date, retry_after: answer::retry_after(&head.headers), body })
            }
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Fault> {
        if response.content_length().is_some_and(|n| n > ANSWER_BYTES_MAX as u64) {
            return Err(self.too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|why| self.broken(&why))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn fault(&self, kind: FaultKind, why: Text, hint: &str) -> Fault {
        Fault { kind, what: text!("query prometheus {}", self.place), why, hint: Text::scrub(hint) }
    }

    fn late(&self) -> Fault {
        let why = text!("no answer within {} s", DEADLINE.as_secs());
        self.fault(FaultKind::Timeout, why, "simplify the query, or look at the load of the server")
    }

    fn too_large(&self) -> Fault {
        let why = text!("the answer is larger than {} MiB", ANSWER_BYTES_MAX >> 20);
        self.fault(FaultKind::Malformed, why, "aggregate in the query: a gate needs one series")
    }

    fn broken(&self, why: &reqwest::Error) -> Fault {
        if why.is_timeout() {
            return self.late();
        }
        self.fault(FaultKind::Unreachable, chain(why), "check the address, port forwarding and the network")
    }

    fn refused(&self, raw: &Raw) -> Fault {
        let said = answer::error(&raw.body);
        let why = match &said {
            Some(said) => text!("{}: {said}", raw.status.as_u16()),
            None => text!("{}", raw.status),
        };
        let (kind, hint) = match raw.status.as_u16() {
            300..=399 => {
                (FaultKind::Malformed, "it redirects, which is not followed: give the address it redirects to")
            }
            400 | 422 => (FaultKind::Unprocessable, "correct the query in the analysis template"),
            401 => (FaultKind::Unauthorized, "it wants credentials"),
            403 => (FaultKind::Forbidden, "it refuses this query"),
            404 => (FaultKind::NotFound, "there is no query API at this address; a path prefix may be missing"),
            429 => (FaultKind::Throttled(raw.retry_after.unwrap_or(0)), "it is queried too often"),
            503 if said.as_ref().is_some_and(|s| s.contains("timeout") || s.contains("timed out")) => {
                (FaultKind::Timeout, "simplify the query, or look at the load of the server")
            }
            _ => (FaultKind::Server, "look at the server"),
        };
        self.fault(kind, why, hint)
    }
}

impl Metrics for Prometheus {
    fn query<'a>(&'a self, promql: &'a str) -> Fut<'a, Result<Sample, Fault>> {
        Box::pin(async move {
            let form = [("query", promql.to_owned()), ("timeout", format!("{}s", DEADLINE.as_secs()))];
            let (data, date) = self.ask("query", &form).await?;
            let scalar = data.scalar;
            let newest = data.series.iter().flatten().map(|(at, _)| *at).max();
            let age = newest.zip(date).map(|(newest, date)| {
                // The Date header counts whole seconds: a second is not age.
                Duration::try_from(date.duration_since(newest)).unwrap_or_default()
            });
            let values = data.series.into_iter().flatten().map(|(_, value)| value).collect();
            Ok(Sample { values, scalar, age })
        })
    }

    fn range<'a>(
        &'a self,
        promql: &'a str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Fut<'a, Result<Vec<Point>, Fault>> {
        Box::pin(async move {
            let span = u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0);
            let step = step.max(Duration::from_secs(1)).max(Duration::from_secs(span / STEPS_MAX + 1).min(step * 1000));
            let form = [
                ("query", promql.to_owned()),
                ("start", seconds(from)),
                ("end", seconds(to)),
                ("step", format!("{:.3}", step.as_secs_f64())),
                ("timeout", format!("{}s", DEADLINE.as_secs())),
            ];
            let (data, _) = self.ask("query_range", &form).await?;
            let first = data.series.into_iter().next().unwrap_or_default();
            Ok(first.into_iter().map(|(at, v)| Point { at, value: Some(v).filter(|v| v.is_finite()) }).collect())
        })
    }
}

/// A time as Prometheus takes it: seconds since 1970, with thousandths.
fn seconds(at: Timestamp) -> String {
    format!("{}.{:03}", at.as_second(), at.subsec_millisecond().max(0))
}

/// A form body.
fn encoded(form: &[(&str, String)]) -> String {
    reqwest::Url::parse_with_params("x:/", form).ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

/// An error with its causes, without the address in it (that may carry credentials).
fn chain(why: &dyn std::error::Error) -> Text {
    let mut out = Vec::new();
    let mut next = why.source();
    while let Some(cause) = next {
        out.push(cause.to_string());
        next = cause.source();
    }
    out.dedup();
    if out.is_empty() { Text::scrub("the request failed") } else { text!("{}", out.join(": ")) }
}

#[cfg(test)]
mod tests;
