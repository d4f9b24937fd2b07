//! Changes of a counted order in a transaction.

use std::ops::Bound;

use bytes::Bytes;
use smallvec::SmallVec;

use super::bulk;
use super::known::Known;
use super::separator::Separator;
use super::tree::{Step, moves};
use super::{
    At, CHILDREN_MAX, CHILDREN_MIN, Counts, Edge, Node, Order, OrderPlace, damaged, start_at,
};
use crate::engine::{Direction, Result, Txn};

/// Children of each piece of a node that is cut, at most.
pub(super) const CHILDREN_CUT: u64 = CHILDREN_MAX / 4 * 3;

/// From so many changes on all is read before anything is written; fewer are made one by one.
const MANY: usize = 64;

/// An item and its change.
pub(super) type Item = (Bytes, Change);

/// What happens to an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Insert(Bytes),
    Replace(Bytes),
    Delete,
}

/// Changes of items, gathered: they are written in their order, so that many cost little more than
/// the items themselves.
#[derive(Debug, Clone, Default)]
pub(in crate::data) struct OrderChanges {
    /// As they came: most calls change one item or move one.
    items: Gathered,
}

/// Items and their changes.
pub(super) type Gathered = SmallVec<[Item; 2]>;

impl OrderChanges {
    /// Adds an item, which is not there.
    pub(in crate::data) fn insert(&mut self, order_key: Bytes, value: Bytes) {
        self.items.push((order_key, Change::Insert(value)));
    }

    /// Deletes an item, which is there.
    pub(in crate::data) fn delete(&mut self, order_key: Bytes) {
        self.items.push((order_key, Change::Delete));
    }

    /// In the order of their keys, one for each.
    fn settled(self) -> Gathered {
        let mut items = self.items;
        if items.is_sorted_by(|(a, _), (b, _)| a < b) {
            return items;
        }
        // What came later for a key stays behind.
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut settled = Gathered::with_capacity(items.len());
        for (order_key, change) in items {
            let is_again = settled.last().is_some_and(|(other, _)| *other == order_key);
            let before = if is_again { settled.pop() } else { None };
            match (before.map(|(_, before)| before), change) {
                (Some(Change::Insert(_)), Change::Delete) => {}
                (Some(Change::Delete), Change::Insert(value)) => {
                    settled.push((order_key, Change::Replace(value)));
                }
                (_, change) => settled.push((order_key, change)),
            }
        }
        settled
    }

    /// Writes the items and their counts. `known` is what is known of the order, and what becomes of it.
    /// Where it fails that is as good for the order as it was before, or, seldom, says nothing.
    pub(in crate::data) fn apply(
        self,
        txn: &mut Txn<'_>,
        place: OrderPlace,
        counts: &mut Counts,
        known: &mut Known,
    ) -> Result<()> {
        counts.seq = 0;
        let mut items = self.settled();
        let order = Order { read: txn, place, counts, branches: None };
        let mended = known.take_mended(order, &mut items)?;
        if !mended.is_empty() {
            let before = known.without_items();
            let mut made = apply_mended(mended, txn, place, counts, known);
            if made.is_ok() && !known.takes(&items) {
                // A node was joined with one that some of these lie in.
                made = apply_mended(std::mem::take(&mut items), txn, place, counts, known);
            }
            if made.is_err() {
                *known = before;
                return made;
            }
        }
        // Hardly anything has to be read: an end.
        let shifted = apply_shifts(items, txn, place, counts, known);
        if shifted.is_err() {
            *known = Known::default();
        }
        shifted
    }
}

/// Makes changes, which are in order, of whatever sizes the nodes become.
fn apply_mended(
    items: Gathered,
    txn: &mut Txn<'_>,
    place: OrderPlace,
    counts: &mut Counts,
    known: &mut Known,
) -> Result<()> {
    if items.len() >= MANY {
        return apply_many(items.into_vec(), txn, place, counts, known);
    }
    let was_empty = counts.len == 0;
    let at_ends = note(&items, counts, known);
    let is_single = items.len() == 1;
    let mut writer = OrderWriter { txn, place, counts, known };
    let mut changes = items.into_iter().peekable();
    while let Some((order_key, _)) = changes.peek() {
        let (path, behind) = writer.path_to(order_key, is_single)?;
        let mut delta = (0, 0);
        while let Some((order_key, change)) = changes
            .next_if(|(order_key, _)| behind.as_ref().is_none_or(|behind| order_key[..] < **behind))
        {
            writer.write_item(&order_key, change, &mut delta);
        }
        writer.write_path(path, delta)?;
    }
    if !was_empty {
        writer.narrow(at_ends)?;
    }
    Ok(())
}

