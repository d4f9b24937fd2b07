//! The element records of a collection that has outgrown its metadata record.
//!
//! The key of an element record is the generation, an order (u64, big-endian) and the name of the
//! element (see `key.rs`). The first bit of the order tells two orders apart:
//!
//! ```text
//! 0  hash of the name, 63 bits: XXH3 (64 bits, seed 0) shifted right by one. The element itself.
//! 1  expiry of the element in Unix milliseconds. Its value is empty. In a sorted set what follows
//!    the first bit is the order of scores, see `sorted.rs`.
//!
//! record of an element of a hash    0, then the value
//!                                   1, expiry u64 in Unix milliseconds, little-endian, then the value
//! record of an element of a set     empty
//! record of one of a sorted set     0, then the score, an f64, little-endian
//! ```
//!
//! So a walk meets the elements in the order of their hashes. That order depends on nothing but the
//! names: a position in it is a cursor that survives inserts, deletions and restarts, and a random
//! position is a random element. The second order has one record for each element that expires.

use bytes::Bytes;

use super::collection::damaged;
use super::packed::Shape;
use super::{Edit, key};
use crate::engine::{Direction, Read, Result};

use xxhash_rust::xxh3::xxh3_64;

/// Orders from here on are expiries.
pub(super) const TIMES: u64 = 1 << 63;

const LASTS: u8 = 0;
const EXPIRES: u8 = 1;

/// The position of a name. Permanent: it is part of stored keys, and cursors are made of it.
pub(super) fn hash_of(name: &[u8]) -> u64 {
    xxh3_64(name) >> 1
}

/// Where the element records of one collection are.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    pub(super) read: &'a dyn Read,
    pub(super) keyspace: u32,
    pub(super) generation: u64,
}

/// An element record, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) hash: u64,
    pub(super) name: Bytes,
    pub(super) record: Bytes,
}

impl<'a> Records<'a> {
    /// The record of the element of this name.
    pub(super) fn get(self, name: &[u8]) -> Result<Option<Bytes>> {
        self.read.get(&key::element(self.keyspace, self.generation, hash_of(name), name))
    }

    /// The key of the record of the element of this name.
    pub(super) fn key(self, name: &[u8]) -> Bytes {
        let order = hash_of(name).to_be_bytes();
        key::part_bytes(self.keyspace, self.generation, &order, name)
    }

    /// The elements with positions from `from` up to `to`, which does not belong to the range.
    pub(super) fn walk(self, from: u64, to: u64) -> impl Iterator<Item = Result<Record>> + 'a {
        let to = to.min(TIMES);
        let range = key::elements(self.keyspace, self.generation, from.min(to), Some(to));
        self.read.scan(range, Direction::Forward).map(|pair| {
            let (engine_key, record) = pair?;
            let (hash, name) = key::parse_element(&engine_key)
                .ok_or_else(|| damaged("the key of an element is cut off"))?;
            Ok(Record { hash, name, record })
        })
    }

    /// Hands name and record of all elements to `visit` until it answers false.
    pub(super) fn visit(self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let range = key::elements(self.keyspace, self.generation, 0, Some(TIMES));
        let mut is_sound = true;
        self.read.visit(range, Direction::Forward, &mut |engine_key, record| {
            match key::split_element(engine_key) {
                Some((_, name)) => visit(name, record),
                None => {
                    is_sound = false;
                    false
                }
            }
        })?;
        if is_sound { Ok(()) } else { Err(damaged("the key of an element is cut off")) }
    }

    /// Expiry and name of the elements that expire no later than `until_ms`, soonest first.
    pub(super) fn expiring(self, until_ms: u64) -> impl Iterator<Item = Result<(u64, Bytes)>> + 'a {
        let end = TIMES.checked_add(until_ms.saturating_add(1));
        let range = key::elements(self.keyspace, self.generation, TIMES, end);
        self.read.scan(range, Direction::Forward).map(|pair| {
            let (order, name) = key::parse_element(&pair?.0)
                .ok_or_else(|| damaged("the key of an expiry is cut off"))?;
            Ok((order & !TIMES, name))
        })
    }
}

/// Value and expiry of an element.
pub(super) fn decode(shape: Shape, record: &Bytes) -> Result<(Bytes, Option<u64>)> {
    let (value, at_ms) = split(shape, record)?;
    // Most are of a set, and have none.
    Ok((if value.is_empty() { Bytes::new() } else { record.slice_ref(value) }, at_ms))
}

