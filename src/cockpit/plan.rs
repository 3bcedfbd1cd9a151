//! What an order would do, worked out from a snapshot before anything is asked: targets in their order, how it must be
//! confirmed, and the lines that a dialog shows. Or why it is refused. Pure; the verbs themselves check again on fresh
//! reads, this only spares a person a dialog that cannot end well. Who is changed in which order, and what must be typed,
//! is decided in `core::order`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::glyphs::Glyphs;
use super::keymap::{Action, KeyMap};
use super::status::{self, Kind};
use super::theme::Role;
use crate::core::captain;
use crate::core::confirm::{Confirm, Question, Refusal};
use crate::core::effect::Direction;
use crate::core::intent::{OnTrain, Target, Want};
use crate::core::object::{ObjectKind, ObjectRef};
use crate::core::order::{Reach, layers};
use crate::core::snapshot::{FlagView, Link, ServiceView, Snapshot, TrainPhase, Verdict, WriteMode};
use crate::core::text::Text;
use crate::core::verb::{FlagSetting, Seen};
use crate::core::workload::{UndoPath, Workload};

/// How far an order reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// This service alone.
    One,
    /// It and everything built on it that runs its new version.
    Downstream,
    /// All services of this wave and later ones.
    Wave(u32),
    /// All services.
    All,
}

/// What an order would do.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// What is ordered.
    pub want: Want,
    /// The service (or flag) it started from.
    pub subject: Text,
    /// How far it reaches.
    pub scope: Scope,
    /// How far it could reach, smallest first.
    pub scopes: Vec<Scope>,
    /// On what; each layer at once, the next when the one before is read back.
    pub layers: Vec<Vec<Target>>,
    /// Objects beside the targets that may be changed too (the Deployment that a Rollout refers to).
    pub also: Vec<ObjectRef>,
    /// How it must be confirmed.
    pub level: Confirm,
    /// True when a reason must be given.
    pub reason: bool,
    /// Which way it moves traffic.
    pub direction: Direction,
    /// Heading of the dialog.
    pub title: Text,
    /// What it would do, line by line.
    pub lines: Vec<(Role, Text)>,
    /// What the train's Release gets, where a train governs.
    pub on: Option<OnTrain>,
}

impl Plan {
    /// True when the other would do the same: same targets, same order. Weights may differ.
    pub fn same_targets(&self, other: &Self) -> bool {
        let names = |plan: &'_ Self| -> Vec<Vec<(Text, Option<ObjectRef>)>> {
            plan.layers.iter().map(|l| l.iter().map(|t| (t.name.clone(), t.object.clone())).collect()).collect()
        };
        let asked = (&self.want, &self.level, &self.also) == (&other.want, &other.level, &other.also);
        // What an undo takes back, and in which order, stands in its lines.
        let undone = self.on.is_none() || self.want != Want::Undo || self.lines == other.lines;
        asked && names(self) == names(other) && self.on == other.on && undone
    }

    /// The question about exactly these targets.
    pub fn question(&self) -> Question {
        let objects = self.layers.iter().flatten().filter_map(|t| t.object.clone());
        let targets = objects.chain(self.also.iter().cloned()).collect();
        Question { level: self.level.clone(), direction: self.direction, targets }
    }
}

/// What a plan is worked out from.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The newest state, even while the display is frozen.
    pub snapshot: &'a Snapshot,
    /// True while the display is frozen.
    pub frozen: bool,
    /// The value a flag had when it was first seen, by key.
    pub flags_before: &'a BTreeMap<Text, Text>,
    /// Now.
    pub now: Timestamp,
    /// For status words.
    pub glyphs: &'a Glyphs,
    /// For hints that name a key.
    pub keymap: &'a KeyMap,
}

fn refuse<T>(why: Text, hint: &str) -> Result<T, Refusal> {
    Err(Refusal { why, hint: Text::scrub(hint), already: false })
}

