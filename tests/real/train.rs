//! Trains that run by themselves on the real control plane, with a real Prometheus over traffic that follows the weights: the
//! whole sample to its end, a bad version found and taken back, and the conductor killed while it does so. Times are those of the
//! fast overlay; what a train does in which order is tested elsewhere.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::controlplane::{ControlPlane, Namespace, must, shared, wait_for};
use crate::prometheus::Prometheus;
use crate::sample;
use crate::traffic::{Behaviour, Traffic};

/// What a test of minutes cannot wait for: the numbers of the fast overlay.
const OVERLAY: &str =
    "train: {window: 15s, evaluate: 2s, bake: 5s, baseline: 30s, flagStep: 15s, noData: 30s, requests: 50}\n";

/// What the sample's release pins.
const PINNED: [(&str, &str); 10] = [
    ("accounts-api", "1.23.4"),
    ("billing-api", "2.8.0"),
    ("checkout-api", "6.3.1"),
    ("edge-gateway", "5.1.2"),
    ("fraud-scorer", "1.5.0"),
    ("ledger-api", "3.10.0"),
    ("ledger-consumer", "0.14.7"),
    ("notifications-worker", "4.1.0"),
    ("pricing-api", "0.32.0"),
    ("storefront-web", "12.9.0"),
];

/// How fast trains go.
#[derive(Clone, Copy, PartialEq)]
enum Times {
    /// Those of the fast overlay; Prometheus looks once a second.
    Quick,
    /// As in production: nothing is overridden, and Prometheus looks every 15 s.
    Production,
}

/// An environment with traffic and metrics, and a repository for it.
pub struct Yard {
    pub plane: &'static ControlPlane,
    pub ns: Namespace,
    pub traffic: Traffic,
    prometheus: Prometheus,
    pub repository: tempfile::TempDir,
}

impl Yard {
    fn open(release: impl Fn(String) -> String) -> Self {
        Self::on(shared(), release)
    }

    /// The same on a control plane that a test breaks on purpose.
    pub fn on(plane: &'static ControlPlane, release: impl Fn(String) -> String) -> Self {
        Self::at(plane, release, Times::Quick)
    }

    fn at(plane: &'static ControlPlane, release: impl Fn(String) -> String, times: Times) -> Self {
        let quick = times == Times::Quick;
        let ns = plane.namespace();
        let crd = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/install/crd.yaml");
        plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", crd.to_str().unwrap()]);
        plane.kubectl(&["wait", "--for=condition=Established", "crd/releases.releases.footplate.dev", "--timeout=30s"]);
        let traffic = Traffic::start(&plane.kubeconfig(), ns.name());
        let prometheus = Prometheus::every(traffic.port(), if quick { 1 } else { 15 });
        sample::apply_with(plane, ns.name(), prometheus.address(), if quick { hurried } else { str::to_owned });
        sample::all_healthy(plane, ns.name());
        let repository = repository(plane, ns.name(), prometheus.address(), &release, if quick { OVERLAY } else { "" });
        let yard = Self { plane, ns, traffic, prometheus, repository };
        // What is normal is measured over half a minute, in production over ten.
        std::thread::sleep(Duration::from_secs(if quick { 35 } else { 620 }));
        yard
    }

    pub fn footplate(&self, args: &[&str]) -> Command {
        let root = self.repository.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
        command
            .args(args)
            .current_dir(root)
            .env("KUBECONFIG", self.plane.kubeconfig())
            .env("HOME", root.join(".home"))
            .env("FOOTPLATE_STATE_DIR", root.join(format!(".state-{}", args[0])))
            .env("FOOTPLATE_CONFIG_DIR", root.join(".home"))
            .env("USER", "ana")
            .stdin(Stdio::null());
        command
    }

    /// Begins it, what it says in a file.
    pub fn begin(&self, log: &str, args: &[&str]) -> Running {
        self.begin_as(log, &self.plane.kubeconfig(), args)
    }

    /// The same in the name of somebody.
    pub fn begin_as(&self, log: &str, kubeconfig: &Path, args: &[&str]) -> Running {
        let file = std::fs::File::create(self.repository.path().join(log)).unwrap();
        let mut command = self.footplate(args);
        command.env("FOOTPLATE_STATE_DIR", self.repository.path().join(format!(".state-{log}")));
        command.env("KUBECONFIG", kubeconfig);
        Running(command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap())
    }

    pub fn log(&self, log: &str) -> String {
        std::fs::read_to_string(self.repository.path().join(log)).unwrap_or_default()
    }

    /// What everybody who was begun has said, for a test that fails.
    pub fn logs(&self) -> String {
        let mut names: Vec<_> = std::fs::read_dir(self.repository.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.contains('.') && self.repository.path().join(name).is_file())
            .collect();
        names.sort();
        names.iter().map(|name| format!("--- {name}\n{}", self.log(name))).collect()
    }

