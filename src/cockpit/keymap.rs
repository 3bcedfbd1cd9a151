//! The table of actions, and which keys lead to them. One table feeds the keys, the help pane and the command line. An
//! action has a stable id; a person's TOML maps ids to lists of keys. What an action does is not decided here.

use std::fmt;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::core::manifest::reader::{nearest, short};

macro_rules! actions {
    ($($action:ident = $id:literal, [$($key:literal),*], $command:literal, $group:ident, $title:literal;)*) => {
        /// Everything a key can do.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[allow(missing_docs)]
        pub enum Action { $($action,)* }

        impl Action {
            /// All of them, in the order of the help pane.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// Its stable id, as key maps name it.
            pub const fn id(self) -> &'static str { match self { $(Self::$action => $id,)* } }

            /// Its name on the command line; empty when it has none.
            pub const fn command(self) -> &'static str { match self { $(Self::$action => $command,)* } }

            /// What it does, for people.
            pub const fn title(self) -> &'static str { match self { $(Self::$action => $title,)* } }

            /// Where the help pane lists it.
            pub const fn group(self) -> Group { match self { $(Self::$action => Group::$group,)* } }

            /// The keys it has when nobody says otherwise.
            pub const fn keys(self) -> &'static [&'static str] { match self { $(Self::$action => &[$($key),*],)* } }
        }
    };
}

/// How the help pane sorts actions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Orders to the cluster.
    Verbs,
    /// Moving about.
    Move,
    /// What is shown, and how.
    View,
    /// The program itself.
    Program,
}

impl Group {
    /// All, in the order of the help pane.
    pub const ALL: [Self; 4] = [Self::Verbs, Self::Move, Self::View, Self::Program];

    /// Its heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Verbs => "orders",
            Self::Move => "moving about",
            Self::View => "what is shown",
            Self::Program => "the program",
        }
    }
}

