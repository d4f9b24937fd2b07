//! What is known of an order besides its records: it says the same as they do, or nothing.

use std::cmp::Ordering;
use std::collections::VecDeque;

use bytes::Bytes;

use super::edit::{Change, Gathered, Item};
use super::tree::CountTree;
use super::{Bound, Order};
use crate::engine::{Direction, Result};

/// Items that are read ahead at an end, and kept of it at most.
const AHEAD_ITEMS: usize = 64;
const AHEAD_ITEMS_MAX: usize = 256;
/// What an item takes here beside its order key.
const ITEM_BYTES: usize = size_of::<(Bytes, Bytes)>() + 32;

/// What is known of an order. Whoever changes the order tells it.
#[derive(Debug, Default)]
pub(in crate::data) struct Known {
    /// Whether it is worth while to know more: it will be kept.
    is_wanted: bool,
    pub(super) tree: Option<CountTree>,
    first: Ahead,
    last: Ahead,
}

/// The outermost items at one end, from the end inwards: all up to the last one of them.
#[derive(Debug, Default)]
struct Ahead {
    items: VecDeque<(Bytes, Bytes)>,
    bytes: usize,
}

impl Known {
    /// Begins to know something of an order, to be kept.
    pub(in crate::data) fn wanted(order: Order<'_>) -> Result<Self> {
        Ok(Self { is_wanted: true, tree: CountTree::read(order)?, ..Self::default() })
    }

    /// Whether it is worth keeping.
    pub(in crate::data) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// What it takes in memory, in bytes, about.
    pub(in crate::data) fn bytes(&self) -> usize {
        self.tree.as_ref().map_or(0, CountTree::bytes) + self.first.bytes + self.last.bytes
    }

    /// Forgets some of it until it takes no more than so many bytes; `false` where that cannot be done.
    pub(super) fn prune(&mut self, bytes_max: usize) -> bool {
        let items = self.first.bytes + self.last.bytes;
        let left = bytes_max.checked_sub(items);
        left.is_some_and(|left| self.tree.as_mut().is_none_or(|tree| tree.prune(left)))
    }

    /// Whether it fits the root of the order.
    pub(in crate::data) fn fits(&self, order: Order<'_>) -> bool {
        self.tree.as_ref().is_none_or(|tree| tree.fits(order))
    }

    /// Lets go of a tree that does not say all any more: then the records are asked.
    pub(super) fn forget_lost(&mut self) {
        self.tree.take_if(|tree| tree.is_lost());
    }

    /// Takes those out of `changes`, which are in order, that more becomes of than other counts in nodes
    /// that are known: all where nothing is known. What has to be read of the nodes that they lie in
    /// is known then, also where it fails.
    pub(super) fn take_mended(
        &mut self,
        order: Order<'_>,
        changes: &mut Gathered,
    ) -> Result<Gathered> {
        self.forget_lost();
        let Some(tree) = &mut self.tree else { return Ok(std::mem::take(changes)) };
        let mended = match tree.mended(changes) {
            Some(mended) => Some(mended),
            None => {
                tree.load(order, changes)?;
                tree.mended(changes)
            }
        };
        let Some(mended) = mended else { return Ok(std::mem::take(changes)) };
        if mended.is_empty() {
            return Ok(Gathered::new());
        }
        let (mut taken, mut kept) = (Gathered::new(), Gathered::new());
        let mut ranges = mended.into_iter().peekable();
        for (at, change) in std::mem::take(changes).into_iter().enumerate() {
            while ranges.next_if(|range| range.end <= at).is_some() {}
            let is_mended = ranges.peek().is_some_and(|range| range.contains(&at));
            if is_mended { taken.push(change) } else { kept.push(change) }
        }
        *changes = kept;
        Ok(taken)
    }

    /// Whether nothing becomes of these changes but other counts in nodes that are known.
    pub(super) fn takes(&self, changes: &[Item]) -> bool {
        let tree = self.tree.as_ref().filter(|tree| !tree.is_lost());
        let mended = tree.and_then(|tree| tree.mended(changes));
        changes.is_empty() || mended.is_some_and(|mended| mended.is_empty())
    }

    /// The same, but for the outermost items.
    pub(super) fn without_items(&self) -> Self {
        Self { is_wanted: self.is_wanted, tree: self.tree.clone(), ..Self::default() }
    }

    /// Lets go of a tree where there are no levels any more, makes one where there are some.
    pub(in crate::data) fn follow_levels(&mut self, order: Order<'_>) -> Result<()> {
        self.forget_lost();
        if order.counts.levels == 0 {
            self.tree = None;
        } else if self.tree.is_none() && self.is_wanted {
            self.tree = CountTree::read(order)?;
        }
        Ok(())
    }

