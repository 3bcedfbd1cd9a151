//! The Rollout controller, held to Argo Rollouts 1.10.1: same fields, same words, same order of decisions. One
//! reconciliation reads the objects, decides, writes, and leaves; whatever it changed brings it back. Here: the context
//! of one reconciliation and its course; the parts are one concern a file. Written from behaviour, not from source text.

pub mod arithmetic;
mod bluegreen;
mod canary;
mod conditions;
mod pause;
mod phase;
mod restart;
mod routing;
mod runs;
mod scaling;
mod services;
pub mod spec;
mod status;
mod sync;
mod validation;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::kinds;
use super::agenda::Task;
use super::desk::Desk;
use super::fields;
use super::hash;
use pause::PauseContext;
use runs::CurrentRuns;
use spec::{Spec, Status, Step};

/// The name under which events are recorded.
const COMPONENT: &str = "rollouts-controller";

/// The revision annotation of Rollouts and their replica sets.
pub const REVISION: &str = "rollout.argoproj.io/revision";
/// Earlier revisions of a replica set that came back.
const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";
/// The size that the Rollout wanted when it last touched the set.
const DESIRED: &str = "rollout.argoproj.io/desired-replicas";
/// Generation of the referenced workload.
const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";
/// When a set that is kept for a while goes to zero.
pub const SCALE_DOWN_AT: &str = "scale-down-deadline";
/// Which Rollout moves a Service's selector.
const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";

/// A replica set of the Rollout.
#[derive(Clone, Debug)]
pub struct Set {
    raw: Value,
}

impl Set {
    fn name(&self) -> &str {
        fields::name(&self.raw)
    }

    fn hash(&self) -> &str {
        fields::label(&self.raw, hash::ROLLOUT_HASH).unwrap_or_default()
    }

    fn size(&self) -> i64 {
        fields::int(&self.raw, "/spec/replicas").unwrap_or(1)
    }

    fn available(&self) -> i64 {
        fields::count(&self.raw, "/status/availableReplicas")
    }

    fn ready(&self) -> i64 {
        fields::count(&self.raw, "/status/readyReplicas")
    }

    fn actual(&self) -> i64 {
        fields::count(&self.raw, "/status/replicas")
    }

    fn created(&self) -> Timestamp {
        fields::created(&self.raw)
    }

