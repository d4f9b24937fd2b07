//! Commands that change a great deal in one go run beside the writer's own thread: others read meanwhile,
//! and what they do is as if they had run in place.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod support;

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Client, Server, encode, eventually};

/// Elements, several times as many as a transaction may write in place.
const MANY: usize = 20_000;

/// Fills the hash `big`, a part at a time.
fn fill(client: &mut Client) {
    for part in 0..MANY / 1000 {
        let mut call = "HSET big".to_owned();
        for number in part * 1000..(part + 1) * 1000 {
            write!(call, " field:{number} {number}").unwrap();
        }
        let words: Vec<&str> = call.split(' ').collect();
        assert_eq!(client.call(&words), ":1000");
    }
}

fn calls(client: &mut Client, lines: &[&str]) -> Vec<String> {
    let mut pipeline = Vec::new();
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        pipeline.extend(support::encode(&words));
    }
    client.send(&pipeline);
    lines.iter().map(|_| client.reply()).collect()
}

/// How many reads another client is answered, one behind the other, while `run` goes on.
fn reads_beside(server: &Server, run: impl FnOnce()) -> usize {
    server.connect().call(&["SET", "key", "value"]);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reader = server.connect();
            let mut answered = 0;
            while !is_done.load(Ordering::Relaxed) {
                assert_eq!(reader.call(&["GET", "key"]), "value");
                answered += 1;
            }
            answered
        });
        run();
        is_done.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    })
}

#[test]
fn others_read_while_a_command_takes_long() {
    let server = Server::start(&["--io-threads", "1", "--appendfsync", "no"]);
    let mut client = server.connect();
    fill(&mut client);
    let answered = reads_beside(&server, || {
        for round in 0..5 {
            let name = format!("copy:{round}");
            assert_eq!(client.call(&["COPY", "big", &name]), ":1");
        }
    });
    assert!(answered > 100, "only {answered} reads were answered beside five long commands");
}

#[test]
fn a_long_command_has_its_place_among_the_others() {
    let mut server = Server::start(&["--appendfsync", "always", "--notify-keyspace-events", "KEA"]);
    let mut client = server.connect();
    fill(&mut client);
    let mut events = server.connect();
    events.send(&support::encode(&[b"PSUBSCRIBE", b"__keyevent@0__:copy_to"]));
    events.reply();
    let replies = calls(
        &mut client,
        &[
            "SET k 1",
            "COPY big second",
            "INCR k",
            "HLEN second",
            "HINCRBY second field:7 1",
            "COPY second third",
            "HGET third field:7",
            "COPY big second",
            "GET k",
        ],
    );
    let expected = ["+OK", ":1", ":2", ":20000", ":8", ":1", "8", ":0", "2"];
    assert_eq!(replies, expected);
    for key in ["second", "third"] {
        assert!(events.reply().contains(key));
    }
    let replies = calls(
        &mut client,
        &["MULTI", "SET m 1", "COPY big fourth", "INCR m", "HLEN fourth", "EXEC", "GET m"],
    );
    assert!(replies[5].contains(":20000"), "{}", replies[5]);
    assert_eq!(replies[6], "2");
    let script = "return(redis.call('copy','big','fifth'))";
    assert_eq!(client.call(&["EVAL", script, "2", "big", "fifth"]), ":1");
    server.kill_and_restart();
    let mut client = server.connect();
    for key in ["second", "third", "fourth", "fifth"] {
        assert_eq!(client.call(&["HLEN", key]), ":20000", "{key}");
    }
    assert_eq!(client.call(&["HGET", "third", "field:7"]), "8");
    assert_eq!(client.call(&["GET", "k"]), "2");
}

