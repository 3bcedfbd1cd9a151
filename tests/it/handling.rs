//! The real binary with its terminal handled roughly: read slowly or not at all, resized in storms, hung up, killed. The
//! terminal loop itself is tested in `terminal.rs`.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::binary::{Home, Screen};
use super::outage::front::{Door, Front};

/// The cockpit on a terminal that nobody reads but the test itself.
struct Unread {
    front: Front,
    _home: Home,
    child: Box<dyn Child + Send + Sync>,
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
    _master: Box<dyn MasterPty + Send>,
    screen: vt100::Parser,
}

impl Unread {
    fn open() -> Self {
        let front = Front::start(Door::Open);
        let home = Home::new(&front.kubeconfig(&json!({"token": "t1"})));
        let size = PtySize { rows: 50, cols: 180, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_footplate"));
        command.env_clear();
        for (key, value) in home.env() {
            command.env(key, value);
        }
        command.env("TERM", "xterm-256color");
        command.cwd(home.folder.path());
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let screen = vt100::Parser::new(50.try_into().unwrap(), 180.try_into().unwrap(), 0);
        Self { front, _home: home, child, reader, writer, _master: pair.master, screen }
    }

    /// Reads at most so many bytes, as they come.
    fn read(&mut self, count: usize) -> usize {
        let mut bytes = vec![0; count];
        let got = self.reader.read(&mut bytes).unwrap();
        self.screen.process(&bytes[..got]);
        got
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Reads until this is on the screen.
    fn until(&mut self, what: &str) {
        let start = Instant::now();
        while !self.text().contains(what) {
            assert!(start.elapsed() < Duration::from_secs(20), "{what} never came:\n{}", self.text());
            self.read(4096);
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.writer.write_all(keys).unwrap();
        self.writer.flush().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.process_id().unwrap().cast_signed()).unwrap(), signal).unwrap();
    }

    fn ends_within(&mut self, limit: Duration) {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < limit, "it still runs");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Changes things until a terminal that nobody reads is surely full.
    fn jam(&self) {
        for n in 0..40 {
            self.front.deploy("ledger-api", &format!("1.{n}.0"));
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    fn orders_an_abort(&mut self) {
        self.until("billing-api");
        // A key before the first look is whole is answered with that, not with a dialog.
        self.until("LIVE");
        self.press(b"X");
        self.until("abort billing-api");
        std::thread::sleep(Duration::from_millis(400));
        self.press(b"y");
    }

    fn is_aborted(&self) {
        let aborted = |r: &serde_json::Value| r["status"]["abort"] == true || r["status"]["abortedAt"].is_string();
        self.front.until("the abort arrives", |name, r| name != "billing-api" || aborted(r));
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_slow_line_shows_the_newest_state_not_every_state() {
    let mut slow = Unread::open();
    slow.until("LIVE");
    let started = Instant::now();
    let (mut bytes, mut n) = (0, 0);
    // A kilobyte a second, while something changes ten times a second.
    while started.elapsed() < Duration::from_secs(8) {
        slow.front.deploy("ledger-api", &format!("1.{n}.0"));
        n += 1;
        bytes += slow.read(100);
        std::thread::sleep(Duration::from_millis(100));
    }
    slow.front.deploy("ledger-api", "7.7.7");
    let until = Instant::now();
    while !slow.text().contains("7.7.7") {
        assert!(until.elapsed() < Duration::from_secs(5), "the newest state is not shown:\n{}", slow.text());
        bytes += slow.read(4096);
    }
    // What could not be sent was left out, not kept: what came at once is about what a terminal holds back.
    assert!(bytes < 60_000, "{bytes} bytes");
    slow.press(b"qy");
    let mut left = Vec::new();
    let _ = slow.reader.read_to_end(&mut left);
    slow.ends_within(Duration::from_secs(5));
}

#[test]
fn a_terminal_that_takes_nothing_holds_up_no_order_and_no_end() {
    for signal in [Signal::TERM, Signal::HUP] {
        let mut jammed = Unread::open();
        jammed.orders_an_abort();
        jammed.is_aborted();
        jammed.jam();
        jammed.signal(signal);
        jammed.ends_within(Duration::from_secs(8));
    }
}

#[test]
fn a_hang_up_right_after_an_order_lets_the_order_end() {
    let mut cut = Unread::open();
    cut.orders_an_abort();
    cut.until("ordered: abort");
    cut.signal(Signal::HUP);
    let mut left = Vec::new();
    let _ = cut.reader.read_to_end(&mut left);
    cut.ends_within(Duration::from_secs(30));
    cut.is_aborted();
}

#[test]
fn storms_of_sizes_are_survived() {
    let front = Front::start(Door::Open);
    let home = Home::new(&front.kubeconfig(&json!({"token": "t1"})));
    let mut screen = Screen::open(&home, home.folder.path(), &[], 80, 24);
    screen.program.see("LIVE");
    let mut seed = 7_u32;
    let mut next = |most: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u16::try_from((seed >> 16) % most + 1).unwrap()
    };
    for n in 0..300_u16 {
        let (columns, rows) = (next(220), next(70));
        screen.program.resize(columns, rows);
        if n % 10 == 0 {
            screen.program.send(["1", "3", "u", "\u{1b}", "?", "4", ":", "\u{1b}", "z", "5"][usize::from(n / 10 % 10)]);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    screen.press(&["\u{1b}", "\u{1b}", "\u{1b}", "1"]);
    screen.program.resize(110, 30);
    screen.settle();
    let text = screen.program.text();
    assert!(text.contains("billing-api") && text.contains("ledger-api") && text.contains("LIVE"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 110) && text.lines().count() >= 29, "{text}");
    screen.leave();
}

/// The process whose parent is this one.
fn child_of(parent: u32) -> Option<i32> {
    std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).find(|pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        after.split(' ').nth(1).and_then(|p| p.parse().ok()) == Some(parent)
    })
}

#[test]
fn what_a_kill_leaves_behind_the_next_start_mends() {
    let front = Front::start(Door::Open);
    let home = Home::new(&front.kubeconfig(&json!({"token": "t1"})));
    let exe = env!("CARGO_BIN_EXE_footplate");
    let script = format!("'{exe}'; echo was-killed; '{exe}'; stty -a; echo all-over");
    let mut command: Vec<String> = vec!["env".into(), "-i".into(), "TERM=xterm-256color".into()];
    command.extend(home.env().into_iter().map(|(key, value)| format!("{key}={value}")));
    command.extend(["sh".into(), "-c".into(), script]);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut program = super::program::Program::spawn(&command, &[], 100, 30);
    program.see("LIVE");
    let pid = child_of(program.pid()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let again = |p: &super::program::Program| child_of(p.pid()).is_some_and(|now| now != pid);
    let start = Instant::now();
    while !again(&program) {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
    program.see("LIVE");
    program.send("q");
    program.see("leave footplate?");
    program.send("y");
    program.see("all-over");
    let text = program.text();
    assert!(!program.in_alternate_screen(), "{text}");
    for mode in ["icanon", "echo", "isig", "opost", "icrnl"] {
        assert!(text.split_whitespace().any(|word| word.trim_end_matches(';') == mode), "{mode} is off:\n{text}");
    }
    let raw = String::from_utf8_lossy(&program.raw()).into_owned();
    let (_, after) = raw.rsplit_once("\u{1b}[?1049l").unwrap();
    assert!(raw.contains("\u{1b}[?2004l") && raw.contains("\u{1b}[?25h") && after.contains("icanon"), "{text}");
}
