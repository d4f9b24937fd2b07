//! The block cache: blocks of tables, as they are after decompression, within a budget of bytes.
//!
//! Sharded, scan resistant (a block that is read once does not push out one that is read often);
//! a hit takes a shared lock of one shard and clones a `Bytes`. Index and filter partitions live
//! here beside the data blocks and stay because every lookup touches them, unless they are pinned to
//! their table ([`Pins`]); what is pinned is part of the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{OpenTables, Pins};

/// What an entry costs beside the content of its block: key, slot, list links, the `Bytes` and
/// the header of its allocation.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

/// Counters are spread over this many cache lines, by block, so that cores that read different
/// blocks do not fight for one line.
const STRIPES: usize = 16;

/// One part of so many, of the capacity that a cache is made with, may be pinned.
const PINNED_PART: u64 = 4;

/// What nobody has asked for leaves one part free of so many.
const OFFERED_PARTS: u64 = 16;

/// Names a block: the table, and the offset of the block in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BlockId {
    table: u64,
    offset: u64,
}

#[derive(Debug, Clone, Copy)]
struct ByBytes;

impl Weighter<BlockId, Bytes> for ByBytes {
    fn weight(&self, _id: &BlockId, block: &Bytes) -> u64 {
        block.len() as u64 + ENTRY_OVERHEAD_BYTES
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What the cache did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Lookups that found the block.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

/// The block cache. Shared by all tables of an engine.
pub struct BlockCache {
    blocks: Cache<BlockId, Bytes, ByBytes>,
    stripes: [Stripe; STRIPES],
    open_tables: OpenTables,
    /// With what is pinned.
    capacity: AtomicU64,
    pins: Arc<Pins>,
}

impl BlockCache {
    /// A cache of at most `capacity_bytes`. 0 caches nothing.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let blocks_expected = usize::try_from(capacity_bytes / 4096).unwrap_or(usize::MAX);
        let blocks_expected = blocks_expected.clamp(64, 1 << 16);
        let pins = Pins::default();
        pins.set_bytes_max(capacity_bytes / PINNED_PART);
        Self {
            blocks: Cache::with_weighter(blocks_expected, capacity_bytes, ByBytes),
            stripes: std::array::from_fn(|_| Stripe::default()),
            open_tables: OpenTables::default(),
            capacity: AtomicU64::new(capacity_bytes),
            pins: Arc::new(pins),
        }
    }

    /// What tables have pinned; its bytes are part of the capacity.
    pub(super) fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// What was pinned takes the place of other blocks.
    pub(super) fn make_room_for_pins(&self) {
        let capacity = self.capacity.load(Ordering::Relaxed);
        self.blocks.set_capacity(capacity.saturating_sub(self.pins.bytes()));
    }

    /// The tables whose blocks go through this cache, as far as they are open.
    #[must_use]
    pub fn open_tables(&self) -> &OpenTables {
        &self.open_tables
    }

    /// The block, if it is here. Counts a hit or a miss.
    pub(super) fn get(&self, table: u64, offset: u64) -> Option<Bytes> {
        let found = self.blocks.get(&BlockId { table, offset });
        let stripe = &self.stripes[stripe_of(table, offset)];
        let counter = if found.is_some() { &stripe.hits } else { &stripe.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// The block, if it is here, without a trace: for walks that shall not shape the cache.
    pub(super) fn peek(&self, table: u64, offset: u64) -> Option<Bytes> {
        self.blocks.peek(&BlockId { table, offset })
    }

    /// Puts a block here; older blocks make place.
    pub(super) fn insert(&self, table: u64, offset: u64, block: Bytes) {
        self.blocks.insert(BlockId { table, offset }, block);
    }

    /// Puts a block here that somebody may ask for, if there is room without any other going.
    pub(super) fn offer(&self, table: u64, offset: u64, block: &[u8]) {
        let bytes = self.used_bytes() + block.len() as u64 + ENTRY_OVERHEAD_BYTES;
        if bytes <= self.capacity() / OFFERED_PARTS * (OFFERED_PARTS - 1) {
            self.insert(table, offset, Bytes::copy_from_slice(block));
        }
    }

    /// Lets go of a block that nobody will ask for; hands it out if it was here.
    pub(super) fn remove(&self, table: u64, offset: u64) -> Option<Bytes> {
        self.blocks.remove(&BlockId { table, offset }).map(|(_, block)| block)
    }

    /// Changes the capacity, as [`Self::set_capacity`], and what part of it tables may pin.
    pub fn set_share(&self, capacity_bytes: u64) {
        self.pins.set_bytes_max(capacity_bytes / PINNED_PART);
        self.set_capacity(capacity_bytes);
    }

    /// Changes the capacity; a smaller one drops blocks at once.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.capacity.store(capacity_bytes, Ordering::Relaxed);
        self.make_room_for_pins();
    }

    /// The capacity in bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Bytes in use, with the overhead of each entry, and what is pinned.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.blocks.weight() + self.pins.bytes()
    }

    /// Number of blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Hits and misses since the start.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.stripes.iter().fold(CacheStats::default(), |sum, stripe| CacheStats {
            hits: sum.hits + stripe.hits.load(Ordering::Relaxed),
            misses: sum.misses + stripe.misses.load(Ordering::Relaxed),
        })
    }

    /// Drops every block.
    pub fn clear(&self) {
        self.blocks.clear();
    }
}

