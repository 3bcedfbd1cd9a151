//! Tells all who wait that something has changed, in the order in which they began to wait. The runtime's own watch channel
//! wakes its receivers in an order drawn by chance; with it one seed would not be one run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Shared {
    version: AtomicU64,
    waiting: Notify,
}

/// The side that tells.
#[derive(Debug, Default)]
pub struct Signal(Arc<Shared>);

impl Signal {
    /// Tells that this is the newest version.
    pub fn set(&self, version: u64) {
        self.0.version.store(version, Ordering::Release);
        self.0.waiting.notify_waiters();
    }

    /// Somebody who has seen everything up to now.
    pub fn subscribe(&self) -> Seen {
        Seen { version: self.0.version.load(Ordering::Acquire), shared: Arc::clone(&self.0) }
    }
}

/// The side that waits.
#[derive(Clone, Debug)]
pub struct Seen {
    shared: Arc<Shared>,
    version: u64,
}

impl Seen {
    /// Everything up to now has been seen.
    pub fn mark(&mut self) {
        self.version = self.shared.version.load(Ordering::Acquire);
    }

    /// Ends when there is another version than the one seen, and has then seen it.
    pub async fn changed(&mut self) {
        loop {
            // Made before the version is looked at: a change in between is not missed.
            let told = self.shared.waiting.notified();
            let version = self.shared.version.load(Ordering::Acquire);
            if version != self.version {
                self.version = version;
                return;
            }
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn all_are_told_in_the_order_in_which_they_wait() {
        let signal = Signal::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for n in 0..40 {
            let (mut seen, heard) = (signal.subscribe(), Arc::clone(&heard));
            tasks.push(tokio::spawn(async move {
                for _ in 0..3 {
                    seen.changed().await;
                    heard.lock().unwrap().push(n);
                }
            }));
        }
        for version in 1..=3 {
            tokio::task::yield_now().await;
            signal.set(version);
        }
        for task in tasks {
            task.await.unwrap();
        }
        let once: Vec<i32> = (0..40).collect();
        assert_eq!(*heard.lock().unwrap(), [once.clone(), once.clone(), once].concat());
    }

    #[tokio::test]
    async fn a_change_before_the_wait_is_not_missed() {
        let signal = Signal::default();
        let mut seen = signal.subscribe();
        signal.set(7);
        seen.changed().await;
        signal.set(8);
        seen.mark();
        assert!(tokio::time::timeout(std::time::Duration::from_millis(5), seen.changed()).await.is_err());
    }
}
