//! Makes the frozen train of a checked repository, once, when it is recorded (`train.md` §9): what the files say, what was read
//! of the cluster, and the names of what was put there beforehand. Reading files and clusters is done by whoever calls.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{FORM, FlagPlace, FreezeWindow as Freeze, Frozen, Queries, Script, Workload};
use crate::core::image;
use crate::core::manifest::footplate::{Environment, FlagStore, FreezeTime, OnAbandon};
use crate::core::manifest::release::FlagValue;
use crate::core::manifest::{WorkloadKind, footplate, service};
use crate::core::repository::Repository;
use crate::core::text::Text;
use crate::core::train::resolved::{
    Abandon, Deploy, Flag, Kind, Migration, Policy, Resolved, Service, ServiceId, Setting, Untimed, Waiver, Wave,
};
use crate::text;

/// How far ahead freeze windows are laid down: no train runs longer.
const AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What a train is frozen from.
pub struct Given<'a> {
    /// The repository, with its release.
    pub repository: &'a Repository,
    /// The environment.
    pub environment: &'a Environment,
    /// Who answers for the train.
    pub captain: Text,
    /// uid of the cluster, as read.
    pub cluster_uid: Text,
    /// Kind of a service's workload where its file does not say, and the image that is live, as read.
    pub live: &'a dyn Fn(&str) -> Option<Live>,
    /// Names of the ConfigMaps with pinned config files, by service.
    pub configs: &'a BTreeMap<Text, Text>,
    /// The template of the Job that runs an expand step.
    pub job: Option<&'a Value>,
    /// The scripts of the expand steps, in order: there, and back.
    pub scripts: &'a [(String, String)],
    /// Time zones by name.
    pub zone: &'a dyn Fn(&str) -> Option<TimeZone>,
    /// Now.
    pub now: Timestamp,
}

/// What was read of a live workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// Its kind.
    pub kind: Kind,
    /// The image of the container that is pinned.
    pub image: Text,
    /// How long its own steps pause, milliseconds.
    pub pauses: u64,
}

/// A frozen train, and the ConfigMaps that must lie there before it is recorded: name and data.
#[derive(Clone, PartialEq, Debug)]
pub struct Made {
    /// The train.
    pub frozen: Frozen,
    /// Scripts, by the name of their ConfigMap.
    pub scripts: Vec<(Text, String)>,
}

