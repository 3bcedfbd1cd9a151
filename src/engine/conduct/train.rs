//! One train in the hands of a conductor, from the moment it takes it up to its end or to the loss of the Lease: feeds the pure
//! state with all that comes in, and has done what it wants. Tasks do the waiting; nothing here does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::eyes::{self, FlagText, Sighted};
use super::judging::{self, Bench, Look, Said, Sight};
use super::scribe::Scribe;
use super::tell::{self, Letter};
use super::{Ground, Office, Told, TrainView, checks, hands, millis};
use crate::core::elector::{Epoch, EpochMark};
use crate::core::frozen::Frozen;
use crate::core::frozen::checks::{Past, PastService};
use crate::core::frozen::patch::{Cannot, Ordered};
use crate::core::frozen::reading::{flag_kind, reading};
use crate::core::frozen::rights::Right;
use crate::core::object::ObjectKind;
use crate::core::release::{self, Judgement, Release};
use crate::core::text::Text;
use crate::core::train::effect::Effect;
use crate::core::train::event::{At, Event, FlagReading, Input, Intent};
use crate::core::train::resolved::{Kind, ServiceId};
use crate::core::train::state::{Ended, Stage, State};
use crate::core::train::{Phase, Role, journal, step, why};
use crate::ports::{Fault, FaultKind};
use crate::text;

/// How often everything is read again, whatever the watches said, milliseconds.
const LOOK_AROUND: u64 = 10_000;

/// How often the facts of the pre-flight are found out while it runs, milliseconds.
const CHECK: u64 = 3_000;

/// Least time between two writes of the status, milliseconds: what changed meanwhile is in the next one.
const STATUS_APART: u64 = 250;

/// The status is written at least this often while the train moves: it is a sign of life.
const STATUS_AT_LEAST: u64 = 3_000;

/// How many looks may wait for the judges before older ones are given up.
const LOOKS: usize = 256;

/// How one service is looked at.
#[derive(Default)]
struct Eye {
    sighted: Option<Arc<Sighted>>,
    busy: bool,
    /// It moved since the reading that is under way began.
    again: bool,
}

pub(super) struct Train {
    office: Office,
    release: Release,
    frozen: Arc<Frozen>,
    life: u32,
    told: mpsc::UnboundedSender<Told>,
    tasks: JoinSet<()>,
    state: Option<State>,
    /// What is to be fed, in order.
    queue: Vec<Event>,
    eyes: Vec<Eye>,
    flags: Vec<Option<FlagReading>>,
    /// The flag file, where the plan names one that lies here.
    flag_file: Option<Arc<FlagText>>,
    fed: BTreeSet<u64>,
    acted: usize,
    /// The version of the Release that the next status is written over.
    version: String,
    writing: bool,
    dirty: bool,
    written_at: u64,
    scribe: Scribe,
    looks: mpsc::Sender<Look>,
    said: mpsc::Receiver<Said>,
    sight: Option<Sight>,
    unsaid: Vec<Look>,
    judged: Vec<Judgement>,
    judges: serde_json::Value,
    looked_at: u64,
    checked_at: u64,
    checking: bool,
    /// Rights that the server has granted so far.
    granted: BTreeSet<Right>,
    frozen_now: Option<Text>,
    /// Ids of letters that were written, and those that are not posted yet.
    told_of: BTreeSet<Text>,
    letters: Vec<Letter>,
    /// Orders that the cluster does not have yet.
    owed: BTreeMap<u64, (Intent, u64)>,
    ended_kept: bool,
}

