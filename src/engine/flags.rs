//! Flags as the cluster, or a file, has them: reading them, showing them, and flipping one. A flip is read afresh, written
//! down, sent under its preconditions and read back, as any other order. What a flip changes is `core::flag`'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::act::{Driver, Outcome};
use super::scope::{FlagHome, FlagStore, Release};
use crate::core::confirm::{Confirmed, Order, Refusal};
use crate::core::effect::Direction;
use crate::core::flag::{self, FlagSetting, Now};
use crate::core::guard::{Standing, clear};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::owner::gitops_owner;
use crate::core::snapshot::{FlagView, Place, WriteMode};
use crate::core::text::Text;
use crate::ports::{Cluster, Fault, FaultKind, FlagFile, Interest};
use crate::text;

/// How often a flip towards the safe value is tried when somebody else changes the flag meanwhile.
const TRIES: usize = 3;

/// One place that holds flags, as last read.
#[derive(Clone, PartialEq, Debug)]
pub struct Shelf {
    /// The object; none for a file.
    pub id: Option<ObjectRef>,
    /// Where it is, for the screen.
    pub source: Text,
    /// A GitOps owner whose self-heal would revert a flip.
    pub owner: Option<Text>,
    /// The definition, or why it cannot be read.
    pub definition: Result<Value, Text>,
}

impl Shelf {
    /// A FeatureFlag object.
    pub fn of_object(context: &Text, object: &Object) -> Self {
        let id = ObjectRef {
            cluster: context.clone(),
            kind: ObjectKind::FeatureFlag,
            namespace: object.namespace(),
            name: object.name(),
        };
        let definition = object.raw("/spec/flagSpec").cloned().unwrap_or_else(|| json!({}));
        Self { source: text!("{id}"), owner: gitops_owner(object), definition: Ok(definition), id: Some(id) }
    }

    fn of_config_map(id: ObjectRef, object: &Object, key: &str) -> Self {
        let raw = object.raw("/data").and_then(|data| data.get(key)).and_then(Value::as_str);
        let definition = raw.map_or_else(|| Err(text!("it has no data key {key}")), flag::parse);
        Self { source: text!("{id}"), owner: gitops_owner(object), definition, id: Some(id) }
    }

    fn of_file(file: &dyn FlagFile) -> Self {
        let definition = file.read().map_err(|fault| fault.why).and_then(|raw| flag::parse(&raw));
        Self { id: None, source: file.place(), owner: None, definition }
    }
}

/// Reads the flags of a place afresh.
pub async fn read(cluster: &dyn Cluster, place: &Place, store: &FlagStore) -> Result<Vec<Shelf>, Fault> {
    let id = |kind: ObjectKind, name: &Text| ObjectRef {
        cluster: place.context.clone(),
        kind,
        namespace: place.namespace.clone(),
        name: name.clone(),
    };
    let lost = |id: ObjectRef| Shelf {
        source: text!("{id}"),
        owner: None,
        definition: Err(text!("there is no {id}")),
        id: Some(id),
    };
    match store {
        FlagStore::Objects => {
            let interest = Interest {
                kind: ObjectKind::FeatureFlag,
                namespace: place.namespace.clone(),
                labels: Text::default(),
                fields: Text::default(),
            };
            let found = cluster.list(&interest).await?;
            Ok(found.iter().map(|object| Shelf::of_object(&place.context, object)).collect())
        }
        FlagStore::Object(name) => {
            let id = id(ObjectKind::FeatureFlag, name);
            let found = cluster.read(&id).await?;
            Ok(vec![found.map_or_else(|| lost(id), |object| Shelf::of_object(&place.context, &object))])
        }
        FlagStore::ConfigMap(name, key) => {
            let id = id(ObjectKind::ConfigMap, name);
            let found = cluster.read(&id).await?;
            Ok(vec![found.map_or_else(|| lost(id.clone()), |o| Shelf::of_config_map(id.clone(), &o, key))])
        }
        FlagStore::File(file) => {
            let (held, place) = (Arc::clone(file), file.place());
            let read = tokio::task::spawn_blocking(move || Shelf::of_file(&*held)).await;
            let broken = |why| Shelf { id: None, source: place, owner: None, definition: Err(text!("{why}")) };
            Ok(vec![read.unwrap_or_else(broken)])
        }
    }
}

