//! The loop itself: one task that owns the world, takes in what watches tell, keeps the link proved, has orders carried
//! out, asks after gates, and publishes a snapshot whenever something that is shown has changed. Orders run in tasks of
//! their own and end even when nobody looks any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::act::{Driver, Outcome};
use super::captain;
use super::carry::{Errand, Said};
use super::flags::{self, At, Flip, Shelf};
use super::freshness::Freshness;
use super::gates::{Answer, Board, Moment, Watched, Wish, ask};
use super::look::interest;
use super::order::{Departing, Intent, Ordered, Report};
use super::scope::{FlagHome, FlagStore, Scope};
use super::snapshot::{Beside, Maker, open_workloads};
use super::trains::Trains;
use super::world::{Key, World};
use crate::core::captain::in_words;
use crate::core::confirm::Refusal;
use crate::core::intent::OnTrain;
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::order::Want;
use crate::core::release::Release;
use crate::core::snapshot::{EventView, FlagView, Link, Mode, Snapshot, TrainShown, Trouble, Weight};
use crate::core::text::Text;
use crate::core::train::event::Want as TrainWant;
use crate::core::workload::{Phase, Workload};
use crate::ports::{Clock, Cluster, Conditions, Fault, FaultKind, Fut, Interest, Journal, Metrics, Seen};
use crate::text;

/// What is taken in before the next snapshot, so that a burst is one repaint.
const BURST: usize = 1024;
/// How often flags are read that no watch covers.
const FLAGS: Duration = Duration::from_secs(5);
/// How often what changes by time alone is looked at.
const PASSING: Duration = Duration::from_secs(15);
/// How long a gate query that is due waits before it is looked at again.
const WISH_WAIT: Duration = Duration::from_millis(10);
/// The loop looks around at least this often.
const LONGEST: Duration = Duration::from_secs(60);
/// A watch that breaks and is back sooner than this is no news.
const WORTH_TELLING: Duration = Duration::from_secs(2);
/// Until the first answer is there.
const CONNECTING_WAIT: Duration = Duration::from_secs(1);
/// Pod hashes that one watch can name: longer selectors do not fit into a URL.
const HASHES_MAX: usize = 150;

/// A place that is open: its cluster, what is looked after there, its metric store.
#[derive(Clone)]
pub struct Place {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// What is looked after.
    pub scope: Arc<Scope>,
    /// The metric store, or why there is none.
    pub metrics: Result<Arc<dyn Metrics>, Text>,
}

/// Opens the place of a context.
pub type Opener = Arc<dyn Fn(&Text) -> Result<Place, Fault> + Send + Sync>;

/// Has this process conduct the train of a Release, at a place: says so, or why not.
pub type TakeOver = Arc<dyn Fn(&Place, &Release) -> Result<Text, Refusal> + Send + Sync>;

/// Records a train at a place and, where nobody else does, has this process conduct it: says so, or why not.
pub type Depart = Arc<dyn Fn(Place, Departing) -> Fut<'static, Outcome> + Send + Sync>;

/// The systems that stay when the context changes.
#[derive(Clone)]
pub struct Systems {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Where orders are written down.
    pub journal: Arc<dyn Journal>,
    /// Evaluates analysis conditions.
    pub conditions: Arc<dyn Conditions>,
    /// Opens another context.
    pub open: Opener,
    /// Has this process conduct a train; none where it cannot.
    pub take_over: Option<TakeOver>,
    /// Records a train; none where it cannot.
    pub depart: Option<Depart>,
}

/// The ends that a screen holds.
pub struct Handle {
    /// What is shown, always the newest.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What people want. When all senders are gone the loop ends, after the orders under way.
    pub intents: mpsc::Sender<Intent>,
    /// How orders end.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// Ends with the loop.
    pub ended: JoinHandle<()>,
}

/// Starts the loop in a task. Must be called inside a tokio runtime.
pub fn start(place: Place, systems: Systems) -> Handle {
    start_when(place, systems, std::future::ready(()))
}

/// The same, with nothing asked of the cluster before something else has happened: a screen paints its first frame first.
pub fn start_when(place: Place, systems: Systems, when: impl Future<Output = ()> + Send + 'static) -> Handle {
    let (intents, inbox) = mpsc::channel(64);
    let (reports_out, reports) = mpsc::unbounded_channel();
    let mut room = Room::open(place, &systems);
    let (shown, snapshots) = watch::channel(room.first(&systems));
    let ended = tokio::spawn(async move {
        when.await;
        room.begin();
        run(room, systems, inbox, reports_out, shown).await;
    });
    Handle { snapshots, intents, reports, ended }
}

