//! Which tables are open, within a bound.
//!
//! An open table has its file and its top index. A lookup that finds its table closed opens it; where
//! that makes too many, or too many bytes, those are closed that were not used since they were last
//! looked at, the one that was opened first to begin with. Whoever reads a table that is closed goes on
//! with what it has of it: the file goes with the last of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;

use super::table::Loaded;

/// What one open table costs beside its top index and its partitions: the file, here and in the kernel.
const OPEN_OVERHEAD_BYTES: u64 = 512;

/// The place of one table: what it needs to find any block, while it is open.
#[derive(Debug, Default)]
pub(super) struct Slot {
    loaded: ArcSwapOption<Loaded>,
    /// Used since it was last looked at.
    used: AtomicBool,
}

impl Slot {
    /// What is there, which counts as a use of it.
    #[inline]
    pub(super) fn get(&self) -> Guard<Option<Arc<Loaded>>> {
        // All cores would write to one place otherwise.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.loaded.load()
    }

    /// Bytes that the table holds while it is open; 0 while it is not.
    pub(super) fn bytes(&self) -> u64 {
        self.loaded.load().as_ref().map_or(0, |loaded| cost(loaded))
    }
}

fn cost(loaded: &Loaded) -> u64 {
    (loaded.top.len() + loaded.partitions.bytes()) as u64 + OPEN_OVERHEAD_BYTES
}

/// The open tables of an engine. Clean when made: no table is open, and none is bound to be closed.
#[derive(Debug)]
pub struct OpenTables {
    tables_max: AtomicUsize,
    bytes_max: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// In the order in which they are looked at.
    slots: VecDeque<Arc<Slot>>,
    bytes: u64,
}

impl Default for OpenTables {
    fn default() -> Self {
        Self {
            tables_max: AtomicUsize::new(usize::MAX),
            bytes_max: AtomicU64::new(u64::MAX),
            open: Mutex::default(),
        }
    }
}

impl OpenTables {
    /// From now on at most so many tables are open, of so many bytes; one always may be. Closes what
    /// is too much.
    pub fn set_bounds(&self, tables_max: usize, bytes_max: u64) {
        self.tables_max.store(tables_max, Ordering::Relaxed);
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        let mut open = self.open.lock();
        let closed = open.make_room(tables_max, bytes_max);
        drop(open);
        drop(closed);
    }

    /// How many tables are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.lock().slots.len()
    }

    /// Notes that the table of `slot` was opened, and closes others where these are too many. Where
    /// somebody else opened it meanwhile, that is what counts and is answered.
    pub(super) fn admit(&self, slot: &Arc<Slot>, loaded: Loaded) -> Arc<Loaded> {
        let mut open = self.open.lock();
        if let Some(there) = &*slot.loaded.load() {
            return there.clone();
        }
        let loaded = Arc::new(loaded);
        slot.loaded.store(Some(loaded.clone()));
        slot.used.store(true, Ordering::Relaxed);
        open.bytes += cost(&loaded);
        open.slots.push_back(slot.clone());
        let bounds = (&self.tables_max, &self.bytes_max);
        let closed =
            open.make_room(bounds.0.load(Ordering::Relaxed), bounds.1.load(Ordering::Relaxed));
        // To close files takes a while; nobody shall wait for it.
        drop(open);
        drop(closed);
        loaded
    }

    /// Closes the table of `slot`, which is no longer wanted.
    pub(super) fn forget(&self, slot: &Arc<Slot>) {
        let mut open = self.open.lock();
        let Some(at) = open.slots.iter().position(|other| Arc::ptr_eq(other, slot)) else {
            return;
        };
        open.slots.remove(at);
        let closed = slot.loaded.swap(None);
        open.bytes -= closed.as_ref().map_or(0, |loaded| cost(loaded));
        drop(open);
    }
}

impl Open {
    /// Closes tables until the bounds hold or one is left, and answers what was closed.
    fn make_room(&mut self, tables_max: usize, bytes_max: u64) -> Vec<Arc<Loaded>> {
        let mut closed = Vec::new();
        // Those that are in use all the time would be looked at for ever.
        let mut chances = self.slots.len();
        while self.slots.len() > tables_max.max(1) || self.bytes > bytes_max {
            if self.slots.len() <= 1 {
                break;
            }
            let Some(slot) = self.slots.pop_front() else { break };
            if chances > 0 && slot.used.swap(false, Ordering::Relaxed) {
                chances -= 1;
                self.slots.push_back(slot);
                continue;
            }
            if let Some(loaded) = slot.loaded.swap(None) {
                self.bytes -= cost(&loaded);
                closed.push(loaded);
            }
        }
        closed
    }
}
