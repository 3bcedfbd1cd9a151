//! What a verb may look at, read freshly: the workload, what it refers to, its replica sets, records and runs. A few
//! workloads are read one by one; many of a kind with one list, so that fifty aborts do not begin with fifty reads.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::future::{join, join_all};
use futures::stream;
use jiff::Timestamp;

use super::world::RECORD_OF;
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::owner::gitops_owner;
use crate::core::text::Text;
use crate::core::verb::{Aim, Facts, Verb};
use crate::ports::{Cluster, Fault, Interest};
use crate::text;

/// From so many workloads of a kind on, one list is cheaper than reads.
pub(super) const LIST_FROM: usize = 4;
/// Reads under way at once.
const AT_ONCE: usize = 50;

type Shared<T> = Result<T, Fault>;

/// Facts for each aim, in the same order. `now` stands for the time of the reads, which begin after it.
pub async fn gather(cluster: &dyn Cluster, aims: &[&Aim], now: Timestamp) -> Vec<Shared<Facts>> {
    let objects: Vec<&ObjectRef> = aims.iter().map(|aim| &aim.workload).collect();
    let many = aims.len() >= LIST_FROM;
    // With many, the replica sets of the namespace are listed beside the workloads; with few, each by its own selector.
    let (objects, listed) = join(read_all(cluster, &objects), async {
        if many { list_sets(cluster, aims).await } else { Ok(BTreeMap::new()) }
    })
    .await;
    let work = aims.iter().zip(objects).map(|(aim, object)| {
        let listed = &listed;
        async move {
            let Some(object) = object? else { return Ok(blank(now)) };
            let sets = if many { Some(listed.as_ref().map_err(Clone::clone)?) } else { None };
            complete(cluster, aim, object, sets, now).await
        }
    });
    let work: Vec<_> = work.collect();
    stream::iter(work).buffered(AT_ONCE).collect().await
}

/// uid of a cluster, that of its namespace kube-system; none when that is not there.
pub async fn cluster_uid(cluster: &dyn Cluster) -> Result<Option<Text>, Fault> {
    let system = ObjectRef {
        cluster: cluster.identity().context,
        kind: ObjectKind::Namespace,
        namespace: Text::default(),
        name: "kube-system".into(),
    };
    Ok(cluster.read(&system).await?.map(|object| Text::scrub(object.uid())))
}

fn blank(now: Timestamp) -> Facts {
    Facts {
        object: None,
        target: None,
        primary: None,
        sets: Vec::new(),
        records: Vec::new(),
        was_stable: Vec::new(),
        run: None,
        owner: None,
        now,
    }
}

/// Replica sets by the uid that controls them.
type Sets = BTreeMap<String, Vec<Object>>;

async fn complete(
    cluster: &dyn Cluster,
    aim: &Aim,
    object: Object,
    listed: Option<&Sets>,
    now: Timestamp,
) -> Shared<Facts> {
    let beside = |kind: ObjectKind, name: &str| ObjectRef { kind, name: Text::scrub(name), ..aim.workload.clone() };
    let target_name = target(&object).map(str::to_owned);
    let read = async |name: Option<String>| match name {
        Some(name) => cluster.read(&beside(ObjectKind::Deployment, &name)).await,
        None => Ok(None),
    };
    let primary =
        target_name.as_ref().filter(|_| aim.workload.kind == ObjectKind::Canary).map(|t| format!("{t}-primary"));
    let (target, primary) = join(read(target_name), read(primary)).await;
    let (target, primary) = (target?, primary?);
    let sets = async {
        match listed {
            Some(listed) => {
                let uids = [Some(object.uid()), target.as_ref().map(Object::uid)].into_iter().flatten();
                Ok(uids.flat_map(|uid| listed.get(uid).into_iter().flatten().cloned()).collect())
            }
            None => match selector(&object).or_else(|| target.as_ref().and_then(selector)) {
                Some(labels) => cluster.list(&interest(aim, ObjectKind::ReplicaSet, Text::scrub(&labels))).await,
                None => Ok(Vec::new()),
            },
        }
    };
    let records = async {
        let with_config = matches!(&aim.verb, Verb::Start { config: Some(_), .. });
        if aim.workload.kind == ObjectKind::Rollout && !with_config {
            return Ok(Vec::new());
        }
        let labels = text!("{RECORD_OF}={}", object.uid());
        cluster.list(&interest(aim, ObjectKind::ConfigMap, labels)).await
    };
    let run = async {
        // Only what goes forward asks what a gate said.
        let forward = matches!(aim.verb, Verb::Promote | Verb::PromoteFull | Verb::Retry | Verb::Resume);
        match current_run(&object).filter(|_| forward) {
            Some(name) => cluster.read(&beside(ObjectKind::AnalysisRun, name)).await,
            None => Ok(None),
        }
    };
    let ((sets, records), run) = join(join(sets, records), run).await;
    let (sets, records, run) = (sets?, records?, run?);
    let owner = gitops_owner(&object).or_else(|| target.as_ref().and_then(gitops_owner));
    Ok(Facts { object: Some(object), target, primary, sets, records, was_stable: Vec::new(), run, owner, now })
}

