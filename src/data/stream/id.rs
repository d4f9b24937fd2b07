//! Ids of stream entries.

use crate::engine::coding::{Reader, put_varint};

/// Longest text of an id in bytes.
const TEXT_BYTES_MAX: usize = 127;

/// The id of a stream entry: a time in milliseconds and a number within it. Ids ascend in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds, as a rule of Unix time.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// `0-0`, which no entry has.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The largest id.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };
    /// Bytes of an id in a key.
    pub(in crate::data) const KEY_BYTES: usize = 16;

    /// Reads `ms-seq`, or `ms` alone, which takes `missing_seq` for its number.
    #[must_use]
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        let (ms, seq) = split(text)?;
        let seq = seq.map_or(Some(missing_seq), parse_u64)?;
        Some(Self { ms: parse_u64(ms)?, seq })
    }

    /// Reads what [`Self::parse`] reads, and `ms-*`, which has no number.
    #[must_use]
    pub fn parse_open(text: &[u8]) -> Option<(u64, Option<u64>)> {
        match split(text)? {
            (ms, Some(b"*")) => Some((parse_u64(ms)?, None)),
            _ => Self::parse(text, 0).map(|id| (id.ms, Some(id.seq))),
        }
    }

    /// The id right behind this one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id right before this one.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Bytes in the order of the ids.
    pub(in crate::data) fn to_key(self) -> [u8; Self::KEY_BYTES] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// The inverse of [`Self::to_key`]; `None` for bytes of another length.
    pub(in crate::data) fn from_key(key: &[u8]) -> Option<Self> {
        let (ms, seq) = key.split_first_chunk::<8>()?;
        let seq = <[u8; 8]>::try_from(seq).ok()?;
        Some(Self { ms: u64::from_be_bytes(*ms), seq: u64::from_be_bytes(seq) })
    }

    /// Appends it as two varints.
    pub(super) fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self.ms);
        put_varint(out, self.seq);
    }

    /// Reads what [`Self::put`] wrote.
    pub(super) fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { ms: reader.varint()?, seq: reader.varint()? })
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    Some(match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

/// Digits with blanks or a plus in front of them, as Redis reads them here.
fn parse_u64(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let id = |ms, seq| Some(StreamId { ms, seq });
        assert_eq!(StreamId::parse(b"5", 7), id(5, 7));
        assert_eq!(StreamId::parse(b"5-6", 7), id(5, 6));
        assert_eq!(StreamId::parse(b"007- 6", 7), id(7, 6));
        let max = b"18446744073709551615-18446744073709551615";
        assert_eq!(StreamId::parse(max, 0), Some(StreamId::MAX));
        for bad in ["", "-", "+", "5-", "-5", "a-1", "1-a", "5-*", "18446744073709551616", "1-2-3"]
        {
            assert_eq!(StreamId::parse(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(StreamId::parse(&[b'0'; 128], 0), None);
        assert_eq!(StreamId::parse_open(b"5-*"), Some((5, None)));
        assert_eq!(StreamId::parse_open(b"5"), Some((5, Some(0))));
        assert_eq!(StreamId::parse_open(b"5-**"), None);
        assert_eq!(StreamId { ms: 1, seq: 2 }.to_string(), "1-2");
    }

    #[test]
    fn neighbours_and_order() {
        let edge = StreamId { ms: 4, seq: u64::MAX };
        let behind = StreamId { ms: 5, seq: 0 };
        assert_eq!((edge.next(), behind.previous()), (Some(behind), Some(edge)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert!(edge < behind && edge.to_key() < behind.to_key());
        assert_eq!(StreamId::from_key(&edge.to_key()), Some(edge));
        assert_eq!(StreamId::from_key(&edge.to_key()[..15]), None);
    }
}
