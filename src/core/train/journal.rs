//! The journal: a train as lines of stable text, and its replay, which is a fold of [`step`]. Where the lines are kept is not
//! known here.
//!
//! Whoever steps a train writes, in this order: [`opening`] (the plan), [`took_up`] (what it took up from the status, and by
//! which name it conducts), then one [`line`] for each input, before or beside its effects. Another conductor begins again with
//! [`opening`] and [`took_up`]; its lines may follow in the same place. A cockpit that lends its hands keeps a journal of its own
//! in the same way, with no name.
//!
//! `footplate replay` and whoever else tells a train's story: `for moment in journal::replay(text.lines())`, each the state after
//! one line, with the input and what the train wanted done. Effects of a replay are values and go nowhere. [`end`] gives the
//! last state alone. A damaged line ends a replay with an error that names it; what came before it was good and was given. Who goes
//! on after one takes the lines in with a [`Fold`] of their own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::effect::Effect;
use super::event::Input;
use super::fits;
use super::resolved::Resolved;
use super::state::{Memory, State};
use super::step::{Role, step};
use crate::core::elector::Epoch;
use crate::core::text::Text;
use crate::text;

/// What these lines are called, so that later ones can be told apart.
const FORMAT: u32 = 1;

/// One line, read.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Train { format: u32, plan: Box<Resolved> },
    TookUp { by: Option<Text>, memory: Box<Memory> },
    Input(Input),
}

/// The same, to be written.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Written<'l> {
    Train { format: u32, plan: &'l Resolved },
    TookUp { by: Option<&'l Text>, memory: &'l Memory },
    Input(&'l Input),
}

fn write(what: &Written<'_>) -> String {
    // Nothing of it has keys that are no text, which is all that could fail.
    serde_json::to_string(what).unwrap_or_default()
}

/// The first line: the plan.
pub fn opening(plan: &Resolved) -> String {
    write(&Written::Train { format: FORMAT, plan })
}

/// Who takes the train up (the holder's identity; none for hands without a Lease), and from where: the status as read, or that
/// of [`State::new`].
pub fn took_up(by: Option<&Text>, memory: &Memory) -> String {
    write(&Written::TookUp { by, memory })
}

/// One input: JSON, keys in a fixed order, no line break.
pub fn line(input: &Input) -> String {
    write(&Written::Input(input))
}

/// A train after one line of its journal.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Which line, from 1.
    pub line: usize,
    /// What came in; none where somebody took the train up.
    pub input: Option<Input>,
    /// What the train wanted done.
    pub effects: Vec<Effect>,
    /// The train.
    pub state: State,
    /// True for a line of a conductor from which another had taken over already: it changed nothing for the one that took over.
    pub late: bool,
}

/// What one line came to.
#[derive(Debug, Default)]
pub struct Taken {
    /// As [`Moment::input`].
    pub input: Option<Input>,
    /// As [`Moment::effects`].
    pub effects: Vec<Effect>,
    /// As [`Moment::late`].
    pub late: bool,
}

/// What is wrong with one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// It cannot be read: how it is damaged.
    Damaged(Text),
    /// It can, and does not belong here.
    Misplaced(Text),
}

impl Flaw {
    /// In words, where the line was named before.
    pub fn why(&self) -> Text {
        match self {
            Self::Damaged(how) => text!("it {how}"),
            Self::Misplaced(why) => why.clone(),
        }
    }

    fn at(&self, line: usize) -> Text {
        match self {
            Self::Damaged(how) => text!("line {line} {how}"),
            Self::Misplaced(why) => text!("line {line}: {why}"),
        }
    }
}

/// A train while its journal is folded, a line at a time. A line with a flaw changes nothing, and the next may be taken in.
#[derive(Default)]
pub struct Fold {
    plan: Option<Arc<Resolved>>,
    by: Option<Text>,
    state: Option<State>,
}

/// The moments of a journal, in order. Ends after the first error.
pub struct Replay<I> {
    lines: I,
    at: usize,
    over: bool,
    fold: Fold,
}

/// Replays a journal.
///
/// # Errors
/// A moment is an error where its line is damaged, belongs to another train, or comes before the lines that must open a
/// journal. It says which line and what is wrong with it.
pub fn replay<I>(lines: I) -> Replay<I::IntoIter>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    Replay { lines: lines.into_iter(), at: 0, over: false, fold: Fold::default() }
}

