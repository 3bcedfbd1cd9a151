//! What is seen of trains: the Releases of a namespace, and the Lease with its heartbeat. Which of them is shown, and whether its
//! conductor lives, goes by what was watched and by the monotonic clock of this process; times in objects are never believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::gates::Moment;
use super::scope::Scope;
use crate::core::captain;
use crate::core::elector::{Lease, Pace};
use crate::core::lease;
use crate::core::object::{Object, ObjectKind};
use crate::core::past::{PastTrain, newest_first};
use crate::core::release::Release;
use crate::core::snapshot::{Conductor, Gap, TrainShown, Trouble};
use crate::core::text::Text;
use crate::core::train::hands::ALIVE_WITHIN;
use crate::ports::{Fault, FaultKind, Interest, Seen};
use crate::text;

/// How long a train that has ended is shown, unless its end was seen from here.
const ENDED_SHOWN: SignedDuration = SignedDuration::from_hours(1);

/// A heart that is heard: the Lease as last seen, when it changed last by our own clock, and whether it ever did.
#[derive(Clone, Debug)]
pub struct Heart {
    lease: Lease,
    changed: Moment,
    beats: bool,
}

impl Heart {
    /// The Lease was read. What it was before counts on while it is the same.
    pub fn hear(before: Option<Self>, lease: Lease, now: Moment) -> Self {
        match before {
            Some(heart) if heart.lease == lease => heart,
            Some(_) => Self { lease, changed: now, beats: true },
            None => Self { lease, changed: now, beats: false },
        }
    }

    /// When it beat last, in milliseconds of the monotonic clock; none when it was never seen to.
    pub fn beat_at(&self) -> Option<u64> {
        self.beats.then(|| millis(self.changed.monotonic))
    }

    /// True when nobody holds it.
    pub fn is_free(&self) -> bool {
        self.lease.holder.is_empty()
    }

    fn conductor(&self, monotonic: Duration) -> Conductor {
        let quiet = millis(monotonic.saturating_sub(self.changed.monotonic));
        let holder = self.lease.holder.clone();
        match quiet {
            _ if self.is_free() => Conductor::Nobody,
            _ if quiet >= Pace::default().duration => Conductor::Nobody,
            _ if quiet > ALIVE_WITHIN => Conductor::Silent(holder, self.changed.wall),
            _ if self.beats => Conductor::Works(holder),
            _ => Conductor::Unknown,
        }
    }

    /// When what is to be said of it changes by time alone.
    fn next(&self, monotonic: Duration) -> Duration {
        [ALIVE_WITHIN + 1, Pace::default().duration]
            .map(|after| self.changed.monotonic + Duration::from_millis(after))
            .into_iter()
            .filter(|at| *at > monotonic)
            .min()
            .unwrap_or(Duration::MAX)
    }
}

/// The trains of one namespace.
#[derive(Default)]
pub struct Trains {
    releases: BTreeMap<Text, Arc<Release>>,
    /// Releases that cannot be read: their name, and why.
    unfit: BTreeMap<Text, Text>,
    listed: bool,
    heart: Option<Heart>,
    lease_listed: bool,
    lost: BTreeMap<ObjectKind, Fault>,
    /// What each was or is, as the history has it; and all of them, newest first.
    past: BTreeMap<Text, PastTrain>,
    history: Option<Arc<[PastTrain]>>,
    /// Trains that were seen active from here: their end is shown for as long as this process looks.
    ours: BTreeSet<Text>,
    shown: Option<Arc<TrainShown>>,
    /// What it was made of: the same makes the same.
    made_of: Option<(Arc<Release>, Conductor)>,
}

