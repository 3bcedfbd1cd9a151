//! When a cockpit carries a safe order out itself: the conductor did not take it in, or shows no life, or there is none
//! (`train.md` §2). What it then sends is what [`super::step`] says to [`super::Role::Hands`].

use super::event::Want;

/// How long a conductor has to name an order in its status, in milliseconds.
pub const TAKEN_WITHIN: u64 = 3_000;

/// How long it may show no heartbeat or effect.
pub const ALIVE_WITHIN: u64 = 5_000;

/// One safe order, watched over by the cockpit at which it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hands {
    since: u64,
}

impl Hands {
    /// From the moment the order is durable, by the cockpit's monotonic clock.
    pub fn new(since: u64) -> Self {
        Self { since }
    }

    /// True when the cockpit must act now. `taken`: the status names the order; `alive_at`: when the Lease was last seen
    /// renewed, by the same clock; `shown`: the objects show what was ordered. A conductor that renews its Lease and whose
    /// writes get lost is no help.
    pub fn due(&self, now: u64, taken: bool, alive_at: u64, shown: bool) -> bool {
        let waited = now.saturating_sub(self.since);
        let silent = now.saturating_sub(alive_at) > ALIVE_WITHIN;
        (waited >= TAKEN_WITHIN && !taken) || (waited >= ALIVE_WITHIN && (silent || !shown))
    }
}

/// True for the orders that any hands may carry out.
pub fn is_safe(want: &Want) -> bool {
    matches!(want, Want::Hold(..) | Want::Abort(..) | Want::Undo(_) | Want::Flag(..))
}
