//! What the pre-flight's checks come to, each from what was read for it. Reading is done elsewhere, and so is what a finding means
//! to a train (`train/preflight.rs`). Whoever cannot read says [`Found::Unknown`].

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::rights::{self, Right};
use super::{FreezeWindow, Workload};
use crate::core::image;
use crate::core::object::Object;
use crate::core::template;
use crate::core::text::Text;
use crate::core::train::event::{Found, Reading};
use crate::core::train::resolved::{Deploy, Flag, Kind, Setting};
use crate::core::workload::container_image;
use crate::text;

/// A train of this environment that has ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Past {
    /// Name of its Release.
    pub release: Text,
    /// When it was made.
    pub created: Timestamp,
    /// True when it ended completed.
    pub completed: bool,
    /// What it pinned.
    pub services: Vec<PastService>,
}

/// One service of it.
#[derive(Clone, PartialEq, Debug)]
pub struct PastService {
    /// Its name.
    pub name: Text,
    /// The image that was pinned.
    pub image: Text,
    /// The ConfigMap that was pinned with it.
    pub config: Option<Text>,
    /// True when it was deployed and taken back.
    pub taken_back: bool,
}

/// The cluster is the one that footplate.yaml pins, and the one that the train was recorded in.
pub fn cluster(pinned: Option<&Text>, recorded: &Text, read: &str) -> Found {
    let other = |what: &str, uid: &Text| {
        Found::Refuse(text!("this cluster is {}, {what} {uid}: connect to the right one", Text::scrub(read)))
    };
    if recorded.as_str() != read {
        return other("the train was recorded in", recorded);
    }
    match pinned {
        Some(uid) if uid.as_str() != read => other("footplate.yaml pins", uid),
        Some(uid) => Found::Good(text!("{uid}, as pinned")),
        None => Found::Good(text!("{recorded}; footplate.yaml pins none")),
    }
}

/// All rights are there.
pub fn allowed(wanted: &[Right], has: &[bool]) -> Found {
    let lacks: Vec<Right> = wanted.iter().zip(has).filter(|(_, has)| !**has).map(|(right, _)| *right).collect();
    if wanted.len() != has.len() {
        return Found::Unknown(text!("{} of {} rights were answered", has.len(), wanted.len()));
    }
    if lacks.is_empty() {
        return Found::Good(text!("all {} rights are there", wanted.len()));
    }
    Found::Refuse(text!("the role of this conductor may not {}", rights::missing(&lacks).join("; ")))
}

/// No other train is under way.
pub fn alone(others: &[Text]) -> Found {
    match others.first() {
        None => Found::Good(Text::scrub("no other train is active")),
        Some(other) => Found::Refuse(text!("release {other} is active in this environment: end it first")),
    }
}

/// The train ends before a freeze begins. The estimate is in milliseconds.
pub fn freeze(windows: &[FreezeWindow], now: Timestamp, estimate: u64) -> Found {
    let long = SignedDuration::from_millis(i64::try_from(estimate).unwrap_or(i64::MAX));
    let end = now.saturating_add(long).unwrap_or(Timestamp::MAX);
    let crossed = windows.iter().filter(|w| w.from < end && w.to > now).min_by_key(|w| w.from);
    let minutes = estimate.div_ceil(60_000);
    let at = |t: Timestamp| t.strftime("%a %F %H:%M UTC").to_string();
    match crossed {
        Some(w) => {
            let (from, to) = (at(w.from), at(w.to));
            Found::Refuse(text!("freeze from {from} to {to} ({}); the train takes about {minutes} min", w.reason))
        }
        None => match windows.iter().filter(|w| w.from >= end).min_by_key(|w| w.from) {
            Some(next) => Found::Good(text!("ends about {}; the next freeze is {}", at(end), at(next.from))),
            None => Found::Good(text!("ends about {}; no freeze is near", at(end))),
        },
    }
}

