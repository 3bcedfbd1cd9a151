//! Orders and the dialogs that confirm them: the plan is frozen while it is asked about; an answer given to an older plan
//! is not an answer to the new one. Cancel has the focus each time; a key that was on its way, a held key and a pasted
//! text confirm nothing. Rules: `train.md` §8.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use super::{say, say_refusal};
use crate::cockpit::keymap::Action;
use crate::cockpit::message::Command;
use crate::cockpit::model::{DIALOG_GUARD, Dialog, Mode, Model, Stop};
use crate::cockpit::plan::{Plan, Scope, plan};
use crate::cockpit::theme::Role;
use crate::core::confirm::{Answer, Confirm, Order};
use crate::core::effect::Direction;
use crate::core::intent::{Departing, Intent, Want};
use crate::core::text::Text;

/// Longest word or reason that is taken, in characters.
const TYPED_MAX: usize = 200;

/// Orders something, on the selected service where none is named: at once where nothing is asked, else by a dialog.
pub fn order(model: &mut Model, want: &Want, subject: Option<Text>, scope: Option<Scope>) -> Vec<Command> {
    // A service that is named is meant, where a key alone means the train.
    let scope = scope.or(match (&subject, want, model.live.active_train()) {
        (Some(_), Want::Pause, Some(_)) => Some(Scope::One),
        (Some(_), Want::Undo, Some(_)) => Some(Scope::Downstream),
        _ => None,
    });
    let subject = match (subject, want) {
        (Some(named), _) => named,
        (None, Want::Flag { key, .. }) => key.clone(),
        (None, Want::Depart) => Text::default(),
        (None, _) => match &model.selected {
            Some(name) => name.clone(),
            // A train is ordered about whether or not any of its services is on the screen.
            None if model.live.active_train().is_some() => Text::default(),
            None => {
                say(model, Role::Warn, crate::text!("no service is selected"));
                return Vec::new();
            }
        },
    };
    match plan(&model.sight(), want, &subject, scope) {
        Err(refusal) => {
            say_refusal(model, &refusal);
            Vec::new()
        }
        Ok(plan) if plan.level == Confirm::None => send(model, &plan, &Answer::Nothing, Text::default()),
        Ok(plan) => {
            model.mode = Mode::Dialog(Box::new(Dialog {
                plan,
                since: model.now,
                focus: Stop::Cancel,
                word: Input::default(),
                reason: Input::default(),
                reshown: 0,
                note: None,
            }));
            Vec::new()
        }
    }
}

fn send(model: &mut Model, plan: &Plan, answer: &Answer, why: Text) -> Vec<Command> {
    match plan.question().answer(answer, model.now) {
        Err(refusal) => {
            say_refusal(model, &refusal);
            Vec::new()
        }
        Ok(confirmed) => {
            let id = model.next_intent;
            model.next_intent += 1;
            model.under_way.insert(id, plan.title.clone());
            say(model, Role::Accent, crate::text!("ordered: {}", plan.title));
            let order = Order { who: model.setup.who.clone(), when: model.now, why };
            if plan.want == Want::Depart {
                let services = plan.layers.iter().flatten().map(|target| target.name.clone()).collect();
                return vec![Command::Depart(Box::new(Departing { id, answer: answer.clone(), services, order }))];
            }
            vec![Command::Order(Box::new(Intent {
                id,
                want: plan.want.clone(),
                layers: plan.layers.clone(),
                train: plan.on.clone(),
                confirmed,
                order,
            }))]
        }
    }
}

/// The stops of a dialog, in the order of Tab.
pub fn stops(plan: &Plan) -> Vec<Stop> {
    let word = matches!(plan.level, Confirm::Type(_)).then_some(Stop::Word);
    let reason = plan.reason.then_some(Stop::Reason);
    [Some(Stop::Cancel), word, reason, Some(Stop::Go)].into_iter().flatten().collect()
}

