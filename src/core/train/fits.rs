//! Whether what was read back belongs to a plan: every index in it names something there. What comes from a file or from the
//! cluster goes through here before it reaches the machine, which goes by index and trusts them.

use super::event::{Check, Event, HoldFor, Input, Intent, Scope, Want, Whose};
use super::resolved::{Resolved, ServiceId};
use super::state::Memory;
use crate::core::text::Text;
use crate::text;

/// Times of a process, in milliseconds, are far below this; what is above is damage.
const LATEST: u64 = 1 << 53;

/// Steps of a workload are fewer.
const STEPS: u32 = 10_000;

fn below(what: &str, n: u16, count: usize) -> Result<(), Text> {
    if usize::from(n) < count {
        return Ok(());
    }
    Err(text!("it speaks of {what} number {n}, and the plan has {count}"))
}

fn service(plan: &Resolved, s: ServiceId) -> Result<(), Text> {
    below("service", s, plan.services.len())
}

fn flag(plan: &Resolved, f: u16) -> Result<(), Text> {
    below("flag", f, plan.flags.len())
}

/// The plan names only what is in it.
///
/// # Errors
/// Says what is not.
pub fn plan(plan: &Resolved) -> Result<(), Text> {
    let named = plan.waves.iter().flat_map(|w| &w.services);
    let named = named.chain(plan.services.iter().flat_map(|s| &s.needs));
    named.chain(plan.flags.iter().flat_map(|f| &f.services)).try_for_each(|s| service(plan, *s))?;
    plan.services.iter().try_for_each(|s| below("wave", s.wave, plan.waves.len()))
}

/// The memory is one of this plan.
///
/// # Errors
/// Says what does not fit.
pub fn memory(plan: &Resolved, memory: &Memory) -> Result<(), Text> {
    for (what, have, want) in [
        ("services", memory.services.len(), plan.services.len()),
        ("flags", memory.flags.len(), plan.flags.len()),
        ("expand steps", memory.jobs.len(), plan.migrations.len()),
    ] {
        if have != want {
            return Err(text!("it remembers {have} {what}, and the plan has {want}"));
        }
    }
    for hold in &memory.holds {
        held(plan, &hold.why)?;
        hold.service.map_or(Ok(()), |s| service(plan, s))?;
    }
    memory.undo.iter().flat_map(|u| &u.services).try_for_each(|s| service(plan, *s))?;
    memory.facts.iter().map(|(c, _)| c).chain(&memory.accepted).try_for_each(|c| check(plan, c))?;
    memory.alarms.iter().try_for_each(|(s, _)| service(plan, *s))?;
    match &memory.cause {
        Some((Whose::Ours(s), ..)) => service(plan, *s),
        Some((Whose::Elsewhere(_), ..)) | None => Ok(()),
    }
}

/// The input speaks of what is in this plan.
///
/// # Errors
/// Says what does not fit.
pub fn input(plan: &Resolved, input: &Input) -> Result<(), Text> {
    if input.at.mono >= LATEST {
        return Err(text!("its time, {} ms, is no time of a process", input.at.mono));
    }
    match &input.event {
        Event::Fact(fact) => check(plan, &fact.check),
        Event::Read(s, reading) => {
            service(plan, *s)?;
            if reading.step.max(reading.steps) > STEPS {
                return Err(text!("a workload of {} steps at step {}", reading.steps, reading.step));
            }
            Ok(())
        }
        Event::Gone(s) => service(plan, *s),
        Event::FlagRead(f, _) => flag(plan, *f),
        Event::JobRead(m, _) => below("expand step", *m, plan.migrations.len()),
        Event::Judged(judged) => {
            if judged.step.is_some_and(|step| step > STEPS) {
                return Err(text!("a verdict on step {}", judged.step.unwrap_or_default()));
            }
            service(plan, judged.service)
        }
        Event::Ordered(intent) => order(plan, intent),
        Event::Tick
        | Event::Gap
        | Event::Answered(..)
        | Event::Kept(_)
        | Event::StatusKept(_)
        | Event::Freeze(_)
        | Event::Acted(..)
        | Event::Tripped(_) => Ok(()),
    }
}

/// The order speaks of what is in this plan.
///
/// # Errors
/// Says what does not fit.
pub fn order(plan: &Resolved, intent: &Intent) -> Result<(), Text> {
    match &intent.want {
        Want::Hold(s, why) => {
            held(plan, why)?;
            s.map_or(Ok(()), |s| service(plan, s))
        }
        Want::Approve { service: s, step, .. } => {
            if *step > STEPS {
                return Err(text!("an approval of step {step}"));
            }
            service(plan, *s)
        }
        Want::ResumeOutside(s) | Want::Full(s, _) | Want::Abort(s, _) | Want::Retry(s) => service(plan, *s),
        Want::Undo(Scope::Downstream(s) | Scope::Only(s)) => service(plan, *s),
        Want::Flag(f, _) => flag(plan, *f),
        Want::Down(m) => below("expand step", *m, plan.migrations.len()),
        Want::Accept(c) => check(plan, c),
        Want::Start | Want::Resume(_) | Want::Again | Want::Undo(Scope::All | Scope::Wave(_)) | Want::Stay => Ok(()),
    }
}

fn held(plan: &Resolved, why: &HoldFor) -> Result<(), Text> {
    match why {
        HoldFor::Inconclusive(s)
        | HoldFor::NoData(s)
        | HoldFor::Aborted(s)
        | HoldFor::Outside(s)
        | HoldFor::Burning(s)
        | HoldFor::Second(s) => service(plan, *s),
        HoldFor::Flag(f) => flag(plan, *f),
        HoldFor::Person | HoldFor::Partly | HoldFor::Boundary | HoldFor::Expand | HoldFor::Elsewhere => Ok(()),
    }
}

fn check(plan: &Resolved, check: &Check) -> Result<(), Text> {
    match check {
        Check::Policy(n) => below("policy", *n, plan.policies.len()),
        Check::Burning(s)
        | Check::Quarantine(s)
        | Check::Drift(s)
        | Check::ConfigVolume(s)
        | Check::Weights(s)
        | Check::WayBack(s)
        | Check::Anew(s) => service(plan, *s),
        Check::FlagOld(f) => flag(plan, *f),
        Check::Cluster | Check::Rights | Check::Alone | Check::Freeze | Check::Schema | Check::Push | Check::Scrape => {
            Ok(())
        }
    }
}
