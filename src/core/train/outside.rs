//! Changes by somebody else: kubectl, GitOps self-heal, a controller's own abort, a deleted object. Seen by comparing what
//! is read with what this train did; each is told once, and stops the train until a person answers.

use super::event::{Reading, Spec};
use super::hold;
use super::resolved::ServiceId;
use super::state::{Stage, State};
use super::step::Out;
use super::undo::{FIGHTS_MAX, alarm, fought, stuck};
use crate::core::mutant::Mutant;
use crate::text;

/// Looks at a new reading beside the one before.
pub(super) fn watch(state: &mut State, out: &mut Out, s: usize, old: Option<&Reading>) {
    let Ok(id) = ServiceId::try_from(s) else { return };
    let Some(r) = state.sight.desks[s].reading.clone() else { return };
    if is_no_matter(state, s, &r) {
        return;
    }
    let name = state.plan.service(id).name.clone();
    let stamped = r.train.as_ref() == Some(&state.plan.uid);
    if !stamped {
        // It is taken under the train again.
        state.sight.stamped = None;
    }
    let wiped = old.is_some_and(|o| o.uid == r.uid && o.train.as_ref() == Some(&state.plan.uid));
    if !stamped && wiped && state.memory.closing.is_none() {
        alarm(state, out, s, text!("{name}: another hand took the train's stamps away"));
    }
    let m = &state.memory.services[s];
    if m.uid.as_ref().is_some_and(|uid| *uid != r.uid) && m.outside.is_none() {
        seen(state, out, s, text!("{name}: was deleted and made anew by another hand"));
        state.memory.services[s].uid = Some(r.uid.clone());
        return;
    }
    let m = &state.memory.services[s];
    let what = match m.stage {
        Stage::Unchanged | Stage::Waiting if !m.touched && r.train.is_some() => {
            let changed = r.spec == Spec::Other || Some(&r.current) != m.recorded.as_ref();
            let by_us = r.spec == Spec::Pinned && m.stage == Stage::Waiting;
            (changed && !by_us).then(|| text!("{name}: another hand deployed something else before its turn"))
        }
        Stage::Stepping | Stage::Baking | Stage::Done => {
            if r.spec == Spec::Other {
                Some(text!("{name}: another hand deployed something else over this train's version"))
            } else if r.spec == Spec::Recorded {
                Some(text!("{name}: another hand put the version before this train back"))
            } else if r.observed && Some(&r.current) != m.deployed.as_ref() {
                Some(text!("{name}: another hand deployed the pinned version in another way"))
            } else {
                None
            }
        }
        Stage::Aborted if m.abort.is_none() && !m.retry && r.spec == Spec::Pinned && !r.aborted && r.observed => {
            // It walks again by another hand's word: it is held and judged as any other.
            state.memory.services[s].passed = 0;
            state.set_stage(s, Stage::Stepping);
            Some(text!("{name}: another hand lets the aborted version go on"))
        }
        // No deploy of ours lands on what bears the mark of an undo. Another try was ordered, and this is one: it is judged as ours.
        Stage::Waiting if m.touched && r.spec == Spec::Pinned && r.undo.is_some() => {
            let fights = fought(state, s);
            alarm(state, out, s, text!("{name}: another hand deployed what was taken back ({fights})"));
            None
        }
        Stage::Deploying | Stage::Aborting | Stage::Aborted | Stage::Waiting if r.spec == Spec::Other => {
            Some(text!("{name}: another hand deployed something else"))
        }
        _ => None,
    };
    if let Some(what) = what {
        if state.memory.services[s].outside.as_ref() != Some(&what) {
            seen(state, out, s, what);
        }
        return;
    }
    let reverted = r.spec != Spec::Recorded && old.is_none_or(|o| o.spec == Spec::Recorded);
    // On its way back it can be fought over too: what bears the mark of the undo was restored, by whatever hands, and no deploy of
    // ours can land on it any more.
    let marked = old.map_or(r.undo.is_some() && !r.aborted, |o| o.undo.is_some());
    let going =
        matches!(state.memory.services[s].stage, Stage::Undoing | Stage::Failed) && r.spec == Spec::Pinned && marked;
    if reverted && (state.memory.services[s].stage == Stage::Undone || going) {
        let fights = fought(state, s);
        if !state.plan.broken(Mutant::FightNotAlarmed) {
            alarm(state, out, s, text!("{name}: another hand reverted the undo ({fights})"));
        }
        state.memory.closing = None;
        if fights > FIGHTS_MAX {
            seen(state, out, s, text!("{name}: another hand reverts the undo again and again"));
            stuck(state, s, text!("{name}: another hand reverts the undo again and again"));
        } else if !going {
            // What was taken back goes back again, under the order by which it was.
            state.set_stage(s, Stage::Undoing);
        }
    }
}

/// True when what others do to it is no matter of this train: not yet, or not any more. A train that has come to its end lets go
/// of what it takes its stamps from; what it took back it watches until the end is told.
fn is_no_matter(state: &State, s: usize, r: &Reading) -> bool {
    let m = &state.memory.services[s];
    let parted = state.memory.closing.is_some() && r.train.is_none() && m.stage != Stage::Undone;
    m.let_go || parted || !state.memory.recorded || state.plan.broken(Mutant::OutsideNotSeen)
}

/// A pause that is not ours, or has lost its stamp, where nothing asks for one: only a person ends it. Looked at with every
/// input: it may have come while something asked for a hold, or while another change waited for an answer.
pub(super) fn paused(state: &mut State, out: &mut Out, s: usize) {
    let Some(r) = &state.sight.desks[s].reading else { return };
    if !r.paused {
        state.memory.services[s].loose = false;
        return;
    }
    let m = &state.memory.services[s];
    let ours = r.hold.as_deref().is_some_and(|h| hold::is_ours(state, h));
    let goes = matches!(m.stage, Stage::Undoing | Stage::Aborting | Stage::Aborted | Stage::Failed);
    if ours || goes || m.loose || m.outside.is_some() || is_no_matter(state, s, r) || hold::wanted(state, s).is_some() {
        return;
    }
    let name = &state.plan.services[s].name;
    // What was taken back is made so again; it was not over before it was told.
    if m.stage == Stage::Undone && state.memory.undo.is_some() {
        let what = text!("{name}: another hand paused it after it was taken back");
        state.memory.closing = None;
        alarm(state, out, s, what);
    } else {
        let what = text!("{name}: another hand paused it");
        seen(state, out, s, what);
    }
}

/// The object is not there.
pub(super) fn gone(state: &mut State, out: &mut Out, s: usize) {
    let name = &state.plan.services[s].name;
    let what = text!("{name}: its workload is gone");
    if state.memory.recorded && state.memory.services[s].outside.is_none() {
        seen(state, out, s, what);
    }
}

/// Remembers and tells an outside change. A train that has come to its end is not over before it is told.
pub(super) fn seen(state: &mut State, out: &mut Out, s: usize, what: crate::core::text::Text) {
    state.memory.services[s].outside = Some(what.clone());
    state.memory.closing = None;
    state.touch();
    alarm(state, out, s, what);
}
