//! The rehearsal cluster: a simulated cluster in process, behind the wire that a real one has. Here: what its parts
//! share. It never imports `core::train` or `core::gate`, so that what it simulates cannot agree with what it tests by
//! sharing code with it; it never reads the wall clock (time is [`store::Store::set_now`]) and draws randomness from
//! the store's seed alone: same seed and requests, same run.

pub mod api;
pub mod captain;
pub mod clock;
pub mod controllers;
pub mod faults;
pub mod gitops;
pub mod kinds;
pub mod prometheus;
pub mod promql;
pub mod refusal;
pub mod repo;
pub mod scenario;
pub mod score;
pub mod series;
pub mod serve;
pub mod signal;
pub mod store;
pub mod traffic;
pub mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::Store;

/// The one store, shared by API server, controllers and clock driver. The lock is never held across an await.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<Store>>);

impl Shared {
    /// Shares a store.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Mutex::new(store)))
    }

    /// Locks it. A panic of another holder leaves the store whole (each change is one assignment), so a poisoned lock
    /// is taken over.
    pub fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
