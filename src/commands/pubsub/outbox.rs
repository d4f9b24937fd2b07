//! What waits to be pushed to one connection.
//!
//! Whoever pushes never waits: a message is put down here, and the connection's task, woken once,
//! writes it while it otherwise waits for requests. A connection that does not keep up reaches its
//! limit and is closed.
//!
//! A connection has one outbox for life, made by whoever first has something for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::commands::{Client, ClientFlag};
use crate::config::OutputLimit;
use crate::protocol::Version;

/// What a message counts for beside its bytes.
const MESSAGE_BYTES: usize = size_of::<Waiting>();
/// Capacity of a queue that is kept while it is empty, in messages.
const KEPT_MESSAGES: usize = 32;

/// Where among the replies of its connection a message may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Behind the reply of this number, and so many; replies of a connection are counted from 1.
    pub(crate) after: u64,
    /// Not between the replies of calls that were run as one group: behind the last of these.
    pub(crate) behind_group: bool,
}

/// A message, and where it may stand.
type Waiting = (Bytes, Place);

/// How many messages are taken at a time, and which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// At most so many.
    pub(crate) most: usize,
    /// None beyond so many bytes.
    pub(crate) most_bytes: usize,
    /// Replies of the connection that stand before them.
    pub(crate) replies: u64,
    /// Whether a reply of the same group follows.
    pub(crate) within_group: bool,
}

impl Portion {
    /// Everything that may stand behind so many replies, with no other to follow at once.
    pub(crate) const fn all(replies: u64) -> Self {
        Self { most: usize::MAX, most_bytes: usize::MAX, replies, within_group: false }
    }

    fn takes(&self, place: Place) -> bool {
        place.after <= self.replies && !(self.within_group && place.behind_group)
    }
}

/// The encoded messages that wait for one connection.
pub(crate) struct Outbox {
    /// Whose they are; [`Client::pushed_bytes`] is what they hold, those being written included.
    pub(crate) client: Arc<Client>,
    queue: Mutex<Queue>,
    pushed: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Waiting>,
    above_soft_since: Option<Instant>,
    full: bool,
}

