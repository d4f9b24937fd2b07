//! The writes of a transaction: one per key.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::super::coding::head;
use super::super::key_hash::hash_of;
use super::super::{Direction, KeyRange};

/// Writes for which there is room from the first one on.
const USUAL: usize = 2;
/// More writes are found by a hash map; so many are looked through.
const INDEXED: usize = 16;
/// So few writes a walk looks through, whatever was walked before.
const UNORDERED: usize = 64;
/// Walks that look through all writes before one puts them in order for those to come: that costs as much.
const WALKS_UNORDERED: usize = 128;
/// Where the heads of keys begin: keys of one collection begin alike, so they tell most of them apart.
const HEAD_AT: usize = 15;

/// What a write takes besides its bytes: its place in the list and in the index.
const WRITE_BYTES: usize = 128;

/// New value per key, in the order in which the keys were first written; `None` deletes.
#[derive(Debug, Default)]
pub struct Writes {
    list: Vec<(Bytes, Option<Bytes>)>,
    /// Once there are more than [`UNORDERED`], of each key the eight bytes from [`HEAD_AT`] on, as a
    /// number: a walk looks at few keys besides.
    heads: Vec<u64>,
    /// Where each key is in `list`, once there are many.
    index: Option<Box<HashTable<Place>>>,
    /// The same in order, once many were walked.
    order: OnceLock<BTreeMap<Bytes, usize>>,
    walks: AtomicUsize,
    bytes: usize,
}

/// A write: a key and its new value.
pub(super) type Write = (Bytes, Option<Bytes>);

/// Where a key is, with a part of its hash: so an index grows, and tells most keys apart, without a
/// look at them.
#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u32,
    at: u32,
}

impl Place {
    /// The hash of the index: its first and last bits count.
    fn full_hash(self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash)
    }
}

impl Writes {
    /// Sets the new value of `key`; where it is among [`Self::as_slice`].
    pub fn set(&mut self, key: Bytes, value: Option<Bytes>) -> usize {
        self.set_hashed(key, None, value)
    }

    /// As [`Self::set`], with the hash of the key where it is known.
    pub(in crate::engine) fn set_hashed(
        &mut self,
        key: Bytes,
        hash: Option<u64>,
        value: Option<Bytes>,
    ) -> usize {
        let value_len = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        if let Some(place) = self.take_place(&key, hash)
            && let Some((_, before)) = self.list.get_mut(place)
        {
            self.bytes = self.bytes + value_len(&value) - value_len(before);
            *before = value;
            return place;
        }
        self.bytes += key.len() + value_len(&value) + WRITE_BYTES;
        let place = self.list.len();
        if let Some(order) = self.order.get_mut() {
            order.insert(key.clone(), place);
        }
        if self.list.capacity() == 0 {
            self.list = Vec::with_capacity(USUAL);
        }
        self.list.push((key, value));
        if self.list.len() > UNORDERED {
            let known = self.heads.len();
            self.heads.extend(self.list.iter().skip(known).map(|(key, _)| head_of(key)));
        }
        place
    }

    /// Makes room for so many more.
    pub(super) fn expect(&mut self, writes: usize) {
        self.list.reserve(writes);
        if self.list.len() + writes > INDEXED {
            self.index.get_or_insert_default().reserve(writes, |place| place.full_hash());
        }
    }

    /// Where `key` is among [`Self::as_slice`]; where it is not, its place in the index is behind
    /// the last write, which is to come.
    fn take_place(&mut self, key: &[u8], hash: Option<u64>) -> Option<usize> {
        let len = self.list.len();
        if len <= INDEXED {
            let found = self.place_hashed(key, hash);
            if len < INDEXED || found.is_some() {
                return found;
            }
        }
        let Self { list, index, .. } = self;
        let index = index.get_or_insert_default();
        if len == INDEXED {
            index.clear();
            for ((other, _), at) in list.iter().zip(0..) {
                let place = Place { hash: part_of(hash_of(other)), at };
                index.insert_unique(place.full_hash(), place, |place| place.full_hash());
            }
        }
        // A transaction is bounded in bytes, and takes some for each write.
        let at = u32::try_from(len).expect("fewer than 2^32 writes");
        let place = Place { hash: part_of(hash.unwrap_or_else(|| hash_of(key))), at };
        let is_there = |other: &Place| is_at(list, *other, place.hash, key);
        match index.entry(place.full_hash(), is_there, |place| place.full_hash()) {
            Entry::Occupied(found) => Some(found.get().at as usize),
            Entry::Vacant(free) => {
                free.insert(place);
                None
            }
        }
    }

