//! The last check of what a train ordered. No person confirms here: the order lies durable in the Release (or in a fsynced
//! file), and that it may go the way it goes is what the types of `train/effect.rs` prove. What is left is whether it may
//! still leave: the mode, the cluster, the age of what it rests on, and the epoch.

use std::time::Duration;

use super::{By, Cleared, READ_AGE_MAX, WRITE_DEADLINE, demand_preconditions, refuse};
use crate::core::confirm::Refusal;
use crate::core::effect::Direction;
use crate::core::elector::Epoch;
use crate::core::frozen::patch::Ordered;
use crate::core::snapshot::WriteMode;
use crate::core::text::Text;

/// What the guard goes by for a train. Times are those of the process's monotonic clock.
#[derive(Clone, Debug)]
pub struct TrainStanding<'a> {
    /// Whether actions may leave.
    pub write: WriteMode,
    /// The cluster's uid as the train was recorded with it, and as read now. Either may be unknown.
    pub cluster_uid: (Option<Text>, Option<Text>),
    /// How long ago the facts were read that it rests on; after a suspend everything is read anew.
    pub read_ago: Duration,
    /// How long ago the train ordered it.
    pub ordered_ago: Duration,
    /// The epoch that holds now; none for who does not conduct.
    pub epoch: Option<&'a Epoch>,
}

