//! One version of a key in memory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use bytes::{Buf, Bytes};
use triomphe::ThinArc;

use super::super::key_hash::hash_of;
use super::super::{Found, Record, SeqNo};

/// Values up to this size are handed out as copies; larger ones share the memory of the entry.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// Entries up to this size are put together on the stack.
const STACK_BYTES: usize = 160;

/// Bytes of the length of the key.
const KEY_LEN_BYTES: usize = 4;

/// One version of a key: key and value in one piece of memory with its reference count. A clone
/// shares it. 24 bytes, so that a row of the hash map lies in one line of the processor's cache.
///
/// In a map it stands for its key: there two versions of one key are equal. It brings the hash of
/// its key ([`hash_of`]), so that a map which grows looks at no key.
#[derive(Clone)]
pub(in crate::engine) struct Entry {
    memory: Memory,
    hash: u64,
    /// Sequence number, and in the lowest bit whether it sets the key; else it is a tombstone.
    stamp: u64,
}

/// Length of the key (u32, little-endian), key, value.
#[derive(Clone)]
struct Memory(ThinArc<(), u8>);

impl Memory {
    fn of(key: &[u8], value: &[u8]) -> Self {
        let key_len = u32::try_from(key.len()).expect("the writer checks the length of keys");
        let key_len = key_len.to_le_bytes();
        let key_end = KEY_LEN_BYTES + key.len();
        let end = key_end + value.len();
        let mut stack = [0; STACK_BYTES];
        let Some(bytes) = stack.get_mut(..end) else {
            let bytes = [&key_len, key, value].concat();
            return Self(ThinArc::from_header_and_slice((), &bytes));
        };
        bytes[..KEY_LEN_BYTES].copy_from_slice(&key_len);
        bytes[KEY_LEN_BYTES..key_end].copy_from_slice(key);
        bytes[key_end..].copy_from_slice(value);
        Self(ThinArc::from_header_and_slice((), bytes))
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.0.slice
    }
}

impl Entry {
    /// A copy of `key` and `value`; `None` is a tombstone.
    ///
    /// # Panics
    /// Where the key is longer than 4 GiB; the writer takes at most 1 MiB.
    pub(in crate::engine) fn new(key: &[u8], seq: SeqNo, value: Option<&[u8]>) -> Self {
        Self::hashed(hash_of(key), key, seq, value)
    }

    /// As [`Self::new`], where the hash of the key is known.
    pub(in crate::engine) fn hashed(
        hash: u64,
        key: &[u8],
        seq: SeqNo,
        value: Option<&[u8]>,
    ) -> Self {
        let stamp = seq << 1 | u64::from(value.is_some());
        Self { memory: Memory::of(key, value.unwrap_or_default()), hash, stamp }
    }

    pub(in crate::engine) fn seq(&self) -> SeqNo {
        self.stamp >> 1
    }

    fn bytes(&self) -> &[u8] {
        self.memory.as_ref()
    }

    /// The hash of its key, by [`hash_of`].
    pub(in crate::engine) fn hash(&self) -> u64 {
        self.hash
    }

    /// Where the key ends and the value begins.
    fn key_end(&self) -> usize {
        let len = self.bytes().first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        KEY_LEN_BYTES + len as usize
    }

    pub(in crate::engine) fn key(&self) -> &[u8] {
        self.bytes().get(KEY_LEN_BYTES..self.key_end()).unwrap_or_default()
    }

    /// The value; `None` is a tombstone.
    pub(in crate::engine) fn value(&self) -> Option<&[u8]> {
        (!self.is_tombstone()).then(|| self.bytes().get(self.key_end()..).unwrap_or_default())
    }

    /// Bytes of key and value.
    pub(in crate::engine) fn len(&self) -> usize {
        self.bytes().len() - KEY_LEN_BYTES
    }

    /// Asks for the memory of key and value; small values lie in the line of the key or the next.
    pub(in crate::engine) fn prefetch(&self) {
        std::hint::black_box((self.bytes().first().copied(), self.bytes().last().copied()));
    }

    /// Stands where there is no version.
    pub(super) fn hole() -> Self {
        Self { memory: Memory(ThinArc::from_header_and_slice((), &[])), hash: 0, stamp: 0 }
    }

    /// Whether both share one memory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.memory.0.ptr() == other.memory.0.ptr()
    }

    pub(in crate::engine) fn is_tombstone(&self) -> bool {
        self.stamp & 1 == 0
    }

    pub(in crate::engine) fn found(&self) -> Found {
        Found { seq: self.seq(), value: self.value().map(|value| self.hand_out(value)) }
    }

    /// The record, which shares the memory of the entry: a walk hands out many, and keeps few.
    pub(in crate::engine) fn into_record(self) -> Record {
        if self.len() > COPIED_BYTES_MAX {
            // Who keeps the key keeps no large value with it.
            let Found { seq, value } = self.found();
            return Record { key: Bytes::copy_from_slice(self.key()), seq, value };
        }
        let (seq, is_tombstone, key_end) = (self.seq(), self.is_tombstone(), self.key_end());
        let mut key = Bytes::from_owner(self.memory);
        let value = (!is_tombstone).then(|| key.slice(key_end..));
        key.truncate(key_end);
        key.advance(KEY_LEN_BYTES);
        Record { key, seq, value }
    }

    fn hand_out(&self, value: &[u8]) -> Bytes {
        if value.len() <= COPIED_BYTES_MAX {
            return Bytes::copy_from_slice(value);
        }
        Bytes::from_owner(self.memory.clone()).slice(self.key_end()..)
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { key: self.key(), seq: self.seq() }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("key", &self.key()).field("seq", &self.seq()).finish()
    }
}

impl Borrow<[u8]> for Entry {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

/// A place in the order of versions: by key, then from the newest to the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) key: &'a [u8],
    pub(super) seq: SeqNo,
}

impl Ord for Place<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(other.key).then_with(|| other.seq.cmp(&self.seq))
    }
}

impl PartialOrd for Place<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
