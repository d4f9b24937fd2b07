//! The order key of a count record.

use std::ops::Deref;

use smallvec::SmallVec;

/// Bytes of a separator that need no memory of their own.
const INLINE_BYTES: usize = 16;

/// A separator, in place where it is short: most tell two scores apart.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Separator(SmallVec<[u8; INLINE_BYTES]>);

impl Separator {
    /// Memory beside the separator itself, in bytes, about.
    pub(super) fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() } else { 0 }
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
        Self(SmallVec::from_slice(bytes))
    }
}

impl Deref for Separator {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_one_takes_three_words() {
        assert_eq!(size_of::<Separator>(), 24);
        assert_eq!(Separator::from(&[7; INLINE_BYTES][..]).heap_bytes(), 0);
        assert_eq!(Separator::from(&[7; INLINE_BYTES + 1][..]).heap_bytes(), INLINE_BYTES + 1);
    }
}