/// Makes changes, which are in order and which [`Known::takes`]: each node is written once.
fn apply_shifts(
    items: Gathered,
    txn: &mut Txn<'_>,
    place: OrderPlace,
    counts: &mut Counts,
    known: &mut Known,
) -> Result<()> {
    let Some(mut tree) = known.tree.take_if(|_| !items.is_empty()) else { return Ok(()) };
    let at_ends = note(&items, counts, known);
    txn.expect(2 * items.len());
    let (came, gone) = moves(&items);
    tree.shift(&items, &mut |level, separator, node| {
        txn.put(place.key(level, separator), node.encode(level));
    });
    known.tree = Some(tree);
    let left = (counts.len + came).checked_sub(gone);
    counts.len = left.ok_or_else(|| damaged("more items than counted"))?;
    let mut writer = OrderWriter { txn, place, counts, known };
    for (order_key, change) in items {
        writer.write_item(&order_key, change, &mut (0, 0));
    }
    writer.narrow(at_ends)
}

/// Tells `known` of changes that follow, and widens the bounds for them. Whether the first and the last
/// item are deleted.
fn note(items: &[Item], counts: &mut Counts, known: &mut Known) -> (bool, bool) {
    let (first, end, len) = (counts.first, counts.end, counts.len);
    let mut at_ends = (false, false);
    for (order_key, change) in items {
        known.note(order_key, change);
        match change {
            Change::Insert(_) => {
                counts.widen(order_key);
                counts.len += 1;
            }
            Change::Delete => {
                at_ends.0 |= Edge::floor_of(order_key) == first;
                at_ends.1 |= Edge::end_of(order_key) == end;
            }
            Change::Replace(_) => {}
        }
    }
    counts.len = len;
    at_ends
}

/// Makes many changes, which are in order.
fn apply_many(
    changes: Vec<Item>,
    txn: &mut Txn<'_>,
    place: OrderPlace,
    counts: &mut Counts,
    known: &mut Known,
) -> Result<()> {
    let order = Order { read: txn, place, counts, branches: None };
    let outcome = bulk::outcome(order, known.tree.take(), &changes)?;
    *counts = outcome.counts;
    // Of an order that nobody keeps the tree is not of use.
    known.tree = outcome.tree.filter(|_| known.is_wanted());
    txn.expect(changes.len());
    for (order_key, change) in changes {
        known.note(&order_key, &change);
        let engine_key = place.key(0, &order_key);
        match change {
            Change::Insert(value) | Change::Replace(value) => txn.put(engine_key, value),
            Change::Delete => txn.delete(engine_key),
        }
    }
    for ((level, separator), node) in outcome.written {
        let engine_key = place.key(level, &separator);
        match node {
            Some(node) => txn.put(engine_key, node.encode(level)),
            None => txn.delete(engine_key),
        }
    }
    Ok(())
}

impl Counts {
    /// Counts items that are there already: all of the order, so many from `first` to `last`, one at
    /// least.
    pub(in crate::data) fn adopt(
        txn: &mut Txn<'_>,
        place: OrderPlace,
        len: u64,
        first: &[u8],
        last: &[u8],
    ) -> Result<Self> {
        let (first, end) = (Edge::floor_of(first), Edge::end_of(last));
        let mut counts = Self { len, levels: 0, top: len, first, end, seq: 0 };
        let root = Node { items: len, children: len };
        OrderWriter { txn, place, counts: &mut counts, known: &mut Known::default() }
            .write_root(root)?;
        Ok(counts)
    }
}

struct OrderWriter<'w, 'a> {
    txn: &'w mut Txn<'a>,
    place: OrderPlace,
    counts: &'w mut Counts,
    known: &'w mut Known,
}

