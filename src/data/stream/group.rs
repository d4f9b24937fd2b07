//! Consumer groups, read.
//!
//! The record of a group stands under the generation of its stream. What belongs to it stands under a
//! generation of its own, whose generation record names that of the stream: so a group of any size is
//! deleted, and a stream with all of its groups, by one generation record.
//!
//! ```text
//! element of a group             record
//! 0 | name of a consumer         seen, active (each plus one, 0 for never), entries pending; varints
//! 1 | id                         an entry that is pending: name of its consumer (slice), time of its
//!                                delivery, deliveries; varints
//! 2 | name (slice) | id          the same, in the order of the consumers; empty
//!
//! record of a group    generation, last delivered id, entries read (plus one, 0 for unknown),
//!                      consumers, entries pending; varints
//! ```
//!
//! Times are Unix milliseconds. The counts say what a walk would find.

use bytes::Bytes;

use super::{GROUP, Stream, StreamId, damaged, key};
use crate::data::key::KeyBuf;
use crate::data::{Edit, View};
use crate::engine::coding::{Reader, put_slice, put_varint};
use crate::engine::{Direction, Read, Result};

const CONSUMER: u8 = 0;
const PENDING: u8 = 1;
const OWNED: u8 = 2;
const BEHIND_OWNED: u8 = 3;

const FORWARD: Direction = Direction::Forward;

/// A running walk over what names elements, and their records.
type Parts<'a> = Box<dyn Iterator<Item = Result<(Bytes, Bytes)>> + 'a>;

/// A consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    pub(in crate::data) generation: u64,
    /// The last id that was delivered.
    pub last: StreamId,
    /// How many entries were read, by the count of entries added; `None` where nobody knows.
    pub entries_read: Option<u64>,
    /// How many consumers there are.
    pub consumers: u64,
    /// How many entries were delivered and not acknowledged.
    pub pending: u64,
}

/// A consumer of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumer {
    /// When it last asked for something, in Unix milliseconds.
    pub seen_ms: u64,
    /// When it last got something, in Unix milliseconds.
    pub active_ms: Option<u64>,
    /// How many entries it has not acknowledged.
    pub pending: u64,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Whom it was delivered to.
    pub consumer: Bytes,
    /// When, in Unix milliseconds.
    pub delivered_ms: u64,
    /// How often.
    pub deliveries: u64,
}

/// The groups of a stream. A stream without records has none.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    read: &'a dyn Read,
    keyspace: u32,
    parent: Option<u64>,
}

impl View<'_> {
    /// The groups of a stream of this database.
    pub fn groups(&self, stream: &Stream) -> Groups<'_> {
        Groups { read: self.read(), keyspace: self.keyspace(), parent: stream.generation() }
    }
}

impl Edit<'_> {
    /// The groups of a stream of this database.
    pub fn groups(&self, stream: &Stream) -> Groups<'_> {
        Groups { read: &self.txn, keyspace: self.keyspace, parent: stream.generation() }
    }
}

impl<'a> Groups<'a> {
    pub(in crate::data) fn new(read: &'a dyn Read, keyspace: u32, stream: &Stream) -> Self {
        Self { read, keyspace, parent: stream.generation() }
    }

    /// The group of this name.
    pub fn get(&self, name: &[u8]) -> Result<Option<Group>> {
        let Some(parent) = self.parent else { return Ok(None) };
        let record = self.read.get(&key::part(self.keyspace, parent, &[GROUP], name))?;
        record.map(|record| decode(&record)).transpose()
    }

