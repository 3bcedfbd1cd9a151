//! Table output: what `kubectl get` prints is made here, as on a real server. Columns of custom kinds come from their
//! definitions; those of built-in kinds are in [`builtin`].

mod builtin;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::view;
use crate::rehearsal::kinds::Kind;

/// A column definition: title, type, format, priority.
struct Head(&'static str, &'static str, &'static str, u8);

fn heads(kind: &Kind) -> Vec<Head> {
    if !kind.custom {
        return builtin::heads(kind);
    }
    let mut heads = vec![Head("Name", "string", "name", 0)];
    heads.extend(kind.columns.iter().map(|c| Head(c.name, c.ty, "", c.priority)));
    if kind.columns.is_empty() {
        heads.push(Head("Age", "date", "", 0));
    }
    heads
}

/// The rows of some objects. `include` is the query's `includeObject`.
pub fn rows<'a>(kind: &Kind, objects: impl Iterator<Item = &'a Value>, now: Timestamp, include: &str) -> Vec<Value> {
    objects
        .map(|object| {
            let cells = if kind.custom { custom(kind, object, now) } else { builtin::cells(kind, object, now) };
            let mut row = json!({ "cells": cells });
            match include {
                "None" => {}
                "Object" => row["object"] = super::read::full(kind, object),
                _ => row["object"] = view::metadata_only(object),
            }
            row
        })
        .collect()
}

/// A whole Table. `metadata` is a list's, or null for one with only a version.
pub fn whole(kind: &Kind, rows: Vec<Value>, version: &str, metadata: Value) -> Value {
    let heads: Vec<Value> = heads(kind)
        .into_iter()
        .map(|Head(name, ty, format, priority)| {
            json!({ "name": name, "type": ty, "format": format, "description": "", "priority": priority })
        })
        .collect();
    let metadata = if metadata.is_null() { json!({ "resourceVersion": version }) } else { metadata };
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": heads,
        "rows": rows,
    })
}

fn custom(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let mut cells = vec![object["metadata"]["name"].clone()];
    for column in kind.columns {
        let pointer = column.path.replace('.', "/");
        let value = object.pointer(&pointer);
        cells.push(match (column.ty, value) {
            (_, None | Some(Value::Null)) => Value::Null,
            ("date", Some(time)) => json!(age(time.as_str(), now)),
            ("integer" | "boolean", Some(value)) => value.clone(),
            ("string", Some(Value::String(s))) => json!(s),
            (_, Some(value)) => json!(value.to_string()),
        });
    }
    if kind.columns.is_empty() {
        cells.push(json!(age(object["metadata"]["creationTimestamp"].as_str(), now)));
    }
    cells
}

/// How long ago a time was, as kubectl says it; `<unknown>` when there is none.
fn age(time: Option<&str>, now: Timestamp) -> String {
    let Some(time) = time.and_then(|t| t.parse::<Timestamp>().ok()) else { return "<unknown>".to_owned() };
    human(now.as_second() - time.as_second())
}

/// A duration in seconds with two or three significant figures, as kubectl says it.
fn human(seconds: i64) -> String {
    let with = |big: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{small_unit}"),
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => with(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => with(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => with(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => with(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_kubectl() {
        for (seconds, want) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_860, "3h1m"),
            (30_000, "8h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
            (63_072_000 + 86_400, "2y1d"),
        ] {
            assert_eq!(human(seconds), want);
        }
    }
}
