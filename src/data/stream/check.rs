//! What the records of a stream promise each other.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Group, Groups, Layout, Stream, StreamId, damaged, key};
use crate::engine::{Direction, Read, Result};

/// Fails where entries, groups, consumers and pending entries do not fit each other or the counts.
/// Reads all of them.
pub(in crate::data) fn check(read: &dyn Read, keyspace: u32, stream: &Stream) -> Result<()> {
    check_entries(read, keyspace, stream)?;
    let groups = Groups::new(read, keyspace, stream);
    let mut count = 0;
    for found in groups.walk() {
        let (_, group) = found?;
        count += 1;
        let alive = read.get(&key::generation(keyspace, group.generation))?;
        let parent = alive.as_deref().and_then(key::parent_of_generation);
        ensure(parent == stream.generation(), "a group has no generation record")?;
        check_group(&groups, &group)?;
    }
    ensure(count == stream.group_count(), "the groups of a stream are counted wrongly")
}

fn ensure(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(damaged(what)) }
}

fn check_entries(read: &dyn Read, keyspace: u32, stream: &Stream) -> Result<()> {
    let Stream { length, first, top, last, .. } = *stream;
    if length == 0 {
        ensure((first, top) == (StreamId::MIN, StreamId::MIN), "an empty stream has an edge")?;
        return ensure(stream.packed_bytes().is_empty(), "an empty stream has entries");
    }
    ensure(first <= top && top <= last, "the edges of a stream are not in order")?;
    let entries = super::Entries { read, keyspace, stream };
    let (mut count, mut last_seen) = (0, None);
    for entry in entries.range(StreamId::MIN, StreamId::MAX, Direction::Forward) {
        let id = entry?.id;
        ensure(last_seen.is_some() || id == first, "a stream has another first entry")?;
        ensure(last_seen < Some(id), "the entries of a stream are not ascending")?;
        (count, last_seen) = (count + 1, Some(id));
    }
    ensure(count == length, "the entries of a stream are counted wrongly")?;
    ensure(last_seen == Some(top), "a stream has another top entry")?;
    let Layout::Packed(list) = &stream.layout else { return Ok(()) };
    let packed = super::entry::packed(list).count() as u64;
    ensure(packed == length, "packed entries lie outside of their stream")
}

fn check_group(groups: &Groups<'_>, group: &Group) -> Result<()> {
    let mut owned: BTreeMap<Bytes, u64> = BTreeMap::new();
    let mut pending = 0;
    let all = (StreamId::MIN, StreamId::MAX);
    for found in groups.all_pending(group, all, Direction::Forward) {
        found?;
        pending += 1;
    }
    ensure(pending == group.pending, "the pending entries of a group are counted wrongly")?;
    for found in groups.all_owned(group) {
        let (consumer, id) = found?;
        let record = groups.pending(group, id)?;
        let fits = record.is_some_and(|record| record.consumer == consumer);
        ensure(fits, "an entry is pending of another consumer")?;
        pending = pending.checked_sub(1).ok_or_else(|| damaged("an entry is owned twice"))?;
        *owned.entry(consumer).or_default() += 1;
    }
    ensure(pending == 0, "a pending entry has no owner")?;
    let mut consumers = 0;
    for found in groups.consumers(group) {
        let (name, consumer) = found?;
        consumers += 1;
        let count = owned.remove(&name).unwrap_or(0);
        ensure(count == consumer.pending, "the entries of a consumer are counted wrongly")?;
    }
    ensure(owned.is_empty(), "an entry is pending of nobody")?;
    ensure(consumers == group.consumers, "the consumers of a group are counted wrongly")
}
