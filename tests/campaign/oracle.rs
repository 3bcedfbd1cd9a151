//! The oracle: the invariants of design §4 and some of its own, checked on every write that lands and every status that is
//! published. It knows the model cluster, what was ordered and what honest judges said; it imports nothing of the core.

use std::collections::BTreeMap;

use crate::cluster::{Hash, Ms, Op, Paused, Workload, Write};
use crate::scenario::{Policy, Scenario};
use crate::world::{BAKE, WINDOW};

/// How long an order in the safe direction may take when nothing disturbs.
const PROMPT: Ms = 20_000;
/// How long an outside change may go unseen when nothing disturbs.
const NOTICED: Ms = 45_000;
/// Times of the lease.
const LEASE: Ms = 15_000;
const RENEW: Ms = 10_000;

/// What was ordered, in the oracle's own words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ordered {
    Hold,
    Abort(usize),
    UndoOnly(usize),
    Undo,
    Down,
    Approve { service: usize, step: u32, over: bool },
    Full(usize),
    Resume,
    Retry(usize),
    Other,
}

/// What a status says, as far as it is checked.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub rolled_back: bool,
    pub completed: bool,
    pub refused: bool,
}

#[derive(Clone, Debug)]
struct Duty {
    what: Owed,
    service: usize,
    due: Ms,
    /// The template before, for what must be told: a change that is gone again may go unseen, unless it was ours that made it go.
    was: Option<Hash>,
    /// True when a person ordered it at a cockpit, which then has hands of its own.
    by_person: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owed {
    /// It must be taken back: off the pinned template, or with no traffic on it.
    Back,
    /// It must stand still.
    Still,
    /// It must be told.
    Told,
}

pub struct Oracle {
    pub violation: Option<String>,
    pub writes: u64,
    pub restores: u64,
    unchanged: Vec<bool>,
    needs: Vec<Vec<usize>>,
    wave: Vec<usize>,
    unknown_policy: bool,
    stay: bool,
    flags_of: Vec<Vec<usize>>,
    flag_bad: bool,
    orders: BTreeMap<u64, (Ms, Ordered)>,
    /// Epoch by who used it, and when it was last renewed.
    holders: BTreeMap<u64, (String, Ms)>,
    lease_now: Option<(String, Ms)>,
    acted: u64,
    by_epoch: BTreeMap<u64, u32>,
    /// Passes: service, version, step.
    passes: Vec<Vec<(Hash, u32)>>,
    last: Vec<(Ms, bool, bool)>,
    failed: Vec<bool>,
    fails_beside: Vec<bool>,
    overs: Vec<(usize, u32)>,
    finished_at: Vec<Option<Ms>>,
    recorded: Vec<Option<Hash>>,
    foreign_at: Vec<Option<Ms>>,
    duties: Vec<Duty>,
    job_at: Option<Ms>,
    told: [u32; 3],
    disturbed: Ms,
    ended: bool,
    wiped: bool,
    migration: bool,
    lease_clock: Ms,
    lease_deleted: bool,
    unstamped_at: Vec<Option<Ms>>,
    /// Whose clock stands still, and until when.
    still: Option<(String, Ms)>,
    /// The highest epoch under which a status was published.
    published: u64,
}

impl Oracle {
    pub fn new(scenario: &Scenario) -> Self {
        let count = scenario.services.len();
        Self {
            violation: None,
            writes: 0,
            restores: 0,
            unchanged: scenario.services.iter().map(|s| s.unchanged).collect(),
            needs: scenario.services.iter().map(|s| s.needs.clone()).collect(),
            wave: scenario.services.iter().map(|s| s.wave).collect(),
            unknown_policy: scenario.policies.contains(&Policy::Unknown),
            stay: scenario.stay,
            flags_of: scenario.flags.iter().map(|f| f.services.clone()).collect(),
            flag_bad: scenario.flags.iter().any(|f| f.bad),
            orders: BTreeMap::new(),
            holders: BTreeMap::new(),
            lease_now: None,
            acted: 0,
            by_epoch: BTreeMap::new(),
            passes: vec![Vec::new(); count],
            last: vec![(0, true, false); count],
            failed: vec![false; count],
            fails_beside: vec![false; count],
            overs: Vec::new(),
            finished_at: vec![None; count],
            recorded: vec![None; count],
            foreign_at: vec![None; count],
            duties: Vec::new(),
            job_at: None,
            told: [0; 3],
            disturbed: 0,
            ended: false,
            wiped: false,
            migration: scenario.migration,
            lease_clock: 0,
            lease_deleted: false,
            unstamped_at: vec![None; count],
            still: None,
            published: 0,
        }
    }

