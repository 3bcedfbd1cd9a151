//! The commented settings file that people begin with: every setting with its default, nothing switched on. Actions and
//! their keys are handed in.

use std::fmt::Write;

use super::settings::ALL;

/// An action, for the template.
pub struct Row {
    /// Its id.
    pub id: &'static str,
    /// Its keys when nobody says otherwise.
    pub keys: Vec<String>,
    /// What it does.
    pub title: &'static str,
}

/// The file: as it stands it changes nothing. Prose begins with `##`; a line that begins with `# ` is a setting, switched on
/// by taking that away.
pub fn template(actions: &[Row]) -> String {
    let mut out = String::from(
        "## Settings of one person for footplate. The last that speaks wins: what is built in, this file, environment\n\
         ## variables, arguments. As it stands this file changes nothing: each line with one # shows a default; take the\n\
         ## \"# \" away to change it. `footplate doctor` says what counts, and who said so.\n",
    );
    for setting in ALL {
        out.push('\n');
        for line in setting.about {
            let _ = writeln!(out, "## {line}");
        }
        let before: Vec<&str> =
            [setting.variable, setting.argument].into_iter().filter(|name| !name.is_empty()).collect();
        if !before.is_empty() {
            let _ = writeln!(out, "## Goes before it: {}.", before.join(", "));
        }
        let _ = writeln!(out, "# {} = {}", setting.key, setting.default);
    }
    out.push_str(
        "\n## Keys, action by action. A list takes the place of all keys that an action has; [] takes them away, and the\n\
         ## command (:pause) stays. Keys: letters, ctrl-d, alt-x, shift-tab, space, enter, f1, pageup, or two in a row (\"g g\").\n\
         ## Arrows, esc and ctrl-c keep their meaning whatever stands here.\n\
         # [keys]\n",
    );
    let line = |row: &Row| {
        let keys: Vec<String> = row.keys.iter().map(|k| format!("{k:?}")).collect();
        format!("# {:?} = [{}]", row.id, keys.join(", "))
    };
    let width = actions.iter().map(|row| line(row).chars().count()).max().unwrap_or(0);
    for row in actions {
        let _ = writeln!(out, "{:<width$}  # {}", line(row), row.title);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::settings;
    use super::*;
    use crate::core::finding::Sources;

    #[test]
    fn it_changes_nothing_as_it_stands_and_nothing_when_all_is_switched_on() {
        let rows = [Row { id: "train.pause", keys: vec!["p".into()], title: "pause" }];
        let text = template(&rows);
        let on: String = text.lines().filter_map(|l| l.strip_prefix("# ")).map(|l| format!("{l}\n")).collect();
        let mut sources = Sources::default();
        for (text, empty) in [(&text, true), (&on, false)] {
            let file = sources.add("config.toml".into(), text.clone());
            let (settings, findings) = settings::read(&sources, file);
            assert!(findings.is_empty(), "{text}{}", findings.plain());
            assert_eq!(settings == settings::Settings::default(), empty);
            assert_eq!(settings.keys.len(), usize::from(!empty));
        }
        assert!(ALL.iter().all(|s| on.contains(&format!("{} = {}", s.key, s.default))), "{on}");
    }
}
