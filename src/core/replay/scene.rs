//! What a screen shows of a moment of a replay: the train as it was, with what its readings say of the workloads. What a journal
//! does not hold (old versions, pods, measurements) is shown as unknown.

use std::sync::Arc;

use jiff::SignedDuration;

use super::Tape;
use crate::core::object::{ObjectKind, ObjectRef};
use crate::core::snapshot::{
    FlagView, GateView, Link, Mode, Need, Place as Where, ServiceView, Snapshot, Weight, WriteMode,
};
use crate::core::text::Text;
use crate::core::train::event::{Pause as Why, Reading, Spec};
use crate::core::train::resolved::{Kind, Service};
use crate::core::train::{State, why};
use crate::core::workload::{Pause, Phase, Replicas, Strategy, UndoPath, Workload};
use crate::text;

/// How many events are shown.
const EVENTS_MAX: usize = 200;

impl Tape {
    /// What a screen shows at a moment. `journal` names where the journal came from.
    pub fn scene(&self, moment: usize, journal: &Text, seq: u64, speed: u32, plays: bool) -> Snapshot {
        let (state, beside) = self.moment(moment);
        let (plan, at) = (state.plan(), self.at(moment));
        let place = Where {
            environment: Some(plan.environment.clone()),
            context: "journal".into(),
            namespace: journal.clone(),
            server: Text::default(),
            protected: false,
            // Whatever is pressed: what was cannot be ordered.
            write: WriteMode::ReadOnly,
        };
        let object = |service: &Service| ObjectRef {
            cluster: place.context.clone(),
            kind: match service.kind {
                Kind::Rollout => ObjectKind::Rollout,
                Kind::Canary => ObjectKind::Canary,
                Kind::Deployment => ObjectKind::Deployment,
            },
            namespace: self.namespace.clone(),
            name: service.name.clone(),
        };
        let name = |s: &u16| plan.service(*s).name.clone();
        let mut services: Vec<Arc<ServiceView>> = (0..)
            .zip(&plan.services)
            .map(|(s, service)| {
                let id = object(service);
                let workload = state.reading(s).map(|reading| Arc::new(workload(&id, service, reading)));
                Arc::new(ServiceView {
                    name: service.name.clone(),
                    wave: Some(u32::from(service.wave)),
                    after: nearest(plan, s).iter().map(name).collect(),
                    pinned: Some(service.version.clone()),
                    id,
                    also: Vec::new(),
                    unread: workload.is_none(),
                    undo_s: None,
                    workload,
                    train_phase: state.train_phase(s),
                    verdict: beside.verdict(s).map(|judged| judged.verdict),
                    waits_for: why::service(&state, s),
                    doing: Text::default(),
                })
            })
            .collect();
        services.sort_by(|a, b| (a.wave, &a.name).cmp(&(b.wave, &b.name)));
        let gates = (0..).zip(&plan.services).filter_map(|(s, service)| {
            let judged = beside.verdict(s)?;
            Some(Arc::new(GateView {
                service: service.name.clone(),
                metric: "guard".into(),
                run: Text::default(),
                condition: Text::default(),
                limit: None,
                points: Arc::new([]),
                verdict: judged.verdict,
                taken: 0,
                wanted: 0,
                failures_left: None,
                interval_s: 0,
                age_s: None,
                note: judged.why.clone(),
            }))
        });
        let flags = plan.flags.iter().enumerate().map(|(n, flag)| FlagView {
            key: flag.key.clone(),
            source: "as the journal has it".into(),
            object: None,
            now: beside.flags.get(n).and_then(Option::as_ref).map(|value| text!("{value}")),
            wanted: Some(text!("{}", flag.goal)),
            enabled: true,
            services: flag.services.iter().map(name).collect(),
            note: Text::default(),
        });
        let mut events: Vec<_> = self.told(moment).rev().take(EVENTS_MAX).map(|told| told.event.clone()).collect();
        events.reverse();
        Snapshot {
            seq,
            at,
            mode: Mode::Replay(self.place(moment, speed, plays)),
            link: Link::Live,
            read_at: Some(at),
            release: Some(plan.release.clone()),
            waves: u32::try_from(plan.waves.len()).unwrap_or(u32::MAX),
            services: services.into(),
            expand: plan.migrations.iter().map(|m| (m.name.clone(), m.script.clone())).collect(),
            edges: (0..)
                .zip(&plan.services)
                .flat_map(|(s, to)| nearest(plan, s).into_iter().map(move |from| (from, to)))
                .map(|(from, to)| (name(&from), to.name.clone()))
                .collect(),
            history: None,
            train: None,
            gates: gates.collect(),
            flags: flags.collect(),
            events: events.into(),
            pods: Arc::new([]),
            runs: Arc::new([]),
            needs: needs(&state, at).into(),
            gaps: Arc::new([]),
            place,
        }
    }

