//! A block of sorted entries, each key without what it shares with the key before. Indexes are such blocks; those
//! of records (`data_block`) have entries of the same kind.
//!
//! ```text
//! block  := restart-count restart* entry*
//! restart-count := u32, at least 1
//! restart:= u32, where an entry begins whose shared is 0, counted from the first entry
//! entry  := shared varint · rest length varint · rest of the key
//!           · value length varint · tag varint · value
//! tag    := sequence number * 2 + (1 for a tombstone)
//! ```
//!
//! An *interval* is the run of entries from one restart to the next. A lookup searches the
//! restarts by halves and then walks one interval; no key is put together for that. What decides
//! its time is how many cache lines it touches: the restarts stand in front, together, and the
//! intervals are short.

use super::super::coding::{Reader, put_slice, put_u32, put_varint};
use super::format::Parsed;

/// Entries per interval of data blocks and index partitions.
pub(super) const RESTART_INTERVAL: usize = 8;
/// The most that a reader accepts.
pub(super) const INTERVAL_ENTRIES_MAX: usize = 16;

pub(super) const MALFORMED: &str = "a block is malformed";

/// Puts a block together. Keys are added in increasing order.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    entries: Vec<u8>,
    restarts: Vec<u32>,
    restart_interval: usize,
    count: usize,
    /// The whole block, when it is finished.
    content: Vec<u8>,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn new(restart_interval: usize) -> Self {
        Self {
            entries: Vec::new(),
            restarts: Vec::new(),
            restart_interval,
            count: 0,
            content: Vec::new(),
            last_key: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, key: &[u8], tag: u64, value: &[u8]) {
        let mut shared = 0;
        if self.count.is_multiple_of(self.restart_interval) {
            let offset = u32::try_from(self.entries.len()).expect("a block is less than 4 GiB");
            self.restarts.push(offset);
        } else {
            shared = common_prefix(&self.last_key, key);
        }
        self.count += 1;
        put_entry(&mut self.entries, shared, &key[shared..], tag, value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Entries so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the block as it is now.
    pub(super) fn len(&self) -> usize {
        4 + 4 * self.restarts.len() + self.entries.len()
    }

    /// Completes the block. After [`BlockBuilder::clear`] the next can begin.
    pub(super) fn finish(&mut self) -> &[u8] {
        self.content.clear();
        let count = u32::try_from(self.restarts.len()).expect("fewer restarts than bytes");
        put_u32(&mut self.content, count);
        for &restart in &self.restarts {
            put_u32(&mut self.content, restart);
        }
        self.content.extend_from_slice(&self.entries);
        &self.content
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.restarts.clear();
        self.last_key.clear();
        self.count = 0;
    }
}

/// Appends an entry, of the key of which this is the rest.
pub(super) fn put_entry(out: &mut Vec<u8>, shared: usize, rest: &[u8], tag: u64, value: &[u8]) {
    put_varint(out, shared as u64);
    put_slice(out, rest);
    put_varint(out, value.len() as u64);
    put_varint(out, tag);
    out.extend_from_slice(value);
}

/// How many bytes two keys have in common at their front.
#[inline]
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A view of a block. Checks as it goes: a malformed block is an error, never a panic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    entries: &'a [u8],
    restarts: &'a [u8],
}

/// An entry as it stands in its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) shared: usize,
    /// The key from byte `shared` on.
    pub(super) rest: &'a [u8],
    pub(super) tag: u64,
    pub(super) value: &'a [u8],
    /// Offset of the next entry.
    pub(super) end: usize,
}

impl<'a> Block<'a> {
    /// Costs next to nothing: entries are checked when they are reached.
    #[inline]
    pub(super) fn new(content: &'a [u8]) -> Parsed<Self> {
        let (count, body) = content.split_first_chunk().ok_or(MALFORMED)?;
        let count = u32::from_le_bytes(*count) as usize;
        let (restarts, entries) = body.split_at_checked(count * 4).ok_or(MALFORMED)?;
        if count == 0 { Err(MALFORMED) } else { Ok(Self { entries, restarts }) }
    }

    /// The block of these restarts and entries; `None` without restarts.
    #[inline]
    pub(super) fn of_parts(restarts: &'a [u8], entries: &'a [u8]) -> Option<Self> {
        (!restarts.is_empty()).then_some(Self { entries, restarts })
    }

