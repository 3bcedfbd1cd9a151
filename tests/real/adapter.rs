//! The Kubernetes adapter against a real API server: contexts, reads, writes with preconditions, rights, watches,
//! credential plugins. What scripted faults can prove is proved beside the adapter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use footplate::adapters::kubernetes::{Contexts, Kubernetes};
use footplate::core::confirm::{Answer, Confirm, Question};
use footplate::core::effect::{Change, Direction, Effect};
use footplate::core::guard::{Cleared, Standing, clear};
use footplate::core::object::{ObjectKind, ObjectRef};
use footplate::core::snapshot::WriteMode;
use footplate::ports::{Access, Cluster, FaultKind, Interest, Plugins, Seen};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::controlplane::{ControlPlane, shared};

/// The adapter over a context of the control plane.
pub fn connect(plane: &ControlPlane, context: &str) -> Kubernetes {
    connect_by(&plane.kubeconfig(), context)
}

fn connect_by(kubeconfig: &Path, context: &str) -> Kubernetes {
    let contexts = Contexts::read(&[kubeconfig.to_owned()], false).unwrap();
    Kubernetes::connect(contexts.select(context).unwrap(), &Plugins::Any).unwrap()
}

/// The first quoted value after this key.
fn quoted(raw: &str, key: &str) -> String {
    raw.split(key).nth(1).unwrap().split('"').nth(1).unwrap().to_owned()
}

fn config_map(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef { cluster: "dev".into(), kind: ObjectKind::ConfigMap, namespace: namespace.into(), name: name.into() }
}

fn cleared(object: &ObjectRef, change: Change) -> Cleared {
    let now = Timestamp::now();
    let question = Question { level: Confirm::Yes, direction: Direction::Forward, targets: vec![object.clone()] };
    let confirmed = question.answer(&Answer::Yes, now).unwrap();
    let standing = Standing {
        write: WriteMode::ReadWrite,
        confirmed: Some(&confirmed),
        cluster_uid: (None, None),
        read_at: now,
        now,
    };
    let effect = Effect { object: object.clone(), change, direction: Direction::Forward, says: "test".into() };
    clear(effect, &standing).unwrap()
}

fn patch(operations: Value) -> Change {
    Change::Patch(serde_json::from_value(operations).unwrap())
}

#[tokio::test]
async fn what_the_server_is_and_serves_and_allows() {
    let plane = shared();
    let ns = plane.namespace();
    let cluster = connect(plane, "dev");
    let (version, skew) = cluster.about().await.unwrap();
    assert!(version.starts_with("v1."), "{version}");
    assert!(skew.unwrap().abs() < 2_000, "{skew:?}");
    let kinds = [ObjectKind::Rollout, ObjectKind::Pod, ObjectKind::Release, ObjectKind::Application];
    assert_eq!(cluster.serves(&kinds).await.unwrap(), [true, true, false, false]);

    let patch = |kind, subresource| Access { verb: "patch", kind, subresource, namespace: ns.name().into() };
    let wanted = [patch(ObjectKind::Rollout, "status"), patch(ObjectKind::Deployment, "")];
    assert_eq!(cluster.may(&wanted).await.unwrap(), [true, true]);
    let viewer = connect(plane, "viewer");
    assert_eq!(viewer.may(&wanted).await.unwrap(), [false, false]);
    let fault = viewer.list(&interest(ns.name(), ObjectKind::Rollout)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Forbidden);
    assert!(fault.hint.contains("resources [\"rollouts\"], verbs [\"list\"]"), "{fault:?}");
    let fault = cluster.list(&interest(ns.name(), ObjectKind::Application)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NoSuchKind, "{fault:?}");
}

#[tokio::test]
async fn writes_hold_their_preconditions() {
    let plane = shared();
    let ns = plane.namespace();
    let cluster = connect(plane, "dev");
    let map = config_map(ns.name(), "record");
    assert_eq!(cluster.read(&map).await.unwrap(), None);
    let create = |value: &str| {
        let body =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "record"}, "data": {"k": value}});
        cleared(&map, Change::Create(body))
    };
    assert_eq!(cluster.send(&create("one")).await.unwrap().str("/data/k"), Some("one"));
    assert_eq!(
        cluster.send(&create("two")).await.unwrap().str("/data/k"),
        Some("one"),
        "what is there is read, not replaced"
    );

    let wrong = cleared(
        &map,
        patch(json!([
            {"op": "test", "path": "/data/k", "value": "zwei"}, {"op": "add", "path": "/data/k", "value": "three"}
        ])),
    );
    assert_eq!(cluster.send(&wrong).await.unwrap_err().kind, FaultKind::Unprocessable);
    let right = cleared(
        &map,
        patch(json!([
            {"op": "test", "path": "/data/k", "value": "one"}, {"op": "add", "path": "/data/k", "value": "three"}
        ])),
    );
    let after = cluster.send(&right).await.unwrap();
    assert_eq!(after.str("/data/k"), Some("three"));
    let managers = after.items("/metadata/managedFields").iter().map(|m| m["manager"].as_str().unwrap());
    assert_eq!(managers.collect::<Vec<_>>(), ["footplate-captain"]);
    // The same once more: the precondition no longer holds, nothing is done twice.
    assert_eq!(cluster.send(&right).await.unwrap_err().kind, FaultKind::Unprocessable);

    let elsewhere = ObjectRef { cluster: "prod".into(), ..map.clone() };
    assert!(
        cluster
            .send(&cleared(&elsewhere, patch(json!([{"op": "test", "path": "/data/k", "value": "three"}]))))
            .await
            .unwrap_err()
            .why
            .contains("prod")
    );
    let odd = config_map(ns.name(), "a/../record?x=1");
    assert_eq!(cluster.read(&odd).await.unwrap(), None);
    let missing = cleared(
        &config_map(ns.name(), "missing"),
        patch(json!([{"op": "test", "path": "/data", "value": null}, {"op": "add", "path": "/data", "value": {}}])),
    );
    assert_eq!(cluster.send(&missing).await.unwrap_err().kind, FaultKind::NotFound);
}

