//! Keyspace events beside those of the real server: the same calls, the same events in the same order.

mod support;

use std::process::{Child, Command, Stdio};

use support::{Client, Server, eventually};

/// Calls of every family; `#` starts a comment.
const CALLS: &str = include_str!("testdata/event-calls.txt");

/// A real server; `None` where it is not installed.
struct Real {
    child: Child,
    port: u16,
}

impl Real {
    fn start() -> Option<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .args(["--bind", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        eventually("the real server answers", || {
            support::Connection::open(port).is_ok_and(|mut c| c.call(&[b"PING"]).is_ok())
        });
        Some(Self { child, port })
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection that calls and one that listens.
struct Observed {
    caller: Client,
    listener: Client,
}

impl Observed {
    fn new(port: u16) -> Self {
        let mut caller = Client::open(port);
        let mut listener = Client::open(port);
        let set = ["CONFIG", "SET", "notify-keyspace-events", "KEAmn"];
        assert_eq!(caller.call(&set), "+OK");
        assert_eq!(listener.call(&["PSUBSCRIBE", "__key*"]), "[psubscribe, __key*, :1]");
        Self { caller, listener }
    }

    /// The reply of a call, and what was told of it.
    fn call(&mut self, words: &[&str]) -> (String, Vec<String>) {
        let reply = self.caller.call(words);
        self.caller.call(&["PUBLISH", "__key_end", ""]);
        let mut events = Vec::new();
        loop {
            let message = self.listener.reply();
            if message.contains("__key_end") {
                return (reply, events);
            }
            events.push(message.replace("pmessage, __key*, ", ""));
        }
    }
}

#[test]
fn the_events_are_those_of_the_real_server() {
    let Some(real) = Real::start() else {
        eprintln!("redis-server is not installed: nothing to compare with");
        return;
    };
    let server = Server::start(&["--databases", "16"]);
    let mut theirs = Observed::new(real.port);
    let mut ours = Observed::new(server.port);
    let mut differences = Vec::new();
    let mut told = 0;
    for line in CALLS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let (their_reply, their_events) = theirs.call(&words);
        let (our_reply, our_events) = ours.call(&words);
        assert_eq!(
            our_reply.starts_with('-'),
            their_reply.starts_with('-'),
            "{line}: {our_reply} instead of {their_reply}"
        );
        told += their_events.len();
        if our_events != their_events {
            differences.push(format!("{line}: {our_events:?} instead of {their_events:?}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(told > 200, "only {told} events");
}

#[test]
fn events_that_redis_7_0_does_not_have() {
    let server = Server::start(&[]);
    let mut ours = Observed::new(server.port);
    let mut check = |call: &str, expected: &[&str]| {
        let words: Vec<&str> = call.split(' ').collect();
        let (reply, events) = ours.call(&words);
        let told: Vec<String> = events
            .iter()
            .filter(|event| event.contains("__keyspace@"))
            .map(|event| event.trim_matches(['[', ']']).to_owned())
            .collect();
        let expected: Vec<String> =
            expected.iter().map(|name| format!("__keyspace@0__:h, {name}")).collect();
        assert_eq!(told, expected, "{call}: {reply}");
    };
    check("HSET h a 1 b 2 c 3 d 4", &["new", "hset"]);
    check("HPEXPIRE h 100000 FIELDS 2 a nofield", &["hexpire"]);
    check("HPEXPIRE h 100000 NX FIELDS 1 a", &[]);
    check("HPERSIST h FIELDS 1 a", &["hpersist"]);
    check("HPERSIST h FIELDS 1 a", &[]);
    check("HPEXPIREAT h 1 FIELDS 1 a", &["hdel"]);
    check("HPEXPIREAT h 1 FIELDS 3 b c d", &["hdel", "del"]);
}

#[test]
fn what_expires_is_told_whoever_finds_it() {
    let server = Server::start(&[]);
    let mut ours = Observed::new(server.port);
    ours.caller.call(&["CONFIG", "SET", "notify-keyspace-events", "Exh"]);
    ours.caller.call(&["PSETEX", "active", "30", "v"]);
    assert_eq!(ours.listener.reply(), "[pmessage, __key*, __keyevent@0__:expired, active]");
    ours.caller.call(&["HSET", "fields", "a", "1", "b", "2"]);
    assert_eq!(ours.listener.reply(), "[pmessage, __key*, __keyevent@0__:hset, fields]");
    ours.caller.call(&["HPEXPIRE", "fields", "30", "FIELDS", "1", "a"]);
    assert_eq!(ours.listener.reply(), "[pmessage, __key*, __keyevent@0__:hexpire, fields]");
    assert_eq!(ours.listener.reply(), "[pmessage, __key*, __keyevent@0__:hexpired, fields]");
    ours.caller.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    ours.caller.call(&["SET", "lazy", "v", "PX", "1"]);
    eventually("the key is seen to have expired", || ours.caller.call(&["GET", "lazy"]) == "(nil)");
    assert_eq!(ours.listener.reply(), "[pmessage, __key*, __keyevent@0__:expired, lazy]");
}

#[test]
fn who_reads_upon_an_event_sees_the_change() {
    let server = Server::start(&[]);
    let mut ours = Observed::new(server.port);
    ours.caller.call(&["CONFIG", "SET", "notify-keyspace-events", "E$"]);
    let mut reader = server.connect();
    for number in 0..500 {
        let value = number.to_string();
        ours.caller.send(&support::encode(&[b"SET", b"k", value.as_bytes()]));
        assert_eq!(ours.listener.reply(), "[pmessage, __key*, __keyevent@0__:set, k]");
        assert_eq!(reader.call(&["GET", "k"]), value);
        assert_eq!(ours.caller.reply(), "+OK");
    }
}

/// More than are told at a stretch: the writer goes on when they are, and order is kept.
#[test]
fn events_for_many_come_in_order() {
    let server = Server::start(&[]);
    let mut caller = server.connect();
    caller.call(&["CONFIG", "SET", "notify-keyspace-events", "E$"]);
    let patterns: Vec<String> = (1..=25).map(|n| format!("__keyevent{}", "*".repeat(n))).collect();
    let mut subscribe: Vec<&[u8]> = vec![b"PSUBSCRIBE"];
    subscribe.extend(patterns.iter().map(|pattern| pattern.as_bytes()));
    let mut listeners: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for listener in &mut listeners {
        listener.send(&support::encode(&subscribe));
        (0..25).for_each(|_| drop(listener.reply()));
    }
    let keys: Vec<String> = (0..40).map(|n| format!("k{n:02}")).collect();
    for key in &keys {
        caller.send(&support::encode(&[b"SET", key.as_bytes(), b"v"]));
    }
    keys.iter().for_each(|_| assert_eq!(caller.reply(), "+OK"));
    assert_eq!(caller.call(&["INCR", "k"]), ":1", "the writer goes on");
    for listener in &mut listeners {
        let told: Vec<String> = (0..40 * 25).map(|_| listener.reply()).collect();
        let keys_told: Vec<&str> = told
            .iter()
            .filter(|message| message.contains("[pmessage, __keyevent*, "))
            .filter_map(|message| message.trim_end_matches(']').rsplit(", ").next())
            .collect();
        assert_eq!(keys_told, keys);
    }
}
