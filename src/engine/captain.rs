//! An order on a train, from the person who confirmed it to its effect. It is written down first (local journal, then the Release);
//! then it is watched: the conductor names it in the status and does it. Where an order in the safe direction is not taken in,
//! where its conductor is silent or changes nothing, or where nobody conducts, this process carries it out itself, by the same
//! pure machine and the same patches (`train.md` §2). Nothing ever goes forward from here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use serde_json::json;

use super::act::{Driver, Outcome};
use super::eyes::{self, Sighted};
use super::gates::Moment;
use super::trains::{Heart, millis};
use crate::core::captain::{in_words, intent_id};
use crate::core::confirm::{Confirmed, Order, Refusal};
use crate::core::effect::Effect;
use crate::core::frozen::patch::{self, Cannot, Ordered};
use crate::core::frozen::reading::reading;
use crate::core::guard::{Standing, TrainStanding, clear, clear_for_train};
use crate::core::lease;
use crate::core::release::{self, Acted, Release};
use crate::core::snapshot::Weight;
use crate::core::text::Text;
use crate::core::train::effect::{Effect as Wanted, FlagChange, Safe};
use crate::core::train::event::{At, Event, Input, Intent, Want};
use crate::core::train::hands::{Hands, TAKEN_WITHIN, begun, is_safe, missing};
use crate::core::train::resolved::ServiceId;
use crate::core::train::state::State;
use crate::core::train::{Role, step};
use crate::ports::{Fault, FaultKind};
use crate::text;

/// How long an order is watched until its outcome is called unknown.
const WATCHED: Duration = Duration::from_secs(90);

/// How long an order that goes forward is waited for until it is said that nobody took it in.
const FORWARD: Duration = Duration::from_secs(15);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(400);

/// The same effect is not sent again before this: it may not show yet.
const AGAIN: Duration = Duration::from_secs(2);

/// An order on a train, confirmed.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Its Release, as last seen.
    pub release: Arc<Release>,
    /// What is ordered, an order each.
    pub wants: Vec<Want>,
    /// The person's word, about the Release and its workloads.
    pub confirmed: Confirmed,
    /// Who, when, why.
    pub order: Order,
    /// True when it goes on trying while the process lives, where the cluster cannot be reached.
    pub patient: bool,
}

/// What was learned in one look.
struct Look {
    release: Result<Release, Fault>,
    sighted: Vec<(ServiceId, Option<Sighted>)>,
    flags: Vec<(u16, crate::core::train::event::FlagReading)>,
    at: Moment,
}

/// One order under way.
struct Watch<'a> {
    driver: &'a Driver,
    errand: Errand,
    intents: Vec<Intent>,
    known: Release,
    /// True once the Release has it.
    written: bool,
    write_at: Duration,
    /// Why the Release could not be written.
    unwritten: Option<Fault>,
    since: Duration,
    heart: Option<Heart>,
    lease_read: bool,
    uid: Option<Text>,
    sent: BTreeMap<Text, Duration>,
    done: Vec<Text>,
    refusals: BTreeMap<Text, Text>,
    told: BTreeSet<&'static str>,
    /// What was worked out so far where no status says anything: then this process remembers.
    own: Option<State>,
}

/// Gives an order: written down, watched, and carried out from here where nobody else does and it is safe.
pub async fn order(driver: &Driver, errand: Errand, tell: &(dyn Fn(Weight, Text) + Sync)) -> Outcome {
    let number = |(nth, want): (usize, &Want)| Intent {
        id: intent_id(&errand.order, nth),
        order: errand.order.clone(),
        want: want.clone(),
        epoch: None,
    };
    let intents: Vec<Intent> = errand.wants.iter().enumerate().map(number).collect();
    let safe = intents.iter().all(|intent| is_safe(&intent.want));
    for intent in &intents {
        let line = json!({
            "at": driver.clock.now().to_string(), "what": "order", "train": errand.release.uid,
            "release": errand.release.id.to_string(), "says": in_words(&errand.release.frozen.resolved, &intent.want),
            "intent": intent,
        });
        if let Err(fault) = driver.append(line).await
            && !safe
        {
            let why = text!("the order cannot be written down: {}: {}", fault.what, fault.why);
            return Outcome::Refused(Refusal { why, hint: fault.hint, already: false });
        }
    }
    let known = Release::clone(&errand.release);
    let mut watch = Watch {
        driver,
        intents,
        known,
        written: false,
        write_at: Duration::ZERO,
        unwritten: None,
        since: driver.clock.monotonic(),
        heart: None,
        lease_read: false,
        uid: driver.uid_of_cluster().await,
        sent: BTreeMap::new(),
        done: Vec::new(),
        refusals: BTreeMap::new(),
        told: BTreeSet::new(),
        own: None,
        errand,
    };
    watch.write().await;
    if !safe {
        return watch.forward().await;
    }
    let outcome = watch.safe(tell).await;
    watch.note(&outcome).await;
    outcome
}

