//! What a train wants done outside, as values. Each change of an object carries its preconditions as data, and the two
//! directions are two types: a [`Forward`] can only be made with a proof and an [`Epoch`], a [`Safe`] with neither. How they
//! become patches, and sending them, is the engine's; which are wanted when is decided in the other rooms of `train/`.

use super::event::{Intent, Pause};
use super::resolved::{Resolved, ServiceId, Setting};
use crate::core::elector::Epoch;
use crate::core::mutant::Mutant;
use crate::core::text::Text;
use crate::core::train::event::Reading;
use crate::core::verified::Verified;
use crate::text;

/// What a stamp must be for a patch to land.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stamp<T> {
    /// Anything.
    Any,
    /// None.
    Absent,
    /// This one.
    Is(T),
}

/// Under which conditions a patch lands. The server tests them in one with the change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tests {
    /// `metadata.uid`: always.
    pub uid: Text,
    /// `metadata.generation`.
    pub generation: Option<u64>,
    /// Stamp of the train.
    pub train: Stamp<Text>,
    /// Stamp of the epoch.
    pub epoch: Stamp<(u64, Text)>,
    /// Stamp of a hold.
    pub hold: Stamp<Text>,
    /// Stamp of an undo.
    pub undo: Stamp<Text>,
    /// `status.currentPodHash`.
    pub hash: Option<Text>,
    /// `status.currentStepIndex`, and the pause conditions as read.
    pub step: Option<(u32, Option<Pause>)>,
    /// The image is the one that this train sets.
    pub ours: bool,
    /// `status.abort`.
    pub aborted: Option<bool>,
}

impl Tests {
    fn on(reading: &Reading) -> Self {
        Self {
            uid: reading.uid.clone(),
            generation: None,
            train: Stamp::Any,
            epoch: Stamp::Any,
            hold: Stamp::Any,
            undo: Stamp::Any,
            hash: None,
            step: None,
            ours: false,
            aborted: None,
        }
    }
}

/// What is changed on a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Stamp train and epoch.
    Stamp {
        /// The epoch to write: number and holder.
        epoch: (u64, Text),
    },
    /// Set the pinned image and config in the template.
    Deploy {
        /// Annotate the template with the train and this number, so that its hash is new and all steps run; 0 for no mark. The
        /// train alone would not do: the second retry within one train would be jumped to.
        mark: u32,
    },
    /// `spec.paused=true` and this stamp.
    Hold(Text),
    /// `spec.paused=false`, and the hold's stamp goes.
    Release,
    /// End the pause that waits; over an inconclusive analysis also one step on.
    Approve {
        /// True over an inconclusive analysis.
        inconclusive: bool,
    },
    /// `status.promoteFull=true` for the new version.
    Full,
    /// `status.abort=true`.
    Abort,
    /// Main patch after an abort: stamp of the undo, `spec.paused=false`.
    MarkUndo,
    /// The recorded template, stamp of the undo, `spec.paused=false`, in one.
    Restore,
    /// `status.promoteFull=true` for the recorded version.
    PromoteRecorded,
    /// The stamp of an undo goes, so that something may go forward again.
    ClearUndo,
    /// `status.abort=false`.
    Again,
    /// The stamps of train, hold and undo go. The epoch stays: it fences off whoever does not know that the train has ended.
    Unstamp,
}

/// A change in the safe direction: needs nobody's leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Safe {
    service: ServiceId,
    change: Change,
    tests: Tests,
    intent: u64,
}

/// A change that moves the release on, or that only a conductor may make.
#[derive(Clone, PartialEq, Debug)]
pub struct Forward {
    service: ServiceId,
    change: Change,
    tests: Tests,
    epoch: u64,
    deadline: u64,
    ground: Vec<Text>,
}

/// Proof that everything the train asks for was checked or waived.
#[derive(Clone, PartialEq, Debug)]
pub struct Proof(Vec<Verified>);

