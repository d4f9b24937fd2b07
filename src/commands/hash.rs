//! Commands on hashes. Those on the expiry of fields have a file of their own.

use bytes::Bytes;

use super::random::{self, Count};
use super::scan::{ScanOptions, Scanned, parse_cursor, scan_answer};
use super::typed::{field_values, of_type};
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{
    Edit, Element, Elements, EventClasses, Extended, KeyType, Meta, View, parse_int,
};
use crate::env::Purpose;
use crate::protocol::{ListKind, Reply};

const KEY_FIELD: &[Arg] = &[Arg::key("key"), Arg::string("field")];
const KEY_FIELDS: &[Arg] = &[Arg::key("key"), Arg::string("field").multiple()];
const KEY_PAIRS: &[Arg] = &[
    Arg::key("key"),
    Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
];
const SEEN: &[KeySpec] = &[KeySpec::one(1).ro()];
const READ: &[KeySpec] = &[KeySpec::one(1).ro().access()];
const UPDATED: &[KeySpec] = &[KeySpec::one(1).rw().update()];
const COUNTED: &[KeySpec] = &[KeySpec::one(1).rw().access().update()];

const UNORDERED: &[&str] = &["nondeterministic_output_order"];
const RANDOM: &[&str] = &["nondeterministic_output"];
const NAMES_ARE_SHORT: &str = "A field of a large hash is at most 1 MiB long.";

const fn reading(
    name: &'static str,
    arity: Arity,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Read(run)).group(Group::Hash).since("2.0.0").keys(READ)
}

const fn writing(
    name: &'static str,
    arity: Arity,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Write(run))
        .group(Group::Hash)
        .since("2.0.0")
        .flags(Flags::FAST)
        .keys(UPDATED)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    writing("hset", Arity::AtLeast(4), hset)
        .complexity("O(N) in the number of fields")
        .summary("Sets fields of a hash; makes the hash if needed.")
        .differs(NAMES_ARE_SHORT)
        .flags(Flags::DENYOOM)
        .args(KEY_PAIRS),
    writing("hmset", Arity::AtLeast(4), hmset)
        .complexity("O(N) in the number of fields")
        .summary("Sets fields of a hash; makes the hash if needed.")
        .deprecated("4.0.0", "`HSET` with several fields and values")
        .flags(Flags::DENYOOM)
        .args(KEY_PAIRS),
    writing("hsetnx", Arity::Exactly(4), hsetnx)
        .summary("Sets a field of a hash, but only if it does not exist.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().insert()])
        .args(&[Arg::key("key"), Arg::string("field"), Arg::string("value")]),
    reading("hget", Arity::Exactly(3), hget)
        .summary("Answers the value of a field.")
        .flags(Flags::FAST)
        .args(KEY_FIELD),
    reading("hmget", Arity::AtLeast(3), hmget)
        .complexity("O(N) in the number of fields asked for")
        .summary("Answers the values of several fields.")
        .flags(Flags::FAST)
        .args(KEY_FIELDS),
    reading("hgetall", Arity::Exactly(2), hgetall)
        .complexity("O(N) in the size of the hash")
        .summary("Answers all fields with their values.")
        .tips(UNORDERED)
        .args(&[Arg::key("key")]),
    reading("hkeys", Arity::Exactly(2), hkeys)
        .complexity("O(N) in the size of the hash")
        .summary("Answers all fields.")
        .tips(UNORDERED)
        .args(&[Arg::key("key")]),
    reading("hvals", Arity::Exactly(2), hvals)
        .complexity("O(N) in the size of the hash")
        .summary("Answers the values of all fields.")
        .tips(UNORDERED)
        .args(&[Arg::key("key")]),
    reading("hlen", Arity::Exactly(2), hlen)
        .summary("Counts the fields.")
        .flags(Flags::FAST)
        .keys(SEEN)
        .args(&[Arg::key("key")]),
    reading("hstrlen", Arity::Exactly(3), hstrlen)
        .since("3.2.0")
        .summary("Answers the length of the value of a field in bytes.")
        .flags(Flags::FAST)
        .keys(SEEN)
        .args(KEY_FIELD),
    reading("hexists", Arity::Exactly(3), hexists)
        .summary("Whether a field exists.")
        .flags(Flags::FAST)
        .keys(SEEN)
        .args(KEY_FIELD),
    writing("hdel", Arity::AtLeast(3), hdel)
        .complexity("O(N) in the number of fields to delete")
        .summary("Deletes fields, and the hash with the last of them.")
        .keys(&[KeySpec::one(1).rw().delete()])
        .args(KEY_FIELDS),
    writing("hincrby", Arity::Exactly(4), hincrby)
        .summary("Adds to the integer in a field.")
        .flags(Flags::DENYOOM)
        .keys(COUNTED)
        .args(&[Arg::key("key"), Arg::string("field"), Arg::integer("increment")]),
    writing("hincrbyfloat", Arity::Exactly(4), hincrbyfloat)
        .since("2.6.0")
        .summary("Adds to the number in a field.")
        .flags(Flags::DENYOOM)
        .keys(COUNTED)
        .args(&[Arg::key("key"), Arg::string("field"), Arg::double("increment")]),
    reading("hrandfield", Arity::AtLeast(2), hrandfield)
        .since("6.2.0")
        .complexity("O(N) in the number of fields answered")
        .summary("Answers some fields of a hash.")
        .differs(random::REPEATED_AT_MOST)
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::block(
                "options",
                &[Arg::integer("count"), Arg::token("withvalues", "WITHVALUES").optional()],
            )
            .optional(),
        ]),
    reading("hscan", Arity::AtLeast(3), hscan)
        .since("2.8.0")
        .complexity("O(1) for each call; O(N) for a whole walk")
        .summary("Walks the fields of a hash in steps.")
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::integer("cursor"),
            Arg::pattern("pattern").with_token("MATCH").optional(),
            Arg::integer("count").with_token("COUNT").optional(),
            Arg::token("novalues", "NOVALUES").optional(),
        ]),
];

