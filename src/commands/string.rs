//! Commands on strings.

use bytes::Bytes;

use super::expiry_option::{Expiry, ExpiryOption, TimeUnit};
use super::lcs::lcs;
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeyFlags, KeySpec, Run,
};
use crate::data::{
    Body, Edit, EventClasses, Extended, KEYS_AT_ONCE, KeyType, Meta, StringForm, View, parse_int,
};
use crate::env::Purpose;
use crate::protocol::{ListKind, Reply};

/// Longest text of an integer in bytes.
const INTEGER_LEN_MAX: u64 = 20;
/// Longest text of a floating point number in bytes.
const FLOAT_LEN_MAX: u64 = 5 * 1024;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("get", Arity::Exactly(2), Run::Read(get))
        .group(Group::String)
        .since("1.0.0")
        .summary("Answers the string at a key.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[Arg::key("key")]),
    CommandSpec::new("set", Arity::AtLeast(3), Run::Write(set))
        .group(Group::String)
        .since("1.0.0")
        .summary(
            "Sets a key to a string, whatever it held, with a condition or an expiry if wanted.",
        )
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().access().update().variable_flags()])
        .key_flags(set_key_flags)
        .args(&[
            Arg::key("key"),
            Arg::string("value"),
            Arg::one_of("condition", &[Arg::token("nx", "NX"), Arg::token("xx", "XX")])
                .optional()
                .since("2.6.12"),
            Arg::token("get", "GET").optional().since("6.2.0"),
            Arg::one_of(
                "expiration",
                &[
                    Arg::integer("seconds").with_token("EX").since("2.6.12"),
                    Arg::integer("milliseconds").with_token("PX").since("2.6.12"),
                    Arg::unix_time("unix-time-seconds").with_token("EXAT").since("6.2.0"),
                    Arg::unix_time("unix-time-milliseconds").with_token("PXAT").since("6.2.0"),
                    Arg::token("keepttl", "KEEPTTL").since("6.0.0"),
                ],
            )
            .optional(),
        ]),
    CommandSpec::new("getset", Arity::Exactly(3), Run::Write(getset))
        .group(Group::String)
        .since("1.0.0")
        .summary("Sets a key to a string and answers the one before.")
        .deprecated("6.2.0", "`SET` with the `GET` argument")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key"), Arg::string("value")]),
    CommandSpec::new("getdel", Arity::Exactly(2), Run::Write(getdel))
        .group(Group::String)
        .since("6.2.0")
        .summary("Answers the string at a key and deletes the key.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).rw().access().delete()])
        .args(&[Arg::key("key")]),
    CommandSpec::new("getex", Arity::AtLeast(2), Run::Write(getex))
        .group(Group::String)
        .since("6.2.0")
        .summary("Answers the string at a key and changes its expiry.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[
            Arg::key("key"),
            Arg::one_of(
                "expiration",
                &[
                    Arg::integer("seconds").with_token("EX"),
                    Arg::integer("milliseconds").with_token("PX"),
                    Arg::unix_time("unix-time-seconds").with_token("EXAT"),
                    Arg::unix_time("unix-time-milliseconds").with_token("PXAT"),
                    Arg::token("persist", "PERSIST"),
                ],
            )
            .optional(),
        ]),
    CommandSpec::new("mget", Arity::AtLeast(2), Run::Read(mget))
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(N) in the number of keys")
        .summary("Answers the strings at several keys.")
        .tips(&["request_policy:multi_shard"])
        .flags(Flags::FAST)
        .keys(&[KeySpec::range(1, -1, 1).ro().access()])
        .args(&[Arg::key("key").multiple()]),
    CommandSpec::new("mset", Arity::AtLeast(3), Run::Write(mset))
        .group(Group::String)
        .since("1.0.1")
        .complexity("O(N) in the number of keys")
        .summary("Sets several keys to strings, all at once.")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::range(1, -1, 2).ow().update()])
        .args(&[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()]),
    CommandSpec::new("msetnx", Arity::AtLeast(3), Run::Write(msetnx))
        .group(Group::String)
        .since("1.0.1")
        .complexity("O(N) in the number of keys")
        .summary("Sets several keys to strings, but only if none of them exists.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::range(1, -1, 2).ow().insert()])
        .args(&[Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple()]),
    CommandSpec::new("setnx", Arity::Exactly(3), Run::Write(setnx))
        .group(Group::String)
        .since("1.0.0")
        .summary("Sets a key to a string, but only if it does not exist.")
        .deprecated("2.6.12", "`SET` with the `NX` argument")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).ow().insert()])
        .args(&[Arg::key("key"), Arg::string("value")]),
    CommandSpec::new("setex", Arity::Exactly(4), Run::Write(setex))
        .group(Group::String)
        .since("2.0.0")
        .summary("Sets a key to a string with an expiry in seconds.")
        .deprecated("2.6.12", "`SET` with the `EX` argument")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).ow().update()])
        .args(&[Arg::key("key"), Arg::integer("seconds"), Arg::string("value")]),
    CommandSpec::new("psetex", Arity::Exactly(4), Run::Write(psetex))
        .group(Group::String)
        .since("2.6.0")
        .summary("Sets a key to a string with an expiry in milliseconds.")
        .deprecated("2.6.12", "`SET` with the `PX` argument")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).ow().update()])
        .args(&[Arg::key("key"), Arg::integer("milliseconds"), Arg::string("value")]),
    CommandSpec::new("append", Arity::Exactly(3), Run::Write(append))
        .group(Group::String)
        .since("2.0.0")
        .summary("Appends to the string at a key; makes the key if needed.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().insert()])
        .args(&[Arg::key("key"), Arg::string("value")]),
    CommandSpec::new("strlen", Arity::Exactly(2), Run::Read(strlen))
        .group(Group::String)
        .since("2.2.0")
        .summary("Answers the length of the string at a key in bytes.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).ro()])
        .args(&[Arg::key("key")]),
    CommandSpec::new("getrange", Arity::Exactly(4), Run::Read(getrange))
        .group(Group::String)
        .since("2.4.0")
        .complexity("O(N) in the length of what is answered")
        .summary("Answers a part of the string at a key.")
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("end")]),
    CommandSpec::new("substr", Arity::Exactly(4), Run::Read(getrange))
        .group(Group::String)
        .since("1.0.0")
        .complexity("O(N) in the length of what is answered")
        .summary("Answers a part of the string at a key.")
        .deprecated("2.0.0", "`GETRANGE`")
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("end")]),
    CommandSpec::new("setrange", Arity::Exactly(4), Run::Write(setrange))
        .group(Group::String)
        .since("2.2.0")
        .complexity("O(N) in the length of what is written")
        .summary("Overwrites a part of the string at a key; zeros fill a gap.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().update()])
        .args(&[Arg::key("key"), Arg::integer("offset"), Arg::string("value")]),
    CommandSpec::new("incr", Arity::Exactly(2), Run::Write(incr))
        .group(Group::String)
        .since("1.0.0")
        .summary("Adds one to the integer at a key.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key")]),
    CommandSpec::new("decr", Arity::Exactly(2), Run::Write(decr))
        .group(Group::String)
        .since("1.0.0")
        .summary("Subtracts one from the integer at a key.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key")]),
    CommandSpec::new("incrby", Arity::Exactly(3), Run::Write(incrby))
        .group(Group::String)
        .since("1.0.0")
        .summary("Adds to the integer at a key.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key"), Arg::integer("increment")]),
    CommandSpec::new("decrby", Arity::Exactly(3), Run::Write(decrby))
        .group(Group::String)
        .since("1.0.0")
        .summary("Subtracts from the integer at a key.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key"), Arg::integer("decrement")]),
    CommandSpec::new("incrbyfloat", Arity::Exactly(3), Run::Write(incrbyfloat))
        .group(Group::String)
        .since("2.6.0")
        .summary("Adds to the number at a key.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key"), Arg::double("increment")]),
    CommandSpec::new("lcs", Arity::AtLeast(3), Run::Read(lcs))
        .group(Group::String)
        .since("7.0.0")
        .complexity("O(N*M) in the lengths of both strings")
        .summary("Finds the longest common subsequence of two strings.")
        .flags(Flags::HEAVY)
        .keys(&[KeySpec::range(1, 1, 1).ro().access()])
        .args(&[
            Arg::key("key1"),
            Arg::key("key2"),
            Arg::token("len", "LEN").optional(),
            Arg::token("idx", "IDX").optional(),
            Arg::integer("min-match-len").with_token("MINMATCHLEN").optional(),
            Arg::token("withmatchlen", "WITHMATCHLEN").optional(),
        ]),
];

