//! From the world to what the screen shows. Only what changed is made anew; the rest is shared with the snapshot before.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::pods::is_bad;
use super::scope::{Scope, Stop};
use super::world::{Key, Turns, World};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::past::PastTrain;
use crate::core::snapshot::{
    Conductor, EventView, FlagView, Gap, GateView, Limit, Link, Need, PodView, RunView, ServiceView, Snapshot,
    TrainPhase, TrainShown, Trouble, Verdict,
};
use crate::core::text::Text;
use crate::core::workload::{Phase, Strategy, UndoPath, Workload};
use crate::ports::{Fault, FaultKind};
use crate::text;

/// What the loop knows beside the world.
pub struct Beside<'a> {
    /// How the link is.
    pub link: Link,
    /// When something of the cluster was last read.
    pub read_at: Option<Timestamp>,
    /// What is being done, by workload.
    pub doing: &'a BTreeMap<Key, Text>,
    /// Gate metrics.
    pub gates: &'a Arc<[Arc<GateView>]>,
    /// Flags.
    pub flags: &'a Arc<[FlagView]>,
    /// Services whose pods are shown.
    pub open: &'a [Text],
    /// Trains that ran here; none while they were not read.
    pub history: Option<Arc<[PastTrain]>>,
    /// The train that is shown.
    pub train: Option<Arc<TrainShown>>,
    /// What of trains cannot be seen.
    pub train_gaps: Vec<Gap>,
    /// Now.
    pub now: Timestamp,
}

/// Makes snapshots, each from the one before.
pub struct Maker {
    scope: Arc<Scope>,
    turns: Option<Turns>,
    /// Since when a workload has needed a person, and for what.
    needed_since: BTreeMap<(Key, u8), Timestamp>,
    /// The same for what a train needs.
    train_since: BTreeMap<Text, Timestamp>,
    open: Vec<Text>,
    doing: BTreeMap<Key, Text>,
    last: Option<Arc<Snapshot>>,
}

impl<'a> Beside<'a> {
    /// For one look: nothing goes on beside what was seen.
    pub fn nothing(
        doing: &'a BTreeMap<Key, Text>,
        gates: &'a Arc<[Arc<GateView>]>,
        flags: &'a Arc<[FlagView]>,
        now: Timestamp,
    ) -> Self {
        Self {
            link: Link::Live,
            read_at: Some(now),
            doing,
            gates,
            flags,
            open: &[],
            train: None,
            train_gaps: Vec::new(),
            history: None,
            now,
        }
    }
}

impl Maker {
    /// Nothing shown yet.
    pub fn new(scope: Arc<Scope>) -> Self {
        Self {
            scope,
            turns: None,
            needed_since: BTreeMap::new(),
            train_since: BTreeMap::new(),
            open: Vec::new(),
            doing: BTreeMap::new(),
            last: None,
        }
    }

    /// The next snapshot; none when nothing that is shown has changed.
    pub fn make(&mut self, world: &World, beside: &Beside<'_>) -> Option<Arc<Snapshot>> {
        if self.is_untouched(world, beside) {
            return None;
        }
        let snapshot = self.next(world, beside);
        let same = self.last.as_ref().is_some_and(|last| same(last, &snapshot));
        (!same).then(|| self.keep(snapshot))
    }

    /// True when nothing that a snapshot is made of was touched: a quiet loop over a thousand workloads makes none to see that
    /// it would be the same.
    fn is_untouched(&self, world: &World, beside: &Beside<'_>) -> bool {
        self.turns == Some(world.turns)
            && self.open == beside.open
            && self.doing == *beside.doing
            && self.last.as_ref().is_some_and(|last| {
                last.link == beside.link
                    && last.read_at.is_some() == beside.read_at.is_some()
                    && Arc::ptr_eq(&last.gates, beside.gates)
                    && Arc::ptr_eq(&last.flags, beside.flags)
                    && same_train(last.train.as_ref(), beside.train.as_ref())
                    && ends_with(&last.gaps, &beside.train_gaps)
            })
    }

    /// A snapshot, whether or not anything changed.
    pub fn first(&mut self, world: &World, beside: &Beside<'_>) -> Arc<Snapshot> {
        let snapshot = self.next(world, beside);
        self.keep(snapshot)
    }

    fn keep(&mut self, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        self.last = Some(Arc::clone(&snapshot));
        snapshot
    }

