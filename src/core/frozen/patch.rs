//! What a train wants done, as what is sent: JSON Patches that begin with their preconditions, records, Jobs, flags. The
//! builders are those of the verbs by hand (`verb/`). Whether it may leave is the guard's (`guard/train.rs`).
//!
//! Where the template is another object's (`workloadRef`, a Canary's target) that object bears the stamps too and is written
//! first: the workload, by which everything is read, comes last, so that what it says is true of both.

use serde_json::{Value, json};

use super::raw::{Bench, EPOCH, Raw, TRAIN, epoch, epoch_value};
use super::reading::{half_stamped, seen};
use super::{FlagPlace, Frozen};
use crate::core::confirm::Refusal;
use crate::core::effect::{Change as Sent, Direction, Effect};
use crate::core::flag::{self, FlagSetting, Now};
use crate::core::object::{Object, ObjectKind, ObjectRef};
use crate::core::record;
use crate::core::template;
use crate::core::text::Text;
use crate::core::train::effect::{Change, FlagChange, Forward, Safe, Stamp, Tests};
use crate::core::train::event::{Answer, Pause};
use crate::core::train::resolved::{Kind, ServiceId, Setting};
use crate::core::verb::draft::{Draft, HOLD, HOLD_BY, Mark, SKIP, UNDO};
use crate::core::verb::version;
use crate::core::workload::container_image;

/// Digits of the Release's uid in the names of what a train makes.
const UID_CHARS: usize = 8;

/// A change that a train ordered. Only this room makes one, from a [`Safe`] or a [`Forward`], a record, a Job or a flag, so
/// nothing else can leave under a train's name.
#[derive(Clone, PartialEq, Debug)]
pub struct Ordered {
    pub(in crate::core) effect: Effect,
    /// Epoch and milliseconds within which it must be answered; none in the safe direction.
    pub(in crate::core) forward: Option<(u64, u64)>,
}

impl Ordered {
    /// What is sent.
    pub fn effect(&self) -> &Effect {
        &self.effect
    }
}

/// Why nothing is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cannot {
    /// What was read since is no longer what the order rests on.
    Moved(Text),
    /// It will not get better by itself.
    Refused(Text),
}

impl Cannot {
    /// The same as the server would answer it.
    pub fn answer(self) -> Answer {
        match self {
            Self::Moved(_) => Answer::Moved,
            Self::Refused(why) => Answer::Refused(why),
        }
    }

    /// In words.
    pub fn why(&self) -> &Text {
        match self {
            Self::Moved(why) | Self::Refused(why) => why,
        }
    }
}

/// What the answer to something sent tells the train: of a workload the version that it made, by which readings are told from
/// older ones. A record or a Job is another object, whose version says nothing of the workload's.
pub fn landed(sent: &Effect, now: &Object) -> Answer {
    match sent.change {
        Sent::Create(_) => Answer::Landed(0),
        Sent::Patch(_) | Sent::PatchStatus(_) => Answer::Landed(now.version().parse().unwrap_or_default()),
    }
}

/// What a safe change sends, in order. Each is sent only after the one before it landed; the last one's version is the answer.
pub fn of_safe(frozen: &Frozen, safe: &Safe, raw: &Raw<'_>) -> Result<Vec<Ordered>, Cannot> {
    let bench = bench(frozen, safe.service(), raw)?;
    let desk = Desk { bench: &bench, change: safe.change(), tests: safe.tests(), intent: safe.intent() };
    let effects = desk.effects(Direction::Safe)?;
    Ok(effects.into_iter().map(|effect| Ordered { effect: *effect, forward: None }).collect())
}

/// What a forward change sends, in order, as [`of_safe`].
pub fn of_forward(frozen: &Frozen, forward: &Forward, raw: &Raw<'_>) -> Result<Vec<Ordered>, Cannot> {
    let bench = bench(frozen, forward.service(), raw)?;
    let desk = Desk { bench: &bench, change: forward.change(), tests: forward.tests(), intent: 0 };
    let effects = desk.effects(Direction::Forward)?;
    let forward = Some((forward.epoch(), forward.deadline()));
    Ok(effects.into_iter().map(|effect| Ordered { effect: *effect, forward }).collect())
}

