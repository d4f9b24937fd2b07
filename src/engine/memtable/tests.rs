use std::ops::RangeBounds;

use bytes::Bytes;

use super::part::RESIDENT_BACKLOG_MAX;
use super::*;
use crate::engine::merge::MergeIter;
use crate::engine::{Error, RecordIter};

/// Longer than the keys: one kind.
const ONE_KIND: usize = 100;

/// Every version is written by a batch of its own.
fn insert(table: &Memtable, entry: Entry) {
    let seq = entry.seq();
    table.insert(entry, Needed { oldest_view: 0, batch_seq: seq });
}

fn sample() -> Memtable {
    let table = Memtable::new(ONE_KIND);
    for (key, seq, value) in
        [("b", 1, Some("b1")), ("a", 2, Some("a2")), ("b", 3, None), ("ba", 4, Some("ba4"))]
    {
        insert(&table, Entry::new(key.as_bytes(), seq, value.map(str::as_bytes)));
    }
    table
}

fn walk(table: &Memtable, range: &KeyRange, direction: Direction) -> Vec<(String, SeqNo)> {
    walk_at(table, range, direction, SeqNo::MAX)
}

fn walk_at(
    table: &Memtable,
    range: &KeyRange,
    direction: Direction,
    seq: SeqNo,
) -> Vec<(String, SeqNo)> {
    let walks = table.walks(range, direction, seq, ReadMode::Blocking);
    let walks = walks.map(|walk| Box::new(walk.unwrap()) as Box<dyn RecordIter>).collect();
    MergeIter::new(walks, direction)
        .map(|record| record.unwrap())
        .map(|record| (String::from_utf8(record.key.to_vec()).unwrap(), record.seq))
        .collect()
}

#[test]
fn a_lookup_finds_the_newest_version_that_is_not_too_new() {
    let table = sample();
    let get = |key: &str, seq| table.get(key.as_bytes(), seq, ReadMode::Blocking).unwrap();
    assert_eq!(get("b", 9), Some(Found { seq: 3, value: None }));
    assert_eq!(get("b", 2).unwrap().value.unwrap(), "b1");
    assert_eq!(get("b", 0), None);
    assert_eq!(get("aa", 9), None);
    assert_eq!(get("c", 9), None);
}

#[test]
fn walks_have_both_directions_and_all_bounds() {
    walks_have_all_bounds(&sample());
    let sealed = sample();
    sealed.seal();
    walks_have_all_bounds(&sealed);
    assert!(sealed.parts[0].is_run());
}

fn walks_have_all_bounds(table: &Memtable) {
    let key = |k: &'static str| Bytes::from_static(k.as_bytes());
    let all = (Bound::Unbounded, Bound::Unbounded);
    let forward = walk(table, &all, Direction::Forward);
    assert_eq!(forward, [("a".into(), 2), ("b".into(), 3), ("ba".into(), 4)] as [(String, u64); 3]);
    let mut reverse = walk(table, &all, Direction::Reverse);
    reverse.reverse();
    assert_eq!(forward, reverse);
    let bounds = [
        Bound::Included(key("b")),
        Bound::Excluded(key("b")),
        Bound::Included(key("aa")),
        Bound::Excluded(key("c")),
        Bound::Unbounded,
    ];
    for start in &bounds {
        for end in &bounds {
            let range = (start.clone(), end.clone());
            let expected: Vec<_> = forward
                .iter()
                .filter(|(k, _)| std::ops::RangeBounds::contains(&range, &Bytes::from(k.clone())))
                .cloned()
                .collect();
            let mut reverse = walk(table, &range, Direction::Reverse);
            reverse.reverse();
            assert_eq!(walk(table, &range, Direction::Forward), expected, "{range:?}");
            assert_eq!(reverse, expected, "{range:?}");
        }
    }
}

#[test]
fn many_leaves_are_one_order() {
    for (step, is_walked) in [(1, true), (7919, true), (49_999, true), (7919, false)] {
        let table = Memtable::new(ONE_KIND);
        let entries = 30_000;
        for seq in 1..=entries {
            let key = format!("{:05}", seq * step % 50_000);
            insert(&table, Entry::new(key.as_bytes(), seq, Some(b"value")));
            if is_walked && seq % 7_000 == 0 {
                let found = table.get(key.as_bytes(), seq, ReadMode::Blocking).unwrap();
                assert_eq!(found.unwrap().seq, seq);
            }
        }
        table.seal();
        let all = (Bound::Unbounded, Bound::Unbounded);
        let forward = walk(&table, &all, Direction::Forward);
        assert_eq!(table.parts[0].is_run(), !is_walked);
        assert_eq!(forward.len() as u64, entries);
        assert!(forward.is_sorted_by(|a, b| a.0 < b.0));
        let mut reverse = walk(&table, &all, Direction::Reverse);
        reverse.reverse();
        assert_eq!(forward, reverse);
        for (key, seq) in forward {
            let found = table.get(key.as_bytes(), seq, ReadMode::Blocking).unwrap();
            assert_eq!(found.map(|found| found.seq), Some(seq));
        }
    }
}

