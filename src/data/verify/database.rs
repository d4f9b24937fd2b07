//! The keys of one database, each against its elements, and all of them against counts and indexes.

use bytes::Bytes;

use super::ledger::Ledger;
use super::{Damage, DatabaseTotals, OnDamage, Totals, key, unknown, what};
use crate::data::meta::{Body, CHUNK_BYTES, Meta};
use crate::data::root::{Database, RootRef};
use crate::data::stream::Groups;
use crate::data::{KeyType, check};
use crate::engine::{Direction, Read, Result};

/// The types in the order of the report.
const TYPES: [KeyType; 6] =
    [KeyType::String, KeyType::Hash, KeyType::Set, KeyType::ZSet, KeyType::List, KeyType::Stream];

/// Looks through one database.
pub(super) struct Walk<'a, 'd> {
    pub(super) read: &'a dyn Read,
    pub(super) root: RootRef<'a>,
    pub(super) database: Database,
    damage: &'a mut OnDamage<'d>,
    reported: u64,
}

/// What the metadata records say that there is elsewhere.
#[derive(Debug, Default)]
pub(super) struct Promised {
    pub(super) expiries: Ledger,
    pub(super) field_expiries: Ledger,
    /// Each generation, with the one that it is part of (0 for none).
    pub(super) generations: Ledger,
}

impl<'a, 'd> Walk<'a, 'd> {
    pub(super) fn new(
        read: &'a dyn Read,
        root: RootRef<'a>,
        database: Database,
        damage: &'a mut OnDamage<'d>,
    ) -> Self {
        Self { read, root, database, damage, reported: 0 }
    }

    /// Looks through the metadata records, then through what they promise.
    pub(super) fn run(&mut self) -> Result<DatabaseTotals> {
        let (mut promised, mut totals) = (Promised::default(), [Totals::default(); TYPES.len()]);
        for found in metas(self.read, self.keyspace()) {
            let (user_key, record, decoded) = found?;
            let meta = match decoded {
                Ok(meta) => meta,
                Err(error) => {
                    self.report(Some(&user_key), what(&error));
                    continue;
                }
            };
            promised.add(self.read, self.keyspace(), &user_key, &meta)?;
            self.check_key(&user_key, &meta);
            let of_type = TYPES.iter().position(|kind| *kind == meta.kind);
            if let Some(of_type) = of_type.and_then(|at| totals.get_mut(at)) {
                of_type.keys += 1;
                of_type.elements += elements(&meta);
                of_type.bytes += (user_key.len() + record.len()) as u64;
                of_type.bytes += self.element_bytes(&meta)?;
            }
        }
        let keys = totals.iter().map(|of_type| of_type.keys).sum();
        self.check_counts(keys, promised.expiries.count());
        self.check_indexes(&promised)?;
        self.check_generations(&promised)?;
        let types = TYPES.iter().zip(totals).filter(|(_, of_type)| of_type.keys > 0);
        Ok(DatabaseTotals {
            db: self.database.db,
            expires: promised.expiries.count(),
            types: types.map(|(kind, of_type)| (kind.name(), of_type)).collect(),
        })
    }

    pub(super) fn keyspace(&self) -> u32 {
        self.database.keyspace
    }

    pub(super) fn report(&mut self, key: Option<&Bytes>, what: impl Into<String>) {
        self.reported += 1;
        (self.damage)(Damage { db: Some(self.database.db), key: key.cloned(), what: what.into() });
    }

    /// Has `name` name what is wrong, where it is known that something is; where it finds nothing,
    /// at least that is told.
    pub(super) fn name_with(
        &mut self,
        wrong: &str,
        name: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let reported = self.reported;
        name(self)?;
        if self.reported == reported {
            self.report(None, wrong);
        }
        Ok(())
    }

    fn check_key(&mut self, user_key: &Bytes, meta: &Meta) {
        let checked = check::check(self.read, self.keyspace(), meta)
            .and_then(|()| self.check_chunks(meta))
            .and_then(|()| self.check_start(meta));
        if let Err(error) = checked {
            self.report(Some(user_key), what(&error));
        }
    }

