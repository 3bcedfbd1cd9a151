//! The conformance table on the real Argo Rollouts controller. The cases are in `tests/conformance`.

use std::sync::Arc;

use crate::conformance::{self, cases, stage::Stage};
use crate::controlplane;
use crate::prometheus::Prometheus;

/// How many cases run at once: as many as the controller's own client rate bears without slowing the quick ones.
const AT_ONCE: usize = 10;

#[test]
fn the_real_controller_behaves_as_the_table_says() {
    let plane = controlplane::shared();
    let prometheus = Prometheus::start(9);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases = cases::all();
    let names: Vec<_> = cases.iter().map(|_| plane.namespace()).collect();
    let failed = runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = kube::Config::from_custom_kubeconfig(
            kube::config::Kubeconfig::read_from(plane.kubeconfig()).unwrap(),
            &kube::config::KubeConfigOptions { context: Some("dev".into()), ..Default::default() },
        )
        .await
        .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        conformance::run(cases, AT_ONCE, async |n| {
            Stage::new(client.clone(), names[n].name(), prometheus.address(), Arc::new(jiff::Timestamp::now))
        })
        .await
    });
    assert!(failed.is_empty(), "{} behaviours do not hold:\n{}", failed.len(), failed.join("\n"));
}
