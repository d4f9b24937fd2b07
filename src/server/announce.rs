//! What the writer tells subscribers: keyspace events, and messages of transactions, in the order in
//! which they came about, behind the publication of the batch that made them.

use std::collections::VecDeque;
use std::pin::Pin;

use crate::commands::{Message, ServerState, event_messages};
use crate::data::{Event, EventClasses};

/// Messages behind a fan-out to many beyond which the writer takes no further calls.
const WAITING_MAX: usize = 16 << 10;

/// What is to be told.
#[derive(Default)]
pub(super) struct Announcements {
    /// Of what has run since the last batch was taken.
    open: Vec<Message>,
    /// Of what is published, behind a fan-out to many.
    waiting: VecDeque<Message>,
    /// Ready when that fan-out is through.
    fanout: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Announcements {
    /// Notes the events of a transaction that was committed.
    pub(super) fn note(&mut self, state: &ServerState, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let classes = EventClasses::parse(&state.config.load().notify_keyspace_events);
        self.open.extend(events.iter().flat_map(|event| event_messages(event, classes)));
    }

    /// Notes the messages of a program that was committed.
    pub(super) fn add(&mut self, messages: Vec<Message>) {
        self.open.extend(messages);
    }

    /// What was noted since the last time.
    pub(super) fn take_open(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.open)
    }

    /// Tells what is published now, behind what waits.
    pub(super) fn publish(&mut self, state: &ServerState, messages: Vec<Message>) {
        self.waiting.extend(messages);
        if self.fanout.is_none() {
            self.tell(state);
        }
    }

    /// Tells what waits, up to the next fan-out to many.
    pub(super) fn tell(&mut self, state: &ServerState) {
        let mut next = std::iter::from_fn(|| self.waiting.pop_front());
        let large = state.pubsub.publish_all(state, &mut next);
        self.fanout = large.map(|large| Box::pin(state.pubsub.finish(large)) as _);
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
