//! Delivers events of a train to a webhook: one HTTP POST of a CloudEvent in structured mode. Trying again is the engine's.

use std::time::Duration;

use serde_json::Value;

use super::outward::{Outward, unanswered};
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind, Fut, Post};
use crate::text;

/// How long one delivery may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// See the room's first lines.
#[derive(Clone, Debug, Default)]
pub struct Webhook(Outward);

impl Post for Webhook {
    fn post<'a>(&'a self, address: &'a str, body: &'a Value) -> Fut<'a, Result<(), Fault>> {
        Box::pin(async move {
            let what = text!("send an event to {address}");
            let fault = |kind: FaultKind, why: Text| Fault {
                kind,
                what: what.clone(),
                why,
                hint: "check incidents in footplate.yaml".into(),
            };
            let (client, url) = self.0.to(address).map_err(|why| fault(FaultKind::Malformed, why))?;
            let request = client
                .post(url)
                .timeout(DEADLINE)
                .header("content-type", "application/cloudevents+json; charset=utf-8")
                .body(body.to_string());
            let answer = request.send().await.map_err(|error| {
                let (kind, why) = unanswered(error);
                fault(kind, why)
            })?;
            let status = answer.status();
            if status.is_success() {
                return Ok(());
            }
            Err(fault(FaultKind::Server, text!("it answered {status}")))
        })
    }
}
