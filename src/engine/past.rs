//! The trains of a place, from its Release objects: what history shows. Reads no cluster and keeps nothing.

use super::scope::Scope;
use crate::core::object::Object;
use crate::core::past::{PastTrain, newest_first};
use crate::core::release::Release;

/// The trains of these objects, as [`ordered`] has them. One that cannot be read stays in the list and says so.
pub fn past<'o>(objects: impl Iterator<Item = &'o Object>, scope: &Scope) -> Vec<PastTrain> {
    let trains = objects.map(|object| match Release::read(object, &scope.place.context, None) {
        Ok(release) => PastTrain::of(&release),
        Err(unfit) => PastTrain::unreadable(unfit, object.created()),
    });
    ordered(trains, scope)
}

/// Newest first, and those of the environment alone, where it has a name: two environments of one namespace are never one team's
/// numbers.
pub fn ordered(trains: impl Iterator<Item = PastTrain>, scope: &Scope) -> Vec<PastTrain> {
    let here = |train: &PastTrain| {
        let named = scope.place.environment.as_ref();
        named.is_none_or(|name| train.environment.is_empty() || train.environment == *name)
    };
    let mut trains: Vec<PastTrain> = trains.filter(here).collect();
    newest_first(&mut trains);
    trains
}
