//! Reads what the pre-flight looks at, and tells the train what was found. What it comes to is decided in `core::frozen::checks`;
//! what was read already (workloads, flags, other Releases) comes in. What cannot be read is unknown, and unknown blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use futures::{StreamExt, stream};
use jiff::Timestamp;

use crate::core::frozen::checks::{self as decide, Back, Past, Running};
use crate::core::frozen::rights::{Right, rights};
use crate::core::frozen::{Frozen, Workload};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::template;
use crate::core::text::Text;
use crate::core::train::event::{Check, Fact, FlagReading, Found, Reading};
use crate::core::train::preflight;
use crate::core::train::resolved::{Kind, ServiceId};
use crate::engine::facts::cluster_uid;
use crate::ports::{Access, Cluster, Fault, FaultKind, Interest};
use crate::text;

/// How many rights are asked for at once.
const AT_ONCE: usize = 8;

/// What is known already when the checks are made.
pub struct Inputs {
    /// The plan.
    pub frozen: Arc<Frozen>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// Now.
    pub now: Timestamp,
    /// Names of other active Releases of this environment.
    pub others: Vec<Text>,
    /// Trains of this environment that have ended.
    pub past: Vec<Past>,
    /// Services, as in the plan; none where the workload was not read yet.
    pub services: Vec<Option<Live>>,
    /// Flags, as in the plan.
    pub flags: Vec<Option<FlagReading>>,
    /// Rights that the server granted when it was asked before: they are not asked for again.
    pub granted: BTreeSet<Right>,
}

/// What came of the checks.
pub struct Findings {
    /// For the train.
    pub facts: Vec<Fact>,
    /// All rights that the server has granted so far. Of dozens of questions a server that is not well leaves some open each time;
    /// asked anew all together they would hardly ever all be answered.
    pub granted: BTreeSet<Right>,
}

/// A workload, as read.
#[derive(Clone, Debug)]
pub struct Live {
    /// The workload.
    pub object: Object,
    /// The object that holds its template: itself, or the Deployment that it refers to.
    pub holder: Object,
    /// Replica sets of it.
    pub sets: Vec<Object>,
    /// What it means to the train.
    pub reading: Arc<Reading>,
}

/// Makes every check that a train of this plan needs, but the ones that the judges make (`Burning`, `Scrape`), and policies that
/// somebody let pass.
pub async fn find(inputs: &Inputs) -> Findings {
    let plan = &inputs.frozen.resolved;
    let quotas = quotas(inputs).await;
    let found = preflight::checks(plan).into_iter().filter(|check| *check != Check::Rights).map(|check| {
        let quotas = quotas.as_ref();
        async move {
            let found = one(inputs, quotas, &check).await?;
            Some(Fact { check, found })
        }
    });
    let (facts, (rights, granted)) = futures::join!(join_all(found), allowed(inputs));
    let rights = Fact { check: Check::Rights, found: rights };
    Findings { facts: facts.into_iter().flatten().chain([rights]).collect(), granted }
}

async fn one(inputs: &Inputs, quotas: Result<&Vec<Object>, &Fault>, check: &Check) -> Option<Found> {
    let frozen = &inputs.frozen;
    let plan = &frozen.resolved;
    Some(match check {
        Check::Burning(_) | Check::Scrape | Check::Rights => return None,
        Check::Cluster => cluster(inputs).await,
        Check::Alone => decide::alone(&inputs.others),
        Check::Freeze => decide::freeze(&frozen.freeze, inputs.now, frozen.estimate),
        Check::Policy(n) => {
            let policy = plan.policies.get(usize::from(*n)).filter(|p| p.waiver.is_none())?;
            decide::policy(&policy.name)
        }
        Check::Schema => decide::schema(plan.migrations.len()),
        Check::Push => decide::push(),
        Check::FlagOld(n) => {
            let n = usize::from(*n);
            match inputs.flags.get(n).and_then(Option::as_ref) {
                Some(read) => decide::flag_old(&plan.flags[n], &read.value),
                None => Found::Unknown(text!("{} was not read yet", plan.flags[n].key)),
            }
        }
        Check::Quarantine(s) => {
            let service = plan.service(*s);
            decide::quarantine(&service.name, &service.image, &inputs.past)
        }
        Check::Drift(s) | Check::ConfigVolume(s) | Check::Weights(s) | Check::WayBack(s) | Check::Anew(s) => {
            let workload = &frozen.workloads[usize::from(*s)];
            match inputs.services.get(usize::from(*s)).and_then(Option::as_ref) {
                Some(live) => of_workload(inputs, quotas, check, *s, workload, live).await,
                None => {
                    Found::Unknown(text!("{} was not read yet", frozen.object(*s, &inputs.cluster.identity().context)))
                }
            }
        }
    })
}

async fn of_workload(
    inputs: &Inputs,
    quotas: Result<&Vec<Object>, &Fault>,
    check: &Check,
    s: ServiceId,
    workload: &Workload,
    live: &Live,
) -> Found {
    let plan = &inputs.frozen.resolved;
    let service = plan.service(s);
    let Some(template) = live.holder.raw("/spec/template") else {
        return Found::Unknown(text!("{} has no template", live.holder.name()));
    };
    match check {
        Check::Drift(_) => match decide::live_image(workload, template) {
            Some(image) => {
                let config = template::config_volume(template).map(|(_, name)| name);
                let pinned = Running { image: &service.image, config: workload.config.as_deref() };
                decide::drift(&service.name, Running { image: &image, config }, pinned, &inputs.past)
            }
            None => Found::Refuse(text!(
                "{} has no container {}: name it in service.yaml (workload.container)",
                live.holder.name(),
                workload.container.as_deref().unwrap_or("of its own, or several")
            )),
        },
        Check::ConfigVolume(_) => decide::config_volume(workload, template),
        Check::Weights(_) => decide::weights(workload, &live.object),
        Check::Anew(_) => decide::anew(plan.deploy, &live.reading),
        _ => way_back(inputs, quotas, workload, live, template).await,
    }
}

