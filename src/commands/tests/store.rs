//! The stores that the tests run over: a map, and the engine on a simulated disk.

use std::path::Path;
use std::sync::Arc;

use crate::data::{KIND_AT, RecordFilter, SHARE_AT, model};
use crate::engine::{Changes, Engine, Options, Read, ReadMode, Txn, Writer};
use crate::env::{SimClock, SimFs};

/// A store without threads.
pub(super) enum Store {
    Memory(model::Store),
    Disk(Box<Disk>),
}

/// The engine, with options so small that little data reaches every level.
pub(super) struct Disk {
    fs: SimFs,
    open: Option<(Engine, Writer)>,
    /// Background work is done behind every so many transactions.
    commits: u32,
}

impl Store {
    /// An empty map.
    pub(super) fn memory() -> Self {
        Self::Memory(model::Store::default())
    }

    /// The engine on an empty disk.
    pub(super) fn disk() -> Self {
        let fs = SimFs::new(1);
        fs.nowait_blocks(true);
        let open = Some(open(&fs));
        Self::Disk(Box::new(Disk { fs, open, commits: 0 }))
    }

    /// Runs `read` over everything that was committed.
    pub(super) fn with_read<T>(&self, read: impl FnOnce(&dyn Read) -> T) -> T {
        self.with_mode(ReadMode::Blocking, read)
    }

    /// Runs `read` over everything that was committed; memory knows one mode only.
    pub(super) fn with_mode<T>(&self, mode: ReadMode, read: impl FnOnce(&dyn Read) -> T) -> T {
        match self {
            Self::Memory(store) => read(store),
            Self::Disk(disk) => read(&disk.engine().snapshot(mode)),
        }
    }

    /// A transaction on top of the store.
    pub(super) fn txn(&self) -> Txn<'_> {
        match self {
            Self::Memory(store) => store.txn(),
            Self::Disk(disk) => disk.writer().begin(ReadMode::Blocking).unwrap(),
        }
    }

    /// Sequence number of the newest transaction.
    pub(super) fn seq(&self) -> u64 {
        match self {
            Self::Memory(store) => store.seq(),
            Self::Disk(disk) => disk.engine().snapshot(ReadMode::Resident).seq(),
        }
    }

    /// Takes the changes of a transaction.
    pub(super) fn commit(&mut self, changes: Changes) {
        match self {
            Self::Memory(store) => store.commit(changes),
            Self::Disk(disk) => disk.commit(changes),
        }
    }

    /// Drops what nobody can read; answers how many records that were.
    pub(super) fn compact(&mut self) -> usize {
        let before = self.len();
        match self {
            Self::Memory(store) => drop(store.compact()),
            Self::Disk(disk) => disk.engine().compact_all().unwrap(),
        }
        before - self.len()
    }

    /// Closes the store and opens it again.
    pub(super) fn reopen(&mut self) {
        if let Self::Disk(disk) = self {
            if let Some((engine, _)) = disk.open.take() {
                engine.close();
            }
            disk.open = Some(open(&disk.fs));
        }
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.with_read(model::record_count)
    }

    /// Panics where the records break a promise that they make about each other.
    pub(super) fn check(&self) {
        self.with_read(model::check);
    }
}

impl Disk {
    fn engine(&self) -> &Engine {
        &self.open.as_ref().unwrap().0
    }

    fn writer(&self) -> &Writer {
        &self.open.as_ref().unwrap().1
    }

    fn commit(&mut self, changes: Changes) {
        let (engine, writer) = self.open.as_mut().unwrap();
        writer.commit(changes);
        let batch = writer.take_batch().unwrap();
        let seq = batch.seq();
        batch.write().unwrap();
        writer.syncer().sync().unwrap();
        writer.publish(seq);
        self.commits += 1;
        if self.commits.is_multiple_of(5) {
            engine.step().unwrap();
        }
        while writer.must_wait() {
            assert!(engine.step().unwrap(), "full, and nothing to do");
        }
    }
}

fn open(fs: &SimFs) -> (Engine, Writer) {
    let options = Options {
        kind_at: KIND_AT,
        share_at: SHARE_AT,
        memtable_bytes: 32 << 10,
        sealed_max: 2,
        segment_bytes: 256 << 10,
        table_bytes: 8 << 10,
        level1_bytes: 16 << 10,
        fanout: 3,
        l0_trigger: 2,
        background_threads: 0,
        ..Options::for_budget(Path::new("/db"), 8 << 20)
    };
    let clock = Arc::new(SimClock::at_ms(super::START_MS));
    Engine::open(fs.shared(), clock, options, Arc::new(RecordFilter)).unwrap()
}
