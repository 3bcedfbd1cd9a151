//! Which value counts: built-in, then the file, then the environment, then the arguments; the last that speaks wins, and
//! where it came from is kept, because "why is it so" is what people ask.

use std::ffi::OsString;

use super::pattern::{Pattern, any_fits};
use super::settings::{Binding, Glyphs, READ_ONLY_CONTEXTS, Settings, When};
use crate::core::finding::{Finding, Findings, Place};
use crate::core::manifest::reader::{nearest, short};
use crate::core::snapshot::WriteMode;
use crate::core::text::Text;
use crate::text;

/// Who said it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Layer {
    /// Nobody: it comes with the program.
    BuiltIn,
    /// The settings file.
    File,
    /// An environment variable.
    Environment,
    /// An argument.
    Argument,
}

impl Layer {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "built in",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Argument => "argument",
        }
    }
}

/// A value, and who said it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said<T> {
    /// The value.
    pub value: T,
    /// Who said it.
    pub by: Layer,
}

impl<T> Said<T> {
    fn built_in(value: T) -> Self {
        Self { value, by: Layer::BuiltIn }
    }

    fn over(&mut self, value: Option<T>, by: Layer) {
        if let Some(value) = value {
            *self = Self { value, by };
        }
    }
}

/// What the arguments say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Given {
    /// Name of the theme.
    pub theme: Option<String>,
    /// When to use colour.
    pub color: Option<When>,
    /// Which characters to draw with.
    pub glyphs: Option<Glyphs>,
    /// Lifts what makes contexts read-only by their name.
    pub write: bool,
}

/// What counts for this person in this run.
#[derive(Clone, PartialEq, Debug)]
pub struct Person {
    /// Name of the theme.
    pub theme: Said<Text>,
    /// Where the file names the theme.
    pub theme_place: Option<Place>,
    /// When to use colour.
    pub color: Said<When>,
    /// Which characters to draw with.
    pub glyphs: Said<Glyphs>,
    /// Mouse on or off.
    pub mouse: Said<bool>,
    /// Contexts that are read-only by their name.
    pub read_only_contexts: Said<Vec<Pattern>>,
    /// Credential plugins that may be run, by name or path; `*` is any.
    pub credential_plugins: Said<Vec<Text>>,
    /// True when what makes contexts read-only is lifted for the place that was opened.
    pub write: bool,
    /// Keys that are not the built-in ones.
    pub keys: Vec<Binding>,
}

impl Default for Person {
    fn default() -> Self {
        let patterns = READ_ONLY_CONTEXTS.iter().filter_map(|p| Pattern::parse(p).ok()).collect();
        Self {
            theme: Said::built_in("terminal".into()),
            theme_place: None,
            color: Said::built_in(When::default()),
            glyphs: Said::built_in(Glyphs::default()),
            mouse: Said::built_in(false),
            read_only_contexts: Said::built_in(patterns),
            credential_plugins: Said::built_in(vec!["*".into()]),
            write: false,
            keys: Vec::new(),
        }
    }
}

impl Person {
    /// Lays the layers over each other. What is wrong with a variable is told, and the layer below counts. A variable that
    /// is set to nothing counts as not set; only the list of contexts may be made empty that way.
    pub fn of(file: Settings, env: impl Fn(&str) -> Option<OsString>, given: &Given) -> (Self, Findings) {
        let mut findings = Findings::default();
        let mut person = Self::default();
        let var = |name: &str| env(name).map(|v| v.to_string_lossy().into_owned());
        let set = |name: &str| var(name).filter(|v| !v.is_empty());

        person.theme_place = file.theme.as_ref().map(|t| t.place);
        person.theme.over(file.theme.map(|t| t.value), Layer::File);
        person.theme.over(set("FOOTPLATE_THEME").map(|v| Text::scrub(&v)), Layer::Environment);
        person.theme.over(given.theme.as_deref().map(Text::scrub), Layer::Argument);

        person.color.over(file.color, Layer::File);
        person.color.over(word(&set, "FOOTPLATE_COLOR", When::WORDS, &mut findings), Layer::Environment);
        person.color.over(given.color, Layer::Argument);

        person.glyphs.over(file.glyphs, Layer::File);
        person.glyphs.over(word(&set, "FOOTPLATE_GLYPHS", Glyphs::WORDS, &mut findings), Layer::Environment);
        person.glyphs.over(given.glyphs, Layer::Argument);

        let switch = [("true", true), ("false", false), ("on", true), ("off", false), ("1", true), ("0", false)];
        person.mouse.over(file.mouse, Layer::File);
        person.mouse.over(word(&set, "FOOTPLATE_MOUSE", &switch, &mut findings), Layer::Environment);

        person.read_only_contexts.over(file.read_only_contexts, Layer::File);
        if let Some(list) = var("FOOTPLATE_READ_ONLY_CONTEXTS") {
            let mut patterns = Vec::new();
            for raw in list.split(',').map(str::trim).filter(|p| !p.is_empty()) {
                match Pattern::parse(raw) {
                    Ok(pattern) => patterns.push(pattern),
                    Err((what, fix)) => findings.push(Finding::file("FOOTPLATE_READ_ONLY_CONTEXTS".into(), what, fix)),
                }
            }
            person.read_only_contexts = Said { value: patterns, by: Layer::Environment };
        }
        person.credential_plugins.over(file.credential_plugins, Layer::File);
        person.write = given.write;
        person.keys = file.keys;
        (person, findings)
    }

    /// Whether actions may leave for a context that was opened at the start; `named` when the person named it there, with
    /// `--env` or `--context`. What comes with the program minds only places that nobody named: the shell that still points
    /// at production since yesterday.
    pub fn write_mode(&self, context: &str, named: bool) -> WriteMode {
        let patterns = &self.read_only_contexts;
        let lifted = self.write || (named && patterns.by == Layer::BuiltIn);
        if !lifted && any_fits(&patterns.value, context) { WriteMode::ReadOnlyByPattern } else { WriteMode::ReadWrite }
    }

