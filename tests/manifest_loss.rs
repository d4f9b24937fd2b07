//! A manifest that was cut or changed from outside is an error at the next start, never a store with
//! less in it; and neither that start nor a look changes anything, so with the manifest back
//! everything is there.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use siltdb::engine::{Engine, Error, KeepAll, Options, ReadMode, Result};
use siltdb::env::{SimClock, SimFs};
use store::{Model, Store, Writes, apply, contents, key, tiny_options, value};

const KEYS: u32 = 60;
/// Transactions of a run.
const ROUNDS: u64 = 70;

fn writes(round: u64) -> Writes {
    let mut random = fastrand::Rng::with_seed(round);
    let mut one = || {
        let value = (random.u8(..) > 40).then(|| value(random.u64(..), random.usize(50..400)));
        (key(random.u32(0..KEYS)), value)
    };
    (0..4).map(|_| one()).collect()
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Everything in tables, then closed.
    Flushed,
    Closed,
    Killed,
}

/// What a run has written.
#[derive(Debug, Default)]
struct Written {
    acknowledged: Model,
    /// With the transaction of which nobody knows, if there was one.
    perhaps: Model,
}

/// Writes with flushes, compactions and marks of the log, as far as the disk lets it.
fn run(fs: &SimFs, end: End) -> Written {
    let mut written = Written::default();
    let result = live(fs, end, &mut written);
    assert!(result.is_ok() || end == End::Killed, "{result:?}");
    written
}

fn live(fs: &SimFs, end: End, written: &mut Written) -> Result<()> {
    let clock = SimClock::at_ms(1);
    let mut store = Store::open_with(fs, tiny_options(), Arc::new(KeepAll), clock.clone())?;
    for round in 0..ROUNDS {
        store.make_room()?;
        let writes = writes(round);
        store.commit(&writes, None)?;
        apply(&mut written.perhaps, &writes);
        store.make_durable()?;
        apply(&mut written.acknowledged, &writes);
        clock.advance_ms(700);
        store.engine.step()?;
    }
    if end == End::Flushed {
        store.engine.flush_wait()?;
    }
    while end != End::Killed && store.engine.step()? {}
    if end != End::Killed {
        store.engine.close();
    }
    Ok(())
}

