//! Why something waits, in one line that names what blocks it (design §5): for each service, and for the train.

use super::Phase;
use super::event::{Check, Found, HoldFor, JobReading, Pause};
use super::hold;
use super::preflight::checks;
use super::resolved::ServiceId;
use super::state::{Ended, Stage, State};
use super::undo;
use crate::core::text::Text;
use crate::core::verdict::Verdict;
use crate::text;

/// What a person must do, and by when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// Who.
    pub who: Text,
    /// What, naming what blocks it and what answers it.
    pub what: Text,
    /// Milliseconds until they are called, or until it is given up.
    pub left: u64,
    /// The service it is about; none for the train.
    pub service: Option<ServiceId>,
    /// False while it may well come by itself, so that nobody is called: a pre-flight that has only begun to read.
    pub calls: bool,
}

/// How long a pre-flight reads before somebody is called for what it cannot find out, in milliseconds.
const READS_FOR: u64 = 15_000;

/// What a train waits for; empty when it waits for nothing but time.
pub fn train(state: &State) -> Text {
    let m = &state.memory;
    match m.closing {
        Some(Ended::Refused) => {
            if let Some(undo) = &m.undo {
                return text!("{} called it off before it set off", undo.who);
            }
            let refused =
                m.facts.iter().find(|(_, f)| matches!(f, Found::Refuse(_) | Found::Unknown(_) | Found::Ask(_)));
            return match refused {
                Some((check, Found::Refuse(why) | Found::Unknown(why) | Found::Ask(why))) => {
                    text!("the pre-flight refused it ({}): {why}", check.name(&state.plan))
                }
                _ => text!("the pre-flight did not come to an end"),
            };
        }
        Some(_) if m.ended.is_none() => return text!("its stamps to go"),
        Some(_) => return Text::default(),
        None => {}
    }
    if m.undo.is_some() {
        let left: Vec<&str> = state
            .ids()
            .filter(|s| matches!(m.services[*s].stage, Stage::Undoing | Stage::Failed))
            .map(|s| state.plan.services[s].name.as_str())
            .collect();
        return match (left.is_empty(), state.sight.last_look) {
            (false, _) => text!("{} to be back", left.join(", ")),
            // Everything was read back; what was sent before may still land, and is looked for once more.
            (true, Some(since)) => {
                let ends = since + state.plan.times.settle;
                text!("everything to be back for {} s more", ends.saturating_sub(state.sight.now).div_ceil(1000))
            }
            (true, None) => text!("flags and migrations to be back"),
        };
    }
    if let Some(hold) = m.holds.first() {
        return text!(
            "held by {}: {}",
            hold.who,
            if hold.reason.is_empty() { "no reason given" } else { &hold.reason }
        );
    }
    match m.phase {
        Phase::Planned => text!("somebody to start it"),
        Phase::Preflight => {
            let let_pass = |check: &Check| match check {
                Check::Policy(n) => state.sight.policies.get(usize::from(*n)).is_some_and(Option::is_some),
                _ => false,
            };
            let missing = checks(&state.plan).into_iter().filter(|check| !let_pass(check)).find_map(|check| {
                match m.facts.iter().find(|(c, _)| *c == check).map(|(_, f)| f) {
                    Some(Found::Good(_) | Found::Warn(_)) => None,
                    Some(Found::Ask(why)) if !m.accepted.contains(&check) => Some(text!("your word on this: {why}")),
                    Some(Found::Unknown(why)) => Some(text!("{}: {why}", check.name(&state.plan))),
                    None => Some(text!("what is found of {}", check.name(&state.plan))),
                    _ => None,
                }
            });
            missing.unwrap_or_default()
        }
        Phase::Expanding => {
            for (job, plan) in m.jobs.iter().zip(&state.plan.migrations) {
                match job.reading {
                    JobReading::Done => {}
                    JobReading::Failed => return text!("the expand step of {} failed", plan.name),
                    _ => return text!("the expand step of {}", plan.name),
                }
            }
            text!("the bake of the expand step")
        }
        Phase::Rolling if !m.recorded => text!("what is live to be recorded"),
        Phase::Rolling => {
            let left: Vec<&str> = state
                .plan
                .waves
                .get(usize::from(m.wave))
                .into_iter()
                .flat_map(|w| &w.services)
                .filter(|s| !matches!(m.services[usize::from(**s)].stage, Stage::Done | Stage::Unchanged))
                .map(|s| state.plan.service(*s).name.as_str())
                .collect();
            text!("{} of wave {}", left.join(", "), m.wave)
        }
        Phase::Flags => match m.flags.iter().position(|f| f.ramp < 4) {
            Some(f) => text!("the ramp of {}", state.plan.flags[f].key),
            None => Text::default(),
        },
        _ => Text::default(),
    }
}

