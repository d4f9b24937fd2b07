//! The replies of a connection on their way out: gathered, and sent with one write.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;
use tokio_util::codec::Encoder;

use super::ahead::Ahead;
use super::buffers;
use super::stream::WriteHalf;
use crate::commands::{Client, ServerState};
use crate::config::OutputLimit;
use crate::protocol::{Reply, ReplyEncoder, Version};

/// Replies gathered beyond this size are sent before the next command runs.
const FLUSH_BYTES: usize = 64 << 10;
/// Under a hard limit the replies of one pipeline count together, so more are gathered: up to the
/// limit, but not beyond this size.
const LIMITED_FLUSH_BYTES: usize = 1 << 20;

/// Bytes that one connection hands to its socket before others get their turn: the kernel copies them,
/// and has the peer take them where that is on the same machine, in some tens of microseconds.
const TURN_BYTES: usize = 64 << 10;
/// What may wait for a client that has not authenticated.
const STRANGER_BYTES_MAX: usize = 1024;

/// Why replies cannot be sent any more.
#[derive(Debug)]
pub(crate) enum Full {
    /// `client-output-buffer-limit` is exceeded.
    Limit,
    /// The peer is gone.
    Io(io::Error),
}

/// How long what is gathered may wait for the socket.
pub(super) struct Patience {
    limit: OutputLimit,
    /// The end of the time of the soft limit, once something has waited.
    until: Option<Option<Instant>>,
    /// Bytes that count as waiting beside those that wait.
    made: usize,
}

impl Patience {
    /// With this limit; nothing has waited yet.
    pub(super) fn new(limit: OutputLimit) -> Self {
        Self { limit, until: None, made: 0 }
    }

    /// The peer has taken something: of a reply that is made meanwhile it is the peer that does not
    /// read for whom the time runs.
    fn moved(&mut self) {
        if self.made > 0 {
            self.until = None;
        }
    }

    /// Until when so many bytes may go on waiting; `None` is without an end.
    fn deadline(&mut self, waiting: usize) -> Option<Instant> {
        let time = Duration::from_secs(self.limit.soft_seconds.max(1));
        let until = *self.until.get_or_insert_with(|| Instant::now().checked_add(time));
        until.filter(|_| self.limit.is_soft_at(waiting.max(self.made)))
    }
}

/// What is left of something that is sent.
struct Rest<'a> {
    bytes: &'a [u8],
    /// Whether the socket would take more.
    has_room: bool,
}

/// Encoded replies that were not sent yet.
#[derive(Debug)]
pub(crate) struct Output {
    stream: Arc<WriteHalf>,
    client: Arc<Client>,
    /// What comes before the buffer.
    pieces: VecDeque<BytesMut>,
    buffer: BytesMut,
    sent: u64,
    limit: OutputLimit,
    /// Whether the client has still to authenticate.
    is_stranger: bool,
    /// What the peer sends while it takes nothing.
    ahead: Ahead,
}

impl Output {
    /// Nothing gathered yet; `client` is told what waits for the socket, `limit` says how much may.
    pub(crate) fn new(stream: Arc<WriteHalf>, client: Arc<Client>, limit: OutputLimit) -> Self {
        let (pieces, buffer) = (VecDeque::new(), BytesMut::new());
        let (is_stranger, ahead) = (false, Ahead::default());
        Self { stream, client, pieces, buffer, sent: 0, limit, is_stranger, ahead }
    }

    /// Says whether the client has still to authenticate: then nobody waits for it to read.
    pub(crate) fn set_stranger(&mut self, is_stranger: bool) {
        self.is_stranger = is_stranger;
    }