    /// The new value of `key`, where it has one.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.list.get(self.place(key)?).map(|(_, value)| value.as_ref())
    }

    /// Where `key` is among [`Self::as_slice`].
    pub(in crate::engine) fn place(&self, key: &[u8]) -> Option<usize> {
        self.place_hashed(key, None)
    }

    /// As [`Self::place`], with the hash of the key where it is known.
    pub(in crate::engine) fn place_hashed(&self, key: &[u8], hash: Option<u64>) -> Option<usize> {
        if self.list.len() <= INDEXED {
            return self.list.iter().position(|(other, _)| is_same(other, key));
        }
        let hash = part_of(hash.unwrap_or_else(|| hash_of(key)));
        let place = Place { hash, at: 0 };
        let is_there = |other: &Place| is_at(&self.list, *other, place.hash, key);
        let found = self.index.as_ref()?.find(place.full_hash(), is_there);
        found.map(|place| place.at as usize)
    }

    /// All writes, in the order in which the keys were first written.
    #[must_use]
    pub fn as_slice(&self) -> &[(Bytes, Option<Bytes>)] {
        &self.list
    }

    /// Hands out all writes, in the order in which the keys were first written; their room is kept.
    pub(in crate::engine) fn drain(&mut self) -> std::vec::Drain<'_, Write> {
        self.index = None;
        self.heads.clear();
        self.order.take();
        *self.walks.get_mut() = 0;
        self.bytes = 0;
        self.list.drain(..)
    }

    /// Forgets all writes, and keeps their room.
    pub(in crate::engine) fn clear(&mut self) {
        self.list.clear();
        self.heads.clear();
        *self.walks.get_mut() = 0;
        self.index.iter_mut().for_each(|index| index.clear());
        self.order = OnceLock::new();
        self.bytes = 0;
    }

    /// What they take in memory, in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All writes, in the order in which the keys were first written.
    pub fn iter(&self) -> std::slice::Iter<'_, (Bytes, Option<Bytes>)> {
        self.list.iter()
    }

    /// The writes within `range`, by key. The range is not empty.
    pub(super) fn in_order<'a>(
        &'a self,
        range: &KeyRange,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = &'a Write> + 'a> {
        let is_walked = || self.walks.fetch_add(1, Ordering::Relaxed) >= WALKS_UNORDERED;
        if self.len() > UNORDERED && is_walked() {
            let places = || self.list.iter().map(|(key, _)| key.clone()).zip(0..);
            let order = self.order.get_or_init(|| places().collect());
            let found = order.range(range.clone()).filter_map(|(_, at)| self.list.get(*at));
            return match direction {
                Direction::Forward => Box::new(found),
                Direction::Reverse => Box::new(found.rev()),
            };
        }
        let mut found: Vec<_> = if self.heads.is_empty() {
            self.list.iter().filter(|(key, _)| range.contains(key)).collect()
        } else {
            let heads = heads_of(range);
            let places = self.heads.iter().zip(&self.list).filter(|(head, _)| heads.contains(head));
            places.map(|(_, write)| write).filter(|(key, _)| range.contains(key)).collect()
        };
        found.sort_unstable_by(|(a, _), (b, _)| match direction {
            Direction::Forward => a.cmp(b),
            Direction::Reverse => b.cmp(a),
        });
        Box::new(found.into_iter())
    }
}

fn head_of(key: &[u8]) -> u64 {
    head(key.get(HEAD_AT..).unwrap_or_default())
}

