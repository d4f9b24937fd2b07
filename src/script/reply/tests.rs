//! Values of any shape as replies, against `redis-protocol` as the oracle, and replies as values.

use bytes::BytesMut;
use mlua::Lua;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode_bytes as decode2;
use redis_protocol::resp3::decode::complete::decode_bytes as decode3;

use super::*;
use crate::protocol::ReplyEncoder;

/// Bytes of the machine of these tests.
const MACHINE_BYTES: usize = 256 << 10;
const VERSIONS: [Version; 2] = [Version::Resp2, Version::Resp3];
/// Fields that mean something, and some that do not.
const NAMES: [&str; 12] = [
    "ok",
    "err",
    "double",
    "map",
    "set",
    "big_number",
    "verbatim_string",
    "attribute",
    "format",
    "string",
    "n",
    "",
];

/// How a value is made.
#[derive(Debug, Clone)]
enum Made {
    Nil,
    Bool(bool),
    Number(f64),
    Integer(i64),
    Text(Vec<u8>),
    Table(Vec<(Made, Made)>),
    /// A table that was begun before, maybe one around this.
    Again(usize),
    /// A table in a table in a table.
    Deep(usize),
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(9.3e18),
        (-3_i8..5).prop_map(f64::from),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
        Just(b"mkd".to_vec()),
        Just(b"two\r\nlines\r\n".to_vec()),
        Just(b"-12345678901234567890".to_vec()),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let leaf = prop_oneof![
        Just(Made::Nil),
        any::<bool>().prop_map(Made::Bool),
        number().prop_map(Made::Number),
        any::<i64>().prop_map(Made::Integer),
        text().prop_map(Made::Text),
        (0_usize..8).prop_map(Made::Again),
        prop_oneof![Just(3_usize), Just(NESTING_MAX), Just(2000)].prop_map(Made::Deep),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let key = prop_oneof![
            4 => (1_i64..5).prop_map(Made::Integer),
            4 => prop::sample::select(&NAMES[..]).prop_map(|n| Made::Text(n.as_bytes().to_vec())),
            1 => inner.clone(),
        ];
        prop::collection::vec((key, inner), 0..6).prop_map(Made::Table)
    })
}

/// Makes the value; `tables` are those that were begun.
fn build(lua: &Lua, made: &Made, tables: &mut Vec<Table>) -> mlua::Result<Value> {
    Ok(match made {
        Made::Nil => Value::Nil,
        Made::Bool(value) => Value::Boolean(*value),
        Made::Number(value) => Value::Number(*value),
        Made::Integer(value) => Value::Integer(*value),
        Made::Text(bytes) => Value::String(lua.create_string(bytes)?),
        Made::Table(fields) => {
            let table = lua.create_table()?;
            tables.push(table.clone());
            for (key, value) in fields {
                let key = build(lua, key, tables)?;
                let value = build(lua, value, tables)?;
                // Neither nil nor NaN is a key.
                drop(table.raw_set(key, value));
            }
            Value::Table(table)
        }
        Made::Again(number) => match tables.get(number % tables.len().max(1)) {
            Some(table) => Value::Table(table.clone()),
            None => Value::Nil,
        },
        Made::Deep(depth) => {
            let mut table = lua.create_table()?;
            for _ in 0..*depth {
                let around = lua.create_table()?;
                around.raw_set(1, table)?;
                table = around;
            }
            Value::Table(table)
        }
    })
}

/// Whether `redis-protocol` can hold a reply of RESP3: its maps and sets are those of Rust, whose keys
/// are no aggregates.
fn is_held_by_oracle(reply: &Reply) -> bool {
    let is_key = |key: &Reply| {
        !matches!(
            key,
            Reply::Array(_)
                | Reply::Map(_)
                | Reply::Set(_)
                | Reply::BigNumber(_)
                | Reply::Verbatim(..)
        )
    };
    match reply {
        Reply::Array(items) => items.iter().all(is_held_by_oracle),
        Reply::Set(items) => items.iter().all(is_key),
        Reply::Map(pairs) => {
            pairs.iter().all(|(key, value)| is_key(key) && is_held_by_oracle(value))
        }
        _ => true,
    }
}

/// Whether an error of a reply is no UTF-8: `redis-protocol` takes none that is not.
fn has_raw_error(reply: &Reply) -> bool {
    match reply {
        Reply::RawError(text) => std::str::from_utf8(text).is_err(),
        Reply::Array(items) | Reply::Set(items) => items.iter().any(has_raw_error),
        Reply::Map(pairs) => {
            pairs.iter().any(|(key, value)| has_raw_error(key) || has_raw_error(value))
        }
        _ => false,
    }
}

/// Panics where a reply is not well formed on the wire of either version.
fn check_wire(reply: &Reply) {
    if has_raw_error(reply) {
        return;
    }
    for version in VERSIONS {
        if version == Version::Resp3 && !is_held_by_oracle(reply) {
            continue;
        }
        let mut out = BytesMut::new();
        ReplyEncoder::new(version).write(reply, &mut out);
        let encoded = out.freeze();
        let length = match version {
            Version::Resp2 => decode2(&encoded).expect("decodes").map(|(_, length)| length),
            Version::Resp3 => decode3(&encoded).expect("decodes").map(|(_, length)| length),
        };
        assert_eq!(length, Some(encoded.len()), "{version:?} {encoded:?}");
    }
}

