//! The world of one run: one agenda, the model cluster, processes that run the core (conductors with their electors, cockpits
//! with hands), a network that loses and delays, judges, captains and strangers. It turns the core's effects into patches
//! of the model as the engine turns them into JSON Patches, and tells the oracle what landed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::{Hash, Ms, OLD, Op, Paused, Template, Test, Truth, Workload, Write};
use crate::core::confirm::Order as Signed;
use crate::core::elector::{self, Elector, EpochMark, Lease, Pace};
use crate::core::mutant::Mutant;
use crate::core::text::Text;
use crate::core::train::effect::{Change, Effect, Stamp, Tell, Tests};
use crate::core::train::event::{
    Answer, At, Cause, Check, Event, Fact, FlagReading, Found, HoldFor, Input, Intent, JobReading, Judged, Pause,
    Reading, Scope, Spec, Tripped, Want,
};
use crate::core::train::resolved::{
    Abandon, Deploy, Flag, Kind, Migration, Policy, Resolved, Service, Setting, Times, Untimed, Waiver, Wave,
};
use crate::core::train::state::{Ended, Memory};
use crate::core::train::{Role, State, auto, hands, journal, step, why};
use crate::core::verdict::Verdict;
use crate::oracle::{Oracle, Ordered, Seen};
use crate::rng::Rng;
use crate::scenario::{Act, Fault, Foreign, Mode, Order, Policy as Have, Scenario};

const TRAIN: u32 = 77;
/// How long a call waits for its answer.
const CALL: Ms = 10_000;
const JUDGE: Ms = 5_000;
pub const WINDOW: Ms = 15_000;
pub const BAKE: Ms = 15_000;
pub const FLAG_STEP: Ms = 10_000;

fn times() -> Times {
    Times {
        window: WINDOW,
        bake: BAKE,
        flag_step: FLAG_STEP,
        no_data: 30_000,
        verdict_fresh: 15_000,
        page: 60_000,
        resend: 2_000,
        write: CALL,
        undo_patience: 40_000,
        deploy_patience: 60_000,
        settle: 3_000,
    }
}

/// A request to the server.
#[derive(Clone, Debug)]
enum Call {
    Patch(Write),
    Record(usize),
    Flag {
        flag: usize,
        to: u8,
        version: u64,
        back: bool,
        /// A move forward is given up then (`train.md` §2: no stamp fences it, its deadline does).
        until: Ms,
    },
    Job {
        migration: usize,
        down: bool,
    },
    /// An order, and which process sends it.
    Order(Intent, String),
    Status(Arc<Memory>, u64),
    Keep(u64),
    LeaseRead,
    LeaseWrite(Lease, Option<u64>),
}

#[derive(Clone, Debug)]
enum Item {
    Reconcile(usize),
    Tick(usize, u32),
    Deliver(usize, u32, u64, Call),
    /// Of a call: token 0 is the lease, 1 the status, 2 the journal; others are the core's.
    Answered(usize, u32, u64, Replied),
    Watch(usize, u32, usize, Arc<Reading>),
    Told(usize, u32, Event),
    Judge(usize, u32),
    Script(usize),
    Over(usize),
    Restart(usize),
    Job,
    Cockpit,
}

#[derive(Clone, Debug)]
enum Replied {
    Plain(Answer),
    Lease(Option<(Lease, u64)>),
    Written(u64),
    Kept(u64),
    Order(Intent, bool),
}

struct Later {
    at: Ms,
    seq: u64,
    item: Item,
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Later {}
impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

/// One conducting process.
struct Process {
    life: u32,
    alive: bool,
    begun: Ms,
    /// Milliseconds that the monotonic clock stood still.
    still: Ms,
    wall: i64,
    frozen_until: Ms,
    elector: Elector,
    state: Option<State>,
    lease_call: bool,
    lease_since: Ms,
    status_busy: bool,
    status_dirty: bool,
    status_rv: u64,
    /// Orders in its own fsynced file.
    file: Vec<Intent>,
    /// The journal of its present tenure, where one is kept.
    journal: Vec<String>,
}

/// A safe order that a cockpit watches over.
struct Pending {
    intent: Intent,
    hands: hands::Hands,
    state: Option<State>,
    since: Ms,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub events: u64,
    pub at: Ms,
    pub ended: Option<&'static str>,
    pub waits: bool,
    pub violation: Option<String>,
    /// What is left, for comparing runs.
    pub end: Vec<String>,
    pub trace: Vec<String>,
    pub writes: u64,
    pub undone: bool,
    /// For each tenure of a conductor, in the order of their ends, its journal and the state that it came to.
    pub journals: Vec<(Vec<String>, String)>,
}

pub struct World<'s> {
    scenario: &'s Scenario,
    plan: Arc<Resolved>,
    mutant: Option<Mutant>,
    rng: Rng,
    now: Ms,
    seq: u64,
    agenda: BinaryHeap<Reverse<Later>>,
    pub workloads: Vec<Workload>,
    eyes: Vec<Option<Arc<Reading>>>,
    pub flags: Vec<(u8, u64)>,
    pub jobs: Vec<JobReading>,
    job_until: Ms,
    lease: Option<(Lease, u64)>,
    intents: Vec<Intent>,
    status: Option<(Arc<Memory>, u64)>,
    beat: Ms,
    processes: Vec<Process>,
    pending: Vec<Pending>,
    on: Vec<bool>,
    active: Vec<Fault>,
    oracle: Oracle,
    events: u64,
    next_intent: u64,
    next_uid: u32,
    tracing: bool,
    trace: Vec<String>,
    over_since: Option<Ms>,
    record_positions: bool,
    pub positions: Vec<(Ms, &'static str)>,
    serving_bad: Vec<Option<Ms>>,
    /// When each controller is called next, so that it is called once.
    wakes: Vec<Ms>,
    journaling: bool,
    journals: Vec<(Vec<String>, String)>,
}

/// What is told of a run besides its outcome.
#[derive(Clone, Copy, Default)]
pub struct Watch {
    pub trace: bool,
    pub positions: bool,
    pub journal: bool,
}

fn plan(scenario: &Scenario, mutant: Option<Mutant>) -> Resolved {
    let text = |s: String| Text::scrub(&s);
    let until: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let mut waves: Vec<Wave> = Vec::new();
    if scenario.migration {
        waves.push(Wave { services: Vec::new(), expand: true });
    }
    let first = waves.len();
    for w in 0..scenario.waves {
        let of = scenario.services.iter().enumerate().filter(|(_, s)| s.wave == w).map(|(n, _)| n as u16).collect();
        waves.push(Wave { services: of, expand: false });
    }
    Resolved {
        release: text("r1".into()),
        uid: train_text(TRAIN),
        id: text("QKZD".into()),
        environment: text("model".into()),
        captain: text("ana".into()),
        abandon: if scenario.stay { Abandon::Stay } else { Abandon::Undo },
        deploy: Deploy::Direct,
        waves,
        services: scenario
            .services
            .iter()
            .enumerate()
            .map(|(n, s)| Service {
                name: text(format!("s{n}")),
                version: text("1.0.0".into()),
                image: text(format!("registry/s{n}:1.0.0")),
                kind: if s.deployment { Kind::Deployment } else { Kind::Rollout },
                wave: (s.wave + first) as u16,
                needs: s.needs.iter().map(|d| *d as u16).collect(),
                untimed: if s.gate_ends_untimed { Untimed::Gate } else { Untimed::Person },
                commit: None,
            })
            .collect(),
        migrations: if scenario.migration {
            vec![Migration { name: text("postgres".into()), script: text("sql".into()) }]
        } else {
            Vec::new()
        },
        flags: scenario
            .flags
            .iter()
            .enumerate()
            .map(|(n, f)| Flag {
                key: text(format!("f{n}")),
                goal: Setting::Percent(100),
                safe: Some(Setting::Percent(0)),
                services: f.services.iter().map(|s| *s as u16).collect(),
            })
            .collect(),
        policies: scenario
            .policies
            .iter()
            .enumerate()
            .map(|(n, p)| Policy {
                name: text(format!("p{n}")),
                waiver: (*p == Have::Waived).then(|| Waiver {
                    by: text("ana".into()),
                    reason: text("test".into()),
                    until,
                }),
            })
            .collect(),
        times: times(),
        broken: mutant,
    }
}

fn train_text(n: u32) -> Text {
    Text::scrub(&format!("t{n}"))
}

fn number(text: &Text) -> u32 {
    text[1..].parse().unwrap()
}

fn hash_text(h: Hash) -> Text {
    Text::scrub(&format!("h{}-{}", h.version, h.mark))
}

fn hash_of(text: &Text) -> Hash {
    let (v, m) = text[1..].split_once('-').unwrap();
    Template { version: v.parse().unwrap(), mark: m.parse().unwrap() }
}

impl<'s> World<'s> {
    pub fn new(scenario: &'s Scenario, mutant: Option<Mutant>, watch: Watch) -> Self {
        let plan = Arc::new(plan(scenario, mutant));
        let mut rng = Rng::new(scenario.seed.wrapping_mul(31).wrapping_add(5));
        let workloads: Vec<Workload> = scenario
            .services
            .iter()
            .enumerate()
            .map(|(n, s)| {
                let mut w = Workload::new(100 + n as u32, s.steps.clone());
                w.routed = s.routed && !s.deployment;
                w.deployment = s.deployment;
                w.window = s.window;
                if s.downgrade {
                    // It was live once, before what is live now.
                    w.sets.insert(0, Template { version: 1, mark: 0 });
                }
                w
            })
            .collect();
        let count = workloads.len();
        let processes = (0..scenario.conductors)
            .map(|p| Process {
                life: 0,
                alive: true,
                begun: 0,
                still: 0,
                wall: 0,
                frozen_until: 0,
                elector: Self::elector(p, 0, mutant),
                state: None,
                lease_call: false,
                lease_since: 0,
                status_busy: false,
                status_dirty: false,
                status_rv: 0,
                file: Vec::new(),
                journal: Vec::new(),
            })
            .collect();
        let oracle = Oracle::new(scenario);
        let mut world = Self {
            scenario,
            plan,
            mutant,
            now: 0,
            seq: 0,
            agenda: BinaryHeap::with_capacity(256),
            eyes: vec![None; count],
            flags: scenario.flags.iter().map(|_| (0, 1)).collect(),
            jobs: if scenario.migration { vec![JobReading::Absent] } else { Vec::new() },
            job_until: 0,
            lease: None,
            intents: Vec::new(),
            status: None,
            beat: 0,
            processes,
            pending: Vec::new(),
            on: vec![false; scenario.script.len()],
            active: Vec::new(),
            oracle,
            events: 0,
            next_intent: 1,
            next_uid: 1_000,
            tracing: watch.trace,
            trace: Vec::new(),
            over_since: None,
            record_positions: watch.positions,
            positions: Vec::new(),
            serving_bad: vec![None; count],
            wakes: vec![Ms::MAX; count],
            journaling: watch.journal,
            journals: Vec::new(),
            workloads,
            rng: Rng::new(rng.next()),
        };
        for p in 0..scenario.conductors {
            let at = world.rng.within(1, 900);
            world.later(at, Item::Tick(p, 0));
        }
        for (n, (at, _)) in scenario.script.iter().enumerate() {
            world.later(*at, Item::Script(n));
        }
        world.later(1_500, Item::Cockpit);
        world
    }

