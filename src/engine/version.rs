//! A version: the immutable list of all tables, by level.
//!
//! Invariants:
//! 1. Level 0 stands newest first; sequence ranges of its tables do not overlap.
//! 2. In every other level tables stand in key order, and no two share a key.
//! 3. Of one key, a record in a lower-numbered level is newer than one in a higher-numbered level.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Found, KeyRange, ReadMode, Result, Table, TableInfo, filter_hash};

/// Levels of the tree. With fanout 10 and 64 MiB in the first level in use, six levels below level 0
/// are enough for 6 TiB.
pub(super) const LEVELS: usize = 7;

/// Ids of tables that no version names any more; their files can be removed.
#[derive(Debug, Default)]
pub(super) struct Obsolete {
    ids: Mutex<Vec<u64>>,
}

impl Obsolete {
    pub(super) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.ids.lock())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.lock().is_empty()
    }

    fn put(&self, id: u64) {
        self.ids.lock().push(id);
    }
}

/// A table and its life: once dropped from the newest version, its file goes when the last
/// version that names it goes.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) table: Arc<Table>,
    dropped: AtomicBool,
    obsolete: Arc<Obsolete>,
}

impl Handle {
    pub(super) fn new(table: Arc<Table>, obsolete: Arc<Obsolete>) -> Arc<Self> {
        Arc::new(Self { table, dropped: AtomicBool::new(false), obsolete })
    }

    pub(super) fn info(&self) -> &TableInfo {
        self.table.info()
    }

    pub(super) fn id(&self) -> u64 {
        self.info().id
    }

    /// The newest version no longer names this table.
    pub(super) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.dropped.load(Ordering::Acquire) {
            self.obsolete.put(self.table.info().id);
        }
    }
}

/// The tables of one level.
#[derive(Debug, Clone, Default)]
pub(super) struct Level {
    pub(super) tables: Vec<Arc<Handle>>,
    /// The same tables, as a walk over the level wants them.
    plain: Arc<[Arc<Table>]>,
    bytes: u64,
}

impl Level {
    fn new(tables: Vec<Arc<Handle>>) -> Self {
        let plain = tables.iter().map(|handle| handle.table.clone()).collect();
        let bytes = tables.iter().map(|handle| handle.info().size).sum();
        Self { tables, plain, bytes }
    }

    /// Size on disk in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of a level other than 0: the tables that may hold a key between the bounds (inclusive).
    pub(super) fn overlapping(&self, smallest: &[u8], largest: &[u8]) -> &[Arc<Handle>] {
        let from = self.tables.partition_point(|handle| &handle.info().largest[..] < smallest);
        let to = self.tables.partition_point(|handle| &handle.info().smallest[..] <= largest);
        self.tables.get(from..to).unwrap_or(&[])
    }

    /// The tables for a walk over `range`; those outside of it are left out.
    pub(super) fn for_walk(&self, range: &KeyRange) -> Option<Arc<[Arc<Table>]>> {
        let (start, end) = (&range.0, &range.1);
        let is_before = |handle: &Arc<Handle>| !is_after_start(handle.info(), start);
        let from = self.tables.partition_point(is_before);
        let to = self.tables.partition_point(|handle| is_before_end(handle.info(), end));
        if from >= to {
            return None;
        }
        if to - from == self.tables.len() {
            return Some(self.plain.clone());
        }
        Some(self.plain.get(from..to)?.into())
    }
}

/// Whether a table may hold a key of `range`.
pub(super) fn meets(info: &TableInfo, (start, end): &KeyRange) -> bool {
    is_after_start(info, start) && is_before_end(info, end)
}

fn is_after_start(info: &TableInfo, start: &Bound<Bytes>) -> bool {
    match start {
        Bound::Unbounded => true,
        Bound::Included(start) => info.largest >= *start,
        Bound::Excluded(start) => info.largest > *start,
    }
}

fn is_before_end(info: &TableInfo, end: &Bound<Bytes>) -> bool {
    match end {
        Bound::Unbounded => true,
        Bound::Included(end) => info.smallest <= *end,
        Bound::Excluded(end) => info.smallest < *end,
    }
}

/// All tables of the tree.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) levels: Vec<Level>,
}

