//! The glyphs, in two sets: Unicode (no emoji, nothing of ambiguous meaning without a word beside it) and ASCII. Which
//! state has which glyph is decided in `status.rs`; colours are the theme's.

use crate::core::layout::WireSet;

/// One set of glyphs. Each is one cell wide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct Glyphs {
    pub ascii: bool,
    pub wires: WireSet,
    pub waiting: char,
    pub moving: char,
    pub paused: char,
    pub asks: char,
    pub ok: char,
    pub failed: char,
    pub undone: char,
    pub aborted: char,
    pub unknown: char,
    pub arrow: char,
    pub to: char,
    pub need: char,
    pub dot: char,
    pub ring: char,
    pub more_left: char,
    pub more_right: char,
    pub more_up: char,
    pub more_down: char,
    pub bar_left: char,
    pub bar_full: char,
    pub bar_rest: char,
    pub bar_right: char,
    pub ellipsis: char,
    pub cursor: char,
    /// Spark bars, lowest first.
    pub sparks: [char; 8],
    pub gap: char,
    pub line: char,
    pub limit: char,
    pub corners: [char; 4],
    pub upright: char,
    pub open: char,
    pub closed: char,
    pub below: char,
    pub above: char,
}

/// For terminals that speak UTF-8.
pub const UNICODE: Glyphs = Glyphs {
    ascii: false,
    wires: WireSet::Unicode,
    waiting: '·',
    moving: '◐',
    paused: '‖',
    asks: '?',
    ok: '✔',
    failed: '✖',
    undone: '↶',
    aborted: '■',
    unknown: '∅',
    arrow: '▸',
    to: '→',
    need: '▲',
    dot: '●',
    ring: '○',
    more_left: '◂',
    more_right: '▸',
    more_up: '▴',
    more_down: '▾',
    bar_left: ' ',
    bar_full: '▄',
    bar_rest: '▁',
    bar_right: ' ',
    ellipsis: '…',
    cursor: '▌',
    sparks: ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
    gap: '·',
    line: '─',
    limit: '┄',
    corners: ['╭', '╮', '╰', '╯'],
    upright: '│',
    open: '▾',
    closed: '▸',
    below: '<',
    above: '>',
};

/// For everything else, and for `--ascii`.
pub const ASCII: Glyphs = Glyphs {
    ascii: true,
    wires: WireSet::Ascii,
    waiting: '.',
    moving: '~',
    paused: '=',
    asks: '?',
    ok: '+',
    failed: 'x',
    undone: '<',
    aborted: '#',
    unknown: '-',
    arrow: '>',
    to: '>',
    need: '!',
    dot: '*',
    ring: 'o',
    more_left: '<',
    more_right: '>',
    more_up: '^',
    more_down: 'v',
    bar_left: '[',
    bar_full: '#',
    bar_rest: '.',
    bar_right: ']',
    ellipsis: '_',
    cursor: '_',
    sparks: ['_', '.', ',', '-', '=', '+', '*', '#'],
    gap: ' ',
    line: '-',
    limit: '-',
    corners: ['.', '.', '\'', '\''],
    upright: '|',
    open: 'v',
    closed: '>',
    below: '<',
    above: '>',
};

impl Glyphs {
    /// The set for a locale: ASCII unless the first of these that is set and not empty says UTF-8 (`LC_ALL`, `LC_CTYPE`,
    /// `LANG`, in that order).
    pub fn for_locale(values: [Option<&str>; 3]) -> Self {
        let said = values.into_iter().flatten().find(|v| !v.is_empty()).unwrap_or("");
        let utf8 = said.to_ascii_lowercase().replace('-', "").contains("utf8");
        if utf8 { UNICODE } else { ASCII }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides() {
        assert!(!Glyphs::for_locale([None, None, Some("en_US.UTF-8")]).ascii);
        assert!(Glyphs::for_locale([Some("C"), None, Some("en_US.UTF-8")]).ascii);
        assert!(!Glyphs::for_locale([Some(""), Some("C.utf8"), None]).ascii);
        assert!(Glyphs::for_locale([None, None, None]).ascii);
    }
}
