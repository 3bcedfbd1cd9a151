//! Before anything moves: the checks that must have an answer, taking the objects under the train, and recording what is
//! live. What each check looks at is found out elsewhere; here is which are needed and what an answer means.

use super::Phase;
use super::effect::{Effect, Forward, Proof, Tell};
use super::event::{Check, Found, Spec};
use super::resolved::{Deploy, Resolved, ServiceId};
use super::state::{Busy, Ended, Stage, State, What};
use super::step::Out;
use crate::core::elector::Epoch;
use crate::core::mutant::Mutant;
use crate::core::text::Text;
use crate::core::verified::Verified;
use crate::text;

/// Every check that a train of this plan needs an answer to.
pub fn checks(plan: &Resolved) -> Vec<Check> {
    let mut all = vec![Check::Cluster, Check::Rights, Check::Alone, Check::Freeze];
    let policies = u16::try_from(plan.policies.len()).unwrap_or(u16::MAX);
    all.extend((0..policies).map(Check::Policy));
    let services = ServiceId::try_from(plan.services.len()).unwrap_or(ServiceId::MAX);
    for s in 0..services {
        all.extend([
            Check::Burning(s),
            Check::Quarantine(s),
            Check::Drift(s),
            Check::ConfigVolume(s),
            Check::Weights(s),
            Check::WayBack(s),
            Check::Anew(s),
        ]);
    }
    all.extend((0..u16::try_from(plan.flags.len()).unwrap_or(u16::MAX)).map(Check::FlagOld));
    if !plan.migrations.is_empty() {
        all.push(Check::Schema);
    }
    if plan.deploy == Deploy::Git {
        all.push(Check::Push);
    }
    all
}

/// What stands against setting off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Go,
    Waits,
    Asks,
    Refuses,
}

pub(super) fn verdict(state: &State) -> Verdict {
    let mut verdict = Verdict::Go;
    for check in checks(&state.plan) {
        let found = state.memory.facts.iter().find(|(c, _)| *c == check).map(|(_, f)| f);
        let waived = match &check {
            Check::Policy(n) => {
                state.sight.policies[usize::from(*n)].is_some() || state.plan.broken(Mutant::ProofNotNeeded)
            }
            _ => false,
        };
        match found {
            Some(Found::Good(_) | Found::Warn(_)) => {}
            _ if waived => {}
            Some(Found::Refuse(_)) => return Verdict::Refuses,
            Some(Found::Ask(_)) if state.memory.accepted.contains(&check) => {}
            Some(Found::Ask(_)) => verdict = Verdict::Asks,
            Some(Found::Unknown(_)) | None if verdict == Verdict::Go => verdict = Verdict::Waits,
            Some(Found::Unknown(_)) | None => {}
        }
    }
    verdict
}

/// Policies that somebody let pass.
pub(super) fn waive(state: &mut State, out: &Out) {
    let Some(now) = out.wall() else { return };
    for (n, policy) in state.plan.policies.iter().enumerate() {
        if state.sight.policies[n].is_none()
            && let Some(w) = &policy.waiver
        {
            state.sight.policies[n] =
                Verified::waived(policy.name.clone(), w.by.clone(), w.reason.clone(), w.until, now).ok();
        }
    }
}

/// The proof that everything was checked, as far as this process has seen it checked.
pub(super) fn proof(state: &State) -> Option<Proof> {
    Proof::of(&state.plan, &state.sight.policies, state.sight.preflight.as_ref())
}

pub(super) fn decide(state: &mut State, out: &mut Out, _epoch: &Epoch) {
    waive(state, out);
    state.memory.preflight_ms += out.passed;
    match verdict(state) {
        Verdict::Go => {
            let Some(wall) = out.wall() else { return };
            state.memory.started = Some(wall);
            state.memory.phase = Phase::Rolling;
            state.memory.preflight_ms = 0;
            if state.plan.waves.first().is_some_and(|w| w.expand) {
                state.memory.phase = Phase::Expanding;
            }
            if !state.memory.told.contains(&Tell::Started) {
                state.memory.told.push(Tell::Started);
                out.effects.push(Effect::Tell(Tell::Started));
            }
            state.touch();
        }
        // A refusal is final; what nobody answers in time is one too.
        Verdict::Refuses => end_refused(state),
        Verdict::Asks | Verdict::Waits if state.memory.preflight_ms >= state.plan.times.page => end_refused(state),
        Verdict::Asks | Verdict::Waits => {}
    }
}

fn end_refused(state: &mut State) {
    state.memory.closing = Some(Ended::Refused);
    state.memory.ended = Some(Ended::Refused);
    state.touch();
}

