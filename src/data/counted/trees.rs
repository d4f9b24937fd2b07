//! Decoded count records of the orders that were changed lately, kept from transaction to transaction.
//!
//! Only transactions over the newest state use them. Whoever changes an order takes its tree, tells it
//! what it writes, and gives it back with the sequence number of its transaction: that is the one of
//! the metadata record from then on. A tree is taken only by who finds that very version of the
//! metadata record: every change of an order writes it, so the records are those that the tree has
//! seen. Whatever else may happen to the key in between, it leaves another version, or none.
//!
//! A transaction may be dropped, and the next one takes its number then. So what was given holds only
//! once a transaction of a higher number begins; one of the same number forgets it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::tree::CountTree;
use crate::engine::SeqNo;

/// Orders that were looked for in vain: a tree is made for one that is looked for again.
const MISSED: usize = 256;
/// What a tree takes besides its records.
const TREE_BYTES: usize = 256;

/// Trees of orders, by their generation. Shared; only the writer finds anything there.
#[derive(Debug)]
pub struct CountTrees {
    kept: Mutex<Kept>,
    bytes_max: AtomicUsize,
    /// The transaction whose trees are not settled; 0 for none.
    unsettled: AtomicU64,
}

/// Where none are kept.
pub static NO_COUNT_TREES: CountTrees = CountTrees::new(0);

#[derive(Debug)]
struct Kept {
    trees: BTreeMap<u64, Stamped>,
    bytes: usize,
    /// Of which orders the last transaction has given trees.
    given: Vec<u64>,
    /// Generations that had no tree, each at its place.
    missed: [u64; MISSED],
    /// Counts the uses.
    uses: u64,
}

#[derive(Debug)]
struct Stamped {
    seq: SeqNo,
    used: u64,
    tree: CountTree,
}

/// What there is of an order.
#[derive(Debug)]
pub(in crate::data) enum Taken {
    /// Its tree, as of the version that was asked for.
    Tree(CountTree),
    /// Nothing, though it was looked for before.
    Wanted,
    Nothing,
}

impl CountTrees {
    /// None yet; they may take so many bytes, about.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        let kept = Kept {
            trees: BTreeMap::new(),
            bytes: 0,
            given: Vec::new(),
            missed: [0; MISSED],
            uses: 0,
        };
        Self {
            kept: Mutex::new(kept),
            bytes_max: AtomicUsize::new(bytes_max),
            unsettled: AtomicU64::new(0),
        }
    }

    /// Bounds what they take, in bytes, from the next change on.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// What they take in memory, in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    /// Forgets all of them: another store, or another state of it, is used from now on.
    pub fn clear(&self) {
        let mut kept = self.kept.lock();
        kept.trees.clear();
        kept.given.clear();
        kept.bytes = 0;
        self.unsettled.store(0, Ordering::Relaxed);
    }

    /// A transaction begins that will take this number: those before it were committed, and what was
    /// given under its own number was not. Called before anything of the transaction is changed.
    pub(in crate::data) fn settle(&self, seq: SeqNo) {
        let unsettled = self.unsettled.load(Ordering::Relaxed);
        if unsettled == 0 || seq == 0 {
            return;
        }
        let mut kept = self.kept.lock();
        for generation in std::mem::take(&mut kept.given) {
            if seq <= unsettled {
                kept.remove(generation);
            }
        }
        self.unsettled.store(0, Ordering::Relaxed);
    }

    /// Hands out the tree of a generation whose metadata record was written by `seq`.
    pub(in crate::data) fn take(&self, generation: u64, seq: SeqNo) -> Taken {
        if self.bytes_max.load(Ordering::Relaxed) == 0 {
            return Taken::Nothing;
        }
        let mut kept = self.kept.lock();
        match kept.remove(generation) {
            Some(found) if found.seq == seq => return Taken::Tree(found.tree),
            _ => {}
        }
        let place = usize::try_from(generation).unwrap_or(0) % MISSED;
        match kept.missed.get_mut(place) {
            Some(missed) if *missed == generation => Taken::Wanted,
            Some(missed) => {
                *missed = generation;
                Taken::Nothing
            }
            None => Taken::Nothing,
        }
    }

    /// Keeps the tree of a generation, the metadata record of which the transaction `seq` has written.
    pub(in crate::data) fn give(&self, generation: u64, seq: SeqNo, tree: CountTree) {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let bytes = tree.bytes() + TREE_BYTES;
        if bytes > bytes_max {
            return;
        }
        let mut kept = self.kept.lock();
        kept.remove(generation);
        while kept.bytes + bytes > bytes_max && kept.forget_one() {}
        kept.uses += 1;
        let used = kept.uses;
        kept.bytes += bytes;
        kept.trees.insert(generation, Stamped { seq, used, tree });
        kept.given.push(generation);
        self.unsettled.store(seq, Ordering::Relaxed);
    }
}

