//! Everything that a conductor needs to know of a train and its environment, frozen at its start into `Release.spec.plan`, so that
//! it needs no repository (`train.md` §9). [`Resolved`] is the part that the train goes by; the rest says where things
//! lie and what they are judged by. Values only: making them from files is `frozen/freeze.rs`; `frozen/reading.rs` and
//! `frozen/patch.rs` say objects in the train's words and the train's words as patches.

use serde::{Deserialize, Serialize};

use super::train::resolved::{Kind, Resolved, ServiceId, Setting};
use super::train::train_id;
use crate::core::judge;
use crate::core::object::{ObjectKind, ObjectRef};
use crate::core::slo::{GateBy, Slo, SyntheticCheck};
use crate::core::text::Text;

pub mod ask;
pub mod checks;
pub mod freeze;
pub mod patch;
mod raw;
pub mod reading;
pub mod rights;
#[cfg(test)]
mod tests;

pub use raw::Raw;

/// Version of this form. A conductor that does not know it leaves the train alone.
pub const FORM: u32 = 1;

/// A train with its environment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    /// [`FORM`].
    pub form: u32,
    /// What the train goes by. Its `uid` and `id` are empty in the object and follow from it when it is read.
    pub resolved: Resolved,
    /// SHA-256 of the manifest, lower-case hex.
    pub manifest_sha256: Text,
    /// uid of the cluster (`kube-system`) as it was read when the train was recorded; part of the train id.
    pub cluster_uid: Text,
    /// uid of the cluster as footplate.yaml pins it.
    pub pinned_uid: Option<Text>,
    /// Where all of it runs.
    pub namespace: Text,
    /// True when an order that goes forward asks for more.
    pub protected: bool,
    /// Workloads, as [`Resolved::services`].
    pub workloads: Vec<Workload>,
    /// Services of the repository that the release does not name, and that the guard watches all the same.
    pub watched: Vec<Workload>,
    /// Where flags live.
    pub flags: FlagPlace,
    /// Expand steps, as [`Resolved::migrations`].
    pub scripts: Vec<Script>,
    /// Address of the metric store.
    pub prometheus: Option<Text>,
    /// PromQL with placeholders.
    pub queries: Queries,
    /// What the guard goes by.
    pub guard: judge::Settings,
    /// When no train starts or runs.
    pub freeze: Vec<FreezeWindow>,
    /// Addresses that events of the train are sent to.
    pub incidents: Vec<Text>,
    /// What goes directly before what, for the picture: `(from, to)`.
    pub edges: Vec<(ServiceId, ServiceId)>,
    /// An estimate of how long it takes, milliseconds: the pauses of its steps and what is waited beside them.
    pub estimate: u64,
}

/// One workload.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Name of the service.
    pub service: Text,
    /// Kind and name of the object.
    pub kind: Kind,
    /// Its name.
    pub name: Text,
    /// The container whose image is pinned; none means the only one.
    pub container: Option<Text>,
    /// Name of the immutable ConfigMap with its pinned files, that the volume `config` must name.
    pub config: Option<Text>,
    /// Service level objectives.
    pub slo: Slo,
    /// What its gate goes by.
    pub gate: GateBy,
    /// PromQL of its lag.
    pub lag: Option<Text>,
    /// Greatest lag that is healthy.
    pub max_lag: Option<f64>,
    /// Synthetic checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<SyntheticCheck>,
    /// Weights that its steps must have (`strategy.progressive`), percent.
    pub weights: Option<Vec<u8>>,
}

/// Where flags live.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FlagPlace {
    /// Every FeatureFlag object of the namespace.
    Objects,
    /// One FeatureFlag object.
    Object(Text),
    /// A ConfigMap that flagd reads, and the data key that holds the flags.
    ConfigMap(Text, Text),
    /// A file that flagd reads: only a conductor on that machine can move it.
    File(Text),
}

/// One expand step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// The Job that runs it, raw: a template whose volume `script` names the ConfigMap.
    pub job: serde_json::Value,
    /// The Job of the way back.
    pub down: serde_json::Value,
}

/// PromQL with `{{service}}`, `{{revision}}`, `{{window}}`, `{{quantile}}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queries {
    /// Requests per second.
    pub requests: Text,
    /// Failed requests per second.
    pub errors: Text,
    /// Latency in seconds at a quantile.
    pub latency: Text,
}

/// A window in which no train starts, in instants, as far ahead as a train may run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FreezeWindow {
    /// Begin.
    pub from: jiff::Timestamp,
    /// End.
    pub to: jiff::Timestamp,
    /// Why.
    pub reason: Text,
}

impl Workload {
    /// Of which kind its object is.
    pub fn object_kind(&self) -> ObjectKind {
        match self.kind {
            Kind::Rollout => ObjectKind::Rollout,
            Kind::Canary => ObjectKind::Canary,
            Kind::Deployment => ObjectKind::Deployment,
        }
    }

    /// The object, in a cluster.
    pub fn object(&self, cluster: &Text, namespace: &Text) -> ObjectRef {
        ObjectRef {
            cluster: cluster.clone(),
            kind: self.object_kind(),
            namespace: namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl Frozen {
    /// Names the train after the Release that it is recorded in.
    pub fn of_release(&mut self, uid: &Text) {
        self.resolved.id = train_id(&self.manifest_sha256, &self.cluster_uid, &self.resolved.environment, uid);
        self.resolved.uid = uid.clone();
    }

    /// The workload object of a service.
    pub fn object(&self, service: ServiceId, cluster: &Text) -> ObjectRef {
        self.workloads[usize::from(service)].object(cluster, &self.namespace)
    }

    /// The value of a flag at the end.
    pub fn goal(&self, flag: u16) -> &Setting {
        &self.resolved.flags[usize::from(flag)].goal
    }
}
