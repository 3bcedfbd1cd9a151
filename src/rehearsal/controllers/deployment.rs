//! The Deployment controller: rolling update and recreate, revisions, pause, conditions and counts, as
//! kube-controller-manager has them.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::kinds;
use super::agenda::Task;
use super::desk::Desk;
use super::{fields, hash};

const COMPONENT: &str = "deployment-controller";
const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of the Deployment that its replica sets do not inherit.
const NOT_COPIED: &[&str] = &["kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAX];

struct Context<'d, 's> {
    desk: &'d mut Desk<'s>,
    raw: Value,
    sets: Vec<Value>,
    new: Option<usize>,
    size: i64,
    surge: i64,
    unavailable: i64,
}

fn size(set: &Value) -> i64 {
    fields::int(set, "/spec/replicas").unwrap_or(1)
}

fn available(set: &Value) -> i64 {
    fields::count(set, "/status/availableReplicas")
}

fn revision(object: &Value) -> i64 {
    fields::annotation(object, REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
}

/// Reconciles one Deployment.
pub fn reconcile(desk: &mut Desk<'_>, namespace: &str, name: &str) {
    let Some(raw) = desk.get(&kinds::DEPLOYMENT, namespace, name) else { return };
    if raw.pointer("/metadata/deletionTimestamp").is_some() {
        return;
    }
    let size = fields::int(&raw, "/spec/replicas").unwrap_or(1);
    let quarter = json!("25%");
    let bound = |field: &str, up: bool| {
        let value = raw.pointer(&format!("/spec/strategy/rollingUpdate/{field}")).unwrap_or(&quarter);
        fields::int_or_percent(value, size, up).unwrap_or(0)
    };
    let recreate = fields::text(&raw, "/spec/strategy/type") == "Recreate";
    let (mut surge, mut unavailable) = (bound("maxSurge", true), bound("maxUnavailable", false).min(size));
    if recreate {
        (surge, unavailable) = (0, 0);
    } else if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    let mut sets = desk.owned(&kinds::REPLICA_SET, fields::uid(&raw));
    sets.sort_by(|a, b| (fields::created(a), fields::name(a)).cmp(&(fields::created(b), fields::name(b))));
    let wanted = hash::bare_template(raw.pointer("/spec/template").unwrap_or(&Value::Null));
    let new =
        sets.iter().position(|s| hash::bare_template(s.pointer("/spec/template").unwrap_or(&Value::Null)) == wanted);
    let mut context = Context { desk, raw, sets, new, size, surge, unavailable };
    if fields::flag(&context.raw, "/spec/paused") {
        context.scale_in_proportion();
        context.write_status();
        return;
    }
    context.sync_new();
    if recreate {
        context.recreate();
    } else {
        context.roll();
    }
    context.limit_history();
    context.write_status();
}

impl Context<'_, '_> {
    fn others(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|i| Some(*i) != self.new).collect()
    }

    fn sync_new(&mut self) {
        let newest = self.others().into_iter().map(|i| revision(&self.sets[i])).max().unwrap_or(0);
        let wanted = newest + 1;
        let own: Vec<(String, Value)> = self
            .raw
            .pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(k, _)| !NOT_COPIED.contains(&k.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let (desired, most) = (self.size.to_string(), (self.size + self.surge).to_string());
        let annotate = |o: &mut Value, revision: i64| {
            for (key, value) in &own {
                fields::set(o, &["metadata", "annotations", key], value.clone());
            }
            fields::set(o, &["metadata", "annotations", REVISION], json!(revision.to_string()));
            fields::set(o, &["metadata", "annotations", DESIRED], json!(desired));
            fields::set(o, &["metadata", "annotations", MAX], json!(most));
        };
        if let Some(index) = self.new {
            let revision = revision(&self.sets[index]).max(wanted);
            if let Some(raw) = self.desk.update(&kinds::REPLICA_SET, &self.sets[index], |o| annotate(o, revision)) {
                self.sets[index] = raw;
            }
            self.set_revision(revision);
            return;
        }
        let template = self.raw.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
        let pod_hash = hash::of_template(&template, fields::int(&self.raw, "/status/collisionCount"));
        let mut labelled = template;
        fields::set(&mut labelled, &["metadata", "labels", hash::DEPLOYMENT_HASH], json!(pod_hash));
        let mut selector = self.raw.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
        fields::set(&mut selector, &["matchLabels", hash::DEPLOYMENT_HASH], json!(pod_hash));
        let mut set = json!({
            "metadata": {
                "name": format!("{}-{pod_hash}", fields::name(&self.raw)),
                "namespace": fields::namespace(&self.raw),
                "labels": labelled.pointer("/metadata/labels"),
                "ownerReferences": [fields::owner_reference(&self.raw)],
            },
            "spec": { "replicas": 0, "selector": selector, "template": labelled },
        });
        if let Some(least) = fields::int(&self.raw, "/spec/minReadySeconds") {
            set["spec"]["minReadySeconds"] = json!(least);
        }
        annotate(&mut set, wanted);
        if let Some(raw) = self.desk.create(&kinds::REPLICA_SET, set) {
            self.sets.push(raw);
            self.new = Some(self.sets.len() - 1);
            self.set_revision(wanted);
        }
    }

    fn set_revision(&mut self, revision: i64) {
        let updated = self.desk.update(&kinds::DEPLOYMENT, &self.raw, |o| {
            fields::set(o, &["metadata", "annotations", REVISION], json!(revision.to_string()));
        });
        if let Some(raw) = updated {
            self.raw = raw;
        }
    }

    fn scale(&mut self, index: usize, to: i64) {
        let (from, name) = (size(&self.sets[index]), fields::name(&self.sets[index]).to_owned());
        if from == to {
            return;
        }
        if let Some(raw) =
            self.desk.update(&kinds::REPLICA_SET, &self.sets[index], |o| o["spec"]["replicas"] = json!(to))
        {
            self.sets[index] = raw;
        }
        let way = if from < to { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {name} from {from} to {to}");
        self.desk.event(COMPONENT, &self.raw, "ScalingReplicaSet", &message);
    }

    fn total(&self) -> i64 {
        self.sets.iter().map(size).sum()
    }

    fn roll(&mut self) {
        let Some(new) = self.new else { return };
        let now = size(&self.sets[new]);
        if now > self.size {
            self.scale(new, self.size);
        } else if now < self.size {
            let room = self.size + self.surge - self.total();
            if room > 0 {
                self.scale(new, now + room.min(self.size - now));
                return;
            }
        }
        let least = self.size - self.unavailable;
        let new_missing = size(&self.sets[new]) - available(&self.sets[new]);
        let mut spare = self.total() - least - new_missing;
        for index in self.others() {
            if spare <= 0 {
                return;
            }
            let unhealthy = (size(&self.sets[index]) - available(&self.sets[index])).max(0).min(spare);
            if unhealthy > 0 {
                self.scale(index, size(&self.sets[index]) - unhealthy);
                spare -= unhealthy;
            }
        }
        let mut spare = self.sets.iter().map(available).sum::<i64>() - least;
        for index in self.others() {
            if spare <= 0 {
                return;
            }
            let down = size(&self.sets[index]).min(spare);
            if down > 0 {
                self.scale(index, size(&self.sets[index]) - down);
                spare -= down;
            }
        }
    }

    fn recreate(&mut self) {
        let others = self.others();
        for index in others.clone() {
            self.scale(index, 0);
        }
        if others.into_iter().all(|i| fields::count(&self.sets[i], "/status/replicas") == 0)
            && let Some(new) = self.new
        {
            self.scale(new, self.size);
        }
    }

    /// While paused only a change of size is carried out, on the largest set.
    fn scale_in_proportion(&mut self) {
        let changed = self
            .sets
            .iter()
            .any(|s| size(s) > 0 && fields::annotation(s, DESIRED).is_some_and(|d| d != self.size.to_string()));
        if !changed {
            return;
        }
        let Some(index) = (0..self.sets.len()).max_by_key(|i| size(&self.sets[*i])) else { return };
        let rest = self.total() - size(&self.sets[index]);
        self.scale(index, (self.size - rest).max(0));
        let desired = self.size.to_string();
        for index in 0..self.sets.len() {
            let updated = self.desk.update(&kinds::REPLICA_SET, &self.sets[index], |o| {
                fields::set(o, &["metadata", "annotations", DESIRED], json!(desired));
            });
            if let Some(raw) = updated {
                self.sets[index] = raw;
            }
        }
    }

    fn limit_history(&mut self) {
        let limit = usize::try_from(fields::int(&self.raw, "/spec/revisionHistoryLimit").unwrap_or(10)).unwrap_or(0);
        let old: Vec<usize> = self
            .others()
            .into_iter()
            .filter(|i| size(&self.sets[*i]) == 0 && fields::count(&self.sets[*i], "/status/replicas") == 0)
            .collect();
        for index in old.iter().take(old.len().saturating_sub(limit)) {
            let raw = self.sets[*index].clone();
            self.desk.delete(&kinds::REPLICA_SET, &raw);
        }
    }

    fn write_status(&mut self) {
        let sum = |pointer: &str, sets: &[&Value]| sets.iter().map(|s| fields::count(s, pointer)).sum::<i64>();
        let all: Vec<&Value> = self.sets.iter().collect();
        let new: Vec<&Value> = self.new.iter().filter_map(|i| self.sets.get(*i)).collect();
        let (replicas, updated) = (sum("/status/replicas", &all), sum("/status/replicas", &new));
        let (ready, serving) = (sum("/status/readyReplicas", &all), sum("/status/availableReplicas", &all));
        let observed = fields::count(&self.raw, "/status/observedGeneration");
        let generation = fields::generation(&self.raw);
        let complete = updated == self.size && replicas == self.size && serving == self.size && observed >= generation;
        let before = |pointer: &str| fields::count(&self.raw, pointer);
        let moved = updated > before("/status/updatedReplicas")
            || replicas - updated < before("/status/replicas") - before("/status/updatedReplicas")
            || ready > before("/status/readyReplicas")
            || serving > before("/status/availableReplicas");
        let now = self.desk.stamp_now();
        let stamp = fields::stamp(now);
        let name = new.first().map(|s| fields::name(s).to_owned()).unwrap_or_default();
        let mut conditions: Vec<Value> = fields::items(&self.raw, "/status/conditions").to_vec();
        let mut put = |kind: &str, status: &str, reason: &str, message: String, touch: bool| {
            let old = conditions.iter().find(|c| fields::text(c, "/type") == kind).cloned();
            let same = old.as_ref().is_some_and(|o| fields::text(o, "/status") == status);
            if let Some(old) = &old
                && same
                && fields::text(old, "/reason") == reason
                && !touch
            {
                return;
            }
            let since = old
                .as_ref()
                .filter(|_| same)
                .map_or(stamp.clone(), |o| fields::text(o, "/lastTransitionTime").to_owned());
            conditions.retain(|c| fields::text(c, "/type") != kind);
            conditions.push(json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastUpdateTime": stamp, "lastTransitionTime": since,
            }));
        };
        if serving >= self.size - self.unavailable {
            let message = "Deployment has minimum availability.".to_owned();
            put("Available", "True", "MinimumReplicasAvailable", message, false);
        } else {
            let message = "Deployment does not have minimum availability.".to_owned();
            put("Available", "False", "MinimumReplicasUnavailable", message, false);
        }
        let deadline = fields::int(&self.raw, "/spec/progressDeadlineSeconds").unwrap_or(600);
        let progressing =
            fields::items(&self.raw, "/status/conditions").iter().find(|c| fields::text(c, "/type") == "Progressing");
        let since = progressing.and_then(|c| fields::time(c, "/lastUpdateTime")).unwrap_or(now);
        let reason = progressing.map(|c| fields::text(c, "/reason").to_owned()).unwrap_or_default();
        let end = since.saturating_add(SignedDuration::from_secs(deadline)).unwrap_or(since);
        let mut watch = None;
        if fields::flag(&self.raw, "/spec/paused") {
            if reason != "DeploymentPaused" {
                put("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), false);
            }
        } else if reason == "DeploymentPaused" {
            put("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), false);
        } else if complete {
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            put("Progressing", "True", "NewReplicaSetAvailable", message, false);
        } else if moved || progressing.is_none() || reason == "NewReplicaSetAvailable" {
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            put("Progressing", "True", "ReplicaSetUpdated", message, true);
            watch = now.saturating_add(SignedDuration::from_secs(deadline)).ok();
        } else if reason != "ProgressDeadlineExceeded" && self.desk.now() > end {
            let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
            put("Progressing", "False", "ProgressDeadlineExceeded", message, false);
        } else if reason != "ProgressDeadlineExceeded" {
            watch = Some(end);
        }
        let mut status = json!({
            "observedGeneration": generation,
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": serving,
            "unavailableReplicas": (self.size.max(replicas) - serving).max(0),
            "conditions": conditions,
        });
        if let Some(map) = status.as_object_mut() {
            map.retain(|_, v| v.as_i64() != Some(0));
        }
        if self.raw.get("status") != Some(&status) {
            self.desk.set_status(&kinds::DEPLOYMENT, &self.raw, status);
        }
        if let Some(at) = watch {
            let task = Task::Deployment(fields::namespace(&self.raw).to_owned(), fields::name(&self.raw).to_owned());
            self.desk.once_past(at, task);
        }
    }
}
