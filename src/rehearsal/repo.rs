//! The sample environment repository as the program carries it: the same files as in `assets/sample-env`, read from memory.
//! What they mean is not known here.

use std::path::{Path, PathBuf};

use super::scenario::ENVIRONMENT;
use crate::core::finding::Finding;
use crate::core::repository::{FileRead, RawFile};
use crate::core::text::Text;
use crate::ports::{ConfigHistory, Fault, FaultKind, Fut, Repo, Root};
use crate::text;

/// The embedded environment repository.
#[derive(Clone, Copy, Debug)]
pub struct Embedded;

fn file(path: &str) -> Option<RawFile> {
    let (name, content) = ENVIRONMENT.iter().find(|(name, _)| *name == path)?;
    Some(RawFile { name: Text::scrub(name), bytes: content.as_bytes().to_vec() })
}

impl Repo for Embedded {
    fn open(&self, _: Option<&Path>, _: Option<&Path>) -> Result<Root, Box<Finding>> {
        Ok(Root {
            folder: PathBuf::new(),
            services: PathBuf::from("services"),
            services_shown: "services".into(),
            manifest: file("release.yaml"),
            footplate: file("footplate.yaml"),
        })
    }

    fn services(&self, _: &Root) -> Result<Vec<(String, FileRead)>, Box<Finding>> {
        let folder = |path: &str| Some(path.strip_prefix("services/")?.strip_suffix("/service.yaml")?.to_owned());
        let found = ENVIRONMENT.iter().filter_map(|(path, _)| Some((folder(path)?, Ok(file(path)?))));
        Ok(found.collect())
    }

    fn read(&self, _: &Root, path: &str) -> FileRead {
        file(path).ok_or_else(|| {
            let hint = "it is one of the program's own files".into();
            Box::new(Finding::file(text!("{path}"), "the file is not there".into(), hint))
        })
    }
}

/// Its history is one commit: every file is what it is now.
impl ConfigHistory for Embedded {
    fn at<'a>(&'a self, path: &'a str, sha: &'a str) -> Fut<'a, Result<Vec<u8>, Fault>> {
        let found = file(&format!("config/{path}")).map(|raw| raw.bytes).ok_or_else(|| Fault {
            kind: FaultKind::NotFound,
            what: text!("read config/{path} at {sha}"),
            why: "the rehearsal's environment has no such file".into(),
            hint: "it is one of the program's own files".into(),
        });
        Box::pin(std::future::ready(found))
    }
}