/// The state after the last line.
///
/// # Errors
/// As [`replay`]; and where there is no train in it.
pub fn end<I>(lines: I) -> Result<State, Text>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut all = replay(lines);
    while let Some(next) = all.advance() {
        next?;
    }
    all.fold.state.ok_or_else(|| text!("the journal is empty: nobody has taken the train up"))
}

impl<I> Replay<I>
where
    I: Iterator,
    I::Item: AsRef<str>,
{
    /// Takes the next line in.
    fn advance(&mut self) -> Option<Result<Taken, Text>> {
        while !self.over {
            let Some(next) = self.lines.next() else { break };
            self.at += 1;
            let text = next.as_ref().trim_end_matches(['\n', '\r']);
            if text.is_empty() {
                continue;
            }
            let taken = self.fold.take(text).map_err(|flaw| flaw.at(self.at));
            self.over = taken.is_err();
            if let Some(taken) = taken.transpose() {
                return Some(taken);
            }
        }
        None
    }
}

impl Fold {
    /// The train so far; none before somebody took it up.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Takes a line in; none for one that says nothing of how the train went on.
    ///
    /// # Errors
    /// Where the line is damaged, belongs to another train, or comes before the lines that must open a journal.
    pub fn take(&mut self, line: &str) -> Result<Option<Taken>, Flaw> {
        let line = read(line).map_err(Flaw::Damaged)?;
        self.take_in(line).map_err(Flaw::Misplaced)
    }

    fn take_in(&mut self, line: Line) -> Result<Option<Taken>, Text> {
        if let Line::Train { format, plan } = line {
            if format != FORMAT {
                return Err(text!("a journal of format {format}; this footplate reads format {FORMAT}"));
            }
            if let Some(known) = self.plan.as_ref().filter(|known| ***known != *plan) {
                return Err(text!("the plan of another train ({}), after that of {}", plan.id, known.id));
            }
            fits::plan(&plan)?;
            self.plan = Some(Arc::from(plan));
            return Ok(None);
        }
        let Some(plan) = &self.plan else {
            return Err(text!("a journal opens with the plan of its train; its first lines are missing"));
        };
        if let Line::TookUp { by, memory } = line {
            fits::memory(plan, &memory)?;
            self.by = by;
            self.state = Some(State::resume(plan.clone(), *memory));
            return Ok(Some(Taken::default()));
        }
        let Line::Input(input) = line else { return Ok(None) };
        fits::input(plan, &input)?;
        let Some(state) = self.state.take() else {
            return Err(text!("nobody has taken the train up yet; lines before this one are missing"));
        };
        let of_another = |by: &Text| input.lease.as_ref().is_some_and(|lease| lease.holder != *by);
        if self.by.as_ref().is_some_and(of_another) {
            self.state = Some(state);
            return Ok(Some(Taken { input: Some(input), late: true, ..Taken::default() }));
        }
        let (state, effects) = fold(state, &input);
        self.state = Some(state);
        Ok(Some(Taken { input: Some(input), effects, late: false }))
    }
}

impl<I> Iterator for Replay<I>
where
    I: Iterator,
    I::Item: AsRef<str>,
{
    type Item = Result<Moment, Text>;

    fn next(&mut self) -> Option<Self::Item> {
        let Taken { input, effects, late } = match self.advance()? {
            Ok(taken) => taken,
            Err(why) => return Some(Err(why)),
        };
        let state = self.fold.state.clone()?;
        Some(Ok(Moment { line: self.at, input, effects, state, late }))
    }
}

fn read(line: &str) -> Result<Line, Text> {
    serde_json::from_str(line).map_err(|why| {
        let place = format!(" at line {} column {}", why.line(), why.column());
        let says = why.to_string();
        let says = says.strip_suffix(&place).unwrap_or(&says);
        if why.is_eof() {
            text!("is cut off after {} bytes: {says}", line.len())
        } else {
            text!("is damaged at column {}: {says}", why.column())
        }
    })
}

/// One input of a replay.
pub fn fold(state: State, input: &Input) -> (State, Vec<Effect>) {
    let epoch = input.lease.as_ref().map(|l| Epoch::replayed(l.number, l.holder.clone(), l.remaining));
    let role = epoch.as_ref().map_or(Role::Hands, Role::Conducting);
    step(state, role, input)
}