/// Works out what `want` on `subject` would do.
pub fn plan(sight: &Sight<'_>, want: &Want, subject: &str, scope: Option<Scope>) -> Result<Plan, Refusal> {
    if let Some(ordering) = ordering(sight, want, subject, scope) {
        return of_train(sight, want, subject, scope, ordering);
    }
    match want {
        Want::Flag { key, source, setting } => flag(sight, key, source, *setting),
        Want::Depart => departure(sight),
        _ => verb(sight, want, subject, scope),
    }
}

/// Why a verb would be refused on one service, as far as the snapshot tells; none when it would not. Cheap: for hints.
pub fn refused(sight: &Sight<'_>, want: &Want, subject: &str) -> Option<Refusal> {
    let service = sight.snapshot.services.iter().find(|x| x.name == *subject)?;
    if let Some(ordering) = ordering(sight, want, subject, None) {
        return ordering.and_then(|o| gate(sight, o.direction)).err();
    }
    gate(sight, want.direction()).and_then(|()| applies(sight, want, service)).err()
}

/// What stands against any order of this direction, whatever it is aimed at.
fn gate(sight: &Sight<'_>, direction: Direction) -> Result<(), Refusal> {
    let s = sight.snapshot;
    let key = |action| sight.keymap.hint(action);
    if s.place.write == WriteMode::ReadOnly {
        return refuse(crate::text!("read-only: nothing is changed from here"), "open it without --read-only");
    }
    match &s.link {
        Link::Connecting => return refuse(crate::text!("not connected yet"), "wait for the first answer"),
        // Why it is old stands above; here is the room for what can be done.
        Link::Stale(_) | Link::Down(_) if direction == Direction::Forward => {
            return refuse(
                "what is shown is old".into(),
                &format!("{} reads again; pause, abort and undo work now", key(Action::Reread)),
            );
        }
        _ => {}
    }
    if sight.frozen && direction == Direction::Forward {
        return refuse(
            crate::text!("the display is frozen"),
            &format!("{} shows what is now; pause, abort and undo work now", key(Action::Freeze)),
        );
    }
    if s.place.write == WriteMode::ReadOnlyByPattern && direction == Direction::Forward {
        return refuse(
            crate::text!("{} is read-only by its name", s.place.context),
            "open it by its name (--context), or with --write where your own list has it; pause, abort and undo can be armed",
        );
    }
    Ok(())
}

/// How far an order on a train reaches when nobody said: a hold and an undo mean the train.
fn train_scope(want: &Want, scope: Option<Scope>) -> Scope {
    scope.unwrap_or(match want {
        Want::Pause | Want::Undo => Scope::All,
        _ => Scope::One,
    })
}

/// What a verb is on the train that governs; none where none does.
fn ordering(
    sight: &Sight<'_>,
    want: &Want,
    subject: &str,
    scope: Option<Scope>,
) -> Option<Result<captain::Ordering, Refusal>> {
    let s = sight.snapshot;
    let train = s.active_train()?;
    let reach = reach(train_scope(want, scope), &Text::scrub(subject));
    captain::order(train, want, &reach, &s.services, &s.place)
}

/// The plan of an order on a train.
fn of_train(
    sight: &Sight<'_>,
    want: &Want,
    subject: &str,
    scope: Option<Scope>,
    ordering: Result<captain::Ordering, Refusal>,
) -> Result<Plan, Refusal> {
    let ordering = ordering?;
    gate(sight, ordering.direction)?;
    let s = sight.snapshot;
    let subject = Text::scrub(subject);
    let scope = train_scope(want, scope);
    let mut scopes = vec![scope];
    if *want == Want::Undo
        && let Some(train) = s.active_train()
    {
        let wave = s.services.iter().find(|x| x.name == subject).and_then(|x| x.wave);
        let all = [Some(Scope::One), Some(Scope::Downstream), wave.map(Scope::Wave), Some(Scope::All)];
        let works = |c: &Scope| {
            *c == scope
                || captain::order(train, want, &reach(*c, &subject), &s.services, &s.place).is_some_and(|r| r.is_ok())
        };
        scopes = all.into_iter().flatten().filter(works).collect();
    }
    let lines = ordering.lines.into_iter().map(|(warn, line)| (if warn { Role::Warn } else { Role::Text }, line));
    Ok(Plan {
        want: want.clone(),
        layers: vec![vec![Target { name: subject.clone(), object: None, seen: None }]],
        subject,
        scope,
        scopes,
        also: ordering.targets,
        level: ordering.level,
        reason: ordering.reason,
        direction: ordering.direction,
        title: ordering.title,
        lines: lines.collect(),
        on: Some(ordering.on),
    })
}

