//! The one table of commands, beside their handlers.

pub mod acl;
mod answer;
mod arg;
mod args;
mod arrivals;
mod bitmap;
mod blocking;
mod client;
mod clients;
mod cluster;
mod command;
mod config;
mod connection;
mod debug;
mod dump;
mod error;
mod expire;
mod expiry_option;
mod function;
pub(crate) mod gates;
mod geo;
mod geo_search;
mod hash;
mod hash_expire;
mod help;
mod hyperloglog;
mod info;
mod keyspace;
mod keyspec;
mod latency;
mod lcs;
mod list;
mod list_move;
mod long_replies;
mod memory;
mod monitor;
mod object;
mod pause;
mod persistence;
mod prepare;
pub(crate) mod program;
mod pubsub;
mod random;
mod replication;
mod scan;
mod script;
mod server;
mod session;
mod set;
mod set_algebra;
mod slowlog;
mod sort;
mod spec;
mod state;
mod stopping;
mod stream;
mod string;
pub mod table;
pub(crate) mod tracking;
pub(crate) mod transaction;
mod typed;
mod zset;
mod zset_algebra;
mod zset_pop;
mod zset_range;

pub(crate) use answer::PIECE_BYTES;
pub use answer::{Answer, Outlet};
pub use arg::{Arg, ArgKind, first_element};
pub use args::Args;
pub use arrivals::{Arrival, Arrivals};
pub use blocking::{Attempt, Wait};
pub(crate) use clients::Link;
pub use clients::{Client, ClientFlag, Clients, Unblock};
pub use error::{CommandResult, Error};
pub(crate) use info::{Durations, Measured, NumberKind, Numbers, Value, estimate_overdue};
pub use keyspec::{BeginSearch, FindKeys, KeyFlags, KeySpec};
pub use long_replies::LongReplies;
pub(crate) use long_replies::{HELD_BYTES, PIECES_WAITING, PLACES, Running};
pub(crate) use memory::budget as memory_budget;
pub use monitor::{Monitors, source as monitor_source};
pub use pause::{Pause, PauseKind};
pub use prepare::{Prepare, Prepared};
pub use program::{Calls, Program};
pub(crate) use pubsub::{FANOUT_AT_ONCE_MAX, FANOUT_STEP, FANOUT_TURN, Outbox, Portion};
pub use pubsub::{Fanout, Kind, Message, PubSub, Pushes, event_messages};
pub use script::Scripts;
pub use session::{ReplyMode, Session};
pub use spec::{
    Arity, BlockingHandler, Channels, CommandSpec, Flags, FollowedKeys, Group, KeyPlace,
    ProgramHandler, ReadHandler, Run, SecretWords, ServerFuture, ServerHandler, SessionHandler,
};
pub use state::{Change, ChangeFn, Control, Done, ServerState};
pub use stopping::{Shutdown, ShutdownPhase, ShutdownRequest};
pub use tracking::{Tracker, Tracking, TrackingOptions};
pub use transaction::{Queue, Watched};

/// The families; ids follow this order.
const FAMILIES: &[&[CommandSpec]] = &[
    connection::COMMANDS,
    client::COMMANDS,
    string::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    hash::COMMANDS,
    hash_expire::COMMANDS,
    set::COMMANDS,
    set_algebra::COMMANDS,
    stream::COMMANDS,
    list::COMMANDS,
    list_move::COMMANDS,
    zset::COMMANDS,
    zset_pop::COMMANDS,
    zset_range::COMMANDS,
    zset_algebra::COMMANDS,
    geo::COMMANDS,
    geo_search::COMMANDS,
    keyspace::COMMANDS,
    expire::COMMANDS,
    dump::COMMANDS,
    sort::COMMANDS,
    scan::COMMANDS,
    object::COMMANDS,
    server::COMMANDS,
    cluster::COMMANDS,
    replication::COMMANDS,
    command::COMMANDS,
    config::COMMANDS,
    info::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
    persistence::COMMANDS,
    debug::COMMANDS,
    transaction::COMMANDS,
    script::COMMANDS,
    function::COMMANDS,
    pubsub::COMMANDS,
    monitor::COMMANDS,
    acl::COMMANDS,
];

#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