/// What tasks tell the loop.
enum Told {
    /// What an order is doing with a workload; empty when it no longer does anything.
    Doing(Key, Text),
    /// A target ended.
    Ended(Report),
    /// An order on a train is over.
    Ordered(OnTrain),
    /// Something worth telling of an order on a train.
    Says(Weight, Text),
    /// A read of our own came back: the object that was read, if it was one.
    Probed(Option<(Key, Option<Object>)>, Result<(), Fault>),
    /// The flags that no watch covers, read.
    Flags(Result<Vec<Shelf>, Fault>),
}

async fn run(
    mut room: Room,
    systems: Systems,
    mut inbox: mpsc::Receiver<Intent>,
    reports: mpsc::UnboundedSender<Report>,
    shown: watch::Sender<Arc<Snapshot>>,
) {
    let (told_out, mut told) = mpsc::unbounded_channel();
    let mut burst = Vec::with_capacity(BURST);
    let mut listening = true;
    let mut orders_open = 0_usize;
    loop {
        if !listening && orders_open == 0 {
            return;
        }
        let wait = room.wait(&systems);
        // Always in this order, so that a rehearsal is the same every time: people first, and nothing starves, since what
        // comes before the watches is few and all that follows from the time is looked after in each turn.
        tokio::select! {
            biased;
            intent = inbox.recv(), if listening => match intent {
                None => listening = false,
                Some(Intent::Order(ordered)) => {
                    orders_open += if ordered.train.is_some() { 1 } else { ordered.layers.iter().map(Vec::len).sum() };
                    room.order(*ordered, &systems, &told_out);
                }
                Some(Intent::Depart(train)) => {
                    orders_open += 1;
                    room.depart(*train, &systems, &told_out);
                }
                Some(Intent::Watch(open)) => room.open = open,
                Some(Intent::Reread) => room.reread(),
                // A rehearsal hears of it before it comes here; elsewhere there is no script.
                Some(Intent::Script { .. }) => {}
                // Only a replay can be gone about in.
                Some(Intent::Seek(_)) => {}
                Some(Intent::Switch(context)) => match (systems.open)(&context) {
                    Ok(place) => {
                        room = Room::open(place, &systems);
                        room.begin();
                    }
                    Err(fault) => room.note(&systems, Weight::Alarm, Text::default(), text!("{}: {}; {}", fault.what, fault.why, fault.hint)),
                },
            },
            Some(event) = told.recv() => match event {
                Told::Doing(key, what) => {
                    if what.is_empty() { room.doing.remove(&key); } else { room.doing.insert(key, what); }
                }
                Told::Ended(report) => {
                    orders_open = orders_open.saturating_sub(1);
                    room.ended(&report, &systems);
                    let _ = reports.send(report);
                }
                Told::Ordered(on) => room.ordering.retain(|(uid, wants)| (uid, wants) != (&on.uid, &on.wants)),
                Told::Says(weight, says) => room.note(&systems, weight, Text::default(), says),
                Told::Probed(object, result) => room.probed(object, result, &systems),
                Told::Flags(read) => room.flags_read(read, &systems),
            },
            Some(answer) = room.answers.recv() => {
                let now = moment(&systems);
                room.board.fold(now, answer);
            }
            n = room.seen.recv_many(&mut burst, BURST) => {
                if n > 0 {
                    room.take(burst.drain(..), &systems);
                }
            }
            () = systems.clock.sleep(wait) => {}
        }
        room.keep_up(&systems, &told_out);
        room.link_told(&systems);
        if let Some(snapshot) = room.snapshot(&systems) {
            shown.send_replace(snapshot);
        }
    }
}

fn moment(systems: &Systems) -> Moment {
    Moment { wall: systems.clock.now(), monotonic: systems.clock.monotonic() }
}

/// The time that the link is measured in: the machine's. How late an answer is, is a matter of the machine and of who looks at
/// it; a rehearsal whose own time runs ten times as fast would call old what is a second late.
fn machine(systems: &Systems) -> Duration {
    let (monotonic, pace) = (systems.clock.monotonic(), systems.clock.pace());
    if pace == 1.0 { monotonic } else { monotonic.div_f64(pace) }
}

