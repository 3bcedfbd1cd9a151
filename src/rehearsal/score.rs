//! What a rehearsal was worth: onset, decision, recovery and impact from the simulator's own knowledge, and an oracle
//! that watches the cluster for what must never happen. It shares no code with what it judges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::controllers::{fields, hash};
use super::kinds;
use super::scenario::{Outcome, Pinned, Scenario, Unknown};
use super::store::{Held, Store};
use super::traffic::{self, Second};

/// A service as it was at the start.
#[derive(Clone, PartialEq, Debug)]
struct Was {
    template: Value,
    hash: String,
}

/// What the simulator knows of the run so far.
#[derive(Debug)]
pub struct Witness {
    namespace: String,
    pinned: BTreeMap<String, (u32, Pinned)>,
    /// Who calls whom: (caller, called).
    calls: Vec<(String, String)>,
    flags_end: BTreeMap<String, bool>,
    was: BTreeMap<String, Was>,
    /// Jobs that had run before: an expand step stays.
    jobs: BTreeSet<String>,
    flags_were: BTreeMap<String, f64>,
    deployed: BTreeMap<String, Timestamp>,
    /// Services that were finished and have been taken back.
    taken_back: BTreeSet<String>,
    finished: BTreeMap<String, Timestamp>,
    onset: Option<Timestamp>,
    hurt_last: Option<Timestamp>,
    detected: Option<Timestamp>,
    decided: Option<Timestamp>,
    impact_s: u64,
    /// Who holds the Lease, and its epoch; none while nobody has.
    conducted: Option<(String, u64)>,
    killed: Option<Timestamp>,
    /// When another held the Lease after that, and its epoch.
    took_over: Option<(Timestamp, u64)>,
    violations: Vec<String>,
}

/// The last line of a headless rehearsal.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Score {
    /// Scenario name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// How it should end.
    pub expect: Outcome,
    /// How it ended.
    pub result: Outcome,
    /// Seconds from onset to a fail verdict of a gate of ours; none while there is no such gate.
    pub detected_s: Option<f64>,
    /// Seconds from onset to the order to undo.
    pub decided_s: Option<f64>,
    /// Seconds from onset until nothing could be hurt any more.
    pub recovered_s: Option<f64>,
    /// Seconds in which a service broke its SLO because of the fault.
    pub impact_s: Option<f64>,
    /// Seconds from the death of the conductor until another held the Lease; only where one died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_over_s: Option<f64>,
    /// The epoch under which that one conducted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// What must never happen and did.
    pub violations: Vec<String>,
}

impl Score {
    /// True when it ended as it should and nothing was violated.
    pub fn passed(&self) -> bool {
        self.result == self.expect && self.violations.is_empty()
    }

    /// In one line, for the screen: times after the first request that was hurt.
    pub fn in_words(&self) -> String {
        let times = [("detected", self.detected_s), ("decided", self.decided_s), ("recovered", self.recovered_s)];
        let mut parts: Vec<String> =
            times.iter().filter_map(|(what, s)| s.map(|s| format!("{what} after {s:.0} s"))).collect();
        parts.extend(self.impact_s.map(|s| format!("{s:.0} s of impact")));
        parts.extend(self.took_over_s.map(|s| format!("taken over after {s:.0} s")));
        if self.result != self.expect {
            parts.push("not as expected".to_owned());
        }
        parts.push(if self.violations.is_empty() {
            "nothing violated".to_owned()
        } else {
            format!("VIOLATED: {}", self.violations.join("; "))
        });
        parts.join(", ")
    }
}

impl Witness {
    /// Begins to watch a cluster that is as it was before the train.
    ///
    /// # Errors
    /// The embedded environment is damaged.
    pub fn new(scenario: &Scenario, store: &Store) -> Result<Self, Unknown> {
        let namespace = scenario.base.namespace.clone();
        let wave_of = |name: &str| scenario.base.waves.iter().position(|w| w.iter().any(|s| s == name)).unwrap_or(0);
        let pinned: BTreeMap<String, (u32, Pinned)> = scenario
            .pinned()?
            .into_iter()
            .map(|p| (p.name.clone(), (u32::try_from(wave_of(&p.name)).unwrap_or(0), p)))
            .collect();
        let mut witness = Self {
            flags_were: traffic::flags(store, &namespace),
            jobs: traffic::completed(store, &namespace),
            namespace,
            pinned,
            calls: scenario
                .base
                .traffic
                .service
                .iter()
                .flat_map(|s| s.calls.iter().map(|c| (s.name.clone(), c.to.clone())))
                .collect(),
            flags_end: scenario.base.flags.clone(),
            was: BTreeMap::new(),
            deployed: BTreeMap::new(),
            taken_back: BTreeSet::new(),
            finished: BTreeMap::new(),
            onset: None,
            hurt_last: None,
            detected: None,
            decided: None,
            impact_s: 0,
            conducted: None,
            killed: None,
            took_over: None,
            violations: Vec::new(),
        };
        witness.was = witness.as_it_is(store);
        Ok(witness)
    }

