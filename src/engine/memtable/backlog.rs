//! Entries that nobody has asked for in order yet, as they came.

use std::ops::Bound;

use super::entry::Entry;
use super::ordered::{Page, Sight};
use crate::engine::SeqNo;
use crate::engine::coding::head;

/// Entries of a chunk: what is moved when a vector grows stays small.
const CHUNK_ENTRIES: usize = 4096;
/// Keys that are looked at for a page, at most.
const KEYS_AT_ONCE: usize = 1024;
/// Runs up to this length are sorted by comparing whole keys.
const SHORT_RUN: usize = 32;
/// So often a run is sorted by the next eight bytes; what is still equal then by whole keys.
const ROUNDS_MAX: usize = 16;
/// Entries that a walk asks for together.
const BURST: usize = 16;

/// Where a version was put down; four bytes, so that a row of the hash map still lies in one line of
/// the processor's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Spot(u32);

impl Spot {
    /// In no backlog.
    pub(in crate::engine) const NOWHERE: Self = Self(u32::MAX);

    /// Of which chunk, and where there.
    fn parts(self) -> (usize, usize) {
        (self.0 as usize / CHUNK_ENTRIES, self.0 as usize % CHUNK_ENTRIES)
    }
}

/// Entries as they came, but for those that took the spots of others that had gone.
///
/// With each goes what its key has in the eight bytes behind the prefix that all keys share: put
/// down while the key is in the processor's cache, it spares the sort from looking at most keys.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    chunks: Vec<Chunk>,
    /// What all keys begin with.
    shared: Vec<u8>,
    /// Where nothing is.
    free: Vec<Spot>,
    /// What is there instead.
    hole: Option<Entry>,
}

#[derive(Debug)]
struct Chunk {
    entries: Vec<Entry>,
    heads: Vec<u64>,
    /// Bytes of a key before its head.
    skip: usize,
}

impl Chunk {
    /// Takes the heads from behind `skip` bytes.
    fn set_skip(&mut self, skip: usize) {
        if self.skip != skip {
            self.skip = skip;
            let Self { entries, heads, .. } = self;
            heads.clear();
            heads.extend(entries.iter().map(|entry| head_behind(entry, skip)));
        }
    }
}

impl Backlog {
    /// Puts an entry down; where.
    pub(super) fn push(&mut self, entry: Entry) -> Spot {
        if self.chunks.is_empty() {
            self.shared = entry.key().to_vec();
        } else if !entry.key().starts_with(&self.shared) {
            self.shared.truncate(common_len(entry.key(), &self.shared, 0));
        }
        let skip = self.shared.len();
        if let Some(spot) = self.free.pop() {
            let (chunk, at) = spot.parts();
            let chunk = &mut self.chunks[chunk];
            chunk.set_skip(skip);
            chunk.heads[at] = head_behind(&entry, skip);
            chunk.entries[at] = entry;
            return spot;
        }
        let spots = self.spots();
        if self.chunks.last().is_none_or(|chunk| chunk.entries.len() >= CHUNK_ENTRIES) {
            self.chunks.push(Chunk {
                entries: Vec::with_capacity(CHUNK_ENTRIES),
                heads: Vec::with_capacity(CHUNK_ENTRIES),
                skip,
            });
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.set_skip(skip);
            chunk.heads.push(head_behind(&entry, skip));
            chunk.entries.push(entry);
        }
        u32::try_from(spots).map_or(Spot::NOWHERE, Spot)
    }

