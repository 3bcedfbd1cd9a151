//! What the keys do while no dialog and no input line is open: moving about, choosing what is shown, ordering.

use super::{dialog, keep_selection, replay, say};
use crate::cockpit::command;
use crate::cockpit::keymap::Action;
use crate::cockpit::message::Command;
use crate::cockpit::model::{CommandLine, Drawn, Mode, Model, Pane, Stop};
use crate::cockpit::status;
use crate::cockpit::theme::Role;
use crate::core::intent::Want;
use crate::core::layout::Zoom;
use crate::core::snapshot::{Hand, Mode as Ground, WriteMode};
use crate::core::text::Text;
use crate::core::verb::FlagSetting;

/// Carries out an action.
pub fn act(model: &mut Model, action: Action) -> Vec<Command> {
    if let Some(seek) = replay::seek(model, action) {
        return vec![Command::Seek(seek)];
    }
    if let Some(want) = command::want_of(action) {
        return dialog::order(model, &want, None, None);
    }
    match action {
        Action::Up
        | Action::Down
        | Action::Left
        | Action::Right
        | Action::First
        | Action::Last
        | Action::HalfDown
        | Action::HalfUp => step(model, action),
        Action::GotoNeed => goto(model, true),
        Action::GotoMoving => goto(model, false),
        Action::Open => return open(model),
        Action::Back => {
            back(model);
        }
        Action::Quit => {
            if !back(model) {
                model.mode = Mode::Leaving(Stop::Cancel);
            }
        }
        Action::PaneTrain => show(model, Pane::Train),
        Action::PaneGates => show(model, Pane::Gates),
        Action::PaneTree => show(model, Pane::Tree),
        Action::PaneEvents => show(model, Pane::Events),
        Action::PaneFlags => show(model, Pane::Flags),
        Action::PaneChecklist => show(model, Pane::Checklist),
        Action::PaneHistory => show(model, Pane::History),
        Action::PaneHelp => show(model, Pane::Help),
        Action::NextPane => turn(model, 1),
        Action::PreviousPane => turn(model, Pane::ALL.len() - 1),
        Action::ZoomIn => model.zoom = Some(zoom_now(model).closer()),
        Action::ZoomOut => model.zoom = Some(zoom_now(model).farther()),
        Action::Fit => model.zoom = None,
        Action::AllEdges => {
            model.all_edges = !model.all_edges;
            let what = if model.all_edges { "all edges" } else { "only the nearest edges" };
            say(model, Role::Dim, crate::text!("the graph shows {what}"));
        }
        Action::Filter => model.mode = Mode::Filter(model.filter.clone().into()),
        Action::NextMatch => match_step(model, true),
        Action::PreviousMatch => match_step(model, false),
        Action::Freeze => freeze(model),
        Action::CommandLine => model.mode = Mode::Command(CommandLine::default()),
        Action::Flip | Action::Context | Action::Theme => {
            let start = format!("{} ", action.command());
            model.mode = Mode::Command(CommandLine { input: start.into(), ..CommandLine::default() });
        }
        Action::Mouse => {
            model.mouse = !model.mouse;
            let what = if model.mouse { "on: text cannot be selected now" } else { "off" };
            say(model, Role::Dim, crate::text!("mouse {what}"));
            return vec![Command::Mouse(model.mouse)];
        }
        Action::Reread => {
            say(model, Role::Dim, crate::text!("reading everything again"));
            return vec![Command::Reread];
        }
        Action::Script => return script(model),
        Action::MinuteBack | Action::MinuteOn | Action::Speed => {
            say(model, Role::Dim, crate::text!("only a replay can be gone about in"));
        }
        Action::Copy => return copy(model),
        Action::Save => return vec![Command::Save(String::new())],
        Action::Redraw => return vec![Command::Redraw],
        Action::Suspend => return vec![Command::Suspend],
        Action::Interrupt => {}
        Action::Pause
        | Action::Resume
        | Action::Promote
        | Action::PromoteFull
        | Action::Abort
        | Action::Undo
        | Action::Retry
        | Action::Start
        | Action::Depart
        | Action::TakeOver
        | Action::Restart => {}
    }
    Vec::new()
}

