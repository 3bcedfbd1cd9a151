//! The `Release` object: what a train is recorded as in the cluster. Captains write `spec` (the frozen plan once, then orders, one
//! list entry each), the conductor alone writes `status` (design §4, `train.md` §9). Reading it, and the patches that
//! change it; sending them, and what a train does with them, is not here.
//!
//! Plan and memory lie in it as JSON text: ids are 64 bits wide, and a JSON number would be rounded on its way through the server.

mod past;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::confirm::Order;
use super::effect::{Change, Direction, Effect};
use super::frozen::{FORM, Frozen};
use super::object::{Object, ObjectKind, ObjectRef};
use super::text::Text;
use super::train::event::{Intent, Want};
use super::train::fits;
use super::train::hands::is_safe;
use super::train::state::{Ended, Memory, State};
use super::train::{Phase, why};
use super::verdict::Verdict;
use crate::text;

/// Greatest number of orders that a Release takes; more are a defect or an attack.
pub const ORDERS_MAX: usize = 1_000;

/// A Release, read.
#[derive(Clone, PartialEq, Debug)]
pub struct Release {
    /// Where it is.
    pub id: ObjectRef,
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.resourceVersion`, as it is compared in patches.
    pub version: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The train and its environment.
    pub frozen: Arc<Frozen>,
    /// Orders, in the order in which they became durable.
    pub intents: Vec<Intent>,
    /// Orders that could not be read; shown, never obeyed.
    pub unreadable: Vec<Text>,
    /// What other hands did by an order.
    pub acted: Vec<Acted>,
    /// The link of an incident, stored back by a person.
    pub incident: Option<Text>,
    /// What the conductor wrote last.
    pub status: Option<Status>,
}

/// Something that a cockpit did itself by an order, since no conductor did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acted {
    /// The order, as hexadecimal digits.
    pub intent: Text,
    /// Who.
    pub who: Text,
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub says: Text,
}

/// `Release.status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The four letters.
    pub train: Text,
    /// Where it stands.
    pub phase: Phase,
    /// The wave it is at, from 0.
    pub wave: u16,
    /// How many there are.
    pub waves: u16,
    /// `2/5`, for the printed column.
    pub progress: Text,
    /// True when the whole train is held: ordered, and every workload in flight says so.
    pub held: bool,
    /// Who conducts, and its epoch.
    pub conductor: Text,
    /// See `conductor`.
    pub epoch: u64,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Ended>,
    /// What it waits for.
    pub waits: Text,
    /// What persons are waited for.
    #[serde(default)]
    pub needs: Vec<NeedsYou>,
    /// Per service.
    pub services: Vec<ServiceStatus>,
    /// What the pre-flight found, a line each, for people who read it with kubectl.
    #[serde(default)]
    pub checks: Vec<CheckLine>,
    /// When it set off, when the fail verdict was, when the order to take it back was durable, when traffic was back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// See `started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<Timestamp>,
    /// See `started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Timestamp>,
    /// See `started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<Timestamp>,
    /// What tripped: service, cause, evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Text>,
    /// Baselines and the like that the judges go on from.
    #[serde(default)]
    pub judges: Value,
    /// How many entries the journal has.
    pub entries: u64,
    /// [`Memory`], as JSON text.
    pub memory: String,
    /// When this was written.
    pub written: Timestamp,
}

/// A person who is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NeedsYou {
    /// Who.
    pub who: Text,
    /// What.
    pub what: Text,
    /// Of which service; empty for the train.
    #[serde(default)]
    pub service: Text,
    /// When they are called, or it is given up.
    pub until: Timestamp,
}

/// One line of the pre-flight.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckLine {
    /// What was looked at.
    pub check: Text,
    /// `good`, `warn`, `ask`, `refuse`, `unknown`.
    pub found: Text,
    /// In words.
    pub says: Text,
}

/// A service in the status.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its name.
    pub name: Text,
    /// The words of design §6.
    pub phase: Text,
    /// Step and how many there are.
    pub step: u32,
    /// See `step`.
    pub steps: u32,
    /// Share of the traffic on the new version, percent.
    pub weight: u8,
    /// What the guard said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why, with figures.
    #[serde(default, skip_serializing_if = "empty")]
    pub evidence: Text,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "empty")]
    pub waits: Text,
    /// The digest that its pods run, where it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Text>,
}

fn empty(text: &Text) -> bool {
    text.is_empty()
}

