//! Where Redis 7.4, which SiltDB follows, answers differently from the Redis that judges.

use super::generator::Step;
use super::judge::{Judge, judge};
use super::value::Value;

/// Fields of XINFO that do not count, each with the reason.
const FIELDS: &[(&str, &str)] = &[
    ("idle", "a time"),
    ("inactive", "a time; since 7.2"),
    ("seen-time", "a time"),
    ("active-time", "a time; since 7.2"),
    ("radix-tree-keys", "there is no radix tree here"),
    ("radix-tree-nodes", "there is no radix tree here"),
];

/// Those that do not count beside a Redis before 8.0.
const FIELDS_BEFORE_8: &[(&str, &str)] = &[
    ("entries-read", "later ones count anew from the id where it was set to what cannot be"),
    ("lag", "7.4 knows it of a group before the first entry; it follows from the one above"),
];

/// A difference that is right, from the words of the call (the first in upper case), the reply of
/// Redis 7.0 and that of SiltDB.
type IsChanged = fn(&Step, &Value, &Value) -> bool;

/// What 7.4 changed since 7.0, each with the reason.
const SINCE_7_0: &[(&str, IsChanged)] = &[
    ("7.2 keeps a small list in a listpack", |step, redis, siltdb| {
        is_encoding(step) && bulk(redis) == b"quicklist" && bulk(siltdb) == b"listpack"
    }),
    ("7.2 keeps a small set in a listpack", |step, redis, siltdb| {
        is_encoding(step) && bulk(redis) == b"hashtable" && bulk(siltdb) == b"listpack"
    }),
    ("7.2 lets scripts call WAIT and WAITAOF, which do not wait then", |step, redis, _| {
        let text = "ERR This Redis command is not allowed from script";
        name(step).starts_with(b"WAIT") && error(redis).starts_with(text)
    }),
    ("7.2 says of an infinite timeout that it is out of range", |_, redis, siltdb| {
        error(redis) == "ERR timeout is negative" && error(siltdb) == "ERR timeout is out of range"
    }),
    ("7.2 looks at the range of BITCOUNT and BITPOS before the key", |step, redis, siltdb| {
        let is_bits = matches!(&name(step)[..], b"BITCOUNT" | b"BITPOS");
        let is_of_key =
            matches!(redis, Value::Integer(0 | -1)) || error(redis).starts_with("WRONGTYPE");
        is_bits && is_of_key && error(siltdb).starts_with("ERR")
    }),
    (
        "7.2 counts the arguments of ZADD before it chooses an encoding; here SORT changes none",
        |step, redis, siltdb| {
            let either = |value| matches!(bulk(value), b"listpack" | b"skiplist");
            is_encoding(step) && either(redis) && either(siltdb)
        },
    ),
    ("7.2 has ZRANK and ZREVRANK WITHSCORE", |step, redis, siltdb| {
        let is_rank = matches!(&name(step)[..], b"ZRANK" | b"ZREVRANK");
        is_rank
            && error(redis).to_ascii_lowercase().starts_with("err wrong number")
            && step.words.len() == 4
            && error(siltdb) == "ERR syntax error"
    }),
    ("7.2 counts the arguments of HSET before it chooses an encoding", |step, redis, siltdb| {
        is_encoding(step) && bulk(redis) == b"listpack" && bulk(siltdb) == b"hashtable"
    }),
    ("7.4 reads cursors strictly", |step, _, siltdb| {
        name(step).ends_with(b"SCAN") && error(siltdb) == "ERR invalid cursor"
    }),
    ("7.2 refuses the rank of LPOS that has no opposite", |step, _, siltdb| {
        name(step) == b"LPOS" && error(siltdb).starts_with("ERR value is out of range")
    }),
    ("7.2 refuses the count of LREM that has no opposite", |step, _, siltdb| {
        name(step) == b"LREM" && error(siltdb).starts_with("ERR value is out of range")
    }),
    ("7.4 has XREAD with the id of the last entry, +", |step, redis, _| {
        let has_plus = step.words.iter().any(|word| word == b"+");
        name(step).starts_with(b"XREAD")
            && has_plus
            && error(redis).starts_with("ERR Invalid stream ID")
    }),
    ("7.2 holds XSETID against the largest deleted id", |_, _, siltdb| {
        let text = "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
        error(siltdb) == text
    }),
];

