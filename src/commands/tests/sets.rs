use super::Harness;
use super::collections::{both, sorted};

#[test]
fn members_come_and_go() {
    both(
        "sadd s a b a -> 2
         sadd s b c -> 1
         scard s -> 3
         scard x -> 0
         sismember s a -> 1
         sismember s x -> 0
         sismember x a -> 0
         smismember s a x c -> [1 0 1]
         smismember x a b -> [0 0]
         srem s a x -> 1
         srem x a -> 0
         scard s -> 2
         srem s b c -> 2
         exists s -> 0
         smembers s -> ~[]
         sadd n 3 1 2 01 -> 4
         sismember n 1 -> 1
         sismember n 01 -> 1
         sismember n 001 -> 0
         srem n 01 1 -> 2
         scard n -> 2",
    );
}

#[test]
fn members_are_kept_as_redis_keeps_them() {
    let mut server = Harness::new();
    server.script(
        "sadd s 10 2 -5 -> 3
         object encoding s -> \"intset\"
         smembers s -> ~[\"-5\" \"2\" \"10\"]
         sadd s x -> 1
         object encoding s -> \"listpack\"
         smembers s -> ~[\"-5\" \"2\" \"10\" \"x\"]
         srem s x -> 1
         object encoding s -> \"listpack\"
         sadd t y 1 -> 2
         object encoding t -> \"listpack\"
         smembers t -> ~[\"y\" \"1\"]",
    );
    let long = "x".repeat(65);
    assert_eq!(server.run(&format!("sadd s {long}")), "1");
    assert_eq!(server.run("object encoding s"), "\"hashtable\"");
    assert_eq!(server.run(&format!("sadd l {}", &long[1..])), "1");
    assert_eq!(server.run("object encoding l"), "\"listpack\"");
    let numbers: Vec<String> = (0..512).map(|n: i32| n.to_string()).collect();
    assert_eq!(server.run(&format!("sadd n {}", numbers.join(" "))), "512");
    assert_eq!(server.run("object encoding n"), "\"intset\"");
    assert_eq!(server.run("sadd n 512"), "1");
    assert_eq!(server.run("object encoding n"), "\"hashtable\"");
    server.run("srem n 512");
    assert_eq!(server.run("object encoding n"), "\"hashtable\"");
    let words: Vec<String> = (0..129).map(|n: i32| format!("m{n}")).collect();
    assert_eq!(server.run(&format!("sadd w {}", words[..128].join(" "))), "128");
    assert_eq!(server.run("object encoding w"), "\"listpack\"");
    assert_eq!(server.run(&format!("sadd w {}", words[128])), "1");
    assert_eq!(server.run("object encoding w"), "\"hashtable\"");
    // Many words in one call are taken for many members.
    assert_eq!(server.run(&format!("sadd v {}", ["y"; 129].join(" "))), "1");
    assert_eq!(server.run("object encoding v"), "\"hashtable\"");
    server.store.check();
}

#[test]
fn members_move() {
    both(
        "sadd a 1 x -> 2
         sadd b 2 -> 1
         smove a b x -> 1
         smove a b x -> 0
         smove a a 1 -> 1
         smove a a 9 -> 0
         smove x b 1 -> 0
         smove a b 1 -> 1
         exists a -> 0
         scard b -> 3
         set s v
         smove b s 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         smove s b 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         smove x s 1 -> 0",
    );
}

#[test]
fn sets_are_combined() {
    for packing in super::collections::BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.script(
            "sadd a 1 2 3 4 -> 4
             sadd b 3 4 5 -> 3
             sadd c 4 x -> 2
             sinter a x -> ~[]
             sintercard 3 a b c -> 1
             sintercard 2 a b -> 2
             sintercard 2 a b limit 1 -> 1
             sintercard 2 a b limit 0 -> 2
             sintercard 2 a x -> 0
             sinterstore d a b -> 2
             sunionstore e a b c -> 6
             sdiffstore f a b c -> 2
             sdiffstore a a b -> 2
             sdiffstore f x a -> 0
             exists f -> 0
             sinterstore d d x -> 0
             exists d -> 0
             sunionstore d x y -> 0
             scard a -> 2
             sunion x y -> ~[]
             sdiff x a -> ~[]",
        );
        assert_eq!(sorted(&server.run("sinter b e")), sorted("~[\"3\" \"4\" \"5\"]"));
        let all = sorted("~[\"1\" \"2\" \"3\" \"4\" \"5\" \"x\"]");
        assert_eq!(sorted(&server.run("sunion a b c")), all);
        assert_eq!(sorted(&server.run("sdiff b c x")), sorted("~[\"3\" \"5\"]"));
        assert_eq!(sorted(&server.run("smembers a")), sorted("~[\"1\" \"2\"]"));
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        server.script("set s v");
        for call in ["sinter x s", "sunion s", "sdiff x s", "sunionstore d b s", "sintercard 1 s"] {
            assert_eq!(server.run(call), wrong, "{call}");
        }
        server.script("sunionstore s b -> 3");
    }
}

#[test]
fn numbers_of_sintercard() {
    Harness::new().script(
        "sintercard 0 a -> -ERR numkeys should be greater than 0
         sintercard x a -> -ERR numkeys should be greater than 0
         sintercard 2 a -> -ERR Number of keys can't be greater than number of args
         sintercard 1 a b -> -ERR syntax error
         sintercard 1 a limit -> -ERR syntax error
         sintercard 1 a limit -1 -> -ERR LIMIT can't be negative
         sintercard 1 a limit x -> -ERR LIMIT can't be negative",
    );
}

#[test]
fn members_are_popped() {
    both(
        "sadd s a -> 1
         spop x -> nil
         spop x 1 -> ~[]
         spop s 0 -> ~[]
         spop s -1 -> -ERR value is out of range, must be positive
         spop s x -> -ERR value is out of range, must be positive
         spop s 1 2 -> -ERR syntax error
         spop s -> \"a\"
         exists s -> 0
         sadd s a -> 1
         spop s 2 -> ~[\"a\"]
         exists s -> 0",
    );
    for packing in super::collections::BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        let all: Vec<String> = (0..300).map(|n: i32| n.to_string()).collect();
        server.run(&format!("sadd s {}", all.join(" ")));
        let mut popped = Vec::new();
        for count in [1, 5, 100, 150, 50] {
            let text = server.run(&format!("spop s {count}"));
            let these = sorted(&text);
            popped.extend(these);
            server.store.check();
        }
        popped.sort();
        let mut expected: Vec<String> = all.iter().map(|n| format!("\"{n}\"")).collect();
        expected.sort();
        assert_eq!(popped, expected);
    }
}

#[test]
fn some_members() {
    both(
        "srandmember x -> nil
         srandmember x 3 -> []
         sadd s a -> 1
         srandmember s -> \"a\"
         srandmember s 0 -> []
         srandmember s 5 -> [\"a\"]
         srandmember s -3 -> [\"a\" \"a\" \"a\"]
         srandmember s x -> -ERR value is not an integer or out of range
         srandmember s 1 2 -> -ERR syntax error
         srandmember s -300000 -> -ERR value is out of range, at most 262144 elements are answered
         scard s -> 1",
    );
}
