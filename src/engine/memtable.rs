//! The memtable: the newest records, in memory.
//!
//! One writer inserts, any number of readers look up and walk. Two structures hold the same
//! records, which they share:
//!
//! - a hash index of the newest version of each key, for lookups: one or two cache misses, where
//!   an ordered structure of a million keys has fifty;
//! - ordered parts, for walks, for lookups of older versions, and for the flush: skip lists of at
//!   most [`PART_ENTRIES`] records, so that an insertion searches a list that fits the CPU's cache.
//!   A full part is left as it is and the next one begun; a walk merges the parts.
//!
//! Versions of a key are kept, newest first; a reader passes over those that are newer than its
//! view. Nothing is ever removed, so a walk needs no care for what the writer does meanwhile.
//! Walks take no lock; a lookup takes the lock of one shard of the index for a few instructions.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering as Atomic};

use bytes::{Bytes, BytesMut};
use crossbeam_skiplist::SkipMap;
use crossbeam_skiplist::map::Entry;
use dashmap::DashMap;

use super::{
    BuildKeyHasher, Direction, Found, KeyRange, MergeIter, Record, RecordIter, Result, SeqNo,
};

/// What a version costs in an ordered part beside its key and value: the node with its tower, two
/// `Bytes` handles, the shared header behind them, and what the allocator rounds up.
const ENTRY_OVERHEAD_BYTES: u64 = 208;
/// What a key costs in the index: two `Bytes` handles and a sequence number at the usual load.
const INDEX_OVERHEAD_BYTES: u64 = 112;

/// From this size on a value shares the buffer it came in. A smaller one is copied, together with
/// its key, into an allocation of its own: it must not pin a read buffer of many times its size.
const SHARED_VALUE_BYTES: usize = 16 << 10;

/// Records of an ordered part.
const PART_ENTRIES: u64 = 4 << 10;
/// Ordered parts of a memtable; the last one takes whatever comes beyond.
const PARTS_MAX: usize = 1024;
/// Shards of the index: a shard that grows is moved as a whole, so shards are many and small.
const INDEX_SHARDS: usize = 256;

type Part = SkipMap<Version, Option<Bytes>>;

/// Newest records, by key.
pub(super) struct Memtable {
    newest: DashMap<Bytes, Found, BuildKeyHasher>,
    /// Oldest first; set in order, the first one from the start.
    parts: Box<[OnceLock<Part>]>,
    /// Parts in use, at least one.
    parts_used: AtomicUsize,
    bytes: AtomicU64,
    count: AtomicU64,
    log_segment: OnceLock<u64>,
    log_bytes: AtomicU64,
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memtable").field("bytes", &self.bytes).field("count", &self.count).finish()
    }
}

/// One version of a key. Ordered by key, then from the newest to the oldest.
#[derive(Debug)]
struct Version {
    key: Bytes,
    seq: SeqNo,
}

/// A version by reference, so that a lookup copies no key.
trait Place {
    fn key(&self) -> &[u8];
    fn seq(&self) -> SeqNo;
}

impl Place for Version {
    fn key(&self) -> &[u8] {
        &self.key
    }
    fn seq(&self) -> SeqNo {
        self.seq
    }
}

impl Place for (&[u8], SeqNo) {
    fn key(&self) -> &[u8] {
        self.0
    }
    fn seq(&self) -> SeqNo {
        self.1
    }
}

