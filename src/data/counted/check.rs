//! What the records of a counted order promise each other.

use std::ops::Bound;

use bytes::Bytes;

use super::{CHILDREN_MAX, CHILDREN_MIN, Node, Order, damaged, end_of, floor_of};
use crate::engine::{Direction, Result};

fn ensure(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(damaged(what)) }
}

impl Order<'_> {
    /// Fails where the levels of an order do not fit each other, the items, or the root; where a node
    /// has too many or too few children; where a bound is not at an item. Reads all of it.
    pub(in crate::data) fn check(self) -> Result<()> {
        let counts = self.counts;
        let mut below: Vec<(Bytes, u64)> = Vec::new();
        for item in self.everything(0) {
            below.push((item?.0, 1));
        }
        ensure(below.len() as u64 == counts.len, "an order is counted wrongly")?;
        let ends = below.first().zip(below.last());
        let fits = ends.is_none_or(|(first, last)| {
            floor_of(&first.0) == counts.first && end_of(&last.0) == counts.end
        });
        ensure(fits, "a bound of an order is not at its item")?;
        for level in 1..=counts.levels {
            let mut nodes = vec![(Bytes::new(), self.first_node(level)?)];
            for found in self.everything(level) {
                let (separator, record) = found?;
                nodes.push((separator, Node::decode(level, &record)?));
            }
            check_level(&nodes, &below)?;
            below = nodes.into_iter().map(|(separator, node)| (separator, node.items)).collect();
        }
        ensure(below.len() as u64 == counts.top, "the root of an order is counted wrongly")?;
        ensure(counts.levels == 0 || counts.top > 1, "a level of an order is not needed")?;
        ensure(counts.top <= CHILDREN_MAX, "the root of an order has too many children")?;
        let above = self.everything(counts.levels + 1).next().transpose()?;
        let first = self.read.get(&self.place.key(counts.levels + 1, b""))?;
        ensure(above.is_none() && first.is_none(), "a count record above the root")
    }

    /// All records of a level but the first count record, within the bounds or not.
    fn everything(self, level: u8) -> impl Iterator<Item = Result<(Bytes, Bytes)>> {
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

/// Holds the nodes of a level against their children, each with its number of items.
fn check_level(nodes: &[(Bytes, Node)], below: &[(Bytes, u64)]) -> Result<()> {
    let mut children = below.iter().peekable();
    for (at, (separator, node)) in nodes.iter().enumerate() {
        let next = nodes.get(at + 1).map(|(separator, _)| separator);
        let (mut count, mut items) = (0, 0);
        let first = children.peek().map(|(key, _)| key);
        ensure(first.is_some_and(|key| key >= separator), "a node without its first child")?;
        while let Some((_, of_child)) =
            children.next_if(|(key, _)| next.is_none_or(|next| key < next))
        {
            count += 1;
            items += of_child;
        }
        ensure(count == node.children && items == node.items, "a node is counted wrongly")?;
        ensure(
            (CHILDREN_MIN..=CHILDREN_MAX).contains(&count),
            "a node has too few or too many children",
        )?;
    }
    ensure(children.next().is_none(), "a record that no node counts")
}
