//! Conducting: the loop that owns a train. It holds the Lease, reads what the train is about, feeds the pure train with it, carries
//! out what that wants, and writes down what it remembers. What a train does is decided in `core::train`; the parts here each
//! do one thing: the seat, the eyes, the hands, the scribe, the judges, the checks of the pre-flight.
//!
//! Level beats edge: everything is read again now and then, whatever the watches said. Each write goes out once; its outcome is
//! read, never assumed.

pub mod checks;
mod hands;
pub mod judging;
mod scribe;
mod seat;
mod tell;
mod train;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use self::scribe::Batch;
use self::seat::Seat;
use self::train::Train;
use super::eyes::Sighted;
use super::facts::cluster_uid;
use crate::core::confirm::Refusal;
use crate::core::effect::Effect;
use crate::core::elector::{Epoch, Event as Election, Pace};
use crate::core::frozen::patch::Ordered;
use crate::core::guard::{Cleared, Clerical, TrainStanding, clear_clerical, clear_for_train};
use crate::core::lease;
use crate::core::object::{Object, ObjectKind};
use crate::core::release::Release;
use crate::core::snapshot::WriteMode;
use crate::core::text::Text;
use crate::core::train::Phase;
use crate::core::train::event::{Answer, Event, Intent};
use crate::core::train::resolved::ServiceId;
use crate::core::train::state::Ended;
use crate::ports::{Clock, Cluster, Fault, FlagFile, Interest, Journal, Metrics, Post, Probe, Seen};
use crate::text;

/// The loop looks around at least this often; the train hears of time passing as often.
const TICK: Duration = Duration::from_secs(1);

/// After this long a Release that is to be taken up and did not come is read again.
const CONFIRM: Duration = Duration::from_secs(2);

/// A pause of the process that is longer than this makes everything that was read doubtful.
const GAP: Duration = Duration::from_secs(6);

/// Opens the metric store at an address.
pub type MetricsAt = Arc<dyn Fn(&str) -> Result<Arc<dyn Metrics>, Text> + Send + Sync>;

/// Opens a flag file that lies on this machine.
pub type FileAt = Arc<dyn Fn(&str) -> Arc<dyn FlagFile> + Send + Sync>;

/// What a conductor needs.
#[derive(Clone)]
pub struct Office {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The namespace of the environment.
    pub namespace: Text,
    /// Who this is; differs between processes.
    pub me: Text,
    /// Whether anything may be changed.
    pub write: WriteMode,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The local journal.
    pub journal: Arc<dyn Journal>,
    /// Opens the metric store that a plan names.
    pub metrics: MetricsAt,
    /// Opens the flag file that a plan names, where this process runs beside it.
    pub flag_file: Option<FileAt>,
    /// Delivers events.
    pub post: Arc<dyn Post>,
    /// Makes synthetic checks.
    pub probe: Arc<dyn Probe>,
    /// Times of the election.
    pub pace: Pace,
    /// Conduct this train alone (its uid); none for whatever is active.
    pub only: Option<Text>,
}

/// What is seen of a conductor from outside.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct View {
    /// True while it holds the Lease.
    pub conducts: bool,
    /// Who holds it, as far as was seen.
    pub holder: Option<Text>,
    /// Why it cannot be held, or what else stands in the way; empty when nothing does.
    pub trouble: Text,
    /// The train: name of its Release, uid, phase, how it ended, and what it waits for.
    pub train: Option<TrainView>,
    /// True when there is nothing to conduct.
    pub idle: bool,
}

/// A train, in a few words.
#[derive(Clone, PartialEq, Debug)]
pub struct TrainView {
    /// Name of its Release.
    pub name: Text,
    /// uid of its Release.
    pub uid: Text,
    /// The four letters.
    pub id: Text,
    /// Where it stands.
    pub phase: Phase,
    /// The wave, and how many there are.
    pub wave: (u16, u16),
    /// How it ended, once that is written down.
    pub ended: Option<Ended>,
    /// What it waits for.
    pub waits: Text,
    /// What persons are waited for.
    pub people: Vec<Text>,
    /// True while something that is taken back may still have traffic on its new version.
    pub bad_traffic: bool,
    /// What the pre-flight has against it, a line each.
    pub against: Vec<Text>,
}

impl TrainView {
    /// True when nothing goes on until a person decides, and no version that was found bad has traffic.
    pub fn waits_for_person(&self) -> bool {
        self.phase == Phase::NeedsPerson && !self.bad_traffic
    }
}

/// What is said to a conductor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Say {
    /// Give the Lease back and end.
    Leave,
    /// Claim the Lease although another holds it.
    Take,
}

