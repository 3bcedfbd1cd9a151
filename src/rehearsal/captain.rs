//! The scripted captain: conducts a rehearsal by hand, as a person would who never tires. A pure state machine that is
//! shown snapshots and answers with orders; whoever drives it carries them out through the same engine as a key press.
//! It knows nothing of the scenario: it goes by what is on the screen. Time is the snapshot's.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::scenario::Outcome;
use crate::core::intent::Want;
use crate::core::snapshot::{GateView, Limit, ServiceView, Snapshot, Verdict};
use crate::core::text::Text;
use crate::core::verb::FlagSetting;
use crate::core::workload::{Phase, Role, Strategy, Workload};
use crate::text;

/// How long an order may stay without any effect before it is given again, seconds.
const AGAIN_S: i64 = 20;
/// How often an order is given before a person is called.
const TRIES_MAX: u32 = 12;
/// How long new pods may take to become ready, seconds (`train.md` §3).
const READY_S: i64 = 60;
/// How long a gate may be without data once it has been measured, seconds.
const NO_DATA_S: i64 = 3;
/// How long the flag's services are watched after a flip, seconds.
const FLAG_WATCH_S: i64 = 45;
/// How long after a flip measurements may take to come, seconds.
const FLAG_BLIND_S: i64 = 120;
/// Measurements beyond a limit, one after the other, that mean the flag is bad.
const FLAG_BAD: usize = 2;
/// How long after the start of a wave the first service must have moved before anything else is looked at, seconds.
const SETTLE_S: i64 = 2;
/// How long the pods of the version gone back to may miss their image before a person is called, seconds.
const NO_IMAGE_S: i64 = 15;
/// How long what a GitOps controller owns must stay back before what it calls is taken back, seconds.
const OWNED_S: i64 = 10;

/// What the captain orders.
#[derive(Clone, PartialEq, Debug)]
pub enum Move {
    /// Order this.
    Order(CaptainOrder),
    /// The rehearsal is over.
    End {
        /// How.
        result: Outcome,
        /// Why, in one line.
        why: Text,
    },
}

/// One order. The driver aims, confirms and sends it as it would a person's.
#[derive(Clone, PartialEq, Debug)]
pub struct CaptainOrder {
    /// What.
    pub want: Want,
    /// Services, each layer at once and a layer when the one before is read back; one layer with the key for a flag.
    pub layers: Vec<Vec<Text>>,
    /// Why, for the journal.
    pub why: Text,
    /// True for an order that takes a version or a flag back: the decision that the score counts.
    pub takes_back: bool,
}

#[derive(Clone, PartialEq, Debug)]
enum Stage {
    /// Waves are being deployed.
    Rolling,
    /// The flags are being turned to their end value.
    Flags,
    /// A flag was turned; its services are watched.
    Watching { key: Text, since: Timestamp },
    /// A flag is being turned back; then a person is called.
    FlagBack { key: Text, why: Text },
    /// Everything is being taken back.
    Undoing { why: Text },
    /// A service is being held; then a person is called.
    Holding { service: Text, why: Text },
    /// Over.
    Over,
}

#[derive(Clone, Debug)]
struct Given {
    at: Timestamp,
    tries: u32,
}

