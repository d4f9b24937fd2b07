//! What to compact next. Pure: looks at a version, does nothing.

use std::sync::Arc;

use bytes::Bytes;

use super::super::Options;
use super::super::version::{Handle, LEVELS, Version, hull};
use super::Running;
use super::targets::Targets;

/// Most tables of level 0 that one compaction takes, in multiples of the trigger.
const L0_TABLES_MAX: usize = 4;
/// Level 0 with fewer tables costs lookups little.
const LEISURE_TABLES_MIN: usize = 2;
/// Bytes that are rewritten for one of level 0 at leisure, at most.
const LEISURE_WRITES_MAX: u64 = 4;
/// A table with fewer tombstones, or expiring records, is not worth a rewrite of its own.
const GARBAGE_MIN: u64 = 64;

/// Why a compaction was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Reason {
    /// The level is too large.
    Size,
    /// More than a quarter of the table are tombstones; of level 0, a quarter of all that is
    /// rewritten for them.
    Tombstones,
    /// More than a quarter of the table expires, and half of that has.
    Expired,
    /// Somebody asked for it.
    Asked,
}

/// One compaction: its inputs become new tables of level `to`.
#[derive(Debug, Clone)]
pub(in super::super) struct Choice {
    pub(in super::super) from: usize,
    pub(in super::super) to: usize,
    /// Tables with their levels: those of `from` newest first, then those of `to` in key order.
    pub(in super::super) inputs: Vec<(usize, Arc<Handle>)>,
    /// Smallest and largest key of the inputs.
    pub(in super::super) hull: (Bytes, Bytes),
    pub(in super::super) reason: Reason,
}

impl Choice {
    /// Whether the one input can change its level as it is.
    pub(in super::super) fn is_move(&self) -> bool {
        self.inputs.len() == 1 && self.from != self.to && self.reason == Reason::Size
    }
}

/// The most useful compaction that can start now, if the tree is out of shape.
pub(in super::super) fn choose(
    version: &Version,
    options: &Options,
    running: &Running,
    now_ms: u64,
) -> Option<Choice> {
    let targets = Targets::of(version, options);
    let score = |level| score(version, level, &targets, options, running);
    let mut scores: Vec<(u64, usize)> =
        (0..LEVELS - 1).map(|level| (score(level), level)).collect();
    scores.sort_by_key(|&(score, level)| (std::cmp::Reverse(score), level));
    let mut level0_waits = false;
    for (_, level) in scores.into_iter().filter(|&(score, _)| score >= FULL) {
        // A level 0 that waits for a level would wait forever if that went on without it.
        if level == targets.below(0) && level0_waits {
            continue;
        }
        let choice = choose_from(version, level, options, running, Reason::Size);
        if choice.is_some() {
            return choice;
        }
        level0_waits |= level == 0;
    }
    choose_garbage(version, running, now_ms)
        .or_else(|| level0_garbage(version, options, running))
        .or_else(|| choose_marked(version, options, running))
}

/// A score of 1, in thousandths.
const FULL: u64 = 1000;

fn score(
    version: &Version,
    level: usize,
    targets: &Targets,
    options: &Options,
    running: &Running,
) -> u64 {
    if level == 0 {
        let tables = version.levels[0].tables.len();
        return tables as u64 * FULL / options.l0_trigger.max(1) as u64;
    }
    let tables = version.levels[level].tables.iter();
    let idle = tables.filter(|handle| running.is_free(handle.id()));
    let bytes: u64 = idle.map(|handle| handle.info().size).sum();
    let target = targets.bytes(level);
    if bytes <= target {
        return 0;
    }
    // A level that shall be empty goes when nothing else is urgent, unless it is large.
    let full = if target == 0 { options.level1_bytes } else { target };
    let score = u128::from(bytes) * u128::from(FULL) / u128::from(full.max(1));
    u64::try_from(score).unwrap_or(u64::MAX).max(FULL)
}

/// A compaction out of `level`, whether or not it is too large.
pub(in super::super) fn choose_from(
    version: &Version,
    level: usize,
    options: &Options,
    running: &Running,
    reason: Reason,
) -> Option<Choice> {
    if level + 1 >= LEVELS {
        return None;
    }
    if level == 0 {
        level0(version, options, running, reason)
    } else {
        cheapest(version, level, running, reason)
    }
}

/// The oldest tables of level 0, with what they meet in the level that they go to.
fn level0(
    version: &Version,
    options: &Options,
    running: &Running,
    reason: Reason,
) -> Option<Choice> {
    if running.runs_from(0) {
        return None;
    }
    let tables = &version.levels[0].tables;
    let most = L0_TABLES_MAX * options.l0_trigger.max(1);
    let newer = tables.len().saturating_sub(most);
    let to = Targets::of(version, options).below(0);
    with_lower_level(version, (0, to), tables.get(newer..)?, running, reason)
}

/// The table of `level` that moves the fewest bytes of the next level for each of its own.
fn cheapest(version: &Version, level: usize, running: &Running, reason: Reason) -> Option<Choice> {
    let mut tables: Vec<(u128, &Arc<Handle>)> = Vec::new();
    for handle in version.levels[level].tables.iter().filter(|table| running.is_free(table.id())) {
        let info = handle.info();
        let met = version.levels[level + 1].overlapping(&info.smallest, &info.largest);
        let moved: u64 = met.iter().map(|handle| handle.info().size).sum();
        tables.push((u128::from(moved) * 1000 / u128::from(info.size.max(1)), handle));
    }
    tables.sort_by_key(|(cost, _)| *cost);
    tables.into_iter().find_map(|(_, handle)| {
        with_lower_level(version, (level, level + 1), std::slice::from_ref(handle), running, reason)
    })
}

