//! The single writer task: runs jobs in order, appends one batch to the log, has it synced by
//! policy, publishes, answers.
//!
//! While one batch is under way to the disk the next is gathered and run; at most one batch is
//! under way. With `appendfsync always` the log thread writes and syncs; otherwise a small batch
//! is written in place (a copy to the page cache) and a large one by the log thread, and a sync
//! follows every second (`everysec`), on a thread of its own. A batch for which a file has to be made
//! goes to the log thread, and so does one that meets a sync: the file system may have it wait.
//!
//! Nothing is answered before its promise holds. After a failed write or sync every waiting and
//! later write gets the error; reads go on.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::announce::{Announcements, Told};
use super::dispatch::may_write;
use super::group::{self, Group};
use super::log_thread::{Completion, Kind, LogThreads, Operation};
use super::long::{Long, long_ended};
use super::message::{Message, Waiting};
use super::reaper::transact;
use super::waiters::Waiters;
use crate::commands::tracking::Cause;
use crate::commands::{Change, Control, Done, Error, ServerState};
use crate::config::AppendFsync;
use crate::data::Ready;
use crate::engine::{self, Batch, SeqNo, Writer};

/// A sync that takes longer holds up writes, so that not much more than a second can be lost.
const SYNC_LATE: Duration = Duration::from_secs(2);
/// Messages taken from the channel at a time.
const DRAIN_MAX: usize = 256;
/// A batch up to this size is written to the page cache on the spot where no sync is awaited.
const INLINE_WRITE_MAX: usize = 64 << 10;
/// An open batch beyond this size takes no further message until it is under way.
const OPEN_BATCH_MAX: usize = 8 << 20;
/// Nor does one beyond this part of the budget: by so much a memtable can exceed its share.
const OPEN_BATCH_SHARE: u64 = 64;
/// Looks at the channel before a sync, at most.
const GATHER_ROUNDS_MAX: usize = 8;
/// Time between syncs with `appendfsync everysec`.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// How long a reopen waits for others to let go of the engine.
const REOPEN_PATIENCE: Duration = Duration::from_secs(10);
/// Admission delays are gathered until they are worth a timer.
const DELAY_MIN: Duration = Duration::from_millis(1);

/// A batch on the log thread.
pub(super) struct UnderWay {
    seq: SeqNo,
    waiting: Vec<Waiting>,
    /// What is told when it is published.
    told: Vec<Told>,
    /// Whether it drops a keyspace, or a large value.
    drops: bool,
}

/// A sync without a batch.
struct SyncUnderWay {
    started: Instant,
    waiting: Vec<Done>,
}

/// The writer, absent only while the data directory is opened again.
pub(super) struct Owned(Option<Writer>);

impl Deref for Owned {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        self.0.as_ref().expect("nothing runs while the writer is away")
    }
}

impl DerefMut for Owned {
    fn deref_mut(&mut self) -> &mut Writer {
        self.0.as_mut().expect("nothing runs while the writer is away")
    }
}

/// The writer task.
pub(crate) struct WriterTask {
    pub(super) state: Arc<ServerState>,
    pub(super) writer: Owned,
    /// The calls that wait for keys.
    pub(super) waiters: Waiters,
    pub(super) inbox: mpsc::Receiver<Message>,
    control: mpsc::Receiver<Control>,
    log: LogThreads,
    completions: mpsc::Receiver<Completion>,
    pub(super) open: Vec<Waiting>,
    /// What is to be told when what has run is published, and what waits for a fan-out to many.
    pub(super) announcements: Announcements,
    /// Whether the open batch drops a keyspace, or a large value.
    pub(super) drops: bool,
    pub(super) under_way: Option<UnderWay>,
    sync_under_way: Option<SyncUnderWay>,
    /// Who waits for the sync behind the one under way.
    sync_wanted: Vec<Done>,
    unsynced: bool,
    delay: Duration,
    resume_at: Option<Instant>,
    /// Whether the open batch has what took so long that walks of expiries begin anew.
    pub(super) expires_anew: bool,
    /// What takes long.
    pub(super) long: Option<Long>,
    /// Places that are ready, whose calls come behind the open batch because it is large.
    pub(super) deferred: VecDeque<Ready>,
}

