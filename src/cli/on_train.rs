//! The verbs where a train governs: what would be ordered is shown and confirmed, the order is written into the Release, and how it
//! ended is said. Which order a verb is follows from `core::captain`; carrying it out is the engine's.

use std::sync::Arc;

use super::Wiring;
use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::ordering::{answer, ended_as, journal, who};
use crate::core::captain::Ordering;
use crate::core::confirm::{Order, Question, Refusal};
use crate::core::effect::Direction;
use crate::core::release::Release;
use crate::core::text::Text;
use crate::engine::act::Driver;
use crate::engine::captain::{self, Errand};
use crate::engine::scope::Scope;
use crate::ports::Cluster;
use crate::text;

/// What the person said beforehand, in the arguments.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The word that was typed.
    pub confirm: Option<&'a str>,
    /// Yes to a plain question.
    pub yes: bool,
    /// Why.
    pub reason: Option<&'a str>,
}

/// An order that would be refused, as the answer no. What somebody else has ordered already is that answer too.
pub fn refused(refusal: Refusal) -> Failure {
    Failure::new(FailureKind::No, refusal.why, refusal.hint)
}

/// Shows, has confirmed and gives an order on a train, and says how it ended.
pub async fn order(
    release: &Arc<Release>,
    ordering: Ordering,
    said: &Said<'_>,
    cluster: &Arc<dyn Cluster>,
    scope: &Arc<Scope>,
    wiring: &Wiring,
    console: &Console,
) -> Result<(), Failure> {
    let reason = Text::scrub(said.reason.unwrap_or_default().trim());
    console.talk(&format!("{}\n", ordering.title));
    for (_, line) in &ordering.lines {
        console.talk(&format!("  {line}\n"));
    }
    if ordering.reason && reason.is_empty() {
        let what = text!("{}: it needs a reason", ordering.title);
        return Err(Failure::new(FailureKind::Input, what, "say why with --reason TEXT"));
    }
    let now = wiring.clock.now();
    let said = answer(&ordering.level, said.confirm, said.yes);
    let question = Question { level: ordering.level, direction: ordering.direction, targets: ordering.targets };
    let confirmed =
        question.answer(&said, now).map_err(|refusal| Failure::new(FailureKind::Input, refusal.why, refusal.hint))?;
    let driver = Driver {
        cluster: Arc::clone(cluster),
        clock: Arc::clone(&wiring.clock),
        journal: journal(wiring, ordering.direction == Direction::Safe, console),
        write: scope.place.write,
        cluster_uid: scope.cluster_uid.clone(),
    };
    let errand = Errand {
        release: Arc::clone(release),
        wants: ordering.on.wants,
        confirmed,
        order: Order { who: who(&cluster.identity().user), when: now, why: reason },
        patient: false,
    };
    let tell = |_, says: Text| console.talk(&format!("{says}\n"));
    let outcome = captain::order(&driver, errand, &tell).await;
    let train = text!("train {}", release.frozen.resolved.id);
    console.data(&ended_as(&train, outcome)?)
}
