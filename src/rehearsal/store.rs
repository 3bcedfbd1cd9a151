//! The objects of the simulated cluster, with what an API server's storage gives them: one resourceVersion counter, a
//! bounded history for watches, uids, generations, finalizers, garbage collection by owner, Events with counts. No
//! HTTP, no patch formats, no behaviour of any controller.
//!
//! Everything is deterministic: uids and name suffixes come from one seeded generator, time is what [`Store::set_now`]
//! was last given. Objects are shared (`Arc<Held>`), so a list or a watch copies nothing.

mod definition;
mod events;
mod life;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::kinds::{self, Kind};
use super::refusal::Refusal;
use super::signal::{Seen, Signal};
pub use life::status_only;

/// How many changes of one kind a watch can go back; older ones answer 410.
const HISTORY: usize = 8192;

/// A stored object: reads like the JSON value it holds, and keeps its wire form once somebody asked for it.
#[derive(Debug)]
pub struct Held {
    value: Value,
    version: u64,
    json: OnceLock<Bytes>,
}

impl Held {
    fn new(mut value: Value, version: u64) -> Arc<Self> {
        value["metadata"]["resourceVersion"] = json!(version.to_string());
        Arc::new(Self { value, version, json: OnceLock::new() })
    }

    /// Its resourceVersion.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its JSON, made once.
    pub fn json(&self) -> Bytes {
        self.json.get_or_init(|| Bytes::from(self.value.to_string())).clone()
    }

    /// A string at a JSON pointer; empty when absent or no string.
    pub fn str(&self, pointer: &str) -> &str {
        text(&self.value, pointer)
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.str("/metadata/name")
    }

    /// `metadata.namespace`; empty when it has none.
    pub fn namespace(&self) -> &str {
        self.str("/metadata/namespace")
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.str("/metadata/uid")
    }
}

impl Deref for Held {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One entry of the history.
#[derive(Clone, Debug)]
pub struct Change {
    /// The resourceVersion it made.
    pub version: u64,
    /// What happened.
    pub what: What,
    /// The object afterwards; of a deletion its last state.
    pub object: Arc<Held>,
    /// The object before; none of a creation.
    pub before: Option<Arc<Held>>,
}

/// What happens to the objects that a deleted one owns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Propagation {
    /// They are deleted too (background and foreground are the same here: both happen within the request).
    #[default]
    Cascade,
    /// They stay, without an owner.
    Orphan,
}

type Key = (String, String);
type Address = (&'static str, &'static str, String, String);

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<Key, Arc<Held>>,
    history: VecDeque<Change>,
    /// The newest change that the history has forgotten.
    forgotten: u64,
}

/// The storage of one simulated cluster.
#[derive(Debug)]
pub struct Store {
    now: Timestamp,
    version: u64,
    rng: ChaCha8Rng,
    tables: BTreeMap<(&'static str, &'static str), Table>,
    /// Owner uid → the objects that name it.
    owned: BTreeMap<String, BTreeSet<Address>>,
    uids: BTreeSet<String>,
    /// (involved uid, type, reason, message) → the Event that counts them.
    counted: BTreeMap<(String, bool, String, String), Key>,
    signal: Signal,
}

