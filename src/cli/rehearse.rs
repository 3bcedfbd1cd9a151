//! `footplate rehearse`: a train on the cluster that lives inside the program. On the screen with a scripted captain who
//! makes way for a person, headless with a journal and a score, or on loopback for other people's clients. The simulated
//! cluster is `rehearsal`'s; it is reached through the same adapter as a real one.

mod hands;
mod train;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use hands::{Seat, conduct};

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::repository;
use super::screen::{Opening, show};
use super::status::Format;
use super::{Global, RehearsalAt, Wiring};
use crate::core::snapshot::{EventView, Hand, Mode, Place as Where, Weight, WriteMode};
use crate::core::text::Text;
use crate::engine::run::{self, Handle, Opener, Place, Systems};
use crate::engine::scope::{History, Release, Scope};
use crate::ports::{Clock, Conditions, Fault, FaultKind, Fut, Journal, Repo, Sample};
use crate::rehearsal::clock::{RehearsalClock, SharedWorld, at_full_speed, drive, wednesday};
use crate::rehearsal::faults::Faults;
use crate::rehearsal::repo::Embedded;
use crate::rehearsal::scenario::{self, Killed, Scenario};
use crate::rehearsal::score::Score;
use crate::rehearsal::serve;
use crate::rehearsal::world::World;
use crate::text;

/// Virtual time after which a headless rehearsal is given up: a scripted captain must end every scenario long before.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(2 * 3600);
/// How long after the captain's last order the score is taken.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Arguments of `rehearse`.
#[derive(Args, Clone, Debug)]
pub struct RehearseArgs {
    /// Which scenario
    #[arg(value_name = "SCENARIO", default_value = "green")]
    pub scenario: String,
    /// List the scenarios, a line each, the name first
    #[arg(long)]
    pub list: bool,
    /// Same seed and keys, same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many times as fast as real time, or `max` [default: 1, headless max]
    #[arg(long, value_name = "X")]
    pub speed: Option<Speed>,
    /// No screen: the journal as JSON lines, then the score
    #[arg(long, conflicts_with = "serve")]
    pub headless: bool,
    /// Headless: nobody conducts, the scripted captain does everything with the keys of a person
    #[arg(long, conflicts_with = "conducted")]
    pub by_hand: bool,
    /// On the screen: a conductor runs the train as it would in production, and heeds what you order; then the score
    #[arg(long, conflicts_with_all = ["serve", "headless"])]
    pub conducted: bool,
    /// Serve the cluster on this loopback address, for other people's clients
    #[arg(long, value_name = "ADDR")]
    pub serve: Option<SocketAddr>,
    /// How a list is written
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// How fast time passes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Speed {
    /// As many times as fast as real time.
    Times(f64),
    /// As fast as it goes, without waiting for anything.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        if raw == "max" {
            return Ok(Self::Max);
        }
        match raw.trim_end_matches('x').parse::<f64>() {
            Ok(times) if times.is_finite() && (0.01..=1000.0).contains(&times) => Ok(Self::Times(times)),
            _ => Err("give a number from 0.01 to 1000, or max".to_owned()),
        }
    }
}

/// Runs it.
pub async fn run(args: &RehearseArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    if args.list {
        return list(args, console);
    }
    let scenario = Scenario::of(&args.scenario, args.seed).map_err(|unknown| {
        Failure::new(FailureKind::Input, text!("{unknown}"), "footplate rehearse --list names them")
    })?;
    match (args.serve, args.headless) {
        (Some(address), _) => serve_it(address, scenario, args, console).await,
        (None, true) => headless(scenario, args, global, wiring, console).await,
        (None, false) => on_screen(scenario, args, global, wiring).await,
    }
}

fn list(args: &RehearseArgs, console: &Console) -> Result<(), Failure> {
    let all = scenario::listed().map_err(damaged)?;
    if args.output == Format::Json {
        let rows: Vec<Value> = all
            .iter()
            .map(|s| serde_json::json!({"name": s.name, "description": s.description, "expect": s.expect}))
            .collect();
        return console.data(&format!("{}\n", Value::from(rows)));
    }
    let width = all.iter().map(|s| s.name.len()).max().unwrap_or(0);
    for s in all {
        console.data(&format!("{:<width$}  {}\n", s.name, s.description))?;
    }
    Ok(())
}

