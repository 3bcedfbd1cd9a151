//! The train: its id, its phases, and the machine that conducts it. `step` takes a state and one input and gives the next
//! state and what to do outside; one concern a file in `train/`. Nothing here reads, sends, waits or knows a wire format.
//! The rules are `train.md`; what must never happen is checked by `tests/campaign/`, which does not import this room.

use serde::{Deserialize, Serialize};

use super::text::Text;

pub mod auto;
pub mod effect;
pub mod event;
mod expand;
pub mod fits;
pub mod flags;
pub mod hands;
pub mod hold;
pub mod journal;
mod orders;
mod outside;
pub mod preflight;
pub mod resolved;
mod service;
pub mod state;
mod step;
#[cfg(test)]
mod tests;
mod undo;
pub mod why;

pub use state::State;
pub use step::{Role, step};

/// Letters of a train id: no vowels, so that no id is a word, and none that is taken for another over the phone.
const LETTERS: &[u8; 19] = b"BCDFGHJKMNPQRTVWXYZ";

/// How many letters a train id has.
pub const TRAIN_ID_LETTERS: usize = 4;

/// Phase of a train (design.md §6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Recorded, not begun.
    Planned,
    /// Its conditions are being checked.
    Preflight,
    /// Expand steps run.
    Expanding,
    /// Services move, wave by wave.
    Rolling,
    /// Flags move.
    Flags,
    /// Everything is at its pinned version.
    Completed,
    /// It is being taken back.
    Undoing,
    /// Everything is as it was before.
    RolledBack,
    /// Nothing goes on until a person decides.
    NeedsPerson,
}

impl Phase {
    /// True once its conditions were met: from then on something may have been moved.
    pub fn has_set_off(self) -> bool {
        !matches!(self, Self::Planned | Self::Preflight)
    }
}

/// The id of a train: four letters that differ between environments, clusters and runs of the same release, so that an
/// id typed for one cannot confirm another (`train.md` §8). Without a `Release` object its uid is empty.
pub fn train_id(manifest_sha256: &str, cluster_uid: &str, environment: &str, release_uid: &str) -> Text {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [manifest_sha256, cluster_uid, environment, release_uid] {
        // The length goes before each part, so that no two lists of parts are one text.
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finish();
    let letters = digest.as_ref().chunks(8).take(TRAIN_ID_LETTERS).map(|chunk| {
        let number = chunk.iter().fold(0u64, |n, b| (n << 8) | u64::from(*b));
        let index = usize::try_from(number % LETTERS.len() as u64).unwrap_or_default();
        char::from(LETTERS[index])
    });
    Text::scrub(&letters.collect::<String>())
}

#[cfg(test)]
mod id_tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_stable_and_told_apart() {
        let id = train_id("sha", "uid", "prod", "1");
        assert_eq!(id, train_id("sha", "uid", "prod", "1"));
        assert_eq!(id.len(), TRAIN_ID_LETTERS);
        for other in [
            train_id("sha", "uid", "staging", "1"),
            train_id("sha", "other", "prod", "1"),
            train_id("sha", "uid", "prod", "2"),
            train_id("sha2", "uid", "prod", "1"),
            train_id("shau", "id", "prod", "1"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn phases_are_written_as_promised() {
        let word = |p: Phase| serde_json::to_value(p).unwrap();
        assert_eq!(word(Phase::RolledBack), "rolled-back");
        assert_eq!(word(Phase::NeedsPerson), "needs-person");
    }

    proptest! {
        #[test]
        fn an_id_is_four_of_our_letters(a in ".*", b in ".*", c in ".*", d in ".*") {
            let id = train_id(&a, &b, &c, &d);
            prop_assert!(id.len() == TRAIN_ID_LETTERS && id.bytes().all(|b| LETTERS.contains(&b)));
        }
    }
}