/// Where the record of a service lies, or will.
pub fn record_ref(frozen: &Frozen, service: ServiceId, cluster: &Text) -> ObjectRef {
    let name = record::name_in_train(&frozen.resolved.uid, &frozen.workloads[usize::from(service)].service);
    ObjectRef { kind: ObjectKind::ConfigMap, name: Text::scrub(&name), ..frozen.object(service, cluster) }
}

/// Records what is live of a service, in its own words. Refused as moved while something moves: half of a deploy is nothing to
/// go back to.
pub fn record(frozen: &Frozen, service: ServiceId, raw: &Raw<'_>) -> Result<Ordered, Cannot> {
    let bench = bench(frozen, service, raw)?;
    let name = &bench.workload.service;
    let seen = seen(&bench);
    if !(seen.observed && seen.healthy && !seen.current.is_empty() && seen.current == seen.stable) {
        return Err(Cannot::Moved(crate::text!("{name} moves: what is live cannot be recorded")));
    }
    let Some(template) = bench.template() else {
        return Err(Cannot::Refused(crate::text!("{name} has no pod template that can be read")));
    };
    let record = record::of_train(&bench.id, raw.object.uid(), bench.train(), name, seen.current, template);
    let says = crate::text!("record the template of {} in ConfigMap {}", seen.current, record.id.name);
    let change = Sent::Create(record.config_map);
    Ok(Ordered { effect: Effect { object: record.id, change, direction: Direction::Safe, says }, forward: None })
}

/// Where the Job of an expand step lies, or will; of its way back with `down`.
pub fn job_ref(frozen: &Frozen, migration: u16, down: bool, cluster: &Text) -> ObjectRef {
    let uid: String = frozen.resolved.uid.chars().take(UID_CHARS).collect();
    let name = &frozen.resolved.migrations[usize::from(migration)].name;
    let name = crate::text!("fp-{uid}-{}-{name}", if down { "down" } else { "expand" });
    ObjectRef { cluster: cluster.clone(), kind: ObjectKind::Job, namespace: frozen.namespace.clone(), name }
}

/// The Job of an expand step, or of its way back.
pub fn job(frozen: &Frozen, migration: u16, down: bool, epoch: u64, cluster: &Text) -> Ordered {
    let object = job_ref(frozen, migration, down, cluster);
    let script = &frozen.scripts[usize::from(migration)];
    let mut job = if down { script.down.clone() } else { script.job.clone() };
    let (api, kind) = (ObjectKind::Job.api_version(), ObjectKind::Job.api().3);
    job["apiVersion"] = json!(api);
    job["kind"] = json!(kind);
    if !job["metadata"].is_object() {
        job["metadata"] = json!({});
    }
    if let Some(metadata) = job["metadata"].as_object_mut() {
        metadata.remove("generateName");
        metadata.insert("name".to_owned(), json!(object.name.as_str()));
        metadata.insert("namespace".to_owned(), json!(object.namespace.as_str()));
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(record::TRAIN.to_owned(), json!(frozen.resolved.uid.as_str()));
        }
    }
    let name = &frozen.resolved.migrations[usize::from(migration)].name;
    let says = if down { crate::text!("run the way back of {name}") } else { crate::text!("run expand step {name}") };
    let effect = Effect { object, change: Sent::Create(job), direction: Direction::Forward, says };
    Ordered { effect, forward: Some((epoch, frozen.resolved.times.write)) }
}

