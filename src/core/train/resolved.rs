//! The frozen plan of one train: what `Release.spec.plan` holds, by index, so that a conductor needs no repository
//! (`train.md` §9). Values only; making it from files and reading clusters are not done here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::mutant::Mutant;
use crate::core::text::Text;

/// Index of a service in [`Resolved::services`].
pub type ServiceId = u16;

/// What a train is to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Resolved {
    /// Name of the release.
    pub release: Text,
    /// uid of the `Release` object; all stamps carry it.
    pub uid: Text,
    /// The four letters.
    pub id: Text,
    /// Name of the environment.
    pub environment: Text,
    /// The person who answers for the train: a wait names them.
    pub captain: Text,
    /// What becomes of a train that nobody answers for.
    pub abandon: Abandon,
    /// How a template is written.
    pub deploy: Deploy,
    /// Waves, in order; an expand wave is the first and has no services.
    pub waves: Vec<Wave>,
    /// Services, by name.
    pub services: Vec<Service>,
    /// Expand steps, in order.
    pub migrations: Vec<Migration>,
    /// Flags that the release moves, in order.
    pub flags: Vec<Flag>,
    /// Policies that must be met before anything goes forward.
    pub policies: Vec<Policy>,
    /// How long things take.
    pub times: Times,
    /// A defect put in on purpose, to see that the campaign finds it.
    #[cfg(any(test, feature = "mutants"))]
    #[serde(skip)]
    pub broken: Option<Mutant>,
}

/// What becomes of a train that waits for a person in vain (`train.md` §8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Abandon {
    /// It is taken back.
    Undo,
    /// It stays, and pages again.
    Stay,
}

/// How a template is written (`train.md` §1, §7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Deploy {
    /// By a patch.
    Direct,
    /// By a commit that a GitOps controller carries out.
    Git,
}

/// One wave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wave {
    /// Services that may move at once.
    pub services: Vec<ServiceId>,
    /// True for the expand wave: all migrations, no services.
    pub expand: bool,
}

/// Kind of workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Argo Rollouts.
    Rollout,
    /// Flagger.
    Canary,
    /// Plain Deployment: no steps, no abort.
    Deployment,
}

/// One service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: Text,
    /// The pinned version.
    pub version: Text,
    /// The whole image reference.
    pub image: Text,
    /// Kind of its workload.
    pub kind: Kind,
    /// Its wave.
    pub wave: u16,
    /// Services of the release that go before it; also through ones that are not in it.
    pub needs: Vec<ServiceId>,
    /// Who ends a pause without a duration.
    pub untimed: Untimed,
    /// The commit it was built from and when that was made, where known (lead time).
    pub commit: Option<(Text, Timestamp)>,
}

/// Who ends a pause without a duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Untimed {
    /// A person, with P.
    Person,
    /// The conductor, once the gate passed there.
    Gate,
}

/// One expand step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Migration {
    /// Name of the database.
    pub name: Text,
    /// ConfigMap that holds the script.
    pub script: Text,
}

/// The value of a flag, as a share of users or a variant's name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Setting {
    /// 0 is off, 100 is on.
    Percent(u8),
    /// A variant by name.
    Variant(Text),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percent(n) => write!(f, "{n} %"),
            Self::Variant(name) => f.write_str(name),
        }
    }
}

/// One flag.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flag {
    /// Its key.
    pub key: Text,
    /// The value at the end of the train.
    pub goal: Setting,
    /// Where it goes back to when nothing was recorded.
    pub safe: Option<Setting>,
    /// Services that list it.
    pub services: Vec<ServiceId>,
}

/// One policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Its name (`contracts.ok`).
    pub name: Text,
    /// Who let it pass, where somebody did.
    pub waiver: Option<Waiver>,
}

/// A policy let pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Waiver {
    /// Who.
    pub by: Text,
    /// Why.
    pub reason: Text,
    /// Until when.
    pub until: Timestamp,
}

/// How long things take, in milliseconds. [`Times::default`] has `train.md`'s numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Times {
    /// Window of the guard; a pass needs a full one.
    pub window: u64,
    /// Wait after 100 %.
    pub bake: u64,
    /// Wait at each share of a flag's ramp.
    pub flag_step: u64,
    /// How long a gate without data is borne while the new version has traffic.
    pub no_data: u64,
    /// How old a verdict may be and still count.
    pub verdict_fresh: u64,
    /// After how long a hold in a mixed state pages; after as long again it is abandoned.
    pub page: u64,
    /// After how long an effect that shows nothing is sent again.
    pub resend: u64,
    /// Deadline of one write: then its outcome is unknown and is read back.
    pub write: u64,
    /// How long one service may take to be back before it counts as stuck.
    pub undo_patience: u64,
    /// How long a deploy may take to be taken up before a person is told.
    pub deploy_patience: u64,
    /// How long everything must stay back before a train counts as rolled back: a GitOps controller reverts an undo some
    /// seconds after it.
    #[serde(default = "settle")]
    pub settle: u64,
}

fn settle() -> u64 {
    Times::default().settle
}

impl Default for Times {
    fn default() -> Self {
        Self {
            window: 60_000,
            bake: 60_000,
            flag_step: 60_000,
            no_data: 300_000,
            verdict_fresh: 15_000,
            page: 1_800_000,
            resend: 2_000,
            write: 10_000,
            undo_patience: 300_000,
            deploy_patience: 600_000,
            settle: 10_000,
        }
    }
}

impl Resolved {
    /// True while this defect is switched on. Never in the shipped program.
    #[inline]
    pub(in crate::core) fn broken(&self, mutant: Mutant) -> bool {
        #[cfg(any(test, feature = "mutants"))]
        return self.broken == Some(mutant);
        #[cfg(not(any(test, feature = "mutants")))]
        {
            let _ = mutant;
            false
        }
    }

    /// All services that are built on this one, directly or not.
    pub fn dependents(&self, of: ServiceId) -> Vec<ServiceId> {
        let mut found: Vec<ServiceId> = Vec::new();
        let mut at = 0;
        let mut from = of;
        loop {
            for (n, service) in self.services.iter().enumerate() {
                let Ok(n) = ServiceId::try_from(n) else { break };
                if service.needs.contains(&from) && !found.contains(&n) && n != of {
                    found.push(n);
                }
            }
            let Some(next) = found.get(at) else { return found };
            from = *next;
            at += 1;
        }
    }

    /// A service by index.
    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[usize::from(id)]
    }
}
