use bytes::Bytes;

use super::Harness;

fn words(parts: &[&[u8]]) -> Vec<Bytes> {
    parts.iter().map(|part| Bytes::copy_from_slice(part)).collect()
}

#[test]
fn set_with_every_option() {
    Harness::new().script(
        r#"
        SET k v -> +OK
        GET k -> "v"
        SET k w NX -> nil
        SET k w XX -> +OK
        SET n w XX -> nil
        SET k x GET -> "w"
        SET n x GET NX -> nil
        GET n -> "x"
        SET n y NX GET -> "x"
        GET n -> "x"
        SET o y XX GET -> nil
        EXISTS o -> 0
        SET k v EX 10 -> +OK
        TTL k -> 10
        SET k v KEEPTTL -> +OK
        TTL k -> 10
        SET k v -> +OK
        TTL k -> -1
        SET k v px 1500 nx -> nil
        SET k v px 1500 -> +OK
        PTTL k -> 1500
        SET k v EXAT 1800000000 -> +OK
        EXPIRETIME k -> 1800000000
        SET k v PXAT 1800000000123 -> +OK
        PEXPIRETIME k -> 1800000000123
        SET k v PXAT 5 -> +OK
        EXISTS k -> 0
        SET k v EX 10 EX 20 -> +OK
        TTL k -> 20
        SET k v NX XX -> -ERR syntax error
        SET k v EX -> -ERR syntax error
        SET k v EX 1 PX 1 -> -ERR syntax error
        SET k v EX 1 KEEPTTL -> -ERR syntax error
        SET k v KEEPTTL PX 1 -> -ERR syntax error
        SET k v PERSIST -> -ERR syntax error
        SET k v BAD -> -ERR syntax error
        SET k v EX a -> -ERR value is not an integer or out of range
        SET k v EX 0 -> -ERR invalid expire time in 'set' command
        SET k v PX -1 -> -ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775807 -> -ERR invalid expire time in 'set' command
        SET k v PX 9223372036854775807 -> -ERR invalid expire time in 'set' command
        SET k v EXAT 9223372036854775 -> +OK
        "#,
    );
}

#[test]
fn other_ways_to_set_and_get() {
    Harness::new().script(
        r#"
        GETSET k a -> nil
        SETEX k 10 b -> +OK
        GETSET k c -> "b"
        TTL k -> -1
        SETEX k 0 v -> -ERR invalid expire time in 'setex' command
        PSETEX k -1 v -> -ERR invalid expire time in 'psetex' command
        PSETEX k x v -> -ERR value is not an integer or out of range
        PSETEX k 99 v -> +OK
        PTTL k -> 99
        SETNX k w -> 0
        SETNX l w -> 1
        GETDEL l -> "w"
        GETDEL l -> nil
        MSET a 1 b 2 a 3 -> +OK
        MGET a b c -> ["3" "2" nil]
        MSET a 1 b -> -ERR wrong number of arguments for 'mset' command
        MSETNX b 1 z 2 -> 0
        EXISTS z -> 0
        MSETNX y 1 z 2 y 4 -> 1
        MGET y z -> ["4" "2"]
        "#,
    );
}

#[test]
fn getex_changes_the_expiry() {
    Harness::new().script(
        r#"
        GETEX k EX x -> nil
        GETEX k EX 0 -> nil
        GETEX k EX -> -ERR syntax error
        GETEX k EX x PERSIST -> -ERR syntax error
        GETEX k EX 10 -> nil
        SET k v -> +OK
        GETEX k -> "v"
        TTL k -> -1
        GETEX k EX 10 -> "v"
        TTL k -> 10
        GETEX k PX 500 -> "v"
        PTTL k -> 500
        GETEX k PERSIST -> "v"
        TTL k -> -1
        GETEX k EXAT 1800000000 -> "v"
        EXPIRETIME k -> 1800000000
        GETEX k EX 0 -> -ERR invalid expire time in 'getex' command
        GETEX k EX 1 PERSIST -> -ERR syntax error
        GETEX k PERSIST EX 1 -> -ERR syntax error
        GETEX k KEEPTTL -> -ERR syntax error
        GETEX k PXAT 1 -> "v"
        EXISTS k -> 0
        "#,
    );
}

