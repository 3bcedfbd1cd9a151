//! The captain's side of a train: what is shown of its Release, and what a verb becomes where a train governs. There a person
//! orders, and the conductor does it; which order a verb is, how it must be confirmed, and why it would be refused follow from
//! what is shown. Rules: `train.md` §2, §5, §8. Writing an order down, and acting where nobody conducts, are the engine's.

use std::sync::Arc;

use jiff::SignedDuration;

use super::confirm::{Confirm, Order, Refusal};
use super::effect::Direction;
use super::intent::{OnTrain, Want as Verb};
use super::object::ObjectRef;
use super::order::Reach;
use super::release::{self, Release};
use super::snapshot::train::{CheckShown, OrderShown, Taken, TrainNeed, TrainService};
use super::snapshot::{Conductor, Place, ServiceView, TrainShown, WriteMode};
use super::text::Text;
use super::train::Phase;
use super::train::event::{Found, HoldFor, Scope, Want};
use super::train::hands::is_safe;
use super::train::resolved::{Resolved, ServiceId, Setting};
use super::train::state::{Hold, Stage};
use super::verb::FlagSetting;
use super::verdict::{TrainPhase, Verdict};
use crate::text;

/// How many of the latest orders are shown.
const ORDERS_SHOWN: usize = 20;

/// Ids from here on belong to the conductor's own orders (`train/auto.rs`).
const OWN: u64 = 1 << 52;

/// The id of an order: it follows from who gave it when, so that the same one written twice is one.
pub fn intent_id(order: &Order, nth: usize) -> u64 {
    let text = format!("{}/{}/{}/{nth}", order.who, order.when, order.why);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).fold(0u64, |n, byte| (n << 8) | u64::from(*byte)) & (OWN - 1)
}

/// What is shown of a Release.
pub fn shown(release: &Release, conductor: Conductor) -> TrainShown {
    let frozen = &release.frozen;
    let (memory, unread) = match release.memory() {
        Ok(memory) => (memory.map(Arc::new), None),
        Err(why) => (None, Some(why)),
    };
    let status = release.status.as_ref();
    let mut trouble: Vec<&Text> = unread.iter().chain(&release.unreadable).collect();
    trouble.truncate(3);
    let trouble = trouble.iter().map(|t| t.as_str()).collect::<Vec<_>>().join("; ");
    let services = match status {
        Some(status) => status
            .services
            .iter()
            .map(|s| TrainService {
                name: s.name.clone(),
                phase: TrainPhase::of_word(&s.phase).unwrap_or(TrainPhase::Waiting),
                step: s.step,
                steps: s.steps,
                verdict: s.verdict,
                evidence: s.evidence.clone(),
                waits: s.waits.clone(),
            })
            .collect(),
        None => frozen
            .resolved
            .services
            .iter()
            .map(|s| TrainService {
                name: s.name.clone(),
                phase: TrainPhase::Waiting,
                step: 0,
                steps: 0,
                verdict: None,
                evidence: Text::default(),
                waits: "a conductor to take the train up".into(),
            })
            .collect(),
    };
    let taken = |id: u64| {
        if let Some(acted) = release.acted.iter().find(|a| u64::from_str_radix(&a.intent, 16) == Ok(id)) {
            return Taken::ByHand(acted.says.clone());
        }
        let Some(memory) = &memory else { return Taken::NotYet };
        match memory.refused.iter().find(|(refused, _)| *refused == id) {
            Some((_, why)) => Taken::Refused(why.clone()),
            None if memory.taken.contains(&id) => Taken::Yes,
            None => Taken::NotYet,
        }
    };
    let first = release.intents.len().saturating_sub(ORDERS_SHOWN);
    let orders = release.intents[first..].iter().map(|intent| OrderShown {
        id: intent.id,
        who: intent.order.who.clone(),
        when: intent.order.when,
        says: in_words(&frozen.resolved, &intent.want),
        taken: taken(intent.id),
        want: intent.want.clone(),
    });
    let orders = orders.collect();
    let checks = match &memory {
        Some(memory) => memory
            .facts
            .iter()
            .map(|(check, found)| {
                let (word, says) = found.parts();
                CheckShown {
                    name: check.name(&frozen.resolved),
                    found: word.into(),
                    says: says.clone(),
                    accepted: matches!(found, Found::Ask(_)) && memory.accepted.contains(check),
                    check: Some(check.clone()),
                }
            })
            .collect(),
        None => status
            .iter()
            .flat_map(|s| &s.checks)
            .map(|line| CheckShown {
                check: None,
                name: line.check.clone(),
                found: line.found.clone(),
                says: line.says.clone(),
                accepted: false,
            })
            .collect(),
    };
    let needs = status.iter().flat_map(|s| &s.needs).map(|need| TrainNeed {
        who: need.who.clone(),
        what: need.what.clone(),
        service: need.service.clone(),
        until: need.until,
    });
    TrainShown {
        object: release.id.clone(),
        uid: release.uid.clone(),
        plan: Arc::new(frozen.resolved.clone()),
        workloads: frozen.workloads.iter().map(|w| w.object(&release.id.cluster, &frozen.namespace)).collect(),
        phase: status.map_or(Phase::Planned, |s| s.phase),
        wave: status.map_or(0, |s| s.wave),
        waves: u16::try_from(frozen.resolved.waves.len()).unwrap_or(u16::MAX),
        held: status.is_some_and(|s| s.held),
        conductor,
        waits: status.map_or_else(|| "a conductor to take it up".into(), |s| s.waits.clone()),
        needs: needs.collect(),
        services,
        checks,
        orders,
        started: status.and_then(|s| s.started),
        detected: status.and_then(|s| s.detected),
        decided: status.and_then(|s| s.decided),
        recovered: status.and_then(|s| s.recovered),
        cause: status.and_then(|s| s.cause.clone()),
        result: status.and_then(|s| s.result),
        written: status.map(|s| s.written),
        incident: release.incident.clone(),
        estimate: SignedDuration::from_millis(i64::try_from(frozen.estimate).unwrap_or(i64::MAX)),
        trouble: Text::scrub(&trouble),
        memory,
    }
}

