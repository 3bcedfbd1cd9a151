//! What was seen of the cluster, and what it means: raw objects by kind, and for each workload what it is doing. One
//! event touches only the workloads it belongs to. Reads no cluster, keeps no time of its own, draws nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::pods::{Pod, pod};
use super::scope::Scope;
use crate::core::object::{Object, ObjectKind, ObjectRef, Packed};
use crate::core::snapshot::{EventView, Weight};
use crate::core::text::Text;
use crate::core::workload::{Phase, Related, Strategy, UndoPath, Workload, observe};
use crate::ports::{Fault, Interest, Seen};
use crate::text;

/// A workload by kind and name.
pub type Key = (ObjectKind, Text);

/// How many events are kept.
const EVENTS_MAX: usize = 200;
/// How many revisions it is remembered of how long their pods took to start.
const STARTS_MAX: usize = 2000;
/// How many stable hashes of one workload are remembered.
const STABLE_MAX: usize = 10;
pub use crate::core::record::OF as RECORD_OF;

/// How reading of one kind goes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reading {
    /// The complete list came at least once.
    pub listed: bool,
    /// Why it is not read at the moment.
    pub lost: Option<Fault>,
}

/// An object as it is kept: packed where thousands lie, open where it is looked at again and again.
enum Kept {
    Packed(Packed),
    Open(Arc<Object>),
}

impl Kept {
    fn new(kind: ObjectKind, packed: Packed) -> Self {
        let many = WORKLOADS.contains(&kind) || kind == ObjectKind::ReplicaSet;
        if many { Self::Packed(packed) } else { Self::Open(Arc::new(packed.open())) }
    }

    fn open(&self) -> Arc<Object> {
        match self {
            Self::Packed(packed) => Arc::new(packed.open()),
            Self::Open(object) => Arc::clone(object),
        }
    }

    fn version(&self) -> &str {
        match self {
            Self::Packed(packed) => packed.version(),
            Self::Open(object) => object.version(),
        }
    }

    fn uid(&self) -> &str {
        match self {
            Self::Packed(packed) => packed.uid(),
            Self::Open(object) => object.uid(),
        }
    }

    /// The uid of the workload that it belongs to.
    fn owner(&self, kind: ObjectKind) -> Option<&str> {
        let owner = match (kind, self) {
            (ObjectKind::ConfigMap, Self::Open(object)) => object.label(RECORD_OF),
            (ObjectKind::ReplicaSet | ObjectKind::AnalysisRun, Self::Open(object)) => Some(object.controller()),
            (ObjectKind::ReplicaSet | ObjectKind::AnalysisRun, Self::Packed(packed)) => Some(packed.controller()),
            _ => None,
        };
        owner.filter(|uid| !uid.is_empty())
    }
}

/// What was seen of one namespace of one cluster.
pub struct World {
    scope: Arc<Scope>,
    objects: BTreeMap<ObjectKind, BTreeMap<Text, Kept>>,
    /// Workloads that move or are in trouble, opened: they are looked at all the time.
    opened: BTreeMap<Key, Arc<Object>>,
    /// Replica sets, analysis runs and records by the uid of the workload they belong to.
    owned: BTreeMap<String, BTreeSet<Key>>,
    /// Workloads by uid.
    by_uid: BTreeMap<String, Key>,
    /// Rollouts and Canaries by the Deployment they refer to, and the other way round.
    referring: BTreeMap<Text, BTreeSet<Key>>,
    refers: BTreeMap<Key, Text>,
    workloads: BTreeMap<Key, Arc<Workload>>,
    was_stable: BTreeMap<Key, Vec<Text>>,
    dirty: BTreeSet<Key>,
    readings: BTreeMap<ObjectKind, Reading>,
    pods: BTreeMap<Text, Pod>,
    /// The longest that a pod of a revision took to be ready, by pod hash; kept when its pods are no longer looked at.
    starts: BTreeMap<Text, u32>,
    events: VecDeque<(Text, EventView)>,
    /// Rise with each change of their part, so that a snapshot copies only what is new.
    pub turns: Turns,
}

