//! The tree that readers share: memtables and tables, as one immutable value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use smallvec::SmallVec;

use super::key_hash::hash_of;
use super::memtable::{Entry, Memtable, MemtableIter};
use super::read::visit_each;
use super::rows::{Lookup, Rows};
use super::version::{Version, meets};
use super::waste::Waste;
use super::{
    Direction, Error, Found, KeyRange, LevelIter, MergeIter, Pair, ReadMode, Record, RecordIter,
    Result, Scan, ScanOptions, SeqNo, VisibleIter,
};

/// Keys of which nothing is seen that a walk over one memtable passes over in one step.
const PASSED_PER_STEP: usize = 16;

/// Where all records are. Immutable but for the active memtable, which gets records newer than every
/// view that exists, and loses those that none sees.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) rows: Arc<Rows>,
    /// [`Rows::flushes`] when it was installed.
    pub(super) flushes: u64,
    pub(super) active: Arc<Memtable>,
    /// Newest first.
    pub(super) sealed: Vec<Arc<Sealed>>,
    pub(super) version: Arc<Version>,
    /// What walks pass over in vain.
    pub(super) waste: Arc<Waste>,
}

/// A memtable that gets no more records and waits for its flush.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) memtable: Arc<Memtable>,
    /// Its newest transaction.
    pub(super) last_seq: SeqNo,
    /// The root record as of `last_seq`.
    pub(super) root: Bytes,
}

/// What readers see: a tree, and how much of it is visible.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) tree: Arc<Tree>,
    pub(super) seq: SeqNo,
    /// The root record as of `seq`.
    pub(super) root: Bytes,
}

impl Tree {
    /// Whether a memtable is one of its own.
    pub(super) fn holds(&self, memtable: &Arc<Memtable>) -> bool {
        let mut sealed = self.sealed.iter().map(|sealed| &sealed.memtable);
        Arc::ptr_eq(&self.active, memtable) || sealed.any(|one| Arc::ptr_eq(one, memtable))
    }
}

/// The scan steps that a resident view has left.
#[derive(Debug)]
pub(super) struct Steps {
    left: AtomicU32,
}

impl Steps {
    pub(super) fn new(steps: u32) -> Self {
        Self { left: AtomicU32::new(steps) }
    }

    /// Whether none is left.
    pub(super) fn are_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Takes all but so many; how many these are.
    pub(super) fn spare(&self, keep: u32) -> u32 {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.min(keep), Ordering::Relaxed);
        left.saturating_sub(keep)
    }

    /// Gives some back.
    pub(super) fn give(&self, steps: u32) {
        self.left.fetch_add(steps, Ordering::Relaxed);
    }

    /// Takes one; `false` where none is left. A race between two scans of one view costs a step.
    fn take(&self) -> bool {
        self.take_many(1)
    }

    /// Takes some; `false` where there were not as many.
    fn take_many(&self, count: u32) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(count), Ordering::Relaxed);
        left >= count
    }
}

/// How a view reads the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct ViewOptions<'a> {
    pub(super) seq: SeqNo,
    pub(super) mode: ReadMode,
    /// Where its walks are bounded.
    pub(super) steps: Option<&'a Steps>,
}

impl Tree {
    /// The newest version of `key` in a view at `seq`.
    pub(super) fn get(&self, key: &[u8], seq: SeqNo, mode: ReadMode) -> Result<Option<Found>> {
        self.get_hashed(key, hash_of(key), seq, mode)
    }

    /// As [`Self::get`], where the hash of the key is known.
    pub(super) fn get_hashed(
        &self,
        key: &[u8],
        hash: u64,
        seq: SeqNo,
        mode: ReadMode,
    ) -> Result<Option<Found>> {
        match self.rows.get(key, hash, seq) {
            Lookup::Found(found) => return Ok(Some(found)),
            Lookup::InTables if self.rows.flushes() == self.flushes => {}
            // A key without a row is in none of the memtables that wait for their flush.
            Lookup::InTables => return self.get_in_order(key, seq, mode, Memtable::is_flushed),
            Lookup::Unknown => return self.get_in_order(key, seq, mode, |_| true),
        }
        let Some(found) = self.version.get(key, mode)? else { return Ok(None) };
        if self.rows.count_lookup(hash, mode) {
            self.rows.keep(key, &found, self.flushes);
        }
        Ok(Some(found))
    }

    /// The newest version of `key`, newest source first: the first that knows the key decides. Looks at the
    /// memtables that `may_know` it.
    fn get_in_order(
        &self,
        key: &[u8],
        seq: SeqNo,
        mode: ReadMode,
        may_know: impl Fn(&Memtable) -> bool,
    ) -> Result<Option<Found>> {
        let memtables = self.sealed.iter().map(|sealed| &*sealed.memtable);
        let memtables = std::iter::once(&*self.active).chain(memtables);
        for memtable in memtables.filter(|memtable| may_know(memtable)) {
            if let Some(found) = memtable.get(key, seq, mode)? {
                return Ok(Some(found));
            }
        }
        self.version.get(key, mode)
    }

