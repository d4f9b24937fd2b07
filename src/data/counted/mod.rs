//! An ordered range of records, counted: how many items stand before a place, and which item stands
//! at a rank, without a walk.
//!
//! Items are records of one generation; the *order key* of an item is what stands behind a fixed
//! prefix in its engine key. What order keys mean is the owner's business. Above the items there are
//! levels of count records, each with an order key of its own, a *separator*:
//!
//! ```text
//! item                     generation | prefix of items | order key
//! count record, level l    generation | tag + l - 1     | separator
//!     value: number of items (varint); above level 1 also number of records of the level below
//! ```
//!
//! - A count record tells of what lies from its separator up to the next one of its level. The first
//!   record of each level has the empty separator: nothing stands before it, whatever comes.
//! - Each separator is also one of the level below: the records of the levels are the nodes of a
//!   tree, of which the metadata record keeps the root ([`Counts`]). Without levels the root counts
//!   the items themselves.
//! - A node has [`CHILDREN_MIN`] to [`CHILDREN_MAX`] children; the root may have fewer. One that has
//!   more is cut; one that has fewer is joined with its neighbour, which is cut again if need be.
//! - A separator is the shortest that tells two neighbours apart.
//!
//! So an insert or a deletion changes one record of a few bytes per level, and a rank costs a short
//! scan per level.
//!
//! [`Counts`] also bounds the items on both sides. All scans of items and of levels begin within the
//! bounds: what was deleted outside of them costs nothing, however much it is. So a queue stays as
//! fast as it was at first, at whatever end items come and go.
//!
//! Many changes at once are not made one by one: `bulk` reads what they touch, and writes each
//! count record once.
//!
//! `known` is what the writer knows of an order besides, `tree` its count records, decoded; [`KnownOrders`]
//! keeps that from transaction to transaction, and `branches`, what readers have met.

use std::ops::Bound;

use bytes::Bytes;
use smallvec::SmallVec;

use self::branches::{Branch, Child};
use self::edge::{EDGE_BYTES_MAX, Edge};
use super::collection::damaged;
use super::key;
use crate::engine::coding::{Reader, put_slice, put_varint, varint_len};
use crate::engine::{Direction, KeyRange, Read, Result, Scan, SeqNo};

mod branches;
mod bulk;
mod check;
mod edge;
mod edit;
mod known;
mod orders;
mod separator;
#[cfg(test)]
mod tests;
mod tree;

pub(super) use branches::Branches;
pub(super) use edit::OrderChanges;
pub(super) use known::Known;
pub(super) use orders::Taken;
pub use orders::{KnownOrders, NO_KNOWN_ORDERS};

/// A node with more children is cut.
///
/// A larger one makes fewer levels and fewer cuts, each of which reads the items of a node; a smaller one
/// shorter walks to a rank that nobody has met lately. Unit tests meet three levels with fewer items.
const CHILDREN_MAX: u64 = if cfg!(test) { 48 } else { 96 };
/// A node with fewer children is joined with its neighbour. Stores of earlier versions have nodes of this size.
const CHILDREN_MIN: u64 = 12;
/// Items so near to an end are found from there.
const NEAR: u64 = 64;
/// Separators up to this many bytes are carried without memory of their own.
const SEPARATOR_BYTES: usize = 32;

/// Where a counted order lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrderPlace {
    pub(super) keyspace: u32,
    pub(super) generation: u64,
    /// What stands before the order key of an item. Items come before count records.
    pub(super) items: &'static [u8],
    /// The byte before the separators of level 1; each further level has the next one.
    pub(super) tag: u8,
}

impl OrderPlace {
    /// Key of an item (level 0) or of a count record.
    pub(super) fn key(self, level: u8, order_key: &[u8]) -> Bytes {
        let tag = [self.tag.wrapping_add(level).wrapping_sub(1)];
        let tag = if level == 0 { self.items } else { &tag };
        key::part_bytes(self.keyspace, self.generation, tag, order_key)
    }

    /// Behind all records of a level.
    fn end(self, level: u8) -> Bytes {
        let tag = [self.tag.wrapping_add(level)];
        Bytes::copy_from_slice(&key::part(self.keyspace, self.generation, &tag, b""))
    }

    fn prefix_len(self, level: u8) -> usize {
        if level == 0 { self.items.len() } else { 1 }
    }
}

