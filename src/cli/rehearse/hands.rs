//! Whose hands are on the keys of a rehearsal: the scripted captain's, or those of the person at the screen, who takes the
//! train with any key and gives it back with one. What the script orders is `rehearsal::captain`'s; how the screen says who
//! drives is the cockpit's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::core::confirm::{Answer, Confirm, Order, Question};
use crate::core::intent::{Intent as Ordered, Target};
use crate::core::object::ObjectRef;
use crate::core::snapshot::{EventView, Hand, Mode, ServiceView, Snapshot, Weight};
use crate::core::text::Text;
use crate::core::verb::Seen;
use crate::engine::order::Intent;
use crate::engine::run::Handle;
use crate::ports::Clock;
use crate::rehearsal::captain::{Captain, CaptainOrder, Move};
use crate::rehearsal::clock::{RehearsalClock, SharedWorld};
use crate::rehearsal::scenario::Outcome;
use crate::text;

/// How often the captain looks when nothing changed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who drives.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// Whose hands they are.
    pub hand: Hand,
    /// How the script ended, once it has.
    pub over: Option<EventView>,
}

/// Puts a script and a person before one engine. What comes back is the person's end; the rehearsal ends when it is let go.
/// With `script` false nobody but the person drives, ever.
pub(super) fn share(engine: Handle, world: SharedWorld, clock: Arc<RehearsalClock>, script: bool) -> Handle {
    let Handle { snapshots, intents, reports, ended } = engine;
    let (seat_out, seat) = watch::channel(Seat { hand: if script { Hand::Script } else { Hand::Person }, over: None });
    let (person, mut wanted) = mpsc::channel::<Intent>(64);
    let (shown, showing) = show(snapshots.clone(), seat.clone());
    let captain = {
        let (intents, seat_out, mut seat) = (intents.clone(), seat_out.clone(), seat.clone());
        tokio::spawn(async move {
            while seat.wait_for(|seat| seat.hand == Hand::Script).await.is_ok() {
                let end = conduct(snapshots.clone(), &intents, &world, &clock, seat.clone()).await;
                if let Some((result, why)) = end {
                    let text = text!("the script ended, {}: {why}", in_words(result));
                    let over = EventView { at: clock.now(), subject: Text::default(), text, weight: Weight::Act };
                    seat_out.send_replace(Seat { hand: Hand::Person, over: Some(over) });
                }
            }
        })
    };
    let ended = tokio::spawn(async move {
        while let Some(intent) = wanted.recv().await {
            match intent {
                Intent::Script { drives } if drives && !script => {}
                Intent::Script { drives } => {
                    let hand = if drives { Hand::Script } else { Hand::Person };
                    seat_out.send_if_modified(|seat| std::mem::replace(&mut seat.hand, hand) != hand);
                }
                other => {
                    if intents.send(other).await.is_err() {
                        break;
                    }
                }
            }
        }
        [captain, showing, ended].iter().for_each(tokio::task::JoinHandle::abort);
    });
    Handle { snapshots: shown, intents: person, reports, ended }
}

/// The snapshots as the seat changes them.
pub(super) fn show(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut seat: watch::Receiver<Seat>,
) -> (watch::Receiver<Arc<Snapshot>>, tokio::task::JoinHandle<()>) {
    let (out, shown) = watch::channel(seated(&snapshots.borrow(), &seat.borrow()));
    let showing = tokio::spawn(async move {
        loop {
            let more = tokio::select! {
                more = snapshots.changed() => more,
                more = seat.changed() => more,
            };
            if more.is_err() {
                return;
            }
            out.send_replace(seated(&snapshots.borrow_and_update(), &seat.borrow_and_update()));
        }
    });
    (shown, showing)
}

pub(super) fn in_words(result: Outcome) -> &'static str {
    match result {
        Outcome::Completed => "completed",
        Outcome::RolledBack => "rolled back",
        Outcome::NeedsPerson => "needs a person",
    }
}

