//! What surrounds a call: the time, the database, the limits.

use crate::commands::{ServerState, packing};
use crate::data::Context;

/// The surroundings of a call that runs now on database `db`.
pub(crate) fn of(state: &ServerState, db: u16, no_touch: bool) -> Context<'_> {
    let settings = state.config.load();
    Context {
        now_ms: state.clock.unix_ms(),
        db,
        databases: settings.databases,
        string_bytes_max: settings.proto_max_bulk_len,
        hll_sparse_bytes_max: settings.hll_sparse_max_bytes,
        packing: packing(&settings),
        access: &state.access,
        touch: !no_touch,
        cursors: &state.cursors,
    }
}
