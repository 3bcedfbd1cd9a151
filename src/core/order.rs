//! What people order, how far it reaches, in which order services are changed, and how it must be confirmed. Worked out
//! from what is shown; whether a verb does anything is decided again on fresh facts (`verb.rs`). Rules: `train.md` §5, §8.

use std::collections::BTreeSet;

use super::confirm::Confirm;
pub use super::intent::Want;
use super::snapshot::{Place, ServiceView, Snapshot, TrainPhase, WriteMode};
use super::text::Text;
use super::workload::{Phase, UndoPath};

/// How far an order reaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// This service alone.
    One(Text),
    /// It and everything built on it that runs its new version.
    Downstream(Text),
    /// All services of this wave and later ones.
    Wave(u32),
    /// All services.
    All,
}

impl Want {
    /// How it must be confirmed. What is typed is the train id; without a train the name of what is changed.
    pub fn level(&self, reach: &Reach, place: &Place, release: Option<&Text>, train: Option<&Text>) -> Confirm {
        let name = match (train, reach) {
            (Some(id), _) => id.clone(),
            (None, Reach::One(name) | Reach::Downstream(name)) => name.clone(),
            (None, Reach::Wave(_) | Reach::All) => release.unwrap_or(&place.namespace).clone(),
        };
        match self {
            Self::Pause => Confirm::None,
            Self::Undo | Self::PromoteFull => Confirm::Type(name),
            Self::Start if place.protected => {
                Confirm::Type(place.environment.clone().unwrap_or_else(|| place.context.clone()))
            }
            _ if place.write == WriteMode::ReadOnlyByPattern => Confirm::Type(name),
            // Taking everything back that moves is more than one service's `y`.
            Self::Abort if matches!(reach, Reach::Wave(_) | Reach::All) => Confirm::Type(name),
            _ => Confirm::Yes,
        }
    }
}

/// The services that an order changes: each layer at once, the next when the one before is read back. What is in flight
/// is taken back first and together; then what is finished, dependents before what they depend on.
pub fn layers<'a>(snapshot: &'a Snapshot, want: &Want, reach: &Reach) -> Vec<Vec<&'a ServiceView>> {
    let all = || snapshot.services.iter().map(|service| &**service);
    let moved = |service: &&ServiceView| concerns(want, service);
    let chosen: Vec<&ServiceView> = match reach {
        Reach::One(name) => all().filter(|s| s.name == *name).collect(),
        Reach::Downstream(name) => {
            let built_on = downstream(snapshot, name);
            all().filter(|s| s.name == *name || (built_on.contains(&s.name) && moved(s))).collect()
        }
        Reach::Wave(wave) => all().filter(|s| s.wave.is_some_and(|w| w >= *wave)).filter(moved).collect(),
        Reach::All => all().filter(moved).collect(),
    };
    if *want != Want::Undo {
        return if chosen.is_empty() { Vec::new() } else { vec![chosen] };
    }
    let (flying, finished): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|s| in_flight(s));
    let mut waves: Vec<Option<u32>> = finished.iter().map(|s| s.wave).collect();
    waves.sort_unstable();
    waves.dedup();
    let later = waves.into_iter().rev().map(|wave| finished.iter().filter(|s| s.wave == wave).copied().collect());
    std::iter::once(flying).chain(later).filter(|layer: &Vec<_>| !layer.is_empty()).collect()
}

/// True while a service is between two versions.
pub fn in_flight(service: &ServiceView) -> bool {
    service.workload.as_ref().is_some_and(|w| w.aborted || w.hash != w.stable_hash || !w.observed)
}

/// True when an order that names no service means this one too.
fn concerns(want: &Want, service: &ServiceView) -> bool {
    let Some(w) = &service.workload else { return false };
    match want {
        Want::Start => service.train_phase == TrainPhase::Waiting && service.pinned.is_some(),
        Want::Pause => in_flight(service) && !w.held && !w.aborted && w.phase != Phase::Healthy,
        Want::Resume => w.held,
        Want::Promote | Want::PromoteFull => !w.held && w.pause.as_ref().is_some_and(|p| p.seconds.is_none()),
        Want::Abort => in_flight(service) && !w.aborted && w.phase != Phase::Healthy,
        Want::Retry => w.aborted,
        Want::Restart | Want::Flag { .. } | Want::Accept(_) | Want::TakeOver | Want::Depart => false,
        Want::Undo => {
            let moved =
                !matches!(service.train_phase, TrainPhase::Unchanged | TrainPhase::Waiting | TrainPhase::Undone);
            moved && !matches!(w.undo, UndoPath::NotNeeded | UndoPath::NotReady(_))
        }
    }
}

fn downstream(snapshot: &Snapshot, from: &Text) -> BTreeSet<Text> {
    let mut found = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(at) = todo.pop() {
        for (_, to) in snapshot.edges.iter().filter(|edge| edge.0 == *at) {
            if found.insert(to.clone()) {
                todo.push(to);
            }
        }
    }
    found
}
