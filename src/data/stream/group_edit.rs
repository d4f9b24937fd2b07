//! A consumer group in a transaction.
//!
//! [`GroupEdit`] keeps the records of a pending entry in step (by id, and by consumer) with the counts
//! of the consumer and the group, which it writes once, when it is finished.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::group::{self, Consumer, Group, Groups, Pending};
use super::{Entries, Stream, StreamId};
use crate::data::Edit;
use crate::engine::Result;

/// A group that is being changed. Nothing holds before [`GroupEdit::finish`].
pub struct GroupEdit<'e, 'a> {
    edit: &'e mut Edit<'a>,
    stream: &'e Stream,
    parent: u64,
    name: &'e [u8],
    old: Group,
    group: Group,
    /// Consumers that were looked at, with what is stored of each.
    consumers: BTreeMap<Bytes, (Option<Consumer>, Option<Consumer>)>,
    changes: u64,
}

impl<'a> Edit<'a> {
    /// The group of this name of `stream`, a stream of this database; `None` where there is none.
    pub fn group<'e>(
        &'e mut self,
        stream: &'e Stream,
        name: &'e [u8],
    ) -> Result<Option<GroupEdit<'e, 'a>>> {
        let Some(parent) = stream.generation() else { return Ok(None) };
        let Some(old) = self.groups(stream).get(name)? else { return Ok(None) };
        let (group, consumers) = (old, BTreeMap::new());
        let edit = self;
        Ok(Some(GroupEdit { edit, stream, parent, name, old, group, consumers, changes: 0 }))
    }
}

