//! Replica sets of one workload: which belong to it, in what order, and what each plays. Reading only.

use jiff::Timestamp;

use super::{ReplicaSetView, Role, container_image, count};
use crate::core::object::{Object, ObjectKind};
use crate::core::text::Text;

/// The label that carries the pod hash, by who made the replica set.
pub fn hash_label(kind: ObjectKind) -> &'static str {
    if kind == ObjectKind::Rollout { "rollouts-pod-template-hash" } else { "pod-template-hash" }
}

/// The annotation that carries the revision, by who made the replica set.
pub fn revision_annotation(kind: ObjectKind) -> &'static str {
    if kind == ObjectKind::Rollout { "rollout.argoproj.io/revision" } else { "deployment.kubernetes.io/revision" }
}

/// One replica set with what orders it.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// The object.
    pub object: &'a Object,
    /// Its pod hash.
    pub hash: &'a str,
    /// Its revision; 0 when absent.
    pub revision: u32,
    /// When it was created.
    pub created: Option<Timestamp>,
}

/// The replica sets that the owner controls and that carry a pod hash, newest revision first, then by name. Those of
/// experiments are left out: they are no revisions.
pub fn of<'a>(kind: ObjectKind, owner_uid: &str, all: &[&'a Object]) -> Vec<Set<'a>> {
    let mut sets: Vec<Set<'a>> = all
        .iter()
        .filter(|set| !owner_uid.is_empty() && set.controller() == owner_uid)
        .filter(|set| set.annotation("experiment.argoproj.io/name").is_none())
        .filter_map(|set| {
            let revision = set.annotation(revision_annotation(kind)).and_then(|r| r.parse().ok()).unwrap_or_default();
            Some(Set { object: set, hash: set.label(hash_label(kind))?, revision, created: set.created() })
        })
        .collect();
    sets.sort_by(|a, b| b.revision.cmp(&a.revision).then_with(|| a.object.name().cmp(&b.object.name())));
    sets
}

/// Finds one by its pod hash.
pub fn find<'a, 'b>(sets: &'b [Set<'a>], hash: &str) -> Option<&'b Set<'a>> {
    sets.iter().find(|s| !hash.is_empty() && s.hash == hash)
}

impl<'a> Set<'a> {
    /// Ready to be shown.
    pub fn view(&self, role: Role, container: Option<&str>) -> ReplicaSetView {
        let image = self.object.raw("/spec/template").and_then(|t| container_image(t, container));
        ReplicaSetView {
            name: self.object.name(),
            hash: Text::scrub(self.hash),
            revision: self.revision,
            role,
            image: Text::scrub(image.unwrap_or_default()),
            desired: count(self.object, "/spec/replicas"),
            ready: count(self.object, "/status/readyReplicas"),
            available: self.available(),
            created: self.created,
            scale_down_at: self.scale_down_at(),
        }
    }

    /// Pods that are available.
    pub fn available(&self) -> u32 {
        count(self.object, "/status/availableReplicas")
    }

    /// When it will be scaled down; Argo writes the annotation without a prefix.
    pub fn scale_down_at(&self) -> Option<Timestamp> {
        self.object.annotation("scale-down-deadline")?.parse().ok()
    }
}
