//! What is read of one service, raw, and what follows from it at once: which object holds the template, which pod hash is the
//! present one, what this train recorded, which stamps lie where. What it means to a train is `reading.rs`.

use jiff::Timestamp;
use serde_json::Value;

use super::{Frozen, Workload};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::record;
use crate::core::template;
use crate::core::text::Text;
use crate::core::train::resolved::{Kind, ServiceId};
use crate::core::workload::sets::{self, Set};
use crate::core::workload::{Related, container_of};

/// Stamp of a train: the uid of its Release. The same key marks a template that is made new.
pub const TRAIN: &str = template::ANEW;

/// Stamp of the epoch: `<number>/<holder>`, in one, so that one test covers both.
pub const EPOCH: &str = "footplate.dev/epoch";

/// What was read of one service, freshly and whole (no field trimmed away).
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// The kube context that it was read from.
    pub cluster: &'a Text,
    /// The workload.
    pub object: &'a Object,
    /// The Deployment that holds its template: a Rollout's `workloadRef`, a Canary's `targetRef`.
    pub target: Option<&'a Object>,
    /// The Deployment `<target>-primary` that Flagger keeps.
    pub primary: Option<&'a Object>,
    /// Replica sets of the workload (or its target); others are passed over.
    pub sets: &'a [&'a Object],
    /// The ConfigMap [`super::patch::record_ref`] names; none when it is not there.
    pub record: Option<&'a Object>,
    /// The time of the read.
    pub now: Timestamp,
}

/// The same, sorted.
pub(super) struct Bench<'a> {
    pub frozen: &'a Frozen,
    pub service: ServiceId,
    pub workload: &'a Workload,
    pub raw: Raw<'a>,
    /// The workload's name.
    pub id: ObjectRef,
    /// The Deployment with the template, where that is another object.
    pub target: Option<(&'a Object, ObjectRef)>,
    /// Newest first.
    pub sets: Vec<Set<'a>>,
}

impl<'a> Bench<'a> {
    /// Or what is missing.
    pub fn of(frozen: &'a Frozen, service: ServiceId, raw: &Raw<'a>) -> Result<Self, Text> {
        let workload = &frozen.workloads[usize::from(service)];
        let id = frozen.object(service, raw.cluster);
        let object = raw.object;
        if object.raw("/metadata/deletionTimestamp").is_some() {
            return Err(crate::text!("{id} is being deleted"));
        }
        let reference = match workload.kind {
            Kind::Rollout => object.raw("/spec/workloadRef"),
            Kind::Canary => Some(object.raw("/spec/targetRef").unwrap_or(&Value::Null)),
            Kind::Deployment => None,
        };
        let target = match reference {
            None => None,
            Some(reference) => {
                let (kind, name) = (&reference["kind"], reference["name"].as_str().unwrap_or_default());
                let found = raw.target.filter(|t| kind == "Deployment" && t.name().as_str() == name);
                let Some(found) = found.filter(|t| t.raw("/metadata/deletionTimestamp").is_none()) else {
                    let kind = kind.as_str().unwrap_or_default();
                    return Err(crate::text!("{id} takes its template from {kind} {name}, which was not read"));
                };
                Some((found, ObjectRef { kind: ObjectKind::Deployment, name: found.name(), ..id.clone() }))
            }
        };
        let (makes, owner) = match (workload.kind, &target) {
            (Kind::Rollout, _) => (ObjectKind::Rollout, object.uid()),
            (Kind::Canary, Some((target, _))) => (ObjectKind::Deployment, target.uid()),
            _ => (ObjectKind::Deployment, object.uid()),
        };
        let sets = sets::of(makes, owner, raw.sets);
        Ok(Self { frozen, service, workload, raw: *raw, id, target, sets })
    }

