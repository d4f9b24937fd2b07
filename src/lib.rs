//! # SiltDB
//!
//! A Redis server whose data lives on disk, in its own LSM tree.
//!
//! Modules in reading order; dependencies point upwards only:
//!
//! - [`env`]: the outside world (file system, clock), each in a real and a simulated form.
//! - [`engine`]: the LSM tree. Byte keys, byte values, transactions, snapshots. Knows no Redis type.
//! - [`data`]: Redis keys and values as engine records. Knows no reply.
//! - [`protocol`]: bytes to requests and replies to bytes (RESP2, RESP3, inline). Knows no command.
//! - [`script`]: Lua for scripts and functions. Knows no command.
//! - [`config`]: the one table of settings.
//! - [`observe`]: counters, slow log, latency monitor. Only counts and formats.
//! - [`commands`]: the one table of commands, beside their handlers.
//! - [`server`]: sockets, sessions, dispatch, the writer task, shutdown.
//!
//! `docs/ARCHITECTURE.md` has the picture and the invariants of each layer.

pub mod commands;
pub mod config;
pub mod data;
pub mod engine;
pub mod env;
pub mod observe;
pub mod protocol;
pub mod script;
pub mod server;
