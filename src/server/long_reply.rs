//! A reply that is sent while it is made: the read runs on the blocking pool and sends its reply in
//! pieces. What the socket does not take at once is the connection's to send, and the read waits where
//! the peer does not read. So the threads of the reactor have nothing to do with most pieces: the kernel
//! takes some tens of microseconds for each, in which others would wait for their replies.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::{Buf, BytesMut};
use tokio::sync::mpsc;

use super::account;
use super::dispatch::{Dispatcher, run_read};
use super::group::Call;
use super::output::{Output, Patience};
use super::pushes;
use super::stream::WriteHalf;
use crate::commands::{
    Answer, Client, CommandResult, Error, HELD_BYTES, Outlet, PIECES_WAITING, Portion, Running,
};
use crate::data::ReadOutcome;
use crate::engine::Snapshot;
use crate::env::{Clock, OwnedRoom, Purpose};

/// The way of the pieces to the peer.
struct ToPeer {
    /// To the connection.
    pieces: mpsc::Sender<BytesMut>,
    /// Pieces that the connection has not sent yet.
    left: Arc<AtomicUsize>,
    /// The socket, where nothing but the peer's pace bounds what may be sent.
    socket: Option<Socket>,
}

/// A socket to which the read itself writes.
struct Socket {
    stream: Arc<WriteHalf>,
    client: Arc<Client>,
    place: Arc<Running>,
    clock: Arc<dyn Clock>,
    /// Bytes written here.
    sent: Arc<AtomicU64>,
}

