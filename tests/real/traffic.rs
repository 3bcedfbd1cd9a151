//! The traffic that the fake pods do not have: reads once a second which version of each workload of a namespace gets which
//! share, as the real controllers report it, and counts requests for a Prometheus to scrape. Changes nothing in the cluster.
//!
//! It is arithmetic, not chance: a version with 30 % errors has 30 % errors in every second.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 16] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// How one version of a service answers.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// Part of its requests answered with status 500.
    pub error_rate: f64,
    /// Seconds within which 95 % are answered.
    pub p95: f64,
    /// Requests a second that the whole service would get with this version alone.
    pub requests: f64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { error_rate: 0.002, p95: 0.14, requests: 200.0 }
    }
}

/// One version of a service in one ReplicaSet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    service: String,
    version: String,
    hash: String,
}

#[derive(Default)]
struct Counted {
    served: f64,
    failed: f64,
    buckets: [f64; BUCKETS.len()],
    seconds: f64,
}

#[derive(Default)]
struct World {
    behaviours: HashMap<(String, String), Behaviour>,
    shares: BTreeMap<Series, f64>,
    /// When each version of a service was first found to be sent requests.
    served: BTreeMap<(String, String), jiff::Timestamp>,
    counted: BTreeMap<Series, Counted>,
}

/// The traffic of one namespace. Ends when dropped.
pub struct Traffic {
    world: Arc<Mutex<World>>,
    port: u16,
    _runtime: Runtime,
}

impl Traffic {
    pub fn start(kubeconfig: &Path, namespace: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let port = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let seen = Arc::clone(&world);
            let app = Router::new().route("/metrics", get(move || async move { seen.lock().unwrap().exposition() }));
            tokio::spawn(async move { axum::serve(listener, app).await });
            let options = KubeConfigOptions { context: Some("dev".to_owned()), ..KubeConfigOptions::default() };
            let config =
                Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig).unwrap(), &options).await.unwrap();
            tokio::spawn(flow(Client::try_from(config).unwrap(), namespace.to_owned(), Arc::clone(&world)));
            port
        });
        Self { world, port, _runtime: runtime }
    }

    /// Where `/metrics` is served.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From the next second on.
    pub fn behaves(&self, service: &str, version: &str, behaviour: Behaviour) {
        self.world.lock().unwrap().behaviours.insert((service.to_owned(), version.to_owned()), behaviour);
    }

    /// When a version was first sent requests; within the second before which that was found.
    pub fn first_served(&self, service: &str, version: &str) -> Option<jiff::Timestamp> {
        self.world.lock().unwrap().served.get(&(service.to_owned(), version.to_owned())).copied()
    }

    /// The part of a service's requests that a version gets now, from 0 to 1.
    pub fn share(&self, service: &str, version: &str) -> f64 {
        let world = self.world.lock().unwrap();
        world
            .shares
            .iter()
            .filter(|(series, _)| series.service == service && series.version == version)
            .map(|(_, share)| share)
            .sum()
    }
}

impl World {
    /// Counts the requests of a stretch of time, and forgets the series of pods that are gone, as a scrape of them would.
    fn pass(&mut self, seconds: f64) {
        let World { behaviours, shares, counted, .. } = self;
        counted.retain(|series, _| shares.contains_key(series));
        for (series, share) in shares {
            let behaviour =
                behaviours.get(&(series.service.clone(), series.version.clone())).copied().unwrap_or_default();
            let requests = behaviour.requests * *share * seconds;
            let counted = counted.entry(series.clone()).or_default();
            counted.served += requests * (1.0 - behaviour.error_rate);
            counted.failed += requests * behaviour.error_rate;
            // Exponential: the simplest spread with a given 95th percentile.
            let mean = behaviour.p95 / 20_f64.ln();
            counted.seconds += requests * mean;
            for (bucket, bound) in counted.buckets.iter_mut().zip(BUCKETS) {
                *bucket += requests * (1.0 - (-bound / mean).exp());
            }
        }
    }

