//! The commands that act, called as a person or a pipeline calls them, against the real controller: what they do, what
//! they refuse, and their exit codes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, Namespace, shared, wait_for};

/// A namespace with the rollouts of `status.yaml` and an environment repository that pins them.
struct Stand {
    plane: &'static ControlPlane,
    ns: Namespace,
    repository: tempfile::TempDir,
}

impl Stand {
    fn new(version: &str) -> Self {
        let plane = shared();
        let ns = plane.namespace();
        let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/status.yaml");
        plane.kubectl(&["apply", "-n", ns.name(), "-f", objects.to_str().unwrap()]);
        let repository = tempfile::tempdir().unwrap();
        let stand = Self { plane, ns, repository };
        stand.pin(version);
        for name in ["routed", "basic"] {
            stand.until(name, "a healthy first version", |s| s["phase"] == "Healthy");
        }
        stand
    }

    fn pin(&self, version: &str) {
        let root = self.repository.path();
        let release = format!("release: r-{version}\nservices:\n  routed: {version}\n  basic: {version}\n");
        std::fs::write(root.join("release.yaml"), release).unwrap();
        for (name, before) in [("routed", ""), ("basic", "dependsOn: [routed]\n")] {
            let folder = root.join("services").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let text = format!(
                "name: {name}\nimage: registry.example/app\n{before}workload: {{kind: Rollout, container: app}}\n"
            );
            std::fs::write(folder.join("service.yaml"), text).unwrap();
        }
    }

    /// Exit code, stdout and stderr of a command in the repository.
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

    fn refuses(&self, code: i32, args: &[&str]) -> String {
        let (said, out, err) = self.says(args);
        assert_eq!((said, out.as_str()), (code, ""), "{args:?}: {err}");
        err
    }

    fn service(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.does(&["status", "-o", "json"])).unwrap();
        status["services"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone()
    }

    fn until(&self, name: &str, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{name}: {what}"), Duration::from_secs(60), || {
            let service = self.service(name);
            if test(&service) { Ok(service) } else { Err(service.to_string()) }
        })
    }

    fn journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.repository.path().join(".state/journal.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn at_step(step: u32) -> impl Fn(&Value) -> bool {
    move |s| s["phase"] == "Paused" && s["step"] == step
}

#[test]
fn a_service_is_taken_through_its_steps_and_back() {
    let stand = Stand::new("2.0.0");
    let err = stand.refuses(2, &["start", "routed"]);
    assert!(err.contains("start routed: 1.0.0 -> 2.0.0") && err.contains("--yes"), "{err}");
    stand.does(&["start", "routed", "--yes"]);
    let paused = stand.until("routed", "its first pause", at_step(1));
    assert_eq!((&paused["version"], &paused["set_weight"]), (&json!("2.0.0"), &json!(20)));

    stand.does(&["pause", "routed", "--reason", "lunch"]);
    stand.does(&["pause", "routed"]);
    stand.refuses(1, &["promote", "routed", "--yes"]);
    stand.does(&["resume", "routed", "--yes"]);
    assert_eq!(stand.service("routed")["step"], 1, "a resume is no promotion");

    stand.does(&["promote", "routed", "--yes"]);
    stand.until("routed", "its second pause", at_step(3));
    let err = stand.refuses(1, &["retry", "routed", "--yes"]);
    assert!(err.contains("routed"), "{err}");

    stand.does(&["abort", "routed", "--yes"]);
    let aborted =
        stand.until("routed", "no traffic on the canary", |s| s["phase"] == "Degraded" && s["actual_weight"] == 0);
    assert_eq!(aborted["version"], "2.0.0");
    stand.does(&["retry", "routed", "--yes"]);
    stand.until("routed", "its first pause again", at_step(1));

    stand.refuses(2, &["undo", "routed", "--yes"]);
    stand.refuses(2, &["undo", "routed", "--confirm", "basic"]);
    stand.does(&["undo", "routed", "--confirm", "routed"]);
    let back = stand.until("routed", "back on the old version", |s| s["phase"] == "Healthy");
    assert_eq!((&back["version"], &back["stable_version"]), (&json!("1.0.0"), &json!("1.0.0")));

    stand.does(&["start", "routed", "--yes"]);
    stand.until("routed", "its first pause", at_step(1));
    stand.refuses(2, &["promote", "routed", "--full", "--confirm", "routed"]);
    stand.does(&["promote", "routed", "--full", "--confirm", "routed", "--reason", "checked by hand"]);
    stand.until("routed", "all of it", |s| s["phase"] == "Healthy" && s["stable_version"] == "2.0.0");

    let journal = stand.journal();
    let intents: Vec<&Value> = journal.iter().filter(|l| l["what"] == "intent").collect();
    assert_eq!(intents[0]["who"], "ana as admin", "{}", intents[0]);
    assert_eq!(intents[1]["why"], "lunch");
    let at = |what: &str| journal.iter().position(|l| l["what"] == what).unwrap();
    assert!(at("intent") < at("effect") && at("effect") < at("outcome"));
}

