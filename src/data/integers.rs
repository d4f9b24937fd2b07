//! The integers of a small set, sorted, in the metadata record.
//!
//! ```text
//! offset  size      name
//! 0       1         width of an integer in bytes: 2, 4 or 8
//! 1       n×width   the integers, signed, little-endian, ascending, each one once
//! ```

use std::cmp::Ordering;

use bytes::Bytes;

/// How many integers there are; `None` where the layout is another one.
pub(super) fn count(bytes: &[u8]) -> Option<u64> {
    let (width, rest) = bytes.split_first()?;
    let width = usize::from(*width);
    let fits = matches!(width, 2 | 4 | 8) && rest.len().is_multiple_of(width);
    fits.then(|| (rest.len() / width) as u64)
}

/// The integers; nothing where the layout is another one.
pub(super) fn iter(bytes: &[u8]) -> impl Iterator<Item = i64> + '_ {
    let count = count(bytes).unwrap_or(0);
    (0..count).filter_map(|index| at(bytes, index))
}

/// The integer at this place in the order.
pub(super) fn at(bytes: &[u8], index: u64) -> Option<i64> {
    let (width, rest) = bytes.split_first()?;
    let width = usize::from(*width);
    let start = usize::try_from(index).ok()?.checked_mul(width)?;
    let part = rest.get(start..start.checked_add(width)?)?;
    Some(match width {
        2 => i64::from(i16::from_le_bytes(part.try_into().ok()?)),
        4 => i64::from(i32::from_le_bytes(part.try_into().ok()?)),
        8 => i64::from_le_bytes(part.try_into().ok()?),
        _ => return None,
    })
}

/// Whether `integer` is there.
pub(super) fn contains(bytes: &[u8], integer: i64) -> bool {
    let (mut low, mut high) = (0, count(bytes).unwrap_or(0));
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(found) = at(bytes, middle) else { return false };
        match found.cmp(&integer) {
            Ordering::Equal => return true,
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    false
}

/// The layout of ascending integers, each one once, as narrow as they allow.
pub(super) fn encode(integers: &[i64]) -> Bytes {
    let ends = || integers.first().into_iter().chain(integers.last()).copied();
    let width: u8 = if ends().all(|n| i16::try_from(n).is_ok()) {
        2
    } else if ends().all(|n| i32::try_from(n).is_ok()) {
        4
    } else {
        8
    };
    let mut bytes = Vec::with_capacity(1 + integers.len() * usize::from(width));
    bytes.push(width);
    for integer in integers {
        // The bytes that are cut off repeat the sign.
        bytes.extend(integer.to_le_bytes().into_iter().take(usize::from(width)));
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_are_read_as_written(
            shift in 0u32..60, set in proptest::collection::btree_set(any::<i64>(), 0..20), other: i64,
        ) {
            let mut integers: Vec<i64> = set.into_iter().map(|n| n >> shift).collect();
            integers.dedup();
            let bytes = encode(&integers);
            prop_assert_eq!(count(&bytes), Some(integers.len() as u64));
            prop_assert_eq!(iter(&bytes).collect::<Vec<_>>(), integers.clone());
            for integer in &integers {
                prop_assert!(contains(&bytes, *integer));
            }
            prop_assert_eq!(contains(&bytes, other), integers.contains(&other));
        }
    }

    #[test]
    fn integers_are_as_narrow_as_they_allow() {
        for (integers, len) in [
            (vec![-32_768, 32_767], 5),
            (vec![0, 32_768], 9),
            (vec![i64::from(i32::MIN), 0], 9),
            (vec![0, 1 << 31], 17),
        ] {
            assert_eq!(encode(&integers).len(), len);
        }
    }

    #[test]
    fn other_layouts_hold_nothing() {
        for bad in [&b""[..], &[1, 1], &[2, 1], &[8, 1, 2, 3], &[0]] {
            assert_eq!(count(bad), None);
            assert_eq!(iter(bad).count(), 0);
            assert!(!contains(bad, 1));
        }
    }
}
