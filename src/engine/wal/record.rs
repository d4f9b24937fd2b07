//! A record: its header, and the buffer that it is built in.

use super::LogPosition;
use crate::engine::coding::{Reader, put_u32, put_u64};
use crate::engine::{Error, Result};

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 56;
/// Bytes at the start of a record that its checksum does not cover: the checksum.
pub(super) const CRC_BYTES: usize = 4;
/// Where in a header the number of the segment stands.
pub(super) const SEGMENT_OFFSET: u64 = 8;
/// Records start at multiples of this.
pub(super) const ALIGN: u64 = 8;
/// What the system reads and writes at a time, in bytes.
const PAGE_BYTES: u64 = 4096;
/// Largest payload in bytes.
const PAYLOAD_BYTES_MAX: u64 = 1 << 31;

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) crc: u32,
    pub(super) len: u32,
    /// Where the record was meant to be.
    pub(super) position: LogPosition,
    /// End of the record before it.
    pub(super) previous: LogPosition,
    /// Everything before this was known to be durable.
    pub(super) durable: LogPosition,
}

impl Header {
    /// The header in `bytes`, if it is of the record at `position`.
    pub(super) fn decode_of(position: LogPosition, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (crc, len) = (reader.u32()?, reader.u32()?);
        if read_position(&mut reader)? != position {
            return None;
        }
        let previous = read_position(&mut reader)?;
        let durable = read_position(&mut reader)?;
        Some(Self { crc, len, position, previous, durable })
    }

    /// Bytes of the record with its padding.
    pub(super) fn size(&self) -> u64 {
        padded(HEADER_BYTES as u64 + u64::from(self.len))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u32(out, self.crc);
        put_u32(out, self.len);
        for place in [self.position, self.previous, self.durable] {
            put_u64(out, place.segment);
            put_u64(out, place.offset);
        }
    }
}

fn read_position(reader: &mut Reader<'_>) -> Option<LogPosition> {
    Some(LogPosition { segment: reader.u64()?, offset: reader.u64()? })
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN)
}

/// The payload of a record that is being built. Its buffer has room for the header in front, so
/// that a record is written without being copied.
#[derive(Debug)]
pub struct LogBatch {
    /// `HEADER_BYTES` of room, then the payload.
    bytes: Vec<u8>,
}

impl Default for LogBatch {
    fn default() -> Self {
        Self { bytes: vec![0; HEADER_BYTES] }
    }
}

impl LogBatch {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to append the payload. Something else than payload stands in front of it: append, and
    /// leave alone what is there.
    pub fn payload_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The payload so far.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Bytes of payload so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload().len()
    }

    /// Whether there is no payload yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the payload and keeps the buffer, up to `keep_bytes` of it.
    pub fn clear(&mut self, keep_bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(keep_bytes);
        self.bytes.resize(HEADER_BYTES, 0);
    }

    /// Bytes of the finished record.
    pub(super) fn size(&self) -> Result<u64> {
        assert!(self.bytes.len() >= HEADER_BYTES, "somebody shortened the buffer of a LogBatch");
        if self.bytes.len() as u64 - HEADER_BYTES as u64 > PAYLOAD_BYTES_MAX {
            return Err(Error::Limit("a batch of writes exceeds 2 GiB"));
        }
        Ok(padded(self.bytes.len() as u64))
    }

    /// Turns the buffer into the record for its place, with zeros behind it up to the end of its
    /// last page. To be done once. The zeros cost no I/O, since whole pages go to the disk,
    /// and save some: to change a part of a page that is not in memory it would be read first.
    pub(super) fn finish(
        &mut self,
        position: LogPosition,
        previous: LogPosition,
        durable: LogPosition,
        capacity: u64,
    ) {
        let end = self.bytes.len();
        let len = u32::try_from(end - HEADER_BYTES).expect("size() has checked the limit");
        let mut header = Header { crc: 0, len, position, previous, durable };
        let mut encoded = Vec::with_capacity(HEADER_BYTES);
        header.encode(&mut encoded);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&encoded[CRC_BYTES..]);
        crc.update(&self.bytes[HEADER_BYTES..]);
        header.crc = crc.finalize();
        encoded.clear();
        header.encode(&mut encoded);
        self.bytes[..HEADER_BYTES].copy_from_slice(&encoded);
        let record_end = position.offset + header.size();
        let page_end = record_end.next_multiple_of(PAGE_BYTES).min(capacity).max(record_end);
        let zeros = page_end - position.offset - end as u64;
        self.bytes.resize(end + usize::try_from(zeros).expect("at most a page"), 0);
    }

    /// The finished record, and zeros.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the buffer out, to be cleared and used again.
    pub(super) fn take(&mut self) -> Self {
        Self { bytes: std::mem::take(&mut self.bytes) }
    }
}
