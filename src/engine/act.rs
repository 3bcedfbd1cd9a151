//! Carrying orders out: read, ask the verb what is next, let the guard look, write, read back, until every order ended
//! or its time is up. What a verb does is `core::verb`'s; this file keeps the time, the journal and the honesty.
//!
//! A write is never repeated blindly. Whatever it was answered with, the facts are read again and the verb decides from
//! them what is left to do; preconditions in the write make a second one harmless.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::facts::{LIST_FROM, cluster_uid, gather};
use crate::core::confirm::{Confirmed, Refusal};
use crate::core::effect::{Change, Direction, Effect};
use crate::core::guard::{Standing, clear};
use crate::core::object::{ObjectKind, ObjectRef};
use crate::core::snapshot::WriteMode;
use crate::core::template;
use crate::core::text::Text;
use crate::core::verb::{Facts, Next, Procedure, Verb};
use crate::ports::{Clock, Cluster, Fault, FaultKind, Fut, Journal};
use crate::text;

/// How long an order may take until it is read back; then its outcome is called unknown.
pub const ORDER_DEADLINE: Duration = Duration::from_secs(90);
/// Orders that are written at once.
const AT_ONCE: usize = 50;
/// Writes that one look at the facts may lead to: each answer is itself a fresh look at what was written.
const WRITES_A_LOOK: usize = 4;
/// How long it is looked at whether an undo stays, where a GitOps controller may write the workload: Argo CD heals after 5 s
/// unless told otherwise. What comes after it in an undo waits for that: its callers must not serve the new version again.
pub const STAYS_FOR: Duration = Duration::from_secs(8);
const STAYS_EVERY: Duration = Duration::from_secs(1);
/// How long the second write of an order waits for the first ones of the others.
const FIRST_WRITES: Duration = Duration::from_millis(500);
const LOOK_FIRST: Duration = Duration::from_millis(100);
/// The same where many are looked at with lists, which keep the server from what they look for.
const LOOK_FIRST_MANY: Duration = Duration::from_millis(500);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// How an order ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Carried out and read back, or brought about by somebody else already; says what was done.
    Done(Text),
    /// Not carried out: a rule stands against it.
    Refused(Refusal),
    /// Not carried out: the cluster could not be reached or did not let us.
    Failed(Fault),
    /// Something was written, and what was ordered was not read back in time. Says what it waits for.
    Unknown(Text),
    /// Carried out and read back, and then changed back by somebody else: it needs a person.
    Reverted(Refusal),
}

impl Outcome {
    /// In a word, and what there is to say of it.
    pub fn told(&self) -> (&'static str, Text) {
        match self {
            Self::Done(says) => ("done", says.clone()),
            Self::Refused(refusal) => ("refused", refusal.why.clone()),
            Self::Failed(fault) => ("failed", text!("{fault}")),
            Self::Unknown(says) => ("unknown", says.clone()),
            Self::Reverted(refusal) => ("reverted", refusal.why.clone()),
        }
    }
}

/// Carries orders out on one cluster.
#[derive(Clone)]
pub struct Driver {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Where orders are written down before their first effect.
    pub journal: Arc<dyn Journal>,
    /// Whether actions may leave.
    pub write: WriteMode,
    /// The cluster's uid as footplate.yaml pins it.
    pub cluster_uid: Option<Text>,
}

/// Stands in for a journal that cannot be opened: what goes forward is refused with its fault, what goes back is not.
pub struct NoJournal(pub Fault);

impl Journal for NoJournal {
    fn append(&self, _: Value) -> Fut<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }
}

/// One order under way.
struct Order {
    procedure: Procedure,
    sent: u32,
    waits: Text,
    fault: Option<Fault>,
    outcome: Option<Outcome>,
    /// What an undo restored where somebody else may write it too.
    restored: Option<Restored>,
}

/// A template that an undo restored.
struct Restored {
    /// The object that holds it.
    holder: ObjectRef,
    template: Value,
    /// Who may write it as well.
    owner: Text,
}

impl Restored {
    /// Of the facts that an undo ended with; none where nobody else is known to write it.
    fn of(order: &Order, facts: &Facts) -> Option<Self> {
        let aim = order.procedure.aim();
        if !matches!(aim.verb, Verb::Undo) || order.sent == 0 {
            return None;
        }
        let owner = facts.owner.clone()?;
        let (holder, object) = match &facts.target {
            Some(target) => {
                let id = ObjectRef { kind: ObjectKind::Deployment, name: target.name(), ..aim.workload.clone() };
                (id, target)
            }
            None => (aim.workload.clone(), facts.object.as_ref()?),
        };
        Some(Self { holder, template: object.raw("/spec/template")?.clone(), owner })
    }

