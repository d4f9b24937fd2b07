//! The root record: which keyspace each database uses, and how many keys it holds.
//!
//! ```text
//! offset  size  name
//! 0       1     version, 1
//! 1       4     next keyspace id, little-endian; ids below 65,536 are the defaults
//! 5       8     next generation, little-endian, from 1
//! 13      22×n  databases that differ from an empty one on its default keyspace, ascending:
//!               0   2  database
//!               2   4  keyspace id
//!               6   8  keys
//!               14  8  keys with an expiry
//! ```
//!
//! An empty record (a new store) means: every database is empty and on its default keyspace, whose
//! id is the number of the database. The record is checked by the log and the manifest that keep
//! it, so it carries no checksum; its length and order are checked whenever it is read.

use std::path::PathBuf;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::{Error, Result};

const VERSION: u8 = 1;
const HEADER_LEN: usize = 13;
const ENTRY_LEN: usize = 22;
/// Engine limit of a root record.
const ROOT_BYTES_MAX: usize = 64 * 1024;
/// First keyspace id that is no database's default.
const FIRST_FRESH_KEYSPACE: u32 = 65_536;

/// Keyspace and counts of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Database {
    /// Its number, as in `SELECT`.
    pub db: u16,
    /// Prefix of all its records.
    pub keyspace: u32,
    /// Keys, expired ones that nobody has met yet included.
    pub keys: u64,
    /// Keys with an expiry.
    pub expires: u64,
}

impl Database {
    fn empty(db: u16) -> Self {
        Self { db, keyspace: u32::from(db), keys: 0, expires: 0 }
    }

    fn is_default(&self) -> bool {
        *self == Self::empty(self.db)
    }
}

/// A root record, read in place.
#[derive(Debug, Clone, Copy)]
pub struct RootRef<'a> {
    entries: &'a [[u8; ENTRY_LEN]],
    next_keyspace: u32,
    next_generation: u64,
}

impl<'a> RootRef<'a> {
    /// Reads `bytes`; a damaged record is an error.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self {
                entries: &[],
                next_keyspace: FIRST_FRESH_KEYSPACE,
                next_generation: 1,
            });
        }
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or_else(damaged)?;
        let [version, header @ ..] = header;
        let (keyspace, generation) = header.split_first_chunk::<4>().ok_or_else(damaged)?;
        let generation = generation.first_chunk::<8>().ok_or_else(damaged)?;
        let (entries, left) = rest.as_chunks::<ENTRY_LEN>();
        if *version != VERSION || !left.is_empty() {
            return Err(damaged());
        }
        Ok(Self {
            entries,
            next_keyspace: u32::from_le_bytes(*keyspace),
            next_generation: u64::from_le_bytes(*generation),
        })
    }

    /// The databases that are listed, ascending.
    pub fn databases(self) -> impl Iterator<Item = Database> + 'a {
        self.entries.iter().map(decode)
    }

    /// The generation that is given out next.
    #[must_use]
    pub(super) fn next_generation(self) -> u64 {
        self.next_generation
    }

    /// Keyspace and counts of `db`.
    #[must_use]
    pub fn database(self, db: u16) -> Database {
        self.databases().find(|entry| entry.db == db).unwrap_or_else(|| Database::empty(db))
    }
}

/// A root record in a transaction.
#[derive(Debug, Clone)]
pub(super) struct Root {
    databases: SmallVec<[Database; 2]>,
    next_keyspace: u32,
    next_generation: u64,
    changed: bool,
}