    fn next(&mut self, world: &World, beside: &Beside<'_>) -> Snapshot {
        let last = self.last.clone();
        let before = self.turns.unwrap_or_default();
        let turns = world.turns;
        let services: Arc<[Arc<ServiceView>]> = self.services(world, beside);
        let opened = self.open != beside.open;
        let events: Arc<[EventView]> = match &last {
            Some(last) if turns.events == before.events => Arc::clone(&last.events),
            _ => world.events().cloned().collect(),
        };
        let pods: Arc<[PodView]> = match &last {
            Some(last) if turns.pods == before.pods && turns.workloads == before.workloads && !opened => {
                Arc::clone(&last.pods)
            }
            _ => self.pods(world, beside.open),
        };
        let runs: Arc<[RunView]> = match &last {
            Some(last) if turns.runs == before.runs && turns.workloads == before.workloads && !opened => {
                Arc::clone(&last.runs)
            }
            _ => runs(world, &services, beside.open),
        };
        let gaps: Arc<[Gap]> = match &last {
            Some(last) if turns.readings == before.readings && ends_with(&last.gaps, &beside.train_gaps) => {
                Arc::clone(&last.gaps)
            }
            _ => gaps(world).into_iter().chain(beside.train_gaps.iter().cloned()).collect(),
        };
        let needs = self.needs(&services, beside);
        let release = self.scope.release.as_ref();
        let snapshot = Snapshot {
            seq: last.as_ref().map_or(0, |l| l.seq + 1),
            at: beside.now,
            place: self.scope.place.clone(),
            mode: self.scope.mode.clone(),
            link: beside.link.clone(),
            read_at: beside.read_at,
            release: release.map(|r| r.name.clone()),
            waves: release.map_or(0, |r| r.waves),
            services,
            expand: match &last {
                Some(last) => Arc::clone(&last.expand),
                None => release.map(|r| r.expand.clone()).unwrap_or_default().into(),
            },
            edges: match &last {
                Some(last) => Arc::clone(&last.edges),
                None => release.map(|r| r.edges.clone()).unwrap_or_default().into(),
            },
            history: beside.history.clone(),
            gates: Arc::clone(beside.gates),
            flags: Arc::clone(beside.flags),
            events,
            pods,
            runs,
            needs,
            gaps,
            train: beside.train.clone(),
        };
        self.turns = Some(turns);
        self.open = beside.open.to_vec();
        self.doing.clone_from(beside.doing);
        snapshot
    }

