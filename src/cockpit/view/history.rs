//! The trains that ran here, newest first, above them what they say about how the team delivers; Enter shows one of them with its
//! services.

use jiff::Timestamp;
use jiff::fmt::strtime;
use ratatui::layout::Rect;

use super::{frame, window_start};
use crate::cockpit::ink::{Ink, fit, width, wrapped};
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::theme::Role;
use crate::core::dora::{Band, SPAN_DAYS, dora, in_words};
use crate::core::object::ObjectKind;
use crate::core::past::{Outcome, PastService, PastTrain, cause_word};
use crate::core::snapshot::Mode;
use crate::core::train::Phase;

/// Rows of the four numbers and the empty one below them.
const NUMBERS: u16 = 5;

/// Draws the pane.
pub fn draw(model: &mut Model, ink: &mut Ink<'_>, area: Rect) {
    let shown = model.shown();
    let Some(history) = &shown.history else {
        let inner = frame(model, ink, area, Pane::History, "", &[]);
        let (why, role) = match shown.gap(ObjectKind::Release) {
            Some(trouble) => (trouble.to_string(), Role::Warn),
            None if matches!(shown.mode, Mode::Replay(_)) => {
                ("a replay shows one train; footplate history shows all of a place".to_owned(), Role::Dim)
            }
            None => ("not read yet".to_owned(), Role::Dim),
        };
        for (line, y) in wrapped(&why, inner.width.saturating_sub(2)).iter().zip(inner.top()..inner.bottom()) {
            ink.put(inner, inner.x + 1, y, line, role);
        }
        return;
    };
    let trains: Vec<&PastTrain> = history
        .iter()
        .filter(|t| [&t.release, &t.id, &t.name, &t.by].into_iter().any(|text| model.lets_through(text)))
        .collect();
    // The scroll of this pane is the selected train.
    let at = model.scrolled(Pane::History).min(trains.len().saturating_sub(1));
    model.scroll.insert(Pane::History, at);
    if let Some(train) = trains.get(at).filter(|_| model.alone && model.focus == Pane::History) {
        return one(model, ink, area, train);
    }
    let inner = frame(model, ink, area, Pane::History, "Enter shows the selected one", &[]);
    if inner.is_empty() {
        return;
    }
    let numbers = Rect { height: NUMBERS.min(inner.height), ..inner };
    four(ink, numbers, history, model.now);
    let rest = Rect { y: inner.y + numbers.height, height: inner.height - numbers.height, ..inner };
    if trains.is_empty() {
        let why = if model.filter.is_empty() { "no train ran here yet" } else { "nothing matches the filter" };
        ink.put(rest, rest.x + 1, rest.y, why, Role::Dim);
        return;
    }
    let release = trains.iter().map(|t| width(named(t))).max().unwrap_or(8).clamp(8, (inner.width / 4).max(8));
    let x = rest.x + 1;
    // Sign, when, release, id, result, how long, the rest: why, by whom, incident.
    let columns = [x, x + 2, x + 16, x + 18 + release, x + 24 + release, x + 38 + release, x + 48 + release];
    let head = ["", "began", "release", "id", "result", "took", "why, by whom"];
    for (x, title) in columns.into_iter().zip(head) {
        ink.put(rest, x, rest.y, title, Role::Dim);
    }
    let list = Rect { y: rest.y + 1, height: rest.height.saturating_sub(1), ..rest };
    let start = window_start(at, trains.len(), list.height);
    for ((n, train), y) in trains.iter().enumerate().skip(start).zip(list.top()..list.bottom()) {
        let row = Rect { y, height: 1, ..list };
        let (glyph, role) = sign(ink, &train.outcome);
        ink.cell(row, columns[0], y, glyph, role);
        ink.put(row, columns[1], y, &when(model, train.began(), "%m-%d %H:%M"), Role::Dim);
        ink.put(row, columns[2], y, &fit(named(train), release, ink.g.ellipsis), Role::Text);
        ink.put(row, columns[3], y, if train.id.is_empty() { "-" } else { &train.id }, Role::Dim);
        ink.put(row, columns[4], y, train.outcome.word(), role);
        let took = train.took().map_or_else(|| "-".to_owned(), |d| in_words(d.as_secs_f64()));
        ink.put(row, columns[5], y, &fit(&took, 9, ink.g.ellipsis), Role::Dim);
        let mut x = columns[6];
        let trouble = train.trouble();
        if !trouble.is_empty() {
            x = ink.put(row, x, y, &trouble, Role::Text);
            x = ink.put(row, x, y, "  ", Role::Dim);
        }
        if !train.by.is_empty() {
            x = ink.parts(row, x, y, &[(Role::Dim, "of "), (Role::Dim, &train.by), (Role::Dim, "  ")]);
        }
        if let Some(url) = &train.incident {
            ink.put(row, x, y, url, Role::Warn);
        }
        if n == at {
            ink.mark(row);
        }
    }
}

/// The release, or the object's name where that is all that is known.
fn named(train: &PastTrain) -> &str {
    if train.release.is_empty() { &train.name } else { &train.release }
}

fn sign(ink: &Ink<'_>, outcome: &Outcome) -> (char, Role) {
    match outcome {
        Outcome::Completed | Outcome::Active(Phase::Completed) => (ink.g.ok, Role::Ok),
        Outcome::RolledBack | Outcome::Active(Phase::RolledBack | Phase::Undoing) => (ink.g.undone, Role::Warn),
        Outcome::Refused => (ink.g.waiting, Role::Dim),
        Outcome::Active(Phase::NeedsPerson) => (ink.g.need, Role::Need),
        Outcome::Active(_) => (ink.g.moving, Role::Moving),
        Outcome::Unreadable(_) => (ink.g.unknown, Role::Warn),
    }
}

