//! The partitions of an open table: its top index, taken apart, and the filters and indexes that are
//! *pinned* to it.
//!
//! A lookup asks every table that may have its key, and most have not. What it costs to ask is a search
//! among numbers and one line of a filter; to find the filter in the block cache would cost as much
//! again. What all tables pin together is bounded ([`Pins`]) and part of the cache's capacity; the
//! blocks of further partitions are found through the cache.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::super::TableInfo;
use super::block::{Block, common_prefix};
use super::format::{Handle, Parsed};
use super::table::partition;

/// Bytes of the blocks that tables have pinned, and their bound. Shared by all tables of an engine.
#[derive(Debug, Default)]
pub struct Pins {
    bytes: AtomicU64,
    bytes_max: AtomicU64,
}

impl Pins {
    /// From now on no more is pinned beyond so many bytes; what is pinned stays so.
    pub(in super::super) fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Whether more is pinned than may be now.
    pub(in super::super) fn are_too_many(&self) -> bool {
        self.bytes() > self.bytes_max.load(Ordering::Relaxed)
    }

    /// Bytes that are pinned.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes so many bytes if there is room for them.
    fn take(&self, bytes: u64) -> bool {
        let max = self.bytes_max.load(Ordering::Relaxed);
        let grown = |held: u64| held.checked_add(bytes).filter(|all| *all <= max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A block with the place where it may be pinned.
#[derive(Debug)]
pub(super) struct Pinnable {
    /// Of length 0 where there is none.
    pub(super) handle: Handle,
    pinned: OnceLock<Bytes>,
}

impl Pinnable {
    fn new(handle: Handle) -> Self {
        Self { handle, pinned: OnceLock::new() }
    }

    #[inline]
    pub(super) fn pinned(&self) -> Option<&Bytes> {
        self.pinned.get()
    }
}

/// A partition of an open table.
#[derive(Debug)]
pub(super) struct OpenPartition {
    pub(super) index: Pinnable,
    pub(super) filter: Pinnable,
    /// Of the filter, per key.
    pub(super) probes: u8,
}

/// The partitions of an open table, in order.
#[derive(Debug)]
pub(super) struct Partitions {
    /// Bytes that all keys of the table have in common at their front.
    shared: usize,
    /// The head of each low key: the 16 bytes behind the shared ones, big-endian, zeros behind its end.
    /// Records of several kinds have less in common than what tells those of one kind apart.
    heads: Box<[u128]>,
    all: Box<[OpenPartition]>,
    pins: Arc<Pins>,
}

impl Partitions {
    /// Those of the table that `info` describes, whose top index has this content.
    pub(super) fn of(top: &[u8], info: &TableInfo, pins: Arc<Pins>) -> Parsed<Self> {
        let shared = common_prefix(&info.smallest, &info.largest);
        let top = Block::new(top)?;
        let count = top.restart_count();
        let (mut heads, mut all) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for at in 0..count {
            let found = partition(top.restart_entry(at)?)?;
            heads.push(head(found.low, shared));
            all.push(OpenPartition {
                index: Pinnable::new(found.index),
                filter: Pinnable::new(found.filter),
                probes: found.probes,
            });
        }
        Ok(Self { shared, heads: heads.into(), all: all.into(), pins })
    }

    /// The partition that a key between the table's smallest and its largest lies in; `top` is the
    /// content of the top index.
    #[inline]
    pub(super) fn of_key(&self, key: &[u8], top: &[u8]) -> Parsed<Option<&OpenPartition>> {
        let sought = head(key, self.shared);
        let mut behind = self.heads.partition_point(|head| *head <= sought);
        let before = |behind: usize| behind.checked_sub(1);
        if before(behind).is_some_and(|at| self.heads.get(at) == Some(&sought)) {
            behind = self.behind_of_same_head(sought, behind, key, top)?;
        }
        Ok(before(behind).and_then(|at| self.all.get(at)))
    }

    /// Of the partitions before `end` that have this head, and those before them: how many begin at
    /// `key` or before it.
    #[cold]
    fn behind_of_same_head(&self, head: u128, end: usize, key: &[u8], top: &[u8]) -> Parsed<usize> {
        let top = Block::new(top)?;
        let (mut low, mut high) = (self.heads.partition_point(|one| *one < head), end);
        while low < high {
            let middle = low.midpoint(high);
            if top.restart_entry(middle)?.0 <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> &[OpenPartition] {
        &self.all
    }

    /// Pins a block if there is room, and answers whether it did.
    pub(super) fn pin(&self, place: &Pinnable, block: &Bytes) -> bool {
        let bytes = block.len() as u64;
        if !self.pins.take(bytes) {
            return false;
        }
        let is_first = place.pinned.set(block.clone()).is_ok();
        if !is_first {
            self.pins.give_back(bytes);
        }
        is_first
    }

    /// Bytes that these take, without what is pinned.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.heads) + size_of_val(&*self.all)
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        let blocks = self.all.iter().flat_map(|one| [&one.index, &one.filter]);
        let pinned = blocks.filter_map(Pinnable::pinned).map(|block| block.len() as u64);
        self.pins.give_back(pinned.sum());
    }
}

/// What stands behind the first `shared` bytes of a key.
#[inline]
fn head(key: &[u8], shared: usize) -> u128 {
    let rest = key.get(shared..).unwrap_or_default();
    if let Some(head) = rest.first_chunk() {
        return u128::from_be_bytes(*head);
    }
    let mut head = [0; 16];
    head[..rest.len()].copy_from_slice(rest);
    u128::from_be_bytes(head)
}
