//! The environment repository on disk: finds its root, reads its files within limits, follows no symbolic link inside it.
//! What the files mean is decided in the core.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::core::finding::Finding;
use crate::core::manifest::yaml::BYTES_MAX;
use crate::core::repository::{FileRead, RawFile};
use crate::core::text::Text;
use crate::ports::{Repo, Root};
use crate::text;

/// Most service folders read.
const SERVICES_MAX: usize = 100_000;

/// The repository below a folder of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskRepo;

impl Repo for DiskRepo {
    fn open(&self, manifest: Option<&Path>, services: Option<&Path>) -> Result<Root, Box<Finding>> {
        let mut home = here();
        let mut named = None;
        if let Some(path) = manifest {
            let shown = shown(path);
            // The manifest itself may be reached by a link: the person named it. What it names may not.
            let real = path.canonicalize().map_err(|error| {
                let fix = match error.kind() {
                    ErrorKind::NotFound => text!("name a release manifest, such as release.yaml"),
                    _ => text!("make it readable"),
                };
                wrong(shown.clone(), &error, fix)
            })?;
            named = Some(read_file(&real, shown, true)?);
            home = real.parent().unwrap_or(Path::new("/")).to_owned();
        }
        let there = |path: &Path| path.symlink_metadata().is_ok();
        let read =
            |path: PathBuf| if there(&path) { read_file(&path, shown(&path), false).map(Some) } else { Ok(None) };
        let folder = home.ancestors().find(|folder| there(&folder.join("footplate.yaml"))).unwrap_or(&home).to_owned();
        let footplate = read(folder.join("footplate.yaml"))?;
        let manifest = if named.is_some() { named } else { read(folder.join("release.yaml"))? };
        let services = services.map_or_else(|| folder.join("services"), Path::to_owned);
        let services_shown = shown(&services);
        Ok(Root { folder, services, services_shown, manifest, footplate })
    }

    fn services(&self, root: &Root) -> Result<Vec<(String, FileRead)>, Box<Finding>> {
        let entries = std::fs::read_dir(&root.services).map_err(|error| {
            let fix =
                text!("each service has {}/<name>/service.yaml; --services names another folder", root.services_shown);
            wrong(root.services_shown.clone(), &error, fix)
        })?;
        let mut out = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| wrong(root.services_shown.clone(), &error, "read it again".into()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
            let is_link = entry.file_type().is_ok_and(|t| t.is_symlink());
            if name.starts_with('.') || !(is_folder || is_link) {
                continue;
            }
            let path = entry.path().join("service.yaml");
            let shown = text!("{}/{}/service.yaml", root.services_shown, name);
            if is_link {
                if path.exists() {
                    out.push((name, Err(link(shown))));
                }
                continue;
            }
            match read_file(&path, shown, false) {
                Err(_) if matches!(path.symlink_metadata(), Err(e) if e.kind() == ErrorKind::NotFound) => {}
                file => out.push((name, file)),
            }
            if out.len() > SERVICES_MAX {
                let message = text!("more than {SERVICES_MAX} services");
                return Err(Box::new(Finding::file(
                    root.services_shown.clone(),
                    message,
                    "split the repository".into(),
                )));
            }
        }
        out.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(out)
    }

    fn read(&self, root: &Root, path: &str) -> FileRead {
        let relative = Path::new(path);
        let full = root.folder.join(relative);
        let shown = shown(&full);
        let mut at = root.folder.clone();
        for part in relative.components() {
            let Component::Normal(part) = part else {
                let message = text!("`{path}` leads out of the repository");
                return Err(Box::new(Finding::file(shown, message, "write a path relative to its root".into())));
            };
            at.push(part);
            if at.symlink_metadata().is_ok_and(|m| m.file_type().is_symlink()) {
                return Err(link(self::shown(&at)));
            }
        }
        read_file(&full, shown, false)
    }
}

fn wrong(file: Text, error: &std::io::Error, fix: Text) -> Box<Finding> {
    let message = match error.kind() {
        ErrorKind::NotFound => "the file is not there".into(),
        ErrorKind::PermissionDenied => "the file may not be read".into(),
        _ => text!("the file cannot be read: {error}"),
    };
    Box::new(Finding::file(file, message, fix))
}

