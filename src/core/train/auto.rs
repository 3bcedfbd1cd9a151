//! What the conductor decides by itself: to take back what a gate failed, to hold what a gate cannot judge, to give up
//! what nobody answers for. Each decision is an order like a person's, made durable before its first effect; its number
//! follows from what it is about, so that two conductors make one.

use super::effect::Effect;
use super::event::{Cause, HoldFor, Intent, JobReading, Judged, Pause, Scope, Tripped, Want, Whose};
use super::resolved::{Abandon, ServiceId};
use super::state::{Ended, Stage, State};
use super::step::Out;
use super::{Phase, orders, preflight, undo};
use crate::core::confirm::Order;
use crate::core::mutant::Mutant;
use crate::core::text::Text;
use crate::core::verdict::Verdict;
use crate::text;

/// The conductor's own orders have this bit, people's have not. The highest that a JSON number holds wherever it goes.
const OWN: u64 = 1 << 52;

/// How often an order that has not come back is made again.
const AGAIN: u64 = 1_000;

/// How long the controller's own abort may be without a verdict that explains it.
const UNEXPLAINED: u64 = 5_000;

/// True when the conductor made this order by itself.
pub fn is_own(id: u64) -> bool {
    id & OWN != 0
}

/// Bits that count how often an order of one kind was made about one thing.
const COUNT: u32 = 24;

/// The number of an order of the conductor's own: what kind, about which service, and how often.
pub(super) fn own(kind: u64, about: u64, count: u64) -> u64 {
    OWN | (kind & 0xff) << 40 | (about & 0xffff) << COUNT | count & ((1 << COUNT) - 1)
}

fn order(state: &mut State, out: &mut Out, id: u64, want: Want, why: Text) {
    if state.memory.taken.contains(&id) || state.sight.ordering.iter().any(|(i, _)| i.id == id) {
        return;
    }
    let Some(when) = out.wall() else { return };
    let epoch = Some(state.memory.epoch.clone()).filter(|_| !state.plan.broken(Mutant::OrderWithoutEpoch));
    let intent = Intent { id, epoch, order: Order { who: text!("conductor"), when, why }, want };
    if state.plan.broken(Mutant::EffectBeforeIntent) {
        orders::take(state, out, &intent);
    }
    state.sight.ordering.push((intent.clone(), state.sight.now));
    out.effects.push(Effect::Order(intent));
}

/// How often an order of this kind about this has been made: a new occasion is a new order.
fn count(state: &State, kind: u64, about: u64) -> u64 {
    let of = own(kind, about, 0) >> COUNT;
    state.memory.taken.iter().filter(|id| **id >> COUNT == of).count() as u64
}

const UNDO: u64 = 1;
const HOLD: u64 = 2;
const ABORT: u64 = 3;
pub(super) const BOUNDARY: u64 = 4;

fn hold(state: &mut State, out: &mut Out, about: u64, why: HoldFor, says: Text) {
    if state.memory.holds.iter().any(|h| h.why == why) {
        return;
    }
    let id = own(HOLD, about, count(state, HOLD, about));
    order(state, out, id, Want::Hold(None, why), says);
}

/// True while a fail decides something.
fn counts(state: &State) -> bool {
    state.memory.closing.is_none()
        && state.memory.phase.has_set_off()
        && !state.memory.undo.as_ref().is_some_and(|u| u.whole)
}

fn blame(state: &mut State, out: &mut Out, whose: Whose, cause: Cause, why: &Text) {
    if state.memory.detected.is_none() {
        state.memory.detected = out.wall();
        state.memory.cause = Some((whose, cause, why.clone()));
        state.touch();
    }
}

/// Something failed.
pub(super) fn trip(state: &mut State, out: &mut Out, judged: &Judged) {
    if !counts(state) {
        return;
    }
    blame(state, out, Whose::Ours(judged.service), judged.cause, &judged.why);
    let m = &mut state.memory.services[usize::from(judged.service)];
    if m.detected.is_none() {
        m.detected = out.wall();
        m.cause = Some(judged.cause);
    }
}