    /// The same for a context that the screen is switched to: what was said of the first place does not count there.
    pub fn write_mode_elsewhere(&self, context: &str) -> WriteMode {
        if any_fits(&self.read_only_contexts.value, context) {
            WriteMode::ReadOnlyByPattern
        } else {
            WriteMode::ReadWrite
        }
    }
}

/// A variable that holds one word of a list.
fn word<T: Copy>(
    set: &dyn Fn(&str) -> Option<String>,
    name: &str,
    words: &[(&str, T)],
    findings: &mut Findings,
) -> Option<T> {
    let raw = set(name)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == raw) {
        return Some(*value);
    }
    let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let fix = match nearest(&raw, list.iter().copied()) {
        Some(near) => text!("did you mean `{near}`?"),
        None => text!("set it to {}", list.join(" or ")),
    };
    let what = text!("the environment variable {name} cannot be `{}`", short(&raw));
    findings.push(Finding::file(text!("{name}"), what, fix));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::finding::Sources;

    fn person(file: &str, vars: &[(&str, &str)], given: &Given) -> (Person, String) {
        let mut sources = Sources::default();
        let id = sources.add("config.toml".into(), file.to_owned());
        let (settings, found) = super::super::settings::read(&sources, id);
        assert!(found.is_empty(), "{}", found.plain());
        let env = |key: &str| vars.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).into());
        let (person, findings) = Person::of(settings, env, given);
        (person, findings.plain())
    }

    #[test]
    fn the_last_that_speaks_wins() {
        let file = "theme = 'dark'\ncolor = 'never'\nglyphs = 'ascii'\nmouse = true\n";
        let vars = [("FOOTPLATE_THEME", "light"), ("FOOTPLATE_COLOR", "always"), ("FOOTPLATE_MOUSE", "off")];
        let given = Given { theme: Some("mono".into()), ..Given::default() };
        let none = Given::default();
        assert_eq!(person("", &[], &none).0, Person::default());
        let (one, _) = person(file, &[], &none);
        assert_eq!((one.theme.value.as_str(), one.theme.by), ("dark", Layer::File));
        assert_eq!((one.glyphs.value, one.mouse.value), (Glyphs::Ascii, true));
        let (two, _) = person(file, &vars, &none);
        assert_eq!((two.theme.value.as_str(), two.theme.by), ("light", Layer::Environment));
        assert_eq!((two.color.value, two.mouse.value), (When::Always, false));
        assert_eq!(two.glyphs, Said { value: Glyphs::Ascii, by: Layer::File });
        let (three, _) = person(file, &vars, &given);
        assert_eq!((three.theme.value.as_str(), three.theme.by), ("mono", Layer::Argument));
        let (four, _) = person(file, &[("FOOTPLATE_THEME", "")], &none);
        assert_eq!(four.theme.by, Layer::File, "set to nothing is not set");
    }

    #[test]
    fn a_wrong_variable_is_told_and_the_file_counts() {
        let vars = [("FOOTPLATE_GLYPHS", "asci"), ("FOOTPLATE_MOUSE", "2"), ("FOOTPLATE_READ_ONLY_CONTEXTS", "a,[b")];
        let (person, said) = person("glyphs = 'unicode'", &vars, &Given::default());
        assert_eq!(person.glyphs.value, Glyphs::Unicode);
        insta::assert_snapshot!(said, @"
        error: the environment variable FOOTPLATE_GLYPHS cannot be `asci`
         --> FOOTPLATE_GLYPHS
          = fix: did you mean `ascii`?

        error: the environment variable FOOTPLATE_MOUSE cannot be `2`
         --> FOOTPLATE_MOUSE
          = fix: set it to true or false or on or off or 1 or 0

        error: the pattern `[b` has `[`, which means nothing here
         --> FOOTPLATE_READ_ONLY_CONTEXTS
          = fix: write a name, with * for any text and ? for one character
        ");
    }

    #[test]
    fn production_is_read_only_until_it_is_named() {
        let (stray, _) = person("", &[], &Given::default());
        for name in ["prod-eu", "arn:aws:eks:eu-west-1:1:cluster/production", "PRD"] {
            assert_eq!(stray.write_mode(name, false), WriteMode::ReadOnlyByPattern, "{name}");
            assert_eq!(stray.write_mode(name, true), WriteMode::ReadWrite, "{name}");
            assert_eq!(stray.write_mode_elsewhere(name), WriteMode::ReadOnlyByPattern, "{name}");
        }
        for name in ["dev", "nonprod-eu", "staging"] {
            assert_eq!(stray.write_mode(name, false), WriteMode::ReadWrite, "{name}");
        }
        let own = "read_only_contexts = ['live']";
        let (careful, _) = person(own, &[], &Given::default());
        assert_eq!(careful.write_mode("live", true), WriteMode::ReadOnlyByPattern, "one's own list always holds");
        assert_eq!(careful.write_mode("prod", false), WriteMode::ReadWrite);
        let (lifted, _) = person(own, &[], &Given { write: true, ..Given::default() });
        assert_eq!(lifted.write_mode("live", true), WriteMode::ReadWrite);
        assert_eq!(lifted.write_mode_elsewhere("live"), WriteMode::ReadOnlyByPattern);
        let (free, _) = person(own, &[("FOOTPLATE_READ_ONLY_CONTEXTS", "")], &Given::default());
        assert_eq!(free.write_mode("live", false), WriteMode::ReadWrite, "an empty variable is an empty list");
    }
}
