//! Dialogs: what would happen, where, and how to say yes. Cancel has the focus.

use ratatui::layout::Rect;

use super::command::field;
use crate::cockpit::ink::{Ink, width};
use crate::cockpit::model::{Dialog, Model, Stop};
use crate::cockpit::plan::Scope;
use crate::cockpit::theme::Role;
use crate::core::confirm::Confirm;
use crate::core::text::Text;

/// Draws a question about an order.
pub fn draw(model: &Model, ink: &mut Ink<'_>, area: Rect, open: &Dialog) {
    let plan = &open.plan;
    let place = &model.live.place;
    let mut rows: Vec<(Role, Text)> = Vec::new();
    let where_ = match &place.environment {
        Some(e) => crate::text!("in {e}: {} / {}", place.context, place.namespace),
        None => crate::text!("in {} / {}", place.context, place.namespace),
    };
    rows.push((if place.protected { Role::Warn } else { Role::Dim }, where_));
    rows.push((Role::Text, Text::default()));
    rows.extend(plan.lines.iter().cloned());
    if plan.scopes.len() > 1 {
        rows.push((Role::Text, Text::default()));
        for scope in &plan.scopes {
            let on = *scope == plan.scope;
            let mark = if on { ink.g.dot } else { ink.g.ring };
            let what = match scope {
                Scope::One => crate::text!("{mark} only {}", plan.subject),
                Scope::Downstream => crate::text!("{mark} {} and what is built on it", plan.subject),
                Scope::Wave(w) => crate::text!("{mark} wave {w} and later"),
                Scope::All if plan.on.is_some() => crate::text!("{mark} the whole train"),
                Scope::All => crate::text!("{mark} everything that moved"),
            };
            let hint = if on { "   up/down changes" } else { "" };
            rows.push((if on { Role::Accent } else { Role::Dim }, crate::text!("{what}{hint}")));
        }
    }
    if let Some(note) = &open.note {
        rows.push((Role::Text, Text::default()));
        rows.push((Role::Need, note.clone()));
    }
    let mut fields: Vec<(Stop, String)> = Vec::new();
    if let Confirm::Type(word) = &plan.level {
        fields.push((Stop::Word, format!("type {word} to confirm: ")));
    }
    if plan.reason {
        fields.push((Stop::Reason, "reason, recorded: ".to_owned()));
    }
    let most = area.width.saturating_sub(6).min(96);
    let rows: Vec<(Role, Text)> =
        rows.into_iter().flat_map(|(role, text)| wrap(&text, most).into_iter().map(move |t| (role, t))).collect();
    let longest = rows.iter().map(|r| width(&r.1)).chain(fields.iter().map(|f| width(&f.1) + 22)).max().unwrap_or(0);
    let go = verb_button(plan.want.name());
    let wanted = (longest + 6).max(width(&plan.title) + 8).max(44);
    let below = u16::try_from(fields.len()).unwrap_or(2) + 3;
    let panel = centred(area, wanted, u16::try_from(rows.len()).unwrap_or(u16::MAX).saturating_add(below + 2));
    ink.clear(panel);
    let role = if matches!(plan.level, Confirm::Type(_)) { Role::Warn } else { Role::Title };
    let edge = if role == Role::Warn { Role::Warn } else { Role::Accent };
    let inner = ink.frame(panel, edge, &[(role, plan.title.to_string())], &[]);
    if inner.is_empty() {
        return;
    }
    let text = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    let room = usize::from(text.height.saturating_sub(below - 1).max(1));
    // The note and the choices stand at the end: when there is no room for all, the plan's middle gives way.
    let shown: Vec<(Role, Text)> = if rows.len() > room && room > 2 {
        let tail = (room / 2).max(1);
        let hidden = rows.len() - (room - 1);
        let mut cut: Vec<_> = rows[..room - tail - 1].to_vec();
        cut.push((Role::Dim, crate::text!("... {hidden} more lines")));
        cut.extend_from_slice(&rows[rows.len() - tail..]);
        cut
    } else {
        rows
    };
    for ((role, line), y) in shown.iter().zip(text.top()..text.bottom()) {
        ink.put(text, text.x, y, line, *role);
    }
    let first = text.bottom().saturating_sub(below - 1).max(text.y);
    for ((stop, prompt), y) in fields.iter().zip(first..) {
        let row = Rect { y, height: u16::from(y < text.bottom()), ..text };
        let x = ink.put(row, row.x, y, prompt, if open.focus == *stop { Role::Accent } else { Role::Dim });
        let typed = if *stop == Stop::Word { &open.word } else { &open.reason };
        field(ink, Rect { x, width: row.right().saturating_sub(x), ..row }, typed, open.focus == *stop);
    }
    let hint = match (&plan.level, plan.reason) {
        (Confirm::Yes, false) => "y yes   Esc no",
        _ => "Enter when typed   Esc no",
    };
    buttons(ink, text, go, open.focus, hint);
}

/// Breaks a line between words; what follows is set in by two cells.
fn wrap(text: &Text, room: u16) -> Vec<Text> {
    if width(text) <= room {
        return vec![text.clone()];
    }
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, |l| width(l));
        if last > 2 && last + 1 + width(word) > room {
            lines.push("  ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.iter().map(|l| Text::scrub(l)).collect()
}

fn verb_button(name: &str) -> &str {
    if name == "flag" { "set flag" } else { name }
}

fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

fn buttons(ink: &mut Ink<'_>, text: Rect, go: &str, focus: Stop, hint: &str) {
    let y = text.bottom().saturating_sub(1);
    if y < text.y {
        return;
    }
    let mut x = text.x;
    for (stop, label) in [(Stop::Cancel, "Cancel"), (Stop::Go, go)] {
        let role = if focus == stop { Role::Button } else { Role::Dim };
        x = ink.put(text, x, y, &format!("[ {label} ]"), role);
        x = ink.put(text, x, y, "  ", Role::Text);
    }
    ink.right(text, x, y, &[(Role::Dim, hint.to_owned())]);
}

/// Draws the question whether to leave.
pub fn leaving(model: &Model, ink: &mut Ink<'_>, area: Rect, focus: Stop) {
    let moving = model.live.services.iter().filter(|s| crate::cockpit::status::in_flight(s)).count();
    let line = match (moving, model.under_way.len()) {
        (_, n) if n > 0 => format!("{n} order(s) of yours are not finished yet; what was sent still lands"),
        (0, _) => "nothing is moving".to_owned(),
        (n, _) => format!("{n} service(s) are on the move; they go on without this screen"),
    };
    let panel = centred(area, (width(&line) + 6).max(44), 6);
    ink.clear(panel);
    let inner = ink.frame(panel, Role::Accent, &[(Role::Title, "leave footplate?".to_owned())], &[]);
    let text = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    ink.put(text, text.x, text.y + 1, &line, Role::Text);
    buttons(ink, text, "Leave", focus, "y leaves   Esc stays");
}
