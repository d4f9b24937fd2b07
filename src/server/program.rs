//! Several calls as one: the way of a program to the writer and back, and over a view.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::account;
use super::chain::Chain;
use super::dispatch::Dispatcher;
use super::group::Call;
use super::long::{Long, Work};
use super::made::WRITES_IN_PLACE;
use super::message::{Message, Waiting};
use super::output::Output;
use super::writer::WriterTask;
use crate::commands::program::{Ended, Gathered, Pace, Stopped};
use crate::commands::tracking::{Cause, Noted};
use crate::commands::{
    Args, Calls, CommandResult, Error, Flags, Program, ProgramHandler, Run, ServerState, Session,
    monitor_source,
};
use crate::data::{Edit, KeyType, Ready, Watch};
use crate::engine::{self, Read, ReadMode, Snapshot, Txn, Writer};
use crate::env::Purpose;

/// Times that a program is warmed before the writer itself may wait on the disk for it: what
/// warming does not help with is that its reads are many.
const WARMINGS_MAX: u32 = 1;
/// Time of a script in place: on the writer, which others wait for, or beside other connections.
const IN_PLACE: Duration = Duration::from_millis(2);
/// Time of a script in a run that only warms.
const WARMING: Duration = Duration::from_millis(100);

/// A program on its way to the writer and back.
pub(crate) struct Running {
    program: Box<dyn Program>,
    /// Who runs it, as before it runs.
    session: Session,
    /// Who that is, and the number of the reply.
    cause: Cause,
    pace: Pace,
    /// What it must not overtake.
    chain: Option<Chain>,
    /// How long it ran, in nanoseconds, with the runs that came to no end.
    elapsed_ns: u64,
    /// How it ended; `None` before it ran.
    end: Option<End>,
}

/// Who waits for a program.
type Answer = oneshot::Sender<Box<Running>>;

/// How a program ended.
enum End {
    /// It has to run again; why.
    Stopped(Stopped),
    /// It ran, and what it has changed is committed.
    Done(Box<Done>),
}

/// A program at its end.
struct Ran {
    program: Box<dyn Program>,
    done: Done,
    /// How long it ran, in nanoseconds.
    elapsed_ns: u64,
}

/// What a program has come to.
struct Done {
    result: CommandResult,
    gathered: Gathered,
    session: Session,
}

impl Running {
    fn new(
        program: Box<dyn Program>,
        (session, cause): (Session, Cause),
        chain: Option<Chain>,
    ) -> Box<Self> {
        let pace = Pace::Resident;
        Box::new(Self { program, session, cause, pace, chain, elapsed_ns: 0, end: None })
    }

    /// Whether a pause may hold it back, and whether one of writes does.
    pub(super) fn held_by_pause(&self) -> Option<bool> {
        (!self.program.has_begun()).then(|| self.program.is_held_by_pause())
    }

    /// What it must not overtake.
    pub(super) fn chain(&self) -> Option<&Chain> {
        self.chain.as_ref()
    }

    /// Lets nothing behind it run, since it has to be sent again.
    pub(super) fn hold_up_others(&self) {
        if let Some(chain) = &self.chain {
            chain.sever();
        }
    }

    /// Whether a message before it has to be sent again, so that it must not run.
    pub(super) fn is_held_up(&self) -> bool {
        self.chain.as_ref().is_some_and(Chain::is_broken)
    }

    /// Nothing of what the program wrote holds.
    pub(super) fn fail(&mut self, error: &Error) {
        if matches!(self.end, Some(End::Done(_))) {
            self.end = Some(End::failed(&self.session, error.clone()));
        }
    }
}

impl End {
    fn done(result: CommandResult, gathered: Gathered, session: Session) -> Self {
        Self::Done(Box::new(Done { result, gathered, session }))
    }

