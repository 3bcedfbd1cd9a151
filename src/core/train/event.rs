//! What comes into a train: readings of the world, verdicts, facts of the pre-flight, what people ordered, and answers to
//! effects. Plain data with the time inside; every input can be written to the journal and read back.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::resolved::{ServiceId, Setting};
use crate::core::confirm::Order;
use crate::core::elector::EpochMark;
use crate::core::text::Text;
pub use crate::core::verdict::Cause;
use crate::core::verdict::Verdict;
use crate::text;

/// When something happened: by the monotonic clock of this process, by which things are measured, and by the clock on
/// the wall, which is only written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct At {
    /// Milliseconds of the process's monotonic clock.
    pub mono: u64,
    /// Time of day.
    pub wall: Timestamp,
}

/// One input of [`super::step`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Input {
    /// When.
    pub at: At,
    /// The lease at that moment, for the journal; the proof itself is [`super::Role`].
    pub lease: Option<EpochMark>,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Time went by. At least once a second.
    Tick,
    /// The process stood still (suspend), or was cut off: nothing that was read before counts.
    Gap,
    /// A fact of the pre-flight.
    Fact(Fact),
    /// A workload was read.
    Read(ServiceId, #[serde(with = "shared")] Arc<Reading>),
    /// A workload could not be found.
    Gone(ServiceId),
    /// A flag was read.
    FlagRead(u16, FlagReading),
    /// The Job of an expand step was read.
    JobRead(u16, JobReading),
    /// A judge said something of a service.
    Judged(Judged),
    /// A service that is no part of the train fails.
    Tripped(Tripped),
    /// An order was read back from where it is durable (Release.spec, or the fsynced file).
    Ordered(Intent),
    /// An effect was answered.
    Answered(u64, Answer),
    /// The journal is durable up to this entry.
    Kept(u64),
    /// A status of this version was written.
    StatusKept(u64),
    /// A freeze window begins (why), or none holds.
    Freeze(Option<Text>),
    /// Another hand acted by an intent of this train (`Release.spec.acted`).
    Acted(u64, Text),
}

/// How a template compares with the ones of the train.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spec {
    /// The template recorded at the start (before it is recorded: what is live, and not the pinned version).
    Recorded,
    /// The pinned image and config.
    Pinned,
    /// Neither: somebody else's.
    Other,
}

/// Why a workload pauses by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    /// A step that ends by itself after so many milliseconds.
    Timed(u64),
    /// A step that somebody must end.
    Untimed,
    /// An analysis that could not tell.
    Inconclusive,
}

/// A workload, as read. One family of words for Rollouts, Canaries and Deployments; the engine translates.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// `metadata.uid`.
    pub uid: Text,
    /// `metadata.resourceVersion`: a reading that is older than one we had is dropped.
    pub version: u64,
    /// `metadata.generation`.
    pub generation: u64,
    /// True when the controller has seen this generation.
    pub observed: bool,
    /// How the template compares.
    pub spec: Spec,
    /// Pod hash of the template that the controller works on.
    pub current: Text,
    /// Pod hash of the stable version.
    pub stable: Text,
    /// `spec.paused` or `spec.suspend`.
    pub paused: bool,
    /// Stamp of a hold.
    pub hold: Option<Text>,
    /// Stamp of an undo.
    pub undo: Option<Text>,
    /// Stamp of a train: uid of its Release.
    pub train: Option<Text>,
    /// Stamp of the epoch: its number and its holder. The number alone would not do: a Lease that was deleted counts anew.
    pub epoch: Option<(u64, Text)>,
    /// Step it is at, and how many there are.
    pub step: u32,
    /// See `step`.
    pub steps: u32,
    /// Why it pauses.
    pub pause: Option<Pause>,
    /// Share of traffic on anything but the stable version, percent; 0 only when none can reach it.
    pub weight: u8,
    /// `status.abort`.
    pub aborted: bool,
    /// `status.promoteFull`.
    pub full: bool,
    /// The controller calls it done: everything it wants is there and available.
    pub healthy: bool,
    /// True when a restore would be quick (stable, rollback window, no steps).
    pub fast: bool,
    /// The mark that makes the pinned template new: 0 when it needs none, else a number that no replica set of it bears yet. A
    /// template that was there before would be jumped to, past steps and analyses.
    pub mark: u32,
    /// Hash of the template for which a record of this train lies there.
    pub record: Option<Text>,
}

