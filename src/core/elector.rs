//! Who conducts: the client-go leader election as a pure machine. It goes by monotonic time alone: a lease counts as held
//! by another until it was seen unchanged for its whole duration on our own clock, so clocks may differ at will and only
//! their rate matters. Reading and writing the Lease, and waiting, are done by whoever drives it.
//! Source: client-go `tools/leaderelection`; `reliability-and-security.md` §2; `train.md` §2.

use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "mutants"))]
use super::mutant::Mutant;
use super::text::Text;

/// Times of an election, in milliseconds. LeaseDuration > RenewDeadline > 1.2 × RetryPeriod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// How long a lease holds after it was last seen renewed.
    pub duration: u64,
    /// After how long without a renewal the holder stops by itself.
    pub renew: u64,
    /// Time between two tries; also the deadline of one.
    pub retry: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { duration: 15_000, renew: 10_000, retry: 2_000 }
    }
}

/// The Lease, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// `spec.holderIdentity`; empty when it was given back.
    pub holder: Text,
    /// `spec.leaseTransitions`.
    pub transitions: u64,
    /// Counts renewals in a way that no two writes share (`spec.renewTime`, compared, never read as a time).
    pub renewal: u64,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Time went by.
    Tick,
    /// The Lease was read: with its resourceVersion; none when it is not there.
    Read(Option<(Lease, u64)>),
    /// Our last write landed, with this resourceVersion.
    Wrote(u64),
    /// Our last write was refused: somebody else wrote (409), or it is there already.
    Conflict,
    /// Our last call failed or its outcome is unknown.
    Failed,
    /// We are going away: give it back.
    Leave,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Read the Lease.
    Read,
    /// Write it under the test of this resourceVersion; none creates it.
    Write(Lease, Option<u64>),
}

/// Proof that its bearer held the Lease a moment ago: the number that forward effects carry. Only an [`Elector`] that holds
/// makes one, so nothing can go forward in the name of nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    number: u64,
    holder: Text,
    remaining: u64,
}

impl Epoch {
    /// The number: rises with each change of the holder.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Who.
    pub fn holder(&self) -> &Text {
        &self.holder
    }

    /// Milliseconds for which the lease still holds for sure: deadlines of writes stay below it.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The epoch as a journal names it, for a replay, whose effects go nowhere.
    pub(in crate::core) fn replayed(number: u64, holder: Text, remaining: u64) -> Self {
        Self { number, holder, remaining }
    }
}

/// What a journal keeps of an [`Epoch`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochMark {
    /// Its number.
    pub number: u64,
    /// Who.
    pub holder: Text,
    /// What was left of the lease.
    pub remaining: u64,
}

/// One candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Elector {
    me: Text,
    pace: Pace,
    /// The lease as last seen, its resourceVersion, and when its content was first seen so, by our clock.
    seen: Option<(Lease, u64, u64)>,
    /// What is being written and since when; a renewal counts from when it was sent.
    writing: Option<(Lease, u64)>,
    reading: Option<u64>,
    /// When the last renewal that landed was sent; none while we do not hold.
    held_since: Option<u64>,
    next_try: u64,
    /// When a conflict was last looked into at once; a server that refuses every write does so again at once.
    looked_into: Option<u64>,
    /// What we hold is in doubt: it is read before it is written.
    doubtful: bool,
    leaving: bool,
    /// No epoch at or below this one is used: objects bear it already.
    floor: u64,
    /// A person wants it here: it is claimed although another holds it.
    takes: bool,
    #[cfg(any(test, feature = "mutants"))]
    broken: Option<Mutant>,
}

impl Elector {
    /// A candidate. The identity must differ between processes, also of one person on one machine.
    pub fn new(me: Text, pace: Pace) -> Self {
        Self {
            me,
            pace,
            seen: None,
            writing: None,
            reading: None,
            held_since: None,
            next_try: 0,
            looked_into: None,
            doubtful: false,
            leaving: false,
            floor: 0,
            takes: false,
            #[cfg(any(test, feature = "mutants"))]
            broken: None,
        }
    }

    /// The same with a defect.
    #[cfg(any(test, feature = "mutants"))]
    pub fn broken(mut self, mutant: Option<Mutant>) -> Self {
        self.broken = mutant;
        self
    }

    #[cfg(any(test, feature = "mutants"))]
    fn is(&self, mutant: Mutant) -> bool {
        self.broken == Some(mutant)
    }

    /// The epoch, while the lease holds for sure.
    pub fn epoch(&self, now: u64) -> Option<Epoch> {
        let since = self.held_since?;
        let age = now.saturating_sub(since);
        #[cfg(any(test, feature = "mutants"))]
        let age = if self.is(Mutant::NeverDemotes) { 0 } else { age };
        let remaining = self.pace.renew.checked_sub(age).filter(|left| *left > 0)?;
        let (lease, ..) = self.seen.as_ref()?;
        if lease.transitions <= self.floor {
            return None;
        }
        Some(Epoch { number: lease.transitions, holder: self.me.clone(), remaining })
    }

