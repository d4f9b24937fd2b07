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

/// What [`library_digest`] answers of these libraries, which are all, in order.
pub(super) fn digest_of(all: &[StoredLibrary]) -> Bytes {
    if all.is_empty() {
        return Bytes::new();
    }
    let mut hash = Sha1::new();
    for StoredLibrary { name, code } in all {
        for part in [name, code] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    Bytes::copy_from_slice(&hash.finalize())
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
            self.txn.put(digest, digest_of(&all));
        }
        let changes = deleted.len() + added.len();
        self.count_changes(u64::try_from(changes).unwrap_or(u64::MAX));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::model::Store;
    use crate::data::verify::verify;
    use crate::data::{Access, Candidates, Context, Cursors, EventClasses, Packing};
    use crate::env::UNBOUNDED_MEMORY;

    /// Changes the libraries of a store, and checks what it holds then.
    fn change(store: &mut Store, deleted: &[&'static str], added: &[StoredLibrary]) {
        let (access, cursors) = (Access::new(1 << 12, 0), Cursors::default());
        let context = Context {
            now_ms: 0,
            db: 0,
            databases: 16,
            string_bytes_max: 1 << 20,
            hll_sparse_bytes_max: 3000,
            packing: Packing::DEFAULT,
            access: &access,
            orders: &crate::data::NO_KNOWN_ORDERS,
            touch: true,
            in_script: false,
            cursors: &cursors,
            candidates: &Candidates::default(),
            warms: false,
            memory: &UNBOUNDED_MEMORY,
            events: EventClasses::default(),
        };
        let mut edit = Edit::new(store.txn(), context).unwrap();
        let deleted: Vec<Bytes> = deleted.iter().map(|name| Bytes::from(*name)).collect();
        edit.change_libraries(&deleted, added).unwrap();
        let (changes, _) = edit.finish().unwrap();
        store.commit(changes);
        verify(&*store, &mut |damage| panic!("{damage}")).unwrap();
    }

    fn library(name: &'static str, code: &'static str) -> StoredLibrary {
        StoredLibrary { name: name.into(), code: code.into() }
    }

    #[test]
    fn libraries_are_kept_replaced_and_deleted() {
        let mut store = Store::default();
        assert_eq!(library_digest(&store).unwrap(), "");
        change(&mut store, &[], &[library("b", "1"), library("a", "2")]);
        let first = library_digest(&store).unwrap();
        assert_eq!(stored_libraries(&store).unwrap(), [library("a", "2"), library("b", "1")]);
        change(&mut store, &[], &[library("b", "3")]);
        assert_ne!(library_digest(&store).unwrap(), first);
        change(&mut store, &["a"], &[library("b", "1"), library("a", "2")]);
        assert_eq!(library_digest(&store).unwrap(), first, "it tells what is there, not how");
        change(&mut store, &["a", "b"], &[]);
        assert_eq!(stored_libraries(&store).unwrap(), []);
        assert_eq!(library_digest(&store).unwrap(), "");
    }
}
