//! A Redis database in a consistent view, for reads.

use std::cell::{Cell, RefCell};
use std::ops::Bound;

use bytes::Bytes;

use super::{Context, EventClasses, Meta, key, root::RootRef, string};
use crate::engine::{Direction, Read, Result};

/// Expired keys that one view notes.
const EXPIRED_NOTED_MAX: usize = 1024;

/// What a read has found out besides its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Keys that were looked up and found.
    pub hits: u64,
    /// Keys that were looked up and not found.
    pub misses: u64,
    /// Keys that have expired but are still stored, or that have fields of which that is true, at most
    /// 1,024: for [`super::Edit::reap`].
    pub expired: Vec<Bytes>,
    /// Keys that were looked up and not found, where somebody wants to know of that.
    pub missed: Vec<Bytes>,
}

impl ReadOutcome {
    /// Adds what a further read of the same database has found out.
    pub fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        let room = EXPIRED_NOTED_MAX.saturating_sub(self.expired.len());
        self.expired.extend(other.expired.into_iter().take(room));
    }
}

/// A Redis database in a consistent view. Expired keys are not seen.
pub struct View<'a> {
    pub(super) read: &'a dyn Read,
    context: Context<'a>,
    root: RootRef<'a>,
    keyspace: u32,
    hits: Cell<u64>,
    misses: Cell<u64>,
    expired: RefCell<Vec<Bytes>>,
    missed: RefCell<Vec<Bytes>>,
}

impl<'a> View<'a> {
    /// The database `context.db` in `read`. Fails only where the root record is damaged.
    pub fn new(read: &'a dyn Read, context: Context<'a>) -> Result<Self> {
        let root = RootRef::parse(read.root())?;
        Ok(Self {
            read,
            context,
            root,
            keyspace: root.database(context.db).keyspace,
            hits: Cell::new(0),
            misses: Cell::new(0),
            expired: RefCell::default(),
            missed: RefCell::default(),
        })
    }

    /// What the call knows besides the records.
    #[must_use]
    pub fn context(&self) -> &Context<'a> {
        &self.context
    }

    /// What the view reads from.
    pub(super) fn read(&self) -> &'a dyn Read {
        self.read
    }

    /// Prefix of the records of this database.
    #[must_use]
    pub fn keyspace(&self) -> u32 {
        self.keyspace
    }

    /// Keys of this database, expired ones that nobody has met yet included.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.root.database(self.context.db).keys
    }

    /// Keys of this database that have an expiry, expired ones that nobody has met yet included.
    #[must_use]
    pub fn expiring_count(&self) -> u64 {
        self.root.database(self.context.db).expires
    }

    /// Looks up `key`: counts a hit or a miss, and touches it.
    pub fn find(&self, key: &[u8]) -> Result<Option<Meta>> {
        let found = self.inspect(key)?;
        if found.is_some() && self.context.touch {
            self.touch(key);
        }
        Ok(found)
    }

    /// Notes that `key` was used now.
    pub fn touch(&self, key: &[u8]) {
        self.context.access.touch(self.keyspace, key, self.context.now_ms);
    }

    /// Looks up `key` without touching it: counts a hit or a miss.
    pub fn inspect(&self, key: &[u8]) -> Result<Option<Meta>> {
        let found = self.load(key)?;
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
        if found.is_none() && self.context.events.has(EventClasses::MISS) {
            self.missed.borrow_mut().push(Bytes::copy_from_slice(key));
        }
        Ok(found)
    }

    fn load(&self, key: &[u8]) -> Result<Option<Meta>> {
        let found = self.read.newest(&key::meta(self.keyspace, key))?;
        let Some(meta) = found.map_or(Ok(None), Meta::of)? else { return Ok(None) };
        if meta.is_expired(self.context.now_ms) {
            self.note_expired(|| Bytes::copy_from_slice(key));
            return Ok(None);
        }
        Ok(Some(meta))
    }

    /// The whole string.
    pub fn string(&self, meta: &Meta) -> Result<Bytes> {
        self.string_range(meta, 0, meta.string_len())
    }

    /// Bytes `start..end` of the string, cut at its end.
    pub fn string_range(&self, meta: &Meta, start: u64, end: u64) -> Result<Bytes> {
        string::read_range(self.read, self.keyspace, meta, start, end)
    }

    /// Walks the keys within the bounds in the order of their bytes; `None` for one that has
    /// expired. Counts nothing and touches nothing.
    pub fn walk(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        direction: Direction,
    ) -> impl Iterator<Item = Result<(Bytes, Option<Meta>)>> + '_ {
        let range = key::meta_range(self.keyspace, start, end);
        self.read.scan(range, direction).map(|pair| {
            let (engine_key, record) = pair?;
            let user_key = key::meta_user_key(&engine_key);
            let meta = Meta::decode(&record)?;
            if meta.is_expired(self.context.now_ms) {
                self.note_expired(|| user_key.clone());
                return Ok((user_key, None));
            }
            Ok((user_key, Some(meta)))
        })
    }

    /// Walks the index of expiries in the order of time, within bounds. An entry of it is the time in
    /// Unix milliseconds, eight bytes big-endian, and behind them the key. The end does not belong to
    /// the range.
    pub fn walk_expiries(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        direction: Direction,
    ) -> impl Iterator<Item = Result<Bytes>> + '_ {
        let range = key::expiry_entries(self.keyspace, start, end);
        self.read.scan(range, direction).map(|pair| pair.map(|(key, _)| key::expiry_entry(&key)))
    }

    /// What was found out so far.
    #[must_use]
    pub fn outcome(&self) -> ReadOutcome {
        ReadOutcome {
            hits: self.hits.get(),
            misses: self.misses.get(),
            expired: self.expired.borrow().clone(),
            missed: self.missed.borrow().clone(),
        }
    }

    pub(super) fn note_expired(&self, key: impl FnOnce() -> Bytes) {
        let mut expired = self.expired.borrow_mut();
        if expired.len() < EXPIRED_NOTED_MAX {
            expired.push(key());
        }
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("context", &self.context).finish_non_exhaustive()
    }
}
