//! What a person may order, and how an order is carried out: each verb is a small state machine that is shown the facts
//! and answers with the next effect, a wait, or the end. Pure: whoever drives it reads, sends and keeps the time.
//! One family of workloads a file in `verb/`. Whether an effect may leave is not decided here (`guard.rs`).

use jiff::Timestamp;

use super::config_files::ConfigFiles;
use super::confirm::Refusal;
use super::effect::{Direction, Effect};
use super::object::{Object, ObjectKind, ObjectRef};
use super::text::Text;
use super::verified::Verified;
use super::workload::Workload;

pub use super::confirm::Order;
pub use super::flag::FlagSetting;

mod canary;
mod config;
mod deployment;
pub(in crate::core) mod draft;
mod holder;
#[cfg(test)]
pub(in crate::core) mod model;
mod rollout;
#[cfg(test)]
mod tests;
pub(in crate::core) mod version;

/// How often one verb sends before it gives up: each time the object had changed under its tests.
const ATTEMPTS_MAX: u32 = 12;

/// The verbs a workload knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Deploy the pinned image; the template before it is recorded first.
    Start {
        /// The whole image reference to set.
        image: Text,
        /// The container that gets it.
        container: Text,
        /// Its config files, where the release pins them; else they stay as they are.
        config: Option<ConfigFiles>,
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
    /// ConfigMaps that hold recorded templates and config files of this workload (label `footplate.dev/of` = its uid).
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

/// An order being carried out. Whoever drives it reads fresh facts, calls [`Procedure::next`], does what it says, and reads
/// again; also after a 422 (a test failed: something moved) and after a timeout (it may or may not have landed). The
/// procedure tells from the facts alone what is left to do.
#[derive(Clone, Debug)]
pub struct Procedure {
    aim: Aim,
    verified: Option<Verified>,
    machine: Machine,
}

/// The family of the workload.
#[derive(Clone, Debug)]
enum Machine {
    Rollout(Box<rollout::Machine>),
    Deployment(Box<deployment::Machine>),
    Canary(Box<canary::Machine>),
}

impl Procedure {
    /// Takes an order. A deploy needs a verified value; without one it is refused.
    pub fn new(aim: Aim, verified: Option<Verified>) -> Self {
        let machine = match aim.workload.kind {
            ObjectKind::Rollout => Machine::Rollout(Box::new(rollout::Machine::new())),
            ObjectKind::Canary => Machine::Canary(Box::default()),
            _ => Machine::Deployment(Box::default()),
        };
        Self { aim, verified, machine }
    }

    /// What is ordered.
    pub fn aim(&self) -> &Aim {
        &self.aim
    }

    /// What to do next, by these facts.
    pub fn next(&mut self, facts: &Facts) -> Next {
        let Some(object) = &facts.object else {
            return refused(crate::text!("{} is not there", self.aim.workload), "check its name and namespace");
        };
        if object.raw("/metadata/deletionTimestamp").is_some() {
            return refused(crate::text!("{} is being deleted", self.aim.workload), "nothing can be done with it");
        }
        let (aim, verified) = (&self.aim, self.verified.as_ref());
        match &mut self.machine {
            Machine::Rollout(machine) => machine.next(aim, verified, object, facts),
            Machine::Deployment(machine) => machine.next(aim, verified, object, facts),
            Machine::Canary(machine) => machine.next(aim, verified, object, facts),
        }
    }
}

/// Counts what was sent, so that an object that never stops changing is given up.
#[derive(Clone, Copy, Default, Debug)]
struct Attempts(u32);

impl Attempts {
    /// True when something was sent already.
    fn any(self) -> bool {
        self.0 > 0
    }

    fn count(self) -> u32 {
        self.0
    }

    fn send(&mut self, effect: Box<Effect>) -> Next {
        if self.0 >= ATTEMPTS_MAX {
            return refused(
                crate::text!("{} changes again each time, {} writes came to nothing", effect.object, self.0),
                "find out who writes it (a GitOps controller, another hand), then order it again",
            );
        }
        self.0 += 1;
        Next::Send(effect)
    }
}

fn wait(what: &str) -> Next {
    Next::Wait(Text::scrub(what))
}

fn done(what: Text) -> Next {
    Next::Done(what)
}

fn refused(why: Text, hint: &str) -> Next {
    Next::Refused(Refusal { why, hint: Text::scrub(hint), already: false })
}

fn refused_already(why: Text, hint: &str) -> Next {
    Next::Refused(Refusal { why, hint: Text::scrub(hint), already: true })
}

fn unverified(name: &Text) -> Next {
    refused(
        crate::text!("nothing verifies the version for {name}"),
        "let its checks pass, record a waiver, or order it by hand",
    )
}
