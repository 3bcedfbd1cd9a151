//! The control plane that all tests of this binary share: started once, stopped when the test process ends, however it ends.
//! Knows no workload and no metric.
//!
//! With `FOOTPLATE_REAL_DIR` naming the folder of one that `controlplane/up.sh` started by hand, that one is used and left running.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Consecutive ports that one control plane owns (see `up.sh`).
const PORTS: u16 = 10;

/// A running control plane.
pub struct ControlPlane {
    dir: PathBuf,
    path: String,
    ours: bool,
}

/// The control plane of this test binary.
pub fn shared() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(ControlPlane::start)
}

impl ControlPlane {
    /// Builds what is missing and starts a control plane of its own.
    pub fn start() -> Self {
        Self::started(&[])
    }

    /// Only etcd and an API server: nothing changes what is written there. For the benches.
    #[allow(dead_code)]
    pub fn bare() -> Self {
        Self::started(&[("FOOTPLATE_REAL_BARE", "1")])
    }

    fn started(env: &[(&str, &str)]) -> Self {
        if let Some(dir) = std::env::var_os("FOOTPLATE_REAL_DIR") {
            return Self::at(PathBuf::from(dir), false);
        }
        must(&mut Command::new(script("controlplane/build.sh")));
        let dir = tempfile::Builder::new().prefix("footplate-real-").tempdir().unwrap().keep();
        // Another process may take a port between the look and the start, so a refusal is tried elsewhere.
        let mut refusals = Vec::new();
        for base in free_bases().take(3) {
            let mut up = Command::new(script("controlplane/up.sh"));
            let out =
                owned_by_this_process(up.arg(&dir).arg(base.to_string()).envs(env.iter().copied())).output().unwrap();
            if out.status.success() {
                return Self::at(dir, true);
            }
            refusals.push(text(&out.stderr));
        }
        panic!("the control plane did not start: {}", refusals.join("\n"));
    }

    fn at(dir: PathBuf, ours: bool) -> Self {
        let bins = must(Command::new(script("controlplane/build.sh")).arg("--print"));
        let mut path: Vec<PathBuf> = bins.lines().map(PathBuf::from).collect();
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        Self { dir, path: std::env::join_paths(path).unwrap().into_string().unwrap(), ours }
    }

    /// Contexts: `dev` may do anything, `viewer` nothing until a test binds a role to the user of that name.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// A fresh namespace. It goes when the value does, unless the test failed.
    pub fn namespace(&'static self) -> Namespace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["create", "namespace", &name]);
        Namespace { name, plane: self }
    }

    /// What `kubectl` prints; a failure of it is one of the test.
    pub fn kubectl(&self, args: &[&str]) -> String {
        must(self.command("kubectl").args(args))
    }

    /// Like [`Self::kubectl`] for the tests that expect a refusal.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let out = self.command("kubectl").args(args).output().unwrap();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    /// What the Argo Rollouts plugin prints.
    pub fn plugin(&self, args: &[&str]) -> String {
        must(self.command("kubectl-argo-rollouts").args(args))
    }

    /// The objects that `kubectl get ARGS -o json` finds.
    pub fn objects(&self, args: &[&str]) -> Vec<Value> {
        let list = self.kubectl(&[&["get"], args, &["-o", "json"]].concat());
        let mut list: Value = serde_json::from_str(&list).unwrap();
        match list["items"].take() {
            Value::Array(items) => items,
            _ => vec![list],
        }
    }

    /// A program of the control plane's, with its kubeconfig.
    pub fn command(&self, program: &str) -> Command {
        // Found by hand: the search for a program goes by the caller's PATH, not by the one given to the child.
        let found = std::env::split_paths(&self.path).map(|dir| dir.join(program)).find(|file| file.is_file());
        let mut command = Command::new(found.unwrap_or_else(|| panic!("{program} is not on PATH")));
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("PATH", &self.path)
            .env("KUBECACHEDIR", self.dir.join("kubectl-cache"));
        command
    }
}

impl ControlPlane {
    /// Stops it, where it was started from here: for one that is never dropped.
    pub fn stop(&self) {
        if self.ours {
            let _ = Command::new(script("controlplane/down.sh")).arg(&self.dir).status();
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A namespace of one test.
pub struct Namespace {
    name: String,
    plane: &'static ControlPlane,
}

impl Namespace {
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = self.plane.try_kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        }
    }
}

/// Looks twice a second until `look` finds something.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if start.elapsed() > limit => {
                panic!("{what}: not within {limit:?}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}

/// What the scripts start for this command stops when this process ends.
pub fn owned_by_this_process(command: &mut Command) -> &mut Command {
    command.env("FOOTPLATE_REAL_PARENT", std::process::id().to_string()).env("FOOTPLATE_REAL_REMOVE", "1")
}

/// A script of this test suite.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real").join(name)
}

/// Runs a command that has to succeed, and gives its output.
pub fn must(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}\n{}{}", text(&stdout), text(&stderr));
    text(&stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Port bases with nothing on their ports, below the range that outgoing connections use; where to begin differs by process.
fn free_bases() -> impl Iterator<Item = u16> {
    let slots = 1000;
    let first = std::process::id() % slots;
    (0..slots)
        .map(move |n| 20_000 + u16::try_from((first + n) % slots).unwrap() * PORTS)
        .filter(|base| (*base..base + PORTS).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()))
}

#[test]
fn answers_the_admin_and_refuses_the_viewer_until_a_role_is_bound() {
    let plane = shared();
    let ns = plane.namespace();
    let list = ["get", "rollouts.argoproj.io", "-n", ns.name()];
    plane.kubectl(&list);
    let as_viewer = [&list[..], &["--context", "viewer"]].concat();
    let refused = plane.try_kubectl(&as_viewer).unwrap_err();
    assert!(refused.contains("Forbidden"), "{refused}");

    plane.kubectl(&["create", "role", "reader", "--verb=list", "--resource=rollouts.argoproj.io", "-n", ns.name()]);
    plane.kubectl(&["create", "rolebinding", "reader", "--role=reader", "--user=viewer", "-n", ns.name()]);
    wait_for("the viewer may list", Duration::from_secs(5), || plane.try_kubectl(&as_viewer));
}