    fn revision(&self) -> i64 {
        fields::annotation(&self.raw, REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
    }

    fn desired(&self) -> Option<i64> {
        fields::annotation(&self.raw, DESIRED).and_then(|r| r.parse().ok())
    }

    fn deadline(&self) -> Option<Timestamp> {
        fields::annotation(&self.raw, SCALE_DOWN_AT).and_then(|r| r.parse().ok())
    }

    fn waits_for_scale_down(&self) -> bool {
        fields::annotation(&self.raw, SCALE_DOWN_AT).is_some_and(|at| !at.is_empty())
    }

    fn count(&self) -> arithmetic::Count {
        arithmetic::Count { asked: self.size(), available: self.available() }
    }
}

/// Why a reconciliation ends before its end.
enum Stop {
    /// It changed the Rollout itself, or must wait: the next round goes on.
    Again,
}

type Flow = Result<(), Stop>;

/// One reconciliation.
struct Context<'d, 's> {
    desk: &'d mut Desk<'s>,
    /// The Rollout as it is; kept current with what is written.
    raw: Value,
    spec: Spec,
    steps: Vec<Step>,
    /// The status as it was read.
    status: Status,
    /// The status as it will be written.
    next: Status,
    /// All replica sets, oldest first.
    sets: Vec<Set>,
    /// Index of the set of the present template.
    new: Option<usize>,
    /// Index of the stable set.
    stable: Option<usize>,
    runs: CurrentRuns,
    pause: PauseContext,
    /// Whether the new set had a scale-down deadline ahead of it when this began.
    new_within_delay: bool,
    task: Task,
}

/// Reconciles one Rollout.
pub fn reconcile(desk: &mut Desk<'_>, namespace: &str, name: &str) {
    let Some(raw) = desk.get(&kinds::ROLLOUT, namespace, name) else { return };
    if raw.pointer("/metadata/deletionTimestamp").is_some() {
        return;
    }
    let task = Task::Rollout(namespace.to_owned(), name.to_owned());
    if raw.get("status").is_none_or(|s| fields::canonical(s) == json!({})) {
        let message = format!("Rollout resource added to informer: {namespace}/{name}");
        desk.event(COMPONENT, &raw, "RolloutAddedToInformer", &message);
    }
    let status = Status::read(&raw);
    let mut invalid = None;
    let mut spec = Spec::read(&raw).unwrap_or_else(|why| {
        invalid = Some(why);
        Spec::default()
    });
    let raw = match resolve(desk, raw, &mut spec) {
        Ok(raw) => raw,
        Err((raw, why)) => {
            invalid = Some(why);
            raw
        }
    };
    let mut sets: Vec<Set> =
        desk.owned(&kinds::REPLICA_SET, fields::uid(&raw)).into_iter().map(|raw| Set { raw }).collect();
    sets.sort_by(|a, b| (a.created(), a.name()).cmp(&(b.created(), b.name())));
    let next = Status {
        restarted_at: status.restarted_at,
        canary: spec::CanaryStatus { weights: status.canary.weights.clone(), ..Default::default() },
        ..Status::default()
    };
    let runs = CurrentRuns::read(desk, &raw, &status);
    let mut context = Context {
        desk,
        raw,
        steps: Vec::new(),
        spec,
        status,
        next,
        sets,
        new: None,
        stable: None,
        runs,
        pause: PauseContext::default(),
        new_within_delay: false,
        task,
    };
    context.find_sets();
    let now = context.desk.now();
    context.new_within_delay = context.new_set().and_then(Set::deadline).is_some_and(|at| at > now);
    // An early stop is no failure: what was written brings the Rollout back.
    let _ = context.run(invalid);
}

/// Fills in template and selector of a Rollout with `workloadRef`, and keeps its workload-generation annotation.
fn resolve(desk: &mut Desk<'_>, raw: Value, spec: &mut Spec) -> Result<Value, (Value, String)> {
    let Some(reference) = spec.workload_ref.clone() else { return Ok(raw) };
    let fail = |raw: Value, why: String| Err((raw, format!("spec.workloadRef: Invalid value: {why}")));
    let kind = match (reference.api_version.split('/').next(), reference.kind.as_str()) {
        (Some("apps"), "Deployment") => &kinds::DEPLOYMENT,
        (Some("apps"), "ReplicaSet") => &kinds::REPLICA_SET,
        (group, kind) => {
            let why = format!("workload of type {}/{kind} is not supported", group.unwrap_or_default());
            return fail(raw, why);
        }
    };
    let Some(workload) = desk.get(kind, fields::namespace(&raw), &reference.name) else {
        return fail(raw, format!("{}.apps \"{}\" not found", kind.singular, reference.name));
    };
    spec.template = workload.pointer("/spec/template").cloned();
    if spec.selector.is_none() {
        spec.selector = workload.pointer("/spec/selector").cloned();
    }
    let generation = fields::generation(&workload).to_string();
    if fields::annotation(&raw, WORKLOAD_GENERATION) == Some(generation.as_str()) {
        return Ok(raw);
    }
    let updated = desk.update(&kinds::ROLLOUT, &raw, |o| {
        fields::set(o, &["metadata", "annotations", WORKLOAD_GENERATION], json!(generation));
    });
    Ok(updated.unwrap_or(raw))
}

impl Context<'_, '_> {
    fn run(&mut self, invalid: Option<String>) -> Flow {
        if let Some(why) = invalid.or_else(|| self.first_violation()) {
            self.mark_invalid(&why);
            return Err(Stop::Again);
        }
        self.steps = self.spec.steps().iter().filter_map(|s| Step::read(s).ok()).collect();
        if self.new.is_none() {
            self.create_new_set();
            return Err(Stop::Again);
        }
        if self.status.fully_promoted() && self.pause.aborted(&self.status) {
            self.pause.remove_abort();
        }
        if self.spec.replicas.is_none() {
            let updated = self.desk.update(&kinds::ROLLOUT, &self.raw, |o| o["spec"]["replicas"] = json!(1));
            self.raw = updated.unwrap_or_default();
            return Err(Stop::Again);
        }
        self.note_pause_conditions()?;
        self.sync_revision()?;
        if self.is_scaling_event() {
            self.sync_replicas_only();
            return Ok(());
        }
        if self.spec.strategy.blue_green.is_some() { self.roll_blue_green() } else { self.roll_canary() }
    }

    fn namespace(&self) -> &str {
        fields::namespace(&self.raw)
    }

