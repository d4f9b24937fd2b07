//! A reply that is sent while it is made: the read runs on the blocking pool and hands its reply out in
//! pieces, which the connection sends. Where the peer does not read, the read waits.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::mpsc;

use super::account;
use super::dispatch::{Dispatcher, run_read};
use super::group::Call;
use super::output::{Output, Patience};
use super::pushes;
use crate::commands::{Answer, CommandResult, Error, HELD_BYTES, Outlet, PIECES_WAITING, Portion};
use crate::data::ReadOutcome;
use crate::engine::Snapshot;
use crate::env::{OwnedRoom, Purpose};

/// The way of the pieces to the connection.
struct ToConnection(mpsc::Sender<BytesMut>);

impl Outlet for ToConnection {
    fn send(&self, piece: BytesMut) -> Result<(), Error> {
        self.0
            .blocking_send(piece)
            .map_err(|_| Error::Text("ERR the connection is gone".to_owned()))
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
        let ended = match room.take(HELD_BYTES) {
            Ok(()) => self.start_long(read, sender),
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
            place.moved(clock.monotonic_ns());
        }
        let (call, result, outcome) = match ended.await {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        drop((place, room));
        if let Err(error) = &result
            && made > 0
        {
            // A part of the reply is sent already.
            tracing::error!(client = client.id, %error, "a reply breaks off; closing");
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.end_long(&call, result, started_ns, sends, output);
        Ok(outcome)
    }

    /// Starts the read on the blocking pool.
    fn start_long(
        &self,
        read: LongRead,
        sender: mpsc::Sender<BytesMut>,
    ) -> tokio::task::JoinHandle<Ended> {
        let state = Arc::clone(&self.state);
        let (db, no_touch, version) =
            (self.session.db, self.session.no_touch, self.session.version);
        self.state.metrics.replies_streamed.add(1);
        tokio::task::spawn_blocking(move || {
            let LongRead { call, snapshot, now_ms, count } = read;
            let outlet = ToConnection(sender);
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
