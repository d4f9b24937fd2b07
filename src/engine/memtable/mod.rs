//! The memtable: the newest records, in memory.
//!
//! One writer inserts, any number of readers look up and walk. Versions of a key are kept, so that a
//! reader finds the newest one that is not newer than its view; what no view sees any more may go. No
//! key is ever removed. So keys that are written again and again take the memory of one version, and
//! those that are written together with them the longer.
//! Lookups go through [`super::rows`], which has the newest version of each key in one hash map.
//!
//! Order is made when somebody asks for it: entries are put down as they come, and the first walk
//! sorts what has gathered into a tree, which the writer keeps up to date from then on. A memtable
//! that nobody walks is sorted once it is sealed, for its flush. To insert each entry into an ordered
//! structure of a million costs ten times as much as to put it down.
//!
//! Entries are kept apart by the kind of their record, one byte of the key
//! ([`super::Options::kind_at`]): a walk over one kind puts that kind in order and no other. An index
//! that is walked ten times a second costs nothing where the data are.

mod backlog;
mod chain;
mod entry;
mod ordered;
mod part;
mod sorted;

use std::borrow::{Borrow, Cow};
use std::ops::{Bound, RangeInclusive};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};

pub(super) use self::backlog::Spot;
pub(super) use self::entry::Entry;

use self::part::{All, Entries, Part};
use super::{Direction, Found, KeyRange, Options, ReadMode, Record, Result, SeqNo};

/// What a version costs beside its key and value: the header of its memory, its place in the backlog
/// or the tree, and its row.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

/// Kinds that are kept apart; further ones share.
const KINDS: usize = 8;
/// Three shares of each kind.
const SHARES: usize = 3;
const PARTS: usize = SHARES * KINDS;

/// Which versions that are older than a new one are still needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    /// All views, those to come included, see at least this.
    pub(super) oldest_view: SeqNo,
    /// First transaction of the batch that writes the new one: what it has written of the key before is
    /// seen by nobody.
    pub(super) batch_seq: SeqNo,
}

impl Needed {
    /// No older one: there are no views.
    pub(super) const NEWEST: Self = Self { oldest_view: 0, batch_seq: 0 };
    /// All of them.
    const ALL: Self = Self { oldest_view: 0, batch_seq: SeqNo::MAX };
}

/// Versions that have gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gone {
    versions: usize,
    /// Bytes of keys and values.
    bytes: usize,
}

impl Gone {
    fn add(&mut self, entry: &Entry) {
        self.versions += 1;
        self.bytes += entry.len();
    }

    /// With what they cost beside that.
    fn total_bytes(self) -> u64 {
        self.bytes as u64 + self.versions as u64 * ENTRY_OVERHEAD_BYTES
    }
}

/// Newest records.
#[derive(Debug)]
pub(super) struct Memtable {
    parts: [Part; PARTS],
    kind_at: usize,
    share_at: usize,
    is_flushed: AtomicBool,
    bytes: AtomicU64,
    /// That were put down, whatever became of them.
    tombstones: AtomicU64,
    log_segment: OnceLock<u64>,
    log_bytes: AtomicU64,
}

impl Memtable {
    /// An empty one; byte `kind_at` of a key is the kind of its record.
    pub(super) fn new(kind_at: usize) -> Self {
        Self {
            parts: Default::default(),
            kind_at,
            share_at: usize::MAX,
            is_flushed: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            tombstones: AtomicU64::new(0),
            log_segment: OnceLock::new(),
            log_bytes: AtomicU64::new(0),
        }
    }

    /// An empty one that keeps apart what the options say.
    pub(super) fn of(options: &Options) -> Self {
        Self { share_at: options.share_at, ..Self::new(options.kind_at) }
    }

    /// An empty one that keeps the same kinds apart.
    pub(super) fn new_like(&self) -> Self {
        Self { share_at: self.share_at, ..Self::new(self.kind_at) }
    }

    fn part_number(&self, key: &[u8]) -> usize {
        self.kind(key) * SHARES + share_of(key, self.share_at)
    }

    fn kind(&self, key: &[u8]) -> usize {
        key.get(self.kind_at).map_or(0, |kind| usize::from(*kind) % KINDS)
    }

    fn part(&self, key: &[u8]) -> &Part {
        &self.parts[self.part_number(key)]
    }