    fn elector(p: usize, life: u32, mutant: Option<Mutant>) -> Elector {
        let pace = Pace { duration: 15_000, renew: 10_000, retry: 2_000 };
        Elector::new(Text::scrub(&format!("c{p}-{life}")), pace).broken(mutant)
    }

    fn later(&mut self, at: Ms, item: Item) {
        self.seq += 1;
        self.agenda.push(Reverse(Later { at, seq: self.seq, item }));
    }

    fn after(&mut self, ms: Ms, item: Item) {
        self.later(self.now + ms, item);
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.tracing {
            self.trace.push(format!("{:>8.3} {}", self.now as f64 / 1000.0, text()));
        }
    }

    fn wake(&mut self, s: usize, at: Ms) {
        if at < self.wakes[s] {
            self.wakes[s] = at;
            self.later(at, Item::Reconcile(s));
        }
    }

    fn is(&self, f: impl Fn(&Fault) -> bool) -> bool {
        self.active.iter().any(f)
    }

    /// Runs to the end.
    pub fn run(mut self) -> (Outcome, Vec<(Ms, &'static str)>) {
        let limit = if self.scenario.mode == Mode::Safety { Ms::MAX } else { self.scenario.quiet_from + 1_800_000 };
        while let Some(Reverse(next)) = self.agenda.pop() {
            self.now = next.at;
            self.events += 1;
            self.handle(next.item);
            if self.oracle.violation.is_some() || self.events >= self.scenario.events_max || self.now > limit {
                break;
            }
            if let Some(since) = self.over_since {
                if self.now > since + 5_000 && self.now >= self.scenario.quiet_from.min(since + 40_000) {
                    break;
                }
            } else if self.scenario.mode == Mode::Liveness && self.now > self.scenario.quiet_from + 600_000 {
                // Long enough for every bound of the train: it ended, or it waits for somebody.
                break;
            }
        }
        self.finish()
    }

    fn finish(mut self) -> (Outcome, Vec<(Ms, &'static str)>) {
        let ended = self.status.as_ref().and_then(|(m, _)| m.ended).map(|e| match e {
            Ended::Completed => "completed",
            Ended::RolledBack => "rolled-back",
            Ended::Refused => "refused",
        });
        let running = self.processes.iter().find_map(|p| p.state.as_ref());
        let waits = running.is_some_and(|s| !why::people(s).is_empty());
        if self.scenario.mode == Mode::Liveness
            && self.oracle.violation.is_none()
            && self.events < self.scenario.events_max
        {
            let word = running.map(|s| why::train(s).to_string()).unwrap_or_default();
            let ended = if self.over_since.is_some() { ended.or(Some("ended")) } else { ended };
            let ill: Vec<bool> = (0..self.workloads.len())
                .map(|s| self.is(|f| *f == Fault::Denied(s) || *f == Fault::Forbidden(s) || *f == Fault::ImageGone(s)))
                .collect();
            self.oracle.at_rest(&self.workloads, &ill, &self.flags, ended, waits, &word);
        }
        let mut end: Vec<String> = self
            .workloads
            .iter()
            .enumerate()
            .map(|(n, w)| {
                format!(
                    "s{n} spec {}-{} stable {} weight {} paused {} stamps {:?}",
                    w.template.version,
                    w.template.mark.min(1),
                    w.stable.version,
                    w.weight,
                    w.paused,
                    w.stamps.train
                )
            })
            .collect();
        if self.tracing
            && let Some(state) = running
        {
            for s in 0..self.workloads.len() {
                let line = format!(
                    "s{s} {:?} {} | {:?}",
                    state.train_phase(s as u16),
                    why::service(state, s as u16),
                    state.memory().services[s]
                );
                self.trace.push(line);
            }
            let m = state.memory();
            self.trace.push(format!(
                "phase {:?} holds {:?} undo {:?} flags {:?} jobs {:?} refused {:?} people {:?}",
                state.phase(),
                m.holds,
                m.undo,
                m.flags,
                m.jobs,
                m.refused,
                why::people(state)
            ));
        }
        end.push(format!(
            "flags {:?} jobs {:?} ended {ended:?}",
            self.flags.iter().map(|f| f.0).collect::<Vec<_>>(),
            self.jobs
        ));
        for p in 0..self.processes.len() {
            self.leave(p);
        }
        let outcome = Outcome {
            events: self.events,
            at: self.now,
            ended,
            waits,
            violation: self.oracle.violation.take(),
            end,
            trace: std::mem::take(&mut self.trace),
            writes: self.oracle.writes,
            undone: self.oracle.restores > 0,
            journals: std::mem::take(&mut self.journals),
        };
        (outcome, self.positions)
    }

    fn handle(&mut self, item: Item) {
        match item {
            Item::Reconcile(s) => {
                if self.wakes[s] == self.now {
                    self.wakes[s] = Ms::MAX;
                    self.reconcile(s);
                } else {
                    self.events -= 1;
                }
            }
            Item::Tick(p, life) => self.tick(p, life),
            Item::Deliver(p, life, token, call) => self.deliver(p, life, token, call),
            Item::Answered(p, life, token, reply) => {
                if self.frozen(p, life, || Item::Answered(p, life, token, reply.clone())) {
                    return;
                }
                self.answered(p, token, reply);
            }
            Item::Watch(p, life, s, reading) => {
                if self.frozen(p, life, || Item::Watch(p, life, s, reading.clone())) {
                    return;
                }
                if self.is(|f| *f == Fault::Deaf(p) || *f == Fault::Cut(p) || *f == Fault::Down) {
                    return;
                }
                self.feed(p, Event::Read(s as u16, reading));
            }
            Item::Told(p, life, event) => {
                if self.frozen(p, life, || Item::Told(p, life, event.clone())) {
                    return;
                }
                if matches!(event, Event::Ordered(_)) && self.is(|f| *f == Fault::Cut(p) || *f == Fault::Down) {
                    return;
                }
                self.feed(p, event);
            }
            Item::Judge(p, life) => self.judge(p, life),
            Item::Script(n) => self.script(n),
            Item::Over(n) => {
                if let Act::Fault(fault, _) = self.scenario.script[n].1 {
                    self.on[n] = false;
                    if let Some(at) = self.active.iter().position(|f| *f == fault) {
                        self.active.swap_remove(at);
                    }
                    self.fault_over(fault);
                }
            }
            Item::Restart(p) => {
                let process = &mut self.processes[p];
                process.alive = true;
                process.begun = self.now;
                process.still = 0;
                let life = process.life;
                process.elector = Self::elector(p, life, self.mutant);
                self.later(self.now, Item::Tick(p, life));
            }
            Item::Job => {
                if !self.jobs.is_empty() && self.jobs[0] == JobReading::Running && self.now >= self.job_until {
                    self.jobs[0] = JobReading::Done;
                    self.tell_all(Event::JobRead(0, JobReading::Done));
                }
            }
            Item::Cockpit => self.cockpit(),
        }
    }

    /// True when the item is for a dead process, or was put off because it stands still.
    fn frozen(&mut self, p: usize, life: u32, again: impl FnOnce() -> Item) -> bool {
        let process = &self.processes[p];
        if !process.alive || process.life != life {
            return true;
        }
        if self.now < process.frozen_until {
            let at = process.frozen_until;
            let item = again();
            self.later(at, item);
            return true;
        }
        false
    }

    fn mono(&self, p: usize) -> u64 {
        let process = &self.processes[p];
        self.now.saturating_sub(process.begun + process.still)
    }

    fn at(&self, p: usize) -> At {
        let wall = 1_759_320_000_000 + self.now as i64 + self.processes[p].wall;
        At { mono: self.mono(p), wall: Timestamp::from_millisecond(wall).unwrap() }
    }

    // ---- the cluster -------------------------------------------------------------------------------------------------

    fn truth(&self, s: usize) -> Truth {
        self.scenario.services[s].truth
    }

    fn reconcile(&mut self, s: usize) {
        if self.is(|f| *f == Fault::NoController) {
            self.wake(s, self.now + 1_000);
            return;
        }
        let truth = self.truth(s);
        let now = self.now;
        let (changed, wake) = self.workloads[s].reconcile(now, truth);
        if changed {
            self.note(|| format!("controller s{s}"));
            self.changed(s);
            let lag = self.rng.within(20, 600);
            self.wake(s, self.now + lag);
        } else if let Some(at) = wake {
            self.wake(s, at.max(now + 1));
        }
        let w = &self.workloads[s];
        if self.tracing && changed {
            let line = format!(
                "  s{s}: spec {}-{} cur {}-{} stable {}-{} step {} weight {} paused {} abort {} full {} healthy {} obs {} pause {:?}",
                w.template.version,
                w.template.mark,
                w.current.version,
                w.current.mark,
                w.stable.version,
                w.stable.mark,
                w.step,
                w.weight,
                w.paused,
                w.abort,
                w.full,
                w.healthy,
                w.observed == w.generation,
                w.pause
            );
            self.note(|| line);
        }
    }

    fn eye(&mut self, s: usize) -> Arc<Reading> {
        let w = &self.workloads[s];
        if let Some(r) = &self.eyes[s]
            && r.version == w.rv
            && r.uid == Text::scrub(&format!("u{}", w.uid))
        {
            return r.clone();
        }
        let pinned = if self.scenario.services[s].unchanged { 0 } else { 1 };
        let spec = if w.template.version == pinned {
            Spec::Pinned
        } else if w.template == w.record.unwrap_or(w.template) {
            Spec::Recorded
        } else {
            Spec::Other
        };
        let reading = Arc::new(Reading {
            uid: Text::scrub(&format!("u{}", w.uid)),
            version: w.rv,
            generation: w.generation,
            observed: w.observed == w.generation,
            spec,
            current: hash_text(w.current),
            stable: hash_text(w.stable),
            paused: w.paused,
            hold: w.stamps.hold.as_ref().map(|h| Text::scrub(h)),
            undo: w.stamps.undo.map(|u| Text::scrub(&format!("{u:x}"))),
            train: w.stamps.train.map(train_text),
            epoch: w.stamps.epoch.as_ref().map(|(n, by)| (*n, Text::scrub(by))),
            step: w.step,
            steps: w.steps.len() as u32,
            pause: w.pause.map(|(p, _)| match p {
                Paused::Timed(ms) => Pause::Timed(ms),
                Paused::Untimed => Pause::Untimed,
                Paused::Inconclusive => Pause::Inconclusive,
            }),
            weight: w.weight,
            aborted: w.abort,
            full: w.full,
            healthy: w.healthy,
            fast: w.fast(),
            mark: w.mark(),
            record: w.record.map(hash_text),
        });
        self.eyes[s] = Some(reading.clone());
        reading
    }

    /// Somebody or something changed a workload: its watchers hear of it, its controller too.
    fn changed(&mut self, s: usize) {
        let reading = self.eye(s);
        for p in 0..self.processes.len() {
            if self.processes[p].state.is_none() {
                continue;
            }
            let life = self.processes[p].life;
            let mut lag = self.rng.within(5, 150);
            if self.is(|f| *f == Fault::Stale(p)) {
                lag += self.rng.within(500, 15_000);
            }
            self.after(lag, Item::Watch(p, life, s, reading.clone()));
        }
        let (workloads, oracle) = (&self.workloads, &mut self.oracle);
        oracle.looks(self.now, workloads);
    }

    fn tell_all(&mut self, event: Event) {
        for p in 0..self.processes.len() {
            if self.processes[p].state.is_some() {
                let (life, lag) = (self.processes[p].life, self.rng.within(5, 200));
                self.after(lag, Item::Told(p, life, event.clone()));
            }
        }
    }

    // ---- calls -------------------------------------------------------------------------------------------------------

    fn call(&mut self, p: usize, token: u64, call: Call) {
        let life = self.processes[p].life;
        let lease = matches!(call, Call::LeaseRead | Call::LeaseWrite(..));
        let write =
            matches!(call, Call::Patch(_) | Call::Flag { .. } | Call::Record(_) | Call::Job { .. } | Call::Order(..));
        let cut = self.is(|f| *f == Fault::Cut(p) || *f == Fault::Down || lease && *f == Fault::NoLease(p));
        let lost = cut || write && self.is(|f| *f == Fault::WritesLost(p));
        let silent = write && self.is(|f| *f == Fault::AnswersLost(p));
        let slow = write && self.is(|f| *f == Fault::WritesSlow(p));
        let timeout = if lease { 2_000 } else { CALL };
        if lost {
            let at = if cut { self.rng.within(5, 2_500) } else { timeout };
            let reply = match &call {
                Call::Order(intent, _) => Replied::Order(intent.clone(), false),
                _ => Replied::Plain(Answer::Unknown),
            };
            self.after(at, Item::Answered(p, life, token, reply));
            return;
        }
        let mut lag = self.rng.within(2, 60);
        if slow {
            lag += self.rng.within(1_000, 40_000);
        }
        if silent || lag > timeout {
            self.after(timeout, Item::Answered(p, life, token, Replied::Plain(Answer::Unknown)));
        }
        // What an answer that comes too late would say is not heard any more.
        let life = if silent || lag > timeout { u32::MAX } else { life };
        self.after(lag, Item::Deliver(p, life, token, call));
    }

    fn send_order(&mut self, p: usize, intent: Intent) {
        let by = format!("c{p}-{}", self.processes[p].life);
        self.call(p, 3, Call::Order(intent, by));
    }

    fn reply(&mut self, p: usize, life: u32, token: u64, reply: Replied) {
        if life != u32::MAX {
            let lag = self.rng.within(2, 60);
            self.after(lag, Item::Answered(p, life, token, reply));
        }
    }

    fn deliver(&mut self, p: usize, life: u32, token: u64, call: Call) {
        match call {
            Call::Patch(write) => {
                let answer = self.patch(write);
                self.reply(p, life, token, Replied::Plain(answer));
            }
            Call::Record(s) => {
                let w = &mut self.workloads[s];
                if w.exists && w.record.is_none() {
                    w.record = Some(w.stable);
                    w.rv += 1;
                    self.oracle.recorded(s, w);
                    self.changed(s);
                }
                self.reply(p, life, token, Replied::Plain(Answer::Moved));
            }
            Call::Flag { flag, to, version, back, until } => {
                let answer = if self.now > until {
                    Answer::Unknown
                } else if self.flags[flag].1 == version {
                    self.flags[flag] = (to, version + 1);
                    self.note(|| format!("flag f{flag} -> {to} {}", if back { "back" } else { "" }));
                    let now = self.now;
                    let (oracle, workloads) = (&mut self.oracle, &self.workloads);
                    oracle.flag(now, flag, to, back, workloads);
                    Answer::Landed(version + 1)
                } else {
                    Answer::Moved
                };
                let (value, version) = self.flags[flag];
                self.tell_all(Event::FlagRead(flag as u16, FlagReading { value: Setting::Percent(value), version }));
                self.reply(p, life, token, Replied::Plain(answer));
            }
            Call::Job { migration, down } => {
                let now = self.now;
                let job = &mut self.jobs[migration];
                if down && *job == JobReading::Done {
                    *job = JobReading::DownDone;
                    self.note(|| "down migration".into());
                    let (oracle, workloads) = (&mut self.oracle, &self.workloads);
                    oracle.down(workloads);
                    self.tell_all(Event::JobRead(0, JobReading::DownDone));
                } else if !down && *job == JobReading::Absent {
                    *job = JobReading::Running;
                    self.job_until = now + 3_000;
                    self.note(|| "expand job".into());
                    self.oracle.at(now);
                    let (oracle, lease) = (&mut self.oracle, &self.lease);
                    oracle.job(lease.is_some());
                    self.after(3_000, Item::Job);
                    self.tell_all(Event::JobRead(0, JobReading::Running));
                }
                self.reply(p, life, token, Replied::Plain(Answer::Moved));
            }
            Call::Order(intent, _) if self.overtaken(&intent) => {
                self.note(|| format!("422  c{p} order {:x} of {:?}", intent.id, intent.epoch));
                self.reply(p, life, token, Replied::Plain(Answer::Moved));
            }
            Call::Order(intent, by) => {
                if auto::is_own(intent.id) && !self.intents.iter().any(|i| i.id == intent.id) {
                    self.oracle.decided(&by, intent.id);
                }
                self.durable(&intent);
                self.reply(p, life, token, Replied::Order(intent, true));
            }
            Call::Status(memory, rv) => {
                let known = self.status.as_ref().map_or(0, |(_, rv)| *rv);
                let newer = self.status.as_ref().is_some_and(|(m, _)| m.epoch.0 > memory.epoch.0);
                if known == rv && !newer {
                    self.take_status(memory, rv + 1);
                    self.reply(p, life, token, Replied::Written(rv + 1));
                } else {
                    // It reads what is there, and writes again only if nobody with a higher epoch was here.
                    let reply = if newer { Replied::Plain(Answer::Moved) } else { Replied::Written(known | 1 << 63) };
                    self.reply(p, life, token, reply);
                }
            }
            Call::Keep(entry) => self.reply(p, life, token, Replied::Kept(entry)),
            Call::LeaseRead => {
                let lease = self.lease.clone();
                self.reply(p, life, token, Replied::Lease(lease));
            }
            Call::LeaseWrite(lease, rv) => {
                let fits =
                    self.lease.as_ref().map(|(_, rv)| *rv) == rv || self.mutant == Some(Mutant::WritesWithoutVersion);
                if fits {
                    let next = self.seq;
                    let now = self.now;
                    self.oracle.at(now);
                    self.oracle.lease(&lease.holder, lease.transitions);
                    self.beat = self.now;
                    // As `core/lease.rs` reads it: the server's version counts renewals, also across a Lease that is made anew.
                    self.lease = Some((Lease { renewal: next, ..lease }, next));
                    self.reply(p, life, token, Replied::Written(next));
                } else {
                    self.reply(p, life, token, Replied::Plain(Answer::Moved));
                }
            }
        }
    }

    fn take_status(&mut self, memory: Arc<Memory>, rv: u64) {
        if self.over_since.is_none() && memory.ended.is_some() {
            self.over_since = Some(self.now);
        }
        let seen = Seen {
            rolled_back: memory.ended == Some(Ended::RolledBack),
            completed: memory.ended == Some(Ended::Completed),
            refused: memory.ended == Some(Ended::Refused),
        };
        self.oracle.published(memory.epoch.0);
        self.oracle.status(self.now, &seen, &self.workloads, &self.flags);
        self.status = Some((memory, rv));
    }

    fn patch(&mut self, write: Write) -> Answer {
        let s = write.service;
        if self.is(|f| *f == Fault::Conflicts) && self.rng.percent(80) {
            return Answer::Moved;
        }
        if self.is(|f| *f == Fault::Denied(s) || *f == Fault::Forbidden(s)) {
            return Answer::Refused(Text::scrub("denied"));
        }
        if !self.workloads[s].test(&write.tests) {
            self.note(|| format!("422  {:?} s{s} {:?}", write.by, write.ops));
            return Answer::Moved;
        }
        self.note(|| format!("PATCH {:?} s{s} {:?} forward {:?}", write.by, write.ops, write.forward));
        let holder = self.lease.as_ref().map(|(l, _)| l.transitions);
        self.oracle.write(self.now, &write, &self.workloads, &self.flags, holder);
        self.workloads[s].apply(&write.ops);
        self.oracle.wrote(self.now, &write, &self.workloads[s]);
        self.changed(s);
        let lag = self.rng.within(10, 500);
        self.wake(s, self.now + lag);
        Answer::Landed(self.workloads[s].rv)
    }

    /// True when another conductor has published a status since this order was decided: it was the conductor's own, and is
    /// not the next one's.
    fn overtaken(&self, intent: &Intent) -> bool {
        let (Some((number, by)), Some((memory, _))) = (&intent.epoch, &self.status) else { return false };
        memory.epoch.0 > *number || memory.epoch.0 == *number && memory.epoch.1 != *by
    }

    /// An order is durable: the oracle knows it from now on, and every conductor is told.
    fn durable(&mut self, intent: &Intent) {
        if !self.intents.iter().any(|i| i.id == intent.id) {
            self.intents.push(intent.clone());
            self.know(intent);
        }
        self.tell_all(Event::Ordered(intent.clone()));
    }

    fn know(&mut self, intent: &Intent) {
        let ordered = match &intent.want {
            Want::Hold(..) => Ordered::Hold,
            Want::Abort(s, _) => Ordered::Abort(usize::from(*s)),
            Want::Undo(Scope::Only(s)) => Ordered::UndoOnly(usize::from(*s)),
            Want::Undo(_) => Ordered::Undo,
            Want::Down(_) => Ordered::Down,
            Want::Approve { service, step, over, .. } => {
                Ordered::Approve { service: usize::from(*service), step: *step, over: *over }
            }
            Want::Full(s, _) => Ordered::Full(usize::from(*s)),
            Want::Resume(_) | Want::ResumeOutside(_) => Ordered::Resume,
            Want::Retry(s) => Ordered::Retry(usize::from(*s)),
            _ => Ordered::Other,
        };
        let now = self.now;
        self.oracle.ordered(now, intent.id, ordered);
        match &intent.want {
            Want::Undo(Scope::All) => self.oracle.owed(now, true, !auto::is_own(intent.id), &self.workloads),
            // What the conductor holds by itself it also lets go by itself.
            Want::Hold(None, _) if !auto::is_own(intent.id) => self.oracle.owed(now, false, true, &self.workloads),
            _ => {}
        }
        self.note(|| format!("ORDER {:x} {} {:?}", intent.id, intent.order.who, intent.want));
    }

    fn answered(&mut self, p: usize, token: u64, reply: Replied) {
        match (token, reply) {
            (0, reply) => {
                self.processes[p].lease_call = false;
                let event = match reply {
                    Replied::Lease(found) => elector::Event::Read(found),
                    Replied::Written(rv) => elector::Event::Wrote(rv),
                    Replied::Plain(Answer::Moved) => elector::Event::Conflict,
                    _ => elector::Event::Failed,
                };
                self.elect(p, event);
            }
            (1, reply) => {
                self.processes[p].status_busy = false;
                match reply {
                    Replied::Written(rv) => {
                        self.processes[p].status_rv = rv & !(1 << 63);
                        if rv >> 63 == 1 {
                            self.processes[p].status_dirty = true;
                        } else if let Some(state) = &self.processes[p].state {
                            let version = state.memory().version;
                            self.feed(p, Event::StatusKept(version));
                        }
                    }
                    Replied::Plain(Answer::Unknown) => self.processes[p].status_dirty = true,
                    _ => {}
                }
                if self.processes[p].status_dirty {
                    self.write_status(p);
                }
            }
            (2, Replied::Kept(entry)) => self.feed(p, Event::Kept(entry)),
            (_, Replied::Order(intent, landed)) => {
                if !landed {
                    // The server is out of reach: the fsynced file makes it durable.
                    self.know(&intent);
                    self.processes[p].file.push(intent.clone());
                }
                self.feed(p, Event::Ordered(intent));
            }
            (token, Replied::Plain(answer)) if token > 9 => self.feed(p, Event::Answered(token - 10, answer)),
            _ => {}
        }
    }

    // ---- processes ---------------------------------------------------------------------------------------------------

    fn tick(&mut self, p: usize, life: u32) {
        if self.frozen(p, life, || Item::Tick(p, life)) {
            return;
        }
        let next = if self.processes[p].state.is_some() { 1_000 } else { 2_000 };
        self.after(next, Item::Tick(p, life));
        if self.processes[p].lease_call && self.now > self.processes[p].lease_since + 2_500 {
            self.processes[p].lease_call = false;
        }
        self.elect(p, elector::Event::Tick);
        if self.processes[p].state.is_some() {
            self.feed(p, Event::Tick);
            // Level beats edge: what the watches may have lost is listed now and then.
            if self.mono(p) % 10_000 < 1_000 && !self.is(|f| *f == Fault::Cut(p) || *f == Fault::Down) {
                self.list(p);
                // As the engine does: a status bears the clocks too, and is not written only when something else changed.
                self.processes[p].status_dirty = true;
            }
        }
        if self.processes[p].status_dirty {
            self.write_status(p);
        }
    }

    fn elect(&mut self, p: usize, event: elector::Event) {
        let now = self.mono(p);
        let tick = event == elector::Event::Tick;
        if tick && self.processes[p].lease_call {
            // One call at a time.
        } else if let Some(act) = self.processes[p].elector.step(now, event) {
            self.processes[p].lease_call = true;
            self.processes[p].lease_since = self.now;
            let call = match act {
                elector::Act::Read => Call::LeaseRead,
                elector::Act::Write(lease, rv) => Call::LeaseWrite(lease, rv),
            };
            self.call(p, 0, call);
        }
        let holds = self.processes[p].elector.epoch(now);
        match (holds, self.processes[p].state.is_some()) {
            (Some(epoch), false) => {
                let over = self.status.as_ref().is_some_and(|(m, _)| m.ended.is_some());
                if over || self.is(|f| *f == Fault::Cut(p) || *f == Fault::Down) {
                    return;
                }
                let n = epoch.number();
                self.note(|| format!("c{p} conducts, epoch {n}"));
                self.begin(p);
            }
            (None, true) => {
                self.note(|| format!("c{p} steps down"));
                self.leave(p);
            }
            _ => {}
        }
    }

    /// It reads the Release, then everything else.
    fn begin(&mut self, p: usize) {
        let state = match &self.status {
            Some((memory, _)) => State::resume(self.plan.clone(), (**memory).clone()),
            None => State::new(self.plan.clone()),
        };
        if self.journaling {
            let by = self.processes[p].elector.epoch(self.mono(p)).map(|e| e.holder().clone());
            self.processes[p].journal =
                vec![journal::opening(&self.plan), journal::took_up(by.as_ref(), state.memory())];
        }
        let process = &mut self.processes[p];
        process.state = Some(state);
        process.status_busy = false;
        process.status_dirty = false;
        process.status_rv = self.status.as_ref().map_or(0, |(_, rv)| *rv);
        let life = process.life;
        self.list(p);
        for (f, (value, version)) in self.flags.clone().into_iter().enumerate() {
            self.after(
                40,
                Item::Told(p, life, Event::FlagRead(f as u16, FlagReading { value: Setting::Percent(value), version })),
            );
        }
        for (m, job) in self.jobs.clone().into_iter().enumerate() {
            self.after(45, Item::Told(p, life, Event::JobRead(m as u16, job)));
        }
        let mut file = std::mem::take(&mut self.processes[p].file);
        file.retain(|intent| !self.overtaken(intent));
        self.processes[p].file.clone_from(&file);
        for intent in file {
            self.after(50, Item::Told(p, life, Event::Ordered(intent.clone())));
            self.send_order(p, intent);
        }
        let at = self.rng.within(300, 1_500);
        for (check, found) in self.facts() {
            self.after(at, Item::Told(p, life, Event::Fact(Fact { check, found })));
        }
        self.after(JUDGE / 2, Item::Judge(p, life));
    }

    fn facts(&self) -> Vec<(Check, Found)> {
        let checks = crate::core::train::preflight::checks(&self.plan);
        let mut all: Vec<(Check, Found)> = Vec::new();
        for check in checks {
            let found = match &check {
                Check::Policy(n) if self.scenario.policies[usize::from(*n)] != Have::Good => continue,
                _ => Found::Good(Text::scrub("seen")),
            };
            all.push((check, found));
        }
        all
    }

    fn list(&mut self, p: usize) {
        let life = self.processes[p].life;
        for s in 0..self.workloads.len() {
            let lag = self.rng.within(10, 200);
            if self.workloads[s].exists {
                let reading = self.eye(s);
                self.after(lag, Item::Watch(p, life, s, reading));
            } else {
                self.after(lag, Item::Told(p, life, Event::Gone(s as u16)));
            }
        }
        for intent in self.intents.clone() {
            self.after(60, Item::Told(p, life, Event::Ordered(intent)));
        }
    }

    fn feed(&mut self, p: usize, event: Event) {
        let now = self.mono(p);
        let epoch = self.processes[p].elector.epoch(now);
        let Some(epoch) = epoch else {
            if self.processes[p].state.is_some() {
                self.note(|| format!("c{p} has lost the lease"));
                self.leave(p);
            }
            return;
        };
        let Some(state) = self.processes[p].state.take() else { return };
        let mut input = Input { at: self.at(p), lease: None, event };
        if self.journaling {
            let (number, holder) = (epoch.number(), epoch.holder().clone());
            input.lease = Some(EpochMark { number, holder, remaining: epoch.remaining() });
            self.processes[p].journal.push(journal::line(&input));
        }
        let (state, effects) = step(state, Role::Conducting(&epoch), &input);
        self.processes[p].state = Some(state);
        for effect in effects {
            self.effect(p, effect);
        }
    }

    /// A tenure ends.
    fn leave(&mut self, p: usize) {
        let process = &mut self.processes[p];
        if let (Some(state), true) = (process.state.take(), self.journaling) {
            self.journals.push((std::mem::take(&mut process.journal), format!("{state:?}")));
        }
    }

    fn write_status(&mut self, p: usize) {
        if self.processes[p].status_busy {
            self.processes[p].status_dirty = true;
            return;
        }
        let Some(state) = &self.processes[p].state else { return };
        let memory = Arc::new(state.memory().clone());
        self.processes[p].status_busy = true;
        self.processes[p].status_dirty = false;
        let rv = self.processes[p].status_rv;
        self.call(p, 1, Call::Status(memory, rv));
    }

    fn effect(&mut self, p: usize, effect: Effect) {
        if self.record_positions {
            self.positions.push((self.now, name(&effect)));
        }
        match effect {
            Effect::Safe(token, safe) => {
                let write =
                    self.write(p, usize::from(safe.service()), safe.tests(), safe.change(), None, Some(safe.intent()));
                self.call(p, token + 10, Call::Patch(write));
            }
            Effect::Forward(token, forward) => {
                let epoch = Some(forward.epoch());
                let write =
                    self.write(p, usize::from(forward.service()), forward.tests(), forward.change(), epoch, None);
                self.call(p, token + 10, Call::Patch(write));
            }
            Effect::Record(token, s) => self.call(p, token + 10, Call::Record(usize::from(s))),
            Effect::Flag(token, change) => {
                let Setting::Percent(to) = change.to else { return };
                let left = self.processes[p].elector.epoch(self.mono(p)).map_or(0, |e| e.remaining().min(CALL));
                let (flag, back) = (usize::from(change.flag), change.back);
                let until = if back { Ms::MAX } else { self.now + left };
                self.call(p, token + 10, Call::Flag { flag, to, version: change.version, back, until });
            }
            Effect::Job { token, migration, down, .. } => {
                self.call(p, token + 10, Call::Job { migration: usize::from(migration), down });
            }
            Effect::Order(intent) => self.send_order(p, intent),
            Effect::Keep(entry) => self.call(p, 2, Call::Keep(entry)),
            Effect::Status(_) => self.write_status(p),
            Effect::Read(s) => {
                if self.is(|f| *f == Fault::Cut(p) || *f == Fault::Down) {
                    return;
                }
                let (life, s) = (self.processes[p].life, usize::from(s));
                let lag = self.rng.within(10, 120);
                if self.workloads[s].exists {
                    let reading = self.eye(s);
                    self.after(lag, Item::Watch(p, life, s, reading));
                }
            }
            Effect::ReadFlag(f) => {
                if !self.is(|x| *x == Fault::Cut(p) || *x == Fault::Down) {
                    let (value, version) = self.flags[usize::from(f)];
                    let life = self.processes[p].life;
                    let reading = FlagReading { value: Setting::Percent(value), version };
                    self.after(60, Item::Told(p, life, Event::FlagRead(f, reading)));
                }
            }
            Effect::Measure(s) => {
                let life = self.processes[p].life;
                let found = Found::Good(Text::scrub("measured"));
                self.after(900, Item::Told(p, life, Event::Fact(Fact { check: Check::Burning(s), found })));
            }
            Effect::Tell(tell) => {
                self.note(|| format!("TELL {tell:?}"));
                self.oracle.tell(match tell {
                    Tell::Started => 0,
                    Tell::Finished => 1,
                    Tell::RolledBack => 2,
                });
            }
            Effect::Alarm(s, what) => {
                self.note(|| format!("ALARM {what}"));
                self.oracle.alarm(self.now, usize::from(s));
            }
            Effect::Page(what) => self.note(|| format!("PAGE {what}")),
            Effect::EpochUsedUp(n) => self.processes[p].elector.raise(n),
            Effect::Commit { .. } | Effect::Revert(..) | Effect::SuspendSync(..) => {}
        }
    }

    /// As the engine makes a JSON Patch of an effect, so a patch of the model.
    fn write(
        &self,
        p: usize,
        s: usize,
        tests: &Tests,
        change: &Change,
        forward: Option<u64>,
        intent: Option<u64>,
    ) -> Write {
        let mut all = vec![Test::Uid(number(&tests.uid))];
        if let Some(g) = tests.generation {
            all.push(Test::Generation(g));
        }
        match &tests.train {
            Stamp::Any => {}
            Stamp::Absent => all.push(Test::Train(None)),
            Stamp::Is(train) => all.push(Test::Train(Some(number(train)))),
        }
        match &tests.epoch {
            Stamp::Any => {}
            Stamp::Absent => all.push(Test::Epoch(None)),
            Stamp::Is((n, by)) => all.push(Test::Epoch(Some((*n, Arc::from(by.as_str()))))),
        }
        match &tests.hold {
            Stamp::Any => {}
            Stamp::Absent => all.push(Test::Hold(None)),
            Stamp::Is(hold) => all.push(Test::Hold(Some(Arc::from(hold.as_str())))),
        }
        match &tests.undo {
            Stamp::Any => {}
            Stamp::Absent => all.push(Test::NoUndo),
            Stamp::Is(undo) => all.push(Test::Undo(u64::from_str_radix(undo, 16).unwrap())),
        }
        if let Some(hash) = &tests.hash {
            all.push(Test::Hash(hash_of(hash)));
        }
        if let Some((step, pause)) = tests.step {
            let pause = pause.map(|p| match p {
                Pause::Timed(ms) => Paused::Timed(ms),
                Pause::Untimed => Paused::Untimed,
                Pause::Inconclusive => Paused::Inconclusive,
            });
            all.push(Test::Step(step, pause));
        }
        if tests.ours {
            all.push(Test::Ours);
        }
        if let Some(aborted) = tests.aborted {
            all.push(Test::Aborted(aborted));
        }
        let undo = intent.unwrap_or(0);
        let recorded = self.workloads[s].record.unwrap_or(OLD);
        let restore = vec![Op::Template(recorded), Op::Undo(undo), Op::Unpause, Op::EndHold];
        let ops = match change {
            Change::Stamp { epoch: (n, by) } => vec![Op::Stamp(TRAIN, (*n, Arc::from(by.as_str())))],
            Change::Deploy { mark } => vec![Op::Template(Template { version: 1, mark: *mark })],
            Change::Hold(stamp) => vec![Op::Hold(Arc::from(stamp.as_str()))],
            Change::Release => vec![Op::Unpause, Op::EndHold],
            Change::Approve { inconclusive: false } => vec![Op::Approve],
            Change::Approve { inconclusive: true } => vec![Op::ApproveOver],
            Change::Full | Change::PromoteRecorded => vec![Op::Full],
            // As `frozen/patch.rs` carries it out where there is no abort.
            Change::Abort if self.workloads[s].deployment => {
                all.push(Test::Ours);
                restore
            }
            Change::Abort => vec![Op::Abort],
            Change::MarkUndo => vec![Op::Undo(undo), Op::Unpause, Op::EndHold],
            Change::Restore => restore,
            Change::ClearUndo => vec![Op::ClearUndo],
            Change::Again => vec![Op::Again],
            Change::Unstamp => vec![Op::Unstamp],
        };
        let life = self.processes.get(p).map_or(0, |x| x.life);
        Write { by: p as u32 + 1_000 * life, sent: self.now, service: s, tests: all, ops, forward, intent }
    }

    // ---- judges ------------------------------------------------------------------------------------------------------

    fn judge(&mut self, p: usize, life: u32) {
        if self.frozen(p, life, || Item::Judge(p, life)) {
            return;
        }
        if self.processes[p].state.is_none() {
            return;
        }
        self.after(JUDGE, Item::Judge(p, life));
        let blind = self.is(|f| *f == Fault::NoMetrics);
        let late = self.is(|f| *f == Fault::LateVerdicts);
        for s in 0..self.workloads.len() {
            let judged = self.verdict(s, blind);
            let elsewhere = self.scenario.services[s].truth == Truth::Elsewhere
                && !blind
                && judged.hash.is_some()
                && self.serving_bad[s].is_some_and(|since| self.now >= since + 4_000);
            self.oracle.elsewhere(s, elsewhere);
            if elsewhere {
                let (service, why) = (Text::scrub("beside"), Text::scrub("errors"));
                self.feed(p, Event::Tripped(Tripped { service, cause: Cause::Logic, why }));
            }
            let (verdict, full) = (judged.verdict, judged.full);
            let hash = judged.hash.as_ref().map(hash_of);
            if late {
                let lag = self.rng.within(1_000, 20_000);
                if verdict != Verdict::Fail {
                    let pass = verdict == Verdict::Pass && full;
                    self.oracle.verdict(self.now, s, pass, false, hash, judged.step);
                }
                self.after(lag, Item::Told(p, life, Event::Judged(judged)));
            } else {
                self.oracle.verdict(
                    self.now,
                    s,
                    verdict == Verdict::Pass && full,
                    verdict == Verdict::Fail,
                    hash,
                    judged.step,
                );
                self.feed(p, Event::Judged(judged));
            }
        }
    }

    /// What an honest judge would say of a service now.
    fn verdict(&mut self, s: usize, blind: bool) -> Judged {
        let w = &self.workloads[s];
        let new = w.exists && w.current.version == 1 && !self.scenario.services[s].unchanged;
        let serving = new && w.traffic(1) > 0;
        let hash = new.then(|| hash_text(w.current));
        let truth = self.scenario.services[s].truth;
        let flagged =
            self.scenario.flags.iter().zip(&self.flags).any(|(f, v)| f.bad && v.0 > 0 && f.services.contains(&s));
        let migrated = self.scenario.migration_bad && s == 0 && self.jobs.first() == Some(&JobReading::Done);
        let full = self.now >= w.moved_at + WINDOW;
        let crash = new && truth == Truth::Crash && w.stable.version != 1 && self.now >= w.moved_at + 6_000;
        let failed = new && w.failed;
        let hurts = serving && matches!(truth, Truth::Errors | Truth::Slow | Truth::Elsewhere);
        let seen = match self.serving_bad[s] {
            Some(since) if hurts || flagged || migrated => self.now >= since + 4_000,
            _ => false,
        };
        self.serving_bad[s] = match self.serving_bad[s] {
            Some(since) if hurts || flagged || migrated => Some(since),
            _ if hurts || flagged || migrated => Some(self.now),
            _ => None,
        };
        let (verdict, cause) = if crash {
            (Verdict::Fail, Cause::Infrastructure)
        } else if failed {
            (Verdict::Fail, Cause::Logic)
        } else if blind {
            (Verdict::NoData, Cause::Infrastructure)
        } else if seen && (truth != Truth::Elsewhere || flagged || migrated) {
            (Verdict::Fail, if truth == Truth::Slow { Cause::Performance } else { Cause::Logic })
        } else if serving && truth == Truth::NoData {
            (Verdict::NoData, Cause::Infrastructure)
        } else if serving && truth == Truth::Unclear && full {
            (Verdict::Inconclusive, Cause::Logic)
        } else {
            (Verdict::Pass, Cause::Logic)
        };
        Judged {
            service: s as u16,
            verdict,
            step: new.then_some(w.step),
            full: full && new && (serving || w.traffic(1) > 0),
            hash: if flagged || migrated { None } else { hash },
            error: new && w.abort && truth == Truth::NoData,
            cause,
            why: Text::default(),
        }
    }

    // ---- faults and hands --------------------------------------------------------------------------------------------

    fn script(&mut self, n: usize) {
        let act = self.scenario.script[n].1;
        self.note(|| format!("SCRIPT {act:?}"));
        match act {
            Act::Fault(fault, lasts) => {
                self.on[n] = true;
                self.active.push(fault);
                self.after(lasts, Item::Over(n));
                self.fault(fault, lasts);
            }
            Act::Order(order) => self.order(order),
            Act::Foreign(s, what) => self.stranger(s, what),
        }
    }

    fn fault(&mut self, fault: Fault, lasts: Ms) {
        match fault {
            Fault::Crash(p) => {
                let process = &mut self.processes[p];
                if process.alive {
                    self.leave(p);
                    let process = &mut self.processes[p];
                    process.alive = false;
                    process.life += 1;
                    process.lease_call = false;
                    process.frozen_until = 0;
                    self.after(lasts, Item::Restart(p));
                }
            }
            Fault::Frozen(p, still) => {
                let process = &mut self.processes[p];
                if process.alive && self.now >= process.frozen_until {
                    process.frozen_until = self.now + lasts;
                    if still {
                        let who = format!("c{p}-{}", process.life);
                        let now = self.now;
                        self.oracle.stood_still(now, &who, lasts);
                        process.still += lasts;
                        // The clock stands still from now on, not before.
                        process.begun = process.begun.min(self.now);
                    }
                    let life = process.life;
                    self.after(lasts, Item::Told(p, life, Event::Gap));
                }
            }
            Fault::Wall(p) => self.processes[p].wall = if self.rng.percent(50) { 3_600_000 } else { -3_600_000 },
            Fault::StuckWeight(s) => self.workloads[s].stuck = true,
            Fault::ImageGone(s) => self.workloads[s].image_gone = true,
            Fault::LeaseGone => {
                self.lease = None;
                self.oracle.lease_deleted();
            }
            Fault::StatusWiped => {
                if let Some((_, rv)) = &self.status {
                    let rv = *rv;
                    self.status = None;
                    self.oracle.wiped();
                    for process in &mut self.processes {
                        if process.state.is_some() && process.status_rv == rv {
                            process.status_rv = 0;
                            process.status_dirty = true;
                        }
                    }
                }
            }
            Fault::SpecWiped => {
                self.intents.pop();
            }
            _ => {}
        }
    }

    fn fault_over(&mut self, fault: Fault) {
        match fault {
            Fault::StuckWeight(s) => {
                self.workloads[s].stuck = false;
                self.wake(s, self.now + 50);
            }
            Fault::ImageGone(s) => {
                self.workloads[s].image_gone = false;
                self.wake(s, self.now + 50);
            }
            _ => {}
        }
    }

    fn stranger(&mut self, s: usize, what: Foreign) {
        let w = &mut self.workloads[s];
        let before = w.clone();
        match what {
            Foreign::Promote => {
                if w.pause.is_some() {
                    w.apply(&[Op::Approve]);
                } else if w.step < w.steps.len() as u32 && w.current != w.stable {
                    w.step += 1;
                    w.rv += 1;
                }
            }
            Foreign::Abort => w.apply(&[Op::Abort]),
            Foreign::Retry => w.apply(&[Op::Again]),
            Foreign::Pause => {
                if !w.paused {
                    w.paused = true;
                    w.generation += 1;
                    w.rv += 1;
                }
            }
            Foreign::Unpause => w.apply(&[Op::Unpause]),
            Foreign::Deploy => w.apply(&[Op::Template(Template { version: 2, mark: 0 })]),
            Foreign::PutBack => w.apply(&[Op::Template(OLD)]),
            Foreign::PutNew => {
                if w.has_pinned() {
                    w.apply(&[Op::Template(Template { version: 1, mark: 0 })]);
                }
            }
            Foreign::WipeStamps => w.apply(&[Op::Wipe]),
            Foreign::DeleteAndMake => {
                let mut made = Workload::new(self.next_uid, w.steps.clone());
                self.next_uid += 1;
                made.routed = w.routed;
                made.deployment = w.deployment;
                made.window = w.window;
                made.template = w.template;
                made.current = w.template;
                made.stable = w.template;
                made.sets = vec![w.template];
                made.record = w.record;
                made.rv = w.rv + 1;
                made.moved_at = self.now;
                *w = made;
            }
        }
        let after = w.clone();
        if before != after {
            self.oracle.foreign(self.now, s, &before, &after);
            self.changed(s);
            let lag = self.rng.within(10, 400);
            self.wake(s, self.now + lag);
        }
    }

    // ---- captains ----------------------------------------------------------------------------------------------------

    fn order(&mut self, order: Order) {
        let seen = |w: &Workload| hash_text(w.current);
        let want = match order {
            Order::Start => Want::Start,
            Order::Hold(s) => Want::Hold(s.map(|s| s as u16), HoldFor::Person),
            Order::Resume => {
                let Some((memory, _)) = &self.status else { return };
                let Some(hold) = memory.holds.first() else { return };
                Want::Resume(hold.id)
            }
            Order::Approve(s, over) => {
                let w = &self.workloads[s];
                Want::Approve { service: s as u16, hash: seen(w), step: w.step, over }
            }
            Order::ApproveTwice(s) => {
                let w = &self.workloads[s];
                let want = Want::Approve { service: s as u16, hash: seen(w), step: w.step, over: true };
                self.give(want.clone());
                want
            }
            Order::Full(s) => Want::Full(s as u16, seen(&self.workloads[s])),
            Order::Abort(s) => Want::Abort(s as u16, seen(&self.workloads[s])),
            Order::UndoAll => Want::Undo(Scope::All),
            Order::UndoService(s) => Want::Undo(Scope::Downstream(s as u16)),
            Order::UndoOnly(s) => Want::Undo(Scope::Only(s as u16)),
            Order::UndoWave(w) => {
                let first = usize::from(self.scenario.migration);
                Want::Undo(Scope::Wave((w + first) as u16))
            }
            Order::Retry(s) => Want::Retry(s as u16),
            Order::Again => Want::Again,
            Order::Down => {
                if self.jobs.is_empty() {
                    return;
                }
                Want::Down(0)
            }
            Order::FlagBack => {
                if self.flags.is_empty() {
                    return;
                }
                Want::Flag(0, Setting::Percent(0))
            }
            Order::Stay => Want::Stay,
            Order::ResumeOutside(s) => Want::ResumeOutside(s as u16),
        };
        self.give(want);
    }

    fn give(&mut self, want: Want) {
        let id = self.next_intent;
        self.next_intent += 1;
        let wall = 1_759_320_000_000 + self.now as i64;
        let order = Signed {
            who: Text::scrub("ana"),
            when: Timestamp::from_millisecond(wall).unwrap(),
            why: Text::scrub("because"),
        };
        let intent = Intent { id, epoch: None, order, want };
        if self.is(|f| *f == Fault::Down) {
            // The cockpit cannot reach the server: durable in its own file, if it is a safe one.
            if hands::is_safe(&intent.want) {
                self.know(&intent);
            } else {
                return;
            }
        } else {
            self.durable(&intent);
        }
        if hands::is_safe(&intent.want) {
            let hands = hands::Hands::new(self.now);
            self.pending.push(Pending { intent, hands, state: None, since: self.now });
        }
    }

    /// Cockpits look after the safe orders that were given at them.
    fn cockpit(&mut self) {
        if !self.active.is_empty() {
            let server = self.is(|f| {
                matches!(
                    f,
                    Fault::Down
                        | Fault::Conflicts
                        | Fault::Forbidden(_)
                        | Fault::Denied(_)
                        | Fault::NoController
                        | Fault::StuckWeight(_)
                        | Fault::ImageGone(_)
                        | Fault::StatusWiped
                )
            });
            self.oracle.disturbed(self.now, server);
        }
        self.oracle.due(self.now, &self.workloads);
        let busy = !self.pending.is_empty();
        self.after(if busy { 1_000 } else { 4_000 }, Item::Cockpit);
        if !busy || self.is(|f| *f == Fault::Down) {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|p| self.now < p.since + 90_000);
        for one in &mut pending {
            // What could not be written is written now.
            if !self.intents.iter().any(|i| i.id == one.intent.id) && !self.is(|f| *f == Fault::SpecWiped) {
                self.intents.push(one.intent.clone());
                self.tell_all(Event::Ordered(one.intent.clone()));
            }
            let memory = match &self.status {
                Some((memory, _)) => memory.clone(),
                // No status: what was recorded lies beside the workloads.
                None if self.over_since.is_none() => Arc::new(State::new(self.plan.clone()).memory().clone()),
                None => continue,
            };
            if memory.ended.is_some() {
                continue;
            }
            let acked = memory.taken.contains(&one.intent.id);
            if !one.hands.due(self.now, acked, self.beat, false) {
                continue;
            }
            self.act(one, &memory);
        }
        self.pending = pending;
    }

    fn act(&mut self, one: &mut Pending, memory: &Memory) {
        let mut state = State::resume(self.plan.clone(), memory.clone());
        let at = At { mono: self.now, wall: Timestamp::from_millisecond(1_759_320_000_000 + self.now as i64).unwrap() };
        let mut effects = Vec::new();
        let mut inputs: Vec<Event> = Vec::new();
        for s in 0..self.workloads.len() {
            if self.workloads[s].exists {
                inputs.push(Event::Read(s as u16, self.eye(s)));
            }
        }
        for (f, (value, version)) in self.flags.iter().enumerate() {
            inputs.push(Event::FlagRead(f as u16, FlagReading { value: Setting::Percent(*value), version: *version }));
        }
        inputs.push(Event::Ordered(one.intent.clone()));
        for event in inputs {
            let input = Input { at, lease: None, event };
            let (next, more) = step(state, Role::Hands, &input);
            state = next;
            effects.extend(more);
        }
        if effects.iter().any(|e| matches!(e, Effect::Safe(..) | Effect::Flag(..))) {
            self.note(|| format!("HANDS act on {:x}", one.intent.id));
        }
        one.state = Some(state);
        for effect in effects {
            match effect {
                Effect::Safe(_, safe) => {
                    let write = self.write(
                        200,
                        usize::from(safe.service()),
                        safe.tests(),
                        safe.change(),
                        None,
                        Some(safe.intent()),
                    );
                    let lag = self.rng.within(5, 80);
                    self.after(lag, Item::Deliver(0, u32::MAX, 99, Call::Patch(write)));
                }
                Effect::Flag(_, change) => {
                    let Setting::Percent(to) = change.to else { continue };
                    let (flag, version, back) = (usize::from(change.flag), change.version, change.back);
                    let call = Call::Flag { flag, to, version, back, until: Ms::MAX };
                    self.after(20, Item::Deliver(0, u32::MAX, 99, call));
                }
                Effect::Alarm(s, _) => self.oracle.alarm(self.now, usize::from(s)),
                _ => {}
            }
        }
    }
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Safe(_, s) => s.change().says(),
        Effect::Forward(_, f) => f.change().says(),
        Effect::Record(..) => "record",
        Effect::Flag(..) => "flag",
        Effect::Job { .. } => "job",
        Effect::Order(_) => "order",
        Effect::Keep(_) => "keep",
        Effect::Status(_) => "status",
        Effect::Read(_) => "read",
        Effect::Measure(_) => "measure",
        Effect::Tell(_) => "tell",
        _ => "other",
    }
}
