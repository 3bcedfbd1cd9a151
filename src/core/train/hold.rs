//! Holding: which workload is to stand still and why, by order of a person or because a gate has not passed at its step,
//! and the clocks of holds. Ending a hold is a step forward and lives in `service.rs`.

use super::effect::{Effect, Safe, hold_value};
use super::event::{HoldFor, Pause, Spec};
use super::resolved::ServiceId;
use super::state::{Stage, State, What, in_flight};
use super::step::Out;

/// How long before a pause ends by itself the conductor holds it, if the gate has not passed there.
const BEFORE_END: u64 = 10_000;

/// The hold that is wanted of a service: its intent, and whether it is the gate's own.
pub(super) fn wanted(state: &State, s: usize) -> Option<(u64, bool)> {
    let m = &state.memory.services[s];
    let r = state.sight.desks[s].reading.as_ref()?;
    let ours = matches!(m.stage, Stage::Deploying | Stage::Stepping) && r.spec == Spec::Pinned;
    // The pinned version that another hand set anew over ours walks its steps again, and is held with the rest.
    let anew = matches!(m.stage, Stage::Baking | Stage::Done) && r.spec == Spec::Pinned && r.current != r.stable;
    if !(ours || anew) || r.aborted || !in_flight(r) || going_back(state, s) {
        return None;
    }
    let by_order = state.memory.holds.iter().find(|h| h.service.is_none_or(|x| usize::from(x) == s));
    if let Some(hold) = by_order {
        return Some((hold.id, false));
    }
    if !ours {
        return None;
    }
    // An approval of this very pause is a pass by a person's word.
    if m.passed > r.step {
        return None;
    }
    let ends = match r.pause {
        Some(Pause::Timed(ms)) => ms < state.plan.times.window || m.in_step + BEFORE_END >= ms || r.hold.is_some(),
        _ => false,
    };
    (ends && (r.hold.is_some() || r.weight > 0 && r.observed) && m.full.is_none()).then(|| (u64::from(r.step), true))
}

/// True when it is being taken back.
pub(super) fn going_back(state: &State, s: usize) -> bool {
    state.memory.undo.as_ref().is_some_and(|u| u.services.iter().any(|x| usize::from(*x) == s))
        || matches!(state.memory.services[s].stage, Stage::Undoing | Stage::Aborting | Stage::Failed)
}

/// Sends the holds that are wanted and not there.
pub(super) fn drive(state: &mut State, out: &mut Out) {
    for s in state.ids() {
        let Some((id, gate)) = wanted(state, s) else { continue };
        let Some(r) = state.sight.desks[s].reading.clone() else { continue };
        if r.paused && r.hold.is_some() {
            continue;
        }
        let Ok(service) = ServiceId::try_from(s) else { return };
        send(state, out, s, What::Hold, |plan| Safe::hold(plan, service, &r, id, gate));
    }
}

/// Sends a safe change, unless the same went out a moment ago.
pub(super) fn send(
    state: &mut State,
    out: &mut Out,
    s: usize,
    what: What,
    make: impl FnOnce(&super::resolved::Resolved) -> Safe,
) {
    let now = state.sight.now;
    if state.sight.desks[s].safe.is_some_and(|(last, at)| last == what && now < at + state.plan.times.resend) {
        return;
    }
    let token = state.token();
    let safe = make(&state.plan);
    let desk = &mut state.sight.desks[s];
    desk.safe = Some((what, now));
    desk.safe_token = token;
    out.effects.push(Effect::Safe(token, safe));
}

/// The clocks of what waits for a person.
pub(super) fn clocks(state: &mut State, out: &Out) {
    for hold in &mut state.memory.holds {
        hold.ms += out.passed;
    }
    if let Some(undo) = &mut state.memory.undo {
        undo.ms += out.passed;
    }
    let unsure: Vec<bool> = state
        .ids()
        .map(|s| {
            let m = &state.memory.services[s];
            let r = state.sight.desks[s].reading.as_ref();
            let traffic = r.is_some_and(|r| r.weight > 0 || Some(&r.stable) == m.deployed.as_ref());
            traffic
                && matches!(m.stage, Stage::Stepping | Stage::Baking)
                && state.memory.holds.iter().any(|h| h.why == HoldFor::NoData(ServiceId::try_from(s).unwrap_or(0)))
        })
        .collect();
    for (m, unsure) in state.memory.services.iter_mut().zip(unsure) {
        if unsure {
            m.no_data += out.passed;
        }
    }
}

/// True when this stamp is one of this train's.
pub(super) fn is_ours(state: &State, stamp: &str) -> bool {
    stamp.strip_prefix(state.plan.uid.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

/// The stamp that the screen shows for a hold.
pub fn stamp_of(state: &State, id: u64) -> crate::core::text::Text {
    hold_value(&state.plan, id, false)
}

/// True when the train as a whole is held by order.
pub(super) fn stands(state: &State) -> bool {
    state.memory.holds.iter().any(|h| h.service.is_none())
}
