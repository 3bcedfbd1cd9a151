//! Gates as the real Argo Rollouts judges them with a real Prometheus. What footplate itself does is tested elsewhere.

use std::time::Duration;

use crate::controlplane::{shared, wait_for};
use crate::prometheus::Prometheus;
use crate::sample;
use crate::traffic::{Behaviour, Traffic};

#[test]
fn a_version_with_30_percent_errors_is_aborted_at_weight_25() {
    let plane = shared();
    let ns = plane.namespace();
    let traffic = Traffic::start(&plane.kubeconfig(), ns.name());
    let prometheus = Prometheus::start(traffic.port());
    traffic.behaves("billing-api", "2.8.0", Behaviour { error_rate: 0.3, ..Behaviour::default() });
    sample::apply(plane, ns.name(), prometheus.address());
    sample::all_healthy(plane, ns.name());

    let rollout = ["rollouts.argoproj.io", "billing-api", "-n", ns.name()];
    plane.plugin(&["set", "image", "billing-api", "app=registry.example/payments/billing-api:2.8.0", "-n", ns.name()]);
    let mut highest = 0;
    let status = wait_for("billing-api is aborted", Duration::from_secs(120), || {
        let status = plane.objects(&rollout)[0]["status"].clone();
        highest = highest.max(status["canary"]["weights"]["canary"]["weight"].as_u64().unwrap_or(0));
        if status["abort"] == true && status["phase"] == "Degraded" {
            Ok(status)
        } else {
            Err(status["message"].to_string())
        }
    });
    assert_eq!(highest, 25);
    assert!(status["message"].as_str().unwrap().contains("RolloutAborted"), "{}", status["message"]);
    wait_for("no traffic on 2.8.0", Duration::from_secs(10), || match traffic.share("billing-api", "2.8.0") {
        0.0 => Ok(()),
        share => Err(share.to_string()),
    });

    let runs = plane.objects(&["analysisruns.argoproj.io", "-n", ns.name()]);
    let errors = runs[0]["status"]["metricResults"]
        .as_array()
        .unwrap()
        .iter()
        .find(|metric| metric["name"] == "http-error-rate")
        .unwrap();
    let value = errors["measurements"][0]["value"].as_str().unwrap().trim_matches(['[', ']']).parse::<f64>().unwrap();
    assert!((0.29..0.31).contains(&value), "the canary's own series reads {value}");
}
