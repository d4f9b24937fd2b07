//! Redis's serialized values: what `DUMP` answers and `RESTORE` takes.
//!
//! ```text
//! type      u8, see `types`
//! value     by its type
//! version   u16 of the format
//! checksum  u64, CRC-64/REDIS of all before it
//! ```
//!
//! Integers are little-endian where nothing else is said. Everything that Redis ever wrote is read,
//! from any version up to 7.4 ([`VERSION_MAX`]). What is written can be read by Redis 7.0
//! ([`VERSION`]); only a hash whose fields expire needs 7.4.
//!
//! A value is read element by element into the editor of its type. Nothing in it is trusted: lengths,
//! counts, orders and names that come twice are checked, and what is made of a payload is bounded
//! ([`source::Source::charge`]).

use bytes::Bytes;
use crc::{CRC_64_REDIS, Crc, Table};

use super::{Context, Edit, KeyType, Meta, View};
use crate::engine::{self, Changes, Result};

mod ahead;
mod hash;
mod intset;
mod libraries;
mod list;
mod listpack;
mod lzf;
#[cfg(test)]
pub(crate) mod payload;
mod set;
mod sink;
mod source;
mod stream;
mod string;
mod word;
mod ziplist;
mod zipmap;
mod zset;

pub use self::ahead::ValueAhead;
pub use self::libraries::dump_libraries;
use self::sink::Sink;
use self::source::Source;

/// The newest version of the format that is read, that of Redis 7.4.
const VERSION_MAX: u16 = 12;
/// The version that is written, that of Redis 7.0.
const VERSION: u16 = 10;
/// Version and checksum.
const FOOTER_BYTES: usize = 10;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// Types of serialized values. The numbers are Redis's.
mod types {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    /// Scores as decimal texts.
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    /// Scores as eight bytes.
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    /// A list of ziplists.
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    /// A list of listpacks and single elements.
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    /// With the counts of entries that were added and read.
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    /// With the times at which consumers were active.
    pub(super) const STREAM_3: u8 = 21;
    /// Fields that expire, as the release candidates of 7.4 wrote them.
    pub(super) const HASH_METADATA_PRE_GA: u8 = 22;
    /// The same of a small hash.
    pub(super) const HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    /// Fields that expire.
    pub(super) const HASH_METADATA: u8 = 24;
    /// The same of a small hash.
    pub(super) const HASH_LISTPACK_EX: u8 = 25;
}

/// Why a payload was not restored.
#[derive(Debug)]
pub enum RestoreError {
    /// It is not what Redis writes.
    Malformed,
    /// The engine could not do it.
    Engine(engine::Error),
}

impl From<engine::Error> for RestoreError {
    fn from(error: engine::Error) -> Self {
        Self::Engine(error)
    }
}

/// What reading a part of a payload answers.
type Loaded<T> = std::result::Result<T, RestoreError>;

/// What was found, or the error that it is missing.
fn wanted<T>(found: Option<T>) -> Loaded<T> {
    found.ok_or(RestoreError::Malformed)
}

/// An error unless this holds.
fn ensure(holds: bool) -> Loaded<()> {
    wanted(holds.then_some(()))
}

/// A serialized value whose version is known and whose checksum is right.
#[derive(Debug)]
pub struct DumpPayload {
    /// Type and value.
    body: Bytes,
}

impl DumpPayload {
    /// Checks version and checksum.
    #[must_use]
    pub fn open(payload: &Bytes) -> Option<Self> {
        let body_len = payload.len().checked_sub(FOOTER_BYTES)?;
        let (checked, checksum) = payload.split_last_chunk::<8>()?;
        let (body, version) = checked.split_last_chunk::<2>()?;
        let is_known = u16::from_le_bytes(*version) <= VERSION_MAX;
        let is_right = is_known && CRC.checksum(checked) == u64::from_le_bytes(*checksum);
        debug_assert_eq!(body.len(), body_len);
        is_right.then(|| Self { body: payload.slice(..body_len) })
    }
}

impl View<'_> {
    /// The serialized value of the key for which [`View::find`] has answered `meta`; `None` where all
    /// that it holds has expired. Made in memory.
    pub fn dump(&self, key: &[u8], meta: &Meta) -> Result<Option<Bytes>> {
        let mut sink = Sink::default();
        let version = match meta.kind {
            KeyType::String => string::save(self, meta, &mut sink),
            KeyType::List => list::save(self, meta, &mut sink),
            KeyType::Set => set::save(self, key, meta, &mut sink),
            KeyType::ZSet => zset::save(self, key, meta, &mut sink),
            KeyType::Hash => hash::save(self, key, meta, &mut sink),
            KeyType::Stream => stream::save(self, meta, &mut sink),
        }?;
        Ok(version.map(|version| sealed(sink, version)))
    }
}

/// With version and checksum.
fn sealed(sink: Sink, version: u16) -> Bytes {
    let mut payload = sink.into_bytes();
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = CRC.checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload.into()
}

impl Edit<'_> {
    /// Sets `key` to the value of a payload, whatever it held; `old` is what [`Edit::find`] has
    /// found. Where the expiry has passed, the key is deleted. Nothing must be committed after an
    /// error.
    pub fn restore(
        &mut self,
        key: &[u8],
        old: Option<&Meta>,
        payload: &DumpPayload,
        expires_ms: Option<u64>,
    ) -> std::result::Result<(), RestoreError> {
        if expires_ms.is_none_or(|at_ms| at_ms > self.context().now_ms) {
            let new = self.load(key, payload, expires_ms)?;
            self.replace(key, old, Some(&new));
            let Context { access, now_ms, .. } = self.context;
            access.create(self.keyspace, key, now_ms);
            return Ok(());
        }
        // Only to know whether the payload is a good one.
        let before = self.txn.exchange(Changes::default());
        self.load(key, payload, expires_ms)?;
        drop(self.txn.exchange(before));
        if old.is_some() {
            self.replace(key, old, None);
        }
        Ok(())
    }

    /// Writes the records of the value and answers its metadata record.
    fn load(&mut self, key: &[u8], payload: &DumpPayload, expires_ms: Option<u64>) -> Loaded<Meta> {
        use types::*;

        let room_bytes = self.context().memory.one_command_max();
        let source = Source::new(&payload.body, self.context().string_bytes_max);
        let source = &mut source.within(room_bytes);
        let kind = source.u8()?;
        let meta = match kind {
            STRING => string::load(source, self),
            LIST | LIST_ZIPLIST | LIST_QUICKLIST | LIST_QUICKLIST_2 => {
                list::load(kind, source, self.change_list(key, None))
            }
            SET | SET_INTSET | SET_LISTPACK => set::load(kind, source, self.set(key, None)),
            ZSET | ZSET_2 | ZSET_ZIPLIST | ZSET_LISTPACK => {
                zset::load(kind, source, self.zset(key, None))
            }
            STREAM | STREAM_2 | STREAM_3 => stream::load(kind, source, self.stream(key, None)),
            HASH
            | HASH_ZIPMAP
            | HASH_ZIPLIST
            | HASH_LISTPACK
            | HASH_METADATA_PRE_GA
            | HASH_LISTPACK_EX_PRE_GA
            | HASH_METADATA
            | HASH_LISTPACK_EX => hash::load(kind, source, self.hash(key, None)),
            // Also the values of modules.
            _ => Err(RestoreError::Malformed),
        }?;
        Ok(Meta { expires_ms, ..meta })
    }
}