    fn services(&self, world: &World, beside: &Beside<'_>) -> Arc<[Arc<ServiceView>]> {
        let old = self.last.as_ref().map(|l| Arc::clone(&l.services));
        let mut at = 0;
        let mut reuse = |view: ServiceView| -> Arc<ServiceView> {
            // Services keep their order, so that what was shown before is nearly always at the same place.
            let same = old.as_ref().and_then(|old| old.get(at)).filter(|o| is_same(o, &view)).cloned();
            at += 1;
            same.unwrap_or_else(|| Arc::new(view))
        };
        let bad = bad_pods(world);
        let reuse = |view: ServiceView| reuse(governed(view, beside.train.as_deref()));
        let mut reuse = reuse;
        let views: Vec<Arc<ServiceView>> = match &self.scope.release {
            Some(release) => {
                let done = |name: &Text| {
                    let stop = release.services.iter().find(|s| s.name == *name);
                    stop.and_then(|s| Some((s, world.of_service(s.kind, &s.workload)?))).is_some_and(
                        |(stop, workload)| {
                            matches!(
                                train_phase(Some(workload), Some(&stop.pinned)),
                                TrainPhase::Done | TrainPhase::Unchanged
                            )
                        },
                    )
                };
                release
                    .services
                    .iter()
                    .map(|stop| {
                        let workload = world.of_service(stop.kind, &stop.workload).cloned();
                        let phase = train_phase(workload.as_ref(), Some(&stop.pinned));
                        let (unread, absent) = match &workload {
                            Some(_) => (false, None),
                            None => {
                                let (unread, why) = absence(world, stop.kind, &stop.workload);
                                (unread, Some(why))
                            }
                        };
                        let waits_for = match (&workload, phase) {
                            (None, _) => absent.clone().unwrap_or_default(),
                            (Some(_), TrainPhase::Waiting) => {
                                let open: Vec<&str> =
                                    stop.after.iter().filter(|n| !done(n)).map(Text::as_str).collect();
                                if open.is_empty() {
                                    text!("somebody to start it")
                                } else {
                                    text!("{}", open.join(", "))
                                }
                            }
                            (Some(workload), _) => waiting(workload, &bad),
                        };
                        let id = workload.as_ref().map_or_else(|| self.place(stop), |w| w.id.clone());
                        reuse(ServiceView {
                            name: stop.name.clone(),
                            wave: Some(stop.wave),
                            after: stop.after.clone(),
                            pinned: Some(stop.pinned.clone()),
                            doing: doing(beside, &id),
                            verdict: verdict(beside.gates, &stop.name, workload.as_ref()),
                            also: world.also(&id),
                            id,
                            train_phase: phase,
                            unread,
                            undo_s: workload.as_ref().and_then(|w| undo_seconds(world, w)),
                            workload,
                            waits_for,
                        })
                    })
                    .collect()
            }
            None => world
                .found()
                .map(|workload| {
                    reuse(ServiceView {
                        name: workload.id.name.clone(),
                        wave: None,
                        after: Vec::new(),
                        pinned: None,
                        id: workload.id.clone(),
                        also: world.also(&workload.id),
                        train_phase: train_phase(Some(workload), None),
                        verdict: verdict(beside.gates, &workload.id.name, Some(workload)),
                        waits_for: waiting(workload, &bad),
                        doing: doing(beside, &workload.id),
                        unread: false,
                        undo_s: undo_seconds(world, workload),
                        workload: Some(Arc::clone(workload)),
                    })
                })
                .collect(),
        };
        match old {
            Some(old) if old.len() == views.len() && old.iter().zip(&views).all(|(a, b)| Arc::ptr_eq(a, b)) => old,
            _ => views.into(),
        }
    }

    fn place(&self, stop: &Stop) -> ObjectRef {
        ObjectRef {
            cluster: self.scope.place.context.clone(),
            kind: stop.kind.unwrap_or(ObjectKind::Rollout),
            namespace: self.scope.place.namespace.clone(),
            name: stop.workload.clone(),
        }
    }

    /// Pods of the services that are open.
    fn pods(&self, world: &World, open: &[Text]) -> Arc<[PodView]> {
        if open.is_empty() {
            return Arc::new([]);
        }
        let sets: Vec<Text> =
            open_workloads(&self.scope, world, open).flat_map(|w| w.sets.iter().map(|s| s.name.clone())).collect();
        world.pods().filter(|pod| sets.contains(&pod.view.set)).map(|pod| pod.view.clone()).collect()
    }

    /// What a person is needed for, the worst first. The words of a need stay the same while it lasts: the bell rings by them.
    fn needs(&mut self, services: &[Arc<ServiceView>], beside: &Beside<'_>) -> Arc<[Need]> {
        let mut needs: Vec<(u8, Need)> = Vec::new();
        let mut needed = BTreeMap::new();
        let active = beside.train.as_ref().filter(|train| train.active());
        if let Some(train) = active {
            needs.extend(self.train_needs(train, beside.now));
        }
        for service in services {
            let Some(w) = &service.workload else { continue };
            // A train says itself what it needs.
            if active.is_some_and(|train| train.service_of(&service.id).is_some()) {
                continue;
            }
            let name = &service.name;
            let step = match (w.step, w.steps) {
                (Some(step), Some(steps)) if step < steps => text!(" at step {step}/{steps}"),
                _ => Text::default(),
            };
            let waits = w.pause.as_ref().filter(|p| p.seconds.is_none());
            let reason = waits.map(|p| p.reason.as_str());
            let (rank, what, keys) = if w.aborted || w.phase == Phase::Degraded {
                let what = if w.aborted { "was aborted" } else { "is degraded" };
                (1, text!("{name} {what}"), "u undo  t retry")
            } else if service.verdict == Some(Verdict::Fail) {
                let fails = |g: &&Arc<GateView>| g.service == *name && g.verdict == Verdict::Fail;
                let gate = beside.gates.iter().find(fails);
                let which = gate.map_or_else(|| text!("its gate"), |g| text!("{}{}", g.metric, limit(g.limit)));
                (0, text!("{name}: {which} fails"), "X abort  u undo")
            } else if let Some("InconclusiveAnalysisRun" | "InconclusiveExperiment") = reason {
                (2, text!("the gate of {name} is inconclusive{step}"), "P approve with a reason  X abort")
            } else if w.is_held() {
                (4, text!("{name} is held{step}"), "r resume  X abort")
            } else if waits.is_some() {
                (3, text!("{name} waits for approval{step}"), "P approve  X abort")
            } else {
                continue;
            };
            let key = ((w.id.kind, w.id.name.clone()), rank);
            let since = *self.needed_since.get(&key).unwrap_or(&beside.now);
            needed.insert(key, since);
            let since = waits.filter(|_| rank >= 2).and_then(|p| p.since).unwrap_or(since);
            needs.push((rank, Need { what, since, deadline: None, keys: keys.into(), service: name.clone() }));
        }
        self.needed_since = needed;
        needs.sort_by(|(a, x), (b, y)| (a, x.since, &x.service).cmp(&(b, y.since, &y.service)));
        let needs: Arc<[Need]> = needs.into_iter().map(|(_, need)| need).collect();
        match &self.last {
            Some(last) if last.needs == needs => Arc::clone(&last.needs),
            _ => needs,
        }
    }
}

