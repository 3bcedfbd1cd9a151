//! A rehearsal cluster served by the real binary on a loopback port, and kubeconfigs for it under any names.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A served rehearsal; it ends with the value.
pub struct Served {
    child: Child,
    pub address: String,
    folder: tempfile::TempDir,
}

impl Served {
    pub fn start(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_footplate"))
            .args(["rehearse", scenario, "--serve", "127.0.0.1:0"])
            .env_clear()
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split(',').next().unwrap().to_owned();
        Self { child, address, folder }
    }

    /// Where its Prometheus answers.
    pub fn prometheus(&self) -> String {
        format!("http://{}/prometheus", self.address)
    }

    /// Writes a kubeconfig into a folder: the same cluster under each of these names.
    pub fn kubeconfig(&self, folder: &Path, current: &str, names: &[&str]) -> PathBuf {
        kubeconfig(folder, &self.address, current, names)
    }
}

/// Writes a kubeconfig into a folder: the server at this address under each of these names.
pub fn kubeconfig(folder: &Path, address: &str, current: &str, names: &[&str]) -> PathBuf {
    let contexts: String = names
        .iter()
        .map(|name| format!("- name: {name}\n  context: {{cluster: one, user: ana, namespace: payments}}\n"))
        .collect();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {current}\n\
         clusters:\n- name: one\n  cluster: {{server: \"http://{address}\"}}\n\
         users:\n- name: ana\n  user: {{}}\ncontexts:\n{contexts}"
    );
    let path = folder.join("kubeconfig");
    std::fs::write(&path, text).unwrap();
    path
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.folder.path();
    }
}
