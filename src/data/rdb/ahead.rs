//! Values that are read from their payload ahead of their transaction, so that nobody waits for that.
//!
//! The records of a value stand under a generation. One transaction reserves generations; then the
//! payload is read over any view, into changes that nobody sees; then the transaction that sets the key
//! takes these over. Generations that are reserved and not used are never used.

use super::{DumpPayload, RestoreError};
use crate::data::{Context, Edit, Meta};
use crate::engine::{Changes, Result};

/// Generations that are reserved for one value: all but streams with many groups need one.
const RESERVED: u64 = 64;

/// A value whose records are ready to be written.
#[derive(Debug)]
pub struct ValueAhead {
    keyspace: u32,
    meta: Meta,
    changes: Changes,
}

impl ValueAhead {
    /// What its records take in memory, in bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.changes.writes.bytes()
    }
}

impl Edit<'_> {
    /// Reserves generations for one value; the first of them.
    pub fn reserve_generations(&mut self) -> u64 {
        let first = self.root.next_generation();
        self.root.skip_generations(first + RESERVED);
        first
    }

    /// Reads the value of a payload under the generations that are reserved from `first` on. Ends this
    /// transaction, of which nothing else may come. `None` where that takes more generations.
    ///
    /// # Errors
    /// As [`Edit::restore`].
    pub fn read_ahead(
        mut self,
        key: &[u8],
        payload: &DumpPayload,
        first: u64,
    ) -> std::result::Result<Option<ValueAhead>, RestoreError> {
        self.root.begin_generations(first);
        let meta = self.load(key, payload, None)?;
        self.txn.check_room()?;
        if self.root.next_generation() > first + RESERVED {
            return Ok(None);
        }
        let changes = Changes { root: None, ..self.txn.into_changes() };
        Ok(Some(ValueAhead { keyspace: self.keyspace, meta, changes }))
    }

    /// As [`Edit::restore`], with a value that was read ahead. False where that was for a database
    /// that is another one by now: then nothing has changed.
    pub fn restore_ahead(
        &mut self,
        key: &[u8],
        old: Option<&Meta>,
        value: ValueAhead,
        expires_ms: Option<u64>,
    ) -> Result<bool> {
        let ValueAhead { keyspace, meta, changes } = value;
        if keyspace != self.keyspace {
            return Ok(false);
        }
        if expires_ms.is_none_or(|at_ms| at_ms > self.context().now_ms) {
            self.txn.absorb(changes);
            self.replace(key, old, Some(&Meta { expires_ms, ..meta }));
            let Context { access, now_ms, .. } = self.context;
            access.create(self.keyspace, key, now_ms);
        } else if old.is_some() {
            self.replace(key, old, None);
        }
        Ok(true)
    }
}
