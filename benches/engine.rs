//! What the engine costs under load: random writes in batches, then random lookups. Run with
//! `cargo bench --bench engine -- [keys] [maxmemory MiB] [value bytes]`.
//!
//! Writes 20-byte keys in random order and values that compress by half, in batches of 100
//! transactions, with a sync every 100 batches; then prints the resident memory at its highest, the
//! shape of the tree, and the time of random lookups.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use siltdb::engine::{Engine, KeepAll, Options, Read, ReadMode, Result};
use siltdb::env::{Clock, RealFs, SystemClock};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn resident_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key:{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn value(random: &mut fastrand::Rng, len: usize) -> Bytes {
    let mut value = vec![b'x'; len];
    random.fill(&mut value[..len / 2]);
    value.into()
}

fn main() -> Result<()> {
    let numbers: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize, default: u64| numbers.get(at).copied().unwrap_or(default);
    let (keys, maxmemory) = (number(0, 2_000_000), number(1, 256) << 20);
    let value_bytes = usize::try_from(number(2, 100)).unwrap_or(100);
    let dir = std::env::temp_dir().join(format!("siltdb-bench-{}", std::process::id()));
    let clock = Arc::new(SystemClock::default());
    let seconds =
        |since: u64| std::time::Duration::from_nanos(clock.monotonic_ns() - since).as_secs_f64();
    let options = Options::for_budget(&dir, maxmemory);
    let open = || Engine::open(Arc::new(RealFs), clock.clone(), options.clone(), Arc::new(KeepAll));
    let (engine, mut writer) = open()?;
    let mut out = std::io::stdout();
    let mut random = fastrand::Rng::with_seed(1);

    let start = clock.monotonic_ns();
    for first in (0..keys).step_by(100) {
        while writer.must_wait() {
            std::thread::yield_now();
        }
        for n in first..(first + 100).min(keys) {
            let mut txn = writer.begin(ReadMode::Blocking)?;
            txn.put(key(n), value(&mut random, value_bytes));
            let changes = txn.into_changes();
            writer.commit(changes);
        }
        if let Some(batch) = writer.take_batch() {
            let seq = batch.seq();
            batch.write()?;
            if first % 10_000 == 0 {
                writer.syncer().sync()?;
            }
            writer.publish(seq);
        }
        let delay = writer.delay();
        let until = clock.monotonic_ns() + u64::try_from(delay.as_nanos()).unwrap_or(0);
        while clock.monotonic_ns() < until {
            std::thread::yield_now();
        }
        if first % (keys / 10).max(100) == 0 {
            let stats = engine.stats();
            let levels: Vec<u64> = stats.levels.iter().map(|level| level.files).collect();
            let _ = writeln!(
                out,
                "{first:>10} {:>6.1} s, resident {} MiB, tables {levels:?}, debt {} MiB, delayed {} ms",
                seconds(start),
                resident_mib("VmRSS"),
                stats.compaction_debt_bytes >> 20,
                stats.stall_us / 1000,
            );
        }
    }
    let took = seconds(start);
    let peak = resident_mib("VmHWM");
    let _ = writeln!(out, "wrote {keys} keys in {took:.1} s, peak resident {peak} MiB");
    engine.flush_wait()?;
    let start = clock.monotonic_ns();
    while engine.stats().compaction_debt_bytes > 0 {
        std::thread::yield_now();
    }
    let _ = writeln!(out, "compactions settled after {:.1} s", seconds(start));
    engine.close();
    drop((engine, writer));

    let start = clock.monotonic_ns();
    let (engine, _writer) = open()?;
    let _ = writeln!(out, "opened in {:.3} s", seconds(start));
    for mode in [ReadMode::Blocking, ReadMode::Resident] {
        let start = clock.monotonic_ns();
        let (lookups, mut found, mut waits) = (200_000, 0u64, 0u64);
        for _ in 0..lookups {
            match engine.snapshot(mode).get(&key(random.u64(0..keys))) {
                Ok(Some(_)) => found += 1,
                Ok(None) => {}
                Err(_) => waits += 1,
            }
        }
        let _ = writeln!(
            out,
            "{lookups} lookups ({mode:?}): {:.2} us each, {found} found, {waits} would wait",
            seconds(start) * 1e6 / f64::from(lookups),
        );
    }
    let _ = writeln!(out, "{:?}", engine.stats());
    engine.close();
    drop(engine);
    std::fs::remove_dir_all(&dir).map_err(siltdb::engine::Error::io("remove", &dir))
}
