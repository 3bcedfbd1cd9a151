//! Credential plugins of a kubeconfig (`exec`): run without a terminal, with a deadline, once for all who wait, and
//! again when the server says 401. What a plugin prints never reaches the screen as it is. Static credentials are the
//! client's own business.
//!
//! The client library would run plugins with our stderr and stdin inherited, without a deadline, and would keep a
//! token without expiry for ever (`reliability-and-security` §3); so they are run here.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use kube::config::ExecConfig;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::fault::redact;
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind, Plugins};
use crate::text;

/// Longest time a plugin may take. Cloud CLIs were seen to take 30 s on a bad line.
pub const PLUGIN_DEADLINE: Duration = Duration::from_secs(45);
/// How long before its expiry a token is renewed.
const EARLY: SignedDuration = SignedDuration::from_secs(30);
/// A failed run is answered with the same fault for this long, so that eight watches do not start eight plugins.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// A server that goes on refusing what a plugin hands out does not get the plugin run more often than this.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// A plugin that runs longer than this may be waiting for a person.
const LONG: Duration = Duration::from_secs(3);
/// Most that is read of what a plugin prints.
const OUTPUT_MAX: u64 = 1 << 20;

/// What a plugin handed out.
#[derive(Clone)]
pub(super) struct Grant {
    /// Ready for the `Authorization` header; none when it is a certificate alone.
    pub bearer: Option<HeaderValue>,
    /// Client certificate and key, PEM.
    pub certificate: Option<(String, String)>,
    expires: Option<Timestamp>,
    /// Rises with each run, so that a 401 renews only what it was said about.
    pub turn: u64,
}

/// A credential plugin and what it last handed out.
pub(super) struct Plugin {
    command: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    info: String,
    user: Text,
    install: Option<Text>,
    allowed: Plugins,
    deadline: Duration,
    state: Mutex<State>,
    /// Since when it runs; none while it does not.
    running: std::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    grant: Option<Grant>,
    failed: Option<(Instant, Fault)>,
    /// When a 401 last led to a run.
    renewed: Option<Instant>,
    turn: u64,
}

