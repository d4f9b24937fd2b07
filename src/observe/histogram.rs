//! A histogram of durations: octaves of nanoseconds, each in eight parts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Parts of an octave; the error of a percentile is at most one part, an eighth.
const PARTS: u64 = 8;
const PARTS_LEN: usize = 8;
const PARTS_LOG2: u32 = 3;
/// Durations below are counted in the first bucket: 2^10 ns, about a microsecond.
const FIRST_LOG2: u32 = 10;
/// Durations from 2^36 ns (69 s) on are counted in the last bucket.
const LAST_LOG2: u32 = 36;
const BUCKETS: usize = 1 + ((LAST_LOG2 - FIRST_LOG2) as usize) * PARTS_LEN;

/// Counts durations; 1.7 KB. Recording is one relaxed addition.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl Histogram {
    /// Counts one duration in nanoseconds.
    pub fn record(&self, ns: u64) {
        self.record_many(ns, 1);
    }

    /// Counts a duration as often as `count` says.
    pub fn record_many(&self, ns: u64, count: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The durations in nanoseconds below which these percentages of all lie; `percents` ascends.
    #[must_use]
    pub fn percentiles(&self, percents: &[f64]) -> Vec<u64> {
        let counts: Vec<u64> = self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        percents
            .iter()
            .map(|percent| {
                let rank = (total as f64 * percent / 100.0).ceil().max(1.0);
                let mut seen = 0.0;
                let bucket = counts.iter().position(|count| {
                    seen += *count as f64;
                    seen >= rank
                });
                bucket.map_or(0, upper_ns)
            })
            .collect()
    }

    /// Cumulative counts at powers of two: (upper bound in microseconds, durations up to it), only
    /// where the count rises.
    #[must_use]
    pub fn cumulative_us(&self) -> Vec<(u64, u64)> {
        let total = self.count();
        let mut seen = 0;
        let mut result = Vec::new();
        let mut buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        for octave in FIRST_LOG2..=LAST_LOG2 {
            let parts = if octave == FIRST_LOG2 { 1 } else { PARTS_LEN };
            let here = buckets.by_ref().take(parts).sum::<u64>();
            seen += here;
            if here > 0 {
                result.push(((1 << octave) / 1000, seen));
            }
            if seen >= total {
                break;
            }
        }
        result
    }

    /// Counts between powers of two: (upper bound in nanoseconds, durations above the bound before and up to it). The
    /// last bound is `u64::MAX`.
    #[must_use]
    pub fn octaves(&self) -> Vec<(u64, u64)> {
        let mut buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        (FIRST_LOG2..=LAST_LOG2)
            .map(|octave| {
                let parts = if octave == FIRST_LOG2 { 1 } else { PARTS_LEN };
                let count = buckets.by_ref().take(parts).sum();
                (if octave == LAST_LOG2 { u64::MAX } else { 1 << octave }, count)
            })
            .collect()
    }

    /// Forgets everything.
    pub fn reset(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}

fn bucket_of(ns: u64) -> usize {
    let log2 = ns.max(1).ilog2();
    if log2 < FIRST_LOG2 {
        return 0;
    }
    if log2 >= LAST_LOG2 {
        return BUCKETS - 1;
    }
    let part = (ns >> (log2 - PARTS_LOG2)) % PARTS;
    let octave = u64::from(log2 - FIRST_LOG2);
    usize::try_from(1 + octave * PARTS + part).unwrap_or(BUCKETS - 1)
}

/// Upper bound of a bucket in nanoseconds.
fn upper_ns(bucket: usize) -> u64 {
    let Some(index) = (bucket as u64).checked_sub(1) else { return 1 << FIRST_LOG2 };
    let base = 1u64 << (u64::from(FIRST_LOG2) + index / PARTS);
    base + (index % PARTS + 1) * (base / PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_an_eighth() {
        let histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.record(us * 1000);
        }
        assert_eq!(histogram.count(), 1000);
        for (percent, got) in
            [50.0, 99.0, 100.0].into_iter().zip(histogram.percentiles(&[50.0, 99.0, 100.0]))
        {
            let want = percent * 10_000.0;
            assert!((want..=want * 1.126).contains(&(got as f64)), "{percent}: {got}");
        }
    }

    #[test]
    fn octaves_have_each_duration_once() {
        let histogram = Histogram::default();
        for ns in [0, 1023, 1024, 1500, 2047, 2048, 1 << 35, 1 << 40] {
            histogram.record(ns);
        }
        let octaves = histogram.octaves();
        assert_eq!(octaves[..3], [(1024, 2), (2048, 3), (4096, 1)]);
        assert_eq!(octaves.last(), Some(&(u64::MAX, 2)));
        assert_eq!(octaves.iter().map(|(_, count)| count).sum::<u64>(), histogram.count());
    }

    #[test]
    fn cumulative_counts_end_at_the_total() {
        let histogram = Histogram::default();
        assert!(histogram.cumulative_us().is_empty());
        for ns in [10, 1500, 3000, 3000, u64::MAX] {
            histogram.record(ns);
        }
        let buckets = histogram.cumulative_us();
        assert_eq!(buckets[..3], [(1, 1), (2, 2), (4, 4)]);
        assert_eq!(buckets.last().map(|(_, count)| *count), Some(5));
        histogram.reset();
        assert_eq!(histogram.percentiles(&[50.0]), [0]);
    }

    #[test]
    fn bounds_enclose_their_durations() {
        for ns in [0, 1, 1023, 1024, 1025, 4095, 1 << 20, (1 << 36) - 1] {
            let bucket = bucket_of(ns);
            assert!(upper_ns(bucket) >= ns && (bucket == 0 || upper_ns(bucket - 1) <= ns), "{ns}");
        }
    }
}
