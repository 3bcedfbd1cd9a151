//! One client's way to the simulated API server and its metrics: what goes wrong on it when, by the clock of the script. Faults of
//! the server are `rehearsal::faults`; here is besides what a network and an old replica do.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use footplate::adapters::kubernetes::Kubernetes;
use footplate::adapters::prometheus::Prometheus;
use footplate::ports::{Cluster, Identity, Metrics};
use footplate::rehearsal::faults::{self, Cut, Fault, Faults, Rule};
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, api, prometheus};
use futures::{StreamExt, stream};
use jiff::Timestamp;

use super::scenario::{Act, Ms, Scenario, Trouble, Whose};
use super::stage::{CONTEXT, NS};
use super::tap::{Sent, Tap, Who, since};

/// One client's wire. Whoever sits at its end changes; the wire stays.
#[derive(Clone, Debug)]
pub struct Wire {
    number: usize,
    store: Shared,
    metrics: footplate::rehearsal::world::Metrics,
    pub faults: Faults,
    start: Timestamp,
    /// From, until, and by how many seconds writes are late.
    late: Arc<Vec<(Ms, Ms, u64, u8)>>,
    /// From, until, and by how many seconds watches lag behind.
    lags: Arc<Vec<(Ms, Ms, u64)>>,
    /// From and until: the metric store is gone.
    dark: Arc<Vec<(Ms, Ms)>>,
}

fn percent(share: u8) -> f64 {
    f64::from(share) / 100.0
}

/// The rules that a trouble is; none for what is no fault of the server.
fn rules(trouble: Trouble) -> Vec<Rule> {
    let of = |fault, verbs: &[&str]| Rule {
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..Rule::always(fault)
    };
    match trouble {
        Trouble::Throttled => vec![of(Fault::Throttle { retry_after: Some(1) }, &[])],
        // A conflict is the answer to a write.
        Trouble::Refused(409) => vec![of(Fault::Refuse { code: 409 }, &["patch", "update", "create"])],
        Trouble::Refused(code) => vec![of(Fault::Refuse { code }, &[])],
        Trouble::Slow(seconds) => vec![of(Fault::Latency { seconds }, &["get", "list", "patch", "create", "update"])],
        Trouble::Silent(landed) => vec![of(Fault::Timeout { landed, seconds: 60.0 }, &[])],
        Trouble::Reset(landed) => vec![of(Fault::Reset { landed }, &["get", "list", "patch", "create", "update"])],
        Trouble::Garbage => vec![of(Fault::Garbage, &[])],
        Trouble::WatchEnds => vec![of(Fault::WatchEnd { messages: 3 }, &["watch"])],
        Trouble::WatchGone => vec![of(Fault::WatchGone { messages: 3 }, &["watch"])],
        Trouble::WatchSilent => vec![of(Fault::WatchSilent { messages: 1 }, &["watch"])],
        Trouble::Late(_) | Trouble::Stale(_) => Vec::new(),
    }
}

impl Wire {
    /// The wire of somebody, as the script has it.
    pub fn new(world: &World, scenario: &Scenario, whose: Whose, start: Timestamp) -> Self {
        let number = match whose {
            Whose::Seat(n) => n,
            Whose::Cockpit => 99,
        };
        let faults = Faults::new(scenario.seed ^ ((number as u64) << 32), start);
        let (mut late, mut lags, mut dark) = (Vec::new(), Vec::new(), Vec::new());
        for (at, act) in &scenario.script {
            match act {
                Act::Wire(other, trouble, share, lasts) if *other == whose => {
                    let (from, until) = (*at, *at + *lasts);
                    if let Trouble::Late(by) = trouble {
                        late.push((from, until, *by, *share));
                    }
                    if let Trouble::Stale(by) = trouble {
                        lags.push((from, until, *by));
                    }
                    for rule in rules(*trouble) {
                        let seconds = |ms: Ms| ms as f64 / 1000.0;
                        faults.add(Rule {
                            chance: percent(*share),
                            from_s: seconds(from),
                            until_s: Some(seconds(until)),
                            ..rule
                        });
                    }
                }
                Act::NoMetrics(lasts) => dark.push((*at, *at + *lasts)),
                _ => {}
            }
        }
        Self {
            number,
            store: world.store().clone(),
            metrics: world.metrics().clone(),
            faults,
            start,
            late: Arc::new(late),
            lags: Arc::new(lags),
            dark: Arc::new(dark),
        }
    }

