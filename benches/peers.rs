//! footplate beside its peers, as their users run them: a program in a pty of 120x40, an API server on loopback with 50 or
//! 1,000 rollouts, and the clock. Start-up, a change in the cluster to its number on the screen, idle and busy cost. A peer
//! that is not on PATH is said to be missing, and left out.
//!
//! `cargo bench --bench peers [-- ROLLOUTS ...]`; `FOOTPLATE_BENCH_SECONDS` sets the length of the idle window (20).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../tests/pty/program.rs"]
mod program;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate::rehearsal::store::Store;
use footplate::rehearsal::{Shared, api, kinds};
use program::Program;
use serde_json::{Value, json};

const COLUMNS: u16 = 120;
const ROWS: u16 = 40;
const PODS: usize = 10;
/// Names that only a program itself draws; what is measured is the row of the first rollout.
const PROBE: &str = "svc-0000";

/// A program to measure.
struct Peer {
    name: &'static str,
    command: Vec<String>,
    /// Where a change of the probe shows: a traffic weight, or the count of updated replicas.
    shows: Shows,
}

#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Weight,
    Updated,
}

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let sizes = if arguments.is_empty() { vec![50, 1000] } else { arguments };
    let idle = std::env::var("FOOTPLATE_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    for rollouts in sizes {
        println!("\n{rollouts} rollouts, {} pods", rollouts * PODS);
        println!("{:<12} {:>9} {:>9}  {:>9} {:>9} {:>9}  {:>8} {:>7} {:>8}  {:>9} {:>9}", "", "first s", "live s", "change ms", "p95", "max",
            "idle B/s", "CPU %", "RSS MiB", "busy B/s", "CPU %");
        let cluster = Cluster::serve(rollouts);
        for peer in peers() {
            if which(&peer.command[0]).is_none() {
                println!("{:<12} not on PATH", peer.name);
                continue;
            }
            match measure(&peer, &cluster, rollouts, idle) {
                Ok(row) => println!("{:<12} {row}", peer.name),
                Err(why) => println!("{:<12} not measured: {why}", peer.name),
            }
        }
    }
}

fn peers() -> Vec<Peer> {
    let own = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    vec![
        Peer { name: "footplate", command: own(&[env!("CARGO_BIN_EXE_footplate"), "--context", "bench", "--namespace", "bench"]), shows: Shows::Weight },
        Peer { name: "get -w", command: own(&["kubectl-argo-rollouts", "get", "rollout", PROBE, "-n", "bench", "--watch"]), shows: Shows::Weight },
        Peer { name: "kubectl -w", command: own(&["kubectl", "get", "rollouts", "-n", "bench", "-w"]), shows: Shows::Updated },
        Peer { name: "k9s", command: own(&["k9s", "-c", "rollouts", "-n", "bench", "--splashless"]), shows: Shows::Updated },
    ]
}

fn which(command: &str) -> Option<PathBuf> {
    if command.contains('/') {
        return Path::new(command).exists().then(|| command.into());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|p| p.join(command)).find(|p| p.is_file())
}

fn measure(peer: &Peer, cluster: &Cluster, rollouts: usize, idle_s: u64) -> Result<String, String> {
    let command: Vec<&str> = peer.command.iter().map(String::as_str).collect();
    let kubeconfig = cluster.kubeconfig.to_str().unwrap();
    let home = cluster.home.path().to_str().unwrap();
    let env = [("KUBECONFIG", kubeconfig), ("HOME", home), ("FOOTPLATE_STATE_DIR", home), ("FOOTPLATE_CONFIG_DIR", home), ("NO_COLOR", ""), ("SSH_CONNECTION", "")];
    let start = || Program::spawn(&command, &env, COLUMNS, ROWS);

    // Start-up, three times: the first visible character, and the probe's own row.
    let (mut first, mut live) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        cluster.set(PROBE, 25);
        let program = start();
        let painted = program.wait(Duration::from_secs(30), |t| !t.trim().is_empty())?;
        first.push((painted - program.started()).as_secs_f64());
        let shown = program.wait(Duration::from_secs(30), |t| t.contains(PROBE))?;
        live.push((shown - program.started()).as_secs_f64());
    }

    let program = start();
    program.wait(Duration::from_secs(30), |t| t.contains(PROBE))?;
    std::thread::sleep(Duration::from_secs(2));

    // A change in the cluster to its number on the screen, from the watch event on.
    let mut late: Vec<f64> = Vec::new();
    for n in 0..25_u32 {
        let number = 31 + (n * 7) % 60;
        std::thread::sleep(Duration::from_millis(u64::from(400 + (n * 613) % 1400)));
        let wanted = match peer.shows {
            Shows::Weight => format!("{number}"),
            Shows::Updated => format!("{}", 100_000 + number),
        };
        let changed = Instant::now();
        match peer.shows {
            Shows::Weight => cluster.set(PROBE, number),
            Shows::Updated => cluster.set_updated(PROBE, 100_000 + number),
        }
        let on_screen = program.wait(Duration::from_secs(5), |t| shown_in_row(t, &wanted, peer.shows))?;
        late.push(on_screen.saturating_duration_since(changed).as_secs_f64() * 1000.0);
    }
    late.sort_by(f64::total_cmp);

    std::thread::sleep(Duration::from_secs(3));
    let (cpu_before, _) = program.usage();
    let since = Instant::now();
    std::thread::sleep(Duration::from_secs(idle_s));
    let (cpu_after, rss) = program.usage();
    let idle_bytes: usize = program.bytes_by_second(since, idle_s as usize).iter().sum();

    // Ten rollouts step at once, every three seconds.
    let (cpu_busy, _) = program.usage();
    let since = Instant::now();
    for round in 0..4_u32 {
        for n in 0..rollouts.min(10) {
            cluster.set(&name(n), 10 + round * 20);
        }
        std::thread::sleep(Duration::from_secs(3));
    }
    let busiest = program.bytes_by_second(since, 12).into_iter().max().unwrap_or(0);
    let (cpu_end, _) = program.usage();

    let middle = |v: &mut Vec<f64>| {
        v.sort_by(f64::total_cmp);
        v[v.len() / 2]
    };
    Ok(format!(
        "{:>9.3} {:>9.3}  {:>9.1} {:>9.1} {:>9.1}  {:>8.1} {:>7.2} {:>8.1}  {:>9} {:>9.1}",
        middle(&mut first),
        middle(&mut live),
        late[late.len() / 2],
        late[late.len() * 95 / 100],
        late[late.len() - 1],
        idle_bytes as f64 / idle_s as f64,
        (cpu_after - cpu_before) / idle_s as f64 * 100.0,
        rss as f64 / 1024.0,
        busiest,
        (cpu_end - cpu_busy) / 12.0 * 100.0,
    ))
}

