//! The model cluster: an API server that tests and applies patches, and the Rollouts controller as `train.md` and the
//! conformance table say it behaves. Knows nothing of the core. Time is given to it, in milliseconds.

use std::sync::Arc;

pub type Ms = u64;

/// A pod template: which version, and the mark that makes it new (0 for none).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Template {
    /// 0 what was live, 1 the pinned one, 2 and up somebody else's.
    pub version: u8,
    pub mark: u32,
}

pub const OLD: Template = Template { version: 0, mark: 0 };

/// The pod hash: here the template itself.
pub type Hash = Template;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Weight(u8),
    Pause(Option<Ms>),
    /// Takes so long, then says what the truth is.
    Analysis(Ms),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paused {
    Timed(Ms),
    Untimed,
    Inconclusive,
}

/// What is true of a version; the judge and the analysis find it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    Good,
    Errors,
    Slow,
    Crash,
    NoData,
    Unclear,
    /// It is well itself, and a service beside the train fails because of it.
    Elsewhere,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Stamps {
    pub train: Option<u32>,
    pub epoch: Option<(u64, Arc<str>)>,
    pub hold: Option<Arc<str>>,
    pub undo: Option<u64>,
}

/// A workload.
#[derive(Clone, PartialEq, Debug)]
pub struct Workload {
    pub exists: bool,
    pub uid: u32,
    pub rv: u64,
    pub generation: u64,
    pub observed: u64,
    pub template: Template,
    pub paused: bool,
    pub stamps: Stamps,
    pub current: Hash,
    pub stable: Hash,
    pub abort: bool,
    pub aborted_at: bool,
    pub full: bool,
    pub step: u32,
    pub pause: Option<(Paused, Ms)>,
    pub controller_pause: bool,
    pub weight: u8,
    pub healthy: bool,
    /// Replica sets, in the order of their making.
    pub sets: Vec<Hash>,
    pub steps: Vec<Step>,
    pub routed: bool,
    /// `rollbackWindow.revisions`.
    pub window: usize,
    pub deployment: bool,
    pub analysis: Option<Ms>,
    /// An analysis of this revision failed: its run stays to be read, whoever conducts.
    pub failed: bool,
    pub record: Option<Hash>,
    /// The image of the old version cannot be pulled any more; no set of it runs.
    pub image_gone: bool,
    /// The weight of an aborted canary does not go down.
    pub stuck: bool,
    /// When the step or version last changed: the judge's window begins here.
    pub moved_at: Ms,
}

/// One test of a patch.
#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    Uid(u32),
    Generation(u64),
    Train(Option<u32>),
    Epoch(Option<(u64, Arc<str>)>),
    Hold(Option<Arc<str>>),
    NoUndo,
    Undo(u64),
    Hash(Hash),
    Step(u32, Option<Paused>),
    /// The image is the pinned one.
    Ours,
    Aborted(bool),
}

/// One change of a patch.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    Stamp(u32, (u64, Arc<str>)),
    Template(Template),
    Hold(Arc<str>),
    Unpause,
    EndHold,
    Undo(u64),
    ClearUndo,
    Approve,
    ApproveOver,
    Full,
    Abort,
    Again,
    Unstamp,
    Wipe,
}

/// A patch of one workload.
#[derive(Clone, PartialEq, Debug)]
pub struct Write {
    /// Which process: its place, and 1,000 for each life before; 200 are hands of a cockpit.
    pub by: u32,
    pub sent: Ms,
    pub service: usize,
    pub tests: Vec<Test>,
    pub ops: Vec<Op>,
    /// True when it moves the release on; then it says under which epoch.
    pub forward: Option<u64>,
    /// The order that it carries out, where it is a safe one.
    pub intent: Option<u64>,
}

impl Workload {
    pub fn new(uid: u32, steps: Vec<Step>) -> Self {
        Self {
            exists: true,
            uid,
            rv: 1,
            generation: 1,
            observed: 1,
            template: OLD,
            paused: false,
            stamps: Stamps::default(),
            current: OLD,
            stable: OLD,
            abort: false,
            aborted_at: false,
            full: false,
            step: u32::try_from(steps.len()).unwrap(),
            pause: None,
            controller_pause: false,
            weight: 0,
            healthy: true,
            sets: vec![OLD],
            steps,
            routed: true,
            window: 3,
            deployment: false,
            analysis: None,
            failed: false,
            record: None,
            image_gone: false,
            stuck: false,
            moved_at: 0,
        }
    }

