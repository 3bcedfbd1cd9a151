//! The oracle: walks through what was written to the server, in order, and says what must never have happened (`design.md` §4 and
//! some of its own). It knows the release, what is wrong with it and what the script did; of the core it knows nothing.

mod end;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::facts::{self, Forward, Wanted, forward, is_pinned, stamp, template, text, whole};
use super::run::{End, Run};
use super::scenario::{Act, Cause, Hand, Ms, Scenario, Trouble, Whose};
use super::stage::BAKE;
use super::tap::{Who, Write};

/// What was already sent may land after an order stands in the Release.
const ON_ITS_WAY: Ms = 1_500;

/// How long a conductor whose wire is bad may not have heard of an order.
const DEAF: Ms = 45_000;

/// The same where its watches alone are bad: its next status does not land, and it reads why.
const HALF_DEAF: Ms = 8_000;

/// How long trouble has its effects after it is over.
const TAIL: Ms = 30_000;

/// How long a verdict may count after the data behind it ended: its freshness, and an evaluation.
const STILL_FRESH: Ms = 25_000;

/// Within what an order in the safe direction must show on what is in flight, whoever conducts or does not, where the wire of the
/// cockpit at which it was given is well.
const PROMPT: Ms = 20_000;

/// Times of the Lease.
const LEASE: Ms = 15_000;

/// Something that must never happen, and did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub number: u32,
    pub says: String,
}

struct Service {
    object: Value,
    /// As it was when the train was recorded.
    was: Value,
    record: Option<Value>,
    deployed: bool,
    /// Since when it has been whole on its pinned version.
    whole_since: Option<Ms>,
    /// Somebody touched it past the train.
    handled: bool,
    /// A person let it go on past its gate.
    waved_on: bool,
}

/// What an order owes to a service in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owed {
    Back,
    Still,
}

struct Walk<'a> {
    scenario: &'a Scenario,
    run: &'a Run,
    services: Vec<Service>,
    /// Orders in the Release, and since when.
    orders: BTreeMap<u64, (Ms, Wanted)>,
    /// Undo of the whole train, first ordered.
    undo: Option<Ms>,
    /// Holds of the whole train that no resume has ended.
    holds: BTreeMap<u64, Ms>,
    /// What is owed to whom, and until when.
    owed: Vec<(Ms, usize, Owed)>,
    /// The highest epoch under which something went forward, and whose.
    epoch: (u64, String),
    /// Epochs that somebody wiped may come again.
    wiped: bool,
    lease: Option<(String, u64, Ms)>,
    result: Option<(Ms, String)>,
    flags: Value,
    flags_were: Value,
    found: Vec<Violation>,
}

/// Everything that must never have happened in a run.
pub fn judge(scenario: &Scenario, run: &Run) -> Vec<Violation> {
    let service = |object: &Value| Service {
        object: object.clone(),
        was: object.clone(),
        record: None,
        deployed: false,
        whole_since: None,
        handled: false,
        waved_on: false,
    };
    let mut walk = Walk {
        scenario,
        run,
        services: run.initial.iter().map(service).collect(),
        orders: BTreeMap::new(),
        undo: None,
        holds: BTreeMap::new(),
        owed: Vec::new(),
        epoch: (0, String::new()),
        wiped: false,
        lease: None,
        result: None,
        flags: run.flags.clone(),
        flags_were: run.flags["spec"].clone(),
        found: Vec::new(),
    };
    for write in &run.writes {
        walk.settle(write.landed);
        walk.take(write);
    }
    walk.settle(run.lasted);
    walk.end();
    walk.found
}

