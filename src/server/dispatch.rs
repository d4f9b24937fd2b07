//! The dispatcher: takes the requests of a pipeline in order, passes each through the gates, and
//! runs it where its `Run` says.
//!
//! - Reads run in place, resident; where they would wait on the disk, on the blocking pool.
//! - Consecutive writes, and the cheap reads between and behind them, go to the writer as one message.
//! - Everything else runs on the connection's task.
//!
//! Replies are encoded in the order of the requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::account;
use super::chain::UnderWay;
use super::group::Call;
use super::in_place::InPlace;
use super::long_reply::LongRead;
use super::message::Message;
use super::output::{Full, Output};
use super::prefetch::{is_futile, prefetch};
use crate::commands::gates::{self, Refusal};
use crate::commands::table::Command;
use crate::commands::transaction;
use crate::commands::{
    Answer, CommandResult, Error, FANOUT_TURN, Flags, Run, ServerState, Session, SessionHandler,
    event_messages,
};
use crate::data::{self, Context, Event, EventClasses, ReadOutcome, View};
use crate::engine::{self, ReadMode, Snapshot};
use crate::protocol::{Reply, ReplyEncoder, Request, Version};

/// Times that a group is warmed before the writer itself may wait on the disk for it.
pub(super) const WARMINGS_MAX: u32 = 3;
/// How long the reply of a read waits for the expired keys that it has met to be deleted.
const REAP_PATIENCE: Duration = Duration::from_millis(50);
/// A read of more words runs on the blocking pool at once: a look-up takes about a microsecond.
const WORDS_LIGHT_MAX: usize = 4096;
/// What is encoded already, and larger than this, is sent as it is.
const MANY_BYTES: usize = 64 << 10;
/// Replies of more items are encoded where they were made.
const ITEMS_MAX: usize = 64;

/// What the dispatcher needs of its connection.
pub(crate) struct Dispatcher {
    pub(crate) state: Arc<ServerState>,
    pub(crate) writer: mpsc::Sender<Message>,
    pub(crate) session: Session,
    /// When the call before ended, where nothing was waited for since; monotonic.
    pub(crate) last_ended_ns: Option<u64>,
    /// The read buffer where nothing is in it: a call that waits for long gives it up.
    pub(crate) idle_input: BytesMut,
    /// What was sent to the writer and is not answered yet.
    pub(crate) under_way: UnderWay,
    /// Whether a call of this turn has waited for something.
    pub(crate) has_waited: bool,
}

impl Dispatcher {
    /// Runs all requests of `pipeline`; replies go to `output`.
    ///
    /// # Errors
    /// Where the peer is gone or has to be dropped (output limit).
    pub(crate) async fn run(
        &mut self,
        pipeline: &mut VecDeque<Request>,
        output: &mut Output,
    ) -> std::io::Result<()> {
        let mut prefetched = 0;
        while !pipeline.is_empty() {
            if self.state.tracking.is_active() {
                self.bound_tracking(output);
            }
            let waiting = pipeline.len();
            let Some(request) = pipeline.pop_front() else { break };
            self.session.follow_users(&self.state.users);
            if self.session.close_after_reply {
                pipeline.clear();
                break;
            }
            match gates::pass(&self.state, &self.session, &request.args) {
                Err(refusal) => self.refuse(refusal, &request, output),
                Ok(command) => {
                    let call = Call::new(command, request);
                    if !self.under_way.is_empty() && !self.joins(&call) {
                        self.settle(output).await?;
                        if self.session.close_after_reply {
                            pipeline.clear();
                            break;
                        }
                    }
                    if prefetched == 0 {
                        prefetched = self.prefetch(&call, pipeline);
                    }
                    match self.read_in_place(&call, output) {
                        InPlace::Done => {}
                        InPlace::Not => self.admitted(call, pipeline, output).await?,
                        InPlace::Waits => {
                            self.has_waited = true;
                            // Boxed, as all that is seldom waited for: so turns stay small.
                            Box::pin(self.read(call, ReadMode::Blocking, output)).await?;
                        }
                    }
                }
            }
            self.flush_large(output).await?;
            if self.session.close_after_reply {
                pipeline.clear();
            }
            prefetched = prefetched.saturating_sub(waiting - pipeline.len());
        }
        self.settle(output).await?;
        self.state.access.settle();
        self.last_ended_ns = None;
        Ok(())
    }