    pub fn release(&self) -> Option<Value> {
        self.plane.objects(&["releases.releases.footplate.dev", "-n", self.ns.name()]).into_iter().next()
    }

    pub fn until(&self, what: &str, limit: Duration, so: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, limit, || match self.release() {
            Some(release) if so(&release) => Ok(release),
            Some(release) => {
                let status = &release["status"];
                Err(format!(
                    "{} {} {}\n{}\n{}",
                    status["phase"],
                    status["waits"],
                    status["services"],
                    self.log("a"),
                    self.log("b")
                ))
            }
            None => Err(format!("no Release\n{}\n{}", self.log("a"), self.log("b"))),
        })
    }

    fn image(&self, service: &str) -> String {
        let object = self.plane.kubectl(&["get", "rollouts.argoproj.io", service, "-n", self.ns.name(), "-o", "json"]);
        let object: Value = serde_json::from_str(&object).unwrap();
        object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    /// The template of a Rollout or Deployment.
    fn template_of_any(&self, service: &str) -> Value {
        let found = self.plane.objects(&["rollouts.argoproj.io,deployments", "-n", self.ns.name()]);
        let found = found.iter().find(|object| object["metadata"]["name"] == service);
        found.unwrap_or_else(|| panic!("no workload {service}"))["spec"]["template"].clone()
    }

    pub fn template(&self, service: &str) -> Value {
        let object = self.plane.kubectl(&["get", "rollouts.argoproj.io", service, "-n", self.ns.name(), "-o", "json"]);
        serde_json::from_str::<Value>(&object).unwrap()["spec"]["template"].clone()
    }
}

/// A process that does not outlive its test.
pub struct Running(pub Child);

impl Running {
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pauses of 6 s and measurements every 2 s.
fn hurried(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut line = line.to_owned();
        for (key, value) in [("duration: ", "6s"), ("interval: ", "2s"), ("initialDelay: ", "1s")] {
            if let Some(at) = line.find(key) {
                let from = at + key.len();
                let digits = line[from..].bytes().take_while(u8::is_ascii_digit).count();
                if digits > 0 && line[from + digits..].starts_with('s') {
                    line.replace_range(from..=from + digits, value);
                }
            }
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn repository(
    plane: &ControlPlane,
    namespace: &str,
    prometheus: &str,
    release: &dyn Fn(String) -> String,
    overlay: &str,
) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sample-env/.");
    must(Command::new("cp").arg("-r").arg(sample).arg(dir.path()));
    let uid = plane.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]);
    let edit = |name: &str, edit: &dyn Fn(String) -> String| {
        let file = dir.path().join(name);
        std::fs::write(&file, edit(std::fs::read_to_string(&file).unwrap())).unwrap();
    };
    edit("footplate.yaml", &|text| {
        text.replacen("    context: dev\n", &format!("    context: dev\n    clusterUid: {uid}\n"), 1)
            .replace("namespace: payments", &format!("namespace: {namespace}"))
            .replace("http://127.0.0.1:9090", prometheus)
            .replace("2025-11-01", "2099-01-01")
            + overlay
    });
    edit("jobs/migrate.yaml", &|text| text.replace("namespace: payments", &format!("namespace: {namespace}")));
    // Pinned config files are read from a history that a copied folder does not have.
    edit("release.yaml", &|text| release(text.replace("  configs:\n    billing/limits.yaml: 4a2f9c3\n", "")));
    dir
}

/// The first wave alone.
fn first_wave(text: String) -> String {
    let head = text.split("services:").next().unwrap().to_owned();
    let policies = text.split_once("policies:").unwrap().1;
    format!("{head}services:\n  accounts-api: 1.23.4\n  ledger-api: 3.10.0\n  pricing-api: 0.32.0\npolicies:{policies}")
}

