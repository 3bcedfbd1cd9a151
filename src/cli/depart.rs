//! From a manifest to a recorded train: what `start` without a service and `run` have in common. Choosing a place and asking
//! the person is done here; what a train is made of is `engine::depart`'s.

use std::path::Path;
use std::sync::Arc;

use super::console::Console;
use super::failure::{Failure, FailureKind};
use super::ordering::{answer, journal, who};
use super::place::{Strictness, Target, may_write, resolve};
use super::{Global, Wiring};
use crate::core::confirm::{Answer, Confirm, Order, Question, Refusal};
use crate::core::effect::Direction;
use crate::core::manifest::Environment;
use crate::core::object::{Object, ObjectKind};
use crate::core::release::Release;
use crate::core::repository::Repository;
use crate::core::text::Text;
use crate::engine::act::Driver;
use crate::engine::depart::{self, Departure, Files};
use crate::engine::look::{interest, look};
use crate::engine::scope::Scope;
use crate::ports::{FaultKind, Repo, Root};
use crate::text;

/// How a person answers the question of a start.
#[derive(Clone, Debug, Default)]
pub struct Word {
    /// Yes to a plain question.
    pub yes: bool,
    /// What was typed.
    pub confirm: Option<String>,
    /// The command itself is the word: `run --env E` names the environment.
    pub named: bool,
    /// Why.
    pub reason: Option<String>,
}

/// A place with its environment, resolved for a train.
pub struct Platform {
    /// Where.
    pub target: Target,
    /// The environment.
    pub environment: Environment,
}

