//! Sending one cleared effect, once. Whether it may leave was decided before; what came of it is read back after.

use http::Method;
use json_patch::Patch;

use super::fault::Asked;
use super::read::{path, read};
use super::wire::{Draft, Wire, collection};
use crate::core::effect::Change;
use crate::core::guard::{By, Cleared, WRITE_DEADLINE};
use crate::core::object::Object;
use crate::ports::{Fault, FaultKind};
use crate::text;

/// Under which name our changes appear in managed fields: a person at the keys.
pub const FIELD_MANAGER: &str = "footplate-captain";

/// The same for what a train does.
pub const TRAIN_FIELD_MANAGER: &str = "footplate-conductor";

/// Sends and answers with the object as the server has it now. A create that finds the object there reads it.
pub(super) async fn send(wire: &Wire, effect: &Cleared) -> Result<Object, Fault> {
    let deadline = effect.deadline().min(WRITE_DEADLINE);
    let by = effect.by();
    // A server that answers late gives up as well, so that nothing lands after it was given up here.
    let options = match by {
        By::Captain => format!("fieldManager={FIELD_MANAGER}"),
        By::Conductor => format!("fieldManager={TRAIN_FIELD_MANAGER}&timeout={}ms", deadline.as_millis()),
    };
    let effect = effect.effect();
    let object = &effect.object;
    let here = &wire.caller.identity.context;
    if object.cluster != *here {
        return Err(Fault {
            kind: FaultKind::Unreachable,
            what: text!("change {object}"),
            why: text!("it is in {}, this connection goes to {here}", object.cluster),
            hint: "switch the context and order it again".into(),
        });
    }
    let patch = |patch: &Patch, subresource: &'static str| {
        let slash = if subresource.is_empty() { "" } else { "/" };
        let draft = Draft {
            method: Method::PATCH,
            uri: format!("{}{slash}{subresource}?{options}", path(object)),
            content_type: Some("application/json-patch+json"),
            body: serde_json::to_vec(patch).unwrap_or_default().into(),
        };
        (Asked::object("patch", subresource, object), draft)
    };
    let (asked, draft) = match &effect.change {
        Change::Patch(operations) => patch(operations, ""),
        Change::PatchStatus(operations) => patch(operations, "status"),
        Change::Create(value) => {
            let draft = Draft {
                method: Method::POST,
                uri: format!("{}?{options}", collection(object.kind, &object.namespace)),
                content_type: Some("application/json"),
                body: value.to_string().into(),
            };
            (Asked::object("create", "", object), draft)
        }
    };
    let asking = wire.ask(&asked, &draft, deadline);
    let answer = match by {
        By::Captain => asking.await,
        // All of it, a credential plugin's login included: what a train ordered may not leave late.
        By::Conductor => match tokio::time::timeout(deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(wire.caller.late(&asked, deadline.as_secs())),
        },
    };
    match answer {
        Ok((_, body)) => {
            serde_json::from_slice(&body).map(Object::new).map_err(|why| wire.caller.malformed(&asked, why))
        }
        Err(fault) if fault.kind == FaultKind::Conflict && matches!(effect.change, Change::Create(_)) => {
            read(wire, object).await?.ok_or(fault)
        }
        Err(fault) => Err(fault),
    }
}
