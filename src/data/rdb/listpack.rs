//! Listpacks.
//!
//! ```text
//! bytes u32 of all, elements u16 (65535: unknown), the elements, 0xff
//!
//! an element:  0iiiiiii                an integer of seven bits, not negative
//!              10llllll                l bytes follow
//!              110iiiii iiiiiiii       an integer, big-endian
//!              1110llll llllllll       l (big-endian) bytes follow
//!              0xf0, l u32             l bytes follow
//!              0xf1 to 0xf4            an integer of 16, 24, 32, 64 bits
//!              then its length so far: seven bits per byte, highest first, the top bit set in all
//!              but the first
//! ```

use super::word::Word;
use crate::data::parse_int;
use crate::engine::coding::Reader;

const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
const HEADER_BYTES: usize = 6;

/// A listpack all of which was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listpack<'a> {
    /// Without the frame.
    elements: &'a [u8],
    count: u64,
}

impl<'a> Listpack<'a> {
    /// Checks frame and elements.
    pub(super) fn check(blob: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(blob);
        let (bytes, announced) = (reader.u32()?, reader.u16()?);
        let (end, elements) = reader.rest().split_last()?;
        if usize::try_from(bytes) != Ok(blob.len()) || *end != END {
            return None;
        }
        let (mut reader, mut count) = (Reader::new(elements), 0_u64);
        while !reader.is_empty() {
            take(&mut reader)?;
            count += 1;
        }
        let fits = announced == COUNT_UNKNOWN || u64::from(announced) == count;
        fits.then_some(Self { elements, count })
    }

    /// How many elements there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The elements.
    pub(super) fn iter(&self) -> impl Iterator<Item = Word<'a>> + use<'a> {
        let mut reader = Reader::new(self.elements);
        std::iter::from_fn(move || take(&mut reader))
    }
}

/// Reads an element; `None` at the end, and for what is none.
fn take<'a>(reader: &mut Reader<'a>) -> Option<Word<'a>> {
    let start = reader.len();
    let tag = reader.u8()?;
    let word = match tag {
        0..=0x7f => Word::Integer(tag.into()),
        0x80..=0xbf => Word::Bytes(reader.take(usize::from(tag & 0x3f))?),
        0xc0..=0xdf => {
            let bits = u16::from_be_bytes([tag & 0x1f, reader.u8()?]);
            // Thirteen bits, the first of which is the sign.
            Word::Integer(((bits << 3).cast_signed() >> 3).into())
        }
        0xe0..=0xef => {
            let len = u16::from_be_bytes([tag & 0x0f, reader.u8()?]);
            Word::Bytes(reader.take(len.into())?)
        }
        0xf0 => {
            let len = usize::try_from(reader.u32()?).ok()?;
            Word::Bytes(reader.take(len)?)
        }
        0xf1 => Word::Integer(reader.u16()?.cast_signed().into()),
        0xf2 => {
            let low = reader.u16()?;
            let high = reader.u8()?.cast_signed();
            Word::Integer(i64::from(high) << 16 | i64::from(low))
        }
        0xf3 => Word::Integer(reader.u32()?.cast_signed().into()),
        0xf4 => Word::Integer(reader.u64()?.cast_signed()),
        _ => return None,
    };
    let (back, back_bytes) = back_len(start - reader.len());
    let found = reader.take(back_bytes)?;
    (back.get(5 - back_bytes..) == Some(found)).then_some(word)
}

/// The length of an element as it stands behind it: the last so many of these bytes.
fn back_len(len: usize) -> ([u8; 5], usize) {
    let bytes = match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    };
    let mut back = [0; 5];
    let mut rest = len;
    for (at, byte) in back.iter_mut().enumerate().rev() {
        let [low, ..] = rest.to_le_bytes();
        let is_first = at == 5 - bytes;
        *byte = low & 0x7f | if is_first { 0 } else { 0x80 };
        rest >>= 7;
    }
    (back, bytes)
}

/// A listpack that is being written.
#[derive(Debug)]
pub(super) struct ListpackWriter {
    out: Vec<u8>,
    count: u64,
}

impl ListpackWriter {
    /// Without elements.
    pub(super) fn new() -> Self {
        Self { out: vec![0; HEADER_BYTES], count: 0 }
    }

