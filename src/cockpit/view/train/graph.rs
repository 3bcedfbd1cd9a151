//! The graph: which size fits, which window of it is shown, and what stands in the boxes.

use std::collections::BTreeSet;
use std::sync::Arc;

use ratatui::layout::Rect;

use super::{bar_role, versions, why};
use crate::cockpit::ink::{Ink, fit, width};
use crate::cockpit::model::{Drawn, DrawnKey, Model};
use crate::cockpit::status::{self, Kind};
use crate::cockpit::theme::Role;
use crate::cockpit::view::header::wave_number;
use crate::cockpit::widget::dag::{self, Window};
use crate::cockpit::widget::spark;
use crate::cockpit::widget::weightbar::{self, Weight};
use crate::core::layout::{Area, LEFT, Node, RIGHT, Zoom, glyph, lay_out};
use crate::core::snapshot::{ServiceView, Snapshot};
use crate::core::text::Text;

/// Cells that a weight takes behind a name.
const PERCENT: u16 = 5;

/// How boxes are sized.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Size {
    zoom: Zoom,
    /// Longest name shown whole, in cells.
    names: u16,
    /// Width of a box at the least: versions and bars need room.
    least: u16,
    /// With a column for the expand steps.
    expand: bool,
    /// Room for a weight behind the name.
    percent: bool,
    /// Without empty rows between the boxes.
    dense: bool,
}

/// From the most to the least that can be shown.
fn sizes(zoom: Option<Zoom>) -> Vec<Size> {
    let size = |zoom, names, least| Size { zoom, names, least, expand: true, percent: false, dense: false };
    let line = |names, percent, expand, dense| Size { percent, expand, dense, ..size(Zoom::Line, names, 0) };
    let mut all = vec![
        size(Zoom::Full, 30, 34),
        size(Zoom::Full, 26, 28),
        size(Zoom::Full, 24, 24),
        size(Zoom::Full, 24, 20),
        size(Zoom::Full, 24, 17),
        size(Zoom::Bar, 24, 24),
        size(Zoom::Bar, 24, 20),
        size(Zoom::Bar, 24, 16),
        size(Zoom::Bar, 16, 16),
        Size { dense: true, ..size(Zoom::Bar, 24, 16) },
        Size { dense: true, ..size(Zoom::Bar, 16, 16) },
    ];
    // Whole names before airy rows, and those before the expand column: it is only one more heading.
    for (names, percent) in
        [(24, true), (24, false), (16, true), (16, false), (14, false), (12, false), (11, false), (10, false)]
    {
        for expand in [true, false] {
            all.push(line(names, percent, expand, false));
            all.push(line(names, percent, expand, true));
        }
    }
    all.push(Size { expand: true, ..size(Zoom::Glyph, 1, 1) });
    all.push(Size { dense: true, ..size(Zoom::Glyph, 1, 1) });
    if let Some(zoom) = zoom {
        all.retain(|s| s.zoom == zoom);
    }
    all
}

fn box_width(name: &str, size: Size, expand: bool) -> u16 {
    let label = 2 + width(name).min(size.names);
    match size.zoom {
        Zoom::Glyph => 1,
        Zoom::Line => label + if size.percent && !expand { PERCENT } else { 0 },
        Zoom::Bar | Zoom::Full if expand => label.max(14),
        Zoom::Bar | Zoom::Full => label.max(size.least),
    }
}

