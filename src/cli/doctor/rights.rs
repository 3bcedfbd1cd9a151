//! Which rights each verb needs, by what the verbs read and write (`core::verb`, `engine::facts`, `engine::flags`), what ordering a
//! train takes, and what conducting one (`core::frozen::rights`). Whether somebody has them is asked elsewhere.

use crate::core::frozen::rights::{Made, conducting};
use crate::core::object::ObjectKind::{
    self, AnalysisRun, AnalysisTemplate, Canary, ConfigMap, Deployment, Event, FeatureFlag, Lease, Pod, Release,
    ReplicaSet, Rollout,
};
use crate::core::text::Text;
use crate::engine::scope::{FlagStore, Scope};
use crate::ports::Access;

/// A right: API verb, kind, subresource.
type Right = (&'static str, ObjectKind, &'static str);

/// What one verb needs.
#[derive(Clone, PartialEq, Debug)]
pub struct Need {
    /// `rights.VERB`.
    pub id: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// True for what changes something; not needed under `--read-only`.
    pub changes: bool,
    /// True for what another process may do in our place: who lacks it is warned and no more.
    pub elsewhere: bool,
    /// The rights.
    pub rights: Vec<Right>,
}

/// The kinds of workload that are looked after here: those that the release names, or those that the server serves.
pub fn workloads(scope: &Scope, serves: impl Fn(ObjectKind) -> bool) -> Vec<ObjectKind> {
    let served = [Rollout, Deployment, Canary].into_iter().filter(|kind| serves(*kind));
    match &scope.release {
        None => served.collect(),
        Some(release) => {
            // A service that names no kind is whatever is found under its name.
            let open = release.services.iter().any(|s| s.kind.is_none());
            served.filter(|kind| open || release.services.iter().any(|s| s.kind == Some(*kind))).collect()
        }
    }
}

