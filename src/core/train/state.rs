//! What a train knows: its memory, which is `Release.status` and enough for another conductor to take over from, and beside
//! it what only this process knows (readings, what is under way), which is read anew after a take-over. No decisions here.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Phase;
use super::effect::Tell;
use super::event::{Cause, Check, FlagReading, Found, HoldFor, Intent, JobReading, Reading, Scope, Tripped, Whose};
use super::resolved::{Resolved, ServiceId, Setting};
use crate::core::text::Text;
use crate::core::verdict::{TrainPhase, Verdict};
use crate::core::verified::Verified;

/// Where a service stands in its own passage. What the screen shows is [`State::train_phase`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The pinned version is live already.
    Unchanged,
    /// Not its turn yet.
    Waiting,
    /// The pinned version was set and is not taken up yet.
    Deploying,
    /// It walks its steps.
    Stepping,
    /// At 100 %, watched.
    Baking,
    /// Through.
    Done,
    /// An abort was ordered.
    Aborting,
    /// Its canary is off; the template may still name the bad version.
    Aborted,
    /// It goes back to what was recorded.
    Undoing,
    /// Back as recorded, read back.
    Undone,
    /// It cannot be taken back.
    Failed,
}

/// What is remembered of a service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServiceMemory {
    /// Where it stands.
    pub stage: Stage,
    /// Pod hash of the version that was live at the start.
    pub recorded: Option<Text>,
    /// uid of the workload at the start.
    pub uid: Option<Text>,
    /// Pod hash that this train deployed.
    pub deployed: Option<Text>,
    /// True once a deploy may have landed.
    pub touched: bool,
    /// Highest step at which the gate passed, plus one; 0 for none. Counts for the version deployed last.
    pub passed: u32,
    /// Milliseconds of bake so far.
    pub bake: u64,
    /// Milliseconds without data, with traffic on the new version.
    pub no_data: u64,
    /// Milliseconds at the present step.
    pub in_step: u64,
    /// Milliseconds that it waits for a person at its own pause.
    pub waits: u64,
    /// Milliseconds since it is to go back, or to be taken up.
    pub patience: u64,
    /// How often it was taken back automatically.
    pub trips: u32,
    /// How often a restore was reverted by another hand.
    pub fights: u32,
    /// The order by which it was taken back last.
    pub undone_by: Option<u64>,
    /// The order to abort it.
    pub abort: Option<u64>,
    /// True when a retry of it was ordered.
    pub retry: bool,
    /// Approved by a person: the step.
    pub approved: Option<u32>,
    /// Full promotion ordered for the version with this hash.
    pub full: Option<Text>,
    /// What another hand did to it, until a person answers.
    pub outside: Option<Text>,
    /// A person ended a hold that another hand had put on it.
    pub loose: bool,
    /// A person said that what another hand made of it stands: it is no part of the train any more.
    pub let_go: bool,
    /// What it waits for when it cannot go back.
    pub stuck: Option<Text>,
    /// When its deploy landed.
    pub started: Option<Timestamp>,
    /// When it was through.
    pub healthy: Option<Timestamp>,
    /// When it was found bad.
    pub detected: Option<Timestamp>,
    /// When it was back.
    pub recovered: Option<Timestamp>,
    /// Why it was taken back.
    pub cause: Option<Cause>,
    /// True when that was decided by a gate.
    pub automatic: bool,
}

impl ServiceMemory {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Waiting,
            recorded: None,
            uid: None,
            deployed: None,
            touched: false,
            passed: 0,
            bake: 0,
            no_data: 0,
            in_step: 0,
            waits: 0,
            patience: 0,
            trips: 0,
            fights: 0,
            undone_by: None,
            abort: None,
            retry: false,
            approved: None,
            full: None,
            outside: None,
            loose: false,
            let_go: false,
            stuck: None,
            started: None,
            healthy: None,
            detected: None,
            recovered: None,
            cause: None,
            automatic: false,
        }
    }
}

