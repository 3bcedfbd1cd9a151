//! `footplate generate`: what packagers, shells and people who set things up want, each made from the one description
//! that the program itself goes by: the command line's, the settings', the keymap, the themes.

use std::fmt::Write;

use clap::{Args, CommandFactory, Subcommand};
use serde_json::{Value, json};

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::status::Format;
use super::{Cli, Global};
use crate::cockpit::keymap::{Action, Group, KeyMap};
use crate::cockpit::theme::sheet;
use crate::config::template::{Row, template};
use crate::text;

/// Arguments of `generate`.
#[derive(Args, Clone, Debug)]
pub struct GenerateArgs {
    /// What to write
    #[command(subcommand)]
    pub what: What,
}

/// What can be written.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Completions of a shell
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// The man page of the program, or of one command
    Man {
        /// The command, as `undo` or `generate keys` [default: the program itself]
        command: Vec<String>,
    },
    /// A settings file to begin with, every line explained
    Config,
    /// The keys as they are in force, with your own settings
    Keys {
        /// How the table is written
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Format,
    },
    /// The names of the themes, or one of them as a file to begin with
    Themes {
        /// A theme that comes with the program
        name: Option<String>,
    },
}

impl What {
    /// True when it is made from a person's settings, and so cannot be made from broken ones.
    pub fn needs_settings(&self) -> bool {
        matches!(self, Self::Keys { .. } | Self::Themes { .. })
    }
}

/// Writes it to stdout.
pub fn run(args: &GenerateArgs, global: &Global, console: &Console) -> Result<(), Failure> {
    match &args.what {
        What::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "footplate", &mut out);
            console.data(&String::from_utf8_lossy(&out))
        }
        What::Man { command } => console.data(&man(command)?),
        What::Config => console.data(&template(&rows())),
        What::Keys { output: Format::Json } => console.data(&format!("{}\n", keys_json(&global.own.keymap))),
        What::Keys { output: Format::Table } => console.data(&keys_table(&global.own.keymap)),
        What::Themes { name: None } => {
            let names: String = global.own.themes.names().iter().map(|name| format!("{name}\n")).collect();
            console.data(&names)
        }
        What::Themes { name: Some(name) } => match sheet::builtin().find(|(known, _)| known == name) {
            Some((_, text)) => console.data(text),
            None if global.own.themes.names().contains(&name.as_str()) => {
                let what = text!("{name} is a theme of your own");
                Err(Failure::new(FailureKind::Input, what, "it is in themes/ of your config directory"))
            }
            None => {
                let what = text!("theme {name}: {}", global.own.themes.unknown(name));
                Err(Failure::new(FailureKind::Input, what, "footplate generate themes names all"))
            }
        },
    }
}

fn rows() -> Vec<Row> {
    let row = |action: &Action| Row {
        id: action.id(),
        keys: action.keys().iter().map(|key| (*key).to_owned()).collect(),
        title: action.title(),
    };
    Action::ALL.iter().map(row).collect()
}

fn keys_table(keymap: &KeyMap) -> String {
    let all = || Group::ALL.iter().flat_map(|group| keymap.rows(*group));
    let wide = all().map(|(keys, _)| keys.chars().count()).max().unwrap_or(0);
    let ids = all().map(|(_, action)| action.id().len()).max().unwrap_or(0);
    let mut out = String::new();
    for group in Group::ALL {
        let _ = writeln!(out, "{}", group.title());
        for (keys, action) in keymap.rows(group) {
            let _ = writeln!(out, "  {keys:<wide$}  {:<ids$}  {}", action.id(), action.title());
        }
        out.push('\n');
    }
    out.push_str("Own keys: a table [keys] in config.toml, each id with a list of keys; `footplate generate config` begins one.\n");
    out
}

fn keys_json(keymap: &KeyMap) -> Value {
    let row = |action: &Action| {
        json!({
            "action": action.id(), "keys": keymap.of(*action), "command": action.command(),
            "group": action.group().title(), "title": action.title(),
        })
    };
    Action::ALL.iter().map(row).collect()
}

/// A man page: the program's own with what holds for all commands, or one command's.
fn man(path: &[String]) -> Result<String, Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    for name in path {
        let Some(found) = command.find_subcommand(name).cloned() else {
            let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
            let what = text!("there is no command `{}`", path.join(" "));
            return Err(Failure::new(FailureKind::Input, what, text!("one of: {}", known.join(", "))));
        };
        command = found;
    }
    let mut out = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut out)
        .map_err(|error| Failure::io("the man page", &error, "report this"))?;
    let mut page = String::from_utf8_lossy(&out).into_owned();
    if path.is_empty() {
        page.push_str(EVERYWHERE);
    }
    Ok(page)
}

/// What the program's own page says beside its options.
const EVERYWHERE: &str = r#".SH "EXIT STATUS"
.TP
0
done
.TP
1
the answer is no: a check failed, rolled back, refused by a rule
.TP
2
bad input, usage, \-\-yes or \-\-confirm is missing
.TP
3
could not reach, or not allowed
.TP
4
needs a person
.SH ENVIRONMENT
.TP
FOOTPLATE_CONFIG_DIR, FOOTPLATE_STATE_DIR
where settings are read, and where the journal is kept
.TP
FOOTPLATE_THEME, FOOTPLATE_COLOR, FOOTPLATE_GLYPHS, FOOTPLATE_MOUSE, FOOTPLATE_READ_ONLY_CONTEXTS
go before the settings file; arguments go before them
.TP
FOOTPLATE_PROMETHEUS
the Prometheus to ask about gates
.TP
KUBECONFIG, NO_COLOR
as everywhere
.SH FILES
.TP
$XDG_CONFIG_HOME/footplate/config.toml, themes/*.toml
settings of a person; footplate generate config writes one to begin with
.TP
$XDG_STATE_HOME/footplate/journal.jsonl
what was ordered from here
.TP
footplate.yaml, release.yaml, services/*/service.yaml
the environment repository
"#;
