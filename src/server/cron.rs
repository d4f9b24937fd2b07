//! What is done ten times a second: samples for rates, clients that have been idle for too long,
//! or are gone while a command of theirs waits; what all together hold.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::commands::{ClientFlag, ServerState, memory_budget};

/// Time between two rounds.
const PERIOD: Duration = Duration::from_millis(100);

/// The part of the budget that is left to clients and commands at all times.
const RESERVE_SHARE: u64 = 16;
/// The part of the budget that views may pin of what was written to disk since.
const PINNED_SHARE: u64 = 4;
/// The part that they never may.
const PINNED_SHARE_MAX: u64 = 2;
/// So long a reply may pin more than the former, in nanoseconds.
const READER_GRACE_NS: u64 = 1_000_000_000;

/// Commands in a round below which it is a quiet one: somebody who looks at the server now and then does not
/// make it busy.
const QUIET_COMMANDS_MAX: u64 = 5;
/// The same for what comes and goes, in bytes.
const QUIET_BYTES_MAX: u64 = 64 << 10;
/// Quiet rounds behind one another after which the server is idle.
const IDLE_ROUNDS: u32 = 3;

/// Runs until the server stops.
pub(crate) async fn run(state: Arc<ServerState>) {
    let mut quiet = Quiet::default();
    loop {
        tokio::time::sleep(PERIOD).await;
        if state.pauses_cron.load(Ordering::Relaxed) {
            continue;
        }
        state.metrics.sample(state.clock.monotonic_ns());
        close_hung_up(&state);
        bound_memory(&state);
        if let Ok(engine) = state.engine() {
            let metrics = &state.metrics;
            let bytes = metrics.net_in_bytes.get() + metrics.net_out_bytes.get();
            let is_quiet = quiet.is_idle(metrics.commands_processed.get(), bytes);
            engine.set_idle(is_quiet && state.long_replies.is_empty());
        }
        if state.tracking.is_active() {
            state.tracking.evict(&state);
        }
        let timeout_s = u64::from(state.config.load().timeout);
        if timeout_s > 0 {
            close_idle(&state, timeout_s * 1000);
        }
    }
}

/// How long nobody has asked for anything.
#[derive(Debug, Default)]
struct Quiet {
    commands: u64,
    bytes: u64,
    rounds: u32,
}

impl Quiet {
    /// Whether the server is idle, with the number of commands that have run and of bytes that have come
    /// and gone by the end of this round.
    fn is_idle(&mut self, commands: u64, bytes: u64) -> bool {
        // Less than before where somebody has reset the statistics.
        let is_quiet = commands.abs_diff(self.commands) <= QUIET_COMMANDS_MAX
            && bytes.abs_diff(self.bytes) <= QUIET_BYTES_MAX;
        self.rounds = if is_quiet { self.rounds.saturating_add(1) } else { 0 };
        (self.commands, self.bytes) = (commands, bytes);
        self.rounds >= IDLE_ROUNDS
    }
}

/// What clients and commands hold beyond a reserve takes the place of the block cache. Where views of
/// replies pin much that was written to disk since, one of them ends.
fn bound_memory(state: &ServerState) {
    state.bound_clients();
    state.memory.relieve();
    let Ok(engine) = state.engine() else { return };
    let budget = memory_budget(&state.config.load());
    let pinned = engine.pinned_bytes();
    let commands = state.memory.clients() + state.memory.commands();
    let held = (commands + state.tracking.bytes()) as u64 + pinned;
    engine.lend(held.saturating_sub(budget / RESERVE_SHARE));
    if pinned > budget / PINNED_SHARE {
        // Meanwhile writes are slowed down.
        let is_too_much = pinned > budget / PINNED_SHARE_MAX;
        let grace_ns = if is_too_much { 0 } else { READER_GRACE_NS };
        let until_ns = state.clock.monotonic_ns().saturating_sub(grace_ns);
        state.long_replies.end_heaviest(until_ns, |view| engine.pinned_by(view));
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
        let idle_ms = client.idle_ms(now_ms);
        let only_listens = client.has(ClientFlag::PUBSUB) || client.has(ClientFlag::MONITOR);
        if idle_ms > timeout_ms && !client.is_waiting() && !only_listens {
            tracing::debug!(client = client.id, "closing an idle client");
            client.end(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_idle_after_a_few_quiet_rounds() {
        let mut quiet = Quiet::default();
        let mut rounds = |commands: &[u64]| commands.iter().map(|&n| quiet.is_idle(n, n)).collect();
        let answers: Vec<bool> = rounds(&[100, 101, 104, 104, 107]);
        assert_eq!(answers, [false, false, false, true, true]);
        let answers: Vec<bool> = rounds(&[130, 131, 132, 133]);
        assert_eq!(answers, [false, false, false, true]);
        // Statistics were reset.
        let answers: Vec<bool> = rounds(&[0, 1, 2, 3]);
        assert_eq!(answers, [false, false, false, true]);
        // Few commands, but large ones.
        assert!(quiet.is_idle(3, 4) && !quiet.is_idle(4, 1 << 20));
    }
}
