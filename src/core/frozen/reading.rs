//! Objects as the train reads them: one family of words for Rollouts, Canaries and Deployments, and for Jobs and flags. What a
//! workload is doing is worked out in `workload/`; here it is only said in the train's words.

use serde_json::Value;

use super::raw::{Bench, Raw, TRAIN, epoch, stamp};
use super::{FlagPlace, Frozen};
use crate::core::flag::{self, FlagSetting, Now};
use crate::core::object::{Object, ObjectKind};
use crate::core::template;
use crate::core::text::Text;
use crate::core::train::event::{FlagReading, JobReading, Pause, Reading, Spec};
use crate::core::train::resolved::{Kind, ServiceId, Setting};
use crate::core::verb::draft::{HOLD, UNDO};
use crate::core::workload::sets::Set;
use crate::core::workload::{Phase, Workload, before, container_image, observe, rollout};

/// Reads a workload. None when it is as good as gone: it is being deleted, or the Deployment that holds its template was not
/// read or is none.
pub fn reading(frozen: &Frozen, service: ServiceId, raw: &Raw<'_>) -> Option<Reading> {
    let bench = Bench::of(frozen, service, raw).ok()?;
    let template = bench.template()?;
    let seen = seen(&bench);
    let recorded = bench.recorded();
    let spec = match &recorded {
        _ if bench.is_pinned(template) => Spec::Pinned,
        None => Spec::Recorded,
        Some((_, recorded)) if template::equal(template, recorded) => Spec::Recorded,
        Some(_) => Spec::Other,
    };
    let moving = seen.current != seen.stable;
    let rollout = bench.workload.kind == Kind::Rollout;
    let (train, epoch) = stamps(&bench);
    Some(Reading {
        uid: Text::scrub(raw.object.uid()),
        version: version(raw),
        generation: u64::try_from(raw.object.generation()).unwrap_or_default(),
        observed: seen.observed,
        spec,
        current: Text::scrub(seen.current),
        stable: Text::scrub(seen.stable),
        paused: seen.w.held,
        hold: stamp(raw.object, HOLD),
        undo: stamp(raw.object, UNDO),
        train,
        epoch,
        step: seen.step,
        steps: seen.w.steps.unwrap_or_default(),
        pause: seen.pause,
        weight: if moving || rollout { seen.weight } else { 0 },
        aborted: seen.aborted,
        full: seen.w.promote_full,
        healthy: seen.healthy,
        fast: fast(&bench, recorded.as_ref().map_or(seen.stable, |(hash, _)| hash), seen.stable),
        mark: if bench.has_pinned() { bench.free_mark() } else { 0 },
        record: recorded.map(|(hash, _)| Text::scrub(hash)),
    })
}

/// What its kind of controller says, in one form.
pub(super) struct Sight<'a> {
    pub w: Workload,
    pub observed: bool,
    pub current: &'a str,
    pub stable: &'a str,
    pub step: u32,
    pub pause: Option<Pause>,
    pub weight: u8,
    pub aborted: bool,
    pub healthy: bool,
}

/// Looks at a workload.
pub(super) fn seen<'a>(bench: &Bench<'a>) -> Sight<'a> {
    let container = bench.workload.container.as_deref();
    let w = observe(&bench.id, bench.raw.object, &bench.related(), container, bench.raw.now);
    match bench.workload.kind {
        Kind::Rollout => of_rollout(bench, w),
        Kind::Deployment => of_deployment(bench, w),
        Kind::Canary => of_canary(bench, w),
    }
}

fn of_rollout<'a>(bench: &Bench<'a>, w: Workload) -> Sight<'a> {
    let object = bench.raw.object;
    let workload_seen = bench.target.as_ref().is_none_or(|(target, _)| {
        object.int("/status/workloadObservedGeneration").is_none_or(|seen| seen >= target.generation())
    });
    let observed = rollout::observed(object) && workload_seen;
    let current = bench.current();
    Sight {
        observed,
        current,
        stable: object.str("/status/stableRS").unwrap_or_default(),
        step: w.step.unwrap_or_default(),
        pause: w.pause.as_ref().and_then(|p| match (p.reason.as_str(), p.seconds) {
            ("manual", _) => None,
            (reason, _) if reason.starts_with("Inconclusive") => Some(Pause::Inconclusive),
            (_, Some(seconds)) => Some(Pause::Timed(u64::from(seconds) * 1_000)),
            (_, None) => Some(Pause::Untimed),
        }),
        weight: weight_of_rollout(bench, &w, object.str("/status/stableRS").unwrap_or_default()),
        aborted: w.aborted,
        healthy: observed && w.phase == Phase::Healthy,
        w,
    }
}

