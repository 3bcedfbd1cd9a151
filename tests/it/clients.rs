//! Other people's clients against the served rehearsal cluster: the real kubectl, where it is on PATH.

use std::process::{Output, Stdio};
use std::time::Duration;

use footplate::rehearsal::{api, kinds, serve};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::wire;

/// kubectl with a cluster of its own; the folder holds its kubeconfig and caches.
struct Kubectl {
    folder: tempfile::TempDir,
}

impl Kubectl {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(args)
            .env("KUBECONFIG", self.folder.path().join("config"))
            .env("KUBECACHEDIR", self.folder.path().join("cache"))
            .env("HOME", self.folder.path())
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .kill_on_drop(true)
            .stdin(Stdio::null());
        command
    }

    async fn output(&self, args: &[&str]) -> Output {
        let output = tokio::time::timeout(Duration::from_secs(60), self.command(args).output());
        output.await.unwrap_or_else(|_| panic!("kubectl {args:?} does not end")).unwrap()
    }

    /// What it prints; it must succeed.
    async fn run(&self, args: &[&str]) -> String {
        let output = self.output(args).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "kubectl {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// What it complains; it must fail.
    async fn fails(&self, args: &[&str]) -> String {
        let output = self.output(args).await;
        assert!(!output.status.success(), "kubectl {args:?} succeeds: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
}

/// Runs a test with kubectl against a served cluster; says so on stderr when there is no kubectl.
async fn with_kubectl(test: impl AsyncFnOnce(&Kubectl, &footplate::rehearsal::Shared)) {
    let there = std::process::Command::new("kubectl").args(["version", "--client"]).output();
    if !there.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: kubectl is not on PATH, so the served rehearsal cluster was not tried with it");
        return;
    }
    let shared = wire::cluster(&["billing-api", "ledger-api"]);
    let listener = serve::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = serve::kubeconfig(listener.local_addr().unwrap(), "payments");
    std::fs::write(folder.path().join("config"), config).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve::serve(listener, api::router(shared.clone()), async {
        let _ = stopped.await;
    }));
    test(&Kubectl { folder }, &shared).await;
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads() {
    with_kubectl(async |kubectl, shared| {
        let resources = kubectl.run(&["api-resources"]).await;
        for line in ["rollouts", "analysisruns", "releases", "featureflags", "leases"] {
            assert!(resources.lines().any(|l| l.starts_with(line)), "{line} in {resources}");
        }
        let rollouts = kubectl.run(&["get", "rollouts"]).await;
        let head: Vec<&str> = rollouts.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(head, ["NAME", "DESIRED", "CURRENT", "UP-TO-DATE", "AVAILABLE", "AGE"]);
        assert!(rollouts.contains("billing-api   4"), "{rollouts}");
        let wide = kubectl.run(&["get", "ro,po,rs,deploy,job,svc,ing,cm,ar,ns", "-A", "-o", "wide"]).await;
        assert!(wide.contains("rollout.argoproj.io/ledger-api"), "{wide}");
        let yaml = kubectl.run(&["get", "ro", "billing-api", "-o", "yaml"]).await;
        assert!(yaml.contains("currentPodHash: abc"), "{yaml}");
        let involved = shared.lock().get(&kinds::ROLLOUT, "payments", "billing-api").unwrap();
        for _ in 0..2 {
            let message = "Rollout is paused (CanaryPauseStep)";
            shared.lock().record_event(&involved, false, "RolloutPaused", message, "rollouts-controller");
        }
        let described = kubectl.run(&["describe", "ro", "billing-api"]).await;
        assert!(described.contains("Set Weight:") && described.contains("(x2 over"), "{described}");
        let events = kubectl.run(&["get", "events"]).await;
        assert!(events.contains("RolloutPaused") && events.contains("rollout/billing-api"), "{events}");
        assert!(
            kubectl.run(&["get", "crd", "rollouts.argoproj.io", "-o", "name"]).await.contains("rollouts.argoproj.io")
        );
        assert_eq!(kubectl.run(&["get", "--raw", "/readyz"]).await, "ok");
        assert_eq!(kubectl.run(&["auth", "can-i", "patch", "rollouts"]).await.trim(), "yes");
        let missing = kubectl.fails(&["get", "ro", "missing"]).await;
        assert!(missing.contains("rollouts.argoproj.io \"missing\" not found"), "{missing}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_watches() {
    with_kubectl(async |kubectl, shared| {
        let mut child = kubectl.command(&["get", "ro", "-w"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = async || {
            let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap();
            line.unwrap().unwrap()
        };
        for _ in 0..3 {
            line().await;
        }
        shared.lock().update(&kinds::ROLLOUT, "payments", "ledger-api", |r| r["spec"]["replicas"] = json!(9)).unwrap();
        let changed = line().await;
        assert!(changed.starts_with("ledger-api    9"), "{changed}");
        child.kill().await.unwrap();
        let waited =
            kubectl.run(&["wait", "ro/ledger-api", "--for=jsonpath={.spec.replicas}=9", "--timeout=30s"]).await;
        assert!(waited.contains("condition met"), "{waited}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_patches() {
    with_kubectl(async |kubectl, shared| {
        let now = || shared.lock().get(&kinds::ROLLOUT, "payments", "billing-api").unwrap();
        kubectl.run(&["patch", "ro", "billing-api", "--type=merge", "-p", r#"{"spec":{"paused":true}}"#]).await;
        assert_eq!(now()["spec"]["paused"], true);
        let abort = r#"{"status":{"abort":true},"spec":{"replicas":1}}"#;
        kubectl.run(&["patch", "ro", "billing-api", "--subresource=status", "--type=merge", "-p", abort]).await;
        assert_eq!((&now()["status"]["abort"], &now()["spec"]["replicas"]), (&json!(true), &json!(4)));
        let fenced = r#"[{"op":"test","path":"/metadata/uid","value":"x"},{"op":"remove","path":"/spec/paused"}]"#;
        let refused = kubectl.fails(&["patch", "ro", "billing-api", "--type=json", "-p", fenced]).await;
        assert!(refused.contains("the server rejected our request due to an error in our request"), "{refused}");
        assert_eq!(now()["spec"]["paused"], true);
        let strategic = kubectl.fails(&["patch", "ro", "billing-api", "-p", "{}"]).await;
        assert!(strategic.contains("strategic-merge-patch+json is not supported"), "{strategic}");
        kubectl.run(&["scale", "ro", "billing-api", "--replicas=7"]).await;
        assert_eq!(now()["spec"]["replicas"], 7);
        kubectl.run(&["annotate", "ro", "billing-api", "note=x"]).await;
        kubectl.run(&["label", "ro", "billing-api", "team=pay"]).await;
        assert_eq!(
            kubectl.run(&["get", "ro", "-l", "team=pay", "-o", "name"]).await.trim(),
            "rollout.argoproj.io/billing-api"
        );
    })
    .await;
}

const MANIFEST: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: limits}
data: {a: "1"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: applied}
spec:
  selector: {matchLabels: {app: applied}}
  template:
    metadata: {labels: {app: applied}}
    spec: {containers: [{name: app, image: "nginx:1"}, {name: proxy, image: "proxy:1"}]}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: template}
spec: {metrics: [{name: a, provider: {prometheus: {query: up}}}]}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_creates_and_deletes() {
    with_kubectl(async |kubectl, shared| {
        let file = kubectl.file("m.yaml", MANIFEST);
        let made = kubectl.run(&["apply", "-f", &file]).await;
        assert_eq!(made.matches("created").count(), 3, "{made}");
        assert_eq!(kubectl.run(&["apply", "-f", &file]).await.matches("unchanged").count(), 3);
        let file = kubectl.file("m.yaml", &MANIFEST.replace("nginx:1", "nginx:2"));
        assert_eq!(kubectl.run(&["apply", "-f", &file]).await.matches("configured").count(), 1);
        let deployment = shared.lock().get(&kinds::DEPLOYMENT, "payments", "applied").unwrap();
        let containers = &deployment["spec"]["template"]["spec"]["containers"];
        assert_eq!((&containers[0]["image"], &containers[1]["image"]), (&json!("nginx:2"), &json!("proxy:1")));
        let changed = kubectl.file("d.yaml", &MANIFEST.replace("\"1\"", "\"2\""));
        let dry = kubectl.run(&["apply", "-f", &changed, "--dry-run=server"]).await;
        assert!(dry.contains("configmap/limits configured (server dry run)"), "{dry}");
        let server_side = kubectl.run(&["apply", "--server-side", "-f", &file]).await;
        assert_eq!(server_side.matches("serverside-applied").count(), 3, "{server_side}");
        let other = kubectl.file("o.yaml", &MANIFEST.replace("nginx:1", "nginx:3"));
        let conflict = kubectl.fails(&["apply", "--server-side", "--field-manager=other", "-f", &other]).await;
        assert!(conflict.contains(".spec.template.spec.containers[name=\"app\"].image"), "{conflict}");
        kubectl.run(&["apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", &other]).await;
        kubectl.run(&["set", "image", "deploy/applied", "app=nginx:4"]).await;
        kubectl.run(&["delete", "-f", &file]).await;
        assert!(shared.lock().get(&kinds::DEPLOYMENT, "payments", "applied").is_none());
        // Typed creates come as protobuf.
        kubectl.run(&["create", "configmap", "c", "--from-literal=a=b"]).await;
        kubectl.run(&["create", "deployment", "d", "--image=nginx", "--replicas=2"]).await;
        kubectl.run(&["create", "job", "j", "--image=busybox"]).await;
        kubectl.run(&["create", "namespace", "other"]).await;
        assert_eq!(shared.lock().get(&kinds::DEPLOYMENT, "payments", "d").unwrap()["spec"]["replicas"], 2);
        let again = kubectl.fails(&["create", "configmap", "c"]).await;
        assert!(again.contains("already exists"), "{again}");
        let typo = MANIFEST.split("---").next().unwrap().replace("limits", "Bad_Name");
        let invalid = kubectl.fails(&["create", "-f", &kubectl.file("t.yaml", &typo)]).await;
        assert!(invalid.contains("RFC 1123"), "{invalid}");
        kubectl.run(&["delete", "namespace", "other"]).await;
        kubectl.run(&["delete", "ro", "--all"]).await;
        assert_eq!(shared.lock().list(&kinds::ROLLOUT, None).count(), 0);
    })
    .await;
}