    /// All groups with their names, in the order of these.
    pub fn walk(&self) -> impl Iterator<Item = Result<(Bytes, Group)>> + use<'a> {
        let parts = self.parent.map(|parent| self.scan(parent, &[GROUP], &[GROUP + 1], FORWARD));
        parts.into_iter().flatten().map(|found| {
            let (part, record) = found?;
            Ok((part.slice(1..), decode(&record)?))
        })
    }

    /// The consumer of this name.
    pub fn consumer(&self, group: &Group, name: &[u8]) -> Result<Option<Consumer>> {
        let engine_key = self.consumer_key(group, name);
        let record = self.read.get(&engine_key)?;
        record.map(|record| decode_consumer(&record)).transpose()
    }

    /// All consumers with their names, in the order of these.
    pub fn consumers(
        &self,
        group: &Group,
    ) -> impl Iterator<Item = Result<(Bytes, Consumer)>> + use<'a> {
        self.scan(group.generation, &[CONSUMER], &[CONSUMER + 1], FORWARD).map(|found| {
            let (part, record) = found?;
            Ok((part.slice(1..), decode_consumer(&record)?))
        })
    }

    /// What is pending of this entry.
    pub fn pending(&self, group: &Group, id: StreamId) -> Result<Option<Pending>> {
        let record = self.read.get(&self.pending_key(group, id))?;
        record.map(|record| decode_pending(&record)).transpose()
    }

    /// What is pending from `from` to `to`, both included.
    pub fn all_pending(
        &self,
        group: &Group,
        (from, to): (StreamId, StreamId),
        direction: Direction,
    ) -> impl Iterator<Item = Result<(StreamId, Pending)>> + use<'a> {
        let (from, to) = (pending_part(from), behind(pending_part(to)));
        self.scan(group.generation, &from, &to, direction).map(|found| {
            let (part, record) = found?;
            let id = StreamId::from_key(&part[1..]);
            let id = id.ok_or_else(|| damaged("the key of a pending entry is cut off"))?;
            Ok((id, decode_pending(&record)?))
        })
    }

    /// The ids from `from` to `to`, both included, that are pending of one consumer.
    pub fn owned(
        &self,
        group: &Group,
        consumer: &[u8],
        (from, to): (StreamId, StreamId),
    ) -> impl Iterator<Item = Result<StreamId>> + use<'a> {
        let (from, to) = (owned_part(consumer, from), behind(owned_part(consumer, to)));
        self.scan(group.generation, &from, &to, FORWARD).map(|found| {
            let (part, _) = found?;
            let id = part.last_chunk::<{ StreamId::KEY_BYTES }>();
            let id = id.and_then(|id| StreamId::from_key(id));
            id.ok_or_else(|| damaged("the key of a consumer's entry is cut off"))
        })
    }

    /// Consumers and ids of everything that is pending, in the order of the consumers.
    pub(super) fn all_owned(
        &self,
        group: &Group,
    ) -> impl Iterator<Item = Result<(Bytes, StreamId)>> + use<'a> {
        self.scan(group.generation, &[OWNED], &[BEHIND_OWNED], FORWARD).map(|found| {
            let (part, _) = found?;
            let mut reader = Reader::new(&part[1..]);
            let name = reader.slice().map(|name| part.slice_ref(name));
            let id = StreamId::from_key(reader.rest());
            name.zip(id).ok_or_else(|| damaged("the key of a consumer's entry is cut off"))
        })
    }

    pub(super) fn consumer_key(&self, group: &Group, name: &[u8]) -> KeyBuf {
        key::part(self.keyspace, group.generation, &[CONSUMER], name)
    }

    pub(super) fn pending_key(&self, group: &Group, id: StreamId) -> KeyBuf {
        key::part(self.keyspace, group.generation, &pending_part(id), &[])
    }

    pub(super) fn owned_key(&self, group: &Group, consumer: &[u8], id: StreamId) -> KeyBuf {
        key::part(self.keyspace, group.generation, &owned_part(consumer, id), &[])
    }

    /// What follows the generation in the keys, and the records, from `from` up to `to`, which does not
    /// belong to the range.
    fn scan(&self, generation: u64, from: &[u8], to: &[u8], direction: Direction) -> Parts<'a> {
        if from >= to {
            return Box::new(std::iter::empty());
        }
        let range = key::parts_before(self.keyspace, generation, from, to);
        Box::new(self.read.scan(range, direction).map(|pair| {
            let (engine_key, record) = pair?;
            Ok((key::parse_part(&engine_key), record))
        }))
    }
}

impl std::fmt::Debug for Groups<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("parent", &self.parent).finish_non_exhaustive()
    }
}

fn pending_part(id: StreamId) -> Vec<u8> {
    [&[PENDING][..], &id.to_key()].concat()
}

fn owned_part(consumer: &[u8], id: StreamId) -> Vec<u8> {
    let mut part = Vec::with_capacity(consumer.len() + 22);
    part.push(OWNED);
    put_slice(&mut part, consumer);
    part.extend_from_slice(&id.to_key());
    part
}

/// The shortest bytes behind `part`.
fn behind(mut part: Vec<u8>) -> Vec<u8> {
    part.push(0);
    part
}

