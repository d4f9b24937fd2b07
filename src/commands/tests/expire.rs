use super::{Harness, START_MS};
use crate::data::{Edit, expire_due, find_due};

#[test]
fn the_family_and_its_conditions() {
    Harness::new().script(
        r#"
        EXPIRE k 10 -> 0
        TTL k -> -2
        PTTL k -> -2
        EXPIRETIME k -> -2
        SET k v -> +OK
        TTL k -> -1
        PEXPIRETIME k -> -1
        PERSIST k -> 0
        EXPIRE k 10 XX -> 0
        EXPIRE k 10 GT -> 0
        EXPIRE k 10 LT -> 1
        EXPIRE k 20 NX -> 0
        EXPIRE k 20 LT -> 0
        EXPIRE k 20 GT -> 1
        EXPIRE k 20 GT -> 0
        EXPIRE k 30 XX GT -> 1
        TTL k -> 30
        PEXPIRE k 1499 -> 1
        TTL k -> 1
        PTTL k -> 1499
        PEXPIRE k 1500 -> 1
        TTL k -> 2
        EXPIREAT k 1800000000 -> 1
        EXPIRETIME k -> 1800000000
        PEXPIREAT k 1800000000500 -> 1
        EXPIRETIME k -> 1800000001
        PEXPIRETIME k -> 1800000000500
        PERSIST k -> 1
        TTL k -> -1
        EXPIRE k 1 NX -> 1
        EXPIRE k 1 NX XX -> -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 1 NX GT -> -ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 1 GT LT -> -ERR GT and LT options at the same time are not compatible
        EXPIRE k 1 AB -> -ERR Unsupported option AB
        EXPIRE k x -> -ERR value is not an integer or out of range
        EXPIRE k 9223372036854775807 -> -ERR invalid expire time in 'expire' command
        EXPIRE k -9223372036854775808 -> -ERR invalid expire time in 'expire' command
        PEXPIRE k 9223372036854775807 -> -ERR invalid expire time in 'pexpire' command
        PEXPIREAT k 9223372036854775807 -> 1
        EXPIREAT k -10 -> 1
        EXISTS k -> 0
        SET k v -> +OK
        PEXPIRE k 0 -> 1
        EXISTS k -> 0
        "#,
    );
}

#[test]
fn expired_keys_are_hidden_then_deleted_by_what_meets_them() {
    let mut server = Harness::new();
    server.reaps = false;
    server.script("SET k v PX 100 -> +OK\n SET l v PX 100 -> +OK");
    server.now_ms += 99;
    server.script("GET k -> \"v\"");
    server.now_ms += 1;
    server.script("GET k -> nil\n EXISTS k -> 0\n TYPE k -> +none\n KEYS * -> []\n DBSIZE -> 2");
    server.reaps = true;
    server.script("GET k -> nil\n DBSIZE -> 1");
    assert_eq!(server.expired, 1);
    // A write that meets an expired key counts it, and starts anew.
    server.script("APPEND l w -> 1\n TTL l -> -1\n DBSIZE -> 1");
    assert_eq!(server.expired, 2);
}

#[test]
fn active_expiry_costs_what_expires() {
    let mut server = Harness::new();
    for n in 0..100 {
        let db = n % 3;
        server.db = db;
        assert_eq!(server.run(&format!("SET key:{n} v PX {}", 1000 + u64::from(n))), "+OK");
    }
    server.db = 0;
    server.script("SETRANGE big 100000 x -> 100001\n PEXPIRE big 1050 -> 1\n SET stays v -> +OK");
    assert_eq!(server.expire_cycle(10), (0, false));
    server.now_ms += 1049;
    assert_eq!(server.expire_cycle(20), (20, true));
    server.store.check();
    let (rest, more) = server.expire_cycle(1000);
    assert_eq!((rest, more), (30, false));
    server.store.check();
    server.now_ms += 1;
    assert_eq!(server.expire_cycle(1000), (2, false));
    server.store.check();
    assert!(server.store.compact() > 0, "the chunk of the long string");
    server.now_ms += 1_000;
    assert_eq!(server.expire_cycle(1000), (49, false));
    server.store.check();
    assert_eq!(server.run("DBSIZE"), "1");
    assert_eq!(server.expired, 101);
    assert_eq!(server.store.len(), 1);
}

