//! What a person may order, and how an order is carried out: each verb is a small state machine that is shown the facts
//! and answers with the next effect, a wait, or the end. Pure: whoever drives it reads, sends and keeps the time.
//! One family of workloads a file in `verb/`. Whether an effect may leave is not decided here (`guard.rs`).

use jiff::Timestamp;

use super::confirm::Refusal;
use super::effect::{Direction, Effect};
use super::object::{Object, ObjectRef};
use super::text::Text;
use super::workload::Workload;

pub use super::confirm::Order;

/// The verbs a workload knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Deploy the pinned image; the template before it is recorded first.
    Start {
        /// The whole image reference to set.
        image: Text,
        /// The container that gets it.
        container: Text,
    },
    /// Hold where it is.
    Pause,
    /// End a hold by a person.
    Resume,
    /// Approve the pause that waits.
    Promote,
    /// Skip all remaining steps.
    PromoteFull,
    /// Traffic back to stable, now.
    Abort,
    /// Try an aborted version again.
    Retry,
    /// Restart the pods.
    Restart,
    /// Back to what was live before.
    Undo,
}

/// What a flag is set to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagSetting {
    /// The variant that is `true` (or named `on`) for everybody.
    On,
    /// The variant that is `false` (or named `off`) for everybody.
    Off,
    /// A share of users, 0 to 100 percent, sticky by targeting key.
    Percent(u8),
}

impl Verb {
    /// Which way it moves traffic.
    pub fn direction(&self) -> Direction {
        match self {
            Self::Pause | Self::Abort | Self::Undo => Direction::Safe,
            Self::Start { .. } | Self::Resume | Self::Promote | Self::PromoteFull | Self::Retry | Self::Restart => {
                Direction::Forward
            }
        }
    }
}

/// All that a verb may look at. Raw objects, read freshly by whoever drives.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The workload; none when it is gone.
    pub object: Option<Object>,
    /// The referenced workload of a Rollout with `workloadRef`, or the target of a Flagger Canary.
    pub target: Option<Object>,
    /// The Deployment `<name>-primary` that Flagger keeps beside the target of a Canary.
    pub primary: Option<Object>,
    /// Replica sets controlled by the workload (or its target).
    pub sets: Vec<Object>,
    /// ConfigMaps that hold recorded templates of this workload (label `footplate.dev/of` = its uid).
    pub records: Vec<Object>,
    /// Pod hashes that were seen as stable, oldest first; may be empty. Evidence of what was live before.
    pub was_stable: Vec<Text>,
    /// The analysis run of the current step, where one is.
    pub run: Option<Object>,
    /// A GitOps owner whose self-heal would revert a change of the spec.
    pub owner: Option<Text>,
    /// The time of the read.
    pub now: Timestamp,
}

/// What a verb wants next.
#[derive(Clone, PartialEq, Debug)]
pub enum Next {
    /// Send this effect, then read the facts again.
    Send(Box<Effect>),
    /// Nothing to send; look again when something changed. The text says what it waits for.
    Wait(Text),
    /// Carried out and read back. The text says what was done.
    Done(Text),
    /// It will not be done.
    Refused(Refusal),
}

/// One object that a verb is aimed at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Aim {
    /// What is ordered.
    pub verb: Verb,
    /// Of which workload.
    pub workload: ObjectRef,
    /// By whom.
    pub order: Order,
    /// The service's container; without it the pod's default or first one counts.
    pub container: Option<Text>,
    /// What the person saw when they ordered it; none where nobody looked (a pipeline). A verb whose ground has moved since
    /// is not carried out on the new one.
    pub seen: Option<Seen>,
}

/// What a person saw of a workload when they ordered a verb.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Pod hash of the version that was moving.
    pub hash: Text,
    /// The step it stood at.
    pub step: Option<u32>,
    /// Why it paused; empty when it did not.
    pub pause: Text,
    /// True when it was held.
    pub held: bool,
    /// Pod hash that an undo was to go back to.
    pub undo_to: Option<Text>,
}

impl Seen {
    /// Of a workload as it is shown.
    pub fn of(workload: &Workload) -> Self {
        Self {
            hash: workload.hash.clone(),
            step: workload.step,
            pause: workload.pause.as_ref().map(|p| p.reason.clone()).unwrap_or_default(),
            held: workload.held,
            undo_to: workload.undo_to.as_ref().map(|u| u.hash.clone()),
        }
    }
}
