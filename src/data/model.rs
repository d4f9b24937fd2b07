//! A store for tests: a map that takes the changes of transactions, and a check of everything that
//! the records promise about each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use bytes::Bytes;

use super::key::{self, Kind};
use super::root::Root;
use super::{Meta, RecordFilter};
use crate::engine::{Changes, Direction, Filter, Found, KeyRange, Read, Result, Scan, Txn};

/// All records, in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    records: BTreeMap<Bytes, Bytes>,
    root: Bytes,
    seq: u64,
    /// The transaction that has written each key last.
    written: BTreeMap<Bytes, u64>,
}

impl Store {
    /// A transaction on top of the store.
    pub(crate) fn txn(&self) -> Txn<'_> {
        Txn::over_newest(self, self.seq + 1)
    }

    /// Sequence number of the newest transaction.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Takes the changes of a transaction.
    pub(crate) fn commit(&mut self, changes: Changes) {
        self.seq += 1;
        for (key, value) in changes.writes {
            self.written.insert(key.clone(), self.seq);
            match value {
                Some(value) => drop(self.records.insert(key, value)),
                None => drop(self.records.remove(&key)),
            }
        }
        if let Some(root) = changes.root {
            self.root = root;
        }
    }

    /// Forgets the tombstones, as compaction does at the bottom.
    pub(crate) fn forget_tombstones(&mut self) {
        let records = &self.records;
        self.written.retain(|key, _| records.contains_key(key));
    }

    /// Drops what the filter calls dead; answers how many records that were.
    pub(crate) fn compact(&mut self) -> usize {
        let mut judge = RecordFilter.judge(Box::new(self.clone()));
        let before = self.records.len();
        self.records.retain(|key, value| !judge.is_dead(key, value).unwrap());
        before - self.records.len()
    }
}

impl Read for Store {
    fn prefetch(&self, _keys: &[&[u8]]) {}

    fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
        let found = |seq: &u64| Found { seq: *seq, value: self.records.get(key).cloned() };
        Ok(self.written.get(key).map(found))
    }

    fn scan(&self, range: KeyRange, direction: Direction) -> Scan<'_> {
        // Which a map would not take.
        if let (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) = &range
            && from >= to
        {
            return Box::new(std::iter::empty());
        }
        if let (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to)) = &range
            && from > to
        {
            return Box::new(std::iter::empty());
        }
        let pairs = self.records.range(range).map(|(key, value)| Ok((key.clone(), value.clone())));
        match direction {
            Direction::Forward => Box::new(pairs),
            Direction::Reverse => Box::new(pairs.rev()),
        }
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn root(&self) -> &[u8] {
        &self.root
    }
}

const EVERYTHING: KeyRange = (Bound::Unbounded, Bound::Unbounded);

/// How many records there are.
pub(crate) fn record_count(view: &dyn Read) -> usize {
    view.scan(EVERYTHING, Direction::Forward).map(|pair| drop(pair.unwrap())).count()
}

/// The keys of all element records.
pub(crate) fn elements(view: &dyn Read) -> Vec<Bytes> {
    let pairs = view.scan(EVERYTHING, Direction::Forward).map(|pair| pair.unwrap().0);
    pairs.filter(|key| matches!(key::parse(key), Some((_, Kind::Element { .. })))).collect()
}

/// Panics where counts, expiry index or generation records do not fit the metadata.
pub(crate) fn check(view: &dyn Read) {
    let root = Root::parse(view.root()).unwrap();
    let live: HashMap<u32, _> =
        (0..16).map(|db| root.database(db)).map(|d| (d.keyspace, d)).collect();
    assert_eq!(live.len(), 16, "two databases share a keyspace");
    let mut counts: HashMap<u32, (u64, u64)> = HashMap::new();
    let (mut index, mut expected_index) = (BTreeMap::new(), BTreeMap::new());
    let (mut fields, mut expected_fields) = (BTreeSet::new(), BTreeSet::new());
    let (mut generations, mut expected_generations) = (BTreeSet::new(), BTreeSet::new());
    for pair in view.scan(EVERYTHING, Direction::Forward) {
        let (record, value) = pair.unwrap();
        let (record, value) = (&record, &value);
        let (keyspace, kind) = key::parse(record).unwrap();
        if !live.contains_key(&keyspace) {
            continue;
        }
        match kind {
            Kind::Library => {}
            Kind::Meta => {
                let meta = Meta::decode(value).unwrap();
                let user_key = key::meta_user_key(record);
                let count = counts.entry(keyspace).or_default();
                count.0 += 1;
                if let Some(at_ms) = meta.expires_ms {
                    count.1 += 1;
                    let value = key::expiry_value(meta.generation(), meta.next_field_expiry());
                    expected_index.insert(key::expiry(keyspace, at_ms, &user_key), value);
                }
                if let Some(at_ms) = meta.next_field_expiry() {
                    expected_fields.insert(key::field_expiry(keyspace, at_ms, &user_key));
                }
                super::check::check(view, keyspace, &meta).unwrap();
                if let Some(generation) = meta.generation() {
                    let record = key::generation(keyspace, generation).to_vec();
                    assert!(expected_generations.insert(record), "a generation used twice");
                }
            }
            Kind::Expiry { .. } => drop(index.insert(record.clone(), value.clone())),
            Kind::FieldExpiry { .. } => drop(fields.insert(record.clone())),
            // A generation with a parent is looked at with that.
            Kind::Generation if key::parent_of_generation(value).is_some() => {}
            Kind::Generation => drop(generations.insert(record.to_vec())),
            Kind::Element { .. } => {}
        }
    }
    assert_eq!(index, expected_index);
    assert_eq!(fields, expected_fields);
    assert_eq!(generations, expected_generations);
    for (keyspace, database) in live {
        let counted = counts.get(&keyspace).copied().unwrap_or_default();
        assert_eq!((database.keys, database.expires), counted, "db {}", database.db);
    }
    super::verify(view, &mut |damage| panic!("{damage}")).unwrap();
}
