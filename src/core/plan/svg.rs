//! The plan as a picture in SVG, laid out by the same engine as the cockpit's graph. Text is escaped for XML; there is no
//! script, no link, no font from outside.

use std::collections::BTreeMap;
use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::Plan;
use crate::core::layout::{DOWN, LEFT, Node, Problem, RIGHT, UP, Zoom, lay_out};
use crate::text;

/// Pixels of one cell.
const CELL: (i32, i32) = (9, 14);
/// Pixels around the picture, and for the two lines of heading above it.
const MARGIN: i32 = 16;
const HEAD: i32 = 48;

/// The plan as an SVG document; a problem when it is too large to draw.
pub fn render(plan: &Plan<'_>) -> Result<String, Problem> {
    let mut labels = Vec::new();
    for (index, wave) in plan.waves.iter().enumerate() {
        let migrations = wave.migrations.iter().map(|m| (&m.name, &m.path.value));
        let services = wave.services.iter().map(|s| (s.name, &s.version));
        labels.extend(migrations.map(|(a, b)| (index, a.clone(), b.clone(), true)));
        labels.extend(services.map(|(a, b)| (index, a.clone(), b.clone(), false)));
    }
    let width = |s: &str| u16::try_from(s.width() + 2).unwrap_or(u16::MAX);
    let nodes: Vec<Node<'_>> = labels
        .iter()
        .map(|(index, name, detail, _)| Node {
            name,
            rank: u32::try_from(*index).unwrap_or(u32::MAX),
            width: width(name).max(width(detail)),
        })
        .collect();
    let by_name: BTreeMap<&str, usize> =
        labels.iter().enumerate().filter(|(_, l)| !l.3).map(|(n, l)| (&*l.1, n)).collect();
    let edges: Vec<(usize, usize)> = plan
        .drawn()
        .into_iter()
        .filter_map(|(from, to)| Some((*by_name.get(&**from)?, *by_name.get(&**to)?)))
        .collect();
    let picture = lay_out(&nodes, &edges, Zoom::Bar, false)?;
    let px = |x: u16| MARGIN + i32::from(x) * CELL.0;
    let py = |y: u16| MARGIN + HEAD + i32::from(y) * CELL.1;
    let (wide, high) = (px(picture.width).max(320) + MARGIN, py(picture.height) + MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\" \
         font-family=\"monospace\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let title = text!("release {}", plan.release);
    let _ = writeln!(out, "<title>{}</title>", escaped(&title));
    let _ = writeln!(out, "<text x=\"{MARGIN}\" y=\"28\" font-weight=\"bold\">{}</text>", escaped(&title));
    for column in &picture.columns {
        let wave = plan.waves.get(column.rank as usize);
        let word = wave.map_or("", |w| w.kind.word());
        let label = escaped(&format!("{} {word}", column.rank));
        let _ =
            writeln!(out, "<text x=\"{}\" y=\"{}\" fill=\"#666666\">{label}</text>", px(column.x), MARGIN + HEAD - 10);
    }
    let mut path = String::new();
    for wire in &picture.wires {
        let (x, y) = (px(wire.x) + CELL.0 / 2, py(wire.y) + CELL.1 / 2);
        let (left, right, top, bottom) = (px(wire.x), px(wire.x) + CELL.0, py(wire.y), py(wire.y) + CELL.1);
        for (arm, line) in [
            (LEFT, format!("M{x} {y}H{left}")),
            (RIGHT, format!("M{x} {y}H{right}")),
            (UP, format!("M{x} {y}V{top}")),
            (DOWN, format!("M{x} {y}V{bottom}")),
        ] {
            if wire.mask & arm != 0 {
                path.push_str(&line);
            }
        }
        if wire.arrow {
            let _ = write!(path, "M{} {}L{right} {y}L{} {}", right - 4, y - 4, right - 4, y + 4);
        }
    }
    let _ = writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"#555555\" stroke-linecap=\"round\"/>");
    for (area, (_, name, detail, expand)) in picture.boxes.iter().zip(&labels) {
        let (x, y) = (px(area.x), py(area.y));
        let (w, h) = (i32::from(area.width) * CELL.0, i32::from(area.height) * CELL.1);
        let fill = if *expand { "#fff4d6" } else { "#eef4ff" };
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"4\" fill=\"{fill}\" stroke=\"#335588\"/>"
        );
        let tx = x + CELL.0;
        let _ = writeln!(out, "<text x=\"{tx}\" y=\"{}\" font-weight=\"bold\">{}</text>", y + 16, escaped(name));
        let _ = writeln!(out, "<text x=\"{tx}\" y=\"{}\" fill=\"#444444\">{}</text>", y + 33, escaped(detail));
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}
