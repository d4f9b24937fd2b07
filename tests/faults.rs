//! Fails the n-th operation of the disk, for every n: what was acknowledged stays, reads go on,
//! and nothing is acknowledged that is not down.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::sync::Arc;

use siltdb::engine::{Error, KeepAll, Options, Read, ReadMode};
use siltdb::env::{SimClock, SimFs};
use store::{Model, Store, Writes, apply, compare, contents, key, tiny_options, value};

const KEYS: u32 = 30;
const ROUNDS: u64 = 60;

fn writes(round: u64) -> Writes {
    let mut random = fastrand::Rng::with_seed(round);
    (0..4).map(|_| (key(random.u32(0..KEYS)), Some(value(random.u64(..), 120)))).collect()
}

/// What a run with a fault promised.
struct Outcome {
    /// Acknowledged.
    promised: Model,
    /// With the transaction whose outcome is unknown, if there was one.
    perhaps: Model,
    /// Whether a write was refused.
    refused: bool,
}

fn run(fs: &SimFs) -> Option<Outcome> {
    let mut store = Store::open(fs).ok()?;
    let mut outcome = Outcome { promised: Model::new(), perhaps: Model::new(), refused: false };
    for round in 0..ROUNDS {
        while store.writer.must_wait() && store.engine.step().unwrap_or(true) {
            if store.writer.begin(ReadMode::Blocking).is_err() {
                break;
            }
        }
        let writes = writes(round);
        match store.commit(&writes, None) {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, Error::Poisoned(_)), "{error}");
                outcome.refused = true;
                break;
            }
        }
        apply(&mut outcome.perhaps, &writes);
        match store.make_durable() {
            Ok(()) => outcome.promised = outcome.perhaps.clone(),
            Err(_) => {
                assert!(store.commit(&writes, None).is_err(), "poisoned");
                outcome.refused = true;
                break;
            }
        }
        // A failed compaction is reported and may be tried again; a failed flush ends writes.
        let _ = store.engine.step();
        let _ = store.engine.step();
    }
    let view = store.engine.snapshot(ReadMode::Blocking);
    if let Ok(seen) = contents(&view) {
        assert_eq!(seen, outcome.promised, "what is seen is what was acknowledged");
    }
    Some(outcome)
}

fn verify(fs: &SimFs, outcome: &Outcome, n: u64) {
    let store = Store::open(fs).unwrap_or_else(|error| panic!("operation {n}: {error}"));
    let view = store.engine.snapshot(ReadMode::Blocking);
    let seen = contents(&view).unwrap();
    let expected = [&outcome.promised, &outcome.perhaps];
    assert!(expected.contains(&&seen), "operation {n}: neither what was promised nor one more");
    store.engine.check().unwrap();
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    compare(&view, &seen, &keys, &[]);
}

fn operations_of_a_run() -> u64 {
    let fs = SimFs::new(9);
    let outcome = run(&fs).unwrap();
    assert!(!outcome.refused);
    fs.operations()
}

#[test]
fn one_failed_operation_loses_nothing() {
    for n in 0..operations_of_a_run() {
        let fs = SimFs::new(9);
        fs.fail_once_after(n);
        if let Some(outcome) = run(&fs) {
            verify(&fs.kill(n), &outcome, n);
            verify(&fs.crash(n), &outcome, n);
        } else {
            fs.heal();
            Store::open(&fs.kill(n)).unwrap_or_else(|error| panic!("operation {n}: {error}"));
        }
    }
}

#[test]
fn a_disk_that_fails_for_good_loses_nothing() {
    for n in (0..operations_of_a_run()).step_by(3) {
        let fs = SimFs::new(9);
        fs.fail_after(n);
        if let Some(outcome) = run(&fs) {
            verify(&fs.kill(n), &outcome, n);
            verify(&fs.crash(n), &outcome, n);
        }
    }
}

#[test]
fn a_damaged_table_is_named_and_the_others_are_read() {
    let fs = SimFs::new(3);
    let mut store = Store::open(&fs).unwrap();
    for number in 0..KEYS {
        store.commit(&vec![(key(number), Some(value(number.into(), 300)))], None).unwrap();
        store.make_durable().unwrap();
    }
    store.engine.flush_wait().unwrap();
    let names = fs.shared().list("/db".as_ref()).unwrap();
    let table = names.iter().find(|name| name.ends_with(".sst")).unwrap();
    let path = std::path::Path::new("/db").join(table);
    drop(store);
    assert!(fs.flip_bits(&path, 700, 0x10));
    let store = Store::open(&fs).unwrap();
    assert!(store.engine.stats().damaged_tables.is_empty(), "nobody has read it");
    let view = store.engine.snapshot(ReadMode::Blocking);
    let damaged = (0..KEYS).filter(|number| view.get(&key(*number)).is_err()).count();
    assert!(damaged > 0 && damaged < KEYS as usize, "{damaged}");
    assert_eq!(store.engine.stats().damaged_tables, std::slice::from_ref(&path));
    let error = store.engine.check().unwrap_err();
    assert!(matches!(&error, Error::Corruption { path: named, .. } if *named == path), "{error}");
}

