//! The CustomResourceDefinition of a custom kind, as a client reads it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::stamp;
use crate::rehearsal::kinds::Kind;

/// The definition of a kind, established at a time.
pub fn of(kind: &Kind, now: Timestamp) -> Value {
    let columns: Vec<Value> = kind
        .columns
        .iter()
        .map(|c| {
            let mut column = json!({ "name": c.name, "type": c.ty, "jsonPath": c.path });
            if c.priority > 0 {
                column["priority"] = json!(c.priority);
            }
            column
        })
        .collect();
    let mut subresources = json!({});
    if kind.status {
        subresources["status"] = json!({});
    }
    if kind.scale {
        subresources["scale"] = json!({
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.HPAReplicas",
            "labelSelectorPath": ".status.selector",
        });
    }
    let mut names = json!({
        "plural": kind.plural,
        "singular": kind.singular,
        "kind": kind.kind,
        "listKind": format!("{}List", kind.kind),
    });
    if !kind.short.is_empty() {
        names["shortNames"] = json!(kind.short);
    }
    if !kind.categories.is_empty() {
        names["categories"] = json!(kind.categories);
    }
    let condition = |ty: &str, reason: &str, message: &str| json!({ "type": ty, "status": "True", "reason": reason, "message": message, "lastTransitionTime": stamp(now) });
    json!({
        "spec": {
            "group": kind.group,
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "names": names,
            "conversion": { "strategy": "None" },
            "versions": [{
                "name": kind.version,
                "served": true,
                "storage": true,
                "subresources": subresources,
                "additionalPrinterColumns": columns,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
        "status": {
            "acceptedNames": names,
            "storedVersions": [kind.version],
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
        },
    })
}