/// Bytes of an open batch, beyond which it takes no further message.
pub(super) fn open_batch_max(state: &ServerState) -> usize {
    let share = usize::try_from(state.memory.budget() / OPEN_BATCH_SHARE).unwrap_or(usize::MAX);
    OPEN_BATCH_MAX.min(share)
}

/// Whether `CLIENT PAUSE` holds back what may write, or may not.
fn holds(state: &ServerState, may_write: bool) -> bool {
    state.pause.is_set() && state.pause.holds(&*state.clock, may_write)
}

/// Whether a pause has begun, or the users were changed, since the calls of the group were
/// allowed: then the connection looks again.
pub(super) fn must_ask_again(state: &ServerState, group: &Group) -> bool {
    group.users_version != state.users.version() || holds(state, group.may_write())
}

impl WriterTask {
    /// A task that owns `writer`.
    pub(crate) fn new(
        state: Arc<ServerState>,
        writer: Writer,
        inbox: mpsc::Receiver<Message>,
        control: mpsc::Receiver<Control>,
    ) -> std::io::Result<Self> {
        let (log, completions) = LogThreads::start(&state.shutdown.subscribe(), &state.clock)?;
        Ok(Self {
            state,
            writer: Owned(Some(writer)),
            waiters: Waiters::default(),
            inbox,
            control,
            log,
            completions,
            open: Vec::new(),
            announcements: Announcements::default(),
            drops: false,
            under_way: None,
            sync_under_way: None,
            sync_wanted: Vec::new(),
            unsynced: false,
            delay: Duration::ZERO,
            resume_at: None,
            expires_anew: false,
            long: None,
            deferred: VecDeque::new(),
        })
    }

