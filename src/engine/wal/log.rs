//! The writing end of the log.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::segments::Segment;
use super::{LogBatch, LogPosition, LogStart, Segments, Syncer, WalOptions};
use crate::engine::{Error, Result};
use crate::env::Fs;

/// The log, owned by the one writer. Placing a record ([`Wal::append`]), writing it
/// ([`Append::write`]) and making it durable ([`Syncer::sync`]) are three steps, so that only the
/// threads that may wait do.
#[derive(Debug)]
pub struct Wal {
    segments: Segments,
    syncer: Syncer,
    /// The segment of the newest record; none before the first.
    active: Option<Arc<Place>>,
    /// Where the next record goes in `active`.
    offset: u64,
    /// End of the newest record.
    end: LogPosition,
    /// Number of the next segment: they are taken one by one, in the order of their numbers.
    next_segment: u64,
}

/// A segment by its number. Its file is taken when its first record is written.
#[derive(Debug)]
struct Place {
    id: u64,
    /// Bytes that records may fill.
    capacity: u64,
    segment: OnceLock<Arc<Segment>>,
}

impl Place {
    /// The segment. Records are written one after the other, so nobody else takes one meanwhile.
    fn segment(&self, segments: &Segments) -> Result<&Arc<Segment>> {
        if let Some(segment) = self.segment.get() {
            return Ok(segment);
        }
        let taken = segments.take(self.capacity)?;
        if taken.id != self.id {
            return Err(Error::Poisoned("the segments of the log are out of order".into()));
        }
        Ok(self.segment.get_or_init(|| taken))
    }
}

impl Wal {
    /// Starts a log in `dir`, which must exist. `start` comes from the replay of what is there. Its
    /// segments stay until they are retired. Makes no file: that takes space, which a store need
    /// not have to be opened and read.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: WalOptions,
        start: LogStart,
    ) -> Result<Self> {
        let segments = Segments::open(fs, dir, options, start.segment)?;
        let syncer = Syncer::new(segments.clone(), start.previous);
        let (end, next_segment) = (start.previous, start.segment);
        Ok(Self { segments, syncer, active: None, offset: 0, end, next_segment })
    }

    /// Gives the record its place behind all others, in the next segment where it does not fit in
    /// this one. Touches no file. Fails where the record is too large, and after a failure of the
    /// log.
    pub fn append(&mut self, batch: LogBatch) -> Result<Append> {
        let size = batch.size()?;
        self.syncer.check()?;
        let fits = |place: &&Arc<Place>| self.offset + size <= place.capacity;
        let (place, rotated) = match self.active.as_ref().filter(fits) {
            Some(place) => (place.clone(), false),
            None => (self.next_place(size), true),
        };
        let position = LogPosition { segment: place.id, offset: self.offset };
        self.offset += size;
        let previous = self.end;
        self.end = LogPosition { segment: place.id, offset: self.offset };
        Ok(Append {
            batch,
            is_finished: false,
            place,
            segments: self.segments.clone(),
            syncer: self.syncer.clone(),
            position,
            previous,
            end: self.end,
            rotated,
        })
    }

    fn next_place(&mut self, bytes: u64) -> Arc<Place> {
        let capacity = self.segments.capacity_for(self.next_segment, bytes);
        let place = Place { id: self.next_segment, capacity, segment: OnceLock::new() };
        self.next_segment += 1;
        self.offset = 0;
        self.active.insert(Arc::new(place)).clone()
    }

    /// Number of the segment that the newest record is in, or the first record will be.
    #[must_use]
    pub fn active_segment(&self) -> u64 {
        self.active.as_ref().map_or(self.next_segment, |place| place.id)
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
    /// Whether `batch` is the whole record.
    is_finished: bool,
    place: Arc<Place>,
    segments: Segments,
    syncer: Syncer,
    position: LogPosition,
    previous: LogPosition,
    end: LogPosition,
    rotated: bool,
}

impl Append {
    /// Writes the record to the page cache, from where a sync makes it durable, and hands back the
    /// batch to be cleared and used again. Makes the segment's file where this is its first record
    /// and no spare is ready.
    ///
    /// Where the disk is full, fails with [`Error::NoSpace`]: nothing comes behind a record before
    /// it is written, and none of it was synced, so the same bytes can be written to the same place
    /// again, any number of times. Any other failure poisons the log.
    pub fn write(&mut self) -> Result<LogBatch> {
        let durable = self.syncer.begin_write(self.previous)?;
        match self.try_write(durable).map_err(Error::without_effect) {
            Ok(()) => Ok(self.batch.take()),
            Err(error @ Error::NoSpace(_)) => Err(error),
            Err(error) => Err(self.syncer.poison(error)),
        }
    }

    fn try_write(&mut self, durable: LogPosition) -> Result<()> {
        let segment = self.place.segment(&self.segments)?;
        if !self.is_finished {
            self.batch.finish(self.position, self.previous, durable, self.place.capacity);
            self.is_finished = true;
        }
        let written = segment.file.write_at(self.position.offset, self.batch.bytes());
        written.map_err(Error::io("write", &segment.path))?;
        self.syncer.end_write(segment, self.end);
        Ok(())
    }

    /// Whether the write would have to make a file.
    #[must_use]
    pub fn makes_file(&self) -> bool {
        self.place.segment.get().is_none() && self.segments.needs_spare()
    }

    /// Number of the segment that the record is in.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.place.id
    }

    /// Durable once [`Syncer::durable`] has reached this.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.end
    }

    /// Whether the record is the first of its segment: once it is written it is time to call
    /// [`Segments::prepare_next`].
    #[must_use]
    pub fn rotated(&self) -> bool {
        self.rotated
    }
}
