//! Intsets: sorted integers.
//!
//! ```text
//! width u32 of an integer in bytes: 2, 4 or 8; integers u32; the integers, ascending, each one once
//! ```

use crate::engine::coding::Reader;

/// Bytes in front of the integers.
const HEADER_BYTES: usize = 8;

/// The integers; `None` where the bytes are no intset.
pub(super) fn integers(blob: &[u8]) -> Option<Vec<i64>> {
    let mut reader = Reader::new(blob);
    let (width, count) = (reader.u32()?, reader.u32()?);
    let width = usize::try_from(width).ok().filter(|width| matches!(width, 2 | 4 | 8))?;
    let bytes = usize::try_from(count).ok()?.checked_mul(width)?;
    if reader.len() != bytes {
        return None;
    }
    let mut integers = Vec::with_capacity(bytes / width);
    while !reader.is_empty() {
        let integer = match width {
            2 => reader.u16()?.cast_signed().into(),
            4 => reader.u32()?.cast_signed().into(),
            _ => reader.u64()?.cast_signed(),
        };
        integers.push(integer);
    }
    integers.is_sorted_by(|a, b| a < b).then_some(integers)
}

/// The intset of these ascending integers.
pub(super) fn encode(integers: &[i64]) -> Vec<u8> {
    let ends = || integers.first().into_iter().chain(integers.last()).copied();
    let width: u8 = if ends().all(|n| i16::try_from(n).is_ok()) {
        2
    } else if ends().all(|n| i32::try_from(n).is_ok()) {
        4
    } else {
        8
    };
    let width = usize::from(width);
    let mut blob = Vec::with_capacity(HEADER_BYTES + integers.len() * width);
    for number in [width, integers.len()] {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        blob.extend_from_slice(&number.to_le_bytes());
    }
    for integer in integers {
        // The bytes that are cut off repeat the sign.
        blob.extend(integer.to_le_bytes().into_iter().take(width));
    }
    blob
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            set in proptest::collection::btree_set(any::<i64>(), 0..20), shift in 0..63_u32,
        ) {
            let mut list: Vec<i64> = set.into_iter().map(|integer| integer >> shift).collect();
            list.dedup();
            prop_assert_eq!(integers(&encode(&list)), Some(list));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, width in 0..9_u8) {
            let blob = [&[width, 0, 0, 0][..], &bytes].concat();
            if let Some(list) = integers(&blob) {
                prop_assert!(list.len() * 2 <= blob.len());
            }
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let good = encode(&[1, 2, 300]);
        assert!(integers(&good).is_some());
        for len in 0..good.len() {
            assert_eq!(integers(&good[..len]), None, "cut to {len}");
        }
        for (at, wrong) in [(0, 3), (0, 4), (4, 2), (4, 4), (8, 2), (8, 3)] {
            let mut bad = good.clone();
            bad[at] = wrong;
            assert_eq!(integers(&bad), None, "{wrong} at {at}");
        }
    }
}
