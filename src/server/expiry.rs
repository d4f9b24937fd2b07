//! Active expiry: finds what has expired, and asks the writer, a slice at a time, to delete it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::message::{Expired, Message};
use crate::commands::{ServerState, estimate_overdue};
use crate::data::{DueRecords, Edit, ExpiryMarks, expire_due, find_due};
use crate::engine::{self, Engine, ReadMode, Txn};

/// Keys and fields deleted by one message, so that it takes the writer about a millisecond: what
/// comes meanwhile waits behind it.
const SLICE: usize = 200;
/// Records that are found at a time.
const FOUND_MAX: usize = 20 * SLICE;
/// Between messages the writer is left to others for so long; at a larger `active-expire-effort` only
/// after so many messages.
const PAUSE: Duration = Duration::from_millis(1);
/// Rounds per second, whatever more `hz` says; as in Redis.
const HZ_MAX: u32 = 500;

/// Time between two looks at how far it is behind, in nanoseconds.
const LOOK_PERIOD_NS: u64 = 2_000_000_000;

/// Runs until the server stops.
pub(crate) async fn run(state: Arc<ServerState>, writer: mpsc::WeakSender<Message>) {
    let mut walk = Walk::default();
    loop {
        let period =
            Duration::from_millis(1000 / u64::from(state.config.load().hz.clamp(1, HZ_MAX)));
        tokio::time::sleep(period).await;
        let mut behind = Behind::default();
        loop {
            if !state.expires_actively() {
                break;
            }
            let Some(found) = find(&state, &mut walk).await else { break };
            let Ok(done) = delete(&state, &writer, &found, &mut behind).await else { return };
            walk.marks.advance(&found, done);
            if !found.more || done < found.records.len() {
                if done == found.records.len() {
                    state.metrics.expired_stale_basis_points.set(0);
                }
                break;
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

/// How far the indexes of a store were walked.
#[derive(Debug, Clone, Default)]
struct Walk {
    marks: ExpiryMarks,
    /// The store; one that was opened again may have lost what was deleted last.
    engine: Weak<Engine>,
}

/// Finds what has expired, on the blocking pool; nothing where the store cannot be read.
async fn find(state: &Arc<ServerState>, walk: &mut Walk) -> Option<Arc<DueRecords>> {
    let state = Arc::clone(state);
    let mut own = std::mem::take(walk);
    let round = tokio::task::spawn_blocking(move || {
        let found = walk_on(&state, &mut own);
        (own, found)
    });
    let (own, found) = match round.await {
        Ok(ended) => ended,
        Err(error) if error.is_cancelled() => return None,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    *walk = own;
    let logged = found.inspect_err(|error| tracing::debug!(%error, "expiries could not be read"));
    logged.ok().map(Arc::new)
}

fn walk_on(state: &ServerState, walk: &mut Walk) -> engine::Result<DueRecords> {
    let engine = state.engine()?;
    let is_anew = state.expires_anew.swap(false, Ordering::AcqRel);
    if is_anew || !std::ptr::eq(walk.engine.as_ptr(), Arc::as_ptr(&engine)) {
        *walk = Walk { engine: Arc::downgrade(&engine), ..Walk::default() };
    }
    let snapshot = engine.snapshot(ReadMode::Blocking);
    let txn = Txn::new(&snapshot, snapshot.seq() + 1);
    find_due(&Edit::new(txn, state.context(0, false))?, &walk.marks, FOUND_MAX)
}

/// The server is stopping.
struct Gone;

/// Has the writer delete what was found: how many records are done with.
async fn delete(
    state: &Arc<ServerState>,
    writer: &mpsc::WeakSender<Message>,
    found: &Arc<DueRecords>,
    behind: &mut Behind,
) -> Result<usize, Gone> {
    let (mut from, mut limit, mut rounds) = (0, SLICE, 0);
    while from < found.records.len() {
        let (answer, answered) = oneshot::channel();
        let sender = writer.upgrade().ok_or(Gone)?;
        let message = Message::Expire { found: Arc::clone(found), from, limit, answer };
        sender.send(message).await.map_err(|_| Gone)?;
        drop(sender);
        match answered.await.map_err(|_| Gone)? {
            Expired::Done(done) => from += done,
            Expired::Blocked => {
                // A smaller round needs fewer blocks at a time.
                limit = (limit / 2).max(1);
                warm(state, found, from, limit).await;
            }
            Expired::Refused => break,
        }
        if from < found.records.len() || found.more {
            state.metrics.expired_time_cap_reached.add(1);
            behind.estimate(state);
        }
        rounds += 1;
        if rounds % state.config.load().active_expire_effort.max(1) == 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(from)
}

/// Runs a round on the blocking pool, over a transaction that is thrown away, so that the blocks
/// which it needs are in memory when the writer runs it.
async fn warm(state: &Arc<ServerState>, found: &Arc<DueRecords>, from: usize, limit: usize) {
    let (state, found) = (Arc::clone(state), Arc::clone(found));
    let round = tokio::task::spawn_blocking(move || {
        let snapshot = state.engine()?.snapshot(ReadMode::Blocking);
        let txn = Txn::new(&snapshot, snapshot.seq() + 1);
        let mut edit = Edit::new(txn, state.context(0, false))?;
        expire_due(&mut edit, found.records.get(from..).unwrap_or_default(), limit).map(drop)
    });
    let result: Result<engine::Result<()>, _> = round.await;
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "expired keys could not be read"),
        Err(error) if error.is_cancelled() => {}
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
