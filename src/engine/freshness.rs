//! Whether what is shown is still true. A quiet watch and a dead one look alike, so a small read of our own proves the
//! link every few seconds when nothing else does, and shows whether the watches still bring what is there. Its time is the
//! machine's, also where a rehearsal's runs faster.

use std::time::Duration;

use jiff::Timestamp;

use crate::core::object::ObjectKind;
use crate::core::snapshot::{Link, Trouble};
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind};
use crate::text;

/// How often the link is proved.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How soon again after it failed.
const PROBE_AGAIN: Duration = Duration::from_secs(1);
/// What is older than this is called old.
pub const OLD: Duration = Duration::from_secs(10);
/// A watch must bring a change that a read saw in this time.
const LAG_MAX: Duration = Duration::from_secs(3);

/// What a read of our own found that the watch had not brought.
#[derive(Clone, PartialEq, Debug)]
struct Suspect {
    kind: ObjectKind,
    name: Text,
    /// The version that the watch had brought when the read found another.
    version: String,
    since: Duration,
}

/// How the link is, by what was last proved.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    proof: Option<(Duration, Timestamp)>,
    fault: Option<Fault>,
    probe_at: Duration,
    probing: bool,
    suspect: Option<Suspect>,
    /// Since when a watch that matters is down.
    lost: Option<Timestamp>,
}

impl Freshness {
    /// Something came from the cluster.
    pub fn proved(&mut self, monotonic: Duration, at: Timestamp) {
        self.proof = Some((monotonic, at));
        self.fault = None;
        self.probe_at = monotonic + PROBE_EVERY;
    }

    /// When something last came; while a watch that matters is down, when it still ran: the rest does not get newer by
    /// what other reads bring.
    pub fn read_at(&self) -> Option<Timestamp> {
        let at = self.proof.map(|(_, at)| at)?;
        Some(self.lost.map_or(at, |lost| lost.min(at)))
    }

    /// Whether a watch that matters is down.
    pub fn watches(&mut self, down: bool, at: Timestamp) {
        self.lost = down.then(|| self.lost.unwrap_or(at));
    }

    /// True when it is time for a read of our own; the caller makes one and tells what came of it.
    pub fn begin_probe(&mut self, monotonic: Duration) -> bool {
        if self.probing || monotonic < self.probe_at {
            return false;
        }
        self.probing = true;
        true
    }

    /// What came of a read of our own. That the server says no proves that it is there.
    pub fn probed(&mut self, monotonic: Duration, at: Timestamp, result: Result<(), Fault>) {
        self.probing = false;
        match result {
            Err(fault) if !matches!(fault.kind, FaultKind::Forbidden | FaultKind::NotFound | FaultKind::NoSuchKind) => {
                self.fault = Some(fault);
                self.probe_at = monotonic + PROBE_AGAIN;
            }
            _ => self.proved(monotonic, at),
        }
    }

    /// The next probe is due at once.
    pub fn hurry(&mut self) {
        self.probe_at = Duration::ZERO;
    }

    /// A watch failed: that alone says nothing of the others, so the link is proved at once.
    pub fn doubt(&mut self, monotonic: Duration) {
        self.probe_at = self.probe_at.min(monotonic);
    }

    /// A read found an object at another version than the watch has brought.
    pub fn suspect(&mut self, kind: ObjectKind, name: Text, version: &str, monotonic: Duration) {
        if self.suspect.is_none() {
            self.suspect = Some(Suspect { kind, name, version: version.to_owned(), since: monotonic });
        }
    }

    /// The kind whose watch has brought nothing although something changed; `version` looks up what it has brought.
    pub fn silent_watch(
        &mut self,
        monotonic: Duration,
        version: impl Fn(ObjectKind, &str) -> Option<String>,
    ) -> Option<ObjectKind> {
        let suspect = self.suspect.as_ref().filter(|s| monotonic.saturating_sub(s.since) >= LAG_MAX)?;
        let (kind, silent) = (suspect.kind, version(suspect.kind, &suspect.name).as_ref() == Some(&suspect.version));
        self.suspect = None;
        silent.then_some(kind)
    }

