//! What was ordered is taken in here, once each, in the order in which it became durable. An order that does not fit what is
//! there is refused with a reason; an order in the safe direction is never refused because of anything but its end.

use super::Phase;
use super::event::{HoldFor, Intent, Pause, Scope, Spec, Want};
use super::resolved::ServiceId;
use super::state::{Hold, Stage, State, Undo};
use super::step::Out;
use crate::core::text::Text;
use crate::core::verdict::Verdict;
use crate::text;

/// How many refused orders are remembered.
const REFUSED_MAX: usize = 16;

/// Takes an order in. A second time it is nothing.
pub(super) fn take(state: &mut State, out: &mut Out, intent: &Intent) {
    if state.memory.taken.contains(&intent.id) {
        return;
    }
    state.memory.taken.push(intent.id);
    state.touch();
    if let Err(why) = apply(state, out, intent) {
        let refused = &mut state.memory.refused;
        refused.push((intent.id, why));
        if refused.len() > REFUSED_MAX {
            refused.remove(0);
        }
    }
}

fn apply(state: &mut State, out: &mut Out, intent: &Intent) -> Result<(), Text> {
    if state.memory.closing == Some(super::state::Ended::Completed) && matches!(intent.want, Want::Undo(_)) {
        // It is not over before it is told: an undo that came in time is carried out.
        state.memory.closing = None;
    }
    if state.memory.closing.is_some() {
        return Err(text!("the train has ended"));
    }
    match &intent.want {
        Want::Start => {
            if state.memory.phase == Phase::Planned {
                state.memory.phase = Phase::Preflight;
            }
            Ok(())
        }
        Want::Hold(service, why) => {
            hold(state, intent, *service, *why);
            Ok(())
        }
        Want::Resume(id) => resume(state, *id),
        Want::ResumeOutside(s) => {
            accept(state, *s)?;
            state.memory.holds.retain(|h| h.why != HoldFor::Outside(*s));
            Ok(())
        }
        Want::Approve { service, hash, step, over } => approve(state, intent, *service, hash, *step, *over),
        Want::Full(s, hash) => full(state, intent, *s, hash),
        Want::Abort(s, hash) => abort(state, intent, *s, hash),
        Want::Retry(s) => retry(state, *s),
        Want::Again => {
            state.memory.holds.retain(|h| h.why != HoldFor::Expand);
            for job in &mut state.memory.jobs {
                if job.reading == super::event::JobReading::Failed {
                    job.sent = false;
                    job.reading = super::event::JobReading::Absent;
                }
            }
            state.memory.expand_bake = 0;
            if state.memory.phase == Phase::Preflight {
                state.memory.facts.clear();
                state.memory.preflight_ms = 0;
            }
            Ok(())
        }
        Want::Undo(scope) => {
            // Before it sets off a status may have been lost that knew what was moved: then all of it goes back.
            let early = !state.memory.phase.has_set_off();
            if *scope != Scope::All && !early && state.reach(*scope).is_empty() {
                return Err(text!("nothing of that was moved by this train"));
            }
            begin_undo(state, out, intent, *scope);
            Ok(())
        }
        Want::Flag(f, to) => {
            let flag = &mut state.memory.flags[usize::from(*f)];
            if !flag.moved {
                return Err(text!("this train has not moved it"));
            }
            if flag.recorded.as_ref() != Some(to) {
                return Err(text!("the train moves its flags itself; only the way back can be ordered"));
            }
            flag.back = true;
            hold(state, intent, None, HoldFor::Flag(*f));
            Ok(())
        }
        Want::Down(m) => {
            let m = usize::from(*m);
            if state.ids().any(|s| state.serves_new(s)) && state.memory.undo.is_none() {
                return Err(text!("a new version still runs: undo the train first"));
            }
            state.memory.jobs[m].down = true;
            if state.memory.undo.is_none() {
                // Nothing was moved yet: with the expand step goes the train.
                begin_undo(state, out, intent, Scope::All);
            }
            Ok(())
        }
        Want::Accept(check) => {
            state.memory.accepted.push(check.clone());
            Ok(())
        }
        Want::Stay => {
            for h in &mut state.memory.holds {
                h.ms = 0;
                h.paged = 0;
            }
            for m in &mut state.memory.services {
                m.waits = 0;
            }
            Ok(())
        }
    }
}

