//! A Redis database in a transaction, for writes.
//!
//! Every change of a key goes through [`Edit::replace`], which keeps five things in step in the
//! one transaction: the metadata record, the expiry index, the index of fields that expire, the
//! generation record, and the counts in the root record.

use bytes::Bytes;

use super::{
    Collection, Context, Event, EventClasses, Layout, Meta, Modified, ReadOutcome, Ready, Stream,
    View, key,
};
use super::{hash_expiry, root::Root};
use crate::engine::{
    Changes, Direction, Error, KeyRange, NAME_TOO_LONG, Pair, Read, Result, SeqNo, Txn, Writer,
};
use crate::env::Purpose;

/// Longest name of a key in bytes.
const NAME_BYTES_MAX: usize = 1 << 20;

/// What a transaction has done besides its changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EditOutcome {
    /// Changes of keys, for `rdb_changes_since_last_save`.
    pub dirty: u64,
    /// Keys that were deleted because they had expired.
    pub expired: u64,
    /// Fields that were deleted because they had expired.
    pub expired_fields: u64,
    /// Keys that were looked up for reading and found.
    pub hits: u64,
    /// Keys that were looked up for reading and not found.
    pub misses: u64,
    /// Whether a database was emptied that held keys, or a large value is gone: see
    /// [`crate::engine::Engine::reclaim`].
    pub dropped: bool,
}

impl EditOutcome {
    /// Adds what a further part of the same transaction has done.
    pub fn add(&mut self, other: &Self) {
        self.dirty += other.dirty;
        self.expired += other.expired;
        self.expired_fields += other.expired_fields;
        self.hits += other.hits;
        self.misses += other.misses;
        self.dropped |= other.dropped;
    }
}

/// A Redis database in a transaction. A key that has expired is deleted when it is met.
pub struct Edit<'a> {
    pub(super) txn: Txn<'a>,
    pub(super) root: Root,
    pub(super) keyspace: u32,
    pub(super) context: Context<'a>,
    outcome: EditOutcome,
    /// What the transactions of a run have done that were committed before.
    committed: EditOutcome,
    /// What others may wait for, where it is noted.
    pub(super) ready: Option<Vec<Ready>>,
    /// Events that somebody wants to know of.
    pub(super) events: Vec<Event>,
    /// What was modified, where somebody keeps copies.
    pub(super) modified: Vec<Modified>,
    /// Whether what was changed last, since a key was looked up, is that a key was deleted.
    pub(super) gone: bool,
    /// Whether a key was written whose name is longer than it may be: then it cannot be finished.
    is_named_too_long: bool,
}

impl<'a> Edit<'a> {
    /// The database `context.db` in `txn`, which may change as much as one command may hold. Fails
    /// only where the root record is damaged.
    #[inline]
    pub fn new(txn: Txn<'a>, context: Context<'a>) -> Result<Self> {
        if txn.is_of_writer() {
            settle(&context, txn.seq());
        }
        let root = Root::parse(txn.root())?;
        let keyspace = root.database(context.db).keyspace;
        Ok(Self {
            txn: txn.with_room(context.memory.room(Purpose::Changes)),
            root,
            keyspace,
            context,
            outcome: EditOutcome::default(),
            committed: EditOutcome::default(),
            ready: None,
            events: Vec::new(),
            modified: Vec::new(),
            gone: false,
            is_named_too_long: false,
        })
    }

    /// Begins the next transaction of a run ([`crate::engine::Writer::begin_run`]) in database `db` at
    /// `now_ms`, of which somebody wants to know `events`: behind [`Self::commit`] or [`Self::undo`], or as
    /// the first.
    pub fn begin(&mut self, db: u16, now_ms: u64, events: EventClasses) {
        self.context.now_ms = now_ms;
        self.context.events = events;
        if self.context.db != db {
            self.select(db);
        }
        settle(&self.context, self.txn.seq());
    }

    /// Commits what this transaction of a run has changed. Where it fails nothing is committed, and
    /// [`Self::undo`] goes on.
    pub fn commit(&mut self) -> Result<()> {
        self.check_names()?;
        self.store_root()?;
        self.txn.commit()?;
        self.committed.add(&std::mem::take(&mut self.outcome));
        Ok(())
    }