    /// Share of the traffic that a version has, percent.
    pub fn traffic(&self, version: u8) -> u8 {
        if !self.exists {
            return 0;
        }
        let mut share = 0;
        if self.stable.version == version {
            share += 100 - self.weight;
        }
        if self.current != self.stable && self.current.version == version {
            share += self.weight;
        }
        share
    }

    /// True when the new version is all there is.
    pub fn finished(&self) -> bool {
        self.stable.version == 1
    }

    pub fn test(&self, tests: &[Test]) -> bool {
        self.exists
            && tests.iter().all(|t| match t {
                Test::Uid(uid) => self.uid == *uid,
                Test::Generation(g) => self.generation == *g,
                Test::Train(train) => self.stamps.train == *train,
                Test::Epoch(epoch) => self.stamps.epoch == *epoch,
                Test::Hold(hold) => self.stamps.hold == *hold,
                Test::NoUndo => self.stamps.undo.is_none(),
                Test::Undo(undo) => self.stamps.undo == Some(*undo),
                Test::Hash(hash) => self.current == *hash,
                Test::Step(step, pause) => self.step == *step && self.pause.map(|(p, _)| p) == *pause,
                Test::Ours => self.template.version == 1,
                Test::Aborted(aborted) => self.abort == *aborted,
            })
    }

    /// Applies the changes of a patch whose tests hold.
    pub fn apply(&mut self, ops: &[Op]) {
        let before = (self.template, self.paused);
        for op in ops {
            match op {
                Op::Stamp(train, epoch) => {
                    self.stamps.train = Some(*train);
                    self.stamps.epoch = Some(epoch.clone());
                }
                Op::Template(t) => self.template = *t,
                Op::Hold(stamp) => {
                    self.paused = true;
                    self.stamps.hold = Some(stamp.clone());
                }
                Op::Unpause => self.paused = false,
                Op::EndHold => self.stamps.hold = None,
                Op::Undo(id) => self.stamps.undo = Some(*id),
                Op::ClearUndo => self.stamps.undo = None,
                Op::Approve => self.pause = None,
                Op::ApproveOver => {
                    self.pause = None;
                    self.controller_pause = false;
                    self.analysis = None;
                    self.step += 1;
                }
                Op::Full => self.full = true,
                Op::Abort => self.abort = true,
                Op::Again => {
                    self.abort = false;
                    self.failed = false;
                    self.aborted_at = false;
                }
                Op::Unstamp => self.stamps = Stamps { epoch: self.stamps.epoch.take(), ..Stamps::default() },
                Op::Wipe => self.stamps = Stamps::default(),
            }
        }
        if before != (self.template, self.paused) {
            self.generation += 1;
        }
        self.rv += 1;
    }

    /// The first mark that no replica set of the pinned version bears.
    pub fn mark(&self) -> u32 {
        self.sets.iter().filter(|s| s.version == 1).map(|s| s.mark + 1).max().unwrap_or(0)
    }

    pub fn has_pinned(&self) -> bool {
        self.sets.iter().any(|s| s.version == 1)
    }

    fn in_window(&self, of: Hash) -> bool {
        let at = |h: Hash| self.sets.iter().position(|s| *s == h);
        match (at(of), at(self.stable)) {
            (Some(a), Some(b)) if a < b => b - a - 1 < self.window,
            _ => false,
        }
    }

    /// True when a restore of the old version would be quick from here.
    pub fn fast(&self) -> bool {
        self.deployment || self.stable == OLD || self.in_window(OLD)
    }

    fn can_run(&self, hash: Hash, truth: Truth) -> bool {
        match hash.version {
            0 => !self.image_gone || self.stable == OLD,
            1 => truth != Truth::Crash,
            _ => true,
        }
    }

    /// One small step of the controller. True when something changed; the time is when it wants to be called again.
    pub fn reconcile(&mut self, now: Ms, truth: Truth) -> (bool, Option<Ms>) {
        if !self.exists {
            return (false, None);
        }
        let before = (self.observed, self.current, self.stable, self.abort, self.aborted_at, self.full);
        let fine = (self.step, self.pause, self.controller_pause, self.weight, self.healthy, self.analysis);
        let wake = self.one_step(now, truth);
        let changed = before != (self.observed, self.current, self.stable, self.abort, self.aborted_at, self.full)
            || fine != (self.step, self.pause, self.controller_pause, self.weight, self.healthy, self.analysis);
        if changed {
            self.rv += 1;
            if (self.current, self.step, self.stable) != (before.1, fine.0, before.2) {
                self.moved_at = now;
            }
        }
        (changed, wake)
    }

