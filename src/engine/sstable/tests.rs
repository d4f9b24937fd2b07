//! Tables against a `BTreeMap`, and against damage.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{
    BlockCache, Direction, Error, Filter, Found, Judge, KeepAll, KeyRange, Read, ReadMode, Record,
    Result, TableInfo,
};
use super::format::{FOOTER_BYTES, Footer, check_block, decode_properties};
use super::{
    Compression, LevelIter, ScanOptions, Table, TableBuilder, TableOptions, table_file_name,
};
use crate::env::{Fs, SimFs};

type Model = BTreeMap<Bytes, (u64, Option<Bytes>)>;

const TINY: TableOptions = TableOptions {
    compression: Compression::None,
    block_bytes: 64,
    partition_blocks: 3,
    filter_bits_per_key: 10,
};

fn path_of(id: u64) -> PathBuf {
    PathBuf::from(table_file_name(id))
}

fn build(fs: &SimFs, id: u64, options: TableOptions, model: &Model) -> TableInfo {
    let file = fs.create(&path_of(id)).unwrap();
    let mut builder = TableBuilder::new(file, path_of(id), id, options, &KeepAll);
    for (key, (seq, value)) in model {
        builder.add(key, *seq, value.as_deref()).unwrap();
    }
    builder.finish().unwrap()
}

fn open(fs: &SimFs, info: &TableInfo, cache_bytes: u64) -> Arc<Table> {
    let cache = Arc::new(BlockCache::new(cache_bytes));
    Table::open(fs.shared(), path_of(info.id), info.clone(), cache)
}

fn table_of(options: TableOptions, model: &Model) -> (SimFs, Arc<Table>) {
    let fs = SimFs::new(1);
    let info = build(&fs, 7, options, model);
    let table = open(&fs, &info, 1 << 20);
    (fs, table)
}

/// `count` keys that share prefixes, every tenth deleted.
fn numbered(count: u32) -> Model {
    let entry = |n: u32| {
        let key = Bytes::from(format!("user:{:06}", n * 3));
        let value = (!n.is_multiple_of(10)).then(|| Bytes::from(format!("value {n} ").repeat(3)));
        (key, (u64::from(n) + 1, value))
    };
    (0..count).map(entry).collect()
}

fn expected(model: &Model, range: &KeyRange, direction: Direction) -> Vec<Record> {
    let inside = |key: &Bytes| (range.0.clone(), range.1.clone()).contains_key(key);
    let mut records: Vec<Record> = (model.iter())
        .filter(|(key, _)| inside(key))
        .map(|(key, (seq, value))| Record { key: key.clone(), seq: *seq, value: value.clone() })
        .collect();
    if direction == Direction::Reverse {
        records.reverse();
    }
    records
}

trait ContainsKey {
    fn contains_key(&self, key: &Bytes) -> bool;
}

impl ContainsKey for KeyRange {
    fn contains_key(&self, key: &Bytes) -> bool {
        std::ops::RangeBounds::contains(self, key)
    }
}

fn keys() -> impl Strategy<Value = Bytes> {
    let letter = prop_oneof![Just(b'a'), Just(b'b'), Just(0), Just(255)];
    prop::collection::vec(letter, 0..9).prop_map(Bytes::from)
}

fn values() -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![
        1 => Just(None),
        6 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|v| Some(Bytes::from(v))),
        2 => (0_usize..400, any::<u8>()).prop_map(|(n, b)| Some(Bytes::from(vec![b; n]))),
    ]
}

fn models() -> impl Strategy<Value = Model> {
    let entry = (keys(), (0..1_u64 << 56, values()));
    prop::collection::vec(entry, 1..200).prop_map(|entries| entries.into_iter().collect())
}

fn table_options() -> impl Strategy<Value = TableOptions> {
    let compression =
        prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)];
    (compression, 1_usize..600, 1_usize..6, prop_oneof![Just(0_usize), Just(1), Just(10)]).prop_map(
        |(compression, block_bytes, partition_blocks, filter_bits_per_key)| TableOptions {
            compression,
            block_bytes,
            partition_blocks,
            filter_bits_per_key,
        },
    )
}

fn bounds() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![
        Just(Bound::Unbounded),
        keys().prop_map(Bound::Included),
        keys().prop_map(Bound::Excluded),
    ]
}