/// A flag, as read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FlagReading {
    /// Its value.
    pub value: Setting,
    /// Version of what holds it: a write is made under the test of it.
    pub version: u64,
}

/// The Job of an expand step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobReading {
    /// Not there.
    Absent,
    /// It runs.
    Running,
    /// It is through.
    Done,
    /// It failed.
    Failed,
    /// The way back is through.
    DownDone,
}

/// A verdict on a service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judged {
    /// Of which service.
    pub service: ServiceId,
    /// The verdict.
    pub verdict: Verdict,
    /// Pod hash of the version that was judged; none where the service as a whole was.
    pub hash: Option<Text>,
    /// The step it stood at for the whole window; none where that does not apply.
    pub step: Option<u32>,
    /// True when the window was full.
    pub full: bool,
    /// True when it is a failed run of the controller's own analysis that could not measure (phase Error).
    pub error: bool,
    /// What it was about.
    pub cause: Cause,
    /// In one line, with figures.
    pub why: Text,
}

/// A service of the repository that is no part of the train, and fails while the train runs. What the train moved may be what
/// hurts it: a trip anywhere fails the train (`train.md` §3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tripped {
    /// Which.
    pub service: Text,
    /// What it is about.
    pub cause: Cause,
    /// In one line, with figures.
    pub why: Text,
}

/// Whose failing a train is blamed on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Whose {
    /// A service of the train.
    Ours(ServiceId),
    /// Another one of the repository, by its name.
    Elsewhere(Text),
}

impl Whose {
    /// Its name.
    pub fn name<'a>(&'a self, plan: &'a super::resolved::Resolved) -> &'a Text {
        match self {
            Self::Ours(s) => &plan.service(*s).name,
            Self::Elsewhere(name) => name,
        }
    }
}

/// What the pre-flight looks at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The cluster is the pinned one.
    Cluster,
    /// All verbs are allowed on all objects.
    Rights,
    /// No other train is active in the environment.
    Alone,
    /// The estimated end crosses no freeze window.
    Freeze,
    /// A policy has evidence.
    Policy(u16),
    /// The service keeps its SLO.
    Burning(ServiceId),
    /// The pinned version was not taken back here before.
    Quarantine(ServiceId),
    /// What is live is what the last release left.
    Drift(ServiceId),
    /// The template has a volume called `config`, where configs are pinned.
    ConfigVolume(ServiceId),
    /// The steps' weights are those of `strategy.progressive`, each with a pause.
    Weights(ServiceId),
    /// The way back: record, image, quota, schema.
    WayBack(ServiceId),
    /// A version that was there before can be made to walk its steps.
    Anew(ServiceId),
    /// The flag is at its old value.
    FlagOld(u16),
    /// The old code bears the new schema.
    Schema,
    /// The conductor may push to the environment repository.
    Push,
    /// How long detection takes with the scrape interval that was measured.
    Scrape,
}

impl Check {
    /// What it looks at, in words.
    pub fn name(&self, plan: &super::resolved::Resolved) -> Text {
        let of = |what: &str, s: &ServiceId| text!("{what} of {}", plan.service(*s).name);
        match self {
            Self::Cluster => text!("the cluster"),
            Self::Rights => text!("rights"),
            Self::Alone => text!("no other train"),
            Self::Freeze => text!("freeze windows"),
            Self::Policy(n) => text!("policy {}", plan.policies[usize::from(*n)].name),
            Self::Burning(s) => of("error budget", s),
            Self::Quarantine(s) => of("quarantine", s),
            Self::Drift(s) => of("drift", s),
            Self::ConfigVolume(s) => of("config volume", s),
            Self::Weights(s) => of("weights", s),
            Self::WayBack(s) => of("way back", s),
            Self::Anew(s) => of("steps", s),
            Self::FlagOld(f) => text!("flag {}", plan.flags[usize::from(*f)].key),
            Self::Schema => text!("schema"),
            Self::Push => text!("push rights"),
            Self::Scrape => text!("scrape interval"),
        }
    }
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// Good, with the evidence.
    Good(Text),
    /// Worth a look, stops nothing.
    Warn(Text),
    /// A person must say whether to go on.
    Ask(Text),
    /// The train does not start.
    Refuse(Text),
    /// Not known yet, or cannot be found out; stops as a refusal does, until it is known.
    Unknown(Text),
}

