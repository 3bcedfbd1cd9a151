//! A person's settings, as the real binary takes them: mistakes, layers, keys, themes, and contexts that are read-only by
//! their name, on a served rehearsal cluster.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::served::Served;

/// A home of one person, with nothing of this machine's environment in it.
pub struct Home {
    pub folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("config/themes")).unwrap();
        std::fs::create_dir_all(folder.path().join("here")).unwrap();
        Self { folder }
    }

    pub fn with(settings: &str) -> Self {
        let home = Self::new();
        home.write("config.toml", settings);
        home
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join("config").join(name), text).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_footplate"));
        let path = |name: &str| self.folder.path().join(name);
        command.args(args).current_dir(path("here")).env_clear().stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("USER", "ana").env("FOOTPLATE_STATE_DIR", path("state"));
        command.env("FOOTPLATE_CONFIG_DIR", path("config"));
        command
    }

    pub fn says(&self, args: &[&str]) -> Said {
        Said::of(self, self.command(args).output().unwrap())
    }
}

/// What came out, with the home's own path written as HOME.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(home: &Home, output: Output) -> Self {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).unwrap().replace(home.folder.path().to_str().unwrap(), "HOME")
        };
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Exit code, stdout and stderr, as kept in snapshots.
    fn whole(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.out, self.err)
    }
}

/// Holds an output to what is kept beside the tests.
fn kept(name: &str, text: &str) {
    insta::with_settings!({snapshot_path => "settings", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, text);
    });
}

