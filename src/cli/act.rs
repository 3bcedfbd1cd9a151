//! The commands that act on services: start, pause, resume, promote, abort, retry, restart, undo. They choose, show what
//! would be done, have it confirmed, carry it out and say what came of it. What a verb does is `core::verb`'s.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;

use super::console::Console;
use super::depart::{self, Word};
use super::failure::{Failure, FailureKind};
use super::on_train::{self, Said, refused};
use super::ordering::{answer, ended_as, journal, who};
use super::place::{Strictness, Target as Goal, may_write, resolve};
use super::{Global, Wiring};

use crate::core::captain;
use crate::core::confirm::{Order, Question};
use crate::core::effect::Direction;
use crate::core::order::{Reach, Want, layers};
use crate::core::snapshot::{ServiceView, Snapshot};
use crate::core::text::Text;
use crate::core::verb::Seen;
use crate::core::workload::UndoPath;
use crate::engine::act::Driver;
use crate::engine::carry::{Errand, Said as Heard};
use crate::engine::gates::Moment;
use crate::engine::look::{look, look_at_trains, shown};
use crate::engine::order::{Ordered, Target};
use crate::engine::trains::of_one_look;

use crate::text;

/// Arguments of a command that acts.
#[derive(Args, Clone, Debug)]
pub struct ActArgs {
    /// The service [default: all that the command concerns]
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// The release manifest [default: release.yaml of this folder or its repository]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Answer a plain question with yes
    #[arg(short, long)]
    pub yes: bool,
    /// What must be typed: the train id, or without a train the name of what is changed
    #[arg(long, value_name = "ID")]
    pub confirm: Option<String>,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `promote`.
#[derive(Args, Clone, Debug)]
pub struct PromoteArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub act: ActArgs,
    /// Skip all remaining steps and gates
    #[arg(long)]
    pub full: bool,
}

/// Arguments of `undo`.
#[derive(Args, Clone, Debug)]
pub struct UndoArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub act: ActArgs,
    /// This wave and all later ones
    #[arg(long, value_name = "N", conflicts_with = "service")]
    pub wave: Option<u32>,
    /// This service alone, and not what is built on it
    #[arg(long, requires = "service")]
    pub only: bool,
}

impl UndoArgs {
    fn reach(&self) -> Reach {
        match (&self.act.service, self.wave) {
            (Some(service), _) if self.only => Reach::One(Text::scrub(service)),
            (Some(service), _) => Reach::Downstream(Text::scrub(service)),
            (None, Some(wave)) => Reach::Wave(wave),
            (None, None) => Reach::All,
        }
    }
}

/// Carries `undo` out.
pub async fn undo(args: &UndoArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    act(Want::Undo, args.reach(), &args.act, global, wiring, console).await
}

/// Carries `promote` out.
pub async fn promote(args: &PromoteArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let want = if args.full { Want::PromoteFull } else { Want::Promote };
    run(want, &args.act, global, wiring, console).await
}