    /// Has the keys of a read that runs here at hand, and those of the requests behind it; of how many
    /// requests.
    fn prefetch(&self, call: &Call, pipeline: &VecDeque<Request>) -> usize {
        if !matches!(call.command.spec.run, Run::Read(_)) || !self.under_way.is_empty() {
            return 0;
        }
        if is_futile(&call.request, pipeline.len()) {
            return 1;
        }
        prefetch(std::iter::once(&call.request).chain(pipeline), |keys, elements| {
            let snapshot = self.state.engine()?.snapshot(ReadMode::Resident);
            data::prefetch(&snapshot, self.session.db, keys.iter().copied(), elements)
        })
    }

    /// Sends replies that have become many; waits for the peer to take them.
    pub(super) async fn flush_large(&mut self, output: &mut Output) -> std::io::Result<()> {
        if output.is_large() {
            self.last_ended_ns = None;
            self.has_waited = true;
            output.flush(&self.state).await.map_err(|full| self.dropped(full))?;
        }
        Ok(())
    }

    /// Why the connection ends where its replies cannot be sent.
    pub(crate) fn dropped(&self, full: Full) -> std::io::Error {
        match full {
            Full::Io(error) => error,
            Full::Limit => {
                self.state.metrics.output_limit_disconnections.add(1);
                let client = self.session.client.id;
                tracing::warn!(client, "dropped at client-output-buffer-limit");
                std::io::ErrorKind::QuotaExceeded.into()
            }
        }
    }