/// The share of requests that may reach anything but the stable version, percent: by the router's weights, by what the active
/// Service selects, or by available pods. Any share at all is at least 1. A controller that takes a version back says so
/// before its router does: its weights name the old version until then.
fn weight_of_rollout(bench: &Bench<'_>, w: &Workload, stable: &str) -> u8 {
    let object = bench.raw.object;
    if object.raw("/spec/strategy/blueGreen").is_some() {
        return if object.str("/status/blueGreen/activeSelector") == Some(stable) { 0 } else { 100 };
    }
    if object.raw("/spec/strategy/canary/trafficRouting").is_none() {
        let all: u64 = bench.sets.iter().map(|s| u64::from(s.available())).sum();
        let own = bench.set(stable).map_or(0, |s| u64::from(s.available()));
        return percent(all.saturating_sub(own), all);
    }
    let side = |name: &str| {
        let at = format!("/status/canary/weights/{name}");
        let whose = object.str(&format!("{at}/podTemplateHash"));
        let weight = object.int(&format!("{at}/weight")).and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        (whose, weight)
    };
    let (new, old) = (side("canary"), side("stable"));
    let other = match (new, old) {
        // No router was ever set: what is stable has everything, else the steps say.
        ((None, _), (None, _)) if bench.current() == stable => 0,
        ((None, _), (None, _)) => u64::from(w.actual_weight.unwrap_or_default()),
        (new, old) => {
            let other = |(whose, _): &&(Option<&str>, u64)| whose.is_some_and(|whose| whose != stable);
            [new, old].iter().filter(other).map(|(_, n)| n).sum()
        }
    };
    percent(other, u64::from(w.max_weight))
}

/// The share of a version's available pods in all of them.
fn pods(bench: &Bench<'_>, hash: &str) -> u8 {
    let all: u64 = bench.sets.iter().map(|s| u64::from(s.available())).sum();
    percent(bench.set(hash).map_or(0, |s| u64::from(s.available())), all)
}

/// A share in percent, rounded up: only nothing is 0.
fn percent(part: u64, all: u64) -> u8 {
    if all == 0 {
        return 0;
    }
    u8::try_from((part * 100).div_ceil(all).min(100)).unwrap_or(100)
}

fn of_deployment<'a>(bench: &Bench<'a>, w: Workload) -> Sight<'a> {
    let current = bench.current();
    Sight {
        observed: w.observed,
        current,
        stable: serving(bench, current),
        step: 0,
        pause: None,
        weight: pods(bench, current),
        aborted: false,
        healthy: w.observed && w.phase == Phase::Healthy,
        w,
    }
}

/// The version that a Deployment leaves or has left: while another one than the present has pods, that; else the present one,
/// be its pods available or not.
fn serving<'a>(bench: &Bench<'a>, current: &'a str) -> &'a str {
    let pods = |s: &Set<'_>| s.object.int("/status/replicas").unwrap_or_default();
    let others = bench.sets.iter().filter(|s| s.hash != current && pods(s) > 0);
    others.max_by_key(|s| (s.available(), pods(s), s.revision)).map_or(current, |s| s.hash)
}

