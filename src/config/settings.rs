//! `config.toml`, a person's own settings, as typed values with their places. Which keys there are is here and nowhere
//! else: the template and the documentation are held to [`ALL`]. What else decides (environment, arguments) is
//! `layers.rs`; which actions and themes exist is the cockpit's.

use clap::ValueEnum;

use super::pattern::Pattern;
use super::tree;
use crate::core::finding::{At, FileId, Findings, Sources};
use crate::core::manifest::reader::{Reader, short};
use crate::core::manifest::yaml::{Kind, Node};
use crate::core::text::Text;
use crate::text;

/// When to use colour.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum When {
    /// On a terminal that can, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which characters to draw with.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Glyphs {
    /// Unicode where the locale is UTF-8.
    #[default]
    Auto,
    /// Box drawing, braille, symbols.
    Unicode,
    /// Seven bits.
    Ascii,
}

impl When {
    /// Its words, the same as those of the argument.
    pub const WORDS: &[(&str, Self)] = &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

impl Glyphs {
    /// Its words, the same as those of the argument.
    pub const WORDS: &[(&str, Self)] = &[("auto", Self::Auto), ("unicode", Self::Unicode), ("ascii", Self::Ascii)];
}

/// One setting, for the template and the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Its value when nobody says otherwise, as TOML.
    pub default: &'static str,
    /// The environment variable that goes before the file; empty for none.
    pub variable: &'static str,
    /// The argument that goes before both; empty for none.
    pub argument: &'static str,
    /// What it does, line by line.
    pub about: &'static [&'static str],
}

/// Every setting but the keys, in the order of the template.
pub const ALL: &[Setting] = &[
    Setting {
        key: "theme",
        default: "\"terminal\"",
        variable: "FOOTPLATE_THEME",
        argument: "--theme",
        about: &[
            "How meanings look: terminal (your terminal's own colours), dark, light, mono, deuteranopia, tritanopia,",
            "high-contrast, or NAME for themes/NAME.toml beside this file (`footplate generate themes dark` is one to",
            "begin with).",
        ],
    },
    Setting {
        key: "color",
        default: "\"auto\"",
        variable: "FOOTPLATE_COLOR",
        argument: "--color",
        about: &["auto (on a terminal that can, unless NO_COLOR is set), always, never."],
    },
    Setting {
        key: "glyphs",
        default: "\"auto\"",
        variable: "FOOTPLATE_GLYPHS",
        argument: "--glyphs",
        about: &["Characters to draw with: auto (unicode where the locale is UTF-8), unicode, ascii."],
    },
    Setting {
        key: "mouse",
        default: "false",
        variable: "FOOTPLATE_MOUSE",
        argument: "",
        about: &["true scrolls with the wheel, and takes selecting text with the mouse away. :mouse changes it."],
    },
    Setting {
        key: "read_only_contexts",
        default: "[\"*prod*\", \"*prd*\", \"!*nonprod*\", \"!*non-prod*\", \"!*non_prod*\"]",
        variable: "FOOTPLATE_READ_ONLY_CONTEXTS",
        argument: "--write",
        about: &[
            "Kube contexts that are read-only by their name: * is any text, ? one character, ! an exception. There",
            "pause works as everywhere, abort and undo want a word typed, and all else is refused. The default holds",
            "only where you did not name the place yourself, with --env or --context; a list of your own always holds.",
            "--write lifts it for one run.",
        ],
    },
    Setting {
        key: "credential_plugins",
        default: "[\"*\"]",
        variable: "",
        argument: "",
        about: &[
            "Credential plugins (users[].user.exec of a kubeconfig) that may be run: names, which are looked up on PATH, or",
            "paths. A kubeconfig may name any command; \"*\" runs them all, [] runs none.",
        ],
    },
];

/// The built-in patterns of contexts that are read-only where nobody named them.
pub const READ_ONLY_CONTEXTS: &[&str] = &["*prod*", "*prd*", "!*nonprod*", "!*non-prod*", "!*non_prod*"];

/// The keys of one action.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The id of the action (`train.pause`).
    pub action: At<Text>,
    /// All keys that it shall have; none takes its keys away.
    pub keys: Vec<At<Text>>,
}

/// What the file says; none where it is silent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    /// Name of the theme.
    pub theme: Option<At<Text>>,
    /// When to use colour.
    pub color: Option<When>,
    /// Which characters to draw with.
    pub glyphs: Option<Glyphs>,
    /// Mouse on or off.
    pub mouse: Option<bool>,
    /// Contexts that are read-only by their name.
    pub read_only_contexts: Option<Vec<Pattern>>,
    /// Credential plugins that may be run, by name or path; `*` is any.
    pub credential_plugins: Option<Vec<Text>>,
    /// Keys, action by action, in the order of the file.
    pub keys: Vec<Binding>,
}

