//! The sample environment (`assets/sample-env`) in a namespace of the real cluster. Sets no version and judges no gate.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::controlplane::{ControlPlane, must, shared, wait_for};

/// The services of the sample environment.
pub const SERVICES: usize = 10;

/// Applies the sample's objects to a namespace, its gates asking the Prometheus at `prometheus`, as `kubectl apply -k` does.
pub fn apply(plane: &ControlPlane, namespace: &str, prometheus: &str) {
    apply_with(plane, namespace, prometheus, str::to_owned);
}

/// The same, every file edited first.
pub fn apply_with(plane: &ControlPlane, namespace: &str, prometheus: &str, edit: impl Fn(&str) -> String) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sample-env/cluster");
    let dir = tempfile::tempdir().unwrap();
    must(Command::new("cp").arg("-r").arg(&sample).arg(dir.path()));
    for file in std::fs::read_dir(dir.path().join("cluster")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, edit(&text)).unwrap();
    }
    let metric = |index: usize| {
        format!(
            "      - {{op: replace, path: /spec/metrics/{index}/provider/prometheus/address, value: \"{prometheus}\"}}\n"
        )
    };
    let overlay = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: {namespace}\nresources: [cluster]\n\
         patches:\n  - target: {{kind: AnalysisTemplate}}\n    patch: |\n{}{}",
        metric(0),
        metric(1)
    );
    std::fs::write(dir.path().join("kustomization.yaml"), overlay).unwrap();
    plane.kubectl(&["apply", "-k", dir.path().to_str().unwrap()]);
}

/// Waits until every service of the sample runs what its spec says.
pub fn all_healthy(plane: &ControlPlane, namespace: &str) {
    wait_for("ten healthy services", Duration::from_secs(60), || {
        let found = plane.objects(&["rollouts.argoproj.io,deployments", "-n", namespace]);
        let waiting: Vec<_> =
            found.iter().filter(|object| !healthy(object)).map(|object| &object["metadata"]["name"]).collect();
        if found.len() == SERVICES && waiting.is_empty() {
            Ok(())
        } else {
            Err(format!("{} found, not healthy: {waiting:?}", found.len()))
        }
    });
}

fn healthy(object: &Value) -> bool {
    let (status, generation) = (&object["status"], &object["metadata"]["generation"]);
    if object["kind"] == "Rollout" {
        // A Rollout reports the generation it has seen as text.
        status["observedGeneration"].as_str() == Some(&generation.to_string()) && status["phase"] == "Healthy"
    } else {
        &status["observedGeneration"] == generation && status["availableReplicas"] == object["spec"]["replicas"]
    }
}

#[test]
fn all_ten_services_become_healthy() {
    let plane = shared();
    let ns = plane.namespace();
    apply(plane, ns.name(), "http://127.0.0.1:9090");
    all_healthy(plane, ns.name());
}
