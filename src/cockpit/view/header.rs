//! The header: where we are (environment, context, namespace, release, may we write, is it live, what time is it), and in
//! one word how the train is. The word comes first: a stranger reads it in three seconds.

use std::collections::BTreeMap;

use jiff::fmt::strtime;
use ratatui::layout::Rect;

use crate::cockpit::ink::{Ink, width};
use crate::cockpit::model::Model;
use crate::cockpit::status;
use crate::cockpit::theme::Role;
use crate::core::snapshot::train::BACK_WITHIN;
use crate::core::snapshot::{Conductor, Hand, Link, Mode, Snapshot, TrainShown, WriteMode};
use crate::core::workload::UndoPath;
use crate::engine::freshness::OLD;

/// Draws one or two rows; with `short` the state and the place share one.
pub fn draw(model: &Model, ink: &mut Ink<'_>, area: Rect, short: bool) {
    if area.is_empty() {
        return;
    }
    let s = model.shown();
    let first = Rect { height: 1, ..area };
    if short || area.height == 1 {
        let x = state(model, ink, first, area.x + 1, &s, false);
        ink.right(first, x + 1, area.y, &badges(model, &s));
        return;
    }
    // Whether it is live and may be written comes before the names, the clock after them.
    let badges = badges(model, &s);
    let kept: u16 = badges.iter().map(|b| width(&b.1)).sum::<u16>() + 2;
    let left = Rect { width: first.width.saturating_sub(kept), ..first };
    let x = place(ink, left, area.x + 1, &s);
    let mut parts = badges;
    let clock = clock(model);
    if x + kept + width(&clock) < first.right() {
        parts.push((Role::Dim, clock));
    } else {
        parts.push((Role::Text, " ".to_owned()));
    }
    ink.right(first, x, area.y, &parts);
    let second = Rect { y: area.y + 1, height: 1, ..area };
    let x = state(model, ink, second, area.x + 1, &s, true);
    let right = s.train.as_ref().and_then(|train| taking_back(train, model)).unwrap_or_else(|| undo(&s));
    ink.right(second, x + 2, second.y, &[right]);
}

fn place(ink: &mut Ink<'_>, area: Rect, x: u16, s: &Snapshot) -> u16 {
    let p = &s.place;
    let mut x = x;
    if let Some(environment) = &p.environment {
        let role = if p.protected { Role::Warn } else { Role::Title };
        x = ink.put(area, x, area.y, environment, role);
        x = ink.put(area, x, area.y, "  ", Role::Text);
    }
    x = ink.parts(area, x, area.y, &[(Role::Text, &p.context), (Role::Dim, "/"), (Role::Text, &p.namespace)]);
    if let Some(release) = &s.release {
        x = ink.put(area, x, area.y, "  ", Role::Text);
        x = ink.put(area, x, area.y, release, Role::Title);
        if s.train.is_none() && !matches!(s.mode, Mode::Replay(_)) {
            x = ink.put(area, x, area.y, "  by hand", Role::Dim);
        }
    } else if let Some(train) = &s.train {
        x = ink.put(area, x, area.y, "  ", Role::Text);
        x = ink.put(area, x, area.y, &train.plan.release, Role::Title);
    }
    if let Some(train) = &s.train {
        let role = if train.active() { Role::Accent } else { Role::Dim };
        x = ink.put(area, x, area.y, &format!("  {}", train.id()), role);
    }
    x
}

fn clock(model: &Model) -> String {
    let zoned = model.now.to_zoned(model.setup.zone.clone());
    let clock = strtime::format("%H:%M %Z", &zoned).unwrap_or_else(|_| zoned.time().to_string());
    format!("  {clock} ")
}

