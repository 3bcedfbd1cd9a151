//! A metric in one row: bars against its limit. The limit always has the same height, so that near it looks near; what
//! is beyond stands out by height and colour; a measurement without data is a gap, never a zero.

use ratatui::layout::Rect;

use crate::cockpit::ink::Ink;
use crate::cockpit::theme::Role;
use crate::core::snapshot::{Limit, Point};

/// True when a value breaks the limit.
pub fn beyond(value: f64, limit: Option<Limit>) -> bool {
    match limit {
        Some(Limit::Below(max)) => value >= max,
        Some(Limit::Above(min)) => value <= min,
        None => false,
    }
}

/// The level (0 to 7) of a value; the limit lies between levels 4 and 5.
fn level(value: f64, limit: Option<Limit>, top: f64) -> usize {
    let share = match limit {
        Some(Limit::Below(l) | Limit::Above(l)) if l > 0.0 => value / l * 4.5,
        _ if top > 0.0 => value / top * 7.0,
        _ => 0.0,
    };
    // Cut to the range before the conversion; what is no number was never a point.
    share.clamp(0.0, 7.0).round() as usize
}

/// Draws the latest points over the row `area`, newest at the right.
pub fn draw(ink: &mut Ink<'_>, area: Rect, points: &[Point], limit: Option<Limit>) {
    let shown = &points[points.len().saturating_sub(usize::from(area.width))..];
    let top = shown.iter().filter_map(|p| p.value).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let start = area.right() - u16::try_from(shown.len()).unwrap_or(area.width);
    for (n, point) in (0u16..).zip(shown) {
        let (glyph, role) = match point.value.filter(|v| v.is_finite()) {
            None => (ink.g.gap, Role::Faint),
            Some(v) => {
                let role = if beyond(v, limit) { Role::SparkOver } else { Role::Spark };
                (ink.g.sparks[level(v, limit, top)], role)
            }
        };
        ink.cell(area, start + n, area.y, glyph, role);
    }
}

/// A value in at most eight characters: three digits that count.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "no data".to_owned();
    }
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        s if !(1e-4..1e9).contains(&s) => return format!("{value:.1e}"),
        s if s >= 10_000.0 => return format!("{:.0}k", value / 1000.0),
        s if s >= 100.0 => format!("{value:.0}"),
        s if s >= 10.0 => format!("{value:.1}"),
        s if s >= 1.0 => format!("{value:.2}"),
        s if s >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_has_its_place() {
        let limit = Some(Limit::Below(0.02));
        assert_eq!(level(0.0, limit, 0.0), 0);
        assert!(level(0.0199, limit, 0.0) < 5);
        assert!(level(0.0225, limit, 0.0) >= 5);
        assert_eq!(level(9.0, limit, 0.0), 7);
        assert_eq!(level(5.0, None, 10.0), 4);
        assert!(beyond(0.02, limit) && !beyond(0.01, limit));
        assert!(beyond(0.9, Some(Limit::Above(0.95))));
    }

    #[test]
    fn numbers_stay_short() {
        let cases = [
            (0.0, "0"),
            (0.008, "0.008"),
            (0.5, "0.5"),
            (212.4, "212"),
            (12.34, "12.3"),
            (51_234.0, "51k"),
            (f64::NAN, "no data"),
            (2.0, "2"),
            (100.0, "100"),
            (-1.234e-9, "-1.2e-9"),
            (f64::MAX, "1.8e308"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
            assert!(number(value).len() <= 8);
        }
    }
}
