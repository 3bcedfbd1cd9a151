//! Every right that conducting a train takes: what its effects change, in either direction, and what it must read for them.
//! Whether somebody has them is asked elsewhere; the sentence for a role that lacks one is made here.

use super::{FlagPlace, Frozen};
use crate::core::object::ObjectKind;
use crate::core::text::Text;
use crate::core::train::resolved::Kind;
use crate::text;

/// One right, in the namespace of the environment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Right {
    /// On which kind.
    pub kind: ObjectKind,
    /// Subresource; empty for the main one.
    pub subresource: &'static str,
    /// API verb.
    pub verb: &'static str,
}

/// What is read and watched.
const SEEN: [&str; 3] = ["get", "list", "watch"];

/// All rights that this train needs, each once. `borrowed` is true where a Rollout takes its template from a Deployment.
pub fn rights(frozen: &Frozen, borrowed: bool) -> Vec<Right> {
    let mut all = Vec::new();
    let mut add = |kind: ObjectKind, subresource: &'static str, verbs: &[&'static str]| {
        all.extend(verbs.iter().map(|&verb| Right { kind, subresource, verb }));
    };
    let has = |kind| frozen.workloads.iter().any(|w| w.kind == kind);
    if has(Kind::Rollout) {
        add(ObjectKind::Rollout, "", &SEEN);
        add(ObjectKind::Rollout, "", &["patch"]);
        // Aborting, retrying, promoting and ending a pause are fields of the status.
        add(ObjectKind::Rollout, "status", &["patch"]);
        add(ObjectKind::AnalysisRun, "", &SEEN);
    }
    if has(Kind::Canary) {
        add(ObjectKind::Canary, "", &SEEN);
        add(ObjectKind::Canary, "", &["patch"]);
    }
    if has(Kind::Canary) || has(Kind::Deployment) || borrowed {
        add(ObjectKind::Deployment, "", &SEEN);
        add(ObjectKind::Deployment, "", &["patch"]);
    }
    add(ObjectKind::ReplicaSet, "", &SEEN);
    add(ObjectKind::Pod, "", &SEEN);
    // Records, pinned configs and the journal.
    add(ObjectKind::ConfigMap, "", &["get", "list", "create", "patch"]);
    if !frozen.resolved.flags.is_empty() {
        match &frozen.flags {
            FlagPlace::Objects | FlagPlace::Object(_) => {
                add(ObjectKind::FeatureFlag, "", &SEEN);
                add(ObjectKind::FeatureFlag, "", &["patch"]);
            }
            FlagPlace::ConfigMap(..) => add(ObjectKind::ConfigMap, "", &["watch"]),
            FlagPlace::File(_) => {}
        }
    }
    if !frozen.resolved.migrations.is_empty() {
        add(ObjectKind::Job, "", &["get", "list", "watch", "create"]);
    }
    add(ObjectKind::Release, "", &SEEN);
    add(ObjectKind::Release, "", &["patch"]);
    add(ObjectKind::Release, "status", &["patch"]);
    add(ObjectKind::Lease, "", &["get", "create", "patch"]);
    all.sort_unstable();
    all.dedup();
    all
}

/// What is missing, one sentence for each resource, with the lines to add to the role.
pub fn missing(lacks: &[Right]) -> Vec<Text> {
    let mut all: Vec<(ObjectKind, &str, Vec<&str>)> = Vec::new();
    for right in lacks {
        match all.iter_mut().find(|(kind, sub, _)| (*kind, *sub) == (right.kind, right.subresource)) {
            Some((_, _, verbs)) => verbs.push(right.verb),
            None => all.push((right.kind, right.subresource, vec![right.verb])),
        }
    }
    all.iter()
        .map(|(kind, sub, verbs)| {
            let (group, _, plural, _) = kind.api();
            let resource = if sub.is_empty() { plural.to_owned() } else { format!("{plural}/{sub}") };
            let verbs = verbs.join(", ");
            text!("{verbs} {resource}: add {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verbs}]}}")
        })
        .collect()
}
