//! What many keys need, asked for before they are looked up.

use smallvec::SmallVec;

use super::exploded::hash_of;
use super::root::RootRef;
use super::{Body, Edit, Layout, Meta, View, key};
use crate::engine::{Read, Result};

/// So many keys are asked for together: what one needs is not pushed out by the others.
pub const KEYS_AT_ONCE: usize = 16;
/// Fewer are looked up at once.
const WORTH_IT: usize = 4;

/// Brings the metadata records of `keys` of database `db` into the processor's cache, and the records of
/// `elements`, as [`Edit::prefetch`] and [`Edit::prefetch_elements`]. Fails only where a record is damaged.
pub fn prefetch<'k>(
    read: &dyn Read,
    db: u16,
    keys: impl IntoIterator<Item = &'k [u8]>,
    elements: &[(&[u8], &[u8])],
) -> Result<()> {
    let keyspace = RootRef::parse(read.root())?.database(db).keyspace;
    prefetch_metas(read, keyspace, keys);
    prefetch_elements(read, keyspace, elements)
}

/// As [`Edit::prefetch_elements`].
fn prefetch_elements(read: &dyn Read, keyspace: u32, elements: &[(&[u8], &[u8])]) -> Result<()> {
    for elements in elements.chunk_by(|(a, _), (b, _)| a == b) {
        if elements.len() < WORTH_IT {
            continue;
        }
        let Some((collection, _)) = elements.first() else { continue };
        let Some(generation) = generation(read, keyspace, collection)? else { continue };
        let element =
            |(_, name): &(&[u8], &[u8])| key::element(keyspace, generation, hash_of(name), name);
        let keys: SmallVec<[key::KeyBuf; KEYS_AT_ONCE]> = elements.iter().map(element).collect();
        let keys: SmallVec<[&[u8]; KEYS_AT_ONCE]> = keys.iter().map(|key| &key[..]).collect();
        read.prefetch(&keys);
    }
    Ok(())
}

/// Of a collection that has a record for each element.
fn generation(read: &dyn Read, keyspace: u32, user_key: &[u8]) -> Result<Option<u64>> {
    let Some(record) = read.get(&key::meta(keyspace, user_key))? else { return Ok(None) };
    Ok(match Meta::decode(&record)?.body {
        Body::Collection(collection) => match collection.layout {
            Layout::Exploded { generation } | Layout::Ordered { generation, .. } => {
                Some(generation)
            }
            _ => None,
        },
        _ => None,
    })
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
    /// Brings the metadata records of keys into the processor's cache, as far as they are in memory: a
    /// hint. For keys that are looked up next, best [`KEYS_AT_ONCE`].
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        prefetch_metas(self.read(), self.keyspace(), keys);
    }
}

impl Edit<'_> {
    /// As [`View::prefetch`].
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        prefetch_metas(&self.txn, self.keyspace, keys);
    }

    /// Brings the records of elements into the processor's cache, as far as they are in memory: a hint.
    /// An element is told by the key of its collection and its name; those of one collection come one
    /// behind the other. Fails where a record is damaged.
    pub fn prefetch_elements(&self, elements: &[(&[u8], &[u8])]) -> Result<()> {
        prefetch_elements(&self.txn, self.keyspace, elements)
    }
}