impl Walk<'_> {
    fn fail(&mut self, number: u32, says: String) {
        if !self.found.iter().any(|v| v.number == number) {
            self.found.push(Violation { number, says });
        }
    }

    fn name(&self, s: usize) -> &'static str {
        self.scenario.services[s].name
    }

    fn take(&mut self, write: &Write) {
        match write.kind {
            "leases" => self.lease(write),
            "releases" => self.release(write),
            "configmaps" => self.record(write),
            "featureflags" => {
                if let Some(kind) = forward(write, &self.flags_were) {
                    self.went_forward(write, None, kind);
                }
                self.flags = write.after.clone();
            }
            "jobs" => {
                if let Some(kind) = forward(write, &self.flags_were) {
                    self.went_forward(write, None, kind);
                }
            }
            "rollouts" | "deployments" => {
                let Some(s) = self.scenario.services.iter().position(|s| s.name == write.name) else { return };
                self.workload(write, s);
            }
            _ => {}
        }
    }

    // ---- who conducts, and what was ordered ---------------------------------------------------------------------------

    fn lease(&mut self, write: &Write) {
        if write.after.is_null() {
            self.lease = None;
            self.wiped = true;
            return;
        }
        let holder = text(&write.after, "/spec/holderIdentity").to_owned();
        let epoch = write.after.pointer("/spec/leaseTransitions").and_then(Value::as_u64).unwrap_or(0);
        if let Some((before, last, at)) = &self.lease
            && !before.is_empty()
            && !holder.is_empty()
            && *before != holder
        {
            let taken = self.scenario.script.iter().any(|(at, act)| matches!(act, Act::Take(_)) && *at <= write.landed);
            if epoch <= *last {
                let says = format!("{holder} took the Lease of {before} under epoch {epoch}, which was used up");
                self.fail(3, says);
            } else if write.landed < at + LEASE - 1_000 && !taken {
                let says = format!("{holder} took the Lease of {before} {} ms after it was renewed", write.landed - at);
                self.fail(3, says);
            }
        }
        let renewed = self.lease.as_ref().is_none_or(|(before, ..)| *before != holder)
            || write.before.pointer("/spec/renewTime") != write.after.pointer("/spec/renewTime");
        let at = if renewed { write.landed } else { self.lease.as_ref().map_or(0, |(.., at)| *at) };
        self.lease = Some((holder, epoch, at));
    }

    fn release(&mut self, write: &Write) {
        for (id, _, wanted) in facts::orders(&write.after) {
            if self.orders.contains_key(&id) {
                continue;
            }
            self.orders.insert(id, (write.landed, wanted.clone()));
            match wanted {
                Wanted::HoldAll => {
                    self.holds.insert(id, write.landed);
                    self.owe(write.landed, Owed::Still);
                }
                Wanted::Resume(hold) => {
                    self.holds.remove(&hold);
                    self.owed.retain(|(.., what)| *what != Owed::Still);
                }
                Wanted::UndoAll => {
                    self.undo.get_or_insert(write.landed);
                    self.owed.retain(|(.., what)| *what != Owed::Still);
                    self.owe(write.landed, Owed::Back);
                }
                Wanted::Approve(s) | Wanted::Full(s) => self.services[s].waved_on = true,
                Wanted::UndoSome | Wanted::Retry(_) | Wanted::Other => {}
            }
        }
        let result = text(&write.after, "/status/result").to_owned();
        if !result.is_empty() && self.result.is_none() {
            self.ended(write, &result);
            self.result = Some((write.landed, result));
        }
    }

    /// True while something is wrong with the way from the cockpit to the server, or was a moment ago.
    fn cockpit_is_cut_off(&self, at: Ms) -> bool {
        self.scenario.script.iter().any(|(from, act)| match act {
            Act::Wire(Whose::Cockpit, .., lasts) => *from < at + PROMPT && at < from + lasts + TAIL,
            Act::Cut(Whose::Cockpit, _) => *from < at + PROMPT && at < from + TAIL,
            _ => false,
        })
    }

    /// From now on what is in flight is owed this.
    fn owe(&mut self, at: Ms, what: Owed) {
        if self.cockpit_is_cut_off(at) || self.result.is_some() {
            return;
        }
        for (s, service) in self.services.iter().enumerate() {
            let flying = service.deployed && is_pinned(&service.object) && !whole(&service.object);
            if flying && !service.handled {
                self.owed.push((at + PROMPT, s, what));
            }
        }
    }

    /// What was owed by now must be there.
    fn settle(&mut self, now: Ms) {
        let due: Vec<_> = self.owed.extract_if(.., |(due, ..)| *due < now).collect();
        for (due, s, what) in due {
            let service = &self.services[s];
            let back = !is_pinned(&service.object);
            let still = facts::paused(&service.object) || whole(&service.object);
            let given = back || what == Owed::Still && still;
            if !given && !service.handled {
                let says = format!("{} was to be {what:?} by {due}, and is not", self.name(s));
                self.fail(15, says);
            }
        }
    }

    /// A template that lies recorded before anything of it is moved.
    fn record(&mut self, write: &Write) {
        let uid: String = self.run.uid.chars().take(8).collect();
        let Some(s) = self.scenario.services.iter().position(|s| write.name == format!("fp-{uid}-before-{}", s.name))
        else {
            return;
        };
        if !write.before.is_null() {
            return self.fail(12, format!("the record of {} was changed", self.name(s)));
        }
        let of: Value = serde_json::from_str(text(&write.after, "/data/template")).unwrap_or_default();
        let recorded = serde_json::json!({"spec": {"template": of}});
        if template(&recorded) != template(&self.services[s].object) {
            let says = format!("what was recorded of {} is not what was live", self.name(s));
            self.fail(12, says);
        }
        if self.services[s].deployed && !self.services[s].handled {
            self.fail(12, format!("{} was recorded after it was deployed", self.name(s)));
        }
        self.services[s].record = Some(template(&recorded));
    }

    // ---- what was done to workloads -----------------------------------------------------------------------------------

    fn workload(&mut self, write: &Write, s: usize) {
        if let Some(kind) = forward(write, &self.flags_were) {
            self.went_forward(write, Some(s), kind);
        }
        let changed = template(&write.before) != template(&write.after);
        let ours = matches!(write.who, Who::Conductor(_) | Who::Cockpit);
        if changed && ours && !is_pinned(&write.after) && !self.services[s].handled {
            let back = self.services[s].record.as_ref() == Some(&template(&write.after));
            if !back {
                self.fail(11, format!("{} was given a template that is not the recorded one", self.name(s)));
            }
        }
        if write.who == Who::Hand {
            self.services[s].handled = true;
            self.wiped |= stamp(&write.before, "epoch").is_some() && stamp(&write.after, "epoch").is_none();
        }
        let service = &mut self.services[s];
        if changed {
            service.whole_since = None;
        }
        service.object = write.after.clone();
        if is_pinned(&write.after) && whole(&write.after) {
            service.whole_since.get_or_insert(write.landed);
        } else if !is_pinned(&write.after) {
            service.whole_since = None;
        }
    }

    fn went_forward(&mut self, write: &Write, s: Option<usize>, kind: Forward) {
        let what = format!("{:?} {kind:?} of {} at {} (sent {})", write.who, write.name, write.landed, write.sent);
        let Who::Conductor(author) = &write.who else {
            return self.fail(3, format!("{what}: a cockpit moves nothing forward"));
        };
        self.under_epoch(write, s, author, &what);
        self.against_orders(write, &what);
        if self.result.is_some() {
            self.fail(4, format!("{what}: the train has ended"));
        }
        if let Some(s) = s {
            let hold = stamp(&write.before, "hold");
            if stamp(&write.before, "undo").is_some() {
                self.fail(4, format!("{what}: it bears the mark of an undo"));
            }
            if kind != Forward::Release && hold.is_some() {
                self.fail(4, format!("{what}: it is held by {}", hold.unwrap_or_default()));
            }
            self.by_evidence(write, s, kind, &what);
            if kind == Forward::Deploy {
                self.deployed(write, s, &what);
            }
        } else if kind == Forward::Flag {
            let early = (0..self.services.len()).find(|s| self.unready(*s, write.sent));
            if let Some(early) = early {
                self.fail(1, format!("{what}: {} is not through", self.name(early)));
            }
        }
    }

    fn under_epoch(&mut self, write: &Write, s: Option<usize>, author: &str, what: &str) {
        let bears = s.and_then(|_| stamp(&write.before, "epoch")).and_then(|e| e.split_once('/'));
        if s.is_some() {
            let Some((number, of)) = bears.and_then(|(n, of)| Some((n.parse::<u64>().ok()?, of))) else {
                return self.fail(3, format!("{what}: it bears no epoch"));
            };
            if of != author || stamp(&write.before, "train") != Some(&self.run.uid) {
                return self.fail(3, format!("{what}: it bears the epoch {number} of {of}"));
            }
            let (highest, whose) = self.epoch.clone();
            if !self.wiped && (number < highest || number == highest && whose != author) {
                self.fail(3, format!("{what}: under epoch {number}, and {whose} has acted under {highest}"));
            }
            if number >= highest {
                self.epoch = (number, author.to_owned());
            }
        }
    }

    /// How long it may take until a conductor has heard what happened at this time.
    fn deaf(&self, at: Ms) -> Ms {
        let bad = self.scenario.script.iter().map(|(from, act)| match act {
            Act::Wire(_, trouble, _, lasts) if *from <= at + DEAF && at < from + lasts + TAIL => match trouble {
                Trouble::WatchEnds | Trouble::WatchGone | Trouble::WatchSilent | Trouble::Stale(_) => HALF_DEAF,
                _ => DEAF,
            },
            Act::Cut(..) if *from <= at + DEAF && at < from + TAIL => HALF_DEAF,
            _ => ON_ITS_WAY,
        });
        bad.max().unwrap_or(ON_ITS_WAY)
    }

    fn against_orders(&mut self, write: &Write, what: &str) {
        let late = |at: &Ms| write.sent > at + self.deaf(*at);
        let (undone, held) = (self.undo.filter(late), self.holds.values().copied().find(late));
        if let Some(at) = undone {
            self.fail(4, format!("{what}: the train was ordered back at {at}"));
        }
        if let Some(at) = held {
            self.fail(5, format!("{what}: the train was held at {at}"));
        }
    }

    /// Nothing goes on by itself without data.
    fn by_evidence(&mut self, write: &Write, s: usize, kind: Forward, what: &str) {
        if !matches!(kind, Forward::Approve | Forward::Full) || self.services[s].waved_on || self.services[s].handled {
            return;
        }
        if self.scenario.cause == Cause::NoData(s) {
            self.fail(7, format!("{what}: its new version was never measured"));
        }
        let dark = self.scenario.script.iter().find_map(|(from, act)| match act {
            Act::NoMetrics(lasts) if write.sent >= from + STILL_FRESH && write.sent < from + lasts => Some(*from),
            _ => None,
        });
        if let Some(from) = dark {
            self.fail(7, format!("{what}: nothing was measured since {from}"));
        }
    }

    fn unready(&self, s: usize, at: Ms) -> bool {
        let service = &self.services[s];
        let bake = u64::try_from(BAKE.as_millis()).unwrap();
        !service.handled && service.whole_since.is_none_or(|since| at < since + bake - 1_000)
    }

    fn deployed(&mut self, write: &Write, s: usize, what: &str) {
        let wave = self.scenario.services[s].wave;
        let before = (0..self.services.len()).filter(|d| self.scenario.services[*d].wave < wave);
        if let Some(early) = before.into_iter().find(|d| self.unready(*d, write.sent)) {
            self.fail(1, format!("{what}: {} of an earlier wave is not through", self.name(early)));
        }
        if self.services[s].record.is_none() {
            self.fail(12, format!("{what}: nothing was recorded to go back to"));
        }
        if let Some(record) = &self.services[s].record
            && !self.services[s].handled
            && !facts::is_pinned_of(&template(&write.after), record)
        {
            self.fail(12, format!("{what}: more than the version was changed"));
        }
        self.services[s].deployed = true;
    }
}
