//! `footplate doctor` on the real control plane, with all rights and with few: what it says of a verb is what the verb then
//! does.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, Namespace, shared, wait_for};
use crate::status::footplate_says;

fn doctor(plane: &ControlPlane, ns: &Namespace, context: &str) -> (Value, i32) {
    let args = ["doctor", "-o", "json", "--deadline", "60", "-n", ns.name(), "--context", context];
    let (code, out, err) = footplate_says(plane, &args);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    (report, code)
}

fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|c| c["id"] == id).unwrap_or_else(|| panic!("no {id} in {report:#}"))
}

#[test]
fn what_it_says_of_rights_is_what_happens() {
    let plane = shared();
    let ns = plane.namespace();
    let n = ns.name();
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/status.yaml");
    plane.kubectl(&["apply", "-n", n, "-f", objects.to_str().unwrap()]);

    let (report, code) = doctor(plane, &ns, "dev");
    assert_eq!(code, 0, "{report:#}");
    for id in ["cluster.reach", "cluster.clock", "cluster.identity", "cluster.kinds", "rights.see", "rights.start"] {
        assert_eq!(check(&report, id)["outcome"], "pass", "{report:#}");
    }
    let uid = plane.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]);
    assert_eq!(check(&report, "cluster.identity")["data"]["uid"], uid.as_str());
    let kinds = &check(&report, "cluster.kinds")["data"];
    assert_eq!((&kinds["Rollout"], &kinds["AnalysisRun"]), (&json!(true), &json!(true)), "{kinds}");
    let version = &check(&report, "cluster.reach")["data"]["version"];
    assert!(plane.kubectl(&["version"]).contains(version.as_str().unwrap()), "{version}");

    // Nothing at all: everything is told as missing, and nothing is passed that was not seen.
    let (report, code) = doctor(plane, &ns, "viewer");
    assert_eq!(code, 3, "{report:#}");
    for id in ["rights.see", "rights.pause", "rights.abort", "rights.undo", "rights.promote", "rights.start"] {
        assert_eq!(check(&report, id)["outcome"], "fail", "{report:#}");
    }
    assert_eq!(check(&report, "cluster.identity")["outcome"], "unknown", "{report:#}");

    // Enough to see and to pause Rollouts, and no more.
    let watched = "rollouts.argoproj.io,analysisruns.argoproj.io,analysistemplates.argoproj.io,canaries.flagger.app,\
                   deployments.apps,replicasets.apps,pods,configmaps,events";
    let (see, hold) = (format!("see-{n}"), format!("hold-{n}"));
    plane.kubectl(&["create", "role", &see, "-n", n, "--verb=get,list,watch", "--resource", watched]);
    let held = "rollouts.argoproj.io,deployments.apps,canaries.flagger.app";
    plane.kubectl(&["create", "role", &hold, "-n", n, "--verb=patch", "--resource", held]);
    for role in [&see, &hold] {
        plane.kubectl(&["create", "rolebinding", role, "-n", n, "--role", role, "--user=viewer"]);
    }
    let report = wait_for("the role is in force", Duration::from_secs(10), || {
        let (report, _) = doctor(plane, &ns, "viewer");
        if check(&report, "rights.pause")["outcome"] == "pass" { Ok(report) } else { Err(report.to_string()) }
    });
    assert_eq!(check(&report, "rights.see")["outcome"], "pass", "{report:#}");
    for id in ["rights.abort", "rights.undo", "rights.retry"] {
        let missing = &check(&report, id)["data"]["missing"];
        assert_eq!(*missing, json!(["patch rollouts.argoproj.io/status"]), "{id}: {report:#}");
    }
    assert_eq!(check(&report, "rights.promote")["outcome"], "fail", "{report:#}");

    // And so it is.
    let routed = |test: &dyn Fn(&Value) -> bool| {
        let rollout = plane.objects(&["rollout", "routed", "-n", n]).remove(0);
        if test(&rollout) { Ok(()) } else { Err(rollout["status"].to_string()) }
    };
    wait_for("a healthy first version", Duration::from_secs(60), || routed(&|r| r["status"]["phase"] == "Healthy"));
    plane.plugin(&["set", "image", "routed", "app=registry.example/app:2.0.0", "-n", n]);
    wait_for("its first pause", Duration::from_secs(60), || routed(&|r| r["status"]["phase"] == "Paused"));
    let act = |verb: &str| footplate_says(plane, &[verb, "routed", "--yes", "-n", n, "--context", "viewer"]);
    let (code, _, err) = act("pause");
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = act("abort");
    assert!(code == 3 && err.contains("rollouts/status"), "{code}: {err}");
}