actions! {
    Pause = "train.pause", ["p"], "pause", Verbs, "pause the service where it is; never asks, always safe";
    Resume = "train.resume", ["r"], "resume", Verbs, "end a pause by a person";
    Promote = "train.promote", ["P"], "promote", Verbs, "approve the gate or pause that waits";
    PromoteFull = "train.promote-full", ["F"], "promote-full", Verbs, "skip all remaining steps";
    Abort = "train.abort", ["X"], "abort", Verbs, "take traffic back to stable, now";
    Undo = "train.undo", ["u"], "undo", Verbs, "back to what was live before; shows the plan first";
    Retry = "train.retry", ["t"], "retry", Verbs, "try an aborted version again";
    Start = "train.start", ["s"], "start", Verbs, "deploy the pinned version";
    Depart = "train.depart", ["S"], "depart", Verbs, "start the train of the release";
    TakeOver = "train.take-over", ["T"], "take-over", Verbs, "conduct the train from here";
    Restart = "train.restart", [], "restart", Verbs, "restart the pods";
    Flip = "flag.flip", [], "flag", Verbs, "set a flag: flag KEY on|off|PERCENT";

    Up = "move.up", ["up", "k"], "", Move, "up";
    Down = "move.down", ["down", "j"], "", Move, "down";
    Left = "move.left", ["left", "h"], "", Move, "left; the wave before";
    Right = "move.right", ["right", "l"], "", Move, "right; the next wave";
    First = "move.first", ["home", "g g"], "", Move, "first";
    Last = "move.last", ["end", "G"], "", Move, "last";
    HalfDown = "move.half-down", ["pagedown", "ctrl-d"], "", Move, "half a page down";
    HalfUp = "move.half-up", ["pageup", "ctrl-u"], "", Move, "half a page up";
    GotoNeed = "goto.need", ["g n"], "", Move, "to what needs a person";
    GotoMoving = "goto.moving", ["g m"], "", Move, "to what moves";
    Open = "open", ["enter"], "", Move, "open";
    Back = "back", ["esc"], "", Move, "back; never quits";

    PaneTrain = "pane.train", ["1"], "train", View, "the train";
    PaneGates = "pane.gates", ["2"], "gates", View, "the gates; again: alone on the screen";
    PaneTree = "pane.tree", ["3"], "tree", View, "the tree of revisions, pods and runs";
    PaneEvents = "pane.events", ["4"], "events", View, "the events";
    PaneFlags = "pane.flags", ["5", "f"], "flags", View, "the flags; Enter flips";
    PaneChecklist = "pane.checklist", ["6"], "checklist", View, "the checklist";
    PaneHistory = "pane.history", ["7"], "history", View, "the history";
    PaneHelp = "pane.help", ["8", "?", "f1"], "help", View, "this help";
    NextPane = "pane.next", ["tab"], "", View, "next pane";
    PreviousPane = "pane.previous", ["shift-tab"], "", View, "previous pane";
    ZoomIn = "zoom.in", ["z", "+"], "", View, "zoom in";
    ZoomOut = "zoom.out", ["Z", "-"], "", View, "zoom out";
    Fit = "zoom.fit", ["0"], "fit", View, "fit the graph to the pane";
    AllEdges = "edges.all", ["e"], "edges", View, "all edges, or only the nearest";
    Filter = "filter", ["/"], "filter", View, "show only what matches; Esc clears";
    NextMatch = "match.next", ["n"], "", View, "next match";
    PreviousMatch = "match.previous", ["N"], "", View, "previous match";
    Freeze = "display.freeze", ["space"], "freeze", View, "freeze the display; the train goes on";

    CommandLine = "command", [":"], "", Program, "command line, with completion and history";
    Context = "context", [], "ctx", Program, "switch context: ctx NAME";
    Theme = "theme", [], "theme", Program, "change the theme: theme NAME";
    Mouse = "mouse", [], "mouse", Program, "mouse on or off (off lets you select text)";
    MinuteBack = "replay.minute-back", ["[", "shift-left"], "", Program, "replay: a minute back; arrows, Home and End go by inputs";
    MinuteOn = "replay.minute-on", ["]", "shift-right"], "", Program, "replay: a minute on";
    Speed = "replay.speed", ["x"], "speed", Program, "replay: plays 1, 10, 100 times as fast; Space plays";
    Script = "rehearsal.script", ["g s"], "script", Program, "rehearsal: the script drives on; any key takes the train back";
    Reread = "reread", ["R"], "reread", Program, "read everything again, now";
    Copy = "copy", ["y"], "copy", Program, "copy what is selected to the clipboard";
    Save = "screen.save", ["ctrl-s"], "save", Program, "save the screen and the latest events to a file";
    Redraw = "screen.redraw", ["ctrl-l"], "", Program, "draw the screen anew";
    Suspend = "suspend", ["ctrl-z"], "", Program, "suspend to the shell";
    Quit = "quit", ["q"], "quit", Program, "back; at the top asks whether to quit";
    Interrupt = "interrupt", ["ctrl-c"], "", Program, "twice within a second: leave";
}

/// Keys that keep their meaning whatever a key map says, so that nobody can lock themselves out.
const FIXED: &[(&str, Action)] = &[
    ("up", Action::Up),
    ("down", Action::Down),
    ("left", Action::Left),
    ("right", Action::Right),
    ("esc", Action::Back),
    ("ctrl-c", Action::Interrupt),
];

/// One key press.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Chord {
    code: KeyCode,
    mods: KeyModifiers,
}

impl Chord {
    /// What was pressed; shift counts only where the character does not show it.
    pub fn of(key: &KeyEvent) -> Self {
        let keep = KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT;
        let mut mods = key.modifiers & keep;
        let mut code = key.code;
        if code == KeyCode::BackTab {
            (code, mods) = (KeyCode::Tab, mods | KeyModifiers::SHIFT);
        }
        if matches!(code, KeyCode::Char(_)) {
            mods -= KeyModifiers::SHIFT;
        }
        Self { code, mods }
    }

