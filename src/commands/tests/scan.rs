use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::Harness;
use super::store::Store;
use crate::protocol::Reply;

/// One call: the next cursor and the keys.
fn step(server: &mut Harness, cursor: u64, options: &str) -> (u64, Vec<Bytes>) {
    let call: Vec<Bytes> = format!("SCAN {cursor} {options}")
        .split_whitespace()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    let Ok(Reply::Array(mut parts)) = server.call(&call) else { panic!("an array") };
    let (Some(Reply::Array(keys)), Some(Reply::Bulk(cursor))) = (parts.pop(), parts.pop()) else {
        panic!("a cursor and keys")
    };
    let keys = keys.into_iter().map(|key| match key {
        Reply::Bulk(key) => key,
        other => panic!("{other:?}"),
    });
    (std::str::from_utf8(&cursor).unwrap().parse().unwrap(), keys.collect())
}

fn scan_all(server: &mut Harness, options: &str) -> Vec<Bytes> {
    let mut all = Vec::new();
    let mut cursor = 0;
    loop {
        let (next, keys) = step(server, cursor, options);
        all.extend(keys);
        if next == 0 {
            return all;
        }
        cursor = next;
    }
}

#[test]
fn the_mean_time_to_live_is_told_from_a_few_keys() {
    let mut server = Harness::over(Store::disk());
    let average = |server: &Harness| {
        server.store.with_read(|read| {
            let view = crate::data::View::new(read, server.context()).unwrap();
            crate::commands::random::average_ttl_ms(&view).unwrap()
        })
    };
    assert_eq!(average(&server), 0);
    server.run("SET forever v");
    assert_eq!(average(&server), 0);
    server.run("SET a v PX 1000");
    server.run("SET b v PX 3000");
    assert_eq!(average(&server), 2000);
    for n in 0..500 {
        server.run(&format!("SET key:{n} v PX {}", 50_000 + n));
    }
    // Two of 502 keys are short-lived, and count no more than others.
    assert_eq!(average(&server), (4000 + 500 * 50_000 + 499 * 250) / 502);
    for n in 0..500 {
        server.run(&format!("SET other:{n} v PX {}", 950_000 + 7 * n));
    }
    // Told from a sample now: half a million, but for what chance does.
    fastrand::seed(1);
    let mean = (0..100).map(|_| average(&server)).sum::<u64>() / 100;
    assert!((400_000..650_000).contains(&mean), "{mean}");
}

#[test]
fn the_share_of_keys_that_are_overdue_is_told_from_a_few() {
    let mut server = Harness::over(Store::disk());
    let share = |server: &Harness, after_ms: u64| {
        server.store.with_read(|read| {
            let mut context = server.context();
            context.now_ms += after_ms;
            let view = crate::data::View::new(read, context).unwrap();
            crate::commands::random::overdue_share(&view).unwrap()
        })
    };
    assert_eq!(share(&server, 0), 0.0);
    for n in 0..1000 {
        server.run(&format!("SET key:{n} v PX {}", 1000 + n));
    }
    assert_eq!((share(&server, 500), share(&server, 2000)), (0.0, 1.0));
    fastrand::seed(1);
    let mean = (0..100).map(|_| share(&server, 1250)).sum::<f64>() / 100.0;
    assert!((0.15..0.35).contains(&mean), "{mean}");
}

fn populate(server: &mut Harness, prefix: &str, count: usize) {
    for n in 0..count {
        server.run(&format!("SET {prefix}{n:05} v"));
    }
}

#[test]
fn a_walk_meets_every_key_once() {
    let mut server = Harness::new();
    assert_eq!(step(&mut server, 0, ""), (0, vec![]));
    populate(&mut server, "key:", 1000);
    for options in
        ["", "COUNT 1", "COUNT 999", "COUNT 1000", "COUNT 5000", "MATCH *", "TYPE string"]
    {
        let keys = scan_all(&mut server, options);
        assert_eq!(keys.len(), 1000, "{options}");
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 1000, "{options}");
    }
    assert_eq!(step(&mut server, 0, "COUNT 7").1.len(), 7);
    assert_eq!(scan_all(&mut server, "TYPE list"), Vec::<Bytes>::new());
    assert_eq!(scan_all(&mut server, "TYPE nonsense"), Vec::<Bytes>::new());
    assert_eq!(scan_all(&mut server, "TYPE STRING MATCH key:0001?").len(), 10);
}