    /// Lets go of an entry, if it is at `spot`.
    pub(super) fn release(&mut self, entry: &Entry, spot: Spot) -> bool {
        let (chunk, at) = spot.parts();
        let Some(found) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.entries.get_mut(at))
        else {
            return false;
        };
        let is_there = found.is_same(entry);
        if is_there {
            *found = self.hole.get_or_insert_with(Entry::hole).clone();
            self.free.push(spot);
        }
        is_there
    }

    fn spots(&self) -> usize {
        let last = self.chunks.last().map_or(0, |chunk| chunk.entries.len());
        self.chunks.len().saturating_sub(1) * CHUNK_ENTRIES + last
    }

    pub(super) fn len(&self) -> usize {
        self.spots() - self.free.len()
    }

    /// The entries in their order: by key, then from the newest to the oldest.
    pub(super) fn into_run(mut self) -> Run {
        let mut order = Vec::with_capacity(self.len());
        let mut entries = Chunks::default();
        let mut numbers = 0..;
        self.free.sort_unstable_by_key(|spot| std::cmp::Reverse(spot.0));
        for mut chunk in std::mem::take(&mut self.chunks) {
            chunk.set_skip(self.shared.len());
            for (bytes, number) in chunk.heads.into_iter().zip(&mut numbers) {
                if self.free.pop_if(|spot| spot.0 == number).is_none() {
                    order.push(Head { bytes, number });
                }
            }
            entries.0.push(chunk.entries);
        }
        sort_by_heads(&mut order, &entries, self.shared.len(), ROUNDS_MAX);
        Run { entries, order: order.into_iter().map(|head| head.number).collect() }
    }
}

/// Entries as they came, by number; all chunks but the last are full.
#[derive(Debug, Default)]
struct Chunks(Vec<Vec<Entry>>);

impl Chunks {
    fn get(&self, number: u32) -> Option<&Entry> {
        let (chunk, at) = Spot(number).parts();
        self.0.get(chunk)?.get(at)
    }
}

impl std::ops::Index<u32> for Chunks {
    type Output = Entry;

    fn index(&self, number: u32) -> &Entry {
        let (chunk, at) = Spot(number).parts();
        &self.0[chunk][at]
    }
}

/// Entries in order, to which none will be added.
#[derive(Debug)]
pub(super) struct Run {
    entries: Chunks,
    /// Their numbers, in order.
    order: Vec<u32>,
}

impl Run {
    fn get(&self, position: usize) -> Option<&Entry> {
        self.entries.get(*self.order.get(position)?)
    }

    /// The entries in order.
    pub(super) fn iter(&self) -> RunIter<'_> {
        RunIter { run: self, position: 0 }
    }

    /// How many entries are those of keys of which this holds; all that are come first.
    fn count(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        self.order.partition_point(|number| {
            self.entries.get(*number).is_some_and(|entry| is_before(entry.key()))
        })
    }

    /// Where the versions of the key at `position` end. A key of many versions takes no more steps
    /// than their number has digits.
    fn end_of(&self, position: usize) -> usize {
        let Some(first) = self.get(position) else { return position };
        let is_same = |at: usize| self.get(at).is_some_and(|entry| entry == first);
        let (mut inside, mut step) = (position, 1);
        while is_same(inside + step) {
            inside += step;
            step *= 2;
        }
        // The end is behind `inside`, and not behind `inside + step`.
        let between = self.order.get(inside + 1..self.order.len().min(inside + step));
        let same = between.unwrap_or_default().partition_point(|number| {
            self.entries.get(*number).is_some_and(|entry| entry == first)
        });
        inside + 1 + same
    }

    /// Of the versions of one key, those from `first` to `end`, the one that a view at `seq` sees.
    fn seen_at(&self, first: usize, end: usize, seq: SeqNo) -> Option<&Entry> {
        let newer = self.order.get(first..end)?.partition_point(|number| {
            self.entries.get(*number).is_some_and(|entry| entry.seq() > seq)
        });
        self.get(first + newer).filter(|_| first + newer < end)
    }

    /// The version of `key` that a view at `seq` sees.
    pub(super) fn get_seen(&self, key: &[u8], seq: SeqNo) -> Option<Entry> {
        let first = self.count(|other| other < key);
        self.get(first).filter(|entry| entry.key() == key)?;
        self.seen_at(first, self.end_of(first), seq).cloned()
    }

    /// As [`super::ordered::Ordered::page_from`].
    pub(super) fn page_from(&self, start: Bound<&[u8]>, (sight, limit): (Sight, usize)) -> Page {
        let mut at = match start {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.count(|other| other < key),
            Bound::Excluded(key) => self.count(|other| other <= key),
        };
        let (mut entries, mut keys) = (Vec::new(), 0);
        while entries.len() < limit && keys < KEYS_AT_ONCE && at < self.order.len() {
            let end = self.end_of(at);
            let seen = self.seen_at(at, end, sight.seq).filter(|entry| sight.shows(entry));
            entries.extend(seen.cloned());
            keys += 1;
            at = end;
        }
        Page { entries, keys, next: self.get(at).cloned() }
    }

    /// As [`super::ordered::Ordered::page_before`].
    pub(super) fn page_before(&self, end: Bound<&[u8]>, (sight, limit): (Sight, usize)) -> Page {
        let mut end = match end {
            Bound::Unbounded => self.order.len(),
            Bound::Included(key) => self.count(|other| other <= key),
            Bound::Excluded(key) => self.count(|other| other < key),
        };
        let (mut entries, mut keys) = (Vec::new(), 0);
        for _ in 0..limit {
            let Some(last) = end.checked_sub(1).and_then(|at| self.get(at)) else { break };
            let first = match end.checked_sub(2).and_then(|at| self.get(at)) {
                Some(before) if before == last => self.count(|other| other < last.key()),
                _ => end - 1,
            };
            let seen = self.seen_at(first, end, sight.seq).filter(|entry| sight.shows(entry));
            entries.extend(seen.cloned());
            keys += 1;
            end = first;
        }
        Page { entries, keys, next: (end > 0).then(|| self.get(end).cloned()).flatten() }
    }
}