/// Finds the place of a train: a manifest without errors, an environment, and leave to write.
pub fn platform(
    manifest: Option<&Path>,
    what: &str,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> Result<Platform, Failure> {
    let target = resolve(manifest, Strictness::Must, global, wiring, console)?;
    may_write(&target.scope.place, Direction::Forward, what)?;
    let named = target.scope.place.environment.clone();
    let environment = named.and_then(|name| target.environments.iter().find(|e| e.name == name).cloned());
    let Some(environment) = environment else {
        let known: Vec<&str> = target.environments.iter().map(|e| e.name.as_str()).collect();
        let hint = if known.is_empty() {
            text!("write footplate.yaml with environments at the root of the repository")
        } else {
            text!("name one with --env: {}", known.join(", "))
        };
        return Err(Failure::new(FailureKind::Input, text!("{what} needs an environment"), hint));
    };
    Ok(Platform { target, environment })
}

/// The Releases of a place, the readable ones.
pub async fn releases(target: &Target) -> Result<Vec<Release>, Failure> {
    let context = target.cluster.identity().context;
    let found = target.cluster.list(&interest(&target.scope, ObjectKind::Release)).await.map_err(|fault| {
        let missing = fault.kind == FaultKind::NoSuchKind;
        let mut failure = Failure::from(fault);
        if missing {
            failure.hint = "footplate install | kubectl apply -f -".into();
        }
        failure
    })?;
    Ok(found.iter().filter_map(|object| Release::read(object, &context, None).ok()).collect())
}

/// The one that is active; of several the oldest.
pub fn active(releases: &[Release]) -> Option<&Release> {
    releases.iter().filter(|r| r.active()).min_by_key(|r| (r.created, r.uid.clone()))
}

/// Records a train and answers with its Release.
pub async fn record(
    platform: &Platform,
    word: &Word,
    manifest: Option<&Path>,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> Result<Release, Failure> {
    let Platform { target, environment } = platform;
    let Target { cluster, scope, repository, .. } = target;
    let Some(repository) = repository else {
        return Err(Failure::new(FailureKind::Input, "a train needs a manifest", "name a release.yaml"));
    };
    let input = |what: Text| Failure::new(FailureKind::Input, what, "");
    let root = wiring.repo.open(manifest, global.services.as_deref()).map_err(|finding| input(finding.message))?;
    let files = files(repository, &root, &*wiring.repo).map_err(input)?;
    let order = Order {
        who: who(&cluster.identity().user),
        when: wiring.clock.now(),
        why: Text::scrub(word.reason.as_deref().unwrap_or_default()),
    };
    let driver = Driver {
        cluster: Arc::clone(cluster),
        clock: Arc::clone(&wiring.clock),
        journal: journal(wiring, false, console),
        write: scope.place.write,
        cluster_uid: scope.cluster_uid.clone(),
    };
    let luggage = Luggage { repository, environment, files: &files };
    set_off(&driver, scope, &luggage, &order, |departure, level| {
        let waves = departure.frozen.resolved.waves.len();
        let minutes = departure.frozen.estimate.div_ceil(60_000);
        console.talk(&format!(
            "start {} in {}: {} services, {waves} waves, about {minutes} min\n",
            repository.release.name,
            environment.name,
            departure.frozen.workloads.len()
        ));
        Ok(match word.named {
            true => Answer::Typed(environment.name.to_string()),
            false => answer(level, word.confirm.as_deref(), word.yes),
        })
    })
    .await
}

/// What a train is made of, beside what is live.
#[derive(Clone, Copy)]
pub struct Luggage<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The environment.
    pub environment: &'a Environment,
    /// What is read of the repository beside what was checked.
    pub files: &'a Files,
}

/// Makes a train, has a person say yes to exactly that, and records it.
pub async fn set_off(
    driver: &Driver,
    scope: &Arc<Scope>,
    luggage: &Luggage<'_>,
    order: &Order,
    ask: impl FnOnce(&Departure, &Confirm) -> Result<Answer, Refusal>,
) -> Result<Release, Failure> {
    let Luggage { repository, environment, files } = *luggage;
    let cluster = &*driver.cluster;
    let world = look(cluster, scope, order.when).await?;
    let departure =
        depart::prepare(cluster, scope, &world, repository, environment, files, order).await.map_err(|wrong| {
            let mut failure =
                Failure::new(FailureKind::No, text!("{} cannot set off", repository.release.name), "mend these first");
            failure.causes = wrong;
            failure
        })?;
    let context = cluster.identity().context;
    let level = if environment.protected { Confirm::Type(environment.name.clone()) } else { Confirm::Yes };
    let unfit = |refusal: Refusal| Failure::new(FailureKind::Input, refusal.why, refusal.hint);
    let said = ask(&departure, &level).map_err(unfit)?;
    let question = Question { level, direction: Direction::Forward, targets: departure.targets(&context) };
    let confirmed = question.answer(&said, driver.clock.now()).map_err(unfit)?;
    let read = Some(departure.frozen.cluster_uid.clone());
    let object: Object = depart::record(driver, &departure, &confirmed, read).await?;
    Release::read(&object, &context, None).map_err(|unfit| Failure::new(FailureKind::Outside, unfit.why, ""))
}

/// What a train takes out of the repository beside what was checked.
///
/// # Errors
/// Which file cannot be used, and why.
pub fn files(repository: &Repository, root: &Root, repo: &dyn Repo) -> Result<Files, Text> {
    let read = |path: &str| -> Result<String, Text> {
        let raw = repo.read(root, path).map_err(|finding| text!("{path}: {}", finding.message))?;
        String::from_utf8(raw.bytes).map_err(|_| text!("{path} is not UTF-8"))
    };
    let mut files = Files::default();
    let migrations = &repository.release.migrations;
    if let Some(path) = repository.footplate.migration_job.as_ref().filter(|_| !migrations.is_empty()) {
        let job = serde_yaml::from_str(&read(&path.value)?).map_err(|why| text!("{}: {why}", path.value))?;
        files.job = Some(job);
    }
    for migration in migrations {
        let up = migration.path.value.as_str();
        let down = format!("{}.down.sql", up.trim_end_matches(".sql"));
        files.scripts.push((read(up)?, read(&down)?));
    }
    Ok(files)
}
