//! `run`, `conduct` and `take-over`: a conductor without a screen. `run` records one train and brings it to its end; `conduct`
//! brings whatever is active to its end, for ever; `take-over` takes the present train from whoever has it. What a
//! conductor does is `engine::conduct`'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::console::Console;
use super::depart::{self, Word};
use super::failure::{Failure, FailureKind};
use super::ordering::{answer, journal};
use super::place::{Strictness, Target, may_write, resolve};
use super::{Global, Wiring};
use crate::core::confirm::{Confirm, Question};
use crate::core::effect::Direction;
use crate::core::elector::Pace;
use crate::core::object::ObjectRef;
use crate::core::text::Text;
use crate::core::train::state::Ended;
use crate::engine::conduct::{self, Handle, Office, Say, TrainView};
use crate::text;

/// How long a train must wait for a person, without traffic on a bad version, before `run` hands it over.
const PERSON_AFTER: Duration = Duration::from_secs(5);

/// Arguments of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// The release manifest
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Why; goes into the journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `conduct`.
#[derive(Args, Clone, Debug)]
pub struct ConductArgs {
    /// Times of the election, for tests of their own: Lease, renewal and retry in milliseconds
    #[arg(long, value_name = "MS,MS,MS", value_delimiter = ',', num_args = 3, hide = true)]
    pub pace: Option<Vec<u64>>,
}

/// Arguments of `take-over`.
#[derive(Args, Clone, Debug)]
pub struct TakeOverArgs {
    /// Answer the question with yes
    #[arg(short, long)]
    pub yes: bool,
}

/// What a conductor needs, of the real systems.
pub fn office(target: &Target, only: Option<Text>, pace: Pace, wiring: &Wiring, console: &Console) -> Office {
    let metrics = Arc::clone(&wiring.metrics);
    let (flag_file, folder) = (Arc::clone(&wiring.flag_file), target.folder.clone());
    Office {
        cluster: Arc::clone(&target.cluster),
        namespace: target.scope.place.namespace.clone(),
        me: me(wiring),
        write: target.scope.place.write,
        clock: Arc::clone(&wiring.clock),
        journal: journal(wiring, true, console),
        metrics: Arc::new(move |address| metrics(address).map_err(|fault| text!("{fault}"))),
        flag_file: Some(Arc::new(move |path| flag_file(&folder.join(path)))),
        post: Arc::clone(&wiring.post),
        probe: Arc::clone(&wiring.probe),
        pace,
        only,
    }
}

/// A name that no other process has: of one machine and person there may be several.
fn me(wiring: &Wiring) -> Text {
    let host = std::env::var("HOSTNAME").ok().filter(|h| !h.is_empty());
    let host = host.or_else(|| std::fs::read_to_string("/etc/hostname").ok().map(|h| h.trim().to_owned()));
    let now = wiring.clock.now().as_millisecond();
    text!("{}-{}-{:x}", host.unwrap_or_else(|| "footplate".to_owned()), std::process::id(), now & 0xff_ffff)
}

/// Runs one train to its end.
pub async fn run(args: &RunArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let platform = depart::platform(Some(&args.manifest), "run", global, wiring, console)?;
    let releases = depart::releases(&platform.target).await?;
    let sha = platform.target.repository.as_ref().map(|r| r.manifest_sha256.clone());
    let release = match depart::active(&releases) {
        Some(active) if Some(&active.frozen.manifest_sha256) == sha.as_ref() => {
            console.talk(&format!("goes on with {}, which is under way\n", active.id.name));
            active.clone()
        }
        Some(other) => {
            let what = text!("another train is under way: {} ({})", other.id.name, other.frozen.resolved.id);
            let hint = "let it end, or undo it: one train at a time in an environment";
            return Err(Failure::new(FailureKind::No, what, hint));
        }
        None => {
            let word = Word { named: true, reason: args.reason.clone(), ..Word::default() };
            depart::record(&platform, &word, Some(&args.manifest), global, wiring, console).await?
        }
    };
    console.talk(&format!("train {} is {}\n", release.frozen.resolved.id, release.id.name));
    let office = office(&platform.target, Some(release.uid.clone()), Pace::default(), wiring, console);
    follow(conduct::start(office), wiring, console).await
}

/// Conducts whatever is active, until it is told to stop.
pub async fn conduct(args: &ConductArgs, global: &Global, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let target = resolve(None, Strictness::May, global, wiring, console)?;
    may_write(&target.scope.place, Direction::Forward, "conduct")?;
    let pace = match args.pace.as_deref() {
        Some([duration, renew, retry]) if duration > renew && *renew > retry * 6 / 5 => {
            Pace { duration: *duration, renew: *renew, retry: *retry }
        }
        Some(_) => {
            let what = "the Lease must outlast the renewal, and that 1.2 retries";
            return Err(Failure::new(FailureKind::Input, what, "--pace 15000,10000,2000"));
        }
        None => Pace::default(),
    };
    // Asked once, so that a missing definition is an answer and no endless wait.
    depart::releases(&target).await?;
    let Handle { mut lines, say, ended, .. } = conduct::start(office(&target, None, pace, wiring, console));
    let place = &target.scope.place;
    console.talk(&format!("conducts what is active in {} of {}\n", place.namespace, place.context));
    let stop = stopped();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(line) => console.talk(&format!("{} {line}\n", stamp(wiring))),
                None => break,
            },
            () = &mut stop => {
                let _ = say.send(Say::Leave).await;
                break;
            }
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), ended).await;
    Ok(())
}

