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