    /// How the link is. `lost` is why a watch that matters is down.
    pub fn link(&self, monotonic: Duration, lost: Option<&Fault>) -> Link {
        let says =
            |fault: &Fault| Trouble { what: fault.what.clone(), why: fault.why.clone(), hint: fault.hint.clone() };
        let age = self.proof.map(|(at, _)| monotonic.saturating_sub(at));
        match (age, &self.fault) {
            (None, None) => lost.map_or(Link::Connecting, |fault| Link::Down(says(fault))),
            (None, Some(fault)) => Link::Down(says(fault)),
            (Some(age), Some(fault)) if age >= OLD => Link::Down(says(fault)),
            (Some(_), Some(fault)) => Link::Stale(says(fault)),
            (Some(age), None) if age >= OLD => {
                let why = text!("no answer for more than {} s", OLD.as_secs());
                Link::Stale(Trouble { what: Text::default(), why, hint: "it is asked again by itself".into() })
            }
            (Some(_), None) => lost.map_or(Link::Live, |fault| Link::Stale(says(fault))),
        }
    }

    /// When something is to be done or the link changes by time alone.
    pub fn next(&self, monotonic: Duration) -> Duration {
        let mut next = if self.probing { Duration::MAX } else { self.probe_at };
        if let Some((at, _)) = self.proof
            && monotonic < at + OLD
        {
            next = next.min(at + OLD);
        }
        if let Some(suspect) = &self.suspect {
            next = next.min(suspect.since + LAG_MAX);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind) -> Fault {
        Fault { kind, what: "get rollout".into(), why: "why".into(), hint: "hint".into() }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_is_asked_after_and_then_called_old() {
        let mut f = Freshness::default();
        assert_eq!(f.link(s(0), None), Link::Connecting);
        f.proved(s(1), Timestamp::UNIX_EPOCH);
        assert_eq!((f.link(s(5), None), f.begin_probe(s(5))), (Link::Live, false));
        assert!(f.begin_probe(s(6)));
        assert!(!f.begin_probe(s(7)), "one at a time");
        assert_eq!(f.next(s(7)), s(11));
        assert!(matches!(f.link(s(11), None), Link::Stale(_)), "a probe that never answers");
        f.probed(s(16), Timestamp::UNIX_EPOCH, Err(fault(FaultKind::Timeout)));
        assert!(matches!(f.link(s(16), None), Link::Down(_)));
        assert!(f.begin_probe(s(17)));
        f.probed(s(17), Timestamp::UNIX_EPOCH, Ok(()));
        assert_eq!(f.link(s(17), None), Link::Live);
    }

    #[test]
    fn a_no_proves_the_link_and_a_lost_watch_is_told() {
        let mut f = Freshness::default();
        f.probed(s(1), Timestamp::UNIX_EPOCH, Err(fault(FaultKind::Forbidden)));
        assert_eq!(f.link(s(1), None), Link::Live);
        let told = f.link(s(1), Some(&fault(FaultKind::Server)));
        assert_eq!(told.trouble().map(ToString::to_string).as_deref(), Some("get rollout: why; hint"));
        assert!(matches!(told, Link::Stale(_)));
        f.probed(s(2), Timestamp::UNIX_EPOCH, Err(fault(FaultKind::Unauthorized)));
        assert!(matches!(f.link(s(2), None), Link::Stale(_)));
        assert!(matches!(f.link(s(12), None), Link::Down(_)));
    }

    #[test]
    fn a_watch_that_brings_nothing_is_found_out() {
        let mut f = Freshness::default();
        f.suspect(ObjectKind::Rollout, "a".into(), "5", s(1));
        assert_eq!(f.silent_watch(s(2), |_, _| Some("5".into())), None, "it may be on the way");
        assert_eq!(f.silent_watch(s(4), |_, _| Some("5".into())), Some(ObjectKind::Rollout));
        f.suspect(ObjectKind::Rollout, "a".into(), "5", s(5));
        assert_eq!(f.silent_watch(s(8), |_, _| Some("6".into())), None);
    }
}