fn stripe_of(table: u64, offset: u64) -> usize {
    let mixed = (offset >> 10) ^ table;
    usize::try_from(mixed % STRIPES as u64).unwrap_or(0)
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockCache")
            .field("capacity_bytes", &self.capacity())
            .field("used_bytes", &self.used_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_budget_and_counts() {
        let cache = BlockCache::new(1 << 20);
        for offset in 0..1000 {
            cache.insert(1, offset, Bytes::from(vec![0; 4000]));
            assert!(cache.used_bytes() <= 1 << 20);
        }
        assert!(cache.used_bytes() > 1 << 19);
        let here = (0..1000).filter(|&offset| cache.get(1, offset).is_some()).count();
        assert_eq!(here, cache.blocks());
        let hits = here as u64;
        assert_eq!(cache.stats(), CacheStats { hits, misses: 1000 - hits });
        assert!((0..1000).all(|offset| cache.peek(2, offset).is_none()));
        assert_eq!(cache.stats(), CacheStats { hits, misses: 1000 - hits });

        cache.set_capacity(100_000);
        assert!(cache.used_bytes() <= 100_000 && cache.blocks() > 5);
        cache.set_capacity(2 << 20);
        for offset in 0..1000 {
            cache.insert(1, offset, Bytes::from(vec![0; 4000]));
        }
        assert!((1_200_000..=2 << 20).contains(&cache.used_bytes()), "{}", cache.used_bytes());
        cache.clear();
        assert_eq!((cache.used_bytes(), cache.blocks()), (0, 0));
    }

    #[test]
    fn without_capacity_it_keeps_nothing() {
        let cache = BlockCache::new(0);
        cache.insert(1, 0, Bytes::from_static(b"block"));
        assert!(cache.get(1, 0).is_none());
        assert_eq!(cache.used_bytes(), 0);
    }

    #[test]
    fn a_long_walk_does_not_push_out_what_is_in_use() {
        let cache = BlockCache::new(1 << 20);
        let block = Bytes::from(vec![0; 4000]);
        for _ in 0..3 {
            for offset in 0..100 {
                if cache.get(1, offset).is_none() {
                    cache.insert(1, offset, block.clone());
                }
            }
        }
        for offset in 0..5000 {
            cache.insert(2, offset, block.clone());
        }
        let left = (0..100).filter(|&offset| cache.get(1, offset).is_some()).count();
        assert!(left >= 90, "{left} of 100 are left");
    }
}
