//! The cockpit as a captain uses it: the real binary in a pty, on the sample environment, on the real control plane, with a
//! real Prometheus over traffic that follows the weights. Keys go in; what came of them is read from the screen and, beside
//! it, from the cluster. What single verbs and panes do is tested elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::controlplane::{ControlPlane, Namespace, must, shared, wait_for};
use crate::program::Program;
use crate::prometheus::Prometheus;
use crate::sample;
use crate::traffic::{Behaviour, Traffic};

/// The services of the first wave: name, what is live, what is pinned.
const WAVE: [(&str, &str, &str); 3] =
    [("accounts-api", "1.22.0", "1.23.4"), ("ledger-api", "3.9.1", "3.10.0"), ("pricing-api", "0.31.2", "0.32.0")];

/// A dialog takes no answer in its first 300 ms.
const READ: Duration = Duration::from_millis(400);
const SOON: Duration = Duration::from_secs(20);

/// The sample environment with a cockpit on it.
struct Cab {
    plane: &'static ControlPlane,
    ns: Namespace,
    traffic: Traffic,
    _prometheus: Prometheus,
    repository: tempfile::TempDir,
    screen: Program,
    /// The pod templates of the first wave before anything was touched.
    recorded: BTreeMap<&'static str, Value>,
}

impl Cab {
    /// Opens the cockpit on an environment of footplate.yaml, as a captain does.
    fn open(columns: u16, rows: u16) -> Self {
        let plane = shared();
        let ns = plane.namespace();
        let traffic = Traffic::start(&plane.kubeconfig(), ns.name());
        traffic.behaves("ledger-api", "3.10.0", Behaviour { error_rate: 0.3, ..Behaviour::default() });
        let prometheus = Prometheus::start(traffic.port());
        sample::apply(plane, ns.name(), prometheus.address());
        sample::all_healthy(plane, ns.name());
        let repository = repository(plane, ns.name(), prometheus.address());
        let recorded = WAVE.map(|(name, ..)| (name, rollout(plane, &ns, name)["spec"]["template"].clone())).into();

        let root = repository.path();
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let (manifest, state, home) = (path("release.yaml"), path(".state"), path(".home"));
        let kubeconfig = plane.kubeconfig().to_str().unwrap().to_owned();
        let command = [env!("CARGO_BIN_EXE_footplate"), &manifest, "--env", "dev"];
        let env = [
            ("KUBECONFIG", kubeconfig.as_str()),
            ("HOME", &home),
            ("FOOTPLATE_STATE_DIR", &state),
            ("FOOTPLATE_CONFIG_DIR", &home),
            ("USER", "ana"),
            ("TZ", "UTC"),
            ("LC_ALL", "C.UTF-8"),
            ("NO_COLOR", ""),
            ("COLORTERM", ""),
            ("SSH_CONNECTION", ""),
        ];
        let screen = Program::spawn(&command, &env, columns, rows);
        Self { plane, ns, traffic, _prometheus: prometheus, repository, screen, recorded }
    }

    fn rollout(&self, name: &str) -> Value {
        rollout(self.plane, &self.ns, name)
    }