/// Something failed that is no part of the train.
pub(super) fn tripped(state: &mut State, out: &mut Out, trip: &Tripped) {
    if counts(state) {
        blame(state, out, Whose::Elsewhere(trip.service.clone()), trip.cause, &trip.why);
        state.sight.tripped = Some((trip.clone(), state.sight.now));
    }
}

/// A service broke its SLO before anything of it was deployed.
pub(super) fn burning(state: &mut State, out: &mut Out, s: ServiceId) {
    let name = state.plan.service(s).name.clone();
    hold(state, out, 0x100 + u64::from(s), HoldFor::Burning(s), text!("{name} is already burning"));
}

/// Decides. The same state decides the same.
pub(super) fn decide(state: &mut State, out: &mut Out) {
    again(state, out);
    if state.memory.closing.is_some() {
        return;
    }
    if !state.memory.phase.has_set_off() {
        let read = |s: usize| state.sight.desks[s].reading.is_some() || state.sight.desks[s].gone;
        if state.memory.undo.is_some() && state.ids().all(read) {
            called_off(state);
        }
        return;
    }
    undo::settle(state, out);
    fails(state, out);
    if state.memory.undo.is_none() {
        unsure(state, out);
    }
    waits(state, out);
}

/// A train that is ordered back before it set off, as far as its memory goes, does not set off. Where a status was lost that said
/// how far it was, its records say what there is to take back.
fn called_off(state: &mut State) {
    let mut readings = state.sight.desks.iter().filter_map(|desk| desk.reading.as_ref());
    if readings.all(|r| r.record.is_none()) {
        state.memory.closing = Some(Ended::Refused);
    } else {
        preflight::adopt(state);
    }
    state.touch();
}

fn again(state: &mut State, out: &mut Out) {
    let now = state.sight.now;
    for (intent, at) in &mut state.sight.ordering {
        if now >= *at + AGAIN {
            *at = now;
            out.effects.push(Effect::Order(intent.clone()));
        }
    }
}

/// What fails now: heard lately, about what is there now.
fn fails(state: &mut State, out: &mut Out) {
    let now = state.sight.now;
    let whole = state.memory.undo.as_ref().is_some_and(|u| u.whole);
    if whole {
        return;
    }
    let mut ours = false;
    for s in state.ids() {
        let Some(heard) = &state.sight.desks[s].heard else { continue };
        if heard.verdict != Verdict::Fail || now > heard.at + state.plan.times.verdict_fresh {
            continue;
        }
        let Ok(id) = ServiceId::try_from(s) else { return };
        ours = true;
        let why = heard.why.clone();
        let about_canary = heard.hash.is_some();
        let phase = state.memory.phase;
        match phase {
            Phase::Expanding => {
                hold(state, out, 0x200, HoldFor::Expand, text!("during the expand step: {why}"));
                continue;
            }
            Phase::Flags if flag_first(state, out, &why) => continue,
            _ => {}
        }
        let m = &state.memory.services[s];
        if !state.memory.services.iter().any(|m| m.touched) {
            hold(state, out, 0x100 + u64::from(id), HoldFor::Burning(id), why);
            continue;
        }
        if about_canary && matches!(m.stage, Stage::Undone | Stage::Undoing | Stage::Waiting | Stage::Failed) {
            continue;
        }
        // At most one automatic undo a service and train: the second time only its traffic goes, and a person is called.
        let second = m.trips > 0 && about_canary;
        let scope = if second { Scope::Downstream(id) } else { Scope::All };
        let n = count(state, UNDO, if second { 1 + u64::from(id) } else { 0 });
        let number = own(UNDO, if second { 1 + u64::from(id) } else { 0 }, n);
        if state.memory.undo.as_ref().is_some_and(|u| second && u.services.contains(&id)) {
            continue;
        }
        order(state, out, number, Want::Undo(scope), why);
    }
    if !ours {
        fails_elsewhere(state, out);
    }
}