impl Proof {
    /// All policies of the plan have a verified value; none is missing.
    pub(super) fn of(plan: &Resolved, policies: &[Option<Verified>], preflight: Option<&Verified>) -> Option<Self> {
        if plan.broken(Mutant::ProofNotNeeded) {
            return Some(Self(Vec::new()));
        }
        let mut all = vec![preflight?.clone()];
        if policies.len() < plan.policies.len() {
            return None;
        }
        for policy in policies {
            all.push(policy.clone()?);
        }
        Some(Self(all))
    }
}

macro_rules! parts {
    ($of:ty) => {
        impl $of {
            /// Of which service.
            pub fn service(&self) -> ServiceId {
                self.service
            }
            /// What is changed.
            pub fn change(&self) -> &Change {
                &self.change
            }
            /// Under which conditions.
            pub fn tests(&self) -> &Tests {
                &self.tests
            }
        }
    };
}
parts!(Safe);
parts!(Forward);

impl Safe {
    /// The intent that it carries out.
    pub fn intent(&self) -> u64 {
        self.intent
    }

    fn on(plan: &Resolved, service: ServiceId, reading: &Reading, change: Change, intent: u64) -> Self {
        let mut tests = Tests::on(reading);
        // A stamp that somebody wiped is not asked for; the generation then is.
        if reading.train.is_some() {
            tests.train = Stamp::Is(plan.uid.clone());
        } else {
            tests.generation = Some(reading.generation);
        }
        Self { service, change, tests, intent }
    }

    /// A hold; success when the object is being undone already (422).
    pub fn hold(plan: &Resolved, service: ServiceId, reading: &Reading, id: u64, gate: bool) -> Self {
        let mut safe = Self::on(plan, service, reading, Change::Hold(hold_value(plan, id, gate)), id);
        if !plan.broken(Mutant::UndoNotTestedByHold) {
            safe.tests.undo = Stamp::Absent;
        }
        safe
    }

    /// An abort on `/status`, of the version that this train deployed.
    pub fn abort(plan: &Resolved, service: ServiceId, reading: &Reading, deployed: &Text, intent: u64) -> Self {
        let mut safe = Self::on(plan, service, reading, Change::Abort, intent);
        safe.tests.hash = Some(deployed.clone());
        safe
    }

    /// What follows an abort at once.
    pub fn mark_undo(plan: &Resolved, service: ServiceId, reading: &Reading, intent: u64) -> Self {
        Self::on(plan, service, reading, Change::MarkUndo, intent)
    }

    /// The recorded template goes back, where the image is the one that this train set.
    pub fn restore(plan: &Resolved, service: ServiceId, reading: &Reading, intent: u64) -> Self {
        let mut safe = Self::on(plan, service, reading, Change::Restore, intent);
        safe.tests.ours = !plan.broken(Mutant::RestoreOverOthers);
        safe
    }

    /// All the way to the recorded version at once, where it would walk its steps.
    pub fn promote_recorded(
        plan: &Resolved,
        service: ServiceId,
        reading: &Reading,
        recorded: &Text,
        intent: u64,
    ) -> Self {
        let mut safe = Self::on(plan, service, reading, Change::PromoteRecorded, intent);
        safe.tests.hash = Some(recorded.clone());
        safe
    }
}

impl Forward {
    /// The epoch under which it was made.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// It must be answered within this many milliseconds, or be given up: less than what is left of the lease.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// What it rests on.
    pub fn ground(&self) -> &[Text] {
        &self.ground
    }

    fn on(plan: &Resolved, service: ServiceId, reading: &Reading, change: Change, epoch: &Epoch) -> Self {
        let mut tests = Tests::on(reading);
        tests.generation = Some(reading.generation);
        tests.train = Stamp::Is(plan.uid.clone());
        tests.epoch = if plan.broken(Mutant::EpochNotTested) { Stamp::Any } else { Stamp::Is(mark(epoch)) };
        tests.hold = if plan.broken(Mutant::HoldNotTested) { Stamp::Any } else { Stamp::Absent };
        tests.undo = if plan.broken(Mutant::HoldNotTested) { Stamp::Any } else { Stamp::Absent };
        let deadline = epoch.remaining().min(plan.times.write);
        Self { service, change, tests, epoch: epoch.number(), deadline, ground: Vec::new() }
    }

