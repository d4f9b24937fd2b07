//! What is done ten times a second: samples for rates, clients that have been idle for too long,
//! or are gone while a command of theirs waits.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::commands::{ClientFlag, ServerState};

/// Time between two rounds.
const PERIOD: Duration = Duration::from_millis(100);

/// Runs until the server stops.
pub(crate) async fn run(state: Arc<ServerState>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if state.pauses_cron.load(Ordering::Relaxed) {
            continue;
        }
        state.metrics.sample(state.clock.monotonic_ns());
        close_hung_up(&state);
        if state.tracking.is_active() {
            state.tracking.evict(&state);
        }
        let timeout_s = u64::from(state.config.load().timeout);
        if timeout_s > 0 {
            close_idle(&state, timeout_s * 1000);
        }
    }
}

/// A connection whose command waits does not read, so it would not see that its peer is gone.
fn close_hung_up(state: &ServerState) {
    for client in state.clients.waiting() {
        if client.is_hung_up() {
            tracing::debug!(client = client.id, "the peer of a waiting client is gone");
            client.end(Shutdown::Both);
        }
    }
}

fn close_idle(state: &ServerState, timeout_ms: u64) {
    let now_ms = state.clock.unix_ms();
    for client in state.clients.all() {
        let idle_ms = now_ms.saturating_sub(client.last_interaction_ms.load(Ordering::Relaxed));
        if idle_ms > timeout_ms && !client.is_waiting() && !client.has(ClientFlag::PUBSUB) {
            tracing::debug!(client = client.id, "closing an idle client");
            client.end(Shutdown::Both);
        }
    }
}