impl GroupEdit<'_, '_> {
    /// The group as it is by now.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The entries of the stream.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        self.edit.entries(self.stream)
    }

    /// What is pending in the group by now; its counts are not known there.
    #[must_use]
    pub fn groups(&self) -> Groups<'_> {
        self.edit.groups(self.stream)
    }

    /// Milliseconds since the epoch at the time of the call.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.edit.context().now_ms
    }

    /// Sets the last delivered id and what is known of the entries read.
    pub fn set_last(&mut self, last: StreamId, entries_read: Option<u64>) {
        (self.group.last, self.group.entries_read) = (last, entries_read);
        self.changes += 1;
    }

    /// Notes that the entry of this id is delivered, if it is a new one.
    pub fn advance(&mut self, id: StreamId) {
        if id > self.group.last {
            self.stream.advance(&mut self.group, id);
        }
    }

    /// The consumer of this name.
    pub fn consumer(&mut self, name: &Bytes) -> Result<Option<Consumer>> {
        if let Some((_, consumer)) = self.consumers.get(name) {
            return Ok(*consumer);
        }
        let stored = self.groups().consumer(&self.group, name)?;
        // The name lives on, the request that it is part of should not.
        self.consumers.insert(Bytes::copy_from_slice(name), (stored, stored));
        Ok(stored)
    }

    /// Makes a consumer; `false` where there is one of this name.
    pub fn create_consumer(&mut self, name: &Bytes) -> Result<bool> {
        if self.consumer(name)?.is_some() {
            return Ok(false);
        }
        let seen_ms = self.now_ms();
        self.set_consumer(name, Some(Consumer { seen_ms, ..Consumer::default() }));
        self.group.consumers += 1;
        self.changes += 1;
        Ok(true)
    }

    /// Notes that a consumer, which is made where it does not exist, asks for something; whether it
    /// was made.
    pub fn see(&mut self, name: &Bytes) -> Result<bool> {
        let created = self.create_consumer(name)?;
        self.change_consumer(name, |consumer, now_ms| consumer.seen_ms = now_ms)?;
        Ok(created)
    }

    /// Notes that a consumer got something.
    pub fn activate(&mut self, name: &Bytes) -> Result<()> {
        self.change_consumer(name, |consumer, now_ms| consumer.active_ms = Some(now_ms))
    }

    /// Deletes a consumer and what is pending of it; answers how many entries that were.
    pub fn delete_consumer(&mut self, name: &Bytes) -> Result<u64> {
        let Some(consumer) = self.consumer(name)? else { return Ok(0) };
        let all = (StreamId::MIN, StreamId::MAX);
        let owned = self.groups().owned(&self.group, name, all).collect::<Result<Vec<_>>>()?;
        for id in owned {
            self.delete_pending(name, id);
        }
        self.group.pending = self.group.pending.saturating_sub(consumer.pending);
        self.group.consumers = self.group.consumers.saturating_sub(1);
        self.set_consumer(name, None);
        self.changes += 1;
        Ok(consumer.pending)
    }

    /// What is pending of this entry.
    pub fn pending(&self, id: StreamId) -> Result<Option<Pending>> {
        self.groups().pending(&self.group, id)
    }

    /// Counts a change of what is pending.
    pub fn count_change(&mut self) {
        self.changes += 1;
    }

    /// Sets what is pending of an entry; `old` is what was. The consumer exists. Counts no change:
    /// see [`Self::count_change`].
    pub fn set_pending(
        &mut self,
        id: StreamId,
        old: Option<&Pending>,
        new: &Pending,
    ) -> Result<()> {
        let is_same = old.is_some_and(|old| old.consumer == new.consumer);
        if let Some(old) = old.filter(|_| !is_same) {
            self.release(id, old)?;
        }
        let groups = self.groups();
        let record = groups.pending_key(&self.group, id);
        let owned = groups.owned_key(&self.group, &new.consumer, id);
        let txn = &mut self.edit.txn;
        txn.put(Bytes::copy_from_slice(&record), group::encode_pending(new));
        if !is_same {
            txn.put(Bytes::copy_from_slice(&owned), Bytes::new());
            self.group.pending += 1;
            self.change_consumer(&new.consumer, |consumer, _| consumer.pending += 1)?;
        }
        Ok(())
    }

    /// Deletes what is pending of an entry.
    pub fn forget(&mut self, id: StreamId, old: &Pending) -> Result<()> {
        self.changes += 1;
        self.release(id, old)
    }

    fn release(&mut self, id: StreamId, old: &Pending) -> Result<()> {
        self.delete_pending(&old.consumer, id);
        self.group.pending = self.group.pending.saturating_sub(1);
        self.change_consumer(&old.consumer, |consumer, _| {
            consumer.pending = consumer.pending.saturating_sub(1);
        })
    }

    /// Writes the records of the group and of its consumers, where they have changed.
    pub fn finish(self) {
        let groups = self.edit.groups(self.stream);
        let changed = self.consumers.iter().filter(|(_, (old, new))| old != new);
        let writes: Vec<(Bytes, Option<Bytes>)> = changed
            .map(|(name, (_, new))| {
                let engine_key = groups.consumer_key(&self.group, name);
                let record = new.as_ref().map(group::encode_consumer);
                (Bytes::copy_from_slice(&engine_key), record)
            })
            .collect();
        for (engine_key, record) in writes {
            match record {
                Some(record) => self.edit.txn.put(engine_key, record),
                None => self.edit.txn.delete(engine_key),
            }
        }
        if self.group != self.old {
            self.edit.put_group(self.parent, self.name, &self.group);
        }
        self.edit.count_changes(self.changes);
    }

    fn delete_pending(&mut self, consumer: &[u8], id: StreamId) {
        let groups = self.groups();
        let record = groups.pending_key(&self.group, id);
        let owned = groups.owned_key(&self.group, consumer, id);
        self.edit.txn.delete(Bytes::copy_from_slice(&record));
        self.edit.txn.delete(Bytes::copy_from_slice(&owned));
    }

    fn change_consumer(
        &mut self,
        name: &Bytes,
        change: impl FnOnce(&mut Consumer, u64),
    ) -> Result<()> {
        let now_ms = self.now_ms();
        if let Some(mut consumer) = self.consumer(name)? {
            change(&mut consumer, now_ms);
            self.set_consumer(name, Some(consumer));
        }
        Ok(())
    }

    fn set_consumer(&mut self, name: &Bytes, new: Option<Consumer>) {
        if let Some((_, consumer)) = self.consumers.get_mut(name) {
            *consumer = new;
        }
    }
}

impl std::fmt::Debug for GroupEdit<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupEdit").field("group", &self.group).finish_non_exhaustive()
    }
}
