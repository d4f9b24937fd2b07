//! Strings, arrays of bits and HyperLogLogs.

use crate::rule::{Rule, rule};

pub(crate) const RULES: &[Rule] = &[
    rule(8, "SET str value"),
    rule(4, "SET str value {[NX|XX] [GET] [EX seconds|PX ms|EXAT at_seconds|PXAT at_ms|KEEPTTL]}"),
    rule(6, "SET num int"),
    rule(4, "GET str"),
    rule(2, "GET num"),
    rule(1, "GETSET str value"),
    rule(1, "GETDEL str"),
    rule(3, "GETEX str [EX seconds|PX ms|EXAT at_seconds|PXAT at_ms|PERSIST]"),
    rule(1, "SETNX str value"),
    rule(1, "SETEX str seconds value"),
    rule(1, "PSETEX str ms value"),
    rule(2, "MSET (str value)+"),
    rule(2, "MSETNX (str value)+"),
    rule(2, "MGET any+"),
    rule(3, "APPEND str value"),
    rule(2, "APPEND num int"),
    rule(2, "STRLEN str"),
    rule(3, "SETRANGE str offset value"),
    rule(3, "GETRANGE str index index"),
    rule(1, "SUBSTR str index index"),
    rule(3, "INCR num"),
    rule(2, "DECR num"),
    rule(3, "INCRBY num int"),
    rule(3, "DECRBY num int"),
    rule(4, "INCRBYFLOAT num float"),
    rule(1, "INCRBYFLOAT str float"),
    rule(1, "LCS any any {[LEN] [IDX] [MINMATCHLEN int]}"),
    rule(2, "LCS str str {[LEN] [IDX] [MINMATCHLEN count] [WITHMATCHLEN]}"),
];

pub(crate) const BITS: &[Rule] = &[
    rule(6, "SETBIT bit bit_offset flag"),
    rule(1, "SET bit value"),
    rule(2, "GETBIT bit bit_offset"),
    rule(3, "BITCOUNT bit"),
    rule(3, "BITCOUNT bit index index [BYTE|BIT]"),
    rule(4, "BITPOS bit flag"),
    rule(4, "BITPOS bit flag index [index]"),
    rule(2, "BITPOS bit flag index index [BYTE|BIT]"),
    rule(4, "BITOP (AND|OR|XOR|NOT) bit bit+"),
    rule(1, "BITOP (AND|OR|XOR|NOT) bit str+"),
    rule(
        6,
        "BITFIELD bit (GET bit_type bit_offset|SET bit_type bit_offset int|\
         INCRBY bit_type bit_offset int|OVERFLOW (WRAP|SAT|FAIL|X))+",
    ),
    rule(2, "BITFIELD_RO bit (GET bit_type bit_offset)+"),
    rule(1, "BITFIELD_RO bit SET bit_type bit_offset int"),
];

pub(crate) const HYPERLOGLOGS: &[Rule] = &[
    rule(6, "PFADD hll element+"),
    rule(1, "PFADD hll"),
    rule(3, "PFCOUNT hll"),
    rule(2, "PFCOUNT hll+"),
    rule(2, "PFMERGE hll hll+"),
    rule(1, "PFMERGE hll"),
    rule(1, "GET hll"),
    rule(1, "DEL hll"),
    rule(1, "PFADD list element"),
    rule(1, "PFCOUNT (hll|list|set)+"),
    rule(1, "PFMERGE hll (hll|list|hash)"),
    rule(1, "COPY hll hll REPLACE").fixed(),
];