#[test]
fn the_ten_services_of_the_sample_arrive_by_themselves() {
    let yard = Yard::open(|text| text);
    // Quick enough for the strictest gate of the sample.
    for (service, version) in PINNED {
        yard.traffic.behaves(service, version, Behaviour { p95: 0.04, ..Behaviour::default() });
    }
    let mut run = yard.begin("a", &["run", "release.yaml", "--env", "dev"]);
    let code = run.wait(Duration::from_secs(900));
    let release = yard.release().unwrap();
    assert_eq!(code, Some(0), "{}\n{}", yard.log("a"), release["status"]);
    assert_eq!(release["status"]["result"], "completed");
    for (service, version) in [("accounts-api", "1.23.4"), ("billing-api", "2.8.0"), ("storefront-web", "12.9.0")] {
        assert!(yard.image(service).ends_with(&format!(":{version}")), "{service}: {}", yard.image(service));
        let object = yard.plane.kubectl(&["get", "rollouts.argoproj.io", service, "-n", yard.ns.name(), "-o", "json"]);
        assert!(!object.contains("footplate.dev/train\":"), "its stamp is gone: {object}");
    }
    let flags = yard.plane.kubectl(&["get", "featureflags.core.openfeature.dev", "-n", yard.ns.name(), "-o", "json"]);
    let flags: Value = serde_json::from_str(&flags).unwrap();
    let flag = &flags["items"][0]["spec"]["flagSpec"]["flags"]["ledger_nullable"];
    assert_eq!(flag["defaultVariant"], "on", "{flag}");
    let journal = yard.plane.objects(&["configmaps", "-n", yard.ns.name(), "-l", "footplate.dev/journal"]);
    assert!(!journal.is_empty(), "its journal lies in the cluster");
    let history = must(&mut yard.footplate(&["history", "--env", "dev", "-o", "json"]));
    assert!(history.contains("completed"), "{history}");
}

#[test]
fn a_bad_version_is_taken_back_by_whoever_is_left() {
    let yard = Yard::open(first_wave);
    yard.traffic.behaves("ledger-api", "3.10.0", Behaviour { error_rate: 0.3, ..Behaviour::default() });
    let services = ["accounts-api", "ledger-api", "pricing-api"];
    let before = services.map(|service| yard.template(service));
    let mut first = yard.begin("a", &["run", "release.yaml", "--env", "dev"]);
    yard.until("a train that rolls", Duration::from_secs(60), |r| r["status"]["phase"] == "rolling");
    let second = yard.begin("b", &["conduct", "--env", "dev"]);
    yard.until("an undo", Duration::from_secs(120), |r| r["status"]["decided"].is_string());
    let onset = Instant::now();
    // It dies without a word, in the middle.
    let _ = first.0.kill();
    let _ = first.0.wait();
    let released = yard.until("the end", Duration::from_secs(90), |r| r["status"]["result"].is_string());
    let took = onset.elapsed();
    assert_eq!(released["status"]["result"], "rolled-back", "{}\n{}", released["status"], yard.log("b"));
    assert_eq!(released["status"]["epoch"], 2, "another conducted it to its end");
    let now = services.map(|service| yard.template(service));
    assert_eq!(before, now, "every template is as it was");
    assert!(yard.traffic.share("ledger-api", "3.10.0") < 1e-9, "no traffic on the bad version");
    println!("taken over and rolled back {took:?} after the kill");
    drop(second);
    let _ = &yard.prometheus;
}

/// Half an hour: `cargo test --test real -- --ignored --nocapture production`.
#[test]
#[ignore = "half an hour, by command"]
fn a_bad_billing_api_is_found_in_60_s_and_taken_back_in_90_at_the_timings_of_production() {
    let yard = Yard::at(shared(), |text| text, Times::Production);
    for (service, version) in PINNED {
        yard.traffic.behaves(service, version, Behaviour { p95: 0.04, ..Behaviour::default() });
    }
    yard.traffic.behaves("billing-api", "2.8.0", Behaviour { error_rate: 0.3, ..Behaviour::default() });
    let before = PINNED.map(|(service, _)| (service, yard.template_of_any(service)));
    let mut run = yard.begin("a", &["run", "release.yaml", "--env", "dev"]);
    let code = run.wait(Duration::from_secs(3600));
    let release = yard.release().unwrap();
    let status = &release["status"];
    println!("{}", yard.log("a"));
    assert_eq!(status["result"], "rolled-back", "{code:?} {status}");
    let onset = yard.traffic.first_served("billing-api", "2.8.0").expect("a request that it could hurt");
    for (what, target) in [("detected", 60.0), ("decided", 65.0), ("recovered", 90.0)] {
        let at: jiff::Timestamp = status[what].as_str().expect(what).parse().unwrap();
        let after = at.duration_since(onset).as_secs_f64();
        println!("{what} {after:.1} s after the first request that it could hurt (target {target})");
        assert!(after <= target, "{what}: {after}");
    }
    for (service, template) in before {
        assert_eq!(template, yard.template_of_any(service), "{service} is as it was");
    }
    let flags = yard.plane.kubectl(&["get", "featureflags.core.openfeature.dev", "-n", yard.ns.name(), "-o", "json"]);
    let flags: Value = serde_json::from_str(&flags).unwrap();
    assert_eq!(flags["items"][0]["spec"]["flagSpec"]["flags"]["ledger_nullable"]["defaultVariant"], "off", "{flags}");
    assert!(yard.traffic.share("billing-api", "2.8.0") < 1e-9, "no traffic on the bad version");
}