/// True when the number stands where the program shows the probe.
fn shown_in_row(screen: &str, wanted: &str, shows: Shows) -> bool {
    match shows {
        Shows::Updated => screen.contains(wanted),
        Shows::Weight => screen.lines().any(|l| {
            (l.contains(PROBE) || l.contains("ActualWeight")) && l.split(|c: char| !c.is_ascii_digit()).any(|word| word == wanted)
        }),
    }
}

fn name(n: usize) -> String {
    format!("svc-{n:04}")
}

/// An API server on loopback, whose rollouts no controller touches.
struct Cluster {
    store: Shared,
    kubeconfig: PathBuf,
    home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn serve(rollouts: usize) -> Self {
        let mut store = Store::new(7, "2026-01-07T14:00:00Z".parse().unwrap());
        store.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "bench"}})).unwrap();
        for n in 0..rollouts {
            populate(&mut store, n);
        }
        let store = Shared::new(store);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = api::router(store.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        let home = tempfile::tempdir().unwrap();
        let kubeconfig = home.path().join("kubeconfig");
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "bench", "user": {}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench", "namespace": "bench"}}]});
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { store, kubeconfig, home, _runtime: runtime }
    }

    fn set(&self, rollout: &str, weight: u32) {
        let change = |o: &mut Value| o["status"]["canary"]["weights"]["canary"]["weight"] = json!(weight);
        self.store.lock().update_status(&kinds::ROLLOUT, "bench", rollout, change).unwrap();
    }

    fn set_updated(&self, rollout: &str, updated: u32) {
        let change = |o: &mut Value| o["status"]["updatedReplicas"] = json!(updated);
        self.store.lock().update_status(&kinds::ROLLOUT, "bench", rollout, change).unwrap();
    }
}

/// One routed canary at its first pause, its two replica sets and their pods.
fn populate(store: &mut Store, n: usize) {
    let service = name(n);
    let template = |version: &str| {
        json!({"metadata": {"labels": {"app": service}},
            "spec": {"containers": [{"name": "app", "image": format!("registry.example/{service}:{version}"), "ports": [{"containerPort": 8080}]}]}})
    };
    let rollout = store
        .create(&kinds::ROLLOUT, "bench", json!({"metadata": {"name": service, "annotations": {"rollout.argoproj.io/revision": "2"}},
            "spec": {"replicas": 8, "selector": {"matchLabels": {"app": service}}, "template": template("2.0.0"),
                "strategy": {"canary": {"stableService": "s", "canaryService": "c", "trafficRouting": {"nginx": {"stableIngress": "i"}},
                    "steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}, {"setWeight": 100}]}}},
            "status": {"currentPodHash": "new", "stableRS": "old", "currentStepIndex": 1, "observedGeneration": "1", "phase": "Paused",
                "message": "CanaryPauseStep", "replicas": 10, "updatedReplicas": 2, "readyReplicas": 10, "availableReplicas": 10,
                "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-01-07T14:00:00Z"}], "controllerPause": true,
                "canary": {"weights": {"canary": {"weight": 25, "podTemplateHash": "new"}, "stable": {"weight": 75, "podTemplateHash": "old"}}}}}))
        .unwrap();
    let owner = |kind: &str, name: &str, uid: &str, version: &str| {
        json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true}])
    };
    for (revision, (hash, version, replicas)) in [("old", "1.0.0", 8_usize), ("new", "2.0.0", 2)].into_iter().enumerate() {
        let set_name = format!("{service}-{hash}");
        let set = store
            .create(&kinds::REPLICA_SET, "bench", json!({"metadata": {"name": set_name, "labels": {"app": service, "rollouts-pod-template-hash": hash},
                "annotations": {"rollout.argoproj.io/revision": format!("{}", revision + 1)},
                "ownerReferences": owner("Rollout", &service, rollout.uid(), "argoproj.io/v1alpha1")},
                "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": service}}, "template": template(version)},
                "status": {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}}))
            .unwrap();
        for pod in 0..replicas {
            store
                .create(&kinds::POD, "bench", json!({"metadata": {"name": format!("{set_name}-{pod:05}"), "labels": {"app": service, "rollouts-pod-template-hash": hash},
                    "ownerReferences": owner("ReplicaSet", &set_name, set.uid(), "apps/v1")},
                    "spec": template(version)["spec"],
                    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                        "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "state": {"running": {}}}]}}))
                .unwrap();
        }
    }
}
