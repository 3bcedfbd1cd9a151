//! What the screen shows of a train: what its Release says, who conducts, and what follows for a person. Plain values; made of a
//! Release by `core/captain.rs`. What to order of it is decided there too.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{TrainPhase, Verdict};
use crate::core::object::ObjectRef;
use crate::core::text::Text;
use crate::core::train::Phase;
use crate::core::train::event::{Check, Scope, Want};
use crate::core::train::resolved::{Resolved, ServiceId};
use crate::core::train::state::{Ended, Hold, Memory, Stage, State};

/// Within this much after the verdict its traffic is to be back (`train.md` §4).
pub const BACK_WITHIN: SignedDuration = SignedDuration::from_secs(90);

/// Who conducts, as far as this process can tell by its own clock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Conductor {
    /// Not read yet, or not to be read, or too early to tell whether who holds the Lease is alive.
    #[default]
    Unknown,
    /// There is no Lease, it was given back, or it has run out.
    Nobody,
    /// This one renews the Lease.
    Works(Text),
    /// This one holds the Lease and has not renewed it since.
    Silent(Text, Timestamp),
}

impl Conductor {
    /// Its name, where there is one that holds the Lease.
    pub fn name(&self) -> Option<&Text> {
        match self {
            Self::Works(name) | Self::Silent(name, _) => Some(name),
            Self::Unknown | Self::Nobody => None,
        }
    }
}

/// A person that the train waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrainNeed {
    /// Who.
    pub who: Text,
    /// What, naming what answers it.
    pub what: Text,
    /// Of which service; empty for the train.
    pub service: Text,
    /// When they are called, or it is given up.
    pub until: Timestamp,
}

/// One service of a train.
#[derive(Clone, PartialEq, Debug)]
pub struct TrainService {
    /// Its name.
    pub name: Text,
    /// Where it stands.
    pub phase: TrainPhase,
    /// Step and how many there are.
    pub step: u32,
    /// See `step`.
    pub steps: u32,
    /// What the guard said last.
    pub verdict: Option<Verdict>,
    /// Why, with figures.
    pub evidence: Text,
    /// What it waits for.
    pub waits: Text,
}

/// One line of the pre-flight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckShown {
    /// What was looked at; none where only its words are known.
    pub check: Option<Check>,
    /// In words.
    pub name: Text,
    /// `good`, `warn`, `ask`, `refuse`, `unknown`.
    pub found: Text,
    /// What was found, and what to do.
    pub says: Text,
    /// True when a person has said to go on in spite of it.
    pub accepted: bool,
}

/// What became of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The conductor has not named it yet.
    NotYet,
    /// It was taken in.
    Yes,
    /// It was refused.
    Refused(Text),
    /// Another hand carried it out.
    ByHand(Text),
}

/// One order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderShown {
    /// Names it.
    pub id: u64,
    /// Who.
    pub who: Text,
    /// When.
    pub when: Timestamp,
    /// What, in words.
    pub says: Text,
    /// What exactly.
    pub want: Want,
    /// What became of it.
    pub taken: Taken,
}

