//! Tables: immutable sorted files of records, each key once.
//!
//! - [`TableBuilder`] writes one, [`Table`] reads it, [`TableIter`] and [`LevelIter`] walk.
//! - `format` has the layout of the file; `block`, `data_block`, `bloom` and `compress` its parts.

mod block;
mod bloom;
mod builder;
mod compress;
mod data_block;
mod expiry_sample;
mod format;
mod iter;
mod open;
mod options;
mod partitions;
mod samples;
mod table;
mod verify;

pub use builder::TableBuilder;
pub use iter::{LevelIter, TableIter};
pub use open::OpenTables;
pub use options::{Compression, ScanOptions, TableOptions};
pub use partitions::Pins;
pub(super) use table::filter_hash;
pub use table::{Table, table_file_name};

#[cfg(test)]
mod tests;