impl Train {
    /// Takes a train up as whoever had it left it.
    pub(super) fn begin(
        office: &Office,
        release: &Release,
        epoch: &Epoch,
        life: u32,
        told: mpsc::UnboundedSender<Told>,
    ) -> Result<Self, Text> {
        let frozen = Arc::clone(&release.frozen);
        let plan = Arc::new(frozen.resolved.clone());
        let state = match release.memory()? {
            Some(memory) => State::resume(plan, memory),
            None => State::new(plan),
        };
        let judges = release.status.as_ref().map(|s| s.judges.clone()).unwrap_or_default();
        let kept: judging::Kept = serde_json::from_value(judges.clone()).unwrap_or_default();
        let metrics = match &frozen.prometheus {
            Some(address) => (office.metrics)(address),
            None => Err("the environment names no Prometheus".into()),
        };
        let bench = Bench {
            frozen: Arc::clone(&frozen),
            cluster: Arc::clone(&office.cluster),
            metrics,
            clock: Arc::clone(&office.clock),
            probe: Arc::clone(&office.probe),
            kept,
        };
        let (looks, inbox) = mpsc::channel(LOOKS);
        let (said_out, said) = mpsc::channel(LOOKS);
        let mut tasks = JoinSet::new();
        tasks.spawn(judging::run(bench, inbox, said_out));
        let services = frozen.workloads.len();
        let mut train = Self {
            version: release.version.clone(),
            scribe: Scribe::new(release, epoch.number()),
            office: office.clone(),
            release: release.clone(),
            life,
            told,
            tasks,
            state: Some(state),
            queue: Vec::new(),
            eyes: (0..services).map(|_| Eye::default()).collect(),
            flags: vec![None; frozen.resolved.flags.len()],
            flag_file: hands::file_of(office, &frozen),
            fed: BTreeSet::new(),
            acted: 0,
            writing: false,
            dirty: true,
            written_at: 0,
            looks,
            said,
            sight: None,
            unsaid: Vec::new(),
            judged: vec![Judgement::default(); services],
            judges,
            looked_at: 0,
            checked_at: 0,
            checking: false,
            granted: BTreeSet::new(),
            frozen_now: None,
            told_of: BTreeSet::new(),
            letters: Vec::new(),
            owed: BTreeMap::new(),
            ended_kept: false,
            frozen,
        };
        // A journal can be replayed by itself, and over a take-over: it says what the train is and where it was taken up.
        if let Some(state) = &train.state {
            train.scribe.line(journal::opening(state.plan()));
            train.scribe.line(journal::took_up(Some(epoch.holder()), state.memory()));
        }
        train.release(release);
        train.look_around();
        Ok(train)
    }

    pub(super) fn frozen(&self) -> &Arc<Frozen> {
        &self.frozen
    }

    pub(super) fn uid(&self) -> Text {
        self.release.uid.clone()
    }

    pub(super) fn name(&self) -> &Text {
        &self.release.id.name
    }

    /// Kinds that are watched while this train runs.
    pub(super) fn kinds(&self) -> Vec<ObjectKind> {
        let mut kinds = BTreeSet::new();
        for workload in &self.frozen.workloads {
            kinds.insert(workload.object_kind());
            if workload.kind == Kind::Canary {
                kinds.insert(ObjectKind::Deployment);
            }
        }
        if !self.frozen.resolved.flags.is_empty() {
            kinds.extend(flag_kind(&self.frozen).filter(|kind| *kind == ObjectKind::FeatureFlag));
        }
        if !self.frozen.scripts.is_empty() {
            kinds.insert(ObjectKind::Job);
        }
        kinds.into_iter().collect()
    }

    /// True once its end is written down.
    pub(super) fn is_over(&self) -> bool {
        self.ended_kept && !self.writing
    }

    /// Letters to be posted, and to where: whoever posts them outlives this train, for which nothing waits.
    pub(super) fn letters(&mut self) -> (Vec<Text>, Vec<Letter>) {
        (self.frozen.incidents.clone(), std::mem::take(&mut self.letters))
    }

