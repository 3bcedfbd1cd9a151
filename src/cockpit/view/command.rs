//! The input lines at the bottom, with what could follow.

use ratatui::layout::Rect;
use tui_input::Input;

use crate::cockpit::command;
use crate::cockpit::ink::{Ink, width};
use crate::cockpit::keymap::Action;
use crate::cockpit::model::{CommandLine, Model};
use crate::cockpit::theme::Role;

/// Draws the command line, and above it what it could go on with.
pub fn draw(model: &Model, ink: &mut Ink<'_>, area: Rect, row: Rect, line: &CommandLine) {
    input(ink, row, ":", &line.input);
    let stem = line.stem.clone().unwrap_or_else(|| line.input.value().to_owned());
    let options = command::complete(&stem, model);
    let room = row.y.saturating_sub(area.y);
    if options.is_empty() || room < 2 || area.width < 20 {
        return;
    }
    let rows = u16::try_from(options.len()).unwrap_or(u16::MAX).min(8).min(room);
    let longest = options.iter().map(|o| width(o)).max().unwrap_or(8);
    let explain = |o: &str| Action::ALL.iter().find(|a| a.command() == o && !o.is_empty()).map_or("", |a| a.title());
    let panel = Rect { x: area.x, y: row.y - rows, width: area.width, height: rows };
    ink.clear(panel);
    let at = if line.stem.is_some() { line.tab } else { usize::MAX };
    let start = if at == usize::MAX { 0 } else { super::window_start(at, options.len(), rows) };
    for ((n, option), y) in options.iter().enumerate().skip(start).zip(panel.top()..panel.bottom()) {
        let line = Rect { y, height: 1, ..panel };
        ink.put(line, line.x + 1, y, option, Role::Text);
        ink.put(line, line.x + longest + 3, y, explain(option), Role::Dim);
        if n == at {
            ink.mark(line);
        }
    }
}

/// Draws the filter line.
pub fn filter(ink: &mut Ink<'_>, row: Rect, typed: &Input) {
    input(ink, row, "/", typed);
}

/// A line that is typed into, with its cursor.
pub fn input(ink: &mut Ink<'_>, row: Rect, prompt: &str, typed: &Input) {
    if row.is_empty() {
        return;
    }
    ink.clear(row);
    let x = ink.put(row, row.x, row.y, prompt, Role::Key);
    field(ink, Rect { x, width: row.right().saturating_sub(x), ..row }, typed, true);
}

/// A field: what is typed, scrolled so that the cursor shows.
pub fn field(ink: &mut Ink<'_>, room: Rect, typed: &Input, cursor: bool) {
    if room.is_empty() {
        return;
    }
    let scroll = typed.visual_scroll(usize::from(room.width.saturating_sub(1)));
    let mut skipped = 0;
    let rest: String = typed
        .value()
        .chars()
        .skip_while(|c| {
            let take = skipped < scroll;
            skipped += usize::from(width(&c.to_string()));
            take
        })
        .collect();
    ink.put(room, room.x, room.y, &rest, Role::Field);
    if cursor {
        let at = u16::try_from(typed.visual_cursor().saturating_sub(scroll)).unwrap_or(0);
        let x = room.x + at.min(room.width - 1);
        let style = ink.style(Role::Select);
        ink.buf[(x, room.y)].set_style(style);
    }
}
