//! When a cockpit carries a safe order out itself: the conductor did not take it in, or shows no life, or there is none
//! (`train.md` §2). What it then sends is what [`super::step`] says to [`super::Role::Hands`].

use super::event::{Intent, Spec, Want};
use super::state::{Stage, State, in_flight};
use super::{undo, why};
use crate::core::text::Text;
use crate::text;

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

/// What is still missing until the objects show what was ordered, in words; none when they do, and when the order is over: ended by
/// another one, or refused. The order must have been taken in by this state.
pub fn missing(state: &State, intent: &Intent) -> Option<Text> {
    let name = |s: usize| &state.plan.services[s].name;
    let reading = |s: usize| state.sight.desks[s].reading.as_ref();
    match &intent.want {
        Want::Hold(service, _) => {
            state.memory.holds.iter().find(|h| h.id == intent.id)?;
            let mut moving = state.ids().filter(|s| {
                let meant = service.is_none_or(|x| usize::from(x) == *s);
                let moves = matches!(state.memory.services[*s].stage, Stage::Deploying | Stage::Stepping);
                meant && moves && reading(*s).is_none_or(|r| in_flight(r) && !(r.paused && r.observed))
            });
            moving.next().map(|s| text!("{} to stand still", name(s)))
        }
        Want::Abort(s, _) => {
            let at = usize::from(*s);
            (state.memory.services[at].stage == Stage::Aborting)
                .then(|| text!("{}: {}", name(at), why::service(state, *s)))
        }
        Want::Undo(_) => {
            let undo = state.memory.undo.as_ref()?;
            let back =
                |s: &&u16| matches!(state.memory.services[usize::from(**s)].stage, Stage::Undoing | Stage::Failed);
            if let Some(s) = undo.services.iter().find(back) {
                return Some(text!("{}: {}", name(usize::from(*s)), why::service(state, *s)));
            }
            (0..state.plan.flags.len()).find_map(|f| flag_missing(state, f))
        }
        Want::Flag(f, _) => flag_missing(state, usize::from(*f)),
        _ => None,
    }
}

fn flag_missing(state: &State, f: usize) -> Option<Text> {
    let (flag, plan) = (&state.memory.flags[f], &state.plan.flags[f]);
    let to = flag.recorded.as_ref().or(plan.safe.as_ref()).filter(|_| flag.back)?;
    let there = state.sight.flags[f].as_ref().is_some_and(|read| read.value == *to);
    (!there).then(|| text!("flag {} to be {to}", plan.key))
}

/// True when an effect of the order is seen on every object whose turn it is, whether or not it is through.
pub fn begun(state: &State, intent: &Intent) -> bool {
    let reading = |s: usize| state.sight.desks[s].reading.as_ref();
    match &intent.want {
        Want::Abort(s, _) => {
            let s = usize::from(*s);
            let stamped = reading(s).is_some_and(|r| r.aborted || r.undo.is_some());
            stamped || state.memory.services[s].stage != Stage::Aborting
        }
        Want::Undo(_) => {
            let Some(order) = &state.memory.undo else { return true };
            let flags = (0..state.plan.flags.len()).all(|f| flag_missing(state, f).is_none());
            flags
                && order.services.iter().map(|s| usize::from(*s)).all(|s| {
                    let waits = !matches!(state.memory.services[s].stage, Stage::Undoing | Stage::Failed);
                    let its_turn = undo::may_go(state, s);
                    waits || !its_turn || reading(s).is_some_and(|r| r.undo.is_some() || r.spec == Spec::Other)
                })
        }
        _ => missing(state, intent).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The first moment at which hands act is the earliest that the rule names, whatever the conductor does.
        #[test]
        fn hands_act_exactly_when_due(
            taken_at in prop_oneof![0u64..8_000, Just(u64::MAX)],
            last_beat in 0u64..12_000,
            shown_at in prop_oneof![0u64..12_000, Just(u64::MAX)],
        ) {
            let hands = Hands::new(1_000);
            let first = (0u64..30_000).find(|t| {
                // A beat each 100 ms until the last one.
                let alive = 1_000 + (t / 100 * 100).min(last_beat);
                hands.due(1_000 + t, taken_at <= *t, alive, shown_at <= *t)
            });
            let untaken = (taken_at > TAKEN_WITHIN).then_some(TAKEN_WITHIN);
            let silent = Some(last_beat + ALIVE_WITHIN + 1);
            let unshown = (shown_at > ALIVE_WITHIN).then_some(ALIVE_WITHIN);
            let wanted = [untaken, silent, unshown].into_iter().flatten().min();
            prop_assert_eq!(first, wanted);
        }
    }
}
