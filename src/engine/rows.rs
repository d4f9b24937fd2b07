//! The newest version of each key that is in memory, for lookups: one hash map.
//!
//! A row comes with a write, or with a lookup that had to go to the tables: with the second one of late, where it
//! need not have waited, so that who looks at everything once changes nothing here. While its version is in
//! a memtable it stays; when that has become a table, it may stay on as a cache, within a budget of
//! bytes. [`Rows::trim`] lets go of those that were not used for longest.
//!
//! What a batch replaces is set aside until the batch after it is published ([`Rows::publish`]): it is
//! what views see meanwhile.
//!
//! A row is the newest version of its key at all, so it decides for every view that is not older
//! than it; a key without a row is in no memtable of the newest tree. Why a row that a lookup has put here is never
//! outdated: it goes in only where the key has no row, and only while no flush was counted since the
//! lookup's tree was installed. Since then rows of newer versions cannot have left, because a row
//! leaves only when a flush of its version was counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry as Slot;
use hashbrown::HashTable;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::memtable::{Entry, Spot};
use super::seen::Seen;
use super::{BuildKeyHasher, BuildSpreadHasher, Found, ReadMode, SeqNo};

/// A shard that grows is moved as a whole, and a trim locks one at a time: many and small. Which is
/// one's shard is chosen so that they grow one after the other ([`super::SpreadHasher`]).
const SHARDS: usize = 512;
/// Larger rows stay no longer than their memtable: a block of a table is as good for them.
const KEPT_ROW_BYTES_MAX: usize = 2 << 10;
/// What a row costs beside its key and value.
const ROW_OVERHEAD_BYTES: u64 = 96;
/// Rows that are prefetched together.
const PREFETCHED_AT_ONCE: usize = 16;
/// One bit of [`Seen`] for so many bytes: everything is forgotten there once about as many keys were looked up as
/// rows fit.
const BYTES_PER_SEEN: u64 = 32;
/// Ages that are told apart, in trims since a row was used.
const AGES: usize = 8;

/// What is known of a key beside its newest version.
#[derive(Debug)]
struct Row {
    /// Whether every other version is in tables, and none in a memtable.
    is_only: bool,
    /// Trims since it was used.
    age: AtomicU8,
    /// Bytes of key and value, where they are fewer than fit.
    len: u16,
    /// Where the memtable has the version, if that is in one.
    spot: Spot,
}

impl Row {
    fn new(entry: &Entry, is_only: bool, spot: Spot) -> Self {
        let len = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        Self { is_only, age: AtomicU8::new(0), len, spot }
    }
}

/// Versions that a batch has replaced.
#[derive(Debug)]
pub(super) struct Replaced {
    /// First transaction of the batch.
    pub(super) first_seq: SeqNo,
    /// One per key, and its spot in the memtable.
    pub(super) entries: Vec<(Entry, Spot)>,
    /// The places of the first of these: most are looked for by nobody, so whoever looks for one adds
    /// those that have come since.
    index: HashTable<usize>,
}

impl Replaced {
    fn new(first_seq: SeqNo) -> Self {
        Self { first_seq, entries: Vec::new(), index: HashTable::new() }
    }

    /// The version of `key`, which has this hash, if it was replaced.
    fn get(&mut self, key: &[u8], hash: u64) -> Option<&Entry> {
        let Self { entries, index, .. } = self;
        let hash_at = |at: &usize| entries.get(*at).map_or(0, |(entry, _)| entry.hash());
        for at in index.len()..entries.len() {
            index.insert_unique(hash_at(&at), at, hash_at);
        }
        let is_it = |at: &usize| entries.get(*at).is_some_and(|(entry, _)| entry.key() == key);
        let at = *index.find(hash, is_it)?;
        entries.get(at).map(|(entry, _)| entry)
    }
}

/// What a lookup says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The version that the view sees.
    Found(Found),
    /// The version that the view sees is in tables, if there is one. Holds for trees that were
    /// installed with the present [`Rows::flushes`].
    InTables,
    /// Only the order of the memtables can tell.
    Unknown,
}

