//! What the screen shows, whole: the engine builds one after each change and publishes it; screens only read. Parts are
//! shared, so that a snapshot of a thousand workloads is cheap. No drawing and no reading of clusters here.

use std::sync::Arc;

use jiff::Timestamp;

use super::object::{ObjectKind, ObjectRef};
use super::past::PastTrain;
use super::text::Text;
pub use super::verdict::{TrainPhase, Verdict};
use super::workload::{Phase, ReplicaSetView, Workload};

pub mod train;

pub use train::{Conductor, TrainShown};

/// Whether actions may leave, and on whose word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteMode {
    /// Actions may leave.
    ReadWrite,
    /// Read-only by a pattern on the context name: safe actions may be armed one at a time.
    ReadOnlyByPattern,
    /// `--read-only`, or no rights: nothing may leave.
    ReadOnly,
}

/// Which cluster, seen from where.
#[derive(Clone, PartialEq, Debug)]
pub struct Place {
    /// Environment name from footplate.yaml; none when opened by context.
    pub environment: Option<Text>,
    /// Kube context.
    pub context: Text,
    /// Namespace.
    pub namespace: Text,
    /// Address of the API server.
    pub server: Text,
    /// Protected environments ask for more.
    pub protected: bool,
    /// Whether actions may leave.
    pub write: WriteMode,
}

/// Who drives a rehearsal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hand {
    /// The scripted captain, until a person presses a key.
    Script,
    /// The person at the screen.
    Person,
    /// A conductor, which heeds what the person orders.
    Conductor,
}

/// What runs behind the screen.
#[derive(Clone, PartialEq, Debug)]
pub enum Mode {
    /// A real cluster.
    Live,
    /// The embedded one.
    Rehearsal {
        /// Scenario name.
        scenario: Text,
        /// Its seed.
        seed: u64,
        /// Who drives.
        hand: Hand,
    },
    /// A recorded train: what is shown is over, and nothing can be ordered.
    Replay(super::timeline::Place),
}

/// How the link to the cluster is.
#[derive(Clone, PartialEq, Debug)]
pub enum Link {
    /// Not yet answered, or not yet with everything that a first look needs.
    Connecting,
    /// A read of our own succeeded lately.
    Live,
    /// The last good read is older than the limit, or a part is not read any more; what is shown is old.
    Stale(Trouble),
    /// The cluster cannot be reached or refuses; what is shown is old.
    Down(Trouble),
}

impl Link {
    /// Why what is shown is old; none when it is not.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Stale(trouble) | Self::Down(trouble) => Some(trouble),
            Self::Connecting | Self::Live => None,
        }
    }
}

/// What is wrong with the link, and what a person can do about it.
#[derive(Clone, PartialEq, Debug)]
pub struct Trouble {
    /// What was tried (`watch rollouts in payments`); empty where the rest says it.
    pub what: Text,
    /// Why it did not work.
    pub why: Text,
    /// What to do; empty when it mends itself.
    pub hint: Text,
}

/// A kind that cannot be read: what is there of it is unknown.
#[derive(Clone, PartialEq, Debug)]
pub struct Gap {
    /// Which kind.
    pub kind: ObjectKind,
    /// True when something that is shown here needs it; else only who looks for it wants to know.
    pub needed: bool,
    /// Why, and what to do.
    pub trouble: Trouble,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.what.is_empty() {
            write!(f, "{}: ", self.what)?;
        }
        f.write_str(&self.why)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

/// One service of the release, or one workload found.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceView {
    /// Service name.
    pub name: Text,
    /// Wave it belongs to, from 0; none without a manifest.
    pub wave: Option<u32>,
    /// Names of the services that must go before it, nearest only.
    pub after: Vec<Text>,
    /// The pinned version; none without a manifest.
    pub pinned: Option<Text>,
    /// Where its workload should be.
    pub id: ObjectRef,
    /// Objects beside `id` that an order on this service may change (the Deployment that it refers to); a question about
    /// the service asks about them too.
    pub also: Vec<ObjectRef>,
    /// Its state; none when the cluster has no such object or it was not read yet.
    pub workload: Option<Arc<Workload>>,
    /// True when there is no `workload` because nobody could say whether there is one: not read yet, or not to be read.
    pub unread: bool,
    /// About how many seconds an undo of it takes until its traffic is back; none when nothing is to be undone, or when that
    /// is not known. By what was seen: how long pods of it took to be ready.
    pub undo_s: Option<u32>,
    /// Where it stands against its pinned version.
    pub train_phase: TrainPhase,
    /// Verdict of the gate that decides now.
    pub verdict: Option<Verdict>,
    /// Why it waits, in one line that names what blocks it; empty when it does not.
    pub waits_for: Text,
    /// What is being done to it at this moment by an order from here (`abort: waits for weight 0`); empty when nothing.
    pub doing: Text,
}

/// One point of a metric.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// When it was measured.
    pub at: Timestamp,
    /// The value; none is a measurement without data (NaN, empty, error).
    pub value: Option<f64>,
}

/// A limit of a gate.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Limit {
    /// Good below this.
    Below(f64),
    /// Good above this.
    Above(f64),
}

