//! What a person orders at a screen or a command line, confirmed: the one shape in which an order reaches the engine. The
//! engine knows how it is carried out (`verb.rs`, `flag.rs`); who asked and how the question looked is not known here.

use super::confirm::{Answer, Confirmed, Order};
use super::effect::Direction;
use super::object::ObjectRef;
use super::text::Text;
use super::train::event::{Check, Want as TrainWant};
use super::verb::{FlagSetting, Seen};

/// What can be ordered. The engine knows how: it fills in images and carries the verb out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Want {
    /// Deploy the pinned version.
    Start,
    /// Hold.
    Pause,
    /// End a hold.
    Resume,
    /// Approve what waits.
    Promote,
    /// Skip the remaining steps.
    PromoteFull,
    /// Traffic back to stable.
    Abort,
    /// Try again.
    Retry,
    /// Restart the pods.
    Restart,
    /// Back to what was live before.
    Undo,
    /// Set a flag.
    Flag {
        /// Its key.
        key: Text,
        /// Where it lives, as the snapshot names it.
        source: Text,
        /// To what.
        setting: FlagSetting,
    },
    /// Go on in spite of what a train's pre-flight asked.
    Accept(Check),
    /// Conduct the train from here.
    TakeOver,
    /// Record the release as a train, which then runs by itself.
    Depart,
}

impl Want {
    /// Its name, as the command line has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Restart => "restart",
            Self::Undo => "undo",
            Self::Flag { .. } => "flag",
            Self::Accept(_) => "accept",
            Self::TakeOver => "take-over",
            Self::Depart => "depart",
        }
    }

    /// Which way it moves traffic. A flag's way depends on where it stood; see the plan.
    pub fn direction(&self) -> Direction {
        match self {
            Self::Pause | Self::Abort | Self::Undo => Direction::Safe,
            _ => Direction::Forward,
        }
    }
}

/// One thing that an order is aimed at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The service; for a flag its key.
    pub name: Text,
    /// The object that will be changed; none for a flag that lives in a file.
    pub object: Option<ObjectRef>,
    /// What the person saw of it when the plan was shown; none for a flag, or when nothing was known.
    pub seen: Option<Seen>,
}

/// An order on a train: what its Release gets. Where a train governs, verbs become these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnTrain {
    /// Its Release.
    pub release: ObjectRef,
    /// uid of its Release.
    pub uid: Text,
    /// What is ordered of it, an order each.
    pub wants: Vec<TrainWant>,
}

/// A train, ordered from the plan of its release. What is recorded for it is made only then, and the answer is given to the
/// question about exactly that; it may be about no other services than those that the person saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Departing {
    /// Names it when its outcome is told.
    pub id: u64,
    /// What the person said to the question.
    pub answer: Answer,
    /// The services that the question was about, in the order of the train.
    pub services: Vec<Text>,
    /// Who, when, why.
    pub order: Order,
}

/// An order, confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// Names it when its outcome is told.
    pub id: u64,
    /// What.
    pub want: Want,
    /// On what: each layer at once, and a layer when the one before is read back.
    pub layers: Vec<Vec<Target>>,
    /// The train that it is written down for, where one governs; the verb is then not carried out by hand.
    pub train: Option<OnTrain>,
    /// The person's answer to the question about exactly these targets.
    pub confirmed: Confirmed,
    /// Who, when, why.
    pub order: Order,
}
