//! How the model changes: one message in, commands out. Pure but for the model; nothing is drawn and nothing is sent.
//! Keys of the panes are in `update/panes.rs`, of dialogs and input lines in `update/dialog.rs` and `update/lines.rs`.

mod dialog;
mod lines;
mod panes;
mod replay;

use std::sync::Arc;

use jiff::Timestamp;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::keymap::{Action, Chord, Found};
use super::message::{Command, Message};
use super::model::{INTERRUPT_WITHIN, Mode, Model, Pane, SAY_FOR, Say};
use super::status;
use super::theme::Role;
use crate::core::confirm::Refusal;
use crate::core::snapshot::{Hand, Mode as Ground, Snapshot};
use crate::core::text::Text;

/// Takes one message.
pub fn update(model: &mut Model, message: Message, at: Timestamp) -> Vec<Command> {
    model.now = at;
    if model.say.as_ref().is_some_and(|s| s.until <= at) {
        model.say = None;
    }
    if model.interrupted.is_some_and(|t| at.duration_since(t) > INTERRUPT_WITHIN) {
        model.interrupted = None;
    }
    let mut commands = match message {
        Message::Key(key) => {
            let mut commands = take_the_train(model, key);
            commands.extend(on_key(model, key));
            commands
        }
        Message::Paste(text) => {
            lines::paste(model, &text);
            Vec::new()
        }
        Message::Resize(width, height) => {
            model.size = (width, height);
            Vec::new()
        }
        Message::Focus(on) => {
            model.window = on;
            Vec::new()
        }
        Message::Tick => Vec::new(),
        Message::Snapshot(snapshot) => on_snapshot(model, snapshot),
        Message::Outcome { intent, name, result, last } => {
            let title = model.under_way.get(&intent).cloned();
            if last {
                model.under_way.remove(&intent);
            }
            match result {
                Ok(done) if last => {
                    let title = title.map_or(String::new(), |t| format!("{t}: "));
                    say(model, Role::Ok, crate::text!("{title}{done}"));
                }
                Ok(done) => say(model, Role::Text, crate::text!("{name}: {done}")),
                Err(refusal) => say_refusal(model, &refusal),
            }
            Vec::new()
        }
        Message::Say(text) => {
            say(model, Role::Text, text);
            Vec::new()
        }
        Message::Scroll(rows) => {
            let action = if rows < 0 { Action::Up } else { Action::Down };
            if matches!(model.mode, Mode::Normal) {
                (0..rows.unsigned_abs().min(10)).for_each(|_| panes::step(model, action));
            }
            Vec::new()
        }
    };
    let watch = if model.focus == Pane::Tree { model.selected.clone() } else { None };
    if watch != model.watched {
        model.watched.clone_from(&watch);
        commands.push(Command::Watch(watch));
    }
    commands
}

/// In a rehearsal that its script drives, any key makes the train the person's, whatever else it does.
fn take_the_train(model: &mut Model, key: KeyEvent) -> Vec<Command> {
    let scripted = matches!(model.live.mode, Ground::Rehearsal { hand: Hand::Script, .. });
    if !scripted || key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    let back = model.setup.keymap.hint(Action::Script);
    say(model, Role::Accent, crate::text!("the train is yours; {back} lets the script drive on"));
    vec![Command::Script(false)]
}

fn on_key(model: &mut Model, key: KeyEvent) -> Vec<Command> {
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    // Ctrl-C means the same in every mode.
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        if key.kind != KeyEventKind::Press {
            return Vec::new();
        }
        if model.interrupted.take().is_some() {
            return vec![Command::Quit];
        }
        model.interrupted = Some(model.now);
        say(model, Role::Warn, crate::text!("Ctrl-C again leaves; nothing that runs in the cluster stops"));
        return Vec::new();
    }
    match std::mem::take(&mut model.mode) {
        Mode::Normal => match replay::arrow(model, &key) {
            Some(seek) => vec![Command::Seek(seek)],
            None => on_chord(model, &key),
        },
        Mode::Command(line) => lines::command(model, line, key),
        Mode::Filter(input) => lines::filter(model, input, key),
        Mode::Dialog(open) => dialog::key(model, open, key),
        Mode::Leaving(focus) => dialog::leaving(model, focus, key),
    }
}

fn on_chord(model: &mut Model, key: &KeyEvent) -> Vec<Command> {
    model.pending.push(Chord::of(key));
    match model.setup.keymap.find(&model.pending) {
        Found::Prefix => Vec::new(),
        Found::Action(action) => {
            model.pending.clear();
            let moves = action.group() == super::keymap::Group::Move && action != Action::Open;
            if key.kind == KeyEventKind::Press || moves {
                return panes::act(model, action);
            }
            Vec::new()
        }
        Found::Nothing => {
            let pressed: Vec<String> = model.pending.drain(..).map(|c| c.to_string()).collect();
            let help = model.setup.keymap.hint(Action::PaneHelp);
            say(model, Role::Dim, crate::text!("{} does nothing here; {help} shows the keys", pressed.join(" ")));
            Vec::new()
        }
    }
}

fn on_snapshot(model: &mut Model, snapshot: Arc<Snapshot>) -> Vec<Command> {
    let other_place =
        model.live.place.context != snapshot.place.context || model.live.place.namespace != snapshot.place.namespace;
    model.live = snapshot;
    if other_place {
        model.frozen = None;
        model.flags_before.clear();
        model.selected = None;
        model.scroll.clear();
        model.tree.close_all();
    }
    model.note_flags();
    keep_selection(model);
    let needs: Vec<Text> = model.live.needs.iter().map(|n| n.what.clone()).collect();
    let fresh = needs.iter().any(|n| !model.rung.contains(n));
    model.rung = needs;
    if fresh { vec![Command::Bell] } else { Vec::new() }
}

/// The selection stays with its service; where there is none it goes to what matters most.
fn keep_selection(model: &mut Model) {
    if model.selection().is_some() {
        return;
    }
    let shown = model.shown();
    let needed = shown.needs.iter().map(|n| &n.service).find(|n| shown.services.iter().any(|s| s.name == **n));
    let moving = || shown.services.iter().find(|s| status::in_flight(s)).map(|s| &s.name);
    let first = || shown.services.first().map(|s| &s.name);
    model.selected = needed.or_else(moving).or_else(first).cloned();
}

/// Puts a line of talk into the footer.
fn say(model: &mut Model, role: Role, text: Text) {
    let until = model.now.checked_add(SAY_FOR).unwrap_or(model.now);
    model.say = Some(Say { text, role, until });
}

fn say_refusal(model: &mut Model, refusal: &Refusal) {
    let role = if refusal.already { Role::Dim } else { Role::Warn };
    let hint = if refusal.hint.is_empty() { String::new() } else { format!(" · {}", refusal.hint) };
    say(model, role, crate::text!("{}{hint}", refusal.why));
}