/// What the judges say of a service, for the status.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// With figures.
    pub evidence: Text,
    /// The digest that its pods run.
    pub digest: Option<Text>,
}

/// Why a Release cannot be taken up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    /// Its name.
    pub name: Text,
    /// Why, and what to do.
    pub why: Text,
}

impl Release {
    /// Of an object as it came; `known` is the same one as read before, whose plan, which never changes, is not read again.
    ///
    /// # Errors
    /// When its plan cannot be understood.
    pub fn read(object: &Object, cluster: &Text, known: Option<&Self>) -> Result<Self, Unfit> {
        let unfit = |why: Text| Unfit { name: object.name(), why };
        let uid = object.text("/metadata/uid").unwrap_or_default();
        let frozen = match known.filter(|known| known.uid == uid) {
            Some(known) => Arc::clone(&known.frozen),
            None => Arc::new(plan(object, &uid).map_err(unfit)?),
        };
        let mut intents = Vec::new();
        let mut unreadable = Vec::new();
        for (n, order) in object.items("/spec/intents").iter().take(ORDERS_MAX).enumerate() {
            let read = intent(order).and_then(|intent| {
                // The machine goes by index: what names a service that is not there must not reach it.
                fits::order(&frozen.resolved, &intent)?;
                Ok(intent)
            });
            match read {
                Ok(intent) => intents.push(intent),
                Err(why) => unreadable.push(text!("order {} of {}: {why}", n + 1, object.name())),
            }
        }
        let acted = object.items("/spec/acted").iter().filter_map(|a| serde_json::from_value(a.clone()).ok()).collect();
        let status = object.raw("/status/memory").and(object.raw("/status")).map(Status::deserialize);
        let status = status.transpose().map_err(|why| unfit(text!("its status cannot be read: {why}")))?;
        Ok(Self {
            id: ObjectRef {
                cluster: cluster.clone(),
                kind: ObjectKind::Release,
                namespace: object.text("/metadata/namespace").unwrap_or_default(),
                name: object.name(),
            },
            version: object.version().to_owned(),
            created: object.created(),
            incident: object.text("/spec/incident"),
            uid,
            frozen,
            intents,
            unreadable,
            acted,
            status,
        })
    }

    /// True until its end is certain and written down.
    pub fn active(&self) -> bool {
        self.status.as_ref().is_none_or(|status| status.result.is_none())
    }

    /// What the conductor before remembered.
    ///
    /// # Errors
    /// When it cannot be understood: then nobody may go on with this train but by hand.
    pub fn memory(&self) -> Result<Option<Memory>, Text> {
        let Some(status) = &self.status else { return Ok(None) };
        let memory: Memory =
            serde_json::from_str(&status.memory).map_err(|why| text!("status.memory cannot be read: {why}"))?;
        fits::memory(&self.frozen.resolved, &memory)
            .map_err(|why| text!("status.memory is not of this plan: {why}"))?;
        Ok(Some(memory))
    }

    /// First letters of the uid, for names of what belongs to the train.
    pub fn short(&self) -> &str {
        short(&self.uid)
    }
}

/// First letters of a uid, for names of what belongs to a train.
pub fn short(uid: &str) -> &str {
    uid.get(..8).unwrap_or(uid)
}

fn plan(object: &Object, uid: &Text) -> Result<Frozen, Text> {
    let text = object.str("/spec/plan").ok_or_else(|| text!("it has no spec.plan"))?;
    let mut frozen: Frozen = serde_json::from_str(text)
        .map_err(|why| text!("spec.plan cannot be read: {why}; a newer footplate wrote it?"))?;
    if frozen.form != FORM {
        return Err(text!(
            "its plan has form {}, this footplate knows form {FORM}: use the one that made it",
            frozen.form
        ));
    }
    let plan = &frozen.resolved;
    let n = plan.services.len();
    let in_range = |s: &u16| usize::from(*s) < n;
    let edges = frozen.edges.iter().all(|(a, b)| in_range(a) && in_range(b));
    let same = frozen.workloads.len() == n && frozen.scripts.len() == plan.migrations.len();
    if fits::plan(plan).is_err() || !(edges && same) {
        return Err(text!("spec.plan names services or waves that it does not have"));
    }
    frozen.of_release(uid);
    Ok(frozen)
}

