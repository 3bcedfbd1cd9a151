//! Taking back: aborts of one canary, and the undo of services in the order of `train.md` §5. Everything here is safe: it asks
//! neither for the Lease nor for a gate, and may be carried out by any hands at once.

use super::effect::{Effect, Safe};
use super::event::{Reading, Spec};
use super::hold::send;
use super::resolved::{Deploy, Kind, ServiceId};
use super::state::{Stage, State, What};
use super::step::Out;
use crate::core::mutant::Mutant;
use crate::core::text::Text;
use crate::text;

/// How long git may take to be seen before live state is restored over it (`train.md` §7).
const GIT_PATIENCE: u64 = 10_000;

/// How often a restore that another hand reverted is done again before a person must step in.
pub(super) const FIGHTS_MAX: u32 = 3;

/// What a restored template still needs: its mark and the end of a hold, then full promotion where no fast way is left.
fn bring_home(state: &mut State, out: &mut Out, s: usize, r: &Reading, intent: u64) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let recorded = state.memory.services[s].recorded.clone();
    if r.undo.is_none() || r.paused {
        send(state, out, s, What::Mark, |plan| Safe::mark_undo(plan, id, r, intent));
    } else if let Some(recorded) = recorded
        && r.observed
        && r.current == recorded
        && r.stable != recorded
        && !r.full
        && !r.fast
    {
        send(state, out, s, What::Promote, |plan| Safe::promote_recorded(plan, id, r, &recorded, intent));
    }
}

/// Drives everything that is to go back.
pub(super) fn drive(state: &mut State, out: &mut Out) {
    widen(state);
    for s in state.ids() {
        match state.memory.services[s].stage {
            Stage::Undoing | Stage::Failed => take_back(state, out, s),
            Stage::Aborting => abort(state, out, s),
            Stage::Aborted => after_abort(state, out, s),
            // Its mark was taken away, without which a late deploy would land, or it was paused: it is not back any more.
            Stage::Undone
                if state.memory.undo.is_some()
                    && state.memory.closing.is_none()
                    && !is_back(state, s)
                    && state.sight.desks[s].reading.as_ref().is_some_and(|r| r.spec == Spec::Recorded) =>
            {
                state.set_stage(s, Stage::Undoing);
            }
            _ => {}
        }
    }
}

/// A deploy that landed after the order was taken in goes back with the rest.
fn widen(state: &mut State) {
    let Some(undo) = &state.memory.undo else { return };
    if undo.alone {
        return;
    }
    for s in state.ids() {
        let Ok(id) = ServiceId::try_from(s) else { return };
        let Some(undo) = &mut state.memory.undo else { return };
        let m = &mut state.memory.services[s];
        let moves = m.touched && !matches!(m.stage, Stage::Undoing | Stage::Undone | Stage::Failed | Stage::Unchanged);
        if !moves || undo.services.contains(&id) {
            continue;
        }
        if undo.whole || undo.services.clone().iter().any(|u| state.plan.dependents(*u).contains(&id)) {
            undo.services.push(id);
            m.patience = 0;
            m.undone_by = Some(undo.id);
            m.stage = Stage::Undoing;
            state.memory.version += 1;
        }
    }
}

/// True when a service is as it was recorded, read back.
pub(super) fn is_back(state: &State, s: usize) -> bool {
    let m = &state.memory.services[s];
    let Some(r) = &state.sight.desks[s].reading else { return false };
    if state.plan.broken(Mutant::RolledBackTooEarly) {
        return r.spec == Spec::Recorded;
    }
    r.spec == Spec::Recorded
        && r.observed
        && Some(&r.current) == m.recorded.as_ref()
        && Some(&r.stable) == m.recorded.as_ref()
        && r.healthy
        && !r.aborted
        && !r.paused
        && r.undo.is_some()
}

/// True when a service that this train did not touch is as it was.
fn untouched_is_back(state: &State, s: usize) -> bool {
    let m = &state.memory.services[s];
    if m.let_go || state.plan.broken(Mutant::RolledBackTooEarly) {
        return true;
    }
    let Some(r) = &state.sight.desks[s].reading else { return false };
    r.spec != Spec::Other
        && Some(&r.current) == m.recorded.as_ref()
        && Some(&r.stable) == m.recorded.as_ref()
        && r.observed
        && !r.paused
}

