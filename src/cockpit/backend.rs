//! Cells to bytes. Our own, because bytes over SSH are dear: only what changed, the shortest way of saying it, no resets
//! that nothing needs, nothing at all for an unchanged frame, and one synchronized write a frame. A cell without a
//! colour never makes a colour sequence, so `NO_COLOR` holds in the bytes (crossterm 0.29 would print a bare `CSI m`).

use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr;

/// Begin and end of a frame that the terminal shows at once (DEC 2026); ignored by those that do not know it.
const SYNC: (&[u8], &[u8]) = (b"\x1b[?2026h", b"\x1b[?2026l");

/// A terminal that takes bytes.
#[derive(Debug)]
pub struct Wire<W: Write> {
    to: W,
    size: Size,
    /// What the frame has to say so far.
    frame: Vec<u8>,
    /// Where the terminal's cursor is; none when that cannot be known.
    at: Option<(u16, u16)>,
    fg: Color,
    bg: Color,
    mods: Modifier,
    cursor_shown: bool,
}

impl<W: Write> Wire<W> {
    /// A terminal of this size, its cursor hidden, no style set.
    pub fn new(to: W, size: Size) -> Self {
        Self {
            to,
            size,
            frame: Vec::with_capacity(1 << 16),
            at: None,
            fg: Color::Reset,
            bg: Color::Reset,
            mods: Modifier::empty(),
            cursor_shown: false,
        }
    }

    /// The terminal has another size now.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// What was said before no longer holds: somebody else wrote to the terminal.
    pub fn forget(&mut self) {
        self.at = None;
        self.frame.clear();
        self.frame.extend_from_slice(b"\x1b[0m");
        (self.fg, self.bg, self.mods) = (Color::Reset, Color::Reset, Modifier::empty());
    }

    /// Sends the frame in one write; nothing when nothing changed.
    pub fn send(&mut self) -> io::Result<usize> {
        if self.frame.is_empty() {
            return Ok(0);
        }
        self.frame.splice(0..0, SYNC.0.iter().copied());
        self.frame.extend_from_slice(SYNC.1);
        let sent = self.to.write_all(&self.frame).and_then(|()| self.to.flush());
        let count = self.frame.len();
        self.frame.clear();
        sent.map(|()| count)
    }

    /// Sends bytes that are no part of a frame (bell, modes).
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.flush()
    }

    /// The writer, for tests.
    pub fn writer(&mut self) -> &mut W {
        &mut self.to
    }

    fn go(&mut self, x: u16, y: u16) -> io::Result<()> {
        match self.at {
            Some(at) if at == (x, y) => Ok(()),
            Some((at, row)) if row == y && at < x => match x - at {
                1 => write!(self.frame, "\x1b[C"),
                n => write!(self.frame, "\x1b[{n}C"),
            },
            _ => write!(self.frame, "\x1b[{};{}H", y + 1, x + 1),
        }
    }

    /// Says how the style differs from the one before, in one sequence.
    fn style(&mut self, cell: &Cell) {
        let mut codes: Vec<String> = Vec::new();
        let gone = self.mods - cell.modifier;
        let mut fresh = cell.modifier - self.mods;
        // 22 ends bold and dim alike: what stays of the two is said again.
        if gone.intersects(Modifier::BOLD | Modifier::DIM) {
            codes.push("22".to_owned());
            fresh |= cell.modifier & (Modifier::BOLD | Modifier::DIM);
        }
        for (modifier, on, off) in MODIFIERS {
            if gone.contains(modifier) && !off.is_empty() {
                codes.push(off.to_owned());
            }
            if fresh.contains(modifier) {
                codes.push(on.to_owned());
            }
        }
        if cell.fg != self.fg {
            codes.push(colour(cell.fg, 30));
        }
        if cell.bg != self.bg {
            codes.push(colour(cell.bg, 40));
        }
        if !codes.is_empty() {
            self.frame.extend_from_slice(b"\x1b[");
            self.frame.extend_from_slice(codes.join(";").as_bytes());
            self.frame.push(b'm');
        }
        (self.fg, self.bg, self.mods) = (cell.fg, cell.bg, cell.modifier);
    }
}

const MODIFIERS: [(Modifier, &str, &str); 7] = [
    (Modifier::BOLD, "1", ""),
    (Modifier::DIM, "2", ""),
    (Modifier::ITALIC, "3", "23"),
    (Modifier::UNDERLINED, "4", "24"),
    (Modifier::REVERSED, "7", "27"),
    (Modifier::HIDDEN, "8", "28"),
    (Modifier::CROSSED_OUT, "9", "29"),
];

