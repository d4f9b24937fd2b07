//! The order key of a count record.

use std::ops::Deref;

use smallvec::SmallVec;

use crate::engine::coding::head;

/// Bytes of a separator that need no memory of their own.
const INLINE_BYTES: usize = 16;

/// A separator, in place where it is short: most tell two scores apart.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Separator {
    /// Of the bytes: most comparisons end here.
    head: u64,
    bytes: SmallVec<[u8; INLINE_BYTES]>,
}

impl Separator {
    /// Memory beside the separator itself, in bytes, about.
    pub(super) fn heap_bytes(&self) -> usize {
        if self.bytes.spilled() { self.bytes.capacity() } else { 0 }
    }

    /// Whether it is not behind an order key, which has this head.
    #[inline]
    pub(super) fn is_up_to(&self, order_key: &[u8], head: u64) -> bool {
        self.head < head || self.head == head && self.bytes[..] <= *order_key
    }
}

impl Clone for Separator {
    /// At once: what is derived goes byte by byte.
    fn clone(&self) -> Self {
        self[..].into()
    }
}

impl From<&[u8]> for Separator {
    fn from(bytes: &[u8]) -> Self {
        Self { head: head(bytes), bytes: SmallVec::from_slice(bytes) }
    }
}

impl Deref for Separator {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_one_takes_four_words() {
        assert_eq!(size_of::<Separator>(), 32);
        assert_eq!(Separator::from(&[7; INLINE_BYTES][..]).heap_bytes(), 0);
        assert_eq!(Separator::from(&[7; INLINE_BYTES + 1][..]).heap_bytes(), INLINE_BYTES + 1);
    }

    #[test]
    fn they_compare_as_their_bytes_do() {
        let words: [&[u8]; 8] =
            [b"", b"\0", b"\0\0", b"a", b"a\0", b"abcdefgh", b"abcdefgh\0", b"b"];
        for a in words {
            for b in words {
                let (left, right) = (Separator::from(a), Separator::from(b));
                assert_eq!(left.cmp(&right), a.cmp(b));
                assert_eq!(left.is_up_to(b, head(b)), a <= b);
            }
        }
    }
}
