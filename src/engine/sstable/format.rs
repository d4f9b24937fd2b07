//! The layout of a table file, and the pieces that all its readers and writers share.
//!
//! ```text
//! file      := partition* top-index properties footer
//! partition := data-block+ filter? index
//! ```
//!
//! All integers are little-endian; varints are those of `coding`. Everything but the footer is a
//! *stored block*, which a *handle* (offset u64, length u32 of the content as stored) finds:
//!
//! | offset | size | name     | meaning                                                          |
//! |--------|------|----------|------------------------------------------------------------------|
//! | 0      | n    | content  | raw: the block; else raw length u32, then the compressed block   |
//! | n      | 1    | kind     | 0 raw, 1 LZ4 block format, 2 Zstandard frame                     |
//! | n + 1  | 4    | checksum | crc32 of content, kind, table id u64, offset u64 of this block   |
//!
//! The checksum covers the place: a block that the disk returns for another is damage too.
//!
//! Data blocks (see `data_block`), index partitions and the top index (see `block`) hold sorted entries.
//!
//! - Of a data block, an entry is a record.
//! - Of an index partition, an entry is a data block. Its key is a *low key*: greater than every
//!   key before the block, not greater than its first, and as short as that allows. Its value is
//!   the handle as two varints.
//! - Of the top index, an entry is a partition. Its key is the low key of the first block, its
//!   value the handles of index and filter (offset 0 and length 0 without a filter) and a byte,
//!   the probes of the filter per key. Its intervals have one entry each.
//!
//! The very first low key is empty. The filter (see `bloom`) has the keys of its partition.
//!
//! The properties are the fields of [`TableInfo`]: nine u64 (id, size, raw bytes, entries,
//! tombstones, expiring, expiry median, smallest and largest sequence number), then the smallest
//! and the largest key, each as a u32 length and its bytes.
//!
//! Footer, the last 48 bytes of the file:
//!
//! | offset | size | name             | meaning                                |
//! |--------|------|------------------|----------------------------------------|
//! | 0      | 12   | top index        | handle                                 |
//! | 12     | 12   | properties       | handle                                 |
//! | 24     | 8    | table id         | the number in the file's name          |
//! | 32     | 4    | format version   | 2; 1 where data blocks are as indexes  |
//! | 36     | 4    | checksum         | crc32 of bytes 0-35, then of the magic |
//! | 40     | 8    | magic            | `SILTSST` and a zero byte              |
//!
//! A table is written once and synced before anything names it, so there is no damaged tail to
//! tolerate: every mismatch is [`super::super::Error::Corruption`].

use bytes::Bytes;

use super::super::TableInfo;
use super::super::coding::{Reader, put_u32, put_u64, put_varint};

/// Last bytes of every table.
pub(super) const MAGIC: [u8; 8] = *b"SILTSST\0";
/// The format that this code writes. It reads format 1, too: data blocks tell themselves which they are.
pub(super) const FORMAT_VERSION: u32 = 2;
/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 48;
/// Bytes behind the content of a stored block: kind and checksum.
pub(super) const TRAILER_BYTES: usize = 5;
/// Largest key and value together, and so, with a little more, the largest block.
pub(super) const RECORD_BYTES_MAX: usize = 1 << 30;
/// Largest block before compression: one record of any size beside a block of small ones.
pub(super) const BLOCK_BYTES_MAX: usize = RECORD_BYTES_MAX + (64 << 20);
/// Sequence numbers fit this many bits.
pub(super) const SEQ_BITS: u32 = 56;

/// Result of taking bytes apart; the error says what is wrong with them.
pub(super) type Parsed<T> = std::result::Result<T, &'static str>;

/// Where a stored block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Handle {
    /// Offset in the file in bytes.
    pub(super) offset: u64,
    /// Length of the content as stored, without the trailer.
    pub(super) len: u32,
}

impl Handle {
    /// Offset of the first byte behind the block and its trailer.
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.len) + TRAILER_BYTES as u64)
    }

    /// Bytes of the block with its trailer.
    pub(super) fn stored_bytes(self) -> usize {
        self.len as usize + TRAILER_BYTES
    }

    pub(super) fn put_varints(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.len));
    }

    /// `None` where it is malformed.
    #[inline]
    pub(super) fn take_varints(input: &mut Reader<'_>) -> Option<Self> {
        let offset = input.varint()?;
        let len = u32::try_from(input.varint()?).ok()?;
        Some(Self { offset, len })
    }
}

