//! The screen, driven by keys and snapshots without a terminal: what it shows at which size, that it never panics, what it
//! costs in bytes, that hostile text stays text. A picture of a screen is its text and, below, the styles by run length.

mod behaviour;
pub mod fixture;
mod looking_back;
mod train;

use std::fmt::Write as _;
use std::sync::Arc;

use footplate::cockpit::App;
use footplate::cockpit::backend::Wire;
use footplate::cockpit::glyphs::{ASCII, Glyphs, UNICODE};
use footplate::cockpit::keymap::{Chord, KeyMap};
use footplate::cockpit::message::{Command, Message};
use footplate::cockpit::model::Setup;
use footplate::cockpit::theme::{Depth, Theme, Themes};
use footplate::core::snapshot::Snapshot;
use jiff::tz::{TimeZone, offset};
use jiff::{SignedDuration, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Size;

/// A screen under test: the app, a size, a clock that we turn.
struct Stage {
    app: App,
    size: (u16, u16),
    now: Timestamp,
}

pub fn setup(snapshot: Snapshot, glyphs: Glyphs, depth: Depth) -> Setup {
    Setup {
        snapshot: Arc::new(snapshot),
        keymap: KeyMap::default(),
        theme: Theme::named("terminal", depth).unwrap(),
        themes: Themes::default(),
        depth,
        glyphs,
        mouse: false,
        zone: TimeZone::fixed(offset(2)),
        who: "ana".into(),
        contexts: Vec::new(),
        copy_max: 1000,
    }
}

impl Stage {
    fn new(snapshot: Snapshot, size: (u16, u16), glyphs: Glyphs) -> Self {
        let app = App::new(setup(snapshot.clone(), glyphs, Depth::Ansi), size, fixture::now());
        let mut stage = Self { app, size, now: fixture::now() };
        stage.see(snapshot);
        stage
    }

    fn see(&mut self, snapshot: Snapshot) -> Vec<Command> {
        self.app.handle(Message::Snapshot(Arc::new(snapshot)), self.now)
    }

    /// Presses keys as the keymap writes them, some time apart.
    fn keys(&mut self, keys: &str) -> Vec<Command> {
        let mut commands = Vec::new();
        for key in keys.split(' ') {
            self.now = self.now.checked_add(SignedDuration::from_millis(400)).unwrap();
            commands.extend(self.app.handle(Message::Key(press(key)), self.now));
        }
        commands
    }

    /// Types a text letter by letter.
    fn types(&mut self, text: &str) -> Vec<Command> {
        let mut commands = Vec::new();
        for c in text.chars() {
            let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
            commands.extend(self.app.handle(Message::Key(key), self.now));
        }
        commands
    }

    fn later(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.app.handle(Message::Tick, self.now);
    }

    fn buffer(&mut self) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(self.size.0, self.size.1)).unwrap();
        terminal.draw(|frame| self.app.draw(frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn text(&mut self) -> String {
        text(&self.buffer())
    }

    /// Text and styles.
    fn picture(&mut self) -> String {
        let buffer = self.buffer();
        format!("{}\n{}", text(&buffer), styles(&buffer))
    }
}

fn press(key: &str) -> KeyEvent {
    let chord = Chord::parse(key).unwrap_or_else(|| panic!("{key} is no key"));
    let mut event = chord.event();
    if let KeyCode::Char(c) = event.code
        && c.is_uppercase()
    {
        event.modifiers |= KeyModifiers::SHIFT;
    }
    event
}

fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    (0..area.height).fold(String::new(), |mut out, y| {
        let row: String = (0..area.width).map(|x| buffer[(x, y)].symbol()).collect();
        let _ = writeln!(out, "{}", row.trim_end());
        out
    })
}

/// The styles of each row as `count x style`, plain runs as `count`; equal rows once.
fn styles(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut rows: Vec<(u16, String)> = Vec::new();
    for y in 0..area.height {
        let mut runs: Vec<(usize, String)> = Vec::new();
        for x in 0..area.width {
            let cell = &buffer[(x, y)];
            let mut name = Vec::new();
            if cell.fg != ratatui::style::Color::Reset {
                name.push(format!("{}", cell.fg).to_lowercase());
            }
            if cell.bg != ratatui::style::Color::Reset {
                name.push(format!("on-{}", cell.bg).to_lowercase());
            }
            if !cell.modifier.is_empty() {
                name.push(format!("{:?}", cell.modifier).to_lowercase().replace(" | ", "+"));
            }
            let name = name.join("+");
            match runs.last_mut() {
                Some((count, last)) if *last == name => *count += 1,
                _ => runs.push((1, name)),
            }
        }
        if let Some((_, last)) = runs.last()
            && last.is_empty()
        {
            runs.pop();
        }
        let row: Vec<String> =
            runs.iter().map(|(n, s)| if s.is_empty() { n.to_string() } else { format!("{n}x{s}") }).collect();
        rows.push((y, row.join(" ")));
    }
    rows.iter().filter(|r| !r.1.is_empty()).fold(String::new(), |mut out, (y, row)| {
        let _ = writeln!(out, "{y:>3} {row}");
        out
    })
}

/// The screen as bytes for a terminal, and where to look at them: `target/tmp/screens/NAME.ansi`.
fn bytes(stage: &mut Stage, name: &str) -> Vec<u8> {
    let wire = Wire::new(Vec::new(), Size::new(stage.size.0, stage.size.1));
    let mut terminal = Terminal::new(wire).unwrap();
    terminal.draw(|frame| stage.app.draw(frame)).unwrap();
    terminal.backend_mut().send().unwrap();
    let bytes = terminal.backend_mut().writer().clone();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("screens");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{name}.ansi")), &bytes).unwrap();
    bytes
}

const SIZES: [(u16, u16); 5] = [(40, 12), (80, 24), (120, 36), (160, 45), (200, 60)];

#[test]
fn the_overview_at_every_size() {
    for (width, height) in SIZES {
        for (set, glyphs) in [("unicode", UNICODE), ("ascii", ASCII)] {
            let name = format!("rolling-{width}x{height}-{set}");
            let mut stage = Stage::new(fixture::rolling(), (width, height), glyphs);
            bytes(&mut stage, &name);
            insta::assert_snapshot!(name, stage.picture());
        }
        let name = format!("trouble-{width}x{height}-unicode");
        let mut stage = Stage::new(fixture::trouble(), (width, height), UNICODE);
        bytes(&mut stage, &name);
        insta::assert_snapshot!(name, stage.picture());
    }
}

#[test]
fn the_other_panes() {
    for (name, keys) in [
        ("tree", "enter right down"),
        ("flags", "f"),
        ("help", "?"),
        ("gates", "2 2"),
        ("events", "4 4"),
        ("checklist", "6"),
    ] {
        for (width, height) in [(80, 24), (120, 36)] {
            let mut stage = Stage::new(fixture::rolling(), (width, height), UNICODE);
            stage.keys(keys);
            let name = format!("{name}-{width}x{height}");
            bytes(&mut stage, &name);
            insta::assert_snapshot!(name, stage.picture());
        }
    }
    let mut stage = Stage::new(fixture::rolling(), (80, 24), ASCII);
    stage.keys("enter");
    insta::assert_snapshot!("tree-80x24-ascii", stage.picture());
}

#[test]
fn the_dialogs() {
    for (name, keys) in
        [("undo", "u"), ("abort", "X"), ("promote", "P"), ("full", "F"), ("flip", "f enter"), ("leave", "q")]
    {
        let mut stage = Stage::new(fixture::rolling(), (80, 24), UNICODE);
        stage.keys(keys);
        let name = format!("dialog-{name}-80x24");
        bytes(&mut stage, &name);
        insta::assert_snapshot!(name, stage.picture());
    }
    let mut stage = Stage::new(fixture::rolling(), (80, 24), UNICODE);
    stage.keys(":");
    stage.types("p");
    bytes(&mut stage, "command-80x24");
    insta::assert_snapshot!("command-80x24", stage.picture());
}

/// A frame at any size, with whatever is open, never panics. Widths and heights as the terminals of this world have them.
fn survives(stage: &mut Stage, width: u16, height: u16) {
    stage.size = (width, height);
    stage.app.handle(Message::Resize(width, height), stage.now);
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| stage.app.draw(frame)).unwrap();
}

