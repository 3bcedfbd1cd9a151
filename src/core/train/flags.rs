//! Flags: one after another, each 1 → 5 → 25 → 100 % of its way, with the guard on every service that lists it; and back to what
//! was recorded, which asks for nothing.

use super::effect::{Effect, FlagChange};
use super::hold;
use super::preflight::proof;
use super::resolved::Setting;
use super::state::{Ended, State};
use super::step::Out;
use crate::core::elector::Epoch;
use crate::core::mutant::Mutant;
use crate::core::verdict::Verdict;

/// The shares of a ramp, percent of the way from the recorded value to the goal.
pub const RAMP: [u32; 4] = [1, 5, 25, 100];

/// The value at a place of the ramp, from 0.
pub fn value_at(recorded: &Setting, goal: &Setting, place: usize) -> Setting {
    match (recorded, goal) {
        (Setting::Percent(from), Setting::Percent(to)) => {
            let share = RAMP.get(place).copied().unwrap_or(100);
            let (from, to) = (u32::from(*from), u32::from(*to));
            let way = to.abs_diff(from) * share;
            // Rounded up, so that the first share is not none.
            let way = way.div_ceil(100);
            let value = if to >= from { from + way } else { from - way };
            Setting::Percent(u8::try_from(value).unwrap_or(100))
        }
        _ => goal.clone(),
    }
}

/// What the flag stands at before it is moved to this place.
fn expected(recorded: &Setting, goal: &Setting, place: usize) -> Setting {
    if place == 0 { recorded.clone() } else { value_at(recorded, goal, place - 1) }
}

/// The place of the ramp at which this is the value.
fn on_the_way(recorded: &Setting, goal: &Setting, value: &Setting) -> Option<u8> {
    (0..RAMP.len()).rev().find(|n| value_at(recorded, goal, *n) == *value).and_then(|n| u8::try_from(n).ok())
}

/// The flag that is being moved, where another hand has set it to something that is not on its way.
pub(super) fn astray(state: &State) -> Option<u16> {
    let f = state.memory.flags.iter().position(|flag| flag.ramp < 4)?;
    let flag = &state.memory.flags[f];
    let (recorded, read) = (flag.recorded.as_ref()?, state.sight.flags[f].as_ref()?);
    let goal = &state.plan.flags[f].goal;
    let fits = read.value == expected(recorded, goal, usize::from(flag.ramp))
        || on_the_way(recorded, goal, &read.value).is_some();
    let odd = !fits && !flag.back && state.sight.flag_sent[f].is_none();
    u16::try_from(f).ok().filter(|_| odd)
}

/// Moves the flags, then ends the train.
pub(super) fn ramp(state: &mut State, out: &mut Out, epoch: &Epoch) {
    for s in state.ids() {
        super::service::release_late(state, out, epoch, s);
    }
    if hold::stands(state) || proof(state).is_none() {
        return;
    }
    let Some(f) = state.memory.flags.iter().position(|flag| flag.ramp < 4) else {
        state.memory.closing = Some(Ended::Completed);
        state.touch();
        return;
    };
    let (Some(recorded), Some(read)) = (state.memory.flags[f].recorded.clone(), state.sight.flags[f].clone()) else {
        return;
    };
    let goal = state.plan.flags[f].goal.clone();
    let place = usize::from(state.memory.flags[f].ramp);
    // Where the read value stands: the place before the wanted one was reached and is being watched.
    let wanted = value_at(&recorded, &goal, place);
    if read.value != wanted {
        if read.value == expected(&recorded, &goal, place) {
            state.sight.flag_well = None;
            set(state, out, f, wanted, read.version, epoch);
        } else if let Some(at) = on_the_way(&recorded, &goal, &read.value) {
            // It is somewhere else on its way (a status was lost, or another conductor went on): watched from there.
            let flag = &mut state.memory.flags[f];
            flag.ramp = at;
            flag.ms = 0;
            flag.moved = true;
            state.sight.flag_well = None;
            state.touch();
        }
        // Anything else is another hand's: `auto.rs` holds the train for it.
        return;
    }
    state.memory.flags[f].moved = true;
    let now = state.sight.now;
    let fresh = state.plan.times.verdict_fresh;
    let listed = &state.plan.flags[f].services;
    let careless = state.plan.broken(Mutant::VerdictNotNeeded);
    let well = listed.iter().all(|s| {
        let desk = &state.sight.desks[usize::from(*s)];
        let m = &state.memory.services[usize::from(*s)];
        let by_word = desk.reading.as_ref().is_some_and(|r| m.approved == Some(r.step))
            && desk.heard.as_ref().is_none_or(|h| h.verdict != Verdict::Fail);
        careless || by_word || desk.heard.as_ref().is_some_and(|h| h.verdict == Verdict::Pass && now <= h.at + fresh)
    });
    let id = u16::try_from(f).ok();
    if well && state.sight.flag_well == id {
        state.memory.flags[f].ms += out.watched;
    }
    state.sight.flag_well = id.filter(|_| well);
    if state.memory.flags[f].ms >= state.plan.times.flag_step {
        let flag = &mut state.memory.flags[f];
        flag.ms = 0;
        flag.ramp = if read.value == goal { 4 } else { flag.ramp + 1 };
        state.touch();
    }
}

fn set(state: &mut State, out: &mut Out, f: usize, to: Setting, version: u64, epoch: &Epoch) {
    let Ok(id) = u16::try_from(f) else { return };
    if state.sight.flag_sent[f].is_some() {
        return;
    }
    let place = state.memory.flags[f].ramp;
    let kept = state.sight.kept;
    match state.sight.flag_announced {
        Some((g, p, entry)) if g == id && p == place => {
            if kept < entry {
                return;
            }
        }
        _ => {
            let entry = (state.memory.entries + 1).max(kept + 1);
            state.memory.entries = entry;
            // That it may move must be in the status before it does.
            state.memory.flags[f].moved = true;
            state.touch();
            state.sight.flag_announced = Some((id, place, entry));
            out.effects.push(Effect::Keep(entry));
            return;
        }
    }
    if state.sight.status_kept < state.memory.version && place == 0 {
        return;
    }
    let token = state.token();
    state.sight.flag_sent[f] = Some(token);
    let change = FlagChange { flag: id, to, version, back: false, epoch: Some(epoch.number()) };
    out.effects.push(Effect::Flag(token, change));
}

/// Sends flags back that are to go back. Asks for no lease.
pub(super) fn back(state: &mut State, out: &mut Out) {
    if state.plan.broken(Mutant::FlagsNotTakenBack) && state.memory.undo.is_some() {
        return;
    }
    for f in 0..state.memory.flags.len() {
        let flag = &state.memory.flags[f];
        if !flag.back || state.memory.closing.is_some() {
            continue;
        }
        let to = flag.recorded.clone().or_else(|| state.plan.flags[f].safe.clone());
        let (Some(to), Some(read)) = (to, state.sight.flags[f].clone()) else { continue };
        if read.value == to {
            continue;
        }
        let Ok(id) = u16::try_from(f) else { return };
        let now = state.sight.now;
        if state.sight.flag_back_at.get(f).copied().flatten().is_some_and(|at| now < at + state.plan.times.resend) {
            continue;
        }
        state.sight.flag_back_at[f] = Some(now);
        let token = state.token();
        let change = FlagChange { flag: id, to, version: read.version, back: true, epoch: None };
        out.effects.push(Effect::Flag(token, change));
    }
}