/// Counters of change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Turns {
    /// Of workloads.
    pub workloads: u64,
    /// Of pods.
    pub pods: u64,
    /// Of events.
    pub events: u64,
    /// Of analysis runs.
    pub runs: u64,
    /// Of flag objects.
    pub flags: u64,
    /// Of how reading goes.
    pub readings: u64,
}

const WORKLOADS: [ObjectKind; 3] = [ObjectKind::Rollout, ObjectKind::Canary, ObjectKind::Deployment];

impl World {
    /// Nothing seen yet.
    pub fn new(scope: Arc<Scope>) -> Self {
        Self {
            scope,
            objects: BTreeMap::new(),
            opened: BTreeMap::new(),
            owned: BTreeMap::new(),
            by_uid: BTreeMap::new(),
            referring: BTreeMap::new(),
            refers: BTreeMap::new(),
            workloads: BTreeMap::new(),
            was_stable: BTreeMap::new(),
            dirty: BTreeSet::new(),
            readings: BTreeMap::new(),
            pods: BTreeMap::new(),
            starts: BTreeMap::new(),
            events: VecDeque::new(),
            turns: Turns::default(),
        }
    }

    /// What it is of.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// Takes in what a watch tells.
    pub fn fold(&mut self, seen: Seen) {
        match seen {
            Seen::All(interest, objects) => {
                if interest.kind == ObjectKind::ReplicaSet && !self.how(interest.kind).listed {
                    // What was said of them without knowing any is said anew, even where none belongs to them.
                    self.dirty.extend(self.workloads.keys().cloned());
                }
                self.reading(interest.kind, |r| *r = Reading { listed: true, lost: None });
                match interest.kind {
                    ObjectKind::Pod => self.all_pods(&interest, &objects),
                    ObjectKind::Event => objects.iter().for_each(|o| self.event(&o.open())),
                    kind => self.all(kind, objects),
                }
            }
            Seen::Put(interest, object) => match interest.kind {
                ObjectKind::Pod => {
                    self.put_pod(&object);
                    self.turns.pods += 1;
                }
                ObjectKind::Event => self.event(&object.open()),
                kind => self.put(kind, object),
            },
            Seen::Gone(interest, id) => match interest.kind {
                ObjectKind::Pod => {
                    self.pods.remove(&id.name);
                    self.turns.pods += 1;
                }
                // An event that expires is still something that happened.
                ObjectKind::Event => {}
                kind => self.gone(kind, &id.name),
            },
            Seen::Lost(interest, fault) => self.reading(interest.kind, |r| r.lost = Some(fault)),
            Seen::Back(interest) => self.reading(interest.kind, |r| r.lost = None),
        }
    }

    /// Looks again at the workloads that were touched since the last call. True when one of them changed.
    pub fn refresh(&mut self, now: Timestamp) -> bool {
        let mut changed = false;
        for key in std::mem::take(&mut self.dirty) {
            changed |= match self.look(&key, now) {
                Some((object, workload)) => {
                    match workload.phase {
                        Phase::Healthy => self.opened.remove(&key),
                        _ => self.opened.insert(key.clone(), object),
                    };
                    self.remember_stable(&key, &workload.stable_hash);
                    let same = self.workloads.get(&key).is_some_and(|old| **old == workload);
                    if !same {
                        self.workloads.insert(key, Arc::new(workload));
                    }
                    !same
                }
                None => {
                    self.opened.remove(&key);
                    self.workloads.remove(&key).is_some()
                }
            };
        }
        if changed {
            self.turns.workloads += 1;
        }
        changed
    }

    /// Marks what changes with time alone: replica sets that are kept for a while and then scaled down.
    pub fn passing_time(&mut self) {
        let timed = self.workloads.iter().filter(|(_, w)| w.sets.iter().any(|s| s.scale_down_at.is_some()));
        self.dirty.extend(timed.map(|(key, _)| key.clone()));
    }

