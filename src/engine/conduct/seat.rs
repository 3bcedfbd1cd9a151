//! Holding the Lease: does what the elector asks for, one call at a time, each with a deadline below its retry period. Who may
//! conduct is `core::elector`'s.

use std::sync::Arc;
use std::time::Duration;

use super::Ground;
use crate::core::elector::{Act, Elector, Epoch, Event, Pace};
use crate::core::lease;
use crate::core::object::ObjectRef;
use crate::core::text::Text;
use crate::ports::{Clock, Cluster, FaultKind};

/// One candidate's place at the Lease of an environment.
pub struct Seat {
    elector: Elector,
    pace: Pace,
    id: ObjectRef,
    /// Since when a call is under way, milliseconds.
    calling: Option<u64>,
    /// Why the last call failed; empty when it did not.
    trouble: Text,
}

impl Seat {
    /// A candidate of this name; it must differ between processes.
    pub fn new(me: Text, pace: Pace, id: ObjectRef) -> Self {
        Self { elector: Elector::new(me, pace), pace, id, calling: None, trouble: Text::default() }
    }

    /// The epoch, while the Lease holds for sure.
    pub fn epoch(&self, now: u64) -> Option<Epoch> {
        self.elector.epoch(now)
    }

    /// Who holds it, as far as was seen.
    pub fn holder(&self) -> Option<&Text> {
        self.elector.holder()
    }

    /// Why the last call failed.
    pub fn trouble(&self) -> &Text {
        &self.trouble
    }

    /// True while a call is under way.
    pub fn calls(&self) -> bool {
        self.calling.is_some()
    }

    /// Claims it although another holds it.
    pub fn take(&mut self) {
        self.elector.take();
    }

    /// Objects bear this epoch already.
    pub fn raise(&mut self, floor: u64) {
        self.elector.raise(floor);
    }

    /// Takes in what happened; what must be called next, if anything.
    pub fn step(&mut self, now: u64, event: Event, trouble: Text) -> Option<Call> {
        if event == Event::Tick {
            // A call that never answered is forgotten once its deadline is long over.
            if self.calling.is_some_and(|since| now.saturating_sub(since) < self.pace.retry + 500) {
                return None;
            }
        } else if event != Event::Leave {
            self.calling = None;
            self.trouble = trouble;
        }
        let act = self.elector.step(now, event)?;
        self.calling = Some(now);
        Some(Call {
            act,
            id: self.id.clone(),
            deadline: Duration::from_millis(self.pace.retry),
            duration: self.pace.duration,
        })
    }
}

/// A call to be made on the Lease.
pub struct Call {
    act: Act,
    id: ObjectRef,
    deadline: Duration,
    duration: u64,
}

impl Call {
    /// Makes it, and says what the elector is to hear, and why it failed.
    pub async fn make(self, cluster: Arc<dyn Cluster>, clock: Arc<dyn Clock>, ground: Ground) -> (Event, Text) {
        let deadline = self.deadline;
        let call = self.call(&*cluster, &*clock, ground);
        tokio::select! {
            biased;
            heard = call => heard,
            () = clock.sleep(deadline) => (Event::Failed, "the Lease did not answer in time".into()),
        }
    }

    async fn call(self, cluster: &dyn Cluster, clock: &dyn Clock, ground: Ground) -> (Event, Text) {
        match self.act {
            Act::Read => match cluster.read(&self.id).await {
                Ok(None) => (Event::Read(None), Text::default()),
                Ok(Some(object)) => match lease::read(&object) {
                    Ok(found) => (Event::Read(Some(found)), Text::default()),
                    Err(why) => (Event::Failed, why),
                },
                Err(fault) => (Event::Failed, crate::text!("{fault}")),
            },
            Act::Write(wanted, over) => {
                let effect = lease::write(&self.id, &wanted, over, self.duration / 1000, clock.now());
                let cleared = match ground.paper(effect) {
                    Ok(cleared) => cleared,
                    Err(refusal) => return (Event::Failed, refusal.why),
                };
                match cluster.send(&cleared).await {
                    Ok(object) => match lease::read(&object) {
                        // A create that found one there answers with that one.
                        Ok((found, version))
                            if (&found.holder, found.transitions) == (&wanted.holder, wanted.transitions) =>
                        {
                            (Event::Wrote(version), Text::default())
                        }
                        Ok(_) => (Event::Conflict, Text::default()),
                        Err(why) => (Event::Failed, why),
                    },
                    Err(fault) if matches!(fault.kind, FaultKind::Unprocessable | FaultKind::Conflict) => {
                        (Event::Conflict, Text::default())
                    }
                    Err(fault) => (Event::Failed, crate::text!("{fault}")),
                }
            }
        }
    }
}