/// What every verb needs on these kinds of workload, with flags living there. `refers`: a Rollout has its template in a
/// Deployment (`spec.workloadRef`), which is then what starts and undoes write. Trains need the kind Release.
pub fn needs(kinds: &[ObjectKind], refers: bool, flags: &FlagStore, serves: impl Fn(ObjectKind) -> bool) -> Vec<Need> {
    let serves_flags = serves(FeatureFlag);
    let has = |kind: ObjectKind| kinds.contains(&kind);
    let mut see: Vec<Right> = Vec::new();
    let mut follow = |kind: ObjectKind| see.extend(["get", "list", "watch"].map(|verb| (verb, kind, "")));
    kinds.iter().copied().filter(|kind| *kind != Deployment).for_each(&mut follow);
    // A Rollout may refer to a Deployment, and a Canary always does.
    [Deployment, ReplicaSet, Pod, ConfigMap].into_iter().for_each(&mut follow);
    if has(Rollout) {
        [AnalysisRun, AnalysisTemplate].into_iter().for_each(&mut follow);
    }
    see.extend([("list", Event, ""), ("watch", Event, "")]);

    let main = |of: &[ObjectKind]| -> Vec<Right> {
        of.iter().filter(|kind| has(**kind)).map(|kind| ("patch", *kind, "")).collect()
    };
    let status: Vec<Right> = if has(Rollout) { vec![("patch", Rollout, "status")] } else { Vec::new() };
    // Flagger's verbs write the Deployment that a Canary is about.
    let target: Vec<Right> = if has(Canary) { vec![("patch", Deployment, "")] } else { Vec::new() };
    // Where a template has no revision of its own to go back to, it is recorded before it is changed.
    let record: Vec<Right> = if has(Canary) || has(Deployment) { vec![("create", ConfigMap, "")] } else { Vec::new() };
    let all = main(&[Rollout, Deployment, Canary]);
    let both = [all.clone(), status.clone(), target.clone()].concat();
    let template: Vec<Right> = if refers { vec![("patch", Deployment, "")] } else { Vec::new() };
    let deploys = [both.clone(), template].concat();
    let mut out = vec![
        Need { id: "rights.see", what: "see everything", changes: false, elsewhere: false, rights: see },
        Need { id: "rights.pause", what: "pause", changes: true, elsewhere: false, rights: all.clone() },
        Need { id: "rights.abort", what: "abort", changes: true, elsewhere: false, rights: both.clone() },
        Need { id: "rights.undo", what: "undo", changes: true, elsewhere: false, rights: deploys.clone() },
        Need { id: "rights.resume", what: "resume", changes: true, elsewhere: false, rights: all.clone() },
        Need {
            id: "rights.promote",
            what: "promote",
            changes: true,
            elsewhere: false,
            rights: [status, main(&[Canary])].concat(),
        },
        Need { id: "rights.retry", what: "retry", changes: true, elsewhere: false, rights: deploys.clone() },
        Need { id: "rights.start", what: "start", changes: true, elsewhere: false, rights: [deploys, record].concat() },
    ];
    let flag: Vec<Right> = match flags {
        FlagStore::Objects if !serves_flags => Vec::new(),
        FlagStore::Objects => ["get", "list", "watch", "patch"].map(|verb| (verb, FeatureFlag, "")).to_vec(),
        FlagStore::Object(_) => ["get", "patch"].map(|verb| (verb, FeatureFlag, "")).to_vec(),
        FlagStore::ConfigMap(..) => ["get", "patch"].map(|verb| (verb, ConfigMap, "")).to_vec(),
        FlagStore::File(_) => Vec::new(),
    };
    out.push(Need { id: "rights.flag", what: "flip a flag", changes: true, elsewhere: false, rights: flag });
    if serves(Release) {
        // Scripts and pinned config files are put there before the Release is.
        let order = [
            ["get", "list", "watch", "create", "patch"].map(|verb| (verb, Release, "")).to_vec(),
            ["get", "list", "watch"].map(|verb| (verb, Lease, "")).to_vec(),
            vec![("create", ConfigMap, "")],
        ];
        out.push(Need {
            id: "rights.order",
            what: "order a train",
            changes: true,
            elsewhere: false,
            rights: order.concat(),
        });
        let moved = match flags {
            FlagStore::Objects if !serves_flags => None,
            FlagStore::Objects | FlagStore::Object(_) => Some(FeatureFlag),
            FlagStore::ConfigMap(..) => Some(ConfigMap),
            FlagStore::File(_) => None,
        };
        let made = Made {
            rollouts: has(Rollout),
            canaries: has(Canary),
            deployments: has(Deployment) || refers,
            flags: moved,
            migrations: true,
        };
        let rights = conducting(&made).iter().map(|right| (right.verb, right.kind, right.subresource)).collect();
        out.push(Need { id: "rights.conduct", what: "conduct a train", changes: true, elsewhere: true, rights });
    }
    out.retain(|need| !need.rights.is_empty());
    for need in &mut out {
        need.rights.sort_unstable();
        need.rights.dedup();
    }
    out
}

