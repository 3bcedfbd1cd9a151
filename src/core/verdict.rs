//! The words of gates and of services on their way, as every room uses them (design §2, §6). What they follow from is not here.

use serde::{Deserialize, Serialize};

/// Where a service stands in the train. Words of design §6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum TrainPhase {
    Unchanged,
    Waiting,
    Deploying,
    Stepping,
    Held,
    Baking,
    Done,
    Aborting,
    Aborted,
    Undoing,
    Undone,
    Failed,
}

impl TrainPhase {
    /// The phase that a word of design §6 names.
    pub fn of_word(word: &str) -> Option<Self> {
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};
        let word: StrDeserializer<'_, Error> = word.into_deserializer();
        Self::deserialize(word).ok()
    }

    /// The word of design §6.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Waiting => "waiting",
            Self::Deploying => "deploying",
            Self::Stepping => "stepping",
            Self::Held => "held",
            Self::Baking => "baking",
            Self::Done => "done",
            Self::Aborting => "aborting",
            Self::Aborted => "aborted",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Failed => "failed",
        }
    }
}

/// A verdict of a gate. Only `Pass` advances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Measured and good.
    Pass,
    /// Measured and bad.
    Fail,
    /// Measured, neither.
    Inconclusive,
    /// Not measured: NaN, empty, stale, too few.
    NoData,
}

/// What a trip was about (`train.md` §8); the words of the Release's `cause`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Pods do not start, die, or do not become ready.
    Infrastructure,
    /// Answers are wrong.
    Logic,
    /// Answers are slow.
    Performance,
}
