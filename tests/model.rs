//! Random transactions, flushes, compactions, reopens and snapshots against a `BTreeMap`.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::ops::Bound;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use siltdb::engine::{KeyRange, Read, ReadMode, SeqNo, Snapshot};
use siltdb::env::SimFs;
use store::{Model, Store, Writes, apply, compare, key, value};

const KEYS: u32 = 60;

#[derive(Debug, Clone)]
enum Action {
    /// Commits one transaction to the open batch.
    Commit(Vec<(u32, Option<(u8, usize)>)>, Option<u8>),
    /// Closes, writes and syncs the open batch; others may follow before it is published.
    Close,
    /// The same, and publishes it with all before it.
    Publish,
    /// One unit of background work.
    Step,
    Flush,
    CompactAll,
    /// Closes and opens; an open batch was never promised and is gone.
    Reopen,
    /// Takes a snapshot, to be held against the model of this moment later.
    Snapshot,
    /// Compares the oldest snapshot with its model and drops it.
    DropSnapshot,
    /// Compares a range of the newest state, in all ways.
    Compare(u32, u32, u8),
}

fn action() -> impl Strategy<Value = Action> {
    let value =
        option::weighted(0.8, (any::<u8>(), prop_oneof![9 => 0usize..120, 1 => 500usize..3000]));
    let writes = vec((0..KEYS, value), 1..6);
    prop_oneof![
        40 => (writes, option::weighted(0.2, any::<u8>())).prop_map(|(w, r)| Action::Commit(w, r)),
        15 => Just(Action::Publish),
        8 => Just(Action::Close),
        8 => Just(Action::Step),
        2 => Just(Action::Flush),
        1 => Just(Action::CompactAll),
        2 => Just(Action::Reopen),
        3 => Just(Action::Snapshot),
        2 => Just(Action::DropSnapshot),
        4 => (0..KEYS, 0..KEYS, 0u8..9).prop_map(|(a, b, kind)| Action::Compare(a, b, kind)),
    ]
}

fn bound(number: u32, kind: u8) -> Bound<Bytes> {
    match kind {
        0 => Bound::Included(key(number)),
        1 => Bound::Excluded(key(number)),
        _ => Bound::Unbounded,
    }
}

struct World {
    store: Store,
    /// With the open batch.
    newest: (Model, Bytes),
    /// Without the open batch; durable.
    closed: (Model, Bytes),
    /// Published.
    published: (Model, Bytes),
    /// Closed batches that are not published.
    in_flight: Vec<SeqNo>,
    snapshots: Vec<(Snapshot, Model, Bytes)>,
    keys: Vec<Bytes>,
}

impl World {
    fn new() -> Self {
        let store = Store::open(&SimFs::new(1)).unwrap();
        let keys = (0..KEYS).map(key).collect();
        Self {
            store,
            newest: Default::default(),
            closed: Default::default(),
            published: Default::default(),
            in_flight: Vec::new(),
            snapshots: Vec::new(),
            keys,
        }
    }

