//! What the metadata record says of a collection: how its elements are kept, and how many.
//!
//! ```text
//! encoding 2 (packed):     elements u32, then the packed list to the end of the record
//! encoding 3 (integers):   the sorted integers of a set, to the end of the record
//! encoding 4 (exploded):   generation u64, elements u64; of a hash also its earliest field expiry
//! encoding 5 (expiring):   earliest field expiry, elements u32, then the packed list of a hash each
//!                          field of which has room for an expiry, to the end of the record
//! encoding 6 (ordered):    generation u64, elements u64, root and bounds of the order (`counted`)
//! ```
//!
//! All integers are little-endian; an expiry is a u64 in Unix milliseconds, 0 for none. How a packed
//! list, integers and element records look stands in `packed.rs`, `integers.rs`, `exploded.rs`.
//!
//! A small collection sits in its metadata record: one read, one write, elements in the order in
//! which they came (integers in theirs), as Redis's listpacks and intsets. One that outgrows
//! [`Packing`] explodes with the write that crosses the threshold: one record per element, and it
//! never goes back. The count includes fields that have expired and are not deleted yet. A
//! collection without elements does not exist. The packed list of a sorted set is in the order of its
//! scores; one that has outgrown it is *ordered* (`zset.rs`).

use bytes::Bytes;

use super::packed::Shape;
use super::{Counts, KeyType};
use crate::engine::Error;
use crate::engine::coding::Reader;

const PACKED: u8 = 2;
const INTEGERS: u8 = 3;
const EXPLODED: u8 = 4;
const EXPIRING: u8 = 5;
const ORDERED: u8 = 6;

/// A packed list is never longer in bytes, whatever the settings say: each write writes all of it.
pub(super) const PACKED_BYTES_MAX: usize = 1 << 20;

/// Up to where a collection stays in its metadata record. The names are those of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// `hash-max-listpack-entries`.
    pub hash_entries: u64,
    /// `hash-max-listpack-value`, in bytes.
    pub hash_value: u64,
    /// `set-max-intset-entries`.
    pub set_integers: u64,
    /// `set-max-listpack-entries`.
    pub set_entries: u64,
    /// `set-max-listpack-value`, in bytes.
    pub set_value: u64,
    /// `stream-node-max-entries`; 0 for no limit.
    pub stream_entries: u64,
    /// `stream-node-max-bytes`; 0 for no limit.
    pub stream_bytes: u64,
    /// `list-max-listpack-size`: so many elements, or where negative a size in bytes by steps.
    pub list_size: i32,
    /// `zset-max-listpack-entries`.
    pub zset_entries: u64,
    /// `zset-max-listpack-value`, in bytes.
    pub zset_value: u64,
}

#[cfg(test)]
impl Packing {
    /// What the settings say by themselves.
    pub(crate) const DEFAULT: Self = Self {
        hash_entries: 512,
        hash_value: 64,
        set_integers: 512,
        set_entries: 128,
        set_value: 64,
        stream_entries: 100,
        stream_bytes: 4096,
        list_size: -2,
        zset_entries: 128,
        zset_value: 64,
    };
}

/// How the elements are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// A packed list.
    Packed(Bytes),
    /// A packed list with room for expiries.
    Expiring(Bytes),
    /// Sorted integers.
    Integers(Bytes),
    /// A record each.
    Exploded {
        /// Names the records.
        generation: u64,
    },
    /// A record each, and an order that counts them.
    Ordered {
        /// Names the records.
        generation: u64,
        /// Root and bounds of the order.
        counts: Box<Counts>,
    },
}

/// The elements of a hash, a set or a sorted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// How many there are, expired ones that are not deleted yet included.
    pub count: u64,
    /// When the first of them expires, in Unix milliseconds, if one does.
    pub next_expiry_ms: Option<u64>,
    /// How they are kept.
    pub layout: Layout,
}

impl Collection {
    /// Bytes that [`Self::put_header`] appends.
    pub(super) fn header_len(&self, kind: KeyType) -> usize {
        match &self.layout {
            Layout::Packed(_) => 4,
            Layout::Integers(_) => 0,
            Layout::Ordered { counts, .. } => 16 + counts.encoded_len(),
            Layout::Exploded { .. } => 16 + if kind == KeyType::Hash { 8 } else { 0 },
            Layout::Expiring(_) => 12,
        }
    }

