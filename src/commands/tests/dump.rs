//! `DUMP` and `RESTORE`: payloads of Redis and ours, options, errors.

use bytes::Bytes;

use super::collections::{BOTH, sorted};
use super::{Harness, START_MS};
use crate::data::Packing;
use crate::protocol::Reply;

impl Harness {
    /// What `DUMP` answers for a key that is there.
    #[track_caller]
    pub(super) fn dump(&mut self, key: &str) -> Bytes {
        match self.call(&[Bytes::from("dump"), Bytes::copy_from_slice(key.as_bytes())]) {
            Ok(Reply::Bulk(payload)) => payload,
            other => panic!("DUMP of {key}: {other:?}"),
        }
    }

    /// Calls `RESTORE` with `line` (key, time and options between blanks), and checks the store.
    #[track_caller]
    pub(super) fn restore(&mut self, line: &str, payload: &Bytes) -> String {
        let mut words: Vec<Bytes> = std::iter::once("restore")
            .chain(line.split_whitespace())
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        words.insert(3, payload.clone());
        let answer = self.run_words(&words);
        self.store.check();
        answer
    }

    /// All that a key holds, as text.
    pub(super) fn content(&mut self, key: &str) -> String {
        let kind = self.run(&format!("type {key}"));
        let lines = match &kind[1..] {
            "string" => vec![self.run(&format!("get {key}"))],
            "list" => vec![self.run(&format!("lrange {key} 0 -1"))],
            "set" => sorted(&self.run(&format!("smembers {key}"))),
            "zset" => vec![self.run(&format!("zrange {key} 0 -1 withscores"))],
            "hash" => self.hash_content(key),
            "stream" => self.stream_content(key),
            _ => vec![],
        };
        format!("{kind} {}", lines.join(" "))
    }

    fn hash_content(&mut self, key: &str) -> Vec<String> {
        let Ok(Reply::Map(pairs)) = self.call(&[Bytes::from("hgetall"), key.to_owned().into()])
        else {
            panic!("no hash at {key}")
        };
        let mut lines = Vec::new();
        for (field, value) in pairs {
            let Reply::Bulk(name) = &field else { panic!("{field:?}") };
            let words =
                ["hpexpiretime", key, "fields", "1"].map(|word| Bytes::from(word.to_owned()));
            let expiry = self.run_words(&[&words[..], std::slice::from_ref(name)].concat());
            lines.push(format!("{field:?}={value:?}@{expiry}"));
        }
        lines.sort();
        lines
    }

    fn stream_content(&mut self, key: &str) -> Vec<String> {
        let mut lines = vec![self.run(&format!("xrange {key} - +"))];
        lines.push(self.run(&format!("xinfo stream {key}")));
        let groups = self.run(&format!("xinfo groups {key}"));
        for group in ["g", "h"].into_iter().filter(|group| groups.contains(&format!("\"{group}\"")))
        {
            lines.push(self.run(&format!("xpending {key} {group}")));
        }
        lines.push(groups);
        lines
    }
}

fn from_hex(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect::<Vec<_>>().into()
}

/// Each line of the file: commands that make the key `k`, and what Redis 7.0.15 answers to `DUMP k`
/// behind them (with other thresholds for some).
const OF_REDIS: &str = include_str!("../../../tests/testdata/redis-7.0-dumps.txt");

pub(super) fn payloads_of_redis() -> impl Iterator<Item = (&'static str, Bytes)> {
    OF_REDIS.lines().map(|line| {
        let (commands, hex) = line.split_once(" => ").unwrap();
        (commands, from_hex(hex))
    })
}

#[test]
fn payloads_of_redis_are_restored() {
    for packing in BOTH {
        for (commands, payload) in payloads_of_redis() {
            let mut server = Harness::new();
            server.packing = packing;
            for command in commands.split("; ") {
                let answer = server.run(command);
                assert!(!answer.starts_with('-'), "{command}: {answer}");
            }
            assert_eq!(server.restore("r 0", &payload), "+OK", "{commands}");
            assert_eq!(server.content("r"), server.content("k"), "{commands}");
            let kind = server.run("object encoding k");
            assert_eq!(server.run("object encoding r"), kind, "{commands}");
            let ours = server.dump("r");
            assert_eq!(server.restore("again 0", &ours), "+OK", "{commands}");
            assert_eq!(server.content("again"), server.content("k"), "{commands}");
        }
    }
}

