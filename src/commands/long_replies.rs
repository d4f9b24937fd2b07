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
use crate::engine::Snapshot;

/// Replies that are sent at a time.
pub(crate) const PLACES: usize = 64;
/// Pieces of each that wait for its connection.
pub(crate) const PIECES_WAITING: usize = 2;
/// What a reply holds while it is sent: the pieces that wait, the one that is made and the one that is
/// sent.
pub(crate) const HELD_BYTES: usize = (PIECES_WAITING + 2) * (PIECE_BYTES + PIECE_BYTES / 4);
const PATIENCE: Duration = Duration::from_secs(10);

/// A reply that is sent, or waits for a place.
#[derive(Debug)]
pub(crate) struct Running {
    client: Arc<Client>,
    /// What it reads; none in tests of the line alone.
    view: Option<Snapshot>,
    /// When it has come, in monotonic time.
    begun_ns: u64,
    /// When its client has taken a piece last; [`WAITS`] where it has no place yet.
    moved_ns: AtomicU64,
}

/// A reply without a place.
const WAITS: u64 = u64::MAX;

/// The replies that are sent, or wait for a place.
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
    permit: Option<SemaphorePermit<'a>>,
}

impl Default for LongReplies {
    fn default() -> Self {
        Self { places: Semaphore::new(PLACES), patience: PATIENCE, running: Mutex::default() }
    }
}

impl LongReplies {
    /// Waits for a place for a reply to `client` that is read from `view`; `now_ns` tells the monotonic
    /// time.
    pub(crate) async fn enter(
        &self,
        client: &Arc<Client>,
        view: Option<Snapshot>,
        now_ns: impl Fn() -> u64,
    ) -> Place<'_> {
        let moved_ns = AtomicU64::new(WAITS);
        let begun_ns = now_ns();
        let running = Arc::new(Running { client: Arc::clone(client), view, begun_ns, moved_ns });
        self.running.lock().push(Arc::clone(&running));
        // Out of the line again, whatever ends it.
        let mut place = Place { replies: self, running, permit: None };
        while place.permit.is_none() {
            match tokio::time::timeout(self.patience, self.places.acquire()).await {
                Ok(Ok(permit)) => place.permit = Some(permit),
                // Nobody closes the line.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => self.end_stalled(now_ns()),
            }
        }
        place.running.moved(now_ns());
        place
    }

    /// How many replies are sent now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.lock().iter().filter(|reply| reply.has_place()).count()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the client whose reply, sent or waiting, pins most memory, if any does that has come no later
    /// than at `until_ns`; `pinned` tells how many bytes a view pins.
    pub(crate) fn end_heaviest(&self, until_ns: u64, pinned: impl Fn(&Snapshot) -> u64) {
        let running = self.running.lock();
        let old = running.iter().filter(|reply| reply.begun_ns <= until_ns);
        let alive = old.filter(|reply| !reply.client.is_killed());
        let weighed = alive.map(|reply| (reply.view.as_ref().map_or(0, &pinned), reply));
        let pins = weighed.filter(|(bytes, _)| *bytes > 0);
        // Of several the one that has come first.
        if let Some((bytes, reply)) = pins.rev().max_by_key(|(bytes, _)| *bytes) {
            tracing::warn!(
                client = reply.client.id,
                addr = %reply.client.addr,
                bytes,
                "closed: its reply holds on to memory that was written to disk since"
            );
            reply.client.kill();
        }
    }

    /// Closes the client that has taken nothing for longest, if that is long.
    fn end_stalled(&self, now_ns: u64) {
        let stalled = |reply: &&Arc<Running>| {
            let idle_ns = now_ns.saturating_sub(reply.moved_ns.load(Ordering::Relaxed));
            let has_place = reply.has_place() && !reply.client.is_killed();
            has_place && u128::from(idle_ns) >= self.patience.as_nanos()
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

impl Running {
    /// The client has taken a piece.
    pub(crate) fn moved(&self, now_ns: u64) {
        self.moved_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Whether it is sent.
    fn has_place(&self) -> bool {
        self.moved_ns.load(Ordering::Relaxed) != WAITS
    }
}

impl Place<'_> {
    /// Whose place it is.
    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.running
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.replies.running.lock().retain(|other| !Arc::ptr_eq(other, &self.running));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::engine::{Engine, KeepAll, Options, ReadMode};
    use crate::env::{SimClock, SimFs};

    fn client(id: u64) -> Arc<Client> {
        Arc::new(Client::new(id, "a:1", "b:2", 3, false, 0))
    }

    #[tokio::test]
    async fn who_takes_nothing_gives_its_place_up_to_those_who_wait() {
        let patience = Duration::from_millis(10);
        let replies = LongReplies { patience, ..LongReplies::default() };
        let mut places = Vec::new();
        for id in 1..=PLACES as u64 {
            places.push(replies.enter(&client(id), None, || id).await);
        }
        assert_eq!(replies.len(), PLACES);
        let now_ns = 11_000_000;
        places.iter().skip(1).for_each(|place| place.running.moved(now_ns));
        let late = client(99);
        let mut waiting = Box::pin(replies.enter(&late, None, || now_ns));
        while !places[0].running.client.is_killed() {
            let looked = tokio::time::timeout(patience, &mut waiting).await;
            assert!(looked.is_err());
        }
        assert!(!places[1..].iter().any(|place| place.running.client.is_killed()));
        drop(places.remove(0));
        let place = waiting.await;
        assert!(!place.running.client.is_killed());
        assert_eq!(replies.len(), PLACES);
    }

    #[tokio::test]
    async fn who_pins_most_is_closed_though_it_waits() {
        let options = Options {
            background_threads: 0,
            space_reserve_bytes: 0,
            ..Options::for_budget(Path::new("/db"), 8 << 20)
        };
        let clock = Arc::new(SimClock::at_ms(1));
        let opened = Engine::open(SimFs::new(1).shared(), clock, options, Arc::new(KeepAll));
        let (engine, mut writer) = opened.expect("an empty store");
        let mut txn = writer.begin(ReadMode::Resident).expect("a transaction");
        txn.put(Bytes::from_static(b"k"), Bytes::from(vec![b'v'; 4096]));
        let changes = txn.into_changes();
        writer.commit(changes);
        let batch = writer.take_batch().expect("a batch");
        let seq = batch.seq();
        batch.write().expect("written");
        writer.publish(seq);
        let before = engine.snapshot(ReadMode::Resident);
        engine.flush_wait().expect("flushed");
        let replies = LongReplies { places: Semaphore::new(2), ..LongReplies::default() };
        let now = || Some(engine.snapshot(ReadMode::Resident));
        let first = replies.enter(&client(1), now(), || 1).await;
        let second = replies.enter(&client(2), now(), || 2).await;
        replies.end_heaviest(3, |view| engine.pinned_by(view));
        let late = client(3);
        let mut waiting = Box::pin(replies.enter(&late, Some(before), || 3));
        let looked = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
        assert!(looked.is_err(), "there is no place");
        assert_eq!(replies.len(), 2);
        replies.end_heaviest(2, |view| engine.pinned_by(view));
        assert!(!late.is_killed(), "it has come later");
        replies.end_heaviest(3, |view| engine.pinned_by(view));
        assert!(late.is_killed(), "it pins what was flushed");
        assert!(!first.running.client.is_killed() && !second.running.client.is_killed());
        drop(waiting);
        assert_eq!(replies.running.lock().len(), 2, "who goes leaves the line");
    }
}
