//! The engine keys of a database's records.
//!
//! ```text
//! metadata      keyspace u32 BE | 0 | slot u16 BE | user key
//! element       keyspace u32 BE | 1 | slot u16 BE | generation u64 BE | element
//! expiry index  keyspace u32 BE | 2 | expiry in Unix ms, u64 BE | user key
//! generation    keyspace u32 BE | 3 | slot u16 BE | generation u64 BE
//! field expiry  keyspace u32 BE | 4 | earliest expiry of a field in Unix ms, u64 BE | user key
//! ```
//!
//! - All records of a keyspace are one range, so that a flushed database is dropped as a whole.
//! - The metadata records of a keyspace are one range of nothing else, and the user key comes
//!   last, as it is: `KEYS`, `SCAN` and `RANDOMKEY` walk that range in the order of the user keys,
//!   and a literal prefix of a pattern is a prefix of the engine key.
//! - The slot is 0 while cluster mode is off. With it on, a slot is one range of metadata and one
//!   of elements.
//! - Elements are named by their generation alone, not by the user key: `RENAME` of a value of any
//!   size moves its metadata record. Generations come from the root record and are never used
//!   twice. For a chunked string the element is the number of the chunk, u32 BE. For a collection it
//!   is an order, u64 BE, and a name; what the orders are stands in `exploded.rs`.
//! - A generation record exists exactly as long as its value does. It is what tells compaction whether
//!   an element can still be read; nobody else reads it. Its value is empty, as a rule. With 1 and some
//!   bytes behind it, elements that come before those bytes (compared with what follows the generation
//!   in their keys) are dead. With 2 and a generation, u64 BE, that generation is part of the value of
//!   the other one, and dies with it.
//! - What follows the generation in the keys of a stream stands in `stream/mod.rs`.
//! - The value of an expiry index record is empty, or the generation of the key, u64 LE (0 for none),
//!   and behind it, u64 LE, the earliest expiry of its fields if some expire: expiry needs no other
//!   record to delete a key.
//! - A field expiry record (its value is empty) leads active expiry to a hash some fields of which
//!   expire. There is one for each such hash.
//! - Libraries of functions have records beside all databases, see `libraries.rs`.

use std::ops::{Bound, Range};

use bytes::Bytes;
use smallvec::SmallVec;

use super::exploded::TIMES;
use crate::engine::KeyRange;

/// Which byte of an engine key tells the kind of its record.
pub const KIND_AT: usize = 4;
/// Which byte tells the members of a collection (below 0x80) from what orders them (0x80) and what counts
/// that order (above).
pub const SHARE_AT: usize = ELEMENT_PREFIX_LEN;

/// Bytes before the user key of a metadata record.
pub(super) const META_PREFIX_LEN: usize = 7;
/// Bytes before the element of an element record.
pub(super) const ELEMENT_PREFIX_LEN: usize = 15;
const EXPIRY_PREFIX_LEN: usize = 13;

const META: u8 = 0;
const ELEMENT: u8 = 1;
const EXPIRY: u8 = 2;
const GENERATION: u8 = 3;
const FIELD_EXPIRY: u8 = 4;
const BEHIND_FIELD_EXPIRY: u8 = 5;
const LIBRARY: u8 = 6;
const BEHIND_LIBRARY: u8 = 7;

/// The keyspace of libraries, the last one, which no database has.
pub(super) const LIBRARIES_KEYSPACE: u32 = u32::MAX;
const LIBRARIES: [u8; 4] = LIBRARIES_KEYSPACE.to_be_bytes();

/// First byte of the value of a generation record.
const STARTS: u8 = 1;
const BELONGS: u8 = 2;

/// An engine key that is only looked up; on the stack where it is short.
pub(super) type KeyBuf = SmallVec<[u8; KEY_BUF_BYTES]>;
const KEY_BUF_BYTES: usize = 64;