fn scan_options() -> impl Strategy<Value = ScanOptions> {
    (any::<bool>(), prop_oneof![Just(0_usize), Just(100), Just(1 << 18)]).prop_map(
        |(fill_cache, readahead_bytes)| ScanOptions {
            mode: ReadMode::Blocking,
            fill_cache,
            takes_blocks: !fill_cache,
            readahead_bytes,
        },
    )
}

fn check_gets(table: &Table, model: &Model, probes: &[Bytes]) {
    for key in model.keys().chain(probes) {
        let found = table.get(key, ReadMode::Blocking).unwrap();
        let wanted = model.get(key).map(|(seq, value)| Found { seq: *seq, value: value.clone() });
        assert_eq!(found, wanted, "{key:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_table_answers_like_a_map(
        model in models(),
        options in table_options(),
        cache_bytes in prop_oneof![Just(0_u64), Just(4096), Just(1 << 20)],
        probes in prop::collection::vec(keys(), 0..30),
        scans in prop::collection::vec((bounds(), bounds(), any::<bool>(), scan_options()), 1..12),
    ) {
        let fs = SimFs::new(1);
        let info = build(&fs, 7, options, &model);
        let table = open(&fs, &info, cache_bytes);
        table.verify().unwrap();
        check_gets(&table, &model, &probes);
        for (start, end, forward, options) in scans {
            let direction = if forward { Direction::Forward } else { Direction::Reverse };
            let range = (start, end);
            let records: Result<Vec<Record>> =
                table.scan(range.clone(), direction, options).collect();
            prop_assert_eq!(records.unwrap(), expected(&model, &range, direction));
        }
    }

    #[test]
    fn a_level_walks_like_a_map(
        model in models(),
        pieces in 1_usize..6,
        scans in prop::collection::vec((bounds(), bounds(), any::<bool>(), scan_options()), 1..12),
    ) {
        let fs = SimFs::new(1);
        let cache = Arc::new(BlockCache::new(1 << 20));
        let entries: Vec<_> = model.iter().collect();
        let tables: Vec<Arc<Table>> = entries
            .chunks(entries.len().div_ceil(pieces))
            .zip(1..)
            .map(|(chunk, id)| {
                let part = chunk.iter().map(|(k, v)| ((*k).clone(), (*v).clone())).collect();
                let info = build(&fs, id, TINY, &part);
                Table::open(fs.shared(), path_of(id), info, Arc::clone(&cache))
            })
            .collect();
        for (start, end, forward, options) in scans {
            let direction = if forward { Direction::Forward } else { Direction::Reverse };
            let range = (start, end);
            let walk = LevelIter::new(&tables[..], range.clone(), direction, options);
            let records: Result<Vec<Record>> = walk.collect();
            prop_assert_eq!(records.unwrap(), expected(&model, &range, direction));
            let walk = LevelIter::new(&tables[..], range.clone(), Direction::Forward, options);
            let mut visited = Vec::new();
            let mut show = |key: &[u8], seq, value: Option<&[u8]>| {
                let (key, value) = (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice));
                visited.push(Record { key, seq, value });
                Ok(true)
            };
            prop_assert!(walk.visit(&mut show).unwrap());
            prop_assert_eq!(visited, expected(&model, &range, Direction::Forward));
        }
    }
}

