//! The time line of a replay: where in the train the screen stands, and what stands out in it. Which signs there are is
//! `core::timeline`'s.

use jiff::Timestamp;
use jiff::fmt::strtime;
use ratatui::layout::Rect;

use crate::cockpit::ink::{Ink, width};
use crate::cockpit::model::Model;
use crate::cockpit::status;
use crate::cockpit::theme::Role;
use crate::core::snapshot::Mode;
use crate::core::timeline::{Place, Sign};

/// Rows that it takes.
pub const ROWS: u16 = 2;

/// Draws it.
pub fn draw(model: &Model, ink: &mut Ink<'_>, area: Rect) {
    let shown = model.shown();
    let Mode::Replay(place) = &shown.mode else { return };
    if area.height < ROWS || area.width < 30 {
        return;
    }
    let clock = |at: Timestamp| {
        let zoned = at.to_zoned(model.setup.zone.clone());
        strtime::format("%H:%M:%S", &zoned).unwrap_or_default()
    };
    let (from, to) = (clock(place.from), clock(place.to));
    let x = ink.put(area, area.x + 1, area.y, &from, Role::Dim) + 1;
    let end = area.right().saturating_sub(width(&to) + 2);
    ink.put(area, end + 1, area.y, &to, Role::Dim);
    let line = Rect { x, width: end.saturating_sub(x), height: 1, ..area };
    let here = column(place, line.width, shown.at);
    for n in 0..line.width {
        let role = if n <= here { Role::Moving } else { Role::Faint };
        ink.cell(line, line.x + n, line.y, ink.g.line, role);
    }
    // What matters most is drawn last.
    let mut marks: Vec<_> = place.marks.iter().collect();
    marks.sort_by_key(|mark| mark.sign);
    for mark in marks {
        let (glyph, role) = sign(ink, mark.sign);
        ink.cell(line, line.x + column(place, line.width, mark.at), line.y, glyph, role);
    }
    let x = line.x + here;
    let under = ink.buf.cell((x, line.y)).map(|cell| cell.symbol().to_owned()).unwrap_or_default();
    let shows = if under == ink.g.line.to_string() { ink.g.cursor } else { under.chars().next().unwrap_or(' ') };
    ink.cell(line, x, line.y, shows, Role::Select);

    let below = Rect { y: area.y + 1, height: 1, ..area };
    let play = if place.plays { format!("plays {}x", place.speed) } else { format!("stands ({}x)", place.speed) };
    let since = status::clock(shown.at.duration_since(place.from));
    let mut parts = vec![
        (Role::Text, clock(shown.at)),
        (Role::Dim, format!("  +{since}")),
        (Role::Dim, format!("  input {}/{}", place.moment + 1, place.moments)),
        (if place.plays { Role::Moving } else { Role::Dim }, format!("  {play}")),
    ];
    if place.damaged > 0 {
        parts.push((Role::Warn, format!("  {} lines left out", place.damaged)));
    }
    let mut x = below.x + 1;
    for (role, text) in &parts {
        x = ink.put(below, x, below.y, text, *role);
    }
    let mut legend = Vec::new();
    for (s, word) in [
        (Sign::Order, "order"),
        (Sign::Hold, "hold"),
        (Sign::TookOver, "take-over"),
        (Sign::Fail, "fail"),
        (Sign::Undo, "undo"),
        (Sign::End, "end"),
    ] {
        if place.marks.iter().any(|mark| mark.sign == s) {
            let (glyph, role) = sign(ink, s);
            legend.push((role, glyph.to_string()));
            legend.push((Role::Dim, format!(" {word}  ")));
        }
    }
    ink.right(below, x + 2, below.y, &legend);
}

/// Where on a line of this width a time lies.
fn column(place: &Place, room: u16, at: Timestamp) -> u16 {
    let whole = place.to.duration_since(place.from).as_secs_f64();
    if whole <= 0.0 || room == 0 {
        return 0;
    }
    let share = (at.duration_since(place.from).as_secs_f64() / whole).clamp(0.0, 1.0);
    let column = (share * f64::from(room - 1)).round();
    // In range: the share is at most 1.
    (0..room).rfind(|n| f64::from(*n) <= column).unwrap_or(0)
}

fn sign(ink: &Ink<'_>, sign: Sign) -> (char, Role) {
    match sign {
        Sign::Order => (ink.g.dot, Role::Accent),
        Sign::Hold => (ink.g.paused, Role::Paused),
        Sign::TookOver => (ink.g.ring, Role::Text),
        Sign::Fail => (ink.g.failed, Role::Bad),
        Sign::Undo => (ink.g.undone, Role::Warn),
        Sign::End => (ink.g.ok, Role::Title),
    }
}
