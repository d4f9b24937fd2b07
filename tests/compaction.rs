//! What compaction drops: what is deleted, dead or expired, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use siltdb::engine::{Filter, Judge, KeepAll, Options, Read, ReadMode, Result, Writer};
use siltdb::env::{SimClock, SimFs};
use store::{Store, contents, key, publish, tiny_options, value};

/// Values begin with their expiry in ms, 0 for none. The root names generations, by the first byte
/// of their keys, that are dead.
#[derive(Debug)]
struct Expiring(SimClock);

struct Expired(SimClock, Bytes);

fn expiry(value: &[u8]) -> Option<u64> {
    let at = u64::from_le_bytes(value.get(..8)?.try_into().ok()?);
    (at > 0).then_some(at)
}

impl Filter for Expiring {
    fn expires_at_ms(&self, _key: &[u8], value: &[u8]) -> Option<u64> {
        expiry(value)
    }

    fn judge(&self, view: Box<dyn Read + Send>) -> Box<dyn Judge> {
        Box::new(Expired(self.0.clone(), Bytes::copy_from_slice(view.root())))
    }
}

impl Judge for Expired {
    fn is_dead(&mut self, key: &Bytes, value: &[u8]) -> Result<bool> {
        use siltdb::env::Clock;
        let is_expired = expiry(value).is_some_and(|at| at <= self.0.unix_ms());
        Ok(is_expired || self.1.contains(&key[0]))
    }
}

fn record(expiry: u64, seed: u64) -> Bytes {
    let mut record = expiry.to_le_bytes().to_vec();
    record.extend_from_slice(&value(seed, 60));
    record.into()
}

fn bytes_on_disk(store: &Store) -> u64 {
    store.engine.stats().levels.iter().map(|level| level.bytes).sum()
}

fn settle(store: &mut Store) {
    store.make_durable().unwrap();
    store.engine.flush_wait().unwrap();
    while store.engine.step().unwrap() {}
    store.engine.check().unwrap();
}

fn options() -> Options {
    Options {
        memtable_bytes: 64 << 10,
        level1_bytes: 64 << 10,
        table_bytes: 16 << 10,
        ..tiny_options()
    }
}

#[test]
fn expired_records_go_when_their_time_has_come() {
    let clock = SimClock::at_ms(1000);
    let filter = Arc::new(Expiring(clock.clone()));
    let mut store = Store::open_with(&SimFs::new(1), options(), filter, clock.clone()).unwrap();
    for number in 0..1000u32 {
        // Every key has an older record without an expiry; it must not come back.
        store.commit(&vec![(key(number), Some(record(0, number.into())))], None).unwrap();
    }
    settle(&mut store);
    store.engine.compact_all().unwrap();
    for number in 0..1000u32 {
        let expiry = if number % 10 == 0 { 0 } else { 5000 };
        store.commit(&vec![(key(number), Some(record(expiry, number.into())))], None).unwrap();
    }
    settle(&mut store);
    store.engine.compact_all().unwrap();
    let full = bytes_on_disk(&store);
    let mut snapshot = Some(store.engine.snapshot(ReadMode::Blocking));
    clock.advance_ms(5000);
    while store.engine.step().unwrap() {}
    assert!(bytes_on_disk(&store) < full / 4, "{} of {full}", bytes_on_disk(&store));
    let left = contents(&store.engine.snapshot(ReadMode::Blocking)).unwrap();
    assert!(left.len() < 120, "{}", left.len());
    let lasting: Vec<Bytes> = (0..1000).filter(|number| number % 10 == 0).map(key).collect();
    let is_lasting = |key: &Bytes| lasting.contains(key);
    for (key, value) in &left {
        assert_eq!(is_lasting(key), expiry(value).is_none(), "an older record came back");
    }
    assert!(lasting.iter().all(|key| left.contains_key(key)));
    assert_eq!(contents(snapshot.as_ref().unwrap()).unwrap().len(), 1000, "views do not change");
    snapshot.take();
    while store.engine.step().unwrap() {}
    store.engine.check().unwrap();
}

