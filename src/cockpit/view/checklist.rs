//! The checklist: what the pre-flight of the train found, worst first, one check a line and what to do; where it asks, Enter goes
//! on in spite of it. Below it the latest orders and what became of them.

use jiff::fmt::strtime;
use ratatui::layout::Rect;

use super::{frame, window_start};
use crate::cockpit::ink::{Ink, fit, width, wrapped};
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::status;
use crate::cockpit::theme::Role;
use crate::core::snapshot::train::Taken;

/// Rows for orders at most.
const ORDERS: u16 = 8;

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    let shown = model.shown();
    let Some(train) = &shown.train else {
        let inner = frame(model, ink, area, Pane::Checklist, "", &[]);
        let lines = [
            "The checklist is a train's: its pre-flight, and the orders that it was given.",
            "No train is under way here; orders are by hand, and marked UNVERIFIED.",
        ];
        for (line, y) in lines.iter().zip(inner.top()..inner.bottom()) {
            ink.put(inner, inner.x + 1, y, line, Role::Dim);
        }
        return;
    };
    let checks = status::checks(train);
    model.check = model.check.min(checks.len().saturating_sub(1));
    let count = |word: &str| checks.iter().filter(|c| *c.found == *word).count();
    let sums: Vec<String> =
        [("refuse", "in the way"), ("ask", "ask"), ("unknown", "unknown"), ("warn", "to look at"), ("good", "good")]
            .iter()
            .filter(|(word, _)| count(word) > 0)
            .map(|(word, says)| format!("{} {says}", count(word)))
            .collect();
    let asks = checks.iter().any(|c| status::rank(c) == 1);
    let about = if asks { "Enter goes on in spite of the selected one" } else { "" };
    let inner = frame(model, ink, area, Pane::Checklist, about, &[(Role::Dim, sums.join(", "))]);
    if inner.is_empty() {
        return;
    }
    let orders = u16::try_from(train.orders.len()).unwrap_or(ORDERS).min(ORDERS).min(inner.height / 3);
    let below = if orders > 0 { orders + 1 } else { 0 };
    let list = Rect { height: inner.height - below, ..inner };
    if checks.is_empty() {
        let waits = if train.waits.is_empty() { String::new() } else { format!("; it waits for {}", train.waits) };
        ink.put(list, list.x + 1, list.y, &format!("nothing was checked yet{waits}"), Role::Dim);
    }
    let name = checks.iter().map(|c| width(&c.name)).max().unwrap_or(8).clamp(8, (list.width / 3).max(8));
    let start = window_start(model.check, checks.len(), list.height);
    let mut y = list.top();
    for (n, check) in checks.iter().enumerate().skip(start) {
        if y >= list.bottom() {
            break;
        }
        let (glyph, word, role) = match (status::rank(check), check.accepted) {
            (0, _) => (ink.g.failed, "refuse", Role::Bad),
            (1, _) => (ink.g.asks, "ask", Role::Warn),
            (2, _) => (ink.g.unknown, "unknown", Role::Warn),
            (_, true) => (ink.g.ok, "accepted", Role::Warn),
            (3, _) => (ink.g.need, "warn", Role::Warn),
            _ => (ink.g.ok, "good", Role::Ok),
        };
        let at = list.x + 13 + name;
        let room = list.right().saturating_sub(at + 1);
        let whole = n == model.check || status::rank(check) < 3;
        let lines = if whole { wrapped(&check.says, room) } else { vec![check.says.to_string()] };
        let first = y;
        ink.cell(list, list.x + 1, y, glyph, role);
        ink.put(list, list.x + 3, y, &fit(&check.name, name, ink.g.ellipsis), Role::Text);
        ink.put(list, list.x + 4 + name, y, word, role);
        for line in lines.iter().take(3) {
            if y >= list.bottom() {
                break;
            }
            ink.put(list, at, y, line, if status::rank(check) == 4 { Role::Dim } else { Role::Text });
            y += 1;
        }
        y = y.max(first + 1);
        if n == model.check {
            ink.mark(Rect { y: first, height: 1, ..list });
        }
    }
    if orders == 0 {
        return;
    }
    let rest = Rect { y: list.bottom(), height: below, ..inner };
    ink.put(rest, rest.x + 1, rest.y, "orders", Role::Title);
    let first = train.orders.len() - usize::from(orders);
    for (order, y) in train.orders[first..].iter().zip(rest.y + 1..rest.bottom()) {
        let zoned = order.when.to_zoned(model.setup.zone.clone());
        let time = strtime::format("%H:%M:%S", &zoned).unwrap_or_default();
        let (says, role) = match &order.taken {
            Taken::NotYet => ("not taken in yet".to_owned(), Role::Warn),
            Taken::Yes => ("taken in".to_owned(), Role::Dim),
            Taken::Refused(why) => (format!("refused: {why}"), Role::Warn),
            Taken::ByHand(what) => (format!("carried out without the conductor: {what}"), Role::Accent),
        };
        let parts = [(Role::Dim, time.as_str()), (Role::Text, "  "), (Role::Text, &order.who), (Role::Dim, "  ")];
        let x = ink.parts(rest, rest.x + 1, y, &parts);
        ink.parts(rest, x, y, &[(Role::Text, &order.says), (Role::Text, "  "), (role, &says)]);
    }
}
