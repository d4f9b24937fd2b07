//! What is known of the orders that were changed lately, kept from transaction to transaction.
//!
//! Only transactions over the newest state use it. Whoever changes an order takes what is known, tells it
//! what it writes, and gives it back with the sequence number of its transaction: that is the one of
//! the metadata record from then on. It is taken only by who finds that very version of the
//! metadata record: every change of an order writes it, so the records are those that it has
//! seen. Whatever else may happen to the key in between, it leaves another version, or none.
//!
//! A transaction may be dropped, and the next one takes its number then. So what was given holds only
//! once a transaction of a higher number begins; one of the same number forgets it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::branches::Branches;
use super::known::Known;
use crate::engine::SeqNo;

/// Orders that were looked for in vain: one that is looked for again is worth knowing.
const MISSED: usize = 256;
/// What is taken for each besides.
const KNOWN_BYTES: usize = 256;

/// What is known of orders, by their generation. Shared: what changes of it is for the writer only,
/// `branches` are for everybody.
#[derive(Debug)]
pub struct KnownOrders {
    kept: Mutex<Kept>,
    bytes_max: AtomicUsize,
    /// The transaction that has given what is not settled; 0 for none.
    unsettled: AtomicU64,
    branches: OnceLock<Branches>,
}

/// Where none are kept.
pub static NO_KNOWN_ORDERS: KnownOrders = KnownOrders::new(0);

#[derive(Debug)]
struct Kept {
    orders: BTreeMap<u64, Stamped>,
    bytes: usize,
    /// Of which orders the last transaction has given something.
    given: Vec<u64>,
    /// Generations of which nothing was known, each at its place.
    missed: [u64; MISSED],
    /// Counts the uses.
    uses: u64,
}

#[derive(Debug)]
struct Stamped {
    seq: SeqNo,
    used: u64,
    known: Box<Known>,
}

/// What there is of an order.
#[derive(Debug)]
pub(in crate::data) enum Taken {
    /// What is known of the version that was asked for.
    Known(Box<Known>),
    /// Nothing, though it was looked for before.
    Wanted,
    Nothing,
}

impl KnownOrders {
    /// None yet; they may take so many bytes, about, and what readers have met as many.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        let kept = Kept {
            orders: BTreeMap::new(),
            bytes: 0,
            given: Vec::new(),
            missed: [0; MISSED],
            uses: 0,
        };
        Self {
            kept: Mutex::new(kept),
            bytes_max: AtomicUsize::new(bytes_max),
            unsettled: AtomicU64::new(0),
            branches: OnceLock::new(),
        }
    }

    /// Bounds what they take, in bytes, from the next change on, and what readers have met.
    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        if let Some(branches) = self.branches.get() {
            branches.set_bytes_max(bytes_max as u64);
        }
    }

    /// What they take in memory, in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    /// What readers have met takes so many bytes, about.
    #[must_use]
    pub fn branches_bytes(&self) -> u64 {
        self.branches.get().map_or(0, Branches::bytes)
    }

    /// What readers have met; `None` where nothing may be kept.
    pub(in crate::data) fn branches(&self) -> Option<&Branches> {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let new = || Branches::new(bytes_max as u64);
        (bytes_max > 0).then(|| self.branches.get_or_init(new))
    }

    /// Forgets all of them: another store, or another state of it, is used from now on.
    pub fn clear(&self) {
        let mut kept = self.kept.lock();
        kept.orders.clear();
        kept.given.clear();
        kept.bytes = 0;
        self.unsettled.store(0, Ordering::Relaxed);
        if let Some(branches) = self.branches.get() {
            branches.clear();
        }
    }

    /// A transaction begins that will take this number: those before it were committed, and what was
    /// given under its own number was not. Called before anything of the transaction is changed.
    pub(in crate::data) fn settle(&self, seq: SeqNo) {
        let unsettled = self.unsettled.load(Ordering::Relaxed);
        if unsettled == 0 || seq == 0 {
            return;
        }
        let mut kept = self.kept.lock();
        if seq > unsettled {
            kept.given.clear();
        }
        for generation in std::mem::take(&mut kept.given) {
            kept.remove(generation);
        }
        self.unsettled.store(0, Ordering::Relaxed);
    }

    /// Hands out what is known of a generation whose metadata record was written by `seq`.
    pub(in crate::data) fn take(&self, generation: u64, seq: SeqNo) -> Taken {
        if self.bytes_max.load(Ordering::Relaxed) == 0 {
            return Taken::Nothing;
        }
        let mut kept = self.kept.lock();
        let found = kept.remove(generation);
        let place = usize::try_from(generation).unwrap_or(0) % MISSED;
        let Some(missed) = kept.missed.get_mut(place) else { return Taken::Nothing };
        match found {
            Some(found) if found.seq == seq => return Taken::Known(found.known),
            // Others change it, too: what would be read now may soon be outdated again.
            Some(_) => *missed = 0,
            None if *missed == generation => return Taken::Wanted,
            None => *missed = generation,
        }
        Taken::Nothing
    }

    /// Keeps what is known of a generation, the metadata record of which the transaction `seq` has written;
    /// of an order for which that is too much, a part.
    pub(in crate::data) fn give(&self, generation: u64, seq: SeqNo, known: Box<Known>) {
        if let Some(mut kept) = self.keep(generation, seq, known) {
            kept.given.push(generation);
            self.unsettled.store(seq, Ordering::Relaxed);
        }
    }

    /// Takes back what [`Self::take`] has handed out for these, where nothing was changed.
    pub(in crate::data) fn take_back(&self, generation: u64, seq: SeqNo, known: Box<Known>) {
        if known.is_wanted() {
            drop(self.keep(generation, seq, known));
        }
    }

    fn keep(
        &self,
        generation: u64,
        seq: SeqNo,
        mut known: Box<Known>,
    ) -> Option<MutexGuard<'_, Kept>> {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let fits = known.bytes() + KNOWN_BYTES <= bytes_max;
        if !fits && !known.prune(bytes_max.saturating_sub(KNOWN_BYTES)) {
            return None;
        }
        let bytes = known.bytes() + KNOWN_BYTES;
        let mut kept = self.kept.lock();
        kept.remove(generation);
        while kept.bytes + bytes > bytes_max && kept.forget_one() {}
        kept.uses += 1;
        let used = kept.uses;
        kept.bytes += bytes;
        kept.orders.insert(generation, Stamped { seq, used, known });
        Some(kept)
    }
}

