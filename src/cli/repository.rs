//! Loads and checks the environment repository of a manifest, for every command that needs one. Findings are said here;
//! the command gets a repository or a failure with exit code 2.

use std::path::Path;

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::{Global, Wiring};
use crate::core::finding::{Finding, Findings};
use crate::core::repository::{Draft, Repository};
use crate::text;

/// Loads the repository; warnings and errors go to stderr.
pub fn load(manifest: &Path, global: &Global, wiring: &Wiring, console: &Console) -> Result<Repository, Failure> {
    match read(manifest, global, wiring) {
        Ok(repository) => {
            console.findings(&repository.warnings);
            Ok(repository)
        }
        Err(findings) => {
            console.findings(&findings.sorted());
            let (errors, warnings) = findings.count();
            let plural = |n: usize| if n == 1 { "" } else { "s" };
            let also =
                if warnings == 0 { String::new() } else { format!(" and {warnings} warning{}", plural(warnings)) };
            let what = text!("{}: {errors} error{}{also}", manifest.display(), plural(errors));
            Err(Failure::new(FailureKind::Input, what, ""))
        }
    }
}

fn read(manifest: &Path, global: &Global, wiring: &Wiring) -> Result<Repository, Findings> {
    let one = |finding: Box<Finding>| {
        let mut findings = Findings::default();
        findings.push(*finding);
        findings
    };
    let root = wiring.repo.open(manifest, global.services.as_deref()).map_err(one)?;
    let mut draft = Draft::new(&root.manifest, root.footplate.as_ref(), root.services_shown.clone());
    match wiring.repo.services(&root) {
        Ok(services) => {
            for (folder, file) in services {
                match file {
                    Ok(raw) => draft.service(&folder, &raw),
                    Err(finding) => draft.unreadable_service(*finding),
                }
            }
        }
        Err(finding) => draft.unreadable_service(*finding),
    }
    for paths in draft.scripts() {
        let up = wiring.repo.read(&root, &paths.up).map_err(|f| *f);
        let down = wiring.repo.read(&root, &paths.down).map_err(|f| *f);
        draft.script(&paths, up, down);
    }
    draft.finish(global.env.as_deref(), |zone| jiff::tz::TimeZone::get(zone).is_ok())
}