    /// The press of it, as a terminal would report it.
    pub fn event(&self) -> KeyEvent {
        KeyEvent::new(self.code, self.mods)
    }

    /// Reads `ctrl-d`, `shift-tab`, `space`, `f1`, `P`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut mods = KeyModifiers::NONE;
        let mut rest = text;
        loop {
            let (modifier, after) = if let Some(after) = rest.strip_prefix("ctrl-") {
                (KeyModifiers::CONTROL, after)
            } else if let Some(after) = rest.strip_prefix("alt-") {
                (KeyModifiers::ALT, after)
            } else if let Some(after) = rest.strip_prefix("shift-") {
                (KeyModifiers::SHIFT, after)
            } else {
                break;
            };
            mods |= modifier;
            rest = after;
        }
        let named = NAMES.iter().find(|n| n.0 == rest).map(|n| n.1);
        let function = || {
            let n: u8 = rest.strip_prefix('f')?.parse().ok()?;
            (1..=12).contains(&n).then_some(KeyCode::F(n))
        };
        let mut chars = rest.chars();
        let single = match (chars.next(), chars.next()) {
            (Some(c), None) => Some(KeyCode::Char(c)),
            _ => None,
        };
        let code = named.or_else(|| if rest.len() > 1 { function() } else { None }).or(single)?;
        let shifted_char = matches!(code, KeyCode::Char(_)) && mods.contains(KeyModifiers::SHIFT);
        (!shifted_char).then_some(Self { code, mods })
    }
}

const NAMES: &[(&str, KeyCode)] = &[
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("space", KeyCode::Char(' ')),
];

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, name) in
            [(KeyModifiers::CONTROL, "ctrl-"), (KeyModifiers::ALT, "alt-"), (KeyModifiers::SHIFT, "shift-")]
        {
            if self.mods.contains(modifier) {
                f.write_str(name)?;
            }
        }
        match self.code {
            code if NAMES.iter().any(|n| n.1 == code) => {
                f.write_str(NAMES.iter().find(|n| n.1 == code).map_or("", |n| n.0))
            }
            KeyCode::F(n) => write!(f, "f{n}"),
            KeyCode::Char(c) => write!(f, "{c}"),
            other => write!(f, "{other}"),
        }
    }
}

/// What the keys pressed so far lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// This action.
    Action(Action),
    /// More than one action begins like this; the next key decides.
    Prefix,
    /// Nothing.
    Nothing,
}

/// One key of one action, as a person gave it: which of the changes, and which of its keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    /// Place in the list of changes.
    pub change: usize,
    /// Place among its keys; none for the action as a whole.
    pub key: Option<usize>,
}

/// One thing that is wrong with a person's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Where.
    pub at: Given,
    /// What is wrong, naming the offending text.
    pub what: String,
    /// What would be right.
    pub fix: String,
    /// Another place of the person's own that has to do with it.
    pub also: Option<Given>,
}

/// Which keys lead where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyMap {
    keys: Vec<(Vec<Chord>, Action)>,
}

impl Default for KeyMap {
    fn default() -> Self {
        // That the built-in keys hold together is tested.
        Self::new(&[]).unwrap_or_else(|_| Self { keys: Vec::new() })
    }
}