/// Whatever a read of a damaged table answers has to be true, or [`Error::Corruption`].
fn check_damaged(table: &Arc<Table>, model: &Model) -> bool {
    let mut noticed = false;
    for (key, (seq, value)) in model {
        match table.get(key, ReadMode::Blocking) {
            Ok(found) => assert_eq!(found, Some(Found { seq: *seq, value: value.clone() })),
            Err(Error::Corruption { .. }) => noticed = true,
            Err(other) => panic!("{other}"),
        }
    }
    let range = (Bound::Unbounded, Bound::Unbounded);
    for direction in [Direction::Forward, Direction::Reverse] {
        for options in [ScanOptions::streaming(), ScanOptions::cached(ReadMode::Blocking)] {
            let wanted = expected(model, &range, direction);
            let mut walk = table.scan(range.clone(), direction, options);
            let mut place = 0;
            for record in walk.by_ref() {
                match record {
                    Ok(record) => assert_eq!(record, wanted[place]),
                    Err(Error::Corruption { .. }) => {
                        noticed = true;
                        break;
                    }
                    Err(other) => panic!("{other}"),
                }
                place += 1;
            }
            assert!(noticed || place == wanted.len());
            assert!(walk.next().is_none(), "nothing follows an error or the end");
        }
    }
    noticed
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let model = numbered(60);
        let fs = SimFs::new(1);
        let options = TableOptions { compression, block_bytes: 300, ..TINY };
        let info = build(&fs, 7, options, &model);
        // Compressed tables differ only inside the blocks.
        let step = if compression == Compression::None { 1 } else { 3 };
        for offset in (0..info.size).step_by(step) {
            let mask = 1 << (offset % 8);
            assert!(fs.flip_bits(&path_of(7), offset, mask));
            let table = open(&fs, &info, 1 << 20);
            assert!(matches!(table.verify(), Err(Error::Corruption { .. })), "byte {offset}");
            if offset % 3 == 0 {
                check_damaged(&open(&fs, &info, 1 << 20), &model);
            }
            fs.flip_bits(&path_of(7), offset, mask);
        }
        open(&fs, &info, 0).verify().unwrap();
    }
}

#[test]
fn a_cut_grown_or_exchanged_file_is_noticed() {
    let model = numbered(50);
    let fs = SimFs::new(1);
    let (info, other) = (build(&fs, 7, TINY, &model), build(&fs, 8, TINY, &model));
    for size in [0, 10, info.size - 1, info.size + 1] {
        let file = fs.open(&path_of(7)).unwrap();
        file.set_len(size).unwrap();
        let error = open(&fs, &info, 0).load().unwrap_err();
        assert!(matches!(error, Error::Corruption { .. }), "{error}");
    }
    assert_eq!(info.size, other.size);
    fs.rename(&path_of(8), &path_of(7)).unwrap();
    let error = open(&fs, &info, 0).load().unwrap_err();
    assert!(error.to_string().contains("table 8 under another name"), "{error}");
    fs.remove(&path_of(7)).unwrap();
    assert!(matches!(open(&fs, &info, 0).load(), Err(Error::Io { operation: "open", .. })));
}

#[test]
fn tables_beyond_the_bound_are_closed_and_opened_again() {
    let (fs, cache, model) = (SimFs::new(1), Arc::new(BlockCache::new(1 << 20)), numbered(200));
    let open = |id| {
        let info = build(&fs, id, TINY, &model);
        Table::open(fs.shared(), path_of(id), info, Arc::clone(&cache))
    };
    let tables: Vec<Arc<Table>> = (0..6).map(open).collect();
    let bounded = cache.open_tables();
    bounded.set_bounds(3, u64::MAX);
    let key = model.keys().nth(100).unwrap();
    let expected = tables[0].get(key, ReadMode::Blocking).unwrap();
    assert!(expected.is_some());
    let resident = |at: usize| tables[at].get(key, ReadMode::Resident);
    // A walk keeps what it reads open for itself.
    let all = (Bound::Unbounded, Bound::Unbounded);
    let walk_options = ScanOptions::cached(ReadMode::Blocking);
    let mut walk = tables[0].scan(all, Direction::Forward, walk_options);
    walk.next().unwrap().unwrap();
    for table in &tables[1..] {
        assert_eq!(table.get(key, ReadMode::Blocking).unwrap(), expected);
        assert!(bounded.count() <= 3);
    }
    assert_eq!(bounded.count(), 3);
    assert!(matches!(resident(0), Err(Error::WouldBlock)), "closed: it would have to be opened");
    assert_eq!(resident(5).unwrap(), expected);
    fs.remove(&path_of(0)).unwrap();
    assert_eq!(walk.count(), 199, "the file is still there for the walk");

    // What is used meanwhile stays, whatever comes and goes.
    for round in 0..4 {
        assert_eq!(resident(5).unwrap(), expected, "{round}");
        tables[1 + round % 4].load().unwrap();
    }
    let open_bytes = |at: usize| tables[at].memory_bytes();
    let is_closed = |at: &usize| matches!(resident(*at), Err(Error::WouldBlock));
    let closed = (0..6).find(is_closed).unwrap();
    assert!(open_bytes(5) > open_bytes(closed) + 500);
    bounded.set_bounds(3, 1);
    assert_eq!(bounded.count(), 1, "one may always be open");
    drop(tables);
    assert_eq!(bounded.count(), 0, "a table that is gone is not open");
}

