//! What reaches the cockpit (messages) and what it wants done outside (commands). Values only; nothing is done here.

use std::sync::Arc;

use ratatui::crossterm::event::KeyEvent;

use crate::core::confirm::Refusal;
use crate::core::intent::{Departing, Intent};
use crate::core::snapshot::{Snapshot, WriteMode};
use crate::core::text::Text;
use crate::core::timeline::Seek;

/// What reaches the cockpit.
#[derive(Clone, Debug)]
pub enum Message {
    /// A key.
    Key(KeyEvent),
    /// Pasted text. It never confirms anything.
    Paste(String),
    /// The terminal has this many columns and rows now.
    Resize(u16, u16),
    /// The terminal window got or lost the focus.
    Focus(bool),
    /// Time went by.
    Tick,
    /// The state of the world.
    Snapshot(Arc<Snapshot>),
    /// How an order ended for one of its targets.
    Outcome {
        /// Which order.
        intent: u64,
        /// Which service or flag.
        name: Text,
        /// What was done, or why not.
        result: Result<Text, Refusal>,
        /// True for the last target of the order.
        last: bool,
    },
    /// Something to tell the person (a file saved, a context that cannot be opened).
    Say(Text),
    /// Mouse wheel: rows down (negative: up).
    Scroll(i16),
}

/// What the cockpit wants done outside.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    /// Carry this out.
    Order(Box<Intent>),
    /// Record a train.
    Depart(Box<Departing>),
    /// Pods and runs of this service are looked at; of none when the tree is closed.
    Watch(Option<Text>),
    /// Read everything again.
    Reread,
    /// Leave this context and open that one.
    SwitchContext(Text),
    /// From now on a rehearsal's script drives (true), or the person alone.
    Script(bool),
    /// Where to go in a replay.
    Seek(Seek),
    /// To the clipboard, through the terminal. Scrubbed, and short enough.
    Copy(String),
    /// Ring once.
    Bell,
    /// Mouse capture on or off.
    Mouse(bool),
    /// Write this text to a file in the state directory.
    Save(String),
    /// To the shell, and back when it says so.
    Suspend,
    /// Everything anew.
    Redraw,
    /// The end.
    Quit,
}

/// A context that can be switched to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContextRow {
    /// Its name.
    pub name: Text,
    /// Its namespace.
    pub namespace: Text,
    /// How it would be opened.
    pub write: WriteMode,
}
