//! The help pane, made from the keymap; and what the panes say that come later.

use ratatui::layout::Rect;

use super::{first_row, frame};
use crate::cockpit::ink::Ink;
use crate::cockpit::keymap::Group;
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::theme::Role;

/// A line of the help: indented text by role.
type Row = Vec<(Role, String)>;

/// Width of a column from which on ids stand beside what they name.
const IDS: u16 = 84;

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    // What an action is called in a key map is for those who write one: left out where it would be cut.
    let columns = if area.width >= 150 { 2 } else { 1 };
    let ids = area.width / columns >= IDS;
    let mut groups: Vec<Vec<Row>> = Group::ALL.iter().map(|g| group(model, *g, ids)).collect();
    groups.push(legend(ink));
    let columns = usize::from(columns);
    let mut sides: Vec<Vec<Row>> = vec![Vec::new(); columns];
    let total: usize = groups.iter().map(Vec::len).sum();
    let mut side = 0;
    for rows in groups {
        if side + 1 < columns && sides[side].len() >= total / columns {
            side += 1;
        }
        sides[side].extend(rows);
        sides[side].push(Row::new());
    }
    let count = sides.iter().map(Vec::len).max().unwrap_or(0);
    let room = area.height.saturating_sub(2);
    let start = first_row(model, Pane::Help, count, room);
    let hints = [(start, ink.g.more_up), (count.saturating_sub(start + usize::from(room)), ink.g.more_down)];
    let right: Vec<(Role, String)> =
        hints.iter().filter(|h| h.0 > 0).map(|(n, g)| (Role::Accent, format!(" {g} {n} more"))).collect();
    let inner = frame(model, ink, area, Pane::Help, "Esc goes back", &right);
    if inner.is_empty() {
        return;
    }
    let each = inner.width / u16::try_from(columns).unwrap_or(1);
    for (rows, n) in sides.iter().zip(0u16..) {
        let room = Rect { x: inner.x + n * each, width: each, ..inner };
        for (row, y) in rows.iter().skip(start).zip(room.top()..room.bottom()) {
            let mut x = room.x + 1;
            for (role, text) in row {
                x = ink.put(room, x, y, text, *role);
            }
        }
    }
}

fn group(model: &Model, group: Group, ids: bool) -> Vec<Row> {
    let mut rows = vec![vec![(Role::Title, group.title().to_owned())]];
    for (keys, action) in model.setup.keymap.rows(group) {
        let mut row = vec![(Role::Key, format!("  {keys:<14} ")), (Role::Text, action.title().to_owned())];
        if ids {
            row.push((Role::Faint, format!("  {}", action.id())));
        }
        rows.push(row);
    }
    rows
}

fn legend(ink: &Ink<'_>) -> Vec<Row> {
    let g = ink.g;
    let mut rows = vec![vec![(Role::Title, "the signs".to_owned())]];
    let signs = [
        (g.ok, Role::Ok, "done, healthy, passed"),
        (g.moving, Role::Moving, "moves"),
        (g.waiting, Role::Waiting, "waits for its wave"),
        (g.paused, Role::Paused, "paused for a time, or held by a person"),
        (g.asks, Role::Warn, "waits for a person"),
        (g.failed, Role::Bad, "failed"),
        (g.aborted, Role::Warn, "aborted: traffic is back on the stable version"),
        (g.undone, Role::Warn, "undone"),
        (g.unknown, Role::Warn, "not found, no data: unknown is never shown as well"),
    ];
    for (glyph, role, text) in signs {
        rows.push(vec![(role, format!("  {glyph}              ")), (Role::Text, text.to_owned())]);
    }
    rows
}
