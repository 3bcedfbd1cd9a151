//! Themes as files: TOML with a palette, roles, and a parent whose roles count where this one is silent. Those that come
//! with the program and a person's own are read alike; all that is wrong with a file is told, with its place.

use std::collections::BTreeMap;

use ratatui::style::Color;

use super::{Depth, Role, Theme, ThemeError};
use crate::config::tree;
use crate::core::finding::{At, FileId, Finding, Findings, Sources};
use crate::core::manifest::reader::{Reader, nearest, short};
use crate::core::manifest::yaml::{Kind, Node};
use crate::core::text::Text;
use crate::text;

/// What a theme says of one role.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Look {
    pub fg: Option<Color>,
    pub bg: Option<Color>,
    pub bold: Option<bool>,
    pub dim: Option<bool>,
    pub italic: Option<bool>,
    pub underline: Option<bool>,
    pub reverse: Option<bool>,
}

/// One theme file, read.
#[derive(Clone, PartialEq, Debug, Default)]
struct Sheet {
    parent: Option<At<Text>>,
    looks: BTreeMap<Role, Look>,
}

const BUILTIN: &[(&str, &str)] = &[
    ("terminal", include_str!("../../../themes/terminal.toml")),
    ("dark", include_str!("../../../themes/dark.toml")),
    ("light", include_str!("../../../themes/light.toml")),
    ("mono", include_str!("../../../themes/mono.toml")),
    ("deuteranopia", include_str!("../../../themes/deuteranopia.toml")),
    ("tritanopia", include_str!("../../../themes/tritanopia.toml")),
    ("high-contrast", include_str!("../../../themes/high-contrast.toml")),
];

/// Names and texts of the themes that come with the program.
pub fn builtin() -> impl Iterator<Item = (&'static str, &'static str)> {
    BUILTIN.iter().copied()
}

/// The themes there are: those that come with the program, and a person's own.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Themes {
    /// By name; or why one cannot be used.
    own: BTreeMap<String, Result<Sheet, Text>>,
}

impl Themes {
    /// With a person's own: the name of each, which is that of its file, and the file.
    pub fn with(sources: &Sources, files: &[(String, FileId)]) -> (Self, Findings) {
        let mut all = Findings::default();
        let mut own = BTreeMap::new();
        let mut parents = Vec::new();
        for (name, file) in files {
            let (sheet, mut findings) = read(sources, *file, name);
            if builtin().any(|(known, _)| known == name) {
                let what = text!("the theme {name} comes with the program");
                let fix = text!("give the file another name, and begin it with parent = \"{name}\"");
                findings.push(Finding::file(sources.name(*file), what, fix));
            }
            parents.extend(sheet.parent.clone().map(|parent| (name, parent)));
            let broken = findings.sorted().first().map(said);
            own.insert(name.clone(), broken.map_or(Ok(sheet), Err));
            all.append(findings);
        }
        let mut themes = Self { own };
        for (name, parent) in parents {
            let Some((what, fix)) = themes.orphaned(name, &parent.value) else { continue };
            let mut findings = Findings::default();
            findings.error(sources, parent.place, what, fix);
            if let Some(Ok(_)) = themes.own.get(name) {
                themes.own.insert(name.clone(), Err(findings.sorted().first().map(said).unwrap_or_default()));
            }
            all.append(findings);
        }
        (themes, all)
    }

    /// What is wrong with a parent, and what would be right; none when nothing is.
    fn orphaned(&self, name: &str, parent: &str) -> Option<(Text, Text)> {
        let known = || self.names().into_iter().filter(move |n| *n != name);
        if !known().any(|n| n == parent) {
            let fix = match nearest(parent, known()) {
                Some(near) => text!("did you mean `{near}`?"),
                None => text!("there are {}", known().collect::<Vec<_>>().join(", ")),
            };
            return Some((text!("the parent `{}` is no theme", short(parent)), fix));
        }
        let mut at = parent.to_owned();
        for _ in 0..=self.own.len() {
            match self.own.get(&at) {
                None => return None,
                Some(Err(why)) => {
                    return Some((text!("its parent {at} cannot be used: {why}"), "mend that one".into()));
                }
                Some(Ok(sheet)) => match &sheet.parent {
                    None => return None,
                    Some(next) if next.value == *name => break,
                    Some(next) => at = next.value.to_string(),
                },
            }
        }
        let fix = text!("let one of them begin from a theme that comes with the program, such as {}", super::DEFAULT);
        Some((text!("the theme {name} is its own parent, through {at}"), fix))
    }

