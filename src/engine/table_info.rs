//! What the manifest records of an SSTable, so that opening the store reads no table.

use bytes::Bytes;

/// One SSTable. `smallest` and `largest` are inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableInfo {
    /// Names the file; unique, increasing, never reused.
    pub id: u64,
    /// File size in bytes.
    pub size: u64,
    /// Keys and values before compression, in bytes.
    pub raw_bytes: u64,
    /// Records, tombstones included.
    pub entries: u64,
    /// Deletions among them.
    pub tombstones: u64,
    /// Records with an expiry, as the [`super::Filter`] tells.
    pub expiring: u64,
    /// Median of their expiries in Unix milliseconds; 0 where there are none.
    pub expiry_median_ms: u64,
    /// Smallest key.
    pub smallest: Bytes,
    /// Largest key.
    pub largest: Bytes,
    /// Smallest sequence number.
    pub seq_min: u64,
    /// Largest sequence number.
    pub seq_max: u64,
}
