//! The one writer: transactions into the memtable, batches into the log.
//!
//! A batch goes through four states: open (its changes are in the memtable, where only the
//! writer's own transactions see them), closed (its place in the log is fixed), written and, by
//! policy, synced (by other threads), published (readers see it, its memtable may be flushed).
//! A memtable is sealed only between two batches, so a batch lies in one memtable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::batch::BatchBuilder;
use super::memtable::{Entry, Memtable, Needed};
use super::pending::Pending;
use super::rows::{Replaced, Rows};
use super::shared::Shared;
use super::snapshot::{Head, Lent};
use super::space::{self, Cause};
use super::tree::Published;
use super::wal::{self, Append, LogBatch, Wal};
use super::{Changes, Error, ReadMode, Result, SeqNo, Txn, admission};

/// Longest key in bytes: a name of 1 MiB, and what stands in front of it.
pub const KEY_BYTES_MAX: usize = (1 << 20) + 64;
/// What is told of a longer one.
pub const NAME_TOO_LONG: &str = "a key, or the name of an element, is longer than 1 MiB";
/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = 512 << 20;
/// Most bytes of keys and values in one transaction: a batch of the log, which holds at least one,
/// is limited to 2 GiB.
pub const TXN_BYTES_MAX: usize = 1 << 30;
/// Longest root record in bytes.
pub const ROOT_BYTES_MAX: usize = 64 << 10;

/// A version that was overwritten so many transactions later is left to the flush: it is far from the
/// processor's cache, and to fetch it costs more than to flush it.
const RELEASED_WITHIN: SeqNo = 1 << 16;

/// How long a batch that found the disk full waits before it is tried again.
const SPACE_RETRY: Duration = Duration::from_millis(500);

/// Buffers kept for reuse, and how much of each is kept.
const BUFFERS_MAX: usize = 4;
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// Of each at most this part of a memtable is kept.
const BUFFERS_PER_MEMTABLE: u64 = 16;

/// A transaction may take so many times the steps of a reader: what has no steps left has to be run
/// again, here as well, since warming makes no walk shorter.
pub(super) const STEPS_OF_WRITER: u32 = 16;

/// Writes of which the rows are asked for together.
const WRITES_AT_ONCE: usize = 16;

/// The one writer of a store. Owned by one task; synchronous and deterministic.
///
/// The way of a write: `begin`, `commit` (any number of times), `take_batch`, [`Batch::write`],
/// [`Syncer::sync`] where the policy asks for it, `publish`. Batches may be in flight while the
/// next is open; they are published in their order.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    wal: Wal,
    /// Newest committed transaction, and the root record as of it.
    seq: SeqNo,
    root: Bytes,
    open: Option<OpenBatch>,
    /// What the open batch has written.
    pending: Pending,
    /// Closed batches that are not published, oldest first.
    in_flight: VecDeque<(SeqNo, Bytes)>,
    /// What every view sees, as of the newest publication.
    oldest_view: SeqNo,
    buffers: Buffers,
    last_batch_bytes: AtomicU64,
}

type Buffers = Arc<Mutex<Vec<LogBatch>>>;

