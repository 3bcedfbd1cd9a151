//! Answers and errors of the API as faults: what was asked, why it failed, and what to do next. Text of the server is
//! scrubbed and credentials are blotted out here.

use std::error::Error as StdError;
use std::fmt;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::core::object::{ObjectKind, ObjectRef};
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind, Identity};
use crate::text;

/// What a request asks for, in the API's words; names the fault and the RBAC rule that would allow it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// API verb (`get`, `list`, `watch`, `patch`, `create`).
    pub verb: &'static str,
    /// Of which kind; none for what is no object (`/version`).
    pub kind: Option<ObjectKind>,
    /// Subresource; empty for the main one.
    pub subresource: &'static str,
    /// Namespace; empty for all or none.
    pub namespace: Text,
    /// Name, or the path of what is no object; empty for a collection.
    pub name: Text,
}

impl Asked {
    /// For one object.
    pub fn object(verb: &'static str, subresource: &'static str, object: &ObjectRef) -> Self {
        let (namespace, name) = (object.namespace.clone(), object.name.clone());
        Self { verb, kind: Some(object.kind), subresource, namespace, name }
    }

    /// For a collection.
    pub fn collection(verb: &'static str, kind: ObjectKind, namespace: &Text) -> Self {
        Self { verb, kind: Some(kind), subresource: "", namespace: namespace.clone(), name: Text::default() }
    }

    /// For a path that holds no objects.
    pub fn path(verb: &'static str, path: &str) -> Self {
        Self { verb, kind: None, subresource: "", namespace: Text::default(), name: Text::scrub(path) }
    }

    fn resource(&self) -> String {
        let plural = self.kind.map_or("", |kind| kind.api().2);
        if self.subresource.is_empty() { plural.to_owned() } else { format!("{plural}/{}", self.subresource) }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(kind) = self.kind else { return write!(f, "{} {}", self.verb, self.name) };
        let word = if self.name.is_empty() { kind.api().2.to_owned() } else { kind.api().3.to_lowercase() };
        write!(f, "{} {word}", self.verb)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        match (self.namespace.is_empty(), self.name.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => write!(f, " {}", self.name),
            (false, true) => write!(f, " in {}", self.namespace),
            (false, false) => write!(f, " {}/{}", self.namespace, self.name),
        }
    }
}

/// Whom faults are about, and how that person renews expired credentials.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub identity: Identity,
    /// What to do when the server says 401.
    pub renew: Text,
}

