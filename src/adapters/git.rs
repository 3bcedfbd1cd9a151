//! The history of an environment repository, read with the `git` of this machine: no shell, no hooks, no prompt, no pager, no
//! network, a deadline, and a limit on what comes back. What is read, and when, is decided elsewhere.

use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::core::text::Text;
use crate::ports::{ConfigHistory, Fault, FaultKind, Fut};
use crate::text;

/// How long git may take. Reading one file of a large repository takes some ten milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);
/// Largest file, as for every file of the repository.
const BYTES_MAX: usize = crate::core::manifest::yaml::BYTES_MAX;
/// Most of git's own words that are repeated.
const WORDS_MAX: usize = 4 * 1024;
/// What a commit may be named by.
const SHA_MIN: usize = 7;
const SHA_MAX: usize = 64;

/// The history of the repository in a folder.
#[derive(Clone, Debug)]
pub struct GitHistory {
    program: PathBuf,
    root: PathBuf,
}

impl GitHistory {
    /// Of the repository whose root, or a folder of which, this is.
    pub fn of(root: &Path) -> Self {
        Self { program: "git".into(), root: root.to_owned() }
    }

    async fn read(&self, path: &str, sha: &str) -> Result<Vec<u8>, Fault> {
        let fault = |kind, why: Text, hint: &str| Fault {
            kind,
            what: text!("read config/{path} at commit {sha}"),
            why,
            hint: Text::scrub(hint),
        };
        let hex = |c: char| c.is_ascii_hexdigit() && !c.is_ascii_uppercase();
        if !(SHA_MIN..=SHA_MAX).contains(&sha.len()) || !sha.chars().all(hex) {
            let hint = "pin the commit by seven or more digits of its hash";
            return Err(fault(FaultKind::Malformed, "that is no hash of a commit".into(), hint));
        }
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !plain || path.chars().any(char::is_control) || path.contains([':', '\\']) {
            let hint = "write a path below config/ of the repository";
            return Err(fault(FaultKind::Malformed, "the path leads out of config/, or cannot be one".into(), hint));
        }
        // A branch or tag may be named by the same digits, and would come first: what counts is the hash that they begin.
        let commit =
            self.run(&["rev-parse", "--verify", "--end-of-options", &format!("{sha}^{{commit}}")], &fault).await?;
        let commit = String::from_utf8_lossy(&commit).trim().to_owned();
        if !commit.starts_with(sha) {
            let why = text!("{sha} names a branch or tag, not a commit");
            return Err(fault(FaultKind::Malformed, why, "pin more digits of the commit's hash"));
        }
        // `./` makes the path relative to this folder, which need not be the root of git's repository.
        let content = self.run(&["cat-file", "blob", &format!("{commit}:./config/{path}")], &fault).await?;
        if content.len() > BYTES_MAX {
            let why = text!("the file has more than the {BYTES_MAX} bytes that are read");
            return Err(fault(FaultKind::Malformed, why, "split it, or remove what does not belong there"));
        }
        Ok(content)
    }

    /// What git answers, at most one byte more than the limit.
    async fn run(
        &self,
        args: &[&str],
        fault: &(dyn Fn(FaultKind, Text, &str) -> Fault + Sync),
    ) -> Result<Vec<u8>, Fault> {
        let mut command = Command::new(&self.program);
        command
            .args(["--no-pager", "--no-optional-locks", "--literal-pathspecs", "-c", "core.fsmonitor=false"])
            .args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"])
            .args(args)
            .current_dir(&self.root)
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|why| {
            let hint = "install git, or call it where git is on PATH";
            fault(FaultKind::Unreachable, text!("git cannot be run: {why}"), hint)
        })?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let done = async {
            let (content, words) = tokio::join!(all(out, BYTES_MAX + 1), all(err, WORDS_MAX));
            (child.wait().await, content, words)
        };
        let Ok((status, content, words)) = tokio::time::timeout(DEADLINE, done).await else {
            let why = text!("git gave no answer within {} s", DEADLINE.as_secs());
            return Err(fault(FaultKind::Timeout, why, "look whether the repository's disk answers"));
        };
        match status {
            // Cut off at the limit it ends by a broken pipe, and the caller sees the length.
            Ok(status) if status.success() || content.len() > BYTES_MAX => Ok(content),
            Ok(_) => {
                let said = String::from_utf8_lossy(&words);
                let said = Text::scrub(said.lines().next().unwrap_or("git said nothing").trim_start_matches("fatal: "));
                let hint = if said.contains("not a git repository") {
                    "call it in a clone of the environment repository"
                } else {
                    "fetch the commit (git fetch), or pin one that has the file"
                };
                Err(fault(FaultKind::NotFound, said, hint))
            }
            Err(why) => Err(fault(FaultKind::Server, text!("git did not end as it should: {why}"), "order it again")),
        }
    }
}