/// `SET` reads its key only with `GET`.
fn set_key_flags(words: &[Bytes]) -> KeyFlags {
    if words.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"GET")) {
        KeySpec::one(1).rw().access().update().flags
    } else {
        KeySpec::one(1).ow().update().flags
    }
}

fn get(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    match string(view.find(args.next_bytes()?)?)? {
        Some(meta) => args.answer().whole_string(view, meta),
        None => Ok(Reply::Null),
    }
}

fn mget(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let mut values = args.answer().list_of(ListKind::Array, args.len() as u64)?;
    for keys in args.rest().chunks(KEYS_AT_ONCE) {
        view.prefetch(keys.iter().map(|key| &key[..]));
        for key in keys {
            match view.find(key)? {
                Some(meta) if meta.kind == KeyType::String => values.push_string(view, &meta)?,
                _ => values.push(Reply::Null)?,
            }
        }
    }
    values.finish()
}

fn strlen(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let meta = string(view.find(args.next_bytes()?)?)?;
    Ok(length(meta.map_or(0, |meta| meta.string_len())))
}

fn getrange(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let (start, end) = (args.next_int()?, args.next_int()?);
    let Some(meta) = string(view.find(key)?)? else { return Ok(Reply::Bulk(Bytes::new())) };
    let len = i64::try_from(meta.string_len()).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let from_start = |index: i64| if index < 0 { (len + index).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    match (u64::try_from(start), u64::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => args.answer().string(view, &meta, start, end + 1),
        _ => Ok(Reply::Bulk(Bytes::new())),
    }
}

fn set(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, value) = (args.next_bytes()?, args.next_bytes()?);
    let options = SetOptions::parse(args)?;
    let expiry = options.expiry.resolve("set", edit.context().now_ms)?;
    let (old, answer) = if options.get {
        let old = string(edit.find_for_answer(key)?)?;
        let answer = answer_of(edit, old.as_ref())?;
        (old, Some(answer))
    } else {
        (edit.find(key)?, None)
    };
    let refused = match options.condition {
        Condition::Always => false,
        Condition::IfAbsent => old.is_some(),
        Condition::IfPresent => old.is_none(),
    };
    if refused {
        return Ok(answer.unwrap_or(Reply::Null));
    }
    store(edit, key, old.as_ref(), value, expiry);
    Ok(answer.unwrap_or(Reply::OK))
}