    fn fail(&mut self, number: u32, what: String) {
        if self.violation.is_none() {
            self.violation = Some(format!("I{number}: {what}"));
        }
    }

    // ---- what it is told ----------------------------------------------------------------------------------------------

    pub fn ordered(&mut self, now: Ms, id: u64, what: Ordered) {
        self.orders.insert(id, (now, what));
        match what {
            Ordered::Approve { service, step, over: true } => self.overs.push((service, step)),
            // What was owed by an older order is not owed against a newer one.
            Ordered::Resume | Ordered::Retry(_) => self.duties.retain(|d| d.what == Owed::Told),
            _ => {}
        }
    }

    /// An undo of the whole train, or a hold of it: from now on it is owed, if the train is under way.
    pub fn owed(&mut self, now: Ms, back: bool, by_person: bool, workloads: &[Workload]) {
        if self.ended {
            return;
        }
        for (s, w) in workloads.iter().enumerate() {
            let flying = w.exists && w.template.version == 1 && w.current == w.template && w.stable != w.current;
            if self.unchanged[s] || !flying || w.stamps.train.is_none() || w.abort || w.full {
                continue;
            }
            let what = if back { Owed::Back } else { Owed::Still };
            self.duties.push(Duty { what, service: s, due: now + PROMPT, was: None, by_person });
        }
    }

    /// Something is wrong with the world: what is owed is owed later.
    /// `server`: the server or the workloads are ill; else only conductors are, for whom cockpits have hands.
    pub fn disturbed(&mut self, now: Ms, server: bool) {
        self.disturbed = now;
        for duty in &mut self.duties {
            if duty.by_person && !server {
                continue;
            }
            duty.due = duty.due.max(now + if duty.what == Owed::Told { NOTICED } else { PROMPT });
        }
    }

    pub fn verdict(&mut self, now: Ms, s: usize, pass: bool, fail: bool, hash: Option<Hash>, step: Option<u32>) {
        if let (true, Some(hash), Some(step)) = (pass, hash, step)
            && !self.passes[s].contains(&(hash, step))
        {
            self.passes[s].push((hash, step));
        }
        self.last[s] = (now, !fail, fail);
        self.failed[s] |= fail;
    }

    /// Whether a service beside the train was found to fail because of this one.
    pub fn elsewhere(&mut self, s: usize, fails: bool) {
        self.failed[s] |= fails;
        self.fails_beside[s] = fails;
    }

    pub fn recorded(&mut self, s: usize, w: &Workload) {
        self.recorded[s] = w.record;
    }

    pub fn wiped(&mut self) {
        self.wiped = true;
        self.published = 0;
    }

    pub fn lease(&mut self, holder: &str, epoch: u64) {
        let now = self.lease_clock;
        if holder.is_empty() {
            self.lease_now = None;
            return;
        }
        if let Some((before, at)) = &self.lease_now
            && before != holder
            && now < at + LEASE
        {
            let text = format!("{holder} took the lease of {before} {} ms after its last renewal", now - at);
            self.fail(3, text);
        }
        self.lease_now = Some((holder.to_owned(), now));
        // A renewal that lands while its sender's clock stands still counts, for the sender, from when the clock goes on.
        let now = match &self.still {
            Some((who, until)) if who == holder => now.max(*until),
            _ => now,
        };
        match self.holders.get_mut(&epoch) {
            Some((who, at)) if who != holder && self.lease_deleted => {
                // Nobody can know it before the objects are read; using it is what would be wrong.
                *who = holder.to_owned();
                *at = now;
            }
            Some((who, _)) if who != holder => {
                let text = format!("epoch {epoch} was {who}'s and is now {holder}'s");
                self.fail(3, text);
            }
            Some((_, at)) => *at = (*at).max(now),
            None => {
                self.holders.insert(epoch, (holder.to_owned(), now));
            }
        }
    }

