//! How tables are written, and how they are walked.

use super::super::ReadMode;

/// How the blocks of a table are compressed. A block that does not shrink by 12 % is stored raw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: fast, for the upper levels.
    #[default]
    Lz4,
    /// Zstandard, level 3: smaller, for the bottom level.
    Zstd,
}

/// How a table is written.
#[derive(Debug, Clone, Copy)]
pub struct TableOptions {
    /// Compression of data blocks and index partitions.
    pub compression: Compression,
    /// A data block is closed when its content reaches this many bytes before compression.
    pub block_bytes: usize,
    /// Data blocks per index partition, and so per filter partition.
    pub partition_blocks: usize,
    /// Bits of the filter per key; 0 writes no filter.
    pub filter_bits_per_key: usize,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            block_bytes: 4096,
            partition_blocks: 128,
            filter_bits_per_key: 10,
        }
    }
}

/// How a table is walked.
#[derive(Debug, Clone, Copy)]
pub struct ScanOptions {
    /// Whether the walk may wait on the disk.
    pub mode: ReadMode,
    /// Whether blocks that were not in the cache are put there. Compactions and long scans leave
    /// the cache as it is.
    pub fill_cache: bool,
    /// Whether data blocks leave the cache as they are read: what is written in their place gets theirs.
    pub takes_blocks: bool,
    /// Largest read ahead in bytes, 0 for none. A blocking walk starts with one block at a time
    /// and doubles up to this; a resident walk does not read ahead, since that could make it wait.
    pub readahead_bytes: usize,
}

impl ScanOptions {
    /// For reads of clients: through the cache.
    #[must_use]
    pub fn cached(mode: ReadMode) -> Self {
        Self { mode, fill_cache: true, takes_blocks: false, readahead_bytes: 0 }
    }

    /// For compaction and long blocking scans: past the cache, 256 KiB at a time.
    #[must_use]
    pub fn streaming() -> Self {
        let (mode, readahead_bytes) = (ReadMode::Blocking, 256 << 10);
        Self { mode, fill_cache: false, takes_blocks: false, readahead_bytes }
    }

    /// For a compaction beside which nobody reads: as [`Self::streaming`], and the cache gets room for the
    /// tables that replace these.
    #[must_use]
    pub fn replacing() -> Self {
        Self { takes_blocks: true, ..Self::streaming() }
    }
}
