//! Opens the cockpit over an engine: the terminal on a thread of its own, orders one way, snapshots and outcomes the
//! other. What is shown and what keys mean is the cockpit's; what orders do is the engine's.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use ratatui::crossterm::terminal::size;
use tokio::sync::{mpsc, watch};

use super::failure::{Failure, FailureKind};
use super::{Global, Glyphs as GlyphChoice, When};
use crate::cockpit::App;
use crate::cockpit::glyphs::{ASCII, Glyphs, UNICODE};
use crate::cockpit::keymap::KeyMap;
use crate::cockpit::message::{Command, ContextRow, Message};
use crate::cockpit::model::Setup;
use crate::cockpit::terminal::{self, Ending, Links};
use crate::cockpit::theme::{Depth, Theme};
use crate::config::places::Places;
use crate::core::confirm::Refusal;
use crate::core::snapshot::Snapshot;
use crate::core::text::Text;
use crate::engine::act::Outcome;
use crate::engine::order::{Intent, Report};
use crate::engine::run::Handle;
use crate::ports::Clock;
use crate::text;

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
    /// Hears of every order a person gives, before it is sent; for a scripted captain that makes way.
    pub ordered: Option<Box<dyn Fn() + Send>>,
}

/// Shows the engine until the person leaves or the terminal is gone. Orders under way are finished before it returns.
pub async fn show(handle: Handle, opening: Opening, global: &Global) -> Result<Ending, Failure> {
    let Handle { snapshots, intents, reports, ended } = handle;
    let (commands, wishes) = mpsc::unbounded_channel();
    let (messages_out, messages) = mpsc::unbounded_channel();
    let forward = tokio::spawn(pass_on(wishes, intents, opening.ordered));
    let back = tokio::spawn(tell_outcomes(reports, messages_out));
    let look = Look::of(global)?;
    let screen = tokio::task::spawn_blocking(move || {
        on_terminal(snapshots, messages, commands, look, opening.clock, opening.who, opening.contexts)
    });
    let ending = screen.await.map_err(|panic| outside(text!("the screen ended: {panic}")))?;
    // The engine ends when nobody can order any more, after what is under way.
    let _ = forward.await;
    let _ = ended.await;
    back.abort();
    ending.map_err(|error| outside(text!("{error}")))
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
    fn of(global: &Global) -> Result<Self, Failure> {
        let var = |name: &str| std::env::var(name).ok();
        let depth = match global.color {
            When::Never => Depth::None,
            When::Auto => Depth::of(var("NO_COLOR").as_deref(), var("COLORTERM").as_deref(), var("TERM").as_deref()),
            When::Always => Depth::of(None, var("COLORTERM").as_deref(), var("TERM").as_deref()).max(Depth::Ansi),
        };
        let glyphs = match global.glyphs {
            GlyphChoice::Unicode => UNICODE,
            GlyphChoice::Ascii => ASCII,
            GlyphChoice::Auto => Glyphs::for_locale([
                var("LC_ALL").as_deref(),
                var("LC_CTYPE").as_deref(),
                var("LANG").as_deref(),
            ]),
        };
        let theme = Theme::named("terminal", depth)
            .map_err(|error| Failure::new(FailureKind::Input, text!("{error}"), "name one of `:theme`"))?;
        Ok(Self { theme, depth, glyphs })
    }
}

fn on_terminal(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    messages: mpsc::UnboundedReceiver<Message>,
    commands: mpsc::UnboundedSender<Command>,
    look: Look,
    clock: Arc<dyn Clock>,
    who: Text,
    contexts: Vec<ContextRow>,
) -> std::io::Result<Ending> {
    let keymap = KeyMap::new(&BTreeMap::new()).map_err(|e| std::io::Error::other(e.to_string()))?;
    let setup = Setup {
        snapshot: Arc::clone(&snapshots.borrow()),
        keymap,
        theme: look.theme,
        depth: look.depth,
        glyphs: look.glyphs,
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
    terminal::run(&mut app, Links { snapshots, messages, commands, now, save_to, remote })
}

/// What the screen wants, to the engine. Ends when the screen does.
async fn pass_on(
    mut wishes: mpsc::UnboundedReceiver<Command>,
    intents: mpsc::Sender<Intent>,
    ordered: Option<Box<dyn Fn() + Send>>,
) {
    while let Some(wish) = wishes.recv().await {
        let intent = match wish {
            Command::Order(order) => {
                if let Some(heard) = &ordered {
                    heard();
                }
                Intent::Order(order)
            }
            Command::Watch(service) => Intent::Watch(service.into_iter().collect()),
            Command::Reread => Intent::Reread,
            Command::SwitchContext(context) => Intent::Switch(context),
            // The terminal's own affairs.
            Command::Copy(_)
            | Command::Bell
            | Command::Mouse(_)
            | Command::Save(_)
            | Command::Suspend
            | Command::Redraw
            | Command::Quit => continue,
        };
        if intents.send(intent).await.is_err() {
            return;
        }
    }
}

/// How orders ended, to the screen.
async fn tell_outcomes(mut reports: mpsc::UnboundedReceiver<Report>, screen: mpsc::UnboundedSender<Message>) {
    while let Some(Report { id, name, outcome, last }) = reports.recv().await {
        let result = match outcome {
            Outcome::Done(says) => Ok(says),
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Failed(fault) => {
                Err(Refusal { why: text!("{}: {}", fault.what, fault.why), hint: fault.hint, already: false })
            }
            Outcome::Unknown(says) => Err(Refusal {
                why: text!("unknown: {says}"),
                hint: "it may still take effect; look before you order it again".into(),
                already: false,
            }),
        };
        if screen.send(Message::Outcome { intent: id, name, result, last }).is_err() {
            return;
        }
    }
}
