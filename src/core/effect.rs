//! One change made outside: what is sent, where, under which preconditions. An effect is only a value; it can leave the
//! program as [`super::guard::Cleared`] alone, and only the guard makes those.

use serde_json::Value;

use super::object::ObjectRef;
use super::text::Text;

/// Which way a verb moves traffic; the confirmation ladder and the guard go by it (`train.md` §2, §8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Hold, abort, flag back, restore: never blocked.
    Safe,
    /// Everything that moves a release on.
    Forward,
}

/// What is changed.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// RFC 6902, on the main resource. Begins with `test` operations that hold the preconditions; a failed one is HTTP 422
    /// and changes nothing.
    Patch(json_patch::Patch),
    /// The same on the `status` subresource; the server drops what is not status.
    PatchStatus(json_patch::Patch),
    /// Creates an object under a deterministic name; one that exists already (409) counts as done.
    Create(Value),
}

/// One change made outside.
#[derive(Clone, PartialEq, Debug)]
pub struct Effect {
    /// Of which object.
    pub object: ObjectRef,
    /// What is changed.
    pub change: Change,
    /// Which way it moves traffic.
    pub direction: Direction,
    /// What it does, in words for screen and journal (`set image 1.23.4`, `end the pause at step 1/7`).
    pub says: Text,
}
