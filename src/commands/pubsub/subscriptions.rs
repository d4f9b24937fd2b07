//! What one connection has subscribed to, and the way on which it is pushed to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Kind;
use super::outbox::Outbox;
use super::registry::PubSub;
use crate::commands::monitor::Monitors;
use crate::commands::{Client, ClientFlag, ServerState};

/// What a subscription takes besides its name, about: its places here and in the registry.
const SUBSCRIPTION_BYTES: usize = 128;

/// The part of a connection that is pushed to: its outbox, its subscriptions, whether it monitors.
/// When it is dropped all of them end.
#[derive(Debug)]
pub struct Pushes {
    /// What waits to be written.
    pub(crate) outbox: Arc<Outbox>,
    /// So many messages that wait there have to be written before the next reply: that says that a
    /// subscription has ended.
    pub(crate) come_first: usize,
    pubsub: Arc<PubSub>,
    monitors: Arc<Monitors>,
    channels: BTreeSet<Bytes>,
    patterns: BTreeSet<Bytes>,
    shards: BTreeSet<Bytes>,
}

impl Pushes {
    /// Those of a connection that has not subscribed to anything yet.
    pub(crate) fn new(client: &Arc<Client>, state: &ServerState) -> Self {
        Self {
            outbox: Outbox::of(client),
            come_first: 0,
            pubsub: Arc::clone(&state.pubsub),
            monitors: Arc::clone(&state.monitors),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shards: BTreeSet::new(),
        }
    }

    /// Subscribes, if it has not yet.
    pub(super) fn subscribe(&mut self, kind: Kind, name: &Bytes) {
        if self.of(kind).contains(name) {
            return;
        }
        if !self.has_any() {
            self.pubsub.count_subscriber(true);
            self.outbox.client.set(ClientFlag::PUBSUB, true);
        }
        // The words of a request are parts of the read buffer.
        let name = Bytes::copy_from_slice(name);
        let client = &self.outbox.client;
        client.subscribed_bytes.fetch_add(name.len() + SUBSCRIPTION_BYTES, Ordering::Relaxed);
        self.of(kind).insert(name.clone());
        self.pubsub.subscribe(kind, name, &self.outbox);
        self.tell_count(kind);
    }

    /// Ends a subscription, if there is one. Nothing of it comes any more, but for what waits in the
    /// outbox, which is to be written before the next reply.
    pub(super) fn unsubscribe(&mut self, kind: Kind, name: &Bytes) {
        if !self.of(kind).remove(name) {
            return;
        }
        let client = &self.outbox.client;
        client.subscribed_bytes.fetch_sub(name.len() + SUBSCRIPTION_BYTES, Ordering::Relaxed);
        self.pubsub.unsubscribe(kind, name, self.outbox.client.id);
        self.come_first = self.outbox.len();
        self.tell_count(kind);
        if !self.has_any() {
            self.pubsub.count_subscriber(false);
            self.outbox.client.set(ClientFlag::PUBSUB, false);
        }
    }

    /// What it has subscribed to.
    pub(super) fn names(&mut self, kind: Kind) -> Vec<Bytes> {
        self.of(kind).iter().cloned().collect()
    }

    /// The number in the confirmations: channels and patterns together, shard channels alone.
    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels.len() + self.patterns.len(),
            Kind::Shard => self.shards.len(),
        }
    }

    /// Whether it has subscribed to anything.
    #[must_use]
    pub(crate) fn has_any(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty())
    }

    /// Ends all subscriptions, and monitoring.
    pub(crate) fn leave(&mut self) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for name in self.names(kind) {
                self.unsubscribe(kind, &name);
            }
        }
        if self.outbox.client.has(ClientFlag::MONITOR) {
            self.monitors.remove(self.outbox.client.id);
            self.outbox.client.set(ClientFlag::MONITOR, false);
            self.come_first = self.outbox.len();
        }
    }

    fn of(&mut self, kind: Kind) -> &mut BTreeSet<Bytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    fn tell_count(&mut self, kind: Kind) {
        let count = self.of(kind).len();
        self.outbox.client.subscriptions(kind).store(count, Ordering::Relaxed);
    }
}

impl Drop for Pushes {
    fn drop(&mut self) {
        self.leave();
    }
}