impl Kept {
    fn remove(&mut self, generation: u64) -> Option<Stamped> {
        let found = self.trees.remove(&generation)?;
        self.bytes -= found.tree.bytes() + TREE_BYTES;
        Some(found)
    }

    /// Forgets one that was not used for long; `false` where there is none.
    fn forget_one(&mut self) -> bool {
        // Of a few behind a place of no meaning.
        let from = self.uses.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
        let last = self.trees.keys().next_back().copied().unwrap_or(0);
        let from = from.checked_rem(last.saturating_add(1)).unwrap_or(0);
        let some = self.trees.range(from..).chain(self.trees.range(..from)).take(8);
        let oldest =
            some.min_by_key(|(_, stamped)| stamped.used).map(|(generation, _)| *generation);
        oldest.and_then(|generation| self.remove(generation)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(trees: &CountTrees, generation: u64, seq: SeqNo) -> bool {
        matches!(trees.take(generation, seq), Taken::Tree(_))
    }

    #[test]
    fn a_tree_is_found_at_its_version_only() {
        let trees = CountTrees::new(1 << 20);
        trees.settle(5);
        assert!(matches!(trees.take(7, 4), Taken::Nothing));
        assert!(matches!(trees.take(7, 4), Taken::Wanted));
        trees.give(7, 5, CountTree::sample(3));
        assert!(taken(&trees, 7, 5), "by the same transaction");
        trees.give(7, 5, CountTree::sample(3));
        trees.settle(6);
        assert!(taken(&trees, 7, 5));
        trees.give(7, 6, CountTree::sample(3));
        trees.settle(7);
        assert!(!taken(&trees, 7, 5));
        assert!(!taken(&trees, 7, 6), "it was given up");
        assert_eq!(trees.bytes(), 0);
    }

    #[test]
    fn what_a_dropped_transaction_has_given_is_forgotten() {
        let trees = CountTrees::new(1 << 20);
        trees.give(7, 5, CountTree::sample(3));
        trees.give(8, 5, CountTree::sample(3));
        // It was dropped; the next one has its number.
        trees.settle(5);
        assert!(!taken(&trees, 7, 5) && !taken(&trees, 8, 5));
        trees.give(8, 5, CountTree::sample(3));
        trees.settle(6);
        trees.settle(6);
        assert!(taken(&trees, 8, 5));
        trees.give(9, 6, CountTree::sample(3));
        trees.clear();
        assert!(!taken(&trees, 9, 6));
    }

    #[test]
    fn they_keep_to_their_bytes() {
        let one = CountTree::sample(50).bytes() + TREE_BYTES;
        let trees = CountTrees::new(10 * one);
        for generation in 1..=100 {
            trees.give(generation, generation, CountTree::sample(50));
            trees.settle(generation + 1);
            assert!(taken(&trees, 1, 1) || generation > 1);
            trees.give(1, 1, CountTree::sample(50));
            assert!(trees.bytes() <= 10 * one);
        }
        assert_eq!(trees.bytes(), 10 * one);
        assert!(taken(&trees, 1, 1), "what is used stays");
        trees.give(200, 200, CountTree::sample(1_000));
        assert!(!taken(&trees, 200, 200), "too large for all");
        trees.set_bytes_max(2 * one);
        trees.give(201, 201, CountTree::sample(50));
        assert!(trees.bytes() <= 2 * one);
        assert!(matches!(CountTrees::new(0).take(1, 1), Taken::Nothing));
    }
}
