//! Power cuts on a simulated disk: at every operation of a run the power goes, and what was not
//! synced is kept, lost or torn by chance. What was acknowledged as durable must be there, and
//! every transaction must be there as a whole or not at all, in order.
//!
//! `SILTDB_CRASH_SEEDS` is the number of runs of each test (a few unless told).

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

#[path = "support/store.rs"]
mod store;

use std::sync::Arc;

use bytes::Bytes;
use siltdb::engine::{KeepAll, Read, ReadMode};
use siltdb::env::{SimClock, SimFs};
use store::{Model, Store, Writes, apply, compare, key, tiny_options, value};

const KEYS: u32 = 40;

/// The transactions of a run: number `n` writes its number to the root, and some keys.
fn transaction(seed: u64, number: u64) -> (Writes, Bytes) {
    let mut random = fastrand::Rng::with_seed(seed ^ (number << 20));
    let count = random.usize(1..5);
    let mut writes = Writes::new();
    for _ in 0..count {
        let len = if random.u8(..) < 6 { random.usize(2000..5000) } else { random.usize(0..150) };
        let value = (random.u8(..) > 50).then(|| value(random.u64(..), len));
        writes.push((key(random.u32(0..KEYS)), value));
    }
    (writes, Bytes::copy_from_slice(&number.to_be_bytes()))
}

/// What the store holds after transactions `1..=last`.
fn model_after(seed: u64, last: u64) -> Model {
    let mut model = Model::new();
    for number in 1..=last {
        apply(&mut model, &transaction(seed, number).0);
    }
    model
}

fn last_transaction(view: &dyn Read) -> u64 {
    match view.root() {
        [] => 0,
        root => u64::from_be_bytes(root.try_into().expect("roots are numbers")),
    }
}

/// How far a run got.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// Newest transaction that was committed (perhaps in no closed batch).
    committed: u64,
    /// Newest transaction that was synced.
    durable: u64,
}

/// Opens the store and goes on from what it finds, with batches, background work and reopens in an
/// order that `seed` names, until `enough` says so or an operation fails.
fn run(
    fs: &SimFs,
    seed: u64,
    sync: bool,
    mut enough: impl FnMut(Progress) -> bool,
) -> siltdb::engine::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let clock = SimClock::at_ms(1);
    let open = || Store::open_with(fs, tiny_options(), Arc::new(KeepAll), clock.clone());
    let mut store = open()?;
    let found = last_transaction(&store.engine.snapshot(ReadMode::Blocking));
    let mut progress = Progress { committed: found, durable: found };
    while !enough(progress) {
        // Long enough now and then for the mark of the log to be moved.
        clock.advance_ms(random.u64(0..800));
        match random.u32(0..100) {
            0..70 => {
                store.make_room()?;
                for _ in 0..random.u32(1..4) {
                    let (writes, root) = transaction(seed, progress.committed + 1);
                    store.commit(&writes, Some(root))?;
                    progress.committed += 1;
                    enough(progress);
                }
                if sync {
                    store.make_durable()?;
                    progress.durable = progress.committed;
                } else if let Some(batch) = store.writer.take_batch() {
                    let seq = batch.seq();
                    batch.write()?;
                    store.writer.publish(seq);
                }
            }
            70..94 => drop(store.engine.step()?),
            94..96 => store.engine.flush_wait()?,
            96 => store.engine.compact_all()?,
            97 if !sync => {
                store.writer.syncer().sync()?;
                progress.durable = progress.committed;
            }
            _ => {
                if random.bool() {
                    store.engine.close();
                }
                drop(store);
                store = open()?;
                let found = last_transaction(&store.engine.snapshot(ReadMode::Blocking));
                assert_eq!(found, progress.committed, "a clean reopen loses nothing");
                // A replay makes durable what it found.
                progress.durable = found;
            }
        }
    }
    Ok(())
}

/// Opens what a crash left and compares it with the transactions.
fn verify(fs: &SimFs, seed: u64, progress: Progress) -> u64 {
    let store = Store::open(fs).unwrap_or_else(|error| panic!("{seed} {progress:?}: {error}"));
    let view = store.engine.snapshot(ReadMode::Blocking);
    let found = last_transaction(&view);
    assert!(found >= progress.durable, "acknowledged and lost: {found}, {progress:?}");
    assert!(found <= progress.committed, "never committed: {found}, {progress:?}");
    let keys: Vec<Bytes> = (0..KEYS).map(key).collect();
    compare(&view, &model_after(seed, found), &keys, &[]);
    store.engine.check().unwrap();
    found
}

/// Runs, and cuts the power at several moments of the run, twice in a row.
fn crash_everywhere(seed: u64, sync: bool) {
    let fs = SimFs::new(seed);
    let mut random = fastrand::Rng::with_seed(!seed);
    let mut cuts = Vec::new();
    let mut operations = 0;
    run(&fs, seed, sync, |progress| {
        // Between two calls the disk did something: any state between them is possible.
        if fs.operations() != operations && random.u8(..) < 20 {
            operations = fs.operations();
            cuts.push((fs.crash(random.u64(..)), progress));
        }
        progress.committed >= 220
    })
    .unwrap();
    assert!(cuts.len() > 5);
    for (fs, progress) in cuts {
        let found = verify(&fs, seed, progress);
        // What recovery shows is a promise too: it must survive the next cut.
        let again = fs.crash(random.u64(..));
        verify(&again, seed, Progress { committed: progress.committed, durable: found });
        // And the store goes on from there.
        run(&again, seed, sync, |now| now.committed >= found + 30).unwrap();
        verify(&again.kill(1), seed, Progress { committed: found + 33, durable: found + 30 });
    }
}

/// `count` seeds from `first` on, or as many as `SILTDB_CRASH_SEEDS` says.
fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    let count = std::env::var("SILTDB_CRASH_SEEDS")
        .map_or(count, |count| count.parse().expect("SILTDB_CRASH_SEEDS is a number"));
    first..first + count
}

#[test]
fn synced_batches_survive_every_power_cut() {
    for seed in seeds(0, 6) {
        crash_everywhere(seed, true);
    }
}

#[test]
fn without_syncs_a_power_cut_leaves_a_prefix() {
    for seed in seeds(100, 5) {
        crash_everywhere(seed, false);
    }
}

/// The power goes in the middle of an operation: everything from the n-th on fails, and the disk is
/// cut there.
#[test]
fn a_power_cut_within_any_operation_is_survived() {
    for seed in seeds(200, 3) {
        let whole = SimFs::new(seed);
        run(&whole, seed, true, |progress| progress.committed >= 90).unwrap();
        let operations = whole.operations();
        for n in (seed % 7..operations).step_by(7) {
            let fs = SimFs::new(seed);
            fs.fail_after(n);
            let mut progress = Progress::default();
            let result = run(&fs, seed, true, |now| {
                progress = now;
                now.committed >= 90
            });
            assert!(result.is_err(), "operation {n} of {operations} failed");
            verify(&fs.crash(n), seed, progress);
        }
    }
}