/// Carries any other verb out.
pub async fn run(
    want: Want,
    args: &ActArgs,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> Result<(), Failure> {
    let reach = args.service.as_ref().map_or(Reach::All, |service| Reach::One(Text::scrub(service)));
    act(want, reach, args, global, wiring, console).await
}

async fn act(
    want: Want,
    reach: Reach,
    args: &ActArgs,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> Result<(), Failure> {
    let safe = want.direction() == Direction::Safe;
    let strictness = if safe { Strictness::May } else { Strictness::Must };
    let Goal { cluster, scope, .. } = resolve(args.manifest.as_deref(), strictness, global, wiring, console)?;
    may_write(&scope.place, want.direction(), want.name())?;
    if want == Want::PromoteFull && args.reason.as_deref().is_none_or(|r| r.trim().is_empty()) {
        let what = "a full promotion skips the remaining gates: it needs a reason";
        return Err(Failure::new(FailureKind::Input, what, "say why with --reason TEXT"));
    }
    let moment = Moment { wall: wiring.clock.now(), monotonic: wiring.clock.monotonic() };
    let (world, trains) = tokio::join!(look(&*cluster, &scope, moment.wall), look_at_trains(&*cluster, &scope, moment));
    if !trains.known() {
        let why = trains.gaps().into_iter().next().map(|gap| text!("{}", gap.trouble)).unwrap_or_default();
        console.talk(&format!("whether a train governs this cannot be told: {why}\n"));
    }
    let train = of_one_look(&trains, None, moment.monotonic).filter(|(release, _)| release.active());
    let world = world.map_err(|fault| {
        let Failure { kind, what, causes, hint } = Failure::from(fault);
        let subject = args.service.as_ref().map_or_else(Text::default, |service| text!(" {service}"));
        let causes = std::iter::once(what).chain(causes).collect();
        Failure { kind, what: text!("{}{subject}: nothing was done", want.name()), causes, hint }
    })?;
    let now = wiring.clock.now();
    let snapshot = shown(&world, now);
    if let Some((release, train)) = &train {
        let ordering = captain::order(train, &want, &reach, &snapshot.services, &scope.place);
        if let Some(ordering) = ordering {
            let ordering = ordering.map_err(refused)?;
            let word = Said { confirm: args.confirm.as_deref(), yes: args.yes, reason: args.reason.as_deref() };
            return on_train::order(release, ordering, &word, &cluster, &scope, wiring, console).await;
        }
    }
    // A start without a service is a start of the whole train: its record is made, and whoever conducts here takes it up.
    if want == Want::Start && reach == Reach::All && scope.place.environment.is_some() {
        let platform = depart::platform(args.manifest.as_deref(), "start", global, wiring, console)?;
        let word = Word { yes: args.yes, confirm: args.confirm.clone(), named: false, reason: args.reason.clone() };
        let release = depart::record(&platform, &word, args.manifest.as_deref(), global, wiring, console).await?;
        console.talk(
            "whoever conducts here takes it up: footplate conduct, a conductor in the cluster, or T in a cockpit\n",
        );
        return console.data(&format!("train {} is recorded as {}\n", release.frozen.resolved.id, release.id.name));
    }
    let chosen = choose(&want, &reach, &snapshot)?;
    let order = Order {
        who: who(&cluster.identity().user),
        when: now,
        why: Text::scrub(args.reason.as_deref().unwrap_or_default()),
    };
    for line in plan(&want, &chosen) {
        console.talk(&format!("{line}\n"));
    }
    let targets = chosen.iter().flatten().flat_map(|s| std::iter::once(s.id.clone()).chain(s.also.clone())).collect();
    let level = want.level(&reach, &scope.place, snapshot.release.as_ref(), None);
    let answer = answer(&level, args.confirm.as_deref(), args.yes);
    let question = Question { level, direction: want.direction(), targets };
    let confirmed =
        question.answer(&answer, now).map_err(|refusal| Failure::new(FailureKind::Input, refusal.why, refusal.hint))?;
    let target = |s: &&ServiceView| Target {
        name: s.name.clone(),
        object: Some(s.id.clone()),
        seen: s.workload.as_deref().map(Seen::of),
    };
    let layers = chosen.iter().map(|layer| layer.iter().map(target).collect()).collect();
    let ordered = Ordered { id: 0, want, layers, train: None, confirmed, order };
    let driver = Driver {
        cluster,
        clock: Arc::clone(&wiring.clock),
        journal: journal(wiring, safe, console),
        write: scope.place.write,
        cluster_uid: scope.cluster_uid.clone(),
    };
    carry_out(Errand::of(&ordered, &scope, &world), &driver, console).await
}

/// The services that are meant. None to act on is the answer no.
fn choose<'a>(want: &Want, reach: &Reach, snapshot: &'a Snapshot) -> Result<Vec<Vec<&'a ServiceView>>, Failure> {
    if let Reach::One(name) | Reach::Downstream(name) = reach
        && !snapshot.services.iter().any(|s| s.name == *name)
    {
        let known: Vec<&str> = snapshot.services.iter().map(|s| s.name.as_str()).collect();
        let place = &snapshot.place;
        let what = text!("there is no service {name} in {} of {}", place.namespace, place.context);
        let hint = if known.is_empty() {
            "check --namespace and --context".into()
        } else {
            text!("one of: {}", known.join(", "))
        };
        return Err(Failure::new(FailureKind::Input, what, hint));
    }
    if *reach == Reach::All && matches!(want, Want::Start | Want::Restart) {
        let what = text!("{} needs a service", want.name());
        return Err(Failure::new(FailureKind::Input, what, "name one; a train as a whole is started by a conductor"));
    }
    let chosen = layers(snapshot, want, reach);
    if chosen.is_empty() {
        let what = text!("nothing here to {}", want.name());
        return Err(Failure::new(FailureKind::No, what, "footplate status shows what every service is doing"));
    }
    let count = chosen.iter().map(Vec::len).sum::<usize>();
    if *reach == Reach::All && count > 1 && matches!(want, Want::Promote | Want::PromoteFull) {
        let names: Vec<&str> = chosen.iter().flatten().map(|s| s.name.as_str()).collect();
        let what = text!("several services wait: {}", names.join(", "));
        return Err(Failure::new(FailureKind::Input, what, "name the one to promote"));
    }
    Ok(chosen)
}