/// Every file with its content.
fn image(fs: &SimFs) -> BTreeMap<String, Bytes> {
    let names = fs.shared().list("/db".as_ref()).unwrap();
    let read = |name: &String| fs.shared().read(&Path::new("/db").join(name)).unwrap();
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

fn manifest(fs: &SimFs) -> PathBuf {
    let current = fs.shared().read("/db/CURRENT".as_ref()).unwrap();
    Path::new("/db").join(std::str::from_utf8(&current).unwrap().trim_end())
}

fn look(fs: &SimFs) -> Result<Model> {
    let clock = Arc::new(SimClock::at_ms(1));
    let engine = Engine::open_to_read(fs.shared(), clock, tiny_options(), Arc::new(KeepAll))?;
    engine.check()?;
    contents(&engine.snapshot(ReadMode::Blocking))
}

fn start(fs: &SimFs) -> Result<Model> {
    let store = Store::open(fs)?;
    store.engine.check()?;
    contents(&store.engine.snapshot(ReadMode::Blocking))
}

/// Fails unless a look and a start both find everything, or both fail and leave every file as it
/// was. Answers whether they failed.
fn is_refused(fs: &SimFs, acknowledged: &Model, context: &str) -> bool {
    let before = image(fs);
    let looked = look(fs);
    assert!(image(fs) == before, "{context}: a look changes nothing");
    let started = start(fs);
    for found in [&looked, &started] {
        match found {
            Ok(found) => assert!(found == acknowledged, "{context}: acknowledged and lost"),
            Err(Error::Corruption { path, .. }) => assert_eq!(*path, manifest(fs), "{context}"),
            // A flipped bit in the number of the format.
            Err(Error::Directory { .. }) => {}
            Err(other) => panic!("{context}: {other}"),
        }
    }
    if started.is_err() {
        assert!(looked.is_err(), "{context}");
        assert!(image(fs) == before, "{context}: a start that fails changes nothing");
    }
    started.is_err()
}

/// Cuts the manifest at every byte, and changes every byte; answers how many of these were found out,
/// and how many there were.
fn damage_everywhere(fs: &SimFs, acknowledged: &Model, context: &str) -> (usize, usize) {
    let path = manifest(fs);
    let whole = fs.shared().read(&path).unwrap();
    let (mut refused, mut tried) = (0, 0);
    for offset in 0..whole.len() as u64 {
        let cut = fs.kill(1);
        cut.shared().open(&path).unwrap().set_len(offset).unwrap();
        let flipped = fs.kill(1);
        flipped.flip_bits(&path, offset, 1 << (offset % 8));
        for (damaged, what) in [(cut, "cut at"), (flipped, "flipped at")] {
            let context = format!("{context}, {what} {offset} of {}", whole.len());
            tried += 1;
            if is_refused(&damaged, acknowledged, &context) {
                refused += 1;
                let is_spot_check = tried % 16 == 1 || offset + 16 > whole.len() as u64;
                if is_spot_check {
                    // All files are as they were, so that these stand for the others.
                    damaged.shared().open(&path).unwrap().write_at(0, &whole).unwrap();
                    assert!(start(&damaged).unwrap() == *acknowledged, "{context}, restored");
                }
            }
        }
    }
    (refused, tried)
}

#[test]
fn every_damage_of_a_manifest_is_found_and_loses_nothing() {
    for end in [End::Flushed, End::Closed, End::Killed] {
        let fs = SimFs::new(1);
        let acknowledged = run(&fs, end).acknowledged;
        assert!(acknowledged.len() > 20);
        let tables = image(&fs).keys().filter(|name| name.ends_with(".sst")).count();
        assert!(tables > 3, "{tables}");
        assert!(look(&fs.kill(1)).unwrap() == acknowledged);
        let (refused, tried) = damage_everywhere(&fs.kill(1), &acknowledged, &format!("{end:?}"));
        assert!(tried > 1000, "{tried}");
        assert_eq!(refused, tried, "{end:?}: all of it was durable");
    }
}

/// The process ends within an operation: there may be an edit on which nobody has acted yet.
#[test]
fn a_manifest_that_is_damaged_after_a_kill_at_any_moment_loses_nothing() {
    let whole = SimFs::new(2);
    run(&whole, End::Killed);
    let operations = whole.operations();
    let mut opened = 0;
    for n in (operations / 2..operations).step_by(5) {
        let fs = SimFs::new(2);
        fs.fail_after(n);
        let written = run(&fs, End::Killed);
        let fs = fs.kill(n);
        let found = start(&fs.kill(n)).unwrap();
        assert!([&written.acknowledged, &written.perhaps].contains(&&found), "operation {n}");
        let path = manifest(&fs);
        let bytes = fs.shared().read(&path).unwrap().len() as u64;
        let last = (bytes - 80..bytes).step_by(9);
        for offset in last.chain((0..bytes).step_by(907)) {
            let cut = fs.kill(n);
            cut.shared().open(&path).unwrap().set_len(offset).unwrap();
            let context = format!("operation {n} of {operations}, cut at {offset} of {bytes}");
            opened += usize::from(!is_refused(&cut, &found, &context));
        }
    }
    assert!(opened > 0, "an edit on which nobody has acted may be missing");
}

#[test]
fn a_look_leaves_what_a_kill_has_left_and_a_start_removes_it() {
    let fs = SimFs::new(3);
    let acknowledged = run(&fs, End::Killed).acknowledged;
    let fs = fs.kill(1);
    let left = ["0000009999.sst", "MANIFEST-000077", "CURRENT.tmp", "next.wal.tmp"];
    for name in left {
        fs.shared().create(&Path::new("/db").join(name)).unwrap();
    }
    let before = image(&fs);
    assert!(look(&fs).unwrap() == acknowledged);
    assert!(image(&fs) == before);
    let mut store = Store::open(&fs).unwrap();
    let names = image(&fs);
    assert!(left.iter().all(|name| !names.contains_key(*name)), "{:?}", names.keys());
    store.commit(&writes(7), None).unwrap();
    store.make_durable().unwrap();
    assert!(store.engine.snapshot(ReadMode::Blocking).seq() > 0);
}

#[test]
fn a_look_holds_the_log_in_memory_and_leaves_its_torn_end() {
    let fs = SimFs::new(4);
    let options = Options { memtable_bytes: 1 << 20, ..tiny_options() };
    let mut acknowledged = Model::new();
    let clock = SimClock::at_ms(1);
    let mut store = Store::open_with(&fs, options, Arc::new(KeepAll), clock).unwrap();
    for round in 0..ROUNDS {
        apply(&mut acknowledged, &writes(round));
        store.commit(&writes(round), None).unwrap();
        store.make_durable().unwrap();
    }
    drop(store);
    let fs = fs.kill(1);
    let names = image(&fs);
    let last = names
        .iter()
        .filter(|(name, bytes)| name.ends_with(".wal") && bytes.iter().any(|byte| *byte != 0));
    let (name, bytes) = last.last().unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let torn = fs.kill(1);
    assert!(torn.flip_bits(&Path::new("/db").join(name), end, 1));
    let before = image(&torn);
    // The memtables of these options are far smaller than the log.
    let clock = || Arc::new(SimClock::at_ms(1));
    let engine =
        Engine::open_to_read(torn.shared(), clock(), tiny_options(), Arc::new(KeepAll)).unwrap();
    let stats = engine.stats();
    assert_eq!(stats.recovered_transactions, ROUNDS - 1);
    assert!(stats.recovered_torn_bytes > 0);
    assert!(engine.check_writable().is_err());
    engine.close();
    drop(engine);
    assert!(image(&torn) == before, "two looks find the same");
    assert!(look(&fs).unwrap() == acknowledged);
}

#[test]
fn what_is_missing_is_accepted_once() {
    let fs = SimFs::new(5);
    let acknowledged = run(&fs, End::Closed).acknowledged;
    let path = manifest(&fs);
    let bytes = fs.shared().read(&path).unwrap().len() as u64;
    fs.shared().open(&path).unwrap().set_len(bytes - 1).unwrap();
    assert!(is_refused(&fs, &acknowledged, "the mark of the log is gone"));
    fs.shared().create("/db/ACCEPT-LOG-LOSS".as_ref()).unwrap();
    assert!(look(&fs).is_err(), "a look accepts nothing");
    assert!(start(&fs).unwrap() == acknowledged, "the log has everything");
    assert!(!image(&fs).contains_key("ACCEPT-LOG-LOSS"));
    assert!(start(&fs.crash(1)).unwrap() == acknowledged);
    let path = manifest(&fs);
    let bytes = fs.shared().read(&path).unwrap().len() as u64;
    fs.shared().open(&path).unwrap().set_len(bytes - 1).unwrap();
    assert!(is_refused(&fs, &acknowledged, "what is promised since is expected"));
}
