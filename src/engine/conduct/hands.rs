//! Carrying out what a train wants: made into patches by the core, let through by the guard, sent once each. The answer says
//! what is known of its outcome and no more. Retries are the train's, in sight of everybody.

use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use super::super::eyes::{self, FlagText};
use super::{Ground, Office};
use crate::core::frozen::patch::{self, Cannot, Ordered};
use crate::core::frozen::{FlagPlace, Frozen};
use crate::core::snapshot::WriteMode;
use crate::core::train::effect::{FlagChange, Forward, Safe};
use crate::core::train::event::Answer;
use crate::core::train::resolved::ServiceId;
use crate::ports::{Fault, FaultKind};
use crate::text;

/// A change in the safe direction, as patches.
pub(super) fn of_safe(
    office: &Office,
    frozen: &Frozen,
    safe: &Safe,
    seen: &eyes::Sighted,
) -> Result<Vec<Ordered>, Cannot> {
    seen.with(&office.cluster.identity().context, |raw| patch::of_safe(frozen, safe, raw))
}

/// A change of a conductor's, as patches.
pub(super) fn of_forward(
    office: &Office,
    frozen: &Frozen,
    forward: &Forward,
    seen: &eyes::Sighted,
) -> Result<Vec<Ordered>, Cannot> {
    seen.with(&office.cluster.identity().context, |raw| patch::of_forward(frozen, forward, raw))
}

/// The record of what is live.
pub(super) fn record(
    office: &Office,
    frozen: &Frozen,
    s: ServiceId,
    seen: &eyes::Sighted,
) -> Result<Vec<Ordered>, Cannot> {
    seen.with(&office.cluster.identity().context, |raw| patch::record(frozen, s, raw)).map(|one| vec![one])
}

/// Sends what was made, one after the other; what comes after one that did not land stays here.
pub(super) async fn send(
    office: &Office,
    ordered: Result<Vec<Ordered>, Cannot>,
    read_at: Duration,
    ground: &Ground,
) -> Answer {
    let ordered = match ordered {
        Ok(ordered) => ordered,
        Err(cannot) => return cannot.answer(),
    };
    let mut answer = Answer::Moved;
    for one in ordered {
        let cleared = match ground.train(one, read_at, office.clock.monotonic()) {
            Ok(cleared) => cleared,
            // It never left. What was read too long ago, or under another epoch, is decided anew from what is read then.
            Err(refusal) if office.write == WriteMode::ReadWrite => {
                tracing::warn!(why = %refusal.why, "an effect of the train did not leave");
                return Answer::Unknown;
            }
            Err(refusal) => return Answer::Refused(text!("{}; {}", refusal.why, refusal.hint)),
        };
        answer = match office.cluster.send(&cleared).await {
            Ok(object) => patch::landed(cleared.effect(), &object),
            Err(fault) => return answer_of(&fault),
        };
    }
    answer
}

/// What a fault says of the outcome of a write.
fn answer_of(fault: &Fault) -> Answer {
    match fault.kind {
        FaultKind::Conflict | FaultKind::NotFound | FaultKind::Gone => Answer::Moved,
        // A failed test and an object that is not valid have one code; the words tell them apart.
        FaultKind::Unprocessable if is_test(&fault.why) => Answer::Moved,
        FaultKind::Unprocessable | FaultKind::Forbidden | FaultKind::NoSuchKind => {
            Answer::Refused(text!("{}; {}", fault.why, fault.hint))
        }
        FaultKind::Unreachable
        | FaultKind::Timeout
        | FaultKind::Unauthorized
        | FaultKind::Throttled(_)
        | FaultKind::Server
        | FaultKind::Malformed => Answer::Unknown,
    }
}

fn is_test(why: &str) -> bool {
    [
        "testing value",
        "test operation",
        "testing path",
        "test failed",
        "the server rejected our request due to an error",
    ]
    .iter()
    .any(|words| why.contains(words))
}

/// The flag file of a train, where this process runs beside it. A Release is written by others: the file that it names lies in
/// the repository or is not opened.
pub(super) fn file_of(office: &Office, frozen: &Frozen) -> Option<Arc<FlagText>> {
    match (&frozen.flags, &office.flag_file) {
        (FlagPlace::File(path), Some(open)) => {
            let inside = Path::new(path.as_str()).components().all(|part| matches!(part, Component::Normal(_)));
            inside.then(|| Arc::new(FlagText::new(open(path))))
        }
        _ => None,
    }
}

/// Sets a flag, under the test of the version of what holds it.
pub(super) async fn flag(
    office: &Office,
    file: Option<&FlagText>,
    frozen: &Frozen,
    change: &FlagChange,
    ground: &Ground,
) -> Answer {
    let key = &frozen.resolved.flags[usize::from(change.flag)].key;
    if let FlagPlace::File(_) = frozen.flags {
        let Some(file) = file else {
            return Answer::Refused(text!("flag {key}: its file does not lie in the repository of this process"));
        };
        return match file.read() {
            Err(fault) => answer_of(&fault),
            Ok((version, _)) if version != change.version => Answer::Moved,
            Ok((version, text)) => match patch::flag_text(frozen, change, &text) {
                Err(cannot) => cannot.answer(),
                Ok(after) => match file.replace(version, after) {
                    Ok(version) => Answer::Landed(version),
                    Err(fault) => answer_of(&fault),
                },
            },
        };
    }
    let read_at = office.clock.monotonic();
    let (id, object) = match eyes::flag_object(&*office.cluster, frozen, change.flag).await {
        Ok(Some(found)) => found,
        Ok(None) => return Answer::Refused(text!("flag {key} is defined nowhere")),
        Err(fault) => return answer_of(&fault),
    };
    send(office, patch::flag(frozen, change, &id.cluster, &object).map(|one| vec![one]), read_at, ground).await
}

/// Creates the Job of an expand step.
pub(super) async fn job(
    office: &Office,
    frozen: &Frozen,
    migration: u16,
    down: bool,
    epoch: u64,
    ground: &Ground,
) -> Answer {
    let context = office.cluster.identity().context;
    send(office, Ok(vec![patch::job(frozen, migration, down, epoch, &context)]), office.clock.monotonic(), ground).await
}