    /// Reads what stands behind the common part of the metadata record.
    pub(super) fn decode(kind: KeyType, encoding: u8, bytes: &Bytes) -> Option<Self> {
        let (is_hash, is_set) = (kind == KeyType::Hash, kind == KeyType::Set);
        if matches!(kind, KeyType::String | KeyType::List | KeyType::Stream) {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let expiry = |at_ms: u64| (at_ms != 0).then_some(at_ms);
        let collection = match encoding {
            PACKED => {
                let count = u64::from(reader.u32()?);
                let list = bytes.slice_ref(reader.rest());
                Self { count, next_expiry_ms: None, layout: Layout::Packed(list) }
            }
            INTEGERS if is_set => {
                let count = super::integers::count(bytes)?;
                Self { count, next_expiry_ms: None, layout: Layout::Integers(bytes.clone()) }
            }
            EXPLODED if is_hash || is_set => {
                let (generation, count) = (reader.u64()?, reader.u64()?);
                let next_expiry_ms = if is_hash { expiry(reader.u64()?) } else { None };
                reader.is_empty().then_some(())?;
                Self { count, next_expiry_ms, layout: Layout::Exploded { generation } }
            }
            EXPIRING if is_hash => {
                let next_expiry_ms = expiry(reader.u64()?);
                let count = u64::from(reader.u32()?);
                let list = bytes.slice_ref(reader.rest());
                Self { count, next_expiry_ms, layout: Layout::Expiring(list) }
            }
            ORDERED if kind == KeyType::ZSet => {
                let (generation, count) = (reader.u64()?, reader.u64()?);
                let counts = Box::new(Counts::decode(count, &mut reader)?);
                reader.is_empty().then_some(())?;
                Self { count, next_expiry_ms: None, layout: Layout::Ordered { generation, counts } }
            }
            _ => return None,
        };
        (collection.count > 0).then_some(collection)
    }

    /// The number of the encoding, stored and permanent.
    pub(super) fn encoding(&self) -> u8 {
        match self.layout {
            Layout::Packed(_) => PACKED,
            Layout::Integers(_) => INTEGERS,
            Layout::Exploded { .. } => EXPLODED,
            Layout::Expiring(_) => EXPIRING,
            Layout::Ordered { .. } => ORDERED,
        }
    }

    /// What stands between the common part of the metadata record and the elements.
    pub(super) fn put_header(&self, kind: KeyType, out: &mut Vec<u8>) {
        let next_expiry = self.next_expiry_ms.unwrap_or(0).to_le_bytes();
        let count_32 = u32::try_from(self.count).unwrap_or(u32::MAX).to_le_bytes();
        match &self.layout {
            Layout::Packed(_) => out.extend_from_slice(&count_32),
            Layout::Integers(_) => {}
            Layout::Ordered { generation, counts } => {
                out.extend_from_slice(&generation.to_le_bytes());
                out.extend_from_slice(&self.count.to_le_bytes());
                counts.encode(out);
            }
            Layout::Exploded { generation } => {
                out.extend_from_slice(&generation.to_le_bytes());
                out.extend_from_slice(&self.count.to_le_bytes());
                if kind == KeyType::Hash {
                    out.extend_from_slice(&next_expiry);
                }
            }
            Layout::Expiring(_) => {
                out.extend_from_slice(&next_expiry);
                out.extend_from_slice(&count_32);
            }
        }
    }

    /// The elements that are part of the metadata record.
    pub(super) fn packed_bytes(&self) -> &[u8] {
        match &self.layout {
            Layout::Packed(bytes) | Layout::Expiring(bytes) | Layout::Integers(bytes) => bytes,
            Layout::Exploded { .. } | Layout::Ordered { .. } => &[],
        }
    }

    /// The generation of the element records, if there are any.
    #[must_use]
    pub(super) fn generation(&self) -> Option<u64> {
        match self.layout {
            Layout::Exploded { generation } | Layout::Ordered { generation, .. } => {
                Some(generation)
            }
            Layout::Packed(_) | Layout::Expiring(_) | Layout::Integers(_) => None,
        }
    }

    /// What an element of this collection, of a key of type `kind`, holds.
    pub(super) fn shape(&self, kind: KeyType) -> Shape {
        Shape {
            values: matches!(kind, KeyType::Hash | KeyType::ZSet),
            expiries: matches!(self.layout, Layout::Expiring(_)),
        }
    }

    /// Whether fields have expired at `now_ms` that are not deleted yet.
    #[must_use]
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.next_expiry_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }
}