/// Where Redis compresses nothing and has a small value in one piece, the payload is the same.
#[test]
fn small_payloads_are_those_of_redis() {
    let mut same = Vec::new();
    for (commands, payload) in payloads_of_redis() {
        let mut server = Harness::new();
        for command in commands.split("; ") {
            server.run(command);
        }
        if server.dump("k") == payload {
            same.push(commands.split(' ').next().unwrap());
        }
    }
    let small = ["set", "set", "set", "set", "set", "sadd", "sadd"];
    assert_eq!(same, small);
}

/// Many elements of many lengths, and integers, under both packings.
#[test]
fn large_values_come_back_as_they_were() {
    for packing in [Packing::DEFAULT, BOTH[1]] {
        let mut server = Harness::new();
        server.packing = packing;
        for n in 0..700 {
            let long = "x".repeat(n % 97 * 3);
            let integer = (1_i64 << (n % 63)) - 300;
            server.run(&format!("hset h f{n} {integer} {integer} v{long} p{n} 1"));
            server.run(&format!("hpexpire h {} fields 1 p{n}", 10_000 + n * 7));
            server.run(&format!("hset plain f{n} v{long}"));
            server.run(&format!("sadd s {integer} m{n}{long}"));
            server.run(&format!("sadd ints {}", n * n));
            server.run(&format!("zadd z {} m{n}{long} {integer} {integer}", n as f64 / 7.0));
            server.run(&format!("rpush l {integer} e{n}{long}"));
            server.run(&format!("xadd x {n}-{n} a{} {integer} b v{long}", n / 50));
        }
        server.run(&format!("rpush l {} {}", "y".repeat(9000), "z".repeat(100_000)));
        server.run(&format!("set str {}", "abcdefg".repeat(400_000)));
        server.run("setrange sparse 2000000 x");
        server.run("linsert l before e5xxxxxxxxxxxxxxx between");
        for key in ["h", "plain", "s", "ints", "z", "l", "x", "str", "sparse"] {
            let payload = server.dump(key);
            assert_eq!(server.restore("r 0 replace", &payload), "+OK", "{key}");
            assert!(server.content("r") == server.content(key), "{key}");
            assert_eq!(server.dump("r").len(), payload.len(), "{key}");
        }
    }
}

