//! One run: the cluster of a seed, conductors and a cockpit on their wires, the script played on virtual time. What is right is not
//! known here; what happened is given to the oracle.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use footplate::core::captain;
use footplate::core::confirm::{Answer, Confirm, Order as Given, Question};
use footplate::core::elector::Pace;
use footplate::core::intent::{Intent as Ordered, Target, Want as Verb};
use footplate::core::order::Reach;
use footplate::core::snapshot::{Mode, Place as Spot, WriteMode};
use footplate::core::text::Text;
use footplate::engine::conduct::{self, Handle as Conductor, Office, Say};
use footplate::engine::order::Intent as ToEngine;
use footplate::engine::run::{self, Handle, Place, Systems};
use footplate::engine::scope::Scope;
use footplate::ports::{Clock, Conditions, Fault, FaultKind, Fut, Journal, Post, Probe, Sample};
use footplate::rehearsal::clock::{RehearsalClock, SharedWorld, at_full_speed, drive, wednesday};
use footplate::rehearsal::{kinds, traffic};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::hands;
use super::scenario::{Act, Ms, Order, PINNED, Scenario, Service, Whose};
use super::stage::{self, NS};
use super::tap::{Tap, Who, Write, since};
use super::wire::Wire;

/// How many conductors there are at once.
pub const SEATS: usize = 2;

/// A train that neither ends nor waits for anybody for so long after all is quiet is stuck.
const STUCK: Ms = 30 * 60_000;

/// How long it must have waited for a person until that is its end.
const WAITED: Ms = 45_000;

/// What became of a train.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// `status.result`.
    Result(String),
    /// Somebody is waited for: what for.
    Person(Vec<String>),
    /// Neither.
    UnderWay,
}

/// What happened.
#[derive(Clone)]
pub struct Run {
    pub writes: Vec<Write>,
    pub requests: u64,
    /// The most that one client sent in a second, and what most of it was.
    pub most: (u64, String),
    pub faults: usize,
    pub lasted: Ms,
    pub end: End,
    /// The Release at the end.
    pub release: Value,
    pub uid: String,
    /// Workloads and flags before the train.
    pub initial: Vec<Value>,
    pub flags: Value,
    /// Services whose pinned version has traffic at the end, with its share.
    pub serving: Vec<f64>,
    /// What was said by whom, for whoever looks into a failing seed.
    pub talk: Vec<String>,
}

struct Nobody;

impl Post for Nobody {
    fn post<'a>(&'a self, _: &'a str, _: &'a Value) -> Fut<'a, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Probe for Nobody {
    fn get<'a>(&'a self, address: &'a str) -> Fut<'a, Result<u16, Fault>> {
        let fault = Fault {
            kind: FaultKind::Unreachable,
            what: footplate::text!("check {address}"),
            why: "nothing outside is reached".into(),
            hint: Text::default(),
        };
        Box::pin(std::future::ready(Err(fault)))
    }
}

impl Conditions for Nobody {
    fn holds<'a>(&'a self, _: &'a str, _: &'a Sample) -> Fut<'a, Result<bool, Text>> {
        Box::pin(std::future::ready(Err("not asked here".into())))
    }
}

impl Journal for Nobody {
    fn append(&self, _: Value) -> Fut<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The clocks of one process: its clock on the wall may be wrong.
struct OfSeat {
    inner: RehearsalClock,
    wrong: Arc<AtomicI64>,
}

impl Clock for OfSeat {
    fn now(&self) -> Timestamp {
        let wrong = SignedDuration::from_secs(self.wrong.load(Ordering::Relaxed));
        self.inner.now().saturating_add(wrong).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Fut<'_, ()> {
        self.inner.sleep(duration)
    }
}

struct Seat {
    wire: Wire,
    wrong: Arc<AtomicI64>,
    sits: Option<(String, Conductor)>,
}

struct Stage<'a> {
    scenario: &'a Scenario,
    world: SharedWorld,
    tap: Tap,
    clock: RehearsalClock,
    start: Timestamp,
    seats: Vec<Seat>,
    cockpit: Handle,
    cockpit_wire: Wire,
    place: Spot,
    release: String,
    uid: String,
    initial: Vec<Value>,
    flags: Value,
    sat_down: u64,
    ordered: u64,
    talk: Arc<Mutex<Vec<String>>>,
}