/// What is remembered of a flag.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlagMemory {
    /// Its value at the start.
    pub recorded: Option<Setting>,
    /// True once this train may have moved it.
    pub moved: bool,
    /// Place on the ramp: 0 to 4; 4 is through.
    pub ramp: u8,
    /// Milliseconds at this share.
    pub ms: u64,
    /// True when it is to go back, alone or with everything.
    pub back: bool,
    /// Milliseconds since it is back and still something fails.
    pub failing: u64,
}

/// What is remembered of an expand step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JobMemory {
    /// As last read.
    pub reading: JobReading,
    /// True once it was sent.
    pub sent: bool,
    /// A way back was ordered.
    pub down: bool,
}

/// A hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hold {
    /// The intent.
    pub id: u64,
    /// Why.
    pub why: HoldFor,
    /// Of one service, or of the train.
    pub service: Option<ServiceId>,
    /// Who.
    pub who: Text,
    /// Their words.
    pub reason: Text,
    /// When.
    pub since: Timestamp,
    /// For how long a mixed state has been held, milliseconds.
    pub ms: u64,
    /// How often a person was called for it.
    pub paged: u32,
}

/// The taking back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Undo {
    /// The intent that began it (the latest that widened it).
    pub id: u64,
    /// Services in it.
    pub services: Vec<ServiceId>,
    /// Alone, whatever is built on them.
    pub alone: bool,
    /// True when it is the whole train.
    pub whole: bool,
    /// True when a gate decided it.
    pub automatic: bool,
    /// Who.
    pub who: Text,
    /// When it was decided.
    pub since: Timestamp,
    /// How often a person was called because it is stuck.
    pub paged: u32,
    /// Milliseconds stuck.
    pub ms: u64,
}

/// How a train ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Everything at its pinned version.
    Completed,
    /// Everything as it was.
    RolledBack,
    /// Never set off.
    Refused,
}

/// What a train remembers. `Release.status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Rises with each change; the version of the status.
    pub version: u64,
    /// Journal entries so far.
    pub entries: u64,
    /// How far it has come; what is shown is [`State::phase`].
    pub phase: Phase,
    /// The wave.
    pub wave: u16,
    /// Services, as in the plan.
    pub services: Vec<ServiceMemory>,
    /// Flags, as in the plan.
    pub flags: Vec<FlagMemory>,
    /// Expand steps, as in the plan.
    pub jobs: Vec<JobMemory>,
    /// Milliseconds of the expand wave's bake.
    pub expand_bake: u64,
    /// Milliseconds that the pre-flight has waited.
    pub preflight_ms: u64,
    /// What the pre-flight found.
    pub facts: Vec<(Check, Found)>,
    /// What a person accepted.
    pub accepted: Vec<Check>,
    /// True when everything was recorded and read back.
    pub recorded: bool,
    /// Holds, oldest first.
    pub holds: Vec<Hold>,
    /// The taking back.
    pub undo: Option<Undo>,
    /// Intents taken in.
    pub taken: Vec<u64>,
    /// Orders that were refused, with why; the latest few.
    pub refused: Vec<(u64, Text)>,
    /// Events that were emitted.
    pub told: Vec<Tell>,
    /// The end, from the moment it is certain.
    pub closing: Option<Ended>,
    /// The end, with all stamps gone.
    pub ended: Option<Ended>,
    /// The epoch under which it was last conducted: number and holder.
    pub epoch: (u64, Text),
    /// When it set off.
    pub started: Option<Timestamp>,
    /// The verdict that failed it.
    pub detected: Option<Timestamp>,
    /// The durable order to take it back.
    pub decided: Option<Timestamp>,
    /// Traffic is back, read back.
    pub recovered: Option<Timestamp>,
    /// What tripped.
    pub cause: Option<(Whose, Cause, Text)>,
    /// Outside changes and alarms, the latest few.
    pub alarms: Vec<(ServiceId, Text)>,
}

/// A verdict, and when it was heard.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Heard {
    pub verdict: Verdict,
    pub hash: Option<Text>,
    pub step: Option<u32>,
    pub full: bool,
    pub error: bool,
    pub cause: Cause,
    pub why: Text,
    pub at: u64,
}