    fn proven(mut self, proof: &Proof) -> Self {
        self.ground = proof.0.iter().map(Verified::says).collect();
        self
    }

    fn at_step(mut self, plan: &Resolved, reading: &Reading) -> Self {
        self.tests.hash = Some(reading.current.clone());
        if !plan.broken(Mutant::StepNotTested) {
            self.tests.step = Some((reading.step, reading.pause));
        }
        self
    }

    /// Takes the object under this epoch: in place of a lower one, or of none, or of a train that has ended. Moves nothing, so
    /// it needs no proof.
    pub(super) fn stamp(plan: &Resolved, service: ServiceId, reading: &Reading, epoch: &Epoch) -> Self {
        let mut forward = Self::on(plan, service, reading, Change::Stamp { epoch: mark(epoch) }, epoch);
        forward.tests.train = reading.train.clone().map_or(Stamp::Absent, Stamp::Is);
        forward.tests.epoch = reading.epoch.clone().map_or(Stamp::Absent, Stamp::Is);
        if plan.broken(Mutant::EpochNotTested) {
            forward.tests.epoch = Stamp::Any;
        }
        forward.tests.generation = None;
        forward.tests.hold = Stamp::Any;
        forward.tests.undo = Stamp::Any;
        forward
    }

    /// Sets the pinned version.
    pub(super) fn deploy(plan: &Resolved, service: ServiceId, reading: &Reading, epoch: &Epoch, proof: &Proof) -> Self {
        let change = Change::Deploy { mark: reading.mark };
        let mut forward = Self::on(plan, service, reading, change, epoch).proven(proof);
        forward.tests.hash = Some(reading.current.clone());
        forward
    }

    /// Ends the hold with this stamp.
    pub(super) fn release(
        plan: &Resolved,
        service: ServiceId,
        reading: &Reading,
        epoch: &Epoch,
        proof: &Proof,
    ) -> Self {
        let mut forward = Self::on(plan, service, reading, Change::Release, epoch).proven(proof);
        forward.tests.hold = reading.hold.clone().map_or(Stamp::Absent, Stamp::Is);
        forward
    }

    /// Ends the pause that waits.
    pub(super) fn approve(
        plan: &Resolved,
        service: ServiceId,
        reading: &Reading,
        epoch: &Epoch,
        proof: &Proof,
    ) -> Self {
        let inconclusive = reading.pause == Some(Pause::Inconclusive);
        Self::on(plan, service, reading, Change::Approve { inconclusive }, epoch).proven(proof).at_step(plan, reading)
    }

    /// Skips the remaining steps.
    pub(super) fn full(plan: &Resolved, service: ServiceId, reading: &Reading, epoch: &Epoch, proof: &Proof) -> Self {
        Self::on(plan, service, reading, Change::Full, epoch).proven(proof).at_step(plan, reading)
    }

    /// Makes room for another try: the stamp of the undo that was answered goes.
    pub(super) fn clear_undo(
        plan: &Resolved,
        service: ServiceId,
        reading: &Reading,
        epoch: &Epoch,
        proof: &Proof,
    ) -> Self {
        let mut forward = Self::on(plan, service, reading, Change::ClearUndo, epoch).proven(proof);
        forward.tests.undo = reading.undo.clone().map_or(Stamp::Absent, Stamp::Is);
        forward
    }

    /// Lets an aborted version walk again.
    pub(super) fn again(plan: &Resolved, service: ServiceId, reading: &Reading, epoch: &Epoch, proof: &Proof) -> Self {
        let mut forward = Self::on(plan, service, reading, Change::Again, epoch).proven(proof);
        forward.tests.hash = Some(reading.current.clone());
        forward.tests.aborted = Some(true);
        forward
    }