    async fn admitted(
        &mut self,
        call: Call,
        pipeline: &mut VecDeque<Request>,
        output: &mut Output,
    ) -> std::io::Result<()> {
        let command = call.command;
        if command.flags.has(Flags::BLOCKING) && self.session.queue.is_none() {
            // What was answered so far must not wait with it.
            output.flush(&self.state).await.map_err(|full| self.dropped(full))?;
        }
        if self.is_paused(may_write(command)) {
            // What was answered so far does not wait with it.
            output.flush(&self.state).await.map_err(|full| self.dropped(full))?;
            Box::pin(self.await_pause(may_write(command))).await;
        }
        if self.session.is_behind(&self.state.users) {
            // While it waited its user was changed.
            self.session.follow_users(&self.state.users);
            match gates::pass(&self.state, &self.session, &call.request.args) {
                _ if self.session.close_after_reply => return Ok(()),
                Err(refusal) => {
                    self.refuse(refusal, &call.request, output);
                    return Ok(());
                }
                Ok(_) => {}
            }
        }
        if self.session.queue.is_some() && !command.flags.has(Flags::NOT_QUEUED) {
            self.queue(command, &call.request, output);
            return Ok(());
        }
        let words = &call.request.args;
        let client = &self.session.client;
        client.last_command.store(command.id, Ordering::Relaxed);
        client.argv_bytes.store(words.iter().map(|word| word.len()).sum(), Ordering::Relaxed);
        if let Err(why) = self.session.user().check_followed(command, words) {
            let started_ns = self.state.clock.monotonic_ns();
            self.done(&call, Err(Error::Text(why)), started_ns, output);
            return Ok(());
        }
        // A write waits once it is settled, and so do its likes.
        self.has_waited |= !matches!(command.spec.run, Run::Write(_) | Run::Session(_));
        match command.spec.run {
            Run::Write(_) => {
                let group = self.gather(call, pipeline);
                self.begin_group(group).await;
            }
            Run::Read(_) if !self.under_way.is_empty() => {
                let group = self.gather(call, pipeline);
                self.begin_group(group).await;
            }
            Run::Read(_) | Run::ReadOrBlock(..) => {
                Box::pin(self.read(call, ReadMode::Resident, output)).await?;
            }
            Run::Blocking(_) => Box::pin(self.block(call, output)).await,
            Run::Session(handler) => self.run_session(handler, &call, output).await,
            Run::Server(handler) => {
                let started_ns = self.state.clock.monotonic_ns();
                self.remember(command, &call.request.args);
                let result = handler(&mut self.session, &self.state, &call.request.args).await;
                self.done(&call, result, started_ns, output);
            }
            Run::Program(handler) => Box::pin(self.program(call, handler, output)).await?,
            Run::Container => {
                self.reply(output, Err(Error::WrongArity(command.full_name)), true);
            }
        }
        self.session.client.argv_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Runs a command about the connection or the server, and what it has published to its end.
    async fn run_session(&mut self, handler: SessionHandler, call: &Call, output: &mut Output) {
        let started_ns = self.state.clock.monotonic_ns();
        let memory = Arc::clone(&self.state.memory);
        let result =
            handler(&mut self.session, &self.state, &mut call.args(Answer::gathered(&memory)));
        if let Some(fanout) = self.session.fanout.take() {
            self.has_waited = true;
            Box::pin(self.state.pubsub.finish(*fanout)).await;
            self.session.put_down = 0;
        }
        if self.session.put_down >= FANOUT_TURN {
            self.session.put_down = 0;
            tokio::task::yield_now().await;
        }
        self.done(call, result, started_ns, output);
    }

    /// Answers a request that did not pass the gates.
    pub(super) fn refuse(&mut self, refusal: Refusal, request: &Request, output: &mut Output) {
        let Refusal { error, command, denied } = refusal;
        account::rejected(&self.state, command);
        if let Some(command) = command {
            self.session.client.last_command.store(command.id, Ordering::Relaxed);
        }
        self.end_caching(command);
        if let Some((denied, command)) = denied.zip(command) {
            account::denied(&self.state, &self.session, denied, command, &request.args);
        }
        let ends_queue = |command: &Command| {
            command.flags.has(Flags::NOT_QUEUED) && matches!(command.spec.run, Run::Program(_))
        };
        let result = if command.is_some_and(ends_queue) {
            self.session.discard();
            Err(transaction::aborted(&error))
        } else {
            if let Some(queue) = &mut self.session.queue {
                queue.fail();
            }
            Err(error)
        };
        self.reply(output, result, true);
    }

    /// Puts a call off until `EXEC`.
    fn queue(&mut self, command: &'static Command, request: &Request, output: &mut Output) {
        if let Some(queue) = &mut self.session.queue {
            queue.push(command, &request.args);
        }
        self.session.tell_queued();
        self.state.client_holds(&self.session.client);
        self.reply(output, Ok(Reply::Simple("QUEUED".into())), true);
    }

    /// Whether `CLIENT PAUSE` holds back what is to run.
    fn is_paused(&self, may_write: bool) -> bool {
        let pause = &self.state.pause;
        pause.is_set() && pause.holds(&*self.state.clock, may_write)
    }

    /// Waits while `CLIENT PAUSE` holds back what is to run.
    pub(super) async fn await_pause(&mut self, may_write: bool) {
        if self.is_paused(may_write) {
            let (pause, clock) = (&self.state.pause, &*self.state.clock);
            self.last_ended_ns = None;
            self.has_waited = true;
            self.session.client.paused_for(pause.wait(clock, may_write)).await;
        }
    }

    /// Runs a read in place, or on the blocking pool where it is heavy or would wait; there at once
    /// where `mode` is blocking. A long reply is sent while it is made.
    ///
    /// # Errors
    /// Where the peer is gone or has to be dropped while that is done.
    pub(super) async fn read(
        &mut self,
        mut call: Call,
        mode: ReadMode,
        output: &mut Output,
    ) -> std::io::Result<()> {
        let last_ended_ns = self.last_ended_ns.take();
        let started_ns = last_ended_ns.unwrap_or_else(|| self.state.clock.monotonic_ns());
        let (db, no_touch) = (self.session.db, self.session.no_touch);
        let engine = self.state.opened_engine().await;
        self.remember(call.command, &call.request.args);
        let mut snapshot = engine.snapshot(ReadMode::Resident);
        drop(engine);
        let mut now_ms = 0;
        let mut ran = None;
        if mode == ReadMode::Resident && !is_heavy(call.command, &call.request) {
            let context = self.state.context(db, !no_touch);
            now_ms = context.now_ms;
            let answer = Answer::in_place(&self.state.memory);
            let (result, outcome) = run_read(&self.state, &snapshot, context, &call, answer);
            if !matches!(result, Err(Error::Engine(engine::Error::WouldBlock))) {
                ran = Some((result, outcome));
            }
        }
        snapshot = snapshot.with_mode(ReadMode::Blocking);
        let (result, mut outcome) = match ran {
            Some(ran) => ran,
            None => {
                let read = self.read_on_pool(call, snapshot.clone()).await;
                call = read.call;
                now_ms = read.now_ms;
                (read.result, read.outcome)
            }
        };
        let mut answered = None;
        match result {
            Err(Error::TooLong(count)) => {
                let empty = Call::new(call.command, Request::default());
                let call = std::mem::replace(&mut call, empty);
                let long = LongRead { call, snapshot, now_ms, count };
                outcome = Box::pin(self.send_long(long, started_ns, output)).await?;
            }
            result => answered = Some(result),
        }
        account::read(&self.state, &outcome);
        let missed = std::mem::take(&mut outcome.missed);
        if !outcome.expired.is_empty() {
            self.reap(db, outcome).await;
        }
        if !missed.is_empty() {
            self.tell_missed(db, &missed).await;
        }
        match answered {
            Some(Err(Error::NothingYet)) => self.block(call, output).await,
            Some(result) => self.done(&call, result, started_ns, output),
            None => {}
        }
        Ok(())
    }

    /// Runs a read on the blocking pool, and makes its reply unless that is long.
    async fn read_on_pool(&self, call: Call, snapshot: Snapshot) -> PoolRead {
        let state = Arc::clone(&self.state);
        let (db, no_touch, version) =
            (self.session.db, self.session.no_touch, self.session.version);
        self.state.metrics.reads_blocking.add(1);
        let ran = tokio::task::spawn_blocking(move || {
            let context = state.context(db, !no_touch);
            let now_ms = context.now_ms;
            let answer = Answer::measured(&state.memory);
            let (result, outcome) = run_read(&state, &snapshot, context, &call, answer);
            let result = result.map(|reply| encoded(reply, version));
            PoolRead { call, now_ms, result, outcome }
        });
        match ran.await {
            Ok(read) => read,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Has the expired keys that a read has met deleted, as Redis does on access. Waits a moment, so
    /// that the client's next command does not count them; not while the writer is behind.
    pub(super) async fn reap(&self, db: u16, outcome: ReadOutcome) {
        if self.state.pause.is_set() {
            return;
        }
        let (answer, answered) = oneshot::channel();
        let message = Message::Reap { db, outcome, answer };
        if self.writer.try_send(message).is_ok() {
            drop(tokio::time::timeout(REAP_PATIENCE, answered).await);
        }
    }

    /// Tells those who listen to misses of keys.
    async fn tell_missed(&mut self, db: u16, keys: &[Bytes]) {
        let classes = EventClasses::parse(&self.state.config.load().notify_keyspace_events);
        let messages = keys.iter().flat_map(|key| {
            event_messages(&Event { db, name: "keymiss", key: key.clone() }, classes)
        });
        let mut messages = messages.collect::<Vec<_>>().into_iter();
        while let Some(fanout) = self.state.pubsub.publish_all(&self.state, &mut messages) {
            self.state.pubsub.finish(fanout).await;
        }
    }

    pub(super) fn done(
        &mut self,
        call: &Call,
        result: CommandResult,
        started_ns: u64,
        output: &mut Output,
    ) {
        let ended_ns = self.state.clock.monotonic_ns();
        let elapsed_ns = ended_ns - started_ns;
        self.last_ended_ns = Some(ended_ns);
        self.finished(call, result, elapsed_ns, output);
    }

    pub(super) fn finished(
        &mut self,
        call: &Call,
        result: CommandResult,
        elapsed_ns: u64,
        output: &mut Output,
    ) {
        self.finished_in_group(call, result, elapsed_ns, (output, true));
    }

    /// As [`Self::finished`], and whether it is the last call of its group.
    pub(super) fn finished_in_group(
        &mut self,
        call: &Call,
        result: CommandResult,
        elapsed_ns: u64,
        (output, is_last): (&mut Output, bool),
    ) {
        let words = &call.request.args;
        let failed = account::has_failed(&result);
        account::ran(&self.state, &self.session, call.command, words, failed, elapsed_ns);
        self.end_caching(Some(call.command));
        self.reply(output, result, is_last);
    }
}

/// Whether a read takes so long that others must not wait for it.
pub(super) fn is_heavy(command: &Command, request: &Request) -> bool {
    command.flags.has(Flags::HEAVY) || request.args.len() > WORDS_LIGHT_MAX
}

/// Whether `CLIENT PAUSE WRITE` holds the command back. A program says that of itself, later.
pub(super) fn may_write(command: &Command) -> bool {
    if matches!(command.spec.run, Run::Program(_)) {
        return false;
    }
    command.flags.has(Flags::WRITE) || command.flags.has(Flags::MAY_REPLICATE)
}

/// The reply as it is sent, where it is large: to encode it, and to let go of its parts, would hold
/// up the others.
fn encoded(reply: Reply, version: Version) -> Reply {
    match &reply {
        Reply::Array(items) | Reply::Set(items) if items.len() > ITEMS_MAX => {}
        Reply::Map(pairs) | Reply::Pairs(pairs) | Reply::Keyed(pairs)
            if pairs.len() > ITEMS_MAX => {}
        Reply::Many(many) if many.bytes() > MANY_BYTES => {
            let Reply::Many(many) = reply else { return reply };
            return Reply::Encoded(many.into_pieces(version));
        }
        _ => return reply,
    }
    let mut bytes = BytesMut::new();
    ReplyEncoder::new(version).write(&reply, &mut bytes);
    Reply::Encoded(vec![bytes])
}

/// A read that has run on the blocking pool.
struct PoolRead {
    call: Call,
    /// The time that it went by, in Unix milliseconds.
    now_ms: u64,
    result: CommandResult,
    outcome: ReadOutcome,
}

/// Runs the handler of a read over a view.
pub(super) fn run_read(
    state: &ServerState,
    snapshot: &Snapshot,
    context: Context<'_>,
    call: &Call,
    answer: Answer<'_>,
) -> (CommandResult, ReadOutcome) {
    let (Run::Read(handler) | Run::ReadOrBlock(handler, _)) = call.command.spec.run else {
        return (Err(Error::Syntax), ReadOutcome::default());
    };
    match View::new(snapshot, context) {
        Ok(view) => {
            let result = handler(&view, &mut call.args(answer));
            if snapshot.mode() == ReadMode::Blocking {
                state.access.settle();
            }
            (result, view.outcome())
        }
        Err(error) => (Err(error.into()), ReadOutcome::default()),
    }
}
