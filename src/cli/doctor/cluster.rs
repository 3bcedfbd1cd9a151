//! What the doctor asks a cluster: who we are there, whether it answers, which one it is, what it serves, and which rights
//! we have. Each question has its check; what cannot be asked is unknown, never passed.

use std::time::Duration;

use serde_json::{Value, json};

use super::Until;
use super::report::Check;
use super::rights;
use crate::cli::Wiring;
use crate::cli::failure::{Failure, FailureKind};
use crate::cli::place::Target;
use crate::core::object::ObjectKind;
use crate::core::snapshot::WriteMode;
use crate::core::text::Text;
use crate::engine::facts::cluster_uid;
use crate::engine::flags::read as read_flags;
use crate::engine::look::interest;
use crate::engine::scope::{FlagStore, Scope};
use crate::ports::{Access, ContextList, Fault, FaultKind};
use crate::text;

/// From this difference between the clocks on, countdowns on the screen are visibly wrong.
const SKEW_MAX_MS: i64 = 2_000;

/// The kinds that may be served, in the order they are told.
const KINDS: [ObjectKind; 8] = [
    ObjectKind::Deployment,
    ObjectKind::Rollout,
    ObjectKind::AnalysisRun,
    ObjectKind::AnalysisTemplate,
    ObjectKind::Canary,
    ObjectKind::FeatureFlag,
    ObjectKind::Release,
    ObjectKind::Application,
];

/// A fault as a check that failed.
fn failed(id: &'static str, what: &str, fault: Fault) -> Check {
    Check::fail(id, what, FailureKind::Outside, text!("{}: {}", fault.what, fault.why), fault.hint)
}

/// The kubeconfig files.
pub fn kubeconfig(contexts: &Result<ContextList, Fault>) -> Check {
    let (id, what) = ("cluster.kubeconfig", "kubeconfig");
    match contexts {
        Err(fault) => failed(id, what, fault.clone()),
        Ok(list) => {
            let files: Vec<&str> = list.files.iter().map(Text::as_str).collect();
            let from = if files.is_empty() { "the pod's service account".to_owned() } else { files.join(", ") };
            let many = if list.all.len() == 1 { "" } else { "s" };
            Check::pass(id, what, text!("{from}: {} context{many}", list.all.len()))
        }
    }
}

/// That there is no place to go to.
pub fn no_place(contexts: &Result<ContextList, Fault>, failure: Failure) -> Check {
    if contexts.is_err() {
        return Check::unknown("cluster.context", "context", "no kubeconfig can be read");
    }
    let why = failure.causes.first().map_or_else(|| failure.what.clone(), |cause| text!("{}: {cause}", failure.what));
    Check::fail("cluster.context", "context", failure.kind, why, failure.hint)
}

/// Where the command goes, and whether anything may be changed from there.
pub fn context(target: &Target, contexts: &Result<ContextList, Fault>) -> Check {
    let place = &target.scope.place;
    let current = contexts.as_ref().ok().and_then(|list| list.current.as_ref()) == Some(&place.context);
    let user = target.cluster.identity().user;
    let environment = place.environment.as_ref().map_or(String::new(), |e| format!("environment {e}, "));
    let protected = if place.protected { ", protected" } else { "" };
    let (write, word) = match place.write {
        WriteMode::ReadWrite => ("read-write", "read-write"),
        WriteMode::ReadOnlyByPattern => ("read-only by its name: pause, abort and undo only", "read-only by name"),
        WriteMode::ReadOnly => ("read-only: nothing may leave", "read-only"),
    };
    let why = text!(
        "{environment}{}/{} at {} as {user}, {write}{protected}{}",
        place.context,
        place.namespace,
        place.server,
        if current { "" } else { " (not the current context)" }
    );
    Check::pass("cluster.context", "context", why).with(json!({"user": user, "write": word, "current": current}))
}