/// The rows of a store.
pub(super) struct Rows {
    rows: DashMap<Entry, Row, BuildSpreadHasher>,
    /// Oldest batch first.
    replaced: Mutex<VecDeque<Replaced>>,
    flushes: AtomicU64,
    /// Budget of the rows whose version is in tables, and what they take since the last trim.
    kept_bytes_max: AtomicU64,
    kept_bytes: AtomicU64,
    table_lookups: AtomicU64,
    /// What was looked up in tables lately.
    seen: Seen,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("kept_bytes", &self.kept_bytes).finish_non_exhaustive()
    }
}

impl Rows {
    /// No rows; those whose version is in tables may take `kept_bytes_max`.
    pub(super) fn new(kept_bytes_max: u64) -> Self {
        let hasher = BuildSpreadHasher(BuildKeyHasher::shared());
        Self {
            rows: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher, SHARDS),
            replaced: Mutex::default(),
            flushes: AtomicU64::new(0),
            kept_bytes_max: AtomicU64::new(kept_bytes_max),
            kept_bytes: AtomicU64::new(0),
            table_lookups: AtomicU64::new(0),
            seen: Seen::new(kept_bytes_max / BYTES_PER_SEEN),
        }
    }

    /// The version of `key`, which has this hash, that a view at `seq` sees.
    pub(super) fn get(&self, key: &[u8], hash: u64, seq: SeqNo) -> Lookup {
        let spread = self.rows.hasher().of_hash(hash);
        let is_it = |entry: &Entry| entry.hash() == hash && entry.key() == key;
        let shard = self.rows.shards()[self.shard(spread)].read();
        let found = shard.get(spread, |(entry, _)| is_it(entry));
        let Some((newest, row)) = found else { return Lookup::InTables };
        let row = row.get();
        if row.age.load(Ordering::Relaxed) != 0 {
            row.age.store(0, Ordering::Relaxed);
        }
        if newest.seq() <= seq {
            return Lookup::Found(newest.found());
        }
        match self.replaced(key, hash, seq) {
            Some(found) => Lookup::Found(found),
            None if row.is_only => Lookup::InTables,
            None => Lookup::Unknown,
        }
    }

    /// Brings the rows of the keys with these hashes into the processor's cache. A lookup waits for memory twice, first
    /// for its place in the map and then for the version; a lock before each lookup keeps these waits
    /// apart. Here they overlap: all locks first, then all places, then all versions. Passes over
    /// what another thread has locked.
    pub(super) fn prefetch(&self, hashes: impl IntoIterator<Item = u64>) {
        let mut hashes = hashes.into_iter();
        loop {
            let mut places = SmallVec::<[_; PREFETCHED_AT_ONCE]>::new();
            for hash in hashes.by_ref().take(PREFETCHED_AT_ONCE) {
                let spread = self.rows.hasher().of_hash(hash);
                places.push((self.rows.shards()[self.shard(spread)].try_read(), spread, hash));
            }
            let mut versions = SmallVec::<[&Entry; PREFETCHED_AT_ONCE]>::new();
            for (shard, spread, hash) in &places {
                let Some(shard) = shard else { continue };
                // The key itself is behind the next wait: what has its hash will be it.
                let place = shard.get(*spread, |(entry, _)| entry.hash() == *hash);
                versions.extend(place.map(|(entry, _)| entry));
            }
            for version in versions {
                version.prefetch();
            }
            if places.len() < PREFETCHED_AT_ONCE {
                return;
            }
        }
    }

    /// The number of the shard of what has this hash.
    fn shard(&self, spread: u64) -> usize {
        self.rows.determine_shard(usize::try_from(spread).unwrap_or_default())
    }

    /// The newest version of `key` that was replaced lately and that a view at `seq` sees.
    fn replaced(&self, key: &[u8], hash: u64, seq: SeqNo) -> Option<Found> {
        let mut replaced = self.replaced.lock();
        // What a batch has replaced is for views from before it: others see what it wrote, even
        // where that is no row any more.
        let unseen = replaced.iter_mut().filter(|batch| batch.first_seq > seq);
        let mut entries = unseen.filter_map(|batch| batch.get(key, hash));
        entries.find(|entry| entry.seq() <= seq).map(Entry::found)
    }

    /// Notes a version that was just written, by the batch whose first transaction is `first_seq`:
    /// a batch becomes visible as a whole. Hands out what the same batch has written before, which
    /// nobody will see. Only the writer (or recovery) calls this.
    pub(super) fn note(&self, entry: Entry, spot: Spot, first_seq: SeqNo) -> Option<(Entry, Spot)> {
        let mut row = Row::new(&entry, true, spot);
        match self.rows.entry(entry) {
            Slot::Vacant(slot) => {
                slot.insert(row);
                None
            }
            Slot::Occupied(slot) => {
                let is_of_batch = slot.key().seq() >= first_seq;
                row.is_only = is_of_batch && slot.get().is_only;
                if !is_of_batch {
                    // Before it is replaced: it is looked for there then.
                    self.set_aside(slot.key().clone(), slot.get().spot, first_seq);
                }
                let (before, Row { spot, .. }) = slot.replace_entry(row);
                is_of_batch.then_some((before, spot))
            }
        }
    }

    fn set_aside(&self, entry: Entry, spot: Spot, first_seq: SeqNo) {
        let mut replaced = self.replaced.lock();
        match replaced.back_mut() {
            Some(batch) if batch.first_seq == first_seq => batch.entries.push((entry, spot)),
            _ => {
                let mut batch = Replaced::new(first_seq);
                batch.entries.push((entry, spot));
                replaced.push_back(batch);
            }
        }
    }

    /// Everything up to `seq`, the end of a batch, is published: what earlier batches have replaced is
    /// not needed here any more, and is handed out. What this one has replaced stays for readers that
    /// are under way.
    pub(super) fn publish(&self, seq: SeqNo) -> Vec<Replaced> {
        let mut unneeded = Vec::new();
        let mut replaced = self.replaced.lock();
        while replaced.get(1).is_some_and(|next| next.first_seq <= seq) {
            unneeded.extend(replaced.pop_front());
        }
        unneeded
    }

    /// How many flushes there were: what a tree was installed with tells whether it is the newest.
    pub(super) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Counts a flush; the caller installs the tree with the new count.
    pub(super) fn count_flush(&self) -> u64 {
        self.flushes.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Counts a lookup that has found a key with this hash in tables. Whether that is worth a row: a row
    /// costs as much as the lookup did where its blocks were at hand.
    pub(super) fn count_lookup(&self, hash: u64, mode: ReadMode) -> bool {
        self.table_lookups.fetch_add(1, Ordering::Relaxed);
        self.seen.note(hash) || mode == ReadMode::Blocking
    }

    /// Keeps what a lookup has found in the tables of a tree that was installed with `flushes`.
    pub(super) fn keep(&self, key: &[u8], found: &Found, flushes: u64) {
        let Some(value) = &found.value else { return };
        let bytes = key.len() + value.len();
        let max = self.kept_bytes_max.load(Ordering::Relaxed);
        // A trim makes place soon; until then a quarter more.
        let is_full = self.kept_bytes() >= max + max / 4;
        if bytes > KEPT_ROW_BYTES_MAX || is_full {
            return;
        }
        let entry = Entry::new(key, found.seq, Some(value));
        if let Slot::Vacant(slot) = self.rows.entry(entry)
            && self.flushes() == flushes
        {
            let row = Row::new(slot.key(), false, Spot::NOWHERE);
            drop(slot.insert(row));
            self.kept_bytes.fetch_add(bytes as u64 + ROW_OVERHEAD_BYTES, Ordering::Relaxed);
        }
    }

    /// Whether [`Self::trim`] is due.
    pub(super) fn is_over(&self) -> bool {
        self.kept_bytes() > self.kept_bytes_max.load(Ordering::Relaxed)
    }

    /// Lets go of rows whose version is not newer than `flushed`, and is in tables therefore, until
    /// the others keep within the budget. Locks one shard at a time. One thread at a time.
    pub(super) fn trim(&self, flushed: SeqNo) {
        let max = self.kept_bytes_max.load(Ordering::Relaxed);
        let mut kept = self.age_rows(flushed, Limit { age: AGES, part: 1.0 });
        if kept.iter().sum::<u64>() > max {
            // Every row is one trim older now, and the next pass makes it two.
            kept = self.age_rows(flushed, Limit::for_budget(&kept, max / 4 * 3));
        }
        self.kept_bytes.store(kept.iter().sum(), Ordering::Relaxed);
    }

    /// Makes the rows in tables one trim older and lets go of those beyond `limit`; bytes of what
    /// is left, by age.
    fn age_rows(&self, flushed: SeqNo, limit: Limit) -> [u64; AGES] {
        let mut kept = [0; AGES];
        self.rows.retain(|entry, row| {
            if entry.seq() > flushed {
                return true;
            }
            let age = usize::from(*row.age.get_mut());
            let len = usize::from(row.len);
            let stays = !entry.is_tombstone() && len <= KEPT_ROW_BYTES_MAX && limit.lets_stay(age);
            if stays {
                let older = (age + 1).min(AGES - 1);
                kept[older] += len as u64 + ROW_OVERHEAD_BYTES;
                *row.age.get_mut() = u8::try_from(older).unwrap_or(u8::MAX);
                row.is_only = false;
            }
            stays
        });
        kept
    }

    /// Changes the budget; the next trim follows it.
    pub(super) fn set_capacity(&self, kept_bytes_max: u64) {
        self.kept_bytes_max.store(kept_bytes_max, Ordering::Relaxed);
    }

    /// Bytes of the rows whose version is in tables, overhead included, as of the last trim and
    /// with what lookups have added since.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.kept_bytes.load(Ordering::Relaxed)
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Lookups that found their key in tables.
    pub(super) fn table_lookups(&self) -> u64 {
        self.table_lookups.load(Ordering::Relaxed)
    }
}

