//! Very many keys that expire at one time.

mod support;

use support::{Server, encode, eventually};

/// More than a walk of the writer would take as steps if they were counted.
const KEYS: usize = 50_000;

#[test]
fn keys_that_expire_together_all_go() {
    let server = Server::start(&["--appendfsync", "no"]);
    let mut client = server.connect();
    // The second burst meets what the first one has left behind.
    for burst in 0..2 {
        let time = client.call(&["EVAL", "return tonumber(redis.call('time')[1])", "0"]);
        let seconds: u64 = time.trim_start_matches(':').parse().expect("seconds");
        let at_ms = ((seconds + 5) * 1000).to_string();
        for first in (0..KEYS).step_by(1000) {
            let mut calls = Vec::new();
            for number in first..first + 1000 {
                let key = format!("key:{burst}:{number}");
                let words = [b"SET", key.as_bytes(), b"v", b"PXAT", at_ms.as_bytes()];
                calls.extend_from_slice(&encode(&words));
            }
            client.send(&calls);
            (0..1000).for_each(|_| assert_eq!(client.reply(), "+OK"));
        }
        assert_eq!(client.call(&["HSET", "hash", "f", "v", "g", "w"]), ":2");
        assert_eq!(client.call(&["HPEXPIRE", "hash", "100", "FIELDS", "1", "f"]), "[:1]");
        eventually("all have gone", || client.call(&["DBSIZE"]) == ":1");
        eventually("the field has gone", || client.call(&["HLEN", "hash"]) == ":1");
        assert_eq!(client.call(&["DEL", "hash"]), ":1");
    }
}

#[test]
fn that_expiry_is_behind_is_told() {
    let server = Server::start(&["--appendfsync", "no", "--enable-debug-command", "yes"]);
    let mut client = server.connect();
    let number = |info: &str, name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect("the field");
        line.trim_start_matches(':').trim().parse::<f64>().expect("a number")
    };
    assert_eq!(client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]), "+OK");
    let fill = "for i = 1, 5000 do redis.call('SET', i, 'v', 'PX', 1 + i % 2 * 1e9) end";
    assert_eq!(client.call(&["EVAL", fill, "0"]), "(nil)");
    let info = client.call(&["INFO", "stats"]);
    assert_eq!(number(&info, "expired_time_cap_reached_count"), 0.0);
    assert_eq!(client.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]), "+OK");
    eventually("all have gone", || client.call(&["DBSIZE"]) == ":2500");
    eventually("each full round counts", || {
        let info = client.call(&["INFO", "stats"]);
        number(&info, "expired_stale_perc") == 0.0
            && number(&info, "expired_time_cap_reached_count") >= 12.0
    });
    let info = client.call(&["INFO", "keyspace"]);
    let average = info.split("avg_ttl=").nth(1).and_then(|rest| rest.trim().parse::<f64>().ok());
    assert!(average.is_some_and(|ms| (0.9e9..=1e9).contains(&ms)), "{info}");
}

#[test]
fn memory_is_told_apart_from_data() {
    let server = Server::start(&["--appendfsync", "no"]);
    let mut client = server.connect();
    let read = |client: &mut support::Client| {
        let info = client.call(&["INFO", "everything"]);
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok()).expect("a number")
        };
        let used = field("used_memory");
        assert!(field("used_memory_startup") > 0);
        assert_eq!(field("used_memory_overhead") + field("used_memory_dataset"), used, "{info}");
        assert!(field("aof_current_size") >= field("aof_base_size"));
        (field("used_memory_overhead"), field("used_memory_dataset"), field("aof_current_size"))
    };
    let (overhead, dataset, _) = read(&mut client);
    let fill = "for i = 1, 20000 do redis.call('SET', i, ('v'):rep(200)) end";
    assert_eq!(client.call(&["EVAL", fill, "0"]), "(nil)");
    let (overhead_full, dataset_full, log) = read(&mut client);
    assert!(dataset_full > dataset + 4_000_000, "{dataset} {dataset_full}");
    assert!(overhead_full > 0 && overhead_full < overhead + 4_000_000);
    assert!(log > 4_000_000);
    assert_eq!(client.call(&["SAVE"]), "+OK");
    assert!(client.call(&["INFO", "persistence"]).contains("aof_base_size:"));
}
