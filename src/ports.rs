//! The traits at the edge: what the engine needs of the outside, in core types only. One real system a trait; the
//! adapters implement them, only the binary and the tests wire them in. No code that does anything lives here.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::core::finding::Finding;
use crate::core::guard::Cleared;
use crate::core::object::{Object, ObjectKind, ObjectRef, Packed};
use crate::core::repository::{FileRead, RawFile};
use crate::core::snapshot::Point;
use crate::core::text::Text;

/// A boxed future, so that ports can be trait objects.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What went wrong outside, by what can be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// No connection, no name, no route, TLS.
    Unreachable,
    /// Nothing came back in time; a write may or may not have landed.
    Timeout,
    /// 401, or the credential plugin failed.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404 of the object.
    NotFound,
    /// The server does not serve this kind.
    NoSuchKind,
    /// 409.
    Conflict,
    /// 422: a precondition failed, or the object is invalid; re-reading tells which.
    Unprocessable,
    /// 410: the watch must start anew.
    Gone,
    /// 429, with the seconds the server asked for.
    Throttled(u32),
    /// 5xx.
    Server,
    /// The answer could not be understood.
    Malformed,
}

/// What went wrong outside: where (object and verb), why, and what to do next. Scrubbed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Fault {
    /// By what can be done about it.
    pub kind: FaultKind,
    /// Verb and object (`patch rollout payments/billing-api`).
    pub what: Text,
    /// Why.
    pub why: Text,
    /// What to do next.
    pub hint: Text,
}

/// Which cluster, as one connected to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Kube context (`in-cluster` inside a pod).
    pub context: Text,
    /// Address of the API server.
    pub server: Text,
    /// User, as the kubeconfig names it.
    pub user: Text,
    /// The context's own default namespace.
    pub namespace: Text,
}

/// What to watch.
#[derive(Clone, PartialEq, Debug)]
pub struct Interest {
    /// Which kind.
    pub kind: ObjectKind,
    /// In which namespace.
    pub namespace: Text,
    /// Label selector; empty for all.
    pub labels: Text,
    /// Field selector; empty for all.
    pub fields: Text,
}

/// What a watch tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen {
    /// The complete list; whatever is not in it is gone.
    All(Interest, Vec<Packed>),
    /// Added or changed.
    Put(Interest, Packed),
    /// Deleted.
    Gone(Interest, ObjectRef),
    /// The watch broke and starts again by itself; what was seen so far is kept, marked old.
    Lost(Interest, Fault),
    /// It runs again.
    Back(Interest),
}

/// A right that may be needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// API verb (`patch`).
    pub verb: &'static str,
    /// On which kind.
    pub kind: ObjectKind,
    /// Subresource; empty for the main one.
    pub subresource: &'static str,
    /// In which namespace.
    pub namespace: Text,
}

/// One cluster. Every call has a deadline of its own and never retries a write.
pub trait Cluster: Send + Sync {
    /// Who we are there.
    fn identity(&self) -> Identity;
    /// Watches until the receiver is dropped; survives every fault by itself and reports each.
    fn watch(&self, interest: Interest, out: mpsc::Sender<Seen>) -> Fut<'static, ()>;
    /// A fresh read, past all caches; none when the object is not there.
    fn read<'a>(&'a self, object: &'a ObjectRef) -> Fut<'a, Result<Option<Object>, Fault>>;
    /// A fresh list.
    fn list<'a>(&'a self, interest: &'a Interest) -> Fut<'a, Result<Vec<Object>, Fault>>;
    /// Sends one effect; answers with the object as it is now. A create that finds the object there (409) reads it.
    fn send<'a>(&'a self, effect: &'a Cleared) -> Fut<'a, Result<Object, Fault>>;
    /// Which of these rights we have (SelfSubjectAccessReview), in the same order.
    fn may<'a>(&'a self, wanted: &'a [Access]) -> Fut<'a, Result<Vec<bool>, Fault>>;
    /// Which of these kinds the server serves, in the same order.
    fn serves<'a>(&'a self, kinds: &'a [ObjectKind]) -> Fut<'a, Result<Vec<bool>, Fault>>;
    /// Gets the credentials that a plugin hands out, and names its command; none where no plugin is needed.
    fn credentials(&self) -> Fut<'_, Result<Option<Text>, Fault>>;
    /// Server version and the difference between its clock and ours, in milliseconds (ours minus its); no difference
    /// when the server sends no time.
    fn about(&self) -> Fut<'_, Result<(Text, Option<i64>), Fault>>;
    /// What holds every request up at this moment and may need a person (a credential plugin that waits for a login); none
    /// when nothing does.
    fn held_up(&self) -> Option<Fault> {
        None
    }
}

/// One kube context, for lists and completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContextInfo {
    /// Its name.
    pub name: Text,
    /// Address of its API server; empty when its cluster is missing from the file.
    pub server: Text,
    /// The user it names.
    pub user: Text,
    /// Its default namespace (`default` when it names none).
    pub namespace: Text,
    /// The command of its credential plugin, credentials blotted out; none without one.
    pub plugin: Option<Text>,
}

/// The kube contexts there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ContextList {
    /// The files they come from, in order.
    pub files: Vec<Text>,
    /// The one that is current there.
    pub current: Option<Text>,
    /// All of them, in the order of the files.
    pub all: Vec<ContextInfo>,
}