/// The flags as a screen shows them: those that the release moves first, then by key.
pub fn views(shelves: &[Shelf], release: Option<&Release>) -> Vec<FlagView> {
    let wanted: BTreeMap<&Text, &Text> = release.iter().flat_map(|r| &r.flags).map(|(key, v)| (key, v)).collect();
    let listing = |key: &Text| -> Vec<Text> {
        let services = release.iter().flat_map(|r| &r.services).filter(|s| s.flags.contains(key));
        services.map(|s| s.name.clone()).collect()
    };
    let mut out = Vec::new();
    for shelf in shelves {
        let Ok(definition) = &shelf.definition else { continue };
        for flag in flag::read_all(definition) {
            let owner = shelf.owner.as_ref().map(|owner| text!("{owner} may revert a flip"));
            out.push(FlagView {
                source: shelf.source.clone(),
                object: shelf.id.clone(),
                now: flag.now.map(|now| text!("{now}")),
                wanted: wanted.get(&flag.key).map(|v| (*v).clone()),
                enabled: flag.enabled,
                services: listing(&flag.key),
                note: if flag.note.is_empty() { owner.unwrap_or_default() } else { flag.note },
                key: flag.key,
            });
        }
    }
    let mut count: BTreeMap<Text, usize> = BTreeMap::new();
    out.iter().for_each(|flag| *count.entry(flag.key.clone()).or_default() += 1);
    for flag in out.iter_mut().filter(|flag| count[&flag.key] > 1) {
        flag.note = text!("defined in {} places; which one counts, its readers decide", count[&flag.key]);
    }
    for (key, value) in wanted.iter().filter(|(key, _)| !count.contains_key(**key)) {
        let (source, note) = match shelves.iter().find_map(|s| s.definition.as_ref().err().map(|why| (s, why))) {
            Some((shelf, why)) => (shelf.source.clone(), why.clone()),
            None => (shelves.first().map(|s| s.source.clone()).unwrap_or_default(), "it is defined nowhere".into()),
        };
        out.push(FlagView {
            key: (*key).clone(),
            source,
            object: None,
            now: None,
            wanted: Some((*value).clone()),
            enabled: false,
            services: listing(key),
            note,
        });
    }
    out.sort_by(|a, b| (a.wanted.is_none(), &a.key, &a.source).cmp(&(b.wanted.is_none(), &b.key, &b.source)));
    out
}

/// Where the flag lives that is flipped.
#[derive(Clone)]
pub enum At {
    /// A FeatureFlag object, or a ConfigMap with the data key that holds the flags.
    Object(ObjectRef, Option<Text>),
    /// A file.
    File(Arc<dyn FlagFile>),
}

impl At {
    /// Where a flag lives, by what was shown of it: its object, or without one the file of the place.
    pub fn of(object: Option<&ObjectRef>, home: &FlagHome) -> Option<Self> {
        match (object, &home.store) {
            (Some(id), FlagStore::ConfigMap(_, key)) if id.kind == ObjectKind::ConfigMap => {
                Some(Self::Object(id.clone(), Some(key.clone())))
            }
            (Some(id), _) => Some(Self::Object(id.clone(), None)),
            (None, FlagStore::File(file)) => Some(Self::File(Arc::clone(file))),
            (None, _) => None,
        }
    }

    fn place(&self) -> Text {
        match self {
            Self::Object(id, _) => text!("{id}"),
            Self::File(file) => file.place(),
        }
    }
}

/// A flip that was ordered and confirmed.
#[derive(Clone)]
pub struct Flip {
    /// The flag.
    pub key: Text,
    /// To what.
    pub setting: FlagSetting,
    /// Where it lives.
    pub at: At,
    /// Its safe value, where one is known.
    pub safe: Option<bool>,
    /// The person's answer.
    pub confirmed: Confirmed,
    /// Who, when, why.
    pub order: Order,
}