#[test]
fn walks_beside_the_writer_miss_nothing_older() {
    let table = Memtable::new(ONE_KIND);
    let add = |number: u64| {
        let key = format!("{:06}", number * 7919 % 20_000);
        insert(&table, Entry::new(key.as_bytes(), number + 1, Some(b"v")));
    };
    (0..5_000).for_each(add);
    let all = (Bound::Unbounded, Bound::Unbounded);
    std::thread::scope(|scope| {
        let walks = [Direction::Forward, Direction::Reverse].map(|direction| {
            let (table, all) = (&table, &all);
            scope.spawn(move || {
                for _ in 0..20 {
                    let old = walk_at(table, all, direction, 5_000);
                    assert_eq!(old.len(), 5_000);
                    let walked = walk(table, all, direction);
                    let ordered = match direction {
                        Direction::Forward => walked.is_sorted(),
                        Direction::Reverse => walked.is_sorted_by(|a, b| a >= b),
                    };
                    assert!(ordered);
                }
            })
        });
        (5_000..60_000).for_each(add);
        for walk in walks {
            walk.join().unwrap();
        }
    });
}

#[test]
fn threads_that_ask_for_order_at_once_see_the_same() {
    for _ in 0..20 {
        let table = Memtable::new(ONE_KIND);
        for seq in 1..=40_000_u64 {
            insert(&table, Entry::new(&(seq * 7919 % 40_000).to_be_bytes(), seq, Some(b"v")));
        }
        table.seal();
        let start = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    start.wait();
                    let records = table.parts[0].all();
                    assert_eq!(records.unwrap().count(), 40_000);
                });
            }
        });
    }
}

#[test]
fn what_comes_between_the_first_walk_and_the_seal_is_kept() {
    let table = Memtable::new(ONE_KIND);
    let add = |seq: u64| insert(&table, Entry::new(seq.to_string().as_bytes(), seq, Some(b"v")));
    (1..=500).for_each(add);
    let taken = table.parts[0].take_backlog(ReadMode::Blocking).unwrap();
    // A walk has begun; the writer goes on, and seals.
    (501..=600).for_each(add);
    table.seal();
    table.parts[0].put_in_order(taken, ReadMode::Blocking).unwrap();
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert_eq!(walk(&table, &all, Direction::Forward).len(), 600);
}

#[test]
fn overwriting_keys_makes_no_leaves() {
    let table = Memtable::new(ONE_KIND);
    let add = |key: u64, seq| {
        insert(&table, Entry::new(format!("{key:06}").as_bytes(), seq, Some(b"v")));
    };
    (1..=6_400).for_each(|seq: u64| add(seq, seq));
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert_eq!(walk(&table, &all, Direction::Forward).len(), 6_400);
    let leaves = table.parts[0].leaves();
    (1..=6_400).for_each(|seq| add(1 + seq % 64, 6_400 + seq));
    assert_eq!(table.parts[0].leaves(), leaves);
    assert_eq!(leaves, 100);
}

#[test]
fn what_a_batch_has_overwritten_itself_takes_no_memory() {
    let table = Memtable::new(ONE_KIND);
    let all = (Bound::Unbounded, Bound::Unbounded);
    let add = |seq, batch_seq| {
        let needed = Needed { oldest_view: 0, batch_seq };
        table.insert(Entry::new(b"key", seq, Some(b"value")), needed);
    };
    add(1, 1);
    assert_eq!(walk(&table, &all, Direction::Forward).len(), 1);
    let one = table.bytes();
    (2..=1_000).for_each(|seq| add(seq, 2));
    assert_eq!(table.bytes(), 2 * one);
    let get = |seq| table.get(b"key", seq, ReadMode::Blocking).unwrap().map(|found| found.seq);
    assert_eq!((get(0), get(1), get(1_000)), (None, Some(1), Some(1_000)));
}

