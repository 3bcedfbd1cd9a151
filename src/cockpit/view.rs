//! The whole screen: who gets which room. The header says where and how, the line under it what is needed of a person,
//! then the train, below it gates and events, last the keys. A room's size depends on the terminal and on what the person
//! chose, never on a state: so nothing jumps.

mod checklist;
mod command;
mod dialog;
mod events;
mod flags;
mod footer;
mod gates;
mod header;
mod help;
mod history;
mod needs;
mod timeline;
mod train;
mod tree;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::ink::Ink;
use super::model::{Mode, Model, Pane};
use super::theme::Role;
use crate::core::snapshot::Mode as Ground;

/// Narrower than this there is no graph, only a list; and one pane at a time.
pub const NARROW: u16 = 60;
/// Lower than this there is one pane at a time.
const LOW: u16 = 18;
/// From this width on gates and events stand side by side.
const WIDE: u16 = 100;

/// Draws everything.
pub fn draw(model: &mut Model, buf: &mut Buffer, area: Rect) {
    let area = area.intersection(*buf.area());
    if area.is_empty() {
        return;
    }
    // In a replay it is the time of what is shown: countdowns and ages are those of then.
    let now = model.now;
    let replayed = matches!(model.live.mode, Ground::Replay(_));
    if replayed {
        model.now = model.shown().at;
    }
    let (theme, glyphs) = (model.setup.theme.clone(), model.setup.glyphs);
    let mut ink = Ink { buf, theme: &theme, g: &glyphs };
    ink.wash(area, Role::Text);
    let head = match area.height {
        0..=4 => 1,
        5..=9 => 2,
        _ => 3,
    };
    let foot = u16::from(area.height >= 3);
    let rows = |y: u16, h: u16| Rect::new(area.x, area.y + y, area.width, h.min(area.height.saturating_sub(y)));
    header::draw(model, &mut ink, rows(0, head.min(2)), head == 1);
    if head > 1 {
        let y = if head == 2 { 1 } else { 2 };
        needs::draw(model, &mut ink, rows(y, 1));
    }
    let line = if replayed && area.height >= 10 { timeline::ROWS } else { 0 };
    let body = rows(head, area.height.saturating_sub(head + foot + line));
    panes(model, &mut ink, body);
    timeline::draw(model, &mut ink, rows(area.height - foot - line, line));
    let bottom = rows(area.height - foot, foot);
    footer::draw(model, &mut ink, bottom);
    match &model.mode {
        Mode::Normal => {}
        Mode::Command(line) => command::draw(model, &mut ink, area, bottom, line),
        Mode::Filter(input) => command::filter(&mut ink, bottom, input),
        Mode::Dialog(open) => dialog::draw(model, &mut ink, area, open),
        Mode::Leaving(focus) => dialog::leaving(model, &mut ink, area, *focus),
    }
    ink.speak(area);
    model.now = now;
}

fn panes(model: &mut Model, ink: &mut Ink<'_>, body: Rect) {
    if body.is_empty() {
        return;
    }
    let small = body.width < NARROW || body.height < LOW - 4;
    if model.alone || small || !model.focus.in_overview() {
        if model.focus != Pane::Train {
            model.picture = None;
        }
        return pane(model, ink, body, model.focus);
    }
    // The train takes three quarters, but leaves the lower panes what they need to say anything.
    let upper = (body.height * 3 / 4).min(body.height.saturating_sub(7));
    let (top, low) = (Rect { height: upper, ..body }, Rect { y: body.y + upper, height: body.height - upper, ..body });
    pane(model, ink, top, Pane::Train);
    if body.width >= WIDE {
        let left = body.width * 11 / 20;
        pane(model, ink, Rect { width: left, ..low }, Pane::Gates);
        pane(model, ink, Rect { x: low.x + left, width: low.width - left, ..low }, Pane::Events);
    } else {
        pane(model, ink, low, model.lower);
    }
}

fn pane(model: &mut Model, ink: &mut Ink<'_>, area: Rect, pane: Pane) {
    if model.focus == pane {
        model.page = area.height.saturating_sub(2).max(1);
    }
    match pane {
        Pane::Train => train::draw(model, ink, area),
        Pane::Gates => gates::draw(model, ink, area),
        Pane::Tree => tree::draw(model, ink, area),
        Pane::Events => events::draw(model, ink, area),
        Pane::Flags => flags::draw(model, ink, area),
        Pane::Checklist => checklist::draw(model, ink, area),
        Pane::History => history::draw(model, ink, area),
        Pane::Help => help::draw(model, ink, area),
    }
}

/// The frame of a pane, its title bright when it has the focus.
fn frame(model: &Model, ink: &mut Ink<'_>, area: Rect, pane: Pane, about: &str, right: &[(Role, String)]) -> Rect {
    let focus = model.focus == pane;
    let title = pane.title();
    let mut parts = vec![(if focus { Role::Moving } else { Role::Dim }, title.to_owned())];
    if !about.is_empty() {
        parts.push((Role::Dim, format!(" · {about}")));
    }
    ink.frame(area, if focus { Role::BorderFocus } else { Role::Border }, &parts, right)
}

/// The first row to show of `count`, so that `room` rows are filled; the model's own value is cut to it.
fn first_row(model: &mut Model, pane: Pane, count: usize, room: u16) -> usize {
    let most = count.saturating_sub(usize::from(room));
    let at = model.scrolled(pane).min(most);
    model.scroll.insert(pane, at);
    at
}

/// The first row of a list so that row `at` is visible in `room` rows, near the middle where the list is longer.
fn window_start(at: usize, count: usize, room: u16) -> usize {
    let room = usize::from(room);
    if count <= room { 0 } else { at.saturating_sub(room / 2).min(count - room) }
}
