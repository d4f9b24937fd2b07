//! Keys of any type: expiry, names, iteration, sorting.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(4, "DEL any+"),
    rule(1, "UNLINK any+"),
    rule(2, "EXISTS any+"),
    rule(2, "TOUCH any+"),
    rule(3, "TYPE any"),
    rule(3, "EXPIRE any seconds [NX|XX|GT|LT]"),
    rule(3, "PEXPIRE any ms [NX|XX|GT|LT]"),
    rule(2, "EXPIREAT any at_seconds [NX|XX|GT|LT]"),
    rule(2, "PEXPIREAT any at_ms [NX|XX|GT|LT]"),
    rule(3, "TTL any").near(3),
    rule(2, "PTTL any").near(3000),
    rule(2, "EXPIRETIME any").near(3),
    rule(2, "PEXPIRETIME any").near(3000),
    rule(2, "PERSIST any"),
    rule(3, "RENAME any any"),
    rule(2, "RENAMENX any any"),
    rule(4, "COPY any any {[DB db] [REPLACE]}"),
    rule(2, "MOVE any db"),
    rule(3, "SELECT db"),
    rule(1, "SWAPDB db db"),
    rule(2, "KEYS pattern").sorted(1),
    rule(1, "RANDOMKEY").shape(),
    rule(
        3,
        "SCAN 0 {[MATCH pattern] [COUNT positive] [TYPE (STRING|HASH|SET|ZSET|LIST|STREAM|X)]}",
    )
    .iterated(1)
    .sorted(1),
    rule(1, "SCAN NONE COUNT 10").fixed(),
    rule(1, "SCAN 0 COUNT 0").fixed(),
    rule(5, "OBJECT ENCODING any"),
    // Redis shares small integers.
    rule(1, "OBJECT REFCOUNT any").near(i64::MAX),
    rule(1, "OBJECT IDLETIME any").near(30),
    rule(1, "OBJECT FREQ any"),
    rule(1, "OBJECT ENCODING any any"),
    rule(1, "MEMORY USAGE any [SAMPLES]").near(i64::MAX),
    rule(1, "MEMORY USAGE any SAMPLES count").near(i64::MAX),
    rule(4, "EXCHANGE any").fixed(),
    rule(1, "RESTORE any ms value {[REPLACE] [ABSTTL] [IDLETIME count] [FREQ count]}").fixed(),
    rule(1, "RENAME any any any"),
    rule(1, "EXPIRE any seconds (NX|XX|GT|LT) (NX|XX|GT|LT)"),
    rule(3, "SORT list {[LIMIT index count] [GET get] [GET get] [ASC|DESC] [ALPHA]}"),
    // Equal weights have no order that Redis promises where they are words.
    rule(1, "SORT (set|zset|list) {(BY by) [LIMIT index count] [GET get] [ASC|DESC] ALPHA}")
        .shape(),
    rule(2, "SORT (set|zset|list) {[LIMIT index count] [GET get] [ASC|DESC] ALPHA}"),
    rule(2, "SORT (set|zset|list) {(BY num:*) [GET get] [ASC|DESC]}").fixed(),
    rule(2, "SORT (set|zset|list) {[GET get] [ASC|DESC] [ALPHA]} STORE list").alone(),
    rule(1, "SORT_RO list {[BY by] [LIMIT index count] [GET get] [ASC|DESC]}"),
];