    /// Objects were seen to bear this epoch, of somebody else: a Lease that was deleted and made anew starts to count again, and
    /// must not come to a number that is used up.
    pub fn raise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    /// Claims the Lease at the next look although another holds it: a person took the train over. The other finds its next
    /// renewal refused, and its forward effects carry an epoch that is over once the objects are stamped anew.
    pub fn take(&mut self) {
        self.takes = true;
        self.next_try = 0;
    }

    /// Who holds the Lease as far as was seen; none when nobody or not known.
    pub fn holder(&self) -> Option<&Text> {
        self.seen.as_ref().map(|(lease, ..)| &lease.holder).filter(|holder| !holder.is_empty())
    }

    /// When it wants to be asked again.
    pub fn next_try(&self) -> u64 {
        self.next_try
    }

    /// Takes in what happened at this time of our own monotonic clock and says what to do.
    pub fn step(&mut self, now: u64, event: Event) -> Option<Act> {
        if self.held_since.is_some() && self.epoch(now).is_none() {
            self.held_since = None;
        }
        match event {
            Event::Tick => {}
            Event::Read(found) => {
                self.reading = None;
                self.doubtful = false;
                match found {
                    None => {
                        self.seen = None;
                        if !self.leaving {
                            return self.write(now, None);
                        }
                    }
                    Some((lease, version)) => {
                        self.see(now, lease, version);
                        if !self.leaving {
                            return self.claim(now);
                        }
                    }
                }
                return None;
            }
            Event::Wrote(version) => {
                if let Some((lease, sent)) = self.writing.take() {
                    let mine = lease.holder == self.me;
                    self.seen = Some((lease, version, now));
                    self.held_since = mine.then_some(sent);
                    self.takes &= !mine;
                }
                return None;
            }
            Event::Conflict => {
                // Somebody wrote. What we thought we hold is read anew before anything else.
                self.writing = None;
                if self.looked_into.is_some_and(|at| now.saturating_sub(at) < self.pace.retry) {
                    self.doubtful = true;
                    return None;
                }
                self.looked_into = Some(now);
                self.reading = Some(now);
                return Some(Act::Read);
            }
            Event::Failed => {
                // It may have landed. Only a read tells; until then the lease counts from the last sure renewal.
                self.writing = None;
                self.reading = None;
                return None;
            }
            Event::Leave => {
                self.leaving = true;
                let held = self.held_since.take().is_some();
                self.writing = None;
                let (lease, version, _) = self.seen.clone()?;
                if !held || lease.holder != self.me {
                    return None;
                }
                let lease = Lease { holder: Text::default(), renewal: lease.renewal + 1, ..lease };
                self.writing = Some((lease.clone(), now));
                return Some(Act::Write(lease, Some(version)));
            }
        }
        let waits = self.writing.as_ref().map(|(_, since)| *since).into_iter().chain(self.reading).min();
        if waits.is_some_and(|since| now.saturating_sub(since) < self.pace.retry) || now < self.next_try || self.leaving
        {
            return None;
        }
        self.writing = None;
        self.next_try = now + self.pace.retry;
        // The holder renews what it knows (the fast path); everybody else looks first.
        if self.held_since.is_some() && !self.doubtful {
            return self.claim(now);
        }
        self.reading = Some(now);
        Some(Act::Read)
    }

    fn see(&mut self, now: u64, lease: Lease, version: u64) {
        let since = match &self.seen {
            Some((known, _, since)) if *known == lease => *since,
            _ => now,
        };
        if lease.holder != self.me {
            self.held_since = None;
        }
        self.seen = Some((lease, version, since));
    }

    fn claim(&mut self, now: u64) -> Option<Act> {
        let (lease, _, since) = self.seen.as_ref()?;
        let free = self.takes || lease.holder.is_empty() || now.saturating_sub(*since) >= self.pace.duration;
        #[cfg(any(test, feature = "mutants"))]
        let free = free || self.is(Mutant::ClaimsEarly) && now.saturating_sub(*since) >= self.pace.duration / 5;
        if lease.holder != self.me && !free {
            return None;
        }
        self.write(now, self.seen.clone())
    }