impl KeyMap {
    /// The built-in keys, with a person's changes: the id of an action, and all keys that it shall have instead.
    ///
    /// # Errors
    /// All that is wrong: ids that no action has, keys that cannot be read, and keys that would lead to two actions.
    pub fn new(changes: &[(String, Vec<String>)]) -> Result<Self, Vec<Wrong>> {
        let mut wrong = Vec::new();
        for (n, (id, _)) in changes.iter().enumerate() {
            if !Action::ALL.iter().any(|a| a.id() == id) {
                let fix = match nearest(id, Action::ALL.iter().map(|a| a.id())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`footplate generate keys` lists all actions".to_owned(),
                };
                let at = Given { change: n, key: None };
                wrong.push(Wrong { at, what: format!("keys: there is no action `{}`", short(id)), fix, also: None });
            }
        }
        let mut keys: Vec<(Vec<Chord>, Action)> = Vec::new();
        // Who gave each of them; none for the program.
        let mut givers: Vec<Option<Given>> = Vec::new();
        for &action in Action::ALL {
            let change = changes.iter().position(|(id, _)| id == action.id());
            let listed: Vec<(&str, Option<Given>)> = match change {
                Some(n) => changes[n]
                    .1
                    .iter()
                    .enumerate()
                    .map(|(key, text)| (text.as_str(), Some(Given { change: n, key: Some(key) })))
                    .collect(),
                None => action.keys().iter().map(|text| (*text, None)).collect(),
            };
            let fixed = FIXED.iter().filter(|(_, of)| *of == action).map(|(text, _)| (*text, None));
            let mut mine: Vec<Vec<Chord>> = Vec::new();
            for (text, giver) in listed.into_iter().chain(fixed) {
                let Some(chords) = read(text) else {
                    if let Some(at) = giver {
                        let what = format!("keys: {}: `{}` is no key", action.id(), short(text));
                        let fix = "write ctrl-d, shift-tab, space, f1, P, or two in a row (\"g g\")".to_owned();
                        wrong.push(Wrong { at, what, fix, also: None });
                    }
                    continue;
                };
                if mine.contains(&chords) {
                    if let Some(at) = giver {
                        let what = format!("keys: {}: {} is there twice", action.id(), show(&chords));
                        wrong.push(Wrong { at, what, fix: "keep one of them".to_owned(), also: None });
                    }
                    continue;
                }
                mine.push(chords.clone());
                keys.push((chords, action));
                givers.push(giver);
            }
        }
        for (n, (chords, action)) in keys.iter().enumerate() {
            let clashes = |m: &usize| {
                let (other, of) = &keys[*m];
                of != action && (other.starts_with(chords) || chords.starts_with(other))
            };
            for m in (0..n).filter(clashes) {
                let (other, of) = &keys[m];
                // The program's own keys do not clash: one of the two was given.
                let (at, also) = match (givers[n], givers[m]) {
                    (Some(at), also) | (None, also @ Some(at)) => (at, also.filter(|also| *also != at)),
                    (None, None) => continue,
                };
                let longer = show(if other.len() > chords.len() { other } else { chords });
                let what = format!("keys: {longer} leads to both {} and {}", of.id(), action.id());
                let stays = [(other, of), (chords, action)].into_iter().find(|(chords, of)| {
                    FIXED.iter().any(|(text, fixed)| fixed == *of && **chords == read(text).unwrap_or_default())
                });
                let fix = match stays {
                    Some((chords, of)) => {
                        format!("{} keeps {} whatever stands here; choose another key", of.id(), show(chords))
                    }
                    None if givers[n].is_some() && givers[m].is_some() => "give one of them another key".to_owned(),
                    None => {
                        let (theirs, id) = if givers[n].is_none() { (chords, action.id()) } else { (other, of.id()) };
                        format!("choose another key, or give {id} other keys than its built-in {}", show(theirs))
                    }
                };
                wrong.push(Wrong { at, what, fix, also });
            }
        }
        if wrong.is_empty() { Ok(Self { keys }) } else { Err(wrong) }
    }

    /// What these presses lead to.
    pub fn find(&self, pressed: &[Chord]) -> Found {
        if let Some((_, action)) = self.keys.iter().find(|(k, _)| k == pressed) {
            return Found::Action(*action);
        }
        if self.keys.iter().any(|(k, _)| k.starts_with(pressed)) { Found::Prefix } else { Found::Nothing }
    }

