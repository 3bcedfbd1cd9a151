//! One look at a place without watching it: what `status` and the commands that act go by.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;

use super::gates::Moment;
use super::scope::Scope;
use super::snapshot::{Beside, Maker};
use super::trains::Trains;
use super::world::World;
use crate::core::object::{ObjectKind, Packed};
use crate::core::snapshot::Snapshot;
use crate::core::text::Text;
use crate::ports::{Cluster, Fault, FaultKind, Interest, Seen};

/// Reads the workloads of a place and what belongs to them, all at once. A kind that the server does not serve, and a
/// Canary that may not be read where none is asked for, are left out and stay as a loss in the world; anything else that
/// cannot be read fails the look, since what is missing could not be told from what is not there.
pub async fn look(cluster: &dyn Cluster, scope: &Arc<Scope>, now: Timestamp) -> Result<World, Fault> {
    const KINDS: [ObjectKind; 4] =
        [ObjectKind::Rollout, ObjectKind::ReplicaSet, ObjectKind::Deployment, ObjectKind::Canary];
    let interests = KINDS.map(|kind| interest(scope, kind));
    let lists = join_all(interests.iter().map(|interest| cluster.list(interest))).await;
    let mut world = World::new(Arc::clone(scope));
    for (interest, list) in interests.iter().zip(lists) {
        match list {
            Ok(objects) => world.fold(Seen::All(interest.clone(), objects.iter().map(Packed::of).collect())),
            Err(fault) => {
                let optional = fault.kind == FaultKind::NoSuchKind
                    || (interest.kind == ObjectKind::Canary
                        && !scope.needs(interest.kind)
                        && fault.kind == FaultKind::Forbidden);
                if !optional {
                    return Err(fault);
                }
                world.fold(Seen::Lost(interest.clone(), fault));
            }
        }
    }
    world.refresh(now);
    Ok(world)
}

/// Reads the trains of a place: its Releases and the Lease. What cannot be read is left out.
pub async fn look_at_trains(cluster: &dyn Cluster, scope: &Scope, now: Moment) -> Trains {
    let interests = Trains::interests(scope).map(|(_, interest)| interest);
    let lists = join_all(interests.iter().map(|interest| cluster.list(interest))).await;
    let mut trains = Trains::default();
    for (interest, list) in interests.into_iter().zip(lists) {
        let seen = match list {
            Ok(objects) => Seen::All(interest, objects.iter().map(Packed::of).collect()),
            Err(fault) => Seen::Lost(interest, fault),
        };
        trains.fold(&seen, &scope.place.context, now);
    }
    trains
}

/// What was seen by one look, as a screen would show it.
pub fn shown(world: &World, now: Timestamp) -> Arc<Snapshot> {
    let (doing, gates, flags) = (BTreeMap::new(), Arc::new([]) as Arc<[_]>, Arc::new([]) as Arc<[_]>);
    Maker::new(Arc::clone(world.scope())).first(world, &Beside::nothing(&doing, &gates, &flags, now))
}

/// All objects of a kind in the place of a scope.
pub fn interest(scope: &Scope, kind: ObjectKind) -> Interest {
    Interest { kind, namespace: scope.place.namespace.clone(), labels: Text::default(), fields: Text::default() }
}
