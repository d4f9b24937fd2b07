//! A full disk: writes are refused with a reason, reads go on, the store can be opened, and writes
//! come back by themselves when there is space again. Nothing that was acknowledged is lost, and
//! nothing that was refused is there.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::sync::Arc;

use siltdb::engine::{Error, KeepAll, Options, Read, ReadMode, Result};
use siltdb::env::{SimClock, SimFs};
use store::{Model, Store, Writes, apply, compare, contents, key, tiny_options, value};

const KEYS: u32 = 30;

fn options(space_reserve_bytes: u64) -> Options {
    Options { space_reserve_bytes, ..tiny_options() }
}

fn open(fs: &SimFs, reserve: u64) -> Result<Store> {
    Store::open_with(fs, options(reserve), Arc::new(KeepAll), SimClock::at_ms(1))
}

/// The disk can take `more` bytes from now on.
fn leave(fs: &SimFs, more: u64) {
    fs.set_capacity(Some(fs.used_bytes() + more));
}

fn write(store: &mut Store, number: u32) -> Result<()> {
    store.commit(&vec![(key(number), Some(value(number.into(), 400)))], None)?;
    store.make_durable()
}

/// Writes from `first` on, without background work, until memory is full; answers the next number.
fn fill_memory(store: &mut Store, first: u32) -> u32 {
    let mut number = first;
    while !store.writer.must_wait() {
        write(store, number).unwrap();
        number += 1;
    }
    number
}

fn assert_refused(store: &Store) {
    let Err(Error::NoSpace(why)) = store.writer.begin(ReadMode::Blocking) else {
        panic!("writes are refused")
    };
    assert!(why.contains("No space left on device") && why.contains("/db"), "{why}");
    assert!(!store.writer.must_wait(), "who is refused need not wait");
    let stats = store.engine.stats();
    assert_eq!((stats.no_space.as_deref(), stats.poisoned), (Some(&*why), None));
}

fn assert_holds(store: &Store, count: u32) {
    let view = store.engine.snapshot(ReadMode::Blocking);
    for number in 0..count {
        assert_eq!(view.get(&key(number)).unwrap(), Some(value(number.into(), 400)), "{number}");
    }
    assert_eq!(view.get(&key(count)).unwrap(), None);
}

fn idle(store: &Store) {
    while store.engine.step().unwrap() {}
}

#[test]
fn a_flush_that_finds_the_disk_full_is_tried_again() {
    let fs = SimFs::new(1);
    let mut store = open(&fs, 0).unwrap();
    let count = fill_memory(&mut store, 0);
    for more in [0, 100, 2000] {
        leave(&fs, more);
        let used = fs.used_bytes();
        for _ in 0..3 {
            assert!(matches!(store.engine.step(), Err(Error::NoSpace(_))));
            assert_refused(&store);
            assert_eq!(fs.used_bytes(), used, "nothing is left behind");
        }
        assert!(matches!(store.engine.flush_wait(), Err(Error::NoSpace(_))));
        assert_holds(&store, count);
    }
    fs.set_capacity(None);
    idle(&store);
    assert!(store.engine.stats().background_error.is_none());
    write(&mut store, count).unwrap();
    drop(store);
    assert_holds(&open(&fs.crash(1), 0).unwrap(), count + 1);
}

#[test]
fn a_compaction_that_finds_the_disk_full_is_tried_again() {
    let fs = SimFs::new(1);
    let mut store = open(&fs, 0).unwrap();
    let mut count = 0;
    for _ in 0..3 {
        (count..count + 12).for_each(|number| write(&mut store, number).unwrap());
        count += 12;
        store.engine.flush_wait().unwrap();
    }
    leave(&fs, 500);
    let used = fs.used_bytes();
    assert!(matches!(store.engine.compact_all(), Err(Error::NoSpace(_))));
    assert!(store.engine.stats().compactions_failed > 0);
    assert_eq!(fs.used_bytes(), used, "nothing is left behind");
    assert_holds(&store, count);
    fs.set_capacity(None);
    write(&mut store, count).unwrap();
    store.engine.compact_all().unwrap();
    assert!(store.engine.stats().background_error.is_none());
    drop(store);
    assert_holds(&open(&fs.crash(1), 0).unwrap(), count + 1);
}

