//! Which tables are full of records that nobody can reach any more.

use std::collections::HashSet;

use super::super::shared::Shared;
use super::super::snapshot::Snapshot;
use super::super::{Error, ReadMode, Result};

/// Keys of a table that are looked at beside its smallest and its largest.
const SAMPLES: usize = 8;

/// Marks the tables of which half the sampled records are dead, so that they are rewritten when nothing is
/// more urgent. A guess: the records of a keyspace or of one large value stand in a row, and what is in
/// fact dead is for the [`super::super::Filter`] to say once more.
///
/// # Errors
/// Where a file cannot be read; nothing is marked then. [`Error::Closed`] when the store closes.
pub(in super::super) fn mark_dead(shared: &Shared) -> Result<()> {
    let view = shared.published.load_full();
    let version = view.tree.version.clone();
    let mut dead = HashSet::new();
    for (_, handle) in version.tables() {
        if shared.is_stopping() {
            return Err(Error::Closed);
        }
        // A judge is asked in key order.
        let view = Snapshot::new(view.clone(), ReadMode::Blocking, 0);
        let mut judge = shared.filter.judge(Box::new(view));
        let keys = match handle.table.sample_keys(SAMPLES) {
            // A damaged table is left where it is.
            Err(Error::Corruption { .. }) => continue,
            keys => keys?,
        };
        let mut found = 0;
        for key in &keys {
            found += usize::from(judge.is_dead(key, &[])?);
        }
        if found * 2 >= keys.len() {
            dead.insert(handle.id());
        }
    }
    let mut state = shared.state.lock();
    // Those that are there still.
    let version = shared.tree().version.clone();
    let left = version.tables().map(|(_, handle)| handle.id()).filter(|id| dead.contains(id));
    left.for_each(|id| state.compactions.mark(id));
    Ok(())
}
