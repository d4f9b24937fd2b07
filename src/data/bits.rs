//! Strings as arrays of bits: bit 0 is the highest bit of the first byte.
//!
//! A long string is looked at chunk by chunk, so that counting and searching take the memory of
//! one chunk; what is not stored of it is zeros.

use std::ops::{ControlFlow, Range};

use super::{Meta, View, string};
use crate::engine::Result;

impl View<'_> {
    /// Bits `at..at + width` as a number, the first bit highest; zeros behind the end of the
    /// string. `width` is at most 64.
    pub fn bits(&self, meta: &Meta, at: u64, width: u32) -> Result<u64> {
        let (start, end) = bytes_of(at, width);
        Ok(extract(&self.string_range(meta, start, end)?, at % 8, width))
    }

    /// How many of these bits are set. The range may go beyond the end of the string.
    pub fn count_bits(&self, meta: &Meta, range: Range<u64>) -> Result<u64> {
        let mut count = 0;
        self.visit_bits(meta, &range, &mut |at, part| {
            count += count_in(part, within(&range, at, part));
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// Place of the first of these bits that is `wanted`. The range ends within the string.
    pub fn find_bit(&self, meta: &Meta, wanted: bool, range: Range<u64>) -> Result<Option<u64>> {
        let mut found = None;
        // Where the zeros start that are not stored.
        let mut expected = range.start;
        self.visit_bits(meta, &range, &mut |at, part| {
            let bits = within(&range, at, part);
            found = if !wanted && at * 8 > expected {
                Some(expected)
            } else {
                find_in(part, wanted, bits).map(|bit| at * 8 + bit)
            };
            // What is stored may end before the range begins.
            expected = expected.max((at + part.len() as u64) * 8);
            if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let rest_is_zero = !wanted && expected < range.end;
        Ok(found.or_else(|| rest_is_zero.then_some(expected)))
    }

    fn visit_bits(
        &self,
        meta: &Meta,
        range: &Range<u64>,
        take: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let bytes = range.start / 8..range.end.div_ceil(8);
        string::visit(self.read, self.keyspace(), meta, bytes, take)
    }
}

/// The bytes that hold bits `at..at + width`.
pub(super) fn bytes_of(at: u64, width: u32) -> (u64, u64) {
    (at / 8, (at + u64::from(width)).div_ceil(8))
}

/// `width` bits of at most nine `bytes`, from bit `at` (below 8) on; zeros behind their end.
pub(super) fn extract(bytes: &[u8], at: u64, width: u32) -> u64 {
    u64::try_from(load(bytes) << at >> (128 - width)).unwrap_or(u64::MAX)
}

/// Sets what [`extract`] reads to the low bits of `value`.
pub(super) fn deposit(bytes: &mut [u8], at: u64, width: u32, value: u64) {
    let mask = (u128::MAX << (128 - width)) >> at;
    let value = (u128::from(value) << (128 - width)) >> at;
    let window = load(bytes) & !mask | value & mask;
    let len = bytes.len();
    bytes.copy_from_slice(&window.to_be_bytes()[..len]);
}

fn load(bytes: &[u8]) -> u128 {
    let mut window = [0; 16];
    window[..bytes.len()].copy_from_slice(bytes);
    u128::from_be_bytes(window)
}

/// The bits of `range` that lie in `part`, which starts at byte `at`, counted from its start.
fn within(range: &Range<u64>, at: u64, part: &[u8]) -> Range<u64> {
    let from_part = |bit: u64| bit.saturating_sub(at * 8).min(part.len() as u64 * 8);
    from_part(range.start)..from_part(range.end)
}

fn count_in(part: &[u8], bits: Range<u64>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last) = (byte_at(bits.start), byte_at(bits.end - 1));
    let mut count = count_ones(&part[first..=last]);
    count -= u64::from((part[first] & !head_mask(bits.start)).count_ones());
    count -= u64::from((part[last] & !tail_mask(bits.end - 1)).count_ones());
    count
}

fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: u64 = words.iter().map(|w| u64::from(u64::from_ne_bytes(*w).count_ones())).sum();
    words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

fn find_in(part: &[u8], wanted: bool, bits: Range<u64>) -> Option<u64> {
    if bits.is_empty() {
        return None;
    }
    let (first, last) = (byte_at(bits.start), byte_at(bits.end - 1));
    // As if a set bit were looked for.
    let turned = |byte: u8| if wanted { byte } else { !byte };
    let masked = |at: usize| {
        let mut byte = turned(part[at]);
        if at == first {
            byte &= head_mask(bits.start);
        }
        if at == last {
            byte &= tail_mask(bits.end - 1);
        }
        byte
    };
    let dull = if wanted { 0 } else { u8::MAX };
    let mut at = first;
    if masked(at) == 0 {
        at += 1;
        let (words, _) = part.get(at..last).unwrap_or_default().as_chunks::<8>();
        at += 8 * words.iter().take_while(|word| **word == [dull; 8]).count();
        while at < last && part[at] == dull {
            at += 1;
        }
    }
    let byte = if at <= last { masked(at) } else { 0 };
    (byte != 0).then(|| at as u64 * 8 + u64::from(byte.leading_zeros()))
}

/// The bits of a byte from this one on.
fn head_mask(bit: u64) -> u8 {
    u8::MAX >> (bit % 8)
}

/// The bits of a byte up to this one.
fn tail_mask(bit: u64) -> u8 {
    u8::MAX << (7 - bit % 8)
}

fn byte_at(bit: u64) -> usize {
    string::to_len(bit / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bit_of(bytes: &[u8], bit: u64) -> bool {
        bytes.get(byte_at(bit)).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => Just(0_u8), 3 => Just(255), 1 => any::<u8>()];
        prop::collection::vec(byte, 1..40)
    }

    proptest! {
        #[test]
        fn counting_and_finding_look_at_each_bit(
            bytes in bytes(), a in 0_u64..330, b in 0_u64..330, wanted: bool,
        ) {
            let len = bytes.len() as u64 * 8;
            let range = a.min(b).min(len)..a.max(b).min(len);
            let ones = range.clone().filter(|bit| bit_of(&bytes, *bit)).count() as u64;
            prop_assert_eq!(count_in(&bytes, range.clone()), ones);
            let first = range.clone().find(|bit| bit_of(&bytes, *bit) == wanted);
            prop_assert_eq!(find_in(&bytes, wanted, range), first);
        }

        #[test]
        fn fields_are_their_bits(
            bytes in prop::array::uniform9(any::<u8>()), at in 0_u64..8, width in 1_u32..=64,
            value: u64,
        ) {
            let (_, end) = bytes_of(at, width);
            let mut bytes = bytes[..usize::try_from(end).unwrap()].to_vec();
            let bits: u64 = (at..at + u64::from(width))
                .fold(0, |sum, bit| sum << 1 | u64::from(bit_of(&bytes, bit)));
            prop_assert_eq!(extract(&bytes, at, width), bits);
            let before = bytes.clone();
            deposit(&mut bytes, at, width, value);
            prop_assert_eq!(extract(&bytes, at, width), value & (u64::MAX >> (64 - width)));
            for bit in (0..end * 8).filter(|bit| !(at..at + u64::from(width)).contains(bit)) {
                prop_assert_eq!(bit_of(&bytes, bit), bit_of(&before, bit));
            }
        }
    }
}
