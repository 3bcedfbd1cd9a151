//! The last check before any effect. [`Cleared`] is the only thing an adapter accepts for sending, and only this room makes one:
//! [`clear`] for what a person ordered by hand, [`clear_for_train`] for what a train ordered, [`clear_clerical`] for a
//! conductor's own papers. A stray effect cannot be written, let alone sent. Rules only; facts come from the engine.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::confirm::{Confirmed, Refusal};
use super::effect::{Change, Direction, Effect};
use super::record;
use super::snapshot::WriteMode;
use super::text::Text;

mod clerical;
mod train;

pub use clerical::{Clerical, clear_clerical};
pub use train::{TrainStanding, clear_for_train};

/// How old a read may be for an effect that rests on it (`train.md` §2).
pub const READ_AGE_MAX: SignedDuration = SignedDuration::from_secs(30);

/// The deadline of every write: time after which it is given up and its outcome is read back.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// What the guard goes by.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// Whether actions may leave.
    pub write: WriteMode,
    /// The person's confirmation; none where the ladder asks for none.
    pub confirmed: Option<&'a Confirmed>,
    /// The cluster's uid as pinned in footplate.yaml, and as read. Either may be unknown.
    pub cluster_uid: (Option<Text>, Option<Text>),
    /// When the facts that the effect rests on were read.
    pub read_at: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// In whose name an effect leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// A person at the keys.
    Captain,
    /// A train.
    Conductor,
}

/// An effect that may leave.
#[derive(Clone, PartialEq, Debug)]
pub struct Cleared {
    effect: Effect,
    deadline: Duration,
    by: By,
}

impl Cleared {
    /// The effect.
    pub fn effect(&self) -> &Effect {
        &self.effect
    }

    /// It is given up, its outcome unknown, when this much time has passed from now on.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// In whose name.
    pub fn by(&self) -> By {
        self.by
    }
}

/// Lets an effect pass or says why not.
pub fn clear(effect: Effect, standing: &Standing<'_>) -> Result<Cleared, Refusal> {
    demand_preconditions(&effect)?;
    if standing.write == WriteMode::ReadOnly {
        return refuse(crate::text!("read-only: {} is not changed", effect.object), "open it without --read-only");
    }
    // A record belongs to the workload that was confirmed: its name follows from what is live, which nobody can name before.
    let subject = match &effect.change {
        Change::Create(body) => record::belongs_to(&effect.object, body),
        _ => None,
    };
    let subject = subject.as_ref().unwrap_or(&effect.object);
    let confirmed = standing.confirmed.filter(|c| c.covers(subject, effect.direction, standing.now));
    if standing.write == WriteMode::ReadOnlyByPattern
        && (effect.direction == Direction::Forward || confirmed.is_some_and(|c| !c.arms()))
    {
        return refuse(
            crate::text!("{} is read-only by its name; only safe actions can be armed", effect.object.cluster),
            "open it by its name (--context or --env), with --write where your own read_only_contexts has it, or pause, abort or undo and type the word",
        );
    }
    if confirmed.is_none() {
        return refuse(crate::text!("no fresh confirmation covers {}", effect.object), "order it again and confirm");
    }
    match &standing.cluster_uid {
        (Some(pinned), Some(read)) if pinned != read => {
            return refuse(
                crate::text!("this is another cluster: its uid is {read}, footplate.yaml pins {pinned}"),
                "check the context, or correct clusterUid",
            );
        }
        // What takes traffic back is never held up by a right that is missing.
        (Some(_), None) if effect.direction == Direction::Forward => {
            return refuse(
                Text::scrub("whether this is the pinned cluster cannot be told: its uid cannot be read"),
                "allow get on namespace kube-system, or take clusterUid out of footplate.yaml",
            );
        }
        _ => {}
    }
    let age = standing.now.duration_since(standing.read_at).abs();
    if age > READ_AGE_MAX {
        return refuse(crate::text!("what it rests on was read {} s ago", age.as_secs()), "read again and order again");
    }
    Ok(Cleared { effect, deadline: WRITE_DEADLINE, by: By::Captain })
}

fn refuse<T>(why: Text, hint: &str) -> Result<T, Refusal> {
    Err(Refusal { why, hint: Text::scrub(hint), already: false })
}

fn demand_preconditions(effect: &Effect) -> Result<(), Refusal> {
    if has_preconditions(&effect.change) {
        return Ok(());
    }
    refuse(
        crate::text!("a write to {} says not under which conditions it holds", effect.object),
        "this is a defect of footplate: please report it",
    )
}

