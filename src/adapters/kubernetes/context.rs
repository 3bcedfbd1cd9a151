//! Kubeconfig contexts: which there are, and the one that was named, ready to connect. A context is always chosen by
//! name; a kubeconfig that cannot be read is an error, never a reason to take another one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Config, Kubeconfig, KubeconfigError};

use super::fault::redact;
use crate::core::text::Text;
use crate::ports::{ContextInfo, ContextList, Fault, FaultKind, Identity};
use crate::text;

/// The name under which the service account of a pod is chosen.
pub const IN_CLUSTER: &str = "in-cluster";

/// All that the kubeconfig files hold, merged as kubectl merges them, or the service account of a pod.
#[derive(Clone, Debug)]
pub struct Contexts {
    files: Vec<PathBuf>,
    merged: Option<Kubeconfig>,
    in_cluster: bool,
}

/// A context that can be connected to.
pub struct Selected {
    pub(super) identity: Identity,
    pub(super) config: Config,
    pub(super) auth: AuthInfo,
    /// The proxy that the kubeconfig names; it wins over the environment.
    pub(super) proxy: Option<http::Uri>,
    pub(super) files: Vec<PathBuf>,
}

impl Contexts {
    /// Reads the files of `$KUBECONFIG`, else `~/.kube/config`; inside a pod without either, the service account.
    /// Fails when a file cannot be read or parsed, or when there is nothing at all.
    pub fn load(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Fault> {
        let named: Vec<PathBuf> = env("KUBECONFIG")
            .map(|list| std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty()).collect())
            .unwrap_or_default();
        let candidates = if named.is_empty() {
            env("HOME").map(|home| Path::new(&home).join(".kube/config")).into_iter().collect()
        } else {
            named
        };
        let in_cluster = env("KUBERNETES_SERVICE_HOST").is_some();
        // kubectl skips names in KUBECONFIG that do not exist; all of them missing is an error here, not an empty file.
        let files: Vec<PathBuf> = candidates.iter().filter(|p| p.exists()).cloned().collect();
        if files.is_empty() && !in_cluster {
            let looked: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
            return Err(Fault {
                kind: FaultKind::Unreachable,
                what: Text::scrub("find a kubeconfig"),
                why: text!("there is none at {}", looked.join(", ")),
                hint: Text::scrub("set KUBECONFIG, or log in to a cluster; footplate rehearse needs none"),
            });
        }
        Self::read(&files, in_cluster)
    }

    /// Reads and merges these files.
    pub fn read(files: &[PathBuf], in_cluster: bool) -> Result<Self, Fault> {
        let mut merged: Option<Kubeconfig> = None;
        for file in files {
            let one = Kubeconfig::read_from(file).map_err(|why| broken(file, &why))?;
            merged = Some(match merged {
                None => one,
                Some(before) => before.merge(one).map_err(|why| broken(file, &why))?,
            });
        }
        Ok(Self { files: files.to_vec(), merged, in_cluster })
    }

    /// What the files say, for people.
    pub fn info(&self) -> ContextList {
        let files = self.files.iter().map(|file| text!("{}", file.display())).collect();
        ContextList { files, current: self.current(), all: self.list() }
    }

    /// All contexts, in the order of the files.
    pub fn list(&self) -> Vec<ContextInfo> {
        let mut out = Vec::new();
        if let Some(config) = &self.merged {
            for named in &config.contexts {
                let Some(context) = &named.context else { continue };
                let cluster =
                    config.clusters.iter().find(|c| c.name == context.cluster).and_then(|c| c.cluster.as_ref());
                out.push(ContextInfo {
                    name: Text::scrub(&named.name),
                    server: Text::scrub(cluster.and_then(|c| c.server.as_deref()).unwrap_or_default()),
                    user: Text::scrub(context.user.as_deref().unwrap_or_default()),
                    namespace: Text::scrub(context.namespace.as_deref().unwrap_or("default")),
                    plugin: plugin(config, context.user.as_deref()),
                });
            }
        }
        if self.in_cluster && self.merged.is_none() {
            out.push(ContextInfo {
                name: IN_CLUSTER.into(),
                server: "https://kubernetes.default.svc".into(),
                user: "service account".into(),
                namespace: "default".into(),
                plugin: None,
            });
        }
        out
    }

