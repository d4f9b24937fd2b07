//! What has expired, on the side of the writer.

use super::message::Expired;
use super::writer::{WriterTask, transact};
use crate::commands::tracking::Cause;
use crate::data::{ReadOutcome, expire_cycle};
use crate::engine::{self, ReadMode};

impl WriterTask {
    /// Deletes at most so many keys that have expired.
    pub(super) fn expire(&mut self, limit: usize) -> Expired {
        let marks = &mut self.marks;
        let mode = ReadMode::Resident;
        let notes = !self.waiters.is_empty();
        let cycle = transact(&mut self.writer, &self.state, (0, mode), |edit| {
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
        let mode = ReadMode::Resident;
        let notes = !self.waiters.is_empty();
        let reaped = transact(&mut self.writer, &self.state, (db, mode), |edit| {
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
