//! The mark of the log in the manifest: when it is moved.
//!
//! It is moved to a place that is durable already, so it is true after any power cut; what it is for
//! stands in [`super::wal`]. The flush thread moves it, so no write waits for it: soon after the
//! first record of a segment is durable, then every few seconds while the log grows, and to the very
//! end of the log when the store is closed. What a store holds beyond its mark is thus the writes of
//! the last seconds before a kill.

use super::Result;
use super::manifest::Edit;
use super::shared::{Shared, State};
use super::wal::LogPosition;

/// Time between two marks in the same segment, and before one that failed is tried again.
const MARK_EVERY_NS: u64 = 5_000_000_000;

/// The mark as the background knows it.
#[derive(Debug, Default)]
pub(super) struct LogMark {
    /// As the manifest has it.
    at: LogPosition,
    /// When the next one in the same segment is due, by the monotonic clock.
    due_ns: u64,
    running: bool,
    failed: bool,
}

impl LogMark {
    /// The mark that an open has found or written.
    pub(super) fn at(at: LogPosition) -> Self {
        Self { at, ..Self::default() }
    }
}

/// Where the mark is to be moved now, noted as running.
pub(super) fn choose(shared: &Shared, state: &mut State) -> Option<LogPosition> {
    let mark = &mut state.log_mark;
    let durable = shared.log.durable();
    if mark.running || durable <= mark.at || shared.poisoned.get().is_some() {
        return None;
    }
    let is_new = durable.segment > mark.at.segment && !mark.failed;
    if !is_new && shared.clock.monotonic_ns() < mark.due_ns {
        return None;
    }
    mark.running = true;
    Some(durable)
}

/// Moves the mark to `at`, and notes it.
pub(super) fn run(shared: &Shared, at: LogPosition) -> Result<()> {
    let result = write(shared, at);
    let mut state = shared.state.lock();
    state.log_mark.running = false;
    state.log_mark.failed = result.is_err();
    state.log_mark.due_ns = shared.clock.monotonic_ns().saturating_add(MARK_EVERY_NS);
    if result.is_ok() {
        state.log_mark.at = at;
    }
    result
}

fn write(shared: &Shared, at: LogPosition) -> Result<()> {
    let edit = Edit { log_mark: Some(at), ..Edit::default() };
    let result = shared.manifest.lock().apply(&edit);
    result.inspect_err(|error| shared.poison_unless_undone(error))
}

/// At the end of a store whose threads have stopped: the log is durable to its end.
pub(super) fn close(shared: &Shared) -> Result<()> {
    let at = shared.log.durable();
    let is_moved = at > shared.state.lock().log_mark.at;
    match shared.poisoned.get() {
        None if is_moved => run(shared, at),
        _ => Ok(()),
    }
}