    /// The context that is current in the files; [`IN_CLUSTER`] inside a pod without a kubeconfig.
    pub fn current(&self) -> Option<Text> {
        match &self.merged {
            Some(config) => config.current_context.as_deref().filter(|c| !c.is_empty()).map(Text::scrub),
            None => self.in_cluster.then(|| IN_CLUSTER.into()),
        }
    }

    /// The context of this name, ready to connect. Fails when there is none of this name, or when it is incomplete.
    pub fn select(&self, name: &str) -> Result<Selected, Fault> {
        let in_file = self.merged.as_ref().is_some_and(|c| c.contexts.iter().any(|n| n.name == name));
        if name == IN_CLUSTER && !in_file && self.in_cluster {
            return in_cluster();
        }
        let incomplete = |why: &KubeconfigError| Fault {
            kind: FaultKind::Unreachable,
            what: text!("use context {name}"),
            why: redact(&why.to_string()),
            hint: text!("correct it in {}", self.places()),
        };
        let Some(merged) = self.merged.as_ref().filter(|_| in_file) else {
            let known: Vec<String> = self.list().iter().map(|c| c.name.to_string()).collect();
            return Err(Fault {
                kind: FaultKind::Unreachable,
                what: text!("use context {name}"),
                why: text!("{} has no context of this name", self.places()),
                hint: text!("one of: {}", known.join(", ")),
            });
        };
        let mut chosen = merged.clone();
        chosen.current_context = Some(name.to_owned());
        let context =
            chosen.contexts.iter().find(|n| n.name == name).and_then(|n| n.context.clone()).unwrap_or_default();
        let cluster = chosen.clusters.iter().find(|c| c.name == context.cluster).and_then(|c| c.cluster.clone());
        let proxy = cluster.and_then(|c| c.proxy_url).filter(|p| !p.is_empty());
        let proxy = proxy.map(|p| p.parse::<http::Uri>()).transpose().map_err(|why| Fault {
            kind: FaultKind::Unreachable,
            what: text!("use context {name}"),
            why: text!("its proxy-url is no address: {why}"),
            hint: text!("correct it in {}", self.places()),
        })?;
        let mut config = Config::try_from(chosen).map_err(|why| incomplete(&why))?;
        let auth = config.auth_info.clone();
        config.auth_info.exec = None;
        config.proxy_url = None;
        let user = match (&auth.impersonate, &context.user) {
            (Some(other), Some(user)) => text!("{user} as {other}"),
            (_, user) => Text::scrub(user.as_deref().unwrap_or("anonymous")),
        };
        let identity = Identity {
            context: Text::scrub(name),
            server: text!("{}", config.cluster_url.to_string().trim_end_matches('/')),
            user,
            namespace: Text::scrub(&config.default_namespace),
        };
        Ok(Selected { identity, config, auth, proxy, files: self.files.clone() })
    }

    fn places(&self) -> String {
        match self.files.as_slice() {
            [] => "the kubeconfig".to_owned(),
            files => files.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "),
        }
    }
}

impl Selected {
    /// Who this would be, without connecting.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn plugin(config: &Kubeconfig, user: Option<&str>) -> Option<Text> {
    let user = config.auth_infos.iter().find(|u| Some(u.name.as_str()) == user)?;
    let exec = user.auth_info.as_ref()?.exec.as_ref()?;
    let args = exec.args.iter().flatten().map(String::as_str);
    let line: Vec<&str> = exec.command.as_deref().into_iter().chain(args).collect();
    Some(redact(&line.join(" ")))
}

fn in_cluster() -> Result<Selected, Fault> {
    let config = Config::incluster().map_err(|why| Fault {
        kind: FaultKind::Unauthorized,
        what: Text::scrub("use the pod's service account"),
        why: redact(&why.to_string()),
        hint: Text::scrub("mount the service account token (automountServiceAccountToken: true)"),
    })?;
    let identity = Identity {
        context: IN_CLUSTER.into(),
        server: text!("{}", config.cluster_url.to_string().trim_end_matches('/')),
        user: "service account".into(),
        namespace: Text::scrub(&config.default_namespace),
    };
    let auth = config.auth_info.clone();
    Ok(Selected { identity, config, auth, proxy: None, files: Vec::new() })
}

