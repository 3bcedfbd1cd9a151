//! Where the benches run: an API server on loopback, the rehearsal's or a real one, with a fleet that no controller touches, or
//! with controllers at work. Both are changed and watched over HTTP, by a client of our own that is none of the programs measured.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

#[path = "../tests/real/controlplane.rs"]
pub mod controlplane;
#[path = "../tests/made.rs"]
pub mod made;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use footplate::rehearsal::clock::{RehearsalClock, SharedWorld, drive};
use footplate::rehearsal::controllers::pod::Fates;
use footplate::rehearsal::store::Store;
use footplate::rehearsal::world::World;
use footplate::rehearsal::{Shared, api, kinds, serve};
use futures::{StreamExt, TryStreamExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use controlplane::ControlPlane;
use made::{Moment, NAMESPACE, PODS};

/// Writes that are under way at once.
const AT_ONCE: usize = 50;

/// How often each client asked: (program, verb and kind).
type Asked = Arc<Mutex<BTreeMap<(String, String), usize>>>;

/// A served fleet.
pub struct Ground {
    pub kubeconfig: PathBuf,
    pub context: &'static str,
    pub home: tempfile::TempDir,
    runtime: Runtime,
    client: kube::Client,
    cluster: Cluster,
}

enum Cluster {
    Simulated(Asked),
    Real(ControlPlane),
}

impl Ground {
    /// The rehearsal's API server on a loopback port, holding so many rollouts.
    pub fn simulated(rollouts: usize) -> Self {
        let runtime = runtime();
        let mut store = Store::new(7, "2026-01-07T14:00:00Z".parse().unwrap());
        store.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": NAMESPACE}})).unwrap();
        for n in 0..rollouts {
            let mut rollout = made::rollout(n);
            rollout["status"] = made::status(n, Moment::Healthy)["status"].take();
            let rollout = store.create(&kinds::ROLLOUT, NAMESPACE, rollout).unwrap();
            for (revision, pods) in PODS {
                let set = store.create(&kinds::REPLICA_SET, NAMESPACE, made::set(n, revision, rollout.uid())).unwrap();
                for k in 0..pods {
                    store.create(&kinds::POD, NAMESPACE, made::pod(n, revision, k, set.uid())).unwrap();
                }
            }
        }
        Self::served(runtime, api::router(Shared::new(store)))
    }

    fn served(runtime: Runtime, router: Router) -> Self {
        let asked = Asked::default();
        let count = Arc::clone(&asked);
        let router = router.layer(middleware::map_request(move |request: Request| {
            let (program, what) = described(&request);
            *count.lock().unwrap().entry((program, what)).or_default() += 1;
            std::future::ready(request)
        }));
        let listener = runtime.block_on(serve::bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve::serve(listener, router, std::future::pending()));
        let home = tempfile::tempdir().unwrap();
        let kubeconfig = home.path().join("kubeconfig");
        serve::write_kubeconfig(&kubeconfig, address, NAMESPACE).unwrap();
        let client = client(&runtime, &kubeconfig, "rehearsal");
        Self { kubeconfig, context: "rehearsal", home, runtime, client, cluster: Cluster::Simulated(asked) }
    }

    /// An empty cluster with controllers at work, in real time.
    pub fn with_controllers(real: bool) -> Self {
        let runtime = runtime();
        if real {
            return Self::on(ControlPlane::start(), runtime);
        }
        let now = jiff::Timestamp::now();
        let store = Shared::new(Store::new(7, now));
        let world = SharedWorld::new(World::bare(store.clone(), Fates::default(), 7));
        runtime.spawn(drive(world, RehearsalClock::new(now, 1.0)));
        Self::served(runtime, api::router(store))
    }

    fn on(plane: ControlPlane, runtime: Runtime) -> Self {
        let client = client(&runtime, &plane.kubeconfig(), "dev");
        let home = tempfile::tempdir().unwrap();
        Self { kubeconfig: plane.kubeconfig(), context: "dev", home, runtime, client, cluster: Cluster::Real(plane) }
    }

    /// A real API server without controllers; the fleet is written over the wire, status and all. With `FOOTPLATE_REAL_DIR`
    /// the one in that folder (started with FOOTPLATE_REAL_BARE=1), and what is missing of the fleet is added to it.
    pub fn real(rollouts: usize) -> Self {
        let ground = Self::on(ControlPlane::bare(), runtime());
        ground.write(rollouts);
        ground
    }

    fn write(&self, rollouts: usize) {
        let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.runtime.block_on(async {
            let _ = send(&self.client, "POST", "/api/v1/namespaces", &space).await;
            let before = get(&self.client, &collection(&kinds::ROLLOUT)).await;
            let there = before["items"].as_array().map_or(0, Vec::len);
            let begun = Instant::now();
            futures::stream::iter(there..rollouts).for_each_concurrent(AT_ONCE, |n| self.write_one(n)).await;
            if there < rollouts {
                println!(
                    "{} rollouts with 2 replica sets and 10 pods each written in {:.0} s",
                    rollouts - there,
                    begun.elapsed().as_secs_f64()
                );
            }
        });
    }

    async fn write_one(&self, n: usize) {
        let create = async |kind: &'static kinds::Kind, object: Value, status: Value| {
            let path = collection(kind);
            let made = send(&self.client, "POST", &path, &object).await.unwrap();
            let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
            let name = made["metadata"]["name"].as_str().unwrap();
            send(&self.client, "PATCH", &format!("{path}/{name}/status"), &json!({ "status": status })).await.unwrap();
            uid
        };
        let rollout =
            create(&kinds::ROLLOUT, made::rollout(n), made::status(n, Moment::Healthy)["status"].take()).await;
        for (revision, pods) in PODS {
            let set = made::set(n, revision, &rollout);
            let status = set["status"].clone();
            let set = create(&kinds::REPLICA_SET, set, status).await;
            for k in 0..pods {
                let pod = made::pod(n, revision, k, &set);
                let status = pod["status"].clone();
                create(&kinds::POD, pod, status).await;
            }
        }
    }

    /// One request of our own; a merge patch where it is a PATCH.
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.runtime.block_on(send(&self.client, method, path, body)).map_err(|error| error.to_string())
    }

    /// Programs beside us: on PATH, or as the control plane's build left them.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        if name.contains('/') {
            return Path::new(name).exists().then(|| name.into());
        }
        let built = std::process::Command::new(controlplane::script("controlplane/build.sh")).arg("--print").output();
        let built = built.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = built.lines().map(PathBuf::from).chain(std::env::split_paths(&path));
        dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
    }

    /// Makes these rollouts do something, all at once; over when the server has answered.
    pub fn set(&self, moments: &[(usize, Moment)]) {
        self.runtime.block_on(futures::future::join_all(moments.iter().map(|(n, moment)| async move {
            let path = format!("{}/{}/status", collection(&kinds::ROLLOUT), made::name(*n));
            send(&self.client, "PATCH", &path, &made::status(*n, *moment)).await.unwrap();
        })));
    }

    /// Watches rollouts: when each change came in.
    pub fn follow(&self, namespace: &str, selector: &str) -> Receiver<(Instant, Value)> {
        let (out, events) = channel();
        let client = self.client.clone();
        let path = format!("{}?watch=true{selector}", rollouts(namespace));
        self.runtime.spawn(async move {
            let request = http::Request::get(path).body(Vec::new()).unwrap();
            let mut events = Box::pin(client.request_events::<Value>(request).await.unwrap());
            while let Ok(Some(event)) = events.try_next().await {
                let at = Instant::now();
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event
                    && out.send((at, object)).is_err()
                {
                    return;
                }
            }
        });
        events
    }

    /// How often `program` asked since the last call, by verb and kind; of a real server everybody's requests, whose open
    /// watches are counted as `open`.
    pub fn asked(&self, program: &str) -> BTreeMap<String, usize> {
        match &self.cluster {
            Cluster::Simulated(asked) => {
                let all = std::mem::take(&mut *asked.lock().unwrap());
                all.into_iter().filter(|((by, _), _)| by == program).map(|((_, what), n)| (what, n)).collect()
            }
            Cluster::Real(_) => {
                let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
                metrics(&self.runtime.block_on(self.client.request_text(request)).unwrap())
            }
        }
    }

    pub fn is_real(&self) -> bool {
        matches!(self.cluster, Cluster::Real(_))
    }
}