/// A flag's change on the object that holds it (see [`super::reading::flag_kind`]), under the test of the version that the train
/// read.
pub fn flag(frozen: &Frozen, change: &FlagChange, cluster: &Text, object: &Object) -> Result<Ordered, Cannot> {
    let key = &frozen.resolved.flags[usize::from(change.flag)].key;
    let (kind, data) = match &frozen.flags {
        FlagPlace::Objects | FlagPlace::Object(_) => (ObjectKind::FeatureFlag, None),
        FlagPlace::ConfigMap(_, key) => (ObjectKind::ConfigMap, Some(key.as_str())),
        FlagPlace::File(_) => {
            return Err(Cannot::Refused(crate::text!("flag {key} lies in a file, not in the cluster")));
        }
    };
    if object.version().parse() != Ok(change.version) {
        return Err(Cannot::Moved(crate::text!("what holds flag {key} was written since")));
    }
    let id = ObjectRef { cluster: cluster.clone(), kind, namespace: frozen.namespace.clone(), name: object.name() };
    let (_, mut effect) = flag::flip_object(&id, object, data, key, setting(&change.to), None).map_err(refused)?;
    effect.direction = if change.back { Direction::Safe } else { Direction::Forward };
    if let Sent::Patch(patch) = &mut effect.change {
        let test = Draft::default().test(&["metadata", "resourceVersion"], json!(object.version()));
        if let Sent::Patch(with) = test.main(id, effect.direction, Text::default()).change {
            patch.0.splice(1..1, with.0);
        }
    }
    let forward = change.epoch.filter(|_| !change.back).map(|epoch| (epoch, frozen.resolved.times.write));
    if !change.back && forward.is_none() {
        return Err(Cannot::Refused(crate::text!("flag {key} is moved forward by nobody who conducts")));
    }
    Ok(Ordered { effect, forward })
}

/// A file's flag, changed: the new text.
pub fn flag_text(frozen: &Frozen, change: &FlagChange, text: &str) -> Result<String, Cannot> {
    let key = &frozen.resolved.flags[usize::from(change.flag)].key;
    flag::flip_text(text, key, setting(&change.to)).map(|(_, text)| text).map_err(refused)
}

fn setting(to: &Setting) -> Now {
    match to {
        Setting::Percent(n) => Now::Set(FlagSetting::Percent(*n)),
        Setting::Variant(name) => Now::Variant(name.clone()),
    }
}

/// Where a flag is what it is to be already, somebody else set it.
fn refused(refusal: Refusal) -> Cannot {
    if refusal.already { Cannot::Moved(refusal.why) } else { Cannot::Refused(refusal.why) }
}

fn bench<'a>(frozen: &'a Frozen, service: ServiceId, raw: &Raw<'a>) -> Result<Bench<'a>, Cannot> {
    Bench::of(frozen, service, raw).map_err(Cannot::Refused)
}

/// One order on one workload.
pub(super) struct Desk<'a> {
    pub bench: &'a Bench<'a>,
    pub change: &'a Change,
    pub tests: &'a Tests,
    pub intent: u64,
}

pub(super) type Effects = Vec<Box<Effect>>;

impl<'a> Desk<'a> {
    pub fn effects(&self, direction: Direction) -> Result<Effects, Cannot> {
        let kind = self.bench.workload.kind;
        let main = |d: Draft| d.main(self.bench.id.clone(), direction, self.says());
        let status = |d: Draft| d.status(self.bench.id.clone(), direction, self.says());
        let object = self.bench.raw.object;
        let (first, d) = match self.change {
            Change::Stamp { epoch } => return self.stamp(epoch, direction),
            Change::Deploy { mark } => return self.deploy(*mark, direction),
            Change::Again if kind == Kind::Canary => return self.deploy(self.bench.free_mark(), direction),
            Change::Restore => return self.restore(direction),
            Change::Abort if kind != Kind::Rollout => return self.restore(direction),
            Change::Hold(value) => {
                let by = crate::text!("train {}", self.bench.frozen.resolved.id);
                let marks = [(HOLD, Some(value.to_string())), (HOLD_BY, Some(by.to_string()))];
                (None, main(self.tested()?.set(&["spec", self.pause_field()], json!(true)).marks(object, &marks)))
            }
            Change::Release => {
                let d = self.tested()?.set(&["spec", self.pause_field()], json!(false));
                (None, main(d.marks(object, &[(HOLD, None), (HOLD_BY, None)])))
            }
            Change::MarkUndo => (None, main(self.going_back(self.tested()?))),
            Change::ClearUndo => {
                let first = self.on_target(&[(UNDO, None)], direction)?;
                (first, main(self.unskip(self.tested()?.marks(object, &[(UNDO, None)]))))
            }
            Change::Unstamp => {
                let marks: [Mark<'_>; 4] = [(TRAIN, None), (HOLD, None), (HOLD_BY, None), (UNDO, None)];
                let first = self.on_target(&marks, direction)?;
                (first, main(self.unskip(self.tested()?.marks(object, &marks))))
            }
            Change::Full | Change::PromoteRecorded if kind == Kind::Canary => {
                let hash = self.bench.current().to_owned();
                let d = self.tested()?.set(&["spec", "skipAnalysis"], json!(true));
                (None, main(d.marks(object, &[(SKIP, Some(hash))])))
            }
            Change::Approve { .. } | Change::Full | Change::Again | Change::PromoteRecorded
                if kind != Kind::Rollout =>
            {
                return Err(self.never());
            }
            Change::Approve { inconclusive } => (None, status(self.approve(*inconclusive)?)),
            Change::Full | Change::PromoteRecorded => {
                (None, status(self.tested()?.set(&["status", "promoteFull"], json!(true))))
            }
            Change::Abort => (None, status(self.tested()?.set(&["status", "abort"], json!(true)))),
            Change::Again => (None, status(self.tested()?.set(&["status", "abort"], json!(false)))),
        };
        Ok(first.into_iter().chain([d]).collect())
    }

    fn says(&self) -> Text {
        let train = &self.bench.frozen.resolved.id;
        match self.change {
            Change::Deploy { .. } => crate::text!("{} ({}), train {train}", self.change.says(), self.bench.image()),
            change => crate::text!("{}, train {train}", change.says()),
        }
    }

    fn service(&self) -> &'a Text {
        &self.bench.workload.service
    }