    fn failed(session: &Session, error: Error) -> Self {
        let session = session.for_program();
        Self::done(Err(error), Gathered::default(), session)
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// Sends a program to the writer, behind what is under way, or runs it to its end.
    ///
    /// # Errors
    /// Where the peer is gone.
    pub(super) async fn program(
        &mut self,
        call: Call,
        handler: ProgramHandler,
        output: &mut Output,
    ) -> std::io::Result<()> {
        let queue = self.session.queue.as_ref();
        let takes_queue = queue.is_some();
        if queue.is_some_and(|queue| queue.has_programs()) {
            self.settle(output).await?;
        }
        let mut made = handler(&mut self.session, &self.state, &call.request.args);
        let goes_behind = |made: &Result<Box<dyn Program>, Error>| {
            made.as_ref().is_ok_and(|program| program.may_write() && !program.keeps_session())
        };
        if !goes_behind(&made) && !takes_queue && !self.under_way.is_empty() {
            // What is under way may bring what is missing, as an `EVAL` brings the script of an `EVALSHA`,
            // or change it.
            self.settle(output).await?;
            made = handler(&mut self.session, &self.state, &call.request.args);
        }
        let goes_behind = goes_behind(&made) && self.session.tracking.is_none();
        let program = match made {
            Ok(program) => program,
            Err(error) => {
                self.finished(&call, Err(error), 0, output);
                return Ok(());
            }
        };
        if !goes_behind || self.state.pause.is_set() {
            self.settle(output).await?;
            self.last_ended_ns = None;
            self.await_pause(program.is_held_by_pause()).await;
        }
        if self.session.close_after_reply {
            // The server is ending, and what was to come before has no answer.
            return Ok(());
        }
        self.show_program(&call);
        self.state.access.settle();
        if !goes_behind {
            self.run_program(&call, program, output).await;
            return Ok(());
        }
        let from = (self.session.for_program(), self.cause());
        let running = Running::new(program, from, Some(self.under_way.chain()));
        let (answer, answered) = oneshot::channel();
        if self.writer.send(Message::Program(running, answer)).await.is_err() {
            self.session.close();
            return Ok(());
        }
        self.under_way.add_program(call, answered);
        Ok(())
    }

    /// Shows a program to those who monitor where its calls are shown without it.
    fn show_program(&self, call: &Call) {
        if call.command.flags.has(Flags::SKIP_MONITOR) && !self.state.monitors.is_idle() {
            let (state, session) = (&self.state, &self.session);
            let source = monitor_source(&session.client);
            let words = &call.request.args;
            state.monitors.show_anyway(state, call.command, session.db, &source, words);
        }
    }

    /// Answers a program that was sent; whether there still is a writer.
    pub(super) async fn finish_program(
        &mut self,
        call: &Call,
        running: Box<Running>,
        output: &mut Output,
    ) -> bool {
        let Some(ran) = self.complete_program(running, true).await else { return false };
        let elapsed_ns = ran.elapsed_ns;
        let result = self.settle_program(false, ran.done).await;
        self.finished(call, result, elapsed_ns, output);
        true
    }

    /// Runs a program, and the calls that no transaction can make, to its end.
    async fn run_program(
        &mut self,
        call: &Call,
        mut program: Box<dyn Program>,
        output: &mut Output,
    ) {
        let mut elapsed_ns = 0;
        let result = loop {
            let ran = if program.may_write() {
                let from = (self.session.for_program(), self.cause());
                let running = Running::new(program, from, None);
                self.complete_program(running, false).await
            } else {
                Some(self.over_view(program).await)
            };
            let Some(ran) = ran else {
                // The server is ending, and so does the conversation.
                return self.session.close();
            };
            program = ran.program;
            elapsed_ns += ran.elapsed_ns;
            let result = self.settle_program(program.keeps_session(), ran.done).await;
            let outside = if result.is_ok() { program.outside() } else { None };
            let Some((command, words)) = outside else { break result };
            let started_ns = self.state.clock.monotonic_ns();
            self.remember(command, &words);
            let result = match command.spec.run {
                Run::Server(handler) => {
                    self.session.denies_waiting = true;
                    let result = handler(&mut self.session, &self.state, &words).await;
                    self.session.denies_waiting = false;
                    result
                }
                Run::Session(handler) => {
                    let args = &mut Args::new(&words, command.name_words);
                    handler(&mut self.session, &self.state, args)
                }
                _ => break result,
            };
            let outside_ns = self.state.clock.monotonic_ns() - started_ns;
            elapsed_ns += outside_ns;
            let failed = account::has_failed(&result);
            account::ran(&self.state, &self.session, command, &words, failed, outside_ns);
            let reply = result.unwrap_or_else(|error| account::error_reply(&self.state, &error));
            program.resume(reply);
        };
        self.finished(call, result, elapsed_ns, output);
    }

    /// Takes over what a committed run has gathered; its result.
    async fn settle_program(&mut self, keeps_session: bool, done: Done) -> CommandResult {
        let Done { result, gathered, mut session } = done;
        if keeps_session {
            let ours = &mut self.session;
            session.held_messages = None;
            session.close_after_reply |= ours.close_after_reply;
            session.queue = ours.queue.take();
            session.watched = ours.watched.take();
            session.pushes = ours.pushes.take();
            self.session = session;
        }
        self.session.restore();
        account::gathered(&self.state, &self.session, &gathered);
        // Those of a transaction were published with it.
        let mut messages = gathered.messages.into_iter();
        while let Some(fanout) = self.state.pubsub.publish_all(&self.state, &mut messages) {
            self.state.pubsub.finish(fanout).await;
        }
        for (db, outcome) in gathered.reads {
            if !outcome.expired.is_empty() {
                self.reap(db, outcome).await;
            }
        }
        result
    }

    /// Has the writer run a program until it is at its end, warming what it would wait for; `None` when
    /// there is no writer any more. `returned` says that it comes from there.
    async fn complete_program(&mut self, mut running: Box<Running>, returned: bool) -> Option<Ran> {
        let mut warmings = 0;
        let mut is_sent = returned;
        loop {
            if !is_sent {
                running.chain = None;
                if let Some(may_write) = running.held_by_pause() {
                    self.await_pause(may_write).await;
                }
                let (answer, answered) = oneshot::channel();
                self.writer.send(Message::Program(running, answer)).await.ok()?;
                running = answered.await.ok()?;
            }
            is_sent = false;
            match running.end.take() {
                Some(End::Done(done)) => {
                    let Running { program, elapsed_ns, .. } = *running;
                    return Some(Ran { program, done: *done, elapsed_ns });
                }
                Some(End::Stopped(why)) => {
                    running = self.warm_program(running).await;
                    warmings += 1;
                    if warmings > WARMINGS_MAX || why == Stopped::NeedsFinal {
                        running.pace = Pace::Final;
                    }
                }
                // It was held up by what was before it.
                None => {}
            }
        }
    }

    /// Runs the program on the blocking pool over a transaction that is thrown away, so that the
    /// blocks that it needs are in memory when the writer runs it.
    async fn warm_program(&self, mut running: Box<Running>) -> Box<Running> {
        let state = Arc::clone(&self.state);
        self.state.metrics.writes_warmed.add(1);
        let warmed = tokio::task::spawn_blocking(move || {
            let started_ns = state.clock.monotonic_ns();
            if let Err(error) = dry_run(&state, &mut running) {
                tracing::trace!(%error, "the warming run failed; the writer will tell");
            }
            running.elapsed_ns += state.clock.monotonic_ns() - started_ns;
            running
        });
        match warmed.await {
            Ok(running) => running,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Runs a program that only reads over one view: in place, or on the blocking pool where it is
    /// heavy or would wait.
    async fn over_view(&mut self, program: Box<dyn Program>) -> Ran {
        let started_ns = self.state.clock.monotonic_ns();
        let (program, done) = self.look(program).await;
        Ran { program, done, elapsed_ns: self.state.clock.monotonic_ns() - started_ns }
    }

    async fn look(&mut self, mut program: Box<dyn Program>) -> (Box<dyn Program>, Done) {
        let session = self.session.for_program();
        let snapshot = self.state.opened_engine().await.snapshot(ReadMode::Resident);
        if !program.is_heavy() {
            let end = read_program(&self.state, &snapshot, &session, Pace::Resident, &mut *program);
            if let End::Done(mut done) = end {
                self.remember_seen(&snapshot, &mut done.gathered);
                return (program, *done);
            }
        }
        let state = Arc::clone(&self.state);
        let seen = snapshot.with_mode(ReadMode::Resident);
        let snapshot = snapshot.with_mode(ReadMode::Blocking);
        self.state.metrics.reads_blocking.add(1);
        let ran = tokio::task::spawn_blocking(move || {
            let end = read_program(&state, &snapshot, &session, Pace::Final, &mut *program);
            state.access.settle();
            (program, end, session)
        });
        match ran.await {
            Ok((program, End::Done(mut done), _)) => {
                self.remember_seen(&seen, &mut done.gathered);
                (program, *done)
            }
            Ok((program, End::Stopped(_), session)) => {
                let error = Error::Engine(engine::Error::WouldBlock);
                let result = Err(error);
                (program, Done { result, gathered: Gathered::default(), session })
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Dispatcher {
    /// Who makes the call that runs, and the number of its reply.
    pub(super) fn cause(&self) -> Cause {
        Cause { client: self.session.client.id, reply: self.session.replies + 1 }
    }

    /// Remembers the connection with what a program has seen in a view, where it keeps copies; and tells
    /// it of what has changed since: who has changed that may not have found it there.
    fn remember_seen(&self, seen: &Snapshot, gathered: &mut Gathered) {
        let Some(tracker) = &self.session.tracking else { return };
        let trail = std::mem::take(&mut gathered.trail);
        let read = |noted| match noted {
            Noted::Read(db, key) => Some((db, key)),
            Noted::Modified(_) => None,
        };
        let keys: Vec<_> = trail.into_notes().filter_map(read).collect();
        for (_, key) in &keys {
            self.state.tracking.remember(self.session.client.id, 0, key);
        }
        let now = self.state.engine().map(|engine| engine.snapshot(ReadMode::Resident));
        let now_ms = self.state.clock.unix_ms();
        for (db, key) in keys {
            let is_same = now.as_ref().is_ok_and(|now| {
                let same =
                    |watch: Watch| watch.has_changed(now, &key, now_ms).map(|changed| !changed);
                let watch = Watch::begin(seen, seen.seq(), db, &key, now_ms);
                now.seq() == seen.seq() || watch.and_then(same).unwrap_or(false)
            });
            if !is_same {
                self.state.tracking.tell_one(&self.state, tracker, &key);
            }
        }
    }
}

fn read_program(
    state: &Arc<ServerState>,
    snapshot: &Snapshot,
    session: &Session,
    pace: Pace,
    program: &mut dyn Program,
) -> End {
    let view: &dyn Read = snapshot;
    let mut calls = Calls::over_view(state, view, session.for_program(), pace);
    if pace == Pace::Resident {
        calls.limit_time(IN_PLACE);
    }
    let result = program.run(&mut calls);
    let Ended { gathered, session, stopped, .. } = calls.finish();
    match stopped {
        Some(why) => End::Stopped(why),
        None => End::done(result, gathered, session),
    }
}

fn dry_run(state: &Arc<ServerState>, running: &mut Running) -> Result<(), Error> {
    let snapshot = state.engine()?.snapshot(ReadMode::Blocking);
    let mut txn = Txn::new(&snapshot, snapshot.seq() + 1);
    txn.set_room(state.memory.room(Purpose::Changes));
    let session = running.session.for_program();
    let mut calls = Calls::over_txn(state, txn, session, Pace::Dry, false);
    calls.limit_time(WARMING);
    running.program.run(&mut calls).map(drop)
}

impl WriterTask {
    /// Runs a program as one transaction, and commits it; the answer waits for the open batch.
    pub(super) fn run_program(&mut self, mut running: Box<Running>, answer: Answer) {
        if running.pace == Pace::Final {
            // It may wait for the disk.
            self.long = Some(Long::Waits(Work::Program(running, answer)));
            return;
        }
        let ended = self.try_program(&mut running);
        if let Ok((_, Ended { stopped: Some(Stopped::Time), .. })) = ended {
            self.long = Some(Long::Waits(Work::Program(running, answer)));
        } else {
            self.end_program(running, ended, answer);
        }
    }

    /// Commits what a program has come to, and answers it.
    fn end_program(
        &mut self,
        mut running: Box<Running>,
        ended: Result<(CommandResult, Ended), Error>,
        answer: Answer,
    ) {
        let cause = running.cause;
        let committed = ended.and_then(|(result, ended)| self.commit_program(result, ended, cause));
        let (end, ready) =
            committed.unwrap_or_else(|error| (End::failed(&running.session, error), Vec::new()));
        if let Some(chain) = &running.chain {
            match &end {
                End::Stopped(_) => chain.sever(),
                End::Done(done) => {
                    chain.answered(done.result.as_ref().map_or(0, crate::protocol::Reply::weight));
                }
            }
        }
        running.end = Some(end);
        self.state.access.settle();
        // Those who have waited for what it made are answered behind it.
        self.answer_later(Waiting::Program(running, answer));
        self.serve(ready);
    }

    fn try_program(&mut self, running: &mut Running) -> Result<(CommandResult, Ended), Error> {
        let mut txn = self.writer.begin(ReadMode::Resident)?.with_writes_max(WRITES_IN_PLACE);
        txn.set_room(self.state.memory.room(Purpose::Changes));
        let session = running.session.for_program();
        let notes = !self.waiters.is_empty();
        let mut calls = Calls::over_txn(&self.state, txn, session, running.pace, notes);
        calls.limit_time(IN_PLACE);
        let started_ns = self.state.clock.monotonic_ns();
        let result = running.program.run(&mut calls);
        running.elapsed_ns += self.state.clock.monotonic_ns() - started_ns;
        Ok((result, calls.finish()))
    }

    fn commit_program(
        &mut self,
        result: CommandResult,
        ended: Ended,
        cause: Cause,
    ) -> Result<(End, Vec<Ready>), Error> {
        let Ended { changes, mut gathered, session, stopped } = ended;
        if let Some(why) = stopped {
            return Ok((End::Stopped(why), Vec::new()));
        }
        if !changes.is_empty() {
            Writer::check_limits(&changes)?;
            self.writer.commit(changes);
        }
        account::edit(&self.state, &gathered.edit);
        self.drops |= gathered.edit.dropped;
        let trail = std::mem::take(&mut gathered.trail);
        let messages = std::mem::take(&mut gathered.messages);
        self.announcements.add(messages, trail.into_notes(), cause);
        let ready = in_the_end(std::mem::take(&mut gathered.ready));
        Ok((End::done(result, gathered, session), ready))
    }
}

/// A program that has come to its end on its thread.
pub(super) struct LongRun {
    running: Box<Running>,
    ended: Result<(CommandResult, Ended), Error>,
}

impl WriterTask {
    /// Takes over what the program has come to that ran on a thread.
    pub(super) fn end_long_program(&mut self, run: LongRun, answer: Answer) {
        let LongRun { running, mut ended } = run;
        // What an attempt that was dropped has left behind beside the records goes.
        let begun = self.writer.begin(ReadMode::Resident);
        let settled = begun.and_then(|txn| Edit::new(txn, self.state.context(0, false)).map(drop));
        if let Err(error) = settled {
            ended = Err(error.into());
        }
        self.end_program(running, ended, answer);
    }
}

/// Runs a program for as long as it takes, over what is published.
pub(super) fn run_long(
    state: &Arc<ServerState>,
    mut running: Box<Running>,
    notes: bool,
) -> LongRun {
    let ended = state.engine().map_err(Error::Engine).map(|engine| {
        let snapshot = engine.snapshot(ReadMode::Blocking);
        let mut txn = Txn::new(&snapshot, snapshot.seq() + 1);
        txn.set_room(state.memory.room(Purpose::Changes));
        let session = running.session.for_program();
        let mut calls = Calls::over_txn(state, txn, session, Pace::Final, notes);
        let started_ns = state.clock.monotonic_ns();
        let result = running.program.run(&mut calls);
        running.elapsed_ns += state.clock.monotonic_ns() - started_ns;
        (result, calls.finish())
    });
    state.access.settle();
    LongRun { running, ended }
}

/// The places that a program has made ready, each once: what they hold in the end counts, and who
/// reads a stream is told where one has gone.
fn in_the_end(ready: Vec<Ready>) -> Vec<Ready> {
    let mut seen = HashSet::new();
    let mut places = Vec::with_capacity(ready.len());
    for Ready { db, key, kind } in ready {
        let gone = kind.filter(|kind| *kind == KeyType::Stream);
        for kind in std::iter::once(None).chain(gone.map(Some)) {
            if seen.insert((db, key.clone(), kind.is_some())) {
                places.push(Ready { db, key: key.clone(), kind });
            }
        }
    }
    places
}