fn intent(order: &Value) -> Result<Intent, Text> {
    let word = |key: &str| order[key].as_str().unwrap_or_default();
    let id = u64::from_str_radix(word("id"), 16).map_err(|_| text!("its id is no hexadecimal number"))?;
    let when = word("when").parse().map_err(|why| text!("its time cannot be read: {why}"))?;
    let want: Want = serde_json::from_str(word("want")).map_err(|why| text!("what it wants cannot be read: {why}"))?;
    let epoch = order.get("epoch").and_then(Value::as_str).map(|epoch| {
        let (number, holder) = epoch.split_once(' ').ok_or(())?;
        Ok((number.parse().map_err(|_| ())?, Text::scrub(holder)))
    });
    let epoch = epoch.transpose().map_err(|()| text!("its epoch is not a number and a name"))?;
    Ok(Intent { id, epoch, order: Order { who: Text::scrub(word("who")), when, why: Text::scrub(word("why")) }, want })
}

/// The object to be made when a train is recorded, its first order in it. The name is `<release>-<time>`.
pub fn create(frozen: &Frozen, cluster: &Text, first: &[Intent], now: Timestamp) -> Effect {
    let mut stored = frozen.clone();
    stored.resolved.uid = Text::default();
    stored.resolved.id = Text::default();
    let mut stem: String = frozen
        .resolved
        .release
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' })
        .take(200)
        .collect();
    stem = stem.trim_matches(['.', '-']).to_owned();
    let name = format!("{stem}-{}", now.strftime("%Y%m%d-%H%M%S"));
    let body = json!({
        "apiVersion": ObjectKind::Release.api_version(), "kind": "Release",
        "metadata": {
            "name": name, "namespace": frozen.namespace,
            "labels": {"footplate.dev/environment": label(&frozen.resolved.environment)},
        },
        "spec": {
            "release": frozen.resolved.release, "environment": frozen.resolved.environment,
            "captain": frozen.resolved.captain, "manifestSha256": frozen.manifest_sha256,
            "plan": serde_json::to_string(&stored).unwrap_or_default(),
            "intents": first.iter().map(written).collect::<Vec<_>>(),
            "acted": [],
        },
    });
    let object = ObjectRef {
        cluster: cluster.clone(),
        kind: ObjectKind::Release,
        namespace: frozen.namespace.clone(),
        name: Text::scrub(&name),
    };
    let says = text!("record the train of {}", frozen.resolved.release);
    Effect { object, change: Change::Create(body), direction: Direction::Forward, says }
}

/// A value that may be a label's.
fn label(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).take(63).collect();
    plain.trim_matches(['-', '_', '.']).to_owned()
}

fn written(intent: &Intent) -> Value {
    let mut written = json!({
        "id": format!("{:x}", intent.id),
        "who": intent.order.who, "when": intent.order.when.to_string(), "why": intent.order.why,
        "says": says(&intent.want),
        "want": serde_json::to_string(&intent.want).unwrap_or_default(),
    });
    if let Some((number, holder)) = &intent.epoch {
        written["epoch"] = format!("{number} {holder}").into();
    }
    written
}

/// Adds an order to a Release. It is durable once this has landed. What a conductor decided by itself lands only while the status
/// is the one of its epoch (422: another has taken over, or its own first status is not written yet; the train asks again).
pub fn order(release: &Release, intent: &Intent) -> Effect {
    let direction = if is_safe(&intent.want) { Direction::Safe } else { Direction::Forward };
    let says = text!("order: {}", says(&intent.want));
    let mut ops = vec![json!({"op": "test", "path": "/metadata/uid", "value": release.uid})];
    if let Some((number, holder)) = &intent.epoch {
        ops.push(json!({"op": "test", "path": "/status/epoch", "value": number}));
        ops.push(json!({"op": "test", "path": "/status/conductor", "value": holder}));
    }
    ops.push(json!({"op": "add", "path": "/spec/intents/-", "value": written(intent)}));
    let ops = Value::Array(ops);
    Effect { object: release.id.clone(), change: Change::Patch(patch(ops)), direction, says }
}

/// Writes down what a cockpit did itself.
pub fn acted(release: &Release, acted: &Acted) -> Effect {
    let ops = json!([
        {"op": "test", "path": "/metadata/uid", "value": release.uid},
        {"op": "add", "path": "/spec/acted/-", "value": acted},
    ]);
    let says = text!("write down what was done from here");
    Effect { object: release.id.clone(), change: Change::Patch(patch(ops)), direction: Direction::Safe, says }
}

