//! The last row: the keys that matter here, or what there is to say. A key that would be refused now is dimmed, not
//! hidden, so that hands learn where things are.

use ratatui::layout::Rect;

use crate::cockpit::command::want_of;
use crate::cockpit::ink::{Ink, width};
use crate::cockpit::keymap::Action;
use crate::cockpit::model::{Model, Pane};
use crate::cockpit::plan::refused;
use crate::cockpit::theme::Role;
use crate::core::snapshot::Mode as Ground;

/// Draws the row.
pub fn draw(model: &Model, ink: &mut Ink<'_>, area: Rect) {
    if area.is_empty() {
        return;
    }
    if !model.pending.is_empty() {
        let so_far: Vec<String> = model.pending.iter().map(ToString::to_string).collect();
        let mut x = ink.put(area, area.x + 1, area.y, &so_far.join(" "), Role::Key);
        for (keys, action) in model.setup.keymap.after(&model.pending) {
            x = ink.parts(area, x, area.y, &[(Role::Text, "   "), (Role::Key, &keys), (Role::Dim, " ")]);
            x = ink.put(area, x, area.y, action.title(), Role::Dim);
        }
        return;
    }
    if let Some(say) = &model.say {
        ink.put(area, area.x + 1, area.y, &say.text, say.role);
        return;
    }
    let verbs: &[(Action, &str)] = &[
        (Action::Pause, "pause"),
        (Action::Resume, "resume"),
        (Action::Promote, "approve"),
        (Action::Abort, "abort"),
        (Action::Undo, "undo"),
        (Action::Retry, "retry"),
        (Action::Start, "start"),
        (Action::PromoteFull, "full"),
    ];
    let general: &[(Action, &str)] = match model.focus {
        Pane::Flags => &[(Action::Open, "flip"), (Action::Back, "back")],
        Pane::Train => &[(Action::Open, "open"), (Action::PaneFlags, "flags")],
        _ => &[(Action::Back, "back")],
    };
    let last: &[(Action, &str)] =
        &[(Action::Filter, "filter"), (Action::CommandLine, "command"), (Action::PaneHelp, "help")];
    // Help is always there; the rest gives way from the right.
    let keys = &model.setup.keymap;
    let replay: &[(Action, &str)] = &[
        (Action::Freeze, "play"),
        (Action::MinuteBack, "minute back"),
        (Action::MinuteOn, "on"),
        (Action::Speed, "speed"),
    ];
    let replays = matches!(model.live.mode, Ground::Replay(_));
    let verbs = if replays { replay } else { verbs };
    let help = keys.of(Action::PaneHelp).into_iter().find(|k| k == "?").unwrap_or_else(|| keys.hint(Action::PaneHelp));
    let tail = [(Role::Key, help), (Role::Dim, " help ".to_owned())];
    let tail_width: u16 = tail.iter().map(|p| width(&p.1)).sum();
    let room = Rect { width: area.width.saturating_sub(tail_width + 1), ..area };
    let mut x = area.x + 1;
    if replays {
        let sides = format!("{}{}", ink.g.more_left, ink.g.more_right);
        x = ink.parts(room, x, area.y, &[(Role::Key, &sides), (Role::Dim, " one input  ")]);
    }
    let all = verbs.iter().chain(general).chain(last).filter(|(a, _)| *a != Action::PaneHelp);
    for (action, word) in all {
        // A letter is easier to remember than a pane's number.
        let letter = (*action == Action::PaneFlags).then(|| keys.of(*action).into_iter().find(|k| k == "f"));
        let key = letter.flatten().unwrap_or_else(|| keys.hint(*action));
        let need = width(&key) + 1 + width(word) + 2;
        if x + need > room.right() {
            break;
        }
        let possible = want_of(*action).is_none_or(|want| {
            model.selected.as_ref().is_some_and(|name| refused(&model.sight(), &want, name).is_none())
        });
        let role = if possible { Role::Key } else { Role::Faint };
        let word_role = if possible { Role::Dim } else { Role::Faint };
        x = ink.parts(room, x, area.y, &[(role, &key), (word_role, " "), (word_role, word), (Role::Text, "  ")]);
    }
    ink.right(area, x, area.y, &tail);
}