    /// The text format of Prometheus.
    fn exposition(&self) -> String {
        let (mut requests, mut durations) = (String::new(), String::new());
        for (Series { service, version, hash }, counted) in &self.counted {
            let labels = format!(r#"service="{service}",version="{version}",pod_template_hash="{hash}""#);
            let total = counted.served + counted.failed;
            writeln!(requests, r#"http_requests_total{{{labels},status="200"}} {}"#, counted.served).unwrap();
            writeln!(requests, r#"http_requests_total{{{labels},status="500"}} {}"#, counted.failed).unwrap();
            for (bucket, bound) in counted.buckets.iter().zip(BUCKETS) {
                writeln!(durations, r#"http_request_duration_seconds_bucket{{{labels},le="{bound}"}} {bucket}"#)
                    .unwrap();
            }
            writeln!(durations, r#"http_request_duration_seconds_bucket{{{labels},le="+Inf"}} {total}"#).unwrap();
            writeln!(durations, "http_request_duration_seconds_sum{{{labels}}} {}", counted.seconds).unwrap();
            writeln!(durations, "http_request_duration_seconds_count{{{labels}}} {total}").unwrap();
        }
        let lag: String = ["ledger-consumer", "notifications-worker"]
            .map(|group| format!("kafka_consumergroup_lag{{group=\"{group}\"}} 120\n"))
            .concat();
        format!(
            "# TYPE kafka_consumergroup_lag gauge\n{lag}# TYPE http_requests_total counter\n{requests}# TYPE http_request_duration_seconds histogram\n{durations}"
        )
    }
}

async fn flow(client: Client, namespace: String, world: Arc<Mutex<World>>) {
    let mut last = Instant::now();
    loop {
        let shares = look(&client, &namespace).await;
        let now = Instant::now();
        {
            let mut world = world.lock().unwrap();
            // Where a busy server does not answer, traffic goes on as it was.
            if let Ok(shares) = shares {
                for (series, _) in shares.iter().filter(|(_, share)| **share > 0.0) {
                    let version = (series.service.clone(), series.version.clone());
                    world.served.entry(version).or_insert_with(jiff::Timestamp::now);
                }
                world.shares = shares;
            }
            world.pass(now.duration_since(last).as_secs_f64());
        }
        last = now;
        tokio::time::sleep_until((now + Duration::from_secs(1)).into()).await;
    }
}

/// Which share of its service's requests each ReplicaSet that has pods gets.
async fn look(client: &Client, namespace: &str) -> kube::Result<BTreeMap<Series, f64>> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
    let rollouts =
        Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind).list(&ListParams::default()).await?;
    let sets = Api::<ReplicaSet>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    let weights: HashMap<String, Value> = rollouts
        .iter()
        .map(|rollout| (rollout.name_any(), rollout.data["status"]["canary"]["weights"].clone()))
        .collect();

    let mut pods: HashMap<String, f64> = HashMap::new();
    let mut live = Vec::new();
    for set in &sets {
        let available = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
        if let (Some(owner), true) = (set.owner_references().first(), available > 0) {
            *pods.entry(owner.name.clone()).or_default() += f64::from(available);
            live.push((set, owner, f64::from(available)));
        }
    }
    let shares = live.iter().filter_map(|(set, owner, available)| {
        let hash = set.labels().get("rollouts-pod-template-hash").or_else(|| set.labels().get("pod-template-hash"))?;
        let image = set.spec.template.as_ref()?.spec.as_ref()?.containers.first()?.image.as_deref()?;
        let share = match weights.get(&owner.name).filter(|weights| weights.is_object()) {
            Some(routed) => {
                ["canary", "stable"]
                    .iter()
                    .filter(|role| routed[*role]["podTemplateHash"] == hash.as_str())
                    .filter_map(|role| routed[*role]["weight"].as_f64())
                    .sum::<f64>()
                    / 100.0
            }
            // Without a router every available pod gets the same.
            None => available / pods[&owner.name],
        };
        let version = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        Some((Series { service: owner.name.clone(), version: version.to_owned(), hash: hash.clone() }, share))
    });
    Ok(shares.collect())
}