/// What a record is, told from its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Metadata (and small value) of a key.
    Meta,
    /// A part of the value of this generation.
    Element {
        /// The generation.
        generation: u64,
    },
    /// Expiry index.
    Expiry {
        /// When the key expires, in Unix milliseconds.
        at_ms: u64,
    },
    /// Says that a generation is alive.
    Generation,
    /// Index of the expiries of fields.
    FieldExpiry {
        /// When the first field of the key expires, in Unix milliseconds.
        at_ms: u64,
    },
    /// A library of functions.
    Library,
}

/// Keyspace id and kind of a record; `None` for a key that is not of this layout.
#[must_use]
pub(super) fn parse(key: &[u8]) -> Option<(u32, Kind)> {
    let (keyspace, rest) = key.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first()?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(*bytes.first_chunk::<8>()?));
    let kind = match *kind {
        META => rest.get(2..).map(|_| Kind::Meta)?,
        ELEMENT => Kind::Element { generation: number(rest.get(2..)?)? },
        EXPIRY => Kind::Expiry { at_ms: number(rest)? },
        GENERATION => number(rest.get(2..)?).map(|_| Kind::Generation)?,
        FIELD_EXPIRY => Kind::FieldExpiry { at_ms: number(rest)? },
        LIBRARY if *keyspace == LIBRARIES => Kind::Library,
        _ => return None,
    };
    Some((u32::from_be_bytes(*keyspace), kind))
}

fn prefix(keyspace: u32, kind: u8) -> [u8; META_PREFIX_LEN] {
    let [a, b, c, d] = keyspace.to_be_bytes();
    [a, b, c, d, kind, 0, 0]
}

fn element_prefix(keyspace: u32, generation: u64) -> [u8; ELEMENT_PREFIX_LEN] {
    let mut key = [0; ELEMENT_PREFIX_LEN];
    key[..META_PREFIX_LEN].copy_from_slice(&prefix(keyspace, ELEMENT));
    key[META_PREFIX_LEN..].copy_from_slice(&generation.to_be_bytes());
    key
}

/// `head` and `rest` behind one another: most keys are short, and put together in place.
#[inline]
fn joined<const HEAD: usize>(head: [u8; HEAD], rest: &[u8]) -> KeyBuf {
    let mut bytes = [0; KEY_BUF_BYTES];
    let len = HEAD + rest.len();
    match bytes.get_mut(HEAD..len) {
        Some(place) => {
            place.copy_from_slice(rest);
            bytes[..HEAD].copy_from_slice(&head);
            KeyBuf::from_buf_and_len(bytes, len)
        }
        None => KeyBuf::from_vec([&head, rest].concat()),
    }
}

/// Key of the metadata record of `user_key`.
#[must_use]
pub(super) fn meta(keyspace: u32, user_key: &[u8]) -> KeyBuf {
    joined(prefix(keyspace, META), user_key)
}

/// As [`meta`], to be kept.
#[must_use]
pub(super) fn meta_bytes(keyspace: u32, user_key: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(META_PREFIX_LEN + user_key.len());
    key.extend_from_slice(&prefix(keyspace, META));
    key.extend_from_slice(user_key);
    key.into()
}

/// Key of the record of a library; with an empty name, of the digest of all.
#[must_use]
pub(super) fn library(name: &[u8]) -> KeyBuf {
    let mut key = KeyBuf::from_slice(&LIBRARIES);
    key.push(LIBRARY);
    key.extend_from_slice(name);
    key
}

/// The first key behind the records of libraries.
#[must_use]
pub(super) fn behind_libraries() -> KeyBuf {
    let mut key = KeyBuf::from_slice(&LIBRARIES);
    key.push(BEHIND_LIBRARY);
    key
}

/// The user key of a metadata record.
#[must_use]
pub(super) fn meta_user_key(key: &Bytes) -> Bytes {
    key.slice(META_PREFIX_LEN.min(key.len())..)
}

