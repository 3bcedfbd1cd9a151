//! What a workload is doing, in the field's terms: phase and reason, step k of n, set and actual weight, versions and
//! replica sets. The computations live one strategy a file in `workload/`; acting on a workload does not (`verb.rs`).

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::image;
use super::object::{Object, ObjectKind, ObjectRef};
use super::owner;
use super::text::Text;

pub mod before;
mod canary;
mod deployment;
pub mod duration;
pub(crate) mod rollout;
pub(crate) mod sets;

/// The four phases of the Argo Rollouts plugin; other kinds are mapped onto them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Phase {
    /// The desired version serves all traffic.
    Healthy,
    /// Something is moving.
    Progressing,
    /// It waits for a time, a person or an inconclusive gate.
    Paused,
    /// It failed or was aborted.
    Degraded,
}

/// How a workload shifts from one version to the next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum Strategy {
    /// Rollout canary with a traffic router: the weight is the router's.
    CanaryRouted,
    /// Rollout canary without a router: the weight is the share of pods.
    CanaryBasic,
    /// Rollout blue-green.
    BlueGreen,
    /// Flagger canary.
    Flagger,
    /// Plain Deployment, rolling update.
    RollingUpdate,
    /// Plain Deployment, recreate.
    Recreate,
}

/// Replica counts of the whole workload.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Replicas {
    /// Asked for by the spec.
    pub desired: u32,
    /// All that exist, old and new.
    pub current: u32,
    /// Of the newest template.
    pub updated: u32,
    /// Ready.
    pub ready: u32,
    /// Available.
    pub available: u32,
}

/// Why a workload is paused.
#[derive(Clone, PartialEq, Debug)]
pub struct Pause {
    /// As the controller names it: `CanaryPauseStep`, `BlueGreenPause`, `InconclusiveAnalysisRun`,
    /// `InconclusiveExperiment`, a Flagger phase (`Waiting`, `WaitingPromotion`); `manual` for `spec.paused` and
    /// `spec.suspend` alone.
    pub reason: Text,
    /// When it began; unknown for a manual pause.
    pub since: Option<Timestamp>,
    /// Seconds until it ends by itself, counted from `since`; none means that a person ends it.
    pub seconds: Option<u32>,
}

/// What part a replica set plays.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum Role {
    /// Serves as the stable version.
    Stable,
    /// The version being tried.
    Canary,
    /// Blue-green: receives the traffic.
    Active,
    /// Blue-green: receives the preview traffic.
    Preview,
    /// Neither.
    Old,
}

/// One replica set of a workload.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaSetView {
    /// Its name.
    pub name: Text,
    /// `rollouts-pod-template-hash` (Rollout) or `pod-template-hash` (Deployment).
    pub hash: Text,
    /// The revision annotation; 0 when absent.
    pub revision: u32,
    /// What part it plays now.
    pub role: Role,
    /// The image of the service's container.
    pub image: Text,
    /// Asked for.
    pub desired: u32,
    /// Ready.
    pub ready: u32,
    /// Available.
    pub available: u32,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When it will be scaled down, where that is set.
    pub scale_down_at: Option<Timestamp>,
}

/// How fast an undo of this workload would be, as pre-flight sees it (`train.md` §1).
#[derive(Clone, PartialEq, Debug)]
pub enum UndoPath {
    /// Nothing to go back from.
    NotNeeded,
    /// In flight: Argo goes straight back to its stable replica set.
    ToStable,
    /// Finished, but inside `rollbackWindow`, or a kind that has no steps.
    Window,
    /// Would run all steps again: the template is restored and then fully promoted.
    Slow,
    /// Cannot work; the text says why (the old replica set is gone, nothing recorded, …).
    NotReady(Text),
}

/// What an undo goes back to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UndoTo {
    /// Pod hash of its replica set; empty where only a recorded template is left.
    pub hash: Text,
    /// Its version, where its image says one.
    pub version: Option<Text>,
    /// True when it is known to have been live: stable now, recorded by us, or seen as stable. False for a guess (the
    /// newest earlier revision), which may never have finished; the dialog must say so.
    pub known: bool,
}

