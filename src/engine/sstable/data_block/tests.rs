//! Blocks of records against a `BTreeMap`, and against damage.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::block::{BlockBuilder, Entry, INTERVAL_ENTRIES_MAX, RESTART_INTERVAL, tag};
use super::{Buffers, DataBlock, DataBlockBuilder, MARK};
use crate::engine::Record;
use crate::engine::coding::{put_slice, put_u32, put_varint};

type Records = std::collections::BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn squeezed_of(records: &Records) -> Bytes {
    let mut builder = DataBlockBuilder::default();
    for (at, (key, value)) in records.iter().enumerate() {
        let tag = tag(at as u64, value.is_none());
        assert!(builder.add(key, tag, value.as_deref(), usize::MAX));
    }
    let len = builder.len();
    let content = Bytes::copy_from_slice(builder.finish());
    assert!(content.len() <= len, "{} bytes, {len} were announced", content.len());
    content
}

/// As tables of format 1 have it.
fn plain_of(records: &Records) -> Bytes {
    let mut builder = BlockBuilder::new(RESTART_INTERVAL);
    for (at, (key, value)) in records.iter().enumerate() {
        builder.add(key, tag(at as u64, value.is_none()), value.as_deref().unwrap_or_default());
    }
    Bytes::copy_from_slice(builder.finish())
}

fn read_all(content: &Bytes) -> Vec<Record> {
    let block = DataBlock::new(content).unwrap();
    let mut records = Vec::new();
    for interval in 0..block.restart_count() {
        block.check_head(interval).unwrap();
        block.read_interval(interval, content, &mut records).unwrap();
    }
    assert_eq!(visit_all(content), records);
    records
}

/// The same, by a visit.
fn visit_all(content: &Bytes) -> Vec<Record> {
    let block = DataBlock::new(content).unwrap();
    let (mut records, mut buffers) = (Vec::new(), Buffers::default());
    for interval in 0..block.restart_count() {
        let show = |key: &[u8], entry: &Entry<'_>, value: &[u8]| {
            let value = (!entry.is_tombstone()).then(|| Bytes::copy_from_slice(value));
            let key = Bytes::copy_from_slice(key);
            records.push(Record { key, seq: entry.seq(), value });
            true
        };
        assert!(block.visit_interval(interval, &mut buffers, show).unwrap());
    }
    records
}

/// The block answers what `records` would, for every one of `probes`.
fn check(content: &Bytes, records: &Records, probes: &[Vec<u8>]) {
    let block = DataBlock::new(content).unwrap();
    let all = read_all(content);
    let expected = records.iter().zip(0..).map(|((key, value), seq)| Record {
        key: key.clone().into(),
        seq,
        value: value.clone().map(Bytes::from),
    });
    assert_eq!(all, expected.collect::<Vec<_>>());
    for probe in probes.iter().chain(records.keys()) {
        let found = block.find(probe).unwrap();
        let found = found.map(|entry| block.value(&entry).map(|(a, b)| [a, b].concat()));
        assert_eq!(found.as_ref(), records.get(probe), "{probe:?}");
        let floor = all.iter().step_by(RESTART_INTERVAL).filter(|record| record.key <= *probe);
        assert_eq!(block.restart_floor(probe).unwrap(), floor.count().checked_sub(1), "{probe:?}");
    }
}

/// Whatever the content is, nothing panics; answers do not matter.
fn walk(content: Vec<u8>, key: &[u8]) {
    let content = Bytes::from(content);
    let Ok(block) = DataBlock::new(&content) else { return };
    let (_, _) = (block.find(key), block.restart_floor(key));
    let mut records = Vec::new();
    for interval in 0..block.restart_count().min(1000) {
        let _ = block.check_head(interval);
        let _ = block.visit_interval(interval, &mut Buffers::default(), |_, _, _| true);
        if block.read_interval(interval, &content, &mut records).is_err() {
            return;
        }
    }
}

/// Keys of three parts, of which the first and the last are often the same.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    ("[a]{0,2}", "[ab]{0,5}", "[ab]{0,3}", "[abc]{0,4}")
        .prop_map(|(front, order, gap, rest)| [front, order, gap, rest].concat().into_bytes())
}

