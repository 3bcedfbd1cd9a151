//! Scenarios as data: what is wrong, what is expected, and the platform they all run on. A scenario is listed when its
//! file is; the objects come from the sample environment, embedded. Running one is `world.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::controllers::pod::{Fate, Fates};
use super::faults::Rule;
use super::gitops::Owned;
use super::traffic::{Effect, Model};

/// The scenario that is run when none is named.
pub const DEFAULT: &str = "green";

const FILES: &[(&str, &str)] = &[
    ("green", include_str!("../../assets/rehearsals/green.toml")),
    ("error-spike", include_str!("../../assets/rehearsals/error-spike.toml")),
    ("latency-burn", include_str!("../../assets/rehearsals/latency-burn.toml")),
    ("flag-bug", include_str!("../../assets/rehearsals/flag-bug.toml")),
    ("nullable-column", include_str!("../../assets/rehearsals/nullable-column.toml")),
    ("no-data", include_str!("../../assets/rehearsals/no-data.toml")),
    ("conductor-killed", include_str!("../../assets/rehearsals/conductor-killed.toml")),
    ("flaky-api", include_str!("../../assets/rehearsals/flaky-api.toml")),
    ("gitops-fight", include_str!("../../assets/rehearsals/gitops-fight.toml")),
    ("image-gone", include_str!("../../assets/rehearsals/image-gone.toml")),
    ("crash-loop", include_str!("../../assets/rehearsals/crash-loop.toml")),
    ("surprise", include_str!("../../assets/rehearsals/surprise.toml")),
];

const BASE: &str = include_str!("../../assets/rehearsals/base/payments.toml");

/// The sample environment, path below its root and text: enough to plan the release, and the cluster's objects.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("footplate.yaml", include_str!("../../assets/sample-env/footplate.yaml")),
    ("jobs/migrate.yaml", include_str!("../../assets/sample-env/jobs/migrate.yaml")),
    ("release.yaml", include_str!("../../assets/sample-env/release.yaml")),
    ("releases/2025.09.30.yaml", include_str!("../../assets/sample-env/releases/2025.09.30.yaml")),
    ("config/billing/limits.yaml", include_str!("../../assets/sample-env/config/billing/limits.yaml")),
    (
        "db/2025-10-02_add-ledger-nullable.sql",
        include_str!("../../assets/sample-env/db/2025-10-02_add-ledger-nullable.sql"),
    ),
    (
        "db/2025-10-02_add-ledger-nullable.down.sql",
        include_str!("../../assets/sample-env/db/2025-10-02_add-ledger-nullable.down.sql"),
    ),
    ("services/accounts-api/service.yaml", include_str!("../../assets/sample-env/services/accounts-api/service.yaml")),
    ("services/billing-api/service.yaml", include_str!("../../assets/sample-env/services/billing-api/service.yaml")),
    ("services/checkout-api/service.yaml", include_str!("../../assets/sample-env/services/checkout-api/service.yaml")),
    ("services/edge-gateway/service.yaml", include_str!("../../assets/sample-env/services/edge-gateway/service.yaml")),
    ("services/fraud-scorer/service.yaml", include_str!("../../assets/sample-env/services/fraud-scorer/service.yaml")),
    ("services/ledger-api/service.yaml", include_str!("../../assets/sample-env/services/ledger-api/service.yaml")),
    (
        "services/ledger-consumer/service.yaml",
        include_str!("../../assets/sample-env/services/ledger-consumer/service.yaml"),
    ),
    (
        "services/notifications-worker/service.yaml",
        include_str!("../../assets/sample-env/services/notifications-worker/service.yaml"),
    ),
    ("services/pricing-api/service.yaml", include_str!("../../assets/sample-env/services/pricing-api/service.yaml")),
    (
        "services/storefront-web/service.yaml",
        include_str!("../../assets/sample-env/services/storefront-web/service.yaml"),
    ),
];

const CLUSTER: &[&str] = &[
    include_str!("../../assets/sample-env/cluster/00-base.yaml"),
    include_str!("../../assets/sample-env/cluster/accounts-api.yaml"),
    include_str!("../../assets/sample-env/cluster/billing-api.yaml"),
    include_str!("../../assets/sample-env/cluster/checkout-api.yaml"),
    include_str!("../../assets/sample-env/cluster/edge-gateway.yaml"),
    include_str!("../../assets/sample-env/cluster/flags.yaml"),
    include_str!("../../assets/sample-env/cluster/fraud-scorer.yaml"),
    include_str!("../../assets/sample-env/cluster/ledger-api.yaml"),
    include_str!("../../assets/sample-env/cluster/ledger-consumer.yaml"),
    include_str!("../../assets/sample-env/cluster/notifications-worker.yaml"),
    include_str!("../../assets/sample-env/cluster/pricing-api.yaml"),
    include_str!("../../assets/sample-env/cluster/storefront-web.yaml"),
];

