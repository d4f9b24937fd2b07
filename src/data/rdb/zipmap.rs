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

/// Fields and values; `None` where the bytes are no zipmap.
pub(super) fn pairs(blob: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut reader = Reader::new(blob);
    let announced = reader.u8()?;
    let mut pairs = Vec::new();
    while reader.rest() != [END] {
        let field_len = take_len(&mut reader)?;
        let field = reader.take(field_len)?;
        let value_len = take_len(&mut reader)?;
        let unused = reader.u8()?;
        let value = reader.take(value_len)?;
        reader.take(unused.into())?;
        pairs.push((field, value));
    }
    let fits = announced >= COUNT_UNKNOWN || usize::from(announced) == pairs.len();
    fits.then_some(pairs)
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
