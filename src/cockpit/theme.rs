//! Themes: what a meaning looks like. A role that a theme leaves out is taken from its parent theme, and what no theme says
//! from the role it is a kind of. How a theme is written is `theme/sheet.rs`. Nothing here draws, and no view names a
//! colour.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};

pub mod sheet;

use sheet::Look;
pub use sheet::Themes;

macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident = $name:literal, $of:expr;)*) => {
        /// What something on the screen means.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Role { $($(#[$doc])* $role,)* }

        impl Role {
            /// All of them, in the order of their definition.
            pub const ALL: &[Self] = &[$(Self::$role,)*];

            /// Its name in a theme file.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$role => $name,)* }
            }

            /// The role it is a kind of.
            const fn kind_of(self) -> Option<Self> {
                match self { $(Self::$role => $of,)* }
            }
        }
    };
}

roles! {
    /// Plain text.
    Text = "text", None;
    /// What may be read but need not.
    Dim = "dim", Some(Role::Text);
    /// What is only structure.
    Faint = "faint", Some(Role::Dim);
    /// The one accent: what moves, keys, the focus.
    Accent = "accent", Some(Role::Text);
    /// Names that head something.
    Title = "title", Some(Role::Text);
    /// Border of a pane.
    Border = "border", Some(Role::Faint);
    /// Border of the pane that has the focus.
    BorderFocus = "border-focus", Some(Role::Border);
    /// Done, healthy, passed.
    Ok = "ok", Some(Role::Text);
    /// On the move.
    Moving = "moving", Some(Role::Accent);
    /// Its turn has not come.
    Waiting = "waiting", Some(Role::Dim);
    /// Waits for a time or a person.
    Paused = "paused", Some(Role::Warn);
    /// Worth a look.
    Warn = "warn", Some(Role::Text);
    /// Failed.
    Bad = "bad", Some(Role::Text);
    /// A person is needed: the brightest thing on the screen.
    Need = "need", Some(Role::Warn);
    /// The selection.
    Select = "select", Some(Role::Text);
    /// A key to press.
    Key = "key", Some(Role::Accent);
    /// Wires of the graph.
    Wire = "wire", Some(Role::Faint);
    /// Wires of the selected path.
    WirePath = "wire-path", Some(Role::Text);
    /// The filled part of a weight bar.
    Bar = "bar", Some(Role::Moving);
    /// The rest of a weight bar.
    BarRest = "bar-rest", Some(Role::Faint);
    /// A measurement within its limit.
    Spark = "spark", Some(Role::Dim);
    /// A measurement beyond its limit.
    SparkOver = "spark-over", Some(Role::Bad);
    /// The line of a limit.
    Limit = "limit", Some(Role::Warn);
    /// The badge LIVE.
    Live = "live", Some(Role::Ok);
    /// The badges STALE, DOWN and CONNECTING.
    Stale = "stale", Some(Role::Warn);
    /// The badges FROZEN, REHEARSAL and REPLAY.
    Badge = "badge", Some(Role::Accent);
    /// A field that is typed into.
    Field = "field", Some(Role::Text);
    /// A button that has the focus.
    Button = "button", Some(Role::Select);
}

/// How many colours a terminal shows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Depth {
    /// None: every cell keeps the terminal's own colours; bold, dim and reverse stay.
    None,
    /// The 16 of ANSI.
    Ansi,
    /// 256.
    Indexed,
    /// 24 bit.
    True,
}

impl Depth {
    /// From the environment: `NO_COLOR` (not empty), then `COLORTERM`, then `TERM`.
    pub fn of(no_color: Option<&str>, colorterm: Option<&str>, term: Option<&str>) -> Self {
        if no_color.is_some_and(|v| !v.is_empty()) || term == Some("dumb") {
            return Self::None;
        }
        match (colorterm, term) {
            (Some("truecolor" | "24bit"), _) => Self::True,
            (_, Some(t)) if t.contains("256color") => Self::Indexed,
            _ => Self::Ansi,
        }
    }
}

/// A theme, resolved: a style for each role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Theme {
    /// Its name.
    pub name: String,
    styles: Vec<Style>,
}

/// Why there is no such theme.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("theme {theme}: {why}")]
pub struct ThemeError {
    /// Which theme.
    pub theme: String,
    /// What, where, and what would be right.
    pub why: String,
}

/// The name of the theme that works on dark and light alike: the terminal's own colours.
pub const DEFAULT: &str = "terminal";

impl Theme {
    /// One of the themes that come with the program.
    ///
    /// # Errors
    /// When none has this name.
    pub fn named(name: &str, depth: Depth) -> Result<Self, ThemeError> {
        Themes::default().named(name, depth)
    }

    /// The styles that follow from what a theme and its parents say of roles.
    fn of(name: &str, looks: &BTreeMap<Role, Look>, depth: Depth) -> Self {
        let styles = Role::ALL.iter().map(|&role| resolve(role, looks, depth)).collect();
        Self { name: name.to_owned(), styles }
    }

    /// The style of a role.
    pub fn style(&self, role: Role) -> Style {
        self.styles.get(role as usize).copied().unwrap_or_default()
    }
}