/// Freezes a train.
///
/// # Errors
/// Everything that is missing, each with what to do.
pub fn freeze(given: &Given<'_>) -> Result<Made, Vec<Text>> {
    let Given { repository, environment, .. } = given;
    let Repository { release, graph, services, footplate, .. } = repository;
    let mut wrong = Vec::new();
    let expand = u32::from(!release.migrations.is_empty());
    let id = |n: usize| ServiceId::try_from(n).unwrap_or(ServiceId::MAX);
    let names: BTreeMap<&Text, ServiceId> =
        graph.services.iter().enumerate().map(|(n, stop)| (&stop.name, id(n))).collect();
    let mut resolved_services = Vec::new();
    let mut workloads = Vec::new();
    let mut pauses = BTreeMap::new();
    let mut before = vec![BTreeSet::new(); graph.services.len()];
    for edge in &graph.edges {
        before[edge.to as usize].insert(id(edge.from as usize));
    }
    let weights = release.progressive.as_ref().map(|w| w.value.clone());
    for (n, stop) in graph.services.iter().enumerate() {
        let (service, pin) = (&services[stop.service], &release.services[stop.pin]);
        let Some(live) = (given.live)(&stop.name) else {
            wrong.push(text!("{}: no workload {} was found: deploy it once by hand", stop.name, service.workload_name));
            continue;
        };
        let name = match &service.image {
            Some(image) => image.to_string(),
            None => image::parse(&live.image).repository.to_owned(),
        };
        let digest = pin.digest.as_ref().map(|d| format!("@{d}")).unwrap_or_default();
        let kind = service.workload.map_or(live.kind, kind);
        let wave = u16::try_from(expand + stop.wave).unwrap_or(u16::MAX);
        *pauses.entry(wave).or_insert(0u64) = live.pauses.max(*pauses.get(&wave).unwrap_or(&0));
        resolved_services.push(Service {
            name: stop.name.clone(),
            version: text!("{}", pin.version),
            image: text!("{name}:{}{digest}", pin.version),
            kind,
            wave,
            needs: before[n].iter().copied().collect(),
            untimed: if environment.protected { Untimed::Person } else { Untimed::Gate },
            commit: pin.commit.clone().zip(pin.commit_time),
        });
        let weights = weights.clone().filter(|_| kind == Kind::Rollout);
        workloads.push(workload(service, kind, given.configs.get(&stop.name).cloned(), weights));
    }
    let released: BTreeSet<&Text> = names.keys().copied().collect();
    let watched = services
        .iter()
        .filter(|s| !released.contains(&s.name))
        .filter_map(|s| {
            let live = (given.live)(&s.name)?;
            Some(workload(s, s.workload.map_or(live.kind, kind), None, None))
        })
        .collect();
    let mut waves = Vec::new();
    if expand > 0 {
        waves.push(Wave { services: Vec::new(), expand: true });
    }
    for wave in 0..graph.waves {
        let of = graph.services.iter().enumerate().filter(|(_, s)| s.wave == wave).map(|(n, _)| id(n)).collect();
        waves.push(Wave { services: of, expand: false });
    }
    let flags = release
        .flags
        .iter()
        .map(|goal| Flag {
            key: goal.key.value.clone(),
            goal: setting(&goal.value),
            safe: footplate.safe.get(&goal.key.value).map(setting),
            services: graph
                .services
                .iter()
                .enumerate()
                .filter(|(_, s)| services[s.service].flags.iter().any(|f| f.value == goal.key.value))
                .map(|(n, _)| id(n))
                .collect(),
        })
        .collect();
    let policies =
        release.requires.iter().map(|name| policy(&name.value, footplate, environment, &mut wrong)).collect();
    let (mut migrations, mut scripts, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    if !release.migrations.is_empty() && given.job.is_none() {
        wrong.push(text!(
            "the release has migrations, and footplate.yaml names no Job to run them: add `migrations: {{runner: job, template: FILE}}`"
        ));
    }
    for (step, (up, down)) in release.migrations.iter().zip(given.scripts) {
        let Some(job) = given.job else { break };
        let (there, back) = (script_name(up), script_name(down));
        migrations.push(Migration { name: step.name.clone(), script: there.clone() });
        jobs.push(Script { job: with_script(job, &there), down: with_script(job, &back) });
        scripts.extend([(there, up.clone()), (back, down.clone())]);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let times = footplate.train.times;
    let guard = footplate.train.guard;
    let baked = times.bake;
    let estimate = pauses.values().map(|p| p + baked).sum::<u64>()
        + if expand > 0 { baked } else { 0 }
        + if release.flags.is_empty() { 0 } else { 4 * times.flag_step };
    let edges = graph.reduced().into_iter().map(|(a, b)| (id(a as usize), id(b as usize))).collect();
    let resolved = Resolved {
        release: release.name.clone(),
        uid: Text::default(),
        id: Text::default(),
        environment: environment.name.clone(),
        captain: given.captain.clone(),
        abandon: match environment.on_abandon {
            OnAbandon::Undo => Abandon::Undo,
            OnAbandon::Stay => Abandon::Stay,
        },
        deploy: if environment.git { Deploy::Git } else { Deploy::Direct },
        waves,
        services: resolved_services,
        migrations,
        flags,
        policies,
        times,
        #[cfg(any(test, feature = "mutants"))]
        broken: None,
    };
    let frozen = Frozen {
        form: FORM,
        resolved,
        manifest_sha256: repository.manifest_sha256.clone(),
        cluster_uid: given.cluster_uid.clone(),
        pinned_uid: environment.cluster_uid.clone(),
        namespace: environment.namespace.clone(),
        protected: environment.protected,
        workloads,
        watched,
        flags: match &footplate.flags {
            None => FlagPlace::Objects,
            Some(FlagStore::FeatureFlag(name)) => FlagPlace::Object(name.clone()),
            Some(FlagStore::ConfigMap(name, key)) => FlagPlace::ConfigMap(name.clone(), key.clone()),
            Some(FlagStore::File(path)) => FlagPlace::File(path.value.clone()),
        },
        scripts: jobs,
        prometheus: environment.prometheus.clone(),
        queries: Queries {
            requests: footplate.metrics.requests.clone(),
            errors: footplate.metrics.errors.clone(),
            latency: footplate.metrics.latency.clone(),
        },
        guard,
        freeze: windows(&environment.freeze, given.zone, given.now),
        incidents: footplate.incidents.clone(),
        edges,
        estimate,
    };
    Ok(Made { frozen, scripts })
}

fn kind(kind: WorkloadKind) -> Kind {
    match kind {
        WorkloadKind::Rollout => Kind::Rollout,
        WorkloadKind::Canary => Kind::Canary,
        WorkloadKind::Deployment => Kind::Deployment,
    }
}

fn workload(service: &service::Service, kind: Kind, config: Option<Text>, weights: Option<Vec<u8>>) -> Workload {
    Workload {
        service: service.name.clone(),
        kind,
        name: service.workload_name.clone(),
        container: service.container.clone(),
        config,
        slo: service.slo,
        gate: service.gate,
        lag: service.lag.clone(),
        max_lag: service.max_lag,
        checks: service.checks.clone(),
        weights,
    }
}

fn setting(value: &FlagValue) -> Setting {
    match value {
        FlagValue::On => Setting::Percent(100),
        FlagValue::Off => Setting::Percent(0),
        FlagValue::Percent(n) => Setting::Percent(*n),
        FlagValue::Variant(name) => Setting::Variant(name.clone()),
    }
}

fn policy(name: &Text, footplate: &footplate::Footplate, here: &Environment, wrong: &mut Vec<Text>) -> Policy {
    let here =
        |w: &&footplate::Waiver| w.environments.is_empty() || w.environments.iter().any(|e| e.value == here.name);
    let waiver = footplate.waivers.iter().filter(here).find(|w| w.policy == *name);
    let waiver = waiver.and_then(|w| {
        // The last day counts whole, wherever on Earth the person is.
        let end = w.until.to_datetime(Time::midnight()).to_zoned(TimeZone::UTC).ok();
        let until = end.and_then(|day| day.checked_add(36.hours()).ok());
        if until.is_none() {
            wrong.push(text!("the waiver of {name} ends on a day that cannot be: correct `until`"));
        }
        Some(Waiver { by: w.by.clone(), reason: w.reason.clone(), until: until?.timestamp() })
    });
    Policy { name: name.clone(), waiver }
}

/// Name of the ConfigMap with a script: it follows from what it holds.
fn script_name(script: &str) -> Text {
    let digest = ring::digest::digest(&ring::digest::SHA256, script.as_bytes());
    let hex: String = digest.as_ref().iter().take(5).map(|b| format!("{b:02x}")).collect();
    text!("fp-script-{hex}")
}

/// The Job with its script filled in: every `SCRIPT` that is a whole value becomes the ConfigMap's name.
fn with_script(job: &Value, script: &Text) -> Value {
    match job {
        Value::String(s) if s == "SCRIPT" => json!(script),
        Value::Array(items) => items.iter().map(|item| with_script(item, script)).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), with_script(v, script))).collect(),
        other => other.clone(),
    }
}

