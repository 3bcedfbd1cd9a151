//! A rehearsal that is conducted: the train is recorded in the simulated cluster as in a real one, and the same conductor that
//! runs real trains brings it to its end. What it does there is scored by the simulator's own knowledge.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::depart::files;
use super::super::failure::{Failure, FailureKind};
use super::super::repository;
use super::damaged;
use crate::core::confirm::{Answer, Confirm, Order, Question};
use crate::core::effect::Direction;
use crate::core::elector::Pace;
use crate::core::object::Object;
use crate::core::release::Release;
use crate::core::text::Text;
use crate::core::train::Phase;
use crate::core::train::state::Ended;
use crate::engine::act::Driver;
use crate::engine::conduct::{self, Handle, Office, Say};
use crate::engine::depart::{self, Departure};
use crate::engine::look::look;
use crate::engine::run::{Place, Systems};
use crate::ports::{Fault, FaultKind, Fut, Post, Probe, Repo};
use crate::rehearsal::clock::SharedWorld;
use crate::rehearsal::repo::Embedded;
use crate::rehearsal::scenario::{During, Killed, Outcome};
use crate::text;

/// The environment of the embedded repository that rehearsals run in.
const ENVIRONMENT: &str = "dev";

/// How long a train must wait for a person before a rehearsal ends with that at which there is none.
pub(super) const PERSON_AFTER: Duration = Duration::from_secs(20);

/// How often the train is looked at when nothing changed.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Nobody outside listens to a rehearsal.
struct Nobody;

impl Post for Nobody {
    fn post<'a>(&'a self, _: &'a str, _: &'a Value) -> Fut<'a, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Probe for Nobody {
    fn get<'a>(&'a self, address: &'a str) -> Fut<'a, Result<u16, Fault>> {
        Box::pin(std::future::ready(Err(Fault {
            kind: FaultKind::Unreachable,
            what: text!("check {address}"),
            why: "a rehearsal reaches nothing outside".into(),
            hint: "leave synthetic checks out of what is rehearsed".into(),
        })))
    }
}

/// How often a captain tries to record a train while the server is not well.
const TRIES: u32 = 30;

/// Records the train of the embedded release; a server that is not well is asked again.
pub(super) async fn record(place: &Place, systems: &Systems) -> Result<Release, Failure> {
    let mut tries = 0;
    let mut departure = None;
    loop {
        tries += 1;
        match try_to_record(place, systems, &mut departure).await {
            Err(_) if tries < TRIES => systems.clock.sleep(Duration::from_secs(2)).await,
            other => return other,
        }
    }
}

/// The departure of an earlier try is sent again: what landed although its answer was lost is found there, where another one
/// would be a second train.
async fn try_to_record(
    place: &Place,
    systems: &Systems,
    departure: &mut Option<Departure>,
) -> Result<Release, Failure> {
    let made = match departure.take() {
        Some(made) => made,
        None => prepare(place, systems).await?,
    };
    let object = send(place, systems, departure.insert(made)).await?;
    Release::read(&object, &place.cluster.identity().context, None).map_err(|unfit| damaged(unfit.why))
}

async fn prepare(place: &Place, systems: &Systems) -> Result<Departure, Failure> {
    let root = Embedded.open(None, None).map_err(|finding| damaged(finding.message))?;
    let repository = repository::read(&root, Some(ENVIRONMENT), &Embedded)
        .map_err(|findings| damaged(text!("{} findings in its own files", findings.count().0)))?;
    let environment = repository.environment.clone().ok_or_else(|| damaged("it has no environment"))?;
    let now = systems.clock.now();
    let world = look(&*place.cluster, &place.scope, now).await?;
    let order = Order { who: "scripted captain".into(), when: now, why: "a rehearsal".into() };
    let files = files(&repository, &root, &Embedded).map_err(damaged)?;
    depart::prepare(&*place.cluster, &place.scope, &world, &repository, &environment, &files, &order).await.map_err(
        |wrong| {
            let mut failure = Failure::new(FailureKind::No, "the rehearsal's train cannot set off", "");
            failure.causes = wrong;
            failure
        },
    )
}

async fn send(place: &Place, systems: &Systems, departure: &Departure) -> Result<Object, Failure> {
    let targets = departure.targets(&place.cluster.identity().context);
    let question = Question { level: Confirm::Yes, direction: Direction::Forward, targets };
    let confirmed = question.answer(&Answer::Yes, systems.clock.now()).map_err(|refusal| damaged(refusal.why))?;
    let driver = Driver {
        cluster: Arc::clone(&place.cluster),
        clock: Arc::clone(&systems.clock),
        journal: Arc::clone(&systems.journal),
        write: place.scope.place.write,
        cluster_uid: None,
    };
    Ok(depart::record(&driver, departure, &confirmed, None).await?)
}

