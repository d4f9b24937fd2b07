//! What does not touch data.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(4, "PING [value]"),
    rule(4, "ECHO value"),
    rule(1, "NOSUCHCOMMAND value+"),
    rule(1, "OBJECT NOSUCH any"),
    rule(1, "XINFO NOSUCH any"),
    // Other numbers could wait for ever.
    rule(1, "WAIT 0 1").fixed(),
    rule(1, "COMMAND GETKEYS (ZUNIONSTORE zset #zset|SORT list STORE list|XREAD STREAMS streams)")
        .fixed(),
    rule(1, "COMMAND GETKEYS (MSET (str value)+|LMPOP #list LEFT)").fixed(),
    rule(1, "COMMAND COUNT X").fixed(),
];
