//! What a transaction tells those who wait for keys.

use bytes::Bytes;

use super::{Edit, KeyType, Meta};

/// A place where something has come that somebody may wait for, or from where it has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The database.
    pub db: u16,
    /// The key; all of the database where `None`.
    pub key: Option<Bytes>,
    /// Of which type it is; any where `None`.
    pub kind: Option<KeyType>,
}

impl KeyType {
    /// Whether there are commands that wait for a key to be of this type.
    #[must_use]
    pub fn is_awaited(self) -> bool {
        matches!(self, Self::List | Self::ZSet | Self::Stream)
    }
}

impl Edit<'_> {
    /// Notes from now on what others may wait for; without this nothing is noted.
    pub fn note_ready(&mut self) {
        self.ready.get_or_insert_default();
    }

    /// Hands out what was noted.
    pub fn take_ready(&mut self) -> Vec<Ready> {
        self.ready.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes a change of `key`. A stream that goes is noted as well: who reads as one of its groups is
    /// told.
    pub(super) fn note_change(&mut self, key: &[u8], old: Option<&Meta>, new: Option<&Meta>) {
        let Some(ready) = &mut self.ready else { return };
        let [new, old] = [new, old].map(|meta| meta.map(|meta| meta.kind));
        let come = new.filter(|kind| kind.is_awaited());
        let gone = old.filter(|kind| *kind == KeyType::Stream && come != old);
        let db = self.context.db;
        for kind in come.into_iter().chain(gone) {
            ready.push(Ready { db, key: Some(Bytes::copy_from_slice(key)), kind: Some(kind) });
        }
    }

    /// Notes that `key` has gone, whatever it was.
    pub(super) fn note_gone(&mut self, key: &Bytes) {
        if let Some(ready) = &mut self.ready {
            ready.push(Ready { db: self.context.db, key: Some(key.clone()), kind: None });
        }
    }

    /// Notes that all of a database has changed.
    pub(super) fn note_database(&mut self, db: u16) {
        if let Some(ready) = &mut self.ready {
            ready.push(Ready { db, key: None, kind: None });
        }
    }
}
