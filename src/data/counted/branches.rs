//! The count records and order keys that readers have met lately, decoded: a rank, or the item at
//! one, costs a search in memory per level instead of a walk.
//!
//! A *branch* is the children of one node: the count records of a level, or the order keys of the
//! items, from the separator of the node up to that of the next one. What comes or goes below a node
//! writes its record, and every change of an order the metadata record, which is that of the root. So
//! the sequence number of the record of a node names one state of its branch, whatever view asks, and
//! a branch is used only where the record has the number that it had when the branch was read. Where
//! that was looked at for a version of the metadata record it need not be looked at again for the
//! same one.
//!
//! Items are kept where there is room for those of the whole order; else they are walked, some dozens.
//!
//! Only views of what is committed read and keep branches: a number of a transaction that was dropped
//! is used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Bound, Counts, Node, Order, damaged, start_at};
use crate::engine::{Result, SeqNo};

/// What a branch takes beside its children: its place in the cache, and headers of memory.
const BRANCH_BYTES: usize = 192;
/// What an item takes beside its order key, with its part of that.
const ITEM_BYTES: usize = 14;

/// The branches of all orders, within a bound of bytes. Shared by all readers.
pub(in crate::data) struct Branches {
    kept: Cache<BranchName, Arc<Branch>, ByBytes>,
}

/// Which branch: two may have one name, so a branch says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BranchName {
    generation: u64,
    /// Hash of level and separator.
    hash: u64,
}

impl BranchName {
    fn new(generation: u64, level: u8, separator: &[u8]) -> Self {
        Self { generation, hash: xxh3_64_with_seed(separator, u64::from(level)) }
    }
}

#[derive(Debug, Clone, Copy)]
struct ByBytes;

impl Weighter<BranchName, Arc<Branch>> for ByBytes {
    fn weight(&self, _name: &BranchName, branch: &Arc<Branch>) -> u64 {
        branch.bytes() as u64
    }
}

/// The children of a node, records of one level; level 0 is that of the items.
#[derive(Debug)]
pub(super) struct Branch {
    level: u8,
    /// Of the node.
    separator: Bytes,
    /// Of the record of the node, when it was read.
    seq: SeqNo,
    /// A version of the metadata record with which it is right.
    right_at: AtomicU64,
    /// The separators of the children, one behind the other, and where each ends.
    separators: Box<[u8]>,
    ends: Box<[u32]>,
    /// How many items of the node come before the end of each child; nothing where these are items.
    items: Box<[u64]>,
}

/// A child of a branch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Child<'b> {
    pub(super) separator: &'b [u8],
    /// Items of the branch before it.
    pub(super) before: u64,
}

impl Branch {
    /// Reads the children of a node; `seq` and `children` are what its record says.
    fn read(
        order: Order<'_>,
        level: u8,
        separator: &[u8],
        (seq, children): (SeqNo, u64),
    ) -> Result<Self> {
        let count = usize::try_from(children).unwrap_or(usize::MAX);
        let separator = Bytes::copy_from_slice(separator);
        let (mut separators, mut ends, mut items) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |child: &[u8]| -> Result<()> {
            separators.extend_from_slice(child);
            let end = u32::try_from(separators.len());
            ends.push(end.map_err(|_| damaged("separators are too long"))?);
            Ok(())
        };
        if level == 0 {
            let (mut left, mut added) = (count, Ok(()));
            order.visit_items(start_at(&separator), Bound::Unbounded, &mut |item, _| {
                added = add(item);
                left = left.saturating_sub(1);
                left > 0 && added.is_ok()
            })?;
            added?;
        } else {
            let mut total = 0;
            for node in order.nodes(level, &separator, Bound::Unbounded).take(count) {
                let (child, node) = node?;
                add(&child)?;
                total += node.items;
                items.push(total);
            }
        }
        if ends.len() != count || count == 0 {
            return Err(damaged("fewer records than counted"));
        }
        Ok(Self {
            level,
            separator,
            seq,
            right_at: AtomicU64::new(order.counts.seq),
            separators: separators.into(),
            ends: ends.into(),
            items: items.into(),
        })
    }