impl Maker {
    /// What a train needs a person for. That nobody conducts it comes first: then it does not move, and takes nothing back by
    /// itself.
    fn train_needs(&mut self, train: &TrainShown, now: Timestamp) -> Vec<(u8, Need)> {
        let mut known = std::mem::take(&mut self.train_since);
        let mut since = |what: &Text| {
            let at = *known.entry(what.clone()).or_insert(now);
            self.train_since.insert(what.clone(), at);
            at
        };
        let mut needs = Vec::new();
        let id = train.id();
        let mut own = |what: Text, keys: &str, at: Option<Timestamp>| {
            let first = since(&what);
            let since = at.unwrap_or(first);
            needs.push((0, Need { what, since, deadline: None, keys: keys.into(), service: Text::default() }));
        };
        match &train.conductor {
            Conductor::Nobody => own(text!("nobody conducts train {id}"), "T take-over", None),
            Conductor::Silent(who, at) => {
                own(text!("{who} conducts train {id} and is silent"), "T take-over", Some(*at))
            }
            Conductor::Unknown | Conductor::Works(_) => {}
        }
        if !train.trouble.is_empty() {
            own(text!("train {id}: {}", train.trouble), "", None);
        }
        for need in &train.needs {
            let (what, keys) = split_keys(&need.what);
            let held = train.holds().iter().find(|h| what.contains(h.who.as_str()) && what.contains(h.reason.as_str()));
            let first = since(&what);
            let since = held.map_or(first, |h| h.since);
            let service = need.service.clone();
            needs.push((1, Need { what, since, deadline: Some(need.until), keys, service }));
        }
        needs
    }
}

/// What a need says, and the keys that answer it where it ends with them (`...: r goes on, u undoes`).
fn split_keys(what: &Text) -> (Text, Text) {
    let keys = what.rsplit_once(": ").filter(|(_, keys)| {
        let mut words = keys.split(", ").map(|part| part.split(' ').next().unwrap_or_default());
        words.all(|key| matches!(key, "r" | "P" | "t" | "u" | "s" | "or"))
    });
    match keys {
        Some((what, keys)) => (Text::scrub(what), Text::scrub(&keys.replace(", ", "  "))),
        None => (what.clone(), Text::default()),
    }
}

/// A service as its train sees it, in place of what its workload alone lets guess. After the end of a train that counts for what has
/// not moved since.
fn governed(mut view: ServiceView, train: Option<&TrainShown>) -> ServiceView {
    let Some(train) = train else { return view };
    let Some(known) = train.service_of(&view.id).and_then(|id| train.service(id)) else { return view };
    let moves = view.workload.as_ref().is_some_and(|w| w.phase != Phase::Healthy);
    if !train.active() && moves {
        return view;
    }
    view.train_phase = known.phase;
    if !train.active() {
        if known.phase == TrainPhase::Waiting {
            // Its turn does not come any more.
            view.waits_for = Text::default();
        }
        return view;
    }
    view.verdict = known.verdict.or(view.verdict);
    view.waits_for = match (known.waits.is_empty(), known.evidence.is_empty()) {
        (false, true) => known.waits.clone(),
        (false, false) => text!("{}; {}", known.waits, known.evidence),
        (true, _) => known.evidence.clone(),
    };
    view
}

