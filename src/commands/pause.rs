//! `CLIENT PAUSE`: commands wait until its end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::env::Clock;

/// Which commands wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseKind {
    /// Those that may change data.
    Write,
    /// All.
    All,
}

/// State of `CLIENT PAUSE`. Ends are in Unix milliseconds; 0 is no pause.
#[derive(Debug, Default)]
pub struct Pause {
    write_until_ms: AtomicU64,
    all_until_ms: AtomicU64,
    changed: Notify,
}

impl Pause {
    /// Pauses until `until_ms`. A pause that runs is never shortened, nor weakened from all to
    /// writes.
    pub fn start(&self, kind: PauseKind, until_ms: u64) {
        let until = until_ms.max(self.write_until_ms.load(Ordering::Acquire));
        self.write_until_ms.store(until, Ordering::Release);
        if kind == PauseKind::All || self.all_until_ms.load(Ordering::Acquire) != 0 {
            self.all_until_ms.store(until, Ordering::Release);
        }
    }

    /// Ends the pause.
    pub fn end(&self) {
        self.write_until_ms.store(0, Ordering::Release);
        self.all_until_ms.store(0, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether a pause may be running: one load, for the way of every command.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.write_until_ms.load(Ordering::Relaxed) != 0
    }

    /// What is paused at `now_ms`, and until when.
    #[must_use]
    pub fn current(&self, now_ms: u64) -> Option<(PauseKind, u64)> {
        let write_until = self.write_until_ms.load(Ordering::Acquire);
        if write_until <= now_ms {
            return None;
        }
        let all = self.all_until_ms.load(Ordering::Acquire) > now_ms;
        Some((if all { PauseKind::All } else { PauseKind::Write }, write_until))
    }

    /// Whether a pause holds a command back; `may_write` says whether it may change data.
    #[must_use]
    pub fn holds(&self, clock: &dyn Clock, may_write: bool) -> bool {
        let now_ms = clock.unix_ms();
        let current = self.current(now_ms);
        if current.is_none() {
            self.expire(now_ms);
        }
        current.is_some_and(|(kind, _)| kind == PauseKind::All || may_write)
    }

    /// Waits until no pause holds a command back; `may_write` says whether it may change data.
    pub async fn wait(&self, clock: &dyn Clock, may_write: bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now_ms = clock.unix_ms();
            match self.current(now_ms) {
                None => return self.expire(now_ms),
                Some((PauseKind::Write, _)) if !may_write => return,
                Some((_, until_ms)) => {
                    let left = Duration::from_millis(until_ms - now_ms);
                    drop(tokio::time::timeout(left, changed).await);
                }
            }
        }
    }

    /// Clears an end that has passed, so that `is_set` is cheap again.
    fn expire(&self, now_ms: u64) {
        for until in [&self.all_until_ms, &self.write_until_ms] {
            let end = until.load(Ordering::Acquire);
            if end != 0 && end <= now_ms {
                // Lost to a new pause: then that one stays.
                let _ = until.compare_exchange(end, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }
}
