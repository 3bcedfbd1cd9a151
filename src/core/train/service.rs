//! One service on its way: deploy, steps, gate, bake, and the wave that it belongs to. What moves it on is here; what holds it
//! or takes it back is not.

use super::Phase;
use super::effect::{Effect, Forward, Tell};
use super::event::{HoldFor, Intent, Pause, Spec, Want};
use super::preflight::{idle, proof, send};
use super::resolved::{ServiceId, Untimed};
use super::state::{Ended, Stage, State, What};
use super::step::Out;
use super::{hold, orders};
use crate::core::confirm::Order;
use crate::core::elector::Epoch;
use crate::core::mutant::Mutant;
use crate::core::text::Text;
use crate::core::verdict::Verdict;
use crate::text;

/// Brings a service's stage in line with what was read.
pub(super) fn advance(state: &mut State, out: &mut Out, s: usize) {
    let Some(r) = state.sight.desks[s].reading.clone() else { return };
    if !state.memory.recorded {
        return;
    }
    let heard_pass = {
        let desk = &state.sight.desks[s];
        let now = state.sight.now;
        desk.heard.as_ref().is_some_and(|h| {
            (h.verdict == Verdict::Pass || state.plan.broken(Mutant::NoDataCounts) && h.verdict == Verdict::NoData)
                && now <= h.at + state.plan.times.verdict_fresh
        })
    };
    let fails = state.sight.desks[s].heard.as_ref().is_some_and(|h| h.verdict == Verdict::Fail);
    let person_wait = match r.pause {
        Some(Pause::Untimed) => state.plan.services[s].untimed == Untimed::Person,
        Some(Pause::Inconclusive) => true,
        _ => false,
    };
    let (bake_needs, everything) = (state.plan.times.bake, state.plan.broken(Mutant::VerdictNotNeeded));
    let bake_needs = if state.plan.broken(Mutant::BakeNotWaited) { 0 } else { bake_needs };
    let was_well = std::mem::take(&mut state.sight.desks[s].well);
    let m = &mut state.memory.services[s];
    let ours = r.spec == Spec::Pinned;
    match m.stage {
        Stage::Waiting if ours && r.train.as_ref() == Some(&state.plan.uid) && m.recorded.is_some() => {
            m.touched = true;
            state.set_stage(s, Stage::Deploying);
        }
        Stage::Deploying => {
            m.patience += out.passed;
            let new = m.recorded.as_ref() != Some(&r.current) && r.observed;
            if ours && new && !r.aborted {
                m.deployed = Some(r.current.clone());
                m.passed = 0;
                m.bake = 0;
                m.no_data = 0;
                m.in_step = 0;
                m.retry = false;
                m.started = m.started.or(out.wall());
                state.set_stage(s, Stage::Stepping);
            } else if r.spec == Spec::Recorded
                && state.sight.desks[s].fresh
                && state.sight.desks[s].busy.is_none()
                && m.patience > state.plan.times.write
            {
                // It did not land.
                state.set_stage(s, Stage::Waiting);
            } else if m.patience > state.plan.times.deploy_patience && m.outside.is_none() {
                let what = text!("{}: its controller does not take the new version up", state.plan.services[s].name);
                super::outside::seen(state, out, s, what);
            }
        }
        Stage::Stepping => {
            m.in_step += out.watched;
            if person_wait && !r.paused {
                m.waits += out.passed;
            }
            if !ours || Some(&r.current) != m.deployed.as_ref() {
                return;
            }
            if r.aborted {
                state.set_stage(s, Stage::Aborted);
            } else if r.stable == r.current && r.healthy && r.observed {
                m.in_step = 0;
                m.bake = 0;
                m.full = None;
                state.set_stage(s, Stage::Baking);
            }
        }
        Stage::Baking => {
            m.in_step += out.watched;
            let well = ours && r.healthy && r.observed && Some(&r.stable) == m.deployed.as_ref();
            // A person's word stands for a gate that cannot judge, never for one that fails.
            let heard_pass = heard_pass || m.approved == Some(r.step) && !fails;
            if well && heard_pass && was_well {
                m.bake += out.watched;
            }
            state.sight.desks[s].well = well && heard_pass;
            let passed = m.passed > r.steps || everything;
            if well && m.bake >= bake_needs && passed && m.outside.is_none() {
                m.healthy = out.wall();
                state.set_stage(s, Stage::Done);
            }
        }
        Stage::Aborted => {
            m.patience += out.passed;
            if m.retry && ours && !r.aborted && r.observed && Some(&r.current) == m.deployed.as_ref() {
                m.retry = false;
                m.abort = None;
                m.passed = 0;
                m.in_step = 0;
                state.set_stage(s, Stage::Stepping);
            }
        }
        _ => {}
    }
}