/// What a workload is doing.
#[derive(Clone, PartialEq, Debug)]
pub struct Workload {
    /// Which object.
    pub id: ObjectRef,
    /// The object's uid.
    pub uid: Text,
    /// How it shifts versions.
    pub strategy: Strategy,
    /// Phase, as the Argo Rollouts plugin gives it.
    pub phase: Phase,
    /// The message that goes with the phase; empty when there is none.
    pub reason: Text,
    /// What it waits for, in one line that names what blocks it; empty when nothing.
    pub waits_for: Text,
    /// Image tag (or digest) of the template's container.
    pub version: Option<Text>,
    /// Image tag (or digest) of what serves as stable; unknown when its replica set is gone.
    pub stable_version: Option<Text>,
    /// Pod hash of the template; empty until the controller has computed it.
    pub hash: Text,
    /// Pod hash of stable.
    pub stable_hash: Text,
    /// How many steps are done, which is the index of the current one from 0; equal to `steps` when all are. Everywhere shown
    /// as the Argo Rollouts plugin does: `1/7` while the second of seven runs. None without steps.
    pub step: Option<u32>,
    /// How many steps; none without steps.
    pub steps: Option<u32>,
    /// The current step in words (`pause 60s`, `analysis error-rate-and-latency`); empty without.
    pub step_text: Text,
    /// The step after it in words; empty after the last, and without steps.
    pub next_text: Text,
    /// Weights of the steps' setWeight, in order; out of `max_weight`.
    pub weights: Vec<u32>,
    /// The weight that the steps ask for now; out of `max_weight`.
    pub set_weight: Option<u32>,
    /// The weight that holds now; out of `max_weight`.
    pub actual_weight: Option<u32>,
    /// The weight that is all traffic: 100, or the `maxTrafficWeight` of the Rollout's traffic routing.
    pub max_weight: u32,
    /// Set while paused, by whatever.
    pub pause: Option<Pause>,
    /// True while `spec.paused` (or `spec.suspend`) is set: a hold by a person. Whether it holds is [`Workload::is_held`].
    pub held: bool,
    /// Who holds and why, from the `footplate.dev/hold-by` annotation; empty when unknown.
    pub held_by: Text,
    /// True when aborted.
    pub aborted: bool,
    /// True while a full promotion is under way.
    pub promote_full: bool,
    /// Replica counts.
    pub replicas: Replicas,
    /// Its replica sets, newest revision first.
    pub sets: Vec<ReplicaSetView>,
    /// The analysis runs that decide about it now, by name: the step's and the background one's.
    pub runs: Vec<Text>,
    /// How an undo would go.
    pub undo: UndoPath,
    /// What an undo would go back to; none where that is not known.
    pub undo_to: Option<UndoTo>,
    /// The GitOps owner that would revert a change of the spec, where one is known (`Argo CD app payments`).
    pub owner: Option<Text>,
    /// `metadata.generation`.
    pub generation: i64,
    /// True when the controller has seen this generation.
    pub observed: bool,
}

impl Workload {
    /// True once its controller has seen the hold: before that it may still move. Flagger says nowhere that it has; it
    /// reads the hold each time before it moves anything.
    pub fn is_held(&self) -> bool {
        self.held && (self.observed || self.strategy == Strategy::Flagger)
    }
}

