use super::collections::{BOTH, both};
use super::{Harness, START_MS};

#[test]
fn fields_expire() {
    both(
        "hset h a 1 b 2 c 3 -> 3
         hexpire h 10 fields 2 a x -> [1 -2]
         hpexpire h 5000 fields 1 b -> [1]
         httl h fields 4 a b c x -> [10 5 -1 -2]
         hpttl h fields 2 a b -> [10000 5000]
         hexpireat h 1700000020 fields 1 c -> [1]
         hexpiretime h fields 2 a c -> [1700000010 1700000020]
         hpexpireat h 1700000000001 fields 1 c -> [1]
         hpexpiretime h fields 1 c -> [1700000000001]
         hpexpire h 1 fields 1 c -> [1]
         httl h fields 1 c -> [1]
         hexpiretime h fields 1 c -> [1700000001]
         hpersist h fields 3 a c x -> [1 1 -2]
         hpersist h fields 1 a -> [-1]
         httl h fields 2 a b -> [-1 5]
         hexpire x 10 fields 2 a b -> [-2 -2]
         httl x fields 1 a -> [-2]
         hpersist x fields 1 a -> [-2]
         hset h b 9 -> 0
         httl h fields 1 b -> [-1]
         hexpire h 10 fields 1 b -> [1]
         hincrby h b 1 -> 10
         hincrbyfloat h b 1 -> \"11\"
         httl h fields 1 b -> [10]",
    );
}

#[test]
fn conditions() {
    both(
        "hset h a 1 b 2 -> 2
         hexpire h 10 xx fields 1 a -> [0]
         hexpire h 10 gt fields 1 a -> [0]
         hexpire h 10 lt fields 1 a -> [1]
         hexpire h 20 nx fields 2 a b -> [0 1]
         hexpire h 15 gt fields 2 a b -> [1 0]
         hexpire h 15 gt fields 1 a -> [0]
         hexpire h 12 lt fields 2 a b -> [1 1]
         hexpire h 30 xx fields 1 a -> [1]
         httl h fields 2 a b -> [30 12]",
    );
}

#[test]
fn a_time_that_has_passed_deletes() {
    both(
        "hset h a 1 b 2 c 3 -> 3
         hexpire h 0 fields 1 a -> [2]
         hpexpireat h 1700000000000 nx fields 1 b -> [2]
         hlen h -> 1
         hexpireat h 1 xx fields 1 c -> [0]
         hexpireat h 1 fields 1 c -> [2]
         exists h -> 0",
    );
}