impl Outbox {
    /// Nothing waits yet.
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client, queue: Mutex::default(), pushed: Notify::new() }
    }

    /// The outbox of a client, whose connection is told that it has one.
    pub(crate) fn of(client: &Arc<Client>) -> Arc<Self> {
        let outbox = {
            let mut slot = client.outbox.lock();
            let made = || Arc::new(Self::new(Arc::clone(client)));
            if client.has(ClientFlag::GONE) {
                return made();
            }
            Arc::clone(slot.get_or_insert_with(made))
        };
        if !client.has(ClientFlag::PUSHED_TO) {
            client.set(ClientFlag::PUSHED_TO, true);
            client.wake();
        }
        outbox
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
    pub(crate) fn push(&self, message: Bytes, place: Place, limit: OutputLimit) -> bool {
        self.push_at((message, place), limit, Instant::now)
    }

    fn push_at(&self, message: Waiting, limit: OutputLimit, now: impl FnOnce() -> Instant) -> bool {
        let mut queue = self.queue.lock();
        if queue.full {
            return true;
        }
        let weight = message.0.len() + MESSAGE_BYTES;
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

    /// Waits until there is a message that may stand behind so many replies. May be dropped at any
    /// time.
    pub(crate) async fn ready(&self, replies: u64) {
        while !self.has_one(Portion::all(replies)) {
            self.pushed.notified().await;
        }
    }

    fn has_one(&self, portion: Portion) -> bool {
        self.queue.lock().messages.front().is_some_and(|(_, place)| portion.takes(*place))
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.lock().messages.len()
    }

    /// Moves the oldest messages to `batch`, up to the first that may not stand there; in order, so
    /// that one keeps back all behind it. They count until [`Self::written`].
    pub(crate) fn take(&self, batch: &mut VecDeque<Bytes>, portion: Portion) {
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        while batch.len() < portion.most && bytes < portion.most_bytes {
            if !queue.messages.front().is_some_and(|(_, place)| portion.takes(*place)) {
                break;
            }
            let Some((message, _)) = queue.messages.pop_front() else { break };
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
        if limit.is_hard_at(held) {
            return true;
        }
        if !limit.is_soft_at(held) {
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

    const ANYWHERE: Place = Place { after: 0, behind_group: false };

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
            assert!(outbox.push(Bytes::from_static(text.as_bytes()), ANYWHERE, limit(0, 0, 0)));
        }
        let held = || outbox.client.pushed_bytes.load(Ordering::Relaxed);
        assert_eq!(held(), 11 + 3 * MESSAGE_BYTES);
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, Portion { most: 2, ..Portion::all(0) });
        assert_eq!(batch, ["one", "two"]);
        assert_eq!(held(), 11 + 3 * MESSAGE_BYTES);
        outbox.written(2, 6);
        assert_eq!(held(), 5 + MESSAGE_BYTES);
        batch.clear();
        outbox.take(&mut batch, Portion { most_bytes: 1, ..Portion::all(0) });
        assert_eq!(batch, ["three"]);
        assert!(outbox.len() == 0);
    }

    #[test]
    fn a_message_stands_behind_its_reply_and_keeps_back_what_follows() {
        let outbox = outbox();
        let push = |text: &'static str, after, behind_group| {
            let message = Bytes::from_static(text.as_bytes());
            outbox.push(message, Place { after, behind_group }, limit(0, 0, 0));
        };
        push("free", 0, false);
        push("second", 2, false);
        push("group", 1, true);
        push("last", 0, false);
        let take = |replies, within_group| {
            let mut batch = VecDeque::new();
            outbox.take(&mut batch, Portion { within_group, ..Portion::all(replies) });
            batch
        };
        assert_eq!(take(1, true), ["free"]);
        assert!(take(1, false).is_empty());
        assert_eq!(take(2, true), ["second"]);
        assert!(take(9, true).is_empty());
        assert_eq!(take(2, false), ["group", "last"]);
    }

    #[test]
    fn a_client_has_one_outbox() {
        let client = Arc::new(Client::new(7, "a:1", "b:2", 3, false, 0));
        let outbox = Outbox::of(&client);
        assert!(Arc::ptr_eq(&outbox, &Outbox::of(&client)));
        assert!(client.has(ClientFlag::PUSHED_TO));
        client.leave();
        assert_eq!(Arc::strong_count(&outbox), 1, "the connection is gone");
    }

    #[test]
    fn the_hard_limit_closes_once() {
        let outbox = outbox();
        let limit = limit(OutputLimit::FREE_BYTES as u64, 0, 0);
        let most = vec![b'x'; OutputLimit::FREE_BYTES - MESSAGE_BYTES];
        assert!(outbox.push(Bytes::from(most), ANYWHERE, limit));
        assert!(!outbox.push(Bytes::from_static(b"y"), ANYWHERE, limit));
        assert!(outbox.client.is_killed() && outbox.len() == 0);
        assert!(outbox.push(Bytes::from_static(b"z"), ANYWHERE, limit), "told once only");
        assert!(outbox.len() == 0);
    }

    #[test]
    fn the_soft_limit_closes_after_its_time_without_a_break() {
        let outbox = outbox();
        let limit = limit(0, 100, 5);
        let much = || Bytes::from(vec![b'x'; OutputLimit::FREE_BYTES]);
        let start = Instant::now();
        let after_ms = |ms| move || start + Duration::from_millis(ms);
        assert!(outbox.push_at((much(), ANYWHERE), limit, after_ms(0)));
        assert!(!outbox.is_overdue_at(limit, after_ms(5000)));
        let mut batch = VecDeque::new();
        outbox.take(&mut batch, Portion { most: 1, ..Portion::all(0) });
        outbox.written(1, OutputLimit::FREE_BYTES);
        assert!(!outbox.is_overdue_at(limit, after_ms(5001)), "the time starts anew");
        assert!(outbox.push_at((much(), ANYWHERE), limit, after_ms(6000)));
        assert!(!outbox.is_overdue_at(limit, after_ms(11_000)));
        assert!(outbox.is_overdue_at(limit, after_ms(11_001)));
        assert!(!outbox.push_at((Bytes::new(), ANYWHERE), limit, after_ms(11_001)));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let outbox = Arc::new(outbox());
        let waiting = Arc::clone(&outbox);
        let waiting = tokio::spawn(async move { waiting.ready(0).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        outbox.push(Bytes::from_static(b"x"), ANYWHERE, limit(0, 0, 0));
        assert!(waiting.await.is_ok());
    }
}