    pub(super) fn view(&self) -> TrainView {
        let state = self.state.as_ref();
        let memory = state.map(State::memory);
        let ended = memory.and_then(|m| m.ended).filter(|_| self.ended_kept);
        TrainView {
            name: self.release.id.name.clone(),
            uid: self.release.uid.clone(),
            id: self.frozen.resolved.id.clone(),
            phase: state.map_or(Phase::Planned, State::phase),
            wave: (memory.map_or(0, |m| m.wave), u16::try_from(self.frozen.resolved.waves.len()).unwrap_or(u16::MAX)),
            ended,
            waits: state.map(why::train).unwrap_or_default(),
            people: state.map(why::calls).unwrap_or_default().into_iter().map(|w| w.what).collect(),
            bad_traffic: state.is_some_and(State::bad_traffic),
            against: memory
                .iter()
                .flat_map(|m| &m.facts)
                .filter(|(_, found)| !matches!(found.parts().0, "good" | "warn"))
                .map(|(check, found)| text!("{}: {}", check.name(&self.frozen.resolved), found.parts().1))
                .collect(),
        }
    }

    /// The Release as it is now: orders that are new, what other hands did, its version.
    pub(super) fn release(&mut self, release: &Release) {
        for intent in &release.intents {
            self.owed.remove(&intent.id);
            if self.fed.insert(intent.id) {
                self.queue.push(Event::Ordered(intent.clone()));
            }
        }
        for acted in release.acted.iter().skip(self.acted) {
            let id = u64::from_str_radix(&acted.intent, 16).unwrap_or_default();
            self.queue.push(Event::Acted(id, text!("{}: {}", acted.who, acted.says)));
        }
        self.acted = self.acted.max(release.acted.len());
        // The echo of a write comes after its answer, and maybe after the next one's.
        let number = |version: &str| version.parse::<u64>().unwrap_or_default();
        if !self.writing && number(&release.version) >= number(&self.version) {
            self.version.clone_from(&release.version);
        }
        self.release = release.clone();
    }

    /// An object of this kind, or all of it, has moved.
    pub(super) fn moved(&mut self, kind: ObjectKind, name: Option<&Text>) {
        match kind {
            ObjectKind::FeatureFlag => self.look_at_flags(),
            ObjectKind::Job => self.look_at_jobs(),
            _ => {
                for s in 0..self.frozen.workloads.len() {
                    let workload = &self.frozen.workloads[s];
                    let target = self.eyes[s].sighted.as_ref().map(|sighted| sighted.holder().name());
                    let about = name.is_none_or(|name| *name == workload.name || target.as_ref() == Some(name));
                    if about && let Ok(s) = ServiceId::try_from(s) {
                        self.look(s);
                    }
                }
            }
        }
    }

    /// When the status is to be written, where it is known already that it must be.
    pub(super) fn due(&self) -> Option<Duration> {
        (self.dirty && !self.writing).then(|| Duration::from_millis(self.written_at + STATUS_APART))
    }

    /// To be fed at the next turn.
    pub(super) fn queue(&mut self, event: Event) {
        self.queue.push(event);
    }