    /// The child that an order key lies in.
    pub(super) fn child_of(&self, order_key: &[u8]) -> Result<Child<'_>> {
        let behind = self.count_while(|separator| separator <= order_key);
        let found = behind.checked_sub(1).and_then(|at| self.child(at));
        found.ok_or_else(|| damaged("a first count record is missing"))
    }

    /// Of items: how many come before an order key.
    pub(super) fn items_before(&self, order_key: &[u8]) -> u64 {
        self.count_while(|item| item < order_key) as u64
    }

    /// The child in which the item lies that so many items of the branch come before.
    pub(super) fn child_at(&self, rank: u64) -> Result<Child<'_>> {
        let at = match self.level {
            0 => usize::try_from(rank).unwrap_or(usize::MAX),
            _ => self.items.partition_point(|items| *items <= rank),
        };
        self.child(at).ok_or_else(|| damaged("fewer items than counted"))
    }

    fn child(&self, at: usize) -> Option<Child<'_>> {
        let before = match at.checked_sub(1) {
            _ if self.level == 0 => at as u64,
            Some(before) => *self.items.get(before)?,
            None => 0,
        };
        Some(Child { separator: self.separator(at)?, before })
    }

    /// How many of the first children are as said, which those behind them are not.
    fn count_while(&self, is_so: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.separator(middle).is_some_and(&is_so) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn separator(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.separators.get(start as usize..end)
    }

    fn bytes(&self) -> usize {
        let children = self.separators.len() + size_of_val(&*self.ends) + size_of_val(&*self.items);
        BRANCH_BYTES + self.separator.len() + children
    }

    fn is_of(&self, level: u8, separator: &[u8]) -> bool {
        self.level == level && self.separator == separator
    }
}

impl Branches {
    /// None yet; they may take so many bytes, about.
    pub(super) fn new(bytes_max: u64) -> Self {
        let expected = usize::try_from(bytes_max / 1024).unwrap_or(usize::MAX).clamp(64, 1 << 16);
        Self { kept: Cache::with_weighter(expected, bytes_max, ByBytes) }
    }

    /// Bounds what they take, in bytes.
    pub(super) fn set_bytes_max(&self, bytes_max: u64) {
        self.kept.set_capacity(bytes_max);
    }

    /// What they take in memory, in bytes, about.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    pub(super) fn clear(&self) {
        self.kept.clear();
    }

    /// Whether there is room for all items of an order.
    pub(super) fn have_room_for_items(&self, counts: &Counts) -> bool {
        let item_bytes = (counts.first.len() + ITEM_BYTES) as u64;
        counts.len.saturating_mul(item_bytes) <= self.kept.capacity()
    }

    /// The children of a node that are records of `level`, in the state in which the order is, of which
    /// the version of the metadata record is known.
    pub(super) fn branch(
        &self,
        order: Order<'_>,
        level: u8,
        separator: &[u8],
    ) -> Result<Arc<Branch>> {
        let name = BranchName::new(order.place.generation, level, separator);
        let kept = self.kept.get(&name).filter(|branch| branch.is_of(level, separator));
        let now = order.counts.seq;
        if let Some(branch) = &kept
            && branch.right_at.load(Ordering::Relaxed) == now
        {
            return Ok(Arc::clone(branch));
        }
        let told = order.told_of(level, separator)?;
        if let Some(branch) = &kept
            && branch.seq == told.0
        {
            branch.right_at.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(branch));
        }
        let branch = Arc::new(Branch::read(order, level, separator, told)?);
        // Who reads an older view does not take the place of what others need.
        if kept.is_none_or(|kept| kept.seq < branch.seq) {
            self.kept.insert(name, Arc::clone(&branch));
        }
        Ok(branch)
    }
}

impl Order<'_> {
    /// What is known of the node whose children are records of `level` from a separator on: the
    /// sequence number of its record, and how many children it has.
    fn told_of(self, level: u8, separator: &[u8]) -> Result<(SeqNo, u64)> {
        if level == self.counts.levels {
            return Ok((self.counts.seq, self.counts.top));
        }
        let found = self.read.newest(&self.place.key(level + 1, separator))?;
        let record = found.and_then(|found| Some((found.seq, found.value?)));
        let (seq, record) = record.ok_or_else(|| damaged("a count record is missing"))?;
        Ok((seq, Node::decode(level + 1, &record)?.children))
    }
}

impl std::fmt::Debug for Branches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branches").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