    fn one_step(&mut self, now: Ms, truth: Truth) -> Option<Ms> {
        let end = u32::try_from(self.steps.len()).unwrap();
        if self.observed != self.generation {
            self.observed = self.generation;
            if self.template != self.current {
                // A new revision forgets everything about the one before, an abort included.
                self.current = self.template;
                self.abort = false;
                self.aborted_at = false;
                self.full = false;
                self.pause = None;
                self.controller_pause = false;
                self.analysis = None;
                self.failed = false;
                if !self.sets.contains(&self.current) {
                    self.sets.push(self.current);
                }
                self.step = if self.current == self.stable { end } else { 0 };
                self.healthy = false;
            }
            return None;
        }
        if self.current == self.stable {
            self.step = end;
            self.full = false;
            self.abort = false;
            self.aborted_at = false;
            if (self.routed || !self.paused) && !self.stuck {
                self.weight = 0;
            }
            self.healthy = self.weight == 0 && self.can_run(self.current, truth);
            return None;
        }
        self.healthy = false;
        if self.deployment {
            if self.paused || !self.can_run(self.current, truth) {
                return None;
            }
            if self.weight < 50 {
                self.weight = 50;
                return Some(now + 1_000);
            }
            self.stable = self.current;
            self.weight = 0;
            return None;
        }
        if self.full || self.in_window(self.current) {
            self.abort = false;
            self.aborted_at = false;
            self.pause = None;
            self.controller_pause = false;
            self.step = end;
            if !self.paused && self.can_run(self.current, truth) {
                self.stable = self.current;
                self.weight = 0;
                self.full = false;
            }
            return None;
        }
        if self.abort {
            if !self.aborted_at {
                self.aborted_at = true;
                self.step = 0;
                self.pause = None;
                self.controller_pause = false;
                self.analysis = None;
            }
            if (self.routed || !self.paused) && !self.stuck {
                self.weight = 0;
            }
            return None;
        }
        // Analyses measure while it is held; the rest stands still. A timed pause keeps its start.
        if let (Some(Step::Analysis(takes)), None) = (self.at_step(), self.pause)
            && !self.controller_pause
        {
            let until = *self.analysis.get_or_insert(now + takes);
            if now < until {
                return Some(until);
            }
            match truth {
                Truth::Errors | Truth::Slow => (self.abort, self.failed) = (true, true),
                Truth::NoData => self.abort = true,
                Truth::Unclear => {
                    self.pause = Some((Paused::Inconclusive, now));
                    self.controller_pause = true;
                }
                _ if self.paused => {}
                _ => {
                    self.analysis = None;
                    self.step += 1;
                }
            }
            return None;
        }
        if self.paused {
            return None;
        }
        match self.at_step() {
            None => {
                if self.can_run(self.current, truth) {
                    self.stable = self.current;
                    self.weight = 0;
                }
                None
            }
            Some(Step::Weight(w)) => {
                if self.can_run(self.current, truth) {
                    self.weight = w;
                    self.step += 1;
                }
                None
            }
            Some(Step::Pause(Some(ms))) => match self.pause {
                None => {
                    self.pause = Some((Paused::Timed(ms), now));
                    Some(now + ms)
                }
                Some((_, since)) if now >= since + ms => {
                    self.pause = None;
                    self.step += 1;
                    None
                }
                Some((_, since)) => Some(since + ms),
            },
            Some(Step::Pause(None) | Step::Analysis(_)) => {
                match (self.pause, self.controller_pause) {
                    (None, false) => {
                        self.pause = Some((Paused::Untimed, now));
                        self.controller_pause = true;
                    }
                    (None, true) => {
                        self.controller_pause = false;
                        // After an inconclusive analysis the pause alone being over starts it again.
                        if matches!(self.at_step(), Some(Step::Pause(_))) {
                            self.step += 1;
                        } else {
                            self.analysis = None;
                        }
                    }
                    (Some(_), _) => {}
                }
                None
            }
        }
    }

    fn at_step(&self) -> Option<Step> {
        self.steps.get(usize::try_from(self.step).unwrap()).copied()
    }
}
