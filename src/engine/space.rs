//! Space on the disk: writes are refused before it is full, and while something ran out of it.
//!
//! A flush, a compaction or an append that finds the disk full has had no effect, so it is tried
//! again until there is space; nothing has failed for good. Meanwhile writes are refused with
//! [`Error::NoSpace`], so that neither the log nor the memory grows, and come back by themselves. The
//! flush thread looks twice a second at how much is free: below a reserve writes are refused as well,
//! and what is left is for flush and compaction, which give space back, and down to half of it for
//! transactions that only delete.
//!
//! A sync that fails is another matter: nobody knows what became of the data, whatever the reason
//! was. Then writes are refused until the store is opened again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::shared::Shared;
use super::{Error, Result};

/// Why there is too little space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Less than the reserve is free.
    Reserve,
    /// Less than half of the reserve is free: not even deletions go on.
    Spent,
    /// A flush found the disk full.
    Flush,
    /// An append to the log found the disk full.
    Log,
}

const CAUSES: usize = 4;

/// Whether there is space for writes.
#[derive(Debug)]
pub(super) struct Space {
    /// Bytes that have to be free.
    reserve: u64,
    /// What has to be free before writes come back: more, so that the first of them, and the log
    /// segment that is made ahead then, do not end that at once.
    enough: u64,
    /// Whether any cause holds, so that a write looks at no more than this.
    refuses: AtomicBool,
    /// What is said of each cause that holds.
    causes: Mutex<[Option<Arc<str>>; CAUSES]>,
}

impl Space {
    /// Space with a reserve, in bytes, for a log with segments of `segment_bytes`.
    pub(super) fn new(reserve: u64, segment_bytes: u64) -> Self {
        let enough = reserve + segment_bytes.max(reserve / 4);
        Self { reserve, enough, refuses: AtomicBool::new(false), causes: Mutex::default() }
    }

    /// Fails with [`Error::NoSpace`] while writes are refused.
    pub(super) fn check(&self) -> Result<()> {
        if !self.refuses.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.causes.lock().iter().rev().flatten().next() {
            Some(why) => Err(Error::NoSpace(why.clone())),
            None => Ok(()),
        }
    }

    /// As [`Self::check`], for a transaction that only deletes.
    pub(super) fn check_freeing(&self) -> Result<()> {
        if self.refuses.load(Ordering::Acquire) && !self.holds_alone(Cause::Reserve) {
            return self.check();
        }
        Ok(())
    }

    fn holds_alone(&self, cause: Cause) -> bool {
        let causes = self.causes.lock();
        causes.iter().enumerate().all(|(other, why)| other == cause as usize || why.is_none())
    }

    /// Notes that `cause` holds, for the reason given, or not. Answers whether writes are refused
    /// from now on (`Some(true)`), accepted from now on, or as before.
    fn set(&self, cause: Cause, why: Option<Arc<str>>) -> Option<bool> {
        let mut causes = self.causes.lock();
        causes[cause as usize] = why;
        let refuses = causes.iter().any(Option::is_some);
        let before = self.refuses.swap(refuses, Ordering::AcqRel);
        (before != refuses).then_some(refuses)
    }

    fn holds(&self, cause: Cause) -> bool {
        self.refuses.load(Ordering::Acquire) && self.causes.lock()[cause as usize].is_some()
    }
}

/// Notes what `result` tells of `cause`: the disk was full, or was not.
pub(super) fn note<T>(shared: &Shared, cause: Cause, result: &Result<T>) {
    match result {
        Err(Error::NoSpace(why)) => set(shared, cause, Some(why.clone())),
        Err(_) => {}
        Ok(_) if shared.space.holds(cause) => set(shared, cause, None),
        Ok(_) => {}
    }
}

/// Looks at how much is free. Where the system does not tell, there is enough.
pub(super) fn look(shared: &Shared) {
    let dir = &shared.options.dir;
    let Ok(free) = shared.fs.free_bytes(dir) else { return };
    let reserve = shared.space.reserve;
    if free < reserve / 2 && !shared.space.holds(Cause::Spent) {
        set(shared, Cause::Spent, Some(too_little(shared, free)));
    } else if free >= reserve / 4 * 3 && shared.space.holds(Cause::Spent) {
        set(shared, Cause::Spent, None);
    }
    if !shared.space.holds(Cause::Reserve) {
        if free < reserve {
            set(shared, Cause::Reserve, Some(too_little(shared, free)));
        }
    } else if free >= shared.space.enough {
        set(shared, Cause::Reserve, None);
    }
}

fn too_little(shared: &Shared, free: u64) -> Arc<str> {
    let why = format!(
        "No space left on device: {} MiB are free for {}, {} MiB are kept for flush and \
         compaction; free some space there, writes then come back by themselves",
        free >> 20,
        shared.options.dir.display(),
        shared.space.reserve.div_ceil(1 << 20)
    );
    why.into()
}

fn set(shared: &Shared, cause: Cause, why: Option<Arc<str>>) {
    match shared.space.set(cause, why.clone()) {
        None => return,
        Some(true) => {
            let why = why.unwrap_or_default();
            tracing::error!(%why, "writes are refused until there is space again");
        }
        Some(false) => tracing::info!("there is space again, writes are accepted"),
    }
    let state = shared.state.lock();
    shared.wake(&state);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_refused_while_any_cause_holds() {
        let space = Space::new(0, 0);
        assert!(space.check().is_ok());
        assert_eq!(space.set(Cause::Flush, Some("flush".into())), Some(true));
        assert_eq!(space.set(Cause::Reserve, Some("reserve".into())), None);
        assert!(matches!(space.check(), Err(Error::NoSpace(why)) if &*why == "flush"));
        assert_eq!(space.set(Cause::Flush, None), None);
        assert!(matches!(space.check(), Err(Error::NoSpace(why)) if &*why == "reserve"));
        assert!(space.check_freeing().is_ok());
        space.set(Cause::Spent, Some("spent".into()));
        assert!(matches!(space.check_freeing(), Err(Error::NoSpace(why)) if &*why == "spent"));
        assert_eq!(space.set(Cause::Spent, None), None);
        assert_eq!(space.set(Cause::Reserve, None), Some(false));
        assert!(space.check().is_ok() && space.check_freeing().is_ok());
    }
}
