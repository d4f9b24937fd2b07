//! A stream in a transaction.
//!
//! [`StreamEdit`] takes what [`Edit::find`] has found, changes entries and groups, and writes the
//! metadata record once, when it is finished. A stream stays when its last entry goes.

use bytes::Bytes;

use super::group::{self, Group};
use super::{
    Entries, GROUP, Layout, MARK_EVERY, PACKED_BYTES_MAX, Stream, StreamId, entry, entry_key, key,
};
use crate::data::{Body, Edit, KeyType, Meta, StringForm};
use crate::engine::{Direction, Read, Result};

/// A stream that is being changed. Nothing holds before [`StreamEdit::finish`].
pub struct StreamEdit<'e, 'a> {
    pub(super) edit: &'e mut Edit<'a>,
    key: &'e [u8],
    old: Option<Meta>,
    pub(super) stream: Stream,
    pub(super) changes: u64,
    /// So many of them leave the entries as they are.
    quiet: u64,
}

impl<'a> Edit<'a> {
    /// The stream at `key`, for which [`Edit::find`] has answered `old`: a stream or nothing.
    pub fn stream<'e>(&'e mut self, key: &'e [u8], old: Option<Meta>) -> StreamEdit<'e, 'a> {
        let stream = old.as_ref().and_then(Meta::stream).cloned().unwrap_or_default();
        StreamEdit { edit: self, key, old, stream, changes: 0, quiet: 0 }
    }
}

