//! The replies of a connection on their way out: gathered, and sent with one write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;
use tokio_util::codec::Encoder;

use super::stream::WriteHalf;
use crate::commands::Client;
use crate::config::OutputLimit;
use crate::protocol::{Reply, ReplyEncoder, Version};

/// Replies gathered beyond this size are sent before the next command runs.
const FLUSH_BYTES: usize = 64 << 10;
/// Under a hard limit the replies of one pipeline count together, so more are gathered: up to the
/// limit, but not beyond this size.
const LIMITED_FLUSH_BYTES: usize = 1 << 20;

/// Why replies cannot be sent any more.
#[derive(Debug)]
pub(crate) enum Full {
    /// `client-output-buffer-limit` is exceeded.
    Limit,
    /// The peer is gone.
    Io(io::Error),
}

/// Encoded replies that were not sent yet.
#[derive(Debug)]
pub(crate) struct Output {
    stream: Arc<WriteHalf>,
    client: Arc<Client>,
    buffer: BytesMut,
    sent: u64,
    limit: OutputLimit,
}

impl Output {
    /// Nothing gathered yet, in `buffer`, which is empty; `client` is told what waits for the socket,
    /// `limit` says how much may.
    pub(crate) fn new(
        stream: Arc<WriteHalf>,
        client: Arc<Client>,
        buffer: BytesMut,
        limit: OutputLimit,
    ) -> Self {
        Self { stream, client, buffer, sent: 0, limit }
    }

    /// Adds a reply.
    pub(crate) fn push(&mut self, reply: &Reply, version: Version) {
        let result = ReplyEncoder::new(version).encode(reply, &mut self.buffer);
        if let Err(error) = result {
            tracing::error!(%error, "a reply could not be encoded");
        }
    }

    /// Adds a reply, or what is pushed, that is encoded.
    pub(crate) fn push_encoded(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The socket to which it is sent.
    pub(crate) fn stream(&self) -> Arc<WriteHalf> {
        Arc::clone(&self.stream)
    }

    /// Whether so much is gathered that the next command should not add to it before a
    /// [`Self::flush`].
    pub(crate) fn is_large(&self) -> bool {
        let hard_bytes = self.limit.hard_bytes;
        let hard_max = usize::try_from(hard_bytes).unwrap_or(usize::MAX);
        let much = match hard_max {
            0 => FLUSH_BYTES,
            _ => hard_max.clamp(FLUSH_BYTES, LIMITED_FLUSH_BYTES),
        };
        self.buffer.len() >= much || exceeds(self.buffer.len(), hard_bytes)
    }

    /// Sends what is gathered. Waits for the peer: this is the back-pressure on a client that does
    /// not read.
    ///
    /// # Errors
    /// Where the peer is gone, where more is gathered than the hard limit allows, and where more than
    /// the soft limit allows has waited for the socket for its time. Then nothing more may be sent.
    pub(crate) async fn flush(&mut self) -> Result<(), Full> {
        let limit = self.limit;
        if exceeds(self.buffer.len(), limit.hard_bytes) {
            return Err(Full::Limit);
        }
        let mut rest = self.take_up(&self.buffer).map_err(Full::Io)?;
        if !rest.is_empty() {
            let patience = Duration::from_secs(limit.soft_seconds.max(1));
            let deadline = Instant::now().checked_add(patience);
            while !rest.is_empty() {
                self.client.output_bytes.store(rest.len(), Ordering::Relaxed);
                match deadline.filter(|_| exceeds(rest.len(), limit.soft_bytes)) {
                    None => self.stream.writable().await,
                    Some(deadline) => tokio::time::timeout_at(deadline, self.stream.writable())
                        .await
                        .map_err(|_| Full::Limit)?,
                }
                .map_err(Full::Io)?;
                rest = self.take_up(rest).map_err(Full::Io)?;
            }
            self.client.output_bytes.store(0, Ordering::Relaxed);
        }
        self.sent += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what the socket takes now; the rest.
    fn take_up<'a>(&self, mut bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// Gives the buffer up, which is empty; the next reply makes a new one.
    pub(crate) fn release(&mut self) {
        self.buffer = BytesMut::new();
    }

    /// The empty buffer, to be used again, and how many bytes were sent.
    pub(crate) fn into_parts(self) -> (BytesMut, u64) {
        (self.buffer, self.sent)
    }
}

/// Whether `bytes` reach a limit; 0 is none.
fn exceeds(bytes: usize, limit: u64) -> bool {
    limit != 0 && bytes as u64 >= limit
}