    /// Runs until every sender is gone, then writes and syncs what is left.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(SYNC_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.state.metrics.writer_queue_depth.set(self.inbox.len() as u64);
            let engine = self.state.engine().ok();
            let full = self.writer.must_wait();
            let accepts = !full
                && self.resume_at.is_none()
                && !self.is_laden()
                && !self.announcements.are_many();
            let resume_at = self.resume_at;
            tokio::select! {
                biased;
                Some(done) = self.completions.recv() => self.complete(done),
                () = self.announcements.fanned_out() => self.announcements.tell(&self.state),
                () = sleep_until(resume_at.unwrap_or_else(Instant::now)), if resume_at.is_some() => {
                    self.resume_at = None;
                }
                ran = long_ended(&mut self.long) => self.end_long(ran),
                () = self.state.shutdown.time_up(), if self.long.is_some() => self.give_up_long(),
                Some(request) = self.control.recv(), if self.long.is_none() => {
                    // A reopen needs the last handle.
                    drop(engine);
                    self.carry_out(request).await;
                }
                _ = ticks.tick() => {
                    self.sweep_waiters();
                    self.sync_interval();
                }
                message = self.inbox.recv(), if accepts => match message {
                    Some(message) => {
                        self.take_waiting(Some(message));
                    }
                    None => break,
                },
                () = writable(engine.as_deref()), if full => {}
            }
            self.gather().await;
            self.start_batch();
            while self.serve_deferred() {
                self.start_batch();
            }
            self.start_long();
        }
        self.drain().await;
    }

    /// Before a batch is synced: lets every connection that is ready run, as long as that brings
    /// more messages. A sync costs the same for one write and for a hundred.
    async fn gather(&mut self) {
        let syncs = self.state.config.load().appendfsync == AppendFsync::Always;
        if !syncs || self.under_way.is_some() {
            return;
        }
        for _ in 0..GATHER_ROUNDS_MAX {
            if self.open.is_empty() || self.is_laden() {
                return;
            }
            tokio::task::yield_now().await;
            if !self.take_waiting(None) {
                return;
            }
        }
    }

    /// Takes `first`, and what is waiting in the channel, as far as the open batch has room; whether
    /// anything was waiting.
    fn take_waiting(&mut self, first: Option<Message>) -> bool {
        let mut room = DRAIN_MAX;
        let mut next = first;
        loop {
            if let Some(message) = next {
                next = self.take(message, &mut room);
                room -= usize::from(next.is_some());
            } else if room == 0 || self.is_laden() {
                return true;
            } else {
                let Ok(message) = self.inbox.try_recv() else { return room < DRAIN_MAX };
                room -= 1;
                next = Some(message);
            }
        }
    }

    /// Whether no further message may be taken: the open batch is large, or (`everysec`) the sync
    /// under way takes so long that more than the promised second would be lost with it.
    fn is_laden(&self) -> bool {
        let late = |started: Instant| started.elapsed() > SYNC_LATE;
        self.is_batch_laden()
            || self.long.is_some()
            || !self.deferred.is_empty()
            || self.sync_under_way.as_ref().is_some_and(|sync| late(sync.started))
    }

    /// Whether everything that was run is published.
    pub(super) fn is_idle(&self) -> bool {
        let nothing_open = self.open.is_empty() && self.writer.open_bytes() == 0;
        nothing_open && self.under_way.is_none() && self.deferred.is_empty()
    }

    /// Whether the open batch is large.
    pub(super) fn is_batch_laden(&self) -> bool {
        self.writer.open_bytes() >= open_batch_max(&self.state)
    }

    /// Runs one message, or groups that stand behind one another; their answers wait for the open batch.
    /// At most `room` more are taken out of the channel: what is among them and is no such group is to be
    /// run now.
    fn take(&mut self, message: Message, room: &mut usize) -> Option<Message> {
        match message {
            Message::Group(group, answer) if group.is_held_up() => drop(answer.send(group)),
            Message::Group(group, answer) if must_ask_again(&self.state, &group) => {
                group.hold_up_others();
                drop(answer.send(group));
            }
            Message::Group(group, answer) => return self.run_groups(group, answer, room),
            Message::Blocking { asked, waits, done, .. }
                if self.holds(may_write(asked.call.command)) =>
            {
                drop(waits);
                let result = Err(Error::Engine(engine::Error::WouldBlock));
                drop(done.send(group::Done { result, elapsed_ns: 0 }));
            }
            Message::Blocking { asked, mode, waits, done } => {
                self.run_blocking(asked, mode, waits, done);
            }
            Message::Program(running, answer) if running.is_held_up() => drop(answer.send(running)),
            Message::Program(running, answer)
                if running.held_by_pause().is_some_and(|may_write| self.holds(may_write)) =>
            {
                running.hold_up_others();
                drop(answer.send(running));
            }
            Message::Program(running, answer) => self.run_program(running, answer),
            Message::Expire { found, from, limit, answer } => {
                let expired = self.expire(&found, from, limit);
                self.answer_later(Waiting::Expire(expired, answer));
            }
            Message::Reap { db, outcome, answer } => {
                self.reap(db, &outcome);
                self.answer_later(Waiting::Reap(answer));
            }
        }
        None
    }

    /// Whether `CLIENT PAUSE` holds back what may write, or may not.
    pub(super) fn holds(&self, may_write: bool) -> bool {
        holds(&self.state, may_write)
    }

    /// Where nothing is to be written and nothing is under way, an answer need not wait.
    pub(super) fn answer_later(&mut self, waiting: Waiting) {
        if self.writer.open_bytes() == 0 && self.open.is_empty() && self.under_way.is_none() {
            let told = self.announcements.take_open();
            self.announcements.publish(&self.state, told, [waiting]);
        } else {
            self.open.push(waiting);
        }
    }
}

/// Ready when the engine takes writes again.
async fn writable(engine: Option<&engine::Engine>) {
    if let Some(engine) = engine {
        engine.writable().await;
    }
}