#[test]
fn what_is_refused_and_with_which_code() {
    let stand = Stand::new("2.0.0");
    let err = stand.refuses(2, &["abort", "nobody", "--yes"]);
    assert!(err.contains("one of: routed, basic") || err.contains("one of: basic, routed"), "{err}");
    stand.refuses(3, &["start", "routed", "--yes", "--read-only"]);
    stand.refuses(3, &["pause", "routed", "--read-only"]);
    stand.refuses(1, &["promote", "routed", "--yes"]);
    stand.refuses(1, &["abort", "--confirm", "r-2.0.0"]);
    stand.refuses(2, &["start", "--yes"]);
    stand.refuses(2, &["undo", "--only", "--yes"]);
    let err = stand.refuses(3, &["pause", "routed", "--context", "viewer"]);
    assert!(err.contains("ask for this rule in"), "{err}");
    let binding = format!("{}-look", stand.ns.name());
    stand.plane.kubectl(&["create", "clusterrolebinding", &binding, "--clusterrole=view", "--user=viewer"]);
    stand.plane.kubectl(&["create", "clusterrole", &binding, "--verb=get,list", "--resource=rollouts.argoproj.io"]);
    stand.plane.kubectl(&[
        "create",
        "rolebinding",
        "look",
        "-n",
        stand.ns.name(),
        &format!("--clusterrole={binding}"),
        "--user=viewer",
    ]);
    stand.plane.plugin(&["set", "image", "routed", "app=registry.example/app:2.0.0", "-n", stand.ns.name()]);
    stand.until("routed", "its first pause", at_step(1));
    let err = stand.refuses(3, &["pause", "routed", "--context", "viewer"]);
    assert!(err.contains("resources [\"rollouts\"], verbs [\"patch\"]"), "{err}");
    stand.plane.kubectl(&["delete", "clusterrolebinding,clusterrole", &binding, "--ignore-not-found"]);

    // A broken manifest stops what goes forward, and nothing that goes back.
    std::fs::write(stand.repository.path().join("release.yaml"), "release: [").unwrap();
    stand.refuses(2, &["promote", "routed", "--yes"]);
    stand.does(&["abort", "routed", "--yes"]);
    stand.pin("2.0.0");
    stand.until("routed", "no traffic on the canary", |s| s["actual_weight"] == 0);
}

#[test]
fn everything_in_flight_is_taken_back_at_once() {
    let stand = Stand::new("2.0.0");
    stand.does(&["start", "routed", "--yes"]);
    stand.does(&["start", "basic", "--yes"]);
    for name in ["routed", "basic"] {
        stand.until(name, "its first pause", at_step(1));
    }
    stand.does(&["pause"]);
    let started = Instant::now();
    let out = stand.does(&["undo", "--confirm", "r-2.0.0"]);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(out.lines().count(), 2, "{out}");
    for name in ["routed", "basic"] {
        let back = stand.until(name, "back on the old version", |s| s["phase"] == "Healthy");
        assert_eq!((&back["version"], &back["stable_version"]), (&json!("1.0.0"), &json!("1.0.0")));
    }
}
