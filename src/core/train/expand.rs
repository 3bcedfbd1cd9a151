//! The expand wave: its Jobs, its own bake, and the way back, which runs only when it was ordered and nothing needs the new
//! schema any more.

use super::Phase;
use super::effect::Effect;
use super::event::JobReading;
use super::hold;
use super::preflight::proof;
use super::state::State;
use super::step::Out;
use crate::core::elector::Epoch;
use crate::core::mutant::Mutant;
use crate::core::verdict::Verdict;

pub(super) fn decide(state: &mut State, out: &mut Out, epoch: &Epoch) {
    if hold::stands(state) || proof(state).is_none() || state.sight.status_kept == 0 {
        return;
    }
    let mut all = true;
    for m in 0..state.memory.jobs.len() {
        let Ok(id) = u16::try_from(m) else { return };
        match state.memory.jobs[m].reading {
            JobReading::Done => {}
            JobReading::Absent => {
                all = false;
                send(state, out, epoch, id, false);
            }
            JobReading::Running | JobReading::Failed | JobReading::DownDone => all = false,
        }
        if !all {
            // One after another: a later step may rest on an earlier one.
            return;
        }
    }
    let now = state.sight.now;
    let fresh = state.plan.times.verdict_fresh;
    let well = state
        .sight
        .desks
        .iter()
        .all(|d| d.heard.as_ref().is_some_and(|h| h.verdict != Verdict::Fail && now <= h.at + fresh));
    if well && state.sight.expand_well {
        state.memory.expand_bake += out.watched;
    }
    state.sight.expand_well = well;
    if state.memory.expand_bake >= state.plan.times.bake || state.plan.broken(Mutant::BakeNotWaited) {
        state.memory.wave += 1;
        state.memory.phase = Phase::Rolling;
        state.touch();
    }
}

/// The way back, where it was ordered: no new version runs, and the flags are where they were.
pub(super) fn down(state: &mut State, out: &mut Out, epoch: &Epoch) {
    let carelessly = state.plan.broken(Mutant::DownWithoutOrder) && state.memory.undo.is_some();
    for m in (0..state.memory.jobs.len()).rev() {
        let job = &state.memory.jobs[m];
        let wanted = job.down || carelessly;
        if !wanted || !matches!(job.reading, JobReading::Done | JobReading::Failed) {
            continue;
        }
        let Ok(id) = u16::try_from(m) else { return };
        let runs = state.ids().any(|s| state.serves_new(s)) && !carelessly;
        let flags =
            state.memory.flags.iter().zip(&state.sight.flags).all(|(flag, read)| {
                !flag.moved || read.as_ref().is_some_and(|r| Some(&r.value) == flag.recorded.as_ref())
            });
        if runs || !flags {
            return;
        }
        send(state, out, epoch, id, true);
        return;
    }
}

fn send(state: &mut State, out: &mut Out, epoch: &Epoch, migration: u16, down: bool) {
    let now = state.sight.now;
    if let Some((at, was)) = state.sight.job_sent[usize::from(migration)]
        && was == down
        && now < at + state.plan.times.write
    {
        return;
    }
    let kept = state.sight.kept;
    match state.sight.job_announced {
        Some((m, d, entry)) if m == migration && d == down => {
            if kept < entry {
                return;
            }
        }
        _ => {
            let entry = (state.memory.entries + 1).max(kept + 1);
            state.memory.entries = entry;
            state.sight.job_announced = Some((migration, down, entry));
            out.effects.push(Effect::Keep(entry));
            return;
        }
    }
    state.sight.job_sent[usize::from(migration)] = Some((now, down));
    state.memory.jobs[usize::from(migration)].sent = true;
    let token = state.token();
    out.effects.push(Effect::Job { token, migration, down, epoch: epoch.number() });
}
