//! Active expiry: asks the writer, a slice at a time, to delete what has expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::message::{Expired, Message};
use crate::commands::ServerState;
use crate::data::{Edit, ExpiryMarks, expire_cycle};
use crate::engine::{self, ReadMode, Txn};

/// Keys deleted by one message at the least `active-expire-effort`, and more with each step of it:
/// the more, the sooner space comes back, and the longer writes wait behind a message.
const SLICE: usize = 200;
/// Rounds per second, whatever more `hz` says; as in Redis.
const HZ_MAX: u32 = 500;

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
        loop {
            let (answer, answered) = oneshot::channel();
            let Some(sender) = writer.upgrade() else { return };
            if sender.send(Message::Expire { limit, answer }).await.is_err() {
                return;
            }
            drop(sender);
            match answered.await {
                Ok(Expired::More) => tokio::task::yield_now().await,
                Ok(Expired::All) => break,
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
