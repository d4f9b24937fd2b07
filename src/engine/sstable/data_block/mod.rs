//! A block of records, in which what all of them have in common stands once.
//!
//! ```text
//! block := count-and-mark u32 · front slice · gap start varint · gap slice · value front slice
//!          · head* · restart* · entry*
//! ```
//!
//! - count-and-mark is the number of restarts, with the highest bit set. Without that bit the content is a block
//!   as in `block`, with whole keys and values: tables of format 1 have such.
//! - Each key begins with the front, and has the gap at one place: so many bytes behind the front. (The names
//!   of elements often begin alike, but what orders them stands before them.) Entries and restarts are those
//!   of `block`, and their keys are *squeezed*: without front and gap. That does not change their order.
//! - A value begins with the value front, and its entry has the rest. A tombstone has no value.
//! - A head, a u32, is the first four bytes of the squeezed key of a restart as a big-endian number, with zeros
//!   behind its end. Heads stand together, so to find an interval touches one cache line or two.
//!
//! A reader puts keys and values together, so blocks of few records, the values of which may be large, have no
//! value front: values are slices of the block then.

mod builder;

use bytes::Bytes;
use smallvec::SmallVec;

use super::super::Record;
use super::super::coding::Reader;
use super::block::{Block, Entry, INTERVAL_ENTRIES_MAX, MALFORMED, common_prefix, take_slice};
use super::format::Parsed;

pub(super) use builder::DataBlockBuilder;

/// Tells these blocks from those of format 1.
const MARK: u32 = 1 << 31;

const TOMBSTONE_WITH_VALUE: &str = "a tombstone has a value";

/// Where a walk puts together what it shows; empty in the beginning.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A key to look for, squeezed.
type Squeezed = SmallVec<[u8; 64]>;

/// A view of a block of records. Checks as it goes: a malformed block is an error, never a panic.
#[derive(Debug, Clone, Copy)]
pub(super) struct DataBlock<'a> {
    front: &'a [u8],
    /// Behind the front.
    gap_at: usize,
    gap: &'a [u8],
    value_front: &'a [u8],
    /// None in blocks of format 1.
    heads: &'a [[u8; 4]],
    /// Of squeezed keys.
    block: Block<'a>,
}

impl<'a> DataBlock<'a> {
    /// Costs next to nothing: entries are checked when they are reached.
    #[inline]
    pub(super) fn new(content: &'a [u8]) -> Parsed<Self> {
        let (count, _) = content.split_first_chunk().ok_or(MALFORMED)?;
        let count = u32::from_le_bytes(*count);
        if count & MARK == 0 {
            let block = Block::new(content)?;
            return Ok(Self {
                front: &[],
                gap_at: 0,
                gap: &[],
                value_front: &[],
                heads: &[],
                block,
            });
        }
        Self::take((count & !MARK) as usize, content).ok_or(MALFORMED)
    }

    #[inline]
    fn take(count: usize, content: &'a [u8]) -> Option<Self> {
        let mut input = content.get(4..)?;
        let front = take_slice(&mut input)?;
        let mut reader = Reader::new(input);
        let gap_at = reader.varint_usize()?;
        input = reader.rest();
        let gap = take_slice(&mut input)?;
        let value_front = take_slice(&mut input)?;
        let (heads, input) = input.split_at_checked(count.checked_mul(4)?)?;
        let (restarts, entries) = input.split_at_checked(count * 4)?;
        let block = Block::of_parts(restarts, entries)?;
        Some(Self { front, gap_at, gap, value_front, heads: heads.as_chunks().0, block })
    }

    /// Number of intervals.
    #[inline]
    pub(super) fn restart_count(&self) -> usize {
        self.block.restart_count()
    }

