//! Clients that are closed because all together hold too much (`maxmemory-clients`).

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::{Client, ClientFlag, Clients, GONE};
use crate::observe::Metrics;

/// A request of which nothing has come for so long, in milliseconds, has stalled.
const STALLED_MS: u64 = 1000;
/// Who holds no more than this part of what all may is not closed for having stalled.
const SMALL: usize = 32;

impl Client {
    /// Whether it has sent a part of a request, and nothing further for a while, nor taken a reply.
    fn is_stalled(&self, now_ms: u64) -> bool {
        let is_within = self.query_bytes.load(Ordering::Relaxed) > 0 && !self.is_waiting();
        is_within && self.idle_ms(now_ms) >= STALLED_MS
    }

    /// What it has told that it holds.
    fn told(&self) -> usize {
        match self.told_bytes.load(Ordering::Relaxed) {
            GONE => 0,
            told => told,
        }
    }
}

impl Clients {
    /// Closes clients until the others hold no more than they may: first those that have stalled within
    /// a request and hold much, then the largest. Those that exempted themselves (`CLIENT NO-EVICT`)
    /// stay. Looks at all clients.
    pub fn evict(&self, metrics: &Metrics, now_ms: u64) {
        let max = self.memory.clients_max();
        // Summed up anew: what of the account belongs to clients that are going does not count, and
        // a client that is telling it something new is in neither state there for a moment.
        let mut held = 0_usize;
        let mut victims = Vec::new();
        for entry in &self.by_id {
            let client = entry.value();
            if !client.is_killed() {
                held = held.saturating_add(client.told());
                if !client.has(ClientFlag::NO_EVICT) {
                    let told = client.told();
                    let has_stalled = told > max / SMALL && client.is_stalled(now_ms);
                    victims.push((Reverse(has_stalled), Reverse(told), client.id));
                }
            }
        }
        victims.sort_unstable();
        for (_, Reverse(bytes), id) in victims {
            if held <= max || bytes == 0 {
                return;
            }
            let Some(client) = self.get(id) else { continue };
            held = held.saturating_sub(bytes);
            metrics.evicted_clients.add(1);
            tracing::warn!(
                client = id,
                addr = %client.addr,
                bytes,
                limit = max,
                "closed: clients hold more together than they may (maxmemory-clients)"
            );
            client.kill();
        }
    }
}
