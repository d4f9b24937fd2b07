//! Serialized streams.
//!
//! ```text
//! nodes, then of each its first id (a string of sixteen bytes) and a listpack as a string
//! entries; last id; from STREAM_2 on first id, largest deleted id, entries ever added
//! groups, then each:
//!     name as a string; last delivered id; from STREAM_2 on entries read, all ones for unknown
//!     pending entries, then of each: its id (sixteen bytes), time of delivery, deliveries
//!     consumers, then each:
//!         name as a string; when it was seen; from STREAM_3 on when it was active, -1 for never
//!         pending entries, then the id of each (sixteen bytes)
//! ```
//!
//! Times are eight bytes, other numbers are lengths, an id is two of these but where its bytes are
//! given. The elements of a listpack:
//!
//! ```text
//! entries, deleted entries, fields, then the name of each, 0
//! of each entry:
//!     flags: 1 is deleted, 2 has the fields named above; what its id is more than that of the node,
//!     in two numbers; without flag 2 its fields; the values, without flag 2 each behind the name
//!     of its field; elements of the entry but for this one
//! ```

use std::borrow::Cow;

use super::listpack::{Listpack, ListpackWriter};
use super::sink::Sink;
use super::source::Source;
use super::types::{STREAM, STREAM_2, STREAM_3};
use super::word::Word;
use super::{Loaded, VERSION, ensure, wanted};
use crate::data::{
    Consumer, Group, Groups, Meta, Pending, Stream, StreamEdit, StreamEntry, StreamId, View,
};
use crate::engine::{Direction, Result};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Elements of an entry besides fields and values: flags and two for the id.
const ENTRY_WORDS: usize = 3;
/// Of entries read: unknown.
const UNKNOWN: u64 = u64::MAX;
/// A node never has more, in bytes and in entries.
const NODE_BYTES_MAX: u64 = 1 << 16;
const NODE_ENTRIES_MAX: u64 = 10_000;
/// Bytes of the records of a consumer or a pending entry besides names, about.
const RECORD_BYTES: usize = 64;

/// Reads the value.
pub(super) fn load(
    kind: u8,
    source: &mut Source<'_>,
    mut stream: StreamEdit<'_, '_>,
) -> Loaded<Meta> {
    for _ in 0..source.len()? {
        load_node(source, &mut stream)?;
    }
    load_totals(kind, source, &mut stream)?;
    for _ in 0..source.len()? {
        load_group(kind, source, &mut stream)?;
    }
    Ok(stream.into_meta())
}

/// An entry: its id, fields and values in turn.
type Entry<'a> = (StreamId, Vec<Cow<'a, [u8]>>);

/// The elements of a node.
struct Node<'a> {
    words: Box<dyn Iterator<Item = Word<'a>> + 'a>,
    first: StreamId,
    /// Names of the fields that entries share.
    fields: Vec<Cow<'a, [u8]>>,
}

impl<'a> Node<'a> {
    fn word(&mut self) -> Loaded<Word<'a>> {
        wanted(self.words.next())
    }

    fn integer(&mut self) -> Loaded<i64> {
        wanted(self.word()?.integer())
    }

    fn count(&mut self) -> Loaded<usize> {
        wanted(usize::try_from(self.integer()?).ok())
    }

    /// The next entry; nothing of one that is deleted.
    fn entry(&mut self, source: &mut Source<'_>) -> Loaded<Option<Entry<'a>>> {
        let flags = self.integer()?;
        let id = StreamId {
            ms: self.first.ms.wrapping_add(self.integer()?.cast_unsigned()),
            seq: self.first.seq.wrapping_add(self.integer()?.cast_unsigned()),
        };
        source.charge(0)?;
        let mut texts = Vec::new();
        let words = if flags & SAME_FIELDS != 0 {
            for at in 0..self.fields.len() {
                let value = self.word()?.text();
                source.charge_text(&value)?;
                // A short list may name a long field once and mean it often.
                let field = self.fields[at].clone();
                source.charge_text(&field)?;
                texts.extend([field, value]);
            }
            self.fields.len()
        } else {
            let fields = self.count()?;
            for _ in 0..fields {
                for _ in 0..2 {
                    let text = self.word()?.text();
                    source.charge_text(&text)?;
                    texts.push(text);
                }
            }
            fields * 2 + 1
        };
        ensure(self.count()? == words + ENTRY_WORDS)?;
        if flags & DELETED != 0 {
            return Ok(None);
        }
        Ok(Some((id, texts)))
    }
}