impl ConfigHistory for GitHistory {
    fn at<'a>(&'a self, path: &'a str, sha: &'a str) -> Fut<'a, Result<Vec<u8>, Fault>> {
        Box::pin(self.read(path, sha))
    }
}

/// What a pipe brings, up to a limit; what broke off is as short as it came, and git's exit tells.
async fn all(pipe: Option<impl AsyncRead + Unpin>, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(limit as u64).read_to_end(&mut bytes).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, args: &[&str]) -> String {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Two commits of one file, in a folder below the root of git's repository; and their hashes.
    fn repository() -> (tempfile::TempDir, PathBuf, [String; 2]) {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("environments");
        std::fs::create_dir_all(folder.join("config/billing")).unwrap();
        std::fs::write(top.path().join("secret"), "not yours").unwrap();
        git(top.path(), &["init", "-q", "-b", "main"]);
        let shas = ["400000", "500000"].map(|limit| {
            std::fs::write(folder.join("config/billing/limits.yaml"), format!("limit: {limit}\n")).unwrap();
            git(top.path(), &["add", "-A"]);
            git(top.path(), &["commit", "-qm", limit]);
            git(top.path(), &["rev-parse", "HEAD"])
        });
        (top, folder, shas)
    }

    #[tokio::test]
    async fn a_file_is_what_it_was_at_its_commit() {
        let (_top, folder, [old, new]) = repository();
        let history = GitHistory::of(&folder);
        assert_eq!(history.at("billing/limits.yaml", &old[..7]).await.unwrap(), b"limit: 400000\n");
        assert_eq!(history.at("billing/limits.yaml", &new).await.unwrap(), b"limit: 500000\n");
        std::fs::write(folder.join("config/billing/limits.yaml"), "limit: 0\n").unwrap();
        assert_eq!(
            history.at("billing/limits.yaml", &new).await.unwrap(),
            b"limit: 500000\n",
            "not what lies there now"
        );
    }

    #[tokio::test]
    async fn hostile_names_read_nothing() {
        let (top, folder, [_, new]) = repository();
        git(top.path(), &["branch", "abcdef0"]);
        let history = GitHistory::of(&folder);
        for (path, sha) in [
            ("../../secret", new.as_str()),
            ("/etc/passwd", &new),
            ("", &new),
            ("a\nb", &new),
            ("x:y", &new),
            ("billing/limits.yaml", "HEAD"),
            ("billing/limits.yaml", "--help"),
            ("billing/limits.yaml", "main"),
            ("billing/limits.yaml", "HEAD~1"),
            ("billing/limits.yaml", "$(id)"),
            ("billing/limits.yaml", "1234567"),
            ("billing/limits.yaml", "abcdef0"),
            ("billing/none.yaml", &new),
            ("billing", &new),
        ] {
            let fault = history.at(path, sha).await.expect_err(path);
            assert!(!fault.why.is_empty() && !fault.hint.is_empty(), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_repository_and_what_is_no_git_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let fault = GitHistory::of(folder.path()).at("a", "1234567").await.unwrap_err();
        assert!(fault.why.contains("not a git repository") && fault.hint.contains("clone"), "{fault:?}");
        let none = GitHistory { program: "/none/git".into(), root: folder.path().to_owned() };
        let fault = none.at("a", "1234567").await.unwrap_err();
        assert!(fault.why.contains("git cannot be run"), "{fault:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_git_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let slow = folder.path().join("git");
        std::fs::write(&slow, "#!/bin/sh\nsleep 60\n").unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).unwrap();
        let hangs = GitHistory { program: slow, root: folder.path().to_owned() };
        assert_eq!(hangs.at("a", "1234567").await.unwrap_err().kind, FaultKind::Timeout);
    }
}