#[test]
fn what_is_refused() {
    Harness::new().script(
        "hset h a 1 -> 1
         hexpire h x fields 1 a -> -ERR value is not an integer or out of range
         hexpire h -1 fields 1 a -> -ERR invalid expire time, must be >= 0
         hexpire h 99999999999999 fields 1 a -> -ERR invalid expire time in 'hexpire' command
         hpexpire h 70368744177663 fields 1 a -> -ERR invalid expire time in 'hpexpire' command
         hpexpireat h 70368744177664 fields 1 a -> -ERR invalid expire time in 'hpexpireat' command
         hpexpireat h 70368744177663 fields 1 a -> [1]
         hexpire h 10 1 a fields 1 -> -ERR Mandatory argument FIELDS is missing or not at the right position
         hexpire h 10 nx xx fields 1 a -> -ERR Mandatory argument FIELDS is missing or not at the right position
         hexpire h 10 fields 0 a -> -ERR Parameter `numFields` should be greater than 0
         hexpire h 10 fields x a -> -ERR Parameter `numFields` should be greater than 0
         hexpire h 10 fields 2 a -> -ERR The `numfields` parameter must match the number of arguments
         hexpire h 10 fields 1 a b -> -ERR The `numfields` parameter must match the number of arguments
         httl h fields 0 a -> -ERR Number of fields must be a positive integer
         httl h fields 2 a -> -ERR The `numfields` parameter must match the number of arguments
         hpersist h field 1 a -> -ERR Mandatory argument FIELDS is missing or not at the right position
         set s x
         httl s fields 1 a -> -WRONGTYPE Operation against a key holding the wrong kind of value
         hexpire s 1 fields 1 a -> -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn expired_fields_are_hidden_then_deleted() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.reaps = false;
        server.script(
            "hset h a 1 b 2 c 3 -> 3
             hpexpire h 10 fields 2 a b -> [1 1]",
        );
        server.now_ms += 10;
        server.script(
            "hlen h -> 3
             hget h a -> nil
             hmget h a b c -> [nil nil \"3\"]
             hexists h b -> 0
             hgetall h -> {\"c\": \"3\"}
             hkeys h -> [\"c\"]
             hscan h 0 -> [\"0\" [\"c\" \"3\"]]
             hrandfield h -> \"c\"
             hrandfield h 5 -> [\"c\"]
             hrandfield h -2 withvalues -> [(\"c\" \"3\") (\"c\" \"3\")]
             httl h fields 1 a -> [-2]
             hsetnx h a 7 -> 1
             hdel h b -> 0
             hlen h -> 2
             httl h fields 1 a -> [-1]",
        );
        // A read that meets an expired field has it deleted.
        server.script("hpexpire h 10 fields 1 a -> [1]");
        server.now_ms += 10;
        server.reaps = true;
        server.script("hget h a -> nil\n hlen h -> 1");
    }
}

#[test]
fn active_expiry_deletes_fields_then_the_key() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        for db in 0..3 {
            server.db = db;
            server.script(
                "hset h a 1 b 2 c 3 d 4 -> 4
                 hset g a 1 -> 1
                 hpexpire h 10 fields 2 a b -> [1 1]
                 hpexpire h 20 fields 1 c -> [1]
                 hpexpire g 15 fields 1 a -> [1]",
            );
        }
        server.now_ms = START_MS + 9;
        assert_eq!(server.expire_cycle(100), (0, false));
        server.now_ms = START_MS + 10;
        assert_eq!(server.expire_cycle(1), (0, true));
        server.store.check();
        assert_eq!(server.expire_cycle(4), (0, true));
        server.store.check();
        assert_eq!(server.expire_cycle(100), (0, false));
        server.db = 1;
        server.script("hlen h -> 2\n exists g -> 1");
        server.now_ms = START_MS + 20;
        server.expire_cycle(100);
        for db in 0..3 {
            server.db = db;
            server.script(
                "hlen h -> 1
                 exists g -> 0
                 dbsize -> 1
                 hgetall h -> {\"d\": \"4\"}",
            );
        }
    }
}

#[test]
fn a_key_that_expires_takes_its_fields_along() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.script(
            "hset h a 1 b 2 -> 2
             hpexpire h 10 fields 1 a -> [1]
             pexpire h 10 -> 1
             hset i a 1 b 2 -> 2
             pexpire i 10 -> 1
             hpexpire i 5 fields 1 a -> [1]
             hpexpire i 20 fields 1 a -> [1]",
        );
        server.now_ms += 10;
        assert_eq!(server.expire_cycle(100), (2, false));
        server.store.check();
        server.script("dbsize -> 0");
        server.store.compact();
        assert_eq!(server.store.len(), 0);
    }
}

#[test]
fn expiring_fields_survive_generic_commands() {
    both(
        "hset h a 1 b 2 c 3 -> 3
         hexpire h 20 fields 1 c -> [1]
         hexpire h 10 fields 1 b -> [1]
         rename h i -> +OK
         copy i j -> 1
         copy i k db 1 -> 1
         move i 2 -> 1
         httl j fields 3 a b c -> [-1 10 20]
         persist j -> 0
         expire j 100 -> 1
         httl j fields 1 b -> [10]
         hdel j b -> 1
         set j x",
    );
}

#[test]
fn a_small_hash_with_expiries_is_in_their_order() {
    let mut server = Harness::new();
    server.script(
        "hset h a 1 b 2 c 3 -> 3
         object encoding h -> \"listpack\"
         hexpire h 20 fields 1 c -> [1]
         hexpire h 10 fields 1 b -> [1]
         object encoding h -> \"listpackex\"
         hkeys h -> [\"b\" \"c\" \"a\"]
         hpersist h fields 2 b c -> [1 1]
         object encoding h -> \"listpackex\"
         hkeys h -> [\"a\" \"b\" \"c\"]",
    );
}

/// The first chunk of a string comes right behind the last element of the generation before it.
#[test]
fn a_long_string_beside_a_hash_is_none_of_its_fields() {
    for fields in ["f 1", "f 1 g 2 h 3"] {
        let mut server = Harness::new();
        server.packing = BOTH[1];
        server.script(&format!(
            "hset hash {fields} -> {}
             setrange long 20000 end -> 20003
             setrange long 0 start -> 20003
             hexpire hash 10 fields 1 f -> [1]
             hpersist hash fields 1 f -> [1]
             httl hash fields 1 f -> [-1]
             copy hash other -> 1
             hlen other -> {}",
            fields.split(' ').count() / 2,
            fields.split(' ').count() / 2,
        ));
    }
}

#[test]
fn a_field_named_twice_is_met_twice() {
    both(
        "hset h a 1 b 2 c 3 -> 3
         hexpire h 10 nx fields 3 a a b -> [1 0 1]
         hexpire h 20 gt fields 2 a a -> [1 0]
         hpersist h fields 2 a a -> [1 -1]
         hexpire h 0 fields 3 a a b -> [2 -2 2]
         hkeys h -> [\"c\"]",
    );
}

#[test]
fn expiries_of_fields_go_where_their_hash_goes() {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.script(
            "hset h a 1 b 2 c 3 -> 3
             hpexpire h 5000 fields 1 a -> [1]
             hpexpire h 9000 fields 1 b -> [1]
             copy h i -> 1
             rename h j
             move i 1 -> 1
             hpttl j fields 3 a b c -> [5000 9000 -1]",
        );
        server.now_ms += 5000;
        server.script("hpttl j fields 3 a b c -> [-2 4000 -1]");
        server.db = 1;
        server.script(
            "hpttl i fields 3 a b c -> [-2 4000 -1]
             hdel i c -> 1",
        );
        server.now_ms += 4000;
        server.script("hmget i a b c -> [nil nil nil]\n exists i -> 0");
    }
}