/// What was found, if it is a hash or nothing.
pub(super) fn hash(found: Option<Meta>) -> Result<Option<Meta>, Error> {
    of_type(found, KeyType::Hash)
}

fn hset(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Integer(set_all(edit, args, "hset")?))
}

fn hmset(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    set_all(edit, args, "hmset")?;
    Ok(Reply::OK)
}

/// Sets fields; answers how many are new.
fn set_all(edit: &mut Edit<'_>, args: &mut Args<'_>, command: &'static str) -> Result<i64, Error> {
    let key = args.next_bytes()?;
    let (pairs, []) = args.rest().as_chunks::<2>() else {
        return Err(Error::WrongArity(command));
    };
    let old = hash(edit.find(key)?)?;
    let mut hash = edit.hash(key, old);
    hash.expect(pairs.len() as u64)?;
    let mut created = 0;
    for [field, value] in pairs {
        created += i64::from(hash.set(field, value, None)?);
    }
    hash.finish()?;
    edit.notify(EventClasses::HASH, "hset", key);
    Ok(created)
}

fn hsetnx(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, field, value) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let old = hash(edit.find(key)?)?;
    let mut hash = edit.hash(key, old);
    if hash.get(field)?.is_some() {
        return Ok(Reply::Integer(0));
    }
    hash.set(field, value, None)?;
    hash.finish()?;
    edit.notify(EventClasses::HASH, "hset", key);
    Ok(Reply::Integer(1))
}