fn damaged(why: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Input, text!("the rehearsal cannot begin: {why}"), "")
}

fn faults_of(scenario: &Scenario, seed: u64) -> Faults {
    let faults = Faults::new(seed, wednesday());
    scenario.faults.iter().cloned().for_each(|rule| faults.add(rule));
    faults
}

async fn serve_it(
    address: SocketAddr,
    scenario: Scenario,
    args: &RehearseArgs,
    console: &Console,
) -> Result<(), Failure> {
    let outside = |error: std::io::Error| {
        Failure::new(FailureKind::Outside, text!("serve on {address}: {error}"), "name another port of 127.0.0.1")
    };
    let listener = serve::bind(address).await.map_err(outside)?;
    let address = listener.local_addr().map_err(outside)?;
    let kubeconfig = std::env::temp_dir().join(format!("footplate-rehearsal-{}.kubeconfig", address.port()));
    serve::write_kubeconfig(&kubeconfig, address, &scenario.base.namespace).map_err(outside)?;
    let (name, faults) = (scenario.name.clone(), faults_of(&scenario, args.seed));
    let world = World::open(scenario, args.seed, wednesday()).map_err(damaged)?;
    console.data(&serve::advice(address, &kubeconfig, &name))?;
    let speed = match args.speed {
        Some(Speed::Times(times)) => times,
        Some(Speed::Max) => 1000.0,
        None => 1.0,
    };
    let clock = RehearsalClock::new(wednesday(), speed);
    serve::run(listener, SharedWorld::new(world), clock, faults, interrupted()).await.map_err(outside)
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}

/// A rehearsal that runs: its world, its clock, an engine on it.
struct Stage {
    world: SharedWorld,
    clock: Arc<RehearsalClock>,
    place: Place,
    systems: Systems,
    engine: Handle,
    driver: tokio::task::JoinHandle<()>,
}

/// Who drives. Read-only nobody does but the person who looks: a script's orders would be refused one by one.
fn hand(args: &RehearseArgs, write: WriteMode) -> Hand {
    match write {
        WriteMode::ReadWrite if args.conducted => Hand::Conductor,
        WriteMode::ReadWrite => Hand::Script,
        WriteMode::ReadOnly | WriteMode::ReadOnlyByPattern => Hand::Person,
    }
}

/// Opens a rehearsal. Must be called inside the runtime that it is to run on.
fn open(
    scenario: Scenario,
    args: &RehearseArgs,
    speed: f64,
    write: WriteMode,
    connect: &RehearsalAt,
    journal: Arc<dyn Journal>,
    conditions: Arc<dyn Conditions>,
) -> Result<Stage, Failure> {
    let root = Embedded.open(None, None).map_err(|finding| damaged(finding.message))?;
    let repository = repository::read(&root, None, &Embedded)
        .map_err(|findings| damaged(text!("{} findings in its own files", findings.count().0)))?;
    let (name, faults) = (Text::scrub(&scenario.name), faults_of(&scenario, args.seed));
    let namespace = Text::scrub(&scenario.base.namespace);
    let world = World::open(scenario, args.seed, wednesday()).map_err(damaged)?;
    let (cluster, metrics) = connect(serve::router(&world, faults), &namespace, args.seed);
    let identity = cluster.identity();
    let scope = Scope {
        place: Where {
            environment: None,
            context: identity.context,
            namespace,
            server: identity.server,
            protected: false,
            write,
        },
        mode: Mode::Rehearsal { scenario: name, seed: args.seed, hand: hand(args, write) },
        cluster_uid: None,
        release: Some(Release { history: History(Some(Arc::new(Embedded))), ..Release::of(&repository) }),
    };
    let clock = Arc::new(RehearsalClock::new(wednesday(), speed));
    let world = SharedWorld::new(world);
    let driver = tokio::spawn(drive(world.clone(), *clock));
    let stays: Opener = Arc::new(|context: &Text| {
        Err(Fault {
            kind: FaultKind::NotFound,
            what: text!("use context {context}"),
            why: "a rehearsal has one cluster".into(),
            hint: "leave it, and open the cockpit on that context".into(),
        })
    });
    let place = Place { cluster, scope: Arc::new(scope), metrics: Ok(metrics) };
    let systems = Systems {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        journal,
        conditions,
        open: stays,
        take_over: None,
        depart: None,
    };
    let engine = run::start(place.clone(), systems.clone());
    Ok(Stage { world, clock, place, systems, engine, driver })
}