impl Trains {
    /// What is watched of them.
    pub fn interests(scope: &Scope) -> [(&'static str, Interest); 2] {
        let of = |kind, fields| {
            let (namespace, labels) = (scope.place.namespace.clone(), Text::default());
            Interest { kind, namespace, labels, fields }
        };
        let one = text!("metadata.name={}", lease::NAME);
        [("releases", of(ObjectKind::Release, Text::default())), ("lease", of(ObjectKind::Lease, one))]
    }

    /// Takes in what a watch tells, where it is about trains; true when it was.
    pub fn fold(&mut self, seen: &Seen, context: &Text, now: Moment) -> bool {
        let (Seen::All(interest, _)
        | Seen::Put(interest, _)
        | Seen::Gone(interest, _)
        | Seen::Lost(interest, _)
        | Seen::Back(interest)) = seen;
        let kind = interest.kind;
        if !matches!(kind, ObjectKind::Release | ObjectKind::Lease) {
            return false;
        }
        match seen {
            Seen::Lost(_, fault) => {
                self.lost.insert(kind, fault.clone());
                return true;
            }
            _ => drop(self.lost.remove(&kind)),
        }
        let releases = kind == ObjectKind::Release;
        match (kind, seen) {
            (ObjectKind::Release, Seen::All(_, objects)) => {
                self.listed = true;
                let names: BTreeSet<Text> = objects.iter().map(|o| o.name().clone()).collect();
                self.releases.retain(|name, _| names.contains(name));
                self.unfit.retain(|name, _| names.contains(name));
                objects.iter().for_each(|object| self.release(&object.open(), context));
            }
            (ObjectKind::Release, Seen::Put(_, object)) => self.release(&object.open(), context),
            (ObjectKind::Release, Seen::Gone(_, id)) => {
                self.releases.remove(&id.name);
                self.unfit.remove(&id.name);
            }
            (_, Seen::All(_, objects)) => {
                self.lease_listed = true;
                match objects.iter().find(|o| *o.name() == *lease::NAME) {
                    Some(object) => self.lease(&object.open(), now),
                    None => self.heart = None,
                }
            }
            (_, Seen::Put(_, object)) if *object.name() == *lease::NAME => self.lease(&object.open(), now),
            (_, Seen::Gone(_, id)) if *id.name == *lease::NAME => self.heart = None,
            _ => {}
        }
        if releases {
            self.remember();
        }
        true
    }

    /// All trains, newest first; none while they were not listed.
    pub fn history(&self) -> Option<Arc<[PastTrain]>> {
        self.history.clone()
    }

    fn remember(&mut self) {
        self.past.retain(|name, _| self.releases.contains_key(name));
        let mut all: Vec<PastTrain> = self.past.values().cloned().collect();
        newest_first(&mut all);
        self.history = self.listed.then(|| all.into());
    }

    fn release(&mut self, object: &Object, context: &Text) {
        let name = object.name();
        let known = self.releases.get(&name);
        match Release::read(object, context, known.map(Arc::as_ref)) {
            Ok(release) => {
                if release.active() {
                    self.ours.insert(release.uid.clone());
                }
                self.unfit.remove(&name);
                self.past.insert(name.clone(), PastTrain::of(&release));
                self.releases.insert(name, Arc::new(release));
            }
            Err(unfit) => {
                self.releases.remove(&name);
                self.unfit.insert(unfit.name, unfit.why);
            }
        }
    }

    fn lease(&mut self, object: &Object, now: Moment) {
        // One that cannot be understood fences nobody off: as good as none.
        self.heart = lease::read(object).ok().map(|(lease, _)| Heart::hear(self.heart.take(), lease, now));
    }

    /// Who conducts.
    pub fn conductor(&self, monotonic: Duration) -> Conductor {
        match &self.heart {
            Some(heart) if !self.lost.contains_key(&ObjectKind::Lease) => heart.conductor(monotonic),
            None if self.lease_listed && !self.lost.contains_key(&ObjectKind::Lease) => Conductor::Nobody,
            _ => Conductor::Unknown,
        }
    }

    /// The train under way: the oldest that has not ended, as a conductor chooses too.
    pub fn active(&self) -> Option<&Arc<Release>> {
        self.releases.values().filter(|r| r.active()).min_by_key(|r| (r.created, r.uid.clone()))
    }

    /// The Release of this uid.
    pub fn release_of(&self, uid: &str) -> Option<&Arc<Release>> {
        self.releases.values().find(|r| *r.uid == *uid)
    }

    /// The newest train that has ended, of this release where one is named.
    pub fn ended(&self, release: Option<&Text>) -> Option<&Arc<Release>> {
        let named = |r: &&Arc<Release>| release.is_none_or(|name| r.frozen.resolved.release == *name);
        self.releases.values().filter(|r| !r.active()).filter(named).max_by_key(|r| (r.created, r.uid.clone()))
    }

    /// What is shown. The same value while nothing of it changed.
    pub fn show(&mut self, release: Option<&Text>, now: Moment) -> Option<Arc<TrainShown>> {
        let recent = |r: &&Arc<Release>| {
            let written = r.status.as_ref().map(|s| s.written);
            self.ours.contains(&r.uid) || written.is_some_and(|at| now.wall.duration_since(at) < ENDED_SHOWN)
        };
        let chosen = self.active().or_else(|| self.ended(release).filter(recent)).cloned();
        let made_of = chosen.map(|release| (release, self.conductor(now.monotonic)));
        let same = match (&self.made_of, &made_of) {
            (Some((old, before)), Some((new, now))) => Arc::ptr_eq(old, new) && before == now,
            (old, new) => old.is_none() && new.is_none(),
        };
        if !same {
            let next = made_of.as_ref().map(|(release, conductor)| captain::shown(release, conductor.clone()));
            if self.shown.as_deref() != next.as_ref() {
                self.shown = next.map(Arc::new);
            }
            self.made_of = made_of;
        }
        self.shown.clone()
    }

    /// Why trains cannot be seen, and Releases that cannot be read; empty when all is well.
    pub fn gaps(&self) -> Vec<Gap> {
        let lost = self.lost.iter().map(|(kind, Fault { what, why, hint, .. })| Gap {
            kind: *kind,
            needed: false,
            trouble: Trouble { what: what.clone(), why: why.clone(), hint: hint.clone() },
        });
        let unfit = self.unfit.iter().map(|(name, why)| Gap {
            kind: ObjectKind::Release,
            needed: true,
            trouble: Trouble {
                what: text!("release {name}"),
                why: why.clone(),
                hint: "orders on what it governs are given by hand; look at it with kubectl".into(),
            },
        });
        lost.chain(unfit).collect()
    }

    /// True when it is known whether a train is under way: listed, or the server has no such kind.
    pub fn known(&self) -> bool {
        self.listed || self.lost.get(&ObjectKind::Release).is_some_and(|f| f.kind == FaultKind::NoSuchKind)
    }

    /// When what is shown changes by time alone.
    pub fn next(&self, monotonic: Duration) -> Duration {
        if self.active().is_none() {
            return Duration::MAX;
        }
        self.heart.as_ref().map_or(Duration::MAX, |heart| heart.next(monotonic))
    }
}

/// Milliseconds of a clock.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What is shown to one look: the train under way, else the one that ended last.
pub fn of_one_look(trains: &Trains, release: Option<&Text>, monotonic: Duration) -> Option<(Arc<Release>, TrainShown)> {
    let chosen = trains.active().or_else(|| trains.ended(release))?;
    Some((Arc::clone(chosen), captain::shown(chosen, trains.conductor(monotonic))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_conductor_lives_while_its_lease_changes() {
        let lease = |renewal| Lease { holder: "c1".into(), transitions: 1, renewal };
        let heart = Heart::hear(None, lease(1), at(10));
        let conductor = |heart: &Heart, s| heart.conductor(Duration::from_secs(s));
        assert_eq!(conductor(&heart, 11), Conductor::Unknown, "one look says nothing");
        assert_eq!(heart.beat_at(), None);
        assert!(matches!(conductor(&heart, 16), Conductor::Silent(..)));
        assert_eq!(conductor(&heart, 25), Conductor::Nobody);
        let same = Heart::hear(Some(heart.clone()), lease(1), at(12));
        assert_eq!(same.beat_at(), None, "the same one read again is no beat");
        let heart = Heart::hear(Some(heart), lease(2), at(12));
        assert_eq!(conductor(&heart, 17), Conductor::Works("c1".into()));
        assert_eq!(heart.beat_at(), Some(12_000));
        assert!(matches!(conductor(&heart, 18), Conductor::Silent(..)));
        assert_eq!(heart.next(Duration::from_secs(12)), Duration::from_millis(17_001));
        let free = Lease { holder: Text::default(), transitions: 1, renewal: 3 };
        assert_eq!(conductor(&Heart::hear(Some(heart), free, at(13)), 13), Conductor::Nobody);
    }
}