fn ends_with(gaps: &[Gap], with: &[Gap]) -> bool {
    let ours = gaps.iter().filter(|g| matches!(g.kind, ObjectKind::Release | ObjectKind::Lease));
    ours.eq(with.iter())
}

/// The workloads of services that are open.
pub fn open_workloads<'a>(
    scope: &'a Scope,
    world: &'a World,
    open: &'a [Text],
) -> impl Iterator<Item = &'a Arc<Workload>> {
    open.iter().filter_map(|name| match &scope.release {
        Some(release) => {
            let stop = release.services.iter().find(|s| s.name == *name)?;
            world.of_service(stop.kind, &stop.workload)
        }
        None => world.of_service(None, name),
    })
}

/// Where a service stands against its pinned version, as far as its workload alone tells.
pub fn train_phase(workload: Option<&Arc<Workload>>, pinned: Option<&Text>) -> TrainPhase {
    let Some(w) = workload else { return TrainPhase::Waiting };
    let there = pinned.is_none_or(|pinned| w.version.as_ref().is_some_and(|v| is_version(v, pinned)));
    if w.aborted {
        return TrainPhase::Aborted;
    }
    match (w.phase, there) {
        (Phase::Degraded, _) => TrainPhase::Failed,
        (Phase::Healthy, true) => TrainPhase::Done,
        (Phase::Healthy, false) => TrainPhase::Waiting,
        (_, _) if w.is_held() => TrainPhase::Held,
        (Phase::Paused, _) => TrainPhase::Stepping,
        (Phase::Progressing, _) if w.step.is_some_and(|s| s > 0) => TrainPhase::Stepping,
        (Phase::Progressing, _) => TrainPhase::Deploying,
    }
}

/// True when an image's version is the pinned one; tags of some builds carry a `v`.
fn is_version(found: &str, pinned: &str) -> bool {
    found == pinned || found.strip_prefix('v') == Some(pinned)
}

/// True when nothing that is shown differs. What did not change is shared, so that looking at addresses is enough.
fn same(old: &Snapshot, new: &Snapshot) -> bool {
    old.link == new.link
        && old.read_at.is_some() == new.read_at.is_some()
        && Arc::ptr_eq(&old.services, &new.services)
        && Arc::ptr_eq(&old.gates, &new.gates)
        && Arc::ptr_eq(&old.flags, &new.flags)
        && Arc::ptr_eq(&old.events, &new.events)
        && Arc::ptr_eq(&old.needs, &new.needs)
        && match (&old.history, &new.history) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() == new.is_none(),
        }
        && same_train(old.train.as_ref(), new.train.as_ref())
        && (Arc::ptr_eq(&old.pods, &new.pods) || old.pods == new.pods)
        && (Arc::ptr_eq(&old.runs, &new.runs) || old.runs == new.runs)
        && (Arc::ptr_eq(&old.gaps, &new.gaps) || old.gaps == new.gaps)
}

fn same_train(old: Option<&Arc<TrainShown>>, new: Option<&Arc<TrainShown>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}

fn is_same(old: &ServiceView, new: &ServiceView) -> bool {
    let workload = match (&old.workload, &new.workload) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    };
    workload
        && old.name == new.name
        && old.unread == new.unread
        && old.undo_s == new.undo_s
        && old.doing == new.doing
        && old.waits_for == new.waits_for
        && old.verdict == new.verdict
        && old.train_phase == new.train_phase
        && old.id == new.id
        && old.also == new.also
}

fn doing(beside: &Beside<'_>, id: &ObjectRef) -> Text {
    beside.doing.get(&(id.kind, id.name.clone())).cloned().unwrap_or_default()
}

/// The worst verdict of the metrics that decide about a service now.
fn verdict(gates: &[Arc<GateView>], service: &str, workload: Option<&Arc<Workload>>) -> Option<Verdict> {
    let runs = workload.map_or(&[][..], |w| &w.runs);
    let current = gates.iter().filter(|g| g.service == *service && (g.run.is_empty() || runs.contains(&g.run)));
    let rank = |v: Verdict| match v {
        Verdict::Fail => 0,
        Verdict::Inconclusive => 1,
        Verdict::NoData => 2,
        Verdict::Pass => 3,
    };
    current.map(|g| g.verdict).min_by_key(|v| rank(*v))
}