fn show(model: &mut Model, pane: Pane) {
    if model.focus == pane {
        model.alone = !model.alone && pane.in_overview();
        return;
    }
    model.focus = pane;
    model.alone = false;
    if matches!(pane, Pane::Gates | Pane::Events) {
        model.lower = pane;
    }
}

fn turn(model: &mut Model, by: usize) {
    let at = Pane::ALL.iter().position(|p| *p == model.focus).unwrap_or(0);
    show(model, Pane::ALL[(at + by) % Pane::ALL.len()]);
}

/// One step back; false when there is nothing to go back from.
fn back(model: &mut Model) -> bool {
    if !model.pending.is_empty() {
        model.pending.clear();
    } else if model.alone {
        model.alone = false;
    } else if !model.filter.is_empty() {
        model.filter.clear();
    } else if model.focus != Pane::Train {
        model.focus = Pane::Train;
    } else {
        return false;
    }
    true
}

fn open(model: &mut Model) -> Vec<Command> {
    match model.focus {
        Pane::Train => {
            if let Some(service) = model.selection() {
                model.focus = Pane::Tree;
                let path = Model::tree_path(&service);
                (1..=path.len()).for_each(|n| {
                    model.tree.open(path[..n].to_vec());
                });
                model.tree.select(path);
            }
        }
        Pane::Gates | Pane::Events => model.alone = !model.alone,
        Pane::Tree => {
            model.tree.toggle_selected();
        }
        Pane::Flags => return flip(model),
        // One train with its services; Esc goes back to the list.
        Pane::History => model.alone = !model.alone && model.shown().history.as_ref().is_some_and(|h| !h.is_empty()),
        Pane::Checklist => return accept(model),
        Pane::Help => {}
    }
    Vec::new()
}

/// Enter on a check that asks: go on in spite of it.
fn accept(model: &mut Model) -> Vec<Command> {
    let shown = model.shown();
    let check = shown.train.as_ref().and_then(|train| status::checks(train).get(model.check)?.check.clone());
    match check {
        Some(check) => dialog::order(model, &Want::Accept(check), None, None),
        None => Vec::new(),
    }
}

/// Enter on a flag turns it around: what is on (or anything but off) goes off, what is off goes on.
fn flip(model: &mut Model) -> Vec<Command> {
    let shown = model.shown();
    let flags: Vec<_> = shown.flags.iter().filter(|f| model.lets_through(&f.key)).collect();
    let Some(flag) = flags.get(model.flag).or(flags.last()) else {
        say(model, Role::Dim, crate::text!("no flag here"));
        return Vec::new();
    };
    let setting = if flag.now.as_deref() == Some("off") { FlagSetting::On } else { FlagSetting::Off };
    let want = Want::Flag { key: flag.key.clone(), source: flag.source.clone(), setting };
    dialog::order(model, &want, None, None)
}

/// Gives a rehearsal's train to its script.
fn script(model: &mut Model) -> Vec<Command> {
    if !matches!(model.live.mode, Ground::Rehearsal { .. }) {
        say(model, Role::Dim, crate::text!("only a rehearsal has a script; here nobody drives but people"));
        return Vec::new();
    }
    if matches!(model.live.mode, Ground::Rehearsal { hand: Hand::Conductor, .. }) {
        say(model, Role::Dim, crate::text!("a conductor runs this train; start without --conducted for the script"));
        return Vec::new();
    }
    if model.live.place.write == WriteMode::ReadOnly {
        say(
            model,
            Role::Dim,
            crate::text!("read-only: the script cannot drive either; leave and start without --read-only"),
        );
        return Vec::new();
    }
    say(
        model,
        Role::Accent,
        crate::text!("the script drives on from here; it starts what is not on its pinned version"),
    );
    vec![Command::Script(true)]
}

