//! The tap on the simulated API server: every write to what a train is about, with who sent it, when it was sent and when it
//! landed. It changes nothing, and judges nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use footplate::rehearsal::Shared;
use footplate::rehearsal::kinds::{self, Kind};
use footplate::rehearsal::store::{Held, Store, What};
use futures::FutureExt;
use jiff::Timestamp;
use serde_json::Value;

use super::scenario::Ms;

/// Kinds that are followed.
static FOLLOWED: [&Kind; 7] = [
    &kinds::ROLLOUT,
    &kinds::DEPLOYMENT,
    &kinds::CONFIG_MAP,
    &kinds::RELEASE,
    &kinds::LEASE,
    &kinds::JOB,
    &kinds::FEATURE_FLAG,
];

/// Who wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// The controllers.
    Cluster,
    /// Somebody with kubectl, or the campaign itself.
    Hand,
    /// A conductor.
    Conductor(String),
    /// The captain's cockpit.
    Cockpit,
}

/// One write that landed.
#[derive(Clone, Debug)]
pub struct Write {
    pub who: Who,
    /// When the client sent it; for others when it landed.
    pub sent: Ms,
    pub landed: Ms,
    /// The resourceVersion that it made.
    pub version: u64,
    /// As the server calls it (`rollouts`).
    pub kind: &'static str,
    pub name: String,
    pub before: Value,
    /// Null when it is gone.
    pub after: Value,
}

#[derive(Debug, Default)]
struct Inner {
    told: u64,
    writes: Vec<Write>,
    requests: u64,
    /// Of each wire: the second, and how many requests were sent in it.
    second: BTreeMap<usize, (Ms, BTreeMap<String, u64>)>,
    /// The most that one client sent in a second, and what most of it was.
    most: (u64, String),
}

/// More requests of one client in a second are held back: whoever sends so many would send for ever, and no time would pass.
pub const FLOOD: u64 = 250;

/// See the room's first lines.
#[derive(Clone, Debug)]
pub struct Tap {
    start: Timestamp,
    inner: Arc<Mutex<Inner>>,
}

/// When a request was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent(pub Ms);

/// Milliseconds since the start.
pub fn since(start: Timestamp, now: Timestamp) -> Ms {
    u64::try_from(now.duration_since(start).as_millis()).unwrap_or(0)
}

impl Tap {
    /// Follows from what is there now.
    pub fn new(store: &Store, start: Timestamp) -> Self {
        let inner = Inner { told: store.version(), ..Inner::default() };
        Self { start, inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// What was written so far, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.clone()
    }

    /// Somebody sends a request; true when it is one too many.
    pub fn asked(&self, wire: usize, now: Ms, request: &Request) -> bool {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let (second, asked) = inner.second.entry(wire).or_default();
        if *second != now / 1000 {
            *second = now / 1000;
            asked.clear();
        }
        *asked.entry(format!("{} {}", request.method(), request.uri().path())).or_default() += 1;
        let count: u64 = asked.values().sum();
        if count > inner.most.0 {
            let what = asked.iter().max_by_key(|(_, n)| **n).map_or("", |(what, _)| what.as_str());
            inner.most = (count, format!("{what} at {now}"));
        }
        count > FLOOD
    }

    /// The most that one client sent in a second, and what most of it was.
    pub fn most(&self) -> (u64, String) {
        self.lock().most.clone()
    }

    /// How many requests arrived at the server.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    /// What happened since the last look was this one's doing.
    pub fn look(&self, store: &Store, who: &Who, sent: Option<Ms>) {
        let mut inner = self.lock();
        if store.version() == inner.told {
            return;
        }
        let landed = since(self.start, store.now());
        let mut news = Vec::new();
        for kind in FOLLOWED {
            let changes = store.changes(kind, inner.told).expect("looked at before the store forgets");
            news.extend(changes.map(|change| Write {
                who: who.clone(),
                sent: sent.unwrap_or(landed),
                landed,
                version: change.version,
                kind: kind.plural,
                name: change.object.name().to_owned(),
                before: change.before.as_deref().map_or(Value::Null, |held: &Held| (**held).clone()),
                after: if change.what == What::Deleted { Value::Null } else { (**change.object).clone() },
            }));
        }
        news.sort_by_key(|write| write.version);
        inner.told = store.version();
        inner.writes.extend(news);
    }

    /// The same server, with every write of this client followed.
    pub fn around(&self, router: Router, store: Shared, who: Who) -> Router {
        let tap = self.clone();
        router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let (tap, store, who) = (tap.clone(), store.clone(), who.clone());
            async move {
                tap.lock().requests += 1;
                if *request.method() == http::Method::GET {
                    return next.run(request).await;
                }
                let sent = request.extensions().get::<Sent>().map(|sent| sent.0);
                tap.look(&store.lock(), &Who::Cluster, None);
                // What is waited for in between could be somebody else's doing.
                let response = next.run(request).now_or_never().expect("a write is answered in one go");
                tap.look(&store.lock(), &who, sent);
                response
            }
        }))
    }
}
