//! The same work on SiltDB's engine, fjall and RocksDB; `benches/engines.sh` runs it and makes the
//! table.
//!
//! usage: siltdb-bench-engines ENGINE DIR [NAME=NUMBER]...
//!
//! Prints one result a line: name, tab, number. Names: `keys`, `value` (bytes), `reads`, `syncs`,
//! `mixed` (seconds), `rate` (pairs per second of the writer beside which is read), `memtable`, `cache`,
//! `level` (MiB), `table` (KiB), `compaction` (MiB per second, SiltDB only, 0: not limited).

mod on_fjall;
#[cfg(feature = "rocksdb")]
mod on_rocksdb;
mod on_siltdb;
mod store;
mod usage;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use store::{Outcome, Shape};
use work::Amount;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [engine, dir, numbers @ ..] = &words[..] else {
        return Err("usage: siltdb-bench-engines ENGINE DIR [NAME=NUMBER]...".into());
    };
    let number = |name: &str, default: u64| -> Outcome<u64> {
        let pairs = numbers.iter().filter_map(|word| word.split_once('='));
        let given = pairs.filter(|(given, _)| *given == name).next_back();
        given.map_or(Ok(default), |(_, number)| Ok(number.parse()?))
    };
    let mebibytes = |name: &str, default: u64| number(name, default).map(|it| it << 20);
    let shape = Shape {
        dir: PathBuf::from(dir),
        memtable_bytes: mebibytes("memtable", 16)?,
        cache_bytes: mebibytes("cache", 48)?,
        table_bytes: number("table", 16 << 10)? << 10,
        level_bytes: mebibytes("level", 64)?,
        compaction_rate: mebibytes("compaction", 64)?,
    };
    let amount = Amount {
        keys: number("keys", 2_000_000)?,
        value_bytes: usize::try_from(number("value", 100)?)?,
        reads: number("reads", 500_000)?,
        syncs: number("syncs", 2_000)?,
        mixed: Duration::from_secs(number("mixed", 10)?),
        mixed_rate: number("rate", 50_000)?,
    };
    let open = match &engine[..] {
        "siltdb" => on_siltdb::open,
        "fjall" => on_fjall::open,
        #[cfg(feature = "rocksdb")]
        "rocksdb" => on_rocksdb::open,
        other => return Err(format!("there is no engine {other}").into()),
    };
    let mut store = open(&shape)?;
    work::run(&mut *store, &shape.dir, &amount)?;
    drop(store);
    let start = Instant::now();
    drop(open(&shape)?);
    work::tell("open and close again ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