fn freeze(model: &mut Model) {
    model.frozen = match model.frozen.take() {
        Some(_) => None,
        None => Some(model.live.clone()),
    };
    if model.frozen.is_none() {
        keep_selection(model);
    }
}

fn copy(model: &mut Model) -> Vec<Command> {
    let text = match model.focus {
        Pane::Events => model.shown().events.last().map(|e| crate::text!("{} {} {}", e.at, e.subject, e.text)),
        Pane::Tree => model.tree.selected().last().map(|id| Text::scrub(id)),
        Pane::Flags => {
            let shown = model.shown();
            shown.flags.iter().filter(|f| model.lets_through(&f.key)).nth(model.flag).map(|f| f.key.clone())
        }
        _ => model.selected.clone(),
    };
    match text {
        None => say(model, Role::Dim, crate::text!("nothing is selected")),
        Some(text) if text.len() > model.setup.copy_max => {
            say(model, Role::Warn, crate::text!("too long for the clipboard: {} bytes", text.len()));
        }
        Some(text) => {
            say(model, Role::Dim, crate::text!("copied {text}"));
            return vec![Command::Copy(text.to_string())];
        }
    }
    Vec::new()
}

fn zoom_now(model: &Model) -> Zoom {
    model.zoom.or(model.picture.as_ref().map(|d| d.picture.zoom)).unwrap_or(Zoom::Line)
}

/// Moves the selection (or the rows) of the focused pane.
pub fn step(model: &mut Model, action: Action) {
    let half = usize::from(model.page / 2).max(1);
    match model.focus {
        Pane::Train => select(model, action),
        Pane::Tree => {
            match action {
                Action::Up => model.tree.key_up(),
                Action::Down => model.tree.key_down(),
                Action::Left => model.tree.key_left(),
                Action::Right => model.tree.key_right(),
                Action::First => model.tree.select_first(),
                Action::Last => model.tree.select_last(),
                Action::HalfDown => model.tree.select_relative(|at| at.map_or(0, |n| n.saturating_add(half))),
                Action::HalfUp => model.tree.select_relative(|at| at.map_or(0, |n| n.saturating_sub(half))),
                _ => false,
            };
            let shown = model.shown();
            let on = model.tree.selected().iter().find_map(|id| shown.services.iter().find(|s| *s.name == **id));
            if let Some(service) = on {
                model.selected = Some(service.name.clone());
            }
        }
        Pane::Flags => {
            let count = model.shown().flags.iter().filter(|f| model.lets_through(&f.key)).count();
            model.flag = moved(model.flag, action, half, false).min(count.saturating_sub(1));
        }
        Pane::Checklist => {
            let count = model.shown().train.as_ref().map_or(0, |train| train.checks.len());
            model.check = moved(model.check, action, half, false).min(count.saturating_sub(1));
        }
        pane => {
            let upside_down = pane == Pane::Events;
            let at = moved(model.scrolled(pane), action, half, upside_down);
            model.scroll.insert(pane, at);
        }
    }
}

/// A row number after a move; views cut it to what there is.
fn moved(at: usize, action: Action, half: usize, upside_down: bool) -> usize {
    let by: isize = match action {
        Action::Up => -1,
        Action::Down => 1,
        Action::HalfUp => -(half.cast_signed()),
        Action::HalfDown => half.cast_signed(),
        Action::First => isize::MIN / 2,
        Action::Last => isize::MAX / 2,
        _ => 0,
    };
    let by = if upside_down { -by } else { by };
    at.saturating_add_signed(by).min(1 << 20)
}