    /// How many elements there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds an element, as an integer where it is the text of one.
    pub(super) fn push(&mut self, text: &[u8]) {
        match parse_int(text) {
            Some(integer) => self.push_integer(integer),
            None => self.push_bytes(text),
        }
    }

    /// Adds an integer.
    pub(super) fn push_integer(&mut self, integer: i64) {
        let start = self.out.len();
        let bytes = integer.to_le_bytes();
        let [b0, b1, ..] = bytes;
        match integer {
            0..=127 => self.out.push(b0),
            -4096..=4095 => self.out.extend([0xc0 | b1 & 0x1f, b0]),
            -32_768..=32_767 => self.put_integer(0xf1, &bytes[..2]),
            -8_388_608..=8_388_607 => self.put_integer(0xf2, &bytes[..3]),
            -2_147_483_648..=2_147_483_647 => self.put_integer(0xf3, &bytes[..4]),
            _ => self.put_integer(0xf4, &bytes),
        }
        self.close(start);
    }

    /// The listpack.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.out.push(END);
        let bytes = u32::try_from(self.out.len()).unwrap_or(u32::MAX).to_le_bytes();
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN).to_le_bytes();
        self.out[..4].copy_from_slice(&bytes);
        self.out[4..HEADER_BYTES].copy_from_slice(&count);
        self.out
    }

    fn put_integer(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let start = self.out.len();
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let [b0, b1, ..] = len.to_le_bytes();
        match len {
            0..64 => self.out.push(0x80 | b0),
            64..4096 => self.out.extend([0xe0 | b1, b0]),
            _ => self.put_integer(0xf0, &len.to_le_bytes()),
        }
        self.out.extend_from_slice(bytes);
        self.close(start);
    }

    /// Ends the element that begins at `start`.
    fn close(&mut self, start: usize) {
        let (back, bytes) = back_len(self.out.len() - start);
        self.out.extend_from_slice(&back[5 - bytes..]);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(texts: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = ListpackWriter::new();
        texts.iter().for_each(|text| writer.push(text));
        writer.finish()
    }

    fn texts(blob: &[u8]) -> Option<Vec<Vec<u8>>> {
        let list = Listpack::check(blob)?;
        let texts: Vec<_> = list.iter().map(|word| word.text().into_owned()).collect();
        assert_eq!(texts.len() as u64, list.count());
        Some(texts)
    }

    #[test]
    fn every_encoding_is_read_as_written() {
        let mut all: Vec<Vec<u8>> = [0, 1, 63, 64, 125, 126, 4095, 4096, 16_380, 70_000, 2_097_150]
            .map(|len| vec![b'x'; len])
            .to_vec();
        for power in 0..64 {
            for near in [-1, 0, 1] {
                let integer = (1_i64 << power).wrapping_add(near);
                all.push(integer.to_string().into());
                all.push(integer.wrapping_neg().to_string().into());
            }
        }
        assert_eq!(texts(&pack(&all)), Some(all));
        let many = vec![b"1".to_vec(); 70_000];
        assert_eq!(texts(&pack(&many)), Some(many), "more than the header can count");
    }

    #[test]
    fn elements_take_what_the_list_counts_for_them() {
        for text in ["", "0", "127", "128", "-4097", "8388608", "99999999999", "abc"] {
            let bytes = crate::data::list::element_bytes(text.as_bytes());
            assert_eq!(pack(&[text.into()]).len() as u64, bytes + 7, "{text}");
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let good = pack(&[b"abc".to_vec(), b"500".to_vec(), vec![b'x'; 200]]);
        assert!(texts(&good).is_some());
        for len in 0..good.len() {
            assert_eq!(texts(&good[..len]), None, "cut to {len}");
        }
        for (at, wrong) in [(0, 9), (4, 2), (6, 0x84), (10, 5), (good.len() - 1, 0)] {
            let mut bad = good.clone();
            bad[at] = wrong;
            assert_eq!(texts(&bad), None, "{wrong} at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut blob = u32::try_from(bytes.len() + 7).unwrap().to_le_bytes().to_vec();
            blob.extend([0xff, 0xff]);
            blob.extend(bytes);
            blob.push(END);
            if let Some(texts) = texts(&blob) {
                prop_assert!(texts.len() <= blob.len());
            }
        }
    }
}