    /// A workload by kind and name.
    pub fn workload(&self, kind: ObjectKind, name: &str) -> Option<&Arc<Workload>> {
        self.workloads.get(&(kind, Text::scrub(name)))
    }

    /// The workload of a service: of the kind that service.yaml names, else whatever is found under the name.
    pub fn of_service(&self, kind: Option<ObjectKind>, name: &str) -> Option<&Arc<Workload>> {
        match kind {
            Some(kind) => self.workload(kind, name),
            None => WORKLOADS.iter().find_map(|kind| self.workload(*kind, name)),
        }
    }

    /// The workloads to show where there is no manifest: Rollouts, Canaries, and Deployments that neither of them stands
    /// for.
    pub fn found(&self) -> impl Iterator<Item = &Arc<Workload>> {
        let covered = |key: &Key| {
            key.0 == ObjectKind::Deployment
                && (self.referring.contains_key(&key.1)
                    || key.1.strip_suffix("-primary").is_some_and(|target| {
                        self.referring
                            .get(target)
                            .is_some_and(|by| by.iter().any(|(kind, _)| *kind == ObjectKind::Canary))
                    }))
        };
        self.workloads.iter().filter(move |(key, _)| !covered(key)).map(|(_, workload)| workload)
    }

    /// An object as last seen, trimmed.
    pub fn object(&self, kind: ObjectKind, name: &str) -> Option<Arc<Object>> {
        let kept = self.objects.get(&kind)?.get(name)?;
        let open = self.opened.get(&(kind, Text::scrub(name))).filter(|open| open.version() == kept.version());
        Some(open.map_or_else(|| kept.open(), Arc::clone))
    }

    /// An analysis template as last seen.
    pub fn template(&self, name: &str) -> Option<&Object> {
        match self.objects.get(&ObjectKind::AnalysisTemplate)?.get(name)? {
            Kept::Open(object) => Some(object),
            Kept::Packed(_) => None,
        }
    }

    /// The version of an object as last seen.
    pub fn version(&self, kind: ObjectKind, name: &str) -> Option<&str> {
        Some(self.objects.get(&kind)?.get(name)?.version())
    }

    /// All objects of a kind, by name.
    pub fn all_of(&self, kind: ObjectKind) -> impl Iterator<Item = (&Text, Arc<Object>)> {
        self.objects.get(&kind).into_iter().flatten().map(|(name, kept)| (name, kept.open()))
    }

    /// The Deployment that a Rollout or a Canary stands for, and the one that Flagger keeps beside it: an order on one may
    /// change the others.
    pub fn also(&self, id: &ObjectRef) -> Vec<ObjectRef> {
        let Some(target) = self.refers.get(&(id.kind, id.name.clone())) else { return Vec::new() };
        let primary = (id.kind == ObjectKind::Canary).then(|| text!("{target}-primary"));
        let names = std::iter::once(target.clone()).chain(primary);
        names.map(|name| ObjectRef { kind: ObjectKind::Deployment, name, ..id.clone() }).collect()
    }

    /// What belongs to a workload: objects of a kind that its uid owns.
    pub fn owned(&self, uid: &str, kind: ObjectKind) -> Vec<Arc<Object>> {
        let keys = self.owned.get(uid).into_iter().flatten().filter(|(k, _)| *k == kind);
        keys.filter_map(|(kind, name)| self.object(*kind, name)).collect()
    }

    /// Hashes that were seen as stable, oldest first.
    pub fn was_stable(&self, key: &Key) -> &[Text] {
        self.was_stable.get(key).map_or(&[], Vec::as_slice)
    }

    /// How reading of a kind goes.
    pub fn how(&self, kind: ObjectKind) -> Reading {
        self.readings.get(&kind).cloned().unwrap_or_default()
    }

    /// Why a kind is not read at the moment.
    pub fn lost(&self, kind: ObjectKind) -> Option<&Fault> {
        self.readings.get(&kind)?.lost.as_ref()
    }