fn when(model: &Model, at: Option<Timestamp>, form: &str) -> String {
    let Some(at) = at else { return "-".to_owned() };
    strtime::format(form, &at.to_zoned(model.setup.zone.clone())).unwrap_or_default()
}

/// The four numbers, each with its band in words and colour.
fn four(ink: &mut Ink<'_>, area: Rect, history: &[PastTrain], now: Timestamp) {
    let numbers = dora(history, now, SPAN_DAYS);
    for ((name, number, value, from), y) in numbers.lines().iter().zip(area.top()..area.bottom()) {
        let (word, role) = match number.band {
            Some(Band::Elite) => (Band::Elite.word(), Role::Ok),
            Some(Band::Good) => (Band::Good.word(), Role::Text),
            Some(Band::Red) => (Band::Red.word(), Role::Bad),
            None => ("-", Role::Dim),
        };
        ink.put(area, area.x + 1, y, name, Role::Dim);
        let known = if number.value.is_some() { Role::Text } else { Role::Dim };
        ink.put(area, area.x + 24, y, value, known);
        ink.put(area, area.x + 39, y, word, role);
        ink.put(area, area.x + 46, y, from, Role::Dim);
    }
    if numbers.unreadable > 0 {
        let line = format!("{} cannot be read and are in none of these", numbers.unreadable);
        ink.put(area, area.x + 1, area.y + 4, &line, Role::Warn);
    }
}

/// One train: its times, what tripped it, its services.
fn one(model: &Model, ink: &mut Ink<'_>, area: Rect, train: &PastTrain) {
    let about = format!("{} {}", named(train), train.id);
    let inner = frame(model, ink, area, Pane::History, &about, &[(Role::Dim, "Esc goes back".to_owned())]);
    if inner.is_empty() {
        return;
    }
    let (_, role) = sign(ink, &train.outcome);
    let mut rows: Vec<(&str, String, Role)> = vec![
        ("result", train.outcome.word().to_owned(), role),
        ("began", format!("{} by {}", when(model, train.began(), "%Y-%m-%d %H:%M:%S %Z"), train.by), Role::Text),
        ("ended", when(model, train.ended, "%Y-%m-%d %H:%M:%S %Z"), Role::Text),
    ];
    let since = |from: Option<Timestamp>, to: Timestamp| {
        from.map_or_else(String::new, |from| format!(", {} later", in_words(to.duration_since(from).as_secs_f64())))
    };
    let mut before = None;
    for (name, at) in [("detected", train.detected), ("decided", train.decided), ("recovered", train.recovered)] {
        if let Some(at) = at {
            let line = format!("{}{}", when(model, Some(at), "%H:%M:%S"), since(before, at));
            rows.push((name, line, Role::Text));
            before = Some(at);
        }
    }
    if let Some(blame) = &train.cause {
        let line = format!("{}: {}: {}", blame.service, cause_word(blame.cause), blame.why);
        rows.push(("cause", line, Role::Bad));
    }
    match &train.undone {
        Some((_, true)) => rows.push(("taken back", "by itself".to_owned(), Role::Text)),
        Some((who, false)) => rows.push(("taken back", format!("by {who}"), Role::Text)),
        None => {}
    }
    if let Outcome::Unreadable(why) = &train.outcome {
        rows.push(("record", why.to_string(), Role::Warn));
    }
    if let Some(url) = &train.incident {
        rows.push(("incident", url.to_string(), Role::Warn));
    }
    let mut y = inner.y;
    for (name, value, role) in rows {
        ink.put(inner, inner.x + 1, y, name, Role::Dim);
        for line in wrapped(&value, inner.width.saturating_sub(14)).iter().take(3) {
            ink.put(inner, inner.x + 13, y, line, role);
            y += 1;
        }
    }
    y += 1;
    let name = train.services.iter().map(|s| width(&s.name)).max().unwrap_or(8).clamp(8, (inner.width / 4).max(8));
    let x = inner.x + 1;
    let columns = [x, x + name + 1, x + name + 11, x + name + 21, x + name + 34, x + name + 43];
    let head = ["service", "version", "phase", "committed", "started", "healthy, found bad, back, why"];
    for (x, title) in columns.into_iter().zip(head) {
        ink.put(inner, x, y, title, Role::Dim);
    }
    for (service, y) in train.services.iter().zip(y.saturating_add(1)..inner.bottom()) {
        ink.put(inner, columns[0], y, &fit(&service.name, name, ink.g.ellipsis), Role::Text);
        ink.put(inner, columns[1], y, &fit(&service.version, 9, ink.g.ellipsis), Role::Text);
        ink.put(
            inner,
            columns[2],
            y,
            service.phase.word(),
            if service.detected.is_some() { Role::Bad } else { Role::Text },
        );
        let committed = service.commit.as_ref().map(|c| c.1);
        let committed = committed.map_or_else(|| "unknown".to_owned(), |at| when(model, Some(at), "%m-%d %H:%M"));
        ink.put(inner, columns[3], y, &committed, Role::Dim);
        ink.put(inner, columns[4], y, &when(model, service.started, "%H:%M:%S"), Role::Dim);
        ink.put(inner, columns[5], y, &story(model, service), Role::Dim);
    }
}

/// What became of a service, in one line.
fn story(model: &Model, s: &PastService) -> String {
    let mut parts = Vec::new();
    for (what, at) in [("healthy", s.healthy), ("found bad", s.detected), ("back", s.recovered)] {
        if at.is_some() {
            parts.push(format!("{what} {}", when(model, at, "%H:%M:%S")));
        }
    }
    parts.extend(s.cause.map(|cause| cause_word(cause).to_owned()));
    parts.extend(s.automatic.map(|automatic| if automatic { "by itself" } else { "by hand" }.to_owned()));
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}
