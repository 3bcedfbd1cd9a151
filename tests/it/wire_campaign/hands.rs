//! What others do past the train, straight in the store: kubectl, git, and accidents.

use footplate::core::lease;
use footplate::rehearsal::kinds;
use footplate::rehearsal::store::{Propagation, Store};
use serde_json::{Value, json};

use super::scenario::{BEFORE, Hand, Kind, PINNED, STRANGE, Service};
use super::stage::{NS, image, stored};

/// Somebody touches a workload.
pub fn touch(store: &mut Store, service: &Service, hand: Hand) {
    let kind = stored(service.kind);
    let set = |version: &'static str| {
        let image = json!(image(service.name, version));
        move |o: &mut Value| o["spec"]["template"]["spec"]["containers"][0]["image"] = image.clone()
    };
    let touched = match hand {
        Hand::Promote if service.kind == Kind::Deployment => return,
        // As the plugin does it: a step that waits is let go, else one is skipped.
        Hand::Promote => store.update_status(kind, NS, service.name, |o| {
            let waits = o["status"]["pauseConditions"].as_array().is_some_and(|all| !all.is_empty());
            if waits {
                o["status"]["pauseConditions"] = Value::Null;
            } else if let Some(step) = o["status"]["currentStepIndex"].as_i64() {
                o["status"]["currentStepIndex"] = json!(step + 1);
            }
        }),
        Hand::Deploy => store.update(kind, NS, service.name, set(STRANGE)),
        Hand::PutBack => store.update(kind, NS, service.name, set(BEFORE)),
        Hand::PutNew => store.update(kind, NS, service.name, set(PINNED)),
        Hand::Pause => store.update(kind, NS, service.name, |o| o["spec"]["paused"] = json!(true)),
        Hand::WipeStamps => store.update(kind, NS, service.name, |o| {
            if let Some(all) = o["metadata"]["annotations"].as_object_mut() {
                all.retain(|key, _| !key.starts_with("footplate.dev/"));
            }
        }),
    };
    touched.unwrap();
}

/// The status of a Release is lost.
pub fn wipe_status(store: &mut Store, release: &str) {
    store.update_status(&kinds::RELEASE, NS, release, |o| o["status"] = Value::Null).unwrap();
}

/// The Lease is deleted, where there is one.
pub fn delete_lease(store: &mut Store) {
    let _ = store.delete(&kinds::LEASE, NS, lease::NAME, Propagation::Cascade);
}
