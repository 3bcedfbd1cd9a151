//! The real terminal: raw mode, alternate screen, signals, keys on a thread of their own, frames at most so often. The
//! loop runs on the thread that calls it and may hang with a hung terminal; nothing that conducts runs there.
//! A terminal that vanished is noticed here, because crossterm would spin on it for ever (crossterm#793).

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::crossterm::event::{self, Event, MouseEventKind};
use ratatui::crossterm::terminal as raw;
use ratatui::layout::Size;
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::App;
use super::backend::Wire;
use super::message::{Command, Message};
use crate::core::snapshot::Snapshot;

/// Shortest time between frames on a local terminal.
pub const FRAME_LOCAL: Duration = Duration::from_millis(33);
/// Shortest time between frames over SSH.
pub const FRAME_SSH: Duration = Duration::from_millis(100);

/// Alternate screen, hidden cursor, bracketed paste, focus events.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1004h\x1b[0m\x1b[2J";
/// All of it undone, and an update that was begun is ended.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?1006l\x1b[?1000l\x1b[?1004l\x1b[?2004l\x1b[?25h\x1b[?1049l";
/// Wheel events only, in the form that has no limit of columns.
const MOUSE: (&[u8], &[u8]) = (b"\x1b[?1000h\x1b[?1006h", b"\x1b[?1006l\x1b[?1000l");

/// What the screen is connected to.
pub struct Links {
    /// The state of the world; only the newest counts.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Outcomes of orders, and things to say.
    pub messages: mpsc::UnboundedReceiver<Message>,
    /// Orders and wishes.
    pub commands: mpsc::UnboundedSender<Command>,
    /// What time it is.
    pub now: Box<dyn Fn() -> Timestamp>,
    /// Where saved screens go; none when nothing can be saved.
    pub save_to: Option<PathBuf>,
    /// True over SSH: fewer frames.
    pub remote: bool,
    /// Told when the first frame was sent.
    pub painted: Option<oneshot::Sender<()>>,
}

/// How the screen ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The person left.
    Left,
    /// The terminal is gone (SIGHUP, hang-up, a failed write): whoever conducts may go on without a screen.
    Vanished,
    /// SIGTERM or SIGINT from outside.
    Terminated,
}

/// Runs the screen until it ends. Blocks; call it on a thread that conducts nothing.
pub fn run(app: &mut App, links: Links) -> io::Result<Ending> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(io::Error::other("the cockpit needs a terminal; `footplate status --watch --plain` does not"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    install_panic_hook();
    enter()?;
    let ended = runtime.block_on(drive(app, links));
    let left = leave();
    // The input thread may hang in a read of a terminal that is gone: it is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(Ending::Vanished) => Ok(Ending::Vanished),
        Err(e) if gone(&e) => Ok(Ending::Vanished),
        other => left.and(other),
    }
}

/// True for errors of a terminal that is not there any more.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error())
}

/// True when the terminal was raw before we touched it: a full screen program was killed there, and whoever started us did
/// not mend it.
static LEFT_RAW: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

fn enter() -> io::Result<()> {
    use rustix::termios::{LocalModes, tcgetattr};
    if !raw::is_raw_mode_enabled()?
        && tcgetattr(io::stdin()).is_ok_and(|t| !t.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO))
    {
        LEFT_RAW.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    raw::enable_raw_mode()?;
    let mut out = io::stdout().lock();
    out.write_all(ENTER)?;
    out.flush()
}

fn leave() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(LEAVE).and_then(|()| out.flush());
    drop(out);
    raw::disable_raw_mode()?;
    if LEFT_RAW.load(std::sync::atomic::Ordering::Relaxed) {
        mend()?;
    }
    written
}

/// A terminal as shells expect it.
fn mend() -> io::Result<()> {
    use rustix::termios::{InputModes, LocalModes, OptionalActions, OutputModes, tcgetattr, tcsetattr};
    let mut modes = tcgetattr(io::stdin())?;
    modes.input_modes |= InputModes::ICRNL | InputModes::IXON | InputModes::BRKINT;
    modes.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
    modes.local_modes |= LocalModes::ICANON
        | LocalModes::ECHO
        | LocalModes::ECHOE
        | LocalModes::ECHOK
        | LocalModes::ISIG
        | LocalModes::IEXTEN;
    Ok(tcsetattr(io::stdin(), OptionalActions::Now, &modes)?)
}

/// A panic on any thread leaves a usable terminal behind, then tells what happened as it always would.
fn install_panic_hook() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = leave();
            before(info);
        }));
    });
}