/// The ends that the one who started it holds.
pub struct Handle {
    /// What is seen of it.
    pub views: watch::Receiver<View>,
    /// What happens, in lines.
    pub lines: mpsc::UnboundedReceiver<Text>,
    /// What is said to it. When all senders are gone it leaves.
    pub say: mpsc::Sender<Say>,
    /// Ends with it.
    pub ended: JoinHandle<()>,
}

/// Starts a conductor in a task. Must be called inside a tokio runtime.
pub fn start(office: Office) -> Handle {
    let (shown, views) = watch::channel(View::default());
    let (lines_out, lines) = mpsc::unbounded_channel();
    let (say, inbox) = mpsc::channel(8);
    let ended = tokio::spawn(Loop::new(office, lines_out).run(inbox, shown));
    Handle { views, lines, say, ended }
}

/// What tasks tell the loop. The number says to which life of a train it belongs.
pub(crate) enum Told {
    Lease(Election, Text),
    /// A Release, read past all watches; with an epoch where it was read to take it up.
    Release(Option<u64>, Text, Result<Option<Object>, Fault>),
    Uid(Result<Option<Text>, Fault>),
    Read(u32, ServiceId, Result<Option<Box<Sighted>>, Fault>),
    Event(u32, Event),
    Failed(u32, Text),
    Answered(u32, u64, Answer),
    Ordered(u32, Intent, bool),
    Status(u32, Result<String, Fault>, u64),
    Kept(u32, Batch, bool),
    Checked(u32, checks::Findings),
}

struct Loop {
    office: Office,
    seat: Seat,
    releases: BTreeMap<Text, Release>,
    /// Names of Releases that cannot be taken up, with why, as told.
    unfit: BTreeMap<Text, Text>,
    listed: bool,
    /// The train that was read since this epoch began, and may be taken up as it was read.
    confirmed: Option<(u64, Text)>,
    /// Since when it is being read; none while it is not. After a failure it is read again a moment later.
    confirms: Option<Duration>,
    train: Option<Train>,
    life: u32,
    told: mpsc::UnboundedSender<Told>,
    inbox: mpsc::UnboundedReceiver<Told>,
    seen: mpsc::Receiver<Seen>,
    seen_out: mpsc::Sender<Seen>,
    watches: BTreeMap<ObjectKind, JoinHandle<()>>,
    /// Letters on their way. They outlive their train: an address that is down does not hold up the next one.
    mail: JoinSet<()>,
    /// Who was told to hold the Lease while this process waits for it.
    told_holder: Option<Text>,
    lines: mpsc::UnboundedSender<Text>,
    cluster_uid: Option<Text>,
    asks_uid: bool,
    trouble: Text,
    turn: Duration,
    leaving: bool,
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.watches.values().for_each(JoinHandle::abort);
    }
}

impl Loop {
    fn new(office: Office, lines: mpsc::UnboundedSender<Text>) -> Self {
        let context = office.cluster.identity().context;
        let seat = Seat::new(office.me.clone(), office.pace, lease::id(&context, &office.namespace));
        let (told, inbox) = mpsc::unbounded_channel();
        let (seen_out, seen) = mpsc::channel(1024);
        let turn = office.clock.monotonic();
        Self {
            office,
            seat,
            releases: BTreeMap::new(),
            unfit: BTreeMap::new(),
            listed: false,
            confirmed: None,
            confirms: None,
            train: None,
            life: 0,
            told,
            inbox,
            seen,
            seen_out,
            watches: BTreeMap::new(),
            mail: JoinSet::new(),
            told_holder: None,
            lines,
            cluster_uid: None,
            asks_uid: false,
            trouble: Text::default(),
            turn,
            leaving: false,
        }
    }

    fn now(&self) -> u64 {
        millis(self.office.clock.monotonic())
    }

    fn say(&self, line: Text) {
        let _ = self.lines.send(line);
    }

    async fn run(mut self, mut say: mpsc::Receiver<Say>, shown: watch::Sender<View>) {
        self.ask_uid();
        self.watch(ObjectKind::Release);
        loop {
            let before = self.office.clock.monotonic();
            let tick = TICK.saturating_sub(before.saturating_sub(self.turn));
            // What is remembered must not wait for the next thing to happen: whoever takes over would not know of it.
            let due = self.train.as_ref().and_then(Train::due).map(|at| at.saturating_sub(before));
            tokio::select! {
                biased;
                said = say.recv(), if !self.leaving => match said {
                    Some(Say::Leave) | None => self.leave(),
                    Some(Say::Take) => self.seat.take(),
                },
                Some(told) = self.inbox.recv() => self.hear(told),
                Some(seen) = self.seen.recv() => self.see(seen),
                () = self.office.clock.sleep(due.unwrap_or_default()), if due.is_some_and(|due| due < tick) => {}
                () = self.office.clock.sleep(tick) => self.tick(),
            }
            self.keep_up();
            shown.send_if_modified(|view| {
                let now = self.view();
                let changed = *view != now;
                *view = now;
                changed
            });
            if self.is_over() {
                return;
            }
        }
    }