/// Takes the present train from whoever conducts it, and brings it to its end.
pub async fn take_over(
    args: &TakeOverArgs,
    global: &Global,
    wiring: &Wiring,
    console: &Console,
) -> Result<(), Failure> {
    let target = resolve(None, Strictness::May, global, wiring, console)?;
    may_write(&target.scope.place, Direction::Forward, "take-over")?;
    let releases = depart::releases(&target).await?;
    let Some(release) = depart::active(&releases) else {
        return Err(Failure::new(FailureKind::No, "no train is under way here", "footplate history shows what was"));
    };
    let by = release.status.as_ref().map(|s| s.conductor.clone()).unwrap_or_else(|| "nobody yet".into());
    console.talk(&format!("take {} ({}) over from {by}\n", release.id.name, release.frozen.resolved.id));
    let id: ObjectRef = release.id.clone();
    let question = Question { level: Confirm::Yes, direction: Direction::Forward, targets: vec![id] };
    let said = answer(&Confirm::Yes, None, args.yes);
    question
        .answer(&said, wiring.clock.now())
        .map_err(|refusal| Failure::new(FailureKind::Input, refusal.why, refusal.hint))?;
    let handle = conduct::start(office(&target, Some(release.uid.clone()), Pace::default(), wiring, console));
    let _ = handle.say.send(Say::Take).await;
    follow(handle, wiring, console).await
}

/// Says what happens until the train has ended, needs a person, or the process is told to stop.
async fn follow(handle: Handle, wiring: &Wiring, console: &Console) -> Result<(), Failure> {
    let Handle { mut views, mut lines, say, ended } = handle;
    let stop = stopped();
    tokio::pin!(stop);
    let mut waits_since = None;
    let mut trouble = Text::default();
    let outcome = loop {
        let view = views.borrow_and_update().clone();
        if view.trouble != trouble {
            trouble = view.trouble.clone();
            if !trouble.is_empty() {
                console.talk(&format!("{} {trouble}\n", stamp(wiring)));
            }
        }
        if let Some(train) = &view.train {
            if let Some(how) = train.ended {
                break ended_as(how, train);
            }
            let now = wiring.clock.monotonic();
            if train.waits_for_person() {
                let since = *waits_since.get_or_insert(now);
                if now.saturating_sub(since) >= PERSON_AFTER {
                    break Err(needs(train));
                }
            } else {
                waits_since = None;
            }
        }
        tokio::select! {
            biased;
            line = lines.recv() => match line {
                Some(line) => console.talk(&format!("{} {line}\n", stamp(wiring))),
                None => break Err(Failure::new(FailureKind::Outside, "the conductor ended", "")),
            },
            changed = views.changed() => {
                if changed.is_err() {
                    break Err(Failure::new(FailureKind::Outside, "the conductor ended", ""));
                }
            }
            () = wiring.clock.sleep(Duration::from_secs(1)) => {}
            () = &mut stop => {
                let what = "stopped; the train stays as it is";
                break Err(Failure::new(FailureKind::Person, what, "go on with footplate run, conduct or take-over"));
            }
        }
    };
    while let Ok(line) = lines.try_recv() {
        console.talk(&format!("{} {line}\n", stamp(wiring)));
    }
    let _ = say.send(Say::Leave).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), ended).await;
    match outcome {
        Ok(says) => console.data(&format!("{says}\n")),
        Err(failure) => Err(failure),
    }
}

fn ended_as(how: Ended, train: &TrainView) -> Result<Text, Failure> {
    match how {
        Ended::Completed => Ok(text!("completed: {} ({})", train.name, train.id)),
        Ended::RolledBack => {
            let what = text!("rolled back: {} ({})", train.name, train.id);
            Err(Failure::new(FailureKind::No, what, "footplate history and its journal say why"))
        }
        Ended::Refused => {
            let what = text!("{} ({}) did not set off", train.name, train.id);
            let mut failure = Failure::new(FailureKind::No, what, "mend this and run it again");
            failure.causes.clone_from(&train.against);
            Err(failure)
        }
    }
}

fn needs(train: &TrainView) -> Failure {
    let what = text!("{} ({}) needs a person: {}", train.name, train.id, train.waits);
    let hint = "answer in a cockpit, or with footplate resume, promote, retry or undo; footplate run goes on with it";
    let mut failure = Failure::new(FailureKind::Person, what, hint);
    failure.causes.clone_from(&train.people);
    failure
}

fn stamp(wiring: &Wiring) -> String {
    wiring.clock.now().strftime("%H:%M:%S").to_string()
}

/// Ends when the process is asked to.
pub async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = term.recv() => return,
            _ = int.recv() => return,
            // A terminal that went away does not stop a train (`train.md` §9).
            _ = hup.recv() => {}
        }
    }
}