fn order(a: (&[u8], SeqNo), b: (&[u8], SeqNo)) -> Ordering {
    a.0.cmp(b.0).then_with(|| b.1.cmp(&a.1))
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        order((self.key(), self.seq()), (other.key(), other.seq()))
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        order((&self.key, self.seq), (&other.key, other.seq))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl<'a> Borrow<dyn Place + 'a> for Version {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

/// Before every version of its key.
const NEWEST: SeqNo = SeqNo::MAX;
/// After every version of its key: sequence numbers start at 1.
const OLDEST: SeqNo = 0;

impl Memtable {
    pub(super) fn new() -> Self {
        let parts: Box<[OnceLock<Part>]> = (0..PARTS_MAX).map(|_| OnceLock::new()).collect();
        if let Some(first) = parts.first() {
            first.get_or_init(Part::new);
        }
        Self {
            newest: DashMap::with_capacity_and_hasher_and_shard_amount(
                0,
                BuildKeyHasher::random(),
                INDEX_SHARDS,
            ),
            parts,
            parts_used: AtomicUsize::new(1),
            bytes: AtomicU64::new(0),
            count: AtomicU64::new(0),
            log_segment: OnceLock::new(),
            log_bytes: AtomicU64::new(0),
        }
    }

    /// Adds a version. Only the writer calls this; each (key, seq) once, `seq` never decreasing.
    pub(super) fn insert(&self, key: &Bytes, seq: SeqNo, value: Option<&Bytes>) {
        let size = key.len() + value.map_or(0, Bytes::len);
        let (key, value) = compact(key, value);
        let count = self.count.fetch_add(1, Atomic::Relaxed);
        if let Some(part) = self.part_for(count) {
            part.insert(Version { key: key.clone(), seq }, value.clone());
        }
        let mut bytes = size as u64 + ENTRY_OVERHEAD_BYTES;
        // Behind the part, so that whoever finds the key here finds its older versions there.
        if self.newest.insert(key, Found { seq, value }).is_none() {
            bytes += INDEX_OVERHEAD_BYTES;
        }
        self.bytes.fetch_add(bytes, Atomic::Relaxed);
    }

    /// The part that takes the next record when there are `count`; begins it where it is new.
    fn part_for(&self, count: u64) -> Option<&Part> {
        let number = usize::try_from(count / PART_ENTRIES).unwrap_or(usize::MAX).min(PARTS_MAX - 1);
        let part = self.parts.get(number)?.get_or_init(Part::new);
        if number >= self.parts_used.load(Atomic::Relaxed) {
            self.parts_used.store(number + 1, Atomic::Release);
        }
        Some(part)
    }

    /// The parts in use, newest first.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        let used = self.parts_used.load(Atomic::Acquire);
        self.parts.iter().take(used).rev().filter_map(OnceLock::get)
    }

    /// The newest version of `key` that is not newer than `seq`.
    pub(super) fn get(&self, key: &[u8], seq: SeqNo) -> Option<Found> {
        {
            let newest = self.newest.get(key)?;
            if newest.seq <= seq {
                return Some(newest.clone());
            }
        }
        let place: &dyn Place = &(key, seq);
        self.parts().find_map(|part| {
            let entry = part.lower_bound(Bound::Included(place))?;
            let version = entry.key();
            (version.key == key).then(|| Found { seq: version.seq, value: entry.value().clone() })
        })
    }

    /// Walks all versions in `range`, one walk per part, newest part first; each goes key
    /// ascending, newest first; or exactly the opposite way.
    pub(super) fn scans(
        &self,
        range: &KeyRange,
        direction: Direction,
    ) -> impl Iterator<Item = MemtableIter<'_>> {
        let range = range.clone();
        self.parts().map(move |part| MemtableIter::new(part, &range, direction))
    }

    /// Walks all versions in `range` in one order over all parts.
    pub(super) fn walk(&self, range: &KeyRange, direction: Direction) -> MergeIter<'_> {
        let walks = self.scans(range, direction);
        MergeIter::new(walks.map(|walk| Box::new(walk) as Box<dyn RecordIter>).collect(), direction)
    }

    /// Bytes in use, overhead included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Atomic::Relaxed)
    }

    /// Whether nothing was inserted.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Atomic::Relaxed) == 0
    }

    /// The first log segment that holds a batch of this memtable, once there is one.
    pub(super) fn log_segment(&self) -> Option<u64> {
        self.log_segment.get().copied()
    }

    /// Bytes of the batches of this memtable in the log.
    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Atomic::Relaxed)
    }

    /// Notes that a batch of this memtable takes `bytes` of `segment`; the first segment counts.
    pub(super) fn note_log(&self, segment: u64, bytes: u64) {
        self.log_segment.get_or_init(|| segment);
        self.log_bytes.fetch_add(bytes, Atomic::Relaxed);
    }
}

