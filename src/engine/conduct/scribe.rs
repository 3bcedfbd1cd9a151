//! The journal of a train in the cluster: every input as a line, in batches, in ConfigMaps `fp-journal-<uid8>-<epoch>-<n>`, one key a
//! batch (`train.md` §9). What must wait for an entry asks for it to be kept. The same lines go to the local journal.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Ground;
use crate::core::effect::{Change, Direction, Effect};
use crate::core::object::{ObjectKind, ObjectRef};
use crate::core::release::{Release, short};
use crate::core::text::Text;
use crate::ports::{Cluster, Journal};
use crate::text;

/// Label of everything that belongs to a train: the uid of its Release.
pub const OF_TRAIN: &str = "footplate.dev/train";

/// Most bytes of one ConfigMap; the server takes a million, but each change of one is a write of all of it.
const BYTES_MAX: usize = 64 * 1024;

/// Most bytes that wait while nothing can be written; older lines then live in the local journal alone.
const WAITING_MAX: usize = 4 << 20;

/// Milliseconds from a batch that was not kept to the next try, and the most that they grow to. A refusal may come back at once,
/// and somebody always waits: without a pause a journal that cannot be written is a flood of requests.
const AGAIN: u64 = 250;
const AGAIN_MAX: u64 = 4_000;

/// A batch on its way.
pub struct Batch {
    lines: Arc<Vec<String>>,
    /// How many of them the local journal has from an earlier try.
    local: usize,
    /// Entries of the journal that are durable once it is.
    pub entry: u64,
    place: ObjectRef,
    key: String,
    first: bool,
    uid: Text,
    owner: Value,
    part: u32,
}

/// Gathers lines and says when to write which batch.
pub struct Scribe {
    release: ObjectRef,
    uid: Text,
    epoch: u64,
    part: u32,
    batch: u32,
    bytes: usize,
    /// True while the present ConfigMap is not known to be there.
    first: bool,
    waiting: Vec<String>,
    waiting_bytes: usize,
    /// The entry that somebody waits for.
    wanted: u64,
    kept: u64,
    busy: bool,
    since: u64,
    /// How many of the lines that wait are in the local journal.
    local: usize,
    /// Tries in a row that were not kept, and when there may be the next one.
    failed: u32,
    not_before: u64,
}

impl Scribe {
    /// Of a train under an epoch.
    pub fn new(release: &Release, epoch: u64) -> Self {
        Self {
            release: release.id.clone(),
            uid: release.uid.clone(),
            epoch,
            part: 0,
            batch: 0,
            bytes: 0,
            first: true,
            waiting: Vec::new(),
            waiting_bytes: 0,
            wanted: 0,
            kept: 0,
            busy: false,
            since: 0,
            local: 0,
            failed: 0,
            not_before: 0,
        }
    }

    /// A line more.
    pub fn line(&mut self, line: String) {
        self.waiting_bytes += line.len() + 1;
        self.waiting.push(line);
        while self.waiting_bytes > WAITING_MAX {
            let gone = self.waiting.remove(0);
            self.waiting_bytes -= gone.len() + 1;
            self.local = self.local.saturating_sub(1);
        }
    }

    /// Somebody waits for this entry.
    pub fn want(&mut self, entry: u64) {
        self.wanted = self.wanted.max(entry);
    }

    /// The next batch, where one is due: somebody waits, or lines are old or many.
    pub fn due(&mut self, now: u64) -> Option<Batch> {
        let waits = self.wanted > self.kept;
        let old = now.saturating_sub(self.since) >= 2_000 || self.waiting_bytes >= BYTES_MAX / 2;
        if self.busy || now < self.not_before || self.waiting.is_empty() && !waits || !(waits || old) {
            return None;
        }
        if self.bytes > 0 && self.bytes + self.waiting_bytes > BYTES_MAX {
            (self.part, self.batch, self.bytes, self.first) = (self.part + 1, 0, 0, true);
        }
        self.busy = true;
        self.since = now;
        self.bytes += self.waiting_bytes;
        self.waiting_bytes = 0;
        let lines = Arc::new(std::mem::take(&mut self.waiting));
        let name = text!("fp-journal-{}-{}-{:03}", short(&self.uid), self.epoch, self.part);
        let batch = Batch {
            lines,
            local: std::mem::take(&mut self.local),
            entry: self.wanted,
            place: ObjectRef { kind: ObjectKind::ConfigMap, name, ..self.release.clone() },
            key: format!("{:05}", self.batch),
            first: self.first,
            uid: self.uid.clone(),
            owner: json!([{
                "apiVersion": ObjectKind::Release.api_version(), "kind": "Release",
                "name": self.release.name, "uid": self.uid,
            }]),
            part: self.part,
        };
        self.batch += 1;
        Some(batch)
    }

