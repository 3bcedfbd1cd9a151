//! What a workload is doing, in the field's terms: phase and reason, step k of n, set and actual weight, versions and
//! replica sets. The computations live one strategy a file in `workload/`; acting on a workload does not (`verb.rs`).

use jiff::Timestamp;
use serde::Serialize;

use super::object::ObjectRef;
use super::text::Text;

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
    /// `InconclusiveExperiment`; `manual` for `spec.paused` and `spec.suspend`.
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
    /// Index of the current step, from 0; equal to `steps` when all are done. None without steps.
    pub step: Option<u32>,
    /// How many steps; none without steps.
    pub steps: Option<u32>,
    /// The current step in words (`pause 60s`, `analysis error-rate-and-latency`); empty without.
    pub step_text: Text,
    /// Weights of the steps' setWeight, in order, percent.
    pub weights: Vec<u8>,
    /// The weight that the steps ask for now, percent.
    pub set_weight: Option<u8>,
    /// The weight that holds now, percent.
    pub actual_weight: Option<u8>,
    /// Set while paused, by whatever.
    pub pause: Option<Pause>,
    /// True while `spec.paused` (or `spec.suspend`) is set: a hold by a person.
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
    /// The GitOps owner that would revert a change of the spec, where one is known (`Argo CD app payments`).
    pub owner: Option<Text>,
    /// `metadata.generation`.
    pub generation: i64,
    /// True when the controller has seen this generation.
    pub observed: bool,
}
