//! What a command answers when it did not do what it was asked: of which kind, why, what next, and with which exit code
//! (design.md §6). How it is printed is `console.rs`.

use std::process::ExitCode;

use crate::core::confirm::Refusal;
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind};

/// Kinds of failure, by exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// 0: whoever reads our output went away; nothing is said.
    ReaderGone,
    /// 1: the answer is no.
    No,
    /// 2: bad input, usage, a confirmation that is missing.
    Input,
    /// 3: could not reach, or not allowed.
    Outside,
    /// 4: needs a person.
    Person,
}

/// Why a command did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// By exit code.
    pub kind: FailureKind,
    /// What failed.
    pub what: Text,
    /// Why, the nearest cause first.
    pub causes: Vec<Text>,
    /// What to do next; empty when the rest says it.
    pub hint: Text,
}

impl Failure {
    /// A failure without a cause of its own.
    pub fn new(kind: FailureKind, what: impl Into<Text>, hint: impl Into<Text>) -> Self {
        Self { kind, what: what.into(), causes: Vec::new(), hint: hint.into() }
    }

    /// Adds the cause below the last one.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Text>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// A file or stream of this machine that could not be used; a reader that went away is told apart.
    pub fn io(what: impl Into<Text>, error: &std::io::Error, hint: impl Into<Text>) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::BrokenPipe => FailureKind::ReaderGone,
            _ => FailureKind::Outside,
        };
        Self::new(kind, what, hint).because(error.to_string())
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            FailureKind::ReaderGone => 0,
            FailureKind::No => 1,
            FailureKind::Input => 2,
            FailureKind::Outside => 3,
            FailureKind::Person => 4,
        })
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let kind = match fault.kind {
            FaultKind::Conflict | FaultKind::Unprocessable => FailureKind::No,
            _ => FailureKind::Outside,
        };
        Self::new(kind, fault.what, fault.hint).because(fault.why)
    }
}

impl From<Refusal> for Failure {
    /// A refusal by a rule. Missing confirmations are told by whoever asks, as [`FailureKind::Input`].
    fn from(refusal: Refusal) -> Self {
        Self::new(FailureKind::No, refusal.why, refusal.hint)
    }
}