impl Found {
    /// A word for it, and what it says.
    pub fn parts(&self) -> (&'static str, &Text) {
        match self {
            Self::Good(says) => ("good", says),
            Self::Warn(says) => ("warn", says),
            Self::Ask(says) => ("ask", says),
            Self::Refuse(says) => ("refuse", says),
            Self::Unknown(says) => ("unknown", says),
        }
    }
}

/// One fact of the pre-flight.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// What was looked at.
    pub check: Check,
    /// What was found.
    pub found: Found,
}

/// What a person, or the conductor itself, ordered; durable before its first effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// Names it; below 2^52 for people's, so that a JSON number holds it whole wherever it goes. The conductor's own ones follow
    /// from what they are about, so that two conductors make one ([`super::auto::is_own`]).
    pub id: u64,
    /// For the conductor's own ones the epoch, number and holder, under which it was decided: such an order is made durable under
    /// the test that the status bears this very one (`core::release::order`), also when it comes from a file. Else a conductor that stood still would
    /// decide by what it alone saw. None for a person's: their word always counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<(u64, Text)>,
    /// Who, when, why.
    pub order: Order,
    /// What.
    pub want: Want,
}

/// What can be ordered of a train.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Want {
    /// Begin.
    Start,
    /// Hold the train or one service.
    Hold(Option<ServiceId>, HoldFor),
    /// End the hold of this id.
    Resume(u64),
    /// End a hold that somebody put on this service outside of the train.
    ResumeOutside(ServiceId),
    /// Approve what waits: as it was seen.
    Approve {
        /// Of which service.
        service: ServiceId,
        /// The version that was seen.
        hash: Text,
        /// The step that was seen.
        step: u32,
        /// True when it overrides a verdict that is not a pass. Needs a reason.
        over: bool,
    },
    /// Skip the remaining steps of the version that was seen.
    Full(ServiceId, Text),
    /// Take the traffic off the version that was seen.
    Abort(ServiceId, Text),
    /// Try again what was aborted or undone.
    Retry(ServiceId),
    /// Run a failed expand step again, or set off again after a refused pre-flight.
    Again,
    /// Take back.
    Undo(Scope),
    /// Set a flag by hand to this share of its way.
    Flag(u16, Setting),
    /// Take back an expand step.
    Down(u16),
    /// Go on in spite of what the pre-flight asked.
    Accept(Check),
    /// A person looked at a mixed state and lets it stand for another while.
    Stay,
}

/// Why a hold was ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldFor {
    /// A person wants it.
    Person,
    /// A gate could not tell.
    Inconclusive(ServiceId),
    /// A gate has no data.
    NoData(ServiceId),
    /// A service was aborted: retry or undo.
    Aborted(ServiceId),
    /// Somebody else changed a service.
    Outside(ServiceId),
    /// A part was taken back.
    Partly,
    /// A freeze window begins at the end of a wave.
    Boundary,
    /// A flag went back alone.
    Flag(u16),
    /// An expand step failed, or hurt old code.
    Expand,
    /// A service broke its SLO before anything of it was deployed.
    Burning(ServiceId),
    /// It tripped a second time.
    Second(ServiceId),
    /// A service that is no part of the train failed before anything of the train was deployed.
    Elsewhere,
}

/// How far an undo reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The whole train.
    All,
    /// This service, and all built on it that took traffic on their new version.
    Downstream(ServiceId),
    /// All services of this wave and later ones.
    Wave(u16),
    /// This service alone.
    Only(ServiceId),
}

/// How an effect was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It landed and made this version.
    Landed(u64),
    /// A test failed: something moved (422), or it is there already (409).
    Moved,
    /// The server does not take it (validation, webhook, right): it will not get better by itself.
    Refused(Text),
    /// It never left, or its outcome is unknown.
    Unknown,
}

/// A shared reading is written as the reading.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Reading;

    pub(super) fn serialize<S: Serializer>(reading: &Arc<Reading>, to: S) -> Result<S::Ok, S::Error> {
        (**reading).serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Arc<Reading>, D::Error> {
        Reading::deserialize(from).map(Arc::new)
    }
}
