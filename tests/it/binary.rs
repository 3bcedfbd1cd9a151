//! The real binary in a home of its own: run to its end, or on a pty. What it should do is the business of the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::program::Program;

/// A folder with everything that the binary may read or write beside the repository.
pub struct Home {
    pub folder: tempfile::TempDir,
}

/// What a run of the binary left behind.
pub struct Ran {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl Home {
    pub fn new(kubeconfig: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn env(&self) -> Vec<(&'static str, String)> {
        let at = |name: &str| self.path(name).display().to_string();
        vec![
            ("HOME", at("")),
            ("KUBECONFIG", at("kubeconfig")),
            ("FOOTPLATE_STATE_DIR", at("state")),
            ("FOOTPLATE_CONFIG_DIR", at("config")),
            ("PATH", std::env::var("PATH").unwrap()),
            ("LANG", "C.UTF-8".to_owned()),
            ("USER", "ana".to_owned()),
        ]
    }

    pub fn run(&self, folder: &Path, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_footplate"))
            .args(args)
            .args(["--log-level", "trace", "--log-file"])
            .arg(self.path("log"))
            .current_dir(folder)
            .env_clear()
            .envs(self.env())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran { code: output.status.code(), out: output.stdout, err: output.stderr }
    }
}

impl Home {
    /// Like [`Self::run`], ended after a while.
    pub fn run_for(&self, folder: &Path, args: &[&str], patience: Duration) -> Ran {
        let (out, err) = (self.path("stdout"), self.path("stderr"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_footplate"))
            .args(args)
            .current_dir(folder)
            .env_clear()
            .envs(self.env())
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let until = Instant::now() + patience;
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let code = child.wait().unwrap().code();
        Ran { code, out: std::fs::read(out).unwrap(), err: std::fs::read(err).unwrap() }
    }
}

/// The cockpit in a pty.
pub struct Screen {
    pub program: Program,
}

impl Screen {
    pub fn open(home: &Home, folder: &Path, args: &[&str], columns: u16, rows: u16) -> Self {
        let mut command: Vec<String> = vec!["env".into(), "-i".into(), format!("--chdir={}", folder.display())];
        command.extend(home.env().into_iter().map(|(key, value)| format!("{key}={value}")));
        command.extend(["TERM=xterm-256color".into(), "TZ=UTC".into(), env!("CARGO_BIN_EXE_footplate").into()]);
        command.extend(args.iter().map(|arg| (*arg).to_owned()));
        command.extend([
            "--log-level".into(),
            "trace".into(),
            "--log-file".into(),
            home.path("log").display().to_string(),
        ]);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        Self { program: Program::spawn(&command, &[], columns, rows) }
    }

    /// Waits until nothing more comes for a moment.
    pub fn settle(&self) {
        let until = Instant::now() + Duration::from_secs(2);
        let mut before = self.program.bytes();
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.program.bytes();
            if now == before || Instant::now() > until {
                return;
            }
            before = now;
        }
    }

    pub fn press(&mut self, keys: &[&str]) {
        for key in keys {
            self.program.send(key);
            self.settle();
        }
    }

    /// Leaves with the key that always does, and gives every byte that came.
    pub fn leave(mut self) -> Vec<u8> {
        self.press(&["\u{3}", "\u{3}"]);
        assert!(self.program.ended(Duration::from_secs(20)).is_some(), "it does not end:\n{}", self.program.text());
        assert!(!self.program.in_alternate_screen(), "the terminal is not as it was");
        self.program.raw()
    }
}