/// Adds a hold.
pub(super) fn hold(state: &mut State, intent: &Intent, service: Option<ServiceId>, why: HoldFor) {
    if why != HoldFor::Person && state.memory.holds.iter().any(|h| h.why == why) {
        return;
    }
    state.memory.holds.push(Hold {
        id: intent.id,
        why,
        service,
        who: intent.order.who.clone(),
        reason: intent.order.why.clone(),
        since: intent.order.when,
        ms: 0,
        paged: 0,
    });
}

fn resume(state: &mut State, id: u64) -> Result<(), Text> {
    let Some(at) = state.memory.holds.iter().position(|h| h.id == id) else {
        return Err(text!("that hold is over already; look again"));
    };
    match state.memory.holds[at].why {
        HoldFor::Person | HoldFor::Boundary | HoldFor::Burning(_) | HoldFor::Elsewhere => {}
        HoldFor::Outside(s) => accept(state, s)?,
        HoldFor::Flag(f) => {
            let flag = &mut state.memory.flags[usize::from(f)];
            flag.back = false;
            flag.ramp = 0;
            flag.ms = 0;
            flag.failing = 0;
        }
        HoldFor::Inconclusive(_) => return Err(text!("the gate could not tell: P with a reason, or u")),
        HoldFor::NoData(_) => return Err(text!("the gate has no data: P with a reason, or u")),
        HoldFor::Aborted(s) => {
            return Err(text!("{} was aborted: t tries it again, u undoes", state.plan.service(s).name));
        }
        HoldFor::Partly | HoldFor::Second(_) => return Err(text!("a part was taken back: t tries it again, u undoes")),
        HoldFor::Expand => return Err(text!("the expand step failed: run it again, or order its way back")),
    }
    if let HoldFor::Burning(s) = state.memory.holds[at].why {
        state.sight.desks[usize::from(s)].measured = None;
    }
    state.memory.holds.remove(at);
    Ok(())
}

/// A person lets what another hand did stand. Where the version is another hand's, the service leaves the train; where the
/// version before the train was put back, nothing may be built on it, and only another try or an undo helps.
fn accept(state: &mut State, service: ServiceId) -> Result<(), Text> {
    let s = usize::from(service);
    let name = &state.plan.service(service).name;
    let undoing = state.memory.undo.is_some();
    let Some(r) = state.sight.desks[s].reading.clone() else { return Err(text!("{name} was not read yet")) };
    let m = &mut state.memory.services[s];
    if m.recorded.is_none() || m.outside.is_none() && !r.paused {
        return Err(text!("no other hand has changed {name}"));
    }
    let untouched = matches!(m.stage, Stage::Unchanged | Stage::Waiting) && !m.touched;
    let on_its_way = matches!(m.stage, Stage::Deploying | Stage::Stepping | Stage::Baking | Stage::Done);
    if on_its_way && r.spec == Spec::Recorded && m.outside.is_some() {
        return Err(text!("{name} is back on the version before this train: t tries it again, u undoes"));
    }
    m.outside = None;
    state.sight.desks[s].refusals = 0;
    m.loose = r.paused;
    if r.spec == Spec::Other || untouched && (undoing || Some(&r.current) != m.recorded.as_ref()) {
        m.let_go = true;
        m.stage = Stage::Unchanged;
    } else if on_its_way && r.observed && Some(&r.current) != m.deployed.as_ref() {
        // The pinned version, set in another way: it is judged from the start.
        m.deployed = Some(r.current.clone());
        m.passed = 0;
        m.bake = 0;
        m.in_step = 0;
        m.stage = Stage::Stepping;
    }
    Ok(())
}