    #[inline]
    pub(super) fn restart_count(&self) -> usize {
        self.restarts.len() / 4
    }

    #[inline]
    fn restart(&self, index: usize) -> Parsed<usize> {
        let bytes = self.restarts.get(index * 4..).and_then(|bytes| bytes.first_chunk());
        bytes.map(|bytes| u32::from_le_bytes(*bytes) as usize).ok_or(MALFORMED)
    }

    /// Where interval `index` ends.
    #[inline]
    pub(super) fn interval_end(&self, index: usize) -> Parsed<usize> {
        if index + 1 < self.restart_count() {
            self.restart(index + 1).map(|end| end.min(self.entries.len()))
        } else {
            Ok(self.entries.len())
        }
    }

    #[inline]
    fn entry(&self, offset: usize) -> Parsed<Entry<'a>> {
        self.take_entry(offset).ok_or(MALFORMED)
    }

    #[inline]
    fn take_entry(&self, offset: usize) -> Option<Entry<'a>> {
        let mut input = self.entries.get(offset..)?;
        let (shared, rest) = take_key(&mut input)?;
        let value_len = usize::try_from(take_number(&mut input)?).ok()?;
        let tag = take_number(&mut input)?;
        let (value, input) = input.split_at_checked(value_len)?;
        Some(Entry { shared, rest, tag, value, end: self.entries.len() - input.len() })
    }

    /// The whole key of the first entry of interval `index`.
    #[inline]
    fn restart_key(&self, index: usize) -> Parsed<&'a [u8]> {
        let mut input = self.entries.get(self.restart(index)?..).ok_or(MALFORMED)?;
        match take_key(&mut input) {
            Some((0, key)) => Ok(key),
            _ => Err(MALFORMED),
        }
    }

    /// The first entry of interval `index`, and its whole key; of an index block, entry `index`.
    #[inline]
    pub(super) fn restart_entry(&self, index: usize) -> Parsed<(&'a [u8], Entry<'a>)> {
        let entry = self.entry(self.restart(index)?)?;
        if entry.shared == 0 { Ok((entry.rest, entry)) } else { Err(MALFORMED) }
    }

    /// The last interval that begins at `key` or before it.
    #[inline]
    pub(super) fn restart_floor(&self, key: &[u8]) -> Parsed<Option<usize>> {
        let before = self.restarts_before(0, self.restart_count(), |restart| restart <= key)?;
        Ok(before.checked_sub(1))
    }

    /// How many intervals begin with a key that `is_before`, as all of the first `low` do, and none from `high` on.
    #[inline]
    pub(super) fn restarts_before(
        &self,
        mut low: usize,
        mut high: usize,
        is_before: impl Fn(&[u8]) -> bool,
    ) -> Parsed<usize> {
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.restart_key(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The last entry that is not greater than `key`.
    #[inline]
    pub(super) fn floor(&self, key: &[u8]) -> Parsed<Option<Entry<'a>>> {
        let Some(interval) = self.restart_floor(key)? else { return Ok(None) };
        Ok(self.seek_in(interval, key)?.0)
    }

    /// The last entry of an interval that is not greater than `key`, and whether it is equal.
    #[inline]
    pub(super) fn seek_in(&self, interval: usize, key: &[u8]) -> Parsed<(Option<Entry<'a>>, bool)> {
        let (mut offset, end) = (self.restart(interval)?, self.interval_end(interval)?);
        let mut floor = None;
        // How much of `key` the entry before has; that entry was smaller than `key`.
        let mut matched = 0;
        while offset < end {
            let entry = self.entry(offset)?;
            offset = entry.end;
            if entry.shared < matched {
                // It is greater than the entry before in a byte in which that was equal to `key`.
                break;
            }
            // One that shares more has the byte in which the entry before was smaller.
            if entry.shared == matched {
                let sought = &key[matched..];
                let common = common_prefix(entry.rest, sought);
                match (entry.rest.get(common), sought.get(common)) {
                    (None, None) => return Ok((Some(entry), true)),
                    (Some(_), None) => break,
                    (Some(has), Some(wants)) if has > wants => break,
                    _ => matched += common,
                }
            }
            floor = Some(entry);
        }
        Ok((floor, false))
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Parsed<Entry<'a>>> {
        let block = *self;
        let mut offset = 0;
        std::iter::from_fn(move || {
            if offset >= block.entries.len() {
                return None;
            }
            let entry = block.entry(offset);
            offset = entry.as_ref().map_or(usize::MAX, |entry| entry.end);
            Some(entry)
        })
    }

    /// The entries of interval `index`, in order.
    pub(super) fn interval_entries(
        &self,
        index: usize,
    ) -> Parsed<impl Iterator<Item = Parsed<Entry<'a>>>> {
        let block = *self;
        let (mut offset, end) = (self.restart(index)?, self.interval_end(index)?);
        Ok(std::iter::from_fn(move || {
            if offset >= end {
                return None;
            }
            let entry = block.entry(offset);
            offset = entry.as_ref().map_or(usize::MAX, |entry| entry.end);
            Some(entry)
        }))
    }
}