    /// The clock of this process stood still for so long: by its own clock its lease still holds.
    pub fn stood_still(&mut self, now: Ms, holder: &str, lasts: Ms) {
        self.still = Some((holder.to_owned(), now + lasts));
        for (who, at) in self.holders.values_mut() {
            if who == holder {
                *at += lasts;
            }
        }
    }

    /// A status was published under this epoch: whoever conducted before does not decide any more.
    pub fn published(&mut self, epoch: u64) {
        self.published = self.published.max(epoch);
    }

    /// What a conductor decided by itself became durable.
    pub fn decided(&mut self, by: &str, id: u64) {
        let theirs = self.holders.iter().filter(|(_, (who, _))| who == by).map(|(epoch, _)| *epoch).max();
        if theirs.is_some_and(|epoch| epoch < self.published) && !self.lease_deleted {
            let text = format!("{by} decided {id:x} by itself after epoch {} was published", self.published);
            self.fail(3, text);
        }
    }

    pub fn at(&mut self, now: Ms) {
        self.lease_clock = now;
    }

    pub fn lease_deleted(&mut self) {
        self.lease_now = None;
        self.lease_deleted = true;
    }

    pub fn job(&mut self, _held: bool) {
        self.job_at = Some(self.lease_clock + 3_000);
        if self.unknown_policy {
            self.fail(2, "an expand step ran without a policy's evidence".into());
        }
    }

    pub fn down(&mut self, workloads: &[Workload]) {
        if !self.orders.values().any(|(_, o)| *o == Ordered::Down) {
            self.fail(6, "a down migration ran without an order".into());
        }
        if let Some(s) = workloads.iter().position(|w| w.traffic(1) > 0)
            && !self.unchanged[s]
            && self.foreign_at[s].is_none()
        {
            self.fail(6, format!("a down migration ran while s{s} serves its new version"));
        }
    }

    pub fn flag(&mut self, now: Ms, flag: usize, to: u8, back: bool, workloads: &[Workload]) {
        if back {
            return;
        }
        if self.unknown_policy {
            self.fail(2, format!("flag {flag} moved without a policy's evidence"));
        }
        for (s, w) in workloads.iter().enumerate() {
            if !self.unchanged[s] && w.traffic(1) < 100 && self.foreign_at[s].is_none() {
                self.fail(1, format!("flag {flag} moved to {to} while s{s} is not through"));
            }
        }
        if to > 1 {
            for s in self.flags_of[flag].clone() {
                let (at, _, fail) = self.last[s];
                if fail && now > at + 400 {
                    self.fail(7, format!("flag {flag} moved to {to} while s{s}'s last verdict was a failure"));
                }
            }
        }
    }

    pub fn tell(&mut self, kind: usize) {
        self.told[kind] += 1;
    }

    pub fn alarm(&mut self, _now: Ms, s: usize) {
        self.duties.retain(|d| d.what != Owed::Told || d.service != s);
    }

    pub fn foreign(&mut self, now: Ms, s: usize, before: &Workload, after: &Workload) {
        self.foreign_at[s] = Some(now);
        self.duties.retain(|d| d.service != s);
        if self.ended || before.stamps.train.is_none() || self.recorded[s].is_none() || after.stamps.train.is_none() {
            return;
        }
        let moved = before.template != after.template;
        let record = self.recorded[s];
        let strange = after.template.version >= 2 && before.template.version < 2;
        // What was read back as restored is put to the new version again.
        let restored = before.stamps.undo.is_some() && Some(before.template) == record && Some(before.stable) == record;
        let reverted = restored && before.healthy && after.template.version == 1;
        if moved && (strange || reverted) {
            self.duties.push(Duty {
                what: Owed::Told,
                service: s,
                due: now + NOTICED,
                was: Some(before.template),
                by_person: false,
            });
        }
    }

    // ---- what it checks ------------------------------------------------------------------------------------------------

