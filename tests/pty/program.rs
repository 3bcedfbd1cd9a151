//! A program in a pty with a screen emulator on the other side: keys go in, the screen can be read, bytes are counted. Used by
//! the tests that drive the real binary and by the benches that measure it beside its peers. It knows no program.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// What has come out so far.
struct Output {
    screen: vt100::Parser,
    raw: Vec<u8>,
    /// (when, how many bytes) of each read.
    reads: Vec<(Instant, usize)>,
    closed: bool,
}

/// A running program.
pub struct Program {
    master: Option<Box<dyn MasterPty + Send>>,
    writer: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    output: Arc<(Mutex<Output>, Condvar)>,
    started: Instant,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn nonzero(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

impl Program {
    /// Starts `command` (program, then arguments) with these variables on top of the caller's environment; an empty value
    /// removes the variable.
    pub fn spawn(command: &[&str], env: &[(&str, &str)], columns: u16, rows: u16) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let mut builder = CommandBuilder::new(command[0]);
        builder.args(&command[1..]);
        builder.cwd(std::env::current_dir().unwrap());
        builder.env("TERM", "xterm-256color");
        for (name, value) in env {
            if value.is_empty() {
                builder.env_remove(name);
            } else {
                builder.env(name, value);
            }
        }
        let started = Instant::now();
        let child = pair.slave.spawn_command(builder).unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let writer = pair.master.take_writer().unwrap();
        let screen = vt100::Parser::new(nonzero(rows), nonzero(columns), 0);
        let output = Arc::new((
            Mutex::new(Output { screen, raw: Vec::new(), reads: Vec::new(), closed: false }),
            Condvar::new(),
        ));
        let sink = Arc::clone(&output);
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 65536];
            loop {
                let n = reader.read(&mut buffer).unwrap_or(0);
                let (lock, changed) = &*sink;
                let mut out = lock.lock().unwrap();
                if n == 0 {
                    out.closed = true;
                    changed.notify_all();
                    return;
                }
                out.screen.process(&buffer[..n]);
                out.raw.extend_from_slice(&buffer[..n]);
                out.reads.push((Instant::now(), n));
                changed.notify_all();
            }
        });
        Self { master: Some(pair.master), writer: Some(writer), child, output, started }
    }

    pub fn pid(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    pub fn started(&self) -> Instant {
        self.started
    }

    /// Types keys, as the terminal would send them.
    pub fn send(&mut self, keys: &str) {
        let writer = self.writer.as_mut().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// The screen as text, one line a row, right-trimmed.
    pub fn text(&self) -> String {
        contents(&self.output.0.lock().unwrap().screen)
    }

    /// Every byte so far.
    pub fn raw(&self) -> Vec<u8> {
        self.output.0.lock().unwrap().raw.clone()
    }

    /// How many bytes so far.
    pub fn bytes(&self) -> usize {
        self.output.0.lock().unwrap().raw.len()
    }

    /// Bytes of each second from `since` on, `seconds` of them.
    pub fn bytes_by_second(&self, since: Instant, seconds: usize) -> Vec<usize> {
        let mut out = vec![0; seconds];
        for (at, n) in &self.output.0.lock().unwrap().reads {
            if let Some(second) = at.checked_duration_since(since).map(|d| d.as_secs() as usize)
                && second < seconds
            {
                out[second] += n;
            }
        }
        out
    }

    /// Waits until the screen is so; gives the moment it was, or the screen that never became so.
    pub fn wait(&self, patience: Duration, so: impl Fn(&str) -> bool) -> Result<Instant, String> {
        let until = Instant::now() + patience;
        let (lock, changed) = &*self.output;
        let mut out = lock.lock().unwrap();
        loop {
            let text = contents(&out.screen);
            if so(&text) {
                return Ok(out.reads.last().map_or(self.started, |(at, _)| *at));
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Err(text) };
            if out.closed {
                return Err(format!("the program ended; its last screen:\n{text}"));
            }
            out = changed.wait_timeout(out, left).unwrap().0;
        }
    }

    /// Waits for a text on the screen, or panics with what was there instead.
    pub fn see(&self, what: &str) {
        self.see_within(what, Duration::from_secs(20));
    }

    /// As [`Self::see`], with a patience of its own.
    pub fn see_within(&self, what: &str, patience: Duration) {
        if let Err(screen) = self.wait(patience, |text| text.contains(what)) {
            panic!("{what:?} never came; the screen is:\n{screen}");
        }
    }

    /// True while the alternate screen is on.
    pub fn in_alternate_screen(&self) -> bool {
        self.output.0.lock().unwrap().screen.screen().alternate_screen()
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        self.master.as_ref().unwrap().resize(size(columns, rows)).unwrap();
        self.output.0.lock().unwrap().screen.screen_mut().set_size(nonzero(rows), nonzero(columns));
    }

    /// Sends a signal by number.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Takes the terminal away, as a dropped SSH connection does.
    pub fn hang_up(&mut self) {
        self.writer = None;
        self.master = None;
    }

    /// Waits for its end.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// CPU seconds of all threads that live, to the nanosecond: ticks are too coarse for a program that does nothing.
    pub fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let ran = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok());
        ran.filter_map(|line| line.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e9
    }

    /// A line of the kernel's status of it, in KiB: `VmRSS`, `VmHWM` (its highest), `RssAnon` (what it allocated).
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let found = status
            .lines()
            .find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok());
        found.unwrap_or(0)
    }
}

fn contents(parser: &vt100::Parser) -> String {
    parser.screen().contents()
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
