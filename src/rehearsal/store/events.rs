//! Events of the cluster: recorded once, counted when the same happens again.

use serde_json::{Value, json};

use super::{Store, text};
use crate::rehearsal::kinds;

impl Store {
    /// Records a core Event about an object, or counts it once more when the same was recorded before.
    pub fn record_event(&mut self, involved: &Value, warning: bool, reason: &str, message: &str, component: &str) {
        let uid = text(involved, "/metadata/uid").to_owned();
        let namespace = match text(involved, "/metadata/namespace") {
            "" => "default",
            namespace => namespace,
        };
        let key = (uid, warning, reason.to_owned(), message.to_owned());
        let stamp = self.stamp();
        if let Some((namespace, name)) = self.counted.get(&key).cloned() {
            let counted = self.update(&kinds::EVENT, &namespace, &name, |event| {
                event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
                event["lastTimestamp"] = json!(stamp);
            });
            if counted.is_ok() {
                return;
            }
        }
        let involved_name = text(involved, "/metadata/name");
        // client-go names an Event after its object and the nanosecond; at one virtual instant the counter tells apart.
        let name = format!("{involved_name}.{:x}", self.now.as_nanosecond() as u64 + self.version);
        let event = json!({
            "metadata": { "name": name },
            "involvedObject": {
                "apiVersion": involved["apiVersion"],
                "kind": involved["kind"],
                "namespace": text(involved, "/metadata/namespace"),
                "name": involved_name,
                "uid": text(involved, "/metadata/uid"),
                "resourceVersion": text(involved, "/metadata/resourceVersion"),
            },
            "reason": reason,
            "message": message,
            "type": if warning { "Warning" } else { "Normal" },
            "source": { "component": component },
            "reportingComponent": component,
            "reportingInstance": "",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "eventTime": null,
            "count": 1,
        });
        // The namespace of an object that exists exists; an Event about nothing is not worth an error.
        if let Ok(held) = self.create(&kinds::EVENT, namespace, event) {
            self.counted.insert(key, (held.namespace().to_owned(), held.name().to_owned()));
        }
    }
}
