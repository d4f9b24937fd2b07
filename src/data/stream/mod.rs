//! What the metadata record says of a stream: which entries it has, and how they are kept.
//!
//! ```text
//! length, entries ever added                   varints
//! first entry, top entry, last id, largest     ids, two varints each; of an empty stream the first
//! deleted id                                   two are 0-0
//! encoding 2 (packed):    the entries, to the end of the record, see `entry.rs`
//! encoding 4 (exploded):  generation, epoch, entries cut off since the generation record was
//!                         written, groups; varints
//! ```
//!
//! A small stream without groups sits in its metadata record. With the entry that crosses
//! `stream-node-max-entries`, `stream-node-max-bytes` or [`PACKED_BYTES_MAX`], or with its first
//! group, it explodes: each entry and each group has a record of its own under the generation, and it
//! never goes back. `XADD` then writes the entry and the metadata record, and reads the latter only.
//!
//! ```text
//! element                        record
//! 0 | epoch u32 BE | id          fields and values of the entry: `entry.rs`
//! 1 | name                       the group, with a generation of its own: `group.rs`
//! ```
//!
//! **The head is cut, not deleted.** Readers keep between the first and the top entry of the metadata
//! record. So whatever is taken off the head of a stream, one entry or ten million, moves the first
//! entry and writes nothing else: no tombstone that a later walk would have to pass. From time to time
//! (every [`MARK_EVERY`] entries) the generation record is told where the live elements start, and
//! compaction drops what lies before. Elements from the middle and from the top are deleted.
//!
//! Ids ascend, and so do the places of cut entries; only `XSETID` on an empty stream may set the last id
//! back. The epoch grows then, so that entries that were cut earlier never come to lie behind the start.

use bytes::Bytes;

use super::collection::damaged;
use super::key::{self, KeyBuf};
use crate::engine::SeqNo;
use crate::engine::coding::{Reader, put_varint};

mod check;
mod copy;
mod edit;
mod entry;
mod group;
mod group_edit;
mod id;
mod lag;
mod restore;
mod trim;

pub use edit::StreamEdit;
pub use entry::{Entries, StreamEntry};
pub use group::{Consumer, Group, Groups, Pending};
pub use group_edit::GroupEdit;
pub use id::StreamId;
pub use trim::{Trim, TrimTo};

pub(super) use check::check;

const PACKED: u8 = 2;
const EXPLODED: u8 = 4;

/// Entries of a stream are never longer in its metadata record, in bytes: each `XADD` writes all of
/// them.
pub(super) const PACKED_BYTES_MAX: usize = 1024;
/// Entries that are cut off the head before compaction is told.
pub(super) const MARK_EVERY: u64 = 64;

/// First bytes of the elements of a stream.
const ENTRY: u8 = 0;
const GROUP: u8 = 1;

/// How the entries of a stream are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// In the metadata record.
    Packed(Bytes),
    /// A record each.
    Exploded {
        /// Names the records.
        generation: u64,
        /// Part of the keys of entries.
        epoch: u32,
        /// Entries that were cut off since the generation record was written.
        unmarked: u64,
        /// How many groups there are.
        groups: u64,
    },
}

/// A stream, by its metadata record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// How many entries there are.
    pub length: u64,
    /// How many were ever added, by Redis's count, which `XSETID` can change.
    pub added: u64,
    /// Id of the first entry; `0-0` of an empty stream.
    pub first: StreamId,
    /// Id of the last entry that is there; `0-0` of an empty stream.
    pub top: StreamId,
    /// The last id that was given out: new ones are larger.
    pub last: StreamId,
    /// The largest id that `XDEL` has deleted.
    pub max_deleted: StreamId,
    pub(super) layout: Layout,
    /// The transaction with which its entries changed last, where what was written since is quiet: a
    /// group made or deleted, an id set. For those who watch it. Only with records of their own.
    pub(in crate::data) quiet_since: Option<SeqNo>,
}

impl Default for Stream {
    /// A stream that was never used.
    fn default() -> Self {
        let [first, top, last, max_deleted] = [StreamId::MIN; 4];
        let layout = Layout::Packed(Bytes::new());
        let quiet_since = None;
        Self { length: 0, added: 0, first, top, last, max_deleted, layout, quiet_since }
    }
}

impl Stream {
    /// Most bytes in front of packed entries.
    pub(super) const HEADER_LEN_MAX: usize = 150;

    /// Reads what stands behind the common part of the metadata record.
    pub(super) fn decode(encoding: u8, bytes: &Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (length, added) = (reader.varint()?, reader.varint()?);
        let mut ids = [StreamId::MIN; 4];
        for id in &mut ids {
            *id = StreamId::take(&mut reader)?;
        }
        let [first, top, last, max_deleted] = ids;
        let mut quiet_since = None;
        let layout = match encoding {
            PACKED => Layout::Packed(bytes.slice_ref(reader.rest())),
            EXPLODED => {
                let generation = reader.varint()?;
                let epoch = u32::try_from(reader.varint()?).ok()?;
                let (unmarked, groups) = (reader.varint()?, reader.varint()?);
                if !reader.is_empty() {
                    quiet_since = Some(reader.varint()?);
                }
                reader.is_empty().then_some(Layout::Exploded {
                    generation,
                    epoch,
                    unmarked,
                    groups,
                })?
            }
            _ => return None,
        };
        Some(Self { length, added, first, top, last, max_deleted, layout, quiet_since })
    }