impl Store {
    /// An empty cluster at a time: the namespaces `default` and `kube-system`, and the definitions of the custom kinds.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let mut store = Self {
            now,
            version: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            tables: kinds::ALL.iter().map(|k| ((k.group, k.plural), Table::default())).collect(),
            owned: BTreeMap::new(),
            uids: BTreeSet::new(),
            counted: BTreeMap::new(),
            signal: Signal::default(),
        };
        for namespace in ["default", "kube-system"] {
            store.insert(&kinds::NAMESPACE, "", namespace, json!({ "metadata": { "name": namespace } }));
        }
        for kind in kinds::ALL.iter().filter(|k| k.custom) {
            let name = kind.resource();
            let definition = definition::of(kind, store.now);
            store.insert(&kinds::CUSTOM_RESOURCE_DEFINITION, "", &name, definition);
        }
        store
    }

    /// The cluster's time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves the cluster's time forward; an earlier time is ignored.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// The cluster's time as objects carry it: RFC 3339, whole seconds, UTC.
    pub fn stamp(&self) -> String {
        stamp(self.now)
    }

    /// The resourceVersion of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Follows [`Store::version`]: changes after each commit.
    pub fn subscribe(&self) -> Seen {
        self.signal.subscribe()
    }

    /// A number of the seeded generator, for whatever else of the cluster is random.
    pub fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// One object; `namespace` is empty for a kind without namespaces.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Held>> {
        self.table(kind)?.objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The objects of a kind, of one namespace or of all, ordered by namespace and name.
    pub fn list<'a>(&'a self, kind: &Kind, namespace: Option<&str>) -> Box<dyn Iterator<Item = &'a Arc<Held>> + 'a> {
        let Some(table) = self.table(kind) else { return Box::new(std::iter::empty()) };
        match namespace {
            None => Box::new(table.objects.values()),
            Some(namespace) => {
                let namespace = namespace.to_owned();
                Box::new(
                    table
                        .objects
                        .range((namespace.clone(), String::new())..)
                        .take_while(move |(key, _)| key.0 == namespace)
                        .map(|(_, object)| object),
                )
            }
        }
    }

    /// The objects of a kind as they were at a resourceVersion.
    ///
    /// # Errors
    /// 410 when the history does not go back that far.
    pub fn list_at(&self, kind: &Kind, version: u64) -> Result<BTreeMap<(String, String), Arc<Held>>, Refusal> {
        let mut objects = self.table(kind).map(|t| t.objects.clone()).unwrap_or_default();
        let changes: Vec<&Change> = self.changes(kind, version)?.collect();
        for change in changes.into_iter().rev() {
            let key = (change.object.namespace().to_owned(), change.object.name().to_owned());
            match &change.before {
                Some(before) => objects.insert(key, before.clone()),
                None => objects.remove(&key),
            };
        }
        Ok(objects)
    }

    /// The objects of a kind that name this uid as an owner, ordered by namespace and name.
    pub fn owned(&self, kind: &Kind, uid: &str) -> Vec<Arc<Held>> {
        let Some(addresses) = self.owned.get(uid) else { return Vec::new() };
        addresses
            .iter()
            .filter(|a| (a.0, a.1) == (kind.group, kind.plural))
            .filter_map(|a| self.get(kind, &a.2, &a.3))
            .collect()
    }

    /// The changes of a kind after a resourceVersion, oldest first.
    ///
    /// # Errors
    /// 410 when the history does not go back that far.
    pub fn changes(&self, kind: &Kind, after: u64) -> Result<impl Iterator<Item = &Change>, Refusal> {
        let table = self.table(kind).ok_or_else(|| Refusal::new(404, "NotFound", "no such kind"))?;
        if after < table.forgotten {
            return Err(Refusal::expired(after, table.forgotten));
        }
        let start = table.history.partition_point(|c| c.version <= after);
        Ok(table.history.range(start..))
    }

    /// Forgets the whole history, as etcd does when it is compacted: every watch that is behind gets 410.
    pub fn compact(&mut self) {
        for table in self.tables.values_mut() {
            table.history.clear();
            table.forgotten = self.version;
        }
    }

    /// Writes a change into table, history and indexes, and wakes the watchers.
    fn commit(&mut self, kind: &'static Kind, old: Option<&Arc<Held>>, new: Option<Value>) -> Arc<Held> {
        self.version += 1;
        let version = self.version;
        let deleted = new.is_none();
        let value = new.or_else(|| old.map(|o| o.value.clone())).unwrap_or_default();
        let held = Held::new(value, version);
        let address = (kind.group, kind.plural, held.namespace().to_owned(), held.name().to_owned());
        if let Some(old) = old {
            for owner in owners(old) {
                let uid = owner["uid"].as_str().unwrap_or_default();
                if let Some(set) = self.owned.get_mut(uid) {
                    set.remove(&address);
                    if set.is_empty() {
                        self.owned.remove(uid);
                    }
                }
            }
        }
        if deleted {
            self.uids.remove(held.uid());
        } else {
            self.uids.insert(held.uid().to_owned());
            for owner in owners(&held) {
                let uid = owner["uid"].as_str().unwrap_or_default();
                self.owned.entry(uid.to_owned()).or_default().insert(address.clone());
            }
        }
        let table = self.tables.entry((kind.group, kind.plural)).or_default();
        let key = (address.2, address.3);
        if deleted {
            table.objects.remove(&key);
        } else {
            table.objects.insert(key, held.clone());
        }
        let what = match (old, deleted) {
            (None, _) => What::Added,
            (Some(_), false) => What::Modified,
            (Some(_), true) => What::Deleted,
        };
        table.history.push_back(Change { version, what, object: held.clone(), before: old.cloned() });
        if table.history.len() > HISTORY
            && let Some(oldest) = table.history.pop_front()
        {
            table.forgotten = oldest.version;
        }
        self.signal.set(version);
        held
    }

    fn table(&self, kind: &Kind) -> Option<&Table> {
        self.tables.get(&(kind.group, kind.plural))
    }
}

