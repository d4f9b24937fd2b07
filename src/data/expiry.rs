//! Active expiry: finds what has expired, in the order of time, and deletes it.
//!
//! To find is for a thread that may wait, over a view of what is published; to delete is for the
//! writer, which looks up each record that was found and walks nothing. So the tombstones of what has
//! expired or was deleted before, through which a walk of the index may have to go, cost the writer
//! nothing.
//!
//! Marks, kept by the caller, say where a walk of each index goes on. A key never gets an expiry that
//! has passed, so nothing appears below the time of a walk, but for what a transaction puts there that
//! took its time a few seconds before, or was not published yet. So what expired in the last
//! seconds before a walk is walked once more, some seconds later. If the wall clock jumps back, walks begin anew.
//!
//! Fields have an index of their own, one record for each hash some fields of which expire, at the time
//! of the first; within an exploded hash they are in the order of time as well. So fields, too, cost
//! what expires. A hash of which the key has expired is left to the keys.

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;

use super::root::Database;
use super::{Edit, EventClasses, key};
use crate::engine::{Direction, KeyRange, Read, Result};

/// Marks that are kept, those of databases that have no expiries at the moment included.
const MARKS_MAX: usize = 4096;

/// How long before it is published a transaction may have taken its time, in milliseconds: walks of the
/// index look at what is no older again. Where one has taken longer, [`ExpiryMarks`] are to be forgotten.
pub const LAG_MS: u64 = 5000;

/// A walk that has found so many bytes of records takes no further one.
const FOUND_BYTES_MAX: usize = 1 << 20;

/// Where the walks of the indexes go on.
#[derive(Debug, Clone, Default)]
pub struct ExpiryMarks {
    by_index: HashMap<Index, Mark>,
}

/// The index of the keys of a keyspace that expire, or of its hashes some fields of which do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Index {
    keyspace: u32,
    is_of_fields: bool,
}

impl Index {
    /// Its records from `from_ms` to `to_ms`, both included.
    fn range(self, from_ms: u64, to_ms: u64) -> KeyRange {
        match self.is_of_fields {
            true => key::field_expiry_range(self.keyspace, from_ms, to_ms),
            false => key::expiry_range(self.keyspace, from_ms, to_ms),
        }
    }
}

/// How far one index was walked.
#[derive(Debug, Clone, Default)]
struct Mark {
    /// What expires before is gone for good, in Unix milliseconds.
    settled_ms: u64,
    /// Where the walk that began at `looked_ms` from `settled_ms` has come to, and the time there.
    walked: Option<(Bound<Bytes>, u64)>,
    looked_ms: u64,
}

impl Mark {
    /// Where a walk at `now_ms` begins, if not at `settled_ms`.
    fn goes_on(&self, now_ms: u64) -> Option<&Bound<Bytes>> {
        let (start, at_ms) = self.walked.as_ref()?;
        let is_fresh = (self.looked_ms..self.looked_ms + LAG_MS).contains(&now_ms);
        let is_final = self.looked_ms <= now_ms && *at_ms < self.looked_ms.saturating_sub(LAG_MS);
        (is_fresh || is_final).then_some(start)
    }

    fn advance(&mut self, now_ms: u64, start: Bound<Bytes>, at_ms: u64) {
        if self.goes_on(now_ms).is_none() {
            self.looked_ms = now_ms;
        }
        self.settled_ms = at_ms.min(self.looked_ms.saturating_sub(LAG_MS));
        self.walked = Some((start, at_ms));
    }
}

/// A record of an index whose time has come.
#[derive(Debug, Clone)]
pub struct Due {
    index: Index,
    at_ms: u64,
    key: Bytes,
    engine_key: Bytes,
    value: Bytes,
}

/// What a walk of all indexes has found.
#[derive(Debug, Default)]
pub struct DueRecords {
    /// In the order of the walk.
    pub records: Vec<Due>,
    /// Whether a bound was reached: there may be more.
    pub more: bool,
    /// The indexes that were walked to their end.
    ended: Vec<Index>,
    now_ms: u64,
}

/// Finds at most `limit` records (and not many more than 1 MiB of them) that have expired at the time of
/// `edit`, from the marks on.
pub fn find_due(edit: &Edit<'_>, marks: &ExpiryMarks, limit: usize) -> Result<DueRecords> {
    let mut found = DueRecords { now_ms: edit.context().now_ms, ..DueRecords::default() };
    let databases: Vec<Database> =
        edit.root.databases().filter(|database| database.keys > 0).collect();
    let expiring = databases.iter().filter(|database| database.expires > 0);
    let keys = expiring.map(|it| Index { keyspace: it.keyspace, is_of_fields: false });
    let fields = databases.iter().map(|it| Index { keyspace: it.keyspace, is_of_fields: true });
    let mut bytes_left = FOUND_BYTES_MAX;
    for index in keys.chain(fields) {
        for pair in edit.txn.scan(marks.range(index, found.now_ms), Direction::Forward) {
            if found.records.len() >= limit || bytes_left == 0 {
                found.more = true;
                return Ok(found);
            }
            let (engine_key, value) = pair?;
            let Some((at_ms, key)) = key::parse_expiry(&engine_key) else { continue };
            bytes_left = bytes_left.saturating_sub(engine_key.len() + value.len());
            found.records.push(Due { index, at_ms, key, engine_key, value });
        }
        found.ended.push(index);
    }
    Ok(found)
}

