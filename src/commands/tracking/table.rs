//! Who has read which key.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::engine::BuildKeyHasher;

/// Parts with a lock of their own.
const SHARDS: usize = 64;
/// Keys that are given back at once.
const FREED_MAX: usize = 4096;

/// A client that has read a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    /// Its id.
    pub(super) client: u64,
    /// Its reply with the value: an invalidation comes behind that. 0 where it does so anyway.
    pub(super) reply: u64,
}

/// Those who have read a key, by id.
pub(super) type Holders = SmallVec<[Holder; 1]>;

/// What a key takes beside its bytes: an entry and a place, and what their vectors have spare.
const KEY_BYTES: usize = 2 * (size_of::<(Bytes, Holders)>() + size_of::<(Bytes, usize)>());
/// What a client of a key takes.
const HOLDER_BYTES: usize = size_of::<Holder>();

/// The keys that clients have read.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: BuildKeyHasher,
    keys: AtomicUsize,
    items: AtomicUsize,
    /// What keys and clients take, about.
    bytes: AtomicUsize,
}

/// The keys of a shard, in no order, and where each stands: any of them is found at once.
#[derive(Debug, Default)]
struct Shard {
    entries: Vec<(Bytes, Holders)>,
    places: HashMap<Bytes, usize, BuildKeyHasher>,
    /// Clients of its keys in sum.
    items: usize,
}

impl Shard {
    fn remove(&mut self, key: &[u8]) -> Option<Holders> {
        let at = self.places.remove(key)?;
        let (_, holders) = self.entries.swap_remove(at);
        self.items -= holders.len();
        if let Some(place) = self.entries.get(at).and_then(|(key, _)| self.places.get_mut(key)) {
            *place = at;
        }
        Some(holders)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: BuildKeyHasher::random(),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Table {
    /// Keys that somebody has read.
    pub(super) fn keys(&self) -> usize {
        self.keys.load(Ordering::Acquire)
    }

    /// Clients of all keys in sum.
    pub(super) fn items(&self) -> usize {
        self.items.load(Ordering::Acquire)
    }

    /// What all of it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) + self.items() * HOLDER_BYTES
    }

    /// Enters a client; an entry that is there gets the later reply.
    pub(super) fn remember(&self, key: &[u8], client: u64, reply: u64) {
        let shard = &mut *self.shard(key).lock();
        let at = match shard.places.get(key) {
            Some(at) => *at,
            None => {
                // The words of a request are parts of the read buffer.
                let key = Bytes::copy_from_slice(key);
                shard.entries.push((key.clone(), Holders::new()));
                self.bytes.fetch_add(bytes_of(key.len()), Ordering::Relaxed);
                shard.places.insert(key, shard.entries.len() - 1);
                self.keys.fetch_add(1, Ordering::AcqRel);
                shard.entries.len() - 1
            }
        };
        let Some((_, holders)) = shard.entries.get_mut(at) else { return };
        match holders.binary_search_by_key(&client, |holder| holder.client) {
            Ok(at) => {
                if let Some(holder) = holders.get_mut(at) {
                    holder.reply = holder.reply.max(reply);
                }
            }
            Err(at) => {
                holders.insert(at, Holder { client, reply });
                shard.items += 1;
                self.items.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Removes a key; who has read it.
    pub(super) fn take(&self, key: &[u8]) -> Option<Holders> {
        let holders = self.shard(key).lock().remove(key)?;
        self.keys.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes_of(key.len()), Ordering::Relaxed);
        self.items.fetch_sub(holders.len(), Ordering::AcqRel);
        Some(holders)
    }

    /// Removes a client from a key.
    pub(super) fn forget(&self, key: &[u8], client: u64) {
        let shard = &mut *self.shard(key).lock();
        let Some(at) = shard.places.get(key).copied() else { return };
        let Some((_, holders)) = shard.entries.get_mut(at) else { return };
        let Ok(held) = holders.binary_search_by_key(&client, |holder| holder.client) else {
            return;
        };
        holders.remove(held);
        let is_empty = holders.is_empty();
        shard.items -= 1;
        self.items.fetch_sub(1, Ordering::AcqRel);
        if is_empty {
            shard.remove(key);
            self.keys.fetch_sub(1, Ordering::AcqRel);
            self.bytes.fetch_sub(bytes_of(key.len()), Ordering::Relaxed);
        }
    }

    /// Some key, at random.
    pub(super) fn any(&self) -> Option<Bytes> {
        let first = fastrand::usize(..SHARDS);
        let (before, behind) = self.shards.split_at_checked(first)?;
        behind.iter().chain(before).find_map(|shard| {
            let shard = shard.lock();
            let at = fastrand::usize(..shard.entries.len().max(1));
            shard.entries.get(at).map(|(key, _)| key.clone())
        })
    }

    /// Removes all keys. What many of them held is given back by another thread.
    pub(super) fn clear(&self) {
        let mut removed = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            let items = std::mem::take(&mut shard.items);
            self.keys.fetch_sub(shard.entries.len(), Ordering::AcqRel);
            self.items.fetch_sub(items, Ordering::AcqRel);
            let bytes = shard.entries.iter().map(|(key, _)| bytes_of(key.len())).sum();
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            removed.push(std::mem::take(&mut *shard));
        }
        let keys: usize = removed.iter().map(|shard| shard.entries.len()).sum();
        if keys > FREED_MAX
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn_blocking(move || drop(removed)));
        }
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or(0);
        // Never out of range; the first one otherwise.
        self.shards.get(hash % SHARDS).unwrap_or(&self.shards[0])
    }
}

