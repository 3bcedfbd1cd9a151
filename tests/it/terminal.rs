//! The real terminal loop in a pseudo-terminal: keys, resizes, signals, a stop and its end, a terminal that goes away. The
//! program under test is this very test binary, started again to run the one test that is a screen.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use footplate::cockpit::App;
use footplate::cockpit::glyphs::UNICODE;
use footplate::cockpit::message::Command;
use footplate::cockpit::terminal::{Ending, Links, run};
use footplate::cockpit::theme::Depth;
use jiff::Timestamp;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

use crate::screens::{fixture, setup};

/// Set in the process that is the screen.
const PART: &str = "FOOTPLATE_TEST_PART";

/// The screen itself, when this binary was started as one; nothing otherwise.
#[test]
fn the_screen_under_test() {
    let Ok(part) = std::env::var(PART) else { return };
    let (snapshots_tx, snapshots) = tokio::sync::watch::channel(Arc::new(fixture::rolling()));
    let (_messages_tx, messages) = tokio::sync::mpsc::unbounded_channel();
    let (commands, mut orders) = tokio::sync::mpsc::unbounded_channel();
    let mut app = App::new(setup(fixture::rolling(), UNICODE, Depth::Ansi), (80, 24), Timestamp::now());
    if part == "panics" {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            panic!("something broke");
        });
    }
    let links = Links {
        snapshots,
        messages,
        commands,
        now: Box::new(Timestamp::now),
        save_to: None,
        remote: false,
        painted: None,
    };
    let ending = run(&mut app, links).unwrap();
    drop(snapshots_tx);
    let mut count = 0;
    while let Ok(command) = orders.try_recv() {
        count += usize::from(matches!(command, Command::Order(_)));
    }
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stdout(), "ended {ending:?} after {count} orders");
    if ending == Ending::Vanished
        && let Ok(path) = std::env::var("FOOTPLATE_TEST_NOTE")
    {
        std::fs::write(path, "vanished").unwrap();
    }
}

struct Pty {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Mutex<(vt100::Parser, Vec<u8>)>>,
}

