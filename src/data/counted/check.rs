//! What the records of a counted order promise each other.

use std::ops::Bound;

use bytes::Bytes;

use super::{CHILDREN_MAX, CHILDREN_MIN, Edge, Node, Order, damaged};
use crate::engine::{Direction, Result};

fn ensure(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(damaged(what)) }
}

impl<'a> Order<'a> {
    /// Fails where the levels of an order do not fit each other, the items, or the root; where a node
    /// has too many or too few children; where a bound is not at an item. Walks each level twice.
    pub(in crate::data) fn check(self) -> Result<()> {
        let counts = self.counts;
        let (mut count, mut ends) = (0, None);
        for item in self.records_of(0)? {
            let (order_key, _) = item?;
            count += 1;
            let first = ends.take().map_or_else(|| order_key.clone(), |(first, _)| first);
            ends = Some((first, order_key));
        }
        ensure(count == counts.len, "an order is counted wrongly")?;
        let fits = ends.is_none_or(|(first, last)| {
            Edge::floor_of(&first) == counts.first && Edge::end_of(&last) == counts.end
        });
        ensure(fits, "a bound of an order is not at its item")?;
        for level in 1..=counts.levels {
            count = check_level(self.records_of(level)?, self.records_of(level - 1)?)?;
        }
        ensure(count == counts.top, "the root of an order is counted wrongly")?;
        ensure(counts.levels == 0 || counts.top > 1, "a level of an order is not needed")?;
        ensure(counts.top <= CHILDREN_MAX, "the root of an order has too many children")?;
        let above = self.everything(counts.levels + 1).next().transpose()?;
        let first = self.read.get(&self.place.key(counts.levels + 1, b""))?;
        ensure(above.is_none() && first.is_none(), "a count record above the root")
    }

    /// The items, each as a node of its own, or all count records of a level with their separators.
    fn records_of(self, level: u8) -> Result<impl Iterator<Item = Result<(Bytes, Node)>> + 'a> {
        let first = match level {
            0 => None,
            _ => Some(Ok((Bytes::new(), self.first_node(level)?))),
        };
        Ok(first.into_iter().chain(self.everything(level).map(move |found| {
            let (order_key, record) = found?;
            let node = match level {
                0 => Node { items: 1, children: 1 },
                _ => Node::decode(level, &record)?,
            };
            Ok((order_key, node))
        })))
    }

    /// All records of a level but the first count record, within the bounds or not.
    fn everything(self, level: u8) -> impl Iterator<Item = Result<(Bytes, Bytes)>> + use<'a> {
        let range =
            (Bound::Excluded(self.place.key(level, b"")), Bound::Excluded(self.place.end(level)));
        let prefix_len = range_prefix(self, level);
        self.read.scan(range, Direction::Forward).map(move |pair| {
            let (engine_key, record) = pair?;
            Ok((engine_key.slice(prefix_len..), record))
        })
    }
}

fn range_prefix(order: Order<'_>, level: u8) -> usize {
    order.place.key(level, b"").len()
}

/// Holds the nodes of a level against their children, each with its number of items; answers how
/// many nodes there are.
fn check_level(
    nodes: impl Iterator<Item = Result<(Bytes, Node)>>,
    below: impl Iterator<Item = Result<(Bytes, Node)>>,
) -> Result<u64> {
    let (mut nodes, mut below) = (nodes, below.peekable());
    let mut node = nodes.next().transpose()?;
    let mut found = 0;
    while let Some((separator, counted)) = node {
        found += 1;
        let next = nodes.next().transpose()?;
        let (mut count, mut items) = (0, 0);
        let in_node = |child: &Result<(Bytes, Node)>| match child {
            Ok((key, _)) => next.as_ref().is_none_or(|(next, _)| key < next),
            Err(_) => true,
        };
        while let Some(child) = below.next_if(in_node) {
            let (key, child) = child?;
            ensure(count > 0 || key >= separator, "a node without its first child")?;
            count += 1;
            items += child.items;
        }
        ensure(count > 0, "a node without its first child")?;
        ensure(count == counted.children && items == counted.items, "a node is counted wrongly")?;
        ensure(
            (CHILDREN_MIN..=CHILDREN_MAX).contains(&count),
            "a node has too few or too many children",
        )?;
        node = next;
    }
    ensure(below.next().is_none(), "a record that no node counts")?;
    Ok(found)
}