#[test]
fn ranges_and_growth() {
    Harness::new().script(
        r#"
        APPEND k Hello -> 5
        APPEND k World -> 10
        STRLEN k -> 10
        STRLEN none -> 0
        GETRANGE k 0 4 -> "Hello"
        GETRANGE k -5 -1 -> "World"
        GETRANGE k 3 1 -> ""
        GETRANGE k -1 -5 -> ""
        GETRANGE k 5 99 -> "World"
        GETRANGE k -99 99 -> "HelloWorld"
        GETRANGE k -99 -98 -> "H"
        GETRANGE k -98 -99 -> ""
        GETRANGE k 10 20 -> ""
        GETRANGE k 0 x -> -ERR value is not an integer or out of range
        GETRANGE k 0 9223372036854775807 -> "HelloWorld"
        GETRANGE k -9223372036854775808 9223372036854775807 -> "HelloWorld"
        GETRANGE none 0 -1 -> ""
        SUBSTR k 1 2 -> "el"
        SETRANGE k 5 XY -> 10
        GET k -> "HelloXYrld"
        SETRANGE n 3 ab -> 5
        GET n -> "\x00\x00\x00ab"
        SETRANGE n -1 ab -> -ERR offset is out of range
        SETRANGE n x ab -> -ERR value is not an integer or out of range
        SETRANGE n 536870911 ab -> -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE n 9223372036854775807 ab -> -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        "#,
    );
    let mut server = Harness::new();
    assert_eq!(server.run_words(&words(&[b"SETRANGE", b"k", b"9", b""])), "0");
    server.script("EXISTS k -> 0\n SET k abc -> +OK");
    assert_eq!(server.run_words(&words(&[b"SETRANGE", b"k", b"9", b""])), "3");
}

#[test]
fn numbers() {
    Harness::new().script(
        r#"
        INCR i -> 1
        INCRBY i 10 -> 11
        DECR i -> 10
        DECRBY i 3 -> 7
        DECRBY i -9223372036854775808 -> -ERR decrement would overflow
        SET i 9223372036854775807 -> +OK
        INCR i -> -ERR increment or decrement would overflow
        INCRBY i a -> -ERR value is not an integer or out of range
        SET i -9223372036854775808 -> +OK
        DECR i -> -ERR increment or decrement would overflow
        SET s abc -> +OK
        INCR s -> -ERR value is not an integer or out of range
        SET s 12345678901234567890123 -> +OK
        INCR s -> -ERR value is not an integer or out of range
        SET s 01 -> +OK
        INCR s -> -ERR value is not an integer or out of range
        SET i 1 EX 100 -> +OK
        INCR i -> 2
        TTL i -> 100
        INCRBYFLOAT f 10.5 -> "10.5"
        INCRBYFLOAT f 0.1 -> "10.6"
        INCRBYFLOAT f -5 -> "5.6"
        SET f 5.0e3 -> +OK
        INCRBYFLOAT f 2.0e2 -> "5200"
        INCRBYFLOAT f abc -> -ERR value is not a valid float
        INCRBYFLOAT hex 0x1A -> "26"
        OBJECT ENCODING hex -> "embstr"
        INCR hex -> 27
        OBJECT ENCODING hex -> "int"
        INCRBYFLOAT hex 0x1p-1 -> "27.5"
        INCRBYFLOAT hex 0x -> -ERR value is not a valid float
        INCRBYFLOAT s2 +inf -> -ERR increment would produce NaN or Infinity
        SET f x EX 9 -> +OK
        INCRBYFLOAT f 1 -> -ERR value is not a valid float
        SET f 3.0 EX 9 -> +OK
        INCRBYFLOAT f 1.0 -> "4"
        TTL f -> 9
        "#,
    );
}

#[test]
fn encodings() {
    let mut server = Harness::new();
    let long = "x".repeat(45);
    server.script(
        &r#"
        SET k 12 -> +OK
        OBJECT ENCODING k -> "int"
        APPEND k 3 -> 3
        OBJECT ENCODING k -> "raw"
        INCR k -> 124
        OBJECT ENCODING k -> "int"
        SET k abc -> +OK
        OBJECT ENCODING k -> "embstr"
        SET k LONG -> +OK
        OBJECT ENCODING k -> "raw"
        SET k 12345678901234567890 -> +OK
        OBJECT ENCODING k -> "embstr"
        APPEND n 1 -> 1
        OBJECT ENCODING n -> "int"
        SETRANGE m 0 1 -> 1
        OBJECT ENCODING m -> "raw"
        OBJECT ENCODING none -> nil
        OBJECT REFCOUNT m -> 1
        OBJECT REFCOUNT none -> nil
        "#
        .replace("LONG", &long),
    );
}

