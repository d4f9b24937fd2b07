//! Sets.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(10, "SADD set element+"),
    rule(5, "SREM set element+"),
    rule(2, "SISMEMBER set element"),
    rule(2, "SMISMEMBER set element+"),
    rule(2, "SCARD set"),
    rule(3, "SMEMBERS set").sorted(1),
    rule(3, "SMOVE set set element"),
    rule(2, "SPOP set [count]").shape().deletes(),
    rule(1, "SPOP set 100").sorted(1).fixed(),
    rule(2, "SRANDMEMBER set [some]").shape(),
    rule(2, "SINTER set+").sorted(1),
    rule(2, "SUNION set+").sorted(1),
    rule(2, "SDIFF set+").sorted(1),
    rule(2, "SINTERSTORE set set+"),
    rule(2, "SUNIONSTORE set set+"),
    rule(2, "SDIFFSTORE set set+"),
    rule(1, "SINTERCARD #any [LIMIT count]"),
    rule(1, "SINTERCARD any any [LIMIT count]"),
    rule(2, "SINTERCARD #set [LIMIT count]"),
    rule(2, "SSCAN set 0 {[MATCH pattern] [COUNT count]}").iterated(2).sorted(1),
];
