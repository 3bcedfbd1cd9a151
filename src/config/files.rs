//! Reading the files of the settings directory: `config.toml` and `themes/*.toml`. What they say is read elsewhere. Links
//! are followed, because people keep their settings in a repository and link them.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::core::finding::{FileId, Finding, Sources};
use crate::core::manifest::yaml::{BYTES_MAX, decode};
use crate::text;

/// Most themes that are looked at.
const THEMES_MAX: usize = 200;

/// The settings file of a directory.
pub fn settings_file(config: &Path) -> PathBuf {
    config.join("config.toml")
}

/// Reads a file; none when it is not there.
///
/// # Errors
/// When it is there and cannot be used: no plain file, too large, no UTF-8, no rights.
pub fn read(path: &Path, sources: &mut Sources) -> Result<Option<FileId>, Box<Finding>> {
    let name = text!("{}", path.display());
    let refuse =
        |what: crate::core::text::Text, fix: &str| Err(Box::new(Finding::file(name.clone(), what, fix.into())));
    // A pipe would be waited for without end; what is no plain file is not opened.
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => {
            return refuse("this is not a plain file".into(), "put a file there, or nothing");
        }
        Ok(_) => {}
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(why) => return refuse(text!("the file cannot be read: {why}"), "correct its rights, or move it away"),
    }
    let mut bytes = Vec::new();
    let limit = BYTES_MAX as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Err(why) => refuse(text!("the file cannot be read: {why}"), "correct its rights, or move it away"),
        Ok(_) if bytes.len() > BYTES_MAX => refuse(text!("the file is larger than {BYTES_MAX} bytes"), "shorten it"),
        Ok(_) => decode(sources, &name, &bytes).map(Some),
    }
}

/// The themes of a directory: the name of each, and its file.
pub fn themes(config: &Path, sources: &mut Sources) -> (Vec<(String, FileId)>, Vec<Finding>) {
    let folder = config.join("themes");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    let mut findings = Vec::new();
    if paths.len() > THEMES_MAX {
        let what = text!("{} themes are too many; the first {THEMES_MAX} are read", paths.len());
        findings.push(Finding::file(text!("{}", folder.display()), what, "move some away".into()));
        paths.truncate(THEMES_MAX);
    }
    let mut out = Vec::new();
    for path in paths {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !good {
            let what = text!("the name of this theme cannot be typed");
            findings.push(Finding::file(text!("{}", path.display()), what, "use letters, digits, - and _".into()));
            continue;
        }
        match read(&path, sources) {
            Ok(Some(file)) => out.push((name.to_owned(), file)),
            Ok(None) => {}
            Err(finding) => findings.push(*finding),
        }
    }
    (out, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut sources = Sources::default();
        assert_eq!(read(&settings_file(folder.path()), &mut sources), Ok(None));
        assert_eq!(read(Path::new("/dev/null/config.toml"), &mut sources), Ok(None));
        std::fs::write(settings_file(folder.path()), "mouse = true\n").unwrap();
        let file = read(&settings_file(folder.path()), &mut sources).unwrap().unwrap();
        assert_eq!(sources.text(file), "mouse = true\n");
        assert!(read(folder.path(), &mut sources).unwrap_err().message.contains("plain file"));
        std::fs::write(settings_file(folder.path()), vec![b'#'; BYTES_MAX + 1]).unwrap();
        assert!(read(&settings_file(folder.path()), &mut sources).is_err());

        let themes_folder = folder.path().join("themes");
        std::fs::create_dir(&themes_folder).unwrap();
        for name in ["b.toml", "a.toml", "c.txt", "bad name.toml"] {
            std::fs::write(themes_folder.join(name), "").unwrap();
        }
        let (found, findings) = themes(folder.path(), &mut sources);
        assert_eq!(found.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(findings.len(), 1);
    }
}
