//! What a run of several calls has read and modified.

use std::collections::HashMap;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::data::Modified;
use crate::engine::BuildKeyHasher;

/// What an entry takes beside its key.
const ENTRY_BYTES: usize = 2 * size_of::<Entry>();

/// What a call has done that those who keep copies have to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It has read a key of a database for a client that keeps copies.
    Read(u16, Bytes),
    /// It has modified something.
    Modified(Modified),
}

/// What the calls of a run have done, in order, as far as the order makes a difference: a script may
/// read and modify one key any number of times. What was modified twice is told once, and only what
/// was read last, and first, matters.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    keys: Vec<Option<Entry>>,
    places: HashMap<Bytes, usize, BuildKeyHasher>,
    bytes: usize,
}

/// What was done with a key.
#[derive(Debug)]
struct Entry {
    /// The databases in which it was read.
    dbs: SmallVec<[u16; 4]>,
    key: Bytes,
    read_before: bool,
    /// Whether it was modified; last because it had expired.
    modified: Option<bool>,
    read_behind: bool,
}

impl Trail {
    /// Notes what was done.
    pub(crate) fn note(&mut self, noted: Noted) {
        match noted {
            Noted::Read(db, key) => {
                let entry = self.entry(&key);
                if !entry.dbs.contains(&db) {
                    entry.dbs.push(db);
                }
                if entry.modified.is_some() {
                    entry.read_behind = true;
                } else {
                    entry.read_before = true;
                }
            }
            Noted::Modified(Modified::Key { key, expired }) => {
                let entry = self.entry(&key);
                entry.read_before |= std::mem::take(&mut entry.read_behind);
                entry.modified = Some(expired);
            }
            Noted::Modified(Modified::All) => {
                self.keys.push(None);
                self.places.clear();
            }
        }
    }

    /// Hands out what was noted, in order.
    pub(crate) fn into_notes(self) -> impl Iterator<Item = Noted> {
        self.keys.into_iter().flat_map(|entry| {
            let Some(Entry { dbs, key, read_before, modified, read_behind }) = entry else {
                return SmallVec::from_iter([Noted::Modified(Modified::All)]);
            };
            let mut notes = SmallVec::<[Noted; 1]>::new();
            let reads = dbs.iter().map(|db| Noted::Read(*db, key.clone()));
            if read_before {
                notes.extend(reads.clone());
            }
            if let Some(expired) = modified {
                notes.push(Noted::Modified(Modified::Key { key: key.clone(), expired }));
            }
            if read_behind {
                notes.extend(reads);
            }
            notes
        })
    }

    /// What it holds, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it may hold more with this key.
    pub(crate) fn bytes_with(key: &[u8]) -> usize {
        key.len() + ENTRY_BYTES
    }

    fn entry(&mut self, key: &Bytes) -> &mut Entry {
        let at = *self.places.entry(key.clone()).or_insert_with(|| {
            // The words of a request are parts of the read buffer.
            let (key, modified) = (Bytes::copy_from_slice(key), None);
            self.bytes += Self::bytes_with(&key);
            let dbs = SmallVec::new();
            let entry = Entry { dbs, key, read_before: false, modified, read_behind: false };
            self.keys.push(Some(entry));
            self.keys.len() - 1
        });
        self.keys[at].as_mut().expect("places are those of keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(noted: &str) -> String {
        let mut trail = Trail::default();
        let key = |c: char| Bytes::from(c.to_lowercase().to_string());
        for c in noted.chars() {
            trail.note(match c {
                '*' => Noted::Modified(Modified::All),
                c if c.is_uppercase() => {
                    Noted::Modified(Modified::Key { key: key(c), expired: false })
                }
                c => Noted::Read(0, key(c)),
            });
        }
        let told = trail.into_notes().map(|noted| match noted {
            Noted::Read(_, key) => String::from_utf8_lossy(&key).into_owned(),
            Noted::Modified(Modified::Key { key, .. }) => {
                String::from_utf8_lossy(&key).to_uppercase()
            }
            Noted::Modified(Modified::All) => "*".to_owned(),
        });
        told.collect()
    }

    #[test]
    fn a_key_is_read_in_each_database() {
        let mut trail = Trail::default();
        let key = Bytes::from_static(b"k");
        for db in [3, 5, 3] {
            trail.note(Noted::Read(db, key.clone()));
        }
        assert_eq!(trail.bytes(), Trail::bytes_with(b"k"));
        let told: Vec<Noted> = trail.into_notes().collect();
        assert_eq!(told, [Noted::Read(3, key.clone()), Noted::Read(5, key)]);
    }

    #[test]
    fn what_makes_no_difference_is_left_out() {
        // Small letters are reads, capitals modifications.
        for (noted, told) in [
            ("aaa", "a"),
            ("AAA", "A"),
            ("aAaAaA", "aA"),
            ("aAaAa", "aAa"),
            ("Aa", "Aa"),
            ("AaA", "aA"),
            ("aBAb", "aABb"),
            ("aA*aA*", "aA*aA*"),
        ] {
            assert_eq!(reduced(noted), told, "{noted}");
        }
    }
}