    /// The names of all, those that come with the program first.
    pub fn names(&self) -> Vec<&str> {
        builtin().map(|(name, _)| name).chain(self.own.keys().map(String::as_str)).collect()
    }

    /// The theme of this name.
    ///
    /// # Errors
    /// When there is none of this name, or it cannot be used; says why.
    pub fn named(&self, name: &str, depth: Depth) -> Result<Theme, ThemeError> {
        let wrong = |why: String| ThemeError { theme: short(name).to_string(), why };
        let mut chain = Vec::new();
        let mut next = Some(name.to_owned());
        while let Some(at) = next.take() {
            let sheet = match self.own.get(&at) {
                Some(Ok(sheet)) => sheet.clone(),
                Some(Err(why)) => return Err(wrong(why.to_string())),
                None => match builtin().find(|(known, _)| *known == at) {
                    Some((name, text)) => of_program(name, text),
                    None => return Err(wrong(self.unknown(name))),
                },
            };
            next = sheet.parent.as_ref().map(|p| p.value.to_string());
            chain.push(sheet);
        }
        let mut looks: BTreeMap<Role, Look> = BTreeMap::new();
        for sheet in chain.iter().rev() {
            for (role, look) in &sheet.looks {
                let entry = looks.entry(*role).or_default();
                *entry = Look {
                    fg: look.fg.or(entry.fg),
                    bg: look.bg.or(entry.bg),
                    bold: look.bold.or(entry.bold),
                    dim: look.dim.or(entry.dim),
                    italic: look.italic.or(entry.italic),
                    underline: look.underline.or(entry.underline),
                    reverse: look.reverse.or(entry.reverse),
                };
            }
        }
        Ok(Theme::of(name, &looks, depth))
    }

    /// What to say of a name that no theme has.
    pub fn unknown(&self, name: &str) -> String {
        match nearest(name, self.names().into_iter()) {
            Some(near) => format!("there is none of that name; did you mean {near}?"),
            None => format!("there is none of that name; there are {}", self.names().join(", ")),
        }
    }
}

/// A finding in one line.
fn said(finding: &Finding) -> Text {
    let place = finding.spot.as_ref().map_or_else(|| finding.file.clone(), |spot| text!("{spot}"));
    text!("{place}: {}", finding.message)
}

fn of_program(name: &str, text: &str) -> Sheet {
    let mut sources = Sources::default();
    let file = sources.add(text!("themes/{name}.toml"), text.to_owned());
    // That they have no findings is tested.
    read(&sources, file, name).0
}

fn read(sources: &Sources, file: FileId, name: &str) -> (Sheet, Findings) {
    let mut findings = Findings::default();
    let tree = tree::parse(sources, file, &mut findings);
    let mut reader = Reader::new(sources, file);
    let sheet = sheet(&mut reader, &tree, name).unwrap_or_default();
    findings.append(reader.finish());
    (sheet, findings)
}

fn sheet(r: &mut Reader<'_>, node: &Node<'_>, name: &str) -> Option<Sheet> {
    let top = r.fields(node, "a theme", &["name", "parent", "palette", "roles"])?;
    if let Some(n) = top.get("name")
        && let Some(said) = r.line(n, "name")
        && said != *name
    {
        r.error(n.span, text!("this theme is called `{}`, its file {name}.toml", short(&said)), "give both one name");
    }
    let parent = top.get("parent").and_then(|n| Some(At { value: r.line(n, "parent")?, place: r.place(n.span) }));
    let mut palette = BTreeMap::new();
    if let Some(n) = top.get("palette") {
        for (key, value) in r.entries(n, "palette").unwrap_or_default() {
            if let Some(colour) = colour(r, value, &format!("palette.{}", short(&key.text)), &BTreeMap::new()) {
                palette.insert(key.text.to_string(), colour);
            }
        }
    }
    let mut looks = BTreeMap::new();
    if let Some(n) = top.get("roles") {
        let known: Vec<&str> = Role::ALL.iter().map(|role| role.name()).collect();
        let given = r.fields(n, "roles", &known);
        for &role in given.iter().flat_map(|_| Role::ALL) {
            let Some(n) = given.as_ref().and_then(|g| g.get(role.name())) else { continue };
            looks.insert(role, look(r, n, role, &palette));
        }
    }
    Some(Sheet { parent, looks })
}