/// Value and expiry of an element, where they stand.
pub(super) fn split(shape: Shape, record: &[u8]) -> Result<(&[u8], Option<u64>)> {
    if !shape.values {
        return match record.is_empty() {
            true => Ok((&[], None)),
            false => Err(damaged("a member of a set with a value")),
        };
    }
    match record.split_first() {
        Some((&LASTS, value)) => Ok((value, None)),
        Some((&EXPIRES, rest)) => match rest.split_first_chunk::<8>() {
            Some((at_ms, value)) => Ok((value, Some(u64::from_le_bytes(*at_ms)))),
            None => Err(damaged("an unknown form of an element")),
        },
        _ => Err(damaged("an unknown form of an element")),
    }
}

/// The record of an element of a hash.
pub(super) fn encode(value: &[u8], expires_ms: Option<u64>) -> Bytes {
    let mut record = Vec::with_capacity(value.len() + if expires_ms.is_some() { 9 } else { 1 });
    match expires_ms {
        None => record.push(LASTS),
        Some(at_ms) => {
            record.push(EXPIRES);
            record.extend_from_slice(&at_ms.to_le_bytes());
        }
    }
    record.extend_from_slice(value);
    record.into()
}

impl Edit<'_> {
    /// The element records of `generation`.
    pub(super) fn records(&self, generation: u64) -> Records<'_> {
        Records { read: &self.txn, keyspace: self.keyspace, generation }
    }

    /// The record of an element of a generation that this transaction has made: nothing of it can be
    /// anywhere else.
    pub(super) fn own_element(&self, generation: u64, name: &[u8]) -> Option<&Bytes> {
        self.txn.own(&key::element(self.keyspace, generation, hash_of(name), name))
    }

    /// Writes the record of an element.
    pub(super) fn put_element(&mut self, generation: u64, name: &[u8], record: Bytes) {
        if !self.context.warms {
            self.context.candidates.added(generation, name, self.txn.seq());
        }
        self.put_ordered(generation, hash_of(name), name, record);
    }

    /// Deletes the record of an element.
    pub(super) fn delete_element(&mut self, generation: u64, name: &[u8]) {
        if !self.context.warms {
            self.context.candidates.deleted(generation, name, self.txn.seq());
        }
        self.delete_ordered(generation, hash_of(name), name);
    }

    /// Moves an element in the order of expiries.
    pub(super) fn move_element_expiry(
        &mut self,
        generation: u64,
        name: &[u8],
        old_ms: Option<u64>,
        new_ms: Option<u64>,
    ) {
        if old_ms == new_ms {
            return;
        }
        if let Some(at_ms) = old_ms {
            self.delete_ordered(generation, TIMES | at_ms, name);
        }
        if let Some(at_ms) = new_ms {
            self.put_ordered(generation, TIMES | at_ms, name, Bytes::new());
        }
    }

    /// Writes a record in one of the two orders.
    pub(super) fn put_ordered(&mut self, generation: u64, order: u64, name: &[u8], record: Bytes) {
        let order = order.to_be_bytes();
        self.txn.put(key::part_bytes(self.keyspace, generation, &order, name), record);
    }

    fn delete_ordered(&mut self, generation: u64, order: u64, name: &[u8]) {
        let order = order.to_be_bytes();
        self.txn.delete(key::part_bytes(self.keyspace, generation, &order, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions are stored: they must never change.
    #[test]
    fn positions_are_permanent() {
        assert_eq!(hash_of(b""), 0x2d06_8005_38d3_94c2 >> 1);
        assert!(hash_of(b"field") < TIMES);
        assert_eq!(hash_of(b"field"), xxh3_64(b"field") >> 1);
    }

    #[test]
    fn records_are_read_as_written() {
        let hash = Shape { values: true, expiries: false };
        for expires_ms in [None, Some(0), Some(u64::MAX)] {
            let record = encode(b"value", expires_ms);
            assert_eq!(decode(hash, &record).unwrap(), (Bytes::from("value"), expires_ms));
        }
        let set = Shape { values: false, expiries: false };
        assert_eq!(decode(set, &Bytes::new()).unwrap(), (Bytes::new(), None));
        for (shape, bad) in [(set, &b"x"[..]), (hash, b""), (hash, b"\x02"), (hash, b"\x011234")] {
            assert!(decode(shape, &Bytes::copy_from_slice(bad)).is_err());
        }
    }
}