    /// Before a write is applied: the tests of it hold on this state.
    pub fn write(&mut self, now: Ms, write: &Write, workloads: &[Workload], flags: &[(u8, u64)], _lease: Option<u64>) {
        self.lease_clock = now;
        self.writes += 1;
        let s = write.service;
        let w = &workloads[s];
        let has = |f: &dyn Fn(&Op) -> bool| write.ops.iter().any(f);
        let deploys = has(&|o| matches!(o, Op::Template(t) if t.version == 1));
        let restores = has(&|o| matches!(o, Op::Template(t) if t.version == 0));
        let stamps = has(&|o| matches!(o, Op::Stamp(..) | Op::Unstamp));
        let holds = has(&|o| matches!(o, Op::Hold(_)));
        let releases = has(&|o| matches!(o, Op::EndHold)) && write.forward.is_some();
        let approves = has(&|o| matches!(o, Op::Approve | Op::ApproveOver));
        if w.stamps.train.is_some_and(|t| t != 77) && !stamps {
            self.fail(13, format!("a write on s{s}, which belongs to another train"));
        }
        if let Some(epoch) = write.forward {
            self.forward(now, write, w, epoch, stamps);
            if self.unknown_policy && !stamps {
                self.fail(2, format!("{:?} on s{s} without a policy's evidence", write.ops));
            }
            if w.stamps.hold.is_some() && !releases && !stamps {
                self.fail(4, format!("{:?} on s{s}, which is held", write.ops));
            }
            if w.stamps.undo.is_some() && !stamps && !has(&|o| *o == Op::ClearUndo) {
                self.fail(4, format!("{:?} on s{s}, which is being taken back", write.ops));
            }
        } else {
            let gate = write.ops.iter().any(|o| matches!(o, Op::Hold(h) if h.contains("gate-")));
            let known = write.intent.is_some_and(|id| self.orders.contains_key(&id));
            if !gate && !known {
                self.fail(4, format!("{:?} on s{s} before its order is durable", write.ops));
            }
        }
        if holds && w.stamps.undo.is_some() {
            self.fail(3, format!("a hold landed on s{s}, which is being taken back"));
        }
        if deploys {
            self.deploy(now, s, workloads);
        }
        if restores {
            self.restores += 1;
            if w.template.version >= 2 {
                self.fail(13, format!("s{s} was restored over what another hand deployed"));
            }
            self.restore(now, s, workloads);
        }
        let at_pause = w.current.version == 1 && w.stable != w.current && !w.abort;
        if at_pause && (approves || releases) {
            self.moves_on(s, w, approves, write);
        }
        let _ = flags;
    }

    fn forward(&mut self, _now: Ms, write: &Write, w: &Workload, epoch: u64, stamps: bool) {
        let s = write.service;
        let by = write.by;
        // Stamps of a train that has ended do not count (`train.md` §2): its Lease may have been deleted, and count anew.
        if stamps && self.ended {
            return;
        }
        if let Some(who) = self.by_epoch.insert(epoch, by)
            && who != by
        {
            self.fail(3, format!("epoch {epoch} is used by c{who} and c{by}"));
        }
        if w.stamps.epoch.as_ref().is_some_and(|e| e.0 > epoch) && w.stamps.train == Some(77) {
            self.fail(3, format!("{:?} on s{s} under epoch {epoch}; it bears {:?}", write.ops, w.stamps.epoch));
        }
        if epoch < self.acted {
            self.fail(3, format!("{:?} on s{s} under epoch {epoch} after epoch {} had acted", write.ops, self.acted));
        }
        if !stamps {
            self.acted = self.acted.max(epoch);
        }
        match self.holders.get(&epoch) {
            None => self.fail(3, format!("epoch {epoch} never held the lease")),
            Some((who, at)) if write.sent > at + RENEW => {
                let text = format!("{who} sent {:?} {} ms after its last renewal", write.ops, write.sent - at);
                self.fail(3, text);
            }
            Some(_) => {}
        }
    }

    fn deploy(&mut self, now: Ms, s: usize, workloads: &[Workload]) {
        if self.recorded[s].is_none() {
            self.fail(11, format!("s{s} was deployed before what was live was recorded"));
        }
        if self.migration && self.job_at.is_none_or(|at| now < at + BAKE) {
            self.fail(1, format!("s{s} was deployed before the expand step's bake was over"));
        }
        for (d, w) in workloads.iter().enumerate() {
            if self.wave[d] >= self.wave[s] || self.unchanged[d] || self.foreign_at[d].is_some() {
                continue;
            }
            if !w.finished() || w.current != w.stable {
                self.fail(1, format!("s{s} was deployed while s{d} of an earlier wave is not through"));
                return;
            }
            let baked = self.finished_at[d].is_some_and(|at| now >= at + BAKE);
            if !baked {
                self.fail(1, format!("s{s} was deployed before the bake of s{d} was over"));
            }
            let end = u32::try_from(w.steps.len()).unwrap();
            if !self.passes[d].contains(&(w.stable, end)) && !self.overs.contains(&(d, end)) {
                self.fail(7, format!("s{s} was deployed though the gate of s{d} never passed at 100 %"));
            }
        }
    }

