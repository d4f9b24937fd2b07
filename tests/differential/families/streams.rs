//! Streams and their groups.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(16, "XADD stream new_id (element value)+"),
    rule(3, "XADD stream {[NOMKSTREAM] [(MAXLEN|MINID) [=] count]} new_id element value"),
    rule(1, "XADD stream * element value").shape().deletes(),
    rule(2, "XLEN stream"),
    rule(3, "XRANGE stream low high [COUNT count]"),
    rule(2, "XREVRANGE stream high low [COUNT count]"),
    rule(3, "XDEL stream id+"),
    rule(2, "XTRIM stream (MAXLEN|MINID) [=] count"),
    rule(1, "XTRIM stream MINID id"),
    rule(1, "XTRIM stream (MAXLEN|MINID) (=|~) count [LIMIT count]").near(100).deletes(),
    rule(2, "XSETID stream id [ENTRIESADDED positive] [MAXDELETEDID id]").alone(),
    rule(3, "XREAD {[COUNT count] [BLOCK block_ms]} STREAMS streams").fixed(),
    rule(6, "XGROUP CREATE stream group id {[MKSTREAM] [ENTRIESREAD int]}"),
    rule(2, "XGROUP SETID stream group id [ENTRIESREAD int]"),
    rule(1, "XGROUP DESTROY stream group"),
    rule(2, "XGROUP CREATECONSUMER stream group consumer"),
    rule(1, "XGROUP DELCONSUMER stream group consumer"),
    rule(
        8,
        "XREADGROUP GROUP group consumer {[COUNT count] [BLOCK block_ms] [NOACK]} \
         STREAMS group_streams",
    )
    .fixed(),
    rule(3, "XACK stream group id+"),
    rule(2, "XPENDING stream group"),
    rule(3, "XPENDING stream group low high count [consumer]").blank(2),
    rule(1, "XPENDING stream group IDLE 0 low high count").blank(2),
    rule(
        4,
        "XCLAIM stream group consumer 0 id+ {[IDLE count] [RETRYCOUNT count] [FORCE] [JUSTID] \
         [LASTID id] [TIME at_ms]}",
    ),
    rule(3, "XAUTOCLAIM stream group consumer 0 id {[COUNT count] [JUSTID]}"),
    rule(2, "XINFO STREAM stream").info(),
    rule(2, "XINFO STREAM stream FULL [COUNT count]").info(),
    rule(2, "XINFO GROUPS stream").info(),
    rule(2, "XINFO CONSUMERS stream group").info(),
];
