//! What surrounds a call: the time, the database, the limits.

use super::{Access, Candidates, Cursors, EventClasses, KnownOrders, Packing};
use crate::env::MemoryAccount;

/// What a view or a transaction knows besides the records.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Unix milliseconds; the same during the whole call.
    pub now_ms: u64,
    /// Selected database, below `databases`.
    pub db: u16,
    /// How many databases there are.
    pub databases: u16,
    /// Longest string in bytes (`proto-max-bulk-len`).
    pub string_bytes_max: u64,
    /// Longest HyperLogLog with sparse registers, in bytes (`hll-sparse-max-bytes`).
    pub hll_sparse_bytes_max: u64,
    /// How large a collection may be in its metadata record.
    pub packing: Packing,
    /// Access times and frequencies of keys.
    pub access: &'a Access,
    /// What the writer knows of the orders of large sorted sets.
    pub orders: &'a KnownOrders,
    /// Whether reads change access times (`CLIENT NO-TOUCH`).
    pub touch: bool,
    /// Whether a script calls: what has no order of its own is sorted then where Redis sorts it.
    pub in_script: bool,
    /// Of which keyspace events somebody wants to know.
    pub events: EventClasses,
    /// Where running scans continue.
    pub cursors: &'a Cursors,
    /// Members of large sets that are popped next.
    pub candidates: &'a Candidates,
    /// Whether the call only warms what the writer will read: its changes are thrown away, and what it
    /// sees may be older than what the writer does.
    pub warms: bool,
    /// What commands may hold.
    pub memory: &'a MemoryAccount,
}