/// All rights of these needs, each once, as they are asked for.
pub fn wanted(needs: &[Need], namespace: &Text) -> Vec<Access> {
    let mut all: Vec<Right> = needs.iter().flat_map(|need| need.rights.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .map(|(verb, kind, subresource)| Access { verb, kind, subresource, namespace: namespace.clone() })
        .collect()
}

/// A right as RBAC writes it.
pub fn in_words((verb, kind, subresource): Right) -> String {
    let (group, _, plural, _) = kind.api();
    let slash = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    let dot = if group.is_empty() { String::new() } else { format!(".{group}") };
    format!("{verb} {plural}{dot}{slash}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::install;

    #[test]
    fn each_verb_needs_what_it_writes() {
        let of = |kinds: &[ObjectKind]| -> Vec<String> {
            let line = |need: &Need| {
                let words: Vec<String> = need.rights.iter().map(|r| in_words(*r)).collect();
                format!("{}: {}", need.what, words.join(", "))
            };
            let serves = |kind| kind == FeatureFlag;
            needs(kinds, false, &FlagStore::Objects, serves).iter().filter(|n| n.changes).map(line).collect()
        };
        insta::assert_snapshot!(of(&[Rollout]).join("\n"), @"
        pause: patch rollouts.argoproj.io
        abort: patch rollouts.argoproj.io, patch rollouts.argoproj.io/status
        undo: patch rollouts.argoproj.io, patch rollouts.argoproj.io/status
        resume: patch rollouts.argoproj.io
        promote: patch rollouts.argoproj.io/status
        retry: patch rollouts.argoproj.io, patch rollouts.argoproj.io/status
        start: patch rollouts.argoproj.io, patch rollouts.argoproj.io/status
        flip a flag: get featureflags.core.openfeature.dev, list featureflags.core.openfeature.dev, patch featureflags.core.openfeature.dev, watch featureflags.core.openfeature.dev
        ");
        insta::assert_snapshot!(of(&[Canary]).join("\n"), @"
        pause: patch canaries.flagger.app
        abort: patch deployments.apps, patch canaries.flagger.app
        undo: patch deployments.apps, patch canaries.flagger.app
        resume: patch canaries.flagger.app
        promote: patch canaries.flagger.app
        retry: patch deployments.apps, patch canaries.flagger.app
        start: create configmaps, patch deployments.apps, patch canaries.flagger.app
        flip a flag: get featureflags.core.openfeature.dev, list featureflags.core.openfeature.dev, patch featureflags.core.openfeature.dev, watch featureflags.core.openfeature.dev
        ");
        insta::assert_snapshot!(of(&[Deployment]).join("\n"), @"
        pause: patch deployments.apps
        abort: patch deployments.apps
        undo: patch deployments.apps
        resume: patch deployments.apps
        retry: patch deployments.apps
        start: create configmaps, patch deployments.apps
        flip a flag: get featureflags.core.openfeature.dev, list featureflags.core.openfeature.dev, patch featureflags.core.openfeature.dev, watch featureflags.core.openfeature.dev
        ");
        let referring = needs(&[Rollout], true, &FlagStore::Objects, |_| false);
        let write: Vec<&str> =
            referring.iter().filter(|n| n.rights.contains(&("patch", Deployment, ""))).map(|n| n.what).collect();
        assert_eq!(write, ["undo", "retry", "start"]);
        assert!(needs(&[Rollout], false, &FlagStore::Objects, |_| false).iter().all(|need| need.id != "rights.flag"));
    }

    /// The verbs of a role that is printed.
    fn role(text: &str) -> BTreeSet<String> {
        let documents =
            text.split("\n---\n").map(|document| serde_yaml::from_str::<serde_json::Value>(document).unwrap());
        let role = documents.into_iter().find(|o| o["kind"] == "Role" && o["metadata"]["namespace"] == "NAMESPACE");
        let list = |value: &serde_json::Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        let mut all = BTreeSet::new();
        for rule in role.unwrap()["rules"].as_array().unwrap() {
            for resource in list(&rule["resources"]) {
                let (plural, sub) = resource.split_once('/').map_or((&*resource, ""), |(plural, sub)| (plural, sub));
                let group = list(&rule["apiGroups"]).concat();
                let dot = if group.is_empty() { String::new() } else { format!(".{group}") };
                let slash = if sub.is_empty() { String::new() } else { format!("/{sub}") };
                all.extend(list(&rule["verbs"]).iter().map(|verb| format!("{verb} {plural}{dot}{slash}")));
            }
        }
        all
    }

    /// Who has the printed role has all it takes, and nothing that nobody would miss.
    #[test]
    fn the_printed_roles_are_what_it_takes_and_no_more() {
        let all = needs(&[Rollout, Deployment, Canary], true, &FlagStore::Objects, |_| true);
        let words = |elsewhere: bool| -> BTreeSet<String> {
            all.iter().filter(|n| n.elsewhere == elsewhere).flat_map(|n| &n.rights).map(|r| in_words(*r)).collect()
        };
        assert_eq!(words(false), role(install::CAPTAIN));
        assert_eq!(words(true), role(install::CONDUCTOR));
    }
}