/// What the maker of snapshots needs beside the world; a macro, so that the maker itself can be borrowed meanwhile.
macro_rules! beside {
    ($room:expr, $systems:expr, $link:expr, $train:expr) => {
        Beside {
            link: $link,
            read_at: $room.freshness.read_at(),
            doing: &$room.doing,
            gates: &$room.gates,
            flags: &$room.flags,
            open: &$room.open,
            train: $train,
            train_gaps: $room.trains.gaps(),
            history: $room.trains.history(),
            now: $systems.clock.now(),
        }
    };
}

/// One open place with all that is known of it.
struct Room {
    place: Place,
    world: World,
    maker: Maker,
    freshness: Freshness,
    board: Board,
    gates: Arc<[Arc<crate::core::snapshot::GateView>]>,
    flags: Arc<[FlagView]>,
    shelves: Shelves,
    trains: Trains,
    /// Orders on trains that are under way from here.
    ordering: Vec<(Text, Vec<TrainWant>)>,
    seen: mpsc::Receiver<Seen>,
    seen_out: mpsc::Sender<Seen>,
    watches: BTreeMap<&'static str, (Interest, JoinHandle<()>)>,
    wishes: Option<mpsc::Sender<Wish>>,
    answers: mpsc::Receiver<Answer>,
    doing: BTreeMap<Key, Text>,
    open: Vec<Text>,
    /// The workloads are there.
    seen_first: bool,
    /// What says what they do is there too.
    ready: bool,
    passing_at: Duration,
    probe_turn: usize,
    /// Since when what is shown is old, and whether that was told.
    old: Option<(Duration, bool)>,
}

/// How the flags were read last.
#[derive(Default)]
struct Shelves {
    /// The turn of the world that is shown.
    turn: Option<u64>,
    /// When they are read next, where no watch covers them.
    next: Duration,
    under_way: bool,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.watches.values().for_each(|(_, task)| task.abort());
    }
}

/// Watched from the first moment: what is there, and what it does. On a bad line nothing else comes before them.
const FIRST: [(&str, ObjectKind); 3] =
    [("rollouts", ObjectKind::Rollout), ("deployments", ObjectKind::Deployment), ("canaries", ObjectKind::Canary)];
/// Watched as soon as those are there: which versions there are, and what a gate says.
const SECOND: [(&str, ObjectKind); 2] =
    [("replicasets", ObjectKind::ReplicaSet), ("analysisruns", ObjectKind::AnalysisRun)];

impl Room {
    fn open(place: Place, systems: &Systems) -> Self {
        let scope = Arc::clone(&place.scope);
        let (seen_out, seen) = mpsc::channel(BURST);
        let (answers_out, answers) = mpsc::channel(64);
        let mut wishes = None;
        if let Ok(metrics) = &place.metrics {
            let (out, inbox) = mpsc::channel(64);
            wishes = Some(out);
            let (metrics, conditions) = (Arc::clone(metrics), Arc::clone(&systems.conditions));
            tokio::spawn(ask::answer_all(metrics, conditions, Arc::clone(&systems.clock), inbox, answers_out));
        }
        Self {
            world: World::new(Arc::clone(&scope)),
            maker: Maker::new(scope),
            freshness: Freshness::default(),
            board: Board::new(place.metrics.as_ref().err().cloned()),
            gates: Arc::new([]),
            flags: Arc::new([]),
            shelves: Shelves::default(),
            trains: Trains::default(),
            ordering: Vec::new(),
            seen,
            seen_out,
            watches: BTreeMap::new(),
            wishes,
            answers,
            doing: BTreeMap::new(),
            open: Vec::new(),
            seen_first: false,
            ready: false,
            passing_at: systems.clock.monotonic() + PASSING,
            probe_turn: 0,
            old: None,
            place,
        }
    }

    /// Begins to watch.
    fn begin(&mut self) {
        self.watch_kinds(&FIRST);
        for (name, interest) in Trains::interests(&self.place.scope) {
            self.watch(name, interest);
        }
    }