/// What differs from every Redis, each with the reason.
const ALWAYS: &[(&str, IsChanged)] = &[
    ("names in texts of Redis end at a zero byte", |step, redis, siltdb| {
        let cut = |name: &str| name.split('\0').next().map(ToOwned::to_owned);
        let names: Option<Vec<String>> = error(siltdb).split('\'').map(cut).collect();
        let has_zero = step.words.iter().any(|word| word.contains(&0));
        has_zero && names.is_some_and(|names| names.join("'") == error(redis))
    }),
    ("SORT ALPHA compares words by their bytes, beyond a zero byte too", |step, redis, siltdb| {
        let (Value::Array(a), Value::Array(b)) = (redis, siltdb) else { return false };
        let has_zero = |value: &Value| bulk(value).contains(&0);
        let is_sort = name(step).starts_with(b"SORT") && has(step, b"ALPHA");
        // With GET the words themselves are not seen, but all of them were sorted.
        let is_same = || {
            let sorted = |values: &[Value]| {
                let mut values = values.to_vec();
                values.sort();
                values
            };
            has(step, b"LIMIT") || sorted(a) == sorted(b)
        };
        let may_hide = has(step, b"GET") && is_same();
        is_sort && a.len() == b.len() && (may_hide || a.iter().chain(b).any(has_zero))
    }),
    ("the keys of a call are found by its specifications alone", |step, _, siltdb| {
        name(step) == b"COMMAND" && error(siltdb).starts_with("ERR Invalid arguments")
    }),
    (
        "an earlier call that met a number out of range spoils a later SORT of Redis",
        |step, redis, _| {
            let text = "ERR One or more scores can't be converted into double";
            name(step).starts_with(b"SORT") && error(redis) == text
        },
    ),
    ("of places in the same distance any may come first", |step, redis, siltdb| {
        let (Value::Array(a), Value::Array(b)) = (redis, siltdb) else { return false };
        name(step).starts_with(b"GEO") && has(step, b"COUNT") && only_ties_differ(a, b)
    }),
    ("SETBIT that changes no bit leaves the string as it is kept", |step, redis, siltdb| {
        is_encoding(step) && bulk(redis) == b"raw" && matches!(bulk(siltdb), b"embstr" | b"int")
    }),
    ("LINSERT that finds no place leaves the list as it is kept", |step, redis, siltdb| {
        is_encoding(step) && bulk(redis) == b"quicklist" && bulk(siltdb) == b"listpack"
    }),
    ("SORT has Redis keep a sorted set otherwise, here it changes none", |step, redis, siltdb| {
        is_encoding(step) && bulk(redis) == b"skiplist" && bulk(siltdb) == b"listpack"
    }),
];

/// What 8.0 answers otherwise, and some of it a late 7.4 already, each with the reason.
const SINCE_7_4: &[(&str, IsChanged)] = &[
    ("8.0 takes a negative offset of LIMIT otherwise", |step, _, siltdb| {
        let places = step.words.iter().position(|word| word.eq_ignore_ascii_case(b"LIMIT"));
        let offset = places.and_then(|at| step.words.get(at + 1));
        offset.is_some_and(|offset| offset.starts_with(b"-")) && is_nothing(siltdb)
    }),
    ("8.0 reads the bounds of scores more strictly", |_, redis, siltdb| {
        error(redis) == "ERR min or max is not a float" && error(siltdb).is_empty()
    }),
    ("a payload of no field that expires does not tell that any did", |step, redis, siltdb| {
        is_encoding(step) && bulk(redis) == b"listpack" && bulk(siltdb) == b"listpackex"
    }),
];

/// Calls before this one after which the two servers are in the same state behind it.
///
/// Since 7.2 XREADGROUP, XCLAIM and XAUTOCLAIM make the consumer that they name even where there is
/// nothing for it.
pub(crate) fn prelude(step: &Step) -> Vec<Step> {
    let word = |at: usize| step.words.get(at).map_or(&b""[..], Vec::as_slice);
    let make = |stream, group, consumer| {
        Step::exact(&[b"XGROUP", b"CREATECONSUMER", stream, group, consumer]).like(step)
    };
    if judge() != Judge::Seven {
        return Vec::new();
    }
    match &name(step)[..] {
        b"XCLAIM" | b"XAUTOCLAIM" => vec![make(word(1), word(2), word(3))],
        b"XREADGROUP" => {
            let streams = step.words.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS"));
            let keys = streams.map_or(&[][..], |at| &step.words[at + 1..]);
            keys[..keys.len() / 2].iter().map(|key| make(key, word(2), word(3))).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a difference is one that Redis 7.4 makes beside 7.0, or that later versions make beside 7.4.
pub(crate) fn is_changed(step: &Step, redis: &Value, siltdb: &Value) -> bool {
    let of_judge = if judge() == Judge::Seven { SINCE_7_0 } else { SINCE_7_4 };
    ALWAYS.iter().chain(of_judge).any(|(_, is_changed)| is_changed(step, redis, siltdb))
}

/// Whether a field of XINFO does not count.
pub(crate) fn is_changed_field(name: &[u8]) -> bool {
    let of_judge = if judge() == Judge::Eight { &[] } else { FIELDS_BEFORE_8 };
    FIELDS.iter().chain(of_judge).any(|(field, _)| field.as_bytes() == name)
}

fn is_encoding(step: &Step) -> bool {
    name(step) == b"OBJECT"
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Array(items) if items.is_empty()) || *value == Value::Integer(0)
}

fn has(step: &Step, name: &[u8]) -> bool {
    step.words.iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// Whether two lists of places with their distances differ in nothing but which of those in the
/// same distance there are, where the list was cut, and in what order.
fn only_ties_differ(a: &[Value], b: &[Value]) -> bool {
    let distance = |place: &Value| match place {
        Value::Array(parts) => parts.get(1).cloned(),
        _ => None,
    };
    let before_cut = |places: &[Value]| {
        let last = places.last().and_then(distance);
        let mut kept = places.to_vec();
        kept.retain(|place| distance(place) != last);
        kept.sort();
        kept
    };
    let distances = |places: &[Value]| places.iter().map(distance).collect::<Option<Vec<_>>>();
    distances(a).is_some() && distances(a) == distances(b) && before_cut(a) == before_cut(b)
}

fn name(step: &Step) -> Vec<u8> {
    step.words[0].to_ascii_uppercase()
}

fn error(value: &Value) -> &str {
    if let Value::Error(text) = value { text } else { "" }
}

fn bulk(value: &Value) -> &[u8] {
    if let Value::Bulk(bytes) = value { bytes } else { b"" }
}