impl Watch<'_> {
    fn now(&self) -> Moment {
        Moment { wall: self.driver.clock.now(), monotonic: self.driver.clock.monotonic() }
    }

    fn waited(&self) -> Duration {
        self.driver.clock.monotonic().saturating_sub(self.since)
    }

    /// Writes what the Release does not have yet. Whatever was answered is read back before it is tried again.
    async fn write(&mut self) {
        self.write_at = self.driver.clock.monotonic() + Duration::from_secs(1);
        let mut fault = None;
        for intent in &self.intents {
            if self.known.intents.iter().any(|known| known.id == intent.id) {
                continue;
            }
            match self.send(release::order(&self.known, intent)).await {
                Ok(()) => self.known.intents.push(intent.clone()),
                Err(why) => {
                    fault = Some(why);
                    break;
                }
            }
        }
        self.written = fault.is_none();
        self.unwritten = fault;
    }

    /// Sends a write to the Release, under the person's confirmation.
    async fn send(&self, effect: Effect) -> Result<(), Fault> {
        let now = self.driver.clock.now();
        let standing = Standing {
            write: self.driver.write,
            confirmed: Some(&self.errand.confirmed),
            cluster_uid: (self.driver.cluster_uid.clone(), self.uid.clone()),
            read_at: now,
            now,
        };
        let what = effect.says.clone();
        let cleared = clear(effect, &standing).map_err(|refusal| Fault {
            kind: FaultKind::Forbidden,
            what,
            why: refusal.why,
            hint: refusal.hint,
        })?;
        self.driver.cluster.send(&cleared).await.map(|_| ())
    }

    /// Reads the Release and the Lease, and with `deep` what the order is about.
    async fn look(&mut self, deep: bool) -> Look {
        let cluster = &*self.driver.cluster;
        let context = cluster.identity().context;
        let lease_id = lease::id(&context, &self.known.frozen.namespace);
        let frozen = Arc::clone(&self.known.frozen);
        let services = u16::try_from(frozen.workloads.len()).unwrap_or(u16::MAX);
        let concerned: Vec<ServiceId> = (0..if deep { services } else { 0 }).filter(|s| self.concerns(*s)).collect();
        let flags = if deep { u16::try_from(frozen.resolved.flags.len()).unwrap_or(u16::MAX) } else { 0 };
        let (clock, shared) = (&*self.driver.clock, &frozen);
        let workloads = join_all(concerned.iter().map(|s| async move {
            // One that cannot be read just now is read in the next look; what it blocks waits for that.
            (*s, eyes::look(cluster, clock, shared, *s, None).await.ok().flatten())
        }));
        let flags = join_all((0..flags).map(|f| async move {
            eyes::flag(cluster, None, shared, f).await.ok().flatten().map(|reading| (f, reading))
        }));
        let papers = join(cluster.read(&self.known.id), cluster.read(&lease_id));
        let ((object, held), (sighted, flags)) = join(papers, join(workloads, flags)).await;
        let at = self.now();
        // Where nobody can tell who conducts, the time since it was last seen to beat counts on.
        if let Ok(found) = held {
            self.lease_read = true;
            let read = found.as_ref().and_then(|object| lease::read(object).ok());
            self.heart = read.map(|(lease, _)| Heart::hear(self.heart.take(), lease, at));
        }
        let release = match object {
            Err(fault) => Err(fault),
            Ok(None) => Err(Fault {
                kind: FaultKind::NotFound,
                what: text!("read {}", self.known.id),
                why: "it is not there any more".into(),
                hint: "without it the verbs act on each service by hand".into(),
            }),
            Ok(Some(object)) => Release::read(&object, &context, Some(&self.known)).map_err(|unfit| Fault {
                kind: FaultKind::Malformed,
                what: text!("read {}", self.known.id),
                why: unfit.why,
                hint: "look at it with kubectl".into(),
            }),
        };
        if let Ok(release) = &release
            && release.uid == self.known.uid
        {
            self.known = release.clone();
        }
        Look { release, sighted, flags: flags.into_iter().flatten().collect(), at }
    }

    /// True when an order may have to do with a service: all but those that the train has not come to.
    fn concerns(&self, s: ServiceId) -> bool {
        use crate::core::train::state::Stage;
        let Ok(Some(memory)) = self.known.memory() else { return true };
        // A deploy may be on its way, or have landed without its conductor having said so.
        memory.services.get(usize::from(s)).is_none_or(|m| m.touched || !matches!(m.stage, Stage::Unchanged))
    }

    /// The train as its conductor remembers it, with what was read and this order in it; and what hands would do.
    fn train(&mut self, look: &Look) -> (State, Vec<Wanted>) {
        let plan = Arc::new(self.known.frozen.resolved.clone());
        let own = self.own.take();
        let remembered = self.known.memory().ok().flatten();
        let alone = remembered.is_none();
        let mut state = match remembered {
            Some(memory) => State::resume(plan, memory),
            // Nobody took it up, or what was remembered cannot be read: the records say what was live.
            None => own.unwrap_or_else(|| State::new(plan)),
        };
        let context = self.driver.cluster.identity().context;
        let mut events = Vec::new();
        for (s, sighted) in &look.sighted {
            let found = sighted.as_ref().and_then(|one| one.with(&context, |raw| reading(&self.known.frozen, *s, raw)));
            events.push(found.map_or(Event::Gone(*s), |reading| Event::Read(*s, Arc::new(reading))));
        }
        events.extend(look.flags.iter().map(|(f, reading)| Event::FlagRead(*f, reading.clone())));
        // Once more, so that what follows from all readings together is decided before the order is heard.
        events.push(Event::Tick);
        events.extend(self.intents.iter().cloned().map(Event::Ordered));
        let at = At { mono: millis(look.at.monotonic), wall: look.at.wall };
        let mut wanted = Vec::new();
        for event in events {
            let (next, effects) = step(state, Role::Hands, &Input { at, lease: None, event });
            state = next;
            wanted.extend(effects);
        }
        self.own = alone.then(|| state.clone());
        (state, wanted)
    }

    /// Waits until a conductor has taken in what goes forward.
    async fn forward(&mut self) -> Outcome {
        if let Some(fault) = self.unwritten.take() {
            return Outcome::Failed(fault);
        }
        loop {
            let look = self.look(false).await;
            if let Some(outcome) = self.answered() {
                return outcome;
            }
            let nobody = self.lease_read && self.heart.as_ref().is_none_or(Heart::is_free);
            if self.waited() >= FORWARD || nobody && self.waited() >= Duration::from_millis(TAKEN_WITHIN) {
                let says = match (&look.release, nobody) {
                    (Err(fault), _) => text!("written down; {fault}"),
                    (_, true) => {
                        text!("written down; nobody conducts the train: take it over, or run footplate conduct")
                    }
                    (_, false) => text!("written down; its conductor has not taken it in"),
                };
                return Outcome::Unknown(says);
            }
            self.driver.clock.sleep(LOOK).await;
        }
    }

    /// What a conductor's status says of the order; none while it does not name it.
    fn answered(&self) -> Option<Outcome> {
        let memory = self.known.memory().ok().flatten()?;
        let refused = self.intents.iter().find_map(|i| memory.refused.iter().find(|(id, _)| *id == i.id));
        if let Some((_, why)) = refused {
            let hint = "look again and order what fits".into();
            return Some(Outcome::Refused(Refusal { why: why.clone(), hint, already: false }));
        }
        if !self.intents.iter().all(|i| memory.taken.contains(&i.id)) {
            return None;
        }
        let by = self.known.status.as_ref().map(|s| s.conductor.clone()).unwrap_or_default();
        Some(Outcome::Done(text!("{}: taken in by {by}", self.says())))
    }

    fn says(&self) -> Text {
        let plan = &self.known.frozen.resolved;
        let all: Vec<Text> = self.intents.iter().map(|intent| in_words(plan, &intent.want)).collect();
        Text::scrub(&all.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", "))
    }

    /// Watches what is safe to its end, and carries it out where nobody else does.
    async fn safe(&mut self, tell: &(dyn Fn(Weight, Text) + Sync)) -> Outcome {
        let hands = Hands::new(millis(self.since));
        let mut acts = false;
        loop {
            let look = self.look(true).await;
            if !self.known.active() {
                let why = text!("train {} has ended", self.known.frozen.resolved.id);
                let hint = "the verbs act on each service by hand now".into();
                return Outcome::Refused(Refusal { why, hint, already: false });
            }
            let answered = self.answered();
            if let Some(refused @ Outcome::Refused(_)) = answered {
                return refused;
            }
            let taken = answered.is_some();
            let (state, wanted) = self.train(&look);
            // What the machine itself would not take in is refused here as it would be there.
            let refused = self.intents.iter().find_map(|i| state.memory().refused.iter().find(|(id, _)| *id == i.id));
            if let (Some((_, why)), false) = (refused, taken) {
                let why = why.clone();
                return Outcome::Refused(Refusal {
                    why,
                    hint: "look again and order what fits".into(),
                    already: false,
                });
            }
            let left: Vec<Text> = self.intents.iter().filter_map(|intent| missing(&state, intent)).collect();
            let read = look.release.is_ok();
            let nobody = self.lease_read && self.heart.as_ref().is_none_or(Heart::is_free);
            // A hold of what stands still shows at once: who conducts must still have heard of it.
            let heard = taken || acts || nobody || self.waited() >= Duration::from_millis(TAKEN_WITHIN);
            if left.is_empty() && read && heard {
                if acts {
                    self.acted().await;
                }
                let how = if acts { "carried out from here and read back" } else { "done and read back" };
                return Outcome::Done(text!("{}: {how}", self.says()));
            }
            if !self.written && self.driver.clock.monotonic() >= self.write_at {
                self.write().await;
            }
            if let (Some(fault), true) = (&self.unwritten, self.told.insert("unwritten")) {
                let says = text!("the order waits in the local journal: {fault}; {}", fault.hint);
                tell(Weight::Warn, says);
            }
            let now = millis(self.driver.clock.monotonic());
            let alive_at = self.heart.as_ref().and_then(Heart::beat_at).unwrap_or(millis(self.since));
            let shown = self.intents.iter().all(|intent| begun(&state, intent));
            // An order that no Release may get has only these hands.
            let alone = self.unwritten.as_ref().is_some_and(|f| f.kind == FaultKind::Forbidden);
            let due = nobody || alone || hands.due(now, taken, alive_at, shown);
            if due {
                if !acts {
                    acts = true;
                    let why = match (nobody, taken) {
                        (true, _) => "nobody conducts the train",
                        (false, false) => "its conductor has not taken the order in",
                        (false, true) => "its conductor shows no effect",
                    };
                    tell(Weight::Warn, text!("{}: {why}; it is carried out from here", self.says()));
                }
                self.carry_out(&look, wanted).await;
            }
            if self.waited() >= WATCHED && (read || !self.errand.patient) {
                if !self.done.is_empty() {
                    self.acted().await;
                }
                return self.give_up(&left, look.release.err());
            }
            self.driver.clock.sleep(if read { LOOK } else { Duration::from_secs(1) }).await;
        }
    }

    fn give_up(&self, left: &[Text], fault: Option<Fault>) -> Outcome {
        if let (Some(fault), true) = (fault, self.done.is_empty()) {
            return Outcome::Failed(fault);
        }
        let left: Vec<&str> = left.iter().chain(self.refusals.values()).map(Text::as_str).collect();
        Outcome::Unknown(text!("{}: not read back in time: {}", self.says(), left.join("; ")))
    }

    /// Sends what hands may send. A change that went out a moment ago is not sent again before it can show.
    async fn carry_out(&mut self, look: &Look, wanted: Vec<Wanted>) {
        let now = self.driver.clock.monotonic();
        let mut safes: Vec<(Safe, &Sighted)> = Vec::new();
        let mut flags: Vec<FlagChange> = Vec::new();
        for effect in wanted {
            match effect {
                Wanted::Safe(_, safe) => {
                    let name = &self.known.frozen.resolved.service(safe.service()).name;
                    let key = text!("{name}: {}", safe.change().says());
                    let sighted =
                        look.sighted.iter().find(|(s, _)| *s == safe.service()).and_then(|(_, one)| one.as_ref());
                    if let Some(sighted) = sighted.filter(|_| self.may_go(key, now)) {
                        safes.push((safe, sighted));
                    }
                }
                Wanted::Flag(_, change) if change.back => {
                    let key = text!("flag {}", self.known.frozen.resolved.flags[usize::from(change.flag)].key);
                    if self.may_go(key, now) {
                        flags.push(change);
                    }
                }
                // What is read, written down, told or ordered is a conductor's; what goes forward is nobody's here.
                _ => {}
            }
        }
        let this = &*self;
        let safes = join_all(safes.iter().map(|(safe, sighted)| this.safe_change(safe, sighted)));
        let flags = join_all(flags.iter().map(|change| this.flag_change(change)));
        let (safes, flags) = join(safes, flags).await;
        for (key, what, answer) in safes.into_iter().chain(flags) {
            match answer {
                Ok(()) => {
                    self.refusals.remove(&key);
                    let says = text!("{key}: {what}");
                    if !self.done.contains(&says) {
                        self.done.push(says);
                    }
                }
                Err(Some(why)) => drop(self.refusals.insert(key, why)),
                // Something moved: the next look decides anew.
                Err(None) => {}
            }
        }
    }

    fn may_go(&mut self, key: Text, now: Duration) -> bool {
        let waits = self.sent.get(&key).is_some_and(|at| now.saturating_sub(*at) < AGAIN);
        if !waits {
            self.sent.insert(key, now);
        }
        !waits
    }

    async fn safe_change(&self, safe: &Safe, sighted: &Sighted) -> (Text, Text, Result<(), Option<Text>>) {
        let context = self.driver.cluster.identity().context;
        let frozen = &self.known.frozen;
        let name = frozen.resolved.service(safe.service()).name.clone();
        let made = sighted.with(&context, |raw| patch::of_safe(frozen, safe, raw));
        let answer = match made {
            Ok(all) => self.leave(all, sighted.read_at).await,
            Err(Cannot::Moved(_)) => Err(None),
            Err(Cannot::Refused(why)) => Err(Some(why)),
        };
        (name, Text::scrub(safe.change().says()), answer)
    }

    async fn flag_change(&self, change: &FlagChange) -> (Text, Text, Result<(), Option<Text>>) {
        let frozen = &self.known.frozen;
        let key = frozen.resolved.flags[usize::from(change.flag)].key.clone();
        let read_at = self.driver.clock.monotonic();
        let answer = match eyes::flag_object(&*self.driver.cluster, frozen, change.flag).await {
            Ok(Some((id, object))) => match patch::flag(frozen, change, &id.cluster, &object) {
                Ok(one) => self.leave(vec![one], read_at).await,
                Err(Cannot::Moved(_)) => Err(None),
                Err(Cannot::Refused(why)) => Err(Some(why)),
            },
            Ok(None) => Err(Some(text!("flag {key} is defined nowhere that can be reached from here"))),
            Err(fault) => Err(Some(text!("{fault}"))),
        };
        (key, text!("back to {}", change.to), answer)
    }

    /// Lets patches leave, one after the other; what comes after one that did not land stays here.
    async fn leave(&self, all: Vec<Ordered>, read_at: Duration) -> Result<(), Option<Text>> {
        for one in all {
            let effect = one.effect().clone();
            let standing = TrainStanding {
                write: self.driver.write,
                cluster_uid: (Some(self.known.frozen.cluster_uid.clone()), self.uid.clone()),
                read_ago: self.driver.clock.monotonic().saturating_sub(read_at),
                ordered_ago: Duration::ZERO,
                epoch: None,
            };
            let cleared = clear_for_train(one, &standing).map_err(|r| Some(text!("{}; {}", r.why, r.hint)))?;
            let sent = self.driver.cluster.send(&cleared).await;
            // A safe effect is never held up by its entry; one that cannot be written is lost.
            let _ = self.driver.append(self.driver.line("effect", &effect)).await;
            if let Err(fault) = sent {
                return Err(match fault.kind {
                    FaultKind::Conflict | FaultKind::Gone | FaultKind::NotFound | FaultKind::Unprocessable => None,
                    _ => Some(text!("{fault}")),
                });
            }
        }
        Ok(())
    }

    /// Writes into the Release what was done from here, for the next conductor and for whoever looks.
    async fn acted(&mut self) {
        let says = if self.done.is_empty() {
            "nothing was left to do".to_owned()
        } else {
            self.done.iter().map(|t| t.as_str()).collect::<Vec<_>>().join("; ")
        };
        for intent in &self.intents {
            let acted = Acted {
                intent: text!("{:x}", intent.id),
                who: intent.order.who.clone(),
                at: self.driver.clock.now(),
                says: Text::scrub(&says),
            };
            // It was done, whether or not it can be written there; the local journal has it.
            let _ = self.send(release::acted(&self.known, &acted)).await;
        }
    }

    async fn note(&self, outcome: &Outcome) {
        let (word, says) = match outcome {
            Outcome::Done(says) => ("done", says.clone()),
            Outcome::Refused(refusal) => ("refused", refusal.why.clone()),
            Outcome::Failed(fault) => ("failed", text!("{fault}")),
            Outcome::Unknown(says) => ("unknown", says.clone()),
            Outcome::Reverted(refusal) => ("reverted", refusal.why.clone()),
        };
        let line = json!({
            "at": self.driver.clock.now().to_string(), "what": "outcome", "train": self.known.uid, "outcome": word,
            "says": says, "done": self.done,
        });
        let _ = self.driver.append(line).await;
    }
}