/// Which credential plugins of a kubeconfig may be run. A kubeconfig is a script: it names any command, which then runs with
/// the rights of whoever reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Plugins {
    /// Whatever a kubeconfig names.
    Any,
    /// These alone, each a name that is looked up on PATH or a path.
    Only(Vec<Text>),
}

/// The clusters that this person can name.
pub trait Clusters: Send + Sync {
    /// The contexts there are. Fails when a kubeconfig cannot be read: nothing else is taken in its place.
    fn contexts(&self) -> Result<ContextList, Fault>;
    /// The cluster of a context, which runs no other credential plugins than these. Sends nothing yet. Must be called inside
    /// a tokio runtime.
    fn connect(&self, context: &str, plugins: &Plugins) -> Result<Arc<dyn Cluster>, Fault>;
}

/// One sample of a metric answer: the values of a scalar or a vector, NaN and infinities kept.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sample {
    /// The values; empty means no series.
    pub values: Vec<f64>,
    /// True when the answer was a scalar, not a vector.
    pub scalar: bool,
    /// How old the newest value was when the store answered, by the store's own clock; none when it does not say.
    pub age: Option<Duration>,
}

/// A metric store (Prometheus).
pub trait Metrics: Send + Sync {
    /// An instant query.
    fn query<'a>(&'a self, promql: &'a str) -> Fut<'a, Result<Sample, Fault>>;
    /// A range query over the first series of the answer.
    fn range<'a>(
        &'a self,
        promql: &'a str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Fut<'a, Result<Vec<Point>, Fault>>;
}

/// Evaluates an analysis condition on a result, in Argo's expression language, safely.
pub trait Conditions: Send + Sync {
    /// True or false, or why it could not be decided. `value` is the measurement's value as the controller stores it
    /// (`[0.01]`, `0.3`, JSON).
    fn holds<'a>(&'a self, condition: &'a str, value: &'a Sample) -> Fut<'a, Result<bool, Text>>;
}

/// What time it is, and waiting for it to pass. The core never asks; the engine does, through this alone: a rehearsal's time
/// may run faster than the machine's, and everything that waits in it waits in its time.
pub trait Clock: Send + Sync {
    /// Wall clock.
    fn now(&self) -> Timestamp;
    /// Time that only runs forward, from an arbitrary start.
    fn monotonic(&self) -> Duration;
    /// How many seconds of it pass while one passes for the machine and for whoever looks at it.
    fn pace(&self) -> f64 {
        1.0
    }
    /// Ends when this much of that time has passed.
    fn sleep(&self, duration: Duration) -> Fut<'_, ()>;
}

/// The local journal: what was ordered and done from here, one JSON object a line.
pub trait Journal: Send + Sync {
    /// Durable when it ends; lines of one writer stay in order.
    fn append(&self, line: serde_json::Value) -> Fut<'_, Result<(), Fault>>;
}

/// Delivers an event of a train to an address (a webhook).
pub trait Post: Send + Sync {
    /// One try. The body is a CloudEvent in structured JSON.
    fn post<'a>(&'a self, address: &'a str, body: &'a serde_json::Value) -> Fut<'a, Result<(), Fault>>;
}

/// Makes synthetic checks.
pub trait Probe: Send + Sync {
    /// Gets an address once, without following it elsewhere: the status of the answer.
    fn get<'a>(&'a self, address: &'a str) -> Fut<'a, Result<u16, Fault>>;
}

/// A flagd flag definition file.
pub trait FlagFile: Send + Sync {
    /// Its text.
    fn read(&self) -> Result<String, Fault>;
    /// Replaces it atomically, if its text is still `before`.
    fn replace(&self, before: &str, after: &str) -> Result<(), Fault>;
    /// Where it is, for the screen.
    fn place(&self) -> Text;
}

/// Files of the environment repository as they were at a commit.
pub trait ConfigHistory: Send + Sync {
    /// The content of `config/<path>` at a commit, named by the first digits of its hash. The path and the hash come from a
    /// manifest and are hostile.
    fn at<'a>(&'a self, path: &'a str, sha: &'a str) -> Fut<'a, Result<Vec<u8>, Fault>>;
}

/// Where an environment repository lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// Its root folder: the nearest ancestor of the manifest with a footplate.yaml, else the manifest's own folder.
    pub folder: PathBuf,
    /// The folder of services.
    pub services: PathBuf,
    /// The same as text for findings.
    pub services_shown: Text,
    /// The manifest; none when none was named and the root has no release.yaml.
    pub manifest: Option<RawFile>,
    /// The settings, where there are any.
    pub footplate: Option<RawFile>,
}

/// An environment repository on disk. Files are read whole, up to a limit of size; what is no plain file, and what lies
/// behind a symbolic link inside the repository, is refused. What is wrong comes back as a finding about the file.
pub trait Repo: Send + Sync {
    /// Finds the repository of a manifest; without one, that of the folder the person is in, whose release.yaml, if there
    /// is one, is the manifest. `services` stands in for the folder `services/` of the root.
    fn open(&self, manifest: Option<&Path>, services: Option<&Path>) -> Result<Root, Box<Finding>>;
    /// The service files: the folder's name, and the file or what is wrong with it; by name. A folder without a
    /// service.yaml is left out.
    fn services(&self, root: &Root) -> Result<Vec<(String, FileRead)>, Box<Finding>>;
    /// A file at a path relative to the root.
    fn read(&self, root: &Root, path: &str) -> FileRead;
}
