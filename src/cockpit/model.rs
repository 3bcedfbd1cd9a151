//! What the screen is about to show: the snapshot, the selection, what is typed, which dialog is open. Values and small
//! questions about them; how they change is `update.rs`, how they look `view/`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tui_input::Input;
use tui_tree_widget::TreeState;

use super::glyphs::Glyphs;
use super::keymap::{Chord, KeyMap};
use super::message::ContextRow;
use super::plan::{Plan, Sight};
use super::theme::{Depth, Role, Theme, Themes};
use crate::core::layout::{Picture, Zoom};
use crate::core::snapshot::{ServiceView, Snapshot};
use crate::core::text::Text;

/// Input is ignored for so long after a dialog opened: a key that was on its way cannot answer it.
pub const DIALOG_GUARD: SignedDuration = SignedDuration::from_millis(300);

/// The second Ctrl-C counts within this.
pub const INTERRUPT_WITHIN: SignedDuration = SignedDuration::from_secs(1);

/// How long a line of talk stays in the footer.
pub const SAY_FOR: SignedDuration = SignedDuration::from_secs(8);

/// Entries of the command history that are kept.
pub const HISTORY_MAX: usize = 100;

/// The panes, in the order of their keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Pane {
    Train,
    Gates,
    Tree,
    Events,
    Flags,
    Checklist,
    History,
    Help,
}

impl Pane {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 8] =
        [Self::Train, Self::Gates, Self::Tree, Self::Events, Self::Flags, Self::Checklist, Self::History, Self::Help];

    /// Its key and name.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Train => "1 train",
            Self::Gates => "2 gates",
            Self::Tree => "3 tree",
            Self::Events => "4 events",
            Self::Flags => "5 flags",
            Self::Checklist => "6 checklist",
            Self::History => "7 history",
            Self::Help => "8 help",
        }
    }

    /// True for the panes of the overview; the others take the screen when they have the focus.
    pub const fn in_overview(self) -> bool {
        matches!(self, Self::Train | Self::Gates | Self::Events)
    }
}

/// A line of talk in the footer.
#[derive(Clone, PartialEq, Debug)]
pub struct Say {
    /// What.
    pub text: Text,
    /// How it looks.
    pub role: Role,
    /// Until when.
    pub until: Timestamp,
}

/// The command line while it is open.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// What is typed.
    pub input: Input,
    /// Place in the history while going through it; none while typing.
    pub back: Option<usize>,
    /// Which completion is taken next.
    pub tab: usize,
    /// What was typed when completing began.
    pub stem: Option<String>,
}

/// What has the focus in a dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The button that leaves everything as it is.
    Cancel,
    /// The field for the word that confirms.
    Word,
    /// The field for the reason.
    Reason,
    /// The button that does it.
    Go,
}

/// A question that is open.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// The plan as it was when it was shown; an answer is an answer to this.
    pub plan: Plan,
    /// Since when it is shown.
    pub since: Timestamp,
    /// What has the focus: Cancel, each time anew.
    pub focus: Stop,
    /// The word so far.
    pub word: Input,
    /// The reason so far.
    pub reason: Input,
    /// How often it was shown again because its plan changed.
    pub reshown: u8,
    /// What is to say about it: the plan changed, the word does not match.
    pub note: Option<Text>,
}

/// What takes the keys.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    /// The panes.
    #[default]
    Normal,
    /// The command line.
    Command(CommandLine),
    /// The filter line.
    Filter(Input),
    /// A question about an order.
    Dialog(Box<Dialog>),
    /// Whether to leave.
    Leaving(Stop),
}

/// What the cockpit is opened with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The state to begin with; usually one that is still connecting.
    pub snapshot: Arc<Snapshot>,
    /// Which keys lead where.
    pub keymap: KeyMap,
    /// How meanings look.
    pub theme: Theme,
    /// The themes to change to.
    pub themes: Themes,
    /// How many colours there are; needed to change the theme.
    pub depth: Depth,
    /// The glyphs.
    pub glyphs: Glyphs,
    /// The zone of the clock.
    pub zone: TimeZone,
    /// Who orders.
    pub who: Text,
    /// The contexts to switch to.
    pub contexts: Vec<ContextRow>,
    /// True when the mouse is captured from the start.
    pub mouse: bool,
    /// Longest text that goes to the clipboard, in bytes.
    pub copy_max: usize,
}

/// Everything the screen goes by.
#[derive(Debug)]
pub struct Model {
    /// See [`Setup`].
    pub setup: Setup,
    /// Columns and rows.
    pub size: (u16, u16),
    /// The time of the last message.
    pub now: Timestamp,
    /// The newest state.
    pub live: Arc<Snapshot>,
    /// The state that is shown while the display is frozen.
    pub frozen: Option<Arc<Snapshot>>,
    /// Which pane has the focus.
    pub focus: Pane,
    /// Which of gates and events is shown where there is room for one only.
    pub lower: Pane,
    /// True while the focused pane has the screen for itself.
    pub alone: bool,
    /// The selected service.
    pub selected: Option<Text>,
    /// Zoom of the graph; none fits it to the pane.
    pub zoom: Option<Zoom>,
    /// All edges, or only the nearest.
    pub all_edges: bool,
    /// What the lists are filtered by; empty for all.
    pub filter: String,
    /// What takes the keys.
    pub mode: Mode,
    /// Keys pressed so far of a longer one.
    pub pending: Vec<Chord>,
    /// The line of talk.
    pub say: Option<Say>,
    /// First row shown, per pane; for events counted from the end.
    pub scroll: BTreeMap<Pane, usize>,
    /// The selected flag, by place.
    pub flag: usize,
    /// The selected check, by place.
    pub check: usize,
    /// The tree's own state: what is open, what is selected.
    pub tree: TreeState<String>,
    /// The service whose pods and runs are being read for the tree.
    pub watched: Option<Text>,
    /// Commands so far, oldest first.
    pub history: Vec<String>,
    /// When Ctrl-C was pressed.
    pub interrupted: Option<Timestamp>,
    /// What needed a person when the bell last rang.
    pub rung: Vec<Text>,
    /// True while the mouse is captured.
    pub mouse: bool,
    /// Number of the next order.
    pub next_intent: u64,
    /// What was ordered and has no outcome yet: number and title.
    pub under_way: BTreeMap<u64, Text>,
    /// The value each flag had when it was first seen.
    pub flags_before: BTreeMap<Text, Text>,
    /// Rows of the focused pane, as last drawn; half a page goes by it.
    pub page: u16,
    /// The graph as last drawn, for moving about in it; names in the order of its boxes.
    pub picture: Option<Arc<Drawn>>,
    /// True while the terminal window has the focus.
    pub window: bool,
}

