//! Consistent views: [`Snapshot`] for readers, `Head` for the writer.

use std::ops::{Bound, Deref};
use std::sync::Arc;

use super::key_hash::hash_of;
use super::memtable::Memtable;
use super::read::visit_each;
use super::tree::{Published, Steps, Tree, ViewOptions};
use super::writer::STEPS_OF_WRITER;
use super::{Direction, Found, KeyRange, Read, ReadMode, Result, Scan, SeqNo, Writer};

/// A consistent view of the store. It pins the memtables and tables that it reads, so whatever
/// happens later it shows the same. `Clone` is one `Arc` clone; a clone has a budget of resident
/// work of its own.
#[derive(Debug)]
pub struct Snapshot {
    published: Arc<Published>,
    mode: ReadMode,
    steps_max: u32,
    steps: Steps,
    /// Whether walks that may wait are bounded, too.
    is_bounded: bool,
}

impl Snapshot {
    pub(super) fn new(published: Arc<Published>, mode: ReadMode, steps_max: u32) -> Self {
        Self { published, mode, steps_max, steps: Steps::new(steps_max), is_bounded: false }
    }

    /// The same view, the walks of which may take as many steps as those of a transaction of the writer,
    /// also where they wait for blocks: then they fail with [`super::Error::WouldBlock`].
    #[must_use]
    pub fn within_steps_of_writer(&self) -> Self {
        let steps_max = self.steps_max.saturating_mul(STEPS_OF_WRITER);
        Self { is_bounded: true, ..Self::new(self.published.clone(), self.mode, steps_max) }
    }

    /// The same view in another mode.
    #[must_use]
    pub fn with_mode(&self, mode: ReadMode) -> Self {
        Self::new(self.published.clone(), mode, self.steps_max)
    }

    /// The same view, for walks that may be of any length; they wait for a block only where it did.
    #[must_use]
    pub fn without_bound(&self) -> Self {
        Self::new(self.published.clone(), self.mode, u32::MAX)
    }

    /// How far its reads may go.
    #[must_use]
    pub fn mode(&self) -> ReadMode {
        self.mode
    }

    /// Whether it reads a memtable.
    pub(super) fn holds(&self, memtable: &Arc<Memtable>) -> bool {
        self.published.tree.holds(memtable)
    }

    fn view(&self) -> ViewOptions<'_> {
        let is_bounded = self.is_bounded || self.mode == ReadMode::Resident;
        let steps = is_bounded.then_some(&self.steps);
        ViewOptions { seq: self.published.seq, mode: self.mode, steps }
    }

    /// Sequence number of the newest transaction in the view.
    #[must_use]
    pub fn seq(&self) -> SeqNo {
        self.published.seq
    }
}

impl Clone for Snapshot {
    fn clone(&self) -> Self {
        self.with_mode(self.mode)
    }
}

impl Read for Snapshot {
    fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
        self.published.tree.get(key, self.published.seq, self.mode)
    }

    fn scan(&self, range: KeyRange, direction: Direction) -> Scan<'_> {
        if range_is_empty(&range) {
            return Box::new(std::iter::empty());
        }
        self.published.tree.scan(&range, direction, self.view())
    }

    fn visit(
        &self,
        range: KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        if range_is_empty(&range) {
            return Ok(());
        }
        self.published.tree.visit(&range, direction, self.view(), visit)
    }

    fn seq(&self) -> SeqNo {
        self.published.seq
    }

    fn root(&self) -> &[u8] {
        &self.published.root
    }

    fn prefetch(&self, keys: &[&[u8]]) {
        self.published.tree.rows.prefetch(keys.iter().map(|key| hash_of(key)));
    }
}

/// The newest state, unpublished changes included: what a transaction stands on.
#[derive(Debug)]
pub(super) struct Head<'a> {
    tree: Arc<Tree>,
    /// What the open batch has written is not in the tree yet.
    writer: Lent<'a>,
    mode: ReadMode,
    steps_max: u32,
    steps: Steps,
}

/// The writer, to one transaction or to a run of them.
#[derive(Debug)]
pub(super) enum Lent<'a> {
    /// To be looked at.
    Look(&'a Writer),
    /// To commit to.
    Commit(&'a mut Writer),
}

impl Deref for Lent<'_> {
    type Target = Writer;

    fn deref(&self) -> &Writer {
        match self {
            Self::Look(writer) => writer,
            Self::Commit(writer) => writer,
        }
    }
}

impl<'a> Head<'a> {
    pub(super) fn new(tree: Arc<Tree>, writer: Lent<'a>, mode: ReadMode, steps_max: u32) -> Self {
        Self { tree, writer, mode, steps_max, steps: Steps::new(steps_max) }
    }

    /// The writer.
    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The writer, where it was lent to commit to.
    pub(super) fn writer_mut(&mut self) -> Option<&mut Writer> {
        match &mut self.writer {
            Lent::Look(_) => None,
            Lent::Commit(writer) => Some(writer),
        }
    }

    /// Its walks may take all their steps again.
    pub(super) fn refill(&mut self) {
        self.steps = Steps::new(self.steps_max);
    }

    /// Puts all steps but so many aside; how many these are.
    pub(super) fn spare_steps(&self, keep: u32) -> u32 {
        self.steps.spare(keep)
    }

    /// Gives back what was put aside.
    pub(super) fn return_steps(&self, spared: u32) {
        self.steps.give(spared);
    }

    /// Whether its walks have taken all the steps that they may.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.are_spent()
    }

    fn view(&self) -> ViewOptions<'_> {
        let steps = (self.mode == ReadMode::Resident).then_some(&self.steps);
        ViewOptions { seq: SeqNo::MAX, mode: self.mode, steps }
    }
}

impl Read for Head<'_> {
    fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
        let hash = hash_of(key);
        match self.writer.pending().newest(key, hash) {
            Some(found) => Ok(Some(found)),
            None => self.tree.get_hashed(key, hash, SeqNo::MAX, self.mode),
        }
    }

    fn scan(&self, range: KeyRange, direction: Direction) -> Scan<'_> {
        if range_is_empty(&range) {
            return Box::new(std::iter::empty());
        }
        let below = self.tree.scan(&range, direction, self.view());
        self.writer.pending().over(below, &range, direction)
    }

    fn visit(
        &self,
        range: KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        if range_is_empty(&range) {
            return Ok(());
        }
        if self.writer.pending().is_empty() {
            return self.tree.visit(&range, direction, self.view(), visit);
        }
        visit_each(self.scan(range, direction), visit)
    }

    fn seq(&self) -> SeqNo {
        SeqNo::MAX
    }

    fn root(&self) -> &[u8] {
        self.writer.root()
    }

    fn prefetch(&self, keys: &[&[u8]]) {
        self.tree.rows.prefetch(keys.iter().map(|key| hash_of(key)));
    }
}

/// Whether no key can lie in the range (its end is before its start).
pub(super) fn range_is_empty((start, end): &KeyRange) -> bool {
    match (start, end) {
        (Bound::Included(s), Bound::Included(e)) => s > e,
        (Bound::Included(s) | Bound::Excluded(s), Bound::Included(e) | Bound::Excluded(e)) => {
            s >= e
        }
        _ => false,
    }
}
