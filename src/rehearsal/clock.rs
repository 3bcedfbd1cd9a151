//! What makes the simulated cluster's time pass. One driver for all: virtual time is a start plus tokio's time, times the
//! speed. On a runtime with its time paused tokio jumps from timer to timer as soon as nobody has work: that is `--speed
//! max`, and it is deterministic. Nothing here knows what happens in the world.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::world::World;
use crate::ports::{Clock, Fut};

/// When a rehearsal begins unless it is told otherwise: a Wednesday, 3 p.m. in Berlin.
pub const WEDNESDAY: &str = "2025-10-01T13:00:00Z";

/// The time of [`WEDNESDAY`].
pub fn wednesday() -> Timestamp {
    WEDNESDAY.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The rehearsal's clock: wall clock and monotonic clock of everybody in it.
#[derive(Clone, Copy, Debug)]
pub struct RehearsalClock {
    start: Timestamp,
    began: Instant,
    speed: f64,
}

impl RehearsalClock {
    /// A clock that shows `start` now and runs `speed` times as fast as tokio's. A speed that is no positive number
    /// counts as 1.
    pub fn new(start: Timestamp, speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self { start, began: Instant::now(), speed }
    }

    /// When tokio's clock shows what this one calls `at`; never early.
    fn instant(&self, at: Timestamp) -> Instant {
        let virtual_wait = at.duration_since(self.start).as_secs_f64().max(0.0);
        // Tokio's timers have milliseconds.
        let real = (virtual_wait / self.speed * 1000.0).ceil() / 1000.0;
        self.began + Duration::try_from_secs_f64(real).unwrap_or(Duration::from_secs(86_400))
    }
}

impl Clock for RehearsalClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.monotonic()).unwrap_or(SignedDuration::ZERO);
        self.start.saturating_add(passed).unwrap_or(self.start)
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed().mul_f64(self.speed)
    }

    fn pace(&self) -> f64 {
        self.speed
    }

    fn sleep(&self, duration: Duration) -> Fut<'_, ()> {
        // Tokio's timers have milliseconds, and never end early.
        let real = Duration::try_from_secs_f64(duration.as_secs_f64() / self.speed);
        Box::pin(tokio::time::sleep(real.unwrap_or(Duration::MAX)))
    }
}

/// The world, shared between its driver and whoever keeps the score. The lock is never held across an await.
#[derive(Clone, Debug)]
pub struct SharedWorld(Arc<Mutex<World>>);

impl SharedWorld {
    /// Shares a world.
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Locks it; a panic of another holder leaves it usable.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the world run by a clock until the future is dropped. It wakes when something is due, or when a client has
/// changed something.
pub async fn drive(world: SharedWorld, clock: RehearsalClock) {
    let mut changed = world.lock().store().lock().subscribe();
    loop {
        // Seen before the world moves, so that a change made meanwhile wakes it again.
        changed.mark();
        let next = {
            let mut world = world.lock();
            world.advance(clock.now());
            world.next()
        };
        let wake = next.map_or_else(|| Instant::now() + Duration::from_secs(1), |at| clock.instant(at));
        tokio::select! {
            biased;
            () = changed.changed() => {}
            () = sleep_until(wake) => {}
        }
    }
}

/// Runs a future on a runtime of its own whose time is paused: as fast as it goes, and the same every time.
///
/// # Errors
/// The runtime cannot be built.
pub fn at_full_speed<F: Future>(future: F) -> std::io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::super::kinds;
    use super::super::scenario::Scenario;
    use super::*;

    fn events_of(seed: u64) -> String {
        let world = World::open(Scenario::named("green").unwrap(), seed, wednesday()).unwrap();
        let world = SharedWorld::new(world);
        at_full_speed(async {
            let clock = RehearsalClock::new(wednesday(), 1.0);
            let driven = drive(world.clone(), clock);
            let hand = async {
                tokio::time::sleep(Duration::from_millis(1_700)).await;
                world
                    .lock()
                    .store()
                    .lock()
                    .update(&kinds::ROLLOUT, "payments", "billing-api", |o| {
                        o["spec"]["template"]["spec"]["containers"][0]["image"] =
                            serde_json::json!("registry.example/payments/billing-api:2.8.0");
                    })
                    .unwrap();
                tokio::time::sleep(Duration::from_secs(120)).await;
                assert_eq!(clock.now(), wednesday() + SignedDuration::from_millis(121_700));
            };
            tokio::select! { () = driven => {}, () = hand => {} }
        })
        .unwrap();
        let world = world.lock();
        let store = world.store().lock();
        store.list(&kinds::EVENT, None).map(|e| e.to_string()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_same_seed_is_the_same_run() {
        let first = events_of(7);
        assert!(first.contains("RolloutCompleted") && first.contains("Completed all 7 canary steps"));
        assert_eq!(first, events_of(7));
        assert_ne!(first, events_of(8), "another seed is another run");
    }

    #[test]
    fn a_faster_clock_shows_more_time() {
        at_full_speed(async {
            let clock = RehearsalClock::new(wednesday(), 10.0);
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(clock.monotonic(), Duration::from_secs(30));
            assert_eq!(clock.now(), wednesday() + SignedDuration::from_secs(30));
            let later = wednesday() + SignedDuration::from_secs(60);
            assert_eq!(clock.instant(later) - Instant::now(), Duration::from_secs(3));
        })
        .unwrap();
    }
}