fn limit(limit: Option<Limit>) -> Text {
    match limit {
        Some(Limit::Below(most)) => text!(" (limit {most})"),
        Some(Limit::Above(least)) => text!(" (at least {least})"),
        None => Text::default(),
    }
}

/// Why a workload waits, with the pod that keeps it back where one is seen to.
fn waiting(workload: &Workload, bad: &BTreeMap<Text, Text>) -> Text {
    let pod = if workload.phase == Phase::Healthy { None } else { bad.get(&workload.hash) };
    match (pod, workload.waits_for.is_empty()) {
        (None, _) => workload.waits_for.clone(),
        (Some(pod), true) => pod.clone(),
        (Some(pod), false) => text!("{pod}; {}", workload.waits_for),
    }
}

/// By pod hash, the first pod that will not mend itself.
fn bad_pods(world: &World) -> BTreeMap<Text, Text> {
    let mut out = BTreeMap::new();
    for pod in world.pods().filter(|pod| is_bad(&pod.view)) {
        let view = &pod.view;
        let restarts = if view.restarts > 0 { text!(", {} restarts", view.restarts) } else { Text::default() };
        out.entry(pod.hash.clone()).or_insert_with(|| text!("pod {}: {}{restarts}", view.name, view.status));
    }
    out
}

/// Why a service has no workload, and whether that is because nobody could say: what may not be read is not missing.
pub fn absence(world: &World, kind: Option<ObjectKind>, name: &str) -> (bool, Text) {
    let all = [ObjectKind::Rollout, ObjectKind::Canary, ObjectKind::Deployment];
    let kinds = kind.as_ref().map_or(&all[..], std::slice::from_ref);
    let unread: Vec<ObjectKind> = kinds.iter().copied().filter(|kind| !world.how(*kind).listed).collect();
    // What the server does not serve is not there; what it keeps from us may be.
    let kept = unread.iter().filter_map(|kind| world.lost(*kind)).find(|fault| fault.kind != FaultKind::NoSuchKind);
    if let Some(fault) = kept {
        return (true, text!("cannot be read: {}", fault.why));
    }
    if let Some(fault) = kind.and_then(|kind| world.lost(kind)) {
        return (false, text!("cannot be read: {}", fault.why));
    }
    if unread.iter().any(|kind| world.lost(*kind).is_none()) {
        return (true, "not read yet".into());
    }
    let word = kind.map_or("workload", |k| k.api().3);
    (false, text!("there is no {word} {name} in {}", world.scope().place.namespace))
}

/// What an undo takes beside the start of pods: a fresh read, the record, the patch, the controller's own pass, the reading
/// back. On the real controller traffic moved 0.04 to 0.12 s after the patch; a second read-back ends within two.
const UNDO_S: u32 = 2;

/// About how long an undo takes until the traffic is back. Where only traffic moves that is known; where pods must start it
/// follows from how long pods of this workload were seen to take; Flagger acts at its own interval, which says nothing.
fn undo_seconds(world: &World, w: &Workload) -> Option<u32> {
    use Strategy::{BlueGreen, CanaryBasic, CanaryRouted, Flagger, Recreate, RollingUpdate};
    match (&w.undo, w.strategy) {
        (UndoPath::NotNeeded | UndoPath::NotReady(_), _) | (_, Flagger) => None,
        (UndoPath::ToStable, CanaryRouted | BlueGreen) => Some(UNDO_S),
        (_, CanaryRouted | BlueGreen | Recreate) => Some(UNDO_S + world.pod_start(w)?),
        // Half of the pods at a time, with a quarter more and a quarter less than asked for, as both are by default.
        (_, CanaryBasic | RollingUpdate) => Some(UNDO_S + 2 * world.pod_start(w)?),
    }
}

/// Analysis runs of the services that are open or not healthy, newest last, at most ten a service.
fn runs(world: &World, services: &[Arc<ServiceView>], open: &[Text]) -> Arc<[RunView]> {
    let mut out = Vec::new();
    for service in services {
        let Some(workload) = &service.workload else { continue };
        if workload.phase == Phase::Healthy && !open.contains(&service.name) {
            continue;
        }
        let mut runs = world.owned(&workload.uid, ObjectKind::AnalysisRun);
        runs.sort_by_key(|run| (run.created(), run.name()));
        out.extend(runs.iter().rev().take(10).rev().map(|run| run_view(run, &service.name)));
    }
    out.into()
}

