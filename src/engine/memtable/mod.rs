//! The memtable: the newest records, in memory.
//!
//! One writer inserts, any number of readers look up and walk. Versions of a key are kept, newest
//! first; a reader passes over those that are newer than its view. Nothing is ever removed.
//! Lookups go through [`super::rows`], which has the newest version of each key in one hash map.
//!
//! Order is made when somebody asks for it: entries are put down as they come, and the first walk
//! sorts what has gathered into a tree, which the writer keeps up to date from then on. A memtable
//! that nobody walks is sorted once it is sealed, for its flush. To insert each entry into an ordered
//! structure of a million costs ten times as much as to put it down.

mod backlog;
mod entry;
mod ordered;
mod sorted;

use std::borrow::Borrow;
use std::ops::Bound;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};

use bytes::Bytes;
use parking_lot::Mutex;

pub(super) use self::entry::Entry;

use self::backlog::{Backlog, Run};
use self::entry::Place;
use self::ordered::{Ordered, Page};
use super::{Direction, Error, Found, KeyRange, ReadMode, Record, Result, SeqNo};

/// What a version costs beside its key and value: the header of its memory, its place in the backlog
/// or the tree, and its row.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

/// Entries of a page where a walk has passed over the versions of a key.
const SHORT_PAGE: usize = 4;

/// Entries that a resident read may put in order.
const RESIDENT_BACKLOG_MAX: usize = 256;

/// Newest records.
#[derive(Debug)]
pub(super) struct Memtable {
    /// What is in no order yet.
    backlog: Mutex<Backlog>,
    /// Held by whoever puts entries in order; taken before `backlog`.
    ordering: Mutex<()>,
    /// What was put in order while the writer may add more.
    ordered: Ordered,
    /// Everything in order, where that was asked for only when it was sealed.
    run: OnceLock<Run>,
    is_sealed: AtomicBool,
    is_flushed: AtomicBool,
    /// Whether the writer keeps `ordered` up to date.
    is_walked: AtomicBool,
    bytes: AtomicU64,
    log_segment: OnceLock<u64>,
    log_bytes: AtomicU64,
}

/// Before every version of its key.
const NEWEST: SeqNo = SeqNo::MAX;
/// After every version of its key: sequence numbers start at 1.
const OLDEST: SeqNo = 0;

impl Memtable {
    pub(super) fn new() -> Self {
        Self {
            backlog: Mutex::default(),
            ordering: Mutex::default(),
            ordered: Ordered::new(),
            run: OnceLock::new(),
            is_sealed: AtomicBool::new(false),
            is_flushed: AtomicBool::new(false),
            is_walked: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            log_segment: OnceLock::new(),
            log_bytes: AtomicU64::new(0),
        }
    }

    /// Adds a version. Only the writer calls this; each (key, seq) once, `seq` never decreasing.
    pub(super) fn insert(&self, entry: Entry) {
        // The writer alone changes it.
        let bytes = self.bytes() + entry.len() as u64 + ENTRY_OVERHEAD_BYTES;
        self.bytes.store(bytes, Atomic::Relaxed);
        if self.is_walked.load(Atomic::Relaxed)
            && let Some(_ordering) = self.ordering.try_lock()
            && let Ok(rest) = self.take_backlog(ReadMode::Resident)
        {
            // What came while a walk put the others in order.
            rest.backlog.into_run().iter().for_each(|entry| self.ordered.insert(entry.clone()));
            self.ordered.insert(entry);
        } else {
            self.backlog.lock().push(entry);
        }
    }

    /// Takes what is in no order yet; `WouldBlock` where that is too much for a resident read. The
    /// writer adds to the next backlog meanwhile. The caller holds `ordering`.
    fn take_backlog(&self, mode: ReadMode) -> Result<Taken> {
        // Before the backlog is taken: only behind its seal that is all there will be.
        let is_all = self.is_sealed.load(Atomic::Acquire);
        let mut backlog = self.backlog.lock();
        if mode == ReadMode::Resident && backlog.len() > RESIDENT_BACKLOG_MAX {
            return Err(Error::WouldBlock);
        }
        Ok(Taken { backlog: std::mem::take(&mut *backlog), is_all })
    }

    /// No more entries will come.
    pub(super) fn seal(&self) {
        self.is_sealed.store(true, Atomic::Release);
    }

    /// Everything is in tables now; rows of it may go from now on.
    pub(super) fn set_flushed(&self) {
        self.is_flushed.store(true, Atomic::Release);
    }

    /// Whether [`Self::set_flushed`] was called.
    pub(super) fn is_flushed(&self) -> bool {
        self.is_flushed.load(Atomic::Acquire)
    }