    /// The parts in which `range` may lie.
    fn parts(&self, range: &KeyRange) -> impl Iterator<Item = &Part> {
        let kind = kind_of_range(range, self.kind_at).map(|key| self.kind(key));
        let parts = kind.map_or(0..PARTS, |kind| SHARES * kind..SHARES * (kind + 1));
        let shares = shares_of_range(range, self.share_at);
        let met = parts.filter(move |number| shares.contains(&(number % SHARES)));
        met.filter_map(|number| self.parts.get(number)).filter(|part| !part.is_empty())
    }

    /// Adds a version; the older ones of its key that are not `needed` go as far as they are at hand.
    /// Where it was put, for [`Self::release`]. Only the writer calls this; each (key, seq) once, `seq`
    /// of a key never decreasing.
    pub(super) fn insert(&self, entry: Entry, needed: Needed) -> Spot {
        let added = entry.len() as u64 + ENTRY_OVERHEAD_BYTES;
        if entry.is_tombstone() {
            // The writer alone changes it.
            self.tombstones.store(self.tombstones() + 1, Atomic::Relaxed);
        }
        let (spot, gone) = self.part(entry.key()).insert(entry, needed);
        // The writer alone changes it.
        let bytes = (self.bytes() + added).saturating_sub(gone.total_bytes());
        self.bytes.store(bytes, Atomic::Relaxed);
        spot
    }

    /// Lets go of versions that no view sees any more, as far as they are where they were put: what was put in order meanwhile stays. Only the writer calls this.
    pub(super) fn release<'e, P: Borrow<Spot>>(
        &self,
        entries: impl IntoIterator<Item = (&'e Entry, P)>,
    ) {
        let mut gone = Gone::default();
        let mut held: Option<(usize, part::Releases<'_>)> = None;
        for (entry, spot) in entries {
            let number = self.part_number(entry.key());
            if held.as_ref().is_none_or(|(held, _)| *held != number) {
                // One lock at a time.
                drop(held.take());
                held = Some((number, self.parts[number].releases()));
            }
            if let Some((_, releases)) = &mut held
                && releases.release(entry, *spot.borrow())
            {
                gone.add(entry);
            }
        }
        self.bytes.store(self.bytes().saturating_sub(gone.total_bytes()), Atomic::Relaxed);
    }

    /// No more entries will come.
    pub(super) fn seal(&self) {
        self.parts.iter().for_each(Part::seal);
    }

    /// Everything is in tables now; rows of it may go from now on.
    pub(super) fn set_flushed(&self) {
        self.is_flushed.store(true, Atomic::Release);
    }

    /// Whether [`Self::set_flushed`] was called.
    pub(super) fn is_flushed(&self) -> bool {
        self.is_flushed.load(Atomic::Acquire)
    }

    /// The newest version of `key` that is not newer than `seq`. Puts its kind in order.
    pub(super) fn get(&self, key: &[u8], seq: SeqNo, mode: ReadMode) -> Result<Option<Found>> {
        Ok(self.part(key).get(key, seq, mode)?.map(|entry| entry.found()))
    }

    /// Walks what a view at `seq` sees of `range`: of each key the newest version that is not newer, and
    /// no other, so a key costs the same however often it was written. One walk for each kind of which
    /// records may be met; no key is met by two.
    pub(super) fn walks(
        &self,
        range: &KeyRange,
        direction: Direction,
        seq: SeqNo,
        mode: ReadMode,
    ) -> impl Iterator<Item = Result<MemtableIter<'_>>> {
        self.parts(range)
            .map(move |part| part.entries(range, direction, seq, mode))
            .map(|entries| Ok(MemtableIter(entries?)))
    }

    /// Calls `take` with the newest version of each key, keys ascending, until it fails. Puts
    /// everything in order first.
    pub(super) fn for_each_newest(&self, mut take: impl FnMut(&Entry) -> Result<()>) -> Result<()> {
        let parts = self.parts.iter().filter(|part| !part.is_empty());
        let mut walks = parts.map(|part| Walk::begin(part.all()?)).collect::<Result<Vec<_>>>()?;
        loop {
            walks.retain(|walk| walk.next.is_some());
            let Some(walk) = walks.iter_mut().min_by(|a, b| a.key().cmp(&b.key())) else {
                return Ok(());
            };
            if let Some(newest) = walk.next_newest() {
                take(&newest)?;
            }
        }
    }

