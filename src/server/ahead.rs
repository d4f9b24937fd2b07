//! What a peer sends while it takes no reply.
//!
//! Most clients write a whole pipeline before they read the first of its replies. Once these fill the
//! socket such a peer takes nothing until the rest of its requests has been read, so the rest is read
//! and kept until the replies before it are sent. A peer that goes on reading is held back by its
//! socket, as before.

use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;

use super::buffers;
use super::stream::WriteHalf;
use crate::commands::{Client, ServerState};

/// A peer that takes nothing for so long may be one that does not read yet.
const STALLED: Duration = Duration::from_millis(10);
/// The least room of a read.
const STEP_BYTES: usize = 64 << 10;

/// Requests that were read before their turn.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    bytes: BytesMut,
    /// Nothing more can be read: the task of the connection finds out why.
    has_ended: bool,
}

impl Ahead {
    /// Waits until the socket takes bytes, or its peer is gone. May be dropped at any time.
    ///
    /// # Errors
    /// Where the socket fails.
    pub(super) async fn writable(
        &mut self,
        state: &ServerState,
        client: &Client,
        stream: &WriteHalf,
    ) -> io::Result<()> {
        let mut writable = pin!(stream.writable());
        if let Ok(done) = tokio::time::timeout(STALLED, writable.as_mut()).await {
            return done;
        }
        while self.has_room(state) {
            tokio::select! {
                biased;
                done = writable.as_mut() => return done,
                readable = stream.readable() => {
                    readable?;
                    self.read(state, client, stream);
                }
            }
        }
        writable.await
    }

    /// Whether more may be kept. No peer is to be closed for what was read without need.
    fn has_room(&self, state: &ServerState) -> bool {
        let query_max = state.config.load().client_query_buffer_limit;
        let clients_max = state.memory.clients_max();
        !self.has_ended
            && (self.bytes.len() as u64) < query_max / 2
            && state.memory.clients() < clients_max / 2
    }

    /// Reads once, and tells what is held.
    fn read(&mut self, state: &ServerState, client: &Client, stream: &WriteHalf) {
        let capacity_before = self.bytes.capacity();
        if capacity_before - self.bytes.len() < buffers::ROOM_MIN {
            self.bytes.reserve(STEP_BYTES);
        }
        match stream.read_now(&mut self.bytes) {
            Ok(0) => self.has_ended = true,
            Ok(count) => {
                client.received(&state.metrics, count);
                client.last_interaction_ms.store(state.clock.unix_ms(), Ordering::Relaxed);
                client.query_bytes.fetch_add(count, Ordering::Relaxed);
                let grown = self.bytes.capacity().saturating_sub(capacity_before);
                client.query_capacity.fetch_add(grown, Ordering::Relaxed);
                state.client_holds(client);
            }
            Err(error) => {
                let again = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
                self.has_ended = !again.contains(&error.kind());
            }
        }
    }

    /// Bytes that are kept, and what they take.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.bytes.len(), self.bytes.capacity())
    }

    /// Moves what was read behind the part of a request in `input`; whether that was anything.
    pub(super) fn move_to(&mut self, input: &mut BytesMut) -> bool {
        let bytes = std::mem::take(&mut self.bytes);
        let is_any = !bytes.is_empty();
        if input.is_empty() {
            *input = bytes;
        } else {
            input.extend_from_slice(&bytes);
        }
        is_any
    }
}