/// The graph as it is drawn: which manifest, at which zoom, and the picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// Names of the boxes: services and expand steps.
    pub names: Vec<Text>,
    /// True for the boxes that are expand steps.
    pub expand: Vec<bool>,
    /// The edges, by place in `names`.
    pub edges: Vec<(usize, usize)>,
    /// What it was made from and for; another value makes another picture.
    pub key: DrawnKey,
    /// The boxes and wires.
    pub picture: Picture,
}

/// What a picture depends on. No status is in it: so no box moves because a state changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DrawnKey {
    /// Names, waves, nearest dependencies.
    pub nodes: Vec<(Text, Option<u32>, Vec<Text>)>,
    /// Expand steps.
    pub expand: Vec<Text>,
    /// All edges, or only the nearest.
    pub all_edges: bool,
    /// Zoom asked for.
    pub zoom: Option<Zoom>,
    /// Room for it, columns and rows.
    pub room: (u16, u16),
}

impl Model {
    /// A cockpit at its start.
    pub fn new(setup: Setup, size: (u16, u16), now: Timestamp) -> Self {
        let (live, mouse) = (setup.snapshot.clone(), setup.mouse);
        let mut model = Self {
            setup,
            size,
            now,
            live,
            frozen: None,
            focus: Pane::Train,
            lower: Pane::Gates,
            alone: false,
            selected: None,
            zoom: None,
            all_edges: false,
            filter: String::new(),
            mode: Mode::Normal,
            pending: Vec::new(),
            say: None,
            scroll: BTreeMap::new(),
            flag: 0,
            check: 0,
            tree: TreeState::default(),
            watched: None,
            history: Vec::new(),
            interrupted: None,
            rung: Vec::new(),
            mouse,
            next_intent: 1,
            under_way: BTreeMap::new(),
            flags_before: BTreeMap::new(),
            page: 10,
            picture: None,
            window: true,
        };
        model.note_flags();
        model
    }

    /// What is shown: the frozen state, or the newest.
    pub fn shown(&self) -> Arc<Snapshot> {
        self.frozen.as_ref().unwrap_or(&self.live).clone()
    }

    /// What plans are worked out from: always the newest state.
    pub fn sight(&self) -> Sight<'_> {
        Sight {
            snapshot: &self.live,
            frozen: self.frozen.is_some(),
            flags_before: &self.flags_before,
            now: self.now,
            glyphs: &self.setup.glyphs,
            keymap: &self.setup.keymap,
        }
    }

    /// Remembers the value of each flag that is seen for the first time.
    pub fn note_flags(&mut self) {
        for flag in self.live.flags.iter() {
            if let Some(now) = &flag.now
                && !self.flags_before.contains_key(&flag.key)
            {
                self.flags_before.insert(flag.key.clone(), now.clone());
            }
        }
    }

    /// The services that the filter lets through, in order.
    pub fn matching(&self) -> Vec<Arc<ServiceView>> {
        self.shown().services.iter().filter(|s| self.lets_through(&s.name)).cloned().collect()
    }

    /// True when the filter lets a text through (parts in order of typing, ignoring case).
    pub fn lets_through(&self, text: &str) -> bool {
        self.filter.is_empty() || text.to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// The selected service, where it is still there.
    pub fn selection(&self) -> Option<Arc<ServiceView>> {
        let name = self.selected.as_ref()?;
        self.shown().services.iter().find(|s| s.name == *name).cloned()
    }

    /// How old what is shown is; none before the first read.
    pub fn age(&self) -> Option<SignedDuration> {
        Some(self.now.duration_since(self.shown().read_at?))
    }

    /// True while something on the screen counts by seconds: a pause, a deadline, the age of old data, a line of talk.
    pub fn counts(&self) -> bool {
        let s = self.shown();
        let pausing = || {
            s.services.iter().any(|x| {
                x.workload
                    .as_ref()
                    .is_some_and(|w| w.pause.as_ref().is_some_and(|p| p.seconds.is_some() && p.since.is_some()))
            })
        };
        self.say.is_some()
            || self.interrupted.is_some()
            || s.active_train().is_some_and(|train| train.started.is_some() || train.undo().is_some())
            || !s.needs.is_empty()
            || s.link.trouble().is_some()
            || pausing()
    }

    /// Where a service stands in the tree: its wave, where it has one, and its name.
    pub fn tree_path(service: &ServiceView) -> Vec<String> {
        let name = service.name.to_string();
        service.wave.map_or_else(|| vec![name.clone()], |wave| vec![format!("wave {wave}"), name.clone()])
    }

    /// How far a pane is scrolled.
    pub fn scrolled(&self, pane: Pane) -> usize {
        self.scroll.get(&pane).copied().unwrap_or(0)
    }
}
