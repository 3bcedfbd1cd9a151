//! An environment repository as read and checked: the manifest, the services, the settings, the graph, the SQL. This is
//! what commands and the cockpit work on. Checks that concern more than one file live here; what concerns one file is
//! `manifest/`, order is `graph.rs`, SQL is `migration.rs`. Reading files happens elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{At, FileId, Finding, Findings, Place, Sources};
use super::graph::{self, Graph};
use super::manifest::reader::nearest;
use super::manifest::{Environment, Footplate, Release, Service, footplate, release, service, yaml};
use super::migration;
use super::text::Text;
use crate::text;

/// A file as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawFile {
    /// Name to print.
    pub name: Text,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A file, or what is wrong with it.
pub type FileRead = Result<RawFile, Box<Finding>>;

/// What a service file says, as far as it could be read, and what was found.
pub type ReadService = (Option<Service>, Findings);

/// A checked environment repository with one release.
#[derive(Clone, PartialEq, Debug)]
pub struct Repository {
    /// The files, for findings.
    pub sources: Sources,
    /// The manifest.
    pub manifest: FileId,
    /// SHA-256 of the manifest's bytes, lower-case hex.
    pub manifest_sha256: Text,
    /// The release.
    pub release: Release,
    /// All services of the repository, released or not, by name.
    pub services: Vec<Service>,
    /// The settings; defaults where there is no footplate.yaml.
    pub footplate: Footplate,
    /// The environment that was asked for.
    pub environment: Option<Environment>,
    /// Order and waves.
    pub graph: Graph,
    /// Warnings of all files.
    pub warnings: Vec<Finding>,
}

/// A repository of which the scripts are still to be read.
#[derive(Debug)]
pub struct Draft {
    sources: Sources,
    manifest: Option<FileId>,
    sha256: Text,
    release: Option<Release>,
    unread: Vec<(String, FileId)>,
    unreadable: Vec<String>,
    no_services: bool,
    services: Vec<Service>,
    services_dir: Text,
    broken: bool,
    footplate: Option<Footplate>,
    findings: Findings,
}

/// Where a script lies: the expand step and the way back beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptPaths {
    /// Index of the migration in the release.
    pub migration: usize,
    /// The forward script, relative to the root.
    pub up: Text,
    /// The way back, relative to the root.
    pub down: Text,
}

impl Draft {
    /// Takes in the manifest and the settings. `services_dir` is the path to print for the folder of services.
    pub fn new(manifest: &RawFile, footplate: Option<&RawFile>, services_dir: Text) -> Self {
        let mut draft = Self {
            sources: Sources::default(),
            manifest: None,
            sha256: sha256(&manifest.bytes),
            release: None,
            unread: Vec::new(),
            unreadable: Vec::new(),
            no_services: false,
            services: Vec::new(),
            services_dir,
            broken: false,
            footplate: None,
            findings: Findings::default(),
        };
        if let Some(file) = draft.take(manifest) {
            draft.manifest = Some(file);
            let (release, findings) = release::read(&draft.sources, file);
            draft.release = release;
            draft.findings.append(findings);
        }
        match footplate {
            None => draft.footplate = Some(Footplate::default()),
            Some(raw) => {
                if let Some(file) = draft.take(raw) {
                    let (footplate, findings) = footplate::read(&draft.sources, file);
                    draft.footplate = footplate;
                    draft.findings.append(findings);
                }
            }
        }
        draft
    }

    fn take(&mut self, raw: &RawFile) -> Option<FileId> {
        match yaml::decode(&mut self.sources, &raw.name, &raw.bytes) {
            Ok(file) => Some(file),
            Err(finding) => {
                self.findings.push(*finding);
                None
            }
        }
    }

    /// Takes in the text of one service file, which lies in the folder of this name. [`Self::read_service`] reads it.
    pub fn service_file(&mut self, folder: String, raw: &RawFile) {
        match self.take(raw) {
            Some(file) => self.unread.push((folder, file)),
            None => {
                self.unreadable.push(folder);
                self.broken = true;
            }
        }
    }

    /// How many service files were taken in.
    pub fn service_files(&self) -> usize {
        self.unread.len()
    }

