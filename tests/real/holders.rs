//! The commands that act on plain Deployments and on Canaries, against the real Deployment controller and the real Flagger:
//! what is recorded before a deploy, what a hold freezes, and how each is taken back.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, Namespace, shared, wait_for};

struct Stand {
    plane: &'static ControlPlane,
    ns: Namespace,
    repository: tempfile::TempDir,
}

impl Stand {
    fn new(service: &'static str) -> Self {
        let plane = shared();
        let ns = plane.namespace();
        let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/holders.yaml");
        plane.kubectl(&["apply", "-n", ns.name(), "-f", objects.to_str().unwrap()]);
        let stand = Self { plane, ns, repository: tempfile::tempdir().unwrap() };
        stand.pin("2.0.0");
        stand.until(service, "a healthy first version", |s| s["phase"] == "Healthy");
        stand
    }

    fn pin(&self, version: &str) {
        let root = self.repository.path();
        let release = format!("release: r-{version}\nservices:\n  worker: {version}\n  mesh: {version}\n");
        std::fs::write(root.join("release.yaml"), release).unwrap();
        for (name, kind) in [("worker", "Deployment"), ("mesh", "Canary")] {
            let folder = root.join("services").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let workload = format!("workload: {{kind: {kind}, container: app}}");
            let text = format!("name: {name}\nimage: registry.example/app\n{workload}\n");
            std::fs::write(folder.join("service.yaml"), text).unwrap();
        }
    }