#[test]
fn a_resident_read_does_not_wait() {
    let model = numbered(500);
    let (fs, table) = table_of(TINY, &model);
    let resident = ScanOptions::cached(ReadMode::Resident);
    let all = (Bound::Unbounded, Bound::Unbounded);
    let key = model.keys().nth(200).unwrap();
    let is_blocked =
        |result: Option<Result<Record>>| matches!(result, Some(Err(Error::WouldBlock)));

    fs.nowait_blocks(true);
    assert!(matches!(table.get(key, ReadMode::Resident), Err(Error::WouldBlock)), "not loaded");
    assert!(is_blocked(table.scan(all.clone(), Direction::Forward, resident).next()));
    table.load().unwrap();
    assert!(matches!(table.get(key, ReadMode::Resident), Err(Error::WouldBlock)));
    assert!(is_blocked(table.scan(all.clone(), Direction::Forward, resident).next()));
    assert_eq!(table.get(b"a key before all", ReadMode::Resident).unwrap(), None);

    // A blocking read warms what a resident read of the same key needs.
    let found = table.get(key, ReadMode::Blocking).unwrap();
    assert_eq!(table.get(key, ReadMode::Resident).unwrap(), found);
    let mut walk = table.scan(all.clone(), Direction::Reverse, resident);
    assert!(is_blocked(walk.next()));
    assert!(walk.next().is_none());
    let warm = ScanOptions::cached(ReadMode::Blocking);
    assert_eq!(table.scan(all.clone(), Direction::Forward, warm).count(), 500);
    assert_eq!(table.scan(all.clone(), Direction::Reverse, resident).count(), 500);

    // Pages in memory do without the blocking pool, and get into the cache.
    fs.nowait_blocks(false);
    let fresh = open(&fs, table.info(), 1 << 20);
    fresh.load().unwrap();
    assert_eq!(fresh.get(key, ReadMode::Resident).unwrap(), found);
    fs.nowait_blocks(true);
    assert_eq!(fresh.get(key, ReadMode::Resident).unwrap(), found);
}

#[test]
fn a_streaming_walk_leaves_the_cache_alone() {
    let model = numbered(500);
    let (_fs, table) = table_of(TINY, &model);
    let all = (Bound::Unbounded, Bound::Unbounded);
    let stats = |table: &Table| (table.cache().blocks(), table.cache().stats());
    let before = stats(&table);
    assert_eq!(table.scan(all, Direction::Forward, ScanOptions::streaming()).count(), 500);
    assert_eq!(stats(&table), before);
}

#[test]
fn reads_ahead_in_large_pieces() {
    let value = Bytes::from(vec![7; 1000]);
    let model: Model = (0..4000_u32)
        .map(|n| (n.to_be_bytes().to_vec().into(), (1, Some(value.clone()))))
        .collect();
    let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
    let (fs, table) = table_of(options, &model);
    table.load().unwrap();
    for direction in [Direction::Forward, Direction::Reverse] {
        let before = fs.operations();
        let all = (Bound::Unbounded, Bound::Unbounded);
        assert_eq!(table.scan(all, direction, ScanOptions::streaming()).count(), 4000);
        let reads = fs.operations() - before;
        assert!(reads < 40, "{reads} reads for 4 MB");
    }
}

#[derive(Debug)]
struct ExpiryInValue;