/// The end of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) top_index: Handle,
    pub(super) properties: Handle,
    pub(super) table_id: u64,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        for handle in [self.top_index, self.properties] {
            put_u64(&mut out, handle.offset);
            put_u32(&mut out, handle.len);
        }
        put_u64(&mut out, self.table_id);
        put_u32(&mut out, FORMAT_VERSION);
        let checksum = footer_checksum(&out);
        put_u32(&mut out, checksum);
        out.extend_from_slice(&MAGIC);
        out
    }

    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Parsed<Self> {
        const CUT_OFF: &str = "the footer is cut off";
        let mut tail = Reader::new(bytes);
        let body = tail.take(36).ok_or(CUT_OFF)?;
        let checksum = tail.u32().ok_or(CUT_OFF)?;
        if tail.rest() != MAGIC {
            return Err("it does not end like a table");
        }
        if checksum != footer_checksum(body) {
            return Err("the checksum of the footer does not match");
        }
        let mut body = Reader::new(body);
        let mut handle = || Some(Handle { offset: body.u64()?, len: body.u32()? });
        let (top_index, properties) = handle().zip(handle()).ok_or(CUT_OFF)?;
        let (table_id, version) = body.u64().zip(body.u32()).ok_or(CUT_OFF)?;
        if !(1..=FORMAT_VERSION).contains(&version) {
            return Err("its format is newer than this version of the server can read");
        }
        Ok(Self { top_index, properties, table_id })
    }
}

fn footer_checksum(body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(&MAGIC);
    hasher.finalize()
}

/// The checksum of the block that stands at `offset` of table `table_id`; `stored` is content
/// and kind.
pub(super) fn block_checksum(stored: &[u8], table_id: u64, offset: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(stored);
    hasher.update(&table_id.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.finalize()
}

/// Checks a stored block with its trailer; gives its content and its kind.
pub(super) fn check_block(stored: &[u8], table_id: u64, offset: u64) -> Parsed<(&[u8], u8)> {
    let (covered, checksum) = stored.split_last_chunk().ok_or("a block is cut off")?;
    if u32::from_le_bytes(*checksum) != block_checksum(covered, table_id, offset) {
        return Err("the checksum of a block does not match");
    }
    let (kind, content) = covered.split_last().ok_or("a block is cut off")?;
    Ok((content, *kind))
}

/// Bytes of the properties of `info`.
pub(super) fn encode_properties(info: &TableInfo) -> Vec<u8> {
    let mut out = Vec::with_capacity(properties_bytes(info));
    for number in numbers(info) {
        put_u64(&mut out, number);
    }
    for key in [&info.smallest, &info.largest] {
        let len = u32::try_from(key.len()).expect("the builder bounds the length of keys");
        put_u32(&mut out, len);
        out.extend_from_slice(key);
    }
    out
}

/// Length of the properties of `info`; known before its file size is.
pub(super) fn properties_bytes(info: &TableInfo) -> usize {
    9 * 8 + 2 * 4 + info.smallest.len() + info.largest.len()
}

pub(super) fn decode_properties(input: &[u8]) -> Parsed<TableInfo> {
    let mut input = Reader::new(input);
    let info = take_properties(&mut input).ok_or("the properties are cut off")?;
    if input.is_empty() { Ok(info) } else { Err("the properties are too long") }
}

fn take_properties(input: &mut Reader<'_>) -> Option<TableInfo> {
    let mut info = TableInfo {
        id: input.u64()?,
        size: input.u64()?,
        raw_bytes: input.u64()?,
        entries: input.u64()?,
        tombstones: input.u64()?,
        expiring: input.u64()?,
        expiry_median_ms: input.u64()?,
        seq_min: input.u64()?,
        seq_max: input.u64()?,
        ..TableInfo::default()
    };
    for key in [&mut info.smallest, &mut info.largest] {
        let len = input.u32()? as usize;
        *key = Bytes::copy_from_slice(input.take(len)?);
    }
    Some(info)
}

fn numbers(info: &TableInfo) -> [u64; 9] {
    [
        info.id,
        info.size,
        info.raw_bytes,
        info.entries,
        info.tombstones,
        info.expiring,
        info.expiry_median_ms,
        info.seq_min,
        info.seq_max,
    ]
}
