//! The entries of a stream, read whatever way they are kept.
//!
//! ```text
//! record of an entry    fields (varint), then each field and its value as slices
//! packed entries        id as two varints, then the record as a slice; one behind the other, ids
//!                       ascending
//! ```
//!
//! A slice is its length as a varint and its bytes.

use bytes::Bytes;

use super::{Layout, Stream, StreamId, damaged, entry_element, entry_key, key};
use crate::data::{Edit, View};
use crate::engine::coding::{Reader, put_slice, put_varint};
use crate::engine::{Direction, Read, Result};

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its id.
    pub id: StreamId,
    /// Fields and values in turn.
    pub fields: Vec<Bytes>,
}

/// A running walk over ids and records.
type Walk<'a> = Box<dyn Iterator<Item = Result<(StreamId, Bytes)>> + 'a>;

/// The entries of one stream.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    pub(super) read: &'a dyn Read,
    pub(super) keyspace: u32,
    pub(super) stream: &'a Stream,
}

impl View<'_> {
    /// The entries of a stream of this database.
    pub fn entries<'a>(&'a self, stream: &'a Stream) -> Entries<'a> {
        Entries { read: self.read(), keyspace: self.keyspace(), stream }
    }
}

impl Edit<'_> {
    /// The entries of a stream of this database.
    pub fn entries<'a>(&'a self, stream: &'a Stream) -> Entries<'a> {
        Entries { read: &self.txn, keyspace: self.keyspace, stream }
    }
}

impl<'a> Entries<'a> {
    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &'a Stream {
        self.stream
    }

    /// The entry of this id.
    pub fn get(&self, id: StreamId) -> Result<Option<StreamEntry>> {
        self.record(id)?.map(|record| decode(id, &record)).transpose()
    }

    /// Whether there is an entry of this id.
    pub fn contains(&self, id: StreamId) -> Result<bool> {
        Ok(self.record(id)?.is_some())
    }

    /// The entries from `from` to `to`, both included, in this direction.
    pub fn range(
        &self,
        from: StreamId,
        to: StreamId,
        direction: Direction,
    ) -> impl Iterator<Item = Result<StreamEntry>> + use<'a> {
        self.records(from, to, direction).map(|found| {
            let (id, record) = found?;
            decode(id, &record)
        })
    }

    /// The ids from `from` to `to`, both included, in this direction.
    pub(super) fn ids(
        &self,
        from: StreamId,
        to: StreamId,
        direction: Direction,
    ) -> impl Iterator<Item = Result<StreamId>> + use<'a> {
        self.records(from, to, direction).map(|found| found.map(|(id, _)| id))
    }

    /// Bytes that the entries take in records: of all where `samples` is 0, else told from so many
    /// of them.
    pub fn size_bytes(&self, samples: u64) -> Result<u64> {
        /// Generation, id and epoch of a record, and what the engine adds to one.
        const RECORD_BYTES: u64 = 48;

        if self.stream.generation().is_none() {
            return Ok(self.stream.packed_bytes().len() as u64);
        }
        let samples = if samples == 0 { u64::MAX } else { samples };
        let (mut seen, mut bytes) = (0, 0);
        let all = self.records(StreamId::MIN, StreamId::MAX, Direction::Forward);
        for (found, _) in all.zip(0..samples) {
            seen += 1;
            bytes += found?.1.len() as u64 + RECORD_BYTES;
        }
        Ok(if seen == self.stream.length {
            bytes
        } else {
            (bytes / seen.max(1)).saturating_mul(self.stream.length)
        })
    }

    /// Whether the id lies between the first and the last entry.
    pub(super) fn may_hold(&self, id: StreamId) -> bool {
        self.stream.length > 0 && (self.stream.first..=self.stream.top).contains(&id)
    }

    fn record(&self, id: StreamId) -> Result<Option<Bytes>> {
        if !self.may_hold(id) {
            return Ok(None);
        }
        match &self.stream.layout {
            Layout::Packed(list) => packed(list)
                .find(|found| found.as_ref().map_or(true, |(at, _)| *at == id))
                .map(|found| found.map(|(_, record)| record))
                .transpose(),
            Layout::Exploded { generation, epoch, .. } => {
                self.read.get(&entry_key(self.keyspace, *generation, *epoch, id))
            }
        }
    }

    /// Ids and records, both bounds included.
    pub(super) fn records(&self, from: StreamId, to: StreamId, direction: Direction) -> Walk<'a> {
        let (from, to) = (from.max(self.stream.first), to.min(self.stream.top));
        if self.stream.length == 0 || from > to {
            return Box::new(std::iter::empty());
        }
        match &self.stream.layout {
            Layout::Packed(list) => {
                let inside = packed(list).filter(move |found| {
                    found.as_ref().map_or(true, |(id, _)| (from..=to).contains(id))
                });
                match direction {
                    Direction::Forward => Box::new(inside),
                    Direction::Reverse => Box::new(inside.collect::<Vec<_>>().into_iter().rev()),
                }
            }
            Layout::Exploded { generation, epoch, .. } => {
                let start = entry_element(*epoch, from);
                let end = entry_element(*epoch, to);
                let range = key::parts(self.keyspace, *generation, &start, &end);
                Box::new(self.read.scan(range, direction).map(|pair| {
                    let (engine_key, record) = pair?;
                    let id = key::parse_part(&engine_key);
                    let id = id.get(5..).and_then(StreamId::from_key);
                    Ok((id.ok_or_else(|| damaged("the key of an entry is cut off"))?, record))
                }))
            }
        }
    }
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// The record of an entry with these fields and values, in turn.
pub(super) fn encode<T: AsRef<[u8]>>(fields: &[T]) -> Bytes {
    let bytes: usize = fields.iter().map(|word| word.as_ref().len() + 5).sum();
    let mut record = Vec::with_capacity(bytes + 5);
    put_varint(&mut record, fields.len() as u64 / 2);
    for word in fields {
        put_slice(&mut record, word.as_ref());
    }
    record.into()
}

