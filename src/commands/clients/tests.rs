use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn client(id: u64) -> Arc<Client> {
    Arc::new(Client::new(id, "127.0.0.1:1", "127.0.0.1:2", 3, false, 0))
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Client>() < 512, "{}", size_of::<Client>());
}

#[test]
fn the_registry_counts() {
    let clients = Clients::new(Arc::new(MemoryAccount::unbounded()));
    for _ in 0..3 {
        clients.insert(client(clients.next_id()));
    }
    clients.remove(2);
    clients.remove(2);
    let ids: Vec<u64> = clients.all().iter().map(|client| client.id).collect();
    assert_eq!((ids, clients.len()), (vec![1, 3], 2));
    assert!(clients.get(2).is_none() && clients.get(3).is_some());
}

#[test]
fn a_kill_ends_the_socket() {
    let client = client(1);
    let ended = Arc::new(AtomicU32::new(0));
    client.set_link(Box::new(Counter(Arc::clone(&ended))));
    client.kill();
    assert!(client.is_killed());
    assert_eq!(ended.load(Ordering::Relaxed), 1);
}

#[test]
fn a_kill_before_the_link_is_there_is_not_lost() {
    let client = client(1);
    client.kill();
    let ended = Arc::new(AtomicU32::new(0));
    client.set_link(Box::new(Counter(Arc::clone(&ended))));
    assert_eq!(ended.load(Ordering::Relaxed), 1);
}

/// Counts how often it is ended.
struct Counter(Arc<AtomicU32>);

impl Link for Counter {
    fn end(&self, _: Shutdown) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn is_hung_up(&self) -> bool {
        false
    }
}

#[test]
fn who_has_stalled_is_closed_before_who_holds_more() {
    let memory = Arc::new(MemoryAccount::unbounded());
    memory.set_clients_max(8 << 20);
    let clients = Clients::new(Arc::clone(&memory));
    let sends = |bytes: usize, last_ms: u64, is_served: bool| {
        let client = client(clients.next_id());
        client.query_bytes.store(bytes, Ordering::Relaxed);
        client.query_capacity.store(bytes, Ordering::Relaxed);
        client.last_interaction_ms.store(last_ms, Ordering::Relaxed);
        client.is_served.store(is_served, Ordering::Relaxed);
        client.tell_held(&memory);
        clients.insert(Arc::clone(&client));
        client
    };
    let small = sends(64 << 10, 0, false);
    let stalled = [sends(1 << 20, 0, false), sends(1 << 20, 500, false)];
    let waits_in_line = sends(2 << 20, 0, true);
    let active = sends(5 << 20, 4_900, false);
    let metrics = Metrics::default();
    clients.evict(&metrics, 5_000);
    assert!(stalled.iter().filter(|client| client.is_killed()).count() == 2);
    assert!(![&small, &waits_in_line, &active].iter().any(|client| client.is_killed()));
    memory.set_clients_max(4 << 20);
    clients.evict(&metrics, 5_000);
    assert!(active.is_killed() && !small.is_killed() && !waits_in_line.is_killed());
}