fn load_node(source: &mut Source<'_>, stream: &mut StreamEdit<'_, '_>) -> Loaded<()> {
    let first = wanted(StreamId::from_key(&source.string()?))?;
    let blob = source.string()?;
    let words = Box::new(wanted(Listpack::check(&blob))?.iter());
    let mut node = Node { words, first, fields: Vec::new() };
    let (entries, deleted) = (node.count()?, node.count()?);
    for _ in 0..node.count()? {
        let field = node.word()?.text();
        source.charge_text(&field)?;
        node.fields.push(field);
    }
    ensure(node.integer()? == 0)?;
    for _ in 0..wanted(entries.checked_add(deleted))? {
        if let Some((id, texts)) = node.entry(source)? {
            ensure(id > stream.stream().last)?;
            stream.append(id, &texts)?;
        }
    }
    ensure(node.words.next().is_none())
}

fn load_totals(kind: u8, source: &mut Source<'_>, stream: &mut StreamEdit<'_, '_>) -> Loaded<()> {
    let Stream { length, top, .. } = *stream.stream();
    ensure(source.len()? == length)?;
    let last = source.id()?;
    let (max_deleted, added) = if kind == STREAM {
        (StreamId::MIN, length)
    } else {
        // The first entry is known from the entries.
        source.id()?;
        (source.id()?, source.len()?)
    };
    ensure(top <= last && max_deleted <= last && length <= added)?;
    stream.set_last(last, Some(added), Some(max_deleted));
    Ok(())
}

/// A pending entry of a group.
struct Delivered {
    id: StreamId,
    delivered_ms: u64,
    deliveries: u64,
    is_owned: bool,
}

fn load_group(kind: u8, source: &mut Source<'_>, stream: &mut StreamEdit<'_, '_>) -> Loaded<()> {
    let (name, last) = (source.string()?, source.id()?);
    let entries_read = match kind {
        STREAM => stream.stream().number_of(last),
        _ => Some(source.len()?).filter(|read| *read <= i64::MAX.cast_unsigned()),
    };
    source.charge(name.len() + RECORD_BYTES)?;
    let mut group = wanted(stream.new_group(&name, last, entries_read)?)?;
    let mut delivered = load_delivered(source)?;
    for _ in 0..source.len()? {
        load_consumer(kind, source, stream, &mut group, &mut delivered)?;
    }
    ensure(delivered.iter().all(|entry| entry.is_owned))?;
    stream.put_group(&name, &group);
    Ok(())
}

fn load_delivered(source: &mut Source<'_>) -> Loaded<Vec<Delivered>> {
    let mut delivered = Vec::new();
    for _ in 0..source.len()? {
        let (id, time, deliveries) = (source.raw_id()?, source.time_ms()?, source.len()?);
        let delivered_ms = time.unwrap_or(0);
        delivered.push(Delivered { id, delivered_ms, deliveries, is_owned: false });
    }
    delivered.sort_by_key(|entry| entry.id);
    ensure(delivered.is_sorted_by(|a, b| a.id < b.id))?;
    Ok(delivered)
}

fn load_consumer(
    kind: u8,
    source: &mut Source<'_>,
    stream: &mut StreamEdit<'_, '_>,
    group: &mut Group,
    delivered: &mut [Delivered],
) -> Loaded<()> {
    let (name, seen_ms) = (source.string()?, source.time_ms()?.unwrap_or(0));
    let active_ms = if kind == STREAM_3 { source.time_ms()? } else { Some(seen_ms) };
    let pending = source.len()?;
    source.charge(name.len() + RECORD_BYTES)?;
    let consumer = Consumer { seen_ms, active_ms, pending };
    ensure(stream.put_consumer(group, &name, &consumer))?;
    let name = bytes::Bytes::copy_from_slice(&name);
    for _ in 0..pending {
        let id = source.raw_id()?;
        let at = delivered.binary_search_by_key(&id, |entry| entry.id);
        let entry = wanted(at.ok().and_then(|at| delivered.get_mut(at)))?;
        ensure(!entry.is_owned)?;
        entry.is_owned = true;
        source.charge(name.len() * 2 + RECORD_BYTES)?;
        let Delivered { delivered_ms, deliveries, .. } = *entry;
        let entry = Pending { consumer: name.clone(), delivered_ms, deliveries };
        stream.put_pending(group, id, &entry);
    }
    Ok(())
}

