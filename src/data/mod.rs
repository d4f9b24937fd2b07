//! Redis keys and values as engine records. Knows no reply.
//!
//! - `root`, `key`, `meta`: the layout of the records.
//! - [`View`] reads a database, [`Edit`] changes it in a transaction; `string` is the part of both
//!   that knows strings.
//! - [`Collection`] is what the metadata record says of a hash or a set, `packed`, `integers` and
//!   `exploded` are the ways its elements are kept, [`Elements`] reads them whatever way that is;
//!   [`HashEdit`] and [`SetEdit`] change them.
//! - [`expire_cycle`] deletes what has expired; [`RecordFilter`] tells compaction what is dead.
//! - [`Access`] and [`Cursors`] are shared memory beside the records: nothing of them is stored.

mod access;
mod check;
mod collection;
mod context;
mod cursors;
mod edit;
mod elements;
mod expiry;
mod exploded;
mod extended;
mod filter;
mod glob;
mod hash;
mod hash_expiry;
mod integers;
mod key;
mod meta;
#[cfg(test)]
pub(crate) mod model;
mod number;
mod packed;
mod pick;
mod root;
mod set;
mod set_algebra;
mod string;
mod view;

pub use access::Access;
pub use collection::{Collection, Packing, Place};
pub use context::Context;
pub use cursors::Cursors;
pub use edit::{Edit, EditOutcome};
pub use elements::{Element, Elements};
pub use expiry::{ExpiryCycle, ExpiryMarks, expire_cycle};
pub use extended::Extended;
pub use filter::{RecordFilter, dropped_ranges};
pub use glob::{glob_matches, glob_prefix};
pub use hash::HashEdit;
pub use meta::{Body, KeyType, Meta, StringForm};
pub use number::parse_int;
pub use root::{Database, RootRef};
pub use set::SetEdit;
pub use set_algebra::{difference, intersection, union};
pub use view::{ReadOutcome, View};
