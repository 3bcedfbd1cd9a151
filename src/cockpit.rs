//! The terminal screen: reads snapshots, takes keys, sends orders. It never calls an adapter, and a hung terminal never
//! holds up a train. Order of the rooms: theme, glyphs, keymap and messages at the bottom; status and plan; model;
//! update; widget and view; the terminal itself.

pub mod backend;
pub mod command;
pub mod glyphs;
pub mod ink;
pub mod keymap;
pub mod link;
pub mod message;
pub mod model;
pub mod plan;
pub mod status;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
pub mod widget;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::message::{Command, Message};
use self::model::{Model, Setup};

/// The screen without a terminal: takes messages, answers with commands, draws itself. Tests drive it as the terminal does.
#[derive(Debug)]
pub struct App {
    model: Model,
}

impl App {
    /// A cockpit of this size.
    pub fn new(setup: Setup, size: (u16, u16), now: Timestamp) -> Self {
        Self { model: Model::new(setup, size, now) }
    }

    /// Takes one message that arrived at this time.
    pub fn handle(&mut self, message: Message, at: Timestamp) -> Vec<Command> {
        let mut commands = update::update(&mut self.model, message, at);
        for command in &mut commands {
            if let Command::Save(text) = command {
                *text = self.page();
            }
        }
        commands
    }

    /// Draws the whole screen.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        view::draw(&mut self.model, frame.buffer_mut(), area);
    }

    /// True while something on the screen counts by seconds; else a tick a minute is enough.
    pub fn counts(&self) -> bool {
        self.model.counts()
    }

    /// What is known, for tests and for the terminal.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The screen as text, and the latest events below it.
    fn page(&mut self) -> String {
        let area = Rect::new(0, 0, self.model.size.0.max(1), self.model.size.1.max(1));
        let mut buffer = Buffer::empty(area);
        view::draw(&mut self.model, &mut buffer, area);
        let mut text = String::new();
        for y in 0..area.height {
            let row: String = (0..area.width).map(|x| buffer[(x, y)].symbol()).collect();
            text.push_str(row.trim_end());
            text.push('\n');
        }
        for event in self.model.live.events.iter() {
            text.push_str(&format!("{} {} {}\n", event.at, event.subject, event.text));
        }
        text
    }
}
