//! The plan as JSON, in the shape that design.md §6 promises.

use serde_json::{Value, json};

use super::Plan;
use crate::core::manifest::FlagValue;

/// The plan as pretty JSON with a line break at the end.
pub fn render(plan: &Plan) -> String {
    let waves: Vec<Value> = plan
        .waves
        .iter()
        .enumerate()
        .map(|(index, wave)| {
            let migrations: Vec<Value> =
                wave.migrations.iter().map(|(name, path)| json!({"name": name, "path": path})).collect();
            let services: Vec<Value> = wave
                .services
                .iter()
                .map(|s| {
                    json!({
                        "name": s.name,
                        "version": s.version,
                        "digest": s.digest,
                        "depends_on": s.depends_on,
                        "cluster": s.cluster,
                    })
                })
                .collect();
            json!({"index": index, "kind": wave.kind.word(), "migrations": migrations, "services": services})
        })
        .collect();
    let edges: Vec<Value> = plan.edges.iter().map(|e| json!({"from": e.from, "to": e.to, "why": e.why})).collect();
    let flags: Vec<Value> = plan.flags.iter().map(|(key, value)| json!({"key": key, "value": flag(value)})).collect();
    let whole = json!({
        "release": plan.release,
        "manifest_sha256": plan.manifest_sha256,
        "waves": waves,
        "edges": edges,
        "flags": flags,
        "warnings": plan.warnings,
    });
    format!("{whole:#}\n")
}

fn flag(value: &FlagValue) -> Value {
    match value {
        FlagValue::On => Value::Bool(true),
        FlagValue::Off => Value::Bool(false),
        other => Value::String(other.to_string()),
    }
}
