//! One message on its way to all who get it.

use std::ops::Bound;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::outbox::{Outbox, Place as PlaceAmongReplies};
use super::registry::Line;
use super::{Kind, Message};
use crate::commands::ServerState;
use crate::config::OutputLimit;
use crate::data::glob_matches;
use crate::protocol::{Reply, ReplyEncoder, Version};

/// A fan-out in the lane of the large.
#[derive(Debug)]
pub(crate) struct Queued {
    /// What is to be carried out.
    pub(crate) fanout: Fanout,
    /// Told when it is.
    pub(crate) done: oneshot::Sender<()>,
}

/// A message that is being put down for its receivers, in steps. Between two steps anybody may come
/// or go: those behind the place that was reached are served as they are then.
#[derive(Debug)]
pub struct Fanout {
    message: Message,
    place: Place,
    /// Encoded for those at the place.
    frames: Frames,
}

/// Up to where a message has come.
#[derive(Debug)]
enum Place {
    /// To the subscribers of its channel up to this id.
    Channel(u64),
    /// To those of the patterns before this one, and to its own up to this id.
    Pattern(Bytes, u64),
    /// To all of the patterns before this one.
    BeforePattern(Bytes),
    /// To all.
    End,
}

/// A message as bytes, made once for each version of the protocol that somebody speaks.
#[derive(Debug, Default)]
struct Frames([Option<Bytes>; 2]);

impl Frames {
    fn get(&mut self, version: Version, words: impl FnOnce() -> Vec<Reply>) -> Bytes {
        let slot = match version {
            Version::Resp2 => &mut self.0[0],
            Version::Resp3 => &mut self.0[1],
        };
        slot.get_or_insert_with(|| {
            let mut frame = BytesMut::new();
            ReplyEncoder::new(version).write(&Reply::Push(words()), &mut frame);
            frame.freeze()
        })
        .clone()
    }
}

/// What is left of a step, and what it needs to know.
struct Step<'a> {
    state: &'a ServerState,
    limit: OutputLimit,
    budget: usize,
}

impl Step<'_> {
    /// Puts `frame`s down for those behind `after`; where the budget ends before they do, the last
    /// that was served.
    fn serve(
        &mut self,
        line: &Line,
        after: u64,
        mut frame: impl FnMut(Version) -> Bytes,
    ) -> Option<u64> {
        let behind = line.behind(after);
        let served = behind.get(..self.budget).unwrap_or(behind);
        for (_, outbox) in served {
            push(self.state, outbox, frame(outbox.version()), self.limit);
        }
        self.budget -= served.len();
        if served.len() == behind.len() { None } else { Some(served.last().map_or(after, |s| s.0)) }
    }
}

/// Pushes a message that may stand behind any reply.
pub(in crate::commands) fn push(
    state: &ServerState,
    outbox: &Outbox,
    message: Bytes,
    limit: OutputLimit,
) {
    push_at(state, outbox, message, PlaceAmongReplies::default(), limit);
}

/// Pushes, and counts a connection that was closed at its limit.
pub(in crate::commands) fn push_at(
    state: &ServerState,
    outbox: &Outbox,
    message: Bytes,
    place: PlaceAmongReplies,
    limit: OutputLimit,
) {
    if !outbox.push(message, place, limit) {
        state.metrics.output_limit_disconnections.add(1);
        let held = outbox.client.pushed_bytes.load(Ordering::Relaxed);
        let client = outbox.client.id;
        tracing::warn!(client, held, "a subscriber is dropped at client-output-buffer-limit");
    } else {
        state.client_holds(&outbox.client);
    }
}

impl Fanout {
    /// Nobody has got `message` yet.
    pub(super) fn new(message: Message) -> Self {
        Self { message, place: Place::Channel(0), frames: Frames::default() }
    }

    /// Goes on for at most so many receivers and patterns; whether it is through.
    pub(crate) fn advance(&mut self, state: &ServerState, budget: usize) -> bool {
        let limit = state.config.load().client_output_buffer_limit.pubsub;
        let mut step = Step { state, limit, budget };
        if let Place::Channel(after) = self.place {
            match self.serve_channel(&mut step, after) {
                Some(last) => self.place = Place::Channel(last),
                None if self.message.is_shard => self.place = Place::End,
                None => self.place = Place::BeforePattern(Bytes::new()),
            }
        }
        if !matches!(self.place, Place::Channel(_) | Place::End) {
            self.serve_patterns(&mut step);
        }
        matches!(self.place, Place::End)
    }

    fn serve_channel(&mut self, step: &mut Step<'_>, after: u64) -> Option<u64> {
        let Message { channel, payload, .. } = &self.message;
        let kind = self.message.kind();
        let words = || vec![kind.message().into(), channel.clone().into(), payload.clone().into()];
        let frames = &mut self.frames;
        let mut last = None;
        step.state.pubsub.with_line(kind, channel, |line| {
            last = step.serve(line, after, |version| frames.get(version, words));
        });
        last
    }

    fn serve_patterns(&mut self, step: &mut Step<'_>) {
        let Message { channel, payload, .. } = &self.message;
        let (from, resume) = match &self.place {
            Place::Pattern(pattern, after) => (pattern.clone(), Some(*after)),
            Place::BeforePattern(pattern) => (pattern.clone(), None),
            Place::Channel(_) | Place::End => return,
        };
        let frames = &mut self.frames;
        let mut stopped = None;
        let ended = step.state.pubsub.with_patterns(Bound::Included(&from), |pattern, line| {
            if step.budget == 0 {
                stopped = Some(Place::BeforePattern(pattern.clone()));
                return false;
            }
            let after = match resume {
                Some(after) if *pattern == from => after,
                _ => {
                    step.budget -= 1;
                    *frames = Frames::default();
                    0
                }
            };
            if !glob_matches(pattern, channel, false) {
                return true;
            }
            let words = || {
                let kind = Kind::Pattern.message();
                [
                    kind.into(),
                    pattern.clone().into(),
                    channel.clone().into(),
                    payload.clone().into(),
                ]
                .into()
            };
            let last = step.serve(line, after, |version| frames.get(version, words));
            stopped = last.map(|last| Place::Pattern(pattern.clone(), last));
            stopped.is_none()
        });
        self.place = if ended { Place::End } else { stopped.unwrap_or(Place::End) };
    }
}
