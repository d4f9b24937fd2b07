//! A version of a key, as memtables and tables hold it.

use bytes::Bytes;

use super::{Result, SeqNo};

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Bytes,
    /// The transaction that wrote it.
    pub seq: SeqNo,
    /// What it wrote; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// What a lookup of one key found: the version, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The transaction that wrote it.
    pub seq: SeqNo,
    /// What it wrote; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// Records in the order (key ascending, sequence number descending), or in exactly the opposite
/// order for a reverse walk. Tombstones are included. Nothing follows an error.
///
/// A walk has its range and its direction from its creation and never turns, so every source is
/// a plain iterator.
pub trait RecordIter: Iterator<Item = Result<Record>> {}

impl<I: Iterator<Item = Result<Record>>> RecordIter for I {}