    fn says(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
        let state = self.repository.path().join(".state");
        command.args(args).args(["-n", self.ns.name()]).current_dir(self.repository.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("KUBECONFIG", self.plane.kubeconfig());
        command.env("HOME", self.repository.path()).env("USER", "ana").env("FOOTPLATE_STATE_DIR", state);
        let out = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    fn does(&self, args: &[&str]) -> String {
        let (code, out, err) = self.says(args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    }

    fn refuses(&self, args: &[&str]) -> String {
        let (code, out, err) = self.says(args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
        err
    }

    fn service(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.does(&["status", "-o", "json"])).unwrap();
        status["services"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone()
    }

    fn until(&self, name: &str, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{name}: {what}"), Duration::from_secs(180), || {
            let service = self.service(name);
            if test(&service) { Ok(service) } else { Err(service.to_string()) }
        })
    }

    fn get(&self, kind: &str, name: &str, path: &str) -> String {
        self.plane.kubectl(&["get", kind, name, "-n", self.ns.name(), "-o", &format!("jsonpath={{{path}}}")])
    }

    fn image(&self, deployment: &str) -> String {
        self.get("deployment", deployment, ".spec.template.spec.containers[0].image")
    }
}

#[test]
fn a_deployment_is_recorded_held_and_taken_back() {
    let stand = Stand::new("worker");
    stand.does(&["start", "worker", "--yes"]);
    stand.until("worker", "the new version", |s| s["phase"] == "Healthy" && s["stable_version"] == "2.0.0");
    let records = stand.plane.kubectl(&[
        "get",
        "configmaps",
        "-n",
        stand.ns.name(),
        "-l",
        "footplate.dev/of",
        "-o",
        "jsonpath={.items[*].immutable}",
    ]);
    assert_eq!(records, "true", "one record, and it cannot be changed");
    let err = stand.refuses(&["abort", "worker", "--yes"]);
    assert!(err.contains("no update is under way"), "{err}");
    let err = stand.refuses(&["promote", "worker", "--yes"]);
    assert!(err.contains("it has no steps to approve"), "{err}");

    stand.does(&["pause", "worker"]);
    assert_eq!(stand.until("worker", "held", |s| s["phase"] == "Paused")["reason"], "manually paused");
    stand.does(&["undo", "worker", "--confirm", "worker"]);
    let back = stand.until("worker", "the old version", |s| s["phase"] == "Healthy");
    assert_eq!((&back["version"], &back["stable_version"]), (&json!("1.0.0"), &json!("1.0.0")));
    stand.does(&["undo", "worker", "--confirm", "worker"]);
    assert_eq!(stand.image("worker"), "registry.example/app:1.0.0", "a second undo goes no further");
}

#[test]
fn a_stuck_deployment_is_aborted() {
    let stand = Stand::new("worker");
    let patch = r#"{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"nowhere"},"containers":[{"name":"app","image":"registry.example/app:2.0.0"}]}}}}"#;
    stand.plane.kubectl(&["patch", "deployment", "worker", "-n", stand.ns.name(), "-p", patch]);
    stand.until("worker", "its update under way", |s| s["phase"] == "Progressing" && s["version"] == "2.0.0");
    stand.does(&["abort", "worker", "--yes"]);
    let back = stand.until("worker", "the old version", |s| s["phase"] == "Healthy");
    assert_eq!(back["version"], "1.0.0");
    assert_eq!(stand.get("deployment", "worker", ".spec.template.spec.nodeSelector"), "", "the whole template is back");
}

#[test]
fn a_canary_is_moved_by_flagger_and_taken_back_by_us() {
    let stand = Stand::new("mesh");
    let canary = |path: &str| stand.get("canary", "mesh", path);
    assert_eq!(stand.service("mesh")["actual_weight"], 100, "at rest all traffic is on the version");

    // A hold freezes the weight, and only a resume ends it.
    stand.does(&["start", "mesh", "--yes"]);
    stand.until("mesh", "its first weight", |s| s["actual_weight"].as_u64().is_some_and(|w| (5..100).contains(&w)));
    stand.does(&["pause", "mesh", "--reason", "lunch"]);
    assert_eq!(canary(".spec.suspend"), "true");
    let held = stand.until("mesh", "held", |s| s["phase"] == "Paused");
    let err = stand.refuses(&["promote", "mesh", "--yes"]);
    assert!(err.contains("no confirm-traffic-increase gate is configured"), "{err}");
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(stand.service("mesh")["actual_weight"], held["actual_weight"], "two intervals later");
    stand.does(&["resume", "mesh", "--yes"]);
    stand.until("mesh", "a higher weight", |s| s["actual_weight"].as_u64() > held["actual_weight"].as_u64());

    // Abort restores the target: both sides run the old version at once.
    stand.does(&["abort", "mesh", "--yes"]);
    assert_eq!(
        (stand.image("mesh"), stand.image("mesh-primary")),
        ("registry.example/app:1.0.0".into(), "registry.example/app:1.0.0".into())
    );

    // Full promotion skips this version's analysis and no other's.
    stand.does(&["start", "mesh", "--yes"]);
    stand.until("mesh", "its start", |s| s["phase"] == "Progressing" && s["reason"] == "Progressing");
    stand.does(&["promote", "mesh", "--full", "--confirm", "mesh", "--reason", "checked by hand"]);
    assert_eq!(stand.image("mesh-primary"), "registry.example/app:2.0.0");
    assert_eq!(canary(".spec.skipAnalysis"), "false");

    // Undo of what is live takes the primary back too.
    stand.does(&["undo", "mesh", "--confirm", "mesh"]);
    assert_eq!(
        (stand.image("mesh"), stand.image("mesh-primary")),
        ("registry.example/app:1.0.0".into(), "registry.example/app:1.0.0".into())
    );
    assert_eq!(canary(".spec.skipAnalysis"), "false");
    let back = stand.until("mesh", "rest", |s| s["phase"] == "Healthy");
    assert_eq!((&back["version"], &back["stable_version"]), (&json!("1.0.0"), &json!("1.0.0")));
}

#[test]
fn a_canary_that_flagger_gave_up_is_tried_again_or_undone() {
    let stand = Stand::new("mesh");
    let patch = r#"{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"nowhere"},"containers":[{"name":"app","image":"registry.example/app:2.0.0"}]}}}}"#;
    stand.plane.kubectl(&["patch", "deployment", "mesh", "-n", stand.ns.name(), "-p", patch]);
    stand.until("mesh", "Flagger's verdict", |s| s["phase"] == "Degraded");
    assert_eq!(stand.service("mesh")["actual_weight"], 0, "the primary has all traffic");
    stand.does(&["abort", "mesh", "--yes"]);
    stand.does(&["retry", "mesh", "--yes"]);
    stand.until("mesh", "another try", |s| s["phase"] == "Progressing");
    stand.does(&["undo", "mesh", "--confirm", "mesh"]);
    assert_eq!(stand.image("mesh"), "registry.example/app:1.0.0");
    stand.until("mesh", "rest", |s| s["phase"] == "Healthy" && s["version"] == "1.0.0");
}

#[test]
fn a_restart_makes_the_primarys_pods_new_and_no_canary() {
    let stand = Stand::new("mesh");
    let pods = || {
        let path = "jsonpath={.items[*].metadata.name}";
        let names = stand.plane.kubectl(&["get", "pods", "-n", stand.ns.name(), "-l", "app=mesh-primary", "-o", path]);
        names.split_whitespace().map(str::to_owned).collect::<std::collections::BTreeSet<String>>()
    };
    let before = pods();
    assert!(!before.is_empty(), "the primary has pods");
    let said = stand.does(&["restart", "mesh", "--yes"]);
    assert!(said.contains("the pods of its primary are restarted"), "{said}");
    wait_for("the old pods are gone", Duration::from_secs(60), || {
        let now = pods();
        let all_new = now.len() == before.len() && now.is_disjoint(&before);
        if all_new { Ok(()) } else { Err(format!("{now:?}, before {before:?}")) }
    });
    // Flagger looks at its target every 3 s: it must not take the restart for a version.
    for _ in 0..10 {
        let phase = stand.get("canary", "mesh", ".status.phase");
        assert!(matches!(phase.as_str(), "Initialized" | "Succeeded"), "{phase}");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(stand.image("mesh-primary"), "registry.example/app:1.0.0");
    let service = stand.service("mesh");
    assert_eq!((&service["phase"], &service["version"]), (&json!("Healthy"), &json!("1.0.0")));
    // What is deployed next is analysed as ever.
    stand.does(&["start", "mesh", "--yes"]);
    stand.until("mesh", "its first weight", |s| s["actual_weight"].as_u64().is_some_and(|w| (5..100).contains(&w)));
    let err = stand.refuses(&["restart", "mesh", "--yes"]);
    assert!(err.contains("not at rest"), "{err}");
    stand.does(&["abort", "mesh", "--yes"]);
}