    /// The story in lines, from the beginning: when, and what.
    pub fn lines(&self) -> impl Iterator<Item = Text> {
        self.told(self.len()).map(|told| {
            let event = &told.event;
            let subject = if event.subject.is_empty() { String::new() } else { format!("{} ", event.subject) };
            let weight = if event.weight == Weight::Alarm { "! " } else { "  " };
            text!("{} {weight}{subject}{}", event.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), event.text)
        })
    }
}

/// What goes directly before a service: of all that must, what no other of them waits for.
fn nearest(plan: &crate::core::train::resolved::Resolved, s: u16) -> Vec<u16> {
    let needs = &plan.service(s).needs;
    needs.iter().copied().filter(|n| !needs.iter().any(|m| m != n && plan.dependents(*n).contains(m))).collect()
}

fn needs(state: &State, at: jiff::Timestamp) -> Vec<Need> {
    let left = |ms: u64| SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    let since = |service: Option<u16>| {
        let holds = state.memory().holds.iter().filter(|h| h.service == service);
        holds.map(|h| h.since).min().unwrap_or(at)
    };
    why::calls(state)
        .into_iter()
        .map(|wait| Need {
            what: wait.what,
            since: since(wait.service),
            deadline: at.checked_add(left(wait.left)).ok(),
            keys: Text::default(),
            service: wait.service.map_or_else(Text::default, |s| state.plan().service(s).name.clone()),
        })
        .collect()
}

/// A workload as its reading has it.
fn workload(id: &ObjectRef, service: &Service, r: &Reading) -> Workload {
    let pinned = |hash: &Text| (r.spec == Spec::Pinned && *hash == r.current).then(|| service.version.clone());
    let moving = r.current != r.stable || !r.observed || !r.healthy;
    let phase = match r {
        r if r.aborted => Phase::Degraded,
        r if r.paused || r.pause.is_some() => Phase::Paused,
        _ if moving => Phase::Progressing,
        _ => Phase::Healthy,
    };
    let pause = match r.pause {
        Some(Why::Timed(ms)) => Some((Text::from("CanaryPauseStep"), Some(ms))),
        Some(Why::Untimed) => Some(("CanaryPauseStep".into(), None)),
        Some(Why::Inconclusive) => Some(("InconclusiveAnalysisRun".into(), None)),
        None => r.paused.then(|| ("manual".into(), None)),
    };
    // On its way the new version has what was read; at rest whoever is stable has it all.
    let weight = if r.current == r.stable { 100 } else { u32::from(r.weight) };
    Workload {
        id: id.clone(),
        uid: r.uid.clone(),
        strategy: match service.kind {
            Kind::Rollout => Strategy::CanaryRouted,
            Kind::Canary => Strategy::Flagger,
            Kind::Deployment => Strategy::RollingUpdate,
        },
        phase,
        reason: Text::default(),
        waits_for: Text::default(),
        version: pinned(&r.current),
        stable_version: pinned(&r.stable),
        hash: r.current.clone(),
        stable_hash: r.stable.clone(),
        step: (r.steps > 0).then_some(r.step),
        steps: (r.steps > 0).then_some(r.steps),
        step_text: Text::default(),
        next_text: Text::default(),
        weights: Vec::new(),
        set_weight: None,
        actual_weight: Some(weight),
        max_weight: 100,
        // How long a pause has lasted by then is not in the journal.
        pause: pause.map(|(reason, ms)| Pause {
            reason,
            since: None,
            seconds: ms.map(|ms: u64| u32::try_from(ms / 1000).unwrap_or(u32::MAX)),
        }),
        held: r.paused,
        held_by: r.hold.clone().unwrap_or_default(),
        aborted: r.aborted,
        promote_full: r.full,
        replicas: Replicas::default(),
        sets: Vec::new(),
        runs: Vec::new(),
        undo: match (moving, r.fast, r.undo.is_some() || r.spec != Spec::Pinned) {
            (_, _, true) => UndoPath::NotNeeded,
            (true, ..) => UndoPath::ToStable,
            (false, true, _) => UndoPath::Window,
            (false, false, _) => UndoPath::Slow,
        },
        undo_to: None,
        owner: None,
        generation: i64::try_from(r.generation).unwrap_or(i64::MAX),
        observed: r.observed,
    }
}
