//! One order from its first layer to its last: each layer at once, the next when the one before ended, and nothing taken
//! back that something else still needs. Resolves names to verbs; writing is `act.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::act::{Batch, Driver, Outcome};
use super::order::{Ordered, aim};
use super::scope::{Release, Scope};
use super::world::{Key, World};
use crate::core::confirm::{Confirmed, Refusal};
use crate::core::object::ObjectKind;
use crate::core::order::Want;
use crate::core::text::Text;
use crate::core::verb::Procedure;
use crate::core::verified::Verified;
use crate::text;

/// What is heard while an order is carried out.
#[derive(Clone, PartialEq, Debug)]
pub enum Said {
    /// What is being done to a workload; empty when nothing any more.
    Doing(Key, Text),
    /// A service ended, and how.
    Ended(Text, Outcome),
}

/// One service of an order.
struct Stop {
    name: Text,
    key: Key,
    procedure: Result<Procedure, Outcome>,
    was_stable: Vec<Text>,
}

/// An order with everything that is needed to carry it out, whatever becomes of the world meanwhile.
pub struct Errand {
    want: Want,
    layers: Vec<Vec<Stop>>,
    confirmed: Confirmed,
    scope: Arc<Scope>,
}

impl Errand {
    /// Takes an order; what it needs of the world is copied now.
    pub fn of(ordered: &Ordered, scope: &Arc<Scope>, world: &World) -> Self {
        let Ordered { want, layers, confirmed, order, .. } = ordered;
        let stop = |target: &super::order::Target| {
            let key = target
                .object
                .as_ref()
                .map_or((ObjectKind::FeatureFlag, target.name.clone()), |o| (o.kind, o.name.clone()));
            let procedure = aim(want, target, order, scope, world)
                .and_then(|aim| Ok(Procedure::new(aim, Some(Verified::by_hand(order)?))))
                .map_err(Outcome::Refused);
            Stop { name: target.name.clone(), was_stable: world.was_stable(&key).to_vec(), key, procedure }
        };
        Self {
            want: want.clone(),
            layers: layers.iter().map(|layer| layer.iter().map(stop).collect()).collect(),
            confirmed: confirmed.clone(),
            scope: Arc::clone(scope),
        }
    }

    /// Carries it out; every service ends with one [`Said::Ended`].
    pub async fn carry_out(self, driver: &Driver, tell: &(dyn Fn(Said) + Sync)) {
        let mut failed: BTreeSet<Text> = BTreeSet::new();
        for layer in self.layers {
            let mut outcomes: Vec<(Text, Outcome)> = Vec::new();
            let mut going: Vec<(Text, Key)> = Vec::new();
            let (mut procedures, mut was_stable) = (Vec::new(), Vec::new());
            for stop in layer {
                let kept = (self.want == Want::Undo)
                    .then(|| kept_by(self.scope.release.as_ref(), &stop.name, &failed))
                    .flatten();
                match (kept, stop.procedure) {
                    (Some(by), _) => {
                        let why = text!("{} stays as it is: {by} could not be taken back and needs it", stop.name);
                        let hint = text!("see to {by}, then order it again");
                        outcomes.push((stop.name, Outcome::Refused(Refusal { why, hint, already: false })));
                    }
                    (None, Err(outcome)) => outcomes.push((stop.name, outcome)),
                    (None, Ok(procedure)) => {
                        procedures.push(procedure);
                        was_stable.push(stop.was_stable);
                        going.push((stop.name, stop.key));
                    }
                }
            }
            let batch = Batch { procedures, confirmed: self.confirmed.clone(), was_stable };
            let doing =
                |at: usize, what: &Text| tell(Said::Doing(going[at].1.clone(), text!("{}: {what}", self.want.name())));
            let driven = driver.drive(batch, &doing).await;
            going.iter().for_each(|(_, key)| tell(Said::Doing(key.clone(), Text::default())));
            outcomes.extend(going.into_iter().map(|(name, _)| name).zip(driven));
            for (name, outcome) in outcomes {
                if !matches!(outcome, Outcome::Done(_)) {
                    failed.insert(name.clone());
                }
                tell(Said::Ended(name, outcome));
            }
        }
    }
}

/// The service among these that keeps a target where it is: one that could not be taken back and comes after it.
pub fn kept_by<'a>(release: Option<&Release>, name: &str, failed: &'a BTreeSet<Text>) -> Option<&'a Text> {
    let edges = &release?.edges;
    let mut seen = BTreeSet::new();
    let mut todo = vec![name];
    while let Some(at) = todo.pop() {
        for (_, to) in edges.iter().filter(|(from, _)| *from == *at) {
            if let Some(found) = failed.get(to) {
                return Some(found);
            }
            if seen.insert(to.as_str()) {
                todo.push(to);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_something_else_needs_stays() {
        let edge = |from: &str, to: &str| (Text::scrub(from), Text::scrub(to));
        let release = Release { edges: vec![edge("a", "b"), edge("b", "c"), edge("x", "y")], ..Release::default() };
        let failed: BTreeSet<Text> = [Text::scrub("c")].into();
        assert_eq!(kept_by(Some(&release), "a", &failed), Some(&Text::scrub("c")));
        assert_eq!(kept_by(Some(&release), "x", &failed), None);
        assert_eq!(kept_by(Some(&release), "c", &failed), None, "not by itself");
        assert_eq!(kept_by(None, "a", &failed), None);
    }
}
