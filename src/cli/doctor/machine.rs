//! What the doctor looks at on this machine: the person's settings, the terminal, the state directory.

use std::io::{IsTerminal, Write};
use std::path::Path;

use ratatui::crossterm::terminal::size;
use serde_json::json;

use super::report::Check;
use crate::cli::failure::FailureKind;
use crate::cli::person::Own;
use crate::cli::{Global, Wiring};
use crate::cockpit::glyphs::Glyphs;
use crate::cockpit::theme::Depth;
use crate::config::files::settings_file;
use crate::config::layers::Layer;
use crate::config::places::Places;
use crate::core::text::Text;
use crate::text;

/// The smallest screen that shows everything at once.
const SIZE_MIN: (u16, u16) = (80, 24);

/// All of them.
pub fn checks(global: &Global, wiring: &Wiring) -> Vec<Check> {
    let places = Places::find(|key| std::env::var_os(key));
    let mut out = vec![settings(&global.own, &places)];
    out.extend(themes(&global.own));
    out.push(terminal(&|name| std::env::var(name).ok().filter(|v| !v.is_empty()).map(Text::from)));
    out.push(state(&places));
    out.push(journal(&places, wiring));
    out
}

fn settings(own: &Own, places: &Places) -> Check {
    let (id, what) = ("machine.settings", "settings");
    let errors = own.findings.count().0;
    if errors > 0 {
        let first = own.findings.sorted().into_iter().next();
        let first = first.map_or_else(Text::default, |f| {
            let place = f.spot.as_ref().map_or_else(|| f.file.clone(), |spot| text!("{spot}"));
            text!("{place}: {}", f.message)
        });
        let why = text!("{errors} mistake{}; {first}", if errors == 1 { "" } else { "s" });
        return Check::fail(id, what, FailureKind::Input, why, "see all of them above, and mend them");
    }
    let person = &own.person;
    let said = |key: &str, by: Layer| (by != Layer::BuiltIn).then(|| format!("{key} ({})", by.name()));
    let mut set: Vec<String> = [
        said(&format!("theme {}", person.theme.value), person.theme.by),
        said("color", person.color.by),
        said("glyphs", person.glyphs.by),
        said("mouse", person.mouse.by),
        said("read_only_contexts", person.read_only_contexts.by),
        said("credential_plugins", person.credential_plugins.by),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !person.keys.is_empty() {
        set.push(format!("{} keys (file)", person.keys.len()));
    }
    let file = settings_file(&places.config);
    let set = if set.is_empty() { "nothing set".to_owned() } else { set.join(", ") };
    let why = match &own.file {
        Some(_) => text!("{}: {set}", file.display()),
        None => text!("no file at {}; {set}", file.display()),
    };
    let data = json!({
        "file": own.file.as_ref().map(|f| text!("{}", f.display())),
        "theme": {"value": person.theme.value, "by": person.theme.by.name()},
        "read_only_contexts": person.read_only_contexts.value.iter().map(|p| text!("{p}")).collect::<Vec<_>>(),
        "credential_plugins": person.credential_plugins.value,
    });
    Check::pass(id, what, why).with(data)
}

/// Themes that nobody chose do no harm, but somebody means to choose them.
fn themes(own: &Own) -> Option<Check> {
    let first = own.other_themes.sorted().into_iter().next()?;
    let place = first.spot.as_ref().map_or_else(|| first.file.clone(), |spot| text!("{spot}"));
    let why = text!("{} mistakes; {place}: {}", own.other_themes.sorted().len(), first.message);
    Some(Check::warn(
        "machine.themes",
        "themes",
        why,
        "mend it before you choose it; `footplate generate themes` shows all",
    ))
}

fn terminal(var: &dyn Fn(&str) -> Option<Text>) -> Check {
    let (id, what) = ("machine.terminal", "terminal");
    let screen = std::io::stdin().is_terminal() && (std::io::stdout().is_terminal() || std::io::stderr().is_terminal());
    let size = screen.then(size).and_then(Result::ok);
    terminal_of(id, what, var, size)
}

/// What there is to say of a terminal of this size; of none, where there is no terminal.
fn terminal_of(id: &'static str, what: &str, var: &dyn Fn(&str) -> Option<Text>, size: Option<(u16, u16)>) -> Check {
    let term = var("TERM");
    let depth = Depth::of(var("NO_COLOR").as_deref(), var("COLORTERM").as_deref(), term.as_deref());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(var);
    let ascii = Glyphs::for_locale([locale[0].as_deref(), locale[1].as_deref(), locale[2].as_deref()]).ascii;
    let within = [("TMUX", "tmux"), ("STY", "screen"), ("SSH_CONNECTION", "ssh")];
    let within: Vec<&str> = within.iter().filter(|(name, _)| var(name).is_some()).map(|(_, word)| *word).collect();
    let colours = match depth {
        Depth::None => "no colours",
        Depth::Ansi => "16 colours",
        Depth::Indexed => "256 colours",
        Depth::True => "24-bit colours",
    };
    let characters = if ascii { "ASCII" } else { "Unicode" };
    let name = term.clone().unwrap_or_else(|| "no TERM".into());
    let inside = if within.is_empty() { String::new() } else { format!(", within {}", within.join(" and ")) };
    let data = json!({
        "tty": size.is_some(), "term": term, "colors": colours, "characters": characters, "within": within,
        "columns": size.map(|s| s.0), "rows": size.map(|s| s.1), "no_color": var("NO_COLOR").is_some(),
    });
    let Some((columns, rows)) = size else {
        let why = text!("none here ({name}, {colours}, {characters}{inside})");
        return Check::pass(id, what, why)
            .next("the cockpit needs one; `footplate status --watch --plain` does not")
            .with(data);
    };
    let why = text!("{name}, {columns}x{rows}, {colours}, {characters}{inside}");
    let mut next = Vec::new();
    if term.as_deref().is_none_or(|t| t == "dumb") {
        next.push("set TERM to what the terminal is, such as xterm-256color");
    }
    if ascii {
        next.push("boxes are drawn in ASCII: set LANG to a UTF-8 locale, such as C.UTF-8, or pass --glyphs unicode");
    }
    if columns < SIZE_MIN.0 || rows < SIZE_MIN.1 {
        next.push("make it at least 80x24; what does not fit is left out");
    }
    let tmux = var("TMUX").is_some();
    if tmux && !term.as_deref().is_some_and(|t| t.starts_with("tmux") || t.starts_with("screen")) {
        next.push("within tmux TERM should be tmux-256color (set -g default-terminal tmux-256color)");
    }
    if next.is_empty() {
        return Check::pass(id, what, why).with(data);
    }
    Check::warn(id, what, why, text!("{}", next.join("; "))).with(data)
}

fn state(places: &Places) -> Check {
    let (id, what) = ("machine.state", "state directory");
    let folder = &places.state;
    match try_writing(folder) {
        Ok(()) => Check::pass(id, what, text!("{} can be written", folder.display())),
        Err(why) => {
            let why = text!("{} cannot be written: {why}", folder.display());
            let next = "correct its rights, free space, or name another with FOOTPLATE_STATE_DIR; undo works without";
            Check::fail(id, what, FailureKind::Outside, why, next)
        }
    }
}

/// Writes a file there as a journal is written, to the disk, and removes it again.
fn try_writing(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
        file.write_all(b"doctor\n")?;
        file.sync_data()
    });
    let _ = std::fs::remove_file(&path);
    written
}

