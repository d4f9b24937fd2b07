//! A change of the state, and how it is encoded.
//!
//! A body is a row of items to its end, each a tag byte and its fields. `v` is a varint, `s` a
//! slice with its length as a varint:
//!
//! | tag | item          | fields                                                                  |
//! |-----|---------------|-------------------------------------------------------------------------|
//! | 1   | table removed | v level, v id                                                           |
//! | 2   | table added   | v level, v id, v size, v raw bytes, v entries, v tombstones, v expiring, |
//! |     |               | v expiry median in ms, s smallest, s largest, v smallest seq, v largest seq |
//! | 3   | log segment   | v segment                                                               |
//! | 4   | next table id | v id                                                                    |
//! | 5   | last seq      | v sequence number                                                       |
//! | 6   | root          | s root record                                                           |
//! | 7   | option        | s name (UTF-8), s value; in snapshots only                              |
//! | 8   | log mark      | v segment, v offset; since format 2                                     |
//!
//! Tags are permanent; a new one takes a new version of the format.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::engine::coding::{Reader, put_slice, put_u8, put_varint};
use crate::engine::wal::LogPosition;
use crate::engine::{SeqNo, TableInfo};

const TAG_REMOVED: u8 = 1;
const TAG_ADDED: u8 = 2;
const TAG_LOG_SEGMENT: u8 = 3;
const TAG_NEXT_TABLE_ID: u8 = 4;
const TAG_LAST_SEQ: u8 = 5;
const TAG_ROOT: u8 = 6;
const TAG_OPTION: u8 = 7;
const TAG_LOG_MARK: u8 = 8;

/// One atomic change of the [`State`](super::State). `None` leaves a value as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// Tables (level, id) that go; they go before others come, so a table may change its level.
    pub removed: Vec<(usize, u64)>,
    /// Tables (level, facts) that come.
    pub added: Vec<(usize, TableInfo)>,
    /// Oldest log segment that is still needed.
    pub log_segment: Option<u64>,
    /// The log is durable up to here; see [`crate::engine::wal`].
    pub log_mark: Option<LogPosition>,
    /// Id for the next table; it never goes back.
    pub next_table_id: Option<u64>,
    /// Newest sequence number in any table.
    pub last_seq: Option<SeqNo>,
    /// Root record at `last_seq`.
    pub root: Option<Bytes>,
}

impl Edit {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for &(level, id) in &self.removed {
            put_u8(out, TAG_REMOVED);
            put_varint(out, level as u64);
            put_varint(out, id);
        }
        for (level, table) in &self.added {
            put_u8(out, TAG_ADDED);
            put_varint(out, *level as u64);
            encode_table(out, table);
        }
        let numbers = [
            (TAG_LOG_SEGMENT, self.log_segment),
            (TAG_NEXT_TABLE_ID, self.next_table_id),
            (TAG_LAST_SEQ, self.last_seq),
        ];
        for (tag, number) in numbers {
            if let Some(number) = number {
                put_u8(out, tag);
                put_varint(out, number);
            }
        }
        if let Some(mark) = self.log_mark {
            put_u8(out, TAG_LOG_MARK);
            put_varint(out, mark.segment);
            put_varint(out, mark.offset);
        }
        if let Some(root) = &self.root {
            put_u8(out, TAG_ROOT);
            put_slice(out, root);
        }
    }

    /// Decodes a body; the options that it holds go to `options`. `None` where it is malformed.
    pub(super) fn decode(body: &[u8], options: &mut BTreeMap<String, Bytes>) -> Option<Self> {
        let mut edit = Self::default();
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            match reader.u8()? {
                TAG_REMOVED => edit.removed.push((reader.varint_usize()?, reader.varint()?)),
                TAG_ADDED => {
                    edit.added.push((reader.varint_usize()?, decode_table(&mut reader)?));
                }
                TAG_LOG_SEGMENT => edit.log_segment = Some(reader.varint()?),
                TAG_NEXT_TABLE_ID => edit.next_table_id = Some(reader.varint()?),
                TAG_LAST_SEQ => edit.last_seq = Some(reader.varint()?),
                TAG_LOG_MARK => {
                    let (segment, offset) = (reader.varint()?, reader.varint()?);
                    edit.log_mark = Some(LogPosition { segment, offset });
                }
                TAG_ROOT => edit.root = Some(Bytes::copy_from_slice(reader.slice()?)),
                TAG_OPTION => {
                    let name = std::str::from_utf8(reader.slice()?).ok()?;
                    let value = Bytes::copy_from_slice(reader.slice()?);
                    options.insert(name.to_owned(), value);
                }
                _ => return None,
            }
        }
        Some(edit)
    }
}

pub(super) fn encode_option(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put_u8(out, TAG_OPTION);
    put_slice(out, name.as_bytes());
    put_slice(out, value);
}

fn encode_table(out: &mut Vec<u8>, table: &TableInfo) {
    // Every field by its name: one that is added to the struct has to be decided on here.
    let TableInfo {
        id,
        size,
        raw_bytes,
        entries,
        tombstones,
        expiring,
        expiry_median_ms,
        smallest,
        largest,
        seq_min,
        seq_max,
    } = table;
    for number in [id, size, raw_bytes, entries, tombstones, expiring, expiry_median_ms] {
        put_varint(out, *number);
    }
    put_slice(out, smallest);
    put_slice(out, largest);
    put_varint(out, *seq_min);
    put_varint(out, *seq_max);
}

fn decode_table(reader: &mut Reader<'_>) -> Option<TableInfo> {
    Some(TableInfo {
        id: reader.varint()?,
        size: reader.varint()?,
        raw_bytes: reader.varint()?,
        entries: reader.varint()?,
        tombstones: reader.varint()?,
        expiring: reader.varint()?,
        expiry_median_ms: reader.varint()?,
        smallest: Bytes::copy_from_slice(reader.slice()?),
        largest: Bytes::copy_from_slice(reader.slice()?),
        seq_min: reader.varint()?,
        seq_max: reader.varint()?,
    })
}
