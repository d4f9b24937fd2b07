//! Who has subscribed to what.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use super::fanout::{Fanout, Queued};
use super::outbox::Outbox;
use super::turns::Turns;
use super::{Kind, Message};
use crate::commands::{Client, ServerState};
use crate::data::glob_matches;
use crate::engine::BuildKeyHasher;

/// For how many a message is put down at once; one for more goes through the lane of the large.
pub(crate) const AT_ONCE_MAX: usize = 512;
/// For how many a message of the lane is put down before others run: each task that it wakes is one
/// more before them, some tens of microseconds together.
pub(crate) const STEP: usize = 128;
/// Fan-outs that wait in the lane; the publishers of more wait for room.
const LANE_MAX: usize = 64;
/// For how many messages are put down by one publisher before others run, a few milliseconds: what is
/// put down together for a subscriber leaves with one write.
pub(crate) const TURN: usize = 64 << 10;

/// The subscribers of one channel or pattern, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<(u64, Arc<Outbox>)>);

impl Line {
    fn add(&mut self, outbox: &Arc<Outbox>) {
        let id = outbox.client.id;
        if let Err(at) = self.0.binary_search_by_key(&id, |(id, _)| *id) {
            self.0.insert(at, (id, Arc::clone(outbox)));
        }
    }

    fn remove(&mut self, id: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&id, |(id, _)| *id) {
            self.0.remove(at);
        }
    }

    /// Those behind the one with id `after`.
    pub(super) fn behind(&self, after: u64) -> &[(u64, Arc<Outbox>)] {
        let start = self.0.partition_point(|(id, _)| *id <= after);
        self.0.get(start..).unwrap_or_default()
    }
}

type Channels = DashMap<Bytes, Line, BuildKeyHasher>;

/// All subscriptions of the server.
#[derive(Debug)]
pub struct PubSub {
    channels: Channels,
    shards: Channels,
    patterns: RwLock<BTreeMap<Bytes, Line>>,
    /// Patterns; read before the lock is taken.
    pattern_count: AtomicUsize,
    /// Connections with a subscription.
    subscribers: AtomicUsize,
    /// When those who are pushed to write.
    pub(crate) turns: Turns,
    lane: Sender<Queued>,
    lane_end: Mutex<Option<Receiver<Queued>>>,
}

impl Default for PubSub {
    fn default() -> Self {
        let (lane, lane_end) = channel(LANE_MAX);
        Self {
            channels: Channels::default(),
            shards: Channels::default(),
            patterns: RwLock::default(),
            pattern_count: AtomicUsize::new(0),
            subscribers: AtomicUsize::new(0),
            turns: Turns::default(),
            lane,
            lane_end: Mutex::new(Some(lane_end)),
        }
    }
}