impl Version {
    /// A version of `tables`, each with its level. Level numbers are below [`LEVELS`].
    pub(super) fn new(tables: impl IntoIterator<Item = (usize, Arc<Handle>)>) -> Self {
        let mut levels: Vec<Vec<Arc<Handle>>> = vec![Vec::new(); LEVELS];
        for (level, handle) in tables {
            levels[level].push(handle);
        }
        for (number, level) in levels.iter_mut().enumerate() {
            sort(number, level);
        }
        Self { levels: levels.into_iter().map(Level::new).collect() }
    }

    /// This version without the tables named in `removed`, and with `added`.
    pub(super) fn with(&self, removed: &[u64], added: &[(usize, Arc<Handle>)]) -> Self {
        let mut levels = self.levels.clone();
        for (number, level) in levels.iter_mut().enumerate() {
            let goes = level.tables.iter().any(|handle| removed.contains(&handle.id()));
            if !goes && added.iter().all(|(to, _)| *to != number) {
                continue;
            }
            let kept = level.tables.iter().filter(|handle| !removed.contains(&handle.id()));
            let new = added.iter().filter(|(to, _)| *to == number).map(|(_, handle)| handle);
            let mut tables: Vec<_> = kept.chain(new).cloned().collect();
            sort(number, &mut tables);
            *level = Level::new(tables);
        }
        Self { levels }
    }

    /// All tables, level 0 first.
    pub(super) fn tables(&self) -> impl Iterator<Item = (usize, &Arc<Handle>)> {
        self.levels
            .iter()
            .enumerate()
            .flat_map(|(number, level)| level.tables.iter().map(move |handle| (number, handle)))
    }

    /// The newest version of `key` in any table.
    pub(super) fn get(&self, key: &[u8], mode: ReadMode) -> Result<Option<Found>> {
        let hash = filter_hash(key);
        for handle in &self.levels[0].tables {
            if let Some(found) = handle.table.get_hashed(key, hash, mode)? {
                return Ok(Some(found));
            }
        }
        for level in &self.levels[1..] {
            let at = level.tables.partition_point(|handle| &handle.info().largest[..] < key);
            if let Some(handle) = level.tables.get(at)
                && let Some(found) = handle.table.get_hashed(key, hash, mode)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether a level deeper than `level` may hold a key between the bounds (inclusive).
    pub(super) fn may_lie_below(&self, level: usize, smallest: &[u8], largest: &[u8]) -> bool {
        let mut deeper = self.levels.iter().skip(level + 1);
        deeper.any(|level| !level.overlapping(smallest, largest).is_empty())
    }

    /// The deepest level that has tables.
    pub(super) fn bottom(&self) -> usize {
        self.levels.iter().rposition(|level| !level.tables.is_empty()).unwrap_or(0)
    }

    /// The first broken invariant, in words.
    pub(super) fn broken_invariant(&self) -> Option<(Arc<Handle>, String)> {
        for (number, level) in self.levels.iter().enumerate() {
            for pair in level.tables.windows(2) {
                let [one, two] = pair else { continue };
                let (a, b) = (one.info(), two.info());
                let sound = match number {
                    0 => a.seq_min > b.seq_max,
                    _ => a.largest < b.smallest,
                };
                if !sound {
                    let what = format!("overlaps table {} of the same level {number}", a.id);
                    return Some((two.clone(), what));
                }
            }
        }
        None
    }
}

fn sort(level: usize, tables: &mut [Arc<Handle>]) {
    if level == 0 {
        tables.sort_by_key(|handle| std::cmp::Reverse((handle.info().seq_max, handle.id())));
    } else {
        tables.sort_by(|a, b| a.info().smallest.cmp(&b.info().smallest));
    }
}

/// Smallest and largest key of `tables`; `None` where there are none.
pub(super) fn hull<'a>(
    tables: impl IntoIterator<Item = &'a Arc<Handle>>,
) -> Option<(Bytes, Bytes)> {
    tables.into_iter().fold(None, |hull, handle| {
        let info = handle.info();
        Some(match hull {
            None => (info.smallest.clone(), info.largest.clone()),
            Some((smallest, largest)) => {
                (smallest.min(info.smallest.clone()), largest.max(info.largest.clone()))
            }
        })
    })
}
