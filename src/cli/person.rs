//! A person's settings as they count in this run: the file, the environment and the arguments laid over each other, the
//! keys and themes that follow, and what is wrong with any of it. What the settings mean is `config`'s and the cockpit's.

use std::path::PathBuf;

use super::Global;
use super::console::Console;
use super::failure::{Failure, FailureKind};
use crate::cockpit::keymap::{Given as Spot, KeyMap};
use crate::cockpit::theme::Themes;
use crate::config::files;
use crate::config::layers::{Given, Layer, Person};
use crate::config::places::Places;
use crate::config::settings::{self, Binding, Settings};
use crate::core::finding::{Finding, Findings, Place, Sources};
use crate::core::manifest::reader::short;
use crate::ports::Plugins;
use crate::text;

/// A person's settings, as they count.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// The values.
    pub person: Person,
    /// The keys that follow.
    pub keymap: KeyMap,
    /// The themes there are.
    pub themes: Themes,
    /// The settings file, where there is one.
    pub file: Option<PathBuf>,
    /// What is wrong with what counts: the file, the environment, the theme that was chosen.
    pub findings: Findings,
    /// What is wrong with themes that nobody chose.
    pub other_themes: Findings,
}

impl Own {
    /// Reads and checks everything.
    pub fn load(global: &Global, places: &Places, env: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let given =
            Given { theme: global.theme.clone(), color: global.color, glyphs: global.glyphs, write: global.write };
        let (mut sources, mut findings) = (Sources::default(), Findings::default());
        let path = files::settings_file(&places.config);
        let (mut file, mut said) = (None, Settings::default());
        match files::read(&path, &mut sources) {
            Ok(None) => {}
            Ok(Some(id)) => {
                let found;
                (said, found) = settings::read(&sources, id);
                findings.append(found);
                file = Some(path);
            }
            Err(finding) => {
                findings.push(*finding);
                file = Some(path);
            }
        }
        let (found, unreadable) = files::themes(&places.config, &mut sources);
        let (themes, mut other_themes) = Themes::with(&sources, &found);
        unreadable.into_iter().for_each(|finding| other_themes.push(finding));
        let (person, wrong) = Person::of(said, env, &given);
        findings.append(wrong);
        let keymap = keymap(&person.keys, &sources, &mut findings);
        let name = &person.theme.value;
        let known = themes.names().contains(&name.as_str());
        if !known {
            let fix = text!("{}", themes.unknown(name));
            let what = text!("theme `{}` is not there", short(name));
            match (person.theme.by, person.theme_place) {
                (Layer::File, Some(place)) => findings.error(&sources, place, what, fix),
                (Layer::Environment, _) => findings.push(Finding::file("FOOTPLATE_THEME".into(), what, fix)),
                _ => findings.push(Finding::file("--theme".into(), what, fix)),
            }
        } else if themes.named(name, crate::cockpit::theme::Depth::None).is_err() {
            // The chosen one cannot be used: what is wrong with the themes is what is wrong here.
            findings.append(std::mem::take(&mut other_themes));
        }
        Self { person, keymap, themes, file, findings, other_themes }
    }

    /// Refuses to go on with settings that have mistakes, all of which are told.
    pub fn must(&self, console: &Console) -> Result<(), Failure> {
        if self.findings.is_empty() {
            return Ok(());
        }
        console.findings(&self.findings.sorted());
        let count = self.findings.count().0;
        let what = text!("your settings have {count} error{}", if count == 1 { "" } else { "s" });
        let hint = "mend them, or go without them for now: FOOTPLATE_CONFIG_DIR=/dev/null; pause, abort and undo work as it is";
        Err(Failure::new(FailureKind::Input, what, hint))
    }

    /// The credential plugins that may be run.
    pub fn plugins(&self) -> Plugins {
        match &self.person.credential_plugins.value {
            list if list.iter().any(|name| *name == *"*") => Plugins::Any,
            list => Plugins::Only(list.clone()),
        }
    }

    /// Goes on in spite of mistakes, all of which are told: nothing may stand in the way of pause, abort and undo.
    pub fn may(&self, console: &Console) {
        if !self.findings.is_empty() {
            console.findings(&self.findings.sorted());
            console.talk("going on with what can be read of your settings\n");
        }
    }
}

/// The keys that a person's changes make; what is wrong with them is told at its place.
fn keymap(changes: &[Binding], sources: &Sources, findings: &mut Findings) -> KeyMap {
    let plain: Vec<(String, Vec<String>)> = changes
        .iter()
        .map(|b| (b.action.value.to_string(), b.keys.iter().map(|key| key.value.to_string()).collect()))
        .collect();
    let place = |spot: Spot| -> Option<Place> {
        let binding = changes.get(spot.change)?;
        let key = spot.key.and_then(|n| binding.keys.get(n));
        Some(key.map_or(binding.action.place, |key| key.place))
    };
    KeyMap::new(&plain).unwrap_or_else(|wrong| {
        for one in wrong {
            let Some(at) = place(one.at) else { continue };
            let (what, fix) = (text!("{}", one.what), text!("{}", one.fix));
            match one.also.and_then(place) {
                Some(also) => findings.error_also(sources, at, what, fix, ("and here".into(), also)),
                None => findings.error(sources, at, what, fix),
            }
        }
        KeyMap::default()
    })
}
