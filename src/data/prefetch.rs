//! What keys of a pipeline need, asked for before their commands run.

use smallvec::SmallVec;

use super::key;
use super::root::RootRef;
use crate::engine::{Read, Result};

/// Brings the metadata records of `keys` of database `db` into the processor's cache, as far as they
/// are in memory: a hint. Fails only where the root record is damaged.
pub fn prefetch<'k>(
    read: &dyn Read,
    db: u16,
    keys: impl IntoIterator<Item = &'k [u8]>,
) -> Result<()> {
    let keyspace = RootRef::parse(read.root())?.database(db).keyspace;
    let keys: SmallVec<[key::KeyBuf; 16]> =
        keys.into_iter().map(|user_key| key::meta(keyspace, user_key)).collect();
    let keys: SmallVec<[&[u8]; 16]> = keys.iter().map(|key| &key[..]).collect();
    read.prefetch(&keys);
    Ok(())
}