/// Sets `key`; a value that has expired already only takes away what was there.
fn store(edit: &mut Edit<'_>, key: &[u8], old: Option<&Meta>, value: &Bytes, expiry: Expiry) {
    let expires_ms = match expiry {
        Expiry::None | Expiry::Persist => None,
        Expiry::Keep => old.and_then(|meta| meta.expires_ms),
        Expiry::At(at_ms) => Some(at_ms),
    };
    if expires_ms.is_some_and(|at_ms| at_ms <= edit.context().now_ms) {
        if let Some(meta) = old {
            edit.delete(key, meta);
        }
    } else {
        edit.set_string(key, old, value.clone(), expires_ms);
    }
    edit.notify(EventClasses::STRING, "set", key);
    if let Expiry::At(at_ms) = expiry {
        edit.notify(EventClasses::GENERIC, "expire", key);
        if at_ms <= edit.context().now_ms {
            edit.notify(EventClasses::EXPIRED, "expired", key);
        }
    }
}

fn getset(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, value) = (args.next_bytes()?, args.next_bytes()?);
    let old = string(edit.find_for_answer(key)?)?;
    let answer = answer_of(edit, old.as_ref())?;
    edit.set_string(key, old.as_ref(), value.clone(), None);
    edit.notify(EventClasses::STRING, "set", key);
    Ok(answer)
}

/// The whole string, where the command may hold it.
fn whole(edit: &Edit<'_>, meta: &Meta) -> Result<Bytes, Error> {
    let room = edit.context().memory.room(Purpose::Reply);
    room.take(usize::try_from(meta.string_len()).unwrap_or(usize::MAX))?;
    Ok(edit.string(meta)?)
}

fn getdel(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let Some(meta) = string(edit.find_for_answer(key)?)? else { return Ok(Reply::Null) };
    let answer = Reply::Bulk(whole(edit, &meta)?);
    edit.delete(key, &meta);
    edit.notify(EventClasses::GENERIC, "del", key);
    Ok(answer)
}