/// Carries a flip out: written down, sent under preconditions, read back.
pub async fn flip(driver: &Driver, flip: &Flip) -> Outcome {
    let line = json!({
        "at": driver.clock.now().to_string(), "what": "intent", "who": flip.order.who, "why": flip.order.why,
        "cluster": driver.cluster.identity().context,
        "orders": [{"verb": "flag", "object": flip.at.place(), "flag": flip.key, "to": flip.setting.to_string()}],
    });
    let safe = flip.setting.direction(flip.safe) == Direction::Safe;
    let outcome = match driver.append(line).await {
        Err(fault) if !safe => Outcome::Refused(Refusal {
            why: text!("the order cannot be written down: {}: {}", fault.what, fault.why),
            hint: fault.hint,
            already: false,
        }),
        _ => match &flip.at {
            At::Object(id, key) => in_object(driver, flip, id, key.as_ref()).await,
            At::File(file) => in_file(driver, flip, file).await,
        },
    };
    let (word, says) = outcome.told();
    let line = json!({
        "at": driver.clock.now().to_string(), "what": "outcome", "verb": "flag", "object": flip.at.place(),
        "outcome": word, "says": says,
    });
    // The flip is done or not, whether or not this line can be written.
    let _ = driver.append(line).await;
    outcome
}