/// What is under way on a workload.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Busy {
    pub token: u64,
    pub since: u64,
    pub what: What,
    pub answered: bool,
}

/// Kinds of what may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Stamp,
    Record,
    Deploy,
    Hold,
    Release,
    Approve,
    Full,
    Abort,
    Mark,
    Restore,
    Promote,
    Clear,
    Again,
    Unstamp,
}

/// What this process knows of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct Desk {
    pub reading: Option<Arc<Reading>>,
    /// False until it was read after the last thing that may have changed it.
    pub fresh: bool,
    /// The version that our last write made: nothing older is fresh.
    pub need: u64,
    pub read_at: u64,
    pub asked_at: u64,
    pub busy: Option<Busy>,
    /// The safe change sent last: restores, holds and aborts are sent again, whatever else is under way.
    pub safe: Option<(What, u64)>,
    pub safe_token: u64,
    pub announced: Option<(What, u64)>,
    pub heard: Option<Heard>,
    pub measured: Option<bool>,
    /// All was well at the input before: only then does the time since count.
    pub well: bool,
    pub gone: bool,
    /// How often the server refused a write, and why: it will not get better by itself.
    pub refusals: u32,
    pub denied: Option<Text>,
}

/// What this process knows beside its memory. Lost with it, and read anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    pub now: u64,
    pub desks: Vec<Desk>,
    /// The latest fail of a service that is no part of the train, and when it was heard.
    pub tripped: Option<(Tripped, u64)>,
    pub flags: Vec<Option<FlagReading>>,
    pub flag_sent: Vec<Option<u64>>,
    pub flag_back_at: Vec<Option<u64>>,
    pub flag_announced: Option<(u16, u8, u64)>,
    pub job_sent: Vec<Option<(u64, bool)>>,
    pub job_announced: Option<(u16, bool, u64)>,
    pub policies: Vec<Option<Verified>>,
    pub preflight: Option<Verified>,
    pub frozen: Option<Text>,
    pub kept: u64,
    pub keep_at: u64,
    pub status_kept: u64,
    pub token: u64,
    pub ordering: Vec<(Intent, u64)>,
    /// The epoch for which all objects were stamped and read.
    pub stamped: Option<(u64, Text)>,
    pub status_sent: u64,
    pub begun: bool,
    pub begun_at: u64,
    pub used_up: u64,
    /// Since when everything is read once more before the end is declared.
    pub last_look: Option<u64>,
    pub expand_well: bool,
    pub flag_well: Option<u16>,
}

/// A train, as one process sees it.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) plan: Arc<Resolved>,
    pub(super) memory: Memory,
    pub(super) sight: Sight,
}

impl State {
    /// A train that was recorded and has not begun.
    pub fn new(plan: Arc<Resolved>) -> Self {
        let memory = Memory {
            version: 1,
            entries: 0,
            phase: Phase::Planned,
            wave: 0,
            services: plan.services.iter().map(|_| ServiceMemory::new()).collect(),
            flags: plan
                .flags
                .iter()
                .map(|_| FlagMemory { recorded: None, moved: false, ramp: 0, ms: 0, back: false, failing: 0 })
                .collect(),
            jobs: plan
                .migrations
                .iter()
                .map(|_| JobMemory { reading: JobReading::Absent, sent: false, down: false })
                .collect(),
            expand_bake: 0,
            preflight_ms: 0,
            facts: Vec::new(),
            accepted: Vec::new(),
            recorded: false,
            holds: Vec::new(),
            undo: None,
            taken: Vec::new(),
            refused: Vec::new(),
            told: Vec::new(),
            closing: None,
            ended: None,
            epoch: (0, Text::default()),
            started: None,
            detected: None,
            decided: None,
            recovered: None,
            cause: None,
            alarms: Vec::new(),
        };
        Self::resume(plan, memory)
    }