    /// Bytes in use, overhead included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Atomic::Relaxed)
    }

    /// Versions in it, at most.
    pub(super) fn versions_max(&self) -> u64 {
        self.bytes() / ENTRY_OVERHEAD_BYTES
    }

    /// Tombstones that were put down, whatever became of them.
    pub(super) fn tombstones(&self) -> u64 {
        self.tombstones.load(Atomic::Relaxed)
    }

    /// Whether nothing was inserted.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.iter().all(Part::is_empty)
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

/// A key of the kind of which all keys of `range` are, if they are of one kind: those with one prefix
/// of `kind_at` bytes and one byte behind it.
fn kind_of_range((start, end): &KeyRange, kind_at: usize) -> Option<&[u8]> {
    let (Bound::Included(from) | Bound::Excluded(from)) = start else { return None };
    let (prefix, kind) = from.get(..=kind_at)?.split_at(kind_at);
    let is_one = match end {
        Bound::Unbounded => false,
        // The first key of the next kind bounds this one.
        Bound::Excluded(next) if next.len() == kind_at + 1 => {
            next.starts_with(prefix)
                && (next[kind_at] == kind[0] || Some(next[kind_at]) == kind[0].checked_add(1))
        }
        Bound::Included(end) | Bound::Excluded(end) => end.starts_with(&from[..=kind_at]),
    };
    is_one.then_some(&from[..])
}

/// What comes before 0x80 at byte `share_at`, what is there, and what comes behind.
fn share_of(key: &[u8], share_at: usize) -> usize {
    key.get(share_at).map_or(0, |byte| share_of_byte(*byte))
}

fn share_of_byte(byte: u8) -> usize {
    match byte {
        0..0x80 => 0,
        0x80 => 1,
        _ => 2,
    }
}

/// The shares of their kind that keys of `range` may have: all, but where its bounds have one prefix of
/// `share_at` bytes.
fn shares_of_range((start, end): &KeyRange, share_at: usize) -> RangeInclusive<usize> {
    let all = 0..=SHARES - 1;
    let (Bound::Included(from) | Bound::Excluded(from)) = start else { return all };
    let (Bound::Included(to) | Bound::Excluded(to)) = end else { return all };
    let Some((prefix, rest)) = to.split_at_checked(share_at) else { return all };
    if from.get(..share_at) != Some(prefix) {
        return all;
    }
    let last = match (end, rest) {
        // What begins with the byte does not belong to the range.
        (Bound::Excluded(_), [byte]) => share_of_byte(byte.saturating_sub(1)),
        _ => share_of(to, share_at),
    };
    share_of(from, share_at)..=last
}

/// A walk over the newest versions of a part, with the one that comes next.
struct Walk<'a> {
    entries: All<'a>,
    next: Option<Cow<'a, Entry>>,
}

impl<'a> Walk<'a> {
    fn begin(mut entries: All<'a>) -> Result<Self> {
        let next = entries.next();
        Ok(Self { entries, next })
    }

    fn key(&self) -> Option<&[u8]> {
        self.next.as_ref().map(|entry| entry.key())
    }

    /// The newest version of the next key; passes over its older ones.
    fn next_newest(&mut self) -> Option<Cow<'a, Entry>> {
        let newest = self.next.take()?;
        // Versions of a key come newest first.
        self.next = self.entries.find(|entry| entry.key() != newest.key());
        Some(newest)
    }
}

/// A walk over the records of a memtable.
#[derive(Debug)]
pub(super) struct MemtableIter<'a>(Entries<'a>);

impl MemtableIter<'_> {
    /// Passes over tombstones: nothing older is below.
    pub(super) fn hide_tombstones(&mut self) {
        self.0.hide_tombstones();
    }

    /// Reads as much at a time as there is: the walk is a long one.
    pub(super) fn expect_many(&mut self) {
        self.0.expect_many();
    }

    /// The next entry, if `go_on` allows to pass over so many keys of which nothing is seen.
    pub(super) fn next_seen(
        &mut self,
        mut go_on: impl FnMut(usize) -> Result<()>,
    ) -> Option<Result<Entry>> {
        loop {
            if let Some(entry) = self.0.next_on_page() {
                return Some(Ok(entry));
            }
            if let Err(error) = go_on(self.0.turn_page()?) {
                return Some(Err(error));
            }
        }
    }
}

impl Iterator for MemtableIter<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| Ok(entry.into_record()))
    }
}

#[cfg(test)]
mod tests;