/// A role's own look, over that of the role it is a kind of.
fn resolve(role: Role, looks: &BTreeMap<Role, Look>, depth: Depth) -> Style {
    let mut style = role.kind_of().map_or_else(Style::new, |of| resolve(of, looks, depth));
    let Some(look) = looks.get(&role) else { return style };
    if let Some(c) = look.fg {
        style.fg = Some(reduce(c, depth));
    }
    if let Some(c) = look.bg {
        style.bg = Some(reduce(c, depth));
    }
    let switches = [
        (look.bold, Modifier::BOLD),
        (look.dim, Modifier::DIM),
        (look.italic, Modifier::ITALIC),
        (look.underline, Modifier::UNDERLINED),
        (look.reverse, Modifier::REVERSED),
    ];
    for (on, modifier) in switches {
        match on {
            Some(true) => style.add_modifier |= modifier,
            Some(false) => style.add_modifier -= modifier,
            None => {}
        }
    }
    style
}

/// The nearest colour that the terminal shows.
fn reduce(colour: Color, depth: Depth) -> Color {
    match (depth, colour) {
        (Depth::None, _) => Color::Reset,
        (Depth::Ansi | Depth::Indexed, Color::Rgb(r, g, b)) => {
            let cube = |v: u8| (u16::from(v) * 5 + 127) / 255;
            if depth == Depth::Indexed {
                let spread = r.max(g).max(b) - r.min(g).min(b);
                if spread < 12 {
                    let grey = (u16::from(r) * 23 + 127) / 255;
                    return Color::Indexed(232 + u8::try_from(grey).unwrap_or(23));
                }
                let index = 16 + 36 * cube(r) + 6 * cube(g) + cube(b);
                return Color::Indexed(u8::try_from(index).unwrap_or(15));
            }
            nearest_ansi(r, g, b)
        }
        (Depth::Ansi, Color::Indexed(n)) if n >= 16 => {
            if n >= 232 {
                let v = (n - 232) * 10 + 8;
                return nearest_ansi(v, v, v);
            }
            let step = |v: u8| if v == 0 { 0 } else { v * 40 + 55 };
            let n = n - 16;
            nearest_ansi(step(n / 36), step(n / 6 % 6), step(n % 6))
        }
        (_, c) => c,
    }
}

fn nearest_ansi(r: u8, g: u8, b: u8) -> Color {
    const TABLE: [(u8, u8, u8, Color); 16] = [
        (0, 0, 0, Color::Black),
        (205, 0, 0, Color::Red),
        (0, 205, 0, Color::Green),
        (205, 205, 0, Color::Yellow),
        (0, 0, 238, Color::Blue),
        (205, 0, 205, Color::Magenta),
        (0, 205, 205, Color::Cyan),
        (229, 229, 229, Color::Gray),
        (127, 127, 127, Color::DarkGray),
        (255, 92, 92, Color::LightRed),
        (92, 255, 92, Color::LightGreen),
        (255, 255, 92, Color::LightYellow),
        (92, 92, 255, Color::LightBlue),
        (255, 92, 255, Color::LightMagenta),
        (92, 255, 255, Color::LightCyan),
        (255, 255, 255, Color::White),
    ];
    let far = |x: u8, y: u8| i32::from(x.abs_diff(y)).pow(2);
    TABLE.iter().min_by_key(|t| far(r, t.0) + far(g, t.1) + far(b, t.2)).map_or(Color::Reset, |t| t.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_theme_that_comes_along_is_whole() {
        for (name, text) in sheet::builtin() {
            let theme = Theme::named(name, Depth::True).unwrap();
            assert_eq!(theme.name, name);
            assert!(text.starts_with("# "), "{name} does not say what it is for");
            let need = theme.style(Role::Need);
            assert!(
                need.add_modifier.contains(Modifier::REVERSED) || need.bg.is_some(),
                "{name}: NEEDS YOU must shine"
            );
            assert!(
                theme.style(Role::Select).add_modifier.contains(Modifier::REVERSED)
                    || theme.style(Role::Select).bg.is_some()
            );
        }
    }

    #[test]
    fn without_colour_no_cell_has_one() {
        for (name, _) in sheet::builtin() {
            let theme = Theme::named(name, Depth::None).unwrap();
            for &role in Role::ALL {
                let style = theme.style(role);
                for colour in [style.fg, style.bg].into_iter().flatten() {
                    assert_eq!(colour, Color::Reset, "{name} {}", role.name());
                }
            }
        }
    }

    #[test]
    fn colours_come_down_to_what_the_terminal_shows() {
        assert_eq!(reduce(Color::Rgb(250, 90, 90), Depth::Ansi), Color::LightRed);
        assert_eq!(reduce(Color::Rgb(255, 0, 0), Depth::Indexed), Color::Indexed(196));
        assert_eq!(reduce(Color::Rgb(128, 128, 128), Depth::Indexed), Color::Indexed(244));
        assert_eq!(reduce(Color::Indexed(196), Depth::Ansi), Color::Red);
        assert_eq!(Depth::of(Some("1"), Some("truecolor"), None), Depth::None);
        assert_eq!(Depth::of(Some(""), Some("truecolor"), None), Depth::True);
        assert_eq!(Depth::of(None, None, Some("xterm-256color")), Depth::Indexed);
        assert_eq!(Depth::of(None, None, Some("xterm")), Depth::Ansi);
    }
}