/// The metadata records of all user keys within the bounds.
#[must_use]
pub(super) fn meta_range(keyspace: u32, start: Bound<&[u8]>, end: Bound<&[u8]>) -> KeyRange {
    let full = |user_key: &[u8]| meta_bytes(keyspace, user_key);
    let start = match start {
        Bound::Included(user_key) => Bound::Included(full(user_key)),
        Bound::Excluded(user_key) => Bound::Excluded(full(user_key)),
        Bound::Unbounded => Bound::Included(full(b"")),
    };
    let end = match end {
        Bound::Included(user_key) => Bound::Included(full(user_key)),
        Bound::Excluded(user_key) => Bound::Excluded(full(user_key)),
        Bound::Unbounded => Bound::Excluded(Bytes::copy_from_slice(&prefix(keyspace, ELEMENT))),
    };
    (start, end)
}

/// Key of one chunk of the value of `generation`.
#[must_use]
pub(super) fn chunk(keyspace: u32, generation: u64, chunk: u32) -> [u8; ELEMENT_PREFIX_LEN + 4] {
    let mut key = [0; ELEMENT_PREFIX_LEN + 4];
    key[..ELEMENT_PREFIX_LEN].copy_from_slice(&element_prefix(keyspace, generation));
    key[ELEMENT_PREFIX_LEN..].copy_from_slice(&chunk.to_be_bytes());
    key
}

/// The number of a chunk, from its key.
#[must_use]
pub(super) fn chunk_number(key: &[u8]) -> Option<u32> {
    key.get(ELEMENT_PREFIX_LEN..)?.try_into().ok().map(u32::from_be_bytes)
}

/// Key of an element of a collection.
#[must_use]
pub(super) fn element(keyspace: u32, generation: u64, order: u64, name: &[u8]) -> KeyBuf {
    let mut head = [0; ELEMENT_PREFIX_LEN + 8];
    head[..ELEMENT_PREFIX_LEN].copy_from_slice(&element_prefix(keyspace, generation));
    head[ELEMENT_PREFIX_LEN..].copy_from_slice(&order.to_be_bytes());
    joined(head, name)
}

/// The elements of a collection from order `from` up to `to`, which does not belong to the range;
/// without it to the end.
#[must_use]
pub(super) fn elements(keyspace: u32, generation: u64, from: u64, to: Option<u64>) -> KeyRange {
    let end = match to {
        // As short as the first key behind them can be.
        Some(TIMES) => part(keyspace, generation, &[0x80], b""),
        Some(to) => element(keyspace, generation, to, b""),
        // Not at an order of the next generation: the first chunk of a string stands before all of them.
        None => part(keyspace, generation.saturating_add(1), b"", b""),
    };
    // Nor at an order of this one: what is named by bytes may be shorter.
    let start = match from {
        0 => part(keyspace, generation, b"", b""),
        from => element(keyspace, generation, from, b""),
    };
    (Bound::Included(Bytes::copy_from_slice(&start)), Bound::Excluded(Bytes::copy_from_slice(&end)))
}

/// Order and name of an element of a collection.
#[must_use]
pub(super) fn parse_element(key: &Bytes) -> Option<(u64, Bytes)> {
    let order = key.get(ELEMENT_PREFIX_LEN..)?.first_chunk::<8>()?;
    Some((u64::from_be_bytes(*order), key.slice(ELEMENT_PREFIX_LEN + 8..)))
}

/// Order and name of an element of a collection, where they stand.
#[must_use]
pub(super) fn split_element(key: &[u8]) -> Option<(u64, &[u8])> {
    let (order, name) = key.get(ELEMENT_PREFIX_LEN..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*order), name))
}

/// Key of a record of a collection, from what stands behind the generation: two parts of it.
#[must_use]
pub(super) fn part(keyspace: u32, generation: u64, tag: &[u8], rest: &[u8]) -> KeyBuf {
    let mut key = KeyBuf::from_slice(&element_prefix(keyspace, generation));
    key.extend_from_slice(tag);
    key.extend_from_slice(rest);
    key
}