/// Reads the file. What could be read is given even when findings are errors.
pub fn read(sources: &Sources, file: FileId) -> (Settings, Findings) {
    let mut findings = Findings::default();
    let tree = tree::parse(sources, file, &mut findings);
    let mut reader = Reader::new(sources, file);
    let settings = settings(&mut reader, &tree).unwrap_or_default();
    findings.append(reader.finish());
    (settings, findings)
}

fn settings(r: &mut Reader<'_>, node: &Node<'_>) -> Option<Settings> {
    let known: Vec<&str> = ALL.iter().map(|s| s.key).chain(["keys"]).collect();
    let top = r.fields(node, "config.toml", &known)?;
    let theme = top.get("theme").and_then(|n| Some(At { value: r.line(n, "theme")?, place: r.place(n.span) }));
    let color = top.get("color").and_then(|n| r.word(n, "color", When::WORDS));
    let glyphs = top.get("glyphs").and_then(|n| r.word(n, "glyphs", Glyphs::WORDS));
    let mouse = top.get("mouse").and_then(|n| r.boolean(n, "mouse"));
    let read_only_contexts = top.get("read_only_contexts").map(|n| patterns(r, n));
    let credential_plugins = top.get("credential_plugins").map(|n| plugins(r, n));
    let mut keys = Vec::new();
    if let Some(n) = top.get("keys")
        && let Some(entries) = r.entries(n, "keys")
    {
        bindings(r, "", entries, &mut keys);
    }
    Some(Settings { theme, color, glyphs, mouse, read_only_contexts, credential_plugins, keys })
}