fn look(r: &mut Reader<'_>, node: &Node<'_>, role: Role, palette: &BTreeMap<String, Color>) -> Look {
    let what = format!("roles.{}", role.name());
    if !matches!(node.kind, Kind::Map(_)) {
        return Look { fg: colour(r, node, &what, palette), ..Look::default() };
    }
    let switches = ["bold", "dim", "italic", "underline", "reverse"];
    let Some(given) = r.fields(node, &what, &[&["fg", "bg"], switches.as_slice()].concat()) else {
        return Look::default();
    };
    let mut paint = |key: &str| given.get(key).and_then(|n| colour(r, n, &format!("{what}.{key}"), palette));
    let (fg, bg) = (paint("fg"), paint("bg"));
    let [bold, dim, italic, underline, reverse] =
        switches.map(|key| given.get(key).and_then(|n| r.boolean(n, &format!("{what}.{key}"))));
    Look { fg, bg, bold, dim, italic, underline, reverse }
}

fn colour(r: &mut Reader<'_>, node: &Node<'_>, what: &str, palette: &BTreeMap<String, Color>) -> Option<Color> {
    let raw = r.scalar(node, what)?;
    let plain = matches!(node.kind, Kind::Scalar { plain: true, .. });
    let found =
        if plain { raw.parse().ok().map(Color::Indexed) } else { palette.get(raw).copied().or_else(|| named(raw)) };
    if found.is_none() {
        let names = palette.keys().map(String::as_str).chain(ANSI.iter().map(|(name, _)| *name));
        let fix = match nearest(raw, names) {
            Some(near) => text!("did you mean `{near}`?"),
            None => "write an ANSI name (red, bright-red, default), #rrggbb, 0 to 255, or a name of [palette]".into(),
        };
        r.error(node.span, text!("{what} is `{}`, which is no colour", short(raw)), fix);
    }
    found
}

fn named(name: &str) -> Option<Color> {
    if let Some(hex) = name.strip_prefix('#') {
        let good = hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = good.then(|| u32::from_str_radix(hex, 16).ok())??;
        let [_, r, g, b] = parts.to_be_bytes();
        return Some(Color::Rgb(r, g, b));
    }
    ANSI.iter().find(|(known, _)| *known == name).map(|(_, colour)| *colour)
}

