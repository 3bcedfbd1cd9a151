//! What a judge answers: a verdict with its reason and numbers, and the one way from it to a value that lets something move
//! forward. Nothing outside the judge can make a [`Judgement`], so nothing but a pass of a judge is a pass.

use std::time::Duration;

use jiff::Timestamp;

use crate::core::confirm::{Order, Refusal};
use crate::core::snapshot::Verdict;
use crate::core::text::Text;
pub use crate::core::verdict::Cause;
use crate::core::verified::Verified;
use crate::text;

/// The numbers of the error rule, as they were judged.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize)]
pub struct Numbers {
    /// Error rate of the judged series over the window, 0 to 1.
    pub rate: f64,
    /// What it is compared with.
    pub base: f64,
    /// From here on it is too much.
    pub limit: f64,
    /// Requests behind the rate.
    pub requests: f64,
    /// By chance at most 1 in this many.
    pub odds: f64,
    /// How many that must be for a fail.
    pub odds_needed: f64,
}

/// What a judge answers.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    pub(super) service: Text,
    pub(super) at: Duration,
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) why: Text,
    pub(super) requests: u64,
    pub(super) needed: Option<u64>,
    pub(super) estimated: bool,
    pub(super) settling: bool,
    pub(super) in_flight: bool,
    pub(super) blind_for: Duration,
    pub(super) blind_spent: bool,
    pub(super) aborted: bool,
    pub(super) fresh_for: Duration,
    pub(super) numbers: Option<Numbers>,
}

impl Judgement {
    /// The service.
    pub fn service(&self) -> &Text {
        &self.service
    }

    /// When it was judged, on the clock that only runs forward.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What kind of fault, where it failed.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Why, in one line that names the numbers.
    pub fn why(&self) -> &Text {
        &self.why
    }

    /// Requests of the judged series in the window.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// About how many more requests are needed before it can be told; none where requests do not help or are enough.
    pub fn needed(&self) -> Option<u64> {
        self.needed
    }

    /// True when the new revision's series could not be told apart and its rate was worked out from the whole service's.
    pub fn estimated(&self) -> bool {
        self.estimated
    }

    /// True when nothing is wrong and only time is missing: the first window after a change is not full yet, or an analysis of
    /// the controller still runs.
    pub fn settling(&self) -> bool {
        self.settling
    }

    /// True when it is about a new revision in flight; else the service is only watched, and only a fail matters.
    pub fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// How long nothing usable was measured while the new revision received traffic.
    pub fn blind_for(&self) -> Duration {
        self.blind_for
    }

    /// True when that was too long: the canary is to be aborted, and the train needs a person.
    pub fn blind_too_long(&self) -> bool {
        self.blind_spent
    }

    /// True when the controller could not measure and has taken the canary back by itself: nothing is left to approve.
    pub fn aborted(&self) -> bool {
        self.aborted
    }

    /// The numbers of the error rule; none where nothing could be measured.
    pub fn numbers(&self) -> Option<Numbers> {
        self.numbers
    }

    /// The proof that the gate passed, where it did and that was just now. There is no other way from a judge to a
    /// [`Verified`] that is not a person's word.
    pub fn verified(&self, now: Duration, at: Timestamp) -> Result<Verified, Refusal> {
        self.refuse_old(now)?;
        if self.verdict != Verdict::Pass || !self.in_flight {
            return Err(self.refusal("wait for the gate, or read what it waits for"));
        }
        Verified::passed(text!("gate {}", self.service), self.why.clone(), at)
    }

    /// A person's word over a gate that could not decide. A fail cannot be overruled, nor can what the controller took back
    /// already; a pass needs no overruling (`train.md` §3, §8).
    pub fn overruled(&self, order: &Order, now: Duration) -> Result<Verified, Refusal> {
        self.refuse_old(now)?;
        let undecided = matches!(self.verdict, Verdict::Inconclusive | Verdict::NoData);
        if self.aborted {
            return Err(self.refusal("the controller has taken the canary back: retry it, or undo"));
        }
        if !undecided || !self.in_flight {
            return Err(self.refusal(match self.verdict {
                Verdict::Fail => "a failed gate cannot be approved: undo, or retry with another version",
                _ => "approve it without a reason: the gate passed",
            }));
        }
        Verified::overruled(text!("gate {}", self.service), text!("{}: {}", word(self.verdict), self.why), order)
    }

    fn refuse_old(&self, now: Duration) -> Result<(), Refusal> {
        let age = now.saturating_sub(self.at);
        if age > self.fresh_for {
            let why = text!("the gate of {} was judged {} s ago", self.service, age.as_secs());
            return Err(Refusal { why, hint: Text::scrub("wait for the next evaluation"), already: false });
        }
        Ok(())
    }

    fn refusal(&self, hint: &str) -> Refusal {
        let why = if self.in_flight {
            text!("the gate of {} says {}: {}", self.service, word(self.verdict), self.why)
        } else {
            text!("no new revision of {} is in flight", self.service)
        };
        Refusal { why, hint: Text::scrub(hint), already: false }
    }
}

/// A verdict as people read it.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
        Verdict::NoData => "no data",
    }
}