/// What a key of so many bytes takes, without its clients.
fn bytes_of(key_bytes: usize) -> usize {
    key_bytes + KEY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holders(table: &Table, key: &[u8]) -> Vec<(u64, u64)> {
        let holders = table.take(key).unwrap_or_default();
        holders.iter().map(|holder| (holder.client, holder.reply)).collect()
    }

    #[test]
    fn a_client_is_entered_once_with_its_last_reply() {
        let table = Table::default();
        for (client, reply) in [(2, 5), (1, 0), (2, 7), (2, 6), (3, 0)] {
            table.remember(b"k", client, reply);
        }
        table.remember(b"l", 1, 0);
        assert_eq!((table.keys(), table.items()), (2, 4));
        assert_eq!(table.bytes(), 2 * bytes_of(1) + 4 * HOLDER_BYTES);
        table.forget(b"k", 3);
        table.forget(b"l", 1);
        table.forget(b"none", 1);
        assert_eq!((table.keys(), table.items()), (1, 2));
        assert_eq!(holders(&table, b"k"), [(1, 0), (2, 7)]);
        assert_eq!((table.keys(), table.items(), table.bytes()), (0, 0, 0));
        assert!(holders(&table, b"k").is_empty());
    }

    #[test]
    fn every_key_is_found_whatever_was_removed() {
        let table = Table::default();
        let key = |n: u64| n.to_be_bytes();
        (0..5000).for_each(|n| table.remember(&key(n), n, 0));
        (0..5000).step_by(3).for_each(|n| assert_eq!(holders(&table, &key(n)), [(n, 0)]));
        assert_eq!(table.keys(), 5000 - 1667);
        while let Some(any) = table.any() {
            let n = u64::from_be_bytes(any[..].try_into().unwrap());
            assert_eq!(holders(&table, &any), [(n, 0)]);
        }
        assert_eq!((table.keys(), table.items(), table.bytes()), (0, 0, 0));
        (0..10).for_each(|n| table.remember(&key(n), n, 0));
        table.clear();
        assert_eq!((table.keys(), table.items(), table.bytes()), (0, 0, 0));
        assert!(holders(&table, &key(4)).is_empty());
    }
}
