//! What was looked for lately, by a bit of its hash each: what is asked for once is not worth a place in a
//! cache.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Everything is forgotten when one of so many bits is set: an eighth of what is new counts as seen, on
/// average.
const FULL_PART: usize = 4;

/// Hashes that were seen since everything was last forgotten. Shared; a race costs a place at most.
#[derive(Debug)]
pub(super) struct Seen {
    /// A power of two of them.
    words: Box<[AtomicU64]>,
    bits_set: AtomicUsize,
}

impl Seen {
    /// With so many bits, about.
    pub(super) fn new(bits: u64) -> Self {
        let words = (bits / 64).clamp(1, 1 << 20).next_power_of_two();
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            bits_set: AtomicUsize::new(0),
        }
    }

    /// Notes a hash, and answers whether it had been seen before, or one that has the same bit.
    pub(super) fn note(&self, hash: u64) -> bool {
        let at = usize::try_from(hash >> 6).unwrap_or_default() & (self.words.len() - 1);
        let Some(word) = self.words.get(at) else { return true };
        let bit = 1 << (hash % 64);
        if word.load(Ordering::Relaxed) & bit != 0 {
            return true;
        }
        word.fetch_or(bit, Ordering::Relaxed);
        if self.bits_set.fetch_add(1, Ordering::Relaxed) >= self.words.len() * 64 / FULL_PART {
            self.bits_set.store(0, Ordering::Relaxed);
            self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_was_seen_and_nearly_all_else_was_not() {
        let seen = Seen::new(1 << 16);
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(!seen.note(hash(1)) && seen.note(hash(1)));
        let taken_for_seen = (2..1_000_000).filter(|number| seen.note(hash(*number))).count();
        assert!(taken_for_seen < 150_000, "{taken_for_seen}");
        assert!(!seen.note(hash(1)), "it was long ago");
        assert!(!Seen::new(0).note(5));
    }
}