fn runtime() -> Runtime {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn client(runtime: &Runtime, kubeconfig: &Path, context: &str) -> kube::Client {
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    runtime.block_on(async {
        let mut config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
        config.read_timeout = None;
        kube::Client::try_from(config).unwrap()
    })
}

/// The path of the rollouts of a namespace.
pub fn rollouts(namespace: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/rollouts")
}

fn collection(kind: &kinds::Kind) -> String {
    let root = if kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group) };
    format!("{root}/{}/namespaces/{NAMESPACE}/{}", kind.version, kind.plural)
}

async fn send(client: &kube::Client, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("Content-Type", kind);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    client.request(request.body(body).unwrap()).await
}

async fn get(client: &kube::Client, path: &str) -> Value {
    client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
}

/// Who asks, and for what.
fn described(request: &Request) -> (String, String) {
    let agent = request.headers().get("User-Agent").and_then(|a| a.to_str().ok()).unwrap_or_default();
    let program = agent.split(['/', ' ']).next().unwrap_or_default().to_owned();
    let path: Vec<&str> = request.uri().path().split('/').skip_while(|part| *part != "namespaces").skip(2).collect();
    let query = request.uri().query().unwrap_or_default();
    let verb = match (request.method().as_str(), path.len()) {
        ("GET", 1) if query.contains("watch=true") => "watch",
        ("GET", 1) if query.contains("continue=") => "page",
        ("GET", 1) => "list",
        ("GET", 2) => "get",
        ("PATCH", _) => "patch",
        _ => "other",
    };
    (program, format!("{verb} {}", path.first().unwrap_or(&"-")))
}

/// What a real API server counted, for the kinds that matter here.
fn metrics(page: &str) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for line in page.lines() {
        let (name, open) = match line {
            line if line.starts_with("apiserver_request_total{") => ("", false),
            line if line.starts_with("apiserver_longrunning_requests{") => ("open ", true),
            _ => continue,
        };
        let label = |key: &str| {
            let from = line.find(&format!("{key}=\""))? + key.len() + 2;
            line[from..].split('"').next()
        };
        let (Some(verb), Some(kind), Some("namespace")) =
            (label("verb"), label("resource"), label("scope").or(Some("namespace")))
        else {
            continue;
        };
        if verb == "WATCH" && !open {
            continue;
        }
        let count = line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
        *out.entry(format!("{name}{} {kind}", verb.to_lowercase())).or_default() += count as usize;
    }
    out
}

/// Waits for something, looking often.
pub fn until(patience: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