fn compact(key: &Bytes, value: Option<&Bytes>) -> (Bytes, Option<Bytes>) {
    match value {
        None => (Bytes::copy_from_slice(key), None),
        Some(value) if value.len() >= SHARED_VALUE_BYTES => {
            (Bytes::copy_from_slice(key), Some(value.clone()))
        }
        Some(value) => {
            let mut both = BytesMut::with_capacity(key.len() + value.len());
            both.extend_from_slice(key);
            both.extend_from_slice(value);
            let mut key_part = both.freeze();
            let value_part = key_part.split_off(key.len());
            (key_part, Some(value_part))
        }
    }
}

fn first_from<'a>(
    part: &'a Part,
    start: &Bound<Bytes>,
) -> Option<Entry<'a, Version, Option<Bytes>>> {
    match start {
        Bound::Unbounded => part.front(),
        Bound::Included(key) => {
            let place: &dyn Place = &(&key[..], NEWEST);
            part.lower_bound(Bound::Included(place))
        }
        Bound::Excluded(key) => {
            let place: &dyn Place = &(&key[..], OLDEST);
            part.lower_bound(Bound::Excluded(place))
        }
    }
}

fn last_to<'a>(part: &'a Part, end: &Bound<Bytes>) -> Option<Entry<'a, Version, Option<Bytes>>> {
    match end {
        Bound::Unbounded => part.back(),
        Bound::Included(key) => {
            let place: &dyn Place = &(&key[..], OLDEST);
            part.upper_bound(Bound::Included(place))
        }
        Bound::Excluded(key) => {
            let place: &dyn Place = &(&key[..], NEWEST);
            part.upper_bound(Bound::Excluded(place))
        }
    }
}

/// A walk over a part of a memtable.
pub(super) struct MemtableIter<'a> {
    next: Option<Entry<'a, Version, Option<Bytes>>>,
    stop: Bound<Bytes>,
    direction: Direction,
}

impl<'a> MemtableIter<'a> {
    fn new(part: &'a Part, (start, end): &KeyRange, direction: Direction) -> Self {
        let (next, stop) = match direction {
            Direction::Forward => (first_from(part, start), end),
            Direction::Reverse => (last_to(part, end), start),
        };
        Self { next, stop: stop.clone(), direction }
    }

    fn is_past_stop(&self, key: &Bytes) -> bool {
        match (&self.stop, self.direction) {
            (Bound::Unbounded, _) => false,
            (Bound::Included(stop), Direction::Forward) => key > stop,
            (Bound::Excluded(stop), Direction::Forward) => key >= stop,
            (Bound::Included(stop), Direction::Reverse) => key < stop,
            (Bound::Excluded(stop), Direction::Reverse) => key <= stop,
        }
    }
}