    /// What can follow these presses: the rest of the keys, and the action.
    pub fn after(&self, pressed: &[Chord]) -> Vec<(String, Action)> {
        let follows = self.keys.iter().filter(|(k, _)| k.len() > pressed.len() && k.starts_with(pressed));
        follows.map(|(k, a)| (show(&k[pressed.len()..]), *a)).collect()
    }

    /// The keys of an action, as text, in the order given; the first is the one to show.
    pub fn of(&self, action: Action) -> Vec<String> {
        self.keys.iter().filter(|(_, a)| *a == action).map(|(k, _)| show(k)).collect()
    }

    /// The first key of an action, or its command, for a hint.
    pub fn hint(&self, action: Action) -> String {
        self.of(action).into_iter().next().unwrap_or_else(|| format!(":{}", action.command()))
    }

    /// A hint that is written with built-in keys (`P approve  X abort`), with this person's keys in their place.
    pub fn translated(&self, hint: &str) -> String {
        let part = |part: &str| -> String {
            let (key, rest) = part.split_once(' ').unwrap_or((part, ""));
            let action = Action::ALL.iter().find(|a| a.keys().contains(&key));
            action.map_or_else(|| part.to_owned(), |a| format!("{} {rest}", self.hint(*a)))
        };
        hint.split("  ").map(part).collect::<Vec<_>>().join("  ")
    }

    /// The table that the help pane and `footplate generate keys` show: the actions of a group, each with its keys, or its
    /// command where it has none.
    pub fn rows(&self, group: Group) -> impl Iterator<Item = (String, Action)> {
        Action::ALL.iter().filter(move |a| a.group() == group).map(move |&action| {
            let keys = self.of(action).join(" ");
            (if keys.is_empty() { format!(":{}", action.command()) } else { keys }, action)
        })
    }
}

fn read(text: &str) -> Option<Vec<Chord>> {
    let chords: Vec<Chord> = text.split(' ').map(Chord::parse).collect::<Option<_>>()?;
    (1..=2).contains(&chords.len()).then_some(chords)
}