    /// True when nothing is left to do: it was told to leave, has given the Lease back, and its letters have arrived.
    fn is_over(&self) -> bool {
        self.leaving && self.seat.epoch(self.now()).is_none() && !self.seat.calls() && self.mail.is_empty()
    }

    fn leave(&mut self) {
        self.leaving = true;
        self.post();
        self.train = None;
        let now = self.now();
        if let Some(call) = self.seat.step(now, Election::Leave, Text::default()) {
            self.call(call);
        }
    }

    /// Asks for the uid of the cluster; the loop goes on meanwhile.
    fn ask_uid(&mut self) {
        if std::mem::replace(&mut self.asks_uid, true) {
            return;
        }
        let (cluster, told) = (Arc::clone(&self.office.cluster), self.told.clone());
        tokio::spawn(async move {
            let _ = told.send(Told::Uid(cluster_uid(&*cluster).await));
        });
    }

    /// What every write of this conductor is held against.
    fn ground(&self) -> Ground {
        let recorded = self.train.as_ref().map(|train| train.frozen().cluster_uid.clone());
        Ground {
            write: self.office.write,
            cluster_uid: (recorded, self.cluster_uid.clone()),
            epoch: self.seat.epoch(self.now()),
            made: self.office.clock.monotonic(),
        }
    }

    fn call(&self, call: seat::Call) {
        let (cluster, clock, told) =
            (Arc::clone(&self.office.cluster), Arc::clone(&self.office.clock), self.told.clone());
        let ground = self.ground();
        tokio::spawn(async move {
            let (event, trouble) = call.make(cluster, clock, ground).await;
            let _ = told.send(Told::Lease(event, trouble));
        });
    }

    fn watch(&mut self, kind: ObjectKind) {
        if self.watches.contains_key(&kind) {
            return;
        }
        let interest = Interest {
            kind,
            namespace: self.office.namespace.clone(),
            labels: Text::default(),
            fields: Text::default(),
        };
        let task = tokio::spawn(self.office.cluster.watch(interest, self.seen_out.clone()));
        self.watches.insert(kind, task);
    }

    fn tick(&mut self) {
        let now = self.office.clock.monotonic();
        let gap = now.saturating_sub(self.turn) > GAP;
        self.turn = now;
        if self.cluster_uid.is_none() {
            self.ask_uid();
        }
        let call = self.seat.step(millis(now), Election::Tick, Text::default());
        if let Some(call) = call {
            self.call(call);
        }
        let Some(train) = &mut self.train else { return };
        if gap {
            train.queue(Event::Gap);
        }
        train.queue(Event::Tick);
    }

