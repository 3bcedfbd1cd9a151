//! Config files through the binary: the sample environment with a history of its own, a served rehearsal as the cluster, and
//! what a start mounts and an undo takes back.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::bad::sample;

/// A served rehearsal and a clone of the environment beside it.
struct Ground {
    folder: tempfile::TempDir,
    server: Child,
    address: String,
    kubeconfig: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let environment = folder.path().join("environment");
        let prepared = bare("bash", folder.path())
            .arg(sample().join("prepare.sh"))
            .arg(&environment)
            .env("CLUSTER_UID", "00000000-0000-0000-0000-000000000000")
            .output()
            .unwrap();
        assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
        let mut server = bare(env!("CARGO_BIN_EXE_footplate"), folder.path())
            .args(["rehearse", "green", "--serve", "127.0.0.1:0"])
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
        let address = lines.next().unwrap().split("http://").nth(1).unwrap().split(',').next().unwrap().to_owned();
        let kubeconfig = lines.next().unwrap().split_whitespace().nth(2).unwrap().into();
        // What it says later is not read, and must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { folder, server, address, kubeconfig }
    }

    fn environment(&self) -> PathBuf {
        self.folder.path().join("environment")
    }

    fn footplate(&self, args: &[&str]) -> Output {
        bare(env!("CARGO_BIN_EXE_footplate"), &self.environment())
            .args(args)
            .args(["--namespace", "payments"])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("FOOTPLATE_STATE_DIR", self.folder.path().join("state"))
            .output()
            .unwrap()
    }

    fn does(&self, args: &[&str]) {
        let output = self.footplate(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn template(&self) -> Value {
        self.get("/apis/argoproj.io/v1alpha1/namespaces/payments/rollouts/billing-api")["spec"]["template"].clone()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn bare(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder);
    command.stdin(Stdio::null());
    command
}

fn mounted(template: &Value) -> &str {
    template["spec"]["volumes"][0]["configMap"]["name"].as_str().unwrap()
}

#[test]
fn a_start_mounts_the_file_of_the_pinned_commit_and_an_undo_takes_it_back() {
    let ground = Ground::new();
    let before = ground.template();
    assert_eq!(mounted(&before), "billing-api-config-0000000000");
    // What lies in the work tree is not what is pinned.
    std::fs::write(ground.environment().join("config/billing/limits.yaml"), "daily_limit_cents: 1\n").unwrap();
    ground.does(&["start", "billing-api", "--yes"]);
    let now = ground.template();
    assert!(now["spec"]["containers"][0]["image"].as_str().unwrap().ends_with(":2.8.0"), "{now}");
    let name = mounted(&now).to_owned();
    assert!(name.starts_with("billing-api-config-") && name != mounted(&before), "{name}");
    let map = ground.get(&format!("/api/v1/namespaces/payments/configmaps/{name}"));
    assert_eq!(map["data"]["limits.yaml"], "daily_limit_cents: 500000\nretry_budget: 3\n");
    assert_eq!(map["immutable"], true);
    ground.does(&["undo", "billing-api", "--confirm", "billing-api"]);
    assert_eq!(ground.template(), before);
}

#[test]
fn a_commit_that_is_not_there_starts_nothing() {
    let ground = Ground::new();
    let manifest = ground.environment().join("release.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let pin = text.lines().find(|line| line.contains("billing/limits.yaml")).unwrap();
    std::fs::write(&manifest, text.replace(pin, "    billing/limits.yaml: abcdef1")).unwrap();
    let before = ground.template();
    let output = ground.footplate(&["start", "billing-api", "--yes"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("config/billing/limits.yaml at commit abcdef1") && said.contains("git fetch"), "{said}");
    assert_eq!(ground.template(), before);
}