    fn workload(&self, store: &Store, service: &str) -> Option<Arc<Held>> {
        let kind = match self.pinned.get(service).map(|(_, p)| p.kind.as_str()) {
            Some("Deployment") => &kinds::DEPLOYMENT,
            _ => &kinds::ROLLOUT,
        };
        store.get(kind, &self.namespace, service)
    }

    /// The hash of what serves: a Rollout's stable one, or that of the one set of a Deployment that has pods.
    fn serving(store: &Store, workload: &Value) -> String {
        if fields::text(workload, "/kind") == "Rollout" {
            return fields::text(workload, "/status/stableRS").to_owned();
        }
        let sets = store.owned(&kinds::REPLICA_SET, fields::uid(workload));
        let with_pods: Vec<&str> = sets
            .iter()
            .filter(|s| fields::count(s, "/status/replicas") > 0)
            .filter_map(|s| fields::label(s, hash::DEPLOYMENT_HASH))
            .collect();
        with_pods.join("+")
    }

    fn as_it_is(&self, store: &Store) -> BTreeMap<String, Was> {
        self.pinned
            .keys()
            .filter_map(|name| {
                let workload = self.workload(store, name)?;
                let template = fields::canonical(workload.pointer("/spec/template").unwrap_or(&Value::Null));
                Some((name.clone(), Was { template, hash: Self::serving(store, &workload) }))
            })
            .collect()
    }

