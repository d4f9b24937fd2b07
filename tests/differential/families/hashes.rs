//! Hashes: as far as Redis 7.0 has them, and the expiry of fields.

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

pub(crate) const EXPIRY: &[Rule] = &[
    rule(3, "HSET hash (element value)+"),
    rule(4, "HEXPIRE hash seconds [NX|XX|GT|LT] FIELDS fields"),
    rule(4, "HPEXPIRE hash field_ms [NX|XX|GT|LT] FIELDS fields"),
    rule(3, "HEXPIREAT hash at_seconds [NX|XX|GT|LT] FIELDS fields"),
    rule(3, "HPEXPIREAT hash at_ms [NX|XX|GT|LT] FIELDS fields"),
    rule(2, "HTTL hash FIELDS fields").near(3),
    rule(2, "HPTTL hash FIELDS fields").near(3000),
    rule(2, "HEXPIRETIME hash FIELDS fields").near(3),
    rule(2, "HPEXPIRETIME hash FIELDS fields").near(3000),
    rule(3, "HPERSIST hash FIELDS fields"),
    rule(1, "HTTL any FIELDS fields").near(3),
    rule(1, "HEXPIRE any seconds FIELDS fields"),
    rule(2, "HSETNX hash element value"),
    rule(2, "HINCRBY hash element int"),
    rule(2, "HDEL hash element+"),
    rule(2, "HGETALL hash").sorted(2),
    rule(1, "HLEN hash"),
    rule(1, "OBJECT ENCODING hash"),
    rule(1, "COPY hash hash REPLACE"),
    rule(1, "RENAME hash hash"),
    rule(1, "EXCHANGE hash").fixed(),
];