/// What is kept of an order beside its records, in the metadata record: its root and its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many items there are.
    len: u64,
    /// How many levels of count records.
    levels: u8,
    /// Records of the highest level; items where there is none.
    top: u64,
    /// The first item, its order key cut to [`EDGE_BYTES_MAX`].
    first: Edge,
    /// Behind the last item; empty where that cannot be said.
    end: Edge,
    /// The transaction that has written the metadata record; 0 where that is not known. Not stored.
    seq: SeqNo,
}

impl Counts {
    /// Reads what [`Self::encode`] wrote, for so many items.
    pub(super) fn decode(len: u64, reader: &mut Reader<'_>) -> Option<Self> {
        let levels = reader.u8()?;
        let top = if levels == 0 { len } else { reader.varint()? };
        let (first, end) = (Edge::new(reader.slice()?)?, Edge::new(reader.slice()?)?);
        Some(Self { len, levels, top, first, end, seq: 0 })
    }

    /// Appends all but the number of items.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.levels);
        if self.levels > 0 {
            put_varint(out, self.top);
        }
        put_slice(out, &self.first);
        put_slice(out, &self.end);
    }

    /// Bytes that [`Self::encode`] appends.
    pub(super) fn encoded_len(&self) -> usize {
        const { assert!(EDGE_BYTES_MAX < 0x80, "the length of an edge is one byte") };
        let top = if self.levels > 0 { varint_len(self.top) } else { 0 };
        1 + top + 1 + self.first.len() + 1 + self.end.len()
    }

    /// How many items there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The metadata record was written by this transaction: branches may be known of that version.
    pub(super) fn set_seq(&mut self, seq: SeqNo) {
        self.seq = seq;
    }

    /// The transaction that has written the metadata record; 0 where that is not known.
    pub(super) fn seq(&self) -> SeqNo {
        self.seq
    }

    /// What may be of so many items.
    #[cfg(test)]
    pub(super) fn of_items(len: u64) -> Self {
        let len = len.max(1);
        let levels = u8::from(len > CHILDREN_MAX) * 3;
        let top = if levels == 0 { len } else { len % CHILDREN_MAX };
        let key = len.to_be_bytes();
        Self { len, levels, top, first: Edge::floor_of(&key), end: Edge::end_of(&key), seq: 0 }
    }

    fn widen(&mut self, order_key: &[u8]) {
        if self.len == 0 || order_key < &self.first[..] {
            self.first = Edge::floor_of(order_key);
        }
        if self.len == 0 || !self.is_before_end(order_key) {
            self.end = Edge::end_of(order_key);
        }
    }

    fn is_before_end(&self, order_key: &[u8]) -> bool {
        self.end.is_empty() || order_key < &self.end[..]
    }
}

/// What a count record tells: of the items from its separator to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    items: u64,
    /// Records of the level below, or items.
    children: u64,
}

impl Node {
    const NOTHING: Self = Self { items: 0, children: 0 };

    fn decode(level: u8, record: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(record);
        let mut read = || {
            let items = reader.varint()?;
            let children = if level == 1 { items } else { reader.varint()? };
            reader.is_empty().then_some(Self { items, children })
        };
        read().ok_or_else(|| damaged("a count record cannot be read"))
    }

    fn encode(self, level: u8) -> Bytes {
        // Exactly what is needed: a full vector becomes shared bytes without another allocation.
        let children_len = if level > 1 { varint_len(self.children) } else { 0 };
        let mut record = Vec::with_capacity(varint_len(self.items) + children_len);
        put_varint(&mut record, self.items);
        if level > 1 {
            put_varint(&mut record, self.children);
        }
        record.into()
    }
}

/// A counted order, read.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) read: &'a dyn Read,
    pub(super) place: OrderPlace,
    pub(super) counts: &'a Counts,
    /// Where branches are kept, for a view of what is committed.
    pub(super) branches: Option<&'a Branches>,
}

/// A bound of order keys.
pub(super) type At<'k> = Bound<&'k [u8]>;

