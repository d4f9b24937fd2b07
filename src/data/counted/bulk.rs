//! Many changes of a counted order at once.
//!
//! One by one, changes would meet again and again what those before them have deleted. So here all
//! is read first, and nothing is written before the end: [`Bulk`] takes the count records that the
//! changes lie in, decoded, as a [`CountTree`] has them; changes these from the lowest level up;
//! and notes of each what becomes of it. A node that loses all it counts costs no more than a look
//! at its records.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::edit::{CHILDREN_CUT, Change, Item, between};
use super::separator::Separator;
use super::tree::{Branch, Child, CountTree, count_before, moves};
use super::{Bound, CHILDREN_MAX, CHILDREN_MIN, Counts, Edge, Node, Order, damaged, start_at};
use crate::engine::{Direction, Result};

/// What becomes of count records, by level and separator; `None` of those that go.
pub(super) type Written = BTreeMap<(u8, Separator), Option<Node>>;

/// An order after its changes.
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) tree: Option<CountTree>,
    pub(super) written: Written,
}

/// What changes, which are in the order of their keys, make of `order`, of which `tree` is known.
pub(super) fn outcome(
    order: Order<'_>,
    tree: Option<CountTree>,
    changes: &[Item],
) -> Result<Outcome> {
    let tree = match tree {
        Some(tree) => Some(tree),
        None => CountTree::read(order)?,
    };
    let tree_bytes = tree.as_ref().map_or(0, CountTree::bytes);
    let mut bulk = Bulk { order, changes, written: Written::new(), tree_bytes };
    let len = moved(order.counts.len, changes)?;
    let (levels, root) = bulk.root(tree.map(CountTree::into_root), len)?;
    let mut counts = Counts { len, levels, ..Counts::default() };
    counts.top = if levels == 0 { len } else { root.len() as u64 };
    if levels > 0 && root.iter().map(|child| child.node.items).sum::<u64>() != len {
        return Err(damaged("fewer items than counted"));
    }
    if let (Some(first), Some(last)) =
        (bulk.end_item(Direction::Forward)?, bulk.end_item(Direction::Reverse)?)
    {
        (counts.first, counts.end) = (Edge::floor_of(&first), Edge::end_of(&last));
    }
    let tree = CountTree::of_root(Branch(root), levels, bulk.tree_bytes);
    Ok(Outcome { counts, tree, written: bulk.written })
}

/// The order before the changes, the changes, and what was found out so far.
struct Bulk<'b> {
    order: Order<'b>,
    changes: &'b [Item],
    written: Written,
    /// What the count records that are known take, in bytes, about.
    tree_bytes: usize,
}

impl<'b> Bulk<'b> {
    /// Changes the children of the root, which shall count so many items: the highest level, and
    /// what it has.
    fn root(&mut self, root: Option<Branch>, len: u64) -> Result<(u8, Vec<Child>)> {
        let mut level = self.order.counts.levels;
        let mut children = root.map_or_else(Vec::new, |branch| branch.0);
        if level > 0 {
            self.change(level, &mut children, None, self.changes)?;
            if let Some(first) = children.first_mut() {
                self.lower(level, first, &Separator::default())?;
            }
        } else if len > CHILDREN_MAX {
            self.settle_items(Separator::default(), len, None, &mut children)?;
            level = 1;
        }
        while children.len() as u64 > CHILDREN_MAX {
            level += 1;
            let below = std::mem::take(&mut children);
            self.settle(level, Separator::default(), below, &mut children)?;
        }
        while level > 0 && children.len() < 2 {
            if let Some(mut only) = children.pop() {
                children = self.below(level, &mut only)?;
                self.forget(level, &only.separator);
                self.spend(&only);
            }
            level = if children.is_empty() { 0 } else { level - 1 };
        }
        Ok((level, children))
    }

    /// Carries out changes below the children of a node, which are of `level` and reach up to
    /// `behind`. None may be left; where there are several, they have the right size.
    fn change(
        &mut self,
        level: u8,
        children: &mut Vec<Child>,
        behind: Option<&Separator>,
        changes: &'b [Item],
    ) -> Result<()> {
        let mut rest = changes;
        let mut before = std::mem::take(children).into_iter().peekable();
        while let Some(mut child) = before.next() {
            let next = before.peek().map(|next| next.separator.clone()).or(behind.cloned());
            let count = next.as_ref().map_or(rest.len(), |next| count_before(rest, next));
            let (within, others) = rest.split_at(count);
            rest = others;
            if within.is_empty() {
                children.push(child);
                continue;
            }
            self.spend(&child);
            if level == 1 {
                let left = moved(child.node.items, within)?;
                self.settle_items(child.separator, left, next.as_ref(), children)?;
            } else {
                let mut below = self.below(level, &mut child)?;
                self.change(level - 1, &mut below, next.as_ref(), within)?;
                self.settle(level, child.separator, below, children)?;
            }
        }
        self.balance(level, children, behind)
    }

