//! Replies that are sent while they are made: how many at a time, and to whom.
//!
//! Each holds a thread, a view of the store and a few pieces until the last piece is sent. So there is
//! a line for places, and a client that takes nothing of its reply gives its place up to those who wait
//! there, or its view up where views pin too much memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Client, PIECE_BYTES};

/// Replies that are sent at a time.
pub(crate) const PLACES: usize = 64;
/// Pieces of each that wait for its connection.
pub(crate) const PIECES_WAITING: usize = 2;
/// What a reply holds while it is sent: the pieces that wait, the one that is made and the one that is
/// sent.
pub(crate) const HELD_BYTES: usize = (PIECES_WAITING + 2) * (PIECE_BYTES + PIECE_BYTES / 4);
const PATIENCE: Duration = Duration::from_secs(10);

/// A reply that is sent.
#[derive(Debug)]
struct Running {
    client: Arc<Client>,
    started_ns: u64,
    /// When its client has taken a piece last.
    moved_ns: AtomicU64,
}

/// The replies that are sent.
#[derive(Debug)]
pub struct LongReplies {
    places: Semaphore,
    /// How long a client may take nothing of its reply while others wait for a place.
    patience: Duration,
    running: Mutex<Vec<Arc<Running>>>,
}

/// A place of a reply, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    replies: &'a LongReplies,
    running: Arc<Running>,
    _permit: SemaphorePermit<'a>,
}

impl Default for LongReplies {
    fn default() -> Self {
        Self { places: Semaphore::new(PLACES), patience: PATIENCE, running: Mutex::default() }
    }
}

impl LongReplies {
    /// Waits for a place for a reply to `client`; `now_ns` tells the monotonic time.
    pub(crate) async fn enter(&self, client: &Arc<Client>, now_ns: impl Fn() -> u64) -> Place<'_> {
        let permit = loop {
            match tokio::time::timeout(self.patience, self.places.acquire()).await {
                Ok(Ok(permit)) => break permit,
                // Nobody closes the line.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => self.end_stalled(now_ns()),
            }
        };
        let started_ns = now_ns();
        let moved_ns = AtomicU64::new(started_ns);
        let running = Arc::new(Running { client: Arc::clone(client), started_ns, moved_ns });
        self.running.lock().push(Arc::clone(&running));
        Place { replies: self, running, _permit: permit }
    }

    /// How many replies are sent now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.lock().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the client whose reply was begun first, whose view pins most.
    pub(crate) fn end_oldest(&self) {
        let running = self.running.lock();
        let alive = running.iter().filter(|reply| !reply.client.is_killed());
        if let Some(oldest) = alive.min_by_key(|reply| reply.started_ns) {
            tracing::warn!(
                client = oldest.client.id,
                addr = %oldest.client.addr,
                "closed: its reply holds on to memory that was written to disk since"
            );
            oldest.client.kill();
        }
    }

    /// Closes the client that has taken nothing for longest, if that is long.
    fn end_stalled(&self, now_ns: u64) {
        let stalled = |reply: &&Arc<Running>| {
            let idle_ns = now_ns.saturating_sub(reply.moved_ns.load(Ordering::Relaxed));
            !reply.client.is_killed() && u128::from(idle_ns) >= self.patience.as_nanos()
        };
        let running = self.running.lock();
        let moved_ns = |reply: &&Arc<Running>| reply.moved_ns.load(Ordering::Relaxed);
        if let Some(stalled) = running.iter().filter(stalled).min_by_key(moved_ns) {
            tracing::warn!(
                client = stalled.client.id,
                addr = %stalled.client.addr,
                "closed: it takes nothing of its reply, and others wait for its place"
            );
            stalled.client.kill();
        }
    }
}

impl Place<'_> {
    /// The client has taken a piece.
    pub(crate) fn moved(&self, now_ns: u64) {
        self.running.moved_ns.store(now_ns, Ordering::Relaxed);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.replies.running.lock().retain(|other| !Arc::ptr_eq(other, &self.running));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u64) -> Arc<Client> {
        Arc::new(Client::new(id, "a:1", "b:2", 3, false, 0))
    }

    #[tokio::test]
    async fn who_takes_nothing_gives_its_place_up_to_those_who_wait() {
        let patience = Duration::from_millis(10);
        let replies = LongReplies { patience, ..LongReplies::default() };
        let mut places = Vec::new();
        for id in 1..=PLACES as u64 {
            places.push(replies.enter(&client(id), || id).await);
        }
        assert_eq!(replies.len(), PLACES);
        let now_ns = 11_000_000;
        places.iter().skip(1).for_each(|place| place.moved(now_ns));
        let late = client(99);
        let mut waiting = Box::pin(replies.enter(&late, || now_ns));
        while !places[0].running.client.is_killed() {
            let looked = tokio::time::timeout(patience, &mut waiting).await;
            assert!(looked.is_err());
        }
        assert!(!places[1..].iter().any(|place| place.running.client.is_killed()));
        drop(places.remove(0));
        let place = waiting.await;
        replies.end_oldest();
        assert!(places[0].running.client.is_killed() && !place.running.client.is_killed());
    }
}
