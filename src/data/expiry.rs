//! Active expiry: deletes what has expired, in the order of time.
//!
//! The index of a keyspace starts with the tombstones of what has expired before. A mark per
//! keyspace, kept in memory by the caller, says up to which time everything is gone, so that a
//! cycle walks what expires and little else. A key never gets an expiry that has passed, so nothing
//! appears below the time of a cycle, if transactions take their time on the writer as cycles do;
//! the mark stays a second behind for one that took it a little before. If the wall clock jumps back
//! behind a mark, the mark is dropped.
//!
//! Fields have an index of their own, one record for each hash some fields of which expire, at the time
//! of the first; within an exploded hash they are in the order of time as well. So fields, too, cost
//! what expires, and have marks of their own. A hash of which the key has expired is left to the keys.

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;

use super::root::Database;
use super::{Edit, EventClasses, key};
use crate::engine::{Direction, Read, Result};

/// Marks that are kept, those of databases that have no expiries at the moment included.
const MARKS_MAX: usize = 4096;

/// How far a mark stays behind the time of its cycle.
const MARK_LAG_MS: u64 = 1000;

/// Up to which time the expired keys of each keyspace are gone, in Unix milliseconds.
#[derive(Debug, Clone, Default)]
pub struct ExpiryMarks {
    by_keyspace: HashMap<u32, u64>,
    positions: HashMap<u32, Position>,
    fields_by_keyspace: HashMap<u32, u64>,
}

/// The index record of a keyspace that was deleted last. What lies between the mark and it was found
/// gone; from time to time that is looked at again, for what transactions put there that took their
/// time a little before.
#[derive(Debug, Clone)]
struct Position {
    after: Bytes,
    /// When everything behind the mark was looked at.
    looked_ms: u64,
}

impl Position {
    fn holds(&self, now_ms: u64) -> bool {
        (self.looked_ms..self.looked_ms + MARK_LAG_MS).contains(&now_ms)
    }
}

fn start_ms(marks: &HashMap<u32, u64>, keyspace: u32, now_ms: u64) -> u64 {
    marks.get(&keyspace).copied().filter(|mark_ms| *mark_ms <= now_ms).unwrap_or(0)
}

/// What one cycle did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpiryCycle {
    /// Keys that were deleted.
    pub expired: u64,
    /// Fields that were deleted.
    pub expired_fields: u64,
    /// Whether the limit was reached: more may have expired.
    pub more: bool,
}

/// Deletes at most `limit` keys and fields of all databases that have expired at the time of `edit`.
/// The marks are moved only if the cycle succeeds; its transaction must then be committed.
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
    let field_marks = expire_fields(edit, marks, &mut left)?;
    edit.select(home);
    // From here on nothing can fail.
    let mut expired = 0;
    let expired_fields = field_marks.iter().map(|mark| mark.expired).sum();
    for mark in field_marks {
        marks.fields_by_keyspace.insert(mark.keyspace, mark.mark_ms);
    }
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
        marks.note_position(database.keyspace, now_ms, keys.last());
        expired += keys.len() as u64;
        for key in keys {
            edit.delete_expired(&key);
        }
    }
    edit.select(home);
    for marks in [&mut marks.by_keyspace, &mut marks.fields_by_keyspace] {
        if marks.len() > MARKS_MAX {
            let live: Vec<u32> = edit.root.databases().map(|database| database.keyspace).collect();
            marks.retain(|keyspace, _| live.contains(keyspace));
        }
    }
    marks.positions.retain(|_, position| position.holds(now_ms));
    Ok(ExpiryCycle { expired, expired_fields, more: left == 0 })
}

impl ExpiryMarks {
    /// A cycle has walked `keyspace` up to `last`, the last record that it deletes, or has found none.
    fn note_position(&mut self, keyspace: u32, now_ms: u64, last: Option<&Due>) {
        let before = self.positions.get(&keyspace);
        let looked_ms = before.filter(|position| position.holds(now_ms)).map(|it| it.looked_ms);
        let after = last.map(|due| due.engine_key.clone());
        if let Some(after) = after.or_else(|| before.map(|position| position.after.clone())) {
            let position = Position { after, looked_ms: looked_ms.unwrap_or(now_ms) };
            self.positions.insert(keyspace, position);
        }
    }
}

