//! What every consistent view of the store can do.

use std::ops::Bound;

use bytes::Bytes;

use super::{Found, Result, SeqNo};

/// How far a read may go to find a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Memory and page cache only; answers [`super::Error::WouldBlock`] rather than wait on the
    /// disk, or when its budget of work (steps of scans, bytes) is used up. For Tokio workers.
    Resident,
    /// May wait on the disk for as long as it takes. For the blocking pool.
    Blocking,
}

/// Keys from `start` to `end`, in the order of their bytes.
pub type KeyRange = (Bound<Bytes>, Bound<Bytes>);

/// Which way a scan walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key to the largest.
    Forward,
    /// From the largest key to the smallest.
    Reverse,
}

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// A running scan: pairs in order; ends after the first error.
pub type Scan<'a> = Box<dyn Iterator<Item = Result<Pair>> + 'a>;

/// A consistent view of the store: a snapshot, or a transaction on the writer (which also sees
/// its own uncommitted changes).
pub trait Read: Sync {
    /// The value of `key` in this view.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.newest(key)?.and_then(|found| found.value))
    }

    /// The newest version of `key` in this view, which may be a tombstone: compaction may have
    /// dropped that, so `None` is no proof that the key was never there.
    fn newest(&self, key: &[u8]) -> Result<Option<Found>>;

    /// Walks the keys of `range`. Deleted keys are not seen.
    fn scan(&self, range: KeyRange, direction: Direction) -> Scan<'_>;

    /// Hands the keys of `range` and their values to `visit` until it answers false. As [`Self::scan`],
    /// for who wants many and keeps none: nothing is copied, and nothing shared.
    fn visit(
        &self,
        range: KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        visit_each(self.scan(range, direction), visit)
    }

    /// The newest transaction that the view is sure to show as a whole.
    fn seq(&self) -> SeqNo;

    /// Whether all that it shows is committed: nothing of it can be dropped.
    fn is_committed(&self) -> bool {
        true
    }

    /// The root record of this view: a small opaque record that changes atomically with the
    /// transactions and costs nothing to read. Empty in a new store.
    fn root(&self) -> &[u8];

    /// Brings what lookups of `keys` will need into the processor's cache, as far as it is in memory
    /// and nobody holds it: a hint, worth it for a dozen lookups that follow.
    fn prefetch(&self, keys: &[&[u8]]);
}

/// Hands what a scan meets to `visit` until that answers false.
pub(super) fn visit_each(
    scan: Scan<'_>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<()> {
    for pair in scan {
        let (key, value) = pair?;
        if !visit(&key, &value) {
            break;
        }
    }
    Ok(())
}
