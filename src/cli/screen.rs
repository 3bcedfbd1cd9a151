//! Opens the cockpit over an engine, on a thread of its own, looking as this person and this terminal want it. What is
//! shown and what keys mean is the cockpit's; what orders do is the engine's.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::crossterm::terminal::size;
use tokio::sync::oneshot;

use super::failure::{Failure, FailureKind};
use super::person::Own;
use super::{Global, Glyphs as GlyphChoice, When};
use crate::cockpit::App;
use crate::cockpit::glyphs::{ASCII, Glyphs, UNICODE};
use crate::cockpit::link;
use crate::cockpit::message::ContextRow;
use crate::cockpit::model::Setup;
use crate::cockpit::terminal::{self, Ending, Links};
use crate::cockpit::theme::{Depth, Theme};
use crate::config::places::Places;
use crate::core::text::Text;
use crate::engine::run::Handle;
use crate::ports::Clock;
use crate::text;

/// A first frame is waited for no longer than this.
const FIRST_FRAME_IN: Duration = Duration::from_millis(250);
/// A screen that is told to end has this long for it.
const SCREEN_ENDS_IN: Duration = Duration::from_secs(2);
/// Longest text for the clipboard, bytes: what terminals take through OSC 52 without trouble.
const COPY_MAX: usize = 74_994;

/// What a screen is opened with, beside the engine.
pub struct Opening {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Who orders.
    pub who: Text,
    /// Contexts to switch to.
    pub contexts: Vec<ContextRow>,
    /// Told when the first frame is on the screen.
    pub painted: Option<oneshot::Sender<()>>,
}

/// The first frame of a screen, as somebody waits for it; a terminal that takes nothing is not waited for long.
pub fn first_frame() -> (oneshot::Sender<()>, impl Future<Output = ()> + Send + 'static) {
    let (painted, seen) = oneshot::channel();
    (painted, async { drop(tokio::time::timeout(FIRST_FRAME_IN, seen).await) })
}

/// Shows the engine until the person leaves or the terminal is gone. Orders under way are finished before it returns.
pub async fn show(handle: Handle, opening: Opening, global: &Global) -> Result<Ending, Failure> {
    let look = Look::of(&global.own)?;
    let own = Arc::clone(&global.own);
    let (ends, engine) = link::connect(handle);
    let screen = tokio::task::spawn_blocking(move || on_terminal(ends, look, &own, opening));
    let ending = tokio::select! {
        ended = screen => ended.map_err(|panic| outside(text!("the screen ended: {panic}")))?,
        ending = overdue() => Ok(ending),
    };
    engine.ended().await;
    ending.map_err(|error| outside(text!("{error}")))
}

/// Ready when the process was told to end and the screen did not: it hangs in a terminal that takes nothing any more, and
/// nothing can be restored there.
async fn overdue() -> Ending {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    let ending = tokio::select! {
        _ = terminate.recv() => Ending::Terminated,
        _ = hangup.recv() => Ending::Vanished,
    };
    tokio::time::sleep(SCREEN_ENDS_IN).await;
    ending
}

fn outside(why: Text) -> Failure {
    Failure::new(FailureKind::Outside, why, "use `footplate status --watch --plain` where there is no terminal")
}

/// How the screen looks for this person on this terminal.
struct Look {
    theme: Theme,
    depth: Depth,
    glyphs: Glyphs,
}

impl Look {
    fn of(own: &Own) -> Result<Self, Failure> {
        let person = &own.person;
        let var = |name: &str| std::env::var(name).ok();
        let depth = match person.color.value {
            When::Never => Depth::None,
            When::Auto => Depth::of(var("NO_COLOR").as_deref(), var("COLORTERM").as_deref(), var("TERM").as_deref()),
            When::Always => Depth::of(None, var("COLORTERM").as_deref(), var("TERM").as_deref()).max(Depth::Ansi),
        };
        let glyphs = match person.glyphs.value {
            GlyphChoice::Unicode => UNICODE,
            GlyphChoice::Ascii => ASCII,
            GlyphChoice::Auto => {
                Glyphs::for_locale([var("LC_ALL").as_deref(), var("LC_CTYPE").as_deref(), var("LANG").as_deref()])
            }
        };
        let theme = own.themes.named(&person.theme.value, depth).map_err(|error| {
            Failure::new(FailureKind::Input, text!("{error}"), "footplate generate themes names all")
        })?;
        Ok(Self { theme, depth, glyphs })
    }
}

fn on_terminal(ends: link::Ends, look: Look, own: &Own, opening: Opening) -> std::io::Result<Ending> {
    let link::Ends { snapshots, messages, commands } = ends;
    let Opening { clock, who, contexts, painted } = opening;
    let setup = Setup {
        snapshot: Arc::clone(&snapshots.borrow()),
        keymap: own.keymap.clone(),
        theme: look.theme,
        themes: own.themes.clone(),
        depth: look.depth,
        glyphs: look.glyphs,
        mouse: own.person.mouse.value,
        zone: TimeZone::system(),
        who,
        contexts,
        copy_max: COPY_MAX,
    };
    let size = size().unwrap_or((80, 24));
    let mut app = App::new(setup, size, clock.now());
    let remote = std::env::var_os("SSH_CONNECTION").is_some();
    let save_to = Some(Places::find(|key| std::env::var_os(key)).state);
    let now = Box::new(move || clock.now());
    terminal::run(&mut app, Links { snapshots, messages, commands, now, save_to, remote, painted })
}