/// May we write; is it live; what else is to know about what is shown.
fn badges(model: &Model, s: &Snapshot) -> Vec<(Role, String)> {
    let g = &model.setup.glyphs;
    let age = model.age().map_or("never read".to_owned(), |a| format!("{} old", status::ago(a)));
    let mut parts = match &s.link {
        _ if model.frozen.is_some() => {
            let behind = model.live.seq.saturating_sub(s.seq);
            vec![(Role::Badge, format!("{} FROZEN", g.paused)), (Role::Dim, format!(" {behind} newer"))]
        }
        _ if matches!(s.mode, Mode::Replay(_)) => vec![(Role::Badge, format!("{} REPLAY", g.arrow))],
        // Its age is told as the bound that holds while it is live: a number that ticks would be written for ever.
        Link::Live => {
            // Of a rehearsal too: so many seconds of whoever looks at it, however fast its own time runs.
            let within = if model.size.0 < 60 { String::new() } else { format!(" <{} s", OLD.as_secs()) };
            vec![(Role::Live, format!("{} LIVE", g.dot)), (Role::Dim, within)]
        }
        Link::Connecting => vec![(Role::Stale, format!("{} CONNECTING", g.ring))],
        Link::Stale(_) => vec![(Role::Stale, format!("{} STALE {age}", g.ring))],
        Link::Down(_) => vec![(Role::Bad, format!("{} DOWN {age}", g.failed))],
    };
    if let Mode::Rehearsal { scenario, seed, hand } = &s.mode {
        let hand = match (hand, s.place.write) {
            (Hand::Script, _) => "the script drives",
            (Hand::Conductor, _) => "it conducts itself",
            (Hand::Person, WriteMode::ReadOnly) => "nobody drives",
            (Hand::Person, _) => "you drive",
        };
        parts.push((Role::Badge, "  REHEARSAL".to_owned()));
        let which = if model.size.0 < 100 { String::new() } else { format!(" {scenario} seed {seed},") };
        parts.push((Role::Dim, format!("{which} {hand}")));
    }
    parts.push(match s.place.write {
        WriteMode::ReadWrite => (Role::Dim, "  RW".to_owned()),
        WriteMode::ReadOnlyByPattern => (Role::Warn, "  RO by name".to_owned()),
        WriteMode::ReadOnly => (Role::Warn, "  RO".to_owned()),
    });
    parts
}

/// The word, the wave, the counts.
fn state(model: &Model, ink: &mut Ink<'_>, area: Rect, x: u16, s: &Snapshot, counts: bool) -> u16 {
    let o = status::overall(s, ink.g);
    // What was so when it was last read is not what is so.
    let (head, role) = match s.link.trouble() {
        Some(_) if !s.services.is_empty() => (format!("{} was {}", ink.g.unknown, o.word), Role::Stale),
        _ => (format!("{} {}", o.glyph, o.word), o.role),
    };
    let mut x = ink.put(area, x, area.y, &head, role);
    if let Some(train) = s.active_train() {
        return of_train(model, ink, area, x, train, counts);
    }
    if let (Some(wave), true) = (o.wave, s.waves > 0) {
        x = ink.put(area, x, area.y, &format!("  wave {}/{}", wave_number(s, wave), wave_count(s)), Role::Text);
    }
    if !counts {
        return ink.put(area, x, area.y, &format!("  {}/{}", s.place.context, s.place.namespace), Role::Dim);
    }
    let [done, moving, waiting, trouble, back] = o.counts;
    let counts = [
        (trouble, "in trouble", Role::Bad),
        (moving, "moving", Role::Text),
        (back, "back", Role::Text),
        (done, "done", Role::Dim),
        (waiting, "waiting", Role::Dim),
    ];
    for (n, word, role) in counts {
        if n > 0 {
            let word = if s.release.is_none() && word == "done" { "healthy" } else { word };
            x = ink.put(area, x, area.y, &format!("  {n} {word}"), role);
        }
    }
    if !model.under_way.is_empty() {
        let n = model.under_way.len();
        let what = model.under_way.values().next().map_or(String::new(), ToString::to_string);
        let more = if n > 1 { format!(" +{}", n - 1) } else { String::new() };
        x = ink.put(area, x, area.y, &format!("  ordered: {what}{more}"), Role::Accent);
    }
    x
}

