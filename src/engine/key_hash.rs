//! Hashing of short byte strings in hash maps, by one call of XXH3.
//!
//! `Xxh3Default` prepares half a kilobyte of state to hash twenty bytes; this keeps eight bytes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Builds [`KeyHasher`]s that start from one seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildKeyHasher {
    seed: u64,
}

/// The seed of all hashes that entries of memory carry.
static SHARED: LazyLock<BuildKeyHasher> = LazyLock::new(|| {
    // Not of a thread's own random numbers, which a test may have fixed.
    BuildKeyHasher { seed: RandomState::new().hash_one(()) }
});

impl BuildKeyHasher {
    /// The one of this process, for hashes that are kept beside their keys; with a random seed.
    #[must_use]
    pub fn shared() -> Self {
        *SHARED
    }

    /// With a seed that nobody can guess: for keys that clients choose, who could otherwise send
    /// a great many of one hash.
    #[must_use]
    pub fn random() -> Self {
        Self { seed: fastrand::u64(..) }
    }
}

/// The hash of `key` that is kept beside it, by [`BuildKeyHasher::shared`].
#[inline]
pub(super) fn hash_of(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, SHARED.seed ^ key.len() as u64)
}

impl BuildHasher for BuildKeyHasher {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher(self.seed)
    }
}

/// XXH3 of what is written, each piece seeded with the hash of those before.
#[derive(Debug, Clone, Copy)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// The length before a slice: a seed is all that it is good for.
    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    /// A hash that is known already, by a hasher of the same seed.
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Builds [`SpreadHasher`]s that start from one seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildSpreadHasher(pub BuildKeyHasher);

impl BuildHasher for BuildSpreadHasher {
    type Hasher = SpreadHasher;

    fn build_hasher(&self) -> SpreadHasher {
        SpreadHasher(self.0.build_hasher())
    }
}

/// As [`KeyHasher`], for a `DashMap` of up to 512 shards that grows while somebody waits for it.
///
/// Shards of one size grow at the same time: a map of a million keys is moved nearly as a whole within
/// some ten thousand insertions. Here the last shard gets twice as many keys as the first one, and
/// those between them in steps of one ratio; so over each doubling of the map its shards grow one
/// after the other, in equal distances.
#[derive(Debug, Clone, Copy)]
pub struct SpreadHasher(KeyHasher);

/// Above the bits that choose the shard are the seven of hashbrown's tags.
const SHARD_BITS_END: u32 = 57;
/// Bits of the number from which the shard is taken; its highest are those that `DashMap` looks at.
const SPREAD_BITS: u32 = 16;

impl Hasher for SpreadHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn write_usize(&mut self, length: usize) {
        self.0.write_usize(length);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0.write_u64(hash);
    }

    fn finish(&self) -> u64 {
        spread_hash(self.0.finish())
    }
}

impl BuildSpreadHasher {
    /// The hash of a key of which the plain one is known.
    #[must_use]
    pub fn of_hash(self, hash: u64) -> u64 {
        spread_hash(hash)
    }
}

fn spread_hash(hash: u64) -> u64 {
    let shift = SHARD_BITS_END - SPREAD_BITS;
    let mask = ((1 << SPREAD_BITS) - 1) << shift;
    (hash & !mask) | spread((hash & mask) >> shift) << shift
}

/// About log2(1 + `even`), both as fractions of 65,536: what is evenly distributed becomes twice as
/// dense at the end as at the start. A parabola is off by less than a hundredth.
fn spread(even: u64) -> u64 {
    const ONE: u64 = 1 << SPREAD_BITS;
    /// The height of the curve above the diagonal in the middle is a quarter of this.
    const BEND: u64 = 22_300;
    even + ((((even * (ONE - even)) >> SPREAD_BITS) * BEND) >> SPREAD_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_number_stays_in_its_range_and_in_its_order() {
        let all = (0..1 << SPREAD_BITS).map(spread).collect::<Vec<_>>();
        assert!(all.is_sorted() && all[0] == 0 && all[65_535] < 65_536);
    }

    /// The shares of the first and the last of 512 shards, and that all have some.
    #[test]
    fn the_last_shard_gets_about_twice_as_much_as_the_first() {
        let mut shards = [0_u32; 512];
        let shard = |even| usize::try_from(spread(even) >> 7).unwrap();
        (0..1 << SPREAD_BITS).for_each(|even| shards[shard(even)] += 1);
        let (first, last) = (shards[..16].iter().sum::<u32>(), shards[496..].iter().sum::<u32>());
        assert!(last * 10 > first * 18 && last * 10 < first * 22, "{first} {last}");
        assert!(shards.iter().all(|share| *share > 64));
    }

    #[test]
    fn the_hash_that_is_kept_is_that_of_the_hasher() {
        for key in [&b""[..], b"a", b"key:1", &[7; 300]] {
            assert_eq!(hash_of(key), BuildKeyHasher::shared().hash_one(key));
        }
    }

    #[test]
    fn only_the_bits_of_the_shard_differ_from_the_plain_hash() {
        let build = BuildKeyHasher { seed: 7 };
        for key in [&b"a"[..], b"key:1", b"key:2"] {
            let (plain, spread) = (build.hash_one(key), BuildSpreadHasher(build).hash_one(key));
            assert_eq!(BuildSpreadHasher(build).of_hash(plain), spread);
            assert_eq!((plain ^ spread) & !(0xffff << 41), 0);
        }
    }
}
