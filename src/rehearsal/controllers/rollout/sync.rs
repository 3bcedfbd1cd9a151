//! Replica sets of a Rollout as objects: creating the one of the present template, revisions and annotations, changes
//! of size, and clearing away old ones.

use serde_json::{Value, json};

use super::super::super::kinds;
use super::super::{fields, hash};
use super::{COMPONENT, Context, DESIRED, Flow, REVISION, REVISION_HISTORY, SCALE_DOWN_AT, Set};

/// Annotations of the Rollout that a replica set does not inherit.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    "notified.notifications.argoproj.io",
];

impl Context<'_, '_> {
    /// Copies the Rollout's annotations onto a set and gives it at least this revision. True when anything changed.
    fn annotate(&self, set: &mut Value, revision: i64) -> bool {
        let mut changed = false;
        let own = self.raw.pointer("/metadata/annotations").and_then(Value::as_object);
        for (key, value) in own.into_iter().flatten() {
            if !NOT_COPIED.contains(&key.as_str()) && fields::annotation(set, key) != value.as_str() {
                fields::set(set, &["metadata", "annotations", key], value.clone());
                changed = true;
            }
        }
        let old = fields::annotation(set, REVISION).map(str::to_owned);
        let old_number = old.as_deref().and_then(|r| r.parse::<i64>().ok()).unwrap_or(0);
        if old_number < revision {
            fields::set(set, &["metadata", "annotations", REVISION], json!(revision.to_string()));
            changed = true;
        }
        if let Some(old) = old
            && changed
        {
            let history = match fields::annotation(set, REVISION_HISTORY) {
                Some(history) if !history.is_empty() => format!("{history},{old}"),
                _ => old,
            };
            fields::set(set, &["metadata", "annotations", REVISION_HISTORY], json!(history));
        }
        changed
    }

    fn next_revision(&self) -> i64 {
        let newest =
            (0..self.sets.len()).filter(|i| Some(*i) != self.new).map(|i| self.sets[i].revision()).max().unwrap_or(0);
        newest + 1
    }

    /// Creates the replica set of the present template, empty; scaling it is another round's business.
    pub(super) fn create_new_set(&mut self) {
        let revision = self.next_revision();
        let template = self.template();
        let pod_hash = hash::of_template(&template, self.status.collision_count);
        let name = format!("{}-{pod_hash}", self.name());
        let mut labelled = template;
        fields::remove(&mut labelled, &["metadata", "creationTimestamp"]);
        fields::set(&mut labelled, &["metadata", "labels", hash::ROLLOUT_HASH], json!(pod_hash));
        let mut selector = self.spec.selector.clone().unwrap_or_else(|| json!({}));
        fields::set(&mut selector, &["matchLabels", hash::ROLLOUT_HASH], json!(pod_hash));
        let mut set = json!({
            "metadata": {
                "name": name,
                "namespace": self.namespace(),
                "labels": labelled.pointer("/metadata/labels"),
                "ownerReferences": [fields::owner_reference(&self.raw)],
            },
            "spec": { "replicas": 0, "selector": selector, "template": labelled },
        });
        if self.spec.min_ready_seconds > 0 {
            set["spec"]["minReadySeconds"] = json!(self.spec.min_ready_seconds);
        }
        self.annotate(&mut set, revision);
        fields::set(&mut set, &["metadata", "annotations", DESIRED], json!(self.spec.size().to_string()));
        if self.desk.create(&kinds::REPLICA_SET, set).is_none() {
            // Another template with the same hash: count the collision, so that the next round finds another name.
            let mut next = self.status.clone();
            next.collision_count = Some(self.status.collision_count.unwrap_or(0) + 1);
            self.write_status(&next);
            return;
        }
        self.set_rollout_revision(revision);
        self.event("NewReplicaSetCreated", &format!("Created ReplicaSet {name} (revision {revision})"));
        self.note_new_set("NewReplicaSetCreated", &format!("Created new replica set \"{name}\""));
    }

    fn set_rollout_revision(&mut self, revision: i64) {
        if fields::annotation(&self.raw, REVISION) == Some(revision.to_string().as_str()) {
            return;
        }
        let updated = self.desk.update(&kinds::ROLLOUT, &self.raw, |o| {
            fields::set(o, &["metadata", "annotations", REVISION], json!(revision.to_string()));
        });
        if let Some(updated) = updated {
            self.raw = updated;
        }
        self.event("RolloutUpdated", &format!("Rollout updated to revision {revision}"));
    }

