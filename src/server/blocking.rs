//! A call that may wait for keys, on the side of its connection.
//!
//! The call goes to the writer, which runs it, or keeps it and says so. From then on it has a
//! [`Ticket`]: the writer marks it served before what it did for the call is committed, the connection
//! marks it withdrawn when the time is up, when `CLIENT UNBLOCK` ends the wait, or when its task ends.
//! Whoever is first decides. So a call that has gone takes nothing, and no time is kept by the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::account;
use super::buffers;
use super::dispatch::{Dispatcher, WARMINGS_MAX, may_write};
use super::group::{Call, Done};
use super::message::Message;
use super::output::{Full, Output};
use super::pushes;
use super::stream::WriteHalf;
use crate::commands::tracking::Cause;
use crate::commands::{
    Answer, Client, CommandResult, Error, Outbox, ServerState, ShutdownPhase, Unblock,
    monitor_source,
};
use crate::data::{Context, Edit};
use crate::engine::{self, ReadMode, Txn};
use crate::protocol::Reply;

const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// A call that may wait.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What is called.
    pub(crate) call: Call,
    /// Selected database of the connection.
    pub(crate) db: u16,
    /// `CLIENT NO-TOUCH`.
    pub(crate) no_touch: bool,
    /// The version of the users by which the call was allowed.
    pub(crate) users_version: u64,
    /// Who calls.
    pub(crate) client: Arc<Client>,
    /// Who calls, and the number of the reply.
    pub(crate) cause: Cause,
    /// Whether the client is remembered with what the call reads.
    pub(crate) remembers: bool,
    /// Whether it still waits.
    pub(crate) ticket: Ticket,
    /// Whether the user might not make it any more when it was to be served.
    pub(crate) is_refused: AtomicBool,
    /// Whether those who monitor have seen it: when it began to wait.
    is_shown: AtomicBool,
}

impl Asked {
    /// Shows the call to those who monitor, once.
    fn show(&self, state: &ServerState) {
        if !self.is_shown.swap(true, Ordering::Relaxed) {
            let (source, words) = (monitor_source(&self.client), &self.call.request.args);
            state.monitors.show(state, self.call.command, self.db, &source, words);
        }
    }
}

/// What the writer says of a call that waits.
#[derive(Debug)]
pub(crate) struct Waits {
    /// For how long, in milliseconds; without an end where `None`.
    pub(crate) timeout_ms: Option<u64>,
    /// What the call answers when the time is up.
    pub(crate) on_timeout: Reply,
}

const WAITING: u8 = 0;
const SERVED: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Whether a call waits, was served, or was withdrawn; decided once.
#[derive(Debug, Default)]
pub(crate) struct Ticket(AtomicU8);

impl Ticket {
    /// The call is served now; false where it was withdrawn.
    pub(super) fn serve(&self) -> bool {
        self.decide(SERVED)
    }