#[test]
fn a_literal_prefix_bounds_the_walk() {
    let mut server = Harness::new();
    populate(&mut server, "key:", 500);
    populate(&mut server, "user:", 5);
    assert_eq!(step(&mut server, 0, "MATCH user:*").1.len(), 5);
    assert_eq!(
        step(&mut server, 0, "MATCH user:* COUNT 5"),
        (0, step(&mut server, 0, "MATCH user:*").1)
    );
    assert_eq!(step(&mut server, 0, "MATCH key:00007").1, [Bytes::from("key:00007")]);
    assert_eq!(step(&mut server, 0, "MATCH nobody:*"), (0, vec![]));
    // A cursor of another pattern is as good as any.
    let (cursor, _) = step(&mut server, 0, "MATCH key:*");
    assert_eq!(step(&mut server, cursor, "MATCH user:*").1.len(), 5);
    let (cursor, _) = step(&mut server, 0, "MATCH user:* COUNT 2");
    assert_eq!(step(&mut server, cursor, "MATCH key:*"), (0, vec![]));
    assert_eq!(server.run("KEYS user:0000[1-2]"), "[\"user:00001\" \"user:00002\"]");
    assert_eq!(server.run("KEYS key:0001\\0"), "[\"key:00010\"]");
    assert_eq!(server.run("KEYS nobody"), "[]");
    assert_eq!(server.run("KEYS *").matches(':').count(), 505);
}

/// Scans to the end, and forgets every cursor that it is given; answers all keys and the calls.
fn scan_forgetful(server: &mut Harness, options: &str) -> (BTreeSet<Bytes>, usize) {
    let (mut all, mut cursor, mut calls) = (BTreeSet::new(), 0, 0);
    loop {
        let (next, keys) = step(server, cursor, options);
        all.extend(keys);
        calls += 1;
        if next == 0 {
            return (all, calls);
        }
        assert!(calls < 5000, "no end");
        server.cursors = crate::data::Cursors::default();
        cursor = next;
    }
}

#[test]
fn a_walk_ends_though_every_cursor_is_forgotten() {
    for prefix in ["", "key:", "the:keys:of:this:application:have:a:very:long:name:"] {
        let mut server = Harness::new();
        populate(&mut server, prefix, 3000);
        for options in ["COUNT 1", "COUNT 10", "COUNT 700", "MATCH *"] {
            let (keys, calls) = scan_forgetful(&mut server, options);
            assert_eq!(keys.len(), 3000, "{prefix} {options}");
            assert!(options != "COUNT 10" || calls <= 301, "{calls} calls for {prefix}");
        }
        // One key that begins otherwise, and there is nothing in common any more.
        let (cursor, seen) = step(&mut server, 0, "COUNT 2000");
        server.run("SET 000 v");
        server.cursors = crate::data::Cursors::default();
        let (next, keys) = step(&mut server, cursor, "COUNT 5000");
        assert_eq!(next, 0);
        let seen: BTreeSet<Bytes> = seen.into_iter().chain(keys).collect();
        assert!(seen.len() >= 3000, "{prefix}: {}", seen.len());
    }
}

#[test]
fn walks_over_the_engine() {
    let mut server = Harness::over(Store::disk());
    populate(&mut server, "key:", 2000);
    populate(&mut server, "user:", 300);
    for n in (0..2000).step_by(3) {
        server.run(&format!("DEL key:{n:05}"));
    }
    server.store.compact();
    assert_eq!(scan_all(&mut server, "COUNT 100").len(), 1333 + 300);
    assert_eq!(scan_all(&mut server, "MATCH user:* COUNT 7").len(), 300);
    assert_eq!(server.run("KEYS user:0000?").matches("user").count(), 10);
    assert_ne!(server.run("RANDOMKEY"), "nil");
    server.store.reopen();
    assert_eq!(scan_all(&mut server, "COUNT 100").len(), 1333 + 300);
    assert!(server.blocked > 0, "some reads would have waited");
    server.script("DBSIZE -> 1633\n FLUSHDB -> +OK\n RANDOMKEY -> nil\n KEYS * -> []");
}

