//! What the writer tells behind the publication of a batch, in the order in which it came about:
//! messages to subscribers, invalidations to those who keep copies, and the answers to those who wait
//! for the batch.
//!
//! All of it is one queue. Where a message or an invalidation goes to many, what is behind it waits
//! until it is through, the answers included, and others run meanwhile.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::message::Waiting;
use crate::commands::tracking::{Broadcast, Cause, Delivery, Noted};
use crate::commands::{
    FANOUT_AT_ONCE_MAX, FANOUT_STEP, FANOUT_TURN, Message, ServerState, event_messages,
};
use crate::data::{Event, EventClasses, Modified};

/// What may wait behind a fan-out to many; beyond that the writer takes no further calls.
const WAITING_MAX: usize = 16 << 10;

/// Something to be told.
pub(super) enum Told {
    /// To subscribers.
    Message(Message),
    /// A client that keeps copies has read this key: it is remembered.
    Read(Cause, Bytes),
    /// To those who keep copies.
    Modified(Cause, Modified),
    /// The end of a batch: to those who keep copies of all keys with some prefix.
    Broadcast,
    /// The batch is published.
    Answer(Waiting),
}

/// What is to be told.
#[derive(Default)]
pub(super) struct Announcements {
    /// Of what has run since the last batch was taken.
    open: Vec<Told>,
    /// Of what is published, behind a fan-out to many.
    waiting: VecDeque<Told>,
    broadcast: Broadcast,
    /// Ready when that fan-out is through.
    fanout: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Announcements {
    /// Notes the events of a transaction that was committed, and what it has modified.
    pub(super) fn note(
        &mut self,
        state: &ServerState,
        events: &[Event],
        modified: Vec<Modified>,
        cause: Cause,
    ) {
        if modified.is_empty() && events.is_empty() {
            return;
        }
        self.open.extend(modified.into_iter().map(|modified| Told::Modified(cause, modified)));
        if events.is_empty() {
            return;
        }
        let classes = EventClasses::parse(&state.config.load().notify_keyspace_events);
        let messages = events.iter().flat_map(|event| event_messages(event, classes));
        self.open.extend(messages.map(Told::Message));
    }

    /// Notes what a call has read for a client that keeps copies.
    pub(super) fn remember<'k>(&mut self, cause: Cause, keys: impl IntoIterator<Item = &'k Bytes>) {
        self.open.extend(keys.into_iter().map(|key| Told::Read(cause, key.clone())));
    }

    /// Notes what a program has to tell that was committed.
    pub(super) fn add(
        &mut self,
        messages: Vec<Message>,
        trail: impl Iterator<Item = Noted>,
        cause: Cause,
    ) {
        self.open.extend(trail.map(|noted| match noted {
            Noted::Read(_, key) => Told::Read(cause, key),
            Noted::Modified(modified) => Told::Modified(cause, modified),
        }));
        self.open.extend(messages.into_iter().map(Told::Message));
    }

    /// What was noted since the last time.
    pub(super) fn take_open(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.open)
    }

    /// Tells what is published now, and answers those who wait for it, behind what waits.
    pub(super) fn publish(
        &mut self,
        state: &Arc<ServerState>,
        told: Vec<Told>,
        answers: impl IntoIterator<Item = Waiting>,
    ) {
        if told.is_empty() && self.is_idle() {
            answers.into_iter().for_each(|waiting| waiting.answer(&Ok(())));
            return;
        }
        let modifies = told.iter().any(|told| matches!(told, Told::Modified(..)));
        self.waiting.extend(told);
        if modifies {
            self.waiting.push_back(Told::Broadcast);
        }
        self.waiting.extend(answers.into_iter().map(Told::Answer));
        if self.fanout.is_none() {
            self.tell(state);
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.fanout.is_none()
    }

    /// Tells what waits, up to the next fan-out to many.
    pub(super) fn tell(&mut self, state: &Arc<ServerState>) {
        let mut put_down = 0;
        while let Some(told) = self.waiting.pop_front() {
            put_down += match told {
                Told::Message(message) => {
                    let (receivers, rest) = state.pubsub.publish(state, message);
                    self.fanout = rest.map(|rest| Box::pin(state.pubsub.finish(rest)) as _);
                    receivers
                }
                Told::Read(cause, key) => {
                    state.tracking.remember(cause.client, cause.reply, &key);
                    0
                }
                Told::Modified(cause, modified) => {
                    let delivery = self.modified(state, cause, &modified);
                    self.deliver(state, delivery)
                }
                Told::Broadcast => {
                    let delivery = self.broadcast.take(&state.tracking);
                    self.deliver(state, delivery)
                }
                Told::Answer(waiting) => {
                    waiting.answer(&Ok(()));
                    0
                }
            };
            if self.fanout.is_none() && put_down >= FANOUT_TURN {
                self.fanout = Some(Box::pin(tokio::task::yield_now()));
            }
            if self.fanout.is_some() {
                return;
            }
        }
    }

    fn modified(
        &mut self,
        state: &ServerState,
        cause: Cause,
        modified: &Modified,
    ) -> Option<Delivery> {
        match modified {
            Modified::Key { key, expired } => {
                let by = if *expired { Cause::NOBODY } else { cause };
                self.broadcast.note(&state.tracking, key, by);
                state.tracking.modified(key, cause)
            }
            Modified::All => Some(state.tracking.all_modified(cause)),
        }
    }

    /// Puts invalidations down; for how many. Those for many are left to a task.
    fn deliver(&mut self, state: &Arc<ServerState>, delivery: Option<Delivery>) -> usize {
        let Some(mut delivery) = delivery else { return 0 };
        let count = delivery.left();
        if count <= FANOUT_AT_ONCE_MAX {
            delivery.advance(state, usize::MAX);
        } else {
            let state = Arc::clone(state);
            let task = tokio::spawn(async move {
                while !delivery.advance(&state, FANOUT_STEP) {
                    tokio::task::yield_now().await;
                }
            });
            self.fanout = Some(Box::pin(async move { drop(task.await) }));
        }
        count
    }

    /// Ready when the fan-out to many is through; never where there is none.
    pub(super) async fn fanned_out(&mut self) {
        match &mut self.fanout {
            Some(fanout) => fanout.await,
            None => std::future::pending().await,
        }
        self.fanout = None;
    }

    /// Whether so much waits that nothing should be added.
    pub(super) fn are_many(&self) -> bool {
        self.waiting.len() > WAITING_MAX
    }
}
