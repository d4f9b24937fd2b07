//! The work on SiltDB's engine.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use siltdb::engine::{Direction, Engine, KeepAll, Options, Read, ReadMode, Writer};
use siltdb::env::{RealFs, SystemClock};

use crate::store::{Outcome, Pair, Reader, Shape, Store};

/// Of three parts of the caches, one is for rows and two are for blocks, as in the server.
const CACHE_PARTS: u64 = 3;

struct Silt {
    engine: Engine,
    writer: Writer,
}

pub(crate) fn open(shape: &Shape) -> Outcome<Box<dyn Store>> {
    let options = Options {
        memtable_bytes: shape.memtable_bytes,
        block_cache_bytes: shape.cache_bytes / CACHE_PARTS * 2,
        row_cache_bytes: shape.cache_bytes / CACHE_PARTS,
        table_bytes: shape.table_bytes,
        level1_bytes: shape.level_bytes,
        compaction_rate: shape.compaction_rate,
        ..Options::for_budget(&shape.dir, 8 * shape.memtable_bytes)
    };
    let clock = Arc::new(SystemClock::default());
    let (engine, writer) = Engine::open(Arc::new(RealFs), clock, options, Arc::new(KeepAll))?;
    Ok(Box::new(Silt { engine, writer }))
}

impl Store for Silt {
    fn write(&mut self, pairs: Vec<Pair>, sync: bool) -> Outcome<()> {
        while self.writer.must_wait() {
            std::thread::sleep(Duration::from_micros(200));
        }
        let mut txn = self.writer.begin(ReadMode::Blocking)?;
        for (key, value) in pairs {
            txn.put(Bytes::from(key), Bytes::from(value));
        }
        let changes = txn.into_changes();
        self.writer.commit(changes);
        if let Some(batch) = self.writer.take_batch() {
            let seq = batch.seq();
            batch.write()?;
            if sync {
                self.writer.syncer().sync()?;
            }
            self.writer.publish(seq);
        }
        let delay = self.writer.delay();
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        Ok(())
    }

    fn settle(&mut self) -> Outcome<()> {
        self.engine.flush_wait()?;
        let mut calm = 0;
        while calm < 5 {
            let stats = self.engine.stats();
            let is_calm = stats.compactions_running == 0 && stats.compaction_debt_bytes == 0;
            calm = if is_calm { calm + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(SiltReader(self.engine.clone()))
    }

    fn shape(&self) -> String {
        let stats = self.engine.stats();
        let level = |level: &siltdb::engine::LevelStats| format!("{}M", level.bytes >> 20);
        let levels: Vec<String> = stats.levels.iter().map(level).collect();
        format!("{}, delayed {} ms", levels.join(" "), stats.stall_us / 1000)
    }
}

struct SiltReader(Engine);

impl Reader for SiltReader {
    fn get(&self, key: &[u8]) -> Outcome<Option<usize>> {
        Ok(self.0.snapshot(ReadMode::Blocking).get(key)?.map(|value| value.len()))
    }

    fn scan(&self, key: &[u8], count: usize) -> Outcome<usize> {
        let view = self.0.snapshot(ReadMode::Blocking);
        let range = (Bound::Included(Bytes::copy_from_slice(key)), Bound::Unbounded);
        let mut bytes = 0;
        for pair in view.scan(range, Direction::Forward).take(count) {
            let (key, value) = pair?;
            bytes += key.len() + value.len();
        }
        Ok(bytes)
    }
}