/// A time as objects carry it: RFC 3339, whole seconds, UTC.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A string at a JSON pointer; empty when absent or no string.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        let mut store = Store::new(7, "2025-10-02T13:00:00Z".parse().unwrap());
        store.create(&kinds::NAMESPACE, "", json!({ "metadata": { "name": "payments" } })).unwrap();
        store
    }

    fn rollout(name: &str) -> Value {
        json!({ "metadata": { "name": name }, "spec": { "replicas": 4 } })
    }

    #[test]
    fn generation_follows_spec_and_not_metadata_or_status() {
        let mut store = store();
        store.create(&kinds::ROLLOUT, "payments", rollout("billing-api")).unwrap();
        let generation = |o: Arc<Held>| o["metadata"]["generation"].as_i64().unwrap();
        let labelled = store
            .update(&kinds::ROLLOUT, "payments", "billing-api", |o| o["metadata"]["labels"] = json!({ "a": "b" }))
            .unwrap();
        assert_eq!(generation(labelled), 1);
        let moved = store
            .update_status(&kinds::ROLLOUT, "payments", "billing-api", |o| {
                o["status"]["phase"] = json!("Healthy");
                o["spec"]["replicas"] = json!(9);
            })
            .unwrap();
        assert_eq!((moved["spec"]["replicas"].as_i64(), generation(moved)), (Some(4), 1));
        let paused =
            store.update(&kinds::ROLLOUT, "payments", "billing-api", |o| o["spec"]["paused"] = json!(true)).unwrap();
        assert_eq!(generation(paused), 2);
        // AnalysisRuns have no status subresource, so that a status is like any other field.
        store.create(&kinds::ANALYSIS_RUN, "payments", rollout("run")).unwrap();
        let run =
            store.update(&kinds::ANALYSIS_RUN, "payments", "run", |o| o["status"] = json!({ "phase": "Running" }));
        assert_eq!(generation(run.unwrap()), 2);
    }

    #[test]
    fn a_change_of_nothing_makes_no_version_and_identity_cannot_change() {
        let mut store = store();
        let made = store.create(&kinds::ROLLOUT, "payments", rollout("billing-api")).unwrap();
        let version = store.version();
        let same = store
            .update(&kinds::ROLLOUT, "payments", "billing-api", |o| {
                o["metadata"]["uid"] = json!("another");
                o["metadata"]["resourceVersion"] = json!("1");
                o["metadata"]["generation"] = json!(40);
            })
            .unwrap();
        assert_eq!((same.uid(), store.version()), (made.uid(), version));
    }

    #[test]
    fn owners_take_what_they_own_with_them_unless_orphaned_or_shared() {
        let mut store = store();
        let owner = store.create(&kinds::ROLLOUT, "payments", rollout("owner")).unwrap();
        let other = store.create(&kinds::ROLLOUT, "payments", rollout("other")).unwrap();
        let child = |name: &str, owners: &[&Held]| {
            let owners: Vec<Value> = owners.iter().map(|o| json!({ "uid": o.uid(), "name": o.name() })).collect();
            json!({ "metadata": { "name": name, "ownerReferences": owners } })
        };
        let set = store.create(&kinds::REPLICA_SET, "payments", child("set", &[&owner])).unwrap();
        store.create(&kinds::POD, "payments", child("pod", &[&set])).unwrap();
        store.create(&kinds::POD, "payments", child("shared", &[&owner, &other])).unwrap();
        assert_eq!(store.owned(&kinds::POD, owner.uid()).len(), 1);
        store.delete(&kinds::ROLLOUT, "payments", "owner", Propagation::Cascade).unwrap();
        let pods: Vec<String> = store.list(&kinds::POD, None).map(|o| o.name().to_owned()).collect();
        assert_eq!(pods, ["shared"]);
        assert_eq!(store.list(&kinds::REPLICA_SET, None).count(), 0);
        store.delete(&kinds::ROLLOUT, "payments", "other", Propagation::Orphan).unwrap();
        let shared = store.get(&kinds::POD, "payments", "shared").unwrap();
        assert!(shared.pointer("/metadata/ownerReferences").is_none());
    }

    #[test]
    fn finalizers_hold_a_deletion_back() {
        let mut store = store();
        let mut object = rollout("held");
        object["metadata"]["finalizers"] = json!(["example.com/wait"]);
        store.create(&kinds::ROLLOUT, "payments", object).unwrap();
        store.delete(&kinds::ROLLOUT, "payments", "held", Propagation::Cascade).unwrap();
        let marked = store.get(&kinds::ROLLOUT, "payments", "held").unwrap();
        assert_eq!(marked.str("/metadata/deletionTimestamp"), "2025-10-02T13:00:00Z");
        store.update(&kinds::ROLLOUT, "payments", "held", |o| o["metadata"]["finalizers"] = json!([])).unwrap();
        assert!(store.get(&kinds::ROLLOUT, "payments", "held").is_none());
    }

    #[test]
    fn history_replays_and_goes_back_in_time_until_it_is_compacted() {
        let mut store = store();
        store.create(&kinds::ROLLOUT, "payments", rollout("a")).unwrap();
        let then = store.version();
        store.create(&kinds::ROLLOUT, "payments", rollout("b")).unwrap();
        store.update(&kinds::ROLLOUT, "payments", "a", |o| o["spec"]["replicas"] = json!(5)).unwrap();
        store.delete(&kinds::ROLLOUT, "payments", "a", Propagation::Cascade).unwrap();
        let seen: Vec<(What, String)> =
            store.changes(&kinds::ROLLOUT, then).unwrap().map(|c| (c.what, c.object.name().to_owned())).collect();
        let name = str::to_owned;
        assert_eq!(seen, [(What::Added, name("b")), (What::Modified, name("a")), (What::Deleted, name("a"))]);
        let past = store.list_at(&kinds::ROLLOUT, then).unwrap();
        assert_eq!(past.keys().map(|k| k.1.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(past.values().next().unwrap()["spec"]["replicas"], 4);
        store.compact();
        assert_eq!(store.changes(&kinds::ROLLOUT, then).map(Iterator::count).unwrap_err().code, 410);
        assert_eq!(store.changes(&kinds::ROLLOUT, store.version()).unwrap().count(), 0);
    }

    #[test]
    fn the_same_event_is_counted_and_the_same_seed_gives_the_same_cluster() {
        let run = || {
            let mut store = store();
            let pod = store.create(&kinds::POD, "payments", json!({ "metadata": { "generateName": "p-" } })).unwrap();
            for _ in 0..3 {
                store.record_event(&pod, true, "BackOff", "restarting", "kubelet");
            }
            store.record_event(&pod, false, "Started", "started", "kubelet");
            store
        };
        let store = run();
        let counts: Vec<i64> = store.list(&kinds::EVENT, None).map(|e| e["count"].as_i64().unwrap()).collect();
        assert_eq!(counts, [3, 1]);
        let all = |s: &Store| kinds::ALL.iter().flat_map(|k| s.list(k, None).map(|o| o.json())).collect::<Vec<_>>();
        assert_eq!(all(&store), all(&run()));
    }
}