/// Stores the link of an incident.
pub fn incident(release: &Release, url: &Text) -> Effect {
    let ops = json!([
        {"op": "test", "path": "/metadata/uid", "value": release.uid},
        {"op": "add", "path": "/spec/incident", "value": url},
    ]);
    let says = text!("store the incident's link");
    Effect { object: release.id.clone(), change: Change::Patch(patch(ops)), direction: Direction::Safe, says }
}

/// The whole status, under the test of the version that was read: whoever has lost the Lease and wakes up late writes nothing.
pub fn status(release: &Release, version: &str, status: &Status) -> Effect {
    let ops = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "test", "path": "/metadata/uid", "value": release.uid},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let says = text!("write the status");
    Effect { object: release.id.clone(), change: Change::PatchStatus(patch(ops)), direction: Direction::Forward, says }
}

fn patch(ops: Value) -> json_patch::Patch {
    serde_json::from_value(ops).unwrap_or_default()
}

/// What a status says of a train.
pub fn status_of(state: &State, judged: &[Judgement], judges: Value, now: Timestamp) -> Status {
    let (plan, memory) = (state.plan(), state.memory());
    let waves = u16::try_from(plan.waves.len()).unwrap_or(u16::MAX);
    let services = (0..)
        .zip(&plan.services)
        .map(|(s, service)| {
            let reading = state.reading(s);
            let judged = judged.get(usize::from(s)).cloned().unwrap_or_default();
            ServiceStatus {
                name: service.name.clone(),
                phase: state.train_phase(s).word().into(),
                step: reading.map_or(0, |r| r.step),
                steps: reading.map_or(0, |r| r.steps),
                weight: reading.map_or(0, |r| r.weight),
                verdict: judged.verdict,
                evidence: judged.evidence,
                waits: why::service(state, s),
                digest: judged.digest,
            }
        })
        .collect();
    let needs = why::calls(state)
        .into_iter()
        .map(|wait| NeedsYou {
            who: wait.who,
            what: wait.what,
            service: wait.service.map_or_else(Text::default, |s| plan.service(s).name.clone()),
            until: now
                .checked_add(jiff::SignedDuration::from_millis(i64::try_from(wait.left).unwrap_or(i64::MAX)))
                .unwrap_or(now),
        })
        .collect();
    let checks = memory
        .facts
        .iter()
        .map(|(check, found)| {
            let (word, says) = found.parts();
            CheckLine { check: check.name(plan), found: word.into(), says: says.clone() }
        })
        .collect();
    Status {
        train: plan.id.clone(),
        phase: state.phase(),
        wave: memory.wave,
        waves,
        progress: text!("{}/{waves}", memory.wave + 1),
        held: state.held(),
        conductor: memory.epoch.1.clone(),
        epoch: memory.epoch.0,
        result: memory.ended,
        waits: why::train(state),
        needs,
        services,
        checks,
        started: memory.started,
        detected: memory.detected,
        decided: memory.decided,
        recovered: memory.recovered,
        cause: memory.cause.as_ref().map(|(whose, cause, why)| {
            let cause =
                serde_json::to_value(cause).ok().and_then(|c| c.as_str().map(str::to_owned)).unwrap_or_default();
            text!("{} ({cause}): {why}", whose.name(plan))
        }),
        judges,
        entries: memory.entries,
        memory: serde_json::to_string(memory).unwrap_or_default(),
        written: now,
    }
}

/// What an order wants, in words.
pub fn says(want: &Want) -> Text {
    match want {
        Want::Start => text!("start"),
        Want::Hold(None, _) => text!("hold the train"),
        Want::Hold(Some(s), _) => text!("hold service {s}"),
        Want::Resume(id) => text!("end hold {id:x}"),
        Want::ResumeOutside(s) => text!("end the hold that another hand put on service {s}"),
        Want::Approve { service, step, over, .. } => {
            text!("approve step {step} of service {service}{}", if *over { ", over the gate" } else { "" })
        }
        Want::Full(s, _) => text!("promote service {s} fully"),
        Want::Abort(s, _) => text!("abort service {s}"),
        Want::Retry(s) => text!("try service {s} again"),
        Want::Again => text!("try again"),
        Want::Undo(scope) => text!("undo {scope:?}"),
        Want::Flag(f, to) => text!("set flag {f} to {to}"),
        Want::Down(m) => text!("take back migration {m}"),
        Want::Accept(check) => text!("go on in spite of {check:?}"),
        Want::Stay => text!("let it stand"),
    }
}