/// Lets an effect of a train pass or says why not.
pub fn clear_for_train(ordered: Ordered, standing: &TrainStanding<'_>) -> Result<Cleared, Refusal> {
    let Ordered { effect, forward } = ordered;
    demand_preconditions(&effect)?;
    let object = &effect.object;
    let goes_forward = forward.is_some() || effect.direction == Direction::Forward;
    match standing.write {
        WriteMode::ReadWrite => {}
        WriteMode::ReadOnlyByPattern if !goes_forward => {}
        WriteMode::ReadOnlyByPattern => {
            let why = crate::text!("{} is read-only by its name: nothing goes forward from here", object.cluster);
            return refuse(why, "conduct from elsewhere, or open it with --write");
        }
        WriteMode::ReadOnly => {
            return refuse(crate::text!("read-only: {object} is not changed"), "open it without --read-only");
        }
    }
    match &standing.cluster_uid {
        (Some(recorded), Some(read)) if recorded != read => {
            let why = crate::text!("this is another cluster: its uid is {read}, the train was recorded in {recorded}");
            return refuse(why, "check the context");
        }
        // What takes traffic back is never held up by a right that is missing.
        (Some(_), None) if goes_forward => {
            return refuse(
                Text::scrub("whether this is the cluster of the train cannot be told: its uid cannot be read"),
                "allow get on namespace kube-system",
            );
        }
        _ => {}
    }
    if standing.read_ago > READ_AGE_MAX.unsigned_abs() {
        let why = crate::text!("what it rests on was read {} s ago", standing.read_ago.as_secs());
        return refuse(why, "it is read again");
    }
    let mut deadline = WRITE_DEADLINE;
    match (forward, standing.epoch) {
        (None, _) if !goes_forward => {}
        (Some((number, within)), Some(epoch)) if epoch.number() == number => {
            let left = Duration::from_millis(within).saturating_sub(standing.ordered_ago);
            deadline = deadline.min(left).min(Duration::from_millis(epoch.remaining()));
            if deadline.is_zero() {
                let why = crate::text!("the time in which {object} was to be changed is used up");
                return refuse(why, "it is decided anew from what is read");
            }
        }
        (_, Some(epoch)) => {
            let why = crate::text!("ordered under another epoch than the present one ({})", epoch.number());
            return refuse(why, "it is decided anew from what is read");
        }
        (_, None) => {
            let why = Text::scrub("nothing goes forward without the Lease, and this process does not hold it");
            return refuse(why, "who conducts decides it anew");
        }
    }
    Ok(Cleared { effect, deadline, by: By::Conductor })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::core::effect::{Change, Effect};
    use crate::core::object::{ObjectKind, ObjectRef};

    fn ordered(direction: Direction, forward: Option<(u64, u64)>, shape: u8) -> Ordered {
        let patch = |ops| Change::Patch(serde_json::from_value(ops).unwrap());
        let change = match shape {
            0 => patch(json!([{"op": "test", "path": "/metadata/uid", "value": "u"}])),
            1 => patch(json!([{"op": "add", "path": "/spec/paused", "value": true}])),
            _ => Change::Create(json!({"metadata": {"generateName": "x-"}})),
        };
        let object =
            ObjectRef { cluster: "prod".into(), kind: ObjectKind::Rollout, namespace: "n".into(), name: "a".into() };
        Ordered { effect: Effect { object, change, direction, says: "x".into() }, forward }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// What passes may still leave by every rule, and its deadline is the shortest of all.
        #[test]
        fn nothing_passes_that_may_not_leave_any_more(
            goes in prop_oneof![Just(Direction::Safe), Just(Direction::Forward)],
            within in prop_oneof![Just(0u64), 1u64..20_000],
            made_under in 1u64..3,
            shape in 0u8..3,
            write in prop_oneof![
                Just(WriteMode::ReadWrite), Just(WriteMode::ReadOnlyByPattern), Just(WriteMode::ReadOnly)],
            held in prop::option::of((1u64..3, 0u64..15_000)),
            read_ago in 0u64..40_000,
            ordered_ago in 0u64..25_000,
            recorded in prop::option::of(Just("one")),
            read in prop::option::of(prop_oneof![Just("one"), Just("two")]),
        ) {
            let is_forward = goes == Direction::Forward;
            let order = ordered(goes, is_forward.then_some((made_under, within)), shape);
            let epoch = held.map(|(number, left)| Epoch::replayed(number, "p1".into(), left));
            let standing = TrainStanding {
                write,
                cluster_uid: (recorded.map(Into::into), read.map(Into::into)),
                read_ago: Duration::from_millis(read_ago),
                ordered_ago: Duration::from_millis(ordered_ago),
                epoch: epoch.as_ref(),
            };
            let left = held.map_or(0, |(_, left)| left.min(within.saturating_sub(ordered_ago)));
            let may = shape == 0
                && match write {
                    WriteMode::ReadWrite => true,
                    WriteMode::ReadOnlyByPattern => !is_forward,
                    WriteMode::ReadOnly => false,
                }
                && match (recorded, read) {
                    (None, _) => true,
                    (Some(recorded), Some(read)) => recorded == read,
                    (Some(_), None) => !is_forward,
                }
                && SignedDuration::from_millis(i64::try_from(read_ago).unwrap()) <= READ_AGE_MAX
                && (!is_forward || held.is_some_and(|(number, _)| number == made_under) && left > 0);
            let passed = clear_for_train(order.clone(), &standing);
            prop_assert_eq!(passed.is_ok(), may, "{:?}", passed);
            if let Ok(cleared) = passed {
                prop_assert_eq!(cleared.effect(), order.effect());
                prop_assert_eq!(cleared.by(), By::Conductor);
                let longest = if is_forward { Duration::from_millis(left).min(WRITE_DEADLINE) } else { WRITE_DEADLINE };
                prop_assert_eq!(cleared.deadline(), longest);
            }
        }
    }

    #[test]
    fn what_goes_forward_without_an_epoch_never_passes() {
        let epoch = Epoch::replayed(7, "p1".into(), 5_000);
        let standing = TrainStanding {
            write: WriteMode::ReadWrite,
            cluster_uid: (None, None),
            read_ago: Duration::ZERO,
            ordered_ago: Duration::ZERO,
            epoch: Some(&epoch),
        };
        assert!(clear_for_train(ordered(Direction::Forward, None, 0), &standing).is_err());
    }
}