/// A store with `count` tables in level 0, and the first of them. What it has written it reads again.
fn with_level0(fs: &SimFs, count: u32) -> (Store, std::path::PathBuf) {
    let options = Options { block_cache_bytes: 0, ..tiny_options() };
    let clock = SimClock::at_ms(1);
    let mut store = Store::open_with(fs, options, Arc::new(KeepAll), clock).unwrap();
    for number in 0..count {
        store.commit(&vec![(key(1), Some(value(number.into(), 3000)))], None).unwrap();
        store.make_durable().unwrap();
        store.engine.flush_wait().unwrap();
    }
    let mut names = fs.shared().list("/db".as_ref()).unwrap();
    names.retain(|name| name.ends_with(".sst"));
    names.sort();
    let path = std::path::Path::new("/db").join(&names[0]);
    (store, path)
}

#[test]
fn a_damaged_table_of_level_0_is_reported_and_left_alone() {
    let fs = SimFs::new(3);
    let (mut store, path) = with_level0(&fs, 2);
    assert_eq!(store.engine.stats().levels[0].files, 2);
    assert!(fs.flip_bits(&path, 700, 0x10));
    assert!((0..20).any(|_| store.engine.step().is_err()));
    for number in 0..4 {
        while store.engine.step().unwrap() {}
        store.commit(&vec![(key(1), Some(value(number, 3000)))], None).unwrap();
        store.make_durable().unwrap();
        store.engine.flush_wait().unwrap();
    }
    let stats = store.engine.stats();
    assert_eq!(stats.compactions_failed, 1, "tried once");
    assert_eq!(stats.damaged_tables, std::slice::from_ref(&path));
    assert!(stats.background_error.unwrap().contains(path.to_str().unwrap()));
    let error = store.engine.compact_all().unwrap_err();
    assert!(matches!(&error, Error::Corruption { path: named, .. } if *named == path), "{error}");
}

#[test]
fn a_table_that_is_missing_or_of_another_size_is_an_error_at_open() {
    let fs = SimFs::new(3);
    let (store, path) = with_level0(&fs, 1);
    drop(store);
    let bytes = fs.shared().file_bytes(&path).unwrap();
    for len in [None, Some(0), Some(bytes - 1), Some(bytes + 1)] {
        let fs = fs.kill(1);
        match len {
            None => fs.shared().remove(&path).unwrap(),
            Some(len) => fs.shared().open(&path).unwrap().set_len(len).unwrap(),
        }
        match Store::open(&fs).err().unwrap() {
            Error::Corruption { path: named, what, .. } => {
                assert_eq!(named, path);
                let found = len.map_or("missing".into(), |len| format!("{len} bytes"));
                assert!(
                    what.contains(&found) && what.contains(&format!("{bytes} bytes")),
                    "{what}"
                );
                assert!(what.contains("backup"), "{what}");
            }
            other => panic!("{other}"),
        }
    }
    Store::open(&fs).unwrap();
}

#[test]
fn a_directory_in_use_is_refused() {
    let fs = SimFs::new(4);
    let store = Store::open(&fs).unwrap();
    let error = Store::open(&fs).err().unwrap();
    assert!(matches!(error, Error::Directory { .. }), "{error}");
    drop(store);
    Store::open(&fs).unwrap();
}

#[test]
fn restarts_do_not_heap_up_log_segments() {
    let fs = SimFs::new(5);
    for round in 0..20u32 {
        let mut store = Store::open(&fs).unwrap();
        if round % 3 > 0 {
            store.commit(&vec![(key(round), Some(value(round.into(), 50)))], None).unwrap();
            store.make_durable().unwrap();
        }
        while store.engine.step().unwrap() {}
    }
    let names = fs.shared().list("/db".as_ref()).unwrap();
    let segments = names.iter().filter(|name| name.ends_with(".wal")).count();
    assert!(segments <= 6, "{names:?}");
}

#[test]
fn a_segment_is_made_ahead_for_each_that_is_begun() {
    let fs = SimFs::new(5);
    let mut store = Store::open(&fs).unwrap();
    for number in 0..12 {
        while store.engine.step().unwrap() {}
        store.commit(&vec![(key(number), Some(value(number.into(), 9000)))], None).unwrap();
        let mut batch = store.writer.take_batch().unwrap();
        // The background may look between the two.
        while store.engine.step().unwrap() {}
        assert!(!batch.makes_file(), "{number}");
        batch.try_write().unwrap();
        store.writer.publish(batch.seq());
    }
}

#[test]
fn a_failed_flush_refuses_writes_and_keeps_nobody_waiting() {
    let fs = SimFs::new(6);
    let mut store = Store::open(&fs).unwrap();
    let mut written = 0;
    while !store.writer.must_wait() {
        store.commit(&vec![(key(written), Some(value(written.into(), 400)))], None).unwrap();
        store.make_durable().unwrap();
        written += 1;
    }
    fs.fail_after(0);
    assert!(store.engine.step().is_err());
    assert!(!store.writer.must_wait());
    assert!(matches!(store.writer.begin(ReadMode::Resident), Err(Error::Poisoned(_))));
    assert!(store.engine.stats().poisoned.is_some());
    let view = store.engine.snapshot(ReadMode::Resident);
    assert!((0..written).all(|number| view.get(&key(number)).unwrap().is_some()));
    fs.heal();
    let store = Store::open(&fs.kill(1)).unwrap();
    let view = store.engine.snapshot(ReadMode::Blocking);
    assert!((0..written).all(|number| view.get(&key(number)).unwrap().is_some()));
}