/// Which rows a trim lets stay: those younger than `age`, and `part` of those that are as old.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limit {
    age: usize,
    part: f64,
}

impl Limit {
    /// Lets stay what fits into `max` bytes of rows that take `bytes`, by age.
    fn for_budget(bytes: &[u64; AGES], max: u64) -> Self {
        let mut left = max;
        for (age, bytes) in bytes.iter().enumerate() {
            match left.checked_sub(*bytes) {
                Some(rest) => left = rest,
                None => return Self { age, part: left as f64 / *bytes as f64 },
            }
        }
        Self { age: AGES, part: 1.0 }
    }

    fn lets_stay(&self, age: usize) -> bool {
        age < self.age || age == self.age && fastrand::f64() < self.part
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::key_hash::hash_of;
    use super::*;

    fn get(rows: &Rows, key: &[u8], seq: SeqNo) -> Lookup {
        rows.get(key, hash_of(key), seq)
    }

    fn entry(key: &str, seq: SeqNo) -> Entry {
        Entry::new(key.as_bytes(), seq, Some(seq.to_string().as_bytes()))
    }

    fn found(seq: SeqNo) -> Found {
        Found { seq, value: Some(Bytes::from(seq.to_string())) }
    }

    #[test]
    fn a_view_finds_the_version_it_sees_through_unpublished_ones() {
        let rows = Rows::new(1 << 20);
        rows.note(entry("k", 3), Spot::NOWHERE, 3);
        assert_eq!(get(&rows, b"k", 2), Lookup::InTables);
        // The same batch, the next batch, and one more.
        rows.note(entry("k", 4), Spot::NOWHERE, 3);
        assert_eq!(get(&rows, b"k", 2), Lookup::InTables);
        rows.note(entry("k", 7), Spot::NOWHERE, 6);
        rows.note(entry("k", 8), Spot::NOWHERE, 6);
        rows.note(entry("k", 10), Spot::NOWHERE, 9);
        assert_eq!(get(&rows, b"k", 10), Lookup::Found(found(10)));
        assert_eq!(get(&rows, b"k", 8), Lookup::Found(found(8)));
        assert_eq!(get(&rows, b"k", 5), Lookup::Found(found(4)));
        // Published, but a reader may still be under way with the view before.
        rows.publish(8);
        assert_eq!(get(&rows, b"k", 5), Lookup::Found(found(4)));
        rows.publish(10);
        assert_eq!(get(&rows, b"k", 8), Lookup::Found(found(8)));
        assert_eq!(get(&rows, b"k", 5), Lookup::Unknown);
        assert_eq!(get(&rows, b"other", 8), Lookup::InTables);
    }

    #[test]
    fn whoever_looks_for_what_was_replaced_finds_what_has_come_since() {
        let rows = Rows::new(1 << 20);
        let keys = ["a", "b", "c"];
        keys.iter().for_each(|key| drop(rows.note(entry(key, 1), Spot::NOWHERE, 1)));
        rows.publish(1);
        for (key, seq) in keys.into_iter().zip(2..) {
            rows.note(entry(key, seq), Spot::NOWHERE, 2);
            assert_eq!(get(&rows, key.as_bytes(), 1), Lookup::Found(found(1)));
        }
        assert!(keys.iter().all(|key| get(&rows, key.as_bytes(), 1) == Lookup::Found(found(1))));
    }

    #[test]
    fn a_prefetch_waits_for_nobody() {
        let rows = Rows::new(0);
        let keys: Vec<String> = (0..100).map(|number| format!("key {number}")).collect();
        for (key, seq) in keys.iter().zip(1..).step_by(2) {
            rows.note(entry(key, seq), Spot::NOWHERE, seq);
        }
        let slices: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let _held = rows.rows.get_mut(slices[0]);
        rows.prefetch(slices.iter().map(|key| hash_of(key)));
        rows.prefetch([hash_of(slices[0]); 40]);
        assert_eq!(get(&rows, slices[2], 100), Lookup::Found(found(3)));
    }

    #[test]
    fn what_was_set_aside_is_not_for_views_that_see_its_replacement() {
        let rows = Rows::new(0);
        rows.note(entry("k", 1), Spot::NOWHERE, 1);
        rows.note(entry("k", 2), Spot::NOWHERE, 2);
        rows.publish(2);
        rows.count_flush();
        rows.trim(2);
        rows.note(entry("k", 3), Spot::NOWHERE, 3);
        assert_eq!(get(&rows, b"k", 2), Lookup::InTables);
    }

    #[test]
    fn a_lookup_keeps_a_row_only_where_it_cannot_be_outdated() {
        let rows = Rows::new(1 << 20);
        let flushes = rows.flushes();
        rows.keep(b"a", &found(1), flushes);
        assert_eq!(get(&rows, b"a", 1), Lookup::Found(found(1)));
        rows.note(entry("b", 5), Spot::NOWHERE, 5);
        rows.keep(b"b", &found(2), flushes);
        assert_eq!(get(&rows, b"b", 5), Lookup::Found(found(5)));
        assert_ne!(rows.count_flush(), flushes);
        rows.keep(b"c", &found(3), flushes);
        assert_eq!(get(&rows, b"c", 5), Lookup::InTables);
        rows.keep(b"c", &found(3), rows.flushes());
        assert_eq!(get(&rows, b"c", 5), Lookup::Found(found(3)));
    }

    #[test]
    fn a_trim_keeps_to_the_budget_and_lets_go_of_the_oldest() {
        let rows = Rows::new(1 << 20);
        let key = |number: u64| format!("key:{number:06}");
        for number in 1..=1_000 {
            rows.note(entry(&key(number), number), Spot::NOWHERE, 1);
        }
        rows.trim(900);
        assert_eq!(rows.len(), 1_000, "what fits stays");
        let is_used = |number: u64| number.is_multiple_of(5);
        for number in (1..=900).filter(|number| is_used(*number)) {
            assert_eq!(get(&rows, key(number).as_bytes(), 1_000), Lookup::Found(found(number)));
        }
        rows.set_capacity(60 << 10);
        assert!(rows.is_over());
        rows.trim(900);
        assert!(!rows.is_over());
        assert!(rows.kept_bytes() > 30 << 10, "{}", rows.kept_bytes());
        let has = |number: u64| get(&rows, key(number).as_bytes(), 1_000) != Lookup::InTables;
        assert!((901..=1_000).all(has), "what is in a memtable stays");
        assert!((1..=900).filter(|number| is_used(*number)).all(has), "what was used stays");
        assert!((1..=900).filter(|number| !is_used(*number)).any(|number| !has(number)));
        rows.set_capacity(0);
        rows.trim(900);
        assert_eq!((rows.len(), rows.kept_bytes()), (100, 0));
    }

    #[test]
    fn tombstones_and_large_rows_leave_with_their_memtable() {
        let rows = Rows::new(1 << 20);
        rows.note(Entry::new(b"gone", 1, None), Spot::NOWHERE, 1);
        rows.note(Entry::new(b"large", 2, Some(&[0; KEPT_ROW_BYTES_MAX])), Spot::NOWHERE, 1);
        rows.note(entry("small", 3), Spot::NOWHERE, 1);
        assert_eq!(get(&rows, b"gone", 3), Lookup::Found(Found { seq: 1, value: None }));
        rows.trim(3);
        assert_eq!(rows.len(), 1);
        assert_eq!(get(&rows, b"small", 3), Lookup::Found(found(3)));
    }
}