#[test]
fn a_store_is_opened_and_read_on_a_full_disk() {
    let fs = SimFs::new(1);
    let mut store = open(&fs, 0).unwrap();
    let count = fill_memory(&mut store, 0);
    drop(store);
    for more in [0, 100, 2000, 7000, 20_000] {
        let fs = fs.kill(1);
        leave(&fs, more);
        let store = open(&fs, 0).unwrap_or_else(|error| panic!("{more}: {error}"));
        assert_holds(&store, count);
        let mut steps = 0;
        while store.engine.step().is_ok_and(|done| done) {
            steps += 1;
            assert!(steps < 100);
        }
        assert!(store.engine.stats().poisoned.is_none());
        drop(store);
        // Once more, and then there is space.
        let mut store = open(&fs, 0).unwrap();
        assert_holds(&store, count);
        fs.set_capacity(None);
        idle(&store);
        write(&mut store, count).unwrap();
        drop(store);
        assert_holds(&open(&fs.crash(more), 0).unwrap(), count + 1);
    }
}

#[test]
fn below_the_reserve_writes_are_refused_and_what_is_left_is_for_the_background() {
    let fs = SimFs::new(1);
    let mut store = open(&fs, 40_000).unwrap();
    let count = fill_memory(&mut store, 0);
    leave(&fs, 39_999);
    idle(&store);
    assert!(store.engine.stats().flushes > 0, "the reserve is used");
    leave(&fs, 39_999);
    idle(&store);
    assert_refused(&store);
    assert_holds(&store, count);
    leave(&fs, 45_000);
    idle(&store);
    assert_refused(&store);
    leave(&fs, 60_000);
    idle(&store);
    write(&mut store, count).unwrap();
    leave(&fs, 1000);
    drop(store);
    let mut store = open(&fs, 40_000).unwrap();
    assert_refused(&store);
    fs.set_capacity(None);
    idle(&store);
    write(&mut store, count + 1).unwrap();
    assert_holds(&store, count + 2);
}

/// Down to half of the reserve; what is deleted gives space back.
#[test]
fn below_the_reserve_deletions_go_on() {
    let fs = SimFs::new(1);
    let mut store = open(&fs, 40_000).unwrap();
    let count = fill_memory(&mut store, 0);
    idle(&store);
    let delete = |store: &mut Store, number| {
        let mut txn = store.writer.begin_freeing(ReadMode::Blocking)?;
        txn.delete(key(number));
        let changes = txn.into_changes();
        store.writer.commit(changes);
        store.make_durable()
    };
    leave(&fs, 39_999);
    idle(&store);
    assert_refused(&store);
    delete(&mut store, count - 1).unwrap();
    assert_holds(&store, count - 1);
    leave(&fs, 19_999);
    idle(&store);
    assert_refused(&store);
    assert!(matches!(delete(&mut store, count - 2), Err(Error::NoSpace(_))));
    assert!(matches!(store.engine.check_freeing(), Err(Error::NoSpace(_))));
    leave(&fs, 31_000);
    idle(&store);
    assert_refused(&store);
    delete(&mut store, count - 2).unwrap();
    assert_holds(&store, count - 2);
    drop(store);
    assert_holds(&open(&fs.crash(1), 40_000).unwrap(), count - 2);
}