#[test]
fn a_long_command_serves_those_who_wait() {
    let server = Server::start(&["--appendfsync", "no"]);
    let mut client = server.connect();
    fill(&mut client);
    let mut waiting = server.connect();
    waiting.send(&support::encode(&[b"BLPOP", b"list", b"0"]));
    support::eventually("a client waits", || {
        client.call(&["INFO", "clients"]).contains("blocked_clients:1")
    });
    // The list is made by a transaction that has copied all of the hash as well.
    let script = "redis.call('copy','big','other') return(redis.call('rpush','list','a','b'))";
    assert_eq!(client.call(&["EVAL", script, "3", "big", "other", "list"]), ":2");
    assert!(waiting.reply().contains('a'));
    assert_eq!(client.call(&["LLEN", "list"]), ":1");
    let mut call = "SADD set".to_owned();
    (0..MANY).for_each(|number| write!(call, " {number}").unwrap());
    let words: Vec<&str> = call.split(' ').collect();
    assert_eq!(client.call(&words), ":20000");
    assert_eq!(client.call(&["SCARD", "set"]), ":20000");
    call.replace_range(.."SADD".len(), "SREM");
    let words: Vec<&str> = call.split(' ').collect();
    assert_eq!(client.call(&words), ":20000");
    assert_eq!(client.call(&["EXISTS", "set"]), ":0");
}

/// A call that may wait for keys, and walks further than the writer allows in one go.
#[test]
fn a_long_delivery_of_a_group_is_warmed_once() {
    const ENTRIES: usize = 40_000;

    let server = Server::start(&["--appendfsync", "no"]);
    let mut client = server.connect();
    for part in 0..ENTRIES / 1000 {
        let mut pipeline = Vec::new();
        for number in part * 1000..(part + 1) * 1000 {
            let id = format!("{}-1", number + 1);
            pipeline.extend(support::encode(&[b"XADD", b"s", id.as_bytes(), b"f", b"v"]));
        }
        client.send(&pipeline);
        (0..1000).for_each(|_| drop(client.reply()));
    }
    client.call(&["XGROUP", "CREATE", "s", "g", "0"]);
    // What has gathered is put in order by the first walk: that may be one more.
    client.call(&["XLEN", "s"]);
    client.call(&["XRANGE", "s", "-", "+", "COUNT", "40000"]);
    let warmed = |client: &mut Client| {
        let info = client.call(&["INFO", "everything"]);
        let (_, rest) = info.split_once("writes_warmed:").unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap()
    };
    let before = warmed(&mut client);
    let count = ENTRIES.to_string();
    let call = ["XREADGROUP", "GROUP", "g", "c", "COUNT", &count, "STREAMS", "s", ">"];
    let delivered = client.call(&call);
    assert_eq!(delivered.matches("-1").count(), ENTRIES);
    assert!(warmed(&mut client) <= before + 2, "{} times", warmed(&mut client) - before);
}

#[test]
fn others_read_while_long_strings_are_combined() {
    let server = Server::start(&["--io-threads", "1", "--appendfsync", "no"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SETBIT", "big", "134217727", "1"]), ":0");
    let answered = reads_beside(&server, || {
        for round in 0..5 {
            let name = format!("not:{round}");
            assert_eq!(client.call(&["BITOP", "NOT", &name, "big"]), ":16777216");
        }
    });
    assert!(answered > 100, "only {answered} reads were answered beside five long commands");
    assert_eq!(client.call(&["BITCOUNT", "not:4"]), ":134217727");
}

/// Bytes of all tables.
fn tables_bytes(client: &mut Client) -> usize {
    let info = client.call(&["INFO", "lsm"]);
    let field = info.lines().find_map(|line| line.strip_prefix("tables_bytes:"));
    field.expect("the field is there").trim().parse().expect("a number")
}

#[test]
fn the_space_of_a_large_value_comes_back_without_a_command() {
    const MIB: usize = 1 << 20;
    let mut server = Server::start(&["--maxmemory", "64mb", "--appendfsync", "everysec"]);
    let mut client = server.connect();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..48 {
        // Of what cannot be compressed.
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(MIB).collect();
        client.send(&encode(&[b"APPEND".as_slice(), b"large", &bytes]));
        assert!(client.reply().starts_with(':'));
    }
    // At rest: nothing meets them by itself any more.
    eventually("all is in place", || {
        let info = client.call(&["INFO", "lsm"]);
        let is = |field: &str| info.lines().any(|line| line.trim() == field);
        is("compactions_running:0") && is("sealed_memtables:0") && is("compaction_debt_bytes:0")
    });
    assert!(tables_bytes(&mut client) > 24 * MIB);
    assert_eq!(client.call(&["DEL", "large"]), ":1");
    eventually("the space is back", || tables_bytes(&mut client) < 10 * MIB);
    server.kill_and_restart();
    assert_eq!(server.connect().call(&["EXISTS", "large"]), ":0");
}
