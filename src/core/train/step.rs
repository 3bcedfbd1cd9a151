//! One input in, the next state and what to do out. This room takes inputs in and calls the others in the order that
//! precedence asks for: what is safe first, then what the conductor decides by itself, then what goes forward.

use super::effect::Effect;
use super::event::{Answer, Check, Event, Found, Input, Judged, Reading};
use super::state::{Heard, Stage, State};
use super::{auto, expand, flags, hold, orders, outside, preflight, service, undo};
use crate::core::elector::Epoch;
use crate::core::mutant::Mutant;
use crate::core::text::Text;
use crate::core::verdict::Verdict;
use crate::core::verified::Verified;
use std::sync::Arc;

/// Longest stretch of time that one input may add to a timer that lets something go forward: what was not watched does
/// not count.
const WATCHED_MAX: u64 = 5_000;

/// After how many refusals in a row a person is told.
pub(super) const REFUSALS: u32 = 3;

/// In which part a process steps a train.
#[derive(Clone, Copy, Debug)]
pub enum Role<'e> {
    /// It holds the Lease.
    Conducting(&'e Epoch),
    /// It does not: it only carries out what was ordered in the safe direction.
    Hands,
}

/// What one step gathers.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub effects: Vec<Effect>,
    /// Milliseconds since the input before.
    pub passed: u64,
    /// The same, as far as it counts as watched.
    pub watched: u64,
    pub at: Option<super::event::At>,
}

impl Out {
    pub(super) fn wall(&self) -> Option<jiff::Timestamp> {
        self.at.map(|at| at.wall)
    }
}

/// The heart: a state and an input make the next state and what to do.
pub fn step(mut state: State, role: Role<'_>, input: &Input) -> (State, Vec<Effect>) {
    let mut out = Out { at: Some(input.at), ..Out::default() };
    let now = input.at.mono.max(state.sight.now);
    if state.sight.begun {
        out.passed = now - state.sight.now;
        out.watched = out.passed.min(WATCHED_MAX);
    }
    if !state.sight.begun {
        state.sight.begun_at = now;
    }
    state.sight.begun = true;
    state.sight.now = now;
    if let Role::Conducting(epoch) = role
        && state.memory.epoch.0 < epoch.number()
        && state.memory.ended.is_none()
    {
        state.memory.epoch = (epoch.number(), epoch.holder().clone());
        state.touch();
    }
    take_in(&mut state, &mut out, input);
    if state.memory.ended.is_some() {
        keep_status(&mut state, &mut out, role);
        return (state, out.effects);
    }
    // One service after another is read: each that has a record and no memory of it is taken up by that.
    if matches!(role, Role::Hands) {
        preflight::adopt(&mut state);
    }
    for s in state.ids() {
        service::advance(&mut state, &mut out, s);
        outside::paused(&mut state, &mut out, s);
    }
    hold::clocks(&mut state, &out);
    let lease = match role {
        Role::Conducting(epoch) => Some(epoch),
        Role::Hands => None,
    };
    let broken = |mutant| state.plan.broken(mutant) && lease.is_none();
    let (no_undo, no_hold) = (broken(Mutant::UndoAsksForLease), broken(Mutant::HoldAsksForLease));
    if !no_undo {
        undo::drive(&mut state, &mut out);
        flags::back(&mut state, &mut out);
    }
    if !no_hold {
        hold::drive(&mut state, &mut out);
    }
    if let Some(epoch) = lease {
        let (last, by) = &state.memory.epoch;
        if *last > epoch.number() || by != epoch.holder() {
            let last = *last;
            preflight::used_up(&mut state, &mut out, epoch, last);
            return (state, out.effects);
        }
        auto::decide(&mut state, &mut out);
        forward(&mut state, &mut out, epoch);
        keep_journal(&mut state, &mut out);
    }
    keep_status(&mut state, &mut out, role);
    (state, out.effects)
}

fn forward(state: &mut State, out: &mut Out, epoch: &Epoch) {
    use super::Phase;
    if state.memory.phase == Phase::Planned {
        return;
    }
    if state.memory.phase == Phase::Preflight && state.memory.closing.is_none() {
        preflight::decide(state, out, epoch);
    }
    if !preflight::stamped(state, out, epoch) {
        return;
    }
    if state.memory.closing.is_some() {
        service::close(state, out, epoch);
        return;
    }
    if state.memory.undo.is_some() || !state.sight.ordering.is_empty() {
        expand::down(state, out, epoch);
        return;
    }
    match state.memory.phase {
        Phase::Expanding => expand::decide(state, out, epoch),
        Phase::Rolling => service::roll(state, out, epoch),
        Phase::Flags => flags::ramp(state, out, epoch),
        _ => {}
    }
    expand::down(state, out, epoch);
}

