//! A GitOps controller that heals: once a workload has reached what git says, it puts back whatever somebody else makes of the
//! pod template, a few seconds later. Git itself is not simulated: it says the new version from when that is deployed.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::controllers::fields;
use super::kinds;
use super::store::Store;

/// The annotation with which Argo CD marks what it owns.
const TRACKING: &str = "argocd.argoproj.io/tracking-id";

/// How often it looks.
pub const LOOKS_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// Which Rollout is owned, and by what.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owned {
    /// The Rollout's name.
    pub service: String,
    /// The application that owns it.
    pub application: String,
    /// Seconds from a change to its reversal.
    pub heals_after_s: i64,
}

/// One owner at work.
#[derive(Debug)]
pub struct Owner {
    owned: Owned,
    namespace: String,
    /// The version that git says, as an image.
    image: String,
    /// The template as git says it, once the workload has had it.
    wanted: Option<Value>,
    differs_since: Option<Timestamp>,
}

impl Owner {
    /// Takes a Rollout over; `image` is what git says.
    pub fn new(owned: Owned, namespace: &str, image: String) -> Self {
        Self { owned, namespace: namespace.to_owned(), image, wanted: None, differs_since: None }
    }

    /// Marks the Rollout as owned.
    pub fn mark(&self, store: &mut Store) {
        let Owned { service, application, .. } = &self.owned;
        let id = format!("{application}:argoproj.io/Rollout:{}/{service}", self.namespace);
        // One that is not there cannot be owned.
        let _ = store.update(&kinds::ROLLOUT, &self.namespace, service, |object| {
            if object["metadata"]["annotations"].is_null() {
                object["metadata"]["annotations"] = json!({});
            }
            object["metadata"]["annotations"][TRACKING] = json!(id);
        });
    }

    /// Looks, and heals when it is time.
    pub fn look(&mut self, store: &mut Store) {
        let now = store.now();
        let Some(rollout) = store.get(&kinds::ROLLOUT, &self.namespace, &self.owned.service) else { return };
        let Some(template) = rollout.pointer("/spec/template") else { return };
        if fields::text(&rollout, "/spec/template/spec/containers/0/image") == self.image {
            (self.wanted, self.differs_since) = (Some(template.clone()), None);
            return;
        }
        let Some(wanted) = self.wanted.clone() else { return };
        let since = *self.differs_since.get_or_insert(now);
        if now.duration_since(since).as_secs() < self.owned.heals_after_s {
            return;
        }
        self.differs_since = None;
        let healed = store.update(&kinds::ROLLOUT, &self.namespace, &self.owned.service, |object| {
            object["spec"]["template"] = wanted;
        });
        if let Ok(healed) = healed {
            let what = format!("Partial sync of {}: the template is as git says again", self.owned.application);
            store.record_event(&healed, false, "OperationCompleted", &what, "argocd-application-controller");
        }
    }
}
