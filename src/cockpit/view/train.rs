//! The train: the graph where there is room for it, else a list by wave; below it one line for each service that moves or
//! is in trouble, with what it waits for. Which graph is drawn, and how large, follows from the manifest, the room and
//! the zoom alone.

mod graph;
mod list;

use ratatui::layout::Rect;

use super::{NARROW, frame, header};
use crate::cockpit::ink::{Ink, fit, width};
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::status::{self, Kind, Status};
use crate::cockpit::theme::Role;
use crate::cockpit::widget::weightbar::{self, Weight};
use crate::core::snapshot::{ServiceView, Snapshot};
use crate::core::workload::Workload;

/// More services than this are listed, not drawn.
const DRAWN_MAX: usize = 60;

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    let s = model.shown();
    let mut right = Vec::new();
    if !model.filter.is_empty() {
        right.push((Role::Accent, format!("/{}", model.filter)));
    }
    let strip_rows = if area.height >= 12 { ((area.height - 2) / 4).clamp(3, 8) } else { 0 };
    let drawable = area.width >= NARROW
        && area.height >= 8
        && s.services.len() + s.expand.len() <= DRAWN_MAX
        && s.services.iter().any(|x| x.wave.is_some());
    let room = Rect {
        x: area.x + 1,
        y: area.y + 1,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(2 + strip_rows),
    };
    let drawn = if drawable { graph::fitting(model, &s, room) } else { None };
    model.picture = drawn;
    if let Some(drawn) = model.picture.clone() {
        right.extend(graph::hints(ink, &drawn, room, model));
        // Where the graph has no room for the expand steps, the title names them.
        let named: Vec<&str> =
            s.expand.iter().map(|e| &*e.0).filter(|n| !drawn.names.iter().any(|d| **d == **n)).collect();
        let about = if named.is_empty() { String::new() } else { format!("after expand {}", named.join(", ")) };
        let inner = frame(model, ink, area, Pane::Train, &about, &right);
        graph::draw(model, ink, room.intersection(inner), &drawn, &s);
        let strip = Rect { y: room.bottom(), height: strip_rows, ..room };
        lines(model, ink, strip, &s);
    } else {
        right.extend(minimap(ink, &s, area.width.saturating_sub(14)));
        let inner = frame(model, ink, area, Pane::Train, "", &right);
        list::draw(model, ink, inner, &s);
    }
}

/// All services as one sign each, wave by wave: the whole train where only a part of the list is seen. Nothing when it
/// does not fit whole.
fn minimap(ink: &Ink<'_>, s: &Snapshot, room: u16) -> Vec<(Role, String)> {
    let mut parts = Vec::new();
    let mut before = None;
    for service in s.services.iter() {
        let Some(wave) = service.wave else { return Vec::new() };
        if before != Some(wave) {
            let gap = if before.is_some() { " " } else { "" };
            parts.push((Role::Dim, format!("{gap}{}", header::wave_number(s, wave))));
            before = Some(wave);
        }
        let st = status::of(service, ink.g);
        parts.push((st.role, st.glyph.to_string()));
    }
    let total: u16 = parts.iter().map(|p| width(&p.1)).sum();
    if total <= room { parts } else { Vec::new() }
}

/// Below the graph: what moves, what is in trouble, what it waits for. Worst first, then in train order.
fn lines(model: &Model, ink: &mut Ink<'_>, area: Rect, s: &Snapshot) {
    if area.is_empty() {
        return;
    }
    let mut rows: Vec<(Status, &ServiceView)> = s
        .services
        .iter()
        .map(|x| (status::of(x, ink.g), &**x))
        .filter(|(st, x)| status::in_flight(x) || matches!(st.kind, Kind::Unknown | Kind::Failed | Kind::Asks))
        .collect();
    rows.sort_by_key(|(st, _)| std::cmp::Reverse(matches!(st.kind, Kind::Failed | Kind::Asks)));
    let waiting: Vec<&ServiceView> = s
        .services
        .iter()
        .map(|x| &**x)
        .filter(|x| status::of(x, ink.g).kind == Kind::Waiting && !x.waits_for.is_empty())
        .collect();
    rows.extend(waiting.into_iter().map(|x| (status::of(x, ink.g), x)));
    if rows.is_empty() {
        ink.put(area, area.x + 1, area.bottom() - 1, "nothing moves", Role::Dim);
        return;
    }
    let names = rows.iter().map(|(_, x)| width(&x.name)).max().unwrap_or(8).min(area.width / 3);
    let fits = usize::from(area.height);
    let cut = rows.len() > fits;
    let shown = if cut { fits - 1 } else { rows.len() };
    for ((st, service), y) in rows.iter().take(shown).zip(area.top()..) {
        line(model, ink, Rect { y, height: 1, ..area }, *st, service, names);
    }
    if cut {
        let more = format!("{} {} more", ink.g.ellipsis, rows.len() - shown);
        ink.put(area, area.x + 1, area.bottom() - 1, &more, Role::Dim);
    }
}

