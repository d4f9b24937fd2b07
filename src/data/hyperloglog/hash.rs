//! What an element says about which register: MurmurHash64A, as Austin Appleby put it into the
//! public domain, with Redis's seed.

use super::{REGISTER_BITS, REGISTERS};

const SEED: u64 = 0xadc8_3b19;
const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// A register, and the value that an element raises it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    pub(super) register: usize,
    /// 1 to 51.
    pub(super) value: u8,
}

/// The rank of an element.
pub(super) fn rank_of(element: &[u8]) -> Rank {
    let hash = murmur_64a(element);
    let register = usize::try_from(hash).unwrap_or_default() & (REGISTERS - 1);
    // A bit above the others ends the run of zeros.
    let rest = hash >> REGISTER_BITS | 1 << (u64::BITS - REGISTER_BITS);
    let value = u8::try_from(rest.trailing_zeros() + 1).unwrap_or(u8::MAX);
    Rank { register, value }
}

fn murmur_64a(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}
