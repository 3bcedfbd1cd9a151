//! What happened, newest at the bottom.

use jiff::fmt::strtime;
use ratatui::layout::Rect;

use super::{first_row, frame};
use crate::cockpit::ink::{Ink, width, wrapped};
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::theme::Role;
use crate::core::snapshot::{EventView, Weight};

/// Columns of the time and the spaces about it.
const TIME: u16 = 10;
/// Most lines of one event, among other panes and alone.
const LINES_MAX: usize = 3;
const LINES_ALONE_MAX: usize = 8;

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
    // What went wrong is said whole, over several lines where it must be; alone on the screen everything is.
    let whole = model.alone && model.focus == Pane::Events;
    let mut rows: Vec<(&EventView, usize, String)> = Vec::new();
    for event in events[..end].iter().rev().copied() {
        let before = TIME + if event.subject.is_empty() { 0 } else { width(&event.subject).saturating_add(1) };
        let lines = match event.weight {
            Weight::Warn | Weight::Alarm => wrapped(&event.text, inner.width.saturating_sub(before + 1)),
            _ if whole => wrapped(&event.text, inner.width.saturating_sub(before + 1)),
            _ => vec![event.text.to_string()],
        };
        let most = if whole { LINES_ALONE_MAX } else { LINES_MAX };
        let kept = lines.len().min(most);
        let left = usize::from(inner.height) - rows.len();
        if kept > left && !rows.is_empty() {
            break;
        }
        for (n, line) in lines.into_iter().enumerate().take(kept.min(left)).rev() {
            rows.push((event, n, line));
        }
        if rows.len() >= usize::from(inner.height) {
            break;
        }
    }
    for ((event, n, line), y) in rows.iter().rev().zip(inner.y..) {
        let role = match event.weight {
            Weight::Note => Role::Dim,
            Weight::Act => Role::Text,
            Weight::Warn => Role::Warn,
            Weight::Alarm => Role::Bad,
        };
        let zoned = event.at.to_zoned(model.setup.zone.clone());
        let time = strtime::format("%H:%M:%S", &zoned).unwrap_or_default();
        let mut x = inner.x + TIME;
        if *n == 0 {
            ink.put(inner, inner.x + 1, y, &time, Role::Dim);
        }
        if !event.subject.is_empty() && *n > 0 {
            x = x.saturating_add(width(&event.subject) + 1);
        } else if !event.subject.is_empty() {
            let selected = model.selected.as_ref() == Some(&event.subject);
            x = ink.put(inner, x, y, &event.subject, if selected { Role::Accent } else { role });
            x = ink.put(inner, x, y, " ", role);
        }
        // Many a text names its subject again.
        let rest = line.strip_prefix(event.subject.as_str()).filter(|_| *n == 0);
        let rest = rest.and_then(|rest| rest.strip_prefix(": ").or(rest.strip_prefix(' ')));
        let line = rest.unwrap_or(line);
        ink.put(inner, x, y, line, role);
    }
}