fn verb(sight: &Sight<'_>, want: &Want, subject: &str, scope: Option<Scope>) -> Result<Plan, Refusal> {
    let s = sight.snapshot;
    let direction = want.direction();
    gate(sight, direction)?;
    let Some(service) = s.services.iter().find(|x| x.name == *subject) else {
        return refuse(
            crate::text!("no service {subject} here"),
            "select one, or name it: the command line completes names",
        );
    };
    let scopes = scopes(sight, want, service);
    let scope = scope.filter(|c| scopes.contains(c)).unwrap_or(match (want, scopes.as_slice()) {
        (Want::Undo, [_, second, ..]) if *second == Scope::Downstream => Scope::Downstream,
        _ => Scope::One,
    });
    let reach = reach(scope, &service.name);
    let layers = layers(s, want, &reach);
    let members: Vec<&ServiceView> = layers.iter().flatten().copied().collect();
    if members.is_empty() {
        return refuse(crate::text!("nothing here to {}", want.name()), "nothing runs a new version");
    }
    if scope == Scope::One {
        applies(sight, want, service)?;
    }
    let verdict = service.verdict;
    let override_gate = *want == Want::Promote && matches!(verdict, Some(Verdict::Inconclusive | Verdict::NoData));
    let level = want.level(&reach, &s.place, s.release.as_ref(), None);
    let mut lines = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        for &member in layer {
            lines.push(line(sight, want, member, (layers.len() > 1).then_some(n + 1)));
        }
    }
    if want.direction() == Direction::Forward && *want != Want::Resume {
        lines.push((Role::Dim, crate::text!("by hand, on your word: UNVERIFIED by any check of the release")));
    }
    if override_gate {
        lines.push((Role::Warn, crate::text!("its gate did not pass; going on is your decision and is recorded")));
    }
    if *want == Want::PromoteFull {
        lines.push((Role::Warn, crate::text!("skips the remaining gates; abort works only when all pods are healthy")));
    }
    for member in &members {
        if let (Some(owner), Want::Undo | Want::Start | Want::Restart) =
            (member.workload.as_ref().and_then(|w| w.owner.as_ref()), want)
        {
            lines.push((Role::Warn, crate::text!("{}: {owner} may revert this change", member.name)));
        }
    }
    let targets = layers
        .iter()
        .map(|l| {
            l.iter()
                .map(|m| Target {
                    name: m.name.clone(),
                    object: Some(m.id.clone()),
                    seen: m.workload.as_deref().map(Seen::of),
                })
                .collect()
        })
        .collect();
    let what = match scope {
        Scope::One => crate::text!("{} {}", want.name(), service.name),
        Scope::Downstream => crate::text!("{} {} and what is built on it", want.name(), service.name),
        Scope::Wave(w) => crate::text!("{} wave {w} and later", want.name()),
        Scope::All => crate::text!("{} everything that moved", want.name()),
    };
    Ok(Plan {
        want: want.clone(),
        subject: service.name.clone(),
        scope,
        scopes,
        also: members.iter().flat_map(|m| m.also.iter().cloned()).collect(),
        layers: targets,
        level,
        reason: override_gate || *want == Want::PromoteFull,
        direction,
        title: what,
        lines,
        on: None,
    })
}