    fn watch_kinds(&mut self, kinds: &[(&'static str, ObjectKind)]) {
        for (name, kind) in kinds {
            let interest = interest(&self.place.scope, *kind);
            self.watch(name, interest);
        }
    }

    /// Watches under a name; an interest that changed replaces the watch before.
    fn watch(&mut self, name: &'static str, interest: Interest) {
        if self.watches.get(name).is_some_and(|(old, _)| *old == interest) {
            return;
        }
        let task = tokio::spawn(self.place.cluster.watch(interest.clone(), self.seen_out.clone()));
        if let Some((_, old)) = self.watches.insert(name, (interest, task)) {
            old.abort();
        }
    }

    fn unwatch(&mut self, name: &str) {
        if let Some((_, task)) = self.watches.remove(name) {
            task.abort();
        }
    }

    /// Begins every watch anew.
    fn reread(&mut self) {
        let all: Vec<(&'static str, Interest)> = self.watches.iter().map(|(n, (i, _))| (*n, i.clone())).collect();
        for (name, interest) in all {
            self.unwatch(name);
            self.watch(name, interest);
        }
        self.freshness.hurry();
    }

    fn take(&mut self, seen: impl Iterator<Item = Seen>, systems: &Systems) {
        let (machine, wall) = (machine(systems), systems.clock.now());
        for one in seen {
            match &one {
                Seen::Lost(_, fault) if !is_gap(fault) => self.freshness.doubt(machine),
                Seen::Lost(..) => {}
                _ => self.freshness.proved(machine, wall),
            }
            if !self.trains.fold(&one, &self.place.scope.place.context, moment(systems)) {
                self.world.fold(one);
            }
        }
        self.freshness.watches(lost(&self.world).is_some(), wall);
    }

    /// How the link is. What waits for an answer that never began says what it waits for.
    fn link(&self, systems: &Systems) -> Link {
        let link = match self.freshness.link(machine(systems), lost(&self.world)) {
            // Until all that a first look needs is there, what is shown is not whole.
            Link::Live if !self.ready => Link::Connecting,
            link => link,
        };
        let says = |fault: Fault| Trouble { what: fault.what, why: fault.why, hint: fault.hint };
        match &link {
            Link::Connecting => self.place.cluster.held_up().map_or(link, |fault| Link::Down(says(fault))),
            Link::Stale(trouble) if trouble.what.is_empty() => {
                self.place.cluster.held_up().map_or(link, |fault| Link::Stale(says(fault)))
            }
            _ => link,
        }
    }

    /// A link that is lost, and that it is back, are things that happened.
    fn link_told(&mut self, systems: &Systems) {
        let (elapsed, link) = (systems.clock.monotonic(), self.link(systems));
        match (link.trouble(), self.old) {
            (Some(_), None) => self.old = Some((elapsed, false)),
            (Some(trouble), Some((since, false))) if elapsed.saturating_sub(since) >= WORTH_TELLING => {
                self.old = Some((since, true));
                self.note(systems, Weight::Warn, Text::default(), text!("what is shown is old: {trouble}"));
            }
            (None, Some((since, told))) if link == Link::Live => {
                self.old = None;
                if told {
                    let seconds = elapsed.saturating_sub(since).as_secs();
                    self.note(systems, Weight::Act, Text::default(), text!("live again after {seconds} s"));
                }
            }
            _ => {}
        }
    }

    /// Everything that follows from what was taken in and from the time.
    fn keep_up(&mut self, systems: &Systems, told: &mpsc::UnboundedSender<Told>) {
        let now = moment(systems);
        let monotonic = now.monotonic;
        if monotonic >= self.passing_at {
            self.passing_at = monotonic + PASSING;
            self.world.passing_time();
        }
        if !self.seen_first && self.world.has_workloads() {
            self.seen_first = true;
            self.watch_kinds(&SECOND);
        }
        if !self.ready && self.world.is_ready() {
            self.ready = true;
            self.watch_the_rest();
        }
        if self.seen_first {
            self.world.refresh(now.wall);
        }
        if self.ready {
            self.watch_pods();
            self.look_at_gates(now);
            self.look_at_flags(monotonic, told);
        }
        if let Some(kind) = self
            .freshness
            .silent_watch(machine(systems), |kind, name| self.world.version(kind, name).map(str::to_owned))
        {
            self.begin_anew(kind, systems);
        }
        if self.freshness.begin_probe(machine(systems)) {
            self.probe(told);
        }
    }

    fn watch_the_rest(&mut self) {
        let scope = Arc::clone(&self.place.scope);
        for (name, kind) in
            [("analysistemplates", ObjectKind::AnalysisTemplate), ("featureflags", ObjectKind::FeatureFlag)]
        {
            self.watch(name, interest(&scope, kind));
        }
        let records = Interest { labels: super::world::RECORD_OF.into(), ..interest(&scope, ObjectKind::ConfigMap) };
        self.watch("records", records);
        // Events of pods and replica sets are most of a namespace's events and say little that the tree does not show.
        let fields = "involvedObject.kind!=Pod,involvedObject.kind!=ReplicaSet";
        self.watch("events", Interest { fields: fields.into(), ..interest(&scope, ObjectKind::Event) });
    }

    /// Pods only of services that are open, and of revisions in flight.
    fn watch_pods(&mut self) {
        let mut rollouts = BTreeSet::new();
        let mut others = BTreeSet::new();
        let mut want = |workload: &Workload, hash: &Text| {
            if !hash.is_empty() {
                let set = if workload.id.kind == ObjectKind::Rollout { &mut rollouts } else { &mut others };
                set.insert(hash.clone());
            }
        };
        for workload in open_workloads(&self.place.scope, &self.world, &self.open) {
            workload.sets.iter().filter(|s| s.desired > 0 || s.ready > 0).for_each(|s| want(workload, &s.hash));
        }
        for workload in self.world.found().filter(|w| matches!(w.phase, Phase::Progressing | Phase::Degraded)) {
            want(workload, &workload.hash);
        }
        for (name, label, hashes) in
            [("pods", "rollouts-pod-template-hash", rollouts), ("plain pods", "pod-template-hash", others)]
        {
            if hashes.is_empty() {
                if self.watches.contains_key(name) {
                    self.unwatch(name);
                }
                continue;
            }
            let list: Vec<&str> = hashes.iter().take(HASHES_MAX).map(Text::as_str).collect();
            let labels = text!("{label} in ({})", list.join(","));
            self.watch(name, Interest { labels, ..interest(&self.place.scope, ObjectKind::Pod) });
        }
        let wanted: Vec<Text> = self
            .watches
            .iter()
            .filter(|(name, _)| name.ends_with("pods"))
            .flat_map(|(_, (interest, _))| {
                let list = interest.labels.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
                list.split(',').map(Text::scrub).collect::<Vec<_>>()
            })
            .collect();
        self.world.keep_pods(|pod| wanted.contains(&pod.hash));
    }

    fn look_at_gates(&mut self, now: Moment) {
        let world = &self.world;
        let scope = &self.place.scope;
        let named = |workload: &Workload| {
            scope
                .stop_of(workload.id.kind, &workload.id.name)
                .map_or_else(|| workload.id.name.clone(), |s| s.name.clone())
        };
        let mut looked = Vec::new();
        let selected: Vec<&Arc<Workload>> = open_workloads(scope, world, &self.open).collect();
        for workload in world.found().filter(|w| w.id.kind == ObjectKind::Rollout) {
            let is_open = selected.iter().any(|s| s.id == workload.id);
            if !is_open && (workload.phase == Phase::Healthy || !in_release(scope, workload)) {
                continue;
            }
            let Some(rollout) = world.object(ObjectKind::Rollout, &workload.id.name) else { continue };
            looked.push((&**workload, is_open, rollout, world.owned(&workload.uid, ObjectKind::AnalysisRun)));
        }
        let watched: Vec<Watched<'_>> = looked
            .iter()
            .map(|(workload, is_open, rollout, runs)| Watched {
                service: named(workload),
                rollout,
                runs: runs.iter().map(Arc::as_ref).collect(),
                deciding: &workload.runs,
                selected: *is_open,
            })
            .collect();
        let template = |_: &Text, name: &str| world.template(name);
        self.board.look(now, &watched, &template);
        if let Some(out) = &self.wishes {
            for wish in self.board.due(now) {
                // A full queue means that the store is slow; the board gives the wish up and makes it again.
                let _ = out.try_send(wish);
            }
        }
        self.gates = self.board.views(now);
    }

    /// Where flags live; without a release, in whatever FeatureFlag objects there are.
    fn flag_home(&self) -> FlagHome {
        self.place.scope.release.as_ref().map(|release| release.flag_home.clone()).unwrap_or_default()
    }

    /// Flag objects are watched; a ConfigMap or a file is read now and then.
    fn look_at_flags(&mut self, monotonic: Duration, told: &mpsc::UnboundedSender<Told>) {
        let home = self.flag_home();
        let named = match &home.store {
            FlagStore::Objects => None,
            FlagStore::Object(name) => Some(name.clone()),
            FlagStore::ConfigMap(..) | FlagStore::File(_) => {
                if !self.shelves.under_way && monotonic >= self.shelves.next {
                    self.shelves.under_way = true;
                    let (cluster, scope, told) =
                        (Arc::clone(&self.place.cluster), Arc::clone(&self.place.scope), told.clone());
                    tokio::spawn(async move {
                        let read = flags::read(&*cluster, &scope.place, &home.store).await;
                        let _ = told.send(Told::Flags(read));
                    });
                }
                return;
            }
        };
        if self.shelves.turn == Some(self.world.turns.flags) {
            return;
        }
        self.shelves.turn = Some(self.world.turns.flags);
        let context = &self.place.scope.place.context;
        let objects = self.world.all_of(ObjectKind::FeatureFlag);
        let ours = objects.filter(|(name, _)| named.as_ref().is_none_or(|only| *name == only));
        let shelves: Vec<Shelf> = ours.map(|(_, object)| Shelf::of_object(context, &object)).collect();
        self.show_flags(&shelves);
    }

    fn flags_read(&mut self, read: Result<Vec<Shelf>, Fault>, systems: &Systems) {
        self.shelves.under_way = false;
        self.shelves.next = systems.clock.monotonic() + FLAGS;
        let shelves = read.unwrap_or_else(|fault| {
            let source = self.flag_home().store.place(&self.place.scope.place.namespace);
            vec![Shelf { id: None, source, owner: None, definition: Err(text!("{fault}")) }]
        });
        self.show_flags(&shelves);
    }

    fn show_flags(&mut self, shelves: &[Shelf]) {
        let views = flags::views(shelves, self.place.scope.release.as_ref());
        if *self.flags != *views {
            self.flags = views.into();
        }
    }

    /// A read of our own: one workload after another, so that each watch is held to what is there.
    fn probe(&mut self, told: &mpsc::UnboundedSender<Told>) {
        let keys: Vec<Key> = self.world.found().map(|w| (w.id.kind, w.id.name.clone())).collect();
        self.probe_turn = self.probe_turn.wrapping_add(1);
        let chosen = (!keys.is_empty()).then(|| keys[self.probe_turn % keys.len()].clone());
        let cluster = Arc::clone(&self.place.cluster);
        let place = &self.place.scope.place;
        let (context, namespace) = (place.context.clone(), place.namespace.clone());
        let told = told.clone();
        tokio::spawn(async move {
            let event = match chosen {
                Some((kind, name)) => {
                    let object = ObjectRef { cluster: context, kind, namespace, name: name.clone() };
                    match cluster.read(&object).await {
                        Ok(found) => Told::Probed(Some(((kind, name), found)), Ok(())),
                        Err(fault) => Told::Probed(None, Err(fault)),
                    }
                }
                None => Told::Probed(None, cluster.about().await.map(|_| ())),
            };
            let _ = told.send(event);
        });
    }

    fn probed(&mut self, object: Option<(Key, Option<Object>)>, result: Result<(), Fault>, systems: &Systems) {
        let machine = machine(systems);
        self.freshness.probed(machine, systems.clock.now(), result);
        let Some(((kind, name), found)) = object else { return };
        let Some(held) = self.world.version(kind, &name) else { return };
        if found.is_none_or(|found| found.version() != held) {
            let version = held.to_owned();
            self.freshness.suspect(kind, name, &version, machine);
        }
    }

    /// Begins a watch anew that has gone silent.
    fn begin_anew(&mut self, kind: ObjectKind, systems: &Systems) {
        let found = self.watches.iter().find(|(_, (interest, _))| interest.kind == kind);
        let Some((name, interest)) = found.map(|(name, (interest, _))| (*name, interest.clone())) else { return };
        self.unwatch(name);
        self.watch(name, interest);
        self.note(
            systems,
            Weight::Warn,
            Text::default(),
            text!("the watch of {name} had gone silent; it is begun anew"),
        );
    }

    /// Has an order carried out by a task of its own.
    fn order(&mut self, ordered: Ordered, systems: &Systems, told: &mpsc::UnboundedSender<Told>) {
        let driver = Driver {
            cluster: Arc::clone(&self.place.cluster),
            clock: Arc::clone(&systems.clock),
            journal: Arc::clone(&systems.journal),
            write: self.place.scope.place.write,
            cluster_uid: self.place.scope.cluster_uid.clone(),
        };
        if let Some(on) = &ordered.train {
            self.order_on_train(&ordered, on, driver, systems, told);
            return;
        }
        let order = &ordered.order;
        let all: Vec<&str> = ordered.layers.iter().flatten().map(|t| t.name.as_str()).collect();
        let why = if order.why.is_empty() { Text::default() } else { text!(" ({})", order.why) };
        let says = text!("{} orders {} {}{why}", order.who, ordered.want.name(), all.join(", "));
        self.note(systems, Weight::Act, Text::default(), says);
        if let Want::Flag { key, setting, .. } = &ordered.want {
            self.shelves.next = Duration::ZERO;
            let home = self.flag_home();
            let (id, mut left) = (ordered.id, all.len());
            for target in ordered.layers.iter().flatten() {
                left -= 1;
                let flip = At::of(target.object.as_ref(), &home).map(|at| Flip {
                    key: key.clone(),
                    setting: *setting,
                    at,
                    safe: home.safe.get(key).copied(),
                    confirmed: ordered.confirmed.clone(),
                    order: order.clone(),
                });
                let (driver, told, name, last) = (driver.clone(), told.clone(), target.name.clone(), left == 0);
                tokio::spawn(async move {
                    let outcome = match flip {
                        Some(flip) => flags::flip(&driver, &flip).await,
                        None => Outcome::Refused(Refusal {
                            why: text!("nobody knows where flag {name} lives"),
                            hint: "name its provider in flags of footplate.yaml".into(),
                            already: false,
                        }),
                    };
                    let _ = told.send(Told::Ended(Report { id, name, outcome, last }));
                });
            }
            return;
        }
        let errand = Errand::of(&ordered, &self.place.scope, &self.world);
        let told = told.clone();
        let (id, mut left) = (ordered.id, all.len());
        let (said_out, mut said) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let tell = |said| drop(said_out.send(said));
            errand.carry_out(&driver, &tell).await;
        });
        tokio::spawn(async move {
            while let Some(said) = said.recv().await {
                let event = match said {
                    Said::Doing(key, what) => Told::Doing(key, what),
                    Said::Ended(name, outcome) => {
                        left = left.saturating_sub(1);
                        Told::Ended(Report { id, name, outcome, last: left == 0 })
                    }
                };
                let _ = told.send(event);
            }
        });
    }

    /// Has a train recorded. What it is made of is read anew, so this takes as long as that does.
    fn depart(&mut self, train: Departing, systems: &Systems, told: &mpsc::UnboundedSender<Told>) {
        self.note(systems, Weight::Act, Text::default(), text!("{} orders: start the train", train.order.who));
        let (id, told) = (train.id, told.clone());
        let end = move |outcome| drop(told.send(Told::Ended(Report { id, name: "train".into(), outcome, last: true })));
        match &systems.depart {
            Some(depart) => {
                let departing = depart(self.place.clone(), train);
                tokio::spawn(async move { end(departing.await) });
            }
            None => end(Outcome::Refused(Refusal {
                why: "this process records no trains".into(),
                hint: "footplate start --env E records one".into(),
                already: false,
            })),
        }
    }

    /// An order on a train: written into its Release, watched, and carried out from here only where nobody else does.
    fn order_on_train(
        &mut self,
        ordered: &Ordered,
        on: &OnTrain,
        driver: Driver,
        systems: &Systems,
        told: &mpsc::UnboundedSender<Told>,
    ) {
        let (id, who) = (ordered.id, &ordered.order.who);
        let refuse = |why: Text, hint: &str, already| Refusal { why, hint: hint.into(), already };
        let end = |name: Text, outcome| drop(told.send(Told::Ended(Report { id, name, outcome, last: true })));
        let Some(release) = self.trains.release_of(&on.uid).cloned() else {
            let refusal = refuse("its Release is not there any more".into(), "look again", false);
            return end("train".into(), Outcome::Refused(refusal));
        };
        let plan = &release.frozen.resolved;
        let name = text!("train {}", plan.id);
        if ordered.want == Want::TakeOver {
            self.note(systems, Weight::Act, Text::default(), text!("{who} takes {name} over"));
            let outcome = match &systems.take_over {
                Some(take_over) => take_over(&self.place, &release).map_or_else(Outcome::Refused, Outcome::Done),
                None => {
                    let why = "this process cannot conduct".into();
                    Outcome::Refused(refuse(why, "footplate take-over conducts it from a shell", false))
                }
            };
            return end(name, outcome);
        }
        // What is on its way from here is not ordered once more, whatever the watches have brought so far.
        let doubled = |wants: &Vec<TrainWant>| wants.iter().any(|want| on.wants.contains(want));
        if self.ordering.iter().any(|(uid, wants)| *uid == on.uid && doubled(wants)) {
            let refusal = refuse(text!("{} is ordered already", ordered.want.name()), "it is on its way", true);
            return end(name, Outcome::Refused(refusal));
        }
        self.ordering.push((on.uid.clone(), on.wants.clone()));
        let says: Vec<Text> = on.wants.iter().map(|want| in_words(plan, want)).collect();
        let says: Vec<&str> = says.iter().map(Text::as_str).collect();
        let why = if ordered.order.why.is_empty() { Text::default() } else { text!(" ({})", ordered.order.why) };
        self.note(systems, Weight::Act, Text::default(), text!("{who} orders: {}{why}", says.join(", ")));
        let errand = captain::Errand {
            release,
            wants: on.wants.clone(),
            confirmed: ordered.confirmed.clone(),
            order: ordered.order.clone(),
            patient: true,
        };
        let (told, on) = (told.clone(), on.clone());
        tokio::spawn(async move {
            let tell = |weight, says| drop(told.send(Told::Says(weight, says)));
            let outcome = captain::order(&driver, errand, &tell).await;
            let _ = told.send(Told::Ordered(on));
            let _ = told.send(Told::Ended(Report { id, name, outcome, last: true }));
        });
    }

    fn ended(&mut self, report: &Report, systems: &Systems) {
        self.shelves.next = Duration::ZERO;
        let (weight, says) = match &report.outcome {
            Outcome::Done(says) => (Weight::Act, says.clone()),
            Outcome::Refused(refusal) => (Weight::Warn, text!("refused: {}; {}", refusal.why, refusal.hint)),
            Outcome::Failed(fault) => (Weight::Alarm, text!("failed: {}: {}; {}", fault.what, fault.why, fault.hint)),
            Outcome::Unknown(says) => (Weight::Alarm, text!("unknown: {says}")),
            Outcome::Reverted(refusal) => (Weight::Alarm, text!("reverted: {}; {}", refusal.why, refusal.hint)),
        };
        self.note(systems, weight, report.name.clone(), says);
    }

    fn note(&mut self, systems: &Systems, weight: Weight, subject: Text, text: Text) {
        self.world.note(EventView { at: systems.clock.now(), subject, text, weight });
    }

    fn first(&mut self, systems: &Systems) -> Arc<Snapshot> {
        let (link, train) = (self.link(systems), self.train(systems));
        self.maker.first(&self.world, &beside!(self, systems, link, train))
    }

    fn snapshot(&mut self, systems: &Systems) -> Option<Arc<Snapshot>> {
        let (link, train) = (self.link(systems), self.train(systems));
        self.maker.make(&self.world, &beside!(self, systems, link, train))
    }

    /// The train that is shown.
    fn train(&mut self, systems: &Systems) -> Option<Arc<TrainShown>> {
        let release = self.place.scope.release.as_ref().map(|r| &r.name);
        self.trains.show(release, moment(systems))
    }

    /// How long nothing has to be done, unless something happens.
    fn wait(&self, systems: &Systems) -> Duration {
        let monotonic = systems.clock.monotonic();
        let polled = matches!(self.flag_home().store, FlagStore::ConfigMap(..) | FlagStore::File(_));
        let flags = if polled && self.ready && !self.shelves.under_way { self.shelves.next } else { Duration::MAX };
        let link = self.freshness.next(machine(systems)).saturating_sub(machine(systems));
        let pace = systems.clock.pace();
        let link =
            if pace == 1.0 { link } else { Duration::try_from_secs_f64(link.as_secs_f64() * pace).unwrap_or(LONGEST) };
        let link = link.min(self.passing_at.min(flags).min(self.trains.next(monotonic)).saturating_sub(monotonic));
        // A wish that is due but may not leave yet must not spin the loop.
        let board = self.board.next().map_or(Duration::MAX, |at| at.saturating_sub(monotonic).max(WISH_WAIT));
        // What holds the first answer up is told while it does.
        let live = matches!(self.place.scope.mode, Mode::Live);
        let longest = if live && self.freshness.read_at().is_none() { CONNECTING_WAIT } else { LONGEST };
        link.min(board).min(longest)
    }
}

/// Why a watch that matters is down. A right or a kind that was never there is a gap and told elsewhere; one that went away
/// leaves what was seen before it, and that is old.
fn lost(world: &World) -> Option<&Fault> {
    let kinds = [ObjectKind::Rollout, ObjectKind::ReplicaSet, ObjectKind::Deployment, ObjectKind::Canary];
    let lost = |kind: &ObjectKind| world.lost(*kind).filter(|fault| !is_gap(fault) || world.how(*kind).listed);
    kinds.iter().find_map(lost)
}

/// A fault that a person must repair, and that says nothing of the link.
fn is_gap(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Forbidden | FaultKind::NoSuchKind)
}

fn in_release(scope: &Scope, workload: &Workload) -> bool {
    scope.release.is_none() || scope.stop_of(workload.id.kind, &workload.id.name).is_some()
}
