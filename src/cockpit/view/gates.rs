//! The gates: each metric against its limit, what it decided, how much it may still fail. The selected service first.

use ratatui::layout::Rect;

use super::{first_row, frame};
use crate::cockpit::ink::{Ink, fit, width};
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::status;
use crate::cockpit::theme::Role;
use crate::cockpit::widget::{chart, spark};
use crate::core::snapshot::{GateView, Limit, Verdict};

/// Rows that a metric takes when it is drawn as a chart, its line of text included.
const CHART_ROWS: u16 = 6;

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    let shown = model.shown();
    let selected = model.selected.clone();
    let mine = |g: &GateView| selected.as_ref() == Some(&g.service);
    let mut gates: Vec<_> = shown.gates.iter().filter(|g| mine(g)).cloned().collect();
    let own = gates.len();
    gates.extend(shown.gates.iter().filter(|g| !mine(g) && model.lets_through(&g.service)).cloned());
    let about = match model.selection() {
        Some(service) => {
            let weight = service.workload.as_deref().and_then(status::actual);
            let flying = status::in_flight(&service);
            let weight = weight.filter(|_| flying).map_or(String::new(), |w| format!(" {w}%"));
            format!("{}{weight}", service.name)
        }
        None => String::new(),
    };
    let failing = gates.iter().filter(|g| g.verdict == Verdict::Fail).count();
    let right = if failing > 0 { vec![(Role::Bad, format!("{failing} failing"))] } else { Vec::new() };
    let inner = frame(model, ink, area, Pane::Gates, &about, &right);
    if inner.is_empty() {
        return;
    }
    // One row a metric; charts where the pane is tall enough for all of the selected service.
    let tall = inner.height >= 2 * CHART_ROWS;
    let mut y = inner.top();
    if own == 0 {
        let name = selected.as_ref().map_or("anything", |n| n);
        let line = Rect { height: 1, ..inner };
        ink.put(line, inner.x + 1, y, &format!("no gate measures {name} now"), Role::Dim);
        y += 1;
    }
    let start = first_row(model, Pane::Gates, gates.len(), inner.height);
    let mut group: Option<String> = None;
    for (n, gate) in gates.iter().enumerate().skip(start) {
        if n >= own && group.as_deref() != Some(&*gate.service) {
            let name = ink.put(inner, inner.x + 1, y, &gate.service, Role::Dim);
            let _ = name;
            group = Some(gate.service.to_string());
            y += 1;
        }
        if y >= inner.bottom() {
            break;
        }
        let row = Rect { y, height: 1, ..inner };
        line(ink, row, gate, tall && n < own);
        y += 1;
        if tall && n < own {
            let room = Rect { x: inner.x + 2, y, width: inner.width.saturating_sub(4), height: CHART_ROWS - 1 };
            chart::draw(ink, room.intersection(inner), &gate.points, gate.limit);
            y += CHART_ROWS - 1;
        }
    }
}

/// One metric in one row.
fn line(ink: &mut Ink<'_>, row: Rect, gate: &GateView, charted: bool) {
    let (glyph, word, role) = status::verdict(gate.verdict, ink.g);
    let wide = row.width >= 64;
    let name_width = if wide { (row.width / 4).clamp(14, 26) } else { (row.width / 3).clamp(6, 16) };
    let x = row.x + 1;
    ink.cell(row, x, row.y, glyph, role);
    ink.put(row, x + 2, row.y, &fit(&gate.metric, name_width, ink.g.ellipsis), Role::Text);
    let last = gate.points.last();
    let over = last.and_then(|p| p.value).is_some_and(|v| spark::beyond(v, gate.limit));
    let now = match last {
        None => "no data".to_owned(),
        Some(p) => p.value.map_or("no data".to_owned(), spark::number),
    };
    let (sign, limit) = match gate.limit {
        Some(Limit::Below(l)) => (ink.g.below, spark::number(l)),
        Some(Limit::Above(l)) => (ink.g.above, spark::number(l)),
        None => (' ', String::new()),
    };
    let mut tail: Vec<(Role, String)> = vec![
        (if over { Role::SparkOver } else { Role::Text }, format!("{now:>8}")),
        (Role::Dim, format!(" {sign} {limit:<7}")),
    ];
    if wide {
        tail.push((role, format!(" {word:<12}")));
        let wanted = if gate.wanted > 0 { format!("{}/{}", gate.taken, gate.wanted) } else { gate.taken.to_string() };
        tail.push((Role::Dim, format!(" {wanted:<5}")));
        if let Some(left) = gate.failures_left {
            let role = if left == 0 { Role::Warn } else { Role::Dim };
            tail.push((role, format!(" may fail {left}")));
        }
        if let Some(age) = gate.age_s.filter(|_| row.width >= 110) {
            tail.push((Role::Dim, format!("   {age} s old")));
        }
    }
    let from = x + 3 + name_width;
    // The history is worth more than the last columns.
    let mut tail_width: u16 = tail.iter().map(|p| width(&p.1)).sum();
    while tail.len() > 3 && row.right().saturating_sub(from + tail_width + 1) < 12 {
        tail_width -= tail.pop().map_or(0, |p| width(&p.1));
    }
    let room = row.right().saturating_sub(from + tail_width + 1);
    if room >= 4 && !charted {
        spark::draw(ink, Rect { x: from, width: room.min(60), ..row }, &gate.points, gate.limit);
    } else if charted && !gate.note.is_empty() {
        ink.put(Rect { x: from, width: room, ..row }, from, row.y, &gate.note, Role::Dim);
    }
    let at = if room >= 4 { from + room.min(60) + 1 } else { from.min(row.right()) };
    let mut x = at;
    for (role, text) in &tail {
        x = ink.put(row, x, row.y, text, *role);
    }
    if !charted && !gate.note.is_empty() {
        ink.put(row, x + 1, row.y, &gate.note, Role::Warn);
    }
}