    /// Reads the service file of this number; for a number that is none, nothing. Files do not depend on each other, so
    /// they may be read in any order and at once.
    pub fn read_service(&self, number: usize) -> ReadService {
        match self.unread.get(number) {
            Some((folder, file)) => service::read(&self.sources, *file, folder),
            None => (None, Findings::default()),
        }
    }

    /// Takes in what was read, in the order of the numbers.
    pub fn services(&mut self, read: impl IntoIterator<Item = ReadService>) {
        for (service, findings) in read {
            self.broken |= service.is_none() || findings.any_error();
            self.services.extend(service);
            self.findings.append(findings);
        }
    }

    /// Takes in why the file of a service, in the folder of this name, could not be read. Order is not judged then.
    pub fn unreadable_service(&mut self, folder: String, finding: Finding) {
        self.unreadable.push(folder);
        self.broken = true;
        self.findings.push(finding);
    }

    /// Takes in why the folder of services could not be read. Nothing is said about services then.
    pub fn unreadable_services(&mut self, finding: Finding) {
        self.no_services = true;
        self.broken = true;
        self.findings.push(finding);
    }

    /// The scripts that the release names.
    pub fn scripts(&self) -> Vec<ScriptPaths> {
        let Some(release) = &self.release else { return Vec::new() };
        let paths = release.migrations.iter().enumerate().map(|(migration, step)| {
            let up = step.path.value.clone();
            let down = text!("{}.down.sql", up.trim_end_matches(".sql"));
            ScriptPaths { migration, up, down }
        });
        paths.collect()
    }

    /// Takes in the scripts of one migration. Either may be missing, with what was found instead.
    pub fn script(&mut self, paths: &ScriptPaths, up: FileRead, down: FileRead) {
        let step = self.release.as_ref().and_then(|r| r.migrations.get(paths.migration)).cloned();
        for (result, forward) in [(up, true), (down, false)] {
            match result {
                Ok(raw) => {
                    if let (Some(file), true) = (self.take(&raw), forward) {
                        self.findings.append(migration::examine(&self.sources, file));
                    }
                }
                Err(missing) => {
                    let Some(step) = &step else { continue };
                    let message = if forward {
                        missing.message
                    } else {
                        text!("migration {} has no way back: {}", step.name, missing.message)
                    };
                    let fix = if forward { text!("write {}", paths.up) } else { text!("write {}", paths.down) };
                    self.findings.error(&self.sources, step.path.place, message, fix);
                }
            }
        }
    }

    /// Checks everything together. `environment` is the one asked for; `zone_known` tells time zones of this machine.
    /// Errors come back as findings, warnings with them or in the repository.
    pub fn finish(
        mut self,
        environment: Option<&str>,
        zone_known: impl Fn(&str) -> bool,
    ) -> Result<Repository, Findings> {
        let sources = &self.sources;
        let mut environment_found = None;
        if let Some(footplate) = &self.footplate {
            self.findings.append(footplate.check_zones(sources, zone_known));
            if let Some(name) = environment {
                environment_found = footplate.environment(name).cloned();
                if environment_found.is_none() {
                    self.findings.push(unknown_environment(name, footplate));
                }
            }
            let chosen = environment_found.as_ref();
            self.findings.append(check_namespaces(sources, &self.services, footplate, chosen));
        }
        let mut order = None;
        match &self.release {
            Some(release) if !self.broken => {
                let (graph, findings) = graph::build(sources, &self.services, release, &self.services_dir);
                order = graph;
                self.findings.append(findings);
                self.findings.append(check_owners(sources, release, &self.services));
            }
            Some(release) if !self.no_services => {
                let folders = self.unread.iter().map(|(folder, _)| folder).chain(&self.unreadable);
                let known = folders.map(|folder| &**folder).collect();
                self.findings.append(graph::strangers(sources, &known, release, &self.services_dir));
            }
            _ => {}
        }
        let parts = (self.release, self.manifest, order, self.footplate);
        let (Some(release), Some(manifest), Some(graph), Some(footplate)) = parts else { return Err(self.findings) };
        if self.findings.any_error() {
            return Err(self.findings);
        }
        Ok(Repository {
            sources: self.sources,
            manifest,
            manifest_sha256: self.sha256,
            release,
            services: self.services,
            footplate,
            environment: environment_found,
            graph,
            warnings: self.findings.warnings(),
        })
    }
}