    fn hear(&mut self, told: Told) {
        let now = self.now();
        if let Told::Lease(event, trouble) = told {
            if !trouble.is_empty() && *self.seat.trouble() != trouble {
                self.say(text!("the Lease: {trouble}"));
            }
            if let Some(call) = self.seat.step(now, event, trouble) {
                self.call(call);
            }
            return;
        }
        if let Told::Release(epoch, name, read) = told {
            match read {
                Ok(Some(object)) => {
                    self.release(&object);
                    let uid = object.text("/metadata/uid").unwrap_or_default();
                    self.confirmed = epoch.map(|number| (number, uid)).or(self.confirmed.take());
                    self.confirms = self.confirms.filter(|_| epoch.is_none());
                }
                Ok(None) => {
                    self.releases.remove(&name);
                    self.confirms = self.confirms.filter(|_| epoch.is_none());
                }
                Err(fault) => tracing::warn!(%fault, "a release could not be read"),
            }
            return;
        }
        if let Told::Uid(read) = told {
            self.asks_uid = false;
            match read {
                Ok(found) => self.cluster_uid = found,
                Err(fault) => self.say(text!("the cluster's uid cannot be read: {fault}")),
            }
            return;
        }
        if let Some(train) = &mut self.train {
            train.hear(told);
        }
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::All(interest, objects) if interest.kind == ObjectKind::Release => {
                self.listed = true;
                let names: Vec<Text> = objects.iter().map(|o| o.name().clone()).collect();
                self.releases.retain(|name, _| names.contains(name));
                objects.iter().for_each(|object| self.release(&object.open()));
            }
            Seen::Put(interest, object) if interest.kind == ObjectKind::Release => self.release(&object.open()),
            Seen::Gone(interest, id) if interest.kind == ObjectKind::Release => {
                self.releases.remove(&id.name);
            }
            Seen::All(interest, _) | Seen::Back(interest) => {
                self.trouble = Text::default();
                if let Some(train) = &mut self.train {
                    train.moved(interest.kind, None);
                }
            }
            Seen::Put(interest, object) => {
                if let Some(train) = &mut self.train {
                    train.moved(interest.kind, Some(object.name()));
                }
            }
            Seen::Gone(interest, id) => {
                if let Some(train) = &mut self.train {
                    train.moved(interest.kind, Some(&id.name));
                }
            }
            Seen::Lost(interest, fault) => {
                if interest.kind == ObjectKind::Release {
                    self.trouble = text!("{fault}; {}", fault.hint);
                }
            }
        }
    }

    fn release(&mut self, object: &Object) {
        let context = self.office.cluster.identity().context;
        let name = object.name();
        // A watch that lags tells of what was read or written here long ago.
        let version = |version: &str| version.parse::<u64>().unwrap_or_default();
        let known = self.releases.get(&name);
        if known.is_some_and(|known| {
            object.text("/metadata/uid").as_ref() == Some(&known.uid)
                && version(object.version()) < version(&known.version)
        }) {
            return;
        }
        match Release::read(object, &context, known) {
            Ok(release) => {
                self.unfit.remove(&name);
                if let Some(train) = self.train.as_mut().filter(|train| train.uid() == release.uid) {
                    train.release(&release);
                }
                self.releases.insert(name, release);
            }
            Err(unfit) => {
                if self.unfit.get(&name) != Some(&unfit.why) {
                    self.say(text!("release {name} is left alone: {}", unfit.why));
                    self.unfit.insert(name.clone(), unfit.why);
                }
                self.releases.remove(&name);
            }
        }
    }

    /// Everything that follows from what was heard.
    fn keep_up(&mut self) {
        while self.mail.try_join_next().is_some() {}
        self.say_who_holds();
        let now = self.now();
        let epoch = self.seat.epoch(now);
        match (&epoch, &self.train) {
            (None, Some(train)) => {
                self.say(text!("{} is not conducted from here any more", train.name()));
                self.post();
                self.train = None;
            }
            (Some(epoch), None) if !self.leaving && self.listed => {
                if let Some(release) = self.next_train() {
                    let read = (epoch.number(), release.uid.clone());
                    if self.confirmed.take() == Some(read) {
                        self.take_up(&release, epoch);
                    } else {
                        self.confirm(&release, epoch.number());
                    }
                }
            }
            _ => {}
        }
        let ground = self.ground();
        let others: Vec<&Release> = self.releases.values().collect();
        if let (Some(train), Some(epoch)) = (&mut self.train, epoch) {
            let raised = train.go(&epoch, &ground, &others, &self.lines);
            if let Some(floor) = raised {
                self.seat.raise(floor);
            }
            self.post();
            if self.train.as_ref().is_some_and(Train::is_over) {
                let train = self.train.take();
                if let Some(train) = train {
                    self.say(end_in_words(&train.view()));
                }
            }
        }
    }

    /// Reads a train that is to be taken up: a watch may not have told yet what whoever had it before wrote last, or that it has
    /// ended.
    fn confirm(&mut self, release: &Release, epoch: u64) {
        let now = self.office.clock.monotonic();
        if self.confirms.is_some_and(|since| now < since + CONFIRM) {
            return;
        }
        self.confirms = Some(now);
        let (cluster, told, id) = (Arc::clone(&self.office.cluster), self.told.clone(), release.id.clone());
        tokio::spawn(async move {
            let read = cluster.read(&id).await;
            let _ = told.send(Told::Release(Some(epoch), id.name, read));
        });
    }

    fn take_up(&mut self, release: &Release, epoch: &Epoch) {
        self.life += 1;
        match Train::begin(&self.office, release, epoch, self.life, self.told.clone()) {
            Ok(train) => {
                let id = &release.frozen.resolved.id;
                self.say(text!("conducts {} ({id}), epoch {}", release.id.name, epoch.number()));
                for kind in train.kinds() {
                    self.watch(kind);
                }
                self.train = Some(train);
            }
            Err(why) => {
                if self.unfit.get(&release.id.name) != Some(&why) {
                    self.say(text!("release {} is left alone: {why}", release.id.name));
                    self.unfit.insert(release.id.name.clone(), why);
                }
            }
        }
    }

    /// Sends letters off, each with its retries.
    fn post(&mut self) {
        let Some((addresses, letters)) = self.train.as_mut().map(Train::letters) else { return };
        for letter in letters {
            let (office, addresses) = (self.office.clone(), addresses.clone());
            self.mail.spawn(async move {
                tell::deliver(&*office.post, &*office.clock, &addresses, &letter).await;
            });
        }
    }

    /// Says once who holds the Lease, where it is waited for.
    fn say_who_holds(&mut self) {
        let holder = self.seat.holder().filter(|holder| **holder != self.office.me).cloned();
        if holder == self.told_holder || self.leaving {
            return;
        }
        if let Some(holder) = &holder {
            self.say(text!("waits: {holder} holds the Lease and conducts"));
        }
        self.told_holder = holder;
    }

    /// The oldest train that is active; with one of its own, only that.
    fn next_train(&self) -> Option<Release> {
        let mut active: Vec<&Release> = self
            .releases
            .values()
            .filter(|r| r.active() && !self.unfit.contains_key(&r.id.name))
            .filter(|r| self.office.only.as_ref().is_none_or(|only| *only == r.uid))
            .collect();
        active.sort_by_key(|r| (r.created, r.uid.clone()));
        active.first().map(|release| (*release).clone())
    }

    fn view(&self) -> View {
        let epoch = self.seat.epoch(self.now());
        let trouble = if self.trouble.is_empty() { self.seat.trouble().clone() } else { self.trouble.clone() };
        let ended = self.office.only.as_ref().and_then(|uid| self.releases.values().find(|r| r.uid == *uid));
        let train = self.train.as_ref().map(Train::view).or_else(|| ended.and_then(ended_view));
        View {
            conducts: epoch.is_some(),
            holder: self.seat.holder().cloned(),
            trouble,
            idle: self.listed && self.next_train().is_none(),
            train,
        }
    }
}