#[test]
fn nothing_is_dropped_for_what_a_power_cut_undoes() {
    let clock = SimClock::at_ms(1);
    let open = |fs: &SimFs| {
        let filter = Arc::new(Expiring(clock.clone()));
        Store::open_with(fs, options(), filter, clock.clone()).unwrap()
    };
    for seed in 0..20 {
        let fs = SimFs::new(seed);
        let mut store = open(&fs);
        for number in 0..200u32 {
            store.commit(&vec![(key(number), Some(record(0, number.into())))], None).unwrap();
        }
        settle(&mut store);
        store.engine.compact_all().unwrap();
        // The end of all that begins with 'k' is seen before it is durable, as with `everysec`.
        store.commit(&vec![], Some(Bytes::from_static(b"k"))).unwrap();
        let batch = store.writer.take_batch().unwrap();
        let seq = batch.seq();
        batch.write().unwrap();
        store.writer.publish(seq);
        store.engine.reclaim();
        while store.engine.step().unwrap() {}
        assert!(contents(&store.engine.snapshot(ReadMode::Blocking)).unwrap().len() < 200);
        drop(store);

        let store = open(&fs.crash(seed));
        let view = store.engine.snapshot(ReadMode::Blocking);
        let left = contents(&view).unwrap().len();
        assert!(left == 200 || view.root() == b"k", "the end of it was lost, and yet it is gone");
    }
}

#[test]
fn dead_generations_are_dropped_by_any_compaction() {
    let clock = SimClock::at_ms(1);
    let filter = Arc::new(Expiring(clock.clone()));
    let mut store = Store::open_with(&SimFs::new(1), options(), filter, clock).unwrap();
    let named = |generation: u8, number: u32| {
        let mut name = vec![generation];
        name.extend_from_slice(&number.to_be_bytes());
        Bytes::from(name)
    };
    for number in 0..500 {
        for generation in [1, 2] {
            let write = (named(generation, number), Some(record(0, number.into())));
            store.commit(&vec![write], None).unwrap();
        }
    }
    settle(&mut store);
    store.commit(&vec![], Some(Bytes::from_static(&[1]))).unwrap();
    settle(&mut store);
    store.engine.compact_all().unwrap();
    let left = contents(&store.engine.snapshot(ReadMode::Blocking)).unwrap();
    assert_eq!(left.len(), 500);
    assert!(left.keys().all(|key| key[0] == 2));
    assert!(store.engine.stats().filter_dropped >= 500);
}

#[test]
fn a_dropped_keyspace_gives_its_space_back() {
    let clock = SimClock::at_ms(1);
    let filter = Arc::new(Expiring(clock.clone()));
    let mut store = Store::open_with(&SimFs::new(1), options(), filter, clock).unwrap();
    for round in 0..3u64 {
        for number in 0..1500u32 {
            let mut name = vec![7];
            name.extend_from_slice(&number.to_be_bytes());
            let write = (name.into(), Some(record(0, round << 32 | u64::from(number))));
            store.commit(&vec![write], None).unwrap();
        }
        settle(&mut store);
    }
    store.commit(&vec![], Some(Bytes::from_static(&[7]))).unwrap();
    settle(&mut store);
    let full = bytes_on_disk(&store);
    store.engine.reclaim();
    while store.engine.step().unwrap() {}
    let level0 = store.engine.stats().levels[0].bytes;
    assert_eq!(bytes_on_disk(&store), level0, "of {full}");
    let written = store.engine.stats().compactions;
    store.engine.reclaim();
    while store.engine.step().unwrap() {}
    assert_eq!(store.engine.stats().compactions, written, "there is nothing more to be had");
    store.engine.check().unwrap();
}

#[test]
fn deleted_keys_leave_nothing_behind() {
    let clock = SimClock::at_ms(1);
    let mut store = Store::open_with(&SimFs::new(1), options(), Arc::new(KeepAll), clock).unwrap();
    for number in 0..2000u32 {
        store.commit(&vec![(key(number), Some(value(number.into(), 80)))], None).unwrap();
    }
    settle(&mut store);
    store.engine.compact_all().unwrap();
    for number in 0..2000u32 {
        store.commit(&vec![(key(number), None)], None).unwrap();
        store.make_durable().unwrap();
        store.make_room().unwrap();
    }
    settle(&mut store);
    store.engine.compact_all().unwrap();
    while store.engine.step().unwrap() {}
    assert_eq!(bytes_on_disk(&store), 0, "{:?}", store.engine.stats().levels);
}