/// Writes type and value; answers the version that this takes.
pub(super) fn save(view: &View<'_>, meta: &Meta, sink: &mut Sink) -> Result<Option<u16>> {
    let Some(stream) = meta.stream() else { return Ok(None) };
    sink.u8(STREAM_2);
    save_entries(view, stream, sink)?;
    sink.len(stream.length);
    for id in [stream.last, stream.first, stream.max_deleted] {
        sink.id(id);
    }
    sink.len(stream.added);
    let groups = view.groups(stream);
    sink.len(stream.group_count());
    for found in groups.walk() {
        let (name, group) = found?;
        sink.string(&name);
        save_group(&groups, &group, sink)?;
    }
    Ok(Some(VERSION))
}

fn save_entries(view: &View<'_>, stream: &Stream, sink: &mut Sink) -> Result<()> {
    let packing = view.context().packing;
    let at_most = |limit: u64, max: u64| if limit == 0 { max } else { limit.min(max) };
    let entries_max = at_most(packing.stream_entries, NODE_ENTRIES_MAX);
    let bytes_max = at_most(packing.stream_bytes, NODE_BYTES_MAX);
    let (count, mut nodes) = (sink.count_later(), 0);
    let (mut node, mut node_bytes): (Vec<StreamEntry>, u64) = (Vec::new(), 0);
    let entries = view.entries(stream);
    for entry in entries.range(StreamId::MIN, StreamId::MAX, Direction::Forward) {
        let entry = entry?;
        let bytes: u64 = entry.fields.iter().map(|text| text.len() as u64).sum();
        let is_full = node.len() as u64 >= entries_max || node_bytes + bytes > bytes_max;
        if is_full && !node.is_empty() {
            save_node(&node, sink);
            nodes += 1;
            (node, node_bytes) = (Vec::new(), 0);
        }
        node_bytes += bytes;
        node.push(entry);
    }
    if !node.is_empty() {
        save_node(&node, sink);
        nodes += 1;
    }
    sink.count(count, nodes);
    Ok(())
}

fn save_node(entries: &[StreamEntry], sink: &mut Sink) {
    let Some(first) = entries.first() else { return };
    let names = |entry: &StreamEntry| entry.fields.iter().step_by(2).cloned().collect::<Vec<_>>();
    let fields = names(first);
    let mut list = ListpackWriter::new();
    push_count(&mut list, entries.len());
    push_count(&mut list, 0);
    push_count(&mut list, fields.len());
    fields.iter().for_each(|field| list.push(field));
    push_count(&mut list, 0);
    for entry in entries {
        let is_same = names(entry) == fields;
        list.push_integer(if is_same { SAME_FIELDS } else { 0 });
        list.push_integer(entry.id.ms.wrapping_sub(first.id.ms).cast_signed());
        list.push_integer(entry.id.seq.wrapping_sub(first.id.seq).cast_signed());
        let words = if is_same {
            entry.fields.iter().skip(1).step_by(2).for_each(|value| list.push(value));
            fields.len()
        } else {
            push_count(&mut list, entry.fields.len() / 2);
            entry.fields.iter().for_each(|text| list.push(text));
            entry.fields.len() + 1
        };
        push_count(&mut list, words + ENTRY_WORDS);
    }
    sink.blob(&first.id.to_key());
    sink.blob(&list.finish());
}

fn push_count(list: &mut ListpackWriter, count: usize) {
    list.push_integer(i64::try_from(count).unwrap_or(i64::MAX));
}

fn save_group(groups: &Groups<'_>, group: &Group, sink: &mut Sink) -> Result<()> {
    const ALL: (StreamId, StreamId) = (StreamId::MIN, StreamId::MAX);

    sink.id(group.last);
    sink.len(group.entries_read.unwrap_or(UNKNOWN));
    sink.len(group.pending);
    for found in groups.all_pending(group, ALL, Direction::Forward) {
        let (id, pending) = found?;
        sink.bytes(&id.to_key());
        sink.time_ms(pending.delivered_ms);
        sink.len(pending.deliveries);
    }
    sink.len(group.consumers);
    for found in groups.consumers(group) {
        let (name, consumer) = found?;
        sink.string(&name);
        sink.time_ms(consumer.seen_ms);
        sink.len(consumer.pending);
        for id in groups.owned(group, &name, ALL) {
            sink.bytes(&id?.to_key());
        }
    }
    Ok(())
}