/// One metric of one service's gate.
#[derive(Clone, PartialEq, Debug)]
pub struct GateView {
    /// Which service.
    pub service: Text,
    /// Metric name.
    pub metric: Text,
    /// The analysis run it belongs to; empty when it is queried by ourselves alone.
    pub run: Text,
    /// What it decides by, as written in the template.
    pub condition: Text,
    /// The threshold, where the condition has a plain one.
    pub limit: Option<Limit>,
    /// History, oldest first.
    pub points: Arc<[Point]>,
    /// Verdict of the metric so far.
    pub verdict: Verdict,
    /// Measurements taken and asked for; 0 asked for means without end.
    pub taken: u32,
    /// See `taken`.
    pub wanted: u32,
    /// How many failures are left before it fails.
    pub failures_left: Option<u32>,
    /// Seconds between measurements; 0 when unknown.
    pub interval_s: u32,
    /// How old the newest scrape behind the value was, in seconds; none when unknown.
    pub age_s: Option<u32>,
    /// What is missing or wrong, in one line; empty when nothing.
    pub note: Text,
}

/// One flag.
#[derive(Clone, PartialEq, Debug)]
pub struct FlagView {
    /// Its key.
    pub key: Text,
    /// Where it lives (`featureflag payments/payments-flags`).
    pub source: Text,
    /// The object it lives in; none when that is a file.
    pub object: Option<ObjectRef>,
    /// `on`, `off`, `25 %`, or the variant's name; none when unknown.
    pub now: Option<Text>,
    /// The value at the end of the train; none when the release does not name it.
    pub wanted: Option<Text>,
    /// False when it is disabled.
    pub enabled: bool,
    /// Services that list it.
    pub services: Vec<Text>,
    /// What is wrong with it; empty when nothing.
    pub note: Text,
}

/// How much an event matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Weight {
    /// Goes by.
    Note,
    /// Somebody did something.
    Act,
    /// Worth a look.
    Warn,
    /// Needs a person.
    Alarm,
}

/// One line of the event pane.
#[derive(Clone, PartialEq, Debug)]
pub struct EventView {
    /// When.
    pub at: Timestamp,
    /// Which service or object; empty for the train as a whole.
    pub subject: Text,
    /// What.
    pub text: Text,
    /// How much it matters.
    pub weight: Weight,
}

/// Something that waits for a person.
#[derive(Clone, PartialEq, Debug)]
pub struct Need {
    /// What, naming the service.
    pub what: Text,
    /// Since when.
    pub since: Timestamp,
    /// Until when, where there is an end.
    pub deadline: Option<Timestamp>,
    /// The action that answers it (`P approve`, `u undo`).
    pub keys: Text,
    /// The service it is about; empty for the train.
    pub service: Text,
}

/// A pod in the tree.
#[derive(Clone, PartialEq, Debug)]
pub struct PodView {
    /// Its name.
    pub name: Text,
    /// The replica set that owns it.
    pub set: Text,
    /// As kubectl shows it (`Running`, `CrashLoopBackOff`).
    pub status: Text,
    /// Ready.
    pub ready: bool,
    /// Restarts.
    pub restarts: u32,
}

/// A measurement or a run in the tree.
#[derive(Clone, PartialEq, Debug)]
pub struct RunView {
    /// Its name.
    pub name: Text,
    /// The service it is about.
    pub service: Text,
    /// Pod hash it measures.
    pub hash: Text,
    /// As the controller says.
    pub phase: Text,
    /// Its message.
    pub message: Text,
    /// Per metric: name, phase, last value, counts `ok/failed/inconclusive/error`.
    pub metrics: Vec<(Text, Text, Text, Text)>,
}

/// A revision in the tree.
#[derive(Clone, PartialEq, Debug)]
pub struct RevisionView {
    /// Its replica set.
    pub set: ReplicaSetView,
    /// Pods, where they were read.
    pub pods: Vec<PodView>,
}

/// What the screen shows.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// Rises by one with each snapshot.
    pub seq: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Which cluster.
    pub place: Place,
    /// Live or rehearsal.
    pub mode: Mode,
    /// How the link is.
    pub link: Link,
    /// When a read of our own last succeeded.
    pub read_at: Option<Timestamp>,
    /// Release name; none without a manifest.
    pub release: Option<Text>,
    /// Wave count; 0 without a manifest.
    pub waves: u32,
    /// All services, in wave order, then by name.
    pub services: Arc<[Arc<ServiceView>]>,
    /// Expand steps of wave 0 (name, path); shown, not run by hand.
    pub expand: Arc<[(Text, Text)]>,
    /// Edges of the graph between services, `(from, to)`, all of them.
    pub edges: Arc<[(Text, Text)]>,
    /// Trains of this place, newest first; none while their Releases were not read, or cannot be.
    pub history: Option<Arc<[PastTrain]>>,
    /// Gate metrics.
    pub gates: Arc<[Arc<GateView>]>,
    /// Flags.
    pub flags: Arc<[FlagView]>,
    /// Latest events, oldest first.
    pub events: Arc<[EventView]>,
    /// Pods of opened services.
    pub pods: Arc<[PodView]>,
    /// Analysis runs.
    pub runs: Arc<[RunView]>,
    /// What needs a person, worst first.
    pub needs: Arc<[Need]>,
    /// Kinds that could not be read (missing CRD, no right).
    pub gaps: Arc<[Gap]>,
    /// The train that governs here: the active one, else the one that ended last.
    pub train: Option<Arc<TrainShown>>,
}

impl Snapshot {
    /// Why a kind cannot be read; none when it can.
    pub fn gap(&self, kind: ObjectKind) -> Option<&Trouble> {
        self.gaps.iter().find(|gap| gap.kind == kind).map(|gap| &gap.trouble)
    }

    /// The train that is under way here.
    pub fn active_train(&self) -> Option<&Arc<TrainShown>> {
        self.train.as_ref().filter(|train| train.active())
    }

    /// How many services are in a phase.
    pub fn count(&self, phase: Phase) -> usize {
        self.services.iter().filter(|s| s.workload.as_ref().is_some_and(|w| w.phase == phase)).count()
    }
}
