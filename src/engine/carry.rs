//! One order from its first layer to its last: each layer at once, the next when the one before ended, and nothing taken
//! back that something else still needs. Resolves names to verbs; writing is `act.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::act::{Batch, Driver, Outcome};
use super::order::{Ordered, aim};
use super::scope::{Release, Scope};
use super::world::{Key, World};
use crate::core::config_files::ConfigFiles;
use crate::core::confirm::{Confirmed, Order, Refusal};
use crate::core::object::ObjectKind;
use crate::core::order::Want;
use crate::core::text::Text;
use crate::core::verb::{Aim, Procedure, Verb};
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
    aim: Result<Aim, Outcome>,
    order: Order,
    configs: Vec<(Text, Option<Text>)>,
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
            let release = scope.release.as_ref();
            let service = release.and_then(|r| r.services.iter().find(|s| s.name == target.name));
            Stop {
                name: target.name.clone(),
                was_stable: world.was_stable(&key).to_vec(),
                key,
                aim: aim(want, target, order, scope, world).map_err(Outcome::Refused),
                order: order.clone(),
                configs: service.map(|s| s.configs.clone()).unwrap_or_default(),
            }
        };
        Self {
            want: want.clone(),
            layers: layers.iter().map(|layer| layer.iter().map(stop).collect()).collect(),
            confirmed: confirmed.clone(),
            scope: Arc::clone(scope),
        }
    }

    /// Carries it out; every service ends with one [`Said::Ended`].
    pub async fn carry_out(mut self, driver: &Driver, tell: &(dyn Fn(Said) + Sync)) {
        let mut failed: BTreeSet<Text> = BTreeSet::new();
        for layer in std::mem::take(&mut self.layers) {
            let mut outcomes: Vec<(Text, Outcome)> = Vec::new();
            let mut going: Vec<(Text, Key)> = Vec::new();
            let (mut procedures, mut was_stable) = (Vec::new(), Vec::new());
            for stop in layer {
                let kept = (self.want == Want::Undo)
                    .then(|| kept_by(self.scope.release.as_ref(), &stop.name, &failed))
                    .flatten();
                if let Some(by) = kept {
                    let why = text!("{} stays as it is: {by} could not be taken back and needs it", stop.name);
                    let hint = text!("see to {by}, then order it again");
                    outcomes.push((stop.name, Outcome::Refused(Refusal { why, hint, already: false })));
                    continue;
                }
                let Stop { name, key, aim, order, configs, was_stable: seen } = stop;
                match self.procedure(&name, aim, &order, &configs).await {
                    Err(outcome) => outcomes.push((name, outcome)),
                    Ok(procedure) => {
                        procedures.push(procedure);
                        was_stable.push(seen);
                        going.push((name, key));
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

impl Errand {
    /// The verb at one target, a deploy with the config files that the release pins.
    async fn procedure(
        &self,
        name: &Text,
        aim: Result<Aim, Outcome>,
        order: &Order,
        configs: &[(Text, Option<Text>)],
    ) -> Result<Procedure, Outcome> {
        let mut aim = aim?;
        if let Verb::Start { config, .. } = &mut aim.verb {
            *config = self.config_of(name, configs).await?;
        }
        let verified = Verified::by_hand(order).map_err(Outcome::Refused)?;
        Ok(Procedure::new(aim, Some(verified)))
    }

    /// The config files of a service at their pinned commits; none when none is pinned.
    async fn config_of(&self, name: &Text, configs: &[(Text, Option<Text>)]) -> Result<Option<ConfigFiles>, Outcome> {
        let pinned = |(path, sha): &(Text, Option<Text>)| Some((path.clone(), sha.clone()?));
        if configs.iter().all(|(_, sha)| sha.is_none()) {
            return Ok(None);
        }
        let refuse = |why: Text, hint: Text| Err(Outcome::Refused(Refusal { why, hint, already: false }));
        if let Some((loose, _)) = configs.iter().find(|(_, sha)| sha.is_none()) {
            return refuse(
                text!("{name} owns config file {loose}, which the release does not pin as it does its others"),
                text!("they are mounted together: pin {loose} under config.configs of the manifest too"),
            );
        }
        let history = self.scope.release.as_ref().and_then(|r| r.history.0.as_ref());
        let Some(history) = history else {
            return refuse(
                text!("the config files of {name} are pinned, and no repository is at hand to read them from"),
                "call it in the environment repository".into(),
            );
        };
        let mut read = Vec::new();
        for (path, sha) in configs.iter().filter_map(pinned) {
            let content = history.at(&path, &sha).await.map_err(Outcome::Failed)?;
            read.push((path, content));
        }
        ConfigFiles::of(name, read).map(Some).map_err(Outcome::Refused)
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
