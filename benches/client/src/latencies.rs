//! Latencies and what they come to.

use std::time::Duration;

/// The latency in milliseconds that the share `part` of `sorted` does not exceed, 1 for the longest;
/// 0 where there is none.
pub(crate) fn at_ms(sorted: &[Duration], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part) as usize;
    let found = sorted.get(index).or(sorted.last());
    found.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}