    /// A train as another process left it. Nothing that was read counts any more; the plan and the memory must be of one train.
    pub fn resume(plan: Arc<Resolved>, memory: Memory) -> Self {
        let sight = Sight {
            desks: plan.services.iter().map(|_| Desk::default()).collect(),
            flags: vec![None; plan.flags.len()],
            flag_sent: vec![None; plan.flags.len()],
            flag_back_at: vec![None; plan.flags.len()],
            job_sent: vec![None; plan.migrations.len()],
            policies: vec![None; plan.policies.len()],
            ..Sight::default()
        };
        Self { plan, memory, sight }
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Resolved> {
        &self.plan
    }

    /// The memory, to be written as status.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The reading of a service, where there is one.
    pub fn reading(&self, service: ServiceId) -> Option<&Arc<Reading>> {
        self.sight.desks[usize::from(service)].reading.as_ref()
    }

    /// The phase of the train (design §6).
    pub fn phase(&self) -> Phase {
        let m = &self.memory;
        match m.closing {
            Some(Ended::Completed) => return Phase::Completed,
            Some(Ended::RolledBack) => return Phase::RolledBack,
            Some(Ended::Refused) => return Phase::Preflight,
            None => {}
        }
        if m.undo.is_some() {
            return if self.undo_is_stuck() { Phase::NeedsPerson } else { Phase::Undoing };
        }
        let needs = m.holds.iter().any(|h| match h.why {
            HoldFor::Person | HoldFor::Boundary => false,
            HoldFor::NoData(s) => m.services[usize::from(s)].no_data >= self.plan.times.no_data,
            _ => true,
        });
        if needs { Phase::NeedsPerson } else { m.phase }
    }

    /// True when something stands in the way of the taking back.
    pub(super) fn undo_is_stuck(&self) -> bool {
        let m = &self.memory;
        let stands = |s: &ServiceMemory| s.stage == Stage::Failed || s.outside.is_some() && !s.touched;
        m.undo.is_some() && (m.services.iter().any(stands) || self.ids().any(|s| self.keeps_schema(s)))
    }

    /// True when a way back of the schema waits for a service that was let go, and that nobody but a person moves.
    pub(super) fn keeps_schema(&self, s: usize) -> bool {
        let waits = |j: &JobMemory| j.down && matches!(j.reading, JobReading::Done | JobReading::Failed);
        self.memory.services[s].let_go && self.memory.jobs.iter().any(waits) && self.serves_new(s)
    }

    /// True while a version that was found bad, or that a person ordered back, may still have traffic.
    pub fn bad_traffic(&self) -> bool {
        // What fails elsewhere may be hurt by any of them.
        let elsewhere = matches!(self.memory.cause, Some((Whose::Elsewhere(_), ..)));
        let ordered = |s: &ServiceMemory| s.abort.is_some() || s.undone_by.is_some();
        let found = |s: &ServiceMemory| s.detected.is_some() || ordered(s) || elsewhere;
        let back = |s: &ServiceMemory| matches!(s.stage, Stage::Aborting | Stage::Undoing | Stage::Failed) && found(s);
        self.memory.services.iter().enumerate().any(|(s, m)| back(m) && self.serves_new(s))
    }

    /// True when the train or a part of it is held by order. Whether the workloads are: [`State::held`].
    pub fn hold_ordered(&self) -> bool {
        !self.memory.holds.is_empty()
    }

    /// True when it is held: an order, and every workload in flight says so itself.
    pub fn held(&self) -> bool {
        self.memory.holds.iter().any(|h| h.service.is_none())
            && self.memory.services.iter().zip(&self.sight.desks).all(|(s, d)| {
                !matches!(s.stage, Stage::Deploying | Stage::Stepping)
                    || d.reading.as_ref().is_some_and(|r| r.paused && r.observed || !in_flight(r))
            })
    }

    /// Where a service stands, in the words of design §6.
    pub fn train_phase(&self, service: ServiceId) -> TrainPhase {
        let s = usize::from(service);
        let moving = matches!(self.memory.services[s].stage, Stage::Deploying | Stage::Stepping);
        if moving && self.sight.desks[s].reading.as_ref().is_some_and(|r| r.paused && r.observed) {
            return TrainPhase::Held;
        }
        match self.memory.services[s].stage {
            Stage::Unchanged => TrainPhase::Unchanged,
            Stage::Waiting => TrainPhase::Waiting,
            Stage::Deploying => TrainPhase::Deploying,
            Stage::Stepping => TrainPhase::Stepping,
            Stage::Baking => TrainPhase::Baking,
            Stage::Done => TrainPhase::Done,
            Stage::Aborting => TrainPhase::Aborting,
            Stage::Aborted => TrainPhase::Aborted,
            Stage::Undoing => TrainPhase::Undoing,
            Stage::Undone => TrainPhase::Undone,
            Stage::Failed => TrainPhase::Failed,
        }
    }

    pub(super) fn touch(&mut self) {
        self.memory.version += 1;
    }

    pub(super) fn set_stage(&mut self, s: usize, stage: Stage) {
        if self.memory.services[s].stage != stage {
            self.memory.services[s].stage = stage;
            self.memory.services[s].patience = 0;
            self.touch();
        }
    }

    pub(super) fn token(&mut self) -> u64 {
        self.sight.token += 1;
        self.sight.token
    }

    pub(super) fn ids(&self) -> std::ops::Range<usize> {
        0..self.plan.services.len()
    }

    /// True when the new version of this service has traffic, as far as was read. Not read counts as yes.
    pub(super) fn serves_new(&self, s: usize) -> bool {
        let m = &self.memory.services[s];
        let reading = self.sight.desks[s].reading.as_ref();
        if m.stage == Stage::Unchanged {
            // What was let go to another hand's version may still have ours below it.
            return m.let_go && reading.is_some_and(|r| Some(&r.stable) == m.deployed.as_ref());
        }
        let Some(r) = reading else { return true };
        let Some(recorded) = &m.recorded else { return r.spec == Spec::Pinned };
        if r.spec == Spec::Other {
            // Another hand's version; ours only where it is still the stable one.
            return m.touched && Some(&r.stable) == m.deployed.as_ref();
        }
        if r.stable != *recorded {
            return true;
        }
        if matches!(m.stage, Stage::Deploying | Stage::Stepping | Stage::Baking | Stage::Done) {
            return true;
        }
        if r.spec == Spec::Pinned {
            return !r.aborted || r.weight > 0;
        }
        // A deploy may still be on its way to an object that does not bear the mark of the undo.
        // Restored, but until its controller calls it done the pods or the route of the new version may still answer.
        let on_its_way = matches!(m.stage, Stage::Undoing | Stage::Failed | Stage::Aborting | Stage::Aborted);
        m.touched && m.stage != Stage::Waiting && r.undo.is_none()
            || on_its_way && !(r.observed && r.healthy)
            || r.weight > 0
    }

    /// The scope of an order to undo, as services: what it names, and all that must go with it.
    pub fn reach(&self, scope: Scope) -> Vec<ServiceId> {
        let ids = 0..ServiceId::try_from(self.plan.services.len()).unwrap_or(ServiceId::MAX);
        let moved = |s: &ServiceId| {
            let m = &self.memory.services[usize::from(*s)];
            m.touched && m.stage != Stage::Unchanged
        };
        match scope {
            Scope::All => ids.filter(moved).collect(),
            Scope::Wave(wave) => ids.filter(moved).filter(|s| self.plan.service(*s).wave >= wave).collect(),
            Scope::Only(s) => ids.filter(moved).filter(|x| *x == s).collect(),
            Scope::Downstream(s) => {
                let built_on = self.plan.dependents(s);
                ids.filter(moved).filter(|x| *x == s || built_on.contains(x)).collect()
            }
        }
    }
}

use super::event::Spec;

/// True while a workload is between two versions.
pub(super) fn in_flight(r: &Reading) -> bool {
    !r.observed || r.current != r.stable || !r.healthy
}