    fn reverted(&self, verb: &Text, after: Duration) -> Outcome {
        let (owner, seconds) = (&self.owner, after.as_secs().max(1));
        Outcome::Reverted(Refusal {
            why: text!("{verb}, but {seconds} s later the template was changed again, by {owner} or another hand"),
            hint: text!("git must say the old version, or suspend the sync of {owner}; then undo again, or abort"),
            already: false,
        })
    }
}

/// An order with what was just read about it.
struct Look<'o> {
    at: usize,
    order: &'o mut Order,
    facts: Facts,
}

/// What to carry out together: orders under one confirmation.
pub struct Batch {
    /// The orders.
    pub procedures: Vec<Procedure>,
    /// The person's confirmation of all of them.
    pub confirmed: Confirmed,
    /// Hashes that were seen as stable, an entry for each order; may be shorter.
    pub was_stable: Vec<Vec<Text>>,
}

impl Driver {
    /// Carries orders out, all at once, and answers how each ended, in the same order. `told` hears what each is doing.
    pub async fn drive(&self, batch: Batch, told: &(dyn Fn(usize, &Text) + Sync)) -> Vec<Outcome> {
        let Batch { procedures, confirmed, was_stable } = batch;
        let until = self.clock.monotonic() + ORDER_DEADLINE;
        let (uid, intent) = tokio::join!(self.read_uid(), self.note_intent(&procedures));
        let mut orders: Vec<Order> = procedures
            .into_iter()
            .map(|procedure| Order {
                procedure,
                sent: 0,
                waits: Text::default(),
                fault: None,
                outcome: None,
                restored: None,
            })
            .collect();
        if let Err(fault) = intent {
            // Going back is never held up by a full disk; going forward waits for its entry.
            for order in orders.iter_mut().filter(|o| o.procedure.aim().verb.direction() == Direction::Forward) {
                order.outcome = Some(Outcome::Refused(Refusal {
                    why: text!("the order cannot be written down: {}: {}", fault.what, fault.why),
                    hint: fault.hint.clone(),
                    already: false,
                }));
            }
        }
        let mut alongside = JoinSet::new();
        let mut pause = if orders.len() < LIST_FROM { LOOK_FIRST } else { LOOK_FIRST_MANY };
        loop {
            let mut open: Vec<(usize, &mut Order)> =
                orders.iter_mut().enumerate().filter(|(_, order)| order.outcome.is_none()).collect();
            if open.is_empty() {
                break;
            }
            if self.clock.monotonic() >= until {
                open.iter_mut().for_each(|(_, order)| order.outcome = Some(give_up(order)));
                break;
            }
            let now = self.clock.now();
            let aims: Vec<_> = open.iter().map(|(_, order)| order.procedure.aim()).collect();
            let facts = gather(&*self.cluster, &aims, now).await;
            let mut looks: Vec<Look<'_>> = Vec::new();
            for ((at, order), facts) in open.into_iter().zip(facts) {
                match facts {
                    Ok(mut facts) => {
                        facts.was_stable = was_stable.get(at).cloned().unwrap_or_default();
                        looks.push(Look { at, order, facts });
                    }
                    Err(fault) => self.stumble(order, fault),
                }
            }
            // The first write of every order before the second of any: fifty aborts are all sent before the first is marked.
            let (first_writes, _) = watch::channel(looks.len());
            let work: Vec<_> =
                looks.into_iter().map(|look| self.advance(look, &confirmed, &uid, told, &first_writes)).collect();
            let lines: Vec<Value> = stream::iter(work).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.concat();
            for (at, order) in orders.iter().enumerate().filter(|(_, order)| order.outcome.is_none()) {
                if !order.waits.is_empty() {
                    told(at, &order.waits);
                }
            }
            if !lines.is_empty() {
                let journal = Arc::clone(&self.journal);
                alongside.spawn(async move {
                    for line in lines {
                        // A safe effect is never held up by its entry; one that cannot be written is lost.
                        let _ = journal.append(line).await;
                    }
                });
            }
            if orders.iter().any(|order| order.outcome.is_none()) {
                self.clock.sleep(pause).await;
                pause = (pause * 3 / 2).min(LOOK_MAX);
            }
        }
        self.see_that_it_stays(&mut orders, told).await;
        alongside.join_all().await;
        let outcomes: Vec<Outcome> =
            orders.iter_mut().map(|order| order.outcome.take().unwrap_or_else(|| give_up(order))).collect();
        self.note_outcomes(&orders, &outcomes).await;
        outcomes
    }

