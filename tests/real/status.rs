//! `footplate status` against the Argo Rollouts plugin: at every stage both say the same of phase, reason, step and
//! weights. Acting is the plugin's here, so that what is compared is not also what is tested.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, Namespace, shared, wait_for};

/// What the binary says on stdout; a failure of it is one of the test.
pub fn footplate(plane: &ControlPlane, args: &[&str]) -> String {
    let (code, out, err) = footplate_says(plane, args);
    assert_eq!(code, 0, "footplate {args:?}: {err}");
    out
}

/// Exit code, stdout and stderr of the binary, called in an empty folder.
pub fn footplate_says(plane: &ControlPlane, args: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("KUBECONFIG", plane.kubeconfig());
    command.env("HOME", folder.path()).env("FOOTPLATE_STATE_DIR", folder.path().join("state"));
    command.env("FOOTPLATE_CONFIG_DIR", folder.path().join("config"));
    let out = command.current_dir(folder.path()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// The services of `status -o json`, and all of it.
fn ours(plane: &ControlPlane, ns: &Namespace) -> Value {
    serde_json::from_str(&footplate(plane, &["status", "-n", ns.name(), "-o", "json"])).unwrap()
}

fn service<'a>(status: &'a Value, name: &str) -> &'a Value {
    let services = status["services"].as_array().unwrap();
    services.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// The same five fields as `kubectl argo rollouts get rollout` prints them.
fn theirs(plane: &ControlPlane, ns: &Namespace, name: &str) -> Value {
    let said = plane.plugin(&["get", "rollout", name, "-n", ns.name(), "--no-color"]);
    let field = |key: &str| {
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(':'));
        line.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let number = |text: Option<String>| text.map_or(Value::Null, |t| json!(t.parse::<u32>().unwrap()));
    let step = field("Step");
    let part = |n: usize| number(step.as_ref().map(|s| s.split('/').nth(n).unwrap().to_owned()));
    // The first word of the status is a glyph.
    let phase = field("Status").unwrap();
    json!({
        "phase": phase.split_whitespace().next_back().unwrap(),
        "reason": field("Message").unwrap_or_default(),
        "step": part(0), "steps": part(1),
        "set_weight": number(field("SetWeight")), "actual_weight": number(field("ActualWeight")),
    })
}

/// Waits until a rollout is at a phase, and holds that what we say of it is what the plugin says.
fn same(plane: &ControlPlane, ns: &Namespace, name: &str, phase: &str, stage: &str) -> Value {
    wait_for(&format!("{name} {stage}: the same words"), Duration::from_secs(60), || {
        let before = theirs(plane, ns, name);
        let status = ours(plane, ns);
        let ours = service(&status, name);
        if before != theirs(plane, ns, name) || before["phase"] != phase {
            return Err(format!("still moving: {before}"));
        }
        let said: Value = before
            .as_object()
            .unwrap()
            .keys()
            .map(|key| (key.clone(), ours[key].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        if said == before { Ok(ours.clone()) } else { Err(format!("we say {said}, the plugin {before}")) }
    })
}

#[test]
fn status_says_what_the_plugin_says() {
    let plane = shared();
    let ns = plane.namespace();
    let n = ns.name();
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/status.yaml");
    plane.kubectl(&["apply", "-n", n, "-f", objects.to_str().unwrap()]);
    let canaries = ["routed", "basic", "referring"];
    let all = ["routed", "basic", "bluegreen", "referring"];
    for name in all {
        let first = same(plane, &ns, name, "Healthy", "after its first deploy");
        assert_eq!((&first["version"], &first["stable_version"]), (&json!("1.0.0"), &json!("1.0.0")), "{first}");
    }

    let set = |version: &str| {
        for name in ["routed", "basic", "bluegreen"] {
            plane.plugin(&["set", "image", name, &format!("app=registry.example/app:{version}"), "-n", n]);
        }
        plane.kubectl(&[
            "-n",
            n,
            "set",
            "image",
            "deployment/referred",
            &format!("app=registry.example/app:{version}"),
        ]);
    };
    set("2.0.0");
    for name in all {
        let paused = same(plane, &ns, name, "Paused", "at its first pause");
        assert_eq!((&paused["version"], &paused["stable_version"]), (&json!("2.0.0"), &json!("1.0.0")), "{paused}");
    }

    for name in ["routed", "basic"] {
        plane.plugin(&["promote", name, "-n", n]);
        let second = same(plane, &ns, name, "Paused", "at its second pause");
        assert_eq!((&second["step"], &second["set_weight"]), (&json!(3), &json!(60)), "{second}");
        plane.plugin(&["pause", name, "-n", n]);
    }
    for name in canaries {
        plane.plugin(&["abort", name, "-n", n]);
        same(plane, &ns, name, "Degraded", "aborted");
    }
    for name in ["routed", "basic"] {
        // An abort leaves the hold where it is: what the controller makes of both is what is compared.
        plane.kubectl(&["-n", n, "patch", "rollout", name, "--type=merge", "-p", r#"{"spec":{"paused":false}}"#]);
        same(plane, &ns, name, "Degraded", "aborted and no longer held");
        plane.plugin(&["retry", "rollout", name, "-n", n]);
        same(plane, &ns, name, "Paused", "tried again");
    }
    for name in all {
        plane.plugin(&["promote", name, "--full", "-n", n]);
    }
    for name in ["routed", "basic", "bluegreen"] {
        let done = same(plane, &ns, name, "Healthy", "promoted in full");
        assert_eq!(done["stable_version"], "2.0.0", "{done}");
    }
    plane.plugin(&["restart", "routed", "-n", n]);
    same(plane, &ns, "routed", "Healthy", "restarted");
}

#[test]
fn without_a_manifest_the_workloads_found_are_listed() {
    let plane = shared();
    let ns = plane.namespace();
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/status.yaml");
    plane.kubectl(&["apply", "-n", ns.name(), "-f", objects.to_str().unwrap()]);
    let status = wait_for("a healthy Deployment", Duration::from_secs(30), || {
        let status = ours(plane, &ns);
        if service(&status, "plain")["phase"] == "Healthy" { Ok(status) } else { Err(status.to_string()) }
    });
    let named: Vec<_> = status["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| format!("{} {}", s["kind"], s["name"]).replace('"', ""))
        .collect();
    assert_eq!(
        named,
        ["Rollout basic", "Rollout bluegreen", "Rollout referring", "Rollout routed", "Deployment plain"]
    );
    let plain = service(&status, "plain");
    assert_eq!((&plain["version"], &plain["step"], &plain["cluster"]), (&json!("1.0.0"), &Value::Null, &json!("dev")));
    for key in ["release", "train", "phase", "wave"] {
        assert_eq!(status[key], Value::Null, "{key}");
    }
    assert_eq!(
        (&status["held"], &plain["train_phase"], &plain["verdict"]),
        (&json!(false), &Value::Null, &Value::Null)
    );

    let (code, out, err) = footplate_says(plane, &["status", "--context", "viewer", "-n", ns.name(), "-o", "json"]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("ask for this rule in"), "{err}");
    let (code, _, err) = footplate_says(plane, &["status", "--context", "nowhere"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("one of: dev, viewer"), "{err}");
}
