//! What people order, by the names they know, and the aims that follow: kind, object, image and container come from the
//! release and from what was seen. Whether an order makes sense is the verb's to say, on fresh facts.

use super::act::Outcome;
use super::scope::{Scope, Stop};
use super::world::World;
use crate::core::confirm::{Order, Refusal};
use crate::core::image;
use crate::core::intent::Want;
use crate::core::object::ObjectKind;
use crate::core::text::Text;
use crate::core::timeline::Seek;
use crate::core::verb::{Aim, Verb};
use crate::text;

pub use crate::core::intent::{Departing, Intent as Ordered, Target};

/// What an intent asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Intent {
    /// Carry this out.
    Order(Box<Ordered>),
    /// Record a train.
    Depart(Box<Departing>),
    /// Pods and runs of these services are looked at, and of no others.
    Watch(Vec<Text>),
    /// Read everything again.
    Reread,
    /// Leave this context and open that one.
    Switch(Text),
    /// Who drives a rehearsal from now on: its script, or the person alone.
    Script {
        /// True: the script.
        drives: bool,
    },
    /// Where to go in a replay.
    Seek(Seek),
}

/// How one target of an order ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The order.
    pub id: u64,
    /// The service.
    pub name: Text,
    /// How it ended.
    pub outcome: Outcome,
    /// True for the last one of the order.
    pub last: bool,
}

/// The aim of an order at one target.
pub fn aim(want: &Want, target: &Target, order: &Order, scope: &Scope, world: &World) -> Result<Aim, Refusal> {
    let release = scope.release.as_ref();
    let stop = release.and_then(|r| r.services.iter().find(|s| s.name == target.name));
    let container = stop.and_then(|s| s.container.clone());
    let verb = match want {
        Want::Start => start(stop, target, world)?,
        Want::Pause => Verb::Pause,
        Want::Resume => Verb::Resume,
        Want::Promote => Verb::Promote,
        Want::PromoteFull => Verb::PromoteFull,
        Want::Abort => Verb::Abort,
        Want::Retry => Verb::Retry,
        Want::Restart => Verb::Restart,
        Want::Undo => Verb::Undo,
        Want::Accept(_) | Want::TakeOver | Want::Depart => {
            let why = text!("{} is about a train, and none governs {}", want.name(), target.name);
            return Err(Refusal { why, hint: "footplate start records one".into(), already: false });
        }
        Want::Flag { .. } => {
            let why = text!("{} is a flag, not a workload", target.name);
            return Err(Refusal { why, hint: "order it as a flag".into(), already: false });
        }
    };
    let Some(workload) = target.object.clone() else {
        let why = text!("{} has no object in the cluster", target.name);
        return Err(Refusal { why, hint: "check its name and namespace".into(), already: false });
    };
    Ok(Aim { verb, workload, order: order.clone(), container, seen: target.seen.clone() })
}

/// The pinned image: the name that service.yaml gives, else that of the running one, with the pinned tag and digest.
fn start(stop: Option<&Stop>, target: &Target, world: &World) -> Result<Verb, Refusal> {
    let refuse = |why: Text, hint: &str| Err(Refusal { why, hint: Text::scrub(hint), already: false });
    let name = &target.name;
    let Some(stop) = stop else {
        return refuse(text!("no version is pinned for {name}"), "name a release.yaml that has it, with --manifest");
    };
    let template = target.object.as_ref().and_then(|o| template(world, o.kind, &o.name));
    let Some((container, live)) = template.and_then(|t| container_of(&t, stop.container.as_deref())) else {
        let hint = "name the container in workload.container of its service.yaml";
        return refuse(text!("{name} has no container {}", stop.container.as_deref().unwrap_or("at all")), hint);
    };
    let repository = stop.image.as_deref().unwrap_or(image::parse(&live).repository).to_owned();
    if repository.is_empty() {
        return refuse(text!("the image of {name} has no name"), "name it in image of its service.yaml");
    }
    let digest = stop.digest.as_ref().map(|d| format!("@{d}")).unwrap_or_default();
    // A tag has no plus sign; builds write an underscore or a dash for it. Which one, only service owners know.
    if stop.pinned.contains('+') {
        return refuse(
            text!("version {} of {name} cannot be an image tag", stop.pinned),
            "pin a version without build metadata",
        );
    }
    // Its config files are read when the order is carried out.
    Ok(Verb::Start { image: text!("{repository}:{}{digest}", stop.pinned), container, config: None })
}

/// The pod template of a workload, of what it refers to where it has none of its own.
pub(super) fn template(world: &World, kind: ObjectKind, name: &str) -> Option<serde_json::Value> {
    let object = world.object(kind, name)?;
    let refers = object.str("/spec/workloadRef/name").or_else(|| object.str("/spec/targetRef/name"));
    let holder = match refers {
        Some(target) => world.object(ObjectKind::Deployment, target)?,
        None => object,
    };
    holder.raw("/spec/template").cloned()
}

/// Name and image of a container: the named one, else the pod's default, else the first.
pub(super) fn container_of(template: &serde_json::Value, named: Option<&str>) -> Option<(Text, String)> {
    let containers = template["spec"]["containers"].as_array()?;
    let default = template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    let of = |name: &str| containers.iter().find(|c| c["name"] == name);
    let found = match named {
        Some(name) => of(name),
        None => default.and_then(of).or_else(|| containers.first()),
    }?;
    Some((Text::scrub(found["name"].as_str()?), found["image"].as_str().unwrap_or_default().to_owned()))
}