    /// True when the lists that a first look needs are there, or will not come.
    pub fn is_ready(&self) -> bool {
        self.has_workloads() && self.answered(&[ObjectKind::ReplicaSet, ObjectKind::AnalysisRun])
    }

    /// True when the lists of workloads are there, or will not come.
    pub fn has_workloads(&self) -> bool {
        self.answered(&WORKLOADS)
    }

    fn answered(&self, kinds: &[ObjectKind]) -> bool {
        kinds.iter().all(|kind| self.readings.get(kind).is_some_and(|r| r.listed || r.lost.is_some()))
    }

    /// Pods that are watched, by name.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The longest that a pod of this workload was seen to take to be ready, in seconds; of any of its revisions. None when
    /// none was seen.
    pub fn pod_start(&self, workload: &Workload) -> Option<u32> {
        workload.sets.iter().filter_map(|set| self.starts.get(&set.hash)).max().copied()
    }

    /// Latest events, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &EventView> {
        self.events.iter().map(|(_, event)| event)
    }

    /// Adds an event of our own.
    pub fn note(&mut self, event: EventView) {
        self.insert_event(Text::default(), event);
    }

    /// Forgets the pods that no watch covers any more.
    pub fn keep_pods(&mut self, keep: impl Fn(&Pod) -> bool) {
        let before = self.pods.len();
        self.pods.retain(|_, pod| keep(pod));
        if self.pods.len() != before {
            self.turns.pods += 1;
        }
    }

    fn reading(&mut self, kind: ObjectKind, change: impl FnOnce(&mut Reading)) {
        let reading = self.readings.entry(kind).or_default();
        let before = reading.clone();
        change(reading);
        if *reading != before {
            self.turns.readings += 1;
        }
    }

    fn all(&mut self, kind: ObjectKind, objects: Vec<Packed>) {
        let mut old = self.objects.remove(&kind).unwrap_or_default();
        for object in objects {
            let name = object.name().clone();
            // What did not change since the last list is left alone: a re-list of a thousand touches what it must.
            if let Some(same) = old.remove(&name).filter(|o| !o.version().is_empty() && o.version() == object.version())
            {
                self.objects.entry(kind).or_default().insert(name, same);
            } else {
                self.put_as(kind, name, object);
            }
        }
        for (name, kept) in old {
            self.unlink(kind, &name, &kept);
        }
        self.touched(kind);
    }

    fn put(&mut self, kind: ObjectKind, object: Packed) {
        let name = object.name().clone();
        self.put_as(kind, name, object);
        self.touched(kind);
    }

    fn put_as(&mut self, kind: ObjectKind, name: Text, object: Packed) {
        let old = self.objects.get_mut(&kind).and_then(|all| all.remove(&name));
        if let Some(old) = old {
            self.unlink(kind, &name, &old);
        }
        let kept = Kept::new(kind, object);
        self.link(kind, &name, &kept);
        self.objects.entry(kind).or_default().insert(name, kept);
    }

    fn gone(&mut self, kind: ObjectKind, name: &Text) {
        if let Some(old) = self.objects.get_mut(&kind).and_then(|all| all.remove(name)) {
            self.unlink(kind, name, &old);
        }
        self.touched(kind);
    }

    fn touched(&mut self, kind: ObjectKind) {
        match kind {
            ObjectKind::AnalysisRun => self.turns.runs += 1,
            ObjectKind::FeatureFlag | ObjectKind::ConfigMap => self.turns.flags += 1,
            _ => {}
        }
    }

    fn link(&mut self, kind: ObjectKind, name: &Text, kept: &Kept) {
        if WORKLOADS.contains(&kind) {
            let key = (kind, name.clone());
            self.by_uid.insert(kept.uid().to_owned(), key.clone());
            if let Some(target) = refers_to(kind, kept) {
                self.referring.entry(target.clone()).or_default().insert(key.clone());
                self.refers.insert(key.clone(), target.clone());
                self.dirty.insert((ObjectKind::Deployment, target));
            }
            self.dirty.insert(key);
            self.mark_referring(kind, name);
        } else if let Some(owner) = kept.owner(kind) {
            self.mark_owner(owner);
            self.owned.entry(owner.to_owned()).or_default().insert((kind, name.clone()));
        }
    }

    /// Takes the links of an object away that is gone or about to be replaced.
    fn unlink(&mut self, kind: ObjectKind, name: &Text, kept: &Kept) {
        let key = (kind, name.clone());
        if WORKLOADS.contains(&kind) {
            if self.by_uid.get(kept.uid()) == Some(&key) {
                self.by_uid.remove(kept.uid());
            }
            if let Some(target) = self.refers.remove(&key) {
                if let Some(by) = self.referring.get_mut(&target) {
                    by.remove(&key);
                    if by.is_empty() {
                        self.referring.remove(&target);
                    }
                }
                self.dirty.insert((ObjectKind::Deployment, target));
            }
            self.dirty.insert(key);
            self.mark_referring(kind, name);
        } else if let Some(owner) = kept.owner(kind) {
            self.mark_owner(owner);
            if let Some(all) = self.owned.get_mut(owner) {
                all.remove(&key);
                if all.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
    }

    fn mark_owner(&mut self, uid: &str) {
        if let Some((kind, name)) = self.by_uid.get(uid).cloned() {
            self.mark_referring(kind, &name);
            self.dirty.insert((kind, name));
        }
    }

    /// Rollouts and Canaries that stand for a Deployment change with it; a Canary also with its primary.
    fn mark_referring(&mut self, kind: ObjectKind, name: &Text) {
        if kind != ObjectKind::Deployment {
            return;
        }
        for target in [Some(name.as_str()), name.strip_suffix("-primary")].into_iter().flatten() {
            if let Some(by) = self.referring.get(target) {
                self.dirty.extend(by.iter().cloned());
            }
        }
    }

    fn look(&self, key: &Key, now: Timestamp) -> Option<(Arc<Object>, Workload)> {
        let (kind, name) = key;
        let object = self.object(*kind, name)?;
        let deployment = |name: &str| self.object(ObjectKind::Deployment, name);
        let target_name = self.refers.get(key);
        let target = target_name.and_then(|name| deployment(name));
        let primary = (*kind == ObjectKind::Canary)
            .then(|| target_name.and_then(|name| deployment(&format!("{name}-primary"))))
            .flatten();
        let of = |wanted: ObjectKind| -> Vec<Arc<Object>> {
            let uids = [Some(object.uid()), target.as_ref().map(|t| t.uid())].into_iter().flatten();
            uids.flat_map(|uid| self.owned(uid, wanted)).collect()
        };
        let (sets, runs, records) =
            (of(ObjectKind::ReplicaSet), of(ObjectKind::AnalysisRun), of(ObjectKind::ConfigMap));
        let [sets, runs, records] = [&sets, &runs, &records].map(|all| all.iter().map(Arc::as_ref).collect::<Vec<_>>());
        let related = Related {
            sets: &sets,
            runs: &runs,
            target: target.as_deref(),
            primary: primary.as_deref(),
            records: &records,
            was_stable: self.was_stable(key),
        };
        let id = ObjectRef {
            cluster: self.scope.place.context.clone(),
            kind: *kind,
            namespace: object.namespace(),
            name: name.clone(),
        };
        let container = self.scope.stop_of(*kind, name).and_then(|stop| stop.container.as_deref());
        let mut workload = observe(&id, &object, &related, container, now);
        let sets_read = self.how(ObjectKind::ReplicaSet);
        if !sets_read.listed {
            // Without replica sets an observer can only say that they are gone; that would be a lie.
            let why = if sets_read.lost.is_some() { "cannot be read" } else { "are not read yet" };
            workload.undo = UndoPath::NotReady(text!("the replica sets {why}"));
            workload.undo_to = None;
            if workload.strategy == Strategy::CanaryBasic {
                // Its weight is a share of pods.
                workload.actual_weight = None;
            }
        }
        Some((object, workload))
    }

    fn remember_stable(&mut self, key: &Key, hash: &Text) {
        if hash.is_empty() {
            return;
        }
        let seen = self.was_stable.entry(key.clone()).or_default();
        if seen.last() != Some(hash) {
            seen.retain(|h| h != hash);
            seen.push(hash.clone());
            if seen.len() > STABLE_MAX {
                seen.remove(0);
            }
        }
    }

    fn all_pods(&mut self, interest: &Interest, objects: &[Packed]) {
        // Several watches bring pods; a list replaces only what its own selector covers.
        let covers = Selector::of(&interest.labels);
        self.pods.retain(|_, pod| !covers.takes(pod));
        objects.iter().for_each(|object| self.put_pod(object));
        self.turns.pods += 1;
    }

    fn put_pod(&mut self, object: &Packed) {
        let pod = pod(&object.open());
        if let Some(start) = pod.start_s {
            if self.starts.len() >= STARTS_MAX {
                self.starts.clear();
            }
            let longest = self.starts.entry(pod.hash.clone()).or_default();
            *longest = start.max(*longest);
        }
        self.pods.insert(pod.view.name.clone(), pod);
    }

    fn event(&mut self, object: &Object) {
        let at = ["/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"];
        let Some(at) = at.iter().find_map(|pointer| object.time(pointer)) else { return };
        let reason = object.text("/reason").unwrap_or_default();
        let message = object.text("/message").unwrap_or_default();
        let weight = match (object.str("/type"), reason.as_str()) {
            (_, "RolloutAborted" | "AnalysisRunFailed" | "AnalysisRunError" | "InvalidSpec") => Weight::Alarm,
            (Some("Warning"), _) => Weight::Warn,
            _ => Weight::Note,
        };
        // Told by the weight that follows from it.
        if reason == "PatchingCanaryIngress" {
            return;
        }
        // Where all is well the message says it in words; where not, the reason is what people search for.
        let text = match (message.is_empty(), weight) {
            (true, _) => reason,
            (false, Weight::Note) => message,
            (false, _) => text!("{reason}: {message}"),
        };
        let subject = object.text("/involvedObject/name").unwrap_or_default();
        self.insert_event(Text::scrub(object.uid()), EventView { at, subject, text, weight });
    }

    /// Keeps the list in order of time; an event that is told again (its count rose) moves.
    fn insert_event(&mut self, uid: Text, event: EventView) {
        if !uid.is_empty()
            && let Some(at) = self.events.iter().position(|(u, _)| *u == uid)
        {
            if self.events[at].1 == event {
                return;
            }
            self.events.remove(at);
        }
        let place = self.events.iter().rposition(|(_, e)| e.at <= event.at).map_or(0, |at| at + 1);
        if place == 0 && self.events.len() >= EVENTS_MAX {
            return;
        }
        self.events.insert(place, (uid, event));
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
        self.turns.events += 1;
    }
}

/// The Deployment that a Rollout or a Canary stands for.
fn refers_to(kind: ObjectKind, kept: &Kept) -> Option<Text> {
    let pointer = match kind {
        ObjectKind::Rollout => "/spec/workloadRef",
        ObjectKind::Canary => "/spec/targetRef",
        _ => return None,
    };
    let object = kept.open();
    let reference = object.raw(pointer)?;
    (reference["kind"] == "Deployment").then(|| reference["name"].as_str().map(Text::scrub)).flatten()
}

/// The part of a label selector that pods are told apart by: their pod hash.
struct Selector(Option<Vec<String>>);

impl Selector {
    fn of(labels: &str) -> Self {
        let hashes = labels.split_once("pod-template-hash in (").and_then(|(_, rest)| rest.split_once(')'));
        Self(hashes.map(|(hashes, _)| hashes.split(',').map(|h| h.trim().to_owned()).collect()))
    }

    fn takes(&self, pod: &Pod) -> bool {
        self.0.as_ref().is_none_or(|hashes| hashes.iter().any(|h| *h == *pod.hash))
    }
}