/// A kubeconfig that cannot be read: where and why, without a word of its content, which may be a secret.
fn broken(file: &Path, why: &KubeconfigError) -> Fault {
    let why = match why {
        KubeconfigError::ReadConfig(why, _) => why.to_string(),
        KubeconfigError::Parse(why) => {
            let place =
                why.location().map_or_else(String::new, |l| format!("line {}, column {}: ", l.line(), l.column()));
            format!("{place}it is no valid kubeconfig YAML")
        }
        other => other.to_string(),
    };
    Fault {
        kind: FaultKind::Unreachable,
        what: text!("read kubeconfig {}", file.display()),
        why: Text::scrub(&why),
        hint: text!(
            "correct the file, or point KUBECONFIG at another; kubectl config view shows what kubectl makes of it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: v1\nkind: Config\ncurrent-context: dev\n\
clusters:\n- {name: a, cluster: {server: 'http://127.0.0.1:1'}}\n- {name: b, cluster: {server: 'http://127.0.0.1:2'}}\n\
users:\n- {name: ana, user: {token: s3cr3t}}\n\
contexts:\n- {name: dev, context: {cluster: a, user: ana, namespace: payments}}\n\
- {name: prod-eu, context: {cluster: b, user: ana}}\n- {name: bad, context: {cluster: gone, user: ana}}\n";

    fn files(folder: &Path, texts: &[&str]) -> Vec<PathBuf> {
        let write = |(n, text): (usize, &&str)| {
            let path = folder.join(format!("config{n}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        texts.iter().enumerate().map(write).collect()
    }

    #[test]
    fn contexts_are_listed_and_chosen_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let contexts = Contexts::read(&files(folder.path(), &[TWO]), false).unwrap();
        let names: Vec<_> = contexts.list().iter().map(|c| c.name.to_string()).collect();
        assert_eq!(names, ["dev", "prod-eu", "bad"]);
        assert_eq!(contexts.current(), Some("dev".into()));
        let prod = contexts.select("prod-eu").unwrap();
        assert_eq!(prod.identity.server.as_str(), "http://127.0.0.1:2");
        assert_eq!((prod.identity.namespace.as_str(), prod.identity.user.as_str()), ("default", "ana"));
        let fault = contexts.select("staging").err().unwrap();
        assert_eq!(fault.hint.as_str(), "one of: dev, prod-eu, bad");
        let fault = contexts.select("bad").err().unwrap();
        assert!(fault.why.contains("gone"), "{fault:?}");
    }

    #[test]
    fn a_broken_file_is_named_and_nothing_is_taken_instead() {
        let folder = tempfile::tempdir().unwrap();
        let broken = "apiVersion: v1\nusers:\n- name: ana\n  user: {token: s3cr3t\ncontexts: []\n";
        let paths = files(folder.path(), &[TWO, broken]);
        let list = std::env::join_paths(&paths).unwrap();
        let env = |key: &str| match key {
            "KUBECONFIG" => Some(list.clone()),
            "KUBERNETES_SERVICE_HOST" => Some("10.0.0.1".into()),
            _ => None,
        };
        let fault = Contexts::load(env).unwrap_err();
        assert!(fault.what.contains("config1"), "{fault:?}");
        assert!(fault.why.contains("line "), "{fault:?}");
        assert!(!format!("{fault:?}").contains("s3cr3t"));
    }

    #[test]
    fn the_first_file_wins_and_missing_ones_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let other = "current-context: prod-eu\nclusters:\n- {name: a, cluster: {server: 'http://other'}}\n\
contexts:\n- {name: extra, context: {cluster: a}}\n";
        let mut paths = files(folder.path(), &[TWO, other]);
        paths.insert(1, folder.path().join("missing"));
        let list = std::env::join_paths(&paths).unwrap();
        let contexts = Contexts::load(|key| (key == "KUBECONFIG").then(|| list.clone())).unwrap();
        assert_eq!(contexts.current(), Some("dev".into()));
        assert_eq!(contexts.select("extra").unwrap().identity.server.as_str(), "http://127.0.0.1:1");
        let fault = Contexts::load(|key| (key == "HOME").then(|| folder.path().into())).unwrap_err();
        assert!(fault.why.contains(".kube/config"), "{fault:?}");
    }
}