    /// Undoes what this transaction of a run has done so far, or has tried to commit. Fails only where
    /// the root record is damaged.
    pub fn undo(&mut self) -> Result<()> {
        self.txn.undo();
        self.is_named_too_long = false;
        self.outcome = EditOutcome::default();
        self.ready.iter_mut().for_each(Vec::clear);
        self.events.clear();
        self.modified.clear();
        self.root = Root::parse(self.txn.root())?;
        self.keyspace = self.root.database(self.context.db).keyspace;
        Ok(())
    }

    /// Bytes in the open batch of the writer, of a transaction that it has begun.
    #[must_use]
    pub fn open_bytes(&self) -> usize {
        self.txn.writer().map_or(0, Writer::open_bytes)
    }

    /// Whether anybody is to be told of events, or of what was modified.
    #[must_use]
    pub fn has_told(&self) -> bool {
        !self.events.is_empty() || !self.modified.is_empty()
    }

    /// What the transactions of a run have done that were committed.
    #[must_use]
    pub fn committed(&self) -> &EditOutcome {
        &self.committed
    }

    /// Whether the writer takes the next transaction of a run, or one that only deletes.
    pub fn check_begin(&self, frees: bool) -> Result<()> {
        match self.txn.writer() {
            Some(writer) if frees => writer.check_freeing(),
            Some(writer) => writer.check_writable(),
            None => Ok(()),
        }
    }

    /// Ends the transaction and hands out its changes. Fails with [`Error::Limit`] where it has written a
    /// key whose name is too long.
    pub fn finish(mut self) -> Result<(Changes, EditOutcome)> {
        self.check_names()?;
        self.store_root()?;
        self.txn.check_room()?;
        Ok((self.txn.into_changes(), self.outcome))
    }

    fn check_names(&self) -> Result<()> {
        if self.is_named_too_long { Err(Error::Limit(NAME_TOO_LONG)) } else { Ok(()) }
    }

