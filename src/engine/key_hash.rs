//! Hashing of short byte strings in hash maps, by one call of XXH3.
//!
//! `Xxh3Default` prepares half a kilobyte of state to hash twenty bytes; this keeps eight bytes.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Builds [`KeyHasher`]s that start from one seed.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildKeyHasher {
    seed: u64,
}

impl BuildKeyHasher {
    /// With a seed that nobody can guess: for keys that clients choose, who could otherwise send
    /// a great many of one hash.
    #[must_use]
    pub fn random() -> Self {
        Self { seed: fastrand::u64(..) }
    }
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

    fn finish(&self) -> u64 {
        self.0
    }
}
