//! Invalidations on their way to those who are told.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::Tracker;
use crate::commands::pubsub::{Outbox, PlaceAmongReplies, push_at};
use crate::commands::{Client, ClientFlag, ServerState};
use crate::protocol::{Reply, ReplyEncoder, Version};

/// The channel on which a connection that speaks RESP2 is told.
const CHANNEL: &str = "__redis__:invalidate";

/// By whose call something was modified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The client; 0 where it was nobody's.
    pub(crate) client: u64,
    /// The number of the reply of the call.
    pub(crate) reply: u64,
}

impl Cause {
    /// Nobody's call.
    pub(crate) const NOBODY: Self = Self { client: 0, reply: 0 };

    /// Where `client` is told that all keys were modified.
    pub(super) fn place_of_all(self, client: u64) -> PlaceAmongReplies {
        if client == self.client {
            places(0, Some(self.reply))
        } else {
            PlaceAmongReplies { after: 0, behind_group: true }
        }
    }
}

/// Behind the reply with which a key was read, and behind that of the call which modified it.
pub(super) fn places(read: u64, own: Option<u64>) -> PlaceAmongReplies {
    PlaceAmongReplies { after: read.max(own.unwrap_or(0)), behind_group: false }
}

/// What is no good any more.
#[derive(Debug)]
pub(super) enum What {
    /// These keys.
    Keys(Vec<Bytes>),
    /// All.
    All,
}

impl What {
    pub(super) fn keys<'k>(keys: impl IntoIterator<Item = &'k Bytes>) -> Self {
        Self::Keys(keys.into_iter().cloned().collect())
    }

    fn reply(&self) -> Reply {
        match self {
            Self::Keys(keys) => Reply::array(keys.iter().cloned()),
            Self::All => Reply::Null,
        }
    }
}

/// The same invalidation for several clients.
#[derive(Debug)]
pub(super) struct Part {
    to: SmallVec<[(Arc<Tracker>, PlaceAmongReplies); 1]>,
    what: What,
    /// So many of them were told.
    told: usize,
    /// Encoded: as a push, as a message.
    frames: [Option<Bytes>; 2],
}

impl Part {
    pub(super) fn new(
        to: impl IntoIterator<Item = (Arc<Tracker>, PlaceAmongReplies)>,
        what: What,
    ) -> Self {
        Self { to: to.into_iter().collect(), what, told: 0, frames: [None, None] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.to.is_empty()
    }

    /// Tells at most so many; how many that were.
    fn advance(&mut self, state: &ServerState, budget: usize) -> usize {
        let from = self.told;
        let end = self.to.len().min(from.saturating_add(budget));
        while self.told < end {
            let Some((tracker, place)) = self.to.get(self.told) else { break };
            self.told += 1;
            tell(state, tracker, *place, &self.what, &mut self.frames);
        }
        self.told - from
    }
}

/// Invalidations that are put down in the outboxes of those who are told, in steps.
#[derive(Debug, Default)]
pub(crate) struct Delivery(VecDeque<Part>);

impl From<Part> for Delivery {
    fn from(part: Part) -> Self {
        Self(VecDeque::from([part]))
    }
}

impl Delivery {
    /// Adds one behind.
    pub(super) fn add(&mut self, part: Part) {
        self.0.push_back(part);
    }

    /// How many are still to be told.
    pub(crate) fn left(&self) -> usize {
        self.0.iter().map(|part| part.to.len() - part.told).sum()
    }

    /// Goes on for at most so many; whether all have been told.
    pub(crate) fn advance(&mut self, state: &ServerState, mut budget: usize) -> bool {
        while let Some(part) = self.0.front_mut() {
            budget -= part.advance(state, budget);
            if part.told < part.to.len() {
                return false;
            }
            self.0.pop_front();
        }
        true
    }
}

/// Tells a client, on its own connection or on the one to which it redirects. Where that is gone, the
/// client is told this.
fn tell(
    state: &ServerState,
    tracker: &Tracker,
    place: PlaceAmongReplies,
    what: &What,
    frames: &mut [Option<Bytes>; 2],
) {
    let own = &tracker.client;
    let target = match tracker.options.redirect {
        None => Arc::clone(own),
        Some(id) => match state.clients.get(id).filter(stays) {
            Some(target) => target,
            None => return tell_broken(state, own, id),
        },
    };
    let is_redirected = tracker.options.redirect.is_some();
    let speaks_resp3 = version(&target) == Version::Resp3;
    let listens = is_redirected && target.has(ClientFlag::PUBSUB);
    if !(speaks_resp3 || listens) {
        return;
    }
    let [push, message] = frames;
    let frame = if speaks_resp3 {
        let words = || Reply::Push(vec!["invalidate".into(), what.reply()]);
        push.get_or_insert_with(|| encoded(&words(), Version::Resp3))
    } else {
        let words = || Reply::Push(vec!["message".into(), CHANNEL.into(), what.reply()]);
        message.get_or_insert_with(|| encoded(&words(), Version::Resp2))
    };
    let place = if target.id == own.id { place } else { PlaceAmongReplies::default() };
    push_to(state, &target, frame.clone(), place);
}

/// Whether a connection is not about to end.
fn stays(client: &Arc<Client>) -> bool {
    !client.has(ClientFlag::CLOSE_AFTER_REPLY) && !client.is_killed()
}

fn tell_broken(state: &ServerState, client: &Arc<Client>, redirect: u64) {
    client.set(ClientFlag::TRACKING_BROKEN, true);
    if version(client) == Version::Resp3 {
        let id = Reply::Integer(i64::try_from(redirect).unwrap_or(i64::MAX));
        let reply = Reply::Push(vec!["tracking-redir-broken".into(), id]);
        let place = PlaceAmongReplies { after: 0, behind_group: true };
        push_to(state, client, encoded(&reply, Version::Resp3), place);
    }
}

fn push_to(state: &ServerState, client: &Arc<Client>, frame: Bytes, place: PlaceAmongReplies) {
    let limit = state.config.load().client_output_buffer_limit.pubsub;
    push_at(state, &Outbox::of(client), frame, place, limit);
}

fn version(client: &Client) -> Version {
    match client.resp.load(std::sync::atomic::Ordering::Relaxed) {
        3 => Version::Resp3,
        _ => Version::Resp2,
    }
}

fn encoded(reply: &Reply, version: Version) -> Bytes {
    let mut frame = BytesMut::new();
    ReplyEncoder::new(version).write(reply, &mut frame);
    frame.freeze()
}