impl Plugin {
    /// Takes the plugin of a kubeconfig's user; that it is not one of those allowed is said when it is to be run. A fault when
    /// it names no command.
    pub fn new(exec: &ExecConfig, user: &Text, allowed: &Plugins, deadline: Duration) -> Result<Self, Fault> {
        let Some(command) = exec.command.as_deref().filter(|c| !c.is_empty()) else {
            return Err(fault(
                user,
                Text::scrub("its exec section names no command"),
                Text::scrub("correct users[].user.exec.command in the kubeconfig"),
            ));
        };
        let env =
            exec.env.iter().flatten().filter_map(|pair| Some((pair.get("name")?.clone(), pair.get("value")?.clone())));
        let version = exec.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1");
        let mut spec = json!({ "interactive": false });
        if exec.provide_cluster_info
            && let Some(cluster) = &exec.cluster
        {
            spec["cluster"] = serde_json::to_value(cluster).unwrap_or(Value::Null);
        }
        Ok(Self {
            command: command.into(),
            args: exec.args.clone().unwrap_or_default(),
            env: env.collect(),
            info: json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec }).to_string(),
            user: user.clone(),
            install: exec.install_hint.as_deref().map(Text::scrub),
            allowed: allowed.clone(),
            deadline,
            state: Mutex::default(),
            running: std::sync::Mutex::default(),
        })
    }

    /// The command as a person would type it, credentials blotted out.
    pub fn command_line(&self) -> Text {
        redact(&format!("{} {}", self.command.display(), self.args.join(" ")))
    }

    /// How a person renews what this plugin rests on.
    pub fn renew(&self) -> Text {
        let name = self.command.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let login = match name {
            "aws" | "aws-iam-authenticator" => "aws sso login",
            "gke-gcloud-auth-plugin" | "gcloud" => "gcloud auth login",
            "kubelogin" if self.args.iter().any(|a| a.contains("azurecli")) => "az login",
            "kubectl-oidc_login" => "kubectl oidc-login setup",
            "tsh" => "tsh login",
            "doctl" => "doctl auth init",
            "oci" => "oci session authenticate",
            _ => "",
        };
        if login.is_empty() {
            text!("run `{}` in another terminal and do what it asks; it is tried again by itself", self.command_line())
        } else {
            text!("run `{login}` in another terminal; it is tried again by itself")
        }
    }

    /// What to send with a request. `refused` is the turn that a server answered with 401: it is not used again.
    pub async fn grant(&self, refused: Option<u64>) -> Result<Grant, Fault> {
        let mut state = self.state.lock().await;
        if let Some(grant) = &state.grant
            && refused.is_none_or(|turn| turn < grant.turn)
            && grant.expires.is_none_or(|at| Timestamp::now() + EARLY < at)
        {
            return Ok(grant.clone());
        }
        if let Some((at, fault)) = &state.failed
            && at.elapsed() < FAILED_FOR
        {
            return Err(fault.clone());
        }
        if refused.is_some() {
            if state.renewed.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
                let why = text!("the server refuses what {} hands out", self.command_line());
                return Err(fault(&self.user, why, self.renew()));
            }
            state.renewed = Some(Instant::now());
        }
        state.turn += 1;
        let running = Running::begin(&self.running);
        let ran = self.run(state.turn).await;
        drop(running);
        match ran {
            Ok(grant) => {
                state.failed = None;
                state.grant = Some(grant.clone());
                Ok(grant)
            }
            Err(fault) => {
                state.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    /// Says that it runs, when that takes long: it cannot ask anybody anything, but may wait for a login elsewhere.
    pub fn held_up(&self) -> Option<Fault> {
        let since = (*self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
        (since.elapsed() >= LONG).then(|| {
            let line = self.command_line();
            let why = text!("{line} has not ended yet");
            let seconds = self.deadline.as_secs();
            fault(
                &self.user,
                why,
                text!("if it waits for you, run it in another terminal; it is stopped after {seconds} s"),
            )
        })
    }

    async fn run(&self, turn: u64) -> Result<Grant, Fault> {
        let Some(program) = resolve(&self.command) else {
            let hint =
                self.install.clone().unwrap_or_else(|| text!("install {} or put it on PATH", self.command.display()));
            return Err(fault(&self.user, text!("{} is not on PATH", self.command.display()), hint));
        };
        if !allows(&self.allowed, &program) {
            let name = self.command.display();
            let why = text!("{name} ({}) is not in credential_plugins of your settings", program.display());
            let hint = text!("if you trust it, add \"{name}\" to that list; `footplate doctor` names the file");
            return Err(fault(&self.user, why, hint));
        }
        // In a session of its own a plugin has no controlling terminal: it can neither draw on the screen nor wait for keys.
        let mut command = match resolve(Path::new("setsid")) {
            Some(setsid) => {
                let mut command = Command::new(setsid);
                command.arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .env("KUBERNETES_EXEC_INFO", &self.info)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let failed = |why: Text| fault(&self.user, why, self.renew());
        let mut child =
            command.spawn().map_err(|why| failed(text!("{} cannot be started: {why}", self.command_line())))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(text!("{} has no output", self.command_line())));
        };
        let (mut said, mut told) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (stdout.take(OUTPUT_MAX), stderr.take(OUTPUT_MAX));
        let finished = async {
            tokio::try_join!(stdout.read_to_end(&mut said), stderr.read_to_end(&mut told))?;
            child.wait().await
        };
        let status = match tokio::time::timeout(self.deadline, finished).await {
            Ok(Ok(status)) => status,
            Ok(Err(why)) => return Err(failed(text!("{} cannot be read: {why}", self.command_line()))),
            Err(_) => {
                let seconds = self.deadline.as_secs();
                return Err(failed(text!("{} did not end in {seconds} s and was stopped", self.command_line())));
            }
        };
        if !status.success() {
            let told = String::from_utf8_lossy(&told);
            let last: Vec<&str> = told.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
            let last = last[last.len().saturating_sub(3)..].join("; ");
            let code = status.code().map_or_else(|| "by a signal".to_owned(), |c| format!("with {c}"));
            return Err(failed(text!("{} ended {code}: {}", self.command_line(), redact(&last))));
        }
        let said = String::from_utf8_lossy(&said);
        // JSON is YAML too, but the strict parser's answer is the better one for what is nearly always JSON.
        let said: Value = serde_json::from_str(&said)
            .or_else(|_| serde_yaml::from_str(&said))
            .map_err(|_| failed(text!("{} printed no ExecCredential", self.command_line())))?;
        let field =
            |name: &str| said.pointer(&format!("/status/{name}")).and_then(Value::as_str).filter(|v| !v.is_empty());
        let bearer = field("token").map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, http::header::InvalidHeaderValue>(value)
        });
        let bearer = bearer
            .transpose()
            .map_err(|_| failed(text!("{} handed out a token that fits no header", self.command_line())))?;
        let certificate = field("clientCertificateData")
            .zip(field("clientKeyData"))
            .map(|(certificate, key)| (certificate.to_owned(), key.to_owned()));
        if bearer.is_none() && certificate.is_none() {
            return Err(failed(text!("{} handed out neither token nor certificate", self.command_line())));
        }
        Ok(Grant { bearer, certificate, expires: field("expirationTimestamp").and_then(|at| at.parse().ok()), turn })
    }
}