/// A key while a dialog is open.
pub fn key(model: &mut Model, mut open: Box<Dialog>, key: KeyEvent) -> Vec<Command> {
    if key.kind != KeyEventKind::Press {
        model.mode = Mode::Dialog(open);
        return Vec::new();
    }
    if key.code == KeyCode::Esc {
        say(model, Role::Dim, crate::text!("nothing was changed"));
        return Vec::new();
    }
    if model.now.duration_since(open.since) < DIALOG_GUARD {
        model.mode = Mode::Dialog(open);
        return Vec::new();
    }
    let stops = stops(&open.plan);
    let has_fields = stops.len() > 2;
    let turn = |focus: Stop, by: usize| {
        let at = stops.iter().position(|s| *s == focus).unwrap_or(0);
        stops[(at + by) % stops.len()]
    };
    let in_field = matches!(open.focus, Stop::Word | Stop::Reason);
    match key.code {
        KeyCode::Tab => open.focus = turn(open.focus, 1),
        KeyCode::BackTab => open.focus = turn(open.focus, stops.len() - 1),
        KeyCode::Left | KeyCode::Right if !in_field => {
            open.focus = if open.focus == Stop::Go { Stop::Cancel } else { Stop::Go };
        }
        KeyCode::Up | KeyCode::Down => rescope(model, &mut open, key.code == KeyCode::Down),
        KeyCode::Enter if open.focus == Stop::Cancel => {
            say(model, Role::Dim, crate::text!("nothing was changed"));
            return Vec::new();
        }
        KeyCode::Enter => return confirm(model, open),
        KeyCode::Char('y') if !has_fields && key.modifiers.is_empty() => return confirm(model, open),
        KeyCode::Char('n') if !has_fields => {
            say(model, Role::Dim, crate::text!("nothing was changed"));
            return Vec::new();
        }
        _ if has_fields => {
            let typed = matches!(key.code, KeyCode::Char(_)) && !key.modifiers.contains(KeyModifiers::CONTROL);
            if !in_field && typed {
                open.focus = stops[1];
            }
            let field = match open.focus {
                Stop::Word => Some(&mut open.word),
                Stop::Reason => Some(&mut open.reason),
                Stop::Cancel | Stop::Go => None,
            };
            if let Some(field) = field
                && (!typed || field.value().chars().count() < TYPED_MAX)
            {
                field.handle_event(&Event::Key(key));
                open.note = None;
            }
        }
        _ => {}
    }
    model.mode = Mode::Dialog(open);
    Vec::new()
}

/// Chooses how far an order reaches; the plan is worked out anew, and the guard begins again.
fn rescope(model: &Model, open: &mut Dialog, down: bool) {
    let scopes = &open.plan.scopes;
    let at = scopes.iter().position(|s| *s == open.plan.scope).unwrap_or(0);
    let next = if down { (at + 1).min(scopes.len().saturating_sub(1)) } else { at.saturating_sub(1) };
    let Some(&scope) = scopes.get(next).filter(|s| **s != open.plan.scope) else { return };
    match plan(&model.sight(), &open.plan.want, &open.plan.subject, Some(scope)) {
        Ok(plan) => {
            open.plan = plan;
            open.since = model.now;
            open.note = None;
        }
        Err(refusal) => open.note = Some(refusal.why),
    }
}

/// The answer yes, or the word typed: to the plan that was shown, if it still is the plan.
fn confirm(model: &mut Model, mut open: Box<Dialog>) -> Vec<Command> {
    let fresh = plan(&model.sight(), &open.plan.want, &open.plan.subject, Some(open.plan.scope));
    let fresh = match fresh {
        Ok(fresh) => fresh,
        Err(refusal) => {
            say_refusal(model, &refusal);
            return Vec::new();
        }
    };
    let changed = !fresh.same_targets(&open.plan);
    let safe = fresh.direction == Direction::Safe;
    if changed {
        open.plan = fresh;
    }
    if changed && !(safe && open.reshown > 0) {
        open.reshown = open.reshown.saturating_add(1);
        open.since = model.now;
        open.note = Some(crate::text!("the plan changed while you read; this is the new one"));
        model.mode = Mode::Dialog(open);
        return Vec::new();
    }
    let why = Text::scrub(open.reason.value().trim());
    if open.plan.reason && why.is_empty() {
        open.note = Some(crate::text!("a reason is needed; it is recorded"));
        open.focus = Stop::Reason;
        model.mode = Mode::Dialog(open);
        return Vec::new();
    }
    let answer = match &open.plan.level {
        Confirm::Type(word) if open.word.value().trim() != word.as_str() => {
            open.note = Some(crate::text!("type {word} exactly"));
            open.focus = Stop::Word;
            model.mode = Mode::Dialog(open);
            return Vec::new();
        }
        Confirm::Type(_) => Answer::Typed(open.word.value().trim().to_owned()),
        Confirm::Yes => Answer::Yes,
        Confirm::None => Answer::Nothing,
    };
    send(model, &open.plan, &answer, why)
}

/// A key while it is asked whether to leave.
pub fn leaving(model: &mut Model, focus: Stop, key: KeyEvent) -> Vec<Command> {
    if key.kind != KeyEventKind::Press {
        model.mode = Mode::Leaving(focus);
        return Vec::new();
    }
    let quits = model.setup.keymap.of(Action::Quit);
    match key.code {
        KeyCode::Esc | KeyCode::Char('n') => {}
        KeyCode::Enter if focus == Stop::Cancel => {}
        KeyCode::Enter | KeyCode::Char('y') => return vec![Command::Quit],
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => {
            let other = if focus == Stop::Cancel { Stop::Go } else { Stop::Cancel };
            model.mode = Mode::Leaving(other);
        }
        _ => {
            say(model, Role::Dim, crate::text!("y leaves, Esc stays ({} asked)", quits.join(" ")));
            model.mode = Mode::Leaving(focus);
        }
    }
    Vec::new()
}