    /// The first items of an order (forward), or the last, and so many of them; fewer where there are
    /// not more. `read` is told the order keys that were read ahead, if some were: those that are asked
    /// for next.
    pub(in crate::data) fn outermost(
        &mut self,
        order: Order<'_>,
        end: Direction,
        count: usize,
        read: impl FnOnce(&mut dyn Iterator<Item = &Bytes>),
    ) -> Result<Vec<(Bytes, Bytes)>> {
        // A walk costs something even where it goes nowhere.
        let walk = || order.items(Bound::Unbounded, Bound::Unbounded, end);
        if !self.is_wanted || count > AHEAD_ITEMS {
            return walk().take(count).collect();
        }
        let ahead = self.ahead(end);
        // One more than asked for: what is the outermost then is known, too.
        if ahead.items.len() <= count {
            ahead.items.clear();
            ahead.bytes = 0;
            for item in walk().take(AHEAD_ITEMS + 1) {
                let (order_key, value) = item?;
                ahead.bytes += ITEM_BYTES + order_key.len();
                // Its own memory: what was walked shares that of a whole record.
                ahead.items.push_back((Bytes::copy_from_slice(&order_key), value));
            }
            read(&mut ahead.items.iter().map(|(order_key, _)| order_key));
        }
        Ok(ahead.items.iter().take(count).cloned().collect())
    }

    /// The outermost item at an end, if it is known.
    pub(super) fn end_item(&self, end: Direction) -> Option<&Bytes> {
        let ahead = if end == Direction::Forward { &self.first } else { &self.last };
        ahead.items.front().map(|(order_key, _)| order_key)
    }

    fn ahead(&mut self, end: Direction) -> &mut Ahead {
        if end == Direction::Forward { &mut self.first } else { &mut self.last }
    }

    /// An item is changed.
    pub(super) fn note(&mut self, order_key: &Bytes, change: &Change) {
        for end in [Direction::Forward, Direction::Reverse] {
            let ahead = self.ahead(end);
            if !ahead.items.is_empty() {
                ahead.note(end, order_key, change);
            }
        }
    }
}

impl Ahead {
    fn note(&mut self, end: Direction, order_key: &Bytes, change: &Change) {
        let order = |a: &Bytes, b: &Bytes| match end {
            Direction::Forward => a.cmp(b),
            Direction::Reverse => b.cmp(a),
        };
        let is_known = |(inmost, _): &(Bytes, Bytes)| order(order_key, inmost) != Ordering::Greater;
        if !self.items.back().is_some_and(is_known) {
            return;
        }
        let at = self.items.partition_point(|(key, _)| order(key, order_key) == Ordering::Less);
        let found = self.items.get_mut(at).filter(|(key, _)| key == order_key);
        let bytes = ITEM_BYTES + order_key.len();
        match (change, found) {
            (Change::Insert(value) | Change::Replace(value), Some((_, known))) => {
                *known = value.clone();
            }
            (Change::Insert(value) | Change::Replace(value), None) => {
                self.items.insert(at, (order_key.clone(), value.clone()));
                self.bytes += bytes;
            }
            (Change::Delete, Some(_)) => {
                self.items.remove(at);
                self.bytes -= bytes;
            }
            (Change::Delete, None) => {}
        }
        if self.items.len() > AHEAD_ITEMS_MAX
            && let Some((inmost, _)) = self.items.pop_back()
        {
            self.bytes -= ITEM_BYTES + inmost.len();
        }
    }
}

#[cfg(test)]
impl Known {
    /// Of a tree of so many nodes.
    pub(super) fn sample(nodes: u64) -> Self {
        Self { is_wanted: true, tree: Some(CountTree::sample(nodes)), ..Self::default() }
    }

    /// Panics where it says anything else than the records do.
    pub(super) fn compare(&self, order: Order<'_>) {
        if let Some(tree) = &self.tree {
            tree.compare(order);
        }
        for (end, ahead) in [(Direction::Forward, &self.first), (Direction::Reverse, &self.last)] {
            let items = order.items(Bound::Unbounded, Bound::Unbounded, end);
            let items: Vec<_> = items.take(ahead.items.len()).collect::<Result<_>>().unwrap();
            assert!(ahead.items.iter().eq(&items));
            let bytes: usize = items.iter().map(|(key, _)| ITEM_BYTES + key.len()).sum();
            assert_eq!(ahead.bytes, bytes);
        }
    }
}