    /// What a task of this life has to say.
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Read(life, s, read) if life == self.life => self.was_read(s, read),
            Told::Event(life, event) if life == self.life => {
                if let Event::FlagRead(f, reading) = &event {
                    self.flags[usize::from(*f)] = Some(reading.clone());
                }
                self.queue.push(event);
            }
            Told::Failed(life, why) if life == self.life => tracing::warn!(%why),
            Told::Answered(life, token, answer) if life == self.life => self.queue.push(Event::Answered(token, answer)),
            Told::Ordered(life, intent, landed) if life == self.life => self.was_ordered(intent, landed),
            Told::Status(life, result, version) if life == self.life => self.was_written(result, version),
            Told::Kept(life, batch, landed) if life == self.life => {
                let now = millis(self.office.clock.monotonic());
                if let Some(entry) = self.scribe.done(&batch, landed, now) {
                    self.queue.push(Event::Kept(entry));
                }
            }
            Told::Checked(life, findings) if life == self.life => {
                self.checking = false;
                self.granted = findings.granted;
                self.queue.extend(findings.facts.into_iter().map(Event::Fact));
            }
            _ => {}
        }
    }

    fn was_read(&mut self, s: ServiceId, read: Result<Option<Box<Sighted>>, Fault>) {
        let eye = &mut self.eyes[usize::from(s)];
        eye.busy = false;
        let again = std::mem::take(&mut eye.again);
        match read {
            Ok(Some(sighted)) => {
                let context = self.office.cluster.identity().context;
                let found = sighted.with(&context, |raw| reading(&self.frozen, s, raw));
                self.eyes[usize::from(s)].sighted = Some(Arc::new(*sighted));
                if let Some(found) = found {
                    self.queue.push(Event::Read(s, Arc::new(found)));
                }
            }
            Ok(None) => self.queue.push(Event::Gone(s)),
            // It is read again soon; what was known grows old by itself.
            Err(fault) => tracing::warn!(%fault, "a workload could not be read"),
        }
        if again {
            self.look(s);
        }
    }

    fn was_ordered(&mut self, intent: Intent, landed: bool) {
        if landed {
            self.owed.remove(&intent.id);
        } else {
            // The server is out of reach: the local journal makes it durable, and the Release gets it later.
            self.owed.entry(intent.id).or_insert((intent.clone(), 0));
        }
        if self.fed.insert(intent.id) {
            self.queue.push(Event::Ordered(intent));
        }
    }

    fn was_written(&mut self, result: Result<String, Fault>, version: u64) {
        self.writing = false;
        match result {
            Ok(now) => {
                self.version = now;
                self.queue.push(Event::StatusKept(version));
                if self.state.as_ref().is_some_and(|s| s.memory().ended.is_some() && s.memory().version <= version) {
                    self.ended_kept = true;
                }
            }
            Err(fault) => {
                self.dirty = true;
                if matches!(fault.kind, FaultKind::Unprocessable | FaultKind::Conflict) {
                    // Somebody wrote meanwhile: what, is read. A watch that lags would leave an order unheard.
                    self.version.clone_from(&self.release.version);
                    let (office, told, id) = (self.office.clone(), self.told.clone(), self.release.id.clone());
                    self.tasks.spawn(async move {
                        let read = office.cluster.read(&id).await;
                        let _ = told.send(Told::Release(None, id.name, read));
                    });
                } else {
                    tracing::warn!(%fault, "the status was not written");
                }
            }
        }
    }

    /// Feeds everything that waits and has done what follows. Answers with an epoch that is used up.
    pub(super) fn go(
        &mut self,
        epoch: &Epoch,
        ground: &Ground,
        others: &[&Release],
        lines: &mpsc::UnboundedSender<Text>,
    ) -> Option<u64> {
        let mut floor = None;
        while let Ok(said) = self.said.try_recv() {
            self.judge_said(said, lines);
        }
        while !self.queue.is_empty() {
            for event in std::mem::take(&mut self.queue) {
                self.feed(event, epoch, ground, lines, &mut floor);
            }
        }
        let now = millis(self.office.clock.monotonic());
        if now >= self.looked_at + LOOK_AROUND {
            self.look_around();
        }
        self.show_judges();
        self.look_at_checks(now, others);
        self.look_at_freeze();
        self.keep(now, ground);
        self.write_status(now, ground);
        self.pay_orders(now, ground);
        while self.tasks.try_join_next().is_some() {}
        floor
    }

    fn feed(
        &mut self,
        event: Event,
        epoch: &Epoch,
        ground: &Ground,
        lines: &mpsc::UnboundedSender<Text>,
        floor: &mut Option<u64>,
    ) {
        let Some(state) = self.state.take() else { return };
        let clock = &self.office.clock;
        let mark = EpochMark { number: epoch.number(), holder: epoch.holder().clone(), remaining: epoch.remaining() };
        let at = At { mono: millis(clock.monotonic()), wall: clock.now() };
        let input = Input { at, lease: Some(mark), event };
        self.scribe.line(journal::line(&input));
        let before = (state.phase(), state.memory().wave);
        let version = state.memory().version;
        let (state, effects) = step(state, Role::Conducting(epoch), &input);
        if (state.phase(), state.memory().wave) != before {
            let _ = lines.send(text!("{:?}, wave {}: {}", state.phase(), state.memory().wave, why::train(&state)));
        }
        self.dirty |= state.memory().version != version;
        self.state = Some(state);
        for effect in effects {
            self.effect(effect, ground, lines, floor);
        }
    }

    fn effect(
        &mut self,
        effect: Effect,
        ground: &Ground,
        lines: &mpsc::UnboundedSender<Text>,
        floor: &mut Option<u64>,
    ) {
        let line = |text: Text| drop(lines.send(text));
        match effect {
            Effect::Safe(token, safe) => {
                line(text!("{}: {}", self.frozen.resolved.service(safe.service()).name, safe.change().says()));
                let Some(sighted) = self.sighted(safe.service()) else { return };
                let ordered = hands::of_safe(&self.office, &self.frozen, &safe, &sighted);
                self.send(token, ordered, &sighted, ground);
            }
            Effect::Forward(token, forward) => {
                line(text!("{}: {}", self.frozen.resolved.service(forward.service()).name, forward.change().says()));
                let Some(sighted) = self.sighted(forward.service()) else { return };
                let ordered = hands::of_forward(&self.office, &self.frozen, &forward, &sighted);
                self.send(token, ordered, &sighted, ground);
            }
            Effect::Record(token, s) => {
                let Some(sighted) = self.sighted(s) else { return };
                let ordered = hands::record(&self.office, &self.frozen, s, &sighted);
                self.send(token, ordered, &sighted, ground);
            }
            Effect::Flag(token, change) => {
                line(text!("flag {} to {}", self.frozen.resolved.flags[usize::from(change.flag)].key, change.to));
                let (office, frozen) = (self.office.clone(), Arc::clone(&self.frozen));
                let (told, life, ground) = (self.told.clone(), self.life, ground.clone());
                let file = self.flag_file.clone();
                self.tasks.spawn(async move {
                    let answer = hands::flag(&office, file.as_deref(), &frozen, &change, &ground).await;
                    let _ = told.send(Told::Answered(life, token, answer));
                });
            }
            Effect::Job { token, migration, down, epoch } => {
                let name = &self.frozen.resolved.migrations[usize::from(migration)].name;
                line(text!("{}: {}", name, if down { "run the way back" } else { "run the expand step" }));
                let (office, frozen) = (self.office.clone(), Arc::clone(&self.frozen));
                let (told, life, ground) = (self.told.clone(), self.life, ground.clone());
                self.tasks.spawn(async move {
                    let answer = hands::job(&office, &frozen, migration, down, epoch, &ground).await;
                    let _ = told.send(Told::Answered(life, token, answer));
                    if let Ok(reading) = eyes::job(&*office.cluster, &frozen, migration).await {
                        let _ = told.send(Told::Event(life, Event::JobRead(migration, reading)));
                    }
                });
            }
            Effect::Order(intent) => {
                line(text!("orders: {} ({})", release::says(&intent.want), intent.order.why));
                self.order(intent, ground);
            }
            Effect::Keep(entry) => self.scribe.want(entry),
            Effect::Status(_) => self.dirty = true,
            Effect::Read(s) => self.look(s),
            Effect::ReadFlag(_) => self.look_at_flags(),
            Effect::Measure(s) => self.unsaid.push(Look::Measure(s)),
            Effect::Tell(what) => self.letter(tell::told(&self.release, self.state.as_ref(), what)),
            Effect::Alarm(s, what) => {
                line(text!("ALARM {}: {what}", self.frozen.resolved.service(s).name));
                let name = self.frozen.resolved.service(s).name.clone();
                self.letter(tell::alarm(&self.release, &name, &what, self.office.clock.now()));
            }
            Effect::Page(what) => {
                line(text!("CALLS {}: {what}", self.frozen.resolved.captain));
                self.letter(tell::page(&self.release, &what, self.office.clock.now()));
            }
            Effect::EpochUsedUp(number) => *floor = Some(floor.unwrap_or_default().max(number)),
            // The pre-flight refuses a train that deploys by git: nothing of it comes this far.
            Effect::Commit { .. } | Effect::Revert(..) | Effect::SuspendSync(..) => {}
        }
    }

    fn sighted(&mut self, s: ServiceId) -> Option<Arc<Sighted>> {
        let found = self.eyes[usize::from(s)].sighted.clone();
        if found.is_none() {
            self.look(s);
        }
        found
    }

    fn send(&mut self, token: u64, ordered: Result<Vec<Ordered>, Cannot>, sighted: &Sighted, ground: &Ground) {
        let (office, told, life) = (self.office.clone(), self.told.clone(), self.life);
        let (ground, read_at) = (ground.clone(), sighted.read_at);
        self.tasks.spawn(async move {
            let answer = hands::send(&office, ordered, read_at, &ground).await;
            let _ = told.send(Told::Answered(life, token, answer));
        });
    }

    fn order(&mut self, intent: Intent, ground: &Ground) {
        let (office, told, life) = (self.office.clone(), self.told.clone(), self.life);
        let (effect, ground) = (release::order(&self.release, &intent), ground.clone());
        let line = serde_json::json!({
            "what": "order", "train": self.release.uid, "at": intent.order.when.to_string(), "intent": intent,
        });
        self.tasks.spawn(async move {
            let landed = match ground.paper(effect) {
                Ok(cleared) => match office.cluster.send(&cleared).await {
                    Ok(_) => true,
                    // Somebody else conducts: what was decided here is not durable anywhere, and is not done.
                    Err(fault) if matches!(fault.kind, FaultKind::Unprocessable | FaultKind::Conflict) => return,
                    Err(_) => false,
                },
                Err(_) => false,
            };
            // Durable here in any case, and the only place where the server is out of reach.
            let kept = office.journal.append(line).await.is_ok();
            if landed || kept {
                let _ = told.send(Told::Ordered(life, intent, landed));
            }
        });
    }

    /// Orders that the Release does not have yet are written into it once it can be reached.
    fn pay_orders(&mut self, now: u64, ground: &Ground) {
        let due: Vec<Intent> = self
            .owed
            .values_mut()
            .filter(|(_, at)| now >= *at)
            .map(|(intent, at)| {
                *at = now + 5_000;
                intent.clone()
            })
            .collect();
        for intent in due {
            self.order(intent, ground);
        }
    }

    fn look(&mut self, s: ServiceId) {
        let eye = &mut self.eyes[usize::from(s)];
        if eye.busy {
            eye.again = true;
            return;
        }
        eye.busy = true;
        let known = eye.sighted.as_ref().and_then(|sighted| sighted.record.clone());
        let (office, frozen) = (self.office.clone(), Arc::clone(&self.frozen));
        let (told, life) = (self.told.clone(), self.life);
        self.tasks.spawn(async move {
            let read = eyes::look(&*office.cluster, &*office.clock, &frozen, s, known).await;
            let _ = told.send(Told::Read(life, s, read.map(|found| found.map(Box::new))));
        });
    }

    fn look_around(&mut self) {
        self.looked_at = millis(self.office.clock.monotonic());
        for s in 0..self.frozen.workloads.len() {
            if let Ok(s) = ServiceId::try_from(s) {
                self.look(s);
            }
        }
        self.look_at_flags();
        self.look_at_jobs();
    }

    fn look_at_flags(&mut self) {
        for f in 0..self.frozen.resolved.flags.len() {
            let Ok(f) = u16::try_from(f) else { return };
            let (office, frozen) = (self.office.clone(), Arc::clone(&self.frozen));
            let (told, life, file) = (self.told.clone(), self.life, self.flag_file.clone());
            self.tasks.spawn(async move {
                match eyes::flag(&*office.cluster, file.as_deref(), &frozen, f).await {
                    Ok(Some(reading)) => drop(told.send(Told::Event(life, Event::FlagRead(f, reading)))),
                    Ok(None) => {}
                    Err(fault) => drop(told.send(Told::Failed(life, text!("{fault}")))),
                }
            });
        }
    }

    fn look_at_jobs(&mut self) {
        for m in 0..self.frozen.scripts.len() {
            let Ok(m) = u16::try_from(m) else { return };
            let (office, frozen) = (self.office.clone(), Arc::clone(&self.frozen));
            let (told, life) = (self.told.clone(), self.life);
            self.tasks.spawn(async move {
                match eyes::job(&*office.cluster, &frozen, m).await {
                    Ok(reading) => drop(told.send(Told::Event(life, Event::JobRead(m, reading)))),
                    Err(fault) => drop(told.send(Told::Failed(life, text!("{fault}")))),
                }
            });
        }
    }

    /// Tells the judges how everything stands, when that changed.
    fn show_judges(&mut self) {
        let Some(state) = &self.state else { return };
        let sight = Sight::of(state);
        if self.sight.as_ref() != Some(&sight) {
            // The latest counts: one that is still waiting is replaced.
            self.unsaid.retain(|look| !matches!(look, Look::Sight(_)));
            self.unsaid.insert(0, Look::Sight(sight.clone()));
            self.sight = Some(sight);
        }
        while let Some(look) = self.unsaid.first().cloned() {
            if self.looks.try_send(look).is_err() {
                return;
            }
            self.unsaid.remove(0);
        }
    }

    fn judge_said(&mut self, said: Said, lines: &mpsc::UnboundedSender<Text>) {
        match said {
            Said::Event(event) => {
                if let Event::Tripped(trip) = &event {
                    let _ = lines.send(text!("ALARM {}, which is no part of the train: {}", trip.service, trip.why));
                }
                self.queue.push(event);
            }
            Said::Keep(kept) => {
                self.judges = serde_json::to_value(kept).unwrap_or_default();
                self.dirty = true;
            }
            Said::Views(views) => {
                // Figures change with every look; they are written with the next sign of life.
                for view in views.iter() {
                    let Some(judged) = view.id.and_then(|s| self.judged.get_mut(usize::from(s))) else { continue };
                    self.dirty |= judged.verdict != Some(view.verdict);
                    judged.verdict = Some(view.verdict);
                    judged.evidence = view.why.clone();
                }
            }
        }
    }

    fn look_at_checks(&mut self, now: u64, others: &[&Release]) {
        let Some(state) = &self.state else { return };
        let memory = state.memory();
        let wanted = !memory.phase.has_set_off() && memory.closing.is_none();
        let first = self.checked_at == 0;
        if self.checking || !(wanted || first) || now < self.checked_at + CHECK && !first {
            return;
        }
        // Nothing can be checked before everything was read once.
        if self.eyes.iter().any(|eye| eye.sighted.is_none()) && first {
            return;
        }
        self.checked_at = now.max(1);
        self.checking = true;
        let services = self.eyes.iter().zip(0..).map(|(eye, s)| {
            let (sighted, reading) = (eye.sighted.as_ref()?, state.reading(s)?);
            Some(checks::Live {
                object: sighted.object.clone(),
                holder: sighted.holder().clone(),
                sets: sighted.sets().to_vec(),
                reading: Arc::clone(reading),
            })
        });
        let inputs = checks::Inputs {
            frozen: Arc::clone(&self.frozen),
            cluster: Arc::clone(&self.office.cluster),
            now: self.office.clock.now(),
            others: others
                .iter()
                .filter(|other| was_under_way(other, &self.release))
                .map(|r| r.id.name.clone())
                .collect(),
            past: others.iter().filter_map(|other| past(other)).collect(),
            services: services.collect(),
            flags: self.flags.clone(),
            granted: self.granted.clone(),
        };
        let (told, life) = (self.told.clone(), self.life);
        self.tasks.spawn(async move {
            let findings = checks::find(&inputs).await;
            let _ = told.send(Told::Checked(life, findings));
        });
    }

    fn look_at_freeze(&mut self) {
        let now = self.office.clock.now();
        let holds = self.frozen.freeze.iter().find(|w| w.from <= now && now < w.to).map(|w| w.reason.clone());
        if holds != self.frozen_now {
            self.frozen_now.clone_from(&holds);
            self.queue.push(Event::Freeze(holds));
        }
    }

    fn keep(&mut self, now: u64, ground: &Ground) {
        let Some(batch) = self.scribe.due(now) else { return };
        let (office, told, life, ground) = (self.office.clone(), self.told.clone(), self.life, ground.clone());
        self.tasks.spawn(async move {
            let landed = batch.write(&*office.cluster, &*office.journal, &ground).await;
            let _ = told.send(Told::Kept(life, batch, landed));
        });
    }

    fn write_status(&mut self, now: u64, ground: &Ground) {
        let Some(state) = &self.state else { return };
        let old = now >= self.written_at + STATUS_AT_LEAST && state.memory().ended.is_none();
        if self.writing || !(self.dirty || old) || now < self.written_at + STATUS_APART {
            return;
        }
        (self.writing, self.dirty, self.written_at) = (true, false, now);
        let status = release::status_of(state, &self.judged, self.judges.clone(), self.office.clock.now());
        let version = state.memory().version;
        let effect = release::status(&self.release, &self.version, &status);
        let (office, told, life, ground) = (self.office.clone(), self.told.clone(), self.life, ground.clone());
        self.tasks.spawn(async move {
            let result = match ground.paper(effect) {
                Ok(cleared) => office.cluster.send(&cleared).await.map(|object| object.version().to_owned()),
                Err(refusal) => Err(Fault {
                    kind: FaultKind::Forbidden,
                    what: "write the status".into(),
                    why: refusal.why,
                    hint: refusal.hint,
                }),
            };
            let _ = told.send(Told::Status(life, result, version));
        });
    }

    /// A letter to whoever wants to hear of it, once for each thing.
    fn letter(&mut self, letter: Letter) {
        if !self.frozen.incidents.is_empty() && self.told_of.insert(letter.id.clone()) {
            self.letters.push(letter);
        }
    }
}