impl Socket {
    /// Writes what the socket takes now, and leaves the rest; errors are for the connection to meet.
    fn write(&self, piece: &mut BytesMut) {
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            match self.stream.try_write(rest) {
                Ok(count) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let count = piece.len() - rest.len();
        if count == 0 {
            return;
        }
        if rest.is_empty() {
            piece.clear();
        } else {
            piece.advance(count);
        }
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        self.place.moved(self.clock.monotonic_ns());
        self.client.last_interaction_ms.store(self.clock.unix_ms(), Ordering::Relaxed);
    }
}

impl Outlet for ToPeer {
    fn send(&self, piece: &mut BytesMut) -> Result<(), Error> {
        let gone = || Error::Text("ERR the connection is gone".to_owned());
        if let Some(socket) = &self.socket
            && self.left.load(Ordering::Acquire) == 0
        {
            if self.pieces.is_closed() {
                return Err(gone());
            }
            socket.write(piece);
            if piece.is_empty() {
                return Ok(());
            }
        }
        self.left.fetch_add(1, Ordering::Relaxed);
        self.pieces.blocking_send(std::mem::take(piece)).map_err(|_| gone())
    }
}

/// A read whose reply is to be sent while it is made.
pub(super) struct LongRead {
    pub(super) call: Call,
    /// Where the reply was measured.
    pub(super) snapshot: Snapshot,
    /// The time of the call, in Unix milliseconds.
    pub(super) now_ms: u64,
    /// Items of the reply.
    pub(super) count: usize,
}

/// How a long read has ended.
type Ended = (Call, CommandResult, ReadOutcome);

impl Dispatcher {
    /// Runs a read and sends its reply; what it has found out.
    ///
    /// # Errors
    /// Where the peer is gone or has to be dropped, or the reply breaks off because the read fails.
    pub(super) async fn send_long(
        &mut self,
        read: LongRead,
        started_ns: u64,
        output: &mut Output,
    ) -> io::Result<ReadOutcome> {
        let state = Arc::clone(&self.state);
        let clock = Arc::clone(&state.clock);
        let client = Arc::clone(&self.session.client);
        // What was answered before must not wait in line.
        output.flush(&state).await.map_err(|full| self.dropped(full))?;
        let place = {
            let view = Some(read.snapshot.clone());
            state.long_replies.enter(&client, view, || clock.monotonic_ns()).await
        };
        let room = OwnedRoom::new(Arc::clone(&state.memory), Purpose::Reply);
        let sends = self.session.sends_reply();
        let (sender, mut pieces) = mpsc::channel(PIECES_WAITING);
        let (left, sent) = (Arc::default(), Arc::default());
        let socket = (sends && output.limit().is_none()).then(|| Socket {
            stream: output.stream(),
            client: Arc::clone(&client),
            place: Arc::clone(place.running()),
            clock: Arc::clone(&clock),
            sent: Arc::clone(&sent),
        });
        let outlet = ToPeer { pieces: sender, left: Arc::clone(&left), socket };
        let ended = match room.take(HELD_BYTES) {
            Ok(()) => self.start_long(read, outlet),
            Err(no_room) => {
                self.end_long(&read.call, Err(no_room.into()), started_ns, sends, output);
                return Ok(ReadOutcome::default());
            }
        };
        let mut patience = Patience::new(output.limit());
        let mut made = 0;
        while let Some(piece) = pieces.recv().await {
            if sends {
                made += piece.len();
                let sent = output.send_piece(&state, &piece, made, &mut patience).await;
                sent.map_err(|full| self.dropped(full))?;
            }
            left.fetch_sub(1, Ordering::Release);
            place.running().moved(clock.monotonic_ns());
        }
        let (call, result, outcome) = match ended.await {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        drop((place, room));
        let written = sent.load(Ordering::Relaxed);
        output.count_written(written);
        if let Err(error) = &result
            && (made > 0 || written > 0)
        {
            // A part of the reply is sent already.
            tracing::error!(client = client.id, %error, "a reply breaks off; closing");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.end_long(&call, result, started_ns, sends, output);
        Ok(outcome)
    }

    /// Starts the read on the blocking pool.
    fn start_long(&self, read: LongRead, outlet: ToPeer) -> tokio::task::JoinHandle<Ended> {
        let state = Arc::clone(&self.state);
        let (db, no_touch, version) =
            (self.session.db, self.session.no_touch, self.session.version);
        self.state.metrics.replies_streamed.add(1);
        tokio::task::spawn_blocking(move || {
            let LongRead { call, snapshot, now_ms, count } = read;
            let answer = Answer::sent(&outlet, count, &state.memory, version);
            let context = state.context(db, !no_touch);
            let context = crate::data::Context { now_ms, ..context };
            let (result, outcome) = run_read(&state, &snapshot, context, &call, answer);
            (call, result, outcome)
        })
    }

    /// Counts the call, and sends what stands behind its reply, or its error.
    fn end_long(
        &mut self,
        call: &Call,
        result: CommandResult,
        started_ns: u64,
        sends: bool,
        output: &mut Output,
    ) {
        let elapsed_ns = self.state.clock.monotonic_ns() - started_ns;
        let words = &call.request.args;
        let failed = account::has_failed(&result);
        account::ran(&self.state, &self.session, call.command, words, failed, elapsed_ns);
        self.end_caching(Some(call.command));
        self.session.replies += 1;
        if let Err(error) = result {
            let reply = account::error_reply(&self.state, &error);
            if sends {
                output.push(reply, self.session.version);
            }
        }
        if let Some(pushes) = self.session.pushes.as_deref() {
            pushes::append(&pushes.outbox, output, Portion::all(self.session.replies));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use super::super::stream::split_unix;
    use super::*;
    use crate::commands::LongReplies;
    use crate::env::SimClock;

    const PIECE: usize = 16 << 10;

    #[tokio::test]
    async fn what_the_socket_takes_goes_past_the_connection_and_the_rest_stays_in_line() {
        let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
        let (_read, write) = split_unix(ours);
        let stream = Arc::new(write);
        stream.writable().await.expect("an empty socket");
        let client = Arc::new(Client::new(1, "a:1", "b:2", 3, false, 0));
        let replies = LongReplies::default();
        let place = replies.enter(&client, None, || 1).await;
        let (sender, mut pieces) = mpsc::channel(usize::from(u8::MAX));
        let (left, sent) = (Arc::<AtomicUsize>::default(), Arc::<AtomicU64>::default());
        let socket = Socket {
            stream,
            client,
            place: Arc::clone(place.running()),
            clock: Arc::new(SimClock::at_ms(1)),
            sent: Arc::clone(&sent),
        };
        let outlet = ToPeer { pieces: sender, left: Arc::clone(&left), socket: Some(socket) };
        let made = tokio::task::spawn_blocking(move || {
            // Until the socket is full, and one more.
            let mut made = 0_u8;
            let is_full = |outlet: &ToPeer| outlet.left.load(Ordering::Relaxed) > 0;
            let mut more = 2;
            while more > 0 {
                outlet.send(&mut BytesMut::from(&[made; PIECE][..])).expect("somebody wants it");
                made += 1;
                more -= usize::from(is_full(&outlet));
            }
            made
        });
        let made = usize::from(made.await.expect("the thread ends"));
        let written = usize::try_from(sent.load(Ordering::Relaxed)).expect("few bytes");
        assert!(written >= PIECE, "{written}");
        assert_eq!(left.load(Ordering::Relaxed), 2);
        let mut got = vec![0; written];
        theirs.read_exact(&mut got).await.expect("what was written");
        while let Ok(piece) = pieces.try_recv() {
            got.extend_from_slice(&piece);
        }
        let expected: Vec<u8> =
            (0..made * PIECE).map(|at| u8::try_from(at / PIECE).expect("few pieces")).collect();
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
    }
}