fn with_lower_level(
    version: &Version,
    (from, to): (usize, usize),
    tables: &[Arc<Handle>],
    running: &Running,
    reason: Reason,
) -> Option<Choice> {
    let (smallest, largest) = hull(tables)?;
    let met = version.levels[to].overlapping(&smallest, &largest);
    let all = || tables.iter().chain(met);
    if !all().all(|handle| running.is_free(handle.id())) {
        return None;
    }
    let hull = hull(all())?;
    if running.writes(to, &hull) {
        return None;
    }
    let above = tables.iter().map(|handle| (from, handle.clone()));
    let below = met.iter().map(|handle| (to, handle.clone()));
    Some(Choice { from, to, inputs: above.chain(below).collect(), hull, reason })
}

/// A table that is worth a rewrite for what it no longer needs: downwards where older records of
/// its keys may lie, in its place where not.
fn choose_garbage(version: &Version, running: &Running, now_ms: u64) -> Option<Choice> {
    for (level, handle) in version.tables().filter(|(level, _)| *level > 0) {
        let info = handle.info();
        let many = |count: u64| count >= GARBAGE_MIN && count.saturating_mul(4) > info.entries;
        let reason = if many(info.tombstones) {
            Reason::Tombstones
        } else if many(info.expiring)
            && info.expiry_median_ms <= now_ms
            && !running.settled.contains(&handle.id())
        {
            Reason::Expired
        } else {
            continue;
        };
        let choice = rewrite(version, level, handle, running, reason);
        if choice.is_some() {
            return choice;
        }
    }
    None
}

/// Level 0, where its tombstones are many beside all that they are compacted with.
fn level0_garbage(version: &Version, options: &Options, running: &Running) -> Option<Choice> {
    level0_for_waste(version, options, running, |entries, tombstones| {
        tombstones >= GARBAGE_MIN && tombstones.saturating_mul(4) >= entries
    })
}

/// Level 0, where that is worth it for so many records that are rewritten and so many tombstones among
/// those of level 0.
pub(in super::super) fn level0_for_waste(
    version: &Version,
    options: &Options,
    running: &Running,
    is_worth_it: impl Fn(u64, u64) -> bool,
) -> Option<Choice> {
    let choice = level0(version, options, running, Reason::Tombstones)?;
    let above = choice.inputs.iter().filter(|(level, _)| *level == 0);
    let tombstones: u64 = above.map(|(_, handle)| handle.info().tombstones).sum();
    let entries: u64 = choice.inputs.iter().map(|(_, handle)| handle.info().entries).sum();
    is_worth_it(entries, tombstones).then_some(choice)
}

/// Level 0 while nothing else is to be done: every table there costs each lookup a look. Once it is done
/// nothing is left to do until there are further flushes, and a merge writes no more than
/// [`LEISURE_WRITES_MAX`] bytes anew for each of theirs.
pub(in super::super) fn level0_at_leisure(
    version: &Version,
    options: &Options,
    running: &Running,
) -> Option<Choice> {
    if version.levels.first()?.tables.len() < LEISURE_TABLES_MIN {
        return None;
    }
    let choice = level0(version, options, running, Reason::Size)?;
    let bytes = |is_above: bool| -> u64 {
        let inputs = choice.inputs.iter().filter(|(level, _)| (*level == 0) == is_above);
        inputs.map(|(_, handle)| handle.info().size).sum()
    };
    (bytes(true).saturating_mul(LEISURE_WRITES_MAX) >= bytes(false)).then_some(choice)
}

/// A table that somebody marked; the deepest first, so that those above it find nothing below. Level 0
/// goes as a whole, oldest first.
fn choose_marked(version: &Version, options: &Options, running: &Running) -> Option<Choice> {
    let is_marked = |(_, handle): &(usize, &Arc<Handle>)| running.marked.contains(&handle.id());
    let marked: Vec<_> = version.tables().filter(is_marked).collect();
    marked.into_iter().rev().find_map(|(from, handle)| match from {
        0 => level0(version, options, running, Reason::Asked),
        _ => rewrite(version, from, handle, running, Reason::Asked),
    })
}

fn rewrite(
    version: &Version,
    level: usize,
    handle: &Arc<Handle>,
    running: &Running,
    reason: Reason,
) -> Option<Choice> {
    let info = handle.info();
    if version.may_lie_below(level, &info.smallest, &info.largest) {
        with_lower_level(version, (level, level + 1), std::slice::from_ref(handle), running, reason)
    } else {
        in_place(level, handle, running, reason)
    }
}

fn in_place(
    level: usize,
    handle: &Arc<Handle>,
    running: &Running,
    reason: Reason,
) -> Option<Choice> {
    let hull = hull([handle])?;
    if !running.is_free(handle.id()) || running.writes(level, &hull) {
        return None;
    }
    Some(Choice { from: level, to: level, inputs: vec![(level, handle.clone())], hull, reason })
}
