//! A Release as a train that is looked back on. Reading the object is `release.rs`, what a past train is `core/past.rs`.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Release, Unfit};
use crate::core::past::{Blame, Outcome, PastService, PastTrain};
use crate::core::text::Text;
use crate::core::train::event::Want;
use crate::core::train::state::Ended;
use crate::core::train::{Phase, State};

impl PastTrain {
    /// Of a Release.
    pub fn of(release: &Release) -> Self {
        let plan = &release.frozen.resolved;
        let start = release.intents.iter().find(|intent| intent.want == Want::Start);
        let mut train = Self {
            id: plan.id.clone(),
            release: plan.release.clone(),
            environment: plan.environment.clone(),
            by: start.map_or_else(|| plan.captain.clone(), |intent| intent.order.who.clone()),
            incident: release.incident.clone(),
            ..Self::blank(release.id.name.clone(), Outcome::Active(Phase::Planned), release.created)
        };
        let memory = match release.memory() {
            Ok(Some(memory)) => memory,
            Ok(None) => return train,
            Err(why) => return Self { outcome: Outcome::Unreadable(why), ..train },
        };
        (train.started, train.detected) = (memory.started, memory.detected);
        (train.decided, train.recovered) = (memory.decided, memory.recovered);
        train.cause = memory.cause.as_ref().map(|(whose, cause, why)| Blame {
            service: whose.name(plan).clone(),
            cause: *cause,
            why: why.clone(),
        });
        train.undone = memory.undo.as_ref().map(|undo| (undo.who.clone(), undo.automatic));
        // The status that names the result is the last one.
        train.ended = release.status.as_ref().filter(|status| status.result.is_some()).map(|status| status.written);
        let state = State::resume(Arc::new(plan.clone()), memory);
        train.outcome = match state.memory().ended {
            Some(Ended::Completed) => Outcome::Completed,
            Some(Ended::RolledBack) => Outcome::RolledBack,
            Some(Ended::Refused) => Outcome::Refused,
            None => Outcome::Active(state.phase()),
        };
        train.services = (0..)
            .zip(&plan.services)
            .zip(&state.memory().services)
            .map(|((s, service), memory)| PastService {
                name: service.name.clone(),
                version: service.version.clone(),
                commit: service.commit.clone(),
                phase: state.train_phase(s),
                deployed: memory.touched,
                started: memory.started,
                healthy: memory.healthy,
                detected: memory.detected,
                recovered: memory.recovered,
                cause: memory.cause,
                automatic: memory.undone_by.or(memory.abort).map(|_| memory.automatic),
            })
            .collect();
        train
    }

    /// Of a Release that cannot be read.
    pub fn unreadable(unfit: Unfit, created: Option<Timestamp>) -> Self {
        Self::blank(unfit.name, Outcome::Unreadable(unfit.why), created)
    }

    /// Of which nothing is known but this.
    fn blank(name: Text, outcome: Outcome, created: Option<Timestamp>) -> Self {
        let none = Text::default;
        Self {
            name,
            id: none(),
            release: none(),
            environment: none(),
            by: none(),
            outcome,
            created,
            started: None,
            ended: None,
            detected: None,
            decided: None,
            recovered: None,
            cause: None,
            undone: None,
            incident: None,
            services: Vec::new(),
        }
    }
}
