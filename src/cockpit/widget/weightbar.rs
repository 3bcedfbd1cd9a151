//! The bar of a canary's weight: what it has, what its steps ask for, and the rest.

use ratatui::layout::Rect;

use crate::cockpit::ink::Ink;
use crate::cockpit::theme::Role;

/// A weight, in percent of all traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weight {
    /// What holds now; none is unknown.
    pub actual: Option<u32>,
    /// What the steps ask for.
    pub asked: Option<u32>,
}

impl Weight {
    /// `50%`, `25→50%`, `?` when unknown.
    pub fn text(self, to: char) -> String {
        match (self.actual, self.asked) {
            (Some(a), Some(s)) if a != s => format!("{a}{to}{s}%"),
            (Some(a), _) => format!("{a}%"),
            (None, Some(s)) => format!("?{to}{s}%"),
            (None, None) => "?".to_owned(),
        }
    }
}

/// Draws the bar over the row `area` (its first row); `ends` adds end marks inside that width where the glyphs need
/// them to show how far all would be.
pub fn draw(ink: &mut Ink<'_>, area: Rect, weight: Weight, ends: bool, role: Role) {
    let ends = ends && ink.g.ascii;
    let inner = if ends { area.width.saturating_sub(2) } else { area.width };
    let mut at = area.x;
    if ends {
        ink.cell(area, at, area.y, ink.g.bar_left, Role::BarRest);
        at += 1;
    }
    let cells = |p: u32| u16::try_from((u32::from(inner) * p.min(100) + 50) / 100).unwrap_or(inner);
    // Some traffic is never drawn as none, and not quite all never as all.
    let shown = |p: u32| match cells(p) {
        0 if p > 0 && inner > 0 => 1,
        n if n == inner && p < 100 && inner > 1 => inner - 1,
        n => n,
    };
    let full = shown(weight.actual.unwrap_or(0));
    for n in 0..inner {
        let (glyph, role) = if n < full { (ink.g.bar_full, role) } else { (ink.g.bar_rest, Role::BarRest) };
        ink.cell(area, at + n, area.y, glyph, role);
    }
    if ends {
        ink.cell(area, at + inner, area.y, ink.g.bar_right, Role::BarRest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_a_number() {
        assert_eq!(Weight { actual: Some(25), asked: Some(50) }.text('→'), "25→50%");
        assert_eq!(Weight { actual: Some(50), asked: Some(50) }.text('→'), "50%");
        assert_eq!(Weight { actual: None, asked: Some(50) }.text('→'), "?→50%");
        assert_eq!(Weight { actual: None, asked: None }.text('→'), "?");
    }
}