/// See the room's first lines.
#[derive(Clone, Debug)]
pub struct Captain {
    stage: Stage,
    given: BTreeMap<(&'static str, Text), Given>,
    /// Since when something has been so, by what and of whom.
    since: BTreeMap<(&'static str, Text), Timestamp>,
    /// Services that this captain has started.
    started: BTreeSet<Text>,
    /// Flags that this captain has moved.
    flipped: BTreeSet<Text>,
    /// Services seen off their new version while everything was being taken back.
    left: BTreeSet<Text>,
}

impl Default for Captain {
    fn default() -> Self {
        Self::new()
    }
}

impl Captain {
    /// A captain before the first order.
    pub fn new() -> Self {
        Self {
            stage: Stage::Rolling,
            given: BTreeMap::new(),
            since: BTreeMap::new(),
            started: BTreeSet::new(),
            flipped: BTreeSet::new(),
            left: BTreeSet::new(),
        }
    }

    /// A captain who takes a train as it is, from whoever had it: what is on its pinned version, or on the way there, counts
    /// as started, and a flag at its end value as moved.
    pub fn taking(snapshot: &Snapshot) -> Self {
        let started = snapshot.services.iter().filter(|s| names_pinned(s)).map(|s| s.name.clone()).collect();
        let flipped = snapshot.flags.iter().filter(|f| f.wanted.is_some() && f.now == f.wanted);
        Self { started, flipped: flipped.map(|f| f.key.clone()).collect(), ..Self::new() }
    }

    /// Services whose gates and pods the captain wants to see now, although nothing of them is in flight. The driver
    /// keeps them open, as a person would select them.
    pub fn watches(&self, snapshot: &Snapshot) -> Vec<Text> {
        match &self.stage {
            Stage::Flags | Stage::Watching { .. } | Stage::FlagBack { .. } => {
                snapshot.flags.iter().filter(|f| f.wanted.is_some()).flat_map(|f| f.services.clone()).collect()
            }
            Stage::Undoing { .. } => {
                let open = snapshot.services.iter().filter(|s| self.started.contains(&s.name) && !is_back(s));
                open.map(|s| s.name.clone()).collect()
            }
            _ => snapshot.services.iter().filter(|s| is_moving(s)).map(|s| s.name.clone()).collect(),
        }
    }

    /// The next order, or the end; none while there is nothing to do but wait.
    pub fn step(&mut self, snapshot: &Snapshot) -> Option<Move> {
        let known = snapshot.services.iter().all(|s| s.workload.is_some());
        if !known || snapshot.services.is_empty() {
            return None;
        }
        match self.stage.clone() {
            Stage::Rolling => self.roll(snapshot),
            Stage::Flags => self.turn_flags(snapshot),
            Stage::Watching { key, since } => self.watch_flag(snapshot, &key, since),
            Stage::FlagBack { key, why } => self.turn_back(snapshot, &key, &why),
            Stage::Undoing { why } => self.undo(snapshot, &why),
            Stage::Holding { service, why } => self.hold(snapshot, &service, &why),
            Stage::Over => None,
        }
    }

    fn end(&mut self, result: Outcome, why: Text) -> Option<Move> {
        self.stage = Stage::Over;
        Some(Move::End { result, why })
    }

    /// True when an order may be given (again): not yet given, or long ago and nothing is being done about it.
    fn may_give(&mut self, what: &'static str, whom: &Text, busy: bool, now: Timestamp) -> bool {
        let key = (what, whom.clone());
        if let Some(given) = self.given.get(&key)
            && (busy || now.duration_since(given.at).as_secs() < AGAIN_S || given.tries >= TRIES_MAX)
        {
            return false;
        }
        let given = self.given.entry(key).or_insert(Given { at: now, tries: 0 });
        given.at = now;
        given.tries += 1;
        true
    }

    fn gave_up(&self, what: &'static str, whom: &Text) -> bool {
        self.given.get(&(what, whom.clone())).is_some_and(|g| g.tries >= TRIES_MAX)
    }

    /// How long something has been so, seconds; forgets it when it is not so any more.
    fn lasting(&mut self, what: &'static str, whom: &Text, is_so: bool, now: Timestamp) -> i64 {
        let key = (what, whom.clone());
        if !is_so {
            self.since.remove(&key);
            return -1;
        }
        let since = *self.since.entry(key).or_insert(now);
        now.duration_since(since).as_secs()
    }

    fn roll(&mut self, snapshot: &Snapshot) -> Option<Move> {
        let now = snapshot.at;
        for service in snapshot.services.iter() {
            let ours = self.started.contains(&service.name);
            match self.trouble(service, snapshot) {
                Some(Trouble::Failed(why)) if ours => {
                    self.stage = Stage::Undoing { why };
                    return self.step(snapshot);
                }
                Some(Trouble::Blind(why)) if ours => {
                    self.stage = Stage::Holding { service: service.name.clone(), why };
                    return self.step(snapshot);
                }
                _ => {}
            }
        }
        for service in snapshot.services.iter() {
            if waits_for_person(service) && service.doing.is_empty() {
                let step = service.workload.as_ref().and_then(|w| w.step).unwrap_or(0);
                let whom = text!("{} step {step}", service.name);
                if self.may_give("promote", &whom, false, now) {
                    let why = text!("step {step} waits for a person and its gates are good");
                    return self.order(Want::Promote, vec![vec![service.name.clone()]], why, false);
                }
            }
        }
        // The first wave with a service that is not done is the one that is on its way.
        let open = snapshot.services.iter().filter(|s| !is_done(s)).filter_map(|s| s.wave).min();
        let Some(wave) = open else {
            self.stage = Stage::Flags;
            return self.step(snapshot);
        };
        let due: Vec<&ServiceView> = snapshot
            .services
            .iter()
            .map(AsRef::as_ref)
            .filter(|s| s.wave == Some(wave) && !is_done(s) && !names_pinned(s))
            .collect();
        let mut layer = Vec::new();
        for service in due {
            let busy = !service.doing.is_empty();
            if self.may_give("start", &service.name, busy, now) {
                layer.push(service.name.clone());
            } else if self.gave_up("start", &service.name) {
                let why = text!("{} does not start however often it is ordered", service.name);
                return self.end(Outcome::NeedsPerson, why);
            }
        }
        if layer.is_empty() {
            return None;
        }
        self.started.extend(layer.iter().cloned());
        self.order(Want::Start, vec![layer], text!("wave {} is due", wave + 1), false)
    }

    fn order(&self, want: Want, layers: Vec<Vec<Text>>, why: Text, takes_back: bool) -> Option<Move> {
        Some(Move::Order(CaptainOrder { want, layers, why, takes_back }))
    }

    /// What is wrong with a service on its way, if anything.
    fn trouble(&mut self, service: &ServiceView, snapshot: &Snapshot) -> Option<Trouble> {
        let now = snapshot.at;
        let workload = service.workload.as_ref()?;
        let name = &service.name;
        if names_pinned(service) && workload.phase == Phase::Degraded {
            return Some(Trouble::Failed(text!("{name}: {}", workload.reason)));
        }
        if !is_moving(service) {
            return None;
        }
        let stuck = snapshot.pods.iter().find(|p| {
            let theirs = workload.sets.first().is_some_and(|s| s.name == p.set);
            theirs && !p.ready && (p.restarts >= 2 || p.status.contains("ImagePull"))
        });
        if let Some(pod) = stuck {
            return Some(Trouble::Failed(text!("{name}: pod {} is in {}", pod.name, pod.status)));
        }
        let unready = workload.sets.iter().any(|s| is_new(workload, s.role, &s.hash) && s.available < s.desired);
        let late = self.lasting("unready", name, unready && !workload.held, now);
        if late >= READY_S {
            return Some(Trouble::Failed(text!("{name}: new pods are not ready after {late} s")));
        }
        if let Some(pause) = &workload.pause
            && pause.reason.starts_with("Inconclusive")
        {
            return Some(Trouble::Blind(text!("{name}: its analysis decided nothing")));
        }
        let blind = snapshot.gates.iter().find(|g| g.service == *name && is_blind(g));
        let lasted = self.lasting("no data", name, blind.is_some(), now);
        match blind {
            Some(gate) if lasted >= NO_DATA_S => {
                Some(Trouble::Blind(text!("{name}: {} measures nothing", gate.metric)))
            }
            _ => None,
        }
    }

    fn hold(&mut self, snapshot: &Snapshot, service: &Text, why: &Text) -> Option<Move> {
        let view = snapshot.services.iter().find(|s| s.name == *service)?;
        if view.workload.as_ref().is_some_and(|w| w.held && w.phase == Phase::Paused) {
            return self.end(Outcome::NeedsPerson, text!("held: {why}"));
        }
        let busy = !view.doing.is_empty();
        if self.may_give("hold", service, busy, snapshot.at) {
            return self.order(Want::Pause, vec![vec![service.clone()]], why.clone(), false);
        }
        if self.gave_up("hold", service) {
            return self.end(Outcome::NeedsPerson, text!("{service} cannot be held: {why}"));
        }
        None
    }

    fn turn_flags(&mut self, snapshot: &Snapshot) -> Option<Move> {
        let open = snapshot.flags.iter().find(|f| f.wanted.is_some() && f.now != f.wanted);
        let Some(flag) = open else {
            return self.end(Outcome::Completed, text!("all services serve their pinned versions, all flags are set"));
        };
        if !self.may_give("flag", &flag.key, false, snapshot.at) {
            if self.gave_up("flag", &flag.key) {
                return self.end(Outcome::NeedsPerson, text!("flag {} cannot be set", flag.key));
            }
            if self.flipped.contains(&flag.key) {
                return None;
            }
        }
        self.flipped.insert(flag.key.clone());
        self.stage = Stage::Watching { key: flag.key.clone(), since: snapshot.at };
        let setting = if flag.wanted.as_deref() == Some("off") { FlagSetting::Off } else { FlagSetting::On };
        self.flag_order(flag, setting, text!("the last wave is done"), false)
    }

    fn flag_order(
        &self,
        flag: &crate::core::snapshot::FlagView,
        setting: FlagSetting,
        why: Text,
        takes_back: bool,
    ) -> Option<Move> {
        let want = Want::Flag { key: flag.key.clone(), source: flag.source.clone(), setting };
        self.order(want, vec![vec![flag.key.clone()]], why, takes_back)
    }

    fn watch_flag(&mut self, snapshot: &Snapshot, key: &Text, since: Timestamp) -> Option<Move> {
        let flag = snapshot.flags.iter().find(|f| f.key == *key)?;
        if flag.now != flag.wanted {
            // Not yet there: order it again when it takes too long.
            if snapshot.at.duration_since(since).as_secs() >= AGAIN_S {
                self.stage = Stage::Flags;
                return self.step(snapshot);
            }
            return None;
        }
        let arrived = *self.since.entry(("flag", key.clone())).or_insert(snapshot.at);
        let gates: Vec<&GateView> = snapshot
            .gates
            .iter()
            .map(AsRef::as_ref)
            .filter(|g| flag.services.contains(&g.service) && g.limit.is_some())
            .collect();
        for gate in &gates {
            let beyond = measured_since(gate, arrived).rev().take_while(|v| is_beyond(gate, *v)).count();
            if beyond >= FLAG_BAD {
                let why = text!("{}: {} is beyond its limit since {key} was turned", gate.service, gate.metric);
                self.stage = Stage::FlagBack { key: key.clone(), why };
                return self.step(snapshot);
            }
        }
        let watched = snapshot.at.duration_since(arrived).as_secs();
        let seen = gates.iter().all(|g| measured_since(g, arrived).count() > FLAG_BAD);
        if watched >= FLAG_WATCH_S && seen && !gates.is_empty() {
            self.stage = Stage::Flags;
            return self.step(snapshot);
        }
        if watched >= FLAG_BLIND_S {
            let why = text!("no measurement of {key}'s services since it was turned");
            self.stage = Stage::FlagBack { key: key.clone(), why };
            return self.step(snapshot);
        }
        None
    }

    fn turn_back(&mut self, snapshot: &Snapshot, key: &Text, why: &Text) -> Option<Move> {
        let flag = snapshot.flags.iter().find(|f| f.key == *key)?;
        if flag.now != flag.wanted {
            return self.end(Outcome::NeedsPerson, text!("{key} is back, the versions stay: {why}"));
        }
        if self.may_give("flag back", key, false, snapshot.at) {
            let back = if flag.wanted.as_deref() == Some("off") { FlagSetting::On } else { FlagSetting::Off };
            return self.flag_order(flag, back, why.clone(), true);
        }
        None
    }

    /// What was started goes back: flags first, then what is in flight at once, then finished waves, the last first.
    fn undo(&mut self, snapshot: &Snapshot, why: &Text) -> Option<Move> {
        let now = snapshot.at;
        for flag in snapshot.flags.iter().filter(|f| f.now == f.wanted) {
            if self.flipped.contains(&flag.key) && self.may_give("flag back", &flag.key, false, now) {
                let back = if flag.wanted.as_deref() == Some("off") { FlagSetting::On } else { FlagSetting::Off };
                return self.flag_order(flag, back, why.clone(), true);
            }
        }
        let started: Vec<&ServiceView> =
            snapshot.services.iter().map(AsRef::as_ref).filter(|s| self.started.contains(&s.name)).collect();
        self.left.extend(started.iter().filter(|s| !names_pinned(s)).map(|s| s.name.clone()));
        // What was taken back and has its new version again: somebody else writes it, and writes faster.
        let fought: Vec<&ServiceView> =
            started.iter().copied().filter(|s| names_pinned(s) && self.left.contains(&s.name)).collect();
        if let Some(service) = fought.iter().find(|s| !is_off(s)) {
            if service.doing.is_empty() && self.may_give("abort", &service.name, false, now) {
                let why = text!("its undo is reverted by {}; no traffic may reach it: {why}", writer(service));
                return self.order(Want::Abort, vec![vec![service.name.clone()]], why, true);
            }
            if self.gave_up("abort", &service.name) {
                return self
                    .end(Outcome::NeedsPerson, text!("{} can be neither undone nor aborted: {why}", service.name));
            }
            return None;
        }
        let mut settling = false;
        for service in started.iter().copied().filter(|s| is_owned(s)) {
            let back_for = self.lasting("back", &service.name, is_back(service), now);
            settling |= (0..OWNED_S).contains(&back_for);
        }
        let mut stuck: Vec<&ServiceView> = Vec::new();
        for service in started.iter().copied() {
            let missing = !names_pinned(service) && !is_back(service) && misses_image(service, snapshot);
            if self.lasting("no image", &service.name, missing, now) >= NO_IMAGE_S {
                stuck.push(service);
            }
        }
        let left_alone = |name: &Text| fought.iter().chain(&stuck).any(|other| other.name == *name);
        let open: Vec<&ServiceView> = started.iter().copied().filter(|s| !is_back(s) && !left_alone(&s.name)).collect();
        if open.is_empty() && settling {
            return None;
        }
        if open.is_empty() {
            return match (fought.first(), stuck.first()) {
                (None, None) => self.end(Outcome::RolledBack, text!("everything is as it was: {why}")),
                _ if started.iter().any(|s| !s.doing.is_empty()) => None,
                (Some(service), _) => {
                    let why = text!("{} is aborted, and {} puts it back: {why}", service.name, writer(service));
                    self.end(Outcome::NeedsPerson, why)
                }
                (None, Some(service)) => {
                    let why = text!("the image that {} goes back to cannot be pulled: {why}", service.name);
                    self.end(Outcome::NeedsPerson, why)
                }
            };
        }
        let mut layers: Vec<Vec<Text>> = Vec::new();
        let in_flight: Vec<&ServiceView> = open.iter().copied().filter(|s| !is_done(s)).collect();
        let mut waves: Vec<u32> = open.iter().filter(|s| is_done(s)).filter_map(|s| s.wave).collect();
        waves.sort_unstable();
        waves.dedup();
        let first_alone = settling || in_flight.iter().any(|s| is_owned(s));
        let mut groups = vec![in_flight];
        for wave in waves.into_iter().rev().filter(|_| !first_alone) {
            groups.push(open.iter().copied().filter(|s| is_done(s) && s.wave == Some(wave)).collect());
        }
        let busy = open.iter().any(|s| !s.doing.is_empty());
        for group in groups {
            let mut layer = Vec::new();
            for service in group {
                if self.may_give("undo", &service.name, busy, now) {
                    layer.push(service.name.clone());
                } else if self.gave_up("undo", &service.name) {
                    let why = text!("{} does not come back: {why}", service.name);
                    return self.end(Outcome::NeedsPerson, why);
                }
            }
            if !layer.is_empty() {
                layers.push(layer);
            }
        }
        if layers.is_empty() {
            return None;
        }
        self.order(Want::Undo, layers, why.clone(), true)
    }
}

enum Trouble {
    /// Measured and bad, or broken.
    Failed(Text),
    /// Nothing is measured.
    Blind(Text),
}

/// True when the template names the pinned version.
fn names_pinned(service: &ServiceView) -> bool {
    let version = service.workload.as_ref().and_then(|w| w.version.as_ref());
    version.is_some() && version == service.pinned.as_ref()
}

fn settled(workload: &Workload) -> bool {
    workload.observed && workload.phase == Phase::Healthy && workload.hash == workload.stable_hash
}

/// True when the pinned version serves everything.
fn is_done(service: &ServiceView) -> bool {
    names_pinned(service) && service.workload.as_ref().is_some_and(|w| settled(w))
}

/// True when another version than the pinned one serves everything.
fn is_back(service: &ServiceView) -> bool {
    !names_pinned(service) && service.workload.as_ref().is_some_and(|w| settled(w))
}

/// True when no traffic reaches the version on its way any more.
fn is_off(service: &ServiceView) -> bool {
    let off = |w: &Workload| w.phase == Phase::Degraded && w.actual_weight.or(w.set_weight).unwrap_or(0) == 0;
    service.workload.as_ref().is_some_and(|w| off(w))
}

/// True when a GitOps controller may revert what is done to a service.
fn is_owned(service: &ServiceView) -> bool {
    service.workload.as_ref().is_some_and(|w| w.owner.is_some())
}

/// Who writes a service besides us, in words.
fn writer(service: &ServiceView) -> Text {
    let owner = service.workload.as_ref().and_then(|w| w.owner.clone());
    owner.unwrap_or_else(|| "somebody else".into())
}

/// True when pods of the newest revision cannot get their image.
fn misses_image(service: &ServiceView, snapshot: &Snapshot) -> bool {
    let Some(set) = service.workload.as_ref().and_then(|w| w.sets.first()) else { return false };
    snapshot.pods.iter().any(|p| p.set == set.name && !p.ready && p.status.contains("ImagePull"))
}

/// True while a version is on its way.
fn is_moving(service: &ServiceView) -> bool {
    service.workload.as_ref().is_some_and(|w| names_pinned(service) && !settled(w))
}

/// True when a pause without an end waits, and nothing measured speaks against going on.
fn waits_for_person(service: &ServiceView) -> bool {
    let Some(workload) = &service.workload else { return false };
    let endless = workload
        .pause
        .as_ref()
        .is_some_and(|p| p.seconds.is_none() && matches!(p.reason.as_str(), "CanaryPauseStep" | "BlueGreenPause"));
    endless
        && !workload.held
        && !matches!(service.verdict, Some(Verdict::Fail | Verdict::NoData | Verdict::Inconclusive))
}

/// True for the replica set of the version that is on its way.
fn is_new(workload: &Workload, role: Role, hash: &Text) -> bool {
    match workload.strategy {
        Strategy::RollingUpdate | Strategy::Recreate => *hash == workload.hash && *hash != workload.stable_hash,
        _ => matches!(role, Role::Canary | Role::Preview) && *hash == workload.hash,
    }
}

/// True for a gate that has been measured and found nothing.
fn is_blind(gate: &GateView) -> bool {
    let last_two = gate.points.len() >= 2 && gate.points.iter().rev().take(2).all(|p| p.value.is_none());
    gate.taken >= 1 && (last_two || gate.verdict == Verdict::NoData)
}

fn measured_since(gate: &GateView, since: Timestamp) -> impl DoubleEndedIterator<Item = f64> + '_ {
    let later = since.saturating_add(SignedDuration::from_secs(SETTLE_S)).unwrap_or(since);
    gate.points.iter().filter(move |p| p.at > later).filter_map(|p| p.value)
}

fn is_beyond(gate: &GateView, value: f64) -> bool {
    match gate.limit {
        Some(Limit::Below(limit)) => value >= limit,
        Some(Limit::Above(limit)) => value <= limit,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::clock::wednesday;
    use super::super::promql::{Answer, Query};
    use super::super::scenario::{Pinned, Scenario, names};
    use super::super::score::Score;
    use super::super::world::World;
    use super::super::{kinds, store::Store};
    use super::*;
    use crate::core::object::{Object, ObjectKind, ObjectRef};
    use crate::core::snapshot::{FlagView, Link, Mode, Place, PodView, Point, TrainPhase, WriteMode};
    use crate::core::workload::{Related, observe};

    const NS: &str = "payments";

    /// A screen and a pair of hands, as plain as they can be: the snapshot from the store, the orders into it.
    struct Bridge {
        world: World,
        pinned: Vec<Pinned>,
        scenario: Scenario,
        captain: Captain,
        /// Gate values seen so far, by service.
        seen: BTreeMap<Text, Vec<Point>>,
        /// Image to go back to, by service.
        before: BTreeMap<Text, Value>,
        /// Layers of an undo that wait for the one before.
        later: Vec<Vec<Text>>,
        log: Vec<String>,
    }

    impl Bridge {
        fn new(name: &str, seed: u64) -> Self {
            let scenario = Scenario::of(name, seed).unwrap();
            Self {
                world: World::open(scenario.clone(), seed, wednesday()).unwrap(),
                pinned: scenario.pinned().unwrap(),
                scenario,
                captain: Captain::new(),
                seen: BTreeMap::new(),
                before: BTreeMap::new(),
                later: Vec::new(),
                log: Vec::new(),
            }
        }

        fn service(&mut self, pinned: &Pinned, wave: u32, now: Timestamp) -> (ServiceView, Option<GateView>) {
            let store = self.world.store().lock();
            let (kind, object_kind) = match pinned.kind.as_str() {
                "Deployment" => (&kinds::DEPLOYMENT, ObjectKind::Deployment),
                _ => (&kinds::ROLLOUT, ObjectKind::Rollout),
            };
            let id = ObjectRef {
                cluster: "rehearsal".into(),
                kind: object_kind,
                namespace: NS.into(),
                name: Text::scrub(&pinned.name),
            };
            let held = store.get(kind, NS, &pinned.name).unwrap();
            let object = Object::new(Value::clone(&held));
            let owned = |kind| -> Vec<Object> {
                store.owned(kind, held.uid()).iter().map(|o| Object::new(Value::clone(o))).collect()
            };
            let (sets, runs) = (owned(&kinds::REPLICA_SET), owned(&kinds::ANALYSIS_RUN));
            let (sets, runs): (Vec<&Object>, Vec<&Object>) = (sets.iter().collect(), runs.iter().collect());
            let related =
                Related { sets: &sets, runs: &runs, target: None, primary: None, records: &[], was_stable: &[] };
            let workload = observe(&id, &object, &related, None, now);
            let run = runs.iter().find(|r| workload.runs.contains(&r.name()));
            let name = Text::scrub(&pinned.name);
            // A gate is watched while its service is in flight, or a flag of it.
            let watched = !settled(&workload) || !matches!(self.captain.stage, Stage::Rolling);
            let gate = (pinned.kind == "Rollout" && watched).then(|| {
                let value = rate(&self.world, &pinned.name, &workload.hash, now);
                let points = self.seen.entry(name.clone()).or_default();
                points.push(Point { at: now, value });
                let taken = run.map_or(0, |r| r.int("/status/metricResults/0/count").unwrap_or(0));
                GateView {
                    service: name.clone(),
                    metric: "http-error-rate".into(),
                    run: run.map(|r| r.name()).unwrap_or_default(),
                    condition: Text::default(),
                    limit: Some(Limit::Below(0.02)),
                    points: points.iter().copied().collect(),
                    verdict: if value.is_none() { Verdict::NoData } else { Verdict::Pass },
                    taken: u32::try_from(taken).unwrap(),
                    wanted: 3,
                    failures_left: None,
                    interval_s: 5,
                    age_s: None,
                    note: Text::default(),
                }
            });
            let view = ServiceView {
                name,
                wave: Some(wave),
                after: Vec::new(),
                pinned: Some(Text::scrub(&pinned.version)),
                id,
                workload: Some(Arc::new(workload)),
                unread: false,
                undo_s: None,
                train_phase: TrainPhase::Waiting,
                verdict: None,
                waits_for: Text::default(),
                doing: Text::default(),
                also: Vec::new(),
            };
            (view, gate)
        }

        fn snapshot(&mut self, now: Timestamp) -> Snapshot {
            let mut services = Vec::new();
            let mut gates = Vec::new();
            for pinned in self.pinned.clone() {
                let wave = self.scenario.base.waves.iter().position(|w| w.contains(&pinned.name)).unwrap();
                let (view, gate) = self.service(&pinned, u32::try_from(wave).unwrap(), now);
                services.push(Arc::new(view));
                gates.extend(gate.map(Arc::new));
            }
            let store = self.world.store().lock();
            let flags = super::super::traffic::flags(&store, NS);
            let flags = flags.iter().map(|(key, share)| FlagView {
                key: Text::scrub(key),
                source: "featureflag payments/payments-flags".into(),
                object: None,
                now: Some(if *share > 0.5 { "on" } else { "off" }.into()),
                wanted: Some("on".into()),
                enabled: true,
                services: self.pinned.iter().filter(|p| p.flags.contains(key)).map(|p| Text::scrub(&p.name)).collect(),
                note: Text::default(),
            });
            Snapshot {
                seq: 0,
                at: now,
                place: Place {
                    environment: None,
                    context: "rehearsal".into(),
                    namespace: NS.into(),
                    server: Text::default(),
                    protected: false,
                    write: WriteMode::ReadWrite,
                },
                mode: Mode::Live,
                link: Link::Live,
                read_at: Some(now),
                release: None,
                waves: 5,
                services: services.into(),
                expand: Arc::default(),
                edges: Arc::default(),
                history: None,
                gates: gates.into(),
                flags: flags.collect::<Vec<_>>().into(),
                events: Arc::default(),
                pods: pods(&store).into(),
                runs: Arc::default(),
                needs: Arc::default(),
                gaps: Arc::default(),
                train: None,
            }
        }

        fn carry_out(&mut self, order: &CaptainOrder, now: Timestamp) {
            self.log.push(format!("{now} {} {:?}: {}", order.want.name(), order.layers, order.why));
            if order.takes_back {
                self.world.decided(now);
            }
            if let Want::Flag { key, setting, .. } = &order.want {
                let variant = if *setting == FlagSetting::On { "on" } else { "off" };
                self.world
                    .store()
                    .lock()
                    .update(&kinds::FEATURE_FLAG, NS, "payments-flags", |o| {
                        o["spec"]["flagSpec"]["flags"][key.as_str()]["defaultVariant"] = json!(variant);
                    })
                    .unwrap();
                return;
            }
            let mut layers = order.layers.clone();
            let first = layers.remove(0);
            self.later = layers;
            self.apply(&first, &order.want);
        }

        fn apply(&mut self, layer: &[Text], want: &Want) {
            for name in layer {
                let pinned = self.pinned.iter().find(|p| p.name == name.as_str()).unwrap();
                let kind = if pinned.kind == "Deployment" { &kinds::DEPLOYMENT } else { &kinds::ROLLOUT };
                let image = json!(format!("{}:{}", pinned.image, pinned.version));
                let mut store = self.world.store().lock();
                if *want == Want::Abort {
                    store.update_status(kind, NS, name, |o| o["status"]["abort"] = json!(true)).unwrap();
                    continue;
                }
                let before = self
                    .before
                    .entry(name.clone())
                    .or_insert_with(|| store.get(kind, NS, name).unwrap()["spec"]["template"].clone());
                store
                    .update(kind, NS, name, |o| match want {
                        Want::Start => o["spec"]["template"]["spec"]["containers"][0]["image"] = image,
                        Want::Pause => o["spec"]["paused"] = json!(true),
                        Want::Undo => o["spec"]["template"] = before.clone(),
                        other => panic!("{other:?}"),
                    })
                    .unwrap();
            }
        }

        /// The next layer of an undo, once nothing that was taken back is still on its way.
        fn next_layer(&mut self, snapshot: &Snapshot) {
            let moving = snapshot.services.iter().any(|s| s.workload.as_ref().is_some_and(|w| !settled(w)));
            if !moving && !self.later.is_empty() {
                let layer = self.later.remove(0);
                self.apply(&layer, &Want::Undo);
            }
        }

        /// Runs to the end, at most an hour.
        fn run(mut self, seed: u64) -> (Score, Vec<String>, String) {
            for second in (0..3600).step_by(2) {
                let now = wednesday() + SignedDuration::from_secs(second);
                self.world.advance(now);
                let snapshot = self.snapshot(now);
                self.next_layer(&snapshot);
                match self.captain.step(&snapshot) {
                    Some(Move::Order(order)) => self.carry_out(&order, now),
                    Some(Move::End { result, why }) => {
                        self.log.push(format!("{now} {result:?}: {why}"));
                        // What the last order set going is let settle.
                        self.world.advance(now + SignedDuration::from_secs(5));
                        let score = self.world.score(result).unwrap();
                        let store = self.world.store().lock();
                        let events: Vec<String> = store.list(&kinds::EVENT, None).map(|e| e.to_string()).collect();
                        assert_eq!(score.seed, seed);
                        drop(store);
                        return (score, self.log, events.join("\n"));
                    }
                    None => {}
                }
            }
            panic!("{} seed {seed} does not end:\n{}", self.scenario.name, self.log.join("\n"));
        }
    }

    /// The error rate of a revision; none without data.
    fn rate(world: &World, service: &str, hash: &str, now: Timestamp) -> Option<f64> {
        let query = format!(
            "(sum(rate(http_requests_total{{service=\"{service}\",pod_template_hash=\"{hash}\",status=~\"5..\"}}[30s])) or vector(0)) \
             / sum(rate(http_requests_total{{service=\"{service}\",pod_template_hash=\"{hash}\"}}[30s]))"
        );
        match Query::parse(&query).unwrap().at(&world.metrics().lock(), now).unwrap() {
            Answer::Vector(v) => v.first().map(|(_, v)| *v).filter(|v| !v.is_nan()),
            _ => None,
        }
    }

    fn pods(store: &Store) -> Vec<PodView> {
        let text = |p: &Value, at: &str| p.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        store
            .list(&kinds::POD, Some(NS))
            .map(|p| PodView {
                name: p.name().into(),
                set: Text::scrub(&text(p, "/metadata/ownerReferences/0/name")),
                status: Text::scrub(&text(p, "/status/containerStatuses/0/state/waiting/reason")),
                ready: super::super::controllers::pod::is_ready(p),
                restarts: p["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0) as u32,
            })
            .collect()
    }

    /// One test a scenario, so that they run side by side; the list is checked against the files.
    macro_rules! ends_as_expected {
        ($($test:ident: $name:literal),* $(,)?) => {
            const TESTED: &[&str] = &[$($name),*];
            $(#[test]
            fn $test() {
                let (score, log, _) = Bridge::new($name, 11).run(11);
                assert!(score.passed(), "{score:?}\n{}", log.join("\n"));
                assert_eq!(score.impact_s.is_some(), score.recovered_s.is_some());
            })*
        };
    }

    ends_as_expected! {
        green_completes: "green",
        error_spike_is_rolled_back: "error-spike",
        latency_burn_is_rolled_back: "latency-burn",
        flag_bug_needs_a_person: "flag-bug",
        nullable_column_is_rolled_back: "nullable-column",
        no_data_needs_a_person: "no-data",
        conductor_killed_is_rolled_back: "conductor-killed",
        flaky_api_completes: "flaky-api",
        gitops_fight_needs_a_person: "gitops-fight",
        image_gone_needs_a_person: "image-gone",
        crash_loop_is_rolled_back: "crash-loop",
        surprise_ends_as_what_it_drew: "surprise",
    }

    #[test]
    fn no_scenario_is_left_out() {
        assert_eq!(names().collect::<Vec<_>>(), TESTED);
    }

    #[test]
    fn the_same_seed_is_the_same_rehearsal_byte_for_byte() {
        let (first, second) = (Bridge::new("crash-loop", 3).run(3), Bridge::new("crash-loop", 3).run(3));
        assert_eq!(first.1, second.1);
        assert_eq!(first.2, second.2);
        assert_eq!(first.0, second.0);
    }
}
