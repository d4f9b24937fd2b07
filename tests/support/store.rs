//! A store on a simulated disk, without threads: every step is the test's.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use siltdb::engine::{
    Changes, Direction, Engine, Filter, KeepAll, KeyRange, Options, Pair, Read, ReadMode, Result,
    Txn, Writer,
};
use siltdb::env::{SimClock, SimFs};

/// What a store should hold.
pub(crate) type Model = BTreeMap<Bytes, Bytes>;

/// One transaction: keys with their new values.
pub(crate) type Writes = Vec<(Bytes, Option<Bytes>)>;

/// Options so small that a few hundred writes make several levels.
pub(crate) fn tiny_options() -> Options {
    Options {
        kind_at: 2,
        share_at: 3,
        memtable_bytes: 6 << 10,
        sealed_max: 2,
        block_cache_bytes: 64 << 10,
        segment_bytes: 16 << 10,
        table_bytes: 2 << 10,
        level1_bytes: 4 << 10,
        fanout: 3,
        l0_trigger: 2,
        background_threads: 0,
        open_tables_max: 6,
        ..Options::for_budget(Path::new("/db"), 8 << 20)
    }
}

pub(crate) struct Store {
    pub(crate) fs: SimFs,
    pub(crate) engine: Engine,
    pub(crate) writer: Writer,
}

impl Store {
    pub(crate) fn open(fs: &SimFs) -> Result<Self> {
        Self::open_with(fs, tiny_options(), Arc::new(KeepAll), SimClock::at_ms(1))
    }

    pub(crate) fn open_with(
        fs: &SimFs,
        options: Options,
        filter: Arc<dyn Filter>,
        clock: SimClock,
    ) -> Result<Self> {
        let (engine, writer) = Engine::open(fs.shared(), Arc::new(clock), options, filter)?;
        Ok(Self { fs: fs.clone(), engine, writer })
    }

    /// Commits one transaction to the open batch. The second half of its writes comes from an inner
    /// transaction; what another one writes is dropped with it.
    pub(crate) fn commit(&mut self, writes: &Writes, root: Option<Bytes>) -> Result<()> {
        let mut txn = self.writer.begin(ReadMode::Blocking)?;
        let put = |txn: &mut Txn<'_>, writes: &[(Bytes, Option<Bytes>)]| {
            for (key, value) in writes {
                match value {
                    Some(value) => txn.put(key.clone(), value.clone()),
                    None => txn.delete(key.clone()),
                }
            }
        };
        let (outer, inner) = writes.split_at(writes.len() / 2);
        put(&mut txn, outer);
        let seq = txn.seq();
        let mut dropped = Txn::new(&txn, seq);
        dropped.put(key(0), Bytes::from_static(b"never there"));
        drop(dropped);
        let mut absorbed = Txn::new(&txn, seq);
        put(&mut absorbed, inner);
        if let Some(root) = root {
            absorbed.set_root(root);
        }
        let changes = absorbed.into_changes();
        txn.absorb(changes);
        let changes = txn.into_changes();
        assert_eq!(self.writer.commit(changes), seq);
        Ok(())
    }

    /// Writes, syncs and publishes the open batch; poisons as the server does.
    pub(crate) fn make_durable(&mut self) -> Result<()> {
        let Some(batch) = self.writer.take_batch() else { return Ok(()) };
        let seq = batch.seq();
        let syncer = self.writer.syncer();
        match batch.write().and_then(|()| syncer.sync()) {
            Ok(()) => {
                self.writer.publish(seq);
                Ok(())
            }
            Err(error) => {
                self.writer.poison(&error);
                Err(error)
            }
        }
    }

    /// Background work until writes have room.
    pub(crate) fn make_room(&mut self) -> Result<()> {
        while self.writer.must_wait() {
            assert!(self.engine.step()?, "full, and nothing to do");
        }
        Ok(())
    }
}

/// Everything that `view` holds.
pub(crate) fn contents(view: &dyn Read) -> Result<Model> {
    view.scan((Bound::Unbounded, Bound::Unbounded), Direction::Forward).collect()
}

/// Compares a view with what it should hold: lookups, and walks of `ranges` in both directions.
pub(crate) fn compare(view: &dyn Read, model: &Model, keys: &[Bytes], ranges: &[KeyRange]) {
    for key in keys {
        assert_eq!(view.get(key).unwrap(), model.get(key).cloned(), "{key:?}");
    }
    let all = (Bound::Unbounded, Bound::Unbounded);
    for range in ranges.iter().chain([&all]) {
        let expected: Vec<Pair> = model
            .iter()
            .filter(|(key, _)| std::ops::RangeBounds::contains(range, *key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let forward: Vec<Pair> =
            view.scan(range.clone(), Direction::Forward).collect::<Result<_>>().unwrap();
        assert_eq!(forward, expected, "forward {range:?}");
        let mut reverse: Vec<Pair> =
            view.scan(range.clone(), Direction::Reverse).collect::<Result<_>>().unwrap();
        reverse.reverse();
        assert_eq!(reverse, expected, "reverse {range:?}");
        for count in [1, expected.len().div_ceil(2), usize::MAX] {
            assert_eq!(visited(view, range, count), &expected[..count.min(expected.len())]);
        }
    }
}

/// So many keys of a range and their values, or all there are, by a visit.
fn visited(view: &dyn Read, range: &KeyRange, count: usize) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut take = |key: &[u8], value: &[u8]| {
        pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        pairs.len() < count
    };
    view.visit(range.clone(), Direction::Forward, &mut take).unwrap();
    pairs
}

/// Applies a transaction to a model.
pub(crate) fn apply(model: &mut Model, writes: &Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => drop(model.insert(key.clone(), value.clone())),
            None => drop(model.remove(key)),
        }
    }
}

/// Makes a transaction durable as far as a write does, and visible, as the last of its batch.
pub(crate) fn publish(writer: &mut Writer, changes: Changes) {
    writer.commit(changes);
    let batch = writer.take_batch().unwrap();
    let seq = batch.seq();
    batch.write().unwrap();
    writer.publish(seq);
}

/// One of a few keys, some of them prefixes of others.
pub(crate) fn key(number: u32) -> Bytes {
    let mut key = vec![b'k'; 1 + (number % 3) as usize];
    key.extend_from_slice(&number.to_be_bytes()[2..]);
    key.into()
}

/// `len` bytes that do not compress; `seed` names them.
pub(crate) fn value(seed: u64, len: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}