enum Input {
    Event(Event),
    Gone,
}

/// Reads keys until the terminal hangs up. A stopped reader (while suspended) does not steal what others read.
fn read_input(to: &mpsc::UnboundedSender<Input>, paused: &std::sync::atomic::AtomicBool) {
    use std::sync::atomic::Ordering;
    loop {
        if paused.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {
                if to.is_closed() {
                    return;
                }
                continue;
            }
            Err(_) => {
                let _ = to.send(Input::Gone);
                return;
            }
            Ok(_) => {}
        }
        let seen = fds[0].revents();
        if seen.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            let _ = to.send(Input::Gone);
            return;
        }
        if !seen.contains(PollFlags::IN) || paused.load(Ordering::Acquire) {
            continue;
        }
        while let Ok(true) = event::poll(Duration::ZERO) {
            match event::read() {
                Ok(e) => {
                    if to.send(Input::Event(e)).is_err() {
                        return;
                    }
                }
                Err(_) => {
                    let _ = to.send(Input::Gone);
                    return;
                }
            }
        }
    }
}

fn size_now() -> Size {
    raw::size().map_or(Size::new(80, 24), |(w, h)| Size::new(w, h))
}

type Screen = Terminal<Wire<io::Stdout>>;

async fn drive(app: &mut App, mut links: Links) -> io::Result<Ending> {
    let (input_tx, mut input) = mpsc::unbounded_channel();
    let paused = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = paused.clone();
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || read_input(&input_tx, &flag))?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut window = signal(SignalKind::window_change())?;
    let mut stop = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut cont = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;

    let mut screen: Screen = Terminal::new(Wire::new(io::stdout(), size_now()))?;
    let size = size_now();
    app.handle(Message::Resize(size.width, size.height), (links.now)());
    let pace = if links.remote { FRAME_SSH } else { FRAME_LOCAL };
    let mut dirty = true;
    let mut next_frame = Instant::now();
    let mut alive = (true, true);
    let first = links.snapshots.borrow_and_update().clone();
    let mut todo = app.handle(Message::Snapshot(first), (links.now)());
    if app.model().mouse {
        todo.push(Command::Mouse(true));
    }
    loop {
        for command in std::mem::take(&mut todo) {
            match command {
                Command::Quit => return Ok(Ending::Left),
                Command::Suspend => {
                    let said = suspend(&mut screen, &paused, &mut cont).await?;
                    if let Some(text) = said {
                        app.handle(Message::Say(text), (links.now)());
                    } else if app.model().mouse {
                        screen.backend_mut().send_raw(MOUSE.0)?;
                    }
                }
                Command::Redraw => anew(&mut screen)?,
                other => carry_out(app, &mut screen, &links, other)?,
            }
            dirty = true;
        }
        if dirty && Instant::now() >= next_frame {
            screen.draw(|frame| app.draw(frame))?;
            screen.backend_mut().send()?;
            if let Some(painted) = links.painted.take() {
                // Who waited may be gone.
                let _ = painted.send(());
            }
            dirty = false;
            next_frame = Instant::now() + pace;
        }
        let now = (links.now)();
        let tick = until_tick(now, app.counts());
        let message = tokio::select! {
            biased;
            _ = hangup.recv() => return Ok(Ending::Vanished),
            _ = terminate.recv() => return Ok(Ending::Terminated),
            _ = interrupt.recv() => return Ok(Ending::Terminated),
            _ = stop.recv() => { todo.push(Command::Suspend); continue }
            _ = cont.recv() => { todo.push(Command::Redraw); continue }
            _ = window.recv() => {
                let size = size_now();
                screen.backend_mut().resize(size);
                Some(Message::Resize(size.width, size.height))
            }
            event = input.recv() => match event {
                None | Some(Input::Gone) => return Ok(Ending::Vanished),
                Some(Input::Event(event)) => to_message(event),
            },
            said = links.messages.recv(), if alive.0 => {
                alive.0 = said.is_some();
                said
            }
            changed = links.snapshots.changed(), if alive.1 => {
                alive.1 = changed.is_ok();
                alive.1.then(|| Message::Snapshot(links.snapshots.borrow_and_update().clone()))
            }
            () = tokio::time::sleep_until(next_frame.into()), if dirty => continue,
            () = tokio::time::sleep(tick) => Some(Message::Tick),
        };
        if let Some(message) = message {
            todo = app.handle(message, (links.now)());
            dirty = true;
        }
    }
}