impl WriterTask {
    /// Sends the open batch on its way, unless one is under way already.
    fn start_batch(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let told = self.announcements.take_open();
        let Some(batch) = self.writer.take_batch() else {
            self.announcements.publish(&self.state, told, self.open.drain(..));
            return;
        };
        let seq = batch.seq();
        let waiting = std::mem::take(&mut self.open);
        let drops = std::mem::take(&mut self.drops);
        self.under_way = Some(UnderWay { seq, waiting, told, drops });
        let policy = self.state.config.load().appendfsync;
        if policy == AppendFsync::Always {
            self.send(Operation::WriteSync(batch, self.writer.syncer()));
        } else if batch.bytes() > INLINE_WRITE_MAX
            || batch.makes_file()
            || self.sync_under_way.is_some()
        {
            self.unsynced = true;
            self.send(Operation::Write(batch));
        } else {
            self.unsynced = true;
            self.write_inline(batch);
        }
        self.admit();
    }

    fn write_inline(&mut self, mut batch: Batch) {
        match batch.try_write() {
            // The log thread waits until there is space.
            Err(engine::Error::NoSpace(_)) => self.send(Operation::Write(batch)),
            result => self.complete(Completion { kind: Kind::Batch, result, sync_ns: None }),
        }
    }

    fn send(&mut self, operation: Operation) {
        let kind = operation.kind();
        if let Err(error) = self.log.send(operation) {
            self.complete(Completion { kind, result: Err(error), sync_ns: None });
        }
    }

    /// Publishes and answers the batch that was under way, or tells who waited for a sync.
    fn complete(&mut self, done: Completion) {
        if let Some(sync_ns) = done.sync_ns {
            self.state.metrics.wal_sync.record(sync_ns);
            self.state.metrics.wal_sync_ns.add(sync_ns);
        }
        if let Err(error) = &done.result {
            self.fail(error);
        }
        match done.kind {
            Kind::Batch => {
                let Some(UnderWay { seq, waiting, told, drops }) = self.under_way.take() else {
                    return;
                };
                if done.result.is_err() {
                    waiting.into_iter().for_each(|waiting| waiting.answer(&done.result));
                    return;
                }
                self.writer.publish(seq);
                if std::mem::take(&mut self.expires_anew) {
                    self.state.expires_anew.store(true, Ordering::Release);
                }
                if drops && let Ok(engine) = self.state.engine() {
                    engine.reclaim();
                }
                self.announcements.publish(&self.state, told, waiting);
            }
            Kind::Sync => {
                let Some(SyncUnderWay { waiting, .. }) = self.sync_under_way.take() else { return };
                for waiting in waiting {
                    drop(waiting.send(done.result.clone()));
                }
                if !self.sync_wanted.is_empty() {
                    self.start_sync();
                }
            }
        }
    }

    /// Ends all acknowledgements: what is open or comes later gets the error.
    fn fail(&mut self, error: &engine::Error) {
        tracing::error!(%error, "the write-ahead log failed; writes are refused from now on");
        self.writer.poison(error);
        drop(self.announcements.take_open());
        let failed = Err(error.clone());
        for waiting in self.open.drain(..) {
            waiting.answer(&failed);
        }
        self.fail_waiters(error);
    }

    /// Slows down smoothly when flush and compaction fall behind.
    fn admit(&mut self) {
        self.delay += self.writer.delay();
        if self.delay >= DELAY_MIN {
            self.resume_at = Some(Instant::now() + self.delay);
            self.delay = Duration::ZERO;
        }
    }

    /// `everysec`: what was written must be durable within a second or so.
    fn sync_interval(&mut self) {
        let policy = self.state.config.load().appendfsync;
        if policy != AppendFsync::No && self.unsynced {
            self.start_sync();
        }
    }

    /// Starts a sync for all who want one, unless one is under way: then they get the next.
    fn start_sync(&mut self) {
        if self.sync_under_way.is_some() {
            return;
        }
        // The batch under way may come too late for this one.
        self.unsynced = self.under_way.is_some();
        let waiting = std::mem::take(&mut self.sync_wanted);
        self.sync_under_way = Some(SyncUnderWay { started: Instant::now(), waiting });
        self.send(Operation::Sync(self.writer.syncer()));
    }

    /// Waits until no sync is wanted or under way.
    async fn settle_syncs(&mut self) {
        while self.sync_under_way.is_some() {
            let Some(done) = self.completions.recv().await else { return };
            self.complete(done);
        }
    }

