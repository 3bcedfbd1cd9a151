//! What is to be done when: the work queue and the timers of all simulated controllers in one ordered list, so that two
//! runs do the same things in the same order. Doing them is `world.rs`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

/// One thing to do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Task {
    /// A GitOps controller looks at what it owns; its index in the scenario.
    Heal(usize),
    /// A second of traffic.
    Traffic,
    /// A scrape of the metrics.
    Scrape,
    /// A pod moves on (starts, becomes ready, crashes): namespace, name.
    Pod(String, String),
    /// Reconcile a ReplicaSet.
    ReplicaSet(String, String),
    /// Reconcile a Deployment.
    Deployment(String, String),
    /// Reconcile a Job.
    Job(String, String),
    /// Reconcile an AnalysisRun.
    AnalysisRun(String, String),
    /// Reconcile a Rollout.
    Rollout(String, String),
}

/// How long after a change a controller gets to it, on average: watch, queue and a request or two.
const REACTION_MS: i64 = 12;

/// The list.
#[derive(Debug, Default)]
pub struct Agenda {
    due: BTreeSet<(Timestamp, Task)>,
    queued: BTreeSet<Task>,
}

impl Agenda {
    /// Does something at a time.
    pub fn at(&mut self, when: Timestamp, task: Task) {
        self.due.insert((when, task));
    }

    /// Reconciles soon, once, however often it is asked for before it is done. The delay differs from task to task by
    /// `salt`, so that controllers do not march in step.
    pub fn soon(&mut self, now: Timestamp, task: Task, salt: u64) {
        if self.queued.insert(task.clone()) {
            let spread = i64::try_from(salt % 9).unwrap_or(0);
            let when = now.saturating_add(SignedDuration::from_millis(REACTION_MS + spread)).unwrap_or(now);
            self.due.insert((when, task));
        }
    }

    /// When the next thing is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(when, _)| *when)
    }

    /// Takes the next thing that is due at or before a time.
    pub fn take(&mut self, until: Timestamp) -> Option<(Timestamp, Task)> {
        if self.next()? > until {
            return None;
        }
        let (when, task) = self.due.pop_first()?;
        self.queued.remove(&task);
        Some((when, task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_twice_does_it_once_and_timers_stay() {
        let now: Timestamp = "2025-10-01T13:00:00Z".parse().unwrap();
        let later = now + SignedDuration::from_secs(60);
        let task = Task::Rollout("payments".into(), "billing-api".into());
        let mut agenda = Agenda::default();
        agenda.at(later, task.clone());
        agenda.soon(now, task.clone(), 1);
        agenda.soon(now, task.clone(), 2);
        assert_eq!(agenda.take(now), None, "a controller takes its time");
        let soon = now + SignedDuration::from_millis(100);
        assert!(agenda.take(soon).is_some());
        assert_eq!(agenda.take(soon), None);
        agenda.soon(soon, task.clone(), 1);
        assert_eq!(agenda.take(later).map(|(_, t)| t), Some(task));
        assert!(agenda.take(later).is_some(), "the timer was not lost");
    }
}
