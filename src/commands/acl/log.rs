//! The latest refusals, those that are alike as one.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use super::denial::Denial;

/// Refusals that are alike are one entry if the later comes within this time, in milliseconds.
const GROUPED_MS: u64 = 60_000;
/// Newest entries among which one that is alike is looked for.
const LOOKED_AT: usize = 10;

/// One entry of the log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Unique, increasing from 0.
    pub(super) id: u64,
    pub(super) denial: Denial,
    /// How often it was met.
    pub(super) count: u64,
    /// When it was met first and last, in Unix milliseconds.
    pub(super) created_ms: u64,
    pub(super) updated_ms: u64,
    /// The line of `CLIENT LIST` of who has met it last.
    pub(super) client: Bytes,
}

#[derive(Debug, Default)]
struct Entries {
    newest_first: VecDeque<Entry>,
    next_id: u64,
}

/// The log of refusals.
#[derive(Debug, Default)]
pub struct AclLog(Mutex<Entries>);

impl AclLog {
    /// Adds what was met so many times, and drops the oldest beyond `most` entries.
    pub(super) fn add(&self, denial: &Denial, times: u64, client: Bytes, now_ms: u64, most: usize) {
        let Entries { newest_first, next_id } = &mut *self.0.lock();
        let is_alike = |entry: &Entry| {
            entry.denial == *denial && now_ms.saturating_sub(entry.updated_ms) <= GROUPED_MS
        };
        let at = newest_first.iter().take(LOOKED_AT).position(is_alike);
        let entry = match at.and_then(|at| newest_first.remove(at)) {
            Some(known) => {
                Entry { count: known.count + times, updated_ms: now_ms, client, ..known }
            }
            None => {
                let id = *next_id;
                *next_id += 1;
                let denial = denial.clone();
                let (created_ms, updated_ms) = (now_ms, now_ms);
                Entry { id, denial, count: times, created_ms, updated_ms, client }
            }
        };
        newest_first.push_front(entry);
        newest_first.truncate(most);
    }

    /// The newest `count` entries, the newest first.
    pub(super) fn latest(&self, count: usize) -> Vec<Entry> {
        self.0.lock().newest_first.iter().take(count).cloned().collect()
    }

    /// Forgets all entries; ids go on.
    pub(super) fn reset(&self) {
        self.0.lock().newest_first.clear();
    }
}