    /// Puts everything in order that was inserted so far; the writer does from now on.
    /// Fails with `WouldBlock` where a resident read would wait, or would hold up others.
    fn order(&self, mode: ReadMode) -> Result<Order<'_>> {
        if let Some(run) = self.run.get() {
            return Ok(Order::Run(run));
        }
        let _ordering = match mode {
            ReadMode::Blocking => self.ordering.lock(),
            ReadMode::Resident => self.ordering.try_lock().ok_or(Error::WouldBlock)?,
        };
        // Whoever held the lock before may have made it.
        if let Some(run) = self.run.get() {
            return Ok(Order::Run(run));
        }
        self.put_in_order(self.take_backlog(mode)?, mode)
    }

    /// Goes on behind [`Self::take_backlog`]. The caller holds `ordering`.
    fn put_in_order(&self, mut taken: Taken, mode: ReadMode) -> Result<Order<'_>> {
        let was_walked = self.is_walked.swap(true, Atomic::Relaxed);
        if taken.is_all && !was_walked {
            return Ok(Order::Run(self.run.get_or_init(|| taken.backlog.into_run())));
        }
        // Until the writer can keep up by itself: each round is shorter than the one before.
        loop {
            let count = taken.backlog.len();
            taken.backlog.into_run().iter().for_each(|entry| self.ordered.insert(entry.clone()));
            if count <= RESIDENT_BACKLOG_MAX {
                return Ok(Order::Tree(&self.ordered));
            }
            taken = self.take_backlog(mode)?;
        }
    }

    /// The newest version of `key` that is not newer than `seq`.
    pub(super) fn get(&self, key: &[u8], seq: SeqNo, mode: ReadMode) -> Result<Option<Found>> {
        let entry = match self.order(mode)? {
            Order::Tree(tree) => tree.first_from(Place { key, seq }),
            Order::Run(run) => run.page_from(Place { key, seq }, 1).entries.pop(),
        };
        Ok(entry.filter(|entry| entry.key() == key).map(|entry| entry.found()))
    }

    /// Walks all versions in `range`: key ascending, newest first; or exactly the opposite way.
    pub(super) fn walk(
        &self,
        range: &KeyRange,
        direction: Direction,
        mode: ReadMode,
    ) -> Result<MemtableIter<'_>> {
        Ok(MemtableIter { entries: self.entries(range, direction, mode)?, seen_at: None })
    }

    fn entries(
        &self,
        (start, end): &KeyRange,
        direction: Direction,
        mode: ReadMode,
    ) -> Result<Entries<'_>> {
        let (from, stop) = match direction {
            Direction::Forward => (start, end),
            Direction::Reverse => (end, start),
        };
        Ok(Entries {
            order: self.order(mode)?,
            page: Vec::new().into_iter(),
            page_len: usize::MAX,
            next: Next::Bound(from.clone()),
            stop: stop.clone(),
            direction,
        })
    }

    /// Calls `take` with the newest version of each key, keys ascending, until it fails. Puts
    /// everything in order first.
    pub(super) fn for_each_newest(&self, take: impl FnMut(&Entry) -> Result<()>) -> Result<()> {
        match self.order(ReadMode::Blocking)? {
            Order::Run(run) => for_each_newest(run.iter(), take),
            Order::Tree(_) => {
                let all = (Bound::Unbounded, Bound::Unbounded);
                let entries = self.entries(&all, Direction::Forward, ReadMode::Blocking)?;
                for_each_newest(entries, take)
            }
        }
    }

    /// Bytes in use, overhead included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Atomic::Relaxed)
    }

    /// Whether nothing was inserted.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0
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

/// The entries of a memtable in order.
#[derive(Debug, Clone, Copy)]
enum Order<'a> {
    Tree(&'a Ordered),
    Run(&'a Run),
}

fn for_each_newest<E: Borrow<Entry>>(
    entries: impl Iterator<Item = E>,
    mut take: impl FnMut(&Entry) -> Result<()>,
) -> Result<()> {
    let mut last: Option<E> = None;
    for entry in entries {
        // Versions of a key come newest first.
        if last.as_ref().is_none_or(|last| last.borrow() != entry.borrow()) {
            take(entry.borrow())?;
            last = Some(entry);
        }
    }
    Ok(())
}

/// The first eight bytes, zeros behind the end, as a number that compares as they do.
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(whole) => u64::from_be_bytes(*whole),
        None => {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(padded)
        }
    }
}