/// Takes every object under this train and epoch, then records what is live. True when all that is read back.
pub(super) fn stamped(state: &mut State, out: &mut Out, epoch: &Epoch) -> bool {
    if !state.memory.phase.has_set_off() {
        return state.memory.phase == Phase::Preflight && state.memory.closing.is_some();
    }
    if state.sight.preflight.is_none() {
        waive(state, out);
        if let (Some(wall), Verdict::Go) = (out.wall(), verdict(state)) {
            let says = text!("{} checks of the pre-flight", state.memory.facts.len());
            state.sight.preflight = Verified::passed(text!("pre-flight"), says, wall).ok();
        }
    }
    if state.sight.stamped.as_ref() == Some(&(epoch.number(), epoch.holder().clone())) && state.memory.recorded {
        return true;
    }
    let mine = |e: &(u64, Text)| e.0 == epoch.number() && e.1 == *epoch.holder();
    // Everything is looked at before anything is stamped: one object may bear what says that this epoch is used up, and another
    // have lost its stamps.
    let mut used = None;
    for desk in &state.sight.desks {
        match &desk.reading {
            Some(r) => used = used.max(r.epoch.as_ref().filter(|e| e.0 >= epoch.number() && !mine(e)).map(|e| e.0)),
            None if desk.gone && state.memory.recorded => {}
            None => return false,
        }
    }
    if let Some(number) = used {
        used_up(state, out, epoch, number);
        return false;
    }
    let mut all = true;
    for s in state.ids() {
        let Ok(id) = ServiceId::try_from(s) else { return false };
        let desk = &state.sight.desks[s];
        let Some(r) = desk.reading.clone() else { continue };
        let stamped = r.train.as_ref() == Some(&state.plan.uid) && r.epoch.as_ref().is_some_and(mine);
        if stamped || state.memory.closing.is_some() && r.train.is_none() {
            continue;
        }
        all = false;
        if !desk.gone && desk.fresh && idle(state, s) {
            send(state, out, s, What::Stamp, |plan| Forward::stamp(plan, id, &r, epoch));
        }
    }
    if !all {
        return false;
    }
    state.sight.stamped = Some((epoch.number(), epoch.holder().clone()));
    if !state.memory.recorded && !record(state, out) {
        // What moves cannot be recorded: a person is waited for, then the train does not set off.
        state.memory.preflight_ms += out.passed;
        if state.memory.preflight_ms >= state.plan.times.page && state.memory.closing.is_none() {
            state.memory.closing = Some(Ended::Refused);
            state.touch();
        }
        return state.memory.closing.is_some();
    }
    // What was recorded must be durable before anything rests on it.
    true
}

/// Somebody else has used this epoch, or a higher one: nothing goes forward before the Lease is claimed above it.
pub(super) fn used_up(state: &mut State, out: &mut Out, epoch: &Epoch, number: u64) {
    if state.sight.used_up != epoch.number() {
        state.sight.used_up = epoch.number();
        out.effects.push(Effect::EpochUsedUp(number));
    }
}

/// What hands go by, and an undo, where no status says what was recorded: the records themselves.
pub(super) fn adopt(state: &mut State) {
    for s in state.ids() {
        if state.memory.services[s].recorded.is_none() && take_record(state, s) {
            state.memory.recorded = true;
            if !state.memory.phase.has_set_off() {
                state.memory.phase = Phase::Rolling;
            }
        }
    }
}

/// A record of this train that lies there was made at its start, whatever is live now. True when there is one.
fn take_record(state: &mut State, s: usize) -> bool {
    let Some(r) = &state.sight.desks[s].reading else { return false };
    let Some(record) = &r.record else { return false };
    let m = &mut state.memory.services[s];
    m.recorded = Some(record.clone());
    m.uid = Some(r.uid.clone());
    if r.spec == Spec::Pinned && *record == r.stable && r.current == r.stable {
        m.stage = Stage::Unchanged;
    }
    state.touch();
    true
}

fn record(state: &mut State, out: &mut Out) -> bool {
    let mut all = true;
    for s in state.ids() {
        let Ok(id) = ServiceId::try_from(s) else { return false };
        let Some(r) = state.sight.desks[s].reading.clone() else {
            all = false;
            continue;
        };
        if state.memory.services[s].recorded.is_some() || take_record(state, s) {
            continue;
        }
        all = false;
        if r.observed && r.healthy && r.current == r.stable && state.sight.desks[s].fresh && idle(state, s) {
            let token = state.token();
            let since = state.sight.now;
            state.sight.desks[s].busy = Some(Busy { token, since, what: What::Record, answered: false });
            out.effects.push(Effect::Record(token, id));
        }
    }
    for (flag, read) in state.memory.flags.iter_mut().zip(&state.sight.flags) {
        match read {
            Some(read) if flag.recorded.is_none() => flag.recorded = Some(read.value.clone()),
            Some(_) => {}
            None => all = false,
        }
    }
    if all {
        state.memory.recorded = true;
        state.touch();
        // What was read before counts from now on.
        for s in state.ids() {
            super::outside::watch(state, out, s, None);
        }
    }
    all
}

/// True when nothing of ours is under way on a workload.
pub(super) fn idle(state: &mut State, s: usize) -> bool {
    let now = state.sight.now;
    let write = state.plan.times.write;
    let desk = &mut state.sight.desks[s];
    if let Some(busy) = &desk.busy
        && !busy.answered
        && now >= busy.since + write
    {
        // Its outcome is unknown: it is read back before anything else goes out.
        desk.busy = None;
    }
    desk.busy.is_none()
}

/// Sends a change of the conductor's and remembers that it is under way.
pub(super) fn send(state: &mut State, out: &mut Out, s: usize, what: What, make: impl FnOnce(&Resolved) -> Forward) {
    let token = state.token();
    let since = state.sight.now;
    let forward = make(&state.plan);
    let desk = &mut state.sight.desks[s];
    desk.busy = Some(Busy { token, since, what, answered: false });
    desk.fresh = false;
    desk.announced = None;
    out.effects.push(Effect::Forward(token, forward));
}