/// An optional number as a varint: plus one, 0 for none.
fn put_optional(out: &mut Vec<u8>, number: Option<u64>) {
    put_varint(out, number.map_or(0, |number| number.saturating_add(1)));
}

pub(super) fn encode(group: &Group) -> Bytes {
    let mut record = Vec::with_capacity(40);
    put_varint(&mut record, group.generation);
    group.last.put(&mut record);
    put_optional(&mut record, group.entries_read);
    put_varint(&mut record, group.consumers);
    put_varint(&mut record, group.pending);
    record.into()
}

pub(super) fn decode(record: &[u8]) -> Result<Group> {
    let read = |reader: &mut Reader<'_>| {
        Some(Group {
            generation: reader.varint()?,
            last: StreamId::take(reader)?,
            entries_read: reader.varint()?.checked_sub(1),
            consumers: reader.varint()?,
            pending: reader.varint()?,
        })
    };
    whole(record, read).ok_or_else(|| damaged("the record of a group is none"))
}

pub(super) fn encode_consumer(consumer: &Consumer) -> Bytes {
    let mut record = Vec::with_capacity(24);
    put_optional(&mut record, Some(consumer.seen_ms));
    put_optional(&mut record, consumer.active_ms);
    put_varint(&mut record, consumer.pending);
    record.into()
}

fn decode_consumer(record: &[u8]) -> Result<Consumer> {
    let read = |reader: &mut Reader<'_>| {
        Some(Consumer {
            seen_ms: reader.varint()?.checked_sub(1)?,
            active_ms: reader.varint()?.checked_sub(1),
            pending: reader.varint()?,
        })
    };
    whole(record, read).ok_or_else(|| damaged("the record of a consumer is none"))
}

pub(super) fn encode_pending(pending: &Pending) -> Bytes {
    let mut record = Vec::with_capacity(pending.consumer.len() + 24);
    put_slice(&mut record, &pending.consumer);
    put_varint(&mut record, pending.delivered_ms);
    put_varint(&mut record, pending.deliveries);
    record.into()
}

fn decode_pending(record: &Bytes) -> Result<Pending> {
    let read = |reader: &mut Reader<'_>| {
        Some(Pending {
            consumer: record.slice_ref(reader.slice()?),
            delivered_ms: reader.varint()?,
            deliveries: reader.varint()?,
        })
    };
    whole(record, read).ok_or_else(|| damaged("the record of a pending entry is none"))
}

/// What `read` makes of all of the record.
fn whole<T>(record: &[u8], read: impl Fn(&mut Reader<'_>) -> Option<T>) -> Option<T> {
    let mut reader = Reader::new(record);
    read(&mut reader).filter(|_| reader.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_written() {
        let group = Group {
            generation: 7,
            last: StreamId { ms: 5, seq: 6 },
            entries_read: None,
            consumers: 1,
            pending: 300,
        };
        for group in [group, Group { entries_read: Some(0), ..group }] {
            let record = encode(&group);
            assert_eq!(decode(&record).unwrap(), group);
            assert!(
                decode(&record[1..]).is_err() && decode(&[&record[..], &[0]].concat()).is_err()
            );
        }
        for active_ms in [None, Some(0), Some(9)] {
            let consumer = Consumer { seen_ms: 8, active_ms, pending: 3 };
            assert_eq!(decode_consumer(&encode_consumer(&consumer)).unwrap(), consumer);
        }
        let pending = Pending { consumer: Bytes::from("c"), delivered_ms: 1, deliveries: u64::MAX };
        assert_eq!(decode_pending(&encode_pending(&pending)).unwrap(), pending);
        assert!(decode_pending(&Bytes::from_static(&[1])).is_err());
        assert!(decode_consumer(&[0, 0, 0]).is_err());
    }

    #[test]
    fn no_consumer_lies_between_the_entries_of_another() {
        let names: [&[u8]; 5] = [b"", b"a", b"a\0", b"ab", b"b"];
        for name in names {
            let (from, to) = (owned_part(name, StreamId::MIN), owned_part(name, StreamId::MAX));
            for other in names.into_iter().filter(|other| *other != name) {
                let part = owned_part(other, StreamId { ms: 1, seq: 1 });
                assert!(part < from || part > to, "{name:?} {other:?}");
            }
        }
    }
}