impl Kept {
    fn remove(&mut self, generation: u64) -> Option<Stamped> {
        let found = self.orders.remove(&generation)?;
        self.bytes -= found.known.bytes() + KNOWN_BYTES;
        Some(found)
    }

    /// Forgets one that was not used for long; `false` where there is none.
    fn forget_one(&mut self) -> bool {
        // Of a few behind a place of no meaning.
        let from = self.uses.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
        let last = self.orders.keys().next_back().copied().unwrap_or(0);
        let from = from.checked_rem(last.saturating_add(1)).unwrap_or(0);
        let some = self.orders.range(from..).chain(self.orders.range(..from)).take(8);
        let oldest =
            some.min_by_key(|(_, stamped)| stamped.used).map(|(generation, _)| *generation);
        oldest.and_then(|generation| self.remove(generation)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(nodes: u64) -> Box<Known> {
        Box::new(Known::sample(nodes))
    }

    fn taken(orders: &KnownOrders, generation: u64, seq: SeqNo) -> bool {
        matches!(orders.take(generation, seq), Taken::Known(_))
    }

    #[test]
    fn a_tree_is_found_at_its_version_only() {
        let orders = KnownOrders::new(1 << 20);
        orders.settle(5);
        assert!(matches!(orders.take(7, 4), Taken::Nothing));
        assert!(matches!(orders.take(7, 4), Taken::Wanted));
        orders.give(7, 5, sample(3));
        assert!(taken(&orders, 7, 5), "by the same transaction");
        orders.give(7, 5, sample(3));
        orders.settle(6);
        assert!(taken(&orders, 7, 5));
        orders.give(7, 6, sample(3));
        orders.settle(7);
        assert!(!taken(&orders, 7, 5));
        assert!(!taken(&orders, 7, 6), "it was given up");
        assert_eq!(orders.bytes(), 0);
    }

    #[test]
    fn what_a_dropped_transaction_has_given_is_forgotten() {
        let orders = KnownOrders::new(1 << 20);
        orders.give(7, 5, sample(3));
        orders.give(8, 5, sample(3));
        // It was dropped; the next one has its number.
        orders.settle(5);
        assert!(!taken(&orders, 7, 5) && !taken(&orders, 8, 5));
        orders.give(8, 5, sample(3));
        orders.settle(6);
        orders.settle(6);
        assert!(taken(&orders, 8, 5));
        orders.give(9, 6, sample(3));
        orders.clear();
        assert!(!taken(&orders, 9, 6));
    }

    #[test]
    fn they_keep_to_their_bytes() {
        let one = sample(50).bytes() + KNOWN_BYTES;
        let orders = KnownOrders::new(10 * one);
        for generation in 1..=100 {
            orders.give(generation, generation, sample(50));
            orders.settle(generation + 1);
            assert!(taken(&orders, 1, 1) || generation > 1);
            orders.give(1, 1, sample(50));
            assert!(orders.bytes() <= 10 * one);
        }
        assert_eq!(orders.bytes(), 10 * one);
        assert!(taken(&orders, 1, 1), "what is used stays");
        orders.give(200, 200, sample(1_000));
        assert!(!taken(&orders, 200, 200), "its highest level alone is too large");
        orders.set_bytes_max(2 * one);
        orders.give(201, 201, sample(50));
        assert!(orders.bytes() <= 2 * one);
        assert!(matches!(KnownOrders::new(0).take(1, 1), Taken::Nothing));
    }
}