impl Filter for ExpiryInValue {
    fn expires_at_ms(&self, _key: &[u8], value: &[u8]) -> Option<u64> {
        value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    fn judge(&self, _view: Box<dyn Read + Send>) -> Box<dyn Judge> {
        Box::new(KeepAll)
    }
}

#[test]
fn tells_the_facts_of_the_table() {
    let fs = SimFs::new(1);
    let file = fs.create(Path::new("x")).unwrap();
    let mut builder = TableBuilder::new(file, "x".into(), 12, TINY, &ExpiryInValue);
    assert!(builder.is_empty());
    builder.add(b"", 5, Some(b"no")).unwrap();
    for n in 1..=99_u64 {
        builder.add(&n.to_be_bytes(), 100 + n, Some(&(n * 10).to_be_bytes())).unwrap();
    }
    builder.add(&200_u64.to_be_bytes(), 3, None).unwrap();
    let estimated = builder.estimated_size();
    let info = builder.finish().unwrap();
    assert!(estimated.abs_diff(info.size) < 300, "{estimated} for {}", info.size);
    let wanted = TableInfo {
        id: 12,
        size: fs.open(Path::new("x")).unwrap().len().unwrap(),
        raw_bytes: 2 + 99 * 16 + 8,
        entries: 101,
        tombstones: 1,
        expiring: 99,
        expiry_median_ms: 500,
        smallest: Bytes::new(),
        largest: Bytes::copy_from_slice(&200_u64.to_be_bytes()),
        seq_min: 3,
        seq_max: 199,
    };
    assert_eq!(info, wanted);
    fs.sync_dir(Path::new("")).unwrap();
    let cache = Arc::new(BlockCache::new(0));
    Table::open(fs.crash(2).shared(), "x".into(), info, cache).verify().unwrap();
}

#[test]
fn a_failing_disk_fails_the_builder() {
    let build = |fs: &SimFs| {
        let file = fs.create(&path_of(1)).unwrap();
        let options = TableOptions { compression: Compression::None, ..TableOptions::default() };
        let mut builder = TableBuilder::new(file, path_of(1), 1, options, &KeepAll);
        let value = vec![1; 100_000];
        let added = (0..6_u8).try_for_each(|n| builder.add(&[n], 1, Some(&value)));
        added.and_then(|()| builder.finish())
    };
    let sound = SimFs::new(1);
    build(&sound).unwrap();
    // The creation is the first operation; each of the others may fail.
    for n in 1..sound.operations() {
        let fs = SimFs::new(1);
        fs.fail_once_after(n);
        assert!(matches!(build(&fs), Err(Error::Io { .. })), "operation {n}");
    }
}

#[test]
fn partitions_of_long_keys_are_closed_early() {
    let long = |n: u8| Bytes::from([vec![b'k'; 50_000], vec![n], vec![b'x'; 2000]].concat());
    let model: Model = (0..20).map(|n| (long(n), (1, Some(Bytes::new())))).collect();
    let (_fs, table) = table_of(TableOptions::default(), &model);
    table.verify().unwrap();
    // The smallest key, the largest, and the low key of a second partition.
    assert!(table.memory_bytes() > 3 * 50_000);
    check_gets(&table, &model, &[]);
}

#[test]
#[should_panic(expected = "strictly increasing")]
fn refuses_a_key_twice() {
    let fs = SimFs::new(1);
    let file = fs.create(&path_of(1)).unwrap();
    let mut builder = TableBuilder::new(file, path_of(1), 1, TINY, &KeepAll);
    builder.add(b"k", 1, None).unwrap();
    builder.add(b"k", 2, None).unwrap();
}

#[test]
fn compression_makes_tables_smaller_and_large_values_stay_slices() {
    let text: Bytes = "the same words over and over ".repeat(700).into();
    let model: Model =
        (0..200_u8).map(|n| (Bytes::from(vec![n]), (1, Some(text.slice(..20_000))))).collect();
    let size = |compression| {
        let options = TableOptions { compression, ..TableOptions::default() };
        let (_fs, table) = table_of(options, &model);
        table.verify().unwrap();
        check_gets(&table, &model, &[]);
        table.info().size
    };
    let (none, lz4, zstd) =
        (size(Compression::None), size(Compression::Lz4), size(Compression::Zstd));
    assert!(none > 200 * 20_000 && lz4 < none / 10 && zstd < none / 10, "{none} {lz4} {zstd}");
}

#[test]
fn partitions_are_found_where_their_low_keys_begin_alike() {
    let key = |n: u32| format!("{}:{}:{n:04}", if n < 400 { "a" } else { "b" }, "same".repeat(5));
    let entry = |n: u32| (Bytes::from(key(n)), (1, Some(Bytes::from(n.to_string()))));
    let (_fs, table) = table_of(TINY, &(0..800).map(entry).collect());
    let between: Vec<Bytes> = (0..800).map(|n| Bytes::from(key(n) + "x")).collect();
    check_gets(&table, &(0..800).map(entry).collect(), &between);
}

fn get_all(table: &Table, model: &Model) {
    for key in model.keys() {
        assert!(table.get(key, ReadMode::Blocking).unwrap().is_some());
    }
}

#[test]
fn filters_and_indexes_are_pinned_within_a_bound_and_go_with_their_table() {
    let (fs, model) = (SimFs::new(1), numbered(2000));
    let info = build(&fs, 7, TINY, &model);
    let cache = Arc::new(BlockCache::new(1 << 20));
    let table = Table::open(fs.shared(), path_of(7), info.clone(), cache.clone());
    get_all(&table, &model);
    assert!(cache.pins().bytes() > 2000 * 10 / 8);
    assert!(cache.used_bytes() <= cache.capacity());
    // Only the data blocks are looked for.
    let before = cache.stats();
    get_all(&table, &model);
    assert_eq!(cache.stats().hits - before.hits, 2000);
    table.forget_blocks().unwrap();
    assert_eq!((cache.blocks(), cache.used_bytes()), (0, cache.pins().bytes()));
    drop(table);
    assert_eq!(cache.pins().bytes(), 0);

    let small = Arc::new(BlockCache::new(8000));
    let table = Table::open(fs.shared(), path_of(7), info, small.clone());
    get_all(&table, &model);
    assert!((1000..=2000).contains(&small.pins().bytes()), "{}", small.pins().bytes());
}

#[test]
fn what_is_written_is_in_the_cache_as_far_as_that_has_room() {
    let model = numbered(2000);
    for (capacity, has_room) in [(1 << 20, true), (64 << 10, false)] {
        let (fs, cache) = (SimFs::new(1), Arc::new(BlockCache::new(capacity)));
        cache.insert(1, 0, Bytes::from_static(b"somebody wants this"));
        let file = fs.create(&path_of(7)).unwrap();
        let builder = TableBuilder::new(file, path_of(7), 7, TINY, &KeepAll);
        let mut builder = builder.filling(&cache);
        for (key, (seq, value)) in &model {
            builder.add(key, *seq, value.as_deref()).unwrap();
        }
        let info = builder.finish().unwrap();
        assert!(cache.used_bytes() > capacity / 8);
        assert!(cache.get(1, 0).is_some());
        let table = Table::open(fs.shared(), path_of(7), info, cache.clone());
        get_all(&table, &model);
        assert_eq!(cache.stats().misses == 0, has_room);
    }
}

/// The table of a server that wrote format 1: strings, some of them deleted, a hash and a set.
#[test]
fn a_table_of_format_1_is_read() {
    let bytes = include_bytes!("../../../tests/testdata/table-format-1.sst");
    let footer = Footer::decode(bytes.last_chunk::<FOOTER_BYTES>().unwrap()).unwrap();
    let place = footer.properties;
    let from = usize::try_from(place.offset).unwrap();
    let stored = &bytes[from..from + place.stored_bytes()];
    let (properties, _) = check_block(stored, footer.table_id, place.offset).unwrap();
    let info = decode_properties(properties).unwrap();
    let fs = SimFs::new(1);
    fs.create(&path_of(info.id)).unwrap().write_at(0, bytes).unwrap();
    let table = open(&fs, &info, 1 << 20);
    table.verify().unwrap();

    let all = (Bound::Unbounded, Bound::Unbounded);
    let walk = table.scan(all, Direction::Forward, ScanOptions::streaming());
    let records: Vec<Record> = walk.collect::<Result<_>>().unwrap();
    let model: Model = records.iter().map(|r| (r.key.clone(), (r.seq, r.value.clone()))).collect();
    check_gets(&table, &model, &[Bytes::from_static(b"element:100")]);
    let value = |name: &str| {
        let found = records.iter().find(|record| record.key.ends_with(name.as_bytes()));
        found.and_then(|record| record.value.clone()).unwrap()
    };
    assert!(value("user:2").ends_with(b"value-2"));
    assert_eq!(value("element:123"), &b"\0value:123"[..]);
    assert_eq!(value("member:77"), Bytes::new());

    // Written anew it says the same.
    let again = build(&fs, 8, TableOptions::default(), &model);
    let table = open(&fs, &again, 1 << 20);
    table.verify().unwrap();
    check_gets(&table, &model, &[]);
}
