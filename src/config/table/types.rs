//! Up to where collections stay in one record.

use super::access::{Number, integer, memory};
use crate::config::kind::{Kind, Setting};

const I64: i64 = i64::MAX;
const I32_MIN: i64 = i32::MIN as i64;
const I32_MAX: i64 = i32::MAX as i64;
const SIZE_MAX: u64 = i64::MAX as u64;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "list-max-listpack-size",
        integer!(list_max_listpack_size, I32_MIN, I32_MAX),
        "-2",
        "Size up to which a list is one record: so many elements, or -1 to -5 for 4 to 64 kb",
    )
    .alias("list-max-ziplist-size"),
    Setting::new(
        "hash-max-listpack-entries",
        integer!(hash_max_listpack_entries, 0, I64),
        "512",
        "Fields up to which a hash is one record; a larger one has a record for each field",
    )
    .alias("hash-max-ziplist-entries"),
    Setting::new(
        "hash-max-listpack-value",
        memory!(hash_max_listpack_value, 0, SIZE_MAX),
        "64",
        "Length of a field or value up to which a hash is one record",
    )
    .alias("hash-max-ziplist-value"),
    Setting::new(
        "set-max-intset-entries",
        integer!(set_max_intset_entries, 0, I64),
        "512",
        "Members up to which a set of integers is one record",
    ),
    Setting::new(
        "set-max-listpack-entries",
        integer!(set_max_listpack_entries, 0, I64),
        "128",
        "Members up to which another set is one record; a larger one has a record for each member",
    ),
    Setting::new(
        "set-max-listpack-value",
        integer!(set_max_listpack_value, 0, I64),
        "64",
        "Length of a member up to which a set is one record",
    ),
    Setting::new(
        "stream-node-max-bytes",
        memory!(stream_node_max_bytes, 0, SIZE_MAX),
        "4096",
        "Bytes up to which a stream is one record, 0 for no limit; 1 KiB at most",
    ),
    Setting::new(
        "stream-node-max-entries",
        integer!(stream_node_max_entries, 0, I64),
        "100",
        "Entries up to which a stream is one record, 0 for no limit; approximate trimming takes so many",
    ),
    Setting::new(
        "zset-max-listpack-entries",
        integer!(zset_max_listpack_entries, 0, I64),
        "128",
        "Members up to which a sorted set is one record; a larger one has records for each member",
    )
    .alias("zset-max-ziplist-entries"),
    Setting::new(
        "zset-max-listpack-value",
        memory!(zset_max_listpack_value, 0, SIZE_MAX),
        "64",
        "Length of a member up to which a sorted set is one record",
    )
    .alias("zset-max-ziplist-value"),
];
