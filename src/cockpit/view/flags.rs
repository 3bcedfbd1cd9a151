//! The flags: what they are now, what they shall be at the end, who reads them.

use ratatui::layout::Rect;

use super::{frame, window_start};
use crate::cockpit::ink::{Ink, fit, wrapped};
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::theme::Role;
use crate::core::object::ObjectKind;

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    let shown = model.shown();
    let flags: Vec<_> = shown.flags.iter().filter(|f| model.lets_through(&f.key)).collect();
    model.flag = model.flag.min(flags.len().saturating_sub(1));
    let inner = frame(model, ink, area, Pane::Flags, "Enter flips the selected one", &[]);
    if inner.is_empty() {
        return;
    }
    if flags.is_empty() {
        if let Some(trouble) = shown.gap(ObjectKind::FeatureFlag) {
            for (line, y) in wrapped(&trouble.to_string(), inner.width.saturating_sub(2)).iter().zip(inner.y..) {
                ink.put(inner, inner.x + 1, y, line, Role::Warn);
            }
            return;
        }
        let why = if model.filter.is_empty() {
            "no flag found: neither FeatureFlag objects, nor a flagd ConfigMap or file"
        } else {
            "nothing matches the filter"
        };
        ink.put(inner, inner.x + 1, inner.y, why, Role::Dim);
        return;
    }
    let longest = flags.iter().map(|f| crate::cockpit::ink::width(&f.key)).max().unwrap_or(8);
    let name = longest.clamp(8, (inner.width / 3).max(8));
    let head = Rect { height: 1, ..inner };
    let columns = [inner.x + 3, inner.x + 4 + name, inner.x + 14 + name, inner.x + 26 + name];
    for (x, title) in columns.into_iter().zip(["flag", "now", "at the end", "read by, where it lives"]) {
        ink.put(head, x, inner.y, title, Role::Dim);
    }
    let list = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
    let start = window_start(model.flag, flags.len(), list.height);
    for ((n, flag), y) in flags.iter().enumerate().skip(start).zip(list.top()..list.bottom()) {
        let row = Rect { y, height: 1, ..list };
        let now = flag.now.as_deref().unwrap_or("unknown");
        let (glyph, role) = match (&flag.now, flag.enabled) {
            (_, false) => (ink.g.unknown, Role::Dim),
            (None, _) => (ink.g.asks, Role::Warn),
            (Some(v), _) if *v == "off" => (ink.g.ring, Role::Dim),
            _ => (ink.g.dot, Role::Accent),
        };
        ink.cell(row, row.x + 1, y, glyph, role);
        ink.put(row, columns[0], y, &fit(&flag.key, name, ink.g.ellipsis), Role::Text);
        ink.put(row, columns[1], y, &fit(now, 9, ink.g.ellipsis), role);
        let wanted = flag.wanted.as_deref().unwrap_or("");
        let same = flag.wanted.is_none() || flag.wanted == flag.now;
        ink.put(row, columns[2], y, &fit(wanted, 11, ink.g.ellipsis), if same { Role::Dim } else { Role::Text });
        let names: Vec<&str> = flag.services.iter().map(|s| &**s).collect();
        let mut x = ink.put(row, columns[3], y, &names.join(", "), Role::Text);
        x = ink.put(row, x, y, &format!("  {}", flag.source), Role::Dim);
        if !flag.enabled {
            x = ink.put(row, x, y, "  disabled", Role::Warn);
        }
        if !flag.note.is_empty() {
            ink.put(row, x, y, &format!("  {}", flag.note), Role::Warn);
        }
        if n == model.flag {
            ink.mark(row);
        }
    }
}