impl Iterator for MemtableIter<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.next.take()?;
        let Version { key, seq } = entry.key();
        if self.is_past_stop(key) {
            return None;
        }
        let record = Record { key: key.clone(), seq: *seq, value: entry.value().clone() };
        self.next = match self.direction {
            Direction::Forward => entry.next(),
            Direction::Reverse => entry.prev(),
        };
        Some(Ok(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Memtable {
        let table = Memtable::new();
        for (key, seq, value) in
            [("b", 1, Some("b1")), ("a", 2, Some("a2")), ("b", 3, None), ("ba", 4, Some("ba4"))]
        {
            let value = value.map(Bytes::from_static_str);
            table.insert(&Bytes::from_static_str(key), seq, value.as_ref());
        }
        table
    }

    trait FromStr {
        fn from_static_str(text: &'static str) -> Bytes;
    }
    impl FromStr for Bytes {
        fn from_static_str(text: &'static str) -> Bytes {
            Bytes::from_static(text.as_bytes())
        }
    }

    fn walk(table: &Memtable, range: &KeyRange, direction: Direction) -> Vec<(String, SeqNo)> {
        table
            .walk(range, direction)
            .map(|record| record.unwrap())
            .map(|record| (String::from_utf8(record.key.to_vec()).unwrap(), record.seq))
            .collect()
    }

    #[test]
    fn a_lookup_finds_the_newest_version_that_is_not_too_new() {
        let table = sample();
        assert_eq!(table.get(b"b", 9), Some(Found { seq: 3, value: None }));
        assert_eq!(table.get(b"b", 2).unwrap().value.unwrap(), "b1");
        assert_eq!(table.get(b"b", 0), None);
        assert_eq!(table.get(b"aa", 9), None);
        assert_eq!(table.get(b"c", 9), None);
    }

    #[test]
    fn walks_have_both_directions_and_all_bounds() {
        let table = sample();
        let key = |k: &'static str| Bytes::from_static(k.as_bytes());
        let all = (Bound::Unbounded, Bound::Unbounded);
        let forward = walk(&table, &all, Direction::Forward);
        assert_eq!(
            forward,
            [("a".into(), 2), ("b".into(), 3), ("b".into(), 1), ("ba".into(), 4)]
                as [(String, u64); 4]
        );
        let mut reverse = walk(&table, &all, Direction::Reverse);
        reverse.reverse();
        assert_eq!(forward, reverse);
        let bounds = [
            Bound::Included(key("b")),
            Bound::Excluded(key("b")),
            Bound::Included(key("aa")),
            Bound::Excluded(key("c")),
            Bound::Unbounded,
        ];
        for start in &bounds {
            for end in &bounds {
                let range = (start.clone(), end.clone());
                let expected: Vec<_> = forward
                    .iter()
                    .filter(|(k, _)| {
                        std::ops::RangeBounds::contains(&range, &Bytes::from(k.clone()))
                    })
                    .cloned()
                    .collect();
                let mut reverse = walk(&table, &range, Direction::Reverse);
                reverse.reverse();
                assert_eq!(walk(&table, &range, Direction::Forward), expected, "{range:?}");
                assert_eq!(reverse, expected, "{range:?}");
            }
        }
    }

    #[test]
    fn many_parts_are_one_order() {
        let table = Memtable::new();
        let entries = 3 * PART_ENTRIES + 7;
        for seq in 1..=entries {
            let key = Bytes::from(format!("{:05}", seq * 7919 % 50_000));
            table.insert(&key, seq, Some(&Bytes::from(seq.to_string())));
        }
        let all = (Bound::Unbounded, Bound::Unbounded);
        let forward = walk(&table, &all, Direction::Forward);
        assert_eq!(forward.len() as u64, entries);
        assert!(forward.is_sorted_by(|a, b| (&a.0, b.1) < (&b.0, a.1)));
        let mut reverse = walk(&table, &all, Direction::Reverse);
        reverse.reverse();
        assert_eq!(forward, reverse);
        for (key, seq) in forward {
            assert_eq!(table.get(key.as_bytes(), seq).map(|found| found.seq), Some(seq));
        }
    }

    #[test]
    fn a_small_value_does_not_pin_the_buffer_it_came_in() {
        let buffer = Bytes::from(vec![7u8; 64 << 10]);
        let table = Memtable::new();
        table.insert(&buffer.slice(0..20), 1, Some(&buffer.slice(20..120)));
        assert!(buffer.is_unique());
        table.insert(&buffer.slice(0..21), 2, Some(&buffer.slice(100..)));
        assert!(!buffer.is_unique());
    }
}