/// Says that a service cannot be taken back, and why.
pub(super) fn stuck(state: &mut State, s: usize, why: Text) {
    if state.memory.services[s].stuck.as_ref() != Some(&why) {
        state.memory.services[s].stuck = Some(why);
        state.touch();
    }
    state.set_stage(s, Stage::Failed);
}

/// True when its turn has come: in flight at once; finished as soon as nothing built on it serves its new version.
pub(super) fn may_go(state: &State, s: usize) -> bool {
    let Ok(id) = ServiceId::try_from(s) else { return false };
    let m = &state.memory.services[s];
    let Some(r) = &state.sight.desks[s].reading else { return false };
    let in_flight = Some(&r.stable) == m.recorded.as_ref();
    let alone = state.memory.undo.as_ref().is_some_and(|u| u.alone);
    in_flight
        || alone
        || state.plan.broken(Mutant::UndoInAnyOrder)
        || state.plan.dependents(id).iter().all(|d| !state.serves_new(usize::from(*d)))
}

fn take_back(state: &mut State, out: &mut Out, s: usize) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else {
        ask(state, out, s);
        return;
    };
    if is_back(state, s) {
        state.memory.services[s].stuck = None;
        state.memory.services[s].recovered = out.wall();
        state.set_stage(s, Stage::Undone);
        return;
    }
    // What another hand deployed is not written over, whosever turn it is, and told at once.
    if r.spec != Spec::Other && !may_go(state, s) {
        let mut built_on = state.plan.dependents(id).into_iter().map(usize::from);
        if let Some(d) = built_on.find(|d| state.memory.services[*d].let_go && state.serves_new(*d)) {
            let (name, what) = (&state.plan.service(id).name, &state.plan.services[d].name);
            stuck(state, s, text!("{name}: {what}, which was let go, still serves what this train deployed"));
        }
        return;
    }
    let Some(intent) = state.memory.undo.as_ref().map(|u| u.id).or(state.memory.services[s].undone_by) else { return };
    let patience = state.memory.services[s].patience + out.passed;
    state.memory.services[s].patience = patience;
    let late = patience > state.plan.times.undo_patience && !state.plan.broken(Mutant::NeverGivesUp);
    if late && state.memory.services[s].stage == Stage::Undoing {
        let why = missing(state, s, &r);
        stuck(state, s, why);
    }
    match r.spec {
        Spec::Pinned => {
            let deployed = state.memory.services[s].deployed.clone();
            let in_flight = r.observed && Some(&r.current) == deployed.as_ref() && r.stable != r.current;
            if state.plan.deploy == Deploy::Git && patience < GIT_PATIENCE {
                if let (true, false, Some(deployed)) = (in_flight, r.aborted || r.full, &deployed) {
                    send(state, out, s, What::Abort, |plan| Safe::abort(plan, id, &r, deployed, intent));
                } else if r.undo.is_none() || r.paused {
                    send(state, out, s, What::Mark, |plan| Safe::mark_undo(plan, id, &r, intent));
                }
                if patience <= out.passed {
                    let token = state.token();
                    out.effects.push(Effect::Revert(token, vec![id]));
                }
                return;
            }
            if state.plan.deploy == Deploy::Git && patience - out.passed < GIT_PATIENCE {
                let token = state.token();
                out.effects.push(Effect::SuspendSync(token, id));
                let name = &state.plan.service(id).name;
                alarm(state, out, s, text!("{name}: git still says the new version; live state is restored over it"));
            }
            // Whoever brings the new version back again and again would go on doing so: its traffic is taken off instead, and
            // stays off until a person has made the source say OLD.
            let fought = state.memory.services[s].fights > FIGHTS_MAX && state.plan.service(id).kind == Kind::Rollout;
            let still_recorded = Some(&r.stable) == state.memory.services[s].recorded.as_ref();
            if let (true, true, Some(deployed)) = (fought && !r.full, still_recorded, deployed) {
                if !r.observed {
                    // An abort of what its controller has not looked at is lost. A restore now would come before there is ever
                    // anything to abort: the fight would not end.
                    return;
                }
                if in_flight {
                    if !r.aborted {
                        send(state, out, s, What::Abort, |plan| Safe::abort(plan, id, &r, &deployed, intent));
                    } else if r.undo.is_none() || r.paused {
                        send(state, out, s, What::Mark, |plan| Safe::mark_undo(plan, id, &r, intent));
                    }
                    return;
                }
            }
            send(state, out, s, What::Restore, |plan| Safe::restore(plan, id, &r, intent));
        }
        Spec::Other if state.plan.broken(Mutant::RestoreOverOthers) => {
            send(state, out, s, What::Restore, |plan| Safe::restore(plan, id, &r, intent));
        }
        Spec::Other => {
            let name = &state.plan.service(id).name;
            let why = text!("{name}: somebody deployed another template; footplate does not write over it");
            if state.memory.services[s].stuck.as_ref() != Some(&why) {
                alarm(state, out, s, why.clone());
            }
            stuck(state, s, why);
        }
        Spec::Recorded => {
            bring_home(state, out, s, &r, intent);
        }
    }
}

