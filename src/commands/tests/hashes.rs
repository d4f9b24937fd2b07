use super::Harness;
use super::collections::both;

#[test]
fn fields_are_set_read_and_deleted() {
    both(
        "hset h a 1 b 2 a 3 -> 2
         hset h a 4 c 5 -> 1
         hget h a -> \"4\"
         hget h x -> nil
         hget x a -> nil
         hmget h a x c -> [\"4\" nil \"5\"]
         hmget x a b -> [nil nil]
         hlen h -> 3
         hlen x -> 0
         hstrlen h a -> 1
         hstrlen h x -> 0
         hexists h a -> 1
         hexists h x -> 0
         hexists x a -> 0
         hsetnx h a 9 -> 0
         hsetnx h d 9 -> 1
         hmset h d 8 e 7 -> +OK
         hdel h a b x -> 2
         hdel x a -> 0
         hlen h -> 3
         type h -> +hash
         hdel h c d e -> 3
         exists h -> 0
         hgetall h -> {}
         hkeys h -> []
         hvals h -> []
         dbsize -> 0",
    );
}

#[test]
fn a_small_hash_answers_in_the_order_in_which_fields_came() {
    let mut server = Harness::new();
    server.script(
        "hset h z 1 a 2 m 3 -> 3
         hset h a 4 -> 0
         hgetall h -> {\"z\": \"1\", \"a\": \"4\", \"m\": \"3\"}
         hkeys h -> [\"z\" \"a\" \"m\"]
         hvals h -> [\"1\" \"4\" \"3\"]
         hscan h 0 -> [\"0\" [\"z\" \"1\" \"a\" \"4\" \"m\" \"3\"]]
         hscan h 0 novalues -> [\"0\" [\"z\" \"a\" \"m\"]]
         hscan h 0 match a* count 1 -> [\"0\" [\"a\" \"4\"]]",
    );
}

#[test]
fn numbers_in_fields() {
    both(
        "hincrby h n 5 -> 5
         hincrby h n -7 -> -2
         hset h t x -> 1
         hincrby h t 1 -> -ERR hash value is not an integer
         hincrby h n x -> -ERR value is not an integer or out of range
         hset h n 9223372036854775807 -> 0
         hincrby h n 1 -> -ERR increment or decrement would overflow
         hincrbyfloat h f 10.5 -> \"10.5\"
         hincrbyfloat h f 0.1 -> \"10.6\"
         hincrbyfloat h f -.6 -> \"10\"
         hincrbyfloat h t 1 -> -ERR hash value is not a float
         hincrbyfloat h f x -> -ERR value is not a valid float
         hincrbyfloat h f inf -> -ERR value is NaN or Infinity",
    );
}

#[test]
fn other_types_are_refused_both_ways() {
    both(
        "set s x
         hset h a 1 -> 1
         hset s a 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         hget s a -> -WRONGTYPE Operation against a key holding the wrong kind of value
         hlen s -> -WRONGTYPE Operation against a key holding the wrong kind of value
         hscan s 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
         hrandfield s -> -WRONGTYPE Operation against a key holding the wrong kind of value
         get h -> -WRONGTYPE Operation against a key holding the wrong kind of value
         append h x -> -WRONGTYPE Operation against a key holding the wrong kind of value
         incr h -> -WRONGTYPE Operation against a key holding the wrong kind of value
         sadd h x -> -WRONGTYPE Operation against a key holding the wrong kind of value
         mget h s -> [nil \"x\"]
         set h x -> +OK
         get h -> \"x\"",
    );
}
