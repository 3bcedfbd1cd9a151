//! The last check before any effect. [`Cleared`] is the only thing an adapter accepts for sending, and [`clear`] is the
//! only way to make one: a stray effect cannot be written, let alone sent. Rules only; facts come from the engine.

use jiff::{SignedDuration, Timestamp};

use super::confirm::{Confirmed, Refusal};
use super::effect::{Direction, Effect};
use super::snapshot::WriteMode;
use super::text::Text;

/// How old a read may be for an effect that rests on it (`train.md` §2).
pub const READ_AGE_MAX: SignedDuration = SignedDuration::from_secs(30);

/// The deadline of every write: time after which it is given up and its outcome is read back.
pub const WRITE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// What the guard goes by.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// Whether actions may leave.
    pub write: WriteMode,
    /// The person's confirmation; none where the ladder asks for none.
    pub confirmed: Option<&'a Confirmed>,
    /// The cluster's uid as pinned in footplate.yaml, and as read. Either may be unknown.
    pub cluster_uid: (Option<Text>, Option<Text>),
    /// When the facts that the effect rests on were read.
    pub read_at: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// An effect that may leave.
#[derive(Clone, PartialEq, Debug)]
pub struct Cleared {
    effect: Effect,
}

impl Cleared {
    /// The effect.
    pub fn effect(&self) -> &Effect {
        &self.effect
    }
}

/// Lets an effect pass or says why not.
pub fn clear(effect: Effect, standing: &Standing<'_>) -> Result<Cleared, Refusal> {
    let refuse = |why: Text, hint: &str| Err(Refusal { why, hint: Text::scrub(hint), already: false });
    let covered = standing.confirmed.is_some_and(|c| c.covers(&effect.object, effect.direction, standing.now));
    match standing.write {
        WriteMode::ReadWrite => {}
        WriteMode::ReadOnly => {
            return refuse(crate::text!("read-only: {} is not changed", effect.object), "open it without --read-only");
        }
        WriteMode::ReadOnlyByPattern => {
            let armed = effect.direction == Direction::Safe && covered;
            if !armed {
                return refuse(
                    crate::text!("{} is read-only by its name; only safe actions can be armed", effect.object.cluster),
                    "take the context out of read_only_contexts in config.toml, or use pause, abort or undo",
                );
            }
        }
    }
    if !covered {
        return refuse(crate::text!("no fresh confirmation covers {}", effect.object), "order it again and confirm");
    }
    if let (Some(pinned), Some(read)) = &standing.cluster_uid
        && pinned != read
    {
        return refuse(
            crate::text!("this is another cluster: its uid is {read}, footplate.yaml pins {pinned}"),
            "check the context, or correct clusterUid",
        );
    }
    let age = standing.now.duration_since(standing.read_at);
    if age > READ_AGE_MAX {
        return refuse(crate::text!("what it rests on was read {} s ago", age.as_secs()), "read again and order again");
    }
    Ok(Cleared { effect })
}