/// What an order wants, with the names of this plan.
pub fn in_words(plan: &Resolved, want: &Want) -> Text {
    let name = |s: &ServiceId| plan.services.get(usize::from(*s)).map_or("a service", |s| s.name.as_str());
    let flag = |f: &u16| plan.flags.get(usize::from(*f)).map_or("a flag", |f| f.key.as_str());
    match want {
        Want::Hold(Some(s), _) => text!("hold {}", name(s)),
        Want::ResumeOutside(s) => text!("end the hold that another hand put on {}", name(s)),
        Want::Approve { service, step, over, .. } => {
            text!("approve step {} of {}{}", step + 1, name(service), if *over { ", over its gate" } else { "" })
        }
        Want::Full(s, _) => text!("promote {} fully", name(s)),
        Want::Abort(s, _) => text!("abort {}", name(s)),
        Want::Retry(s) => text!("try {} again", name(s)),
        Want::Undo(Scope::All) => text!("undo the train"),
        Want::Undo(Scope::Wave(n)) => text!("undo wave {n} and later"),
        Want::Undo(Scope::Only(s)) => text!("undo {} alone", name(s)),
        Want::Undo(Scope::Downstream(s)) => text!("undo {} and what is built on it", name(s)),
        Want::Flag(f, to) => text!("set flag {} to {to}", flag(f)),
        Want::Accept(check) => text!("go on in spite of {}", check.name(plan)),
        Want::Resume(_) => text!("resume"),
        other => release::says(other),
    }
}

/// What a verb is as an order on a train.
#[derive(Clone, PartialEq, Debug)]
pub struct Ordering {
    /// What the Release gets.
    pub on: OnTrain,
    /// How it must be confirmed.
    pub level: Confirm,
    /// True when a reason must be given.
    pub reason: bool,
    /// Which way it goes.
    pub direction: Direction,
    /// In a few words.
    pub title: Text,
    /// What follows, line by line; true for what is worth a warning.
    pub lines: Vec<(bool, Text)>,
    /// What may be changed under the confirmation: the Release, and the workloads that are meant.
    pub targets: Vec<ObjectRef>,
}