#[derive(Debug)]
struct OpenBatch {
    builder: BatchBuilder,
    memtable: Arc<Memtable>,
    rows: Arc<Rows>,
    first_seq: SeqNo,
    root_changed: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, wal: Wal, seq: SeqNo, root: Bytes) -> Self {
        Self {
            shared,
            wal,
            seq,
            root,
            open: None,
            pending: Pending::default(),
            in_flight: VecDeque::new(),
            oldest_view: 0,
            buffers: Buffers::default(),
            last_batch_bytes: AtomicU64::new(0),
        }
    }

    /// A transaction over the newest state, unpublished changes included. Its reads go as far as
    /// `mode` allows. Fails with [`Error::Poisoned`] after a failure of the log or of a flush, with
    /// [`Error::NoSpace`] while the disk is full, and with [`Error::Closed`] after
    /// [`super::Engine::close`].
    pub fn begin(&self, mode: ReadMode) -> Result<Txn<'_>> {
        self.begin_with(mode, self.shared.options.resident_steps.saturating_mul(STEPS_OF_WRITER))
    }

    /// As [`Self::begin`], for walks that may be of any length; they wait for no block either.
    /// It only deletes, as [`Self::begin_freeing`].
    pub fn begin_long(&self) -> Result<Txn<'_>> {
        self.shared.check_freeing()?;
        self.begin_over(ReadMode::Resident, u32::MAX)
    }

    /// As [`Self::begin`], for a transaction that only deletes: it goes on below the reserve of free
    /// space, until half of that is left.
    pub fn begin_freeing(&self, mode: ReadMode) -> Result<Txn<'_>> {
        self.shared.check_freeing()?;
        self.begin_over(mode, self.shared.options.resident_steps.saturating_mul(STEPS_OF_WRITER))
    }

    fn begin_with(&self, mode: ReadMode, steps: u32) -> Result<Txn<'_>> {
        self.shared.check_writable()?;
        self.begin_over(mode, steps)
    }

    fn begin_over(&self, mode: ReadMode, steps: u32) -> Result<Txn<'_>> {
        if self.shared.is_stopping() {
            return Err(Error::Closed);
        }
        let head = Head::new(self.shared.tree(), Lent::Look(self), mode, steps);
        Ok(Txn::over(head, self.seq + 1))
    }

    /// The first of a run of transactions, each of which [`Txn::commit`] or [`Txn::undo`] ends and
    /// begins the next. They read resident records only. Ask [`Self::check_writable`] or
    /// [`Self::check_freeing`] before each, as [`Self::begin`] does. Fails with [`Error::Closed`]
    /// after [`super::Engine::close`].
    pub fn begin_run(&mut self) -> Result<Txn<'_>> {
        if self.shared.is_stopping() {
            return Err(Error::Closed);
        }
        let steps = self.shared.options.resident_steps.saturating_mul(STEPS_OF_WRITER);
        let (tree, seq) = (self.shared.tree(), self.seq + 1);
        Ok(Txn::over(Head::new(tree, Lent::Commit(self), ReadMode::Resident, steps), seq))
    }

    /// Fails where [`Self::begin`] refuses writes.
    pub fn check_writable(&self) -> Result<()> {
        self.shared.check_writable()
    }

    /// Fails where [`Self::begin_freeing`] refuses what only deletes.
    pub fn check_freeing(&self) -> Result<()> {
        self.shared.check_freeing()
    }

    /// What the open batch has written.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The newest root record.
    pub(super) fn root(&self) -> &[u8] {
        &self.root
    }

    /// Checks the stated maxima of `changes`: key, value, all together, and root record.
    pub fn check_limits(changes: &Changes) -> Result<()> {
        let mut written = 0;
        for (key, value) in &changes.writes {
            let value_len = value.as_ref().map_or(0, Bytes::len);
            if key.len() > KEY_BYTES_MAX {
                return Err(Error::Limit(NAME_TOO_LONG));
            }
            if value_len > VALUE_BYTES_MAX {
                return Err(Error::Limit("a value is longer than 512 MiB"));
            }
            written += key.len() + value_len;
        }
        if written > TXN_BYTES_MAX {
            return Err(Error::Limit("a command changes more than 1 GiB"));
        }
        if changes.root.as_ref().is_some_and(|root| root.len() > ROOT_BYTES_MAX) {
            return Err(Error::Limit("the root record is longer than 64 KiB"));
        }
        Ok(())
    }

    /// Commits a transaction: its changes are in the newest state and in the open batch.
    /// Returns the sequence number that its [`Txn::seq`] told.
    ///
    /// # Panics
    /// Where [`Writer::check_limits`] would fail.
    pub fn commit(&mut self, mut changes: Changes) -> SeqNo {
        Self::check_limits(&changes).expect("the caller checks the limits of a transaction");
        self.take_over(&mut changes)
    }

    /// As [`Self::commit`], of changes whose limits were checked, and whose room is used again.
    pub(super) fn take_over(&mut self, changes: &mut Changes) -> SeqNo {
        self.seq += 1;
        let open = self.open.get_or_insert_with(|| {
            let buffer = self.buffers.lock().pop().unwrap_or_default();
            let mut state = self.shared.state.lock();
            state.batch_open = true;
            let tree = self.shared.tree();
            OpenBatch {
                first_seq: self.seq,
                builder: BatchBuilder::new(self.seq, buffer),
                memtable: tree.active.clone(),
                rows: tree.rows.clone(),
                root_changed: false,
            }
        });
        open.builder.add(changes);
        for (key, value) in changes.writes.drain() {
            self.pending.set(key, self.seq, value);
        }
        if let Some(root) = changes.root.take() {
            self.root = root;
            open.root_changed = true;
        }
        self.seq
    }

    /// Bytes in the open batch so far; a batch should stay well below 1 GiB.
    #[must_use]
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.builder.bytes())
    }

    /// Closes the open batch; `None` where nothing was committed since the last one. Makes no
    /// I/O.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let open = self.open.take()?;
        self.put_down(&open);
        let root = open.root_changed.then_some(&self.root[..]);
        let log = open.builder.finish(root);
        let bytes = log.len();
        let append = self.wal.append(log);
        let segment = self.wal.active_segment();
        self.in_flight.push_back((self.seq, self.root.clone()));
        self.last_batch_bytes.store(bytes as u64, Ordering::Relaxed);

        let shared = &self.shared;
        shared.counters.wal_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        shared.counters.wal_batches.fetch_add(1, Ordering::Relaxed);
        let mut state = shared.state.lock();
        shared.log_segment.store(segment, Ordering::Relaxed);
        let placed = append.as_ref().map_or(segment, Append::segment);
        open.memtable.note_log(placed, bytes as u64);
        state.batch_open = false;
        state.committed = self.seq;
        state.committed_root = self.root.clone();
        let limit = shared.memtable_bytes.load(Ordering::Relaxed);
        let is_large = shared.taken(&open.memtable, limit) >= limit;
        let has_room = shared.tree().sealed.len() < shared.options.sealed_max;
        if (is_large || state.seal_requested) && has_room {
            shared.seal(&mut state);
        }
        let (shared, buffers) = (self.shared.clone(), self.buffers.clone());
        Some(Batch { append, seq: self.seq, bytes, shared, buffers })
    }

    /// Puts what the open batch has written into its memtable.
    fn put_down(&mut self, open: &OpenBatch) {
        let needed = Needed { oldest_view: self.oldest_view, batch_seq: open.first_seq };
        let (writes, stamps) = self.pending.versions();
        for (writes, stamps) in writes.chunks(WRITES_AT_ONCE).zip(stamps.chunks(WRITES_AT_ONCE)) {
            open.rows.prefetch(stamps.iter().map(|stamp| stamp.hash));
            for ((key, value), stamp) in writes.iter().zip(stamps) {
                let entry = Entry::hashed(stamp.hash, key, stamp.seq, value.as_deref());
                let spot = open.memtable.insert(entry.clone(), needed);
                // Behind the memtable, so that whoever finds the row finds older versions there.
                open.rows.note(entry, spot, open.first_seq);
            }
        }
        self.pending.clear();
    }

    /// A handle that syncs the log, for another thread.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        Syncer { log: self.wal.syncer(), shared: self.shared.clone() }
    }

    /// Makes everything up to `seq`, the [`Batch::seq`] of a written batch, visible to new
    /// snapshots and ready to be flushed. Call it only once the promise of these writes holds.
    ///
    /// # Panics
    /// Where `seq` is not that of a batch in flight.
    pub fn publish(&mut self, seq: SeqNo) {
        let mut published = None;
        while self.in_flight.front().is_some_and(|(batch, _)| *batch <= seq) {
            published = self.in_flight.pop_front();
        }
        let (batch, root) = published.expect("only a batch in flight is published");
        assert_eq!(batch, seq, "only whole batches are published");
        let state = self.shared.state.lock();
        let tree = self.shared.tree();
        let flush = tree.sealed.last().is_some_and(|oldest| oldest.last_seq <= seq);
        let rows = tree.rows.clone();
        let active = tree.active.clone();
        self.shared.show(Published { tree, seq, root });
        if flush {
            self.shared.work.notify_all();
        }
        drop(state);
        self.oldest_view = self.shared.views.oldest(seq);
        for Replaced { first_seq, entries, .. } in rows.publish(seq) {
            // A view from before sees the newest version that is not newer than itself.
            let seen = self.shared.views.newest_before(first_seq).unwrap_or(0);
            let oldest = seen.max(first_seq.saturating_sub(RELEASED_WITHIN));
            let lately = entries.iter().filter(|(entry, _)| entry.seq() > oldest);
            active.release(lately.map(|(entry, spot)| (entry, spot)));
        }
    }

    /// Refuses all writes from now on; after a failed [`Batch::write`] or [`Syncer::sync`].
    pub fn poison(&mut self, error: &Error) {
        self.shared.poison(error);
    }

    /// How long to wait before the next batch, so that flush and compaction keep up. 0 while
    /// the tree is in shape. Counts as a stall in the statistics where it is not 0.
    #[must_use]
    pub fn delay(&self) -> Duration {
        let bytes = self.last_batch_bytes.swap(0, Ordering::Relaxed);
        let delay = admission::delay(&self.shared, bytes);
        if !delay.is_zero() {
            let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
            self.shared.counters.stalls.fetch_add(1, Ordering::Relaxed);
            self.shared.counters.stall_us.fetch_add(us, Ordering::Relaxed);
        }
        delay
    }

    /// Whether memory is at its bound: publish what is in flight, then wait for
    /// [`super::Engine::writable`] before the next batch. Never after a failure or a close, when
    /// [`Writer::begin`] refuses.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        self.shared.is_full()
    }
}

