//! What must be true when a train says that it has ended, and when the run is over.

use super::super::tap::FLOOD;
use super::*;

impl Walk<'_> {
    /// The status says how it ended: it must be so at that moment.
    pub(super) fn ended(&mut self, write: &Write, result: &str) {
        let at = write.landed;
        match result {
            "completed" => {
                if let Some(undo) = self.undo {
                    self.fail(6, format!("completed at {at} although it was ordered back at {undo}"));
                }
                for s in 0..self.services.len() {
                    if !self.services[s].handled && self.services[s].whole_since.is_none() {
                        self.fail(8, format!("completed at {at}, and {} is not through", self.name(s)));
                    }
                }
                if self.scenario.flag && self.flags["spec"] == self.flags_were {
                    self.fail(8, format!("completed at {at}, and the flag did not move"));
                }
            }
            "rolled-back" => {
                for s in 0..self.services.len() {
                    let service = &self.services[s];
                    if service.handled {
                        continue;
                    }
                    let stable = |o: &Value| text(o, "/status/stableRS").to_owned();
                    let back = template(&service.object) == template(&service.was)
                        && stable(&service.object) == stable(&service.was)
                        && whole(&service.object);
                    if !back {
                        self.fail(11, format!("rolled back at {at}, and {} is not as it was", self.name(s)));
                    }
                }
                if self.flags["spec"] != self.flags_were {
                    self.fail(11, format!("rolled back at {at}, and the flag is not as it was"));
                }
            }
            "refused" => {
                for s in 0..self.services.len() {
                    if !self.services[s].handled && is_pinned(&self.services[s].object) {
                        self.fail(11, format!("it did not set off, and {} is on its pinned version", self.name(s)));
                    }
                }
            }
            other => self.fail(10, format!("it ended {other}")),
        }
    }

    /// True when it has somebody downstream, or itself, that others touched.
    fn entangled(&self, s: usize) -> bool {
        self.services[s].handled
            || (s + 1..self.services.len()).any(|d| self.scenario.services[d].needs.contains(&s) && self.entangled(d))
    }

    pub(super) fn end(&mut self) {
        let run = self.run;
        match &run.end {
            End::UnderWay => {
                let waits = text(&run.release, "/status/waits");
                self.fail(10, format!("it neither ended nor waits for a person; it waits for: {waits}"));
            }
            End::Person(_) if self.undo.is_some() => {
                for s in 0..self.services.len() {
                    if !self.entangled(s) && run.serving[s] > 0.0 {
                        self.fail(6, format!("it was ordered back, and {} still serves its new version", self.name(s)));
                    }
                }
            }
            End::Person(_) => {}
            End::Result(_) => self.no_marks_left(),
        }
        let (most, what) = &run.most;
        if *most > FLOOD {
            self.fail(16, format!("a client sent {most} requests in a second, most of them {what}"));
        }
        self.no_bad_traffic();
        self.as_on_a_good_day();
    }

    fn no_marks_left(&mut self) {
        for s in 0..self.services.len() {
            let service = &self.services[s];
            if service.handled {
                continue;
            }
            let marks: BTreeSet<&str> =
                ["train", "hold", "undo"].into_iter().filter(|key| stamp(&service.object, key).is_some()).collect();
            if !marks.is_empty() || facts::paused(&service.object) {
                self.fail(13, format!("it has ended, and {} bears {marks:?} or is held", self.name(s)));
            }
        }
    }

    /// What is bad may wait for a person, but not with traffic.
    fn no_bad_traffic(&mut self) {
        let (s, most) = match self.scenario.cause {
            Cause::Errors(s) => (s, 0.41),
            Cause::Slow(s) | Cause::Crash(s) => (s, 0.05),
            Cause::NoData(s) => (s, 0.0),
            Cause::Nothing | Cause::Flag(_) => return,
        };
        let service = &self.services[s];
        let serving = self.run.serving[s];
        if serving > most && !service.waved_on && !self.entangled(s) {
            self.fail(
                9,
                format!("it stands still with {:.0} % of {} on its bad version", serving * 100.0, self.name(s)),
            );
        }
    }

    /// Nothing is wrong but wires and conductors: then it is not taken back.
    fn as_on_a_good_day(&mut self) {
        let calm = self.scenario.script.iter().all(|(_, act)| {
            matches!(act, Act::Wire(..) | Act::Cut(..) | Act::Kill(..) | Act::Take(_) | Act::Wall(..))
                || matches!(act, Act::Hand(_, Hand::WipeStamps))
        });
        let back = matches!(&self.run.end, End::Result(how) if how != "completed");
        if calm && self.scenario.cause == Cause::Nothing && !self.scenario.abandoned_is_undone && back {
            self.fail(14, format!("nothing was wrong with it, and it ended {:?}", self.run.end));
        }
    }
}
