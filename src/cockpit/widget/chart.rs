//! A metric over several rows, in braille dots (or plain stars where there is no braille), with its limit as a line.

use ratatui::layout::Rect;

use super::spark;
use crate::cockpit::ink::Ink;
use crate::cockpit::theme::Role;
use crate::core::snapshot::{Limit, Point};

/// Draws the latest points, newest at the right. Two points a cell, four levels a row (ASCII: one and one).
pub fn draw(ink: &mut Ink<'_>, area: Rect, points: &[Point], limit: Option<Limit>) {
    if area.width == 0 || area.height == 0 {
        return;
    }
    let (across, down) = if ink.g.ascii { (1, 1) } else { (2, 4) };
    let columns = usize::from(area.width) * across;
    let levels = usize::from(area.height) * down;
    let shown = &points[points.len().saturating_sub(columns)..];
    let values = || shown.iter().filter_map(|p| p.value).filter(|v| v.is_finite());
    let bar = limit.map(|(Limit::Below(l) | Limit::Above(l))| l).filter(|l| l.is_finite());
    let top = values().chain(bar.map(|b| b * 1.25)).fold(0.0, f64::max);
    let low = values().chain(bar).fold(0.0, f64::min);
    let span = if top > low { top - low } else { 1.0 };
    // Cut to the range before the conversion.
    let row = |v: f64| levels - 1 - (((v - low) / span).clamp(0.0, 1.0) * (levels - 1) as f64).round() as usize;
    if let Some(b) = bar {
        let y = area.y + u16::try_from(row(b) / down).unwrap_or(0);
        for x in area.left()..area.right() {
            ink.cell(area, x, y, ink.g.limit, Role::Limit);
        }
    }
    let start = columns - shown.len();
    let mut cells = vec![(0u8, false); usize::from(area.width) * usize::from(area.height)];
    let mut before: Option<usize> = None;
    for (n, point) in shown.iter().enumerate() {
        let Some(v) = point.value.filter(|v| v.is_finite()) else {
            before = None;
            continue;
        };
        let at = row(v);
        let from = before.unwrap_or(at);
        for r in from.min(at)..=from.max(at) {
            let column = start + n;
            let cell = (r / down) * usize::from(area.width) + column / across;
            if let Some(c) = cells.get_mut(cell) {
                c.0 |= DOTS[column % across][r % down];
                c.1 |= spark::beyond(v, limit);
            }
        }
        before = Some(at);
    }
    for (n, &(dots, over)) in cells.iter().enumerate().filter(|c| c.1.0 != 0) {
        let (x, y) = (n % usize::from(area.width), n / usize::from(area.width));
        let glyph = if ink.g.ascii { '*' } else { char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ') };
        let role = if over { Role::SparkOver } else { Role::Accent };
        let (x, y) = (u16::try_from(x).unwrap_or(0), u16::try_from(y).unwrap_or(0));
        ink.cell(area, area.x + x, area.y + y, glyph, role);
    }
}

/// Bits of the braille dots, by column and row.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
