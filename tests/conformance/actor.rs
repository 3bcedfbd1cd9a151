//! The hand that acts in a conformance case: reads facts freshly through the program's own Kubernetes adapter, drives the
//! verb's own state machine, and sends what the guard lets pass. What a verb does is not known here.

use std::sync::Arc;
use std::time::Duration;

use footplate::adapters::kubernetes::Kubernetes;
use footplate::core::confirm::{Answer, Confirm, Question};
use footplate::core::guard::{Standing, clear};
use footplate::core::object::{Object, ObjectKind, ObjectRef};
use footplate::core::owner::gitops_owner;
use footplate::core::snapshot::WriteMode;
use footplate::core::text::Text;
use footplate::core::verb::{Aim, Facts, Next, Order, Procedure, Seen, Verb};
use footplate::core::verified::Verified;
use footplate::core::workload::{Related, Workload, observe};
use footplate::ports::{Cluster, FaultKind, Identity, Interest};
use jiff::Timestamp;

use super::stage::Outcome;

/// How long a verb may take, in looks of [`LOOK_EVERY`].
const LOOKS_MAX: u32 = 300;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What time it is in the cluster of a stage.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub struct Actor {
    cluster: Kubernetes,
    namespace: Text,
    clock: Clock,
}

impl Actor {
    pub fn new(client: kube::Client, namespace: &str, clock: Clock) -> Self {
        let name = Text::scrub("conformance");
        let identity =
            Identity { context: name.clone(), server: name.clone(), user: name, namespace: Text::scrub(namespace) };
        Self { cluster: Kubernetes::over(client, identity), namespace: Text::scrub(namespace), clock }
    }

    fn at(&self, kind: ObjectKind, name: &str) -> ObjectRef {
        ObjectRef {
            cluster: Text::scrub("conformance"),
            kind,
            namespace: self.namespace.clone(),
            name: Text::scrub(name),
        }
    }

    async fn list(&self, kind: ObjectKind) -> Result<Vec<Object>, String> {
        let interest =
            Interest { kind, namespace: self.namespace.clone(), labels: Text::default(), fields: Text::default() };
        self.cluster.list(&interest).await.map_err(|f| format!("{f}"))
    }

    async fn facts(&self) -> Result<(Facts, Vec<Object>), String> {
        let object = self.cluster.read(&self.at(ObjectKind::Rollout, "app")).await.map_err(|f| format!("{f}"))?;
        let refers = object.as_ref().is_some_and(|o| o.raw("/spec/workloadRef").is_some());
        let target = if refers {
            self.cluster.read(&self.at(ObjectKind::Deployment, "app")).await.map_err(|f| format!("{f}"))?
        } else {
            None
        };
        let runs = self.list(ObjectKind::AnalysisRun).await?;
        let step = object.as_ref().and_then(|o| o.text("/status/canary/currentStepAnalysisRunStatus/name"));
        let run = runs.iter().find(|r| step.as_ref().is_some_and(|s| *s == r.name())).cloned();
        let owner = object.as_ref().and_then(gitops_owner);
        let sets = self.list(ObjectKind::ReplicaSet).await?;
        let uid = object.as_ref().map(|o| o.uid().to_owned()).unwrap_or_default();
        let mut records = self.list(ObjectKind::ConfigMap).await?;
        records.retain(|map| map.label(footplate::core::record::OF) == Some(uid.as_str()));
        let now = self.time();
        let facts = Facts { object, target, primary: None, sets, records, was_stable: Vec::new(), run, owner, now };
        Ok((facts, runs))
    }

    fn time(&self) -> Timestamp {
        (self.clock)()
    }

    /// The workload as the program sees it; none when it is gone.
    pub async fn observe(&self) -> Result<Option<Workload>, String> {
        let (facts, runs) = self.facts().await?;
        let Some(object) = &facts.object else { return Ok(None) };
        let sets: Vec<&Object> = facts.sets.iter().collect();
        let runs: Vec<&Object> = runs.iter().collect();
        let related = Related { sets: &sets, runs: &runs, target: facts.target.as_ref(), ..Related::default() };
        Ok(Some(observe(&self.at(ObjectKind::Rollout, "app"), object, &related, Some("app"), facts.now)))
    }

    /// Carries a verb out, aimed at what is seen now.
    pub async fn act(&self, verb: Verb) -> Result<Outcome, String> {
        let seen = self.observe().await?.map(|w| Seen::of(&w));
        self.drive(verb, seen).await
    }

    /// Carries a verb out as it was aimed when the workload stood at `step`.
    pub async fn act_as_of_step(&self, verb: Verb, step: u32) -> Result<Outcome, String> {
        let seen = self.observe().await?.map(|w| Seen { step: Some(step), ..Seen::of(&w) });
        self.drive(verb, seen).await
    }

    async fn drive(&self, verb: Verb, seen: Option<Seen>) -> Result<Outcome, String> {
        let order =
            Order { who: Text::scrub("conformance"), when: self.time(), why: Text::scrub("a case of the table") };
        let verified = Verified::by_hand(&order).map_err(|r| r.why.to_string())?;
        let targets = vec![self.at(ObjectKind::Rollout, "app"), self.at(ObjectKind::Deployment, "app")];
        let question = Question { level: Confirm::Yes, direction: verb.direction(), targets };
        let confirmed = question.answer(&Answer::Yes, self.time()).map_err(|r| r.why.to_string())?;
        let container = Some(Text::scrub("app"));
        let aim = Aim { verb, workload: self.at(ObjectKind::Rollout, "app"), order, container, seen };
        let mut procedure = Procedure::new(aim, Some(verified));
        let mut waits = String::new();
        for _ in 0..LOOKS_MAX {
            let (facts, _) = self.facts().await?;
            match procedure.next(&facts) {
                Next::Send(effect) => {
                    let standing = Standing {
                        write: WriteMode::ReadWrite,
                        confirmed: Some(&confirmed),
                        cluster_uid: (None, None),
                        read_at: facts.now,
                        now: self.time(),
                    };
                    let cleared = match clear(*effect, &standing) {
                        Ok(cleared) => cleared,
                        Err(refusal) => return Ok(Outcome::Failed(format!("guard: {}", refusal.why))),
                    };
                    match self.cluster.send(&cleared).await {
                        // A failed test means that something moved: the procedure looks again.
                        Ok(_) => {}
                        Err(fault) if matches!(fault.kind, FaultKind::Unprocessable | FaultKind::Conflict) => {
                            waits = format!("{fault}");
                        }
                        Err(fault) => return Ok(Outcome::Failed(format!("{fault}"))),
                    }
                }
                Next::Wait(what) => {
                    waits = what.to_string();
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Next::Done(said) => return Ok(Outcome::Done(said.to_string())),
                Next::Refused(refusal) if refusal.already => return Ok(Outcome::Done(refusal.why.to_string())),
                Next::Refused(refusal) => return Ok(Outcome::Refused(refusal.why.to_string())),
            }
        }
        Ok(Outcome::Failed(format!("never ended; waited for: {waits}")))
    }
}