/// Why a service waits; empty when it does not.
pub fn service(state: &State, service: ServiceId) -> Text {
    let s = usize::from(service);
    let m = &state.memory.services[s];
    if let Some(why) = &m.stuck {
        return why.clone();
    }
    if let Some(what) = &m.outside {
        return text!("your word on this: {what}");
    }
    let desk = &state.sight.desks[s];
    if let Some(why) = desk.denied.as_ref().filter(|_| desk.refusals >= super::step::REFUSALS) {
        return text!("the server to take a write again: {why}");
    }
    let Some(r) = &desk.reading else { return text!("its workload to be read") };
    let heard = state.sight.desks[s].heard.as_ref();
    match m.stage {
        Stage::Unchanged | Stage::Done | Stage::Undone => Text::default(),
        Stage::Waiting => {
            let before = state
                .plan
                .service(service)
                .needs
                .iter()
                .find(|n| !matches!(state.memory.services[usize::from(**n)].stage, Stage::Done | Stage::Unchanged));
            if let Some(hold) = state.memory.holds.first() {
                return text!("the hold of {} to end", hold.who);
            }
            match before {
                Some(n) => text!("{}", state.plan.service(*n).name),
                None if state.memory.wave < state.plan.service(service).wave => text!("wave {}", state.memory.wave),
                None if state.sight.desks[s].measured != Some(true) => text!("its baseline"),
                None => text!("its turn"),
            }
        }
        Stage::Deploying => text!("its controller to take the new version up"),
        Stage::Stepping | Stage::Baking => {
            if let Some((id, gate)) = hold::wanted(state, s) {
                return if gate {
                    text!("its gate to pass at step {} ({})", r.step + 1, gate_word(heard.map(|h| h.verdict)))
                } else {
                    let hold = state.memory.holds.iter().find(|h| h.id == id);
                    text!("the hold of {} to end", hold.map_or("somebody", |h| h.who.as_str()))
                };
            }
            if r.paused {
                return text!("a hold of another hand to end: r");
            }
            match r.pause {
                Some(Pause::Untimed) if m.passed > r.step => text!("your P: the gate passed at step {}", r.step + 1),
                Some(Pause::Untimed) => text!("its gate to pass at step {}", r.step + 1),
                Some(Pause::Inconclusive) => text!("your P with a reason, or u: the analysis could not tell"),
                Some(Pause::Timed(ms)) => text!("its pause of {} s at {} %", ms / 1000, r.weight),
                None if m.stage == Stage::Baking && m.passed > r.steps => {
                    text!("its bake, {} of {} s", m.bake / 1000, state.plan.times.bake / 1000)
                }
                None if m.stage == Stage::Baking => {
                    text!("its gate to pass at 100 % ({})", gate_word(heard.map(|h| h.verdict)))
                }
                None => text!("its controller, step {} of {}", r.step + 1, r.steps),
            }
        }
        Stage::Aborting => text!("its traffic to be back on the stable version"),
        Stage::Aborted => text!("t to try it again, or u"),
        Stage::Undoing | Stage::Failed => {
            if !undo::may_go(state, s) {
                let dependents = state.plan.dependents(service);
                let blocks = dependents.iter().find(|d| state.serves_new(usize::from(**d)));
                return match blocks {
                    Some(d) => text!("{} to be back first", state.plan.service(*d).name),
                    None => text!("its workload to be read"),
                };
            }
            undo::missing(state, s, r)
        }
    }
}

fn gate_word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Pass) => "good so far",
        Some(Verdict::Fail) => "fails",
        Some(Verdict::Inconclusive) => "cannot tell",
        Some(Verdict::NoData) => "no data",
        None => "not heard yet",
    }
}

