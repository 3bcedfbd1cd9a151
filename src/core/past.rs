//! Trains as they are looked back on: what a `Release` records of its run (`train.md` §8), whole and of each service. Values; made
//! of a Release in `release/past.rs`. What follows from many of them is `dora.rs`.

use jiff::{SignedDuration, Timestamp};

use super::text::Text;
use super::train::Phase;
use super::verdict::{Cause, TrainPhase};
use crate::text;

/// How a train came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything is at its pinned version.
    Completed,
    /// Everything is as it was before.
    RolledBack,
    /// It never set off.
    Refused,
    /// It is not over.
    Active(Phase),
    /// Its record cannot be understood, and why.
    Unreadable(Text),
}

impl Outcome {
    /// The word of design §6 (`refused` and `unreadable` are ours).
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed | Self::Active(Phase::Completed) => "completed",
            Self::RolledBack | Self::Active(Phase::RolledBack) => "rolled-back",
            Self::Refused => "refused",
            Self::Active(Phase::Planned) => "planned",
            Self::Active(Phase::Preflight) => "preflight",
            Self::Active(Phase::Expanding) => "expanding",
            Self::Active(Phase::Rolling) => "rolling",
            Self::Active(Phase::Flags) => "flags",
            Self::Active(Phase::Undoing) => "undoing",
            Self::Active(Phase::NeedsPerson) => "needs-person",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

/// One service of a past train.
#[derive(Clone, PartialEq, Debug)]
pub struct PastService {
    /// Its name.
    pub name: Text,
    /// The pinned version.
    pub version: Text,
    /// The commit it was built from and when that was made, where known.
    pub commit: Option<(Text, Timestamp)>,
    /// Where it stood at the end, or stands.
    pub phase: TrainPhase,
    /// True when this train deployed it, or may have.
    pub deployed: bool,
    /// When its deploy landed.
    pub started: Option<Timestamp>,
    /// When it was through.
    pub healthy: Option<Timestamp>,
    /// When it was found bad.
    pub detected: Option<Timestamp>,
    /// When its traffic was back.
    pub recovered: Option<Timestamp>,
    /// Why it was taken back.
    pub cause: Option<Cause>,
    /// True when a gate decided that, false when a person did; none when nobody did.
    pub automatic: Option<bool>,
}

/// What brought a train down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blame {
    /// The service.
    pub service: Text,
    /// Of which kind.
    pub cause: Cause,
    /// In words, with figures.
    pub why: Text,
}

/// One train, looked back on.
#[derive(Clone, PartialEq, Debug)]
pub struct PastTrain {
    /// Name of its `Release` object.
    pub name: Text,
    /// The four letters.
    pub id: Text,
    /// The release.
    pub release: Text,
    /// The environment.
    pub environment: Text,
    /// Who started it.
    pub by: Text,
    /// How it came out.
    pub outcome: Outcome,
    /// When it was recorded.
    pub created: Option<Timestamp>,
    /// When it set off.
    pub started: Option<Timestamp>,
    /// When its end was written down.
    pub ended: Option<Timestamp>,
    /// The verdict that failed it.
    pub detected: Option<Timestamp>,
    /// The durable order to take it back.
    pub decided: Option<Timestamp>,
    /// Traffic was back, read back.
    pub recovered: Option<Timestamp>,
    /// What tripped.
    pub cause: Option<Blame>,
    /// Who took it back, and true when a gate decided that.
    pub undone: Option<(Text, bool)>,
    /// The link of an incident.
    pub incident: Option<Text>,
    /// Its services, in the order of the plan.
    pub services: Vec<PastService>,
}

impl PastTrain {
    /// When it began: set off, or was recorded.
    pub fn began(&self) -> Option<Timestamp> {
        self.started.or(self.created)
    }

    /// How long it took; none while it runs or where that was not recorded.
    pub fn took(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.started?)).filter(|took| !took.is_negative())
    }

    /// True when it put something in front of users.
    pub fn deployed(&self) -> bool {
        self.services.iter().any(|service| service.deployed)
    }

    /// Why it did not go through, in one line; empty when nothing is to be said.
    pub fn trouble(&self) -> Text {
        let hand = match &self.undone {
            Some((_, true)) => text!("by itself"),
            Some((who, false)) => text!("by {who}"),
            None => Text::default(),
        };
        match (&self.outcome, &self.cause) {
            (Outcome::Unreadable(why), _) => why.clone(),
            (_, Some(blame)) if hand.is_empty() => text!("{}: {}", blame.service, cause_word(blame.cause)),
            (_, Some(blame)) => text!("{}: {}, {hand}", blame.service, cause_word(blame.cause)),
            (_, None) => hand,
        }
    }
}

/// The word of a cause, as the Release has it.
pub fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::Infrastructure => "infrastructure",
        Cause::Logic => "logic",
        Cause::Performance => "performance",
    }
}

/// Puts trains in the order in which they are shown: the newest first, those without a time last.
pub fn newest_first(trains: &mut [PastTrain]) {
    trains.sort_by(|a, b| b.began().cmp(&a.began()).then_with(|| a.name.cmp(&b.name)));
}