/// A walk over all entries of a run.
#[derive(Debug)]
pub(super) struct RunIter<'a> {
    run: &'a Run,
    position: usize,
}

impl<'a> Iterator for RunIter<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        if self.position.is_multiple_of(BURST) {
            // Each is somewhere else in memory; the waits for those that come next overlap.
            for position in self.position..self.position + BURST {
                self.run.get(position).inspect(|entry| entry.prefetch());
            }
        }
        self.position += 1;
        self.run.get(self.position - 1)
    }
}

fn head_behind(entry: &Entry, skip: usize) -> u64 {
    head(entry.key().get(skip..).unwrap_or_default())
}

/// An entry by its number, and eight bytes of its key as a number that compares as they do.
#[derive(Clone, Copy)]
struct Head {
    bytes: u64,
    number: u32,
}

/// Sorts a run of entries whose keys have their first `skip` bytes in common. By eight bytes of each
/// key at a time, which lie side by side; the keys are somewhere else in memory each.
fn sort(run: &mut [Head], entries: &Chunks, skip: usize, rounds: usize) {
    let entry = |head: &Head| &entries[head.number];
    if run.len() <= SHORT_RUN || rounds == 0 {
        return run.sort_unstable_by(|a, b| entry(a).place().cmp(&entry(b).place()));
    }
    let Some(first) = run.first().map(|head| entry(head).key()) else { return };
    let mut shared = first.len();
    let mut longest = first.len();
    for key in run.iter().map(|head| entry(head).key()) {
        shared = skip + common_len(key, first.get(..shared).unwrap_or_default(), skip);
        longest = longest.max(key.len());
    }
    if shared == longest {
        // One key: the newest first.
        return run.sort_unstable_by_key(|head| std::cmp::Reverse(entry(head).seq()));
    }
    for head in run.iter_mut() {
        head.bytes = head_behind(&entries[head.number], shared);
    }
    sort_by_heads(run, entries, shared, rounds);
}

/// Sorts a run whose keys have `shared` bytes in common and whose heads are those behind.
fn sort_by_heads(run: &mut [Head], entries: &Chunks, shared: usize, rounds: usize) {
    run.sort_unstable_by_key(|head| head.bytes);
    for equal in run.chunk_by_mut(|a, b| a.bytes == b.bytes) {
        if equal.len() > 1 {
            sort_equal(equal, entries, shared, rounds - 1);
        }
    }
}