    /// The number of the encoding, stored and permanent.
    pub(super) fn encoding(&self) -> u8 {
        match self.layout {
            Layout::Packed(_) => PACKED,
            Layout::Exploded { .. } => EXPLODED,
        }
    }

    /// What stands between the common part of the metadata record and packed entries.
    pub(super) fn put_header(&self, out: &mut Vec<u8>) {
        put_varint(out, self.length);
        put_varint(out, self.added);
        for id in [self.first, self.top, self.last, self.max_deleted] {
            id.put(out);
        }
        if let Layout::Exploded { generation, epoch, unmarked, groups } = self.layout {
            put_varint(out, generation);
            put_varint(out, u64::from(epoch));
            put_varint(out, unmarked);
            put_varint(out, groups);
            if let Some(seq) = self.quiet_since {
                put_varint(out, seq);
            }
        }
    }

    /// Whether its entries have not changed with what was written last.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet_since.is_some()
    }

    /// The entries that are part of the metadata record.
    pub(super) fn packed_bytes(&self) -> &[u8] {
        match &self.layout {
            Layout::Packed(list) => list,
            Layout::Exploded { .. } => &[],
        }
    }

    /// The generation of the records, if there are any.
    pub(super) fn generation(&self) -> Option<u64> {
        match self.layout {
            Layout::Exploded { generation, .. } => Some(generation),
            Layout::Packed(_) => None,
        }
    }

    /// Where the live elements start, for the generation record, if there is one.
    pub(super) fn start(&self) -> Option<Vec<u8>> {
        let Layout::Exploded { epoch, .. } = self.layout else { return None };
        if self.length > 0 {
            return Some(entry_element(epoch, self.first).to_vec());
        }
        // Right behind the last id.
        Some([&entry_element(epoch, self.last)[..], &[0]].concat())
    }

    /// How many groups there are.
    #[must_use]
    pub fn group_count(&self) -> u64 {
        match self.layout {
            Layout::Exploded { groups, .. } => groups,
            Layout::Packed(_) => 0,
        }
    }
}

/// What follows the generation in the key of an entry.
fn entry_element(epoch: u32, id: StreamId) -> [u8; 5 + StreamId::KEY_BYTES] {
    let mut element = [ENTRY; 5 + StreamId::KEY_BYTES];
    element[1..5].copy_from_slice(&epoch.to_be_bytes());
    element[5..].copy_from_slice(&id.to_key());
    element
}

/// Key of the record of an entry.
fn entry_key(keyspace: u32, generation: u64, epoch: u32, id: StreamId) -> KeyBuf {
    key::part(keyspace, generation, &entry_element(epoch, id), &[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Body, KeyType, Meta, StringForm};

    fn id() -> impl Strategy<Value = StreamId> {
        any::<(u64, u64)>().prop_map(|(ms, seq)| StreamId { ms, seq })
    }

    fn layout() -> impl Strategy<Value = Layout> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_map(|list| Layout::Packed(list.into())),
            any::<(u64, u32, u64, u64)>().prop_map(|(generation, epoch, unmarked, groups)| {
                Layout::Exploded { generation, epoch, unmarked, groups }
            }),
        ]
    }

    proptest! {
        #[test]
        fn decode_is_the_inverse_of_encode(
            (length, added) in any::<(u64, u64)>(),
            (first, top, last, max_deleted) in (id(), id(), id(), id()),
            (layout, seq) in (layout(), any::<Option<u64>>()), expires_ms in any::<Option<u64>>(),
        ) {
            let quiet_since = seq.filter(|_| matches!(layout, Layout::Exploded { .. }));
            let stream =
                Stream { length, added, first, top, last, max_deleted, layout, quiet_since };
            let body = Body::Stream(Box::new(stream));
            let (kind, form) = (KeyType::Stream, StringForm::Natural);
            let meta = Meta { kind, expires_ms, form, body };
            let record = meta.encode();
            prop_assert_eq!(Meta::decode(&record).unwrap(), meta);
        }

        #[test]
        fn damage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), tag: u8) {
            let record = [&[tag & 0xf0 | 5, 0][..], &bytes].concat();
            let _ = Meta::decode(&record.into());
        }
    }

    #[test]
    fn the_longest_header_has_room() {
        let stream = Stream {
            length: u64::MAX,
            added: u64::MAX,
            first: StreamId::MAX,
            top: StreamId::MAX,
            last: StreamId::MAX,
            max_deleted: StreamId::MAX,
            layout: Layout::Exploded {
                generation: u64::MAX,
                epoch: u32::MAX,
                unmarked: u64::MAX,
                groups: u64::MAX,
            },
            quiet_since: Some(u64::MAX),
        };
        let mut header = Vec::new();
        stream.put_header(&mut header);
        assert!(header.len() <= Stream::HEADER_LEN_MAX, "{}", header.len());
    }
}
