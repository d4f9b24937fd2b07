//! Lists.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(6, "RPUSH list value+"),
    rule(6, "LPUSH list value+"),
    rule(1, "RPUSHX list value+"),
    rule(1, "LPUSHX list value+"),
    rule(3, "LPOP list [count]"),
    rule(3, "RPOP list [count]"),
    rule(2, "LLEN list"),
    rule(3, "LINDEX list index"),
    rule(4, "LSET list signed value"),
    rule(4, "LINSERT list (BEFORE|AFTER) value value"),
    rule(3, "LREM list signed value"),
    rule(2, "LTRIM list index index"),
    rule(3, "LRANGE list index index"),
    rule(3, "LPOS list value {[RANK index] [COUNT count] [MAXLEN count]}"),
    rule(2, "RPOPLPUSH list list"),
    rule(3, "LMOVE list list (LEFT|RIGHT) (LEFT|RIGHT)"),
    rule(1, "LMPOP #any (LEFT|RIGHT) [COUNT count]"),
    rule(2, "LMPOP #list (LEFT|RIGHT) [COUNT count]"),
    rule(1, "BLPOP list+ timeout").fixed(),
    rule(1, "BRPOP list+ timeout").fixed(),
    rule(1, "BLMOVE list list (LEFT|RIGHT) (LEFT|RIGHT) timeout").fixed(),
    rule(1, "BRPOPLPUSH list list timeout").fixed(),
    rule(1, "BLMPOP timeout #list (LEFT|RIGHT) [COUNT positive]").fixed(),
];