/// Everything that the cluster itself is asked.
pub async fn checks(target: &Target, wiring: &Wiring, until: Until) -> Vec<Check> {
    let cluster = &*target.cluster;
    let mut out = Vec::new();
    let plugin = plugin_of(target, wiring);
    let (answer, took) = until.wait(cluster.credentials()).await;
    let (id, what) = ("cluster.credentials", "credentials");
    let known = match answer {
        Some(Ok(None)) => {
            out.push(Check::pass(id, what, "no plugin: what the kubeconfig holds"));
            true
        }
        Some(Ok(Some(command))) => {
            out.push(Check::pass(id, what, text!("`{command}` handed some out")).in_time(took));
            true
        }
        Some(Err(fault)) => {
            out.push(failed(id, what, fault).in_time(took));
            false
        }
        None => {
            let plugin = plugin.unwrap_or_else(|| "the credential plugin".into());
            let why = text!("`{plugin}` gave {}", until.late());
            let next = text!("run `{plugin}` in another terminal, or give it longer: --deadline 30");
            out.push(Check::fail(id, what, FailureKind::Outside, why, next).in_time(took));
            false
        }
    };
    if !known {
        out.extend(unknown("there are no credentials to ask with"));
        return out;
    }

    let (answer, took) = until.wait(cluster.about()).await;
    let (id, what) = ("cluster.reach", "API server");
    let skew = match answer {
        Some(Ok((version, skew))) => {
            let why = text!("{} answers, Kubernetes {version}", target.scope.place.server);
            out.push(Check::pass(id, what, why).in_time(took).with(json!({"version": version})));
            skew
        }
        Some(Err(fault)) => {
            out.push(failed(id, what, fault).in_time(took));
            out.extend(unknown("the API server was not reached").into_iter().skip(1));
            return out;
        }
        None => {
            let why = text!("{}: {}", target.scope.place.server, until.late());
            let next = "check VPN and network, the server of the context in the kubeconfig, and HTTPS_PROXY";
            out.push(Check::fail(id, what, FailureKind::Outside, why, next).in_time(took));
            out.extend(unknown("the API server was not reached").into_iter().skip(1));
            return out;
        }
    };
    out.push(clock(skew));
    let (identity, (kinds, rights), flags) =
        tokio::join!(identity(target, until), kinds_and_rights(target, until), flag_store(target, until));
    out.push(identity);
    out.push(kinds);
    out.extend(rights);
    out.push(flags);
    out
}

/// What would have been asked.
fn unknown(why: &str) -> Vec<Check> {
    [
        ("cluster.reach", "API server"),
        ("cluster.clock", "clock"),
        ("cluster.identity", "cluster uid"),
        ("cluster.kinds", "kinds"),
        ("rights.see", "rights"),
        ("flags.store", "flags"),
    ]
    .into_iter()
    .map(|(id, what)| Check::unknown(id, what, why))
    .collect()
}

fn plugin_of(target: &Target, wiring: &Wiring) -> Option<Text> {
    let list = wiring.clusters.contexts().ok()?;
    list.all.into_iter().find(|c| c.name == target.scope.place.context)?.plugin
}

fn clock(skew: Option<i64>) -> Check {
    let (id, what) = ("cluster.clock", "clock");
    let Some(ms) = skew else { return Check::unknown(id, what, "the server sends no time") };
    #[allow(clippy::cast_precision_loss, reason = "a difference of clocks in milliseconds fits a double")]
    let seconds = ms as f64 / 1000.0;
    let data = json!({"ours_minus_theirs_ms": ms});
    if ms.abs() <= SKEW_MAX_MS {
        return Check::pass(id, what, text!("ours and the server's agree within {:.1} s", seconds.abs())).with(data);
    }
    let way = if ms > 0 { "ahead of" } else { "behind" };
    let much = match seconds.abs() {
        s if s < 3600.0 => format!("{s:.1} s"),
        s if s < 86_400.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    };
    let why = text!("ours is {much} {way} the server's: countdowns and ages are wrong by that");
    Check::warn(id, what, why, "set this machine's clock (NTP), or look at the server's").with(data)
}

async fn identity(target: &Target, until: Until) -> Check {
    let (id, what) = ("cluster.identity", "cluster uid");
    let pinned = target.scope.cluster_uid.clone();
    let (answer, took) = until.wait(cluster_uid(&*target.cluster)).await;
    let read = match answer {
        None => Err(until.late()),
        Some(Err(fault)) => Err(fault.why),
        Some(Ok(None)) => Err("there is no namespace kube-system".into()),
        Some(Ok(Some(uid))) => Ok(uid),
    };
    let data = |uid: Option<&Text>| json!({"uid": uid, "pinned": pinned});
    match (&read, &pinned) {
        (Ok(uid), Some(pinned)) if uid == pinned => {
            Check::pass(id, what, text!("{uid}, as footplate.yaml pins it")).in_time(took).with(data(Some(uid)))
        }
        (Ok(uid), Some(pinned)) => {
            let why = text!("this is another cluster: its uid is {uid}, footplate.yaml pins {pinned}");
            let next = "check the context, or correct clusterUid of the environment; every order is refused until then";
            Check::fail(id, what, FailureKind::No, why, next).in_time(took).with(data(Some(uid)))
        }
        (Ok(uid), None) => {
            let check = Check::pass(id, what, text!("{uid}, pinned by nobody")).in_time(took).with(data(Some(uid)));
            match &target.scope.place.environment {
                Some(environment) => {
                    check.next(text!("clusterUid: {uid} on environment {environment} refuses a mixed-up context"))
                }
                None => check,
            }
        }
        (Err(why), Some(pinned)) => {
            let why = text!("it cannot be read, so whether it is {pinned} is not known: {why}");
            let next = "allow get on namespace kube-system; until then nothing goes forward";
            Check::fail(id, what, FailureKind::Outside, why, next).in_time(took).with(data(None))
        }
        (Err(why), None) => Check::unknown(id, what, why.clone()).in_time(took).with(data(None)),
    }
}

