//! The engine with its threads on a real disk: a writer, readers and background work at once.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use siltdb::engine::{Direction, Engine, Error, KeepAll, Options, Read, ReadMode, Result, Writer};
use siltdb::env::{RealFs, SystemClock};
use store::{publish, tiny_options, value};

fn open(dir: &std::path::Path, options: &Options) -> (Engine, Writer) {
    let options = Options { dir: dir.to_owned(), ..options.clone() };
    let clock = Arc::new(SystemClock::default());
    Engine::open(Arc::new(RealFs), clock, options, Arc::new(KeepAll)).unwrap()
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key:{number:05}"))
}

/// Each transaction moves an amount between two accounts, so every view has the same sum.
#[test]
fn every_view_is_consistent_while_everything_runs() {
    const ACCOUNTS: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        memtable_bytes: 64 << 10,
        background_threads: 3,
        compaction_rate: 0,
        table_bytes: 16 << 10,
        level1_bytes: 32 << 10,
        segment_bytes: 256 << 10,
        ..tiny_options()
    };
    let (engine, mut writer) = open(dir.path(), &options);
    let amount = |bytes: &Bytes| i64::from_le_bytes(bytes[..8].try_into().unwrap());
    let record = |amount: i64, seed: u64| {
        let mut record = amount.to_le_bytes().to_vec();
        record.extend_from_slice(&value(seed, 100));
        Bytes::from(record)
    };
    let mut txn = writer.begin(ReadMode::Blocking).unwrap();
    for account in 0..ACCOUNTS {
        txn.put(key(account), record(0, account));
    }
    let changes = txn.into_changes();
    publish(&mut writer, changes);

    let done = AtomicBool::new(false);
    let all = (Bound::Unbounded, Bound::Unbounded);
    std::thread::scope(|scope| {
        for direction in [Direction::Forward, Direction::Reverse] {
            let (engine, done, all) = (&engine, &done, &all);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let view = engine.snapshot(ReadMode::Blocking);
                    let pairs: Vec<_> =
                        view.scan(all.clone(), direction).collect::<Result<_>>().unwrap();
                    assert_eq!(pairs.len() as u64, ACCOUNTS);
                    assert_eq!(pairs.iter().map(|(_, v)| amount(v)).sum::<i64>(), 0);
                    let sum: i64 =
                        (0..ACCOUNTS).map(|n| amount(&view.get(&key(n)).unwrap().unwrap())).sum();
                    assert_eq!(sum, 0);
                }
            });
        }
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..6000u64 {
            while writer.must_wait() {
                std::thread::yield_now();
            }
            let (a, b) = (random.u64(0..ACCOUNTS), random.u64(0..ACCOUNTS));
            let mut txn = writer.begin(ReadMode::Blocking).unwrap();
            for (account, by) in [(a, 7), (b, -7)] {
                let before = amount(&txn.get(&key(account)).unwrap().unwrap());
                txn.put(key(account), record(before + by, round));
            }
            let changes = txn.into_changes();
            writer.commit(changes);
            if random.u8(..) < 100 {
                let batch = writer.take_batch().unwrap();
                let seq = batch.seq();
                batch.write().unwrap();
                writer.publish(seq);
            }
        }
        if let Some(batch) = writer.take_batch() {
            let seq = batch.seq();
            batch.write().unwrap();
            writer.publish(seq);
        }
        done.store(true, Ordering::Relaxed);
    });
    engine.flush_wait().unwrap();
    engine.compact_all().unwrap();
    engine.check().unwrap();
    let stats = engine.stats();
    assert!(stats.flushes > 5 && stats.compactions > 2, "{stats:?}");
    assert_eq!(stats.background_error, None);
    engine.close();
    assert!(matches!(writer.begin(ReadMode::Resident), Err(Error::Closed)));
    drop((engine, writer));

    let (engine, _writer) = open(dir.path(), &options);
    engine.check().unwrap();
    let view = engine.snapshot(ReadMode::Blocking);
    let sum: i64 = view.scan(all, Direction::Forward).map(|pair| amount(&pair.unwrap().1)).sum();
    assert_eq!(sum, 0);
}

#[tokio::test]
async fn a_full_store_is_writable_again_after_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut writer) = open(dir.path(), &tiny_options());
    let mut last = 0;
    while !writer.must_wait() {
        let mut txn = writer.begin(ReadMode::Resident).unwrap();
        txn.put(key(last), value(last, 500));
        let changes = txn.into_changes();
        last = writer.commit(changes);
        let batch = writer.take_batch().unwrap();
        batch.write().unwrap();
        writer.publish(last);
    }
    assert!(!writer.delay().is_zero(), "the bound is met gently");
    let waiting = tokio::spawn({
        let engine = engine.clone();
        async move { engine.writable().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert!(engine.step().unwrap());
    waiting.await.unwrap();
    assert!(!writer.must_wait());
}

#[test]
fn a_resident_view_ends_when_its_steps_are_used_up() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes: 1 << 20, resident_steps: 100, ..tiny_options() };
    let (engine, mut writer) = open(dir.path(), &options);
    let mut txn = writer.begin(ReadMode::Resident).unwrap();
    (0..300).for_each(|number| txn.put(key(number), Bytes::new()));
    let changes = txn.into_changes();
    let seq = writer.commit(changes);
    writer.take_batch().unwrap().write().unwrap();
    writer.publish(seq);
    let view = engine.snapshot(ReadMode::Resident);
    let all = (Bound::Unbounded, Bound::Unbounded);
    let result: Result<Vec<_>> = view.scan(all.clone(), Direction::Forward).collect();
    assert!(matches!(result, Err(Error::WouldBlock)));
    assert!(view.scan(all.clone(), Direction::Forward).next().unwrap().is_err(), "one budget");
    let blocking = view.with_mode(ReadMode::Blocking);
    assert_eq!(blocking.seq(), view.seq());
    assert_eq!(blocking.scan(all.clone(), Direction::Forward).count(), 300);
    // A transaction of the writer has many times as many: it would have to be run again there.
    let txn = writer.begin(ReadMode::Resident).unwrap();
    let walk = || txn.scan(all.clone(), Direction::Forward).collect::<Result<Vec<_>>>();
    assert_eq!(walk().unwrap().len(), 300);
    assert!((0..10).any(|_| matches!(walk(), Err(Error::WouldBlock))), "but they end, too");
    // What only warms goes as far as that would, and no further.
    let warming = blocking.within_steps_of_writer();
    let walk = || warming.scan(all.clone(), Direction::Forward).collect::<Result<Vec<_>>>();
    assert_eq!(walk().unwrap().len(), 300);
    assert!((0..10).any(|_| matches!(walk(), Err(Error::WouldBlock))));
}
