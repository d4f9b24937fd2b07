//! Power cuts on a simulated disk under the commands of all families, with tiny tables, flushes and
//! compactions: what is found afterwards is, record by record, what some number of transactions in
//! the order of the writer leave, no fewer than were synced; and all of it fits together.
//!
//! `SILTDB_CRASH_SEEDS` is the number of runs of each test (a few unless told).

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::sync::Arc;

use bytes::Bytes;
use siltdb::commands::{Args, Run, table};
use siltdb::data::{
    Access, Candidates, Context, Cursors, Edit, EventClasses, ExpiryMarks, KIND_AT, KnownOrders,
    Packing, RecordFilter, SHARE_AT, View, expire_due, find_due, verify,
};
use siltdb::engine::{Filter, Options, Read, ReadMode};
use siltdb::env::{SimClock, SimFs, UNBOUNDED_MEMORY};
use store::{Model, Store, contents, tiny_options};

/// The database in which the number of transactions stands.
const COUNTER_DB: u16 = 9;
const COUNTER: &[u8] = b"transactions";
const START_MS: u64 = 1_700_000_000_000;
const KEYS: &[&str] = &["a", "b", "c"];

/// Small, so that both ways to keep a collection occur.
const PACKING: Packing = Packing {
    hash_entries: 6,
    hash_value: 40,
    set_integers: 6,
    set_entries: 6,
    set_value: 40,
    stream_entries: 6,
    stream_bytes: 300,
    list_size: 6,
    zset_entries: 6,
    zset_value: 40,
};

/// What calls look like: `K` is a key of the kind named first, `M` a member, `N` a number, `I` the
/// id of an entry that may be there, `T` that of a new one, `V` a value.
const CALLS: &[&str] = &[
    "string SET K V",
    "string SET K V PX 300",
    "string APPEND K V",
    "string SETRANGE K 20000 V",
    "string INCRBY counter N",
    "hash HSET K M V M V",
    "hash HSET K M V M V M V",
    "hash HDEL K M",
    "hash HPEXPIRE K 200 FIELDS 1 M",
    "hash HPEXPIRE K 90000 FIELDS 2 M M",
    "set SADD K M M M",
    "set SADD K N N",
    "set SREM K M",
    "set SMOVE K K M",
    "set SUNIONSTORE K K K",
    "zset ZADD K N M N M",
    "zset ZINCRBY K N M",
    "zset ZREM K M",
    "zset ZPOPMIN K 2",
    "zset ZUNIONSTORE K 2 K K",
    "zset ZREMRANGEBYRANK K 0 1",
    "list RPUSH K V V",
    "list LPUSH K M M M",
    "list LPOP K 2",
    "list LINSERT K BEFORE M V",
    "list LREM K 1 M",
    "list LSET K 1 V",
    "list LTRIM K 0 12",
    "list LMOVE K K LEFT RIGHT",
    "stream XADD K T M V",
    "stream XADD K T M V M V",
    "stream XDEL K I",
    "stream XTRIM K MAXLEN 8",
    "stream XGROUP CREATE K group 0 MKSTREAM",
    "stream XGROUP DESTROY K group",
    "stream XCLAIM K group alice 0 I I FORCE",
    "stream XACK K group I",
    "any RENAME K K",
    "any COPY K K REPLACE",
    "any COPY K K DB 1 REPLACE",
    "any MOVE K 1",
    "any DEL K",
    "any PEXPIRE K 500",
    "any PEXPIRE K 100000",
    "any PERSIST K",
];

/// The words of transaction `number`.
fn words(seed: u64, number: u64) -> Vec<Bytes> {
    let mut random = fastrand::Rng::with_seed(seed ^ (number << 20));
    if random.u8(..) == 0 {
        return vec![Bytes::from_static(b"FLUSHDB")];
    }
    if random.u8(..100) == 0 {
        return ["SWAPDB", "0", "1"].map(Bytes::from).into();
    }
    let call = CALLS[random.usize(..CALLS.len())];
    let (kind, call) = call.split_once(' ').unwrap();
    let kind = match kind {
        "any" => ["string", "hash", "set", "zset", "list", "stream"][random.usize(..6)],
        kind => kind,
    };
    let word = |word: &str| match word {
        "K" => format!("{kind}:{}", KEYS[random.usize(..KEYS.len())]),
        "M" => format!("m{}", random.u8(..24)),
        "N" => random.u8(..40).to_string(),
        "I" => format!("{}-1", random.u64(number.saturating_sub(90)..=number)),
        "T" => format!("{number}-1"),
        "V" => format!("{}{}", number, "v".repeat(random.usize(..60))),
        word => word.to_owned(),
    };
    call.split(' ').map(word).map(Bytes::from).collect()
}