    fn moved(&self, what: &str) -> Cannot {
        Cannot::Moved(crate::text!("{}: {what}", self.service()))
    }

    fn never(&self) -> Cannot {
        let how = match (self.bench.workload.kind, self.change) {
            (Kind::Canary, Change::Approve { .. }) => "Flagger's gates are answered at their webhooks",
            (Kind::Canary, _) => "a Canary has no such step",
            _ => "a Deployment has no steps",
        };
        Cannot::Refused(crate::text!("{}: {how}", self.service()))
    }

    fn pause_field(&self) -> &'static str {
        if self.bench.workload.kind == Kind::Canary { "suspend" } else { "paused" }
    }

    /// Every test of the order, on the workload.
    fn tested(&self) -> Result<Draft, Cannot> {
        let object = self.bench.raw.object;
        let tests = self.tests;
        let mut d = Draft::default().test(&["metadata", "uid"], json!(tests.uid.as_str()));
        if let Some(generation) = tests.generation {
            d = d.test(&["metadata", "generation"], json!(generation));
        }
        d = self.stamped(d, object, TRAIN, &tests.train, Text::to_string);
        d = self.epoch(d, object);
        d = self.stamped(d, object, HOLD, &tests.hold, Text::to_string);
        d = self.stamped(d, object, UNDO, &tests.undo, Text::to_string);
        if let Some(hash) = &tests.hash {
            d = self.hash(d, hash)?;
        }
        if let Some((step, pause)) = tests.step {
            d = self.step(d, step, pause)?;
        }
        // Where another object has the template, it is tested there.
        if tests.ours && self.bench.target.is_none() {
            d = self.ours(d)?;
        }
        if let Some(aborted) = tests.aborted {
            if seen(self.bench).aborted != aborted {
                return Err(self.moved("somebody tries it again already"));
            }
            d = match self.bench.workload.kind {
                Kind::Rollout => d.test(&["status", "abort"], json!(aborted)),
                _ => d.same(object, &["status", "phase"]),
            };
        }
        Ok(d)
    }

    /// Tests one stamp. What was scrubbed for reading is tested as it lies there.
    fn stamped<T: PartialEq>(
        &self,
        d: Draft,
        object: &Object,
        key: &str,
        wanted: &Stamp<T>,
        write: impl Fn(&T) -> String,
    ) -> Draft {
        let path = ["metadata", "annotations", key];
        match wanted {
            Stamp::Any => d,
            // Below a map that is not there a server cannot look.
            Stamp::Absent if object.raw("/metadata/annotations").is_none() => d.test(&path[..2], Value::Null),
            Stamp::Absent => d.test(&path, Value::Null),
            Stamp::Is(value) => {
                let wanted = write(value);
                let there = object.annotation(key).filter(|there| *there == wanted || *Text::scrub(there) == *wanted);
                d.test(&path, json!(there.unwrap_or(&wanted)))
            }
        }
    }

    fn epoch(&self, d: Draft, object: &Object) -> Draft {
        let Stamp::Is(wanted) = &self.tests.epoch else {
            return self.stamped(d, object, EPOCH, &self.tests.epoch, epoch_value);
        };
        let there = object.annotation(EPOCH).filter(|_| epoch(object).as_ref() == Some(wanted));
        let value = there.map_or_else(|| epoch_value(wanted), str::to_owned);
        d.test(&["metadata", "annotations", EPOCH], json!(value))
    }

    /// The present pod hash. Deployments and Flagger write none on an object: the revision stands for it, and what Flagger last
    /// took up.
    fn hash(&self, d: Draft, hash: &Text) -> Result<Draft, Cannot> {
        let object = self.bench.raw.object;
        match self.bench.workload.kind {
            Kind::Rollout => Ok(d.test(&["status", "currentPodHash"], json!(hash.as_str()))),
            _ if self.bench.current() != hash.as_str() => Err(self.moved("another version is there now")),
            Kind::Deployment => Ok(d.same(object, &["metadata", "annotations", REVISION])),
            Kind::Canary => Ok(d.same(object, &["status", "lastAppliedSpec"])),
        }
    }

    /// The step, and why it pauses there.
    fn step(&self, d: Draft, step: u32, pause: Option<Pause>) -> Result<Draft, Cannot> {
        let seen = seen(self.bench);
        if seen.step != step || seen.pause != pause {
            return Err(self.moved("it stands at another step, or pauses for another reason"));
        }
        let object = self.bench.raw.object;
        Ok(match self.bench.workload.kind {
            Kind::Rollout => {
                d.same(object, &["status", "currentStepIndex"]).same(object, &["status", "pauseConditions"])
            }
            Kind::Canary => {
                ["phase", "canaryWeight", "iterations"].iter().fold(d, |d, field| d.same(object, &["status", field]))
            }
            Kind::Deployment => d,
        })
    }

    /// The image and the config in the template are the ones that this train sets.
    fn ours(&self, d: Draft) -> Result<Draft, Cannot> {
        let bench = self.bench;
        let Some(template) = bench.template().filter(|t| bench.is_pinned(t)) else {
            return Err(self.moved("the template is not the one that this train set"));
        };
        let (Some(name), holder) = (bench.container(template), bench.holder()) else { return Ok(d) };
        let Some(index) = template::container_index(template, name) else { return Ok(d) };
        let index = index.to_string();
        let at = ["spec", "template", "spec", "containers", index.as_str()];
        let d = d
            .same(holder, &[&at[..], &["name"]].concat())
            .test(&[&at[..], &["image"]].concat(), json!(bench.image().as_str()));
        Ok(match (bench.config(), template::config_volume(template)) {
            (Some(config), Some((index, _))) => {
                let index = index.to_string();
                let field = ["spec", "template", "spec", "volumes", index.as_str(), "configMap", "name"];
                d.test(&field, json!(config))
            }
            _ => d,
        })
    }

    /// Tests on the Deployment with the template, which bears the stamps too.
    fn tested_target(&self, target: &Object) -> Draft {
        let d = Draft::default().same(target, &["metadata", "uid"]);
        match &self.tests.train {
            Stamp::Is(train) if target.annotation(TRAIN) == Some(train) => {
                self.stamped(d, target, TRAIN, &self.tests.train, Text::to_string)
            }
            // A stamp that somebody wiped is not asked for; the generation then is.
            _ => d.same(target, &["metadata", "generation"]),
        }
    }

    /// Takes or writes marks on the Deployment with the template, where there is one and it needs them.
    fn on_target(&self, marks: &[Mark<'_>], direction: Direction) -> Result<Option<Box<Effect>>, Cannot> {
        let Some((target, id)) = &self.bench.target else { return Ok(None) };
        let there = |mark: &&Mark<'_>| target.annotation(mark.0) != mark.1.as_deref();
        if !marks.iter().any(|m| there(&m)) {
            return Ok(None);
        }
        let d = self.epoch(self.tested_target(target), target).marks(target, marks);
        Ok(Some(d.main(id.clone(), direction, self.says())))
    }

    /// Takes the objects under this train and epoch.
    fn stamp(&self, wanted: &(u64, Text), direction: Direction) -> Result<Effects, Cannot> {
        let object = self.bench.raw.object;
        let marks = [(TRAIN, Some(self.bench.train().to_owned())), (EPOCH, Some(epoch_value(wanted)))];
        let mine = |object: &Object| {
            object.annotation(TRAIN) == Some(self.bench.train()) && epoch(object).as_ref() == Some(wanted)
        };
        let as_read = |object: &Object, id: &ObjectRef| {
            // Never in place of a higher epoch, whatever was read of the workload.
            if epoch(object).is_some_and(|(number, _)| number >= wanted.0) && !mine(object) {
                return Err(self.moved("it bears an epoch that is as high"));
            }
            let d = Draft::default()
                .same(object, &["metadata", "uid"])
                .same(object, &["metadata", "annotations", TRAIN])
                .same(object, &["metadata", "annotations", EPOCH]);
            Ok(d.marks(object, &marks).main(id.clone(), direction, self.says()))
        };
        let mut out = Vec::new();
        if let Some((target, id)) = self.bench.target.as_ref().filter(|(target, _)| !mine(target)) {
            out.push(as_read(target, id)?);
        }
        // Half stamped counts as not stamped, and is tested as it lies there.
        if half_stamped(self.bench) {
            if !mine(object) {
                out.push(as_read(object, &self.bench.id)?);
            }
        } else {
            let d = self.tested()?.marks(object, &marks);
            out.push(d.main(self.bench.id.clone(), direction, self.says()));
        }
        Ok(out)
    }

    /// Sets the pinned version, under this mark.
    fn deploy(&self, mark: u32, direction: Direction) -> Result<Effects, Cannot> {
        let bench = self.bench;
        let says = || self.says();
        let Some(template) = bench.template() else {
            return Err(Cannot::Refused(crate::text!("{} has no pod template that can be read", self.service())));
        };
        let named = bench.workload.container.as_deref();
        let Some(container) = bench.container(template) else {
            let named = named.unwrap_or("that is the only one");
            return Err(Cannot::Refused(crate::text!("{} has no container {named}", self.service())));
        };
        if bench.config().is_some() && template::config_volume(template).is_none() {
            let why = "its template has no volume called config with a configMap";
            return Err(Cannot::Refused(crate::text!("{}: {why}", self.service())));
        }
        let mark = (mark > 0).then(|| bench.mark(mark));
        let write = |d: Draft| {
            version::set(d, bench.holder(), template, container, bench.image(), bench.config(), mark.as_deref())
        };
        match &bench.target {
            None => Ok(vec![write(self.tested()?).main(bench.id.clone(), direction, says())]),
            Some((target, id)) => {
                // Everything is tested on the workload a moment before; what fences off the late is tested on both.
                let check = self.unskip(self.tested()?).main(bench.id.clone(), direction, says());
                let d = Draft::on(target);
                let d = self.stamped(d, target, TRAIN, &self.tests.train, Text::to_string);
                let d = self.epoch(d, target);
                let d = self.stamped(d, target, UNDO, &self.tests.undo, Text::to_string);
                Ok(vec![check, write(d).main(id.clone(), direction, says())])
            }
        }
    }

    /// The recorded template goes back.
    fn restore(&self, direction: Direction) -> Result<Effects, Cannot> {
        let bench = self.bench;
        let Some((_, recorded)) = bench.recorded() else {
            let why = crate::text!("{}: its record is gone, or is not what this train recorded", self.service());
            return Err(Cannot::Refused(why));
        };
        let undo = || (UNDO, Some(self.undo_value()));
        match &bench.target {
            None => {
                let mut d = self.tested()?;
                if matches!(self.change, Change::Abort) {
                    d = self.ours(d)?;
                }
                let d = self.going_back(d);
                Ok(vec![self.put_back(d, &recorded).main(bench.id.clone(), direction, self.says())])
            }
            Some((target, id)) => {
                let mut d = self.tested_target(target);
                if let Some(hash) = self.tests.hash.as_ref().filter(|_| bench.workload.kind == Kind::Canary) {
                    if bench.current() != hash.as_str() {
                        return Err(self.moved("another version is there now"));
                    }
                    d = d.same(target, &["metadata", "annotations", REVISION]);
                }
                if self.tests.ours || matches!(self.change, Change::Abort) {
                    d = self.ours(d)?;
                }
                let d = self.put_back(d, &recorded).marks(target, &[undo()]);
                let template = d.main(id.clone(), direction, self.says());
                // The template first: a hold that ended before would let the bad version go on for a moment.
                let mark = self.going_back(self.tested_main()).main(bench.id.clone(), direction, self.says());
                Ok(vec![template, mark])
            }
        }
    }

    /// The tests of the mark that follows a restored template: it is the same workload, under the same train.
    fn tested_main(&self) -> Draft {
        let object = self.bench.raw.object;
        let d = Draft::default().test(&["metadata", "uid"], json!(self.tests.uid.as_str()));
        let d = match self.tests.generation {
            Some(generation) => d.test(&["metadata", "generation"], json!(generation)),
            None => d,
        };
        self.stamped(d, object, TRAIN, &self.tests.train, Text::to_string)
    }

    /// The recorded template; where somebody changed more of it than this train did, only what is the train's goes back.
    fn put_back(&self, d: Draft, recorded: &Value) -> Draft {
        let bench = self.bench;
        let whole = |d: Draft| d.set(&["spec", "template"], recorded.clone());
        let Some(live) = bench.template() else { return whole(d) };
        let (Some(container), Some(image)) =
            (bench.container(recorded), container_image(recorded, bench.workload.container.as_deref()))
        else {
            return whole(d);
        };
        let expected = template::with_ours(recorded.clone(), container, bench.image(), bench.config());
        if template::same(&expected, live) {
            return whole(d);
        }
        let config = template::config_volume(recorded).map(|(_, name)| name);
        let mark = recorded["metadata"]["annotations"][TRAIN].as_str();
        version::set(d, bench.holder(), live, container, image, config, mark)
    }

    /// Stamps the undo and ends a hold, whoever put it there and whenever: a restore wins over a hold.
    fn going_back(&self, d: Draft) -> Draft {
        let object = self.bench.raw.object;
        d.set(&["spec", self.pause_field()], json!(false))
            .marks(object, &[(UNDO, Some(self.undo_value()))])
            .unmark(object, &[HOLD, HOLD_BY])
    }

    fn undo_value(&self) -> String {
        format!("{}/{:x}", self.bench.train(), self.intent)
    }

    /// Ends the pause that waits; over an inconclusive analysis also one step on, because clearing the pause alone would only
    /// start the analysis again (`train.md` §1).
    fn approve(&self, inconclusive: bool) -> Result<Draft, Cannot> {
        let object = self.bench.raw.object;
        let d = self.tested()?;
        if object.raw("/status/pauseConditions").is_none() {
            return Err(self.moved("nothing waits there"));
        }
        if !inconclusive {
            return Ok(d.clear(object, &["status", "pauseConditions"]));
        }
        let step = self.tests.step.map_or(0, |(step, _)| step);
        Ok(d.same(object, &["status", "canary", "currentStepAnalysisRunStatus", "name"])
            .set(&["status", "currentStepIndex"], json!(step + 1))
            .set(&["status", "controllerPause"], json!(false))
            .clear(object, &["status", "pauseConditions"]))
    }

    /// Takes a Canary's `skipAnalysis` back where we set it: the next version is to be analysed.
    fn unskip(&self, d: Draft) -> Draft {
        let object = self.bench.raw.object;
        if self.bench.workload.kind != Kind::Canary || object.annotation(SKIP).is_none() {
            return d;
        }
        d.set(&["spec", "skipAnalysis"], json!(false)).marks(object, &[(SKIP, None)])
    }
}

/// The annotation with the revision of a Deployment.
const REVISION: &str = "deployment.kubernetes.io/revision";
