use super::{Harness, START_MS};

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