fn approve(
    state: &mut State,
    intent: &Intent,
    service: ServiceId,
    hash: &Text,
    step: u32,
    over: bool,
) -> Result<(), Text> {
    let s = usize::from(service);
    let name = &state.plan.service(service).name;
    let m = &state.memory.services[s];
    let desk = &state.sight.desks[s];
    let Some(r) = &desk.reading else { return Err(text!("{name} was not read yet")) };
    let held_for_it = {
        let unsure = |h: &HoldFor| *h == HoldFor::Inconclusive(service) || *h == HoldFor::NoData(service);
        state.memory.holds.iter().any(|h| unsure(&h.why))
    };
    let waits = matches!(m.stage, Stage::Stepping | Stage::Baking) || m.stage == Stage::Done && held_for_it;
    if !waits || r.current != *hash || m.deployed.as_ref() != Some(hash) {
        return Err(text!("{name} is on another version than was seen; look again"));
    }
    if r.step != step {
        return Err(text!("{name} has left step {} already", step + 1));
    }
    let unsure = |h: &HoldFor| *h == HoldFor::Inconclusive(service) || *h == HoldFor::NoData(service);
    let pauses = matches!(r.pause, Some(Pause::Untimed | Pause::Inconclusive));
    if !pauses && !held_for_it && !r.paused {
        return Err(text!("{name} waits for nobody"));
    }
    if desk.heard.as_ref().is_some_and(|h| h.verdict == Verdict::Fail) {
        return Err(text!("the gate of {name} failed: nothing overrides that"));
    }
    if r.aborted || desk.heard.as_ref().is_some_and(|h| h.error) {
        return Err(text!("the controller has aborted {name} already: t tries it again, u undoes"));
    }
    let sure = m.passed > step && r.pause != Some(Pause::Inconclusive) && !held_for_it;
    if !sure && (!over || intent.order.why.is_empty()) {
        return Err(text!("the gate of {name} has not passed: P needs a reason"));
    }
    let m = &mut state.memory.services[s];
    m.passed = m.passed.max(step + 1);
    m.approved = Some(step);
    m.no_data = 0;
    m.waits = 0;
    state.memory.holds.retain(|h| !unsure(&h.why));
    Ok(())
}

fn full(state: &mut State, intent: &Intent, service: ServiceId, hash: &Text) -> Result<(), Text> {
    let s = usize::from(service);
    let name = &state.plan.service(service).name;
    let m = &state.memory.services[s];
    if m.stage != Stage::Stepping || m.deployed.as_ref() != Some(hash) {
        return Err(text!("{name} is on another version than was seen; look again"));
    }
    if intent.order.why.is_empty() {
        return Err(text!("F needs a reason"));
    }
    if state.sight.desks[s].heard.as_ref().is_some_and(|h| h.verdict == Verdict::Fail) {
        return Err(text!("the gate of {name} failed: nothing overrides that"));
    }
    state.memory.services[s].full = Some(hash.clone());
    Ok(())
}

fn abort(state: &mut State, intent: &Intent, service: ServiceId, hash: &Text) -> Result<(), Text> {
    let s = usize::from(service);
    let name = &state.plan.service(service).name;
    let m = &state.memory.services[s];
    if m.stage == Stage::Aborted && m.abort.is_some() {
        return Err(text!("{name} is aborted already: t tries it again, u undoes it"));
    }
    // One that was aborted a moment ago, by its controller or by the hands that gave this order, is aborted by it.
    if !matches!(m.stage, Stage::Deploying | Stage::Stepping | Stage::Aborting | Stage::Aborted) {
        return Err(text!("{name} has no canary in flight; u undoes it"));
    }
    if m.deployed.as_ref().is_some_and(|d| d != hash) {
        return Err(text!("{name} is on another version than was seen; look again"));
    }
    state.memory.services[s].abort = Some(intent.id);
    state.memory.services[s].retry = false;
    state.memory.services[s].full = None;
    state.set_stage(s, Stage::Aborting);
    hold(state, intent, None, HoldFor::Aborted(service));
    Ok(())
}

