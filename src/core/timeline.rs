//! The time line of a replay, as values: where one stands, what stands out, where to go. How it is made of a journal is `replay.rs`.

use std::sync::Arc;

use jiff::Timestamp;

/// Something in a journal that stands out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sign {
    /// A person or the conductor ordered something.
    Order,
    /// A hold began.
    Hold,
    /// Another conductor took over.
    TookOver,
    /// A gate failed.
    Fail,
    /// It began to go back.
    Undo,
    /// It ended.
    End,
}

/// Where something stands out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub sign: Sign,
}

/// Where the screen stands in a replay.
#[derive(Clone, PartialEq, Debug)]
pub struct Place {
    /// The moment, from 0.
    pub moment: usize,
    /// How many there are.
    pub moments: usize,
    /// When the first one was.
    pub from: Timestamp,
    /// When the last one was.
    pub to: Timestamp,
    /// How many times as fast it plays.
    pub speed: u32,
    /// True while it plays.
    pub plays: bool,
    /// What stands out, in order.
    pub marks: Arc<[Mark]>,
    /// How many lines could not be replayed.
    pub damaged: usize,
}

/// Where to go in a replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seek {
    /// So many inputs on, or back.
    Inputs(i64),
    /// So many seconds on, or back.
    Seconds(i64),
    /// To the first moment.
    First,
    /// To the last one.
    Last,
    /// Plays, or stands still.
    Play,
    /// The next speed.
    Speed,
}