#[test]
fn a_view_meets_one_version_of_each_key() {
    let table = Memtable::new(ONE_KIND);
    walk(&table, &(Bound::Unbounded, Bound::Unbounded), Direction::Forward);
    let random = &mut fastrand::Rng::with_seed(9);
    let mut all: Vec<(String, SeqNo)> = Vec::new();
    for seq in 1..3_000 {
        // One key is written all the time, some often, many once.
        let number = [7, random.u32(..9), random.u32(..900)][random.usize(..3)];
        let key = format!("{number:03}");
        insert(&table, Entry::new(key.as_bytes(), seq, Some(b"v")));
        all.push((key, seq));
    }
    for sealed in [false, true] {
        let run = Memtable::new(ONE_KIND);
        all.iter().for_each(|(key, seq)| insert(&run, Entry::new(key.as_bytes(), *seq, None)));
        run.seal();
        let table = if sealed { &run } else { &table };
        for view in [0, 1, 50, 700, 2_000, 9_999] {
            let mut expected = std::collections::BTreeMap::new();
            for (key, seq) in all.iter().filter(|(_, seq)| *seq <= view) {
                expected.insert(key.clone(), *seq);
            }
            let from = Bound::Included(Bytes::from(random.u32(..20).to_string()));
            for range in [(Bound::Unbounded, Bound::Unbounded), (from, Bound::Unbounded)] {
                let expected: Vec<(String, SeqNo)> = expected
                    .iter()
                    .filter(|(key, _)| range.contains(&Bytes::from((*key).clone())))
                    .map(|(key, seq)| (key.clone(), *seq))
                    .collect();
                let seen = |direction| -> Vec<(String, SeqNo)> {
                    table
                        .walks(&range, direction, view, ReadMode::Blocking)
                        .flat_map(|walk| walk.unwrap())
                        .map(|record| record.unwrap())
                        .map(|record| (String::from_utf8(record.key.to_vec()).unwrap(), record.seq))
                        .collect()
                };
                assert_eq!(seen(Direction::Forward), expected);
                assert!(seen(Direction::Reverse).into_iter().rev().eq(expected));
            }
        }
    }
}

#[test]
fn a_resident_read_puts_few_entries_in_order_and_leaves_many_to_others() {
    let table = Memtable::new(ONE_KIND);
    let add = |seq: u64| insert(&table, Entry::new(&seq.to_be_bytes(), seq, Some(b"v")));
    let few = RESIDENT_BACKLOG_MAX as u64;
    (1..=few).for_each(add);
    let get = |seq: u64, mode| table.get(&seq.to_be_bytes(), seq, mode);
    assert!(get(few, ReadMode::Resident).unwrap().is_some());
    // From now on the writer keeps the order.
    (few + 1..=3 * few).for_each(add);
    assert!(get(3 * few, ReadMode::Resident).unwrap().is_some());

    let table = Memtable::new(ONE_KIND);
    (1..=few + 1).for_each(|seq| insert(&table, Entry::new(b"key", seq, Some(b"v"))));
    let get = |mode| table.get(b"key", 1, mode);
    assert!(matches!(get(ReadMode::Resident), Err(Error::WouldBlock)));
    assert_eq!(get(ReadMode::Blocking).unwrap().unwrap().seq, 1);
    assert_eq!(get(ReadMode::Resident).unwrap().unwrap().seq, 1);
}

#[test]
fn a_walk_puts_no_other_kind_in_order() {
    let table = Memtable::new(1);
    let add = |key: &str, seq| insert(&table, Entry::new(key.as_bytes(), seq, Some(b"v")));
    for seq in 1..=1_000_u64 {
        add(&format!("k{}{seq:04}", seq % 3), seq);
    }
    let key = |k: &'static str| Bytes::from_static(k.as_bytes());
    let of_one_kind = [
        (Bound::Included(key("k1")), Bound::Excluded(key("k2"))),
        (Bound::Excluded(key("k10400")), Bound::Included(key("k1999"))),
    ];
    for range in of_one_kind {
        assert_eq!(table.parts(&range).count(), 1);
        assert!(!walk(&table, &range, Direction::Reverse).is_empty());
    }
    let few = |key: &str| table.get(key.as_bytes(), 1_000, ReadMode::Resident);
    assert!(few("k10001").unwrap().is_some());
    assert!(matches!(few("k00003"), Err(Error::WouldBlock)));
    let mixed = [
        (Bound::Unbounded, Bound::Excluded(key("k1"))),
        (Bound::Included(key("k1")), Bound::Included(key("k2"))),
        (Bound::Included(key("k")), Bound::Excluded(key("k1"))),
        (Bound::Included(key("k1")), Bound::Excluded(key("l2"))),
    ];
    for range in mixed {
        assert_eq!(table.parts(&range).count(), 3, "{range:?}");
    }
}

