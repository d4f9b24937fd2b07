//! What the writer, the readers and the background threads share.
//!
//! Locks, in the order in which they are taken:
//! 1. `manifest`: whoever installs a new version, from reading the old one to the end of the
//!    manifest's sync. Never the writer, never a reader.
//! 2. `state`: a few instructions at a time, never across I/O. The writer takes it at both ends
//!    of a batch and when it publishes; background threads to choose and to install.
//!
//! Readers take neither: they load `published`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

use super::compaction::Running;
use super::log_mark::LogMark;
use super::manifest::{Edit, Manifest};
use super::memtable::Memtable;
use super::space::Space;
use super::stats::Counters;
use super::tree::{Published, Sealed, Tree};
use super::version::{Handle, Obsolete, Version};
use super::views::Views;
use super::wal::{self, Segments};
use super::{BlockCache, Error, Filter, Options, Result, SeqNo, Table, TableInfo, table_file_name};
use crate::env::{Clock, DirectoryLock, Fs};

/// A memtable is also sealed when its batches take so many times its size in the log.
const LOG_PER_MEMTABLE: u64 = 2;

/// A memtable grows by less than this part of its size before somebody looks again.
const GROWTH_PART: u64 = 4;

/// The cache gets one part of so many of what memtables leave.
const ALLOCATOR_PART: u64 = 2;

/// One open store.
pub(super) struct Shared {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) filter: Arc<dyn Filter>,
    pub(super) options: Options,
    /// Size at which the active memtable is sealed; follows the memory budget.
    pub(super) memtable_bytes: AtomicU64,
    pub(super) cache: Arc<BlockCache>,
    /// The share of the block cache in the budget.
    pub(super) cache_share: AtomicU64,
    pub(super) published: ArcSwap<Published>,
    pub(super) views: Views,
    pub(super) state: Mutex<State>,
    pub(super) manifest: Mutex<Manifest>,
    /// With `state`: there may be background work, or it is time to stop.
    pub(super) work: Condvar,
    /// With `state`: a unit of background work ended.
    pub(super) progress: Condvar,
    /// With `state`: the store is closing. Nobody else wakes those who rest or pause.
    pub(super) stopped: Condvar,
    /// Changes whenever a flush ends and when the store fails or closes; wakes
    /// [`super::Engine::writable`].
    pub(super) flushed: watch::Sender<u64>,
    pub(super) obsolete: Arc<Obsolete>,
    pub(super) segments: Segments,
    /// Tells how far the log is durable.
    pub(super) log: wal::Syncer,
    /// The log's segment after the newest append.
    pub(super) log_segment: AtomicU64,
    pub(super) next_table_id: AtomicU64,
    pub(super) counters: Counters,
    pub(super) stop: AtomicBool,
    /// Whether nobody asks for anything, see [`super::Engine::set_idle`].
    pub(super) is_idle: AtomicBool,
    pub(super) poisoned: OnceLock<Arc<str>>,
    pub(super) space: Space,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(super) lock: Box<dyn DirectoryLock>,
}

/// What changes under the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether the writer has an open batch, whose changes are in the active memtable.
    pub(super) batch_open: bool,
    /// The active memtable is to be sealed when the open batch closes.
    pub(super) seal_requested: bool,
    /// Newest transaction in a closed batch, and the root record as of it.
    pub(super) committed: SeqNo,
    pub(super) committed_root: Bytes,
    /// Everything up to here is in tables, durably.
    pub(super) flushed: SeqNo,
    pub(super) flush_running: bool,
    pub(super) compactions: Running,
    /// Many records have died that no compaction has met.
    pub(super) look_for_dead: bool,
    pub(super) prepare_log_segment: bool,
    pub(super) sweep_running: bool,
    pub(super) log_mark: LogMark,
    /// Flushed memtables that a reader may still hold. Dropping one takes long, so it is done by
    /// a background thread when nobody else has it.
    pub(super) retired: Vec<Arc<Sealed>>,
    /// The newest failure of a flush for want of space, until one succeeds.
    pub(super) flush_failure: Option<Error>,
    /// The newest failure in the background, and what kind of work it was; until the same succeeds.
    pub(super) background_error: Option<(&'static str, String)>,
}

impl Shared {
    /// The current tree.
    pub(super) fn tree(&self) -> Arc<Tree> {
        self.published.load().tree.clone()
    }

    /// Replaces the tree; what is visible of it stays.
    pub(super) fn install_tree(&self, _state: &mut State, tree: Tree) {
        let before = self.published.load();
        self.show(Published { tree: Arc::new(tree), seq: before.seq, root: before.root.clone() });
    }

    /// Has readers see `view` from now on. The caller holds the lock of the state.
    pub(super) fn show(&self, view: Published) {
        // A swap waits for those who are about to take the old one.
        let before = self.published.swap(Arc::new(view));
        self.views.note_replaced(&before);
    }

    /// Seals the active memtable. The caller made sure that no batch is open.
    pub(super) fn seal(&self, state: &mut State) {
        state.seal_requested = false;
        let tree = self.tree();
        let flushed_or_sealed = tree.sealed.first().map_or(state.flushed, |newest| newest.last_seq);
        if state.committed <= flushed_or_sealed {
            return;
        }
        tree.active.seal();
        let sealed = Sealed {
            memtable: tree.active.clone(),
            last_seq: state.committed,
            root: state.committed_root.clone(),
        };
        let sealed = std::iter::once(Arc::new(sealed)).chain(tree.sealed.iter().cloned()).collect();
        let active = Arc::new(tree.active.new_like());
        self.install_tree(state, Tree { active, sealed, ..(*tree).clone() });
        self.work.notify_all();
    }

