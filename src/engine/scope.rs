//! What the engine looks after: one place in one cluster and, where there is a manifest, the services of a release.
//! Plain values; who reads manifests fills them in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::manifest::{FlagValue, WorkloadKind};
use crate::core::object::ObjectKind;
use crate::core::repository::Repository;
use crate::core::snapshot::{Mode, Place};
use crate::core::text::Text;
use crate::ports::{ConfigHistory, FlagFile};
use crate::text;

/// What the engine looks after.
#[derive(Clone, PartialEq, Debug)]
pub struct Scope {
    /// Where, and whether actions may leave.
    pub place: Place,
    /// Live or rehearsal.
    pub mode: Mode,
    /// The cluster's uid as footplate.yaml pins it.
    pub cluster_uid: Option<Text>,
    /// The release; without one, all workloads found are shown.
    pub release: Option<Release>,
}

/// The services of a release, resolved.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Release {
    /// Its name.
    pub name: Text,
    /// How many waves, an expand wave included.
    pub waves: u32,
    /// Its services, in wave order, then by name.
    pub services: Vec<Stop>,
    /// Expand steps: name and path.
    pub expand: Vec<(Text, Text)>,
    /// `(from, to)`: from goes first.
    pub edges: Vec<(Text, Text)>,
    /// Flags and their value at the end, in the words of a flag's view (`on`, `off`, `25 %`).
    pub flags: Vec<(Text, Text)>,
    /// Where flags live, and which of their values are safe.
    pub flag_home: FlagHome,
    /// Where pinned config files are read.
    pub history: History,
}

/// The history of the environment repository, where there is one.
#[derive(Clone, Default)]
pub struct History(pub Option<Arc<dyn ConfigHistory>>);

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "a history" } else { "no history" })
    }
}

impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_some() == other.0.is_some()
    }
}

/// Where flags live, and which of their values are safe.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct FlagHome {
    /// Where.
    pub store: FlagStore,
    /// Values that are safe, as footplate.yaml says; where it is silent, off is.
    pub safe: BTreeMap<Text, bool>,
}

/// Where flags live.
#[derive(Clone, Default)]
pub enum FlagStore {
    /// Every FeatureFlag object of the namespace.
    #[default]
    Objects,
    /// One FeatureFlag object.
    Object(Text),
    /// A ConfigMap that flagd reads, and the data key that holds the flags.
    ConfigMap(Text, Text),
    /// A file on this machine that flagd reads.
    File(Arc<dyn FlagFile>),
}

impl FlagStore {
    /// In words.
    pub fn place(&self, namespace: &str) -> Text {
        match self {
            Self::Objects => text!("FeatureFlag objects of {namespace}"),
            Self::Object(name) => text!("featureflag {namespace}/{name}"),
            Self::ConfigMap(name, key) => text!("configmap {namespace}/{name} key {key}"),
            Self::File(file) => file.place(),
        }
    }
}

impl std::fmt::Debug for FlagStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place("NAMESPACE"))
    }
}

impl PartialEq for FlagStore {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.place("") == other.place("")
    }
}

/// One service of a release.
#[derive(Clone, PartialEq, Debug)]
pub struct Stop {
    /// Its name.
    pub name: Text,
    /// Its wave, from 0.
    pub wave: u32,
    /// Nearest services that go before it.
    pub after: Vec<Text>,
    /// The pinned version.
    pub pinned: Text,
    /// The pinned digest.
    pub digest: Option<Text>,
    /// Image without tag, where service.yaml names one.
    pub image: Option<Text>,
    /// Kind of its workload, where service.yaml names one; else whatever is found under the name.
    pub kind: Option<ObjectKind>,
    /// Name of its workload.
    pub workload: Text,
    /// Its container, where service.yaml names one.
    pub container: Option<Text>,
    /// Flags that it lists.
    pub flags: Vec<Text>,
    /// Config files that it owns, by path below `config/`, with the commit where the release pins one.
    pub configs: Vec<(Text, Option<Text>)>,
}