fn patterns(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<Pattern> {
    let mut out: Vec<Pattern> = Vec::new();
    for item in r.list(node, "read_only_contexts") {
        let Some(raw) = r.scalar(item, "an entry of read_only_contexts") else { continue };
        match Pattern::parse(raw) {
            Ok(pattern) if out.contains(&pattern) => {
                r.error(item.span, text!("read_only_contexts names `{pattern}` twice"), "keep one of them");
            }
            Ok(pattern) => out.push(pattern),
            Err((what, fix)) => r.error(item.span, what, fix),
        }
    }
    out
}

/// An entry that cannot be read allows nothing, nor does a list that is none.
fn plugins(r: &mut Reader<'_>, node: &Node<'_>) -> Vec<Text> {
    let mut out: Vec<Text> = Vec::new();
    for item in r.list(node, "credential_plugins") {
        let Some(raw) = r.scalar(item, "an entry of credential_plugins") else { continue };
        let name = Text::scrub(raw);
        if name.is_empty() || *name != *raw || (raw.contains('*') && raw != "*") {
            let what = text!("credential_plugins cannot name `{}`", short(raw));
            r.error(item.span, what, "write the name of a program or its path; \"*\" alone is any");
        } else {
            out.push(name);
        }
    }
    out
}

/// The actions of a table. `train.pause = […]` and `"train.pause" = […]` are the same to a reader, and so they are here.
fn bindings(
    r: &mut Reader<'_>,
    before: &str,
    entries: &[(crate::core::manifest::yaml::Key<'_>, Node<'_>)],
    out: &mut Vec<Binding>,
) {
    for (key, value) in entries {
        let id = if before.is_empty() { key.text.to_string() } else { format!("{before}.{}", key.text) };
        if let Kind::Map(inner) = &value.kind {
            bindings(r, &id, inner, out);
            continue;
        }
        if value.kind == Kind::Told {
            continue;
        }
        let action = At { value: short(&id), place: r.place(key.span) };
        if let Some(first) = out.iter().find(|b| b.action.value == action.value) {
            let also = ("first here".into(), (first.action.place.start, first.action.place.end));
            r.error_also(key.span, text!("the keys of {id} are there twice"), "keep one of them", also);
            continue;
        }
        let one = std::slice::from_ref(value);
        let items = if matches!(value.kind, Kind::Scalar { plain: false, .. }) { one } else { r.list(value, &id) };
        let mut keys = Vec::new();
        for item in items {
            let Some(raw) = r.scalar(item, &format!("a key of {id}")) else { continue };
            keys.push(At { value: short(raw), place: r.place(item.span) });
        }
        out.push(Binding { action, keys });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Settings, String) {
        let mut sources = Sources::default();
        let file = sources.add("config.toml".into(), text.to_owned());
        let (settings, findings) = read(&sources, file);
        (settings, findings.plain())
    }

    #[test]
    fn every_setting_is_read() {
        let (settings, said) = of(
            "theme = 'dark'\ncolor = 'never'\nglyphs = 'ascii'\nmouse = true\nread_only_contexts = ['live-*']\n\
             credential_plugins = ['aws', '/opt/kubelogin']\n[keys]\n'train.pause' = ['f2', 'p']\nzoom.fit = '='\nfilter = []\n",
        );
        assert_eq!(said, "");
        assert_eq!(settings.theme.unwrap().value, *"dark");
        assert_eq!((settings.color, settings.glyphs), (Some(When::Never), Some(Glyphs::Ascii)));
        assert_eq!(settings.mouse, Some(true));
        assert_eq!(settings.read_only_contexts.unwrap(), [Pattern::parse("live-*").unwrap()]);
        assert_eq!(settings.credential_plugins.unwrap(), ["aws", "/opt/kubelogin"].map(Text::from));
        let keys: Vec<(String, Vec<String>)> = settings
            .keys
            .iter()
            .map(|b| (b.action.value.to_string(), b.keys.iter().map(|k| k.value.to_string()).collect()))
            .collect();
        let wanted = [("train.pause", vec!["f2", "p"]), ("zoom.fit", vec!["="]), ("filter", vec![])];
        let wanted = wanted.map(|(id, keys)| (id.to_owned(), keys.into_iter().map(str::to_owned).collect()));
        assert_eq!(keys, wanted);
    }

    #[test]
    fn a_list_of_plugins_that_cannot_be_read_allows_none() {
        for text in ["'aws'", "1", "[[]]", "['']", "['aws*']", "[\"a\\u001bb\"]"] {
            let (settings, said) = of(&format!("credential_plugins = {text}\n"));
            assert_eq!(settings.credential_plugins, Some(Vec::new()), "{text}");
            assert!(said.starts_with("error: "), "{text}: {said}");
        }
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(of(""), (Settings::default(), String::new()));
        assert_eq!(of("# only a word\n[keys]\n"), (Settings::default(), String::new()));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let (_, said) = of("them = 'dark'\nmouse = 'yes'\nglyphs = 'asci'\nread_only_contexts = 'prod'\n\
             [keys]\ntrain.pause = 1\n'train.undo' = [1]\ntrain.undo = ['u']\n");
        insta::assert_snapshot!(said, @"
        error: config.toml has no key `them`
         --> config.toml:1:1
        1 | them = 'dark'
          | ^^^^
          = fix: did you mean `theme`?

        error: mouse must be true or false, not text
         --> config.toml:2:9
        2 | mouse = 'yes'
          |         ^^^^^
          = fix: write true or false

        error: glyphs cannot be `asci`
         --> config.toml:3:10
        3 | glyphs = 'asci'
          |          ^^^^^^
          = fix: did you mean `ascii`?

        error: read_only_contexts must be a list ([a, b]), not text
         --> config.toml:4:22
        4 | read_only_contexts = 'prod'
          |                      ^^^^^^
          = fix: write a list ([a, b])

        error: train.pause must be a list ([a, b]), not a number
         --> config.toml:6:15
        6 | train.pause = 1
          |               ^
          = fix: write a list ([a, b])

        error: the keys of train.undo are there twice
         --> config.toml:7:1
        7 | 'train.undo' = [1]
          | ^^^^^^^^^^^^
         ::: config.toml:8:7: first here
        8 | train.undo = ['u']
          |       ^^^^
          = fix: keep one of them
        ");
    }

    #[test]
    fn the_words_are_those_of_the_arguments() {
        fn same<T: ValueEnum + PartialEq + std::fmt::Debug>(words: &[(&str, T)]) {
            assert_eq!(words.len(), T::value_variants().len());
            for (word, value) in words {
                assert_eq!(value.to_possible_value().unwrap().get_name(), *word);
            }
        }
        same(When::WORDS);
        same(Glyphs::WORDS);
    }

    /// The defaults that the template shows are those that are built in.
    #[test]
    fn the_shown_defaults_are_the_real_ones() {
        let shown: String = ALL.iter().map(|s| format!("{} = {}\n", s.key, s.default)).collect();
        let (settings, said) = of(&shown);
        assert_eq!(said, "");
        assert_eq!((settings.color, settings.glyphs), (Some(When::default()), Some(Glyphs::default())));
        assert_eq!(settings.mouse, Some(false));
        let built_in: Vec<Pattern> = READ_ONLY_CONTEXTS.iter().map(|p| Pattern::parse(p).unwrap()).collect();
        assert_eq!(settings.read_only_contexts, Some(built_in));
        assert_eq!(settings.credential_plugins, Some(vec!["*".into()]));
    }
}