async fn on_screen(scenario: Scenario, args: &RehearseArgs, global: &Global, wiring: &Wiring) -> Result<(), Failure> {
    let speed = match args.speed {
        Some(Speed::Times(times)) => times,
        Some(Speed::Max) => return Err(damaged("a screen cannot follow --speed max; use --headless")),
        None => 1.0,
    };
    let write = if global.read_only { WriteMode::ReadOnly } else { WriteMode::ReadWrite };
    let journal: Arc<dyn Journal> = Arc::new(Nowhere);
    let conditions = Arc::clone(&wiring.conditions);
    let killed = scenario.killed;
    let stage = open(scenario, args, speed, write, &wiring.rehearsal, journal, conditions)?;
    let Stage { world, clock, place, systems, engine, driver } = stage;
    let opening =
        Opening { clock: Arc::clone(&clock) as Arc<dyn Clock>, who: "you".into(), contexts: Vec::new(), painted: None };
    let (handle, conducts) = match hand(args, write) {
        Hand::Conductor => conducted(engine, world, clock, place, systems, killed),
        hand => (hands::share(engine, world, clock, hand == Hand::Script), None),
    };
    // The rehearsal ends with the screen: nothing outside is left half done.
    let result = show(handle, opening, global).await;
    conducts.inspect(tokio::task::JoinHandle::abort);
    driver.abort();
    result.map(|_| ())
}

/// Has a conductor run the train behind the screen. How it ended, and the score, is the last event that is shown.
fn conducted(
    engine: Handle,
    world: SharedWorld,
    clock: Arc<RehearsalClock>,
    place: Place,
    systems: Systems,
    killed: Option<Killed>,
) -> (Handle, Option<tokio::task::JoinHandle<()>>) {
    let (seat_out, seat) = watch::channel(Seat { hand: Hand::Conductor, over: None });
    let (snapshots, _showing) = hands::show(engine.snapshots.clone(), seat);
    let task = tokio::spawn(async move {
        let run = async {
            let release = train::record(&place, &systems).await?;
            let conductors = train::conductors(killed, &place, &systems, &release);
            // Whom it waits for sits at the screen.
            train::follow(conductors, killed, &place, &systems, &world, &release, Duration::MAX).await
        };
        let (text, weight) = match run.await {
            Ok(Some((result, why))) => {
                clock.sleep(SETTLED_AFTER).await;
                let score = world.lock().score(result).map(|score| score.in_words()).unwrap_or_default();
                (text!("the rehearsal ended, {}: {why}; {score}", hands::in_words(result)), Weight::Act)
            }
            Ok(None) => ("nobody conducts the rehearsal any more".into(), Weight::Alarm),
            Err(failure) => (text!("the rehearsal cannot go on: {}", failure.what), Weight::Alarm),
        };
        let over = EventView { at: clock.now(), subject: Text::default(), text, weight };
        seat_out.send_replace(Seat { hand: Hand::Conductor, over: Some(over) });
        // What is shown from now on is still shown through the seat.
        seat_out.closed().await;
    });
    (Handle { snapshots, ..engine }, Some(task))
}