    /// Walks what a view sees of `range`.
    pub(super) fn scan<'a>(
        &'a self,
        range: &KeyRange,
        direction: Direction,
        view: ViewOptions<'a>,
    ) -> Scan<'a> {
        match self.walk(range, direction, view) {
            Walk::Alone(walk) => Box::new(walk),
            Walk::Merged(walk) => walk,
        }
    }

    /// Hands what a view sees of `range` to `visit` until that answers false.
    pub(super) fn visit(
        &self,
        range: &KeyRange,
        direction: Direction,
        view: ViewOptions<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        match self.walk(range, direction, view) {
            Walk::Alone(mut walk) => {
                walk.walk.expect_many();
                while let Some(entry) = walk.next_entry().transpose()? {
                    if !visit(entry.key(), entry.value().unwrap_or_default()) {
                        break;
                    }
                }
            }
            Walk::Merged(walk) => visit_each(walk, visit)?,
        }
        Ok(())
    }

    fn walk<'a>(
        &'a self,
        range: &KeyRange,
        direction: Direction,
        view: ViewOptions<'a>,
    ) -> Walk<'a> {
        let mut walks = SmallVec::<[MemtableIter<'a>; 4]>::new();
        let memtables = self.sealed.iter().map(|sealed| &*sealed.memtable);
        for memtable in std::iter::once(&*self.active).chain(memtables) {
            for walk in memtable.walks(range, direction, view.seq, view.mode) {
                match walk {
                    Ok(walk) => walks.push(walk),
                    Err(error) => return Walk::Merged(Box::new(std::iter::once(Err(error)))),
                }
            }
        }
        let tables = self.table_walks(range, direction, view.mode);
        if tables.is_empty()
            && walks.len() == 1
            && let Some(mut walk) = walks.pop()
        {
            walk.hide_tombstones();
            let steps = view.steps;
            let waste = Told { waste: &self.waste, passed: 0 };
            return Walk::Alone(Alone { walk, steps, waste, ended: false });
        }
        let mut sources: Vec<Box<dyn RecordIter + 'a>> =
            walks.into_iter().map(|walk| Box::new(walk) as Box<dyn RecordIter + 'a>).collect();
        sources.extend(tables);
        let merged = MergeIter::new(sources, direction);
        let counted = Counted { records: merged, steps: view.steps };
        let visible = VisibleIter::new(counted, view.seq, direction);
        Walk::Merged(Box::new(Merged { visible, waste: &self.waste }))
    }

    /// Walks over the tables that may hold keys of `range`, newest first.
    fn table_walks<'a>(
        &'a self,
        range: &KeyRange,
        direction: Direction,
        mode: ReadMode,
    ) -> Vec<Box<dyn RecordIter + 'a>> {
        let mut sources: Vec<Box<dyn RecordIter + 'a>> = Vec::new();
        let options = ScanOptions::cached(mode);
        for (number, level) in self.version.levels.iter().enumerate() {
            if number == 0 {
                for handle in level.tables.iter().filter(|handle| meets(handle.info(), range)) {
                    sources.push(Box::new(handle.table.scan(range.clone(), direction, options)));
                }
            } else if let Some(tables) = level.for_walk(range) {
                let walk = LevelIter::new(tables, range.clone(), direction, options);
                sources.push(Box::new(walk));
            }
        }
        sources
    }
}

/// A walk over what a view sees.
enum Walk<'a> {
    Alone(Alone<'a>),
    Merged(Scan<'a>),
}

/// A walk over the only source there is, a memtable: of each key it meets what the view sees.
struct Alone<'a> {
    walk: MemtableIter<'a>,
    /// Of a resident view.
    steps: Option<&'a Steps>,
    waste: Told<'a>,
    ended: bool,
}

impl Iterator for Alone<'_> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|entry| {
            let Record { key, value, .. } = entry?.into_record();
            Ok((key, value.unwrap_or_default()))
        })
    }
}

impl Alone<'_> {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        if self.ended {
            return None;
        }
        let pay = |steps: u32| match self.steps {
            Some(left) if !left.take_many(steps) => Err(Error::WouldBlock),
            _ => Ok(()),
        };
        let waste = &mut self.waste;
        let passed = |keys: usize| {
            let steps = u32::try_from(keys / PASSED_PER_STEP).unwrap_or(u32::MAX);
            waste.passed += u64::from(steps);
            pay(steps)
        };
        let next = match pay(1) {
            Ok(()) => self.walk.next_seen(passed),
            Err(error) => Some(Err(error)),
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// What one walk has passed over in vain, in steps; told at its end.
struct Told<'a> {
    waste: &'a Waste,
    passed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.waste.add(self.passed);
    }
}

/// A walk over what a view sees of several sources.
struct Merged<'a, I> {
    visible: VisibleIter<I>,
    waste: &'a Waste,
}

impl<I: RecordIter> Iterator for Merged<'_, I> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        self.visible.next()
    }
}

impl<I> Drop for Merged<'_, I> {
    fn drop(&mut self) {
        self.waste.add(self.visible.passed());
    }
}

/// Ends the walk of a resident view with `WouldBlock` when its steps are used up. Counts records, not
/// pairs: a walk over many tombstones is heavy too.
struct Counted<'a, I> {
    records: I,
    steps: Option<&'a Steps>,
}

impl<I: RecordIter> Iterator for Counted<'_, I> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.steps {
            Some(steps) if !steps.take() => Some(Err(Error::WouldBlock)),
            _ => self.records.next(),
        }
    }
}