fn getex(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let mut expiry = ExpiryOption::None;
    while !args.is_empty() {
        if !expiry.eat(args)? && !expiry.eat_persist(args) {
            return Err(Error::Syntax);
        }
    }
    // As in Redis the number itself is looked at only where there is a string.
    let Some(meta) = string(edit.find_for_answer(key)?)? else { return Ok(Reply::Null) };
    let expiry = expiry.resolve("getex", edit.context().now_ms)?;
    let answer = Reply::Bulk(whole(edit, &meta)?);
    match expiry {
        Expiry::At(at_ms) if at_ms <= edit.context().now_ms => {
            edit.delete(key, &meta);
            edit.notify(EventClasses::GENERIC, "del", key);
        }
        Expiry::At(at_ms) => {
            edit.set_expiry(key, &meta, Some(at_ms));
            edit.notify(EventClasses::GENERIC, "expire", key);
        }
        Expiry::Persist if meta.expires_ms.is_some() => {
            edit.set_expiry(key, &meta, None);
            edit.notify(EventClasses::GENERIC, "persist", key);
        }
        Expiry::None | Expiry::Keep | Expiry::Persist => {}
    }
    Ok(answer)
}

fn setnx(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, value) = (args.next_bytes()?, args.next_bytes()?);
    if edit.find(key)?.is_some() {
        return Ok(Reply::Integer(0));
    }
    edit.set_string(key, None, value.clone(), None);
    edit.notify(EventClasses::STRING, "set", key);
    Ok(Reply::Integer(1))
}

fn setex(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    set_expiring(edit, args, TimeUnit::Seconds, "setex")
}

fn psetex(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    set_expiring(edit, args, TimeUnit::Milliseconds, "psetex")
}

fn set_expiring(
    edit: &mut Edit<'_>,
    args: &mut Args<'_>,
    unit: TimeUnit,
    command: &'static str,
) -> CommandResult {
    let (key, time, value) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let option = ExpiryOption::Time { unit, absolute: false, time };
    let expiry = option.resolve(command, edit.context().now_ms)?;
    let old = edit.find(key)?;
    store(edit, key, old.as_ref(), value, expiry);
    Ok(Reply::OK)
}

fn mset(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    for pairs in pairs(args, "mset")?.chunks(KEYS_AT_ONCE) {
        edit.prefetch(pairs.iter().map(|[key, _]| &key[..]));
        for [key, value] in pairs {
            let old = edit.find(key)?;
            edit.set_string(key, old.as_ref(), value.clone(), None);
            edit.notify(EventClasses::STRING, "set", key);
        }
    }
    Ok(Reply::OK)
}

fn msetnx(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let pairs = pairs(args, "msetnx")?;
    for [key, _] in pairs {
        if edit.find(key)?.is_some() {
            return Ok(Reply::Integer(0));
        }
    }
    for [key, value] in pairs {
        // A key may come twice; the last value counts.
        let old = edit.find(key)?;
        edit.set_string(key, old.as_ref(), value.clone(), None);
        edit.notify(EventClasses::STRING, "set", key);
    }
    Ok(Reply::Integer(1))
}

fn append(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, value) = (args.next_bytes()?, args.next_bytes()?);
    let old = string(edit.find(key)?)?;
    let len = match old {
        None => {
            edit.set_string(key, None, value.clone(), None);
            value.len() as u64
        }
        Some(meta) => {
            let offset = meta.string_len();
            check_len(edit, offset, value)?;
            edit.write_string(key, Some(&meta), offset, value)?
        }
    };
    edit.notify(EventClasses::STRING, "append", key);
    Ok(length(len))
}

fn setrange(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, offset, value) = (args.next_bytes()?, args.next_int()?, args.next_bytes()?);
    let offset = u64::try_from(offset).map_err(|_| Error::OffsetOutOfRange)?;
    let old = string(edit.find(key)?)?;
    if value.is_empty() {
        return Ok(length(old.map_or(0, |meta| meta.string_len())));
    }
    check_len(edit, offset, value)?;
    let len = edit.write_string(key, old.as_ref(), offset, value)?;
    edit.notify(EventClasses::STRING, "setrange", key);
    Ok(length(len))
}

fn incr(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    increment(edit, args.next_bytes()?, 1)
}

fn decr(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    increment(edit, args.next_bytes()?, -1)
}