async fn headless(
    scenario: Scenario,
    args: &RehearseArgs,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> Result<(), Failure> {
    let write = if global.read_only { WriteMode::ReadOnly } else { WriteMode::ReadWrite };
    let (printed, mut broken) = Printed::on(*console);
    let journal: Arc<dyn Journal> = Arc::new(printed);
    let (args, connect) = (args.clone(), Arc::clone(&wiring.rehearsal));
    let speed = match args.speed {
        Some(Speed::Times(times)) => times,
        Some(Speed::Max) | None => 1.0,
    };
    let max = !matches!(args.speed, Some(Speed::Times(_)));
    let killed = scenario.killed;
    let inner = Arc::clone(&wiring.conditions);
    let conditions: Arc<dyn Conditions> = if max { Arc::new(AtOnce(inner)) } else { inner };
    let play = async move {
        let stage = open(scenario, &args, speed, write, &connect, journal, conditions)?;
        let Stage { world, clock, place, systems, engine, driver } = stage;
        let Handle { snapshots, intents, mut reports, ended } = engine;
        let drain = tokio::spawn(async move { while reports.recv().await.is_some() {} });
        let (_alone, seat) = watch::channel(Seat { hand: Hand::Script, over: None });
        let conducted = async {
            if args.by_hand {
                return Ok::<_, Failure>(conduct(snapshots, &intents, &world, &clock, seat).await);
            }
            let release = train::record(&place, &systems).await?;
            let conductors = train::conductors(killed, &place, &systems, &release);
            train::follow(conductors, killed, &place, &systems, &world, &release, train::PERSON_AFTER).await
        };
        let result = tokio::select! {
            biased;
            Some(failure) = broken.recv() => Err(failure),
            result = conducted => result,
            () = clock.sleep(GIVEN_UP_AFTER) => Ok(None),
        }?;
        // Traffic is counted by the second: the last change must have met some before it is judged.
        clock.sleep(SETTLED_AFTER).await;
        let score = match result {
            Some((result, why)) => Ok((world.lock().score(result), why)),
            None => Err(damaged("the captain came to no end")),
        };
        ended.abort();
        drain.abort();
        driver.abort();
        score
    };
    let (score, why) = if max {
        let joined = tokio::task::spawn_blocking(move || at_full_speed(play)).await;
        joined.map_err(damaged)?.map_err(damaged)??
    } else {
        play.await?
    };
    let score: Score = score.ok_or_else(|| damaged("nobody kept the score"))?;
    console.talk(&format!("{why}\n"));
    let last = serde_json::to_value(&score).map_err(damaged)?;
    console.data(&format!("{last}\n"))?;
    if score.passed() {
        return Ok(());
    }
    let what = text!("{} was expected to end {:?} and ended {:?}", score.scenario, score.expect, score.result);
    let what = if score.violations.is_empty() { what } else { text!("{what}; {}", score.violations.join("; ")) };
    Err(Failure::new(FailureKind::No, what, text!("footplate rehearse {} --seed {}", score.scenario, score.seed)))
}

/// The journal of a rehearsal on the screen: the screen shows what it is to show, and nothing outside happens that somebody
/// could look up later.
#[derive(Debug)]
struct Nowhere;

impl Journal for Nowhere {
    fn append(&self, _: Value) -> Fut<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The journal of a headless rehearsal: printed line by line as it happens, so that a long train takes no more memory than a
/// short one. Time stands still meanwhile on a clock that jumps: a slow reader changes nothing.
#[derive(Debug)]
struct Printed {
    console: Console,
    broken: mpsc::Sender<Failure>,
}

impl Printed {
    /// Prints on this console; the other end hears why it cannot any more.
    fn on(console: Console) -> (Self, mpsc::Receiver<Failure>) {
        let (broken, heard) = mpsc::channel(1);
        (Self { console, broken }, heard)
    }
}

impl Journal for Printed {
    fn append(&self, line: Value) -> Fut<'_, Result<(), Fault>> {
        if let Err(failure) = self.console.data(&format!("{line}\n")) {
            // The first one ends the rehearsal; the train is not to find out in the meantime.
            let _ = self.broken.try_send(failure);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Evaluates conditions while everything else stands still: on a clock that jumps an evaluation takes no time, and nothing
/// may happen before or after it according to how long it took.
struct AtOnce(Arc<dyn Conditions>);

impl Conditions for AtOnce {
    fn holds<'a>(&'a self, condition: &'a str, value: &'a Sample) -> Fut<'a, Result<bool, Text>> {
        let here = tokio::runtime::Handle::current();
        let answer = std::thread::scope(|scope| scope.spawn(|| here.block_on(self.0.holds(condition, value))).join());
        let answer = answer.unwrap_or_else(|_| Err("the condition was not evaluated: its thread broke off".into()));
        Box::pin(std::future::ready(answer))
    }
}