/// The least width that columns of such boxes can have, gutters included.
fn narrowest(nodes: &[Node<'_>]) -> u16 {
    let mut columns: std::collections::BTreeMap<u32, u16> = std::collections::BTreeMap::new();
    for node in nodes {
        let widest = columns.entry(node.rank).or_default();
        *widest = (*widest).max(node.width);
    }
    let gutters = u16::try_from(columns.len().saturating_sub(1) * 2).unwrap_or(u16::MAX);
    columns.values().fold(gutters, |sum, w| sum.saturating_add(*w))
}

/// The picture for this room: the one drawn last, where nothing it depends on changed.
pub fn fitting(model: &Model, s: &Snapshot, room: Rect) -> Option<Arc<Drawn>> {
    let key = DrawnKey {
        nodes: s.services.iter().map(|x| (x.name.clone(), x.wave, x.after.clone())).collect(),
        expand: s.expand.iter().map(|e| e.0.clone()).collect(),
        all_edges: model.all_edges,
        zoom: model.zoom,
        room: (room.width, room.height),
    };
    if let Some(drawn) = model.picture.as_ref().filter(|d| d.key == key) {
        return Some(drawn.clone());
    }
    let mut names: Vec<Text> = s.services.iter().map(|x| x.name.clone()).collect();
    let mut ranks: Vec<u32> = s.services.iter().map(|x| x.wave.unwrap_or(0) + 1).collect();
    let mut edges: Vec<(usize, usize)> = Vec::new();
    let place = |name: &Text| s.services.iter().position(|x| x.name == *name);
    if model.all_edges {
        edges.extend(s.edges.iter().filter_map(|(a, b)| Some((place(a)?, place(b)?))));
    } else {
        for (n, x) in s.services.iter().enumerate() {
            edges.extend(x.after.iter().filter_map(|a| Some((place(a)?, n))));
        }
    }
    let heads: Vec<usize> = (0..names.len()).filter(|n| !edges.iter().any(|e| e.1 == *n)).collect();
    let mut expand = vec![false; names.len()];
    let services = names.len();
    edges.sort_unstable();
    edges.dedup();
    let own_edges = edges.len();
    for (name, _) in s.expand.iter() {
        edges.extend(heads.iter().map(|&h| (names.len(), h)));
        names.push(name.clone());
        ranks.push(0);
        expand.push(true);
    }
    let mut best = None;
    let sizes = sizes(model.zoom);
    for &size in &sizes {
        let (count, links) = if size.expand { (names.len(), edges.len()) } else { (services, own_edges) };
        let nodes: Vec<Node<'_>> = (0..count)
            .map(|n| Node { name: &names[n], rank: ranks[n], width: box_width(&names[n], size, expand[n]) })
            .collect();
        // What cannot fit by the widths of its columns alone is not laid out; the last size is drawn in any case.
        let last = Some(&size) == sizes.last();
        if !last && narrowest(&nodes) > room.width {
            continue;
        }
        let picture = lay_out(&nodes, &edges[..links], size.zoom, size.dense).ok()?;
        let fits = picture.width <= room.width && picture.height < room.height;
        best = Some((picture, count, links));
        if fits {
            break;
        }
    }
    let (picture, count, links) = best?;
    names.truncate(count);
    expand.truncate(count);
    edges.truncate(links);
    Some(Arc::new(Drawn { names, expand, edges, key, picture }))
}

/// Which part of the picture is shown: all of it where it fits, else around the selection.
fn window(model: &Model, drawn: &Drawn, area: Rect) -> Window {
    let p = &drawn.picture;
    let at = model.selected.as_ref().and_then(|name| drawn.names.iter().position(|n| n == name));
    let at = at.map_or(Area::default(), |n| p.boxes[n]);
    let start = |size: u16, room: u16, middle: u16| {
        if size <= room { 0 } else { middle.saturating_sub(room / 2).min(size - room) }
    };
    let from = (start(p.width, area.width, at.x + at.width / 2), start(p.height, area.height, at.y + at.height / 2));
    // A small picture stands in the middle of its room: from left to right it always begins at the left.
    let down = area.height.saturating_sub(p.height) / 2;
    Window { area: Rect { y: area.y + down, height: area.height - down, ..area }, from }
}

/// What is outside the window, for the frame.
pub fn hints(ink: &Ink<'_>, drawn: &Drawn, room: Rect, model: &Model) -> Vec<(Role, String)> {
    let area = Rect { height: room.height.saturating_sub(1), ..room };
    let w = window(model, drawn, area);
    let count = |outside: &dyn Fn(&Area) -> bool| drawn.picture.boxes.iter().filter(|b| outside(b)).count();
    let left = count(&|b| b.x < w.from.0);
    let right = count(&|b| b.x + b.width > w.from.0 + w.area.width);
    let above = count(&|b| b.y < w.from.1);
    let below = count(&|b| b.y >= w.from.1 + w.area.height);
    [(left, ink.g.more_left), (right, ink.g.more_right), (above, ink.g.more_up), (below, ink.g.more_down)]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, g)| (Role::Accent, format!(" {g} {n} more")))
        .collect()
}

