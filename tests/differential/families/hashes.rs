//! Hashes, as far as Redis 7.0 has them: no expiry of fields.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(10, "HSET hash (element value)+"),
    rule(1, "HMSET hash (element value)+"),
    rule(2, "HSETNX hash element value"),
    rule(3, "HGET hash element"),
    rule(2, "HMGET hash element+"),
    rule(4, "HDEL hash element+"),
    rule(2, "HLEN hash"),
    rule(2, "HSTRLEN hash element"),
    rule(2, "HEXISTS hash element"),
    rule(2, "HGETALL hash").sorted(2),
    rule(1, "HKEYS hash").sorted(1),
    rule(1, "HVALS hash").sorted(1),
    rule(3, "HINCRBY hash element int"),
    rule(3, "HINCRBYFLOAT hash element float"),
    rule(2, "HRANDFIELD hash [some]").shape(),
    rule(2, "HRANDFIELD hash some [WITHVALUES]").shape(),
    rule(2, "HSCAN hash 0 {[MATCH pattern] [COUNT count]}").iterated(2).sorted(2),
    rule(1, "HSCAN hash NONE").fixed(),
];