/// Moves the selected service: about the graph where one is drawn, else along the list.
fn select(model: &mut Model, action: Action) {
    if let (Some(drawn), Some(name)) = (&model.picture, &model.selected)
        && let Some(next) = neighbour(drawn, name, action)
    {
        model.selected = Some(next);
        return;
    }
    let graph = model.picture.is_some();
    let rows = model.matching();
    if rows.is_empty() {
        return;
    }
    let at = rows.iter().position(|s| Some(&s.name) == model.selected.as_ref()).unwrap_or(0);
    let half = usize::from(model.page / 2).max(1);
    let wave = rows[at].wave;
    let next = match action {
        Action::First => 0,
        Action::Last => rows.len() - 1,
        Action::HalfUp => at.saturating_sub(half),
        Action::HalfDown => at + half,
        _ if graph => at,
        Action::Up => at.saturating_sub(1),
        Action::Down => at + 1,
        Action::Left => {
            let before = rows[..at].iter().rposition(|s| s.wave < wave).map(|n| rows[n].wave);
            before.and_then(|w| rows.iter().position(|s| s.wave == w)).unwrap_or(0)
        }
        Action::Right => rows.iter().position(|s| s.wave > wave).unwrap_or(at),
        _ => at,
    };
    model.selected = Some(rows[next.min(rows.len() - 1)].name.clone());
}

/// The box next to a service in a direction.
fn neighbour(drawn: &Drawn, name: &Text, action: Action) -> Option<Text> {
    let boxes = &drawn.picture.boxes;
    let at = boxes[drawn.names.iter().position(|n| n == name)?];
    let services = || (0..boxes.len()).filter(|&n| !drawn.expand[n]);
    let column = || services().filter(|&n| boxes[n].x == at.x);
    let beside = |right: bool| {
        let columns = services().map(|n| boxes[n].x).filter(|&x| if right { x > at.x } else { x < at.x });
        let x = if right { columns.min() } else { columns.max() }?;
        services().filter(|&n| boxes[n].x == x).min_by_key(|&n| (boxes[n].y.abs_diff(at.y), boxes[n].y))
    };
    let next = match action {
        Action::Up => column().filter(|&n| boxes[n].y < at.y).max_by_key(|&n| boxes[n].y),
        Action::Down => column().filter(|&n| boxes[n].y > at.y).min_by_key(|&n| boxes[n].y),
        Action::Left => beside(false),
        Action::Right => beside(true),
        _ => None,
    }?;
    Some(drawn.names[next].clone())
}

fn match_step(model: &mut Model, forward: bool) {
    let rows = model.matching();
    if model.filter.is_empty() || rows.is_empty() {
        let why = if model.filter.is_empty() { "no filter is set; / sets one" } else { "nothing matches the filter" };
        say(model, Role::Dim, Text::scrub(why));
        return;
    }
    let count = rows.len();
    let at = rows.iter().position(|s| Some(&s.name) == model.selected.as_ref());
    let next = match (at, forward) {
        (None, _) => 0,
        (Some(n), true) => (n + 1) % count,
        (Some(n), false) => (n + count - 1) % count,
    };
    model.selected = Some(rows[next].name.clone());
}

/// Selects the next service that needs a person, or that moves.
fn goto(model: &mut Model, need: bool) {
    let shown = model.shown();
    let wanted = |n: usize| {
        let s = &shown.services[n];
        if need { shown.needs.iter().any(|x| x.service == s.name) } else { status::in_flight(s) }
    };
    let count = shown.services.len();
    let at = shown.services.iter().position(|s| Some(&s.name) == model.selected.as_ref()).unwrap_or(0);
    let found = (1..=count).map(|by| (at + by) % count.max(1)).find(|&n| wanted(n));
    match found {
        Some(n) => {
            model.selected = Some(shown.services[n].name.clone());
            model.focus = Pane::Train;
        }
        None => say(model, Role::Dim, Text::scrub(if need { "nothing needs you" } else { "nothing moves" })),
    }
}
