//! What walks waste on dead records, and when that pays for getting rid of them.
//!
//! A walk passes over what was deleted: tombstones, and the versions below them. Compaction drops both
//! once tombstones are in tables and many there. Before that, and where they are few beside the rest of
//! a large store, a walk over what is left of a million elements costs what a walk over a million costs, each time. So
//! walks tell how many records they have passed over in vain, and once they have wasted some times
//! what it costs, the memtable is sealed, or level 0 compacted, ahead of its time.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a walk has passed over in vain is told from so many records on.
const TOLD_MIN: u64 = 64;
/// To write a record anew takes so many times what it takes to pass over one.
const COST_OF_RECORD: u64 = 4;
/// A flush or a compaction costs as much as to write so many records, at least.
const RECORDS_MIN: u64 = 16 << 10;
/// Tombstones below which nothing is done.
const TOMBSTONES_MIN: u64 = 4096;

/// Records that walks have passed over in vain, since something was done about it.
#[derive(Debug, Default)]
pub(super) struct Waste(AtomicU64);

impl Waste {
    /// A walk has passed over so many.
    pub(super) fn add(&self, records: u64) {
        if records >= TOLD_MIN {
            self.0.fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Something is done about it.
    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether it is as much as it costs to write so many records anew, among which so many tombstones
    /// are.
    pub(super) fn pays_for(&self, records: u64, tombstones: u64) -> bool {
        tombstones >= TOMBSTONES_MIN
            && self.0.load(Ordering::Relaxed)
                >= records.max(RECORDS_MIN).saturating_mul(COST_OF_RECORD)
    }
}
