//! What holds for collections of every type.

use bytes::Bytes;

use super::store::Store;
use super::transactions::words;
use super::{Harness, text};
use crate::data::{Packing, View};
use crate::protocol::Reply;

/// The settings of a server, and such that nothing stays in one record.
pub(super) const BOTH: [Packing; 2] = [
    Packing::DEFAULT,
    Packing {
        hash_entries: 0,
        hash_value: 0,
        set_integers: 0,
        set_entries: 0,
        set_value: 0,
        stream_entries: 1,
        stream_bytes: 1,
        list_size: 1,
        zset_entries: 0,
        zset_value: 0,
    },
];

/// Runs the same lines over small and over exploded collections.
pub(super) fn both(lines: &str) {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.script(lines);
    }
}

/// The words within the brackets of a reply, sorted.
pub(super) fn sorted(reply: &str) -> Vec<String> {
    let inner = reply.trim_start_matches('~').trim_start_matches('[').trim_end_matches(']');
    let mut words: Vec<String> = inner.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

#[test]
fn generic_commands_know_collections() {
    both(
        "hset h a 1 b 2 -> 2
         sadd s x y -> 2
         type h -> +hash
         type s -> +set
         scan 0 type hash -> [\"0\" [\"h\"]]
         scan 0 type set -> [\"0\" [\"s\"]]
         copy h i -> 1
         copy s t db 1 -> 1
         hset i a 9 -> 0
         hget h a -> \"1\"
         rename i h -> +OK
         hget h a -> \"9\"
         hget h b -> \"2\"
         renamenx s h -> 0
         move s 1 -> 1
         expire h 10 -> 1
         hset h a 1 -> 0
         ttl h -> 10
         hdel h a b -> 2
         dbsize -> 0
         hset h a 1 -> 1
         ttl h -> -1
         del h -> 1
         sadd s 1 -> 1
         set s x -> +OK
         set k v -> +OK
         sadd u a -> 1
         sunionstore k u -> 1
         type k -> +set
         flushdb -> +OK",
    );
}

#[test]
fn nothing_is_left_of_deleted_elements() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.script(
            "hset a x 1 y 2 -> 2
             sadd b 1 2 3 -> 3
             hset c x 1 -> 1
             hexpire c 10 fields 1 x -> [1]
             del a -> 1
             set b x
             rename c b",
        );
        server.store.compact();
        server.store.check();
        server.script("hlen b -> 1\n unlink b -> 1");
        server.store.compact();
        assert_eq!(server.store.len(), 0);
    }
}

#[test]
fn thresholds_of_hashes() {
    let mut server = Harness::new();
    let long = "x".repeat(65);
    server.script("hset h a 1 -> 1\n object encoding h -> \"listpack\"");
    server.run(&format!("hset h b {}", &long[1..]));
    assert_eq!(server.run("object encoding h"), "\"listpack\"");
    server.run(&format!("hset h b {long}"));
    assert_eq!(server.run("object encoding h"), "\"hashtable\"");
    server.run("hset h b 1");
    assert_eq!(server.run("object encoding h"), "\"hashtable\"", "never back");
    server.run(&format!("hset g {long} 1"));
    assert_eq!(server.run("object encoding g"), "\"hashtable\"");
    let pairs: Vec<String> = (0..512).map(|n| format!("f{n} {n}")).collect();
    server.run(&format!("hset f {}", pairs.join(" ")));
    assert_eq!(server.run("object encoding f"), "\"listpack\"");
    assert_eq!(server.run("hset f f0 1 one-more 1"), "1");
    assert_eq!(server.run("object encoding f"), "\"hashtable\"");
    assert_eq!(server.run("hlen f"), "513");
    server.run("copy f e");
    assert_eq!(server.run("hmget e f0 f511 one-more x"), "[\"1\" \"511\" \"1\" nil]");
    server.store.check();
}

#[test]
fn sizes_are_told_from_samples() {
    let mut server = Harness::new();
    server.packing = BOTH[1];
    let pairs: Vec<String> = (0..100).map(|n| format!("field:{n:03} value:{n:03}")).collect();
    server.run(&format!("hset h {}", pairs.join(" ")));
    let all = server.run("memory usage h samples 0");
    assert_eq!(server.run("memory usage h"), all, "all are alike");
    assert!(all.parse::<u32>().unwrap() > 100 * 18, "{all}");
    server.packing = BOTH[0];
    server.script("sadd s 1 2 3 -> 3\n memory usage s -> 40");
}

/// Walks a scan to its end; `between` runs after each page.
fn scan(server: &mut Harness, call: &str, mut between: impl FnMut(&mut Harness)) -> Vec<String> {
    let mut cursor = "0".to_owned();
    let mut found = Vec::new();
    loop {
        let words: Vec<Bytes> = call
            .replace('?', &cursor)
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        let Ok(Reply::Array(answer)) = server.call(&words) else { panic!("{call}") };
        let [next, Reply::Array(page)] = &answer[..] else { panic!("{answer:?}") };
        found.extend(page.iter().map(text));
        cursor = text(next).trim_matches('"').to_owned();
        if cursor == "0" {
            return found;
        }
        between(server);
    }
}

#[test]
fn a_scan_meets_what_stays_once_whatever_comes_and_goes() {
    let mut server = Harness::over(Store::disk());
    server.packing = BOTH[1];
    let stays: Vec<String> = (0..200).map(|n| format!("stays:{n}")).collect();
    server.run(&format!("sadd s {}", stays.join(" ")));
    for n in 0..100 {
        server.run(&format!("sadd s goes:{n}"));
    }
    let mut step = 0;
    let mut found = scan(&mut server, "sscan s ? match stays:* count 7", |server| {
        server.run(&format!("srem s goes:{step}"));
        server.run(&format!("sadd s comes:{step}"));
        step += 1;
        if step % 10 == 0 {
            server.store.reopen();
        }
    });
    assert!(step > 20, "{step} pages");
    found.sort();
    let mut expected: Vec<String> = stays.iter().map(|name| format!("\"{name}\"")).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn pages_are_as_long_as_asked_for() {
    let mut server = Harness::new();
    server.packing = BOTH[1];
    let pairs: Vec<String> = (0..100).map(|n| format!("{n} {n}")).collect();
    server.run(&format!("hset h {}", pairs.join(" ")));
    let mut pages = 0;
    assert_eq!(scan(&mut server, "hscan h ? count 30", |_| pages += 1).len(), 200);
    assert_eq!(pages, 3);
    assert_eq!(scan(&mut server, "hscan h ? novalues", |_| ()).len(), 100);
    assert_eq!(scan(&mut server, "hscan h ? count 100000", |_| panic!("one page")).len(), 200);
    server.script(
        "hscan x 0 -> [\"0\" []]
         hscan x y -> -ERR invalid cursor
         hscan h 9223372036854775807 -> [\"0\" []]
         sscan x 0 foo -> [\"0\" []]
         hscan h 0 count 0 -> -ERR syntax error
         hscan h 0 type hash -> -ERR syntax error
         sadd s a -> 1
         sscan s 0 novalues -> -ERR NOVALUES option can only be used in HSCAN
         scan 0 novalues -> -ERR NOVALUES option can only be used in HSCAN
         sscan s 5 -> [\"0\" [\"a\"]]",
    );
}

#[test]
fn a_large_collection_is_read_on_the_blocking_pool() {
    let mut server = Harness::over(Store::disk());
    server.packing = BOTH[1];
    for n in 0..30 {
        let pairs: Vec<String> = (0..100).map(|m| format!("field:{n}:{m} value")).collect();
        server.run(&format!("hset h {}", pairs.join(" ")));
    }
    server.store.compact();
    server.run("hget h field:1:1");
    server.blocked = 0;
    let Ok(Reply::Map(pairs)) = server.call(&[Bytes::from("hgetall"), Bytes::from("h")]) else {
        panic!("a map");
    };
    assert_eq!((pairs.len(), server.blocked), (3000, 1));
    assert_eq!(server.run("copy h i"), "1");
    server.store.check();
}

/// How far counts are from equal ones: about the number of kinds where they differ by chance only.
fn chi_square(counts: &[u32], kinds: usize) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / kinds as f64;
    let missing = (kinds - counts.len()) as f64 * expected;
    missing + counts.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum::<f64>()
}

#[test]
fn picks_are_even() {
    const KINDS: usize = 300;
    fastrand::seed(5);
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        for n in 0..KINDS {
            server.run(&format!("hset h {n} v"));
        }
        for (call, times) in [
            ("hrandfield h", 9000),
            ("hrandfield h 3", 3000),
            ("hrandfield h 100", 100),
            ("hrandfield h -5", 2000),
            ("hrandfield h -9000", 1),
        ] {
            let mut counts = std::collections::BTreeMap::<String, u32>::new();
            for _ in 0..times {
                for word in sorted(&server.run(call)) {
                    *counts.entry(word).or_default() += 1;
                }
            }
            let counts: Vec<u32> = counts.into_values().collect();
            // 299 degrees of freedom: above 400 by chance once in 10,000.
            let distance = chi_square(&counts, KINDS);
            assert!(distance < 420.0, "{call}: {distance}");
        }
    }
}

#[test]
fn distinct_picks_are_distinct() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        let all: Vec<String> = (0..500).map(|n: i32| format!("m{n}")).collect();
        server.run(&format!("sadd s {}", all.join(" ")));
        for count in [1, 2, 14, 100, 499, 500, 501] {
            let mut picked = sorted(&server.run(&format!("srandmember s {count}")));
            picked.dedup();
            assert_eq!(picked.len(), count.min(500), "{count}");
        }
        assert_eq!(sorted(&server.run("srandmember s -600")).len(), 600);
    }
}

#[test]
fn counts_of_picks() {
    both(
        "hset h a 1 -> 1
         hrandfield x -> nil
         hrandfield x 1 -> []
         hrandfield h 0 -> []
         hrandfield h 1 -> [\"a\"]
         hrandfield h 1 withvalues -> [(\"a\" \"1\")]
         hrandfield h -2 withvalues -> [(\"a\" \"1\") (\"a\" \"1\")]
         hrandfield h 1 withvalue -> -ERR syntax error
         hrandfield h 1 withvalues x -> -ERR syntax error
         hrandfield h x -> -ERR value is not an integer or out of range
         hrandfield h -9223372036854770000 withvalues -> -ERR value is out of range",
    );
}

#[test]
fn checks_find_what_is_wrong() {
    let mut server = Harness::new();
    server.packing = BOTH[1];
    server.script(
        "hset h a 1 b 2 -> 2
         hexpire h 10 fields 1 a -> [1]",
    );
    let records = every_record_is_missed(&mut server, b"h");
    assert_eq!(records, 3, "two fields, one expiry");
}

/// Takes each element record of the value at `key`, which is alone, away for a moment, and sees that
/// the check of the value finds that; how many there are.
pub(super) fn every_record_is_missed(server: &mut Harness, key: &[u8]) -> usize {
    let find = |server: &Harness| {
        server.store.with_read(|read| {
            let view = View::new(read, server.context()).unwrap();
            let meta = view.find(key).unwrap().unwrap();
            view.check_elements(&meta)
        })
    };
    assert!(find(server).is_ok());
    let records = server.store.with_read(crate::data::model::elements);
    for record in &records {
        let mut changes = crate::engine::Changes::default();
        let value = server.store.with_read(|read| read.get(record)).unwrap();
        changes.writes.set(record.clone(), None);
        server.store.commit(changes);
        assert!(find(server).is_err(), "{record:?} is missing");
        let mut changes = crate::engine::Changes::default();
        changes.writes.set(record.clone(), value);
        server.store.commit(changes);
    }
    assert!(find(server).is_ok());
    records.len()
}

/// A run that only warms reads what it copies, combines or removes, and writes nothing of it, for
/// nobody would read that; within a transaction the calls behind it do.
#[test]
fn a_run_that_warms_leaves_out_what_nobody_reads() {
    let mut server = Harness::new();
    for from in 0..20 {
        let (mut set, mut zset, mut list) =
            ("sadd s".to_owned(), "zadd z".to_owned(), "rpush l".to_owned());
        for at in from * 100..(from + 1) * 100 {
            set += &format!(" m{at}");
            zset += &format!(" {at} m{at}");
            list += &format!(" {at}-and-some-more");
        }
        [set, zset, list].iter().for_each(|line| drop(server.run(line)));
    }
    let lines = [
        ("copy s t", 2_000),
        ("copy z t", 4_000),
        ("copy l t", 2_000),
        ("sdiffstore t s none", 2_000),
        ("zrangestore t z 0 -1", 4_000),
        ("zunionstore t 2 s z", 4_000),
        ("zremrangebyrank z 100 1899", 3_600),
        ("ltrim l 500 1500", 999),
    ];
    for (line, writes) in lines {
        let words = words(line);
        for (warms, is_inner, is_written) in
            [(false, false, true), (true, false, false), (true, true, true)]
        {
            server.warms = warms;
            let outer = server.store.txn();
            let txn = if is_inner { outer.inner() } else { server.store.txn() };
            let (changes, _) = server.run_uncommitted(txn, &words);
            let written = changes.writes.len();
            assert_eq!(written >= writes, is_written, "{line}: {written}");
        }
    }
}
