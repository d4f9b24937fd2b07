//! Sorted sets: texts, options, replies.

use super::Harness;
use super::collections::both;

#[test]
fn adding_and_asking() {
    both(
        "zadd z 1 a 2 b 3 c -> 3
         zadd z 1 a 5 d -> 1
         zadd z ch 9 a 5 d 6 e -> 2
         zadd z nx 1 a -> 0
         zadd z xx 1 f -> 0
         zadd z xx ch 2.5 b -> 1
         zadd z gt ch 1 b 3 c -> 0
         zadd z lt ch 1 b 3 c -> 1
         zadd z incr 2 b -> ,3
         zadd z nx incr 2 b -> nil
         zadd none xx incr 2 b -> nil
         zadd none xx 2 b -> 0
         zadd z gt incr -1 b -> nil
         zincrby z 0.5 b -> ,3.5
         zincrby z 1e20 new -> ,1e+20
         zscore z b -> ,3.5
         zscore z x -> nil
         zscore none x -> nil
         zmscore z a x c -> [,9 nil ,3]
         zmscore none a b -> [nil nil]
         zcard z -> 6
         zrank z c -> 0
         zrevrank z c -> 5
         zrank z e withscore -> [3 ,6]
         zrank z x -> nil
         zrank z x withscore -> nil
         zrem z a x e -> 2
         zrem z b c d new -> 4
         exists z -> 0
         zrem z b -> 0",
    );
}