fn run_view(run: &Object, service: &Text) -> RunView {
    let metrics = run.items("/status/metricResults").iter().map(|metric| {
        let text = |key: &str| Text::scrub(metric[key].as_str().unwrap_or_default());
        let count = |key: &str| metric[key].as_u64().unwrap_or_default();
        let last = metric["measurements"].as_array().and_then(|all| all.last());
        let value = Text::scrub(last.and_then(|m| m["value"].as_str()).unwrap_or_default());
        let counts = text!("{}/{}/{}/{}", count("successful"), count("failed"), count("inconclusive"), count("error"));
        (text("name"), text("phase"), value, counts)
    });
    RunView {
        name: run.name(),
        service: service.clone(),
        hash: Text::scrub(run.label("rollouts-pod-template-hash").unwrap_or_default()),
        phase: run.text("/status/phase").unwrap_or_else(|| "Pending".into()),
        message: run.text("/status/message").unwrap_or_default(),
        metrics: metrics.collect(),
    }
}

/// Kinds that cannot be read, with what to do.
fn gaps(world: &World) -> Vec<Gap> {
    let scope = world.scope();
    let found_any = world.found().next().is_some();
    // A cluster without Argo Rollouts lacks its other kinds too; one line says it.
    let unserved = world.lost(ObjectKind::Rollout).is_some_and(|fault| fault.kind == FaultKind::NoSuchKind);
    let needed = |kind: ObjectKind| match kind {
        ObjectKind::Rollout if scope.release.is_none() => !found_any,
        ObjectKind::AnalysisRun | ObjectKind::AnalysisTemplate if unserved => false,
        kind => scope.needs(kind),
    };
    let kinds = scope.kinds().into_iter().chain([ObjectKind::Event, ObjectKind::Pod]);
    let gap = |kind: ObjectKind| {
        let Fault { what, why, hint, .. } = world.lost(kind)?.clone();
        Some(Gap { kind, needed: needed(kind), trouble: Trouble { what, why, hint } })
    };
    kinds.filter_map(gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::snapshot::{Mode, Place, WriteMode};
    use crate::ports::{Interest, Seen};

    fn world() -> World {
        let place = Place {
            environment: None,
            context: "dev".into(),
            namespace: "payments".into(),
            server: "in process".into(),
            protected: false,
            write: WriteMode::ReadWrite,
        };
        World::new(Arc::new(Scope { place, mode: Mode::Live, cluster_uid: None, release: None }))
    }

    #[test]
    fn what_may_not_be_read_is_unknown_and_not_missing() {
        use ObjectKind::{Canary, Deployment, Rollout};
        let interest = |kind| Interest { kind, namespace: "payments".into(), labels: "".into(), fields: "".into() };
        let lost = |kind, fault| {
            let why = if fault == FaultKind::Forbidden { "forbidden" } else { "serves none" };
            Seen::Lost(interest(kind), Fault { kind: fault, what: "list".into(), why: why.into(), hint: "".into() })
        };
        let says = |world: &World, kind| {
            let (unread, why) = absence(world, kind, "billing-api");
            (unread, why.to_string())
        };
        let mut w = world();
        assert_eq!(says(&w, Some(Rollout)), (true, "not read yet".into()));
        w.fold(Seen::All(interest(Rollout), Vec::new()));
        assert_eq!(says(&w, Some(Rollout)), (false, "there is no Rollout billing-api in payments".into()));
        // Of a service that names no kind, any of three may be it.
        assert_eq!(says(&w, None), (true, "not read yet".into()));
        w.fold(lost(Canary, FaultKind::NoSuchKind));
        w.fold(lost(Deployment, FaultKind::Forbidden));
        assert_eq!(says(&w, None), (true, "cannot be read: forbidden".into()));
        assert_eq!(says(&w, Some(Deployment)), (true, "cannot be read: forbidden".into()));
        assert_eq!(says(&w, Some(Canary)), (false, "cannot be read: serves none".into()));
        w.fold(Seen::All(interest(Deployment), Vec::new()));
        assert_eq!(says(&w, None), (false, "there is no workload billing-api in payments".into()));
    }
}