/// What the server's threads have.
const STACK_BYTES: usize = 8 << 20;

fn with_stack(bytes: usize, test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(bytes).spawn(test);
    thread.expect("a thread").join().expect("the test passes");
}

#[test]
fn any_value_makes_a_reply_that_is_well_formed() {
    // The oracle takes more stack for each level than the server does.
    with_stack(16 * STACK_BYTES, || {
        proptest!(|(made in made())| {
            let lua = Lua::new();
            let value = build(&lua, &made, &mut Vec::new()).expect("a value");
            for version in VERSIONS {
                if let Ok(reply) = to_reply(&value, version, MACHINE_BYTES) {
                    let most = MACHINE_BYTES * size_of::<Reply>().div_ceil(VALUE_BYTES);
                    prop_assert!(reply.weight() <= most);
                    check_wire(&reply);
                    // And back, as a script gets it that was called by another.
                    for asked in VERSIONS {
                        drop(to_lua(&lua, &reply, asked));
                    }
                }
            }
        });
    });
}

#[test]
fn a_table_that_stands_for_any_number_of_items_is_refused() {
    with_stack(STACK_BYTES, || {
        let lua = Lua::new();
        for text in [
            "local t = {} t[1] = t t[2] = t return t",
            "local t = {} for _ = 1, 60 do t = {t, t} end return t",
            "local t = {} t.map = {a = t, b = t} return t",
            "local t = {} t.set = {[t] = true, [{t}] = true} return t",
            "local s, t = string.rep('x', 100000), {} for i = 1, 1000 do t[i] = s end return t",
            "local s, t = {ok = string.rep('x', 100000)}, {} for i = 1, 1000 do t[i] = s end return t",
        ] {
            let value: Value = lua.load(text).eval().expect("a value");
            let error = to_reply(&value, Version::Resp3, MACHINE_BYTES).expect_err(text);
            assert!(error.to_string().contains("the reply is too large"), "{text}: {error}");
        }
        // One that holds itself once ends where it is too deep.
        let value: Value = lua.load("local t = {} t[1] = t return t").eval().expect("a value");
        let mut reply = to_reply(&value, Version::Resp2, MACHINE_BYTES).expect("a reply");
        let mut depth = 0;
        while let Reply::Array(mut items) = reply {
            reply = items.pop().expect("one item");
            depth += 1;
        }
        assert_eq!((reply, depth), (Reply::Error(TOO_DEEP.into()), NESTING_MAX));
    });
}

#[test]
fn what_fills_the_machine_once_is_no_such_table() {
    let lua = Lua::new();
    let text = "local t = {} for i = 1, 8000 do t[i] = i end return t";
    let value: Value = lua.load(text).eval().expect("a value");
    let bytes = 8000 * VALUE_BYTES + VALUE_BYTES;
    let reply = to_reply(&value, Version::Resp3, bytes).expect("a reply");
    assert!(matches!(reply, Reply::Array(items) if items.len() == 8000));
}

fn reply() -> impl Strategy<Value = Reply> {
    let bytes = || text().prop_map(Bytes::from);
    let leaf = prop_oneof![
        text().prop_map(|text| Reply::Simple(lossy(&text).into())),
        text().prop_map(|text| Reply::Error(lossy(&text).into())),
        any::<i64>().prop_map(Reply::Integer),
        bytes().prop_map(Reply::Bulk),
        Just(Reply::Null),
        Just(Reply::NullArray),
        number().prop_map(Reply::Double),
        number().prop_map(Reply::PlainDouble),
        any::<bool>().prop_map(Reply::Bool),
        any::<i128>().prop_map(|n| Reply::BigNumber(n.to_string().into())),
        bytes().prop_map(|text| Reply::Verbatim("txt", text)),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let items = || prop::collection::vec(inner.clone(), 0..5);
        let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            items().prop_map(Reply::Array),
            items().prop_map(Reply::Set),
            items().prop_map(Reply::Push),
            pairs().prop_map(Reply::Map),
            pairs().prop_map(Reply::Pairs),
            pairs().prop_map(Reply::Keyed),
            (pairs(), inner.clone()).prop_map(|(a, r)| Reply::Attribute(a, Box::new(r))),
        ]
    })
}

proptest! {
    #[test]
    fn any_reply_makes_a_value_that_makes_a_reply(reply in reply()) {
        let lua = Lua::new();
        for version in VERSIONS {
            // What is no key of a table, as nil is none, fails the call.
            if let Ok(value) = to_lua(&lua, &reply, version) {
                for asked in VERSIONS {
                    check_wire(&to_reply(&value, asked, MACHINE_BYTES).expect("a small reply"));
                }
            }
        }
    }
}
