//! When connections write what is pushed to them.
//!
//! A write takes some microseconds, and a message to many wakes all of their tasks at once. So only a
//! few of them write before the reactor looks at the sockets again; the others wait in line.

use tokio::sync::{Notify, Semaphore};

/// Connections that write before others get to run: some twenty microseconds.
const AT_A_TIME: usize = 4;

/// The line of those who are about to write.
#[derive(Debug)]
pub(crate) struct Turns {
    turns: Semaphore,
    wanted: Notify,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_A_TIME), wanted: Notify::new() }
    }
}

impl Turns {
    /// Waits until the connection may write once. May be dropped at any time.
    pub(crate) async fn take(&self) {
        if let Ok(turn) = self.turns.try_acquire() {
            return turn.forget();
        }
        self.wanted.notify_one();
        // Nobody closes the line.
        if let Ok(turn) = self.turns.acquire().await {
            turn.forget();
        }
    }

    /// Gives out turns for as long as the server runs, no more at a time than a few.
    pub(crate) async fn give(&self) {
        loop {
            self.wanted.notified().await;
            loop {
                // Tokio resumes who yields behind everything that is ready, and behind a look at
                // the sockets.
                tokio::task::yield_now().await;
                self.turns.add_permits(AT_A_TIME - self.turns.available_permits().min(AT_A_TIME));
                if self.turns.available_permits() > 0 {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_few_write_before_others_run() {
        let turns = Arc::new(Turns::default());
        let given = Arc::clone(&turns);
        let giver = tokio::spawn(async move { given.give().await });
        let written = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 * AT_A_TIME {
            let (turns, written) = (Arc::clone(&turns), Arc::clone(&written));
            tokio::spawn(async move {
                turns.take().await;
                written.fetch_add(1, Ordering::Relaxed);
            });
        }
        let (mut before, mut looks) = (0, 0);
        while before < 10 * AT_A_TIME {
            tokio::task::yield_now().await;
            let now = written.load(Ordering::Relaxed);
            assert!(now - before <= AT_A_TIME, "{before} and then {now}");
            before = now;
            looks += 1;
        }
        assert!(looks >= 10);
        giver.abort();
    }
}
