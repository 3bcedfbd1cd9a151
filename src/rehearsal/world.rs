//! The simulated cluster as it runs: store, controllers, traffic and witness on one agenda of events. Time only moves
//! when [`World::advance`] is called; what happens in between happens in order, at its own moment. Who calls it, and how
//! fast, is `clock.rs`.

#[cfg(test)]
mod behaviour;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Shared;
use super::controllers::agenda::{Agenda, Task};
use super::controllers::desk::Desk;
use super::controllers::pod::{self, Fates};
use super::controllers::{analysis_run, deployment, fields, job, replica_set, rollout};
use super::gitops::{self, Owner};
use super::kinds::{self, Kind};
use super::scenario::{Outcome, Scenario, Unknown};
use super::score::{Score, Witness};
use super::series::Series;
use super::store::{Store, What};
use super::traffic::Traffic;

/// The metrics, shared by traffic, analyses and the query API. The lock is never held across an await.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Series>>);

impl Metrics {
    /// Locks them; a panic of another holder leaves them whole.
    pub fn lock(&self) -> MutexGuard<'_, Series> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kinds whose changes wake a controller, in the order in which they are looked at.
static WATCHED: [&Kind; 9] = [
    &kinds::ROLLOUT,
    &kinds::REPLICA_SET,
    &kinds::DEPLOYMENT,
    &kinds::POD,
    &kinds::JOB,
    &kinds::ANALYSIS_RUN,
    &kinds::SERVICE,
    &kinds::INGRESS,
    &kinds::ANALYSIS_TEMPLATE,
];

/// See the room's first lines.
#[derive(Debug)]
pub struct World {
    store: Shared,
    metrics: Metrics,
    agenda: Agenda,
    fates: Fates,
    /// The newest change that the controllers have been told of.
    told: u64,
    traffic: Option<Traffic>,
    owners: Vec<Owner>,
    witness: Option<Witness>,
    scenario: Option<Scenario>,
    seed: u64,
}

impl World {
    /// Controllers on a store, without traffic or scenario.
    pub fn bare(store: Shared, fates: Fates, seed: u64) -> Self {
        let mut world = Self {
            store,
            metrics: Metrics::default(),
            agenda: Agenda::default(),
            fates,
            told: 0,
            traffic: None,
            owners: Vec::new(),
            witness: None,
            scenario: None,
            seed,
        };
        world.make_nodes();
        world
    }

    /// A scenario at the moment its train could start: everything healthy, with some minutes of metrics.
    ///
    /// # Errors
    /// The embedded environment is damaged.
    pub fn open(scenario: Scenario, seed: u64, start: Timestamp) -> Result<Self, Unknown> {
        let warm_up = scenario.warm_up();
        let begin = start.saturating_sub(warm_up).unwrap_or(start);
        let store = Shared::new(Store::new(seed, begin));
        let mut world = Self::bare(store, scenario.fates.clone(), seed);
        for object in scenario.objects()? {
            world.create(object);
        }
        let traffic = Traffic::new(
            scenario.base.traffic.clone(),
            &scenario.base.namespace,
            scenario.effects.clone(),
            scenario.hidden.clone(),
            seed,
        );
        // The fleet comes up before anybody asks anything of it.
        let up = SignedDuration::from_secs(20).min(warm_up);
        world.advance(begin.saturating_add(up).unwrap_or(start));
        world.let_flow(traffic);
        world.own(&scenario)?;
        world.advance(start);
        world.fates.later_from = Some(start);
        let witness = Witness::new(&scenario, &world.store.lock())?;
        world.witness = Some(witness);
        world.scenario = Some(scenario);
        Ok(world)
    }

    /// From now on requests flow, and are scraped.
    pub fn let_flow(&mut self, traffic: Traffic) {
        let now = self.store.lock().now();
        self.agenda.at(now, Task::Traffic);
        self.agenda.at(now, Task::Scrape);
        self.traffic = Some(traffic);
    }

    /// Lets GitOps controllers own what the scenario says.
    fn own(&mut self, scenario: &Scenario) -> Result<(), Unknown> {
        let pinned = scenario.pinned()?;
        let mut store = self.store.lock();
        for owned in &scenario.gitops {
            let Some(service) = pinned.iter().find(|p| p.name == owned.service) else { continue };
            let image = format!("{}:{}", service.image, service.version);
            let owner = Owner::new(owned.clone(), &scenario.base.namespace, image);
            owner.mark(&mut store);
            self.agenda.at(store.now(), Task::Heal(self.owners.len()));
            self.owners.push(owner);
        }
        Ok(())
    }