/// True when something may go forward on this workload: it is ours, read after the last change, nothing is under way.
pub(super) fn free(state: &mut State, s: usize, epoch: &Epoch) -> bool {
    if !idle(state, s) || !state.sight.desks[s].fresh || state.sight.desks[s].gone {
        return false;
    }
    let Some(r) = &state.sight.desks[s].reading else { return false };
    let stamped = r.train.as_ref() == Some(&state.plan.uid)
        && r.epoch.as_ref().is_some_and(|e| e.0 == epoch.number() && e.1 == *epoch.holder());
    stamped || state.plan.broken(Mutant::EpochNotTested)
}

/// Announces a change in the journal; true once the entry is durable.
pub(super) fn announced(state: &mut State, out: &mut Out, s: usize, what: What) -> bool {
    let kept = state.sight.kept;
    if let Some((said, entry)) = state.sight.desks[s].announced
        && said == what
    {
        return kept >= entry;
    }
    state.memory.entries += 1;
    let entry = state.memory.entries.max(kept + 1);
    state.memory.entries = entry;
    state.sight.desks[s].announced = Some((what, entry));
    out.effects.push(Effect::Keep(entry));
    false
}

/// Rolls on: releases, approvals, retries, deploys, the next wave.
pub(super) fn roll(state: &mut State, out: &mut Out, epoch: &Epoch) {
    let Some(proof) = proof(state) else { return };
    for s in state.ids() {
        if state.memory.services[s].stage == Stage::Unchanged {
            continue;
        }
        move_on(state, out, epoch, &proof, s);
    }
    if hold::stands(state) {
        return;
    }
    next_wave(state, out);
}

fn move_on(state: &mut State, out: &mut Out, epoch: &Epoch, proof: &super::effect::Proof, s: usize) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else { return };
    let m = &state.memory.services[s];
    let stage = m.stage;
    let held = hold::stands(state) || state.memory.holds.iter().any(|h| h.service == Some(id));
    // Ending a hold: it is ours, and nothing asks for one any more.
    let ours = r.hold.as_deref().is_some_and(|h| hold::is_ours(state, h)) || (r.paused && m.loose);
    let moving = matches!(stage, Stage::Deploying | Stage::Stepping | Stage::Baking | Stage::Done)
        || stage == Stage::Waiting && (m.loose || m.touched);
    if ours && moving && !held && r.undo.is_none() && hold::wanted(state, s).is_none() {
        if free(state, s, epoch) && announced(state, out, s, What::Release) {
            send(state, out, s, What::Release, |plan| Forward::release(plan, id, &r, epoch, proof));
        }
        return;
    }
    let its_turn = match stage {
        Stage::Waiting => !held && state.plan.service(id).wave == state.memory.wave && m.outside.is_none(),
        Stage::Aborted => !held && m.retry,
        Stage::Deploying | Stage::Stepping => r.spec == Spec::Pinned && !r.aborted,
        _ => false,
    };
    if !its_turn {
        return;
    }
    // The mark of an undo that another try has answered. On what walks by another hand's word it would let no hold land.
    if r.undo.is_some() {
        if free(state, s, epoch) && announced(state, out, s, What::Clear) {
            send(state, out, s, What::Clear, |plan| Forward::clear_undo(plan, id, &r, epoch, proof));
        }
        return;
    }
    match stage {
        Stage::Waiting => deploy(state, out, epoch, proof, s),
        Stage::Aborted => again(state, out, epoch, proof, s),
        Stage::Stepping if !held => approve(state, out, epoch, proof, s),
        _ => {}
    }
}

fn deploy(state: &mut State, out: &mut Out, epoch: &Epoch, proof: &super::effect::Proof, s: usize) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else { return };
    let m = &state.memory.services[s];
    if !(r.spec == Spec::Recorded && r.observed && Some(&r.current) == m.recorded.as_ref() && r.stable == r.current) {
        return;
    }
    match state.sight.desks[s].measured {
        Some(true) => {}
        Some(false) => return,
        None => {
            state.sight.desks[s].measured = Some(false);
            out.effects.push(Effect::Measure(id));
            return;
        }
    }
    // The record of what was live must be in a status that was written.
    if state.sight.status_kept == 0 || !free(state, s, epoch) || !announced(state, out, s, What::Deploy) {
        return;
    }
    state.memory.services[s].touched = true;
    state.set_stage(s, Stage::Deploying);
    send(state, out, s, What::Deploy, |plan| Forward::deploy(plan, id, &r, epoch, proof));
}

