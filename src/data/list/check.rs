//! What the records of a list promise each other.

use super::body::Dense;
use super::indexed::Indexed;
use super::{ELEMENTS, ListBody, listpack};
use crate::data::collection::damaged;
use crate::data::{key, packed};
use crate::engine::{Direction, Read, Result};

/// One of so many elements is looked up by its rank.
const RANKED_EVERY: u64 = if cfg!(test) { 3 } else { 1009 };

impl ListBody {
    /// Fails where the elements do not fit the metadata: their number, their positions, their size.
    /// Reads all of them.
    pub(in crate::data) fn check(&self, read: &dyn Read, keyspace: u32) -> Result<()> {
        match self {
            Self::Packed { count, list } => {
                let mut found = 0;
                for entry in packed::entries(ELEMENTS, list) {
                    entry?;
                    found += 1;
                }
                ensure(found == *count, "a packed list is counted wrongly")
            }
            Self::Dense(dense) => dense.check(read, keyspace),
            Self::Indexed(indexed) => indexed.check(read, keyspace),
        }
    }
}

impl Dense {
    fn check(self, read: &dyn Read, keyspace: u32) -> Result<()> {
        let range = key::elements(keyspace, self.generation, 0, None);
        let (mut found, mut bytes) = (0, 0);
        for pair in read.scan(range, Direction::Forward) {
            let (record, element) = pair?;
            let place = key::parse_element(&record);
            let expected = place
                .is_some_and(|(position, name)| position == self.head + found && name.is_empty());
            ensure(expected, "an element of a list is not at its position")?;
            found += 1;
            bytes += listpack::element_bytes(&element);
        }
        ensure(found == self.count, "the elements of a list are counted wrongly")?;
        ensure(bytes == self.bytes, "the elements of a list are measured wrongly")
    }
}

impl Indexed {
    fn check(&self, read: &dyn Read, keyspace: u32) -> Result<()> {
        self.order(read, keyspace).check()?;
        let mut bytes = 0;
        let items = self.items(read, keyspace, 0, self.counts.len(), Direction::Forward);
        for (item, index) in items.zip(0..) {
            let (order_key, element) = item?;
            // The counts are right by now; that look-ups agree with them is seen from a few.
            if index % RANKED_EVERY == 0 {
                let rank = self.order(read, keyspace).rank(&order_key)?;
                ensure(rank == index, "an element of a list has another rank than its index")?;
            }
            let position = order_key.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
            let expected = position.is_some_and(|at| (self.head..self.tail).contains(&at));
            ensure(expected, "an element of a list lies outside of its positions")?;
            bytes += listpack::element_bytes(&element);
        }
        ensure(bytes == self.bytes, "the elements of a list are measured wrongly")
    }
}

fn ensure(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(damaged(what)) }
}
