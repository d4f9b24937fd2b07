//! Redis keys and values as engine records. Knows no reply.
//!
//! - `root`, `key`, `meta`: the layout of the records.
//! - [`View`] reads a database, [`Edit`] changes it in a transaction; `string` is the part of both
//!   that knows strings; `bits`, `bit_edit`, `bit_field` and `bit_op` see them as arrays of bits.
//!   that knows strings.
//! - [`Collection`] is what the metadata record says of a hash or a set, `packed`, `integers` and
//!   `exploded` are the ways its elements are kept, [`Elements`] reads them whatever way that is;
//!   [`HashEdit`] and [`SetEdit`] change them.
//! - [`List`] reads a list and [`ListEdit`] changes it.
//! - [`Stream`] is what the metadata record says of a stream; [`Entries`] and [`Groups`] read it,
//!   [`StreamEdit`] and [`GroupEdit`] change it.
//! - [`Ready`] is what a transaction tells those who wait for keys; [`Watch`] tells whether a key has
//!   changed since.
//! - [`Event`] is what it tells those who listen to keys, [`Modified`] those who keep copies.
//! - `counted` is an order of records that knows ranks; [`SortedSet`] reads a sorted set by score or
//!   rank, [`ZSetEdit`] changes it.
//! - `rdb` is Redis's format of serialized values: [`View::dump`], [`Edit::restore`].
//! - [`expire_cycle`] deletes what has expired; [`RecordFilter`] tells compaction what is dead.
//! - [`verify`] proves what the records of a whole store promise each other.
//! - [`Access`], [`Cursors`], [`Candidates`] and [`KnownOrders`] are shared memory beside the records;
//!   [`CursorFile`] keeps the cursors over a restart.

mod access;
mod bit_edit;
mod bit_field;
mod bit_op;
mod bits;
mod candidates;
mod check;
mod collection;
mod context;
mod counted;
mod cursors;
mod edit;
mod elements;
mod event;
mod expiry;
mod exploded;
mod extended;
mod filter;
mod geo;
mod glob;
mod hash;
mod hash_expiry;
mod hyperloglog;
mod integers;
mod key;
mod libraries;
mod list;
mod meta;
#[cfg(test)]
pub(crate) mod model;
mod modified;
mod number;
mod packed;
mod pick;
mod prefetch;
mod rdb;
mod ready;
mod root;
mod set;
mod set_algebra;
mod set_pop;
mod sorted;
mod stream;
mod string;
mod verify;
mod view;
mod watch;
mod zset;
mod zset_algebra;

pub use access::Access;
pub use bit_edit::BitEdit;
pub use bit_field::{FieldType, Overflow};
pub use bit_op::BitOperation;
pub use candidates::Candidates;
pub use collection::{Collection, Layout, Packing};
pub use context::Context;
pub use counted::{Counts, KnownOrders, NO_KNOWN_ORDERS};
pub use cursors::{CursorFile, Cursors, Place};
pub use edit::{Edit, EditOutcome};
pub use elements::{Element, Elements};
pub use event::{Event, EventClasses};
pub use expiry::{
    Due, DueRecords, ExpiryCycle, ExpiryMarks, LAG_MS as EXPIRY_LAG_MS, expire_due, find_due,
};
pub use extended::Extended;
pub use filter::RecordFilter;
pub use geo::{Place as GeoPlace, Shape as GeoShape};
pub use glob::{glob_matches, glob_prefix};
pub use hash::HashEdit;
pub use hyperloglog::{
    Corrupted, HYPERLOGLOG_BYTES_MAX, HyperLogLog, REGISTERS, Registers, Run as RegisterRun,
};
pub use key::{KIND_AT, SHARE_AT};
pub use libraries::{StoredLibrary, library_digest, stored_libraries};
pub use list::{End, List, ListBody, ListEdit, ListWalk};
pub use meta::{Body, KeyType, Meta, StringForm};
pub use modified::Modified;
pub use number::{parse_double, parse_int};
pub use prefetch::{KEYS_AT_ONCE, prefetch};
#[cfg(test)]
pub(crate) use rdb::payload;
pub use rdb::{DumpPayload, RestoreError, ValueAhead, dump_libraries};
pub use ready::Ready;
pub use root::{Database, RootRef};
pub use set::SetEdit;
pub use set_algebra::{difference, intersection, union};
pub use sorted::{LexBound, LexRange, Scored, ScoredWalk, SortedSet, Span};
pub use stream::{
    Consumer, Entries, Group, GroupEdit, Groups, Pending, Stream, StreamEdit, StreamEntry,
    StreamId, Trim, TrimTo,
};
pub use verify::{Damage, DatabaseTotals, Garbage, OnDamage, Totals, Verified, verify};
pub use view::{ReadOutcome, View};
pub use watch::Watch;
pub use zset::ZSetEdit;
pub use zset_algebra::{
    Aggregate, Source, in_order, scored_difference, scored_intersection, scored_union,
};