/// The SGR code of a colour; `base` is 30 for the foreground, 40 for the background.
fn colour(c: Color, base: u8) -> String {
    let named = |n: u8| (base + n).to_string();
    let bright = |n: u8| (base + 60 + n).to_string();
    match c {
        Color::Reset => named(9),
        Color::Black => named(0),
        Color::Red => named(1),
        Color::Green => named(2),
        Color::Yellow => named(3),
        Color::Blue => named(4),
        Color::Magenta => named(5),
        Color::Cyan => named(6),
        Color::Gray => named(7),
        Color::DarkGray => bright(0),
        Color::LightRed => bright(1),
        Color::LightGreen => bright(2),
        Color::LightYellow => bright(3),
        Color::LightBlue => bright(4),
        Color::LightMagenta => bright(5),
        Color::LightCyan => bright(6),
        Color::White => bright(7),
        Color::Indexed(n) => format!("{};5;{n}", base + 8),
        Color::Rgb(r, g, b) => format!("{};2;{r};{g};{b}", base + 8),
    }
}

impl<W: Write> Backend for Wire<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        for (x, y, cell) in content {
            self.go(x, y)?;
            self.style(cell);
            let symbol = cell.symbol();
            self.frame.extend_from_slice(symbol.as_bytes());
            // Terminals disagree about wide characters, about letters with marks, and about the cursor after the last column.
            let next = x + 1;
            let simple = symbol.width() == 1 && symbol.chars().nth(1).is_none();
            self.at = (simple && next < self.size.width).then_some((next, y));
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.cursor_shown {
            self.frame.extend_from_slice(b"\x1b[?25l");
            self.cursor_shown = false;
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if !self.cursor_shown {
            self.frame.extend_from_slice(b"\x1b[?25h");
            self.cursor_shown = true;
        }
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        let (x, y) = self.at.unwrap_or((0, 0));
        Ok(Position { x, y })
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let p = position.into();
        self.go(p.x, p.y)?;
        self.at = Some((p.x, p.y));
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.style(&Cell::EMPTY);
        self.frame.extend_from_slice(b"\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.style(&Cell::EMPTY);
        let code: &[u8] = match clear_type {
            ClearType::All => b"\x1b[2J",
            ClearType::AfterCursor => b"\x1b[J",
            ClearType::BeforeCursor => b"\x1b[1J",
            ClearType::CurrentLine => b"\x1b[2K",
            ClearType::UntilNewLine => b"\x1b[K",
        };
        self.frame.extend_from_slice(code);
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::style::{Style, Stylize};
    use ratatui::text::Line;

    fn sent(draws: &[&[Line<'_>]]) -> Vec<String> {
        let mut terminal = Terminal::new(Wire::new(Vec::new(), Size::new(20, 3))).unwrap();
        draws
            .iter()
            .map(|lines| {
                terminal
                    .draw(|f| {
                        for (line, y) in lines.iter().zip(0..) {
                            f.buffer_mut().set_line(0, y, line, 20);
                        }
                    })
                    .unwrap();
                let wire = terminal.backend_mut();
                wire.send().unwrap();
                String::from_utf8(std::mem::take(wire.writer())).unwrap()
            })
            .collect()
    }

    #[test]
    fn an_unchanged_frame_is_no_bytes() {
        let frames = sent(&[&["hello".into()], &["hello".into()]]);
        assert!(frames[0].starts_with("\x1b[?2026h") && frames[0].ends_with("\x1b[?2026l"));
        assert_eq!(frames[1], "");
    }

    #[test]
    fn only_what_changed_is_said() {
        let frames = sent(&[&["weight 25%".into()], &["weight 50%".into()]]);
        assert_eq!(frames[1], "\x1b[?2026h\x1b[1;8H50\x1b[?2026l");
    }

    #[test]
    fn bold_ends_without_ending_dim() {
        let line = Line::from(vec!["a".bold().dim(), "b".dim(), "c".into()]);
        let frames = sent(&[&[line]]);
        assert!(frames[0].contains("\x1b[1;2ma\x1b[22;2mb\x1b[22mc"), "{:?}", frames[0]);
    }

    #[test]
    fn cells_without_colour_say_none() {
        let style = Style::new().fg(Color::Reset).bg(Color::Reset).add_modifier(Modifier::REVERSED);
        let frames = sent(&[&[Line::styled("x", style)]]);
        assert_eq!(frames[0], "\x1b[?2026h\x1b[1;1H\x1b[7mx\x1b[?2026l");
    }
}
