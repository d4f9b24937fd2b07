//! A bound of the items of an order, kept in the metadata record.

use std::fmt;
use std::ops::Deref;

/// Bytes of an order key that a bound keeps.
pub(super) const EDGE_BYTES_MAX: usize = 24;

/// The bytes of a bound, in place: every change of an order reads, copies and writes two of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Edge {
    len: u8,
    /// Zero behind `len`.
    bytes: [u8; EDGE_BYTES_MAX],
}

impl Edge {
    /// These bytes; `None` where they are too many.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut edge = Self { len: u8::try_from(bytes.len()).ok()?, ..Self::default() };
        edge.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(edge)
    }

    /// The bound of items that begin with this one.
    pub(super) fn floor_of(order_key: &[u8]) -> Self {
        let kept = order_key.get(..EDGE_BYTES_MAX).unwrap_or(order_key);
        Self::new(kept).unwrap_or_default()
    }

    /// The bound of items that end with this one; empty where that cannot be said.
    pub(super) fn end_of(order_key: &[u8]) -> Self {
        let mut end = Self::floor_of(order_key);
        if order_key.len() < EDGE_BYTES_MAX {
            // The next longer one: a zero is there already.
            end.len += 1;
            return end;
        }
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(1) {
                end.push(next);
                break;
            }
        }
        end
    }

    fn pop(&mut self) -> Option<u8> {
        let at = self.len.checked_sub(1)?;
        self.len = at;
        self.bytes.get_mut(usize::from(at)).map(std::mem::take)
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }
}

impl Deref for Edge {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_around_the_item_and_no_longer_than_said() {
        for len in 0..40 {
            for fill in [0, 1, 0x7f, 0xff] {
                let key = vec![fill; len];
                let (floor, end) = (Edge::floor_of(&key), Edge::end_of(&key));
                assert!(floor.len() <= EDGE_BYTES_MAX && end.len() <= EDGE_BYTES_MAX);
                assert!(floor[..] <= key[..]);
                assert!(end.is_empty() && fill == 0xff || end[..] > key[..], "{key:?}: {end:?}");
                assert_eq!(Edge::new(&floor), Some(floor));
                assert_eq!(Edge::new(&end), Some(end), "nothing is left behind the end");
            }
        }
        assert_eq!(Edge::new(&[0; EDGE_BYTES_MAX + 1]), None);
    }
}
