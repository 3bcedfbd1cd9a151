//! One line of a journal after another, folded into a train. What a line says of the world is taken as it is; that it belongs to the
//! plan is looked at before, since the machine goes by index.

use std::sync::Arc;

use serde::Deserialize;

use crate::core::elector::Epoch;
use crate::core::text::Text;
use crate::core::train::event::{Event, Input};
use crate::core::train::resolved::Resolved;
use crate::core::train::state::{Memory, State};
use crate::core::train::{Role, step};
use crate::text;

/// The form of a journal that this reads.
const FORMAT: u32 = 1;

/// One line.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// The plan.
    Train { format: u32, plan: Box<Resolved> },
    /// Somebody takes the train up: by which name it conducts, and from which record.
    TookUp { by: Option<Text>, memory: Box<Memory> },
    /// An input.
    Input(Input),
}

/// The train after a line.
pub struct Moment {
    /// What came in; none where somebody took the train up.
    pub input: Option<Input>,
    /// The train.
    pub state: State,
    /// True for a line of a conductor from which another had taken over already: it changed nothing.
    pub late: bool,
}

/// A train while its journal is folded.
#[derive(Default)]
pub struct Fold {
    plan: Option<Arc<Resolved>>,
    by: Option<Text>,
    state: Option<State>,
}

impl Fold {
    /// Takes a line in; none for one that says nothing of how the train went on.
    ///
    /// # Errors
    /// What is wrong with it: it is damaged, of another train, or of no train that was begun. What was folded before stands.
    pub fn take(&mut self, line: &str) -> Result<Option<Moment>, Text> {
        let line: Line = serde_json::from_str(line).map_err(|why| text!("it is no line of a journal: {why}"))?;
        match line {
            Line::Train { format, .. } if format != FORMAT => {
                Err(text!("a journal of format {format}; this footplate reads format {FORMAT}"))
            }
            Line::Train { plan, .. } => {
                if let Some(known) = self.plan.as_ref().filter(|known| ***known != *plan) {
                    return Err(text!("the plan of another train ({}), after that of {}", plan.id, known.id));
                }
                self.plan.get_or_insert_with(|| Arc::from(plan));
                Ok(None)
            }
            Line::TookUp { by, memory } => {
                let Some(plan) = &self.plan else {
                    return Err("a journal opens with the plan of its train; that line is missing".into());
                };
                let same = memory.services.len() == plan.services.len()
                    && memory.flags.len() == plan.flags.len()
                    && memory.jobs.len() == plan.migrations.len();
                if !same {
                    return Err("it remembers other services than the plan has".into());
                }
                self.by = by;
                let state = State::resume(Arc::clone(plan), *memory);
                self.state = Some(state.clone());
                Ok(Some(Moment { input: None, state, late: false }))
            }
            Line::Input(input) => {
                let Some(state) = self.state.take() else {
                    return Err("nobody has taken the train up yet; lines before this one are missing".into());
                };
                if let Err(why) = fits(state.plan(), &input) {
                    self.state = Some(state);
                    return Err(why);
                }
                let late = self.by.is_some()
                    && input.lease.as_ref().is_some_and(|lease| Some(&lease.holder) != self.by.as_ref());
                let state = if late { state } else { on(state, &input) };
                self.state = Some(state.clone());
                Ok(Some(Moment { input: Some(input), state, late }))
            }
        }
    }
}

/// The train after an input. What it wants done goes nowhere.
pub fn on(state: State, input: &Input) -> State {
    let epoch = input.lease.as_ref().map(|l| Epoch::replayed(l.number, l.holder.clone(), l.remaining));
    let role = epoch.as_ref().map_or(Role::Hands, Role::Conducting);
    step(state, role, input).0
}

/// The input speaks of services, flags and expand steps that the plan has.
fn fits(plan: &Resolved, input: &Input) -> Result<(), Text> {
    let (what, n, count) = match &input.event {
        Event::Read(s, _) | Event::Gone(s) => ("service", *s, plan.services.len()),
        Event::Judged(judged) => ("service", judged.service, plan.services.len()),
        Event::FlagRead(f, _) => ("flag", *f, plan.flags.len()),
        Event::JobRead(m, _) => ("expand step", *m, plan.migrations.len()),
        _ => return Ok(()),
    };
    if usize::from(n) < count { Ok(()) } else { Err(text!("it speaks of {what} number {n}, and the plan has {count}")) }
}