    /// Seals the active memtable as soon as no batch is open.
    pub(super) fn request_seal(&self, state: &mut State) {
        if state.batch_open {
            state.seal_requested = true;
        } else if self.tree().sealed.len() < self.options.sealed_max {
            self.seal(state);
        }
    }

    /// Whether writes have to wait for a flush. Not where no flush will come: then they are refused.
    pub(super) fn is_full(&self) -> bool {
        if self.check_writable().is_err() || self.is_stopping() {
            return false;
        }
        self.is_memory_full()
    }

    fn is_memory_full(&self) -> bool {
        let published = self.published.load();
        let limit = self.memtable_bytes.load(Ordering::Relaxed);
        published.tree.sealed.len() >= self.options.sealed_max
            && self.taken(&published.tree.active, limit) >= limit
    }

    /// What `memtable` takes of `limit`: its bytes, or its share of what its batches may take of the log,
    /// where root records and what was overwritten take place, too. It bounds the log and its replay.
    pub(super) fn taken(&self, memtable: &Memtable, limit: u64) -> u64 {
        // The log is let go of by segments.
        let log_max = (LOG_PER_MEMTABLE * limit).max(self.options.segment_bytes).max(1);
        memtable.bytes().max(memtable.log_bytes().saturating_mul(limit) / log_max)
    }

    /// Bytes of flushed memtables that views still hold.
    pub(super) fn pinned_bytes(&self) -> u64 {
        self.state.lock().retired.iter().map(|sealed| sealed.memtable.bytes()).sum()
    }

    /// Bytes of the budget that memtables do not need soon, but for a part that the allocator has of what was
    /// let go of. What readers hold of flushed ones is not taken off.
    pub(super) fn left_by_memtables(&self) -> u64 {
        let one = self.memtable_bytes.load(Ordering::Relaxed);
        let share = one * (1 + self.options.sealed_max as u64);
        let tree = self.tree();
        let sealed: u64 = tree.sealed.iter().map(|sealed| sealed.memtable.bytes()).sum();
        share.saturating_sub(tree.active.bytes() + sealed + one / GROWTH_PART) / ALLOCATOR_PART
    }

    /// Makes `edit` durable and then installs the version with its tables; `more` changes the rest
    /// of the tree at the same moment. Where that fails nobody knows what the manifest says, so
    /// writes end and the new files stay; but not with [`Error::NoSpace`], when nothing has changed.
    pub(super) fn install_version(
        &self,
        edit: &Edit,
        added: &[(usize, Arc<Handle>)],
        more: impl FnOnce(&mut State, &Tree, Arc<Version>) -> Tree,
    ) -> Result<()> {
        let mut manifest = self.manifest.lock();
        let removed: Vec<u64> = edit.removed.iter().map(|(_, id)| *id).collect();
        let old = self.tree().version.clone();
        let version = Arc::new(old.with(&removed, added));
        debug_assert!(version.broken_invariant().is_none(), "{:?}", version.broken_invariant());
        manifest.apply(edit).inspect_err(|error| self.poison_unless_undone(error))?;
        let mut state = self.state.lock();
        let before = self.tree();
        let tree = more(&mut state, &before, version);
        self.install_tree(&mut state, tree);
        drop(before);
        for (_, handle) in old.tables().filter(|(_, handle)| removed.contains(&handle.id())) {
            if !added.iter().any(|(_, added)| added.id() == handle.id()) {
                handle.mark_dropped();
            }
        }
        Ok(())
    }

    /// A handle of a table whose file exists.
    pub(super) fn handle(&self, info: TableInfo) -> Arc<Handle> {
        let path = self.table_path(info.id);
        let table = Table::open(self.fs.clone(), path, info, self.cache.clone());
        Handle::new(table, self.obsolete.clone())
    }

    pub(super) fn table_path(&self, id: u64) -> PathBuf {
        self.options.dir.join(table_file_name(id))
    }

    pub(super) fn new_table_id(&self) -> u64 {
        self.next_table_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends all writes; the first reason is kept.
    pub(super) fn poison(&self, why: &Error) {
        let why: Arc<str> = match why {
            Error::Poisoned(why) => why.clone(),
            other => other.to_string().into(),
        };
        if self.poisoned.set(why.clone()).is_ok() {
            tracing::error!(%why, "writes are refused from now on");
        }
        let state = self.state.lock();
        self.wake(&state);
    }

    /// Ends all writes, unless `error` says that nothing has changed.
    pub(super) fn poison_unless_undone(&self, error: &Error) {
        if !matches!(error, Error::NoSpace(_)) {
            self.poison(error);
        }
    }

    /// Wakes everybody who waits for a change.
    pub(super) fn wake(&self, _state: &MutexGuard<'_, State>) {
        self.work.notify_all();
        self.progress.notify_all();
        self.flushed.send_modify(|count| *count += 1);
    }

    /// Fails with `Poisoned` or `NoSpace` where writes are refused.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_poison()?;
        self.space.check()
    }

    /// As [`Self::check_writable`], for a transaction that only deletes: it goes on below the reserve
    /// of free space, while that is not spent and there is memory without waiting for a flush.
    pub(super) fn check_freeing(&self) -> Result<()> {
        self.check_poison()?;
        self.space.check_freeing()?;
        if self.is_memory_full() { self.space.check() } else { Ok(()) }
    }

    /// Fails with `Poisoned` where writes are refused for good.
    pub(super) fn check_poison(&self) -> Result<()> {
        match self.poisoned.get() {
            Some(why) => Err(Error::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("dir", &self.options.dir)
            .field("lock", &self.lock)
            .field("poisoned", &self.poisoned.get())
            .finish_non_exhaustive()
    }
}
