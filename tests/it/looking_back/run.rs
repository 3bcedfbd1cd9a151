//! A train stepped to its end by the pure machine before a small hand-made cluster: what it orders is done at once, workloads walk
//! from 25 to 50 to 100 % a minute each, and the second service fails at 50 % where that is asked for. Every input becomes a
//! line of the journal, as a conductor writes it.

use std::sync::Arc;

use footplate::core::confirm::Order;
use footplate::core::elector::{Elector, Epoch, EpochMark, Event as Election, Lease, Pace};
use footplate::core::train::effect::{Change, Effect};
use footplate::core::train::event::{Answer, At, Cause, Event, Fact, Found, Input, Judged, Pause, Reading, Spec, Want};
use footplate::core::train::state::Memory;
use footplate::core::train::{Role, State, preflight, step};
use footplate::core::verdict::Verdict;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::made::{at, plan};

/// A second.
const SECOND: u64 = 1_000;

pub struct Run {
    pub state: State,
    /// Lines of the journal.
    pub lines: Vec<String>,
    /// What it remembered after each input.
    pub memories: Vec<Memory>,
    now: u64,
    cluster: Vec<Reading>,
    /// Milliseconds at the present weight, by service.
    stays: Vec<u64>,
    bad: Option<usize>,
    holder: &'static str,
    epoch: u64,
}

fn opening(state: &State) -> String {
    json!({"train": {"format": 1, "plan": **state.plan()}}).to_string()
}

fn took_up(by: &str, state: &State) -> String {
    json!({"took-up": {"by": by, "memory": state.memory()}}).to_string()
}

fn old(s: usize) -> Reading {
    Reading {
        uid: format!("u{s}").into(),
        version: 1,
        generation: 1,
        observed: true,
        spec: Spec::Recorded,
        current: "old".into(),
        stable: "old".into(),
        paused: false,
        hold: None,
        undo: None,
        train: None,
        epoch: None,
        step: 6,
        steps: 6,
        pause: None,
        weight: 0,
        aborted: false,
        full: false,
        healthy: true,
        fast: true,
        mark: 0,
        record: None,
    }
}

impl Run {
    /// A train that was recorded; with the service that will fail.
    pub fn new(uid: &str, bad: Option<usize>) -> Self {
        let state = State::new(Arc::new(plan("2025.10.02-rc1", uid).resolved));
        let lines = vec![opening(&state), took_up("c1", &state)];
        let n = state.plan().services.len();
        let cluster = (0..n).map(old).collect();
        Self { state, lines, memories: Vec::new(), now: 0, cluster, stays: vec![0; n], bad, holder: "c1", epoch: 1 }
    }

    pub fn wall(&self) -> Timestamp {
        at(0, 0).checked_add(SignedDuration::from_millis(self.now as i64)).unwrap()
    }

    /// The lease as an elector holds it now.
    fn epoch(&self) -> Epoch {
        let mut elector = Elector::new(self.holder.into(), Pace::default());
        let free = Lease { holder: "".into(), transitions: self.epoch - 1, renewal: 1 };
        elector.step(self.now, Election::Read(Some((free, 1))));
        elector.step(self.now, Election::Wrote(2));
        let epoch = elector.epoch(self.now).unwrap();
        assert_eq!(epoch.number(), self.epoch);
        epoch
    }

    /// One input, and all that follows from it at once.
    pub fn give(&mut self, event: Event) {
        let epoch = self.epoch();
        let lease = EpochMark { number: epoch.number(), holder: epoch.holder().clone(), remaining: epoch.remaining() };
        let at = At { mono: self.now, wall: self.wall() };
        let input = Input { at, lease: Some(lease), event };
        self.lines.push(json!({ "input": input }).to_string());
        let (state, effects) = step(self.state.clone(), Role::Conducting(&epoch), &input);
        self.state = state;
        self.memories.push(self.state.memory().clone());
        for effect in effects {
            self.now += 5;
            match effect {
                Effect::Forward(token, f) => self.change(token, usize::from(f.service()), f.change()),
                Effect::Safe(token, s) => self.change(token, usize::from(s.service()), s.change()),
                Effect::Record(token, s) => {
                    self.cluster[usize::from(s)].record = Some("old".into());
                    self.answer(token, usize::from(s));
                }
                Effect::Order(intent) => self.give(Event::Ordered(intent)),
                Effect::Keep(entry) => self.give(Event::Kept(entry)),
                Effect::Status(version) => self.give(Event::StatusKept(version)),
                Effect::Read(s) => self.read(usize::from(s)),
                Effect::Measure(s) => {
                    let check = footplate::core::train::event::Check::Burning(s);
                    self.give(Event::Fact(Fact { check, found: Found::Good("0.1 %".into()) }));
                }
                _ => {}
            }
        }
    }

    fn read(&mut self, s: usize) {
        let reading = self.cluster[s].clone();
        self.give(Event::Read(s as u16, Arc::new(reading)));
    }