    /// Fails where a chunked string has a chunk behind its end, or one that is too long.
    fn check_chunks(&self, meta: &Meta) -> Result<()> {
        let Body::Chunked { generation, len } = meta.body else { return Ok(()) };
        for pair in self.read.scan(key::elements(self.keyspace(), generation, 0, None), FORWARD) {
            let (engine_key, chunk) = pair?;
            let at = key::chunk_number(&engine_key).map(|at| u64::from(at) * CHUNK_BYTES as u64);
            let fits = at.is_some_and(|at| at < len) && chunk.len() <= CHUNK_BYTES;
            check::ensure(fits, "a chunk of a string lies outside of it")?;
        }
        Ok(())
    }

    /// Fails where compaction is told to drop entries of a stream that are alive.
    fn check_start(&self, meta: &Meta) -> Result<()> {
        let Some((generation, start)) =
            meta.stream().and_then(|stream| stream.generation().zip(stream.start()))
        else {
            return Ok(());
        };
        let record = self.read.get(&key::generation(self.keyspace(), generation))?;
        let told = record.as_deref().and_then(key::start_of_generation);
        check::ensure(told.is_none_or(|told| *told <= start[..]), "live entries count as cut off")
    }

    fn element_bytes(&self, meta: &Meta) -> Result<u64> {
        let mut bytes = 0;
        for generation in generations_of(self.read, self.keyspace(), meta)? {
            let range = key::elements(self.keyspace(), generation, 0, None);
            for pair in self.read.scan(range, FORWARD) {
                let (engine_key, value) = pair?;
                bytes += (engine_key.len() + value.len()) as u64;
            }
        }
        Ok(bytes)
    }

    fn check_counts(&mut self, keys: u64, expires: u64) {
        let Database { keys: counted, expires: counted_expires, .. } = self.database;
        if keys != counted {
            self.report(None, format!("{keys} keys, but {counted} were counted"));
        }
        if expires != counted_expires {
            let what = format!("{expires} keys with an expiry, but {counted_expires} were counted");
            self.report(None, what);
        }
        if let Some((engine_key, _)) = self.unknown_record() {
            self.report(None, unknown(&engine_key));
        }
    }
}

pub(super) const FORWARD: Direction = Direction::Forward;

/// A user key, its metadata record, and what that says.
type Found = (Bytes, Bytes, Result<Meta>);

/// All metadata records of a keyspace.
pub(super) fn metas(read: &dyn Read, keyspace: u32) -> impl Iterator<Item = Result<Found>> + '_ {
    let range = key::meta_range(keyspace, UNBOUNDED, UNBOUNDED);
    read.scan(range, FORWARD).map(|pair| {
        let (engine_key, record) = pair?;
        let meta = Meta::decode(&record);
        Ok((key::meta_user_key(&engine_key), record, meta))
    })
}

const UNBOUNDED: std::ops::Bound<&[u8]> = std::ops::Bound::Unbounded;

fn elements(meta: &Meta) -> u64 {
    let of_list = || meta.list().map(crate::data::ListBody::count);
    let of_stream = || meta.stream().map(|stream| stream.length);
    let of_collection = meta.collection().map(|collection| collection.count);
    of_collection.or_else(of_list).or_else(of_stream).unwrap_or(1)
}

/// The generation of a key and those of its groups.
pub(super) fn generations_of(read: &dyn Read, keyspace: u32, meta: &Meta) -> Result<Vec<u64>> {
    let mut all: Vec<u64> = meta.generation().into_iter().collect();
    if let Some(stream) = meta.stream() {
        for found in Groups::new(read, keyspace, stream).walk() {
            all.push(found?.1.generation);
        }
    }
    Ok(all)
}

impl Promised {
    fn add(&mut self, read: &dyn Read, keyspace: u32, user_key: &[u8], meta: &Meta) -> Result<()> {
        let (generation, next_field_ms) = (meta.generation(), meta.next_field_expiry());
        if let Some(at_ms) = meta.expires_ms {
            let value = key::expiry_value(generation, next_field_ms);
            self.expiries.add(&[&key::expiry(keyspace, at_ms, user_key), &value]);
        }
        if let Some(at_ms) = next_field_ms {
            self.field_expiries.add(&[&key::field_expiry(keyspace, at_ms, user_key), b""]);
        }
        for (at, of_key) in generations_of(read, keyspace, meta)?.into_iter().enumerate() {
            let parent = if at == 0 { 0 } else { generation.unwrap_or(0) };
            self.generations.add(&[&of_key.to_le_bytes(), &parent.to_le_bytes()]);
        }
        Ok(())
    }
}