    /// Waits until the cluster says so of a Rollout.
    fn until(&self, name: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{name}: {what}"), SOON, || {
            let object = self.rollout(name);
            if so(&object) { Ok(object) } else { Err(format!("{}\n{}", object["status"], self.screen.text())) }
        })
    }

    /// Waits for a row of the screen that holds all of these.
    fn row(&self, parts: &[&str]) {
        self.row_within(parts, SOON);
    }

    fn row_within(&self, parts: &[&str], patience: Duration) {
        let so = |text: &str| text.lines().any(|row| parts.iter().all(|part| row.contains(part)));
        if let Err(screen) = self.screen.wait(patience, so) {
            panic!("no row with {parts:?} came; the screen is:\n{screen}");
        }
    }

    fn keys(&mut self, keys: &str) {
        self.screen.send(keys);
    }

    /// Selects a service of the first wave; the title of the gates names the selected one.
    fn select(&mut self, name: &str) {
        let title = format!("2 gates · {name}");
        self.keys("\x1b[H");
        for _ in WAVE {
            if self.screen.wait(Duration::from_millis(700), |text| text.contains(&title)).is_ok() {
                return;
            }
            self.keys("j");
        }
        self.screen.see(&title);
    }

    /// Orders something that is answered with `y`, after the dialog said this.
    fn yes(&mut self, key: &str, says: &[&str]) {
        self.keys(key);
        self.row(says);
        std::thread::sleep(READ);
        self.keys("y");
    }

    /// Orders something for which a word is typed, after the dialog said this.
    fn typed(&mut self, key: &str, says: &[&str], word: &str) {
        self.keys(key);
        self.row(says);
        self.row(&[&format!("type {word} to confirm")]);
        std::thread::sleep(READ);
        self.keys(word);
        self.keys("\r");
    }

    /// Esc, until this is gone from the screen: another key at its heels would be read together with it.
    fn esc(&mut self, gone: &str) {
        self.keys("\x1b");
        if let Err(screen) = self.screen.wait(SOON, |text| !text.contains(gone)) {
            panic!("{gone} stays on the screen:\n{screen}");
        }
    }

    /// A line of the command line.
    fn says(&mut self, line: &str) {
        self.keys(":");
        self.keys(line);
        self.keys("\r");
    }

    /// The template of a service is, to the letter, what it was before anything was touched, and so is what serves.
    fn is_as_recorded(&self, name: &str) {
        let old = WAVE.iter().find(|w| w.0 == name).unwrap().1;
        let object = self.until(name, "back on its old version", |object| {
            let status = &object["status"];
            status["phase"] == "Healthy" && status["stableRS"] == status["currentPodHash"] && sees(object)
        });
        assert_eq!(object["spec"]["template"], self.recorded[name], "{name}");
        assert_eq!(self.traffic_share(name, old), 1.0, "{name}");
    }

    /// The part of a service's requests that a version gets, once the traffic followed.
    fn traffic_share(&self, name: &str, version: &str) -> f64 {
        std::thread::sleep(Duration::from_millis(1500));
        self.traffic.share(name, version)
    }
}

fn rollout(plane: &ControlPlane, ns: &Namespace, name: &str) -> Value {
    plane.objects(&["rollouts.argoproj.io", name, "-n", ns.name()]).remove(0)
}

/// True when the controller has seen the newest spec.
fn sees(object: &Value) -> bool {
    object["status"]["observedGeneration"].as_str() == Some(&object["metadata"]["generation"].to_string())
}

fn image(object: &Value) -> &str {
    object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

fn step(object: &Value) -> &Value {
    &object["status"]["currentStepIndex"]
}

fn weight(object: &Value) -> &Value {
    &object["status"]["canary"]["weights"]["canary"]["weight"]
}

/// A copy of the sample environment that names this cluster, this namespace and this Prometheus.
fn repository(plane: &ControlPlane, namespace: &str, prometheus: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sample-env/.");
    must(Command::new("cp").arg("-r").arg(sample).arg(dir.path()));
    let uid = plane.kubectl(&["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]);
    let file = dir.path().join("footplate.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text
        .replacen("    context: dev\n", &format!("    context: dev\n    clusterUid: {uid}\n"), 1)
        .replace("namespace: payments", &format!("namespace: {namespace}"))
        .replace("http://127.0.0.1:9090", prometheus);
    std::fs::write(file, text).unwrap();
    dir
}

/// While it lives the controller cannot write the status of one Rollout, as behind a webhook that is down.
struct Muted {
    plane: &'static ControlPlane,
    name: String,
}

impl Muted {
    fn new(cab: &Cab, service: &str) -> Self {
        let (plane, namespace) = (cab.plane, cab.ns.name());
        let name = format!("mute-{namespace}");
        let kind = |kind: &str, spec: Value| {
            let api = "admissionregistration.k8s.io/v1";
            json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec})
        };
        let policy = json!({
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["argoproj.io"], "apiVersions": ["v1alpha1"], "operations": ["UPDATE"],
                "resources": ["rollouts/status"],
            }]},
            "validations": [{"expression": format!("object.metadata.name != '{service}'")}],
        });
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        let binding = json!({
            "policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
        });
        let both = [kind("ValidatingAdmissionPolicy", policy), kind("ValidatingAdmissionPolicyBinding", binding)];
        let file = cab.repository.path().join("mute.json");
        std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": both}).to_string()).unwrap();
        plane.kubectl(&["create", "--validate=false", "-f", file.to_str().unwrap()]);
        let patch = r#"{"status":{"message":"by the test"}}"#;
        let args = ["patch", "rollouts.argoproj.io", service, "-n", namespace, "--subresource=status"];
        let args = [&args[..], &["--type=merge", "--dry-run=server", "-p", patch]].concat();
        wait_for("the status is write-protected", SOON, || match plane.try_kubectl(&args) {
            Err(refused) if refused.contains(&name) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        Self { plane, name }
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            let _ = self.plane.try_kubectl(&["delete", kind, &self.name]);
        }
    }
}

