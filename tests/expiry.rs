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
