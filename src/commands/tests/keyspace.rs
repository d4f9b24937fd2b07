use super::Harness;

#[test]
fn delete_exists_touch_type() {
    let mut server = Harness::new();
    server.script(
        r#"
        MSET a 1 b 2 c 3 -> +OK
        EXISTS a b a none -> 3
        TOUCH a none -> 1
        TYPE a -> +string
        TYPE none -> +none
        DBSIZE -> 3
        DEL a a none -> 1
        UNLINK b c -> 2
        DBSIZE -> 0
        "#,
    );
    assert_eq!(server.store.len(), 0);
}

#[test]
fn rename() {
    Harness::new().script(
        r#"
        RENAME a b -> -ERR no such key
        SET a 1 EX 50 -> +OK
        SET b 2 -> +OK
        RENAME a b -> +OK
        GET b -> "1"
        TTL b -> 50
        EXISTS a -> 0
        DBSIZE -> 1
        RENAME b b -> +OK
        RENAMENX b b -> 0
        RENAMENX x y -> -ERR no such key
        SET c 3 -> +OK
        RENAMENX b c -> 0
        RENAMENX b d -> 1
        TTL d -> 50
        RENAME c d -> +OK
        TTL d -> -1
        "#,
    );
}

#[test]
fn copy() {
    let mut server = Harness::new();
    server.script(
        r#"
        COPY a b -> 0
        SET a 1 EX 50 -> +OK
        COPY a b -> 1
        TTL b -> 50
        SET a 2 -> +OK
        COPY a b -> 0
        COPY a b REPLACE -> 1
        GET b -> "2"
        TTL b -> -1
        COPY a a -> -ERR source and destination objects are the same
        COPY a a DB 1 -> 1
        COPY a a DB 1 -> 0
        COPY a a DB 1 REPLACE -> 1
        COPY a b DB 16 -> -ERR DB index is out of range
        COPY a b DB -1 -> -ERR DB index is out of range
        COPY a b DB 9999999999 -> -ERR value is out of range, value must between -2147483648 and 2147483647
        COPY a b DB x -> -ERR value is not an integer or out of range
        COPY a b DB -> -ERR syntax error
        COPY a b BAD -> -ERR syntax error
        DBSIZE -> 2
        "#,
    );
    server.db = 1;
    server.script("GET a -> \"2\"\n DBSIZE -> 1");
}

#[test]
fn move_swap_and_flush() {
    let mut server = Harness::new();
    server.script(
        r#"
        SET a 1 EX 50 -> +OK
        SET b 2 -> +OK
        MOVE a 1 -> 1
        MOVE a 1 -> 0
        MOVE b 0 -> -ERR source and destination objects are the same
        MOVE b 16 -> -ERR DB index is out of range
        MOVE b -9999999999 -> -ERR value is out of range, value must between -2147483648 and 2147483647
        MOVE b x -> -ERR value is not an integer or out of range
        SWAPDB 0 1 -> +OK
        TTL a -> 50
        DBSIZE -> 1
        SWAPDB x 1 -> -ERR invalid first DB index
        SWAPDB 1 x -> -ERR invalid second DB index
        SWAPDB 1 99999999999 -> -ERR invalid second DB index
        SWAPDB 1 16 -> -ERR DB index is out of range
        SWAPDB 0 0 -> +OK
        FLUSHDB BAD -> -ERR syntax error
        FLUSHDB ASYNC -> +OK
        DBSIZE -> 0
        SET c 3 -> +OK
        GET a -> nil
        SWAPDB 1 0 -> +OK
        GET b -> "2"
        FLUSHALL SYNC -> +OK
        DBSIZE -> 0
        "#,
    );
    assert!(server.store.len() > 0);
    server.store.compact();
    assert_eq!(server.store.len(), 0, "flushed keyspaces are dropped as a whole");
    server.script("SET a 1 -> +OK\n FLUSHALL SYNC ASYNC -> -ERR syntax error\n GET a -> \"1\"");
}

#[test]
fn object_idletime_and_freq() {
    let mut server = Harness::new();
    server.script("SET k v -> +OK");
    server.now_ms += 7_500;
    server.script(
        "OBJECT IDLETIME k -> 7
         TYPE k -> +string
         OBJECT IDLETIME k -> 7
         TOUCH k -> 1
         OBJECT IDLETIME k -> 0
         OBJECT IDLETIME none -> nil
         OBJECT FREQ none -> nil",
    );
    assert!(
        server.run("OBJECT FREQ k").starts_with("-ERR An LFU maxmemory policy is not selected")
    );
    server.access.set_prefers_frequency(true);
    assert!(
        server.run("OBJECT IDLETIME k").starts_with("-ERR An LFU maxmemory policy is selected")
    );
    assert!(server.run("OBJECT FREQ k").parse::<u8>().unwrap() >= 5);
}