#[test]
fn transactions_of_the_root_alone_do_not_fill_the_log() {
    let mut store = Store::open(&SimFs::new(1)).unwrap();
    for number in 0..200u8 {
        store.commit(&vec![], Some(Bytes::from(vec![number; 2000]))).unwrap();
        store.make_durable().unwrap();
        while store.engine.step().unwrap() {}
    }
    let stats = store.engine.stats();
    assert!(stats.wal_bytes > 400_000 && stats.wal_disk_bytes < 100_000, "{stats:?}");
    let fs = store.fs.clone();
    drop(store);
    let store = Store::open(&fs).unwrap();
    assert_eq!(store.engine.snapshot(ReadMode::Resident).root(), [199; 2000]);
}

#[test]
fn what_walks_pass_over_in_vain_is_compacted_away() {
    let clock = SimClock::at_ms(1);
    // The memtable has room for all of it.
    let options = Options {
        memtable_bytes: 16 << 20,
        level1_bytes: 16 << 20,
        table_bytes: 1 << 20,
        l0_trigger: 4,
        ..options()
    };
    let mut store =
        Store::open_with(&SimFs::new(2), options, Arc::new(KeepAll), clock.clone()).unwrap();
    let put = |store: &mut Store, from: u32, to: u32, value: Option<Bytes>| {
        let writes: Vec<_> = (from..to).map(|number| (key(number), value.clone())).collect();
        store.commit(&writes, None).unwrap();
        store.make_durable().unwrap();
    };
    put(&mut store, 0, 30_000, Some(value(7, 20)));
    settle(&mut store);
    store.engine.compact_all().unwrap();
    put(&mut store, 0, 6000, None);
    let walk = |store: &Store| contents(&store.engine.snapshot(ReadMode::Blocking)).unwrap().len();
    let tombstones_go = |store: &Store| {
        let flushes = store.engine.stats().flushes;
        while store.engine.step().unwrap() {}
        store.engine.stats().flushes > flushes
    };
    assert_eq!(walk(&store), 24_000);
    assert!(!tombstones_go(&store), "one walk costs less than a flush");
    let (mut walks, before) = (1, store.engine.stats().compactions);
    while !tombstones_go(&store) {
        assert_eq!(walk(&store), 24_000);
        walks += 1;
        assert!(walks < 20, "walks pay for it never");
    }
    // Fewer than a quarter of what level 0 is compacted with.
    assert_eq!(store.engine.stats().compactions, before);
    while store.engine.stats().compactions == before {
        assert_eq!(walk(&store), 24_000);
        while store.engine.step().unwrap() {}
        walks += 1;
        assert!(walks < 60, "walks pay for it never");
    }
    assert_eq!(walk(&store), 24_000);
    store.engine.check().unwrap();
}

/// Holds a compaction at its first record, and at one far behind it.
#[derive(Debug, Clone)]
struct Held {
    seen: Arc<AtomicUsize>,
    gate: Arc<Barrier>,
}

/// With the view that it judges by.
struct HeldJudge(Held, Box<dyn Read + Send>);

impl Filter for Held {
    fn expires_at_ms(&self, _: &[u8], _: &[u8]) -> Option<u64> {
        None
    }

    fn judge(&self, view: Box<dyn Read + Send>) -> Box<dyn Judge> {
        Box::new(HeldJudge(self.clone(), view))
    }
}

impl Judge for HeldJudge {
    fn is_dead(&mut self, key: &Bytes, _: &[u8]) -> Result<bool> {
        let Held { seen, gate } = &self.0;
        if [0, 500].contains(&seen.fetch_add(1, Ordering::Relaxed)) {
            gate.wait();
            gate.wait();
        }
        Ok(self.1.get(key)?.is_none())
    }
}

/// Two tables of level 0 with every second key each, and their keys.
fn two_flushes(store: &mut Store, keys: u32) -> Vec<Bytes> {
    for parity in [0, 1] {
        for number in (0..keys).filter(|number| number % 2 == parity) {
            store.commit(&vec![(key(number), Some(value(number.into(), 100)))], None).unwrap();
        }
        settle(store);
    }
    assert_eq!(store.engine.stats().levels[0].files, 2);
    (0..keys).map(key).collect()
}

