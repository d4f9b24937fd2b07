//! The write-ahead log: what was promised before it is in a table.
//!
//! The log is a row of segment files `NNNNNNNNNN.wal`, numbered upwards from 1 and never reused as
//! numbers. A record lies in one segment; it starts at a multiple of 8 bytes:
//!
//! | offset | size | name            | meaning                                                     |
//! |--------|------|-----------------|-------------------------------------------------------------|
//! | 0      | 4    | crc             | crc32 of the bytes from offset 4 to the end of the payload  |
//! | 4      | 4    | len             | bytes of payload, at most 2^31                              |
//! | 8      | 8    | segment         | number of the segment that the record was written to        |
//! | 16     | 8    | offset          | offset of the record in that segment                        |
//! | 24     | 16   | previous        | segment and offset of the end of the record before this one |
//! | 40     | 16   | durable         | segment and offset up to which all records were known to be |
//! |        |      |                 | durable when this one was written                           |
//! | 56     | len  | payload         | opaque                                                      |
//! |        | 0..7 | padding         | zeros up to the next multiple of 8; not checked             |
//!
//! Behind the newest record there are zeros up to the end of its page of 4 KiB, or the segment.
//!
//! All numbers are little-endian. An "end" includes the padding. A record that does not fit in what
//! is left of its segment goes to the next; one that is larger than a segment gets a segment of its
//! own size.
//!
//! **Segments** grow with use: the first one that a process makes has 1 MiB, each further one is twice as
//! long, up to the size that is set, 64 MiB as a rule. They are made ahead of need, filled with zeros and synced, because syncing writes into
//! blocks that were written before is the fastest and steadiest there is; they are only reserved where
//! writes are not synced one by one. Where none is ready, the write of the first record makes one that
//! is only reserved, too. Segments that nothing needs
//! any more are renamed and used again with their old content; `segment` and `offset` tell that
//! content from the new. A segment that no record was written to yet may hold anything.
//!
//! **Continuity.** A record continues the log if `previous` is the end of the last one found, so that
//! neither a missing segment nor a missing end of a segment goes unnoticed. The first record of a
//! replay continues any record of an older segment than the first one needed.
//!
//! **A damaged tail.** A replay stops at the first place where no record continues the log. If any
//! whole record behind it says that this place was durable, the log is damaged and the replay fails.
//! Otherwise the rest was never known to be durable, so nobody was told so: it is cut and reported.
//! Cutting shortens the segment and removes later ones, durably, before the log goes on.
//!
//! **The mark.** Where the end of the log itself is gone (its last segment removed, emptied or cut
//! from outside) no record is left to prove that there was more. So the manifest carries a mark: a
//! place up to which the log was durable *before* the mark was written. After any power cut the log
//! therefore reaches its mark, and a replay that ends before it is an error, never a torn tail. The
//! mark is not written with each sync, so what was synced after it, and is damaged or removed with
//! no whole record behind it, cannot be told from a torn tail; `log_mark.rs` says when it is moved.
//! A segment of which no record is durable has no mark, and whether it is there proves nothing.

mod log;
mod record;
mod replay;
mod segments;
mod syncer;

pub use log::{Append, Wal};
pub use record::LogBatch;
pub use replay::{ACCEPT_LOSS, Expected, Replay, TornTail, look, replay};
pub use segments::{Segments, TEMPORARY_NAME};
pub use syncer::Syncer;

pub(super) use replay::with_remedy;

/// How the log uses the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalOptions {
    /// Size that segments grow to, in bytes. Larger records get a segment of their own.
    pub segment_bytes: u64,
    /// Size of the first segment of a process; each further one is twice as long, so that a store of
    /// which little is asked takes little of the disk.
    pub first_bytes: u64,
    /// How many retired segments are kept for reuse; more are removed.
    pub recycle_max: usize,
    /// Whether new segments are filled ahead of need, see [`Segments::set_fills`].
    pub fills: bool,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, first_bytes: 1 << 20, recycle_max: 2, fills: true }
    }
}

/// A place in the log; later places are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct LogPosition {
    /// Number of the segment.
    pub segment: u64,
    /// Offset in it, in bytes.
    pub offset: u64,
}

/// Where a new log continues an old one. [`Replay`] tells it; the default starts a first log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStart {
    /// Number of the first segment.
    segment: u64,
    /// Where the last record of the old log ends; durable.
    previous: LogPosition,
}

impl Default for LogStart {
    fn default() -> Self {
        Self { segment: 1, previous: LogPosition::default() }
    }
}

#[cfg(test)]
mod tests;