    fn answer(&mut self, token: u64, s: usize) {
        self.cluster[s].version += 1;
        let version = self.cluster[s].version;
        self.give(Event::Answered(token, Answer::Landed(version)));
        self.read(s);
    }

    fn change(&mut self, token: u64, s: usize, change: &Change) {
        let r = &mut self.cluster[s];
        match change {
            Change::Stamp { epoch } => {
                r.train = Some(self.state.plan().uid.clone());
                r.epoch = Some(epoch.clone());
            }
            Change::Deploy { .. } => {
                (r.spec, r.current) = (Spec::Pinned, "new".into());
                (r.step, r.weight, r.healthy) = (1, 25, false);
                r.pause = Some(Pause::Timed(60_000));
                r.generation += 1;
                self.stays[s] = 0;
            }
            Change::Hold(stamp) => (r.paused, r.hold) = (true, Some(stamp.clone())),
            Change::Release => (r.paused, r.hold) = (false, None),
            Change::Approve { .. } => r.pause = None,
            Change::Restore => {
                (r.spec, r.current, r.stable) = (Spec::Recorded, "old".into(), "old".into());
                (r.step, r.weight, r.healthy, r.pause) = (6, 0, true, None);
                (r.paused, r.hold, r.undo) = (false, None, Some("7".into()));
                r.generation += 1;
            }
            Change::Abort => (r.aborted, r.weight, r.pause) = (true, 0, None),
            Change::MarkUndo => (r.undo, r.paused, r.hold) = (Some("7".into()), false, None),
            Change::Full | Change::PromoteRecorded => r.full = true,
            Change::ClearUndo => r.undo = None,
            Change::Again => r.aborted = false,
            Change::Unstamp => (r.train, r.hold, r.undo) = (None, None, None),
        }
        self.answer(token, s);
    }

    /// A person orders something.
    pub fn order(&mut self, id: u64, want: Want) {
        let order = Order { who: "ana".into(), when: self.wall(), why: "the Wednesday train".into() };
        let intent = json!({"id": id, "order": order, "want": want});
        self.give(Event::Ordered(serde_json::from_value(intent).unwrap()));
    }

    /// Starts it; the pre-flight finds nothing.
    pub fn start(&mut self) {
        self.order(1, Want::Start);
        for check in preflight::checks(&self.state.plan().clone()) {
            self.give(Event::Fact(Fact { check, found: Found::Good("seen".into()) }));
        }
        for s in 0..self.cluster.len() {
            self.read(s);
        }
    }

    /// A second goes by: workloads walk, judges judge.
    pub fn second(&mut self) {
        self.now += SECOND;
        for s in 0..self.cluster.len() {
            let r = &mut self.cluster[s];
            if r.spec != Spec::Pinned {
                continue;
            }
            if r.current != r.stable && !r.paused && !r.aborted {
                self.stays[s] += SECOND;
                if self.stays[s] >= 60 * SECOND {
                    self.stays[s] = 0;
                    r.version += 1;
                    (r.step, r.weight) = match r.weight {
                        25 => (3, 50),
                        50 => (5, 75),
                        _ => (6, 100),
                    };
                    if r.weight == 100 {
                        (r.stable, r.healthy, r.pause) = ("new".into(), true, None);
                    }
                    self.read(s);
                }
            }
            if (self.now / SECOND).is_multiple_of(5) {
                let r = &self.cluster[s];
                let fails = self.bad == Some(s) && r.weight == 50 && self.stays[s] >= 10 * SECOND;
                let judged = Judged {
                    service: s as u16,
                    verdict: if fails { Verdict::Fail } else { Verdict::Pass },
                    hash: Some(r.current.clone()),
                    step: Some(r.step),
                    full: true,
                    error: false,
                    cause: Cause::Logic,
                    why: if fails { "errors 3.1 % > 2x 0.7 %" } else { "errors 0.7 %, n 5,214" }.into(),
                };
                self.give(Event::Judged(judged));
            }
        }
        self.give(Event::Tick);
    }

    /// Seconds go by until it has ended.
    pub fn run_to_the_end(&mut self) {
        for _ in 0..3_000 {
            if self.state.memory().ended.is_some() {
                return;
            }
            self.second();
        }
        panic!("it came to no end: {:?} {}", self.state.phase(), footplate::core::train::why::train(&self.state));
    }

    /// Another conductor takes it up from the record.
    pub fn taken_over_by(&mut self, holder: &'static str) {
        (self.holder, self.epoch) = (holder, self.epoch + 1);
        let memory = self.state.memory().clone();
        self.lines.push(opening(&self.state));
        self.lines.push(took_up(holder, &self.state));
        self.state = State::resume(self.state.plan().clone(), memory);
        for s in 0..self.cluster.len() {
            self.read(s);
        }
    }

    /// The lines as a local journal keeps them.
    pub fn local(&self) -> Vec<String> {
        let uid = &self.state.plan().uid;
        let wrap = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            serde_json::json!({"what": "train", "train": uid, "line": line}).to_string()
        };
        self.lines.iter().map(wrap).collect()
    }
}