fn ask(state: &mut State, out: &mut Out, s: usize) {
    let now = state.sight.now;
    let desk = &mut state.sight.desks[s];
    if let (Ok(id), true) = (ServiceId::try_from(s), desk.read_at + state.plan.times.resend <= now) {
        desk.read_at = now;
        out.effects.push(Effect::Read(id));
    }
}

/// What is still missing until it is back, in words.
pub(super) fn missing(state: &State, s: usize, r: &Reading) -> Text {
    let name = &state.plan.services[s].name;
    let m = &state.memory.services[s];
    if r.spec == Spec::Pinned {
        return text!("{name}: the restore does not land");
    }
    if !r.observed {
        return text!("{name}: its controller does not take the restored template up");
    }
    if Some(&r.stable) != m.recorded.as_ref() {
        return text!("{name}: the recorded version does not become stable (are its pods available, its image there?)");
    }
    if r.paused {
        return text!("{name}: it is still paused");
    }
    text!("{name}: it is not healthy yet")
}

/// X on one service: `/status` first, then at once the mark.
fn abort(state: &mut State, out: &mut Out, s: usize) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else {
        ask(state, out, s);
        return;
    };
    let intent = state.memory.services[s].abort.unwrap_or_default();
    let m = &state.memory.services[s];
    let recorded = m.recorded.clone();
    let target = m.deployed.clone().filter(|d| r.observed && r.current == *d);
    match r.spec {
        Spec::Pinned => {
            if r.aborted {
                if r.undo.is_none() || r.paused {
                    send(state, out, s, What::Mark, |plan| Safe::mark_undo(plan, id, &r, intent));
                } else if r.weight == 0 {
                    state.set_stage(s, Stage::Aborted);
                }
                return;
            }
            // Argo ignores an abort of what it has not seen, of what is fully promoted or on its way there.
            match target {
                Some(deployed) if !r.full && r.stable != r.current && recorded.as_ref() == Some(&r.stable) => {
                    send(state, out, s, What::Abort, |plan| Safe::abort(plan, id, &r, &deployed, intent));
                }
                _ => send(state, out, s, What::Restore, |plan| Safe::restore(plan, id, &r, intent)),
            }
        }
        Spec::Recorded => {
            if is_back(state, s) {
                state.set_stage(s, Stage::Aborted);
            } else {
                bring_home(state, out, s, &r, intent);
            }
        }
        Spec::Other => state.set_stage(s, Stage::Aborted),
    }
}

/// An aborted canary stays off until somebody decides.
fn after_abort(state: &mut State, out: &mut Out, s: usize) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else { return };
    let m = &state.memory.services[s];
    let Some(intent) = m.abort else { return };
    let back_on = r.spec == Spec::Pinned && !r.aborted;
    if back_on && !m.retry {
        let fights = fought(state, s);
        let name = &state.plan.service(id).name;
        alarm(state, out, s, text!("{name}: another hand lets the aborted version go on ({fights})"));
        state.set_stage(s, Stage::Aborting);
    } else if r.spec == Spec::Pinned && r.aborted && r.paused && !m.retry {
        send(state, out, s, What::Mark, |plan| Safe::mark_undo(plan, id, &r, intent));
    }
}

/// What was taken back came again by another hand: for which time.
pub(super) fn fought(state: &mut State, s: usize) -> u32 {
    let m = &mut state.memory.services[s];
    m.fights += 1;
    m.fights
}

