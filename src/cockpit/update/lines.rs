//! The input lines: the command line with completion and history, the filter line, and what is pasted into them.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent};
use tui_input::backend::crossterm::EventHandler;
use tui_input::{Input, InputRequest};

use super::{dialog, panes, say};
use crate::cockpit::command::{self, Said};
use crate::cockpit::message::Command;
use crate::cockpit::model::{CommandLine, Mode, Model, Stop};
use crate::cockpit::theme::Role;
use crate::core::text::Text;

/// Longest line that is taken, in characters.
const LINE_MAX: usize = 500;

/// A key in the command line.
pub fn command(model: &mut Model, mut line: CommandLine, key: KeyEvent) -> Vec<Command> {
    match key.code {
        KeyCode::Esc => return Vec::new(),
        KeyCode::Backspace if line.input.value().is_empty() => return Vec::new(),
        KeyCode::Enter => {
            let typed = line.input.value().trim().to_owned();
            if typed.is_empty() {
                return Vec::new();
            }
            command::remember(&mut model.history, &typed);
            return match command::read(&typed) {
                Ok(said) => run(model, said),
                Err(why) => {
                    say(model, Role::Warn, why);
                    Vec::new()
                }
            };
        }
        KeyCode::Tab | KeyCode::BackTab => {
            let stem = line.stem.clone().unwrap_or_else(|| line.input.value().to_owned());
            let options = command::complete(&stem, model);
            if !options.is_empty() {
                let at = if line.stem.is_none() {
                    0
                } else if key.code == KeyCode::Tab {
                    (line.tab + 1) % options.len()
                } else {
                    (line.tab + options.len() - 1) % options.len()
                };
                let only = options.len() == 1;
                let text = options[at.min(options.len() - 1)].clone();
                line.input = Input::new(if only { format!("{text} ") } else { text });
                line.tab = at;
                line.stem = (!only).then_some(stem);
            }
        }
        KeyCode::Up | KeyCode::Down => {
            let count = model.history.len();
            let back = match (line.back, key.code) {
                (None, KeyCode::Up) if count > 0 => Some(1),
                (Some(n), KeyCode::Up) => Some((n + 1).min(count)),
                (Some(n), _) if n > 1 => Some(n - 1),
                _ => None,
            };
            line.back = back;
            line.stem = None;
            let text = back.and_then(|n| model.history.get(count - n)).cloned().unwrap_or_default();
            line.input = Input::new(text);
        }
        _ => {
            type_into(&mut line.input, key);
            line.stem = None;
            line.back = None;
        }
    }
    model.mode = Mode::Command(line);
    Vec::new()
}

fn run(model: &mut Model, said: Said) -> Vec<Command> {
    match said {
        Said::Action(action) => panes::act(model, action),
        Said::Want(want, subject, scope) => dialog::order(model, &want, subject, scope),
        Said::Context(name) => {
            let known = &model.setup.contexts;
            if !known.is_empty() && !known.iter().any(|c| c.name == name) {
                let names: Vec<&str> = known.iter().map(|c| &*c.name).collect();
                say(model, Role::Warn, crate::text!("no context {name}; there are {}", names.join(", ")));
                return Vec::new();
            }
            say(model, Role::Dim, crate::text!("opening {name}"));
            vec![Command::SwitchContext(name)]
        }
        Said::Theme(name) => {
            match model.setup.themes.named(&name, model.setup.depth) {
                Ok(theme) => model.setup.theme = theme,
                Err(error) => say(model, Role::Warn, Text::scrub(&error.to_string())),
            }
            vec![Command::Redraw]
        }
        Said::Filter(text) => {
            model.filter = text;
            Vec::new()
        }
    }
}

/// A key in the filter line. The lists follow while it is typed.
pub fn filter(model: &mut Model, mut input: Input, key: KeyEvent) -> Vec<Command> {
    match key.code {
        KeyCode::Esc => {
            model.filter.clear();
            return Vec::new();
        }
        KeyCode::Enter => return Vec::new(),
        _ => type_into(&mut input, key),
    }
    model.filter = input.value().to_owned();
    model.flag = 0;
    let rows = model.matching();
    if !rows.iter().any(|s| Some(&s.name) == model.selected.as_ref())
        && let Some(first) = rows.first()
    {
        model.selected = Some(first.name.clone());
    }
    model.mode = Mode::Filter(input);
    Vec::new()
}

fn type_into(input: &mut Input, key: KeyEvent) {
    let full = input.value().chars().count() >= LINE_MAX;
    if !(full && matches!(key.code, KeyCode::Char(_))) {
        input.handle_event(&Event::Key(key));
    }
}

/// Pasted text goes into lines and reasons, scrubbed, without its line breaks; a word that confirms is typed.
pub fn paste(model: &mut Model, text: &str) {
    let first = text.lines().next().unwrap_or_default();
    let clean: String = Text::scrub(first).chars().take(LINE_MAX).collect();
    let insert = |input: &mut Input| {
        clean.chars().for_each(|c| {
            input.handle(InputRequest::InsertChar(c));
        });
    };
    match &mut model.mode {
        Mode::Command(line) => {
            insert(&mut line.input);
            line.stem = None;
        }
        Mode::Filter(input) => {
            insert(input);
            model.filter = input.value().to_owned();
        }
        Mode::Dialog(open) if open.focus == Stop::Reason => insert(&mut open.reason),
        Mode::Dialog(open) => open.note = Some(crate::text!("pasting confirms nothing; type it")),
        Mode::Normal | Mode::Leaving(_) => {}
    }
}
