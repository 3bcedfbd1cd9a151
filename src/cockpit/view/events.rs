//! What happened, newest at the bottom.

use jiff::fmt::strtime;
use ratatui::layout::Rect;

use super::{first_row, frame};
use crate::cockpit::ink::Ink;
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::theme::Role;
use crate::core::snapshot::Weight;

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    let shown = model.shown();
    let events: Vec<_> =
        shown.events.iter().filter(|e| model.lets_through(&e.subject) || model.lets_through(&e.text)).collect();
    let room = area.height.saturating_sub(2);
    let back = first_row(model, Pane::Events, events.len(), room);
    let right = if back > 0 { vec![(Role::Accent, format!("{back} newer below"))] } else { Vec::new() };
    let inner = frame(model, ink, area, Pane::Events, "", &right);
    if inner.is_empty() {
        return;
    }
    if events.is_empty() {
        ink.put(inner, inner.x + 1, inner.y, "nothing happened yet", Role::Dim);
        return;
    }
    let end = events.len() - back;
    let start = end.saturating_sub(usize::from(inner.height));
    for (event, y) in events[start..end].iter().zip(inner.y..) {
        let role = match event.weight {
            Weight::Note => Role::Dim,
            Weight::Act => Role::Text,
            Weight::Warn => Role::Warn,
            Weight::Alarm => Role::Bad,
        };
        let zoned = event.at.to_zoned(model.setup.zone.clone());
        let time = strtime::format("%H:%M:%S", &zoned).unwrap_or_default();
        let x = ink.put(inner, inner.x + 1, y, &time, Role::Dim);
        let mut x = ink.put(inner, x, y, " ", role);
        if !event.subject.is_empty() {
            let selected = model.selected.as_ref() == Some(&event.subject);
            x = ink.put(inner, x, y, &event.subject, if selected { Role::Accent } else { role });
            x = ink.put(inner, x, y, " ", role);
        }
        ink.put(inner, x, y, &event.text, role);
    }
}