    fn restore(&mut self, now: Ms, s: usize, workloads: &[Workload]) {
        if !workloads[s].finished() {
            return;
        }
        if self.orders.values().any(|(_, o)| *o == Ordered::UndoOnly(s)) {
            return;
        }
        for d in self.dependents(s) {
            let strange = self.foreign_at[d].is_some_and(|at| now < at + 60_000);
            if !self.unchanged[d] && workloads[d].traffic(1) > 0 && !strange {
                self.fail(6, format!("s{s} was taken back while s{d}, built on it, serves its new version"));
            }
        }
    }

    fn dependents(&self, of: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for n in of + 1..self.needs.len() {
            if self.needs[n].iter().any(|d| *d == of || found.contains(d)) {
                found.push(n);
            }
        }
        found
    }

    /// A pause ends or a hold ends: only on a pass at this very step, or on a person's word.
    fn moves_on(&mut self, s: usize, w: &Workload, approves: bool, write: &Write) {
        let passed = self.passes[s].contains(&(w.current, w.step));
        let full = self.orders.values().any(|(_, o)| *o == Ordered::Full(s));
        let over = self.overs.contains(&(s, w.step)) || full && !approves;
        let asked = self
            .orders
            .values()
            .any(|(_, o)| matches!(o, Ordered::Approve { service, step, .. } if *service == s && *step == w.step));
        match w.pause {
            Some((Paused::Untimed, _)) if approves && !passed && !over => {
                self.fail(7, format!("{:?}: the pause of s{s} at step {} ended without a pass", write.ops, w.step));
            }
            Some((Paused::Inconclusive, _)) if approves && !over => {
                self.fail(7, format!("s{s} went on over an inconclusive analysis by nobody's word"));
            }
            Some((Paused::Timed(ms), _)) => {
                if approves && !asked {
                    self.fail(8, format!("{:?}: the timed pause of s{s} at step {} was cut short", write.ops, w.step));
                }
                if !approves && ms < WINDOW && !passed && !over {
                    self.fail(7, format!("the hold of s{s} at step {} ended without a pass", w.step));
                }
            }
            None if approves => {
                self.fail(8, format!("{:?}: s{s} does not wait at step {}", write.ops, w.step));
            }
            _ => {}
        }
    }

    /// After a write was applied.
    pub fn wrote(&mut self, now: Ms, write: &Write, w: &Workload) {
        if write.ops.iter().any(|o| matches!(o, Op::Hold(_))) && w.stamps.undo.is_some() {
            self.fail(3, format!("s{} is held and being taken back", write.service));
        }
        if write.ops.iter().any(|o| matches!(o, Op::Template(t) if t.version == 0)) {
            for duty in &mut self.duties {
                let conductor = write.by % 1_000 < 100;
                if conductor && duty.service == write.service && duty.what == Owed::Told {
                    duty.was = None;
                }
            }
        }
        if write.ops.contains(&Op::Unstamp) {
            self.unstamped_at[write.service] = Some(now);
        }
    }

    /// At every change of the cluster.
    pub fn looks(&mut self, now: Ms, workloads: &[Workload]) {
        self.lease_clock = now;
        for (s, w) in workloads.iter().enumerate() {
            let finished = w.exists && w.finished() && w.current == w.stable && !self.unchanged[s];
            match (finished, self.finished_at[s]) {
                (true, None) => self.finished_at[s] = Some(now),
                (false, Some(_)) => self.finished_at[s] = None,
                _ => {}
            }
        }
    }

