//! A train, played again: the lines of a journal folded into moments that can be gone to in any order, the story that they tell,
//! and what stands out in it. Nothing leaves from here: what a replayed train wants done is told, never done. What a screen shows
//! of a moment is `replay/scene.rs`, which lines of a file are a train's `replay/read.rs`.

pub mod read;
pub mod scene;
pub mod story;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::story::{Beside, Told};
use super::text::Text;
pub use super::timeline::{Mark, Place, Seek, Sign};
use super::train::State;
use super::train::event::Input;
use super::train::journal::{self, Fold};
use super::train::resolved::Resolved;

/// A moment is at most so many inputs from one that is kept whole.
const KEPT_EVERY: usize = 64;

/// A line that could not be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Its number in the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: Text,
}

/// One moment.
struct Beat {
    /// What came in; none where somebody took the train up.
    input: Option<Input>,
    /// It changed nothing: another conductor had taken over.
    late: bool,
    at: Timestamp,
}

/// A moment that is kept whole.
struct Kept {
    beat: usize,
    state: State,
    beside: Beside,
}

/// A whole train, to be played.
pub struct Tape {
    plan: Arc<Resolved>,
    namespace: Text,
    beats: Vec<Beat>,
    kept: Vec<Kept>,
    told: Vec<(usize, Told)>,
    marks: Arc<[Mark]>,
    damaged: Vec<Damage>,
}

impl Tape {
    /// The train of these lines, each with its number in its file. What cannot be replayed is left out and told.
    ///
    /// # Errors
    /// When nothing of it can be replayed.
    pub fn of(train: &read::Found) -> Result<Self, Text> {
        let mut damaged = train.damaged.clone();
        let mut beats: Vec<Beat> = Vec::new();
        let mut kept: Vec<Kept> = Vec::new();
        let mut told: Vec<(usize, Told)> = Vec::new();
        let mut marks: Vec<Mark> = Vec::new();
        let mut beside = Beside::default();
        let mut before: Option<State> = None;
        // Until the first input nobody knows what time it is.
        let mut at = train.began();
        let mut fold = Fold::default();
        for (line, text) in &train.lines {
            let taken = match fold.take(text) {
                Ok(taken) => taken,
                Err(flaw) => {
                    damaged.push(Damage { line: *line, why: flaw.why() });
                    continue;
                }
            };
            let (Some(moment), Some(state)) = (taken, fold.state().cloned()) else { continue };
            at = moment.input.as_ref().map_or(at, |input| input.at.wall);
            let beat = beats.len();
            let news = story::tell(before.as_ref(), &moment, &state, at, &mut beside);
            marks.extend(news.iter().filter_map(|told| Some(Mark { at, sign: told.sign? })));
            told.extend(news.into_iter().map(|told| (beat, told)));
            let whole = moment.input.is_none() || kept.last().is_none_or(|k| beat - k.beat >= KEPT_EVERY);
            if whole {
                kept.push(Kept { beat, state: state.clone(), beside: beside.clone() });
            }
            beats.push(Beat { input: moment.input, late: moment.late, at });
            before = Some(state);
        }
        damaged.sort_by_key(|d| d.line);
        let Some(last) = before else {
            return Err(damaged.first().map_or_else(
                || crate::text!("there is no train in it"),
                |d| crate::text!("nothing of it can be replayed; line {}: {}", d.line, d.why),
            ));
        };
        Ok(Self {
            plan: last.plan().clone(),
            namespace: train.namespace.clone(),
            beats,
            kept,
            told,
            marks: marks.into(),
            damaged,
        })
    }

    /// How many moments there are; never none.
    pub fn len(&self) -> usize {
        self.beats.len()
    }

    /// Never: see [`Tape::len`].
    pub fn is_empty(&self) -> bool {
        self.beats.is_empty()
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Resolved> {
        &self.plan
    }

    /// The lines that could not be replayed.
    pub fn damaged(&self) -> &[Damage] {
        &self.damaged
    }

    /// When a moment was.
    pub fn at(&self, moment: usize) -> Timestamp {
        self.beats[moment.min(self.beats.len() - 1)].at
    }

    /// The last moment that was not after this time; the first where there is none.
    pub fn moment_at(&self, at: Timestamp) -> usize {
        // Clocks of two conductors may differ: the last one counts, whatever lies between.
        self.beats.iter().rposition(|beat| beat.at <= at).unwrap_or(0)
    }

    /// Where a seek leads from a moment.
    pub fn seek(&self, from: usize, seek: Seek) -> usize {
        let last = self.beats.len() - 1;
        match seek {
            Seek::Inputs(by) => from.saturating_add_signed(isize::try_from(by).unwrap_or(0)).min(last),
            Seek::Seconds(by) => {
                let at = self.at(from).checked_add(SignedDuration::from_secs(by)).unwrap_or(self.at(from));
                let to = self.moment_at(at);
                // Where nothing happened for longer, the next thing that did.
                if by > 0 && to <= from { (from + 1).min(last) } else { to }
            }
            Seek::First => 0,
            Seek::Last => last,
            Seek::Play | Seek::Speed => from,
        }
    }

    /// The train at a moment.
    pub fn state(&self, moment: usize) -> State {
        self.moment(moment).0
    }

    /// What was told up to a moment, oldest first.
    pub fn told(&self, moment: usize) -> impl DoubleEndedIterator<Item = &Told> {
        let end = self.told.partition_point(|(beat, _)| *beat <= moment);
        self.told[..end].iter().map(|(_, told)| told)
    }

    fn moment(&self, moment: usize) -> (State, Beside) {
        let moment = moment.min(self.beats.len() - 1);
        // The first beat is always kept: somebody takes the train up before anything comes in.
        let from = &self.kept[self.kept.partition_point(|k| k.beat <= moment).saturating_sub(1)];
        let (mut state, mut beside) = (from.state.clone(), from.beside.clone());
        for beat in &self.beats[from.beat + 1..=moment] {
            let Some(input) = &beat.input else { continue };
            if !beat.late {
                beside.hear(input);
                state = journal::fold(state, input).0;
            }
        }
        (state, beside)
    }

    /// Where the screen stands at a moment.
    pub fn place(&self, moment: usize, speed: u32, plays: bool) -> Place {
        let from = self.beats.iter().map(|b| b.at).min().unwrap_or_default();
        let to = self.beats.iter().map(|b| b.at).max().unwrap_or_default();
        let marks = Arc::clone(&self.marks);
        Place { moment, moments: self.beats.len(), from, to, speed, plays, marks, damaged: self.damaged.len() }
    }
}