/// As [`part`], to be kept.
#[must_use]
pub(super) fn part_bytes(keyspace: u32, generation: u64, tag: &[u8], rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(ELEMENT_PREFIX_LEN + tag.len() + rest.len());
    key.extend_from_slice(&element_prefix(keyspace, generation));
    key.extend_from_slice(tag);
    key.extend_from_slice(rest);
    key.into()
}

/// What stands behind the generation in the key of a record of a collection.
#[must_use]
pub(super) fn parse_part(key: &Bytes) -> Bytes {
    key.slice(ELEMENT_PREFIX_LEN.min(key.len())..)
}

/// As [`parse_part`].
#[must_use]
pub(super) fn split_part(key: &[u8]) -> &[u8] {
    key.get(ELEMENT_PREFIX_LEN..).unwrap_or_default()
}

/// The elements that are named by bytes from `from` to `to`, both included.
#[must_use]
pub(super) fn parts(keyspace: u32, generation: u64, from: &[u8], to: &[u8]) -> KeyRange {
    let full = |name| Bytes::copy_from_slice(&part(keyspace, generation, name, &[]));
    (Bound::Included(full(from)), Bound::Included(full(to)))
}

/// The elements that are named by bytes from `from` up to `to`, which does not belong to the range.
#[must_use]
pub(super) fn parts_before(keyspace: u32, generation: u64, from: &[u8], to: &[u8]) -> KeyRange {
    let full = |name| Bytes::copy_from_slice(&part(keyspace, generation, name, &[]));
    (Bound::Included(full(from)), Bound::Excluded(full(to)))
}

/// Value of a generation record: elements before `start` are dead.
#[must_use]
pub(super) fn generation_from(start: &[u8]) -> Bytes {
    [&[STARTS][..], start].concat().into()
}

/// Value of a generation record: it dies with the generation `parent`.
#[must_use]
pub(super) fn generation_of_parent(parent: u64) -> Bytes {
    [&[BELONGS][..], &parent.to_be_bytes()].concat().into()
}

/// Where the live elements start, from the value of a generation record.
#[must_use]
pub(super) fn start_of_generation(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(&[STARTS])
}

/// What the generation is part of, from the value of its record.
#[must_use]
pub(super) fn parent_of_generation(value: &[u8]) -> Option<u64> {
    let parent = value.strip_prefix(&[BELONGS])?;
    Some(u64::from_be_bytes(parent.try_into().ok()?))
}

/// Key of the record that says that `generation` is alive.
#[must_use]
pub(super) fn generation(keyspace: u32, generation: u64) -> [u8; ELEMENT_PREFIX_LEN] {
    let mut key = [0; ELEMENT_PREFIX_LEN];
    key[..META_PREFIX_LEN].copy_from_slice(&prefix(keyspace, GENERATION));
    key[META_PREFIX_LEN..].copy_from_slice(&generation.to_be_bytes());
    key
}

/// The generation that a generation record is about, from its key.
#[must_use]
pub(super) fn generation_number(key: &[u8]) -> Option<u64> {
    key.get(META_PREFIX_LEN..)?.try_into().ok().map(u64::from_be_bytes)
}

/// The element records of all generations.
#[must_use]
pub(super) fn all_elements(keyspace: u32) -> KeyRange {
    let bytes = |kind| Bytes::copy_from_slice(&prefix(keyspace, kind));
    (Bound::Included(bytes(ELEMENT)), Bound::Excluded(bytes(EXPIRY)))
}

/// The records of a keyspace that are of no kind known here.
#[must_use]
pub(super) fn unknown_kinds(keyspace: u32) -> KeyRange {
    let start = Bytes::copy_from_slice(&prefix(keyspace, BEHIND_FIELD_EXPIRY)[..=KIND_AT]);
    (Bound::Included(start), keyspaces(keyspace..keyspace.saturating_add(1)).1)
}

