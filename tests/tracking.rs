//! Client-side caching on real sockets: who is told of what, in which order, and that no copy that a
//! client keeps is ever stale.

mod support;

use std::collections::{HashMap, VecDeque};
use std::sync::Barrier;

use support::{Client, Connection, Reply, Server, encode, eventually};

/// A connection that speaks RESP3.
fn resp3(server: &Server) -> Client {
    let mut client = server.connect();
    assert!(client.call(&["HELLO", "3"]).contains("proto, :3"));
    client
}

/// Sends calls in one piece; what comes back, so many replies and pushes.
fn pipeline(client: &mut Client, calls: &[&str], count: usize) -> Vec<String> {
    let words = |call: &str| encode(&call.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    client.send(&calls.iter().flat_map(|call| words(call)).collect::<Vec<u8>>());
    (0..count).map(|_| client.reply()).collect()
}

#[test]
fn what_a_client_modifies_itself_is_told_behind_the_reply() {
    let server = Server::start(&[]);
    let mut client = resp3(&server);
    assert_eq!(client.call(&["CLIENT", "TRACKING", "ON"]), "+OK");
    let told = "[invalidate, [k]]";
    let calls = ["GET k", "SET k 1", "GET k", "SET k 2", "SET k 3", "PING"];
    let replies = ["(nil)", "+OK", told, "1", "+OK", told, "+OK", "+PONG"];
    assert_eq!(pipeline(&mut client, &calls, replies.len()), replies);
    let calls = ["MULTI", "GET k", "INCR k", "EXEC", "MULTI", "INCR k", "GET k", "EXEC", "DEL k"];
    let replies = [
        "+OK", "+QUEUED", "+QUEUED", "[3, :4]", told, "+OK", "+QUEUED", "+QUEUED", "[:5, 5]", ":1",
        told,
    ];
    assert_eq!(pipeline(&mut client, &calls, replies.len()), replies);
    let script = "EVAL return{redis.call('get',KEYS[1]),redis.call('set',KEYS[1],'x')} 1 k";
    let read_only = "EVAL_RO return{redis.call('get',KEYS[1])} 1 k";
    let calls = [script, read_only, "FLUSHALL", "GET k", "PING"];
    let replies = ["[(nil), +OK]", told, "[x]", "+OK", "[invalidate, (nil)]", "(nil)", "+PONG"];
    assert_eq!(pipeline(&mut client, &calls, replies.len()), replies);
    // While it waits, and behind what it waited for.
    let mut other = server.connect();
    assert_eq!(client.call(&["LRANGE", "to", "0", "-1"]), "[]");
    client.send(&encode(&[b"BLMOVE", b"from", b"to", b"LEFT", b"LEFT", b"0"]));
    eventually("the call waits", || other.call(&["INFO"]).contains("blocked_clients:1"));
    assert_eq!(other.call(&["SET", "k", "foreign"]), "+OK");
    assert_eq!(client.reply(), told);
    assert_eq!(other.call(&["RPUSH", "from", "x"]), ":1");
    assert_eq!(client.reply(), "x");
    assert_eq!(client.reply(), "[invalidate, [to]]");
}

#[test]
fn a_prefix_is_told_behind_the_replies_of_a_batch() {
    let server = Server::start(&[]);
    let mut client = resp3(&server);
    assert_eq!(
        client.call(&["CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "b"]),
        "+OK"
    );
    let calls = ["SET b1 1", "SET a2 2", "SET c 1", "SET a1 1"];
    let replies = ["+OK", "+OK", "+OK", "+OK", "[invalidate, [a1, a2]]", "[invalidate, [b1]]"];
    assert_eq!(pipeline(&mut client, &calls, replies.len()), replies);
    let mut other = server.connect();
    assert_eq!(other.call(&["SET", "a1", "x", "PX", "1"]), "+OK");
    assert_eq!(client.reply(), "[invalidate, [a1]]");
    // Expired, and deleted without anybody asking.
    assert_eq!(client.reply(), "[invalidate, [a1]]");
    assert_eq!(client.call(&["CLIENT", "TRACKING", "OFF"]), "+OK");
    assert_eq!(other.call(&["SET", "a1", "x"]), "+OK");
    assert_eq!(client.call(&["PING"]), "+PONG");
}

#[test]
fn what_was_pushed_before_a_request_stands_before_its_reply() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    for round in 1..=500 {
        // The first push to a connection is the one for which it gets its outbox.
        let mut client = resp3(&server);
        assert_eq!(client.call(&["CLIENT", "TRACKING", "ON", "BCAST"]), "+OK");
        for push in 0..4 {
            assert!(other.call(&["INCR", "k"]).starts_with(':'), "round {round}, push {push}");
            client.send(&encode(&[b"PING"]));
            assert_eq!(client.reply(), "[invalidate, [k]]", "round {round}, push {push}");
            assert_eq!(client.reply(), "+PONG", "round {round}, push {push}");
        }
    }
}

#[test]
fn invalidations_are_redirected_to_who_listens_and_to_who_speaks_resp3() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (server.connect(), server.connect());
    let mut listener = server.connect();
    let id = listener.call(&["CLIENT", "ID"]);
    let id = id.trim_start_matches(':');
    assert!(listener.call(&["SUBSCRIBE", "__redis__:invalidate"]).starts_with("[subscribe"));
    assert_eq!(client.call(&["CLIENT", "TRACKING", "ON", "REDIRECT", id]), "+OK");
    assert_eq!(client.call(&["GET", "k"]), "(nil)");
    assert_eq!(other.call(&["SET", "k", "1"]), "+OK");
    assert_eq!(listener.reply(), "[message, __redis__:invalidate, [k]]");
    assert_eq!(other.call(&["FLUSHDB"]), "+OK");
    assert_eq!(listener.reply(), "[message, __redis__:invalidate, (nil)]");
    let line = client.call(&["CLIENT", "INFO"]);
    assert!(line.contains(" flags=t ") && line.contains(&format!(" redir={id} ")), "{line}");
    // To one that never subscribed, idle or waiting, once it speaks RESP3.
    let mut target = resp3(&server);
    let id = target.call(&["CLIENT", "ID"]);
    let id = id.trim_start_matches(':');
    assert_eq!(client.call(&["CLIENT", "TRACKING", "ON", "REDIRECT", id]), "+OK");
    assert_eq!(client.call(&["GET", "k"]), "(nil)");
    target.send(&encode(&[b"BLPOP", b"list", b"0"]));
    eventually("the call waits", || other.call(&["INFO"]).contains("blocked_clients:1"));
    assert_eq!(other.call(&["SET", "k", "1"]), "+OK");
    assert_eq!(target.reply(), "[invalidate, [k]]");
    assert_eq!(other.call(&["RPUSH", "list", "x"]), ":1");
    assert_eq!(target.reply(), "[list, x]");
    let mut idle = resp3(&server);
    let id = idle.call(&["CLIENT", "ID"]);
    let id = id.trim_start_matches(':');
    assert_eq!(client.call(&["CLIENT", "TRACKING", "ON", "REDIRECT", id]), "+OK");
    assert_eq!(client.call(&["GET", "k"]), "1");
    assert_eq!(other.call(&["SET", "k", "1"]), "+OK");
    assert_eq!(idle.reply(), "[invalidate, [k]]");
    assert_eq!(idle.call(&["QUIT"]), "+OK");
    assert!(client.call(&["HELLO", "3"]).contains("proto"));
    assert_eq!(client.call(&["GET", "k"]), "1");
    assert_eq!(other.call(&["SET", "k", "1"]), "+OK");
    assert_eq!(client.reply(), format!("[tracking-redir-broken, :{id}]"));
    assert!(client.call(&["CLIENT", "TRACKINGINFO"]).contains("broken_redirect"));
    assert!(client.call(&["CLIENT", "INFO"]).contains(" flags=tR "));
    assert_eq!(client.call(&["RESET"]), "+RESET");
    assert!(client.call(&["CLIENT", "INFO"]).contains(" flags=N "));
}

#[test]
fn many_who_have_read_a_key_are_all_told_before_the_answer() {
    // More than are told at a stretch.
    const READERS: usize = 2100;
    let server = Server::start(&["--maxclients", "3000"]);
    let mut readers: Vec<Client> = (0..READERS).map(|_| resp3(&server)).collect();
    for reader in &mut readers {
        assert_eq!(reader.call(&["CLIENT", "TRACKING", "ON"]), "+OK");
        assert_eq!(reader.call(&["GET", "k"]), "(nil)");
    }
    let mut writer = server.connect();
    assert!(writer.call(&["INFO"]).contains(&format!("tracking_total_items:{READERS}")));
    let mut calls = encode(&[b"SET", b"k", b"1"]);
    calls.extend(encode(&[b"SET", b"other", b"1"]));
    writer.send(&calls);
    assert_eq!([writer.reply(), writer.reply()], ["+OK", "+OK"]);
    for reader in &mut readers {
        assert_eq!(reader.reply(), "[invalidate, [k]]");
    }
}

/// What a client does between two looks at its copies.
const ROUNDS: usize = 25;
const PIPELINES: usize = 12;
const CALLS: usize = 8;
const KEYS: usize = 12;

/// How a client keeps copies.
#[derive(Clone, Copy)]
struct Mode {
    tracking: &'static [&'static str],
    /// Whether it says of each read that it is tracked.
    says_so: bool,
}

