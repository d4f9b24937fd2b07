//! LZF, as Redis compresses strings with it.
//!
//! ```text
//! 000lllll                      l + 1 bytes as they are follow
//! lllooooo oooooooo             l + 2 bytes from o + 1 bytes back, l below 7
//! 111ooooo llllllll oooooooo    the same, l being that byte and 7
//! ```

/// Bytes that one compressed byte can stand for at most: 264 of three.
const EXPANSION_MAX: usize = 88;

/// The `len` bytes that `packed` stands for; `None` where these are not so many.
pub(super) fn expand(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > packed.len().saturating_mul(EXPANSION_MAX) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = packed.iter();
    while let Some(&control) = rest.next() {
        if control < 0x20 {
            let (literal, behind) = rest.as_slice().split_at_checked(usize::from(control) + 1)?;
            out.extend_from_slice(literal);
            rest = behind.iter();
        } else {
            let mut count = usize::from(control >> 5) + 2;
            if control >= 0xe0 {
                count += usize::from(*rest.next()?);
            }
            let distance = (usize::from(control & 0x1f) << 8 | usize::from(*rest.next()?)) + 1;
            repeat(&mut out, distance, count)?;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

/// Appends `count` bytes from `distance` bytes back, which may run into themselves.
fn repeat(out: &mut Vec<u8>, distance: usize, mut count: usize) -> Option<()> {
    let start = out.len().checked_sub(distance)?;
    while count > 0 {
        let part = count.min(out.len() - start);
        out.extend_from_within(start..start + part);
        count -= part;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_references_are_expanded() {
        assert_eq!(expand(&[2, b'a', b'b', b'c'], 3).unwrap(), b"abc");
        // Seven bytes from one back, and three from six back.
        let packed = [0, b'x', 0xa0, 0, 1, b'y', b'z', 0x20, 5];
        assert_eq!(expand(&packed, 13).unwrap(), b"xxxxxxxxyzxxx");
        let long = [0, b'x', 0xe0, 255, 0];
        assert_eq!(expand(&long, 265).unwrap(), vec![b'x'; 265]);
        assert_eq!(expand(&[], 0).unwrap(), b"");
    }

    #[test]
    fn what_is_no_compression_is_refused() {
        for (packed, len) in [
            (&[2, b'a', b'b'][..], 3),
            (&[2, b'a', b'b', b'c'], 2),
            (&[2, b'a', b'b', b'c'], 4),
            (&[0, b'x', 0xa0, 1], 8),
            (&[0, b'x', 0xa0], 8),
            (&[0, b'x', 0xe0, 9], 17),
            (&[0xe0, 255, 0], 264),
            (&[0, b'x'], usize::MAX),
        ] {
            assert_eq!(expand(packed, len), None, "{packed:?}");
        }
    }
}