/// A closed batch with its place in the log reserved.
#[derive(Debug)]
pub struct Batch {
    append: Result<Append>,
    seq: SeqNo,
    bytes: usize,
    shared: Arc<Shared>,
    buffers: Buffers,
}

impl Batch {
    /// Writes the batch to the log (to the page cache), on any thread; batches are written in
    /// their order. Durable after a [`Syncer::sync`] that starts when this one has returned.
    /// After a failure call [`Writer::poison`].
    pub fn write(mut self) -> Result<()> {
        self.try_write()
    }

    /// Like [`Batch::write`]; but after [`Error::NoSpace`] nothing has changed, other writes are
    /// refused, and the same batch may be tried again instead of [`Writer::poison`].
    pub fn try_write(&mut self) -> Result<()> {
        let append = self.append.as_mut().map_err(|error| error.clone())?;
        let written = append.write();
        space::note(&self.shared, Cause::Log, &written);
        let mut log = written?;
        if append.rotated() {
            // Not before: the spare segment is taken by the write.
            self.shared.state.lock().prepare_log_segment = true;
            self.shared.work.notify_all();
        }
        let kept = self.shared.options.memtable_bytes / BUFFERS_PER_MEMTABLE;
        log.clear(BUFFER_BYTES_MAX.min(usize::try_from(kept).unwrap_or(usize::MAX)));
        let mut buffers = self.buffers.lock();
        if buffers.len() < BUFFERS_MAX {
            buffers.push(log);
        }
        Ok(())
    }

