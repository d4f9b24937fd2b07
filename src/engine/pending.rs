//! What the open batch has written: of each key the newest version, which only the transactions of the
//! writer see.
//!
//! A batch becomes visible as a whole, so what it has written of a key before nobody will ever see. A
//! key that many transactions of a batch write (the metadata of a queue, a count) costs the memtable
//! one version, which is put down when the batch is closed.

use bytes::Bytes;

use super::key_hash::hash_of;
use super::txn::{Overlay, Writes};
use super::{Direction, Found, KeyRange, Scan, SeqNo};

/// Room for more keys is not kept for the next batch.
const KEPT_KEYS_MAX: usize = 1 << 14;

/// The newest version of each key that the open batch has written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    writes: Writes,
    /// Of the same keys, in the same order.
    stamps: Vec<Stamp>,
}

/// What is known of a write beside its key and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) seq: SeqNo,
    /// Of the key.
    pub(super) hash: u64,
}

impl Pending {
    /// Sets the newest version of `key`; no value is a tombstone. `seq` never decreases.
    pub(super) fn set(&mut self, key: Bytes, seq: SeqNo, value: Option<Bytes>) {
        let hash = hash_of(&key);
        let place = self.writes.set_hashed(key, Some(hash), value);
        match self.stamps.get_mut(place) {
            Some(known) => known.seq = seq,
            None => self.stamps.push(Stamp { seq, hash }),
        }
    }

    /// The newest version of `key`, which has this hash, where it was written.
    pub(super) fn newest(&self, key: &[u8], hash: u64) -> Option<Found> {
        let place = self.writes.place_hashed(key, Some(hash))?;
        let (_, value) = self.writes.as_slice().get(place)?;
        Some(Found { seq: self.stamps.get(place)?.seq, value: value.clone() })
    }

    /// Lays what was written within `range`, which is not empty, over what is `below`.
    pub(super) fn over<'a>(
        &'a self,
        below: Scan<'a>,
        range: &KeyRange,
        direction: Direction,
    ) -> Scan<'a> {
        Overlay::lay(&self.writes, below, range, direction)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// The keys in the order in which they were first written, each with its newest version.
    pub(super) fn versions(&self) -> (&[(Bytes, Option<Bytes>)], &[Stamp]) {
        (self.writes.as_slice(), &self.stamps)
    }

    /// The batch is closed.
    pub(super) fn clear(&mut self) {
        if self.stamps.len() > KEPT_KEYS_MAX {
            *self = Self::default();
        } else {
            self.writes.clear();
            self.stamps.clear();
        }
    }
}