/// One service in one row: what it is, how far it is, what it waits for.
fn line(model: &Model, ink: &mut Ink<'_>, row: Rect, st: Status, service: &ServiceView, names: u16) {
    let y = row.y;
    let quiet = st.kind == Kind::Waiting;
    ink.cell(row, row.x + 1, y, st.glyph, st.role);
    let name_role = if quiet { Role::Dim } else { Role::Text };
    ink.put(row, row.x + 3, y, &fit(&service.name, names, ink.g.ellipsis), name_role);
    let mut x = row.x + 4 + names;
    if let (false, Some(w)) = (quiet, &service.workload) {
        if row.width >= 100 {
            let versions = versions(service, ink.g.to);
            ink.put(row, x, y, &fit(&versions, 17, ink.g.ellipsis), Role::Dim);
            x += 18;
        }
        if w.steps.is_some() || w.actual_weight.is_some() {
            let weight = Weight { actual: status::actual(w), asked: status::asked(w) };
            // Where there is little room, what it waits for is worth more than a bar beside the number.
            if row.width >= 100 {
                weightbar::draw(ink, Rect { x, width: 14, ..row }, weight, true, bar_role(st));
                x += 15;
            }
            ink.put(row, x, y, &format!("{:<7}", weight.text(ink.g.to)), st.role);
            x += 8;
            if let (Some(k), Some(n)) = (w.step, w.steps) {
                ink.put(row, x, y, &format!("{}/{n}", k.min(n)), Role::Dim);
                x += 5;
            }
        }
    }
    let why = why(model, st, service);
    if quiet {
        ink.put(row, x, y, &format!("waits for {why}"), Role::Dim);
        return;
    }
    x = ink.put(row, x, y, st.word, st.role);
    ink.put(row, x, y, &after(st.word, &why), Role::Text);
}

/// What stands behind a word: `held by ana` reads on from `held`, all else stands apart.
fn after(word: &str, why: &str) -> String {
    match why.strip_prefix(word).filter(|rest| rest.starts_with(' ')) {
        Some(rest) => rest.to_owned(),
        None => format!("  {why}"),
    }
}

/// What a service waits for, with what counts down and what comes then.
fn why(model: &Model, st: Status, service: &ServiceView) -> String {
    let w = service.workload.as_deref();
    let left = w.and_then(|w| status::pause_left(w, model.now));
    let mut parts: Vec<String> = Vec::new();
    if !service.doing.is_empty() {
        parts.push(service.doing.to_string());
    }
    // Until the controller has seen the change, all else that is known is of before it.
    if w.is_some_and(|w| !w.observed) {
        if parts.is_empty() {
            parts.push(service.waits_for.to_string());
        }
        return parts.join("; ");
    }
    let held = w.is_some_and(Workload::is_held);
    let next = w.map_or("", |w| w.next_text.as_str());
    match left {
        Some(_) if held => {}
        Some(left) if next.is_empty() => parts.push(format!("{} left", status::clock(left))),
        Some(left) => parts.push(format!("{} left, then {next}", status::clock(left))),
        None => {}
    }
    // That a pause waits for its end is said already.
    let said = left.is_some() && !held && w.is_some_and(|w| w.waits_for == service.waits_for);
    let trouble = matches!(st.kind, Kind::Failed | Kind::Back);
    let waits = [
        (!said).then_some(&service.waits_for),
        w.filter(|_| !said).map(|w| &w.waits_for),
        w.filter(|_| trouble).map(|w| &w.reason),
    ];
    parts.extend(waits.into_iter().flatten().find(|text| !text.is_empty()).map(ToString::to_string));
    // A hold does not stop the clock of a timed pause: once that has run out, resume goes to the next weight at once.
    if let (true, Some(left)) = (held, left) {
        let over = left.is_zero();
        let runs_on = || format!("its pause runs on, {} left", status::clock(left));
        parts.push(if over { "its pause is over: resume goes on at once".to_owned() } else { runs_on() });
    }
    parts.join("; ")
}

/// `1.23.3→1.23.4`, or the one version there is.
fn versions(service: &ServiceView, to: char) -> String {
    match status::versions(service) {
        (Some(old), Some(new)) => format!("{old}{to}{new}"),
        (old, new) => new.or(old).unwrap_or("version unknown").to_owned(),
    }
}

fn bar_role(st: Status) -> Role {
    match st.kind {
        Kind::Failed => Role::Bad,
        Kind::Back | Kind::Asks | Kind::Held => Role::Warn,
        _ => Role::Bar,
    }
}
