//! The directories of this program: where a person's settings are read, where its journal is kept.

use std::ffi::OsString;
use std::path::PathBuf;

use directories::ProjectDirs;

/// Where the program's files are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// Settings of a person.
    pub config: PathBuf,
    /// Journals and logs.
    pub state: PathBuf,
}

impl Places {
    /// FOOTPLATE_CONFIG_DIR and FOOTPLATE_STATE_DIR first, then XDG's, then what the system calls for. Without a home
    /// directory, folders of the current one.
    pub fn find(env: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = |key: &str| env(key).filter(|v| !v.is_empty()).map(PathBuf::from);
        // XDG says that a relative path there is to be ignored.
        let xdg = |key: &str| named(key).filter(|p| p.is_absolute()).map(|p| p.join("footplate"));
        let system = ProjectDirs::from("dev", "footplate", "footplate");
        let config = named("FOOTPLATE_CONFIG_DIR").or_else(|| xdg("XDG_CONFIG_HOME"));
        let state = named("FOOTPLATE_STATE_DIR").or_else(|| xdg("XDG_STATE_HOME"));
        Self {
            config: config
                .or_else(|| system.as_ref().map(|s| s.config_dir().to_owned()))
                .unwrap_or_else(|| PathBuf::from(".footplate")),
            state: state
                .or_else(|| system.as_ref().map(|s| s.state_dir().unwrap_or_else(|| s.data_local_dir()).to_owned()))
                .unwrap_or_else(|| PathBuf::from(".footplate/state")),
        }
    }

    /// The journal of what was ordered from here.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal.jsonl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(vars: &[(&str, &str)]) -> Places {
        Places::find(|key| vars.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).into()))
    }

    #[test]
    fn the_nearest_name_wins() {
        let xdg = [("XDG_CONFIG_HOME", "/c"), ("XDG_STATE_HOME", "/s")];
        let found = places(&xdg);
        assert_eq!(found.config, PathBuf::from("/c/footplate"));
        assert_eq!(found.journal(), PathBuf::from("/s/footplate/journal.jsonl"));
        let ours = [xdg.as_slice(), &[("FOOTPLATE_CONFIG_DIR", "/mine"), ("FOOTPLATE_STATE_DIR", "here")]].concat();
        assert_eq!(places(&ours), Places { config: "/mine".into(), state: "here".into() });
        assert_ne!(places(&[("XDG_CONFIG_HOME", "relative")]).config, PathBuf::from("relative/footplate"));
    }
}
