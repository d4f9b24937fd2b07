//! Order keys between two others.
//!
//! An order key is a position, eight bytes, and behind it any number of groups of four bytes; the last
//! of these groups is not zero. So it is a fraction with digits of 32 bits, and between two there is
//! always another one. A new key keeps a distance from the side at which the next ones are to be
//! expected less, so that many inserts at one place take one more group.

/// Bytes of a digit.
const DIGIT_BYTES: usize = 4;
/// Distance from the neighbour where there is room.
const STEP: u64 = 1 << 16;
/// Behind the last digit.
const DIGIT_END: u64 = 1 << 32;

/// Near which of its neighbours a new key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Near {
    Before,
    Behind,
}

/// A key between `before` and `behind`, near one of them.
pub(super) fn between(before: &[u8], behind: &[u8], near: Near) -> Vec<u8> {
    let (mut before, mut behind) = (digits(before), digits(behind).map(Some).chain(none()));
    let mut key = Vec::new();
    let mut is_below = false;
    loop {
        let low = before.next().unwrap_or(0);
        // Once a digit is smaller than the one of the key behind, no other digit of that counts.
        let high = if is_below { DIGIT_END } else { behind.next().flatten().unwrap_or(DIGIT_END) };
        if high > low + 1 {
            let room = high - low - 1;
            let step = STEP.min(room.div_ceil(2));
            let digit = if near == Near::Before { low + step } else { high - step };
            put(&mut key, digit);
            return key;
        }
        put(&mut key, low);
        is_below |= high > low;
    }
}

fn digits(key: &[u8]) -> impl Iterator<Item = u64> + '_ {
    key.chunks(DIGIT_BYTES)
        .map(|digit| digit.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn none<T>() -> impl Iterator<Item = Option<T>> {
    std::iter::repeat_with(|| None)
}

fn put(key: &mut Vec<u8>, digit: u64) {
    let [_, _, _, _, digit @ ..] = digit.to_be_bytes();
    key.extend_from_slice(&digit);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_between_its_neighbours(
            inserts in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..400),
        ) {
            let position = |at: u64| at.to_be_bytes().to_vec();
            let mut keys = vec![position((1 << 63) - 1), position(1 << 63)];
            for (place, before) in inserts {
                let at = place.index(keys.len() - 1);
                let near = if before { Near::Before } else { Near::Behind };
                let key = between(&keys[at], &keys[at + 1], near);
                prop_assert!(keys[at] < key && key < keys[at + 1], "{:?}", (&keys[at..at + 2], key));
                prop_assert!(key.len().is_multiple_of(DIGIT_BYTES) && key.len() > 8);
                prop_assert!(key[key.len() - DIGIT_BYTES..] != [0; DIGIT_BYTES]);
                keys.insert(at + 1, key);
            }
        }
    }

    #[test]
    fn many_inserts_at_one_place_take_few_groups() {
        for near in [Near::Before, Near::Behind] {
            let mut keys = [7_u64, 8].map(|at| at.to_be_bytes().to_vec());
            for _ in 0..100_000 {
                let key = between(&keys[0], &keys[1], near);
                // The next one comes between the new key and the far neighbour.
                keys[usize::from(near == Near::Behind)] = key;
            }
            assert!(keys.iter().all(|key| key.len() <= 16), "{near:?}: {keys:?}");
        }
    }
}