/// A policy that nothing proves and nobody let pass.
pub fn policy(name: &Text) -> Found {
    Found::Unknown(text!(
        "nothing checks {name} yet: it passes by a waiver in footplate.yaml (policy, by, reason, until) alone"
    ))
}

/// The pinned version was not taken back here before. The latest train that pinned it counts.
pub fn quarantine(name: &Text, pinned: &Text, past: &[Past]) -> Found {
    let of = |train: &'_ Past| train.services.iter().find(|s| s.name == *name && s.image == *pinned).cloned();
    let latest = past.iter().filter_map(|train| Some((train, of(train)?))).max_by_key(|(train, _)| train.created);
    match latest {
        Some((train, service)) if service.taken_back => Found::Ask(text!(
            "{} was taken back here by release {} on {}: whoever starts it again says why",
            short(pinned),
            train.release,
            train.created.strftime("%F")
        )),
        Some((train, _)) if train.completed => Found::Good(text!("release {} completed with it", train.release)),
        _ => Found::Good(Text::scrub("never taken back here")),
    }
}

/// What is live of a service, or was pinned for it: its image, and the ConfigMap with its config files.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Running<'a> {
    /// The image.
    pub image: &'a Text,
    /// The ConfigMap; none where none is pinned or mounted.
    pub config: Option<&'a str>,
}

/// What is live is what the last completed train left. A train writes image and config alone, so these are what it could go
/// over; whatever else somebody changed in the template stays there.
pub fn drift(name: &Text, live: Running<'_>, pinned: Running<'_>, past: &[Past]) -> Found {
    let of = |train: &'_ Past| train.services.iter().find(|s| s.name == *name).cloned();
    let left = past.iter().filter(|t| t.completed).filter_map(|train| Some((train, of(train)?)));
    let Some((train, service)) = left.max_by_key(|(train, _)| train.created) else {
        return Found::Good(text!("{} is live; no train has completed here before", short(live.image)));
    };
    let is = |other: Running<'_>| other.image == live.image && other.config.is_none_or(|c| live.config == Some(c));
    let was = Running { image: &service.image, config: service.config.as_deref() };
    if is(pinned) || is(was) {
        return Found::Good(text!("{} is live, as expected", short(live.image)));
    }
    // The name of a ConfigMap is a hash, which says something only where the image says nothing.
    let said = |r: Running<'_>| match r.config {
        Some(config) if service.image == *live.image => text!("{} with {}", short(r.image), Text::scrub(config)),
        None if service.image == *live.image => text!("{} without a config", short(r.image)),
        _ => short(r.image),
    };
    let (live, was, release) = (said(live), said(was), &train.release);
    Found::Ask(text!("{live} is live, release {release} left {was}: say whether the train may go over it"))
}

/// An image as people call it: its version.
fn short(reference: &Text) -> Text {
    image::version(reference).map_or_else(|| reference.clone(), Text::scrub)
}

/// The template can take the pinned config.
pub fn config_volume(workload: &Workload, live: &Value) -> Found {
    let Some(config) = &workload.config else { return Found::Good(Text::scrub("no config is pinned")) };
    match template::config_volume(live) {
        Some((_, name)) => Found::Good(text!("volume config holds {}", Text::scrub(name))),
        None => {
            let container = workload.container.as_deref().unwrap_or("its container");
            Found::Refuse(text!(
                "the template of {} has no volume called config with a configMap: add to spec.template.spec: volumes: [{{name: \
                 config, configMap: {{name: {config}}}}}], and to {container}: volumeMounts: [{{name: config, mountPath: WHERE IT \
                 READS THEM}}]",
                workload.name
            ))
        }
    }
}

