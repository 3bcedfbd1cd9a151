//! The list by wave: for narrow screens, for many services, for workloads without a manifest. Same selection, same keys.

use ratatui::layout::Rect;

use super::{after, bar_role, versions, why};
use crate::cockpit::ink::{Ink, fit, width, wrapped};
use crate::cockpit::model::Model;
use crate::cockpit::status::{self, Kind};
use crate::cockpit::theme::Role;
use crate::cockpit::view::header::wave_number;
use crate::cockpit::view::window_start;
use crate::cockpit::widget::weightbar::{self, Weight};
use crate::core::snapshot::{Link, ServiceView, Snapshot, Trouble};

/// Draws the list.
pub fn draw(model: &Model, ink: &mut Ink<'_>, area: Rect, s: &Snapshot) {
    if area.is_empty() {
        return;
    }
    let services = model.matching();
    if services.is_empty() {
        let gaps = s.gaps.iter().filter(|gap| gap.needed).map(|gap| &gap.trouble);
        let mut troubles: Vec<&Trouble> = s.link.trouble().into_iter().chain(gaps).collect();
        // One cause keeps several kinds from being read; it is said once.
        troubles.dedup_by(|a, b| a.why == b.why);
        if model.filter.is_empty() && !troubles.is_empty() {
            return whole(ink, area, &troubles);
        }
        let why = match &s.link {
            Link::Connecting | Link::Stale(_) | Link::Down(_) => {
                "waiting for the first answer of the cluster".to_owned()
            }
            Link::Live if !model.filter.is_empty() => format!("nothing matches /{}", model.filter),
            Link::Live => "no workloads here".to_owned(),
        };
        ink.put(area, area.x + 1, area.y, &why, Role::Dim);
        return;
    }
    let wave_room = if services.iter().any(|x| x.wave.is_some()) { 3 } else { 0 };
    let names =
        services.iter().map(|x| width(&x.name)).max().unwrap_or(8).min((area.width / 2).saturating_sub(6).max(8));
    let at = services.iter().position(|x| Some(&x.name) == model.selected.as_ref()).unwrap_or(0);
    let start = window_start(at, services.len(), area.height);
    let mut before = start.checked_sub(1).and_then(|n| services[n].wave);
    if start == 0 {
        before = None;
    }
    for ((n, service), y) in services.iter().enumerate().skip(start).zip(area.top()..area.bottom()) {
        let row = Rect { y, height: 1, ..area };
        if let Some(wave) = service.wave.filter(|w| before != Some(*w) || n == start) {
            ink.put(row, row.x + 1, y, &wave_number(s, wave).to_string(), Role::Dim);
        }
        before = service.wave;
        let x = row.x + 1 + wave_room;
        line(model, ink, Rect { x, width: row.right().saturating_sub(x), ..row }, service, names, n == at);
    }
}

fn line(model: &Model, ink: &mut Ink<'_>, row: Rect, service: &ServiceView, names: u16, selected: bool) {
    let st = status::of(service, ink.g);
    let quiet = st.kind == Kind::Waiting;
    ink.cell(row, row.x, row.y, st.glyph, st.role);
    let name_role = match st.kind {
        Kind::Waiting => Role::Dim,
        Kind::Failed => Role::Bad,
        _ => Role::Text,
    };
    let end = ink.put(row, row.x + 2, row.y, &fit(&service.name, names, ink.g.ellipsis), name_role);
    if selected {
        ink.wash(Rect { x: row.x + 2, width: end.saturating_sub(row.x + 2), ..row }, Role::Select);
    }
    let mut x = row.x + names + 3;
    if row.width >= names + 34 {
        ink.put(row, x, row.y, &fit(&versions(service, ink.g.to), 17, ink.g.ellipsis), Role::Dim);
        x += 18;
    }
    let flying = status::in_flight(service);
    let w = service.workload.as_deref();
    if let (true, Some(w)) = (flying, w.filter(|w| w.actual_weight.is_some())) {
        let weight = Weight { actual: status::actual(w), asked: status::asked(w) };
        if row.width >= 70 {
            weightbar::draw(ink, Rect { x, width: 12, ..row }, weight, true, bar_role(st));
            x += 13;
        }
        x = ink.put(row, x, row.y, &format!("{} ", weight.text(ink.g.to)), st.role);
    }
    x = ink.put(row, x, row.y, st.word, if quiet { Role::Dim } else { st.role });
    ink.put(row, x, row.y, &after(st.word, &why(model, st, service)), Role::Dim);
}

/// Nothing is there to be shown, so there is room to say whole what is wrong.
fn whole(ink: &mut Ink<'_>, area: Rect, troubles: &[&Trouble]) {
    let room = area.width.saturating_sub(2);
    let mut y = area.y;
    for trouble in troubles {
        let parts = [(&trouble.what, Role::Dim), (&trouble.why, Role::Stale), (&trouble.hint, Role::Text)];
        for (text, role) in parts.into_iter().filter(|(text, _)| !text.is_empty()) {
            for line in wrapped(text, room) {
                ink.put(area, area.x + 1, y, &line, role);
                y = y.saturating_add(1);
            }
        }
        y = y.saturating_add(1);
    }
}
