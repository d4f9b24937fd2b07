//! The LSM tree: byte keys, byte values, transactions, snapshots. It knows no Redis type.
//!
//! One [`Writer`] owns the memtable and the write-ahead log; readers take a [`Snapshot`].
//! The core is synchronous and deterministic; tasks and threads are thin shells around it.

mod admission;
mod background;
mod batch;
mod cache;
mod check;
pub mod coding;
mod compaction;
mod error;
mod filter;
mod flush;
mod handle;
mod key_hash;
mod log_mark;
pub mod manifest;
mod memtable;
mod merge;
mod options;
mod overlay;
mod pending;
mod read;
mod record;
mod recover;
mod rows;
mod seen;
mod shared;
mod snapshot;
mod space;
mod sstable;
mod stats;
mod table_info;
mod tree;
mod txn;
mod version;
mod views;
pub mod wal;
mod waste;
mod writer;

pub use cache::{BlockCache, CacheStats};
pub use check::CheckedTables;
pub use error::{Error, Result};
pub use filter::{Filter, Judge, KeepAll};
pub use handle::Engine;
pub use key_hash::{BuildKeyHasher, BuildSpreadHasher, KeyHasher, SpreadHasher};
pub use merge::{MergeIter, VisibleIter};
pub use options::Options;
pub use read::{Direction, KeyRange, Pair, Read, ReadMode, Scan};
pub use record::{Found, Record, RecordIter};
pub use snapshot::Snapshot;
use sstable::filter_hash;
pub use sstable::{
    Compression, LevelIter, OpenTables, Pins, ScanOptions, Table, TableBuilder, TableIter,
    TableOptions, table_file_name,
};
pub use stats::{LevelStats, Stats};
pub use table_info::TableInfo;
pub use txn::{Changes, Txn, Writes};
pub use writer::{
    Batch, KEY_BYTES_MAX, NAME_TOO_LONG, ROOT_BYTES_MAX, Syncer, TXN_BYTES_MAX, VALUE_BYTES_MAX,
    Writer,
};

/// Position in the one order of all transactions; each committed transaction takes the next.
/// 0 means "before the first". Fits 56 bits.
pub type SeqNo = u64;
