//! Keys chosen at random, and what a few of them tell about all.

use std::ops::Bound;

use bytes::Bytes;
use smallvec::SmallVec;

use super::scan::prefix_end;
use crate::data::{Meta, View};
use crate::engine::{Direction, Result};

/// In a database of at most so many keys all are looked at.
pub(super) const FEW_KEYS: u64 = 64;
/// Keys that the mean of the others is told from.
const SAMPLES: usize = 16;

/// A key and what is known of it; `None` for one that has expired.
pub(super) type Entry = (Bytes, Option<Meta>);

/// A key found by choosing byte after byte between the smallest and the largest that are there;
/// `None` in an empty database.
pub(super) fn entry(view: &View<'_>) -> Result<Option<Entry>> {
    let first = |start: &[u8]| {
        view.walk(Bound::Included(start), Bound::Unbounded, Direction::Forward).next().transpose()
    };
    let last = |end: Option<&[u8]>| {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        view.walk(Bound::Unbounded, end, Direction::Reverse).next().transpose()
    };
    let (Some(mut low), Some(mut high)) = (first(b"")?, last(None)?) else { return Ok(None) };
    while low.0 < high.0 {
        let common = low.0.iter().zip(&high.0).take_while(|(a, b)| a == b).count();
        // The smaller key may end here, where the larger one goes on: that is a choice too.
        let from = low.0.get(common).map_or(-1, |byte| i16::from(*byte));
        let to = high.0.get(common).map_or(-1, |byte| i16::from(*byte));
        let Ok(picked) = u8::try_from(fastrand::i16(from..=to)) else { return Ok(Some(low)) };
        if i16::from(picked) != from {
            let mut start: SmallVec<[u8; 64]> = high.0.slice(..common)[..].into();
            start.push(picked);
            let Some(found) = first(&start)? else { return Ok(None) };
            low = found;
        }
        let branch = low.0.slice(..(common + 1).min(low.0.len()));
        let Some(found) = last(prefix_end(&branch).as_deref())? else { return Ok(None) };
        high = found;
    }
    Ok(Some(low))
}

/// The mean time in milliseconds that keys with an expiry have left: of all in a small database,
/// else of those among a few keys. 0 where none of them has one.
pub(super) fn average_ttl_ms(view: &View<'_>) -> Result<u64> {
    let now_ms = view.context().now_ms;
    let left_ms = |(_, meta): Entry| Some(meta?.expires_ms?.saturating_sub(now_ms));
    let (mut sum_ms, mut count) = (0_u128, 0_u128);
    let mut add = |entry| {
        if let Some(ms) = left_ms(entry) {
            sum_ms += u128::from(ms);
            count += 1;
        }
    };
    if view.key_count() <= FEW_KEYS {
        for entry in view.walk(Bound::Unbounded, Bound::Unbounded, Direction::Forward) {
            add(entry?);
        }
    } else {
        for _ in 0..SAMPLES {
            entry(view)?.into_iter().for_each(&mut add);
        }
    }
    Ok(u64::try_from(sum_ms / count.max(1)).unwrap_or(u64::MAX))
}