impl ExpiryMarks {
    fn range(&self, index: Index, now_ms: u64) -> KeyRange {
        let mark = self.by_index.get(&index);
        let settled_ms = mark.map_or(0, |mark| mark.settled_ms);
        let from_ms = if settled_ms <= now_ms { settled_ms } else { 0 };
        let mut range = index.range(from_ms, now_ms);
        if let Some(start) = mark.and_then(|mark| mark.goes_on(now_ms)) {
            range.0 = start.clone();
        }
        range
    }

    /// The first `done` records of `found` are gone, for good.
    pub fn advance(&mut self, found: &DueRecords, done: usize) {
        let now_ms = found.now_ms;
        let is_all = done == found.records.len();
        for gone in found.records.iter().take(done) {
            let start = Bound::Excluded(gone.engine_key.clone());
            self.by_index.entry(gone.index).or_default().advance(now_ms, start, gone.at_ms);
        }
        for index in found.ended.iter().filter(|_| is_all) {
            let (_, end) = index.range(now_ms, now_ms);
            if let Bound::Excluded(end) = end {
                let mark = self.by_index.entry(*index).or_default();
                mark.advance(now_ms, Bound::Included(end), now_ms);
            }
        }
        if self.by_index.len() > MARKS_MAX {
            self.by_index.retain(|index, _| found.ended.contains(index));
        }
    }
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpiryCycle {
    /// Keys that were deleted.
    pub expired: u64,
    /// Fields that were deleted.
    pub expired_fields: u64,
    /// Records, from the first on, of which nothing is left that has expired.
    pub done: usize,
}

/// Deletes what `due` tells, in its order, as far as that is still so: at most `limit` keys and fields.
/// Walks no index. If it fails its transaction must be dropped.
pub fn expire_due(edit: &mut Edit<'_>, due: &[Due], limit: usize) -> Result<ExpiryCycle> {
    let (home, now_ms) = (edit.context().db, edit.context().now_ms);
    let databases: HashMap<u32, u16> =
        edit.root.databases().map(|database| (database.keyspace, database.db)).collect();
    let mut cycle = ExpiryCycle::default();
    let mut left = limit;
    for due in due {
        if left == 0 || due.at_ms > now_ms {
            break;
        }
        if let Some(db) = databases.get(&due.index.keyspace) {
            edit.select(*db);
            if due.index.is_of_fields {
                let (fields, is_done) = edit.expire_due_fields(due, left)?;
                left -= fields.min(left);
                cycle.expired_fields += fields as u64;
                if !is_done {
                    break;
                }
            } else if edit.txn.get(&due.engine_key)?.as_ref() == Some(&due.value) {
                edit.delete_expired(due);
                left -= 1;
                cycle.expired += 1;
            }
        }
        cycle.done += 1;
    }
    edit.select(home);
    Ok(cycle)
}

impl Edit<'_> {
    fn delete_expired(&mut self, due: &Due) {
        let (generation, next_field_ms) = key::parse_expiry_value(&due.value);
        self.txn.delete(due.engine_key.clone());
        self.txn.delete(Bytes::copy_from_slice(&key::meta(self.keyspace, &due.key)));
        if let Some(generation) = generation {
            self.txn.delete(Bytes::copy_from_slice(&key::generation(self.keyspace, generation)));
        }
        if let Some(at_ms) = next_field_ms {
            self.txn.delete(key::field_expiry(self.keyspace, at_ms, &due.key));
        }
        self.root.add(self.context().db, -1, -1);
        self.note_gone(&due.key);
        self.note_modified(&due.key, true);
        self.notify(EventClasses::EXPIRED, "expired", &due.key);
        self.count_expired(1);
    }

    /// Deletes at most `limit` expired fields of a hash: how many, and whether that was all.
    fn expire_due_fields(&mut self, due: &Due, limit: usize) -> Result<(usize, bool)> {
        let now_ms = self.context().now_ms;
        let Some(meta) = self.stored(&due.key)? else { return Ok((0, true)) };
        // Not only those of the time of the record: what a round leaves has one of its own, which the
        // walk may have passed.
        let is_due = meta.next_field_expiry().is_some_and(|next_ms| next_ms <= now_ms);
        if meta.is_expired(now_ms) || !is_due {
            return Ok((0, true));
        }
        let outcome = self.expire_fields(&due.key, meta, limit)?;
        Ok((outcome.fields, outcome.next_expiry_ms.is_none_or(|next_ms| next_ms > now_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    #[test]
    fn what_expired_at_one_time_is_walked_again_twice_at_most() {
        let mut mark = Mark::default();
        let place = |number: u8| Bound::Excluded(Bytes::copy_from_slice(&[number]));
        let (mut number, mut again) = (0, 0);
        // A walk of 60 seconds, ten rounds per second.
        for now_ms in (START_MS..START_MS + 60_000).step_by(100) {
            match mark.goes_on(now_ms) {
                Some(start) => assert_eq!(*start, place(number)),
                None => again += 1,
            }
            number = number.wrapping_add(1);
            mark.advance(now_ms, place(number), START_MS);
        }
        // At first, a lag later, and once nothing can come late any more.
        assert_eq!(again, 3);
        assert_eq!(mark.settled_ms, START_MS);
    }
}