fn incrby(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, by) = (args.next_bytes()?, args.next_int()?);
    increment(edit, key, by)
}

fn decrby(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, by) = (args.next_bytes()?, args.next_int()?);
    increment(edit, key, by.checked_neg().ok_or(Error::DecrementOverflow)?)
}

fn increment(edit: &mut Edit<'_>, key: &[u8], by: i64) -> CommandResult {
    let old = string(edit.find(key)?)?;
    let before = match &old {
        None => 0,
        Some(meta) if meta.string_len() > INTEGER_LEN_MAX => return Err(Error::NotAnInteger),
        Some(meta) => match parse_text(edit, meta)? {
            Some(number) => number,
            None => return Err(Error::NotAnInteger),
        },
    };
    let Some(sum) = before.checked_add(by) else { return Err(Error::IncrementOverflow) };
    edit.set_number(key, old.as_ref(), itoa::Buffer::new().format(sum).as_bytes());
    edit.notify(EventClasses::STRING, "incrby", key);
    Ok(Reply::Integer(sum))
}

/// The integer that a short string is.
fn parse_text(edit: &Edit<'_>, meta: &Meta) -> Result<Option<i64>, Error> {
    Ok(match &meta.body {
        Body::Inline(value) => parse_int(value),
        _ => parse_int(&whole(edit, meta)?),
    })
}

fn incrbyfloat(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, by) = (args.next_bytes()?, args.next_bytes()?);
    let old = string(edit.find(key)?)?;
    let parse = |text: &[u8]| Extended::parse(text).ok_or(Error::NotAFloat);
    let before = match &old {
        None => parse(b"0")?,
        Some(meta) if meta.string_len() > FLOAT_LEN_MAX => return Err(Error::NotAFloat),
        Some(meta) => parse(&whole(edit, meta)?)?,
    };
    let sum = before.checked_add(parse(by)?).ok_or(Error::NanOrInfinity)?;
    let text = Bytes::from(sum.to_text());
    let expires_ms = old.as_ref().and_then(|meta| meta.expires_ms);
    edit.set_string_as(StringForm::Text, key, old.as_ref(), text.clone(), expires_ms);
    edit.notify(EventClasses::STRING, "incrbyfloat", key);
    Ok(Reply::Bulk(text))
}

/// What was found, if it is a string or nothing.
pub(super) fn string(found: Option<Meta>) -> Result<Option<Meta>, Error> {
    match found {
        Some(meta) if meta.kind != KeyType::String => Err(Error::WrongType),
        found => Ok(found),
    }
}

fn answer_of(edit: &Edit<'_>, meta: Option<&Meta>) -> CommandResult {
    match meta {
        Some(meta) => Ok(Reply::Bulk(whole(edit, meta)?)),
        None => Ok(Reply::Null),
    }
}

fn length(len: u64) -> Reply {
    Reply::Integer(i64::try_from(len).unwrap_or(i64::MAX))
}

fn check_len(edit: &Edit<'_>, offset: u64, value: &Bytes) -> Result<(), Error> {
    let len = offset.checked_add(value.len() as u64);
    let fits = len.is_some_and(|len| len <= edit.context().string_bytes_max);
    if fits { Ok(()) } else { Err(Error::StringTooLong) }
}

fn pairs<'a>(args: &Args<'a>, command: &'static str) -> Result<&'a [[Bytes; 2]], Error> {
    match args.rest().as_chunks::<2>() {
        (pairs, []) => Ok(pairs),
        _ => Err(Error::WrongArity(command)),
    }
}

/// When a key is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// The options of `SET`, which come in any order.
struct SetOptions<'a> {
    condition: Condition,
    get: bool,
    expiry: ExpiryOption<'a>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Self, Error> {
        let mut options =
            Self { condition: Condition::Always, get: false, expiry: ExpiryOption::None };
        while !args.is_empty() {
            if args.eat("NX") {
                options.set_condition(Condition::IfAbsent)?;
            } else if args.eat("XX") {
                options.set_condition(Condition::IfPresent)?;
            } else if args.eat("GET") {
                options.get = true;
            } else if !options.expiry.eat(args)? && !options.expiry.eat_keep(args) {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    fn set_condition(&mut self, condition: Condition) -> Result<(), Error> {
        if ![Condition::Always, condition].contains(&self.condition) {
            return Err(Error::Syntax);
        }
        self.condition = condition;
        Ok(())
    }
}