/// True when another train was under way when this one was recorded: one train at a time in an environment.
fn was_under_way(other: &Release, ours: &Release) -> bool {
    let earlier = (other.created, &other.uid) < (ours.created, &ours.uid);
    let ended = other.status.as_ref().filter(|status| status.result.is_some()).map(|status| status.written);
    let after = |at| ours.created.is_some_and(|made| is_after(at, made));
    other.uid != ours.uid && earlier && ended.is_none_or(after)
}

/// By how much the clocks of conductors and servers may differ, in seconds.
const CLOCKS_DIFFER: i64 = 30;

/// True when what a conductor wrote down was surely after an object was made, of which a server writes down the second alone, by
/// another clock. A train that ended a moment ago stands in nobody's way.
fn is_after(at: Timestamp, made: Timestamp) -> bool {
    at.as_second() > made.as_second() + CLOCKS_DIFFER
}

/// What a train that has ended left behind.
fn past(release: &Release) -> Option<Past> {
    let status = release.status.as_ref()?;
    let result = status.result?;
    let memory = release.memory().ok()??;
    let plan = &release.frozen.resolved;
    let services = memory.services.iter().zip(&plan.services).zip(&release.frozen.workloads);
    Some(Past {
        release: release.id.name.clone(),
        created: release.created?,
        completed: result == Ended::Completed,
        services: services
            .map(|((m, service), workload)| PastService {
                name: service.name.clone(),
                image: service.image.clone(),
                config: workload.config.clone(),
                taken_back: m.touched && matches!(m.stage, Stage::Undone | Stage::Aborted),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_that_ended_in_the_second_in_which_the_next_was_recorded_is_not_in_its_way() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let made = at("2026-11-28T07:34:31Z");
        assert!(!is_after(at("2026-11-28T07:34:30.9Z"), made));
        assert!(!is_after(at("2026-11-28T07:34:31.028Z"), made));
        assert!(!is_after(at("2026-11-28T07:34:59Z"), made), "clocks differ");
        assert!(is_after(at("2026-11-28T07:35:32Z"), made));
    }
}
