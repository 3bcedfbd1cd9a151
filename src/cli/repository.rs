//! Loads and checks the environment repository of a manifest, for every command that needs one. Findings are said here;
//! the command gets a repository or a failure with exit code 2.

use std::path::{Path, PathBuf};

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::{Global, Wiring};
use crate::core::finding::{Finding, Findings};
use crate::core::manifest::{Environment, Footplate};
use crate::core::repository::{Draft, ReadService, Repository, settings, unknown_environment};
use crate::core::text::Text;
use crate::ports::{Repo, Root};
use crate::text;

/// Fewest service files that are worth a thread.
const FILES_A_THREAD_MIN: usize = 256;

/// What is known in the place where a command was given.
#[derive(Debug)]
pub struct Here {
    /// The root folder.
    pub folder: PathBuf,
    /// The settings; defaults where there is no footplate.yaml.
    pub footplate: Footplate,
    /// The environment that was asked for.
    pub environment: Option<Environment>,
    /// The repository with its release; none where there is no manifest or it has errors.
    pub repository: Option<Repository>,
    /// What is wrong with the manifest, already said. A safe verb goes on without it, everything else ends here.
    pub broken: Option<Failure>,
}

/// Loads the repository of a manifest; warnings and errors go to stderr.
pub fn load(manifest: &Path, global: &Global, wiring: &Wiring, console: &Console) -> Result<Repository, Failure> {
    let root = open(Some(manifest), global, wiring, console)?;
    match read(&root, global.env.as_deref(), &*wiring.repo) {
        Ok(repository) => {
            console.findings(&repository.warnings);
            Ok(repository)
        }
        Err(findings) => Err(told(&root, &findings, console)),
    }
}

/// Loads what there is where the command was given: settings, environment, and the release, if a manifest is named or
/// the root has a release.yaml. Fails only when the environment that was asked for cannot be known.
pub fn here(manifest: Option<&Path>, global: &Global, wiring: &Wiring, console: &Console) -> Result<Here, Failure> {
    let root = open(manifest, global, wiring, console)?;
    let mut here = Here {
        folder: root.folder.clone(),
        footplate: Footplate::default(),
        environment: None,
        repository: None,
        broken: None,
    };
    match root.footplate.as_ref().map(|raw| settings(raw, zone_known)) {
        Some(Err(findings)) => {
            let failure = told(&root, &findings, console);
            if global.env.is_some() {
                return Err(Failure { hint: "mend it, or use --context and --namespace".into(), ..failure });
            }
            here.broken = Some(failure);
            return Ok(here);
        }
        Some(Ok(footplate)) => here.footplate = footplate,
        None => {}
    }
    if let Some(name) = &global.env {
        here.environment = here.footplate.environment(name).cloned();
        if here.environment.is_none() {
            return Err(told(&root, &one(unknown_environment(name, &here.footplate)), console));
        }
    }
    if root.manifest.is_some() {
        match read(&root, global.env.as_deref(), &*wiring.repo) {
            Ok(repository) => here.repository = Some(repository),
            Err(findings) => here.broken = Some(told(&root, &findings, console)),
        }
    }
    Ok(here)
}

fn open(manifest: Option<&Path>, global: &Global, wiring: &Wiring, console: &Console) -> Result<Root, Failure> {
    wiring.repo.open(manifest, global.services.as_deref()).map_err(|finding| {
        let file = finding.file.clone();
        console.findings(&[*finding]);
        Failure::new(FailureKind::Input, text!("{file} cannot be used"), "")
    })
}

fn told(root: &Root, findings: &Findings, console: &Console) -> Failure {
    console.findings(&findings.sorted());
    let (errors, warnings) = findings.count();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    let also = if warnings == 0 { String::new() } else { format!(" and {warnings} warning{}", plural(warnings)) };
    let name = root.manifest.as_ref().map_or_else(|| Text::scrub("footplate.yaml"), |m| m.name.clone());
    Failure::new(FailureKind::Input, text!("{name}: {errors} error{}{also}", plural(errors)), "")
}

fn one(finding: Finding) -> Findings {
    let mut findings = Findings::default();
    findings.push(finding);
    findings
}

fn zone_known(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok()
}

/// Reads and checks what a root holds.
pub fn read(root: &Root, environment: Option<&str>, repo: &dyn Repo) -> Result<Repository, Findings> {
    let Some(manifest) = &root.manifest else {
        let finding = Finding::file("release.yaml".into(), "the file is not there".into(), "name a manifest".into());
        return Err(one(finding));
    };
    let mut draft = Draft::new(manifest, root.footplate.as_ref(), root.services_shown.clone());
    match repo.services(root) {
        Ok(services) => {
            for (folder, file) in services {
                match file {
                    Ok(raw) => draft.service_file(folder, &raw),
                    Err(finding) => draft.unreadable_service(folder, *finding),
                }
            }
        }
        Err(finding) => draft.unreadable_services(*finding),
    }
    let services = read_services(&draft);
    draft.services(services);
    for paths in draft.scripts() {
        draft.script(&paths, repo.read(root, &paths.up), repo.read(root, &paths.down));
    }
    draft.finish(environment, zone_known)
}

/// Reads the service files; many of them on all cores, because YAML is what a large plan spends its time on.
fn read_services(draft: &Draft) -> Vec<ReadService> {
    let count = draft.service_files();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = count.div_ceil(cores).max(FILES_A_THREAD_MIN);
    std::thread::scope(|scope| {
        let read = |from: usize| (from..count.min(from + share)).map(|n| draft.read_service(n)).collect::<Vec<_>>();
        let others: Vec<_> = (share..count).step_by(share).map(|from| scope.spawn(move || read(from))).collect();
        let mut all = read(0);
        for other in others {
            match other.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}
