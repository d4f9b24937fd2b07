//! Admission: how much each batch is slowed down so that flush and compaction keep up.
//!
//! A rate of admission falls smoothly as the tree gets out of shape, and never to zero; a batch
//! waits as long as its bytes take at that rate.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::compaction;
use super::shared::Shared;

/// Admission when the tree just starts to get out of shape, and at its worst, in bytes per second.
const RATE_MAX: f64 = 128e6;
const RATE_MIN: f64 = 512e3;
/// No batch waits longer.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// How urgent compaction is: 0 while the tree is in shape, 1 before the first write is delayed.
pub(super) fn urgency(shared: &Shared) -> f64 {
    let tree = shared.tree();
    let trigger = shared.options.l0_trigger as u64;
    let by_l0 = share(tree.version.levels[0].tables.len() as u64, trigger, 2 * trigger);
    let debt = compaction::debt(&tree.version, &shared.options);
    by_l0.max(share(debt, shared.options.level1_bytes / 2, 2 * shared.options.level1_bytes))
}

/// How far the tree is out of shape: 0 in shape, 1 as bad as it shall ever get.
fn pressure(shared: &Shared) -> f64 {
    let published = shared.published.load();
    let tree = &published.tree;
    let l0 = tree.version.levels[0].tables.len();
    let trigger = shared.options.l0_trigger;
    let by_l0 = share(l0 as u64, 3 * trigger as u64, 9 * trigger as u64);
    let debt = compaction::debt(&tree.version, &shared.options);
    let debt_soft = 4 * shared.options.level1_bytes;
    let by_debt = share(debt, debt_soft, 8 * debt_soft);
    // The last sealed memtable has no free successor: slow down as the active one fills, so
    // that the bound is met gently.
    let by_memory = if tree.sealed.len() >= shared.options.sealed_max {
        let limit = shared.memtable_bytes.load(Ordering::Relaxed);
        share(shared.taken(&tree.active, limit), limit / 2, limit)
    } else {
        0.0
    };
    // What views hold of memtables that are flushed is let go of once they are read.
    let limit = shared.memtable_bytes.load(Ordering::Relaxed);
    let by_views = share(shared.pinned_bytes(), 2 * limit, 4 * limit);
    by_l0.max(by_debt).max(by_memory).max(by_views)
}

/// Where `value` lies between `soft` (0) and `hard` (1).
#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
fn share(value: u64, soft: u64, hard: u64) -> f64 {
    let over = value.saturating_sub(soft) as f64;
    let span = hard.saturating_sub(soft).max(1) as f64;
    (over / span).min(1.0)
}

/// How long the writer waits after a batch of `bytes`.
pub(super) fn delay(shared: &Shared, bytes: u64) -> Duration {
    delay_at(pressure(shared), bytes)
}

#[expect(clippy::cast_precision_loss, reason = "a delay needs no more digits")]
fn delay_at(pressure: f64, bytes: u64) -> Duration {
    if pressure <= 0.0 {
        return Duration::ZERO;
    }
    let rate = RATE_MAX * (RATE_MIN / RATE_MAX).powf(pressure);
    Duration::from_secs_f64(bytes as f64 / rate).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_none_in_shape_and_grows_without_a_step() {
        assert_eq!(delay_at(0.0, 1 << 20), Duration::ZERO);
        let mut last = Duration::ZERO;
        for step in 1..=100 {
            let now = delay_at(f64::from(step) / 100.0, 1 << 10);
            assert!(now > last && now < last * 2 + Duration::from_micros(10), "{step}: {now:?}");
            last = now;
        }
        assert_eq!(delay_at(1.0, 1 << 30), DELAY_MAX);
    }

    #[test]
    fn a_share_stays_between_0_and_1() {
        for (value, expected) in [(0, 0.0), (10, 0.0), (15, 0.5), (20, 1.0), (99, 1.0)] {
            assert!((share(value, 10, 20) - expected).abs() < 1e-9);
        }
    }
}
