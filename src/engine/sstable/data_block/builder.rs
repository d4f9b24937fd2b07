//! Puts a block of records together.

use super::super::super::coding::{put_slice, put_u32, put_varint, varint_len};
use super::super::block::{RESTART_INTERVAL, common_prefix, put_entry};
use super::{MARK, head};

/// Blocks of fewer records have no value front.
const VALUES_MIN: usize = 2 * RESTART_INTERVAL;
/// Bytes of a value front at most: values may be large, and are not compared as a whole.
const VALUE_FRONT_MAX: usize = 64;
/// Of a key, so many bytes are looked at for what it has in common with others.
const COLUMNS: usize = u128::BITS as usize;

/// Puts a block together. Keys are added in increasing order.
#[derive(Debug, Default)]
pub(in super::super) struct DataBlockBuilder {
    /// Keys and values, one behind the other.
    bytes: Vec<u8>,
    records: Vec<Added>,
    /// What they have in common.
    common: Common,
    /// Bytes of their entries if these had all of key and value.
    entries_len: usize,
    /// Those the entries of which have the gap: they share nothing behind it with the one before.
    gaps: usize,
    /// Those with a value.
    values: usize,
    /// The whole block, when it is finished.
    content: Vec<u8>,
}

/// A record, by the places where its parts begin.
#[derive(Debug)]
struct Added {
    key: usize,
    value: usize,
    end: usize,
    tag: u64,
    /// Bytes of the key that its interval has already.
    shared: usize,
}

/// What records have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Common {
    /// A bit for each of the first bytes of a key that is the same in all keys.
    columns: u128,
    /// Bytes of the front.
    front: usize,
    /// Where the gap is in a whole key.
    gap: std::ops::Range<usize>,
    /// Bytes at which all values begin alike; `None` before the first value.
    value_front: Option<usize>,
}

impl Common {
    /// Of these columns the first ones are the front, and the longest stretch behind that is the gap.
    fn set_columns(&mut self, columns: u128) {
        self.columns = columns;
        let run = |at: usize| (columns >> at).trailing_ones() as usize;
        self.front = run(0);
        self.gap = 0..0;
        let mut at = self.front;
        while at < COLUMNS {
            let end = at + run(at);
            if end - at > self.gap.len() {
                self.gap = at..end;
            }
            at = end + 1;
        }
    }
}

/// A bit for each of the first bytes that two keys have in common at the same place.
fn same_columns(one: &[u8], other: &[u8]) -> u128 {
    let mut columns = 0;
    let pairs = one.chunks(8).zip(other.chunks(8)).take(COLUMNS / 8);
    for (number, (one, other)) in pairs.enumerate() {
        let same = if one == other {
            (1 << one.len()) - 1
        } else {
            let bits = one.iter().zip(other).enumerate();
            bits.fold(0_u128, |bits, (at, (one, other))| bits | u128::from(one == other) << at)
        };
        columns |= same << (number * 8);
    }
    columns
}

