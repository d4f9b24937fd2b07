//! What many keys need, asked for before they are looked up.

use smallvec::SmallVec;

use super::root::RootRef;
use super::{Edit, View, key};
use crate::engine::{Read, Result};

/// So many keys are asked for together: what one needs is not pushed out by the others.
pub const KEYS_AT_ONCE: usize = 16;
/// Fewer are looked up at once.
const WORTH_IT: usize = 4;

/// Brings the metadata records of `keys` of database `db` into the processor's cache, as far as they
/// are in memory: a hint. Fails only where the root record is damaged.
pub fn prefetch<'k>(
    read: &dyn Read,
    db: u16,
    keys: impl IntoIterator<Item = &'k [u8]>,
) -> Result<()> {
    let keyspace = RootRef::parse(read.root())?.database(db).keyspace;
    prefetch_metas(read, keyspace, keys);
    Ok(())
}

fn prefetch_metas<'k>(read: &dyn Read, keyspace: u32, keys: impl IntoIterator<Item = &'k [u8]>) {
    let keys: SmallVec<[key::KeyBuf; KEYS_AT_ONCE]> =
        keys.into_iter().map(|user_key| key::meta(keyspace, user_key)).collect();
    let keys: SmallVec<[&[u8]; KEYS_AT_ONCE]> = keys.iter().map(|key| &key[..]).collect();
    if keys.len() >= WORTH_IT {
        read.prefetch(&keys);
    }
}

impl View<'_> {
    /// As [`prefetch`], for keys that are looked up next, best [`KEYS_AT_ONCE`].
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        prefetch_metas(self.read(), self.keyspace(), keys);
    }
}

impl Edit<'_> {
    /// As [`prefetch`], for keys that are looked up next, best [`KEYS_AT_ONCE`].
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        prefetch_metas(&self.txn, self.keyspace, keys);
    }
}
