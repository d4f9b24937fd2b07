//! Groups of a stream that is made anew, with all that is in them.
//!
//! Each record is written once; the counts of a group are kept by its caller's [`Group`] and written
//! with it, last.

use bytes::Bytes;

use super::group::{self, Consumer, Group, Pending};
use super::{StreamEdit, StreamId};
use crate::engine::Result;

impl StreamEdit<'_, '_> {
    /// Makes a group without consumers; `None` where there is one of this name.
    pub(in crate::data) fn new_group(
        &mut self,
        name: &[u8],
        last: StreamId,
        entries_read: Option<u64>,
    ) -> Result<Option<Group>> {
        if !self.create_group(name, last, entries_read)? {
            return Ok(None);
        }
        self.edit.groups(&self.stream).get(name)
    }

    /// Writes a consumer; `false` where there is one of this name.
    pub(in crate::data) fn put_consumer(
        &mut self,
        group: &mut Group,
        name: &[u8],
        consumer: &Consumer,
    ) -> bool {
        let engine_key = self.edit.groups(&self.stream).consumer_key(group, name);
        if self.edit.txn.own(&engine_key).is_some() {
            return false;
        }
        let record = group::encode_consumer(consumer);
        self.edit.txn.put(Bytes::copy_from_slice(&engine_key), record);
        group.consumers += 1;
        true
    }

    /// Writes a pending entry of a consumer that counts it; nothing of this entry is pending yet.
    pub(in crate::data) fn put_pending(
        &mut self,
        group: &mut Group,
        id: StreamId,
        pending: &Pending,
    ) {
        let groups = self.edit.groups(&self.stream);
        let record = groups.pending_key(group, id);
        let owned = groups.owned_key(group, &pending.consumer, id);
        let txn = &mut self.edit.txn;
        txn.put(Bytes::copy_from_slice(&record), group::encode_pending(pending));
        txn.put(Bytes::copy_from_slice(&owned), Bytes::new());
        group.pending += 1;
    }

    /// Writes the record of a group that was made with [`Self::new_group`].
    pub(in crate::data) fn put_group(&mut self, name: &[u8], group: &Group) {
        if let Some(parent) = self.stream.generation() {
            self.edit.put_group(parent, name, group);
        }
    }
}