    /// A batch is durable, or it is not: then its lines wait for the next one.
    pub fn done(&mut self, batch: &Batch, landed: bool, now: u64) -> Option<u64> {
        self.busy = false;
        if landed {
            self.failed = 0;
            self.first = false;
            let news = batch.entry > self.kept;
            self.kept = self.kept.max(batch.entry);
            return news.then_some(batch.entry);
        }
        self.not_before = now + (AGAIN << self.failed.min(8)).min(AGAIN_MAX);
        self.failed += 1;
        self.local = batch.lines.len();
        let mut lines = (*batch.lines).clone();
        let bytes: usize = lines.iter().map(|l| l.len() + 1).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.waiting_bytes += bytes;
        lines.append(&mut self.waiting);
        self.waiting = lines;
        // Whether it landed is not known: a name of its own makes a second copy harmless, and a replay passes over it.
        (self.part, self.batch, self.bytes, self.first) = (self.part + 1, 0, 0, true);
        None
    }
}

impl Batch {
    /// Writes it: to the local journal, and to the cluster. True when the cluster has it.
    pub async fn write(&self, cluster: &dyn Cluster, local: &dyn Journal, ground: &Ground) -> bool {
        for line in self.lines.iter().skip(self.local) {
            if let Ok(line) = serde_json::from_str::<Value>(line) {
                // A copy: what counts is in the cluster.
                let _ = local.append(json!({"what": "train", "train": self.uid, "line": line})).await;
            }
        }
        let text = self.lines.join("\n");
        let change = if self.first {
            Change::Create(json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {
                    "name": self.place.name, "namespace": self.place.namespace,
                    "labels": {OF_TRAIN: self.uid, "footplate.dev/journal": format!("{:03}", self.part)},
                    "ownerReferences": self.owner,
                },
                "data": {(self.key.as_str()): text},
            }))
        } else {
            let ops = json!([
                {"op": "test", "path": "/metadata/labels/footplate.dev~1train", "value": self.uid},
                {"op": "add", "path": format!("/data/{}", self.key), "value": text},
            ]);
            Change::Patch(serde_json::from_value(ops).unwrap_or_default())
        };
        let says = text!("keep the journal");
        let effect = Effect { object: self.place.clone(), change, direction: Direction::Safe, says };
        let Ok(cleared) = ground.paper(effect) else { return false };
        match cluster.send(&cleared).await {
            Ok(object) => object.raw("/data").and_then(|d| d.get(&self.key)).and_then(Value::as_str) == Some(&text),
            Err(fault) => {
                tracing::warn!(%fault, "the journal was not kept");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scribe() -> Scribe {
        let id = ObjectRef { cluster: "c".into(), kind: ObjectKind::Release, namespace: "n".into(), name: "r".into() };
        Scribe {
            release: id,
            uid: "4fe1c0de-1".into(),
            epoch: 1,
            part: 0,
            batch: 0,
            bytes: 0,
            first: true,
            waiting: Vec::new(),
            waiting_bytes: 0,
            wanted: 0,
            kept: 0,
            busy: false,
            since: 0,
            local: 0,
            failed: 0,
            not_before: 0,
        }
    }

    #[test]
    fn a_journal_that_is_refused_is_tried_again_after_a_while_and_kept_here_once() {
        let mut scribe = scribe();
        scribe.line("{}".to_owned());
        scribe.want(1);
        let (mut now, mut tries) = (0, 0);
        while now < 60_000 {
            if let Some(batch) = scribe.due(now) {
                assert_eq!(
                    batch.local,
                    usize::from(tries > 0),
                    "what is in the local journal is not written there again"
                );
                tries += 1;
                assert_eq!(scribe.done(&batch, false, now), None);
            }
            now += 50;
        }
        assert!((15..30).contains(&tries), "{tries} tries in a minute");
        scribe.line("{}".to_owned());
        now += AGAIN_MAX;
        let batch = scribe.due(now).expect("somebody waits");
        assert_eq!((batch.lines.len(), batch.local), (2, 1));
        assert_eq!(scribe.done(&batch, true, now), Some(1));
        scribe.want(2);
        assert!(scribe.due(now).is_some(), "what is kept again is in no need of patience");
    }
}