/// What fails now and is no part of the train: what the train moved is taken back, as for a service of its own.
fn fails_elsewhere(state: &mut State, out: &mut Out) {
    let Some((trip, at)) = &state.sight.tripped else { return };
    let ignored = state.plan.broken(Mutant::FailElsewhereIgnored);
    if ignored || state.sight.now > at + state.plan.times.verdict_fresh {
        return;
    }
    let why = text!("{}, which is no part of the train: {}", trip.service, trip.why);
    let phase = state.memory.phase;
    match phase {
        Phase::Expanding => hold(state, out, 0x200, HoldFor::Expand, text!("during the expand step: {why}")),
        Phase::Flags if flag_first(state, out, &why) => {}
        _ if !state.memory.services.iter().any(|m| m.touched) => {
            hold(state, out, 0x800, HoldFor::Elsewhere, why);
        }
        _ => {
            let number = own(UNDO, 0, count(state, UNDO, 0));
            order(state, out, number, Want::Undo(Scope::All), why);
        }
    }
}

/// During a flag's ramp the flag goes back alone first; true while that is being tried.
fn flag_first(state: &mut State, out: &mut Out, why: &Text) -> bool {
    let Some(f) = state.memory.flags.iter().position(|f| f.moved && f.failing < state.plan.times.flag_step) else {
        return false;
    };
    let Ok(id) = u16::try_from(f) else { return false };
    if !state.memory.flags[f].back {
        // The order of the hold is what makes it durable; the flag goes back under it.
        hold(state, out, 0x300 + u64::from(id), HoldFor::Flag(id), why.clone());
        if state.memory.holds.iter().any(|h| h.why == HoldFor::Flag(id)) {
            state.memory.flags[f].back = true;
            state.touch();
        }
        return true;
    }
    state.memory.flags[f].failing += out.passed;
    state.memory.flags[f].failing < state.plan.times.flag_step
}

/// True while something waits for the verdict on this service: its own way, or a flag on its ramp that lists it.
fn judged(state: &State, id: ServiceId) -> bool {
    let stage = state.memory.services[usize::from(id)].stage;
    let flagged = || {
        let mut flags = state.plan.flags.iter().zip(&state.memory.flags);
        state.memory.phase == Phase::Flags && flags.any(|(p, f)| f.ramp < 4 && p.services.contains(&id))
    };
    matches!(stage, Stage::Stepping | Stage::Baking) || stage == Stage::Done && flagged()
}