    /// Keeps the new set's annotations and the Rollout's revision in line.
    pub(super) fn sync_revision(&mut self) -> Flow {
        let Some(index) = self.new else { return Ok(()) };
        let revision = self.next_revision();
        let mut wanted = self.sets[index].raw.clone();
        let mut changed = self.annotate(&mut wanted, revision);
        if fields::count(&wanted, "/spec/minReadySeconds") != self.spec.min_ready_seconds {
            fields::set(&mut wanted, &["spec", "minReadySeconds"], json!(self.spec.min_ready_seconds));
            changed = true;
        }
        if changed {
            let updated = self.desk.update(&kinds::REPLICA_SET, &self.sets[index].raw, |o| *o = wanted);
            if let Some(raw) = updated {
                self.sets[index].raw = raw;
            }
            return Ok(());
        }
        self.set_rollout_revision(self.sets[index].revision());
        if self.status.condition("Progressing").is_none() {
            let message = format!("Found new replica set \"{}\"", self.sets[index].name());
            self.note_new_set("FoundNewReplicaSet", &message);
        }
        Ok(())
    }

    /// True when `spec.replicas` differs from what new or stable were last scaled for.
    pub(super) fn is_scaling_event(&self) -> bool {
        [self.new_set(), self.stable_set()]
            .into_iter()
            .flatten()
            .filter(|s| s.size() > 0)
            .any(|s| s.desired().is_some_and(|d| d != self.spec.size()))
    }

    /// Carries a change of size through, and nothing else.
    pub(super) fn sync_replicas_only(&mut self) {
        let mut next = self.status.clone();
        if self.spec.strategy.blue_green.is_some() {
            let Some((_, _active)) = self.blue_green_services() else { return };
            self.reconcile_blue_green_sets();
            let active = next.blue_green.active_selector.clone();
            (next.hpa_replicas, next.available_replicas) = match self.by_hash(&active) {
                Some(set) => (set.actual(), set.available()),
                None => (self.actual_total(), self.available_total()),
            };
        } else {
            self.reconcile_canary_sets();
            next.available_replicas = self.available_total();
            next.hpa_replicas = self.actual_total();
        }
        self.next = next;
        self.persist();
    }

    /// Writes a set's size, with the annotation of what the Rollout wants. True when the size changed.
    pub(super) fn scale(&mut self, index: usize, size: i64) -> bool {
        let set = &self.sets[index];
        let (before, revision, name) = (set.size(), set.revision(), set.name().to_owned());
        let desired = self.spec.size();
        let annotation_old = self.annotation_is_old(index);
        if before == size && !annotation_old {
            return false;
        }
        let forget_deadline = size == 0 && !self.delays_scale_down_on_abort();
        let updated = self.desk.update(&kinds::REPLICA_SET, &self.sets[index].raw, |o| {
            o["spec"]["replicas"] = json!(size);
            fields::set(o, &["metadata", "annotations", DESIRED], json!(desired.to_string()));
            if forget_deadline {
                fields::remove(o, &["metadata", "annotations", SCALE_DOWN_AT]);
            }
        });
        let Some(raw) = updated else { return false };
        self.sets[index].raw = raw;
        if before == size {
            return false;
        }
        let way = if before < size { "up" } else { "down" };
        let message = format!("Scaled {way} ReplicaSet {name} (revision {revision}) from {before} to {size}");
        self.desk.event(COMPONENT, &self.raw, "ScalingReplicaSet", &message);
        true
    }

    /// True when a set's annotation of the wanted size is out of date.
    pub(super) fn annotation_is_old(&self, index: usize) -> bool {
        let set = &self.sets[index];
        set.desired() != Some(self.spec.size()) || (self.spec.size() == 0 && set.waits_for_scale_down())
    }

    /// Deletes old, empty sets beyond the history limit, and their analysis runs.
    pub(super) fn limit_history(&mut self) {
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let old = self.others();
        let surplus = old.len().saturating_sub(limit);
        let doomed: Vec<Value> = old
            .into_iter()
            .take(surplus)
            .map(|i| &self.sets[i])
            .filter(|s| s.size() == 0 && s.actual() == 0)
            .map(|s: &Set| s.raw.clone())
            .collect();
        for raw in doomed {
            self.desk.delete(&kinds::REPLICA_SET, &raw);
            let pod_hash = fields::label(&raw, hash::ROLLOUT_HASH).unwrap_or_default().to_owned();
            for run in self.runs.take_others_of(&pod_hash) {
                self.desk.delete(&kinds::ANALYSIS_RUN, &run);
            }
            self.sets.retain(|s| s.raw != raw);
            self.find_sets();
        }
    }
}