/// What belongs to a workload, as far as it was read. All of it is optional: what is missing makes a field unknown.
#[derive(Clone, Copy, Default, Debug)]
pub struct Related<'a> {
    /// Replica sets of the workload, of the Deployment a Rollout refers to, or of the target of a Canary. Those that belong
    /// to somebody else are passed over.
    pub sets: &'a [&'a Object],
    /// Analysis runs of a Rollout.
    pub runs: &'a [&'a Object],
    /// The Deployment that a Rollout refers to (`spec.workloadRef`), or the target of a Canary.
    pub target: Option<&'a Object>,
    /// The Deployment `<name>-primary` that Flagger keeps beside a target.
    pub primary: Option<&'a Object>,
    /// ConfigMaps that hold recorded templates of this workload.
    pub records: &'a [&'a Object],
    /// Pod hashes that were seen as stable, oldest first; from whoever watched. May be empty.
    pub was_stable: &'a [Text],
}

/// Reads what a workload is doing from its object and what belongs to it. `id.kind` decides how: Rollout, Canary, anything
/// else as a Deployment. `container` is the service's container; without it the pod's default or first one counts.
///
/// Phase, reason, step and weights of a Rollout are those of the Argo Rollouts plugin v1.10 (`GetRolloutPhase`,
/// `NewRolloutInfo`); reference section 1.3.
pub fn observe(
    id: &ObjectRef,
    object: &Object,
    related: &Related<'_>,
    container: Option<&str>,
    now: Timestamp,
) -> Workload {
    let mut workload = match id.kind {
        ObjectKind::Rollout => rollout::observe(id, object, related, container, now),
        ObjectKind::Canary => canary::observe(id, object, related, container),
        _ => deployment::observe(id, object, related, container),
    };
    workload.owner = owner::gitops_owner(object).or_else(|| related.target.and_then(owner::gitops_owner));
    workload
}

/// A workload of which nothing is known yet but its name and metadata.
fn blank(id: &ObjectRef, object: &Object, strategy: Strategy) -> Workload {
    Workload {
        id: id.clone(),
        uid: Text::scrub(object.uid()),
        strategy,
        phase: Phase::Progressing,
        reason: Text::default(),
        waits_for: Text::default(),
        version: None,
        stable_version: None,
        hash: Text::default(),
        stable_hash: Text::default(),
        step: None,
        steps: None,
        step_text: Text::default(),
        next_text: Text::default(),
        weights: Vec::new(),
        set_weight: None,
        actual_weight: None,
        max_weight: 100,
        pause: None,
        held: false,
        held_by: Text::scrub(object.annotation("footplate.dev/hold-by").unwrap_or_default()),
        aborted: false,
        promote_full: false,
        replicas: Replicas::default(),
        sets: Vec::new(),
        runs: Vec::new(),
        undo: UndoPath::NotNeeded,
        undo_to: None,
        owner: None,
        generation: object.generation(),
        observed: true,
    }
}

/// The image of a pod template's container: the named one, else the one named by `kubectl.kubernetes.io/default-container`,
/// else the first. None when there is no such container.
pub fn container_image<'a>(template: &'a Value, container: Option<&str>) -> Option<&'a str> {
    container_of(template, container)?["image"].as_str()
}

/// The container of a pod template that is meant, by the same rule.
pub fn container_of<'a>(template: &'a Value, container: Option<&str>) -> Option<&'a Value> {
    let containers = template["spec"]["containers"].as_array()?;
    let named = |name: &str| containers.iter().find(|c| c["name"] == name);
    match container {
        Some(name) => named(name),
        None => {
            let default = template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
            default.and_then(named).or_else(|| containers.first())
        }
    }
}

/// The version of a pod template's container, where its image says one.
fn template_version(template: Option<&Value>, container: Option<&str>) -> Option<Text> {
    image::version(container_image(template?, container)?).map(Text::scrub)
}

/// A count from the API: never negative, absent counts as 0.
fn count(object: &Object, pointer: &str) -> u32 {
    u32::try_from(object.int(pointer).unwrap_or_default()).unwrap_or_default()
}

/// Who holds a workload, for the line that says what it waits for.
fn hold_line(by: &Text) -> Text {
    if by.is_empty() {
        Text::scrub("held by hand (spec.paused): a person to resume it")
    } else {
        crate::text!("held by {by}: a person to resume it")
    }
}