    fn name(&self) -> &str {
        fields::name(&self.raw)
    }

    fn event(&mut self, reason: &str, message: &str) {
        self.desk.event(COMPONENT, &self.raw, reason, message);
    }

    fn warn(&mut self, reason: &str, message: &str) {
        self.desk.warn(COMPONENT, &self.raw, reason, message);
    }

    fn again_after(&mut self, wait: SignedDuration) {
        self.desk.after(wait, self.task.clone());
    }

    fn again_past(&mut self, when: Timestamp) {
        self.desk.once_past(when, self.task.clone());
    }

    fn new_set(&self) -> Option<&Set> {
        self.new.and_then(|i| self.sets.get(i))
    }

    fn stable_set(&self) -> Option<&Set> {
        self.stable.and_then(|i| self.sets.get(i))
    }

    /// The stable set, where it is another one than the new.
    fn old_stable(&self) -> Option<&Set> {
        self.stable.filter(|s| Some(*s) != self.new).and_then(|i| self.sets.get(i))
    }

    /// Sets that are neither new nor stable.
    fn others(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|i| Some(*i) != self.new && Some(*i) != self.stable).collect()
    }

    fn by_hash(&self, hash: &str) -> Option<&Set> {
        if hash.is_empty() {
            return None;
        }
        self.sets.iter().find(|s| s.hash() == hash)
    }

    fn revision(&self) -> i64 {
        fields::annotation(&self.raw, REVISION).and_then(|r| r.parse().ok()).unwrap_or(0)
    }

    fn template(&self) -> Value {
        self.spec.template.clone().unwrap_or_else(|| json!({}))
    }

    fn find_sets(&mut self) {
        let wanted = hash::bare_template(&self.template());
        self.new = self
            .sets
            .iter()
            .position(|s| hash::bare_template(s.raw.pointer("/spec/template").unwrap_or(&Value::Null)) == wanted);
        self.stable = (!self.status.stable_rs.is_empty())
            .then(|| self.sets.iter().position(|s| s.hash() == self.status.stable_rs))
            .flatten();
    }

    /// The step that is being carried out, and its index; no step when all are done or there are none.
    fn current_step(&self) -> (Option<&Step>, Option<i64>) {
        if self.steps.is_empty() {
            return (None, None);
        }
        let index = self.status.current_step_index.unwrap_or(0);
        (usize::try_from(index).ok().and_then(|i| self.steps.get(i)), Some(index))
    }

    fn step_count(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// True when the template came back to a set older than stable, few enough revisions ago.
    fn within_rollback_window(&self) -> bool {
        let (Some(new), Some(stable)) = (self.new_set(), self.stable_set()) else { return false };
        let Some(window) = self.spec.rollback_window.filter(|w| w.revisions > 0) else { return false };
        if new.created() >= stable.created() {
            return false;
        }
        let between =
            self.sets.iter().filter(|s| s.created() < stable.created() && new.created() < s.created()).count();
        i64::try_from(between).unwrap_or(i64::MAX) < window.revisions
    }

    /// True when the way back needs no steps. Always true once promoted.
    fn fast_rollback(&self) -> bool {
        let (Some(new), Some(stable)) = (self.new_set(), self.stable_set()) else { return false };
        let to_stable = self.status.stable_rs == new.hash();
        let older = new.created() < stable.created();
        if !to_stable && !older {
            return false;
        }
        self.within_rollback_window() || (self.new_within_delay && self.spec.strategy.blue_green.is_some()) || to_stable
    }

    /// Why nothing may move on: a hold by a person, or an analysis that decided nothing.
    fn halted(&self) -> bool {
        self.spec.paused || self.status.pause("InconclusiveAnalysisRun").is_some()
    }

    /// True when template or steps differ from what the status was computed for.
    fn changed(&self) -> bool {
        self.steps_changed() || self.template_changed()
    }

    fn steps_changed(&self) -> bool {
        self.status.current_step_hash.is_empty() || self.status.current_step_hash != self.step_hash()
    }

    fn template_changed(&self) -> bool {
        !self.status.current_pod_hash.is_empty()
            && self.new_set().is_some_and(|n| n.hash() != self.status.current_pod_hash)
    }

    fn step_hash(&self) -> String {
        if self.spec.strategy.canary.is_none() { String::new() } else { hash::of_steps(self.spec.steps()) }
    }
}