const MODES: &[Mode] = &[
    Mode { tracking: &["ON"], says_so: false },
    Mode { tracking: &["ON", "BCAST"], says_so: false },
    Mode { tracking: &["ON", "OPTIN"], says_so: true },
];

/// What a reply is that is still to come: the keys whose values it has, one behind the other, where it
/// has any.
type Awaited = Vec<String>;

/// A client that keeps copies of everything that it reads.
struct Caching {
    connection: Connection,
    copies: HashMap<String, Reply>,
    awaited: VecDeque<Awaited>,
    random: fastrand::Rng,
    says_so: bool,
}

impl Caching {
    fn open(port: u16, mode: Mode, seed: u64) -> Self {
        let mut connection = Connection::open(port).expect("the server listens");
        connection.call(&[b"HELLO", b"3"]).expect("a reply");
        let words: Vec<&[u8]> = ["CLIENT", "TRACKING"]
            .iter()
            .chain(mode.tracking)
            .map(|word| word.as_bytes())
            .collect();
        assert_eq!(connection.call(&words).expect("a reply").to_string(), "+OK");
        let random = fastrand::Rng::with_seed(seed);
        let (copies, awaited) = Default::default();
        Self { connection, copies, awaited, random, says_so: mode.says_so }
    }

    fn key(&mut self) -> String {
        format!("k{}", self.random.usize(..KEYS))
    }