/// A collection that does not keep its promises.
pub(super) fn damaged(what: &str) -> Error {
    Error::Corruption { path: "collection".into(), offset: 0, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Body, Meta, StringForm};

    fn layout() -> impl Strategy<Value = (KeyType, Layout)> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let integers = proptest::collection::btree_set(any::<i64>(), 1..9)
            .prop_map(|set| super::super::integers::encode(&set.into_iter().collect::<Vec<_>>()));
        let kind = prop_oneof![Just(KeyType::Hash), Just(KeyType::Set)];
        let counts = any::<u64>().prop_map(|count| Box::new(Counts::of_items(count)));
        prop_oneof![
            (kind.clone(), bytes.clone()).prop_map(|(kind, list)| (kind, Layout::Packed(list))),
            bytes.prop_map(|list| (KeyType::Hash, Layout::Expiring(list))),
            integers.prop_map(|list| (KeyType::Set, Layout::Integers(list))),
            (kind, 1u64..).prop_map(|(kind, generation)| (kind, Layout::Exploded { generation })),
            (1u64.., counts).prop_map(|(generation, counts)| {
                (KeyType::ZSet, Layout::Ordered { generation, counts })
            }),
        ]
    }

    proptest! {
        #[test]
        fn decode_is_the_inverse_of_encode(
            (kind, layout) in layout(), count in 1u64..=u64::from(u32::MAX),
            expires_ms in any::<Option<u64>>(), next in proptest::option::of(1u64..),
        ) {
            let count = match &layout {
                Layout::Integers(list) => super::super::integers::count(list).unwrap(),
                Layout::Ordered { counts, .. } => counts.len(),
                _ => count,
            };
            let can_expire = matches!(layout, Layout::Expiring(_))
                || matches!(layout, Layout::Exploded { .. }) && kind == KeyType::Hash;
            let collection =
                Collection { count, next_expiry_ms: next.filter(|_| can_expire), layout };
            let body = Body::Collection(collection);
            let meta = Meta { kind, expires_ms, form: StringForm::Natural, body };
            prop_assert_eq!(Meta::decode(&meta.encode()).unwrap(), meta);
        }

        #[test]
        fn damage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), tag: u8) {
            let record = [&[tag & 0xf4, 0][..], &bytes].concat();
            let _ = Meta::decode(&record.into());
        }
    }

    #[test]
    fn unknown_encodings_and_impossible_ones_are_errors() {
        let record = |kind: KeyType, encoding: u8, rest: &[u8]| {
            let record = [&[kind as u8 | encoding << 4, 0][..], rest].concat();
            Meta::decode(&record.into())
        };
        let one = [1, 0, 0, 0];
        assert!(record(KeyType::Set, PACKED, &one).is_ok());
        assert!(record(KeyType::Set, PACKED, &[0; 4]).is_err(), "empty");
        assert!(record(KeyType::Set, PACKED, &[0; 3]).is_err(), "cut");
        assert!(record(KeyType::Hash, INTEGERS, &[2, 1, 0]).is_err(), "no hash of integers");
        assert!(record(KeyType::Set, INTEGERS, &[2, 1, 0]).is_ok());
        assert!(record(KeyType::Set, INTEGERS, &[3, 1, 0, 0]).is_err(), "no such width");
        assert!(record(KeyType::Set, EXPLODED, &[1; 16]).is_ok());
        assert!(record(KeyType::Set, EXPLODED, &[1; 17]).is_err(), "too long");
        assert!(record(KeyType::Hash, EXPLODED, &[1; 16]).is_err(), "too short");
        assert!(record(KeyType::Set, EXPIRING, &[1; 16]).is_err(), "members do not expire");
        assert!(record(KeyType::ZSet, PACKED, &one).is_ok());
        assert!(record(KeyType::ZSet, EXPLODED, &[1; 16]).is_err(), "no order");
        assert!(record(KeyType::ZSet, ORDERED, &[[1; 16].as_slice(), &[0; 3]].concat()).is_ok());
        assert!(record(KeyType::ZSet, ORDERED, &[[1; 16].as_slice(), &[0; 2]].concat()).is_err());
        assert!(record(KeyType::Set, ORDERED, &[[1; 16].as_slice(), &[0; 3]].concat()).is_err());
        assert!(record(KeyType::Hash, 0, &one).is_err(), "an encoding of strings");
        assert!(record(KeyType::Hash, 7, &[1; 30]).is_err());
    }
}