fn interest(namespace: &str, kind: ObjectKind) -> Interest {
    Interest { kind, namespace: namespace.into(), labels: "".into(), fields: "".into() }
}

#[tokio::test]
async fn a_watch_tells_what_happens() {
    let plane = shared();
    let ns = plane.namespace();
    let cluster = connect(plane, "dev");
    let (out, mut inbox) = mpsc::channel(16);
    let watching = tokio::spawn(
        cluster.watch(Interest { labels: "watched=yes".into(), ..interest(ns.name(), ObjectKind::ConfigMap) }, out),
    );
    let mut next = async || tokio::time::timeout(Duration::from_secs(10), inbox.recv()).await.unwrap().unwrap();
    assert!(matches!(next().await, Seen::All(_, found) if found.is_empty()));
    plane.kubectl(&["-n", ns.name(), "create", "configmap", "unseen"]);
    plane.kubectl(&["-n", ns.name(), "create", "configmap", "seen"]);
    plane.kubectl(&["-n", ns.name(), "label", "configmap", "seen", "watched=yes"]);
    assert!(
        matches!(next().await, Seen::Put(_, found) if found.name().as_str() == "seen" && found.open().raw("/metadata/managedFields").is_none())
    );
    plane.kubectl(&["-n", ns.name(), "delete", "configmap", "seen"]);
    assert!(matches!(next().await, Seen::Gone(_, id) if id == config_map(ns.name(), "seen")));
    drop(inbox);
    tokio::time::timeout(Duration::from_secs(2), watching).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_plugin_is_asked_again_when_its_token_is_refused() {
    let plane = shared();
    let folder = tempfile::tempdir().unwrap();
    let raw = std::fs::read_to_string(plane.kubeconfig()).unwrap();
    let token = quoted(&raw, "token: ");
    let script: PathBuf = folder.path().join("plugin");
    let ran = folder.path().join("ran");
    let text = format!(
        "#!/bin/sh\nprintf 'smear\\033[2J' >&2\nif [ -e {0} ]; then t={token}; else t=expired; fi\n: > {0}\n\
         echo \"{{\\\"status\\\": {{\\\"token\\\": \\\"$t\\\"}}}}\"\n",
        ran.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = quoted(&raw, "server: ");
    let kubeconfig = folder.path().join("config");
    std::fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"{server}\", insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: ./plugin, interactiveMode: Always}}}}}}]\n\
             contexts: [{{name: dev, context: {{cluster: c, user: u}}}}]\n"
        ),
    )
    .unwrap();
    let cluster = connect_by(&kubeconfig, "dev");
    let found = cluster.list(&interest("kube-system", ObjectKind::ConfigMap)).await;
    assert!(found.is_ok(), "{found:?}");
}

#[tokio::test]
async fn a_refused_token_says_who_renews_it() {
    let plane = shared();
    let folder = tempfile::tempdir().unwrap();
    let raw = std::fs::read_to_string(plane.kubeconfig()).unwrap();
    let token = quoted(&raw, "token: ");
    let kubeconfig = folder.path().join("config");
    std::fs::write(&kubeconfig, raw.replacen(&token, "expired", 1)).unwrap();
    let cluster = connect_by(&kubeconfig, "dev");
    let fault = cluster.list(&interest("default", ObjectKind::ConfigMap)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(fault.hint.contains("put a fresh token for user"), "{fault:?}");
    let nowhere = raw.replace(&quoted(&raw, "server: "), "https://127.0.0.1:1");
    std::fs::write(&kubeconfig, nowhere).unwrap();
    let fault = connect_by(&kubeconfig, "dev").about().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.why.contains("onnection refused"), "{fault:?}");
}
