//! Leveled compaction: `choose` looks at a version and says what to do, `run` does it.
//!
//! Level 0 holds what was flushed, each table over any keys; the others hold each key once. Level 0
//! is in shape below [`Options::l0_trigger`] tables, level `n` below `level1_bytes * fanout^(n-1)`
//! bytes. Several compactions run at once as long as they share no input and do not write to the
//! same level between the same keys.
//!
//! Of each key only the newest record is kept: views pin the tables they read. A tombstone goes
//! when no deeper level can hold its key.

mod choose;
mod dead;
mod run;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

pub(super) use choose::{Choice, Reason, choose, choose_from, level0_at_leisure, level0_for_waste};
pub(super) use dead::mark_dead;
pub(super) use run::run;
use targets::Targets;

use super::version::{Handle, LEVELS, Version};
use super::{Error, Options};

/// The compactions that run, and what is known of tables beyond their facts.
#[derive(Debug, Default)]
pub(super) struct Running {
    jobs: Vec<Footprint>,
    next_job: u64,
    /// Tables found damaged, with what was found; they are left where they are.
    avoid: BTreeMap<u64, Error>,
    /// Tables that a rewrite for their expired records left as they are.
    settled: HashSet<u64>,
    /// Tables that somebody thinks full of dead records.
    marked: HashSet<u64>,
}

/// What a running compaction occupies.
#[derive(Debug)]
struct Footprint {
    job: u64,
    inputs: Vec<u64>,
    to: usize,
    from: usize,
    hull: (Bytes, Bytes),
}

impl Running {
    /// Notes that `choice` runs; the answer names it to [`Running::end`].
    pub(super) fn begin(&mut self, choice: &Choice) -> u64 {
        self.next_job += 1;
        for (_, handle) in &choice.inputs {
            self.marked.remove(&handle.id());
        }
        self.jobs.push(Footprint {
            job: self.next_job,
            inputs: choice.inputs.iter().map(|(_, handle)| handle.id()).collect(),
            to: choice.to,
            from: choice.from,
            hull: choice.hull.clone(),
        });
        self.next_job
    }

    /// Notes that a compaction ended.
    pub(super) fn end(&mut self, job: u64) {
        self.jobs.retain(|footprint| footprint.job != job);
    }

    pub(super) fn count(&self) -> usize {
        self.jobs.len()
    }

    /// Never picks table `id` again, for this damage.
    pub(super) fn avoid(&mut self, id: u64, error: &Error) {
        self.avoid.insert(id, error.clone());
    }

    /// The tables of `version` that are not picked, with what was found.
    pub(super) fn avoided<'a>(
        &'a self,
        version: &'a Version,
    ) -> impl Iterator<Item = (&'a Arc<Handle>, &'a Error)> {
        let found = |handle: &'a Arc<Handle>| Some((handle, self.avoid.get(&handle.id())?));
        version.tables().filter_map(move |(_, handle)| found(handle))
    }

    /// Does not pick table `id` for its expired records again.
    pub(super) fn settle(&mut self, id: u64) {
        self.settled.insert(id);
    }

    /// Rewrites table `id` when there is nothing more urgent.
    pub(super) fn mark(&mut self, id: u64) {
        self.marked.insert(id);
    }

    fn is_free(&self, id: u64) -> bool {
        !self.avoid.contains_key(&id) && self.jobs.iter().all(|job| !job.inputs.contains(&id))
    }

    fn runs_from(&self, level: usize) -> bool {
        self.jobs.iter().any(|job| job.from == level)
    }

    fn writes(&self, to: usize, (smallest, largest): &(Bytes, Bytes)) -> bool {
        let meets = |job: &Footprint| job.hull.0 <= *largest && *smallest <= job.hull.1;
        self.jobs.iter().any(|job| job.to == to && meets(job))
    }
}

/// Estimate of the bytes that have to be moved to bring the tree into shape.
pub(super) fn debt(version: &Version, options: &Options) -> u64 {
    let targets = Targets::of(version, options);
    let mut debt = 0u64;
    let mut arriving = [0u64; LEVELS];
    for (number, level) in version.levels.iter().enumerate().take(LEVELS - 1) {
        let bytes = level.bytes() + arriving[number];
        let excess = match number {
            0 if level.tables.len() < options.l0_trigger => 0,
            0 => bytes,
            _ => bytes.saturating_sub(targets.tolerated(number)),
        };
        if excess > 0 {
            let to = targets.below(number);
            let below = version.levels[to].bytes();
            let touched = below / bytes.max(1);
            debt = debt.saturating_add(excess.saturating_mul(1 + touched.min(options.fanout)));
            arriving[to] = excess;
        }
    }
    debt
}