#[test]
fn a_batch_that_found_the_disk_full_is_written_later() {
    let fs = SimFs::new(1);
    let mut store = open(&fs, 0).unwrap();
    leave(&fs, 100);
    store.commit(&vec![(key(0), Some(value(0, 400)))], None).unwrap();
    let mut batch = store.writer.take_batch().unwrap();
    assert!(batch.makes_file());
    for _ in 0..3 {
        assert!(matches!(batch.try_write(), Err(Error::NoSpace(_))));
        assert_refused(&store);
        assert_eq!(store.engine.snapshot(ReadMode::Blocking).get(&key(0)).unwrap(), None);
    }
    fs.set_capacity(None);
    batch.try_write().unwrap();
    store.writer.syncer().sync().unwrap();
    store.writer.publish(batch.seq());
    write(&mut store, 1).unwrap();
    assert_holds(&store, 2);
    drop(store);
    assert_holds(&open(&fs.crash(1), 0).unwrap(), 2);
}

/// A store whose disk gets full and has space again at random, as its user sees it.
struct Life {
    fs: SimFs,
    random: fastrand::Rng,
    model: Model,
    refused: u32,
}

impl Life {
    fn change_space(&mut self) {
        match self.random.u8(0..4) {
            0 => self.fs.set_capacity(None),
            _ => leave(&self.fs, self.random.u64(0..30_000)),
        }
    }

    /// Runs `work` until it no longer finds the disk full.
    fn until_space<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T>) -> T {
        for _ in 0..200 {
            match work(self) {
                Err(Error::NoSpace(_)) => {
                    self.refused += 1;
                    self.change_space();
                }
                result => return result.unwrap(),
            }
        }
        panic!("there is space now and then")
    }

    fn write(&mut self, store: &mut Store) {
        let count = self.random.usize(1..5);
        let mut writes = Writes::new();
        for _ in 0..count {
            let len = self.random.usize(0..2000);
            let value = (self.random.u8(..) > 60).then(|| value(self.random.u64(..), len));
            writes.push((key(self.random.u32(0..KEYS)), value));
        }
        match store.commit(&writes, None) {
            Err(Error::NoSpace(_)) => {
                self.refused += 1;
                return;
            }
            result => result.unwrap(),
        }
        let mut batch = store.writer.take_batch().unwrap();
        self.until_space(|_| batch.try_write());
        store.writer.syncer().sync().unwrap();
        store.writer.publish(batch.seq());
        apply(&mut self.model, &writes);
    }

    fn step(&mut self, store: &Store) {
        match store.engine.step() {
            Err(Error::NoSpace(_)) => self.refused += 1,
            result => drop(result.unwrap()),
        }
    }

    fn run(&mut self, reserve: u64) {
        let mut store = open(&self.fs, reserve).unwrap();
        for _ in 0..400 {
            match self.random.u8(0..20) {
                0 => self.change_space(),
                1 => {
                    if self.random.bool() {
                        store.engine.close();
                    }
                    drop(store);
                    store = open(&self.fs, reserve).unwrap();
                }
                2 => {
                    let crashed = open(&self.fs.crash(self.random.u64(..)), reserve).unwrap();
                    let view = crashed.engine.snapshot(ReadMode::Blocking);
                    assert_eq!(contents(&view).unwrap(), self.model);
                    crashed.engine.check().unwrap();
                }
                3..12 => self.step(&store),
                _ if store.writer.must_wait() => self.step(&store),
                _ => self.write(&mut store),
            }
        }
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        compare(&store.engine.snapshot(ReadMode::Blocking), &self.model, &keys, &[]);
        assert_eq!(store.engine.stats().poisoned, None);
    }
}

#[test]
fn a_disk_that_is_full_now_and_then_loses_nothing() {
    for seed in 0..40 {
        let random = fastrand::Rng::with_seed(seed);
        let fs = SimFs::new(seed);
        let mut life = Life { fs, random, model: Model::new(), refused: 0 };
        life.run(if seed % 2 == 0 { 0 } else { 8000 });
        assert!(life.refused > 5, "{}", life.refused);
    }
}