fn show(chords: &[Chord]) -> String {
    chords.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(pairs: &[(&str, &[&str])]) -> Result<KeyMap, Vec<Wrong>> {
        let all: Vec<(String, Vec<String>)> =
            pairs.iter().map(|(a, k)| ((*a).to_owned(), k.iter().map(|k| (*k).to_owned()).collect())).collect();
        KeyMap::new(&all)
    }

    fn wrong(pairs: &[(&str, &[&str])]) -> Vec<String> {
        let told = |w: Wrong| {
            let at = |g: Given| format!("{}.{}", g.change, g.key.map_or("-".to_owned(), |k| k.to_string()));
            format!(
                "{}{}: {}; {}",
                at(w.at),
                w.also.map_or(String::new(), |g| format!(" and {}", at(g))),
                w.what,
                w.fix
            )
        };
        changed(pairs).unwrap_err().into_iter().map(told).collect()
    }

    fn press(text: &str) -> Vec<Chord> {
        text.split(' ').map(|k| Chord::parse(k).unwrap()).collect()
    }

    #[test]
    fn the_defaults_hold_together() {
        let map = changed(&[]).unwrap();
        assert_eq!(map.find(&press("p")), Found::Action(Action::Pause));
        assert_eq!(map.find(&press("P")), Found::Action(Action::Promote));
        assert_eq!(map.find(&press("g")), Found::Prefix);
        assert_eq!(map.find(&press("g g")), Found::Action(Action::First));
        assert_eq!(map.find(&press("g x")), Found::Nothing);
        assert_eq!(map.of(Action::PaneHelp), ["8", "?", "f1"]);
        assert_eq!(map.hint(Action::Restart), ":restart");
        assert_eq!(map, KeyMap::default());
        let mut ids: Vec<&str> = Action::ALL.iter().map(|a| a.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Action::ALL.len());
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let all = wrong(&[
            ("train.abort", &["p", "hyper-x"]),
            ("train.abbort", &["b"]),
            ("display.freeze", &["g"]),
            ("copy", &["esc", "Y", "Y"]),
            ("reread", &["Y"]),
            ("train.undo", &["u", "g x", "a b c"]),
        ]);
        insta::assert_snapshot!(all.join("\n"), @r#"
        1.-: keys: there is no action `train.abbort`; did you mean `train.abort`?
        0.1: keys: train.abort: `hyper-x` is no key; write ctrl-d, shift-tab, space, f1, P, or two in a row ("g g")
        5.2: keys: train.undo: `a b c` is no key; write ctrl-d, shift-tab, space, f1, P, or two in a row ("g g")
        3.2: keys: copy: Y is there twice; keep one of them
        0.0: keys: p leads to both train.pause and train.abort; choose another key, or give train.pause other keys than its built-in p
        2.0 and 5.1: keys: g x leads to both train.undo and display.freeze; give one of them another key
        2.0: keys: g g leads to both move.first and display.freeze; choose another key, or give move.first other keys than its built-in g g
        2.0: keys: g n leads to both goto.need and display.freeze; choose another key, or give goto.need other keys than its built-in g n
        2.0: keys: g m leads to both goto.moving and display.freeze; choose another key, or give goto.moving other keys than its built-in g m
        2.0: keys: g s leads to both display.freeze and rehearsal.script; choose another key, or give rehearsal.script other keys than its built-in g s
        3.0: keys: esc leads to both back and copy; back keeps esc whatever stands here; choose another key
        3.1 and 4.0: keys: Y leads to both reread and copy; give one of them another key
        "#);
    }

    #[test]
    fn a_key_moves_when_its_owner_lets_it_go() {
        let map = changed(&[("train.abort", &["p"]), ("train.pause", &["f2", "P"]), ("train.promote", &[])]).unwrap();
        assert_eq!(map.find(&press("p")), Found::Action(Action::Abort));
        assert_eq!(map.of(Action::Pause), ["f2", "P"], "in the order given");
        assert_eq!(map.hint(Action::Promote), ":promote");
        assert_eq!(map.translated("P approve with a reason  X abort"), ":promote approve with a reason  p abort");
        assert_eq!(KeyMap::default().translated("u undo  t retry"), "u undo  t retry");
    }

    #[test]
    fn arrows_and_esc_stay() {
        let map = changed(&[("move.up", &["w"]), ("back", &["b"])]).unwrap();
        assert_eq!(map.find(&press("up")), Found::Action(Action::Up));
        assert_eq!(map.find(&press("w")), Found::Action(Action::Up));
        assert_eq!(map.find(&press("k")), Found::Nothing);
        assert_eq!(map.find(&press("esc")), Found::Action(Action::Back));
        assert!(changed(&[("train.abort", &["esc"])]).is_err());
    }

    /// No destructive key is the ctrl twin of a harmless one, and none is next to nothing: all that asks nothing is safe.
    #[test]
    fn only_pause_acts_on_a_bare_small_letter_without_asking() {
        let map = changed(&[]).unwrap();
        for action in [Action::Abort, Action::PromoteFull] {
            for key in map.of(action) {
                assert!(key.chars().all(char::is_uppercase), "{} on {key}", action.id());
            }
        }
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        for text in ["ctrl-d", "shift-tab", "space", "f1", "P", "pageup", "alt-x", "?"] {
            assert_eq!(Chord::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Chord::parse("shift-x"), None);
        assert_eq!(Chord::parse(""), None);
        let back_tab = KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT);
        assert_eq!(Chord::of(&back_tab), Chord::parse("shift-tab").unwrap());
        let upper = KeyEvent::new(KeyCode::Char('P'), KeyModifiers::SHIFT);
        assert_eq!(Chord::of(&upper), Chord::parse("P").unwrap());
    }
}