/// What cannot be judged.
fn unsure(state: &mut State, out: &mut Out) {
    // A gate that decides nothing any more holds nothing any more.
    let aborted = |state: &State, s: ServiceId| {
        matches!(state.memory.services[usize::from(s)].stage, Stage::Aborting | Stage::Aborted)
    };
    let over = |state: &State, why: HoldFor| match why {
        HoldFor::NoData(s) | HoldFor::Inconclusive(s) => !judged(state, s) && !aborted(state, s),
        _ => false,
    };
    let mut holds = std::mem::take(&mut state.memory.holds);
    holds.retain(|h| !over(state, h.why));
    state.memory.holds = holds;
    if let Some(f) = (state.memory.phase == Phase::Flags).then(|| super::flags::astray(state)).flatten() {
        let key = &state.plan.flags[usize::from(f)].key;
        let says = text!("another hand set {key} to something that is not on its way");
        hold(state, out, 0x300 + u64::from(f), HoldFor::Flag(f), says);
    }
    let now = state.sight.now;
    for s in state.ids() {
        let Ok(id) = ServiceId::try_from(s) else { return };
        let desk = &state.sight.desks[s];
        let m = &state.memory.services[s];
        let Some(r) = &desk.reading else { continue };
        if let Some(what) = &m.outside {
            let says = what.clone();
            hold(state, out, 0x400 + u64::from(id), HoldFor::Outside(id), says);
            continue;
        }
        if m.stage == Stage::Aborted && m.abort.is_none() && !m.retry {
            let says = text!("{} was aborted by its controller", state.plan.service(id).name);
            if m.patience > UNEXPLAINED || desk.heard.as_ref().is_some_and(|h| h.error) {
                hold(state, out, 0x500 + u64::from(id), HoldFor::Aborted(id), says);
            }
            continue;
        }
        if !judged(state, id) {
            continue;
        }
        let name = state.plan.service(id).name.clone();
        let overridden = if r.step < r.steps { m.passed > r.step } else { m.approved == Some(r.step) };
        let heard = desk.heard.as_ref().filter(|h| h.hash == m.deployed || h.hash.is_none());
        let fresh = heard.filter(|h| now <= h.at + state.plan.times.verdict_fresh).map(|h| h.verdict);
        let measurable = r.weight > 0 || Some(&r.stable) == m.deployed.as_ref();
        let silent = heard.is_none_or(|h| now > h.at + 2 * state.plan.times.verdict_fresh)
            && (m.in_step > 2 * state.plan.times.verdict_fresh || m.stage == Stage::Done)
            && now > state.sight.begun_at + 2 * state.plan.times.verdict_fresh
            && measurable;
        let no_data =
            (fresh == Some(Verdict::NoData) || silent) && measurable && !state.plan.broken(Mutant::NoDataCounts);
        if (fresh == Some(Verdict::Inconclusive) || r.pause == Some(Pause::Inconclusive)) && !overridden {
            let says = text!("the gate of {name} cannot tell");
            hold(state, out, 0x600 + u64::from(id), HoldFor::Inconclusive(id), says);
        } else if no_data && !overridden {
            hold(state, out, 0x700 + u64::from(id), HoldFor::NoData(id), text!("the gate of {name} has no data"));
            let m = &state.memory.services[s];
            if m.no_data >= state.plan.times.no_data
                && m.stage == Stage::Stepping
                && let Some(hash) = m.deployed.clone()
            {
                let n = count(state, ABORT, u64::from(id));
                let says = text!("{name} had traffic without data for too long");
                order(state, out, own(ABORT, u64::from(id), n), Want::Abort(id, hash), says);
            }
        } else if fresh == Some(Verdict::Pass) {
            let before = state.memory.holds.len();
            state.memory.holds.retain(|h| h.why != HoldFor::NoData(id));
            if state.memory.holds.len() != before {
                state.memory.services[s].no_data = 0;
                state.touch();
            }
        }
    }
    if state.memory.jobs.iter().any(|j| j.reading == JobReading::Failed && !j.down) {
        hold(state, out, 0x200, HoldFor::Expand, text!("an expand step failed"));
    }
}

/// What waits for a person: called, then given up.
fn waits(state: &mut State, out: &mut Out) {
    let page = state.plan.times.page;
    let mut calls: Vec<Text> = Vec::new();
    let mut abandoned = false;
    let captain = state.plan.captain.clone();
    for hold in &mut state.memory.holds {
        let at_once = !matches!(hold.why, HoldFor::Person | HoldFor::Boundary | HoldFor::NoData(_));
        if hold.paged == 0 && (at_once || hold.ms >= page) {
            hold.paged = 1;
            calls.push(text!("{captain}: the train is held by {}: {}", hold.who, hold.reason));
        }
        if hold.ms >= 2 * page {
            abandoned = true;
            hold.ms = page;
            hold.paged += 1;
            calls.push(text!("{captain}: nobody answered: {}", hold.reason));
        }
    }
    for (m, service) in state.memory.services.iter_mut().zip(&state.plan.services) {
        if m.waits >= 2 * page {
            abandoned = true;
            m.waits = page;
            calls.push(text!("{captain}: nobody answered: {} waits for P", service.name));
        }
    }
    let stuck = state.undo_is_stuck();
    if let Some(undo) = &mut state.memory.undo
        && stuck
        && (undo.paged == 0 || undo.ms >= page)
    {
        undo.paged += 1;
        undo.ms = 0;
        calls.push(text!("{captain}: what was to be taken back cannot be"));
    }
    if !calls.is_empty() {
        state.touch();
    }
    out.effects.extend(calls.into_iter().map(Effect::Page));
    let moved = state.memory.services.iter().any(|m| m.touched);
    if abandoned
        && moved
        && state.plan.abandon == Abandon::Undo
        && state.memory.undo.is_none()
        && !state.plan.broken(Mutant::AbandonedForEver)
    {
        let n = count(state, UNDO, 0);
        order(state, out, own(UNDO, 0, n), Want::Undo(Scope::All), text!("nobody answered for the train"));
    }
}