/// Flagger names no pod hashes and looks at its target once an interval. What counts is which version target and primary run.
fn of_canary<'a>(bench: &Bench<'a>, w: Workload) -> Sight<'a> {
    let object = bench.raw.object;
    let current = bench.current();
    let stable = on_primary(bench).unwrap_or_default();
    let same = !current.is_empty() && current == stable;
    let flagger = object.str("/status/phase").unwrap_or_default();
    // A failure that is older than the template is another one's: Flagger has not looked yet.
    let looked = match (object.time("/status/lastTransitionTime"), bench.set(current).and_then(|s| s.created)) {
        (Some(failed), Some(made)) => made <= failed,
        _ => true,
    };
    let settled = |o: &Object| {
        let count = |pointer: &str| o.int(pointer).unwrap_or_default();
        let all = o.int("/spec/replicas").unwrap_or(1);
        o.int("/status/observedGeneration").is_some_and(|seen| seen >= o.generation())
            && count("/status/updatedReplicas") >= all
            && count("/status/replicas") <= count("/status/updatedReplicas")
            && count("/status/availableReplicas") >= all
    };
    let target = bench.holder();
    let count = |pointer: &str| u64::try_from(object.int(pointer).unwrap_or_default()).unwrap_or_default();
    Sight {
        observed: target.int("/status/observedGeneration").is_some_and(|seen| seen >= target.generation()),
        current,
        stable,
        step: if same { w.steps.unwrap_or_default() } else { w.step.unwrap_or_default() },
        // Its confirm gates are answered at their webhooks, not in the cluster.
        pause: None,
        weight: percent(count("/status/canaryWeight"), 100),
        aborted: flagger == "Failed" && !same && looked,
        healthy: same && !w.held && settled(target) && bench.raw.primary.is_some_and(settled),
        w,
    }
}

/// Pod hash of the target's replica set that the primary is a copy of.
fn on_primary<'a>(bench: &Bench<'a>) -> Option<&'a str> {
    let primary = bench.raw.primary?.raw("/spec/template")?;
    let container = bench.workload.container.as_deref();
    let config = |t: &Value| template::config_volume(t).map(|(_, name)| name.to_owned());
    let theirs = config(primary);
    let copy = |t: &Value| {
        // Flagger copies what a template mounts, under another name, unless it is told not to.
        let name = config(t);
        let tracked = name.as_ref().map(|name| format!("{name}-primary"));
        container_image(t, container) == container_image(primary, container) && (theirs == name || theirs == tracked)
    };
    let mark = |t: &Value| t["metadata"]["annotations"][TRAIN].as_str().map(str::to_owned);
    let copies: Vec<(&Set<'a>, &Value)> =
        bench.sets.iter().filter_map(|s| Some((s, s.object.raw("/spec/template")?))).filter(|(_, t)| copy(t)).collect();
    let marked = copies.iter().find(|(_, t)| mark(t) == mark(primary));
    marked.or(copies.first()).map(|(s, _)| s.hash)
}

/// True when the way to the version of this hash is a quick one, with that stable now.
fn fast(bench: &Bench<'_>, to: &str, stable: &str) -> bool {
    if to == stable {
        return true;
    }
    let object = bench.raw.object;
    match bench.workload.kind {
        Kind::Deployment => true,
        // Once the primary has taken a version, only another run brings the one before back.
        Kind::Canary => false,
        Kind::Rollout => {
            let blue_green = object.raw("/spec/strategy/blueGreen").is_some();
            let no_steps = object.items("/spec/strategy/canary/steps").is_empty() && !blue_green;
            no_steps
                || bench.set(to).is_some_and(|set| {
                    let kept = blue_green && set.scale_down_at().is_some_and(|at| at > bench.raw.now);
                    kept || before::in_window(object, &bench.sets, set, stable)
                })
        }
    }
}

/// The stamps of train and epoch. They lie on the workload and on the Deployment that holds its template; the workload gets
/// them last, so what it bears both bear. Where somebody took them from the other, neither counts.
fn stamps(bench: &Bench<'_>) -> (Option<Text>, Option<(u64, Text)>) {
    let found = (stamp(bench.raw.object, TRAIN), epoch(bench.raw.object));
    if half_stamped(bench) { (None, None) } else { found }
}

/// True when the workload bears this train's stamps, and the Deployment with its template does not, or older ones.
pub(super) fn half_stamped(bench: &Bench<'_>) -> bool {
    let Some((target, _)) = &bench.target else { return false };
    let ours = |object: &Object| object.annotation(TRAIN) == Some(bench.train());
    let number = |object: &Object| epoch(object).map(|(number, _)| number);
    ours(bench.raw.object) && (!ours(target) || number(target) < number(bench.raw.object))
}