    fn make_nodes(&mut self) {
        let mut store = self.store.lock();
        for n in 1..=pod::NODES {
            let name = format!("node-{n}");
            let ready = json!([{ "type": "Ready", "status": "True", "reason": "KubeletReady" }]);
            let node = json!({
                "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
                "status": { "conditions": ready, "allocatable": { "pods": "110" }, "capacity": { "pods": "110" } },
            });
            // A cluster that has nodes already keeps them.
            let _ = store.create(&kinds::NODE, "", node);
        }
    }

    /// Creates an object as `kubectl apply` would; one of a kind that is not served is left out.
    pub fn create(&mut self, object: Value) {
        let (version, kind) = (fields::text(&object, "/apiVersion"), fields::text(&object, "/kind"));
        let Some(kind) = kinds::find_kind(version, kind) else { return };
        let namespace = if kind.namespaced { fields::namespace(&object).to_owned() } else { String::new() };
        // What is there already stays.
        let _ = self.store.lock().create(kind, &namespace, object);
    }

    /// The store.
    pub fn store(&self) -> &Shared {
        &self.store
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The scenario, where one is played.
    pub fn scenario(&self) -> Option<&Scenario> {
        self.scenario.as_ref()
    }

    /// Notes that somebody ordered to take a version or a flag back.
    pub fn decided(&mut self, at: Timestamp) {
        if let Some(witness) = &mut self.witness {
            witness.decided(at);
        }
    }

    /// Notes that the conductor died.
    pub fn killed(&mut self) {
        let now = self.store.lock().now();
        if let Some(witness) = &mut self.witness {
            witness.killed(now);
        }
    }

    /// True while a request could be hurt.
    pub fn hurting(&self) -> bool {
        let now = self.store.lock().now();
        self.witness.as_ref().is_some_and(|w| w.hurting(now))
    }

    /// The score of a run that ended so; none without a scenario.
    pub fn score(&self, result: Outcome) -> Option<Score> {
        let (scenario, witness) = (self.scenario.as_ref()?, self.witness.as_ref()?);
        Some(witness.score(scenario, self.seed, result, &self.store.lock()))
    }

    /// Notes a fail verdict of a gate of ours; the first after the onset counts.
    pub fn detected(&mut self, at: Timestamp) {
        if let Some(witness) = &mut self.witness {
            witness.detected(at);
        }
    }

    /// When the next thing happens by itself.
    pub fn next(&self) -> Option<Timestamp> {
        self.agenda.next()
    }

    /// Lets time pass up to a moment: everything that is due by then happens, in order.
    pub fn advance(&mut self, to: Timestamp) {
        loop {
            while let Some((when, task)) = self.agenda.take(to) {
                self.store.lock().set_now(when);
                self.run(task);
                self.tell();
            }
            self.store.lock().set_now(to);
            self.tell();
            if self.agenda.next().is_none_or(|next| next > to) {
                return;
            }
        }
    }

    /// Puts what changed on the agenda of those whom it concerns.
    fn tell(&mut self) {
        let store = self.store.lock();
        if store.version() == self.told {
            return;
        }
        let mut concerned: Vec<Task> = Vec::new();
        for kind in WATCHED {
            match store.changes(kind, self.told) {
                Ok(changes) => {
                    for change in changes {
                        concern(&store, kind, &change.object, change.what, &mut concerned);
                    }
                }
                // More happened than the history keeps: look at all of it.
                Err(_) => {
                    for object in store.list(kind, None) {
                        concern(&store, kind, object, What::Modified, &mut concerned);
                    }
                }
            }
        }
        self.told = store.version();
        let now = store.now();
        if let Some(witness) = &mut self.witness {
            let names = concerned.iter().filter_map(|t| match t {
                Task::Rollout(_, name) | Task::Deployment(_, name) => Some(name.as_str()),
                _ => None,
            });
            witness.look(&store, names);
        }
        for task in concerned {
            let salt = self.told.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ self.seed;
            self.agenda.soon(now, task, salt);
        }
    }

    fn run(&mut self, task: Task) {
        match task {
            Task::Traffic => return self.second(),
            Task::Scrape => return self.scrape(),
            Task::Heal(index) => return self.heal(index),
            _ => {}
        }
        let mut store = self.store.lock();
        let series = self.metrics.lock();
        let mut desk = Desk { store: &mut store, agenda: &mut self.agenda, series: &series, fates: &self.fates };
        match task {
            Task::Pod(namespace, name) => pod::reconcile(&mut desk, &namespace, &name),
            Task::ReplicaSet(namespace, name) => replica_set::reconcile(&mut desk, &namespace, &name),
            Task::Deployment(namespace, name) => deployment::reconcile(&mut desk, &namespace, &name),
            Task::Job(namespace, name) => job::reconcile(&mut desk, &namespace, &name),
            Task::AnalysisRun(namespace, name) => analysis_run::reconcile(&mut desk, &namespace, &name),
            Task::Rollout(namespace, name) => rollout::reconcile(&mut desk, &namespace, &name),
            Task::Traffic | Task::Scrape | Task::Heal(_) => {}
        }
    }

    fn heal(&mut self, index: usize) {
        let mut store = self.store.lock();
        let now = store.now();
        let Some(owner) = self.owners.get_mut(index) else { return };
        owner.look(&mut store);
        self.agenda.at(now.saturating_add(gitops::LOOKS_EVERY).unwrap_or(now), Task::Heal(index));
    }

    fn second(&mut self) {
        let store = self.store.lock();
        let now = store.now();
        let Some(traffic) = &mut self.traffic else { return };
        let second = traffic.second(&store, now);
        if let Some(witness) = &mut self.witness {
            witness.second(now, &second, bad_pods(&store, &self.fates));
            witness.holder(&store);
        }
        self.agenda.at(now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now), Task::Traffic);
    }

