//! The work: the same on every engine, from the same seed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::store::{Outcome, Pair, Reader, Store};
use crate::usage::{self, Spent, Usage};

/// Pairs of one transaction.
const BATCH: u64 = 100;
/// Pairs of one short scan.
const SCAN_PAIRS: usize = 20;

/// How much of it.
#[derive(Debug, Clone)]
pub(crate) struct Amount {
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
    /// Random reads of each kind; a tenth as many scans.
    pub(crate) reads: u64,
    /// Transactions that are synced.
    pub(crate) syncs: u64,
    /// For how long is read beside a writer.
    pub(crate) mixed: Duration,
    /// Pairs per second of that writer.
    pub(crate) mixed_rate: u64,
}

/// Prints a result: a name, and a number as the table shows it.
pub(crate) fn tell(name: &str, value: f64) {
    println!("{name}\t{value}");
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
fn tell_rate(name: &str, operations: u64, spent: Spent) {
    tell(&format!("{name} ops/s"), operations as f64 / spent.seconds);
    tell(&format!("{name} CPU us"), spent.cpu_s * 1e6 / operations as f64);
}

fn key(number: u64) -> Vec<u8> {
    format!("key:{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes()
}

/// A value that compresses by half.
fn value(random: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    let mut value = vec![b'x'; len];
    random.fill(&mut value[..len / 2]);
    value
}

/// Does all of it on `store`, whose directory is `dir`.
pub(crate) fn run(store: &mut dyn Store, dir: &Path, amount: &Amount) -> Outcome<()> {
    let mut random = fastrand::Rng::with_seed(1);
    let in_order = |n: u64, _: &mut fastrand::Rng| n;
    let keys = amount.keys;
    write(store, "load", amount, &mut random, in_order)?;
    write(store, "overwrite", amount, &mut random, |_, random| random.u64(0..keys))?;
    tell("space MB", mega(usage::disk_bytes(dir)));
    eprintln!("{}", store.shape());

    let reader = store.reader();
    read(&*reader, "get", amount, &mut random, 0)?;
    read(&*reader, "miss", amount, &mut random, keys)?;
    scan(&*reader, amount, &mut random)?;
    drop(reader);
    synced(store, amount, &mut random)?;
    mixed(store, amount, &mut random)?;
    tell("peak RSS MB", usage::resident_peak_bytes() / 1e6);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "megabytes need no more digits")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn batch(
    amount: &Amount,
    random: &mut fastrand::Rng,
    first: u64,
    pick: impl Fn(u64, &mut fastrand::Rng) -> u64,
) -> Vec<Pair> {
    let numbers = first..(first + BATCH).min(amount.keys);
    numbers.map(|n| (key(pick(n, random)), value(random, amount.value_bytes))).collect()
}

/// Writes as many pairs as there are keys, then waits until the tree is in shape: the rate is that of
/// the writes, CPU and amplification include the rest.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more digits")]
fn write(
    store: &mut dyn Store,
    name: &str,
    amount: &Amount,
    random: &mut fastrand::Rng,
    pick: impl Fn(u64, &mut fastrand::Rng) -> u64,
) -> Outcome<()> {
    let start = Usage::now();
    let mut slowest = Duration::ZERO;
    for first in (0..amount.keys).step_by(usize::try_from(BATCH)?) {
        let pairs = batch(amount, random, first, &pick);
        let begin = Instant::now();
        store.write(pairs, false)?;
        slowest = slowest.max(begin.elapsed());
    }
    let writes = start.until_now();
    store.settle()?;
    let all = start.until_now();
    let user_bytes = amount.keys as f64 * (20 + amount.value_bytes) as f64;
    tell_rate(name, amount.keys, Spent { cpu_s: all.cpu_s, ..writes });
    tell(&format!("{name} settle s"), all.seconds - writes.seconds);
    tell(&format!("{name} slowest batch ms"), slowest.as_secs_f64() * 1e3);
    tell(&format!("{name} write amplification"), all.written_bytes / user_bytes);
    Ok(())
}

/// Random lookups among as many keys as there are, from number `from` on.
fn read(
    reader: &dyn Reader,
    name: &str,
    amount: &Amount,
    random: &mut fastrand::Rng,
    from: u64,
) -> Outcome<()> {
    let start = Usage::now();
    let mut found = 0;
    for _ in 0..amount.reads {
        let number = from + random.u64(0..amount.keys);
        found += u64::from(reader.get(&key(number))?.is_some());
    }
    let spent = start.until_now();
    let expected = if from == 0 { amount.reads } else { 0 };
    if found != expected {
        return Err(format!("{name}: {found} of {expected} keys were found").into());
    }
    tell_rate(name, amount.reads, spent);
    Ok(())
}

fn scan(reader: &dyn Reader, amount: &Amount, random: &mut fastrand::Rng) -> Outcome<()> {
    let start = Usage::now();
    let scans = (amount.reads / 10).max(1);
    for _ in 0..scans {
        reader.scan(&key(random.u64(0..amount.keys)), SCAN_PAIRS)?;
    }
    tell_rate("scan of 20", scans, start.until_now());
    Ok(())
}

fn synced(store: &mut dyn Store, amount: &Amount, random: &mut fastrand::Rng) -> Outcome<()> {
    let start = Usage::now();
    let keys = amount.keys;
    for _ in 0..amount.syncs {
        store.write(batch(amount, random, 0, |_, random| random.u64(0..keys)), true)?;
    }
    tell_rate("synced batch of 100", amount.syncs, start.until_now());
    Ok(())
}

/// One thread overwrites at a given rate, another reads as fast as it can.
fn mixed(store: &mut dyn Store, amount: &Amount, random: &mut fastrand::Rng) -> Outcome<()> {
    let reader = store.reader();
    let (keys, done) = (amount.keys, &AtomicBool::new(false));
    let start = Usage::now();
    let (latencies, written) = std::thread::scope(|scope| -> Outcome<(Vec<f64>, u64)> {
        let reads = scope.spawn(move || read_until(&*reader, keys, done));
        let result = overwrite_at_rate(store, amount, random);
        done.store(true, Ordering::Relaxed);
        let latencies = reads.join().map_err(|_| "the reader panicked")??;
        Ok((latencies, result?))
    })?;
    let spent = start.until_now();
    tell_mixed(latencies, written, spent);
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a sorted list, and rates"
)]
fn tell_mixed(mut latencies: Vec<f64>, written: u64, spent: Spent) {
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies.get(place).copied().unwrap_or(0.0) * 1e6
    };
    tell("read while writing, reads/s", latencies.len() as f64 / spent.seconds);
    tell("read while writing, p50 us", at(0.5));
    tell("read while writing, p99 us", at(0.99));
    tell("read while writing, p99.9 us", at(0.999));
    tell("read while writing, writes/s", written as f64 / spent.seconds);
}

fn read_until(reader: &dyn Reader, keys: u64, done: &AtomicBool) -> Outcome<Vec<f64>> {
    let mut random = fastrand::Rng::with_seed(2);
    let mut latencies = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let wanted = key(random.u64(0..keys));
        let begin = Instant::now();
        reader.get(&wanted)?;
        latencies.push(begin.elapsed().as_secs_f64());
    }
    Ok(latencies)
}

fn overwrite_at_rate(
    store: &mut dyn Store,
    amount: &Amount,
    random: &mut fastrand::Rng,
) -> Outcome<u64> {
    let (begin, keys) = (Instant::now(), amount.keys);
    let mut written = 0;
    while begin.elapsed() < amount.mixed {
        let due = begin + Duration::from_secs(written) / u32::try_from(amount.mixed_rate.max(1))?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        store.write(batch(amount, random, 0, |_, random| random.u64(0..keys)), false)?;
        written += BATCH.min(amount.keys);
    }
    Ok(written)
}