/// The newer version of workload and template's holder: one count runs over all objects of a cluster. What else a reading rests
/// on (replica sets, the primary) may go away, and its version with it; a reading of an equal version is taken all the same.
fn version(raw: &Raw<'_>) -> u64 {
    [Some(raw.object), raw.target]
        .into_iter()
        .flatten()
        .filter_map(|o| o.version().parse().ok())
        .max()
        .unwrap_or_default()
}

/// Reads the Jobs of an expand step and of its way back.
pub fn job_reading(up: Option<&Object>, down: Option<&Object>) -> JobReading {
    let says = |job: &Object| {
        let is =
            |what: &str| job.items("/status/conditions").iter().any(|c| c["type"] == what && c["status"] == "True");
        match () {
            () if is("Complete") => JobReading::Done,
            () if is("Failed") => JobReading::Failed,
            () => JobReading::Running,
        }
    };
    match (up, down.map(says)) {
        (_, Some(JobReading::Done)) => JobReading::DownDone,
        (_, Some(other)) => other,
        (Some(up), None) => says(up),
        (None, None) => JobReading::Absent,
    }
}

/// Reads a flag from the object that holds it: a FeatureFlag, or a ConfigMap that flagd reads. None when it cannot be told:
/// it is not there, is disabled, or goes by rules of its own, to which there is no way back.
pub fn flag_reading(frozen: &Frozen, flag: u16, object: &Object) -> Option<FlagReading> {
    let version = object.version().parse().ok()?;
    let value = match &frozen.flags {
        FlagPlace::Objects | FlagPlace::Object(_) => flag_value(frozen, flag, object.raw("/spec/flagSpec")?)?,
        FlagPlace::ConfigMap(_, key) => {
            let text = object.raw("/data")?.get(key.as_str())?.as_str()?;
            flag_value(frozen, flag, &flag::parse(text).ok()?)?
        }
        FlagPlace::File(_) => return None,
    };
    Some(FlagReading { value, version })
}

/// Reads a flag from the text of a flagd file. Whoever reads the file counts its versions: the number rises with each change.
pub fn flag_file_reading(frozen: &Frozen, flag: u16, text: &str, version: u64) -> Option<FlagReading> {
    let value = flag_value(frozen, flag, &flag::parse(text).ok()?)?;
    Some(FlagReading { value, version })
}

fn flag_value(frozen: &Frozen, flag: u16, definition: &Value) -> Option<Setting> {
    let wanted = &frozen.resolved.flags[usize::from(flag)];
    let raw = definition.get("flags")?.get(wanted.key.as_str())?;
    let found = flag::read(&wanted.key, raw);
    let now = found.now.filter(|_| found.enabled)?;
    // Where the release names a variant, its name counts, be it one that means on.
    let rules = &raw["targeting"];
    let plain = rules.is_null() || rules.as_object().is_some_and(serde_json::Map::is_empty);
    if let (Setting::Variant(_), Some(name), true) = (&wanted.goal, raw["defaultVariant"].as_str(), plain) {
        return Some(Setting::Variant(Text::scrub(name)));
    }
    match now {
        Now::Set(FlagSetting::On) => Some(Setting::Percent(100)),
        Now::Set(FlagSetting::Off) => Some(Setting::Percent(0)),
        Now::Set(FlagSetting::Percent(n)) => Some(Setting::Percent(n)),
        Now::Variant(name) => Some(Setting::Variant(name)),
        Now::Rules => None,
    }
}

/// Of which kind the object is that holds the flags; none where it is a file.
pub fn flag_kind(frozen: &Frozen) -> Option<ObjectKind> {
    match frozen.flags {
        FlagPlace::Objects | FlagPlace::Object(_) => Some(ObjectKind::FeatureFlag),
        FlagPlace::ConfigMap(..) => Some(ObjectKind::ConfigMap),
        FlagPlace::File(_) => None,
    }
}
