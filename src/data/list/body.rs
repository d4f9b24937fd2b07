//! What the metadata record says of a list.
//!
//! ```text
//! encoding 2 (packed):  elements u32, then the packed list to the end of the record
//! encoding 6 (dense):   generation u64, head u64, elements u64, listpack bytes u64
//! encoding 7 (indexed): the same with the tail behind the head; then the counts of the order
//! ```
//!
//! All integers are little-endian. How a packed list looks stands in `packed.rs`, the counts of an order
//! in `counted/mod.rs`. The *listpack bytes*
//! are what the elements would take in a listpack of Redis. A list without elements does not exist.

use bytes::Bytes;

use super::indexed::Indexed;
use crate::data::counted::Counts;
use crate::engine::coding::Reader;

const PACKED: u8 = 2;
const DENSE: u8 = 6;
const INDEXED: u8 = 7;

/// Where the elements of a list are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListBody {
    /// In the metadata record.
    Packed {
        /// How many there are.
        count: u64,
        /// The packed list.
        list: Bytes,
    },
    /// A record each, at positions without a gap.
    Dense(Dense),
    /// A record each, in a counted order.
    Indexed(Indexed),
}

/// A list of element records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    /// Names the records.
    pub(super) generation: u64,
    /// Position of the first element.
    pub(super) head: u64,
    /// How many elements there are.
    pub(super) count: u64,
    /// What they would take in a listpack.
    pub(super) bytes: u64,
}

impl ListBody {
    /// Bytes that [`Self::put_header`] appends.
    pub(in crate::data) fn header_len(&self) -> usize {
        match self {
            Self::Packed { .. } => 4,
            Self::Dense(_) => 32,
            Self::Indexed(indexed) => 40 + indexed.counts.encoded_len(),
        }
    }

    /// Reads what stands behind the common part of the metadata record.
    pub(in crate::data) fn decode(encoding: u8, bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let body = match encoding {
            PACKED => {
                let count = u64::from(reader.u32()?);
                Self::Packed { count, list: bytes.slice_ref(reader.rest()) }
            }
            DENSE => {
                let mut number = || reader.u64();
                let (generation, head) = (number()?, number()?);
                let (count, bytes) = (number()?, number()?);
                head.checked_add(count)?;
                reader.is_empty().then_some(())?;
                Self::Dense(Dense { generation, head, count, bytes })
            }
            INDEXED => {
                let mut number = || reader.u64();
                let (generation, head, tail) = (number()?, number()?, number()?);
                let (count, bytes) = (number()?, number()?);
                let counts = Counts::decode(count, &mut reader)?;
                reader.is_empty().then_some(())?;
                Self::Indexed(Indexed { generation, head, tail, bytes, counts })
            }
            _ => return None,
        };
        (body.count() > 0).then_some(body)
    }

    /// The number of the encoding, stored and permanent.
    pub(in crate::data) fn encoding(&self) -> u8 {
        match self {
            Self::Packed { .. } => PACKED,
            Self::Dense(_) => DENSE,
            Self::Indexed(_) => INDEXED,
        }
    }

    /// What stands between the common part of the metadata record and the elements.
    pub(in crate::data) fn put_header(&self, out: &mut Vec<u8>) {
        match self {
            Self::Packed { count, .. } => {
                let count = u32::try_from(*count).unwrap_or(u32::MAX);
                out.extend_from_slice(&count.to_le_bytes());
            }
            Self::Dense(Dense { generation, head, count, bytes }) => {
                for number in [generation, head, count, bytes] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::Indexed(Indexed { generation, head, tail, bytes, counts }) => {
                for number in [generation, head, tail, &counts.len(), bytes] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                counts.encode(out);
            }
        }
    }

    /// The elements that are part of the metadata record.
    pub(in crate::data) fn packed_bytes(&self) -> &[u8] {
        match self {
            Self::Packed { list, .. } => list,
            Self::Dense(_) | Self::Indexed(_) => &[],
        }
    }

    /// The generation of the element records, if there are any.
    #[must_use]
    pub(in crate::data) fn generation(&self) -> Option<u64> {
        match self {
            Self::Packed { .. } => None,
            Self::Dense(dense) => Some(dense.generation),
            Self::Indexed(indexed) => Some(indexed.generation),
        }
    }

    /// The same list with its element records under another generation.
    #[must_use]
    pub(in crate::data) fn with_generation(&self, generation: u64) -> Self {
        match self {
            Self::Packed { .. } => self.clone(),
            Self::Dense(dense) => Self::Dense(Dense { generation, ..*dense }),
            Self::Indexed(indexed) => Self::Indexed(Indexed { generation, ..indexed.clone() }),
        }
    }

    /// How many elements there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Packed { count, .. } => *count,
            Self::Dense(dense) => dense.count,
            Self::Indexed(indexed) => indexed.counts.len(),
        }
    }

    /// Whether the elements sit in the metadata record.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        matches!(self, Self::Packed { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Body, KeyType, Meta, StringForm};

    fn body() -> impl Strategy<Value = ListBody> {
        let list = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        prop_oneof![
            (1..1000_u64, list).prop_map(|(count, list)| ListBody::Packed { count, list }),
            (any::<u64>(), 0..1_u64 << 63, 1..1_u64 << 62, any::<u64>()).prop_map(
                |(generation, head, count, bytes)| ListBody::Dense(Dense {
                    generation,
                    head,
                    count,
                    bytes
                })
            ),
            (any::<[u64; 4]>(), 1..1000_u64).prop_map(|([generation, head, tail, bytes], len)| {
                let counts = Counts::of_items(len);
                ListBody::Indexed(Indexed { generation, head, tail, bytes, counts })
            }),
        ]
    }

    proptest! {
        #[test]
        fn decode_is_the_inverse_of_encode(
            expires_ms in any::<Option<u64>>(), body in body(),
        ) {
            let (kind, form) = (KeyType::List, StringForm::Natural);
            let meta = Meta { kind, expires_ms, form, body: Body::List(body) };
            prop_assert_eq!(Meta::decode(&meta.encode()).unwrap(), meta);
        }

        #[test]
        fn damage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), tag: u8) {
            let record = [&[KeyType::List as u8 | (tag << 4), 0][..], &bytes].concat();
            let _ = Meta::decode(&record.into());
        }
    }

    #[test]
    fn impossible_records_are_errors() {
        let record = |encoding: u8, rest: &[u8]| {
            let record = [&[KeyType::List as u8 | encoding << 4, 0][..], rest].concat();
            Meta::decode(&record.into())
        };
        assert!(record(PACKED, &[1, 0, 0, 0]).is_ok());
        assert!(record(PACKED, &[0; 4]).is_err(), "empty");
        assert!(record(PACKED, &[1; 3]).is_err(), "cut");
        assert!(record(DENSE, &[1; 32]).is_ok());
        assert!(record(DENSE, &[1; 31]).is_err(), "cut");
        assert!(record(DENSE, &[1; 33]).is_err(), "too long");
        assert!(record(DENSE, &[0xff; 32]).is_err(), "beyond the last position");
        assert!(record(3, &[2, 1, 0]).is_err(), "no list of integers");
        assert!(record(4, &[1; 24]).is_err());
    }
}