impl Release {
    /// Of a checked repository.
    pub fn of(repository: &Repository) -> Self {
        let Repository { release, graph, services, .. } = repository;
        let first = u32::from(!release.migrations.is_empty());
        let pin_of =
            |path: &Text| release.configs.iter().find(|pin| pin.path.value == *path).map(|pin| pin.sha.clone());
        let mut stops: Vec<Stop> = graph
            .services
            .iter()
            .zip(graph.before())
            .map(|(stop, after)| {
                let (service, pin) = (&services[stop.service], &release.services[stop.pin]);
                Stop {
                    name: stop.name.clone(),
                    wave: first + stop.wave,
                    after: after.into_iter().cloned().collect(),
                    pinned: text!("{}", pin.version),
                    digest: pin.digest.clone(),
                    image: service.image.clone(),
                    kind: service.workload.map(object_kind),
                    workload: service.workload_name.clone(),
                    container: service.container.clone(),
                    flags: service.flags.iter().map(|flag| flag.value.clone()).collect(),
                    configs: service
                        .configs
                        .iter()
                        .map(|config| (config.value.clone(), pin_of(&config.value)))
                        .collect(),
                }
            })
            .collect();
        stops.sort_by(|a, b| (a.wave, &a.name).cmp(&(b.wave, &b.name)));
        let name = |n: u32| graph.services[n as usize].name.clone();
        let mut edges: Vec<(Text, Text)> = graph.edges.iter().map(|e| (name(e.from), name(e.to))).collect();
        edges.sort();
        edges.dedup();
        Self {
            name: release.name.clone(),
            waves: first + graph.waves,
            services: stops,
            expand: release.migrations.iter().map(|m| (m.name.clone(), m.path.value.clone())).collect(),
            edges,
            flags: release.flags.iter().map(|f| (f.key.value.clone(), in_words(&f.value))).collect(),
            flag_home: FlagHome::default(),
            history: History::default(),
        }
    }
}

fn in_words(value: &FlagValue) -> Text {
    match value {
        FlagValue::On => "on".into(),
        FlagValue::Off => "off".into(),
        FlagValue::Percent(n) => text!("{n} %"),
        FlagValue::Variant(name) => name.clone(),
    }
}

pub(super) fn object_kind(kind: WorkloadKind) -> ObjectKind {
    match kind {
        WorkloadKind::Rollout => ObjectKind::Rollout,
        WorkloadKind::Canary => ObjectKind::Canary,
        WorkloadKind::Deployment => ObjectKind::Deployment,
    }
}

impl Scope {
    /// The kinds that are watched all the time, each by one list and one watch.
    pub fn kinds(&self) -> Vec<ObjectKind> {
        use ObjectKind::{
            AnalysisRun, AnalysisTemplate, Canary, ConfigMap, Deployment, FeatureFlag, ReplicaSet, Rollout,
        };
        vec![Rollout, ReplicaSet, Deployment, AnalysisRun, AnalysisTemplate, Canary, FeatureFlag, ConfigMap]
    }

    /// True when this kind is needed here: its absence is worth a line on the screen.
    pub fn needs(&self, kind: ObjectKind) -> bool {
        match kind {
            ObjectKind::Canary | ObjectKind::Rollout => self.release.as_ref().is_some_and(|release| {
                release
                    .services
                    .iter()
                    .any(|s| s.kind == Some(kind) || (s.kind.is_none() && kind == ObjectKind::Rollout))
            }),
            ObjectKind::FeatureFlag => self.release.as_ref().is_some_and(|release| !release.flags.is_empty()),
            ObjectKind::AnalysisRun | ObjectKind::AnalysisTemplate => {
                self.release.is_none() || self.needs(ObjectKind::Rollout)
            }
            _ => true,
        }
    }

    /// The service whose workload this is.
    pub fn stop_of(&self, kind: ObjectKind, name: &str) -> Option<&Stop> {
        let services = &self.release.as_ref()?.services;
        services.iter().find(|s| s.workload == name && s.kind.is_none_or(|k| k == kind))
    }
}
