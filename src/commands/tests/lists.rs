use bytes::Bytes;

use super::Harness;
use super::collections::{BOTH, both};
use super::store::Store;
use crate::data::{Packing, View};
use crate::protocol::Reply;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn elements_are_pushed_and_popped_at_both_ends() {
    both(
        "lpush l a b c -> 3
         rpush l d e -> 5
         llen l -> 5
         llen x -> 0
         lrange l 0 -1 -> [\"c\" \"b\" \"a\" \"d\" \"e\"]
         lpushx l f -> 6
         rpushx l g h -> 8
         lpushx x f -> 0
         rpushx x f -> 0
         lpop l -> \"f\"
         rpop l -> \"h\"
         lpop l 0 -> []
         lpop l 2 -> [\"c\" \"b\"]
         rpop l 2 -> [\"g\" \"e\"]
         lpop x -> nil
         lpop x 2 -> nil
         rpop x 0 -> nil
         rpop l -1 -> -ERR value is out of range, must be positive
         lpop l x -> -ERR value is out of range, must be positive
         lpop l 1 2 -> -ERR wrong number of arguments for 'lpop' command
         rpop l 9 -> [\"d\" \"a\"]
         exists l -> 0",
    );
}

#[test]
fn elements_are_read_by_index_and_range() {
    both(
        "rpush l a b c d e -> 5
         lindex l 0 -> \"a\"
         lindex l 4 -> \"e\"
         lindex l 5 -> nil
         lindex l -1 -> \"e\"
         lindex l -5 -> \"a\"
         lindex l -6 -> nil
         lindex l -9223372036854775808 -> nil
         lindex x 0 -> nil
         lindex x y -> nil
         lindex l y -> -ERR value is not an integer or out of range
         lrange l 1 3 -> [\"b\" \"c\" \"d\"]
         lrange l -3 -2 -> [\"c\" \"d\"]
         lrange l 3 1 -> []
         lrange l 5 9 -> []
         lrange l -100 0 -> [\"a\"]
         lrange l 0 -6 -> []
         lrange l 3 9223372036854775807 -> [\"d\" \"e\"]
         lrange x 0 -1 -> []
         lrange x a b -> -ERR value is not an integer or out of range",
    );
}

#[test]
fn elements_are_set_inserted_and_removed() {
    both(
        "rpush l a b c b a b -> 6
         lset l 0 A -> +OK
         lset l -1 B -> +OK
         lset l 6 x -> -ERR index out of range
         lset l -7 x -> -ERR index out of range
         lset l y x -> -ERR value is not an integer or out of range
         lset x y x -> -ERR no such key
         lrange l 0 -1 -> [\"A\" \"b\" \"c\" \"b\" \"a\" \"B\"]
         linsert l before c 1 -> 7
         linsert l after a 2 -> 8
         linsert l before A 3 -> 9
         linsert l AFTER B 4 -> 10
         linsert l before y z -> -1
         linsert x before y z -> 0
         linsert l amid y z -> -ERR syntax error
         lrange l 0 -1 -> [\"3\" \"A\" \"b\" \"1\" \"c\" \"b\" \"a\" \"2\" \"B\" \"4\"]
         lrem l 1 b -> 1
         lrem l 0 y -> 0
         lrem x 0 y -> 0
         lrem l -9223372036854775808 y -> -ERR value is out of range, value must between \
             -9223372036854775807 and 9223372036854775807
         lrange l 0 -1 -> [\"3\" \"A\" \"1\" \"c\" \"b\" \"a\" \"2\" \"B\" \"4\"]
         rpush m x a x b x c x -> 7
         lrem m -2 x -> 2
         lrange m 0 -1 -> [\"x\" \"a\" \"x\" \"b\" \"c\"]
         lrem m 0 x -> 2
         lrange m 0 -1 -> [\"a\" \"b\" \"c\"]
         lrem m 5 a -> 1
         lrem m 1 c -> 1
         lrem m 1 b -> 1
         exists m -> 0",
    );
}

#[test]
fn lists_are_trimmed() {
    both(
        "rpush l a b c d e f g h -> 8
         ltrim l 1 -2 -> +OK
         lrange l 0 -1 -> [\"b\" \"c\" \"d\" \"e\" \"f\" \"g\"]
         ltrim l 0 2 -> +OK
         ltrim l 2 100 -> +OK
         lrange l 0 -1 -> [\"d\"]
         ltrim l 0 -1 -> +OK
         llen l -> 1
         ltrim l 3 1 -> +OK
         exists l -> 0
         ltrim l 0 1 -> +OK
         ltrim l a 1 -> -ERR value is not an integer or out of range",
    );
    let mut server = Harness::new();
    server.packing = BOTH[1];
    let all: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    server.run(&format!("rpush l {}", all.join(" ")));
    server.script(
        "ltrim l 100 104 -> +OK\n lrange l 0 -1 -> [\"100\" \"101\" \"102\" \"103\" \"104\"]",
    );
    let records = server.store.with_read(crate::data::model::elements).len();
    assert!(server.last_write_bytes < 1000, "few are kept: {} bytes", server.last_write_bytes);
    server.store.compact();
    assert_eq!(server.store.with_read(crate::data::model::elements).len(), 5, "of {records}");
}

#[test]
fn positions_of_elements() {
    both(
        "rpush l a b c 1 2 3 c c -> 8
         lpos l a -> 0
         lpos l c -> 2
         lpos l x -> nil
         lpos x a -> nil
         lpos x a count 1 -> []
         lpos l c rank 2 -> 6
         lpos l c rank -1 -> 7
         lpos l c rank -4 -> nil
         lpos l c count 0 -> [2 6 7]
         lpos l c count 2 -> [2 6]
         lpos l c count 2 rank -1 -> [7 6]
         lpos l c count 0 rank -3 -> [2]
         lpos l x count 0 -> []
         lpos l c maxlen 2 -> nil
         lpos l c maxlen 3 -> 2
         lpos l c rank -1 maxlen 1 -> 7
         lpos l a rank -1 maxlen 7 -> nil
         lpos l c count 0 maxlen 7 -> [2 6]
         lpos l c rank 0 -> -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
         lpos l c rank -9223372036854775808 -> -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         lpos l c count -1 -> -ERR COUNT can't be negative
         lpos l c maxlen -1 -> -ERR MAXLEN can't be negative
         lpos l c rank x -> -ERR value is not an integer or out of range
         lpos l c rank -> -ERR syntax error
         lpos l c foo 1 -> -ERR syntax error",
    );
}

#[test]
fn elements_move_between_lists() {
    both(
        "rpush a 1 2 3 4 -> 4
         lmove a b left right -> \"1\"
         lmove a b right left -> \"4\"
         lmove a b RIGHT RIGHT -> \"3\"
         lrange b 0 -1 -> [\"4\" \"1\" \"3\"]
         lmove a a left right -> \"2\"
         lrange a 0 -1 -> [\"2\"]
         lmove b b left right -> \"4\"
         lmove b b left left -> \"1\"
         lrange b 0 -1 -> [\"1\" \"3\" \"4\"]
         rpoplpush b b -> \"4\"
         rpoplpush b a -> \"3\"
         lrange a 0 -1 -> [\"3\" \"2\"]
         lmove x a left left -> nil
         rpoplpush x a -> nil
         lmove a b up left -> -ERR syntax error
         lmove a b left up -> -ERR syntax error
         rpoplpush b a -> \"1\"
         rpoplpush b a -> \"4\"
         exists b -> 0
         lrange a 0 -1 -> [\"4\" \"1\" \"3\" \"2\"]",
    );
}

#[test]
fn several_are_popped_from_the_first_list_there_is() {
    both(
        "rpush a 1 2 3 -> 3
         lmpop 2 x a left -> [\"a\" [\"1\"]]
         lmpop 2 x a right count 9 -> [\"a\" [\"3\" \"2\"]]
         exists a -> 0
         lmpop 2 x a left -> nil
         lmpop 0 x left -> -ERR numkeys should be greater than 0
         lmpop a x left -> -ERR numkeys should be greater than 0
         lmpop 3 x left -> -ERR syntax error
         lmpop 1 x left count 0 -> -ERR count should be greater than 0
         lmpop 1 x left count a -> -ERR count should be greater than 0
         lmpop 1 x left count 1 count 1 -> -ERR syntax error
         lmpop 1 x up -> -ERR syntax error
         lmpop 1 x left foo 1 -> -ERR syntax error
         lmpop 1 x left count -> -ERR syntax error",
    );
}

#[test]
fn commands_that_wait_try_once() {
    both(
        "rpush a 1 2 3 4 5 6 7 -> 7
         blpop x a 0 -> [\"a\" \"1\"]
         brpop x a 0 -> [\"a\" \"7\"]
         blmove a b left right 0 -> \"2\"
         brpoplpush a b 0 -> \"6\"
         blmpop 0 2 x a left count 2 -> [\"a\" [\"3\" \"4\"]]
         lrange b 0 -1 -> [\"6\" \"2\"]
         blpop a x -> -ERR timeout is not a float or out of range
         blpop a -1 -> -ERR timeout is negative
         brpop a 0x7FFFFFFFFFFFFFFF -> -ERR timeout is out of range
         blmove a b up left x -> -ERR syntax error
         blmove a b left left x -> -ERR timeout is not a float or out of range
         brpoplpush a b x -> -ERR timeout is not a float or out of range
         blmpop x 0 a left -> -ERR numkeys should be greater than 0
         blmpop x 1 a left -> -ERR timeout is not a float or out of range
         blmpop 0 0 a left -> -ERR numkeys should be greater than 0",
    );
    let mut server = Harness::new();
    for call in ["blpop x 1.5", "brpop x y 0", "blmove x y left left 0", "blmpop 0 1 x left"] {
        assert!(server.run(call).starts_with("+waits"), "{call}");
    }
}

#[test]
fn other_types_are_refused() {
    let mut server = Harness::new();
    server.script("set s v\n rpush l a -> 1");
    for call in [
        "lpush s a",
        "lpushx s a",
        "lpop s",
        "rpop s 1",
        "llen s",
        "lrange s 0 1",
        "lindex s 0",
        "lset s 0 a",
        "linsert s before a b",
        "lrem s 0 a",
        "ltrim s 0 1",
        "lpos s a",
        "lmove s x left left",
        "lmove l s left left",
        "rpoplpush l s",
        "lmpop 1 s left",
        "blpop x s 0",
        "brpop s 0",
        "blmove s x left left 0",
        "blmove l s left left 0",
        "brpoplpush s x 0",
        "blmpop 0 1 s left",
        "get l",
        "hget l a",
        "sadd l a",
        "append l a",
        "setbit l 0 1",
        "pfadd l a",
    ] {
        assert_eq!(server.run(call), WRONG_TYPE, "{call}");
    }
    server.script("lmove x s left left -> nil\n llen l -> 1");
}

#[test]
fn lists_are_kept_as_redis_keeps_them() {
    let mut server = Harness::new();
    server.packing = Packing { list_size: 4, ..Packing::DEFAULT };
    server.script(
        "rpush l a b c -> 3
         object encoding l -> \"listpack\"
         rpush l d -> 4
         object encoding l -> \"listpack\"
         rpush l e -> 5
         object encoding l -> \"quicklist\"
         lpop l 2 -> [\"a\" \"b\"]
         object encoding l -> \"quicklist\"
         lpop l -> \"c\"
         object encoding l -> \"listpack\"
         lrange l 0 -1 -> [\"d\" \"e\"]
         rpush l 1 2 3 -> 5
         object encoding l -> \"quicklist\"
         ltrim l 1 2 -> +OK
         object encoding l -> \"listpack\"
         lrange l 0 -1 -> [\"e\" \"1\"]",
    );
    server.packing = Packing::DEFAULT;
    let text = |len: usize| "x".repeat(len);
    server.run(&format!("rpush k {} b", text(4096)));
    assert_eq!(server.run("object encoding k"), "\"listpack\"");
    server.run(&format!("rpush k {}", text(4096)));
    assert_eq!(server.run("object encoding k"), "\"quicklist\"");
    server.run("lset k 2 c");
    assert_eq!(server.run("object encoding k"), "\"quicklist\"", "more than half of 8 kb");
    server.run("lset k 0 a");
    assert_eq!(server.run("object encoding k"), "\"listpack\"");
    server.script("lrange k 0 -1 -> [\"a\" \"b\" \"c\"]");
    server.run(&format!("rpush m {}", text(8186)));
    assert_eq!(server.run("object encoding m"), "\"quicklist\"", "8186 bytes and a frame of 7");
    server.script("memory usage k -> 39\n type k -> +list\n scan 0 type list count 10 -> [\"0\" [\"k\" \"l\" \"m\"]]");
}

#[test]
fn generic_commands_know_lists() {
    both(
        "rpush l a b c -> 3
         copy l m -> 1
         rpush m d -> 4
         lrange l 0 -1 -> [\"a\" \"b\" \"c\"]
         rename m l -> +OK
         lrange l 0 -1 -> [\"a\" \"b\" \"c\" \"d\"]
         move l 1 -> 1
         exists l -> 0
         rpush l a b -> 2
         expire l 10 -> 1
         lpush l c -> 3
         ttl l -> 10
         linsert l after a x -> 4
         ttl l -> 10
         ltrim l 1 0 -> +OK
         exists l -> 0
         rpush l a -> 1
         ttl l -> -1
         set l x -> +OK
         rpush s a b -> 2
         del s -> 1
         dbsize -> 1",
    );
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.script("rpush a 1 2 3 -> 3\n lpop a 3 -> [\"1\" \"2\" \"3\"]\n rpush b 1 2 3 -> 3\n del b -> 1");
        server.store.compact();
        assert_eq!(server.store.len(), 0, "nothing is left");
    }
}

#[test]
fn a_queue_leaves_nothing_to_wade_through() {
    let mut server = Harness::over(Store::disk());
    server.packing = BOTH[1];
    for n in 0..400 {
        assert_eq!(server.run(&format!("rpush q {n} {n}")), (n + 2).to_string());
        assert_eq!(server.run("lpop q"), format!("\"{}\"", n / 2));
    }
    server.script("lindex q 0 -> \"200\"\n lindex q -1 -> \"399\"\n llen q -> 400");
    server.store.compact();
    let elements = server.store.with_read(crate::data::model::elements);
    assert_eq!(elements.len(), 400);
}

#[test]
fn a_change_in_the_middle_moves_the_nearer_end() {
    let mut server = Harness::new();
    server.packing = BOTH[1];
    let all: Vec<String> = (0..1000).map(|n| format!("element:{n:04}")).collect();
    server.run(&format!("rpush l {}", all.join(" ")));
    for (call, answer) in [
        ("linsert l after element:0003 x", "1001"),
        ("linsert l before element:0997 y", "1002"),
        ("lrem l 0 x", "1"),
        ("lrem l -1 y", "1"),
    ] {
        assert_eq!(server.run(call), answer, "{call}");
        assert!(server.last_write_bytes < 1000, "{call}: {}", server.last_write_bytes);
        server.store.check();
    }
    assert_eq!(server.run("lindex l 500"), "\"element:0500\"");
}

#[test]
fn a_change_far_from_both_ends_counts_the_elements() {
    let mut server = Harness::over(Store::disk());
    server.packing = BOTH[1];
    let mut expected: Vec<String> = (0..2000).map(|n| format!("element:{n:04}")).collect();
    server.run(&format!("rpush l {}", expected.join(" ")));
    let mut random = fastrand::Rng::with_seed(3);
    for n in 0..120 {
        let at = random.usize(100..expected.len() - 100);
        let (pivot, element) = (expected[at].clone(), format!("new:{n}"));
        let call = match n % 3 {
            0 => {
                expected.insert(at, element.clone());
                format!("linsert l before {pivot} {element}")
            }
            1 => {
                expected.insert(at + 1, element.clone());
                format!("linsert l after {pivot} {element}")
            }
            _ => {
                expected.remove(at);
                format!("lrem l 1 {pivot}")
            }
        };
        server.run(&call);
        let most = if n == 0 { 3000 } else { 500 };
        assert!(server.last_write_bytes < most, "{call}: {}", server.last_write_bytes);
        let at = random.usize(..expected.len());
        assert_eq!(server.run(&format!("lindex l {at}")), format!("\"{}\"", expected[at]));
        if n % 30 == 0 {
            server.store.check();
            server.store.reopen();
        }
    }
    let all: Vec<String> = expected.iter().map(|element| format!("\"{element}\"")).collect();
    assert_eq!(server.run("lrange l 0 -1"), format!("[{}]", all.join(" ")));
    assert_eq!(server.run("rpoplpush l l"), all[all.len() - 1]);
    assert_eq!(server.run("lindex l 0"), all[all.len() - 1]);
    assert_eq!(server.run("copy l m"), "1");
    server.store.check();
    server.run("ltrim l 1000 -1");
    assert_eq!(server.run("lpop l"), all[999]);
    server.store.check();
}

#[test]
fn many_inserts_at_one_place_go_on() {
    for side in ["before", "after"] {
        let mut server = Harness::new();
        server.packing = BOTH[1];
        let all: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        server.run(&format!("rpush l {}", all.join(" ")));
        for n in 0..500 {
            let pivot = if n % 2 == 0 { "50".to_owned() } else { format!("x{}", n - 1) };
            assert_eq!(
                server.run(&format!("linsert l {side} {pivot} x{n}")),
                (n + 101).to_string()
            );
        }
        server.store.check();
        assert_eq!(server.run("lindex l 40"), "\"40\"");
        assert_eq!(server.run("lindex l -41"), "\"59\"");
    }
}

#[test]
fn a_long_list_is_read_on_the_blocking_pool() {
    let mut server = Harness::over(Store::disk());
    server.packing = BOTH[1];
    for n in 0..30 {
        let all: Vec<String> = (0..100).map(|m| format!("element:{n}:{m}")).collect();
        server.run(&format!("rpush l {}", all.join(" ")));
    }
    server.store.compact();
    server.run("lindex l 0");
    server.blocked = 0;
    let words: Vec<Bytes> = ["lrange", "l", "0", "-1"].map(Bytes::from).to_vec();
    let Ok(Reply::Array(elements)) = server.call(&words) else { panic!("an array") };
    assert_eq!((elements.len(), server.blocked), (3000, 1));
    assert_eq!(server.run("copy l m"), "1");
    server.store.check();
}

#[test]
fn checks_find_what_is_wrong() {
    let mut server = Harness::new();
    server.packing = BOTH[1];
    server.script("rpush l a b c -> 3");
    let find = |server: &Harness| {
        server.store.with_read(|read| {
            let view = View::new(read, server.context()).unwrap();
            let meta = view.find(b"l").unwrap().unwrap();
            view.check_elements(&meta)
        })
    };
    assert!(find(&server).is_ok());
    let records = server.store.with_read(crate::data::model::elements);
    assert_eq!(records.len(), 3);
    for record in records {
        let value = server.store.with_read(|read| read.get(&record)).unwrap();
        for wrong in [None, Some(Bytes::from("longer"))] {
            let mut changes = crate::engine::Changes::default();
            changes.writes.set(record.clone(), wrong.clone());
            server.store.commit(changes);
            assert!(find(&server).is_err(), "{record:?}: {wrong:?}");
        }
        let mut changes = crate::engine::Changes::default();
        changes.writes.set(record, value);
        server.store.commit(changes);
    }
    assert!(find(&server).is_ok());
}
