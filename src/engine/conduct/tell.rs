//! Telling others, once, that a train set off, ended, was taken back, or needs somebody: CloudEvents in JSON over HTTP, tried
//! again until they arrive or have lost their use. Nothing waits for them. Source of the form: CloudEvents 1.0 §3.

use std::time::Duration;

use serde_json::{Value, json};

use crate::core::release::Release;
use crate::core::text::Text;
use crate::core::train::effect::Tell;
use crate::core::train::state::State;
use crate::ports::{Clock, Post};
use crate::text;

/// First and longest wait between two tries.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often one address is tried: about half an hour.
const TRIES: u32 = 36;

/// One event.
#[derive(Clone, PartialEq, Debug)]
pub struct Letter {
    /// Its id: the same for the same thing, so that whoever gets it twice knows.
    pub id: Text,
    /// The event.
    pub body: Value,
}

fn letter(release: &Release, kind: &str, id: Text, at: jiff::Timestamp, data: Value) -> Letter {
    let plan = &release.frozen.resolved;
    let mut all = json!({
        "train": plan.id, "release": plan.release, "environment": plan.environment, "name": release.id.name,
        "namespace": release.id.namespace, "manifestSha256": release.frozen.manifest_sha256,
    });
    if let (Some(all), Value::Object(data)) = (all.as_object_mut(), data) {
        all.extend(data);
    }
    let body = json!({
        "specversion": "1.0", "id": id, "type": format!("dev.footplate.train.{kind}"),
        "source": format!("/footplate/{}/{}", release.id.cluster, release.id.namespace),
        "subject": release.id.name, "time": at.to_string(), "datacontenttype": "application/json", "data": all,
    });
    Letter { id, body }
}

/// A start, a finish or a rollback: once a train and kind.
pub(super) fn told(release: &Release, state: Option<&State>, what: Tell) -> Letter {
    let kind = match what {
        Tell::Started => "started",
        Tell::Finished => "finished",
        Tell::RolledBack => "rolled-back",
    };
    let memory = state.map(State::memory);
    let services: Vec<Value> = memory
        .iter()
        .flat_map(|m| m.services.iter().zip(&release.frozen.resolved.services))
        .map(|(m, service)| {
            let commit = service.commit.as_ref();
            json!({
                "name": service.name, "version": service.version, "commit": commit.map(|c| &c.0),
                "commitTime": commit.map(|c| c.1.to_string()), "started": m.started.map(|t| t.to_string()),
                "healthy": m.healthy.map(|t| t.to_string()), "detected": m.detected.map(|t| t.to_string()),
                "recovered": m.recovered.map(|t| t.to_string()), "cause": m.cause, "automatic": m.automatic,
            })
        })
        .collect();
    let at = memory.and_then(|m| match what {
        Tell::Started => m.started,
        Tell::RolledBack => m.recovered,
        Tell::Finished => m.services.iter().filter_map(|s| s.healthy).max(),
    });
    let cause = memory.and_then(|m| m.cause.as_ref()).map(
        |(whose, cause, why)| json!({"service": whose.name(&release.frozen.resolved), "cause": cause, "why": why}),
    );
    let at = at.or(release.created).unwrap_or_default();
    letter(release, kind, text!("{}/{kind}", release.uid), at, json!({"services": services, "cause": cause}))
}

/// A person is called.
pub(super) fn page(release: &Release, what: &Text, at: jiff::Timestamp) -> Letter {
    let id = text!("{}/page/{}", release.uid, at.as_second());
    letter(release, "needs-person", id, at, json!({"what": what, "who": release.frozen.resolved.captain}))
}

/// Something that a person must see.
pub(super) fn alarm(release: &Release, service: &Text, what: &Text, at: jiff::Timestamp) -> Letter {
    let id = text!("{}/alarm/{service}/{}", release.uid, at.as_second());
    letter(release, "alarm", id, at, json!({"service": service, "what": what}))
}

/// Delivers a letter to all addresses.
pub(super) async fn deliver(post: &dyn Post, clock: &dyn Clock, addresses: &[Text], letter: &Letter) {
    for address in addresses {
        let mut wait = RETRY.0;
        for _ in 0..TRIES {
            match post.post(address, &letter.body).await {
                Ok(()) => break,
                Err(fault) => tracing::warn!(%fault, "an event was not delivered"),
            }
            clock.sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }
}