/// Draws headings, wires and boxes.
pub fn draw(model: &Model, ink: &mut Ink<'_>, room: Rect, drawn: &Drawn, s: &Snapshot) {
    if room.height < 2 {
        return;
    }
    let area = Rect { y: room.y + 1, height: room.height - 1, ..room };
    let window = window(model, drawn, area);
    headings(ink, Rect { height: 1, ..room }, &window, drawn, s);
    let selected = model.selected.as_ref().and_then(|name| drawn.names.iter().position(|n| n == name));
    let heavy = selected.map_or_else(BTreeSet::new, |n| dag::path(&drawn.edges, n));
    dag::wires(ink, &window, &drawn.picture, &heavy);
    for (n, (name, at)) in drawn.names.iter().zip(&drawn.picture.boxes).enumerate() {
        let exit = (at.x + at.width, at.y);
        let wire = drawn.picture.wires.iter().find(|w| (w.x, w.y) == exit && w.mask & LEFT != 0);
        let strong = wire.is_some_and(|w| w.owners.iter().any(|o| heavy.contains(&o.0) && o.1 & LEFT != 0));
        let tail = wire.map(|_| strong);
        if drawn.expand[n] {
            label(model, ink, &window, *at, name, None, false, tail);
        } else if let Some(service) = s.services.iter().find(|x| x.name == *name) {
            label(model, ink, &window, *at, name, Some(service), selected == Some(n), tail);
        }
    }
}