#[test]
fn syntax() {
    let mut server = Harness::new();
    server.script(
        "SCAN abc -> -ERR invalid cursor
         SCAN -1 -> -ERR invalid cursor
         SCAN +0 -> [\"0\" []]
         SCAN -0 -> [\"0\" []]
         SCAN 007 -> [\"0\" []]
         SCAN -05 -> [\"0\" []]
         SCAN + -> -ERR invalid cursor
         SCAN 0x -> -ERR invalid cursor
         SCAN 18446744073709551616 -> -ERR invalid cursor
         SCAN 0 COUNT 0 -> -ERR syntax error
         SCAN 0 COUNT -1 -> -ERR syntax error
         SCAN 0 COUNT x -> -ERR value is not an integer or out of range
         SCAN 0 COUNT -> -ERR syntax error
         SCAN 0 BAD 1 -> -ERR syntax error
         SCAN 18446744073709551615 -> [\"0\" []]",
    );
}

#[test]
fn an_empty_key_matches_one_star_only() {
    let mut server = Harness::new();
    server.run_words(&[Bytes::from_static(b"SET"), Bytes::new(), Bytes::from_static(b"v")]);
    server.script(
        r#"
        KEYS * -> [""]
        SCAN 0 MATCH * -> ["0" [""]]
        KEYS ** -> []
        SCAN 0 MATCH ** -> ["0" []]"#,
    );
}

#[test]
fn cursors_are_read_as_texts_of_c() {
    let mut server = Harness::new();
    let mut scan = |cursor: &'static [u8]| {
        server.run_words(&[Bytes::from_static(b"SCAN"), Bytes::from_static(cursor)])
    };
    assert_eq!(scan(b" \t0"), "[\"0\" []]");
    assert_eq!(scan(b"0\0x"), "[\"0\" []]");
    for bad in [&b""[..], b" ", b"0 ", b"- 1", b"\0"] {
        assert_eq!(scan(bad), "-ERR invalid cursor", "{bad:?}");
    }
}

#[test]
fn expired_keys_do_not_come_and_are_deleted() {
    let mut server = Harness::new();
    populate(&mut server, "key:", 100);
    server.run("SET foo bar PX 1");
    server.now_ms += 2;
    assert_eq!(scan_all(&mut server, "").len(), 100);
    server.script("DBSIZE -> 100");
}

#[test]
fn randomkey_finds_every_key() {
    let mut server = Harness::new();
    assert_eq!(server.run("RANDOMKEY"), "nil");
    server.script("MSET foo 1 bar 2 -> +OK");
    let seen: BTreeSet<String> = (0..100).map(|_| server.run("RANDOMKEY")).collect();
    assert_eq!(seen.len(), 2);
    server.script("FLUSHALL -> +OK");
    populate(&mut server, "key:", 200);
    server.script("SET key: v -> +OK\n SET k v -> +OK");
    let seen: BTreeSet<String> = (0..5000).map(|_| server.run("RANDOMKEY")).collect();
    assert_eq!(seen.len(), 202);
}

#[test]
fn randomkey_among_expired_keys() {
    let mut server = Harness::new();
    server.reaps = false;
    for n in 0..300 {
        server.run(&format!("SET key:{n} v PX 1"));
    }
    server.now_ms += 1;
    server.script("RANDOMKEY -> nil\n SET last v -> +OK\n RANDOMKEY -> \"last\"");
}

#[derive(Debug, Clone)]
enum Event {
    Step(u8),
    Insert(Vec<u8>),
    Delete(Vec<u8>),
    Restart,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Short, of few bytes, zeros among them: many share the three bytes that a cursor carries.
    proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(b'b'), Just(255)], 0..6)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_u8..6).prop_map(Event::Step),
        3 => key().prop_map(Event::Insert),
        3 => key().prop_map(Event::Delete),
        1 => Just(Event::Restart),
    ]
}

proptest! {
    /// What is there from the first call to the last is returned, whatever happens in between.
    #[test]
    fn what_stays_is_returned(
        start in proptest::collection::btree_set(key(), 0..60),
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let mut server = Harness::new();
        let word = |text: &'static str| Bytes::from_static(text.as_bytes());
        for key in &start {
            server.call(&[word("SET"), key.clone().into(), word("v")]).unwrap();
        }
        let mut stays = start;
        let mut seen = BTreeSet::new();
        let mut cursor = 0;
        let mut finished = false;
        for event in events {
            match event {
                Event::Step(count) if !finished => {
                    let (next, keys) = step(&mut server, cursor, &format!("COUNT {count}"));
                    seen.extend(keys.iter().map(|key| key.to_vec()));
                    cursor = next;
                    finished = next == 0;
                }
                Event::Step(_) => {}
                Event::Insert(key) => {
                    server.call(&[word("SET"), key.into(), word("v")]).unwrap();
                }
                Event::Delete(key) => {
                    stays.remove(&key);
                    server.call(&[word("DEL"), key.into()]).unwrap();
                }
                Event::Restart => server.cursors = crate::data::Cursors::default(),
            }
            if finished {
                break;
            }
        }
        for _ in 0..1000 {
            if finished {
                break;
            }
            let (next, keys) = step(&mut server, cursor, "COUNT 3");
            seen.extend(keys.iter().map(|key| key.to_vec()));
            cursor = next;
            finished = next == 0;
        }
        prop_assert!(finished, "the walk ends");
        prop_assert!(stays.is_subset(&seen), "missed {:?}", stays.difference(&seen));
        server.store.check();
    }
}
