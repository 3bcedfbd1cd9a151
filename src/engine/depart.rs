//! Recording a train: what must lie in the cluster before it can be conducted from there (config files, scripts), and then the
//! Release itself with its first order. Everything is made first, shown, confirmed by a person, and only then sent.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::act::Driver;
use super::facts::cluster_uid;
use super::order;
use super::scope::Scope;
use super::world::World;
use crate::core::captain::intent_id;
use crate::core::config_files::ConfigFiles;
use crate::core::confirm::{Confirmed, Order};
use crate::core::effect::{Change, Direction, Effect};
use crate::core::frozen::Frozen;
use crate::core::frozen::freeze::{Given, Live, freeze};
use crate::core::frozen::rights::{Right, missing};
use crate::core::guard::{Standing, clear};
use crate::core::manifest::Environment;
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::release;
use crate::core::repository::Repository;
use crate::core::text::Text;
use crate::core::train::event::{Intent, Want};
use crate::core::train::resolved::Kind;
use crate::core::workload::duration;
use crate::ports::{Access, Cluster, Fault, FaultKind};
use crate::text;

/// What is read of the repository for a train.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The template of the Job that runs an expand step.
    pub job: Option<Value>,
    /// Scripts, in the order of the release's migrations: there, and back.
    pub scripts: Vec<(String, String)>,
}

/// A train that is ready to be recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct Departure {
    /// The train.
    pub frozen: Frozen,
    /// What is sent, in order; the Release is the last.
    pub effects: Vec<Effect>,
    /// The order it begins with.
    pub first: Vec<Intent>,
}

impl Departure {
    /// The objects that a person confirms.
    pub fn targets(&self, cluster: &Text) -> Vec<ObjectRef> {
        let made = self.effects.iter().map(|effect| effect.object.clone());
        let of = |workload: &crate::core::frozen::Workload| workload.object(cluster, &self.frozen.namespace);
        made.chain(self.frozen.workloads.iter().map(of)).collect()
    }
}

/// Makes a train of a repository and of what is live. `order` begins it.
///
/// # Errors
/// Everything that stands against it, each with what to do.
pub async fn prepare(
    cluster: &dyn Cluster,
    scope: &Scope,
    world: &World,
    repository: &Repository,
    environment: &Environment,
    files: &Files,
    order: &Order,
) -> Result<Departure, Vec<Text>> {
    let one = |fault: Fault| vec![text!("{fault}; {}", fault.hint)];
    let context = cluster.identity().context;
    let cluster_uid = cluster_uid(cluster).await.map_err(one)?;
    let Some(cluster_uid) = cluster_uid else {
        return Err(vec![text!("the cluster's uid cannot be read: allow get on namespace kube-system")]);
    };
    let mut wrong = Vec::new();
    let mut configs = BTreeMap::new();
    let mut effects = Vec::new();
    let release = scope.release.as_ref();
    for stop in release.iter().flat_map(|r| &r.services) {
        let pinned: Vec<_> = stop.configs.iter().filter_map(|(path, sha)| Some((path, sha.as_ref()?))).collect();
        if pinned.is_empty() {
            continue;
        }
        if let Some((loose, _)) = stop.configs.iter().find(|(_, sha)| sha.is_none()) {
            wrong.push(text!(
                "{} owns config file {loose}, which the release does not pin as it does its others: pin it too, they are mounted together",
                stop.name
            ));
            continue;
        }
        let Some(history) = release.and_then(|r| r.history.0.as_ref()) else {
            wrong.push(text!("the config files of {} are pinned, and no repository is at hand", stop.name));
            continue;
        };
        let mut read = Vec::new();
        for (path, sha) in pinned {
            match history.at(path, sha).await {
                Ok(content) => read.push((path.clone(), content)),
                Err(fault) => wrong.push(text!("{fault}; {}", fault.hint)),
            }
        }
        let Some(workload) = world.of_service(stop.kind, &stop.workload) else { continue };
        match ConfigFiles::of(&stop.name, read) {
            Ok(config) => {
                configs.insert(stop.name.clone(), config.name().clone());
                effects.push(Effect {
                    object: config.id(&workload.id),
                    change: Change::Create(config.config_map(&workload.id, &workload.uid)),
                    direction: Direction::Forward,
                    says: text!("put the config files of {} there", stop.name),
                });
            }
            Err(refusal) => wrong.push(text!("{}; {}", refusal.why, refusal.hint)),
        }
    }
    let live = |name: &str| live(repository, world, name);
    let given = Given {
        repository,
        environment,
        captain: order.who.clone(),
        cluster_uid,
        live: &live,
        configs: &configs,
        job: files.job.as_ref(),
        scripts: &files.scripts,
        zone: &|name| TimeZone::get(name).ok(),
        now: order.when,
    };
    let made = match freeze(&given) {
        Ok(made) if wrong.is_empty() => made,
        Ok(_) => return Err(wrong),
        Err(mut more) => {
            wrong.append(&mut more);
            return Err(wrong);
        }
    };
    for (name, script) in made.scripts {
        let object = ObjectRef {
            cluster: context.clone(),
            kind: ObjectKind::ConfigMap,
            namespace: made.frozen.namespace.clone(),
            name: name.clone(),
        };
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
            "metadata": {"name": name, "namespace": made.frozen.namespace}, "data": {"script.sql": script},
        });
        let says = text!("put the script {name} there");
        effects.push(Effect { object, change: Change::Create(body), direction: Direction::Forward, says });
    }
    let first = vec![Intent { id: intent_id(order, 0), order: order.clone(), want: Want::Start, epoch: None }];
    effects.push(release::create(&made.frozen, &context, &first, order.when));
    Ok(Departure { frozen: made.frozen, effects, first })
}

