use super::Harness;
use super::collections::both;

/// A stream of three entries with a group that has got nothing yet.
const THREE: &str = "xadd s 1-1 a 1 -> \"1-1\"
    xadd s 2-1 a 2 -> \"2-1\"
    xadd s 3-1 a 3 -> \"3-1\"
    xgroup create s g 0 -> +OK";

#[track_caller]
fn with_three(lines: &str) {
    both(&format!("{THREE}\n{lines}"));
}

#[test]
fn groups_come_and_go() {
    with_three(
        "xgroup create s g 0 -> -BUSYGROUP Consumer Group name already exists
         xgroup create s h $ entriesread 5 -> +OK
         xgroup create x g 0 -> -ERR The XGROUP subcommand requires the key to exist. Note that \
             for CREATE you may want to use the MKSTREAM option to create an empty stream \
             automatically.
         xgroup create x g $ mkstream -> +OK
         xlen x -> 0
         xgroup create s i x -> -ERR Invalid stream ID specified as stream command argument
         xgroup create s i 0 entriesread x -> -ERR value is not an integer or out of range
         xgroup create s i 0 entriesread -2 -> -ERR value for ENTRIESREAD must be positive or -1
         xgroup create s i 0 foo -> -ERR unknown subcommand or wrong number of arguments for \
             'create'. Try XGROUP HELP.
         xgroup create s i 0 mkstream entriesread 1 mkstream -> -ERR unknown subcommand or wrong \
             number of arguments for 'create'. Try XGROUP HELP.
         xgroup createconsumer s g c -> 1
         xgroup createconsumer s g c -> 0
         xgroup createconsumer s i c -> -NOGROUP No such consumer group 'i' for key name 's'
         xinfo groups s -> [{\"name\": \"g\", \"consumers\": 1, \"pending\": 0, \
             \"last-delivered-id\": \"0-0\", \"entries-read\": nil, \"lag\": 3} {\"name\": \
             \"h\", \"consumers\": 0, \"pending\": 0, \"last-delivered-id\": \"3-1\", \
             \"entries-read\": 5, \"lag\": -2}]
         xgroup setid s h 1-1 entriesread 1 -> +OK
         xgroup setid s i 1-1 -> -NOGROUP No such consumer group 'i' for key name 's'
         xgroup setid s h + -> +OK
         xgroup delconsumer s g x -> 0
         xgroup delconsumer s g c -> 0
         xgroup destroy s g -> 1
         xgroup destroy s g -> 0
         xgroup destroy y g -> -ERR The XGROUP subcommand requires the key to exist. Note that \
             for CREATE you may want to use the MKSTREAM option to create an empty stream \
             automatically.
         xinfo groups x -> [{\"name\": \"g\", \"consumers\": 0, \"pending\": 0, \
             \"last-delivered-id\": \"0-0\", \"entries-read\": nil, \"lag\": 0}]
         xinfo groups y -> -ERR no such key
         xinfo consumers s y -> -NOGROUP No such consumer group 'y' for key name 's'",
    );
}

#[test]
fn entries_are_delivered_once() {
    with_three(
        "xreadgroup group g c count 1 streams s > -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]]]}
         xreadgroup group g d streams s > -> {\"s\" => [[\"2-1\" [\"a\" \"2\"]] [\"3-1\" [\"a\" \
             \"3\"]]]}
         xreadgroup group g c streams s > -> nil
         xreadgroup group g c streams s 0 -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]]]}
         xreadgroup group g d count 1 streams s 2-1 -> {\"s\" => [[\"3-1\" [\"a\" \"3\"]]]}
         xreadgroup group g e streams s 0 -> {\"s\" => []}
         xdel s 2-1 -> 1
         xreadgroup group g d streams s 0 -> {\"s\" => [[\"2-1\" nil] [\"3-1\" [\"a\" \"3\"]]]}
         xpending s g - + 10 -> [[\"1-1\" \"c\" 0 2] [\"2-1\" \"d\" 0 1] [\"3-1\" \"d\" 0 3]]
         xack s g 1-1 1-1 7-7 -> 1
         xack s g x -> -ERR Invalid stream ID specified as stream command argument
         xack s h x -> 0
         xack x g 1 -> 0
         xpending s g -> [2 \"2-1\" \"3-1\" [[\"d\" \"2\"]]]
         xgroup delconsumer s g d -> 2
         xpending s g -> [0 nil nil nil]
         xadd s 4-1 a 4 -> \"4-1\"
         xreadgroup group g c noack streams s > -> {\"s\" => [[\"4-1\" [\"a\" \"4\"]]]}
         xpending s g -> [0 nil nil nil]
         xgroup setid s g 0 -> +OK
         xreadgroup group g c count 1 streams s s > > -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]]], \
             \"s\" => [[\"3-1\" [\"a\" \"3\"]]]}
         xgroup setid s g 0 -> +OK
         xreadgroup group g d streams s > -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]] [\"3-1\" [\"a\" \
             \"3\"]] [\"4-1\" [\"a\" \"4\"]]]}
         xpending s g -> [3 \"1-1\" \"4-1\" [[\"d\" \"3\"]]]
         xreadgroup group h c streams s > -> -NOGROUP No such key 's' or consumer group 'h' in \
             XREADGROUP with GROUP option
         xreadgroup group g c streams x > -> -NOGROUP No such key 'x' or consumer group 'g' in \
             XREADGROUP with GROUP option
         xreadgroup group g c streams s $ -> -ERR The $ ID is meaningless in the context of \
             XREADGROUP: you want to read the history of this consumer by specifying a proper ID, \
             or use the > ID to get new messages. The $ ID would just return an empty result set.
         xreadgroup count 1 count 1 streams s > -> -ERR Missing GROUP option for XREADGROUP",
    );
}

#[test]
fn pending_entries_are_looked_for() {
    let mut server = Harness::new();
    server.script(THREE);
    server.run("xreadgroup group g c count 2 streams s >");
    server.now_ms += 50;
    server.run("xreadgroup group g d streams s >");
    server.now_ms += 5;
    server.script(
        "xpending s g -> [3 \"1-1\" \"3-1\" [[\"c\" \"2\"] [\"d\" \"1\"]]]
         xpending s g - + 10 -> [[\"1-1\" \"c\" 55 1] [\"2-1\" \"c\" 55 1] [\"3-1\" \"d\" 5 1]]
         xpending s g - + 1 -> [[\"1-1\" \"c\" 55 1]]
         xpending s g - + 10 d -> [[\"3-1\" \"d\" 5 1]]
         xpending s g (1-1 2 10 c -> [[\"2-1\" \"c\" 55 1]]
         xpending s g - + 10 x -> []
         xpending s g - + -1 -> []
         xpending s g + - 10 -> []
         xpending s g idle 20 - + 10 -> [[\"1-1\" \"c\" 55 1] [\"2-1\" \"c\" 55 1]]
         xpending s g idle 20 - + 10 d -> []
         xpending s g idle 20 - + -> -ERR syntax error
         xpending s g idle -> -ERR syntax error
         xpending s g - + -> -ERR syntax error
         xpending s g - + x -> -ERR value is not an integer or out of range
         xpending s g - + 1 c d e -> [[\"1-1\" \"c\" 55 1]]
         xpending s h -> -NOGROUP No such key 's' or consumer group 'h'
         xpending x g -> -NOGROUP No such key 'x' or consumer group 'g'
         xinfo consumers s g -> [{\"name\": \"c\", \"pending\": 2, \"idle\": 55, \"inactive\": \
             55} {\"name\": \"d\", \"pending\": 1, \"idle\": 5, \"inactive\": 5}]
         xreadgroup group g c streams s > -> nil
         xinfo consumers s g -> [{\"name\": \"c\", \"pending\": 2, \"idle\": 0, \"inactive\": \
             55} {\"name\": \"d\", \"pending\": 1, \"idle\": 5, \"inactive\": 5}]
         xgroup createconsumer s g e -> 1
         xgroup delconsumer s g c -> 2
         xinfo consumers s g -> [{\"name\": \"d\", \"pending\": 1, \"idle\": 5, \"inactive\": 5} \
             {\"name\": \"e\", \"pending\": 0, \"idle\": 0, \"inactive\": -1}]",
    );
}

#[test]
fn entries_are_claimed() {
    let mut server = Harness::new();
    server.script(THREE);
    server.run("xreadgroup group g c count 2 streams s >");
    server.now_ms += 100;
    server.script(
        "xclaim s g d 200 1-1 -> []
         xclaim s g d 100 1-1 2-1 3-1 -> [[\"1-1\" [\"a\" \"1\"]] [\"2-1\" [\"a\" \"2\"]]]
         xpending s g - + 10 -> [[\"1-1\" \"d\" 0 2] [\"2-1\" \"d\" 0 2]]
         xclaim s g c 0 1-1 justid -> [\"1-1\"]
         xclaim s g c 0 1-1 idle 30 retrycount 7 -> [[\"1-1\" [\"a\" \"1\"]]]
         xclaim s g c 0 3-1 force justid -> [\"3-1\"]
         xclaim s g c 0 9-1 force -> []
         xpending s g - + 10 -> [[\"1-1\" \"c\" 30 7] [\"2-1\" \"d\" 0 2] [\"3-1\" \"c\" 0 1]]
         xclaim s g c 0 2-1 time 1699999999999 lastid 3-1 -> [[\"2-1\" [\"a\" \"2\"]]]
         xpending s g - 2 2 -> [[\"1-1\" \"c\" 30 7] [\"2-1\" \"c\" 101 3]]
         xreadgroup group g c streams s > -> nil
         xdel s 1-1 -> 1
         xclaim s g c 0 1-1 -> []
         xpending s g -> [2 \"2-1\" \"3-1\" [[\"c\" \"2\"]]]
         xclaim s g c x 1-1 -> -ERR Invalid min-idle-time argument for XCLAIM
         xclaim s g c 0 1-1 idle x -> -ERR Invalid IDLE option argument for XCLAIM
         xclaim s g c 0 1-1 idle -> -ERR Unrecognized XCLAIM option 'idle'
         xclaim s g c 0 1-1 foo -> -ERR Unrecognized XCLAIM option 'foo'
         xclaim s h c 0 1-1 -> -NOGROUP No such key 's' or consumer group 'h'",
    );
}

#[test]
fn old_entries_are_claimed() {
    let mut server = Harness::new();
    server.script(THREE);
    server.run("xreadgroup group g c streams s >");
    server.now_ms += 100;
    server.script(
        "xautoclaim s g d 200 - -> [\"0-0\" [] []]
         xautoclaim s g d 100 - count 1 -> [\"2-1\" [[\"1-1\" [\"a\" \"1\"]]] []]
         xdel s 2-1 -> 1
         xautoclaim s g d 100 2-1 count 1 -> [\"3-1\" [] [\"2-1\"]]
         xautoclaim s g d 100 (1-1 justid -> [\"0-0\" [\"3-1\"] []]
         xpending s g - + 10 -> [[\"1-1\" \"d\" 0 2] [\"3-1\" \"d\" 0 1]]
         xautoclaim s g d 0 - count 0 -> -ERR COUNT must be > 0
         xautoclaim s g d 0 - count x -> -ERR COUNT must be > 0
         xautoclaim s g d 0 - foo -> -ERR syntax error
         xautoclaim s g d x - -> -ERR Invalid min-idle-time argument for XAUTOCLAIM
         xautoclaim s h d 0 - -> -NOGROUP No such key 's' or consumer group 'h'",
    );
    for n in 10..700 {
        server.run(&format!("xadd s {n}-0 a 1"));
    }
    server.run("xreadgroup group g c streams s >");
    let reply = server.run("xautoclaim s g e 0 (3-1 count 600 justid");
    assert!(reply.starts_with("[\"610-0\" [\"10-0\" \"11-0\""), "{reply}");
    assert!(reply.ends_with("\"609-0\"] []]"), "{reply}");
    server.store.check();
}

#[test]
fn lag_is_known_where_nothing_was_deleted_ahead() {
    with_three(
        "xgroup setid s g 0 entriesread 0 -> +OK
         xreadgroup group g c count 1 streams s > -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]]]}
         xinfo groups s -> [{\"name\": \"g\", \"consumers\": 1, \"pending\": 1, \
             \"last-delivered-id\": \"1-1\", \"entries-read\": 1, \"lag\": 2}]
         xdel s 2-1 -> 1
         xinfo groups s -> [{\"name\": \"g\", \"consumers\": 1, \"pending\": 1, \
             \"last-delivered-id\": \"1-1\", \"entries-read\": 1, \"lag\": nil}]
         xreadgroup group g c streams s > -> {\"s\" => [[\"3-1\" [\"a\" \"3\"]]]}
         xinfo groups s -> [{\"name\": \"g\", \"consumers\": 1, \"pending\": 2, \
             \"last-delivered-id\": \"3-1\", \"entries-read\": 3, \"lag\": 0}]
         xtrim s maxlen 0 -> 2
         xgroup setid s g 0 -> +OK
         xinfo groups s -> [{\"name\": \"g\", \"consumers\": 1, \"pending\": 2, \
             \"last-delivered-id\": \"0-0\", \"entries-read\": nil, \"lag\": 0}]
         xadd s 4-1 a 4 -> \"4-1\"
         xinfo groups s -> [{\"name\": \"g\", \"consumers\": 1, \"pending\": 2, \
             \"last-delivered-id\": \"0-0\", \"entries-read\": nil, \"lag\": 1}]",
    );
}

#[test]
fn nobody_is_behind_an_empty_stream() {
    with_three(
        "xgroup setid s g 0 entriesread 1 -> +OK
         xtrim s maxlen 0 -> 3
         xinfo groups s -> [{\"name\": \"g\", \"consumers\": 0, \"pending\": 0, \
             \"last-delivered-id\": \"0-0\", \"entries-read\": 1, \"lag\": 0}]",
    );
}

#[test]
fn everything_is_told_of_a_stream() {
    let mut server = Harness::new();
    server.script(THREE);
    server.script(
        "xreadgroup group g c count 2 streams s > -> {\"s\" => [[\"1-1\" [\"a\" \"1\"]] [\"2-1\" \
             [\"a\" \"2\"]]]}
         xgroup createconsumer s g d -> 1
         xinfo stream s full count 1 -> {\"length\": 3, \"radix-tree-keys\": 1, \
             \"radix-tree-nodes\": 2, \"last-generated-id\": \"3-1\", \"max-deleted-entry-id\": \
             \"0-0\", \"entries-added\": 3, \"recorded-first-entry-id\": \"1-1\", \"entries\": \
             [[\"1-1\" [\"a\" \"1\"]]], \"groups\": [{\"name\": \"g\", \"last-delivered-id\": \
             \"2-1\", \"entries-read\": 2, \"lag\": 1, \"pel-count\": 2, \"pending\": [[\"1-1\" \
             \"c\" 1700000000000 1]], \"consumers\": [{\"name\": \"c\", \"seen-time\": \
             1700000000000, \"active-time\": 1700000000000, \"pel-count\": 2, \"pending\": \
             [[\"1-1\" 1700000000000 1]]} {\"name\": \"d\", \"seen-time\": 1700000000000, \
             \"active-time\": -1, \"pel-count\": 0, \"pending\": []}]}]}
         xinfo stream s foo -> -ERR unknown subcommand or wrong number of arguments for 'stream'. \
             Try XINFO HELP.
         xinfo stream s full count x -> -ERR value is not an integer or out of range
         xinfo stream s full count -> -ERR unknown subcommand or wrong number of arguments for \
             'stream'. Try XINFO HELP.
         xinfo stream x -> -ERR no such key",
    );
}

/// A group goes with one record, whatever is pending in it; compaction takes the rest.
#[test]
fn groups_of_any_size_go_at_once() {
    let mut server = Harness::new();
    for n in 1..=300 {
        server.run(&format!("xadd s {n}-0 a 1"));
    }
    for group in ["g", "h"] {
        server.run(&format!("xgroup create s {group} 0"));
        server.run(&format!("xreadgroup group {group} c streams s >"));
    }
    server.script("xgroup destroy s g -> 1");
    assert!(server.last_write_bytes < 200, "{} bytes", server.last_write_bytes);
    assert_eq!(server.store.compact(), 601, "the consumer, and each entry twice");
    server.script(
        "xpending s h -> [300 \"1-0\" \"300-0\" [[\"c\" \"300\"]]]
         xgroup create s g 0 -> +OK
         xpending s g -> [0 nil nil nil]
         del s -> 1",
    );
    assert!(server.last_write_bytes < 200, "{} bytes", server.last_write_bytes);
    server.store.compact();
    assert_eq!(server.store.len(), 0);
}

#[test]
fn a_consumer_without_a_name_is_copied_too() {
    let mut server = Harness::new();
    server.script("xgroup create s g 0 mkstream");
    let words = ["xgroup", "createconsumer", "s", "g", ""].map(bytes::Bytes::from);
    assert_eq!(server.run_words(&words), "1");
    server.script(
        "copy s t -> 1
         xgroup destroy s g -> 1",
    );
    let words = ["xgroup", "createconsumer", "t", "g", ""].map(bytes::Bytes::from);
    assert_eq!(server.run_words(&words), "0", "it is there");
}