impl StreamEdit<'_, '_> {
    /// The stream as it is by now.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The entries as they are by now.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        self.edit.entries(&self.stream)
    }

    /// Appends an entry, whose id is larger than the last one, with fields and values in turn.
    pub fn append<T: AsRef<[u8]>>(&mut self, id: StreamId, fields: &[T]) -> Result<()> {
        let record = entry::encode(fields);
        if !self.has_room(record.len()) {
            self.explode()?;
        }
        match &mut self.stream.layout {
            Layout::Packed(list) => {
                let mut longer = Vec::with_capacity(list.len() + record.len() + 24);
                longer.extend_from_slice(list);
                entry::put_packed(&mut longer, id, &record);
                *list = longer.into();
            }
            Layout::Exploded { generation, epoch, .. } => {
                let engine_key = entry_key(self.edit.keyspace, *generation, *epoch, id);
                self.edit.txn.put(Bytes::copy_from_slice(&engine_key), record);
            }
        }
        let stream = &mut self.stream;
        if stream.length == 0 {
            stream.first = id;
        }
        (stream.top, stream.last) = (id, id);
        stream.length += 1;
        stream.added = stream.added.saturating_add(1);
        self.changes += 1;
        Ok(())
    }

    /// Deletes an entry; answers whether it was there.
    pub fn delete(&mut self, id: StreamId) -> Result<bool> {
        if !self.entries().contains(id)? {
            return Ok(false);
        }
        self.stream.max_deleted = self.stream.max_deleted.max(id);
        if id == self.stream.first {
            self.cut(1)?;
            return Ok(true);
        }
        match &mut self.stream.layout {
            Layout::Packed(list) => {
                let mut rest = Vec::with_capacity(list.len());
                for found in entry::packed(list) {
                    let (at, record) = found?;
                    if at != id {
                        entry::put_packed(&mut rest, at, &record);
                    }
                }
                *list = rest.into();
            }
            Layout::Exploded { generation, epoch, .. } => {
                let engine_key = entry_key(self.edit.keyspace, *generation, *epoch, id);
                self.edit.txn.delete(Bytes::copy_from_slice(&engine_key));
            }
        }
        if id == self.stream.top {
            let mut ids = self.entries().ids(StreamId::MIN, id, Direction::Reverse);
            let top = ids.next().transpose()?;
            drop(ids);
            self.stream.top =
                top.ok_or_else(|| super::damaged("the first entry of a stream is missing"))?;
        }
        self.stream.length -= 1;
        self.changes += 1;
        Ok(true)
    }

    /// Sets the last id, which is not below the top entry; and, where given, the count of added
    /// entries and the largest deleted id.
    pub fn set_last(&mut self, last: StreamId, added: Option<u64>, max_deleted: Option<StreamId>) {
        if let Layout::Exploded { epoch, .. } = &mut self.stream.layout
            && last < self.stream.last
            && self.stream.length == 0
        {
            *epoch = epoch.saturating_add(1);
        }
        self.stream.last = last;
        self.stream.added = added.unwrap_or(self.stream.added);
        self.stream.max_deleted = max_deleted.unwrap_or(self.stream.max_deleted);
        self.changes += 1;
        self.quiet += 1;
    }

    /// Makes a group; `false` where there is one of this name.
    pub fn create_group(
        &mut self,
        name: &[u8],
        last: StreamId,
        entries_read: Option<u64>,
    ) -> Result<bool> {
        self.explode()?;
        let Some(parent) = self.stream.generation() else { return Ok(false) };
        if self.edit.groups(&self.stream).get(name)?.is_some() {
            return Ok(false);
        }
        let generation = self.edit.next_generation();
        let alive = key::generation(self.edit.keyspace, generation);
        self.edit.txn.put(Bytes::copy_from_slice(&alive), key::generation_of_parent(parent));
        let group = Group { generation, last, entries_read, consumers: 0, pending: 0 };
        self.edit.put_group(parent, name, &group);
        self.count_groups(1);
        Ok(true)
    }

    /// Deletes a group with all that is pending in it; `false` where there is none.
    pub fn destroy_group(&mut self, name: &[u8]) -> Result<bool> {
        let Some(parent) = self.stream.generation() else { return Ok(false) };
        let Some(group) = self.edit.groups(&self.stream).get(name)? else { return Ok(false) };
        let keyspace = self.edit.keyspace;
        for record in [
            Bytes::copy_from_slice(&key::generation(keyspace, group.generation)),
            Bytes::copy_from_slice(&key::part(keyspace, parent, &[GROUP], name)),
        ] {
            self.edit.txn.delete(record);
        }
        self.count_groups(-1);
        Ok(true)
    }

    /// Makes sure that the stream exists, even without entries.
    pub fn create(&mut self) {
        self.changes += u64::from(self.old.is_none());
    }

    /// Notes since when the entries have been the same, where the changes leave them so.
    fn keep_quiet(&mut self) -> Result<()> {
        if self.changes > self.quiet || self.old.is_none() {
            return Ok(());
        }
        self.explode()?;
        if self.stream.quiet_since.is_none() {
            let engine_key = key::meta(self.edit.keyspace, self.key);
            self.stream.quiet_since = self.edit.txn.newest(&engine_key)?.map(|found| found.seq);
        }
        Ok(())
    }

    /// Writes the metadata record, if there is something new.
    pub fn finish(mut self) -> Result<()> {
        if self.changes == 0 {
            return Ok(());
        }
        self.keep_quiet()?;
        let marks = self.marks();
        let start = self.stream.start().filter(|_| marks);
        let old = self.old.take();
        let generation = self.stream.generation();
        let new = Meta {
            kind: KeyType::Stream,
            expires_ms: old.as_ref().and_then(|meta| meta.expires_ms),
            form: StringForm::Natural,
            body: Body::Stream(Box::new(self.stream)),
        };
        if self.changes == self.quiet && old.is_some() {
            self.edit.replace_quietly(self.key, old.as_ref(), &new, self.changes);
        } else {
            self.edit.replace_collection(self.key, old.as_ref(), Some(&new), self.changes);
        }
        if let (Some(start), Some(generation)) = (start, generation) {
            let record = key::generation(self.edit.keyspace, generation);
            self.edit.txn.put(Bytes::copy_from_slice(&record), key::generation_from(&start));
        }
        Ok(())
    }

    /// The metadata record, which is not written, of a new stream without an expiry.
    pub(in crate::data) fn into_meta(self) -> Meta {
        Meta {
            kind: KeyType::Stream,
            expires_ms: None,
            form: StringForm::Natural,
            body: Body::Stream(Box::new(self.stream)),
        }
    }

    /// Whether it is time to tell compaction where the live elements start.
    fn marks(&mut self) -> bool {
        match &mut self.stream.layout {
            Layout::Exploded { unmarked, .. } if *unmarked >= MARK_EVERY => {
                *unmarked = 0;
                true
            }
            _ => false,
        }
    }

    /// Whether an entry of so many bytes still fits the metadata record, if entries are there.
    fn has_room(&self, record_bytes: usize) -> bool {
        let Layout::Packed(list) = &self.stream.layout else { return true };
        let packing = self.edit.context().packing;
        let unlimited = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let bytes = list.len() + record_bytes;
        self.stream.length < unlimited(packing.stream_entries)
            && bytes as u64 <= unlimited(packing.stream_bytes)
            && bytes <= PACKED_BYTES_MAX
    }

    /// Gives each entry a record of its own.
    fn explode(&mut self) -> Result<()> {
        let Layout::Packed(list) = &self.stream.layout else { return Ok(()) };
        let generation = self.edit.next_generation();
        for found in entry::packed(list) {
            let (id, record) = found?;
            let engine_key = entry_key(self.edit.keyspace, generation, 0, id);
            // The list lives on in memory as long as a part of it.
            let record = Bytes::copy_from_slice(&record);
            self.edit.txn.put(Bytes::copy_from_slice(&engine_key), record);
        }
        self.stream.layout = Layout::Exploded { generation, epoch: 0, unmarked: 0, groups: 0 };
        Ok(())
    }

    fn count_groups(&mut self, by: i64) {
        if let Layout::Exploded { groups, .. } = &mut self.stream.layout {
            *groups = groups.saturating_add_signed(by);
        }
        self.changes += 1;
        self.quiet += 1;
    }
}

impl Edit<'_> {
    /// Writes the record of a group of the stream with this generation.
    pub(super) fn put_group(&mut self, parent: u64, name: &[u8], group: &Group) {
        let engine_key = key::part(self.keyspace, parent, &[GROUP], name);
        self.txn.put(Bytes::copy_from_slice(&engine_key), group::encode(group));
    }
}

impl std::fmt::Debug for StreamEdit<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamEdit").field("stream", &self.stream).finish_non_exhaustive()
    }
}
