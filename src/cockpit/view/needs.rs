//! The line that speaks to a person: what is needed, since when, until when, which key. The brightest thing on the
//! screen while there is something, and calm talk about what comes next while there is not. It always has its row.

use jiff::SignedDuration;
use ratatui::layout::Rect;

use crate::cockpit::ink::{Ink, width};
use crate::cockpit::keymap::Action;
use crate::cockpit::model::Model;
use crate::cockpit::status;
use crate::cockpit::theme::Role;
use crate::core::snapshot::{Hand, Link, Mode, Trouble, WriteMode};

/// Draws the row.
pub fn draw(model: &Model, ink: &mut Ink<'_>, area: Rect) {
    let s = model.shown();
    if let Some(trouble) = s.link.trouble() {
        // Before what the old state asked for.
        let role = if matches!(s.link, Link::Down(_)) { Role::Bad } else { Role::Stale };
        return wrong(ink, area, role, trouble);
    }
    if let Some(need) = s.needs.first() {
        ink.wash(area, Role::Need);
        let since = status::ago(model.now.duration_since(need.since));
        let deadline = need.deadline.map_or(String::new(), |d| {
            format!(", {} left", status::clock(d.duration_since(model.now).max(SignedDuration::ZERO)))
        });
        let since = if area.width < 100 && need.deadline.is_some() { String::new() } else { format!("since {since}") };
        let deadline = if since.is_empty() { deadline.trim_start_matches(", ").to_owned() } else { deadline };
        let more = if s.needs.len() > 1 { format!("  +{} more", s.needs.len() - 1) } else { String::new() };
        let tail = format!("  {since}{deadline}{more}  {} ", model.setup.keymap.translated(&need.keys));
        let narrow = area.width < 60;
        let start = if narrow { format!(" {} ", ink.g.need) } else { format!(" {} NEEDS YOU  ", ink.g.need) };
        let x = ink.put(area, area.x, area.y, &start, Role::Need);
        let room = area.right().saturating_sub(x).saturating_sub(if narrow { 0 } else { width(&tail) });
        ink.put(Rect { width: room, x, ..area }, x, area.y, &need.what, Role::Need);
        if !narrow {
            ink.right(area, x, area.y, &[(Role::Need, tail)]);
        }
        return;
    }
    let x = area.x + 1;
    // In a rehearsal the right end of the row says how the train changes hands.
    let hint = hands(model, &s.mode, s.place.write);
    let area = if !hint.is_empty() && width(&hint) + 40 < area.width {
        ink.right(area, x, area.y, &[(Role::Dim, hint.clone())]);
        Rect { width: area.width - width(&hint) - 1, ..area }
    } else {
        area
    };
    if let Some(gap) = s.gaps.iter().find(|gap| gap.needed) {
        return wrong(ink, area, Role::Warn, &gap.trouble);
    }
    let next = s
        .services
        .iter()
        .filter(|x| x.workload.as_ref().is_some_and(|w| !w.is_held()))
        .filter_map(|x| Some((status::pause_left(x.workload.as_deref()?, model.now)?, x)))
        .min_by_key(|n| n.0);
    if let Some((left, service)) = next {
        let next = service.workload.as_ref().map_or("", |w| w.next_text.as_str());
        let after = if next.is_empty() { String::new() } else { format!(", then {next}") };
        let x = ink.put(area, x, area.y, "next: ", Role::Dim);
        let x = ink.put(area, x, area.y, &service.name, Role::Text);
        let x = ink.put(area, x, area.y, " pause ends in ", Role::Dim);
        let x = ink.put(area, x, area.y, &status::clock(left), Role::Text);
        ink.put(area, x, area.y, &after, Role::Dim);
        return;
    }
    let moving = s.services.iter().find(|x| status::in_flight(x));
    let waits = s.active_train().map(|train| &train.waits).filter(|waits| !waits.is_empty());
    let text = match moving {
        _ if waits.is_some() => format!("the train waits for {}", waits.map_or("", |w| w.as_str())),
        Some(x) if !x.waits_for.is_empty() => format!("next: {}: {}", x.name, x.waits_for),
        _ => "nothing needs you".to_owned(),
    };
    ink.put(area, x, area.y, &text, Role::Dim);
}

/// How the train of a rehearsal is taken, or given back; nothing elsewhere.
fn hands(model: &Model, mode: &Mode, write: WriteMode) -> String {
    match mode {
        Mode::Rehearsal { hand: Hand::Script, .. } => "any key takes the train ".to_owned(),
        Mode::Rehearsal { hand: Hand::Person, .. } if write != WriteMode::ReadOnly => {
            format!("{} lets the script drive ", model.setup.keymap.hint(Action::Script))
        }
        Mode::Rehearsal { .. } | Mode::Live | Mode::Replay(_) => String::new(),
    }
}

/// What is wrong, why, and what to do. Where it does not fit whole, what a person can do keeps at least half the room.
fn wrong(ink: &mut Ink<'_>, area: Rect, role: Role, trouble: &Trouble) {
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let whole = trouble.to_string();
    if width(&whole) <= area.width {
        ink.put(area, area.x, area.y, &whole, role);
        return;
    }
    let hint = width(&trouble.hint) + if trouble.hint.is_empty() { 0 } else { 3 };
    let least = area.width / 2;
    let why = width(&trouble.why).min(area.width.saturating_sub(hint).max(least));
    let x = ink.put(Rect { width: why, ..area }, area.x, area.y, &trouble.why, role);
    if !trouble.hint.is_empty() {
        let x = ink.put(area, x, area.y, " \u{b7} ", Role::Dim);
        ink.put(area, x, area.y, &trouble.hint, Role::Text);
    }
}
