//! Numbers of the engine, for `INFO`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::compaction;
use super::shared::Shared;

/// One level of the tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LevelStats {
    /// Tables in the level.
    pub files: u64,
    /// Their size on disk in bytes.
    pub bytes: u64,
}

/// A picture of the engine at one moment. Counters start at 0 when the store is opened.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Level 0 first.
    pub levels: Vec<LevelStats>,
    /// Bytes of the active memtable.
    pub memtable_bytes: u64,
    /// Bytes of the sealed memtables.
    pub sealed_bytes: u64,
    /// Sealed memtables that wait for their flush.
    pub sealed_count: u64,
    /// Bytes of flushed memtables that old snapshots still hold.
    pub retired_bytes: u64,
    /// Newest visible sequence number.
    pub seq: u64,
    /// Sequence number up to which everything is in tables.
    pub flushed_seq: u64,
    /// Bytes that compactions still have to move to bring the tree into shape (estimate).
    pub compaction_debt_bytes: u64,
    /// Compactions running now.
    pub compactions_running: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Bytes written by flushes.
    pub flush_bytes_written: u64,
    /// Compactions done, trivial moves included.
    pub compactions: u64,
    /// Compactions that failed; the newest failure is in `background_error`.
    pub compactions_failed: u64,
    /// Bytes read by compactions.
    pub compaction_bytes_read: u64,
    /// Bytes written by compactions.
    pub compaction_bytes_written: u64,
    /// Records that the filter of the data layer dropped.
    pub filter_dropped: u64,
    /// Batches that were delayed by admission.
    pub stalls: u64,
    /// Their delays in microseconds, summed.
    pub stall_us: u64,
    /// Block cache: found.
    pub cache_hits: u64,
    /// Block cache: not found.
    pub cache_misses: u64,
    /// Block cache: bytes held now.
    pub cache_bytes: u64,
    /// Keys whose newest version is in memory.
    pub rows: u64,
    /// Bytes of those that are in tables too.
    pub row_cache_bytes: u64,
    /// Lookups that found their key in tables.
    pub table_lookups: u64,
    /// Bytes that open tables hold outside the block cache.
    pub table_bytes: u64,
    /// Tables that are open.
    pub tables_open: u64,
    /// Bytes appended to the write-ahead log.
    pub wal_bytes: u64,
    /// Batches appended to the write-ahead log.
    pub wal_batches: u64,
    /// Syncs of the write-ahead log.
    pub wal_syncs: u64,
    /// Bytes of log segments on disk that a restart would replay or that wait to be recycled.
    pub wal_disk_bytes: u64,
    /// Transactions found in the log when the store was opened.
    pub recovered_transactions: u64,
    /// Bytes of unfinished records that were cut off the end of the log when the store was opened.
    pub recovered_torn_bytes: u64,
    /// Why writes are refused until the store is opened again, if they are.
    pub poisoned: Option<String>,
    /// Why writes are refused until there is space on the disk, if they are.
    pub no_space: Option<String>,
    /// Files of tables in which a read or a compaction has met damage since the store was opened.
    pub damaged_tables: Vec<PathBuf>,
    /// The newest failure of a background job, until a job of the same kind succeeds.
    pub background_error: Option<String>,
}

/// What is counted while the store is open.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) flushes: AtomicU64,
    pub(super) flush_bytes_written: AtomicU64,
    pub(super) compactions: AtomicU64,
    pub(super) compactions_failed: AtomicU64,
    pub(super) compaction_bytes_read: AtomicU64,
    pub(super) compaction_bytes_written: AtomicU64,
    pub(super) filter_dropped: AtomicU64,
    pub(super) stalls: AtomicU64,
    pub(super) stall_us: AtomicU64,
    pub(super) wal_bytes: AtomicU64,
    pub(super) wal_batches: AtomicU64,
    pub(super) wal_syncs: AtomicU64,
    pub(super) recovered_transactions: AtomicU64,
    pub(super) recovered_torn_bytes: AtomicU64,
}

/// Takes the picture.
pub(super) fn collect(shared: &Shared) -> Stats {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &shared.counters;
    let published = shared.published.load_full();
    let tree = &published.tree;
    let cache = shared.cache.stats();
    let level = |level: &super::version::Level| LevelStats {
        files: level.tables.len() as u64,
        bytes: level.bytes(),
    };
    let state = shared.state.lock();
    let avoided: Vec<u64> =
        state.compactions.avoided(&tree.version).map(|(handle, _)| handle.id()).collect();
    let damaged = tree
        .version
        .tables()
        .map(|(_, handle)| handle)
        .filter(|handle| handle.table.is_damaged() || avoided.contains(&handle.id()));
    Stats {
        levels: tree.version.levels.iter().map(level).collect(),
        memtable_bytes: tree.active.bytes(),
        sealed_bytes: tree.sealed.iter().map(|sealed| sealed.memtable.bytes()).sum(),
        sealed_count: tree.sealed.len() as u64,
        retired_bytes: state.retired.iter().map(|sealed| sealed.memtable.bytes()).sum(),
        seq: published.seq,
        flushed_seq: state.flushed,
        compaction_debt_bytes: compaction::debt(&tree.version, &shared.options),
        compactions_running: state.compactions.count() as u64,
        flushes: get(&counters.flushes),
        flush_bytes_written: get(&counters.flush_bytes_written),
        compactions: get(&counters.compactions),
        compactions_failed: get(&counters.compactions_failed),
        compaction_bytes_read: get(&counters.compaction_bytes_read),
        compaction_bytes_written: get(&counters.compaction_bytes_written),
        filter_dropped: get(&counters.filter_dropped),
        stalls: get(&counters.stalls),
        stall_us: get(&counters.stall_us),
        cache_hits: cache.hits,
        cache_misses: cache.misses,
        cache_bytes: shared.cache.used_bytes(),
        rows: tree.rows.len() as u64,
        row_cache_bytes: tree.rows.kept_bytes(),
        table_lookups: tree.rows.table_lookups(),
        table_bytes: tree.version.tables().map(|(_, t)| t.table.memory_bytes() as u64).sum(),
        tables_open: shared.cache.open_tables().count() as u64,
        wal_bytes: get(&counters.wal_bytes),
        wal_batches: get(&counters.wal_batches),
        wal_syncs: get(&counters.wal_syncs),
        wal_disk_bytes: shared.segments.live_bytes(),
        recovered_transactions: get(&counters.recovered_transactions),
        recovered_torn_bytes: get(&counters.recovered_torn_bytes),
        poisoned: shared.poisoned.get().map(|why| why.to_string()),
        no_space: shared.space.check().err().map(|error| error.to_string()),
        damaged_tables: damaged.map(|handle| handle.table.path().to_owned()).collect(),
        background_error: state.background_error.as_ref().map(|(_, error)| error.clone()),
    }
}