/// How a rehearsal ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All pinned versions serve, all flags are at their end value.
    Completed,
    /// Everything is as it was at the start.
    RolledBack,
    /// It waits for a person, with no traffic on a bad version.
    NeedsPerson,
}

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    /// Absent where it is drawn with the fault.
    expect: Option<Outcome>,
    captain: String,
    /// Scenarios of which the seed draws one, whose fault and expectation this one then has.
    #[serde(default)]
    draws: Vec<String>,
    #[serde(default)]
    effect: Vec<Effect>,
    #[serde(default)]
    hide: Vec<Hide>,
    #[serde(default)]
    pod: Vec<PodFault>,
    /// Jobs that have run before the train starts (an expand step).
    #[serde(default)]
    job: Vec<JobBefore>,
    /// Workloads that a GitOps controller owns.
    #[serde(default)]
    gitops: Vec<Owned>,
    /// What the API server does to requests.
    #[serde(default)]
    fault: Vec<Rule>,
    /// When the conductor dies.
    killed: Option<Killed>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobBefore {
    name: String,
    image: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hide {
    service: String,
    #[serde(default)]
    version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PodFault {
    image: String,
    fate: PodFate,
    /// Only pods that are created once the train could start.
    #[serde(default)]
    later: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PodFate {
    CrashLoop,
    NoImage,
}

/// The platform all scenarios run on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Namespace of everything.
    pub namespace: String,
    /// The release that is rehearsed.
    pub release: String,
    /// The release that is live before.
    pub before: String,
    /// Flags and their value at the end.
    pub flags: BTreeMap<String, bool>,
    /// Waves of services, in order.
    pub waves: Vec<Vec<String>>,
    pauses: Vec<String>,
    interval: String,
    warm_up_s: i64,
    /// How requests flow.
    pub traffic: Model,
}

/// What a train does while its conductor dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum During {
    /// Services go forward.
    Rolling,
    /// What was moved is taken back.
    Undoing,
}

/// When the conductor dies: at once and without a word, its Lease not given back. Another one stands by.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Killed {
    /// In the middle of what.
    pub during: During,
    /// Seconds after that began.
    pub after_s: f64,
}

/// A scenario, ready to be opened.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What happens, in one line.
    pub description: String,
    /// How it ends when all goes as it should.
    pub expect: Outcome,
    /// What the scripted captain does, in one line.
    pub captain: String,
    /// What is wrong with which version.
    pub effects: Vec<Effect>,
    /// Revisions that are not scraped: service, version.
    pub hidden: Vec<(String, String)>,
    /// What becomes of pods.
    pub fates: Fates,
    /// Workloads that a GitOps controller owns.
    pub gitops: Vec<Owned>,
    /// What the API server does to requests.
    pub faults: Vec<Rule>,
    /// When the conductor dies; none where it lives, and nobody stands by.
    pub killed: Option<Killed>,
    /// Jobs that have run before: name, image.
    pub jobs: Vec<(String, String)>,
    /// The platform.
    pub base: Base,
}

/// A service as the release deploys it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pinned {
    /// Its name.
    pub name: String,
    /// The version to deploy.
    pub version: String,
    /// The version that is live before.
    pub before: String,
    /// Image without tag.
    pub image: String,
    /// The container that gets it.
    pub container: String,
    /// `Rollout` or `Deployment`.
    pub kind: String,
    /// Flags it reads.
    pub flags: Vec<String>,
}

/// Why a scenario cannot be opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unknown {
    /// There is none of that name.
    #[error("there is no scenario {0:?}; there are {names}", names = names().collect::<Vec<_>>().join(", "))]
    Name(String),
    /// It is drawn: only a seed says which fault it has.
    #[error("scenario {0} is drawn by a seed")]
    Drawn(String),
    /// Its file or the platform's is damaged.
    #[error("scenario {0}: {1}")]
    Damaged(String, String),
}