/// Why this verb does nothing on this service, as far as the snapshot tells.
fn applies(sight: &Sight<'_>, want: &Want, service: &ServiceView) -> Result<(), Refusal> {
    let name = &service.name;
    let Some(w) = &service.workload else {
        return refuse(crate::text!("{name}: there is no such object in the cluster"), "see :doctor, or the events");
    };
    if let Want::TakeOver | Want::Accept(_) | Want::Depart = want {
        return refuse(crate::text!("no train governs {name}"), "a train is recorded with footplate start");
    }
    let kind = status::of(service, sight.glyphs).kind;
    let key = |action| sight.keymap.hint(action);
    match want {
        Want::Pause if w.held => Err(Refusal {
            why: crate::text!("{name} is held already"),
            hint: crate::text!("{} resumes it", key(Action::Resume)),
            already: true,
        }),
        Want::Resume if !w.held => refuse(
            crate::text!("{name} is not held"),
            &format!("{} approves a pause of its own steps", key(Action::Promote)),
        ),
        Want::Promote if service.verdict == Some(Verdict::Fail) => {
            let hint = format!("{} takes traffic back, {} undoes", key(Action::Abort), key(Action::Undo));
            refuse(crate::text!("{name}: its gate fails"), &hint)
        }
        Want::Promote if w.pause.is_none() || w.held => {
            let hint = format!("{} works while a step waits", key(Action::Promote));
            refuse(crate::text!("{name} waits for nothing that could be approved"), &hint)
        }
        Want::PromoteFull | Want::Abort if !status::in_flight(service) || kind == Kind::Well => {
            let hint = format!("{} takes a finished service back", key(Action::Undo));
            refuse(crate::text!("{name} is not in flight"), &hint)
        }
        Want::Abort if w.aborted => Err(Refusal {
            why: crate::text!("{name} is aborted already"),
            hint: crate::text!("{} restores the template, {} tries again", key(Action::Undo), key(Action::Retry)),
            already: true,
        }),
        Want::Retry if !w.aborted => refuse(
            crate::text!("{name} was not aborted"),
            &format!("{} works after {}", key(Action::Retry), key(Action::Abort)),
        ),
        Want::Start if service.pinned.is_none() => {
            refuse(crate::text!("{name}: no version is pinned"), "open the cockpit with a release.yaml")
        }
        Want::Start if service.train_phase != TrainPhase::Waiting && service.train_phase != TrainPhase::Undone => {
            refuse(crate::text!("{name} runs its pinned version, or is on the way"), "nothing to start")
        }
        Want::Undo => match &w.undo {
            UndoPath::NotNeeded => {
                refuse(crate::text!("{name}: nothing to go back from"), "it runs what it ran before")
            }
            UndoPath::NotReady(why) => refuse(
                crate::text!("{name} cannot be undone: {why}"),
                &format!("{} takes traffic back", key(Action::Abort)),
            ),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn scopes(sight: &Sight<'_>, want: &Want, service: &ServiceView) -> Vec<Scope> {
    let mut out = vec![Scope::One];
    if !matches!(want, Want::Undo | Want::Pause | Want::Abort) {
        return out;
    }
    let count = |scope| layers(sight.snapshot, want, &reach(scope, &service.name)).iter().map(Vec::len).sum::<usize>();
    let mut last = 1;
    let mut offer = |scope, out: &mut Vec<Scope>| {
        let n = count(scope);
        if n > last {
            last = n;
            out.push(scope);
        }
    };
    if *want == Want::Undo {
        offer(Scope::Downstream, &mut out);
        if let Some(wave) = service.wave {
            offer(Scope::Wave(wave), &mut out);
        }
    }
    offer(Scope::All, &mut out);
    out
}

/// The reach that a choice means for a service.
fn reach(scope: Scope, service: &Text) -> Reach {
    match scope {
        Scope::One => Reach::One(service.clone()),
        Scope::Downstream => Reach::Downstream(service.clone()),
        Scope::Wave(wave) => Reach::Wave(wave),
        Scope::All => Reach::All,
    }
}

/// What would happen to one service.
fn line(sight: &Sight<'_>, want: &Want, service: &ServiceView, step: Option<usize>) -> (Role, Text) {
    let unknown = "unknown";
    let to = sight.glyphs.to;
    let (old, new) = status::versions(service);
    let (old, new) = (old.unwrap_or(unknown), new.unwrap_or(unknown));
    let name = &service.name;
    let weight = |w: &Workload| status::actual(w).map_or(String::new(), |n| format!(", {n} % of traffic now"));
    let w = service.workload.as_deref();
    let at = w.map_or(String::new(), weight);
    let step = step.map_or(String::new(), |n| format!("{n}. "));
    let text = match want {
        Want::Start => crate::text!("{step}{name}: {old} {to} {new}"),
        Want::Undo => {
            let (speed, role) = match w.map(|w| &w.undo) {
                Some(UndoPath::ToStable) => ("at once, its old pods still run".to_owned(), Role::Text),
                Some(UndoPath::Window) => ("fast".to_owned(), Role::Text),
                Some(UndoPath::Slow) => ("SLOW: restores the template, then promotes it".to_owned(), Role::Warn),
                Some(UndoPath::NotReady(why)) => (format!("NOT READY: {why}"), Role::Bad),
                _ => ("nothing to go back from".to_owned(), Role::Dim),
            };
            let running = w.and_then(|w| w.version.as_deref()).unwrap_or(unknown);
            let undo_to = w.and_then(|w| w.undo_to.as_ref());
            let back_to = undo_to.and_then(|u| u.version.as_deref()).unwrap_or("what was live before");
            let (guess, role) = match undo_to {
                Some(u) if !u.known => (" (a guess: never seen live)", Role::Warn),
                _ => ("", role),
            };
            return (role, crate::text!("{step}{name}: {running} {to} {back_to}{guess}{at}; {speed}"));
        }
        Want::Abort => crate::text!("{step}{name}: all traffic back to {old}{at}"),
        Want::Promote => {
            let after = w
                .and_then(|w| Some((w.step?, w.steps?)))
                .map_or(String::new(), |(k, n)| format!(": from step {k}/{n} to {}/{n}", (k + 1).min(n)));
            crate::text!("{step}{name} {new}{after}{at}")
        }
        Want::PromoteFull => crate::text!("{step}{name}: {new} to 100 %{at}"),
        Want::Resume => {
            let who = w.map(|w| w.held_by.clone()).filter(|h| !h.is_empty());
            let who = who.map_or(String::new(), |h| format!(" (held by {h})"));
            crate::text!("{step}{name} {new} goes on{at}{who}")
        }
        Want::Retry => crate::text!("{step}{name}: {new} again, from its first step"),
        Want::Restart => crate::text!("{step}{name}: all pods of {new} one after another"),
        Want::Pause | Want::Flag { .. } | Want::Accept(_) | Want::TakeOver | Want::Depart => {
            crate::text!("{step}{name} stays where it is{at}")
        }
    };
    (Role::Text, text)
}

/// A train of everything that the release names, wave by wave.
fn departure(sight: &Sight<'_>) -> Result<Plan, Refusal> {
    let s = sight.snapshot;
    gate(sight, Direction::Forward)?;
    let Some(release) = &s.release else {
        return refuse("no release is open".into(), "open the cockpit with a release.yaml");
    };
    let Some(environment) = &s.place.environment else {
        return refuse("a train needs an environment".into(), "open the cockpit with --env");
    };
    if let Some(why) = s.gap(ObjectKind::Release) {
        return refuse(
            crate::text!("trains cannot be recorded here: {}", why.why),
            "footplate install | kubectl apply -f -",
        );
    }
    let mut waves: BTreeMap<u32, Vec<&ServiceView>> = BTreeMap::new();
    for service in s.services.iter().filter(|x| x.pinned.is_some()) {
        waves.entry(service.wave.unwrap_or(0)).or_default().push(service);
    }
    let mut lines = Vec::new();
    let steps: Vec<&str> = s.expand.iter().map(|(name, _)| name.as_str()).collect();
    if !steps.is_empty() {
        lines.push((Role::Warn, crate::text!("expand: {}; only its own way back takes that back", steps.join(", "))));
    }
    for (wave, services) in &waves {
        let named = |x: &&ServiceView| format!("{} {}", x.name, x.pinned.as_deref().unwrap_or_default());
        let each: Vec<String> = services.iter().map(named).collect();
        // An expand wave is 0, else the first is 1.
        let number = if s.expand.is_empty() { wave + 1 } else { *wave };
        lines.push((Role::Text, crate::text!("wave {number}: {}", each.join(", "))));
    }
    lines.push((
        Role::Dim,
        "its pre-flight comes first; then it goes on by itself, and back by itself where a gate fails".into(),
    ));
    let target = |x: &&ServiceView| Target { name: x.name.clone(), object: Some(x.id.clone()), seen: None };
    let level = if s.place.protected { Confirm::Type(environment.clone()) } else { Confirm::Yes };
    Ok(Plan {
        want: Want::Depart,
        subject: Text::default(),
        scope: Scope::All,
        scopes: vec![Scope::All],
        layers: waves.values().map(|services| services.iter().map(target).collect()).collect(),
        also: Vec::new(),
        level,
        reason: false,
        direction: Direction::Forward,
        title: crate::text!("start the train {release} in {environment}"),
        lines,
        on: None,
    })
}

fn flag(sight: &Sight<'_>, key: &Text, source: &Text, setting: FlagSetting) -> Result<Plan, Refusal> {
    let s = sight.snapshot;
    let Some(flag) = s.flags.iter().find(|f| f.key == *key && (source.is_empty() || f.source == *source)) else {
        return refuse(crate::text!("no flag {key} here"), "the flags pane lists them");
    };
    let value = setting_text(setting);
    let back = sight.flags_before.get(key).is_some_and(|v| *v == *value) && flag.now.as_deref() != Some(&value);
    let direction = if back { Direction::Safe } else { Direction::Forward };
    gate(sight, direction)?;
    if flag.now.as_deref() == Some(&value) {
        return Err(Refusal {
            why: crate::text!("{key} is {value} already"),
            hint: Text::scrub("nothing to do"),
            already: true,
        });
    }
    let typed = !back || s.place.write == WriteMode::ReadOnlyByPattern;
    let now = flag.now.as_deref().unwrap_or("unknown");
    let mut lines = vec![(Role::Text, crate::text!("{key}: {now} {} {value}", sight.glyphs.to))];
    lines.push((Role::Dim, crate::text!("in {}", flag.source)));
    if !flag.services.is_empty() {
        let names: Vec<&str> = flag.services.iter().map(|n| &**n).collect();
        lines.push((Role::Text, crate::text!("read by {}", names.join(", "))));
    }
    if !back {
        lines.push((Role::Dim, crate::text!("by hand, on your word: UNVERIFIED by any check of the release")));
    }
    Ok(Plan {
        want: Want::Flag { key: key.clone(), source: flag.source.clone(), setting },
        subject: key.clone(),
        scope: Scope::One,
        scopes: vec![Scope::One],
        layers: vec![vec![Target { name: key.clone(), object: object_of(flag), seen: None }]],
        also: Vec::new(),
        level: if typed { Confirm::Type(key.clone()) } else { Confirm::Yes },
        reason: false,
        direction,
        title: crate::text!("set flag {key} to {value}"),
        lines,
        on: None,
    })
}

fn object_of(flag: &FlagView) -> Option<ObjectRef> {
    flag.object.clone()
}

/// A setting as the snapshot writes it.
pub fn setting_text(setting: FlagSetting) -> String {
    match setting {
        FlagSetting::On => "on".to_owned(),
        FlagSetting::Off => "off".to_owned(),
        FlagSetting::Percent(p) => format!("{p} %"),
    }
}
