//! Active expiry: deletes what has expired, in the order of time.
//!
//! The index of a keyspace starts with the tombstones of what has expired before. A mark per
//! keyspace, kept in memory by the caller, says up to which time everything is gone, so that a
//! cycle walks what expires and little else. A key never gets an expiry that has passed, so nothing
//! appears below the time of a cycle, if transactions take their time on the writer as cycles do;
//! the mark stays a second behind for one that took it a little before. If the wall clock jumps back
//! behind a mark, the mark is dropped.

use std::collections::HashMap;

use bytes::Bytes;

use super::root::Database;
use super::{Edit, key};
use crate::engine::{Direction, Read, Result};

/// Marks that are kept, those of databases that have no expiries at the moment included.
const MARKS_MAX: usize = 4096;

/// How far a mark stays behind the time of its cycle.
const MARK_LAG_MS: u64 = 1000;

/// Up to which time the expired keys of each keyspace are gone, in Unix milliseconds.
#[derive(Debug, Clone, Default)]
pub struct ExpiryMarks {
    by_keyspace: HashMap<u32, u64>,
}

impl ExpiryMarks {
    fn start_ms(&self, keyspace: u32, now_ms: u64) -> u64 {
        self.by_keyspace.get(&keyspace).copied().filter(|mark_ms| *mark_ms <= now_ms).unwrap_or(0)
    }
}

/// What one cycle did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpiryCycle {
    /// Keys that were deleted.
    pub expired: u64,
    /// Whether the limit was reached: more may have expired.
    pub more: bool,
}

/// Deletes at most `limit` keys of all databases that have expired at the time of `edit`. The
/// marks are moved only if the cycle succeeds; its transaction must then be committed.
pub fn expire_cycle(
    edit: &mut Edit<'_>,
    marks: &mut ExpiryMarks,
    limit: usize,
) -> Result<ExpiryCycle> {
    let (home, now_ms) = (edit.context().db, edit.context().now_ms);
    let databases: Vec<Database> =
        edit.root.databases().filter(|database| database.expires > 0).collect();
    let mut found = Vec::with_capacity(databases.len());
    let mut left = limit;
    for database in &databases {
        let keys = due(&edit.txn, database.keyspace, now_ms, marks, left)?;
        left -= keys.len();
        found.push((*database, keys));
        if left == 0 {
            break;
        }
    }
    // From here on nothing can fail.
    let mut expired = 0;
    for (database, keys) in found {
        edit.select(database.db);
        let mark_ms = if left > 0 {
            Some(now_ms.saturating_sub(MARK_LAG_MS))
        } else {
            keys.last().map(|due| due.at_ms.min(now_ms.saturating_sub(MARK_LAG_MS)))
        };
        if let Some(mark_ms) = mark_ms {
            marks.by_keyspace.insert(database.keyspace, mark_ms);
        }
        expired += keys.len() as u64;
        for key in keys {
            edit.delete_expired(&key);
        }
    }
    edit.select(home);
    if marks.by_keyspace.len() > MARKS_MAX {
        let live: Vec<u32> = databases.iter().map(|database| database.keyspace).collect();
        marks.by_keyspace.retain(|keyspace, _| live.contains(keyspace));
    }
    Ok(ExpiryCycle { expired, more: left == 0 })
}

/// An index record whose time has come.
struct Due {
    at_ms: u64,
    key: Bytes,
    generation: Option<u64>,
    engine_key: Bytes,
}

fn due(
    read: &dyn Read,
    keyspace: u32,
    now_ms: u64,
    marks: &ExpiryMarks,
    limit: usize,
) -> Result<Vec<Due>> {
    let range = key::expiry_range(keyspace, marks.start_ms(keyspace, now_ms), now_ms);
    read.scan(range, Direction::Forward)
        .filter_map(|pair| {
            pair.map(|(engine_key, value)| {
                let (at_ms, key) = key::parse_expiry(&engine_key)?;
                let generation = value.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
                Some(Due { at_ms, key, generation, engine_key })
            })
            .transpose()
        })
        .take(limit)
        .collect()
}

impl Edit<'_> {
    fn delete_expired(&mut self, due: &Due) {
        self.txn.delete(due.engine_key.clone());
        self.txn.delete(Bytes::copy_from_slice(&key::meta(self.keyspace, &due.key)));
        if let Some(generation) = due.generation {
            self.txn.delete(Bytes::copy_from_slice(&key::generation(self.keyspace, generation)));
        }
        self.root.add(self.context().db, -1, -1);
        self.count_expired(1);
    }
}
