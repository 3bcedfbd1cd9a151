//! The plan of a large repository: how long reading its files, parsing them, ordering the graph and writing the plan take,
//! beside the budgets of design.md §9 (graph and waves ≤ 150 ms at 10,000 services and 50,000 edges; the whole plan ≤ 4x
//! the time to read the files).
//!
//! `cargo bench --bench plan [-- SERVICES EDGES RELEASED_EVERY]`
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use footplate::adapters::repo::DiskRepo;
use footplate::core::graph;
use footplate::core::plan::{json, plan};
use footplate::core::repository::Draft;
use footplate::ports::Repo;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROUNDS: usize = 5;

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [services, edges, every] = match numbers[..] {
        [services, edges, every, ..] => [services, edges, every],
        [services, edges] => [services, edges, 1],
        _ => [10_000, 50_000, 1],
    };
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), services, edges, every);
    println!("{services} services, {written} edges, every {every}. released; best of {ROUNDS}");
    let mut best = [Duration::MAX; 5];
    for _ in 0..ROUNDS {
        for (best, now) in best.iter_mut().zip(round(dir.path())) {
            *best = (*best).min(now);
        }
    }
    let ms = |n: usize| best[n].as_secs_f64() * 1e3;
    println!("read files     {:8.1} ms", ms(0));
    println!("parse, 1 core  {:8.1} ms", ms(1));
    println!("graph, waves   {:8.1} ms  (budget 150)", ms(2));
    println!("plan as JSON   {:8.1} ms", ms(3));
    println!("whole command  {:8.1} ms  = {:.1}x reading (budget 4)", ms(4), ms(4) / ms(0));
}

/// A layered repository: each service needs earlier ones that are not far, half by name, half by contract.
fn write(dir: &Path, services: usize, edges: usize, every: usize) -> usize {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut needs = vec![BTreeSet::new(); services];
    let mut written = 0;
    for _ in 0..edges * 4 {
        if written == edges {
            break;
        }
        let to = rng.random_range(1..services);
        let from = to - 1 - rng.random_range(0..to.min(2000));
        written += usize::from(needs[to].insert(from));
    }
    let mut release = "release: big\nservices:\n".to_owned();
    for (n, needs) in needs.iter().enumerate() {
        let name = format!("service-{n:05}");
        let half = |odd: usize, suffix: &str| {
            let names = needs.iter().filter(|d| *d % 2 == odd).map(|d| format!("service-{d:05}{suffix}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let edge = if n >= services - services / 100 { "edge: true\n" } else { "" };
        let text = format!(
            "name: {name}\nimage: registry.example/payments/{name}\ndependsOn: [{}]\nexposesContracts: [{name}.http]\n\
             consumesContracts: [{}]\n{edge}workload:\n  kind: Rollout\n  container: app\nhealth: /readyz\nslo:\n  \
             errorRate: 0.01\n  p95: 250ms\n  p99: 400ms\n  max5xxPerSecond: 25\n",
            half(0, ""),
            half(1, ".http"),
        );
        let folder = dir.join("services").join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("service.yaml"), text).unwrap();
        if n % every == 0 {
            let _ = writeln!(release, "  {name}: 1.2.3");
        }
    }
    std::fs::write(dir.join("release.yaml"), release).unwrap();
    written
}

fn round(dir: &Path) -> [Duration; 5] {
    let begun = Instant::now();
    let root = DiskRepo.open(Some(&dir.join("release.yaml")), None).unwrap();
    let files = DiskRepo.services(&root).unwrap();
    let read = begun.elapsed();
    let begun = Instant::now();
    let mut draft = Draft::new(root.manifest.as_ref().unwrap(), None, "services".into());
    for (folder, file) in files {
        draft.service_file(folder, &file.unwrap());
    }
    let services: Vec<_> = (0..draft.service_files()).map(|n| draft.read_service(n)).collect();
    draft.services(services);
    let parsed = begun.elapsed();
    let repository = draft.finish(None, |_| true).unwrap();
    let begun = Instant::now();
    let (again, findings) = graph::build(&repository.sources, &repository.services, &repository.release, "services");
    let ordered = begun.elapsed();
    assert!(findings.is_empty() && again.as_ref() == Some(&repository.graph));
    let begun = Instant::now();
    std::hint::black_box(json::render(&plan(&repository)));
    let planned = begun.elapsed();
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_footplate"))
        .args(["plan", "release.yaml", "-o", "json"])
        .current_dir(dir)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success());
    [read, parsed, ordered, planned, begun.elapsed()]
}