    /// Whether the transaction does more than others can wait for.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.txn.is_exhausted()
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
        for key in &outcome.missed {
            self.notify(EventClasses::MISS, "keymiss", key);
        }
        Ok(answer)
    }

    /// Deletes those keys of `outcome` that have expired by now, and expired fields of the others.
    pub fn reap(&mut self, outcome: &ReadOutcome) -> Result<()> {
        let now_ms = self.context.now_ms;
        for key in &outcome.expired {
            if let Some(meta) = self.find(key)?
                && meta.next_field_expiry().is_some_and(|at_ms| at_ms <= now_ms)
            {
                self.expire_fields(key, meta, hash_expiry::REAPED_FIELDS_MAX)?;
            }
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
        self.gone = false;
        let Some(meta) = self.stored(key)? else { return Ok(None) };
        if meta.is_expired(self.context.now_ms) {
            self.put(key, Some(&meta), None);
            self.note_change(key, Some(&meta), None);
            self.note_modified(key, true);
            self.outcome.expired += 1;
            self.notify(EventClasses::EXPIRED, "expired", key);
            return Ok(None);
        }
        self.touch(key);
        Ok(Some(meta))
    }

    /// What is stored of `key`, expired or not.
    pub(super) fn stored(&self, key: &[u8]) -> Result<Option<Meta>> {
        let found = self.txn.newest(&key::meta(self.keyspace, key))?;
        found.map_or(Ok(None), Meta::of)
    }

    /// Looks up `key` for a change that also answers its value: counts a hit or a miss.
    pub fn find_for_answer(&mut self, key: &[u8]) -> Result<Option<Meta>> {
        let found = self.find(key)?;
        let counter =
            if found.is_some() { &mut self.outcome.hits } else { &mut self.outcome.misses };
        *counter += 1;
        if found.is_none() {
            self.notify(EventClasses::MISS, "keymiss", key);
        }
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
        if target.is_some() {
            // As if what was there had been deleted before.
            self.notify(EventClasses::NEW, "new", to);
        }
        self.replace(from, Some(meta), None);
        self.replace_counted(to, target.as_ref(), Some(meta), 0);
        Ok(())
    }

    /// Empties a database.
    pub fn flush(&mut self, db: u16) {
        let keys = self.root.database(db).keys;
        self.outcome.dirty += keys;
        self.outcome.dropped |= keys > 0;
        self.note_database(db);
        self.note_all_modified();
        self.root.flush(db);
        self.select(self.context.db);
    }

    /// Empties all databases.
    pub fn flush_all(&mut self) {
        let databases: Vec<u16> = self.root.databases().map(|entry| entry.db).collect();
        self.note_all_modified();
        for db in databases {
            self.flush(db);
        }
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: u16, b: u16) {
        self.root.swap(a, b);
        self.outcome.dirty += 1;
        self.note_database(a);
        self.note_database(b);
        if a != b {
            self.note_all_modified();
        }
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
        // Whatever is written from what was read is a change of the entries, too.
        let heard = new.filter(|meta| meta.stream().is_some_and(Stream::is_quiet)).map(Meta::heard);
        self.put(key, old, heard.as_ref().or(new));
        self.note_change(key, old, new);
        self.note_modified(key, false);
        self.outcome.dirty += changes;
        self.gone = old.is_some() && new.is_none();
        if old.is_none() && new.is_some() {
            self.notify(EventClasses::NEW, "new", key);
            self.context.access.create(self.keyspace, key, self.context.now_ms);
        }
    }

    /// As [`Self::replace`], for a plain string ([`Meta::is_plain`]) where there was such a one or nothing.
    pub(super) fn replace_plain(&mut self, key: &[u8], is_new: bool, record: Bytes) {
        self.is_named_too_long |= key.len() > NAME_BYTES_MAX;
        self.txn.put(key::meta_bytes(self.keyspace, key), record);
        self.note_modified(key, false);
        self.outcome.dirty += 1;
        self.gone = false;
        if is_new {
            self.root.add(self.context.db, 1, 0);
            self.notify(EventClasses::NEW, "new", key);
            self.context.access.create(self.keyspace, key, self.context.now_ms);
        }
    }

    /// As [`Self::replace_counted`], for a stream the entries of which stay the same: those who watch it,
    /// or keep copies, do not take notice.
    pub(super) fn replace_quietly(
        &mut self,
        key: &[u8],
        old: Option<&Meta>,
        new: &Meta,
        changes: u64,
    ) {
        self.put(key, old, Some(new));
        self.note_change(key, old, Some(new));
        self.outcome.dirty += changes;
        self.gone = false;
    }

    /// Whether the call is alone in a run that only warms: what it writes and does not read itself
    /// can be left out.
    pub(super) fn only_warms(&self) -> bool {
        self.context.warms && !self.txn.is_inner()
    }

    /// Counts changes that were done together with another one.
    pub fn count_changes(&mut self, changes: u64) {
        self.outcome.dirty += changes;
    }

    /// Counts what was done together with another change as part of that.
    pub fn uncount_changes(&mut self, changes: u64) {
        self.outcome.dirty = self.outcome.dirty.saturating_sub(changes);
    }

    /// As [`Self::replace`], for so many changes of elements.
    pub(super) fn replace_collection(
        &mut self,
        key: &[u8],
        old: Option<&Meta>,
        new: Option<&Meta>,
        changes: u64,
    ) {
        self.replace(key, old, new);
        self.outcome.dirty += changes.saturating_sub(1);
    }

    /// Deletes the collection at `key`, of so many elements, which [`Self::find`] has found.
    pub fn delete_collection(&mut self, key: &[u8], meta: &Meta, elements: u64) {
        self.replace_collection(key, Some(meta), None, elements);
    }

    /// Counts keys that active expiry has deleted by their index records alone.
    pub(super) fn count_expired(&mut self, keys: u64) {
        self.outcome.expired += keys;
    }

    /// Counts fields that were deleted because they had expired.
    pub(super) fn count_expired_fields(&mut self, fields: u64) {
        self.outcome.expired_fields += fields;
    }

    /// A generation that was never used before.
    pub(super) fn next_generation(&mut self) -> u64 {
        let generation = self.root.next_generation();
        // A transaction that was dropped may have had it.
        self.context.candidates.forget(generation);
        generation
    }

    /// Whether the transaction stands on the newest state itself.
    pub(super) fn is_over_newest(&self) -> bool {
        self.txn.is_over_newest()
    }

    /// The sequence number that the transaction takes if it is committed.
    pub(super) fn seq(&self) -> SeqNo {
        self.txn.seq()
    }

    /// Copies the element records of a collection, if it has any, to database `db`, which is selected
    /// from then on. The records pass through memory.
    pub(super) fn copy_elements(&mut self, of: &Collection, db: u16) -> Result<Collection> {
        match of.generation() {
            Some(generation) => {
                let generation = self.copy_records(generation, db)?;
                let layout = match &of.layout {
                    Layout::Ordered { counts, .. } => {
                        Layout::Ordered { generation, counts: counts.clone() }
                    }
                    _ => Layout::Exploded { generation },
                };
                Ok(Collection { layout, ..of.clone() })
            }
            None => {
                self.select(db);
                Ok(of.clone())
            }
        }
    }

    /// As [`Self::copy_elements`], for the element records of any kind of value; their new generation.
    pub(super) fn copy_records(&mut self, generation: u64, db: u16) -> Result<u64> {
        let range = key::elements(self.keyspace, generation, 0, None);
        if self.only_warms() {
            self.txn.visit(range, Direction::Forward, &mut |_, _| true)?;
            self.select(db);
            return Ok(self.next_generation());
        }
        let pairs = self.gather_records(range)?;
        self.select(db);
        let generation = self.next_generation();
        self.txn.expect(pairs.len());
        for (engine_key, record) in pairs {
            self.txn.check_room()?;
            let part = key::parse_part(&engine_key);
            let engine_key = key::part(self.keyspace, generation, &part, b"");
            self.txn.put(Bytes::copy_from_slice(&engine_key), record);
        }
        Ok(generation)
    }

    /// All records of a range, as many as a command may hold.
    pub(super) fn gather_records(&self, range: KeyRange) -> Result<Vec<Pair>> {
        let room = self.context.memory.room(Purpose::Working);
        let mut pairs = Vec::new();
        for pair in self.txn.scan(range, Direction::Forward) {
            let pair = pair?;
            room.take(pair.0.len() + pair.1.len() + size_of::<Pair>())?;
            pairs.push(pair);
        }
        Ok(pairs)
    }

    fn put(&mut self, key: &[u8], old: Option<&Meta>, new: Option<&Meta>) {
        self.put_generation(old, new);
        self.put_expiry(key, old, new);
        self.put_field_expiry(key, old, new);
        let count = |meta: Option<&Meta>| i64::from(meta.is_some());
        let count_expiry =
            |meta: Option<&Meta>| i64::from(meta.is_some_and(|m| m.expires_ms.is_some()));
        self.root.add(
            self.context.db,
            count(new) - count(old),
            count_expiry(new) - count_expiry(old),
        );
        let engine_key = key::meta_bytes(self.keyspace, key);
        match new {
            Some(meta) => {
                self.is_named_too_long |= key.len() > NAME_BYTES_MAX;
                self.txn.put(engine_key, meta.encode());
            }
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
            self.outcome.dropped |= old.is_some_and(Meta::is_large);
        }
        if let Some(generation) = after {
            let record = key::generation(self.keyspace, generation);
            let start = new.and_then(Meta::stream).and_then(Stream::start);
            let value = start.map_or_else(Bytes::new, |start| key::generation_from(&start));
            self.txn.put(Bytes::copy_from_slice(&record), value);
        }
    }

    fn put_expiry(&mut self, key: &[u8], old: Option<&Meta>, new: Option<&Meta>) {
        let index =
            |meta: &Meta| Some((meta.expires_ms?, (meta.generation(), meta.next_field_expiry())));
        let (before, after) = (old.and_then(index), new.and_then(index));
        if before == after {
            return;
        }
        if let Some((at_ms, _)) = before
            && after.is_none_or(|(new_ms, _)| new_ms != at_ms)
        {
            self.txn.delete(key::expiry(self.keyspace, at_ms, key));
        }
        if let Some((at_ms, (generation, next_field_ms))) = after {
            let value = key::expiry_value(generation, next_field_ms);
            self.txn.put(key::expiry(self.keyspace, at_ms, key), value);
        }
    }

    fn put_field_expiry(&mut self, key: &[u8], old: Option<&Meta>, new: Option<&Meta>) {
        let before = old.and_then(Meta::next_field_expiry);
        let after = new.and_then(Meta::next_field_expiry);
        if before == after {
            return;
        }
        if let Some(at_ms) = before {
            self.txn.delete(key::field_expiry(self.keyspace, at_ms, key));
        }
        if let Some(at_ms) = after {
            self.txn.put(key::field_expiry(self.keyspace, at_ms, key), Bytes::new());
        }
    }

    /// Notes that `key` was used last so many seconds ago.
    pub fn set_idle(&self, key: &[u8], seconds: u64) {
        self.context.access.set_idle(self.keyspace, key, self.context.now_ms, seconds);
    }

    /// Sets the logarithmic counter of how often `key` was used.
    pub fn set_frequency(&self, key: &[u8], counter: u8) {
        self.context.access.set_frequency(self.keyspace, key, self.context.now_ms, counter);
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

/// Tells what is kept beside the records that a transaction of the writer begins, which takes this number.
#[inline]
fn settle(context: &Context<'_>, seq: SeqNo) {
    context.orders.settle(seq);
    context.candidates.settle(seq);
}

impl std::fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edit")
            .field("context", &self.context)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::data::root::RootRef;
    use crate::data::{Access, Candidates, Cursors, NO_KNOWN_ORDERS, Packing};
    use crate::engine::{Engine, KeepAll, Options, ReadMode};
    use crate::env::{SimClock, SimFs, UNBOUNDED_MEMORY};

    #[test]
    fn a_run_commits_and_undoes_its_transactions_one_by_one() {
        let (fs, clock) = (SimFs::new(1), Arc::new(SimClock::at_ms(1)));
        let options =
            Options { background_threads: 0, ..Options::for_budget(Path::new("/db"), 8 << 20) };
        let (engine, mut writer) =
            Engine::open(fs.shared(), clock, options, Arc::new(KeepAll)).unwrap();
        let (access, cursors, candidates) =
            (Access::new(1 << 12, 0), Cursors::default(), Candidates::default());
        let context = Context {
            now_ms: 0,
            db: 0,
            databases: 16,
            string_bytes_max: 1 << 20,
            hll_sparse_bytes_max: 3000,
            packing: Packing::DEFAULT,
            access: &access,
            orders: &NO_KNOWN_ORDERS,
            touch: true,
            in_script: false,
            cursors: &cursors,
            candidates: &candidates,
            warms: false,
            memory: &UNBOUNDED_MEMORY,
            events: EventClasses::default(),
        };
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let mut edit = Edit::new(writer.begin_run().unwrap(), context).unwrap();
        edit.note_ready();
        edit.begin(0, 1, EventClasses::NONE);
        edit.set_string(b"a", None, text("1"), None);
        edit.commit().unwrap();
        // What was undone has changed no record, no count, and not the database of the next.
        edit.begin(0, 2, EventClasses::NONE);
        edit.select(3);
        edit.set_string(b"a", None, text("x"), None);
        edit.set_string(b"b", None, text("x"), Some(9));
        edit.note_gone(&text("b"));
        edit.undo().unwrap();
        // What changed nothing takes no number.
        edit.begin(0, 3, EventClasses::NONE);
        assert_eq!((edit.context().db, edit.find(b"b").unwrap()), (0, None));
        edit.commit().unwrap();
        edit.begin(0, 4, EventClasses::NONE);
        let old = edit.find(b"a").unwrap();
        assert_eq!(edit.string(old.as_ref().unwrap()).unwrap(), text("1"));
        edit.set_string(b"a", old.as_ref(), text("2"), Some(50));
        edit.commit().unwrap();
        edit.begin(0, 50, EventClasses::NONE);
        assert_eq!(edit.find(b"a").unwrap(), None, "it has expired");
        edit.undo().unwrap();
        assert_eq!((edit.seq(), edit.take_ready()), (3, Vec::new()));
        assert_eq!(*edit.committed(), EditOutcome { dirty: 2, ..EditOutcome::default() });
        drop(edit);

        let batch = writer.take_batch().unwrap();
        let seq = batch.seq();
        batch.write().unwrap();
        writer.publish(seq);
        let snapshot = engine.snapshot(ReadMode::Blocking);
        let view = View::new(&snapshot, context).unwrap();
        let meta = view.inspect(b"a").unwrap().unwrap();
        assert_eq!((view.string(&meta).unwrap(), meta.expires_ms), (text("2"), Some(50)));
        let root = RootRef::parse(snapshot.root()).unwrap();
        let counts = [0, 3].map(|db| (root.database(db).keys, root.database(db).expires));
        assert_eq!((seq, counts), (2, [(1, 1), (0, 0)]));
    }
}