/// The steps are those that the release asks for, each weight but the last with a pause after it.
pub fn weights(workload: &Workload, object: &Object) -> Found {
    if workload.kind != Kind::Rollout {
        return Found::Good(Text::scrub("no steps of its own that a release could ask for"));
    }
    let wanted = workload.weights.as_deref();
    if object.raw("/spec/strategy/canary").is_none() {
        return match wanted {
            Some(wanted) => {
                let wanted = listed(wanted.iter().map(|w| i64::from(*w)));
                Found::Refuse(text!(
                    "the release asks for {wanted}, and {} is no canary: it has no weights",
                    workload.name
                ))
            }
            None => Found::Good(Text::scrub("no canary: it has no weights")),
        };
    }
    let steps = object.items("/spec/strategy/canary/steps");
    let mut weights: Vec<i64> = Vec::new();
    let mut paused = true;
    for (n, step) in steps.iter().enumerate() {
        if let Some(weight) = step["setWeight"].as_i64() {
            if !paused {
                return Found::Refuse(text!(
                    "before step {n}: weight {} has no pause after it, so that nothing could be judged there: add a pause",
                    weights.last().copied().unwrap_or_default()
                ));
            }
            weights.push(weight);
            paused = false;
        }
        paused |= step.get("pause").is_some();
    }
    // A canary that is through its steps is at 100 %, whether that is written or not.
    if weights.last().is_some_and(|last| *last < 100) {
        if !paused {
            return Found::Refuse(text!(
                "weight {} is the last and has no pause after it: add a pause",
                weights.last().copied().unwrap_or_default()
            ));
        }
        weights.push(100);
    }
    let has = listed(weights.iter().copied());
    let Some(wanted) = wanted else { return Found::Good(text!("{has}, each with a pause")) };
    let mut asked: Vec<i64> = wanted.iter().map(|w| i64::from(*w)).collect();
    if asked.last().is_some_and(|last| *last < 100) {
        asked.push(100);
    }
    if asked == weights {
        return Found::Good(text!("{has}, each with a pause"));
    }
    let asked = listed(asked.into_iter());
    Found::Refuse(text!(
        "the release asks for {asked}, the steps of {} are {has}: make one as the other",
        workload.name
    ))
}

fn listed(weights: impl Iterator<Item = i64>) -> String {
    let all: Vec<String> = weights.map(|w| format!("{w} %")).collect();
    if all.is_empty() { "no weights".to_owned() } else { all.join(" → ") }
}

/// A version that was there before walks its steps all the same.
pub fn anew(deploy: Deploy, reading: &Reading) -> Found {
    match (deploy, reading.mark) {
        (_, 0) => Found::Good(Text::scrub("its steps are walked")),
        (Deploy::Direct, _) => {
            Found::Good(Text::scrub("it was there before; its template gets a mark, so that its steps are walked"))
        }
        (Deploy::Git, _) => Found::Refuse(Text::scrub(
            "it was there before and would be jumped to, past steps and analyses; by git that cannot be prevented: pin another build",
        )),
    }
}

/// The flag is where it was before the release. `read` is its value now.
pub fn flag_old(flag: &Flag, read: &Setting) -> Found {
    let (key, goal) = (&flag.key, &flag.goal);
    let partly = matches!(read, Setting::Percent(1..=99)) && flag.safe.as_ref() != Some(read);
    if read == goal {
        return Found::Refuse(text!(
            "{key} is at {read} already: set it back first, so that this train can move it and take it back"
        ));
    }
    if partly {
        return Found::Refuse(text!("{key} is at {read}, on its way: set it back, or finish it, first"));
    }
    if let Some(safe) = flag.safe.as_ref().filter(|safe| *safe != read && *safe != goal) {
        return Found::Refuse(text!("{key} is at {read}, its value of old is {safe}: set it back first"));
    }
    Found::Good(text!("{key} is at {read}; it goes to {goal}"))
}

/// What the way back rests on, as read.
#[derive(Clone, PartialEq, Debug)]
pub struct Back {
    /// True when the replica set of what is live is there.
    pub set: bool,
    /// The ConfigMap that the live template's volume `config` names, and whether it is there.
    pub config: Option<(Text, bool)>,
    /// Ready pods with the live image.
    pub ready: usize,
    /// Replicas that are wanted.
    pub replicas: i64,
    /// Quotas that leave no room: name, resource, and what is left of it; none where quotas could not be read.
    pub quotas: Option<Vec<(Text, Text, Text)>>,
}