/// What lasts as long as a process.
#[derive(Debug)]
struct Memory {
    access: Access,
    orders: KnownOrders,
    cursors: Cursors,
    candidates: Candidates,
}

impl Memory {
    fn new() -> Self {
        Self {
            access: Access::new(1 << 12, START_MS),
            orders: KnownOrders::new(1 << 16),
            cursors: Cursors::default(),
            candidates: Candidates::default(),
        }
    }

    fn context(&self, number: u64) -> Context<'_> {
        Context {
            now_ms: START_MS + number * 20,
            db: 0,
            databases: 16,
            string_bytes_max: 1 << 20,
            hll_sparse_bytes_max: 3000,
            packing: PACKING,
            access: &self.access,
            orders: &self.orders,
            in_script: false,
            touch: true,
            cursors: &self.cursors,
            candidates: &self.candidates,
            warms: false,
            memory: &UNBOUNDED_MEMORY,
            events: EventClasses::default(),
        }
    }
}

fn options() -> Options {
    Options { kind_at: KIND_AT, share_at: SHARE_AT, ..tiny_options() }
}

fn open(fs: &SimFs) -> siltdb::engine::Result<Store> {
    Store::open_with(fs, options(), Arc::new(RecordFilter), SimClock::at_ms(START_MS))
}

/// Commits transaction `number` to the open batch: a call, or a cycle of expiry, and the number.
fn transact(
    store: &mut Store,
    memory: &Memory,
    seed: u64,
    number: u64,
) -> siltdb::engine::Result<()> {
    let context = memory.context(number);
    let mut edit = Edit::new(store.writer.begin(ReadMode::Blocking)?, context)?;
    if number.is_multiple_of(10) {
        let found = find_due(&edit, &ExpiryMarks::default(), 100)?;
        expire_due(&mut edit, &found.records, 100)?;
    } else {
        let words = words(seed, number);
        let sub = words.get(1).map(|word| &word[..]);
        let table::Lookup::Found(command) = table::lookup(&words[0], sub) else {
            panic!("no command {words:?}")
        };
        let Run::Write(handler) = command.spec.run else { panic!("no write: {words:?}") };
        let mut args = Args::new(&words, command.name_words);
        match handler(&mut edit, &mut args) {
            Ok(_) => {}
            Err(siltdb::commands::Error::Engine(error)) => return Err(error),
            // A call that is refused changes nothing.
            Err(_) => {
                drop(edit);
                edit = Edit::new(store.writer.begin(ReadMode::Blocking)?, context)?;
            }
        }
    }
    edit.select(COUNTER_DB);
    let old = edit.find(COUNTER)?;
    edit.set_string(COUNTER, old.as_ref(), number.to_string().into(), None);
    let (changes, _) = edit.finish()?;
    store.writer.commit(changes);
    Ok(())
}

/// How many transactions a view has.
fn last_transaction(view: &dyn Read, memory: &Memory) -> u64 {
    let context = Context { db: COUNTER_DB, ..memory.context(0) };
    let view = View::new(view, context).unwrap();
    let Some(meta) = view.inspect(COUNTER).unwrap() else { return 0 };
    str::from_utf8(&view.string(&meta).unwrap()).unwrap().parse().unwrap()
}

/// All records that are alive, and the root record.
fn live_records(store: &Store) -> (Model, Bytes) {
    let view = store.engine.snapshot(ReadMode::Blocking);
    let root = Bytes::copy_from_slice(view.root());
    let mut judge = RecordFilter.judge(Box::new(view.clone()));
    let mut records = contents(&view).unwrap();
    records.retain(|key, value| !judge.is_dead(key, value).unwrap());
    (records, root)
}

/// What a store holds that has seen so many transactions and no cut.
fn expected(seed: u64, last: u64) -> (Model, Bytes) {
    let (fs, memory) = (SimFs::new(seed), Memory::new());
    let mut store = open(&fs).unwrap();
    for number in 1..=last {
        store.make_room().unwrap();
        transact(&mut store, &memory, seed, number).unwrap();
        let batch = store.writer.take_batch().unwrap();
        let seq = batch.seq();
        batch.write().unwrap();
        store.writer.publish(seq);
    }
    live_records(&store)
}

/// How far a run got.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    committed: u64,
    durable: u64,
}

/// When a run syncs its log.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sync {
    Always,
    Sometimes,
    Never,
}