/// Key of the expiry index record of `user_key`.
#[must_use]
pub(super) fn expiry(keyspace: u32, at_ms: u64, user_key: &[u8]) -> Bytes {
    timed(keyspace, EXPIRY, at_ms, user_key)
}

/// Value of an expiry index record: what else there is of the key.
#[must_use]
pub(super) fn expiry_value(generation: Option<u64>, next_field_ms: Option<u64>) -> Bytes {
    let mut value = Vec::with_capacity(16);
    if generation.is_some() || next_field_ms.is_some() {
        value.extend_from_slice(&generation.unwrap_or(0).to_le_bytes());
    }
    if let Some(at_ms) = next_field_ms {
        value.extend_from_slice(&at_ms.to_le_bytes());
    }
    value.into()
}

/// Generation and earliest expiry of a field, from the value of an expiry index record.
#[must_use]
pub(super) fn parse_expiry_value(value: &[u8]) -> (Option<u64>, Option<u64>) {
    let number = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_le_bytes(*bytes));
    let generation = number(value.first_chunk::<8>()).filter(|generation| *generation != 0);
    let next_field_ms = value.get(8..).and_then(|rest| number(rest.first_chunk::<8>()));
    (generation, next_field_ms)
}

/// Key of the record that leads to the fields of `user_key` that expire.
#[must_use]
pub(super) fn field_expiry(keyspace: u32, at_ms: u64, user_key: &[u8]) -> Bytes {
    timed(keyspace, FIELD_EXPIRY, at_ms, user_key)
}