impl Root {
    /// Reads `bytes`; a damaged record is an error.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let root = RootRef::parse(bytes)?;
        let databases: SmallVec<[Database; 2]> = root.databases().collect();
        if !databases.is_sorted_by(|a, b| a.db < b.db) {
            return Err(damaged());
        }
        Ok(Self {
            databases,
            next_keyspace: root.next_keyspace,
            next_generation: root.next_generation,
            changed: false,
        })
    }

    /// Keyspace and counts of `db`.
    #[must_use]
    pub(super) fn database(&self, db: u16) -> Database {
        match self.find(db) {
            Ok(index) => self.databases[index],
            Err(_) => Database::empty(db),
        }
    }

    /// The databases that hold keys or left their default keyspace, ascending.
    pub(super) fn databases(&self) -> impl Iterator<Item = Database> {
        self.databases.iter().copied()
    }

    /// Adds to the counts of `db`.
    ///
    /// # Panics
    /// Where a count would fall below zero: the counts are exact, so that is a broken invariant.
    pub(super) fn add(&mut self, db: u16, keys: i64, expires: i64) {
        if keys == 0 && expires == 0 {
            return;
        }
        let mut entry = self.database(db);
        entry.keys = entry.keys.checked_add_signed(keys).expect("keys are counted exactly");
        entry.expires =
            entry.expires.checked_add_signed(expires).expect("expiries are counted exactly");
        self.set(entry);
    }

    /// Gives `db` a fresh keyspace, so that it is empty.
    pub(super) fn flush(&mut self, db: u16) {
        if self.database(db).keys == 0 {
            return;
        }
        let keyspace = self.next_keyspace;
        self.next_keyspace = keyspace.checked_add(1).expect("4 billion flushes");
        self.set(Database { db, keyspace, keys: 0, expires: 0 });
    }

    /// Exchanges two databases.
    pub(super) fn swap(&mut self, a: u16, b: u16) {
        let (first, second) = (self.database(a), self.database(b));
        self.set(Database { db: a, ..second });
        self.set(Database { db: b, ..first });
    }

    /// A generation that was never used before.
    pub(super) fn next_generation(&mut self) -> u64 {
        let generation = self.next_generation;
        self.next_generation += 1;
        self.changed = true;
        generation
    }

    /// Gives out no generation below this one any more.
    pub(super) fn skip_generations(&mut self, below: u64) {
        if below > self.next_generation {
            self.next_generation = below;
            self.changed = true;
        }
    }

    /// Gives out generations from this one on, which somebody has reserved; nothing of the root record
    /// may be kept.
    pub(super) fn begin_generations(&mut self, first: u64) {
        self.next_generation = first;
    }

    /// The record, if it was changed since it was read or last encoded.
    pub(super) fn take_changed(&mut self) -> Result<Option<Bytes>> {
        if !std::mem::take(&mut self.changed) {
            return Ok(None);
        }
        let len = HEADER_LEN + self.databases.len() * ENTRY_LEN;
        if len > ROOT_BYTES_MAX {
            return Err(Error::Limit("too many databases hold keys"));
        }
        let mut bytes = Vec::with_capacity(len);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.next_keyspace.to_le_bytes());
        bytes.extend_from_slice(&self.next_generation.to_le_bytes());
        for entry in &self.databases {
            bytes.extend_from_slice(&entry.db.to_le_bytes());
            bytes.extend_from_slice(&entry.keyspace.to_le_bytes());
            bytes.extend_from_slice(&entry.keys.to_le_bytes());
            bytes.extend_from_slice(&entry.expires.to_le_bytes());
        }
        Ok(Some(bytes.into()))
    }

    fn find(&self, db: u16) -> std::result::Result<usize, usize> {
        self.databases.binary_search_by_key(&db, |entry| entry.db)
    }

    fn set(&mut self, entry: Database) {
        self.changed = true;
        match self.find(entry.db) {
            Ok(index) if entry.is_default() => drop(self.databases.remove(index)),
            Ok(index) => self.databases[index] = entry,
            Err(_) if entry.is_default() => {}
            Err(index) => self.databases.insert(index, entry),
        }
    }
}

fn decode(entry: &[u8; ENTRY_LEN]) -> Database {
    let [d0, d1, k0, k1, k2, k3, counts @ ..] = *entry;
    let (keys, expires) = counts.split_at(8);
    let count = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of 16 bytes"));
    Database {
        db: u16::from_le_bytes([d0, d1]),
        keyspace: u32::from_le_bytes([k0, k1, k2, k3]),
        keys: count(keys),
        expires: count(expires),
    }
}

fn damaged() -> Error {
    Error::Corruption {
        path: PathBuf::from("root record"),
        offset: 0,
        what: "not a table of databases that this version can read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reread(root: &mut Root) -> Root {
        Root::parse(&root.take_changed().unwrap().unwrap()).unwrap()
    }

    #[test]
    fn counts_survive_encoding() {
        let mut root = Root::parse(b"").unwrap();
        assert_eq!(root.database(3), Database::empty(3));
        root.add(3, 2, 1);
        root.add(0, 1, 0);
        let root = reread(&mut root);
        assert_eq!(root.database(3), Database { db: 3, keyspace: 3, keys: 2, expires: 1 });
        assert_eq!(root.database(0).keys, 1);
        assert_eq!(root.databases().count(), 2);
    }

    #[test]
    fn default_databases_are_not_listed() {
        let mut root = Root::parse(b"").unwrap();
        root.add(3, 1, 0);
        root.add(3, -1, 0);
        assert_eq!(reread(&mut root).databases().count(), 0);
        assert!(root.take_changed().unwrap().is_none());
    }

    #[test]
    fn flush_and_swap() {
        let mut root = Root::parse(b"").unwrap();
        root.add(1, 5, 2);
        root.swap(0, 1);
        assert_eq!(root.database(0), Database { db: 0, keyspace: 1, keys: 5, expires: 2 });
        assert_eq!(root.database(1), Database { db: 1, keyspace: 0, keys: 0, expires: 0 });
        root.flush(0);
        let first = root.database(0).keyspace;
        assert!(first >= FIRST_FRESH_KEYSPACE);
        assert_eq!(root.database(0).keys, 0);
        root.add(0, 1, 0);
        root.flush(0);
        assert_ne!(root.database(0).keyspace, first);
    }

    #[test]
    fn damage_is_an_error() {
        let mut root = Root::parse(b"").unwrap();
        root.add(1, 5, 2);
        let good = root.take_changed().unwrap().unwrap();
        for len in 1..good.len() {
            if len != HEADER_LEN {
                assert!(Root::parse(&good[..len]).is_err(), "{len}");
            }
        }
        let mut wrong = good.to_vec();
        wrong[0] = 9;
        assert!(Root::parse(&wrong).is_err());
    }
}