impl OrderWriter<'_, '_> {
    fn order(&self) -> Order<'_> {
        Order { read: self.txn, place: self.place, counts: self.counts, branches: None }
    }

    /// The nodes that an order key lies in, level 1 first, the root last; and the separator of level 1
    /// behind them, unless the key is the only one.
    fn path_to(
        &mut self,
        order_key: &[u8],
        is_single: bool,
    ) -> Result<(Vec<Step>, Option<Separator>)> {
        let mut path = Vec::with_capacity(usize::from(self.counts.levels) + 1);
        let root = Node { items: self.counts.len, children: self.counts.top };
        let root = Step { separator: Separator::default(), node: root };
        let order =
            Order { read: self.txn, place: self.place, counts: self.counts, branches: None };
        self.known.forget_lost();
        if let Some(tree) = &mut self.known.tree {
            let behind = tree.path(order, order_key, &mut path)?;
            path.push(root);
            return Ok((path, behind));
        }
        for level in 1..=self.counts.levels {
            let (separator, node) = order.node_of(level, order_key)?;
            path.push(Step { separator: (&separator[..]).into(), node });
        }
        path.push(root);
        let behind = if is_single { None } else { self.behind(&path, order_key)? };
        Ok((path, behind))
    }

    /// The separator of level 1 behind the one that `order_key` lies in.
    fn behind(&self, path: &[Step], order_key: &[u8]) -> Result<Option<Separator>> {
        if path.len() == 1 {
            return Ok(None);
        }
        let from: At<'_> = Bound::Excluded(order_key);
        let mut records = self.order().records(1, from, Bound::Unbounded, Direction::Forward);
        Ok(records.next().transpose()?.map(|(separator, _)| (&separator[..]).into()))
    }

    /// Writes an item; `delta` is how many were inserted and deleted.
    fn write_item(&mut self, order_key: &[u8], change: Change, delta: &mut (u64, u64)) {
        let engine_key = self.place.key(0, order_key);
        match change {
            Change::Insert(value) => {
                delta.0 += 1;
                self.txn.put(engine_key, value);
            }
            Change::Replace(value) => self.txn.put(engine_key, value),
            Change::Delete => {
                delta.1 += 1;
                self.txn.delete(engine_key);
            }
        }
    }

    /// Writes the nodes of a path, in the lowest of which so many items came and went.
    fn write_path(&mut self, mut path: Vec<Step>, (came, gone): (u64, u64)) -> Result<()> {
        if came == 0 && gone == 0 {
            return Ok(());
        }
        let moved = |count: u64| {
            (count + came).checked_sub(gone).ok_or_else(|| damaged("more items than counted"))
        };
        for step in &mut path {
            step.node.items = moved(step.node.items)?;
        }
        if let Some(lowest) = path.first_mut() {
            lowest.node.children = moved(lowest.node.children)?;
        }
        let mut parents = path.into_iter();
        let mut step = parents.next();
        for (mut parent, level) in parents.zip(1..) {
            if let Some(step) = step {
                self.balance(level, step, &mut parent)?;
            }
            step = Some(parent);
        }
        if let Some(root) = step {
            self.write_root(root.node)?;
        }
        Ok(())
    }

    /// Writes a node that has changed; cuts it where it has too many children, joins it with a
    /// neighbour where it has too few.
    fn balance(&mut self, level: u8, mut step: Step, parent: &mut Step) -> Result<()> {
        if step.node.children < CHILDREN_MIN && parent.node.children > 1 {
            step = self.join(level, step, &parent.separator)?;
            parent.node.children -= 1;
        }
        if step.node.children > CHILDREN_MAX {
            parent.node.children += self.cut(level, &mut step)?;
        }
        self.put(level, &step);
        Ok(())
    }

    /// Joins a node with the one before it, or behind it where it is the first child of its parent.
    fn join(&mut self, level: u8, step: Step, parent: &Separator) -> Result<Step> {
        let (left, right) = if let Some((is_behind, other)) = self.neighbour(level, &step, parent) {
            if is_behind { (step, other) } else { (other, step) }
        } else if step.separator == *parent {
            let from = match &step.separator {
                separator if separator.is_empty() => Bound::Unbounded,
                separator => Bound::Excluded(&separator[..]),
            };
            let mut behind =
                self.order().records(level, from, Bound::Unbounded, Direction::Forward);
            let next = behind.next().transpose()?;
            let (separator, record) = next.ok_or_else(|| damaged("a count record is missing"))?;
            drop(behind);
            let separator = (&separator[..]).into();
            (step, Step { separator, node: Node::decode(level, &record)? })
        } else {
            let to = Bound::Excluded(&step.separator[..]);
            let mut before = self.order().records(level, Bound::Unbounded, to, Direction::Reverse);
            let (separator, node) = match before.next().transpose()? {
                Some((separator, record)) => (separator, Node::decode(level, &record)?),
                None => (Bytes::new(), self.order().first_node(level)?),
            };
            drop(before);
            (Step { separator: (&separator[..]).into(), node }, step)
        };
        self.delete(level, &right.separator);
        let items = left.node.items + right.node.items;
        let children = left.node.children + right.node.children;
        Ok(Step { node: Node { items, children }, ..left })
    }

    /// The node beside this one under its parent, and whether it is the one behind, where these are known.
    fn neighbour(&self, level: u8, step: &Step, parent: &Separator) -> Option<(bool, Step)> {
        let siblings = self.known.tree.as_ref()?.children(level + 1, parent)?;
        let at = siblings.iter().position(|child| child.separator == step.separator)?;
        let other = siblings.get(if at == 0 { 1 } else { at - 1 })?;
        Some((at == 0, Step { separator: other.separator.clone(), node: other.node }))
    }

    /// Cuts a node into pieces, writes all but the first, which stays in `step`, and answers how
    /// many it has written.
    fn cut(&mut self, level: u8, step: &mut Step) -> Result<u64> {
        let total = step.node.children;
        let pieces = total.div_ceil(CHILDREN_CUT);
        // The first pieces are one larger where they cannot all be the same.
        let len_of = |piece: u64| total / pieces + u64::from(piece < total % pieces);
        let mut done: Vec<Step> = Vec::new();
        let mut current = Step { separator: step.separator.clone(), node: Node::NOTHING };
        let mut last = Bytes::new();
        let mut seen = 0;
        for child in self.children(level, &step.separator) {
            let (order_key, items) = child?;
            if current.node.children == len_of(done.len() as u64) {
                let separator =
                    if level == 1 { between(&last, &order_key) } else { (&order_key[..]).into() };
                done.push(std::mem::replace(&mut current, Step { separator, node: Node::NOTHING }));
            }
            current.node.children += 1;
            current.node.items += items;
            last = order_key;
            seen += 1;
            if seen == total {
                break;
            }
        }
        done.push(current);
        if seen != total
            || done.iter().map(|piece| piece.node.items).sum::<u64>() != step.node.items
        {
            return Err(damaged("fewer records than counted"));
        }
        let mut pieces = done.into_iter();
        if let Some(first) = pieces.next() {
            *step = first;
        }
        let mut written = 0;
        for piece in pieces {
            self.put(level, &piece);
            written += 1;
        }
        Ok(written)
    }

    /// Order keys of the children of a node, each with its number of items; goes on behind them.
    fn children<'c>(
        &'c self,
        level: u8,
        separator: &Separator,
    ) -> Box<dyn Iterator<Item = Result<(Bytes, u64)>> + 'c> {
        let order = self.order();
        if level == 1 {
            let from = start_at(separator);
            let items = order.items(from, Bound::Unbounded, Direction::Forward);
            return Box::new(items.map(|item| Ok((item?.0, 1))));
        }
        let known = self.known.tree.as_ref().and_then(|tree| tree.children(level, separator));
        if let Some(known) = known {
            let all = known.iter().map(|child| (&child.separator[..], child.node.items));
            return Box::new(all.map(|(name, items)| Ok((Bytes::copy_from_slice(name), items))));
        }
        let nodes = order.nodes(level - 1, separator, Bound::Unbounded);
        Box::new(nodes.map(|node| node.map(|(separator, node)| (separator, node.items))))
    }

    fn delete(&mut self, level: u8, separator: &Separator) {
        if let Some(tree) = &mut self.known.tree {
            tree.delete(level, separator);
        }
        self.txn.delete(self.place.key(level, separator));
    }

    fn put(&mut self, level: u8, step: &Step) {
        if let Some(tree) = &mut self.known.tree {
            tree.put(level, &step.separator, step.node);
        }
        self.txn.put(self.place.key(level, &step.separator), step.node.encode(level));
    }

    /// Takes away levels that have one record, adds some where the root has too many children.
    fn write_root(&mut self, mut root: Node) -> Result<()> {
        while self.counts.levels > 0 && root.children == 1 {
            let level = self.counts.levels;
            root.children = self.order().first_node(level)?.children;
            self.delete(level, &Separator::default());
            self.counts.levels -= 1;
        }
        while root.children > CHILDREN_MAX {
            let level = self.counts.levels + 1;
            let mut step = Step { separator: Separator::default(), node: root };
            root.children = self.cut(level, &mut step)? + 1;
            self.put(level, &step);
            self.counts.levels = level;
        }
        self.counts.len = root.items;
        self.counts.top = root.children;
        Ok(())
    }

    /// Moves the bounds where the item at one of them was deleted.
    fn narrow(&mut self, (at_first, at_end): (bool, bool)) -> Result<()> {
        if self.counts.len == 0 {
            *self.counts = Counts::default();
            return Ok(());
        }
        let end_item = |direction| {
            if let Some(known) = self.known.end_item(direction) {
                return Ok(Some(known.clone()));
            }
            let mut items = self.order().items(Bound::Unbounded, Bound::Unbounded, direction);
            items.next().transpose().map(|item| item.map(|(order_key, _)| order_key))
        };
        let first = if at_first { end_item(Direction::Forward)? } else { None };
        let last = if at_end { end_item(Direction::Reverse)? } else { None };
        if let Some(first) = first {
            self.counts.first = Edge::floor_of(&first);
        }
        if let Some(last) = last {
            self.counts.end = Edge::end_of(&last);
        }
        Ok(())
    }
}

/// The shortest order key behind `before` and not behind `order_key`.
pub(super) fn between(before: &[u8], order_key: &[u8]) -> Separator {
    let common = before.iter().zip(order_key).take_while(|(a, b)| a == b).count();
    order_key.get(..=common).unwrap_or(order_key).into()
}