fn link(file: Text) -> Box<Finding> {
    let message = "this is a symbolic link, which is not followed here".into();
    Box::new(Finding::file(file, message, "put the file itself there".into()))
}

/// Reads a plain file up to the limit; never blocks on what is none (a pipe, a device).
fn read_file(path: &Path, shown: Text, follow: bool) -> FileRead {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let failed = |error: std::io::Error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return link(shown.clone());
        }
        wrong(shown.clone(), &error, text!("write {shown}, or make it readable"))
    };
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let plain = |message: Text, fix: &str| Box::new(Finding::file(shown.clone(), message, fix.into()));
    if !about.is_file() {
        return Err(plain("this is not a plain file".into(), "name a file"));
    }
    let limit = BYTES_MAX as u64;
    if about.len() > limit {
        let message = text!("the file has {} bytes, more than the {limit} that are read", about.len());
        return Err(plain(message, "split it, or remove what does not belong there"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or_default() + 1);
    // One byte more than the limit: a file that grew meanwhile is seen to be too large.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(RawFile { name: shown.clone(), bytes })
}

/// The folder the person is in.
fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

/// A path as the person can open it from where he is: relative where it lies below or above this folder.
fn shown(path: &Path) -> Text {
    let here = here();
    let name = |path: &Path| text!("{}", path.display());
    let full = if path.is_absolute() { path.to_owned() } else { here.join(path) };
    if let Ok(below) = full.strip_prefix(&here)
        && !below.as_os_str().is_empty()
    {
        return name(below);
    }
    for (up, above) in here.ancestors().enumerate().skip(1).take(3) {
        if above.parent().is_some()
            && let Ok(below) = full.strip_prefix(above)
        {
            let mut relative: PathBuf = std::iter::repeat_n("..", up).collect();
            relative.push(below);
            return name(&relative);
        }
    }
    name(&full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("footplate.yaml"), "x").unwrap();
        std::fs::create_dir_all(dir.path().join("releases")).unwrap();
        std::fs::write(dir.path().join("releases/a.yaml"), "manifest").unwrap();
        let root = DiskRepo.open(Some(&dir.path().join("releases/a.yaml")), None).unwrap();
        (dir, root)
    }

    #[test]
    fn the_root_is_the_nearest_ancestor_with_settings() {
        let (dir, root) = folder();
        assert_eq!(root.folder, dir.path().canonicalize().unwrap());
        assert_eq!(root.manifest.unwrap().bytes, b"manifest");
        assert_eq!(root.footplate.unwrap().bytes, b"x");
    }

    #[test]
    fn links_pipes_and_ways_out_are_refused() {
        let (dir, root) = folder();
        std::fs::create_dir(dir.path().join("db")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("db/a.sql")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).unwrap();
        let pipe = dir.path().join("db/pipe.sql");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in ["db/a.sql", "etc/passwd", "../x", "/etc/passwd", "db/pipe.sql", "db", "db/none.sql"] {
            assert!(DiskRepo.read(&root, path).is_err(), "{path}");
        }
        std::fs::write(dir.path().join("db/big.sql"), vec![b'x'; BYTES_MAX + 1]).unwrap();
        assert!(DiskRepo.read(&root, "db/big.sql").unwrap_err().message.contains("more than"));
        std::fs::write(dir.path().join("db/good.sql"), "select 1").unwrap();
        assert_eq!(DiskRepo.read(&root, "db/good.sql").unwrap().bytes, b"select 1");
    }

    #[test]
    fn a_linked_service_is_told_and_an_empty_folder_is_none() {
        let (dir, root) = folder();
        let services = dir.path().join("services");
        std::fs::create_dir_all(services.join("a")).unwrap();
        std::fs::create_dir_all(services.join("empty")).unwrap();
        std::fs::write(services.join("a/service.yaml"), "name: a").unwrap();
        std::os::unix::fs::symlink(services.join("a"), services.join("b")).unwrap();
        let found = DiskRepo.services(&root).unwrap();
        let shape: Vec<(&str, bool)> = found.iter().map(|(name, file)| (&**name, file.is_ok())).collect();
        assert_eq!(shape, [("a", true), ("b", false)]);
    }
}