#[test]
fn a_round_deletes_no_more_than_its_limit_and_what_is_still_due() {
    let mut server = Harness::new();
    for number in 0..300 {
        server.run(&format!("SET key:{number:03} v PX 1000"));
    }
    server.now_ms += 1000;
    let found = {
        let edit = Edit::new(server.store.txn(), server.context()).unwrap();
        find_due(&edit, &server.marks, 250).unwrap()
    };
    assert_eq!((found.records.len(), found.more), (250, true));
    // What was changed since is left alone.
    server.script("SET key:000 w -> +OK\n SET key:001 w PX 5 -> +OK\n DEL key:002 -> 0");
    let (mut done, mut rounds) = (0, Vec::new());
    while done < found.records.len() {
        let mut edit = Edit::new(server.store.txn(), server.context()).unwrap();
        let cycle = expire_due(&mut edit, &found.records[done..], 100).unwrap();
        let finished = edit.finish().unwrap();
        server.commit(finished);
        done += cycle.done;
        rounds.push(cycle.expired);
    }
    assert_eq!(rounds, [100, 100, 47]);
    server.marks.advance(&found, done);
    server.store.check();
    assert_eq!(server.expire_cycle(1000), (50, false));
    server.script("DBSIZE -> 2\n GET key:000 -> \"w\"\n GET key:001 -> \"w\"");
}

#[test]
fn rounds_that_end_within_a_hash_leave_none_of_its_fields() {
    let mut server = Harness::new();
    server.script(
        "HSET h a 1 b 2 c 3 d 4 -> 4
         HPEXPIRE h 10 FIELDS 1 a -> [1]
         HPEXPIRE h 20 FIELDS 1 b -> [1]
         HPEXPIRE h 30 FIELDS 1 c -> [1]
         HSET late a 1 b 2 -> 2
         HPEXPIRE late 40 FIELDS 1 a -> [1]",
    );
    server.now_ms += 3_600_000;
    let find = |server: &Harness| {
        let edit = Edit::new(server.store.txn(), server.context()).unwrap();
        find_due(&edit, &server.marks, 100).unwrap()
    };
    let found = find(&server);
    let (mut done, mut rounds) = (0, Vec::new());
    while done < found.records.len() {
        let mut edit = Edit::new(server.store.txn(), server.context()).unwrap();
        let cycle = expire_due(&mut edit, &found.records[done..], 1).unwrap();
        let finished = edit.finish().unwrap();
        server.commit(finished);
        done += cycle.done;
        rounds.push(cycle.expired_fields);
    }
    assert_eq!(rounds, [1, 1, 1, 1]);
    server.marks.advance(&found, done);
    server.store.check();
    assert_eq!(find(&server).records.len(), 0);
    server.script("HLEN h -> 1\n HLEN late -> 1");
}

#[test]
fn active_expiry_finds_what_came_late() {
    let mut server = Harness::new();
    server.script("SET k v PX 1000 -> +OK");
    server.now_ms += 1000;
    assert_eq!(server.expire_cycle(10), (1, false));
    // A transaction that took its time before the walk.
    server.now_ms -= 1;
    server.script("SET early v PX 1 -> +OK");
    server.now_ms += 1;
    assert_eq!(server.expire_cycle(10), (0, false));
    server.now_ms += 5000;
    assert_eq!(server.expire_cycle(10), (1, false));
}

#[test]
fn active_expiry_after_the_clock_went_back() {
    let mut server = Harness::new();
    server.script("SET k v PX 5000 -> +OK");
    server.now_ms = START_MS + 10_000;
    assert_eq!(server.expire_cycle(10), (1, false));
    server.now_ms = START_MS;
    server.script("SET k v PX 5000 -> +OK");
    assert_eq!(server.expire_cycle(10), (0, false));
    server.now_ms = START_MS + 5_000;
    assert_eq!(server.expire_cycle(10), (1, false));
}