/// Every kind of mistake there is.
const MISTAKES: &str = "\
theme = \"drak\"
colour = \"always\"
glyphs = \"braille\"
mouse = \"yes\"
read_only_contexts = [\"prod*\", \"live[12]\", \"prod*\", 3]

[keys]
\"train.pause\" = [\"p\", \"ctrl-\"]
train.abort = \"u\"
\"train.abort\" = [\"X\"]
\"train.pouse\" = [\"f2\"]
reread = [\"f9\"]
copy = [\"f9\", \"esc\"]
redo = 1

[keys.display]
freeze = [\"g\"]
";

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let home = Home::with(MISTAKES);
    let said = home.says(&["status", "--context", "dev"]);
    kept("mistakes", &said.whole());
    let broken = Home::with("theme = dark\nmouse = true\nmouse = false\n[keys\n\"back\" = [\"b\"]\n");
    kept("no-toml", &broken.says(&["generate", "keys"]).whole());
}

#[test]
fn what_goes_back_goes_on_in_spite_of_mistakes() {
    let home = Home::with("theme = 1\n");
    for args in [&["undo", "a"][..], &["abort"], &["pause"], &["flag", "a", "off"], &["doctor"]] {
        let said = home.says(args);
        assert!(said.err.contains("going on with what can be read of your settings"), "{args:?}: {}", said.err);
        assert_ne!(said.code, 0, "{args:?}: there is no cluster: {}", said.out);
    }
    for args in [&["start", "a"][..], &["flag", "a", "on"], &["rehearse", "--list"], &["generate", "themes"]] {
        let said = home.says(args);
        assert!(said.err.contains("your settings have 1 error"), "{args:?}: {}", said.err);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}");
    }
    for what in ["config", "man"] {
        assert_eq!(home.says(&["generate", what]).code, 0);
    }
    assert_eq!(home.says(&["generate", "keys"]).code, 2);
    let mut without = home.command(&["generate", "keys"]);
    let without = Said::of(&home, without.env("FOOTPLATE_CONFIG_DIR", "/dev/null").output().unwrap());
    assert_eq!((without.code, without.err.as_str()), (0, ""));
}

#[test]
fn variables_and_arguments_are_checked_too() {
    let home = Home::new();
    let mut command = home.command(&["generate", "keys", "--theme", "nope"]);
    command.env("FOOTPLATE_GLYPHS", "asci").env("FOOTPLATE_MOUSE", "perhaps");
    let said = Said::of(&home, command.output().unwrap());
    kept("variables", &said.whole());
    let mut command = home.command(&["generate", "keys"]);
    let said = Said::of(&home, command.env("FOOTPLATE_THEME", "lihgt").output().unwrap());
    assert!(said.err.contains("did you mean light?"), "{}", said.err);
}

#[test]
fn the_template_parses_as_it_stands_and_with_everything_switched_on() {
    let home = Home::new();
    let template = home.says(&["generate", "config"]).out;
    kept("template", &template);
    let keys = home.says(&["generate", "keys"]).out;
    home.write("config.toml", &template);
    assert_eq!(home.says(&["generate", "keys"]).out, keys);
    let on: String = template.lines().filter_map(|line| line.strip_prefix("# ")).map(|l| format!("{l}\n")).collect();
    assert!(on.contains("\n[keys]\n\"train.pause\" = [\"p\"]"), "{on}");
    home.write("config.toml", &on);
    let said = home.says(&["generate", "keys"]);
    assert_eq!((said.code, said.err.as_str(), &said.out), (0, "", &keys), "the defaults are the defaults");
}

#[test]
fn the_keys_that_are_printed_are_those_in_force() {
    let home = Home::with("[keys]\n\"train.pause\" = [\"f2\", \"p\"]\n\"train.abort\" = []\nzoom.fit = \"=\"\n");
    let said = home.says(&["generate", "keys"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let line = |id: &str| said.out.lines().find(|l| l.contains(&format!(" {id} "))).unwrap().trim().to_owned();
    assert!(line("train.pause").starts_with("f2 p "), "{}", said.out);
    assert!(line("train.abort").starts_with(":abort "), "{}", said.out);
    let json: Value = serde_json::from_str(&home.says(&["generate", "keys", "-o", "json"]).out).unwrap();
    let fit = json.as_array().unwrap().iter().find(|a| a["action"] == "zoom.fit").unwrap();
    assert_eq!((&fit["keys"], &fit["command"]), (&serde_json::json!(["="]), &serde_json::json!("fit")));
    kept("keys", &Home::new().says(&["generate", "keys"]).out);
}

#[test]
fn themes_are_listed_printed_and_refused_with_their_place() {
    let home = Home::with("theme = \"mine\"\n");
    home.write("themes/mine.toml", "parent = \"dark\"\n[palette]\nsea = \"#00aaff\"\n[roles]\naccent = \"sea\"\n");
    let names = home.says(&["generate", "themes"]);
    assert_eq!((names.code, names.err.as_str()), (0, ""));
    assert!(names.out.starts_with("terminal\n") && names.out.ends_with("\nmine\n"), "{}", names.out);
    let dark = home.says(&["generate", "themes", "dark"]).out;
    home.write("themes/darker.toml", &dark.replace("name = \"dark\"", "name = \"darker\""));
    assert_eq!(home.says(&["generate", "themes", "light"]).code, 0, "what is printed can be begun with");
    assert_eq!(home.says(&["generate", "themes", "drak"]).code, 2);

    home.write("themes/mine.toml", "parent = \"drak\"\n[roles]\nacent = \"red\"\nok = \"gren\"\n");
    kept("theme", &home.says(&["generate", "keys"]).whole());
    // A theme that nobody chose stands in nobody's way.
    home.write("config.toml", "theme = \"darker\"\n");
    let said = home.says(&["generate", "keys"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn man_pages_cover_every_command() {
    let home = Home::new();
    let main = home.says(&["generate", "man"]);
    let pages: Vec<&str> =
        main.out.lines().filter_map(|l| l.strip_prefix("footplate\\-")?.strip_suffix("(1)")).collect();
    assert!(pages.len() >= 15, "{pages:?}");
    for page in pages {
        let said = home.says(&["generate", "man", &page.replace("\\-", "-")]);
        assert_eq!(said.code, 0, "{page}: {}", said.err);
        assert!(said.out.contains(&format!("footplate\\-{page}")), "{page}: {}", said.out);
    }
    assert!(home.says(&["generate", "man", "generate", "keys"]).out.contains("keys as they are in force"));
    assert!(main.out.contains("EXIT STATUS") && main.out.contains("FOOTPLATE_THEME"));
    assert_eq!(home.says(&["generate", "man", "nope"]).code, 2);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = home.says(&["generate", "completions", shell]);
        assert!(said.code == 0 && said.out.contains("doctor"), "{shell}");
    }
}

/// Contexts that are read-only by their name: the same cluster under two names.
#[test]
fn a_context_is_read_only_by_its_name() {
    let served = Served::start("error-spike");
    let home = Home::new();
    served.kubeconfig(home.folder.path(), "prod-eu", &["prod-eu", "dev"]);
    let call = |args: &[&str], vars: &[(&str, &str)]| {
        let mut command = home.command(args);
        command.env("KUBECONFIG", home.folder.path().join("kubeconfig")).envs(vars.iter().copied());
        Said::of(&home, command.output().unwrap())
    };
    // The current context is production and nobody said so: what goes forward is refused before anything is read.
    for args in [
        &["start", "accounts-api", "--yes"][..],
        &["resume", "accounts-api", "--yes"],
        &["restart", "accounts-api", "--yes"],
    ] {
        let said = call(args, &[]);
        assert_eq!(said.code, 3, "{args:?}: {}", said.err);
        assert!(said.err.contains("prod-eu is read-only by its name") && said.err.contains("--env"), "{}", said.err);
    }
    // What goes back asks for a word there, `--yes` is not enough; a hold asks nothing.
    let said = call(&["abort", "accounts-api", "--yes"], &[]);
    assert!(said.err.contains("typing accounts-api"), "{}", said.err);
    assert_eq!(said.code, 2);
    let held = call(&["pause", "accounts-api"], &[]);
    assert_eq!(held.code, 0, "a hold goes all the way into the cluster: {}", held.err);
    // Named, it is the person's word for it: only the question of the ladder is left.
    let named = call(&["restart", "accounts-api", "--context", "prod-eu"], &[]);
    assert!(named.code == 2 && named.err.contains("--yes"), "{}", named.err);
    // One's own list holds however the place was named, until it is lifted.
    home.write("config.toml", "read_only_contexts = [\"prod-*\"]\n");
    let listed = ["restart", "accounts-api", "--context", "prod-eu"];
    assert_eq!(call(&listed, &[]).code, 3);
    assert_eq!(call(&[listed.as_slice(), &["--write"]].concat(), &[]).code, 2);
    assert_eq!(call(&listed, &[("FOOTPLATE_READ_ONLY_CONTEXTS", "")]).code, 2);
    assert_eq!(call(&["restart", "accounts-api", "--context", "dev"], &[]).code, 2);
    assert_eq!(call(&[listed.as_slice(), &["--write", "--read-only"]].concat(), &[]).code, 2, "both make no sense");
    let freed = call(&["resume", "accounts-api", "--context", "dev", "--yes"], &[]);
    assert_eq!(freed.code, 0, "{}", freed.err);
}

/// The documented file is right.
#[test]
fn the_documented_settings_are_read() {
    let doc = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md")).unwrap();
    let block = |head: &str| doc.split(head).nth(1).unwrap().split("```").next().unwrap().to_owned();
    let home = Home::with(&block("```toml config.toml\n"));
    home.write("themes/mine.toml", &block("```toml\nparent").replacen(" = ", "parent = ", 1));
    let said = home.says(&["generate", "keys"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(home.says(&["generate", "keys", "--theme", "mine"]).err, "");
    for setting in footplate::config::settings::ALL {
        assert!(doc.contains(&format!("| `{}` |", setting.key)), "{}", setting.key);
    }
}
