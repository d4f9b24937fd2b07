//! What is taken away from the log from outside is an error at the next start, not a torn tail: it
//! names the file, the place and what can be done, and going on without it has to be asked for.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use siltdb::engine::{Error, KeepAll, Options, Read, ReadMode};
use siltdb::env::{SimClock, SimFs};
use store::{Store, key, tiny_options, value};

/// Memtables so large that everything stays in the log.
fn options() -> Options {
    Options { memtable_bytes: 1 << 20, ..tiny_options() }
}

fn open(fs: &SimFs, clock: &SimClock) -> siltdb::engine::Result<Store> {
    Store::open_with(fs, options(), Arc::new(KeepAll), clock.clone())
}

fn write(store: &mut Store, number: u32) {
    store.commit(&vec![(key(number), Some(value(number.into(), 700)))], None).unwrap();
    store.make_durable().unwrap();
}

fn idle(store: &Store) {
    while store.engine.step().unwrap() {}
}

/// A killed store of `count` writes over several segments, whose background had time after each
/// one; and when it had so last.
fn killed_after(count: u32) -> SimFs {
    let fs = SimFs::new(1);
    let clock = SimClock::at_ms(1);
    let mut store = open(&fs, &clock).unwrap();
    for number in 0..count {
        write(&mut store, number);
        idle(&store);
    }
    fs.kill(1)
}

fn found(fs: &SimFs) -> u32 {
    let store = open(fs, &SimClock::at_ms(1)).unwrap();
    let view = store.engine.snapshot(ReadMode::Blocking);
    (0..).take_while(|number| view.get(&key(*number)).unwrap().is_some()).last().unwrap_or(0)
}

/// The segments that hold records, oldest first.
fn segments(fs: &SimFs) -> Vec<PathBuf> {
    let mut names = fs.shared().list("/db".as_ref()).unwrap();
    names.retain(|name| name.ends_with(".wal"));
    names.sort();
    let paths = names.iter().map(|name| Path::new("/db").join(name));
    paths.filter(|path| fs.shared().read(path).unwrap().iter().any(|&byte| byte != 0)).collect()
}

/// All files but the witness of the manifest, which every start writes.
fn image(fs: &SimFs) -> Vec<(String, bytes::Bytes)> {
    let mut names = fs.shared().list("/db".as_ref()).unwrap();
    names.retain(|name| name != "MANIFEST.witness");
    let read = |name: &String| fs.shared().read(&Path::new("/db").join(name)).unwrap();
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

fn refusal(fs: &SimFs) -> (PathBuf, u64, String) {
    // Of a kill, perhaps; as long as something is missing nobody knows.
    fs.shared().create("/db/0000000777.sst".as_ref()).unwrap();
    let before = image(fs);
    let error = open(fs, &SimClock::at_ms(1)).err();
    assert!(image(fs) == before, "a start that is refused removes nothing");
    fs.shared().remove("/db/0000000777.sst".as_ref()).unwrap();
    match error {
        Some(Error::Corruption { path, offset, what }) => {
            assert!(what.contains("backup") && what.contains("ACCEPT-LOG-LOSS"), "{what}");
            (path, offset, what)
        }
        other => panic!("{other:?}"),
    }
}

/// Fails unless the error names segment `number` of `segments`, or the end of the one before it.
fn assert_named(fs: &SimFs, segments: &[PathBuf], number: usize, offset_max: u64) {
    let (named, offset, what) = refusal(fs);
    if named == segments[number] {
        assert!(offset <= offset_max, "{named:?} {offset} {what}");
    } else {
        assert!(number + 1 < segments.len(), "the last one is named itself: {named:?} {what}");
        assert_eq!(named, segments[number - 1], "{offset} {what}");
    }
}

#[test]
fn a_segment_that_was_removed_is_named() {
    let fs = killed_after(100);
    let segments = segments(&fs);
    assert!(segments.len() > 4, "{segments:?}");
    for (number, path) in segments.iter().enumerate() {
        let cut = fs.kill(1);
        cut.shared().remove(path).unwrap();
        assert_named(&cut, &segments, number, 0);
    }
    let all_gone = fs.kill(1);
    segments.iter().for_each(|path| all_gone.shared().remove(path).unwrap());
    assert_named(&all_gone, &segments, segments.len() - 1, 0);
    assert_eq!(found(&fs), 99, "nothing was wrong before");
}

#[test]
fn a_segment_that_was_emptied_or_cut_before_its_mark_is_named() {
    let fs = killed_after(100);
    let segments = segments(&fs);
    for (number, path) in segments.iter().enumerate() {
        for len in [0, 60, 700] {
            let cut = fs.kill(1);
            cut.shared().open(path).unwrap().set_len(len).unwrap();
            assert_named(&cut, &segments, number, len);
        }
    }
}

#[test]
fn the_mark_follows_the_log_in_time_and_at_the_close() {
    let clock = SimClock::at_ms(1);
    for (is_closed, wait_ms, is_known) in
        [(false, 0, false), (false, 4000, false), (false, 6000, true), (true, 0, true)]
    {
        let fs = SimFs::new(1);
        let mut store = open(&fs, &clock).unwrap();
        for number in 0..5 {
            write(&mut store, number);
            idle(&store);
        }
        clock.advance_ms(wait_ms);
        idle(&store);
        if is_closed {
            store.engine.close();
        }
        drop(store);
        let [path] = &segments(&fs)[..] else { panic!("one segment") };
        // The last record ends somewhere in its last 700 bytes and 56 of header.
        let bytes = fs.shared().read(path).unwrap();
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() as u64;
        fs.shared().open(path).unwrap().set_len(end - 300).unwrap();
        if is_known {
            assert_eq!(refusal(&fs).0, *path);
        } else {
            assert_eq!(found(&fs), 3, "taken for a torn tail, as the documentation says");
        }
    }
}

#[test]
fn a_loss_that_is_accepted_is_accepted_once() {
    let fs = killed_after(100);
    fs.shared().remove(segments(&fs).last().unwrap()).unwrap();
    refusal(&fs);
    fs.shared().create("/db/ACCEPT-LOG-LOSS".as_ref()).unwrap();
    let before = found(&fs);
    assert!(before > 50 && before < 99, "{before}");
    assert!(!fs.shared().list("/db".as_ref()).unwrap().contains(&"ACCEPT-LOG-LOSS".into()));
    // What it goes on with is promised again, and what comes then.
    assert_eq!(found(&fs.crash(1)), before);
    let mut store = open(&fs, &SimClock::at_ms(1)).unwrap();
    (before + 1..110).for_each(|number| write(&mut store, number));
    idle(&store);
    drop(store);
    assert_eq!(found(&fs.crash(1)), 109);
    segments(&fs).iter().for_each(|path| fs.shared().remove(path).unwrap());
    refusal(&fs);
}