/// The next word is a key; asks about its hash, where there is one.
fn with_hash<T>(
    view: &View<'_>,
    key: &[u8],
    ask: impl FnOnce(Elements<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let found = hash(view.find(key)?)?;
    found.as_ref().and_then(|meta| view.elements(key, meta)).map(ask).transpose()
}

fn field(view: &View<'_>, args: &mut Args<'_>) -> Result<Option<Element>, Error> {
    let (key, field) = (args.next_bytes()?, args.next_bytes()?);
    let found = with_hash(view, key, |fields| Ok(fields.get(field)?))?;
    Ok(found.flatten())
}

fn hget(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    Ok(Reply::bulk_or_null(field(view, args)?.map(|field| field.value)))
}

fn hstrlen(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    Ok(Reply::count(field(view, args)?.map_or(0, |field| field.value.len())))
}

fn hexists(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    Ok(Reply::from(field(view, args)?.is_some()))
}

fn hmget(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let names = args.rest();
    let values = with_hash(view, key, |fields| {
        let value =
            |name: &Bytes| Ok(Reply::bulk_or_null(fields.get(name)?.map(|field| field.value)));
        names.iter().map(value).collect::<Result<Vec<_>, Error>>()
    })?;
    Ok(Reply::Array(values.unwrap_or_else(|| vec![Reply::Null; names.len()])))
}

fn hgetall(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    all(view, args, ListKind::Map, |name, value, push| push(name) && push(value))
}

fn hkeys(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    all(view, args, ListKind::Array, |name, _, push| push(name))
}

fn hvals(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    all(view, args, ListKind::Array, |_, value, push| push(value))
}

/// What `add` takes of all fields.
fn all(
    view: &View<'_>,
    args: &mut Args<'_>,
    kind: ListKind,
    add: impl Fn(&[u8], &[u8], &mut dyn FnMut(&[u8]) -> bool) -> bool,
) -> CommandResult {
    let key = args.next_bytes()?;
    let answered = with_hash(view, key, |fields| {
        let each = if kind == ListKind::Map { 2 } else { 1 };
        let mut list = match fields.live_count() {
            Some(count) => args.answer().list_of(kind, count * each)?,
            None => args.answer().list(kind),
        };
        list.fill(|push| fields.visit(&mut |name, value| add(name, value, push)))?;
        list.finish()
    })?;
    match answered {
        Some(reply) => Ok(reply),
        None => args.answer().list(kind).finish(),
    }
}

/// As in Redis, those that have expired count until they are deleted.
fn hlen(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let found = hash(view.find(args.next_bytes()?)?)?;
    let count = found.as_ref().and_then(Meta::collection).map_or(0, |fields| fields.count);
    Ok(Reply::from(count))
}

fn hdel(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let Some(old) = hash(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let mut hash = edit.hash(key, Some(old));
    let mut deleted = 0;
    for field in args.rest() {
        deleted += i64::from(hash.remove(field)?);
    }
    hash.finish()?;
    if deleted > 0 {
        edit.notify_shrunk(EventClasses::HASH, "hdel", key);
    }
    Ok(Reply::Integer(deleted))
}

fn hincrby(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, field, by) = (args.next_bytes()?, args.next_bytes()?, args.next_int()?);
    let old = hash(edit.find(key)?)?;
    let mut hash = edit.hash(key, old);
    let (before, expires_ms) = match hash.get(field)? {
        Some(found) => (parse_int(&found.value).ok_or(Error::HashNotAnInteger)?, found.expires_ms),
        None => (0, None),
    };
    let sum = before.checked_add(by).ok_or(Error::IncrementOverflow)?;
    let text = Bytes::copy_from_slice(itoa::Buffer::new().format(sum).as_bytes());
    hash.set(field, &text, expires_ms)?;
    hash.finish()?;
    edit.notify(EventClasses::HASH, "hincrby", key);
    Ok(Reply::Integer(sum))
}

fn hincrbyfloat(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, field, by) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let by = Extended::parse(by).ok_or(Error::NotAFloat)?;
    if by.is_infinite() {
        return Err(Error::NotFinite);
    }
    let old = hash(edit.find(key)?)?;
    let mut hash = edit.hash(key, old);
    let found = hash.get(field)?;
    let before = found.as_ref().map_or(&b"0"[..], |found| &found.value);
    let before = Extended::parse(before).ok_or(Error::HashNotAFloat)?;
    let sum = before.checked_add(by).ok_or(Error::NanOrInfinity)?;
    let text = Bytes::from(sum.to_text());
    hash.set(field, &text, found.and_then(|found| found.expires_ms))?;
    hash.finish()?;
    edit.notify(EventClasses::HASH, "hincrbyfloat", key);
    Ok(Reply::Bulk(text))
}

fn hrandfield(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    if args.is_empty() {
        let picked = with_hash(view, key, |fields| Ok(fields.pick()?))?;
        return Ok(Reply::bulk_or_null(picked.flatten().map(|field| field.name)));
    }
    let count = Count::parse(args)?;
    let with_values = !args.is_empty();
    if with_values && !args.eat("WITHVALUES") {
        return Err(Error::Syntax);
    }
    args.finish()?;
    if with_values {
        count.check_twice()?;
    }
    let room = view.context().memory.room(Purpose::Working);
    let picked = with_hash(view, key, |fields| count.pick(&fields, &room))?.unwrap_or_default();
    if with_values {
        let pairs = picked.into_iter().map(|field| (field.name.into(), field.value.into()));
        return Ok(Reply::Pairs(pairs.collect()));
    }
    Ok(Reply::array(picked.into_iter().map(|field| field.name)))
}

fn hscan(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let cursor = parse_cursor(args.next_bytes()?).ok_or(Error::InvalidCursor)?;
    let page = with_hash(view, key, |fields| {
        let options = ScanOptions::parse(args, Scanned::Fields)?;
        let (next, mut page) = fields.page(cursor, options.count)?;
        page.retain(|field| options.matches(&field.name));
        Ok((next, field_values(page, options.no_values)))
    })?;
    let (next, page) = page.unwrap_or_default();
    Ok(scan_answer(next, page))
}