    /// What is owed and due.
    pub fn due(&mut self, now: Ms, workloads: &[Workload]) {
        let mut late = None;
        self.duties.retain(|d| {
            let w = &workloads[d.service];
            let done = match d.what {
                Owed::Back => w.template.version != 1 || w.traffic(1) == 0 && w.abort,
                Owed::Still => w.paused || w.abort || w.template.version != 1 || w.stable == w.current || w.full,
                Owed::Told => d.was == Some(w.template),
            };
            if !done && now > d.due && late.is_none() {
                late = Some(d.clone());
            }
            !done
        });
        if let Some(d) = late {
            match d.what {
                Owed::Back => self.fail(5, format!("s{} was ordered back and is not", d.service)),
                Owed::Still => self.fail(5, format!("s{} was ordered to hold and moves", d.service)),
                Owed::Told => self.fail(9, format!("another hand changed s{} and nobody was told", d.service)),
            }
        }
    }

    pub fn status(&mut self, now: Ms, seen: &Seen, workloads: &[Workload], flags: &[(u8, u64)]) {
        let lately = |at: Option<Ms>| at.is_some_and(|at| now < at + 30_000);
        let accepted = self.orders.values().any(|(_, o)| *o == Ordered::Resume);
        if seen.rolled_back && !self.ended {
            for (s, w) in workloads.iter().enumerate() {
                // What others do once the train has let go of it is no matter of the train's.
                let let_go = self.unstamped_at[s].is_some() && self.foreign_at[s] > self.unstamped_at[s];
                if let_go || lately(self.foreign_at[s]) || accepted && self.foreign_at[s].is_some() {
                    continue;
                }
                let record = self.recorded[s];
                if !w.exists
                    || Some(w.template) != record
                    || Some(w.stable) != record
                    || w.paused
                    || w.traffic(1) > 0 && !self.unchanged[s]
                {
                    let text = format!(
                        "it says rolled-back, and s{s} has spec {:?} stable {:?} paused {}, recorded {record:?}",
                        w.template, w.stable, w.paused
                    );
                    self.fail(11, text);
                }
            }
            if flags.iter().any(|(v, _)| *v != 0) {
                self.fail(11, format!("it says rolled-back, and its flags are {flags:?}"));
            }
        }
        if seen.completed && !self.ended {
            for (s, w) in workloads.iter().enumerate() {
                let strange = lately(self.foreign_at[s]) || accepted && self.foreign_at[s].is_some();
                if !self.unchanged[s] && !strange && w.traffic(1) < 100 {
                    self.fail(12, format!("it says completed, and s{s} serves {} % new", w.traffic(1)));
                }
            }
            if let Some(s) = self.fails_beside.iter().position(|fails| *fails) {
                self.fail(15, format!("it says completed, and s{s} hurts a service beside the train"));
            }
            if flags.iter().any(|(v, _)| *v != 100) {
                self.fail(12, format!("it says completed, and its flags are {flags:?}"));
            }
        }
        if seen.rolled_back || seen.completed || seen.refused {
            self.ended = true;
            self.duties.clear();
        }
    }

    /// When everything has been quiet for long (liveness).
    pub fn at_rest(
        &mut self,
        workloads: &[Workload],
        ill: &[bool],
        flags: &[(u8, u64)],
        ended: Option<&str>,
        waits: bool,
        word: &str,
    ) {
        if ended.is_none() && !waits {
            self.fail(10, format!("it neither ended nor waits for a person; it waits for: {word}"));
        }
        let strange = self.foreign_at.iter().any(Option::is_some);
        if ended.is_none() && !self.stay && !strange && self.started() && !word.contains("pre-flight") {
            let any = workloads.iter().enumerate().any(|(s, w)| !self.unchanged[s] && w.traffic(1) > 0);
            if any && !word.contains("to be back") {
                self.fail(10, format!("nobody answers, it must undo by itself, and it waits for: {word}"));
            }
        }
        for (s, w) in workloads.iter().enumerate() {
            if self.failed[s]
                && !ill.iter().any(|i| *i)
                && self.foreign_at[s].is_none()
                && w.traffic(1) > 0
                && !self.flag_bad
                && ended.is_none()
            {
                let bad = self.last[s].2 || self.fails_beside[s];
                if bad && !word.contains("expand") {
                    self.fail(15, format!("it stands still with traffic on s{s}, which failed; it waits for: {word}"));
                }
            }
        }
        for (n, count) in self.told.into_iter().enumerate() {
            if count > 1 && !self.wiped && self.disturbed == 0 {
                self.fail(14, format!("event {n} was told {count} times"));
            }
        }
        let _ = flags;
    }

    fn started(&self) -> bool {
        self.told[0] > 0
    }
}
