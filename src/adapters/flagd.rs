//! A flagd flag definition file on this machine. It is replaced whole and atomically, so that whoever watches it never reads
//! half of it, and only while it still says what was read before. What a flip changes in it is decided elsewhere
//! (`core/flag.rs`).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::core::text::Text;
use crate::ports::{self, Fault, FaultKind};
use crate::text;

/// The largest definition file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How long another one that replaces a file in the same folder is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A flag definition file.
#[derive(Clone, Debug)]
pub struct FlagFile {
    path: PathBuf,
}

impl FlagFile {
    /// The file at a path; it need not be there yet to be named.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file itself, links followed: replacing a link would cut whoever reads through another one off.
    fn target(&self) -> Result<PathBuf, Fault> {
        fs::canonicalize(&self.path).map_err(|why| self.fault("read", &why))
    }

    fn fault(&self, verb: &str, why: &std::io::Error) -> Fault {
        let (kind, hint) = match why.kind() {
            std::io::ErrorKind::NotFound => (FaultKind::NotFound, "check the path of the flag file in footplate.yaml"),
            std::io::ErrorKind::PermissionDenied => {
                (FaultKind::Forbidden, "ask for the right to write the file and its folder")
            }
            std::io::ErrorKind::InvalidData => (FaultKind::Malformed, "a flag file is UTF-8 text of at most 1 MiB"),
            _ => (FaultKind::Server, "look at the file system it is on"),
        };
        Fault {
            kind,
            what: text!("{verb} flag file {}", self.path.display()),
            why: text!("{why}"),
            hint: Text::scrub(hint),
        }
    }
}

impl ports::FlagFile for FlagFile {
    fn read(&self) -> Result<String, Fault> {
        read(&self.target()?).map_err(|why| self.fault("read", &why))
    }

    fn replace(&self, before: &str, after: &str) -> Result<(), Fault> {
        let target = self.target()?;
        let fault = |why: std::io::Error| self.fault("replace", &why);
        let folder = target.parent().unwrap_or(Path::new("/"));
        let folder = File::open(folder).map_err(fault)?;
        // Two that replace at once would each find the text that they expect; the folder's lock lets one go first.
        lock(&folder).map_err(fault)?;
        if read(&target).map_err(fault)? != before {
            return Err(Fault {
                kind: FaultKind::Conflict,
                what: text!("replace flag file {}", self.path.display()),
                why: Text::scrub("somebody else changed it meanwhile"),
                hint: Text::scrub("look at the flag again, and flip it again if that is still wanted"),
            });
        }
        write(&target, after.as_bytes()).and_then(|()| folder.sync_all()).map_err(fault)
    }

    fn place(&self) -> Text {
        text!("flagd file {}", self.path.display())
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let invalid = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(invalid("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(invalid("it is larger than 1 MiB"));
    }
    Ok(text)
}

fn lock(folder: &File) -> std::io::Result<()> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(folder, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(std::io::Error::new(std::io::ErrorKind::WouldBlock, "another process is replacing it"));
            }
            // A file system without locks: the comparison of the text is what is left.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOLCK) => return Ok(()),
            Err(why) => return Err(why.into()),
        }
    }
}

/// Writes beside the file, makes it durable, then puts it in its place with the mode and owner of the old one.
fn write(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let old = fs::metadata(target)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = target.with_file_name(format!(".{name}.footplate-{}", std::process::id()));
    // What a process of this number left behind when it was killed is in nobody's way.
    let _ = fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let written = (|| {
        file.write_all(bytes)?;
        keep_owner(&file, &old);
        file.set_permissions(old.permissions())?;
        file.set_modified(after(old.modified()?))?;
        file.sync_all()?;
        fs::rename(&beside, target)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A time of change that is later than the old one's, even where the clock was set back: providers look at the time alone,
/// and take nothing that is not later.
fn after(old: SystemTime) -> SystemTime {
    SystemTime::now().max(old + Duration::from_millis(1))
}

/// Gives the new file to the owner of the old one, as far as one may: without the right to, it belongs to whoever flips.
fn keep_owner(file: &File, old: &fs::Metadata) {
    use std::os::unix::fs::MetadataExt;
    if let Ok(new) = file.metadata()
        && (new.uid(), new.gid()) != (old.uid(), old.gid())
    {
        let _ = std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::FlagFile as _;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn file(text: &str) -> (tempfile::TempDir, PathBuf, FlagFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flags.json");
        fs::write(&path, text).unwrap();
        (dir, path.clone(), FlagFile::at(path))
    }

    #[test]
    fn it_is_replaced_whole_with_its_mode_and_leaves_nothing_behind() {
        let (dir, path, flags) = file("old");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        flags.replace("old", "new").unwrap();
        assert_eq!(flags.read().unwrap(), "new");
        let now = fs::metadata(&path).unwrap();
        assert_eq!(now.mode() & 0o7777, 0o640);
        assert_ne!(now.ino(), before, "a reader that has it open keeps the whole old text");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(flags.place().ends_with("flags.json"));
    }

    #[test]
    fn it_is_always_later_than_the_one_before() {
        let (_dir, path, flags) = file("old");
        let ahead = SystemTime::now() + Duration::from_secs(3600);
        File::options().write(true).open(&path).unwrap().set_modified(ahead).unwrap();
        flags.replace("old", "new").unwrap();
        assert!(fs::metadata(&path).unwrap().modified().unwrap() > ahead);
    }

    #[test]
    fn a_change_by_somebody_else_is_not_overwritten() {
        let (_dir, path, flags) = file("old");
        fs::write(&path, "theirs").unwrap();
        let fault = flags.replace("old", "new").unwrap_err();
        assert_eq!((fault.kind, fault.why.as_str()), (FaultKind::Conflict, "somebody else changed it meanwhile"));
        assert_eq!(flags.read().unwrap(), "theirs");
    }

    #[test]
    fn of_many_at_once_each_sees_the_one_before() {
        let (_dir, _path, flags) = file("0");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let flags = flags.clone();
                std::thread::spawn(move || {
                    let mut done = 0;
                    while done < 20 {
                        let before = flags.read().unwrap();
                        let after = (before.parse::<u32>().unwrap() + 1).to_string();
                        match flags.replace(&before, &after) {
                            Ok(()) => done += 1,
                            Err(fault) => assert_eq!(fault.kind, FaultKind::Conflict, "{fault:?}"),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(flags.read().unwrap(), "160");
    }

    #[test]
    fn a_link_stays_a_link() {
        let (dir, path, _) = file("old");
        let link = dir.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        FlagFile::at(&link).replace("old", "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn what_is_no_flag_file_says_so() {
        let (dir, path, flags) = file("old");
        let kind = |flags: &FlagFile| flags.read().unwrap_err().kind;
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(kind(&flags), FaultKind::Malformed);
        fs::write(&path, vec![b' '; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert_eq!(kind(&flags), FaultKind::Malformed);
        assert_eq!(kind(&FlagFile::at(dir.path())), FaultKind::Malformed);
        assert_eq!(kind(&FlagFile::at("/dev/zero")), FaultKind::Malformed);
        fs::remove_file(&path).unwrap();
        assert_eq!(kind(&flags), FaultKind::NotFound);
        assert_eq!(flags.replace("old", "new").unwrap_err().kind, FaultKind::NotFound);
    }
}