    /// The train has ended here.
    pub(super) fn unstamp(plan: &Resolved, service: ServiceId, reading: &Reading, epoch: &Epoch) -> Self {
        let mut forward = Self::on(plan, service, reading, Change::Unstamp, epoch);
        forward.tests.generation = None;
        forward.tests.hold = Stamp::Any;
        forward.tests.undo = Stamp::Any;
        forward
    }
}

/// The epoch as objects bear it.
pub fn mark(epoch: &Epoch) -> (u64, Text) {
    (epoch.number(), epoch.holder().clone())
}

/// The value of a hold's stamp.
pub fn hold_value(plan: &Resolved, id: u64, gate: bool) -> Text {
    text!("{}/{}{id:x}", plan.uid, if gate { "gate-" } else { "" })
}

/// A flag is set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlagChange {
    /// Which.
    pub flag: u16,
    /// To what.
    pub to: Setting,
    /// Under the test of this version of what holds it.
    pub version: u64,
    /// True when it goes back: then nobody's leave is needed.
    pub back: bool,
    /// The epoch under which a move forward was made.
    pub epoch: Option<u64>,
}

/// What happened that others want to know, once each (CloudEvents).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tell {
    /// The train set off.
    Started,
    /// It is through.
    Finished,
    /// It was taken back.
    RolledBack,
}

/// One thing to do. The number names it in the answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// A change in the safe direction.
    Safe(u64, Safe),
    /// A change that only a conductor may make.
    Forward(u64, Forward),
    /// Record the live template of a service under its deterministic name (409: it is there).
    Record(u64, ServiceId),
    /// Set a flag.
    Flag(u64, FlagChange),
    /// Run an expand step, or its way back, under its deterministic name.
    Job {
        /// Names it in the answer.
        token: u64,
        /// Which expand step.
        migration: u16,
        /// True for the way back.
        down: bool,
        /// The epoch.
        epoch: u64,
    },
    /// Push the commit of a wave (`deploy: git`).
    Commit {
        /// Names it in the answer.
        token: u64,
        /// Which wave.
        wave: u16,
        /// The epoch.
        epoch: u64,
    },
    /// Push the revert of these services (`deploy: git`).
    Revert(u64, Vec<ServiceId>),
    /// Suspend automated sync for a service: git still says NEW.
    SuspendSync(u64, ServiceId),
    /// Make this order durable, under the test that the status bears its epoch ([`Intent::epoch`]); it comes back as
    /// [`super::event::Event::Ordered`]. Where that test fails it is dropped: another conductor has taken over, or the first status
    /// of this one is still on its way, and the order is asked for again a second later.
    Order(Intent),
    /// Make the journal durable up to this entry.
    Keep(u64),
    /// Write the status.
    Status(u64),
    /// Read a workload now.
    Read(ServiceId),
    /// Read a flag now.
    ReadFlag(u16),
    /// Take a service's baseline, just before its deploy.
    Measure(ServiceId),
    /// Emit an event, once a train and kind.
    Tell(Tell),
    /// Something that a person must see. Does not stop anything.
    Alarm(ServiceId, Text),
    /// Call a person.
    Page(Text),
    /// Objects bear a higher epoch than ours: the Lease must be claimed above it.
    EpochUsedUp(u64),
}

impl Change {
    /// What it does, in words.
    pub fn says(&self) -> &'static str {
        match self {
            Self::Stamp { .. } => "take it under this train",
            Self::Deploy { mark: 0 } => "set the pinned version",
            Self::Deploy { .. } => "set the pinned version, under a mark that makes its template new",
            Self::Hold(_) => "hold",
            Self::Release => "end the hold",
            Self::Approve { inconclusive: false } => "end the pause",
            Self::Approve { inconclusive: true } => "go on over the inconclusive analysis",
            Self::Full => "skip the remaining steps",
            Self::Abort => "abort: traffic back to stable",
            Self::MarkUndo => "mark the undo, end a hold",
            Self::Restore => "restore the recorded template",
            Self::PromoteRecorded => "promote the recorded version fully",
            Self::ClearUndo => "make room for another try",
            Self::Again => "try the aborted version again",
            Self::Unstamp => "take the train's stamps away",
        }
    }
}