/// The heads that keys within a range may have.
fn heads_of((start, end): &KeyRange) -> RangeInclusive<u64> {
    let (Bound::Included(from) | Bound::Excluded(from)) = start else { return 0..=u64::MAX };
    let (Bound::Included(to) | Bound::Excluded(to)) = end else { return 0..=u64::MAX };
    match (from.get(..HEAD_AT), to.get(..HEAD_AT)) {
        (Some(before), Some(same)) if before == same => head_of(from)..=head_of(to),
        _ => 0..=u64::MAX,
    }
}

/// The part of a hash that an index keeps.
fn part_of(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or_default()
}

/// Whether two keys are the same. Keys of one transaction begin alike; where they end they differ.
fn is_same(other: &[u8], key: &[u8]) -> bool {
    other.len() == key.len() && other.last() == key.last() && other == key
}

/// Whether a key of this hash is the one at `place`.
fn is_at(list: &[Write], place: Place, hash: u32, key: &[u8]) -> bool {
    place.hash == hash && list.get(place.at as usize).is_some_and(|(other, _)| is_same(other, key))
}

impl<'a> IntoIterator for &'a Writes {
    type Item = &'a (Bytes, Option<Bytes>);
    type IntoIter = std::slice::Iter<'a, (Bytes, Option<Bytes>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Writes {
    type Item = (Bytes, Option<Bytes>);
    type IntoIter = std::vec::IntoIter<(Bytes, Option<Bytes>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl FromIterator<(Bytes, Option<Bytes>)> for Writes {
    fn from_iter<I: IntoIterator<Item = (Bytes, Option<Bytes>)>>(writes: I) -> Self {
        let mut all = Self::default();
        for (key, value) in writes {
            all.set(key, value);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;

    /// Walked without and with an order of their own.
    #[test]
    fn keys_that_begin_alike_are_walked_in_order() {
        let key = |number: u32| {
            let name = format!("{:1$}{number:04}", "", HEAD_AT - 2 + number as usize % 4);
            Bytes::from(name)
        };
        let mut own = Writes::default();
        for number in (0..300).rev() {
            own.set(key(number), Some(Bytes::new()));
        }
        for walk in 0..300 {
            let (from, to) = (key(walk % 300), key((walk * 7 + 3) % 300));
            let range = (Bound::Excluded(from.min(to.clone())), Bound::Included(key(299).max(to)));
            let mut expected: Vec<_> =
                (0..300).map(key).filter(|key| range.contains(key)).collect();
            expected.sort();
            let found = own.in_order(&range, Direction::Forward).map(|(key, _)| key.clone());
            assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }

    proptest! {
        #[test]
        fn they_are_a_map(
            writes in prop::collection::vec((0_u8..100, any::<Option<u8>>()), 0..160),
        ) {
            let bytes = |byte: u8| Bytes::copy_from_slice(&[byte]);
            let mut model = BTreeMap::new();
            let mut own = Writes::default();
            for (key, value) in &writes {
                let every_key = (Bound::Included(bytes(0)), Bound::Unbounded);
                prop_assert_eq!(own.in_order(&every_key, Direction::Forward).count(), model.len());
                model.insert(bytes(*key), value.map(bytes));
                own.set(bytes(*key), value.map(bytes));
            }
            prop_assert_eq!(own.len(), model.len());
            for key in 0..100 {
                let expected = model.get(&bytes(key)).map(Option::as_ref);
                prop_assert_eq!(own.get(&[key]), expected);
            }
            let range = (Bound::Included(bytes(5)), Bound::Excluded(bytes(30)));
            let expected: Vec<_> =
                model.range(range.clone()).map(|(k, v)| (k.clone(), v.clone())).collect();
            let walk = |direction| own.in_order(&range, direction).cloned();
            prop_assert_eq!(walk(Direction::Forward).collect::<Vec<_>>(), expected.clone());
            prop_assert!(walk(Direction::Reverse).eq(expected.into_iter().rev()));
        }
    }
}
