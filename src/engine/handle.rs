//! The engine as its users hold it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::background::{self, Role, Work};
use super::compaction::{self, Reason};
use super::recover::{self, Access};
use super::shared::Shared;
use super::{
    CheckedTables, Error, Filter, Options, ReadMode, Result, SeqNo, Snapshot, Stats, Writer, check,
    log_mark, space, stats,
};
use crate::env::{Clock, Fs};

/// How often a waiting thread looks again although nobody woke it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An open store. Cheap to clone; all clones are the same store. When the last is dropped the
/// background threads are stopped.
#[derive(Debug, Clone)]
pub struct Engine {
    owner: Arc<Owner>,
}

/// Stops the threads when the last handle goes.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        background::stop(&self.shared);
    }
}

impl Engine {
    /// Opens the store in `options.dir`, or makes a new one. Takes the lock of the directory,
    /// reads the manifest and replays the tail of the log; no table is read.
    ///
    /// Fails with [`Error::Directory`] where the directory is in use or of a newer format, and
    /// with [`Error::Corruption`] where the manifest or what the log promised is damaged.
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        options: Options,
        filter: Arc<dyn Filter>,
    ) -> Result<(Self, Writer)> {
        let threads = options.background_threads;
        let (shared, writer) = recover::open(fs, clock, options, filter, Access::Full)?;
        let engine = Self { owner: Arc::new(Owner { shared }) };
        background::start(engine.shared(), threads)?;
        Ok((engine, writer))
    }

    /// Opens the store that is in `options.dir` to look at it, and fails as [`Self::open`] does. Takes
    /// the lock of the directory, and changes nothing in it: an unfinished end of the log and files
    /// that nobody needs stay. What is in the log is held in memory. Starts no thread; writes are
    /// refused, and no background work is to be asked for.
    pub fn open_to_read(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        options: Options,
        filter: Arc<dyn Filter>,
    ) -> Result<Self> {
        let options = Options { background_threads: 0, ..options };
        let (shared, _) = recover::open(fs, clock, options, filter, Access::ReadOnly)?;
        Ok(Self { owner: Arc::new(Owner { shared }) })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// A consistent view of everything published so far. Takes no lock.
    #[must_use]
    pub fn snapshot(&self, mode: ReadMode) -> Snapshot {
        let shared = self.shared();
        Snapshot::new(shared.published.load_full(), mode, shared.options.resident_steps)
    }

    /// Fails with what a write would be refused with: [`Error::Poisoned`] once a failure of the log, a
    /// flush or the manifest has ended writes, [`Error::NoSpace`] while the disk is full.
    pub fn check_writable(&self) -> Result<()> {
        self.owner.shared.check_writable()
    }

    /// As [`Self::check_writable`], for a transaction that only deletes.
    pub fn check_freeing(&self) -> Result<()> {
        self.owner.shared.check_freeing()
    }

    /// Why writes are refused for good, once a failure of the log, a flush or the manifest has ended
    /// them.
    #[must_use]
    pub fn write_failure(&self) -> Option<Arc<str>> {
        self.owner.shared.poisoned.get().cloned()
    }

    /// A picture of the engine, for `INFO`.
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats::collect(self.shared())
    }

    /// Whether log segments made from now on are filled with zeros, see [`Options::fill_log`].
    pub fn set_fill_log(&self, fills: bool) {
        self.shared().segments.set_fills(fills);
    }

    /// Splits a new memory budget of `maxmemory` bytes, as [`Options::for_budget`] does. The
    /// caches and the size of memtables follow at once; the shape of the tree stays.
    pub fn set_budget(&self, maxmemory: u64) {
        let shared = self.shared();
        let options = Options::for_budget(&shared.options.dir, maxmemory);
        shared.memtable_bytes.store(options.memtable_bytes, Ordering::Relaxed);
        shared.cache_share.store(options.block_cache_bytes, Ordering::Relaxed);
        shared.cache.set_share(options.block_cache_bytes);
        let tables_max = shared.options.open_tables_max;
        if shared.cache.pins().are_too_many() {
            // Who opens them again pins what there is room for.
            shared.cache.open_tables().set_bounds(1, 0);
        }
        shared.cache.open_tables().set_bounds(tables_max, options.open_tables_bytes);
        shared.tree().rows.set_capacity(options.row_cache_bytes);
        shared.flushed.send_modify(|count| *count += 1);
    }

    /// Divides the budget anew: beside its share the block cache may have what memtables leave of
    /// theirs, and somebody else holds so many `bytes` of both; a quarter of the share stays, and what is pinned.
    /// Blocks leave at once. To be called many times a second, since memtables grow.
    pub fn lend(&self, bytes: u64) {
        let shared = self.shared();
        let share = shared.cache_share.load(Ordering::Relaxed);
        let all = share + shared.left_by_memtables();
        let capacity = all.saturating_sub(bytes).max(share / 4 + shared.cache.pins().bytes());
        shared.cache.set_capacity(capacity);
    }

    /// Tells whether nobody asks for anything at present: then compaction does not hold itself back,
    /// and level 0 is compacted before it has to be.
    pub fn set_idle(&self, is_idle: bool) {
        let shared = self.shared();
        if shared.is_idle.swap(is_idle, Ordering::Relaxed) != is_idle && is_idle {
            shared.wake(&shared.state.lock());
        }
    }

    /// Bytes of flushed memtables that snapshots still hold.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        self.shared().pinned_bytes()
    }

    /// Bytes of flushed memtables that this view holds.
    #[must_use]
    pub fn pinned_by(&self, view: &Snapshot) -> u64 {
        let state = self.shared().state.lock();
        let retired = state.retired.iter().filter(|sealed| view.holds(&sealed.memtable));
        retired.map(|sealed| sealed.memtable.bytes()).sum()
    }

    /// Seals the active memtable and waits until all that was committed before is in tables.
    /// Blocks the thread: until the writer has closed its open batch and published, too.
    /// Without background threads it does the work itself, and fails with [`Error::WouldBlock`]
    /// where the writer has an open or unpublished batch. With [`Error::NoSpace`] it goes on later.
    pub fn flush_wait(&self) -> Result<()> {
        let shared = self.shared();
        let target = {
            let mut state = shared.state.lock();
            // Whether there is space is for the next flush to say.
            state.flush_failure = None;
            shared.request_seal(&mut state);
            state.committed
        };
        self.wait_until(Role::Flush, |shared| {
            let mut state = shared.state.lock();
            if state.flushed >= target {
                return true;
            }
            shared.request_seal(&mut state);
            false
        })
    }

    /// Flushes, then compacts what is in tables by then into the deepest level in use. Blocks
    /// the thread. Fails with [`Error::Corruption`] where damaged tables are left out.
    pub fn compact_all(&self) -> Result<()> {
        self.flush_wait()?;
        let flushed = self.shared().state.lock().flushed;
        let bottom = self.shared().tree().version.bottom().max(1);
        for level in 0..bottom {
            while let Some(work) = self.choose_from(level, flushed)? {
                background::run(self.shared(), work)?;
            }
        }
        let version = self.shared().tree().version.clone();
        let state = self.shared().state.lock();
        let damaged = state.compactions.avoided(&version).next();
        damaged.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }

    /// Tells that many records are dead by now (a keyspace was dropped, or a large value): tables that are
    /// full of such are looked for and rewritten in the background, when nothing is more urgent, so that
    /// their space comes back. What is dead remains for the [`Filter`] to say. Does not wait.
    pub fn reclaim(&self) {
        let shared = self.shared();
        shared.state.lock().look_for_dead = true;
        shared.work.notify_all();
    }

    /// The next compaction out of `level` while it has tables with records up to `flushed`;
    /// waits where another compaction is in the way.
    fn choose_from(&self, level: usize, flushed: SeqNo) -> Result<Option<Work>> {
        let shared = self.shared();
        let mut state = shared.state.lock();
        loop {
            if shared.is_stopping() {
                return Err(Error::Closed);
            }
            let version = shared.tree().version.clone();
            let tables = &version.levels[level].tables;
            if !tables.iter().any(|handle| handle.info().seq_min <= flushed) {
                return Ok(None);
            }
            let (options, running) = (&shared.options, &state.compactions);
            let reason = Reason::Asked;
            match compaction::choose_from(&version, level, options, running, reason) {
                Some(choice) => {
                    return Ok(Some(background::begin_compaction(&mut state, version, choice)));
                }
                // Only damaged tables can be in the way of nobody.
                None if running.count() == 0 => return Ok(None),
                None => shared.progress.wait_for(&mut state, LOOK_EVERY),
            };
        }
    }

    /// Does one unit of background work (a flush, a compaction or a removal of files) on this
    /// thread. `false` when there was nothing to do.
    pub fn step(&self) -> Result<bool> {
        self.step_as(Role::All)
    }

    fn step_as(&self, role: Role) -> Result<bool> {
        space::look(self.shared());
        let work = background::choose(self.shared(), &mut self.shared().state.lock(), role);
        work.map_or(Ok(false), |work| background::run(self.shared(), work).map(|()| true))
    }

    /// Waits until `done`, with the help of the background threads or in their place.
    fn wait_until(&self, role: Role, done: impl Fn(&Shared) -> bool) -> Result<()> {
        let shared = self.shared();
        while !done(shared) {
            shared.check_poison()?;
            if let Some(error) = &shared.state.lock().flush_failure {
                return Err(error.clone());
            }
            if shared.is_stopping() {
                return Err(Error::Closed);
            }
            if shared.options.background_threads > 0 {
                shared.progress.wait_for(&mut shared.state.lock(), LOOK_EVERY);
            } else if !self.step_as(role)? && !done(shared) {
                return Err(Error::WouldBlock);
            }
        }
        Ok(())
    }

    /// Waits until [`Writer::must_wait`] no longer holds (or writes are refused: closed, failed).
    pub async fn writable(&self) {
        let shared = self.shared();
        let mut flushed = shared.flushed.subscribe();
        while shared.is_full() {
            if flushed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Stops the background threads and waits for them; a running compaction is given up. What is
    /// in the log stays there for the next open, which then knows where it must end. Reads go on.
    /// The lock of the directory is released when the last `Engine` and the `Writer` (with its
    /// batches and syncers) are dropped.
    pub fn close(&self) {
        background::stop(self.shared());
        if let Err(error) = log_mark::close(self.shared()) {
            tracing::warn!(%error, "the end of the log could not be marked");
        }
    }

    /// Walks the whole store: every table's checksums, levels without overlap, newer records above
    /// older. Answers the first damage found. Blocks the thread for long.
    pub fn check(&self) -> Result<()> {
        check::check(&self.shared().tree())
    }

    /// As [`Self::check`], but hands each damage to `damage`.
    pub fn check_tables(&self, damage: &mut dyn FnMut(Error)) -> CheckedTables {
        check::check_all(&self.shared().tree(), damage)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::super::KeepAll;
    use super::*;
    use crate::env::{SimClock, SimFs};

    #[test]
    fn the_cache_has_what_memtables_leave_and_nobody_holds() {
        let options =
            Options { background_threads: 0, ..Options::for_budget(Path::new("/db"), 64 << 20) };
        let (share, memtable) = (options.block_cache_bytes, options.memtable_bytes);
        let clock = Arc::new(SimClock::at_ms(1));
        let fs = SimFs::new(1);
        let (engine, mut writer) =
            Engine::open(fs.shared(), clock, options, Arc::new(KeepAll)).unwrap();
        let capacity = |lent: u64| {
            engine.lend(lent);
            engine.shared().cache.capacity()
        };
        assert!(capacity(0) > share + memtable && capacity(0) < share + 2 * memtable);
        assert_eq!(capacity(memtable), capacity(0) - memtable);
        assert_eq!(capacity(u64::MAX), share / 4);

        let before = capacity(0);
        let half = Bytes::from(vec![0; usize::try_from(memtable / 2).unwrap()]);
        for key in ["a", "b", "c", "d", "e"] {
            let mut txn = writer.begin(ReadMode::Blocking).unwrap();
            txn.put(Bytes::from(key), half.clone());
            let changes = txn.into_changes();
            writer.commit(changes);
            let batch = writer.take_batch().unwrap();
            let seq = batch.seq();
            batch.write().unwrap();
            writer.publish(seq);
            if key == "a" {
                assert!((before - capacity(0)).abs_diff(memtable / 4) < memtable / 8);
            }
        }
        // Two sealed ones wait for their flush, and half of the active one is full.
        assert!(capacity(0) < share + memtable / 2);
        engine.flush_wait().unwrap();
        assert!(capacity(0) > share + memtable);
        engine.close();
    }
}
