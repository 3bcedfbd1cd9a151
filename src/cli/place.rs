//! Where a command goes: environment, context and namespace from the arguments, footplate.yaml and the kubeconfig, and
//! the release of the repository that the command is called in. Connects; asks the cluster nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::repository::{self, Here};
use super::{Global, Wiring};
use crate::config::layers::Person;
use crate::core::effect::Direction;
use crate::core::manifest::{Environment, FlagValue, footplate::FlagStore as Named};
use crate::core::repository::Repository;
use crate::core::snapshot::{Mode, Place, WriteMode};
use crate::core::text::Text;
use crate::engine::scope::{FlagHome, FlagStore, History, Release, Scope};
use crate::ports::{Cluster, Identity};
use crate::text;

/// Where a command goes.
pub struct Target {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// What is looked after there.
    pub scope: Arc<Scope>,
    /// The repository, where the command is called in one.
    pub repository: Option<Repository>,
    /// Where flags live.
    pub flag_home: FlagHome,
    /// The Prometheus of the environment.
    pub prometheus: Option<Text>,
    /// The environments of footplate.yaml.
    pub environments: Vec<Environment>,
    /// The root of the repository, or the folder that the command is called in.
    pub folder: PathBuf,
}

/// What a command makes of a manifest with errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strictness {
    /// It cannot go on.
    Must,
    /// It goes on without: nothing may stand in the way of pause, abort and undo.
    May,
}

