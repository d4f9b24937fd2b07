//! The tree that readers share: memtables and tables, as one immutable value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use smallvec::SmallVec;

use super::key_hash::hash_of;
use super::memtable::{Entry, Memtable, MemtableIter};
use super::overlay::Overlay;
use super::read::visit_each;
use super::rows::{Lookup, Rows};
use super::version::{Version, meets};
use super::waste::Waste;
use super::{
    Direction, Error, Found, KeyRange, LevelIter, MergeIter, Pair, ReadMode, Record, RecordIter,
    Result, Scan, ScanOptions, SeqNo, Table, TableIter, VisibleIter,
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
        let mut sources = match self.sources(range, direction, view) {
            Ok(sources) => sources,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        match sources.take_only_memtable() {
            Some(walk) => Box::new(self.alone(walk, view)),
            None => Box::new(self.merged(sources, direction, view)),
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
        let mut sources = self.sources(range, direction, view)?;
        if let Some(walk) = sources.take_only_memtable() {
            let mut alone = self.alone(walk, view);
            alone.walk.expect_many();
            while let Some(entry) = alone.next_entry().transpose()? {
                if !visit(entry.key(), entry.value().unwrap_or_default()) {
                    break;
                }
            }
            return Ok(());
        }
        if direction == Direction::Forward
            && let Some(lowest) = sources.tables.pop()
        {
            return self.visit_over(lowest, sources, view, visit);
        }
        visit_each(Box::new(self.merged(sources, direction, view)), visit)
    }

    /// Hands what a view sees of tables that do not overlap, and of what lies above them, to `visit`: most is in
    /// the tables of one level, and has to pass through no merge.
    fn visit_over<'a>(
        &'a self,
        lowest: TableWalk,
        above: Sources<'a>,
        view: ViewOptions<'a>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let above = MergeIter::new(above.into_walks().collect(), Direction::Forward);
        let mut above = Overlay::new(above, view.seq)?;
        let pay = || match view.steps {
            Some(steps) if !steps.take() => Err(Error::WouldBlock),
            _ => Ok(()),
        };
        let mut show = |key: &[u8], seq: SeqNo, value: Option<&[u8]>| {
            above.show((key, seq, value), pay, visit)
        };
        let visited = match lowest {
            TableWalk::Table(walk) => walk.visit(&mut show),
            TableWalk::Level(walk) => walk.visit(&mut show),
        };
        let shown = match visited {
            Ok(true) => above.show_rest(pay, visit),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        self.waste.add(above.passed());
        shown
    }

    fn sources<'a>(
        &'a self,
        range: &KeyRange,
        direction: Direction,
        view: ViewOptions<'a>,
    ) -> Result<Sources<'a>> {
        let mut walks = SmallVec::new();
        let memtables = self.sealed.iter().map(|sealed| &*sealed.memtable);
        for memtable in std::iter::once(&*self.active).chain(memtables) {
            for walk in memtable.walks(range, direction, view.seq, view.mode) {
                walks.push(walk?);
            }
        }
        Ok(Sources { memtables: walks, tables: self.table_walks(range, direction, view.mode) })
    }

    fn alone<'a>(&'a self, mut walk: MemtableIter<'a>, view: ViewOptions<'a>) -> Alone<'a> {
        walk.hide_tombstones();
        let waste = Told { waste: &self.waste, passed: 0 };
        Alone { walk, steps: view.steps, waste, ended: false }
    }

    fn merged<'a>(
        &'a self,
        sources: Sources<'a>,
        direction: Direction,
        view: ViewOptions<'a>,
    ) -> impl Iterator<Item = Result<Pair>> + use<'a> {
        let merged = MergeIter::new(sources.into_walks().collect(), direction);
        let counted = Counted { records: merged, steps: view.steps };
        let visible = VisibleIter::new(counted, view.seq, direction);
        Merged { visible, waste: &self.waste }
    }

    /// Walks over the tables that may hold keys of `range`, newest first.
    fn table_walks(
        &self,
        range: &KeyRange,
        direction: Direction,
        mode: ReadMode,
    ) -> SmallVec<[TableWalk; 1]> {
        let mut walks = SmallVec::new();
        let options = ScanOptions::cached(mode);
        for (number, level) in self.version.levels.iter().enumerate() {
            if number == 0 {
                for handle in level.tables.iter().filter(|handle| meets(handle.info(), range)) {
                    let walk = handle.table.scan(range.clone(), direction, options);
                    walks.push(TableWalk::Table(walk));
                }
            } else if let Some(tables) = level.for_walk(range) {
                let walk = LevelIter::new(tables, range.clone(), direction, options);
                walks.push(TableWalk::Level(walk));
            }
        }
        walks
    }
}

type Source<'a> = Box<dyn RecordIter + 'a>;

/// What may hold records of a range.
struct Sources<'a> {
    memtables: SmallVec<[MemtableIter<'a>; 4]>,
    /// Newest first.
    tables: SmallVec<[TableWalk; 1]>,
}

/// A walk over one table, or over those of a level: they do not overlap.
enum TableWalk {
    Table(TableIter),
    Level(LevelIter<Arc<[Arc<Table>]>>),
}

impl<'a> Sources<'a> {
    /// The walk over a memtable where that is all there is.
    fn take_only_memtable(&mut self) -> Option<MemtableIter<'a>> {
        let is_alone = self.tables.is_empty() && self.memtables.len() == 1;
        if is_alone { self.memtables.pop() } else { None }
    }

    /// All walks, newest first.
    fn into_walks(self) -> impl Iterator<Item = Source<'a>> {
        let memtables = self.memtables.into_iter().map(|walk| Box::new(walk) as Source<'a>);
        memtables.chain(self.tables.into_iter().map(|walk| match walk {
            TableWalk::Table(walk) => Box::new(walk) as Source<'a>,
            TableWalk::Level(walk) => Box::new(walk) as Source<'a>,
        }))
    }
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