    /// The entry of `key`.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Parsed<Option<Entry<'a>>> {
        let Some(tail) = key.strip_prefix(self.front) else { return Ok(None) };
        if self.gap.is_empty() {
            return self.find_squeezed(tail);
        }
        let parts = tail.split_at_checked(self.gap_at);
        match parts.and_then(|(before, rest)| Some((before, rest.strip_prefix(self.gap)?))) {
            Some((before, behind)) => self.find_squeezed(&squeeze(before, behind)),
            None => Ok(None),
        }
    }

    #[inline]
    fn find_squeezed(&self, key: &[u8]) -> Parsed<Option<Entry<'a>>> {
        let Some(interval) = self.floor_of_squeezed(key)? else { return Ok(None) };
        let (floor, is_equal) = self.block.seek_in(interval, key)?;
        Ok(floor.filter(|_| is_equal))
    }

    /// The last interval that begins at `key` or before it.
    pub(super) fn restart_floor(&self, key: &[u8]) -> Parsed<Option<usize>> {
        let count = self.restart_count();
        let common = common_prefix(key, self.front);
        if common < self.front.len() {
            let is_behind = key.get(common) > self.front.get(common);
            return Ok(count.checked_sub(1).filter(|_| is_behind));
        }
        let tail = key.get(common..).unwrap_or_default();
        let (before, rest) = tail.split_at(tail.len().min(self.gap_at));
        if let Some(behind) = rest.strip_prefix(self.gap) {
            return match self.gap.is_empty() {
                true => self.floor_of_squeezed(tail),
                false => self.floor_of_squeezed(&squeeze(before, behind)),
            };
        }
        // Of those that are equal up to the gap all are on one side.
        let is_behind_gap = rest > self.gap;
        let is_before = |restart: &[u8]| {
            let head = restart.get(..self.gap_at).unwrap_or(restart);
            if is_behind_gap { head <= before } else { head < before }
        };
        Ok(self.block.restarts_before(0, count, is_before)?.checked_sub(1))
    }

    #[inline]
    fn floor_of_squeezed(&self, key: &[u8]) -> Parsed<Option<usize>> {
        let (mut low, mut high) = (0, self.restart_count());
        if !self.heads.is_empty() {
            let sought = head(key);
            low = self.heads.partition_point(|head| u32::from_le_bytes(*head) < sought);
            let same = self.heads.get(low..).unwrap_or_default();
            high = low + same.partition_point(|head| u32::from_le_bytes(*head) <= sought);
        }
        let before = self.block.restarts_before(low, high, |restart| restart <= key)?;
        Ok(before.checked_sub(1))
    }

    /// Whether the head of interval `index` is that of its first key.
    pub(super) fn check_head(&self, index: usize) -> Parsed<()> {
        let first = head(self.block.restart_entry(index)?.0);
        match self.heads.get(index) {
            Some(head) if u32::from_le_bytes(*head) != first => Err(MALFORMED),
            _ => Ok(()),
        }
    }

    /// The value of an entry in two parts, to be put together; `None` for a tombstone.
    #[inline]
    pub(super) fn value(&self, entry: &Entry<'a>) -> Option<(&'a [u8], &'a [u8])> {
        (!entry.is_tombstone()).then_some((self.value_front, entry.value))
    }

    /// Hands key, tag and value of the entries of interval `index` to `visit`, in order, until it answers false;
    /// whether it never did. They are put together in `buffers`.
    pub(super) fn visit_interval(
        &self,
        index: usize,
        buffers: &mut Buffers,
        mut visit: impl FnMut(&[u8], &Entry<'_>, &[u8]) -> bool,
    ) -> Parsed<bool> {
        let Buffers { key, value: whole } = buffers;
        key.clear();
        key.extend_from_slice(self.front);
        let (gap_start, mut key_len) = (self.front.len() + self.gap_at, 0);
        let mut end = None;
        for entry in self.block.interval_entries(index)? {
            let entry = entry?;
            if entry.shared > key_len {
                return Err(MALFORMED);
            }
            key_len = entry.shared + entry.rest.len();
            if key_len < self.gap_at {
                return Err(MALFORMED);
            }
            if entry.shared < self.gap_at || key.len() < gap_start + self.gap.len() {
                let (before, behind) =
                    entry.rest.split_at_checked(self.gap_at - entry.shared).ok_or(MALFORMED)?;
                key.truncate(self.front.len() + entry.shared);
                key.extend_from_slice(before);
                key.extend_from_slice(self.gap);
                key.extend_from_slice(behind);
            } else {
                key.truncate(self.front.len() + self.gap.len() + entry.shared);
                key.extend_from_slice(entry.rest);
            }
            if entry.is_tombstone() && !entry.value.is_empty() {
                return Err(TOMBSTONE_WITH_VALUE);
            }
            let value = if self.value_front.is_empty() || entry.is_tombstone() {
                entry.value
            } else {
                whole.clear();
                whole.extend_from_slice(self.value_front);
                whole.extend_from_slice(entry.value);
                &whole[..]
            };
            end = Some(entry.end);
            if !visit(key, &entry, value) {
                return Ok(false);
            }
        }
        if end == Some(self.block.interval_end(index)?) { Ok(true) } else { Err(MALFORMED) }
    }

    /// Appends the records of interval `index` to `records`, in order. `content` is what this block was made
    /// of: values that stand there as a whole are slices of it. All else is one buffer.
    pub(super) fn read_interval(
        &self,
        index: usize,
        content: &Bytes,
        records: &mut Vec<Record>,
    ) -> Parsed<()> {
        let mut entries: SmallVec<[Entry<'_>; INTERVAL_ENTRIES_MAX]> = SmallVec::new();
        let (mut key_len, mut bytes) = (0, 0);
        for entry in self.block.interval_entries(index)? {
            let entry = entry?;
            // The limit on entries also bounds the keys: each fits the block when put together.
            if entry.shared > key_len || entries.len() == INTERVAL_ENTRIES_MAX {
                return Err(MALFORMED);
            }
            key_len = entry.shared + entry.rest.len();
            if key_len < self.gap_at {
                return Err(MALFORMED);
            }
            bytes += self.front.len() + self.gap.len() + key_len;
            if !self.value_front.is_empty() {
                bytes += self.value_front.len() + entry.value.len();
            }
            entries.push(entry);
        }
        if entries.last().map(|last| last.end) != Some(self.block.interval_end(index)?) {
            return Err(MALFORMED);
        }
        let mut buffer = Vec::with_capacity(bytes);
        let mut squeezed = Squeezed::new();
        for entry in &entries {
            squeezed.truncate(entry.shared);
            squeezed.extend_from_slice(entry.rest);
            let (before, behind) = squeezed.split_at_checked(self.gap_at).ok_or(MALFORMED)?;
            for part in [self.front, before, self.gap, behind] {
                buffer.extend_from_slice(part);
            }
            if !self.value_front.is_empty() && !entry.is_tombstone() {
                buffer.extend_from_slice(self.value_front);
                buffer.extend_from_slice(entry.value);
            }
        }
        let mut buffer = Bytes::from(buffer);
        for entry in &entries {
            let key_len = self.front.len() + self.gap.len() + entry.shared + entry.rest.len();
            let key = buffer.split_to(key_len);
            let value = match (entry.is_tombstone(), self.value_front.is_empty()) {
                (true, _) if entry.value.is_empty() => None,
                (true, _) => return Err(TOMBSTONE_WITH_VALUE),
                (false, true) if entry.value.is_empty() => Some(Bytes::new()),
                (false, true) => Some(content.slice_ref(entry.value)),
                (false, false) => Some(buffer.split_to(self.value_front.len() + entry.value.len())),
            };
            records.push(Record { key, seq: entry.seq(), value });
        }
        Ok(())
    }
}

fn squeeze(before: &[u8], behind: &[u8]) -> Squeezed {
    let mut key = Squeezed::from_slice(before);
    key.extend_from_slice(behind);
    key
}

/// The head of a squeezed key.
#[inline]
fn head(key: &[u8]) -> u32 {
    if let Some(head) = key.first_chunk() {
        return u32::from_be_bytes(*head);
    }
    let mut head = [0; 4];
    head[..key.len()].copy_from_slice(key);
    u32::from_be_bytes(head)
}

#[cfg(test)]
mod tests;
