//! Long arguments while they arrive: a client whose argument would take more than is left for all of
//! them is not read from until others are through, where it would else be closed.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::env::MemoryAccount;

/// Long arguments may take this part of what clients may hold; one alone may take more.
const SHARE: usize = 2;
/// What is no longer than this part of what clients may hold waits for nobody, and nobody for it.
const SHORT: usize = 32;
/// How long one counts that was let in: who sends slowly, or never to the end, must not hold up the
/// others. What it holds is then held against the bound of clients only: of those that send no further
/// the largest are closed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one waits for all others together.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How often one looks that waits: nobody tells when another counts no more.
const POLL: Duration = Duration::from_millis(50);

/// The long arguments that arrive.
#[derive(Debug)]
pub struct Arrivals {
    patience: Duration,
    let_in: Mutex<LetIn>,
    /// Who waits, in the order in which they have come; the first one holds the lock.
    line: tokio::sync::Mutex<()>,
    /// Somebody is through.
    freed: Notify,
}

/// Those that are let in.
#[derive(Debug, Default)]
struct LetIn {
    /// Number, since when, and bytes of each.
    arrivals: Vec<(u64, Instant, usize)>,
    last: u64,
}

/// An argument that is let in, until it is dropped.
#[derive(Debug)]
pub struct Arrival {
    arrivals: Arc<Arrivals>,
    number: u64,
}

impl Default for Arrivals {
    fn default() -> Self {
        let (let_in, line, freed) = Default::default();
        Self { patience: PATIENCE, let_in, line, freed }
    }
}

impl Arrivals {
    /// Lets an argument in of which so many `bytes` are missing, once there is room, or five seconds
    /// later; whoever has come before goes first. `None` where it is short. May be dropped at any time.
    pub async fn enter(self: &Arc<Self>, memory: &MemoryAccount, bytes: usize) -> Option<Arrival> {
        if bytes <= memory.clients_max() / SHORT {
            return None;
        }
        let waited = tokio::time::timeout(WAIT_MAX, async {
            let _first = self.line.lock().await;
            while !self.fits(memory, bytes) {
                // Where the time is over somebody may be through as well.
                drop(tokio::time::timeout(POLL, self.freed.notified()).await);
            }
            self.let_in(bytes)
        });
        Some(waited.await.unwrap_or_else(|_| self.let_in(bytes)))
    }

    fn fits(&self, memory: &MemoryAccount, bytes: usize) -> bool {
        let let_in = self.let_in.lock();
        let counted =
            let_in.arrivals.iter().filter(|(_, since, _)| since.elapsed() < self.patience);
        let others = counted.map(|(_, _, bytes)| bytes).sum::<usize>();
        others == 0 || others.saturating_add(bytes) <= memory.clients_max() / SHARE
    }

    fn let_in(self: &Arc<Self>, bytes: usize) -> Arrival {
        let mut let_in = self.let_in.lock();
        let_in.last += 1;
        let number = let_in.last;
        let_in.arrivals.push((number, Instant::now(), bytes));
        Arrival { arrivals: Arc::clone(self), number }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let number = self.number;
        self.arrivals.let_in.lock().arrivals.retain(|(other, ..)| *other != number);
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
        let patient = Arrivals { patience: Duration::MAX, ..Arrivals::default() };
        let arrivals = Arc::new(patient);
        let held =
            || arrivals.let_in.lock().arrivals.iter().map(|(.., bytes)| bytes).sum::<usize>();
        let first = arrivals.enter(&memory, 100 * MIB).await;
        assert!(arrivals.enter(&memory, MIB / 2).await.is_none());
        let mut waits = Box::pin(arrivals.enter(&memory, 5 * MIB));
        tokio::select! {
            biased;
            _ = &mut waits => panic!("it has to wait"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        let second = waits.await;
        let beside = arrivals.enter(&memory, 3 * MIB).await;
        assert_eq!(held(), 8 * MIB);
        drop((second, beside));
        assert_eq!(held(), 0);

        let arrivals = Arrivals { patience: Duration::from_millis(1), ..Arrivals::default() };
        let arrivals = Arc::new(arrivals);
        let _slow = arrivals.enter(&memory, 8 * MIB).await;
        let _late = arrivals.enter(&memory, MIB).await;
    }
}
