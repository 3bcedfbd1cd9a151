//! What a controller works with during one reconciliation: the store at one instant, the agenda, the metrics, and what
//! the scenario does to pods. No controller reaches anything else.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::kinds::Kind;
use super::super::series::Series;
use super::super::store::{Propagation, Store};
use super::agenda::{Agenda, Task};
use super::fields;
use super::pod::Fates;

/// See the room's first lines.
pub struct Desk<'a> {
    /// The objects.
    pub store: &'a mut Store,
    /// Timers and work.
    pub agenda: &'a mut Agenda,
    /// The metrics that analyses query.
    pub series: &'a Series,
    /// What becomes of pods.
    pub fates: &'a Fates,
}

impl Desk<'_> {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// Now in whole seconds, as it is written into objects.
    pub fn stamp_now(&self) -> Timestamp {
        fields::whole_second(self.now())
    }

    /// An object.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Value> {
        self.store.get(kind, namespace, name).map(|held| Value::clone(&held))
    }

    /// The objects of a kind that has no namespace.
    pub fn all(&self, kind: &Kind) -> Vec<Value> {
        self.store.list(kind, None).map(|o| Value::clone(o)).collect()
    }

    /// The objects that one owns.
    pub fn owned(&self, kind: &Kind, owner: &str) -> Vec<Value> {
        self.store.owned(kind, owner).iter().map(|held| Value::clone(held)).collect()
    }

    /// Creates an object; none when it exists or its namespace is gone.
    pub fn create(&mut self, kind: &'static Kind, object: Value) -> Option<Value> {
        let namespace = fields::namespace(&object).to_owned();
        self.store.create(kind, &namespace, object).ok().map(|held| Value::clone(&held))
    }

    /// Changes an object; none when it is gone.
    pub fn update(&mut self, kind: &'static Kind, object: &Value, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let (namespace, name) = (fields::namespace(object).to_owned(), fields::name(object).to_owned());
        self.store.update(kind, &namespace, &name, change).ok().map(|held| Value::clone(&held))
    }

    /// Replaces the status of an object; none when it is gone.
    pub fn set_status(&mut self, kind: &'static Kind, object: &Value, status: Value) -> Option<Value> {
        let (namespace, name) = (fields::namespace(object).to_owned(), fields::name(object).to_owned());
        self.store.update_status(kind, &namespace, &name, |o| o["status"] = status).ok().map(|held| Value::clone(&held))
    }

    /// Deletes an object and what it owns.
    pub fn delete(&mut self, kind: &'static Kind, object: &Value) {
        let (namespace, name) = (fields::namespace(object).to_owned(), fields::name(object).to_owned());
        // Gone already is as good.
        let _ = self.store.delete(kind, &namespace, &name, Propagation::Cascade);
    }

    /// Records a normal event about an object.
    pub fn event(&mut self, component: &str, about: &Value, reason: &str, message: &str) {
        self.store.record_event(about, false, reason, message, component);
    }

    /// Records a warning about an object.
    pub fn warn(&mut self, component: &str, about: &Value, reason: &str, message: &str) {
        self.store.record_event(about, true, reason, message, component);
    }

    /// Does a task a while from now.
    pub fn after(&mut self, wait: SignedDuration, task: Task) {
        let when = self.now().saturating_add(wait).unwrap_or(self.now());
        self.agenda.at(when, task);
    }

    /// Does a task just after a time written in whole seconds has passed.
    pub fn once_past(&mut self, when: Timestamp, task: Task) {
        self.agenda.at(when.saturating_add(SignedDuration::from_millis(3)).unwrap_or(when), task);
    }
}
