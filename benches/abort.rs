//! Fifty canaries at their first pause, aborted together by one command, as the cluster sees it: when the last abort was
//! accepted, when the controller had confirmed the last one, when the command had said so. Budgets of the design (§9): 0.6 s and
//! 1.4 s. Beside it the Argo Rollouts plugin, once with all names and once in a loop.
//!
//! `cargo bench --bench abort [-- [ROLLOUTS] [--real]]`; `--real` takes a real control plane instead of the rehearsal's.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod ground;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use ground::{Ground, rollouts, until};
use serde_json::{Value, json};

const PODS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(150);

fn main() {
    let real = std::env::args().any(|a| a == "--real");
    let count = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(50);
    let ground = Ground::with_controllers(real);
    println!(
        "{count} canaries of {PODS} pods at their first pause, aborted together, on {}",
        if real { "a real control plane" } else { "the rehearsal's" }
    );
    println!("{:<40} {:>14} {:>16} {:>14}", "seconds from exec", "all accepted", "all confirmed", "command ended");
    let names: Vec<String> = (0..count).map(|n| format!("app-{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let footplate = env!("CARGO_BIN_EXE_footplate");
    for round in ["a", "b", "c"] {
        run(&ground, &format!("footplate-{round}"), &names, &mut |ns| {
            vec![command(&ground, footplate, &["abort", "--confirm", ns, "--context", ground.context, "-n", ns])]
        });
    }
    let Some(plugin) = ground.program("kubectl-argo-rollouts") else {
        println!("kubectl-argo-rollouts: not found: neither on PATH nor built with the control plane");
        return;
    };
    let plugin = plugin.to_str().unwrap();
    run(&ground, "plugin-all-names", &names, &mut |ns| {
        vec![command(&ground, plugin, &[&["abort"][..], &names, &["--context", ground.context, "-n", ns]].concat())]
    });
    run(&ground, "plugin-in-a-loop", &names, &mut |ns| {
        names
            .iter()
            .map(|name| command(&ground, plugin, &["abort", name, "--context", ground.context, "-n", ns]))
            .collect()
    });
}

fn command(ground: &Ground, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    let home = ground.home.path();
    command.args(arguments).current_dir(home).env("HOME", home).env("KUBECONFIG", &ground.kubeconfig);
    command.env("FOOTPLATE_STATE_DIR", home).env("FOOTPLATE_CONFIG_DIR", home);
    command
}

fn run(ground: &Ground, namespace: &str, names: &[&str], commands: &mut dyn FnMut(&str) -> Vec<Command>) {
    prepare(ground, namespace, names);
    let events = ground.follow(namespace, "");
    std::thread::sleep(Duration::from_secs(1));
    while events.try_recv().is_ok() {}
    let begun = Instant::now();
    for mut command in commands(namespace) {
        let out = command.output().unwrap();
        assert!(
            out.status.success(),
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    let ended = begun.elapsed();
    let (mut accepted, mut confirmed) = (BTreeSet::new(), BTreeSet::new());
    let (mut last_accepted, mut last_confirmed) = (begun, begun);
    while confirmed.len() < names.len() {
        let (at, object) = events.recv_timeout(PATIENCE).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let status = &object["status"];
        if (status["abort"] == true || !status["abortedAt"].is_null()) && accepted.insert(name.clone()) {
            last_accepted = at;
        }
        if !status["abortedAt"].is_null() && status["phase"] == "Degraded" && confirmed.insert(name) {
            last_confirmed = at;
        }
    }
    let s = |at: Instant| (at - begun).as_secs_f64();
    println!("{namespace:<40} {:>14.2} {:>16.2} {:>14.2}", s(last_accepted), s(last_confirmed), ended.as_secs_f64());
    for name in names {
        ground.request("DELETE", &format!("{}/{name}", rollouts(namespace)), &json!({})).unwrap();
    }
}

/// Every canary of a namespace of its own, at its first pause.
fn prepare(ground: &Ground, namespace: &str, names: &[&str]) {
    ground
        .request(
            "POST",
            "/api/v1/namespaces",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        )
        .unwrap();
    for name in names {
        ground.request("POST", &rollouts(namespace), &rollout(name)).unwrap();
    }
    all(ground, namespace, names.len(), "Healthy");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.example/app:2.0.0"}]}}}});
    for name in names {
        ground.request("PATCH", &format!("{}/{name}", rollouts(namespace)), &image).unwrap();
    }
    all(ground, namespace, names.len(), "Paused");
}

fn all(ground: &Ground, namespace: &str, count: usize, phase: &str) {
    let is = |o: &Value| o["status"]["phase"] == phase;
    let there = until(PATIENCE, || {
        std::thread::sleep(Duration::from_millis(300));
        let list = ground.request("GET", &rollouts(namespace), &Value::Null).unwrap();
        list["items"].as_array().unwrap().iter().filter(|o| is(o)).count() == count
    });
    assert!(there, "not all are {phase} in {namespace}");
}

fn rollout(name: &str) -> Value {
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name},
        "spec": {"replicas": PODS, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "registry.example/app:1.0.0"}]}},
            "strategy": {"canary": {"steps": [{"setWeight": 25}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]}}}})
}
