//! Sizes and numbers that shape the tree.

use std::path::PathBuf;

const MIB: u64 = 1 << 20;
/// Systems let a process open 1,024 files where nothing else is asked for.
const OPEN_TABLES_MAX: usize = 512;

/// How the engine is shaped. Changing a number between two runs is safe: nothing on disk depends
/// on it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory.
    pub dir: PathBuf,
    /// Which byte of a key tells kinds of records apart. Memtables keep kinds apart: a walk puts the
    /// kinds in order that it may meet.
    pub kind_at: usize,
    /// Which byte of a key tells the three shares of a kind apart, which memtables keep apart in the same
    /// way: below 0x80, 0x80, and above. Keys that have no such byte are in the first share.
    pub share_at: usize,
    /// Bytes of entries (node overhead included) at which the active memtable is sealed.
    pub memtable_bytes: u64,
    /// Sealed memtables at which writes have to wait for a flush.
    pub sealed_max: usize,
    /// Bytes of the block cache.
    pub block_cache_bytes: u64,
    /// Bytes of rows that are kept for lookups of keys that are in tables only.
    pub row_cache_bytes: u64,
    /// Bytes of one write-ahead log segment.
    pub segment_bytes: u64,
    /// Whether log segments are filled with zeros ahead of need, for writes that are synced one by
    /// one; else they are reserved.
    pub fill_log: bool,
    /// Bytes (before compression) at which a compaction starts its next output table.
    pub table_bytes: u64,
    /// Most bytes of the level that level 0 is compacted into (the least of those below it). The
    /// levels below follow the size of the deepest one, see `compaction`.
    pub level1_bytes: u64,
    /// How many times larger each level is than the one above.
    pub fanout: u64,
    /// Tables in level 0 at which they are compacted.
    pub l0_trigger: usize,
    /// Bytes of the disk below which writes are refused; what is left is for flush and compaction.
    pub space_reserve_bytes: u64,
    /// Threads for flush (one) and compaction (the others, at least one). 0: none, background
    /// work is done by [`super::Engine::step`] only.
    pub background_threads: usize,
    /// Bytes per second that compactions may read while the tree is in shape; grows with the
    /// debt. 0: not limited.
    pub compaction_rate: u64,
    /// Bytes that open tables may hold outside the block cache.
    pub open_tables_bytes: u64,
    /// Tables that may be open, each with its file. What is read beyond that is opened for it.
    pub open_tables_max: usize,
    /// Scan steps that one resident view may take before it answers
    /// [`super::Error::WouldBlock`]; a transaction of the writer has some times as many.
    pub resident_steps: u32,
}

impl Options {
    /// Options that split one memory budget of `maxmemory` bytes: one eighth for each of at most
    /// three memtables, a quarter for the block cache, an eighth for rows, the rest for open tables,
    /// compaction buffers, clients and the allocator.
    #[must_use]
    pub fn for_budget(dir: impl Into<PathBuf>, maxmemory: u64) -> Self {
        let memtable_bytes = (maxmemory / 8).clamp(MIB, 256 * MIB);
        let segment_bytes = memtable_bytes.clamp(4 * MIB, 64 * MIB);
        Self {
            dir: dir.into(),
            kind_at: 0,
            share_at: usize::MAX,
            memtable_bytes,
            sealed_max: 2,
            block_cache_bytes: cache_share(maxmemory, memtable_bytes),
            row_cache_bytes: (maxmemory / 8).max(MIB),
            segment_bytes,
            fill_log: true,
            table_bytes: (maxmemory / 8).clamp(2 * MIB, 64 * MIB),
            level1_bytes: (4 * memtable_bytes).max(64 * MIB),
            fanout: 10,
            l0_trigger: 4,
            space_reserve_bytes: (segment_bytes + memtable_bytes).min(256 * MIB),
            background_threads: 2,
            compaction_rate: 64 * MIB,
            open_tables_bytes: (maxmemory / 16).max(MIB),
            open_tables_max: OPEN_TABLES_MAX,
            resident_steps: 2000,
        }
    }
}

/// A quarter of small budgets; of large ones also what the capped memtables leave unused.
fn cache_share(maxmemory: u64, memtable_bytes: u64) -> u64 {
    let unused_by_memtables = (maxmemory / 8).saturating_sub(memtable_bytes) * 3;
    (maxmemory / 4 + unused_by_memtables / 2).max(MIB)
}
