//! Ziplists, as Redis wrote them before version 7.
//!
//! ```text
//! bytes u32 of all, offset u32 of the last element, elements u16 (65535: unknown), the elements, 0xff
//!
//! an element:  length of the one before it: one byte below 254, or 0xfe and a u32
//!              00llllll                  l bytes follow
//!              01llllll llllllll         l (big-endian) bytes follow
//!              10......, l u32           l (big-endian) bytes follow
//!              0xc0, 0xd0, 0xe0, 0xf0    an integer of 16, 32, 64, 24 bits
//!              0xfe                      an integer of 8 bits
//!              0xf1 to 0xfd              the integers 0 to 12
//! ```

use super::word::Word;
use crate::engine::coding::Reader;

const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
const HEADER_BYTES: usize = 10;

/// A ziplist all of which was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ziplist<'a> {
    /// Without the frame.
    elements: &'a [u8],
    count: u64,
}

impl<'a> Ziplist<'a> {
    /// Checks frame and elements.
    pub(super) fn check(blob: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(blob);
        let (bytes, tail, announced) = (reader.u32()?, reader.u32()?, reader.u16()?);
        let (end, elements) = reader.rest().split_last()?;
        if usize::try_from(bytes) != Ok(blob.len()) || *end != END {
            return None;
        }
        let mut reader = Reader::new(elements);
        let (mut count, mut last_at, mut last_len) = (0_u64, HEADER_BYTES, 0);
        while !reader.is_empty() {
            last_at = HEADER_BYTES + elements.len() - reader.len();
            let (before, _) = take(&mut reader)?;
            if before != last_len {
                return None;
            }
            last_len = HEADER_BYTES + elements.len() - reader.len() - last_at;
            count += 1;
        }
        let fits = announced == COUNT_UNKNOWN || u64::from(announced) == count;
        let is_tail = usize::try_from(tail) == Ok(last_at);
        (fits && is_tail).then_some(Self { elements, count })
    }

    /// How many elements there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The elements.
    pub(super) fn iter(&self) -> impl Iterator<Item = Word<'a>> + use<'a> {
        let mut reader = Reader::new(self.elements);
        std::iter::from_fn(move || take(&mut reader).map(|(_, word)| word))
    }
}

/// Reads an element and what it says of the length of the one before it; `None` at the end, and for
/// what is none.
fn take<'a>(reader: &mut Reader<'a>) -> Option<(usize, Word<'a>)> {
    let before = match reader.u8()? {
        0xff => return None,
        0xfe => usize::try_from(reader.u32()?).ok()?,
        short => short.into(),
    };
    let tag = reader.u8()?;
    let word = match tag {
        0..=0x3f => Word::Bytes(reader.take(tag.into())?),
        0x40..=0x7f => {
            let len = u16::from_be_bytes([tag & 0x3f, reader.u8()?]);
            Word::Bytes(reader.take(len.into())?)
        }
        0x80..=0xbf => {
            let len = usize::try_from(reader.u32()?.swap_bytes()).ok()?;
            Word::Bytes(reader.take(len)?)
        }
        0xc0 => Word::Integer(reader.u16()?.cast_signed().into()),
        0xd0 => Word::Integer(reader.u32()?.cast_signed().into()),
        0xe0 => Word::Integer(reader.u64()?.cast_signed()),
        0xf0 => {
            let low = reader.u16()?;
            let high = reader.u8()?.cast_signed();
            Word::Integer(i64::from(high) << 16 | i64::from(low))
        }
        0xfe => Word::Integer(reader.u8()?.cast_signed().into()),
        0xf1..=0xfd => Word::Integer(i64::from(tag) - 0xf1),
        _ => return None,
    };
    Some((before, word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(blob: &[u8]) -> Option<Vec<String>> {
        let list = Ziplist::check(blob)?;
        let text = |word: Word<'_>| String::from_utf8_lossy(&word.text()).into_owned();
        let texts: Vec<_> = list.iter().map(text).collect();
        assert_eq!(texts.len() as u64, list.count());
        Some(texts)
    }

    /// A ziplist of these elements, each as its tag and what follows.
    fn frame(elements: &[&[u8]]) -> Vec<u8> {
        super::super::payload::ziplist_of(elements)
    }

    #[test]
    fn every_encoding_is_read() {
        let long = [&[0x41, 0x2c][..], &[b'y'; 300]].concat();
        let longer = [&[0x80, 0, 1, 0, 0][..], &[b'z'; 65_536]].concat();
        let blob = frame(&[
            b"\x02hi",
            &long,
            &longer,
            b"\xc0\x00\x80",
            b"\xd0\xff\xff\xff\x7f",
            b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
            b"\xf0\x00\x00\x80",
            b"\xfe\xff",
            b"\xf1",
            b"\xfd",
        ]);
        let found = texts(&blob).unwrap();
        assert_eq!(found[0], "hi");
        assert_eq!((found[1].len(), found[2].len()), (300, 65_536));
        let expected =
            ["-32768", "2147483647", "-9223372036854775808", "-8388608", "-1", "0", "12"];
        assert_eq!(found[3..], expected);
        assert_eq!(texts(&frame(&[])), Some(vec![]));
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let good = frame(&[b"\x03abc", b"\xf5", b"\x02de"]);
        assert!(texts(&good).is_some());
        for len in 0..good.len() {
            assert_eq!(texts(&good[..len]), None, "cut to {len}");
        }
        // All bytes, the tail, the count, the length before, a length, a tag, the end.
        for (at, wrong) in [(0, 9), (4, 9), (8, 4), (15, 4), (11, 9), (16, 0xff), (21, 0)] {
            let mut bad = good.clone();
            bad[at] = wrong;
            assert_eq!(texts(&bad), None, "{wrong} at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, tail in 10..40_u32) {
            let mut blob = u32::try_from(bytes.len() + 11).unwrap().to_le_bytes().to_vec();
            blob.extend(tail.to_le_bytes());
            blob.extend([0xff, 0xff]);
            blob.extend(bytes);
            blob.push(END);
            if let Some(texts) = texts(&blob) {
                prop_assert!(texts.len() <= blob.len());
            }
        }
    }
}
