//! The filter of a partition: a Bloom filter whose probes for one key all fall into one cache line.
//!
//! It is one or more lines of 64 bytes, and nothing else: a lookup touches one. The number of
//! probes per key (1 to 7) stands in the top index.
//!
//! With h the xxh3 hash of the key: the upper 32 bits of h, times the number of lines, shifted
//! down by 32, choose the line; g = h times [`SPREAD`] (wrapping) gives probe i (from 0) its bit
//! of the line in bits 55-9i to 63-9i. At 10 bits per key about 1.4 % of the keys that are absent
//! are let through.

use xxhash_rust::xxh3::xxh3_64;

use super::format::Parsed;

const LINE_BYTES: usize = 64;
const LINE_BITS: u64 = 512;
const PROBES_MAX: u8 = 7;
/// The fractional part of the golden ratio; makes the probes independent of the choice of the line.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the filter knows of a key.
#[inline]
pub(super) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Probes per key of a filter with so many bits per key: ln 2 times these is best.
pub(super) fn probes(bits_per_key: usize) -> u8 {
    u8::try_from(bits_per_key * 69 / 100).unwrap_or(u8::MAX).clamp(1, PROBES_MAX)
}

/// A filter of the keys with these hashes.
pub(super) fn build(hashes: &[u64], probes: u8, bits_per_key: usize) -> Vec<u8> {
    let lines = (hashes.len() * bits_per_key).div_ceil(LINE_BYTES * 8).max(1);
    let mut content = vec![0; lines * LINE_BYTES];
    for &hash in hashes {
        let start = line(hash, lines) * LINE_BYTES;
        for (byte, mask) in bits(hash, probes) {
            content[start + byte] |= mask;
        }
    }
    content
}

/// Whether the key with this hash may be among the keys of the filter. `false` is certain.
#[inline]
pub(super) fn may_contain(content: &[u8], probes: u8, hash: u64) -> Parsed<bool> {
    const DAMAGED: &str = "a filter is malformed";
    let (lines, rest) = content.as_chunks::<LINE_BYTES>();
    if !rest.is_empty() || !(1..=PROBES_MAX).contains(&probes) {
        return Err(DAMAGED);
    }
    let line = lines.get(line(hash, lines.len())).ok_or(DAMAGED)?;
    Ok(bits(hash, probes).all(|(byte, mask)| line[byte] & mask != 0))
}

#[inline]
fn line(hash: u64, lines: usize) -> usize {
    // Below `lines`, so it fits whatever `lines` fits; a filter has fewer than 2^32 lines.
    usize::try_from(((hash >> 32) * lines as u64) >> 32).unwrap_or(0)
}

/// The bits of a key in its line: byte and mask.
#[inline]
fn bits(hash: u64, probes: u8) -> impl Iterator<Item = (usize, u8)> {
    let spread = hash.wrapping_mul(SPREAD);
    (1..=probes).map(move |probe| {
        let bit = (spread >> (64 - 9 * probe)) % LINE_BITS;
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_every_key_and_few_others() {
        for bits_per_key in [1, 8, 10, 16] {
            let key = |n: u32| hash(&n.to_le_bytes());
            let hashes: Vec<u64> = (0..20_000).map(key).collect();
            let filter = build(&hashes, probes(bits_per_key), bits_per_key);
            assert!(
                hashes
                    .iter()
                    .all(|&hash| may_contain(&filter, probes(bits_per_key), hash).unwrap())
            );
            let others = 20_000..120_000;
            let passed = others
                .filter(|&n| may_contain(&filter, probes(bits_per_key), key(n)).unwrap())
                .count();
            let limit = match bits_per_key {
                1 => 100_000,
                8 => 3_500,
                10 => 1_900,
                _ => 500,
            };
            assert!(passed <= limit, "{passed} of 100000 passed at {bits_per_key} bits");
        }
    }

    #[test]
    fn refuses_what_is_not_a_filter() {
        for (content, probes) in [(&[][..], 6), (&[0; 63], 6), (&[0; 65], 6), (&[0; 64], 0)] {
            assert!(may_contain(content, probes, 1).is_err());
        }
        assert!(may_contain(&[0; 64], 8, 1).is_err());
        assert!(!may_contain(&build(&[], 6, 10), 6, 1).unwrap());
    }
}
