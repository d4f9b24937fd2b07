//! What an engine has to offer for the work to be done on it.

use std::path::PathBuf;

/// Fails with whatever an engine fails with; the run ends then.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// The numbers that are the same for every engine.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The data directory.
    pub(crate) dir: PathBuf,
    /// Size of a memtable in bytes; there are at most three.
    pub(crate) memtable_bytes: u64,
    /// Bytes of all caches together.
    pub(crate) cache_bytes: u64,
    /// Size of a table in bytes.
    pub(crate) table_bytes: u64,
    /// Size of the first level in bytes.
    pub(crate) level_bytes: u64,
    /// Bytes per second that compactions may read while the tree is in shape; 0: no limit.
    pub(crate) compaction_rate: u64,
}

/// An open engine, as the one who writes holds it.
pub(crate) trait Store: Send {
    /// Writes `pairs` as one transaction; durable when this returns where `sync` is set, else in the
    /// page cache.
    fn write(&mut self, pairs: Vec<Pair>, sync: bool) -> Outcome<()>;
    /// Waits until everything is in tables and no compaction is due.
    fn settle(&mut self) -> Outcome<()>;
    /// A reader for another thread.
    fn reader(&self) -> Box<dyn Reader>;
    /// What the engine says of the shape of its tree.
    fn shape(&self) -> String;
}

/// Reads what is published at the moment of the call.
pub(crate) trait Reader: Send {
    /// Length of the value of `key`, if it is there.
    fn get(&self, key: &[u8]) -> Outcome<Option<usize>>;
    /// Walks up to `count` pairs from `key` on, and answers how many bytes they have.
    fn scan(&self, key: &[u8], count: usize) -> Outcome<usize>;
}