    async fn carry_out(&mut self, request: Control) {
        match request {
            Control::Sync(to) => {
                self.settle().await;
                self.sync_wanted.push(to);
                self.start_sync();
            }
            Control::Flush(to) => {
                self.settle().await;
                self.on_pool(to, |engine| engine.flush_wait());
            }
            Control::Compact(to) => {
                self.settle().await;
                self.on_pool(to, |engine| engine.compact_all());
            }
            Control::Settle(to) => {
                self.settle().await;
                drop(to.send(Ok(())));
            }
            Control::Change(Change { db, mode, run }, to) => {
                let changed = transact(
                    (&mut self.writer, &mut self.drops),
                    &self.state,
                    (db, Some(mode)),
                    |edit| {
                        run(edit)?;
                        Ok(edit.take_modified())
                    },
                );
                match changed {
                    Ok(modified) => {
                        self.announcements.note(&self.state, &[], modified, Cause::NOBODY);
                        self.answer_later(Waiting::Change(to));
                    }
                    Err(error) => drop(to.send(Err(error))),
                }
            }
            Control::Reopen(to) => {
                self.settle().await;
                let result = self.reopen().await;
                let lost = self.writer.0.is_none();
                let failure = result.as_ref().err().map(ToString::to_string);
                drop(to.send(result));
                if let (true, Some(error)) = (lost, failure) {
                    panic!("the data directory could not be opened again: {error}");
                }
            }
        }
    }

    /// Runs `work` on the blocking pool and sends its result; the writer goes on meanwhile.
    fn on_pool(
        &mut self,
        to: Done,
        work: impl FnOnce(&engine::Engine) -> engine::Result<()> + Send + 'static,
    ) {
        let engine = self.state.engine();
        drop(tokio::task::spawn_blocking(move || {
            let result = engine.and_then(|engine| work(&engine));
            drop(to.send(result));
        }));
    }

    /// Waits until everything that was run is published.
    async fn settle(&mut self) {
        loop {
            self.start_batch();
            while self.under_way.is_some() {
                let Some(done) = self.completions.recv().await else { return };
                self.complete(done);
                self.start_batch();
            }
            if !self.serve_deferred() {
                return;
            }
        }
    }

    /// Closes the data directory and opens it again, as a restart would.
    async fn reopen(&mut self) -> engine::Result<()> {
        self.settle_syncs().await;
        let old = self.state.engine.swap(None).ok_or(engine::Error::Closed)?;
        // Others hold the engine for a moment only, but for a flush that was asked for.
        let deadline = Instant::now() + REOPEN_PATIENCE;
        while Arc::strong_count(&old) > 1 {
            if Instant::now() > deadline {
                self.state.engine.store(Some(old));
                return Err(engine::Error::Limit("the data directory is in use by a running save"));
            }
            tokio::time::sleep(DELAY_MIN).await;
        }
        let state = Arc::clone(&self.state);
        let writer = self.writer.0.take();
        let opened = tokio::task::spawn_blocking(move || {
            old.close();
            drop((old, writer));
            super::run::open_engine(&state.config.load_full(), Arc::clone(&state.clock))
        });
        let (engine, writer) = opened.await.map_err(|_| engine::Error::Closed)??;
        self.state.orders.clear();
        self.state.engine.store(Some(Arc::new(engine)));
        self.writer = Owned(Some(writer));
        self.state.orders.clear();
        Ok(())
    }

    /// The end: everything that was run is written, and synced whatever the policy.
    async fn drain(mut self) {
        self.settle().await;
        let (to, synced) = oneshot::channel();
        self.sync_wanted.push(to);
        self.start_sync();
        self.settle_syncs().await;
        while !self.announcements.is_idle() {
            self.announcements.fanned_out().await;
            self.announcements.tell(&self.state);
        }
        // Where the log threads are gone nobody answers.
        drop(self);
        if let Ok(Err(error)) = synced.await {
            tracing::error!(%error, "the last sync of the log failed");
        }
    }
}