#[test]
fn an_idle_store_has_no_level_0() {
    let options = Options { l0_trigger: 4, memtable_bytes: 1 << 20, ..options() };
    let clock = SimClock::at_ms(1);
    let mut store = Store::open_with(&SimFs::new(1), options, Arc::new(KeepAll), clock).unwrap();
    let keys = two_flushes(&mut store, 1000);
    store.engine.set_idle(true);
    settle(&mut store);
    assert_eq!(store.engine.stats().levels[0].files, 0);
    let compactions = store.engine.stats().compactions;
    assert_eq!(contents(&store.engine.snapshot(ReadMode::Blocking)).unwrap().len(), keys.len());
    // A flush alone is no reason to write everything anew.
    store.commit(&vec![(key(0), Some(value(0, 100)))], None).unwrap();
    settle(&mut store);
    assert_eq!(store.engine.stats().compactions, compactions);
}

#[test]
fn the_cache_has_what_takes_the_place_of_what_it_had() {
    let options = Options {
        l0_trigger: 4,
        memtable_bytes: 4 << 20,
        block_cache_bytes: 4 << 20,
        row_cache_bytes: 0,
        ..options()
    };
    let clock = SimClock::at_ms(1);
    let mut store = Store::open_with(&SimFs::new(1), options, Arc::new(KeepAll), clock).unwrap();
    let keys = two_flushes(&mut store, 20_000);
    store.engine.set_idle(true);
    store.engine.compact_all().unwrap();
    let misses = |keys: &[Bytes]| {
        let before = store.engine.stats().cache_misses;
        let view = store.engine.snapshot(ReadMode::Blocking);
        keys.iter().for_each(|key| assert!(view.get(key).unwrap().is_some()));
        store.engine.stats().cache_misses - before
    };
    let all = misses(&keys);
    assert!(all < 50, "{all}");
}

#[test]
fn what_is_looked_up_once_gets_no_row() {
    let options = Options { l0_trigger: 4, memtable_bytes: 1 << 20, ..options() };
    let fs = SimFs::new(1);
    let open = || Store::open_with(&fs, options.clone(), Arc::new(KeepAll), SimClock::at_ms(1));
    let mut store = open().unwrap();
    let keys = two_flushes(&mut store, 1000);
    store.engine.close();
    drop(store);
    let store = open().unwrap();
    let look = |mode: ReadMode, keys: &[Bytes]| {
        let view = store.engine.snapshot(mode);
        keys.iter().for_each(|key| assert!(view.get(key).unwrap().is_some()));
        let stats = store.engine.stats();
        (stats.rows, stats.table_lookups)
    };
    // Who had to wait has it kept at once.
    let (waited, found) = keys.split_at(100);
    assert_eq!(look(ReadMode::Blocking, waited), (100, 100));
    contents(&store.engine.snapshot(ReadMode::Blocking)).unwrap();
    let (rows, lookups) = look(ReadMode::Resident, found);
    assert!((100..400).contains(&rows) && lookups == 1000, "{rows} {lookups}");
    let (rows, lookups) = look(ReadMode::Resident, found);
    assert!(rows == 1000 && lookups > 1600, "{rows} {lookups}");
    assert_eq!(look(ReadMode::Resident, found), (rows, lookups));
}

fn write(writer: &mut Writer, number: u32) {
    let mut txn = writer.begin(ReadMode::Blocking).unwrap();
    txn.put(key(number), value(number.into(), 1000));
    let changes = txn.into_changes();
    publish(writer, changes);
}

#[test]
fn a_compaction_keeps_no_memtable_that_is_flushed_meanwhile() {
    let fs = SimFs::new(1);
    let large = 1 << 20;
    let options = Options {
        memtable_bytes: large,
        segment_bytes: large,
        table_bytes: large,
        level1_bytes: 4 * large,
        ..tiny_options()
    };
    let held = Held { seen: Arc::default(), gate: Arc::new(Barrier::new(2)) };
    let store = Store::open_with(&fs, options, Arc::new(held.clone()), SimClock::at_ms(1)).unwrap();
    let Store { engine, mut writer, .. } = store;
    for _ in 0..2 {
        (0..600).for_each(|number| write(&mut writer, number));
        engine.flush_wait().unwrap();
    }
    held.seen.store(0, Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| while engine.step().unwrap() {});
        held.gate.wait();
        write(&mut writer, 1000);
        engine.flush_wait().unwrap();
        write(&mut writer, 1001);
        held.gate.wait();
        held.gate.wait();
        while engine.step().unwrap() {}
        let pinned = engine.pinned_bytes();
        held.gate.wait();
        assert_eq!(pinned, 0);
    });
    engine.check().unwrap();
}
