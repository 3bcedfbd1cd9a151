//! Reading what a train is about, freshly and whole: its workloads with what belongs to them, its flags, its Jobs. Watches say when
//! to look; what is acted on was read here. What a reading means is `core::frozen::reading`'s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{join, join3};
use jiff::Timestamp;

use crate::core::frozen::Raw;
use crate::core::frozen::reading::{flag_file_reading, flag_kind, flag_reading, job_reading};
use crate::core::frozen::{FlagPlace, Frozen, patch};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::text::Text;
use crate::core::train::event::{FlagReading, JobReading};
use crate::core::train::resolved::ServiceId;
use crate::engine::facts::{selector, target};
use crate::ports::{Clock, Cluster, Fault, FaultKind, FlagFile, Interest};

/// What was read of one service.
#[derive(Clone, Debug)]
pub struct Sighted {
    /// The workload.
    pub object: Object,
    target: Option<Object>,
    primary: Option<Object>,
    sets: Vec<Object>,
    /// The record of this train; it never changes once it is there.
    pub record: Option<Object>,
    /// When the reading began.
    pub at: Timestamp,
    /// The same, by the monotonic clock.
    pub read_at: Duration,
}

impl Sighted {
    /// Shows it to the core.
    pub fn with<T>(&self, cluster: &Text, look: impl FnOnce(&Raw<'_>) -> T) -> T {
        let sets: Vec<&Object> = self.sets.iter().collect();
        look(&Raw {
            cluster,
            object: &self.object,
            target: self.target.as_ref(),
            primary: self.primary.as_ref(),
            sets: &sets,
            record: self.record.as_ref(),
            now: self.at,
        })
    }

    /// Replica sets of the workload.
    pub fn sets(&self) -> &[Object] {
        &self.sets
    }

    /// The object that holds the template.
    pub fn holder(&self) -> &Object {
        self.target.as_ref().unwrap_or(&self.object)
    }
}

/// Reads a service; none when its workload is not there. A record that is known is not read again.
pub async fn look(
    cluster: &dyn Cluster,
    clock: &dyn Clock,
    frozen: &Frozen,
    service: ServiceId,
    known: Option<Object>,
) -> Result<Option<Sighted>, Fault> {
    let (at, read_at) = (clock.now(), clock.monotonic());
    let context = cluster.identity().context;
    let id = frozen.object(service, &context);
    let record = async {
        match known {
            Some(known) => Ok(Some(known)),
            None => cluster.read(&patch::record_ref(frozen, service, &context)).await,
        }
    };
    let (object, record) = join(cluster.read(&id), record).await;
    let Some(object) = object? else { return Ok(None) };
    let deployment = |name: String| ObjectRef { kind: ObjectKind::Deployment, name: Text::scrub(&name), ..id.clone() };
    let target_name = target(&object).map(str::to_owned);
    let primary_name =
        target_name.as_ref().filter(|_| id.kind == ObjectKind::Canary).map(|name| format!("{name}-primary"));
    let read = async |name: Option<String>| match name {
        Some(name) => cluster.read(&deployment(name)).await,
        None => Ok(None),
    };
    let own = selector(&object);
    let sets = async {
        match own {
            Some(labels) => sets(cluster, &id, &labels).await,
            None => Ok(Vec::new()),
        }
    };
    let (target, primary, mut found) = join3(read(target_name), read(primary_name), sets).await;
    let target = target?;
    if let (None, Some(labels)) = (selector(&object), target.as_ref().and_then(selector)) {
        found = self::sets(cluster, &id, &labels).await;
    }
    Ok(Some(Sighted { object, target, primary: primary?, sets: found?, record: record?, at, read_at }))
}

async fn sets(cluster: &dyn Cluster, id: &ObjectRef, labels: &str) -> Result<Vec<Object>, Fault> {
    let interest = Interest {
        kind: ObjectKind::ReplicaSet,
        namespace: id.namespace.clone(),
        labels: Text::scrub(labels),
        fields: Text::default(),
    };
    cluster.list(&interest).await
}

/// Where a flag lies: the object, as read.
pub async fn flag_object(
    cluster: &dyn Cluster,
    frozen: &Frozen,
    flag: u16,
) -> Result<Option<(ObjectRef, Object)>, Fault> {
    let Some(kind) = flag_kind(frozen) else { return Ok(None) };
    let context = cluster.identity().context;
    let id = |name: Text| ObjectRef { cluster: context, kind, namespace: frozen.namespace.clone(), name };
    match &frozen.flags {
        FlagPlace::Object(name) | FlagPlace::ConfigMap(name, _) => {
            let id = id(name.clone());
            Ok(cluster.read(&id).await?.map(|object| (id, object)))
        }
        FlagPlace::Objects => {
            let all = Interest {
                kind,
                namespace: frozen.namespace.clone(),
                labels: Text::default(),
                fields: Text::default(),
            };
            let found = cluster.list(&all).await?;
            let object = found.into_iter().find(|object| flag_reading(frozen, flag, object).is_some());
            Ok(object.map(|object| (id(object.name()), object)))
        }
        FlagPlace::File(_) => Ok(None),
    }
}

/// A flag file as a train reads it, under versions that rise with each change that is seen. Neither its time (a copy may keep an
/// older one) nor a digest says which of two texts is the later; what is read and written by one hand at a time does.
pub struct FlagText {
    file: Arc<dyn FlagFile>,
    seen: Mutex<(u64, String)>,
}

impl FlagText {
    /// A file that nobody has looked into yet.
    pub fn new(file: Arc<dyn FlagFile>) -> Self {
        Self { file, seen: Mutex::default() }
    }

