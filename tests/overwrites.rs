//! Keys that are written again and again: what no view sees any more goes, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::sync::Arc;

use bytes::Bytes;
use siltdb::engine::{Batch, KeepAll, Options, Read, ReadMode, Snapshot};
use siltdb::env::{SimClock, SimFs};
use store::{Model, Store, Writes, apply, compare, tiny_options, value};

const KEYS: u32 = 40;

/// Large enough that nothing is flushed unless the test says so.
fn roomy() -> Options {
    Options { memtable_bytes: 16 << 20, segment_bytes: 64 << 10, ..tiny_options() }
}

struct Run {
    store: Store,
    /// Everything committed.
    model: Model,
    under_way: Option<(Batch, Model)>,
    published: Model,
    random: fastrand::Rng,
    held: Vec<(Snapshot, Model)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let fs = SimFs::new(seed);
        let store = Store::open_with(&fs, roomy(), Arc::new(KeepAll), SimClock::at_ms(1)).unwrap();
        Self {
            store,
            model: Model::new(),
            under_way: None,
            published: Model::new(),
            random: fastrand::Rng::with_seed(seed),
            held: Vec::new(),
        }
    }

    fn commit(&mut self) {
        let writes: Writes = (0..self.random.usize(1..5))
            .map(|_| {
                // Some keys more often than others.
                let limit = [3, KEYS][self.random.usize(..2)];
                let key = store::key(self.random.u32(..limit));
                let len = self.random.usize(..200);
                (key, (self.random.u32(..8) > 0).then(|| value(self.random.u64(..), len)))
            })
            .collect();
        self.store.commit(&writes, None).unwrap();
        apply(&mut self.model, &writes);
    }

    /// Publishes the batch that is under way, and sends the open one on its way.
    fn turn(&mut self) {
        self.land();
        if let Some(batch) = self.store.writer.take_batch() {
            self.under_way = Some((batch, self.model.clone()));
        }
    }

    fn land(&mut self) {
        let Some((batch, model)) = self.under_way.take() else { return };
        let seq = batch.seq();
        batch.write().unwrap();
        self.store.writer.publish(seq);
        self.published = model;
    }

    fn hold_or_let_go(&mut self) {
        if self.held.len() < 6 && self.random.bool() {
            let view = self.store.engine.snapshot(ReadMode::Blocking);
            self.held.push((view, self.published.clone()));
        } else if !self.held.is_empty() {
            self.held.swap_remove(self.random.usize(..self.held.len()));
        }
    }

    fn check(&self, (view, model): &(Snapshot, Model), walks: bool) {
        let keys: Vec<Bytes> = (0..KEYS).map(store::key).collect();
        if walks {
            return compare(view, model, &keys, &[]);
        }
        for key in &keys {
            assert_eq!(view.get(key).unwrap(), model.get(key).cloned(), "{key:?}");
        }
    }
}

/// Views are held and let go of while everything is overwritten, in every order of batches.
#[test]
fn every_view_that_is_held_stays_as_it_was() {
    for seed in 0..24 {
        let mut run = Run::new(seed);
        // Whether memtables are put in order early, late, or only by what views that are held ask for.
        let walks = seed % 3;
        for round in 0..1_500 {
            run.commit();
            if run.random.u32(..3) == 0 {
                run.turn();
            }
            if run.random.u32(..40) == 0 {
                run.hold_or_let_go();
            }
            if walks == 0 && round % 100 == 0 || walks == 1 && round % 700 == 699 {
                run.held.iter().for_each(|held| run.check(held, true));
            }
            if run.random.u32(..500) == 0 {
                run.turn();
                run.land();
                run.store.engine.flush_wait().unwrap();
            }
        }
        run.turn();
        run.land();
        let newest = (run.store.engine.snapshot(ReadMode::Blocking), run.model.clone());
        run.check(&newest, walks == 0);
        for held in &run.held {
            run.check(held, false);
            run.check(held, true);
        }
    }
}

/// A memtable that nobody walks, and one that is in order.
#[test]
fn keys_that_are_overwritten_take_the_memory_of_one_version() {
    for walked in [false, true] {
        let mut run = Run::new(1);
        if walked {
            run.commit();
            run.turn();
            run.land();
            store::contents(&run.store.engine.snapshot(ReadMode::Blocking)).unwrap();
        }
        let mut largest = 0;
        for round in 0..20_000 {
            run.commit();
            run.turn();
            if round > 1_000 {
                largest = largest.max(run.store.engine.stats().memtable_bytes);
            }
        }
        // Keys of a few bytes, values of 200 at most, 128 beside that, and what is under way.
        assert!(largest < u64::from(KEYS) * 350 + 5_000, "{largest}, walked: {walked}");
        assert_eq!(run.store.engine.stats().flushes, 0);
    }
}

/// A batch that writes one key very often holds one version of it.
#[test]
fn a_batch_holds_one_version_of_each_key() {
    let mut run = Run::new(1);
    let before = run.store.engine.stats().memtable_bytes;
    for number in 0..10_000 {
        let writes: Writes = vec![(store::key(1), Some(value(number, 100)))];
        run.store.commit(&writes, None).unwrap();
        apply(&mut run.model, &writes);
    }
    let held = run.store.engine.stats().memtable_bytes - before;
    assert!(held < 1_000, "{held}");
    run.turn();
    run.land();
    let newest = (run.store.engine.snapshot(ReadMode::Blocking), run.model.clone());
    run.check(&newest, true);
}
