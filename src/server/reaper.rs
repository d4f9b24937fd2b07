//! What has expired, on the side of the writer.

use super::account;
use super::message::Expired;
use super::writer::WriterTask;
use crate::commands::ServerState;
use crate::commands::tracking::Cause;
use crate::data::{Edit, ReadOutcome, expire_cycle};
use crate::engine::{self, ReadMode, Writer};

impl WriterTask {
    /// Deletes at most so many keys that have expired.
    pub(super) fn expire(&mut self, limit: usize) -> Expired {
        if !self.state.expires_actively() {
            // Nothing goes during a pause.
            return Expired::All;
        }
        let marks = &mut self.marks;
        let notes = !self.waiters.is_empty();
        // However many have gone before those that go now.
        let cycle = transact(&mut self.writer, &self.state, (0, None), |edit| {
            if notes {
                edit.note_ready();
            }
            let cycle = expire_cycle(edit, marks, limit)?;
            Ok((cycle.more, edit.take_ready(), edit.take_events(), edit.take_modified()))
        });
        match cycle {
            Ok((more, ready, events, modified)) => {
                self.announcements.note(&self.state, &events, modified, Cause::NOBODY);
                self.serve(ready);
                if more { Expired::More } else { Expired::All }
            }
            Err(engine::Error::WouldBlock) => Expired::Warm(self.marks.clone()),
            // Logged when it happened.
            Err(engine::Error::Poisoned(_) | engine::Error::NoSpace(_)) => Expired::All,
            Err(error) => {
                tracing::warn!(%error, "active expiry");
                Expired::All
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
        let reaped = transact(&mut self.writer, &self.state, (db, Some(mode)), |edit| {
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

/// Runs `change` as a transaction of the server's own, and commits it; without a mode its walks may be
/// of any length.
pub(super) fn transact<T>(
    writer: &mut Writer,
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
    Ok(answer)
}