impl Caller {
    /// An answer that is no success.
    pub fn refused(&self, asked: &Asked, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        let said: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let retry_after = headers.get(http::header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        self.status(asked, status.as_u16(), &said, retry_after)
    }

    /// A `Status` object, as an answer or inside a watch.
    pub fn status(&self, asked: &Asked, code: u16, said: &Value, retry_after: Option<u32>) -> Fault {
        let field = |pointer: &str| said.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let message = match field("/message") {
            "" => text!("the server answered HTTP {code}"),
            message => text!("{} (HTTP {code})", redact(message)),
        };
        let who = &self.identity;
        let (kind, hint) = match code {
            401 => (FaultKind::Unauthorized, self.renew.clone()),
            403 => (FaultKind::Forbidden, self.missing_rule(asked)),
            404 if self.is_unserved(asked, said) => {
                return Fault {
                    kind: FaultKind::NoSuchKind,
                    what: text!("{asked}"),
                    why: text!(
                        "{} serves no {}",
                        who.server,
                        asked.kind.map_or_else(|| asked.name.to_string(), api_name)
                    ),
                    hint: Text::scrub(asked.kind.map_or("", install)),
                };
            }
            404 => (FaultKind::NotFound, text!("check the name and the namespace {}", asked.namespace)),
            409 => (FaultKind::Conflict, Text::scrub("somebody else changed it; it is read again")),
            410 => (FaultKind::Gone, Text::scrub("the list is read anew by itself")),
            422 => (
                FaultKind::Unprocessable,
                Text::scrub("a precondition did not hold or the object is invalid; read it again to see which"),
            ),
            429 => (
                FaultKind::Throttled(retry_after.unwrap_or(1)),
                Text::scrub("the server asks for patience; it is tried again by itself"),
            ),
            504 => (FaultKind::Timeout, Text::scrub("whether it was done is read back")),
            500.. => (FaultKind::Server, Text::scrub("it is tried again by itself; see the API server's own state")),
            _ => (FaultKind::Unprocessable, Text::scrub("the server does not take this request as it stands")),
        };
        Fault { kind, what: text!("{asked}"), why: message, hint }
    }

    /// A name that no object can have: servers decode a slash before they take a path apart, so it must never be sent.
    pub fn unnameable(&self, asked: &Asked) -> Option<Fault> {
        asked.kind?;
        let bad = |name: &Text| matches!(name.as_str(), "." | "..") || name.contains(['/', '%']);
        [&asked.namespace, &asked.name].into_iter().find(|name| bad(name)).map(|name| Fault {
            kind: FaultKind::NotFound,
            what: text!("{asked}"),
            why: text!("no object can be called {name}"),
            hint: Text::scrub("correct the name"),
        })
    }

    /// No answer in time.
    pub fn late(&self, asked: &Asked, seconds: u64) -> Fault {
        Fault {
            kind: FaultKind::Timeout,
            what: text!("{asked}"),
            why: text!("no answer from {} in {seconds} s", self.identity.server),
            hint: Text::scrub("check network and VPN; a half-open connection is given up and opened anew"),
        }
    }

    /// An answer that cannot be understood.
    pub fn malformed(&self, asked: &Asked, why: impl fmt::Display) -> Fault {
        Fault {
            kind: FaultKind::Malformed,
            what: text!("{asked}"),
            why: text!("the answer of {} cannot be understood: {why}", self.identity.server),
            hint: Text::scrub("check that the address is a Kubernetes API server and no proxy's login page"),
        }
    }

    /// No answer at all: the request did not arrive, or the connection broke while it was under way.
    pub fn broken(&self, asked: &Asked, error: &(dyn StdError + 'static)) -> Fault {
        let why = reasons(error);
        let sent = !never_left(error);
        let lower = why.to_lowercase();
        let hint = if lower.contains("certificate") || lower.contains("tls") || lower.contains("handshake") {
            text!("check certificate-authority of context {} in the kubeconfig", self.identity.context)
        } else if lower.contains("dns") || lower.contains("lookup") || lower.contains("resolve") {
            text!("check the name in {} and the VPN", self.identity.server)
        } else if sent {
            Text::scrub("it is connected anew; whether a write arrived is read back")
        } else {
            Text::scrub("check network, VPN, proxy (HTTPS_PROXY, NO_PROXY)")
        };
        let kind = if sent { FaultKind::Timeout } else { FaultKind::Unreachable };
        let why = if sent {
            text!("the connection broke before the answer came: {why}")
        } else {
            text!("{}: {}", redact(&why), self.identity.server)
        };
        Fault { kind, what: text!("{asked}"), why, hint }
    }

    fn missing_rule(&self, asked: &Asked) -> Text {
        let Some(kind) = asked.kind else {
            return text!("ask for the right to {} {}", asked.verb, asked.name);
        };
        let place = if asked.namespace.is_empty() { "all namespaces" } else { &*asked.namespace };
        text!(
            "ask for this rule in {place}: apiGroups [\"{}\"], resources [\"{}\"], verbs [\"{}\"]",
            kind.api().0,
            asked.resource(),
            asked.verb
        )
    }

    /// The server says 404 both for a missing object and for a path that it does not serve; only the former names it.
    fn is_unserved(&self, asked: &Asked, said: &Value) -> bool {
        let named = said.pointer("/details/name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
        asked.kind.is_some() && !named
    }
}

/// `rollouts.argoproj.io/v1alpha1`, as people look for it.
pub(super) fn api_name(kind: ObjectKind) -> String {
    let (group, version, plural, _) = kind.api();
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}/{version}") }
}

/// How a missing kind gets there.
fn install(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Rollout | ObjectKind::AnalysisRun | ObjectKind::AnalysisTemplate => {
            "install Argo Rollouts: kubectl apply -n argo-rollouts -f \
             https://github.com/argoproj/argo-rollouts/releases/latest/download/install.yaml"
        }
        ObjectKind::Canary => "install Flagger: kubectl apply -k github.com/fluxcd/flagger//kustomize/kubernetes",
        ObjectKind::FeatureFlag => "install the OpenFeature operator, or its FeatureFlag CRD alone",
        ObjectKind::Application => "install Argo CD, or go without: nothing here is synced from git",
        ObjectKind::Release => "install footplate's own CRD: footplate install | kubectl apply -f -",
        _ => "the server lacks an API that every Kubernetes has; check its address and version",
    }
}

/// True when the request certainly did not reach the server.
fn never_left(error: &(dyn StdError + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        current = error.source();
    }
    false
}

/// The error and its causes, outermost first, without words that tell a person nothing.
fn reasons(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut current = Some(error);
    while let Some(error) = current {
        let part = error.to_string();
        let empty_words =
            ["ServiceError", "client error (", "tcp connect error"].iter().any(|words| part.starts_with(words));
        // "Connection refused (os error 111)": the number is for programs.
        let part = part.split(" (os error ").next().unwrap_or_default().to_owned();
        let says_nothing = part.is_empty() || empty_words && error.source().is_some();
        if !says_nothing && !parts.iter().any(|p| p.contains(&part)) {
            parts.push(part);
        }
        current = error.source();
    }
    if parts.is_empty() { error.to_string() } else { parts.join(": ") }
}

/// Scrubs text of servers and plugins and blots out what looks like a credential: long runs of token characters, and
/// whatever follows `token`, `password`, `secret`, `authorization` or `bearer`.
pub(super) fn redact(raw: &str) -> Text {
    const LONG: usize = 40;
    let mut out = String::with_capacity(raw.len());
    let mut after_key = false;
    for word in raw.split_inclusive([' ', '\n', '\t', '"', '\'', ',', ';', '=']) {
        let bare = word.trim_end_matches([' ', '\n', '\t', '"', '\'', ',', ';', '=']);
        let tail = &word[bare.len()..];
        let lower = bare.to_ascii_lowercase();
        let token_like = bare.len() >= LONG
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+/=~".contains(c))
            && bare.chars().any(|c| c.is_ascii_digit())
            && !bare.contains("://")
            && !bare.starts_with(['/', '.']);
        let key = ["token", "password", "secret", "authorization", "bearer", "passwd"]
            .iter()
            .any(|k| lower.trim_end_matches(':').ends_with(k));
        let assigned = after_key && !bare.is_empty() && !key;
        out.push_str(if token_like || assigned || lower.starts_with("eyj") && bare.len() > 20 {
            "[redacted]"
        } else {
            bare
        });
        out.push_str(tail);
        after_key = if bare.is_empty() {
            after_key
        } else {
            key && (tail.contains('=') || lower.ends_with(':') || lower == "bearer" || tail.contains('"'))
        };
    }
    Text::scrub(out.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn caller() -> Caller {
        Caller {
            identity: Identity {
                context: "prod-eu".into(),
                server: "https://10.0.0.1:6443".into(),
                user: "ana".into(),
                namespace: "default".into(),
            },
            renew: "run aws sso login".into(),
        }
    }

    fn rollout() -> ObjectRef {
        ObjectRef {
            cluster: "prod-eu".into(),
            kind: ObjectKind::Rollout,
            namespace: "payments".into(),
            name: "billing-api".into(),
        }
    }

    fn on(code: u16, asked: &Asked, said: Value) -> Fault {
        caller().status(asked, code, &said, Some(7))
    }

    #[test]
    fn each_status_tells_the_next_step() {
        let patch = Asked::object("patch", "status", &rollout());
        assert_eq!(patch.to_string(), "patch rollout/status payments/billing-api");
        let forbidden = on(403, &patch, json!({"message": "rollouts is forbidden"}));
        assert_eq!(forbidden.kind, FaultKind::Forbidden);
        assert_eq!(
            forbidden.hint.as_str(),
            "ask for this rule in payments: apiGroups [\"argoproj.io\"], resources [\"rollouts/status\"], verbs [\"patch\"]"
        );
        assert_eq!(on(401, &patch, Value::Null).hint.as_str(), "run aws sso login");
        assert_eq!(on(429, &patch, Value::Null).kind, FaultKind::Throttled(7));
        assert_eq!(on(504, &patch, Value::Null).kind, FaultKind::Timeout);
        for code in [500, 502, 503] {
            assert_eq!(on(code, &patch, Value::Null).kind, FaultKind::Server);
        }
    }

    #[test]
    fn a_missing_object_is_told_from_a_missing_kind() {
        let get = Asked::object("get", "", &rollout());
        let gone = on(404, &get, json!({"details": {"name": "billing-api"}, "message": "not found"}));
        assert_eq!(gone.kind, FaultKind::NotFound);
        let unserved = on(404, &Asked::collection("list", ObjectKind::Rollout, &"payments".into()), Value::Null);
        assert_eq!(unserved.kind, FaultKind::NoSuchKind);
        assert_eq!(unserved.why.as_str(), "https://10.0.0.1:6443 serves no rollouts.argoproj.io/v1alpha1");
        assert!(unserved.hint.contains("install Argo Rollouts"));
    }

    #[test]
    fn names_cannot_leave_their_path() {
        for name in ["..", ".", "a/../b", "a%2Fb"] {
            let asked = Asked::object("get", "", &ObjectRef { name: name.into(), ..rollout() });
            assert_eq!(caller().unnameable(&asked).map(|f| f.kind), Some(FaultKind::NotFound), "{name}");
        }
        assert_eq!(caller().unnameable(&Asked::object("get", "", &rollout())), None);
    }

    #[test]
    fn credentials_never_reach_a_fault() {
        let jwt = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        for (raw, secret) in [
            (format!("refused: bearer {jwt} is expired"), jwt),
            (format!("{{\"token\": \"{jwt}\"}}"), jwt),
            ("login --password=hunter2 failed".to_owned(), "hunter2"),
            ("client_secret=s3cr3t&x=1".to_owned(), "s3cr3t"),
            ("Authorization: abc123".to_owned(), "abc123"),
        ] {
            let shown = redact(&raw);
            assert!(!shown.contains(secret), "{shown}");
            assert!(shown.contains("[redacted]"), "{shown}");
        }
        let plain = "patch rollouts.argoproj.io \"billing-api\" in /very/long/path/to/some/file/that/is/there0 failed";
        assert_eq!(redact(plain).as_str(), plain);
        assert_eq!(redact("a\u{1b}]52;c;x\u{7}b").as_str(), "a\u{fffd}]52\u{3b}c;x\u{fffd}b");
    }
}