/// Names of all scenarios, the default first.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// What a list says of a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// What happens, in one line.
    pub description: String,
    /// How it ends when all goes as it should; none where that is drawn.
    pub expect: Option<Outcome>,
}

/// All scenarios, the default first.
///
/// # Errors
/// A file is damaged.
pub fn listed() -> Result<Vec<Listed>, Unknown> {
    names()
        .map(|name| read(name).map(|File { description, expect, .. }| Listed { name, description, expect }))
        .collect()
}

fn read(name: &str) -> Result<File, Unknown> {
    let (_, text) = FILES.iter().find(|(n, _)| *n == name).ok_or_else(|| Unknown::Name(name.to_owned()))?;
    toml::from_str(text).map_err(|e| Unknown::Damaged(name.to_owned(), e.to_string()))
}

impl Scenario {
    /// The scenario of a name, with what a seed draws in it.
    ///
    /// # Errors
    /// No such scenario.
    pub fn of(name: &str, seed: u64) -> Result<Self, Unknown> {
        let file = read(name)?;
        let Some(last) = u64::try_from(file.draws.len()).ok().filter(|n| *n > 0) else { return Self::named(name) };
        // Neighbouring seeds are not to draw in turn.
        let mixed = (seed ^ 0x7375_7270_7269_7365).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        let index = usize::try_from(mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32).unwrap_or(0);
        let drawn = &file.draws[index % usize::try_from(last).unwrap_or(1)];
        // What was drawn is for the person to find out.
        let (name, description, captain) = (name.to_owned(), file.description.clone(), file.captain.clone());
        Ok(Self { name, description, captain, ..Self::named(drawn)? })
    }

    /// The scenario of a name that draws nothing.
    ///
    /// # Errors
    /// No such scenario, or it is drawn.
    pub fn named(name: &str) -> Result<Self, Unknown> {
        let damaged = |why: String| Unknown::Damaged(name.to_owned(), why);
        let file = read(name)?;
        let expect = file.expect.ok_or_else(|| Unknown::Drawn(name.to_owned()))?;
        let base: Base = toml::from_str(BASE).map_err(|e| damaged(e.to_string()))?;
        let fate = |f: &PodFault| match f.fate {
            PodFate::CrashLoop => Fate::CrashLoop,
            PodFate::NoImage => Fate::NoImage,
        };
        Ok(Self {
            name: name.to_owned(),
            description: file.description,
            expect,
            captain: file.captain,
            effects: file.effect,
            hidden: file.hide.into_iter().map(|h| (h.service, h.version)).collect(),
            fates: Fates {
                rules: file.pod.iter().filter(|f| !f.later).map(|f| (f.image.clone(), fate(f))).collect(),
                later: file.pod.iter().filter(|f| f.later).map(|f| (f.image.clone(), fate(f))).collect(),
                ..Fates::default()
            },
            gitops: file.gitops,
            faults: file.fault,
            killed: file.killed,
            jobs: file.job.into_iter().map(|j| (j.name, j.image)).collect(),
            base,
        })
    }

    /// How long the cluster has been running when the rehearsal begins.
    pub fn warm_up(&self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_secs(self.base.warm_up_s)
    }

    /// The services of the release.
    ///
    /// # Errors
    /// The embedded environment is damaged.
    pub fn pinned(&self) -> Result<Vec<Pinned>, Unknown> {
        let damaged = |why: String| Unknown::Damaged(self.name.clone(), why);
        let read = |path: &str| -> Result<Value, Unknown> {
            let text = ENVIRONMENT.iter().find(|(p, _)| *p == path).map(|(_, t)| *t);
            let text = text.ok_or_else(|| damaged(format!("{path} is not embedded")))?;
            serde_yaml::from_str(text).map_err(|e| damaged(format!("{path}: {e}")))
        };
        let (release, before) = (read("release.yaml")?, read(&format!("releases/{}.yaml", self.base.before))?);
        let text = |v: &Value, p: &str| v.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.base
            .waves
            .iter()
            .flatten()
            .map(|name| {
                let service = read(&format!("services/{name}/service.yaml"))?;
                let flags = service.pointer("/flags").and_then(Value::as_array);
                Ok(Pinned {
                    name: name.clone(),
                    version: text(&release, &format!("/services/{name}")),
                    before: text(&before, &format!("/services/{name}")),
                    image: text(&service, "/image"),
                    container: text(&service, "/workload/container"),
                    kind: text(&service, "/workload/kind"),
                    flags: flags.into_iter().flatten().filter_map(|f| f.as_str().map(str::to_owned)).collect(),
                })
            })
            .collect()
    }