/// Plays a scenario.
pub fn run(scenario: &Scenario) -> Run {
    at_full_speed(async {
        let mut stage = Stage::new(scenario);
        stage.play().await;
        stage.over()
    })
    .unwrap()
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let start = wednesday();
        let world = stage::open(scenario, start);
        let clock = RehearsalClock::new(start, 1.0);
        let (release, uid) = stage::record(scenario, &mut world.store().lock());
        let (tap, initial, flags) = {
            let store = world.store().lock();
            let workload = |s: &Service| (**store.get(stage::stored(s.kind), NS, s.name).unwrap()).clone();
            let initial = scenario.services.iter().map(workload).collect();
            let flags = store.get(&kinds::FEATURE_FLAG, NS, "flags").map_or(Value::Null, |held| (**held).clone());
            (Tap::new(&store, start), initial, flags)
        };
        let wire = |whose| Wire::new(&world, scenario, whose, start);
        let seats =
            (0..SEATS).map(|n| Seat { wire: wire(Whose::Seat(n)), wrong: Arc::default(), sits: None }).collect();
        let cockpit_wire = wire(Whose::Cockpit);
        let place = Spot {
            environment: None,
            context: stage::CONTEXT.into(),
            namespace: NS.into(),
            server: "in process".into(),
            protected: false,
            write: WriteMode::ReadWrite,
        };
        let cockpit = cockpit(&cockpit_wire, &tap, &place, clock, scenario.seed);
        let world = SharedWorld::new(world);
        tokio::spawn(drive(world.clone(), clock));
        let mut stage = Self {
            scenario,
            world,
            tap,
            clock,
            start,
            seats,
            cockpit,
            cockpit_wire,
            place,
            release,
            uid,
            initial,
            flags,
            sat_down: 0,
            ordered: 0,
            talk: Arc::default(),
        };
        for seat in 0..SEATS {
            stage.sit(seat);
        }
        stage
    }

    fn now(&self) -> Ms {
        since(self.start, self.clock.now())
    }

    fn say(&self, who: &str, what: &str) {
        self.talk.lock().unwrap().push(format!("{:>7} {who}: {what}", self.now()));
    }

    /// A conductor sits down: a process of its own, with a name that nobody had before.
    fn sit(&mut self, seat: usize) {
        self.sat_down += 1;
        let name = format!("conductor-{}", self.sat_down);
        let at = &mut self.seats[seat];
        let who = Who::Conductor(name.clone());
        let (cluster, metrics) = at.wire.client(&self.tap, who, self.scenario.seed ^ self.sat_down << 8);
        let mut conductor = conduct::start(Office {
            cluster,
            namespace: NS.into(),
            me: Text::scrub(&name),
            write: WriteMode::ReadWrite,
            clock: Arc::new(OfSeat { inner: self.clock, wrong: Arc::clone(&at.wrong) }),
            journal: Arc::new(Nobody),
            metrics: Arc::new(move |_| Ok(Arc::clone(&metrics))),
            flag_file: None,
            post: Arc::new(Nobody),
            probe: Arc::new(Nobody),
            pace: Pace::default(),
            only: Some(Text::scrub(&self.uid)),
        });
        let (talk, clock, start, me) = (Arc::clone(&self.talk), self.clock, self.start, name.clone());
        let mut lines = std::mem::replace(&mut conductor.lines, tokio::sync::mpsc::unbounded_channel().1);
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                talk.lock().unwrap().push(format!("{:>7} {me}: {line}", since(start, clock.now())));
            }
        });
        at.sits = Some((name, conductor));
    }

    /// Plays the script, and lets what follows happen until the train has ended, or waits for somebody.
    async fn play(&mut self) {
        let mut script: VecDeque<(Ms, Act)> = self.scenario.script.iter().copied().collect();
        let mut back: Vec<(Ms, usize)> = Vec::new();
        let mut waits_since = None;
        let mut ended_since = None;
        loop {
            let now = self.now();
            while script.front().is_some_and(|(at, _)| *at <= now) {
                let (_, act) = script.pop_front().unwrap();
                self.say("script", &format!("{act:?}"));
                if let Act::Kill(seat, lasts) = act {
                    back.push((now + lasts, seat));
                }
                self.act(act).await;
            }
            for (_, seat) in back.extract_if(.., |(at, _)| *at <= now) {
                if self.seats[seat].sits.is_none() {
                    self.sit(seat);
                }
            }
            while let Ok(report) = self.cockpit.reports.try_recv() {
                let (word, says) = report.outcome.told();
                self.say("cockpit", &format!("order {}: {word}: {says}", report.id));
            }
            {
                let world = self.world.lock();
                self.tap.look(&world.store().lock(), &Who::Cluster, None);
            }
            let end = self.end();
            let stays = |since: &mut Option<Ms>, is: bool| {
                if is {
                    now - *since.get_or_insert(now)
                } else {
                    *since = None;
                    0
                }
            };
            // What is done after the end must be seen as well.
            if stays(&mut ended_since, matches!(end, End::Result(_))) >= 15_000 && script.is_empty() {
                return;
            }
            let page = if self.scenario.abandoned_is_undone { 300_000 } else { WAITED };
            let quiet = now >= self.scenario.quiet_from;
            if stays(&mut waits_since, quiet && matches!(end, End::Person(_))) >= page {
                return;
            }
            if now >= self.scenario.quiet_from + STUCK {
                return;
            }
            let next = script.front().map_or(now + 1_000, |(at, _)| (*at).max(now + 1));
            let next = back.iter().map(|(at, _)| (*at).max(now + 1)).fold(next, Ms::min).min(now + 1_000);
            tokio::time::sleep(Duration::from_millis(next - now)).await;
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Order(order) => self.order(order).await,
            Act::Hand(s, hand) => {
                let world = self.world.lock();
                let mut store = world.store().lock();
                self.tap.look(&store, &Who::Cluster, None);
                hands::touch(&mut store, &self.scenario.services[s], hand);
                self.tap.look(&store, &Who::Hand, None);
            }
            // The wires know these themselves.
            Act::Wire(..) | Act::NoMetrics(_) => {}
            Act::Cut(Whose::Seat(seat), how) => self.seats[seat].wire.cut(how),
            Act::Cut(Whose::Cockpit, how) => self.cockpit_wire.cut(how),
            Act::Kill(seat, _) => {
                if let Some((_, conductor)) = self.seats[seat].sits.take() {
                    conductor.ended.abort();
                    let _ = conductor.ended.await;
                }
            }
            Act::Take(seat) => {
                if let Some((_, conductor)) = &self.seats[seat].sits {
                    let _ = conductor.say.send(Say::Take).await;
                }
            }
            Act::Wall(seat, wrong) => self.seats[seat].wrong.store(wrong, Ordering::Relaxed),
            Act::StatusWiped | Act::LeaseDeleted => {
                let world = self.world.lock();
                let mut store = world.store().lock();
                self.tap.look(&store, &Who::Cluster, None);
                if act == Act::StatusWiped {
                    hands::wipe_status(&mut store, &self.release);
                } else {
                    hands::delete_lease(&mut store);
                }
                self.tap.look(&store, &Who::Hand, None);
            }
        }
    }

    /// A person's order, as the cockpit shows the train at this moment.
    async fn order(&mut self, order: Order) {
        let name = |s: usize| Text::from(self.scenario.services[s].name);
        let (verb, reach) = match order {
            Order::Hold => (Verb::Pause, Reach::All),
            Order::HoldOne(s) => (Verb::Pause, Reach::One(name(s))),
            Order::Resume => (Verb::Resume, Reach::All),
            Order::Approve(s) => (Verb::Promote, Reach::One(name(s))),
            Order::Abort(s) => (Verb::Abort, Reach::One(name(s))),
            Order::UndoAll => (Verb::Undo, Reach::All),
            Order::UndoOne(s) => (Verb::Undo, Reach::Downstream(name(s))),
            Order::UndoFrom(wave) => (Verb::Undo, Reach::Wave(u32::try_from(wave).unwrap())),
            Order::Retry(s) => (Verb::Retry, Reach::One(name(s))),
        };
        let shown = self.cockpit.snapshots.borrow().clone();
        let Some(train) = shown.active_train() else { return self.say("cockpit", "shows no train") };
        let ordering = match captain::order(train, &verb, &reach, &shown.services, &self.place) {
            Some(Ok(ordering)) => ordering,
            Some(Err(refusal)) => return self.say("cockpit", &format!("refused: {}", refusal.why)),
            None => return self.say("cockpit", "not the train's"),
        };
        let said = match &ordering.level {
            Confirm::None => Answer::Nothing,
            Confirm::Yes => Answer::Yes,
            Confirm::Type(word) => Answer::Typed(word.to_string()),
        };
        let now = self.clock.now();
        let question = Question { level: ordering.level, direction: ordering.direction, targets: ordering.targets };
        self.ordered += 1;
        let ordered = Ordered {
            id: self.ordered,
            want: verb,
            layers: vec![vec![Target { name: "train".into(), object: None, seen: None }]],
            train: Some(ordering.on),
            confirmed: question.answer(&said, now).expect("the right answer"),
            order: Given { who: "ana".into(), when: now, why: "a campaign".into() },
        };
        self.say("cockpit", &format!("order {}: {order:?}", self.ordered));
        self.cockpit.intents.send(ToEngine::Order(Box::new(ordered))).await.unwrap();
    }

    fn end(&self) -> End {
        let world = self.world.lock();
        let release = world.store().lock().get(&kinds::RELEASE, NS, &self.release);
        let Some(release) = release else { return End::UnderWay };
        if let Some(result) = release.pointer("/status/result").and_then(Value::as_str) {
            return End::Result(result.to_owned());
        }
        let needs = release.pointer("/status/needs").and_then(Value::as_array);
        let needs: Vec<String> =
            needs.into_iter().flatten().filter_map(|n| n["what"].as_str().map(str::to_owned)).collect();
        if needs.is_empty() { End::UnderWay } else { End::Person(needs) }
    }

    fn over(self) -> Run {
        let end = self.end();
        let lasted = self.now();
        let world = self.world.lock();
        let store = world.store().lock();
        let share = |name: &str| {
            let routes = traffic::routes(&store, NS, name);
            routes.iter().filter(|r| r.version == PINNED).map(|r| r.share).sum()
        };
        let wires = self.seats.iter().map(|seat| &seat.wire).chain([&self.cockpit_wire]);
        let release = store.get(&kinds::RELEASE, NS, &self.release).map_or(Value::Null, |held| (**held).clone());
        Run {
            writes: self.tap.writes(),
            requests: self.tap.requests(),
            most: self.tap.most(),
            faults: wires.map(|wire| wire.faults.injected().len()).sum(),
            lasted,
            end,
            release,
            uid: self.uid,
            initial: self.initial,
            flags: self.flags,
            serving: self.scenario.services.iter().map(|s| share(s.name)).collect(),
            talk: std::mem::take(&mut self.talk.lock().unwrap()),
        }
    }
}

/// The captain's cockpit: the engine without its screen.
fn cockpit(wire: &Wire, tap: &Tap, place: &Spot, clock: RehearsalClock, seed: u64) -> Handle {
    let (cluster, _) = wire.client(tap, Who::Cockpit, seed ^ 0xc0c);
    let scope = Scope { place: place.clone(), mode: Mode::Live, cluster_uid: None, release: None };
    let place = Place { cluster, scope: Arc::new(scope), metrics: Err("no metrics here".into()) };
    let again = place.clone();
    let systems = Systems {
        clock: Arc::new(clock),
        journal: Arc::new(Nobody),
        conditions: Arc::new(Nobody),
        open: Arc::new(move |_| Ok(again.clone())),
        take_over: None,
        depart: None,
    };
    run::start(place, systems)
}
