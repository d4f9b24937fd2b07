//! Zipmaps, the small hashes of Redis up to 2.4.
//!
//! ```text
//! fields u8 (254: unknown), then each field and its value, 0xff
//!
//! field    its length, its bytes
//! value    its length, a u8 that says how many bytes behind it are unused, its bytes, these
//!
//! a length is one byte below 254, or 0xfe and a u32
//! ```

use crate::engine::coding::Reader;

const END: u8 = 0xff;
const COUNT_UNKNOWN: u8 = 0xfe;

/// A zipmap all of which was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zipmap<'a> {
    /// Without the frame.
    fields: &'a [u8],
    count: u64,
}

impl<'a> Zipmap<'a> {
    /// Checks frame and fields.
    pub(super) fn check(blob: &'a [u8]) -> Option<Self> {
        let (announced, rest) = blob.split_first()?;
        let (end, fields) = rest.split_last()?;
        let (mut reader, mut count) = (Reader::new(fields), 0_u64);
        while !reader.is_empty() {
            take(&mut reader)?;
            count += 1;
        }
        let fits = *announced >= COUNT_UNKNOWN || u64::from(*announced) == count;
        (*end == END && fits).then_some(Self { fields, count })
    }

    /// How many fields there are.
    pub(super) fn count(self) -> u64 {
        self.count
    }

    /// Fields and values. Nothing is made for all of them: they may be many times their bytes.
    pub(super) fn pairs(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut reader = Reader::new(self.fields);
        std::iter::from_fn(move || take(&mut reader))
    }
}

fn take<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let field_len = take_len(reader)?;
    let field = reader.take(field_len)?;
    let value_len = take_len(reader)?;
    let unused = reader.u8()?;
    let value = reader.take(value_len)?;
    reader.take(unused.into())?;
    Some((field, value))
}

fn take_len(reader: &mut Reader<'_>) -> Option<usize> {
    match reader.u8()? {
        END => None,
        0xfe => usize::try_from(reader.u32()?).ok(),
        short => Some(short.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(blob: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
        let zipmap = Zipmap::check(blob)?;
        let pairs: Vec<_> = zipmap.pairs().collect();
        assert_eq!(pairs.len() as u64, zipmap.count());
        Some(pairs)
    }

    #[test]
    fn fields_and_values_are_read() {
        let good = b"\x02\x03foo\x03\x02bar..\xfe\x01\x00\x00\x00a\x00\x00\xff";
        let expected = [(&b"foo"[..], &b"bar"[..]), (b"a", b"")];
        assert_eq!(pairs(good).unwrap(), expected);
        let mut unknown = good.to_vec();
        unknown[0] = COUNT_UNKNOWN;
        assert_eq!(pairs(&unknown).unwrap(), expected);
        for len in 0..good.len() {
            assert_eq!(pairs(&good[..len]), None, "cut to {len}");
        }
        assert_eq!(pairs(b"\x00\xff"), Some(vec![]));
        assert_eq!(pairs(b"\x01\xff"), None);
        assert_eq!(pairs(b"\x01\x01a\xff\x00\xff"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let blob = [&[COUNT_UNKNOWN][..], &bytes, &[END]].concat();
            if let Some(pairs) = pairs(&blob) {
                prop_assert!(pairs.len() * 3 <= blob.len());
            }
        }
    }
}
