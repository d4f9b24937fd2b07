//! A Redis database in a transaction, for writes.
//!
//! Every change of a key goes through [`Edit::replace`], which keeps four things in step in the
//! one transaction: the metadata record, the expiry index, the generation record, and the counts
//! in the root record.

use bytes::Bytes;

use super::{Context, Meta, ReadOutcome, View, key, root::Root};
use crate::engine::{Changes, Read, Result, Txn};

/// What a transaction has done besides its changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EditOutcome {
    /// Changes of keys, for `rdb_changes_since_last_save`.
    pub dirty: u64,
    /// Keys that were deleted because they had expired.
    pub expired: u64,
    /// Keys that were looked up for reading and found.
    pub hits: u64,
    /// Keys that were looked up for reading and not found.
    pub misses: u64,
    /// Whether a database was emptied that held keys: see [`super::dropped_ranges`].
    pub dropped: bool,
}

/// A Redis database in a transaction. A key that has expired is deleted when it is met.
pub struct Edit<'a> {
    pub(super) txn: Txn<'a>,
    pub(super) root: Root,
    pub(super) keyspace: u32,
    context: Context<'a>,
    outcome: EditOutcome,
}

impl<'a> Edit<'a> {
    /// The database `context.db` in `txn`. Fails only where the root record is damaged.
    pub fn new(txn: Txn<'a>, context: Context<'a>) -> Result<Self> {
        let root = Root::parse(txn.root())?;
        let keyspace = root.database(context.db).keyspace;
        Ok(Self { txn, root, keyspace, context, outcome: EditOutcome::default() })
    }

    /// Ends the transaction and hands out its changes.
    pub fn finish(mut self) -> Result<(Changes, EditOutcome)> {
        self.store_root()?;
        Ok((self.txn.into_changes(), self.outcome))
    }

    /// Runs a read over the transaction, its own changes included, and deletes the expired keys
    /// that it has met.
    pub fn read<T>(&mut self, read: impl FnOnce(&View<'_>) -> T) -> Result<T> {
        self.store_root()?;
        let view = View::new(&self.txn, self.context)?;
        let answer = read(&view);
        let outcome = view.outcome();
        self.outcome.hits += outcome.hits;
        self.outcome.misses += outcome.misses;
        self.reap(&outcome)?;
        Ok(answer)
    }

    /// Deletes those keys of `outcome` that have expired by now.
    pub fn reap(&mut self, outcome: &ReadOutcome) -> Result<()> {
        for key in &outcome.expired {
            self.find(key)?;
        }
        Ok(())
    }

    /// What the call knows besides the records.
    #[must_use]
    pub fn context(&self) -> &Context<'a> {
        &self.context
    }

    /// Works on `db` from now on.
    pub fn select(&mut self, db: u16) {
        self.context.db = db;
        self.keyspace = self.root.database(db).keyspace;
    }

    /// Looks up `key` for a change; counts no hit or miss.
    pub fn find(&mut self, key: &[u8]) -> Result<Option<Meta>> {
        let Some(record) = self.txn.get(&key::meta(self.keyspace, key))? else { return Ok(None) };
        let meta = Meta::decode(&record)?;
        if meta.is_expired(self.context.now_ms) {
            self.put(key, Some(&meta), None);
            self.outcome.expired += 1;
            return Ok(None);
        }
        self.touch(key);
        Ok(Some(meta))
    }

    /// Looks up `key` for a change that also answers its value: counts a hit or a miss.
    pub fn find_for_answer(&mut self, key: &[u8]) -> Result<Option<Meta>> {
        let found = self.find(key)?;
        let counter =
            if found.is_some() { &mut self.outcome.hits } else { &mut self.outcome.misses };
        *counter += 1;
        Ok(found)
    }

    /// Deletes `key`, which [`Self::find`] has found.
    pub fn delete(&mut self, key: &[u8], meta: &Meta) {
        self.replace(key, Some(meta), None);
    }

    /// Sets or clears the expiry of `key`, which [`Self::find`] has found.
    pub fn set_expiry(&mut self, key: &[u8], meta: &Meta, expires_ms: Option<u64>) {
        let new = Meta { expires_ms, ..meta.clone() };
        self.replace(key, Some(meta), Some(&new));
    }