/// What was in no order yet.
#[derive(Debug)]
struct Taken {
    backlog: Backlog,
    /// Whether no more will come behind it.
    is_all: bool,
}

/// Where a walk goes on.
#[derive(Debug)]
enum Next {
    /// At the bound where it starts.
    Bound(Bound<Bytes>),
    /// At this entry (forward) or before it (reverse).
    Page(Entry),
    End,
}

/// A walk over the entries of a memtable, page by page.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    order: Order<'a>,
    page: std::vec::IntoIter<Entry>,
    /// Most entries of the next page, forward.
    page_len: usize,
    next: Next,
    stop: Bound<Bytes>,
    direction: Direction,
}

impl Entries<'_> {
    /// Reads the next page; `false` at the end.
    fn turn_page(&mut self) -> bool {
        let next = std::mem::replace(&mut self.next, Next::End);
        let page = match (&next, self.direction) {
            (Next::End, _) => return false,
            (Next::Bound(start), Direction::Forward) => self.page_from(match start {
                Bound::Unbounded => Place { key: &[], seq: NEWEST },
                Bound::Included(key) => Place { key, seq: NEWEST },
                Bound::Excluded(key) => Place { key, seq: OLDEST },
            }),
            (Next::Bound(end), Direction::Reverse) => self.page_before(match end {
                Bound::Unbounded => None,
                Bound::Included(key) => Some(Place { key, seq: OLDEST }),
                Bound::Excluded(key) => Some(Place { key, seq: NEWEST }),
            }),
            (Next::Page(entry), Direction::Forward) => self.page_from(entry.place()),
            (Next::Page(entry), Direction::Reverse) => self.page_before(Some(entry.place())),
        };
        let Page { entries, next } = page;
        self.page = entries.into_iter();
        self.page_len = usize::MAX;
        self.next = next.map_or(Next::End, Next::Page);
        true
    }

    /// Passes over what is left of the versions of `key`, however many they are; answers the newest
    /// of those in the page that `seq` allows, and whether all of them were in the page.
    fn pass_over(&mut self, key: &Entry, seq: SeqNo) -> (Option<Entry>, bool) {
        let rest = self.page.as_slice();
        let same = rest.iter().take_while(|entry| *entry == key).count();
        let is_whole = same < rest.len();
        let allowed = rest.iter().take(same).filter(|entry| entry.seq() <= seq);
        let newest = allowed.max_by_key(|entry| entry.seq()).cloned();
        if is_whole {
            self.page.by_ref().take(same).for_each(drop);
        } else {
            self.page = Vec::new().into_iter();
            self.page_len = SHORT_PAGE;
            self.next = Next::Bound(Bound::Excluded(Bytes::copy_from_slice(key.key())));
        }
        (newest, is_whole)
    }

    /// The newest version of a key that `seq` allows.
    fn newest_at(&self, key: &[u8], seq: SeqNo) -> Option<Entry> {
        let place = Place { key, seq };
        let found = match self.order {
            Order::Tree(tree) => tree.first_from(place),
            Order::Run(run) => run.page_from(place, 1).entries.pop(),
        };
        found.filter(|entry| entry.key() == key)
    }

    /// Of the next key of which `seq` allows a version: the newest of these.
    fn next_seen(&mut self, seq: SeqNo) -> Option<Entry> {
        loop {
            let entry = self.next()?;
            let (newest, is_whole) = self.pass_over(&entry, seq);
            let is_allowed = entry.seq() <= seq;
            // Forward the newest version comes first.
            let seen = match self.direction {
                Direction::Forward if is_allowed => Some(entry),
                _ if !is_whole => self.newest_at(entry.key(), seq),
                _ => newest.or(is_allowed.then_some(entry)),
            };
            if seen.is_some() {
                return seen;
            }
        }
    }

    fn page_from(&self, place: Place<'_>) -> Page {
        match self.order {
            Order::Tree(tree) => tree.leaf_from(place, self.page_len),
            Order::Run(run) => run.page_from(place, self.page_len),
        }
    }

    fn page_before(&self, place: Option<Place<'_>>) -> Page {
        match self.order {
            Order::Tree(tree) => tree.leaf_before(place),
            Order::Run(run) => run.page_before(place),
        }
    }

    fn is_past_stop(&self, key: &[u8]) -> bool {
        match (&self.stop, self.direction) {
            (Bound::Unbounded, _) => false,
            (Bound::Included(stop), Direction::Forward) => key > &stop[..],
            (Bound::Excluded(stop), Direction::Forward) => key >= &stop[..],
            (Bound::Included(stop), Direction::Reverse) => key < &stop[..],
            (Bound::Excluded(stop), Direction::Reverse) => key <= &stop[..],
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            match self.page.next() {
                Some(entry) if self.is_past_stop(entry.key()) => {
                    self.next = Next::End;
                    self.page = Vec::new().into_iter();
                    return None;
                }
                Some(entry) => return Some(entry),
                None if !self.turn_page() => return None,
                None => {}
            }
        }
    }
}