    /// Cuts what is open.
    pub fn cut(&self, how: u8) {
        self.faults.cut_watches([Cut::End, Cut::Gone, Cut::Silent][usize::from(how % 3)]);
    }

    /// A client at the end of it.
    pub fn client(&self, tap: &Tap, who: Who, seed: u64) -> (Arc<dyn Cluster>, Arc<dyn Metrics>) {
        let user = match &who {
            Who::Conductor(name) => name.as_str().into(),
            _ => "ana".into(),
        };
        let identity = Identity { context: CONTEXT.into(), server: "in process".into(), user, namespace: NS.into() };
        let server = tap.around(api::router(self.store.clone()), self.store.clone(), who);
        let server = faults::around(self.lagging(self.delayed(server)), self.store.clone(), self.faults.clone());
        let (wire, tap) = (self.clone(), tap.clone());
        let server = server.layer(middleware::from_fn(move |mut request: Request, next: Next| {
            let (wire, tap) = (wire.clone(), tap.clone());
            async move {
                let now = since(wire.start, wire.store.lock().now());
                if tap.asked(wire.number, now, &request) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                request.extensions_mut().insert(Sent(now));
                next.run(request).await
            }
        }));
        let metrics = self.darkened(prometheus::router(self.store.clone(), self.metrics.clone()));
        let metrics = Prometheus::within(metrics, prometheus::PREFIX);
        (Arc::new(Kubernetes::seeded(kube::Client::new(server, NS), identity, seed)), Arc::new(metrics))
    }

    /// Writes that are late arrive although whoever sent them has gone.
    fn delayed(&self, router: Router) -> Router {
        let wire = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let wire = wire.clone();
            async move {
                let now = since(wire.start, wire.store.lock().now());
                let due = wire.late.iter().find(|(from, until, ..)| (*from..*until).contains(&now));
                let Some((.., by, share)) = due.filter(|_| *request.method() != http::Method::GET) else {
                    return next.run(request).await;
                };
                // Which ones follows from when they are sent, so that nothing is drawn twice.
                if now.wrapping_mul(0x9e37_79b9) >> 7 & 127 >= u64::from(*share) * 128 / 100 {
                    return next.run(request).await;
                }
                let by = Duration::from_secs(*by);
                let sent = tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    next.run(request).await
                });
                sent.await.expect("it arrives")
            }
        }))
    }

    /// Watches that lag: an old replica tells everything, later. What is asked of it by name it asks its peers for, so that a
    /// read is never old.
    fn lagging(&self, router: Router) -> Router {
        let wire = self.clone();
        if wire.lags.is_empty() {
            return router;
        }
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let wire = wire.clone();
            async move {
                let watches = request.uri().query().is_some_and(|q| q.contains("watch=true"));
                let response = next.run(request).await;
                if watches { response.map(|body| wire.lag(body)) } else { response }
            }
        }))
    }

    fn lag(self, body: Body) -> Body {
        let (out, inbox) = tokio::sync::mpsc::unbounded_channel();
        let mut told = body.into_data_stream();
        tokio::spawn(async move {
            let mut last = tokio::time::Instant::now();
            // Whoever listens no more ends it, also where nothing is told any more.
            loop {
                let chunk = tokio::select! {
                    biased;
                    () = out.closed() => return,
                    chunk = told.next() => chunk,
                };
                let Some(chunk) = chunk else { return };
                let now = since(self.start, self.store.lock().now());
                let by = self.lags.iter().find(|(from, until, _)| (*from..*until).contains(&now)).map_or(0, |l| l.2);
                last = last.max(tokio::time::Instant::now() + Duration::from_secs(by));
                if out.send((last, chunk)).is_err() {
                    return;
                }
            }
        });
        Body::from_stream(stream::unfold(inbox, |mut inbox| async move {
            let (due, chunk) = inbox.recv().await?;
            tokio::time::sleep_until(due).await;
            Some((chunk, inbox))
        }))
    }

    /// The metric store, as long as it is there.
    fn darkened(&self, router: Router) -> Router {
        let wire = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let wire = wire.clone();
            async move {
                let now = since(wire.start, wire.store.lock().now());
                if wire.dark.iter().any(|(from, until)| (*from..*until).contains(&now)) {
                    let mut gone = Response::new(Body::from("upstream connect error"));
                    *gone.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    return gone;
                }
                next.run(request).await
            }
        }))
    }
}