#[test]
fn a_captain_drives_the_first_wave_by_keys() {
    let begun = Instant::now();
    let mut cab = Cab::open(120, 36);
    let told = |what: &str| println!("{:5.1} s  {what}", begun.elapsed().as_secs_f64());
    told("the sample is healthy and the cockpit opened");
    the_screen_says_where_it_is(&cab);
    for name in ["accounts-api", "pricing-api"] {
        start(&mut cab, name);
    }
    told("two services are started");
    hold_and_resume(&mut cab);
    told("held and resumed");
    approve_a_pause(&mut cab);
    told("a pause is approved");
    finish_and_take_back(&mut cab);
    told("a finished service is taken back");
    flip_the_flag(&mut cab);
    told("the flag is flipped");
    another_hand_was_faster(&mut cab);
    abort(&mut cab);
    start(&mut cab, "ledger-api");
    told("aborted; the bad version is started");
    retry_and_undo(&mut cab);
    told("tried again, undone");
    a_bad_version_is_red_before_any_run(&mut cab);
    told("the bad version is seen before any analysis run");
    look_around(&mut cab);
    told("looked around");
    its_gate_ends_the_bad_version(&mut cab);
    told("the bad version is gone");
    switch_and_leave(&mut cab);
    told("left");
}

fn the_screen_says_where_it_is(cab: &Cab) {
    cab.screen.see("● LIVE");
    let place = format!("dev/{}", cab.ns.name());
    cab.row(&["dev", &place, "2025.10.02-rc1", "● LIVE", "RW", "UTC"]);
    cab.row(&["READY", "wave 1/5", "10 waiting", "nothing to undo"]);
    cab.row(&["nothing needs you"]);
    // Whatever waits says for what.
    for (name, ..) in WAVE {
        cab.row(&[name, "waits for somebody to start it"]);
    }
    assert!(cab.screen.in_alternate_screen());
}

/// Deploys the pinned version: a weight, a step and a countdown on the screen, and the same in the cluster.
fn start(cab: &mut Cab, name: &str) {
    let &(_, old, new) = WAVE.iter().find(|w| w.0 == name).unwrap();
    let says = format!("{name}: {old} → {new}");
    cab.select(name);
    // A key that was on its way when the dialog opened is no answer to it.
    cab.keys("sy");
    cab.row(&[&says]);
    std::thread::sleep(READ);
    cab.row(&["y yes   Esc no"]);
    cab.keys("\x1b");
    cab.row(&["nothing was changed"]);
    assert!(image(&cab.rollout(name)).ends_with(old));
    cab.yes("s", &[&says]);
    cab.row(&[name, "25%", "1/7", "left, then analysis"]);
    let object = cab.until(name, "its first pause", |o| *step(o) == 1 && o["status"]["phase"] == "Paused");
    assert!(image(&object).ends_with(&format!(":{new}")), "{}", image(&object));
    assert!((cab.traffic_share(name, new) - 0.25).abs() < 1e-6, "one part in four of the real traffic");
}

/// The row of a service below the graph: what it does, and what it waits for.
fn strip<'a>(screen: &'a str, name: &str) -> &'a str {
    let is_it = |row: &&str| row.char_indices().nth(4).is_some_and(|(at, _)| row[at..].starts_with(name));
    screen.lines().find(is_it).unwrap_or_else(|| panic!("no row tells of {name}:\n{screen}"))
}

