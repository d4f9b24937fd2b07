use super::Harness;
use super::collections::{both, every_record_is_missed};
use crate::data::Packing;

#[test]
fn entries_are_added_read_and_deleted() {
    both(
        "xadd s 1-1 a 1 b 2 -> \"1-1\"
         xadd s 1-* a 2 -> \"1-2\"
         xadd s 3-* a 3 -> \"3-0\"
         xadd s 3 a 4 -> -ERR The ID specified in XADD is equal or smaller than the target stream \
             top item
         xadd s 2-* a 4 -> -ERR The ID specified in XADD is equal or smaller than the target \
             stream top item
         xadd s 0-0 a 4 -> -ERR The ID specified in XADD must be greater than 0-0
         xadd s 5-5-5 a 4 -> -ERR Invalid stream ID specified as stream command argument
         xadd s + a 4 -> -ERR Invalid stream ID specified as stream command argument
         xadd s 5-5 a 4 b -> -ERR wrong number of arguments for 'xadd' command
         xadd s maxlen 5 4 -> -ERR wrong number of arguments for 'xadd' command
         xadd x nomkstream 5-5 a 4 -> nil
         exists x -> 0
         xlen s -> 3
         xlen x -> 0
         xrange s - + -> [[\"1-1\" [\"a\" \"1\" \"b\" \"2\"]] [\"1-2\" [\"a\" \"2\"]] [\"3-0\" \
             [\"a\" \"3\"]]]
         xrange s (1-1 (3 -> [[\"1-2\" [\"a\" \"2\"]] [\"3-0\" [\"a\" \"3\"]]]
         xrange s (1 (2 -> [[\"1-1\" [\"a\" \"1\" \"b\" \"2\"]] [\"1-2\" [\"a\" \"2\"]]]
         xrange s 2 2 -> []
         xrange s + - -> []
         xrange s - + count 1 -> [[\"1-1\" [\"a\" \"1\" \"b\" \"2\"]]]
         xrange s - + count 0 -> nil
         xrange s - + count -1 -> nil
         xrange s - + count -> -ERR syntax error
         xrange s - + count x -> -ERR value is not an integer or out of range
         xrange s (+ + -> -ERR Invalid stream ID specified as stream command argument
         xrange s - (0-0 -> -ERR invalid end ID for the interval
         xrange s (18446744073709551615-18446744073709551615 + -> -ERR invalid start ID for the \
             interval
         xrange x - + -> []
         xrevrange s + - count 2 -> [[\"3-0\" [\"a\" \"3\"]] [\"1-2\" [\"a\" \"2\"]]]
         xrevrange s 1 1 -> [[\"1-2\" [\"a\" \"2\"]] [\"1-1\" [\"a\" \"1\" \"b\" \"2\"]]]
         xdel s 1-2 9-9 1-2 -> 1
         xdel s 1-x -> -ERR Invalid stream ID specified as stream command argument
         xdel x 1-2 -> 0
         xlen s -> 2
         xdel s 3-0 1-1 -> 2
         xlen s -> 0
         exists s -> 1
         xrange s - + -> []
         xadd s 3-0 a 4 -> -ERR The ID specified in XADD is equal or smaller than the target \
             stream top item
         xadd s 3-* a 4 -> \"3-1\"",
    );
}

#[test]
fn ids_follow_the_clock() {
    both(
        "xadd s * a 1 -> \"1700000000000-0\"
         xadd s * a 1 -> \"1700000000000-1\"
         xadd s 1800000000000-* a 1 -> \"1800000000000-0\"
         xadd s * a 1 -> \"1800000000000-1\"
         xadd s 1800000000000-18446744073709551615 a 1 -> \"1800000000000-18446744073709551615\"
         xadd s 1800000000000-* a 1 -> -ERR The ID specified in XADD is equal or smaller than the \
             target stream top item
         xadd s * a 1 -> \"1800000000001-0\"
         xadd t 0-* a 1 -> \"0-1\"
         xadd t 18446744073709551615-18446744073709551615 a 1 -> \
             \"18446744073709551615-18446744073709551615\"
         xadd t * a 1 -> -ERR The stream has exhausted the last possible ID, unable to add more \
             items",
    );
}

#[test]
fn trims() {
    both(
        "xadd s 1-1 a 1 -> \"1-1\"
         xadd s 2-1 a 1 -> \"2-1\"
         xadd s maxlen 2 3-1 a 1 -> \"3-1\"
         xlen s -> 2
         xadd s minid = 3 4-1 a 1 -> \"4-1\"
         xrange s - + -> [[\"3-1\" [\"a\" \"1\"]] [\"4-1\" [\"a\" \"1\"]]]
         xtrim s maxlen 5 -> 0
         xtrim s minid 4 -> 1
         xtrim s maxlen 0 -> 1
         xlen s -> 0
         xtrim x maxlen 0 -> 0
         xadd s maxlen 0 5-1 a 1 -> \"5-1\"
         xlen s -> 0
         xtrim s maxlen -1 -> -ERR The MAXLEN argument must be >= 0.
         xtrim s maxlen ~ -> -ERR value is not an integer or out of range
         xtrim s limit 5 maxlen ~ 1 -> 0
         xtrim s maxlen ~ 1 limit -1 -> -ERR The LIMIT argument must be >= 0.
         xtrim s maxlen 1 limit 5 -> -ERR syntax error, LIMIT cannot be used without the special \
             ~ option
         xtrim s limit 5 -> -ERR syntax error, LIMIT cannot be used without specifying a trimming \
             strategy
         xtrim s maxlen 1 minid 5 -> -ERR syntax error, MAXLEN and MINID options at the same time \
             are not compatible
         xtrim s maxlen 1 nomkstream -> -ERR syntax error
         xtrim s maxlen 1 maxlen -> -ERR syntax error",
    );
    let mut server = Harness::new();
    assert_eq!(
        server.run("xtrim s limit 0"),
        "-ERR syntax error, XTRIM must be called with a trimming strategy"
    );
    assert_eq!(
        server.run("xadd s limit 0 * f v"),
        "-ERR syntax error, LIMIT cannot be used without the special ~ option"
    );
}

#[test]
fn approximate_trims_take_whole_nodes() {
    let mut server = Harness::new();
    server.packing = Packing { stream_entries: 10, ..Packing::DEFAULT };
    for n in 1..=105 {
        server.run(&format!("xadd s {n}-0 a 1"));
    }
    server.script(
        "xtrim s maxlen ~ 100 -> 0
         xtrim s maxlen ~ 95 -> 10
         xtrim s maxlen 94 -> 1
         xtrim s maxlen ~ 86 -> 0
         xtrim s maxlen ~ 85 -> 9
         xtrim s maxlen ~ 50 limit 25 -> 20
         xtrim s minid ~ 50-0 -> 0
         xtrim s minid ~ 61-0 -> 20
         xtrim s maxlen ~ 0 limit 0 -> 45
         xlen s -> 0",
    );
}

#[test]
fn xread_answers_what_is_behind() {
    both(
        "xadd s 1-1 a 1 -> \"1-1\"
         xadd s 2-1 a 2 -> \"2-1\"
         xadd t 7-0 b 1 -> \"7-0\"
         xread streams s t 1-1 0 -> {\"s\" => [[\"2-1\" [\"a\" \"2\"]]], \"t\" => [[\"7-0\" [\"b\" \
             \"1\"]]]}
         xread count 1 streams s 0 -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]]]}
         xread count 0 streams t 0 -> {\"t\" => [[\"7-0\" [\"b\" \"1\"]]]}
         xread streams s t 2-1 $ -> nil
         xread streams s x + + -> {\"s\" => [[\"2-1\" [\"a\" \"2\"]]]}
         xread streams x 0 -> nil
         xread streams s > -> -ERR The > ID can be specified only when calling XREADGROUP using \
             the GROUP <group> <consumer> option.
         xread streams s t 0 -> -ERR Unbalanced 'xread' list of streams: for each stream key an \
             ID or '$' must be specified.
         xread count 5 foo s -> -ERR syntax error
         xread count 5 block 5 -> -ERR syntax error
         xread noack streams s 0 -> -ERR The NOACK option is only supported by XREADGROUP. You \
             called XREAD instead.
         xread group g c streams s 0 -> -ERR The GROUP option is only supported by XREADGROUP. \
             You called XREAD instead.
         xread block x streams s 0 -> -ERR timeout is not an integer or out of range
         xread block -1 streams s 0 -> -ERR timeout is negative
         xread streams s - -> -ERR Invalid stream ID specified as stream command argument
         xdel s 2-1 -> 1
         xread streams s 1-1 -> nil
         xread streams s + -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]]]}
         set k v -> +OK
         xread streams s k 0 0 -> -WRONGTYPE Operation against a key holding the wrong kind of \
             value",
    );
}

#[test]
fn the_last_id_can_be_set() {
    both(
        "xsetid s 5-5 -> -ERR no such key
         xadd s 5-5 a 1 -> \"5-5\"
         xsetid s 5-4 -> -ERR The ID specified in XSETID is smaller than the target stream top item
         xsetid s 9-9 entriesadded 7 maxdeletedid 6-0 -> +OK
         xinfo stream s -> {\"length\": 1, \"radix-tree-keys\": 1, \"radix-tree-nodes\": 2, \
             \"last-generated-id\": \"9-9\", \"max-deleted-entry-id\": \"6-0\", \
             \"entries-added\": 7, \"recorded-first-entry-id\": \"5-5\", \"groups\": 0, \
             \"first-entry\": [\"5-5\" [\"a\" \"1\"]], \"last-entry\": [\"5-5\" [\"a\" \"1\"]]}
         xadd s 9-9 a 1 -> -ERR The ID specified in XADD is equal or smaller than the target \
             stream top item
         xsetid s 5-5 -> -ERR The ID specified in XSETID is smaller than current \
             max_deleted_entry_id
         xsetid s 9-9 entriesadded 0 -> -ERR The entries_added specified in XSETID is smaller \
             than the target stream length
         xsetid s 9-9 entriesadded -1 -> -ERR entries_added must be positive
         xsetid s 9-9 maxdeletedid 10-0 -> -ERR The ID specified in XSETID is smaller than the \
             provided max_deleted_entry_id
         xsetid s 9-9 foo -> -ERR syntax error
         xsetid s 9-9 foo 1 -> -ERR syntax error",
    );
}

/// Entries that were trimmed lie where they were until compaction comes. They must not come back.
#[test]
fn trimmed_entries_stay_away_when_the_last_id_goes_back() {
    both(
        "xadd s 5-1 a old -> \"5-1\"
         xadd s 6-1 a old -> \"6-1\"
         xtrim s maxlen 0 -> 2
         xsetid s 0-0 -> +OK
         xadd s 1-1 a new -> \"1-1\"
         xadd s 9-1 a new -> \"9-1\"
         xrange s - + -> [[\"1-1\" [\"a\" \"new\"]] [\"9-1\" [\"a\" \"new\"]]]
         xdel s 6-1 -> 0
         xtrim s minid 6-1 -> 1
         xtrim s maxlen 0 -> 1",
    );
}

#[test]
fn generic_commands_know_streams() {
    both(
        "xadd s 1-1 a 1 -> \"1-1\"
         xgroup create s g 0 -> +OK
         xreadgroup group g c streams s > -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]]]}
         type s -> +stream
         object encoding s -> \"stream\"
         scan 0 type stream -> [\"0\" [\"s\"]]
         copy s t -> 1
         xack t g 1-1 -> 1
         xadd t 2-2 a 2 -> \"2-2\"
         xlen s -> 1
         xpending s g -> [1 \"1-1\" \"1-1\" [[\"c\" \"1\"]]]
         copy s t db 1 -> 1
         rename s u -> +OK
         xpending u g -> [1 \"1-1\" \"1-1\" [[\"c\" \"1\"]]]
         move u 1 -> 1
         exists u -> 0
         expire t 100 -> 1
         xadd t 3-3 a 2 -> \"3-3\"
         ttl t -> 100
         persist t -> 1
         set t v -> +OK
         get t -> \"v\"
         set k v -> +OK
         xadd k 1-1 a 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         xlen k -> -WRONGTYPE Operation against a key holding the wrong kind of value
         xadd s 1-1 a 1 -> \"1-1\"
         get s -> -WRONGTYPE Operation against a key holding the wrong kind of value
         append s x -> -WRONGTYPE Operation against a key holding the wrong kind of value
         hset s a 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         sadd s a -> -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

/// `XADD` of a large stream reads and writes what it has to: the metadata record and an entry.
#[test]
fn an_entry_costs_two_records() {
    let mut server = Harness::new();
    for n in 1..=1000 {
        server.run(&format!("xadd s {n}-0 field value"));
    }
    assert!(server.last_write_bytes < 160, "{} bytes", server.last_write_bytes);
    let records = server.store.len();
    server.run("xadd s maxlen 100 2000-0 field value");
    server.script("xlen s -> 100");
    assert_eq!(server.store.len(), records + 1, "trimming deletes no record");
    assert_eq!(server.store.compact(), 901, "compaction does");
    server.script(
        "xlen s -> 100
         xtrim s maxlen 36 -> 64",
    );
    assert_eq!(server.store.compact(), 64);
    server.script("xtrim s maxlen 30 -> 6");
    assert_eq!(server.store.compact(), 0, "not told yet");
    server.script("rename s r -> +OK");
    assert_eq!(server.store.compact(), 6, "told with the new name");
    server.script("rename r s -> +OK");
    server.script("del s -> 1");
    server.store.compact();
    assert_eq!(server.store.len(), 0);
}

#[test]
fn checks_find_what_is_wrong() {
    let mut server = Harness::new();
    server.script(
        "xadd s 1-1 a 1 -> \"1-1\"
         xadd s 2-1 a 1 -> \"2-1\"
         xadd s 3-1 a 1 -> \"3-1\"
         xgroup create s g 0 -> +OK
         xreadgroup group g c count 2 streams s > -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]] [\"2-1\" \
             [\"a\" \"1\"]]]}",
    );
    let records = every_record_is_missed(&mut server, b"s");
    assert_eq!(records, 9, "three entries, a group, a consumer, two pending entries twice");
}

#[test]
fn the_size_of_a_stream_is_told() {
    let mut server = Harness::new();
    server.run("xadd s 1-1 a 1");
    let size = |server: &mut Harness, call: &str| server.run(call).parse::<u64>().unwrap();
    let small = size(&mut server, "memory usage s");
    assert!(small < 80, "{small}");
    for n in 2..=500 {
        server.run(&format!("xadd s {n}-1 a {}", "x".repeat(50)));
    }
    let exact = size(&mut server, "memory usage s samples 0");
    assert!((500 * 60..500 * 140).contains(&exact), "{exact}");
    let told = size(&mut server, "memory usage s");
    assert!(told > exact / 2 && told < exact * 2, "{told} of {exact}");
}
