//! What has expired, on the side of the writer.

use super::account;
use super::message::Expired;
use super::writer::WriterTask;
use crate::commands::ServerState;
use crate::commands::tracking::Cause;
use crate::data::{DueRecords, Edit, ReadOutcome, expire_due};
use crate::engine::{self, ReadMode, Writer};

impl WriterTask {
    /// Deletes of `found`, from the record at `from` on, what has expired: at most so many keys and
    /// fields.
    pub(super) fn expire(&mut self, found: &DueRecords, from: usize, limit: usize) -> Expired {
        if !self.state.expires_actively() {
            // Nothing goes during a pause.
            return Expired::Refused;
        }
        let due = found.records.get(from..).unwrap_or_default();
        let notes = !self.waiters.is_empty();
        // However many have gone before those that go now.
        let cycle = transact((&mut self.writer, &mut self.drops), &self.state, (0, None), |edit| {
            if notes {
                edit.note_ready();
            }
            let cycle = expire_due(edit, due, limit)?;
            Ok((cycle, edit.take_ready(), edit.take_events(), edit.take_modified()))
        });
        match cycle {
            Ok((cycle, ready, events, modified)) => {
                self.announcements.note(&self.state, &events, modified, Cause::NOBODY);
                self.serve(ready);
                let is_idle = cycle.done == 0 && cycle.expired_fields == 0;
                if is_idle { Expired::Refused } else { Expired::Done(cycle.done) }
            }
            Err(engine::Error::WouldBlock) => Expired::Blocked,
            // Logged when it happened.
            Err(engine::Error::Poisoned(_) | engine::Error::NoSpace(_)) => Expired::Refused,
            Err(error) => {
                tracing::warn!(%error, "active expiry");
                Expired::Refused
            }
        }
    }

    /// Deletes what a read has met; what would have to be read from the disk first is left to
    /// active expiry.
    pub(super) fn reap(&mut self, db: u16, outcome: &ReadOutcome) {
        if self.holds(true) {
            return;
        }
        let mode = ReadMode::Resident;
        let notes = !self.waiters.is_empty();
        let reaped =
            transact((&mut self.writer, &mut self.drops), &self.state, (db, Some(mode)), |edit| {
                if notes {
                    edit.note_ready();
                }
                edit.reap(outcome)?;
                Ok((edit.take_ready(), edit.take_events(), edit.take_modified()))
            });
        match reaped {
            Ok((ready, events, modified)) => {
                self.announcements.note(&self.state, &events, modified, Cause::NOBODY);
                self.serve(ready);
            }
            Err(error) => tracing::debug!(%error, "expired keys could not be deleted"),
        }
    }
}

/// Runs `change` as a transaction of the server's own, commits it, and notes whether it drops much;
/// without a mode its walks may be of any length.
pub(super) fn transact<T>(
    (writer, drops): (&mut Writer, &mut bool),
    state: &ServerState,
    (db, mode): (u16, Option<ReadMode>),
    change: impl FnOnce(&mut Edit<'_>) -> engine::Result<T>,
) -> engine::Result<T> {
    let txn = match mode {
        Some(mode) => writer.begin(mode)?,
        None => writer.begin_long()?,
    };
    let mut edit = Edit::new(txn, state.context(db, false))?;
    let answer = change(&mut edit)?;
    let (changes, outcome) = edit.finish()?;
    if !changes.is_empty() {
        Writer::check_limits(&changes)?;
        writer.commit(changes);
    }
    account::edit(state, &outcome);
    *drops |= outcome.dropped;
    Ok(answer)
}
