//! The local journal: one JSON object a line, on disk before the call returns; what a terminal would act on is written as
//! an escape, since patches are kept exactly as they were sent. What is written is decided elsewhere.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::core::text::{Text, inert_json};
use crate::ports::{Fault, FaultKind, Fut, Journal};
use crate::text;

/// A journal file, opened for appending.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl FileJournal {
    /// Opens or creates the file, its directories included; readable by its owner alone.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |why: std::io::Error| fault(path, &why);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fault)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options.open(path).map_err(fault)?;
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Journal for FileJournal {
    fn append(&self, line: Value) -> Fut<'_, Result<(), Fault>> {
        // One write a line: with O_APPEND two processes cannot mix their lines.
        let mut bytes = inert_json(&line.to_string()).into_bytes();
        bytes.push(b'\n');
        let file = Arc::clone(&self.file);
        // A disk may take its time: the loop that orders does not wait for it on its own thread.
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            file.write_all(&bytes).and_then(|()| file.sync_data())
        });
        Box::pin(async move {
            let written = written.await.unwrap_or_else(|broken| Err(std::io::Error::other(broken)));
            written.map_err(|why| fault(&self.path, &why))
        })
    }
}

fn fault(path: &Path, why: &std::io::Error) -> Fault {
    Fault {
        kind: FaultKind::Server,
        what: text!("write journal {}", path.display()),
        why: text!("{why}"),
        hint: Text::scrub("free space or correct the rights of the state directory (FOOTPLATE_STATE_DIR moves it)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn lines_are_appended_and_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/footplate/journal.jsonl");
        FileJournal::open(&path).unwrap().append(json!({"did": "pause\nx"})).await.unwrap();
        FileJournal::open(&path).unwrap().append(json!({"did": "resume"})).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"did\":\"pause\\nx\"}\n{\"did\":\"resume\"}\n");
    }

    #[test]
    fn a_journal_that_cannot_be_written_is_a_fault_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state"), "a file, not a directory").unwrap();
        let fault = FileJournal::open(&folder.path().join("state/journal.jsonl")).unwrap_err();
        assert!(fault.what.contains("journal.jsonl"), "{fault:?}");
        assert!(!fault.hint.is_empty());
    }
}
