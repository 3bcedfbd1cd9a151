//! Writing into the buffer: text by role, cut to its room with a visible mark, never outside the area given. The one
//! place that knows widths of characters. What is written is the views' business.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::glyphs::Glyphs;
use super::theme::{Role, Theme};

/// A pen over a buffer.
pub struct Ink<'a> {
    /// What is written into.
    pub buf: &'a mut Buffer,
    /// How roles look.
    pub theme: &'a Theme,
    /// The glyphs.
    pub g: &'a Glyphs,
}

/// Width of a text in cells.
pub fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// The text, cut to `room` cells; what is cut ends in the mark.
pub fn fit(text: &str, room: u16, mark: char) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0usize;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > usize::from(room) {
            break;
        }
        used += w;
        out.push(c);
    }
    if room > 0 {
        out.push(mark);
    }
    out
}

/// The text in lines of at most `room` cells, broken between words where that can be.
pub fn wrapped(text: &str, room: u16) -> Vec<String> {
    let room = usize::from(room.max(1));
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let used = lines[last].width();
        if used > 0 && used + 1 + word.width() <= room {
            lines[last].push(' ');
            lines[last].push_str(word);
            continue;
        }
        if used > 0 {
            lines.push(String::new());
        }
        for c in word.chars() {
            let last = lines.len() - 1;
            if lines[last].width() + c.width().unwrap_or(0) > room {
                lines.push(String::new());
            }
            let last = lines.len() - 1;
            lines[last].push(c);
        }
    }
    lines
}

impl Ink<'_> {
    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        self.theme.style(role)
    }

    /// Writes text at a place inside `area`, at most to its right edge; answers with the next free column.
    pub fn put(&mut self, area: Rect, x: u16, y: u16, text: &str, role: Role) -> u16 {
        self.put_styled(area, x, y, text, self.theme.style(role))
    }

    /// The same with a style.
    pub fn put_styled(&mut self, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
        let area = area.intersection(*self.buf.area());
        if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
            return x;
        }
        let text = fit(text, area.right() - x, self.g.ellipsis);
        self.buf.set_stringn(x, y, &text, usize::from(area.right() - x), style).0
    }

    /// Where the terminal has only ASCII: our own marks become their twins, all else a question mark.
    pub fn speak(&mut self, area: Rect) {
        if !self.g.ascii {
            return;
        }
        let area = area.intersection(*self.buf.area());
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                let cell = &mut self.buf[(x, y)];
                if !cell.symbol().is_ascii() {
                    let twin = match cell.symbol() {
                        "·" => '.',
                        "…" => '_',
                        "→" => '>',
                        "–" | "—" => '-',
                        _ => '?',
                    };
                    cell.set_char(twin);
                }
            }
        }
    }

    /// Writes parts one after another; answers with the next free column.
    pub fn parts(&mut self, area: Rect, x: u16, y: u16, parts: &[(Role, &str)]) -> u16 {
        parts.iter().fold(x, |x, (role, text)| self.put(area, x, y, text, *role))
    }

    /// Writes parts so that they end at the right edge; answers with the column where they begin. What does not fit right
    /// of `from` is left out, the last parts first.
    pub fn right(&mut self, area: Rect, from: u16, y: u16, parts: &[(Role, String)]) -> u16 {
        let room = area.right().saturating_sub(from);
        let mut count = parts.len();
        let total = |n: usize| parts[..n].iter().map(|p| u32::from(width(&p.1))).sum::<u32>();
        while count > 0 && total(count) > u32::from(room) {
            count -= 1;
        }
        let start = area.right().saturating_sub(u16::try_from(total(count)).unwrap_or(room));
        let mut x = start;
        for (role, text) in &parts[..count] {
            x = self.put(area, x, y, text, *role);
        }
        start
    }

    /// Writes one glyph.
    pub fn cell(&mut self, area: Rect, x: u16, y: u16, glyph: char, role: Role) {
        let area = area.intersection(*self.buf.area());
        if area.contains((x, y).into()) {
            let style = self.theme.style(role);
            self.buf[(x, y)].set_char(glyph).set_style(style);
        }
    }

    /// Fills a row with the style of a role, keeping what stands there.
    pub fn wash(&mut self, area: Rect, role: Role) {
        let area = area.intersection(*self.buf.area());
        let style = self.theme.style(role);
        self.buf.set_style(area, style);
    }

    /// Marks a whole row as selected: one look, whatever stood there.
    pub fn mark(&mut self, area: Rect) {
        let area = area.intersection(*self.buf.area());
        self.buf.set_style(area, Style::reset().patch(self.theme.style(Role::Select)));
    }

    /// Empties an area.
    pub fn clear(&mut self, area: Rect) {
        let area = area.intersection(*self.buf.area());
        let style = self.theme.style(Role::Text);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                self.buf[(x, y)].reset();
            }
        }
        self.buf.set_style(area, style);
    }

    /// A frame with titles in its upper edge, left and right; answers with the room inside.
    pub fn frame(&mut self, area: Rect, role: Role, title: &[(Role, String)], right: &[(Role, String)]) -> Rect {
        let area = area.intersection(*self.buf.area());
        if area.width < 2 || area.height < 2 {
            return Rect::new(area.x, area.y, 0, 0);
        }
        let (l, t, r, b) = (area.left(), area.top(), area.right() - 1, area.bottom() - 1);
        for x in l + 1..r {
            self.cell(area, x, t, self.g.line, role);
            self.cell(area, x, b, self.g.line, role);
        }
        for y in t + 1..b {
            self.cell(area, l, y, self.g.upright, role);
            self.cell(area, r, y, self.g.upright, role);
        }
        for ((x, y), glyph) in [(l, t), (r, t), (l, b), (r, b)].into_iter().zip(self.g.corners) {
            self.cell(area, x, y, glyph, role);
        }
        let edge = Rect::new(l + 1, t, area.width.saturating_sub(2), 1);
        let mut x = edge.x;
        if edge.width > 4 && !title.is_empty() {
            x = self.put(edge, x, t, " ", role);
            for (role, text) in title {
                x = self.put(edge, x, t, text, *role);
            }
            x = self.put(edge, x, t, " ", role);
        }
        if !right.is_empty() {
            let mut parts = vec![(role, " ".to_owned())];
            parts.extend(right.iter().cloned());
            parts.push((role, " ".to_owned()));
            let total: u16 = parts.iter().map(|p| width(&p.1)).sum();
            if total < edge.right().saturating_sub(x) {
                self.right(edge, x, t, &parts);
            }
        }
        Rect::new(l + 1, t + 1, area.width - 2, area.height - 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("check network and VPN", 10), ["check", "network", "and VPN"]);
        assert_eq!(wrapped("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn what_does_not_fit_is_cut_visibly() {
        assert_eq!(fit("accounts-api", 12, '…'), "accounts-api");
        assert_eq!(fit("accounts-api", 8, '…'), "account…");
        assert_eq!(fit("漢字漢字", 5, '…'), "漢字…");
        assert_eq!(fit("漢字漢字", 4, '…'), "漢…");
        assert_eq!(fit("abc", 0, '…'), "");
        assert_eq!(fit("abc", 1, '…'), "…");
    }
}