    /// Calls at random, as bytes; what they will answer is awaited.
    fn calls(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.random.usize(1..=CALLS) {
            let (a, b) = (self.key(), self.key());
            let mut call = |awaited: &mut VecDeque<Awaited>, call: &str, keys: &[&String]| {
                let words: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
                bytes.extend(encode(&words));
                awaited.push_back(keys.iter().map(|key| (*key).clone()).collect());
            };
            let awaited = &mut self.awaited;
            let kind = self.random.u8(..10);
            if self.says_so && kind < 7 {
                call(awaited, "CLIENT CACHING YES", &[]);
            }
            match kind {
                0..3 => call(awaited, &format!("GET {a}"), &[&a]),
                3 => call(awaited, &format!("MGET {a} {b}"), &[&a, &b]),
                4 => {
                    let script = "return{redis.call('get',KEYS[1]),redis.call('get',KEYS[2])}";
                    call(awaited, &format!("EVAL_RO {script} 2 {a} {b}"), &[&a, &b]);
                }
                5 => {
                    call(awaited, "MULTI", &[]);
                    call(awaited, &format!("GET {a}"), &[]);
                    call(awaited, &format!("GET {b}"), &[]);
                    call(awaited, "EXEC", &[&a, &b]);
                }
                6 => {
                    // What is read behind the write is good, what is read before it is not.
                    let script = "redis.call('incr',KEYS[1]);return{redis.call('get',KEYS[1])}";
                    call(awaited, &format!("EVAL {script} 1 {a}"), &[&a]);
                }
                7 | 8 => call(awaited, &format!("INCR {a}"), &[]),
                _ => call(awaited, &format!("SET {a} {}", self.random.u32(..)), &[]),
            }
        }
        bytes
    }