    /// Whether the call was withdrawn.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire) == WITHDRAWN
    }

    /// The call does not wait any more; false where it was served.
    fn withdraw(&self) -> bool {
        self.decide(WITHDRAWN)
    }

    fn decide(&self, outcome: u8) -> bool {
        self.0.compare_exchange(WAITING, outcome, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Withdraws a call when its connection ends.
struct Guard<'a>(&'a Ticket);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

/// How a wait ended, if it was not by `CLIENT UNBLOCK`.
enum End {
    Served(Option<Done>),
    TimeIsUp,
    ServerStops,
}

impl Dispatcher {
    /// Runs a call that may wait for keys; nothing else of the connection runs meanwhile.
    pub(super) async fn block(&mut self, call: Call, output: &mut Output) {
        self.last_ended_ns = None;
        self.state.access.settle();
        let mut asked = self.asked(call);
        let mut warmings = 0;
        let done = loop {
            let mode =
                if warmings > WARMINGS_MAX { ReadMode::Blocking } else { ReadMode::Resident };
            let idle_input = &mut self.idle_input;
            let (client, replies) = (&asked.client, self.session.replies);
            let outbox = self.session.outbox();
            let stream = output.stream();
            let release = || {
                buffers::put(std::mem::take(idle_input));
                output.release();
            };
            let done = attempt(&self.state, &self.writer, &asked, mode, release);
            let pushing = pushed_to(&self.state, &stream, (client, outbox, replies), done);
            let done = match Box::pin(pushing).await {
                Ok(done) => done,
                Err(full) => {
                    tracing::debug!(error = %self.dropped(full), "connection ended");
                    return self.session.close();
                }
            };
            match done {
                Some(Done { result: Err(Error::Engine(engine::Error::WouldBlock)), .. }) => {
                    warmings += 1;
                }
                // A further warming would make no walk shorter.
                Some(Done { result: Err(Error::TooLong(_)), .. }) => warmings = WARMINGS_MAX + 1,
                done => break done,
            }
            asked = warm(&self.state, asked).await;
            self.await_pause(may_write(asked.call.command)).await;
        };
        match done {
            Some(Done { result, .. }) if asked.is_refused.load(Ordering::Acquire) => {
                account::rejected(&self.state, Some(asked.call.command));
                self.end_caching(Some(asked.call.command));
                self.reply(output, result, true);
            }
            Some(Done { result, elapsed_ns }) => {
                asked.show(&self.state);
                self.waited(&asked.call, result, elapsed_ns, output);
            }
            // The server is ending, and so does the conversation.
            None => self.session.close(),
        }
    }

    /// Answers a call that those who monitor have seen.
    fn waited(&mut self, call: &Call, result: CommandResult, elapsed_ns: u64, out: &mut Output) {
        let (words, failed) = (&call.request.args, account::has_failed(&result));
        account::counted(&self.state, &self.session, call.command, words, failed, elapsed_ns);
        self.end_caching(Some(call.command));
        self.reply(out, result, true);
    }

    /// The call with words of its own: those of the request keep the read buffer.
    fn asked(&self, mut call: Call) -> Arc<Asked> {
        for word in &mut call.request.args {
            *word = Bytes::copy_from_slice(word);
        }
        Arc::new(Asked {
            call,
            db: self.session.db,
            no_touch: self.session.no_touch,
            users_version: self.session.users_version(),
            client: Arc::clone(&self.session.client),
            cause: self.cause(),
            remembers: self.session.remembered().is_some(),
            ticket: Ticket::default(),
            is_refused: AtomicBool::new(false),
            is_shown: AtomicBool::new(false),
        })
    }
}

/// Waits for the end of a call, and writes what is pushed to the connection meanwhile, if that has an
/// outbox or as soon as it has one.
async fn pushed_to(
    state: &ServerState,
    stream: &WriteHalf,
    (client, outbox, replies): (&Arc<Client>, Option<Arc<Outbox>>, u64),
    done: impl Future<Output = Option<Done>>,
) -> Result<Option<Done>, Full> {
    tokio::pin!(done);
    let outbox = match outbox {
        Some(outbox) => outbox,
        None => tokio::select! {
            biased;
            done = &mut done => return Ok(done),
            () = client.gets_outbox() => Outbox::of(client),
        },
    };
    loop {
        tokio::select! {
            biased;
            done = &mut done => return Ok(done),
            () = pushes::ready(state, &outbox, replies) => {}
        }
        // What came behind the answer is written behind it: these were there before it was looked for.
        let waiting = outbox.len();
        tokio::select! {
            biased;
            done = &mut done => return Ok(done),
            () = std::future::ready(()) => {}
        }
        pushes::deliver(state, stream, &outbox, (replies, waiting)).await?;
    }
}

/// Has the writer run the call, and waits as long as the call says, `release`s buffers before that;
/// `None` when the server ends.
async fn attempt(
    state: &ServerState,
    writer: &mpsc::Sender<Message>,
    asked: &Arc<Asked>,
    mode: ReadMode,
    release: impl FnOnce(),
) -> Option<Done> {
    let _guard = Guard(&asked.ticket);
    let (waits, waiting) = oneshot::channel();
    let (done, mut ended) = oneshot::channel();
    let message = Message::Blocking { asked: Arc::clone(asked), mode, waits, done };
    writer.send(message).await.ok()?;
    let Ok(Waits { timeout_ms, on_timeout }) = waiting.await else { return ended.await.ok() };
    asked.show(state);
    release();
    let wait = async {
        tokio::select! {
            biased;
            done = &mut ended => End::Served(done.ok()),
            () = sleep(timeout_ms) => End::TimeIsUp,
            () = stops(state) => End::ServerStops,
        }
    };
    let end = asked.client.blocked_on(wait).await;
    if let Ok(End::Served(done)) = end {
        return done;
    }
    if !asked.ticket.withdraw() {
        return ended.await.ok();
    }
    let result = match end {
        Ok(End::Served(_) | End::ServerStops) => return None,
        Ok(End::TimeIsUp) | Err(Unblock::Timeout) => Ok(on_timeout),
        Err(Unblock::Error) => Err(Error::Text(UNBLOCKED.to_owned())),
    };
    Some(Done { result, elapsed_ns: 0 })
}

async fn sleep(timeout_ms: Option<u64>) {
    match timeout_ms {
        Some(timeout_ms) => tokio::time::sleep(Duration::from_millis(timeout_ms)).await,
        None => std::future::pending().await,
    }
}

/// Waits until the server closes its connections.
async fn stops(state: &ServerState) {
    let mut phases = state.shutdown.subscribe();
    if phases.wait_for(|phase| *phase == ShutdownPhase::Closing).await.is_err() {
        std::future::pending().await
    }
}

/// Runs the call on the blocking pool, over a transaction that is thrown away, so that the blocks that
/// it needs are in memory when the writer runs it; the same call with a new ticket.
async fn warm(state: &Arc<ServerState>, asked: Arc<Asked>) -> Arc<Asked> {
    let Asked { call, db, no_touch, users_version, client, cause, remembers, is_shown, .. } =
        &*asked;
    let call = Call::new(call.command, call.request.clone());
    let again = Asked {
        call,
        db: *db,
        no_touch: *no_touch,
        users_version: *users_version,
        client: Arc::clone(client),
        cause: *cause,
        remembers: *remembers,
        ticket: Ticket::default(),
        is_refused: AtomicBool::new(false),
        is_shown: AtomicBool::new(is_shown.load(Ordering::Relaxed)),
    };
    let again = Arc::new(again);
    state.metrics.writes_warmed.add(1);
    let (state, warmed) = (Arc::clone(state), Arc::clone(&again));
    let run = tokio::task::spawn_blocking(move || {
        if let Err(error) = dry_run(&state, &warmed) {
            tracing::trace!(%error, "the warming run failed; the writer will tell");
        }
    });
    if let Err(error) = run.await {
        std::panic::resume_unwind(error.into_panic());
    }
    again
}

fn dry_run(state: &ServerState, asked: &Asked) -> Result<(), Error> {
    let snapshot = state.engine()?.snapshot(ReadMode::Blocking);
    let txn = Txn::new(&snapshot, snapshot.seq() + 1);
    let context = Context { warms: true, ..state.context(asked.db, false) };
    let mut edit = Edit::new(txn, context)?;
    super::made::run_in(&mut edit, &asked.call, Answer::gathered(&state.memory), None).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_decided_once() {
        let ticket = Ticket::default();
        assert!(!ticket.is_withdrawn());
        assert!(ticket.serve());
        assert!(!ticket.withdraw() && !ticket.is_withdrawn());
        let ticket = Ticket::default();
        drop(Guard(&ticket));
        assert!(ticket.is_withdrawn() && !ticket.serve());
    }
}
