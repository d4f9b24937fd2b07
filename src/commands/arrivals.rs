//! Long arguments while they arrive: a client whose argument would take more than is left for all of
//! them is not read from until others are through, where it would else be closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::env::MemoryAccount;

/// Long arguments may take this part of what clients may hold; one alone may take more.
const SHARE: usize = 2;
/// How long a client waits for others. Then it goes on, and what clients hold is held against their
/// bound: of those that send no further the largest are closed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often one looks that waits: what clients may hold can be set at run time.
const POLL: Duration = Duration::from_millis(100);

/// The long arguments that arrive.
#[derive(Debug)]
pub struct Arrivals {
    patience: Duration,
    /// Bytes of those that are let in.
    bytes: AtomicUsize,
    /// Who waits, in the order in which they have come; the first one holds the lock.
    line: Mutex<()>,
    /// Somebody is through.
    freed: Notify,
}

/// An argument that is let in, until it is dropped.
#[derive(Debug)]
pub struct Arrival {
    arrivals: Arc<Arrivals>,
    bytes: usize,
}

impl Default for Arrivals {
    fn default() -> Self {
        let (bytes, line, freed) = Default::default();
        Self { patience: PATIENCE, bytes, line, freed }
    }
}

impl Arrivals {
    /// Lets an argument in of which so many `bytes` are missing, once there is room; whoever has come
    /// before goes first. Waits for ten seconds at most. May be dropped at any time.
    pub async fn enter(self: &Arc<Self>, memory: &MemoryAccount, bytes: usize) -> Arrival {
        let entered = match self.line.try_lock() {
            Ok(_first) => self.try_enter(memory, bytes),
            Err(_) => None,
        };
        if let Some(arrival) = entered {
            return arrival;
        }
        let waited = tokio::time::timeout(self.patience, async {
            let _first = self.line.lock().await;
            loop {
                if let Some(arrival) = self.try_enter(memory, bytes) {
                    return arrival;
                }
                // Where the time is over somebody may be through as well.
                drop(tokio::time::timeout(POLL, self.freed.notified()).await);
            }
        });
        waited.await.unwrap_or_else(|_| self.let_in(bytes))
    }

    fn try_enter(self: &Arc<Self>, memory: &MemoryAccount, bytes: usize) -> Option<Arrival> {
        let others = self.bytes.load(Ordering::Relaxed);
        let fits = others.saturating_add(bytes) <= memory.clients_max() / SHARE;
        // Only the first in line gets here.
        (fits || others == 0).then(|| self.let_in(bytes))
    }

    fn let_in(self: &Arc<Self>, bytes: usize) -> Arrival {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Arrival { arrivals: Arc::clone(self), bytes }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.arrivals.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn arguments_come_in_turn_and_nobody_waits_for_ever() {
        let memory = MemoryAccount::new(64 << 20);
        memory.set_clients_max(16 << 20);
        let arrivals = Arc::new(Arrivals::default());
        let first = arrivals.enter(&memory, 100 * MIB).await;
        let mut waits = Box::pin(arrivals.enter(&memory, 5 * MIB));
        tokio::select! {
            biased;
            _ = &mut waits => panic!("it has to wait"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        let second = waits.await;
        let beside = arrivals.enter(&memory, 3 * MIB).await;
        assert_eq!(arrivals.bytes.load(Ordering::Relaxed), 8 * MIB);
        drop((second, beside));
        assert_eq!(arrivals.bytes.load(Ordering::Relaxed), 0);

        let arrivals = Arrivals { patience: Duration::from_millis(1), ..Arrivals::default() };
        let arrivals = Arc::new(arrivals);
        let _first = arrivals.enter(&memory, 8 * MIB).await;
        let _late = arrivals.enter(&memory, MIB).await;
        assert_eq!(arrivals.bytes.load(Ordering::Relaxed), 9 * MIB);
    }
}