/// Up to where the expired fields of a keyspace are gone.
struct FieldMark {
    keyspace: u32,
    mark_ms: u64,
    expired: u64,
}

/// Deletes at most `left` expired fields; as far as it came, by keyspace. May leave any database
/// selected.
fn expire_fields(
    edit: &mut Edit<'_>,
    marks: &ExpiryMarks,
    left: &mut usize,
) -> Result<Vec<FieldMark>> {
    let now_ms = edit.context().now_ms;
    let databases: Vec<Database> =
        edit.root.databases().filter(|database| database.keys > 0).collect();
    let mut done = Vec::new();
    for database in databases {
        if *left == 0 {
            break;
        }
        edit.select(database.db);
        let from_ms = start_ms(&marks.fields_by_keyspace, database.keyspace, now_ms);
        let range = key::field_expiry_range(database.keyspace, from_ms, now_ms);
        let limit = *left;
        let hashes: Vec<(u64, Bytes)> = edit
            .txn
            .scan(range, Direction::Forward)
            .filter_map(|pair| pair.map(|(key, _)| key::parse_expiry(&key)).transpose())
            .take(limit)
            .collect::<Result<_>>()?;
        let mut mark_ms = now_ms.saturating_sub(MARK_LAG_MS);
        if let Some((last_ms, _)) = hashes.last().filter(|_| hashes.len() == limit) {
            // More may be due.
            mark_ms = mark_ms.min(*last_ms);
        }
        let mut expired = 0;
        for (at_ms, key) in hashes {
            if *left == 0 {
                mark_ms = mark_ms.min(at_ms);
                break;
            }
            let Some(meta) = edit.stored(&key)? else { continue };
            if meta.is_expired(now_ms) || meta.next_field_expiry() != Some(at_ms) {
                continue;
            }
            let outcome = edit.expire_fields(&key, meta, *left)?;
            *left -= outcome.fields.min(*left);
            expired += outcome.fields as u64;
            if let Some(next_ms) = outcome.next_expiry_ms {
                mark_ms = mark_ms.min(next_ms);
            }
        }
        done.push(FieldMark { keyspace: database.keyspace, mark_ms, expired });
    }
    Ok(done)
}

/// An index record whose time has come.
struct Due {
    at_ms: u64,
    key: Bytes,
    generation: Option<u64>,
    next_field_ms: Option<u64>,
    engine_key: Bytes,
}

fn due(
    read: &dyn Read,
    keyspace: u32,
    now_ms: u64,
    marks: &ExpiryMarks,
    limit: usize,
) -> Result<Vec<Due>> {
    let from_ms = start_ms(&marks.by_keyspace, keyspace, now_ms);
    let mut range = key::expiry_range(keyspace, from_ms, now_ms);
    let position = marks.positions.get(&keyspace).filter(|position| position.holds(now_ms));
    if let Some(Position { after, .. }) = position
        && let Bound::Included(start) | Bound::Excluded(start) = &range.0
        && start < after
    {
        range.0 = Bound::Excluded(after.clone());
    }
    read.scan(range, Direction::Forward)
        .filter_map(|pair| {
            pair.map(|(engine_key, value)| {
                let (at_ms, key) = key::parse_expiry(&engine_key)?;
                let (generation, next_field_ms) = key::parse_expiry_value(&value);
                Some(Due { at_ms, key, generation, next_field_ms, engine_key })
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
        if let Some(at_ms) = due.next_field_ms {
            self.txn.delete(key::field_expiry(self.keyspace, at_ms, &due.key));
        }
        self.root.add(self.context().db, -1, -1);
        self.note_gone(&due.key);
        self.note_modified(&due.key, true);
        self.notify(EventClasses::EXPIRED, "expired", &due.key);
        self.count_expired(1);
    }
}