impl<'a> Order<'a> {
    /// Order keys and values of the items within the bounds.
    pub(super) fn items(
        self,
        from: At<'_>,
        to: At<'_>,
        direction: Direction,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes)>> + use<'a> {
        self.records(0, from, to, direction)
    }

    /// How many items stand before `order_key`.
    pub(super) fn rank(self, order_key: &[u8]) -> Result<u64> {
        if self.counts.len == 0 || order_key <= &self.counts.first[..] {
            return Ok(0);
        }
        if !self.counts.is_before_end(order_key) {
            return Ok(self.counts.len);
        }
        let branches = self.kept_branches();
        let (separator, mut before) = match branches {
            Some(branches) => self.way_to(branches, 1, |branch, _| branch.child_of(order_key))?,
            None => self.walk_to(order_key)?,
        };
        if let Some(branches) = branches.filter(|kept| kept.have_room_for_items(self.counts)) {
            return Ok(before + branches.branch(self, 0, &separator)?.items_before(order_key));
        }
        self.visit_items(start_at(&separator), Bound::Excluded(order_key), &mut |_, _| {
            before += 1;
            true
        })?;
        Ok(before)
    }

    /// The separator of level 1 that an order key lies behind, and how many items are before that one.
    fn walk_to(self, order_key: &[u8]) -> Result<(Bytes, u64)> {
        let (mut separator, mut before) = (Bytes::new(), 0);
        for level in (1..=self.counts.levels).rev() {
            let mut skipped = 0;
            for found in self.nodes(level, &separator, Bound::Included(order_key)) {
                let (next, node) = found?;
                before += skipped;
                (separator, skipped) = (next, node.items);
            }
        }
        Ok((separator, before))
    }

    /// The same through the branches, down to the level `lowest`, 0 for an item: `choose` says for
    /// each in which child to go on, and is told how many items are before the branch.
    fn way_to(
        self,
        branches: &Branches,
        lowest: u8,
        choose: impl for<'b> Fn(&'b Branch, u64) -> Result<Child<'b>>,
    ) -> Result<(Bytes, u64)> {
        let (mut separator, mut before) = (SmallVec::<[u8; SEPARATOR_BYTES]>::new(), 0);
        for level in (lowest..=self.counts.levels).rev() {
            let branch = branches.branch(self, level, &separator)?;
            let child = choose(&branch, before)?;
            before += child.before;
            separator.clear();
            separator.extend_from_slice(child.separator);
        }
        Ok((Bytes::copy_from_slice(&separator), before))
    }

    /// Where branches are kept, if this view may use them.
    fn kept_branches(self) -> Option<&'a Branches> {
        self.branches.filter(|_| self.counts.seq > 0)
    }

    /// The items from a rank on, counted from 0.
    pub(super) fn items_from(self, rank: u64) -> Result<Scan<'a>> {
        if rank < NEAR {
            let mut items = self.items(Bound::Unbounded, Bound::Unbounded, Direction::Forward);
            for _ in 0..rank.min(self.counts.len) {
                items.next().ok_or_else(|| damaged("fewer items than counted"))??;
            }
            return Ok(Box::new(items));
        }
        match self.at(rank)? {
            Some((start, _)) => {
                let from = Bound::Included(&start[..]);
                Ok(Box::new(self.items(from, Bound::Unbounded, Direction::Forward)))
            }
            None => Ok(Box::new(std::iter::empty())),
        }
    }

    /// The item at a rank, counted from 0: its order key and its value.
    pub(super) fn at(self, rank: u64) -> Result<Option<(Bytes, Bytes)>> {
        let Some(behind) = self.counts.len.checked_sub(rank).filter(|behind| *behind > 0) else {
            return Ok(None);
        };
        let all = (Bound::Unbounded, Bound::Unbounded);
        let item = if rank < NEAR {
            nth(self.items(all.0, all.1, Direction::Forward), rank)?
        } else if behind <= NEAR {
            nth(self.items(all.0, all.1, Direction::Reverse), behind - 1)?
        } else {
            let (separator, mut left) = self.descend(rank)?;
            let mut found = None;
            self.visit_items(start_at(&separator), all.1, &mut |order_key, value| {
                if left == 0 {
                    let copied = Bytes::copy_from_slice;
                    found = Some((copied(order_key), copied(value)));
                }
                left = left.saturating_sub(1);
                found.is_none()
            })?;
            found
        };
        item.map(Some).ok_or_else(|| damaged("fewer items than counted"))
    }

    /// A separator of level 1 that a rank lies behind, or the order key of an item, and how many items
    /// behind.
    fn descend(self, rank: u64) -> Result<(Bytes, u64)> {
        if let Some(branches) = self.kept_branches() {
            let lowest = u8::from(!branches.have_room_for_items(self.counts));
            let (separator, before) =
                self.way_to(branches, lowest, |branch, before| branch.child_at(rank - before))?;
            return Ok((separator, rank - before));
        }
        let (mut separator, mut left) = (Bytes::new(), rank);
        for level in (1..=self.counts.levels).rev() {
            let mut found = false;
            for node in self.nodes(level, &separator, Bound::Unbounded) {
                let (next, node) = node?;
                separator = next;
                if left < node.items {
                    found = true;
                    break;
                }
                left -= node.items;
            }
            if !found {
                return Err(damaged("fewer items than counted"));
            }
        }
        Ok((separator, left))
    }

    /// The count records of a level from this separator on, which is one of it.
    fn nodes(
        self,
        level: u8,
        separator: &[u8],
        to: At<'_>,
    ) -> impl Iterator<Item = Result<(Bytes, Node)>> + use<'a> {
        let first = separator.is_empty().then(|| Ok((Bytes::new(), self.first_node(level)?)));
        let records = self.records(level, start_at(separator), to, Direction::Forward);
        first.into_iter().chain(records.map(move |record| {
            let (separator, record) = record?;
            Ok((separator, Node::decode(level, &record)?))
        }))
    }

    fn first_node(self, level: u8) -> Result<Node> {
        let record = self.read.get(&self.place.key(level, b""))?;
        Node::decode(level, &record.ok_or_else(|| damaged("a first count record is missing"))?)
    }

    /// The node of a level that an order key lies in.
    fn node_of(self, level: u8, order_key: &[u8]) -> Result<(Bytes, Node)> {
        let to = Bound::Included(order_key);
        match self.records(level, Bound::Unbounded, to, Direction::Reverse).next().transpose()? {
            Some((separator, record)) => Ok((separator, Node::decode(level, &record)?)),
            None => Ok((Bytes::new(), self.first_node(level)?)),
        }
    }

    /// Hands order key and value of the items within the bounds to `visit`, forward, until it answers false.
    fn visit_items(
        self,
        from: At<'_>,
        to: At<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let prefix_len = self.place.prefix_len(0);
        self.read.visit(self.range(0, from, to), Direction::Forward, &mut |engine_key, value| {
            let part = key::split_part(engine_key);
            visit(part.get(prefix_len..).unwrap_or_default(), value)
        })
    }

    /// Records of a level within the bounds of the items, in a direction.
    fn records(
        self,
        level: u8,
        from: At<'_>,
        to: At<'_>,
        direction: Direction,
    ) -> impl Iterator<Item = Result<(Bytes, Bytes)>> + use<'a> {
        let prefix_len = self.place.prefix_len(level);
        self.read.scan(self.range(level, from, to), direction).map(move |pair| {
            let (engine_key, record) = pair?;
            let part = key::parse_part(&engine_key);
            Ok((part.slice(prefix_len.min(part.len())..), record))
        })
    }

    /// Where the records of a level lie that are within the bounds of the items: all items; all count records
    /// but the first, as the others have an item before and an item behind their separator.
    fn range(self, level: u8, from: At<'_>, to: At<'_>) -> KeyRange {
        let place = self.place;
        let first = &self.counts.first[..];
        let start = match from {
            Bound::Included(from) if from >= first => Bound::Included(place.key(level, from)),
            Bound::Excluded(from) if from >= first => Bound::Excluded(place.key(level, from)),
            _ if first.is_empty() => Bound::Excluded(place.key(level, b"")),
            _ => Bound::Included(place.key(level, first)),
        };
        let end = match to {
            Bound::Included(to) if self.counts.is_before_end(to) => {
                Bound::Included(place.key(level, to))
            }
            Bound::Excluded(to) if self.counts.is_before_end(to) => {
                Bound::Excluded(place.key(level, to))
            }
            _ if self.counts.end.is_empty() => Bound::Excluded(place.end(level)),
            _ => Bound::Excluded(place.key(level, &self.counts.end)),
        };
        (start, end)
    }
}

/// From this separator on.
fn start_at(separator: &[u8]) -> At<'_> {
    if separator.is_empty() { Bound::Unbounded } else { Bound::Included(separator) }
}

fn nth<T>(items: impl Iterator<Item = Result<T>>, rank: u64) -> Result<Option<T>> {
    for (item, at) in items.zip(0..) {
        let item = item?;
        if at == rank {
            return Ok(Some(item));
        }
    }
    Ok(None)
}
