//! HyperLogLogs: replies and strings that redis-server gives.

use super::Harness;

const NOT_ONE: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &str = "-INVALIDOBJ Corrupted HLL object detected";

#[test]
fn adding_and_counting() {
    Harness::new().script(
        r#"
        PFADD k -> 1
        GET k -> "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"
        OBJECT ENCODING k -> "raw"
        PFADD k -> 0
        PFCOUNT k -> 0
        GET k -> "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x7f\xff"
        PFADD k a b c -> 1
        PFADD k a b c -> 0
        GET k -> "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80`\xf3\x80P\xb1\x84K\xfb\x80BZ"
        PFCOUNT k -> 3
        GET k -> "HYLL\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00`\xf3\x80P\xb1\x84K\xfb\x80BZ"
        PFADD k a -> 0
        PFCOUNT k -> 3
        PFDEBUG ENCODING k -> +sparse
        PFDEBUG decode k -> "Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603"
        EXPIRE k 100 -> 1
        PFADD k d -> 1
        TTL k -> 100
        PFDEBUG TODENSE k -> 1
        PFDEBUG TODENSE k -> 0
        STRLEN k -> 12304
        PFDEBUG ENCODING k -> +dense
        PFCOUNT k -> 4
        PFADD k a e -> 1
        PFCOUNT k -> 5
        TTL k -> 100
        PFCOUNT no -> 0
        EXISTS no -> 0
        PFDEBUG DECODE k -> -ERR HLL encoding is not sparse
        PFDEBUG DECODE no -> -ERR The specified key does not exist
        PFDEBUG NO k -> -ERR Unknown PFDEBUG subcommand 'NO'
        "#,
    );
}

#[test]
fn unions() {
    let mut server = Harness::new();
    server.script(
        r#"
        PFADD a 1 2 3 -> 1
        PFADD b 3 4 5 -> 1
        PFCOUNT a b no -> 5
        PFCOUNT a a -> 3
        PFMERGE d a b no -> +OK
        PFCOUNT d -> 5
        PFDEBUG ENCODING d -> +sparse
        PFADD a 6 -> 1
        PFMERGE d a -> +OK
        PFCOUNT d -> 6
        PFMERGE new -> +OK
        PFCOUNT new -> 0
        PFDEBUG TODENSE b -> 1
        EXPIRE d 100 -> 1
        PFMERGE d b -> +OK
        PFDEBUG ENCODING d -> +dense
        TTL d -> 100
        PFCOUNT d b a -> 6
        PFDEBUG ENCODING a -> +sparse
        "#,
    );
    let registers = server.run("PFDEBUG GETREG a");
    assert_eq!(registers.split(' ').count(), 16_384);
    assert_eq!(server.run("PFDEBUG ENCODING a"), "+dense");
}

#[test]
fn sparse_registers_become_dense_at_the_setting() {
    let mut server = Harness::new();
    server.hll_sparse_bytes_max = 24;
    server.script(
        "PFADD k a b -> 1
         PFDEBUG ENCODING k -> +sparse
         PFADD k c -> 1
         PFDEBUG ENCODING k -> +dense
         PFCOUNT k -> 3",
    );
    server.hll_sparse_bytes_max = 0;
    server.script("PFMERGE m k -> +OK\nPFADD e -> 1\nPFDEBUG ENCODING e -> +sparse");
}

#[test]
fn strings_that_are_none() {
    let mut server = Harness::new();
    server.script("SET s bar\nPFADD k a b c -> 1\nSET short HYLL\nPFADD long a -> 1");
    for call in
        ["PFADD s 1", "PFCOUNT s", "PFCOUNT k s", "PFMERGE k s", "PFMERGE s k", "PFADD short"]
    {
        assert_eq!(server.run(call), NOT_ONE, "{call}");
    }
    server.script("APPEND k hello -> 32");
    for call in ["PFCOUNT k", "PFCOUNT k k", "PFMERGE d k", "PFDEBUG TODENSE k", "PFDEBUG GETREG k"]
    {
        assert_eq!(server.run(call), CORRUPTED, "{call}");
    }
    server.script("SETRANGE k 4 x -> 32");
    assert_eq!(server.run("PFCOUNT k"), NOT_ONE);
    server.script("SETRANGE long 1000000 x -> 1000001");
    assert_eq!(server.run("PFCOUNT long"), CORRUPTED);
    assert_eq!(server.run("PFADD long b"), CORRUPTED);
}