impl Pty {
    fn start(part: &str, note: Option<&str>) -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut command = CommandBuilder::new(exe);
        command.args(["--exact", "terminal::the_screen_under_test", "--nocapture", "--test-threads=1"]);
        if let Some(note) = note {
            command.env("FOOTPLATE_TEST_NOTE", note);
        }
        Self::run(command, part)
    }

    /// In a shell with job control that says when the screen was stopped, then brings it back.
    fn in_shell() -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut command = CommandBuilder::new("bash");
        let line = format!(
            "set -m; '{}' --exact terminal::the_screen_under_test --nocapture --test-threads=1; echo was-stopped; sleep 2; fg; echo all-over",
            exe.display()
        );
        command.args(["--norc", "-c", &line]);
        Self::run(command, "plain")
    }

    fn run(mut command: CommandBuilder, part: &str) -> Self {
        let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        command.env(PART, part);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let seen =
            Arc::new(Mutex::new((vt100::Parser::new(24.try_into().unwrap(), 80.try_into().unwrap(), 0), Vec::new())));
        let into = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut seen = into.lock().unwrap();
                seen.0.process(&buffer[..count]);
                seen.1.extend_from_slice(&buffer[..count]);
            }
        });
        Self { master: Some(pair.master), writer: Some(writer), child, seen }
    }

    fn screen(&self) -> String {
        self.seen.lock().unwrap().0.screen().contents()
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().1).into_owned()
    }

    fn wait(&self, what: &str, until: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !until(self) {
            assert!(start.elapsed() < Duration::from_secs(20), "waited for {what}; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn shows(&self, word: &str) {
        self.wait(word, |p| p.screen().contains(word));
    }

    fn press(&mut self, bytes: &[u8]) {
        let writer = self.writer.as_mut().unwrap();
        writer.write_all(bytes).unwrap();
        writer.flush().unwrap();
    }

    fn ends(&mut self) {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not end; the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap().cast_signed()).unwrap()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// The terminal is as it was: main screen, cursor shown, no modes left on.
fn restored(pty: &Pty) {
    pty.wait("a restored terminal", |p| {
        let seen = p.seen.lock().unwrap();
        let screen = seen.0.screen();
        !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
    });
}

#[test]
fn keys_reach_it_and_leaving_restores_the_terminal() {
    let mut pty = Pty::start("plain", None);
    pty.shows("1 train");
    pty.press(b"p");
    pty.shows("ordered: pause");
    pty.press(b"q");
    pty.shows("leave footplate?");
    pty.press(b"y");
    pty.ends();
    restored(&pty);
    pty.shows("ended Left after 1 orders");
}

#[test]
fn frames_are_synchronized_and_an_idle_second_is_nearly_nothing() {
    let mut pty = Pty::start("plain", None);
    pty.shows("1 train");
    pty.wait("the first frame whole", |p| p.raw().contains("\x1b[?2026l"));
    std::thread::sleep(Duration::from_millis(300));
    let before = pty.raw().len();
    std::thread::sleep(Duration::from_secs(2));
    let grew = pty.raw().len() - before;
    assert!(grew <= 120, "two idle seconds took {grew} bytes");
    let raw = pty.raw();
    assert_eq!(raw.matches("\x1b[?2026h").count(), raw.matches("\x1b[?2026l").count());
    pty.press(&[3]);
    pty.shows("Ctrl-C again leaves");
    pty.press(&[3]);
    pty.ends();
    restored(&pty);
}

#[test]
fn a_resize_is_drawn() {
    let pty = Pty::start("plain", None);
    pty.shows("1 train");
    pty.seen.lock().unwrap().0.screen_mut().set_size(50.try_into().unwrap(), 160.try_into().unwrap());
    let size = PtySize { rows: 50, cols: 160, pixel_width: 0, pixel_height: 0 };
    pty.master.as_ref().unwrap().resize(size).unwrap();
    pty.shows("4 events");
}

#[test]
fn sigterm_leaves_in_order() {
    let mut pty = Pty::start("plain", None);
    pty.shows("1 train");
    kill_process(pty.pid(), Signal::TERM).unwrap();
    pty.ends();
    restored(&pty);
    pty.shows("ended Terminated");
}

#[test]
fn a_panic_anywhere_leaves_a_usable_terminal() {
    let mut pty = Pty::start("panics", None);
    pty.wait("the screen", |p| p.raw().contains("1 train"));
    pty.wait("the panic", |p| p.raw().contains("something broke"));
    let raw = pty.raw();
    let left = raw.find("\x1b[?1049l").unwrap();
    assert!(left < raw.find("something broke").unwrap(), "the message lands on the main screen");
    pty.press(b"qy");
}

#[test]
fn a_terminal_that_goes_away_ends_it_soon() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let mut pty = Pty::start("plain", Some(note.to_str().unwrap()));
    pty.shows("1 train");
    pty.writer = None;
    pty.master = None;
    let start = Instant::now();
    // The reader thread still holds the master; SIGHUP is what a terminal that goes sends.
    kill_process(pty.pid(), Signal::HUP).unwrap();
    pty.ends();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(std::fs::read_to_string(note).unwrap(), "vanished");
}

#[test]
fn it_stops_and_comes_back() {
    let mut pty = Pty::in_shell();
    pty.shows("1 train");
    pty.press(&[26]);
    pty.shows("was-stopped");
    restored(&pty);
    pty.shows("1 train");
    pty.press(b"q");
    pty.shows("leave footplate?");
    pty.press(b"y");
    pty.shows("all-over");
    pty.ends();
}

#[test]
fn without_a_shell_it_does_not_stop() {
    let mut pty = Pty::start("plain", None);
    pty.shows("1 train");
    pty.press(&[26]);
    pty.shows("no shell to go back to");
}

/// A terminal in a process of its own, so that it can be killed: nothing then holds the other end any more. Its shell
/// ignores the hang-up, so that the screen is told by its input alone.
#[test]
fn the_terminal_host() {
    if std::env::var(PART).as_deref() != Ok("host") {
        return;
    }
    let note = std::env::var("FOOTPLATE_TEST_NOTE").unwrap();
    let mut command = CommandBuilder::new("bash");
    let exe = std::env::current_exe().unwrap();
    let line = format!(
        "trap '' HUP; '{}' --exact terminal::the_screen_under_test --nocapture --test-threads=1; true",
        exe.display()
    );
    command.args(["--norc", "-c", &line]);
    let pty = Pty::run(command, "plain");
    pty.shows("1 train");
    std::fs::write(format!("{note}.up"), "up").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn without_a_signal_it_sees_that_the_terminal_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "terminal::the_terminal_host", "--test-threads=1"])
        .env(PART, "host")
        .env("FOOTPLATE_TEST_NOTE", &note)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let wait = |path: &std::path::Path| {
        let start = Instant::now();
        while !path.exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "waited for {}", path.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&folder.path().join("note.up"));
    host.kill().unwrap();
    host.wait().unwrap();
    let start = Instant::now();
    wait(&note);
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?} to notice", start.elapsed());
}