/// What a verb becomes, or why it would be refused. `services` are those that are shown; none of it when the train does not govern
/// what is meant.
pub fn order(
    train: &TrainShown,
    verb: &Verb,
    reach: &Reach,
    services: &[Arc<ServiceView>],
    place: &Place,
) -> Option<Result<Ordering, Refusal>> {
    let desk = Desk { train, services };
    let one = match reach {
        Reach::One(name) | Reach::Downstream(name) => match desk.find(name) {
            Some(found) => Some(found),
            // Accepting, taking over and flags are about the train, whatever is named.
            None if matches!(verb, Verb::Accept(_) | Verb::TakeOver | Verb::Depart | Verb::Flag { .. }) => None,
            None => return None,
        },
        Reach::Wave(_) | Reach::All => None,
    };
    if let Verb::Flag { key, .. } = verb
        && !train.plan.flags.iter().any(|f| f.key == *key)
    {
        return None;
    }
    Some(desk.order(verb, reach, one, place))
}

struct Desk<'a> {
    train: &'a TrainShown,
    services: &'a [Arc<ServiceView>],
}

fn no<T>(why: Text, hint: &str) -> Result<T, Refusal> {
    Err(Refusal { why, hint: Text::scrub(hint), already: false })
}

fn already<T>(why: Text, hint: &str) -> Result<T, Refusal> {
    Err(Refusal { why, hint: Text::scrub(hint), already: true })
}

