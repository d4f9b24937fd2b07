//! Places.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(6, "GEOADD geo {[NX|XX] [CH]} (longitude latitude element)+"),
    rule(2, "GEOPOS geo element+").floats(),
    rule(2, "GEODIST geo element element [unit]").floats(),
    rule(2, "GEOHASH geo element+"),
    rule(
        3,
        "GEOSEARCH geo {(FROMMEMBER element|FROMLONLAT longitude latitude) \
         (BYRADIUS radius unit|BYBOX radius radius unit) (ASC|DESC) [COUNT count WITHDIST] \
         [WITHCOORD] [WITHDIST] [WITHHASH]}",
    )
    .floats(),
    rule(
        2,
        "GEOSEARCHSTORE geo geo {(FROMMEMBER element|FROMLONLAT longitude latitude) \
         (BYRADIUS radius unit|BYBOX radius radius unit) [ASC|DESC] [STOREDIST]}",
    ),
    rule(
        2,
        "GEORADIUS geo longitude latitude radius unit {[WITHCOORD] [WITHDIST] [WITHHASH] \
         [COUNT count WITHDIST] (ASC|DESC)}",
    )
    .floats(),
    rule(1, "GEORADIUS geo longitude latitude radius unit {[STORE geo|STOREDIST geo] [ASC|DESC]}")
        .sorted(1),
    rule(2, "GEORADIUSBYMEMBER geo element radius unit {[WITHCOORD] [WITHDIST] (ASC|DESC)}")
        .floats(),
    rule(1, "GEORADIUS_RO geo longitude latitude radius unit {[WITHDIST] (ASC|DESC)}").floats(),
    rule(1, "GEORADIUSBYMEMBER_RO geo element radius unit {[WITHHASH] (ASC|DESC)}").floats(),
    rule(1, "ZRANGE geo 0 -1 WITHSCORES").floats(),
    rule(1, "ZREM geo element+"),
];