/// A train.
#[derive(Clone, PartialEq, Debug)]
pub struct TrainShown {
    /// Its Release.
    pub object: ObjectRef,
    /// uid of its Release.
    pub uid: Text,
    /// The plan.
    pub plan: Arc<Resolved>,
    /// Workloads, as the services of the plan.
    pub workloads: Arc<[ObjectRef]>,
    /// What its conductor remembers; none before one took it up, or when it cannot be understood.
    pub memory: Option<Arc<Memory>>,
    /// Where it stands.
    pub phase: Phase,
    /// The wave, from 0.
    pub wave: u16,
    /// How many there are.
    pub waves: u16,
    /// Held: ordered, and every workload in flight says so.
    pub held: bool,
    /// Who conducts.
    pub conductor: Conductor,
    /// What it waits for.
    pub waits: Text,
    /// What persons are waited for.
    pub needs: Vec<TrainNeed>,
    /// Services, as in the plan.
    pub services: Vec<TrainService>,
    /// The pre-flight.
    pub checks: Vec<CheckShown>,
    /// Orders of people, oldest first.
    pub orders: Vec<OrderShown>,
    /// When it set off.
    pub started: Option<Timestamp>,
    /// When the verdict fell that failed it.
    pub detected: Option<Timestamp>,
    /// When it was ordered to be taken back.
    pub decided: Option<Timestamp>,
    /// When its traffic was back.
    pub recovered: Option<Timestamp>,
    /// What tripped.
    pub cause: Option<Text>,
    /// How it ended.
    pub result: Option<Ended>,
    /// When its status was written last.
    pub written: Option<Timestamp>,
    /// The link of an incident.
    pub incident: Option<Text>,
    /// How long it was estimated to take.
    pub estimate: SignedDuration,
    /// What of it cannot be read, and what that means; empty when nothing.
    pub trouble: Text,
}

impl TrainShown {
    /// The four letters.
    pub fn id(&self) -> &Text {
        &self.plan.id
    }

    /// True until its end is written down.
    pub fn active(&self) -> bool {
        self.result.is_none()
    }

    /// The service whose workload this is.
    pub fn service_of(&self, workload: &ObjectRef) -> Option<ServiceId> {
        let at = self.workloads.iter().position(|w| w.kind == workload.kind && w.name == workload.name)?;
        ServiceId::try_from(at).ok()
    }

    /// The service of this name.
    pub fn named(&self, name: &str) -> Option<ServiceId> {
        let at = self.plan.services.iter().position(|s| *s.name == *name)?;
        ServiceId::try_from(at).ok()
    }

    /// What is known of a service.
    pub fn service(&self, id: ServiceId) -> Option<&TrainService> {
        self.services.get(usize::from(id))
    }

    /// Holds, oldest first.
    pub fn holds(&self) -> &[Hold] {
        self.memory.as_ref().map_or(&[], |memory| &memory.holds)
    }

    /// The services that an undo of this scope takes back.
    pub fn reach(&self, scope: Scope) -> Vec<ServiceId> {
        self.state().reach(scope)
    }

    /// The train as a process takes it up that has read nothing yet.
    pub fn state(&self) -> State {
        match &self.memory {
            Some(memory) => State::resume(Arc::clone(&self.plan), Memory::clone(memory)),
            None => State::new(Arc::clone(&self.plan)),
        }
    }

    /// Since when it is being taken back, and which services are not back yet; none when it is not.
    pub fn undo(&self) -> Option<(Timestamp, Vec<&Text>)> {
        let memory = self.memory.as_ref()?;
        let undo = memory.undo.as_ref().filter(|_| self.active() && memory.closing.is_none())?;
        let stages = memory.services.iter().zip(&self.plan.services);
        let left = stages.filter(|(m, _)| matches!(m.stage, Stage::Undoing | Stage::Failed)).map(|(_, s)| &s.name);
        Some((undo.since, left.collect()))
    }

    /// How long it has been under way; none before it set off.
    pub fn elapsed(&self, now: Timestamp) -> Option<SignedDuration> {
        let end = if self.active() { now } else { self.written.unwrap_or(now) };
        Some(end.duration_since(self.started?).max(SignedDuration::ZERO))
    }

    /// When it is likely to be through, as it was estimated when it set off.
    pub fn eta(&self) -> Option<Timestamp> {
        let on_its_way = matches!(self.phase, Phase::Expanding | Phase::Rolling | Phase::Flags);
        self.started.filter(|_| on_its_way && self.active())?.checked_add(self.estimate).ok()
    }

    /// How far the taking back is: seconds since the verdict (or the order where nothing tripped), of [`BACK_WITHIN`].
    pub fn taking_back_for(&self, now: Timestamp) -> Option<SignedDuration> {
        let (since, _) = self.undo()?;
        let since = self.detected.unwrap_or(since);
        Some(now.duration_since(since).max(SignedDuration::ZERO))
    }
}
