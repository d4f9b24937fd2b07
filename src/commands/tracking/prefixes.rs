//! Which clients want to know of all keys that begin with some prefix.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::engine::BuildKeyHasher;

/// The prefixes, each with the ids of its clients.
#[derive(Debug, Default)]
pub(super) struct Prefixes(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    clients: HashMap<Bytes, BTreeSet<u64>, BuildKeyHasher>,
    /// How many prefixes there are of a length: a key is looked up once for each.
    lengths: BTreeMap<usize, usize>,
}

impl Prefixes {
    /// How many prefixes there are.
    pub(super) fn len(&self) -> usize {
        self.0.read().clients.len()
    }

    pub(super) fn add(&self, prefix: &Bytes, client: u64) {
        let mut inner = self.0.write();
        if !inner.clients.contains_key(prefix) {
            *inner.lengths.entry(prefix.len()).or_default() += 1;
        }
        inner.clients.entry(prefix.clone()).or_default().insert(client);
    }

    pub(super) fn remove(&self, prefix: &Bytes, client: u64) {
        let inner = &mut *self.0.write();
        let Some(clients) = inner.clients.get_mut(prefix) else { return };
        clients.remove(&client);
        if !clients.is_empty() {
            return;
        }
        inner.clients.remove(prefix);
        if let Some(count) = inner.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                inner.lengths.remove(&prefix.len());
            }
        }
    }

    /// The prefixes with which `key` begins, the shortest first.
    pub(super) fn of(&self, key: &[u8]) -> Vec<Bytes> {
        let inner = self.0.read();
        let lengths = inner.lengths.range(..=key.len());
        let found = lengths.filter_map(|(length, _)| inner.clients.get_key_value(&key[..*length]));
        found.map(|(prefix, _)| prefix.clone()).collect()
    }

    /// The clients of a prefix.
    pub(super) fn clients(&self, prefix: &[u8]) -> Vec<u64> {
        let inner = self.0.read();
        inner.clients.get(prefix).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_prefixes_with_which_it_begins() {
        let prefixes = Prefixes::default();
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        for (prefix, client) in [("", 1), ("a", 1), ("a", 2), ("ab", 2), ("b", 3), ("abcd", 3)] {
            prefixes.add(&bytes(prefix), client);
        }
        assert_eq!(prefixes.len(), 5);
        assert_eq!(prefixes.of(b"abc"), ["", "a", "ab"]);
        assert_eq!(prefixes.of(b""), [""]);
        assert_eq!(prefixes.clients(b"a"), [1, 2]);
        prefixes.remove(&bytes("a"), 1);
        prefixes.remove(&bytes(""), 1);
        prefixes.remove(&bytes("none"), 1);
        assert_eq!(prefixes.of(b"abc"), ["a", "ab"]);
        prefixes.remove(&bytes("a"), 2);
        assert_eq!(prefixes.of(b"abc"), ["ab"]);
        assert_eq!((prefixes.len(), prefixes.clients(b"a")), (3, vec![]));
    }
}