/// Freeze windows that begin or hold within the next days, in instants.
fn windows(all: &[footplate::Freeze], zone: &dyn Fn(&str) -> Option<TimeZone>, at: Timestamp) -> Vec<Freeze> {
    let mut out = Vec::new();
    for window in all {
        let Some(zone) = zone(&window.timezone.value) else { continue };
        let now = at.to_zoned(zone.clone());
        let instant = |at: jiff::civil::DateTime| at.to_zoned(zone.clone()).ok().map(|z| z.timestamp());
        match (window.from, window.to) {
            (FreezeTime::Once(from), FreezeTime::Once(to)) => {
                if let (Some(from), Some(to)) = (instant(from), instant(to)) {
                    out.push(Freeze { from, to, reason: window.reason.clone() });
                }
            }
            (FreezeTime::Weekly(day, time), FreezeTime::Weekly(end, until)) => {
                // Windows that began up to a week ago may still hold.
                for days in -7..=15 {
                    let Ok(date) = now.date().checked_add(days.days()) else { continue };
                    if date.weekday() != day {
                        continue;
                    }
                    let mut length = i64::from(days_between(day, end));
                    if length == 0 && until <= time {
                        length = 7;
                    }
                    let Ok(last) = date.checked_add(length.days()) else { continue };
                    if let (Some(from), Some(to)) = (instant(date.to_datetime(time)), instant(last.to_datetime(until)))
                    {
                        out.push(Freeze { from, to, reason: window.reason.clone() });
                    }
                }
            }
            _ => {}
        }
    }
    out.retain(|w| w.to > at && w.from.duration_since(at) < AHEAD);
    out.sort_by_key(|w| w.from);
    out
}

fn days_between(from: Weekday, to: Weekday) -> i8 {
    (to.to_monday_zero_offset() - from.to_monday_zero_offset()).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::finding::{At, Place, Sources};

    #[test]
    fn weekly_windows_become_instants() {
        let now: Timestamp = "2025-10-01T12:00:00Z".parse().unwrap();
        let file = Sources::default().add("footplate.yaml".into(), String::new());
        let place = Place { file, start: 0, end: 0 };
        let freeze = footplate::Freeze {
            from: FreezeTime::Weekly(Weekday::Friday, Time::new(16, 0, 0, 0).unwrap()),
            to: FreezeTime::Weekly(Weekday::Monday, Time::new(8, 0, 0, 0).unwrap()),
            timezone: At { value: "UTC".into(), place },
            reason: "weekend".into(),
        };
        let windows = windows(&[freeze], &|_| Some(TimeZone::UTC), now);
        let first = &windows[0];
        assert_eq!(first.from.to_string(), "2025-10-03T16:00:00Z");
        assert_eq!(first.to.to_string(), "2025-10-06T08:00:00Z");
        assert_eq!(windows.len(), 2);
    }
}