async fn in_object(driver: &Driver, flip: &Flip, id: &ObjectRef, data_key: Option<&Text>) -> Outcome {
    let uid = driver.read_uid().await;
    for attempt in 1.. {
        let read_at = driver.clock.now();
        let object = match driver.cluster.read(id).await {
            Ok(Some(object)) => object,
            Ok(None) => return gone(id),
            Err(fault) => return Outcome::Failed(fault),
        };
        let worked_out = flag::flip_object(id, &object, data_key.map(Text::as_str), &flip.key, flip.setting, flip.safe);
        let (worked, mut effect) = match worked_out {
            Ok(both) => both,
            Err(refusal) if refusal.already => return Outcome::Done(refusal.why),
            Err(refusal) => return Outcome::Refused(refusal),
        };
        // A way back that was confirmed as one stays one, also where the value it goes back to is on.
        if flip.confirmed.covers(id, Direction::Safe, read_at)
            && !flip.confirmed.covers(id, Direction::Forward, read_at)
        {
            effect.direction = Direction::Safe;
        }
        let standing = Standing {
            write: driver.write,
            confirmed: Some(&flip.confirmed),
            cluster_uid: (driver.cluster_uid.clone(), uid.clone()),
            read_at,
            now: driver.clock.now(),
        };
        let cleared = match clear(effect, &standing) {
            Ok(cleared) => cleared,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        let line = driver.line("effect", cleared.effect());
        let is_forward = cleared.effect().direction == Direction::Forward;
        if let (Err(fault), true) = (driver.append(line).await, is_forward) {
            return Outcome::Failed(fault);
        }
        let says = text!("{} -> {}", worked.before, worked.after);
        match driver.cluster.send(&cleared).await {
            Ok(_) => return read_back(driver, flip, id, data_key, &says).await,
            // Whether it landed is seen by reading.
            Err(fault) if matches!(fault.kind, FaultKind::Timeout | FaultKind::Unreachable | FaultKind::Server) => {
                return match read_back(driver, flip, id, data_key, &says).await {
                    Outcome::Done(says) => Outcome::Done(says),
                    _ => Outcome::Failed(fault),
                };
            }
            Err(fault) if matches!(fault.kind, FaultKind::Unprocessable | FaultKind::Conflict) => {
                let unchanged = matches!(driver.cluster.read(id).await, Ok(Some(now)) if now.whole() == object.whole());
                if unchanged {
                    return Outcome::Failed(fault);
                }
                if is_forward || attempt >= TRIES {
                    return Outcome::Refused(Refusal {
                        why: text!("somebody else changed {id} meanwhile"),
                        hint: "look at the flag again, and flip it again if that is still wanted".into(),
                        already: false,
                    });
                }
            }
            Err(fault) => return Outcome::Failed(fault),
        }
    }
    gone(id)
}

fn gone(id: &ObjectRef) -> Outcome {
    let hint = "check flags in footplate.yaml, and the namespace";
    Outcome::Refused(Refusal { why: text!("there is no {id}"), hint: hint.into(), already: false })
}

async fn read_back(driver: &Driver, flip: &Flip, id: &ObjectRef, data_key: Option<&Text>, says: &Text) -> Outcome {
    let object = match driver.cluster.read(id).await {
        Ok(Some(object)) => object,
        Ok(None) => return gone(id),
        Err(fault) => return Outcome::Unknown(text!("written, but not read back: {fault}")),
    };
    let shelf = match data_key {
        None => Shelf::of_object(&id.cluster, &object),
        Some(key) => Shelf::of_config_map(id.clone(), &object, key),
    };
    stands(&shelf, flip, says)
}

/// Whether a definition says what was ordered.
fn stands(shelf: &Shelf, flip: &Flip, says: &Text) -> Outcome {
    let now = shelf.definition.as_ref().ok().and_then(|definition| {
        let found = flag::read_all(definition).into_iter().find(|f| f.key == flip.key)?;
        found.now
    });
    let wanted = flip.setting.plain().ok().map(Now::Set);
    if now.is_some() && now == wanted {
        let owner = shelf.owner.as_ref().map(|owner| text!("; {owner} may revert it")).unwrap_or_default();
        return Outcome::Done(text!("{says}{owner}"));
    }
    let now = now.map_or_else(|| Text::scrub("cannot be read"), |now| text!("says {now}"));
    Outcome::Unknown(text!("written, but {} now {now}: somebody else writes it too", shelf.source))
}

async fn in_file(driver: &Driver, flip: &Flip, file: &Arc<dyn FlagFile>) -> Outcome {
    let direction = flip.setting.direction(flip.safe);
    let refuse = |why: Text, hint: &str| Outcome::Refused(Refusal { why, hint: Text::scrub(hint), already: false });
    match driver.write {
        WriteMode::ReadWrite => {}
        WriteMode::ReadOnly => {
            return refuse(text!("read-only: {} is not changed", file.place()), "call it without --read-only");
        }
        WriteMode::ReadOnlyByPattern if direction == Direction::Safe && flip.confirmed.arms() => {}
        WriteMode::ReadOnlyByPattern => {
            let hint =
                "take the context out of read_only_contexts in config.toml, or set the safe value and type the word";
            return refuse(text!("{} belongs to a context that is read-only by its name", file.place()), hint);
        }
    }
    if !flip.confirmed.covers_outside(direction, driver.clock.now()) {
        return refuse(text!("no fresh confirmation covers {}", file.place()), "order it again and confirm");
    }
    let held = Arc::clone(file);
    let before = match blocking(move || held.read()).await {
        Ok(before) => before,
        Err(fault) => return Outcome::Failed(fault),
    };
    let (worked, after) = match flag::flip_text(&before, &flip.key, flip.setting) {
        Ok(both) => both,
        Err(refusal) if refusal.already => return Outcome::Done(refusal.why),
        Err(refusal) => return Outcome::Refused(refusal),
    };
    let says = text!("{} -> {}", worked.before, worked.after);
    let line = json!({
        "at": driver.clock.now().to_string(), "what": "effect", "cluster": Value::Null, "object": file.place(),
        "on": "file", "says": text!("set flag {}: {says}", flip.key),
        "before": worked.definition.0, "after": worked.definition.1,
    });
    if let (Err(fault), Direction::Forward) = (driver.append(line).await, direction) {
        return Outcome::Failed(fault);
    }
    let held = Arc::clone(file);
    match blocking(move || held.replace(&before, &after).map(|()| Shelf::of_file(&*held))).await {
        Ok(shelf) => stands(&shelf, flip, &says),
        Err(fault) => Outcome::Failed(fault),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|why| {
        let hint = "order it again".into();
        Err(Fault { kind: FaultKind::Server, what: "write the flag file".into(), why: text!("{why}"), hint })
    })
}
