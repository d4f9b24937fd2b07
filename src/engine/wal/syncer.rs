//! How far the log is written, and how far it is durable.

use std::sync::Arc;

use parking_lot::Mutex;

use super::segments::Segment;
use super::{LogPosition, Segments};
use crate::engine::{Error, Result};

/// Makes the log durable. Clones share everything; for any thread.
#[derive(Debug, Clone)]
pub struct Syncer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    segments: Segments,
    progress: Mutex<Progress>,
    /// Held by the one thread that syncs, across its syncs: a second sync at the same time could
    /// miss the error that the first one is about to get. Only threads that want to sync wait for
    /// it, and those that waited mostly find their work done.
    syncing: Mutex<()>,
}

/// Held for a few instructions, never across I/O.
#[derive(Debug)]
struct Progress {
    /// End of the newest record that was written.
    written: LogPosition,
    /// Everything before this is durable.
    durable: LogPosition,
    /// Segments with records that may not be durable, oldest first.
    dirty: Vec<Arc<Segment>>,
    /// Why the log takes nothing any more.
    poison: Option<Arc<str>>,
}

impl Progress {
    fn check(&self) -> Result<()> {
        match &self.poison {
            Some(why) => Err(Error::Poisoned(Arc::clone(why))),
            None => Ok(()),
        }
    }
}

impl Syncer {
    pub(super) fn new(segments: Segments, durable: LogPosition) -> Self {
        let progress = Progress { written: durable, durable, dirty: Vec::new(), poison: None };
        let shared = Shared { segments, progress: Mutex::new(progress), syncing: Mutex::new(()) };
        Self { shared: Arc::new(shared) }
    }

    /// Makes every record durable whose `write` returned before this call, in whatever segment,
    /// and answers the end of what is durable. Waits on the disk. The first failure is answered as
    /// it is, and poisons the log: every later write and sync is refused.
    pub fn sync(&self) -> Result<LogPosition> {
        let Shared { segments, progress, syncing } = &*self.shared;
        let wanted = progress.lock().written;
        let _one_at_a_time = syncing.lock();
        let (target, dirty) = {
            let progress = progress.lock();
            if progress.durable >= wanted {
                return Ok(progress.durable);
            }
            progress.check()?;
            (progress.written, progress.dirty.clone())
        };
        for segment in &dirty {
            segment.sync(segments.fs()).map_err(|error| self.poison(error))?;
        }
        let mut progress = progress.lock();
        progress.durable = target;
        let all_durable = progress.written == target;
        progress.dirty.retain(|segment| segment.id >= target.segment && !all_durable);
        Ok(target)
    }

    /// Everything before this place is durable.
    #[must_use]
    pub fn durable(&self) -> LogPosition {
        self.shared.progress.lock().durable
    }

    /// End of the newest record that was written, durable or not.
    #[must_use]
    pub fn written(&self) -> LogPosition {
        self.shared.progress.lock().written
    }

    /// Fails with [`Error::Poisoned`] after an earlier failure.
    pub fn check(&self) -> Result<()> {
        self.shared.progress.lock().check()
    }

    /// Makes `error` the reason why the log takes nothing any more, and hands it back.
    pub(super) fn poison(&self, error: Error) -> Error {
        self.shared.progress.lock().poison.get_or_insert_with(|| error.to_string().into());
        error
    }

    /// Permits the write of the record behind `previous`, and answers what is durable.
    pub(super) fn begin_write(&self, previous: LogPosition) -> Result<LogPosition> {
        let (written, durable) = {
            let progress = self.shared.progress.lock();
            progress.check()?;
            (progress.written, progress.durable)
        };
        if written == previous {
            return Ok(durable);
        }
        Err(self.poison(Error::Poisoned("a record of the log was left out".into())))
    }

    pub(super) fn end_write(&self, segment: &Arc<Segment>, end: LogPosition) {
        let mut progress = self.shared.progress.lock();
        progress.written = end;
        if progress.dirty.last().is_none_or(|last| last.id != segment.id) {
            progress.dirty.push(Arc::clone(segment));
        }
    }
}
