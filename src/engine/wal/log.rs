//! The writing end of the log.

use std::path::Path;
use std::sync::Arc;

use super::segments::Segment;
use super::{LogBatch, LogPosition, LogStart, Segments, Syncer, WalOptions};
use crate::engine::Result;
use crate::env::Fs;

/// The log, owned by the one writer. Placing a record ([`Wal::append`]), writing it
/// ([`Append::write`]) and making it durable ([`Syncer::sync`]) are three steps, so that only the
/// threads that may wait do.
#[derive(Debug)]
pub struct Wal {
    segments: Segments,
    syncer: Syncer,
    active: Arc<Segment>,
    /// Where the next record goes in `active`.
    offset: u64,
    /// End of the newest record.
    end: LogPosition,
}

impl Wal {
    /// Starts a log with a fresh segment in `dir`, which must exist. `start` comes from the replay
    /// of what is there. Its segments stay until they are retired. The fresh segment's name is
    /// durable on return.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: WalOptions,
        start: LogStart,
    ) -> Result<Self> {
        let segments = Segments::open(fs, dir, options, start.segment)?;
        let active = segments.take(0)?;
        active.sync(segments.fs())?;
        let syncer = Syncer::new(segments.clone(), start.previous);
        Ok(Self { segments, syncer, active, offset: 0, end: start.previous })
    }

    /// Gives the record its place behind all others, in the next segment where it does not fit in
    /// this one. Waits for no data, but makes a file where no spare segment is ready. A failure
    /// poisons the log, unless it is that the record is too large.
    pub fn append(&mut self, batch: LogBatch) -> Result<Append> {
        let size = batch.size()?;
        self.syncer.check()?;
        let rotated = self.offset + size > self.active.capacity;
        if rotated {
            self.active = self.segments.take(size).map_err(|error| self.syncer.poison(error))?;
            self.offset = 0;
        }
        let position = LogPosition { segment: self.active.id, offset: self.offset };
        self.offset += size;
        let previous = self.end;
        self.end = LogPosition { segment: self.active.id, offset: self.offset };
        Ok(Append {
            batch,
            segment: Arc::clone(&self.active),
            syncer: self.syncer.clone(),
            position,
            previous,
            end: self.end,
            rotated,
        })
    }

    /// Number of the segment that the newest record is in, or the first record will be.
    #[must_use]
    pub fn active_segment(&self) -> u64 {
        self.active.id
    }

    /// End of the newest record, written or not.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// What makes written records durable.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        self.syncer.clone()
    }

    /// What retires and prepares segments.
    #[must_use]
    pub fn segments(&self) -> Segments {
        self.segments.clone()
    }
}

/// A record that has its place and has to be written: in the order of the appends, on any thread.
/// Dropping it unwritten leaves a hole, so the next write poisons the log.
#[derive(Debug)]
#[must_use]
pub struct Append {
    batch: LogBatch,
    segment: Arc<Segment>,
    syncer: Syncer,
    position: LogPosition,
    previous: LogPosition,
    end: LogPosition,
    rotated: bool,
}

impl Append {
    /// Writes the record to the page cache, from where a sync makes it durable, and hands back the
    /// batch to be cleared and used again. A failure poisons the log.
    pub fn write(mut self) -> Result<LogBatch> {
        let durable = self.syncer.begin_write(self.previous)?;
        let capacity = self.segment.capacity;
        let bytes = self.batch.finish(self.position, self.previous, durable, capacity);
        let written = self.segment.file.write_at(self.position.offset, bytes);
        if let Err(error) = written {
            let error = crate::engine::Error::io("write", &self.segment.path)(error);
            return Err(self.syncer.poison(error));
        }
        self.syncer.end_write(&self.segment, self.end);
        Ok(self.batch)
    }

    /// Number of the segment that the record is in.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.segment.id
    }

    /// Durable once [`Syncer::durable`] has reached this.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// Whether the record is the first of its segment: time to call [`Segments::prepare_next`].
    #[must_use]
    pub fn rotated(&self) -> bool {
        self.rotated
    }
}
