//! What is done for a write before its transaction, beside its connection.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Args, Error};
use crate::data::{Edit, ValueAhead};
use crate::env::{MemoryAccount, OwnedRoom, Purpose};

/// The part of a write that needs no transaction of its own.
#[derive(Debug, Clone, Copy)]
pub struct Prepare {
    /// Whether it is worth while for a call of these words.
    pub is_worth: fn(&[Bytes]) -> bool,
    /// Does it, over a transaction of which nothing comes, with generations that are reserved from
    /// this one on. `None` where it could not be done ahead.
    pub run: fn(Edit<'_>, &mut Args<'_>, u64) -> Option<Result<ValueAhead, Error>>,
}

/// What was done; taken by the transaction.
#[derive(Debug)]
pub struct Prepared {
    done: Mutex<Option<Result<ValueAhead, Error>>>,
    _room: OwnedRoom,
}

impl Prepared {
    /// What [`Prepare::run`] has answered; `None` where commands hold too much to keep that.
    #[must_use]
    pub fn new(done: Result<ValueAhead, Error>, memory: &Arc<MemoryAccount>) -> Option<Self> {
        let room = OwnedRoom::new(Arc::clone(memory), Purpose::Changes);
        room.take(done.as_ref().map_or(0, ValueAhead::bytes)).ok()?;
        Some(Self { done: Mutex::new(Some(done)), _room: room })
    }

    /// What was done; once.
    pub(super) fn take(&self) -> Option<Result<ValueAhead, Error>> {
        self.done.lock().take()
    }
}