fn approve(state: &mut State, out: &mut Out, epoch: &Epoch, proof: &super::effect::Proof, s: usize) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else { return };
    let m = &state.memory.services[s];
    if Some(&r.current) != m.deployed.as_ref() || r.aborted || r.paused {
        return;
    }
    if m.full.as_ref() == Some(&r.current) && r.stable != r.current && !r.full {
        if free(state, s, epoch) && announced(state, out, s, What::Full) {
            send(state, out, s, What::Full, |plan| Forward::full(plan, id, &r, epoch, proof));
        }
        return;
    }
    let passed = m.passed > r.step || state.plan.broken(Mutant::VerdictNotNeeded);
    let approved = m.approved == Some(r.step);
    let goes = match r.pause {
        Some(Pause::Untimed) => passed && (approved || state.plan.service(id).untimed == Untimed::Gate),
        Some(Pause::Inconclusive) => approved,
        _ => false,
    };
    if goes && free(state, s, epoch) && announced(state, out, s, What::Approve) {
        send(state, out, s, What::Approve, |plan| Forward::approve(plan, id, &r, epoch, proof));
    }
}

fn again(state: &mut State, out: &mut Out, epoch: &Epoch, proof: &super::effect::Proof, s: usize) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else { return };
    match r.spec {
        Spec::Pinned if r.aborted && free(state, s, epoch) && announced(state, out, s, What::Again) => {
            send(state, out, s, What::Again, |plan| Forward::again(plan, id, &r, epoch, proof));
        }
        Spec::Recorded => {
            let m = &mut state.memory.services[s];
            m.retry = false;
            m.abort = None;
            m.deployed = None;
            m.passed = 0;
            state.sight.desks[s].measured = None;
            state.set_stage(s, Stage::Waiting);
        }
        _ => {}
    }
}

fn next_wave(state: &mut State, out: &mut Out) {
    let Some(wave) = state.plan.waves.get(usize::from(state.memory.wave)) else { return };
    let early = state.plan.broken(Mutant::WaveBeforeBake);
    let through = wave.services.iter().all(|s| {
        let stage = state.memory.services[usize::from(*s)].stage;
        matches!(stage, Stage::Done | Stage::Unchanged) || early && stage == Stage::Baking
    });
    if !through {
        return;
    }
    if let Some(why) = state.sight.frozen.clone() {
        boundary(state, out, &why);
        return;
    }
    state.memory.wave += 1;
    if usize::from(state.memory.wave) >= state.plan.waves.len() {
        state.memory.phase = Phase::Flags;
    }
    state.touch();
}

/// A train caught inside a freeze holds at the boundary of its wave. Its number follows from the wave.
fn boundary(state: &mut State, out: &mut Out, why: &Text) {
    let Some(when) = out.wall() else { return };
    let id = super::auto::own(super::auto::BOUNDARY, state.memory.wave.into(), 0);
    let order = Order { who: text!("conductor"), when, why: why.clone() };
    let epoch = Some(state.memory.epoch.clone());
    let intent = Intent { id, epoch, order, want: Want::Hold(None, HoldFor::Boundary) };
    if !state.memory.taken.contains(&id) {
        orders::take(state, out, &intent);
    } else if !state.memory.holds.iter().any(|h| h.id == id) {
        // A person resumed it: their word counts for this boundary.
        state.sight.frozen = None;
    }
}

/// The train has ended: its stamps go, then it is over.
pub(super) fn close(state: &mut State, out: &mut Out, epoch: &Epoch) {
    let Some(end) = state.memory.closing else { return };
    let mut all = true;
    for s in state.ids() {
        let Ok(id) = ServiceId::try_from(s) else { return };
        let desk = &state.sight.desks[s];
        if desk.gone {
            continue;
        }
        let Some(r) = desk.reading.clone() else {
            all = false;
            continue;
        };
        // Stamps of a train that has ended do not count; what cannot be cleared away is left.
        if r.train.as_ref() != Some(&state.plan.uid) || desk.refusals >= super::step::REFUSALS {
            continue;
        }
        all = false;
        if state.sight.desks[s].fresh && idle(state, s) {
            send(state, out, s, What::Unstamp, |plan| Forward::unstamp(plan, id, &r, epoch));
        }
    }
    if all {
        let tell = if end == Ended::Completed { Tell::Finished } else { Tell::RolledBack };
        if end != Ended::Refused && !state.memory.told.contains(&tell) {
            state.memory.told.push(tell);
            out.effects.push(Effect::Tell(tell));
        }
        state.memory.ended = Some(end);
        state.touch();
    }
}

/// Ends a hold of ours that nothing asks for any more on a service that is through (it landed late).
pub(super) fn release_late(state: &mut State, out: &mut Out, epoch: &Epoch, s: usize) {
    if matches!(state.memory.services[s].stage, Stage::Baking | Stage::Done)
        && let Some(proof) = proof(state)
    {
        move_on(state, out, epoch, &proof, s);
    }
}