async fn kinds_and_rights(target: &Target, until: Until) -> (Check, Vec<Check>) {
    let (id, what) = ("cluster.kinds", "kinds");
    let unasked =
        |why: &str| vec![Check::unknown("rights.see", "rights", text!("which kinds are served is not known: {why}"))];
    let (answer, took) = until.wait(target.cluster.serves(&KINDS)).await;
    let served = match answer {
        None => return (Check::unknown(id, what, until.late()).in_time(took), unasked(&until.late())),
        Some(Err(fault)) => {
            let rights = unasked(&fault.why);
            return (failed(id, what, fault).in_time(took), rights);
        }
        Some(Ok(served)) => served,
    };
    let serves = |kind: ObjectKind| KINDS.iter().position(|k| *k == kind).is_some_and(|n| served[n]);
    let kinds = kinds(&target.scope, &serves).in_time(took);
    (kinds, rights_checks(target, until, &serves).await)
}

/// What is served, and what that means here.
fn kinds(scope: &Scope, serves: &dyn Fn(ObjectKind) -> bool) -> Check {
    let (id, what) = ("cluster.kinds", "kinds");
    let name = |kind: ObjectKind| kind.api().3;
    let (there, missing): (Vec<ObjectKind>, Vec<ObjectKind>) = KINDS.into_iter().partition(|kind| serves(*kind));
    let list = |kinds: &[ObjectKind]| kinds.iter().map(|k| name(*k)).collect::<Vec<_>>().join(", ");
    let data: Value = KINDS
        .iter()
        .map(|kind| (name(*kind).to_owned(), json!(serves(*kind))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    // Without a release whatever is found is shown, and nothing is missed.
    let needed: Vec<ObjectKind> = missing
        .iter()
        .copied()
        .filter(|kind| !matches!(kind, ObjectKind::Release | ObjectKind::Application))
        .filter(|kind| scope.release.is_some() && scope.needs(*kind))
        .collect();
    if !needed.is_empty() {
        let why = text!("not served, but the release needs it: {}", list(&needed));
        let next = "install what serves it (Argo Rollouts, Flagger, the OpenFeature operator), or check the context";
        return Check::fail(id, what, FailureKind::Outside, why, next).with(data);
    }
    let rest: Vec<ObjectKind> = missing.into_iter().filter(|kind| *kind != ObjectKind::Application).collect();
    let without = if rest.is_empty() { String::new() } else { format!("; not {}", list(&rest)) };
    let why = text!("served: {}{without}", list(&there));
    let check = Check::pass(id, what, why).with(data);
    if rest.contains(&ObjectKind::Release) {
        return check.next("orders by hand work; a train that others can attach to needs the kind Release");
    }
    check
}

async fn rights_checks(target: &Target, until: Until, serves: &dyn Fn(ObjectKind) -> bool) -> Vec<Check> {
    let place = &target.scope.place;
    let kinds = rights::workloads(&target.scope, serves);
    let refers = kinds.contains(&ObjectKind::Rollout) && refers(target, until).await;
    let needs = rights::needs(&kinds, refers, &target.flag_home.store, serves);
    let wanted = rights::wanted(&needs, &place.namespace);
    let (answer, took) = until.wait(target.cluster.may(&wanted)).await;
    let answers: Vec<bool> = match answer {
        None => return vec![Check::unknown("rights.see", "rights", until.late()).in_time(took)],
        Some(Err(fault)) => return vec![failed("rights.see", "rights", fault).in_time(took)],
        Some(Ok(answers)) => answers,
    };
    let read_only = place.write == WriteMode::ReadOnly;
    needs
        .iter()
        .filter(|need| !(need.changes && read_only))
        .map(|need| rights_check(need, &wanted, &answers, target, took))
        .collect()
}

/// Whether a Rollout here has its template in a Deployment. Where that cannot be seen, the right to see fails, which says it.
async fn refers(target: &Target, until: Until) -> bool {
    let rollouts = interest(&target.scope, ObjectKind::Rollout);
    let release = target.scope.release.as_ref();
    let ours = |name: &str| release.is_none_or(|r| r.services.iter().any(|s| *s.workload == *name));
    let (listed, _) = until.wait(target.cluster.list(&rollouts)).await;
    let all = listed.and_then(Result::ok).unwrap_or_default();
    all.iter().any(|o| ours(&o.name()) && o.str("/spec/workloadRef/kind") == Some("Deployment"))
}

fn rights_check(need: &rights::Need, wanted: &[Access], answers: &[bool], target: &Target, took: Duration) -> Check {
    let place = &target.scope.place;
    let has = |right: &(&'static str, ObjectKind, &'static str)| {
        let asked = wanted.iter().zip(answers);
        let mut found = asked.filter(|(a, _)| (a.verb, a.kind, a.subresource) == *right);
        found.next().is_some_and(|(_, allowed)| *allowed)
    };
    let missing: Vec<String> = need.rights.iter().filter(|r| !has(r)).map(|r| rights::in_words(*r)).collect();
    let data = json!({"missing": missing});
    if missing.is_empty() {
        let many = if need.rights.len() == 1 { "" } else { "s" };
        return Check::pass(need.id, need.what, text!("{} right{many} in {}", need.rights.len(), place.namespace))
            .in_time(took)
            .with(data);
    }
    let user = target.cluster.identity().user;
    let why = text!("{user} may not: {}", missing.join(", "));
    if need.elsewhere {
        let next = "no train is conducted from here; whoever has the role of a conductor can (footplate install)";
        return Check::warn(need.id, need.what, why, next).in_time(took).with(data);
    }
    let next = text!("ask for a role in {} that allows it, or use another context", place.namespace);
    Check::fail(need.id, need.what, FailureKind::Outside, why, next).in_time(took).with(data)
}

async fn flag_store(target: &Target, until: Until) -> Check {
    let (id, what) = ("flags.store", "flags");
    let (place, home) = (&target.scope.place, &target.flag_home);
    let wanted = target.scope.release.as_ref().map_or(0, |release| release.flags.len());
    let at = home.store.place(&place.namespace);
    let (answer, took) = until.wait(read_flags(&*target.cluster, place, &home.store)).await;
    let check = match answer {
        None => Check::unknown(id, what, text!("{at}: {}", until.late())),
        // Nothing was said about flags, and nothing moves one: that no operator is there is no fault.
        Some(Err(fault)) if fault.kind == FaultKind::NoSuchKind && home.store == FlagStore::Objects && wanted == 0 => {
            Check::pass(
                id,
                what,
                "none here: the server serves no FeatureFlag, and footplate.yaml names no other place",
            )
        }
        Some(Err(fault)) => failed(id, what, fault),
        Some(Ok(shelves)) => match shelves.iter().find_map(|s| s.definition.as_ref().err().map(|why| (s, why))) {
            Some((shelf, why)) => {
                let next = "check flags in footplate.yaml, and what is at that place";
                Check::fail(id, what, FailureKind::Outside, text!("{}: {why}", shelf.source), next)
            }
            None => {
                let views = crate::engine::flags::views(&shelves, target.scope.release.as_ref());
                let lost: Vec<&str> =
                    views.iter().filter(|v| v.object.is_none() && v.now.is_none()).map(|v| v.key.as_str()).collect();
                let count = views.len() - lost.len();
                let many = if count == 1 { "" } else { "s" };
                if lost.is_empty() {
                    Check::pass(id, what, text!("{at}: {count} flag{many}"))
                } else {
                    let why = text!("{at}: {count} flag{many}, but the release moves {} too", lost.join(", "));
                    Check::warn(id, what, why, "define it where its readers look")
                }
            }
        },
    };
    check.in_time(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_with_their_way() {
        assert_eq!(clock(None).why.as_str(), "the server sends no time");
        assert_eq!(clock(Some(-400)).why.as_str(), "ours and the server's agree within 0.4 s");
        let behind = clock(Some(-12_300));
        assert!(behind.why.contains("12.3 s behind"), "{}", behind.why);
        assert!(clock(Some(12_300)).why.contains("12.3 s ahead of"));
        assert!(clock(Some(-172_800_000)).why.contains("2.0 days behind"));
    }
}