    /// Looks for a while whether what was restored is put back, where somebody else may do that. An order that is found reverted
    /// ends as such at once; what cannot be read says nothing.
    async fn see_that_it_stays(&self, orders: &mut [Order], told: &(dyn Fn(usize, &Text) + Sync)) {
        let begun = self.clock.monotonic();
        let mut watched: Vec<(usize, Restored)> =
            orders.iter_mut().enumerate().filter_map(|(at, order)| Some((at, order.restored.take()?))).collect();
        for (at, restored) in &watched {
            let seconds = STAYS_FOR.as_secs();
            told(*at, &text!("is done; looks for {seconds} s whether {} reverts it", restored.owner));
        }
        while !watched.is_empty() && self.clock.monotonic() < begun + STAYS_FOR {
            self.clock.sleep(STAYS_EVERY).await;
            let reads = watched.iter().map(|(_, restored)| self.cluster.read(&restored.holder));
            let found = join_all(reads).await;
            let mut stay = Vec::new();
            for ((at, restored), found) in watched.into_iter().zip(found) {
                let changed = match &found {
                    Ok(Some(object)) => {
                        object.raw("/spec/template").is_some_and(|now| !template::same(now, &restored.template))
                    }
                    _ => false,
                };
                if changed && let Some(Outcome::Done(says)) = &orders[at].outcome {
                    let outcome = restored.reverted(says, self.clock.monotonic().saturating_sub(begun));
                    orders[at].outcome = Some(outcome);
                } else {
                    stay.push((at, restored));
                }
            }
            watched = stay;
        }
    }

    /// From one look at the facts: as many writes as follow from it, and their lines for the journal.
    async fn advance(
        &self,
        look: Look<'_>,
        confirmed: &Confirmed,
        uid: &Option<Text>,
        told: &(dyn Fn(usize, &Text) + Sync),
        first_writes: &watch::Sender<usize>,
    ) -> Vec<Value> {
        let mut done = Vec::new();
        let mut look = self.one_write(look, confirmed, uid, told, &mut done).await;
        first_writes.send_modify(|left| *left -= 1);
        for _ in 1..WRITES_A_LOOK {
            let Some(next) = look else { break };
            let mut left = first_writes.subscribe();
            tokio::select! {
                biased;
                _ = left.wait_for(|left| *left == 0) => {}
                // One that hangs does not hold up the others.
                () = self.clock.sleep(FIRST_WRITES) => {}
            }
            look = self.one_write(next, confirmed, uid, told, &mut done).await;
        }
        done
    }

