//! The indexes of expiries against the keys that expire, and back.

use bytes::Bytes;

use super::database::{FORWARD, Promised, Walk, metas};
use super::{key, ledger_of};
use crate::data::Meta;
use crate::engine::{KeyRange, Read, Result};

/// An index by time.
#[derive(Clone, Copy)]
struct Index {
    name: &'static str,
    range: fn(u32, u64, u64) -> KeyRange,
    key: fn(u32, u64, &[u8]) -> Bytes,
    /// When the key is due, and the value of its entry.
    entry: fn(&Meta) -> Option<(u64, Bytes)>,
}

const EXPIRIES: Index = Index {
    name: "index of expiries",
    range: key::expiry_range,
    key: key::expiry,
    entry: |meta| {
        let value = key::expiry_value(meta.generation(), meta.next_field_expiry());
        Some((meta.expires_ms?, value))
    },
};

const FIELD_EXPIRIES: Index = Index {
    name: "index of expiries of fields",
    range: key::field_expiry_range,
    key: key::field_expiry,
    entry: |meta| Some((meta.next_field_expiry()?, Bytes::new())),
};

impl Walk<'_, '_> {
    /// Every key that expires, or fields of which do, has its entry, and every entry its key.
    pub(super) fn check_indexes(&mut self, promised: &Promised) -> Result<()> {
        let pairs = [(EXPIRIES, promised.expiries), (FIELD_EXPIRIES, promised.field_expiries)];
        for (index, of_keys) in pairs {
            let range = (index.range)(self.keyspace(), 0, u64::MAX);
            if ledger_of(self.read, range)? != of_keys {
                let wrong = format!("the {} is not that of the keys", index.name);
                self.name_with(&wrong, |walk| {
                    walk.name_missing_entries(index)?;
                    walk.name_stray_entries(index)
                })?;
            }
        }
        Ok(())
    }

    fn name_missing_entries(&mut self, index: Index) -> Result<()> {
        for found in metas(self.read, self.keyspace()) {
            let (user_key, _, Ok(meta)) = found? else { continue };
            let Some((at_ms, value)) = (index.entry)(&meta) else { continue };
            let entry = self.read.get(&(index.key)(self.keyspace(), at_ms, &user_key))?;
            let name = index.name;
            match entry {
                Some(entry) if entry == value => {}
                Some(_) => {
                    let what = format!("its entry in the {name} names another value");
                    self.report(Some(&user_key), what);
                }
                None => {
                    let what = format!("it has no entry in the {name}, for {at_ms} ms");
                    self.report(Some(&user_key), what);
                }
            }
        }
        Ok(())
    }

    fn name_stray_entries(&mut self, index: Index) -> Result<()> {
        let read: &dyn Read = self.read;
        for pair in read.scan((index.range)(self.keyspace(), 0, u64::MAX), FORWARD) {
            let Some((at_ms, user_key)) = key::parse_expiry(&pair?.0) else { continue };
            let record = read.get(&key::meta(self.keyspace(), &user_key))?;
            let meta = record.and_then(|record| Meta::decode(&record).ok());
            let due_ms = meta.as_ref().and_then(index.entry).map(|(due_ms, _)| due_ms);
            if due_ms != Some(at_ms) {
                let name = index.name;
                let what = match meta {
                    None => format!("an entry of the {name} leads to no key, for {at_ms} ms"),
                    Some(_) => format!("an entry of the {name} has another time, {at_ms} ms"),
                };
                self.report(Some(&user_key), what);
            }
        }
        Ok(())
    }
}
