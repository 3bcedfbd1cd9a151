//! A real Prometheus for one test, over the traffic of that test's namespace. It judges nothing.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::controlplane::{must, owned_by_this_process, script};

/// Stops when dropped, or when the test process ends.
pub struct Prometheus {
    dir: PathBuf,
    address: String,
}

impl Prometheus {
    /// Scrapes `/metrics` of a loopback port every five seconds.
    pub fn start(target: u16) -> Self {
        Self::every(target, 5)
    }

    /// The same, every so many seconds.
    pub fn every(target: u16, seconds: u32) -> Self {
        let dir = tempfile::Builder::new().prefix("footplate-prometheus-").tempdir().unwrap().keep();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let args = [port.to_string(), target.to_string(), seconds.to_string()];
        let printed = must(owned_by_this_process(Command::new(script("prometheus.sh")).arg(&dir).args(args)));
        Self { dir, address: printed.trim().to_owned() }
    }

    /// For an AnalysisTemplate or an environment: `http://127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = Command::new(script("controlplane/down.sh")).arg(&self.dir).status();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