/// Sends what a departure makes, under a person's confirmation; the answer is the Release.
///
/// # Errors
/// What could not be sent; what was sent before it lies there under names that follow from what it holds, and does no harm.
pub async fn record(
    driver: &Driver,
    departure: &Departure,
    confirmed: &Confirmed,
    cluster_uid: Option<Text>,
) -> Result<Object, Fault> {
    may_create(driver, departure).await?;
    let mut last = None;
    for effect in &departure.effects {
        let (body, what) = (effect.change.clone(), text!("{}", effect.object));
        let standing = Standing {
            write: driver.write,
            confirmed: Some(confirmed),
            cluster_uid: (driver.cluster_uid.clone(), cluster_uid.clone()),
            read_at: driver.clock.now(),
            now: driver.clock.now(),
        };
        let cleared = clear(effect.clone(), &standing).map_err(|refusal| Fault {
            kind: FaultKind::Forbidden,
            what: effect.says.clone(),
            why: refusal.why,
            hint: refusal.hint,
        })?;
        let object = driver.cluster.send(&cleared).await?;
        // One that was there already must be the same: names follow from content, and a Release's from the second.
        if let Change::Create(body) = &body
            && ["/data", "/spec/plan", "/binaryData"].iter().any(|p| body.pointer(p) != object.whole().pointer(p))
        {
            return Err(Fault {
                kind: FaultKind::Conflict,
                what,
                why: "another one of this name is there already".into(),
                hint: "look at it; if nobody needs it, delete it and order again".into(),
            });
        }
        last = Some(object);
    }
    last.ok_or_else(|| Fault {
        kind: FaultKind::Malformed,
        what: "record the train".into(),
        why: "there is nothing to record".into(),
        hint: Text::default(),
    })
}

/// Asks first whether all of it may be created: who may create only some of it would leave a half behind. Where that cannot be
/// asked, the server says it when the first is sent.
async fn may_create(driver: &Driver, departure: &Departure) -> Result<(), Fault> {
    let mut wanted: Vec<Right> = departure
        .effects
        .iter()
        .map(|effect| Right { kind: effect.object.kind, subresource: "", verb: "create" })
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let namespace = &departure.frozen.namespace;
    let asked: Vec<Access> = wanted
        .iter()
        .map(|right| Access {
            verb: right.verb,
            kind: right.kind,
            subresource: right.subresource,
            namespace: namespace.clone(),
        })
        .collect();
    let Ok(has) = driver.cluster.may(&asked).await else { return Ok(()) };
    let lacks: Vec<Right> = wanted.iter().zip(&has).filter(|(_, has)| !**has).map(|(right, _)| *right).collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let user = driver.cluster.identity().user;
    Err(Fault {
        kind: FaultKind::Forbidden,
        what: text!("record the train in {namespace}"),
        why: text!("{user} may not {}", missing(&lacks).join("; ")),
        hint: "nothing was written; ask for a role that has this (footplate install prints one)".into(),
    })
}

/// What is live of a service.
fn live(repository: &Repository, world: &World, name: &str) -> Option<Live> {
    let service = repository.services.iter().find(|s| s.name == *name)?;
    let kind = service.workload.map(super::scope::object_kind);
    let workload = world.of_service(kind, &service.workload_name)?;
    let template = order::template(world, workload.id.kind, &workload.id.name)?;
    let (_, image) = order::container_of(&template, service.container.as_deref())?;
    let object = world.object(workload.id.kind, &workload.id.name)?;
    let pauses = object
        .items("/spec/strategy/canary/steps")
        .iter()
        .filter_map(|step| duration::seconds(step.get("pause")?.get("duration")?))
        .map(|seconds| u64::from(seconds) * 1000)
        .sum();
    let kind = match workload.id.kind {
        ObjectKind::Canary => Kind::Canary,
        ObjectKind::Deployment => Kind::Deployment,
        _ => Kind::Rollout,
    };
    Some(Live { kind, image: Text::scrub(&image), pauses })
}