    /// Gives `from`, which [`Self::find`] has found, the name `to`, whatever that held.
    pub fn rename(&mut self, from: &[u8], meta: &Meta, to: &[u8]) -> Result<()> {
        let target = self.find(to)?;
        self.replace(from, Some(meta), None);
        self.replace(to, target.as_ref(), Some(meta));
        Ok(())
    }

    /// Empties a database.
    pub fn flush(&mut self, db: u16) {
        let keys = self.root.database(db).keys;
        self.outcome.dirty += keys;
        self.outcome.dropped |= keys > 0;
        self.root.flush(db);
        self.select(self.context.db);
    }

    /// Empties all databases.
    pub fn flush_all(&mut self) {
        let databases: Vec<u16> = self.root.databases().map(|entry| entry.db).collect();
        for db in databases {
            self.flush(db);
        }
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: u16, b: u16) {
        self.root.swap(a, b);
        self.outcome.dirty += 1;
        self.select(self.context.db);
    }

    /// Replaces what is known of `key`: `old` is what is stored, `new` what shall be.
    pub(super) fn replace(&mut self, key: &[u8], old: Option<&Meta>, new: Option<&Meta>) {
        self.replace_counted(key, old, new, 1);
    }

    /// As [`Self::replace`], counted as so many changes.
    pub(super) fn replace_counted(
        &mut self,
        key: &[u8],
        old: Option<&Meta>,
        new: Option<&Meta>,
        changes: u64,
    ) {
        self.put(key, old, new);
        self.outcome.dirty += changes;
        if old.is_none() && new.is_some() {
            self.context.access.create(self.keyspace, key, self.context.now_ms);
        }
    }

    /// Counts changes that were done together with another one.
    pub fn count_changes(&mut self, changes: u64) {
        self.outcome.dirty += changes;
    }

    /// Counts keys that active expiry has deleted by their index records alone.
    pub(super) fn count_expired(&mut self, keys: u64) {
        self.outcome.expired += keys;
    }

    fn put(&mut self, key: &[u8], old: Option<&Meta>, new: Option<&Meta>) {
        self.put_generation(old, new);
        self.put_expiry(key, old, new);
        let count = |meta: Option<&Meta>| i64::from(meta.is_some());
        let count_expiry =
            |meta: Option<&Meta>| i64::from(meta.is_some_and(|m| m.expires_ms.is_some()));
        self.root.add(
            self.context.db,
            count(new) - count(old),
            count_expiry(new) - count_expiry(old),
        );
        let engine_key = Bytes::copy_from_slice(&key::meta(self.keyspace, key));
        match new {
            Some(meta) => self.txn.put(engine_key, meta.encode()),
            None => self.txn.delete(engine_key),
        }
    }

    fn put_generation(&mut self, old: Option<&Meta>, new: Option<&Meta>) {
        let (before, after) = (old.and_then(Meta::generation), new.and_then(Meta::generation));
        if before == after {
            return;
        }
        if let Some(generation) = before {
            let record = key::generation(self.keyspace, generation);
            self.txn.delete(Bytes::copy_from_slice(&record));
        }
        if let Some(generation) = after {
            let record = key::generation(self.keyspace, generation);
            self.txn.put(Bytes::copy_from_slice(&record), Bytes::new());
        }
    }

    fn put_expiry(&mut self, key: &[u8], old: Option<&Meta>, new: Option<&Meta>) {
        let index = |meta: &Meta| Some((meta.expires_ms?, meta.generation()));
        let (before, after) = (old.and_then(index), new.and_then(index));
        if before == after {
            return;
        }
        if let Some((at_ms, _)) = before
            && after.is_none_or(|(new_ms, _)| new_ms != at_ms)
        {
            self.txn.delete(key::expiry(self.keyspace, at_ms, key));
        }
        if let Some((at_ms, generation)) = after {
            let value = generation.map_or_else(Bytes::new, |generation| {
                Bytes::copy_from_slice(&generation.to_le_bytes())
            });
            self.txn.put(key::expiry(self.keyspace, at_ms, key), value);
        }
    }

    fn touch(&self, key: &[u8]) {
        if self.context.touch {
            self.context.access.touch(self.keyspace, key, self.context.now_ms);
        }
    }

    fn store_root(&mut self) -> Result<()> {
        if let Some(root) = self.root.take_changed()? {
            self.txn.set_root(root);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edit")
            .field("context", &self.context)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