    /// Its text and the version of that.
    pub fn read(&self) -> Result<(u64, String), Fault> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.file.read()?;
        if seen.0 == 0 || seen.1 != text {
            *seen = (seen.0 + 1, text);
        }
        Ok(seen.clone())
    }

    /// Puts another text in the place of this version, and says the new one's; a conflict where the file says something else.
    pub fn replace(&self, version: u64, after: String) -> Result<u64, Fault> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A text that is not this version's any more is not the one that lies there, unless it came back: then it is no harm.
        if seen.0 != version {
            return Err(Fault {
                kind: FaultKind::Conflict,
                what: crate::text!("replace {}", self.file.place()),
                why: "it was changed meanwhile".into(),
                hint: "it is read again".into(),
            });
        }
        self.file.replace(&seen.1, &after)?;
        *seen = (seen.0 + 1, after);
        Ok(seen.0)
    }
}

/// Reads a flag.
pub async fn flag(
    cluster: &dyn Cluster,
    file: Option<&FlagText>,
    frozen: &Frozen,
    flag: u16,
) -> Result<Option<FlagReading>, Fault> {
    if let FlagPlace::File(path) = &frozen.flags {
        let Some(file) = file else {
            return Err(Fault {
                kind: FaultKind::NotFound,
                what: crate::text!("read flag file {path}"),
                why: "this conductor does not run where the file lies".into(),
                hint: "run the train from the environment repository, or keep flags in the cluster".into(),
            });
        };
        let (version, text) = file.read()?;
        return Ok(flag_file_reading(frozen, flag, &text, version));
    }
    let found = flag_object(cluster, frozen, flag).await?;
    Ok(found.and_then(|(_, object)| flag_reading(frozen, flag, &object)))
}

/// Reads the Jobs of an expand step.
pub async fn job(cluster: &dyn Cluster, frozen: &Frozen, migration: u16) -> Result<JobReading, Fault> {
    let context = cluster.identity().context;
    let (up, down) =
        (patch::job_ref(frozen, migration, false, &context), patch::job_ref(frozen, migration, true, &context));
    let (up, down) = join(cluster.read(&up), cluster.read(&down)).await;
    Ok(job_reading(up?.as_ref(), down?.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct InMemory(Mutex<String>);

    impl FlagFile for InMemory {
        fn read(&self) -> Result<String, Fault> {
            Ok(self.0.lock().unwrap().clone())
        }
        fn replace(&self, before: &str, after: &str) -> Result<(), Fault> {
            let mut text = self.0.lock().unwrap();
            if *text != before {
                let (what, why, hint) = ("replace".into(), "changed".into(), Text::default());
                return Err(Fault { kind: FaultKind::Conflict, what, why, hint });
            }
            after.clone_into(&mut text);
            Ok(())
        }
        fn place(&self) -> Text {
            "memory".into()
        }
    }

    #[test]
    fn versions_of_a_file_rise_with_each_change_even_with_one_that_goes_back() {
        let file = Arc::new(InMemory::default());
        let write = |text: &str| text.clone_into(&mut file.0.lock().unwrap());
        let flags = FlagText::new(Arc::clone(&file) as Arc<dyn FlagFile>);
        write("off");
        assert_eq!(flags.read().unwrap(), (1, "off".into()));
        assert_eq!(flags.read().unwrap().0, 1);
        assert_eq!(flags.replace(1, "on".into()).unwrap(), 2);
        assert_eq!(flags.read().unwrap(), (2, "on".into()));
        write("off");
        assert_eq!(flags.read().unwrap().0, 3);
        // Decided on what was there before; and on what is there no more, unread.
        assert_eq!(flags.replace(2, "on".into()).unwrap_err().kind, FaultKind::Conflict);
        write("half");
        assert_eq!(flags.replace(3, "on".into()).unwrap_err().kind, FaultKind::Conflict);
        assert_eq!(flags.read().unwrap(), (4, "half".into()));
    }
}