/// Takes what an entry shares, and the rest of its key.
#[inline]
fn take_key<'a>(input: &mut &'a [u8]) -> Option<(usize, &'a [u8])> {
    let shared = usize::try_from(take_number(input)?).ok()?;
    Some((shared, take_slice(input)?))
}

/// Takes a length and so many bytes.
#[inline]
pub(super) fn take_slice<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_number(input)?).ok()?;
    let (taken, left) = input.split_at_checked(len)?;
    *input = left;
    Some(taken)
}

/// Takes a varint. Nearly all have one byte; that case is worth a branch of its own.
#[inline]
fn take_number(input: &mut &[u8]) -> Option<u64> {
    if let [number @ 0..0x80, left @ ..] = *input {
        *input = left;
        return Some(u64::from(*number));
    }
    let mut reader = Reader::new(input);
    let number = reader.varint()?;
    *input = reader.rest();
    Some(number)
}

/// The tag of a record.
pub(super) fn tag(seq: u64, tombstone: bool) -> u64 {
    seq << 1 | u64::from(tombstone)
}

impl Entry<'_> {
    /// Makes the key of the entry before, which is in `key`, to that of this one.
    pub(super) fn extend_key(&self, key: &mut Vec<u8>) -> Parsed<()> {
        if self.shared > key.len() {
            return Err(MALFORMED);
        }
        key.truncate(self.shared);
        key.extend_from_slice(self.rest);
        Ok(())
    }

    #[inline]
    pub(super) fn seq(&self) -> u64 {
        self.tag >> 1
    }

    #[inline]
    pub(super) fn is_tombstone(&self) -> bool {
        self.tag & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whatever the content is, nothing panics; answers do not matter.
    fn walk(content: &[u8], key: &[u8]) {
        let Ok(block) = Block::new(content) else { return };
        let (_, _) = (block.floor(key), block.entries().count());
        for interval in 0..block.restart_count().min(1000) {
            let _ = block.interval_entries(interval).map(Iterator::count);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_panic(
            content in prop::collection::vec(prop_oneof![0_u8..20, any::<u8>()], 0..200),
            restarts in prop::collection::vec(0_u32..200, 0..6),
            key in prop::collection::vec(0_u8..20, 0..6),
        ) {
            walk(&content, &key);
            let mut block = Vec::new();
            put_u32(&mut block, u32::try_from(restarts.len()).unwrap());
            restarts.iter().for_each(|&restart| put_u32(&mut block, restart));
            walk(&[block, content].concat(), &key);
        }

        #[test]
        fn a_damaged_block_is_walked_without_panic(
            keys in prop::collection::btree_set("[ab]{0,6}", 1..60),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            key in "[ab]{0,6}",
        ) {
            let mut builder = BlockBuilder::new(RESTART_INTERVAL);
            for (at, key) in keys.iter().enumerate() {
                builder.add(key.as_bytes(), tag(at as u64, at % 5 == 0), b"");
            }
            prop_assert_eq!(builder.len() , builder.finish().len());
            let mut content = builder.content;
            for (at, byte) in changes {
                let at = at.index(content.len());
                content[at] = byte;
            }
            walk(&content, key.as_bytes());
        }
    }
}