    fn write(&mut self, now: u64, over: Option<(Lease, u64, u64)>) -> Option<Act> {
        let (lease, version) = match over {
            None => (Lease { holder: self.me.clone(), transitions: self.floor + 1, renewal: 1 }, None),
            Some((old, version, _)) => {
                let same = old.holder == self.me && old.transitions > self.floor;
                let transitions = if same { old.transitions } else { old.transitions.max(self.floor) + 1 };
                #[cfg(any(test, feature = "mutants"))]
                let transitions = if self.is(Mutant::EpochStays) { old.transitions } else { transitions };
                (Lease { holder: self.me.clone(), transitions, renewal: old.renewal + 1 }, Some(version))
            }
        };
        self.writing = Some((lease.clone(), now));
        Some(Act::Write(lease, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, transitions: u64, renewal: u64) -> Lease {
        Lease { holder: holder.into(), transitions, renewal }
    }

    #[test]
    fn a_lease_is_taken_only_after_it_was_seen_unchanged_for_its_whole_time() {
        let mut me = Elector::new("me".into(), Pace::default());
        assert_eq!(me.step(0, Event::Tick), Some(Act::Read));
        assert_eq!(me.step(10, Event::Read(Some((lease("you", 4, 1), 7)))), None);
        assert_eq!(me.step(2_100, Event::Tick), Some(Act::Read));
        assert_eq!(me.step(2_110, Event::Read(Some((lease("you", 4, 2), 8)))), None, "it was renewed");
        assert_eq!(me.step(17_100, Event::Read(Some((lease("you", 4, 2), 8)))), None);
        let act = me.step(17_110, Event::Read(Some((lease("you", 4, 2), 8))));
        assert_eq!(act, Some(Act::Write(lease("me", 5, 3), Some(8))));
        assert_eq!(me.epoch(17_120), None, "not before it landed");
        me.step(17_200, Event::Wrote(9));
        assert_eq!(me.epoch(17_210).map(|e| (e.number(), e.remaining())), Some((5, 9_900)));
        assert_eq!(me.epoch(27_110), None, "it steps down by itself, counted from when it sent");
    }

    #[test]
    fn a_lease_made_anew_does_not_come_to_a_number_that_is_used_up() {
        let mut me = Elector::new("me".into(), Pace::default());
        me.step(0, Event::Tick);
        assert_eq!(me.step(10, Event::Read(None)), Some(Act::Write(lease("me", 1, 1), None)));
        me.step(20, Event::Wrote(1));
        me.raise(6);
        assert_eq!(me.epoch(30), None);
        assert_eq!(me.step(2_100, Event::Tick), Some(Act::Read));
        let act = me.step(2_110, Event::Read(Some((lease("me", 1, 1), 1))));
        assert_eq!(act, Some(Act::Write(lease("me", 7, 2), Some(1))));
        me.step(2_200, Event::Wrote(2));
        assert_eq!(me.epoch(2_300).map(|e| e.number()), Some(7));
    }

    #[test]
    fn a_person_takes_it_from_who_holds_it() {
        let mut me = Elector::new("me".into(), Pace::default());
        me.step(0, Event::Tick);
        assert_eq!(me.step(10, Event::Read(Some((lease("you", 4, 1), 7)))), None);
        me.take();
        assert_eq!(me.step(20, Event::Tick), Some(Act::Read));
        assert_eq!(
            me.step(30, Event::Read(Some((lease("you", 4, 2), 8)))),
            Some(Act::Write(lease("me", 5, 3), Some(8)))
        );
        me.step(40, Event::Wrote(9));
        assert_eq!(me.epoch(50).map(|e| e.number()), Some(5));
        me.step(2_050, Event::Tick);
        me.step(2_060, Event::Conflict);
        assert_eq!(me.step(2_070, Event::Read(Some((lease("you", 6, 4), 12)))), None, "once, not for ever");
    }

    #[test]
    fn a_server_that_refuses_every_write_is_not_asked_without_end() {
        let mut me = Elector::new("me".into(), Pace::default());
        me.step(0, Event::Tick);
        me.step(10, Event::Read(None));
        me.step(20, Event::Wrote(1));
        // A webhook, say, that denies: each answer comes within ten milliseconds.
        let mut calls = 0;
        for second in 1..10 {
            let now = second * 1_000;
            let mut act = me.step(now, Event::Tick);
            for n in 1..90 {
                let Some(made) = act else { break };
                calls += 1;
                act = me.step(
                    now + n * 10,
                    match made {
                        Act::Read => Event::Read(Some((lease("me", 1, 1), 1))),
                        Act::Write(..) => Event::Conflict,
                    },
                );
            }
        }
        assert!((8..=20).contains(&calls), "{calls} calls in nine seconds");
        assert!(me.epoch(9_900).is_some() && me.epoch(10_020).is_none(), "it steps down by itself");
    }

    #[test]
    fn a_conflict_is_looked_at_and_a_lease_is_given_back() {
        let mut me = Elector::new("me".into(), Pace::default());
        me.step(0, Event::Tick);
        me.step(10, Event::Read(None));
        me.step(20, Event::Wrote(1));
        me.step(2_100, Event::Tick);
        assert_eq!(me.step(2_110, Event::Conflict), Some(Act::Read));
        assert_eq!(me.step(2_120, Event::Read(Some((lease("you", 2, 9), 5)))), None);
        assert_eq!(me.epoch(2_130), None, "somebody else holds it");
        let mut you = Elector::new("you".into(), Pace::default());
        you.step(0, Event::Tick);
        you.step(10, Event::Read(None));
        you.step(20, Event::Wrote(1));
        assert_eq!(you.step(30, Event::Leave), Some(Act::Write(lease("", 1, 2), Some(1))));
        assert_eq!(you.step(9_000, Event::Tick), None, "it does not come back");
    }
}