    fn scrape(&mut self) {
        let store = self.store.lock();
        let now = store.now();
        let Some(traffic) = &mut self.traffic else { return };
        traffic.scrape(&store, &mut self.metrics.lock(), now);
        let wait = SignedDuration::from_secs(traffic.scrape_s());
        self.agenda.at(now.saturating_add(wait).unwrap_or(now), Task::Scrape);
    }
}

/// When the oldest pod that cannot live was created; none when there is none.
fn bad_pods(store: &Store, fates: &Fates) -> Option<Timestamp> {
    if fates.rules.is_empty() {
        return None;
    }
    store
        .list(&kinds::POD, None)
        .filter(|p| {
            let image = fields::text(p, "/spec/containers/0/image");
            fates.rules.iter().any(|(part, fate)| *fate != pod::Fate::Ready && image.contains(part.as_str()))
        })
        .map(|p| fields::created(p))
        .min()
}

/// Whom a change concerns.
fn concern(store: &Store, kind: &Kind, object: &Value, what: What, out: &mut Vec<Task>) {
    let (namespace, name) = (fields::namespace(object).to_owned(), fields::name(object).to_owned());
    let owner = fields::owner(object);
    let owned_by = |kind: &str| {
        owner
            .filter(|o| fields::text(o, "/kind") == kind)
            .map(|o| (namespace.clone(), fields::text(o, "/name").to_owned()))
    };
    let gone = what == What::Deleted;
    let own = |task: fn(String, String) -> Task, out: &mut Vec<Task>| {
        if !gone {
            out.push(task(namespace.clone(), name.clone()));
        }
    };
    if *kind == kinds::ROLLOUT {
        own(Task::Rollout, out);
    } else if *kind == kinds::REPLICA_SET {
        own(Task::ReplicaSet, out);
        out.extend(owned_by("Rollout").map(|(ns, n)| Task::Rollout(ns, n)));
        out.extend(owned_by("Deployment").map(|(ns, n)| Task::Deployment(ns, n)));
    } else if *kind == kinds::DEPLOYMENT {
        own(Task::Deployment, out);
        let referring = |r: &Value| fields::text(r, "/spec/workloadRef/name") == name;
        out.extend(rollouts(store, &namespace, referring));
    } else if *kind == kinds::POD {
        if what == What::Added {
            own(Task::Pod, out);
        }
        out.extend(owned_by("ReplicaSet").map(|(ns, n)| Task::ReplicaSet(ns, n)));
        out.extend(owned_by("Job").map(|(ns, n)| Task::Job(ns, n)));
    } else if *kind == kinds::JOB {
        own(Task::Job, out);
    } else if *kind == kinds::ANALYSIS_RUN {
        own(Task::AnalysisRun, out);
        out.extend(owned_by("Rollout").map(|(ns, n)| Task::Rollout(ns, n)));
    } else {
        // Services, Ingresses and AnalysisTemplates: whoever names them.
        let quoted = format!("\"{name}\"");
        out.extend(rollouts(store, &namespace, |r| r["spec"]["strategy"].to_string().contains(&quoted)));
    }
}

fn rollouts(store: &Store, namespace: &str, fits: impl Fn(&Value) -> bool) -> Vec<Task> {
    store
        .list(&kinds::ROLLOUT, Some(namespace))
        .filter(|r| fits(r))
        .map(|r| Task::Rollout(namespace.to_owned(), r.name().to_owned()))
        .collect()
}