/// Who conducts: one, and somebody who stands by where that one is going to die.
pub(super) fn conductors(
    killed: Option<Killed>,
    place: &Place,
    systems: &Systems,
    release: &Release,
) -> Vec<(&'static str, Handle)> {
    let seats = if killed.is_some() { &["conductor-1", "conductor-2"][..] } else { &["conductor-1"] };
    seats.iter().map(|me| (*me, conductor(place, systems, release, me))).collect()
}

/// A conductor on the simulated cluster.
fn conductor(place: &Place, systems: &Systems, release: &Release, me: &str) -> Handle {
    let metrics = place.metrics.clone();
    conduct::start(Office {
        cluster: Arc::clone(&place.cluster),
        namespace: place.scope.place.namespace.clone(),
        me: Text::scrub(me),
        write: place.scope.place.write,
        clock: Arc::clone(&systems.clock),
        journal: Arc::clone(&systems.journal),
        metrics: Arc::new(move |_| metrics.clone()),
        flag_file: None,
        post: Arc::new(Nobody),
        probe: Arc::new(Nobody),
        pace: Pace::default(),
        only: Some(release.uid.clone()),
    })
}

/// Waits for the end of the train; none when nobody is left who conducts it. Where the one who conducts is to die, the train must
/// not end before. One that waits for a person for this long has ended with that.
pub(super) async fn follow(
    mut conductors: Vec<(&str, Handle)>,
    killed: Option<Killed>,
    place: &Place,
    systems: &Systems,
    world: &SharedWorld,
    release: &Release,
    patience: Duration,
) -> Result<Option<(Outcome, Text)>, Failure> {
    let mut waits_since = None;
    let mut dies = killed;
    let mut dies_at = None;
    let end = loop {
        for (who, conductor) in &mut conductors {
            while let Ok(line) = conductor.lines.try_recv() {
                tell(systems, who, line).await;
            }
        }
        let now = systems.clock.monotonic();
        // Who stands by knows the train by its Release alone.
        let mut at_work = conductors.iter().position(|(_, c)| c.views.borrow().conducts).unwrap_or(0);
        if dies_at.is_some_and(|at| now >= at) {
            let (who, conductor) = conductors.remove(at_work);
            // As a process dies: nothing is said, nothing is given back; what is on its way to the server lands or does not.
            conductor.ended.abort();
            let _ = conductor.ended.await;
            world.lock().killed();
            tell(systems, who, text!("is killed")).await;
            (dies_at, at_work) = (None, 0);
        }
        let Some((_, conductor)) = conductors.get_mut(at_work) else { break None };
        let view = conductor.views.borrow_and_update().clone();
        if let Some(train) = &view.train {
            if dies.is_some_and(|dies| during(train.phase) == Some(dies.during)) {
                dies_at = dies.take().map(|dies| now + Duration::try_from_secs_f64(dies.after_s).unwrap_or_default());
            }
            if let Some(ended) = train.ended {
                break Some(match ended {
                    Ended::Completed => (Outcome::Completed, text!("the train is through")),
                    Ended::RolledBack => (Outcome::RolledBack, text!("everything is as it was")),
                    Ended::Refused => {
                        (Outcome::NeedsPerson, text!("the pre-flight refused it: {}", train.against.join("; ")))
                    }
                });
            }
            if train.waits_for_person() {
                let since = *waits_since.get_or_insert(now);
                if now.saturating_sub(since) >= patience {
                    break Some((Outcome::NeedsPerson, text!("{}: {}", train.waits, train.people.join("; "))));
                }
            } else {
                waits_since = None;
            }
        }
        let wait = dies_at.map_or(LOOKS_EVERY, |at| at.saturating_sub(now).min(LOOKS_EVERY));
        tokio::select! {
            biased;
            changed = conductor.views.changed() => if changed.is_err() { break None },
            () = systems.clock.sleep(wait) => {}
        }
    };
    for (_, conductor) in conductors {
        let _ = conductor.say.send(Say::Leave).await;
        let _ = conductor.ended.await;
    }
    note(place, world, release).await;
    if dies.is_some() || dies_at.is_some() {
        return Err(damaged("the train ended before its conductor died"));
    }
    Ok(end)
}

/// What a conductor says goes to the journal.
async fn tell(systems: &Systems, who: &str, line: Text) {
    let at = systems.clock.now().to_string();
    let _ = systems.journal.append(serde_json::json!({"at": at, "what": "conductor", "who": who, "says": line})).await;
}

/// What the scenarios call what a train does.
fn during(phase: Phase) -> Option<During> {
    match phase {
        Phase::Rolling => Some(During::Rolling),
        Phase::Undoing => Some(During::Undoing),
        _ => None,
    }
}

/// Tells the score when the conductor found it and when it decided, as the Release says.
async fn note(place: &Place, world: &SharedWorld, release: &Release) {
    let Ok(Some(object)) = place.cluster.read(&release.id).await else { return };
    let Ok(now) = Release::read(&object, &release.id.cluster, Some(release)) else { return };
    let Some(status) = &now.status else { return };
    let mut world = world.lock();
    if let Some(at) = status.detected {
        world.detected(at);
    }
    if let Some(at) = status.decided {
        world.decided(at);
    }
}