/// Runs transactions in batches, with background work between, until `enough` says so.
fn run(
    fs: &SimFs,
    seed: u64,
    sync: Sync,
    mut enough: impl FnMut(Progress) -> bool,
) -> siltdb::engine::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let memory = Memory::new();
    let mut store = open(fs)?;
    let found = last_transaction(&store.engine.snapshot(ReadMode::Blocking), &memory);
    let mut progress = Progress { committed: found, durable: found };
    while !enough(progress) {
        match random.u32(0..100) {
            0..75 => {
                store.make_room()?;
                for _ in 0..random.u32(1..6) {
                    transact(&mut store, &memory, seed, progress.committed + 1)?;
                    progress.committed += 1;
                    enough(progress);
                }
                let Some(batch) = store.writer.take_batch() else { continue };
                let seq = batch.seq();
                batch.write()?;
                if sync == Sync::Always {
                    store.writer.syncer().sync()?;
                    progress.durable = progress.committed;
                }
                store.writer.publish(seq);
            }
            75..95 => drop(store.engine.step()?),
            95 => store.engine.compact_all()?,
            96..98 if sync == Sync::Sometimes => {
                store.writer.syncer().sync()?;
                progress.durable = progress.committed;
            }
            _ => store.engine.flush_wait()?,
        }
    }
    Ok(())
}

/// Opens what a cut left, and holds it against the transactions; answers how many there are.
fn look_through(fs: &SimFs, seed: u64, progress: Progress) -> u64 {
    let store = open(fs).unwrap_or_else(|error| panic!("{seed} {progress:?}: {error}"));
    let view = store.engine.snapshot(ReadMode::Blocking);
    let found = last_transaction(&view, &Memory::new());
    assert!(found >= progress.durable, "{seed}: synced and lost: {found}, {progress:?}");
    assert!(found <= progress.committed, "{seed}: never committed: {found}, {progress:?}");
    let (records, root) = live_records(&store);
    let (expected_records, expected_root) = expected(seed, found);
    for (key, value) in &expected_records {
        assert_eq!(records.get(key), Some(value), "{seed}, {found}: {}", key.escape_ascii());
    }
    let strays = records.keys().filter(|key| !expected_records.contains_key(*key));
    let strays: Vec<String> = strays.map(|key| key.escape_ascii().to_string()).collect();
    assert!(strays.is_empty(), "{seed}, {found}: {strays:?}");
    assert_eq!(root, expected_root, "{seed}, {found}");
    store.engine.check().unwrap();
    verify(&view, &mut |damage| panic!("{seed}, {found}: {damage}")).unwrap();
    found
}

fn cut_everywhere(seed: u64, sync: Sync) {
    let fs = SimFs::new(seed);
    let mut random = fastrand::Rng::with_seed(!seed);
    let (mut cuts, mut operations) = (Vec::new(), 0);
    run(&fs, seed, sync, |progress| {
        if fs.operations() != operations && random.u8(..) < 8 {
            operations = fs.operations();
            cuts.push((fs.crash(random.u64(..)), progress));
        }
        progress.committed >= 400
    })
    .unwrap();
    assert!(cuts.len() > 5, "{} cuts", cuts.len());
    for (fs, progress) in cuts {
        let found = look_through(&fs, seed, progress);
        // What recovery shows survives the next cut, and the store goes on from there.
        let again = fs.crash(random.u64(..));
        let durable = Progress { committed: progress.committed, durable: found };
        look_through(&again, seed, durable);
        let mut reached = durable;
        run(&again, seed, sync, |now| {
            reached = now;
            now.committed >= found + 20
        })
        .unwrap();
        look_through(&again.crash(random.u64(..)), seed, reached);
    }
}

/// `count` seeds from `first` on, or as many as `SILTDB_CRASH_SEEDS` says.
fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    let count = std::env::var("SILTDB_CRASH_SEEDS")
        .map_or(count, |count| count.parse().expect("SILTDB_CRASH_SEEDS is a number"));
    first..first + count
}

#[test]
fn synced_transactions_of_all_types_survive() {
    seeds(0, 2).for_each(|seed| cut_everywhere(seed, Sync::Always));
}

#[test]
fn a_sync_now_and_then_keeps_a_prefix() {
    seeds(100, 2).for_each(|seed| cut_everywhere(seed, Sync::Sometimes));
}

#[test]
fn without_syncs_a_prefix_is_left() {
    seeds(200, 2).for_each(|seed| cut_everywhere(seed, Sync::Never));
}
