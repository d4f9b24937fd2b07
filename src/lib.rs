//! # SiltDB
//!
//! A Redis server whose data lives on disk, in its own LSM tree.
//!
//! Modules in reading order; dependencies point upwards only:
//!
//! - [`env`]: the outside world (file system, clock), each in a real and a simulated form.
//! - [`engine`]: the LSM tree. Byte keys, byte values, transactions, snapshots. Knows no Redis type.
//! - [`data`]: Redis keys and values as engine records. Knows no reply.
//!
//! `docs/ARCHITECTURE.md` has the picture and the invariants of each layer.

pub mod data;
pub mod engine;
pub mod env;