    /// Looks at workloads after a change of them.
    pub fn look<'n>(&mut self, store: &Store, names: impl Iterator<Item = &'n str>) {
        let now = store.now();
        for name in names.map(str::to_owned) {
            let Some((wave, pinned)) = self.pinned.get(&name).cloned() else { continue };
            let Some(workload) = self.workload(store, &name) else { continue };
            let image = fields::text(&workload, "/spec/template/spec/containers/0/image");
            let on_pinned = image == format!("{}:{}", pinned.image, pinned.version);
            if !on_pinned {
                if self.finished.contains_key(&name) && self.taken_back.insert(name.clone()) {
                    self.callers_are_back(store, &name);
                }
                continue;
            }
            if self.deployed.insert(name.clone(), now).is_none() {
                for (earlier, (w, _)) in &self.pinned {
                    if *w < wave && !self.finished.contains_key(earlier) {
                        self.violations.push(format!(
                            "{name} (wave {}) was deployed before {earlier} (wave {}) had finished",
                            wave + 1,
                            w + 1
                        ));
                    }
                }
            }
            if !self.finished.contains_key(&name) && whole(store, &workload) {
                self.finished.insert(name, now);
            }
        }
    }

    /// Notes each caller of a service just taken back that still serves its new version.
    fn callers_are_back(&mut self, store: &Store, called: &str) {
        for (caller, _) in self.calls.iter().filter(|(_, to)| to == called) {
            let Some((_, pinned)) = self.pinned.get(caller) else { continue };
            let serves_new = traffic::routes(store, &self.namespace, caller)
                .iter()
                .any(|r| r.version == pinned.version && r.share > 0.0);
            if serves_new {
                self.violations.push(format!(
                    "{called} was taken back while {caller}, which calls it, still served {}",
                    pinned.version
                ));
            }
        }
    }

    /// Takes in a second of traffic, and how many pods of a bad fate there are.
    pub fn second(&mut self, now: Timestamp, second: &Second, bad_pods: Option<Timestamp>) {
        if second.exposed > 0.0 || bad_pods.is_some() {
            let began = bad_pods.filter(|_| second.exposed <= 0.0).unwrap_or(now);
            self.onset.get_or_insert(began);
            self.hurt_last = Some(now);
        }
        if !second.broken.is_empty() {
            self.impact_s += 1;
        }
    }

    /// Looks at who holds the Lease: each new holder must have a higher epoch than the one before.
    pub fn holder(&mut self, store: &Store) {
        let leases = store.list(&kinds::LEASE, Some(&self.namespace));
        let held = leases.map(|lease| {
            let epoch = fields::int(lease, "/spec/leaseTransitions").unwrap_or(0);
            (fields::text(lease, "/spec/holderIdentity").to_owned(), u64::try_from(epoch).unwrap_or(0))
        });
        let Some((holder, epoch)) = held.last().filter(|(holder, _)| !holder.is_empty()) else { return };
        if let Some((before, last)) = &self.conducted
            && *before != holder
        {
            if epoch <= *last {
                self.violations
                    .push(format!("{holder} took the Lease from {before} under epoch {epoch}, which is used up"));
            }
            if self.killed.is_some() {
                self.took_over.get_or_insert((store.now(), epoch));
            }
        }
        self.conducted = Some((holder, epoch));
    }

    /// Notes that the conductor died.
    pub fn killed(&mut self, at: Timestamp) {
        self.killed.get_or_insert(at);
    }

    /// Notes a fail verdict; the first counts.
    pub fn detected(&mut self, at: Timestamp) {
        if self.onset.is_some_and(|onset| at >= onset) {
            self.detected.get_or_insert(at);
        }
    }

    /// Notes the order to take something back; the first counts.
    pub fn decided(&mut self, at: Timestamp) {
        if self.onset.is_some_and(|onset| at >= onset) {
            self.decided.get_or_insert(at);
        }
    }

    /// True while a request could still be hurt.
    pub fn hurting(&self, now: Timestamp) -> bool {
        self.hurt_last.is_some_and(|last| now.duration_since(last).as_secs() < 2)
    }

    /// The score of a run that ended so.
    pub fn score(&self, scenario: &Scenario, seed: u64, result: Outcome, store: &Store) -> Score {
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| -> Option<f64> {
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of a rehearsal")]
            let seconds = to?.duration_since(from?).as_millis() as f64 / 1000.0;
            Some(seconds.max(0.0))
        };
        let since = |at| between(self.onset, at);
        let now = store.now();
        let recovered = (!self.hurting(now)).then_some(self.hurt_last).flatten();
        let mut violations = self.violations.clone();
        if self.killed.is_some() && self.took_over.is_none() {
            violations.push("the conductor died and nobody took over".to_owned());
        }
        match result {
            Outcome::RolledBack => {
                for (name, was) in &self.was {
                    match self.as_it_is(store).get(name) {
                        Some(is) if is == was => {}
                        Some(is) if is.template != was.template => {
                            violations.push(format!("{name} ended with another template than at the start"));
                        }
                        Some(is) => violations.push(format!("{name} ended on {} and began on {}", is.hash, was.hash)),
                        None => violations.push(format!("{name} is gone")),
                    }
                }
                for job in self.jobs.difference(&traffic::completed(store, &self.namespace)) {
                    violations.push(format!("the expand step {job} did not stay"));
                }
                if traffic::flags(store, &self.namespace) != self.flags_were {
                    violations.push("a flag ended at another value than at the start".to_owned());
                }
            }
            Outcome::Completed => {
                for name in self.pinned.keys() {
                    let there = self.workload(store, name).is_some_and(|w| whole(store, &w));
                    if !there || !self.finished.contains_key(name) {
                        violations.push(format!("{name} did not finish"));
                    }
                }
                let flags = traffic::flags(store, &self.namespace);
                for (key, wanted) in &self.flags_end {
                    let is = flags.get(key).copied().unwrap_or(0.0);
                    if (is - f64::from(u8::from(*wanted))).abs() > 1e-9 {
                        violations.push(format!("flag {key} did not end at {wanted}"));
                    }
                }
            }
            Outcome::NeedsPerson => {
                if self.hurting(now) {
                    violations.push("it stopped with traffic on a bad version".to_owned());
                }
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "seconds of a rehearsal")]
        let impact = self.onset.map(|_| self.impact_s as f64);
        Score {
            scenario: scenario.name.clone(),
            seed,
            expect: scenario.expect,
            result,
            detected_s: since(self.detected),
            decided_s: since(self.decided),
            recovered_s: since(recovered).map(|s| s + 1.0),
            impact_s: impact,
            took_over_s: between(self.killed, self.took_over.map(|(at, _)| at)),
            epoch: self.took_over.map(|(_, epoch)| epoch),
            violations,
        }
    }
}

/// True when a workload runs what its template says, all of it, and nothing else is under way.
fn whole(store: &Store, workload: &Value) -> bool {
    let generation = fields::generation(workload);
    if fields::text(workload, "/kind") == "Rollout" {
        return fields::text(workload, "/status/phase") == "Healthy"
            && fields::text(workload, "/status/observedGeneration") == generation.to_string()
            && fields::text(workload, "/status/currentPodHash") == fields::text(workload, "/status/stableRS")
            && current_is_template(store, workload);
    }
    let size = fields::int(workload, "/spec/replicas").unwrap_or(1);
    let is = |pointer: &str| fields::count(workload, pointer) == size;
    fields::count(workload, "/status/observedGeneration") == generation
        && is("/status/replicas")
        && is("/status/updatedReplicas")
        && is("/status/availableReplicas")
}

/// True when the hash that the status names is that of the template in the spec.
fn current_is_template(store: &Store, workload: &Value) -> bool {
    let current = fields::text(workload, "/status/currentPodHash");
    let wanted = hash::bare_template(workload.pointer("/spec/template").unwrap_or(&Value::Null));
    store.owned(&kinds::REPLICA_SET, fields::uid(workload)).iter().any(|s| {
        fields::label(s, hash::ROLLOUT_HASH) == Some(current)
            && hash::bare_template(s.pointer("/spec/template").unwrap_or(&Value::Null)) == wanted
    })
}
