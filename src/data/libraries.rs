//! Libraries of functions: records that no database has, so that nothing but their own commands
//! deletes them.
//!
//! ```text
//! library   ff ff ff ff | 6 | name      its code
//! digest    ff ff ff ff | 6             of all names and codes; none where there is no library
//! ```
//!
//! No keyspace has the id of four bytes 0xff: ids are given out from below.

use std::ops::Bound;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::Edit;
use super::key;
use crate::engine::{Direction, Read, Result};

/// A library as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLibrary {
    /// Its name.
    pub name: Bytes,
    /// The code that it was loaded from.
    pub code: Bytes,
}

/// A number that tells one set of libraries from any other; empty where there is none. One look-up.
pub fn library_digest(read: &dyn Read) -> Result<Bytes> {
    Ok(read.get(&key::library(b""))?.unwrap_or_default())
}

/// All libraries in the order of their names.
pub fn stored_libraries(read: &dyn Read) -> Result<Vec<StoredLibrary>> {
    let first = key::library(b"");
    let name_at = first.len();
    let behind = key::behind_libraries();
    let range = (
        Bound::Excluded(Bytes::copy_from_slice(&first)),
        Bound::Excluded(Bytes::copy_from_slice(&behind)),
    );
    let found = read.scan(range, Direction::Forward).map(|pair| {
        let (key, code) = pair?;
        Ok(StoredLibrary { name: key.slice(name_at.min(key.len())..), code })
    });
    found.collect()
}

impl Edit<'_> {
    /// Deletes the libraries of these names and keeps the others, then keeps `added`. Reads all.
    pub fn change_libraries(&mut self, deleted: &[Bytes], added: &[StoredLibrary]) -> Result<()> {
        let mut all = stored_libraries(&self.txn)?;
        for name in deleted {
            self.txn.delete(Bytes::copy_from_slice(&key::library(name)));
        }
        all.retain(|library| !deleted.contains(&library.name));
        for StoredLibrary { name, code } in added {
            self.txn.put(Bytes::copy_from_slice(&key::library(name)), code.clone());
            all.retain(|library| library.name != *name);
        }
        all.extend_from_slice(added);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let digest = Bytes::copy_from_slice(&key::library(b""));
        if all.is_empty() {
            self.txn.delete(digest);
        } else {
            let mut hash = Sha1::new();
            for StoredLibrary { name, code } in &all {
                for part in [name, code] {
                    hash.update((part.len() as u64).to_le_bytes());
                    hash.update(part);
                }
            }
            self.txn.put(digest, Bytes::copy_from_slice(&hash.finalize()));
        }
        let changes = deleted.len() + added.len();
        self.count_changes(u64::try_from(changes).unwrap_or(u64::MAX));
        Ok(())
    }
}