impl PubSub {
    /// Whether nobody has subscribed to anything. Costs one load.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.subscribers() == 0
    }

    /// Connections with a subscription.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Acquire)
    }

    /// Channels, patterns or shard channels with a subscriber.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Pattern => self.pattern_count.load(Ordering::Acquire),
            Kind::Channel | Kind::Shard => self.lines(kind).len(),
        }
    }

    /// The channels, or shard channels, that match the pattern, if one is given; in no order.
    pub(super) fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let lines = self.lines(kind).iter();
        let matches = |name: &Bytes| pattern.is_none_or(|p| glob_matches(p, name, false));
        lines.filter(|line| matches(line.key())).map(|line| line.key().clone()).collect()
    }

    /// How many have subscribed to this very channel or shard channel.
    pub(super) fn subscribers_of(&self, kind: Kind, channel: &[u8]) -> usize {
        self.lines(kind).get(channel).map_or(0, |line| line.0.len())
    }

    /// The clients that have subscribed to a name of which `is_meant` says so; one may come twice.
    pub(in crate::commands) fn subscribers_where(
        &self,
        kind: Kind,
        is_meant: impl Fn(&[u8]) -> bool,
    ) -> Vec<Arc<Client>> {
        let clients = |line: &Line| -> Vec<Arc<Client>> {
            line.0.iter().map(|(_, outbox)| Arc::clone(&outbox.client)).collect()
        };
        if kind == Kind::Pattern {
            let patterns = self.patterns.read();
            let meant = patterns.iter().filter(|(name, _)| is_meant(name));
            return meant.flat_map(|(_, line)| clients(line)).collect();
        }
        let meant = self.lines(kind).iter();
        meant.filter(|line| is_meant(line.key())).flat_map(|line| clients(line.value())).collect()
    }

    /// Enters a subscription; `name` must be bytes of its own.
    pub(super) fn subscribe(&self, kind: Kind, name: Bytes, outbox: &Arc<Outbox>) {
        if kind != Kind::Pattern {
            return self.lines(kind).entry(name).or_default().add(outbox);
        }
        let mut patterns = self.patterns.write();
        patterns.entry(name).or_default().add(outbox);
        self.pattern_count.store(patterns.len(), Ordering::Release);
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, kind: Kind, name: &[u8], id: u64) {
        if kind != Kind::Pattern {
            if let Some(mut line) = self.lines(kind).get_mut(name) {
                line.remove(id);
            }
            self.lines(kind).remove_if(name, |_, line| line.0.is_empty());
            return;
        }
        let mut patterns = self.patterns.write();
        if let Some(line) = patterns.get_mut(name) {
            line.remove(id);
            if line.0.is_empty() {
                patterns.remove(name);
            }
        }
        self.pattern_count.store(patterns.len(), Ordering::Release);
    }

    /// A connection has its first subscription, or its last is gone.
    pub(super) fn count_subscriber(&self, has_any: bool) {
        if has_any {
            self.subscribers.fetch_add(1, Ordering::AcqRel);
        } else {
            self.subscribers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// How many would get `message` now; who has subscribed twice counts twice.
    #[must_use]
    pub fn receivers(&self, message: &Message) -> usize {
        if self.is_idle() {
            return 0;
        }
        let direct = self.subscribers_of(message.kind(), &message.channel);
        if message.is_shard || self.pattern_count.load(Ordering::Acquire) == 0 {
            return direct;
        }
        let patterns = self.patterns.read();
        let matching = patterns.iter().filter(|(p, _)| glob_matches(p, &message.channel, false));
        direct + matching.map(|(_, line)| line.0.len()).sum::<usize>()
    }

    /// Puts `message` down for all who get it, and says how many those are. Where they are many it
    /// hands out what is left to do: whoever publishes goes on when [`Self::finish`] is through, so
    /// that its messages stay in order.
    pub fn publish(&self, state: &ServerState, message: Message) -> (usize, Option<Fanout>) {
        let receivers = self.receivers(&message);
        let mut fanout = Fanout::new(message);
        if receivers > AT_ONCE_MAX {
            return (receivers, Some(fanout));
        }
        if receivers > 0 {
            fanout.advance(state, usize::MAX);
        }
        (receivers, None)
    }

    /// Publishes messages in their order, up to one for many, or one behind so many that others have
    /// to run first: that is handed out, and the rest has to wait until [`Self::finish`] is through
    /// with it.
    pub fn publish_all(
        &self,
        state: &ServerState,
        messages: &mut impl Iterator<Item = Message>,
    ) -> Option<Fanout> {
        let mut put_down = 0;
        for message in messages {
            if put_down >= TURN {
                return Some(Fanout::new(message));
            }
            let (receivers, rest) = self.publish(state, message);
            put_down += receivers;
            if rest.is_some() {
                return rest;
            }
        }
        None
    }

    /// Has the task of the lane carry out a large fan-out, behind those before it; ready when it is
    /// through, or the server ends. Once it is in the lane it goes on though nobody waits for it.
    pub fn finish(&self, fanout: Fanout) -> impl Future<Output = ()> + Send + use<> {
        let lane = self.lane.clone();
        async move {
            let (done, finished) = oneshot::channel();
            if lane.send(Queued { fanout, done }).await.is_ok() {
                drop(finished.await);
            }
        }
    }

    /// The end of the lane of large fan-outs, for the task that carries them out; once.
    pub(crate) fn take_lane_end(&self) -> Option<Receiver<Queued>> {
        self.lane_end.lock().take()
    }

    /// Calls `visit` with the line of a channel or shard channel, if there is one. Nobody subscribes
    /// to it meanwhile.
    pub(super) fn with_line(&self, kind: Kind, channel: &[u8], visit: impl FnOnce(&Line)) {
        // The lock of a writer: what two publish to one channel comes to all in one order.
        if let Some(line) = self.lines(kind).get_mut(channel) {
            visit(&line);
        }
    }

    /// Calls `visit` with the patterns from `from` on and their lines until it answers false; whether
    /// it never did.
    pub(super) fn with_patterns(
        &self,
        from: Bound<&Bytes>,
        mut visit: impl FnMut(&Bytes, &Line) -> bool,
    ) -> bool {
        if self.pattern_count.load(Ordering::Acquire) == 0 {
            return true;
        }
        let patterns = self.patterns.read();
        patterns.range::<Bytes, _>((from, Bound::Unbounded)).all(|(name, line)| visit(name, line))
    }

    fn lines(&self, kind: Kind) -> &Channels {
        if kind == Kind::Shard { &self.shards } else { &self.channels }
    }
}
