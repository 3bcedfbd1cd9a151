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

/// What a train is made of, as far as rights go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Made {
    /// It has Rollouts.
    pub rollouts: bool,
    /// It has Canaries, which are about Deployments.
    pub canaries: bool,
    /// It has Deployments, or a Rollout that takes its template from one.
    pub deployments: bool,
    /// It moves flags that lie in objects of this kind.
    pub flags: Option<ObjectKind>,
    /// It has expand steps.
    pub migrations: bool,
}

/// All rights that this train needs, each once. `borrowed` is true where a Rollout takes its template from a Deployment.
pub fn rights(frozen: &Frozen, borrowed: bool) -> Vec<Right> {
    let has = |kind| frozen.workloads.iter().any(|w| w.kind == kind);
    let flags = match &frozen.flags {
        FlagPlace::Objects | FlagPlace::Object(_) => Some(ObjectKind::FeatureFlag),
        FlagPlace::ConfigMap(..) => Some(ObjectKind::ConfigMap),
        FlagPlace::File(_) => None,
    };
    conducting(&Made {
        rollouts: has(Kind::Rollout),
        canaries: has(Kind::Canary),
        deployments: has(Kind::Deployment) || borrowed,
        flags: flags.filter(|_| !frozen.resolved.flags.is_empty()),
        migrations: !frozen.resolved.migrations.is_empty(),
    })
}

/// All rights that conducting a train of this make takes, each once.
pub fn conducting(made: &Made) -> Vec<Right> {
    let mut all = Vec::new();
    let mut add = |kind: ObjectKind, subresource: &'static str, verbs: &[&'static str]| {
        all.extend(verbs.iter().map(|&verb| Right { kind, subresource, verb }));
    };
    if made.rollouts {
        add(ObjectKind::Rollout, "", &SEEN);
        add(ObjectKind::Rollout, "", &["patch"]);
        // Aborting, retrying, promoting and ending a pause are fields of the status.
        add(ObjectKind::Rollout, "status", &["patch"]);
        add(ObjectKind::AnalysisRun, "", &SEEN);
    }
    if made.canaries {
        add(ObjectKind::Canary, "", &SEEN);
        add(ObjectKind::Canary, "", &["patch"]);
    }
    if made.canaries || made.deployments {
        add(ObjectKind::Deployment, "", &SEEN);
        add(ObjectKind::Deployment, "", &["patch"]);
    }
    add(ObjectKind::ReplicaSet, "", &SEEN);
    add(ObjectKind::Pod, "", &SEEN);
    // Records, pinned configs and the journal; flags, where a ConfigMap holds them.
    add(ObjectKind::ConfigMap, "", &["get", "create", "patch"]);
    if made.flags == Some(ObjectKind::FeatureFlag) {
        add(ObjectKind::FeatureFlag, "", &SEEN);
        add(ObjectKind::FeatureFlag, "", &["patch"]);
    }
    if made.migrations {
        add(ObjectKind::Job, "", &["get", "list", "watch", "create"]);
    }
    // Whether there is room for the way back.
    add(ObjectKind::ResourceQuota, "", &["list"]);
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