#[test]
fn a_walk_puts_no_other_share_in_order() {
    let table = Memtable { share_at: 2, ..Memtable::new(0) };
    let mut seq = 0;
    for kind in [1, 2] {
        for share in [0, 1, 0x7f, 0x80, 0x81, 0xff] {
            for rest in 0..=255 {
                seq += 1;
                insert(&table, Entry::new(&[kind, 7, share, rest], seq, Some(b"v")));
            }
        }
    }
    let bound = Bytes::copy_from_slice;
    let range = |from: &[u8], to: &[u8]| (Bound::Included(bound(from)), Bound::Excluded(bound(to)));
    let parts = |range: &KeyRange| table.parts(range).count();
    let first = [range(&[1, 7], &[1, 7, 0x80]), range(&[1, 7, 0], &[1, 7, 0x7f, 9])];
    let second = [range(&[1, 7, 0x80], &[1, 7, 0x81]), range(&[1, 7, 0x80, 3], &[1, 7, 0x81])];
    let third = [range(&[1, 7, 0x81], &[1, 7, 0x82]), range(&[1, 7, 0x81, 0], &[1, 7, 0xff])];
    let two = [
        range(&[1, 7], &[1, 7, 0x80, 0]),
        (Bound::Included(bound(&[1, 7, 0])), Bound::Included(bound(&[1, 7, 0x80]))),
        range(&[1, 7, 0], &[1, 7, 0x81]),
        range(&[1, 7, 0x80], &[1, 7, 0xff]),
    ];
    let all = [range(&[1, 6, 0x80], &[1, 7, 0x81]), range(&[1], &[2])];
    assert!(first.iter().chain(&second).chain(&third).all(|range| parts(range) == 1));
    assert!(two.iter().all(|range| parts(range) == 2));
    assert!(all.iter().all(|range| parts(range) == 3));
    let found = |range: &KeyRange| walk_count(&table, range);
    assert_eq!(first.each_ref().map(found), [3 * 256, 2 * 256 + 9]);
    assert_eq!(second.each_ref().map(found), [256, 256 - 3]);
    assert_eq!(third.each_ref().map(found), [256, 256]);
    assert_eq!(two.each_ref().map(found), [3 * 256, 3 * 256, 4 * 256, 2 * 256]);
    assert_eq!(all.each_ref().map(found), [4 * 256, 6 * 256]);
    let untouched = Memtable { share_at: 2, ..Memtable::new(0) };
    for seq in 1..=1_000_u64 {
        let share = if seq % 2 == 0 { 0x81 } else { 0x80 };
        let key = [&[1, 7, share][..], &seq.to_be_bytes()].concat();
        insert(&untouched, Entry::new(&key, seq, None));
    }
    assert_eq!(walk_count(&untouched, &second[0]), 500);
    let few = |share| untouched.get(&[1, 7, share], SeqNo::MAX, ReadMode::Resident);
    assert!(few(0x80).unwrap().is_none());
    assert!(matches!(few(0x81), Err(Error::WouldBlock)));
}

fn walk_count(table: &Memtable, range: &KeyRange) -> usize {
    let walks = table.walks(range, Direction::Forward, SeqNo::MAX, ReadMode::Blocking);
    walks.map(|walk| walk.unwrap().count()).sum()
}

#[test]
fn what_is_flushed_is_the_newest_of_each_key_of_all_kinds_in_order() {
    for is_walked in [false, true] {
        let table = Memtable::new(0);
        for seq in 1..=3_000_u64 {
            let key = [u8::try_from(seq % 5 * 60).unwrap(), u8::try_from(seq % 251).unwrap()];
            insert(&table, Entry::new(&key, seq, Some(b"v")));
        }
        if is_walked {
            assert!(table.get(&[60, 1], 3_000, ReadMode::Blocking).unwrap().is_some());
        }
        table.seal();
        let mut flushed = Vec::new();
        let mut note = |entry: &Entry| {
            flushed.push((entry.key().to_vec(), entry.seq()));
            Ok(())
        };
        table.for_each_newest(&mut note).unwrap();
        assert_eq!(flushed.len(), 5 * 251);
        assert!(flushed.is_sorted_by(|a, b| a.0 < b.0));
        assert!(flushed.iter().all(|(_, seq)| *seq > 3_000 - 5 * 251));
    }
}