fn timed(keyspace: u32, kind: u8, at_ms: u64, user_key: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(EXPIRY_PREFIX_LEN + user_key.len());
    key.extend_from_slice(&keyspace.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(&at_ms.to_be_bytes());
    key.extend_from_slice(user_key);
    key.into()
}

/// Expiry and user key of an expiry index record, or of one of the index of fields.
#[must_use]
pub(super) fn parse_expiry(key: &Bytes) -> Option<(u64, Bytes)> {
    match parse(key)? {
        (_, Kind::Expiry { at_ms } | Kind::FieldExpiry { at_ms }) => {
            Some((at_ms, key.slice(EXPIRY_PREFIX_LEN..)))
        }
        _ => None,
    }
}

/// All records of these keyspaces.
#[must_use]
pub(super) fn keyspaces(ids: Range<u32>) -> KeyRange {
    let bytes = |id: u32| Bytes::copy_from_slice(&id.to_be_bytes());
    (Bound::Included(bytes(ids.start)), Bound::Excluded(bytes(ids.end)))
}

/// The expiry index records from `from_ms` to `to_ms`, both included.
#[must_use]
pub(super) fn expiry_range(keyspace: u32, from_ms: u64, to_ms: u64) -> KeyRange {
    let end = match to_ms.checked_add(1) {
        Some(end_ms) => expiry(keyspace, end_ms, b""),
        None => behind_expiries(keyspace),
    };
    (Bound::Included(expiry(keyspace, from_ms, b"")), Bound::Excluded(end))
}

/// Where the index of expiries ends; no longer than the kind, so that a memtable knows that what is
/// before it is of one kind.
fn behind_expiries(keyspace: u32) -> Bytes {
    Bytes::copy_from_slice(&prefix(keyspace, GENERATION)[..=KIND_AT])
}

/// The records of the index of fields from `from_ms` to `to_ms`, both included.
#[must_use]
pub(super) fn field_expiry_range(keyspace: u32, from_ms: u64, to_ms: u64) -> KeyRange {
    let end = match to_ms.checked_add(1) {
        Some(end_ms) => field_expiry(keyspace, end_ms, b""),
        None => Bytes::copy_from_slice(&prefix(keyspace, BEHIND_FIELD_EXPIRY)),
    };
    (Bound::Included(field_expiry(keyspace, from_ms, b"")), Bound::Excluded(end))
}

/// The expiry index records within bounds that are entries of [`expiry_entry`].
#[must_use]
pub(super) fn expiry_entries(keyspace: u32, start: &[u8], end: Option<&[u8]>) -> KeyRange {
    let full = |entry: &[u8]| {
        let mut key = Vec::with_capacity(5 + entry.len());
        key.extend_from_slice(&keyspace.to_be_bytes());
        key.push(EXPIRY);
        key.extend_from_slice(entry);
        Bytes::from(key)
    };
    let end = match end {
        Some(entry) => full(entry),
        None => behind_expiries(keyspace),
    };
    (Bound::Included(full(start)), Bound::Excluded(end))
}

/// What stands behind keyspace and kind in the key of an expiry index record: the time in eight
/// bytes, big-endian, and the user key.
#[must_use]
pub(super) fn expiry_entry(key: &Bytes) -> Bytes {
    key.slice(EXPIRY_PREFIX_LEN.saturating_sub(8).min(key.len())..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_end_with_their_generation() {
        let range = elements(7, 9, 0, None);
        let holds =
            |key: &[u8]| std::ops::RangeBounds::contains(&range, &Bytes::copy_from_slice(key));
        assert!(holds(&element(7, 9, u64::MAX, b"n")) && holds(&chunk(7, 9, u32::MAX)));
        assert!(holds(&chunk(7, 9, 0)) && holds(&part(7, 9, &[0], b"")));
        assert!(!holds(&chunk(7, 10, 0)) && !holds(&element(7, 10, 0, b"")));
        assert!(!holds(&chunk(7, 8, u32::MAX)));
    }

    #[test]
    fn kinds_are_told_from_keys() {
        assert_eq!(parse(&meta(7, b"k")), Some((7, Kind::Meta)));
        assert_eq!(parse(&meta(7, b"")), Some((7, Kind::Meta)));
        assert_eq!(parse(&chunk(7, 9, 1)), Some((7, Kind::Element { generation: 9 })));
        assert_eq!(parse(&generation(7, 9)), Some((7, Kind::Generation)));
        assert_eq!(parse(&expiry(7, 5, b"k")), Some((7, Kind::Expiry { at_ms: 5 })));
        assert_eq!(parse(&field_expiry(7, 5, b"k")), Some((7, Kind::FieldExpiry { at_ms: 5 })));
        assert_eq!(parse_expiry(&expiry(7, 5, b"k")), Some((5, Bytes::from("k"))));
        assert_eq!(parse_expiry(&field_expiry(7, 5, b"k")), Some((5, Bytes::from("k"))));
        let element = Bytes::copy_from_slice(&element(7, 9, 3, b"n"));
        assert_eq!(parse(&element), Some((7, Kind::Element { generation: 9 })));
        assert_eq!(parse_element(&element), Some((3, Bytes::from("n"))));
        for bad in [&b""[..], b"abc", &[0, 0, 0, 0], &[0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 0, 0]] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn the_elements_of_a_generation_end_before_the_next_one() {
        use std::ops::RangeBounds as _;

        let all = elements(7, 9, 0, None);
        for inside in [element(7, 9, 0, b""), element(7, 9, u64::MAX, b"\xff\xff")] {
            assert!(all.contains(&Bytes::copy_from_slice(&inside)));
        }
        for next in [&chunk(7, 10, 0)[..], &chunk(7, 10, 1), &element(7, 10, 0, b"")] {
            assert!(!all.contains(&Bytes::copy_from_slice(next)), "{next:?}");
        }
    }

    #[test]
    fn user_keys_keep_their_order() {
        let mut keys: Vec<&[u8]> = vec![b"", b"a", b"a\0", b"a\xff", b"b", b"\xff\xff"];
        keys.sort_unstable();
        let engine: Vec<KeyBuf> = keys.iter().map(|key| meta(1, key)).collect();
        assert!(engine.is_sorted());
        let (_, Bound::Excluded(end)) = meta_range(1, Bound::Unbounded, Bound::Unbounded) else {
            panic!("open end");
        };
        assert!(engine.iter().all(|key| key[..] < end[..]));
    }
}
