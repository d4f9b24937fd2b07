//! Active expiry: asks the writer, a slice at a time, to delete what has expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::message::{Expired, Message};
use crate::commands::{ServerState, estimate_overdue};
use crate::data::{Edit, ExpiryMarks, expire_cycle};
use crate::engine::{self, ReadMode, Txn};

/// Keys deleted by one message at the least `active-expire-effort`, and more with each step of it:
/// the more, the sooner space comes back, and the longer writes wait behind a message.
const SLICE: usize = 200;
/// Rounds per second, whatever more `hz` says; as in Redis.
const HZ_MAX: u32 = 500;

/// Time between two looks at how far it is behind, in nanoseconds.
const LOOK_PERIOD_NS: u64 = 2_000_000_000;

/// Runs until the server stops.
pub(crate) async fn run(state: Arc<ServerState>, writer: mpsc::WeakSender<Message>) {
    loop {
        let period =
            Duration::from_millis(1000 / u64::from(state.config.load().hz.clamp(1, HZ_MAX)));
        tokio::time::sleep(period).await;
        let effort = usize::try_from(state.config.load().active_expire_effort).unwrap_or(1);
        let mut limit = SLICE * effort.max(1);
        if !state.expires_actively() {
            continue;
        }
        let mut behind = Behind::default();
        loop {
            let (answer, answered) = oneshot::channel();
            let Some(sender) = writer.upgrade() else { return };
            if sender.send(Message::Expire { limit, answer }).await.is_err() {
                return;
            }
            drop(sender);
            match answered.await {
                Ok(Expired::More) => {
                    state.metrics.expired_time_cap_reached.add(1);
                    behind.estimate(&state);
                    tokio::task::yield_now().await;
                }
                Ok(Expired::All) => {
                    state.metrics.expired_stale_basis_points.set(0);
                    break;
                }
                Ok(Expired::Warm(marks)) => {
                    // A smaller round needs fewer blocks at a time.
                    limit = (limit / 2).max(1);
                    warm(&state, marks, limit).await;
                }
                Err(_) => return,
            }
        }
    }
}

/// Tells now and then how far active expiry is behind, while it is.
#[derive(Default)]
struct Behind {
    /// When that was looked at last, in monotonic nanoseconds.
    looked_ns: Option<u64>,
    look: Option<JoinHandle<()>>,
}

impl Behind {
    /// Looks, if the last time was long ago; on the blocking pool, and nobody waits for it.
    fn estimate(&mut self, state: &Arc<ServerState>) {
        let now_ns = state.clock.monotonic_ns();
        // What takes less than half of that is not worth a look.
        let looked_ns = *self.looked_ns.get_or_insert(now_ns.saturating_sub(LOOK_PERIOD_NS / 2));
        let runs = self.look.as_ref().is_some_and(|look| !look.is_finished());
        if runs || now_ns - looked_ns < LOOK_PERIOD_NS {
            return;
        }
        self.looked_ns = Some(now_ns);
        let state = Arc::clone(state);
        self.look = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = estimate_overdue(&state) {
                tracing::debug!(%error, "expired keys could not be estimated");
            }
        }));
    }
}

/// Runs a round on the blocking pool, over a transaction that is thrown away, so that the blocks
/// which it needs are in memory when the writer runs it.
async fn warm(state: &Arc<ServerState>, mut marks: ExpiryMarks, limit: usize) {
    let state = Arc::clone(state);
    let round = tokio::task::spawn_blocking(move || {
        let snapshot = state.engine()?.snapshot(ReadMode::Blocking);
        let txn = Txn::new(&snapshot, snapshot.seq() + 1);
        let mut edit = Edit::new(txn, state.context(0, false))?;
        expire_cycle(&mut edit, &mut marks, limit).map(drop)
    });
    let result: Result<engine::Result<()>, _> = round.await;
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "expired keys could not be read"),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