/// Every state a screen can be in, by the keys that lead there.
const STATES: [&str; 18] =
    ["1", "2", "2 2", "enter", "4", "4 4", "f", "6", "7", "?", "u", "X", "F", "f enter", "q", "g", ":", "/"];

#[test]
fn no_size_panics() {
    let shapes = [fixture::trouble(), fixture::connecting()];
    for snapshot in shapes {
        for keys in STATES {
            let mut stage = Stage::new(snapshot.clone(), (80, 24), UNICODE);
            stage.keys(keys);
            for (width, height) in [(1, 1), (2, 2), (3, 60), (200, 1), (59, 18), (60, 13), (80, 24), (200, 60)] {
                survives(&mut stage, width, height);
            }
        }
    }
    let mut stage = Stage::new(fixture::trouble(), (80, 24), UNICODE);
    for width in 1..=200 {
        for height in (1..=12).chain([24, 60]) {
            survives(&mut stage, width, height);
        }
    }
    for height in 1..=60 {
        for width in (1..=20).chain([40, 80, 120, 200]) {
            survives(&mut stage, width, height);
        }
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn random_sizes_and_resize_storms_do_not_panic() {
    let mut dice = Dice(0x5eed_cafe_f00d);
    for n in 0..500 {
        let glyphs = if n % 2 == 0 { UNICODE } else { ASCII };
        let mut stage = Stage::new(fixture::trouble(), (80, 24), glyphs);
        stage.keys(STATES[dice.roll(STATES.len() as u64) as usize]);
        let size = (1 + dice.roll(200) as u16, 1 + dice.roll(60) as u16);
        survives(&mut stage, size.0, size.1);
    }
    // A storm: one terminal that is resized under the app, between keys and snapshots.
    let mut stage = Stage::new(fixture::rolling(), (80, 24), UNICODE);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    for n in 0..300u32 {
        let size = (1 + dice.roll(200) as u16, 1 + dice.roll(60) as u16);
        terminal.backend_mut().resize(size.0, size.1);
        stage.size = size;
        stage.app.handle(Message::Resize(size.0, size.1), stage.now);
        match n % 4 {
            0 => drop(stage.keys(["z", "Z", "0", "e", "tab", "down", "right", "esc"][dice.roll(8) as usize])),
            1 => drop(stage.see(if n % 8 == 1 { fixture::trouble() } else { fixture::rolling() })),
            _ => {}
        }
        terminal.draw(|frame| stage.app.draw(frame)).unwrap();
    }
}

/// Where a text stands on the screen.
fn find(buffer: &Buffer, word: &str) -> Option<(usize, usize)> {
    text(buffer).lines().enumerate().find_map(|(y, line)| {
        let at = line.find(word)?;
        Some((line[..at].chars().count(), y))
    })
}

#[test]
fn boxes_do_not_move_when_states_change() {
    for (width, height) in [(80, 24), (120, 36), (160, 45)] {
        let mut calm = Stage::new(fixture::rolling(), (width, height), UNICODE);
        let mut bad = Stage::new(fixture::trouble(), (width, height), UNICODE);
        let (calm, bad) = (calm.buffer(), bad.buffer());
        for name in ["accounts-a", "ledger-api", "checkout-a", "edge-gat", "storefro", "2 gates"] {
            let place = find(&calm, name);
            assert!(place.is_some(), "{name} is not shown at {width}x{height}");
            assert_eq!(place, find(&bad, name), "{name} moved at {width}x{height}");
        }
    }
}

/// A thousand workloads, no manifest: a list, the same keys, and a step of one is a few bytes.
#[test]
fn a_thousand_workloads_stay_usable() {
    use footplate::core::object::ObjectKind::Rollout;
    let mut s = fixture::rolling();
    s.release = None;
    s.waves = 0;
    s.expand = Arc::new([]);
    s.edges = Arc::new([]);
    s.services = (0..1000)
        .map(|n| {
            let mut one = fixture::service(&format!("service-{n:04}"), 1, &[], Rollout, "1.0.0", "1.0.0");
            (one.wave, one.pinned, one.waits_for) = (None, None, footplate::core::text::Text::default());
            one.train_phase = footplate::core::snapshot::TrainPhase::Unchanged;
            Arc::new(one)
        })
        .collect();
    let mut stage = Stage::new(s.clone(), (120, 36), UNICODE);
    assert!(stage.text().contains("ALL WELL  1000 healthy"));
    let mut meter = Meter::new((120, 36));
    stage.keys("G");
    meter.frame(&mut stage);
    assert!(stage.text().contains("service-0999"));
    let before = std::time::Instant::now();
    for n in 0..50 {
        stage.see(fixture::with(&s, "service-0999", |_, w| {
            w.phase = footplate::core::workload::Phase::Progressing;
            w.actual_weight = Some(n);
        }));
        let sent = meter.frame(&mut stage).len();
        assert!(sent <= 800, "a change of one of a thousand takes {sent} bytes");
    }
    println!("{:?} a change", before.elapsed() / 50);
    stage.keys("/");
    stage.types("0500");
    stage.keys("enter");
    assert!(stage.text().contains("service-0500") && !stage.text().contains("service-0501"));
}

/// A terminal that counts what it is sent.
struct Meter {
    terminal: Terminal<Wire<Vec<u8>>>,
}

impl Meter {
    fn new(size: (u16, u16)) -> Self {
        Self { terminal: Terminal::new(Wire::new(Vec::new(), Size::new(size.0, size.1))).unwrap() }
    }

    fn frame(&mut self, stage: &mut Stage) -> Vec<u8> {
        self.terminal.draw(|frame| stage.app.draw(frame)).unwrap();
        let wire = self.terminal.backend_mut();
        wire.send().unwrap();
        std::mem::take(wire.writer())
    }
}

#[test]
fn the_byte_budgets_hold() {
    let size = (120, 36);
    let mut stage = Stage::new(fixture::rolling(), size, UNICODE);
    let mut meter = Meter::new(size);
    let full = meter.frame(&mut stage).len();
    assert!(full <= 16 * 1024, "a full repaint of 120x36 takes {full} bytes");
    assert_eq!(meter.frame(&mut stage).len(), 0, "an unchanged frame is no bytes");
    let second = {
        stage.later(1);
        meter.frame(&mut stage).len()
    };
    assert!(second > 0 && second <= 120, "a countdown's second takes {second} bytes");
    let tick = fixture::with(&fixture::rolling(), "fraud-scorer", |_, w| w.actual_weight = Some(25));
    stage.see(tick);
    let tick = meter.frame(&mut stage).len();
    assert!(tick > 0 && tick <= 400, "a weight tick takes {tick} bytes");

    let mut calm = fixture::rolling();
    let mut services = calm.services.to_vec();
    for s in &mut services {
        let mut one = footplate::core::snapshot::ServiceView::clone(s);
        let mut w = footplate::core::workload::Workload::clone(one.workload.as_ref().unwrap());
        w.pause = None;
        one.workload = Some(Arc::new(w));
        *s = Arc::new(one);
    }
    calm.services = services.into();
    let mut stage = Stage::new(calm, size, UNICODE);
    let mut meter = Meter::new(size);
    meter.frame(&mut stage);
    assert!(!stage.app.counts(), "nothing counts by seconds, so nothing ticks by seconds");
    for _ in 0..20 {
        stage.later(1);
        assert_eq!(meter.frame(&mut stage).len(), 0, "idle is no bytes");
    }
    stage.later(60);
    let minute = meter.frame(&mut stage).len();
    assert!((1..=60).contains(&minute), "the clock's minute takes {minute} bytes");

    let mut stage = Stage::new(fixture::trouble(), (120, 40), UNICODE);
    let full = Meter::new((120, 40)).frame(&mut stage).len();
    assert!(full <= 16 * 1024, "a full repaint of 120x40 takes {full} bytes");
}

#[test]
fn ten_services_that_move_at_once_stay_within_their_second() {
    let mut stage = Stage::new(fixture::rolling(), (120, 36), UNICODE);
    let mut meter = Meter::new((120, 36));
    let mut now = fixture::rolling();
    let names: Vec<String> = now.services.iter().map(|s| s.name.to_string()).collect();
    let step = |s: &Snapshot, weight: u32| {
        names.iter().fold(s.clone(), |s, name| {
            fixture::with(&s, name, |service, w| {
                service.train_phase = footplate::core::snapshot::TrainPhase::Stepping;
                w.phase = footplate::core::workload::Phase::Progressing;
                w.pause = None;
                (w.step, w.steps) = (Some(weight / 25), Some(7));
                (w.set_weight, w.actual_weight) = (Some(weight), Some(weight));
            })
        })
    };
    now = step(&now, 25);
    stage.see(now.clone());
    meter.frame(&mut stage);
    now = step(&now, 50);
    stage.see(now);
    let sent = meter.frame(&mut stage).len();
    assert!(sent > 0 && sent <= 3000, "ten steps at once take {sent} bytes");
}

#[test]
fn without_colour_no_byte_is_a_colour() {
    let app = App::new(setup(fixture::trouble(), UNICODE, Depth::None), (120, 36), fixture::now());
    let mut stage = Stage { app, size: (120, 36), now: fixture::now() };
    let sent = Meter::new((120, 36)).frame(&mut stage);
    let sent = String::from_utf8(sent).unwrap();
    let mut codes = Vec::new();
    for part in sent.split("\x1b[").skip(1) {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(part.len());
        if part[end..].starts_with('m') {
            codes.extend(part[..end].split(';').map(str::to_owned));
        }
    }
    assert!(codes.contains(&"1".to_owned()) && codes.contains(&"7".to_owned()), "bold and reverse stay: {codes:?}");
    let colour = |c: &&String| c.parse::<u32>().is_ok_and(|n| (30..=49).contains(&n) || (90..=107).contains(&n));
    assert!(!codes.iter().any(|c| colour(&c)), "a colour went out: {codes:?}");
    assert!(!sent.contains("\x1b[m"), "a bare reset went out");
}

/// Payloads that have broken terminals, tools and people.
const HOSTILE: [&str; 12] = [
    "\x1b]52;c;cm0gLXJm\x07",
    "\x1b]0;owned\x07",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\",
    "\x1b[2J\x1b[H",
    "\x1b[6n\x1b[21t",
    "\x1b]0;never ended",
    "\x1bc",
    "\u{9b}31mred\u{9c}",
    "left\u{202e}thgir\u{2066}x",
    "a\rb\u{8}c\u{7f}d",
    "zero\u{200b}width\u{feff}\u{2028}line",
];

#[test]
fn hostile_text_stays_text() {
    for payload in HOSTILE {
        let mut s = fixture::trouble();
        let t = || footplate::core::text::Text::scrub(payload);
        s.place.context = t();
        s.place.namespace = t();
        s.release = Some(t());
        let mut services = s.services.to_vec();
        let mut one = footplate::core::snapshot::ServiceView::clone(&services[3]);
        let mut w = footplate::core::workload::Workload::clone(one.workload.as_ref().unwrap());
        (w.reason, w.waits_for, w.step_text, w.version, w.held_by) = (t(), t(), t(), Some(t()), t());
        w.next_text = t();
        (one.name, one.waits_for, one.doing, one.workload) = (t(), t(), t(), Some(Arc::new(w)));
        services[3] = Arc::new(one);
        s.services = services.into();
        let mut event = s.events[0].clone();
        (event.subject, event.text) = (t(), t());
        s.events = Arc::new([event]);
        let mut flag = s.flags[0].clone();
        (flag.key, flag.source, flag.now, flag.note) = (t(), t(), Some(t()), t());
        s.flags = Arc::new([flag]);
        let mut need = s.needs[0].clone();
        (need.what, need.keys) = (t(), t());
        s.needs = Arc::new([need]);
        for keys in ["1", "enter", "f", "4 4", "2 2", "u", "f enter"] {
            let mut stage = Stage::new(s.clone(), (120, 36), UNICODE);
            stage.keys(keys);
            let sent = String::from_utf8(Meter::new((120, 36)).frame(&mut stage)).unwrap();
            let ours = |rest: &str| {
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';' && c != '?').unwrap_or(rest.len());
                rest[end..].starts_with(['m', 'H', 'C', 'h', 'l'])
            };
            for part in sent.split('\x1b').skip(1) {
                assert!(part.starts_with('[') && ours(&part[1..]), "{payload:?} after {keys}: {part:?} went out");
            }
            let odd = sent.chars().find(|&c| c != '\x1b' && footplate::core::text::is_hostile(c));
            assert_eq!(odd, None, "{payload:?} after {keys}");
        }
    }
}