/// Finds out where to go. `manifest` is the one that was named; else that of the repository around this folder counts.
pub fn resolve(
    manifest: Option<&Path>,
    strictness: Strictness,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> Result<Target, Failure> {
    let here = repository::here(manifest, global, wiring, console)?;
    if let Some(failure) = here.broken.clone() {
        if strictness == Strictness::Must {
            return Err(failure);
        }
        console.talk("going on without the manifest\n");
    }
    of(here, global, wiring)
}

/// Where a command that was given here goes; what is wrong with the manifest is no matter.
pub fn of(here: Here, global: &Global, wiring: &Wiring) -> Result<Target, Failure> {
    let (environment, context) = choose(&here, global, wiring)?;
    let cluster = wiring.clusters.connect(&context, &global.own.plugins()).map_err(|fault| {
        // A name that is not in the file is a slip of the keyboard, not a cluster that does not answer.
        let known = wiring.clusters.contexts().is_ok_and(|list| list.all.iter().any(|c| c.name == context));
        let mut failure = Failure::from(fault);
        if !known && environment.is_none() && global.context.is_some() {
            failure.kind = FailureKind::Input;
        }
        failure
    })?;
    let identity = cluster.identity();
    let namespace = match (&global.namespace, &environment) {
        (Some(namespace), _) => Text::scrub(namespace),
        (None, Some(environment)) => environment.namespace.clone(),
        (None, None) => identity.namespace.clone(),
    };
    let flag_home = flag_home(&here, wiring);
    let scope = Scope {
        place: Place {
            environment: environment.as_ref().map(|e| e.name.clone()),
            write: match global.read_only {
                true => WriteMode::ReadOnly,
                false => global.own.person.write_mode(&context, global.env.is_some() || global.context.is_some()),
            },
            context,
            namespace,
            server: identity.server,
            protected: environment.as_ref().is_some_and(|e| e.protected),
        },
        mode: Mode::Live,
        cluster_uid: environment.as_ref().and_then(|e| e.cluster_uid.clone()),
        release: here.repository.as_ref().map(|r| {
            let history = History(Some((wiring.history)(&here.folder)));
            Release { flag_home: flag_home.clone(), history, ..Release::of(r) }
        }),
    };
    let prometheus = environment.and_then(|e| e.prometheus);
    let environments = here.footplate.environments;
    let folder = here.folder;
    Ok(Target {
        cluster,
        scope: Arc::new(scope),
        repository: here.repository,
        flag_home,
        prometheus,
        environments,
        folder,
    })
}

/// Refuses early, with the exit code of what is not allowed, what the guard would refuse anyway: anything under
/// `--read-only`, and what goes forward in a context that is read-only by its name.
pub fn may_write(place: &Place, direction: Direction, what: &str) -> Result<(), Failure> {
    match (place.write, direction) {
        (WriteMode::ReadOnly, _) => {
            let said = text!("--read-only: {what} would change something");
            Err(Failure::new(FailureKind::Outside, said, "call it without --read-only"))
        }
        (WriteMode::ReadOnlyByPattern, Direction::Forward) => {
            let said = text!("{} is read-only by its name, and {what} goes forward", place.context);
            let hint = "name the place with --env or --context; where your own read_only_contexts has it, add --write";
            Err(Failure::new(FailureKind::Outside, said, hint))
        }
        _ => Ok(()),
    }
}

/// Where flags live, as footplate.yaml says.
fn flag_home(here: &Here, wiring: &Wiring) -> FlagHome {
    let store = match &here.footplate.flags {
        None => FlagStore::Objects,
        Some(Named::FeatureFlag(name)) => FlagStore::Object(name.clone()),
        Some(Named::ConfigMap(name, key)) => FlagStore::ConfigMap(name.clone(), key.clone()),
        Some(Named::File(path)) => FlagStore::File((wiring.flag_file)(&here.folder.join(path.value.as_str()))),
    };
    // A share or a variant by name is nobody's way back; where it is recorded as safe, off is what a person knows to be.
    let plain = |value: &FlagValue| match value {
        FlagValue::On => Some(true),
        FlagValue::Off => Some(false),
        FlagValue::Percent(_) | FlagValue::Variant(_) => None,
    };
    let safe = here.footplate.safe.iter().filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect();
    FlagHome { store, safe }
}

/// The environment and the context. An environment that has the chosen context, and the chosen namespace, counts even
/// where it was not named: its protection must not be lost by another way of naming the same place.
fn choose(here: &Here, global: &Global, wiring: &Wiring) -> Result<(Option<Environment>, Text), Failure> {
    if let Some(environment) = &here.environment {
        return Ok((Some(environment.clone()), environment.context.clone()));
    }
    let context = match &global.context {
        Some(context) => Text::scrub(context),
        None => wiring.clusters.contexts()?.current.ok_or_else(|| {
            let hint = "name one with --context, or an environment with --env";
            Failure::new(FailureKind::Input, "the kubeconfig has no current context", hint)
        })?,
    };
    let environment = environment_of(&here.footplate.environments, &context, global.namespace.as_deref()).cloned();
    Ok((environment, context))
}

/// The environment that has this context, and this namespace where one is named. Two environments in one context are told
/// apart by name alone.
fn environment_of<'e>(all: &'e [Environment], context: &str, namespace: Option<&str>) -> Option<&'e Environment> {
    let mut same =
        all.iter().filter(|e| e.context == *context && namespace.is_none_or(|namespace| e.namespace == *namespace));
    match (same.next(), same.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// What is looked after once another context is opened from a screen: the environment that has it, with its rules; else
/// the context's own namespace.
pub fn elsewhere(
    from: &Scope,
    environments: &[Environment],
    there: Identity,
    person: &Person,
) -> (Scope, Option<Environment>) {
    let environment = environment_of(environments, &there.context, None);
    let write = match from.place.write {
        WriteMode::ReadOnly => WriteMode::ReadOnly,
        _ => person.write_mode_elsewhere(&there.context),
    };
    let place = Place {
        environment: environment.map(|e| e.name.clone()),
        namespace: environment.map_or(there.namespace, |e| e.namespace.clone()),
        context: there.context,
        server: there.server,
        protected: environment.is_some_and(|e| e.protected),
        write,
    };
    let cluster_uid = environment.and_then(|e| e.cluster_uid.clone());
    (Scope { place, cluster_uid, ..from.clone() }, environment.cloned())
}