const ANSI: &[(&str, Color)] = &[
    ("default", Color::Reset),
    ("black", Color::Black),
    ("red", Color::Red),
    ("green", Color::Green),
    ("yellow", Color::Yellow),
    ("blue", Color::Blue),
    ("magenta", Color::Magenta),
    ("cyan", Color::Cyan),
    ("white", Color::Gray),
    ("bright-black", Color::DarkGray),
    ("bright-red", Color::LightRed),
    ("bright-green", Color::LightGreen),
    ("bright-yellow", Color::LightYellow),
    ("bright-blue", Color::LightBlue),
    ("bright-magenta", Color::LightMagenta),
    ("bright-cyan", Color::LightCyan),
    ("bright-white", Color::White),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn own(files: &[(&str, &str)]) -> (Themes, String) {
        let mut sources = Sources::default();
        let files: Vec<(String, FileId)> = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), sources.add(text!("{name}.toml"), (*text).to_owned())))
            .collect();
        let (themes, findings) = Themes::with(&sources, &files);
        (themes, findings.plain())
    }

    #[test]
    fn those_that_come_along_have_no_fault() {
        for (name, text) in builtin() {
            let mut sources = Sources::default();
            let file = sources.add(text!("{name}.toml"), text.to_owned());
            let (_, findings) = read(&sources, file, name);
            assert!(findings.is_empty(), "{}", findings.plain());
        }
    }

    #[test]
    fn a_theme_may_override_a_part() {
        let text = "name = 'mine'\nparent = 'dark'\n[palette]\nsea = '#00aaff'\n[roles]\naccent = 'sea'\nbad = {bold = false}\n";
        let (themes, said) = own(&[("mine", text), ("deeper", "parent = 'mine'\nroles = {bad = 9}\n")]);
        assert_eq!(said, "");
        let get = |name: &str| themes.named(name, Depth::True).unwrap();
        let (mine, dark, deeper) = (get("mine"), get("dark"), get("deeper"));
        assert_eq!(mine.style(Role::Accent).fg, Some(Color::Rgb(0, 0xaa, 0xff)));
        assert_eq!(mine.style(Role::Key).fg, Some(Color::Rgb(0, 0xaa, 0xff)), "a key is a kind of accent");
        assert_eq!(mine.style(Role::Bad).fg, dark.style(Role::Bad).fg);
        assert_eq!(mine.style(Role::Ok), dark.style(Role::Ok));
        assert_eq!(deeper.style(Role::Bad).fg, Some(Color::Indexed(9)));
        assert_eq!(deeper.style(Role::Accent), mine.style(Role::Accent));
        assert_eq!(themes.names().len(), builtin().count() + 2);
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let bad = "name = 'other'\nparent = 'drak'\ncolour = 1\n[palette]\nsea = '#00aaf'\n[roles]\nbda = 'red'\n\
                   bad = 'rde'\nok = {blink = true}\nwarn = {fg = 300, bold = 'yes'}\n";
        let (themes, said) = own(&[("bad", bad), ("fine", "roles = {ok = 'green'}")]);
        insta::assert_snapshot!(said, @"
        error: this theme is called `other`, its file bad.toml
         --> bad.toml:1:8
        1 | name = 'other'
          |        ^^^^^^^
          = fix: give both one name

        error: the parent `drak` is no theme
         --> bad.toml:2:10
        2 | parent = 'drak'
          |          ^^^^^^
          = fix: did you mean `dark`?

        error: a theme has no key `colour`
         --> bad.toml:3:1
        3 | colour = 1
          | ^^^^^^
          = fix: known keys: name, parent, palette, roles

        error: palette.sea is `#00aaf`, which is no colour
         --> bad.toml:5:7
        5 | sea = '#00aaf'
          |       ^^^^^^^^
          = fix: write an ANSI name (red, bright-red, default), #rrggbb, 0 to 255, or a name of [palette]

        error: roles has no key `bda`
         --> bad.toml:7:1
        7 | bda = 'red'
          | ^^^
          = fix: did you mean `bad`?

        error: roles.bad is `rde`, which is no colour
         --> bad.toml:8:7
        8 | bad = 'rde'
          |       ^^^^^
          = fix: did you mean `red`?

        error: roles.ok has no key `blink`
         --> bad.toml:9:7
        9 | ok = {blink = true}
          |       ^^^^^
          = fix: known keys: fg, bg, bold, dim, italic, underline, reverse

        error: roles.warn.fg is `300`, which is no colour
          --> bad.toml:10:14
        10 | warn = {fg = 300, bold = 'yes'}
           |              ^^^
           = fix: write an ANSI name (red, bright-red, default), #rrggbb, 0 to 255, or a name of [palette]

        error: roles.warn.bold must be true or false, not text
          --> bad.toml:10:26
        10 | warn = {fg = 300, bold = 'yes'}
           |                          ^^^^^
           = fix: write true or false
        ");
        assert!(themes.named("bad", Depth::True).unwrap_err().to_string().contains("bad.toml:1:8"));
        assert!(themes.named("fine", Depth::True).is_ok());
    }

    #[test]
    fn parents_are_themes_and_go_in_no_circle() {
        let (themes, said) = own(&[
            ("a", "parent = 'b'"),
            ("b", "parent = 'a'"),
            ("c", "parent = 'drak'"),
            ("d", "parent = 'c'"),
            ("dark", "roles = {ok = 'green'}"),
        ]);
        insta::assert_snapshot!(said, @r#"
        error: the theme a is its own parent, through b
         --> a.toml:1:10
        1 | parent = 'b'
          |          ^^^
          = fix: let one of them begin from a theme that comes with the program, such as terminal

        error: its parent a cannot be used: a.toml:1:10: the theme a is its own parent, through b
         --> b.toml:1:10
        1 | parent = 'a'
          |          ^^^
          = fix: mend that one

        error: the parent `drak` is no theme
         --> c.toml:1:10
        1 | parent = 'drak'
          |          ^^^^^^
          = fix: did you mean `dark`?

        error: its parent c cannot be used: c.toml:1:10: the parent `drak` is no theme
         --> d.toml:1:10
        1 | parent = 'c'
          |          ^^^
          = fix: mend that one

        error: the theme dark comes with the program
         --> dark.toml
          = fix: give the file another name, and begin it with parent = "dark"
        "#);
        for name in ["a", "b", "c", "d", "dark", "nope"] {
            assert!(themes.named(name, Depth::True).is_err(), "{name}");
        }
        assert!(Theme::named("nope", Depth::True).unwrap_err().to_string().contains("deuteranopia"));
    }

    proptest::proptest! {
        #[test]
        fn any_two_files_are_answered(a in "(parent = '[ab]'\n)?\\PC{0,60}", b in "(parent = '[ab]'\n)?(roles = \\{ok = '\\PC{0,8}'\\})?") {
            let (themes, _) = own(&[("a", &a), ("b", &b)]);
            let _ = themes.named("a", Depth::True);
        }
    }
}