    /// What replies are gathered in, taken with the first.
    fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers::take();
        }
        &mut self.buffer
    }

    /// Adds a reply.
    pub(crate) fn push(&mut self, reply: Reply, version: Version) {
        if let Reply::Encoded(pieces) = reply {
            if !self.buffer.is_empty() {
                self.pieces.push_back(std::mem::take(&mut self.buffer));
            }
            return self.pieces.extend(pieces);
        }
        let result = ReplyEncoder::new(version).encode(reply, self.buffer());
        if let Err(error) = result {
            tracing::error!(%error, "a reply could not be encoded");
        }
    }

    /// Adds a reply, or what is pushed, that is encoded.
    pub(crate) fn push_encoded(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    /// The socket to which it is sent.
    pub(crate) fn stream(&self) -> Arc<WriteHalf> {
        Arc::clone(&self.stream)
    }

    /// Whether so much is gathered that the next command should not add to it before a
    /// [`Self::flush`].
    pub(crate) fn is_large(&self) -> bool {
        let hard_max = usize::try_from(self.limit.hard_bytes).unwrap_or(usize::MAX);
        let much = match hard_max {
            0 => FLUSH_BYTES,
            _ => hard_max.clamp(FLUSH_BYTES, LIMITED_FLUSH_BYTES),
        };
        self.len() >= much || self.limit.is_hard_at(self.len())
    }

    /// Sends what is gathered. Waits for the peer: this is the back-pressure on a client that does
    /// not read.
    ///
    /// # Errors
    /// Where the peer is gone, where more is gathered than the hard limit allows, and where more than
    /// the soft limit allows has waited for the socket for its time. Then nothing more may be sent.
    pub(crate) async fn flush(&mut self, state: &ServerState) -> Result<(), Full> {
        let mut waiting = self.len();
        if self.limit.is_hard_at(waiting) {
            return Err(Full::Limit);
        }
        let mut patience = Patience::new(self.limit);
        while let Some(piece) = self.pieces.pop_front() {
            self.send(state, &piece, &mut waiting, &mut patience).await?;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        self.send(state, &buffer, &mut waiting, &mut patience).await?;
        buffer.clear();
        self.buffer = buffer;
        if patience.until.is_some() {
            self.client.output_bytes.store(0, Ordering::Relaxed);
            state.client_holds(&self.client);
        }
        Ok(())
    }

    /// Requests that arrived while replies waited for the socket.
    pub(super) fn ahead(&mut self) -> &mut Ahead {
        &mut self.ahead
    }

    /// How much may wait.
    pub(super) fn limit(&self) -> OutputLimit {
        self.limit
    }

    /// Sends a piece of a reply of which so many bytes were made, this piece included: they count as
    /// if all of them waited, since where nobody bounds what is made they would.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub(super) async fn send_piece(
        &mut self,
        state: &ServerState,
        piece: &[u8],
        made: usize,
        patience: &mut Patience,
    ) -> Result<(), Full> {
        if self.limit.is_hard_at(made) {
            return Err(Full::Limit);
        }
        let mut waiting = piece.len();
        patience.made = made;
        let sent = self.send(state, piece, &mut waiting, patience).await;
        let now_ms = state.clock.unix_ms();
        self.client.last_interaction_ms.store(now_ms, Ordering::Relaxed);
        self.client.output_bytes.store(0, Ordering::Relaxed);
        sent
    }

    /// So many bytes were written to the socket by somebody else.
    pub(super) fn count_written(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Sends these bytes, which are the first of those that are `waiting`.
    async fn send(
        &mut self,
        state: &ServerState,
        bytes: &[u8],
        waiting: &mut usize,
        patience: &mut Patience,
    ) -> Result<(), Full> {
        let rest = self.take_up(bytes, waiting, patience)?;
        if !rest.bytes.is_empty() {
            // Boxed, since most sockets take most replies at once: so turns stay small.
            Box::pin(self.send_rest(state, rest, waiting, patience)).await?;
        }
        self.sent += bytes.len() as u64;
        Ok(())
    }

    /// Sends what the socket did not take at once.
    async fn send_rest(
        &mut self,
        state: &ServerState,
        mut rest: Rest<'_>,
        waiting: &mut usize,
        patience: &mut Patience,
    ) -> Result<(), Full> {
        while !rest.bytes.is_empty() {
            if rest.has_room {
                tokio::task::yield_now().await;
                rest = self.take_up(rest.bytes, waiting, patience)?;
                continue;
            }
            if self.is_stranger && *waiting > STRANGER_BYTES_MAX {
                return Err(Full::Limit);
            }
            self.client.output_bytes.store(*waiting, Ordering::Relaxed);
            state.client_holds(&self.client);
            tokio::task::yield_now().await;
            let writable = self.ahead.writable(state, &self.client, &self.stream);
            match patience.deadline(*waiting) {
                None => writable.await,
                Some(deadline) => {
                    tokio::time::timeout_at(deadline, writable).await.map_err(|_| Full::Limit)?
                }
            }
            .map_err(Full::Io)?;
            let now_ms = state.clock.unix_ms();
            self.client.last_interaction_ms.store(now_ms, Ordering::Relaxed);
            rest = self.take_up(rest.bytes, waiting, patience)?;
        }
        Ok(())
    }

    /// Bytes that are gathered.
    fn len(&self) -> usize {
        self.buffer.len() + self.pieces.iter().map(BytesMut::len).sum::<usize>()
    }

    /// Writes what the socket takes now, for one turn, of bytes that are the first of those `waiting`: the
    /// rest.
    fn take_up<'a>(
        &self,
        bytes: &'a [u8],
        waiting: &mut usize,
        patience: &mut Patience,
    ) -> Result<Rest<'a>, Full> {
        let rest = self.write(bytes).map_err(Full::Io)?;
        let taken = bytes.len() - rest.bytes.len();
        *waiting -= taken;
        if taken > 0 {
            patience.moved();
        }
        Ok(rest)
    }

    fn write<'a>(&self, mut bytes: &'a [u8]) -> io::Result<Rest<'a>> {
        let mut left = TURN_BYTES;
        while !bytes.is_empty() && left > 0 {
            match self.stream.try_write(bytes.get(..left).unwrap_or(bytes)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    left -= count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Rest { bytes, has_room: false });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Rest { bytes, has_room: true })
    }

    /// Gives the buffer up, which is empty; the next reply makes a new one.
    pub(crate) fn release(&mut self) {
        buffers::put(std::mem::take(&mut self.buffer));
    }

    /// The empty buffer, to be used again, and how many bytes were sent.
    pub(crate) fn into_parts(self) -> (BytesMut, u64) {
        (self.buffer, self.sent)
    }
}