    /// One write, if one follows from a look at the facts; with what the server answered, where another may follow at once.
    async fn one_write<'o>(
        &self,
        look: Look<'o>,
        confirmed: &Confirmed,
        uid: &Option<Text>,
        told: &(dyn Fn(usize, &Text) + Sync),
        done: &mut Vec<Value>,
    ) -> Option<Look<'o>> {
        let Look { at, order, mut facts } = look;
        let effect = match order.procedure.next(&facts) {
            Next::Send(effect) => *effect,
            Next::Wait(what) => {
                (order.waits, order.fault) = (what, None);
                return None;
            }
            Next::Done(what) => {
                order.restored = Restored::of(order, &facts);
                order.outcome = Some(Outcome::Done(what));
                return None;
            }
            Next::Refused(refusal) => {
                order.outcome =
                    Some(if refusal.already { Outcome::Done(refusal.why) } else { Outcome::Refused(refusal) });
                return None;
            }
        };
        let standing = Standing {
            write: self.write,
            confirmed: Some(confirmed),
            cluster_uid: (self.cluster_uid.clone(), uid.clone()),
            read_at: facts.now,
            now: self.clock.now(),
        };
        told(at, &effect.says);
        let cleared = match clear(effect, &standing) {
            Ok(cleared) => cleared,
            Err(refusal) => {
                order.outcome = Some(Outcome::Refused(refusal));
                return None;
            }
        };
        let effect = cleared.effect();
        let line = self.line("effect", effect);
        if effect.direction == Direction::Forward {
            if let Err(fault) = self.append(line).await {
                order.outcome = Some(Outcome::Failed(fault));
                return None;
            }
        } else {
            done.push(line);
        }
        order.sent += 1;
        match self.cluster.send(&cleared).await {
            Ok(object) => {
                order.fault = None;
                facts.now = self.clock.now();
                if effect.object == order.procedure.aim().workload {
                    facts.object = Some(object);
                } else if effect.object.kind == ObjectKind::Deployment
                    && facts.target.as_ref().is_some_and(|target| target.name() == effect.object.name)
                {
                    facts.target = Some(object);
                } else {
                    return None;
                }
                Some(Look { at, order, facts })
            }
            Err(fault) => {
                if let FaultKind::Throttled(seconds) = fault.kind {
                    self.clock.sleep(Duration::from_secs(u64::from(seconds.min(10)))).await;
                }
                self.stumble(order, fault);
                None
            }
        }
    }

    /// What a fault means for an order: the end where trying again cannot help, else another look.
    fn stumble(&self, order: &mut Order, fault: Fault) {
        match fault.kind {
            FaultKind::Unauthorized | FaultKind::Forbidden | FaultKind::NoSuchKind => {
                order.outcome = Some(Outcome::Failed(fault));
            }
            _ => {
                order.waits = text!("{}: {}", fault.what, fault.why);
                order.fault = Some(fault);
            }
        }
    }

    /// The cluster's uid, where it is pinned: that of its kube-system namespace. Unknown where it may not be read.
    pub(super) async fn read_uid(&self) -> Option<Text> {
        self.cluster_uid.as_ref()?;
        self.uid_of_cluster().await
    }

    /// The cluster's uid; unknown where it may not be read.
    pub(super) async fn uid_of_cluster(&self) -> Option<Text> {
        cluster_uid(&*self.cluster).await.ok().flatten()
    }

    async fn note_intent(&self, procedures: &[Procedure]) -> Result<(), Fault> {
        let Some(first) = procedures.first() else { return Ok(()) };
        let order = &first.aim().order;
        let targets: Vec<Value> =
            procedures.iter().map(|p| json!({"verb": verb_word(p), "object": p.aim().workload.to_string()})).collect();
        self.append(json!({
            "at": self.clock.now().to_string(), "what": "intent", "who": order.who, "why": order.why,
            "cluster": self.cluster.identity().context, "orders": targets,
        }))
        .await
    }

    async fn note_outcomes(&self, orders: &[Order], outcomes: &[Outcome]) {
        let lines: Vec<Value> = orders
            .iter()
            .zip(outcomes)
            .map(|(order, outcome)| {
                let (word, says) = outcome.told();
                json!({
                    "at": self.clock.now().to_string(), "what": "outcome", "verb": verb_word(&order.procedure),
                    "object": order.procedure.aim().workload.to_string(), "outcome": word, "says": says,
                })
            })
            .collect();
        for line in lines {
            // The orders ended as they did, whether or not that can be written down.
            let _ = self.journal.append(line).await;
        }
    }

    /// An effect as a line of the journal.
    pub(super) fn line(&self, what: &str, effect: &Effect) -> Value {
        let (on, patch) = match &effect.change {
            Change::Patch(patch) => ("main", json!(patch)),
            Change::PatchStatus(patch) => ("status", json!(patch)),
            Change::Create(_) => ("create", Value::Null),
        };
        json!({
            "at": self.clock.now().to_string(), "what": what, "cluster": effect.object.cluster,
            "object": effect.object.to_string(), "on": on, "says": effect.says, "patch": patch,
        })
    }

    /// Writes a line to the journal; durable when it returns.
    pub(super) async fn append(&self, line: Value) -> Result<(), Fault> {
        self.journal.append(line).await
    }
}

/// The verb of an order in a word.
fn verb_word(procedure: &Procedure) -> &'static str {
    match procedure.aim().verb {
        Verb::Start { .. } => "start",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Promote => "promote",
        Verb::PromoteFull => "promote --full",
        Verb::Abort => "abort",
        Verb::Retry => "retry",
        Verb::Restart => "restart",
        Verb::Undo => "undo",
    }
}

/// The honest word for an order whose time is up.
fn give_up(order: &Order) -> Outcome {
    match (&order.fault, order.sent) {
        (Some(fault), 0) => Outcome::Failed(fault.clone()),
        (_, 0) => Outcome::Unknown(text!("nothing was written; it waits for {}", order.waits)),
        (_, _) => Outcome::Unknown(text!("written, but not read back in time; it waits for {}", order.waits)),
    }
}
