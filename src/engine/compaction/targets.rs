//! How large each level shall be: the sizes follow that of the largest level.
//!
//! The records of the deepest level are those that a store needs; what the levels above hold of the
//! same keys comes on top. So the level above the deepest shall have a tenth of it (the fanout), the
//! one above that a hundredth, and so on up to the *base*, the first level that would need no more
//! than [`Options::level1_bytes`]. Level 0 is compacted into the base; the levels between are empty.
//! A new store begins with the deepest level there is, and the base climbs as it grows: so no level
//! ever has to move.
//!
//! A store whose deepest level in use is another one (it was made with fixed sizes) is measured from
//! there. That level has a size of its own, and what exceeds it goes deeper.

use super::super::Options;
use super::super::version::{LEVELS, Version};

/// The size of each level. Nothing of it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Targets {
    /// Bytes up to which a level is in shape; 0 for one that shall be empty. Level 0 has none.
    bytes: [u64; LEVELS],
    /// Bytes up to which a level does not slow writes down. A store made with fixed sizes, or whose deepest
    /// level has just overflowed, takes its new shape beside the writes.
    tolerated: [u64; LEVELS],
    /// The level that level 0 is compacted into.
    level0_to: usize,
}

impl Targets {
    pub(in super::super) fn of(version: &Version, options: &Options) -> Self {
        let sizes = || version.levels.iter().map(super::super::version::Level::bytes);
        let in_use = |from: usize| sizes().skip(from).position(|bytes| bytes > 0);
        let deepest = sizes().skip(1).rposition(|bytes| bytes > 0).map_or(LEVELS - 1, |at| at + 1);
        let fanout = options.fanout.max(2);
        let mut base = deepest;
        let mut share = sizes().skip(1).max().unwrap_or(0);
        let of_deeper = |level| if level < deepest { 0 } else { fixed(level, options) };
        let mut bytes = std::array::from_fn(of_deeper);
        while base > 1 && share > options.level1_bytes {
            base -= 1;
            share /= fanout;
            // A level smaller than level 0 gets would be full with the first compaction.
            bytes[base] = share.clamp(options.level1_bytes, fixed(base, options));
        }
        // What is above the base, and not yet gone, is newer than the base.
        let level0_to = in_use(1).map_or(base, |at| base.min(at + 1));
        let has_last = deepest + 1 == LEVELS;
        let tolerated = std::array::from_fn(|level| match bytes[level] {
            target if has_last || level == 0 => target,
            target => target.max(fixed(level, options)),
        });
        Self { bytes, tolerated, level0_to }
    }

    /// As [`Self::bytes`], before writes are slowed down.
    pub(super) fn tolerated(&self, level: usize) -> u64 {
        self.tolerated.get(level).copied().unwrap_or(u64::MAX)
    }

    /// Bytes up to which `level` (not 0) is in shape; 0 where it shall be empty.
    pub(super) fn bytes(&self, level: usize) -> u64 {
        self.bytes.get(level).copied().unwrap_or(u64::MAX)
    }

    /// The level into which `level` is compacted.
    pub(super) fn below(&self, level: usize) -> usize {
        if level == 0 { self.level0_to } else { level + 1 }
    }
}

/// The size of `level` (not 0) where the sizes start at level 1; the deepest has no bound.
fn fixed(level: usize, options: &Options) -> u64 {
    if level + 1 >= LEVELS {
        return u64::MAX;
    }
    (1..level).fold(options.level1_bytes, |bytes, _| bytes.saturating_mul(options.fanout))
}