fn interest(aim: &Aim, kind: ObjectKind, labels: Text) -> Interest {
    Interest { kind, namespace: aim.workload.namespace.clone(), labels, fields: Text::default() }
}

/// Reads objects, with one list where many are of one kind in one namespace.
async fn read_all(cluster: &dyn Cluster, objects: &[&ObjectRef]) -> Vec<Shared<Option<Object>>> {
    let mut groups: BTreeMap<(ObjectKind, &Text), Vec<&ObjectRef>> = BTreeMap::new();
    for object in objects {
        groups.entry((object.kind, &object.namespace)).or_default().push(object);
    }
    let reads = groups.into_iter().map(|((kind, namespace), group)| async move {
        let answers: Vec<(ObjectRef, Shared<Option<Object>>)> = if group.len() >= LIST_FROM {
            let all = Interest { kind, namespace: namespace.clone(), labels: Text::default(), fields: Text::default() };
            match cluster.list(&all).await {
                Ok(found) => {
                    let mut found: BTreeMap<Text, Object> = found.into_iter().map(|o| (o.name(), o)).collect();
                    group.iter().map(|o| ((*o).clone(), Ok(found.remove(&o.name)))).collect()
                }
                Err(fault) => group.iter().map(|o| ((*o).clone(), Err(fault.clone()))).collect(),
            }
        } else {
            join_all(group.iter().map(|o| async move { ((*o).clone(), cluster.read(o).await) })).await
        };
        answers
    });
    let mut found: BTreeMap<ObjectRef, Shared<Option<Object>>> = join_all(reads).await.into_iter().flatten().collect();
    objects.iter().map(|object| found.remove(*object).unwrap_or(Ok(None))).collect()
}

/// All replica sets of the namespaces, by who controls them.
async fn list_sets(cluster: &dyn Cluster, aims: &[&Aim]) -> Shared<Sets> {
    let mut namespaces: Vec<&Text> = aims.iter().map(|aim| &aim.workload.namespace).collect();
    namespaces.sort();
    namespaces.dedup();
    let mut out = Sets::new();
    for namespace in namespaces {
        let all = Interest {
            kind: ObjectKind::ReplicaSet,
            namespace: namespace.clone(),
            labels: Text::default(),
            fields: Text::default(),
        };
        for set in cluster.list(&all).await? {
            out.entry(set.controller().to_owned()).or_default().push(set);
        }
    }
    Ok(out)
}

/// The Deployment that a Rollout refers to or that a Canary moves.
pub(super) fn target(object: &Object) -> Option<&str> {
    let reference = object.raw("/spec/workloadRef").or_else(|| object.raw("/spec/targetRef"))?;
    (reference["kind"] == "Deployment").then(|| reference["name"].as_str()).flatten()
}

/// The selector of a workload in the words of the API: its replica sets carry the labels it names.
pub(super) fn selector(object: &Object) -> Option<String> {
    let selector = object.raw("/spec/selector")?;
    let mut parts: Vec<String> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str()?));
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str()?;
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(|v| v.as_str()).collect();
        parts.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

/// The analysis run that the current step waits for.
fn current_run(object: &Object) -> Option<&str> {
    [
        "/status/canary/currentStepAnalysisRunStatus/name",
        "/status/blueGreen/postPromotionAnalysisRunStatus/name",
        "/status/blueGreen/prePromotionAnalysisRunStatus/name",
    ]
    .iter()
    .find_map(|pointer| object.str(pointer).filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_written_as_the_api_reads_them() {
        let of = |spec: serde_json::Value| selector(&Object::new(json!({"spec": {"selector": spec}})));
        assert_eq!(of(json!({"matchLabels": {"app": "a", "tier": "b"}})).as_deref(), Some("app=a,tier=b"));
        let expressions = json!({"matchLabels": {"app": "a"}, "matchExpressions": [
            {"key": "x", "operator": "In", "values": ["1", "2"]}, {"key": "y", "operator": "NotIn", "values": ["3"]},
            {"key": "z", "operator": "Exists"}, {"key": "w", "operator": "DoesNotExist"}]});
        assert_eq!(of(expressions).as_deref(), Some("app=a,x in (1,2),y notin (3),z,!w"));
        assert_eq!(of(json!({"matchExpressions": [{"key": "x", "operator": "Near"}]})), None);
        assert_eq!(of(json!({})), None);
    }
}
