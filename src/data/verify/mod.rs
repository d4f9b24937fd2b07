//! Proves what the records of a whole store promise each other; for `siltdb check`.
//!
//! Everything is walked in order and nothing is gathered: what two orders of records say of the
//! same thing (metadata and an index, keys and generations) is first compared as two [`Ledger`]
//! sums. Only where these differ are the records looked up one by one, so that the damage can be
//! named.

mod database;
mod garbage;
mod generations;
mod indexes;
mod ledger;
#[cfg(test)]
mod tests;

use std::ops::Bound;

use bytes::Bytes;

use self::database::Walk;
pub(super) use self::ledger::Ledger;
use super::key::{self, Kind};
use super::libraries::{digest_of, library_digest, stored_libraries};
use super::root::{Database, RootRef};
use crate::engine::{Direction, Error, Read, Result};

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// In which database.
    pub db: Option<u16>,
    /// At which key.
    pub key: Option<Bytes>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(db) = self.db {
            write!(f, "database {db}")?;
            if let Some(key) = &self.key {
                write!(f, ", key \"{}\"", key.escape_ascii())?;
            }
            write!(f, ": ")?;
        }
        f.write_str(&self.what)
    }
}

/// Takes each damage as it is found.
pub type OnDamage<'a> = dyn FnMut(Damage) + 'a;

/// What there is of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys, expired ones that nobody has met yet included.
    pub keys: u64,
    /// Elements, fields, members or entries; of strings one each.
    pub elements: u64,
    /// Bytes of keys and values of their records, before compression.
    pub bytes: u64,
}

/// What there is in one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseTotals {
    /// Its number.
    pub db: u16,
    /// Keys with an expiry.
    pub expires: u64,
    /// Each type with what there is of it; types of which there is nothing are left out.
    pub types: Vec<(&'static str, Totals)>,
}

/// Records that nobody can reach any more, and that compaction will drop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Garbage {
    /// How many.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// What there is in a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The databases that hold keys, ascending.
    pub databases: Vec<DatabaseTotals>,
    /// What waits for compaction.
    pub garbage: Garbage,
}

/// Looks through all records of a view: each key against its elements, the counts of each database,
/// the indexes of expiries in both directions, and generations against the keys that have them.
/// Hands what does not fit to `damage`. Fails where records cannot be read. Waits on the disk for
/// long.
pub fn verify(read: &dyn Read, damage: &mut OnDamage<'_>) -> Result<Verified> {
    let root = RootRef::parse(read.root())?;
    let mut verified = Verified::default();
    let mut listed: Vec<Database> = root.databases().collect();
    let mut from = Bytes::new();
    while let Some(engine_key) = first_key(read, from)? {
        let Some(keyspace) = engine_key.first_chunk::<4>().map(|id| u32::from_be_bytes(*id)) else {
            damage(Damage { db: None, key: None, what: unknown(&engine_key) });
            from = [&engine_key[..], &[0]].concat().into();
            continue;
        };
        if keyspace == key::LIBRARIES_KEYSPACE {
            check_libraries(read, damage)?;
            break;
        }
        match owner(root, keyspace) {
            Some(database) => {
                listed.retain(|other| other.db != database.db);
                let mut walk = Walk::new(read, root, database, damage);
                let totals = walk.run()?;
                verified.databases.extend((!totals.types.is_empty()).then_some(totals));
                walk.count_garbage(&mut verified.garbage)?;
            }
            None => garbage::count_keyspace(read, keyspace, &mut verified.garbage)?,
        }
        let Some(next) = keyspace.checked_add(1) else { break };
        from = Bytes::copy_from_slice(&next.to_be_bytes());
    }
    for database in listed {
        Walk::new(read, root, database, damage).run()?;
    }
    verified.databases.sort_by_key(|database| database.db);
    Ok(verified)
}

/// Libraries of functions have the last keyspace: their digest has to be of what there is.
fn check_libraries(read: &dyn Read, damage: &mut OnDamage<'_>) -> Result<()> {
    let from = Bytes::copy_from_slice(&key::LIBRARIES_KEYSPACE.to_be_bytes());
    for pair in read.scan((Bound::Included(from), Bound::Unbounded), Direction::Forward) {
        let (engine_key, _) = pair?;
        if !matches!(key::parse(&engine_key), Some((_, Kind::Library))) {
            damage(Damage { db: None, key: None, what: unknown(&engine_key) });
        }
    }
    if library_digest(read)? != digest_of(&stored_libraries(read)?) {
        let what = "the digest of the libraries of functions is of others".to_owned();
        damage(Damage { db: None, key: None, what });
    }
    Ok(())
}

fn unknown(engine_key: &[u8]) -> String {
    format!("a record of no known kind, \"{}\"", engine_key.escape_ascii())
}

fn first_key(read: &dyn Read, from: Bytes) -> Result<Option<Bytes>> {
    let range = (Bound::Included(from), Bound::Unbounded);
    Ok(read.scan(range, Direction::Forward).next().transpose()?.map(|(key, _)| key))
}

/// The database that has a keyspace, if one has.
fn owner(root: RootRef<'_>, keyspace: u32) -> Option<Database> {
    let default = || {
        let database = root.database(u16::try_from(keyspace).ok()?);
        (database.keyspace == keyspace).then_some(database)
    };
    root.databases().find(|database| database.keyspace == keyspace).or_else(default)
}

/// What an error says of a key, without the place that damage in memory does not have.
fn what(error: &Error) -> String {
    match error {
        Error::Corruption { path, offset: 0, what } if path.is_relative() => what.clone(),
        error => error.to_string(),
    }
}

fn ledger_of(read: &dyn Read, range: crate::engine::KeyRange) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    for pair in read.scan(range, Direction::Forward) {
        let (engine_key, value) = pair?;
        ledger.add(&[&engine_key, &value]);
    }
    Ok(ledger)
}