#[test]
fn longest_common_subsequence() {
    let mut server = Harness::new();
    server.script(
        r#"
        MSET key1 ohmytext key2 mynewtext -> +OK
        LCS key1 key2 -> "mytext"
        LCS key1 key2 LEN -> 6
        LCS key1 key2 IDX -> {"matches": [[[4 7] [5 8]] [[2 3] [0 1]]], "len": 6}
        LCS key1 key2 IDX MINMATCHLEN 4 -> {"matches": [[[4 7] [5 8]]], "len": 6}
        LCS key1 key2 IDX MINMATCHLEN 4 WITHMATCHLEN -> {"matches": [[[4 7] [5 8] 4]], "len": 6}
        LCS key1 key2 IDX LEN -> -ERR If you want both the length and indexes, please just use IDX.
        LCS key1 key2 BAD -> -ERR syntax error
        LCS key1 key2 MINMATCHLEN -> -ERR syntax error
        LCS key1 none -> ""
        LCS none key1 LEN -> 0
        LCS none none IDX -> {"matches": [], "len": 0}
        LCS key1 key1 -> "ohmytext"
        "#,
    );
    server.string_bytes_max = 100;
    server.script(
        "LCS key1 key2 -> \
         -ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
    );
}

#[test]
fn long_strings_are_changed_in_place() {
    let mut server = Harness::new();
    let mut model = vec![0_u8; 100_000];
    server.script("SETRANGE k 99999 z -> 100000");
    model[99_999] = b'z';
    // Metadata, generation, and the one chunk that has been written.
    assert_eq!(server.store.len(), 3);
    for (offset, len) in [(0, 1), (16_383, 2), (30_000, 40_000), (99_990, 20), (200_000, 1)] {
        let bytes: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[0] | 1).collect();
        let call = words(&[b"SETRANGE", b"k", offset.to_string().as_bytes(), &bytes]);
        model.resize(model.len().max(offset + bytes.len()), 0);
        model[offset..offset + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(server.run_words(&call), model.len().to_string());
        server.store.check();
    }
    server.script("APPEND k tail -> 200005");
    model.extend_from_slice(b"tail");
    let all = |server: &mut Harness, key: &[u8]| server.call(&words(&[b"GET", key])).unwrap();
    assert_eq!(all(&mut server, b"k"), crate::protocol::Reply::bulk(model.clone()));
    for (start, end) in [(0, 0), (16_383, 16_384), (5, 150_000), (199_000, 300_000)] {
        let range =
            words(&[b"GETRANGE", b"k", start.to_string().as_bytes(), end.to_string().as_bytes()]);
        let expected = model[start..=end.min(model.len() - 1)].to_vec();
        assert_eq!(server.call(&range).unwrap(), crate::protocol::Reply::bulk(expected));
    }
    server.script(
        "EXPIRE k 100 -> 1
         RENAME k l -> +OK
         COPY l m -> 1
         MOVE l 3 -> 1
         STRLEN l -> 0",
    );
    server.db = 3;
    assert_eq!(all(&mut server, b"l"), crate::protocol::Reply::bulk(model.clone()));
    server.script("TTL l -> 100");
    server.db = 0;
    assert_eq!(all(&mut server, b"m"), crate::protocol::Reply::bulk(model));
    let dead = server.store.compact();
    assert!(dead > 0, "the chunks of the moved string");
    assert_eq!(server.store.compact(), 0);
    // Overwriting and deleting write a record or two, whatever the length.
    server.script("SET m short -> +OK");
    assert!(server.store.compact() > 0);
    server.db = 3;
    server.script("DEL l -> 1");
    assert!(server.store.compact() > 0);
    assert_eq!(server.store.len(), 1, "the short string");
}

#[test]
fn a_whole_string_at_the_limits_of_its_encodings() {
    let mut server = Harness::new();
    for len in [16 * 1024 - 1, 16 * 1024, 64 * 1024, 64 * 1024 + 1, 80 * 1024 + 7] {
        let value: Vec<u8> = (0..len).map(|n: u32| n.to_be_bytes()[3]).collect();
        assert_eq!(server.run_words(&words(&[b"SET", b"k", &value])), "+OK");
        let read = server.call(&words(&[b"GET", b"k"])).unwrap();
        assert_eq!(read, crate::protocol::Reply::bulk(value.clone()));
        assert_eq!(server.run("APPEND k abc"), (len + 3).to_string());
        let read = server.call(&words(&[b"GETDEL", b"k"])).unwrap();
        assert_eq!(read, crate::protocol::Reply::bulk([&value[..], b"abc"].concat()));
        server.store.check();
    }
    server.store.compact();
    assert_eq!(server.store.len(), 0);
}