    fn compare_snapshot(
        &self,
        (view, model, root): &(Snapshot, Model, Bytes),
        ranges: &[KeyRange],
    ) {
        compare(view, model, &self.keys, ranges);
        assert_eq!(view.root(), root);
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Commit(writes, root) => {
                if self.store.writer.must_wait() {
                    self.act(&Action::Publish);
                }
                self.store.make_room().unwrap();
                let writes: Writes = writes
                    .iter()
                    .map(|(k, v)| (key(*k), v.map(|(seed, len)| value(seed.into(), len))))
                    .collect();
                let root = root.map(|byte| Bytes::from(vec![byte; 9]));
                self.store.commit(&writes, root.clone()).unwrap();
                apply(&mut self.newest.0, &writes);
                if let Some(root) = root {
                    self.newest.1 = root;
                }
            }
            Action::Close => {
                if let Some(batch) = self.store.writer.take_batch() {
                    self.in_flight.push(batch.seq());
                    batch.write().unwrap();
                    self.store.writer.syncer().sync().unwrap();
                }
                self.closed = self.newest.clone();
            }
            Action::Publish => {
                self.act(&Action::Close);
                for seq in self.in_flight.drain(..) {
                    self.store.writer.publish(seq);
                }
                self.published = self.closed.clone();
            }
            Action::Step => {
                self.store.engine.step().unwrap();
            }
            Action::Flush => {
                self.act(&Action::Publish);
                self.store.engine.flush_wait().unwrap();
                assert_eq!(self.store.engine.stats().sealed_count, 0);
            }
            Action::CompactAll => {
                self.act(&Action::Publish);
                self.store.engine.compact_all().unwrap();
            }
            Action::Reopen => {
                while !self.snapshots.is_empty() {
                    self.act(&Action::DropSnapshot);
                }
                let fs = self.store.fs.clone();
                self.store.engine.close();
                take_mut(&mut self.store, |store| {
                    drop(store);
                    Store::open(&fs).unwrap()
                });
                self.in_flight.clear();
                self.newest = self.closed.clone();
                self.published = self.closed.clone();
            }
            Action::Snapshot => {
                let view = self.store.engine.snapshot(ReadMode::Blocking);
                let (model, root) = self.published.clone();
                self.snapshots.push((view, model, root));
            }
            Action::DropSnapshot => {
                if !self.snapshots.is_empty() {
                    let oldest = self.snapshots.remove(0);
                    self.compare_snapshot(&oldest, &[]);
                }
            }
            Action::Compare(a, b, kind) => {
                let range = (bound(*a, kind % 3), bound(*b, kind / 3));
                let view = self.store.engine.snapshot(ReadMode::Blocking);
                let (model, root) = self.published.clone();
                self.compare_snapshot(&(view, model, root), std::slice::from_ref(&range));
                let txn = self.store.writer.begin(ReadMode::Blocking).unwrap();
                compare(&txn, &self.newest.0, &self.keys, &[range]);
                assert_eq!(txn.root(), self.newest.1);
            }
        }
    }
}

/// Replaces a value by one made from it.
fn take_mut(store: &mut Store, make: impl FnOnce(Store) -> Store) {
    let placeholder = Store::open(&SimFs::new(0)).unwrap();
    let old = std::mem::replace(store, placeholder);
    *store = make(old);
}

fn run(actions: &[Action]) {
    let mut world = World::new();
    for action in actions {
        world.act(action);
    }
    world.act(&Action::Compare(0, 0, 8));
    world.act(&Action::Publish);
    while !world.snapshots.is_empty() {
        world.act(&Action::DropSnapshot);
    }
    world.store.engine.check().unwrap();
    while world.store.engine.step().unwrap() {}
    world.act(&Action::Compare(0, 0, 8));
    world.store.engine.check().unwrap();
    only_named_tables_are_left(&world.store);
}

/// Once no snapshot holds an old version, its tables are gone from the disk.
fn only_named_tables_are_left(store: &Store) {
    let stats = store.engine.stats();
    let named: u64 = stats.levels.iter().map(|level| level.files).sum();
    let names = store.fs.shared().list("/db".as_ref()).unwrap();
    let there = names.iter().filter(|name| name.ends_with(".sst")).count();
    assert_eq!(there as u64, named, "{names:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_store_is_a_sorted_map(actions in vec(action(), 1..400)) {
        run(&actions);
    }
}

#[test]
fn every_level_is_reached() {
    let mut world = World::new();
    for round in 0..200u32 {
        let writes = (0..8)
            .map(|n| ((round * 7 + n * 13) % KEYS, Some((u8::try_from(round).unwrap(), 150))))
            .collect();
        world.act(&Action::Commit(writes, None));
        world.act(&Action::Publish);
        while world.store.engine.step().unwrap() {}
    }
    let stats = world.store.engine.stats();
    assert!(stats.levels[5].files > 0 && stats.levels[6].files > 0, "{:?}", stats.levels);
    assert!(stats.flushes > 10 && stats.compactions > 10);
    world.act(&Action::CompactAll);
    world.act(&Action::Compare(3, 40, 0));
    world.store.engine.check().unwrap();
}