impl DataBlockBuilder {
    /// Adds a record if the block stays within `len_max` with it, or is empty; answers whether it did.
    pub(in super::super) fn add(
        &mut self,
        key: &[u8],
        tag: u64,
        value: Option<&[u8]>,
        len_max: usize,
    ) -> bool {
        let common = self.common_with(key, value);
        let is_first = self.records.len().is_multiple_of(RESTART_INTERVAL);
        let last = self.records.last().map_or(&[][..], |last| self.part(last.key, last.value));
        let shared = if is_first { 0 } else { common_prefix(last, key) };
        let gaps = if common.gap == self.common.gap {
            self.gaps
        } else {
            self.records.iter().filter(|added| added.shared <= common.gap.start).count()
        };
        let gaps = gaps + usize::from(shared <= common.gap.start);
        let rest = key.len() - shared;
        let (value_len, values) = (value.map_or(0, <[u8]>::len), usize::from(value.is_some()));
        let lens = [shared as u64, rest as u64, value_len as u64, tag].map(varint_len);
        let entry_len = lens.into_iter().sum::<usize>() + rest + value_len;
        let (entries_len, values) = (self.entries_len + entry_len, self.values + values);
        let count = self.records.len() + 1;
        if count > 1 && len_of(&common, count, entries_len, gaps, values) > len_max {
            return false;
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let (value, end) = (at + key.len(), self.bytes.len());
        self.records.push(Added { key: at, value, end, tag, shared });
        (self.common, self.entries_len, self.gaps, self.values) =
            (common, entries_len, gaps, values);
        true
    }

    /// What all have in common with one more.
    fn common_with(&self, key: &[u8], value: Option<&[u8]>) -> Common {
        let mut common = self.common.clone();
        match self.records.first() {
            None => common.set_columns(same_columns(key, key)),
            Some(first) => {
                let same = same_columns(self.part(first.key, first.value), key);
                if common.columns & !same != 0 {
                    common.set_columns(common.columns & same);
                }
            }
        }
        if let Some(value) = value {
            common.value_front = Some(match (common.value_front, self.first_value()) {
                (Some(front), Some(first)) => {
                    common_prefix(first.get(..front).unwrap_or_default(), value)
                }
                _ => value.len().min(VALUE_FRONT_MAX),
            });
        }
        common
    }

    fn first_value(&self) -> Option<&[u8]> {
        let first = self.records.iter().find(|added| added.tag & 1 == 0)?;
        Some(self.part(first.value, first.end))
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// Bytes of the block as it is now, about; not less than it takes.
    pub(in super::super) fn len(&self) -> usize {
        len_of(&self.common, self.records.len(), self.entries_len, self.gaps, self.values)
    }

    /// Completes the block. After [`Self::clear`] the next can begin.
    pub(in super::super) fn finish(&mut self) -> &[u8] {
        let mut out = std::mem::take(&mut self.content);
        out.clear();
        let restarts = self.records.len().div_ceil(RESTART_INTERVAL);
        let restart_count = u32::try_from(restarts).expect("fewer restarts than bytes");
        put_u32(&mut out, restart_count | MARK);
        let Common { front, gap, .. } = self.common.clone();
        let first = self.records.first().map_or(&[][..], |first| self.part(first.key, first.value));
        let value_front = value_front(&self.common, self.records.len());
        put_slice(&mut out, first.get(..front).unwrap_or_default());
        put_varint(&mut out, gap.start.saturating_sub(front) as u64);
        put_slice(&mut out, first.get(gap.clone()).unwrap_or_default());
        let first_value = self.first_value().unwrap_or_default();
        put_slice(&mut out, first_value.get(..value_front).unwrap_or_default());

        let heads_at = out.len();
        out.resize(heads_at + restarts * 8, 0);
        let entries_at = out.len();
        let (mut last, mut key) = (Vec::new(), Vec::new());
        for (at, added) in self.records.iter().enumerate() {
            let whole = self.part(added.key, added.value);
            key.clear();
            key.extend_from_slice(whole.get(front..gap.start).unwrap_or_default());
            key.extend_from_slice(whole.get(gap.end.max(front)..).unwrap_or_default());
            let mut shared = 0;
            if at.is_multiple_of(RESTART_INTERVAL) {
                let place = heads_at + at / RESTART_INTERVAL * 4;
                let offset = u32::try_from(out.len() - entries_at).expect("blocks are below 4 GiB");
                out[place..place + 4].copy_from_slice(&head(&key).to_le_bytes());
                let place = place + restarts * 4;
                out[place..place + 4].copy_from_slice(&offset.to_le_bytes());
            } else {
                shared = common_prefix(&last, &key);
            }
            let value = self.part(added.value, added.end);
            let value = value.get(value_front..).unwrap_or_default();
            put_entry(&mut out, shared, &key[shared..], added.tag, value);
            std::mem::swap(&mut last, &mut key);
        }
        self.content = out;
        &self.content
    }

    pub(in super::super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.common = Common::default();
        (self.entries_len, self.gaps, self.values) = (0, 0, 0);
    }
}

/// Bytes of the value front of a block of so many records.
fn value_front(common: &Common, count: usize) -> usize {
    common.value_front.filter(|_| count >= VALUES_MIN).unwrap_or(0)
}

/// Bytes of a block of `count` records at most, where its entries would have `entries_len` with whole keys and
/// values, `gaps` of them have the gap, and `values` a value.
fn len_of(common: &Common, count: usize, entries_len: usize, gaps: usize, values: usize) -> usize {
    let (front, gap, value_front) = (common.front, common.gap.len(), value_front(common, count));
    let restarts = count.div_ceil(RESTART_INTERVAL);
    let once = [front, gap, value_front, common.gap.start]
        .into_iter()
        .map(|len| varint_len(len as u64))
        .sum::<usize>();
    let left_out = restarts * front + gaps * gap + values * value_front;
    4 + once + front + gap + value_front + restarts * 8 + entries_len.saturating_sub(left_out)
}