/// True when the server can refuse it: a patch begins with a test, a create has a name of its own.
fn has_preconditions(change: &Change) -> bool {
    match change {
        Change::Patch(patch) | Change::PatchStatus(patch) => {
            matches!(patch.0.first(), Some(json_patch::PatchOperation::Test(_)))
        }
        Change::Create(body) => body.pointer("/metadata/name").is_some_and(|name| name.is_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::core::confirm::{Answer, CONFIRMED_FOR, Confirm, Question};
    use crate::core::object::{ObjectKind, ObjectRef};

    const NOW: i64 = 1_759_320_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn object(name: &str) -> ObjectRef {
        ObjectRef { cluster: "prod".into(), kind: ObjectKind::Rollout, namespace: "n".into(), name: name.into() }
    }

    fn change(n: u8) -> Change {
        let patch = |ops| Change::Patch(serde_json::from_value(ops).unwrap());
        match n {
            0 => patch(
                json!([{"op": "test", "path": "/metadata/uid", "value": "u"}, {"op": "add", "path": "/spec/paused", "value": true}]),
            ),
            1 => patch(json!([{"op": "add", "path": "/spec/paused", "value": true}])),
            2 => patch(json!([])),
            _ => Change::Create(json!({"metadata": {"generateName": "x-"}})),
        }
    }

    fn effect(name: &str, direction: Direction, change: Change) -> Effect {
        Effect { object: object(name), change, direction, says: "x".into() }
    }

    fn direction() -> impl Strategy<Value = Direction> {
        prop_oneof![Just(Direction::Safe), Just(Direction::Forward)]
    }

    fn level() -> impl Strategy<Value = Confirm> {
        prop_oneof![
            Just(Confirm::None),
            Just(Confirm::Yes),
            Just(Confirm::Type("QKZD".into())),
            Just(Confirm::Type("".into()))
        ]
    }

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            Just(Answer::Nothing),
            Just(Answer::Yes),
            Just(Answer::Typed("QKZD".into())),
            Just(Answer::Typed(" QKZD ".into())),
            Just(Answer::Typed("qkzd".into())),
            Just(Answer::Typed("".into())),
        ]
    }

    fn write() -> impl Strategy<Value = WriteMode> {
        prop_oneof![Just(WriteMode::ReadWrite), Just(WriteMode::ReadOnlyByPattern), Just(WriteMode::ReadOnly)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Whatever passes was asked for, answered, fresh, on the right cluster, and may be refused by the server.
        #[test]
        fn nothing_passes_that_was_not_ordered(
            level in level(),
            asked in direction(),
            said in answer(),
            goes in direction(),
            other in any::<bool>(),
            shape in 0u8..4,
            write in write(),
            confirmed_ago in -700i64..700,
            read_ago in -40i64..40,
            pinned in prop::option::of(Just("one")),
            read in prop::option::of(prop_oneof![Just("one"), Just("two")]),
        ) {
            let question = Question { level: level.clone(), direction: asked, targets: vec![object("a")] };
            let confirmed = question.answer(&said, at(NOW - confirmed_ago)).ok();
            let typed = matches!(&said, Answer::Typed(t) if t.trim() == "QKZD");
            let fits = match &level {
                Confirm::None => asked == Direction::Safe,
                Confirm::Yes => said != Answer::Nothing,
                Confirm::Type(word) => typed && word.as_str() == "QKZD",
            };
            prop_assert_eq!(confirmed.is_some(), fits);
            let standing = Standing {
                write,
                confirmed: confirmed.as_ref(),
                cluster_uid: (pinned.map(Into::into), read.map(Into::into)),
                read_at: at(NOW - read_ago),
                now: at(NOW),
            };
            let name = if other { "b" } else { "a" };
            let passed = clear(effect(name, goes, change(shape)), &standing);
            let forward = goes == Direction::Forward;
            let may = fits
                && !other
                && shape == 0
                && (!forward || asked == Direction::Forward)
                && confirmed_ago.abs() <= CONFIRMED_FOR.as_secs()
                && read_ago.abs() <= READ_AGE_MAX.as_secs()
                && match write {
                    WriteMode::ReadWrite => true,
                    WriteMode::ReadOnlyByPattern => !forward && level != Confirm::Yes,
                    WriteMode::ReadOnly => false,
                }
                && match (pinned, read) {
                    (None, _) => true,
                    (Some(pinned), Some(read)) => pinned == read,
                    (Some(_), None) => !forward,
                };
            prop_assert_eq!(passed.is_ok(), may, "{:?}", passed);
            if let Ok(cleared) = passed {
                prop_assert_eq!(cleared.effect(), &effect(name, goes, change(shape)), "it leaves as it came");
            }
        }
    }

    #[test]
    fn a_record_leaves_under_the_confirmation_of_its_workload() {
        let workload = ObjectRef { kind: ObjectKind::Deployment, ..object("worker") };
        let question = Question { level: Confirm::Yes, direction: Direction::Forward, targets: vec![workload.clone()] };
        let confirmed = question.answer(&Answer::Yes, at(NOW)).unwrap();
        let standing = Standing {
            write: WriteMode::ReadWrite,
            confirmed: Some(&confirmed),
            cluster_uid: (None, None),
            read_at: at(NOW),
            now: at(NOW),
        };
        let try_with = |owner: &ObjectRef| {
            let record = record::of(owner, "u1", "abc", &json!({"spec": {}}));
            let change = Change::Create(record.config_map);
            clear(Effect { object: record.id, change, direction: Direction::Forward, says: "x".into() }, &standing)
        };
        assert!(try_with(&workload).is_ok());
        assert!(try_with(&ObjectRef { name: "other".into(), ..workload.clone() }).is_err());
        assert!(try_with(&ObjectRef { namespace: "other".into(), ..workload.clone() }).is_err());
        assert!(try_with(&ObjectRef { cluster: "other".into(), ..workload }).is_err());
    }
}