/// Reads the settings alone, for commands that go without a release.
pub fn settings(raw: &RawFile, zone_known: impl Fn(&str) -> bool) -> Result<Footplate, Findings> {
    let mut sources = Sources::default();
    let mut findings = Findings::default();
    match yaml::decode(&mut sources, &raw.name, &raw.bytes) {
        Err(finding) => findings.push(*finding),
        Ok(file) => {
            let (footplate, found) = footplate::read(&sources, file);
            findings = found;
            if let Some(footplate) = footplate {
                findings.append(footplate.check_zones(&sources, zone_known));
                if !findings.any_error() {
                    return Ok(footplate);
                }
            }
        }
    }
    Err(findings)
}

/// SHA-256 in lower-case hex.
fn sha256(bytes: &[u8]) -> Text {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    Text::scrub(&hex)
}

/// That no environment has this name.
pub fn unknown_environment(name: &str, footplate: &Footplate) -> Finding {
    let known: Vec<&str> = footplate.environments.iter().map(|e| &*e.name).collect();
    let fix = match nearest(name, known.iter().copied()) {
        Some(near) => text!("did you mean `--env {near}`?"),
        None if known.is_empty() => "write footplate.yaml with environments, or use --context and --namespace".into(),
        None => text!("known: {}", known.join(", ")),
    };
    let message = text!("no environment is called `{}`", super::manifest::reader::short(name));
    Finding::file("footplate.yaml".into(), message, fix)
}

/// A namespace in a service file must be the environment's (design.md §3); without an environment, that of each.
fn check_namespaces(
    sources: &Sources,
    services: &[Service],
    footplate: &Footplate,
    chosen: Option<&Environment>,
) -> Findings {
    let mut findings = Findings::default();
    for namespace in services.iter().filter_map(|s| s.namespace.as_ref()) {
        let other = match chosen {
            Some(chosen) => (chosen.namespace != namespace.value).then_some(chosen),
            None => footplate.environments.iter().find(|e| e.namespace != namespace.value),
        };
        if let Some(other) = other {
            let message = text!(
                "namespace `{}` is not that of environment {}, which is `{}`",
                namespace.value,
                other.name,
                other.namespace
            );
            findings.error(sources, namespace.place, message, "remove it here; the environment says the namespace");
        }
    }
    findings
}

/// Every pinned configuration file has exactly one owner (`train.md` §1); a flag that no service lists is not watched.
fn check_owners(sources: &Sources, release: &Release, services: &[Service]) -> Findings {
    let mut findings = Findings::default();
    let mut owners: BTreeMap<&str, (&Service, Place)> = BTreeMap::new();
    for service in services {
        for config in &service.configs {
            if let Some((other, first)) = owners.get(&*config.value) {
                let message = text!("{} and {} both own `{}`", other.name, service.name, config.value);
                findings.error_also(
                    sources,
                    config.place,
                    message,
                    "leave it to one of them",
                    ("first here".into(), *first),
                );
            } else {
                owners.insert(&config.value, (service, config.place));
            }
        }
    }
    for config in &release.configs {
        let At { value, place } = &config.path;
        if !owners.contains_key(&**value) {
            // Looking for the nearest name costs; a file with a hundred findings gets no more advice.
            let full = findings.full(&sources.name(place.file));
            let near = if full { None } else { nearest(value, owners.keys().copied()) };
            let fix = match near {
                Some(near) => text!("did you mean `{near}`? Otherwise list it under configs of its service.yaml"),
                None => "list it under configs of the service.yaml of the service that reads it".into(),
            };
            findings.error(sources, *place, text!("no service owns the config file `{value}`"), fix);
        }
    }
    let listed: BTreeSet<&Text> = services.iter().flat_map(|s| &s.flags).map(|f| &f.value).collect();
    for goal in &release.flags {
        if !listed.contains(&goal.key.value) {
            let message = text!("no service lists the flag `{}`; nothing is watched while it moves", goal.key.value);
            findings.warn(sources, goal.key.place, message, "list it under flags of each service.yaml that reads it");
        }
    }
    findings
}
