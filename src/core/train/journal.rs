//! The journal: every input of a train as one line of stable text, and the replay of such lines, which is a fold of
//! [`step`]. Where the lines are kept is not known here.

use std::sync::Arc;

use super::event::Input;
use super::resolved::Resolved;
use super::state::State;
use super::step::{Role, step};
use crate::core::elector::Epoch;
use crate::core::text::Text;
use crate::text;

/// One input as a line: JSON, keys in a fixed order, no line break.
pub fn line(input: &Input) -> String {
    serde_json::to_string(input).unwrap_or_default()
}

/// Reads a line back.
///
/// # Errors
/// Says which line is not one of a journal.
pub fn read(number: usize, line: &str) -> Result<Input, Text> {
    serde_json::from_str(line).map_err(|why| text!("line {number} is not one of a journal: {why}"))
}

/// Replays a journal from its first line on. Effects of a replay go nowhere.
///
/// # Errors
/// Says which line is not one of a journal.
pub fn replay<'l>(plan: Arc<Resolved>, lines: impl IntoIterator<Item = &'l str>) -> Result<State, Text> {
    lines.into_iter().enumerate().try_fold(State::new(plan), |state, (n, text)| {
        let input = read(n + 1, text)?;
        Ok(fold(state, &input))
    })
}

/// One input of a replay.
pub fn fold(state: State, input: &Input) -> State {
    let epoch = input.lease.as_ref().map(|l| Epoch::replayed(l.number, l.holder.clone(), l.remaining));
    let role = epoch.as_ref().map_or(Role::Hands, Role::Conducting);
    step(state, role, input).0
}
