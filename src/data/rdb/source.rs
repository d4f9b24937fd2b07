//! A payload that is being read: lengths, strings, numbers.
//!
//! ```text
//! 00llllll                length, six bits
//! 01llllll llllllll       length, fourteen bits, big-endian
//! 0x80, u32 big-endian    length
//! 0x81, u64 big-endian    length
//! 11eeeeee                no length but how a string is encoded: 0, 1, 2 an integer of 8, 16, 32
//!                         bits; 3 LZF, with the lengths before and behind it
//! ```

use std::borrow::Cow;

use bytes::Bytes;

use super::{Loaded, RestoreError, lzf, wanted};
use crate::data::StreamId;
use crate::engine::coding::Reader;
use crate::engine::{Error, TXN_BYTES_MAX};

/// What the elements of one value may take: what one command may write; in tests little.
const ROOM_BYTES: u64 = if cfg!(test) { 8 << 20 } else { TXN_BYTES_MAX as u64 };
/// What an element takes besides its bytes, about: the key of its record, twice, and its places in
/// the transaction and the memtable.
const ELEMENT_BYTES: u64 = if cfg!(test) { 24 } else { 192 };

/// What a text that is a part of an element takes besides its bytes.
const TEXT_BYTES: u64 = 32;

/// What stands where a length is expected.
enum Length {
    Plain(u64),
    Encoded(u8),
}

/// A payload from a place on.
pub(super) struct Source<'a> {
    payload: &'a Bytes,
    reader: Reader<'a>,
    string_bytes_max: u64,
    room: u64,
}

impl<'a> Source<'a> {
    /// At the start of `payload`; strings in it are expanded to at most so many bytes.
    pub(super) fn new(payload: &'a Bytes, string_bytes_max: u64) -> Self {
        Self { payload, reader: Reader::new(payload), string_bytes_max, room: ROOM_BYTES }
    }

    /// With at most so much room for what is made of the payload.
    pub(super) fn within(self, room_bytes: usize) -> Self {
        Self { room: self.room.min(room_bytes as u64), ..self }
    }

    /// Takes an element of so many bytes into account. Fails where the elements are more than one
    /// command may write, long before a payload that is small but stands for many fills the memory.
    pub(super) fn charge(&mut self, bytes: usize) -> Loaded<()> {
        self.take_room(bytes as u64 + ELEMENT_BYTES)
    }

    /// As [`Self::charge`], for a text that is a part of an element; before it is kept.
    pub(super) fn charge_text(&mut self, text: &[u8]) -> Loaded<()> {
        self.take_room(text.len() as u64 + TEXT_BYTES)
    }

    fn take_room(&mut self, bytes: u64) -> Loaded<()> {
        let room = self.room.checked_sub(bytes);
        self.room = room.ok_or(Error::NoRoom)?;
        Ok(())
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.reader.is_empty()
    }

    /// One byte.
    pub(super) fn u8(&mut self) -> Loaded<u8> {
        wanted(self.reader.u8())
    }