#[test]
fn scores_print_and_sort_as_in_redis() {
    both(
        "zadd z inf a -inf b 0 c 0 d 0.1 e 1e-7 f 0x10 g 3.0 h 12345678901234567890 i -> 9
         zrange z 0 -1 withscores -> [(\"b\" ,-inf) (\"c\" ,0) (\"d\" ,0) (\"f\" ,1e-7) (\"e\" ,0.1) \
         (\"h\" ,3) (\"g\" ,16) (\"i\" ,12345678901234567000) (\"a\" ,inf)]
         zscan z 0 match e -> [\"0\" [\"e\" \"0.1\"]]
         zincrby z -inf a -> -ERR resulting score is not a number (NaN)
         zadd z incr -inf a -> -ERR resulting score is not a number (NaN)
         zscore z a -> ,inf",
    );
}

#[test]
fn zero_has_a_sign_in_large_sorted_sets_only() {
    let mut server = Harness::new();
    server.script(
        "zadd z -0 a -> 1
         zscore z a -> ,0",
    );
    server.packing.zset_entries = 0;
    server.script(
        "zadd y -0 a 0 b -> 2
         zrange y 0 -1 withscores -> [(\"a\" ,-0) (\"b\" ,0)]
         zadd y ch 0 a -> 0
         zscore y a -> ,-0
         zscan y 0 match a -> [\"0\" [\"a\" \"-0\"]]
         zrank y b -> 1",
    );
}

#[test]
fn errors_of_adding() {
    both(
        "zadd z nx xx 1 a -> -ERR XX and NX options at the same time are not compatible
         zadd z nx gt 1 a -> -ERR GT, LT, and/or NX options at the same time are not compatible
         zadd z lt gt 1 a -> -ERR GT, LT, and/or NX options at the same time are not compatible
         zadd z incr 1 a 2 b -> -ERR INCR option supports a single increment-element pair
         zadd z 1 a 2 -> -ERR syntax error
         zadd z nx ch -> -ERR syntax error
         zadd z 1 a nan b -> -ERR value is not a valid float
         zadd z 1e999 b -> -ERR value is not a valid float
         zincrby z nx a -> -ERR syntax error
         zincrby z x a -> -ERR value is not a valid float
         exists z -> 0
         set s 1
         zadd s 1 a -> -WRONGTYPE Operation against a key holding the wrong kind of value
         zrange s 0 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         zrank z a b -> -ERR syntax error
         zrank z a withscore x -> -ERR wrong number of arguments for 'zrank' command",
    );
}

#[test]
fn popping() {
    both(
        "zadd z 1 a 2 b 3 c 4 d 5 e -> 5
         zpopmin z -> [\"a\" ,1]
         zpopmax z 2 -> [(\"e\" ,5) (\"d\" ,4)]
         zpopmin z 0 -> []
         zpopmin z -1 -> -ERR value is out of range, must be positive
         zpopmin z 1 2 -> -ERR syntax error
         zpopmin none -> []
         zpopmin none 2 -> []
         zmpop 2 none z max count 5 -> [\"z\" [[\"c\" ,3] [\"b\" ,2]]]
         exists z -> 0
         zmpop 2 none z min -> nil
         zmpop 0 z min -> -ERR numkeys should be greater than 0
         zmpop 2 z min -> -ERR syntax error
         zmpop 1 z sum -> -ERR syntax error
         zmpop 1 z min count 0 -> -ERR count should be greater than 0
         zmpop 1 z min count 1 count 2 -> -ERR syntax error",
    );
}

#[test]
fn popping_commands_that_wait_try_once() {
    both(
        "zadd z 1 a 2.5 b 3 c 4 d 5 e -> 5
         bzpopmin x z 0 -> [\"z\" \"a\" ,1]
         bzpopmax z x 0 -> [\"z\" \"e\" ,5]
         bzmpop 0 2 x z min count 2 -> [\"z\" [[\"b\" ,2.5] [\"c\" ,3]]]
         bzmpop 1.5 1 z MAX -> [\"z\" [[\"d\" ,4]]]
         exists z -> 0
         bzpopmin z x -> -ERR timeout is not a float or out of range
         bzpopmax z -1 -> -ERR timeout is negative
         bzpopmin z 0x7FFFFFFFFFFFFFFF -> -ERR timeout is out of range
         bzmpop x 0 z min -> -ERR numkeys should be greater than 0
         bzmpop x 1 z min -> -ERR timeout is not a float or out of range
         bzmpop -1 1 z min -> -ERR timeout is negative
         bzmpop 0 a z min -> -ERR numkeys should be greater than 0
         bzmpop 0 2 z min -> -ERR syntax error
         bzmpop 0 1 z left -> -ERR syntax error
         bzmpop 0 1 z min count -> -ERR syntax error
         bzmpop 0 1 z min count 0 -> -ERR count should be greater than 0
         bzmpop 0 1 z min count 1 count 2 -> -ERR syntax error
         rpush l a -> 1
         bzpopmin x l 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         bzpopmax l 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         bzmpop 0 2 x l max -> -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
    let mut server = Harness::new();
    for call in ["bzpopmin x 1.5", "bzpopmax x y 0", "bzmpop 0 2 x y min count 2"] {
        let answer = server.run(call);
        assert!(answer.starts_with("+waits") && answer.contains("kind: ZSet"), "{call}: {answer}");
    }
}

#[test]
fn ranges() {
    both(
        "zadd z 1 a 2 b 3 c 4 d -> 4
         zrange z 1 2 -> [\"b\" \"c\"]
         zrange z -2 -1 rev withscores -> [(\"b\" ,2) (\"a\" ,1)]
         zrange z 5 9 -> []
         zrange z (1 3 byscore -> [\"b\" \"c\"]
         zrange z 3 (1 byscore rev -> [\"c\" \"b\"]
         zrange z -inf +inf byscore limit 1 2 -> [\"b\" \"c\"]
         zrange z -inf +inf byscore limit 1 -1 -> [\"b\" \"c\" \"d\"]
         zrange z -inf +inf byscore limit -1 2 -> []
         zrange z 0 -1 limit 1 2 -> -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
         zrange z - + bylex withscores -> -ERR syntax error, WITHSCORES not supported in combination with BYLEX
         zrange z a 1 -> -ERR value is not an integer or out of range
         zrange z a 1 byscore -> -ERR min or max is not a float
         zrange z a 1 bylex -> -ERR min or max not valid string range item
         zrange z 0 1 byscore bylex -> -ERR syntax error
         zrange none 0 1 -> []
         zrevrange z 0 1 -> [\"d\" \"c\"]
         zrevrange z 0 1 rev -> -ERR syntax error
         zrangebyscore z 2 3 withscores -> [(\"b\" ,2) (\"c\" ,3)]
         zrevrangebyscore z 3 2 limit 1 1 -> [\"b\"]
         zcount z 2 +inf -> 3
         zcount z (2 (3 -> 0
         zrangestore to z 1 -1 -> 3
         zrange to 0 -1 withscores -> [(\"b\" ,2) (\"c\" ,3) (\"d\" ,4)]
         zrangestore to z 9 9 -> 0
         exists to -> 0
         zrangestore to z +inf 2 byscore rev limit 0 2 -> 2
         zrange to 0 -1 -> [\"c\" \"d\"]
         zrangestore to none 0 -1 -> 0
         exists to -> 0
         zremrangebyrank z 0 0 -> 1
         zremrangebyscore z (3 4 -> 1
         zremrangebyscore z 9 10 -> 0
         zremrangebyrank z 0 -1 -> 2
         exists z -> 0",
    );
}

#[test]
fn ranges_of_names() {
    both(
        "zadd z 0 alpha 0 bar 0 cool 0 down 0 elephant -> 5
         zrangebylex z - [cool -> [\"alpha\" \"bar\" \"cool\"]
         zrangebylex z (alpha (cool -> [\"bar\"]
         zrevrangebylex z + [d limit 0 1 -> [\"elephant\"]
         zrange z [bar + bylex limit 1 2 -> [\"cool\" \"down\"]
         zrange z (down [bar bylex rev -> [\"cool\" \"bar\"]
         zrangebylex z + - -> []
         zrangebylex z [c [b -> []
         zlexcount z [bar (down -> 2
         zlexcount z - + -> 5
         zlexcount none - + -> 0
         zlexcount z x + -> -ERR min or max not valid string range item
         zadd mixed 1 a 2 b 3 c 4 d -> 4
         zrangebylex mixed [b [c -> [\"b\" \"c\"]
         zrevrangebylex mixed (d [b limit 1 5 -> [\"b\"]
         zlexcount mixed - + -> 4
         zlexcount mixed [x + -> 0
         zremrangebylex mixed (a (d -> 2
         zrange mixed 0 -1 -> [\"a\" \"d\"]
         zremrangebylex z [b (d -> 2
         zrange z 0 -1 -> [\"alpha\" \"down\" \"elephant\"]",
    );
}

#[test]
fn algebra() {
    both(
        "zadd a 1 x 2 y 3 z -> 3
         zadd b 10 y 20 z 30 w -> 3
         sadd s y w -> 2
         zunion 2 a b withscores -> [(\"x\" ,1) (\"y\" ,12) (\"z\" ,23) (\"w\" ,30)]
         zunion 2 a none -> [\"x\" \"y\" \"z\"]
         zinter 2 a b weights 2 1 aggregate max withscores -> [(\"y\" ,10) (\"z\" ,20)]
         zinter 2 a s withscores -> [(\"y\" ,3)]
         zinter 2 a none -> []
         zdiff 2 a s withscores -> [(\"x\" ,1) (\"z\" ,3)]
         zdiff 2 none a -> []
         zintercard 2 a b -> 2
         zintercard 2 a b limit 1 -> 1
         zintercard 2 a b limit -1 -> -ERR LIMIT can't be negative
         zunionstore to 3 a b s -> 4
         zrange to 0 -1 withscores -> [(\"x\" ,1) (\"y\" ,13) (\"z\" ,23) (\"w\" ,31)]
         zinterstore a 2 a b aggregate min -> 2
         zrange a 0 -1 withscores -> [(\"y\" ,2) (\"z\" ,3)]
         zdiffstore to 2 b a -> 1
         zrange to 0 -1 -> [\"w\"]
         zdiffstore to 2 a a -> 0
         exists to -> 0
         zunion 0 a -> -ERR at least 1 input key is needed for 'zunion' command
         zunion 3 a b -> -ERR syntax error
         zunion 2 a b weights 1 -> -ERR syntax error
         zunion 2 a b weights 1 x -> -ERR weight value is not a float
         zdiff 2 a b weights 1 2 -> -ERR syntax error
         zunionstore to 1 a withscores -> -ERR syntax error
         set k 1
         zunion 2 a k x -> -WRONGTYPE Operation against a key holding the wrong kind of value
         zadd i inf m -> 1
         zadd j -inf m -> 1
         zunion 2 i j withscores -> [(\"m\" ,0)]
         zunion 1 i weights 0 withscores -> [(\"m\" ,0)]",
    );
}

#[test]
fn generic_commands_know_sorted_sets() {
    both(
        "zadd z 1 a 2 b -> 2
         type z -> +zset
         scan 0 type zset -> [\"0\" [\"z\"]]
         copy z y -> 1
         zadd y 3 c -> 1
         zrange z 0 -1 -> [\"a\" \"b\"]
         rename y z -> +OK
         zrange z 0 -1 -> [\"a\" \"b\" \"c\"]
         move z 1 -> 1
         exists z -> 0
         zadd z 1 a -> 1
         expire z 10 -> 1
         zadd z 2 b -> 1
         ttl z -> 10
         zrandmember z 0 -> []
         zrandmember none -> nil
         zrandmember z 1 x -> -ERR syntax error
         zscan none 0 -> [\"0\" []]
         zscan z x -> -ERR invalid cursor
         zscan z 0 novalues -> -ERR NOVALUES option can only be used in HSCAN
         del z -> 1",
    );
}

#[test]
fn encodings_follow_the_thresholds() {
    let mut server = Harness::new();
    server.packing.zset_entries = 3;
    server.packing.zset_value = 5;
    server.script(
        "zadd a 1 a 2 b 3 c -> 3
         object encoding a -> \"listpack\"
         zadd a 9 a -> 0
         object encoding a -> \"listpack\"
         zadd a 4 d -> 1
         object encoding a -> \"skiplist\"
         zadd b 1 short -> 1
         zadd b 1 longer -> 1
         object encoding b -> \"skiplist\"
         zrem a a b c -> 3
         object encoding a -> \"skiplist\"
         zunionstore c 1 a -> 1
         object encoding c -> \"listpack\"
         zadd d 1 a 1 a 1 a 1 a -> 1
         object encoding d -> \"skiplist\"",
    );
    let drawn = server.run("zrandmember b -50 withscores");
    assert!(drawn.contains("(\"short\" ,1)") && drawn.contains("(\"longer\" ,1)"), "{drawn}");
}

/// Of the first set of an intersection such a product is zero, of the others it is left to the aggregate.
#[test]
fn zero_times_infinity_is_as_in_redis() {
    both(
        "zadd small -3 m -> 1
         zadd large 0 m 1 n -> 2
         zinter 2 small large weights 8 inf withscores -> [(\"m\" ,0)]
         zinter 2 small large weights 8 inf aggregate max withscores -> [(\"m\" ,-24)]
         zinter 2 small large weights 8 inf aggregate min withscores -> [(\"m\" ,-24)]
         zunion 2 small large weights 8 inf aggregate max withscores -> [(\"m\" ,0) (\"n\" ,inf)]
         zadd zero 0 m -> 1
         zinter 2 zero large weights inf 2 aggregate max withscores -> [(\"m\" ,0)]",
    );
}