    /// Joins children of a node, which are of `level` and reach up to `behind`, until none is too
    /// small, or only one is left.
    fn balance(
        &mut self,
        level: u8,
        children: &mut Vec<Child>,
        behind: Option<&Separator>,
    ) -> Result<()> {
        let is_small = |child: &Child| child.node.children < CHILDREN_MIN;
        let mut before = std::mem::take(children).into_iter().peekable();
        while let Some(child) = before.next() {
            match children.pop_if(|left| is_small(left) || is_small(&child)) {
                Some(left) => {
                    let next = before.peek().map(|next| next.separator.clone());
                    self.join(level, (left, child), next.as_ref().or(behind), children)?;
                }
                None => children.push(child),
            }
        }
        Ok(())
    }

    /// Appends what becomes of two neighbours, the second of which reaches up to `behind`, to
    /// `joined`.
    fn join(
        &mut self,
        level: u8,
        (mut left, mut right): (Child, Child),
        behind: Option<&Separator>,
        joined: &mut Vec<Child>,
    ) -> Result<()> {
        self.forget(level, &right.separator);
        self.spend(&left);
        self.spend(&right);
        if level == 1 {
            let items = left.node.items + right.node.items;
            return self.settle_items(left.separator, items, behind, joined);
        }
        let mut below = self.below(level, &mut left)?;
        below.extend(self.below(level, &mut right)?);
        // What was the only child of its parent may be too small.
        self.balance(level - 1, &mut below, behind)?;
        self.settle(level, left.separator, below, joined)
    }

    /// Appends the node of level 1 that counts so many items from a separator up to `behind`, cut
    /// where they are too many for one, to `settled`.
    fn settle_items(
        &mut self,
        separator: Separator,
        total: u64,
        behind: Option<&Separator>,
        settled: &mut Vec<Child>,
    ) -> Result<()> {
        let put = |this: &mut Self, settled: &mut Vec<Child>, separator: Separator, items| {
            let node = Node { items, children: items };
            this.write(1, &separator, node);
            settled.push(this.made(Child { separator, node, below: None }));
        };
        if total == 0 {
            self.forget(1, &separator);
            return Ok(());
        }
        if total <= CHILDREN_MAX {
            put(self, settled, separator, total);
            return Ok(());
        }
        let mut sizes = piece_sizes(total);
        let mut size = sizes.next().unwrap_or(total);
        let (mut current, mut seen, mut last) = (separator.clone(), 0, Bytes::new());
        for order_key in self.items(&separator, behind, Direction::Forward) {
            let order_key = order_key?;
            if seen == size {
                let Some(next) = sizes.next() else { break };
                let separator = between(&last, &order_key);
                put(self, settled, std::mem::replace(&mut current, separator), seen);
                (size, seen) = (next, 0);
            }
            seen += 1;
            last = order_key;
        }
        if seen != size || sizes.next().is_some() {
            return Err(damaged("fewer items than counted"));
        }
        put(self, settled, current, seen);
        Ok(())
    }

    /// Appends the node that has these children, of the level below, cut where they are too many
    /// for one, to `settled`; nothing where there are none.
    fn settle(
        &mut self,
        level: u8,
        separator: Separator,
        mut below: Vec<Child>,
        settled: &mut Vec<Child>,
    ) -> Result<()> {
        let Some(first) = below.first_mut() else {
            self.forget(level, &separator);
            return Ok(());
        };
        self.lower(level - 1, first, &separator)?;
        let mut sizes = piece_sizes(below.len() as u64);
        let mut rest = below.into_iter();
        for size in &mut sizes {
            let piece: Vec<Child> = rest.by_ref().zip(0..size).map(|(child, _)| child).collect();
            let Some(first) = piece.first() else { break };
            let separator = first.separator.clone();
            let items = piece.iter().map(|child| child.node.items).sum();
            let node = Node { items, children: size };
            self.write(level, &separator, node);
            let below = Some(Arc::new(Branch(piece)));
            settled.push(self.made(Child { separator, node, below }));
        }
        Ok(())
    }