impl Desk<'_> {
    /// A service by its own name, or by that of its workload.
    fn find(&self, name: &Text) -> Option<ServiceId> {
        let by_view = || self.services.iter().find(|v| v.name == *name).and_then(|v| self.train.service_of(&v.id));
        self.train.named(name).or_else(by_view)
    }

    fn view(&self, s: ServiceId) -> Option<&ServiceView> {
        let name = &self.train.plan.service(s).name;
        let own = self.train.workloads.get(usize::from(s));
        let found = self.services.iter().find(|v| v.name == *name || Some(&v.id) == own);
        found.map(|view| &**view)
    }

    fn order(&self, verb: &Verb, reach: &Reach, one: Option<ServiceId>, place: &Place) -> Result<Ordering, Refusal> {
        let train = self.train;
        let id = train.id();
        let mut reason = false;
        let mut lines: Vec<(bool, Text)> = Vec::new();
        let wants = match (verb, one) {
            (Verb::Pause, one) => self.hold(one)?,
            (Verb::Resume, one) => self.resume(one, &mut lines)?,
            (Verb::Promote, Some(s)) => vec![self.approve(s, &mut reason, &mut lines)?],
            (Verb::PromoteFull, Some(s)) => {
                reason = true;
                let hash = self.hash(s)?;
                if self.train.service(s).is_some_and(|x| x.verdict == Some(Verdict::Fail)) {
                    return no(text!("the gate of {} fails: nothing overrides that", self.name(s)), "u undoes");
                }
                lines.push((true, text!("skips the remaining steps and gates of {}", self.name(s))));
                lines.push((true, "abort works only when all its pods are healthy".into()));
                vec![Want::Full(s, hash)]
            }
            (Verb::Promote | Verb::PromoteFull, None) => {
                return no(text!("{} needs a service", verb.name()), "name the one that waits");
            }
            (Verb::Abort, one) => self.abort(one, &mut lines)?,
            (Verb::Retry, one) => self.again(one)?,
            (Verb::Undo, one) => vec![self.undo(reach, one, &mut lines)?],
            (Verb::Flag { key, setting, .. }, _) => vec![self.flag(key, *setting, &mut lines)?],
            (Verb::Start, _) => self.start(&mut lines)?,
            (Verb::Accept(check), _) => {
                let found = train.checks.iter().find(|c| c.check.as_ref() == Some(check));
                match found {
                    Some(shown) if shown.accepted => {
                        return already(text!("{} is accepted already", shown.name), "");
                    }
                    Some(shown) if *shown.found == *"ask" => lines.push((true, shown.says.clone())),
                    Some(shown) => return no(text!("{} does not ask", shown.name), "it cannot be accepted"),
                    None => return no("the pre-flight does not ask this".into(), "look at the checklist"),
                }
                vec![Want::Accept(check.clone())]
            }
            (Verb::Restart, _) => {
                return no(text!("train {id} governs it: its pods are not restarted by hand"), "hold or undo it");
            }
            (Verb::Depart, _) => {
                return no(text!("train {id} runs here"), "one at a time: wait for its end, or undo it");
            }
            (Verb::TakeOver, _) => {
                let by = train.conductor.name();
                let says = by.map_or_else(|| text!("nobody conducts it now"), |by| text!("{by} conducts it now"));
                lines.push((false, says));
                lines.push((false, "this process claims the Lease and goes on with the train".into()));
                Vec::new()
            }
        };
        for want in &wants {
            let waiting = |o: &&OrderShown| o.taken == Taken::NotYet && o.want == *want;
            if let Some(order) = train.orders.iter().find(waiting) {
                return already(text!("{} is ordered already, by {}", order.says, order.who), "it is on its way");
            }
        }
        let direction =
            if !wants.is_empty() && wants.iter().all(is_safe) { Direction::Safe } else { Direction::Forward };
        let many = wants.len() > 1;
        let title = match (verb, wants.first()) {
            (Verb::TakeOver, _) => text!("take train {id} over"),
            (Verb::Start, Some(Want::Start)) => text!("start train {id}"),
            (_, Some(first)) if !many => text!("{}, train {id}", in_words(&train.plan, first)),
            _ => text!("{} {}, train {id}", verb.name(), wants.len()),
        };
        let mut targets = vec![train.object.clone()];
        targets.extend(train.workloads.iter().cloned());
        targets.extend(self.services.iter().filter(|v| train.service_of(&v.id).is_some()).flat_map(|v| v.also.clone()));
        let reach = if many { Reach::All } else { reach.clone() };
        Ok(Ordering {
            level: self.level(verb, &reach, direction, place),
            on: OnTrain { release: train.object.clone(), uid: train.uid.clone(), wants },
            reason,
            direction,
            title,
            lines,
            targets,
        })
    }

    /// `train.md` §8.
    fn level(&self, verb: &Verb, reach: &Reach, direction: Direction, place: &Place) -> Confirm {
        match verb {
            // The one way that a train accepts by hand is back.
            Verb::Flag { .. } if place.write == WriteMode::ReadWrite => Confirm::Yes,
            // One service, or the one thing that is asked.
            Verb::Abort | Verb::Flag { .. } if direction == Direction::Safe => {
                verb.level(reach, place, None, Some(self.train.id()))
            }
            Verb::Abort => Confirm::Yes,
            verb => verb.level(reach, place, None, Some(self.train.id())),
        }
    }

    fn name(&self, s: ServiceId) -> &Text {
        &self.train.plan.service(s).name
    }

    /// The version in flight, as it is on the screen.
    fn hash(&self, s: ServiceId) -> Result<Text, Refusal> {
        let deployed = self.train.memory.as_ref().and_then(|m| m.services.get(usize::from(s))?.deployed.clone());
        let seen = self.view(s).and_then(|v| v.workload.as_ref()).map(|w| w.hash.clone());
        match seen.filter(|h| !h.is_empty()).or(deployed) {
            Some(hash) => Ok(hash),
            None => no(text!("{}: its version is not known yet", self.name(s)), "wait for the next reading"),
        }
    }

    fn stage(&self, s: ServiceId) -> Option<Stage> {
        self.train.memory.as_ref().and_then(|m| m.services.get(usize::from(s))).map(|m| m.stage)
    }

    fn hold(&self, one: Option<ServiceId>) -> Result<Vec<Want>, Refusal> {
        let mine = |h: &&Hold| h.why == HoldFor::Person && (h.service == one || h.service.is_none());
        if let Some(hold) = self.train.holds().iter().find(mine) {
            return already(text!("held already by {}", hold.who), "r resumes it");
        }
        Ok(vec![Want::Hold(one, HoldFor::Person)])
    }

    fn resume(&self, one: Option<ServiceId>, lines: &mut Vec<(bool, Text)>) -> Result<Vec<Want>, Refusal> {
        let holds = self.train.holds();
        let about = |h: &Hold, s: ServiceId| {
            h.service == Some(s) || matches!(h.why, HoldFor::Outside(x) | HoldFor::Burning(x) if x == s)
        };
        let own = one.and_then(|s| holds.iter().find(|h| about(h, s)));
        let whole = || holds.iter().find(|h| h.service.is_none());
        let outside = one.filter(|s| {
            let held = self.view(*s).and_then(|v| v.workload.as_ref()).is_some_and(|w| w.held);
            let noted = self.train.memory.as_ref().and_then(|m| m.services.get(usize::from(*s)));
            held && noted.is_some_and(|m| m.outside.is_some() || holds.is_empty())
        });
        if let (None, Some(s)) = (own, outside) {
            lines.push((true, text!("another hand holds {}, not this train", self.name(s))));
            return Ok(vec![Want::ResumeOutside(s)]);
        }
        let Some(hold) = own.or_else(whole).or(holds.first().filter(|_| one.is_none())) else {
            return no("nothing is held".into(), "P approves a pause of its own steps");
        };
        let reason = if hold.reason.is_empty() { text!("no reason given") } else { hold.reason.clone() };
        match hold.why {
            HoldFor::Inconclusive(s) => {
                return no(text!("the gate of {} could not tell", self.name(s)), "P with a reason, or u");
            }
            HoldFor::NoData(s) => {
                return no(text!("the gate of {} has no data", self.name(s)), "P with a reason, or u");
            }
            HoldFor::Aborted(s) => return no(text!("{} was aborted", self.name(s)), "t tries it again, u undoes"),
            HoldFor::Partly | HoldFor::Second(_) => {
                return no("a part was taken back".into(), "t tries it again, u undoes");
            }
            HoldFor::Expand => return no("the expand step failed".into(), "t runs it again"),
            HoldFor::Person
            | HoldFor::Outside(_)
            | HoldFor::Boundary
            | HoldFor::Flag(_)
            | HoldFor::Burning(_)
            | HoldFor::Elsewhere => {}
        }
        lines.push((false, text!("ends the hold of {} ({reason})", hold.who)));
        let left = holds.len() - 1;
        if left > 0 {
            lines.push((true, text!("{left} more hold(s) stay")));
        }
        Ok(vec![Want::Resume(hold.id)])
    }

    fn approve(&self, s: ServiceId, reason: &mut bool, lines: &mut Vec<(bool, Text)>) -> Result<Want, Refusal> {
        let name = self.name(s);
        let hash = self.hash(s)?;
        let shown = self.train.service(s);
        let verdict = shown.and_then(|x| x.verdict);
        if verdict == Some(Verdict::Fail) {
            return no(text!("the gate of {name} fails: nothing overrides that"), "X takes traffic back, u undoes");
        }
        let Some(m) = self.train.memory.as_ref().and_then(|m| m.services.get(usize::from(s))) else {
            return no("nobody has taken this train up yet".into(), "wait for a conductor, or take it over");
        };
        if !matches!(m.stage, Stage::Stepping | Stage::Baking | Stage::Done) {
            return no(text!("{name} waits for nothing that could be approved"), "P works while a step waits");
        }
        let workload = self.view(s).and_then(|v| v.workload.as_ref());
        let step = workload.and_then(|w| w.step).or(shown.map(|x| x.step)).unwrap_or_default();
        let unsure = |h: &Hold| matches!(h.why, HoldFor::Inconclusive(x) | HoldFor::NoData(x) if x == s);
        let asked = self.train.holds().iter().any(unsure);
        let pause = workload.and_then(|w| w.pause.as_ref());
        let inconclusive = pause.is_some_and(|p| p.reason.starts_with("Inconclusive"));
        let over = m.passed <= step || inconclusive || asked;
        *reason = over;
        let evidence = shown.map(|x| x.evidence.clone()).filter(|e| !e.is_empty());
        match over {
            true => {
                let word = match verdict {
                    Some(Verdict::Pass) => "passes so far, not for its whole window",
                    Some(Verdict::Inconclusive) => "cannot tell",
                    Some(Verdict::NoData) => "has no data",
                    Some(Verdict::Fail) | None => "has not passed",
                };
                lines.push((true, text!("its gate {word}; going on is your decision and is recorded")));
            }
            false => lines.push((false, text!("its gate passed at step {}", step + 1))),
        }
        lines.extend(evidence.map(|evidence| (false, evidence)));
        Ok(Want::Approve { service: s, hash, step, over })
    }

    fn abort(&self, one: Option<ServiceId>, lines: &mut Vec<(bool, Text)>) -> Result<Vec<Want>, Refusal> {
        let flies = |s: ServiceId| matches!(self.stage(s), Some(Stage::Deploying | Stage::Stepping));
        let all: Vec<ServiceId> = match one {
            Some(s) => vec![s],
            None => (0..).take(self.train.plan.services.len()).filter(|s| flies(*s)).collect(),
        };
        if let Some(s) = one {
            match self.stage(s) {
                Some(Stage::Aborting | Stage::Aborted) => {
                    return already(text!("{} is aborted already", self.name(s)), "t tries it again, u undoes");
                }
                // Where nobody took the train up, what the workload says counts.
                None | Some(Stage::Deploying | Stage::Stepping) => {}
                Some(_) => {
                    return no(text!("{} has no canary in flight", self.name(s)), "u takes a finished service back");
                }
            }
        }
        if all.is_empty() {
            return no("no canary is in flight".into(), "u takes finished services back");
        }
        let mut wants = Vec::new();
        for s in all {
            lines.push((false, text!("{}: all traffic back to the stable version; the train holds", self.name(s))));
            wants.push(Want::Abort(s, self.hash(s)?));
        }
        Ok(wants)
    }

    fn again(&self, one: Option<ServiceId>) -> Result<Vec<Want>, Refusal> {
        let back = |s: &ServiceId| matches!(self.stage(*s), Some(Stage::Aborted | Stage::Undone));
        if let Some(s) = one.filter(|s| back(s)) {
            return Ok(vec![Want::Retry(s)]);
        }
        let expand = self.train.holds().iter().any(|h| h.why == HoldFor::Expand);
        if expand || self.train.phase == Phase::Preflight {
            return Ok(vec![Want::Again]);
        }
        if let Some(s) = one {
            return no(text!("{} was not taken back", self.name(s)), "t works after X or u");
        }
        let all: Vec<ServiceId> = (0..).take(self.train.plan.services.len()).filter(|s| back(s)).collect();
        match all.as_slice() {
            [s] => Ok(vec![Want::Retry(*s)]),
            [] => no("nothing was taken back".into(), "t works after X or u"),
            _ => no("several services were taken back".into(), "name the one to try again"),
        }
    }

    fn undo(&self, reach: &Reach, one: Option<ServiceId>, lines: &mut Vec<(bool, Text)>) -> Result<Want, Refusal> {
        let scope = match (reach, one) {
            (Reach::One(_), Some(s)) => Scope::Only(s),
            (Reach::Downstream(_), Some(s)) => Scope::Downstream(s),
            (Reach::Wave(n), _) => Scope::Wave(u16::try_from(*n).unwrap_or(u16::MAX)),
            _ => Scope::All,
        };
        if let Some((_, left)) = self.train.undo()
            && self.train.memory.as_ref().and_then(|m| m.undo.as_ref()).is_some_and(|u| u.whole)
        {
            let left: Vec<&str> = left.iter().map(|l| l.as_str()).collect();
            let hint = if left.is_empty() {
                "flags and migrations are left".to_owned()
            } else {
                format!("left: {}", left.join(", "))
            };
            return already("the whole train is being taken back already".into(), &hint);
        }
        let state = self.train.state();
        let services = state.reach(scope);
        if services.is_empty() && scope != Scope::All {
            return no("nothing of that was moved by this train".into(), "u on a service that moved, or :undo all");
        }
        lines.extend(self.undo_lines(scope, &services));
        Ok(Want::Undo(scope))
    }

    /// The computed plan: what goes back, in which order, and what that costs.
    fn undo_lines(&self, scope: Scope, services: &[ServiceId]) -> Vec<(bool, Text)> {
        let train = self.train;
        let mut lines = Vec::new();
        let Some(memory) = &train.memory else {
            lines.push((true, "nobody has taken it up: whatever it moved goes back by the records".into()));
            return lines;
        };
        let flies = |s: &ServiceId| {
            let m = &memory.services[usize::from(*s)];
            matches!(m.stage, Stage::Deploying | Stage::Stepping | Stage::Aborting | Stage::Aborted)
        };
        let whole = scope == Scope::All || services.len() == train.reach(Scope::All).len();
        for (flag, plan) in memory.flags.iter().zip(&train.plan.flags) {
            if flag.moved && (whole || plan.services.iter().any(|s| services.contains(s))) {
                let to = flag.recorded.as_ref().map_or_else(|| text!("its safe value"), |to| text!("{to}"));
                lines.push((false, text!("at once: flag {} back to {to}", plan.key)));
                if !train.plan.migrations.is_empty() {
                    lines.push((true, text!("flag {} was on: data written under it may be new to old code", plan.key)));
                }
            }
        }
        let to = |s: ServiceId| {
            let view = self.view(s).and_then(|v| v.workload.as_ref());
            let version = view.and_then(|w| w.undo_to.as_ref()?.version.clone().or(w.stable_version.clone()));
            version.map_or_else(|| text!("what was recorded"), |v| text!("{v}"))
        };
        let new = |s: ServiceId| &train.plan.service(s).version;
        for s in services.iter().filter(|s| flies(s)) {
            lines.push((false, text!("at once: {} {} back to {}", self.name(*s), new(*s), to(*s))));
        }
        let mut finished: Vec<ServiceId> = services.iter().copied().filter(|s| !flies(s)).collect();
        finished.sort_by_key(|s| std::cmp::Reverse(train.plan.service(*s).wave));
        for s in finished {
            let dependents = train.plan.dependents(s);
            let waits: Vec<&str> =
                services.iter().filter(|d| dependents.contains(d)).map(|d| self.name(*d).as_str()).collect();
            let after = if waits.is_empty() { text!("at once") } else { text!("after {}", waits.join(", ")) };
            lines.push((false, text!("{after}: {} {} back to {}", self.name(s), new(s), to(s))));
        }
        if let Scope::Only(s) = scope {
            let dependents = train.plan.dependents(s);
            let moved = train.reach(Scope::All);
            let lose: Vec<&str> =
                dependents.iter().filter(|d| moved.contains(d)).map(|d| self.name(*d).as_str()).collect();
            if !lose.is_empty() {
                lines.push((true, text!("alone: {} lose what {} has new", lose.join(", "), self.name(s))));
            }
        }
        if lines.is_empty() {
            lines.push((false, "nothing was moved yet: the train ends".into()));
        }
        lines
    }

    fn flag(&self, key: &Text, setting: FlagSetting, lines: &mut Vec<(bool, Text)>) -> Result<Want, Refusal> {
        let train = self.train;
        let Some(at) = train.plan.flags.iter().position(|f| f.key == *key) else {
            return no(text!("train {} does not move flag {key}", train.id()), "set it by hand");
        };
        let to = match setting {
            FlagSetting::Off => Setting::Percent(0),
            FlagSetting::On => Setting::Percent(100),
            FlagSetting::Percent(n) => Setting::Percent(n),
        };
        let memory = train.memory.as_ref().and_then(|m| m.flags.get(at));
        match memory {
            Some(flag) if !flag.moved => {
                return no(text!("train {} has not moved {key} yet", train.id()), "it moves it itself");
            }
            Some(flag) if flag.back => return already(text!("{key} is on its way back already"), ""),
            Some(flag) if flag.recorded.as_ref() == Some(&to) => {
                lines.push((false, text!("{key} back to {to}, alone; the train holds")));
            }
            Some(flag) => {
                let back = flag.recorded.as_ref().map_or_else(|| text!("its old value"), |r| text!("{r}"));
                return no(
                    text!("train {} moves {key} itself; only the way back can be ordered", train.id()),
                    &format!("that is {back}"),
                );
            }
            None => return no("nobody has taken this train up yet".into(), "wait for a conductor, or take it over"),
        }
        Ok(Want::Flag(u16::try_from(at).unwrap_or(u16::MAX), to))
    }

    fn start(&self, lines: &mut Vec<(bool, Text)>) -> Result<Vec<Want>, Refusal> {
        let train = self.train;
        if train.phase == Phase::Planned {
            let began = |o: &OrderShown| o.want == Want::Start;
            if train.orders.iter().any(began) {
                return already(text!("train {} is ordered to start already", train.id()), "it waits for a conductor");
            }
            lines.push((false, text!("{}: {} services", train.plan.release, train.plan.services.len())));
            return Ok(vec![Want::Start]);
        }
        let asks: Vec<&CheckShown> = train.checks.iter().filter(|c| *c.found == *"ask" && !c.accepted).collect();
        if train.phase != Phase::Preflight || asks.is_empty() {
            return no(text!("train {} is under way", train.id()), "one train at a time in an environment");
        }
        lines.extend(asks.iter().map(|c| (true, text!("{}: {}", c.name, c.says))));
        Ok(asks.iter().filter_map(|c| c.check.clone()).map(Want::Accept).collect())
    }
}