fn headings(ink: &mut Ink<'_>, row: Rect, window: &Window, drawn: &Drawn, s: &Snapshot) {
    for column in &drawn.picture.columns {
        let Some(x) = column.x.checked_sub(window.from.0).filter(|x| *x < row.width) else { continue };
        let here = Rect { x: row.x + x, width: (row.width - x).min(column.width + 2), ..row };
        if column.rank == 0 {
            ink.put(here, here.x, row.y, "expand", Role::Dim);
            continue;
        }
        let wave = column.rank - 1;
        let members = || s.services.iter().filter(|x| x.wave.unwrap_or(0) == wave);
        let kinds: Vec<Kind> = members().map(|x| status::of(x, ink.g).kind).collect();
        let well = kinds.iter().filter(|k| **k == Kind::Well).count();
        let done = well == kinds.len();
        let moving = kinds.iter().any(|k| !matches!(k, Kind::Well | Kind::Waiting));
        let number = wave_number(s, wave);
        let title = if column.width >= 10 { format!("wave {number}") } else { number.to_string() };
        let role = if moving { Role::Title } else { Role::Dim };
        let x = ink.put(here, here.x, row.y, &title, role);
        if column.width >= 10 {
            let (text, role) = if done {
                (format!(" {}", ink.g.ok), Role::Ok)
            } else {
                (format!(" {well}/{}", kinds.len()), Role::Dim)
            };
            ink.put(here, x, row.y, &text, role);
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn label(
    model: &Model,
    ink: &mut Ink<'_>,
    window: &Window,
    at: Area,
    name: &Text,
    service: Option<&Arc<ServiceView>>,
    selected: bool,
    tail: Option<bool>,
) {
    // The part of the box that is inside the window.
    let right = (at.x + at.width).min(window.from.0 + window.area.width);
    let (Some((x, _)), true) = (window.place(at.x, window.from.1), right > at.x) else { return };
    let row = |n: u16| -> Option<Rect> {
        let (_, y) = window.place(at.x, at.y + n)?;
        Some(Rect { x, y, width: right - at.x, height: 1 })
    };
    let zoom = at.height;
    let (glyph_, role, kind) = match service {
        Some(service) => {
            let st = status::of(service, ink.g);
            (st.glyph, st.role, st.kind)
        }
        None => (ink.g.ring, Role::Dim, Kind::Waiting),
    };
    let quiet = matches!(kind, Kind::Waiting);
    let hidden = !model.lets_through(name);
    let name_role = match kind {
        _ if hidden => Role::Faint,
        Kind::Waiting => Role::Dim,
        Kind::Failed => Role::Bad,
        _ => Role::Text,
    };
    if let Some(first) = row(0) {
        ink.cell(first, first.x, first.y, glyph_, if hidden { Role::Faint } else { role });
        if at.width > 1 {
            let percent =
                service.and_then(|x| percent(x, kind)).filter(|_| zoom == 1 && width(name) + 2 + PERCENT <= at.width);
            let room = at.width - 2;
            let mut end = ink.put(first, first.x + 2, first.y, &fit(name, room, ink.g.ellipsis), name_role);
            if selected {
                ink.wash(Rect { x: first.x + 2, width: end - first.x - 2, ..first }, Role::Select);
            }
            if let Some(p) = percent {
                end = ink.put(first, end + 1, first.y, &p, role);
            }
            // The wire begins right behind the label.
            if let Some(strong) = tail {
                let across = LEFT | RIGHT;
                let line = glyph(ink.g.wires, across, if strong { across } else { 0 });
                let role = if strong { Role::WirePath } else { Role::Wire };
                for x in end + 1..first.right() {
                    ink.cell(first, x, first.y, line, role);
                }
            }
        } else if selected {
            ink.wash(first, Role::Select);
        }
    }
    if zoom < 3 {
        return;
    }
    let inside = |r: Rect| Rect { x: r.x + 2.min(r.width), width: r.width.saturating_sub(2), ..r };
    let Some(service) = service else {
        if let Some(second) = row(1) {
            ink.put(inside(second), second.x + 2, second.y, "by the train", Role::Faint);
        }
        return;
    };
    if let Some(second) = row(1) {
        let room = inside(second);
        let text = versions(service, ink.g.to);
        let text =
            if width(&text) > room.width { status::versions(service).1.unwrap_or(&text).to_owned() } else { text };
        ink.put(room, room.x, room.y, &text, Role::Dim);
    }
    let w = service.workload.as_deref();
    let st = status::of(service, ink.g);
    if let Some(third) = row(2) {
        let room = inside(third);
        let flying = status::in_flight(service);
        if let (true, Some(w)) = (flying, w.filter(|w| w.actual_weight.is_some())) {
            let weight = Weight { actual: status::actual(w), asked: None };
            let text = weight.text(ink.g.to);
            let step = match (w.step, w.steps) {
                (Some(k), Some(n)) => format!(" {}/{n}", k.min(n)),
                _ => String::new(),
            };
            let bar = room.width.saturating_sub(width(&text) + width(&step) + 1).min(12);
            weightbar::draw(ink, Rect { width: bar, ..room }, weight, false, bar_role(st));
            let x = ink.put(room, room.x + bar + 1, room.y, &text, st.role);
            ink.put(room, x, room.y, &step, Role::Dim);
        } else {
            ink.put(room, room.x, room.y, st.word, if quiet { Role::Dim } else { st.role });
        }
    }
    if zoom < 5 {
        return;
    }
    if let Some(fourth) = row(3) {
        let room = inside(fourth);
        let text = why(model, st, service);
        let text = if text.is_empty() { w.map_or(String::new(), |w| w.step_text.to_string()) } else { text };
        ink.put(room, room.x, room.y, &text, Role::Dim);
    }
    if let Some(fifth) = row(4) {
        let room = inside(fifth);
        let shown = model.shown();
        let gate = shown
            .gates
            .iter()
            .filter(|g| g.service == service.name)
            .max_by_key(|g| (g.verdict == crate::core::snapshot::Verdict::Fail, g.limit.is_some()));
        if let Some(gate) = gate {
            spark::draw(ink, room, &gate.points, gate.limit);
        }
    }
}

/// The weight behind a name, while it moves.
fn percent(service: &ServiceView, kind: Kind) -> Option<String> {
    if matches!(kind, Kind::Well | Kind::Waiting | Kind::Unknown) {
        return None;
    }
    Some(format!("{}%", status::actual(service.workload.as_deref()?)?))
}