fn decode(id: StreamId, record: &Bytes) -> Result<StreamEntry> {
    let fields = decode_fields(record).ok_or_else(|| damaged("an entry of a stream is cut off"))?;
    Ok(StreamEntry { id, fields })
}

fn decode_fields(record: &Bytes) -> Option<Vec<Bytes>> {
    let mut reader = Reader::new(record);
    let words = reader.varint_usize()?.checked_mul(2)?;
    // Each word takes at least one byte, whatever the record says.
    let mut fields = Vec::with_capacity(words.min(reader.len()));
    for _ in 0..words {
        fields.push(record.slice_ref(reader.slice()?));
    }
    reader.is_empty().then_some(fields)
}

/// Appends an entry to packed ones.
pub(super) fn put_packed(list: &mut Vec<u8>, id: StreamId, record: &[u8]) {
    id.put(list);
    put_slice(list, record);
}

/// Ids and records of packed entries.
pub(super) fn packed(list: &Bytes) -> impl Iterator<Item = Result<(StreamId, Bytes)>> + use<> {
    let mut rest = list.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut reader = Reader::new(&rest);
        let id = StreamId::take(&mut reader);
        let found = id.and_then(|id| Some((id, rest.slice_ref(reader.slice()?))));
        let behind = rest.slice_ref(reader.rest());
        rest = if found.is_some() { behind } else { Bytes::new() };
        Some(found.ok_or_else(|| damaged("packed entries are cut off")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_written() {
        let id = StreamId { ms: 1, seq: 2 };
        let fields = [Bytes::from("a"), Bytes::new(), Bytes::from(vec![7; 300]), Bytes::from("b")];
        let record = encode(&fields);
        assert_eq!(decode(id, &record).unwrap(), StreamEntry { id, fields: fields.to_vec() });
        for end in 0..record.len() {
            assert!(decode(id, &record.slice(..end)).is_err(), "{end}");
        }
        assert!(decode(id, &[&record[..], b"x"].concat().into()).is_err());
    }

    #[test]
    fn a_damaged_list_ends_with_an_error() {
        let mut list = Vec::new();
        put_packed(&mut list, StreamId::MAX, b"record");
        put_packed(&mut list, StreamId::MIN, b"");
        let list = Bytes::from(list);
        assert_eq!(packed(&list).filter(Result::is_ok).count(), 2);
        for end in 1..list.len() {
            let found: Vec<_> = packed(&list.slice(..end)).collect();
            let whole = found.len() == 1 && found[0].is_ok();
            assert!(whole || found.last().unwrap().is_err(), "{end}");
        }
    }
}