/// The snapshot with who drives now, and how the script ended.
fn seated(snapshot: &Arc<Snapshot>, seat: &Seat) -> Arc<Snapshot> {
    let Mode::Rehearsal { scenario, seed, hand } = &snapshot.mode else { return Arc::clone(snapshot) };
    if *hand == seat.hand && seat.over.is_none() {
        return Arc::clone(snapshot);
    }
    let mut changed = Snapshot::clone(snapshot);
    changed.mode = Mode::Rehearsal { scenario: scenario.clone(), seed: *seed, hand: seat.hand };
    if let Some(over) = &seat.over {
        let at = changed.events.partition_point(|event| event.at <= over.at);
        let mut events = changed.events.to_vec();
        events.insert(at, over.clone());
        changed.events = events.into();
    }
    Arc::new(changed)
}

/// Lets the scripted captain drive to the end, from wherever the train is; none when a person takes it.
pub(super) async fn conduct(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    intents: &mpsc::Sender<Intent>,
    world: &SharedWorld,
    clock: &RehearsalClock,
    mut seat: watch::Receiver<Seat>,
) -> Option<(Outcome, Text)> {
    let mut captain = Captain::taking(&snapshots.borrow());
    let mut watched = Vec::new();
    let mut orders = 1_000_000;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let wanted = captain.watches(&snapshot);
        if wanted != watched {
            watched.clone_from(&wanted);
            intents.send(Intent::Watch(wanted)).await.ok()?;
        }
        loop {
            // Looked at before each order: not one more leaves once a person has taken the train.
            if seat.borrow_and_update().hand != Hand::Script {
                return None;
            }
            let Some(next) = captain.step(&snapshot) else { break };
            match next {
                Move::End { result, why } => return Some((result, why)),
                Move::Order(order) => {
                    if order.takes_back {
                        world.lock().decided(clock.now());
                    }
                    orders += 1;
                    if let Some(order) = confirmed(&order, &snapshot, orders, clock) {
                        intents.send(Intent::Order(Box::new(order))).await.ok()?;
                    }
                }
            }
        }
        tokio::select! {
            biased;
            moved = seat.changed() => moved.ok()?,
            changed = snapshots.changed() => changed.ok()?,
            () = clock.sleep(LOOK_EVERY) => {}
        }
    }
}

/// The captain's order as a person would give it: aimed at what is on the screen, confirmed as the ladder asks.
fn confirmed(given: &CaptainOrder, snapshot: &Snapshot, id: u64, clock: &RehearsalClock) -> Option<Ordered> {
    let find = |name: &Text| snapshot.services.iter().find(|s| s.name == *name);
    let flag = |name: &Text| snapshot.flags.iter().find(|f| f.key == *name);
    let target = |name: &Text| {
        let service: Option<&Arc<ServiceView>> = find(name);
        let object = service.map(|s| s.id.clone()).or_else(|| flag(name).and_then(|f| f.object.clone()));
        let seen = service.and_then(|s| s.workload.as_deref()).map(Seen::of);
        Target { name: name.clone(), object, seen }
    };
    let layers: Vec<Vec<Target>> = given.layers.iter().map(|l| l.iter().map(target).collect()).collect();
    let also = |name: &Text| find(name).map(|s| s.also.clone()).unwrap_or_default();
    let targets: Vec<ObjectRef> =
        given.layers.iter().flatten().flat_map(|name| target(name).object.into_iter().chain(also(name))).collect();
    let now = clock.now();
    let question = Question { level: Confirm::Yes, direction: given.want.direction(), targets };
    let confirmed = question.answer(&Answer::Yes, now).ok()?;
    let order = Order { who: "scripted captain".into(), when: now, why: given.why.clone() };
    Some(Ordered { id, want: given.want.clone(), layers, train: None, confirmed, order })
}