#[test]
fn options_and_errors() {
    let mut server = Harness::new();
    server.script("set k v -> +OK");
    let payload = server.dump("k");
    for (line, answer) in [
        ("k 0", "-BUSYKEY Target key name already exists."),
        ("k x", "-BUSYKEY Target key name already exists."),
        ("k 0 replace", "+OK"),
        ("r 0", "+OK"),
        ("r 0 replace REPLACE absttl ABSTTL", "+OK"),
        ("r 0 replaced", "-ERR syntax error"),
        ("r -1 replace", "-ERR Invalid TTL value, must be >= 0"),
        ("r x replace", "-ERR value is not an integer or out of range"),
        ("r 0 replace idletime", "-ERR syntax error"),
        ("r 0 replace idletime x", "-ERR value is not an integer or out of range"),
        ("r 0 replace idletime -1", "-ERR Invalid IDLETIME value, must be >= 0"),
        ("r 0 replace freq -1", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ("r 0 replace freq 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ("r 0 replace freq 1 idletime 1", "-ERR syntax error"),
        ("r 0 replace idletime 1 freq 1", "-ERR syntax error"),
        ("r 0 replace idletime 1 idletime 2", "+OK"),
    ] {
        assert_eq!(server.restore(line, &payload), answer, "{line}");
    }
    let mut words: Vec<Bytes> = ["restore-asking", "asked", "0"].map(Bytes::from).to_vec();
    words.push(payload);
    assert_eq!(server.run_words(&words), "+OK");
    server.script("get asked -> \"v\"\ndump nosuch -> nil");
}

#[test]
fn the_payload_is_checked_last_and_its_frame_first() {
    let mut server = Harness::new();
    server.script("set k v -> +OK");
    let good = server.dump("k");
    let wrong = "-ERR DUMP payload version or checksum are wrong";
    for len in 0..good.len() {
        assert_eq!(server.restore("r 0", &good.slice(..len)), wrong, "{len}");
        let mut bad = good.to_vec();
        bad[len] ^= 1;
        assert_eq!(server.restore("r 0", &bad.into()), wrong, "{len}");
    }
    let body = crate::data::payload::Payload::new(0).string(b"v");
    assert_eq!(server.restore("old 0", &body.clone().sealed(1)), "+OK");
    assert_eq!(server.restore("new 0", &body.clone().sealed(12)), "+OK");
    assert_eq!(server.restore("r 0", &body.sealed(13)), wrong);
    assert_eq!(server.restore("r -1", &good.slice(1..)), "-ERR Invalid TTL value, must be >= 0");
    assert_eq!(server.run("exists r"), "0");
}

#[test]
fn a_key_expires_when_the_call_says() {
    let mut server = Harness::new();
    server.script("rpush k a b c -> 3\nexpire k 100 -> 1");
    let payload = server.dump("k");
    assert_eq!(server.restore("r 5000", &payload), "+OK");
    assert_eq!(server.run("pttl r"), "5000");
    assert_eq!(server.restore("r 0 replace", &payload), "+OK");
    assert_eq!(server.run("pttl r"), "-1", "the payload does not say");
    assert_eq!(server.restore(&format!("r {} absttl replace", START_MS + 1), &payload), "+OK");
    assert_eq!(server.run("pttl r"), "1");
    let longest = i64::MAX.to_string();
    for line in [format!("r {longest} replace"), format!("r {longest} absttl replace")] {
        assert_eq!(server.restore(&line, &payload), "+OK");
        assert_eq!(server.run("pexpiretime r"), longest);
    }
}

#[test]
fn what_has_expired_already_is_not_made() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.script("zadd k 1 a 2 b -> 2\nset r v -> +OK");
        let payload = server.dump("k");
        let records = server.store.len();
        assert_eq!(server.restore(&format!("new {START_MS} absttl"), &payload), "+OK");
        assert_eq!(server.store.len(), records, "nothing was written");
        assert_eq!(server.restore("r 1 absttl replace", &payload), "+OK");
        server.script("dbsize -> 1\nexists r new -> 0");
        let bad = crate::data::payload::Payload::new(99).sealed(10);
        assert_eq!(server.restore("k 1 absttl replace", &bad), "-ERR Bad data format");
        server.script("exists k -> 1");
    }
}

#[test]
fn idle_time_and_frequency_are_set_where_they_are_looked_at() {
    let mut server = Harness::new();
    server.script("set k v -> +OK");
    let payload = server.dump("k");
    assert_eq!(server.restore("r 0 idletime 1000", &payload), "+OK");
    assert_eq!(server.restore("s 0 freq 100", &payload), "+OK");
    server.script("object idletime r -> 1000\nobject idletime s -> 0");
    server.access.set_prefers_frequency(true);
    assert_eq!(server.restore("r 0 idletime 1000 replace", &payload), "+OK");
    assert_eq!(server.restore("s 0 freq 100 replace", &payload), "+OK");
    server.script("object freq s -> 100");
    server.script("object freq r -> 5");
}

#[test]
fn dumping_hides_fields_that_have_expired() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.reaps = false;
        server.script(
            "hset h a 1 b 2 c 3 -> 3
             hpexpire h 10 fields 1 a -> [1]
             hpexpire h 1000 fields 1 b -> [1]",
        );
        let with_all = server.dump("h");
        server.now_ms += 10;
        let payload = server.dump("h");
        assert_eq!(server.restore("r 0", &payload), "+OK");
        assert_eq!(server.content("r"), server.content("h"));
        server.script("hlen r -> 2\nhpttl r fields 3 a b c -> [-2 990 -1]");
        // One that has expired since the dump is there until it is met.
        assert_eq!(server.restore("late 0", &with_all), "+OK");
        server.script("hget late a -> nil\nhget late b -> \"2\"");
        server.script("hdel h c -> 1");
        server.now_ms += 1000;
        server.script("dump h -> nil");
    }
}