/// What would be done, line by line.
fn plan(want: &Want, chosen: &[Vec<&ServiceView>]) -> Vec<Text> {
    let mut lines = Vec::new();
    for (n, layer) in chosen.iter().enumerate() {
        for service in layer {
            let order = if chosen.len() > 1 { format!("{}. ", n + 1) } else { String::new() };
            let Some(w) = &service.workload else {
                lines.push(text!("{order}{} {}: {}", want.name(), service.name, service.waits_for));
                continue;
            };
            let version = w.version.as_deref().unwrap_or("an unknown version");
            let what = match want {
                Want::Start => text!("{version} -> {}", service.pinned.as_deref().unwrap_or("nothing pinned")),
                Want::Undo => {
                    let to = w.undo_to.as_ref();
                    let known = if to.is_some_and(|t| !t.known) { " (a guess: never seen live)" } else { "" };
                    let to = to.and_then(|t| t.version.as_deref()).unwrap_or("what was live before");
                    let how = match &w.undo {
                        UndoPath::Slow => text!("; SLOW: restores the template, then promotes it"),
                        UndoPath::NotReady(why) => text!("; NOT READY: {why}"),
                        _ => Text::default(),
                    };
                    text!("{version} -> {to}{known}{how}")
                }
                _ => text!("{version}, {:?}{}{}", w.phase, if w.reason.is_empty() { "" } else { ": " }, w.reason),
            };
            lines.push(text!("{order}{} {}: {what}", want.name(), service.name));
            if let (Some(owner), Want::Undo | Want::Start | Want::Restart) = (&w.owner, want) {
                lines.push(text!("   {owner} may revert this change"));
            }
        }
    }
    if want.direction() == Direction::Forward && *want != Want::Resume {
        lines.push("by hand, on your word: UNVERIFIED by any check of the release".into());
    }
    lines
}

async fn carry_out(errand: Errand, driver: &Driver, console: &Console) -> Result<(), Failure> {
    let heard = Mutex::new((Vec::new(), Text::default()));
    let tell = |said: Heard| {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            Heard::Doing((_, name), what) => {
                let line = text!("{name}: {what}");
                if !what.is_empty() && heard.1 != line {
                    console.talk(&format!("{line}\n"));
                    heard.1 = line;
                }
            }
            Heard::Ended(name, outcome) => heard.0.push((name, outcome)),
        }
    };
    errand.carry_out(driver, &tell).await;
    let (ended, _) = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut worst: Option<Failure> = None;
    for (name, outcome) in ended {
        let Err(failure) = ended_as(&name, outcome).and_then(|says| console.data(&says)) else { continue };
        // The worst is said last, by whoever ends the program; the others are said here.
        if let Some(before) = worst.replace(failure) {
            console.fail(&before);
        }
    }
    worst.map_or(Ok(()), Err)
}