    /// The object with the template.
    pub fn holder(&self) -> &'a Object {
        self.target.as_ref().map_or(self.raw.object, |(target, _)| target)
    }

    pub fn template(&self) -> Option<&'a Value> {
        self.holder().raw("/spec/template")
    }

    /// uid of the Release.
    pub fn train(&self) -> &'a str {
        &self.frozen.resolved.uid
    }

    /// The pinned image.
    pub fn image(&self) -> &'a Text {
        &self.frozen.resolved.services[usize::from(self.service)].image
    }

    /// The ConfigMap that the volume `config` must name.
    pub fn config(&self) -> Option<&'a str> {
        self.workload.config.as_deref()
    }

    /// Name of the container that a release changes.
    pub fn container(&self, template: &'a Value) -> Option<&'a str> {
        container_of(template, self.workload.container.as_deref())?["name"].as_str()
    }

    /// True when a template has the pinned image and config.
    pub fn is_pinned(&self, template: &Value) -> bool {
        let container = container_of(template, self.workload.container.as_deref());
        container.is_some_and(|c| c["image"] == self.image().as_str())
            && self.config().is_none_or(|config| template::config_volume(template).is_some_and(|(_, n)| n == config))
    }

    /// Pod hash of the template that the controller works on; empty until there is one.
    pub fn current(&self) -> &'a str {
        match self.workload.kind {
            Kind::Rollout => self.raw.object.str("/status/currentPodHash").unwrap_or_default(),
            Kind::Deployment | Kind::Canary => self.newest().map_or("", |s| s.hash),
        }
    }

    /// The replica set of the Deployment's own revision.
    fn newest(&self) -> Option<&Set<'a>> {
        let revision = self.revision()?.parse::<u32>().ok()?;
        self.sets.iter().find(|s| s.revision == revision)
    }

    /// The Deployment's own revision, as it stands there.
    pub fn revision(&self) -> Option<&'a str> {
        self.holder().annotation(sets::revision_annotation(ObjectKind::Deployment))
    }

    pub fn set(&self, hash: &str) -> Option<&Set<'a>> {
        sets::find(&self.sets, hash)
    }

    /// What this train recorded: pod hash and template.
    pub fn recorded(&self) -> Option<(&'a str, Value)> {
        record::in_train(self.raw.record?, self.raw.object.uid(), self.train(), &self.workload.service)
    }

    /// The mark of this number on a template.
    pub fn mark(&self, number: u32) -> String {
        format!("{}-{number}", self.train())
    }

    /// The lowest number whose mark no replica set bears; from 1.
    pub fn free_mark(&self) -> u32 {
        let bears = |set: &Set<'a>, mark: &str| {
            set.object.raw("/spec/template").is_some_and(|t| t["metadata"]["annotations"][TRAIN] == mark)
        };
        let taken = |n: u32| self.sets.iter().any(|s| bears(s, &self.mark(n)));
        (1..=u32::MAX).find(|n| !taken(*n)).unwrap_or(u32::MAX)
    }

    /// True when a replica set of the pinned version is there: its template would be jumped to.
    pub fn has_pinned(&self) -> bool {
        self.sets.iter().any(|s| s.object.raw("/spec/template").is_some_and(|t| self.is_pinned(t)))
    }

    pub fn related(&self) -> Related<'a> {
        Related { sets: self.raw.sets, target: self.raw.target, primary: self.raw.primary, ..Related::default() }
    }
}

/// A stamp, as it may be shown and compared.
pub(super) fn stamp(object: &Object, key: &str) -> Option<Text> {
    object.annotation(key).map(Text::scrub)
}

/// The epoch that an object bears. One that cannot be read counts as the lowest of all, of whoever wrote it.
pub(super) fn epoch(object: &Object) -> Option<(u64, Text)> {
    let stamp = object.annotation(EPOCH)?;
    let parts = stamp.split_once('/').and_then(|(n, holder)| Some((n.parse().ok()?, Text::scrub(holder))));
    Some(parts.unwrap_or_else(|| (0, Text::scrub(stamp))))
}

/// The epoch as objects bear it.
pub(super) fn epoch_value(epoch: &(u64, Text)) -> String {
    format!("{}/{}", epoch.0, epoch.1)
}
