//! The plan as JSON, in the shape that design.md §6 promises.

use serde::Serialize;

use super::Plan;
use crate::core::graph::Why;
use crate::core::manifest::FlagValue;
use crate::core::text::Text;

#[derive(Serialize)]
struct Whole<'p> {
    release: &'p Text,
    manifest_sha256: &'p Text,
    waves: Vec<Wave<'p>>,
    edges: Vec<Edge<'p>>,
    flags: Vec<Flag<'p>>,
    warnings: &'p [Text],
}

#[derive(Serialize)]
struct Wave<'p> {
    index: usize,
    kind: &'static str,
    migrations: Vec<Migration<'p>>,
    services: Vec<Service<'p>>,
}

#[derive(Serialize)]
struct Migration<'p> {
    name: &'p Text,
    path: &'p Text,
}

#[derive(Serialize)]
struct Service<'p> {
    name: &'p Text,
    version: &'p Text,
    digest: Option<&'p Text>,
    depends_on: &'p [&'p Text],
    cluster: Option<&'p Text>,
}

#[derive(Serialize)]
struct Edge<'p> {
    from: &'p Text,
    to: &'p Text,
    #[serde(serialize_with = "in_words")]
    why: &'p Why,
}

fn in_words<S: serde::Serializer>(why: &&Why, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(why)
}

#[derive(Serialize)]
struct Flag<'p> {
    key: &'p Text,
    value: Value<'p>,
}

/// A switch as a boolean, everything else as text.
#[derive(Serialize)]
#[serde(untagged)]
enum Value<'p> {
    Switch(bool),
    #[serde(serialize_with = "as_text")]
    Other(&'p FlagValue),
}

fn as_text<S: serde::Serializer>(value: &&FlagValue, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}

/// The plan as pretty JSON with a line break at the end.
pub fn render(plan: &Plan<'_>) -> String {
    let waves = plan.waves.iter().enumerate().map(|(index, wave)| Wave {
        index,
        kind: wave.kind.word(),
        migrations: wave.migrations.iter().map(|m| Migration { name: &m.name, path: &m.path.value }).collect(),
        services: wave
            .services
            .iter()
            .map(|s| Service {
                name: s.name,
                version: &s.version,
                digest: s.digest,
                depends_on: &s.depends_on,
                cluster: s.cluster,
            })
            .collect(),
    });
    let flags = plan.flags.iter().map(|flag| Flag {
        key: &flag.key.value,
        value: match &flag.value {
            FlagValue::On => Value::Switch(true),
            FlagValue::Off => Value::Switch(false),
            other => Value::Other(other),
        },
    });
    let whole = Whole {
        release: plan.release,
        manifest_sha256: plan.manifest_sha256,
        waves: waves.collect(),
        edges: plan.edges().map(|(from, to, why)| Edge { from, to, why }).collect(),
        flags: flags.collect(),
        warnings: &plan.warnings,
    };
    // Neither a map with keys that are no text nor a value that fails to serialise is in there.
    let mut out = serde_json::to_string_pretty(&whole).unwrap_or_default();
    out.push('\n');
    out
}