/// What a person is called for now.
pub fn calls(state: &State) -> Vec<Wait> {
    people(state).into_iter().filter(|wait| wait.calls).collect()
}

/// What waits for a person, with a deadline. A train that does not move by itself has at least one.
pub fn people(state: &State) -> Vec<Wait> {
    let page = state.plan.times.page;
    let who = state.plan.captain.clone();
    let left = |ms: u64, paged: u32| if paged == 0 { page } else { 2 * page }.saturating_sub(ms);
    let mut all = Vec::new();
    if state.memory.phase == Phase::Planned {
        all.push(Wait { who: who.clone(), what: text!("start it: s"), left: 0, service: None, calls: true });
    }
    let unrecorded = state.memory.phase != Phase::Planned && !state.memory.recorded;
    if unrecorded && state.memory.closing.is_none() {
        let left = page.saturating_sub(state.memory.preflight_ms);
        let asks = state
            .memory
            .facts
            .iter()
            .any(|(check, found)| matches!(found, Found::Ask(_)) && !state.memory.accepted.contains(check));
        let calls = asks || state.memory.preflight_ms >= READS_FOR;
        all.push(Wait { who: who.clone(), what: train(state), left, service: None, calls });
    }
    for hold in &state.memory.holds {
        let answer = match hold.why {
            HoldFor::Person | HoldFor::Boundary | HoldFor::Burning(_) | HoldFor::Flag(_) | HoldFor::Elsewhere => {
                "r goes on, u undoes"
            }
            HoldFor::Inconclusive(_) | HoldFor::NoData(_) => "P with a reason goes on, u undoes",
            HoldFor::Outside(_) => "r accepts it, u undoes",
            HoldFor::Expand => "t runs it again, or order its way back",
            HoldFor::Aborted(_) | HoldFor::Partly | HoldFor::Second(_) => "t tries it again, u undoes",
        };
        // What a conductor holds for is what a person must see first.
        let what = if super::auto::is_own(hold.id) {
            text!("{} (held): {answer}", hold.reason)
        } else {
            text!("held by {} ({}): {answer}", hold.who, hold.reason)
        };
        all.push(Wait { who: who.clone(), what, left: left(hold.ms, hold.paged), service: hold.service, calls: true });
    }
    for s in state.ids() {
        let m = &state.memory.services[s];
        let id = ServiceId::try_from(s).unwrap_or(ServiceId::MAX);
        let desk = &state.sight.desks[s];
        if let Some(why) = desk.denied.as_ref().filter(|_| desk.refusals >= super::step::REFUSALS) {
            let what = text!("{}: the server refuses every write: {why}", state.plan.services[s].name);
            all.push(Wait { who: who.clone(), what, left: page, service: Some(id), calls: true });
        }
        if m.waits > 0 {
            let what = text!("{}: {}", state.plan.services[s].name, service(state, id));
            all.push(Wait {
                who: who.clone(),
                what,
                left: (2 * page).saturating_sub(m.waits),
                service: Some(id),
                calls: true,
            });
        }
        if let (Some(_), Some(what)) = (&state.memory.undo, &m.outside) {
            let ms = state.memory.undo.as_ref().map_or(0, |u| u.ms);
            let what = text!("{what}: r lets it stand");
            all.push(Wait { who: who.clone(), what, left: page.saturating_sub(ms), service: Some(id), calls: true });
        }
        if state.memory.undo.is_some() && state.keeps_schema(s) {
            let ms = state.memory.undo.as_ref().map_or(0, |u| u.ms);
            let name = &state.plan.services[s].name;
            let what =
                text!("{name}, which was let go, still serves what this train deployed: the schema waits for it");
            all.push(Wait { who: who.clone(), what, left: page.saturating_sub(ms), service: Some(id), calls: true });
        }
        if m.stage == Stage::Failed {
            let what = m.stuck.clone().unwrap_or_default();
            let ms = state.memory.undo.as_ref().map_or(0, |u| u.ms);
            all.push(Wait { who: who.clone(), what, left: page.saturating_sub(ms), service: Some(id), calls: true });
        }
    }
    all
}
