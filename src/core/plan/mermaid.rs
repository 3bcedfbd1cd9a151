//! The plan as a Mermaid flowchart: a subgraph a wave, an edge a reason. Nodes have numbers for ids, and text is written
//! with entities, so that no name can be read as syntax.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Plan;

/// The plan in the Mermaid language.
pub fn render(plan: &Plan<'_>) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, wave) in plan.waves.iter().enumerate() {
        let _ = writeln!(out, "  subgraph w{index}[\"{index} {}\"]", wave.kind.word());
        for (n, (name, path)) in wave.migrations.iter().map(|m| (&m.name, &m.path.value)).enumerate() {
            let _ = writeln!(out, "    m{n}[(\"{}<br/>{}\")]", escaped(name), escaped(path));
        }
        for service in &wave.services {
            let id = ids.len();
            ids.insert(service.name, id);
            let _ = writeln!(out, "    s{id}[\"{}<br/>{}\"]", escaped(service.name), escaped(&service.version));
        }
        out.push_str("  end\n");
    }
    for (from, to, why) in plan.edges() {
        if let (Some(from), Some(to)) = (ids.get(&**from), ids.get(&**to)) {
            let _ = writeln!(out, "  s{from} -->|\"{}\"| s{to}", escaped(&why.to_string()));
        }
    }
    out
}

/// Everything but letters, digits and `.-_/: ` as a numeric entity of Mermaid.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | ' ') {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out
}
