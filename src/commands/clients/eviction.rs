//! Clients that are closed because all together hold too much (`maxmemory-clients`).

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::{Client, ClientFlag, Clients, GONE};
use crate::observe::Metrics;

impl Client {
    /// What it has told that it holds.
    fn told(&self) -> usize {
        match self.told_bytes.load(Ordering::Relaxed) {
            GONE => 0,
            told => told,
        }
    }
}

impl Clients {
    /// Closes the largest clients until the others hold no more than they may. Those that exempted
    /// themselves (`CLIENT NO-EVICT`) stay. Looks at all clients.
    pub fn evict(&self, metrics: &Metrics) {
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
                    victims.push((Reverse(client.told()), client.id));
                }
            }
        }
        victims.sort_unstable();
        for (Reverse(bytes), id) in victims {
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