    /// Makes durable what was written before this batch, which waits for space, and then waits a
    /// while. Blocks the thread. Fails where the log fails or the store is closed.
    pub fn wait_for_space(&self) -> Result<()> {
        self.shared.log.sync()?;
        let mut state = self.shared.state.lock();
        let shared = &self.shared;
        shared.stopped.wait_while_for(&mut state, |_| !shared.is_stopping(), SPACE_RETRY);
        if shared.is_stopping() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Whether the write has to make a file first: more than a copy to the page cache.
    #[must_use]
    pub fn makes_file(&self) -> bool {
        self.append.as_ref().is_ok_and(Append::makes_file)
    }

    /// Sequence number of its last transaction.
    #[must_use]
    pub fn seq(&self) -> SeqNo {
        self.seq
    }

    /// Size of its payload in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Syncs the log. `Clone` and `Send`.
#[derive(Debug, Clone)]
pub struct Syncer {
    log: wal::Syncer,
    shared: Arc<Shared>,
}

impl Syncer {
    /// Makes all written batches durable. Blocks the thread. After a failure call
    /// [`Writer::poison`]; a later success proves nothing.
    pub fn sync(&self) -> Result<()> {
        self.shared.counters.wal_syncs.fetch_add(1, Ordering::Relaxed);
        self.log.sync().map(|_| ())
    }
}