fn retry(state: &mut State, service: ServiceId) -> Result<(), Text> {
    let s = usize::from(service);
    if state.memory.undo.is_some() {
        return Err(text!("the train is being taken back"));
    }
    let put_back = state.memory.services[s].outside.is_some()
        && state.sight.desks[s].reading.as_ref().is_some_and(|r| r.spec == Spec::Recorded);
    if put_back {
        state.memory.services[s].stage = Stage::Undone;
    }
    let stage = state.memory.services[s].stage;
    if !matches!(stage, Stage::Aborted | Stage::Undone) {
        return Err(text!("{} was not taken back", state.plan.service(service).name));
    }
    let mut again = vec![service];
    if stage == Stage::Undone {
        again.extend(state.plan.dependents(service));
        state.memory.wave = state.memory.wave.min(state.plan.service(service).wave);
        if state.memory.phase == Phase::Flags {
            state.memory.phase = Phase::Rolling;
        }
    }
    for id in again {
        let m = &mut state.memory.services[usize::from(id)];
        m.passed = 0;
        m.bake = 0;
        m.no_data = 0;
        m.approved = None;
        m.full = None;
        m.abort = None;
        if m.stage == Stage::Undone {
            m.stage = Stage::Waiting;
            m.deployed = None;
            state.sight.desks[usize::from(id)].measured = None;
        }
        if id == service {
            m.retry = true;
        }
    }
    let left = state.memory.services.iter().any(|m| m.stage == Stage::Undone);
    state.memory.holds.retain(|h| match h.why {
        HoldFor::Aborted(x) | HoldFor::NoData(x) | HoldFor::Inconclusive(x) => x != service,
        HoldFor::Partly | HoldFor::Second(_) => left,
        HoldFor::Outside(x) => x != service,
        _ => true,
    });
    state.memory.services[s].outside = None;
    Ok(())
}

/// Begins to take back, or widens what is being taken back.
pub(super) fn begin_undo(state: &mut State, out: &mut Out, intent: &Intent, scope: Scope) {
    let services = state.reach(scope);
    let early = !state.memory.phase.has_set_off();
    let whole = scope == Scope::All || early || {
        let all = state.reach(Scope::All);
        all.iter().all(|s| services.contains(s))
    };
    let own = super::auto::is_own(intent.id);
    for s in &services {
        let m = &mut state.memory.services[usize::from(*s)];
        m.retry = false;
        m.full = None;
        m.approved = None;
        m.automatic |= own;
        if own {
            m.trips += 1;
        }
        let back = m.stage == Stage::Undone
            && state.sight.desks[usize::from(*s)].reading.as_ref().is_none_or(|r| r.spec == Spec::Recorded);
        m.undone_by = Some(intent.id);
        if !back && m.stage != Stage::Unchanged {
            m.touched = true;
            m.patience = 0;
            let began = !matches!(std::mem::replace(&mut m.stage, Stage::Undoing), Stage::Undoing | Stage::Failed);
            if began {
                // Other hands may have restored it before this order came here, and yet others reverted that.
                super::outside::watch(state, out, usize::from(*s), None);
            }
        }
    }
    for (flag, plan) in state.memory.flags.iter_mut().zip(&state.plan.flags) {
        if flag.moved && (whole || plan.services.iter().any(|s| services.contains(s))) {
            flag.back = true;
        }
    }
    if state.memory.decided.is_none() {
        // The conductor's own order may come back to another conductor, long after it was made.
        state.memory.decided = if own { Some(intent.order.when) } else { out.wall() };
    }
    // What a service was held for is answered by taking it back.
    state.memory.holds.retain(|h| match h.why {
        HoldFor::NoData(s) | HoldFor::Inconclusive(s) | HoldFor::Aborted(s) => !whole && !services.contains(&s),
        _ => !whole,
    });
    match &mut state.memory.undo {
        Some(undo) => {
            for s in services {
                if !undo.services.contains(&s) {
                    undo.services.push(s);
                }
            }
            undo.whole |= whole;
            undo.alone &= matches!(scope, Scope::Only(_));
            undo.id = intent.id;
        }
        None => {
            state.memory.undo = Some(Undo {
                id: intent.id,
                services,
                alone: matches!(scope, Scope::Only(_)) && !early,
                whole,
                automatic: own,
                who: intent.order.who.clone(),
                since: intent.order.when,
                paged: 0,
                ms: 0,
            });
        }
    }
}