    /// Gives a node the separator of its parent, whose first child it has become.
    fn lower(&mut self, level: u8, child: &mut Child, separator: &Separator) -> Result<()> {
        if child.separator == *separator {
            return Ok(());
        }
        if level > 1 {
            let mut below = self.below(level, child)?;
            if let Some(first) = below.first_mut() {
                self.lower(level - 1, first, separator)?;
            }
            child.below = Some(Arc::new(Branch(below)));
        }
        self.forget(level, &child.separator);
        self.write(level, separator, child.node);
        self.spend(child);
        child.separator = separator.clone();
        self.tree_bytes += child.bytes();
        Ok(())
    }

    /// Takes the children of a node, count records, out of it; what is not known of them is read,
    /// as nothing was changed there yet. None of a node of level 1.
    fn below(&mut self, level: u8, child: &mut Child) -> Result<Vec<Child>> {
        if level == 1 {
            return Ok(Vec::new());
        }
        let (separator, count) = (child.separator.clone(), child.node.children);
        let below = match child.below.take() {
            Some(below) => Arc::unwrap_or_clone(below),
            None => {
                let read = Branch::read(self.order, level - 1, separator, count)?;
                self.tree_bytes += read.bytes();
                read
            }
        };
        if below.0.len() as u64 != count {
            return Err(damaged("more or fewer count records than counted"));
        }
        Ok(below.0)
    }

    /// The items after the changes from a separator up to `behind`.
    fn items(
        &self,
        from: &[u8],
        behind: Option<&Separator>,
        direction: Direction,
    ) -> impl Iterator<Item = Result<Bytes>> + use<'b> {
        let to = behind.map_or(Bound::Unbounded, |behind| Bound::Excluded(&behind[..]));
        let is_there = self.order.counts.len > 0;
        let before = is_there.then(|| self.order.items(start_at(from), to, direction));
        let before = before.into_iter().flatten().map(|item| Ok(item?.0));
        let start = count_before(self.changes, from);
        let end = behind.map_or(self.changes.len(), |behind| count_before(self.changes, behind));
        let changes = self.changes.get(start..end).unwrap_or_default();
        Changed { before: before.peekable(), changes, direction }
    }

    /// The outermost item after the changes.
    fn end_item(&self, direction: Direction) -> Result<Option<Bytes>> {
        self.items(&[], None, direction).next().transpose()
    }

    /// A count record that is known from now on.
    fn made(&mut self, child: Child) -> Child {
        self.tree_bytes += child.bytes();
        child
    }

    /// A count record goes, or becomes another.
    fn spend(&mut self, child: &Child) {
        self.tree_bytes = self.tree_bytes.saturating_sub(child.bytes());
    }

    fn write(&mut self, level: u8, separator: &Separator, node: Node) {
        self.written.insert((level, separator.clone()), Some(node));
    }

    fn forget(&mut self, level: u8, separator: &Separator) {
        self.written.insert((level, separator.clone()), None);
    }
}

/// How many there are of so many after changes.
fn moved(count: u64, changes: &[Item]) -> Result<u64> {
    let (came, gone) = moves(changes);
    (count + came).checked_sub(gone).ok_or_else(|| damaged("more items than counted"))
}

/// How many children the pieces have that a node of so many is cut into.
fn piece_sizes(total: u64) -> impl Iterator<Item = u64> {
    let pieces = if total <= CHILDREN_MAX { 1 } else { total.div_ceil(CHILDREN_CUT) };
    // The first pieces are one larger where they cannot all be the same.
    (0..pieces).map(move |piece| total / pieces + u64::from(piece < total % pieces))
}

/// Lays changes over the items before them.
struct Changed<'b, I: Iterator<Item = Result<Bytes>>> {
    before: std::iter::Peekable<I>,
    changes: &'b [Item],
    direction: Direction,
}

impl<I: Iterator<Item = Result<Bytes>>> Iterator for Changed<'_, I> {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let change = match self.direction {
                Direction::Forward => self.changes.split_first(),
                Direction::Reverse => self.changes.split_last(),
            };
            let Some(((order_key, change), rest)) = change else { return self.before.next() };
            let order = match self.before.peek() {
                None => Ordering::Greater,
                Some(Err(_)) => return self.before.next(),
                Some(Ok(before)) => match self.direction {
                    Direction::Forward => before.cmp(order_key),
                    Direction::Reverse => order_key.cmp(before),
                },
            };
            match order {
                Ordering::Less => return self.before.next(),
                Ordering::Equal => drop(self.before.next()),
                Ordering::Greater => {}
            }
            self.changes = rest;
            if !matches!(change, Change::Delete) {
                return Some(Ok(order_key.clone()));
            }
        }
    }
}