    /// Takes what comes next: a reply, or an invalidation.
    fn receive(&mut self) {
        let received = self.connection.receive().expect("a reply");
        if let Reply::Array(items) = &received
            && matches!(items.first(), Some(Reply::Bulk(Some(word))) if word == b"invalidate")
        {
            let Some(Reply::Array(keys)) = items.get(1) else { return self.copies.clear() };
            keys.iter().for_each(|key| drop(self.copies.remove(&key.to_string())));
            return;
        }
        let keys = self.awaited.pop_front().expect("it was asked for");
        match (&keys[..], received) {
            ([], _) => {}
            ([key], value @ Reply::Bulk(_)) => drop(self.copies.insert(key.clone(), value)),
            (keys, Reply::Array(values)) => {
                assert_eq!(keys.len(), values.len());
                self.copies.extend(keys.iter().cloned().zip(values));
            }
            (keys, other) => panic!("{keys:?}: {other}"),
        }
    }

    /// Makes calls and takes all of their replies.
    fn run(&mut self) {
        for _ in 0..PIPELINES {
            let calls = self.calls();
            self.connection.send(&calls).expect("the server reads");
            while !self.awaited.is_empty() {
                self.receive();
            }
        }
    }

    /// Takes what was pushed so far: that comes behind the first of these replies at the latest.
    fn catch_up(&mut self) {
        for _ in 0..2 {
            self.connection.send(&encode(&[b"PING"])).expect("the server reads");
            self.awaited.push_back(Vec::new());
            while !self.awaited.is_empty() {
                self.receive();
            }
        }
    }
}

/// Clients of all kinds read and write the same keys; whenever all stand still their copies are what
/// the server has.
fn no_copy_is_stale(args: &[&str]) {
    let server = Server::start(args);
    let (port, clients) = (server.port, MODES.len() * 2);
    let barrier = Barrier::new(clients);
    let kept: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                let (mode, barrier) = (MODES[number % MODES.len()], &barrier);
                scope.spawn(move || {
                    let mut client = Caching::open(port, mode, number as u64);
                    let mut plain = Connection::open(port).expect("the server listens");
                    let mut kept = 0;
                    for round in 0..ROUNDS {
                        client.run();
                        barrier.wait();
                        client.catch_up();
                        for (key, copy) in &client.copies {
                            let value = plain.call(&[b"GET", key.as_bytes()]).expect("a reply");
                            assert_eq!(*copy, value, "{key} of client {number}, round {round}");
                        }
                        kept += client.copies.len();
                        barrier.wait();
                    }
                    kept
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no copy is stale")).sum()
    });
    // They did keep some.
    assert!(kept > clients * ROUNDS, "{kept}");
}

#[test]
fn no_copy_is_stale_where_one_thread_serves() {
    no_copy_is_stale(&[]);
}

#[test]
fn no_copy_is_stale_where_threads_cross() {
    no_copy_is_stale(&["--io-threads", "4"]);
}

#[test]
fn no_copy_is_stale_where_batches_wait_for_the_disk() {
    no_copy_is_stale(&["--io-threads", "4", "--appendfsync", "always"]);
}
