//! Confirmation as a value: a question is asked about fixed targets, an answer that fits makes a [`Confirmed`], and the
//! guard lets an effect leave only under one that covers it. Nothing else can make a `Confirmed`.
//! Which verb asks for what is the ladder's business (`verb.rs`); how the question looks is the screen's.

use jiff::{SignedDuration, Timestamp};

use super::effect::Direction;
use super::object::ObjectRef;
use super::text::Text;

/// How long a confirmation covers effects of its order: longest time a verb may take, start to read-back.
pub const CONFIRMED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// Who orders, when and why. Every intent carries it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Order {
    /// The person, as the kubeconfig or the system names them.
    pub who: Text,
    /// When.
    pub when: Timestamp,
    /// Why; empty when not asked for.
    pub why: Text,
}

/// Why a verb does nothing: what stands against it and what to do instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Why, naming the object.
    pub why: Text,
    /// What to do next.
    pub hint: Text,
    /// True when somebody else already brought about what was ordered: no failure, nothing left to do.
    pub already: bool,
}

/// How an order must be confirmed (`train.md` §8). The variants are in rising order of weight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// At once, without a dialog.
    None,
    /// One key.
    Yes,
    /// This word is typed.
    Type(Text),
}

/// A question about fixed targets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// What must be answered.
    pub level: Confirm,
    /// Which way the effects go.
    pub direction: Direction,
    /// The objects that may be changed under the answer.
    pub targets: Vec<ObjectRef>,
}

/// What the person said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing; enough where nothing is asked.
    Nothing,
    /// Yes (`y`, `--yes`).
    Yes,
    /// A typed word (`--confirm`); counts as yes too.
    Typed(String),
}

/// How a confirmation was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Given {
    Unasked,
    Yes,
    Typed,
}

/// Proof that a person confirmed effects on fixed targets in one direction, not long ago.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Confirmed {
    targets: Vec<ObjectRef>,
    direction: Direction,
    given: Given,
    at: Timestamp,
}

impl Question {
    /// Takes the answer. Refused when it does not fit; the refusal says what would. A question that asks nothing covers
    /// nothing that goes forward: only a hold leaves without a dialog.
    pub fn answer(self, answer: &Answer, now: Timestamp) -> Result<Confirmed, Refusal> {
        if self.level == Confirm::None && self.direction == Direction::Forward {
            return Err(Refusal {
                why: Text::scrub("nothing goes forward without a question"),
                hint: Text::scrub("ask for y or for a word"),
                already: false,
            });
        }
        let fits = match (&self.level, answer) {
            (Confirm::None, _) | (Confirm::Yes, Answer::Yes | Answer::Typed(_)) => true,
            (Confirm::Type(word), Answer::Typed(said)) => !word.is_empty() && said.trim() == word.as_str(),
            _ => false,
        };
        if fits {
            let given = match self.level {
                Confirm::None => Given::Unasked,
                Confirm::Yes => Given::Yes,
                Confirm::Type(_) => Given::Typed,
            };
            return Ok(Confirmed { targets: self.targets, direction: self.direction, given, at: now });
        }
        let (why, hint) = match &self.level {
            Confirm::Type(word) => (
                crate::text!("this must be confirmed by typing {word}"),
                crate::text!("type {word}, or pass --confirm {word}"),
            ),
            _ => (Text::scrub("this must be confirmed"), Text::scrub("press y, or pass --yes")),
        };
        Err(Refusal { why, hint, already: false })
    }
}

impl Confirmed {
    /// True when an effect on this object in this direction, at this time, was confirmed. A clock that was set back ends
    /// a confirmation as one that ran on does.
    pub fn covers(&self, object: &ObjectRef, direction: Direction, now: Timestamp) -> bool {
        (self.direction == Direction::Forward || direction == Direction::Safe)
            && self.targets.contains(object)
            && now.duration_since(self.at).abs() <= CONFIRMED_FOR
    }

    /// As [`Confirmed::covers`], for what is no object of a cluster (a flag file): the question named no object.
    pub fn covers_outside(&self, direction: Direction, now: Timestamp) -> bool {
        (self.direction == Direction::Forward || direction == Direction::Safe)
            && self.targets.is_empty()
            && now.duration_since(self.at).abs() <= CONFIRMED_FOR
    }

    /// True when it arms a safe effect in a context that is read-only by pattern: a word was typed, or the ladder asks for
    /// nothing there either (a hold).
    pub fn arms(&self) -> bool {
        self.given != Given::Yes
    }
}