/// The screen says held when the workload's status does, and not before.
fn hold_and_resume(cab: &mut Cab) {
    cab.select("accounts-api");
    let muted = Muted::new(cab, "accounts-api");
    cab.keys("p");
    cab.until("accounts-api", "a hold in its spec", |o| o["spec"]["paused"] == true);
    cab.row(&["accounts-api", "controller to see the"]);
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        let screen = cab.screen.text();
        assert!(!strip(&screen, "accounts-api").contains("held"), "{screen}");
        assert!(!screen.contains("accounts-api is held") && !screen.contains("HELD"), "{screen}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!sees(&cab.rollout("accounts-api")), "the status was written after all");
    drop(muted);
    cab.row(&["accounts-api", "1/7", "held"]);
    let object = cab.rollout("accounts-api");
    assert!(sees(&object) && object["status"]["message"] == "manually paused", "{}", object["status"]);
    cab.row(&["NEEDS YOU", "accounts-api is held", "r resume"]);
    cab.yes("r", &["accounts-api", "goes on"]);
    let object = cab.until("accounts-api", "no hold", |o| o["spec"]["paused"] != true && sees(o));
    assert_eq!((step(&object), weight(&object)), (&json!(1), &json!(25)), "a resume is no promotion");
}

/// The pause ends, and no more than the pause.
fn approve_a_pause(cab: &mut Cab) {
    cab.select("accounts-api");
    cab.row(&["ROLLING", "wave 1/5", "2 moving", "undo ready", "(2)"]);
    cab.row(&["next: ", "pause ends in", "then analysis error-rate-and-latency"]);
    // Before its gate has measured enough, P would ask for a reason.
    cab.row(&["http-error-rate", "< 0.01", "pass"]);
    cab.row(&["p95-latency", "< 0.25", "pass"]);
    cab.yes("P", &["accounts-api 1.23.4: from step 1/7 to 2/7"]);
    cab.row(&["accounts-api", "25%", "2/7", "analysis run"]);
    cab.keys("P");
    cab.row(&["waits for nothing that could be approved"]);
    let object = cab.rollout("accounts-api");
    assert_eq!((step(&object), weight(&object)), (&json!(2), &json!(25)));
    // The gate of the run that measures, against the limit that the Rollout gives it.
    cab.row_within(&["✔ http-error-rate", "0.002 < 0.01", "pass"], Duration::from_secs(30));
    assert_eq!(cab.screen.colour_of("✔ http-error-rate"), vt100::Color::Idx(2), "green");
}

/// An approval that was asked about before somebody else gave it skips no step.
fn another_hand_was_faster(cab: &mut Cab) {
    cab.select("accounts-api");
    cab.row_within(&["accounts-api", "50%", "4/7", "paused"], Duration::from_secs(60));
    assert_eq!(*weight(&cab.rollout("accounts-api")), 50);
    assert!((cab.traffic_share("accounts-api", "1.23.4") - 0.5).abs() < 1e-6);
    cab.keys("P");
    cab.row(&["accounts-api 1.23.4: from step 4/7 to 5/7"]);
    cab.plane.plugin(&["promote", "accounts-api", "-n", cab.ns.name()]);
    cab.until("accounts-api", "its second analysis", |o| *step(o) == 5);
    // The dialog lies over the list; the graph beside it shows the step.
    cab.row(&["50% 5/7"]);
    cab.keys("y");
    cab.row(&["waits for nothing that could be approved"]);
    let object = cab.rollout("accounts-api");
    assert_eq!((step(&object), weight(&object)), (&json!(5), &json!(50)));
}

fn a_bad_version_is_red_before_any_run(cab: &mut Cab) {
    cab.select("ledger-api");
    cab.row_within(&["✖ http-error-rate", "0.3 < 0.01", "fail"], Duration::from_secs(45));
    cab.row(&["✔ p95-latency", "pass"]);
    assert_eq!(cab.screen.colour_of("✖ http-error-rate"), vt100::Color::Idx(1), "red");
    let runs = cab.plane.objects(&["analysisruns.argoproj.io", "-n", cab.ns.name()]);
    assert!(runs.iter().all(|run| !run["metadata"]["name"].as_str().unwrap().starts_with("ledger-api")));
    cab.row(&["TROUBLE", "1 in trouble"]);
    cab.row(&["ledger-api", "25%", "gate fails"]);
    cab.row(&["NEEDS YOU", "ledger-api: http-error-rate (limit 0.01) fails", "X abort  u undo"]);
    // What fails is not approved, whoever asks.
    cab.keys("P");
    cab.row(&["its gate fails"]);
    assert_eq!(*step(&cab.rollout("ledger-api")), 1);
}

/// All of it at once, with a word and a reason, and back to the very template that was live.
fn finish_and_take_back(cab: &mut Cab) {
    cab.select("pricing-api");
    cab.typed("F", &["pricing-api: 0.32.0 to 100 %"], "pricing-api");
    cab.screen.see("a reason is needed; it is recorded");
    cab.keys("checked by hand\r");
    cab.row(&["wave 1 1/3"]);
    cab.until("pricing-api", "all of 0.32.0", |o| {
        let status = &o["status"];
        status["stableRS"] == status["currentPodHash"] && image(o).ends_with(":0.32.0") && status["phase"] == "Healthy"
    });
    cab.keys("u");
    cab.row(&["pricing-api: 0.32.0 → 0.31.2", "100 % of traffic now; fast"]);
    cab.row(&["type pricing-api to confirm"]);
    std::thread::sleep(READ);
    cab.keys("pricing\r");
    cab.screen.see("type pricing-api exactly");
    cab.keys("-api\r");
    cab.row(&["pricing-api", "waits for somebody to start it"]);
    cab.is_as_recorded("pricing-api");
}

fn flip_the_flag(cab: &mut Cab) {
    let flag = |cab: &Cab| {
        let object = cab.plane.objects(&["featureflags.core.openfeature.dev", "payments-flags", "-n", cab.ns.name()]);
        object[0]["spec"]["flagSpec"]["flags"]["ledger_nullable"].clone()
    };
    let before = flag(cab);
    assert_eq!(before["defaultVariant"], "off");
    cab.keys("f");
    cab.row(&["ledger_nullable", "off", "on", "ledger-api, billing-api, ledger-consumer"]);
    cab.typed("\r", &["ledger_nullable: off → on"], "ledger_nullable");
    cab.row(&["● ledger_nullable", "on"]);
    assert_eq!(flag(cab)["defaultVariant"], "on");
    cab.typed(":flag ledger_nullable 25\r", &["ledger_nullable: on → 25 %"], "ledger_nullable");
    cab.row(&["● ledger_nullable", "25 %"]);
    let shares = &flag(cab)["targeting"]["fractional"];
    assert!(shares.to_string().contains(r#"["on",25]"#), "{shares}");
    // Back to what it was when the screen was opened is a way back: no word is typed.
    cab.yes("\r", &["ledger_nullable: 25 % → off"]);
    cab.row(&["○ ledger_nullable", "off"]);
    assert_eq!(flag(cab)["defaultVariant"], "off");
    assert_eq!(flag(cab)["targeting"], before["targeting"]);
    cab.keys("\x1b");
    cab.screen.see("1 train");
}

/// Filter, command line, freeze, small screen: none of it changes anything in the cluster.
fn look_around(cab: &mut Cab) {
    let before: Vec<Value> = WAVE.map(|(name, ..)| cab.rollout(name)["spec"].clone()).into();
    cab.keys("/pricing\r");
    cab.screen.see("/pricing");
    cab.screen.see("2 gates · pricing-api");
    cab.esc("/pricing");
    cab.keys(" ");
    cab.row(&["FROZEN"]);
    cab.keys("s");
    cab.row(&["the display is frozen"]);
    cab.keys(" ");
    cab.screen.see("● LIVE");
    cab.keys(":sta\t");
    cab.screen.see(":start");
    cab.esc(":start");
    cab.says("promte accounts-api");
    cab.row(&["promte is no command"]);
    cab.says("resume accounts-api");
    cab.row(&["accounts-api is not held"]);
    cab.keys("?");
    cab.row(&["P", "approve the gate or pause that waits"]);
    cab.esc("approve the gate or pause that waits");

    cab.screen.resize(80, 24);
    let place = format!("dev/{}", cab.ns.name());
    cab.row(&["dev", &place, "● LIVE", "RW"]);
    cab.row(&["NEEDS YOU", "ledger-api", "X abort"]);
    cab.row(&["? help"]);
    assert!(cab.screen.text().lines().all(|row| row.chars().count() <= 80));
    cab.screen.resize(120, 36);
    cab.row(&["t retry", "F full", "? help"]);
    let after: Vec<Value> = WAVE.map(|(name, ..)| cab.rollout(name)["spec"].clone()).into();
    assert_eq!(before, after);
}

fn abort(cab: &mut Cab) {
    cab.yes("X", &["accounts-api: all traffic back to 1.22.0"]);
    cab.row(&["accounts-api", "0%", "aborted"]);
    let object = cab.until("accounts-api", "aborted", |o| o["status"]["abort"] == true && *weight(o) == 0);
    assert!(image(&object).ends_with(":1.23.4"), "an abort leaves the spec");
    assert_eq!(cab.traffic_share("accounts-api", "1.22.0"), 1.0);
    cab.row(&["NEEDS YOU", "accounts-api was aborted", "u undo  t retry"]);
}

fn retry_and_undo(cab: &mut Cab) {
    cab.select("accounts-api");
    cab.yes("t", &["accounts-api: 1.23.4 again, from its first step"]);
    cab.row(&["accounts-api", "25%", "1/7", "paused"]);
    cab.until("accounts-api", "its first pause again", |o| *step(o) == 1 && o["status"]["abort"] != true);
    cab.typed("u", &["accounts-api: 1.23.4 → 1.22.0", "at once, its old pods still run"], "accounts-api");
    cab.row(&["accounts-api", "waits for somebody to start it"]);
    cab.is_as_recorded("accounts-api");
}

/// The analysis run measures what the screen had shown before it, and ends the rollout; a person takes the template back.
fn its_gate_ends_the_bad_version(cab: &mut Cab) {
    cab.select("ledger-api");
    cab.row_within(&["ledger-api", "2/7", "analysis run"], Duration::from_secs(70));
    cab.row(&["✖ http-error-rate", "0.3 < 0.01", "fail"]);
    cab.row_within(&["NEEDS YOU", "ledger-api was aborted", "u undo"], Duration::from_secs(60));
    cab.row(&["ledger-api", "0%", "aborted"]);
    let object = cab.until("ledger-api", "aborted by its gate", |o| o["status"]["abort"] == true && *weight(o) == 0);
    assert!(image(&object).ends_with(":3.10.0"));
    let runs = cab.plane.objects(&["analysisruns.argoproj.io", "-n", cab.ns.name()]);
    assert!(runs.iter().any(|run| {
        run["metadata"]["name"].as_str().unwrap().starts_with("ledger-api") && run["status"]["phase"] == "Failed"
    }));
    // The run that ended it stays in sight, red.
    cab.row(&["✖ http-error-rate", "0.3 < 0.01", "fail"]);
    assert_eq!(cab.screen.colour_of("✖ http-error-rate"), vt100::Color::Idx(1), "red");
    cab.typed("u", &["ledger-api: 3.10.0 → 3.9.1"], "ledger-api");
    cab.row(&["ledger-api", "waits for somebody to start it"]);
    cab.is_as_recorded("ledger-api");
    cab.row(&["READY", "10 waiting", "nothing to undo"]);
    cab.row(&["nothing needs you"]);
}

/// Another context says what may not be read there; back again is the same environment, with its rules.
fn switch_and_leave(cab: &mut Cab) {
    cab.says("ctx nowhere");
    cab.row(&["no context nowhere", "dev", "viewer"]);
    cab.says("ctx viewer");
    cab.row(&["viewer/", "RW"]);
    cab.screen.see("orbidden");
    cab.says("ctx dev");
    let place = format!("dev/{}", cab.ns.name());
    cab.row(&["dev", &place, "2025.10.02-rc1", "● LIVE"]);
    cab.row(&["READY", "10 waiting"]);
    cab.keys("q");
    cab.screen.see("leave footplate?");
    cab.keys("\x1b");
    cab.screen.see("2 gates");
    cab.keys("q");
    cab.screen.see("nothing is moving");
    cab.keys("y");
    let status = cab.screen.ended(SOON).expect("it leaves when it was asked to");
    assert!(status.success() && !cab.screen.in_alternate_screen());

    let journal = std::fs::read_to_string(cab.repository.path().join(".state/journal.jsonl")).unwrap();
    let lines: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verbs: Vec<&str> = lines
        .iter()
        .filter(|line| line["what"] == "intent")
        .map(|line| {
            assert_eq!(line["who"], "ana as admin", "{line}");
            line["orders"][0]["verb"].as_str().unwrap()
        })
        .collect();
    let story =
        "start, start, pause, resume, promote, promote --full, undo, flag, flag, flag, abort, start, retry, undo, undo";
    assert_eq!(verbs.join(", "), story);
    let outcomes: Vec<&Value> = lines.iter().filter(|line| line["what"] == "outcome").collect();
    assert!(outcomes.len() == verbs.len() && outcomes.iter().all(|line| line["outcome"] == "done"), "{outcomes:?}");
    let full = lines.iter().find(|line| line["orders"][0]["verb"] == "promote --full").unwrap();
    assert_eq!(full["why"], "checked by hand");
}