/// A person must see this. Said once each: what can happen again counts its times in its words.
pub(super) fn alarm(state: &mut State, out: &mut Out, s: usize, what: Text) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let alarms = &mut state.memory.alarms;
    if alarms.last().is_some_and(|(of, last)| *of == id && *last == what) {
        return;
    }
    alarms.push((id, what.clone()));
    if alarms.len() > 64 {
        alarms.remove(0);
    }
    state.touch();
    out.effects.push(Effect::Alarm(id, what));
}

/// Reads everything once more, some time after it was back: what watches may have missed, and what another hand reverts a
/// little later, must not be declared as done. True when all was read since.
pub(super) fn looked(state: &mut State, out: &mut Out) -> bool {
    let now = state.sight.now;
    let Some(since) = state.sight.last_look else {
        state.sight.last_look = Some(now);
        for s in state.ids() {
            state.sight.desks[s].fresh = false;
            ask_now(state, out, s);
        }
        return false;
    };
    let since = since + state.plan.times.settle;
    if now < since {
        return false;
    }
    let mut all = true;
    for s in state.ids() {
        let desk = &state.sight.desks[s];
        if desk.gone || state.memory.services[s].let_go || desk.fresh && desk.read_at >= since {
            continue;
        }
        all = false;
        if now >= desk.asked_at + state.plan.times.resend {
            ask_now(state, out, s);
        }
    }
    all
}

fn ask_now(state: &mut State, out: &mut Out, s: usize) {
    state.sight.desks[s].asked_at = state.sight.now;
    if let Ok(id) = ServiceId::try_from(s) {
        out.effects.push(Effect::Read(id));
    }
}

/// When all that was to go back is back: the end of the train, or a hold that offers to go on.
pub(super) fn settle(state: &mut State, out: &mut Out) {
    let Some(undo) = state.memory.undo.clone() else { return };
    let all = undo.services.iter().all(|s| {
        let s = usize::from(*s);
        let m = &state.memory.services[s];
        m.let_go || m.stage == Stage::Undone && is_back(state, s)
    });
    let flags = state
        .memory
        .flags
        .iter()
        .zip(&state.sight.flags)
        .all(|(flag, read)| !flag.back || read.as_ref().is_some_and(|r| Some(&r.value) == flag.recorded.as_ref()))
        // A move that was sent before and has no answer yet may still land.
        && state.sight.flag_sent.iter().all(Option::is_none)
        || state.plan.broken(Mutant::FlagsNotTakenBack);
    let down =
        state.memory.jobs.iter().all(|j| {
            !j.down || matches!(j.reading, super::event::JobReading::DownDone | super::event::JobReading::Absent)
        });
    if !all || !flags || !down {
        state.sight.last_look = None;
        if state.memory.recovered.take().is_some() {
            state.touch();
        }
        return;
    }
    if undo.whole {
        // What the train never touched must be as it was, too, or it is not rolled back.
        for s in state.ids() {
            if !undo.services.iter().any(|u| usize::from(*u) == s) && !untouched_is_back(state, s) {
                if state.memory.services[s].outside.is_none() {
                    let what = text!("{}: another hand changed it meanwhile", state.plan.services[s].name);
                    super::outside::seen(state, out, s, what);
                }
                return;
            }
        }
        if state.memory.recovered.is_none() {
            state.memory.recovered = out.wall();
            state.touch();
        }
        if !looked(state, out) {
            return;
        }
        state.memory.closing = Some(super::state::Ended::RolledBack);
    } else {
        for flag in &mut state.memory.flags {
            if flag.back {
                *flag =
                    super::state::FlagMemory { back: false, moved: false, ramp: 0, ms: 0, failing: 0, ..flag.clone() };
            }
        }
        state.memory.undo = None;
        let second = undo.automatic && undo.services.iter().any(|s| state.memory.services[usize::from(*s)].trips > 1);
        let why = match undo.services.last() {
            Some(s) if second => super::event::HoldFor::Second(*s),
            _ => super::event::HoldFor::Partly,
        };
        if let Some(wall) = out.wall() {
            state.memory.holds.push(super::state::Hold {
                id: undo.id,
                why,
                service: None,
                who: undo.who,
                reason: text!("a part was taken back"),
                since: wall,
                ms: 0,
                paged: 0,
            });
        }
    }
    state.touch();
}