fn journal(places: &Places, wiring: &Wiring) -> Check {
    let (id, what) = ("machine.journal", "journal");
    let path = places.journal();
    match (wiring.journal)(&path) {
        Ok(_) => Check::pass(id, what, text!("{} can be written", path.display())),
        Err(fault) => {
            let why = text!("{} cannot be written: {}", path.display(), fault.why);
            Check::fail(id, what, FailureKind::Outside, why, fault.hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(vars: &[(&str, &str)], size: Option<(u16, u16)>) -> String {
        let var = |name: &str| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| Text::from(*v));
        let check = terminal_of("machine.terminal", "terminal", &var, size);
        format!("{:?}: {}; {}", check.outcome, check.why, check.next)
    }

    #[test]
    fn a_terminal_is_judged_by_what_it_can_show() {
        let good = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("LANG", "en_US.UTF-8")];
        assert_eq!(said(&good, Some((120, 36))), "Pass: xterm-256color, 120x36, 24-bit colours, Unicode; ");
        let within = [good.as_slice(), &[("TMUX", "/tmp/x"), ("SSH_CONNECTION", "1")]].concat();
        insta::assert_snapshot!(said(&within, Some((120, 36))), @"Warn: xterm-256color, 120x36, 24-bit colours, Unicode, within tmux and ssh; within tmux TERM should be tmux-256color (set -g default-terminal tmux-256color)");
        insta::assert_snapshot!(said(&[("TERM", "dumb"), ("NO_COLOR", "1")], Some((60, 20))), @"Warn: dumb, 60x20, no colours, ASCII; set TERM to what the terminal is, such as xterm-256color; boxes are drawn in ASCII: set LANG to a UTF-8 locale, such as C.UTF-8, or pass --glyphs unicode; make it at least 80x24; what does not fit is left out");
        insta::assert_snapshot!(said(&[], None), @"Pass: none here (no TERM, 16 colours, ASCII); the cockpit needs one; `footplate status --watch --plain` does not");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_found_and_nothing_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b");
        try_writing(&state).unwrap();
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(try_writing(&folder.path().join("file/state")).is_err());
    }
}