/// Sorts a run whose keys agree in eight bytes from `shared` on, or end there.
fn sort_equal(run: &mut [Head], entries: &Chunks, shared: usize, rounds: usize) {
    let entry = |head: &Head| &entries[head.number];
    let lengths = || run.iter().map(|head| entry(head).key().len());
    let (shortest, longest) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
    // Zeros stand for bytes behind the end too: only where no key ends are the eight in common.
    if shortest >= shared + 8 {
        sort(run, entries, shared + 8, rounds);
    } else if shortest == longest {
        // One key: the newest first.
        run.sort_unstable_by_key(|head| std::cmp::Reverse(entry(head).seq()));
    } else {
        run.sort_unstable_by(|a, b| entry(a).place().cmp(&entry(b).place()));
    }
}

/// How many bytes from `skip` on both have in common.
fn common_len(a: &[u8], b: &[u8], skip: usize) -> usize {
    let (a, b) = (a.get(skip..).unwrap_or_default(), b.get(skip..).unwrap_or_default());
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let key = prop_oneof![
            vec(0_u8..3, 0..12),
            vec(0_u8..2, 0..12).prop_map(|tail| [b"a common prefix".to_vec(), tail].concat()),
            Just(b"the same key".to_vec()),
        ];
        vec(key, 0..400)
    }

    proptest! {
        #[test]
        fn sorted_is_by_key_and_then_newest_first(keys in keys()) {
            let mut backlog = Backlog::default();
            for (seq, key) in (1..).zip(&keys) {
                backlog.push(Entry::new(key, seq, Some(b"v")));
            }
            prop_assert_eq!(backlog.len(), keys.len());
            let mut expected: Vec<(&[u8], std::cmp::Reverse<u64>)> =
                (1..).zip(&keys).map(|(seq, key)| (&key[..], std::cmp::Reverse(seq))).collect();
            expected.sort();
            let run = backlog.into_run();
            let sorted: Vec<&Entry> = run.iter().collect();
            let sorted: Vec<_> =
                sorted.iter().map(|e| (e.key(), std::cmp::Reverse(e.seq()))).collect();
            prop_assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn spots_are_used_again_and_the_rest_stays_in_order() {
        let random = &mut fastrand::Rng::with_seed(4);
        let mut backlog = Backlog::default();
        let mut live: Vec<(Entry, Spot)> = Vec::new();
        for seq in 1..=40_000_u64 {
            let key = format!("common:{}", random.u32(..3_000));
            let entry = Entry::new(key.as_bytes(), seq, Some(b"v"));
            live.push((entry.clone(), backlog.push(entry)));
            if random.u32(..10) < 9 {
                let (entry, spot) = live.swap_remove(random.usize(..live.len()));
                assert!(backlog.release(&entry, spot));
                assert!(!backlog.release(&entry, spot), "it has gone");
                assert!(!backlog.release(&entry, Spot::NOWHERE));
            }
        }
        assert_eq!(backlog.len(), live.len());
        assert!(backlog.spots() < 2 * live.len(), "{}", backlog.spots());
        let mut expected: Vec<_> = live.iter().map(|(entry, _)| entry.place()).collect();
        expected.sort();
        let run = backlog.into_run();
        assert_eq!(run.iter().map(Entry::place).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn many_chunks_are_kept() {
        let mut backlog = Backlog::default();
        for seq in 1..=3 * CHUNK_ENTRIES as u64 + 5 {
            backlog.push(Entry::new(&(seq * 7919 % 20_000).to_be_bytes(), seq, None));
            assert_eq!(backlog.len() as u64, seq);
        }
        let run = backlog.into_run();
        let sorted: Vec<&Entry> = run.iter().collect();
        assert_eq!(sorted.len(), 3 * CHUNK_ENTRIES + 5);
        assert!(sorted.is_sorted_by(|a, b| a.place() < b.place()));
    }
}