/// Marks a plugin as running until it is dropped: whoever waited may have given up.
struct Running<'a>(&'a std::sync::Mutex<Option<Instant>>);

impl<'a> Running<'a> {
    fn begin(since: &'a std::sync::Mutex<Option<Instant>>) -> Self {
        *since.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
        Self(since)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }
}

fn fault(user: &Text, why: Text, hint: Text) -> Fault {
    Fault { kind: FaultKind::Unauthorized, what: text!("get credentials of {user}"), why, hint }
}

/// Whether a program may be run: one of the list leads to the very same file. By its place and not by its name, so that a
/// kubeconfig cannot bring an `aws` of its own.
fn allows(plugins: &Plugins, program: &Path) -> bool {
    match plugins {
        Plugins::Any => true,
        Plugins::Only(list) => {
            let place = |path: &Path| path.canonicalize().ok();
            let wanted = place(program);
            wanted.is_some()
                && list.iter().filter_map(|name| resolve(Path::new(name.as_str()))).any(|p| place(&p) == wanted)
        }
    }
}

/// The executable that a command names: itself when it has a slash, else the first on PATH.
pub(super) fn resolve(command: &Path) -> Option<PathBuf> {
    if command.components().count() > 1 {
        return command.is_file().then(|| command.to_owned());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(command)).find(|p| p.is_file())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn plugin(folder: &Path, script: &str, deadline: Duration) -> Plugin {
        let path = folder.join("plugin");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let exec = ExecConfig { command: Some(path.display().to_string()), ..ExecConfig::default() };
        Plugin::new(&exec, &"ana".into(), &Plugins::Any, deadline).unwrap()
    }

    fn token(grant: &Grant) -> &str {
        grant.bearer.as_ref().unwrap().to_str().unwrap()
    }

    #[tokio::test]
    async fn a_plugin_is_run_once_and_again_after_a_401() {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = format!(
            r#"echo x >> {0}; n=$(wc -l < {0} | tr -d ' ')
case "$KUBERNETES_EXEC_INFO" in *'"interactive":false'*) ;; *) exit 9;; esac
if ( : < /dev/tty ) 2>/dev/null; then exit 8; fi
if read -r line; then exit 7; fi
echo "{{\"status\":{{\"token\":\"t$n\"}}}}""#,
            count.display()
        );
        let plugin = plugin(folder.path(), &script, PLUGIN_DEADLINE);
        let (a, b) = tokio::join!(plugin.grant(None), plugin.grant(None));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((token(&a), token(&b)), ("Bearer t1", "Bearer t1"));
        // Two requests that were refused with the same token renew it once.
        let (a, b) = tokio::join!(plugin.grant(Some(a.turn)), plugin.grant(Some(b.turn)));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((token(&a), token(&b)), ("Bearer t2", "Bearer t2"));
        // A server that refuses that one too does not get the plugin run over and over.
        let fault = plugin.grant(Some(a.turn)).await.err().unwrap();
        assert!(fault.why.starts_with("the server refuses what"), "{}", fault.why);
        assert_eq!(token(&plugin.grant(None).await.unwrap()), "Bearer t2");
    }

    #[tokio::test]
    async fn only_those_are_run_that_a_list_allows() {
        let folder = tempfile::tempdir().unwrap();
        let ran = folder.path().join("ran");
        let script = format!("touch {}; echo '{{\"status\":{{\"token\":\"t\"}}}}'", ran.display());
        let own = plugin(folder.path(), &script, PLUGIN_DEADLINE);
        let path = folder.path().join("plugin");
        let with = |list: &[&str]| {
            let exec = ExecConfig { command: Some(path.display().to_string()), ..ExecConfig::default() };
            let only = Plugins::Only(list.iter().map(|name| Text::scrub(name)).collect());
            Plugin::new(&exec, &"ana".into(), &only, PLUGIN_DEADLINE).unwrap()
        };
        // The name alone is what PATH leads to, and that is not this one; nor is a neighbour.
        for list in [&[][..], &["plugin"], &["sh", "/bin/sh"], &["/nowhere/plugin"]] {
            let fault = with(list).grant(None).await.err().unwrap();
            assert_eq!(fault.kind, FaultKind::Unauthorized);
            assert!(fault.why.contains("is not in credential_plugins"), "{}", fault.why);
            assert!(!ran.exists(), "{list:?}");
        }
        let named = path.display().to_string();
        assert_eq!(token(&with(&["sh", &named]).grant(None).await.unwrap()), "Bearer t");
        assert!(ran.exists());
        assert_eq!(token(&own.grant(None).await.unwrap()), "Bearer t");
    }

    #[tokio::test]
    async fn an_expired_token_is_renewed_before_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"echo '{"status":{"token":"old","expirationTimestamp":"2020-01-01T00:00:00Z"}}'"#;
        let plugin = plugin(folder.path(), script, PLUGIN_DEADLINE);
        let first = plugin.grant(None).await.unwrap();
        assert_eq!(plugin.grant(None).await.unwrap().turn, first.turn + 1);
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said_without_smearing_or_leaking() {
        let folder = tempfile::tempdir().unwrap();
        let failing = plugin(folder.path(), "printf 'token=hunter2 expired\\033[2J\\n' >&2; exit 3", PLUGIN_DEADLINE);
        let fault = failing.grant(None).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Unauthorized);
        assert!(fault.why.contains("ended with 3: token=[redacted] expired\u{fffd}[2J"), "{}", fault.why);
        assert!(fault.hint.contains("plugin"), "{}", fault.hint);

        let hanging = plugin(folder.path(), "sleep 30", Duration::from_millis(300));
        let started = Instant::now();
        let fault = hanging.grant(None).await.err().unwrap();
        assert!(fault.why.contains("did not end in"), "{}", fault.why);
        assert!(started.elapsed() < Duration::from_secs(5));
        // The same fault again at once, without another run.
        assert_eq!(hanging.grant(None).await.err().unwrap(), fault);

        let silent = plugin(folder.path(), "echo nonsense", PLUGIN_DEADLINE);
        assert!(silent.grant(None).await.err().unwrap().why.contains("neither token nor certificate"));

        let missing = ExecConfig { command: Some("no-such-plugin".into()), ..ExecConfig::default() };
        let missing = Plugin::new(&missing, &"ana".into(), &Plugins::Any, PLUGIN_DEADLINE).unwrap();
        let fault = missing.grant(None).await.err().unwrap();
        assert_eq!(fault.why.as_str(), "no-such-plugin is not on PATH");
        assert_eq!(fault.hint.as_str(), "install no-such-plugin or put it on PATH");
    }
}