/// The way back from the pinned version is open.
pub fn way_back(workload: &Workload, reading: &Reading, back: &Back) -> Found {
    let name = &workload.name;
    if !back.set {
        return Found::Unknown(text!("the replica set {} of what is live was not found", reading.stable));
    }
    if let Some((config, false)) = &back.config {
        return Found::Refuse(text!(
            "{name} mounts ConfigMap {config}, which is gone: what is live could not start again"
        ));
    }
    if back.replicas > 0 && back.ready == 0 {
        return Found::Refuse(text!(
            "no pod of what is live is ready, so nobody knows whether its image can still be pulled"
        ));
    }
    if let Some((quota, resource, left)) = back.quotas.as_ref().and_then(|q| q.first()) {
        return Found::Refuse(text!(
            "quota {quota} leaves {left} of {resource}, less than one more pod of {name} takes"
        ));
    }
    let mut notes = Vec::new();
    if !reading.fast {
        notes.push("slow: no fast path back to what is live, it is promoted by hand of the conductor");
    }
    if back.replicas <= 0 {
        notes.push("no replicas: that its image can be pulled is not known");
    }
    if back.quotas.is_none() {
        notes.push("quotas could not be read");
    }
    if notes.is_empty() {
        return Found::Good(text!("fast; {} ready pods of what is live", back.ready));
    }
    Found::Warn(text!("{}", notes.join("; ")))
}

/// Quotas of the namespace that leave less than one more pod of this template takes: name, resource, what is left.
pub fn short_quotas(quotas: &[Object], live: &Value) -> Vec<(Text, Text, Text)> {
    let mut out = Vec::new();
    for quota in quotas {
        let Some(hard) = quota.raw("/status/hard").and_then(Value::as_object) else { continue };
        for (resource, hard) in hard {
            let used = quota.raw("/status/used").map_or(&Value::Null, |used| &used[resource]);
            let need = match resource.as_str() {
                "pods" | "count/pods" => Some(1.0),
                "cpu" | "requests.cpu" => summed(live, "requests", "cpu"),
                "memory" | "requests.memory" => summed(live, "requests", "memory"),
                "limits.cpu" => summed(live, "limits", "cpu"),
                "limits.memory" => summed(live, "limits", "memory"),
                _ => None,
            };
            let left = hard.as_str().and_then(quantity).zip(used.as_str().and_then(quantity)).map(|(h, u)| h - u);
            if let (Some(need), Some(left)) = (need, left)
                && left < need
            {
                out.push((quota.name(), Text::scrub(resource), text!("{left}")));
            }
        }
    }
    out
}

fn summed(template: &Value, which: &str, resource: &str) -> Option<f64> {
    let containers = template["spec"]["containers"].as_array()?;
    let each = containers.iter().filter_map(|c| c["resources"][which][resource].as_str().and_then(quantity));
    Some(each.sum::<f64>()).filter(|sum| *sum > 0.0)
}

/// A quantity as Kubernetes writes it.
fn quantity(text: &str) -> Option<f64> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|n| n * factor)
}

/// Old code bears the new schema.
pub fn schema(scripts: usize) -> Found {
    Found::Good(text!(
        "{scripts} expand steps, examined when the plan was made; old code is watched for a whole bake after them"
    ))
}

/// The conductor may push.
pub fn push() -> Found {
    Found::Refuse(Text::scrub(
        "this environment is deployed by git, and commits cannot be made and followed by this version: set `deploy: direct`, or \
         run the train by hand",
    ))
}

/// The image of the pinned container in a template.
pub fn live_image(workload: &Workload, live: &Value) -> Option<Text> {
    container_image(live, workload.container.as_deref()).map(Text::scrub)
}

#[cfg(test)]
mod tests;
