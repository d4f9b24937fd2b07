//! Numbers and slices as bytes. The only place of the engine where bytes become numbers.
//!
//! Fixed-width integers are little-endian. A varint holds seven bits per byte, lowest first, and
//! the top bit says that another byte follows; it takes at most ten bytes. A slice is its length
//! as a varint, then its bytes.
//!
//! Writers append to a `Vec<u8>`. Reading goes through [`Reader`], which never reads past the end,
//! never panics and allocates nothing.

/// Appends `value` as one byte.
pub fn put_u8(out: &mut Vec<u8>, value: u8) {
    out.push(value);
}

/// Appends `value` as two bytes.
pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value` as four bytes.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value` as eight bytes.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends `value` as a varint of one to ten bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// The first eight bytes, zeros behind the end, as a number that compares as they do.
#[inline]
#[must_use]
pub fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(whole) => u64::from_be_bytes(*whole),
        None => {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(padded)
        }
    }
}

/// Appends the length of `bytes` as a varint, then `bytes`.
pub fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Number of bytes that [`put_varint`] appends for `value`.
#[must_use]
pub fn varint_len(value: u64) -> usize {
    let bits = (64 - (value | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

#[expect(clippy::cast_possible_truncation, reason = "the low byte is what is asked for")]
fn low_byte(value: u64) -> u8 {
    value as u8
}

/// Reads what the writers of this module wrote. Each method answers `None`, and consumes nothing,
/// where the bytes end too early or cannot have come from its writer.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader that stands at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Number of bytes not yet read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A two-byte integer.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// A four-byte integer.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// An eight-byte integer.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A varint. One that is longer than it had to be, or exceeds 64 bits, is refused: a number
    /// has one encoding.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (index, &byte) in self.bytes.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return None;
                }
                self.bytes = self.bytes.get(index + 1..)?;
                return Some(value);
            }
        }
        None
    }

    /// A varint as a `usize`.
    pub fn varint_usize(&mut self) -> Option<usize> {
        let mut ahead = *self;
        let value = usize::try_from(ahead.varint()?).ok()?;
        *self = ahead;
        Some(value)
    }

    /// A slice that [`put_slice`] wrote.
    pub fn slice(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.varint_usize()?;
        let taken = ahead.take(len)?;
        *self = ahead;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn varints_at_their_edges() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Some(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_varint_that_is_too_long_or_too_large_is_refused() {
        for bytes in [&[0x80][..], &[0x80, 0x00], &[0xff; 10], &[0xff; 11], &[]] {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.varint(), None, "{bytes:?}");
            assert_eq!(reader.rest(), bytes, "nothing was consumed");
        }
    }

    #[test]
    fn a_slice_longer_than_what_is_there_is_refused() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        out.extend_from_slice(b"abc");
        let mut reader = Reader::new(&out);
        assert_eq!(reader.slice(), None);
        assert_eq!(reader.len(), out.len());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(a: u8, b: u16, c: u32, d: u64, e: u64, f: Vec<u8>) {
            let mut out = Vec::new();
            put_u8(&mut out, a);
            put_u16(&mut out, b);
            put_u32(&mut out, c);
            put_u64(&mut out, d);
            put_varint(&mut out, e);
            put_slice(&mut out, &f);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.u8(), Some(a));
            prop_assert_eq!(reader.u16(), Some(b));
            prop_assert_eq!(reader.u32(), Some(c));
            prop_assert_eq!(reader.u64(), Some(d));
            prop_assert_eq!(reader.varint(), Some(e));
            prop_assert_eq!(reader.slice(), Some(&f[..]));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.slice().is_some() || reader.u32().is_some() || reader.varint().is_some() {}
        }
    }
}