proptest! {
    #[test]
    fn a_block_answers_like_a_map(
        front in "[ab]{0,3}",
        order_len in 0_usize..4,
        gap in "[ab]{0,4}",
        parts in prop::collection::btree_map(
            ("[ab]{4}", "[ab]{0,3}"), prop::option::of("v[vw]{0,4}"), 1..60),
        probes in prop::collection::vec(keys(), 0..60),
    ) {
        let key = |(order, rest): &(String, String)| {
            [&front, &order[..order_len], &gap, rest].concat().into_bytes()
        };
        let value = |value: &Option<String>| value.clone().map(String::into_bytes);
        let records: Records = parts.iter().map(|(parts, text)| (key(parts), value(text))).collect();
        check(&squeezed_of(&records), &records, &probes);
        check(&plain_of(&records), &records, &probes);
    }

    #[test]
    fn long_values_that_begin_alike_come_back(count in 1_u8..40, same in 0_usize..300) {
        let value = |number: u8| [vec![b'v'; same], number.to_string().into_bytes()].concat();
        let records: Records = (0..count).map(|n| (vec![n], Some(value(n)))).collect();
        check(&squeezed_of(&records), &records, &[]);
    }

    #[test]
    fn any_bytes_are_walked_without_panic(
        marked: bool,
        content in prop::collection::vec(prop_oneof![0_u8..20, any::<u8>()], 0..200),
        restarts in prop::collection::vec(0_u32..200, 0..6),
        key in prop::collection::vec(0_u8..20, 0..6),
    ) {
        walk(content.clone(), &key);
        let mut block = Vec::new();
        let count = u32::try_from(restarts.len()).unwrap();
        put_u32(&mut block, if marked { count | MARK } else { count });
        if marked {
            block.extend_from_slice(&[1, 0, 1, 1, 7, 1, 9]);
            restarts.iter().for_each(|&restart| put_u32(&mut block, restart));
        }
        restarts.iter().for_each(|&restart| put_u32(&mut block, restart));
        walk([block, content].concat(), &key);
    }

    #[test]
    fn a_damaged_block_is_walked_without_panic(
        records in prop::collection::btree_map(keys(), prop::option::of("v[vw]{0,4}"), 1..60),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        is_plain: bool,
        key in keys(),
    ) {
        let value = |value: Option<String>| value.map(String::into_bytes);
        let records: Records = records.into_iter().map(|(key, text)| (key, value(text))).collect();
        let content = if is_plain { plain_of(&records) } else { squeezed_of(&records) };
        let mut content = content.to_vec();
        for (at, byte) in changes {
            let at = at.index(content.len());
            content[at] = byte;
        }
        walk(content, &key);
    }
}

#[test]
fn what_all_have_in_common_stands_once() {
    let record = |number: u32| {
        let order = number.wrapping_mul(2_654_435_769).to_be_bytes();
        let key = [&b"generation"[..], &order, b"element:0000", &number.to_string().into_bytes()];
        (key.concat(), Some(format!("value:{number:04}").into_bytes()))
    };
    let records: Records = (100..200).map(record).collect();
    let content = squeezed_of(&records);
    let count = |part: &[u8]| content.windows(part.len()).filter(|at| at == &part).count();
    assert_eq!((count(b"generation"), count(b"element:0000"), count(b"value:0")), (1, 1, 1));
    assert!(content.len() * 2 < plain_of(&records).len(), "{}", content.len());
    check(&content, &records, &[]);
}

#[test]
fn few_values_are_slices_of_the_block() {
    let value = Some(vec![7; 1000]);
    let records: Records = [(b"a".to_vec(), value.clone()), (b"b".to_vec(), value)].into();
    let content = squeezed_of(&records);
    let inside = content.as_ptr_range();
    for record in read_all(&content) {
        assert!(inside.contains(&record.value.unwrap().as_ptr()));
    }
}

#[test]
fn a_block_ends_before_the_record_that_does_not_fit() {
    let mut builder = DataBlockBuilder::default();
    assert!(builder.add(b"a", 0, Some(&[0; 500]), 100), "the first one always does");
    assert!(!builder.add(b"b", 0, Some(b""), 100));
    builder.clear();
    let numbers = 0_u32..1000;
    let taken = numbers.take_while(|number| {
        builder.add(format!("key:{number:04}").as_bytes(), 0, Some(b"value"), 400)
    });
    assert!(taken.count() > 40);
    assert!((300..=400).contains(&builder.finish().len()));
}

#[test]
fn sharing_can_not_announce_more_than_the_block_has() {
    // Each entry shares the whole key before: a small block, keys of quadratic size.
    let mut content = Vec::new();
    put_u32(&mut content, 1);
    put_u32(&mut content, 0);
    for shared in [0, 100, 200] {
        put_varint(&mut content, shared);
        put_slice(&mut content, &[b'k'; 100]);
        content.extend_from_slice(&[0, 0]);
    }
    for _ in 0..INTERVAL_ENTRIES_MAX {
        put_varint(&mut content, 300);
        content.extend_from_slice(&[0, 0, 0]);
    }
    let content = Bytes::from(content);
    let block = DataBlock::new(&content).unwrap();
    assert!(block.read_interval(0, &content, &mut Vec::new()).is_err());
}