    /// The cluster's objects at the start, in the order in which they are created.
    ///
    /// # Errors
    /// The embedded environment is damaged.
    pub fn objects(&self) -> Result<Vec<Value>, Unknown> {
        let mut out = Vec::new();
        for text in CLUSTER {
            let documents: Vec<Value> =
                serde_yaml::from_multiple(text).map_err(|e| Unknown::Damaged(self.name.clone(), e.to_string()))?;
            out.extend(documents.into_iter().filter(Value::is_object));
        }
        for (name, image) in &self.jobs {
            let container = json!({ "name": "migrate", "image": image });
            out.push(json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name, "namespace": self.base.namespace },
                "spec": { "backoffLimit": 0, "template": { "spec": { "restartPolicy": "Never", "containers": [container] } } },
            }));
        }
        for object in &mut out {
            match object.get("kind").and_then(Value::as_str) {
                Some("Rollout") => self.quicken(object),
                Some("AnalysisTemplate") => {
                    for metric in
                        object.pointer_mut("/spec/metrics").and_then(Value::as_array_mut).into_iter().flatten()
                    {
                        metric["interval"] = json!(self.base.interval);
                    }
                }
                _ => {}
            }
        }
        Ok(out)
    }

    /// Gives a Rollout the rehearsal's pauses.
    fn quicken(&self, rollout: &mut Value) {
        let steps = rollout.pointer_mut("/spec/strategy/canary/steps").and_then(Value::as_array_mut);
        let timed = steps.into_iter().flatten().filter_map(|s| s.pointer_mut("/pause/duration"));
        for (duration, pause) in timed.zip(&self.base.pauses) {
            *duration = json!(pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_scenario_opens() {
        for name in names() {
            let scenario = Scenario::of(name, 1).unwrap();
            assert!(!scenario.description.is_empty() && !scenario.captain.is_empty());
            let pinned = scenario.pinned().unwrap();
            assert_eq!(pinned.len(), 10);
            for service in &pinned {
                assert!(!service.image.is_empty() && service.version != service.before, "{service:?}");
            }
            assert!(scenario.objects().unwrap().len() > 30);
            for (image, _) in &scenario.fates.later {
                let was = |p: &Pinned| image.as_str() == format!("{}:{}", p.name, p.before);
                assert!(pinned.iter().any(was), "{name}: {image} is no version before");
            }
            for effect in &scenario.effects {
                let hurt = pinned.iter().find(|p| p.name == effect.service).unwrap();
                assert!(effect.version.is_empty() || effect.version == hurt.version, "{name}: {effect:?}");
            }
        }
        assert_eq!(names().next(), Some(DEFAULT));
        assert_eq!(listed().unwrap().len(), names().count());
        let why = Scenario::named("no-such").unwrap_err().to_string();
        assert!(why.contains("error-spike"), "{why}");
    }

    #[test]
    fn a_surprise_draws_every_fault_by_its_seed() {
        let faults =
            |s: &Scenario| format!("{:?} {:?} {:?} {:?} {:?}", s.effects, s.fates, s.faults, s.hidden, s.killed);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let drawn = Scenario::of("surprise", seed).unwrap();
            assert_eq!(drawn.name, "surprise");
            assert_eq!(faults(&drawn), faults(&Scenario::of("surprise", seed).unwrap()));
            seen.insert(format!("{:?} {} {:?}", drawn.expect, faults(&drawn), drawn.gitops));
        }
        let drawable = read("surprise").unwrap().draws;
        let others: Vec<&str> = names().filter(|n| !["green", "surprise"].contains(n)).collect();
        assert_eq!(drawable, others, "every other fault may come");
        assert_eq!(seen.len(), drawable.len());
        assert!(matches!(Scenario::named("surprise"), Err(Unknown::Drawn(_))));
    }

    #[test]
    fn pauses_are_the_rehearsals_own() {
        let objects = Scenario::named("green").unwrap().objects().unwrap();
        let billing =
            objects.iter().find(|o| o["kind"] == "Rollout" && o["metadata"]["name"] == "billing-api").unwrap();
        let steps = billing.pointer("/spec/strategy/canary/steps").unwrap();
        assert_eq!(steps[1]["pause"]["duration"], "20s");
        assert_eq!(steps[4]["pause"]["duration"], "30s");
    }
}