/// The wave, how long it has been under way, when it is likely to be through, and who conducts.
fn of_train(model: &Model, ink: &mut Ink<'_>, area: Rect, x: u16, train: &TrainShown, all: bool) -> u16 {
    let expand = u16::from(train.plan.waves.first().is_some_and(|w| w.expand));
    let (wave, waves) = (train.wave + 1 - expand, train.waves.saturating_sub(expand));
    let mut x = ink.put(area, x, area.y, &format!("  wave {wave}/{waves}"), Role::Text);
    let conductor = match &train.conductor {
        Conductor::Nobody => Some((Role::Bad, "  NOBODY CONDUCTS".to_owned())),
        Conductor::Silent(who, since) => {
            Some((Role::Bad, format!("  {who} SILENT {}", status::ago(model.now.duration_since(*since)))))
        }
        // Who does matters least of all where there is little room, and nothing matters more than an undo's countdown.
        Conductor::Works(who) => (all && (model.size.0 >= 100 || taking_back(train, model).is_none()))
            .then(|| (Role::Dim, format!("  conductor: {who}"))),
        Conductor::Unknown => all.then(|| (Role::Dim, "  conductor: unknown".to_owned())),
    };
    let loud = conductor.as_ref().is_some_and(|(role, _)| *role == Role::Bad);
    if loud && let Some((role, text)) = &conductor {
        x = ink.put(area, x, area.y, text, *role);
    }
    if let Some(elapsed) = train.elapsed(model.now) {
        x = ink.put(area, x, area.y, &format!("  {}", status::clock(elapsed)), Role::Dim);
    }
    if let Some(eta) = train.eta().filter(|_| all && !train.held) {
        let zoned = eta.to_zoned(model.setup.zone.clone());
        let eta = strtime::format("%H:%M", &zoned).unwrap_or_default();
        x = ink.put(area, x, area.y, &format!("  eta {eta}"), Role::Dim);
    }
    if !loud && let Some((role, text)) = conductor {
        x = ink.put(area, x, area.y, &text, role);
    }
    if let Some(what) = model.under_way.values().next() {
        x = ink.put(area, x, area.y, &format!("  ordered: {what}"), Role::Accent);
    }
    x
}

/// How the taking back of a train goes: a countdown to the time within which its traffic is to be back, then how long it took.
fn taking_back(train: &TrainShown, model: &Model) -> Option<(Role, String)> {
    let most = BACK_WITHIN.as_secs();
    if let Some(recovered) = train.recovered {
        let took = recovered.duration_since(train.detected.or(train.decided)?).as_secs().max(0);
        let role = if took > most { Role::Warn } else { Role::Dim };
        return Some((role, format!("traffic back in {took} s ")));
    }
    let since = train.taking_back_for(model.now)?.as_secs();
    let role = if since > most { Role::Bad } else { Role::Warn };
    Some((role, format!("undoing: {since} s of {most} ")))
}

/// The number of a wave as people count: an expand wave is 0, else the first is 1.
pub fn wave_number(s: &Snapshot, wave: u32) -> u32 {
    if s.expand.is_empty() { wave + 1 } else { wave }
}

fn wave_count(s: &Snapshot) -> u32 {
    if s.expand.is_empty() { s.waves } else { s.waves.saturating_sub(1) }
}

/// Whether an undo of what moved would work, and about how long it would take: what is in flight goes at once, what is
/// finished wave by wave.
fn undo(s: &Snapshot) -> (Role, String) {
    if s.link == Link::Connecting && !s.services.is_empty() {
        return (Role::Dim, "undo not known yet ".to_owned());
    }
    let mut ready = 0;
    let mut slow = Vec::new();
    let mut broken = Vec::new();
    let mut waves: BTreeMap<u32, u32> = BTreeMap::new();
    let mut known = true;
    let mut unread = Vec::new();
    for service in s.services.iter() {
        match service.workload.as_ref().map(|w| &w.undo) {
            Some(UndoPath::ToStable | UndoPath::Window) => ready += 1,
            Some(UndoPath::Slow) => slow.push(&*service.name),
            Some(UndoPath::NotReady(why)) => broken.push(format!("{}: {why}", service.name)),
            Some(UndoPath::NotNeeded) => continue,
            None if service.unread => {
                unread.push(&*service.name);
                continue;
            }
            None => continue,
        }
        let longest = waves.entry(service.wave.unwrap_or(0)).or_default();
        *longest = service.undo_s.unwrap_or(0).max(*longest);
        known &= service.undo_s.is_some();
    }
    let more = |all: usize| if all > 1 { format!(" +{}", all - 1) } else { String::new() };
    let seconds = if known { format!(" ~{} s", waves.values().sum::<u32>()) } else { String::new() };
    if let Some(first) = broken.first() {
        return (Role::Bad, format!("undo NOT READY: {first}{} ", more(broken.len())));
    }
    if let Some(first) = unread.first() {
        return (Role::Warn, format!("undo unknown: {first}{} not read ", more(unread.len())));
    }
    if let Some(first) = slow.first() {
        return (Role::Warn, format!("undo slow{seconds}: re-runs steps of {first}{} ", more(slow.len())));
    }
    match ready {
        0 => (Role::Dim, "nothing to undo ".to_owned()),
        n => (Role::Dim, format!("undo ready{seconds} ({n}) ")),
    }
}
