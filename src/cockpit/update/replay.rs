//! The keys that go about in a replay: the arrows and Home and End by inputs, whatever else they are (letters still move the
//! selection), brackets by minutes, Space plays. Where to is the player's to say.

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use crate::cockpit::keymap::Action;
use crate::cockpit::model::Model;
use crate::core::snapshot::Mode;
use crate::core::timeline::Seek;

/// What a brackets key goes by.
const MINUTE: i64 = 60;

fn replays(model: &Model) -> bool {
    matches!(model.live.mode, Mode::Replay(_))
}

/// What an arrow, Home or End means in a replay.
pub fn arrow(model: &Model, key: &KeyEvent) -> Option<Seek> {
    if !replays(model) || !model.pending.is_empty() || !key.modifiers.is_empty() {
        return None;
    }
    match key.code {
        KeyCode::Left => Some(Seek::Inputs(-1)),
        KeyCode::Right => Some(Seek::Inputs(1)),
        KeyCode::Home => Some(Seek::First),
        KeyCode::End => Some(Seek::Last),
        _ => None,
    }
}

/// What an action means in a replay beyond what it means elsewhere.
pub fn seek(model: &Model, action: Action) -> Option<Seek> {
    if !replays(model) {
        return None;
    }
    match action {
        Action::MinuteBack => Some(Seek::Seconds(-MINUTE)),
        Action::MinuteOn => Some(Seek::Seconds(MINUTE)),
        Action::Freeze => Some(Seek::Play),
        Action::Speed => Some(Seek::Speed),
        _ => None,
    }
}