/// A walk over the records of a memtable.
#[derive(Debug)]
pub(super) struct MemtableIter<'a> {
    entries: Entries<'a>,
    seen_at: Option<SeqNo>,
}

impl MemtableIter<'_> {
    /// Of each key the newest version that is not newer than `seq`, and no other: a key costs the same
    /// however often it was written.
    pub(super) fn seen_at(self, seq: SeqNo) -> Self {
        Self { seen_at: Some(seq), ..self }
    }
}

impl Iterator for MemtableIter<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match self.seen_at {
            Some(seq) => self.entries.next_seen(seq),
            None => self.entries.next(),
        };
        entry.map(|entry| Ok(entry.record()))
    }
}

#[cfg(test)]
mod version_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Memtable {
        let table = Memtable::new();
        for (key, seq, value) in
            [("b", 1, Some("b1")), ("a", 2, Some("a2")), ("b", 3, None), ("ba", 4, Some("ba4"))]
        {
            table.insert(Entry::new(key.as_bytes(), seq, value.map(str::as_bytes)));
        }
        table
    }

    fn walk(table: &Memtable, range: &KeyRange, direction: Direction) -> Vec<(String, SeqNo)> {
        table
            .walk(range, direction, ReadMode::Blocking)
            .unwrap()
            .map(|record| record.unwrap())
            .map(|record| (String::from_utf8(record.key.to_vec()).unwrap(), record.seq))
            .collect()
    }

    #[test]
    fn a_lookup_finds_the_newest_version_that_is_not_too_new() {
        let table = sample();
        let get = |key: &str, seq| table.get(key.as_bytes(), seq, ReadMode::Blocking).unwrap();
        assert_eq!(get("b", 9), Some(Found { seq: 3, value: None }));
        assert_eq!(get("b", 2).unwrap().value.unwrap(), "b1");
        assert_eq!(get("b", 0), None);
        assert_eq!(get("aa", 9), None);
        assert_eq!(get("c", 9), None);
    }

    #[test]
    fn walks_have_both_directions_and_all_bounds() {
        walks_have_all_bounds(&sample());
        let sealed = sample();
        sealed.seal();
        walks_have_all_bounds(&sealed);
        assert!(sealed.run.get().is_some());
    }

    fn walks_have_all_bounds(table: &Memtable) {
        let key = |k: &'static str| Bytes::from_static(k.as_bytes());
        let all = (Bound::Unbounded, Bound::Unbounded);
        let forward = walk(table, &all, Direction::Forward);
        assert_eq!(
            forward,
            [("a".into(), 2), ("b".into(), 3), ("b".into(), 1), ("ba".into(), 4)]
                as [(String, u64); 4]
        );
        let mut reverse = walk(table, &all, Direction::Reverse);
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
                let mut reverse = walk(table, &range, Direction::Reverse);
                reverse.reverse();
                assert_eq!(walk(table, &range, Direction::Forward), expected, "{range:?}");
                assert_eq!(reverse, expected, "{range:?}");
            }
        }
    }

    #[test]
    fn many_leaves_are_one_order() {
        for (step, is_walked) in [(1, true), (7919, true), (49_999, true), (7919, false)] {
            let table = Memtable::new();
            let entries = 30_000;
            for seq in 1..=entries {
                let key = format!("{:05}", seq * step % 50_000 / 3);
                table.insert(Entry::new(key.as_bytes(), seq, Some(b"value")));
                if is_walked && seq % 7_000 == 0 {
                    let found = table.get(key.as_bytes(), seq, ReadMode::Blocking).unwrap();
                    assert_eq!(found.unwrap().seq, seq);
                }
            }
            table.seal();
            let all = (Bound::Unbounded, Bound::Unbounded);
            let forward = walk(&table, &all, Direction::Forward);
            assert_eq!(table.run.get().is_some(), !is_walked);
            assert_eq!(forward.len() as u64, entries);
            assert!(forward.is_sorted_by(|a, b| (&a.0, b.1) < (&b.0, a.1)));
            let mut reverse = walk(&table, &all, Direction::Reverse);
            reverse.reverse();
            assert_eq!(forward, reverse);
            for (key, seq) in forward {
                let found = table.get(key.as_bytes(), seq, ReadMode::Blocking).unwrap();
                assert_eq!(found.map(|found| found.seq), Some(seq));
            }
        }
    }

    #[test]
    fn walks_beside_the_writer_miss_nothing_older() {
        let table = Memtable::new();
        let insert = |number: u64| {
            let key = format!("{:06}", number * 7919 % 100_000);
            table.insert(Entry::new(key.as_bytes(), number + 1, Some(b"v")));
        };
        (0..5_000).for_each(insert);
        let all = (Bound::Unbounded, Bound::Unbounded);
        std::thread::scope(|scope| {
            let walks = [Direction::Forward, Direction::Reverse].map(|direction| {
                let (table, all) = (&table, &all);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let walked = walk(table, all, direction);
                        let old = walked.iter().filter(|(_, seq)| *seq <= 5_000).count();
                        assert_eq!(old, 5_000);
                        let ordered = match direction {
                            Direction::Forward => walked.is_sorted(),
                            Direction::Reverse => walked.is_sorted_by(|a, b| a >= b),
                        };
                        assert!(ordered);
                    }
                })
            });
            (5_000..60_000).for_each(insert);
            for walk in walks {
                walk.join().unwrap();
            }
        });
    }

    #[test]
    fn threads_that_ask_for_order_at_once_see_the_same() {
        for _ in 0..20 {
            let table = Memtable::new();
            for seq in 1..=40_000_u64 {
                table.insert(Entry::new(&(seq * 7919 % 40_000).to_be_bytes(), seq, Some(b"v")));
            }
            table.seal();
            let all = (Bound::Unbounded, Bound::Unbounded);
            let start = std::sync::Barrier::new(3);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        start.wait();
                        let records = table.walk(&all, Direction::Forward, ReadMode::Blocking);
                        assert_eq!(records.unwrap().count(), 40_000);
                    });
                }
            });
        }
    }

    #[test]
    fn what_comes_between_the_first_walk_and_the_seal_is_kept() {
        let table = Memtable::new();
        let insert = |seq: u64| table.insert(Entry::new(&seq.to_be_bytes(), seq, Some(b"v")));
        (1..=500).for_each(insert);
        let taken = table.take_backlog(ReadMode::Blocking).unwrap();
        // A walk has begun; the writer goes on, and seals.
        (501..=600).for_each(insert);
        table.seal();
        table.put_in_order(taken, ReadMode::Blocking).unwrap();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let walk = table.walk(&all, Direction::Forward, ReadMode::Blocking).unwrap();
        assert_eq!(walk.count(), 600);
    }

    #[test]
    fn overwriting_one_key_fills_the_leaves() {
        let table = Memtable::new();
        let insert = |key: &str, seq| table.insert(Entry::new(key.as_bytes(), seq, Some(b"v")));
        (1..=64 * 40).for_each(|seq: u64| insert(&format!("{seq:06}"), seq));
        insert("z", 64 * 40 + 1);
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert_eq!(walk(&table, &all, Direction::Forward).len(), 64 * 40 + 1);
        (1..=6_400).for_each(|seq| insert("z", 64 * 40 + 1 + seq));
        (1..=6_400).for_each(|seq| insert(&format!("y{:06}", 9_999 - seq), 90_000 + seq));
        assert!(table.ordered.leaves() <= 40 + 2 * 2 * 100 + 4, "{}", table.ordered.leaves());
    }

    #[test]
    fn a_resident_read_puts_few_entries_in_order_and_leaves_many_to_others() {
        let table = Memtable::new();
        let insert = |seq: u64| table.insert(Entry::new(&seq.to_be_bytes(), seq, Some(b"v")));
        let few = RESIDENT_BACKLOG_MAX as u64;
        (1..=few).for_each(insert);
        let get = |seq: u64, mode| table.get(&seq.to_be_bytes(), seq, mode);
        assert!(get(few, ReadMode::Resident).unwrap().is_some());
        // From now on the writer keeps the order.
        (few + 1..=3 * few).for_each(insert);
        assert!(get(3 * few, ReadMode::Resident).unwrap().is_some());

        let table = Memtable::new();
        (1..=few + 1).for_each(|seq| table.insert(Entry::new(b"key", seq, Some(b"v"))));
        let get = |mode| table.get(b"key", 1, mode);
        assert!(matches!(get(ReadMode::Resident), Err(Error::WouldBlock)));
        assert_eq!(get(ReadMode::Blocking).unwrap().unwrap().seq, 1);
        assert_eq!(get(ReadMode::Resident).unwrap().unwrap().seq, 1);
    }
}
