//! A list of element records of which the middle has changed.
//!
//! Its elements are the items of a counted order (`counted`), by keys that start with a position and
//! may have more behind it (`between.rs`): between two elements there is always room for another one,
//! and the one at an index is found without a walk. What the order needs besides the elements starts
//! with a byte that no position starts with, so a dense list turns into an indexed one with its
//! records where they are.

use bytes::Bytes;

use super::between::{Near, between};
use super::body::Dense;
use super::{End, missing};
use crate::data::counted::{Counts, Order, OrderPlace};
use crate::engine::{Direction, Read, Result, Scan, Txn};

/// The first byte of what is no element; positions stay far below.
const COUNTS: u8 = 0xf0;
/// A list with longer order keys than this is laid out anew; in tests that comes soon.
const KEY_BYTES_MAX: usize = if cfg!(test) { 16 } else { 256 };

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// Names the records.
    pub(super) generation: u64,
    /// No element has a position before this one.
    pub(super) head: u64,
    /// No element has this position or one behind it.
    pub(super) tail: u64,
    /// What the elements would take in a listpack.
    pub(super) bytes: u64,
    /// How many elements there are, and how they are counted.
    pub counts: Counts,
}

/// Order key and element.
pub(super) type Item = (Bytes, Bytes);

impl Indexed {
    /// The list as which a dense one goes on.
    pub(super) fn of(dense: Dense, txn: &mut Txn<'_>, keyspace: u32) -> Result<Self> {
        let Dense { generation, head, count, bytes } = dense;
        let tail = head + count;
        let place = place(keyspace, generation);
        let (first, last) = (head.to_be_bytes(), (tail - 1).to_be_bytes());
        let counts = Counts::adopt(txn, place, count, &first, &last)?;
        Ok(Self { generation, head, tail, bytes, counts })
    }

    /// Where its records are.
    pub(super) fn place(&self, keyspace: u32) -> OrderPlace {
        place(keyspace, self.generation)
    }

    pub(super) fn order<'a>(&'a self, read: &'a dyn Read, keyspace: u32) -> Order<'a> {
        Order { read, place: self.place(keyspace), counts: &self.counts, branches: None }
    }

    /// Elements `from..to`, which are there, with their order keys.
    pub(super) fn items<'a>(
        &'a self,
        read: &'a dyn Read,
        keyspace: u32,
        from: u64,
        to: u64,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Result<Item>> + 'a> {
        items_of(self.order(read, keyspace), from, to, direction)
    }

    /// The order key of a new element at an end.
    pub(super) fn extend(&mut self, end: End) -> Bytes {
        let position = match end {
            End::Head => {
                self.head -= 1;
                self.head
            }
            End::Tail => {
                self.tail += 1;
                self.tail - 1
            }
        };
        Bytes::copy_from_slice(&position.to_be_bytes())
    }

    /// The order key of a new element between the one in front of `index` and that one; `None` where
    /// it would be too long. `near` says which of the two it is put next to.
    pub(super) fn key_at(
        &mut self,
        read: &dyn Read,
        keyspace: u32,
        index: u64,
        near: Near,
    ) -> Result<Option<Bytes>> {
        let count = self.counts.len();
        if index == 0 || index == count {
            return Ok(Some(self.extend(if index == 0 { End::Head } else { End::Tail })));
        }
        let mut neighbours = self.items(read, keyspace, index - 1, index + 1, Direction::Forward);
        let mut next = || neighbours.next().ok_or_else(missing)?;
        let ((before, _), (behind, _)) = (next()?, next()?);
        let key = between(&before, &behind, near);
        Ok((key.len() <= KEY_BYTES_MAX).then(|| key.into()))
    }
}

/// Elements `from..to` of an order, which are there, with their order keys.
pub(super) fn items_of<'a>(
    order: Order<'a>,
    from: u64,
    to: u64,
    direction: Direction,
) -> Box<dyn Iterator<Item = Result<Item>> + 'a> {
    use std::ops::Bound::{Included, Unbounded};

    if from >= to {
        return Box::new(std::iter::empty());
    }
    let items = || -> Result<Scan<'a>> {
        if direction == Direction::Forward {
            return order.items_from(from);
        }
        let (last, _) = order.at(to - 1)?.ok_or_else(missing)?;
        Ok(Box::new(order.items(Unbounded, Included(&last[..]), direction)))
    };
    match items() {
        Ok(mut items) => Box::new((from..to).map(move |_| items.next().ok_or_else(missing)?)),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

fn place(keyspace: u32, generation: u64) -> OrderPlace {
    OrderPlace { keyspace, generation, items: &[], tag: COUNTS }
}