    /// The next bytes.
    pub(super) fn take(&mut self, len: u64) -> Loaded<&'a [u8]> {
        wanted(usize::try_from(len).ok().and_then(|len| self.reader.take(len)))
    }

    /// Eight bytes, a number with a fraction.
    pub(super) fn f64(&mut self) -> Loaded<f64> {
        Ok(f64::from_bits(wanted(self.reader.u64())?))
    }

    /// A time in milliseconds since the epoch, where it is not before that.
    pub(super) fn time_ms(&mut self) -> Loaded<Option<u64>> {
        Ok(u64::try_from(wanted(self.reader.u64())?.cast_signed()).ok())
    }

    /// A number that is written as a length.
    pub(super) fn len(&mut self) -> Loaded<u64> {
        match self.length()? {
            Length::Plain(len) => Ok(len),
            Length::Encoded(_) => Err(RestoreError::Malformed),
        }
    }

    /// Two numbers that are written as lengths.
    pub(super) fn id(&mut self) -> Loaded<StreamId> {
        Ok(StreamId { ms: self.len()?, seq: self.len()? })
    }

    /// Sixteen bytes, big-endian.
    pub(super) fn raw_id(&mut self) -> Loaded<StreamId> {
        wanted(StreamId::from_key(self.take(StreamId::KEY_BYTES as u64)?))
    }

    /// A string, however it is encoded.
    pub(super) fn string(&mut self) -> Loaded<Cow<'a, [u8]>> {
        let encoding = match self.length()? {
            Length::Plain(len) => return Ok(Cow::Borrowed(self.take(len)?)),
            Length::Encoded(encoding) => encoding,
        };
        let integer = match encoding {
            0 => self.u8()?.cast_signed().into(),
            1 => wanted(self.reader.u16())?.cast_signed().into(),
            2 => wanted(self.reader.u32())?.cast_signed(),
            3 => return self.compressed().map(Cow::Owned),
            _ => return Err(RestoreError::Malformed),
        };
        Ok(Cow::Owned(itoa::Buffer::new().format(integer).as_bytes().to_vec()))
    }

    /// As [`Self::string`], shared with the payload where that is possible.
    pub(super) fn shared_string(&mut self) -> Loaded<Bytes> {
        Ok(match self.string()? {
            Cow::Borrowed(bytes) => self.payload.slice_ref(bytes),
            Cow::Owned(bytes) => bytes.into(),
        })
    }

    fn compressed(&mut self) -> Loaded<Vec<u8>> {
        let (packed_len, len) = (self.len()?, self.len()?);
        let packed = self.take(packed_len)?;
        let len = usize::try_from(len).ok().filter(|_| len <= self.string_bytes_max);
        wanted(len.and_then(|len| lzf::expand(packed, len)))
    }

    fn length(&mut self) -> Loaded<Length> {
        let tag = self.u8()?;
        let low = tag & 0x3f;
        let be_len = |bytes: &[u8]| bytes.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
        Ok(match (tag >> 6, tag) {
            (0, _) => Length::Plain(low.into()),
            (1, _) => Length::Plain(u64::from(low) << 8 | u64::from(self.u8()?)),
            (_, 0x80) => Length::Plain(be_len(self.take(4)?)),
            (_, 0x81) => Length::Plain(be_len(self.take(8)?)),
            (3, _) => Length::Encoded(low),
            _ => return Err(RestoreError::Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_strings_of_every_encoding() {
        let source = |bytes: &'static [u8]| Bytes::from_static(bytes);
        let len = |bytes: &'static [u8]| Source::new(&source(bytes), 100).len().ok();
        assert_eq!(len(&[0x3f]), Some(63));
        assert_eq!(len(&[0x41, 2]), Some(258));
        assert_eq!(len(&[0x80, 1, 0, 0, 2]), Some((1 << 24) + 2));
        assert_eq!(len(&[0x81, 1, 0, 0, 0, 0, 0, 0, 2]), Some((1 << 56) + 2));
        for bad in [&[][..], &[0x41], &[0x80, 1, 0, 0], &[0x82, 0, 0, 0, 0, 0], &[0xc0, 1]] {
            assert_eq!(len(bad), None, "{bad:?}");
        }
        let string = |bytes: &'static [u8]| {
            let bytes = source(bytes);
            Source::new(&bytes, 100).string().ok().map(Cow::into_owned)
        };
        for (bytes, text) in [
            (&b"\x03abc"[..], &b"abc"[..]),
            (b"\x40\x01x", b"x"),
            (b"\xc0\xff", b"-1"),
            (b"\xc1\x00\x80", b"-32768"),
            (b"\xc2\xff\xff\xff\x7f", b"2147483647"),
            (b"\xc3\x05\x0a\x00a\xe0\x00\x00", b"aaaaaaaaaa"),
        ] {
            assert_eq!(string(bytes).as_deref(), Some(text), "{bytes:?}");
        }
        for bad in [&b"\x03ab"[..], b"\xc4", b"\xc1\x00", b"\xc3\x05\x0b\x00a\xe0\x00\x00"] {
            assert_eq!(string(bad), None, "{bad:?}");
        }
        // Two bytes that are said to be more than a string may have.
        assert_eq!(string(b"\xc3\x05\x40\x65\x00a\xe0\x5b\x00"), None);
        assert_eq!(string(b"\xc3\x05\x40\x64\x00a\xe0\x5a\x00").map(|text| text.len()), Some(100));
    }

    #[test]
    fn what_is_made_of_a_payload_is_bounded() {
        let payload = Bytes::new();
        let mut source = Source::new(&payload, 100);
        assert!(source.charge((8 << 20) - 48).is_ok());
        assert!(source.charge(0).is_ok());
        assert!(matches!(source.charge(0), Err(RestoreError::Engine(Error::NoRoom))));
    }
}