/// What the guard goes by for the writes of a conductor, as it stood when they were ordered.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    write: WriteMode,
    /// As the train was recorded, and as read.
    cluster_uid: (Option<Text>, Option<Text>),
    epoch: Option<Epoch>,
    made: Duration,
}

impl Ground {
    /// Lets a paper of the conductor's own pass.
    fn paper(&self, effect: Effect) -> Result<Cleared, Refusal> {
        clear_clerical(Clerical::of(effect)?, self.write, (self.cluster_uid.0.as_ref(), self.cluster_uid.1.as_ref()))
    }

    /// Lets an effect of the train pass that rests on what was read then.
    fn train(&self, ordered: Ordered, read_at: Duration, now: Duration) -> Result<Cleared, Refusal> {
        let standing = TrainStanding {
            write: self.write,
            cluster_uid: self.cluster_uid.clone(),
            read_ago: now.saturating_sub(read_at),
            ordered_ago: now.saturating_sub(self.made),
            epoch: self.epoch.as_ref(),
        };
        clear_for_train(ordered, &standing)
    }
}

/// How a train ended, for whoever reads along; what stood against one that did not set off.
fn end_in_words(train: &TrainView) -> Text {
    let how = match train.ended {
        Some(Ended::Completed) => "completed",
        Some(Ended::RolledBack) => "rolled back",
        Some(Ended::Refused) => "it did not set off",
        None => "its end is not written down",
    };
    let against: String = train.against.iter().map(|why| format!("; {why}")).collect();
    let against = if train.ended == Some(Ended::Refused) { against } else { String::new() };
    text!("{} has ended: {how}{against}", train.name)
}

/// What is seen of a train that this process does not conduct.
fn ended_view(release: &Release) -> Option<TrainView> {
    let status = release.status.as_ref()?;
    Some(TrainView {
        name: release.id.name.clone(),
        uid: release.uid.clone(),
        id: status.train.clone(),
        phase: status.phase,
        wave: (status.wave, status.waves),
        ended: status.result,
        waits: status.waits.clone(),
        people: status.needs.iter().map(|n| n.what.clone()).collect(),
        bad_traffic: status
            .services
            .iter()
            .any(|s| matches!(s.phase.as_str(), "aborting" | "undoing" | "failed") && s.weight > 0),
        against: status
            .checks
            .iter()
            .filter(|c| !matches!(c.found.as_str(), "good" | "warn"))
            .map(|c| text!("{}: {}", c.check, c.says))
            .collect(),
    })
}

/// Milliseconds of a clock.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
