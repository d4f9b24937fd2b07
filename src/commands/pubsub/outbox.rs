//! What waits to be pushed to one connection.
//!
//! Whoever pushes never waits: a message is put down here, and the connection's task, woken once,
//! writes it while it otherwise waits for requests. A connection that does not keep up reaches its
//! limit and is closed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::commands::Client;
use crate::config::OutputLimit;
use crate::protocol::Version;

/// What a message counts for beside its bytes.
const MESSAGE_BYTES: usize = size_of::<Bytes>();
/// Capacity of a queue that is kept while it is empty, in messages.
const KEPT_MESSAGES: usize = 32;

/// The encoded messages that wait for one connection.
pub(crate) struct Outbox {
    /// Whose they are; [`Client::pushed_bytes`] is what they hold, those being written included.
    pub(crate) client: Arc<Client>,
    queue: Mutex<Queue>,
    pushed: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    above_soft_since: Option<Instant>,
    full: bool,
}

impl Outbox {
    /// Nothing waits yet.
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client, queue: Mutex::default(), pushed: Notify::new() }
    }

    /// The version of the protocol in which messages are to be pushed.
    pub(crate) fn version(&self) -> Version {
        match self.client.resp.load(Ordering::Relaxed) {
            3 => Version::Resp3,
            _ => Version::Resp2,
        }
    }

    /// Adds a message. Where the connection reaches its limit with it, it is closed, and nothing is
    /// added any more: then false, once.
    pub(crate) fn push(&self, message: Bytes, limit: OutputLimit) -> bool {
        self.push_at(message, limit, Instant::now)
    }

    fn push_at(&self, message: Bytes, limit: OutputLimit, now: impl FnOnce() -> Instant) -> bool {
        let mut queue = self.queue.lock();
        if queue.full {
            return true;
        }
        let weight = message.len() + MESSAGE_BYTES;
        let held = self.client.pushed_bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        if queue.exceeds(held, limit, now) {
            self.client.pushed_bytes.fetch_sub(weight, Ordering::Relaxed);
            queue.full = true;
            queue.messages = VecDeque::new();
            drop(queue);
            self.client.kill();
            return false;
        }
        let was_empty = queue.messages.is_empty();
        queue.messages.push_back(message);
        drop(queue);
        if was_empty {
            self.pushed.notify_one();
        }
        true
    }

    /// Waits until there is a message. May be dropped at any time.
    pub(crate) async fn ready(&self) {
        while self.is_empty() {
            self.pushed.notified().await;
        }
    }

    /// Whether no message waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().messages.is_empty()
    }

    /// Moves the oldest messages to `batch`, at most `most`, and as long as they have fewer than
    /// `most_bytes`. They count until [`Self::written`].
    pub(crate) fn take(&self, batch: &mut VecDeque<Bytes>, most: usize, most_bytes: usize) {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        while batch.len() < most && bytes < most_bytes {
            let Some(message) = queue.messages.pop_front() else { break };
            bytes += message.len();
            batch.push_back(message);
        }
        if queue.messages.is_empty() && queue.messages.capacity() > KEPT_MESSAGES {
            queue.messages = VecDeque::new();
        }
    }

    /// So many messages that were taken, of so many bytes, do not wait any more.
    pub(crate) fn written(&self, messages: usize, bytes: usize) {
        let weight = bytes + messages * MESSAGE_BYTES;
        self.client.pushed_bytes.fetch_sub(weight, Ordering::Relaxed);
    }

    /// Whether what waits has been above the soft limit for too long.
    pub(crate) fn is_overdue(&self, limit: OutputLimit) -> bool {
        self.is_overdue_at(limit, Instant::now)
    }

    fn is_overdue_at(&self, limit: OutputLimit, now: impl FnOnce() -> Instant) -> bool {
        let held = self.client.pushed_bytes.load(Ordering::Relaxed);
        self.queue.lock().exceeds(held, limit, now)
    }
}

impl Queue {
    /// Whether `held` bytes are too many now.
    fn exceeds(&mut self, held: usize, limit: OutputLimit, now: impl FnOnce() -> Instant) -> bool {
        let reaches = |bytes: u64| bytes != 0 && held as u64 >= bytes;
        if reaches(limit.hard_bytes) {
            return true;
        }
        if !reaches(limit.soft_bytes) {
            self.above_soft_since = None;
            return false;
        }
        let now = now();
        let since = *self.above_soft_since.get_or_insert(now);
        now.duration_since(since) > Duration::from_secs(limit.soft_seconds)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.client.pushed_bytes.store(0, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("client", &self.client.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(Arc::new(Client::new(7, "a:1", "b:2", 3, false, 0)))
    }

    fn limit(hard_bytes: u64, soft_bytes: u64, soft_seconds: u64) -> OutputLimit {
        OutputLimit { hard_bytes, soft_bytes, soft_seconds }
    }

    #[test]
    fn messages_leave_in_order_and_count_until_they_are_written() {
        let outbox = outbox();
        for text in ["one", "two", "three"] {
            assert!(outbox.push(Bytes::from_static(text.as_bytes()), limit(0, 0, 0)));
        }
        let held = || outbox.client.pushed_bytes.load(Ordering::Relaxed);
        assert_eq!(held(), 11 + 3 * MESSAGE_BYTES);
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, 2, usize::MAX);
        assert_eq!(batch, ["one", "two"]);
        assert_eq!(held(), 11 + 3 * MESSAGE_BYTES);
        outbox.written(2, 6);
        assert_eq!(held(), 5 + MESSAGE_BYTES);
        batch.clear();
        outbox.take(&mut batch, 9, 1);
        assert_eq!(batch, ["three"]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_hard_limit_closes_once() {
        let outbox = outbox();
        let limit = limit(2 * MESSAGE_BYTES as u64, 0, 0);
        assert!(outbox.push(Bytes::from_static(b"x"), limit));
        assert!(!outbox.push(Bytes::from_static(b"y"), limit));
        assert!(outbox.client.is_killed() && outbox.is_empty());
        assert!(outbox.push(Bytes::from_static(b"z"), limit), "told once only");
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_soft_limit_closes_after_its_time_without_a_break() {
        let outbox = outbox();
        let limit = limit(0, 100, 5);
        let start = Instant::now();
        let after_ms = |ms| move || start + Duration::from_millis(ms);
        assert!(outbox.push_at(Bytes::from(vec![b'x'; 100]), limit, after_ms(0)));
        assert!(!outbox.is_overdue_at(limit, after_ms(5000)));
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, 1, usize::MAX);
        outbox.written(1, 100);
        assert!(!outbox.is_overdue_at(limit, after_ms(5001)), "the time starts anew");
        assert!(outbox.push_at(Bytes::from(vec![b'x'; 100]), limit, after_ms(6000)));
        assert!(!outbox.is_overdue_at(limit, after_ms(11_000)));
        assert!(outbox.is_overdue_at(limit, after_ms(11_001)));
        assert!(!outbox.push_at(Bytes::new(), limit, after_ms(11_001)));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let outbox = Arc::new(outbox());
        let waiting = Arc::clone(&outbox);
        let waiting = tokio::spawn(async move { waiting.ready().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        outbox.push(Bytes::from_static(b"x"), limit(0, 0, 0));
        assert!(waiting.await.is_ok());
    }
}