/// Time until the next second (or minute, where nothing counts by seconds) of the wall clock.
fn until_tick(now: Timestamp, seconds: bool) -> Duration {
    let every = if seconds { 1000 } else { 60_000 };
    let into = now.as_millisecond().rem_euclid(every);
    Duration::from_millis(u64::try_from(every - into).unwrap_or(1000) + 1)
}

fn to_message(event: Event) -> Option<Message> {
    Some(match event {
        Event::Key(key) => Message::Key(key),
        Event::Paste(text) => Message::Paste(text),
        Event::FocusGained => Message::Focus(true),
        Event::FocusLost => Message::Focus(false),
        Event::Mouse(m) => match m.kind {
            MouseEventKind::ScrollUp => Message::Scroll(-3),
            MouseEventKind::ScrollDown => Message::Scroll(3),
            _ => return None,
        },
        // The size comes by SIGWINCH.
        Event::Resize(..) => return None,
    })
}

fn carry_out(app: &mut App, screen: &mut Screen, links: &Links, command: Command) -> io::Result<()> {
    let wire = screen.backend_mut();
    match command {
        Command::Bell => wire.send_raw(b"\x07"),
        Command::Mouse(on) => wire.send_raw(if on { MOUSE.0 } else { MOUSE.1 }),
        Command::Copy(text) => wire.send_raw(&clipboard(&text)),
        Command::Save(text) => {
            let now = (links.now)();
            let said = match &links.save_to {
                None => crate::text!("nothing can be saved: no state directory"),
                Some(dir) => {
                    let file = dir.join(format!("screen-{}.txt", now.as_second()));
                    match std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&file, text)) {
                        Ok(()) => crate::text!("saved {}", file.display()),
                        Err(e) => crate::text!("{} cannot be written: {e}", file.display()),
                    }
                }
            };
            app.handle(Message::Say(said), now);
            Ok(())
        }
        // An engine that is gone takes no orders; the snapshots say so too.
        other => {
            if links.commands.send(other).is_err() {
                let said = crate::text!("nothing takes orders any more; leave and start again");
                app.handle(Message::Say(said), (links.now)());
            }
            Ok(())
        }
    }
}

/// Everything is drawn anew: after a stop, or when somebody else wrote on the screen.
fn anew(screen: &mut Screen) -> io::Result<()> {
    let size = size_now();
    screen.backend_mut().resize(size);
    screen.backend_mut().forget();
    screen.clear()
}

/// To the shell and back. Answers with what to say when there is no shell to go to.
async fn suspend(
    screen: &mut Screen,
    paused: &std::sync::atomic::AtomicBool,
    cont: &mut tokio::signal::unix::Signal,
) -> io::Result<Option<crate::core::text::Text>> {
    use std::sync::atomic::Ordering;
    // The group of a session's leader has no shell above it that could continue us.
    if rustix::process::getsid(None).ok() == Some(rustix::process::getpgrp()) {
        return Ok(Some(crate::text!("there is no shell to go back to")));
    }
    paused.store(true, Ordering::Release);
    leave()?;
    while futures::FutureExt::now_or_never(cont.recv()).is_some() {}
    rustix::process::kill_current_process_group(Signal::STOP)?;
    // The stop may reach this thread a moment after the call returned; only its end counts.
    cont.recv().await;
    // Continued in the background (`bg`), we wait: a program there may not touch the terminal.
    while rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group != rustix::process::getpgrp()) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    enter()?;
    paused.store(false, Ordering::Release);
    anew(screen)?;
    Ok(None)
}

/// OSC 52: asks the terminal to put text into the clipboard. The text is scrubbed before it comes here, and encoded.
fn clipboard(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = b"\x1b]52;c;".to_vec();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |b, c| b << 8 | u32::from(*c)) << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
            out.push(if n <= chunk.len() { digit } else { b'=' });
        }
    }
    out.push(0x07);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clipboard_sequence_is_base64() {
        assert_eq!(clipboard("billing-api"), b"\x1b]52;c;YmlsbGluZy1hcGk=\x07");
        assert_eq!(clipboard("abc"), b"\x1b]52;c;YWJj\x07");
        assert_eq!(clipboard(""), b"\x1b]52;c;\x07");
    }

    #[test]
    fn ticks_fall_on_whole_seconds_and_minutes() {
        let at: Timestamp = "2025-10-02T15:04:31.250Z".parse().unwrap();
        assert_eq!(until_tick(at, true), Duration::from_millis(751));
        assert_eq!(until_tick(at, false), Duration::from_millis(28_751));
    }
}
