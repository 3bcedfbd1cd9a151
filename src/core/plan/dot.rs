//! The plan as a Graphviz digraph: a cluster a wave, an edge a reason. Text is escaped for quoted strings.

use std::fmt::Write;

use super::{Plan, WaveKind};

/// The plan in the DOT language.
pub fn render(plan: &Plan<'_>) -> String {
    let mut out = String::from("digraph footplate {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
    let _ = writeln!(out, "  label={};", quoted(&format!("release {}", plan.release)));
    for (index, wave) in plan.waves.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{index} {{");
        let _ = writeln!(out, "    label={};", quoted(&format!("{index} {}", wave.kind.word())));
        for (name, path) in wave.migrations.iter().map(|m| (&m.name, &m.path.value)) {
            let label = quoted(&format!("{name}\n{path}"));
            let _ = writeln!(out, "    {} [label={label}, shape=cylinder];", quoted(&format!("expand {name}")));
        }
        for service in &wave.services {
            let label = quoted(&format!("{}\n{}", service.name, service.version));
            let shape = if wave.kind == WaveKind::Edge { ", peripheries=2" } else { "" };
            let _ = writeln!(out, "    {} [label={label}{shape}];", quoted(service.name));
        }
        out.push_str("  }\n");
    }
    for (from, to, why) in plan.edges() {
        let (from, to, why) = (quoted(from), quoted(to), quoted(&why.to_string()));
        let _ = writeln!(out, "  {from} -> {to} [label={why}];");
    }
    out.push_str("}\n");
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