/// A journal that did not become durable is written again: what waits for it would wait for ever.
fn keep_journal(state: &mut State, out: &mut Out) {
    let now = state.sight.now;
    if state.sight.kept >= state.memory.entries || now < state.sight.keep_at + state.plan.times.resend {
        return;
    }
    state.sight.keep_at = now;
    let asked = out.effects.iter().any(|e| matches!(e, Effect::Keep(_)));
    if !asked {
        out.effects.push(Effect::Keep(state.memory.entries));
    }
}

fn keep_status(state: &mut State, out: &mut Out, role: Role<'_>) {
    if matches!(role, Role::Conducting(_)) && state.memory.version > state.sight.status_sent {
        state.sight.status_sent = state.memory.version;
        out.effects.push(Effect::Status(state.memory.version));
    }
}

fn take_in(state: &mut State, out: &mut Out, input: &Input) {
    match &input.event {
        Event::Tick => {}
        Event::Gap => {
            for s in 0..state.sight.desks.len() {
                let desk = &mut state.sight.desks[s];
                desk.fresh = false;
                desk.heard = None;
                if let Ok(id) = u16::try_from(s) {
                    out.effects.push(Effect::Read(id));
                }
            }
            state.sight.stamped = None;
            // Nor does it count that nothing was heard.
            state.sight.begun_at = state.sight.now;
        }
        Event::Fact(fact) => take_fact(state, out, &fact.check, &fact.found),
        Event::Read(s, reading) => take_reading(state, out, usize::from(*s), reading),
        Event::Gone(s) => {
            let desk = &mut state.sight.desks[usize::from(*s)];
            desk.gone = true;
            desk.fresh = false;
            outside::gone(state, out, usize::from(*s));
        }
        Event::FlagRead(f, reading) => {
            let f = usize::from(*f);
            if state.sight.flags[f].as_ref().is_none_or(|known| known.version <= reading.version) {
                if state.sight.flags[f].as_ref() != Some(reading) {
                    state.sight.flag_sent[f] = None;
                }
                state.sight.flags[f] = Some(reading.clone());
            }
        }
        Event::JobRead(m, reading) => {
            let job = &mut state.memory.jobs[usize::from(*m)];
            if job.reading != *reading {
                job.reading = *reading;
                state.touch();
            }
        }
        Event::Judged(judged) => take_verdict(state, out, judged),
        Event::Tripped(trip) => auto::tripped(state, out, trip),
        Event::Ordered(intent) => {
            state.sight.ordering.retain(|(waiting, _)| waiting.id != intent.id);
            orders::take(state, out, intent);
        }
        Event::Answered(token, answer) => take_answer(state, out, *token, answer),
        Event::Kept(entry) => state.sight.kept = state.sight.kept.max(*entry),
        Event::StatusKept(version) => state.sight.status_kept = state.sight.status_kept.max(*version),
        Event::Freeze(why) => state.sight.frozen.clone_from(why),
        Event::Acted(..) => {}
    }
}

fn take_fact(state: &mut State, out: &mut Out, check: &Check, found: &Found) {
    if let (Check::Policy(n), Some(wall)) = (check, out.wall()) {
        let n = usize::from(*n);
        if n < state.plan.policies.len() {
            state.sight.policies[n] = match found {
                Found::Good(evidence) => {
                    Verified::passed(state.plan.policies[n].name.clone(), evidence.clone(), wall).ok()
                }
                _ => None,
            };
        }
    }
    if let Check::Burning(s) = check {
        let measured = matches!(found, Found::Good(_) | Found::Warn(_));
        state.sight.desks[usize::from(*s)].measured = Some(measured);
        if matches!(found, Found::Refuse(_)) && state.memory.phase != super::Phase::Preflight {
            auto::burning(state, out, *s);
        }
    }
    // A train rests on what was found before it set off. The same looked at while it is under way, by whoever took it over, says
    // something else (a flag on its ramp is not at its old value), and what cannot be read now was read then.
    if state.memory.phase.has_set_off() && !matches!(check, Check::Burning(_) | Check::Scrape) {
        return;
    }
    let known = state.memory.facts.iter_mut().find(|(c, _)| c == check);
    match known {
        Some((_, f)) if f == found => return,
        Some((_, f)) => f.clone_from(found),
        None => state.memory.facts.push((check.clone(), found.clone())),
    }
    state.touch();
}

