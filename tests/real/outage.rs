//! The cockpit on a real control plane that goes away and whose rights change: the API server killed and started again, a user
//! to whom roles are bound one after another. A control plane of its own, because it is broken on purpose.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::controlplane::{ControlPlane, script};
use super::program::Program;

const PATIENCE: Duration = Duration::from_secs(60);

const ROLLOUT: &str = r#"
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: billing-api, namespace: outage}
spec:
  replicas: 4
  selector: {matchLabels: {app: billing-api}}
  strategy: {canary: {steps: [{setWeight: 25}, {pause: {}}, {setWeight: 50}, {pause: {}}]}}
  template:
    metadata: {labels: {app: billing-api}}
    spec: {containers: [{name: app, image: "registry.example/billing-api:1.0.0"}]}
"#;

/// The API server's process and how it was started.
fn api_server(plane: &ControlPlane) -> (u32, Vec<String>) {
    let pids = std::fs::read_to_string(plane.kubeconfig().with_file_name("pids")).unwrap();
    let line = pids.lines().rfind(|line| line.starts_with("kube-apiserver ")).unwrap();
    let pid: u32 = line.split(' ').nth(1).unwrap().parse().unwrap();
    let raw = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    (pid, raw.split_terminator('\0').map(str::to_owned).collect())
}

/// Kills the API server; how it was started.
pub fn kill_api_server(plane: &ControlPlane) -> Vec<String> {
    let (pid, line) = api_server(plane);
    let kill = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(kill.success());
    line
}

/// Starts a killed one again.
pub fn start_again(plane: &ControlPlane, line: &[String]) -> Killed {
    let again = Command::new(&line[0])
        .args(&line[1..])
        .env("PATH", plane.command("kubectl").get_envs().find(|(k, _)| *k == "PATH").unwrap().1.unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Killed(again)
}

/// Ends with the test.
pub struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cockpit(plane: &ControlPlane, context: &str, columns: u16, rows: u16) -> Program {
    let config = plane.kubeconfig();
    let state = config.with_file_name(format!("state-{context}"));
    let (config, state) = (config.display().to_string(), state.display().to_string());
    let env = [("KUBECONFIG", &*config), ("FOOTPLATE_STATE_DIR", &*state), ("NO_COLOR", ""), ("LANG", "C.UTF-8")];
    let exe = env!("CARGO_BIN_EXE_footplate");
    Program::spawn(&["env", "-C", "/", exe, "--context", context, "-n", "outage"], &env, columns, rows)
}

fn sees(program: &Program, all: &[&str]) {
    if let Err(screen) = program.wait(PATIENCE, |text| all.iter().all(|one| text.contains(one))) {
        panic!("not all of {all:?} came; the screen is:\n{screen}");
    }
}

/// What a command of a user says, and its exit code.
fn run(plane: &ControlPlane, context: &str, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_footplate"))
        .args(["--context", context, "-n", "outage"])
        .args(args)
        .current_dir("/")
        .env("KUBECONFIG", plane.kubeconfig())
        .env("FOOTPLATE_STATE_DIR", plane.kubeconfig().with_file_name("state-cli"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.code(), said)
}

#[test]
fn an_api_server_that_dies_and_comes_back_and_rights_that_grow() {
    let _ = script("controlplane/up.sh");
    let plane = ControlPlane::start();
    plane.kubectl(&["create", "namespace", "outage"]);
    let file = plane.kubeconfig().with_file_name("rollout.yaml");
    std::fs::write(&file, ROLLOUT).unwrap();
    plane.kubectl(&["apply", "-f", &file.display().to_string()]);
    let path = file.display().to_string();
    let captain = cockpit(&plane, "dev", 120, 36);
    sees(&captain, &["LIVE", "billing-api"]);
    std::fs::write(&file, ROLLOUT.replace(":1.0.0", ":2.0.0")).unwrap();
    super::controlplane::wait_for("it is healthy", Duration::from_secs(60), || {
        let phase = plane.kubectl(&["get", "rollout", "-n", "outage", "billing-api", "-o", "jsonpath={.status.phase}"]);
        if phase == "Healthy" { Ok(()) } else { Err(phase) }
    });
    plane.kubectl(&["apply", "-f", &path]);
    sees(&captain, &["LIVE", "2.0.0", "waits for approval"]);

    // A user without any right: it opens and names the rule; with rights to look it sees; with none to change it is refused.
    let viewer = cockpit(&plane, "viewer", 120, 36);
    sees(&viewer, &["ask for this rule in outage"]);
    let (code, says) = run(&plane, "viewer", &["status"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("verbs [\"list\"]"), "{says}");
    let look = "rollouts.argoproj.io,analysisruns.argoproj.io,analysistemplates.argoproj.io,replicasets.apps,deployments.apps,pods,events,configmaps,canaries.flagger.app,featureflags.core.openfeature.dev";
    plane.kubectl(&["create", "role", "look", "-n", "outage", "--verb=get,list,watch", &format!("--resource={look}")]);
    plane.kubectl(&["create", "rolebinding", "look", "-n", "outage", "--role=look", "--user=viewer"]);
    sees(&viewer, &["LIVE", "billing-api", "2.0.0"]);
    let (code, says) = run(&plane, "viewer", &["pause", "billing-api"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("patch rollout outage/billing-api") && says.contains("resources [\"rollouts\"]"), "{says}");
    plane.kubectl(&["create", "role", "hold", "-n", "outage", "--verb=patch", "--resource=rollouts.argoproj.io"]);
    plane.kubectl(&["create", "rolebinding", "hold", "-n", "outage", "--role=hold", "--user=viewer"]);
    super::controlplane::wait_for("the viewer may hold", Duration::from_secs(10), || {
        match run(&plane, "viewer", &["pause", "billing-api"]) {
            (Some(0), _) => Ok(()),
            (_, says) => Err(says),
        }
    });
    let (code, says) = run(&plane, "viewer", &["resume", "billing-api", "--yes"]);
    assert_eq!(code, Some(0), "{says}");
    let (code, says) = run(&plane, "viewer", &["promote", "billing-api", "--yes"]);
    assert_eq!(code, Some(3), "{says}");
    assert!(says.contains("resources [\"rollouts/status\"]"), "{says}");

    // The API server is killed, and comes back.
    let line = kill_api_server(&plane);
    sees(&captain, &["s old", "billing-api", "refused"]);
    sees(&captain, &["DOWN", "was "]);
    let (code, says) = run(&plane, "dev", &["abort", "billing-api", "--yes"]);
    assert_eq!(code, Some(3), "{says}");
    let _again = start_again(&plane, &line);
    sees(&captain, &["LIVE", "billing-api"]);
    sees(&viewer, &["LIVE", "billing-api"]);
    super::controlplane::wait_for("an abort arrives", Duration::from_secs(60), || {
        match run(&plane, "dev", &["abort", "billing-api", "--yes"]) {
            (Some(0), _) => Ok(()),
            (_, says) => Err(says),
        }
    });
    sees(&captain, &["LIVE", "aborted"]);
}
