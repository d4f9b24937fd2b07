//! What tables cost: building, looking up, walking. Run with `cargo bench --bench sstable`.
//!
//! One million records of a 16-byte key and a 100-byte value that compresses by half, in one
//! table on the file system of the temporary directory, which the page cache holds. Times are
//! processor time of the one thread at work.

use std::io::Write;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use siltdb::engine::{
    BlockCache, Compression, Direction, KeepAll, MergeIter, ReadMode, RecordIter, Result,
    ScanOptions, Table, TableBuilder, TableInfo, TableOptions, VisibleIter, table_file_name,
};
use siltdb::env::{Clock, RealFs, SystemClock};

const RECORDS: u64 = 1_000_000;

fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = n;
    for digit in key.iter_mut().skip(4).rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    key
}

/// Processor time of this thread in nanoseconds, where Linux tells it: it does not count what
/// other programs of the machine take.
fn processor_ns(clock: &SystemClock) -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = line.split(' ').next().and_then(|number| number.parse().ok());
    first.unwrap_or_else(|| clock.monotonic_ns())
}

struct Bench {
    clock: SystemClock,
    out: std::io::Stdout,
}

impl Bench {
    /// Runs `work`, which handles `count` items and `bytes` bytes, and prints what it took.
    fn run<T>(&mut self, name: &str, count: u64, bytes: u64, work: impl FnOnce() -> T) -> T {
        let start = processor_ns(&self.clock);
        let result = work();
        let took = processor_ns(&self.clock) - start;
        let (each, rate) = (took / count.max(1), bytes * 1000 / took.max(1));
        writeln!(self.out, "{name:<40} {each:>7} ns each {rate:>6} MB/s").expect("stdout is open");
        result
    }
}

fn build(dir: &std::path::Path, id: u64, compression: Compression) -> Result<TableInfo> {
    let path = dir.join(table_file_name(id));
    let file = RealFs::shared().create(&path).expect("the directory is new");
    let options = TableOptions { compression, ..TableOptions::default() };
    let mut builder = TableBuilder::new(file, path, id, options, &KeepAll);
    let mut noise = fastrand::Rng::with_seed(1);
    let mut value = [b'v'; 100];
    for n in 0..RECORDS {
        noise.fill(&mut value[..50]);
        builder.add(&key(n * 2), n + 1, Some(&value))?;
    }
    builder.finish()
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut bench = Bench { clock: SystemClock::default(), out: std::io::stdout() };
    let kinds = [(1, Compression::None), (2, Compression::Lz4), (3, Compression::Zstd)];
    for (id, compression) in kinds {
        let raw = RECORDS * 116;
        let name = |what: &str| format!("{compression:?} {what}");
        let info =
            bench.run(&name("build"), RECORDS, raw, || build(dir.path(), id, compression))?;
        let cache = Arc::new(BlockCache::new(1 << 30));
        let path = dir.path().join(table_file_name(id));
        let table = Table::open(RealFs::shared(), path, info, cache);
        table.load()?;

        let get = |count: u64, step: u64, odd: u64| {
            for n in 0..count {
                let key = key(n * step % RECORDS * 2 + odd);
                let found = table.get(&key, ReadMode::Blocking).expect("the table is sound");
                assert_eq!(found.is_some(), odd == 0);
            }
        };
        bench.run(&name("get, first (page cache)"), 100_000, 0, || get(100_000, 7919, 0));
        get(RECORDS, 1, 0);
        bench.run(&name("get, block cache"), RECORDS, 0, || get(RECORDS, 7919, 0));
        bench.run(&name("get, one block"), RECORDS, 0, || get(RECORDS, RECORDS, 0));
        bench.run(&name("get, absent"), RECORDS, 0, || get(RECORDS, 7919, 1));

        let all = (Bound::Unbounded, Bound::Unbounded);
        for direction in [Direction::Forward, Direction::Reverse] {
            let streaming = || table.scan(all.clone(), direction, ScanOptions::streaming());
            let cached = ScanOptions::cached(ReadMode::Resident);
            bench.run(&name(&format!("{direction:?} walk, cached")), RECORDS, raw, || {
                assert_eq!(table.scan(all.clone(), direction, cached).count() as u64, RECORDS);
            });
            table.cache().clear();
            bench.run(&name(&format!("{direction:?} walk, streaming")), RECORDS, raw, || {
                assert_eq!(streaming().count() as u64, RECORDS);
            });
            let sources = || -> Vec<Box<dyn RecordIter>> {
                (0..4).map(|_| Box::new(streaming()) as Box<dyn RecordIter>).collect()
            };
            let merged = RECORDS * 4;
            bench.run(&name(&format!("{direction:?} merge of 4")), merged, raw * 4, || {
                let merge = MergeIter::new(sources(), direction);
                assert_eq!(VisibleIter::new(merge, u64::MAX, direction).count() as u64, RECORDS);
            });
            table.scan(all.clone(), direction, ScanOptions::cached(ReadMode::Blocking)).count();
        }
        let seek = || {
            for n in 0..100_000 {
                let start = Bytes::copy_from_slice(&key(n * 7919 % RECORDS * 2));
                let range = (Bound::Included(start), Bound::Unbounded);
                let cached = ScanOptions::cached(ReadMode::Resident);
                let first = table.scan(range, Direction::Forward, cached).next();
                assert!(matches!(first, Some(Ok(_))));
            }
        };
        bench.run(&name("seek and first record"), 100_000, 0, seek);
        bench.run(&name("verify"), RECORDS, raw, || table.verify())?;
    }
    Ok(())
}