async fn cluster(inputs: &Inputs) -> Found {
    match cluster_uid(&*inputs.cluster).await {
        Ok(Some(read)) => decide::cluster(inputs.frozen.pinned_uid.as_ref(), &inputs.frozen.cluster_uid, &read),
        Ok(None) => Found::Unknown(Text::scrub("namespace kube-system is not there")),
        Err(fault) => unread(&fault),
    }
}

async fn allowed(inputs: &Inputs) -> (Found, BTreeSet<Right>) {
    let borrowed = inputs.services.iter().flatten().any(|live| live.object.raw("/spec/workloadRef").is_some());
    let wanted = rights(&inputs.frozen, borrowed);
    let open: Vec<Right> = wanted.iter().filter(|right| !inputs.granted.contains(*right)).copied().collect();
    let asking: Vec<_> = open.into_iter().map(|right| has(inputs, right)).collect();
    let answers: Vec<(Right, Result<bool, Fault>)> = stream::iter(asking).buffered(AT_ONCE).collect().await;
    let mut granted = inputs.granted.clone();
    granted.extend(answers.iter().filter(|(_, has)| *has == Ok(true)).map(|(right, _)| *right));
    let unanswered = answers.iter().filter(|(_, has)| has.is_err()).count();
    let lacks = answers.iter().any(|(_, has)| *has == Ok(false));
    let found = match answers.iter().find_map(|(_, has)| has.as_ref().err()) {
        // What is missing for certain is told at once, whatever else is not known yet.
        Some(fault) if !lacks => {
            Found::Unknown(text!("{unanswered} of {} rights were not answered: {}", wanted.len(), why(fault)))
        }
        _ => {
            let open = |right: &Right| answers.iter().any(|(asked, has)| asked == right && has.is_err());
            let known: Vec<Right> = wanted.into_iter().filter(|right| !open(right)).collect();
            let has: Vec<bool> = known.iter().map(|right| granted.contains(right)).collect();
            decide::allowed(&known, &has)
        }
    };
    (found, granted)
}

async fn has(inputs: &Inputs, right: Right) -> (Right, Result<bool, Fault>) {
    let Right { kind, subresource, verb } = right;
    let access = [Access { verb, kind, subresource, namespace: inputs.frozen.namespace.clone() }];
    (right, inputs.cluster.may(&access).await.map(|has| has.first() == Some(&true)))
}

async fn quotas(inputs: &Inputs) -> Result<Vec<Object>, Fault> {
    let interest = Interest {
        kind: ObjectKind::ResourceQuota,
        namespace: inputs.frozen.namespace.clone(),
        labels: Text::default(),
        fields: Text::default(),
    };
    match inputs.cluster.list(&interest).await {
        Err(fault) if matches!(fault.kind, FaultKind::NoSuchKind | FaultKind::NotFound) => Ok(Vec::new()),
        answer => answer,
    }
}

async fn way_back(
    inputs: &Inputs,
    quotas: Result<&Vec<Object>, &Fault>,
    workload: &Workload,
    live: &Live,
    template: &serde_json::Value,
) -> Found {
    let context = inputs.cluster.identity().context;
    let namespace = &inputs.frozen.namespace;
    let config = match template::config_volume(template) {
        None => None,
        Some((_, name)) => {
            let name = Text::scrub(name);
            let kind = ObjectKind::ConfigMap;
            let id = ObjectRef { cluster: context.clone(), kind, namespace: namespace.clone(), name: name.clone() };
            match inputs.cluster.read(&id).await {
                Ok(map) => Some((name, map.is_some())),
                Err(fault) => return unread(&fault),
            }
        }
    };
    let stable = live.reading.stable.as_str();
    let bears = |set: &Object| {
        ["rollouts-pod-template-hash", "pod-template-hash"].iter().any(|label| set.label(label) == Some(stable))
    };
    let (ready, replicas, set) = if workload.kind == Kind::Canary {
        // What serves is the copy that Flagger keeps.
        let name = text!("{}-primary", live.holder.name());
        let id = ObjectRef { cluster: context, kind: ObjectKind::Deployment, namespace: namespace.clone(), name };
        match inputs.cluster.read(&id).await {
            Ok(Some(primary)) => (primary.int("/status/readyReplicas"), primary.int("/spec/replicas"), true),
            Ok(None) => return Found::Unknown(text!("{id} is not there: Flagger has not initialized it")),
            Err(fault) => return unread(&fault),
        }
    } else {
        let replicas = live.object.int("/spec/replicas");
        (live.object.int("/status/readyReplicas"), replicas, live.sets.iter().any(bears))
    };
    let back = Back {
        set,
        config,
        ready: usize::try_from(ready.unwrap_or(0)).unwrap_or(0),
        replicas: replicas.unwrap_or(1),
        quotas: quotas.ok().map(|quotas| decide::short_quotas(quotas, template)),
    };
    decide::way_back(workload, &live.reading, &back)
}

fn unread(fault: &Fault) -> Found {
    Found::Unknown(why(fault))
}

fn why(fault: &Fault) -> Text {
    if fault.hint.is_empty() { text!("{fault}") } else { text!("{fault}; {}", fault.hint) }
}