fn take_reading(state: &mut State, out: &mut Out, s: usize, reading: &Arc<Reading>) {
    let desk = &mut state.sight.desks[s];
    let old = desk.reading.clone();
    if old.as_ref().is_some_and(|o| o.uid != reading.uid) {
        desk.need = 0;
    }
    if let Some(old) = &old
        && old.uid == reading.uid
        && old.version > reading.version
    {
        // From the past (a lagging server): what we know is newer.
        return;
    }
    desk.gone = false;
    desk.read_at = state.sight.now;
    let waits_for = desk.busy.as_ref().filter(|b| !b.answered).is_some();
    if !waits_for && reading.version >= desk.need {
        desk.fresh = true;
        desk.busy = None;
    }
    let moved = old.as_ref().is_none_or(|o| o.step != reading.step || o.current != reading.current);
    desk.reading = Some(reading.clone());
    if moved {
        state.memory.services[s].in_step = 0;
        state.memory.services[s].waits = 0;
    }
    if old.as_deref() != Some(&**reading) {
        outside::watch(state, out, s, old.as_deref());
    }
}

fn take_verdict(state: &mut State, out: &mut Out, judged: &Judged) {
    let s = usize::from(judged.service);
    let now = state.sight.now;
    let stale = state.plan.broken(Mutant::StaleVerdictCounts);
    let m = &mut state.memory.services[s];
    // A verdict on another version than the one in flight says nothing about it.
    let about_this = judged.hash.is_none() || judged.hash == m.deployed || stale;
    if !about_this {
        return;
    }
    let counts = judged.verdict == Verdict::Pass && judged.full
        || state.plan.broken(Mutant::NoDataCounts) && judged.verdict == Verdict::NoData;
    if counts && judged.hash.is_some() && m.deployed.is_some() {
        let step = if stale { state.sight.desks[s].reading.as_ref().map(|r| r.step) } else { judged.step };
        let passed = step.map_or(0, |k| k + 1);
        if passed > m.passed {
            m.passed = passed;
            state.memory.version += 1;
        }
    }
    state.sight.desks[s].heard = Some(Heard {
        verdict: judged.verdict,
        hash: judged.hash.clone(),
        step: judged.step,
        full: judged.full,
        error: judged.error,
        cause: judged.cause,
        why: judged.why.clone(),
        at: now,
    });
    if judged.verdict == Verdict::Fail {
        auto::trip(state, out, judged);
    }
}

fn take_answer(state: &mut State, out: &mut Out, token: u64, answer: &Answer) {
    for s in 0..state.sight.desks.len() {
        let Ok(id) = u16::try_from(s) else { return };
        let desk = &mut state.sight.desks[s];
        let mine = desk.busy.as_ref().is_some_and(|b| b.token == token);
        if !mine {
            continue;
        }
        if let Some(busy) = &mut desk.busy {
            busy.answered = true;
        }
        desk.fresh = false;
        if let Answer::Landed(version) = answer {
            desk.need = *version;
            desk.refusals = 0;
            desk.denied = None;
        }
        if let Answer::Refused(why) = answer {
            desk.refusals += 1;
            refused(state, out, s, why);
        }
        out.effects.push(Effect::Read(id));
        return;
    }
    for (f, sent) in state.sight.flag_sent.iter_mut().enumerate() {
        if *sent == Some(token) {
            // Whatever came of it: the version test makes another try harmless.
            *sent = None;
            if let Ok(id) = u16::try_from(f) {
                out.effects.push(Effect::ReadFlag(id));
            }
        }
    }
    if let Answer::Refused(why) = answer
        && let Some(s) = state.sight.desks.iter().position(|d| d.safe_token == token)
    {
        state.sight.desks[s].refusals += 1;
        refused(state, out, s, why);
    }
}

fn refused(state: &mut State, out: &mut Out, s: usize, why: &Text) {
    state.sight.desks[s].denied = Some(why.clone());
    if state.sight.desks[s].refusals < REFUSALS {
        return;
    }
    if matches!(state.memory.services[s].stage, Stage::Undoing | Stage::Failed) {
        undo::stuck(state, s, why.clone());
    } else if state.memory.recorded && state.memory.closing.is_none() && state.memory.services[s].outside.is_none() {
        let name = &state.plan.services[s].name;
        let what = crate::text!("{name}: the server refuses every write: {why}");
        outside::seen(state, out, s, what);
    }
}
