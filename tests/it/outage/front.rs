//! A rehearsal cluster on a loopback port with a door before it: open, silent (connections are taken and nothing ever comes),
//! or gone. Behind the door the faults of the rehearsal can be set, and whole kinds taken away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use footplate::rehearsal::clock::{RehearsalClock, SharedWorld, drive};
use footplate::rehearsal::controllers::pod::Fates;
use footplate::rehearsal::faults::{self, Faults};
use footplate::rehearsal::store::Store;
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, api, kinds};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the door is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    Open,
    Silent,
    Gone,
}

/// A cluster that can be made unreachable in every way.
pub struct Front {
    pub store: Shared,
    pub faults: Faults,
    pub address: SocketAddr,
    /// Parts of paths that the server does not serve.
    pub unserved: Arc<Mutex<Vec<&'static str>>>,
    /// Tokens that are accepted; none means that nobody is asked for one.
    pub token: Arc<Mutex<Option<String>>>,
    door: watch::Sender<Door>,
    _runtime: tokio::runtime::Runtime,
}

fn rollout(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name, "namespace": "payments"},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": name}},
            "strategy": {"canary": {"steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": format!("registry.example/{name}:{version}")}]},
            },
        },
    })
}

impl Front {
    /// A cluster of two rollouts; `billing-api` is paused at a quarter.
    pub fn start(door: Door) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let now = jiff::Timestamp::now();
        let mut store = Store::new(3, now);
        store.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "payments"}})).unwrap();
        for name in ["billing-api", "ledger-api"] {
            store.create(&kinds::ROLLOUT, "payments", rollout(name, "1.0.0")).unwrap();
        }
        let store = Shared::new(store);
        let faults = Faults::new(1, now);
        let (unserved, token) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let router = faults::around(api::router(store.clone()), store.clone(), faults.clone());
        let rules = (Arc::clone(&unserved), Arc::clone(&token));
        let router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
            let early = early(&request, &rules.0.lock().unwrap(), rules.1.lock().unwrap().as_deref());
            async move {
                match early {
                    Some(response) => response,
                    None => next.run(request).await,
                }
            }
        }));
        let (door, watched) = watch::channel(door);
        let (inner, outer) = runtime.block_on(async {
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap())
        });
        let (inside, address) = (inner.local_addr().unwrap(), outer.local_addr().unwrap());
        drop(outer);
        let world = SharedWorld::new(World::bare(store.clone(), Fates::default(), 3));
        runtime.spawn(drive(world, RehearsalClock::new(now, 1.0)));
        runtime.spawn(async move { axum::serve(inner, router).await });
        runtime.spawn(keep_door(address, inside, watched));
        let front = Self { store, faults, address, unserved, token, door, _runtime: runtime };
        front.until("both are healthy", |name, r| name.is_empty() || r["status"]["phase"] == "Healthy");
        front.deploy("billing-api", "2.0.0");
        front.until("billing-api pauses", |name, r| name != "billing-api" || r["status"]["phase"] == "Paused");
        front
    }

    /// Opens, silences or takes away.
    pub fn door(&self, door: Door) {
        self.door.send_replace(door);
    }

    pub fn deploy(&self, name: &str, version: &str) {
        let image = json!(format!("registry.example/{name}:{version}"));
        let set = |object: &mut Value| object["spec"]["template"]["spec"]["containers"][0]["image"] = image;
        self.store.lock().update(&kinds::ROLLOUT, "payments", name, set).unwrap();
    }

    /// Puts a flag there.
    pub fn flag(&self, key: &str) {
        let flags =
            json!({ key: {"state": "ENABLED", "defaultVariant": "off", "variants": {"on": true, "off": false}} });
        let object = json!({
            "apiVersion": "core.openfeature.dev/v1beta1", "kind": "FeatureFlag",
            "metadata": {"name": "payments-flags", "namespace": "payments"}, "spec": {"flagSpec": {"flags": flags}},
        });
        self.store.lock().create(&kinds::FEATURE_FLAG, "payments", object).unwrap();
    }

    pub fn rollout(&self, name: &str) -> Value {
        Value::clone(&self.store.lock().get(&kinds::ROLLOUT, "payments", name).unwrap())
    }

    /// Waits until every rollout is so.
    pub fn until(&self, what: &str, so: impl Fn(&str, &Value) -> bool) {
        let start = std::time::Instant::now();
        while !["billing-api", "ledger-api"].iter().all(|name| so(name, &self.rollout(name))) {
            assert!(start.elapsed().as_secs() < 30, "never: {what}: {}", self.rollout("billing-api"));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// A kubeconfig with this user.
    pub fn kubeconfig(&self, user: &Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "dev",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "ana", "user": user}],
            "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "ana", "namespace": "payments"}}],
        })
        .to_string()
    }
}

/// What is answered before anything else is looked at: a path that nobody serves, a token that nobody knows.
fn early(request: &Request, unserved: &[&str], token: Option<&str>) -> Option<Response> {
    let json = |code: u16, body: Value| {
        let response = Response::builder().status(code).header("content-type", "application/json");
        response.body(Body::from(body.to_string())).unwrap()
    };
    let given = request.headers().get("authorization").and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    if token.is_some_and(|token| given != Some(token)) {
        return Some(json(
            401,
            json!({"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}),
        ));
    }
    let path = request.uri().path();
    unserved
        .iter()
        .any(|part| path.contains(part))
        .then(|| Response::builder().status(404).body(Body::from("404 page not found\n")).unwrap())
}

async fn keep_door(outside: SocketAddr, inside: SocketAddr, mut door: watch::Receiver<Door>) {
    let outer = door.clone();
    loop {
        if door.wait_for(|d| *d != Door::Gone).await.is_err() {
            return;
        }
        let Ok(listener) = TcpListener::bind(outside).await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        loop {
            tokio::select! {
                gone = door.wait_for(|d| *d == Door::Gone) => {
                    if gone.is_err() { return }
                    break;
                }
                Ok((stream, _)) = listener.accept() => drop(tokio::spawn(carry(stream, inside, outer.clone()))),
            }
        }
    }
}

/// One connection: carried while the door is open, held and never answered while it is silent, dropped otherwise.
async fn carry(mut stream: TcpStream, inside: SocketAddr, mut door: watch::Receiver<Door>) {
    let now = *door.borrow_and_update();
    if now == Door::Open {
        let Ok(mut server) = TcpStream::connect(inside).await else { return };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut stream, &mut server) => return,
            _ = door.changed() => {}
        }
    }
    while *door.borrow_and_update() == Door::Silent {
        if door.changed().await.is_err() {
            return;
        }
    }
}
